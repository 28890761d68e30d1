"""Cost does not grow with history: a settlement on a fresh org beside old ones."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.harness import Subject, interleave, place
from benchmarks.orgs import Org, opened
from benchmarks.report import report
from billing_core import Deduct, Grant, usd


def exhausted_lots(org: Org, number: int) -> None:
    """Credit in lots, each of which is used up before the next comes."""
    for first in range(0, number, 500):
        batch: list[Grant | Deduct] = []
        for index in range(first, min(first + 500, number)):
            batch.append(Grant("acme", f"small-{index}", amount=usd("0.01")))
            batch.append(Deduct("acme", f"all-{index}", cost=usd("0.01"), resource="tool"))
        org.billing.execute(batch)


def run(*, smoke: bool) -> None:
    many, lots = (2_000, 100) if smoke else (100_000, 2_000)
    rounds, times = (9, 5) if smoke else (101, 20)
    with place() as directory, ExitStack() as stack:
        orgs = [stack.enter_context(opened(directory / f"{number}.db")) for number in range(4)]
        _, charged, keyed, exhausted = orgs
        exhausted_lots(exhausted, lots)
        for org in orgs:
            org.credit()
        charged.charges(many, charged.ordered_key)
        keyed.charges(many, keyed.random_key)
        names = [
            "fresh org",
            f"{many:,} charges on one lot",
            f"{many:,} random keys",
            f"{lots:,} exhausted lots",
        ]
        subjects = [
            Subject(name, org.settles, times, org.path)
            for name, org in zip(names, orgs, strict=True)
        ]
        results = interleave(subjects, rounds=rounds, warm=not smoke)
        report("A settlement of a model call, one commit each", results)
