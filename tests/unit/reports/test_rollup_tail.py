"""The rollup cells are written once for many commands; whoever reads adds what they lack."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from postgres_servers import DisposableStore

from billing_adapters.postgres import PostgresStore
from billing_adapters.sqlite import SqliteStore
from billing_core import (
    Billing,
    Command,
    Deduct,
    Flat,
    Grant,
    Hold,
    Price,
    PriceBook,
    Settle,
    Usage,
    usd,
)
from billing_core.ports import required
from billing_core.ports.state import Wanted
from billing_core.ports.store import Store
from billing_core.records.ledger import Account
from billing_core.records.rollups import Sums
from billing_core.records.usage import CellKey
from billing_core.testing import MemoryStore, SettableClock

EVER = 2**62
BOOK = PriceBook(
    "v1", datetime(2026, 1, 1, tzinfo=UTC), {"y": {"unit": Price(Flat(3, per=2), unit="unit")}}
)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "sqlite":
        with SqliteStore(tmp_path / "a.db") as made:
            yield made
    else:
        with DisposableStore() as made:
            yield made


def engine(store: Store) -> Billing:
    billing = Billing(store)
    if not store.published():
        billing.publish(BOOK)
        billing.open_account("acme")
        billing.grant("acme", "credit", usd("1"))
    return billing


def account(store: Store) -> Account:
    found = store.snapshot({"acme": Wanted(until=0)})["acme"].account
    assert found is not None
    return found


def right(store: Store) -> bool:
    """Whether what is answered is what all usage adds up to, by brute force."""
    brute = Sums()
    for _, record in store.usage("acme", -EVER, EVER):
        brute.add_record(record)
    for grain in ("hour", "day", "period"):
        sums = Sums()
        for key, cell in store.cells("acme", grain, -EVER, EVER).items():
            sums.add(key.member, key.resource, key.payer, cell)
        if sums != brute:
            return False
    return Billing(store).verify().ok


@pytest.mark.parametrize("tail", [1, 2, 5, 32])
def test_a_lone_command_writes_them_once_in_so_many(
    store: Store, monkeypatch: pytest.MonkeyPatch, tail: int
) -> None:
    monkeypatch.setattr(required, "TAIL", tail)
    billing = engine(store)
    summed = {account(store).summed}
    for n in range(70):
        billing.deduct("acme", f"d{n}", usd("0.001"), resource="x", member=f"m{n % 2}")
        found = account(store)
        assert found.seq - found.summed < tail
        summed.add(found.summed)
    assert len(summed) - 1 <= 72 // tail
    assert right(store)


def test_a_batch_writes_its_own_with_what_they_lack(store: Store) -> None:
    billing = engine(store)
    for n in range(5):
        billing.settle("acme", f"s{n}", Usage.of("y", {"unit": n}))
        batch: list[Command] = [
            Deduct("acme", f"{n}-{each}", cost=usd("0.0001"), resource="x") for each in range(40)
        ]
        billing.execute(batch)
        found = account(store)
        assert found.summed == found.seq
    assert right(store)


def test_the_first_batch_of_an_org_writes_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(required, "TAIL", 10)
    billing = Billing(store)
    billing.publish(BOOK)
    billing.open_account("acme")
    billing.execute([Grant("acme", "g", amount=usd("1"))])
    billing.execute([Settle("acme", f"s{n}", usage=Usage.of("y", {"unit": 1})) for n in range(10)])
    assert account(store).summed == 12
    assert right(store)


def test_more_entries_than_commands_lose_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who did not load what the cells lack leaves it for the next one."""
    monkeypatch.setattr(required, "TAIL", 10)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    clock = SettableClock(now)
    billing = Billing(store, clock=clock)
    billing.publish(BOOK)
    billing.open_account("acme")
    billing.grant("acme", "credit", usd("1"))
    one = Usage.of("y", {"unit": 1})
    for n in range(3):
        billing.settle("acme", f"s{n}", one)
        hold = Hold("acme", f"h{n}", cost=usd("0.1"), resource="x", expires_in=timedelta(minutes=1))
        billing.execute([hold])
    clock.advance(timedelta(hours=1))
    billing.settle("acme", "after", one)  # three lapses, and itself
    assert (account(store).seq, account(store).summed) == (12, 0)
    assert right(store)
    billing.settle("acme", "last", one)
    assert (account(store).seq, account(store).summed) == (13, 13)
    assert right(store)


def test_several_engines_lose_none_and_count_none_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a process remembers of the tail is forgotten where another has written."""
    monkeypatch.setattr(required, "TAIL", 7)
    others: list[Any] = [store]
    if isinstance(store, SqliteStore):
        others.append(SqliteStore(tmp_path / "a.db"))
    elif isinstance(store, DisposableStore):
        others.append(PostgresStore(store.dsn, schema=store.schema))
    engines = [engine(each) for each in others]
    draw = random.Random(7)
    for n in range(120):
        billing = draw.choice(engines)
        size = draw.choice([1, 1, 1, 2, 9])
        commands: list[Command] = [
            Settle("acme", f"{n}-{each}", usage=Usage.of("y", {"unit": 1}), member="ann")
            for each in range(size)
        ]
        if draw.random() < 0.1:  # refused: nothing is written
            commands = [Deduct("acme", f"no-{n}", cost=usd("99"), resource="x")]
        billing.execute(commands)
        if n % 40 == 39:
            assert right(store)
    for other in others[1:]:
        other.close()


def test_what_is_kept_stands_in_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is really written: not added up from the journal for ever."""
    monkeypatch.setattr(required, "TAIL", 4)
    with SqliteStore(tmp_path / "a.db") as store:
        billing = engine(store)
        for n in range(9):
            billing.settle("acme", f"s{n}", Usage.of("y", {"unit": 1}))
        with store._reader() as db:
            kept = db.execute("SELECT grain, sum(requests) FROM cells GROUP BY grain").fetchall()
        lacking = account(store).seq - account(store).summed
        assert dict(kept) == dict.fromkeys(("hour", "day", "period"), 9 - lacking)
        [total] = store.cells("acme", "period", -EVER, EVER).items()
        assert isinstance(total[0], CellKey)
        assert total[1].requests == 9
