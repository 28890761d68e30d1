"""The examples that are not web frameworks' hosts, run as their first lines say."""

import http.client
import os
import subprocess
import sys
import time
from contextlib import closing
from importlib import import_module

import pytest
from http_world import EXAMPLES, database, served

from billing_core import Billing, Money


def said(example, setting):
    """What a script prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / example],
        env=os.environ | {"BILLING_DB": str(setting)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


databases = pytest.mark.parametrize("kind", ["sqlite", "postgres"])


@databases
def test_the_plain_script(kind, tmp_path_factory) -> None:
    with database(kind, tmp_path_factory) as setting:
        printed = said("plain_script.py", setting)
    assert "held 0.126\n" in printed and "0.015165 USD" in printed
    assert printed.endswith("verified: True\n")


@databases
def test_a_row_of_django_s_and_its_charge_are_both_there_or_neither(kind, tmp_path_factory) -> None:
    with database(kind, tmp_path_factory) as setting:
        for _ in range(2):
            assert said("django_jobs.py", setting).splitlines() == [
                "no row, no charge: insufficient_credit",
                "1 job, 0.25 charged, verified: True",
            ]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def gateway(request, tmp_path_factory):
    with (
        database(request.param, tmp_path_factory) as setting,
        served("model_gateway.py", setting) as client,
        closing(import_module("host").open_store(str(setting))) as store,
    ):
        yield client.send.port, Billing(store)


def chat(port, prompt, key="key-ana"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/chat", prompt, {"X-API-Key": key})
    return connection, connection.getresponse()


def settled(billing, after):
    """The words that the next charge is for, once nothing is held any more."""
    for _ in range(1_000):
        [row] = billing.history("acme", limit=1)
        if row.seq > after and not billing.balance("acme").held:
            lines = billing.explain("acme", row.seq).lines
            return next(line.quantity for line in lines if line.component == "output")
        time.sleep(0.01)
    raise AssertionError("nothing was settled")


def newest(billing):
    return billing.history("acme", limit=1)[0].seq


def test_a_complete_answer_is_charged_by_what_was_streamed(gateway) -> None:
    port, billing = gateway
    before = newest(billing)
    connection, response = chat(port, "tell me a story")
    words = response.read().split()
    connection.close()
    assert (response.status, len(words)) == (200, 200)
    assert settled(billing, before) == 200


def test_a_client_that_goes_away_pays_for_what_it_got(gateway) -> None:
    port, billing = gateway
    before = newest(billing)
    connection, response = chat(port, "tell me a story")
    assert response.read(20)
    response.close()
    connection.close()
    assert 3 <= settled(billing, before) < 200


def test_a_provider_that_fails_is_charged_for_what_came(gateway) -> None:
    port, billing = gateway
    before = newest(billing)
    connection, response = chat(port, "please fail")
    assert response.read().endswith(b"[the provider failed]")
    connection.close()
    assert settled(billing, before) == 50


def test_who_has_no_key_or_no_credit_gets_no_answer(gateway) -> None:
    port, billing = gateway
    connection, response = chat(port, "tell me a story", "key-unknown")
    connection.close()
    assert response.status == 401
    spend = billing.balance("globex").available
    billing.deduct("globex", "all", Money(spend, "USD"), resource="x")
    connection, response = chat(port, "tell me a story", "key-eve")
    assert (response.status, response.read()) == (402, b'{"detail":"insufficient_credit"}')
    connection.close()
    assert billing.verify().ok
