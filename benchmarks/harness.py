"""Interleaved timing."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field, frozen

__all__ = ["Bar", "Result", "Subject", "interleave", "place", "quartiles", "say"]


@frozen
class Bar:
    """What is asked of a subject: ``least`` times the floor's rate, and that 99 of 100 calls
    wait for less than ``p99`` milliseconds.  ``aim`` is what is hoped for, in words."""

    least: float
    p99: float | None = None
    aim: str = ""


@frozen
class Subject:
    """Something to time: ``run(n)`` does it ``n`` times, of which a round has ``times``.

    ``database``: the file that it writes to.  ``prepare``: done before each round, untimed.
    ``waits``: where ``run`` appends the seconds that each call waited.
    """

    name: str
    run: Callable[[int], object]
    times: int
    database: Path
    bar: Bar | None = None
    prepare: Callable[[], object] | None = None
    waits: list[float] | None = None


@define
class Result:
    """Microseconds per operation in each round: wall time, and the CPU time of all threads."""

    subject: Subject
    wall: list[float] = field(factory=list)
    cpu: list[float] = field(factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    def ratios(self, floor: Result) -> list[float]:
        """The floor's time over this one's: each round's own."""
        return [theirs / ours for theirs, ours in zip(floor.wall, self.wall, strict=True)]


def quartiles(values: Sequence[float]) -> list[float]:
    return statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3


def interleave(subjects: Sequence[Subject], *, rounds: int, warm: bool) -> list[Result]:
    """Time the subjects in turn, so that a drift of the machine's speed meets all of them
    alike.  Every second round goes backwards, unless one prepares by what the others did.

    ``warm``: uncounted rounds come first, until every write-ahead log has begun anew. While
    it still grows, each commit also pays for the growth of the file.
    """
    if warm:
        began = {subject.database: _log_number(subject.database) for subject in subjects}
        while any(_log_number(path) == number for path, number in began.items()):
            for subject in subjects:
                _timed(subject)
    for subject in subjects:
        if subject.waits is not None:
            subject.waits.clear()
    results = [Result(subject) for subject in subjects]
    one_way = any(subject.prepare is not None for subject in subjects)
    for number in range(rounds):
        for result in results if one_way or number % 2 == 0 else reversed(results):
            wall, cpu = _timed(result.subject)
            result.wall.append(wall)
            result.cpu.append(cpu)
    return results


def _timed(subject: Subject) -> tuple[float, float]:
    """A round's microseconds per operation: wall, CPU."""
    if subject.prepare is not None:
        subject.prepare()
    cpu, wall = time.process_time(), time.perf_counter()
    subject.run(subject.times)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall / subject.times * 1e6, cpu / subject.times * 1e6


def _log_number(database: Path) -> int:
    """How often the database's write-ahead log has begun anew: its header counts that."""
    with Path(f"{database}-wal").open("rb") as log:
        return int.from_bytes(log.read(16)[12:], "big")


@contextmanager
def place() -> Iterator[Path]:
    """A directory for database files, on the disk where temporary files go."""
    with TemporaryDirectory(prefix="billing-bench-") as name:
        yield Path(name)


def say(text: str) -> None:
    """What takes long, to whoever watches."""
    print(f"  {text}…", file=sys.stderr, flush=True)
