"""Orgs to charge, each in a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random

from benchmarks.harness import say
from billing_adapters.sqlite import SqliteStore
from billing_core import (
    Billing,
    Command,
    Deduct,
    Flat,
    Price,
    PriceBook,
    Settle,
    model,
    tokens,
    usd,
)

__all__ = ["AMOUNT", "CACHED_CALL", "CALL", "Org", "opened"]

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
AMOUNT = usd("0.001")
MOST = tokens("m", input=1020, output=1000)
CALL = tokens("m", input=1020, output=129)
CACHED_CALL = tokens("m", input=1020, output=129, cached_read=20, input_includes_cached=True)


class Org:
    """The org ``acme``, with an account and no credit yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteStore(path)
        self.billing = Billing(self.store)
        self.billing.publish(BOOK)
        self.billing.open_account("acme")
        self._numbers = count(1)
        self._random = Random(1)

    def credit(self) -> None:
        """More than any benchmark spends."""
        self.billing.grant("acme", "credit", usd("1000000"))

    def ordered_key(self) -> str:
        return f"key-{next(self._numbers):09}"

    def random_key(self) -> str:
        """One in no order, as UUIDs come."""
        return f"{self._random.getrandbits(128):032x}"

    def deduct(self) -> None:
        self.billing.deduct("acme", self.ordered_key(), AMOUNT, resource="tool")

    def deducts(self, times: int) -> None:
        for _ in range(times):
            self.deduct()

    def settles(self, times: int) -> None:
        for _ in range(times):
            self.billing.settle("acme", self.ordered_key(), CALL)

    def holds_and_settles(self, times: int) -> None:
        """Two commits each."""
        expires_in = timedelta(minutes=10)
        for _ in range(times):
            with self.billing.hold(
                "acme", MOST, expires_in=expires_in, key=self.ordered_key()
            ) as hold:
                hold.report(CALL)

    def deduct_batch(self, size: int) -> None:
        """One commit."""
        self.billing.execute(
            [Deduct("acme", self.ordered_key(), cost=AMOUNT, resource="tool") for _ in range(size)]
        )

    def settle_batch(self, size: int) -> None:
        """One commit, of settlements of three components."""
        self.billing.execute(
            [Settle("acme", self.ordered_key(), usage=CACHED_CALL) for _ in range(size)]
        )

    def charges(self, number: int, key: Callable[[], str]) -> None:
        """A history."""
        say(f"filling {number:,} charges")
        commands: Iterator[Command] = (Settle("acme", key(), usage=CALL) for _ in range(number))
        for _ in self.billing.execute_many(commands):
            pass


@contextmanager
def opened(path: Path) -> Iterator[Org]:
    """An org for a ``with`` statement, which verifies its ledger in the end."""
    org = Org(path)
    try:
        yield org
        say("verifying")
        assert org.billing.verify().ok
    finally:
        org.store.close()
