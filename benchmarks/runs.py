"""Sandbox runs: a heartbeat beside a settlement, and sweeps beside the number of runs."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count

from benchmarks.harness import Subject, interleave, place, say
from benchmarks.orgs import Org, opened
from benchmarks.report import report
from billing_core import Flat, Heartbeat, Price, PriceBook, StartRun, sandbox

BOX = sandbox("box", {"second": 1})
STALE = 10
_BOOK = PriceBook(
    "boxes",
    datetime(2026, 1, 1, tzinfo=UTC),
    {"sandbox:box": {"second": Price(Flat.of("0.0001", 1_000_000), unit="microsecond")}},
)
_numbers = count(1)


def start(org: Org, runs: int, at: datetime) -> None:
    """So many runs, seen last at a time."""
    commands = (
        StartRun("acme", f"run-{next(_numbers)}", spec=BOX, occurred_at=at) for _ in range(runs)
    )
    for _ in org.billing.execute_many(commands):
        pass


def beats(org: Org, times: int) -> None:
    for number in range(times):
        key = org.ordered_key()
        org.billing.execute([Heartbeat("acme", key, run=f"beaten-{number % 10}")])


def grow_stale(org: Org) -> None:
    start(org, STALE, datetime.now(UTC) - timedelta(hours=1))


def sweep(org: Org, times: int) -> None:
    for _ in range(times):
        swept = org.billing.sweep_runs(idle_for=timedelta(minutes=50))
        assert len(swept) == STALE


def run(*, smoke: bool) -> None:
    few, many = (10, 500) if smoke else (1_000, 100_000)
    rounds, times = (3, 5) if smoke else (31, 50)
    with place() as directory, ExitStack() as stack:
        orgs = [stack.enter_context(opened(directory / f"{number}.db")) for number in range(2)]
        for org, runs in zip(orgs, (few, many), strict=True):
            org.credit()
            org.billing.publish(_BOOK)
            say(f"starting {runs:,} runs")
            start(org, runs, datetime.now(UTC))
        small = orgs[0]
        for number in range(10):
            small.billing.start_run("acme", f"beaten-{number}", BOX)
        subjects = [
            Subject("settlement", small.settles, times, small.path),
            Subject("heartbeat", partial(beats, small), times, small.path),
        ]
        results = interleave(subjects, rounds=rounds, warm=not smoke)
        report("A heartbeat beside the settlement of a model call, one commit each", results)
        sweeps = [
            Subject(
                f"of {runs:,} runs", partial(sweep, org), 1, org.path,
                prepare=partial(grow_stale, org),
            )
            for org, runs in zip(orgs, (few, many), strict=True)
        ]  # fmt: skip
        results = interleave(sweeps, rounds=rounds, warm=False)
        report(f"A sweep that finds {STALE} stale runs", results)
