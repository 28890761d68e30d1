"""A run whose deadline reaches the next billing period is funded by its allowance too, which is
granted ahead: once, for its own period's time, and not to be had for nothing."""

from datetime import UTC, datetime

import pytest
from world import DAY, HOUR, LONG_AGO, MINUTE, SECOND, World, nanos, units

from billing_core import Flat, Plan, Price, Refused, sandbox
from billing_core.values.times import micros

pytestmark = pytest.mark.every_store

END = datetime(2026, 4, 10, 12, tzinfo=UTC)  # of the billing period
BOX = sandbox("box", {"second": 1})
MINUTELY = 60 * 1000  # what a minute of the box costs
ALLOWANCE = 3 * MINUTELY


def planned(allowance: int = ALLOWANCE, *, bought: int = 0, **terms: object) -> World:
    """An org with a plan, a minute before its billing period ends."""
    world = World(priced=False)
    second = Price(Flat(1000, 1_000_000), unit="microsecond")
    world.publish({"sandbox:box": {"second": second}, "x": {"unit": Price(Flat(1), unit="unit")}})
    for name, amount in (("pro", allowance), ("big", 2 * allowance), ("small", MINUTELY)):
        world.billing.publish(Plan(f"{name}-1", name, LONG_AGO, allowance=nanos(amount), **terms))
    world.billing.set_plan("acme", "subscribe", "pro")
    if bought:
        world.grant(bought, kind="purchased")
    world.clock.set(END - MINUTE)
    return world


def start(world: World, key: str = "r1", **options):
    return world.billing.start_run("acme", key, BOX, **options)


def allowances(world: World) -> list[tuple[int, datetime]]:
    """How much was granted, and for the period of when."""
    lots = {lot.lot: lot for lot in world.store.lots("acme") if lot.kind == "allowance"}
    starts = {lot.period for lot in lots.values()}
    return [
        (sum(lot.amount for lot in lots.values() if lot.period == start), start)
        for start in sorted(starts)
    ]


def of_each_period(world: World) -> list[int]:
    return [amount for amount, _ in allowances(world)]


def test_the_next_allowance_funds_what_is_of_its_period() -> None:
    world = planned()
    quoted = world.billing.longest_run("acme", BOX)
    started = start(world)
    # A minute from this period's allowance, and three from the next one's.
    assert (started.funded_until, started.bound_by) == (END + 3 * MINUTE, "lot_expiry")
    assert (quoted.until, quoted.bound_by) == (started.funded_until, "lot_expiry")
    assert world.balance().held == 4 * MINUTELY
    assert world.wrong() == []
    world.clock.set(END + MINUTE)
    assert world.billing.heartbeat("acme", "r1").funded_until == END + 3 * MINUTE
    world.clock.set(END + 3 * MINUTE)
    stopped = world.billing.stop_run("acme", "r1")
    assert world.balance().debt == 0
    assert (stopped.settled_to, world.balance().used) == (END + 3 * MINUTE, 4 * MINUTELY)
    assert of_each_period(world) == [ALLOWANCE, ALLOWANCE]
    assert world.wrong() == []


def test_it_is_granted_ahead_where_a_deadline_reaches_it_and_nowhere_else() -> None:
    world = planned()
    assert start(world, fund_for=MINUTE).funded_until == END
    assert of_each_period(world) == [ALLOWANCE]
    world.clock.advance(SECOND)
    assert world.billing.heartbeat("acme", "r1").funded_until == END + SECOND
    assert of_each_period(world) == [ALLOWANCE, ALLOWANCE]
    row = world.billing.history("acme", limit=1)[0]
    assert (row.type, row.amount, row.at) == ("allowance", ALLOWANCE, world.clock.now)
    assert world.wrong() == []


def test_what_does_not_reach_it_is_granted_nothing_ahead() -> None:
    world = planned()
    world.deduct(units(ALLOWANCE - MINUTELY // 2))
    started = start(world)
    assert (started.funded_until, started.bound_by) == (END - 30 * SECOND, "balance")
    assert of_each_period(world) == [ALLOWANCE]


def test_nobody_else_has_it_before_its_period_begins() -> None:
    world = planned()
    start(world)
    left = ALLOWANCE - MINUTELY
    assert world.available() == world.balance().available == left
    with pytest.raises(Refused):
        world.deduct(units(left + 1))
    world.deduct(units(left))
    debt = world.settle(units(7))
    assert world.balance().debt == 7, "and it repays no debt of the period before"
    world.clock.set(END)
    world.billing.stop_run("acme", "r1")
    assert world.balance().debt == 7
    assert world.available() == ALLOWANCE - 7
    assert world.paid_by(debt) == []
    assert world.wrong() == []


def test_each_period_s_time_is_paid_by_its_own_allowance() -> None:
    """It comes before what was bought, but does not pay for what was used before it began."""
    world = planned(bought=10 * MINUTELY)
    world.deduct(units(ALLOWANCE))
    assert start(world).funded_until == END + 4 * MINUTE
    assert {lot.lot: lot.reserved for lot in world.balance().lots} == {
        2: 2 * MINUTELY,  # bought: a minute before, and a minute after the allowance
        3: ALLOWANCE,
    }
    world.clock.set(END + MINUTE)
    world.billing.heartbeat("acme", "r1")
    assert world.left() == {2: 9 * MINUTELY, 3: 2 * MINUTELY}
    world.billing.stop_run("acme", "r1")
    assert world.wrong() == []


def test_a_period_has_its_allowance_once_whenever_it_was_granted() -> None:
    world = planned()
    start(world)
    start(world, "r2", min_runtime=SECOND)
    world.clock.set(END + 2 * DAY)
    world.billing.run_pending()
    assert of_each_period(world) == [ALLOWANCE, ALLOWANCE]
    world.clock.set(datetime(2026, 5, 10, 12, tzinfo=UTC))
    world.billing.run_pending()
    assert of_each_period(world) == [ALLOWANCE] * 3, "and the one after it has its own"
    assert world.wrong() == []


def test_what_a_period_had_ahead_counts_towards_no_later_one() -> None:
    world = planned()
    start(world)
    world.billing.set_plan("acme", "off", None)
    world.clock.set(END + 3 * MINUTE)
    world.billing.stop_run("acme", "r1")
    world.clock.set(END + 40 * DAY)
    assert world.billing.set_plan("acme", "again", "pro").amount == ALLOWANCE
    assert world.wrong() == []


def test_a_larger_plan_brings_what_is_missing_in_each_period() -> None:
    world = planned()
    start(world)
    world.billing.set_plan("acme", "more", "big")
    assert of_each_period(world) == [2 * ALLOWANCE, ALLOWANCE]
    world.clock.set(END)
    world.billing.run_pending()
    assert of_each_period(world) == [2 * ALLOWANCE, 2 * ALLOWANCE]
    assert world.wrong() == []


@pytest.mark.parametrize(
    ("plan", "paused", "kept"),
    [(None, False, 0), ("pro", True, 0), ("small", False, MINUTELY), ("big", False, ALLOWANCE)],
)
def test_what_a_change_of_plan_no_longer_includes_is_taken_back(
    plan: str | None, paused: bool, kept: int
) -> None:
    world = planned()
    start(world, fund_for=90 * SECOND)
    held = MINUTELY // 2  # half a minute of the next period
    world.billing.set_plan("acme", "change", plan, paused=paused)
    next_one = [lot for lot in world.balance().lots if lot.lot == 2]
    assert [(lot.remainder, lot.reserved) for lot in next_one] == [(max(held, kept), held)]
    assert world.wrong() == []
    assert start(world, "r2", fund_for=MINUTE).funded_until == END
    world.clock.set(END + MINUTE)
    world.billing.stop_run("acme", "r1", occurred_at=END)
    world.billing.set_plan("acme", "again", "pro")
    has = 2 * ALLOWANCE if plan == "big" else ALLOWANCE
    assert world.available() == has, "what was held counts towards the period's"
    assert world.wrong() == []


def test_without_a_plan_that_goes_on_nothing_is_granted_ahead() -> None:
    world = planned(grace=DAY)
    world.billing.set_plan("acme", "pause", "pro", paused=True)
    started = start(world)
    assert (started.funded_until, started.bound_by) == (END, "lot_expiry")
    assert of_each_period(world) == [ALLOWANCE]
    assert world.wrong() == []


def test_what_is_left_of_it_is_the_period_s_and_ends_with_it() -> None:
    world = planned(rollover=nanos(MINUTELY), grace=HOUR)
    start(world)
    world.billing.stop_run("acme", "r1")
    assert world.balance().held == 0
    world.clock.set(END + HOUR)
    # What rolls over of the first comes to what was granted ahead.
    assert world.available() == ALLOWANCE + MINUTELY
    world.clock.set(datetime(2026, 5, 10, 13, tzinfo=UTC))
    assert world.available() == ALLOWANCE + MINUTELY
    assert world.wrong() == []


def test_a_version_of_the_plan_to_come_says_how_much() -> None:
    world = planned()
    soon = END - MINUTE + 11 * MINUTE
    world.billing.publish(Plan("pro-2", "pro", soon, allowance=nanos(5)))
    assert start(world).funded_until == END + 3 * MINUTE, "the version of when it begins"
    assert of_each_period(world) == [ALLOWANCE, ALLOWANCE]
    assert world.wrong() == []


@pytest.mark.parametrize(
    ("plan", "paused", "fair"), [(None, False, 0), ("pro", True, 0), ("small", False, MINUTELY)]
)
def test_what_a_run_gives_back_of_it_is_taken_back_as_well(
    plan: str | None, paused: bool, fair: int
) -> None:
    world = planned()
    start(world)  # its hold has all of it
    world.billing.set_plan("acme", "change", plan, paused=paused)
    assert world.wrong() == []
    world.billing.stop_run("acme", "r1")
    world.clock.set(END + DAY)
    assert world.available() == fair
    assert world.wrong() == []


def test_closing_refunds_nothing_of_a_period_to_come() -> None:
    world = planned()
    start(world)
    assert world.billing.close("acme", remainder="refund").amount == ALLOWANCE
    assert world.balance().balance == 0
    assert world.wrong() == []


def test_what_can_only_pay_later_pays_later() -> None:
    """Credit that could pay now as well is kept for now, though it would be spent first."""
    world = planned()
    world.deduct(units(ALLOWANCE))
    world.grant(2 * MINUTELY, expires_at=END + 5 * DAY)
    assert start(world).funded_until == END + 4 * MINUTE


@pytest.mark.parametrize("seconds", [30, 61, 105, 115, 119, 200])
def test_it_covers_no_debt_before_its_period_begins(seconds: int) -> None:
    world = planned()
    world.grant(2 * MINUTELY, scope=("sandbox:box",))
    world.deduct(units(ALLOWANCE))
    world.settle(units(190_000))
    assert world.available("sandbox:box") == -70_000
    with pytest.raises(Refused):
        start(world, fund_for=seconds * SECOND)


def test_nor_does_one_that_was_granted_for_another_run() -> None:
    world = planned(bought=MINUTELY)
    start(world, "r0", fund_for=61 * SECOND)
    world.grant(2 * MINUTELY, scope=("sandbox:box",))
    world.deduct(units(world.available()))
    world.settle(units(100_000))
    assert world.available("sandbox:box") == 20_000
    assert start(world, fund_for=30 * SECOND).funded_until == END - 40 * SECOND


def test_a_heartbeat_told_after_the_period_renews_as_well() -> None:
    """The last of the period's time is paid by what the hold kept of its allowance."""
    world = planned(100 * MINUTELY)
    start(world)
    world.clock.set(END + 6 * MINUTE)  # the allowance has ended: clocks may differ by five
    late = world.billing.heartbeat("acme", "r1", occurred_at=END - SECOND)
    assert (late.funded_until, late.bound_by) == (END + 11 * MINUTE, "asked")
    assert list(world.store.waiting_events("acme", 9)) == []
    assert world.wrong() == []


def test_a_run_that_starts_as_a_period_begins_is_paid_by_that_period_s_allowance() -> None:
    world = planned()
    world.clock.set(END)
    started = start(world, fund_for=MINUTE)
    assert (started.funded_until, started.bound_by) == (END + MINUTE, "asked")
    world.clock.set(END + MINUTE)
    assert world.billing.stop_run("acme", "r1").charged == MINUTELY
    assert (world.balance().debt, world.available()) == (0, ALLOWANCE - MINUTELY)
    assert world.wrong() == []


def test_of_two_parts_granted_ahead_a_lower_plan_takes_back_its_excess_and_no_more() -> None:
    world = planned()
    start(world)
    world.billing.set_plan("acme", "more", "big")
    start(world, "r2")
    assert of_each_period(world) == [2 * ALLOWANCE, 2 * ALLOWANCE]
    for run in ("r1", "r2"):
        world.billing.stop_run("acme", run)
    world.billing.set_plan("acme", "less", "pro")
    of_end = micros("at", END)
    left = [lot.remainder for lot in world.store.lots("acme") if lot.period == of_end]
    assert left == [0, ALLOWANCE]
    world.clock.set(END)
    assert world.available() == ALLOWANCE
    assert world.wrong() == []


def test_what_was_granted_ahead_pays_for_none_of_the_running_period() -> None:
    """The hold has it beside what was bought, which pays until then."""
    world = planned(bought=5 * MINUTELY)
    world.settle(units(ALLOWANCE))
    assert start(world).funded_until == END + 4 * MINUTE
    world.clock.set(END - 30 * SECOND)
    world.billing.heartbeat("acme", "r1")
    assert world.left() == {2: 5 * MINUTELY - 30 * 1000, 3: ALLOWANCE}
    assert world.wrong() == []


def test_what_was_granted_ahead_expires_when_the_org_closes_and_the_rest_goes_back() -> None:
    world = planned(bought=MINUTELY)
    start(world)
    assert of_each_period(world) == [ALLOWANCE, ALLOWANCE]
    closed = world.billing.close("acme", remainder="refund")
    assert (closed.amount, world.balance().balance) == (ALLOWANCE + MINUTELY, 0)
    moved = [(move.amount, move.kind) for move in world.moves(closed)]
    assert moved == [(ALLOWANCE, "refund"), (ALLOWANCE, "expiry"), (MINUTELY, "refund")]
    assert world.wrong() == []


def test_at_the_very_begin_of_a_period_closing_gives_its_allowance_back() -> None:
    world = planned(bought=MINUTELY)
    world.clock.set(END)
    closed = world.billing.close("acme", remainder="refund")
    assert (closed.amount, world.balance().balance) == (2 * ALLOWANCE + MINUTELY, 0)
    assert world.wrong() == []
