"""Payments that do not say what they are for: nothing is charged twice, nor credited unasked."""

import json
from datetime import timedelta

import pytest
from topup_till import DAY, HOUR, MINUTE, URLS, till

from billing_core import Conflict, PaymentError
from billing_core.ports.payments import ChargeAttempt, CheckoutOrder
from billing_core.testing import MemoryStore


@pytest.fixture(params=["fake", "stripe", "sqlite", "postgres"])
def t(request):
    with till(request.param) as made:
        yield made


in_memory = pytest.mark.parametrize("t", ["fake", "stripe"], indirect=True)


class Altered:
    """A provider of which a method does something else."""

    def __init__(self, provider, **methods) -> None:
        self.provider = provider
        vars(self).update(methods)

    def __getattr__(self, name):
        return getattr(self.provider, name)


def unanswered(t, fault="timeout_after") -> str:
    """An automatic top-up of 20.00 has begun, and no answer came; its name."""
    t.armed("10", threshold="5", amount="20")
    t.run()
    t.spend("6")
    t.street.fault(fault)
    t.run()
    assert t.attempts() == ["calling"]
    return attempt(t).topup


def attempt(t):
    [found] = [each for each in t.store.topups("acme") if each.kind == "auto"]
    return found


def charged(t) -> list[str]:
    """The payments of 20.00 that were made with the saved card, oldest first."""
    return [each.id for each in reversed(t.payments()) if each.received == 2000]


def unlabelled(t, edit=()) -> str:
    """The charge whose answer was lost loses its label too, and its news; the payment."""
    [payment] = charged(t)
    t.street.relabel(payment, *edit)
    t.street.deliveries()
    return payment


def by_host(t, amount=2000, currency="USD", customer=None) -> str:
    """The host itself charges the customer's card, for something else; the payment."""
    auto = t.store.auto_topup("acme")
    saved = customer or (auto.customer, auto.method)
    asked = ChargeAttempt(
        org="shop", attempt=t.key(), amount=amount, currency=currency, customer=saved[0],
        method=saved[1], description="a shirt",
    )  # fmt: skip
    payment = t.provider.charge(asked).id
    t.street.relabel(payment)
    return payment


def told(t, kind) -> list[dict]:
    events = t.store.events("acme", 0, 1000)
    return [json.loads(each.data) for each in events if each.kind == kind]


# -- an automatic top-up --------------------------------------------------------------


@pytest.mark.parametrize("edit", [(), ("nobody", "t-1"), ("acme", "none")], ids=str)
def test_a_charge_whose_answer_and_label_are_lost_is_made_once(t, edit) -> None:
    name = unanswered(t)
    payment = unlabelled(t, edit)
    t.wait(27 * HOUR)
    t.wait(2 * HOUR)
    t.spend("0.1")
    for _ in range(3):
        assert t.wait(DAY).failures == []
    assert charged(t) == [payment], "the card is left alone"
    assert t.attempts() == ["quarantined"]
    assert t.auto().stopped == "quarantined"
    [event] = told(t, "payment_quarantined")
    assert event == {"topup": name, "kind": "auto", "payment": payment, "why": "no label"}
    [event] = told(t, "auto_topup_stopped")
    assert (event["reason"], event["topup"]) == ("quarantined", name)
    assert t.balance() == "3.90 USD", "nobody has said that it is ours"
    assert [each.payment for each in t.differences()] == [payment]
    for _ in range(2):
        assert t.billing.read_back("acme", name, payment=payment).paid
    assert t.balance() == "23.90 USD"
    t.check()
    t.enable()
    t.clock.advance(HOUR)
    t.spend("20")
    t.run()
    assert (t.attempts(), t.balance()) == (["paid", "paid"], "23.90 USD")
    t.check()


def test_the_difference_names_the_payment_and_what_it_may_be_for(t) -> None:
    name = unanswered(t)
    payment = unlabelled(t)
    t.wait(27 * HOUR)
    [difference] = t.differences()
    assert (difference.org, difference.topup, difference.payment) == ("acme", None, payment)
    assert name in difference.what and "read_back" in difference.what
    t.street.refund_in_dashboard(payment)
    t.check()


def test_while_the_provider_knows_the_key_the_same_charge_is_found_by_asking_again(t) -> None:
    unanswered(t)
    payment = unlabelled(t)
    t.wait(4 * MINUTE)
    assert (t.attempts(), charged(t), t.balance()) == (["paid"], [payment], "24.00 USD")
    t.check()


def test_a_charge_of_a_customer_who_was_deleted_since_is_looked_for_as_well(t) -> None:
    name = unanswered(t)
    payment = unlabelled(t)
    t.street.delete_customer(t.store.auto_topup("acme").customer)
    t.deliver()
    t.wait(27 * HOUR)
    assert t.attempts() == ["quarantined"]
    [difference] = t.differences()
    assert difference.payment == payment and name in difference.what
    t.billing.read_back("acme", name, payment=payment)
    assert t.balance() == "24.00 USD"
    t.check()


@pytest.mark.parametrize("how", ["decline", "require_authentication"])
def test_a_charge_that_brought_no_money_stops_nothing(t, how) -> None:
    t.armed("10", threshold="5", amount="20")
    t.run()
    t.spend("6")
    getattr(t.street, how)(t.store.auto_topup("acme").method)
    t.street.fault("timeout_after")
    t.run()
    [payment] = [each.id for each in t.payments() if not each.received]
    t.street.relabel(payment)
    t.street.deliveries()
    t.wait(27 * HOUR)
    assert (t.attempts(), attempt(t).why) == (["failed"], "never made")
    t.wait(2 * HOUR)
    t.spend("0.1")
    t.run()
    assert (t.attempts(), t.balance()) == (["failed", "paid"], "23.90 USD")
    assert told(t, "auto_topup_stopped") == []
    t.check()


def test_a_charge_that_is_under_way_without_its_label_stops_them(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.run()
    t.spend("6")
    t.street.delay(t.store.auto_topup("acme").method)
    t.street.fault("timeout_after")
    t.run()
    [payment] = [each.id for each in t.payments() if each.state == "processing"]
    t.street.relabel(payment)
    t.street.deliveries()
    t.wait(27 * HOUR)
    assert t.attempts() == ["quarantined"]
    name = attempt(t).topup
    assert not t.billing.read_back("acme", name, payment=payment).paid
    t.street.arrive(payment, succeeded=True)
    t.deliver()
    assert t.balance() == "24.00 USD", "by now it is known by its own id"
    t.check()


@pytest.mark.parametrize("edited", [False, True])
def test_what_is_on_record_of_another_top_up_stops_nothing(t, edited) -> None:
    unanswered(t, "timeout_before")
    page = t.paid("20")
    t.spend("20")
    if edited:
        for name in (page.session, t.payment(page).id):
            t.street.relabel(name)
    t.wait(27 * HOUR)
    assert (t.attempts(), attempt(t).why) == (["failed"], "never made")
    t.check()


def test_what_an_earlier_automatic_top_up_has_on_record_stops_nothing(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.spend("6")
    t.run()
    t.street.relabel(attempt(t).payment)
    t.street.deliveries()
    t.billing._work._sweep = lambda run, topups: None
    t.clock.advance(HOUR)
    t.spend("20")
    t.street.fault("timeout_before")
    t.run()
    assert t.attempts() == ["paid", "calling"]
    t.wait(27 * HOUR)
    assert (t.attempts(), t.balance()) == (["paid", "failed"], "4.00 USD")
    t.check()


@pytest.mark.parametrize("edited", [False, True])
def test_a_second_payment_of_another_order_stops_nothing(t, edited) -> None:
    unanswered(t, "timeout_before")
    page = t.paid("20")
    t.spend("20")
    order = CheckoutOrder(
        org="acme", order=page.topup, amount=2000, currency="USD", description="again",
        customer=t.store.auto_topup("acme").customer, **URLS,
    )  # fmt: skip
    again = t.provider.create_checkout(order, key="again")
    t.street.pay(again.id)
    t.deliver()
    [stray] = t.billing.topup("acme", page.topup).strays
    if edited:
        t.street.relabel(stray)
        t.street.relabel(again.id)
    t.wait(27 * HOUR)
    assert t.attempts() == ["failed"]
    name = attempt(t).topup
    with pytest.raises(Conflict, match="is not of top-up"):
        t.billing.read_back("acme", name, payment=stray)
    assert [each.payment for each in t.differences()] == [stray]


def test_another_of_our_orders_that_nobody_has_heard_of_is_credited_and_stops_nothing(t) -> None:
    unanswered(t, "timeout_before")
    page = t.order("20")
    t.street.pay(page.session)
    t.street.deliveries()
    t.billing._work._sweep = lambda run, topups: None
    t.wait(25 * HOUR)
    assert t.attempts() == ["failed"]
    t.billing.confirm("acme", page.session)
    t.check()


def test_what_the_host_took_for_something_else_stops_them_until_somebody_has_looked(t) -> None:
    name = unanswered(t, "timeout_before")
    theirs = by_host(t)
    t.wait(27 * HOUR)
    assert (t.attempts(), t.auto().stopped) == (["quarantined"], "quarantined")
    assert [each["payment"] for each in told(t, "payment_quarantined")] == [theirs]
    t.clock.advance(3 * DAY)
    t.enable()
    t.spend("0.1")
    t.run()
    assert sorted(t.attempts()) == ["paid", "quarantined"]
    assert t.balance() == "23.90 USD", "theirs is no credit"
    assert t.state(name) == "quarantined" and t.wrong() == []


@in_memory
@pytest.mark.parametrize("what", ["amount", "currency", "customer", "time"])
def test_what_cannot_be_the_charge_stops_nothing(t, what) -> None:
    if what == "time":
        t.armed("10", threshold="5", amount="20")
        by_host(t)
        t.clock.advance(25 * HOUR)
        t.spend("6")
        t.street.fault("timeout_before")
        t.run()
    else:
        unanswered(t, "timeout_before")
    if what == "amount":
        by_host(t, amount=2001)
    elif what == "currency":
        by_host(t, currency="EUR")
    elif what == "customer":
        by_host(t, customer=t.street.save_method())
    t.wait(27 * HOUR)
    assert (t.attempts(), attempt(t).why) == (["failed"], "never made")


def test_of_two_that_may_be_it_both_are_named_and_one_is_given_to_it(t) -> None:
    name = unanswered(t)
    payment = unlabelled(t)
    theirs = by_host(t)
    t.wait(27 * HOUR)
    named = [each["payment"] for each in told(t, "payment_quarantined")]
    assert sorted(named) == sorted([payment, theirs])
    assert sorted(each.payment for each in t.differences()) == sorted([payment, theirs])
    t.billing.read_back("acme", name, payment=payment)
    assert t.balance() == "24.00 USD"
    [difference] = t.differences()
    assert difference.payment == theirs and name not in difference.what


def test_of_very_many_that_may_be_it_ten_are_named(t) -> None:
    unanswered(t, "timeout_before")
    for _ in range(12):
        by_host(t)
    t.wait(27 * HOUR)
    assert t.attempts() == ["quarantined"]
    assert len(told(t, "payment_quarantined")) == 10


def test_one_that_cannot_be_read_stops_them_and_is_told(t) -> None:
    name = unanswered(t)
    [payment] = charged(t)
    t.street.garble(payment)
    t.street.deliveries()
    t.billing._work._sweep = lambda run, topups: None
    t.wait(27 * HOUR)
    assert t.attempts() == ["quarantined"]
    [event] = told(t, "payment_quarantined")
    assert (event["topup"], event["payment"]) == (name, None)
    assert event["why"].startswith("unreadable: ") and payment in event["why"]
    t.enable()
    t.spend("0.1")
    t.run()
    assert sorted(t.attempts()) == ["paid", "quarantined"]


@pytest.mark.parametrize("state", ["paid", "processing"])
def test_what_the_provider_says_meanwhile_counts(t, state) -> None:
    """Its news comes while the list is read."""
    t.armed("10", threshold="5", amount="20")
    t.run()
    t.spend("6")
    if state == "processing":
        t.street.delay(t.store.auto_topup("acme").method)
    t.street.fault("timeout_after")
    t.run()
    name = attempt(t).topup
    [payment] = [each.id for each in t.payments() if each.amount == 2000]
    t.street.relabel(payment)
    t.street.deliveries()
    listed = t.provider.payments

    def payments(*asked, **named):
        found = listed(*asked, **named)
        t.billing.read_back("acme", name, payment=payment)
        return found

    t.billing._work._sweep = lambda run, topups: None
    t.billing.payments = Altered(t.provider, payments=payments)
    assert t.wait(27 * HOUR).failures == []
    t.billing.payments = t.provider
    assert (t.attempts(), t.auto().stopped) == ([state], None)
    assert told(t, "payment_quarantined") == []
    if state == "processing":
        t.street.arrive(payment, succeeded=True)
        t.deliver()
    assert t.balance() == "24.00 USD"
    t.check()


def test_a_list_that_does_not_come_is_asked_for_again(t) -> None:
    unanswered(t)
    unlabelled(t)
    t.billing._work._sweep = lambda run, topups: None

    def payments(*asked, **named):
        raise PaymentError("no answer", kind="unavailable", retryable=True)

    t.billing.payments = Altered(t.provider, payments=payments)
    [failure] = t.wait(27 * HOUR).failures
    assert failure.org == "acme" and t.attempts() == ["calling"]
    t.billing.payments = t.provider
    t.wait(2 * HOUR)
    assert t.attempts() == ["quarantined"]


def test_a_payment_on_record_is_no_other_s_whatever_it_says_by_now(t) -> None:
    unanswered(t, "timeout_before")
    page = t.paid("20")
    t.spend("20")
    other = t.payment(page)
    t.billing.payments = Altered(t.provider, find_charge=lambda *_, **__: other)
    t.wait(27 * HOUR)
    assert (t.attempts(), t.balance()) == (["failed"], "4.00 USD")
    assert t.wrong() == []


@pytest.mark.parametrize("kind", ["fake", "stripe"])
def test_it_is_so_before_the_migration_is_finished(kind, monkeypatch) -> None:
    monkeypatch.setattr(MemoryStore, "level", lambda _: 1)
    with till(kind) as t:
        name = unanswered(t)
        payment = unlabelled(t)
        t.wait(27 * HOUR)
        assert t.attempts() == ["quarantined"]
        t.billing.read_back("acme", name, payment=payment)
        assert t.balance() == "24.00 USD"
        t.check()


@pytest.mark.parametrize("edit", [("nobody", "t-1"), ("acme", "none")], ids=str)
def test_an_automatic_top_up_is_right_though_it_says_by_now_that_it_was_ordered(t, edit) -> None:
    t.armed("10", threshold="5", amount="20")
    t.spend("6")
    t.run()
    t.street.relabel(attempt(t).payment, *edit)
    t.deliver()
    assert t.balance() == "24.00 USD"
    t.check()


# -- what an operator gives to a top-up -----------------------------------------------


def test_what_cannot_be_of_a_top_up_is_not_given_to_it(t) -> None:
    name = unanswered(t, "timeout_before")
    t.wait(27 * HOUR)
    page = t.paid("20")
    by_another = by_host(t, customer=t.street.save_method())
    t.street.decline(t.store.auto_topup("acme").method)
    for payment, why in [
        (t.payment(page).id, "is not of top-up"),
        (by_another, "another customer"),
        (by_host(t), "another state"),
        (by_host(t, amount=2001), "another amount"),
        (by_host(t, currency="EUR"), "another currency"),
    ]:
        with pytest.raises(Conflict, match=why):
            t.billing.read_back("acme", name, payment=payment)
    assert (t.balance(), t.attempts()) == ("24.00 USD", ["failed"])
    assert t.wrong() == []


def test_a_payment_on_record_of_another_org_is_given_to_none_though_it_says_so(t) -> None:
    name = unanswered(t, "timeout_before")
    t.wait(27 * HOUR)
    t.billing.open_account("globex", livemode=False)
    page = t.order("20", org="globex")
    t.street.pay(page.session)
    t.billing.confirm("globex", page.session)
    payment = t.billing.topup("globex", page.topup).payment
    t.street.relabel(payment, "acme", name)
    t.street.relabel(page.session, "acme", name)
    with pytest.raises(Conflict, match="is not of top-up"):
        t.billing.read_back("acme", name, payment=payment)
    assert (t.balance(), t.balance("globex")) == ("4.00 USD", "20.00 USD")


def test_an_order_whose_answer_and_labels_are_lost_is_named_and_given_its_payment(t) -> None:
    t.armed("10")
    t.billing._work._sweep = lambda run, topups: None
    before = set(getattr(t.street, "sessions", None) or t.street._checkouts)
    t.street.fault("timeout_after")
    with pytest.raises(PaymentError):
        t.order("30")
    [session] = set(getattr(t.street, "sessions", None) or t.street._checkouts) - before
    t.street.pay(session)
    payment = t.provider.read_checkout(session).payment
    for name in (session, payment):
        t.street.relabel(name)
    t.deliver()
    assert t.balance() == "10.00 USD"
    [difference] = t.differences()
    assert (difference.org, difference.topup, difference.payment) == ("acme", None, payment)
    [order] = [each for each in t.store.topups("acme") if each.amount == 3000]
    for _ in range(2):
        t.billing.read_back("acme", order.topup, payment=payment)
    assert t.balance() == "40.00 USD"
    t.check()


# -- reconcile ------------------------------------------------------------------------


def test_a_payment_that_cannot_be_read_is_told_and_hides_no_other(t) -> None:
    pages = [t.paid("10") for _ in range(3)]
    payments = [t.payment(page).id for page in pages]
    t.street.garble(payments[1])
    t.street.refund_in_dashboard(payments[2])
    span = t.clock.now - DAY, t.clock.now + timedelta(seconds=1)
    found = t.billing.reconcile(*span)
    [odd] = found.unreadable
    assert payments[1] in odd and not found.ok
    differing = {each.payment: each.what for each in found.differences}
    assert "10" in differing[payments[2]] and payments[0] not in differing


def test_reconcile_is_not_content_with_what_it_cannot_read(t) -> None:
    stranger = t.street.save_method()
    t.street.garble(by_host(t, customer=stranger))
    found = t.billing.reconcile(t.clock.now - DAY, t.clock.now + timedelta(seconds=1))
    assert (found.differences, len(found.unreadable), found.ok) == ((), 1, False)


def test_what_a_stranger_paid_without_a_label_is_foreign(t) -> None:
    t.armed("10")
    by_host(t, customer=t.street.save_method())
    found = t.billing.reconcile(t.clock.now - DAY, t.clock.now + timedelta(seconds=1))
    assert (found.payments, found.foreign, found.ok) == (2, 1, True)
