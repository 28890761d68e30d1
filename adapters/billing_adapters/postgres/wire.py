"""Statements sent together and answered together, on a connection's libpq handle.

A statement costs the client a quarter of what it costs through a cursor, and any number of
them one round trip.  What is here runs as a generator of psycopg's kind: a blocking
connection waits for it with a poll, an asynchronous one in its loop.
"""

from __future__ import annotations

import select
from collections.abc import Generator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import psycopg
from psycopg import errors, waiting
from psycopg.pq import ExecStatus, PipelineStatus, TransactionStatus

from billing_adapters.postgres.errors import Failure, outdated

__all__ = [
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "Query",
    "Row",
    "Statement",
    "StoreConnection",
    "exchange",
    "statement",
]  # fmt: skip

Row = tuple[bytes | None, ...]
Exchange = Generator[Any, Any, list[list[Row]]]

# As libpq has them: to look an enumeration up costs as much as to ask libpq.
_NO_PIPELINE = int(PipelineStatus.OFF)
_ROWS, _DONE = int(ExecStatus.TUPLES_OK), int(ExecStatus.COMMAND_OK)
_IDLE, _FAILED = int(TransactionStatus.IDLE), int(TransactionStatus.INERROR)
_SYNC, _FATAL = int(ExecStatus.PIPELINE_SYNC), int(ExecStatus.FATAL_ERROR)

_LOOK = 0.1  # seconds after which a wait looks for a signal


class Statement(NamedTuple):
    """SQL, and the name under which a connection prepares it."""

    name: bytes
    sql: bytes


class Query(NamedTuple):
    """A statement and its parameters, in text form."""

    statement: Statement
    values: Sequence[bytes | None]


def statement(sql: str) -> Statement:
    text = " ".join(sql.split()).encode()
    return Statement(b"billing_" + sha256(text).hexdigest()[:24].encode(), text)


BEGIN, COMMIT = Query(statement("BEGIN"), ()), Query(statement("COMMIT"), ())
ROLLBACK = Query(statement("ROLLBACK"), ())
_BEGIN_SAID = Query(statement("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"), ())
_FORGET = Query(statement("DEALLOCATE ALL"), ())


class StoreConnection(psycopg.Connection[Any]):
    """A connection of the store's own, which prepares what it sends.

    Behind a pooler each transaction may be on another connection of the server's, which others
    have used before: nothing is prepared then (``prepared`` is None), and each transaction
    carries its settings: ``carried``, a statement.
    """

    prepared: set[bytes] | None
    carried: Query | None
    renewed: int  # how often all was prepared anew
    warnings: list[str]
    rests_until: float
    readable: select.poll

    def hear(self, notice: errors.Diagnostic) -> None:
        """A warning at a COMMIT says that it was not waited for the standby."""
        if notice.severity_nonlocalized == "WARNING":
            self.warnings.append(notice.message_primary or "")

    def run(self, queries: Sequence[Query]) -> list[list[Row]]:
        """The rows of each query.

        Raises Failure for what the server refuses, and the driver's errors; interrupted,
        it closes the connection: nothing is cancelled, since a COMMIT may be under way.

        Where a table's columns have another type than when a statement was prepared, all are
        prepared anew and the queries are sent again, once; in the middle of a transaction, which
        that error ends, they are not: whoever began it begins it again.
        """
        if self.carried is not None and self.pgconn.transaction_status == _IDLE:
            return self._carry(self.carried, queries)
        try:
            return self._run(queries)
        except Failure as failure:
            if not outdated(failure.error):
                raise
            failed = self.pgconn.transaction_status == _FAILED
            if failed:
                self._run([ROLLBACK])
            self.renew()
            if failed and not _begins(queries):
                raise
        return self._run(queries)

    def renew(self) -> None:
        """Prepare all anew from here on; outside a transaction."""
        if self.prepared is not None:
            self._run([_FORGET])
            self.prepared.clear()
        self.renewed += 1

    def _carry(self, settings: Query, queries: Sequence[Query]) -> list[list[Row]]:
        """Run them in a transaction that carries its settings, in the same exchange; one that
        they do not begin themselves ends with it."""
        if not _begins(queries):
            return self._carry(settings, [BEGIN, *queries, COMMIT])[1:-1]
        begin, *rest = queries
        if begin.statement == BEGIN.statement:
            begin = _BEGIN_SAID
        try:
            begun, _, *answers = self._run([begin, settings, *rest])
        except Failure as failure:
            # Told as of the queries, of which the settings are none.
            failure.index = max(failure.index - 1, 0)
            raise
        return [begun, *answers]

    def _run(self, queries: Sequence[Query]) -> list[list[Row]]:
        pgconn = self.pgconn
        try:
            return waiting.wait(exchange(pgconn, queries, self.prepared), pgconn.socket, _LOOK)
        except (Failure, psycopg.Error):
            raise
        except BaseException:
            pgconn.finish()
            raise


def _begins(queries: Sequence[Query]) -> bool:
    return queries[0].statement.sql.startswith(b"BEGIN")


def exchange(
    pgconn: psycopg.pq.abc.PGconn, queries: Sequence[Query], prepared: set[bytes] | None
) -> Exchange:
    """Send the queries, then gather the rows of each.  ``prepared``: the names that the
    connection knows, which grow; None prepares nothing.

    Queries that write more than one row's worth begin and commit a transaction themselves: that
    PostgreSQL takes all up to a Sync as one ("Pipelining" in "Message Flow") is not so behind
    every pooler, nor in every database that speaks its protocol.  What fails in the commit of a
    query without a transaction is a Failure at the index after the last.
    """
    if pgconn.pipeline_status != _NO_PIPELINE:
        raise errors.ProgrammingError("the connection is in a pipeline; use it outside of one")
    pgconn.enter_pipeline_mode()
    news = _send(pgconn, queries, prepared)
    pgconn.pipeline_sync()
    results = yield from _answers(pgconn)
    pgconn.exit_pipeline_mode()
    return _rows(queries, results, news, prepared)


def _send(
    pgconn: psycopg.pq.abc.PGconn, queries: Sequence[Query], prepared: set[bytes] | None
) -> list[bytes | None]:
    """What each answer will be to: the name of a statement being prepared, or a query."""
    news: list[bytes | None] = []
    fresh: set[bytes] = set()
    send = pgconn.send_query_prepared
    for (name, sql), values in queries:
        if prepared is None:
            pgconn.send_query_params(sql, values)
        else:
            if name not in prepared and name not in fresh:
                pgconn.send_prepare(name, sql)
                fresh.add(name)
                news.append(name)
            send(name, values)
        news.append(None)
    return news


def _answers(pgconn: psycopg.pq.abc.PGconn) -> Generator[Any, Any, list[Any]]:
    results: list[Any] = []
    busy, get = pgconn.is_busy, pgconn.get_result
    try:
        while pgconn.flush():
            ready = yield waiting.WAIT_RW
            if ready & waiting.READY_R:
                pgconn.consume_input()
        while True:
            # Wait on the socket first: libpq would wait with the interpreter's lock.
            while busy():
                if (yield waiting.WAIT_R):
                    pgconn.consume_input()
            result = get()
            if result is None:
                continue
            if result.status == _SYNC:
                return results
            results.append(result)
    except psycopg.Error:
        # A server that hangs up says why, as the answer to what it was doing.
        if any(result.status == _FATAL for result in results):
            return results
        raise


def _rows(
    queries: Sequence[Query],
    results: Sequence[Any],
    news: Sequence[bytes | None],
    prepared: set[bytes] | None,
) -> list[list[Row]]:
    rows: list[list[Row]] = []
    for result, name in zip(results, news, strict=False):
        status = result.status
        if status == _ROWS:
            get, width = result.get_value, range(result.nfields)
            rows.append([tuple(get(n, f) for f in width) for n in range(result.ntuples)])
        elif status == _DONE:
            if name is None:
                rows.append([])
            elif prepared is not None:
                prepared.add(name)
        else:
            raise Failure(len(rows), errors.error_from_result(result))
    if len(results) > len(news):
        raise Failure(len(rows), errors.error_from_result(results[len(news)]))
    if len(rows) != len(queries):
        raise errors.OperationalError("the connection was lost")
    return rows
