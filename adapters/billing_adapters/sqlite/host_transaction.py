"""The store inside a host's own transaction: the host's row and the charge commit together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from billing_adapters.sqlite import codecs, loader
from billing_adapters.sqlite.cache import Known
from billing_adapters.sqlite.errors import mapped
from billing_adapters.sqlite.queries import Reads
from billing_core.errors import InvalidCommand, StoreError
from billing_core.ports.state import Changes, Loaded, Wanted
from billing_core.ports.store import Store, Transaction
from billing_core.pricing.catalogue import Published

__all__ = ["JoinedStore"]

_SAVEPOINT = "billing_within"


class JoinedStore(Reads):
    """A :class:`billing_core.ports.store.Store` on a connection that the host has in a write
    transaction.  Each transaction of it is a savepoint; it never commits, retries, or
    changes a setting.  How durable the commit is, is the host's."""

    concurrency = 1

    def __init__(self, connection: object, path: str) -> None:
        from billing_adapters.sqlite.schema import APPLICATION_ID

        if not isinstance(connection, sqlite3.Connection):
            raise InvalidCommand("connection", connection, "an open sqlite3.Connection")
        self.path = path
        self._db = connection
        with mapped(path), _plain_rows(connection) as db:
            [application] = db.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise StoreError(f"the connection is not to a billing database, such as {path}")

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        self._check_open()
        with mapped(self.path), _plain_rows(self._db) as db:
            yield db

    def _check_open(self) -> None:
        with mapped(self.path):
            in_transaction = self._db.in_transaction
        if not in_transaction:
            raise StoreError(
                "the connection has no open transaction; begin one with BEGIN IMMEDIATE"
            )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self._check_open()
        with _plain_rows(self._db) as db:
            with mapped(self.path):
                db.execute(f"SAVEPOINT {_SAVEPOINT}")
            transaction = _JoinedTransaction(db, self.path)
            try:
                yield transaction
            finally:
                # An error such as a full disk may have ended the host's whole transaction.
                if db.in_transaction:
                    with mapped(self.path):
                        if not transaction.committed:
                            db.execute(f"ROLLBACK TO {_SAVEPOINT}")
                        db.execute(f"RELEASE {_SAVEPOINT}")

    def within(self, connection: object) -> Store:
        return JoinedStore(connection, self.path)

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        raise StoreError("background work is done outside a transaction of the host's")

    def publish(self, document: Published) -> None:
        raise StoreError("prices and plans are published outside the host's transaction")

    def erase_member(self, org: str, member: str) -> bool:
        with self._reader() as db:
            gone = db.execute("DELETE FROM members WHERE org_id = ? AND name = ?", (org, member))
            return gone.rowcount == 1


@contextmanager
def _plain_rows(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """The connection with rows as tuples of str, as the host may have chosen otherwise."""
    factories = db.row_factory, db.text_factory
    db.row_factory, db.text_factory = None, str
    try:
        yield db
    finally:
        db.row_factory, db.text_factory = factories


class _JoinedTransaction:
    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db = db
        self._path = path
        self.committed = False

    def recall(self, wanted: Mapping[str, Wanted]) -> Loaded | None:
        return None

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        with mapped(self._path):
            # Takes the write lock, or fails at once: what is read must not change before
            # the write.  A deferred transaction would find out too late.
            self._db.execute("DELETE FROM accounts WHERE 0")
            return {org: loader.snapshot(self._db, org, wanted[org]) for org in sorted(wanted)}

    def commit(self, changes: Mapping[str, Changes]) -> None:
        with mapped(self._path):
            codecs.record(self._db, changes)
            codecs.write(self._db, changes, Known.nothing(self._db), {})
        self.committed = True
