"""The tests' own server can fail: a schema that takes everything would prove nothing."""

import json

import pytest
import stripe
from payment_worlds import stripe_world
from stripe_schema import FILE, schema

from billing_adapters.stripe_replies import (
    checkout_of,
    dispute_of,
    notice_of,
    payment_of,
    refund_of,
)
from billing_core.testing.payments.world import order

pytestmark = pytest.mark.skipif(schema() is None, reason=f"no {FILE}")


def test_what_endive_took_away_is_refused() -> None:
    found = schema().of_request(
        "POST",
        "/v1/payment_intents",
        {"amount": "1", "currency": "usd", "payment_method_types": {}},
    )
    assert len(found) == 1 and "payment_method_types" in found[0]
    allowed = {"amount": "1", "currency": "usd", "allowed_payment_method_types": {"0": "card"}}
    assert not schema().of_request("POST", "/v1/payment_intents", allowed)


@pytest.mark.parametrize(
    "params",
    [
        {"amount": "1", "currency": "usd", "confirm": "yes"},
        {"amount": "1.5", "currency": "usd"},
        {"currency": "usd"},
        {"amount": "1", "currency": "usd", "automatic_payment_methods": {"enabld": "true"}},
        {"amount": "1", "currency": "usd", "off_sesion": "true"},
    ],
)
def test_a_misspelt_or_mistyped_parameter_shows(params) -> None:
    assert schema().of_request("POST", "/v1/payment_intents", params)


def test_a_reply_that_lacks_a_field_shows() -> None:
    assert schema().of_reply("GET", "/v1/refunds/re_1", 200, {"id": "re_1", "object": "refund"})
    assert schema().of_reply("POST", "/v1/refunds", 400, {"error": "no"})


def test_a_world_with_complaints_ends_in_an_error() -> None:
    with pytest.raises(AssertionError, match="nonsense"), stripe_world() as (world, api):
        world.provider.create_checkout(order(), key="order-1")
        world.provider._client.v1.checkout.sessions.list({"nonsense": "1"})
        assert api.complaints


def test_the_server_refuses_what_endive_took_away() -> None:
    with stripe_world() as (world, api), pytest.raises(stripe.InvalidRequestError) as error:
        try:
            world.provider._client.v1.payment_intents.create(
                {"amount": 700, "currency": "usd", "payment_method_types": ["card"]}
            )
        finally:
            api.complaints.clear()
    assert error.value.code == "payment_method_types_no_longer_supported"


def test_stripes_own_examples_are_read() -> None:
    text = FILE.with_name("fixtures3.trim.json").read_text(encoding="utf-8")
    examples = json.loads(text)["resources"]
    checkout = checkout_of(examples["checkout.session"])
    assert (checkout.paid, checkout.total, checkout.currency) == ("unpaid", 0, "")
    payment = payment_of(examples["payment_intent"], None, (), ())
    assert (payment.amount, payment.received, payment.currency) == (1099, 0, "USD")
    assert payment.org is None and payment.created == 1234567890 * 1_000_000
    refund = refund_of(examples["refund"], "pi_1")
    assert (refund.amount, refund.state, refund.key) == (100, "succeeded", None)
    dispute = dispute_of(examples["dispute"])
    assert (dispute.state, dispute.withdrawn) == ("inquiry", 0)
    assert notice_of(examples["event"]).kind == "ignored"
