"""Every statement that SQLite runs searches by an index: costs do not grow with history."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from world import DAY, LONG_AGO, T0, World, nanos, units

from billing_adapters.sqlite import SqliteStore
from billing_adapters.sqlite import loader as loading
from billing_core import Limit, Plan


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "billing.db") as made:
        yield made


def statements(store: SqliteStore, reading: Callable[[], object]) -> list[str]:
    """What is asked of the database meanwhile, with its values."""
    asked: list[str] = []
    for db in (store._writer, *store._readers):
        assert db is not None
        db.set_trace_callback(asked.append)
    reading()
    for db in (store._writer, *store._readers):
        assert db is not None
        db.set_trace_callback(None)
    return [each for each in asked if each.lstrip().startswith(("SELECT", "UPDATE", "INSERT"))]


READS = {
    **{
        f"usage {period}{who}": lambda b, p=period, m=who: b.usage("a", p, member=m)
        for period in ("current", "7d", "30d", "all_time")
        for who in (None, "ann")
    },
    "usage by day": lambda b: b.usage_by_day("a"),
    "history": lambda b: b.history("a"),
    "history of top-ups": lambda b: b.history("a", types=["topup"], before=7),
    "history since": lambda b: b.history("a", since=T0, until=T0 + DAY),
    "explain": lambda b: b.explain("a", 4),
    "balance": lambda b: b.balance("a"),
    "balance then": lambda b: b.balance_as_of("a", T0, recorded=T0),
    "check": lambda b: b.check("a", nanos(1), member="ann", project="p"),
    "events": lambda b: b.events("a"),
    "a payment": lambda b: b.store.topup_of(payment="pi"),
    "a checkout": lambda b: b.store.topup_of(checkout="cs"),
    "a settlement": lambda b: b.settle("a", "k", units(1), member="ann", project="p", hold="h"),
    "a late deduction": lambda b: b.deduct("a", "k", units(1), member="ann", occurred_at=T0 - DAY),
    "a reversal": lambda b: b.reverse("a", "k", charge=4),
    "a hold": lambda b: b.hold("a", units(1), key="k", expires_in=DAY, member="bo"),
    "a limit": lambda b: b.set_limit("a", "k", nanos(9), member="ann"),
}


@pytest.mark.parametrize("name", READS)
def test_every_statement_searches_by_an_index(store: SqliteStore, name: str) -> None:
    world = World(store, opened=False)
    b = world.billing
    b.publish(
        Plan("pro-1", "pro", LONG_AGO, allowance=nanos(1000), limits=[Limit("org", nanos(500))])
    )
    b.open_account("a", at=T0 - 50 * DAY)
    b.grant("a", "g", nanos(10**6))
    for n in range(3):
        b.settle("a", f"s{n}", units(2), member="ann", occurred_at=T0 - n * DAY, project="p")
    b.set_plan("a", "p", "pro")
    b.settle("a", "s", units(2), member="bo")
    b.balance("a")  # there is a reader
    asked = statements(store, lambda: READS[name](b))
    assert asked
    with sqlite3.connect(store.path) as db:
        for statement in asked:
            plan = [row[3] for row in db.execute("EXPLAIN QUERY PLAN " + statement)]
            for step in plan:
                # Of what is published everything is read; VALUES, subqueries and lists that come
                # with a statement are no tables.
                none = ("SCAN CONSTANT ROW", "SCAN json_each ")
                table = step.startswith("SCAN") and not step.startswith(none)
                assert not table or "published" in statement, (statement, plan)
    db.close()


def test_the_keys_of_a_batch_are_found_by_their_index(store: SqliteStore) -> None:
    with store._reader() as db:
        query = loading._BY_KEYS.replace("?", "'k'")
        plan = [row[3] for row in db.execute("EXPLAIN QUERY PLAN " + query)]
    assert all(step.startswith("SEARCH") for step in plan), plan
