"""One hot org: threads that each call, wait for the answer and call again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from time import perf_counter

from benchmarks.floors import Floor
from benchmarks.harness import Bar, Subject, interleave, place
from benchmarks.orgs import opened
from benchmarks.report import report


class Callers:
    """A thread for each call."""

    def __init__(self, calls: Sequence[Callable[[], object]]) -> None:
        self.waits: list[float] = []
        self._calls = calls
        self._pool = ThreadPoolExecutor(len(calls))

    def run(self, times: int) -> None:
        """``times`` calls, by whichever thread is free."""
        turns = iter(range(times))
        for thread in [self._pool.submit(self._take, turns, call) for call in self._calls]:
            thread.result()

    def _take(self, turns: Iterator[int], call: Callable[[], object]) -> None:
        for _ in turns:
            began = perf_counter()
            call()
            self.waits.append(perf_counter() - began)


def run(*, smoke: bool) -> None:
    rounds, times = (3, 64) if smoke else (21, 640)
    with place() as directory, ExitStack() as stack:
        lone, shared = directory / "floor.db", directory / "rivals.db"
        floor = stack.enter_context(closing(Floor(lone)))
        rivals = [stack.enter_context(closing(Floor(shared))) for _ in range(8)]
        org = stack.enter_context(opened(directory / "engine.db"))
        org.credit()
        crowd = Callers([rival.charge for rival in rivals])
        eight, many = Callers([org.deduct] * 8), Callers([org.deduct] * 32)
        subjects = [
            Subject("floor: update + insert, one caller", floor.charges, times, lone),
            Subject(
                "deduct, 8 threads", eight.run, times, org.path, Bar(1.5, 10), waits=eight.waits
            ),
            Subject("deduct, 32 threads", many.run, times, org.path, Bar(2.2), waits=many.waits),
            Subject("the floor's, 8 connections", crowd.run, times, shared, waits=crowd.waits),
        ]
        results = interleave(subjects, rounds=rounds, warm=not smoke)
        report("One hot org, threads", results, results[0])
