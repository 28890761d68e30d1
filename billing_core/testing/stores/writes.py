"""The contract of writing: :class:`billing_core.ports.store.Transaction`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar

import pytest
from attrs import fields

from billing_core.errors import StoreError
from billing_core.ports.state import Changes, Wanted
from billing_core.ports.store import Store
from billing_core.records.events import Event
from billing_core.records.ledger import Account, Draw, LimitSet, Spend, Subscription, Transfer
from billing_core.records.usage import Cell, CellKey, Count, Counter, Item
from billing_core.testing.stores.drafts import (
    Draft,
    charge,
    hold,
    keyed,
    load,
    lot,
    save,
    usage,
)

__all__ = ["WriteContract"]

MOST = 2**63 - 1
HUGE = 10**60 + 1
_R = TypeVar("_R")


def _everything(draft: Draft) -> Changes:
    """Something of every record kind."""
    seq = draft.entry("settle:k", amount=7, transfers=[Transfer("lot:1", "revenue", 7, "charge")])
    draft.entry("deduct:k", amount=7, usage=usage(member=1, project="prøject"))
    cell = Cell(1, 7, {"input": [3, 7]})
    return draft.changes(
        events=[Event(seq, 1, "hold_expired", '{"hold":"h"}')],
        lots=[
            lot(1, scope=("model:*", "tööl"), expires_at=900),
            lot(2),
            lot(3, expires_at=900, period=-5),
        ],
        holds=[hold("h", 700, counted=[(1000, "input", 5)], member=1, project="prøject")],
        counters=[Counter("model:a", 1000, {"input": Count(3, 1, 3, 5)})],
        items=[Item("run-1", "model:a", {"input": [3, 5, "v1#00"]})],
        charges=[charge(seq, 4, (1, 3), (2, 1), period=1000)],
        subscriptions=[Subscription(seq, 30, "plän")],
        limits=[LimitSet("project:prøject", "day", 7, (50, 100), False)],
        spends=[Spend("member:1", "day", 0, 7), Spend("org", "held", 0, 2)],
        members=[(1, "ann")],
        cells={CellKey("hour", 1, 0, "model:a", "platform"): cell},
    )


def _first(rows: Mapping[Any, _R]) -> _R:
    return next(iter(rows.values()))


def _rows(store: Store, org: str) -> list[object]:
    """A copy of all that a store has of an org."""
    rows: list[object] = [
        list(store.entries(org)),
        list(store.events(org)),
        list(store.lots(org)),
        list(store.holds(org)),
        list(store.counters(org)),
        list(store.items(org)),
        list(store.charges(org)),
        list(store.subscriptions(org)),
        list(store.limits(org)),
        list(store.spends(org)),
        dict(store.members(org)),
        {g: dict(store.cells(org, g, -MOST, MOST)) for g in ("hour", "day", "period")},
        list(store.usage(org, -MOST, MOST)),
        store.snapshot({org: Wanted(until=0)})[org].account,
    ]
    return deepcopy(rows)


class WriteContract:
    """One atomic write, seen by all or by none."""

    def test_a_commit_keeps_every_kind_of_row_as_it_was_given(self, store: Store) -> None:
        changes = _everything(Draft())
        save(store, changes)
        assert load(store).account == changes.account
        assert list(store.entries("acme")) == changes.entries
        assert list(store.events("acme")) == changes.events
        assert list(store.lots("acme")) == [*changes.lots.values()]
        assert list(store.holds("acme")) == [*changes.holds.values()]
        assert list(store.counters("acme")) == [*changes.counters.values()]
        assert list(store.items("acme")) == [*changes.items.values()]
        assert list(store.charges("acme")) == [*changes.charges.values()]
        assert list(store.subscriptions("acme")) == changes.subscriptions
        assert list(store.limits("acme")) == [*changes.limits.values()]
        assert list(store.spends("acme")) == [*changes.spends.values()]
        assert dict(store.members("acme")) == {1: "ann"}
        assert dict(store.cells("acme", "hour", 0, 1)) == changes.cells
        assert store.usage("acme", 0, 100) == [(2, changes.entries[1].usage)]

    def test_rows_replace_those_of_the_same_key(self, store: Store) -> None:
        draft = Draft()
        save(store, _everything(draft))
        draft.account.closed_at = 5
        draft.account.next_lapse = 77
        draft.account.balance = draft.account.debt = draft.account.granted = 9
        draft.account.used = draft.account.lots = draft.account.members = 3
        draft.account.plan, draft.account.paused, draft.account.plan_since = "plän", True, 30
        draft.account.period, draft.account.allowance = 40, 8
        draft.account.recorded_at, draft.account.limited_since = 60, 30
        draft.account.low_balance, draft.account.ahead = 12, 4
        draft.account.rolled, draft.account.rolled_of = 6, 20
        draft.account.topup_below, draft.account.topup_from = 11, 50
        draft.account.topup_open = True
        closed = hold("h", 800, "settled", member=1, project="prøject")  # as ever
        closed.parts = []
        story = charge(1, 0, (2, 1), period=1000)
        story.amount, story.reversed, story.priced = 70, 20, 2  # of a run it grows
        changes = draft.changes(
            lots=[lot(1, 3, reserved=2, scope=("model:*", "tööl"), expires_at=900)],
            holds=[closed],
            counters=[Counter("model:a", 1000, {"input": Count(9), "output": Count(1, 1, 2, 0)})],
            items=[Item("run-1", "model:a", {"input": [4, 5, "v1#00"]})],
            charges=[story],
            limits=[LimitSet("project:prøject", "day", None, (), True)],
            spends=[Spend("org", "held", 0, -2)],
        )
        save(store, changes)
        account, fresh = changes.account, Draft().account
        same = {each.name for each in fields(Account)} - {"summed"}
        same = {name for name in same if getattr(account, name) == getattr(fresh, name)}
        assert same <= {"org", "currency", "livemode", "anchor", "opened_at", "watermark"}
        assert load(store).account == account
        others = [lot(2), lot(3, expires_at=900, period=-5)]
        assert list(store.lots("acme")) == [*changes.lots.values(), *others]
        assert list(store.limits("acme")) == [*changes.limits.values()]
        assert list(store.spends("acme")) == [
            Spend("member:1", "day", 0, 7),
            *changes.spends.values(),
        ]
        assert list(store.holds("acme")) == [*changes.holds.values()]
        assert list(store.counters("acme")) == [*changes.counters.values()]
        assert list(store.items("acme")) == [*changes.items.values()]
        assert list(store.charges("acme")) == [*changes.charges.values()]

    def test_cells_are_added_to_what_is_kept(self, store: Store) -> None:
        draft = Draft()
        hour = CellKey("hour", 0, 0, "model:a", "platform")
        day = CellKey("day", 0, 0, "model:a", "platform")
        save(store, draft.changes(cells={hour: Cell(1, 5, {"input": [2, 5]})}))
        more = Cell(0, -3, {"input": [HUGE, -4], "output": [1, 1]})
        save(store, draft.changes(cells={hour: more, day: Cell(2, 2, {})}))
        assert store.cells("acme", "hour", 0, 1) == {
            hour: Cell(1, 2, {"input": [2 + HUGE, 1], "output": [1, 1]})
        }
        assert store.cells("acme", "day", 0, 1) == {day: Cell(2, 2, {})}

    def test_leaving_without_commit_changes_nothing(self, store: Store) -> None:
        draft = Draft()
        save(store, _everything(draft))
        before = _rows(store, "acme")
        with store.transaction() as transaction:
            transaction.load({"acme": Wanted(until=0)})
        with store.transaction():
            pass
        assert _rows(store, "acme") == before

    def test_an_exception_changes_nothing_and_comes_through(self, store: Store) -> None:
        with pytest.raises(ZeroDivisionError), store.transaction() as transaction:
            transaction.load({"acme": Wanted(until=0)})
            raise ZeroDivisionError
        assert load(store).account is None
        save(store, Draft().changes())  # and the store goes on

    def test_an_exception_after_the_commit_leaves_it_made(self, store: Store) -> None:
        with pytest.raises(ZeroDivisionError), store.transaction() as transaction:
            transaction.load({"acme": Wanted(until=0)})
            transaction.commit({"acme": Draft().changes()})
            raise ZeroDivisionError
        assert load(store).account is not None

    def test_two_orgs_are_written_in_one_commit(self, store: Store) -> None:
        save(store, _everything(Draft("zeta")), _everything(Draft("acme")))
        for org in ("acme", "zeta"):
            account = load(store, org).account
            assert account is not None
            assert account.org == org
            assert [entry.org for entry in store.entries(org)] == [org, org]
            assert [each.lot for each in store.lots(org)] == [1, 2, 3]
            assert [each.plan for each in store.subscriptions(org)] == ["plän"]

    @pytest.mark.parametrize("what", ["key", "seq", "key twice", "account", "member", "event"])
    def test_what_is_unique_is_refused_and_nothing_written(self, store: Store, what: str) -> None:
        """A key, a number, an account, a member's name: an error, not a replacement."""
        draft, other = Draft(), Draft("abc")
        save(store, _everything(draft))
        before = _rows(store, "acme")
        again = Draft() if what == "account" else draft
        if what == "key":
            again.entry("settle:k")
        if what == "key twice":
            again.entry("settle:new")
            again.entry("settle:new")
        if what == "seq":
            again.account.seq -= 1
        changes = again.changes(lots=[lot(1, 1), lot(3)], charges=[charge(2)])
        if what == "member":
            changes.members = [(2, "ann")]
        if what == "event":
            changes.events = [Event(1, 1, "again", "{}")]
        with pytest.raises(StoreError) as caught:
            save(store, other.changes(), changes)
        assert not caught.value.outcome_unknown
        assert _rows(store, "acme") == before
        assert load(store, "abc").account is None
        save(store, Draft("abc").changes())  # and the store goes on

    def test_the_largest_amounts_and_quantities(self, store: Store) -> None:
        draft = Draft()
        draft.account.balance = -MOST
        draft.account.debt = draft.account.granted = draft.account.used = MOST
        draft.entry(
            amount=MOST,
            transfers=[Transfer("payments", "lot:1", MOST, "grant")],
            usage=usage(quantity=HUGE),
        )
        key = CellKey("period", 0, -MOST // 2, "model:a", "platform")
        changes = draft.changes(
            lots=[lot(1, MOST, reserved=MOST)],
            holds=[hold("h", counted=[(0, "input", HUGE)])],
            counters=[Counter("model:a", 0, {"input": Count(HUGE, HUGE - 1, HUGE, HUGE)})],
            items=[Item("i", "model:a", {"input": [HUGE, HUGE, "v"]})],
            charges=[charge(1, MOST, (1, MOST))],
            limits=[LimitSet("org", "period", MOST, (1000,), True)],
            spends=[Spend("org", "period", MOST, -MOST), Spend("org", "period", -MOST, MOST)],
            cells={key: Cell(MOST, MOST, {"input": [HUGE, MOST], "output": [-HUGE, -MOST]})},
        )
        _first(changes.holds).parts = [Draw(1, MOST)]
        save(store, changes)
        assert load(store).account == changes.account
        assert list(store.entries("acme")) == changes.entries
        assert list(store.lots("acme")) == [*changes.lots.values()]
        assert list(store.holds("acme")) == [*changes.holds.values()]
        assert list(store.counters("acme")) == [*changes.counters.values()]
        assert list(store.items("acme")) == [*changes.items.values()]
        assert list(store.charges("acme")) == [*changes.charges.values()]
        assert list(store.limits("acme")) == [*changes.limits.values()]
        assert list(store.spends("acme")) == [*changes.spends.values()][::-1]
        assert store.cells("acme", "period", -MOST, MOST) == changes.cells
        save(store, draft.changes(cells={key: Cell(-MOST, -MOST, {"input": [-HUGE, -MOST]})}))
        [cell] = store.cells("acme", "period", -MOST, MOST).values()
        assert (cell.requests, cell.amount, cell.components["input"]) == (0, 0, [0, 0])

    @pytest.mark.parametrize(
        "name", ["acme ", "ACME", "a'cme\"; --", "%", "_", "é", "e\u0301", "🦊", "中", "x" * 200]
    )
    def test_names_are_taken_as_they_are(self, store: Store, name: str) -> None:
        """Case, spaces, quotes, wildcards, and characters that look alike all matter."""
        save(store, Draft("acme").changes())
        draft = Draft(name)
        draft.entry(f"settle:{name}", usage=usage(resource=name))
        held = hold(name)
        held.resource = held.project = name
        draft.account.limited_since = 0
        key = CellKey("hour", 0, 0, name, "platform")
        changes = draft.changes(
            members=[(1, name)],
            holds=[held],
            counters=[Counter(name, 0, {name: Count(1)})],
            items=[Item(name, name, {name: [1, 1, name]})],
            lots=[lot(1, scope=(name,))],
            subscriptions=[Subscription(1, 5, name)],
            limits=[LimitSet(f"project:{name}", "day", 5, (), True)],
            spends=[Spend(f"project:{name}", "held", 0, 5)],
            cells={key: Cell(1, 1, {name: [1, 1]})},
        )
        save(store, changes)
        want = Wanted(until=0, keys={f"settle:{name}"}, members={name}, holds={name})
        want.counters, want.items = {name: (0, 0)}, {(name, name)}
        want.projects = {name}
        state = load(store, name, want)
        assert state.account == changes.account
        assert state.entries == {f"settle:{name}": changes.entries[0]}
        assert (state.members, state.holds) == ({name: 1}, {name: held})
        assert state.counters == changes.counters
        assert state.items == changes.items
        assert state.lots == changes.lots
        assert state.limits == changes.limits
        assert state.spends == changes.spends
        assert list(store.subscriptions(name)) == changes.subscriptions
        assert store.entry(name, f"settle:{name}") == changes.entries[0]
        assert store.cells(name, "hour", 0, 1) == changes.cells
        assert set(store.orgs()) == {"acme", name}
        assert load(store, "acme", want).entries == {}

    def test_what_was_committed_is_the_stores_own(self, store: Store) -> None:
        """What a caller does to a row after the commit, or to one that it read, stays there."""
        changes = _everything(Draft())
        save(store, changes)
        kept = _rows(store, "acme")
        # First what was given, then all that is read.
        for _ in range(2):
            changes.account.balance = 999
            _first(changes.lots).remainder = 999
            _first(changes.holds).parts.append(Draw(9, 9))
            _first(changes.counters).components["input"] = Count(999)
            _first(changes.items).components["input"][0] = 999
            _first(changes.charges).payments.append(Draw(9, 999))
            _first(changes.spends).amount = 999
            changes.entries[0].amount = 999
            for cell in changes.cells.values():
                cell.components["input"][0] = 999
            assert _rows(store, "acme") == kept
            rows = keyed(
                lots=store.lots("acme"),
                holds=store.holds("acme"),
                counters=store.counters("acme"),
                items=store.items("acme"),
                charges=store.charges("acme"),
                spends=store.spends("acme"),
                cells=dict(store.cells("acme", "hour", 0, 1)),
            )
            account = load(store).account or changes.account
            changes = Changes(account)
            changes.entries = list(store.entries("acme"))
            for name, value in rows.items():
                setattr(changes, name, value)

    # -- isolation --------------------------------------------------------------

    def test_racing_threads_take_turns_on_an_org(self, store: Store) -> None:
        """Each reads, and writes what follows from it; none overwrites another's."""
        save(store, Draft().changes())
        threads, rounds = 4, 8
        start = threading.Barrier(threads)

        def race(number: int) -> None:
            start.wait()
            for turn in range(rounds):
                _retrying(partial(_next_entry, store, f"settle:{number}-{turn}"))

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(race, range(threads)))
        account = load(store).account
        assert account is not None
        assert account.balance == threads * rounds
        assert [entry.balance for entry in store.entries("acme")] == list(
            range(threads * rounds + 1)
        )

    def test_nobody_writes_between_a_load_and_the_end(self, store: Store) -> None:
        save(store, Draft().changes())
        loaded, done = threading.Event(), threading.Event()

        def other() -> None:
            loaded.wait(10)
            _retrying(lambda: _next_entry(store, "settle:other"))
            done.set()

        with ThreadPoolExecutor(1) as pool:
            rival = pool.submit(other)
            with store.transaction() as transaction:
                first = transaction.load({"acme": Wanted(until=0)})["acme"].account
                loaded.set()
                assert not done.wait(0.2)
                again = transaction.load({"acme": Wanted(until=0)})["acme"].account
                assert again == first
            rival.result(30)
        assert done.is_set()
        assert [entry.key for entry in store.entries("acme")][1:] == ["settle:other"]

    def test_a_snapshot_is_one_state_of_several_orgs(self, store: Store) -> None:
        """No commit is seen in part, neither of its orgs alone nor of its rows."""
        orgs = ("acme", "zeta")
        drafts = [Draft(org) for org in orgs]
        save(store, *(draft.changes(lots=[lot(1, 1)]) for draft in drafts))
        writing = threading.Event()
        writing.set()

        def write() -> None:
            try:
                for number in range(2, 30):
                    save(store, *(draft.changes(lots=[lot(1, number)]) for draft in drafts))
            finally:
                writing.clear()

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(write)
            while writing.is_set():
                states = store.snapshot({org: Wanted(until=0) for org in orgs})
                accounts = [states[org].account for org in orgs]
                seen = {account.seq for account in accounts if account is not None}
                assert len(seen) == 1
                assert {states[org].lots[1].remainder for org in orgs} == seen
            writer.result()

    def test_orgs_may_be_loaded_in_any_order(self, store: Store) -> None:
        """Threads that want the same orgs in opposite orders do not wait for each other
        for ever."""
        orgs = ["acme", "mid", "zeta"]
        save(store, *(Draft(org).changes() for org in orgs))

        def work(number: int) -> None:
            order = orgs if number % 2 else orgs[::-1]
            for turn in range(6):
                _retrying(partial(_next_entry, store, f"settle:{number}-{turn}", *order))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        for org in orgs:
            assert [entry.balance for entry in store.entries(org)] == list(range(25))


def _retrying(act: Callable[[], None]) -> None:
    """A store may answer a busy moment with a retryable error, for a bounded time."""
    for _ in range(50):
        try:
            return act()
        except StoreError as error:
            if not error.retryable or error.outcome_unknown:
                raise
    raise AssertionError("busy for ever")


def _next_entry(store: Store, key: str, *orgs: str) -> None:
    """One more entry and one more nano for each org, from what is on record."""
    names = orgs or ("acme",)
    with store.transaction() as transaction:
        states = transaction.load({org: Wanted(until=0) for org in names})
        changes: dict[str, Changes] = {}
        for org in names:
            account = states[org].account
            assert account is not None
            draft = Draft(org)
            draft.opened, draft.account = True, account
            account.balance += 1
            draft.entry(key)
            changes[org] = draft.changes()
        transaction.commit(changes)
