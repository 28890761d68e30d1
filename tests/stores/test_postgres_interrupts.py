"""An interrupt costs no connection: Ctrl-C, a greenlet that is killed, whatever is not an
Exception, wherever a connection is waited for, made, looked at, given or given back."""

from __future__ import annotations

import gc
import inspect
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest
from postgres_servers import DisposableStore
from psycopg_pool import ConnectionPool, PoolTimeout
from psycopg_pool.pool import WaitingClient

from billing_adapters.postgres import PostgresStore, pool
from billing_adapters.postgres.pool import Lines
from billing_adapters.postgres.wire import StoreConnection

SIZE = 2


class Killed(BaseException):
    """As GreenletExit, KeyboardInterrupt or SystemExit."""


@pytest.fixture(scope="module")
def server() -> Iterator[DisposableStore]:
    with DisposableStore() as store:
        yield store


@pytest.fixture
def lines(server: DisposableStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    # What is logged is kept by pytest, and what is kept is not collected.
    monkeypatch.setattr(logging.getLogger("psycopg.pool"), "disabled", True)
    options = {"pool_size": SIZE, "pool_seconds": 5.0}
    with closing(PostgresStore(server.dsn, schema=server.schema, **options)) as small:
        yield small._lines


class Interrupts:
    """The next call, once it is armed, is interrupted: before it has done anything, or after it
    has done all."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, where: object, name: str, *, after: bool = False
    ) -> None:
        self.armed = False
        found = getattr(where, name)
        of_class = isinstance(where, type) and inspect.ismethod(found)
        real: Callable[..., object] = found.__func__ if of_class else found

        def call(*args: object, **options: object) -> object:
            if not self.armed:
                return real(*args, **options)
            self.armed = False
            if after:
                real(*args, **options)
            raise Killed

        monkeypatch.setattr(where, name, classmethod(call) if of_class else call)

    def arm(self) -> None:
        self.armed = True


def each_time(interrupts: Interrupts, work: Callable[[], object]) -> None:
    """More often than there are connections."""
    for _ in range(2 * SIZE):
        interrupts.arm()
        with pytest.raises(Killed):
            work()
        gc.collect()


def lent(lines: Lines, times: int = 1) -> None:
    with ExitStack() as stack:
        for _ in range(times):
            stack.enter_context(lines.lent())


def all_places(lines: Lines) -> int:
    """How many connections can be lent at once."""
    lines._resting, resting = None, lines._resting
    if resting is not None:
        pool._back(resting)
    with ExitStack() as stack:
        given = []
        for _ in range(SIZE):
            line = stack.enter_context(lines.lent())
            line.execute("SELECT 1")
            given.append(line)
        assert len({id(line) for line in given}) == SIZE, "and nobody shares one"
        made = lines._opened().get_stats()["pool_size"]
        assert made == SIZE
    return len(given)


def test_who_is_interrupted_in_the_queue_is_given_no_connection(lines, monkeypatch) -> None:
    each_time(Interrupts(monkeypatch, WaitingClient, "wait"), lambda: lent(lines, SIZE + 1))
    assert all_places(lines) == SIZE


def test_who_is_interrupted_when_a_connection_has_just_come_gives_it_back(
    lines, monkeypatch
) -> None:
    interrupts = Interrupts(monkeypatch, WaitingClient, "wait", after=True)
    for n in range(1, SIZE + 1):  # from then on there is one, and nobody waits
        interrupts.arm()
        with pytest.raises(Killed):
            lent(lines, n)
    assert all_places(lines) == SIZE


def test_a_signal_while_a_connection_is_made(lines, monkeypatch) -> None:
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    connects = psycopg.Connection.connect.__func__  # type: ignore[attr-defined]
    main = threading.main_thread().ident
    assert main is not None
    heard = threading.Event()

    def slowly(*args: object, **options: object) -> object:
        signal.pthread_kill(main, signal.SIGINT)
        heard.wait(10)
        return connects(*args, **options)

    monkeypatch.setattr(psycopg.Connection, "connect", classmethod(slowly))
    try:
        for n in range(1, SIZE + 1):
            heard.clear()
            try:
                lent(lines, n)
            except KeyboardInterrupt:
                heard.set()
            assert heard.is_set(), "it waited for one more than there were"
    finally:
        heard.set()
        signal.signal(signal.SIGINT, usual)
    monkeypatch.undo()
    assert all_places(lines) == SIZE


def test_a_thread_of_the_pool_that_is_interrupted_while_it_connects(lines, monkeypatch) -> None:
    Interrupts(monkeypatch, psycopg.Connection, "connect").arm()
    lent(lines)  # it tries again
    assert all_places(lines) == SIZE


@pytest.mark.parametrize("after", [False, True])
def test_a_thread_of_the_pool_that_is_interrupted_while_it_sets_up(
    lines, monkeypatch, after
) -> None:
    Interrupts(monkeypatch, StoreConnection, "execute", after=after).arm()
    lent(lines)
    assert all_places(lines) == SIZE


def test_a_thread_of_the_pool_that_is_interrupted_until_nobody_waits_any_more(
    server, monkeypatch
) -> None:
    options = {"pool_size": SIZE, "pool_seconds": 0.5}
    with closing(PostgresStore(server.dsn, schema=server.schema, **options)) as small:
        interrupts = Interrupts(monkeypatch, psycopg.Connection, "connect")
        interrupts.arm()
        with pytest.raises(PoolTimeout) as caught, small._lines.lent():
            pass
        assert "connecting was interrupted: Killed()" in str(caught.value.__cause__)
        time.sleep(2)  # then it has given up
        assert all_places(small._lines) == SIZE


def test_who_is_interrupted_while_a_connection_is_looked_at(lines, monkeypatch) -> None:
    monkeypatch.setattr(pool, "_RESTS", 0.0)  # the pool is asked for each
    lent(lines, SIZE)
    each_time(Interrupts(monkeypatch, pool, "_dropped"), lambda: lent(lines, SIZE))
    assert all_places(lines) == SIZE


def test_who_is_interrupted_while_the_one_that_rests_is_looked_at(lines, monkeypatch) -> None:
    lent(lines)
    each_time(Interrupts(monkeypatch, pool, "_dropped"), lambda: lent(lines, SIZE))
    assert all_places(lines) == SIZE


def test_who_is_interrupted_while_the_schema_is_looked_at(lines, monkeypatch) -> None:
    each_time(Interrupts(monkeypatch, lines, "_check"), lambda: lent(lines))
    assert all_places(lines) == SIZE


@pytest.mark.parametrize("after", [False, True])
def test_who_is_interrupted_while_what_was_begun_is_undone(lines, monkeypatch, after) -> None:
    def work() -> None:
        with lines.lent() as line:
            line.execute("BEGIN")

    each_time(Interrupts(monkeypatch, StoreConnection, "run", after=after), work)
    assert not lines._lost, "it was given back at once"
    assert all_places(lines) == SIZE


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("ended", [False, True])
def test_who_is_interrupted_while_a_connection_is_given_back(
    lines, monkeypatch, after, ended
) -> None:
    def work() -> None:
        with lines.lent() as line:
            line.rests_until = 0
            if ended:
                line.pgconn.finish()

    each_time(Interrupts(monkeypatch, ConnectionPool, "putconn", after=after), work)
    assert not lines._lost
    assert all_places(lines) == SIZE


def test_who_is_interrupted_as_soon_as_a_connection_is_given(lines, monkeypatch) -> None:
    """The moment between the pool's giving and anybody's having: it is held by nobody then."""
    lent(lines)
    interrupts = Interrupts(monkeypatch, ConnectionPool, "getconn", after=True)
    each_time(interrupts, lambda: lent(lines, 2))
    assert all_places(lines) == SIZE


def test_who_is_interrupted_while_a_connection_is_asked_for(lines, monkeypatch) -> None:
    lent(lines)
    each_time(Interrupts(monkeypatch, ConnectionPool, "getconn"), lambda: lent(lines, 2))
    assert all_places(lines) == SIZE
    assert lines._asking == 0


def test_a_store_that_is_closed_has_lost_nothing(lines) -> None:
    with lines.lent() as line, pytest.raises(Killed):
        raise Killed
    lines.close()
    del line
    gc.collect()
    assert not lines._lost
    assert all_places(lines) == SIZE
