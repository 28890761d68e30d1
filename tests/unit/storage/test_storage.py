"""Storage: a step function of bytes over time, billed without gap or overlap."""

from datetime import timedelta
from fractions import Fraction
from math import floor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from world import HOUR, LONG_AGO, MINUTE, SECOND, T0, World

from billing_core import Flat, Graduated, NotFound, Plan, Price, Quota, Tier

pytestmark = pytest.mark.every_store

RATE = Fraction(7, 10**9)  # nanos for a byte-microsecond


def shelves(**price) -> World:
    world = World(priced=False)
    cost = Price(Flat(7, 10**9), unit="byte-microsecond", **price)
    world.publish({"storage:*": {"byte_us": cost}})
    world.grant(10**15)
    return world


def report(world: World, size: int, at=None, workspace: str = "ws", **options):
    return world.billing.report_storage("acme", workspace, size, occurred_at=at, **options)


def bill(world: World, **options):
    return world.billing.bill_storage("acme", **options)


def spent(world: World) -> int:
    return world.balance().used


def test_bytes_are_billed_for_the_time_that_they_are_there() -> None:
    world = shelves()
    report(world, 10**6)
    world.clock.advance(HOUR)
    report(world, 10**7)
    world.clock.advance(HOUR)
    [stands] = bill(world)
    assert stands.billed_to == world.clock.now
    assert stands.charged == floor(RATE * 11 * 10**6 * 3600 * 10**6)
    assert world.wrong() == []


def test_however_often_and_by_however_many_it_is_billed_it_costs_the_same() -> None:
    often, once = shelves(), shelves()
    for world in (often, once):
        report(world, 12345)
    for minute in range(60):
        often.clock.advance(MINUTE)
        bill(often)
        bill(often, workspace="ws", until=often.clock.now - minute * SECOND)
        bill(often)
    once.clock.advance(HOUR)
    bill(once)
    assert spent(often) == spent(once) > 0
    assert often.wrong() == once.wrong() == []


def test_a_size_that_comes_late_corrects_what_was_billed() -> None:
    world = shelves()
    report(world, 10**6, T0)
    world.clock.advance(2 * HOUR)
    bill(world)
    less = report(world, 0, T0 + HOUR)
    assert less.charged == -floor(RATE * 10**6 * 3600 * 10**6)
    assert less.size == 0
    more = report(world, 10**7, T0 + HOUR / 2)
    assert more.charged == floor(RATE * 9 * 10**6 * 1800 * 10**6)
    assert world.wrong() == []


def test_a_size_before_the_first_one_is_billed_too() -> None:
    world = shelves()
    report(world, 5, T0)
    assert report(world, 10**9, T0 - HOUR).charged == floor(RATE * 10**9 * 3600 * 10**6)
    assert world.wrong() == []


def test_nothing_is_billed_of_what_was_never_reported() -> None:
    with pytest.raises(NotFound):
        bill(shelves(), workspace="ws")
    assert bill(shelves()) == []


def test_a_quota_says_what_is_left_before_a_write() -> None:
    world = shelves()
    quotas = [Quota("storage", "bytes", 100), Quota("storage:a", "bytes", 70)]
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, quotas=quotas))
    world.billing.set_plan("acme", "subscribe", "pro")
    report(world, 50, workspace="a")
    report(world, 40, workspace="b")
    room = world.billing.check_storage_quota("acme", "a", 60)
    assert (room.allowed, room.left) == (True, 10)
    assert not world.billing.check_storage_quota("acme", "a", 61).allowed
    assert world.billing.check_storage_quota("acme", "a", 10).allowed, "less is always allowed"
    assert [each.size for each in world.billing.storage("acme")] == [50, 40]


def test_summaries_have_a_row_for_each_workspace() -> None:
    world = shelves()
    for name in "ab":
        report(world, 10**6, workspace=name)
    world.clock.advance(HOUR)
    bill(world)
    summary = world.billing.usage("acme").summary
    assert [each.workspace for each in summary.storage] == ["a", "b"]
    assert [each.byte_seconds for each in summary.storage] == [3600 * 10**6] * 2
    assert summary.resources == ()
    assert sum(each.amount for each in summary.storage) == summary.total == spent(world)


tiers = Graduated((Tier(10**14, 11, 10**9), Tier(None, 5, 10**9)))
told = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["size", "size", "bill"]),
        st.integers(0, 600), st.integers(0, 10**6),
    ),
    min_size=1, max_size=14,
)  # fmt: skip


@given(told=told, price=st.sampled_from([Flat(7, 10**9), tiers]), months=st.booleans())
@example(
    told=[("a", "size", 5, 10**6), ("a", "bill", 300, 0), ("a", "size", 5, 7)],
    price=Flat(7, 10**9),
    months=False,
)
def test_byte_microseconds_are_the_integral_by_brute_force(told, price, months) -> None:
    """Sizes and bills of three workspaces in any order; over a month's end too."""
    world = World(priced=False)
    world.publish({"storage:*": {"byte_us": Price(price, unit="byte-microsecond")}})
    world.grant(10**15)
    if months:
        world.clock.advance(timedelta(days=31, seconds=-300))  # the anchor is T0
    began = world.clock.now
    world.clock.advance(600 * SECOND)
    sizes: dict[str, dict[int, int]] = {}
    for number, (name, what, second, size) in enumerate(told):
        at = began + second * SECOND
        if what == "size":
            report(world, size, at, name, key=f"k{number}")
            sizes.setdefault(name, {})[second] = size
        elif name in sizes:
            bill(world, workspace=name, until=at)
    bill(world)
    total = 0
    for steps in sizes.values():
        for first, last in ((0, 300), (300, 600)) if months else ((0, 600),):
            area, now = 0, 0
            for second in range(last):
                now = steps.get(second, now)
                area += now * 10**6 if second >= first else 0
            cost, per = price.between(0, area)
            total += floor(Fraction(cost, per))
    assert spent(world) == total
    assert world.wrong() == []
