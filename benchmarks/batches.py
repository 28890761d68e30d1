"""Batches of 1,000 commands, a commit each, beside ``executemany`` of the same rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing

from benchmarks.floors import Copy, Floor
from benchmarks.harness import Bar, Result, Subject, interleave, place
from benchmarks.orgs import Org, opened
from benchmarks.report import ratio, report

SIZE = 1000


def run(*, smoke: bool) -> None:
    rows, bare, _, engine = timed("deduct", Org.deduct_batch, Bar(0.30, aim="60,000/s"), smoke)
    report("Batches of 1,000 deducts", [rows, bare, engine], rows)
    print(f"    deduct, of the rate without triggers: {ratio(engine, bare)}")

    # 25,000 a second where the floor commits 6,000.
    rows, bare, floor, engine = timed("settle", Org.settle_batch, Bar(25 / 6), smoke)
    report("Batches of 1,000 settlements of three components", [floor, rows, bare, engine], floor)
    print(f"    settle, of executemany's rate: {ratio(engine, rows)}")
    print(f"    settle, of the rate without triggers: {ratio(engine, bare)}")


def timed(name: str, write: Callable[[Org, int], None], bar: Bar, smoke: bool) -> list[Result]:
    """Two ``executemany`` that follow an engine, with and without triggers;
    the floor's single commits; the engine."""
    rounds, commits = (3, 20) if smoke else (21, 200)
    with ExitStack() as stack:
        directory = stack.enter_context(place())
        paths = [directory / f"{number}.db" for number in range(3)]
        floor = stack.enter_context(closing(Floor(paths[0])))
        org = stack.enter_context(opened(directory / "engine.db"))
        org.credit()
        write(org, SIZE)
        rows = stack.enter_context(closing(Copy(org.store, paths[1])))
        bare = stack.enter_context(closing(Copy(org.store, paths[2], unguarded=True)))
        engine, *rest = interleave(
            [
                Subject(name, lambda size: write(org, size), SIZE, org.path, bar),
                Subject(
                    "executemany, same rows and tables",
                    rows.write,
                    SIZE,
                    paths[1],
                    prepare=rows.read,
                ),
                Subject(
                    "same, no triggers",
                    bare.write,
                    SIZE,
                    paths[2],
                    prepare=bare.read,
                ),
                Subject("floor: update + insert, committed", floor.charges, commits, paths[0]),
            ],
            rounds=rounds,
            warm=not smoke,
        )
        assert rows.read() == bare.read() == 0, "a copy has not followed the engine"
        return [*rest, engine]
