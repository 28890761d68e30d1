"""Interleaved timing, and the floor: what the bare driver takes for the same durable writes."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field, frozen

__all__ = ["Floor", "Result", "Subject", "interleave", "place", "report"]


@frozen
class Subject:
    """Something to time.  ``run(n)`` does it ``n`` times."""

    name: str
    run: Callable[[int], object]


@define
class Result:
    """Microseconds per operation in each round: wall time, and the process's CPU time."""

    name: str
    wall: list[float] = field(factory=list)
    cpu: list[float] = field(factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    def ratio(self, floor: Result) -> float:
        """The floor's time over this one's, as the median of the rounds' own ratios."""
        pairs = zip(floor.wall, self.wall, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)


def interleave(
    subjects: Sequence[Subject], *, rounds: int, times: int, warm: int = 0
) -> list[Result]:
    """Time the subjects in turn, A B A B …, ``times`` operations a round, so that a drift of
    the machine's speed meets all of them alike.  ``warm`` operations come first, uncounted."""
    if warm:
        for subject in subjects:
            subject.run(warm)
    results = [Result(subject.name) for subject in subjects]
    for number in range(rounds):
        order = range(len(subjects))
        for index in order if number % 2 == 0 else reversed(order):
            cpu, wall = time.process_time(), time.perf_counter()
            subjects[index].run(times)
            results[index].wall.append((time.perf_counter() - wall) / times * 1e6)
            results[index].cpu.append((time.process_time() - cpu) / times * 1e6)
    return results


def report(title: str, results: Sequence[Result], floor: Result | None = None) -> None:
    """Print medians, spread, CPU, and ratios to the floor (or to the first, as a cost)."""
    print(f"\n{title}")
    print(f"  {'':34} {'median µs':>10} {'quartiles':>17} {'CPU µs':>8}  ratio")
    for result in results:
        low, _, high = (
            statistics.quantiles(result.wall, n=4) if len(result.wall) > 1 else [result.median] * 3
        )
        if floor is not None:
            ratio = "floor" if result is floor else f"{result.ratio(floor):.0%} of the floor's rate"
        elif result is results[0]:
            ratio = "1"
        else:
            ratio = f"{1 / result.ratio(results[0]):.2f}× the first's time"
        print(
            f"  {result.name:34} {result.median:10.1f} {low:8.1f}–{high:8.1f}"
            f" {statistics.median(result.cpu):8.1f}  {ratio}"
        )


@contextmanager
def place():  # type: ignore[no-untyped-def]
    """A directory for database files, on the disk where temporary files go."""
    with TemporaryDirectory(prefix="billing-bench-") as name:
        yield Path(name)


class Floor:
    """Bare ``sqlite3``, WAL and ``synchronous=FULL``: a guarded update and an insert."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER)")
        self.db.execute("CREATE TABLE charges (id INTEGER PRIMARY KEY, account INTEGER, key TEXT)")
        self.db.execute("INSERT INTO accounts VALUES (1, 1000000000000)")
        self.count = 0

    def charge(self, times: int) -> None:
        """``times`` commits."""
        execute = self.db.execute
        for _ in range(times):
            self.count += 1
            execute("BEGIN IMMEDIATE")
            execute("UPDATE accounts SET balance = balance - 1 WHERE id = 1 AND balance >= 1")
            execute(
                "INSERT INTO charges (account, key) VALUES (1, ?)", (f"charge-{self.count:09}",)
            )
            execute("COMMIT")
