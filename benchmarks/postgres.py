"""The PostgreSQL store beside psycopg's own single statement, on a server of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

import psycopg

from benchmarks.harness import Bar, Result, Subject, interleave, say
from benchmarks.orgs import AMOUNT, BOOK, CALL, MOST
from benchmarks.report import ratio, report
from benchmarks.tasks import Tasks
from benchmarks.threads import Callers
from billing_adapters.postgres import PostgresStore
from billing_core import AsyncBilling, Billing, Deduct, Grant, OpenAccount, Settle, usd

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from postgres_servers import Server, with_options
from tcp_proxy import Proxy

_CHARGE = """
WITH charged AS (
    UPDATE floor_accounts SET balance = balance - 1 WHERE id = %s AND balance >= 1 RETURNING id
)
INSERT INTO floor_charges (account, key) SELECT id, %s FROM charged
"""
_ROWS = """
INSERT INTO floor_entries
SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::bigint[])
"""
_LIFE = timedelta(minutes=10)
_NUMBERS = count(1)


class Floor:
    """One autocommit statement: a guarded update and an insert."""

    def __init__(self, dsn: str) -> None:
        self._db = psycopg.connect(dsn, autocommit=True)
        self._db.execute("SET client_min_messages = error")
        for table in (
            "accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)",
            "charges (account bigint, key text, PRIMARY KEY (account, key))",
            "entries (org text, seq bigint, key text, amount bigint, content text, at bigint,"
            " PRIMARY KEY (org, seq), UNIQUE (org, key))",
        ):
            self._db.execute(f"CREATE TABLE IF NOT EXISTS floor_{table}")
        self._db.execute(
            "INSERT INTO floor_accounts VALUES (1, 1000000000000) ON CONFLICT DO NOTHING"
        )

    def charges(self, times: int) -> None:
        for _ in range(times):
            key = f"charge-{next(_NUMBERS):09}"
            self._db.execute(_CHARGE, (1, key), prepare=True)

    def rows(self, times: int) -> None:
        """One commit of as many rows."""
        seqs = [next(_NUMBERS) for _ in range(times)]
        content = '{"cost":{"amount":1000000,"currency":"USD"},"resource":"tool"}'
        columns = [
            ["acme"] * times, seqs, [f"deduct:key-{n:09}" for n in seqs], [1000] * times,
            [content] * times, [1_700_000_000_000_000] * times,
        ]  # fmt: skip
        self._db.execute(_ROWS, columns, prepare=True)

    def close(self) -> None:
        self._db.close()


class Orgs:
    """An engine on a schema of its own, with funded orgs."""

    def __init__(self, dsn: str, schema: str, number: int = 1) -> None:
        self.store = PostgresStore(dsn, schema=schema)
        self.store.migrate()
        self.billing = Billing(self.store)
        self.billing.publish(BOOK)
        self.names = ["acme", *(f"org-{n:04}" for n in range(1, number))]
        self.billing.execute([OpenAccount(name) for name in self.names])
        credit = usd("10000")
        self.billing.execute([Grant(name, "credit", amount=credit) for name in self.names])
        self._numbers = count(1)

    def key(self) -> str:
        return f"key-{next(self._numbers):09}"

    def deduct(self) -> None:
        self.billing.deduct("acme", self.key(), AMOUNT, resource="tool")

    def deduct_somewhere(self) -> None:
        key = self.key()
        org = self.names[int(key[4:]) % len(self.names)]
        self.billing.deduct(org, key, AMOUNT, resource="tool")

    def deducts(self, times: int) -> None:
        for _ in range(times):
            self.deduct()

    def loading(self, times: int) -> None:
        """As a process that has not written the org last."""
        for _ in range(times):
            self.store._known.distrust(self.names)
            self.deduct()

    def holds_and_settles(self, times: int) -> None:
        for _ in range(times):
            with self.billing.hold("acme", MOST, expires_in=_LIFE, key=self.key()) as hold:
                hold.report(CALL)

    def batch(self, size: int) -> None:
        self.billing.execute(
            [Deduct("acme", self.key(), cost=AMOUNT, resource="tool") for _ in range(size)]
        )

    def history(self, number: int) -> None:
        for _ in self.billing.execute_many(
            Settle("acme", self.key(), usage=CALL) for _ in range(number)
        ):
            pass

    def close(self) -> None:
        say("verifying")
        assert self.billing.verify().ok
        self.store.close()


@contextmanager
def served() -> Iterator[Server]:
    """A server on the disk where temporary files go, with its settings as they come."""
    writable = os.access

    def on_disk(path: str, mode: int) -> bool:
        return path != "/dev/shm" and writable(path, mode)

    os.access = on_disk  # type: ignore[assignment]
    try:
        say(f"a server in {tempfile.gettempdir()}")
        server = Server().start()
    finally:
        os.access = writable
    try:
        yield server
    finally:
        server.remove()


def run(*, smoke: bool) -> None:
    rounds, times = (3, 10) if smoke else (11, 300)
    with served() as server:
        one_caller(server.dsn(), rounds, times, "One caller")
        many_callers(server.dsn(), rounds, times, "Many callers")
        batches(server.dsn(), rounds, smoke)
        flat(server.dsn(), rounds, smoke)
        with closing(Proxy(server.port, delay=0.0005)) as proxy:
            dsn = with_options(server.dsn(tcp=True), port=proxy.port)
            few = min(times, 50)
            one_caller(dsn, rounds, few, "One caller, 1 ms away", schema="far")
            many_callers(dsn, rounds, few, "Many callers, 1 ms away", schema="far")


def _subject(
    name: str, work: Callable[[int], object], times: int, bar: Bar | None = None,
    waits: list[float] | None = None,
) -> Subject:  # fmt: skip
    work(times)  # warm
    return Subject(name, work, times, Path(), bar, waits=waits)


def one_caller(dsn: str, rounds: int, times: int, title: str, schema: str = "near") -> None:
    with closing(Floor(dsn)) as floor, closing(Orgs(dsn, f"{schema}_one")) as orgs:
        subjects = [
            _subject("floor: one statement", floor.charges, times),
            _subject("deduct", orgs.deducts, times, Bar(0.60, aim="70%")),
            _subject("deduct, nothing remembered", orgs.loading, times),
            _subject(
                "hold, then settle", orgs.holds_and_settles, times, Bar(0.25, aim="35%")
            ),
        ]  # fmt: skip
        results = interleave(subjects, rounds=rounds, warm=False)
        report(f"PostgreSQL: {title}", results, results[0])


def many_callers(dsn: str, rounds: int, times: int, title: str, schema: str = "near") -> None:
    with ExitStack() as stack:
        floor = stack.enter_context(closing(Floor(dsn)))
        hot = stack.enter_context(closing(Orgs(dsn, f"{schema}_hot")))
        wide = stack.enter_context(closing(Orgs(dsn, f"{schema}_wide", 1000)))
        runner = stack.enter_context(asyncio.Runner())
        spread = Callers([wide.deduct_somewhere] * 8)
        eight, many = Callers([hot.deduct] * 8), Callers([hot.deduct] * 32)
        engine = AsyncBilling(hot.store)
        tasks = Tasks(
            runner, lambda: engine.deduct("acme", hot.key(), AMOUNT, resource="tool")
        )  # fmt: skip
        subjects = [
            _subject("floor: one statement", floor.charges, times),
            _subject("8 threads, 1,000 orgs", spread.run, times * 4, Bar(1.15), spread.waits),
            _subject("one org, 8 threads", eight.run, times * 4, Bar(1.3), eight.waits),
            _subject("one org, 32 threads", many.run, times * 8, Bar(2.5), many.waits),
            _subject("one org, 256 tasks", tasks.run, times * 16, Bar(6), tasks.waits),
        ]
        results = interleave(subjects, rounds=rounds, warm=False)
        report(f"PostgreSQL: {title}", results, results[0])


def batches(dsn: str, rounds: int, smoke: bool) -> None:
    size = 100 if smoke else 1000
    with closing(Floor(dsn)) as floor, closing(Orgs(dsn, "batches")) as orgs:
        results: list[Result] = interleave(
            [
                _subject("floor: unnest of as many rows", floor.rows, size),
                _subject("deduct", orgs.batch, size, Bar(0.35)),
            ],
            rounds=rounds,
            warm=False,
        )
        report(f"PostgreSQL: batches of {size:,}", results, results[0])


def flat(dsn: str, rounds: int, smoke: bool) -> None:
    many, times = (500, 10) if smoke else (100_000, 100)
    with closing(Orgs(dsn, "fresh")) as fresh, closing(Orgs(dsn, "old")) as old:
        say(f"filling {many:,} charges")
        old.history(many)
        results = interleave(
            [
                _subject("deduct on a fresh org", fresh.deducts, times),
                _subject(f"after {many:,} charges", old.deducts, times),
                _subject("the same, nothing remembered", old.loading, times),
            ],
            rounds=rounds,
            warm=False,
        )
        report("PostgreSQL: flat with history", results)
        print(f"    after {many:,} charges, of a fresh org's rate: {ratio(results[1], results[0])}")
