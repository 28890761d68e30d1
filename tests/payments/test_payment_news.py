"""News of payments is not lost: whatever clocks say, and whatever is edited at the provider."""

import asyncio
from datetime import timedelta

import attrs
import pytest
from payment_worlds import fake_world
from topup_till import DAY, HOUR, MINUTE, SECOND, URLS, till

from billing_core import AsyncBilling, Billing, Conflict, NotFound, PaymentError, usd
from billing_core.ports.payments import CheckoutOrder
from billing_core.testing import MemoryStore
from billing_core.values.times import moment


@pytest.fixture(params=["fake", "stripe", "sqlite", "postgres"])
def t(request):
    with till(request.param) as made:
        yield made


in_memory = pytest.mark.parametrize("t", ["fake", "stripe"], indirect=True)


def off(t, span: timedelta) -> None:
    """This service's clock differs from the provider's from now on."""
    micros = span // timedelta(microseconds=1)
    t.billing = Billing(
        t.store, clock=lambda: t.clock() + micros, ids=t.ids, payments=t.provider, **t.options
    )


def refunded_unheard(t, page, amount=None) -> None:
    """A refund of which no webhook tells."""
    t.street.refund_in_dashboard(t.payment(page).id, amount)
    t.street.deliveries()


class Altered:
    """A provider whose lists of news are dated otherwise."""

    def __init__(self, provider, at) -> None:
        self.provider, self.at = provider, at

    def __getattr__(self, name):
        return getattr(self.provider, name)

    def notices(self, *args, **named):
        page = self.provider.notices(*args, **named)
        return attrs.evolve(page, at=self.at(page.at))


# -- clocks -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "span", [12 * MINUTE, 20 * HOUR, -12 * MINUTE, -20 * HOUR], ids=["12m", "20h", "-12m", "-20h"]
)
def test_a_refund_is_heard_of_though_our_clock_is_not_the_provider_s(t, span) -> None:
    off(t, span)
    page = t.paid("10")
    t.run()
    t.clock.advance(SECOND)
    refunded_unheard(t, page)
    for _ in range(3):
        t.clock.advance(20 * MINUTE)
        assert t.run().failures == []
    assert t.balance() == "0.00 USD"


def test_news_is_read_every_few_minutes_by_our_own_clock(t) -> None:
    off(t, 12 * MINUTE)
    page = t.paid("10")
    t.run()
    refunded_unheard(t, page)
    t.clock.advance(4 * MINUTE)
    t.run()
    assert t.balance() == "10.00 USD"
    t.clock.advance(MINUTE)
    t.run()
    assert t.balance() == "0.00 USD"


def test_a_clock_that_was_set_back_does_not_stop_the_news(t) -> None:
    page = t.paid("10")
    off(t, 20 * HOUR)
    t.run()
    off(t, timedelta(0))
    refunded_unheard(t, page)
    t.run()
    assert t.store.topup_of(payment=t.payment(page).id) == ("acme", page.topup)
    [known] = t.store.topups("acme")
    assert known.clawed == usd("10").nanos


@in_memory
@pytest.mark.parametrize("off_by", [None, 400 * DAY, -400 * DAY], ids=["none", "future", "past"])
def test_a_provider_that_dates_its_lists_wrongly_or_not_is_heard(t, off_by) -> None:
    def at(real: int) -> int | None:
        return None if off_by is None else real + off_by // timedelta(microseconds=1)

    t.billing.payments = Altered(t.provider, at)
    page = t.paid("10")
    t.run()
    t.clock.advance(20 * MINUTE)
    refunded_unheard(t, page, 400)
    t.wait(20 * MINUTE)
    assert t.balance() == "6.00 USD"
    t.clock.advance(20 * MINUTE)
    refunded_unheard(t, page)
    t.wait(20 * MINUTE)
    assert t.balance() == "0.00 USD"
    t.check()


def test_the_marks_of_the_version_before_are_gone_on_from(t) -> None:
    """It wrote how far it had come by its own clock."""
    page = t.paid("10")
    refunded_unheard(t, page)
    t.store.set_mark("news:test", t.clock() + 12 * 60_000_000)
    t.run()
    assert t.balance() == "0.00 USD"


def test_a_charge_whose_answer_was_lost_is_found_though_our_clock_leads(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.billing._work._sweep = lambda run, topups: None
    off(t, 20 * MINUTE)
    t.billing._work._sweep = lambda run, topups: None
    t.spend("6")
    t.street.fault("timeout_after")
    t.run()
    assert t.attempts() == ["calling"]
    t.clock.advance(3 * DAY)
    t.run()
    assert (t.attempts(), t.balance()) == (["paid"], "24.00 USD")


# -- what the provider keeps no longer ------------------------------------------------


def test_news_that_may_be_gone_is_told_and_read_back(t) -> None:
    page, other = t.paid("10"), t.paid("20")
    t.run()
    t.clock.advance(HOUR)
    refunded_unheard(t, page)
    t.clock.advance(34 * DAY)
    refunded_unheard(t, other)
    t.clock.advance(DAY)
    [failure] = t.run().failures
    assert (failure.org, failure.what) == (None, "news")
    assert isinstance(failure.error, PaymentError)
    assert "2026-11-20" in str(failure.error) and "2026-11-25 13:00 UTC" in str(failure.error)
    assert t.balance() == "10.00 USD", "what is still told was heard"
    [difference] = t.differences()
    assert (difference.org, difference.topup) == ("acme", page.topup)
    for _ in range(2):
        assert t.billing.read_back("acme", page.topup).clawed == usd("10").nanos
    assert t.balance() == "0.00 USD"
    assert t.wait(HOUR).failures == [], "told once"
    t.check()


def test_what_was_paid_on_a_page_that_we_never_heard_of_is_read_back(t) -> None:
    """The page opened and the answer was lost; it was paid, and so was every notice of that."""
    t.run()
    t.street.fault("timeout_after")
    with pytest.raises(PaymentError):
        t.order("10", key="k")
    [page] = getattr(t.street, "sessions", None) or t.street._checkouts
    t.street.pay(page)
    t.street.deliveries()
    t.wait(36 * DAY)
    [known] = t.store.topups("acme")
    assert (known.checkout, known.payment) == (None, None)
    [difference] = t.differences()
    with pytest.raises(Conflict, match="give that as payment="):
        t.billing.read_back("acme", known.topup)
    other = t.paid("20")
    with pytest.raises(Conflict, match="is not of top-up"):
        t.billing.read_back("acme", known.topup, payment=t.payment(other).id)
    for _ in range(2):
        t.billing.read_back("acme", known.topup, payment=difference.payment)
    assert t.balance() == "30.00 USD"
    t.check()


def test_silence_is_no_lost_news(t) -> None:
    t.paid("10")
    for _ in range(40):
        assert t.wait(DAY).failures == []
    page = t.paid("10")
    t.clock.advance(HOUR)
    refunded_unheard(t, page)
    assert t.wait(DAY).failures == []
    assert t.balance() == "10.00 USD"
    t.check()


def test_only_what_was_asked_for_is_read_back(t) -> None:
    with pytest.raises(NotFound):
        t.billing.read_back("acme", "none")
    t.street.fault("timeout_before")
    with pytest.raises(PaymentError):
        t.order()
    [known] = t.store.topups("acme")
    with pytest.raises(Conflict, match="nothing to read"):
        t.billing.read_back("acme", known.topup)


# -- what is edited at the provider ---------------------------------------------------

EDITS = pytest.mark.parametrize(
    "edit", [(), ("nobody", "t-1"), ("globex", "other")], ids=["none", "elsewhere", "another"]
)


def edited(t, page, edit) -> str:
    """What we wrote on checkout and payment is edited, or removed; the payment."""
    if edit and edit[0] == "globex":
        t.billing.open_account("globex", livemode=False)
        edit = ("globex", t.order(org="globex").topup)
    payment = t.provider.read_checkout(page.session).payment
    for name in (page.session, payment):
        t.street.relabel(name, *edit)
    return payment


@EDITS
@pytest.mark.parametrize("how", ["refund", "dispute"])
def test_a_payment_on_record_is_known_whatever_its_metadata_say(t, edit, how) -> None:
    page = t.order("10", automatic_tax=True)
    t.street.pay(page.session, tax=190)
    t.billing.confirm("acme", page.session)
    payment = edited(t, page, edit)
    t.deliver()
    t.check()
    if how == "refund":
        t.street.refund_in_dashboard(payment)
    else:
        t.street.dispute(payment)
    delivered = t.street.deliveries()
    [difference] = t.differences()
    assert (difference.org, difference.topup) == ("acme", page.topup)
    for body, signed in delivered:
        t.billing.webhook(body, signed)
    assert t.balance() == "0.00 USD"
    t.check()


@EDITS
@pytest.mark.parametrize("how", ["webhooks", "sweep", "confirm", "payment alone"])
def test_what_is_edited_before_we_have_heard_is_credited_by_its_page(t, edit, how) -> None:
    page = t.order("10")
    t.run()
    t.clock.advance(MINUTE)
    t.street.pay(page.session)
    edited(t, page, edit)
    [difference] = t.differences()
    assert (difference.topup, difference.what) == (page.topup, "paid, but not credited; it is open")
    if how == "confirm":
        assert t.billing.confirm("acme", page.session).paid
        if edit[:1] == ("globex",):
            with pytest.raises(NotFound):
                t.billing.confirm("globex", page.session)
    elif how == "sweep":
        t.wait(20 * MINUTE)
    else:
        for body, signed in t.street.deliveries():
            notice = t.provider.read_webhook(body, signed, now=t.clock())
            if how == "webhooks" or notice.kind == "payment":
                t.billing.webhook(body, signed)
    assert t.balance() == "10.00 USD"
    t.check()


def test_a_page_that_closed_is_known_whatever_its_metadata_say(t) -> None:
    page = t.order("10")
    t.street.relabel(page.session)
    t.street.expire(page.session)
    t.deliver()
    assert t.state(page) == "expired"
    t.check()


def test_an_automatic_top_up_is_known_whatever_its_metadata_say(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.spend("6")
    t.run()
    [attempt] = [each for each in t.store.topups("acme") if each.kind == "auto"]
    t.street.relabel(attempt.payment)
    t.street.deliveries()
    t.street.refund_in_dashboard(attempt.payment)
    assert [each.topup for each in t.differences()] == [attempt.topup]
    t.deliver()
    assert t.balance() == "4.00 USD"
    t.check()


def test_a_second_payment_is_a_difference_whatever_its_metadata_say(t) -> None:
    page = t.paid("10")
    order = CheckoutOrder(
        org="acme", order=page.topup, amount=1000, currency="USD", description="again", **URLS
    )
    again = t.provider.create_checkout(order, key="again")
    t.street.pay(again.id)
    t.deliver()
    [stray] = t.billing.topup("acme", page.topup).strays
    t.street.relabel(stray)
    [difference] = t.differences()
    assert (difference.payment, difference.topup) == (stray, page.topup)
    assert "second payment" in difference.what


def test_a_refund_that_was_made_is_made_once_though_its_key_is_edited_away(t) -> None:
    page = t.paid("10")
    refund = t.provider.refund

    class Edited:
        def __getattr__(self, name):
            return getattr(t.provider, name)

        def refund(self, payment, **asked):
            made = refund(payment, **asked)
            t.street.relabel(made.id)
            return made

    t.billing.payments = Edited()
    t.billing.refund("acme", "r", topup=page.topup, amount=usd("4"))
    for _ in range(4):
        t.wait(10 * HOUR)
    assert t.billing.topup("acme", page.topup).refunds[0].state == "made"
    assert t.payment(page).refunded == 400
    assert t.balance() == "6.00 USD"
    t.check()


@pytest.mark.parametrize("edited", [True, False])
def test_a_refund_whose_answer_was_lost_is_made_once_though_its_key_is_edited_away(
    t, edited
) -> None:
    page = t.paid("10")
    t.run()
    refund = t.provider.refund
    lost = []

    class Lost:
        def __getattr__(self, name):
            return getattr(t.provider, name)

        def refund(self, payment, **asked):
            made = refund(payment, **asked)
            if lost:
                return made
            lost.append(made)
            if edited:
                t.street.relabel(made.id)
            raise PaymentError("no answer", kind="timeout", retryable=True)

    t.billing.payments = Lost()
    with pytest.raises(PaymentError):
        t.billing.refund("acme", "r", topup=page.topup, amount=usd("3"))
    t.clock.advance(26 * HOUR)
    for _ in range(4):
        t.wait(2 * HOUR)
    assert [each.amount for each in t.payment(page).refunds] == [300]
    [known] = t.billing.topup("acme", page.topup).refunds
    assert known.state == "made"
    assert t.balance() == "7.00 USD"
    t.billing.refund("acme", "r2", topup=page.topup, amount=usd("3"))
    assert t.balance() == "4.00 USD", "another of as much is another"
    t.check()


@in_memory
@pytest.mark.parametrize("level", [1, 2])
def test_a_refund_by_hand_of_as_much_is_another(t, level, monkeypatch) -> None:
    monkeypatch.setattr(MemoryStore, "level", lambda _: level)
    t.billing = t.engine()
    page = t.paid("10")
    t.street.refund_in_dashboard(t.payment(page).id, 300)
    t.deliver()
    t.billing.refund("acme", "r", topup=page.topup, amount=usd("3"))
    assert [each.amount for each in t.payment(page).refunds] == [300, 300]
    assert t.balance() == "4.00 USD"


def test_two_refunds_of_as_much_whose_keys_were_edited_away_are_two(t) -> None:
    """Of the second nobody has heard at the provider."""
    page = t.paid("10")
    t.run()
    refund, calls = t.provider.refund, []

    class Lost:
        def __getattr__(self, name):
            return getattr(t.provider, name)

        def refund(self, payment, **asked):
            calls.append(payment)
            if len(calls) == 1:
                t.street.relabel(refund(payment, **asked).id)
            if len(calls) <= 2:
                raise PaymentError("no answer", kind="timeout", retryable=True)
            return refund(payment, **asked)

    t.billing.payments = Lost()
    for key in ("r1", "r2"):
        with pytest.raises(PaymentError):
            t.billing.refund("acme", key, topup=page.topup, amount=usd("3"))
    t.clock.advance(26 * HOUR)
    for _ in range(4):
        t.wait(2 * HOUR)
    assert [each.amount for each in t.payment(page).refunds] == [300, 300]
    assert t.balance() == "4.00 USD"
    t.check()


def test_a_payment_of_nobody_is_still_nobody_s(t) -> None:
    t.paid("10")
    order = CheckoutOrder(
        org="elsewhere", order="o-1", amount=1000, currency="USD", description="theirs", **URLS
    )
    theirs = t.provider.create_checkout(order, key="theirs")
    t.street.pay(theirs.id)
    t.street.relabel(theirs.id)
    t.street.relabel(t.provider.read_checkout(theirs.id).payment)
    t.deliver()
    assert t.balance() == "10.00 USD"
    found = t.billing.reconcile(moment(t.clock()) - DAY, moment(t.clock()) + DAY)
    assert (found.payments, found.foreign, found.topups, found.ok) == (2, 1, 1, True)


def test_the_async_engine_reads_back() -> None:
    world = fake_world()

    async def use() -> None:
        billing = AsyncBilling(MemoryStore(), clock=world.clock, payments=world.provider)
        await billing.open_account("acme", livemode=False)
        page = await billing.top_up("acme", "k", usd("10"), **URLS)
        world.street.pay(page.session)
        assert (await billing.read_back("acme", page.topup)).paid
        assert str(await billing.balance("acme")) == "10.00 USD"

    asyncio.run(use())
