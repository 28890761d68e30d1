"""What an open hold or run may use counts for whoever comes after it, whatever price or plan
there was when it was made (rule 5.4, quotas); and nothing on record is taken for new because
nobody has looked for it."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from http_world import mounted
from test_runs import BOX, beat, boxes, start, stop
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, World, nanos, units

from billing_adapters.http import Api, Caller
from billing_core import (
    Flat,
    Graduated,
    Plan,
    Price,
    PriceBook,
    Quota,
    Refused,
    Settle,
    StoreError,
    Tier,
    Usage,
)
from billing_core.decide import decide, wanted
from billing_core.ledger.inputs import NeedMore, Terms
from billing_core.ledger.ledger import Ledger
from billing_core.ports.required import knows_counter
from billing_core.ports.state import OrgState, Wanted
from billing_core.testing import MemoryStore
from billing_core.values.times import Window, micros

CALL = {"tool:a": {"call": Price(Flat(1), unit="call")}}
MONTH_END = T0 + timedelta(days=31)
PATTERNS = pytest.mark.parametrize("pattern", ["tool:a", "tool:*"])


def calls(quantity: int) -> Usage:
    return Usage.of("tool:a", {"call": quantity})


def with_calls(now=T0) -> World:
    """A call costs a nano, and no plan or price has a bound."""
    world = World(priced=False)
    world.clock.set(now)
    world.publish(CALL)
    world.grant(10_000)
    return world


def six(pattern: str = "tool:a") -> tuple[Quota, ...]:
    return (Quota(pattern, "call", 6),)


def subscribe(world: World, *, key: str = "p", plan: str = "six", quotas=()) -> None:
    world.billing.publish(Plan(f"{plan}-1", plan, LONG_AGO, quotas=quotas))
    world.billing.set_plan("acme", key, plan)


def announced(world: World, component: str = "call") -> list[int]:
    """What open holds have announced, by billing period."""
    known = sorted(world.store.counters("acme"), key=lambda each: each.start)
    return [each.of(component).held for each in known if component in each.components]


def refused_by_quota(world: World, quantity: int, expires_in=HOUR) -> bool:
    """Whether a check, a hold and a deduct of so many calls are refused, all by the quota."""
    allowed = world.billing.check("acme", calls(quantity)).allowed
    found = []
    for attempt in (
        lambda: world.deduct(calls(quantity)),
        lambda: world.hold(calls(quantity), expires_in=expires_in),
    ):
        try:
            attempt()
        except Refused as no:
            found.append(no.refusal.limit)
    assert found in ([], ["quota", "quota"]) and allowed is not bool(found), (found, allowed)
    return bool(found)


# -- quotas that come after a hold ------------------------------------------------


@PATTERNS
@pytest.mark.every_store
def test_a_hold_from_before_the_plan_counts_in_its_quota(pattern) -> None:
    world = with_calls()
    hold = world.hold(calls(5))
    subscribe(world, quotas=six(pattern))
    assert refused_by_quota(world, 2)
    world.deduct(calls(1))
    world.settle(calls(5), hold=hold.key)
    assert world.counter("tool:a", "call") == [6]
    assert world.wrong() == []


@PATTERNS
@pytest.mark.every_store
def test_a_hold_from_before_the_plan_counts_in_each_period_that_it_reaches(pattern) -> None:
    world = with_calls(now=MONTH_END - DAY)
    hold = world.hold(calls(5), expires_in=10 * DAY)
    subscribe(world, quotas=six(pattern))
    assert announced(world) == [5, 5]
    world.clock.set(MONTH_END + DAY)
    assert refused_by_quota(world, 2)
    world.settle(calls(5), hold=hold.key)
    assert announced(world) == [0, 0]
    assert not refused_by_quota(world, 0)
    world.deduct(calls(1))
    assert refused_by_quota(world, 1)
    assert world.wrong() == []


@PATTERNS
@pytest.mark.every_store
def test_a_hold_under_another_plan_counts_in_the_quota_of_the_new_one(pattern) -> None:
    world = with_calls()
    subscribe(world, plan="free")
    world.hold(calls(5))
    subscribe(world, key="up", quotas=six(pattern))
    assert refused_by_quota(world, 2)
    assert world.wrong() == []


@PATTERNS
@pytest.mark.every_store
def test_a_hold_counts_in_the_quota_that_a_new_version_of_the_plan_brings(pattern) -> None:
    world = with_calls()
    subscribe(world)
    world.billing.publish(Plan("six-2", "six", T0 + HOUR, quotas=six(pattern)))
    world.hold(calls(5), expires_in=DAY)
    world.clock.advance(2 * HOUR)
    assert refused_by_quota(world, 2)
    assert world.wrong() == []


@pytest.mark.every_store
def test_an_extended_hold_counts_in_the_quota_that_comes_later() -> None:
    world = with_calls(now=MONTH_END - 2 * HOUR)
    hold = world.hold(calls(5))
    assert announced(world) == [5]
    world.settle(calls(1), hold=hold.key, final=False)
    world.extend(hold, expires_in=DAY)
    assert announced(world) == [4, 4]
    subscribe(world, quotas=six())
    world.extend(hold, expires_in=2 * DAY)  # it is not in its own way
    world.clock.set(MONTH_END + HOUR)
    assert refused_by_quota(world, 3)
    world.deduct(calls(2))
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_quota_has_room_again_when_a_hold_from_before_it_ends() -> None:
    world = with_calls()
    settled, released = (world.hold(calls(1), key=key) for key in ("s", "r"))
    world.hold(calls(1), key="lapses", expires_in=MINUTE)
    world.hold(Usage("tool:a", (("call", 4, "customer"),)))  # by their own key: not ours to count
    subscribe(world, quotas=six())
    assert announced(world) == [3]
    world.settle(calls(1), hold=settled.key)
    world.billing.release("acme", released.key)
    world.clock.advance(2 * MINUTE)
    assert world.hold(calls(5)).amount == 5
    assert announced(world) == [5]
    assert refused_by_quota(world, 1)
    world.billing.close("acme", remainder="write_off")
    assert announced(world) == [0]
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_hold_that_its_block_settles_leaves_nothing_announced() -> None:
    world = with_calls()
    with world.hold(calls(5), key="h") as held:
        held.report(calls(2))
        held.report(calls(1))
    assert announced(world) == [0]
    subscribe(world, quotas=six())
    assert world.hold(calls(3)).amount == 3
    assert world.wrong() == []


@pytest.mark.every_store
def test_runs_from_before_the_plan_count_in_its_quota() -> None:
    world = boxes()
    second = 10**6
    start(world, "r1")
    assert announced(world, "second") == [300 * second]
    quota = Quota("sandbox:box", "second", 400 * second)
    world.billing.publish(Plan("six-1", "six", LONG_AGO, quotas=(quota,)))
    world.billing.set_plan("acme", "p", "six")
    second_run = start(world, "r2")
    assert (second_run.bound_by, second_run.funded_until) == ("quota", T0 + timedelta(seconds=100))
    with pytest.raises(Refused) as refused:
        world.hold(Usage.of("sandbox:box", {"second": second}))
    assert refused.value.refusal.limit == "quota"
    world.clock.advance(MINUTE)
    assert beat(world, "r1").funded_until == T0 + 5 * MINUTE  # its own time is not in its way
    stop(world, "r1")
    assert beat(world, "r2").funded_until == T0 + timedelta(seconds=340)
    stop(world, "r2")
    assert announced(world, "second") == [0]
    assert world.wrong() == []


def test_a_check_over_http_counts_a_hold_from_before_the_plan() -> None:
    world = with_calls()
    world.hold(calls(5))
    subscribe(world, quotas=six("tool:*"))
    api = Api(world.billing, {"service-key": Caller("gateway", "service")}.get)
    usage = {"resource": "tool:a", "quantities": {"call": "2"}}
    body = {"orgId": "acme", "usage": usage, "hold": {"lifeSeconds": 60}}
    found = mounted("plain", api).post("/v1/internal/credits/check", body, "service-key", "k").data
    assert (found["allowed"], found["hold"]) == (False, None)
    assert found["refusal"]["limit"] == "quota"


# -- tiers that come after a hold --------------------------------------------------

DEARER = Price(Graduated((Tier(5, 1), Tier(None, 1000))), unit="call")
"""The first five of a month cost one, and what follows a thousand."""


@pytest.mark.every_store
def test_a_hold_at_a_flat_price_counts_in_the_quotes_of_tiers_that_come_later() -> None:
    world = with_calls()
    first = world.hold(calls(5), expires_in=9 * HOUR)
    assert first.amount == 5
    world.publish({"tool:a": {"call": DEARER}}, version="tiers", effective_at=T0 + HOUR)
    world.clock.advance(2 * HOUR)
    second = world.hold(calls(5))
    assert second.amount == 5000
    world.settle(calls(5), hold=first.key)
    charge = world.settle(calls(5), hold=second.key)
    assert (charge.amount, charge.captured, charge.unpaid) == (5000, 5000, 0)
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_hold_that_reaches_the_tiers_of_the_next_period_counts_there() -> None:
    world = with_calls(now=MONTH_END - HOUR)
    world.hold(calls(5), expires_in=DAY)
    book = PriceBook("tiers", MONTH_END, {"tool:a": {"call": DEARER}})
    world.billing.publish(book)
    world.clock.set(MONTH_END + HOUR)
    assert world.hold(calls(5)).amount == 5000
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_run_at_a_flat_price_counts_in_the_quotes_of_tiers_that_come_later() -> None:
    world = boxes()
    start(world, "r1", BOX, fund_for=HOUR)
    rate = 10**6
    tiers = Price(Graduated((Tier(300 * rate, 1, rate), Tier(None, 100, rate))), unit="microsecond")
    later = T0 + 20 * MINUTE
    world.publish({"sandbox:box": {"second": tiers}}, version="tiers", effective_at=later)
    world.clock.set(later)
    assert world.hold(Usage.of("sandbox:box", {"second": 10 * rate})).amount == 1_000
    assert world.wrong() == []


# -- what was not looked for is not new ---------------------------------------------


def test_what_was_not_loaded_is_asked_for_and_not_begun_anew() -> None:
    """A settlement of a month for which its load has no counter, nor its item."""
    world = World()
    world.grant(100)
    world.settle(units(5, item="i"))
    now = micros("now", T0)
    command = Settle("acme", "k", usage=units(3, item="i"))
    terms = Terms(world.billing._prices.load(), now, 0, 0)
    wants = wanted([command], now)
    wants["acme"].counters, wants["acme"].items = {}, set()
    with pytest.raises(NeedMore) as missing:
        decide(world.store.snapshot(wants), [command], terms)
    assert missing.value.counter == ("x", now)
    missing.value.widen(wants)
    with pytest.raises(NeedMore) as missing:
        decide(world.store.snapshot(wants), [command], terms)
    assert missing.value.item == ("i", "x")
    missing.value.widen(wants)
    _, changes = decide(world.store.snapshot(wants), [command], terms)
    assert changes["acme"].counters["x", now].of("unit").quantity == 8
    assert changes["acme"].items["i", "x"].components["unit"][0] == 8


def test_spending_and_plans_of_a_time_that_was_not_loaded_are_asked_for() -> None:
    world = World()
    world.grant(100)
    world.billing.publish(Plan("p-1", "p", LONG_AGO))
    world.clock.advance(DAY)
    world.billing.set_plan("acme", "p", "p")
    world.clock.advance(DAY)
    world.settle(units(5))
    now, before = (micros("time", time) for time in (T0 + 2 * DAY, T0))
    # The spending of this day and period; and the plan of the day before the first one.
    for times, asked in (({}, now - now % (24 * 3600 * 10**6)), ({"occurred_at": T0}, before)):
        command = Settle("acme", "k", usage=units(3), **times)
        terms = Terms(world.billing._prices.load(), now, 0, 0)
        wants = wanted([command], now)
        wants["acme"].times = None
        with pytest.raises(NeedMore) as missing:
            decide(world.store.snapshot(wants), [command], terms)
        assert missing.value.time == asked
        missing.value.widen(wants)
        assert wants["acme"].times == (asked, asked)


def test_what_is_loaded_covers_the_periods_of_its_times() -> None:
    state = OrgState()
    state.covered["x"] = [(100, 200)]
    for period, known in (
        ((0, 100), False),
        ((0, 101), True),
        ((100, 200), True),
        ((200, 300), True),
        ((201, 300), False),
    ):
        assert knows_counter(state, "x", Window(*period)) is known, period
        assert not knows_counter(state, "y", Window(*period))
    state.covered["x"].append((500, 500))
    assert knows_counter(state, "x", Window(450, 550)) and not knows_counter(
        state, "x", Window(300, 400)
    )


def test_spending_is_known_of_the_windows_of_what_was_loaded_and_of_no_other() -> None:
    world = World()
    world.billing.set_limit("acme", "l", nanos(100), per="day")
    state = world.store.snapshot({"acme": Wanted(until=0, times=(100, 200))})["acme"]
    assert state.times == (100, 200)
    ledger = Ledger("acme", state, Terms(world.billing._prices.load(), 0, 0, 0))
    for known in ((0, 101), (100, 200), (200, 300)):
        ledger.check_window(Window(*known), "day")
    for unknown in ((0, 100), (201, 300)):
        with pytest.raises(NeedMore) as missing:
            ledger.check_window(Window(*unknown), "day")
        assert missing.value.time == unknown[0]


class Forgetful(MemoryStore):
    """Loads no counters, and does not say so."""

    @contextmanager
    def transaction(self):
        with super().transaction() as transaction:
            load = transaction.load

            def less(wants):
                found = load(wants)
                for state in found.values():
                    state.counters.clear()
                    state.covered.clear()
                return found

            transaction.load = less
            yield transaction


def test_a_store_that_does_not_say_what_it_has_loaded_is_told_so_and_changes_nothing() -> None:
    world = World(Forgetful())
    world.grant(100)
    before = world.state()
    with pytest.raises(StoreError, match=r"\('x', .*\) of org 'acme' was wanted, and is not loade"):
        world.settle(units(5))
    assert world.state() == before


def test_a_late_counter_that_is_wanted_brings_all_that_follow_it() -> None:
    """So that a life of many months does not ask for them one by one."""
    wants = {"acme": Wanted(until=0, counters={"x": (700, 800)})}
    NeedMore("acme", counter=("x", 500)).widen(wants)
    assert wants["acme"].counters["x"] == (500, 2**63 - 1)
    NeedMore("acme", item=("i", "x")).widen(wants)
    NeedMore("acme", time=300).widen(wants)
    assert (wants["acme"].items, wants["acme"].times) == ({("i", "x")}, (300, 300))
    for again in ({"counter": ("x", 900)}, {"item": ("i", "x")}, {"time": 300}):
        with pytest.raises(StoreError, match="was wanted, and is not loaded"):
            NeedMore("acme", **again).widen(wants)
