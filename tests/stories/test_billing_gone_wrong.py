"""The ways in which billing goes wrong elsewhere, each shown not to happen here."""

from itertools import count

import pytest
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, TICK, World, nanos, units

from billing_core import (
    Deduct,
    Flat,
    Graduated,
    IdempotencyConflict,
    InvalidCommand,
    MoneyOverflow,
    NotFound,
    OpenAccount,
    Plan,
    Price,
    Quota,
    Refused,
    Reverse,
    SetLimit,
    SetPlan,
    Settle,
    Tier,
    UnknownPrice,
    Usage,
    tokens,
)
from billing_core.values.money import MAX_NANOS


def test_expired_credit_is_not_spendable_until_a_sweep_comes_by() -> None:
    world = World()
    world.grant(10, expires_at=T0 + HOUR)
    world.clock.advance(HOUR)
    with pytest.raises(Refused):
        world.hold(1)
    with pytest.raises(Refused):
        world.deduct(1)
    assert world.settle(4).unpaid == 4
    assert world.balance().balance == -4


def test_cached_tokens_are_not_billed_twice() -> None:
    world = World()
    prices = {"input": Price(Flat(100)), "cached_read": Price(Flat(10)), "output": Price(Flat(1))}
    world.publish({"model:m": prices})
    usage = tokens("m", input=1000, cached_read=900, output=5, input_includes_cached=True)
    assert world.settle(usage).amount == 100 * 100 + 900 * 10 + 5


def test_tiny_charges_are_not_billed_as_zero_or_a_cent_each() -> None:
    """A token at 0.0000753 nanos: a million of them, one by one in a thousand calls."""
    world = World()
    world.publish({"m": {"token": Price(Flat(753, 10_000_000))}})
    call = Usage.of("m", {"token": 1000})
    charges = world.billing.execute(
        Settle("acme", f"call {number}", usage=call) for number in range(1000)
    )
    assert sum(charge.amount for charge in charges) == 75
    assert world.balance().used == 75


def test_history_is_not_repriced_at_today_s_prices() -> None:
    world = World()
    old = world.settle(10)
    report, explained = world.billing.usage("acme"), world.billing.explain("acme", old.seq)
    world.publish({"x": {"unit": Price(Flat(9))}}, version="v2", effective_at=T0 + HOUR)
    world.clock.advance(2 * HOUR)
    assert world.billing.usage("acme") == report
    assert world.billing.explain("acme", old.seq) == explained
    assert world.settle(10, occurred_at=T0).amount == 10
    assert world.settle(10).amount == 90
    assert world.wrong() == []


def test_a_settlement_after_its_hold_expired_is_billed_in_full() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(10, expires_in=MINUTE)
    world.clock.advance(DAY)
    charge = world.settle(8, hold=hold.key)
    assert (charge.amount, charge.captured, charge.paid) == (8, 0, 8)
    assert world.left() == {1: 2}


def test_a_settlement_after_its_hold_expired_and_the_credit_went_elsewhere_is_billed_in_full() -> (
    None
):
    world = World()
    world.grant(10)
    hold = world.hold(10, expires_in=MINUTE)
    world.clock.advance(DAY)
    world.deduct(10)
    charge = world.settle(8, hold=hold.key)
    assert (charge.amount, charge.unpaid) == (8, 8)


def test_a_settlement_of_a_hold_whose_lot_expired_is_billed_in_full() -> None:
    world = World()
    lot = world.grant(10, expires_at=T0 + HOUR)
    hold = world.hold(10, expires_in=DAY)
    world.clock.advance(2 * HOUR)
    charge = world.settle(8, hold=hold.key)
    assert (charge.amount, charge.captured) == (8, 8)
    assert world.paid_by(charge) == [(lot, 8)]
    assert world.balance().balance == 0
    assert world.wrong() == []


def test_a_settlement_above_hold_and_balance_is_billed_in_full() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(6)
    charge = world.settle(25, hold=hold.key)
    assert charge.amount == 25
    assert (charge.captured, charge.paid, charge.unpaid) == (6, 4, 15)
    assert world.balance().balance == -15


def test_a_key_reused_with_other_content_names_what_differs() -> None:
    world = World()
    world.grant(10)
    world.settle(units(3), key="call", member="ann", occurred_at=T0)
    before = world.state()
    with pytest.raises(IdempotencyConflict, match="member, occurred_at, usage") as conflict:
        world.settle(units(4), key="call", member="bob")
    assert conflict.value.differs == ("member", "occurred_at", "usage")
    assert world.state() == before


def test_a_retry_does_not_charge_twice() -> None:
    world = World()
    world.grant(10)
    first = world.settle(3, key="call")
    for _ in range(3):
        world.clock.advance(DAY)
        assert world.settle(3, key="call") == first
    assert world.left() == {1: 7}


def test_an_unknown_org_model_or_component_cannot_be_held() -> None:
    world = World()
    world.grant(10)
    world.publish({"model:m": {"input": Price(Flat(1))}})
    before = world.state()
    with pytest.raises(NotFound, match="'nobody'"):
        world.hold(units(1), "nobody")
    with pytest.raises(UnknownPrice, match=r"model:unheard-of.*; this resource has none: check"):
        world.hold(tokens("unheard-of", input=1))
    with pytest.raises(UnknownPrice, match=r"output of model:m.*known: input"):
        world.hold(tokens("m", input=1, output=1))
    assert world.state() == before


def test_a_price_that_is_not_in_force_yet_is_told_with_its_time() -> None:
    world = World()
    price = Price(Flat(1), unit="microsecond")
    world.publish({"sandbox:m": {"in": price}})
    world.publish({"sandbox:m": {"out": price}}, version="v2", effective_at=T0 + DAY)
    said = rf"at {T0.isoformat()}; known: in, out from {(T0 + DAY).isoformat()}".replace("+", ".")
    for spend in (world.hold, lambda spec: world.billing.start_run("acme", "r", spec)):
        with pytest.raises(UnknownPrice, match=said):
            spend(Usage.of("sandbox:m", {"out": 1}))
    with pytest.raises(UnknownPrice, match=r"known: in, out$"):
        world.billing.quote("acme", Usage.of("sandbox:m", {"x": 1}), at=T0 + DAY)


def test_cached_above_input_is_refused() -> None:
    with pytest.raises(InvalidCommand, match="at most the 5 input tokens"):
        tokens("m", input=5, cached_read=6, input_includes_cached=True)


@pytest.mark.parametrize("ahead", [DAY, 300 * 365 * DAY])
def test_a_time_far_ahead_neither_expires_credit_nor_ends_holds(ahead) -> None:
    world = World()
    world.grant(10, expires_at=T0 + HOUR)
    world.hold(5)
    before = world.state()
    with pytest.raises(InvalidCommand):
        world.settle(1, at=T0 + ahead)
    assert world.state() == before
    assert world.available() == 5


def test_currencies_do_not_mix() -> None:
    world = World()
    before = world.state()
    with pytest.raises(InvalidCommand, match="USD, the currency of org 'acme'"):
        world.billing.grant("acme", "g", nanos(5, "JPY"))
    assert world.state() == before


def test_an_overflow_of_64_bits_changes_nothing() -> None:
    world = World()
    world.publish({"m": {"unit": Price(Flat(2**40))}})
    world.grant(MAX_NANOS)
    hold = world.hold(5)
    world.settle(7)
    before = world.state()
    for attempt in (
        lambda: world.grant(8),
        lambda: world.settle(units(2**30, "m")),
        lambda: world.settle(units(2**30, "m"), hold=hold.key),
        lambda: world.settle(units(10**35, "m")),
        lambda: world.deduct(units(2**30, "m")),
    ):
        with pytest.raises(MoneyOverflow):
            attempt()
        assert world.state() == before
    assert world.wrong() == []


def test_a_negative_quantity_is_no_way_to_make_money() -> None:
    world = World()
    with pytest.raises(InvalidCommand):
        world.settle(Usage("x", (("unit", -5, "platform"),)))
    assert world.balance().balance == 0


def test_a_hold_cannot_leak() -> None:
    """Its owner crashed: nothing but time frees it."""
    world = World()
    world.grant(10)
    world.hold(10, expires_in=HOUR)
    world.clock.advance(HOUR - TICK)
    with pytest.raises(Refused):
        world.hold(1)
    world.clock.advance(TICK)
    assert world.hold(10).amount == 10


def test_two_holds_cannot_have_the_same_credit() -> None:
    world = World()
    world.grant(10)
    world.hold(6)
    with pytest.raises(Refused) as refused:
        world.hold(6)
    assert refused.value.refusal.shortfall == 2


def test_a_lapsed_hold_is_given_back_once() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(6, expires_in=MINUTE)
    world.clock.advance(HOUR)
    world.settle(0)
    world.billing.release("acme", hold.key)
    world.settle(0, hold=hold.key)
    world.clock.advance(HOUR)
    assert world.available() == 10
    assert world.wrong() == []


def test_a_charge_at_the_edge_of_two_tiers_is_split_there() -> None:
    world = World()
    world.publish({"m": {"unit": Price(Graduated((Tier(100, 5), Tier(None, 1))))}})
    amounts = [world.settle(units(quantity, "m")).amount for quantity in (99, 2, 99)]
    assert amounts == [495, 6, 99]


def test_a_free_text_reference_cannot_break_the_chain() -> None:
    world = World()
    for text in ('"},{"', "\\n", "日本語", "😀", "' OR 1=1 --", "a" * 200):
        world.grant(1, reference=text)
    assert world.wrong() == []
    assert {row.reference for row in world.billing.history("acme")} >= {"日本語", "😀"}


@pytest.mark.every_store
def test_an_account_can_be_opened_limited_and_charged_in_one_batch(monkeypatch) -> None:
    """What a decision asks of an org that the same batch has opened is that there is nothing."""
    world = World(opened=False)
    times, snapshot = count(1), world.store.snapshot

    def asked(wanted):
        assert next(times) < 50, "it is asked for once"
        return snapshot(wanted)

    monkeypatch.setattr(world.store, "snapshot", asked)
    quota = Quota("*", "unit", 100)
    world.billing.publish(Plan("p-1", "p", LONG_AGO, quotas=[quota], allowance=nanos(500)))
    who = {"member": "ana", "project": "site"}
    outcomes = world.billing.execute(
        [
            OpenAccount("new"),
            SetLimit("new", "l", amount=nanos(90), alerts=(50,)),
            SetLimit("new", "each", amount=nanos(90), every="member", alerts=(50,)),
            SetPlan("new", "plan", plan="p"),
            Deduct("new", "d", cost=units(50), **who),
            SetLimit("new", "late", amount=nanos(60), member="ana", alerts=(80,)),
            Deduct("new", "much", cost=units(60), **who),
            Reverse("new", "r", charge=5, undo_usage=True),
            Deduct("new", "again", cost=units(55), **who),
        ]
    )
    kinds = ["Opened", "Changed", "Changed", "Subscribed", "Charged", "Changed", "Refusal"]
    assert [type(each).__name__ for each in outcomes] == [*kinds, "Reversed", "Charged"]
    assert world.balance("new").used == 55
    assert world.wrong() == []
