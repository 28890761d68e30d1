"""Webhooks: only what a known secret signed, lately, for this mode, is believed."""

import hashlib
import hmac
import json

import pytest
import stripe
from payment_worlds import SECRET, T0

from billing_adapters.fake_payments import FakePayments
from billing_adapters.stripe_payments import API_VERSION, StripePayments
from billing_adapters.webhooks import MOST_BYTES, signed, verified
from billing_core import InvalidCommand, PaymentError
from billing_core.values.times import micros

NOW = micros("now", T0)
SECONDS = NOW // 1_000_000
LIMIT = 300

STRIPE_EVENT = {
    "id": "evt_1",
    "object": "event",
    "api_version": API_VERSION,
    "created": SECONDS,
    "livemode": False,
    "type": "payment_intent.succeeded",
    "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": 999_999}},
}
FAKE_EVENT = {
    "id": "evt_1",
    "kind": "payment",
    "word": "payment.succeeded",
    "created": NOW,
    "livemode": False,
    "named": {"payment": "pi_1"},
}


def stripe_payments(secrets=(SECRET,), livemode=False):
    mode = "live" if livemode else "test"
    return StripePayments(f"sk_{mode}_abc", livemode=livemode, webhook_secrets=secrets)


def fake_payments(secrets=(SECRET,), livemode=False):
    return FakePayments(webhook_secrets=secrets, livemode=livemode)


EACH = pytest.mark.parametrize(
    ("make", "event"),
    [(stripe_payments, STRIPE_EVENT), (fake_payments, FAKE_EVENT)],
    ids=["stripe", "fake"],
)


def header(body, *secrets, at=SECONDS, scheme="v1"):
    """As Stripe documents it, by other code than the library's."""
    digests = [
        hmac.new(each.encode(), b"%d." % at + body, hashlib.sha256).hexdigest() for each in secrets
    ]
    return ",".join([f"t={at}", *(f"{scheme}={digest}" for digest in digests)])


def kind_of(provider, body, signature, now=NOW):
    with pytest.raises(PaymentError) as error:
        provider.read_webhook(body, signature, now=now)
    assert not error.value.retryable and not error.value.outcome_unknown
    assert SECRET not in str(error.value)
    return error.value.kind


def encoded(event, **more):
    return json.dumps({**event, **more}).encode()


@EACH
def test_a_signed_event_names_what_to_read_back(make, event) -> None:
    body = encoded(event)
    notice = make().read_webhook(body, header(body, SECRET), now=NOW)
    assert (notice.event, notice.kind, notice.payment) == ("evt_1", "payment", "pi_1")
    assert notice.created == NOW


@EACH
def test_a_wrong_secret_is_refused(make, event) -> None:
    body = encoded(event)
    assert kind_of(make(), body, header(body, "whsec_other")) == "bad_signature"
    assert kind_of(make(["whsec_a", "whsec_b"]), body, header(body, SECRET)) == "bad_signature"


@EACH
def test_no_secret_configured_believes_nothing(make, event) -> None:
    body = encoded(event)
    assert kind_of(make([]), body, header(body, "")) == "bad_signature"


@EACH
def test_a_secret_can_be_rotated_on_either_side_first(make, event) -> None:
    body = encoded(event)
    both = make(["whsec_new", "whsec_old"])
    for signing in (["whsec_old"], ["whsec_new"], ["whsec_old", "whsec_new"]):
        assert both.read_webhook(body, header(body, *signing), now=NOW).event == "evt_1"
    old = make(["whsec_old"])
    assert old.read_webhook(body, header(body, "whsec_new", "whsec_old"), now=NOW).event == "evt_1"
    assert kind_of(old, body, header(body, "whsec_new")) == "bad_signature"


@EACH
@pytest.mark.parametrize("age", [-LIMIT, 0, LIMIT])
def test_an_age_within_the_limit_is_believed(make, event, age) -> None:
    body = encoded(event)
    signature = header(body, SECRET, at=SECONDS - age)
    assert make().read_webhook(body, signature, now=NOW).event == "evt_1"


@EACH
@pytest.mark.parametrize("age", [LIMIT + 1, -LIMIT - 1, 10**9, -(10**9)])
def test_a_stale_or_future_dated_signature_is_refused(make, event, age) -> None:
    body = encoded(event)
    assert kind_of(make(), body, header(body, SECRET, at=SECONDS - age)) == "bad_signature"


@EACH
def test_another_scheme_is_no_signature(make, event) -> None:
    body = encoded(event)
    assert kind_of(make(), body, header(body, SECRET, scheme="v0")) == "bad_signature"


@EACH
def test_two_times_in_a_header_are_refused(make, event) -> None:
    body = encoded(event)
    signature = f"t={SECONDS + 1},{header(body, SECRET)}"
    assert kind_of(make(), body, signature) == "bad_signature"


@EACH
@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe{}", b"{'a': 1}", b"", b"[]", b"null", b"{}", b"[" * 100_000, b'{"id": "evt_1"'],
    ids=lambda body: repr(body[:20]),
)
def test_a_signed_body_that_is_no_event_is_refused(make, event, body) -> None:
    assert kind_of(make(), body, header(body, SECRET)) in ("bad_webhook", "wrong_mode")


def test_a_body_not_in_utf8_is_named_so() -> None:
    body = b'{"id": "\xff"}'
    with pytest.raises(PaymentError, match="UTF-8") as error:
        verified(body, header(body, SECRET), secrets=[SECRET], now=NOW)
    assert error.value.kind == "bad_webhook"


@EACH
def test_an_event_without_its_fields_is_refused(make, event) -> None:
    for missing in set(event) - {"livemode", "object", "api_version"}:
        body = json.dumps({k: v for k, v in event.items() if k != missing}).encode()
        assert kind_of(make(), body, header(body, SECRET)) == "bad_webhook", missing


@EACH
def test_an_oversized_body_is_refused_even_if_signed(make, event) -> None:
    body = encoded(event, padding="x" * MOST_BYTES)
    assert kind_of(make(), body, header(body, SECRET)) == "bad_webhook"


@EACH
@pytest.mark.parametrize("livemode", [True, False])
def test_the_other_mode_is_refused(make, event, livemode) -> None:
    body = encoded(event, livemode=not livemode)
    assert kind_of(make(livemode=livemode), body, header(body, SECRET)) == "wrong_mode"
    body = encoded(event, livemode=None)
    assert kind_of(make(livemode=livemode), body, header(body, SECRET)) == "wrong_mode"


@pytest.mark.parametrize("word", ["customer.created", "charge.succeeded", "no.such.thing"])
def test_an_unknown_type_of_event_is_ignored(word) -> None:
    body = encoded(STRIPE_EVENT, type=word)
    notice = stripe_payments().read_webhook(body, header(body, SECRET), now=NOW)
    assert (notice.kind, notice.word, notice.payment) == ("ignored", word, None)
    body = encoded(FAKE_EVENT, kind=word)
    notice = fake_payments().read_webhook(body, header(body, SECRET), now=NOW)
    assert (notice.kind, notice.payment) == ("ignored", None)


def test_a_refund_of_no_payment_intent_is_none_of_ours() -> None:
    about = {"object": {"id": "re_1", "payment_intent": None, "charge": "ch_1"}}
    body = encoded(STRIPE_EVENT, type="refund.created", data=about)
    notice = stripe_payments().read_webhook(body, header(body, SECRET), now=NOW)
    assert (notice.kind, notice.payment) == ("ignored", None)


def test_the_version_of_an_event_is_noted() -> None:
    body = encoded(STRIPE_EVENT, api_version="2020-08-27")
    notice = stripe_payments().read_webhook(body, header(body, SECRET), now=NOW)
    assert (notice.kind, notice.payment, notice.api_version) == ("payment", "pi_1", "2020-08-27")


def test_a_thin_event_is_refused() -> None:
    body = encoded(STRIPE_EVENT, object="v2.core.event")
    assert kind_of(stripe_payments(), body, header(body, SECRET)) == "bad_webhook"


def test_stripes_own_library_takes_our_signature() -> None:
    body = encoded(STRIPE_EVENT)
    ours = signed(body, SECRET, NOW)
    assert stripe.WebhookSignature.verify_header(body, ours, SECRET)
    theirs = stripe.WebhookSignature.generate_signature_header(
        body.decode(), SECRET, timestamp=SECONDS
    )
    assert ours == theirs


@pytest.mark.parametrize("secrets", ["whsec_a", [""], ["whsec_a", " "]])
def test_secrets_are_a_list_of_non_empty_texts(secrets) -> None:
    with pytest.raises(InvalidCommand, match="webhook_secrets"):
        stripe_payments(secrets)
