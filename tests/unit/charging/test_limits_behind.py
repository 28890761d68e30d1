"""A hold lives by the org's time of decision: limits count what it reaches, however far the clock
of the service that asks is behind."""

import asyncio

import pytest
from test_runs import boxes, start
from world import DAY, HOUR, MINUTE, SECOND, T0, TICK, World, nanos, units

from billing_core import (
    AsyncBilling,
    Extend,
    Flat,
    Grant,
    Hold,
    Plan,
    Price,
    Quota,
    Refusal,
    Refused,
    sandbox,
)

pytestmark = pytest.mark.every_store

MIDNIGHT = T0.replace(hour=0) + DAY
START = MIDNIGHT - 3 * DAY  # the limits are days old
PERIOD_END = START + 31 * DAY


def used_up_by_a_service_ahead(at=MIDNIGHT + 2 * MINUTE, behind=4 * MINUTE, per="day") -> World:
    """The window that has just begun has no room; another service's clock is still in the one
    before."""
    world = World(now=START)
    world.grant(1_000)
    world.billing.set_limit("acme", "l", nanos(5), per=per)
    world.clock.set(at)
    world.deduct(5)
    world.clock.set(at - behind)
    return world


@pytest.mark.parametrize("cost", [4, units(4)])
@pytest.mark.parametrize(
    ("at", "per"), [(MIDNIGHT + 2 * MINUTE, "day"), (PERIOD_END + 2 * MINUTE, "period")]
)
def test_a_hold_that_ends_in_a_window_without_room_is_refused_by_a_clock_behind(
    cost, at, per: str
) -> None:
    world = used_up_by_a_service_ahead(at, per=per)
    for _ in range(2):  # as it is known, too
        with pytest.raises(Refused) as refused:
            world.hold(cost, expires_in=MINUTE)
        refusal = refused.value.refusal
        assert (refusal.limit, refusal.shortfall) == ("org_limit", 4)
    assert world.wrong() == []


def test_a_hold_from_memory_is_refused_by_a_clock_behind() -> None:
    world = World(now=START)
    world.grant(1_000)
    world.billing.set_limit("acme", "l", nanos(5), per="day")
    world.clock.set(MIDNIGHT - 10 * MINUTE)
    for _ in range(2):
        held = world.hold(1, expires_in=HOUR)
        world.billing.release("acme", held.key)
    world.clock.set(MIDNIGHT + 2 * MINUTE)
    world.deduct(5)
    world.clock.set(MIDNIGHT - 2 * MINUTE)
    with pytest.raises(Refused, match="limit"):
        world.hold(1, expires_in=MINUTE)
    assert world.wrong() == []


def test_an_async_hold_is_refused_by_a_clock_behind() -> None:
    world = used_up_by_a_service_ahead()

    async def ask() -> None:
        billing = AsyncBilling(world.store, clock=world.clock)
        with pytest.raises(Refused, match="limit"):
            await billing.hold("acme", nanos(4), key="h", expires_in=MINUTE)

    asyncio.run(ask())
    assert world.wrong() == []


def test_a_batch_moves_the_time_of_decision_into_the_next_day_by_itself() -> None:
    world = World(now=START)
    world.grant(1_000)
    world.billing.set_limit("acme", "l", nanos(5), per="day")
    world.clock.set(MIDNIGHT - 3 * MINUTE)
    world.settle(5, occurred_at=MIDNIGHT + MINUTE)
    late = Grant("acme", "later", amount=nanos(1), at=MIDNIGHT + MINUTE)
    _, held = world.billing.execute([late, Hold("acme", "h", cost=units(1), expires_in=MINUTE)])
    assert isinstance(held, Refusal)
    assert world.wrong() == []


def test_an_extension_adds_nothing_to_a_window_without_room_by_a_clock_behind() -> None:
    world = World(now=START, tolerance=DAY, publication_delay=DAY + 10 * MINUTE)
    world.grant(1_000)
    world.billing.set_limit("acme", "l", nanos(5), per="day")
    hold = world.hold(1, expires_in=9 * DAY)
    world.clock.set(MIDNIGHT + DAY + 2 * MINUTE)
    world.deduct(4)
    world.clock.set(MIDNIGHT - 4 * MINUTE)  # two days behind
    with pytest.raises(Refused, match="limit"):
        world.extend(hold, expires_in=MINUTE, add=1)
    assert world.billing.execute([Extend("acme", "e", hold=hold.key, expires_in=MINUTE)])[
        0
    ].replayed is (False)
    assert world.wrong() == []


def test_what_a_clock_ahead_dated_ahead_binds_a_long_hold_by_a_clock_behind() -> None:
    world = World(now=START, tolerance=DAY, publication_delay=DAY + 10 * MINUTE)
    world.grant(1_000)
    world.billing.set_limit("acme", "l", nanos(5), per="day")
    world.clock.set(MIDNIGHT + MINUTE)
    world.settle(5, occurred_at=MIDNIGHT + DAY + MINUTE)
    world.clock.set(MIDNIGHT - MINUTE)
    with pytest.raises(Refused, match="limit"):
        world.hold(1, expires_in=10 * DAY)
    assert world.wrong() == []


def test_a_check_says_what_any_hold_would_be_told_by_a_clock_behind() -> None:
    world = used_up_by_a_service_ahead()
    for cost in (nanos(1), units(1)):
        told = world.billing.check("acme", cost)
        assert not told.allowed
        assert told.refusal.limit == "org_limit"
    world.clock.set(MIDNIGHT - HOUR - DAY)
    assert not world.billing.check("acme", nanos(1)).allowed


def test_a_check_knows_the_quota_of_the_period_that_a_hold_ends_in() -> None:
    world = World(now=START)
    world.grant(1_000)
    quota = Quota("x", "unit", 5)
    world.billing.publish(Plan("pro-1", "pro", START - DAY, quotas=[quota]))
    world.billing.set_plan("acme", "p", "pro")
    world.clock.set(PERIOD_END + 2 * MINUTE)
    world.deduct(5)
    world.clock.set(PERIOD_END - 2 * MINUTE)
    with pytest.raises(Refused, match="quota"):
        world.hold(units(1), expires_in=SECOND)
    assert world.billing.check("acme", units(1)).refusal.limit == "quota"
    assert world.wrong() == []


def test_a_hold_within_its_own_day_is_as_before() -> None:
    world = used_up_by_a_service_ahead(at=MIDNIGHT - 4 * MINUTE)
    world.clock.set(MIDNIGHT - DAY - MINUTE)
    world.billing.set_limit("acme", "l2", nanos(9), per="day")
    assert world.hold(4, expires_in=TICK).amount == 4
    assert world.wrong() == []


def test_a_run_told_days_late_must_have_room_in_each_day_until_now() -> None:
    world = boxes(1, grant=10**9)
    world.billing.set_limit("acme", "l", nanos(10**6), per="day")
    world.billing.set_limit("acme", "all", nanos(10**9), per="period")
    world.clock.set(T0 + 4 * DAY)
    world.deduct(nanos(10**6), resource="video")
    began = T0 + DAY
    with pytest.raises(Refused):
        start(world, spec=sandbox("box", {"second": 1}), at=began, fund_for=30 * DAY)
    assert start(world, "short", at=began, fund_for=MINUTE).funded_until == began + MINUTE
    assert world.wrong() == []


def test_a_check_by_a_clock_behind_asks_for_as_much_as_its_quote() -> None:
    world = World(now=START)
    world.grant(1_000)
    dearer = {"x": {"unit": Price(Flat(7))}}
    world.publish(dearer, version="dearer", effective_at=MIDNIGHT)
    world.clock.set(MIDNIGHT + 2 * MINUTE)
    world.deduct(1)
    world.clock.set(MIDNIGHT - 2 * MINUTE)
    quoted = world.billing.quote("acme", units(2)).amount
    assert (quoted, world.billing.check("acme", units(2)).needed) == (2, 2)
