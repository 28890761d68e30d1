"""Counterexamples that an attack on runs, storage and top-ups has found, by name."""

from datetime import UTC, datetime

import pytest
from world import DAY, HOUR, LONG_AGO, MINUTE, SECOND, T0, TICK, World, nanos

from billing_core import (
    CloseSilentRun,
    Flat,
    Heartbeat,
    MoneyOverflow,
    Package,
    Plan,
    Price,
    StartRun,
    StopRun,
    Usage,
    sandbox,
)

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
