"""A provider's answer of any shape becomes a value or a PaymentError, never another exception.

Every place of every answer that Stripe gives to each method is altered, one at a time, and goes
through Stripe's own client.  `BILLING_TEST_DEPTH=20` alters each in every way.
"""

import json
import logging
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import settings
from payment_worlds import SECRET, T0
from stripe_http import Api, served
from stripe_server import StripeServer
from topup_till import MINUTE, SECOND, Till, till

from billing_adapters.fake_payments import FakePayments
from billing_adapters.stripe_payments import StripePayments
from billing_adapters.webhooks import signed
from billing_core import NotFound, PaymentError
from billing_core.errors import StoreError
from billing_core.ports.payments import Checkout, Notice, Page, Payment, Refund
from billing_core.testing import SettableClock
from billing_core.testing.payments.world import (
    PaymentWorld,
    Saved,
    order,
    paid_checkout,
    payment_of,
)
from billing_core.values.times import micros

DEPTH = settings.default.max_examples // 50
NOW = micros("now", T0)

GONE = object()
ODD = [
    GONE, None, True, False, 0, -1, 1.5, float("nan"), 10**30, "", "12", "x" * 300, "\ud800",
    "a\nb", [], [None], {}, {"id": 5}, {"id": "x"}, "é",
]  # fmt: skip
BODIES = [
    b"", b" ", b"null", b"[]", b"{}", b'"text"', b"12", b"\xff\xfe", b"<html>", b"{", b"1e999",
    b"9" * 5_000, b"[" * 100_000, b'{"error":null}', b'{"error":[]}', b'{"error":"text"}',
    b'{"error":{}}', b'{"error":{"type":[],"code":{},"message":[],"param":5}}',
    b'{"error":{"code":"resource_missing","param":["customer"],"message":"\\ud800"}}',
    b'{"error":{"payment_intent":5}}', b'{"object":5}', b'{"object":"list","data":5}',
    b'{"object":"list","data":[5],"has_more":true}', b'{"data":null}', b'{"id":null}',
]  # fmt: skip


class OddApi(Api):
    """Answers pass by ``change(which, status, body) -> (status, body)``, which counts them."""

    change = None
    answers = 0

    def answer(self, *asked):
        status, extra, body = super().answer(*asked)
        self.answers += 1
        if self.change is not None:
            status, body = self.change(self.answers - 1, status, body)
        return status, extra, body


@pytest.fixture(autouse=True)
def unlogged(monkeypatch):
    """Stripe's client logs what it was sent, which no report of a test could carry."""
    monkeypatch.setattr(logging.getLogger("stripe"), "disabled", True)


@pytest.fixture(scope="module")
def odd():
    clock = SettableClock(T0)
    api = OddApi(StripeServer(clock, secret=SECRET))
    with served(api) as address:
        provider = StripePayments(
            api.key, livemode=False, address=address, webhook_secrets=[SECRET], retries=0
        )
        yield PaymentWorld(provider=provider, street=api.server, clock=clock), api


def scenes(world):
    """What is asked of the provider, by name: each may be asked again and again."""
    provider, street = world.provider, world.street
    opened = provider.create_checkout(order(order="order-9"), key="order-9")
    paid = paid_checkout(world)
    payment = payment_of(world, paid).id
    street.refund_in_dashboard(payment, 100)
    dispute = street.dispute(payment, 2000)
    street.close_dispute(dispute, won=True)
    saved, refused = (Saved(*street.save_method()) for _ in range(2))
    street.decline(refused.method, 5)
    declined = provider.charge(refused.attempt("a-declined")).id
    provider.charge(saved.attempt("a-1"))
    span = 0, world.clock() + 1_000_000
    return {
        "create_checkout": lambda: provider.create_checkout(order(order="order-9"), key="order-9"),
        "read an open checkout": lambda: provider.read_checkout(opened.id),
        "read a paid checkout": lambda: provider.read_checkout(paid.id),
        "charge": lambda: provider.charge(saved.attempt("a-1")),
        "charge, declined": lambda: provider.charge(refused.attempt("a-declined")),
        "find_charge": lambda: provider.find_charge("a-1", customer=saved.customer, since=0),
        "read_payment": lambda: provider.read_payment(payment),
        "read a declined payment": lambda: provider.read_payment(declined),
        "refund": lambda: provider.refund(payment, key="r-1", amount=5),
        "notices": lambda: provider.notices(0),
        "payments": lambda: provider.payments(*span),
        "read nothing": lambda: provider.read_checkout("cs_none"),
    }


SCENES = [
    "create_checkout", "read an open checkout", "read a paid checkout", "charge",
    "charge, declined", "find_charge", "read_payment", "read a declined payment", "refund",
    "notices", "payments", "read nothing",
]  # fmt: skip


@pytest.fixture(scope="module")
def told(odd):
    found = scenes(odd[0])
    assert list(found) == SCENES
    return found


def value_or_error(ask):
    """What is answered: a value of the port, or a PaymentError."""
    try:
        found = ask()
    except PaymentError as error:
        str(error).encode()  # it can be logged
        assert error.code is None or error.code.isprintable()
        return error
    if isinstance(found, Page):
        assert found.next is None or type(found.next) is str
        for each in found.items:
            as_it_should_be(each)
    elif found is not None:
        as_it_should_be(found)
    return found


def as_it_should_be(value):
    assert type(value) in (Checkout, Payment, Refund, Notice)
    for name, types in TYPES.items():
        found = getattr(value, name, None)
        assert found is None or type(found) is types, (name, found)
        if isinstance(found, str):
            assert found.isprintable()
        if isinstance(found, int):
            assert abs(found) < 2**63
    for each in (*getattr(value, "refunds", ()), *getattr(value, "disputes", ())):
        assert type(each.amount) is int and type(each.id) is str
    if isinstance(value, Payment):
        assert type(value.kept) is int


TYPES = {
    **dict.fromkeys(("id", "url", "state", "paid", "currency", "org", "order", "payment", "event",
                     "customer", "method", "checkout", "attempt", "failure", "recovery", "word",
                     "kind", "api_version", "key"), str),
    **dict.fromkeys(("subtotal", "total", "amount", "received", "created"), int),
    "livemode": bool,
}  # fmt: skip


def places(value, path=()):
    """Where something stands in a JSON value."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else ()
    for name, each in enumerate(value[:1]) if isinstance(value, list) else inner:
        yield from places(each, (*path, name))


READ = {
    "id", "object", "url", "status", "payment_status", "amount_total", "amount_subtotal",
    "currency", "livemode", "metadata", "payment_intent", "customer", "payment_method",
    "total_details",
    "amount_tax", "amount_shipping", "setup_future_usage", "amount", "amount_received", "created",
    "latest_charge", "refunds", "disputed", "has_more", "data", "last_payment_error", "code",
    "decline_code", "client_secret", "balance_transactions", "type", "previous_attributes", "error",
    "param", "message", "api_version", "billing_org", "billing_order", "billing_attempt",
    "billing_refund",
}  # fmt: skip
"""What means something to us; the rest is altered in deep runs alone."""


def read(value):
    found = places(value)
    return list(found) if DEPTH > 1 else [each for each in found if each[-1] in READ | {0}]


def altered(value, path, odd):
    """The value with another at a place."""
    value = json.loads(json.dumps(value))
    place = value
    for name in path[:-1]:
        place = place[name]
    if odd is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = odd
    return value


def ways(number):
    """In which ways the so-manieth place is altered: quickly in one, deeply in all."""
    each = max(1, len(ODD) // DEPTH)
    return ODD[number % each :: each]


@pytest.mark.parametrize("scene", SCENES)
def test_an_answer_altered_at_any_place_is_a_value_or_a_payment_error(odd, told, scene) -> None:
    _, api = odd
    said = []

    def recorded(number, status, body):
        said.append((status, json.loads(body)))
        return status, body

    api.change, api.answers = recorded, 0
    value_or_error(told[scene])
    api.change = None
    assert said
    tried, errors = count(), 0
    for which, (status, body) in enumerate(said):
        for number, path in enumerate(read(body)):
            for odd_one in ways(number):
                text = json.dumps(altered(body, path, odd_one)).encode()

                def change(at, was, sent, which=which, status=status, text=text):
                    return (status, text) if at == which else (was, sent)

                api.change, api.answers = change, 0
                found = value_or_error(told[scene])
                errors += isinstance(found, PaymentError)
                next(tried)
    api.change = None
    assert next(tried) > 3 and errors


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("status", [200, 400, 402, 404, 500])
def test_an_answer_that_is_none_is_a_payment_error(odd, told, scene, status) -> None:
    _, api = odd
    for text in BODIES:
        api.change, api.answers = lambda *_, text=text: (status, text), 0
        found = value_or_error(told[scene])
        api.change = None
        assert isinstance(found, PaymentError) or found in (None, Page((), None, NOW)), text
        if isinstance(found, PaymentError) and status in (200, 500):
            writes = scene.startswith(("create", "charge", "refund"))
            assert found.kind == ("unknown_outcome" if writes else "unavailable"), text
            assert (found.retryable, found.outcome_unknown) == (True, writes)


@pytest.mark.parametrize("kind", ["fake", "stripe", "sqlite", "postgres"])
def test_news_that_cannot_be_read_is_told_and_all_other_news_is_heeded(kind) -> None:
    with till(kind) as t:
        pages = [t.paid("10") for _ in range(3)]
        t.wait(20 * MINUTE)  # nothing else will tell of these payments
        payments = [t.payment(page).id for page in pages]
        for payment in payments:
            t.clock.advance(SECOND)
            t.street.refund_in_dashboard(payment)
        news = t.provider.notices(0).items
        odd = [each for each in news if each.kind == "refund" and each.payment == payments[1]]
        for each in odd:
            t.street.garble(each.event)
        t.clock.advance(6 * MINUTE)
        done = t.run()
        assert t.balance() == "10.00 USD"
        [failure] = done.failures
        assert (failure.org, failure.what) == (None, "news")
        assert odd and all(each.event in str(failure.error) for each in odd)
        # It is not listed for ever: what was told is gone past.
        t.wait(20 * MINUTE)
        assert t.wait(20 * MINUTE).failures == []
        [differs] = t.differences()
        t.billing.read_back("acme", differs.topup)
        assert t.balance() == "0.00 USD"
        t.check()


def test_an_answer_about_another_is_none(odd, told) -> None:
    world, api = odd
    payment, other = (payment_of(world, paid_checkout(world, f"order-{n}")).id for n in (31, 32))

    def swapped(_, status, body):
        return status, body.replace(payment.encode(), other.encode())

    api.change = swapped
    with pytest.raises(PaymentError, match="not as documented"):
        world.provider.read_payment(payment)
    api.change = None


def events():
    """One of each type that is followed, as Stripe sends them."""
    clock = SettableClock(T0)
    server = StripeServer(clock, secret=SECRET)
    api = Api(server)
    with served(api) as address:
        provider = StripePayments(api.key, livemode=False, address=address, retries=0)
        world = PaymentWorld(provider=provider, street=server, clock=clock)
        scenes(world)
        server.detach(next(iter(server.methods)))
        server.delete_customer(next(iter(server.customers)))
    bodies = {}
    for body, _ in server.deliveries():
        event = json.loads(body)
        bodies.setdefault(event["type"], event)
    return bodies


def test_a_webhook_altered_at_any_place_is_a_notice_or_refused() -> None:
    provider = StripePayments("sk_test_abc", livemode=False, webhook_secrets=[SECRET])
    kinds = events()
    assert len(kinds) >= 8
    for event in kinds.values():
        for number, path in enumerate(read(event)):
            for odd_one in ways(number) if len(path) > 3 else ODD:
                body = json.dumps(altered(event, path, odd_one)).encode()
                followed(provider, body)
    for body in BODIES:
        followed(provider, body)


def test_a_webhook_of_the_fake_altered_at_any_place_is_a_notice_or_refused() -> None:
    provider = FakePayments(webhook_secrets=[SECRET])
    event = {
        "id": "evt_1", "kind": "payment", "word": "payment.succeeded", "created": NOW,
        "livemode": False, "named": {"payment": "pi_1"},
    }  # fmt: skip
    for path in places(event):
        for odd_one in ODD:
            followed(provider, json.dumps(altered(event, path, odd_one)).encode())
    for body in BODIES:
        followed(provider, body)


def followed(provider, body):
    found = value_or_error(lambda: provider.read_webhook(body, signed(body, SECRET, NOW), now=NOW))
    if isinstance(found, PaymentError):
        assert found.kind in ("bad_webhook", "wrong_mode"), (found, body)
    else:
        assert isinstance(found, Notice)


def test_whatever_a_provider_answers_to_a_customer_who_comes_back_the_books_are_right() -> None:
    """The engine's way: what is answered is credited, quarantined, or an error of the port."""
    clock = SettableClock(T0)
    api = OddApi(StripeServer(clock, secret=SECRET))
    with served(api) as address:
        provider = StripePayments(api.key, livemode=False, address=address, retries=0)
        till = Till(PaymentWorld(provider=provider, street=api.server, clock=clock))
        said = []

        def recorded(_, status, body):
            said.append((status, json.loads(body)))
            return status, body

        page = till.order("10")
        till.street.pay(page.session)
        api.change, api.answers = recorded, 0
        assert till.billing.confirm("acme", page.session).paid
        api.change = None
        for which, (_, body) in enumerate(list(said)):
            for number, path in enumerate(read(body)):
                for odd_one in ways(number) if DEPTH > 1 or number % 4 == 0 else ():
                    page = till.order("10")
                    till.street.pay(page.session)

                    def change(at, status, sent, which=which, path=path, odd_one=odd_one):
                        if at != which:
                            return status, sent
                        try:
                            found = altered(json.loads(sent), path, odd_one)
                        except (LookupError, TypeError):
                            return status, sent
                        return status, json.dumps(found).encode()

                    api.change, api.answers = change, 0
                    with suppress(PaymentError, NotFound, StoreError):
                        till.billing.confirm("acme", page.session)
                    api.change = None
        assert till.wrong() == []
