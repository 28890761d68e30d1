"""The database is the host's: its migrations alter our tables too, its defaults are not ours, and
it may have been made in another encoding."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from full_database import BOX, DAY, MINUTE, furnish
from postgres_servers import DisposableStore, fresh_database, shared_dsn, with_options
from psycopg import sql

from billing_adapters.cli.app import cli
from billing_adapters.postgres import PostgresStore, errors
from billing_adapters.postgres.errors import Failure
from billing_adapters.postgres.statements import TABLES
from billing_adapters.postgres.wire import Query, Row, StoreConnection
from billing_core import AsyncBilling, Billing, Money, StoreError, Usage, usd

DIME = usd("0.10")
EVERY_TABLE = [*(table.name for table in TABLES), "published", "marks", "migrations"]


@pytest.fixture
def store() -> Iterator[DisposableStore]:
    with DisposableStore() as store:
        yield store


def connect(store: DisposableStore) -> psycopg.Connection[Any]:
    return psycopg.connect(store.dsn, autocommit=True)


def begun(host: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    host.execute("SELECT 1")
    return host


def altered(db: psycopg.Connection[Any], schema: str, table: str) -> int:
    """Give each of a table's columns another type that holds the same; how many have one now."""
    columns = db.execute(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s",
        (schema, table),
    ).fetchall()
    others = {"bigint": "numeric", "numeric": "bigint", "text": "varchar"}
    count = 0
    for name, kind in columns:
        if kind not in others:
            continue
        alter = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {}").format(
            sql.Identifier(schema, table), sql.Identifier(name), sql.SQL(others[kind])
        )
        try:
            with db.transaction():
                db.execute(alter)
            count += 1
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.DatatypeMismatch):
            pass  # the view of transfers stands on it, or a check of its table
    return count


def everything(billing: Billing, clock: Any, turn: str) -> None:
    """What an org does in a day, by each kind of statement: what is told from memory and what
    is loaded, in one exchange or in several."""
    unit = Usage.of("x", {"unit": 2})
    assert billing.check("acme", unit, member="ann", project="p").allowed
    spent = billing.deduct("acme", f"d {turn}", DIME, resource="x", member="ann", project="p")
    assert billing.deduct(
        "acme", f"d {turn}", DIME, resource="x", member="ann", project="p"
    ).seq == spent.seq  # fmt: skip
    billing.hold("acme", unit, key=f"h {turn}", expires_in=DAY, member="bob")
    billing.settle("acme", f"s {turn}", unit, hold=f"h {turn}", member="bob")
    billing.reverse("acme", f"r {turn}", charge=spent.seq)
    billing.reverse("acme", f"r {turn}", charge=spent.seq)
    billing.start_run("acme", f"run {turn}", BOX)
    clock.advance(MINUTE)
    billing.heartbeat("acme", f"run {turn}")
    billing.stop_run("acme", f"run {turn}")
    billing.report_storage("acme", "ws", 700)
    billing.bill_storage("acme")
    billing.erase_member("acme", "bob")
    billing.run_pending(deliver=lambda each: None)
    assert billing.balance("acme").granted
    assert billing.usage("acme", "30d") and billing.history("acme")
    verified = billing.verify()
    assert verified.ok, [str(each) for each in verified.discrepancies]


# -- a table that is altered ------------------------------------------------------


def test_nobody_hears_of_a_column_that_was_given_another_type(store: DisposableStore) -> None:
    """Of each table in turn: statements that were prepared before are prepared anew, in whatever
    exchange of a call it is met, and what was asked for is done once."""
    billing = furnish(store)
    clock = billing.clock
    everything(billing, clock, "before")
    for table in EVERY_TABLE:
        with connect(store) as db:
            assert altered(db, store.schema, table), table
        everything(billing, clock, f"after {table}")
        store._known.distrust(["acme"])
        everything(billing, clock, f"loaded after {table}")


@pytest.fixture
def outdated(monkeypatch: pytest.MonkeyPatch) -> list[StoreConnection]:
    """The connections on which a statement turned out to be prepared for another type."""
    found: list[StoreConnection] = []
    run = StoreConnection._run

    def watching(line: StoreConnection, queries: Sequence[Query]) -> list[list[Row]]:
        try:
            return run(line, queries)
        except Failure as failure:
            if errors.outdated(failure.error):
                found.append(line)
            raise

    monkeypatch.setattr(StoreConnection, "_run", watching)
    return found


def test_what_one_connection_has_met_the_others_need_not_meet(
    outdated: list[StoreConnection],
) -> None:
    with DisposableStore(pool_size=4) as store:
        billing = furnish(store)
        lines = [store._lines.take() for _ in range(4)]

        def through_each(turn: str) -> None:
            for n, line in enumerate(lines):
                store._lines.give(line)  # and no other is free
                everything(billing, billing.clock, f"{turn} {n}")
                assert store._lines.take() is line

        through_each("before")
        with connect(store) as db:
            assert altered(db, store.schema, "entries")
        for line in lines:
            store._lines.give(line)
        everything(billing, billing.clock, "after")
        assert len(outdated) == 1
        lines = [store._lines.take() for _ in range(4)]
        through_each("after")
        assert len(outdated) == 1
        for line in lines:
            store._lines.give(line)


def test_tasks_do_not_hear_of_it_either(store: DisposableStore) -> None:
    async def story() -> None:
        billing = AsyncBilling(store)
        await billing.open_account("acme")
        await billing.grant("acme", "credit", usd("10"))
        for turn in range(3):
            deducts = [billing.deduct("acme", f"{turn} {n}", DIME, resource="x") for n in range(8)]
            await asyncio.gather(*deducts)
            replayed = await billing.deduct("acme", f"{turn} 1", DIME, resource="x")
            await billing.reverse("acme", f"back {turn}", charge=replayed.seq)
            with connect(store) as db:
                for table in ("entries", "charges", "accounts"):
                    assert altered(db, store.schema, table)
        assert (await billing.balance("acme")).used == 21 * DIME.nanos
        assert (await billing.verify()).ok

    asyncio.run(story())


def test_a_host_s_transaction_goes_on_when_it_alters_our_tables_itself(
    store: DisposableStore,
) -> None:
    billing = Billing(store)
    billing.open_account("acme")
    billing.grant("acme", "credit", usd("10"))
    with psycopg.connect(store.dsn) as host:
        for turn in range(3):
            within = billing.within(host) if turn else billing.within(begun(host))
            within.deduct("acme", f"before {turn}", DIME, resource="x")
            for table in ("accounts", "charges", "lots"):
                assert altered(host, store.schema, table)
            spent = within.deduct("acme", f"after {turn}", DIME, resource="x")
            within.reverse("acme", f"back {turn}", charge=spent.seq)
            host.execute("SELECT 1")
        host.commit()
    assert billing.balance("acme").used == 3 * DIME.nanos
    assert billing.verify().ok


def test_a_host_s_loop_goes_on_too(store: DisposableStore) -> None:
    async def story() -> None:
        billing = AsyncBilling(store)
        await billing.open_account("acme")
        await billing.grant("acme", "credit", usd("10"))
        host = await psycopg.AsyncConnection.connect(store.dsn)
        async with host:
            for turn in range(3):
                await host.execute("SELECT 1")
                within = billing.within(host)
                await within.deduct("acme", f"{turn}", DIME, resource="x")
                await host.commit()
                with connect(store) as db:
                    assert altered(db, store.schema, "accounts")
        assert (await billing.balance("acme")).used == 3 * DIME.nanos

    asyncio.run(story())


# -- defaults and encodings -------------------------------------------------------

DEFAULTS = "-c default_transaction_read_only=on -c default_transaction_isolation=serializable"


def test_what_owns_the_schema_works_where_transactions_only_read_by_default() -> None:
    role = f"billing_reader_{os.getpid()}"
    with fresh_database() as dsn, psycopg.connect(dsn, autocommit=True) as db:
        db.execute(f"CREATE ROLE {role}")
        with PostgresStore(with_options(dsn, options=DEFAULTS)) as store:
            script = store.script()
            assert store.migrate() and store.finish() == []
            store.grant(role)
            billing = Billing(store)
            billing.open_account("acme")
            assert billing.verify().ok
        db.execute("DROP SCHEMA billing CASCADE")
        with psycopg.connect(with_options(dsn, options=DEFAULTS), autocommit=True) as host:
            host.execute(script.encode())
        db.execute(f"DROP OWNED BY {role}")
        db.execute(f"DROP ROLE {role}")
        with PostgresStore(dsn) as store:
            assert store.migrate() == []


@contextmanager
def database_in(encoding: str) -> Iterator[str]:
    name = f"test_{encoding.lower()}_{os.getpid()}"
    with psycopg.connect(shared_dsn(), autocommit=True) as db:
        db.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'"
            " LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        try:
            yield with_options(shared_dsn(), dbname=name)
        finally:
            db.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_is_refused_before_anything_is_made(encoding: str) -> None:
    with database_in(encoding) as dsn:
        with PostgresStore(dsn) as store:
            for work in (store.migrate, store.script):
                with pytest.raises(StoreError, match=f"encoded in {encoding}.* UTF8"):
                    work()
        with psycopg.connect(dsn) as db:
            assert db.execute("SELECT to_regnamespace('billing')").fetchone() == (None,)
        address = f"postgresql://?{'&'.join(each for each in dsn.replace(chr(39), '').split())}"
        told = CliRunner(env={"BILLING_DB": address}).invoke(cli, ["migrate"])
        assert told.exit_code == 1 and f"encoded in {encoding}" in told.output, told.output


@pytest.mark.parametrize("where", ["connection string", "environment"])
def test_names_are_kept_whatever_encoding_the_host_itself_speaks(
    store: DisposableStore, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, dsn = "Zoë 山田", store.dsn
    if where == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    else:
        dsn = with_options(dsn, client_encoding="LATIN1")
    with PostgresStore(dsn, schema=store.schema) as mine:
        assert mine.migrate() == []
        billing = Billing(mine)
        billing.open_account("acme")
        billing.grant("acme", "credit", Money(1, "USD"))
        billing.deduct("acme", name, Money(1, "USD"), resource=name, member=name)
    assert list(store.members("acme").values()) == [name]
    assert Billing(store).verify().ok
