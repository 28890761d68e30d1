"""One caller, one commit after another."""

from __future__ import annotations

from contextlib import closing

from benchmarks.floors import Floor
from benchmarks.harness import Bar, Subject, interleave, place
from benchmarks.orgs import opened
from benchmarks.report import report


def run(*, smoke: bool) -> None:
    rounds, times = (3, 20) if smoke else (21, 200)
    with (
        place() as directory,
        closing(Floor(directory / "floor.db")) as floor,
        opened(directory / "engine.db") as org,
    ):
        org.credit()
        subjects = [
            Subject("floor: update + insert", floor.charges, times, directory / "floor.db"),
            Subject("deduct", org.deducts, times, org.path, Bar(0.60)),
            Subject(
                "hold, then settle (two commits)",
                org.holds_and_settles,
                times,
                org.path,
                Bar(0.28, aim="33%"),
            ),
        ]
        results = interleave(subjects, rounds=rounds, warm=not smoke)
        report("One caller, one commit after another", results, results[0])
