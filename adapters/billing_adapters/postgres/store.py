"""The PostgreSQL store: the same ledger where several services, and the host's own rows, are.

Needs the ``postgres`` extra (psycopg and its pool).  PostgreSQL 14 or later.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from typing import Any

try:
    import psycopg
    from psycopg_pool import PoolTimeout

    from billing_adapters.postgres import schema as schemas
    from billing_adapters.postgres.cache import Base, Known
    from billing_adapters.postgres.codecs import changed
    from billing_adapters.postgres.errors import DRIVERS, again, fail, mapped, outdated
    from billing_adapters.postgres.host_transaction import JoinedStore
    from billing_adapters.postgres.loader import Loader, Send, loaded
    from billing_adapters.postgres.pool import Lines, shown, unsaid, with_defaults
    from billing_adapters.postgres.queries import Reader, Reads, document_of, document_row
    from billing_adapters.postgres.statements import Value, Writer, text
    from billing_adapters.postgres.wire import (
        BEGIN,
        COMMIT,
        Query,
        Row,
        Statement,
        StoreConnection,
        statement,
    )
except ImportError as error:
    if (error.name or "").partition(".")[0] not in ("psycopg", "psycopg_pool"):
        raise
    raise ImportError(
        f"the PostgreSQL store needs {error.name}: pip install 'billing-core[postgres]'",
        name=error.name,
    ) from error

from billing_core.errors import InvalidCommand, StoreError
from billing_core.ports.state import Changes, Loaded, Wanted
from billing_core.ports.store import PUBLISHED, Stale, Store, Transaction
from billing_core.pricing.catalogue import Published
from billing_core.values.times import seconds

__all__ = ["PostgresStore", "together"]

_ATTEMPTS = 6  # of one transaction that others get in the way of
_BACKOFF = 0.005  # seconds before the second attempt at most, and twice as long each time

_SNAPSHOT = Query(statement("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"), ())


def together(writes: Sequence[Query]) -> list[Query]:
    """Statements that are written together or not at all, sent in one exchange.

    PostgreSQL takes what is sent up to a Sync as one transaction, but a distributed one, and a
    pooler that splits pipelines, commits each statement by itself.
    """
    return [BEGIN, *writes, COMMIT]


class PostgresStore(Reads):
    """A store in a schema of a PostgreSQL database; :meth:`migrate` makes the schema.

    Safe to share between threads, and to use in a process forked after it was made.  It connects
    when it is first used.  After each of the three times below comes a retryable `StoreError`.

    The ``synchronous_commit`` of the server or the role counts, but for ``off``.  A pooler, by
    session or by transaction, is recognised: then each transaction carries its settings, in the
    same exchange, and nothing is prepared.

    What each method does is said at :class:`billing_core.ports.store.Store`.

    Args:
        dsn: The connection string; it is never shown in an error (rule 9.7).
        schema: The name of the schema.
        pool_size: How many connections it opens at most.
        pool_seconds: How long, in seconds, a call waits for one of them.
        lock_seconds: How long, in seconds, it waits for an org that another process, or a
            transaction of yours, has locked.
        statement_seconds: How long, in seconds, any statement may take but a COMMIT, which is never
            cut short.

    Raises:
        InvalidCommand: For a connection string, a size or a time that is not accepted.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "billing",
        pool_size: int = 8,
        pool_seconds: float = 10.0,
        lock_seconds: float = 5.0,
        statement_seconds: float = 30.0,
    ) -> None:
        self.name = shown(dsn)
        if type(pool_size) is not int or pool_size < 1:
            raise InvalidCommand("pool_size", pool_size, "an int of 1 or more")
        pool_seconds = seconds("pool_seconds", pool_seconds, positive=True)
        lock_seconds = seconds("lock_seconds", lock_seconds, positive=True)
        statement_seconds = seconds("statement_seconds", statement_seconds, positive=True)
        self.schema = schema
        self.concurrency = pool_size
        self.lock_seconds = lock_seconds
        self._dsn = dsn
        self._known = Known()
        quoted = schemas.quoted(schema)
        self._writer, self._loader, self._reader = Writer(quoted), Loader(quoted), Reader(quoted)
        self._lines = Lines(
            dsn,
            size=pool_size,
            wait=pool_seconds,
            lock=lock_seconds,
            query=statement_seconds,
            check=lambda db: schemas.check(db, schema, self.name),
        )

    def close(self) -> None:
        """Close the connections; using the store again opens others."""
        self._lines.close()

    def __enter__(self) -> PostgresStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the schema -------------------------------------------------------------

    @contextmanager
    def _owner(self) -> Iterator[psycopg.Connection[Any]]:
        with mapped(self.name):
            try:
                # Nothing is prepared: a pooler may be in between.
                dsn = with_defaults(self._dsn)
                db = psycopg.connect(dsn, autocommit=True, prepare_threshold=None)
            except psycopg.Error as error:
                unsaid(error)
                raise
        # As the pool's connections are, whatever the role's defaults say.
        db.read_only, db.isolation_level = False, psycopg.IsolationLevel.READ_COMMITTED
        try:
            yield db
        finally:
            db.close()

    def migrate(self) -> list[str]:
        """Make the schema, or bring it to this version's; safe when several processes start at
        once.

        Returns:
            The names of the migrations that were applied.
        """
        with self._owner() as db:
            return schemas.migrate(db, self.schema, self.name)

    def finish(self) -> list[str]:
        """Say that the version of the library before this one runs nowhere any more (rule 3.9).

        What that version could not work with is then done to the schema.

        Returns:
            The names of the migrations that were finished.
        """
        with self._owner() as db:
            return schemas.finish(db, self.schema, self.name)

    def script(self, *, finishing: bool = False) -> str:
        """What `migrate`, or `finish`, would do to the database as it is, as SQL, to run it
        yourself.

        Args:
            finishing: True: what :meth:`finish` would do; False: what :meth:`migrate` would.

        Returns:
            The SQL; empty where there is nothing to do.
        """
        with self._owner() as db, mapped(self.name):
            return schemas.script(db, self.schema, self.name, finishing=finishing)

    def grant(self, role: str) -> None:
        """Let a role run the engine on the schema, without UPDATE or DELETE on the journal.

        Args:
            role: The name of a role of the database.
        """
        with self._owner() as db:
            schemas.grant(db, self.schema, role, self.name)

    def distribute(self) -> None:
        """Refuses: tables that are spread over a Citus cluster do not work yet."""
        raise StoreError(
            f"{self.name}: distribute() does nothing yet: on Citus, tables spread over a cluster "
            "refuse every command (0A000); keep all of them on one PostgreSQL server, with a "
            "standby where it must not fail"
        )

    # -- reading ----------------------------------------------------------------

    @contextmanager
    def _asking(self) -> Iterator[Send]:
        with self._lines.lent() as line:
            yield line.run

    @contextmanager
    def _snapshot(self) -> Iterator[Send]:
        with self._lines.lent() as line:
            begun = False

            def run(queries: Sequence[Query]) -> list[list[Row]]:
                nonlocal begun
                if begun:
                    return line.run(queries)
                begun = True
                return line.run([_SNAPSHOT, *queries])[1:]

            yield run
            line.run([COMMIT])

    def ahead(self, org: str) -> PostgresStore:
        first = self._first(org)
        try:
            with mapped(self.name), self._asking() as run:
                found = run(
                    [Query(query, [text(each) for each in values]) for query, values in first]
                )
        except StoreError as error:
            if error.retryable:
                raise
            return self  # one of them fails, and is asked for by itself
        ahead = copy(self)
        ahead._fetched = dict(zip(first, found, strict=True))
        return ahead

    def snapshot(self, wanted: Mapping[str, Wanted]) -> Loaded:
        try:
            return super().snapshot(wanted)
        except StoreError as error:
            if not _outdated(error):
                raise
        return super().snapshot(wanted)

    # -- writing ----------------------------------------------------------------

    def transaction(self) -> AbstractContextManager[Transaction]:
        return _Transaction(self)

    def publish(self, document: Published) -> None:
        mark = PUBLISHED, document.number
        try:
            self._write(
                (self._reader.publish, document_row(document)), (self._reader.work.set_mark, mark)
            )
        except Stale:
            named = document.number, document.version
            if self._read(self._reader.same, document_of, *named) != [document]:
                text_ = f"document {document.number} is on record"
                raise StoreError(text_, retryable=True) from None

    def erase_member(self, org: str, member: str) -> bool:
        named = [text(org), text(member)]
        erasing = [Query(self._reader.erasing, named[:1]), Query(self._reader.erase, named)]
        with mapped(self.name), self._lines.lent() as line, mapped(self.name, committing=3):
            _, _, gone, _ = line.run(together(erasing))
            return bool(gone)

    def _write(self, *queries: tuple[Statement, Sequence[Value]]) -> list[Row]:
        sent = [Query(query, [text(value) for value in values]) for query, values in queries]
        whole = together(sent)
        last = len(whole) - 1
        with mapped(self.name), self._lines.lent() as line, mapped(self.name, committing=last):
            return line.run(whole)[-2]

    def within(self, connection: object) -> Store:
        """The same records inside the transaction that you have open (rule 3.5).

        Args:
            connection: A psycopg 3 ``Connection``, or an ``AsyncConnection`` of the running loop.
        """
        return JoinedStore(connection, self.name, self._reader, self._loader, self._writer)


class _Transaction:
    """Begun by its first load, or by a commit of what was decided from memory.

    What it decides on is its own: loaded, or copies that it has checked out of what the store
    knows.  What is committed it checks in.
    """

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._line: StoreConnection | None = None
        self._bases: dict[str, Base] = {}
        self._attempts = 0
        self._began = time.monotonic()

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def recall(self, wanted: Mapping[str, Wanted]) -> Loaded | None:
        checked_out = self._store._known.check_out(wanted)
        if checked_out is None:
            return None
        states, self._bases = checked_out
        return states

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        first = self._line is None
        while True:
            try:
                return self._load(wanted)
            except StoreError as error:
                self.end()
                if first and (again(error.__cause__) or _hung_up(error)):
                    self._pause(error)
                elif _outdated(error):
                    self._pause(error)
                    raise Stale(str(error)) from error.__cause__
                else:
                    # Locks that were held before are lost: what they guarded is not done again.
                    raise

    def _load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        store = self._store
        with mapped(store.name):
            begin = [BEGIN] if self._line is None else []
            if self._line is None:
                self._line = store._lines.take()
            found = store._loader.load(
                self._line.run,
                wanted,
                lock=True,
                before=begin,
                hints=store._known.hints(wanted),
            )
            for org, each in found.items():
                account = each.state.account
                self._bases[org] = (b"", 0) if account is None else (account.head, each.erased)
            store._known.loaded(found, wanted)
        return loaded(found)

    def commit(self, changes: Mapping[str, Changes]) -> None:
        store = self._store
        try:
            self._commit(changes)
        except StoreError as error:
            self.end()
            if not isinstance(error, Stale) and not again(error.__cause__):
                raise
            store._known.distrust(changes)
            self._pause(error)
            raise Stale(str(error)) from error.__cause__
        store._known.check_in(changes, self._bases)
        self.end()

    def _commit(self, changes: Mapping[str, Changes]) -> None:
        store = self._store
        committing = None
        try:
            standing = store._known.standing(changes)
            writes = store._writer.queries(changed(changes, self._bases, standing))
            line, begun = self._line, self._line is not None
            if line is None:
                line = self._line = store._lines.take()
            line.warnings.clear()
            queries = [*writes, COMMIT] if begun else together(writes)
            committing = len(queries) - 1
            line.run(queries)
        except DRIVERS as error:
            fail(store.name, error, committing)
        if line.warnings:
            raise StoreError(
                f"{store.name} warned at the COMMIT: {line.warnings[0]}; send the same again",
                retryable=True,
                outcome_unknown=True,
            )

    def _pause(self, error: StoreError) -> None:
        """Wait a moment before the next attempt, or raise the error: they are bounded in
        number and in time."""
        self._attempts += 1
        waited = time.monotonic() - self._began
        if self._attempts == _ATTEMPTS or waited > self._store.lock_seconds:
            raise StoreError(str(error), retryable=error.retryable) from error.__cause__
        if self._attempts > 1 or not isinstance(error, Stale):
            time.sleep(random.uniform(0, _BACKOFF * 2**self._attempts))

    def end(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            self._store._lines.give(line)


def _outdated(error: StoreError) -> bool:
    cause = error.__cause__
    return isinstance(cause, psycopg.Error) and outdated(cause)


def _hung_up(error: StoreError) -> bool:
    """Whether the connection was lost before anything was written."""
    cause = error.__cause__
    waited = isinstance(cause, PoolTimeout)
    return isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None and not waited
