"""The store's own connections: how they are made, lent, and taken across a fork.

The pool keeps count of its places, and notes what ends in an ``Exception``.  Ctrl-C, a greenlet
that is killed, SystemExit: any other BaseException would lose the place of a connection that is
waited for, made or given back at that moment, for good.  So it is noted here: see
:func:`_stops_waiting`, :func:`_back` and ``Connecting``.
"""

from __future__ import annotations

import os
import re
import select
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolTimeout
from psycopg_pool.pool import WaitingClient

from billing_adapters.credentials import unshown
from billing_adapters.postgres.wire import ROLLBACK, Query, StoreConnection, statement
from billing_core.errors import InvalidCommand

__all__ = ["Lines", "shown", "unsaid", "with_defaults"]

_SETTINGS = """
-- Else what is warned of at a COMMIT is not heard.
SET client_min_messages = warning;
SET lock_timeout = {lock};
SET statement_timeout = {statement};
SET idle_in_transaction_session_timeout = {idle};
-- A commit is on disk before anybody is told; a stricter setting is left alone.
SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off';
SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = off;
-- Every statement finds its rows by a key. A plan made while a table was small must not scan
-- it when it has grown.
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET plan_cache_mode = force_generic_plan;
SET jit = off
"""

# The same for one transaction, whatever others have left on the connection; NULL is what the server
# and the role say.  The rest that could change what our statements mean is set too.
_CARRIED = """
SELECT set_config('client_min_messages', 'warning', true),
    set_config('lock_timeout', '{lock}', true),
    set_config('statement_timeout', '{statement}', true),
    set_config('idle_in_transaction_session_timeout', '{idle}', true),
    set_config('synchronous_commit', coalesce(nullif(
        set_config('synchronous_commit', NULL, true), 'off'), 'on'), true),
    set_config('role', NULL, true),
    set_config('search_path', NULL, true),
    set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true),
    set_config('jit', 'off', true)
"""

# As libpq has them: to look an enumeration up costs as much as to ask libpq.
_IDLE, _UNKNOWN = int(TransactionStatus.IDLE), int(TransactionStatus.UNKNOWN)
_RESTS = 1.0  # second


class _Pool(ConnectionPool[StoreConnection]):
    """Notes at once, not when it has come back from there, that another is made for one that has
    ended: an interrupt in between would have two made for it."""

    def _return_connection(self, conn: StoreConnection, *args: Any, **named: Any) -> None:
        super()._return_connection(conn, *args, **named)
        if conn.pgconn.transaction_status == _UNKNOWN:
            conn._pool = None


class Lines:
    """A pool of connections, made when one is first asked for; a forked process makes its
    own.  ``check``: done once, with the first connection.

    The pool's own give and take cost a twentieth of a small write.  So one connection that nobody
    waits for rests here for who comes next; the pool sees it again every second that it is
    used, and replaces it where it has grown old.
    """

    def __init__(
        self,
        dsn: str,
        *,
        size: int,
        wait: float,
        lock: float,
        query: float,
        check: Callable[[psycopg.Connection[Any]], object],
    ) -> None:
        self._dsn = with_defaults(dsn)
        self._size = size
        self._wait = wait
        limits = {"lock": _millis(lock), "statement": _millis(query), "idle": _millis(60)}
        self._settings = _SETTINGS.format(**limits).encode()
        self._carried = Query(statement(_CARRIED.format(**limits)), ())
        self._check = check
        self._reset()
        _ALL.add(self)

    def _reset(self) -> None:
        self._mutex = threading.Lock()
        self._pool: ConnectionPool[StoreConnection] | None = None
        self._checked = False
        self._resting: StoreConnection | None = None
        self._failed: psycopg.Error | None = None  # the last attempt to connect, if it did
        self._asking = 0  # how many ask the pool, to which all is given back then
        self._renewed = 0  # what one connection had to prepare anew, the others have to as well
        self._lost: deque[StoreConnection] = deque()  # lent, and held by nobody

    def _forked(self) -> None:
        # Its connections are the parent's: kept, so that nothing closes them here.
        _INHERITED.append((self._pool, self._resting, self._lost))
        self._reset()

    def close(self) -> None:
        """Close the connections; taking one opens others."""
        with self._mutex:
            pool, self._pool = self._pool, None
            resting, self._resting = self._resting, None
        if pool is not None:
            pool.close()
        if resting is not None:
            _back(resting)

    def _opened(self) -> ConnectionPool[StoreConnection]:
        pool = self._pool
        if pool is None:
            with self._mutex:
                pool = self._pool
                if pool is None:
                    pool = self._pool = _Pool(
                        self._dsn,
                        connection_class=self._connecting(),
                        kwargs={"autocommit": True, "prepare_threshold": None},
                        min_size=0,  # else the first caller has two made
                        max_size=self._size,
                        open=True,
                        timeout=self._wait,
                        reconnect_timeout=self._wait,
                        configure=self._configure,
                        name="billing",
                    )
        return pool

    def _connecting(self) -> type[StoreConnection]:
        """A Line that remembers why none could be made: the pool tells its log alone.  Lent and
        then let go of by everybody, it comes back by itself."""
        lines = self

        class Connecting(StoreConnection):
            @classmethod
            def connect(cls, *args: Any, **options: Any) -> Any:
                try:
                    line = super().connect(*args, **options)
                except psycopg.Error as error:
                    lines._failed = unsaid(error)
                    raise
                except Exception:
                    raise
                except BaseException as error:
                    lines._failed = _interrupted(error)
                    raise lines._failed from error
                lines._failed = None
                return line

            def __del__(self, *_: Any) -> None:
                # Wherever this happens to run, a deque may be appended to.
                if getattr(self, "_pool", None) is not None:
                    lines._lost.append(self)

        return Connecting

    def _configure(self, line: StoreConnection) -> None:
        try:
            self._set_up(line)
        except BaseException as error:
            line.close()
            line._pool = None
            if isinstance(error, Exception):
                raise
            raise _interrupted(error) from error

    def _set_up(self, line: StoreConnection) -> None:
        line.prepared, line.carried = set(), None
        line.warnings, line.renewed = [], self._renewed
        line.readable = select.poll()
        line.readable.register(line.pgconn.socket, select.POLLIN)
        line.add_notice_handler(line.hear)
        if _pooled(line):
            # Nothing is set on the server's connection, which is others' too.
            line.prepared, line.carried = None, self._carried
        else:
            line.execute(self._settings)

    def take(self) -> StoreConnection:
        """A connection, which must be given back.  Raises the driver's errors."""
        with self._mutex:
            line, self._resting = self._resting, None
            if line is None:
                self._asking += 1
        if line is None:
            line = self._asked()
        elif self._is_dropped(line):
            return self.take()
        if self._checked and line.renewed == self._renewed:
            return line
        try:
            if line.renewed < self._renewed:
                line.renew()
                line.renewed = self._renewed
            if not self._checked:
                with line.transaction():
                    if line.carried is not None:
                        line.execute(line.carried.statement.sql)
                    self._check(line)
                self._checked = True
        except BaseException:
            self.give(line)
            raise
        return line

    def _asked(self) -> StoreConnection:
        try:
            self._give_lost()
            pool, until = self._opened(), time.monotonic() + self._wait
            line = _taken(pool, until)
            # All that were idle may be of no use, as after a restart of the server. The pool's own
            # check would pause before each, ever longer.
            while self._is_dropped(line):
                line = _taken(pool, until)
        except PoolTimeout as error:
            raise error from self._failed
        finally:
            with self._mutex:
                self._asking -= 1
        line.rests_until = time.monotonic() + _RESTS
        return line

    def _is_dropped(self, line: StoreConnection) -> bool:
        """Whether one that was idle is of no use any more; then it is given back."""
        dropped = True
        try:
            dropped = _dropped(line)
        finally:
            if dropped:
                _back(line)
        return dropped

    def _give_lost(self) -> None:
        """Let others be made for those that are lost."""
        while self._lost:
            try:
                line = self._lost.popleft()
            except IndexError:  # another was faster
                return
            line.pgconn.finish()
            _back(line)

    def give(self, line: StoreConnection) -> None:
        """Give it back; what it has begun is undone."""
        pgconn = line.pgconn
        status = pgconn.transaction_status
        self._renewed = max(self._renewed, line.renewed)
        if status not in (_IDLE, _UNKNOWN):
            try:
                line.run([ROLLBACK])
            except BaseException as error:
                # What was begun ends with the connection.
                pgconn.finish()
                if not isinstance(error, Exception):
                    _back(line)
                    raise
        if status == _IDLE and line.rests_until > time.monotonic():
            with self._mutex:
                mine = line._pool is self._pool
                if mine and not self._asking and self._resting is None:
                    self._resting = line
                    return
        _back(line)

    @contextmanager
    def lent(self) -> Iterator[StoreConnection]:
        line = self.take()
        try:
            yield line
        finally:
            self.give(line)


def unsaid(error: psycopg.Error) -> psycopg.Error:
    """An error of connecting, without the settings of the connection: among them its password."""
    error._pgconn = None
    return error


def _pooled(line: StoreConnection) -> bool:
    """Whether a pooler is in between, which has a number of its own in the server's place."""
    there = line.execute("SELECT pg_backend_pid()").fetchone()
    return there != (line.pgconn.backend_pid,)


def _back(line: StoreConnection) -> None:
    """To its pool, which closes what is of no use any more."""
    pool: Any = line._pool
    try:
        pool.putconn(line)
    except BaseException:
        if line._pool is not None:  # else it is in the pool, or another is made for it
            line.pgconn.finish()
            pool.putconn(line)
        raise


def _taken(pool: ConnectionPool[StoreConnection], until: float) -> StoreConnection:
    try:
        return pool.getconn(until - time.monotonic())
    except Exception:
        raise
    except BaseException as error:
        _stops_waiting(pool, error)
        raise


def _stops_waiting(pool: ConnectionPool[StoreConnection], error: BaseException) -> None:
    """Leave the pool's queue: whoever was interrupted there would be given the next connection,
    which nobody would ever give back.  One that it was being given goes back."""
    given: dict[int, StoreConnection] = {}
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name not in ("_getconn_unchecked", "_get_ready_connection"):
            continue
        waiting, line = frame.f_locals.get("pos"), frame.f_locals.get("conn")
        if isinstance(waiting, WaitingClient):
            waiting.fail(PoolTimeout("interrupted"))
            line = line or waiting.conn
        if isinstance(line, StoreConnection):
            given[id(line)] = line
    for line in given.values():
        line._pool = pool
        _back(line)


def _interrupted(error: BaseException) -> psycopg.Error:
    """What interrupts one of the pool's own threads, which nobody has called, is a failure to
    whoever waits for the connection."""
    return psycopg.OperationalError(f"connecting was interrupted: {error!r}")


def _dropped(line: StoreConnection) -> bool:
    """An idle connection on which there is something to read has been hung up on, or is
    about to be: found out without asking the server."""
    if line.readable.poll(0):
        line.pgconn.finish()
        return True
    return False


def _millis(seconds: float) -> int:
    return max(1, round(seconds * 1000))


_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 10,
    "application_name": "billing",
    # A server that is gone without a word is found out in half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}


def with_defaults(dsn: str) -> str:
    """The connection string of the store's own connections.  What they say is UTF-8, whatever
    the host's own encoding is."""
    given = conninfo.conninfo_to_dict(dsn)
    return conninfo.make_conninfo("", **{**_DEFAULTS, **given, "client_encoding": "UTF8"})


def shown(dsn: object) -> str:
    """Where a connection string leads, without its secrets.

    It may hold a password, also one that is malformed or of another type.  A password with an
    @, a / or a : that is not written %40, %2F, %3A is taken for a part of the host, the port or
    the database, which libpq and the server name in their errors: so it is refused.  No error
    shows what was given, nor what libpq says of it.
    """
    given = _parts(dsn) if isinstance(dsn, str) and dsn.strip() else None
    if given is None:
        raise InvalidCommand(
            "dsn",
            unshown(dsn),
            "a connection string as str, such as postgresql://user@host/database, without white "
            "space, and with %40 for an @, %2F for a / and %3A for a : of the password",
        )
    port = f":{given['port']}" if given.get("port") else ""
    return f"postgresql://{given.get('host', '')}{port}/{given.get('dbname', '')}"


_URL = re.compile(r"postgres(?:ql)?://([^?]*)")
_PORT = re.compile(r"\d{0,5}", re.ASCII)


def _parts(dsn: str) -> dict[str, str] | None:
    """What a connection string says, or None where it is misspelt, as far as can be seen."""
    try:
        given = {name: str(value) for name, value in conninfo.conninfo_to_dict(dsn).items()}
    except (psycopg.Error, ValueError):
        return None
    url = _URL.match(dsn)
    if url is not None:
        place, _, rest = url[1].partition("/")
        if place.count("@") > 1 or "@" in rest or any(each.isspace() for each in dsn):
            return None
    hosts, ports = given.get("host", "").split(","), given.get("port", "").split(",")
    if any("@" in each[1:] or any(c.isspace() for c in each) for each in hosts):
        return None
    if not all(_PORT.fullmatch(each.strip()) for each in ports):
        return None
    return None if "://" in given.get("dbname", "") else given


_ALL: weakref.WeakSet[Lines] = weakref.WeakSet()
_INHERITED: list[object] = []


def _after_fork() -> None:
    for lines in list(_ALL):
        lines._forked()


os.register_at_fork(after_in_child=_after_fork)
