"""What is SQLite's own: durability, files that are not ours, append-only, tampering."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from billing_adapters.sqlite import SqliteStore
from billing_core import (
    Billing,
    Checkpoint,
    Conflict,
    Flat,
    Graduated,
    IdempotencyConflict,
    InvalidCommand,
    Price,
    PriceBook,
    Refused,
    StoreError,
    Tier,
    Usage,
    model,
    tokens,
    usd,
)
from billing_core.ports.state import Wanted
from billing_core.testing import CountingIds, SettableClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOOK = PriceBook(
    "2026-03",
    datetime(2026, 1, 1, tzinfo=UTC),
    {
        model("m"): {
            "input": Price(Flat.of("0.0753", 1_000_000)),
            "output": Price(Graduated((Tier(1000, 301), Tier(None, 150)))),
        },
        "sandbox": {"second": Price(Flat.of("0.0001"), unit="second", minimum=60, increment=10)},
    },
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "billing.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(path) as store:
        yield store


def engine(store: SqliteStore, clock: SettableClock | None = None) -> Billing:
    return Billing(store, clock=clock or SettableClock(NOW), ids=CountingIds())


def funded(store: SqliteStore, clock: SettableClock | None = None) -> Billing:
    billing = engine(store, clock)
    billing.publish(BOOK)
    billing.open_account("acme")
    billing.grant("acme", "paid", usd("1"))
    return billing


def a_busy_day(billing: Billing, org: str = "acme") -> None:
    """Something of every record kind."""
    billing.publish(BOOK)
    billing.open_account(org)
    billing.grant(org, "paid", usd("1"))
    billing.grant(org, "gift", usd("0.5"), kind="promotional", expires_at=NOW + timedelta(days=9))
    with billing.hold(
        org,
        tokens("m", input=100, output=2000),
        expires_in=timedelta(hours=1),
        key="a",
        member="ana",
    ) as hold:
        hold.report(tokens("m", input=100, output=1500))
    billing.hold(org, usd("0.1"), expires_in=timedelta(hours=1), key="open", resource="sandbox")
    billing.settle(org, "run", Usage.of("sandbox", {"second": 7}, item="run-1"), member="bo")
    billing.settle(org, "later", tokens("unheard-of", input=5))
    big = billing.settle(org, "big", Usage.of("sandbox", {"second": 30_000}))
    assert big.unpaid
    billing.reverse(org, "part", charge=big.seq, amount=usd("0.2"))


# -- durability -----------------------------------------------------------------


def test_every_connection_is_durable(store: SqliteStore) -> None:
    with store.transaction() as transaction:
        transaction.load({})
        settings = [pragmas(store._writer)]
    with store._reader() as reader:
        settings.append(pragmas(reader))
    assert settings == [("wal", 2)] * 2  # synchronous 2: FULL


def pragmas(db: sqlite3.Connection | None) -> tuple[str, int]:
    assert db is not None
    mode, synchronous = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
    )
    return mode, synchronous


def test_every_table_is_strict_and_keyed_by_org(store: SqliteStore) -> None:
    with store._reader() as db:
        tables = db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%'"
            " ESCAPE '\\' AND name NOT LIKE 'sqlite%'"
        ).fetchall()
        assert len(tables) >= 11
        for name, sql in tables:
            assert "STRICT" in sql, name
            columns = db.execute(f"PRAGMA table_info({name})").fetchall()
            if name not in ("published", "marks"):
                first = next(column for column in columns if column[5] == 1)
                assert (first[1], first[3]) == ("org_id", 1), name


def test_what_was_written_is_there_after_opening_again(path: Path) -> None:
    with SqliteStore(path) as store:
        a_busy_day(engine(store))
        before = engine(store).balance("acme")
    with SqliteStore(path) as store:
        assert engine(store).balance("acme") == before
        assert engine(store).verify().ok


def test_a_second_writer_waits_and_then_fails_retryably(path: Path) -> None:
    with SqliteStore(path) as store, SqliteStore(path, busy_seconds=0.05) as other:
        billing = engine(store)
        billing.open_account("acme")
        with store.transaction() as transaction:
            transaction.load({})
            with pytest.raises(StoreError, match="locked") as caught:
                engine(other).grant("acme", "g", usd("1"))
        assert caught.value.retryable
        assert not caught.value.outcome_unknown
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        engine(other).grant("acme", "g", usd("1"))
        assert billing.balance("acme").balance == usd("1").nanos


# -- files that are not ours ----------------------------------------------------


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"this is a letter, not a ledger" * 40)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not an SQLite database"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_corrupt_database(path: Path) -> None:
    with SqliteStore(path) as store:
        a_busy_day(engine(store))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError), SqliteStore(path) as store:
        engine(store).balance("acme")


def test_somebody_elses_database_is_left_as_it_was(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="something else"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=r"schema 99.*upgrade"):
        SqliteStore(path)


def test_an_unknown_additive_migration_is_accepted(path: Path) -> None:
    with SqliteStore(path) as store:
        a_busy_day(engine(store))
    with sqlite3.connect(path) as db:
        db.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('billing', '0002_of_the_next_version', 'now')"
        )
    db.close()
    with SqliteStore(path) as store:
        assert engine(store).verify().ok


def test_no_memory_database() -> None:
    with pytest.raises(StoreError, match="MemoryStore"):
        SqliteStore(":memory:")


class _BytesPath:
    def __fspath__(self) -> bytes:
        return b"x.db"


@pytest.mark.parametrize("bad", [None, 5, True, b"x.db", object(), _BytesPath(), "x\0.db"])
def test_what_is_no_path_makes_no_file(
    bad: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidCommand, match=r"path: given .* the path of a file"):
        SqliteStore(bad)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [-1, "5", None, True, float("nan")])
def test_how_long_to_wait_is_a_number_of_seconds(bad: Any, path: Path) -> None:
    with pytest.raises(InvalidCommand, match="busy_seconds"):
        SqliteStore(path, busy_seconds=bad)
    assert not path.exists()


# -- what is known without reading ------------------------------------------------


def test_what_another_connection_wrote_is_seen(path: Path) -> None:
    with SqliteStore(path) as one, SqliteStore(path) as other:
        engines = [engine(one), engine(other)]
        a_busy_day(engines[0])
        engines[1].grant("acme", "debts", usd("3"))
        for number in range(20):
            billing = engines[number % 3 % 2]
            billing.grant("acme", f"more-{number}", usd("0.3"))
            billing.deduct("acme", f"less-{number}", usd("0.1"), resource="tool")
            billing.settle("acme", f"used-{number}", tokens("m", input=number + 1))
        assert engines[0].balance("acme") == engines[1].balance("acme")
        assert engines[0].verify().ok


@pytest.mark.usefixtures("summed_at_once")
def test_a_write_that_failed_is_not_believed(store: SqliteStore) -> None:
    billing = engine(store)
    a_busy_day(billing)
    before = billing.balance("acme").balance
    with store.transaction() as transaction:
        transaction.load({})
        db = store._writer  # another connection's doing would be seen
        assert db is not None
        db.execute("CREATE TRIGGER no BEFORE UPDATE ON cells BEGIN SELECT RAISE(ABORT, 'no'); END")
        db.execute("COMMIT")
    with pytest.raises(StoreError):
        billing.settle("acme", "fails", tokens("m", input=7), member="ana")
    with store.transaction() as transaction:
        transaction.load({})
        db.execute("DROP TRIGGER no")
        db.execute("COMMIT")
    assert billing.balance("acme").balance == before
    billing.settle("acme", "works", tokens("m", input=7), member="ana")
    assert billing.verify().ok


def test_a_decision_that_is_made_again_counts_once(store: SqliteStore) -> None:
    billing = engine(store)
    a_busy_day(billing)
    for key in ("first", "second"):
        billing.settle("acme", key, tokens("m", input=7), member="ana")
    billing.set_limit("acme", "limit", usd("100"), member="ana")
    # What was spent before the limit is asked for when the counter has moved already.
    billing.settle("acme", "third", tokens("m", input=7), member="ana")
    assert billing.verify().ok


def _statements(store: SqliteStore, write: Callable[[], object]) -> list[str]:
    """What a write has the database do, by the first two words."""
    found: list[str] = []
    with store.transaction():
        assert store._writer is not None
        store._writer.set_trace_callback(found.append)
    write()
    with store.transaction():
        store._writer.set_trace_callback(None)
    return [" ".join(each.split()[:2]) for each in found if not each.startswith("--")]


def test_a_command_of_an_org_that_is_known_reads_nothing(store: SqliteStore) -> None:
    billing = funded(store)

    def charge(key: str) -> None:
        billing.deduct("acme", key, usd("0.01"), resource="tool", member="ana")

    def settle(key: str) -> None:
        with billing.hold("acme", usd("0.1"), expires_in=timedelta(hours=1), key=key) as hold:
            hold.report(tokens("m", input=5))

    for write in (charge, settle):
        for number in range(9):  # until the rollup cells are known as well
            write(f"{write.__name__}-{number}")
        seen = _statements(store, partial(write, f"{write.__name__}-last"))
        assert not [each for each in seen if each.startswith("SELECT")], seen
        assert "UPDATE accounts" in seen
    assert billing.verify().ok


def test_a_key_on_record_is_found_when_it_is_written(store: SqliteStore) -> None:
    billing = funded(store)
    first = billing.deduct("acme", "k", usd("0.1"), resource="tool")
    for _ in range(2):
        again = billing.deduct("acme", "k", usd("0.1"), resource="tool")
        assert again == evolve(first, replayed=True)
        with pytest.raises(IdempotencyConflict):
            billing.deduct("acme", "k", usd("0.2"), resource="tool")
    assert billing.balance("acme").balance == 900_000_000
    with pytest.raises(Refused):
        billing.deduct("acme", "l", usd("0.91"), resource="tool")
    assert billing.deduct("acme", "l", usd("0.9"), resource="tool").balance == 0
    assert billing.verify().ok


def test_what_was_done_to_what_is_known_and_not_committed_is_forgotten(store: SqliteStore) -> None:
    billing = funded(store)
    wanted = {"acme": Wanted(until=0, keys={"deduct:a"})}
    before = store.snapshot(wanted)
    for asked in ("recall", "load"):
        with store.transaction() as transaction:
            known = transaction.recall(wanted) if asked == "recall" else transaction.load(wanted)
            assert known == before
            known["acme"].account.balance += 1
            known["acme"].lots[1].remainder += 1
        with store.transaction() as transaction:
            assert transaction.recall(wanted) is None
            assert transaction.load(wanted) == before
    billing.deduct("acme", "a", usd("0.1"), resource="tool")
    assert billing.verify().ok


def test_what_has_lapsed_is_not_decided_from_memory(store: SqliteStore) -> None:
    clock = SettableClock(NOW)
    billing = funded(store, clock)
    hold = billing.hold("acme", usd("0.8"), expires_in=timedelta(minutes=1), key="h")
    clock.advance(timedelta(minutes=2))
    billing.deduct("acme", "k", usd("0.1"), resource="tool")
    assert [each.state for each in store.holds("acme")] == ["lapsed"]
    late = billing.settle("acme", "late", Usage.of("tool", {}), hold=hold.key)
    assert late.captured == 0
    assert billing.verify().ok


def test_a_row_that_cannot_be_read_is_an_error_of_the_store_each_time(path: Path) -> None:
    with SqliteStore(path) as store:
        billing = engine(store)
        billing.open_account("acme")
        billing.grant("acme", "paid", usd("1"), scope=["tool"])
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE lots SET scope = 'no JSON'")
        for number in range(3):
            with pytest.raises(StoreError, match="cannot be read"):
                billing.deduct("acme", f"k{number}", usd("0.1"), resource="tool")


def test_what_is_owed_is_not_decided_from_memory(store: SqliteStore) -> None:
    billing = engine(store)
    billing.publish(BOOK)
    billing.open_account("acme")
    billing.grant("acme", "paid", usd("0.1"))
    billing.settle("acme", "big", Usage.of("sandbox", {"second": 2000}))
    assert billing.balance("acme").debt == 100_000_000
    assert billing.grant("acme", "more", usd("0.3")).repaid == 100_000_000
    assert billing.balance("acme").debt == 0


def test_a_hold_that_is_known_ends_once(path: Path) -> None:
    with SqliteStore(path) as one, SqliteStore(path) as other:
        here, there = funded(one), engine(other)
        for key, elsewhere in (("a", here), ("b", there)):
            here.hold("acme", usd("0.1"), expires_in=timedelta(hours=1), key=key)
            elsewhere.settle("acme", f"{key}-1", tokens("m", input=5), hold=key)
            with pytest.raises(Conflict, match="settled already"):
                here.settle("acme", f"{key}-2", tokens("m", input=5), hold=key)
        assert here.verify().ok


def test_a_hold_that_is_known_takes_back_what_it_announced(store: SqliteStore) -> None:
    billing = funded(store)
    use = tokens("m", output=900)
    for number in range(3):
        held = billing.hold("acme", use, expires_in=timedelta(hours=1), key=f"h{number}")
        assert [each.of("output").held for each in store.counters("acme")] == [900]
        billing.release("acme", held.key)
        assert [each.of("output").held for each in store.counters("acme")] == [0]
    assert billing.verify().ok


def test_a_refused_settlement_leaves_its_hold_as_it_is_known(store: SqliteStore) -> None:
    billing = funded(store)
    for key in ("first", "other"):
        billing.settle("acme", key, tokens("m", input=5))
    billing.hold("acme", usd("0.1"), expires_in=timedelta(hours=1), key="h")
    with pytest.raises(IdempotencyConflict):
        billing.settle("acme", "other", tokens("m", input=5), hold="h")
    assert billing.settle("acme", "own", tokens("m", input=5), hold="h").captured
    assert billing.verify().ok


def test_an_erased_member_is_not_known_any_more(store: SqliteStore) -> None:
    billing = funded(store)
    for turn in range(3):
        for number in range(2):
            billing.deduct("acme", f"k{turn}{number}", usd("0.1"), resource="tool", member="ana")
        assert store.members("acme") == {turn + 1: "ana"}
        assert billing.erase_member("acme", "ana")
    assert [use.member for _, use in store.usage("acme", 0, 2**62)] == [1, 1, 2, 2, 3, 3]
    assert billing.verify().ok


# -- append-only ----------------------------------------------------------------

APPEND_ONLY = ("entries", "published")


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_the_database_itself_refuses_to_change_history(path: Path, table: str) -> None:
    with SqliteStore(path) as store:
        a_busy_day(engine(store))
    db = sqlite3.connect(path)  # another client, which sets nothing
    columns = ", ".join(row[1] for row in db.execute(f"PRAGMA table_info({table})"))
    attempts = [
        f"DELETE FROM {table}",
        f"UPDATE {table} SET rowid = rowid" if table == "published" else
        f"UPDATE {table} SET seq = seq + 100000",
        f"INSERT OR REPLACE INTO {table} ({columns}) SELECT {columns} FROM {table}",
        f"REPLACE INTO {table} ({columns}) SELECT {columns} FROM {table} LIMIT 1",
    ]  # fmt: skip
    for attempt in attempts:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(attempt)
    db.close()
    with SqliteStore(path) as store:
        assert engine(store).verify().ok


# -- tampering ------------------------------------------------------------------

CAPTURE = "UPDATE entries SET transfers = {} WHERE transfers LIKE '%capture%'"
USAGE = "UPDATE entries SET usage = {} WHERE key = 'settle:run'"
TAMPERING = {
    "amount of an entry": "UPDATE entries SET amount = amount + 1 WHERE key = 'settle:run'",
    "amount of a transfer": CAPTURE.format("json_set(transfers, '$[0][2]', 7)"),
    "account of a transfer": CAPTURE.format("replace(transfers, 'revenue', 'refunds')"),
    "quantity": "UPDATE entries SET usage = replace(usage, '\"second\",7', '\"second\",6')",
    "time of usage": USAGE.format("json_set(usage, '$[0]', occurred_at + 1)"),
    "time of record": "UPDATE entries SET recorded_at = recorded_at - 1 WHERE seq = 2",
    "time of decision": "UPDATE entries SET at = at - 1 WHERE seq = 2",
    "where usage is filed": (
        "UPDATE entries SET occurred_at = occurred_at + 1 WHERE key = 'settle:run'"
    ),
    "member of usage": USAGE.format("json_set(usage, '$[1]', 1)"),
    "content": "UPDATE entries SET content = replace(content, 'purchased', 'promotional')",
    "price": "UPDATE published SET body = replace(body, '75300000', '75300001')",
    "price and its digest": (
        "UPDATE published SET body = replace(body, '75300000', '75300001'), digest = 'f00'"
    ),
    "deleted entry": "DELETE FROM entries WHERE seq = 4",
    "deleted last entry": "DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)",
    "deleted transfer": CAPTURE.format("NULL"),
    "deleted usage": USAGE.format("NULL"),
    "deleted lot": "DELETE FROM lots WHERE lot = 2",
    "deleted hold": "DELETE FROM holds WHERE key = 'open'",
    "deleted rollup": "DELETE FROM cells WHERE grain = 'day'",
    "deleted account": "DELETE FROM accounts",
    "swapped entries": (
        "UPDATE entries SET seq = CASE seq WHEN 3 THEN -4 ELSE -3 END WHERE seq IN (3, 4);"
        "UPDATE entries SET seq = -seq WHERE seq < 0"
    ),
    "inserted usage": (
        "UPDATE entries SET usage = (SELECT usage FROM entries WHERE key = 'settle:run')"
        " WHERE key = 'grant:paid'"
    ),
    "inserted transfer": CAPTURE.format("json_insert(transfers, '$[#]', transfers -> '$[0]')"),
    "inserted lot": (
        "INSERT INTO lots SELECT org_id, 99, seq, kind, priority, amount, amount, 0, expires_at,"
        " scope, period, spent FROM lots LIMIT 1"
    ),
    "balance": "UPDATE accounts SET balance = balance + 1000000000",
    "balance of an entry": "UPDATE entries SET balance = balance + 1 WHERE seq = 2",
    "debt": "UPDATE accounts SET debt = 0",
    "totals": "UPDATE accounts SET used = used - 5",
    "next lapse": "UPDATE accounts SET next_lapse = NULL",
    "watermark": "UPDATE accounts SET watermark = watermark - 1",
    "counter": "UPDATE counters SET components = replace(components, '1500', '1499')",
    "item": "UPDATE items SET components = replace(components, '60', '10')",
    "lot's remainder": "UPDATE lots SET remainder = remainder + 7",
    "lot's expiry": "UPDATE lots SET expires_at = NULL",
    "lot's scope": "UPDATE lots SET scope = '[\"sandbox\"]'",
    "hold's expiry": "UPDATE holds SET expires_at = expires_at + 1 WHERE key = 'open'",
    "hold's state": "UPDATE holds SET state = 'open' WHERE key = 'a'",
    "hold's parts": "UPDATE holds SET parts = '[[1,1]]' WHERE key = 'open'",
    "charge's debt": "UPDATE charges SET unpaid = unpaid - 1",
    "charge's reversal": "UPDATE charges SET reversed = 0",
    "rollup's amount": "UPDATE cells SET amount = amount - 1 WHERE grain = 'hour'",
    "rollup's quantity": "UPDATE cells SET components = replace(components, '1500', '1499')",
    "rollup's requests": "UPDATE cells SET requests = requests + 1 WHERE grain = 'period'",
    "unreadable row": USAGE.format("'[1,\"scribble\"]'"),
    "unreadable transfers": CAPTURE.format("'scribble'"),
    "unreadable effects": "UPDATE entries SET effects = 'scribble' WHERE key LIKE 'hold:%'",
}


def tamper(path: Path, script: str) -> None:
    """As another client would, who first drops the triggers."""
    db = sqlite3.connect(path)
    for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    before = db.total_changes
    for statement in script.split(";"):
        # CHECKs on lots and debts bind every client that does not switch them off.
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(statement)
    assert db.total_changes > before, "the tampering must do something"
    db.commit()
    db.close()


@pytest.mark.parametrize("script", TAMPERING.values(), ids=TAMPERING)
def test_verify_finds_tampering(path: Path, script: str) -> None:
    with SqliteStore(path) as store:
        a_busy_day(engine(store))
        assert engine(store).verify().ok
    tamper(path, script)
    with SqliteStore(path) as store:
        found = engine(store).verify()
    assert not found.ok
    assert all(str(each) for each in found.discrepancies)


def test_a_checkpoint_shows_a_truncated_tail(path: Path) -> None:
    with SqliteStore(path) as store:
        billing = engine(store)
        a_busy_day(billing)
        early = path.with_name("early.db")
        with sqlite3.connect(early) as copy, store._reader() as db:
            db.execute("ROLLBACK")
            db.backup(copy)
            db.execute("BEGIN")
        copy.close()
        billing.grant("acme", "more", usd("3"))
        kept = {"acme": saved(billing.verify().checkpoints["acme"])}
        assert billing.verify(checkpoints=kept).ok
    with SqliteStore(early) as store:
        assert engine(store).verify().ok  # in itself it is whole
        found = engine(store).verify(checkpoints=kept)
        [only] = found.discrepancies
        assert only.what == "not the one that the checkpoint saw"


def test_a_checkpoint_shows_a_wholly_rewritten_tail(path: Path) -> None:
    with SqliteStore(path) as store:
        billing = engine(store)
        a_busy_day(billing)
        kept = {"acme": saved(billing.verify().checkpoints["acme"])}
    other = path.with_name("rewritten.db")
    with SqliteStore(other) as store:
        # The same commands, but a grant of another amount: every hash is made anew.
        clock = SettableClock(NOW)
        billing = engine(store, clock)
        billing.publish(BOOK)
        billing.open_account("acme")
        billing.grant("acme", "paid", usd("100"))
        for index in range(12):
            billing.grant("acme", f"g{index}", usd("1"))
        assert billing.verify().ok
        assert not billing.verify(checkpoints=kept).ok


def test_verify_goes_on_from_a_checkpoint(path: Path) -> None:
    with SqliteStore(path) as store:
        billing = engine(store)
        a_busy_day(billing)
        first = billing.verify()
        kept = {"acme": saved(first.checkpoints["acme"])}
        billing.settle("acme", "after", tokens("m", input=10, output=3000), member="ana")
        billing.release("acme", "open")
        read: list[int] = []
        second = billing.verify(checkpoints=kept, progress=lambda _, done, total: read.append(done))
        assert second.ok
        assert second.checkpoints == billing.verify().checkpoints
        assert read == [second.checkpoints["acme"].seq]
    tamper(path, "UPDATE lots SET remainder = remainder + 1 WHERE lot = 1")
    with SqliteStore(path) as store:
        assert not engine(store).verify(checkpoints=kept).ok


def saved(checkpoint: Checkpoint) -> Checkpoint:
    """As kept elsewhere: through text."""
    text = checkpoint.to_json()
    assert json.loads(text)["seq"] == checkpoint.seq
    return Checkpoint.from_json(text)
