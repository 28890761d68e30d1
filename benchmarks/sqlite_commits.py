"""One commit at a time, and batches, beside the bare driver."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from benchmarks.growth import BOOK
from benchmarks.harness import Floor, Subject, interleave, place, report
from billing_adapters.sqlite import SqliteStore
from billing_core import Billing, Command, Deduct, Settle, tokens, usd

AMOUNT = usd("0.001")


class Engine:
    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path)
        self.billing = Billing(self.store)
        self.billing.publish(BOOK)
        self.billing.open_account("acme")
        self.billing.grant("acme", "credit", usd("1000000"))
        self.count = 0

    def key(self) -> str:
        self.count += 1
        return f"key-{self.count:09}"

    def deduct(self, times: int) -> None:
        for _ in range(times):
            self.billing.deduct("acme", self.key(), AMOUNT, resource="tool")

    def hold_and_settle(self, times: int) -> None:
        for _ in range(times):
            with self.billing.hold(
                "acme",
                tokens("m", input=1020, output=1000),
                life=timedelta(minutes=10),
                key=self.key(),
            ) as hold:
                hold.report(tokens("m", input=1020, output=129))

    def deducts(self, times: int) -> None:
        self._batches(times, lambda: Deduct("acme", self.key(), cost=AMOUNT, resource="tool"))

    def settles(self, times: int) -> None:
        def settle() -> Settle:
            usage = tokens("m", input=1020, output=129, cached_read=20, input_includes_cached=True)
            return Settle("acme", self.key(), usage=usage)

        self._batches(times, settle)

    def _batches(self, times: int, make) -> None:  # type: ignore[no-untyped-def]
        for first in range(0, times, 1000):
            batch: list[Command] = [make() for _ in range(first, min(first + 1000, times))]
            self.billing.execute(batch)


def run(*, smoke: bool) -> None:
    rounds, times = (3, 20) if smoke else (21, 200)
    with place() as directory:
        floor = Floor(directory / "floor.db")
        engine = Engine(directory / "engine.db")
        subjects = [
            Subject("floor: update + insert", floor.charge),
            Subject("deduct", engine.deduct),
            Subject("hold, then settle", engine.hold_and_settle),
        ]
        results = interleave(subjects, rounds=rounds, times=times, warm=20 if smoke else 3000)
        report("SQLite, one after another, each committed", results, results[0])
        subjects = [
            Subject("deduct", engine.deducts),
            Subject("settle, three components", engine.settles),
        ]
        results = interleave(subjects, rounds=rounds, times=1000, warm=0 if smoke else 10_000)
        report("SQLite, batches of 1,000 (µs per command)", results)
        assert engine.billing.verify().ok
