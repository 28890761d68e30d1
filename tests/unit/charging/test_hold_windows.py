"""What a hold or a run may use counts in each window and period that it may reach (rule 8.7)."""

import pytest
from test_runs import beat, boxes, start, stop
from world import DAY, HOUR, LONG_AGO, MINUTE, SECOND, T0, World, nanos, units

from billing_core import Flat, Limit, Plan, Price, Quota, Refused, Usage

MIDNIGHT = T0.replace(hour=0) + DAY


def late_in_the_day(**limit) -> World:
    """Two minutes before midnight, with a limit of ten a day that was set days ago."""
    world = World(now=MIDNIGHT - 3 * DAY)
    world.grant(1_000)
    world.billing.set_limit("acme", "l", nanos(10), per="day", **limit)
    world.clock.set(MIDNIGHT - 2 * MINUTE)
    return world


@pytest.mark.every_store
def test_a_hold_must_have_room_in_the_limit_of_each_day_that_it_reaches() -> None:
    world = late_in_the_day()
    world.settle(7, occurred_at=MIDNIGHT + MINUTE)  # by a clock that is ahead
    assert world.hold(units(4), key="short", expires_in=2 * MINUTE).amount == 4
    world.billing.release("acme", "short")
    with pytest.raises(Refused) as refused:
        world.hold(units(4), expires_in=3 * MINUTE)
    refusal = refused.value.refusal
    assert (refusal.limit, refusal.shortfall) == ("org_limit", 1)
    assert refusal.retry_after == (DAY + 2 * MINUTE).total_seconds()
    assert world.hold(units(3), expires_in=2 * DAY).amount == 3
    assert world.wrong() == []


@pytest.mark.every_store
def test_an_extension_must_have_room_in_the_limit_of_each_day_that_it_reaches() -> None:
    world = late_in_the_day(member="ann")
    world.settle(7, occurred_at=MIDNIGHT + MINUTE, member="ann")
    hold = world.hold(units(3), expires_in=MINUTE, member="ann")
    with pytest.raises(Refused):
        world.extend(hold, expires_in=HOUR, add=1)
    assert world.extend(hold, expires_in=MINUTE, add=1).amount == 4
    assert world.extend(hold, expires_in=HOUR).amount == 4  # nothing is added
    assert world.wrong() == []


def late_in_the_month(**terms) -> World:
    """A minute before a billing period ends."""
    world = boxes()
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, **terms))
    world.billing.set_plan("acme", "p", "pro")
    world.clock.set(T0 + 31 * DAY - MINUTE)
    return world


def announced(world: World) -> list[int]:
    """Seconds, by billing period."""
    known = sorted(world.store.counters("acme"), key=lambda each: each.start)
    return [each.of("second").held // 10**6 for each in known]


def test_a_run_is_announced_in_each_period_that_it_is_funded_into() -> None:
    world = late_in_the_month(quotas=[Quota("sandbox:box", "second", 300 * 10**6)])
    started = start(world)
    assert (started.funded_until - world.clock.now, started.bound_by) == (5 * MINUTE, "asked")
    assert announced(world) == [60, 240]
    assert world.wrong() == []
    world.clock.advance(30 * SECOND)
    beat(world)
    assert announced(world) == [30, 270]
    assert world.wrong() == []
    world.clock.advance(MINUTE)
    again = beat(world)
    assert announced(world) == [0, 270]
    assert (again.funded_until - T0 - 31 * DAY, again.bound_by) == (300 * SECOND, "quota")
    stop(world)
    assert announced(world) == [0, 0]
    assert world.wrong() == []


def test_a_run_that_is_funded_into_a_period_leaves_others_less_of_its_quota() -> None:
    world = late_in_the_month(quotas=[Quota("sandbox:box", "second", 300 * 10**6)])
    start(world)
    other = start(world, "r2")
    assert (other.funded_until - world.clock.now, other.bound_by) == (2 * MINUTE, "quota")
    assert announced(world) == [120, 300]
    assert world.wrong() == []


def test_a_run_is_not_funded_into_a_day_whose_limit_is_used_up() -> None:
    world = boxes()
    world.billing.publish(
        Plan("pro-1", "pro", LONG_AGO, limits=[Limit("org", nanos(100_000), per="day")])
    )
    world.billing.set_plan("acme", "p", "pro")
    world.clock.set(MIDNIGHT - MINUTE)
    ahead = MIDNIGHT + MINUTE
    world.billing.deduct("acme", "d", nanos(40_000), resource="tool", occurred_at=ahead)
    started = start(world)
    assert (started.funded_until - world.clock.now, started.bound_by) == (60 * SECOND, "org_limit")
    world.clock.advance(10 * SECOND)  # which are today's
    assert beat(world).funded_until == started.funded_until + 10 * SECOND
    assert world.wrong() == []


@pytest.mark.every_store
def test_what_others_used_of_the_next_period_stays_counted_when_a_run_reaches_it() -> None:
    world = World(priced=False)
    cost = Price(Flat(1000, 10**6), unit="microsecond")
    world.publish({"sandbox:box": {"second": cost}})
    world.grant(10**9)
    quota = Quota("sandbox:box", "second", 1_000 * 10**6)
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, quotas=[quota]))
    world.billing.set_plan("acme", "p", "pro")
    ends = T0 + 31 * DAY
    world.clock.set(ends - 6 * MINUTE)
    start(world)
    world.clock.set(ends - 2 * MINUTE)
    world.settle(Usage.of("sandbox:box", {"second": 10**6}), occurred_at=ends + MINUTE)
    beat(world)
    assert world.counter("sandbox:box", "second") == [240 * 10**6, 10**6]
    assert announced(world) == [120, 180]
    assert world.wrong() == []
