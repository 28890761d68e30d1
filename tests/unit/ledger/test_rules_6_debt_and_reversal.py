"""Section 6, the ledger: measured usage, debt, reversals, and proof."""

from functools import partial

import pytest
from http_world import SERVICE, mounted
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, MINUTE, SECOND, T0, TICK, World, nanos, units

from billing_adapters.http import Api, Caller
from billing_core import (
    Deduct,
    Flat,
    InvalidCommand,
    MoneyOverflow,
    NotFound,
    Price,
    Refused,
    Reverse,
    sandbox,
)
from billing_core.values.money import MAX_NANOS

# -- 6.4 ------------------------------------------------------------------------


def test_6_4_a_charge_is_paid_from_its_hold_then_from_what_is_available_then_as_debt() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(4)
    charge = world.settle(15, hold=hold.key)
    assert (charge.amount, charge.captured, charge.paid, charge.unpaid) == (15, 4, 6, 5)
    assert world.balance().balance == -5


def test_6_4_a_charge_without_a_hold_leaves_others_holds_alone() -> None:
    world = World()
    world.grant(10)
    world.hold(7)
    charge = world.settle(5)
    assert (charge.captured, charge.paid, charge.unpaid) == (0, 3, 2)


def test_6_4_an_unknown_hold_does_not_lose_the_usage() -> None:
    world = World()
    world.grant(10)
    assert world.settle(5, hold="unheard of").paid == 5


def test_6_4_measured_usage_is_never_dropped() -> None:
    """In debt, after the account is closed, late, or of what has no price."""
    world = World()
    world.settle(5)
    assert world.settle(5).unpaid == 5
    world.billing.close("acme", remainder="write_off")
    assert world.settle(5).unpaid == 5
    assert world.settle(5, occurred_at=T0 - 300 * DAY).unpaid == 5
    assert world.settle(units(5, "unheard of")).unpriced == ("unit",)
    assert world.balance().balance == -20
    assert world.wrong() == []


def test_6_4_zero_is_settled_too() -> None:
    world = World()
    charge = world.settle(0)
    assert (charge.amount, charge.lines) == (0, ())
    assert world.moves(charge) == []


# -- 6.5 ------------------------------------------------------------------------


def unpaid(world: World, charge) -> int:
    return world.billing.explain("acme", charge.seq).unpaid


def test_6_5_credit_that_comes_in_repays_the_oldest_debt_at_once() -> None:
    world = World()
    first, second = world.settle(5), world.settle(5)
    granted = world.granted(7)
    assert (granted.repaid, granted.balance) == (7, -3)
    assert (unpaid(world, first), unpaid(world, second)) == (0, 3)
    assert world.left() == {}


def test_6_5_a_repayment_is_on_record_as_that_lot_s_spending() -> None:
    world = World()
    charge = world.settle(5)
    granted = world.granted(7)
    assert ("lot:1", f"debt:{charge.seq}", 5, "repayment") in world.moves(granted)
    assert world.paid_by(charge) == [(1, 5)]
    assert world.left() == {1: 2}


def test_6_5_it_repays_only_what_it_may_pay_for() -> None:
    world = World()
    for_y, for_x = world.settle(units(5, "y")), world.settle(units(5, "x"))
    assert world.granted(8, scope=["x"]).repaid == 5
    assert (unpaid(world, for_y), unpaid(world, for_x)) == (5, 0)
    assert world.left() == {1: 3}
    assert world.granted(4).repaid == 4
    assert unpaid(world, for_y) == 1


def test_6_5_credit_that_a_hold_sets_free_repays_too() -> None:
    for end in ("release", "settle", "lapse"):
        world = World()
        world.grant(10)
        hold = world.hold(10, expires_in=HOUR)
        charge = world.settle(4)
        assert charge.unpaid == 4
        if end == "release":
            world.billing.release("acme", hold.key)
        elif end == "settle":
            world.settle(1, hold=hold.key)
        else:
            world.clock.advance(HOUR)
            world.settle(0)
        assert unpaid(world, charge) == 0, end
        assert world.left() == {1: 5 if end == "settle" else 6}
        assert world.wrong() == []


def test_6_5_credit_that_another_hold_has_repays_nothing() -> None:
    world = World()
    world.grant(10)
    kept, freed = world.hold(7), world.hold(3)
    charge = world.settle(5)
    world.billing.release("acme", freed.key)
    assert (unpaid(world, charge), world.left()) == (2, {1: 7})
    assert world.settle(7, hold=kept.key).captured == 7
    assert world.wrong() == []


def test_6_5_credit_that_a_reversal_gives_back_repays_too() -> None:
    world = World()
    world.grant(10)
    paid, owed = world.settle(10), world.settle(4)
    world.reverse(paid, 3)
    assert unpaid(world, owed) == 1
    assert world.left() == {}


def test_6_5_lapses_apply_in_the_order_of_their_times() -> None:
    """A hold that ends while its lot lives repays; one that ends after it does not."""
    for lot_ends, repaid in ((2 * HOUR, 4), (HOUR, 0), (MINUTE, 0)):
        world = World()
        world.grant(10, expires_at=T0 + lot_ends)
        world.hold(10, expires_in=HOUR)
        charge = world.settle(4)
        world.clock.advance(DAY)
        world.settle(0)
        assert unpaid(world, charge) == 4 - repaid, lot_ends
        assert world.left() == {}
        assert world.wrong() == []


def test_6_5_each_lapse_is_an_entry_of_its_own_time() -> None:
    world = World()
    world.grant(5, expires_at=T0 + 3 * SECOND)
    world.grant(5, expires_at=T0 + SECOND)
    world.grant(5)
    world.hold(11, expires_in=2 * SECOND)
    world.clock.advance(DAY)
    world.settle(0)
    lapses = [entry for entry in world.entries() if entry.op == "lapse"]
    start = T0.timestamp() * 10**6
    assert [(entry.key, (entry.at - start) / 10**6) for entry in lapses] == [
        ("lapse:hold:key-4", 2),
        ("lapse:lot:1", 3),
    ]
    assert [entry.balance for entry in lapses] == [10, 5]


def test_6_5_more_debts_than_are_loaded_at_once_are_repaid_oldest_first() -> None:
    world = World()
    charges = [world.settle(1) for _ in range(200)]
    assert world.granted(150).repaid == 150
    assert [unpaid(world, charge) for charge in charges] == [0] * 150 + [1] * 50
    assert world.wrong() == []


def test_6_5_debts_that_a_scope_skips_do_not_hide_those_behind_them() -> None:
    world = World()
    for _ in range(100):
        world.settle(units(1, "y"))
    behind = world.settle(units(1, "x"))
    assert world.granted(5, scope=["x"]).repaid == 1
    assert unpaid(world, behind) == 0
    assert world.balance().debt == 100


def test_6_5_debt_made_in_the_batch_is_repaid_after_older_debt() -> None:
    world = World()
    old = [world.settle(1) for _ in range(100)]
    new = world.settle(5)
    world.grant(102)
    assert [unpaid(world, charge) for charge in old] == [0] * 100
    assert unpaid(world, new) == 3


# -- 6.6 ------------------------------------------------------------------------


def test_6_6_a_reversal_names_a_charge_and_an_amount_up_to_what_is_left_of_it() -> None:
    world = World()
    world.grant(10)
    charge = world.settle(10)
    assert world.reverse(charge, 4).amount == 4
    before = world.state()
    with pytest.raises(Refused) as refused:
        world.reverse(charge, 7)
    assert refused.value.refusal.reason == "over_reversal"
    assert refused.value.refusal.shortfall == 1
    assert world.state() == before
    assert world.reverse(charge).amount == 6
    with pytest.raises(Refused):
        world.reverse(charge)
    assert world.left() == {1: 10}


def test_6_6_it_first_reduces_that_charge_s_debt() -> None:
    world = World()
    world.grant(10)
    charge, other = world.settle(14), world.settle(5)
    reversed_ = world.reverse(charge, 3)
    assert (reversed_.forgiven, reversed_.refilled) == (3, 0)
    assert (unpaid(world, charge), unpaid(world, other)) == (1, 5)
    assert world.balance().balance == -6


def test_6_6_then_it_refills_the_paying_lots_in_reverse_order() -> None:
    world = World()
    one, two, three = world.grant(5), world.grant(5), world.grant(5)
    charge = world.settle(12)
    world.reverse(charge, 1)
    assert world.left() == {three: 4}
    world.reverse(charge, 5)
    assert world.left() == {two: 4, three: 5}
    world.reverse(charge)
    assert world.left() == {one: 5, two: 5, three: 5}
    assert world.wrong() == []


def test_6_6_what_was_repaid_later_goes_back_first() -> None:
    world = World()
    one = world.grant(5)
    charge = world.settle(8)
    two = world.grant(10)
    world.reverse(charge, 4)
    assert world.left() == {one: 1, two: 10}


def test_6_6_what_was_captured_from_a_hold_goes_back_as_well() -> None:
    world = World()
    one, two = world.grant(5), world.grant(5)
    hold = world.hold(6)
    charge = world.settle(6, hold=hold.key)
    world.reverse(charge, 2)
    assert world.left() == {one: 1, two: 5}


def test_6_6_the_part_of_an_expired_lot_expires_again() -> None:
    world = World()
    old, live = world.grant(5, expires_at=T0 + HOUR), world.grant(5)
    charge = world.settle(8)
    world.clock.advance(HOUR)
    reversed_ = world.reverse(charge)
    assert (reversed_.refilled, reversed_.expired) == (8, 5)
    assert world.left() == {live: 5}
    kinds = [(m.debit, m.credit, m.amount, m.kind) for m in world.moves(reversed_)]
    assert (f"lot:{old}", "expired", 5, "expiry") in kinds
    assert world.wrong() == []


def test_6_6_unless_the_command_names_a_new_expiry() -> None:
    world = World()
    world.grant(5, expires_at=T0 + HOUR, scope=["x"], priority=3)
    charge = world.settle(5)
    world.clock.advance(HOUR)
    reversed_ = world.reverse(charge, expires_at=T0 + DAY)
    assert (reversed_.refilled, reversed_.expired) == (5, 0)
    [lot] = world.balance().lots
    assert (lot.lot, lot.remainder, lot.expires_at) == (2, 5, T0 + DAY)
    assert (lot.kind, lot.priority, lot.scope) == ("purchased", 3, ("x",))
    world.clock.set(T0 + DAY)
    assert world.left() == {}
    assert world.wrong() == []


@pytest.mark.parametrize("undo", [False, True])
def test_6_6_the_new_expiry_is_not_over_already(undo: bool) -> None:
    """Credit would come back and be gone at once."""
    world = World()
    world.grant(5, expires_at=T0 + HOUR)
    charge = world.settle(5)
    world.clock.advance(DAY)
    before = world.state()
    for over in (T0 + DAY, T0 + HOUR):
        with pytest.raises(InvalidCommand, match=r"expires_at.*a time after"):
            world.reverse(charge, expires_at=over, undo_usage=undo)
    assert world.state() == before
    soon = T0 + DAY + TICK
    assert world.reverse(charge, expires_at=soon, undo_usage=undo).refilled == 5


def test_6_6_a_new_expiry_moves_no_credit_of_a_lot_that_lives() -> None:
    world = World()
    lot = world.grant(5, expires_at=T0 + DAY)
    charge = world.settle(5)
    world.reverse(charge, expires_at=T0 + HOUR)
    assert world.left() == {lot: 5}
    world.clock.advance(HOUR)
    assert world.left() == {lot: 5}


def test_6_6_a_refilled_lot_still_ends_when_it_was_to_end() -> None:
    world = World()
    lot = world.grant(5, expires_at=T0 + HOUR)
    charge = world.settle(5)
    world.settle(0)
    world.reverse(charge)
    assert world.left() == {lot: 5}
    world.clock.advance(HOUR)
    assert world.left() == {}
    assert world.deduct(0).balance == 0


def test_6_6_a_refilled_lot_ends_when_it_was_to_end_though_another_ended_meanwhile() -> None:
    """While it was used up nothing was expected to end any more."""
    world = World()
    world.grant(5, expires_at=T0 + 2 * HOUR)
    charge = world.settle(5)
    world.grant(3, expires_at=T0 + HOUR)
    world.clock.advance(HOUR)
    world.settle(0)
    world.reverse(charge)
    assert world.left() == {1: 5}
    world.clock.advance(HOUR)
    assert world.left() == {}
    with pytest.raises(Refused):
        world.deduct(1)
    assert world.wrong() == []


def test_6_6_what_a_reversal_gives_back_pays_for_the_rest_of_its_batch() -> None:
    """Beside the lots that had something left."""
    world = World()
    world.grant(5)
    charge = world.settle(5)
    world.grant(3)
    back, used = world.billing.execute(
        [Reverse("acme", "r", charge=charge.seq), Deduct("acme", "d", cost=units(8))]
    )
    assert (back.refilled, used.paid) == (5, 8)
    assert world.wrong() == []


def test_6_6_a_reversal_moves_no_counter() -> None:
    world = World()
    charge = world.settle(10)
    world.reverse(charge)
    assert world.counter() == [10]


def test_6_6_a_reversal_names_a_charge() -> None:
    world = World()
    granted = world.granted(5)
    hold = world.hold(2)
    charge = world.settle(1)
    reversal = world.reverse(charge)
    before = world.state()
    for number in (1, granted.seq, hold.held.seq, reversal.seq, 99):
        with pytest.raises(NotFound, match="charge"):
            world.billing.reverse("acme", "r", charge=number)
    assert world.state() == before


def test_6_6_a_charge_of_nothing_has_nothing_to_reverse() -> None:
    world = World()
    charge = world.settle(0)
    with pytest.raises(Refused):
        world.reverse(charge)


def test_6_6_what_is_reversed_can_be_charged_again() -> None:
    world = World()
    world.grant(MAX_NANOS)
    for _ in range(3):
        world.reverse(world.settle(MAX_NANOS))
    assert world.left() == {1: MAX_NANOS}
    assert world.wrong() == []


@pytest.mark.every_store
def test_6_6_credit_that_comes_back_stays_within_64_bits() -> None:
    world = World()
    world.grant(MAX_NANOS)
    charge = world.settle(MAX_NANOS)
    world.grant(MAX_NANOS - 5)
    before = world.state()
    with pytest.raises(MoneyOverflow, match="credit"):
        world.reverse(charge, 6)
    assert world.state() == before
    world.reverse(charge, 5)
    assert world.balance().balance == MAX_NANOS
    assert world.wrong() == []


@pytest.mark.every_store
def test_6_4_what_only_counts_refuses_no_usage(summed_at_once) -> None:
    """All that an org of a weak currency was ever charged passes 64 bits of nanos, and so do its
    limits' windows and its usage; its credit and its debt do not."""
    world = World()
    world.billing.set_limit("acme", "limit", nanos(1), blocks=False)
    each, times = 9 * 10**18, 12
    for _ in range(times):
        world.grant(each)
        world.settle(each, member="ana", project="p")
    world.billing.set_limit("acme", "late", nanos(1), member="ana", blocks=False)
    for _ in range(times):
        world.grant(each)
        world.reverse(world.settle(each, member="ana"))
        world.settle(each)
    world.settle(7)
    world.clock.advance(MINUTE)
    found = world.balance()
    assert (found.granted, found.used, found.debt) == (2 * times * each, 2 * times * each + 7, 7)
    for period in ("current", "30d", "all_time"):
        assert world.billing.usage("acme", period).total == found.used
    with pytest.raises(MoneyOverflow, match="debt"):
        world.settle(MAX_NANOS)
    assert world.settle(MAX_NANOS - 7).balance == -MAX_NANOS
    assert world.wrong() == []


@pytest.mark.every_store
def test_6_4_a_workspace_s_charges_of_a_period_refuse_no_usage() -> None:
    """They pass 64 bits, are still billed, and are still corrected by a size that comes late."""
    world = World(priced=False)
    world.publish({"storage:*": {"byte_us": Price(Flat(1), unit="byte-microsecond")}})
    an_hour = 9 * 10**18
    report = partial(world.billing.report_storage, "acme", "ws")
    report(an_hour // (3600 * 10**6))
    for _ in range(12):
        world.grant(an_hour)
        world.clock.advance(HOUR)
        [stands] = world.billing.bill_storage("acme")
        assert (stands.charged, stands.balance) == (an_hour, 0)
    world.grant(MAX_NANOS - an_hour)
    before = world.state()
    with pytest.raises(MoneyOverflow, match="credit"):
        report(0, occurred_at=world.clock.now - 2 * HOUR)
    assert world.state() == before
    assert report(0, occurred_at=world.clock.now - HOUR / 2).charged == -an_hour // 2
    assert world.billing.storage("acme")[0].amount == 12 * an_hour - an_hour // 2
    assert world.balance().used == 12 * an_hour - an_hour // 2
    assert world.wrong() == []


@pytest.mark.every_store
def test_6_4_a_run_s_charges_of_a_period_refuse_no_usage() -> None:
    """Nor does what was given back of them."""
    world = World(priced=False)
    an_hour = 9 * 10**18
    world.publish({"sandbox:box": {"second": Price(Flat(2500 * 10**6), unit="microsecond")}})
    world.grant(an_hour)
    world.billing.start_run("acme", "r", sandbox("box", {"second": 1}))
    for number in range(12):
        world.clock.advance(HOUR)
        told = world.billing.heartbeat("acme", "r", key=f"beat{number}")
        assert (told.charged, told.balance) == (an_hour, 0)
        world.grant(an_hour)
    world.billing.stop_run("acme", "r")
    for number in range(3):
        world.deduct(nanos(an_hour), resource="call")
        world.billing.forgive_run("acme", f"f{number}", "r", reason="ours", amount=nanos(an_hour))
    found = world.billing.run("acme", "r")
    assert (found.settled, found.forgiven) == (9 * an_hour, 3 * an_hour)
    client = mounted("plain", Api(world.billing, {SERVICE: Caller("gateway", "service")}.get))
    read = client.get("/v1/internal/runs/read", SERVICE, orgId="acme", runId="r").data
    assert [read[name] for name in ("settled", "forgiven")] == [
        "81000000000.00", "27000000000.00",
    ]  # fmt: skip
    assert world.balance().used == 12 * an_hour
    assert world.wrong() == []


@given(
    grants=st.lists(st.integers(1, 9), max_size=4),
    used=st.integers(1, 30),
    later=st.integers(0, 9),
    reversals=st.lists(st.integers(1, 12), max_size=6),
)
def test_6_6_reversing_all_of_it_is_as_if_it_had_not_been(
    grants: list[int], used: int, later: int, reversals: list[int]
) -> None:
    world = World()
    lots = {world.grant(amount): amount for amount in grants}
    charge = world.settle(used)
    if later:
        lots[world.grant(later)] = later
    left = used
    for amount in reversals:
        if amount <= left:
            world.reverse(charge, amount)
            left -= amount
        assert world.balance().balance == sum(lots.values()) - left
    if left:
        world.reverse(charge)
    assert world.left() == lots
    assert world.balance().used == 0
    assert world.wrong() == []


# -- 6.9 ------------------------------------------------------------------------


def test_6_9_each_entry_is_hashed_onto_the_one_before_it() -> None:
    world, other = World(), World()
    for each in (world, other):
        each.grant(5)
        each.settle(2, key="s")
    assert [e.hash for e in world.entries()] == [e.hash for e in other.entries()]
    third = World()
    third.grant(6)
    third.settle(2, key="s")
    assert third.entries()[0].hash == world.entries()[0].hash
    assert third.entries()[2].hash != world.entries()[2].hash


def test_6_9_verify_rederives_everything_for_one_org_or_all() -> None:
    world = World()
    world.billing.open_account("other")
    for org in ("acme", "other"):
        world.grant(10, org)
        world.settle(4, org)
    everything = world.billing.verify()
    assert (everything.ok, everything.orgs, everything.entries) == (True, 2, 6)
    assert sorted(everything.checkpoints) == ["acme", "other"]
    world.store._orgs["other"].account.balance += 1
    assert world.billing.verify("acme").ok
    assert {each.org for each in world.billing.verify().discrepancies} == {"other"}


def test_6_9_a_person_enters_the_chain_through_a_surrogate_id_only() -> None:
    world = World()
    world.grant(10)
    world.settle(3, member="ann@example.com")
    world.hold(3, member="bob@example.com")
    assert "example.com" not in str(world.entries())
    assert world.billing.erase_member("acme", "ann@example.com")
    assert not world.billing.erase_member("acme", "ann@example.com")
    assert world.wrong() == []
    assert list(world.billing.usage("acme").members) == ["#1"]


def test_6_9_a_member_s_surrogate_id_is_theirs_alone() -> None:
    world = World()
    world.settle(1, member="ann")
    world.settle(2, member="bob")
    world.settle(4, member="ann")
    world.billing.erase_member("acme", "bob")
    world.settle(8, member="bob")
    members = world.billing.usage("acme").members
    assert {name: rows[0].amount for name, rows in members.items()} == {
        "ann": 5,
        "#2": 2,
        "bob": 8,
    }


def test_6_9_a_refused_command_gives_no_surrogate_id() -> None:
    world = World()
    with pytest.raises(Refused):
        world.deduct(5, member="ann")
    assert world.store._orgs["acme"].account.members == 0
    assert world.store.members("acme") == {}


# -- closing --------------------------------------------------------------------


def test_6_closing_releases_holds_repays_and_empties_every_lot() -> None:
    for remainder, account in (("refund", "refunds"), ("write_off", "write_off")):
        world = World()
        world.grant(10)
        world.grant(5, scope=["x"])
        hold = world.hold(10)
        world.settle(units(4, "y"))
        closed = world.billing.close("acme", remainder=remainder)
        assert closed.amount == 11
        moved = [(m.credit, m.amount) for m in world.moves(closed) if m.kind == remainder]
        assert sum(amount for _, amount in moved) == 11
        assert {name for name, _ in moved} == {account}
        assert world.balance().balance == 0
        assert [each.state for each in world.store.holds("acme")] == ["released"]
        assert hold.key in world.entries()[-1].effects
        assert world.wrong() == []


def test_6_closing_lets_no_new_credit_hold_or_deduct_in() -> None:
    world = World()
    charge = world.settle(3)
    world.billing.close("acme", remainder="refund")
    before = world.state()
    for attempt in (
        lambda: world.grant(5),
        lambda: world.hold(units(0)),
        lambda: world.deduct(0),
        lambda: world.reverse(charge),
    ):
        with pytest.raises(Refused, match="closed"):
            attempt()
    assert world.state() == before
    assert world.billing.close("acme", remainder="refund").replayed


def test_6_holds_in_a_closed_account_lapse_into_nothing() -> None:
    world = World()
    world.grant(5, expires_at=T0 + HOUR)
    world.hold(5, expires_in=MINUTE)
    world.billing.close("acme", remainder="refund")
    world.clock.advance(DAY)
    world.settle(1)
    assert [entry.op for entry in world.entries()] == ["open", "grant", "hold", "close", "settle"]
    assert world.wrong() == []
