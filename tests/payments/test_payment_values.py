"""The values of the payment port refuse what no provider would take, and errors keep fields."""

import pickle

import pytest
from attrs import evolve

from billing_core import InvalidCommand, PaymentError
from billing_core.ports.payments import ChargeAttempt
from billing_core.testing.payments.world import order

ATTEMPT = ChargeAttempt(
    org="acme",
    attempt="a-1",
    amount=700,
    currency="USD",
    customer="cus_1",
    method="pm_1",
    description="Top-up",
)


@pytest.mark.parametrize("asked", [order(), ATTEMPT], ids=["order", "attempt"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"org": ""},
        {"org": "x" * 201},
        {"org": None},
        {"amount": 0},
        {"amount": -1},
        {"amount": 5.0},
        {"amount": True},
        {"amount": "500"},
        {"currency": "usd"},
        {"currency": "XXX"},
        {"currency": "KWD", "amount": 5124},
        {"currency": "ISK", "amount": 550},
        {"description": "two\nlines"},
        {"receipt_email": ""},
        {"customer": ""},
    ],
    ids=repr,
)
def test_what_no_provider_would_take_is_refused(asked: object, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidCommand):
        evolve(asked, **wrong)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "javascript:alert(1)",
        "https://",
        "https://a b.example/",
        "https://host.example;script-src/",
        "https://user@host.example/",
        "https://host.example/a b",
        "https://host.example/\n",
        "https://host.example/" + "x" * 2000,
        "http://[/",
        "http://[::1/",
        "http://:80/",
        "http://host.example:port/",
        "http://host.example:99999/",
        "https://host.example/東京",
        None,
    ],
    ids=lambda url: repr(url)[:40],
)
def test_where_customers_are_sent_is_a_plain_url(url: str) -> None:
    with pytest.raises(InvalidCommand, match="success_url"):
        order(success_url=url)
    with pytest.raises(InvalidCommand, match="cancel_url"):
        order(cancel_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "https://host.example",
        "http://localhost:8000/a?b={CHECKOUT_SESSION_ID}#c",
        "http://[::1]:80",
    ],
)
def test_urls_of_hosts_are_taken(url: str) -> None:
    assert order(success_url=url).success_url == url


def test_an_error_crosses_processes_with_its_fields() -> None:
    error = PaymentError(
        "no answer", kind="unknown_outcome", retryable=True, outcome_unknown=True, code="x"
    )
    copy = pickle.loads(pickle.dumps(error))
    assert copy == error
    assert (copy.kind, copy.retryable, copy.outcome_unknown, copy.code) == (
        "unknown_outcome",
        True,
        True,
        "x",
    )
