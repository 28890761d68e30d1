"""What the provider has no more, a customer or a card, is forgotten, and paying goes on."""

import asyncio

import pytest
from payment_worlds import fake_world
from stripe_server import ApiError
from topup_till import DAY, HOUR, MINUTE, URLS, till

from billing_core import AsyncBilling, PaymentError, usd
from billing_core.commands.topups import LoseMethod
from billing_core.testing import MemoryStore


@pytest.fixture(params=["fake", "stripe", "sqlite", "postgres"])
def t(request):
    with till(request.param) as made:
        yield made


def deleted(t, **options) -> str:
    """The customer of a card that is charged automatically is deleted, and nobody tells us."""
    t.armed("10", threshold="5", amount="20", **options)
    t.run()
    customer = t.store.auto_topup("acme").customer
    t.street.delete_customer(customer)
    t.street.deliveries()
    return customer


def pay(t, page) -> None:
    t.street.pay(page.session)
    assert t.billing.confirm("acme", page.session).paid


def test_a_customer_who_was_deleted_can_pay_again(t) -> None:
    customer = deleted(t)
    page = t.order("10", key="k", save_method=True)
    again = t.order("10", key="k", save_method=True)
    assert again == page, "the same key gives the same page"
    auto = t.store.auto_topup("acme")
    assert (auto.customer, auto.method, auto.stopped) == (None, None, "method")
    pay(t, page)
    assert t.store.auto_topup("acme").customer not in (None, customer)
    assert (t.balance(), t.auto().stopped) == ("20.00 USD", None)
    t.spend("16")
    t.run()
    assert (t.attempts(), t.balance()) == (["paid"], "24.00 USD")
    t.check()


def test_the_next_order_asks_without_who_was_deleted(t) -> None:
    deleted(t)
    t.order("10")
    asked = len(t.payments())
    t.street.fault("timeout_before")
    with pytest.raises(PaymentError):
        t.order("11", key="k")
    [order] = [each for each in t.store.topups("acme") if each.state == "ordered"]
    assert '"customer":null' in order.asked
    pay(t, t.order("11", key="k"))
    assert len(t.payments()) == asked + 1
    t.check()


def test_an_automatic_top_up_of_a_customer_who_was_deleted_stops_and_is_recovered(t) -> None:
    deleted(t)
    t.spend("6")
    [failure] = t.run().failures
    assert failure.error.missing == "customer"
    auto = t.store.auto_topup("acme")
    assert (t.attempts(), auto.customer, auto.method) == (["failed"], None, None)
    assert t.auto().stopped == "method", "at once: trying again cannot help"
    assert t.events()[-2:] == ["topup_failed", "auto_topup_stopped"]
    t.wait(2 * HOUR)
    t.spend("1")
    assert t.attempts() == ["failed"]
    pay(t, t.billing.recover("acme", "recover", **URLS))
    assert (t.auto().stopped, t.balance()) == (None, "23.00 USD")
    t.spend("19")
    t.run()
    assert (t.attempts(), t.balance()) == (["failed", "paid"], "24.00 USD")
    t.check()


def test_a_recovery_link_opens_though_its_customer_was_deleted(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.require_authentication(method)
    t.spend("6")
    t.run()
    assert t.auto().stopped == "authentication_required"
    t.street.delete_customer(t.store.auto_topup("acme").customer)
    t.street.deliveries()
    pay(t, t.billing.recover("acme", "recover", **URLS))
    assert (t.auto().stopped, t.balance()) == (None, "24.00 USD")
    t.check()


@pytest.mark.parametrize("made", [True, False])
def test_an_attempt_without_an_answer_is_found_though_its_customer_was_deleted(t, made) -> None:
    t.armed("10", threshold="5", amount="20")
    t.run()
    t.spend("6")
    t.street.fault("timeout_after" if made else "timeout_before")
    t.run()
    assert t.attempts() == ["calling"]
    t.street.delete_customer(t.store.auto_topup("acme").customer)
    t.street.deliveries()
    t.billing._work._sweep = lambda run, topups: None
    t.wait(10 * MINUTE)
    assert t.attempts() == ["paid" if made else "calling"], "an earlier call may have charged"
    assert made or t.store.auto_topup("acme").customer is None
    t.wait(26 * HOUR)
    assert t.attempts() == ["paid" if made else "failed"]
    assert t.balance() == ("24.00 USD" if made else "4.00 USD")
    t.check()


def test_news_of_a_deleted_customer_stops_automatic_top_ups_at_once(t) -> None:
    t.armed("10", threshold="5", amount="20")
    customer = t.store.auto_topup("acme").customer
    t.street.delete_customer(customer)
    for body, signed in t.street.deliveries() * 2:
        t.billing.webhook(body, signed)
    auto = t.store.auto_topup("acme")
    assert (auto.customer, auto.method, auto.stopped) == (None, None, "method")
    assert t.events().count("auto_topup_stopped") == 1
    t.spend("6")
    t.run()
    assert t.attempts() == []
    t.check()


def test_a_customer_who_is_deleted_after_the_org_was_closed_is_forgotten_too(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.billing.close("acme", remainder="refund")
    t.street.delete_customer(t.store.auto_topup("acme").customer)
    t.deliver()
    auto = t.store.auto_topup("acme")
    assert (auto.customer, auto.method) == (None, None)
    assert t.wrong() == []


def test_a_card_that_was_removed_unheard_of_is_forgotten_at_the_first_charge(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    customer = t.store.auto_topup("acme").customer
    t.run()
    t.street.detach(method)
    t.street.deliveries()
    t.spend("6")
    t.run()
    auto = t.store.auto_topup("acme")
    assert (t.attempts(), auto.method, auto.stopped) == (["failed"], None, "method")
    assert auto.customer == customer, "the customer is still there"
    for _ in range(3):
        t.wait(DAY)
        t.spend("0.1")
    assert t.attempts() == ["failed"]
    t.check()


def test_what_was_saved_since_is_not_forgotten_for_what_is_gone(t) -> None:
    """The old customer's attempt fails late; the new one's card stays."""
    t.armed("10", threshold="5", amount="20")
    t.run()
    t.spend("6")
    t.street.fault("rate_limited")
    t.run()
    old = t.store.auto_topup("acme").customer
    t.street.delete_customer(old)
    t.street.deliveries()
    page = t.order("5", save_method=True)
    pay(t, page)
    auto = t.store.auto_topup("acme")
    assert auto.customer != old and auto.method is not None
    for _ in range(4):
        t.wait(10 * HOUR)
    kept = t.store.auto_topup("acme")
    assert (kept.customer, kept.method) == (auto.customer, auto.method)
    assert t.attempts()[0] == "failed"
    # Who was told of the old one by an answer that took its time says so now.
    t.billing.execute([LoseMethod("acme", old)])
    kept = t.store.auto_topup("acme")
    assert (kept.customer, kept.method) == (auto.customer, auto.method)
    t.check()


def test_an_order_that_nobody_deleted_is_refused_as_before(t) -> None:
    """Only a customer who is gone is gone without: any other refusal is the caller's to see."""
    t.armed("10")
    t.street.fault("rate_limited")
    with pytest.raises(PaymentError) as error:
        t.order("10")
    assert error.value.kind == "rate_limited"
    assert t.store.auto_topup("acme").method is not None


def test_a_refusal_that_stripe_keeps_under_its_key_is_not_answered_again() -> None:
    """Stripe keeps an answer once it has begun to carry a request out, refusals too."""
    with till("stripe") as t:
        deleted(t)
        check = t.street.check_customer

        def begun(name) -> None:
            try:
                check(name)
            except ApiError as refusal:
                refusal.executed = True
                raise

        t.street.check_customer = begun
        pay(t, t.order("10"))
        assert t.balance() == "20.00 USD"


def test_the_async_engine_goes_on_without_a_deleted_customer() -> None:
    world = fake_world()

    async def use() -> None:
        billing = AsyncBilling(MemoryStore(), clock=world.clock, payments=world.provider)
        await billing.open_account("acme", livemode=False)
        page = await billing.top_up("acme", "k", usd("10"), save_method=True, **URLS)
        world.street.pay(page.session)
        assert (await billing.confirm("acme", page.session)).paid
        world.street.delete_customer(world.provider.read_checkout(page.session).customer)
        again = await billing.top_up("acme", "k2", usd("10"), **URLS)
        world.street.pay(again.session)
        assert (await billing.confirm("acme", again.session)).paid
        assert str(await billing.balance("acme")) == "20.00 USD"
        assert (await billing.verify()).ok

    asyncio.run(use())
