"""Many callers at once: threads, tasks and processes on one org; poison; dead leaders."""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing_adapters.sqlite import SqliteStore
from billing_core import (
    AsyncBilling,
    Billing,
    Charged,
    Command,
    Deduct,
    Flat,
    Grant,
    IdempotencyConflict,
    InvalidCommand,
    Money,
    MoneyOverflow,
    Outcome,
    Price,
    PriceBook,
    Refused,
    Settle,
    StoreError,
    Usage,
    usd,
)
from billing_core.engine import group_commit as coalescing
from billing_core.engine.group_commit import Coalescer, Submission
from billing_core.ports.state import Changes, Loaded, Wanted
from billing_core.ports.store import Transaction
from billing_core.testing import MemoryStore, SettableClock

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DIME = usd("0.10")


def funded(store: Any, tenths: int) -> Billing:
    billing = Billing(store)
    billing.open_account("acme")
    billing.grant("acme", "credit", Money(tenths * DIME.nanos, "USD"))
    return billing


def deduct_many(billing: Billing, who: int, times: int) -> int:
    won = 0
    for index in range(times):
        try:
            billing.deduct("acme", f"{who}-{index}", DIME, resource="tool")
            won += 1
        except Refused as refused:
            assert refused.refusal.limit == "balance"
    return won


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    results: list[Any] = [None] * count

    def run(index: int) -> None:
        try:
            results[index] = work(index)
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "a caller was left waiting"
    return results


# -- races ----------------------------------------------------------------------


def test_eight_threads_race_for_half_of_what_they_want(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "b.db") as store:
        billing = funded(store, 400)
        won = in_threads(8, lambda who: deduct_many(billing, who, 100))
        assert sum(won) == 400
        assert billing.balance("acme").balance == 0
        assert billing.verify().ok


def race_in_a_process(path: str, who: int, results: Any) -> None:
    with SqliteStore(path, busy_seconds=30) as store:
        results.put(deduct_many(Billing(store), who, 100))


def test_four_processes_race_for_half_of_what_they_want(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    with SqliteStore(path) as store:
        funded(store, 200)
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    racers = [
        spawn.Process(target=race_in_a_process, args=(str(path), who, results)) for who in range(4)
    ]
    for racer in racers:
        racer.start()
    won = [results.get(timeout=120) for _ in racers]
    for racer in racers:
        racer.join(30)
        assert racer.exitcode == 0
    assert sum(won) == 200
    with SqliteStore(path) as store:
        assert Billing(store).balance("acme").balance == 0
        assert Billing(store).verify().ok


def test_256_tasks_race_for_half_of_what_they_want(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "b.db") as store:
        funded(store, 384)
        billing = AsyncBilling(store)

        async def one(who: int) -> int:
            won = 0
            for index in range(3):
                try:
                    await billing.deduct("acme", f"{who}-{index}", DIME, resource="tool")
                    won += 1
                except Refused:
                    pass
            return won

        async def race() -> list[int]:
            return await asyncio.gather(*(one(who) for who in range(256)))

        assert sum(asyncio.run(race())) == 384
        assert Billing(store).balance("acme").balance == 0
        assert Billing(store).verify().ok


def test_callers_share_commits() -> None:
    store = CountingStore()
    billing = funded(store, 1000)
    before = store.commits
    in_threads(16, lambda who: deduct_many(billing, who, 20))
    assert store.commits - before < 16 * 20 / 2


class CountingStore(MemoryStore):
    """Counts commits, each of which takes as long as a disk would."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with super().transaction() as transaction:
            yield transaction
            time.sleep(0.001)
            self.commits += 1


# -- poison ---------------------------------------------------------------------


class PoisonedStore(CountingStore):
    """Breaks, as a constraint would, where an entry's key says so; ``bug``: in loading, with
    an exception that no store should raise."""

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with super().transaction() as transaction:
            yield _Poisoned(transaction)


class _Poisoned:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def recall(self, wanted: Mapping[str, Wanted]) -> Loaded | None:
        return self._transaction.recall(wanted)

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        for org in wanted:
            if org == "buggy":
                raise ZeroDivisionError("a bug for one org")
        return self._transaction.load(wanted)

    def commit(self, changes: Mapping[str, Changes]) -> None:
        for change in changes.values():
            for entry in change.entries:
                if entry.key == "deduct:constraint":
                    raise StoreError("a constraint of the database said no")
        self._transaction.commit(changes)


POISON: dict[str, tuple[Command, type[Exception]]] = {
    "overflow": (
        Grant("acme", "overflow", amount=usd("9223372036")),
        MoneyOverflow,
    ),
    "conflict": (Grant("acme", "credit", amount=usd("7")), IdempotencyConflict),
    "bug": (Grant("buggy", "g", amount=usd("1")), ZeroDivisionError),
    "constraint": (Deduct("acme", "constraint", cost=DIME, resource="tool"), StoreError),
}


@pytest.mark.parametrize("poison", POISON)
def test_one_poisoned_command_among_500_fails_alone(poison: str) -> None:
    billing = funded(PoisonedStore(), 10_000)
    bad, expected = POISON[poison]
    gate = threading.Barrier(51)

    def work(who: int) -> list[Outcome]:
        gate.wait(30)
        if who == 50:
            [outcome] = billing.execute([bad])
            if isinstance(outcome, Exception):
                raise outcome
            return [outcome]
        return [
            billing.deduct("acme", f"{who}-{index}", DIME, resource="tool") for index in range(10)
        ]

    *good, failed = in_threads(51, work)
    assert isinstance(failed, expected)
    assert all(len(outcomes) == 10 for outcomes in good)
    assert billing.balance("acme").balance == usd("950").nanos
    assert billing.verify("acme").ok


def test_an_error_is_each_callers_own() -> None:
    calls: list[int] = []

    def broken(commands: Sequence[Command]) -> list[Outcome]:
        calls.append(len(commands))
        time.sleep(0.005)
        raise StoreError("gone", outcome_unknown=True)

    coalescer = Coalescer(broken, width=1)
    command = Deduct("acme", "k", cost=DIME, resource="tool")
    errors = in_threads(8, lambda _: coalescer.submit([command]))
    assert all(isinstance(error, StoreError) and error.outcome_unknown for error in errors)
    assert len({id(error) for error in errors}) == 8
    # Nobody's command was sent twice: unknown is for the caller to resolve.
    assert sum(calls) == 8


# -- leaders that die -------------------------------------------------------------


class Interrupted(BaseException):
    """Like KeyboardInterrupt, but told apart from a real one."""


def lines_of_the_coalescer() -> list[tuple[str, int]]:
    """Each line of each method, to be interrupted at."""
    lines: set[tuple[str, int]] = set()
    for name, method in inspect.getmembers(Coalescer, inspect.isfunction):
        if name in ("__init__", "_reset"):
            continue
        for _, _, line in method.__code__.co_lines():
            if line is not None and line != method.__code__.co_firstlineno:
                lines.add((name, line))
    return sorted(lines)


@pytest.mark.parametrize(
    "where", lines_of_the_coalescer(), ids=lambda where: f"{where[0]}:{where[1]}"
)
def test_a_caller_interrupted_at_any_line_strands_nobody(where: tuple[str, int]) -> None:
    billing = funded(CountingStore(), 1000)
    hit = threading.Event()
    file = Coalescer.submit.__code__.co_filename

    def tracer(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != file:
            return None
        if event == "line" and (frame.f_code.co_name, frame.f_lineno) == where and not hit.is_set():
            hit.set()
            raise Interrupted
        return tracer

    def work(who: int) -> int:
        if who < 3:
            sys.settrace(tracer)
        try:
            return deduct_many(billing, who, 5)
        finally:
            sys.settrace(None)

    results = in_threads(6, work)
    interrupted = [result for result in results if isinstance(result, Interrupted)]
    assert len(interrupted) == (1 if hit.is_set() else 0)
    assert [result for result in results if not isinstance(result, Interrupted)] == [5] * (
        6 - len(interrupted)
    )
    # Whoever was interrupted resolves it by sending the same again.
    for who in range(6):
        assert deduct_many(billing, who, 5) == 5
    assert billing.balance("acme").balance == usd("97").nanos
    assert billing.verify().ok


def test_a_leader_interrupted_while_it_commits_strands_nobody() -> None:
    """As a signal handler or a killed thread would, from outside and at any moment."""
    billing = funded(CountingStore(), 10_000)

    def work(who: int) -> int:
        return deduct_many(billing, who, 40)

    victims: list[int] = []
    ready = threading.Barrier(9)  # nobody ends before all have begun: idents are used again

    def racer(who: int) -> int:
        if who < 4:
            victims.append(threading.get_ident())
        ready.wait(10)
        return work(who)

    def killer() -> None:
        ready.wait(10)
        for ident in victims:
            time.sleep(0.01)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(ident), ctypes.py_object(Interrupted)
            )

    hunting = threading.Thread(target=killer)
    hunting.start()
    results = in_threads(8, racer)
    hunting.join()
    assert results[4:] == [40] * 4
    for who in range(4):
        assert deduct_many(billing, who, 40) == 40
    assert billing.balance("acme").balance == usd("968").nanos
    assert billing.verify().ok


def test_a_cancelled_task_strands_nobody_and_may_still_have_written() -> None:
    store = CountingStore()
    funded(store, 1000)
    billing = AsyncBilling(store)

    async def race() -> None:
        tasks = [
            asyncio.create_task(billing.deduct("acme", f"t{who}", DIME, resource="tool"))
            for who in range(50)
        ]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for index, result in enumerate(results):
            assert isinstance(result, asyncio.CancelledError if index % 3 == 0 else Charged)
        for who in range(50):
            await billing.deduct("acme", f"t{who}", DIME, resource="tool")

    asyncio.run(asyncio.wait_for(race(), 30))
    assert Billing(store).balance("acme").balance == usd("95").nanos


def test_one_batch_per_org_at_a_time_and_others_do_not_wait() -> None:
    flying: dict[str, int] = {}
    lock = threading.Lock()
    held = threading.Event()
    done_elsewhere = threading.Event()

    def run(commands: Sequence[Command]) -> list[Outcome]:
        orgs = {command.org for command in commands}
        with lock:
            for org in orgs:
                flying[org] = flying.get(org, 0) + 1
                assert flying[org] == 1, "two batches of one org in flight"
        if "stuck" in orgs:
            held.set()
            assert done_elsewhere.wait(30), "another org waited for a stuck one"
        time.sleep(0.001)
        with lock:
            for org in orgs:
                flying[org] -= 1
        return [None] * len(commands)  # type: ignore[list-item]

    coalescer = Coalescer(run, width=4)

    def command(org: str, key: str) -> Command:
        return Deduct(org, key, cost=DIME, resource="tool")

    def work(who: int) -> None:
        if who == 0:
            coalescer.submit([command("stuck", "k")])
            return
        assert held.wait(30)
        for index in range(20):
            coalescer.submit([command(f"org-{(who + index) % 3}", f"{who}-{index}")])

    def watch(who: int) -> None:
        work(who)
        if who == 1:
            done_elsewhere.set()

    assert in_threads(6, watch) == [None] * 6


def test_who_is_alone_keeps_others_from_the_org() -> None:
    inside = threading.Lock()
    met: list[bool] = []

    def run(commands: Sequence[Command]) -> list[Any]:
        first = inside.acquire(blocking=False)
        met.append(not first)
        time.sleep(0.1)  # longer than others wait for a batch that may be quick
        if first:
            inside.release()
        return [None for _ in commands]

    coalescer = Coalescer(run, width=2)
    answers = in_threads(
        3, lambda who: coalescer.submit([Deduct("a", f"{who}", cost=DIME, resource="x")])
    )
    assert answers == [[None]] * 3
    assert not any(met) and len(met) >= 2


def test_what_has_no_room_in_a_batch_keeps_its_place_before_what_comes_later_of_its_org() -> None:
    coalescer = Coalescer(lambda commands: [], width=1)

    def call(org: str, count: int) -> coalescing._Call:
        return coalescing._Call(
            [Submission([Deduct(org, str(n), cost=DIME, resource="x") for n in range(count)])]
        )

    leader, much, later, other = (
        call("a", 1),
        call("b", coalescing._MOST),
        call("b", 1),
        call("c", 1),
    )
    coalescer._waiting.extend([leader, much, later, other])
    coalescer._take(leader)
    assert leader.batch == [leader, other]
    assert list(coalescer._waiting) == [much, later]


@pytest.mark.parametrize(("orgs", "batches"), [(("a", "b"), 2), (("a", "a"), 1)])
def test_one_let_lead_has_one_place_until_it_takes_its_own(
    orgs: tuple[str, str], batches: int
) -> None:
    both_joined, meeting = threading.Event(), threading.Barrier(batches)
    sizes: list[int] = []

    class Slow(Coalescer):
        def _join(self, call: Any) -> None:
            super()._join(call)
            if len(self._waiting) == 2:
                both_joined.set()

        def _lead(self, call: Any) -> None:
            assert both_joined.wait(10)
            time.sleep(0.1)  # long enough for the other to be let lead as well
            super()._lead(call)

    def run(commands: Sequence[Command]) -> list[Any]:
        sizes.append(len(commands))
        meeting.wait(10)
        return [None for _ in commands]

    coalescer = Slow(run, width=2)
    coalescer._expected = 2  # else the first one takes its own as it joins
    answers = in_threads(
        2, lambda who: coalescer.submit([Deduct(orgs[who], f"{who}", cost=DIME, resource="x")])
    )
    assert answers == [[None], [None]]
    assert len(sizes) == batches and sum(sizes) == 2


@pytest.mark.parametrize("lost", [None, 0, 2])
def test_each_wakes_the_next_and_who_does_not_is_made_up_for(
    monkeypatch: pytest.MonkeyPatch, lost: int | None
) -> None:
    joined, sizes = threading.Semaphore(0), list[int]()
    wakers: list[str] = []
    wake = coalescing._Call.wake

    class Counting(Coalescer):
        def _join(self, call: Any) -> None:
            super()._join(call)
            joined.release()

    def run(commands: Sequence[Command]) -> list[Any]:
        sizes.append(len(commands))
        if len(sizes) == 1:
            for _ in range(6):
                assert joined.acquire(timeout=10)
        return [command.key for command in commands]

    def noted(call: Any) -> None:
        if call.done:
            wakers.append(threading.current_thread().name)
            if len(wakers) - 1 == lost:
                return
        wake(call)

    monkeypatch.setattr(coalescing._Call, "wake", noted)
    coalescer = Counting(run, width=1)
    answers = in_threads(
        6, lambda who: coalescer.submit([Deduct("acme", f"{who}", cost=DIME, resource="x")])
    )
    assert answers == [[f"{who}"] for who in range(6)]
    assert sizes == [1, 5]
    assert len(wakers) == len({*wakers}) == 4  # the leader of five wakes one


@pytest.mark.parametrize(("slow", "sizes"), [(1e9, [1, 7]), (0, [1] * 8)])
def test_a_batch_waits_for_one_that_is_quick_and_not_for_one_that_is_slow(
    monkeypatch: pytest.MonkeyPatch, slow: float, sizes: list[int]
) -> None:
    monkeypatch.setattr(coalescing, "SLOW", slow)
    joined, found = threading.Semaphore(0), list[int]()
    meeting = threading.Barrier(len(sizes))

    class Counting(Coalescer):
        def _join(self, call: Any) -> None:
            super()._join(call)
            joined.release()

    def run(commands: Sequence[Command]) -> list[Any]:
        found.append(len(commands))
        if slow and len(found) == 1:
            for _ in range(8):
                assert joined.acquire(timeout=10)
        if not slow:
            meeting.wait(10)
        return [None for _ in commands]

    coalescer = Counting(run, width=8)
    answers = in_threads(
        8, lambda who: coalescer.submit([Deduct(f"org-{who}", "k", cost=DIME, resource="x")])
    )
    assert answers == [[None]] * 8
    assert found == sizes


def test_one_interrupted_at_any_call_harms_nobody(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "b.db", busy_seconds=1) as store:
        billing = funded(store, 100_000)
        billing.deduct("acme", "first", DIME, resource="tool")
        for number in range(10_000):
            key = f"key-{number}"
            with interrupted_at_call(number) as calls:
                billing.deduct("acme", key, DIME, resource="tool")
            [next_one] = in_threads(1, lambda _, key=key: deduct_many(billing, key, 1))
            assert next_one == 1, f"after call {number}: {next_one}"
            if calls[0] <= number:
                break
        assert number > 50
        assert billing.verify().ok


@contextmanager
def interrupted_at_call(number: int) -> Iterator[list[int]]:
    """A KeyboardInterrupt as the ``number``th of our functions is entered; how many were."""
    calls = [0]

    def trace(frame: Any, event: str, arg: object) -> None:
        if event == "call" and "/billing_" in frame.f_code.co_filename:
            calls[0] += 1
            if calls[0] == number + 1:
                sys.settrace(None)
                raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield calls
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)


def test_a_clean_up_after_cancelling_everything_is_not_stranded(tmp_path: Path) -> None:
    """As asyncio.run does in the end: what a task then settles comes after the pump's end."""

    class Slow(SqliteStore):
        delay = 0.0

        def transaction(self) -> Any:
            time.sleep(self.delay)
            return super().transaction()

    async def hold(engine: AsyncBilling) -> None:
        async with await engine.hold("acme", DIME, expires_in=timedelta(minutes=1)):
            await asyncio.sleep(1000)

    async def main(store: Slow) -> list[Any]:
        engine = AsyncBilling(store)
        holds = [asyncio.create_task(hold(engine)) for _ in range(3)]
        await asyncio.sleep(0.1)
        store.delay = 0.3
        other = asyncio.create_task(engine.deduct("acme", "k", DIME, resource="tool"))
        await asyncio.sleep(0.1)
        pumps = asyncio.all_tasks() - {asyncio.current_task(), *holds, other}
        everything = [*holds, other, *pumps]
        for task in everything:
            task.cancel()
        return await asyncio.wait_for(asyncio.gather(*everything, return_exceptions=True), 20)

    with Slow(tmp_path / "b.db") as store:
        funded(store, 10)
        results = asyncio.run(main(store))
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        store.delay = 0
        assert Billing(store).verify().ok


def test_a_pump_that_is_cancelled_before_it_runs_strands_nobody(tmp_path: Path) -> None:
    async def main(store: SqliteStore) -> list[Any]:
        engine = AsyncBilling(store)
        one = asyncio.create_task(engine.deduct("acme", "one", DIME, resource="tool"))
        while engine._loops.get(asyncio.get_running_loop()) is None:
            await asyncio.sleep(0)
        [pump] = asyncio.all_tasks() - {asyncio.current_task(), one}
        pump.cancel()
        two = engine.deduct("acme", "two", DIME, resource="tool")
        return await asyncio.wait_for(asyncio.gather(one, two), 20)

    with SqliteStore(tmp_path / "b.db") as store:
        funded(store, 10)
        assert [charged.amount for charged in asyncio.run(main(store))] == [DIME.nanos] * 2


# -- forks ------------------------------------------------------------------------


def test_a_forked_process_goes_on(tmp_path: Path) -> None:
    """As a pre-forking server does: import, make the engine, use it, fork, use it."""
    with SqliteStore(tmp_path / "b.db") as store:
        billing = funded(store, 1000)
        deduct_many(billing, 99, 5)
        # The worst moment: other threads of the parent hold the engine's locks.
        locks = (billing._coalescer._lock, billing._prices._lock)
        for lock in locks:
            assert lock.acquire(timeout=5)
        try:
            children = [fork(billing, child) for child in range(4)]
        finally:
            for lock in locks:
                lock.release()
        for pid in children:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert deduct_many(billing, 98, 5) == 5
        assert billing.verify().ok
        assert billing.balance("acme").used == usd("5").nanos


def test_a_process_forked_while_the_store_is_in_use_is_told(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "b.db", busy_seconds=0.1) as store:
        billing = funded(store, 10)
        with store._lock:
            pid = fork(billing, 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        assert deduct_many(billing, 2, 5) == 5


def test_what_a_child_commits_outlives_its_parent_s_closing(tmp_path: Path) -> None:
    """SQLite knows a process's own locks by heart, and a fork copies the heart."""
    with SqliteStore(tmp_path / "b.db") as store:
        billing = funded(store, 1000)
        go, gone = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                signal.alarm(20)
                deduct_many(billing, 1, 3)
                os.read(go, 1)
                os._exit(0 if deduct_many(billing, 2, 3) == 3 else 1)
            except BaseException:
                os._exit(2)
    with SqliteStore(tmp_path / "b.db") as other:
        assert Billing(other).balance("acme").granted == usd("100").nanos
    os.write(gone, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(go)
    os.close(gone)
    with SqliteStore(tmp_path / "b.db") as other:
        assert Billing(other).balance("acme").used == usd("0.6").nanos
        assert Billing(other).verify().ok


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # which is the point here
def test_threads_may_fork_at_once(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "b.db") as store:
        billing = funded(store, 1000)
        pids = in_threads(8, lambda number: fork(billing, number))
        for pid in pids:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert deduct_many(billing, 98, 5) == 5
        assert billing.balance("acme").used == usd("8.5").nanos
        assert billing.verify().ok


def fork(billing: Billing, child: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(20)
            os._exit(0 if deduct_many(billing, child, 10) == 10 else 1)
        except StoreError:
            os._exit(3)
        except BaseException:
            os._exit(2)
    return pid


# -- the two engines --------------------------------------------------------------


def test_what_is_awaited_is_the_sync_method_in_name_signature_and_docstring() -> None:
    sync = {name for name in dir(Billing) if not name.startswith("_")}
    both = {name for name in dir(AsyncBilling) if not name.startswith("_")}
    assert sync <= both
    assert both - sync == {"store", "clock", "ids"} - sync
    by_hand = set()
    for name in sorted(both & sync):
        ours, theirs = getattr(Billing, name), getattr(AsyncBilling, name)
        assert theirs.__qualname__ == f"AsyncBilling.{name}"
        mine, yours = inspect.signature(ours), inspect.signature(theirs)
        assert list(mine.parameters.values()) == list(yours.parameters.values()), name
        assert asynchronous(str(mine.return_annotation)) == str(yours.return_annotation), name
        if getattr(theirs, "__wrapped__", None) is ours:
            assert theirs.__doc__ == ours.__doc__
            assert inspect.iscoroutinefunction(theirs)
        else:
            by_hand.add(name)
    assert by_hand == {"execute", "execute_many", "orgs", "within"}
    assert inspect.signature(Billing).parameters == inspect.signature(AsyncBilling).parameters


def asynchronous(annotation: str) -> str:
    for ours in ("Billing", "Iterator"):
        annotation = annotation.replace(ours, f"Async{ours}")
    return annotation.replace("OpenHold", "AsyncHold")


def test_an_async_hold_settles_what_was_reported() -> None:
    async def use() -> None:
        clock = SettableClock(NOW)
        billing = AsyncBilling(MemoryStore(), clock=clock)
        price = Price(Flat.of("0.01"), unit="call")
        await billing.publish(PriceBook("v", NOW, {"tool": {"call": price}}))
        await billing.open_account("acme")
        await billing.grant("acme", "g", usd("1"))
        call = Usage.of("tool", {"call": 1})
        hold = await billing.hold("acme", call, expires_in=timedelta(minutes=1), key="h")
        async with hold:
            hold.report(call)
            hold.report(Usage.of("tool", {"call": 2}))
        assert [charge.amount for charge in hold.charges] == [10_000_000, 20_000_000]
        with pytest.raises(KeyError):
            async with await billing.hold("acme", call, expires_in=timedelta(minutes=1), key="i"):
                raise KeyError
        assert (await billing.balance("acme")).held == 0
        outcomes = [
            outcome
            async for outcome in billing.execute_many(
                (Settle("acme", f"s{n}", usage=call) for n in range(25)), batch=10
            )
        ]
        assert len(outcomes) == 25
        with pytest.raises(InvalidCommand, match="commands, such as"):
            [each async for each in billing.execute_many(None)]  # type: ignore[arg-type]
        assert (await billing.verify()).ok

    asyncio.run(use())


def test_execute_many_streams() -> None:
    billing = funded(MemoryStore(), 1000)
    asked: list[int] = []

    def commands() -> Iterator[Command]:
        for index in range(95):
            asked.append(index)
            yield Deduct("acme", f"k{index}", cost=DIME, resource="tool")

    outcomes = billing.execute_many(commands(), batch=10)
    assert not asked
    assert isinstance(next(outcomes), Charged)
    assert len(asked) == 10
    assert len(list(outcomes)) == 94


def test_a_part_is_done_or_says_why() -> None:
    part = Submission([])
    part.error = StoreError("no", retryable=True)
    with pytest.raises(StoreError) as caught:
        part.result()
    assert caught.value.retryable
    assert caught.value is not part.error
