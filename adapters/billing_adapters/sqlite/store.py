"""The SQLite store: one file, write-ahead log, every commit synced to disk.

Needs the ``sqlite`` extra (sqlite-utils, for the schema's migrations).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from billing_adapters.credentials import Unshown, is_connection_string
from billing_adapters.sqlite import codecs, loader
from billing_adapters.sqlite.cache import AccountAndLots, Known
from billing_adapters.sqlite.errors import DRIVERS, fail, mapped
from billing_adapters.sqlite.host_transaction import JoinedStore
from billing_adapters.sqlite.inserts import inserted
from billing_adapters.sqlite.queries import DOCUMENT, Reads
from billing_adapters.sqlite.topups import SET_MARK
from billing_core.errors import InvalidCommand, StoreError
from billing_core.ports.state import Changes, Loaded, OrgState, Wanted
from billing_core.ports.store import PUBLISHED, Stale, Store, Transaction
from billing_core.pricing.catalogue import Published
from billing_core.values.times import seconds

__all__ = ["SqliteStore"]

_RETRY = 0.0005  # seconds between two attempts to get the write lock


class SqliteStore(Reads):
    """A store in one SQLite file, which is made, or brought to this version's tables, when it is
    opened.

    Each commit is synced to disk.  Safe to share between threads, and to use in a process forked
    after it was made.  Writers take turns: in one process by a lock, among processes by SQLite's
    own.  A process that waits for that in vain gets a retryable `StoreError`; which one gets the
    lock next is left to chance (rule 3.4).

    What each method does is said at :class:`billing_core.ports.store.Store`.

    Args:
        path: The file's path.
        busy_seconds: How long, in seconds, a writer waits for SQLite's lock.

    Raises:
        InvalidCommand: For what is no path, such as a connection string.
        StoreError: Where the file cannot be opened, is no database of this library, or is of a
            newer version.
    """

    concurrency = 1

    def __init__(self, path: str | os.PathLike[str], *, busy_seconds: float = 5.0) -> None:
        self.path = _checked_path(path)
        self._busy = seconds("busy_seconds", busy_seconds, positive=False)
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._reading: set[object] = set()
        self._torn = False  # in use while this process was forked off
        self._known = Known()
        self.applied: list[str] = []
        """The names of the migrations that opening the file has applied."""
        _STORES.add(self)
        with self._lock:
            self._connection()

    def close(self) -> None:
        """Close the file; using the store again opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
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
        db = sqlite3.connect(
            self.path, timeout=self._busy, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA synchronous = FULL")
            # Random keys dirty many pages: a longer log rewrites each less often.
            db.execute("PRAGMA wal_autocheckpoint = 8000")
        except BaseException:
            db.close()
            raise
        return db

    def _connection(self) -> sqlite3.Connection:
        """The writer's, which opens the file: nothing else is asked of it before."""
        if self._torn:
            raise StoreError(
                f"{self.path} was in use when this process was forked off: make a store here"
            )
        if self._writer is not None and self._writer.in_transaction:
            # An interrupt has left it so; closing it undoes what was written.
            writer, self._writer = self._writer, None
            writer.close()
        if self._writer is None:
            self._known.forget()  # another connection counts its data_versions anew
            with mapped(self.path):
                db = self._connect()
                try:
                    self._open(db)
                except BaseException:
                    db.close()
                    raise
            self._writer = db
        return self._writer

    def _open(self, db: sqlite3.Connection) -> None:
        from billing_adapters.sqlite.schema import migrate

        # EXTRA: until the file has its log, a commit is the deletion of a journal, which
        # FULL does not sync; it might come back and take the log away.
        db.execute("PRAGMA synchronous = EXTRA")
        # It commits something, always: that syncs what a killed process has left unsynced
        # in the log, before anybody is told that it is on record.
        self.applied += migrate(db, self.path)
        [mode] = self._patiently(db, "PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{self.path} cannot have a write-ahead log (journal_mode {mode})")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA busy_timeout = 0")

    def _patiently(self, db: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
        """Execute what needs the write lock, trying again and again for ``busy_seconds``.

        SQLite's own waiting sleeps longer each time, up to 100 ms, and so loses to whoever
        has just committed, for seconds; for a file's log it does not wait at all.
        """
        deadline = time.monotonic() + self._busy
        while True:
            try:
                return db.execute(statement)
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY)

    def _forking(self) -> bool:
        """Close the file, with the lock, before a fork; False where others go on using it."""
        deadline = time.monotonic() + self._busy
        if not self._lock.acquire(timeout=self._busy):
            return False
        while self._reading and time.monotonic() < deadline:
            time.sleep(_RETRY)
        if self._reading:
            self._lock.release()
            return False
        self._close()
        return True

    def _forked(self, *, closed: bool) -> None:
        """In a forked process: whoever held the lock is not here to release it."""
        self._lock = threading.Lock()
        if not closed:
            self._torn = True
            _INHERITED.extend((self._writer, *self._readers))
        self._writer, self._readers, self._reading = None, [], set()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection in a read transaction: one consistent state."""
        reading, db = object(), None
        try:
            with self._lock:
                self._connection()
                self._reading.add(reading)
                db = self._readers.pop() if self._readers else None
            with mapped(self.path):
                if db is None:
                    db = self._connect()
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
        finally:
            # Without the lock: whoever forks has it, and waits for this.
            if db is not None and db.in_transaction:  # an interrupt has left it so
                db.close()
            elif db is not None:
                self._readers.append(db)
            self._reading.discard(reading)

    def finish(self) -> list[str]:
        """Say that the version of the library before this one runs nowhere any more (rule 3.9).

        What that version could not work with is then done to the tables.

        Returns:
            The names of the migrations that were finished.
        """
        from billing_adapters.sqlite.schema import finish

        with self._lock, mapped(self.path):
            self._known.forget()
            return finish(self._connection())

    # -- writing ----------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._lock:
            db = self._connection()
            try:
                yield _Transaction(self, db)
            finally:
                # No call before the ROLLBACK, that could be interrupted.  If it fails, closing
                # undoes what was written, and the error of before is what counts.
                if db.in_transaction:
                    try:
                        db.execute("ROLLBACK")
                    except sqlite3.Error:
                        db.close()
                        self._writer = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, mapped(self.path):
            db = self._connection()
            self._patiently(db, "BEGIN IMMEDIATE")
            try:
                yield db
                with mapped(self.path, committing=True):
                    db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def publish(self, document: Published) -> None:
        with self._writing() as db:
            same = db.execute(
                f"SELECT {DOCUMENT} FROM published WHERE number = ? OR version = ?",
                (document.number, document.version),
            ).fetchall()
            values = (
                document.number, document.version, document.published_at, document.body,
                document.digest,
            )  # fmt: skip
            if same == [values]:
                return
            if same:
                raise StoreError(f"document {document.number} is on record", retryable=True)
            db.execute(inserted("published", DOCUMENT), values)
            db.execute(SET_MARK, (PUBLISHED, document.number))

    def erase_member(self, org: str, member: str) -> bool:
        with self._writing() as db:
            self._known.members.pop((org, member), None)
            gone = db.execute("DELETE FROM members WHERE org_id = ? AND name = ?", (org, member))
            return gone.rowcount == 1

    def within(self, connection: object) -> Store:
        """The same records inside the write transaction that you have open (rule 3.5).

        Args:
            connection: A `sqlite3.Connection` to the same file, after ``BEGIN IMMEDIATE``.
        """
        return JoinedStore(connection, self.path)


def _checked_path(path: object) -> str:
    # str() would make a file of anything's name: "None", "<sqlite3.Connection object ...>".
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(name, str) or "\0" in name:
        raise InvalidCommand("path", path, "the path of a file, as str or pathlib.Path")
    if is_connection_string(name) and not os.path.exists(name):
        expected = "the path of a file; PostgresStore takes a connection string"
        raise InvalidCommand("path", Unshown("what is no path of a file (not shown)"), expected)
    if name == ":memory:" or not name:
        raise StoreError("a path of a file is needed; billing_core.testing has a MemoryStore")
    return name


_STORES: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_FORK = threading.Lock()  # two threads may fork at once
_FORKING: list[tuple[SqliteStore, bool]] = []
_INHERITED: list[sqlite3.Connection | None] = []
"""A forked process's inherited connections: kept, so that none is closed there."""


def _before_fork() -> None:
    # SQLite keeps in a process's memory which locks on a file it has: a child that inherits
    # an open connection would believe that it has its parent's, and lose what it commits.
    _FORK.acquire()
    _FORKING[:] = [(store, store._forking()) for store in list(_STORES)]


def _after_fork_in_parent() -> None:
    for store, closed in _FORKING:
        if closed:
            store._lock.release()
    _FORKING.clear()
    _FORK.release()


def _after_fork_in_child() -> None:
    for store, closed in _FORKING:
        store._forked(closed=closed)
    _FORKING.clear()
    _FORK.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


class _Transaction:
    """One write transaction on the writer's connection, begun when it is first asked.

    The accounts and lots that it decides on are ``lent`` to it: checked out of what the store
    knows, or read.  It checks them in when they are committed.
    """

    def __init__(self, store: SqliteStore, db: sqlite3.Connection) -> None:
        self._store = store
        self._known = store._known
        self._db = db
        self._recalled = False
        self._lent: dict[str, AccountAndLots] = {}

    def recall(self, wanted: Mapping[str, Wanted]) -> Loaded | None:
        """Of a single command: one refusal would have a whole batch decided again, which
        finds its keys cheaply."""
        if len(wanted) != 1:
            return None
        [(org, want)] = wanted.items()
        if len(want.keys) > 1:
            return None
        try:
            self._begin()
        except DRIVERS as error:
            fail(self._store.path, error, committing=False)
        state = loader.recall(org, want, self._known)
        if state is None:
            return None
        account_and_lots = self._known.check_out(org)
        if account_and_lots is not None:
            self._lent[org] = account_and_lots
        self._recalled = True
        return {org: state}

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        self._recalled = False
        try:
            if not self._db.in_transaction:
                self._begin()
            return {org: self._load(org, wanted[org]) for org in sorted(wanted)}
        except DRIVERS as error:
            fail(self._store.path, error, committing=False)

    def _load(self, org: str, want: Wanted) -> OrgState:
        db, known = self._db, self._known
        account_and_lots = known.check_out(org) or loader.account_and_lots(db, org)
        if account_and_lots is not None:
            self._lent[org] = account_and_lots
        return loader.load(db, org, want, known, account_and_lots)

    def _begin(self) -> None:
        self._store._patiently(self._db, "BEGIN IMMEDIATE")
        self._known.check(self._db)

    def commit(self, changes: Mapping[str, Changes]) -> None:
        known = self._known
        version, known.version = known.version, None  # forgotten, unless this succeeds
        committing = False
        try:
            try:
                codecs.record(self._db, changes)
            except sqlite3.IntegrityError:
                if not self._recalled:
                    raise
                self._db.execute("ROLLBACK")
                known.version = version
                raise Stale("its key is on record; load it") from None
            codecs.write(self._db, changes, known, self._lent)
            committing = True
            self._db.execute("COMMIT")
        except DRIVERS as error:
            fail(self._store.path, error, committing=committing)
        known.check_in(self._lent, changes)
        known.version = version
