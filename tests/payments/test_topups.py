"""Top-ups by checkout: each case against the fake, and through Stripe's own client."""

import asyncio
import json
import sqlite3
import threading

import pytest
from payment_worlds import fake_world
from topup_till import DAY, HOUR, MINUTE, SECOND, URLS, Till, till, used

from billing_adapters.sqlite import SqliteStore
from billing_core import (
    AsyncBilling,
    Conflict,
    IdempotencyConflict,
    InvalidCommand,
    Money,
    MoneyOverflow,
    NotFound,
    PaymentError,
    TopUpRules,
    usd,
)
from billing_core.ports.payments import Notice
from billing_core.records.topups import is_said
from billing_core.testing import MemoryStore
from billing_core.values.money import MAX_NANOS
from billing_core.values.times import moment


@pytest.fixture(params=["fake", "stripe", "postgres"])
def t(request):
    with till(request.param) as made:
        yield made


in_memory = pytest.mark.parametrize("t", ["fake", "stripe"], indirect=True)


def test_a_customer_pays_and_is_credited_once(t) -> None:
    page = t.order("10")
    assert page.url is not None
    assert not t.billing.confirm("acme", page.session).paid
    t.street.pay(page.session)
    answer = t.billing.confirm("acme", page.session)
    assert (answer.state, answer.granted) == ("paid", usd("10").nanos)
    assert t.billing.confirm("acme", page.session).paid
    assert t.balance() == "10.00 USD"
    assert t.kinds() == ["topup"]
    assert t.events() == ["topup_succeeded"]
    t.check()


def test_the_order_is_on_record_before_the_provider_hears_of_it(t) -> None:
    t.street.fault("timeout_before")
    with pytest.raises(PaymentError):
        t.order(key="k")
    [known] = t.store.topups("acme")
    assert (known.state, known.checkout) == ("ordered", None)
    assert known.seq == list(t.store.entries("acme"))[-1].seq
    page = t.order(key="k")
    assert page.topup == known.topup
    t.check()


def test_the_same_key_gives_the_same_page_and_other_content_a_conflict(t) -> None:
    page = t.order("10", key="k")
    assert t.order("10", key="k") == page
    with pytest.raises(Conflict):
        t.order("11", key="k")
    t.street.pay(page.session)
    assert t.order("10", key="k").url is None


ELSE = {"success_url": "https://host.example/else", "cancel_url": "https://host.example/else"}
ELSE |= {"description": "Something else"}


@pytest.mark.parametrize("name", ELSE)
def test_a_key_stands_for_where_it_leads_and_what_it_says(t, name) -> None:
    t.street.fault("timeout_before")
    with pytest.raises(PaymentError):
        t.order(key="k")
    other = {name: ELSE[name]}
    with pytest.raises(IdempotencyConflict):
        t.order(key="k", **other)
    page = t.order(key="k")
    with pytest.raises(IdempotencyConflict):
        t.order(key="k", **other)
    t.street.pay(page.session)
    t.billing.confirm("acme", page.session)
    with pytest.raises(IdempotencyConflict):
        t.order(key="k", **other)
    assert t.order(key="k").session == page.session
    [known] = t.store.topups("acme")
    assert "host.example" not in known.asked, "no address is kept"
    t.check()


@in_memory
def test_while_the_version_before_may_run_an_order_keeps_nothing(t, monkeypatch) -> None:
    monkeypatch.setattr(type(t.store), "level", lambda store: 1)
    monkeypatch.setattr(t.billing._prices, "level", 1)
    page = t.order(key="k")
    [known] = t.store.topups("acme")
    assert known.asked == ""
    monkeypatch.setattr(t.billing._prices, "level", 2)
    assert t.order(key="k", **ELSE).session == page.session, "nobody can tell any more"
    t.check()


@pytest.mark.parametrize("t", ["fake"], indirect=True)
def test_verify_finds_what_is_no_digest_of_an_order(t) -> None:
    t.order(key="k")
    known = t.store._orgs["acme"].topups
    [topup] = known.values()
    assert is_said(topup.asked)
    for wrong in ('{"said":"x"}', '{"order":"x"}', "x"):
        topup.asked = wrong
        [found] = t.billing.verify("acme").discrepancies
        assert "asked" in str(found)


def test_an_order_whose_page_never_came_is_not_opened_again_once_keys_may_be_forgotten(t) -> None:
    t.street.fault("timeout_before")
    with pytest.raises(PaymentError):
        t.order(key="k")
    t.clock.advance(13 * HOUR)
    with pytest.raises(Conflict, match="new key"):
        t.order(key="k")
    t.wait(13 * HOUR)
    [known] = t.store.topups("acme")
    assert (known.state, known.due_at) == ("failed", None)
    t.check()


def test_a_duplicate_webhook_credits_once(t) -> None:
    page = t.order()
    t.street.pay(page.session)
    for body, signed in t.street.deliveries() * 3:
        t.billing.webhook(body, signed)
    assert t.balance() == "10.00 USD"
    t.check()


@pytest.mark.parametrize("t", ["fake", "stripe", "postgres at once"], indirect=True)
@pytest.mark.parametrize("with_success", [False, True])
def test_two_deliveries_and_the_success_page_at_once_credit_once(t, with_success) -> None:
    page = t.order()
    t.street.pay(page.session)
    delivered = t.street.deliveries()
    works = [lambda each=each: t.billing.webhook(*each) for each in delivered * 2]
    if with_success:
        works += [lambda: t.billing.confirm("acme", page.session)] * 2
    gate = threading.Barrier(len(works))
    errors = []

    def run(work) -> None:
        gate.wait()
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert t.balance() == "10.00 USD"
    assert t.kinds() == ["topup"]
    t.check()


@in_memory
def test_a_webhook_before_our_row_is_visible_is_delivered_again(t) -> None:
    page = t.order()
    t.street.pay(page.session)
    delivered = t.street.deliveries()
    hidden = t.store._orgs["acme"].topups.pop(page.topup)
    for body, signed in delivered:
        if t.provider.read_webhook(body, signed, now=t.clock()).kind != "ignored":
            with pytest.raises(NotFound):
                t.billing.webhook(body, signed)
    t.store._orgs["acme"].topups[page.topup] = hidden
    for body, signed in delivered:
        t.billing.webhook(body, signed)
    assert t.balance() == "10.00 USD"
    t.check()


def test_a_session_of_another_org_is_not_found(t) -> None:
    t.billing.open_account("globex", livemode=False)
    page = t.order()
    t.street.pay(page.session)
    with pytest.raises(NotFound):
        t.billing.confirm("globex", page.session)
    with pytest.raises(NotFound, match="cs_none"):
        t.billing.confirm("acme", "cs_none")
    assert t.balance("globex") == "0.00 USD"


@pytest.mark.parametrize("succeeded", [True, False])
def test_unpaid_is_not_final(t, succeeded) -> None:
    page = t.order()
    t.street.pay(page.session, later=True)
    assert t.billing.confirm("acme", page.session).state == "processing"
    assert t.balance() == "0.00 USD"
    t.clock.advance(2 * DAY)
    t.street.settle(page.session, succeeded=succeeded)
    t.deliver()
    assert t.state(page) == ("paid" if succeeded else "failed")
    assert t.balance() == ("10.00 USD" if succeeded else "0.00 USD")
    assert t.events() == ["topup_succeeded" if succeeded else "topup_failed"]
    if not succeeded:
        [event] = t.billing.events("acme")
        why = t.payment(page).failure or t.payment(page).state
        told = {"topup": page.topup, "kind": "checkout", "state": "failed", "why": why}
        assert json.loads(event.data) == told
    t.check()


def test_what_is_paid_repays_at_once_what_was_used_before(t) -> None:
    used(t, usd("4").nanos)
    t.paid("10")
    balance = t.billing.balance("acme")
    assert (balance.debt, [lot.remainder for lot in balance.lots]) == (0, [usd("6").nanos])
    t.check()


def test_what_is_paid_waits_while_credit_with_it_would_leave_64_bits(t) -> None:
    """The money is there, and the page and the provider tell it again."""
    page = t.order("10")
    t.street.pay(page.session)
    t.billing.grant("acme", "fill", Money(MAX_NANOS - usd("10").nanos + 1, "USD"))
    before = t.billing.balance("acme")
    with pytest.raises(MoneyOverflow, match="credit that is within 64 bits"):
        t.billing.confirm("acme", page.session)
    assert (t.billing.balance("acme"), t.state(page)) == (before, "open")
    t.billing.deduct("acme", "room", Money(1, "USD"), resource="x")
    assert t.billing.confirm("acme", page.session).paid
    assert t.billing.balance("acme").balance == MAX_NANOS
    t.check()


def test_news_that_is_old_is_answered_and_puts_nothing_on_record(t) -> None:
    page = t.order("10")
    t.street.pay(page.session)
    first = t.billing.confirm("acme", page.session)
    entries = list(t.store.entries("acme"))
    assert first.seq == entries[-1].seq
    again = t.billing.confirm("acme", page.session)
    for answer in (first, again):
        assert (answer.replayed, answer.seq, answer.why) == (False, entries[-1].seq, None)
    t.deliver()
    assert len(list(t.store.entries("acme"))) == len(entries)
    t.street.refund_in_dashboard(t.payment(page).id, 300)
    taken = t.billing.confirm("acme", page.session)
    last = list(t.store.entries("acme"))[-1]
    assert (taken.seq, last.op, last.amount) == (last.seq, "payment", usd("3").nanos)
    t.check()


def test_what_is_paid_later_on_a_page_is_looked_at_when_the_page_has_closed(t) -> None:
    """Until then a webhook tells it: no worker asks for it every hour."""
    page = t.order()
    [ordered] = t.store.topups("acme")
    t.street.pay(page.session, later=True)
    t.deliver()
    [known] = t.store.topups("acme")
    assert (known.state, known.due_at) == ("processing", ordered.due_at)
    assert moment(known.due_at) == t.clock.now + DAY + HOUR
    t.check()


def test_an_expired_session_credits_nothing(t) -> None:
    page = t.order()
    t.street.expire(page.session)
    t.deliver()
    assert t.state(page) == "expired"
    assert not t.billing.confirm("acme", page.session).paid
    assert t.balance() == "0.00 USD"
    t.check()


def test_a_refused_card_leaves_the_page_open(t) -> None:
    page = t.order()
    t.street.refuse(page.session)
    t.deliver()
    assert t.state(page) == "open"
    t.street.pay(page.session)
    t.deliver()
    assert t.balance() == "10.00 USD"
    t.check()


def test_tax_is_paid_on_top_and_is_no_credit(t) -> None:
    page = t.order("10", automatic_tax=True)
    t.street.pay(page.session, tax=190)
    assert t.billing.confirm("acme", page.session).granted == usd("10").nanos
    assert t.payment(page).received == 1190
    t.check()


@pytest.mark.parametrize(
    ("altered", "why"),
    [({"discount": 100}, "amount"), ({"currency": "EUR"}, "currency")],
)
def test_what_was_altered_on_the_way_is_quarantined(t, altered, why) -> None:
    page = t.order()
    t.street.pay(page.session, **altered)
    answer = t.billing.confirm("acme", page.session)
    assert (answer.state, answer.why, answer.granted) == ("quarantined", why, 0)
    t.deliver()
    assert t.balance() == "0.00 USD"
    assert t.events() == ["payment_quarantined"]
    assert t.wrong() == []
    [difference] = t.differences()
    assert why in difference.what
    # Staff give it back, and everything agrees again.
    t.street.refund_in_dashboard(t.payment(page).id)
    t.deliver()
    assert t.balance() == "0.00 USD"
    t.check()


def test_a_discount_of_all_is_no_payment(t) -> None:
    page = t.order()
    t.street.pay(page.session, discount=1000)
    assert t.billing.confirm("acme", page.session).state == "quarantined"
    assert t.balance() == "0.00 USD"
    t.check()


@pytest.mark.parametrize("amount", [5.0, 5, "5", None, usd("-1"), usd(0)])
def test_an_amount_is_money(t, amount) -> None:
    with pytest.raises(InvalidCommand, match="amount"):
        t.billing.top_up("acme", "k", amount, **URLS)
    assert list(t.store.topups("acme")) == []


def test_nothing_is_reconciled_over_no_time(t) -> None:
    now = moment(t.clock())
    for since in (now, now + DAY):
        with pytest.raises(InvalidCommand, match="until"):
            t.billing.reconcile(since, now)


def test_livemode_is_not_mixed(t) -> None:
    t.billing.open_account("live", livemode=True)
    with pytest.raises(InvalidCommand, match="livemode"):
        t.order(org="live")
    assert list(t.store.topups("live")) == []


@in_memory
def test_a_payment_of_the_wrong_mode_is_quarantined(t) -> None:
    page = t.order()
    t.street.pay(page.session)
    t.store._orgs["acme"].account.livemode = True
    assert t.billing.confirm("acme", page.session).why == "livemode"
    assert t.balance() == "0.00 USD"


def test_other_currencies_are_refused(t) -> None:
    with pytest.raises(InvalidCommand, match="EUR"):
        t.billing.top_up("acme", "k", Money.of("10", "EUR"), **URLS)


@pytest.mark.parametrize("amount", ["4.99", "10000.01"])
def test_too_little_and_too_much_are_refused(t, amount) -> None:
    with pytest.raises(InvalidCommand, match=r"5\.00 to 10000.00 USD"):
        t.order(amount)
    assert list(t.store.topups("acme")) == []


def test_the_bounds_are_settings() -> None:
    with till("fake", topups=TopUpRules(minimum=1000, maximum=2000)) as t:
        with pytest.raises(InvalidCommand, match=r"10\.00 to 20.00 USD"):
            t.order("9.99")
        assert t.paid("20")


@pytest.mark.parametrize(
    ("currency", "amount", "minor"), [("JPY", "5000", 5000), ("KWD", "7.120", 7120)]
)
def test_a_currency_is_paid_in_its_own_minor_units(t, currency, amount, minor) -> None:
    t.billing.open_account("abroad", currency=currency, livemode=False)
    page = t.billing.top_up("abroad", "k", Money.of(amount, currency), **URLS)
    t.street.pay(page.session)
    assert t.billing.confirm("abroad", page.session).granted == Money.of(amount, currency).nanos
    assert [each.received for each in t.payments()] == [minor]
    t.check()


def test_finer_than_the_minor_unit_is_refused(t) -> None:
    with pytest.raises(InvalidCommand, match="multiple"):
        t.order("10.001")


@pytest.mark.parametrize(
    "alter",
    [
        lambda body, signed: (body + b" ", signed),
        lambda body, signed: (b"\xff\xfe", signed),
        lambda body, signed: (body, None),
        lambda body, signed: (body, signed.replace("v1=", "v1=0")),
        lambda body, signed: (b" " * 5_000_000, signed),
    ],
    ids=["altered", "not UTF-8", "unsigned", "wrong signature", "oversized"],
)
def test_what_cannot_be_verified_changes_nothing(t, alter) -> None:
    page = t.order()
    t.street.pay(page.session)
    for body, signed in t.street.deliveries():
        with pytest.raises(PaymentError) as error:
            t.billing.webhook(*alter(body, signed))
        assert error.value.kind in ("bad_signature", "bad_webhook")
    assert t.balance() == "0.00 USD"


@pytest.mark.parametrize("late", [-10 * MINUTE, 10 * MINUTE])
def test_a_stale_or_future_dated_signature_changes_nothing(t, late) -> None:
    page = t.order()
    t.street.pay(page.session)
    delivered = t.street.deliveries()
    t.clock.advance(late)
    for body, signed in delivered:
        with pytest.raises(PaymentError) as error:
            t.billing.webhook(body, signed)
        assert error.value.kind == "bad_signature"
    assert t.balance() == "0.00 USD"


def test_news_of_what_is_not_ours_is_ignored(t) -> None:
    """Another database may share the provider's account."""
    with till("fake") as other:
        other.world = t.world
        other.provider = other.billing.payments = t.provider
        other.billing.open_account("globex", livemode=False)
        page = other.order(org="globex")
        t.street.pay(page.session)
        assert t.deliver()
    assert t.balance() == "0.00 USD"


def test_events_out_of_order(t) -> None:
    page = t.order(save_method=True)
    t.street.pay(page.session)
    payment = t.provider.read_checkout(page.session).payment
    t.street.refund_in_dashboard(payment, 400)
    for body, signed in reversed(t.street.deliveries()):
        t.billing.webhook(body, signed)
    assert t.balance() == "6.00 USD"
    assert t.kinds() == ["topup", "clawback"]
    t.check()


def test_a_missed_event_is_found_by_the_sweep(t) -> None:
    t.run()
    page = t.order()
    t.clock.advance(SECOND)
    t.street.pay(page.session)
    t.street.deliveries()
    assert t.balance() == "0.00 USD"
    assert t.wait(20 * MINUTE).failures == []
    assert t.balance() == "10.00 USD"
    t.street.refund_in_dashboard(t.payment(page).id)
    t.street.deliveries()
    t.wait(20 * MINUTE)
    assert t.balance() == "0.00 USD"
    t.check()


def test_a_sweep_that_fails_is_made_again_from_where_it_was(t) -> None:
    t.run()
    page = t.order()
    t.clock.advance(20 * MINUTE)
    t.street.pay(page.session)
    t.street.deliveries()
    t.street.fault("timeout_before")
    assert [each.what for each in t.run().failures] == ["the list of news"]
    assert t.balance() == "0.00 USD"
    assert t.wait(MINUTE).failures == []
    assert t.balance() == "10.00 USD"
    t.check()


def test_a_page_that_nobody_told_of_is_looked_at_once_it_has_closed(t) -> None:
    page = t.order()
    t.street.expire(page.session)
    t.street.deliveries()
    t.billing._work._sweep = lambda run, topups: None
    t.wait(26 * HOUR)
    assert t.state(page) == "expired"
    assert t.store.due_topups(2**60, livemode=False) == []


@in_memory
def test_a_second_payment_of_one_order_is_not_credited(t) -> None:
    page = t.paid()
    known = t.store._orgs["acme"].topups[page.topup]
    real = known.payment
    known.payment = "pi_other"  # as if it had been paid by another one before
    t.deliver()
    assert t.balance() == "10.00 USD"
    assert t.events() == ["topup_succeeded", "payment_quarantined"]
    second, absent = t.differences()
    assert second.payment == real
    assert "second payment" in second.what
    assert "lists none" in absent.what


def test_an_address_is_kept_no_longer_than_it_serves(t) -> None:
    t.street.fault("timeout_before")
    with pytest.raises(PaymentError):
        t.order(key="k", receipt_email="ana@example.com")
    [known] = t.store.topups("acme")
    assert "ana@example.com" in known.asked
    t.order(key="k")
    assert "ana@example.com" not in str(t.state_of_all())
    t.check()


def test_an_unknown_type_of_event_changes_nothing(t) -> None:
    before = t.state_of_all()
    notice = Notice(event="evt", kind="ignored", word="invoice.paid", created=t.clock())
    assert t.billing._at_provider().heed(notice) is None
    assert t.state_of_all() == before


def test_nobody_waits_for_a_provider_in_a_transaction(tmp_path) -> None:
    with SqliteStore(tmp_path / "b.db") as store:
        t = Till(fake_world(), store)
        page = t.paid("10")
        host = sqlite3.connect(tmp_path / "b.db", isolation_level=None)
        host.execute("BEGIN IMMEDIATE")
        inside = t.billing.within(host)
        for call in (
            lambda: inside.top_up("acme", "k", usd("10"), **URLS),
            lambda: inside.confirm("acme", page.session),
            lambda: inside.refund("acme", "k", topup=page.topup),
        ):
            with pytest.raises(PaymentError, match="no provider"):
                call()
        host.execute("ROLLBACK")
        host.close()
        t.check()


def test_the_async_engine_tops_up_too() -> None:
    world = fake_world()

    async def use() -> str:
        billing = AsyncBilling(MemoryStore(), clock=world.clock, payments=world.provider)
        await billing.open_account("acme", livemode=False)
        page = await billing.top_up("acme", "k", usd("10"), save_method=True, **URLS)
        world.street.pay(page.session)
        for body, signed in world.street.deliveries():
            await billing.webhook(body, signed)
        assert (await billing.confirm("acme", page.session)).paid
        await billing.set_auto_topup(
            "acme", "on", enabled=True, threshold=usd("5"), amount=usd("20")
        )
        await billing.deduct("acme", "d", usd("6"), resource="x")
        assert (await billing.auto_topup("acme")).topup is not None
        assert (await billing.run_pending()).topups == 1
        world.street.detach(world.provider.read_checkout(page.session).method)
        for body, signed in world.street.deliveries():
            await billing.webhook(body, signed)
        recovered = await billing.recover("acme", "again", **URLS)
        assert recovered.url is not None
        await billing.refund("acme", "r", topup=page.topup, amount=usd("4"))
        assert (await billing.topup("acme", page.topup)).clawed == usd("4").nanos
        span = world.clock.now - DAY, world.clock.now + DAY
        assert (await billing.reconcile(*span)).ok
        return str(await billing.balance("acme"))

    assert asyncio.run(use()) == "20.00 USD"
