"""A life in which every operation happens, at fixed times and with fixed ids, and what it left:
`fixtures/golden.jsonl` has each entry to the byte, `golden.sqlite.sql` and `golden.postgres.sql`
the databases, with holds, runs, attempts and refunds open in them. `golden_requests.jsonl` has
those of another life, in which prices depend on the request.

    python tests/support/golden.py

writes the four anew. What is stored never changes: they may grow, by a life that goes on at its
end, and no line of theirs may differ.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from full_database import BOX, DAY, HOUR, MINUTE, furnish
from postgres_servers import DisposableStore, fresh_database

from billing_adapters.postgres import PostgresStore
from billing_adapters.postgres.schema import quoted
from billing_adapters.sqlite import SqliteStore
from billing_core import (
    Billing,
    Command,
    Fact,
    FactIs,
    Flat,
    Hours,
    Money,
    Multiplier,
    Plan,
    Price,
    PriceBook,
    Quota,
    SizeAbove,
    Usage,
    Variant,
    sandbox,
    usd,
)
from billing_core.ports.store import Store
from billing_core.testing import CountingIds, MemoryStore, SettableClock

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
ONE = Usage.of("x", {"unit": 1})
ENTRIES = FIXTURES / "golden.jsonl"
REQUESTS = FIXTURES / "golden_requests.jsonl"
SQLITE = FIXTURES / "golden.sqlite.sql"
POSTGRES = FIXTURES / "golden.postgres.sql"


class Recorded(Billing):
    """Remembers every batch that it was told to execute."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.batches: list[list[Command]] = []

    def execute(self, commands):
        batch = list(commands)
        self.batches.append(batch)
        return super().execute(batch)

    def _finish(self, parts):
        self.batches += [list(part.commands) for part in parts]
        super()._finish(parts)


def live(store: Store) -> Recorded:
    """The whole life."""
    billing = furnish(store, Recorded)
    assert isinstance(billing, Recorded)
    clock = billing.clock

    billing.extend("acme", "e1", hold="h-plain", expires_in=70 * DAY, add=Money(3, "USD"))
    wrong = billing.settle("acme", "s7", ONE, member="ann")
    billing.reverse("acme", "undo", charge=wrong.seq, undo_usage=True, reason="it failed")
    item = Usage.of("run", {"second": 7}, item="i2")
    billing.settle("acme", "s8", item, member="bob", reference="ref")
    billing.settle(
        "acme", "s9", Usage.of("nobody knows", {"unit": 1}), occurred_at=clock.now - HOUR
    )

    billing.start_run("acme", "r-undone", BOX, member="ann")
    billing.start_run("acme", "r-later", BOX, project="p")
    clock.advance(3 * MINUTE)
    billing.stop_run("acme", "r-undone")
    billing.forgive_run("acme", "f2", "r-undone", reason="slow", amount=Money(5, "USD"))
    billing.forgive_run("acme", "f3", "r-undone", reason="slower")
    billing.undo_forgiveness("acme", "f4", "r-undone")
    billing.stop_run("acme", "r-later", settle=False)
    billing.settle_run("acme", "r-later")
    billing.bill_storage("acme", "ws")
    billing.report_storage("acme", "ws", 0, occurred_at=clock.now - MINUTE)

    quotas = (Quota("x", "unit", 1000),)
    billing.publish(Plan("free-1", "free", clock.now + HOUR, quotas=quotas))
    clock.advance(2 * HOUR)
    billing.set_plan("other", "plan", "free")
    billing.open_account("short", livemode=False)
    billing.grant("short", "g", usd("1"), expires_at=clock.now + HOUR, kind="promotional")
    clock.advance(2 * HOUR)
    billing.run_pending()
    [lapsed] = [each for each in billing.history("short") if each.type == "expiry"]
    billing.undo_expiry("short", lapsed.seq, expires_at=clock.now + DAY, reason="our clock")
    billing.open_account("gone", livemode=False)
    billing.grant("gone", "g", usd("3"))
    billing.hold("gone", usd("1"), key="h", expires_in=DAY)
    billing.close("gone", remainder="refund")
    billing.settle("gone", "late", ONE)
    verified = billing.verify()
    assert verified.ok, [str(each) for each in verified.discrepancies]
    return billing


def by_request(store: Store) -> Recorded:
    """A life in which prices depend on facts, sizes and hours."""
    start = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)
    billing = Recorded(store, clock=SettableClock(start), ids=CountingIds())
    tier = Fact("service_tier", ("standard", "batch", "priority"), default="standard")
    region = Fact("region", ("global", "eu"), default="global")
    night = Hours(time(22), time(6), ("mon", "tue", "wed", "thu", "fri"))

    def price(nanos: int, unit: str, *sizes: Variant) -> Price:
        variants = [
            Variant(Flat(nanos, 2), FactIs("service_tier", "batch")),
            Variant(Flat(2 * nanos), FactIs("service_tier", "priority")),
            *sizes,
            Variant(Flat(nanos, 3), night),
        ]
        return Price(Flat(nanos), unit, variants=variants, facts=[tier])

    prices = {
        "model:m": {
            "input": price(7, "token", Variant(Flat(11), SizeAbove(100, ["input", "cached_read"]))),
            "cached_read": price(2, "token"),
        },
        "sandbox:s": {"second": price(30, "second")},
        "storage:*": {"byte_us": price(5, "byte-second")},
    }
    eu = {"*": [Multiplier("1.1", FactIs("region", "eu"))]}
    book = PriceBook("by-request", start - DAY, prices, multipliers=eu, facts=[region])
    billing.publish(book)
    billing.open_account("acme", livemode=False)
    billing.grant("acme", "g", usd("1"))

    def use(input: int, cached: int = 0, *, item: str | None = None, **facts: str) -> Usage:
        quantities = {"input": input, "cached_read": cached}
        return Usage.of("model:m", quantities, item=item, facts=facts)

    billing.hold("acme", use(101, 5), key="h-open", expires_in=DAY)
    billing.hold("acme", use(10, region="eu"), key="h", expires_in=HOUR)
    billing.settle("acme", "s1", use(4, region="eu", service_tier="batch"), hold="h", final=False)
    billing.settle("acme", "s2", use(6, region="eu", service_tier="priority"), hold="h")
    billing.settle("acme", "s3", use(60, 40, item="call"))
    billing.settle("acme", "s4", use(1, item="call"))
    billing.deduct("acme", "d1", use(3, service_tier="batch"))
    late = billing.settle("acme", "s5", use(3, service_tier="odd", item="odd"))
    wrong = billing.settle("acme", "s6", use(3, region="eu"))
    billing.reverse("acme", "undo", charge=wrong.seq, undo_usage=True, reason="it failed")
    odd = Price(Flat(1), facts=[Fact("service_tier", ("odd",), default="odd")])
    parts = {"input": odd, "cached_read": odd}
    billing.publish(PriceBook("odd", start + HOUR, {"model:m": parts}))
    billing.price_unpriced("acme", "late", charge=late.seq, version="odd", override=True)
    spec = sandbox("s", {"second": 1}, facts={"region": "eu", "service_tier": "batch"})
    billing.start_run("acme", "batch", spec=spec)
    billing.start_run("acme", "usual", spec=sandbox("s", {"second": 1}))
    billing.report_storage("acme", "ws", 10, facts={"region": "eu"})
    billing.clock.advance(45 * MINUTE)
    billing.stop_run("acme", "batch")
    billing.stop_run("acme", "usual")
    billing.bill_storage("acme", "ws")
    billing.settle("acme", "s7", use(9))
    verified = billing.verify()
    assert verified.ok, [str(each) for each in verified.discrepancies]
    return billing


def replies(billing: Billing, batches: list[list[Command]]) -> list[list[str]]:
    """What is answered to all of it, sent again."""
    return [
        [
            "replayed" if getattr(each, "replayed", False) else f"{type(each).__name__}: {each}"
            for each in billing.execute(batch)
        ]
        for batch in batches
    ]


def entries(store: Store) -> list[str]:
    """Each entry, a line."""
    found = []
    for org in sorted(store.orgs()):
        for each in store.entries(org, limit=100_000):
            line = [org, each.seq, each.key, each.hash.hex(), each.content, each.effects]
            found.append(json.dumps(line, ensure_ascii=False))
    return found


def _of_sqlite() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/golden.db"
        with SqliteStore(path) as store:
            live(store)
        db = sqlite3.connect(path)
        [application] = db.execute("PRAGMA application_id").fetchone()
        [version] = db.execute("PRAGMA user_version").fetchone()
        head = [f"PRAGMA application_id = {application};", f"PRAGMA user_version = {version};"]
        lines = [*head, *db.iterdump()]
        db.close()
    return lines


_TABLES = """
    SELECT relname, relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname = %s AND relkind IN ('r', 'p') ORDER BY 1
"""
_COLUMNS = """
    SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0
    AND NOT attisdropped ORDER BY attnum
"""


def _of_postgres() -> list[str]:
    """What is in the tables; migrations make them."""
    lines = []
    with fresh_database() as dsn, DisposableStore(dsn) as store:
        live(store)
        with store._owner() as db:
            for name, _ in db.execute(_TABLES, (store.schema,)).fetchall():
                if name == "migrations":
                    continue
                table = f"{quoted(store.schema)}.{name}"
                columns = [each for (each,) in db.execute(_COLUMNS, (table,))]
                texts = ", ".join(f"quote_nullable({each}::text)" for each in columns)
                rows = db.execute(f"SELECT {texts} FROM {table}").fetchall()
                lines += sorted(
                    f"INSERT INTO billing.{name} ({', '.join(columns)}) VALUES ({', '.join(row)});"
                    for row in rows
                )
    return lines


def opened_sqlite(path: Path) -> SqliteStore:
    db = sqlite3.connect(path)
    db.executescript(SQLITE.read_text(encoding="utf-8"))
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    return SqliteStore(path)


class GoldenPostgres(DisposableStore):
    """A new schema with what was kept."""

    def migrate(self) -> list[str]:
        made = PostgresStore.migrate(self)
        text = POSTGRES.read_text(encoding="utf-8")
        with self._owner() as db, db.transaction():
            for table in {line.split()[2].split(".")[1] for line in text.splitlines() if line}:
                db.execute(f"DELETE FROM {quoted(self.schema)}.{table}")
            text = text.replace("INSERT INTO billing.", f"INSERT INTO {quoted(self.schema)}.")
            db.execute(text.encode())
        return made


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(lines)} lines")


if __name__ == "__main__":
    memory = MemoryStore()
    live(memory)
    _write(ENTRIES, entries(memory))
    memory = MemoryStore()
    by_request(memory)
    _write(REQUESTS, entries(memory))
    _write(SQLITE, _of_sqlite())
    _write(POSTGRES, _of_postgres())
