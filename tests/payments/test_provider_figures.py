"""What a provider claims is believed as far as it can be true; the rest moves nothing."""

from unittest.mock import patch

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from topup_till import till

from billing_core import usd
from billing_core.ports.payments import Dispute, Refund
from billing_core.records.topups import TopUp
from billing_core.topups.policy import held_share, subtotal_of
from billing_core.topups.reconciliation import differences, missing, unnamed


@pytest.fixture(params=["fake", "stripe", "sqlite", "postgres"])
def t(request):
    with till(request.param) as made:
        yield made


def claiming(t, **figures):
    """From now on the provider says otherwise of what was paid."""
    read = t.provider.read_payment

    def altered(payment):
        return attrs.evolve(read(payment), **figures)

    return patch.object(t.provider, "read_payment", altered)


def test_more_given_back_than_was_taken_brings_no_credit(t) -> None:
    page = t.paid("50")
    t.spend("1")
    payment = t.payment(page).id
    dispute = t.street.dispute(payment, 2000)
    t.deliver()
    assert t.balance() == "29.00 USD"
    t.street.close_dispute(dispute, won=True, reinstated=2500)
    for body, signed in t.street.deliveries() * 2:
        t.billing.webhook(body, signed)
    assert t.balance() == "49.00 USD"
    assert t.wrong() == []
    assert t.events().count("payment_quarantined") == 1
    known = t.billing.topup("acme", page.topup)
    assert known.why is not None and known.why.startswith("500 more than was taken is given back")
    assert (known.state, known.clawed) == ("paid", 0)
    [difference] = t.differences()
    assert (difference.topup, "500 more" in difference.what) == (page.topup, True)
    t.street.refund_in_dashboard(payment)
    t.deliver()
    assert t.balance() == "-1.00 USD", "what is taken later is taken in full"
    assert t.wrong() == []


@pytest.mark.parametrize("t", ["fake", "stripe", "stripe in euros", "sqlite"], indirect=True)
def test_a_dispute_lost_after_it_was_won_takes_credit_and_stops_top_ups_again(t) -> None:
    page = t.paid("20", save_method=True)
    t.enable(threshold="1", amount="20")
    dispute = t.street.dispute(t.payment(page).id)
    for won, balance in ((True, "20.00 USD"), (False, "0.00 USD")):
        t.deliver()
        t.enable(threshold="1", amount="20")
        t.street.close_dispute(dispute, won=won)
        t.deliver()
        assert t.balance() == balance
    assert t.auto().stopped == "dispute"
    t.check()


def test_one_amount_that_is_refunded_and_disputed_is_taken_once(t) -> None:
    page = t.paid("20")
    payment = t.payment(page).id
    t.street.refund_in_dashboard(payment, 1500)
    t.street.dispute(payment, 2000)
    for body, signed in t.street.deliveries() * 2:
        t.billing.webhook(body, signed)
    assert t.balance() == "0.00 USD"
    assert t.events().count("payment_quarantined") == 1
    assert t.billing.topup("acme", page.topup).clawed == usd("20").nanos
    assert t.wrong() == []


def test_a_claim_that_is_taken_back_is_forgotten(t) -> None:
    page = t.paid("20")
    dispute = Dispute(id="dp", amount=500, state="won", withdrawn=500, reinstated=700)
    with claiming(t, disputes=(dispute,)):
        t.billing.read_back("acme", page.topup)
        assert t.billing.topup("acme", page.topup).why is not None
    t.billing.read_back("acme", page.topup)
    assert t.billing.topup("acme", page.topup).why is None
    assert t.events().count("payment_quarantined") == 1
    t.check()


def test_a_subtotal_above_what_was_paid_is_quarantined(t) -> None:
    page = t.order("20")
    t.street.pay(page.session)
    with claiming(t, amount=1, received=1):
        answer = t.billing.confirm("acme", page.session)
    assert (answer.state, answer.why, t.balance()) == ("quarantined", "amount", "0.00 USD")
    assert t.wrong() == []


def test_a_currency_that_is_told_otherwise_later_moves_no_credit(t) -> None:
    page = t.paid("20")
    with claiming(t, currency="JPY"):
        t.billing.read_back("acme", page.topup)
    assert t.balance() == "20.00 USD"
    assert t.wrong() == []
    t.check()


AMOUNTS = st.integers(-(10**6), 10**6)
REFUNDS = st.builds(
    Refund, id=st.just("re"), payment=st.just("pi"), amount=AMOUNTS,
    state=st.sampled_from(["pending", "succeeded", "failed"]), key=st.none(),
)  # fmt: skip
DISPUTES = st.builds(
    Dispute, id=st.just("dp"), amount=AMOUNTS, state=st.just("open"), withdrawn=AMOUNTS,
    reinstated=AMOUNTS,
)  # fmt: skip
CLAIMS = st.fixed_dictionaries(
    {
        "received": st.one_of(st.just(2000), AMOUNTS),
        "refunds": st.lists(REFUNDS, max_size=2).map(tuple),
        "disputes": st.lists(DISPUTES, max_size=2).map(tuple),
        "currency": st.sampled_from(["USD", "USD", "JPY", "KWD"]),
        "state": st.sampled_from(["succeeded", "succeeded", "canceled", "processing"]),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(CLAIMS, max_size=5))
def test_whatever_is_claimed_credit_stays_between_nothing_and_what_was_paid(claims) -> None:
    with till("fake") as t:
        page = t.paid("20")
        t.spend("3")
        for claim in claims:
            with claiming(t, **claim):
                t.billing.read_back("acme", page.topup)
            assert usd("-3").nanos <= t.billing.balance("acme").balance <= usd("17").nanos
            assert t.wrong() == []
        t.billing.read_back("acme", page.topup)
        assert t.balance() == "17.00 USD"
        t.check()


@pytest.mark.parametrize(
    ("kind", "subtotal", "found"),
    [("auto", None, 1190), ("auto", 1000, 1000), ("checkout", None, None), ("checkout", 1, 1)],
)
def test_what_was_paid_before_tax_is_all_of_what_has_no_page(kind, subtotal, found) -> None:
    with till("fake") as t:
        payment = t.payment(t.paid("10"))
    payment = attrs.evolve(payment, amount=1190, received=1190, subtotal=subtotal)
    assert subtotal_of(TopUp("t", kind, 7, "calling", 1000, 5), payment) == found


def test_what_the_provider_holds_of_the_smallest_payment_is_told_and_of_none_is_not() -> None:
    topup = TopUp("t", "checkout", 7, "paid", 1, 5, granted=10**7)
    with till("fake") as t:
        payment = t.payment(t.paid("10"))
    for received, share in ((0, None), (1, 10**7)):
        assert held_share(topup, attrs.evolve(payment, amount=1, received=received)) == share


def test_what_the_provider_has_and_the_ledger_has_not_is_told_by_its_name() -> None:
    with till("fake") as t:
        page = t.paid("10")
        payment, account = t.payment(page), t.store._orgs["acme"].account
        [topup] = t.store.topups("acme")

    def found(payment, topup=topup) -> list[str]:
        return [str(each) for each in differences(payment, "acme", "t", account, topup)]

    assert found(payment) == []
    gone = attrs.evolve(payment, state="canceled", received=0)
    told = f"acme: top-up t: payment {payment.id}: credited, but at the provider it is canceled"
    assert found(gone) == [told]
    assert found(attrs.evolve(gone, id="another")) == []
    assert found(gone, attrs.evolve(topup, lot=None)) == []

    def nobody(payment, account=account) -> list[str]:
        return [str(each)[:40] for each in unnamed(payment, "acme", account, [])]

    assert nobody(payment) == [f"acme: payment {payment.id}: paid by the org's customer"[:40]]
    refund = Refund(id="re", payment=payment.id, amount=1000, state="succeeded", key=None)
    assert nobody(attrs.evolve(payment, refunds=(refund,))) == []
    assert nobody(attrs.evolve(payment, state="processing")) == []
    assert nobody(payment, None) == []
    for name in (payment.id, None):
        assert missing("acme", attrs.evolve(topup, payment=name)).payment == (name or "")
