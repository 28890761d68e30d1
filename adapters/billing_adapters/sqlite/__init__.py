"""The SQLite store: one file, write-ahead log, every commit synced to disk.

Needs the ``sqlite`` extra (sqlite-utils, for the schema's migrations).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from billing_adapters.sqlite import rows
from billing_core.errors import StoreError
from billing_core.ports import Changes, Loaded, Transaction, Wanted
from billing_core.pricing import Published
from billing_core.records import (
    Cell,
    CellKey,
    Charge,
    Counter,
    Entry,
    Event,
    Hold,
    Item,
    Lot,
    UsageRecord,
)

__all__ = ["SqliteStore"]

_R = TypeVar("_R")
_PAGE = 500


@contextmanager
def _mapped(path: str, *, committing: bool = False) -> Iterator[None]:
    """The driver's errors, mapped once."""
    try:
        yield
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        # json.loads and row shapes: what cannot be read as ours is corrupt.
        raise _store_error(path, error, committing=committing) from error


def _store_error(path: str, error: Exception, *, committing: bool) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(f"{path} is locked by another writer; try again", retryable=True)
    text = f"{path}: {error}"
    if isinstance(error, sqlite3.DatabaseError) and code == sqlite3.SQLITE_NOTADB:
        text = f"{path} is not an SQLite database; give the path of a billing database"
    elif not isinstance(error, sqlite3.Error):
        text = f"{path} has a row that cannot be read ({error}); run verify"
    return StoreError(text, outcome_unknown=committing)


class SqliteStore:
    """A :class:`billing_core.ports.Store` in the SQLite file at ``path``, made if missing.

    Safe to share between threads, and to use in a process forked after it was made.
    Writers take turns: in one process by a lock, among processes by SQLite's own, for
    which a writer waits up to ``busy_seconds`` and then raises a retryable StoreError.
    """

    concurrency = 1

    def __init__(self, path: str | Path, *, busy_seconds: float = 5.0) -> None:
        self.path = str(path)
        if self.path == ":memory:" or not self.path:
            raise StoreError("a path of a file is needed; billing_core.testing has a MemoryStore")
        self._busy = busy_seconds
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._migrated = False
        with self._lock:
            self._connection()

    def close(self) -> None:
        """Close the file; using the store again opens it again."""
        with self._lock:
            if self._pid == os.getpid():
                for connection in (self._writer, *self._readers):
                    if connection is not None:
                        connection.close()
            self._writer, self._readers = None, []

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- connections ------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        with _mapped(self.path):
            db = sqlite3.connect(
                self.path, timeout=self._busy, isolation_level=None, check_same_thread=False
            )
            try:
                if not self._migrated:
                    self._migrate(db)
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA foreign_keys = ON")
                # Random keys dirty many pages: a longer log rewrites each less often.
                db.execute("PRAGMA wal_autocheckpoint = 8000")
            except BaseException:
                db.close()
                raise
            return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        from billing_adapters.sqlite.schema import migrate

        migrate(db, self.path)
        # After the check: somebody else's file is left as it was.
        [mode] = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{self.path} cannot have a write-ahead log (journal_mode {mode})")
        self._migrated = True

    def _connection(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            # Forked: the parent's connections must not be used here, nor closed.
            _FORKED.extend((self._writer, *self._readers))
            self._writer, self._readers, self._pid = None, [], os.getpid()
        if self._writer is None:
            self._writer = self._connect()
        return self._writer

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection in a read transaction: one consistent state."""
        with self._lock:
            self._connection()
            db = self._readers.pop() if self._readers else None
        if db is None:
            db = self._connect()
        try:
            with _mapped(self.path):
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    db.execute("ROLLBACK")
        finally:
            with self._lock:
                self._readers.append(db)

    def _read(self, query: str, values: Sequence[Any], make: Callable[[Any], _R]) -> list[_R]:
        with self._reader() as db:
            return [make(row) for row in db.execute(query, values)]

    # -- writing ----------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._lock:
            transaction = _Transaction(self._connection(), self.path)
            try:
                yield transaction
            finally:
                transaction.end()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _mapped(self.path):
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                with _mapped(self.path, committing=True):
                    db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def publish(self, book: Published) -> None:
        with self._writing() as db:
            same = db.execute(
                "SELECT number, version, published_at, body, digest FROM price_books"
                " WHERE number = ? OR version = ?",
                (book.number, book.version),
            ).fetchall()
            values = (book.number, book.version, book.published_at, book.body, book.digest)
            if same == [values]:
                return
            if same:
                raise StoreError(f"price book {book.number} is on record", retryable=True)
            db.execute("INSERT INTO price_books VALUES (?, ?, ?, ?, ?)", values)

    def erase_member(self, org: str, member: str) -> bool:
        with self._writing() as db:
            gone = db.execute("DELETE FROM members WHERE org_id = ? AND name = ?", (org, member))
            return gone.rowcount == 1

    # -- reading ----------------------------------------------------------------

    def snapshot(self, wanted: Mapping[str, Wanted]) -> Loaded:
        with self._reader() as db:
            return {org: rows.load(db, org, want) for org, want in wanted.items()}

    def books(self, after: int = 0) -> Sequence[Published]:
        return self._read(
            "SELECT number, version, published_at, body, digest FROM price_books"
            " WHERE number > ? ORDER BY number",
            (after,),
            lambda row: Published(*row),
        )

    def orgs(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        # Entries too, by skipping through their key: an account may have been deleted.
        query = (
            "SELECT min(org_id) FROM (SELECT min(org_id) AS org_id FROM accounts WHERE org_id > ?1"
            " UNION ALL SELECT min(org_id) FROM entries WHERE org_id > ?1)"
        )
        found: list[str] = []
        with self._reader() as db:
            while len(found) < limit:
                [org] = db.execute(query, (found[-1] if found else after,)).fetchone()
                if org is None:
                    break
                found.append(org)
        return found

    def entry(self, org: str, key: str) -> Entry | None:
        with self._reader() as db:
            found = rows.entry_rows(db, org, "key = ?", (key,))
            return found[0] if found else None

    def entries(self, org: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        with self._reader() as db:
            return rows.entry_rows(db, org, "seq > ? ORDER BY seq LIMIT ?", (after, limit))

    def history(self, org: str, *, before: int | None = None, limit: int = 100) -> Sequence[Entry]:
        where = (
            "seq < ? AND EXISTS (SELECT 1 FROM transfers AS t"
            " WHERE t.org_id = entries.org_id AND t.seq = entries.seq) ORDER BY seq DESC LIMIT ?"
        )
        with self._reader() as db:
            last = 2**63 - 1 if before is None else before
            return rows.entry_rows(db, org, where, (last, limit))

    def cells(
        self, org: str, grain: str, start: int, end: int, member: int | None = None
    ) -> Mapping[CellKey, Cell]:
        query = (
            "SELECT grain, member, start, resource, payer, requests, amount, components FROM cells"
            " WHERE org_id = ? AND grain = ? AND member = ? AND start >= ? AND start < ?"
        )
        with self._reader() as db:
            found: dict[CellKey, Cell] = {}
            for number in _members(db, org, grain) if member is None else [member]:
                # A range of the primary key for each member.
                found.update(map(rows.cell, db.execute(query, (org, grain, number, start, end))))
            return found

    def usage(
        self, org: str, start: int, end: int, member: int | None = None
    ) -> Sequence[tuple[int, UsageRecord]]:
        query = (
            "SELECT seq, occurred_at, member, resource, item, requests, lines FROM usage"
            " WHERE org_id = ? AND occurred_at >= ? AND occurred_at < ?"
        )
        if member is not None:
            query += " AND member = ?"
        values = (org, start, end) if member is None else (org, start, end, member)
        return self._read(
            query + " ORDER BY occurred_at, seq", values, lambda row: (row[0], rows.usage(row[1:]))
        )

    def members(self, org: str) -> Mapping[int, str]:
        query = "SELECT member, name FROM members WHERE org_id = ? ORDER BY member"
        return dict(self._read(query, (org,), lambda row: (row[0], row[1])))

    def events(self, org: str, after: int = 0, limit: int = 100) -> Sequence[Event]:
        return self._read(
            "SELECT seq, n, kind, data FROM events WHERE org_id = ? AND seq > ?"
            " ORDER BY seq, n LIMIT ?",
            (org, after, limit),
            lambda row: Event(*row),
        )

    def totals(self, org: str) -> tuple[int, int, int]:
        query = ", ".join(
            f"(SELECT count(*) FROM {table} WHERE org_id = ?1)"
            for table in ("entries", "transfers", "usage")
        )
        [row] = self._read(f"SELECT {query}", (org,), tuple)
        return row[0], row[1], row[2]

    def lots(self, org: str) -> Iterator[Lot]:
        return self._scan("lots", rows.LOT, ("lot",), org, rows.lot)

    def holds(self, org: str) -> Iterator[Hold]:
        return self._scan("holds", rows.HOLD, ("key",), org, rows.hold)

    def counters(self, org: str) -> Iterator[Counter]:
        columns = "resource, start, components"
        return self._scan("counters", columns, ("resource", "start"), org, rows.counter)

    def items(self, org: str) -> Iterator[Item]:
        columns = "item, resource, components"
        return self._scan("items", columns, ("item", "resource"), org, rows.item)

    def charges(self, org: str) -> Iterator[Charge]:
        return self._scan("charges", rows.CHARGE, ("charge",), org, rows.charge)

    def _scan(
        self, table: str, columns: str, key: tuple[str, ...], org: str, make: Callable[[Any], _R]
    ) -> Iterator[_R]:
        """All of an org's rows by pages of the primary key, whose columns come first."""
        order = ", ".join(key)
        marks = ", ".join("?" * len(key))
        last: tuple[Any, ...] = ()
        while True:
            beyond = f" AND ({order}) > ({marks})" if last else ""
            page = self._read(
                f"SELECT {columns} FROM {table} WHERE org_id = ?{beyond}"
                f" ORDER BY {order} LIMIT {_PAGE}",
                (org, *last),
                tuple,
            )
            with _mapped(self.path):
                yield from [make(row) for row in page]
            if len(page) < _PAGE:
                return
            last = page[-1][: len(key)]


_FORKED: list[sqlite3.Connection | None] = []
"""A forked process's inherited connections: kept, so that none is closed there."""


def _members(db: sqlite3.Connection, org: str, grain: str) -> list[int]:
    """The members that have cells, by skipping through the primary key."""
    query = "SELECT min(member) FROM cells WHERE org_id = ? AND grain = ? AND member > ?"
    found: list[int] = []
    [following] = db.execute(query, (org, grain, -1)).fetchone()
    while following is not None:
        found.append(following)
        [following] = db.execute(query, (org, grain, following)).fetchone()
    return found


class _Transaction:
    """One write transaction, begun at the first load."""

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db = db
        self._path = path

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        with _mapped(self._path):
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
            return {org: rows.load(self._db, org, wanted[org]) for org in sorted(wanted)}

    def commit(self, changes: Mapping[str, Changes]) -> None:
        with _mapped(self._path):
            rows.write(self._db, changes)
            with _mapped(self._path, committing=True):
                self._db.execute("COMMIT")

    def end(self) -> None:
        if self._db.in_transaction:
            with _mapped(self._path):
                self._db.execute("ROLLBACK")
