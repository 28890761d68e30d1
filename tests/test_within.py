"""In the host's own transaction: its row and the charge commit together or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing_adapters.sqlite import SqliteStore
from billing_core import Billing, InvalidCommand, Refused, StoreError, usd

DIME = usd("0.10")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "b.db", busy_seconds=0.1) as store:
        yield store


@pytest.fixture
def billing(store: SqliteStore) -> Billing:
    billing = Billing(store)
    billing.open_account("acme")
    billing.grant("acme", "credit", usd("1"))
    return billing


@pytest.fixture
def host(store: SqliteStore) -> Iterator[sqlite3.Connection]:
    host = sqlite3.connect(store.path, isolation_level=None)
    host.execute("CREATE TABLE jobs (name TEXT)")
    yield host
    host.close()


def state(billing: Billing, host: sqlite3.Connection) -> tuple[int, int]:
    [jobs] = host.execute("SELECT count(*) FROM jobs").fetchone()
    return jobs, billing.balance("acme").used


def charge(billing: Billing, host: sqlite3.Connection, name: str) -> None:
    host.execute("INSERT INTO jobs VALUES (?)", (name,))
    billing.within(host).deduct("acme", name, DIME, resource="job")


def test_the_host_commits_both(billing: Billing, host: sqlite3.Connection) -> None:
    host.execute("BEGIN IMMEDIATE")
    charge(billing, host, "a")
    assert billing.balance("acme").used == 0  # not yet, for anyone else
    assert billing.within(host).balance("acme").used == DIME.nanos
    host.execute("COMMIT")
    assert state(billing, host) == (1, DIME.nanos)
    assert billing.verify().ok


def test_the_host_rolls_back_both(billing: Billing, host: sqlite3.Connection) -> None:
    host.execute("BEGIN IMMEDIATE")
    charge(billing, host, "a")
    host.execute("ROLLBACK")
    assert state(billing, host) == (0, 0)
    # The key was never used.
    billing.deduct("acme", "a", DIME, resource="job")
    assert billing.verify().ok


def test_a_savepoint_rolled_back_takes_its_charge_along(
    billing: Billing, host: sqlite3.Connection
) -> None:
    host.execute("BEGIN IMMEDIATE")
    charge(billing, host, "kept")
    host.execute("SAVEPOINT mine")
    charge(billing, host, "dropped")
    host.execute("ROLLBACK TO mine")
    charge(billing, host, "kept too")
    host.execute("COMMIT")
    assert state(billing, host) == (2, 2 * DIME.nanos)
    assert billing.find("acme", "deduct", "dropped") is None
    assert billing.verify().ok


def test_a_refusal_leaves_the_host_s_transaction_as_it_was(
    billing: Billing, host: sqlite3.Connection
) -> None:
    host.execute("BEGIN IMMEDIATE")
    host.execute("INSERT INTO jobs VALUES ('free')")
    with pytest.raises(Refused):
        billing.within(host).deduct("acme", "dear", usd("2"), resource="job")
    assert host.in_transaction
    host.execute("COMMIT")
    assert state(billing, host) == (1, 0)


def test_the_engine_outside_gets_a_retryable_error_in_bounded_time(
    billing: Billing, host: sqlite3.Connection
) -> None:
    host.execute("BEGIN IMMEDIATE")
    charge(billing, host, "a")
    with pytest.raises(StoreError) as caught:
        billing.deduct("acme", "outside", DIME, resource="job")
    assert caught.value.retryable
    assert not caught.value.outcome_unknown
    host.execute("COMMIT")
    billing.deduct("acme", "outside", DIME, resource="job")
    assert state(billing, host) == (1, 2 * DIME.nanos)


def test_a_write_transaction_is_needed(billing: Billing, host: sqlite3.Connection) -> None:
    with pytest.raises(StoreError, match="BEGIN IMMEDIATE"):
        billing.within(host).deduct("acme", "a", DIME, resource="job")
    with pytest.raises(StoreError, match="BEGIN IMMEDIATE"):
        billing.within(host).balance("acme")


def test_a_stale_deferred_transaction_is_found_out(
    billing: Billing, host: sqlite3.Connection
) -> None:
    host.execute("BEGIN")
    host.execute("SELECT count(*) FROM jobs").fetchone()  # its snapshot is taken here
    billing.deduct("acme", "meanwhile", DIME, resource="job")
    with pytest.raises(StoreError) as caught:
        billing.within(host).deduct("acme", "a", DIME, resource="job")
    assert caught.value.retryable
    host.execute("ROLLBACK")
    assert state(billing, host) == (0, DIME.nanos)


def test_the_host_s_own_settings_stay(billing: Billing, host: sqlite3.Connection) -> None:
    host.row_factory = sqlite3.Row
    host.text_factory = bytes
    settings = [host.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous",)]
    host.execute("BEGIN IMMEDIATE")
    charge(billing, host, "a")
    assert host.row_factory is sqlite3.Row
    assert host.text_factory is bytes
    assert settings == [host.execute("PRAGMA synchronous").fetchone()[0]]
    host.execute("COMMIT")
    assert billing.verify().ok


def test_another_database_s_connection_is_refused(billing: Billing, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="not to a billing database"):
        billing.within(other)
    other.close()
    with pytest.raises(InvalidCommand):
        billing.within("b.db")
