"""``all_time`` is all that was ever recorded, whatever this service's clock says (rule 8.2)."""

from datetime import timedelta

import pytest
from world import DAY, HOUR, MINUTE, T0, World

pytestmark = pytest.mark.every_store


def told(world: World, **whose) -> list[int]:
    """The total of all time, by member's row, and by day."""
    days = world.billing.usage_by_day("acme", "all_time", **whose)
    return [world.billing.usage("acme", "all_time", **whose).total, sum(day.total for day in days)]


def test_all_time_has_what_is_of_this_moment_and_dated_ahead() -> None:
    world = World()
    world.grant(1_000)
    world.settle(5, member="ann")
    assert told(world) == told(world, member="ann") == [5, 5]
    world.clock.advance(DAY)
    world.settle(50)
    world.settle(500, occurred_at=world.clock.now + 4 * MINUTE)
    assert told(world) == [555, 555]
    assert world.billing.usage("acme", "all_time").end == world.clock.now
    assert told(world, member="ann") == [5, 5]
    assert world.wrong() == []


@pytest.mark.parametrize("back", [2 * HOUR, 40 * DAY, timedelta(days=100)])
def test_all_time_has_what_a_clock_that_stepped_back_has_not_come_to(back: timedelta) -> None:
    world = World()
    world.grant(1_000)
    world.settle(5)
    for amount in (50, 500):
        world.clock.advance(33 * DAY)
        world.settle(amount)
    world.clock.set(T0 + 66 * DAY - back)
    assert told(world) == [555, 555]


def test_all_time_has_what_is_dated_into_the_next_period() -> None:
    world = World()
    world.grant(1_000)
    world.clock.advance(31 * DAY - MINUTE)
    world.settle(5)
    world.settle(50, occurred_at=world.clock.now + 4 * MINUTE)
    assert told(world) == [55, 55]
    assert world.wrong() == []
