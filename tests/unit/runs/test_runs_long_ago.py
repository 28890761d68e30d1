"""A run that is told of years later is decided at once, whatever days and periods it reaches."""

from collections import Counter

import pytest
from test_runs import boxes, start
from world import DAY, LONG_AGO, SECOND, T0, World, nanos

from billing_core import Plan, Quota, Usage
from billing_core.engine import batch
from billing_core.runs.demand import RunComponent

pytestmark = pytest.mark.every_store

LATE = 300 * DAY


def years_later(**options) -> World:
    world = boxes(grant=10**13, **options)
    world.clock.set(T0 + LATE)
    return world


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often anything was decided, and a cost looked at."""
    found: Counter[str] = Counter()

    def counted(place: object, name: str) -> None:
        real = getattr(place, name)

        def called(*given, **options):
            found[name] += 1
            return real(*given, **options)

        monkeypatch.setattr(place, name, called)

    counted(batch, "decide")
    counted(RunComponent, "_dearest")
    return found


def test_the_days_of_a_limit_are_asked_for_at_once(done) -> None:
    world = years_later()
    world.deduct(nanos(7), resource="x", member="ana")
    for key, whose in (("l", {}), ("m", {"member": "ana"})):
        world.billing.set_limit("acme", key, nanos(10**12), per="day", **whose)
    done.clear()
    started = start(world, occurred_at=T0, member="ana")
    assert (started.bound_by, done["decide"] <= 6) == ("asked", True), done
    assert world.wrong() == []


def test_the_day_that_has_the_least_room_binds_however_long_ago_it_was(done) -> None:
    world = boxes(grant=10**13)
    for day, amount in ((3, 5), (150, 70), (200, 6)):
        world.clock.set(T0 + day * DAY)
        world.deduct(nanos(amount), resource="x")
    world.clock.set(T0 + LATE)
    world.billing.set_limit("acme", "l", nanos(1_000 * 86_400 + 70), per="day")
    started = start(world, occurred_at=T0)
    assert (started.bound_by, started.funded_until) == ("org_limit", T0 + DAY)
    assert world.wrong() == []


def test_the_periods_of_a_family_s_quota_are_asked_for_at_once(done) -> None:
    world = years_later()
    quotas = [Quota("sandbox:*", "second", 10**18), Quota("sandbox:b*", "second", 10**18)]
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, quotas=quotas))
    world.billing.set_plan("acme", "s", "pro")
    done.clear()
    assert start(world, occurred_at=T0).bound_by == "asked"
    assert done["decide"] <= 6, done
    world.billing.hold(
        "acme", Usage.of("sandbox:box", {"second": 5}), key="h", expires_in=3_000 * DAY
    )
    assert done["decide"] <= 12, done
    assert world.wrong() == []


def test_a_cost_is_looked_at_once_for_each_period(done) -> None:
    """And not again for each time until which the credit may reach."""
    world = boxes(grant=10**11)
    world.clock.set(T0 + 3_000 * DAY)
    done.clear()
    started = start(world, occurred_at=T0)
    assert started.bound_by == "balance"
    assert started.funded_until == T0 + 100_000_000 * SECOND
    assert done["_dearest"] < 15_000, done
