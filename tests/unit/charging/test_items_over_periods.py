"""An item with a minimum or an increment that reaches over the end of a billing period: what it is
billed no more leaves the period in which it was billed, so no counter goes below nothing
(rules 5.5, 6.6)."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from world import LONG_AGO, World, nanos

from billing_core import (
    Flat,
    Graduated,
    MoneyOverflow,
    Plan,
    Price,
    PriceBook,
    Quota,
    Refused,
    Tier,
    Usage,
    sandbox,
)
from billing_core.values.money import MAX_NANOS

pytestmark = pytest.mark.every_store

SECOND = timedelta(seconds=1)
END = datetime(2026, 4, 10, 12, tzinfo=UTC)  # of the account's first billing period
FREE = Graduated((Tier(60, 0), Tier(None, 1000)))
TOOL, BOX = "tool:search", "sandbox:box"


def tools(function=FREE, *, minimum: int = 60, **price) -> World:
    world = World(priced=False)
    world.publish({TOOL: {"call": Price(function, unit="call", minimum=minimum, **price)}})
    world.grant(10**9)
    world.clock.set(END - SECOND)
    return world


def call(world: World, calls: int, item: str | None = None):
    return world.settle(Usage.of(TOOL, {"call": calls}, item=item))


def parts(world: World, *calls: int):
    """Of one item: the first a second before the period's end, the others after it."""
    made = [call(world, calls[0], "i")]
    world.clock.advance(11 * SECOND)
    return made + [call(world, each, "i") for each in calls[1:]]


def undo(world: World, charge):
    return world.reverse(charge, undo_usage=True)


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_the_minimum_of_a_failed_call_leaves_the_period_that_was_billed_it(order) -> None:
    world = tools()
    made = parts(world, 1, 10)
    assert world.counter(TOOL, "call") == [60, 0]
    for n in order:
        undo(world, made[n])
    assert world.counter(TOOL, "call") == [0, 0]
    assert call(world, 100).amount == 40_000
    assert world.wrong() == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_all_of_a_call_over_a_periods_end_costs_nothing_once_it_is_undone(order) -> None:
    world = tools(Flat(1000), minimum=7, increment=7)
    made = parts(world, 4, 20, 4)
    assert [each.amount for each in made] == [7000, 21_000, 0]
    assert world.counter(TOOL, "call") == [7, 21]
    backs = [undo(world, made[n]).amount for n in order]
    assert sum(backs) == 28_000
    assert world.counter(TOOL, "call") == [0, 0]
    assert (world.balance().balance, world.balance().used) == (10**9, 0)
    assert world.billing.usage("acme", "all_time").total == 0
    assert world.wrong() == []


def test_what_is_billed_no_more_comes_back_of_the_period_that_charged_it() -> None:
    """The part of the later period was charged nothing: the minimum of the first was."""
    world = tools(Flat(1000))
    first, later = parts(world, 1, 10)
    other = call(world, 5)  # of the later period, of no item
    undone = undo(world, first)
    assert undone.amount == 0
    undone = world.reverse(later, undo_usage=True, key="undo")
    assert (undone.amount, undone.refilled) == (60_000, 60_000)
    assert world.reverse(later, undo_usage=True, key="undo") == undone
    assert world.counter(TOOL, "call") == [0, 60]
    assert other.amount == 60_000
    world.clock.advance(SECOND)
    assert world.billing.usage("acme", "current").total == 60_000
    assert world.wrong() == []


def test_of_what_another_period_charged_only_what_was_not_given_back_yet_comes_back() -> None:
    world = tools(Flat(1000))
    first, later = parts(world, 1, 10)
    world.reverse(first, 50_000)
    assert undo(world, first).amount == 0
    assert undo(world, later).amount == 10_000
    assert (world.balance().balance, world.balance().used) == (10**9, 0)
    assert world.wrong() == []


def test_what_another_period_charged_comes_back_only_where_credit_stays_within_64_bits() -> None:
    world = tools(Flat(1000))
    first, later = parts(world, 1, 10)
    assert undo(world, first).amount == 0
    world.grant(MAX_NANOS - world.balance().balance - 60_000 + 1)
    before = world.state()
    with pytest.raises(MoneyOverflow):
        undo(world, later)
    assert world.state() == before
    world.deduct(nanos(1), resource="x")
    assert undo(world, later).amount == 60_000
    assert world.balance().balance == MAX_NANOS
    assert world.wrong() == []


def test_a_part_leaves_its_own_period_first() -> None:
    """What was used in the other is left there."""
    world = tools(Flat(1000), minimum=5)
    first, _ = parts(world, 100, 50)
    undo(world, first)
    assert world.counter(TOOL, "call") == [0, 50]
    assert world.wrong() == []


def test_a_quota_has_no_more_left_than_nothing_was_used() -> None:
    world = tools(Flat(1000))
    quota = Quota(TOOL, "call", 70)
    world.billing.publish(Plan("p1", "pro", LONG_AGO, quotas=[quota]))
    world.billing.set_plan("acme", "plan", "pro")
    first, later = parts(world, 1, 10)
    undo(world, first)
    undo(world, later)
    with pytest.raises(Refused) as error:
        world.deduct(Usage.of(TOOL, {"call": 71}))
    assert error.value.refusal.limit == "quota"
    world.deduct(Usage.of(TOOL, {"call": 70}))
    assert world.wrong() == []


def test_a_minimum_by_a_former_price_goes_back_by_it() -> None:
    world = World(priced=False)
    for version, since, nanos_each, minimum in [("v1", LONG_AGO, 1000, 60), ("v2", END, 3000, 10)]:
        price = Price(Flat(nanos_each), unit="call", minimum=minimum)
        world.billing.publish(PriceBook(version, since, {TOOL: {"call": price}}))
    world.grant(10**9)
    world.clock.set(END - SECOND)
    first, later = parts(world, 1, 70)
    assert [first.amount, later.amount] == [60_000, 11 * 3000]
    assert undo(world, first).amount == 1000
    assert undo(world, later).amount == 11 * 3000 + 59_000
    assert world.counter(TOOL, "call") == [0, 0]
    assert world.balance().balance == 10**9
    assert world.wrong() == []


def test_what_was_priced_later_goes_back_where_it_was_billed() -> None:
    world = World(priced=False)
    world.grant(10**9)
    world.clock.set(END - SECOND)
    made = parts(world, 1, 10)
    price = Price(Flat(1000), unit="call", minimum=60)
    world.billing.publish(PriceBook("v1", LONG_AGO, {TOOL: {"call": price}}))
    for each in made:
        world.billing.price_unpriced("acme", world.key(), charge=each.seq, version="v1")
    assert world.counter(TOOL, "call") == [60, 0]
    assert [undo(world, each).amount for each in made] == [0, 60_000]
    assert world.counter(TOOL, "call") == [0, 0]
    assert world.balance().balance == 10**9
    assert world.wrong() == []


def boxes(function=FREE) -> World:
    world = World(priced=False)
    world.publish({BOX: {"second": Price(function, unit="second", minimum=60)}})
    world.grant(10**9)
    world.clock.set(END - SECOND)
    world.billing.start_run("acme", "r", sandbox("box", {"second": 1}))
    return world


def suspend(world: World, since: timedelta, until: timedelta) -> None:
    world.billing.suspend_run(
        "acme", "r", key=world.key(), occurred_at=END + since, until=END + until
    )


@pytest.mark.parametrize("first", [0, 1, None])
def test_the_minimum_of_a_run_that_was_suspended_leaves_the_period_that_was_billed_it(
    first,
) -> None:
    """Told late that it never ran: at once, or of each period's time apart."""
    world = boxes()
    world.clock.advance(11 * SECOND)
    world.billing.heartbeat("acme", "r")
    spans = [(-SECOND, 0 * SECOND), (0 * SECOND, 10 * SECOND)]
    if first is None:
        suspend(world, -SECOND, 10 * SECOND)
    else:
        suspend(world, *spans[first])
        suspend(world, *spans[1 - first])
    assert world.counter(BOX, "second") == [0, 0]
    world.billing.stop_run("acme", "r")
    world.billing.start_run("acme", "r2", sandbox("box", {"second": 1}))
    world.clock.advance(100 * SECOND)
    world.billing.stop_run("acme", "r2")
    assert world.billing.run("acme", "r2").settled == 40_000
    assert world.wrong() == []


@pytest.mark.parametrize("limited", [False, True])
def test_what_a_run_was_charged_in_the_period_before_comes_back_of_that(limited) -> None:
    world = boxes(Flat(1000))
    if limited:
        world.billing.set_limit("acme", "limit", nanos(10**8), per="period")
        world.billing.set_limit("acme", "daily", nanos(10**8), per="day")
    world.clock.advance(11 * SECOND)
    world.billing.heartbeat("acme", "r")
    assert world.billing.run("acme", "r").settled == 60_000
    suspend(world, -SECOND, 0 * SECOND)
    assert world.billing.run("acme", "r").settled == 60_000  # ten seconds count as sixty
    suspend(world, 0 * SECOND, 10 * SECOND)
    assert world.billing.run("acme", "r").settled == 0
    world.billing.stop_run("acme", "r")
    assert world.billing.usage("acme", "all_time").total == 0
    assert world.balance().balance == 10**9
    assert world.wrong() == []


def test_what_a_run_was_charged_in_the_period_before_comes_back_within_64_bits() -> None:
    world = boxes(Flat(1000))
    world.clock.advance(11 * SECOND)
    world.billing.stop_run("acme", "r")
    suspend(world, -SECOND, 0 * SECOND)
    world.grant(MAX_NANOS - world.balance().balance - 60_000 + 1)
    before = world.state()
    with pytest.raises(MoneyOverflow):
        suspend(world, 0 * SECOND, 10 * SECOND)
    assert world.state() == before
    world.deduct(nanos(1), resource="x")
    suspend(world, 0 * SECOND, 10 * SECOND)
    assert world.billing.run("acme", "r").settled == 0
    assert world.balance().balance == MAX_NANOS
    assert world.wrong() == []


def test_a_run_that_is_forgiven_gives_back_once_what_it_was_charged_in_another_period() -> None:
    world = boxes(Flat(1000))
    world.clock.advance(11 * SECOND)
    world.billing.stop_run("acme", "r")
    world.billing.forgive_run("acme", "f", "r", reason="ours")
    suspend(world, -SECOND, 0 * SECOND)
    suspend(world, 0 * SECOND, 10 * SECOND)
    assert world.balance().balance == 10**9
    assert world.counter(BOX, "second") == [0, 0]
    world.billing.undo_forgiveness("acme", "u", "r")
    assert world.billing.run("acme", "r").settled == 0
    assert world.wrong() == []


def test_verify_tells_of_an_item_that_says_it_was_billed_in_another_period(monkeypatch) -> None:
    world = tools()
    parts(world, 1, 70)
    assert world.wrong() == []
    (item,) = world.store.items("acme")
    state = item.components["call"]
    assert (state[:2], state[4::2]) == ([71, 71], [60, 11])
    state[4], state[6] = 59, 12
    with monkeypatch.context() as altered:
        altered.setattr(type(world.store), "items", lambda store, org: iter([item]))
        (found,) = world.wrong()
    assert found.startswith("acme: item i/tool:search: components")
