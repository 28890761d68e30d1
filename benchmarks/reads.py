"""What customers read: as dear over a million records of usage as over ten thousand?"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.harness import Subject, interleave, place, say
from benchmarks.postgres import served
from benchmarks.report import report
from billing_adapters.postgres import PostgresStore
from billing_adapters.sqlite import SqliteStore
from billing_core import Billing, Flat, Price, PriceBook, Settle, Usage, model, tokens, usd
from billing_core.ports.store import Store
from billing_core.testing import SettableClock

MODELS = ("small", "large", "mini")
MEMBERS = 50
START = datetime(2026, 3, 1, tzinfo=UTC)
# At no round hour: both edges of a window have hours and raw records.
NOW = START + timedelta(days=40, hours=12, minutes=29, seconds=40)
MICROSECOND = timedelta(microseconds=1)


def used(records: int) -> Iterator[Settle]:
    """Calls of three models and a tool by 50 members, evenly over 40 days and a half."""
    chance = random.Random(1)
    span = (NOW - START) // MICROSECOND
    for number in range(records):
        if chance.random() < 0.8:
            name = chance.choice(MODELS)
            usage = tokens(name, input=chance.randrange(1, 4000), output=chance.randrange(1, 400))
        else:
            usage = Usage.of("tool:search", {"call": 1})
        yield Settle(
            "acme",
            f"req-{number}",
            usage=usage,
            member=f"member-{chance.randrange(MEMBERS)}",
            at=START + span * number // records * MICROSECOND,
        )


def filled(store: Store, records: int) -> Billing:
    """An org that has used so much."""
    billing = Billing(store, clock=SettableClock(NOW))
    price = Price(Flat.of("0.15", 1_000_000))
    prices = {model(name): {"input": price, "output": price} for name in MODELS}
    prices["tool:search"] = {"call": Price(Flat.of("0.001"), unit="call")}
    billing.publish(PriceBook("v1", START, prices))
    billing.open_account("acme", at=START)
    billing.grant("acme", "order", usd(1_000_000), at=START)
    say(f"{records:,} settlements")
    for _ in billing.execute_many(used(records)):
        pass
    return billing


def run(*, smoke: bool) -> None:
    few, many = (500, 2_000) if smoke else (10_000, 1_000_000)
    reads: dict[str, Callable[[Billing], object]] = {}
    for period in ("current", "7d", "30d", "all_time"):
        reads[f"usage {period}, all members"] = lambda b, p=period: b.usage("acme", p)
        reads[f"usage {period}, one member"] = lambda b, p=period: b.usage(
            "acme", p, member="member-7"
        )
    reads["a page of history"] = lambda b: b.history("acme")
    reads["the last top-ups"] = lambda b: b.history("acme", types=["topup"])
    reads["explain"] = lambda b: b.explain("acme", b.history("acme", limit=1)[0].seq // 2)
    with place() as directory, ExitStack() as stack:
        files: list[Org] = []
        for records in (few, many):
            path = directory / f"{records}.db"
            store = stack.enter_context(SqliteStore(path))
            files.append((records, path, filled(store, records)))
        compare("SQLite", files, reads)
    with served() as server, ExitStack() as stack:
        schemas: list[Org] = []
        for records in (few, many):
            made = PostgresStore(server.dsn(), schema=f"reads_{records}")
            made.migrate()
            schemas.append((records, Path(), filled(stack.enter_context(made), records)))
        compare("PostgreSQL", schemas, reads)


Org = tuple[int, Path, Billing]


def compare(
    name: str, orgs: Sequence[Org], reads: Mapping[str, Callable[[Billing], object]]
) -> None:
    for title, read in reads.items():
        subjects = [
            Subject(f"{records:,} records", _times(read, billing), 1, path)
            for records, path, billing in orgs
        ]
        report(f"{name}: {title}", interleave(subjects, rounds=9, warm=False))


def _times(read: Callable[[Billing], object], billing: Billing) -> Callable[[int], object]:
    def run(times: int) -> None:
        for _ in range(times):
            read(billing)

    return run
