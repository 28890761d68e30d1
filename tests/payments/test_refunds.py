"""Refunds and disputes: each case against the fake, and through Stripe's own client."""

import json

import attrs
import pytest
from topup_till import DAY, HOUR, MINUTE, URLS, till, used

from billing_adapters.fake_payments import FakePayments
from billing_core import (
    Billing,
    InvalidCommand,
    Money,
    MoneyOverflow,
    NotFound,
    PaymentError,
    Refusal,
    Refused,
    TopUpRules,
    usd,
)
from billing_core.ports.payments import CheckoutOrder
from billing_core.values.money import MAX_NANOS
from billing_core.values.times import moment


@pytest.fixture(params=["fake", "stripe"])
def t(request):
    with till(request.param) as made:
        yield made


def test_a_refund_takes_back_credit_in_proportion(t) -> None:
    page = t.order("10", automatic_tax=True)
    t.street.pay(page.session, tax=190)
    t.billing.confirm("acme", page.session)
    answer = t.billing.refund("acme", "r1", topup=page.topup, amount=usd("5.95"))
    assert (answer.granted, answer.clawed) == (usd("10").nanos, usd("5").nanos)
    assert t.balance() == "5.00 USD"
    t.billing.refund("acme", "r2", topup=page.topup)
    assert t.balance() == "0.00 USD"
    assert t.kinds() == ["topup", "clawback", "clawback"]
    t.check()


def test_a_refund_is_made_once_per_key(t) -> None:
    page = t.paid("10")
    for _ in range(3):
        t.billing.refund("acme", "r", topup=page.topup, amount=usd("4"))
        t.clock.advance(2 * DAY)  # the provider may have forgotten its key
    assert t.payment(page).refunded == 400
    assert t.balance() == "6.00 USD"
    t.check()


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after"])
def test_a_refund_whose_answer_is_lost_is_made_once(t, fault) -> None:
    page = t.paid("10")
    t.run()
    t.street.fault("none", fault)
    with pytest.raises(PaymentError):
        t.billing.refund("acme", "r", topup=page.topup, amount=usd("4"))
    [known] = t.store.topups("acme")
    assert moment(known.due_at) == t.clock.now + TopUpRules().lease, "its caller has it till then"
    t.street.deliveries()
    t.wait(5 * MINUTE)
    assert t.payment(page).refunded == 400
    assert t.balance() == "6.00 USD"
    assert t.billing.refund("acme", "r", topup=page.topup, amount=usd("4")).clawed
    assert t.payment(page).refunded == 400
    t.check()


def test_a_refund_that_the_provider_will_not_make_is_given_up(t) -> None:
    page = t.paid("10", save_method=True)
    t.enable()
    with pytest.raises(PaymentError):
        t.billing.refund("acme", "r", topup=page.topup, amount=usd("11"))
    assert t.billing.auto_topup("acme").stopped is None, "no money was taken back"
    assert t.billing.topup("acme", page.topup).refunds[0].state == "refused"
    assert t.store.due_topups(2**60, livemode=False) == []
    assert t.events()[-1] == "refund_failed"
    t.check()


def test_a_refund_that_was_refused_is_refused_again_under_its_key(t) -> None:
    page = t.paid("10")
    for _ in range(2):
        with pytest.raises(PaymentError) as error:
            t.billing.refund("acme", "r", topup=page.topup, amount=usd("11"))
        assert error.value.kind == "invalid_request"
    assert t.billing.refund("acme", "r2", topup=page.topup, amount=usd("4")).clawed
    t.check()


def test_a_part_of_what_was_paid_in_another_currency_cannot_be_named(t) -> None:
    page = t.order("50")
    t.street.pay(page.session, currency="EUR")
    t.deliver()
    with pytest.raises(InvalidCommand, match="another currency"):
        t.billing.refund("acme", "r", topup=page.topup, amount=usd("10"))
    t.billing.refund("acme", "r", topup=page.topup)
    assert t.payment(page).kept == 0
    t.check()


@pytest.mark.parametrize("how", ["refund", "dispute"])
def test_a_refund_that_failed_hides_none_that_comes_later(t, how) -> None:
    t.armed("20", threshold="5", amount="20")
    [paid] = t.store.topups("acme")
    refund = t.street.refund_in_dashboard(paid.payment)
    t.deliver()
    t.street.settle_refund(refund, succeeded=False)
    t.deliver()
    t.enable(threshold="5", amount="20")
    assert t.auto().stopped is None
    if how == "refund":
        t.street.refund_in_dashboard(paid.payment)
    else:
        t.street.dispute(paid.payment)
    t.deliver()
    t.run()
    assert (t.auto().stopped, t.attempts()) == (how, [])
    assert t.balance() == "0.00 USD"
    t.check()


def test_who_asks_for_a_refund_begins_no_automatic_top_up(t) -> None:
    t.armed("10", threshold="8", amount="10")
    [paid] = t.store.topups("acme")
    t.run()
    t.billing.set_auto_topup("acme", "off", enabled=False, threshold=usd("8"), amount=usd("10"))
    t.spend("3")
    t.street.fault("none", "timeout_after")
    with pytest.raises(PaymentError):
        t.billing.refund("acme", "r", topup=paid.topup)
    t.street.deliveries()
    t.enable(threshold="8", amount="10")
    t.spend("1")
    assert t.attempts() == [], "the refund may have been made"
    t.wait(5 * MINUTE)
    assert (t.auto().stopped, t.attempts(), t.balance()) == ("refund", [], "-4.00 USD")
    t.check()


def test_a_refund_drops_an_attempt_that_nobody_was_asked_for(t) -> None:
    t.armed("10", threshold="8", amount="10")
    [paid] = t.store.topups("acme")
    t.run()
    t.spend("3")
    t.street.fault("none", "timeout_before")
    with pytest.raises(PaymentError):
        t.billing.refund("acme", "r", topup=paid.topup)
    t.run()
    assert t.attempts() == ["dropped"]
    t.wait(5 * MINUTE)
    assert (t.auto().stopped, t.attempts(), t.balance()) == ("refund", ["dropped"], "-3.00 USD")
    t.check()


def test_once_a_refund_is_refused_automatic_top_ups_go_on(t) -> None:
    page = t.paid("10", save_method=True)
    t.enable(threshold="8", amount="10")
    with pytest.raises(PaymentError):
        t.billing.refund("acme", "r", topup=page.topup, amount=usd("11"))
    t.spend("3")
    t.run()
    assert t.attempts() == ["paid"]
    t.check()


def test_a_second_payment_that_was_given_back_is_no_difference(t) -> None:
    page = t.paid("10")
    order = CheckoutOrder(
        org="acme", order=page.topup, amount=1000, currency="USD", description="again", **URLS
    )
    again = t.provider.create_checkout(order, key="again")
    t.street.pay(again.id)
    t.deliver()
    [stray] = t.billing.topup("acme", page.topup).strays
    assert "second payment" in t.differences()[0].what
    t.street.refund_in_dashboard(stray)
    t.deliver()
    t.check()


def test_a_provider_of_the_other_mode_refunds_nothing(t) -> None:
    page = t.paid("10")
    live = FakePayments(livemode=True, clock=t.clock, ids=t.ids)
    other = Billing(t.store, clock=t.clock, ids=t.ids, payments=live)
    with pytest.raises(InvalidCommand, match="test mode of the account"):
        other.refund("acme", "r", topup=page.topup)
    assert t.billing.topup("acme", page.topup).refunds == []


def test_only_what_was_paid_is_refunded(t) -> None:
    page = t.order("10")
    with pytest.raises(Refused) as refused:
        t.billing.refund("acme", "r", topup=page.topup)
    assert refused.value.refusal.reason == "not_paid"
    with pytest.raises(NotFound):
        t.billing.refund("acme", "r", topup="none")


def test_a_refund_in_the_dashboard_of_credit_already_spent_leaves_debt(t) -> None:
    page = t.paid("10")
    t.spend("7")
    t.street.refund_in_dashboard(t.payment(page).id)
    t.deliver()
    assert t.balance() == "-7.00 USD"
    assert t.billing.balance("acme").debt == usd("7").nanos
    with pytest.raises(Refused):
        t.spend("0.01")
    t.paid("10")
    assert t.balance() == "3.00 USD"
    t.check()


def test_a_clawback_takes_from_its_own_lot_first_then_from_purchased_credit_only(t) -> None:
    t.billing.grant("acme", "free", usd("3"), kind="promotional", priority=9)
    first = t.paid("10")
    t.paid("10")
    t.spend("8")  # of the first
    t.street.refund_in_dashboard(t.payment(first).id)
    t.deliver()
    lots = {lot.lot: lot.remainder for lot in t.billing.balance("acme").lots}
    assert lots == {1: usd("3").nanos, 3: usd("2").nanos}
    t.spend("2")
    t.check()


def test_a_clawback_takes_from_its_own_lot_though_others_would_be_spent_first(t) -> None:
    first, second = t.paid("10"), t.paid("20")
    t.street.refund_in_dashboard(t.payment(second).id, 1500)
    t.deliver()
    lots = {lot.lot: lot.remainder for lot in t.billing.balance("acme").lots}
    assert lots == {1: usd("10").nanos, 2: usd("5").nanos}
    assert t.billing.topup("acme", first.topup).clawed == 0
    t.check()


def test_what_is_on_its_way_is_not_refunded(t) -> None:
    page = t.order()
    t.street.pay(page.session, later=True)
    t.deliver()
    assert t.state(page) == "processing"
    with pytest.raises(Refused) as refused:
        t.billing.refund("acme", "r", topup=page.topup)
    assert refused.value.refusal == Refusal("acme", "r", "not_paid", 0, None)
    assert t.billing.topup("acme", page.topup).refunds == []
    t.check()


def test_free_credit_does_not_repay_a_clawback(t) -> None:
    page = t.paid("10")
    t.spend("10")
    t.street.refund_in_dashboard(t.payment(page).id)
    t.deliver()
    t.billing.grant("acme", "free", usd("20"), kind="promotional")
    assert t.billing.balance("acme").debt == usd("10").nanos
    assert t.billing.balance("acme").available == usd("10").nanos
    t.check()


def test_held_credit_serves_its_hold(t) -> None:
    page = t.paid("10")
    from datetime import timedelta

    hold = t.billing.hold("acme", usd("6"), expires_in=timedelta(hours=1))
    t.street.refund_in_dashboard(t.payment(page).id, 400)
    t.deliver()
    t.street.refund_in_dashboard(t.payment(page).id, 600)
    t.deliver()
    entries = [each for each in t.store.entries("acme") if each.op == "payment"]
    moves = [each.transfers for each in entries if each.transfers]
    assert [[(move.amount, move.kind) for move in each] for each in moves] == [
        [(usd(amount).nanos, "clawback")] for amount in ("4", "6")
    ]
    assert t.billing.balance("acme").debt == usd("6").nanos
    t.billing.release("acme", hold.key)
    assert t.billing.balance("acme").debt == 0, "what comes free repays at once"
    assert t.balance() == "0.00 USD"
    t.check()


def test_a_failed_refund_reinstates(t) -> None:
    page = t.paid("10")
    t.spend("7")
    t.street.hold_refunds()
    refund = t.street.refund_in_dashboard(t.payment(page).id)
    t.deliver()
    assert t.balance() == "-7.00 USD"
    t.street.settle_refund(refund, succeeded=False)
    t.deliver()
    assert t.balance() == "3.00 USD"
    assert t.kinds() == ["topup", "usage", "clawback", "reinstatement"]
    t.check()


@pytest.mark.parametrize("won", [True, False])
def test_a_dispute(t, won) -> None:
    page = t.paid("10")
    t.spend("4")
    dispute = t.street.dispute(t.payment(page).id)
    t.deliver()
    assert t.balance() == "-4.00 USD"
    t.street.close_dispute(dispute, won=won)
    t.deliver()
    assert t.balance() == ("6.00 USD" if won else "-4.00 USD")
    moved = [each for each in t.billing.events("acme") if each.kind.startswith("payment_")]
    told = [(each.kind, json.loads(each.data)["amount"]) for each in moved]
    assert (
        told
        == [("payment_clawed_back", usd("10").nanos)]
        + [("payment_reinstated", usd("10").nanos)] * won
    )
    t.check()


def test_a_dispute_won_in_part_of_a_part_refunded(t) -> None:
    page = t.paid("10")
    t.street.refund_in_dashboard(t.payment(page).id, 200)
    dispute = t.street.dispute(t.payment(page).id, 500)
    t.deliver()
    assert t.balance() == "3.00 USD"
    t.street.close_dispute(dispute, won=True, reinstated=300)
    t.deliver()
    assert t.balance() == "6.00 USD"
    t.check()


def test_what_a_won_dispute_gives_back_pays_what_was_used_meanwhile(t) -> None:
    page = t.paid("10")
    dispute = t.street.dispute(t.payment(page).id)
    t.deliver()
    used(t, usd("4").nanos)
    assert t.billing.balance("acme").debt == usd("4").nanos
    t.street.close_dispute(dispute, won=True)
    t.deliver()
    balance = t.billing.balance("acme")
    assert (balance.debt, [lot.remainder for lot in balance.lots]) == (0, [usd("6").nanos])
    t.check()


def test_a_refund_waits_while_what_is_owed_with_it_would_leave_64_bits(t) -> None:
    """Nothing moves, and the provider tells it again until it fits."""
    page = t.paid("10")
    t.spend("10")
    used(t, MAX_NANOS - usd("10").nanos + 1)
    t.street.refund_in_dashboard(t.payment(page).id)
    told = t.street.deliveries()
    before = t.billing.balance("acme")
    assert before.debt == MAX_NANOS + 1 - usd("10").nanos
    for body, signed in told:
        with pytest.raises(MoneyOverflow, match="a debt within 64 bits"):
            t.billing.webhook(body, signed)
    assert t.billing.balance("acme") == before
    t.billing.grant("acme", "g", Money(1, "USD"))
    for body, signed in told:
        t.billing.webhook(body, signed)
    assert t.billing.balance("acme").debt == MAX_NANOS
    t.check()


def test_what_is_won_back_after_the_org_was_closed_ends_when_it_was_to_end(t) -> None:
    page = t.paid("10")
    t.spend("10")
    dispute = t.street.dispute(t.payment(page).id)
    t.deliver()
    t.billing.grant("acme", "g", usd("10"), expires_at=t.clock.now + 2 * DAY)
    assert t.balance() == "0.00 USD", "it has repaid what was taken back"
    t.billing.close("acme", remainder="refund")
    t.street.close_dispute(dispute, won=True)
    t.deliver()
    assert t.balance() == "10.00 USD"
    done = t.wait(2 * DAY)
    assert (done.lapsed, done.failures) == (1, [])
    entry = list(t.store.entries("acme"))[-1]
    assert (entry.op, entry.amount, t.balance()) == ("lapse", usd("10").nanos, "0.00 USD")
    assert t.wrong() == []


def test_of_two_that_were_taken_back_each_comes_back_in_its_turn(t) -> None:
    page = t.paid("10")
    refund = t.street.refund_in_dashboard(t.payment(page).id, 200)
    t.deliver()
    dispute = t.street.dispute(t.payment(page).id, 500)
    t.deliver()
    assert t.balance() == "3.00 USD"
    t.street.close_dispute(dispute, won=True)
    t.deliver()
    assert t.balance() == "8.00 USD"
    t.street.settle_refund(refund, succeeded=False)
    t.deliver()
    assert t.balance() == "10.00 USD"
    t.check()


def test_an_inquiry_takes_nothing(t) -> None:
    page = t.paid("10")
    t.street.dispute(t.payment(page).id, inquiry=True)
    t.deliver()
    assert t.balance() == "10.00 USD"
    t.check()


@pytest.mark.parametrize("how", ["refund", "dispute", "ours"])
def test_taking_money_back_pauses_automatic_top_up_until_it_is_enabled_again(t, how) -> None:
    page = t.paid("10", save_method=True)
    t.enable()
    match how:
        case "refund":
            t.street.refund_in_dashboard(t.payment(page).id)
        case "dispute":
            t.street.dispute(t.payment(page).id)
        case _:
            t.billing.refund("acme", "r", topup=page.topup)
    t.deliver()
    assert t.attempts() == [], "it starts none"
    assert t.auto().stopped == ("dispute" if how == "dispute" else "refund")
    t.paid("10", save_method=True)
    assert t.auto().stopped is not None, "a new method does not undo it"
    t.enable()
    t.spend("6")
    t.run()
    assert t.attempts() == ["paid"]
    t.deliver()
    assert t.auto().stopped is None, "old news does not stop it again"
    t.check()


def test_a_checkout_that_cannot_be_found_later_takes_nothing_back(t) -> None:
    page = t.paid("10")
    whole = t.provider.read_payment

    class Forgetful:
        def __getattr__(self, method):
            return getattr(t.provider, method)

        def read_payment(self, payment):
            return attrs.evolve(whole(payment), subtotal=None)

    forgetful = t.engine()
    forgetful.payments = Forgetful()
    forgetful.confirm("acme", page.session)
    assert t.balance() == "10.00 USD"
    t.street.refund_in_dashboard(t.payment(page).id, 400)
    forgetful.confirm("acme", page.session)
    assert t.balance() == "6.00 USD"
    t.check()


def test_an_old_answer_does_not_undo_a_newer_one(t) -> None:
    """The payment is read, then refunded and clawed back, then recorded as it was read."""
    page = t.paid("10")
    name = t.payment(page).id
    read = t.provider.read_payment

    class Slow:
        def __getattr__(self, method):
            return getattr(t.provider, method)

        def read_payment(self, payment):
            was = read(payment)
            if self.first:
                self.first = False
                t.street.refund_in_dashboard(name)
                t.deliver()
            return was

        first = True

    slow = t.engine()
    slow.payments = Slow()
    slow.confirm("acme", page.session)
    assert t.balance() == "0.00 USD"
    assert t.kinds() == ["topup", "clawback"]
    t.check()


def test_a_refund_that_the_provider_fails_at_delays_no_other(t) -> None:
    page = t.paid("10")
    for key, amount, fault in (("r1", "1", "error_before"), ("r2", "2", "timeout_before")):
        t.street.fault("none", fault)
        with pytest.raises(PaymentError):
            t.billing.refund("acme", key, topup=page.topup, amount=usd(amount))
    for _ in range(6):
        t.wait(HOUR)
    assert t.billing.topup("acme", page.topup).refunds[1].state == "made"
    for _ in range(30):
        t.wait(HOUR)
    assert t.balance() == "7.00 USD"
    t.check()
