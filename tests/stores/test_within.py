"""In the host's own transaction: its row and the charge commit together or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from postgres_servers import DisposableStore, shared_dsn
from psycopg.rows import dict_row

from billing_adapters.postgres import PostgresStore
from billing_adapters.sqlite import SqliteStore
from billing_core import AsyncBilling, Billing, InvalidCommand, Refused, StoreError, usd

DIME = usd("0.10")


class Sqlite:
    """A database with the host's table and the store's, and hosts' connections to it."""

    begin = "BEGIN IMMEDIATE"

    def __init__(self, folder: Path) -> None:
        self.store: Any = SqliteStore(folder / "b.db")
        self.hosts: list[Any] = []
        self.jobs = "jobs"
        self.connect().execute("CREATE TABLE jobs (name TEXT)")

    def impatient(self) -> Any:
        """A store that waits for nobody: on a busy machine it gives up where others go on."""
        return SqliteStore(self.store.path, busy_seconds=0.1)

    def connect(self) -> Any:
        host = sqlite3.connect(self.store.path, isolation_level=None, check_same_thread=False)
        self.hosts.append(host)
        return host

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        self.store.close()


class Postgres(Sqlite):
    begin = "BEGIN"

    def __init__(self, _: Path) -> None:
        self.store = DisposableStore()
        self.hosts = []
        self.jobs = f'"{self.store.schema}".jobs'
        self.connect().execute(f"CREATE TABLE {self.jobs} (name TEXT)")

    def impatient(self) -> Any:
        return PostgresStore(self.store.dsn, schema=self.store.schema, lock_seconds=0.1)

    def connect(self) -> Any:
        host = psycopg.connect(shared_dsn(), autocommit=True)
        self.hosts.append(host)
        return host


@pytest.fixture(params=[Sqlite, Postgres], ids=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sqlite]:
    place = request.param(tmp_path)
    yield place
    place.close()


@pytest.fixture
def billing(place: Sqlite) -> Billing:
    return funded(place.store)


def funded(store: Any) -> Billing:
    billing = Billing(store)
    billing.open_account("acme")
    billing.grant("acme", "credit", usd("1"))
    return billing


@pytest.fixture
def host(place: Sqlite) -> Any:
    return place.connect()


@pytest.fixture
def charge(place: Sqlite, billing: Billing) -> Callable[[Any, str], None]:
    def charge(host: Any, name: str) -> None:
        host.execute(f"INSERT INTO {place.jobs} VALUES ('{name}')")
        billing.within(host).deduct("acme", name, DIME, resource="job")

    return charge


@pytest.fixture
def state(place: Sqlite, billing: Billing) -> Callable[[], tuple[int, int]]:
    def state() -> tuple[int, int]:
        [jobs] = place.hosts[0].execute(f"SELECT count(*) FROM {place.jobs}").fetchone()
        return jobs, billing.balance("acme").used

    return state


def test_the_host_commits_both(place, billing, host, charge, state) -> None:
    host.execute(place.begin)
    charge(host, "a")
    assert billing.balance("acme").used == 0  # not yet, for anyone else
    assert billing.within(host).balance("acme").used == DIME.nanos
    host.execute("COMMIT")
    assert state() == (1, DIME.nanos)
    assert billing.verify().ok


def test_the_host_rolls_back_both(place, billing, host, charge, state) -> None:
    host.execute(place.begin)
    charge(host, "a")
    host.execute("ROLLBACK")
    assert state() == (0, 0)
    # The key was never used.
    billing.deduct("acme", "a", DIME, resource="job")
    assert billing.verify().ok


def test_a_name_is_erased_with_the_host_s_rows(place, billing, host) -> None:
    billing.deduct("acme", "of-ann", DIME, resource="job", member="ann")
    host.execute(place.begin)
    inside = billing.within(host)
    assert inside.erase_member("acme", "ann") and not inside.erase_member("acme", "ann")
    host.execute("ROLLBACK")
    assert billing.erase_member("acme", "ann")


def test_a_savepoint_rolled_back_takes_its_charge_along(
    place, billing, host, charge, state
) -> None:
    host.execute(place.begin)
    charge(host, "kept")
    host.execute("SAVEPOINT mine")
    charge(host, "dropped")
    host.execute("ROLLBACK TO mine")
    charge(host, "kept too")
    host.execute("COMMIT")
    assert state() == (2, 2 * DIME.nanos)
    assert billing.find("acme", "deduct", "dropped") is None
    assert billing.verify().ok


def test_a_refusal_leaves_the_host_s_transaction_as_it_was(place, billing, host, state) -> None:
    host.execute(place.begin)
    host.execute(f"INSERT INTO {place.jobs} VALUES ('free')")
    with pytest.raises(Refused):
        billing.within(host).deduct("acme", "dear", usd("2"), resource="job")
    host.execute("COMMIT")
    assert state() == (1, 0)


def test_the_engine_outside_gets_a_retryable_error_in_bounded_time(
    place, billing, host, state
) -> None:
    with place.impatient() as store:
        outside = Billing(store)
        host.execute(place.begin)
        host.execute(f"INSERT INTO {place.jobs} VALUES ('a')")
        outside.within(host).deduct("acme", "a", DIME, resource="job")
        with pytest.raises(StoreError) as caught:
            outside.deduct("acme", "outside", DIME, resource="job")
    assert caught.value.retryable
    assert not caught.value.outcome_unknown
    host.execute("COMMIT")
    billing.deduct("acme", "outside", DIME, resource="job")
    assert state() == (1, 2 * DIME.nanos)


def test_what_a_host_writes_is_seen_by_an_engine_that_remembers_otherwise(
    place, billing, host, charge, state
) -> None:
    for number in range(3):
        billing.deduct("acme", f"mine-{number}", DIME, resource="job")
        host.execute(place.begin)
        charge(host, f"theirs-{number}")
        host.execute("COMMIT" if number else "ROLLBACK")
    assert state() == (2, 5 * DIME.nanos)
    assert billing.verify().ok


def test_two_hosts_on_one_org_take_turns(place, billing, charge, state) -> None:
    """The second waits for the first one's end, or is told to come again."""
    both = threading.Barrier(2, timeout=60)

    def work(number: int) -> None:
        host = place.connect()
        for turn in range(5):
            both.wait()
            while True:
                try:
                    host.execute(place.begin)
                    charge(host, f"{number}-{turn}")
                    host.execute("COMMIT")
                    break
                except (sqlite3.OperationalError, StoreError):
                    host.rollback()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, range(2)))
    assert state() == (10, usd("1").nanos)
    assert billing.verify().ok


def test_a_transaction_is_needed(place, billing, host) -> None:
    with pytest.raises(StoreError, match="begin one"):
        billing.within(host).deduct("acme", "a", DIME, resource="job")
    with pytest.raises(StoreError, match="begin one"):
        billing.within(host).balance("acme")
    with pytest.raises(InvalidCommand):
        billing.within("b.db")


# -- SQLite's own -----------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Sqlite]:
    file = Sqlite(tmp_path)
    yield file
    file.close()


def test_a_stale_deferred_transaction_is_found_out(file: Sqlite) -> None:
    billing, host = funded(file.store), file.connect()
    host.execute("BEGIN")
    host.execute("SELECT count(*) FROM jobs").fetchone()  # its snapshot is taken here
    billing.deduct("acme", "meanwhile", DIME, resource="job")
    with pytest.raises(StoreError) as caught:
        billing.within(host).deduct("acme", "a", DIME, resource="job")
    assert caught.value.retryable
    host.execute("ROLLBACK")
    assert billing.balance("acme").used == DIME.nanos


def test_the_host_s_own_settings_stay(file: Sqlite) -> None:
    billing, host = funded(file.store), file.connect()
    host.row_factory = sqlite3.Row
    host.text_factory = bytes
    settings = host.execute("PRAGMA synchronous").fetchone()[0]
    host.execute("BEGIN IMMEDIATE")
    billing.within(host).deduct("acme", "a", DIME, resource="job")
    assert host.row_factory is sqlite3.Row
    assert host.text_factory is bytes
    assert settings == host.execute("PRAGMA synchronous").fetchone()[0]
    host.execute("COMMIT")
    assert billing.verify().ok


def test_another_database_s_connection_is_refused(file: Sqlite, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="not to a billing database"):
        funded(file.store).within(other)
    other.close()


# -- PostgreSQL's own -------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Postgres]:
    server = Postgres(Path())
    yield server
    server.close()


def settings_of(host: psycopg.Connection[Any]) -> list[Any]:
    rows = host.execute(
        "SELECT name, setting FROM pg_settings WHERE name <> 'application_name' ORDER BY name"
    ).fetchall()
    prepared = host.execute("SELECT count(*) AS n FROM pg_prepared_statements").fetchall()
    return [*rows, *prepared]


def test_the_host_s_factories_and_settings_stay(server: Postgres) -> None:
    billing = funded(server.store)
    with psycopg.connect(shared_dsn(), row_factory=dict_row, prepare_threshold=None) as host:
        host.execute("SET bytea_output = 'escape'")
        host.execute("SET search_path = pg_catalog")
        before = settings_of(host)
        inside = billing.within(host)
        inside.deduct("acme", "a", DIME, resource="job")
        assert inside.find("acme", "deduct", "a") is not None
        assert settings_of(host) == before
        assert host.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    assert billing.verify().ok


def test_a_repeatable_host_that_comes_late_is_told_to_come_again(server: Postgres) -> None:
    billing = funded(server.store)
    host = server.connect()
    host.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    host.execute(f"SELECT count(*) FROM {server.jobs}")
    billing.deduct("acme", "meanwhile", DIME, resource="job")
    with pytest.raises(StoreError) as caught:
        billing.within(host).deduct("acme", "a", DIME, resource="job")
    assert caught.value.retryable
    host.execute("SELECT 1")  # and the host's transaction goes on
    host.execute("ROLLBACK")
    assert billing.balance("acme").used == DIME.nanos


def test_a_failed_or_foreign_transaction_is_refused(server: Postgres) -> None:
    billing, host = funded(server.store), server.connect()
    host.execute("BEGIN")
    with pytest.raises(psycopg.Error):
        host.execute("SELECT 1 / 0")
    with pytest.raises(StoreError, match="INERROR"):
        billing.within(host)
    host.execute("ROLLBACK")
    host.execute("BEGIN")
    with host.pipeline(), pytest.raises(StoreError, match="pipeline"):
        billing.within(host).deduct("acme", "a", DIME, resource="job")
    nowhere = PostgresStore(shared_dsn(), schema="nowhere")
    with nowhere, psycopg.connect(shared_dsn()) as host:
        host.execute("SELECT 1")
        with pytest.raises(StoreError, match="billing migrate"):
            Billing(nowhere).within(host).deduct("acme", "a", DIME, resource="job")


def test_an_async_host_commits_both_or_neither(server: Postgres) -> None:
    billing = funded(server.store)

    async def work() -> None:
        engine = AsyncBilling(server.store)
        async with await psycopg.AsyncConnection.connect(shared_dsn()) as host:
            for name in ("dropped", "kept"):
                await host.execute(f"INSERT INTO {server.jobs} VALUES (%s)", (name,))
                inside = engine.within(host)
                await inside.deduct("acme", name, DIME, resource="job")
                assert (await inside.balance("acme")).used == DIME.nanos
                assert (await engine.balance("acme")).used == 0
                with pytest.raises(Refused):
                    await inside.deduct("acme", f"dear {name}", usd("2"), resource="job")
                if name == "dropped":
                    await host.rollback()
        async with await psycopg.AsyncConnection.connect(shared_dsn()) as host:
            with pytest.raises(StoreError, match="begin one"):
                engine.within(host)

    asyncio.run(work())
    [jobs] = server.hosts[0].execute(f"SELECT count(*) FROM {server.jobs}").fetchone()
    assert (jobs, billing.balance("acme").used) == (1, DIME.nanos)
    assert billing.find("acme", "deduct", "dropped") is None
    assert billing.verify().ok


def test_two_async_hosts_on_one_org_take_turns(server: Postgres) -> None:
    billing = funded(server.store)

    async def host(number: int) -> None:
        engine = AsyncBilling(server.store)
        async with await psycopg.AsyncConnection.connect(shared_dsn()) as connection:
            for turn in range(5):
                await connection.execute("SELECT 1")
                await engine.within(connection).deduct(
                    "acme", f"{number}-{turn}", DIME, resource="job"
                )
                await asyncio.sleep(0)
                await connection.commit()

    async def both() -> None:
        await asyncio.gather(host(0), host(1))

    asyncio.run(asyncio.wait_for(both(), 30))
    assert billing.balance("acme").used == usd("1").nanos
    assert billing.verify().ok


def test_a_cancelled_await_leaves_the_connection_to_the_host(server: Postgres) -> None:
    billing, rival = funded(server.store), server.connect()
    rival.execute("BEGIN")
    billing.within(rival).deduct("acme", "rival", DIME, resource="job")

    async def work() -> None:
        engine = AsyncBilling(server.store)
        async with await psycopg.AsyncConnection.connect(shared_dsn()) as host:
            await host.execute("SET LOCAL lock_timeout = '2s'")
            call = asyncio.create_task(
                engine.within(host).deduct("acme", "cut", DIME, resource="job")
            )
            waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND pid = %s"
            while not (call.done() or rival.execute(waits, [host.info.backend_pid]).fetchall()):
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            # Nobody uses the connection any more, and the savepoint is undone.
            await host.execute(f"INSERT INTO {server.jobs} VALUES ('mine')")

    asyncio.run(work())
    rival.execute("COMMIT")
    [jobs] = server.hosts[0].execute(f"SELECT count(*) FROM {server.jobs}").fetchone()
    assert (jobs, billing.balance("acme").used) == (1, DIME.nanos)
