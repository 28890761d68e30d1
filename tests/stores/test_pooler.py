"""Through a pooler: each transaction is on whatever connection of the server's is free, and others
leave their settings on them."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from pooler import pooled
from postgres_servers import QUICK, DisposableStore, Server

from billing_adapters.postgres import PostgresStore
from billing_adapters.postgres.wire import Query, Row, StoreConnection
from billing_core import AsyncBilling, Billing, StoreError, Usage, usd
from billing_core.ports import required

DIME = usd("0.10")
DAY = timedelta(days=1)

LEFT = {
    "synchronous_commit": ("off", "local"),
    "lock_timeout": ("1", "0"),
    "statement_timeout": ("1000", "0"),
    "client_min_messages": ("error",),
    "default_transaction_read_only": ("on",),
    "default_transaction_isolation": ("serializable", "repeatable read"),
    "idle_in_transaction_session_timeout": ("1", "0"),
    "enable_indexscan": ("off",),
    "search_path": ("nowhere",),
    "role": ("nobody",),
}
"""What others leave on a connection."""

FOUND = (
    "synchronous_commit", "lock_timeout", "statement_timeout", "client_min_messages",
    "transaction_read_only", "transaction_isolation", "idle_in_transaction_session_timeout",
    "enable_seqscan", "search_path", "role",
)  # fmt: skip
OURS = (
    "on", "700ms", "30s", "warning", "off", "read committed", "1min", "off", '"$user", public',
    "none",
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(settings=QUICK).start()
    with psycopg.connect(server.dsn(), autocommit=True) as db:
        db.execute("CREATE ROLE nobody")
    yield server
    server.remove()


@pytest.fixture
def pooler(server: Server) -> Iterator[str]:
    with pooled(server) as dsn:
        yield dsn


@pytest.fixture
def direct(server: Server) -> Iterator[DisposableStore]:
    with DisposableStore(server.dsn()) as store:
        yield store


@pytest.fixture
def store(direct: DisposableStore, pooler: str) -> Iterator[PostgresStore]:
    with PostgresStore(pooler, schema=direct.schema, lock_seconds=0.7) as store:
        yield store


def funded(store: PostgresStore) -> Billing:
    billing = Billing(store)
    billing.open_account("acme")
    billing.grant("acme", "credit", usd("100"))
    return billing


def plain(dsn: str) -> psycopg.Connection[Any]:
    return psycopg.connect(dsn, autocommit=True, prepare_threshold=None)


def leave(dsn: str, *settings: tuple[str, str]) -> None:
    """Leave the settings on each of the server's connections behind the pooler."""
    with plain(dsn) as one, plain(dsn) as other:
        for each in (one, other):
            each.execute("BEGIN; SET LOCAL statement_timeout = 0")
        left = "; ".join(f"SET {name} = '{value}'" for name, value in settings)
        for each in (one, other):
            each.execute(f"{left}; COMMIT")


def recording(direct: DisposableStore, dsn: str) -> None:
    """Let the journal's table note by what settings it is written."""
    with plain(dsn) as db:
        columns = ", ".join(f"current_setting('{name}')" for name in FOUND)
        schema = f'"{direct.schema}"'
        db.execute(f"CREATE TABLE {schema}.noted (pid int, settings text[])")
        db.execute(f"GRANT INSERT ON {schema}.noted TO PUBLIC")
        db.execute(
            f"CREATE FUNCTION {schema}.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" INSERT INTO {schema}.noted VALUES (pg_backend_pid(), ARRAY[{columns}]);"
            " RETURN NULL; END $$"
        )
        db.execute(
            f"CREATE TRIGGER note AFTER INSERT ON {schema}.entries"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note()"
        )


def noted(direct: DisposableStore, dsn: str) -> tuple[set[int], set[tuple[str, ...]]]:
    with plain(dsn) as db:
        rows = db.execute(f'SELECT pid, settings FROM "{direct.schema}".noted').fetchall()
    return {pid for pid, _ in rows}, {tuple(settings) for _, settings in rows}


def everything(billing: Billing, org: str, turn: int) -> None:
    unit = Usage.of("unknown", {"unit": 2})
    spent = billing.deduct(org, f"d{turn}", DIME, resource="x", member="ann")
    assert billing.deduct(org, f"d{turn}", DIME, resource="x", member="ann").seq == spent.seq
    with billing.hold(org, DIME, key=f"h{turn}", expires_in=DAY, resource="x") as hold:
        hold.report(unit)
    billing.reverse(org, f"r{turn}", charge=spent.seq)
    billing.deduct(org, f"k{turn}", DIME, resource="x")
    assert billing.balance(org).granted == usd("100").nanos
    assert billing.history(org) and billing.usage(org, "7d")
    billing.run_pending()


def test_writes_and_reads_among_others_who_leave_their_settings(
    store: PostgresStore, direct: DisposableStore, pooler: str, server: Server
) -> None:
    """Every write is by our settings, whoever had the connection before; nothing is lost, and
    nothing of ours is left to the others."""
    recording(direct, server.dsn())
    orgs = [f"org-{n}" for n in range(4)]
    billing = Billing(store)
    for org in orgs:
        billing.open_account(org)
        billing.grant(org, "credit", usd("100"))
    done = threading.Event()
    seen: list[str] = []

    def others(seed: int) -> None:
        chance = random.Random(seed)
        while not done.is_set():
            with plain(pooler) as db:
                for _ in range(10):
                    name = chance.choice(sorted(LEFT))
                    value = chance.choice(LEFT[name])
                    try:
                        db.execute(f"SET {name} = '{value}'")
                        [(found,)] = db.execute("SHOW enable_seqscan").fetchall()
                        seen.append(found)
                    except psycopg.errors.QueryCanceled:
                        pass

    with ThreadPoolExecutor(6) as pool:
        rivals = [pool.submit(others, seed) for seed in range(2)]
        try:
            turns = [pool.submit(everything, billing, org, n) for n in range(12) for org in orgs]
            for turn in turns:
                turn.result()
        finally:
            done.set()
        for rival in rivals:
            rival.result()
    pids, settings = noted(direct, server.dsn())
    assert len(pids) > 1
    assert settings == {OURS}
    assert set(seen) == {"on"}
    for org in orgs:
        assert billing.verify(org).ok
        assert Billing(direct).balance(org).used == 12 * DIME.nanos


@pytest.mark.parametrize("role_s, found", [("remote_apply", "remote_apply"), ("off", "on")])
def test_the_role_s_own_durability_counts_but_for_off(
    direct: DisposableStore, server: Server, role_s: str, found: str
) -> None:
    recording(direct, server.dsn())
    with plain(server.dsn()) as db:
        db.execute(f"ALTER ROLE postgres SET synchronous_commit = {role_s}")
        try:
            with pooled(server) as dsn:
                leave(dsn, ("synchronous_commit", "local"))
                with PostgresStore(dsn, schema=direct.schema) as store:
                    funded(store)
        finally:
            db.execute("ALTER ROLE postgres RESET synchronous_commit")
    assert {each[0] for each in noted(direct, server.dsn())[1]} == {found}


def test_a_wait_for_a_lock_is_bounded_by_us(
    store: PostgresStore, direct: DisposableStore, pooler: str, server: Server
) -> None:
    billing = funded(store)
    leave(pooler, ("lock_timeout", "0"))
    with psycopg.connect(server.dsn()) as rival:
        rival.execute("SELECT 1")
        Billing(direct).within(rival).deduct("acme", "theirs", DIME, resource="x")
        with pytest.raises(StoreError, match="locked by another transaction") as caught:
            billing.deduct("acme", "ours", DIME, resource="x")
        assert caught.value.retryable and not caught.value.outcome_unknown
        rival.rollback()
    billing.deduct("acme", "ours", DIME, resource="x")
    assert billing.verify().ok


def test_tasks_and_hosts_go_through_a_pooler_too(store: PostgresStore, pooler: str) -> None:
    async def story() -> None:
        billing = AsyncBilling(store)
        await billing.open_account("acme")
        await billing.grant("acme", "credit", usd("100"))
        for turn in range(5):
            keys = [f"{turn} {n}" for n in range(6)]
            await asyncio.gather(*(billing.deduct("acme", key, DIME, resource="x") for key in keys))
        host = await psycopg.AsyncConnection.connect(pooler, prepare_threshold=None)
        async with host:
            await host.execute("SELECT 1")
            await billing.within(host).deduct("acme", "host", DIME, resource="x")
        assert (await billing.balance("acme")).used == 31 * DIME.nanos
        assert (await billing.verify()).ok

    asyncio.run(story())


def test_what_a_pooler_costs_is_statements_in_the_same_exchanges(
    store: PostgresStore, direct: DisposableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    run = StoreConnection._run

    def counting(line: StoreConnection, queries: Sequence[Query]) -> list[list[Row]]:
        sent.append(len(queries))
        return run(line, queries)

    def counted(billing: Billing, org: str) -> list[int]:
        billing.open_account(org)
        billing.grant(org, "credit", usd("100"))
        for key in "a", "b":
            sent.clear()
            billing.deduct(org, key, DIME, resource="x")
            billing.history(org)
        return sent.copy()

    monkeypatch.setattr(StoreConnection, "_run", counting)
    monkeypatch.setattr(required, "TAIL", 100)
    # A deduct from memory; then a snapshot, its end, and a page of history.
    assert counted(Billing(direct), "straight") == [5, 3, 1, 1]
    assert counted(Billing(store), "pooled") == [6, 4, 1, 4]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_the_schema_is_made_through_a_pooler_whatever_was_left_there(
    server: Server, mode: str
) -> None:
    with pooled(server, mode, size=2 if mode == "transaction" else 20) as dsn:
        if mode == "transaction":
            kept = [(name, values[-1]) for name, values in LEFT.items()]
            leave(dsn, *kept)
        with PostgresStore(dsn, schema=f"through {mode}") as store:
            assert store.migrate()
            store.grant("nobody")
            billing = funded(store)
            everything(billing, "acme", 1)
            assert billing.verify().ok and store.migrate() == []


def test_a_pooler_by_statement_is_refused(direct: DisposableStore, server: Server) -> None:
    """There no transaction is to be had, so nothing could be written whole."""
    with (
        pooled(server, "statement") as dsn,
        PostgresStore(dsn, schema=direct.schema, pool_seconds=3) as store,
        pytest.raises(StoreError, match="statement pooling"),
    ):
        Billing(store).open_account("acme")
