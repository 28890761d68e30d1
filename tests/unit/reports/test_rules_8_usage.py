"""Section 8: usage and time."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, LONG_AGO, MINUTE, SECOND, T0, TICK, World, units

from billing_core import AsyncBilling, InvalidCommand, NotFound, Refused, Usage, UsageReport
from billing_core.records.rollups import cover
from billing_core.values.times import Window, billing_period, micros

# -- 8.1 ------------------------------------------------------------------------


def test_8_1_time_is_utc_passed_in_and_whole_microseconds() -> None:
    world = World()
    elsewhere = T0.astimezone(timezone(timedelta(hours=-7)))
    charge = world.settle(1, occurred_at=elsewhere - TICK, at=elsewhere)
    assert charge.at == T0
    explained = world.billing.explain("acme", charge.seq)
    assert (explained.at, explained.occurred_at) == (T0, T0 - TICK)
    assert explained.at.utcoffset() == timedelta(0)
    entry = world.entries()[-1]
    assert {type(time) for time in (entry.at, entry.recorded_at, entry.usage.occurred_at)} == {int}


def test_8_1_naive_datetimes_are_refused() -> None:
    world = World()
    before = world.state()
    naive = datetime(2026, 3, 1)
    for options in ({"at": naive}, {"occurred_at": naive}):
        with pytest.raises(InvalidCommand, match="time zone"):
            world.settle(1, **options)
    with pytest.raises(InvalidCommand, match="time zone"):
        world.billing.quote("acme", units(1), at=naive)
    assert world.state() == before


def test_8_1_usage_is_a_point_and_windows_are_half_open() -> None:
    world = World(now=T0)
    for quantity, occurred in (
        (1, T0 - 7 * DAY - TICK),
        (10, T0 - 7 * DAY),
        (100, T0 - TICK),
        (1000, T0),
    ):
        world.settle(quantity, occurred_at=occurred)
    assert world.billing.usage("acme", "7d").total == 110
    world.clock.advance(TICK)
    assert world.billing.usage("acme", "7d").total == 1100


def test_8_1_a_billing_period_is_half_open() -> None:
    anchor = T0
    world = World(now=T0 + DAY, opened=False)
    world.billing.open_account("acme", anchor=anchor)
    for quantity, occurred in ((1, anchor - TICK), (10, anchor), (100, anchor + TICK)):
        world.settle(quantity, occurred_at=occurred)
    report = world.billing.usage("acme", "current")
    assert report.total == 110
    assert (report.start, report.end) == (anchor, anchor.replace(month=4))
    assert world.counter() == [1, 110]


# -- 8.2 ------------------------------------------------------------------------


def test_8_2_the_anchor_is_on_the_account_from_the_start() -> None:
    world = World(opened=False)
    opened = datetime(2026, 1, 31, 9, tzinfo=T0.tzinfo)
    world.billing.open_account("acme", at=opened)
    current = world.billing.usage("acme", "current")
    assert current.start == datetime(2026, 2, 28, 9, tzinfo=T0.tzinfo)
    assert current.end == datetime(2026, 3, 31, 9, tzinfo=T0.tzinfo)


def test_8_2_an_anchor_may_lie_before_or_after_the_opening() -> None:
    for anchor in (LONG_AGO.replace(day=20), T0 + 400 * DAY):
        world = World(opened=False)
        world.billing.open_account("acme", anchor=anchor)
        current = world.billing.usage("acme", "current")
        assert current.start <= T0 < current.end
        assert current.start.day == min(anchor.day, 28) or current.start.day >= 28


def test_8_2_7d_and_30d_end_now_and_are_exact() -> None:
    world = World()
    for days in (6, 8, 29, 31):
        world.settle(10 ** min(days, 9), occurred_at=T0 - days * DAY)
    assert world.billing.usage("acme", "7d").total == 10**6
    assert world.billing.usage("acme", "30d").total == 10**6 + 10**8 + 10**9


def test_8_2_an_unknown_period_or_org_is_refused() -> None:
    world = World()
    with pytest.raises(InvalidCommand, match="period"):
        world.billing.usage("acme", "14d")
    with pytest.raises(NotFound, match="org"):
        world.billing.usage("nobody")


def test_8_1_what_is_asked_of_nobody_is_not_found() -> None:
    world = World()
    later = AsyncBilling(world.store)
    for ask in (
        lambda: world.billing.events("nobody"),
        lambda: world.billing.events("nobody", after=5),
        lambda: world.billing.storage("nobody"),
        lambda: asyncio.run(later.events("nobody")),
        lambda: asyncio.run(later.storage("nobody")),
    ):
        with pytest.raises(NotFound, match="'nobody'"):
            ask()
    assert world.billing.events("acme") == world.billing.storage("acme") == []


def test_8_2_usage_reads_by_resource_and_by_member() -> None:
    world = World()
    world.settle(units(1, "x"), member="ann")
    world.settle(units(2, "y"), member="ann")
    world.settle(units(4, "x"), member="bob")
    world.settle(units(8, "x"))
    report = world.billing.usage("acme")
    assert [(row.resource, row.requests, row.amount) for row in report.rows] == [
        ("x", 3, 13),
        ("y", 1, 2),
    ]
    assert {name: sum(row.amount for row in rows) for name, rows in report.members.items()} == {
        None: 8,
        "ann": 3,
        "bob": 4,
    }
    assert world.billing.usage("acme", member="ann").total == 3
    assert world.billing.usage("acme", member="nobody").total == 0


def test_8_2_who_reads_their_own_usage_does_not_have_all_members_read(monkeypatch) -> None:
    world = World()
    for member in ("ann", "bob"):
        world.settle(1, member=member)
    everyone = world.billing.usage("acme")
    monkeypatch.setattr(world.store, "members", lambda *_: pytest.fail("all members are read"))
    own = world.billing.usage("acme", member="ann")
    assert own.members == {"ann": everyone.members["ann"]}
    assert world.billing.usage("acme", member="nobody").members == {}


def test_8_2_a_reversal_counts_in_the_charge_s_window() -> None:
    world = World()
    charge = world.settle(10, occurred_at=T0 - 20 * DAY, member="ann")
    world.clock.advance(5 * DAY)
    world.reverse(charge, 4)
    assert world.billing.usage("acme", "7d").total == 0
    thirty = world.billing.usage("acme", "30d", member="ann")
    assert thirty.total == 6
    assert thirty.rows[0].requests == 1
    assert thirty.rows[0].components["unit"] == (10, 10)


def test_8_2_all_time_says_since_when_and_holds_nothing_else() -> None:
    """What a window reports is what occurred in it, late usage too."""
    world = World()
    world.settle(5, occurred_at=T0 - 50 * DAY)
    world.settle(7)
    world.clock.advance(DAY)
    report = world.billing.usage("acme", "all_time")
    assert report.total == brute(world, report)[0]
    assert report.end == world.clock.now


SPREAD = st.sampled_from(
    [timedelta(0), TICK, SECOND, HOUR - TICK, HOUR, DAY - TICK, DAY, 7 * DAY, 30 * DAY, 31 * DAY]
)
TIMES = st.builds(
    lambda first, second, minutes: first + second + minutes * MINUTE,
    SPREAD,
    SPREAD,
    st.integers(0, 50_000),
)
RECORDS = st.tuples(
    TIMES, st.integers(0, 9), st.sampled_from("xy"), st.sampled_from([None, "ann", "bob"])
)


def brute(
    world: World, report: UsageReport, member: str | None = None
) -> tuple[int, Mapping[tuple[str, str], int]]:
    """Total, and quantities by resource and component, over the raw records."""
    names = world.store.members("acme")
    start, end = micros("start", report.start), micros("end", report.end)
    total, quantities = 0, Counter()
    for entry in world.entries():
        used = entry.usage
        if used is None or not start <= used.occurred_at < end:
            continue
        if member is not None and names.get(used.member) != member:
            continue
        for line in used.lines:
            total += line.amount
            quantities[used.resource, line.component] += line.quantity
    return total, {key: quantity for key, quantity in quantities.items() if quantity}


@given(
    st.lists(RECORDS, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 9)), max_size=3),
    SPREAD,
    st.sampled_from(["current", "7d", "30d"]),
    st.sampled_from([None, "ann", "bob"]),
)
def test_8_2_a_rollup_s_answer_equals_the_brute_force_answer(
    records: list, reversals: list, later: timedelta, period: str, member: str | None
) -> None:
    world = World(now=T0, opened=False)
    world.billing.open_account("acme", at=LONG_AGO, anchor=T0 - 10 * DAY - 3 * HOUR)
    charges = [
        world.settle(units(quantity, resource), occurred_at=T0 - ago, member=who)
        for ago, quantity, resource, who in records
    ]
    for index, amount in reversals:
        if index < len(charges):
            with suppress(Refused):
                world.reverse(charges[index], amount)
    world.clock.advance(later)
    report = world.billing.usage("acme", period, member=member)
    total, quantities = brute(world, report, member)
    assert report.total == total
    assert {
        (row.resource, component): quantity
        for row in report.rows
        for component, (quantity, _) in row.components.items()
        if quantity
    } == quantities
    by_member = [row.amount for rows in report.members.values() for row in rows]
    assert sum(by_member) == total
    assert world.wrong() == []


@given(st.integers(10**15, 10**15 + 10**13), st.integers(0, 40 * 86_400 * 10**6))
def test_8_2_a_window_is_covered_exactly_and_by_few_spans(start: int, length: int) -> None:
    spans = cover(Window(start, start + length))
    assert len(spans) <= 5
    at = start
    for span in spans:
        assert span.start == at < span.end
        at = span.end
        width = {None: 1, "hour": 3_600_000_000, "day": 86_400_000_000}[span.grain]
        assert span.start % width == span.end % width == 0
        if span.grain is None:
            assert span.end - span.start < 2 * 3_600_000_000
        if span.grain == "hour":
            assert span.end - span.start < 2 * 86_400_000_000
    assert at == start + length or length == 0


def test_8_2_periods_are_those_of_the_org_s_anchor() -> None:
    world = World(opened=False)
    anchor = datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=T0.tzinfo)
    world.billing.open_account("acme", anchor=anchor, at=LONG_AGO)
    world.settle(1, occurred_at=datetime(2026, 2, 28, 23, 59, 59, 999_998, tzinfo=T0.tzinfo))
    world.settle(1, occurred_at=datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=T0.tzinfo))
    starts = sorted(counter.start for counter in world.store.counters("acme"))
    at = micros("anchor", anchor)
    assert starts == [
        billing_period(at, micros("t", T0 - 20 * DAY)).start,
        billing_period(at, micros("t", T0)).start,
    ]


# -- 8.5 ------------------------------------------------------------------------


def test_8_5_each_component_of_one_run_can_have_its_own_payer() -> None:
    world = World(priced=False)
    price = World().billing.catalogue().price("USD", "x", "unit", world.clock()).price
    world.publish({"run": {"model": price, "machine": price}})
    usage = Usage.of("run", {"model": 100, "machine": 7}, payer={"model": "customer"})
    assert world.billing.quote("acme", usage).amount == 7
    charge = world.settle(usage)
    assert charge.amount == 7
    assert [(line.component, line.payer, line.amount) for line in charge.lines] == [
        ("machine", "platform", 7),
        ("model", "customer", 0),
    ]


def test_8_5_what_the_customer_pays_is_recorded_and_not_charged() -> None:
    world = World()
    charge = world.settle(units(100, payer="customer"), member="ann")
    assert (charge.amount, charge.unpriced) == (0, ())
    [row] = world.billing.usage("acme").rows
    assert (row.payer, row.requests, row.amount) == ("customer", 1, 0)
    assert row.components == {"unit": (100, 0)}
    assert world.billing.events("acme") == []
    assert world.wrong() == []


def test_8_5_the_customer_s_own_key_needs_no_price_and_no_credit() -> None:
    world = World()
    usage = units(100, "a model we do not sell", payer="customer")
    assert world.billing.check("acme", usage).allowed
    hold = world.hold(usage)
    assert hold.amount == 0
    assert world.settle(usage, hold=hold.key).unpriced == ()
    assert world.deduct(usage).amount == 0
    assert world.wrong() == []


@pytest.mark.every_store
@pytest.mark.parametrize("anchor", [None, T0 - 45 * DAY - HOUR, T0 + 3 * DAY])
def test_8_2_all_time_has_what_was_used_before_the_opening(anchor) -> None:
    """All that was ever recorded: never less than the last thirty days."""
    world = World(opened=False)
    world.billing.open_account("acme", anchor=anchor)
    for number, days in enumerate((0, 1, 20, 70, 300)):
        world.settle(units(10**number), occurred_at=T0 - days * DAY, member="ann")
    world.clock.advance(MINUTE)
    month, whole = (world.billing.usage("acme", period) for period in ("30d", "all_time"))
    assert (month.total, whole.total) == (111, 11111)
    assert whole.start <= T0 - 300 * DAY
    assert whole.of_member("ann").total == 11111
    assert world.billing.usage("acme", "all_time", member="ann").total == 11111
    days = world.billing.usage_by_day("acme", "all_time")
    assert [day.total for day in days if day.total] == [10000, 1000, 100, 10, 1]
    assert world.wrong() == []


@pytest.mark.every_store
def test_8_2_history_may_be_asked_of_a_member_a_resource_or_both() -> None:
    world = World()
    world.grant(100)
    for number, (resource, member) in enumerate([("x", "ann"), ("y", "ann"), ("x", "bob")], 1):
        world.settle(units(number, resource), member=member)

    def amounts(**of: str) -> list[int]:
        return [row.amount for row in world.billing.history("acme", types=["usage"], **of)]

    assert amounts() == [-3, -2, -1]
    assert amounts(member="ann") == [-2, -1]
    assert amounts(resource="x") == [-3, -1]
    assert amounts(resource="x", member="ann") == [-1]
    assert world.billing.history("acme", member="ann")[0].resource == "y"
