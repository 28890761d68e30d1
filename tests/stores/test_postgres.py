"""What is PostgreSQL's own: the schema, roles, pools, forks, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from payment_worlds import fake_world
from postgres_servers import (
    QUICK,
    DisposableStore,
    Server,
    fresh_database,
    shared_dsn,
    with_options,
)
from store_comparison import BesideMemory
from tcp_proxy import Proxy
from topup_till import Till

from billing_adapters.cli.app import cli
from billing_adapters.postgres import PostgresStore, schema, wire
from billing_adapters.postgres.errors import Failure
from billing_adapters.postgres.wire import Query, Row, StoreConnection
from billing_core import (
    AsyncBilling,
    Billing,
    Flat,
    Grant,
    InvalidCommand,
    Limit,
    Money,
    Plan,
    Price,
    PriceBook,
    Refused,
    Settle,
    StoreError,
    Usage,
    sandbox,
    usd,
)
from billing_core.commands.topups import Lapse
from billing_core.ledger.hash_chain import chained
from billing_core.ports import required
from billing_core.ports.state import LEVEL
from billing_core.testing import SettableClock

DIME = usd("0.10")
COMMIT = wire.COMMIT.statement


@pytest.fixture
def store() -> Iterator[DisposableStore]:
    with DisposableStore() as store:
        yield store


def funded(store: PostgresStore, orgs: Sequence[str] = ("acme",)) -> Billing:
    billing = Billing(store)
    for org in orgs:
        billing.open_account(org)
        billing.grant(org, "credit", usd("100"))
    return billing


def deduct(billing: Billing, key: str, org: str = "acme") -> int:
    return billing.deduct(org, key, DIME, resource="tool").seq


def connect(store: DisposableStore, **options: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(store.dsn, autocommit=True, **options)


# -- the schema -------------------------------------------------------------------


def test_ten_processes_may_migrate_at_once() -> None:
    name = f"raced {os.getpid()}"
    stores = [PostgresStore(shared_dsn(), schema=name) for _ in range(10)]
    try:
        with ThreadPoolExecutor(10) as pool:
            applied = list(pool.map(PostgresStore.migrate, stores))
        every = [each.name for each in schema.migrations()]
        assert sorted(applied, key=len) == [[]] * 9 + [every]
        funded(stores[0])
    finally:
        for each in stores:
            each.close()
        with psycopg.connect(shared_dsn(), autocommit=True) as db:
            db.execute("SET client_min_messages = error")
            db.execute(f'DROP SCHEMA "{name}" CASCADE')


def test_a_schema_that_was_not_made_is_said_so() -> None:
    with (
        PostgresStore(shared_dsn(), schema="nowhere") as store,
        pytest.raises(StoreError, match="billing migrate"),
    ):
        Billing(store).open_account("acme")


def test_a_newer_schema_is_refused_if_it_needs_more_than_is_known(store: DisposableStore) -> None:
    table = f'"{store.schema}".migrations'
    with connect(store) as db:
        # Another's next version, which this one may work on; the one after, which it may not.
        db.execute(f"INSERT INTO {table} VALUES ({LEVEL + 1}, 'more', 'x', {LEVEL}, 0)")
        funded(store)
        assert store.migrate() == []
        db.execute(f"INSERT INTO {table} VALUES ({LEVEL + 2}, 'else', 'x', {LEVEL + 2}, 0)")
    with PostgresStore(store.dsn, schema=store.schema) as late:
        with pytest.raises(StoreError, match="upgrade billing-core"):
            Billing(late).balance("acme")
        with pytest.raises(StoreError, match="upgrade billing-core"):
            late.migrate()


def test_a_migration_of_another_content_is_refused(store: DisposableStore) -> None:
    with connect(store) as db:
        db.execute(f"UPDATE \"{store.schema}\".migrations SET checksum = 'other'")
    with pytest.raises(StoreError, match="another content"):
        store.migrate()


def test_migrations_are_numbered_without_a_gap() -> None:
    found = schema.migrations()
    assert [each.number for each in found] == list(range(1, schema.SCHEMA + 1))
    assert all(each.needs <= each.number for each in found)


@pytest.mark.parametrize("table", ["entries", "published"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_journal_and_books_are_append_only_for_everyone(
    store: DisposableStore, table: str, statement: str
) -> None:
    from world import World

    World(store)
    column = {"entries": "amount", "published": "number"}[table]
    statement = statement.format(f'"{store.schema}".{table}', column, column)
    with connect(store) as db:
        db.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            db.execute(statement)


def test_the_runtime_role_does_all_that_the_engine_does_and_no_more(
    store: DisposableStore,
) -> None:
    role = f"billing_runtime_{os.getpid()}"
    with connect(store) as db:
        db.execute(f"CREATE ROLE {role} LOGIN")
    try:
        store.grant(role)
        with PostgresStore(with_options(store.dsn, user=role), schema=store.schema) as mine:
            billing = funded(mine)
            with billing.hold("acme", DIME, expires_in=timedelta(hours=1)) as hold:
                assert hold.amount
            deduct(billing, "a")
            billing.deduct("acme", "b", DIME, resource="tool", member="ann")
            assert billing.erase_member("acme", "ann")
            rate = Price(Flat(1000, 1_000_000), unit="microsecond")
            size = Price(Flat(7, 10**9), unit="byte-microsecond")
            prices = {"sandbox:box": {"second": rate}, "storage:*": {"byte_us": size}}
            billing.publish(PriceBook("time", datetime(2026, 1, 1, tzinfo=UTC), prices))
            billing.start_run("acme", "run", sandbox("box", {"second": 1}))
            billing.heartbeat("acme", "run")
            billing.stop_run("acme", "run")
            billing.report_storage("acme", "ws", 1000)
            billing.bill_storage("acme")
            mine.set_mark("swept", 1)
            mine.set_mark("swept", 2)
            assert billing.verify().ok
            assert mine.migrate() == []
        with connect(store, user=role) as db:
            for table in ("entries", "published", "events"):
                column = "number" if table == "published" else "seq"
                for statement in (f"UPDATE {{}} SET {column} = 1", "DELETE FROM {}", "TRUNCATE {}"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        db.execute(statement.format(f'"{store.schema}".{table}'))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(f'CREATE TABLE "{store.schema}".mine (x int)')
    finally:
        with connect(store) as db:
            db.execute(f"DROP OWNED BY {role}")
            db.execute(f"DROP ROLE {role}")


def test_the_runtime_role_tops_up(store: DisposableStore) -> None:
    role = f"billing_runtime_{os.getpid()}"
    with connect(store) as db:
        db.execute(f"CREATE ROLE {role} LOGIN")
    try:
        store.grant(role)
        with PostgresStore(with_options(store.dsn, user=role), schema=store.schema) as mine:
            t = Till(fake_world(), mine)
            t.armed("10", threshold="8", amount="5")
            t.spend("5")
            told: list[str] = []
            t.run(deliver=lambda each: told.append(each.kind))
            assert t.attempts() == ["paid"]
            assert told == ["topup_succeeded"] * 2
            t.check()
    finally:
        with connect(store) as db:
            db.execute(f"DROP OWNED BY {role}")
            db.execute(f"DROP ROLE {role}")


def test_events_written_while_others_are_delivered_still_wait(store: DisposableStore) -> None:
    billing = funded(store)
    billing.set_low_balance("acme", "low", usd("99"))
    billing.deduct("acme", "a", usd("2"), resource="tool")
    [event] = store.waiting_events("acme")
    assert store.lease_events("acme", "one", 0, 10)
    with psycopg.connect(store.dsn) as host, ThreadPoolExecutor(1) as pool:
        host.execute("SELECT 1")
        theirs = billing.within(host)
        theirs.grant("acme", "more", usd("10"))
        theirs.deduct("acme", "b", usd("10"), resource="tool")
        delivering = pool.submit(store.delivered, "acme", "one", event.seq, event.n)
        with pytest.raises(TimeoutError):
            delivering.result(0.3)
        host.commit()
        assert delivering.result()
    assert store.undelivered(10) == ["acme"]
    assert len(store.waiting_events("acme")) == 1


def test_an_org_without_runs_or_top_ups_is_asked_for_none(
    store: DisposableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    run = StoreConnection.run

    def watching(line: StoreConnection, queries: Sequence[Query]) -> list[list[Row]]:
        sent.extend(query.statement.sql for query in queries)
        return run(line, queries)

    monkeypatch.setattr(StoreConnection, "run", watching)
    billing = funded(store)
    deduct(billing, "a")
    with billing.hold("acme", DIME, expires_in=timedelta(hours=1)):
        pass
    others = rb"\.(runs|storages|sizes|topups|auto_topups|deliveries|marks)\b"
    assert sent
    assert not [sql for sql in sent if re.search(others, sql)]


def test_distribution_is_refused_in_a_sentence() -> None:
    # Also where no server answers: nothing is tried.
    with PostgresStore("host=127.0.0.1 port=1 dbname=x") as store:
        with pytest.raises(
            StoreError, match=r"does nothing yet: .*Citus.* one PostgreSQL"
        ) as error:
            store.distribute()
        assert not error.value.retryable


@pytest.mark.parametrize("tampered", ["member = member + 1", "occurred_at = occurred_at + 1"])
def test_usage_filed_under_another_member_or_time_is_found(
    store: DisposableStore, tampered: str
) -> None:
    billing = funded(store)
    deduct(billing, "a")
    entries = f'"{store.schema}".entries'
    with connect(store) as db:
        db.execute(f"ALTER TABLE {entries} DISABLE TRIGGER entries_append_only")
        db.execute(f"UPDATE {entries} SET {tampered} WHERE usage IS NOT NULL")
    with pytest.raises(StoreError, match="filed under another"):
        billing.history("acme")
    assert not billing.verify().ok


def test_transfers_can_be_read_as_rows(store: DisposableStore) -> None:
    deduct(funded(store), "a")
    with connect(store) as db:
        rows = db.execute(
            f'SELECT debit, credit, amount, kind, reference FROM "{store.schema}".transfers'
            " WHERE org_id = 'acme' ORDER BY seq, n"
        ).fetchall()
    assert rows == [
        ("payments", "lot:1", usd("100").nanos, "grant", "grant:credit"),
        ("lot:1", "revenue", DIME.nanos, "charge", "deduct:a"),
    ]


def test_the_command_line_takes_a_connection_string() -> None:
    with fresh_database() as dsn:
        # In the environment: it has a password, which a command line would show to everybody.
        run = CliRunner(env={"BILLING_DB": dsn}).invoke
        assert "billing migrate" in run(cli, ["verify"]).output
        assert "applied 0001_ledger" in run(cli, ["migrate"]).output
        assert "up to date" in run(cli, ["migrate"]).output
        with PostgresStore(dsn) as store:
            deduct(funded(store), "a")
        told = run(cli, ["history", "acme"])
        assert told.exit_code == 0, told.output
        assert run(cli, ["verify"]).exit_code == 0


def test_the_command_line_migrates_files_too(tmp_path: Path) -> None:
    file = str(tmp_path / "b.db")
    told = CliRunner().invoke(cli, ["migrate", "--db", file])
    assert told.exit_code == 0 and "applied 0001_ledger" in told.output
    told = CliRunner().invoke(cli, ["migrate", "--db", file])
    assert told.exit_code == 0 and "up to date" in told.output
    told = CliRunner().invoke(cli, ["migrate", "--db", file, "--grant-to", "x"])
    assert told.exit_code != 0


# -- connections ------------------------------------------------------------------


def test_a_commit_is_on_disk_whatever_the_role_s_default(store: DisposableStore) -> None:
    for set_, found in (("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")):
        dsn = with_options(store.dsn, options=f"-c synchronous_commit={set_}")
        with PostgresStore(dsn, schema=store.schema) as mine, mine._lines.lent() as line:
            settings = line.execute(
                "SELECT current_setting('synchronous_commit'), current_setting('lock_timeout')"
            )
            assert settings.fetchone() == (found, "5s")


def test_a_process_forked_off_has_connections_of_its_own(store: DisposableStore) -> None:
    billing = funded(store)
    deduct(billing, "parent")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(20)
            code = 0 if deduct(billing, "child") == 4 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    # The parent's connection was not closed under it, nor did it miss the child's write.
    assert deduct(billing, "parent again") == 5
    assert billing.verify().ok


def test_forty_threads_wait_for_four_connections(store: DisposableStore) -> None:
    orgs = [f"org-{n}" for n in range(40)]
    funded(store, orgs)
    with PostgresStore(store.dsn, schema=store.schema, pool_size=4) as small:
        engines = [Billing(small) for _ in orgs]  # nothing coalesces

        def work(n: int) -> None:
            for turn in range(5):
                deduct(engines[n], f"k-{turn}", orgs[n])
                assert engines[n].balance(orgs[n]).used == (turn + 1) * DIME.nanos

        with ThreadPoolExecutor(40) as pool:
            list(pool.map(work, range(40)))
    assert Billing(store).verify().ok


def test_no_connection_in_time_is_a_retryable_error(store: DisposableStore) -> None:
    funded(store)
    with PostgresStore(store.dsn, schema=store.schema, pool_size=1, pool_seconds=0.2) as small:
        billing = Billing(small)
        with small._lines.lent():
            for act in (lambda: deduct(billing, "a"), lambda: billing.balance("acme")):
                with pytest.raises(StoreError) as caught:
                    act()
                assert caught.value.retryable and not caught.value.outcome_unknown
                assert "no connection was free" in str(caught.value)
        deduct(billing, "a")


def test_a_connection_that_was_dropped_while_it_rested_is_replaced(store: DisposableStore) -> None:
    with PostgresStore(store.dsn, schema=store.schema, pool_size=1) as small:
        billing = funded(small)
        deduct(billing, "a")
        line = small._lines._resting
        assert line is not None
        with psycopg.connect(store.dsn) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [line.info.backend_pid])
        select.select([line.pgconn.socket], [], [], 10)
        deduct(billing, "b")
        assert line.closed and small._lines._resting is not line


def test_a_connection_that_rests_is_for_whoever_comes_next(store: DisposableStore) -> None:
    with PostgresStore(store.dsn, schema=store.schema, pool_size=1, pool_seconds=20) as small:
        lines = small._lines
        with lines.lent() as line:
            pass
        assert lines._resting is line
        given: list[bool] = []

        def wait() -> None:
            with lines.lent() as mine:
                given.append(mine is line)

        with lines.lent() as again:
            assert again is line and lines._resting is None
            waiting = threading.Thread(target=wait)
            waiting.start()
            while not lines._asking:
                time.sleep(0.001)
        waiting.join(10)
        assert given == [True]
        with lines.lent() as old:
            old.rests_until = 0  # the pool sees it again
        assert lines._resting is None
        with lines.lent():
            pass
        small.close()
        assert line.closed and lines._resting is None
        with lines.lent() as other:
            assert other is not line


def test_a_server_that_is_not_there_is_a_retryable_error() -> None:
    with PostgresStore("host=127.0.0.1 port=1 dbname=x password=secret", pool_seconds=0.2) as store:
        with pytest.raises(StoreError) as caught:
            Billing(store).balance("acme")
        assert caught.value.retryable
        assert "secret" not in str(caught.value)
        assert "could be made" in str(caught.value) and "refused" in str(caught.value)


def test_a_database_that_is_not_there_is_named(store: DisposableStore) -> None:
    dsn = with_options(store.dsn, dbname="nowhere")
    with PostgresStore(dsn, pool_seconds=0.5) as lost:
        with pytest.raises(StoreError, match=r'could be made .*"nowhere" does not exist') as caught:
            Billing(lost).balance("acme")
        assert caught.value.retryable and not caught.value.outcome_unknown


SECRETS = ["secret", "postgresql://u:secret@[h/db", "no = secret thing", b"secret", {"p": "secret"}]


@pytest.mark.parametrize("bad", [None, 5, "", " ", *SECRETS])
def test_what_is_no_connection_string_is_not_shown(bad: Any) -> None:
    with pytest.raises(InvalidCommand, match=r"dsn: .*a connection string") as caught:
        PostgresStore(bad)
    assert "secret" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["pool_seconds", "lock_seconds", "statement_seconds"])
@pytest.mark.parametrize("bad", [0, -1, "5", None, True, float("nan"), float("inf")])
def test_the_times_of_a_store_are_numbers_of_seconds(name: str, bad: Any) -> None:
    with pytest.raises(InvalidCommand, match=name):
        PostgresStore("dbname=x", **{name: bad})


@pytest.mark.parametrize("bad", [0, -1, "5", None, True, 1.0])
def test_a_pool_has_room_for_a_connection(bad: Any) -> None:
    with pytest.raises(InvalidCommand, match="pool_size"):
        PostgresStore("dbname=x", pool_size=bad)


def test_idle_connections_that_were_hung_up_on_are_replaced_unseen(
    store: DisposableStore,
) -> None:
    billing = funded(store)
    deduct(billing, "a")
    with connect(store) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'tests' AND pid <> pg_backend_pid()"
        )
    time.sleep(0.1)
    deduct(billing, "b")
    assert billing.verify().ok


def test_after_a_restart_nobody_waits_for_each_idle_connection(
    store: DisposableStore,
) -> None:
    size = 8
    with PostgresStore(store.dsn, schema=store.schema, pool_size=size, pool_seconds=5) as small:
        billing = funded(small)
        for key in "ab":
            taken = [small._lines.take() for _ in range(size)]
            for line in taken:
                small._lines.give(line)
            with psycopg.connect(store.dsn, autocommit=True) as admin:
                for line in taken:
                    admin.execute("SELECT pg_terminate_backend(%s)", [line.info.backend_pid])
            for line in taken:
                select.select([line.pgconn.socket], [], [], 10)
            deduct(billing, key)
            assert all(line.closed for line in taken)
        assert billing.verify().ok


def test_callers_of_a_locked_org_do_not_wait_one_after_another(store: DisposableStore) -> None:
    funded(store, ["acme", "bolt"])
    with PostgresStore(store.dsn, schema=store.schema, lock_seconds=0.5) as mine:
        billing = Billing(mine)
        with connect(store) as host:
            host.execute("BEGIN")
            accounts = f'"{store.schema}".accounts'
            host.execute(f"SELECT 1 FROM {accounts} WHERE org_id = 'acme' FOR UPDATE")
            tried: list[str] = []
            run = billing._coalescer._run

            def counted(commands: Sequence[Any]) -> Any:
                tried.append(commands[0].org)
                return run(commands)

            billing._coalescer._run = counted

            def work(n: int) -> bool:
                try:
                    deduct(billing, f"k-{n}", "bolt" if n == 19 else "acme")
                    return True
                except StoreError as error:
                    assert error.retryable and not error.outcome_unknown
                    return False

            with ThreadPoolExecutor(20) as pool:
                assert sum(pool.map(work, range(20))) == 1  # another org's goes on
            assert tried.count("acme") < 10
    assert Billing(store).verify().ok


def test_tasks_of_other_orgs_do_not_wait_for_a_locked_one(store: DisposableStore) -> None:
    funded(store, ["acme", "bolt", "coil"])
    batches: list[set[str]] = []

    async def main(mine: PostgresStore, host: Any) -> None:
        engine = AsyncBilling(mine)
        finish = engine._billing._finish

        def watched(parts: Sequence[Any]) -> None:
            batches.append({command.org for part in parts for command in part.commands})
            finish(parts)

        engine._billing._finish = watched  # type: ignore[method-assign]

        def deducts(org: str, turn: int) -> Any:
            return [
                asyncio.create_task(engine.deduct(org, f"k-{turn}-{n}", DIME, resource="tool"))
                for n in range(3)
            ]

        locked = deducts("acme", 0)
        try:
            await asyncio.sleep(0.05)
            for turn in range(1, 6):
                locked += deducts("acme", turn)
                async with asyncio.timeout(10):
                    await asyncio.gather(*deducts("bolt", turn), *deducts("coil", turn))
            assert not any(task.done() for task in locked)
            waiting = sum("acme" in orgs for orgs in batches)
            assert waiting == 1, "they wait in the loop, not in threads"
        finally:  # else a thread would wait for the lock, and we for the thread
            host.execute("ROLLBACK")
        await asyncio.gather(*locked)

    with (
        PostgresStore(store.dsn, schema=store.schema, lock_seconds=60) as mine,
        connect(store) as host,
    ):
        host.execute("BEGIN")
        accounts = f'"{store.schema}".accounts'
        host.execute(f"SELECT 1 FROM {accounts} WHERE org_id = 'acme' FOR UPDATE")
        asyncio.run(main(mine, host))
    assert [Billing(store).balance(org).used for org in ("acme", "bolt", "coil")] == [
        each * DIME.nanos for each in (18, 15, 15)
    ]


# -- what is remembered -----------------------------------------------------------


def test_a_write_from_memory_is_one_exchange(
    store: DisposableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    billing = funded(store)
    deduct(billing, "warm")
    sent: list[int] = []
    run = StoreConnection.run
    monkeypatch.setattr(
        StoreConnection,
        "run",
        lambda self, queries: sent.append(len(queries)) or run(self, queries),
    )
    deduct(billing, "a")
    assert len(sent) == 1 and sent[0] <= 8
    sent.clear()
    hold = billing.hold("acme", DIME, expires_in=timedelta(hours=1), key="h")
    billing.release("acme", hold.key)
    assert len(sent) == 2
    sent.clear()
    # A replay is looked up: the write that failed, lock and load, whether it was reversed since
    # (which stands beside its charge: two exchanges), and the end of either transaction.
    deduct(billing, "a")
    assert 2 <= len(sent) <= 6


def test_what_another_process_wrote_is_never_overlooked(store: DisposableStore) -> None:
    with PostgresStore(store.dsn, schema=store.schema) as other:
        mine, theirs = funded(store), Billing(other)
        for turn in range(6):
            deduct(mine, f"mine {turn}")
            deduct(theirs, f"theirs {turn}")
            deduct(theirs, f"theirs too {turn}")
        # Credit that this process has not heard of; and its end.
        theirs.deduct("acme", "rest", Money(mine.balance("acme").balance, "USD"), resource="x")
        with pytest.raises(Refused):
            deduct(mine, "refused")
        theirs.grant("acme", "more", DIME)
        deduct(mine, "not refused")
        hold = theirs.grant("acme", "again", DIME) and theirs.hold(
            "acme", DIME, expires_in=timedelta(hours=1)
        )
        mine.release("acme", hold.key)
        assert mine.verify().ok
        assert mine.balance("acme").lots == theirs.balance("acme").lots


def test_what_was_used_under_an_earlier_plan_is_not_decided_from_memory(
    store: DisposableStore,
) -> None:
    now, since = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    clock = SettableClock(now)
    billing = Billing(store, clock=clock)
    price = Price(Flat.of("0.0001"), unit="second")
    billing.publish(PriceBook("base", since, {"sandbox": {"second": price}}))
    for name, off in (("first", 50), ("second", 10)):
        billing.publish(PriceBook(f"{name}-prices", since, plan=name, percent_off={"*": off}))
    for name in ("first", "second"):
        billing.publish(Plan(f"{name}-1", name, since))
    billing.open_account("acme")
    billing.grant("acme", "paid", usd("10"))
    seconds = Usage.of("sandbox", {"second": 100})
    charged = []
    for name in ("first", "second"):
        billing.set_plan("acme", f"to-{name}", name)
        for number in range(3):
            charged.append(billing.settle("acme", f"{name}-{number}", seconds).amount)
        clock.advance(timedelta(minutes=1))
    for number in range(3):
        late = billing.settle("acme", f"late-{number}", seconds, occurred_at=now)
        charged.append(late.amount)
    assert charged == [5_000_000] * 3 + [9_000_000] * 3 + [5_000_000] * 3
    assert billing.verify().ok


def test_nothing_is_refused_from_memory(store: DisposableStore) -> None:
    billing = funded(store)
    deduct(billing, "first")
    billing.deduct("acme", "rest", usd("99.90"), resource="tool")
    assert deduct(billing, "first") == 3  # a replay, with nothing left
    with PostgresStore(store.dsn, schema=store.schema) as other:
        Billing(other).grant("acme", "more", DIME)
    deduct(billing, "after all")
    assert billing.verify().ok


def test_that_nothing_was_due_is_not_told_from_memory(store: DisposableStore) -> None:
    clock = SettableClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    billing = Billing(store, clock=clock)
    billing.open_account("acme")
    billing.grant("acme", "credit", usd("1"))
    with PostgresStore(store.dsn, schema=store.schema) as other:
        Billing(other, clock=clock).hold("acme", DIME, expires_in=timedelta(minutes=1), key="h")
    clock.advance(timedelta(minutes=2))
    billing.execute([Lapse("acme")])
    assert [each.state for each in store.holds("acme")] == ["lapsed"]


def test_a_memory_of_another_history_is_not_written_on(store: DisposableStore) -> None:
    """As after a database was restored, with as many entries but others."""
    billing = funded(store)
    deduct(billing, "warm")
    with connect(store) as db:
        db.execute(f"UPDATE \"{store.schema}\".accounts SET head = '\\xabcd'")
    deduct(billing, "a")
    [entry] = store.entries("acme", after=3)
    assert entry.hash == chained(b"\xab\xcd", entry)


def test_a_name_erased_elsewhere_is_not_written_under_its_old_number(
    store: DisposableStore,
) -> None:
    with PostgresStore(store.dsn, schema=store.schema) as other:
        mine = funded(store)
        for key in "ab":
            mine.deduct("acme", key, DIME, resource="tool", member="ann")
        assert Billing(other).erase_member("acme", "ann")
        mine.deduct("acme", "c", DIME, resource="tool", member="ann")
        assert store.members("acme") == {2: "ann"}
        assert mine.verify().ok


# -- plans and limits -------------------------------------------------------------

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is sent, statement by statement, in each."""
    sent: list[list[str]] = []
    run = StoreConnection.run

    def noted(line: StoreConnection, queries: Sequence[Query]) -> Any:
        sent.append([query.statement.sql.decode() for query in queries])
        return run(line, queries)

    monkeypatch.setattr(StoreConnection, "run", noted)
    return sent


def limited(store: PostgresStore) -> Billing:
    billing = funded(store)
    billing.publish(Plan("pro-1", "pro", LONG_AGO, limits=[Limit("org", usd("90"))]))
    billing.set_plan("acme", "subscribe", "pro")
    billing.set_limit("acme", "each", usd("9"), every="member")
    return billing


def spend(billing: Billing, key: str, member: str = "ann") -> int:
    cost = Money(DIME.nanos, "USD")
    return billing.deduct(
        "acme", key, cost, resource="tool", member=member, project="p"
    ).seq  # fmt: skip


def test_an_org_is_verified_in_a_few_round_trips(
    store: DisposableStore, exchanges: list[list[str]]
) -> None:
    """Its journal, its account, and all of its tables at once: a small org's has no second page."""
    billing = limited(store)
    spend(billing, "k")

    def verified() -> int:
        exchanges.clear()
        found = billing.verify()
        assert found.ok, found
        return len(exchanges)

    one = verified()
    for n in range(10):
        billing.open_account(f"org-{n}", livemode=False)
        billing.grant(f"org-{n}", "g", usd("1"))
    more = verified() - one
    assert more <= 10 * 6, f"{more / 10} for each"


def test_a_row_that_cannot_be_read_hides_nothing_else_of_its_org(store: DisposableStore) -> None:
    """All tables are asked for at once, and this one's answer is an error: then one by one."""
    billing = funded(store)
    price = Price(Flat(1000, 1_000_000), unit="microsecond")
    billing.publish(PriceBook("box", LONG_AGO, {"sandbox:box": {"second": price}}))
    billing.start_run("acme", "r", sandbox("box", {"second": 1}))
    with psycopg.connect(store.dsn) as db:
        for change in ("runs SET body = 'x'", "accounts SET used = used + 1"):
            query = f'UPDATE "{store.schema}".{change} WHERE org_id = %s'
            assert db.execute(query, ("acme",)).rowcount == 1
    assert store.ahead("acme") is store
    found = str(billing.verify().discrepancies)
    assert "run" in found and "used" in found, found


def test_a_table_of_more_than_a_page_is_verified_whole(store: DisposableStore) -> None:
    billing = funded(store)
    for _ in billing.execute_many([Grant("acme", f"g{n}", amount=usd("1")) for n in range(1_001)]):
        pass
    assert billing.verify().ok
    with psycopg.connect(store.dsn) as db:
        query = f'UPDATE "{store.schema}".lots SET remainder = 5 WHERE lot = 1000'
        assert db.execute(query).rowcount == 1
    assert "lot 1000" in str(billing.verify().discrepancies)


def test_a_limited_org_costs_no_round_trip_where_it_is_remembered(
    store: DisposableStore, exchanges: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(required, "TAIL", 100)
    billing = limited(store)
    for key in ("new", "warm"):  # nothing is known of a new member's holds
        spend(billing, key)
    exchanges.clear()
    spend(billing, "from memory")
    assert [len(each) for each in exchanges] == [11]  # six sums are updated
    # Another has written: its limits are asked for at once.
    store._known.distrust(["acme"])
    exchanges.clear()
    spend(billing, "loaded")
    assert [len(each) for each in exchanges] == [7, 10]
    with PostgresStore(store.dsn, schema=store.schema) as other:
        theirs = Billing(other)
        theirs.balance("acme")
        exchanges.clear()
        spend(theirs, "new to this process")
        assert [len(each) for each in exchanges] == [1, 5, 2, 10]
    assert Billing(store).verify().ok


def test_what_is_written_together_is_so_where_each_statement_would_commit_alone(
    store: DisposableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is in a distributed database, and behind a pooler that splits what comes at once."""
    sent = StoreConnection._run
    monkeypatch.setattr(
        StoreConnection, "_run", lambda line, queries: [sent(line, [each])[0] for each in queries]
    )
    billing = funded(store)
    for key in ("a", "b", "a", "c", "b"):
        deduct(billing, key)
    with PostgresStore(store.dsn, schema=store.schema) as other:
        deduct(Billing(other), "c")
        deduct(Billing(other), "d")
        deduct(billing, "d")
    assert billing.balance("acme").used == 4 * DIME.nanos
    assert billing.verify().ok


def test_a_column_of_another_type_is_met_once(store: DisposableStore) -> None:
    """A statement that was prepared for the type of before is prepared anew: on each connection
    once, whether it reads or writes, and nothing is lost or done twice."""
    billing = funded(store)
    deduct(billing, "before")
    billing.usage("acme", "30d")
    columns = {"accounts": "balance", "lots": "amount", "cells": "requests"}
    for n, (table, column) in enumerate(columns.items()):
        with connect(store) as db:
            db.execute(f'ALTER TABLE "{store.schema}".{table} ALTER COLUMN {column} TYPE numeric')
        deduct(billing, f"after {n}")
        store._known.distrust(["acme"])
        deduct(billing, f"loaded after {n}")
        assert billing.usage("acme", "30d") and billing.history("acme")
        assert billing.verify().ok
    assert billing.balance("acme").used == 7 * DIME.nanos


def test_an_org_without_plan_or_limit_is_asked_about_none(
    store: DisposableStore, exchanges: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(required, "TAIL", 100)
    billing = funded(store)
    store._known.distrust(["acme"])
    exchanges.clear()
    spend(billing, "loaded")
    assert len(exchanges) == 2
    sent = " ".join(exchanges[0] + exchanges[1])
    assert not any(table in sent for table in (".limits", ".spends", ".subscriptions"))


def test_a_limit_that_another_process_has_set_or_used_up_binds(store: DisposableStore) -> None:
    with PostgresStore(store.dsn, schema=store.schema) as other:
        mine, theirs = limited(store), Billing(other)
        for turn in range(4):
            spend(mine, f"mine {turn}")
        theirs.set_limit("acme", "ann", usd("0.50"), member="ann")
        spend(mine, "the fifth")
        for billing in (mine, theirs):
            with pytest.raises(Refused) as caught:
                spend(billing, "the sixth")
            assert caught.value.refusal.limit == "member_limit"
        theirs.set_limit("acme", "ann more", usd("1"), member="ann")
        for turn in range(3):
            spend(theirs, f"theirs {turn}")
        spend(mine, "the ninth")
        spend(mine, "the tenth")
        with pytest.raises(Refused):
            spend(mine, "the eleventh")
        spend(mine, "not hers", "bob")
        assert mine.verify().ok


def test_two_processes_keep_a_limit_between_them(store: DisposableStore) -> None:
    with PostgresStore(store.dsn, schema=store.schema) as other:
        engines = [limited(store), Billing(other)]

        def work(n: int) -> int:
            won = 0
            for turn in range(15):
                try:
                    spend(engines[n % 2], f"{n}-{turn}")
                    won += 1
                except Refused as refused:
                    assert refused.refusal.limit == "member_limit"
            return won

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(work, range(8))) == 90
        assert engines[0].verify().ok


def test_a_hold_that_is_remembered_frees_its_own_limits() -> None:
    with BesideMemory() as store:
        billing = limited(store)
        for key in "abc":
            hold = billing.hold(
                "acme", DIME, expires_in=timedelta(hours=1), key=key, member="ann", project="p"
            )
            billing.release("acme", hold.key)
        assert store.recalled >= 4
        assert billing.verify().ok


def test_usage_of_a_batch_over_days_is_not_decided_from_some_of_them() -> None:
    with BesideMemory() as store:
        now = datetime(2026, 3, 31, 12, tzinfo=UTC)
        billing = Billing(store, clock=SettableClock(now))
        billing.publish(PriceBook("v1", LONG_AGO, {"x": {"unit": Price(Flat(1), unit="unit")}}))
        billing.open_account("acme", at=now - timedelta(days=60))
        billing.grant("acme", "credit", usd("1"))
        billing.set_limit("acme", "l", usd("0.5"), per="day")

        def use(key: str, days: float) -> Settle:
            at = now - timedelta(days=days)
            return Settle("acme", key, usage=Usage.of("x", {"unit": 5}), occurred_at=at)

        for turn in range(3):
            batch = [use(f"{days} {turn}", days) for days in (0, 0.6, 1, 7, 9)]
            billing.execute(batch)
            billing.execute([use(f"today {turn}", 0), use(f"yesterday {turn}", 1)])
        assert store.recalled > 3
        assert billing.verify().ok


# -- injected faults --------------------------------------------------------------


class Faults:
    """Fails exchanges with an SQLSTATE: those that write and commit, or those that load."""

    def __init__(self, code: str, times: int, *, at_commit: bool, index: int = 0) -> None:
        self.left, self.code, self.at_commit, self.index = times, code, at_commit, index
        self.met = 0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        run = StoreConnection.run

        def faulty(line: StoreConnection, queries: Sequence[Query]) -> Any:
            commits = any(b".entries AS kept" in query.statement.sql for query in queries)
            writes = commits or any(b"FOR UPDATE" in query.statement.sql for query in queries)
            if self.left and writes and commits == self.at_commit:
                self.left -= 1
                self.met += 1
                error = psycopg.errors.lookup(self.code)("injected")
                explicit = queries[-1].statement == COMMIT
                commit = len(queries) - 1 if explicit else len(queries)
                raise Failure(self.index if self.index >= 0 else commit, error)
            return run(line, queries)

        patch.setattr(StoreConnection, "run", faulty)


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03"])
@pytest.mark.parametrize("at_commit", [False, True], ids=["load", "commit"])
@pytest.mark.parametrize("times", [1, 4, 1000])
def test_whoever_is_in_the_way_is_tried_again_a_bounded_number_of_times(
    store: DisposableStore, monkeypatch: pytest.MonkeyPatch, code: str, at_commit: bool, times: int
) -> None:
    billing = funded(store)
    faults = Faults(code, times, at_commit=at_commit)
    with monkeypatch.context() as patch:
        if not at_commit:
            patch.setattr(store._known, "check_out", lambda _: None)
        faults.install(patch)
        if times == 1000:
            with pytest.raises(StoreError) as caught:
                deduct(billing, "a")
            assert caught.value.retryable and not caught.value.outcome_unknown
            assert isinstance(caught.value.__cause__, psycopg.Error)
            assert 4 < faults.met < 20
        else:
            deduct(billing, "a")
            assert faults.left == 0
    deduct(billing, "a")
    assert billing.balance("acme").used == DIME.nanos
    assert billing.verify().ok


@pytest.mark.parametrize("code", ["XX000", "40003", "08006", "57P01"])
def test_an_error_of_the_commit_itself_is_unknown(
    store: DisposableStore, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    billing = funded(store)
    with monkeypatch.context() as patch:
        Faults(code, 1, at_commit=True, index=-1).install(patch)
        with pytest.raises(StoreError) as caught:
            deduct(billing, "a")
        assert caught.value.outcome_unknown and caught.value.retryable
    deduct(billing, "a")
    assert billing.balance("acme").used == DIME.nanos


@pytest.mark.parametrize("memory", [True, False], ids=["from memory", "loading"])
@pytest.mark.parametrize(("code", "unknown"), [("XX000", True), ("P0001", False)])
def test_the_server_refuses_the_commit(
    store: DisposableStore, monkeypatch: pytest.MonkeyPatch, code: str, unknown: bool, memory: bool
) -> None:
    """After every statement was answered: by a trigger that is deferred to the end."""
    billing = funded(store)
    with psycopg.connect(store.dsn, autocommit=True) as db:
        db.execute(f'SET search_path = "{store.schema}"')
        db.execute(
            "CREATE FUNCTION refuse_late() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION 'too late' USING ERRCODE = '{code}'; END $$"
        )
        db.execute(
            "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON accounts DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION refuse_late()"
        )
        if not memory:
            monkeypatch.setattr(store._known, "check_out", lambda _: None)
        with pytest.raises(StoreError, match="too late") as caught:
            deduct(billing, "a")
        assert caught.value.outcome_unknown is unknown
        db.execute("DROP TRIGGER late ON accounts")
    assert billing.balance("acme").used == 0
    deduct(billing, "a")
    assert billing.balance("acme").used == DIME.nanos
    assert billing.verify().ok


def test_a_commit_that_was_not_waited_for_is_unknown(
    store: DisposableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's only word for a commit that no standby has."""
    billing = funded(store)
    run = StoreConnection.run

    def warned(line: StoreConnection, queries: Sequence[Query]) -> Any:
        answer = run(line, queries)
        line.warnings.append("canceling wait for synchronous replication due to user request")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(StoreConnection, "run", warned)
        with pytest.raises(StoreError) as caught:
            deduct(billing, "a")
    assert caught.value.outcome_unknown
    assert deduct(billing, "a") == 3
    assert billing.balance("acme").used == DIME.nanos


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(settings=QUICK).start()
    yield server
    server.remove()


def posting(store: PostgresStore) -> bytes:
    """What an exchange that commits has in it: the name of the statement that posts an entry."""
    return store._writer._statements["entries"].one.name


@pytest.mark.parametrize("memory", [True, False], ids=["from memory", "loading"])
@pytest.mark.parametrize("moment", ["before", "half", "after"])
def test_a_connection_lost_at_the_commit_is_unknown_and_found_out(
    server: Server, monkeypatch: pytest.MonkeyPatch, moment: str, memory: bool
) -> None:
    with closing(Proxy(server.port)) as proxy, DisposableStore(server.dsn()) as store:
        dsn = with_options(server.dsn(tcp=True), port=proxy.port)
        with PostgresStore(dsn, schema=store.schema) as mine:
            billing = funded(mine)
            if not memory:
                monkeypatch.setattr(mine._known, "check_out", lambda _: None)
            used = 0
            for turn in range(3):
                cuts = iter([moment])
                proxy.cut = lambda data, cuts=cuts: (
                    next(cuts, None) if posting(mine) in data else None
                )
                with pytest.raises(StoreError) as caught:
                    deduct(billing, f"k-{turn}")
                assert caught.value.outcome_unknown and caught.value.retryable
                proxy.cut = None
                written = Billing(store).find("acme", "deduct", f"k-{turn}") is not None
                assert written == (moment == "after")
                outcome = billing.deduct("acme", f"k-{turn}", DIME, resource="tool")
                assert outcome.replayed == written
                used += DIME.nanos
                assert billing.balance("acme").used == used
            assert billing.verify().ok


def test_a_connection_lost_before_the_commit_is_not_noticed(server: Server) -> None:
    with closing(Proxy(server.port)) as proxy, DisposableStore(server.dsn()) as store:
        dsn = with_options(server.dsn(tcp=True), port=proxy.port)
        with PostgresStore(dsn, schema=store.schema) as mine:
            billing = funded(mine)
            mine._known.distrust(["acme"])
            cuts = iter(["half"])
            proxy.cut = lambda data: next(cuts, None) if posting(mine) not in data else None
            deduct(billing, "a")
            assert next(cuts, None) is None
            assert billing.balance("acme").used == DIME.nanos


def test_eight_threads_lose_connections_and_no_money(server: Server) -> None:
    """Each sends again what was unknown or retryable; nothing is lost or doubled."""
    with closing(Proxy(server.port)) as proxy, DisposableStore(server.dsn()) as store:
        dsn = with_options(server.dsn(tcp=True), port=proxy.port)
        with PostgresStore(dsn, schema=store.schema, pool_size=4) as mine:
            billing = funded(mine, ["acme", "bolt"])
            seen = [0]
            unknown = [0]

            def cut(data: bytes) -> str | None:
                seen[0] += 1
                return (None, "before", "after", "half")[seen[0] % 4] if seen[0] % 7 == 0 else None

            def work(n: int) -> None:
                for turn in range(15):
                    for _ in range(200):
                        try:
                            deduct(billing, f"{n}-{turn}", ("acme", "bolt")[n % 2])
                            break
                        except StoreError as error:
                            assert error.retryable, error
                            unknown[0] += error.outcome_unknown
                    else:
                        raise AssertionError("lost for ever")

            proxy.cut = cut
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(work, range(8)))
            proxy.cut = None
            assert unknown[0]
            for org in ("acme", "bolt"):
                assert billing.balance(org).used == 60 * DIME.nanos
            assert billing.verify().ok


def test_an_interrupted_exchange_is_not_cancelled_but_hung_up_on(
    store: DisposableStore,
) -> None:
    billing = funded(store)
    # A background job is born with SIGINT ignored.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    with connect(store) as rival:
        rival.execute("BEGIN")
        rival.execute(f"SELECT 1 FROM \"{store.schema}\".accounts WHERE org_id = 'acme' FOR UPDATE")
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            deduct(billing, "a")
        signal.signal(signal.SIGINT, usual)
        rival.execute("ROLLBACK")
    deduct(billing, "a")
    assert billing.balance("acme").used == DIME.nanos
    assert billing.verify().ok
