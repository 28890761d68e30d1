"""The schema, in numbered migrations kept by sqlite-utils.

Every key starts with ``org_id``; only what is published, and marks of how far background
work has come, lack it: no decision writes them.
Amounts and times are 64-bit integers; quantities, which can be larger, stand in JSON.
An entry's transfers and usage record stand in its own row, as the JSON that is hashed: the view
``transfers`` has them a row each.  Journal and publications are append-only, by triggers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlite_utils import Database, Migrations

from billing_core.errors import StoreError
from billing_core.ports.state import LEVEL

__all__ = ["APPLICATION_ID", "NO_CHARGE", "SCHEMA", "finish", "level", "migrate"]

APPLICATION_ID = 0x42494C4C  # "BILL": says whose database file this is
SCHEMA = LEVEL
"""The newest schema that this library knows.  ``user_version`` holds the oldest one that a
library must know to write to the file: a migration leaves it until it is finished."""

migrations = Migrations("billing")

NO_CHARGE = "key NOT BETWEEN 'deduct:' AND 'deduct;' AND key NOT BETWEEN 'settle:' AND 'settle;'"
"""The entries of neither operation; ";" follows ":"."""

_TABLES = """
CREATE TABLE accounts (
    org_id TEXT NOT NULL PRIMARY KEY,
    currency TEXT NOT NULL,
    livemode INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    anchor INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    head BLOB NOT NULL,
    watermark INTEGER NOT NULL,
    next_lapse INTEGER,
    balance INTEGER NOT NULL,
    debt INTEGER NOT NULL CHECK (debt >= 0),
    granted INTEGER NOT NULL,
    used INTEGER NOT NULL,
    lots INTEGER NOT NULL,
    members INTEGER NOT NULL,
    closed_at INTEGER,
    recorded_at INTEGER NOT NULL,
    plan TEXT,
    paused INTEGER NOT NULL CHECK (paused IN (0, 1)),
    plan_since INTEGER NOT NULL,
    period INTEGER NOT NULL,
    allowance INTEGER NOT NULL,
    ahead INTEGER NOT NULL,
    rolled INTEGER NOT NULL,
    rolled_of INTEGER,
    limited_since INTEGER,
    low_balance INTEGER,
    topup_below INTEGER,
    topup_from INTEGER NOT NULL,
    topup_open INTEGER NOT NULL CHECK (topup_open IN (0, 1)),
    summed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    org_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    key TEXT NOT NULL,
    at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    content TEXT NOT NULL,
    effects TEXT NOT NULL,
    amount INTEGER NOT NULL,
    balance INTEGER NOT NULL,
    transfers TEXT,
    usage TEXT,
    member INTEGER,
    occurred_at INTEGER,
    hash BLOB NOT NULL,
    PRIMARY KEY (org_id, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entries_key ON entries (org_id, key);
CREATE INDEX entries_usage ON entries (org_id, member, occurred_at, seq)
    WHERE occurred_at IS NOT NULL;

CREATE INDEX entries_other ON entries (org_id, seq)
    WHERE transfers IS NOT NULL AND {NO_CHARGE};

CREATE VIEW transfers AS
    SELECT e.org_id, e.seq, t.key + 1 AS n,
           json_extract(t.value, '$[0]') AS debit, json_extract(t.value, '$[1]') AS credit,
           json_extract(t.value, '$[2]') AS amount, json_extract(t.value, '$[3]') AS kind,
           e.key AS reference, e.at AS effective_at, e.recorded_at
    FROM entries AS e, json_each(e.transfers) AS t;

CREATE TABLE lots (
    org_id TEXT NOT NULL,
    lot INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    priority INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    remainder INTEGER NOT NULL CHECK (remainder >= 0),
    reserved INTEGER NOT NULL CHECK (reserved BETWEEN 0 AND remainder),
    expires_at INTEGER,
    scope TEXT,
    period INTEGER,
    spent INTEGER NOT NULL CHECK (spent = (remainder = 0)),
    PRIMARY KEY (org_id, lot)
) STRICT, WITHOUT ROWID;
CREATE INDEX lots_left ON lots (org_id, lot) WHERE spent = 0;

CREATE TABLE holds (
    org_id TEXT NOT NULL,
    key TEXT NOT NULL,
    resource TEXT,
    expires_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'settled', 'released', 'lapsed')),
    parts TEXT NOT NULL,
    counted TEXT NOT NULL,
    member INTEGER NOT NULL,
    project TEXT,
    PRIMARY KEY (org_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_open ON holds (org_id, expires_at) WHERE state = 'open';

CREATE TABLE counters (
    org_id TEXT NOT NULL,
    resource TEXT NOT NULL,
    start INTEGER NOT NULL,
    components TEXT NOT NULL,
    PRIMARY KEY (org_id, resource, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE items (
    org_id TEXT NOT NULL,
    item TEXT NOT NULL,
    resource TEXT NOT NULL,
    components TEXT NOT NULL,
    PRIMARY KEY (org_id, item, resource)
) STRICT, WITHOUT ROWID;

CREATE TABLE charges (
    org_id TEXT NOT NULL,
    charge INTEGER NOT NULL,
    resource TEXT NOT NULL,
    amount INTEGER NOT NULL,
    unpaid INTEGER NOT NULL CHECK (unpaid >= 0),
    reversed INTEGER NOT NULL,
    payments TEXT NOT NULL,
    period INTEGER NOT NULL,
    priced INTEGER,
    PRIMARY KEY (org_id, charge)
) STRICT, WITHOUT ROWID;
CREATE INDEX charges_unpaid ON charges (org_id, charge) WHERE unpaid > 0;

CREATE TABLE members (
    org_id TEXT NOT NULL,
    name TEXT NOT NULL,
    member INTEGER NOT NULL,
    PRIMARY KEY (org_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE cells (
    org_id TEXT NOT NULL,
    grain TEXT NOT NULL,
    member INTEGER NOT NULL,
    start INTEGER NOT NULL,
    resource TEXT NOT NULL,
    payer TEXT NOT NULL,
    requests INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    components TEXT NOT NULL,
    PRIMARY KEY (org_id, grain, member, start, resource, payer)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    org_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (org_id, seq, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE subscriptions (
    org_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    since INTEGER NOT NULL,
    plan TEXT,
    PRIMARY KEY (org_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE limits (
    org_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    per TEXT NOT NULL,
    amount INTEGER,
    alerts TEXT NOT NULL,
    blocks INTEGER NOT NULL CHECK (blocks IN (0, 1)),
    PRIMARY KEY (org_id, subject, per)
) STRICT, WITHOUT ROWID;

CREATE TABLE spends (
    org_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    grain TEXT NOT NULL,
    start INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (org_id, subject, grain, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    org_id TEXT NOT NULL,
    run TEXT NOT NULL,
    state TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (org_id, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_open ON runs (seen_at, org_id, run) WHERE state IN ('active', 'suspended');
CREATE INDEX runs_unsettled ON runs (org_id, run)
    WHERE state IN ('active', 'suspended', 'pending');

CREATE TABLE storages (
    org_id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (org_id, workspace)
) STRICT, WITHOUT ROWID;

CREATE TABLE sizes (
    org_id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (org_id, workspace, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE topups (
    org_id TEXT NOT NULL,
    topup TEXT NOT NULL,
    due_at INTEGER,
    asked TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (org_id, topup)
) STRICT, WITHOUT ROWID;
CREATE INDEX topups_due ON topups (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE auto_topups (
    org_id TEXT NOT NULL PRIMARY KEY,
    customer TEXT,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX auto_topups_customer ON auto_topups (customer) WHERE customer IS NOT NULL;

CREATE TABLE deliveries (
    org_id TEXT NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    waiting INTEGER NOT NULL CHECK (waiting IN (0, 1)),
    deliverer TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_waiting ON deliveries (org_id) WHERE waiting = 1;

CREATE TABLE marks (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE published (
    number INTEGER NOT NULL PRIMARY KEY,
    version TEXT NOT NULL UNIQUE,
    published_at INTEGER NOT NULL,
    body TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT;
"""

_APPEND_ONLY = {
    "entries": (
        "org_id = NEW.org_id AND seq = NEW.seq",
        "org_id = NEW.org_id AND key = NEW.key",
    ),
    "published": ("number = NEW.number", "version = NEW.version"),
}


def _triggers(table: str, same: tuple[str, ...]) -> str:
    # INSERT OR REPLACE deletes without firing the DELETE trigger unless the client has set
    # recursive_triggers, so what stands under a key may not be inserted again either.  FAIL,
    # since a statement that can ABORT in a trigger keeps a journal of its own, which doubles
    # the cost of an insert; nothing has been written when this one fails.
    say = f"SELECT RAISE(ABORT, '{table} is append-only')"
    fail = f"SELECT RAISE(FAIL, '{table} is append-only')"
    exists = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {each})" for each in same)
    return f"""
CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN {say}; END;
CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN {say}; END;
CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {exists} BEGIN {fail}; END;
"""


@migrations(name="0001_ledger")
def _ledger(db: Database) -> None:
    script = _TABLES.replace("{NO_CHARGE}", NO_CHARGE) + "".join(
        _triggers(*each) for each in _APPEND_ONLY.items()
    )
    for statement in _statements(script):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA user_version = 1")


# Numbers in these columns can pass 64 bits: they only count, and what only counts refuses
# nothing.  ANY keeps an integer as an integer, and a text as a text.
_WIDE = {
    "accounts": ("granted", "used"),
    "cells": ("amount",),
    "spends": ("amount",),
}


@migrations(name="0002_wide_totals")
def _wide_totals(db: Database) -> None:
    """Adds no column: that is done by :func:`finish`, as the version before inserts rows without
    naming columns; what is added until then stands in a table of its own, or in an index.
    """
    # A top-up is found by the provider's own ids, which rows of that version have as well.
    for name in ("payment", "checkout"):
        db.execute(f"CREATE INDEX topups_{name} ON topups (json_extract(body, '$.{name}'))")


def _finish_wide_totals(db: sqlite3.Connection) -> None:
    """Tables are made anew: SQLite cannot change a column's type."""
    made = {text.split()[2]: text for text in _TABLE_TEXTS}
    for table, columns in _WIDE.items():
        text = made[table]
        for column in columns:
            text = text.replace(f"    {column} INTEGER NOT NULL", f"    {column} ANY NOT NULL")
        db.execute(text.replace(f"TABLE {table} ", f"TABLE {table}_made_anew "))
        db.execute(f"INSERT INTO {table}_made_anew SELECT * FROM {table}")
        db.execute(f"DROP TABLE {table}")
        db.execute(f"ALTER TABLE {table}_made_anew RENAME TO {table}")
    # What was charged by a hold: NULL where a version did it that does not write it.
    db.execute("ALTER TABLE holds ADD COLUMN used TEXT")


@migrations(name="0003_prices_by_request")
def _prices_by_request(db: Database) -> None:
    """Adds nothing to the tables.  Prices that depend on the request (rule 5.9) stand in the text
    of price books, where a library that knows no such price cannot read them: they are refused
    until this is finished, when no such library runs any more."""


def _finish_prices_by_request(db: sqlite3.Connection) -> None:
    """Nothing is to be done."""


_FINISHES = {
    2: ("0002_wide_totals", _finish_wide_totals),
    3: ("0003_prices_by_request", _finish_prices_by_request),
}
"""By number: a migration, and what is done once the version before it runs nowhere any more."""


def _statements(script: str) -> list[str]:
    """The script's statements; executescript() would commit the migration's transaction."""
    statements: list[str] = []
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            statements.append(statement)
            statement = ""
    return statements


_TABLE_TEXTS = [
    text.strip().removesuffix(";")
    for text in _statements(_TABLES)
    if text.lstrip().startswith("CREATE TABLE")
]


def migrate(connection: sqlite3.Connection, path: str) -> list[str]:
    """Bring the file to this library's schema; the names of the migrations applied.  Safe when
    several processes start at once.  It commits a write even where there is nothing to do.

    Raises StoreError for somebody else's database, for a newer schema, and for a file that an
    unreleased build made with other tables.
    """
    with _changing(connection):
        new = _check_ours(connection, path)
        db = Database(connection, execute_plugins=False, recursive_triggers=False)
        before = {each.name for each in migrations.applied(db)}
        migrations.apply(db)
        if new:
            _finish(connection)
        known = level(connection)
        connection.execute(f"PRAGMA user_version = {known}")
        return [each.name for each in migrations.applied(db) if each.name not in before]


def finish(connection: sqlite3.Connection) -> list[str]:
    """Do what the version before could not work with, once it runs nowhere any more; the names
    of the migrations that were finished."""
    with _changing(connection):
        return _finish(connection)


def _finish(connection: sqlite3.Connection) -> list[str]:
    finished: list[str] = []
    for number, (name, step) in _FINISHES.items():
        if level(connection) < number:
            step(connection)
            connection.execute(f"PRAGMA user_version = {number}")
            finished.append(name)
    return finished


def level(connection: sqlite3.Connection) -> int:
    """The newest schema that every library that works on the file knows."""
    [known] = connection.execute("PRAGMA user_version").fetchone()
    return int(known)


@contextmanager
def _changing(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _check_ours(connection: sqlite3.Connection, path: str) -> bool:
    """Whether the file is new."""
    [application] = connection.execute("PRAGMA application_id").fetchone()
    needed = level(connection)
    [tables] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or needed or tables):
        raise StoreError(
            f"{path} is an SQLite database of something else (application_id {application}, "
            f"{tables} tables and indexes); give the path of a billing database or of a new file"
        )
    if needed > SCHEMA:
        raise StoreError(
            f"{path} has schema {needed}, this library knows up to {SCHEMA}; upgrade billing-core"
        )
    if needed == 1:  # nothing of the first migration was altered yet: its texts stand as made
        there = {text for [text] in connection.execute("SELECT sql FROM sqlite_schema")}
        other = sorted(text.split()[2] for text in _TABLE_TEXTS if text not in there)
        if other:
            raise StoreError(
                f"{path} was made by an unreleased build of this library, which had other tables "
                f"({', '.join(other)}) under the same number; no migration leads on from there: "
                "read it with the build that made it, and begin a new file"
            )
    return not tables
