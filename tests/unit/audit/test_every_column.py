"""verify finds an edit of every column of every table, or docs/reference/verify.md says why it
cannot matter.  Generated from the schema: a column that nobody thought of fails here."""

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import psycopg
import pytest
from attrs import frozen
from full_database import furnish
from postgres_servers import DisposableStore
from psycopg import sql

from billing_adapters.sqlite import SqliteStore
from billing_core import Billing
from billing_core.testing import SettableClock
from billing_core.values.times import moment

pytestmark = pytest.mark.slow

DOCS = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[3]).absolute()
DOC = DOCS / "docs" / "reference" / "verify.md"
ROWS = {"sqlite": 5, "postgres": 2}  # of a table, spread over it
EDITS = {"sqlite": 1000, "postgres": 3}  # of a column of one row: the arithmetic is the same

NAMES = {
    "accounts": "account",
    "entries": "entry {seq}",
    "lots": "lot {lot}",
    "holds": "hold {key}",
    "counters": "counter {resource}/{start}",
    "items": "item {item}/{resource}",
    "charges": "charge {charge}",
    "members": "member {member}",
    "cells": "rollup {grain}/{member}/{start}/{resource}/{payer}",
    "events": "event {seq}",
    "subscriptions": "subscription {seq}",
    "limits": "limit {subject}/{per}",
    "spends": "spend {subject}/{grain}/{start}",
    "runs": "run {run}",
    "storages": "storage {workspace}",
    "sizes": "size {workspace}/{at}",
    "topups": "top-up {topup}",
    "auto_topups": "automatic top-up",
    "deliveries": "delivery",
    "marks": "mark {name}",
    "published": "version {version}",
}
"""What a discrepancy calls a row."""

Row = dict[str, Any]


@frozen
class Column:
    name: str
    type: str
    key: bool


@frozen
class Database:
    """A furnished database, to be edited behind the engine's back."""

    kind: str
    db: Any
    store: Any
    now: int

    def columns(self) -> dict[str, list[Column]]:
        if self.kind == "sqlite":
            tables = self.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            return {
                table: [
                    Column(name, type_, bool(key))
                    for _, name, type_, _, _, key in self.db.execute(f"PRAGMA table_info({table})")
                ]
                for (table,) in tables.fetchall()
            }
        found: dict[str, list[Column]] = {}
        keys = set(
            self.db.execute(
                "SELECT table_name, column_name FROM information_schema.table_constraints"
                " JOIN information_schema.key_column_usage"
                " USING (constraint_schema, constraint_name, table_name)"
                " WHERE constraint_schema = %s AND constraint_type = 'PRIMARY KEY'",
                (self.store.schema,),
            ).fetchall()
        )
        for table, name, type_ in self.db.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " JOIN information_schema.tables USING (table_schema, table_name)"
            " WHERE table_schema = %s AND table_type = 'BASE TABLE'"
            " ORDER BY table_name, ordinal_position",
            (self.store.schema,),
        ).fetchall():
            found.setdefault(table, []).append(Column(name, type_, (table, name) in keys))
        return found

    def rows(self, table: str) -> list[Row]:
        cursor = self.db.execute(f"SELECT * FROM {table}")
        names = [each[0] for each in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return sorted(found, key=lambda row: [str(value) for value in row.values()])

    def run(self, text: str, values: list[Any]) -> bool:
        """Whether the database took it."""
        if self.kind != "sqlite":
            text = text.replace("?", "%s")
        try:
            done = self.db.execute(text, values)
        except (OverflowError, sqlite3.IntegrityError, psycopg.IntegrityError, psycopg.DataError):
            return False
        except sqlite3.OperationalError as error:
            assert "malformed JSON" in str(error), error  # an index is of what is in it
            return False
        assert done.rowcount == 1, text
        return True

    def insert(self, table: str, row: Row) -> bool:
        marks = ", ".join("?" * len(row))
        return self.run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", [*row.values()])

    def found(self, org: str | None = None) -> list[str]:
        """What a new process's verify says."""
        billing = Billing(self.store, clock=SettableClock(moment(self.now)))
        return [str(each) for each in billing.verify(org).discrepancies]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request, tmp_path_factory) -> Iterator[Database]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("furnished") / "b.db"
        with SqliteStore(path) as store:
            now = furnish(store).clock()
            db = sqlite3.connect(path, isolation_level=None)
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'"):
                db.execute(f"DROP TRIGGER {name}")
            yield Database("sqlite", db, store, now)
            db.close()
        return
    with DisposableStore() as store:
        now = furnish(store).clock()
        with psycopg.connect(store.dsn, autocommit=True) as db:
            db.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(store.schema)))
            for table in ("entries", "published"):
                db.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            yield Database("postgres", db, store, now)


# -- what the page says ---------------------------------------------------------------------


def told() -> tuple[set[str], set[str]]:
    """The columns, ``table.column``, of which every edit is found, and those of which one may
    not be: in both where it depends."""
    found, lost = set[str](), set[str]()
    for line in DOC.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `") or len(cells) != 3:
            continue
        table, columns, how = cells
        names = {f"{table.strip('`')}.{name}" for name in re.findall(r"`([^`]+)`", columns)}
        (lost if how.startswith("not found") else found).update(names)
    return found, lost


def test_the_page_has_every_column_of_every_table(database: Database) -> None:
    found, lost = told()
    there = {
        f"{table}.{column.name}"
        for table, columns in database.columns().items()
        for column in columns
    }
    said = {".".join(name.split(".")[:2]) for name in found | lost}
    only = {name for name in said - there if database.kind == "sqlite"}
    assert there - said == set(), "columns that docs/reference/verify.md does not have"
    assert (said - there if database.kind != "sqlite" else set()) <= ONLY_SQLITE
    assert only <= ONLY_POSTGRES


ONLY_SQLITE = {
    "cells.components",
    "_sqlite_migrations.migration_set", "_sqlite_migrations.name",
    "_sqlite_migrations.applied_at", "_sqlite_migrations.id",
}  # fmt: skip
ONLY_POSTGRES = {
    "accounts.erased", "accounts.was", "cells.component", "cells.rest", "cells.quantity",
    *(f"migrations.{name}" for name in ("number", "name", "checksum", "needs", "applied_at")),
}  # fmt: skip


# -- edits ------------------------------------------------------------------------------------


def edits(value: Any, type_: str) -> Iterator[tuple[str, Any]]:
    """Other values for a column, each with the field of its JSON that is another, or ''."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        yield from ((field, compact(each)) for field, each in _json_edits(json.loads(value)))
        yield "", "nonsense"
    elif value is None:
        yield "", "x" if type_.lower() == "text" else 1
    elif isinstance(value, bool) or (type_ == "INTEGER" and value in (0, 1)):
        yield "", type(value)(not value)
        if value is not True and value is not False:
            yield "", value + 2
        yield "", None
    elif isinstance(value, bytes):
        yield "", bytes([value[0] ^ 1]) + value[1:] if value else b"x"
    elif isinstance(value, str):
        yield "", value + "x"
        yield "", None
    else:
        yield "", value + 1
        yield "", value - 1
        yield "", None


def _json_edits(value: Any) -> Iterator[tuple[str, Any]]:
    """Of each field, and of what is in it, some."""
    if isinstance(value, dict):
        for name in value:
            if value[name]:  # else it has its default, as one that is left out
                yield name, {key: each for key, each in value.items() if key != name}
            for _, other in islice(_json_edits(value[name]), 2):
                yield name, value | {name: other}
        yield "", value | {"more": 1}
    elif isinstance(value, list):
        yield "", [*value, 1]
        for n, each in islice(enumerate(value), 8):
            for _, other in islice(_json_edits(each), 2):
                yield "", [*value[:n], other, *value[n + 1 :]]
        if value:
            yield "", value[:-1]
    elif isinstance(value, bool):
        yield "", not value
    elif isinstance(value, int):
        yield "", value + 1
    elif isinstance(value, str):
        yield "", value + "x"
    else:
        yield "", 1


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def spread(database: Database, table: str) -> list[Row]:
    rows = database.rows(table)
    assert rows, f"furnish() puts nothing into {table}"
    return rows[:: max(1, len(rows) // ROWS[database.kind])]


def where(table: str, row: Row) -> str:
    return NAMES[table].format(**row)


def changed(row: Row, **other: Any) -> Row:
    return {**row, **other}


def names(says: list[str], table: str, *rows: Row) -> bool:
    """Whether a discrepancy names one of the rows."""
    called = "|".join(re.escape(where(table, row)) for row in rows)
    return any(re.search(rf"(?<!\w)({called})(?!\w)", line) for line in says)


@pytest.mark.parametrize("table", NAMES)
def test_an_edit_of_any_column_is_found_and_named(database: Database, table: str) -> None:
    _, lost = told()
    missed, stale = list[str](), {each for each in lost if each.split(".")[0] == table}
    assert database.found() == []
    columns = database.columns()[table]
    keys = [column.name for column in columns if column.key]
    here = " AND ".join(f"{each} = ?" for each in keys)
    for column, row in product(columns, spread(database, table)):
        change = f"UPDATE {table} SET {column.name} = ? WHERE {here}"
        some = islice(edits(row[column.name], column.type), EDITS[database.kind])
        for field, other in some:
            name = f"{table}.{column.name}"
            part = f"{name}.{field}"
            after = changed(row, **{column.name: other})
            if not database.run(change, [other, *(row[each] for each in keys)]):
                continue  # the table itself refuses it
            says = database.found(row.get("org_id"))
            undo = [row[column.name], *(after[each] for each in keys)]
            assert database.run(change, undo)
            if names(says, table, row, after):
                continue
            stale -= {name, part}
            if not {name, part} & lost:
                missed.append(f"{part}, {row[column.name]!r}: {other!r}: {says}")
    assert missed == [], "\n".join(each[:500] for each in missed)
    if database.kind == "sqlite":  # which tries enough to tell
        assert stale <= UNTRIED, "docs/reference/verify.md says that they are not found"
    assert database.found() == []


UNTRIED = {
    "accounts.erased",
    "accounts.was",
    "topups.asked.receipt_email",
    "topups.asked.said",
    "deliveries.seq",
    "deliveries.n",
}


# -- rows that are gone, and rows that are new ---------------------------------------------------


def test_a_row_that_is_deleted_is_found_and_named(database: Database) -> None:
    missed: list[str] = []
    for table, columns in database.columns().items():
        if table not in NAMES or table in ("members", "marks"):  # see docs/reference/verify.md
            continue
        keys = [column.name for column in columns if column.key]
        here = " AND ".join(f"{each} = ?" for each in keys)
        for row in database.rows(table):
            assert database.run(f"DELETE FROM {table} WHERE {here}", [row[each] for each in keys])
            says = database.found(row.get("org_id"))
            database.insert(table, row)
            gone = says if table != "published" else [
                line for line in says if f"document {row['number']}: missing" in line
            ]  # fmt: skip
            if not (gone if table == "published" else names(says, table, row)):
                missed.append(f"{table} {[row[each] for each in keys]}: {says}")
    assert missed == [], "\n".join(each[:500] for each in missed)
    assert database.found() == []


def test_a_row_that_is_added_is_found_and_named(database: Database) -> None:
    missed: list[str] = []
    for table, columns in database.columns().items():
        if table not in NAMES or table == "marks":  # see docs/reference/verify.md
            continue
        keys = [column.name for column in columns if column.key]
        here = " AND ".join(f"{each} = ?" for each in keys)
        for row in spread(database, table):
            alone = keys == ["org_id"]  # then one for the org that has none
            other = row["org_id"] + "x" if table == "accounts" else "bare" if alone else None
            if alone and row["org_id"] == other:
                continue
            new = dict(row)
            last = row[keys[-1]]
            new[keys[-1]] = other or last + ("x" if isinstance(last, str) else 1000)
            for unique in {"entries": ("key",), "published": ("version",)}.get(table, ()):
                new[unique] = row[unique] + "x"
            if not database.insert(table, new):
                continue  # the table itself refuses it
            says = database.found(new.get("org_id"))
            assert database.run(f"DELETE FROM {table} WHERE {here}", [new[each] for each in keys])
            if not names(says, table, new):
                missed.append(f"{table} {new}: {says}")
    assert missed == [], "\n".join(each[:500] for each in missed)
    assert database.found() == []
