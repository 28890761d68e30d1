"""What a wrong clock ended comes back by an operator's entry."""

import asyncio
import sqlite3
from datetime import timedelta

import pytest
from click.testing import CliRunner
from world import DAY, HOUR, LONG_AGO, T0, World, nanos, units

from billing_adapters.cli.app import cli
from billing_adapters.sqlite import SqliteStore
from billing_core import (
    AsyncBilling,
    Billing,
    Conflict,
    IdempotencyConflict,
    InvalidCommand,
    NotFound,
    Plan,
    Refused,
    UndoExpiry,
)
from billing_core.testing import SettableClock

WEEKS = timedelta(days=40)


def ended_early(**options) -> World:
    """A world in which one service, forty days ahead, recorded what has not ended yet."""
    world = World(**options)
    world.grant(100, expires_at=T0 + 10 * DAY)
    Billing(world.store, clock=SettableClock(T0 + WEEKS)).run_pending()
    world.clock.advance(HOUR)
    return world


@pytest.mark.every_store
def test_credit_that_a_wrong_clock_ended_comes_back_once() -> None:
    world = ended_early()
    assert world.balance().balance == 0
    [found] = world.billing.expiries("acme", since=world.clock.now)
    assert (found.amount, found.lots, found.at) == (100, {1: 100}, T0 + 10 * DAY)
    assert found.recorded_at == T0 + WEEKS
    end = T0 + 60 * DAY
    done = world.billing.undo_expiry("acme", found.seq, expires_at=end, reason="clock of w-3")
    assert (done.amount, done.lots, done.repaid, done.balance) == (100, (2,), 0, 100)
    again = world.billing.undo_expiry("acme", found.seq, expires_at=end, reason="clock of w-3")
    assert again == done and again.replayed
    with pytest.raises(IdempotencyConflict, match="expires_at"):
        world.billing.undo_expiry("acme", found.seq, expires_at=None, reason="clock of w-3")
    assert world.billing.expiries("acme", since=T0) == []
    assert world.deduct(100).paid == 100
    [row, *_] = world.billing.history("acme", types=["restoration"])
    assert (row.amount, row.seq) == (100, done.seq)
    assert world.billing.find("acme", "restore", str(found.seq)) == done
    assert world.wrong() == []


@pytest.mark.every_store
def test_what_comes_back_ends_at_its_new_end_and_keeps_its_kind_and_scope() -> None:
    world = World()
    world.grant(7, kind="promotional", priority=3, scope=["x"], expires_at=T0 + DAY)
    world.clock.advance(WEEKS)
    world.billing.run_pending()
    [found] = world.billing.expiries("acme", since=T0)
    end = world.clock.now + DAY
    world.billing.undo_expiry("acme", found.seq, expires_at=end)
    [lot] = world.balance().lots
    assert (lot.kind, lot.priority, lot.scope, lot.expires_at) == ("promotional", 3, ("x",), end)
    with pytest.raises(Refused):
        world.hold(units(1, "y"))
    world.clock.advance(DAY)
    assert world.balance().balance == 0
    assert world.settle(1).unpaid == 1
    assert world.wrong() == []


@pytest.mark.every_store
def test_it_repays_what_was_owed_meanwhile() -> None:
    world = ended_early()
    assert world.settle(30).unpaid == 30
    [found] = world.billing.expiries("acme", since=world.clock.now)
    done = world.billing.undo_expiry("acme", found.seq, expires_at=None)
    assert (done.amount, done.repaid, done.balance) == (100, 30, 70)
    assert world.wrong() == []


@pytest.mark.every_store
def test_all_lots_that_ended_in_one_entry_come_back() -> None:
    """An allowance and what an upgrade added to it end together."""
    world = World()
    for name, amount in (("small", 100), ("large", 150)):
        plan = Plan(f"{name}-1", name, LONG_AGO, allowance=nanos(amount), rollover=nanos(40))
        world.billing.publish(plan)
        world.billing.set_plan("acme", name, name)
    Billing(world.store, clock=SettableClock(T0 + WEEKS)).run_pending()
    [found] = world.billing.expiries("acme", since=T0)
    assert found.lots == {1: 60, 2: 50}
    before = world.balance().balance
    done = world.billing.undo_expiry("acme", found.seq, expires_at=None)
    assert (done.amount, len(done.lots)) == (110, 2)
    assert world.balance().balance == before + 110
    assert world.wrong() == []


@pytest.mark.every_store
def test_what_a_hold_gave_back_to_an_ended_lot_comes_back() -> None:
    world = World()
    world.grant(10, expires_at=T0 + DAY)
    world.hold(10, expires_in=2 * DAY, key="h")
    Billing(world.store, clock=SettableClock(T0 + WEEKS)).run_pending()
    [found] = world.billing.expiries("acme", since=T0)
    assert world.billing.undo_expiry("acme", found.seq, expires_at=None).amount == 10
    assert world.wrong() == []


def test_what_is_no_expiry_is_not_found() -> None:
    world = ended_early()
    for number in (1, 2, 99):
        with pytest.raises(NotFound, match="expiry"):
            world.billing.undo_expiry("acme", number, expires_at=None)
    with pytest.raises(InvalidCommand, match="expiry"):
        UndoExpiry("acme", 0, expires_at=None)
    with pytest.raises(InvalidCommand, match="expires_at"):
        world.billing.undo_expiry("acme", 3, expires_at=T0 + 5 * DAY)
    assert world.balance().balance == 0


def test_a_span_says_which_expiries() -> None:
    world = World()
    for days in (1, 2, 3):
        world.grant(days, expires_at=T0 + days * DAY)
    world.clock.advance(WEEKS)
    world.billing.run_pending()
    found = world.billing.expiries("acme", since=T0 + 2 * DAY, until=T0 + 3 * DAY)
    assert [each.amount for each in found] == [2]
    with pytest.raises(NotFound):
        world.billing.expiries("nobody", since=T0)


def test_the_version_before_this_must_not_run_beside_it() -> None:
    world = ended_early()
    world.store.level = lambda: 1
    older = Billing(world.store, clock=world.clock)
    with pytest.raises(Conflict, match="schema 2"):
        older.undo_expiry("acme", 3, expires_at=None)


def test_it_is_the_same_within_a_transaction_and_async(tmp_path) -> None:
    with SqliteStore(tmp_path / "b.db") as store:
        world = World(store)
        for amount in (3, 4):
            world.grant(amount, expires_at=T0 + amount * DAY)
        Billing(store, clock=SettableClock(T0 + WEEKS)).run_pending()
        first, second = world.billing.expiries("acme", since=T0)
        db = sqlite3.connect(store.path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        done = world.billing.within(db).undo_expiry("acme", first.seq, expires_at=None)
        db.execute("COMMIT")
        db.close()
        assert done.balance == 3
        billing = AsyncBilling(store, clock=world.clock)
        found = asyncio.run(billing.expiries("acme", since=T0))
        assert [each.seq for each in found] == [second.seq]
        done = asyncio.run(billing.undo_expiry("acme", second.seq, expires_at=None))
        assert done.balance == 7
        assert world.wrong() == []


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        ({"amount": 90}, "what expired was 100"),
        ({"transfers": ()}, "which is not what lot 1 lost"),
        ({"key": "restore:9"}, "undoes expiry"),
        ({"effects": '{"lots":[]}'}, r"lots \[1\] get nothing back"),
    ],
)
def test_verify_holds_what_came_back_against_what_had_expired(edit, found) -> None:
    from attrs import evolve

    from billing_core.audit.auditor import Auditor

    world = ended_early()
    [expiry] = world.billing.expiries("acme", since=T0)
    world.billing.undo_expiry("acme", expiry.seq, expires_at=None)
    entries = world.entries()
    entries[-1] = evolve(entries[-1], **edit)
    audit = Auditor("acme", world.billing.catalogue())
    audit.subject = lambda number: entries[number - 1]
    for entry in entries:
        audit.follow(entry)
    import re

    assert any(re.search(found, str(each)) for each in audit.found), audit.found


def test_verify_finds_credit_taken_from_what_has_expired_by_another_entry() -> None:
    from attrs import evolve

    from billing_core.audit.auditor import Auditor
    from billing_core.records.ledger import Transfer

    world = ended_early()
    world.grant(5)
    entries = world.entries()
    entries[-1] = evolve(entries[-1], transfers=(Transfer("expired", "lot:2", 5, "grant"),))
    audit = Auditor("acme", world.billing.catalogue())
    for entry in entries:
        audit.follow(entry)
    assert any("what has expired comes back" in str(each) for each in audit.found)


def test_the_command_line_brings_back_what_ended_too_early(tmp_path) -> None:
    from datetime import UTC, datetime

    path = tmp_path / "billing.db"
    now = datetime.now(UTC)
    with SqliteStore(path) as store:
        right = Billing(store)
        for org in ("acme", "bolt"):
            right.open_account(org)
            right.grant(org, "g", nanos(10**9), expires_at=now + 10 * DAY)
        Billing(store, clock=SettableClock(now + WEEKS)).run_pending()
    end = f"{now + 50 * DAY:%Y-%m-%d}"
    arguments = ["undo-expiries", "--db", str(path), "--expires-at", end]
    shown = CliRunner().invoke(cli, [*arguments, "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert "acme" in shown.output and "bolt" in shown.output and "would" in shown.output
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    with SqliteStore(path) as store:
        billing = Billing(store)
        assert [billing.balance(org).balance for org in ("acme", "bolt")] == [10**9, 10**9]
        assert billing.verify().ok
    again = CliRunner().invoke(cli, arguments)
    assert again.exit_code == 0 and "Nothing" in again.output
