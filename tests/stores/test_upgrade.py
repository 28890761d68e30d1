"""A database of schema 1, with rows in every table, comes up to the schema of today, and both
versions of the library work on it side by side until an operator says that the old one is gone.

The fixtures were left by the code of version 0.1.0: see `schema_1.py`.
"""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from attrs import evolve
from click.testing import CliRunner
from database_places import Place
from postgres_servers import DisposableStore, fresh_database, shared_dsn, without_password
from version_before import NOON, work

from billing_adapters.cli.app import cli
from billing_adapters.postgres import PostgresStore, schema
from billing_adapters.sqlite import SqliteStore
from billing_adapters.sqlite import schema as sqlite_schema
from billing_core import (
    Billing,
    Conflict,
    Deduct,
    Fact,
    FactIs,
    Flat,
    Multiplier,
    Price,
    PriceBook,
    StoreError,
    Usage,
    Variant,
    sandbox,
    usd,
)
from billing_core.pricing.catalogue import Published
from billing_core.testing import SettableClock

HERE = Path(__file__).resolve().parents[1]
FIXTURES = HERE / "fixtures"
LIBRARY = FIXTURES / "billing_core-0.1.0.zip"
BEFORE = FIXTURES / "billing_core-0.2.0.zip"  # it knows no prices that depend on the request
NEWEST = ["0002_wide_totals", "0003_prices_by_request"]


class OldSchema(DisposableStore):
    """A schema as version 0.1.0 left it."""

    def migrate(self) -> list[str]:
        first = schema.migrations()[0]
        quoted = schema.quoted(self.schema)
        data = (FIXTURES / "schema_1.postgres.sql").read_text(encoding="utf-8")
        with self._owner() as db, db.transaction():
            db.execute(f"CREATE SCHEMA {quoted}")
            db.execute(schema._MIGRATIONS.replace("billing.", f"{quoted}."))
            db.execute(first.text.replace("billing.", f"{quoted}.").encode())
            made = (1, "0001_ledger", first.checksum, 1, 0)
            db.execute(f"INSERT INTO {quoted}.migrations VALUES (%s, %s, %s, %s, %s)", made)
            db.execute(data.replace("INSERT INTO billing.", f"INSERT INTO {quoted}.").encode())
        return [first.name]


def old_file(path: Path) -> Path:
    db = sqlite3.connect(path)
    db.executescript((FIXTURES / "schema_1.sqlite.sql").read_text(encoding="utf-8"))
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    return path


@contextmanager
def old_database(kind: str, folder: Path) -> Iterator[Place]:
    if kind == "sqlite":
        yield (str(old_file(folder / "old.db")),)
        return
    with OldSchema() as store:
        yield without_password(store.dsn), store.schema


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path) -> Iterator[Place]:
    with old_database(request.param, tmp_path) as found:
        yield found


def opened(place: Place):
    """The store of this version."""
    return SqliteStore(place[0]) if len(place) == 1 else PostgresStore(place[0], schema=place[1])


def migrated(place: Place):
    store = opened(place)
    applied = store.applied if isinstance(store, SqliteStore) else store.migrate()
    assert applied == NEWEST
    return store


def engine(store) -> Billing:
    return Billing(store, clock=SettableClock(NOON))


def by_the_version_before(name: str, place: Place, library: Path = LIBRARY) -> str:
    """What it says to a piece of work."""
    run = subprocess.run(
        [sys.executable, str(HERE / "support" / "version_before.py"), name, *place],
        env={**os.environ, "PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def on_record(store) -> list[tuple]:
    return [(each.org, each.seq, each.hash) for org in store.orgs() for each in store.entries(org)]


def test_an_old_database_has_rows_in_every_table(tmp_path: Path) -> None:
    db = sqlite3.connect(old_file(tmp_path / "old.db"))
    tables = [text.split()[2] for text in sqlite_schema._TABLE_TEXTS]
    empty = [name for name in tables if not db.execute(f"SELECT 1 FROM {name}").fetchone()]
    db.close()
    assert len(tables) == 21 and not empty


def test_migrations_that_were_applied_never_change(tmp_path: Path) -> None:
    """Not by a byte: a database would else be called up to date that is not.  What is new is a
    new migration, with a line of its own here."""
    assert [each.checksum for each in schema.migrations()] == [
        "012d8c26937fa48c4515786cf080a665e07674b6c15b4039e5d7bebc3850d388",
        "6d65c55f71ca5edb34371dc6eb556282be34b4cce03b0ea8cae4915a6922b6b8",
        "11a0929deca31ce42026df8f9186bfce9efc4ecd2b6ce76c0ce4091de8ceaec9",
    ]

    def made(path: Path) -> str:
        """What stands in a file's schema, as a digest."""
        SqliteStore(path).close()
        with sqlite3.connect(path) as db:
            texts = db.execute("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name")
            found = "\n".join(text for [text] in texts if "_sqlite_migrations" not in text)
        db.close()
        return sha256(found.replace('"', "").encode()).hexdigest()

    assert (
        made(tmp_path / "new.db")
        == "5b9652c59f41d6e2ca21f4f9efc6ee05c3413ec70ea2a22dcb85abb7f0d29820"
    )
    assert (
        made(old_file(tmp_path / "old.db"))
        == "f255e67fdfc69bf2ba9c28120afc5e6c1823d5eeb2bb94139b294b24ca257dd1"
    )


def test_an_old_database_is_brought_up_to_date_and_goes_on(place: Place) -> None:
    with migrated(place) as store:
        before = on_record(store)
        assert store.level() == 1
        billing = engine(store)
        assert billing.verify().ok
        work(billing, "new")
        assert on_record(store)[:1] == before[:1]
        assert store.finish() == NEWEST
        assert store.finish() == []
        assert store.level() == 3
        assert engine(store).verify().ok
        work(engine(store), "newer")
        assert {*before} <= {*on_record(store)}
    with opened(place) as store:
        assert engine(store).verify().ok


def test_two_versions_work_side_by_side_until_the_old_one_is_gone(place: Place) -> None:
    assert by_the_version_before("before", place) == "worked"
    with migrated(place) as store:
        billing = engine(store)
        for n in range(2):
            work(billing, f"new-{n}")
            assert by_the_version_before(f"old-{n}", place) == "worked"
        assert billing.verify().ok
        store.finish()
        work(billing, "after")
        assert by_the_version_before("late", place).startswith("refused: ")
        assert billing.verify().ok


def test_what_the_version_before_cannot_follow_waits_for_the_operator(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with migrated(place) as store:
        billing = engine(store)
        known = billing.deduct("acme", "known", usd("0.1"), resource="x")
        monkeypatch.setattr(Deduct, "level", 2)
        again = billing.deduct("acme", "known", usd("0.1"), resource="x")
        assert (again.seq, again.replayed) == (known.seq, True)
        [found, other] = billing.execute(
            [
                Deduct("acme", "new", cost=usd("0.1"), resource="x"),
                Deduct("acme", "known", cost=usd("0.1"), resource="x"),
            ]
        )
        assert isinstance(found, Conflict) and "billing migrate --finish" in str(found)
        assert other == again, "its neighbour is not disturbed"
        store.finish()
        assert billing.deduct("acme", "new", usd("0.1"), resource="x").amount
        assert billing.verify().ok


# -- prices that depend on the request, beside a version that knows none --------------


TIER = Fact("service_tier", ("standard", "batch"), default="standard")
BATCH = {"service_tier": "batch"}
FOR_BATCH = FactIs("service_tier", "batch")
BY_TIER = PriceBook(
    "by-tier",
    NOON - timedelta(days=400),
    {"model:tiered": {"input": Price(Flat(10), variants=[Variant(Flat(4), FOR_BATCH)],
                                     facts=[TIER])}},
)  # fmt: skip
# acme's plan has ten percent off.
TIERED = Usage.of("model:tiered", {"input": 100}, facts=BATCH)
SMALL = Usage.of("model:small", {"input": 3}, facts=BATCH)
HOUR = timedelta(hours=1)


@pytest.fixture
def unfinished(place: Place) -> Iterator[Place]:
    """A schema that version 0.2.0 has brought up to date, and this one has begun to."""
    assert by_the_version_before("finish", place, BEFORE) == "finished"
    with opened(place) as store:
        applied = store.applied if isinstance(store, SqliteStore) else store.migrate()
        assert (applied, store.level()) == (NEWEST[1:], 2)
    yield place


def waiting(billing: Billing) -> list[Callable[[], object]]:
    """All that the version before could not follow."""
    spec = sandbox("vm", {"vcpu": 2}, facts={"region": "eu"})
    return [
        lambda: billing.publish(BY_TIER),
        lambda: billing.publish(evolve(
            BY_TIER, version="book", prices={"model:other": {"input": Price(Flat(10))}},
            multipliers={"model:*": [Multiplier("0.5", FOR_BATCH)]}, facts=[TIER],
        )),
        lambda: billing.hold("acme", SMALL, key="held", expires_in=HOUR),
        lambda: billing.start_run("acme", "in-eu", spec),
        lambda: billing.report_storage("acme", "in-eu", 10, facts={"region": "eu"}),
    ]  # fmt: skip


def test_what_0_2_0_cannot_price_waits_until_it_is_gone(unfinished: Place) -> None:
    with opened(unfinished) as store:
        billing = engine(store)
        before = on_record(store), [each.version for each in store.published(0)]
        for number in range(len(waiting(billing))):
            with pytest.raises(Conflict, match="billing migrate --finish"):
                waiting(billing)[number]()
        assert (on_record(store), [each.version for each in store.published(0)]) == before
        assert by_the_version_before("old", unfinished, BEFORE) == "worked"
        store.finish()
        for each in waiting(billing):
            each()
        assert billing.settle("acme", "tiered", TIERED).amount == 360
        assert billing.verify().ok


def test_settlements_with_facts_are_accepted_beside_0_2_0(unfinished: Place) -> None:
    """What was measured is never refused: the facts are on record, and 0.2.0 reads over them."""
    with opened(unfinished) as store:
        billing = engine(store)
        for number in range(2):
            plain = billing.settle("acme", f"plain-{number}", Usage.of("model:small", {"input": 3}))
            told = billing.settle("acme", f"told-{number}", SMALL)
            assert told.amount == plain.amount
            assert by_the_version_before(f"old-{number}", unfinished, BEFORE) == "worked"
            assert billing.settle("acme", f"told-{number}", SMALL).replayed
            with pytest.raises(Conflict, match="another usage"):
                billing.settle("acme", f"told-{number}", Usage.of("model:small", {"input": 3}))
        unpriced = billing.settle("acme", "unpriced", TIERED)
        work(billing, "new")
        assert by_the_version_before("old-2", unfinished, BEFORE) == "worked"
        assert billing.verify().ok
        store.finish()
        billing.publish(BY_TIER)
        late = billing.price_unpriced("acme", "late", charge=unpriced.seq, version="by-tier")
        assert late.amount == 360
        assert billing.verify().ok


def test_0_2_0_is_refused_once_the_schema_is_finished(unfinished: Place) -> None:
    with opened(unfinished) as store:
        billing = engine(store)
        assert by_the_version_before("early", unfinished, BEFORE) == "worked"
        store.finish()
        billing.publish(BY_TIER)
        before = on_record(store)
        said = by_the_version_before("late", unfinished, BEFORE)
        assert said.startswith("refused: ") and "knows up to 2; upgrade billing-core" in said
        assert on_record(store) == before
        assert billing.settle("acme", "tiered", TIERED).amount == 360
        assert billing.verify().ok


@pytest.mark.parametrize(
    "book",
    [
        BY_TIER,
        evolve(BY_TIER, prices={"model:small": {"input": Price(Flat(10), multipliers=[
            Multiplier(2, FOR_BATCH)], facts=[TIER])}}),
        evolve(BY_TIER, prices={"model:small": {"input": Price(Flat(10), facts=[TIER])}}),
    ],
    ids=["variants", "multipliers", "facts"],
)  # fmt: skip
def test_0_2_0_prices_nothing_by_a_book_that_it_cannot_read(unfinished: Place, book) -> None:
    """Were such a book there before its time, it would stop, not charge the base."""
    with opened(unfinished) as store:
        billing = engine(store)
        number = len(billing.catalogue().published) + 1
        store.publish(Published.of(book, number, int(NOON.timestamp()) * 10**6))
        before = on_record(store)
        said = by_the_version_before("late", unfinished, BEFORE)
        assert said.startswith("refused: what was published cannot be read"), said
        assert on_record(store) == before
        assert billing.verify().ok


def test_the_command_line_upgrades_and_finishes(tmp_path: Path) -> None:
    run, file = CliRunner().invoke, str(old_file(tmp_path / "old.db"))
    assert "applied 0002_wide_totals" in run(cli, ["migrate", "--db", file]).output
    assert "up to date" in run(cli, ["migrate", "--db", file]).output
    assert "finished 0002_wide_totals" in run(cli, ["migrate", "--db", file, "--finish"]).output
    assert "up to date" in run(cli, ["migrate", "--db", file, "--finish"]).output


def test_the_sql_of_a_migration_is_printed_for_hosts_that_run_their_own() -> None:
    with fresh_database() as dsn, psycopg.connect(dsn, autocommit=True) as db:
        run = CliRunner(env={"BILLING_DB": dsn}).invoke
        script = run(cli, ["migrate", "--sql"]).output
        assert db.execute("SELECT to_regnamespace('billing')").fetchone() == (None,)
        db.execute(script.encode())
        assert run(cli, ["migrate", "--sql"]).output == ""
        assert "up to date" in run(cli, ["migrate", "--finish"]).output
        with PostgresStore(dsn) as store:
            assert store.level() == 3
            Billing(store).open_account("acme")
    with OldSchema() as store, psycopg.connect(store.dsn, autocommit=True) as db:
        late = PostgresStore(store.dsn, schema=store.schema)
        with pytest.raises(StoreError, match="billing migrate first"):
            late.script(finishing=True)
        db.execute(late.script().encode())
        assert (late.script(), late.level()) == ("", 1)
        db.execute(late.script(finishing=True).encode())
        assert (late.script(finishing=True), late.level()) == ("", 3)
        assert engine(late).verify().ok
        late.close()


def test_a_file_of_an_unreleased_build_is_refused(tmp_path: Path) -> None:
    path = old_file(tmp_path / "old.db")
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE accounts DROP COLUMN rolled_of")
    db.close()
    with pytest.raises(StoreError, match=r"unreleased build.*\(accounts\)"):
        SqliteStore(path)


def test_a_schema_of_an_unreleased_build_is_refused_by_whoever_connects() -> None:
    with OldSchema() as store:
        PostgresStore.migrate(store)
        with psycopg.connect(shared_dsn(), autocommit=True) as db:
            db.execute(f"UPDATE {schema.quoted(store.schema)}.migrations SET checksum = 'x'")
        late = PostgresStore(store.dsn, schema=store.schema)
        with late, pytest.raises(StoreError, match="another content"):
            engine(late).balance("acme")
