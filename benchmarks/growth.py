"""Cost does not grow with history: a settlement on a fresh org beside old ones."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from benchmarks.harness import Subject, interleave, place, report
from billing_adapters.sqlite import SqliteStore
from billing_core import Billing, Deduct, Flat, Grant, Price, PriceBook, Settle, model, tokens, usd

BOOK = PriceBook(
    "bench",
    datetime(2026, 1, 1, tzinfo=UTC),
    {
        model("m"): {
            "input": Price(Flat.of("0.0753", 1_000_000)),
            "output": Price(Flat.of("0.3011", 1_000_000)),
            "cached_read": Price(Flat.of("0.01", 1_000_000)),
        }
    },
)
USAGE = tokens("m", input=1020, output=129)


class Org:
    """An org in a database of its own, with a history."""

    def __init__(self, path: Path) -> None:
        self.billing = Billing(SqliteStore(path))
        self.billing.publish(BOOK)
        self.billing.open_account("acme")
        self.count = 0

    def credit(self) -> None:
        self.billing.grant("acme", "credit", usd("1000000"))

    def charges(self, number: int) -> None:
        """Charges on one lot, with keys in order."""
        self._batches(number, lambda index: f"old-{index:09}")

    def random_keys(self, number: int) -> None:
        """Charges whose keys come in random order, as UUIDs do."""
        self._batches(number, lambda _: str(uuid4()))

    def _batches(self, number: int, key) -> None:  # type: ignore[no-untyped-def]
        for first in range(0, number, 1000):
            batch = [
                Settle("acme", key(index), usage=USAGE)
                for index in range(first, min(first + 1000, number))
            ]
            self.billing.execute(batch)

    def exhausted_lots(self, number: int) -> None:
        for first in range(0, number, 500):
            batch: list[Grant | Deduct] = []
            for index in range(first, min(first + 500, number)):
                batch.append(Grant("acme", f"small-{index}", amount=usd("0.01")))
                batch.append(Deduct("acme", f"all-{index}", cost=usd("0.01"), resource="tool"))
            self.billing.execute(batch)

    def settle(self, times: int) -> None:
        for _ in range(times):
            self.count += 1
            self.billing.settle("acme", f"new-{self.count:09}", USAGE)


def run(*, smoke: bool) -> None:
    many = 2_000 if smoke else 100_000
    lots = 100 if smoke else 2_000
    with place() as directory:
        fresh, charged, keyed, exhausted = (Org(directory / f"{n}.db") for n in range(4))
        exhausted.exhausted_lots(lots)
        for org in (fresh, charged, keyed, exhausted):
            org.credit()
        charged.charges(many)
        keyed.random_keys(many)
        subjects = [
            Subject("fresh org", fresh.settle),
            Subject(f"{many:,} charges on one lot", charged.settle),
            Subject(f"{many:,} random keys", keyed.settle),
            Subject(f"{lots:,} exhausted lots", exhausted.settle),
        ]
        results = interleave(
            subjects,
            rounds=9 if smoke else 101,
            times=5 if smoke else 20,
            warm=20 if smoke else 600,
        )
        report("A settlement of a model call, one commit each", results)
        for org in (fresh, charged, keyed, exhausted):
            assert org.billing.verify().ok
