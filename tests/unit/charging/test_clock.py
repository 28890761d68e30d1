"""A clock that is wrong: what ends, ends for good, so it ends by no clock alone."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from postgres_servers import DisposableStore
from world import DAY, HOUR, MINUTE, SECOND, T0, TICK, World, nanos, units

from billing_adapters.cli.app import cli
from billing_adapters.sqlite import SqliteStore
from billing_core import (
    AsyncBilling,
    Billing,
    ClockDoubt,
    Deduct,
    Flat,
    InvalidCommand,
    Plan,
    Price,
    PriceBook,
    Settle,
    StoreError,
    sandbox,
)
from billing_core.engine import SystemClock, system_clock
from billing_core.testing import MemoryStore
from billing_core.values.times import micros

WEEKS = timedelta(days=40)


class Machine:
    """A machine's clock, as it is set, and the time that passes for all machines."""

    def __init__(self, now=T0) -> None:
        self.wall = micros("now", now) * 1000
        self.passed = 0

    def clock(self, ahead=timedelta(0)) -> SystemClock:
        """The clock of a process that starts now, so far ahead."""
        off = ahead // timedelta(microseconds=1) * 1000
        return SystemClock(lambda: self.wall + off + self.passed, lambda: self.passed)

    def advance(self, span) -> None:
        self.passed += span // timedelta(microseconds=1) * 1000


class Services:
    """Any number of processes on one store."""

    def __init__(self, store=None) -> None:
        self.machine = Machine()
        self.store = World.make_store() if store is None else store
        if isinstance(self.store, DisposableStore):
            self.store.clock = lambda: None  # what a store without a clock has to do
        self.right = self.process()
        prices = {
            "x": {"unit": Price(Flat(1))},
            "sandbox:s": {"cpu": Price(Flat(1), unit="second")},
        }
        self.right.publish(PriceBook("base", T0 - 400 * DAY, prices))

    def process(self, ahead=timedelta(0), **options) -> Billing:
        return Billing(self.store, clock=self.machine.clock(ahead), **options)

    def org(self, name="acme", *, expires=10 * DAY) -> None:
        self.right.open_account(name)
        self.right.grant(name, "g", nanos(100), expires_at=T0 + expires)


# -- the clock itself -----------------------------------------------------------


def test_a_process_s_time_goes_on_though_somebody_sets_the_machine_s_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.advance(HOUR)
    machine.wall += 40 * 86_400 * 10**9
    assert clock() == micros("t", T0 + HOUR)
    machine.wall -= 80 * 86_400 * 10**9
    machine.advance(HOUR)
    assert clock() == micros("t", T0 + 2 * HOUR)


def test_the_system_s_clock_is_the_machine_s() -> None:
    assert abs(system_clock() - time.time_ns() // 1000) < 60_000_000
    assert system_clock() <= system_clock()


# -- nothing lapses by a clock far ahead ----------------------------------------


@pytest.mark.every_store
def test_one_worker_far_ahead_takes_nobody_s_credit() -> None:
    services = Services()
    orgs = ["acme", "bolt", "cog"]
    for org in orgs:
        services.org(org)
    services.right.set_low_balance("acme", "low", nanos(500))  # an event waits
    done = services.process(WEEKS).run_pending(deliver=lambda event: None)
    assert done.lapsed == 0 and done.delivered == 0
    assert {each.org for each in done.failures} == {None, *orgs}
    assert all(isinstance(each.error, ClockDoubt) for each in done.failures)
    for org in orgs:
        assert services.right.balance(org).balance == 100
        assert services.right.deduct(org, "d", nanos(100), resource="x").paid == 100
    assert services.right.verify().ok


@pytest.mark.every_store
def test_no_command_far_ahead_ends_credit_and_a_right_clock_does_the_same_one() -> None:
    services = Services()
    services.org()
    wrong = services.process(WEEKS)
    with pytest.raises(ClockDoubt, match="set the clock right") as found:
        wrong.settle("acme", "s", units(5))
    assert found.value.retryable and not found.value.outcome_unknown
    assert isinstance(found.value, StoreError)
    assert services.right.settle("acme", "s", units(5)).paid == 5


@pytest.mark.every_store
def test_a_hold_a_period_and_a_run_do_not_end_by_a_clock_far_ahead() -> None:
    services = Services()
    for org in ("held", "planned", "running"):
        services.org(org, expires=90 * DAY)
    right, wrong = services.right, services.process(WEEKS)
    right.hold("held", nanos(10), expires_in=HOUR, key="h")
    right.publish(Plan("p1", "pro", T0 - DAY, allowance=nanos(50)))
    right.set_plan("planned", "p", "pro")
    right.start_run("running", "r", sandbox("s", {"cpu": 1}))
    for org in ("held", "planned"):
        with pytest.raises(ClockDoubt):
            wrong.settle(org, "s", units(1))
    with pytest.raises(ClockDoubt):
        wrong.sweep_runs()
    assert right.settle("held", "s", units(10), hold="h").captured == 10
    assert right.balance("planned").balance == 150
    assert right.run("running", "r").state == "active"


@pytest.mark.every_store
def test_no_hold_that_is_sent_again_is_said_to_have_ended_by_a_clock_far_ahead() -> None:
    """The caller would go on without a reservation that is there, or reserve once more."""
    services = Services()
    services.org(expires=90 * DAY)
    right, wrong = services.right, services.process(WEEKS)
    right.hold("acme", nanos(10), expires_in=HOUR, key="h")
    for sent in (
        lambda by: by.hold("acme", nanos(10), expires_in=HOUR, key="h").held,
        lambda by: by.extend("acme", "e", hold="h", expires_in=2 * HOUR),
    ):
        assert sent(right).amount == 10
        with pytest.raises(ClockDoubt, match="set the clock right"):
            sent(wrong)
        assert sent(right).replayed
    assert right.settle("acme", "s", units(10), hold="h").captured == 10


@pytest.mark.every_store
def test_what_comes_back_to_credit_does_not_end_by_a_clock_far_ahead() -> None:
    """A lot that is used up lapses no more; what is given back to it would, at once."""
    services = Services()
    services.org()
    charge = services.right.deduct("acme", "d", nanos(100), resource="x")
    with pytest.raises(ClockDoubt):
        services.process(WEEKS).reverse("acme", "r", charge=charge.seq)
    assert services.right.reverse("acme", "r", charge=charge.seq).refilled == 100
    assert services.right.balance("acme").balance == 100


@pytest.mark.every_store
def test_what_a_clock_in_doubt_writes_does_not_speak_for_it() -> None:
    services = Services()
    for org in ("acme", "bolt"):
        services.org(org, expires=60 * DAY)
    services.org("soon")
    for _ in range(2):  # and what runs a moment later, in a process of its own
        wrong = services.process(WEEKS)
        assert wrong.settle("bolt", wrong.ids(), units(1)).paid == 1  # nothing of it ends so far
        with pytest.raises(ClockDoubt):
            wrong.settle("soon", "s", units(1))
        services.machine.advance(MINUTE)
    assert services.right.settle("soon", "s", units(1)).paid == 1


@pytest.mark.every_store
def test_nothing_ends_by_a_right_clock_either_for_what_one_in_doubt_has_written() -> None:
    services = Services()
    right = services.right
    services.org()
    used = right.deduct("acme", "d", nanos(100), resource="x")
    wrong = services.process(WEEKS)
    written = wrong.settle("acme", "s", units(5))  # nothing that ends is left
    assert written.at == T0
    assert wrong.open_account("bolt").at == T0
    assert right.reverse("acme", "r", charge=used.seq).refilled == 100
    assert right.balance("acme").balance == 95
    for org in ("acme", "bolt"):
        right.grant(org, "week", nanos(7), expires_at=T0 + 7 * DAY)
    right.hold("bolt", nanos(7), expires_in=HOUR, key="h")
    services.machine.advance(2 * HOUR)
    assert right.run_pending().lapsed == 1
    assert right.balance("bolt").held == 0
    assert right.verify().ok


@pytest.mark.every_store
def test_a_plan_after_what_a_clock_in_doubt_has_written_brings_this_period_s_allowance() -> None:
    services = Services()
    right, wrong = services.right, services.process(WEEKS)
    right.publish(Plan("p1", "pro", T0 - DAY, allowance=nanos(50)))
    for org in ("acme", "bolt"):
        right.open_account(org)
        right.grant(org, "g", nanos(100))
    assert wrong.settle("acme", "s", units(1)).paid == 1
    right.set_plan("acme", "p", "pro")
    assert right.deduct("acme", "d", nanos(149), resource="x").paid == 149
    with pytest.raises(ClockDoubt):  # it may be the next period, or not
        wrong.set_plan("bolt", "p", "pro")
    right.set_plan("bolt", "p", "pro")
    assert right.deduct("bolt", "d", nanos(150), resource="x").paid == 150


@pytest.mark.every_store
def test_the_time_of_a_run_and_of_storage_is_not_measured_by_a_clock_far_ahead() -> None:
    services = Services()
    right, wrong = services.right, services.process(WEEKS)
    price = Price(Flat(1), unit="byte-microsecond")
    right.publish(PriceBook("b", T0 - DAY, {"storage:*": {"byte_us": price}}))
    right.open_account("acme")
    right.grant("acme", "g", nanos(10**12))
    right.start_run("acme", "r", sandbox("s", {"cpu": 1}))
    right.report_storage("acme", "docs", 1)
    services.machine.advance(2 * SECOND)
    now = T0 + 2 * SECOND
    for told in (
        lambda: wrong.heartbeat("acme", "r"),
        lambda: wrong.suspend_run("acme", "r"),
        lambda: wrong.suspend_run("acme", "r", occurred_at=now, until=now + WEEKS),
        lambda: wrong.stop_run("acme", "r"),
        lambda: wrong.stop_run("acme", "r", settle=False),
        lambda: wrong.bill_storage("acme"),
    ):
        with pytest.raises(ClockDoubt):
            told()
    assert wrong.heartbeat("acme", "r", occurred_at=now).settled_to == now
    assert [each.charged for each in wrong.bill_storage("acme", until=now)] == [2_000_000]
    services.machine.advance(HOUR)
    assert [each.run for each in right.sweep_runs(idle_for=MINUTE)] == ["r"]
    assert right.run("acme", "r").ended_at == now
    beside = services.process(WEEKS)  # a run that it starts, it measures
    beside.start_run("acme", "r2", sandbox("s", {"cpu": 1}))
    services.machine.advance(SECOND)
    assert beside.stop_run("acme", "r2").state == "settled"


@pytest.mark.every_store
def test_time_is_measured_up_to_a_day_after_the_latest_that_is_certain() -> None:
    services = Services()
    services.right.open_account("acme")
    services.right.grant("acme", "g", nanos(10**6))
    services.right.start_run("acme", "r", sandbox("s", {"cpu": 1}))
    wrong = services.process(WEEKS)
    with pytest.raises(ClockDoubt):
        wrong.heartbeat("acme", "r", occurred_at=T0 + DAY + TICK)
    assert wrong.heartbeat("acme", "r", occurred_at=T0 + DAY).settled_to == T0 + DAY


@pytest.mark.every_store
def test_a_call_goes_on_as_ever_by_a_right_clock_after_days_of_rest() -> None:
    """What it holds lives by its own time, though it is decided at the latest that is certain."""
    services = Services()
    services.right.open_account("acme")
    services.right.grant("acme", "g", nanos(100))
    services.machine.advance(3 * DAY)
    monday = services.process()
    held = monday.hold("acme", nanos(10), expires_in=MINUTE, key="h")
    assert held.expires_at == T0 + 3 * DAY + MINUTE
    assert monday.extend("acme", "e", hold="h", expires_in=HOUR).expires_at == T0 + 3 * DAY + HOUR
    assert monday.settle("acme", "s", units(10), hold="h").captured == 10
    with pytest.raises(InvalidCommand, match="a time after"):
        monday.grant("acme", "over", nanos(1), expires_at=T0 + 2 * DAY)
    assert monday.verify().ok


@pytest.mark.every_store
def test_one_org_s_doubt_is_not_its_neighbour_s() -> None:
    services = Services()
    services.org("soon")
    services.org("late", expires=90 * DAY)
    wrong = services.process(WEEKS)
    with pytest.raises(ClockDoubt, match="soon"):
        wrong.execute([Settle("soon", "s", usage=units(1))])
    [done] = wrong.execute([Settle("late", "s", usage=units(1))])
    assert done.paid == 1


@pytest.mark.every_store
def test_a_restart_after_hours_needs_nobody() -> None:
    services = Services()
    services.org(expires=20 * HOUR)
    services.machine.advance(22 * HOUR)
    done = services.process().run_pending()
    assert (done.lapsed, done.failures) == (1, [])
    assert services.right.balance("acme").balance == 0


@pytest.mark.every_store
def test_a_process_that_goes_on_for_weeks_needs_nobody() -> None:
    services = Services()
    services.org()
    services.machine.advance(WEEKS)
    assert services.right.settle("acme", "s", units(1)).unpaid == 1
    # And a worker that starts beside it has its word.
    services.org("bolt", expires=WEEKS + HOUR)
    services.machine.advance(2 * HOUR)
    assert services.process().run_pending().failures == []


@pytest.mark.every_store
def test_what_had_ended_by_the_latest_record_ends_after_a_week_s_rest() -> None:
    services = Services()
    services.org(expires=3 * HOUR)
    services.org("just", expires=4 * HOUR)
    services.org("later", expires=4 * HOUR + TICK)
    services.machine.advance(4 * HOUR)
    services.right.open_account("last")
    services.machine.advance(7 * DAY)
    monday = services.process()
    for ended in ("acme", "just"):
        assert monday.settle(ended, "s", units(1)).unpaid == 1
    with pytest.raises(ClockDoubt):
        monday.settle("later", "s", units(1))


@pytest.mark.every_store
def test_an_operator_s_word_is_enough() -> None:
    services = Services()
    services.org()
    services.machine.advance(WEEKS)
    back = services.process()
    with pytest.raises(ClockDoubt):
        back.settle("acme", "s", units(1))
    assert services.process().accept_clock() == T0 + WEEKS
    services.machine.advance(5 * SECOND)  # it looks again as soon as this
    assert back.settle("acme", "s", units(1)).unpaid == 1
    assert back.run_pending().failures == []


@pytest.mark.every_store
def test_a_clock_that_the_caller_gives_is_the_caller_s_word() -> None:
    world = World()
    world.grant(5, expires_at=T0 + DAY)
    world.clock.advance(400 * DAY)
    assert world.settle(1).unpaid == 1
    assert world.billing.accept_clock() == T0 + 400 * DAY
    assert world.store.mark("clock") is None


@pytest.mark.every_store
def test_records_of_an_earlier_version_are_heeded() -> None:
    """It kept no mark of the time: what is on record tells it."""
    world = World()
    world.grant(100, expires_at=T0 + 10 * DAY)
    if isinstance(world.store, DisposableStore):
        world.store.clock = lambda: None
    wrong = Billing(world.store, clock=Machine().clock(WEEKS))
    for _ in range(2):
        with pytest.raises(ClockDoubt):
            wrong.settle("acme", "s", units(1))
        world.billing.open_account("bolt")
        wrong.settle("bolt", wrong.ids(), units(1))
        wrong = Billing(world.store, clock=Machine().clock(WEEKS))
    assert world.balance().balance == 100


def test_credit_does_not_end_in_a_batch_of_a_neighbour_that_waited_with_it() -> None:
    """Those whose batch fails are decided alone: a doubt is told to its own caller."""
    services = Services()
    services.org("soon")
    services.org("late", expires=90 * DAY)
    wrong = AsyncBilling(services.store, clock=services.machine.clock(WEEKS))

    async def both() -> list[object]:
        return await asyncio.gather(
            wrong.settle("soon", "s", units(1)),
            wrong.settle("late", "s", units(1)),
            return_exceptions=True,
        )

    soon, late = asyncio.run(both())
    assert isinstance(soon, ClockDoubt)
    assert late.paid == 1


# -- beside PostgreSQL's clock --------------------------------------------------


@pytest.fixture
def postgres():
    with DisposableStore() as store:
        yield store


def machine_clock(ahead: timedelta) -> SystemClock:
    return SystemClock(lambda: time.time_ns() + ahead // timedelta(microseconds=1) * 1000)


@pytest.mark.parametrize("off", [6 * MINUTE, -6 * MINUTE, WEEKS])
def test_a_clock_that_is_not_postgresql_s_is_refused(postgres, off) -> None:
    World(postgres)
    wrong = Billing(postgres, clock=machine_clock(off))
    for _ in range(2):
        with pytest.raises(ClockDoubt, match="the database's") as found:
            wrong.settle("acme", "s", units(1))
        assert found.value.retryable
    with pytest.raises(ClockDoubt, match="the database's"):
        wrong.accept_clock()
    failures = wrong.run_pending().failures
    assert [type(each.error) for each in failures] == [ClockDoubt]
    near = timedelta(minutes=4) if off > timedelta(0) else timedelta(minutes=-4)
    assert Billing(postgres, clock=machine_clock(near)).settle("acme", "s", units(1)).amount == 1


def test_a_clock_that_postgresql_s_agrees_with_may_be_far_ahead_of_the_record(postgres) -> None:
    world = World(postgres)
    world.grant(100, expires_at=T0 + DAY)
    assert system_clock() > micros("t", T0 + 100 * DAY), "the records are old"
    assert Billing(postgres).settle("acme", "s", units(1)).unpaid == 1


def test_no_run_is_funded_until_after_a_price_that_another_clock_may_yet_publish(postgres) -> None:
    """Clocks that may differ: what one promises by the prices that it knows, another keeps."""
    world = World(postgres)
    price = {"sandbox:s": {"cpu": Price(Flat(1), unit="second")}}
    world.publish(price, version="sandbox")
    world.grant(10**12)
    ahead, behind = (Billing(postgres, clock=machine_clock(off * MINUTE)) for off in (4, -4))
    before = datetime.now(UTC)
    run = ahead.start_run("acme", "r", sandbox("s", {"cpu": 1}), fund_for=HOUR)
    assert run.bound_by == "horizon"
    known = before + 9 * MINUTE - SECOND, datetime.now(UTC) + 9 * MINUTE
    assert known[0] <= run.funded_until <= known[1]
    with pytest.raises(InvalidCommand, match="effective_at"):
        behind.publish(PriceBook("soon", datetime.now(UTC) + 8 * MINUTE, price))
    behind.publish(PriceBook("later", datetime.now(UTC) + 10 * MINUTE + 9 * SECOND, price))


def test_within_a_transaction_of_the_host_s_the_clock_is_checked_too(postgres, tmp_path) -> None:
    import psycopg

    World(postgres)
    with psycopg.connect(postgres.dsn) as db:
        db.execute("SELECT 1")
        wrong = Billing(postgres, clock=machine_clock(WEEKS)).within(db)
        with pytest.raises(ClockDoubt):
            wrong.settle("acme", "s", units(1))

    with SqliteStore(tmp_path / "b.db") as store:
        services = Services(store)
        services.org()
        wrong, right = services.process(WEEKS), services.process()
        db = sqlite3.connect(store.path, isolation_level=None)
        for billing in (wrong, right):
            db.execute("BEGIN IMMEDIATE")
            if billing is wrong:
                with pytest.raises(ClockDoubt):
                    billing.within(db).settle("acme", "s", units(1))
            else:  # nothing is written beside the host's transaction, which has the file
                assert billing.within(db).settle("acme", "s", units(1)).paid == 1
            db.execute("COMMIT")
        db.close()


# -- the command line -----------------------------------------------------------


SERVICE = """
import sys, time
real = time.time_ns
days = int(sys.argv[2])
time.time_ns = lambda: real() + days * 86_400 * 10**9
from billing_adapters.cli.app import cli
cli(sys.argv[3:], standalone_mode=True)
"""


def run_ahead(path: Path, days: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line on a machine whose clock is so far ahead."""
    return subprocess.run(
        [sys.executable, "-c", SERVICE, str(path), str(days), *arguments],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_worker_in_a_process_of_its_own_far_ahead_says_so_until_somebody_accepts_it(
    tmp_path,
) -> None:
    path = tmp_path / "billing.db"

    with SqliteStore(path) as store:
        right = Billing(store)
        right.open_account("acme")
        right.grant("acme", "g", nanos(100), expires_at=datetime.now(UTC) + 10 * DAY)
    work = ["worker", "--once", "--db", str(path)]
    told = run_ahead(path, 40, *work)
    assert "clock" in told.stderr and "accept-clock" in told.stderr, told
    with SqliteStore(path) as store:
        assert Billing(store).balance("acme").balance == 100
    accepted = run_ahead(path, 40, "accept-clock", "--db", str(path))
    assert "is accepted" in accepted.stdout, accepted
    assert "clock" not in run_ahead(path, 40, *work).stderr
    with SqliteStore(path) as store:
        assert Billing(store).balance("acme").balance == 0


def test_the_command_line_accepts_a_right_clock(tmp_path) -> None:
    path = tmp_path / "billing.db"
    SqliteStore(path).close()
    done = CliRunner().invoke(cli, ["accept-clock", "--db", str(path)])
    assert done.exit_code == 0 and "is accepted" in done.output


def test_the_check_looks_at_the_store_once_an_hour() -> None:
    looks = []

    class Counting(MemoryStore):
        def mark(self, name):
            looks.append(name)
            return super().mark(name)

    services = Services(Counting())
    services.org()
    for number in range(10):
        services.right.execute([Deduct("acme", str(number), cost=nanos(1), resource="x")])
        services.machine.advance(5 * MINUTE)
    assert looks == ["clock"]
    services.machine.advance(10 * MINUTE)
    services.right.settle("acme", "s", units(1))
    assert looks == ["clock", "clock"]
