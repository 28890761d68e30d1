"""Automatic top-ups follow use; and what a refund means to them."""

import json

import pytest
from topup_till import DAY, HOUR, till

from billing_core import InvalidCommand, Plan, Refused, TopUpRules, Usage, usd

STORES = ["fake", "sqlite", "postgres"]


@pytest.fixture(params=STORES)
def t(request):
    with till(request.param) as made:
        yield made


def idle(t) -> None:
    """10.00 bought and 5.00 given until an hour from now; below 12.00 buys 50.00."""
    t.paid("10", save_method=True)
    expires = t.clock.now + HOUR
    t.billing.grant("acme", "promotion", usd("5"), kind="promotional", expires_at=expires)
    t.enable(threshold="12", amount="50")


def charged(t) -> int:
    return len([each for each in t.payments() if each.attempt])


def test_a_promotion_that_expires_charges_nobody_who_is_idle(t) -> None:
    idle(t)
    for _ in range(40):
        t.wait(DAY)
    assert (t.attempts(), charged(t)) == ([], 0)
    assert t.balance() == "10.00 USD"
    t.spend("0.01")
    t.run()
    assert (t.attempts(), t.balance()) == (["paid"], "59.99 USD"), "the next use begins one"
    t.check()


@pytest.mark.parametrize("how", ["refused", "held", "settled", "deducted"])
def test_any_use_after_an_expiry_begins_one(t, how) -> None:
    idle(t)
    t.clock.advance(2 * HOUR)
    match how:
        case "refused":
            with pytest.raises(Refused) as refused:
                t.spend("11")
            assert refused.value.refusal.retryable
        case "held":
            t.billing.hold("acme", usd("1"), expires_in=HOUR)
        case "settled":
            t.billing.settle("acme", "s", Usage.of("x", {"call": 1}, payer="customer"))
        case _:
            t.spend("1")
    assert t.attempts() == ["due"]
    t.run()
    assert charged(t) == 1
    t.check()


def others(t):
    """What is decided about an org that uses nothing, by name."""
    billing = t.billing
    [paid] = [each for each in t.store.topups("acme") if each.lot == 1]
    held = billing.hold("acme", usd("0.01"), expires_in=4 * HOUR).key
    charge = t.spend("0.01").seq

    def webhooks():
        t.street.refund_in_dashboard(paid.payment, 1)
        t.deliver()

    return {
        "grant": lambda: billing.grant("acme", "g", usd("1"), kind="promotional"),
        "plan": lambda: billing.set_plan("acme", "p", None),
        "limit": lambda: billing.set_limit("acme", "l", per="period", amount=usd("5")),
        "low balance": lambda: billing.set_low_balance("acme", "b", usd("5")),
        "release": lambda: billing.release("acme", held),
        "reversal": lambda: billing.reverse("acme", "r", charge=charge),
        "order": lambda: t.order("10"),
        "refund": lambda: billing.refund("acme", "back", topup=paid.topup, amount=usd("1")),
        "webhooks": webhooks,
        "news": t.run,
    }


OTHERS = [
    "grant", "plan", "limit", "low balance", "release", "reversal", "order", "refund", "webhooks",
    "news",
]  # fmt: skip
LIKE_A_PAYMENT = {"order", "refund", "webhooks"}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("on_expiry", [False, True])
def test_what_is_no_use_begins_one_after_an_expiry_only_where_the_host_says_so(
    name, on_expiry
) -> None:
    rules = TopUpRules(on_expiry=on_expiry, refund_stops=False)
    with till("fake", topups=rules) as t:
        idle(t)
        do = others(t)[name]
        t.clock.advance(2 * HOUR)
        do()
        begun = on_expiry and name not in LIKE_A_PAYMENT
        # The run that finds what has expired performs the attempt that it begins.
        assert t.attempts() == ["paid" if name == "news" else "due"] * begun
        assert t.wrong() == []


def test_an_allowance_that_ends_charges_nobody_who_is_idle(t) -> None:
    plan = Plan("1", "pro", t.clock.now - DAY, allowance=usd("20"), grace=HOUR)
    t.billing.publish(plan)
    t.paid("10", save_method=True)
    t.billing.set_plan("acme", "on", "pro")
    t.enable(threshold="25", amount="50")
    t.billing.set_plan("acme", "off", None)
    for _ in range(70):
        t.wait(DAY)
    assert (t.attempts(), charged(t), t.balance()) == ([], 0, "10.00 USD")
    t.check()


def test_another_card_lets_go_on_at_once_what_the_one_before_could_not_pay_for(t) -> None:
    method = t.armed("10", threshold="30", amount="50")
    t.street.require_authentication(method)
    t.spend("6")
    t.run()
    assert t.auto().stopped == "authentication_required"
    t.paid("5", save_method=True)
    assert t.attempts() == ["authentication_required", "due"]
    t.run()
    assert (t.attempts()[1], t.balance()) == ("paid", "59.00 USD")
    t.check()


def test_another_card_of_an_idle_org_is_charged_nothing(t) -> None:
    t.paid("10", save_method=True)
    expires = t.clock.now + HOUR
    t.billing.grant("acme", "promotion", usd("15"), kind="promotional", expires_at=expires)
    t.enable(threshold="20", amount="50")
    t.clock.advance(2 * HOUR)
    t.paid("5", save_method=True)
    t.run()
    assert (t.attempts(), t.balance()) == ([], "15.00 USD")
    t.check()


# -- refunds --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ours", "at the provider"])
def test_a_refund_of_one_dollar_stops_automatic_top_ups_and_says_so(t, how) -> None:
    t.armed("10", threshold="5", amount="20")
    [paid] = t.store.topups("acme")
    if how == "ours":
        t.billing.refund("acme", "back", topup=paid.topup, amount=usd("1"))
    else:
        t.street.refund_in_dashboard(paid.payment, 100)
        t.deliver()
    assert t.auto().stopped == "refund"
    [told] = [each for each in t.billing.events("acme") if each.kind == "auto_topup_stopped"]
    assert json.loads(told.data) == {"reason": "refund", "topup": paid.topup, "failures": 0}
    t.spend("5")
    t.run()
    assert t.attempts() == []
    t.enable(threshold="5", amount="20")
    t.run()
    assert t.attempts() == ["paid"]
    t.check()


@pytest.mark.parametrize("kind", [*STORES, "stripe"])
@pytest.mark.parametrize("how", ["ours", "at the provider"])
def test_a_refund_stops_nothing_where_the_host_says_so_and_begins_nothing(kind, how) -> None:
    with till(kind, topups=TopUpRules(refund_stops=False)) as t:
        t.armed("10", threshold="9.50", amount="20")
        [paid] = t.store.topups("acme")
        if how == "ours":
            t.billing.refund("acme", "back", topup=paid.topup, amount=usd("1"))
        else:
            t.street.refund_in_dashboard(paid.payment, 100)
            t.deliver()
        t.run()
        assert (t.auto().stopped, t.attempts(), t.balance()) == (None, [], "9.00 USD")
        assert "payment_clawed_back" in t.events() and "auto_topup_stopped" not in t.events()
        t.spend("0.01")
        t.run()
        assert t.attempts() == ["paid"]
        t.street.dispute(paid.payment, 100)
        t.deliver()
        assert t.auto().stopped == "dispute", "a dispute does all the same"
        t.check()


@pytest.mark.parametrize("name", ["on_expiry", "refund_stops"])
@pytest.mark.parametrize("given", [None, 1, "yes"])
def test_a_rule_that_is_neither_true_nor_false_is_refused(name, given) -> None:
    with pytest.raises(InvalidCommand, match=name):
        TopUpRules(**{name: given})
