"""How often a store is asked before a decision. What was not foreseen is asked for by NeedMore, one
after the other, and everything is decided anew each time: right, and slow."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest
from world import DAY, HOUR, MINUTE, T0, World, nanos, units

from billing_core import Extend, Flat, Hold, Plan, Price, StoreError, sandbox
from billing_core.engine import batch
from billing_core.ledger.inputs import NeedMore
from billing_core.ports.state import Wanted
from billing_core.testing import MemoryStore
from billing_core.values.times import FOREVER

BOX = sandbox("box", {"second": 1})
PERIOD_ENDS = datetime(2026, 4, 10, 12, tzinfo=UTC)
BEFORE_MIDNIGHT = datetime(2026, 3, 20, 23, 59, tzinfo=UTC)


class Asked(MemoryStore):
    """Counts its loads."""

    loads = 0

    def snapshot(self, wanted):
        self.loads += 1
        return super().snapshot(wanted)


@pytest.fixture
def world() -> World:
    world = World(Asked())
    box = Price(Flat(1000, 1_000_000), unit="microsecond")
    world.publish({"sandbox:box": {"second": box}})
    world.grant(10**12)
    return world


def loads(world: World, act) -> int:
    before = world.store.loads
    act()
    return world.store.loads - before


def limit(world: World) -> None:
    """By month and by day; none of what these count is still to be added up."""
    for per in ("period", "day"):
        world.billing.set_limit("acme", per, nanos(10**11), per=per)
    world.clock.advance(3 * DAY)


def test_a_hold_over_a_period_s_end_is_decided_on_what_was_loaded_first(world) -> None:
    world.clock.set(PERIOD_ENDS - MINUTE)
    assert loads(world, lambda: world.hold(units(5), expires_in=HOUR)) == 1
    world.clock.set(PERIOD_ENDS + 2 * MINUTE)
    assert loads(world, lambda: world.settle(units(5))) == 1


def test_a_run_over_a_period_s_end_is_decided_on_what_was_loaded_first(world) -> None:
    billing = world.billing
    world.clock.set(PERIOD_ENDS - 8 * MINUTE)
    assert loads(world, lambda: billing.start_run("acme", "early", BOX)) == 1
    world.clock.set(PERIOD_ENDS - 3 * MINUTE)
    assert loads(world, lambda: billing.heartbeat("acme", "early")) == 1
    assert loads(world, lambda: billing.start_run("acme", "r", BOX)) == 1
    world.clock.set(PERIOD_ENDS + MINUTE)
    assert loads(world, lambda: billing.heartbeat("acme", "r")) == 1
    assert loads(world, lambda: billing.stop_run("acme", "r")) == 1


def test_holds_and_runs_over_midnight_count_in_the_limits_that_were_loaded_first(world) -> None:
    limit(world)
    world.deduct(1)
    world.clock.set(BEFORE_MIDNIGHT)
    # Once more for what was spent in a month of which a limit has counted nothing yet.
    assert loads(world, lambda: world.hold(units(5), expires_in=HOUR)) <= 2
    assert loads(world, lambda: world.hold(units(5), expires_in=2 * HOUR)) == 1
    assert loads(world, lambda: world.billing.start_run("acme", "r", BOX)) == 1


@pytest.mark.parametrize("behind", [3, 30, 300])
def test_a_clock_that_is_behind_asks_for_the_days_between_at_once(world, behind) -> None:
    limit(world)
    world.clock.advance(behind * DAY)
    world.deduct(1)
    world.clock.advance(-behind * DAY)
    assert loads(world, lambda: world.hold(units(5), expires_in=DAY)) <= 3


def test_an_extension_is_decided_after_two_loads_at_most(world) -> None:
    """Of what its hold was made for it learns from the first."""
    world.clock.set(PERIOD_ENDS - 2 * HOUR)
    world.billing.publish(Plan("pro-1", "pro", T0 - DAY))
    plain, item = world.hold(units(5)), world.hold(units(5, item="i"))
    assert loads(world, lambda: world.extend(plain, expires_in=HOUR)) == 1
    world.billing.set_plan("acme", "p", "pro")
    assert loads(world, lambda: world.extend(item, expires_in=3 * DAY)) == 2


def test_an_item_that_was_not_foreseen_is_looked_for_and_not_taken_for_a_new_one(
    world, monkeypatch
) -> None:
    """Of a new one, what is left of a call would be held at the call's minimum once more."""
    world.publish({"call": {"unit": Price(Flat(1), minimum=10)}}, version="calls")
    world.settle(units(6, "call", item="i"))
    held = world.hold(units(5, "call", item="i"))
    assert held.held.amount == 1
    monkeypatch.setattr(batch, "widened", lambda *_: False)
    assert world.extend(held, expires_in=2 * HOUR).amount == 1
    assert world.wrong() == []


def test_what_all_extensions_of_a_batch_need_is_asked_for_at_once(world) -> None:
    held = [world.hold(units(5, item=f"call-{n}")) for n in range(16)]
    extensions = [
        Extend("acme", f"more-{n}", hold=hold.key, expires_in=timedelta(hours=2))
        for n, hold in enumerate(held)
    ]
    assert loads(world, lambda: world.billing.execute(extensions)) == 2


def test_what_all_holds_of_a_batch_reach_is_loaded_first(world) -> None:
    world.clock.set(PERIOD_ENDS - MINUTE)
    holds = [
        Hold("acme", f"h-{n}", cost=units(5, item=f"call-{n}"), expires_in=n * HOUR)
        for n in range(1, 17)
    ]
    assert loads(world, lambda: world.billing.execute(holds)) == 1


@pytest.mark.parametrize(
    ("need", "known"),
    [
        ({"counter": ("x", 5)}, {"counters": {"x": (5, 9)}}),
        ({"counter": ("x", 9)}, {"counters": {"x": (5, 9)}}),
        ({"item": ("i", "x")}, {"items": {("i", "x")}}),
        ({"time": 5}, {"times": (5, 9)}),
        ({"time": 9}, {"times": (5, 9)}),
        ({"replayed": {"acme": ({"h"}, set())}}, {"holds": {"h"}}),
        ({"replayed": {"acme": (set(), {7})}}, {"charges": {7}}),
    ],
)
def test_what_was_wanted_and_is_not_there_is_an_error_and_not_asked_for_for_ever(
    need, known
) -> None:
    """Be it that a store does not say what it has loaded, or that a row is gone."""
    wants = {"acme": Wanted(until=9)}
    NeedMore("acme", **need).widen(wants)
    for asked in (wants, {"acme": Wanted(until=9, **deepcopy(known))}):
        with pytest.raises(StoreError, match=r"of org 'acme'.* not (loaded|on record)"):
            NeedMore("acme", **need).widen(asked)


def test_what_was_not_foreseen_is_wanted_beside_what_was() -> None:
    wants = {"acme": Wanted(until=9, counters={"x": (5, 6)}, times=(5, 6))}
    for need in ({"counter": ("x", 4)}, {"counter": ("y", 4)}, {"time": 4}, {"time": 8}):
        NeedMore("acme", **need).widen(wants)
    assert wants["acme"].counters == {"x": (4, FOREVER), "y": (4, FOREVER)}
    assert wants["acme"].times == (4, 8)
