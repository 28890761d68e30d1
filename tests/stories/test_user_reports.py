"""What users of other billing systems report, one test for each."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, TICK, World, nanos, units

from billing_adapters.sqlite import SqliteStore
from billing_core import (
    Charged,
    Flat,
    Held,
    InvalidCommand,
    Limit,
    Plan,
    Price,
    Refusal,
    Refused,
    Settle,
    tokens,
)

THREADS = 8


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """What each of them answers or raises, all started together in threads of their own."""
    barrier = threading.Barrier(len(acts))
    answers: list[Any] = [None] * len(acts)

    def run(index: int, act: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            answers[index] = act()
        except Refused as error:
            answers[index] = error.refusal

    threads = [threading.Thread(target=run, args=each) for each in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Two services, each with a connection and a catalogue of its own, on one SQLite file."""
    with ExitStack() as stack:
        stores = [stack.enter_context(SqliteStore(tmp_path / "db")) for _ in range(2)]
        yield World(stores[0]), World(stores[1], priced=False, opened=False)


# -- credit ---------------------------------------------------------------------


@pytest.mark.parametrize("act", ["deduct", "hold", "check", "settle"])
def test_expired_credit_is_never_spendable_sweep_or_no_sweep(act: str) -> None:
    """Elsewhere a nightly job expires credit, and until it has run the credit is spent."""
    world = World()
    world.grant(100, kind="promotional", expires_at=T0 + HOUR)
    world.clock.set(T0 + HOUR)
    assert len(world.entries()) == 2, "nothing has swept"
    assert world.balance().balance == world.available() == 0
    if act == "check":
        assert not world.billing.check("acme", nanos(1)).allowed
    elif act == "settle":
        assert world.settle(1).unpaid == 1
    else:
        with pytest.raises(Refused):
            getattr(world, act)(1)
    assert world.wrong() == []


@pytest.mark.parametrize("paid_until", [None, T0 + HOUR, T0 + DAY])
def test_expiry_takes_free_credit_and_never_paid_credit_for_it(paid_until: datetime | None) -> None:
    """Elsewhere usage was booked on paid credit first, so that what was free expired with it
    unused, or the expired amount was taken from what had been paid for."""
    world = World()
    paid = world.grant(100, expires_at=paid_until)
    free = world.grant(50, kind="promotional", expires_at=T0 + HOUR)
    assert world.paid_by(world.settle(30)) == [(free, 30)]
    assert world.left() == {paid: 100, free: 20}
    world.clock.set(T0 + HOUR)
    expired = 0 if paid_until != T0 + HOUR else 100
    assert world.left() == ({paid: 100} if not expired else {})
    world.settle(0 + 1)
    rows = [row.amount for row in world.billing.history("acme") if row.type == "expiry"]
    assert sorted(rows) == sorted([-20] + [-expired] * bool(expired))
    assert world.wrong() == []


# -- recurrence -----------------------------------------------------------------


@pytest.mark.parametrize("beside", [-TICK, timedelta(0), TICK], ids=["before", "at", "after"])
def test_recurrence_is_neither_doubled_nor_missed_at_a_boundary(beside: timedelta) -> None:
    """Elsewhere months of 31 days were skipped, and jobs at midnight ran twice or not at all."""
    world = World(opened=False)
    world.billing.open_account("acme", anchor=datetime(2026, 1, 31, tzinfo=UTC))
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, allowance=nanos(100)))
    world.billing.set_plan("acme", "subscribe", "pro")
    ends = [(3, 31), (4, 30), (5, 31), (6, 30), (7, 31), (8, 31), (9, 30), (10, 31), (11, 30)]
    for begun, (month, day) in enumerate(ends, 1):
        world.clock.set(datetime(2026, month, day, tzinfo=UTC) + beside)
        expected = begun + 1 if beside >= timedelta(0) else begun
        assert world.balance().granted == expected * 100
        world.settle(1)
        world.settle(1)
        assert world.balance().granted == expected * 100
    assert world.wrong() == []


def test_recurrence_is_once_however_many_come_first_at_once(two: tuple[World, World]) -> None:
    """Elsewhere two workers that noticed the new period each granted its credit."""
    here, there = two
    here.billing.publish(Plan("pro-1", "pro", LONG_AGO, allowance=nanos(100)))
    here.billing.set_plan("acme", "subscribe", "pro")
    for world in two:
        world.clock.set(datetime(2026, 4, 10, 12, tzinfo=UTC) + timedelta(minutes=5))
    acts = [
        (lambda n=n: two[n % 2].billing.deduct("acme", f"d{n}", units(10))) for n in range(THREADS)
    ]
    assert all(isinstance(each, Charged) for each in at_once(acts))
    begun = [entry.key for entry in there.entries() if entry.key.startswith("lapse:period")]
    assert len(begun) == 1
    assert here.balance().balance == there.balance().balance == 100 - 10 * THREADS
    assert here.wrong() == []


@pytest.mark.parametrize("rollover", [None, nanos(30)])
def test_a_refill_never_reduces_what_was_there(rollover) -> None:
    """Elsewhere a refill sets the balance to the allowance, whatever had been bought."""
    world = World()
    options = {"allowance": nanos(100), "rollover": rollover}
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, **options))
    world.billing.set_plan("acme", "subscribe", "pro")
    bought = world.grant(500)
    given = world.grant(70, kind="promotional")
    world.settle(60)
    world.clock.set(datetime(2026, 4, 10, 12, tzinfo=UTC) + timedelta(minutes=5))
    left = world.left()
    assert (left[bought], left[given]) == (500, 70)
    assert world.balance().balance == 500 + 70 + 100 + (30 if rollover else 0)
    refill = [entry for entry in world.entries() if entry.key.startswith("lapse:period")]
    assert refill == [], "not yet written, and counted all the same"
    world.settle(1)
    assert all(row.amount >= 0 for row in world.billing.history("acme") if row.type == "allowance")


# -- prices ---------------------------------------------------------------------


def test_history_keeps_the_prices_that_it_was_charged_at() -> None:
    """Elsewhere reports multiply old quantities by today's prices."""
    world = World()
    world.grant(1000)
    charge = world.settle(10)
    later = T0 + DAY
    world.publish({"x": {"unit": Price(Flat(7), "unit")}}, version="v2", effective_at=later)
    before = world.billing.history("acme"), world.billing.explain("acme", charge.seq)
    usage = world.billing.usage("acme").rows
    world.clock.set(later)
    assert (world.billing.history("acme"), world.billing.explain("acme", charge.seq)) == before
    assert world.billing.usage("acme").rows == usage
    assert world.billing.usage("acme", "all_time").total == 10
    assert world.settle(10, occurred_at=T0).amount == 10, "nor is late usage repriced"
    assert world.settle(10).amount == 70
    assert world.wrong() == []


@pytest.mark.parametrize(("input", "included"), [(1000, True), (200, False)])
def test_cached_tokens_are_billed_once(input: int, included: bool) -> None:
    """Elsewhere they count in the input as well, at ten times the price."""
    world = World(priced=False)
    rates = {"input": 10, "cached_read": 1, "cache_write": 12, "output": 40, "reasoning": 40}
    world.publish({"model:m": {part: Price(Flat(rate)) for part, rate in rates.items()}})
    call = tokens(
        "m", input=input, cached_read=700, cache_write=100, input_includes_cached=included,
        output=90, reasoning=50, output_includes_reasoning=True,
    )  # fmt: skip
    charge = world.settle(call)
    assert charge.amount == 200 * 10 + 700 * 1 + 100 * 12 + 40 * 40 + 50 * 40
    assert sum(line.quantity for line in charge.lines) == 1000 + 90
    with pytest.raises(InvalidCommand, match="input_includes_cached"):
        tokens("m", input=1000, cached_read=700)


@pytest.mark.parametrize(("per_call", "calls"), [("0.0000000004", 5_000), ("0.0000753", 2_000)])
def test_a_volume_of_tiny_charges_costs_what_it_costs(per_call: str, calls: int) -> None:
    """Elsewhere each is rounded: to nothing, or up to a cent."""
    world = World(priced=False)
    world.publish({"x": {"unit": Price(Flat.of(per_call), "unit")}})
    world.grant(10**9)
    commands = (Settle("acme", f"c{n}", usage=units(1)) for n in range(calls))
    amounts = [outcome.amount for outcome in world.billing.execute_many(commands)]
    exact = Fraction(per_call) * 10**9 * calls
    assert exact.denominator == 1, "so that nothing at all may be lost"
    assert sum(amounts) == exact == 10**9 - world.balance().balance
    assert len(set(amounts)) == (2 if Fraction(per_call) * 10**9 % 1 else 1)


# -- limits ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["plan", "every member", "hold"])
def test_the_first_requests_of_a_new_member_pass_no_limit_at_once(
    two: tuple[World, World], how: str
) -> None:
    """Elsewhere a limit is looked up before its counter exists: the first requests of a new
    member, sent together, all found nothing spent."""
    here, _ = two
    limits = [Limit("member", nanos(50))] if how == "plan" else []
    here.billing.publish(Plan("pro-1", "pro", LONG_AGO, allowance=nanos(10**6), limits=limits))
    here.billing.set_plan("acme", "subscribe", "pro")
    if how != "plan":
        here.billing.set_limit("acme", "each", nanos(50), every="member")

    def act(n: int) -> Any:
        billing = two[n % 2].billing
        if how == "hold":
            cost = nanos(20)
            return billing.hold("acme", cost, expires_in=HOUR, key=f"h{n}", member="new").held
        return billing.deduct("acme", f"d{n}", units(20), member="new")

    answers = at_once([lambda n=n: act(n) for n in range(THREADS)])
    passed = [each for each in answers if isinstance(each, Charged | Held)]
    refused = [each for each in answers if isinstance(each, Refusal)]
    assert (len(passed), len(refused)) == (2, THREADS - 2), answers
    assert {each.limit for each in refused} == {"member_limit"}
    assert here.wrong() == []


# -- caches ---------------------------------------------------------------------

NEW = {"x": {"unit": Price(Flat(7), "unit")}}


@pytest.mark.parametrize("age", [TICK, MINUTE, 5 * MINUTE])
def test_services_with_different_catalogues_charge_the_same(age: timedelta) -> None:
    """Elsewhere each server noticed a new price in its own time, and charges of the same
    minute differed by who had served them."""
    fresh = World()
    stale = World(fresh.store, priced=False, opened=False, catalogue_age=age)
    assert stale.billing.quote("acme", units(1)).amount == 1  # it has loaded what there is
    effective = T0 + 10 * MINUTE
    fresh.publish(NEW, version="v2", effective_at=effective)
    for now in (T0, T0 + age - TICK, T0 + age, effective - TICK, effective, effective + HOUR):
        for world in (fresh, stale):
            world.clock.set(now)
        for occurred in (now, now - 3 * MINUTE, now + 5 * MINUTE):
            expected = 7 if occurred >= effective else 1
            assert stale.settle(1, key=stale.key() + "s", occurred_at=occurred).amount == expected
            assert fresh.settle(1, occurred_at=occurred).amount == expected
    assert fresh.wrong() == []


def test_a_catalogue_is_not_trusted_for_times_beyond_the_publication_delay() -> None:
    """A command dated ahead, within the tolerance, must meet no price that a cache of the
    greatest age cannot know."""
    World(tolerance=5 * MINUTE, publication_delay=10 * MINUTE, catalogue_age=5 * MINUTE)
    with pytest.raises(InvalidCommand, match="catalogue_age"):
        World(tolerance=5 * MINUTE, publication_delay=10 * MINUTE, catalogue_age=5 * MINUTE + TICK)


def test_a_plan_published_just_now_is_priced_by_its_own_book_by_all() -> None:
    """A service that does not know the plan yet must not charge the prices of everyone, be it
    for so little that no limit was looked at."""
    fresh = World(priced=False)
    fresh.publish({"x": {"unit": Price(Flat(0), "unit")}})
    quoting, settling = (World(fresh.store, priced=False, opened=False) for _ in range(2))
    for stale in (quoting, settling):
        assert stale.billing.quote("acme", units(1)).amount == 0  # it has loaded what there is
    fresh.publish(NEW, version="pro-x", plan="pro")
    fresh.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    fresh.billing.set_plan("acme", "subscribe", "pro")
    assert quoting.billing.quote("acme", units(1)).amount == 7
    assert settling.settle(1).amount == 7
    assert fresh.wrong() == []


def test_an_item_goes_on_at_the_version_it_began_with_whoever_serves_it() -> None:
    """Its minimum and increment are of that version, also to a service that does not know it."""
    fresh = World()
    stale = World(fresh.store, priced=False, opened=False)
    assert stale.billing.quote("acme", units(1)).amount == 1
    tens = {"x": {"unit": Price(Flat(1), "unit", increment=10)}}
    fresh.publish(tens, version="pro-x", plan="pro")
    fresh.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    fresh.billing.set_plan("acme", "subscribe", "pro")
    assert fresh.settle(units(1, item="run")).amount == 10
    for world in (fresh, stale):
        world.clock.advance(TICK)
    fresh.billing.set_plan("acme", "end", None)
    assert stale.settle(units(10, item="run"), key="s").amount == 10
    assert fresh.wrong() == []


def test_a_book_that_would_change_todays_prices_is_not_published_late() -> None:
    """Elsewhere a price published for the past repriced what was charged, or did not."""
    world = World()
    world.publish(NEW, version="early", plan="pro")
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    for options in ({}, {"plan": "pro"}, {"org": "acme"}):
        with pytest.raises(InvalidCommand, match="effective_at"):
            world.publish(NEW, version="late", effective_at=T0 + 10 * MINUTE - TICK, **options)
    assert [book.version for book in world.store.published()] == ["base", "early", "pro-1"]
