"""Counterexamples that an attack on runs, storage and top-ups has found, by name."""

from datetime import UTC, datetime

import pytest
from world import DAY, HOUR, LONG_AGO, MINUTE, SECOND, T0, TICK, World, nanos

from billing_core import (
    CloseSilentRun,
    Flat,
    Grant,
    Heartbeat,
    MoneyOverflow,
    Package,
    Plan,
    Price,
    Refused,
    StartRun,
    StopRun,
    Usage,
    sandbox,
)
from billing_core.values.money import MAX_NANOS

pytestmark = pytest.mark.every_store

BOX = sandbox("box", {"second": 1})


def boxes(nanos_a_second: int = 1000, *, grant: int = 10**9, now: datetime = T0) -> World:
    world = World(priced=False, now=now)
    world.publish({"sandbox:box": {"second": per_second(nanos_a_second)}})
    world.grant(grant)
    return world


def per_second(nanos: int) -> Price:
    return Price(Flat(nanos, 1_000_000), unit="microsecond")


def test_forgiving_what_was_last_charged_after_the_runs_end_counts_in_that_day() -> None:
    """A heartbeat's clock was ahead, past midnight; the stop is before it.  Other spending of
    the second day stays counted."""
    world = boxes(now=datetime(2026, 3, 10, 23, 50, tzinfo=UTC))
    billing = world.billing
    billing.set_limit("acme", "limit", nanos(10**12), per="day")
    world.clock.advance(2 * DAY)
    began = world.clock.now
    billing.start_run("acme", "r1", BOX)
    world.clock.advance(11 * MINUTE)
    world.deduct(nanos(7), resource="x")
    billing.heartbeat("acme", "r1")
    billing.stop_run("acme", "r1", occurred_at=began + 5 * MINUTE)
    billing.forgive_run("acme", "f", "r1", reason="theirs")
    assert world.wrong() == []
    billing.undo_forgiveness("acme", "u", "r1")
    assert world.wrong() == []


def test_undoing_what_was_forgiven_after_a_late_correction_moves_no_last_time() -> None:
    """What the correction gave back lies after the last time that was charged."""
    world = boxes()
    billing = world.billing
    billing.start_run("acme", "r1", BOX)
    world.clock.advance(20 * SECOND)
    billing.suspend_run("acme", "r1", occurred_at=T0 + 10 * SECOND)
    billing.heartbeat("acme", "r1")
    late = {"occurred_at": T0 + 5 * SECOND, "until": T0 + 15 * SECOND}
    assert billing.suspend_run("acme", "r1", key="late", **late).charged == -5000
    billing.stop_run("acme", "r1")
    billing.forgive_run("acme", "f", "r1", reason="theirs", amount=nanos(1))
    billing.undo_forgiveness("acme", "u", "r1")
    assert billing.run("acme", "r1").settled == 5000
    assert world.wrong() == []


def test_a_run_started_and_stopped_in_one_batch_counts_on_in_a_period_that_is_counted() -> None:
    world = boxes(now=datetime(2026, 3, 1, tzinfo=UTC))
    world.clock.set(datetime(2026, 4, 1, 0, 5, tzinfo=UTC))
    world.billing.start_run("acme", "r1", BOX)
    world.clock.advance(MINUTE)
    world.billing.stop_run("acme", "r1")
    late = world.clock.now - 16 * MINUTE
    start, stop = world.billing.execute(
        [StartRun("acme", "r2", spec=BOX, occurred_at=late), StopRun("acme", "s", run="r2")]
    )
    assert (start.charged, stop.charged) == (0, 16 * 60 * 1000)
    assert world.counter("sandbox:box", "second") == [10 * 60 * 10**6, 7 * 60 * 10**6]
    assert world.wrong() == []


def test_a_stop_that_fails_leaves_the_run_alone_for_what_follows_in_its_batch() -> None:
    world = boxes(2**62, grant=2**62)
    world.billing.start_run("acme", "r1", BOX, fund_for=SECOND, min_runtime=TICK)
    world.clock.advance(MINUTE)
    stop, beat = world.billing.execute(
        [
            StopRun("acme", "s", run="r1"),
            Heartbeat("acme", "h", run="r1", occurred_at=T0 + TICK),
        ]
    )
    assert isinstance(stop, MoneyOverflow)
    assert beat.state == "active"
    assert world.wrong() == []


def test_forgiving_and_undoing_again_and_again_stays_within_64_bits() -> None:
    world = boxes(10**18, grant=4 * 10**18)
    world.billing.start_run("acme", "r1", BOX, fund_for=3 * SECOND)
    world.clock.advance(3 * SECOND)
    world.billing.stop_run("acme", "r1")
    for number in range(4):
        world.billing.forgive_run("acme", f"f{number}", "r1", reason="theirs")
        world.billing.undo_forgiveness("acme", f"u{number}", "r1")
    assert world.balance().used == 3 * 10**18
    assert world.wrong() == []


def test_a_run_closed_under_the_key_of_a_sweep_does_not_stop_the_sweep_of_lapses() -> None:
    world = boxes()
    world.billing.start_run("acme", "r1", BOX)
    world.clock.advance(HOUR)
    world.billing.execute([CloseSilentRun("acme", "lapsed", run="r1", since=world.clock.now)])
    world.grant(5, expires_at=world.clock.now + MINUTE)
    world.clock.advance(HOUR)
    pending = world.billing.run_pending()
    assert (pending.lapsed, pending.failures) == (1, [])


def test_pricing_a_piece_that_is_owed_does_not_owe_it_twice() -> None:
    world = boxes(grant=10**5)
    gpu = {"sandbox:box": {"gpu": per_second(1000)}}
    version = world.publish(gpu, version="pro prices", plan="pro")
    billing = world.billing
    billing.publish(Plan("pro1", "pro", LONG_AGO))
    billing.set_plan("acme", "on", "pro")
    billing.start_run("acme", "r1", sandbox("box", {"second": 1, "gpu": 1}))
    world.clock.advance(MINUTE)
    billing.set_plan("acme", "off", None)
    for _ in range(2):
        world.clock.advance(MINUTE)
        billing.heartbeat("acme", "r1")
    last = [entry for entry in world.entries() if entry.op == "piece"][-1]
    debt = world.balance().debt
    assert debt == 2 * 60_000 + 2 * 60_000 - 10**5
    priced = billing.price_unpriced("acme", "p", charge=last.seq, version=version, override=True)
    assert world.balance().debt == debt + priced.amount
    assert world.wrong() == []
    world.grant(10**6)
    assert world.balance().balance == 10**6 - debt - priced.amount
    assert world.wrong() == []


def test_forgiving_what_is_pending_beyond_its_period_counts_on_there() -> None:
    """Only its first heartbeat settled; the rest, into the next period, is settled and given
    back in one."""
    world = boxes(now=datetime(2026, 3, 1, tzinfo=UTC))
    billing = world.billing
    billing.set_limit("acme", "limit", nanos(10**12), per="day")
    world.clock.set(datetime(2026, 3, 31, 23, 50, tzinfo=UTC))
    for run in ("r1", "r2"):
        billing.start_run("acme", run, BOX)
    world.clock.advance(20 * MINUTE)
    billing.stop_run("acme", "r1", settle=False)
    billing.stop_run("acme", "r2")
    billing.forgive_run("acme", "f", "r1", reason="theirs")
    assert world.counter("sandbox:box", "second") == [2 * 10 * 60 * 10**6] * 2
    assert world.balance().used == 20 * 60 * 1000
    assert world.wrong() == []


def test_a_run_that_is_settled_up_to_now_counts_as_active() -> None:
    world = boxes()
    world.billing.start_run("acme", "r1", BOX)
    world.clock.advance(MINUTE)
    world.billing.heartbeat("acme", "r1", occurred_at=world.clock.now + MINUTE)
    for _ in range(2):
        runtime = world.billing.usage("acme", "all_time").summary.sandbox_runtime
        assert (runtime.active.runs, runtime.active.us, runtime.settled.runs) == (1, 0, 0)
        world.clock.advance(MINUTE)


def test_usage_of_storage_that_is_settled_by_hand_is_no_discrepancy() -> None:
    world = boxes()
    price = Price(Flat(1, 1_000_000), unit="byte-microsecond")
    world.publish({"storage:*": {"byte_us": price}}, version="bytes")
    billing = world.billing
    billing.report_storage("acme", "ws", 1000)
    world.settle(Usage.of("storage:ws", {"byte_us": 5_000_000}))
    world.clock.advance(MINUTE)
    billing.bill_storage("acme")
    assert world.wrong() == []
    checkpoints = billing.verify().checkpoints
    world.clock.advance(MINUTE)
    billing.bill_storage("acme")
    assert world.wrong(checkpoints=checkpoints) == []


def test_a_run_whose_clock_is_further_ahead_than_it_asks_for_is_funded() -> None:
    world = boxes()
    ahead = world.clock.now + 2 * MINUTE
    started = world.billing.start_run("acme", "r1", BOX, fund_for=MINUTE, occurred_at=ahead)
    assert started.funded_until == ahead + MINUTE
    beat = world.billing.heartbeat("acme", "r1", occurred_at=ahead + MINUTE)
    assert beat.funded_until == ahead + 2 * MINUTE
    assert world.wrong() == []


@pytest.mark.parametrize(("minimum", "increment"), [(1, 1), (30_000_000, 7_000_000)])
@pytest.mark.parametrize("turns", [1, 4])
def test_a_run_is_funded_at_the_price_of_suspended_time_if_that_is_dearer(
    turns: int, minimum: int, increment: int
) -> None:
    world = World(priced=False)
    rounding = {"unit": "microsecond", "minimum": minimum, "increment": increment}
    world.publish(
        {
            "sandbox:box": {
                "second": Price(Flat(1000, 1_000_000), **rounding),
                "suspended_second": Price(Flat(3001, 1_000_000), **rounding),
            }
        }
    )
    world.grant(600_000)
    billing, began = world.billing, world.clock.now
    started = billing.start_run("acme", "r1", BOX, fund_for=HOUR)
    assert started.bound_by == "balance"
    span = started.funded_until - began
    assert 600_000 / 3001 - 80 < span.total_seconds() < 600_000 / 3001
    for turn in range(turns):  # running for a moment of each
        billing.suspend_run("acme", "r1", occurred_at=began + span * turn / turns + SECOND)
        world.clock.set(began + span * (turn + 1) / turns)
        if turn + 1 < turns:
            billing.resume_run("acme", "r1")
    billing.heartbeat("acme", "r1", occurred_at=started.funded_until)
    assert world.balance().debt == 0
    assert world.balance().balance < 600_000 * 0.3
    assert world.wrong() == []


def test_time_told_late_takes_nothing_of_what_a_deadline_holds() -> None:
    """It was told suspended by a clock that was ahead, then running all the while: what the run's
    hold pays for that is held again."""
    world = boxes(grant=1000 * 1000)
    billing = world.billing
    billing.start_run("acme", "r1", BOX)
    billing.suspend_run("acme", "r1", key="s1")
    ahead = billing.resume_run("acme", "r1", occurred_at=T0 + 5 * MINUTE)
    assert (ahead.funded_until, world.balance().held) == (T0 + 9 * MINUTE, 240 * 1000)
    billing.suspend_run("acme", "r1", key="s2", occurred_at=T0)
    again = billing.resume_run("acme", "r1", key="r2", occurred_at=T0)
    assert (again.charged, again.funded_until) == (300 * 1000, T0 + 9 * MINUTE)
    assert world.balance().held == 240 * 1000
    assert world.wrong() == []


def test_forgiving_a_pending_run_whose_hold_is_of_an_ended_lot_is_no_discrepancy() -> None:
    world = World(priced=False)
    world.publish({"sandbox:box": {"second": per_second(1000)}})
    world.grant(10**6, expires_at=T0 + HOUR)
    world.billing.start_run("acme", "r1", BOX)
    world.clock.advance(MINUTE)
    world.billing.stop_run("acme", "r1", settle=False)
    world.clock.advance(2 * HOUR)
    forgiven = world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    assert forgiven.state == "forgiven"
    balance = world.balance()
    assert (balance.used, balance.balance, balance.held) == (0, 0, 0)
    assert world.wrong() == []


def test_a_deadline_across_a_periods_end_holds_a_package_of_each() -> None:
    """Counters begin anew with a billing period: what is left of a package does not go on."""
    end = datetime(2026, 4, 10, 12, tzinfo=UTC)
    world = World(priced=False)
    package = Price(Package(60_000, 60_000_000), unit="microsecond")
    world.publish({"sandbox:box": {"second": package}})
    world.grant(60_000)
    world.clock.set(end - 30 * SECOND)
    started = world.billing.start_run("acme", "r1", BOX, fund_for=MINUTE)
    assert (started.funded_until, started.bound_by) == (end, "balance")
    world.grant(60_000)
    assert world.billing.heartbeat("acme", "r1").funded_until == end + 30 * SECOND
    world.clock.set(end + 30 * SECOND)
    world.billing.stop_run("acme", "r1")
    assert (world.balance().used, world.balance().debt) == (120_000, 0)
    assert world.wrong() == []


def test_what_comes_back_of_a_run_in_whole_minutes_stays_within_64_bits() -> None:
    """It began while every minute that was begun cost all of it, and goes on so: two seconds less
    bring a minute's price back, be the price of today by the second."""
    world = World(priced=False)
    minutes = Price(Flat(1000, 1_000_000), unit="microsecond", increment=60_000_000)
    world.publish({"sandbox:box": {"second": minutes}})
    later = T0 + 15 * MINUTE
    world.publish({"sandbox:box": {"second": per_second(1000)}}, version="v2", effective_at=later)
    world.grant(10**9)
    billing = world.billing
    billing.start_run("acme", "r1", BOX)
    world.clock.advance(16 * MINUTE + SECOND)
    assert billing.stop_run("acme", "r1").charged == 17 * 60_000
    filled = world.grant(MAX_NANOS - world.balance().balance - 60_000 + 1)
    late = {"occurred_at": later + 10 * SECOND, "until": later + 12 * SECOND}
    before = world.state()
    with pytest.raises(MoneyOverflow, match="credit that is within 64 bits"):
        billing.suspend_run("acme", "r1", key="late", **late)
    assert world.state() == before
    world.deduct(nanos(10), resource="x")
    assert billing.suspend_run("acme", "r1", key="late", **late).charged == -60_000
    assert filled in world.left()
    assert world.wrong() == []


def test_what_a_run_costs_so_far_is_by_the_price_of_each_moment_to_the_last() -> None:
    world = World(priced=False)
    by_us = {each: Price(Flat(each), unit="microsecond") for each in (1000, 5000)}
    world.publish({"sandbox:box": {"second": by_us[1000]}})
    later = T0 + 15 * MINUTE
    dearer = {"sandbox:box": {"second": by_us[5000]}}
    world.publish(dearer, version="v2", effective_at=later)
    world.grant(10**15)
    world.billing.start_run("acme", "r1", BOX)
    world.clock.set(later)
    assert world.billing.run("acme", "r1").unposted == 900 * 10**6 * 1000
    world.clock.set(later + TICK)
    assert world.billing.run("acme", "r1").unposted == 900 * 10**6 * 1000 + 5000
    assert world.billing.stop_run("acme", "r1").charged == 900 * 10**6 * 1000 + 5000
    assert world.wrong() == []


@pytest.mark.parametrize("after", [0, 20])
def test_what_a_run_held_of_a_lot_that_ended_before_is_no_credit_for_what_comes(after) -> None:
    """It is the balance, not a lot's end, that the customer is told of."""
    world = World(priced=False)
    world.publish({"sandbox:box": {"second": per_second(1000)}})
    billing = world.billing
    world.grant(60_000, expires_at=T0 + MINUTE)
    world.grant(100_000)
    assert billing.start_run("acme", "r1", BOX).funded_until == T0 + 160 * SECOND
    billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + 30 * SECOND)
    world.clock.set(T0 + MINUTE + after * SECOND)
    beat = billing.heartbeat("acme", "r1")
    assert (beat.funded_until, beat.bound_by) == (T0 + (160 + after) * SECOND, "balance")
    assert world.wrong() == []


@pytest.mark.parametrize("left", [10**9, 60_000])
def test_a_run_that_no_lot_lives_long_enough_for_is_not_said_to_be_over_a_limit(left) -> None:
    """As much as it costs is left of the limit, or more."""
    world = World(priced=False)
    world.publish({"sandbox:box": {"second": per_second(1000)}})
    world.grant(10**9, expires_at=T0 + SECOND)
    world.billing.set_limit("acme", "l", nanos(left), per="day")
    with pytest.raises(Refused) as refused:
        world.billing.start_run("acme", "r1", BOX, min_runtime=MINUTE)
    found = refused.value.refusal
    assert (found.reason, found.limit, found.shortfall) == (
        "insufficient_credit",
        "balance",
        60_000,
    )


MIDNIGHT = T0.replace(hour=0) + DAY


@pytest.mark.parametrize(("cost", "left"), [(1, 0), (60_000, 0), (60_000, 5)])
def test_a_run_that_reaches_a_day_whose_limit_is_used_up_is_refused_for_that_limit(
    cost: int, left: int
) -> None:
    """Though its least time is all of today."""
    world = World(priced=False)
    price = Price(Package(cost, 60_000_000), unit="microsecond")
    world.publish({"sandbox:box": {"second": price}})
    world.grant(10**9)
    world.billing.set_limit("acme", "l", nanos(10**6), per="day")
    world.clock.set(MIDNIGHT - 30 * SECOND)
    tomorrow = MIDNIGHT + MINUTE
    world.deduct(nanos(10**6 - left), resource="x", occurred_at=tomorrow)
    with pytest.raises(Refused) as refused:
        world.billing.start_run("acme", "r1", BOX, min_runtime=10 * SECOND)
    found = refused.value.refusal
    assert (found.limit, found.shortfall) == ("org_limit", cost - left)


def test_what_a_run_that_goes_on_lacks_of_tomorrows_limit_is_beside_what_it_holds() -> None:
    world = boxes()
    world.publish({"x": {"unit": Price(Flat(1))}}, version="x")
    world.billing.set_limit("acme", "l", nanos(10**6), per="day")
    world.clock.set(MIDNIGHT - 50 * SECOND)
    tomorrow = MIDNIGHT + MINUTE
    world.deduct(nanos(10**6 - 20_000), resource="x", occurred_at=tomorrow)
    started = world.billing.start_run("acme", "r1", BOX)
    assert (started.funded_until, started.bound_by) == (MIDNIGHT - 30 * SECOND, "org_limit")
    world.clock.advance(5 * SECOND)
    world.billing.suspend_run("acme", "r1")
    held = world.balance().held
    assert held > 1000
    world.settle(20_500, occurred_at=tomorrow)
    with pytest.raises(Refused) as refused:
        world.billing.resume_run("acme", "r1")
    found = refused.value.refusal
    assert (found.limit, found.shortfall) == ("org_limit", 1000 + 500)
    assert world.wrong() == []


@pytest.mark.parametrize("owed", [0, 7])
def test_what_a_run_leaves_unpaid_is_repaid_by_credit_of_the_same_batch(owed) -> None:
    """Beside older debt, and without."""
    world = boxes(grant=300_000)
    world.billing.start_run("acme", "r1", BOX)
    if owed:
        world.publish({"x": {"unit": Price(Flat(1))}}, version="x")
        world.settle(owed)
    world.clock.advance(9 * MINUTE)
    outcomes = world.billing.execute(
        [
            Heartbeat("acme", "b", run="r1"),
            Grant("acme", "g", amount=nanos(200_000)),
            StopRun("acme", "s", run="r1"),
        ]
    )
    assert outcomes[1].repaid == 200_000
    assert world.balance().debt == 540_000 - 500_000 + owed
    assert world.wrong() == []


def test_a_piece_of_a_run_is_explained_by_what_paid_it_and_what_was_left_unpaid() -> None:
    """As its own entry has it: what the run owes stands on the first of them."""
    world = boxes(grant=300_000)
    world.billing.start_run("acme", "r1", BOX)
    for _ in range(2):
        world.clock.advance(4 * MINUTE)
        world.billing.heartbeat("acme", "r1")
    pieces = [entry.seq for entry in world.entries() if entry.op == "piece"]
    explained = [world.billing.explain("acme", seq) for seq in pieces]
    assert [each.amount for each in explained] == [240_000] * 2
    assert [[paid.amount for paid in each.payments] for each in explained] == [[240_000], [60_000]]
    assert [each.unpaid for each in explained] == [0, 180_000]
