"""One hot org: 256 asyncio tasks that each call, wait for the answer and call again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from time import perf_counter

from benchmarks.floors import Floor
from benchmarks.harness import Bar, Subject, interleave, place
from benchmarks.orgs import AMOUNT, CACHED_CALL, Org, opened
from benchmarks.report import report
from billing_core import AsyncBilling

TASKS = 256


class Tasks:
    """All of them make the same call."""

    def __init__(self, runner: asyncio.Runner, call: Callable[[], Awaitable[object]]) -> None:
        self.waits: list[float] = []
        self._runner = runner
        self._call = call

    def run(self, times: int) -> None:
        """``times`` calls, by whichever task is free."""
        self._runner.run(self._all(iter(range(times))))

    async def _all(self, turns: Iterator[int]) -> None:
        await asyncio.gather(*(self._take(turns) for _ in range(TASKS)))

    async def _take(self, turns: Iterator[int]) -> None:
        for _ in turns:
            began = perf_counter()
            await self._call()
            self.waits.append(perf_counter() - began)


def run(*, smoke: bool) -> None:
    rounds, commits, times = (3, 20, TASKS) if smoke else (15, 500, TASKS * 20)
    history = 2_000 if smoke else 100_000
    with (
        place() as directory,
        asyncio.Runner() as runner,
        closing(Floor(directory / "floor.db")) as floor,
        opened(directory / "ordered.db") as ordered,
        opened(directory / "random.db") as keyed,
    ):
        ordered.credit()
        keyed.credit()
        keyed.charges(history, keyed.random_key)
        steady, random = AsyncBilling(ordered.store), AsyncBilling(keyed.store)

        def subject(
            name: str, org: Org, least: float, call: Callable[[], Awaitable[object]]
        ) -> Subject:
            tasks = Tasks(runner, call)
            return Subject(name, tasks.run, times, org.path, Bar(least), waits=tasks.waits)

        subjects = [
            Subject(
                "floor: update + insert, one caller", floor.charges, commits, directory / "floor.db"
            ),
            subject(
                "deduct, ordered keys",
                ordered,
                6,
                lambda: steady.deduct("acme", ordered.ordered_key(), AMOUNT, resource="tool"),
            ),
            subject(
                f"deduct, random keys on {history:,}",
                keyed,
                3.5,
                lambda: random.deduct("acme", keyed.random_key(), AMOUNT, resource="tool"),
            ),
            subject(
                "settle, three components",
                ordered,
                4,
                lambda: steady.settle("acme", ordered.ordered_key(), CACHED_CALL),
            ),
        ]
        results = interleave(subjects, rounds=rounds, warm=not smoke)
        report(f"One hot org, {TASKS} tasks", results, results[0])
