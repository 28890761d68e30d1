"""The store inside a host's own transaction: the host's row and the charge commit together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from billing_adapters.postgres.codecs import changed
from billing_adapters.postgres.errors import mapped
from billing_adapters.postgres.loader import Loader, Send, loaded
from billing_adapters.postgres.queries import Reader, Reads
from billing_adapters.postgres.statements import Value, Writer, text
from billing_adapters.postgres.wire import Query, Row, Statement, exchange, statement
from billing_core.errors import InvalidCommand, StoreError
from billing_core.ports.state import Changes, Loaded, Wanted
from billing_core.ports.store import Stale, Store, Transaction
from billing_core.pricing.catalogue import Published

__all__ = ["JoinedStore"]

_SAVEPOINT = Query(statement("SAVEPOINT billing_within"), ())
_UNDO = Query(statement("ROLLBACK TO SAVEPOINT billing_within"), ())
_RELEASE = Query(statement("RELEASE SAVEPOINT billing_within"), ())

_LOOKS = 10  # at rows that others may write meanwhile


class JoinedStore(Reads):
    """A :class:`billing_core.ports.store.Store` on a connection that the host has in a transaction.
    Each transaction of it is a savepoint; it never commits, retries, prepares, or changes a
    setting.  How long it waits for a lock, and how durable the commit is, is the host's.

    An AsyncConnection is used from the loop that this is made in, for callers in other
    threads.
    """

    concurrency = 1

    def __init__(
        self, connection: object, name: str, reader: Reader, loader: Loader, writer: Writer
    ) -> None:
        self.name = name
        self._reader, self._loader, self._writer = reader, loader, writer
        self._loop: asyncio.AbstractEventLoop | None = None
        if isinstance(connection, psycopg.AsyncConnection):
            self._loop = asyncio.get_running_loop()
        elif not isinstance(connection, psycopg.Connection):
            raise InvalidCommand(
                "connection", connection, "an open psycopg.Connection or AsyncConnection"
            )
        self._host: psycopg.Connection[Any] | psycopg.AsyncConnection[Any] = connection
        self._check_open()

    def _run(self, queries: Sequence[Query]) -> list[list[Row]]:
        self._check_open()
        return self._exchange(queries)

    def _exchange(self, queries: Sequence[Query]) -> list[list[Row]]:
        host, loop = self._host, self._loop
        if isinstance(host, psycopg.AsyncConnection):
            assert loop is not None
            work = _awaited(host, queries)
            return asyncio.run_coroutine_threadsafe(work, loop).result()
        with host.lock:
            return host.wait(exchange(host.pgconn, queries, None))

    def _check_open(self) -> None:
        pgconn = self._host.pgconn
        status = TransactionStatus(pgconn.transaction_status)
        if status != TransactionStatus.INTRANS:
            raise StoreError(
                "the connection has no open transaction, or one that has failed "
                f"({status.name}); begin one, and commit it afterwards"
            )
        if pgconn.parameter_status(b"client_encoding") != b"UTF8":
            raise StoreError("the connection's client_encoding must be UTF8")

    @contextmanager
    def _asking(self) -> Iterator[Send]:
        yield self._run

    def snapshot(self, wanted: Mapping[str, Wanted]) -> Loaded:
        # What isolation the host has is its own: look again until nobody has written between.
        with mapped(self.name):
            for _ in range(_LOOKS):
                found = self._loader.load(self._run, wanted, lock=False)
                if self._loader.heads(self._run, wanted) == {
                    org: each.state.account.head
                    for org, each in found.items()
                    if each.state.account is not None
                }:
                    return loaded(found)
        raise StoreError(f"{self.name} is being written faster than read", retryable=True)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        transaction = _JoinedTransaction(self)
        try:
            yield transaction
        finally:
            transaction.end()

    def within(self, connection: object) -> Store:
        return JoinedStore(connection, self.name, self._reader, self._loader, self._writer)

    def _write(self, *queries: tuple[Statement, Sequence[Value]]) -> list[Row]:
        raise StoreError("background work is done outside a transaction of the host's")

    def publish(self, document: Published) -> None:
        raise StoreError("prices and plans are published outside the host's transaction")

    def erase_member(self, org: str, member: str) -> bool:
        named = [text(org), text(member)]
        with mapped(self.name):
            _, gone = self._run(
                [Query(self._reader.erasing, named[:1]), Query(self._reader.erase, named)]
            )
            return bool(gone)


def _awaited(
    host: psycopg.AsyncConnection[Any], queries: Sequence[Query]
) -> Coroutine[Any, Any, list[list[Row]]]:
    async def work() -> list[list[Row]]:
        async with host.lock:
            return await host.wait(exchange(host.pgconn, queries, None))

    return work()


class _JoinedTransaction:
    def __init__(self, store: JoinedStore) -> None:
        self._store = store
        self._bases: dict[str, tuple[bytes, int]] = {}
        self._open = False

    def recall(self, wanted: Mapping[str, Wanted]) -> Loaded | None:
        return None  # what is on the host's connection may be rolled back

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        store = self._store
        before = [] if self._open else [_SAVEPOINT]
        with mapped(store.name):
            store._check_open()
            self._open = True
            found = store._loader.load(store._run, wanted, lock=True, before=before)
        for org, each in found.items():
            account = each.state.account
            self._bases[org] = (b"", 0) if account is None else (account.head, each.erased)
        return loaded(found)

    def commit(self, changes: Mapping[str, Changes]) -> None:
        store = self._store
        try:
            with mapped(store.name):
                store._run([*store._writer.queries(changed(changes, self._bases, {})), _RELEASE])
        except Stale as error:
            # To load again would not help: the host may see an older state than others.
            raise StoreError(str(error), retryable=True) from error.__cause__
        self._open = False

    def end(self) -> None:
        """Take back what was not committed; the host's transaction goes on."""
        status = self._store._host.pgconn.transaction_status
        if self._open and status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            with mapped(self._store.name):
                self._store._exchange([_UNDO, _RELEASE])
        self._open = False
