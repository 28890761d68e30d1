"""The examples that are not web frameworks' hosts, run as their first lines say."""

import http.client
import json
import os
import select
import socket
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


CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
A_REQUEST = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
paths = pytest.mark.parametrize("path", [CHAT, MESSAGES])


def chat(port, prompt, key="key-ana", path=CHAT):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    asked = {"model": "small", "messages": [{"role": "user", "content": prompt}]}
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(asked), headers)
    return connection, connection.getresponse()


def settled(billing, after):
    """The next charge's quantities and facts, once nothing is held any more."""
    for _ in range(1_000):
        [row] = billing.history("acme", limit=1)
        if row.seq > after and not billing.balance("acme").held:
            lines = billing.explain("acme", row.seq).lines
            [entry] = [each for each in billing.store.entries("acme") if each.seq == row.seq]
            facts = (json.loads(entry.content)["usage"][3:] or [{}])[0]
            return {line.component: line.quantity for line in lines}, facts
        time.sleep(0.01)
    raise AssertionError("nothing was settled")


def newest(billing):
    return billing.history("acme", limit=1)[0].seq


@paths
def test_a_complete_answer_is_charged_by_what_its_provider_reports(gateway, path) -> None:
    port, billing = gateway
    before = newest(billing)
    connection, response = chat(port, "tell me a story", path=path)
    answer = response.read()
    connection.close()
    assert response.status == 200 and answer.count(b"word") == 200
    quantities, facts = settled(billing, before)
    assert quantities == {"input": 2, "cached_read": 2, "output": 200}
    assert facts.get("service_tier") == "standard" and "estimated" not in facts


@paths
def test_a_client_that_goes_away_pays_for_what_was_reported_or_estimated(gateway, path) -> None:
    port, billing = gateway
    before = newest(billing)
    connection, response = chat(port, "tell me a story", path=path)
    assert response.read(2_000)
    response.close()
    connection.close()
    quantities, facts = settled(billing, before)
    if path == CHAT:  # its usage would have come last
        assert 3 <= quantities["output"] < 200 and quantities["input"] == 4
        assert facts["estimated"] == "yes"
    else:
        assert quantities == {"input": 2, "cached_read": 2, "output": 1}
        assert "estimated" not in facts


@paths
def test_a_provider_that_fails_is_charged_for_what_came(gateway, path) -> None:
    port, billing = gateway
    before = newest(billing)
    connection, response = chat(port, "please fail", path=path)
    assert b"the provider failed" in response.read()
    connection.close()
    quantities, facts = settled(billing, before)
    assert quantities["output"] == (50 if path == CHAT else 1)
    assert ("estimated" in facts) == (path == CHAT)


NO_REQUESTS = [
    "",
    "{}",
    "[1]",
    '{"messages": 3, "model": "small"}',
    '{"messages": [{"role": "user", "content": "hi"}], "model": "unknown"}',
]


@pytest.mark.parametrize("body", NO_REQUESTS)
def test_what_is_no_request_is_refused(gateway, body) -> None:
    port, _ = gateway
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"X-API-Key": "key-ana", "Content-Type": "application/json"}
    connection.request("POST", CHAT, body, headers)
    with closing(connection), connection.getresponse() as response:
        assert response.status == 422


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


# -- clients that mean no good -----------------------------------------------------


@pytest.fixture(scope="module", params=["flask_app.py", "django_app.py", "fastapi_app.py"])
def site(request, tmp_path_factory):
    with database("sqlite", tmp_path_factory) as setting, served(request.param, setting) as client:
        yield client.send


def opened(port, sent):
    each = socket.create_connection(("127.0.0.1", port), timeout=30)
    each.sendall(sent)
    return each


def test_a_large_webhook_without_a_key_is_not_read_to_its_end(site) -> None:
    size = 64_000_000
    head = f"POST /v1/webhooks/stripe HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    with opened(site.port, head.encode()) as client:
        sent, part = 0, b" " * 100_000
        while sent < size and not select.select([client], [], [], 0)[0]:
            try:
                sent += client.send(part)
            except OSError:
                break  # it has hung up
        assert sent < 30_000_000  # what the sockets hold is as much as several megabytes


def test_connections_that_say_nothing_keep_nobody_out(site) -> None:
    half = b"POST /v1/webhooks/stripe HTTP/1.1\r\nHost: localhost\r\nContent-Le"
    silent = [opened(site.port, half) for _ in range(140)]
    try:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
        with closing(connection):
            connection.request("GET", "/v1/credits/balance", headers={"X-API-Key": "key-ana"})
            assert connection.getresponse().status in (200, 404)
    finally:
        for each in silent:
            each.close()


def test_an_upload_that_is_broken_off_is_no_traceback(site) -> None:
    head = b"POST /v1/webhooks/stripe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n"
    for _ in range(3):
        opened(site.port, head + b" " * 1000).close()
    time.sleep(0.5)
    assert site("GET", "/billing", "", {}, b"").status == 200  # it has seen them by now
    assert "Traceback" not in "".join(site.said)


def test_a_key_in_the_address_is_not_written_to_the_log(site) -> None:
    for path in ("/v1/billing/credits", "/billing", "/nothing"):
        site("GET", path, "api_key=sent-in-the-address", {"X-API-Key": "key-ana"}, b"")
    time.sleep(0.5)
    printed = "".join(site.said)
    assert "credits 422" in printed  # the request is there
    assert "sent-in-the-address" not in printed


def test_a_key_in_the_gateway_s_address_is_not_written_to_the_log(tmp_path) -> None:
    with served("model_gateway.py", tmp_path / "billing.db") as client:
        query = "api_key=sent-in-the-address"
        assert client("POST", CHAT, "none", query=query, body=A_REQUEST).status == 401
        time.sleep(0.5)
        assert "sent-in-the-address" not in "".join(client.send.said)
