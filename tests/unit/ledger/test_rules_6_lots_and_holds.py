"""Section 6, the ledger: lots, what is available, and holds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, MINUTE, T0, TICK, World, units

from billing_core import Conflict, NotFound, Refused
from billing_core.records.ledger import Draw


def test_6_a_transfer_moves_an_amount_from_one_account_to_another_in_one_row() -> None:
    world = World()
    world.grant(10, reference="invoice 7")
    charge = world.settle(12)
    assert world.moves(charge) == [
        ("lot:1", "revenue", 10, "charge"),
        ("debt:3", "revenue", 2, "debt"),
    ]
    entry = world.entries()[-1]
    assert (entry.at, entry.recorded_at) == (world.clock(), world.clock())


def test_6_entries_are_numbered_from_one_without_a_gap_per_org() -> None:
    world = World()
    world.billing.open_account("other")
    for _ in range(3):
        world.grant(5)
        world.settle(1, "other")
    for org in ("acme", "other"):
        assert [entry.seq for entry in world.entries(org)] == [1, 2, 3, 4]


def test_6_what_went_in_is_what_is_there() -> None:
    """Whatever happened: granted = used + expired + refunded + balance."""
    world = World()
    world.grant(100, expires_at=T0 + DAY)
    world.grant(50)
    world.reverse(world.settle(30), 10)
    world.clock.advance(DAY)
    world.settle(70)
    moves = [move for entry in world.entries() for move in entry.transfers]
    expired = sum(move.amount for move in moves if move.credit == "expired")
    balance = world.balance()
    assert balance.granted == balance.used + expired + balance.balance


# -- 6.1 ------------------------------------------------------------------------

BY_RULE = [
    ("priority", {"priority": 0, "expires_at": None}, {"priority": 1, "expires_at": T0 + DAY}),
    ("scoped before unscoped", {"scope": ["x"]}, {"expires_at": T0 + DAY}),
    (
        "earliest expiry",
        {"expires_at": T0 + DAY, "kind": "purchased"},
        {"expires_at": T0 + 2 * DAY, "kind": "promotional"},
    ),
    ("an expiry before none", {"expires_at": T0 + DAY}, {"kind": "promotional"}),
    ("promotional before purchased", {"kind": "promotional"}, {"kind": "purchased"}),
    ("an allowance before what was given", {"kind": "allowance"}, {"kind": "promotional"}),
    ("oldest", {}, {}),
]


@pytest.mark.parametrize(
    ("first", "second"), [each[1:] for each in BY_RULE], ids=[b[0] for b in BY_RULE]
)
def test_6_1_spending_order(first: dict, second: dict) -> None:
    world = World()
    sooner, later = world.grant(5, **first), world.grant(5, **second)
    assert world.paid_by(world.settle(7)) == [(sooner, 5), (later, 2)]
    if first != second:
        world = World()
        later, sooner = world.grant(5, **second), world.grant(5, **first)
        assert world.paid_by(world.settle(7)) == [(sooner, 5), (later, 2)]


LOT = st.fixed_dictionaries(
    {
        "priority": st.integers(-1, 1),
        "kind": st.sampled_from(["purchased", "promotional"]),
        "expires_at": st.sampled_from([None, T0 + DAY, T0 + 2 * DAY]),
        "scope": st.sampled_from([None, ["x"], ["y"], ["x", "y"], ["*"]]),
    }
)


@given(st.lists(LOT, min_size=1, max_size=7))
def test_6_1_lots_pay_in_the_order_of_the_rule(lots: list[dict]) -> None:
    world = World()
    numbered = [(world.grant(10, **lot), lot) for lot in lots]
    order = sorted(
        numbered,
        key=lambda each: (
            each[1]["priority"],
            each[1]["scope"] is None,
            each[1]["expires_at"] or T0 + 9 * DAY,
            each[1]["kind"] == "purchased",
            each[0],
        ),
    )
    may_pay = [number for number, lot in order if lot["scope"] != ["y"]]
    charge = world.settle(10 * len(lots))
    assert world.paid_by(charge) == [(number, 10) for number in may_pay]
    assert charge.unpaid == 10 * (len(lots) - len(may_pay))


def test_6_1_a_scope_names_resources_or_prefixes() -> None:
    world = World()
    lot = world.grant(10, scope=["model:*", "x"])
    assert world.available("model:gpt") == world.available("x") == 10
    assert world.available("models") == world.available("xy") == world.available("y") == 0
    assert world.available(None) == 0
    assert world.paid_by(world.settle(units(4, "x"))) == [(lot, 4)]
    assert world.settle(units(4, "y")).unpaid == 4


def test_6_1_which_lot_paid_what_is_on_record() -> None:
    world = World()
    one, two = world.grant(5), world.grant(5)
    hold = world.hold(3)
    charge = world.settle(9, hold=hold.key)
    debits = [(move.debit, move.amount, move.kind) for move in world.moves(charge)]
    assert debits == [
        (f"lot:{one}", 3, "capture"),
        (f"lot:{one}", 2, "charge"),
        (f"lot:{two}", 4, "charge"),
    ]


# -- 6.2 ------------------------------------------------------------------------


def test_6_2_available_is_what_may_pay_is_unreserved_and_lives_less_debt() -> None:
    world = World()
    world.grant(100)
    world.grant(10, scope=["x"])
    world.grant(1000, expires_at=T0 + HOUR)
    world.settle(units(5, "y"), occurred_at=T0)  # paid by what expires first
    world.hold(995, expires_in=DAY)
    world.hold(7, expires_in=DAY)
    world.clock.advance(HOUR)
    assert world.available("x") == 10 + 93
    assert world.available("y") == world.available() == 93
    world.settle(units(200, "y"))
    assert world.balance().debt == 107
    assert world.available("x") == 10 - 107


def test_6_2_with_no_use_named_only_unscoped_lots_count() -> None:
    world = World()
    world.grant(10, scope=["*"])
    world.grant(3)
    assert world.balance().available == world.available() == 3
    assert world.available("anything") == 13


def test_6_2_checks_holds_and_deducts_refuse_beyond_it() -> None:
    world = World()
    world.grant(10)
    assert world.billing.check("acme", units(10)).allowed
    assert not world.billing.check("acme", units(11)).allowed
    before = world.state()
    for attempt in (
        lambda: world.hold(11),
        lambda: world.hold(units(11)),
        lambda: world.deduct(11),
    ):
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.refusal.shortfall == 1
    assert world.state() == before
    world.hold(10)
    with pytest.raises(Refused):
        world.deduct(1)


def test_6_2_what_is_free_is_allowed_even_in_debt() -> None:
    world = World()
    world.settle(5)
    assert world.billing.check("acme", units(0)).allowed
    assert world.deduct(0).amount == 0
    with pytest.raises(Refused) as refused:
        world.deduct(1)
    assert refused.value.refusal.shortfall == 6


def test_6_2_the_balance_is_live_lots_and_what_is_reserved_of_expired_ones_less_debt() -> None:
    world = World()
    world.grant(10, expires_at=T0 + HOUR)
    world.hold(4, expires_in=DAY)
    assert world.balance().balance == 10
    world.clock.advance(HOUR)
    balance = world.balance()
    assert (balance.balance, balance.available, balance.held) == (4, 0, 4)
    world.settle(3)
    assert world.balance().balance == 1
    world.clock.advance(DAY)
    balance = world.balance()
    assert (balance.balance, balance.held, balance.debt) == (-3, 0, 3)


# -- 6.3 ------------------------------------------------------------------------


def parts(world: World, key: str) -> list[Draw]:
    [hold] = [hold for hold in world.store.holds("acme") if hold.key == key]
    return hold.parts


def test_6_3_holds_reserve_named_lots_in_spending_order() -> None:
    world = World()
    last, first = world.grant(5), world.grant(5, priority=-1)
    one, two = world.hold(3), world.hold(4)
    assert parts(world, one.key) == [(first, 3)]
    assert parts(world, two.key) == [(first, 2), (last, 2)]


def test_6_3_a_hold_of_nothing_reserves_nothing() -> None:
    world = World()
    world.grant(5)
    assert parts(world, world.hold(units(0)).key) == []


def test_6_3_reserved_credit_serves_that_hold_alone() -> None:
    world = World()
    held, free = world.grant(5), world.grant(3)
    hold = world.hold(5)
    charge = world.settle(6)
    assert world.paid_by(charge) == [(free, 3)]
    assert charge.unpaid == 3
    assert world.paid_by(world.settle(5, hold=hold.key)) == [(held, 5)]


def test_6_3_a_hold_of_one_scope_pays_no_other_resource_with_scoped_credit() -> None:
    world = World()
    scoped, general = world.grant(5, scope=["x"]), world.grant(5)
    hold = world.hold(8, resource="x")
    charge = world.settle(units(4, "y"), hold=hold.key)
    assert world.paid_by(charge) == [(general, 3), (general, 1)]
    assert world.left() == {scoped: 5, general: 1}


def test_6_3_if_its_lot_expires_it_serves_until_the_expiry_the_hold_had_then() -> None:
    world = World()
    lot = world.grant(10, expires_at=T0 + HOUR)
    first, second = world.hold(4, expires_in=2 * HOUR), world.hold(4, expires_in=2 * HOUR)
    world.clock.advance(2 * HOUR - TICK)
    assert world.paid_by(world.settle(4, hold=first.key)) == [(lot, 4)]
    world.clock.advance(TICK)
    assert world.settle(4, hold=second.key).unpaid == 4


def test_6_3_a_later_extension_replaces_the_expired_part_from_live_lots() -> None:
    world = World()
    old = world.grant(4, expires_at=T0 + HOUR)
    hold = world.hold(4, expires_in=2 * HOUR)
    new = world.grant(10)
    world.clock.advance(HOUR)
    extended = world.extend(hold, expires_in=5 * HOUR)
    assert extended.amount == 4
    assert parts(world, hold.key) == [(new, 4)]
    assert world.left() == {new: 10}
    assert [(move.debit, move.credit, move.amount) for move in world.moves(extended)] == [
        (f"lot:{old}", "expired", 4)
    ]
    assert world.wrong() == []


def test_6_3_or_the_extension_is_refused_and_changes_nothing() -> None:
    world = World()
    world.grant(4, expires_at=T0 + HOUR)
    hold = world.hold(4, expires_in=2 * HOUR)
    world.grant(3)
    world.clock.advance(HOUR)
    before = world.state()
    with pytest.raises(Refused) as refused:
        world.extend(hold, expires_in=5 * HOUR)
    assert refused.value.refusal.shortfall == 1
    assert world.state() == before
    assert world.settle(4, hold=hold.key).captured == 4


def test_6_3_an_extension_made_before_the_lot_expired_stands() -> None:
    world = World()
    lot = world.grant(4, expires_at=T0 + HOUR)
    hold = world.hold(4, expires_in=MINUTE)
    world.extend(hold, expires_in=3 * HOUR)
    world.clock.advance(2 * HOUR)
    assert world.paid_by(world.settle(4, hold=hold.key)) == [(lot, 4)]


def test_6_3_an_extension_holds_more_and_never_ends_sooner() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(4, expires_in=HOUR)
    extended = world.extend(hold, expires_in=MINUTE, add=5)
    assert (extended.amount, extended.expires_at) == (9, T0 + HOUR)
    with pytest.raises(Refused) as refused:
        world.extend(hold, add=2)
    assert refused.value.refusal.shortfall == 1
    assert world.settle(9, hold=hold.key).captured == 9
    assert world.wrong() == []


def test_6_3_life_is_a_duration_from_decision_time() -> None:
    world = World()
    world.grant(10)
    assert world.hold(1, expires_in=MINUTE, at=T0 - DAY).expires_at == T0 + MINUTE
    assert world.hold(1, expires_in=MINUTE, at=T0 + 2 * MINUTE).expires_at == T0 + 3 * MINUTE
    assert world.hold(1, expires_in=MINUTE).expires_at == T0 + 3 * MINUTE


def test_6_3_a_hold_lives_until_its_expiry_and_not_at_it() -> None:
    world = World()
    world.grant(4)
    hold = world.hold(4, expires_in=HOUR)
    world.clock.advance(HOUR - TICK)
    assert world.available() == 0
    assert world.balance().held == 4
    world.clock.advance(TICK)
    assert world.available() == 4
    with pytest.raises(Refused):
        world.extend(hold)
    [event] = world.billing.events("acme")
    assert (event.kind, json.loads(event.data)) == ("hold_expired", {"hold": hold.key, "amount": 4})


def test_6_3_a_settle_ends_its_hold_unless_it_says_that_more_follows() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(10)
    assert world.settle(3, hold=hold.key, final=False).captured == 3
    assert world.available() == 0
    assert world.settle(3, hold=hold.key, final=False).captured == 3
    assert world.settle(1, hold=hold.key).captured == 1
    assert world.available() == 3


def test_6_3_a_lapsed_hold_cannot_be_extended_but_its_usage_settles() -> None:
    world = World()
    world.grant(4)
    hold = world.hold(4, expires_in=MINUTE)
    world.clock.advance(HOUR)
    with pytest.raises(Refused) as refused:
        world.extend(hold)
    assert refused.value.refusal.reason == "hold_lapsed"
    charge = world.settle(6, hold=hold.key)
    assert (charge.captured, charge.paid, charge.unpaid) == (0, 4, 2)


def test_6_3_a_released_hold_cannot_be_extended_but_its_usage_settles() -> None:
    world = World()
    world.grant(4)
    hold = world.hold(4)
    assert world.billing.release("acme", hold.key).freed == 4
    with pytest.raises(Refused) as refused:
        world.extend(hold)
    assert refused.value.refusal.reason == "hold_released"
    charge = world.settle(6, hold=hold.key)
    assert (charge.captured, charge.paid, charge.unpaid) == (0, 4, 2)


def test_6_3_a_settled_hold_is_a_conflict() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(4)
    world.settle(1, hold=hold.key)
    before = world.state()
    for attempt in (
        lambda: world.settle(1, hold=hold.key),
        lambda: world.extend(hold),
        lambda: world.billing.release("acme", hold.key),
    ):
        with pytest.raises(Conflict, match="settled already"):
            attempt()
    assert world.state() == before


def test_6_3_releasing_what_lapsed_is_done_already() -> None:
    world = World()
    world.grant(4)
    hold = world.hold(4, expires_in=MINUTE)
    world.clock.advance(HOUR)
    assert world.billing.release("acme", hold.key).freed == 0
    assert world.available() == 4


def test_6_3_an_unknown_hold_is_not_found() -> None:
    world = World()
    before = world.state()
    with pytest.raises(NotFound, match="hold"):
        world.billing.release("acme", "unheard of")
    with pytest.raises(NotFound, match="hold"):
        world.billing.extend("acme", "e", hold="unheard of", expires_in=HOUR)
    assert world.state() == before


def test_6_3_what_a_hold_has_of_a_scoped_lot_pays_for_nothing_beyond_its_scope() -> None:
    world = World()
    world.grant(10, scope=["x"])
    hold = world.hold(units(10, "x"))
    charge = world.settle(units(4, "y"), hold=hold.key)
    assert (charge.captured, charge.paid, charge.unpaid) == (0, 0, 4)
    assert world.left() == {1: 10}
    assert world.wrong() == []


def test_6_3_of_a_charge_that_costs_nothing_nothing_moves() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(10)
    assert world.moves(world.settle(0, hold=hold.key)) == []


def test_6_4_the_last_nano_that_is_there_pays() -> None:
    world = World()
    world.grant(1)
    charge = world.settle(1)
    assert (charge.paid, charge.unpaid) == (1, 0)
