"""What the bare driver takes for the same durable writes: WAL and ``synchronous=FULL``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from billing_adapters.sqlite import SqliteStore

__all__ = ["Copy", "Floor"]


def _connect(path: Path) -> sqlite3.Connection:
    # A minute: rivals for the lock may wait for seconds, and are to be measured, not to fail.
    db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    return db


class Floor:
    """A guarded update and an insert, committed, on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._db = _connect(path)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, balance INTEGER)"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS charges (id INTEGER PRIMARY KEY, account INTEGER, key TEXT)"
        )
        self._db.execute("INSERT OR IGNORE INTO accounts VALUES (1, 1000000000000)")
        self._numbers = count(1)

    def charge(self) -> None:
        """One commit."""
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        execute("UPDATE accounts SET balance = balance - 1 WHERE id = 1 AND balance >= 1")
        execute(
            "INSERT INTO charges (account, key) VALUES (1, ?)",
            (f"charge-{next(self._numbers):09}",),
        )
        execute("COMMIT")

    def charges(self, times: int) -> None:
        """``times`` commits."""
        for _ in range(times):
            self.charge()

    def close(self) -> None:
        self._db.close()


class Copy:
    """``executemany`` writing the rows that an engine wrote, to the same tables.

    A copy of the engine's database, on a connection with the settings of the engine's, or,
    ``unguarded``, without its triggers.  It follows the engine:
    ``read`` finds the rows in which the engine's database now differs, ``write`` writes them
    to the copy in one commit.
    """

    def __init__(self, store: SqliteStore, path: Path, *, unguarded: bool = False) -> None:
        with store._reader() as theirs:
            with closing(sqlite3.connect(path)) as copy:
                theirs.backup(copy)
            self._db = _connect(path)
            for setting in ("wal_autocheckpoint", "cache_size", "mmap_size"):
                for [value] in theirs.execute(f"PRAGMA {setting}"):
                    self._db.execute(f"PRAGMA {setting} = {value}")
        if unguarded:
            for [drop] in self._db.execute(
                "SELECT 'DROP TRIGGER ' || name FROM sqlite_schema WHERE type = 'trigger'"
            ).fetchall():
                self._db.execute(drop)
        self._reader = sqlite3.connect(store.path, isolation_level=None)
        self._reader.execute("ATTACH ? AS copy", (str(path),))
        self._writes: list[tuple[str, list[tuple[Any, ...]]]] = []

    def read(self) -> int:
        """Make ready what is to be written; answers how many rows that is."""
        tables = self._reader.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            " ORDER BY rowid"
        ).fetchall()
        self._writes = [write for [table] in tables for write in self._differences(table)]
        return sum(len(rows) for _, rows in self._writes)

    def _differences(self, table: str) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        info = self._reader.execute(f"PRAGMA table_info({table})").fetchall()
        keys = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
        if not keys:
            return  # a table of the migrations' own
        rest = [row[1] for row in info if not row[5]]
        same = " AND ".join(f"old.{key} = new.{key}" for key in keys)
        where = " AND ".join(f"{key} = ?" for key in keys)
        new = ", ".join(f"new.{name}" for name in [*rest, *keys])
        tables = f"FROM main.{table} AS new LEFT JOIN copy.{table} AS old ON {same}"

        query = f"SELECT {new} {tables} WHERE old.{keys[0]} IS NULL"
        if rows := self._reader.execute(query).fetchall():
            names, marks = ", ".join([*rest, *keys]), ", ".join("?" for _ in info)
            yield f"INSERT INTO {table} ({names}) VALUES ({marks})", rows

        differs = " OR ".join(f"new.{name} IS NOT old.{name}" for name in rest)
        query = f"SELECT {new} {tables} WHERE old.{keys[0]} IS NOT NULL AND ({differs})"
        if rest and (rows := self._reader.execute(query).fetchall()):
            put = ", ".join(f"{name} = ?" for name in rest)
            yield f"UPDATE {table} SET {put} WHERE {where}", rows

        gone = ", ".join(f"old.{key}" for key in keys)
        query = (
            f"SELECT {gone} FROM copy.{table} AS old LEFT JOIN main.{table} AS new ON {same}"
            f" WHERE new.{keys[0]} IS NULL"
        )
        if rows := self._reader.execute(query).fetchall():
            yield f"DELETE FROM {table} WHERE {where}", rows

    def write(self, _: int) -> None:
        """One commit of what was made ready."""
        self._db.execute("BEGIN IMMEDIATE")
        for statement, rows in self._writes:
            self._db.executemany(statement, rows)
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._reader.close()
        self._db.close()
