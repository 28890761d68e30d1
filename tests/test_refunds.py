"""Refunds and disputes: each case against the fake, and through Stripe's own client."""

import attrs
import pytest
from till import DAY, MINUTE, till

from billing_core import NotFound, PaymentError, Refused, usd


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
    assert t.billing.topup("acme", page.topup).refunds[0][2] == "refused"
    assert t.store.due_topups(2**60) == []
    assert t.events()[-1] == "refund_failed"
    t.check()


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

    hold = t.billing.hold("acme", usd("6"), life=timedelta(hours=1))
    t.street.refund_in_dashboard(t.payment(page).id)
    t.deliver()
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
