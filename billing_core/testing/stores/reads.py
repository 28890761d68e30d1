"""The contract of reading: :class:`billing_core.ports.state.OrgState`, and the reads."""

from __future__ import annotations

import pytest

from billing_core.ports import required
from billing_core.ports.state import OrgState, Wanted
from billing_core.ports.store import Store
from billing_core.records.events import Event
from billing_core.records.ledger import LimitSet, Spend, Subscription, Transfer
from billing_core.records.rollups import Span
from billing_core.records.usage import Cell, CellKey, Count, Counter, Item
from billing_core.testing.stores.drafts import Draft, charge, hold, load, lot, save, usage
from billing_core.values.times import HOUR, billing_period

__all__ = ["LoadContract", "ReadContract"]

NAMES = ["Z", "a", "aa", "é", "\uffee", "🦊"]
"""Sorted by code point; other orders (locale, UTF-16) differ."""

MANY = 1203


class LoadContract:
    """What a load or a snapshot brings, and what it leaves out."""

    def test_an_unknown_org_is_empty(self, store: Store) -> None:
        want = Wanted(until=10**18, keys={"settle:a"}, holds={"h"}, members={"m"}, charges={1})
        want.counters, want.items, want.all_holds = {"r": (0, 1)}, {("i", "r")}, True
        assert load(store, "nobody", want) == OrgState()
        save(store, Draft("acme").changes(holds=[hold("h")], lots=[lot(1)]))
        assert load(store, "nobody", want) == OrgState()

    def test_every_wanted_org_is_answered(self, store: Store) -> None:
        save(store, Draft("acme").changes(), Draft("zeta").changes())
        wanted = {org: Wanted(until=0) for org in ("zeta", "nobody", "acme")}
        loaded = store.snapshot(wanted)
        assert loaded.keys() == wanted.keys()
        assert loaded["nobody"].account is None
        assert [loaded[org].account is None for org in ("acme", "zeta")] == [False, False]

    def test_a_load_after_a_load_is_afresh(self, store: Store) -> None:
        """What was done to the first is not seen by the second."""
        save(store, Draft().changes(lots=[lot(1)], holds=[hold("h")]))
        wanted = {"acme": Wanted(until=500)}
        with store.transaction() as transaction:
            state = transaction.load(wanted)["acme"]
            assert state.account is not None
            state.account.balance = 999
            state.lots[1].remainder = 0
            state.holds["h"].parts.clear()
            state.holds["h"].state = "lapsed"
            again = transaction.load(wanted)["acme"]
        assert again == load(store, want=wanted["acme"])
        assert again.lots == {1: lot(1)}
        assert again.holds == {"h": hold("h")}

    def test_a_second_load_may_want_more(self, store: Store) -> None:
        save(store, Draft().changes(holds=[hold("h")]), Draft("zeta").changes())
        with store.transaction() as transaction:
            transaction.load({"acme": Wanted(until=0)})
            wanted = {"acme": Wanted(until=0, holds={"h"}), "zeta": Wanted(until=0)}
            loaded = transaction.load(wanted)
        assert loaded["acme"].holds == {"h": hold("h")}
        assert loaded["zeta"].account is not None

    def test_lots_with_something_left_are_loaded(self, store: Store) -> None:
        lots = [
            lot(1, 0),
            lot(2, 1),
            lot(3, 5, reserved=5, expires_at=1),
            lot(4, scope=("a", "b*")),
        ]
        save(store, Draft().changes(lots=lots))
        assert load(store).lots == {each.lot: each for each in lots[1:]}

    def test_lots_that_paid_a_wanted_charge_are_loaded_too(self, store: Store) -> None:
        """By its entry, or later, of its debt."""
        draft = Draft()
        paid = draft.charged(5, ("lot:1", 2), ("lot:2", 3))
        owed = draft.charged(5, ("lot:3", 1), ("debt:2", 4))
        lots = [lot(number, 0) for number in range(1, 6)]
        save(store, draft.changes(lots=lots, charges=[charge(owed, 0, (3, 1), (4, 4))]))
        assert load(store).lots == {}
        state = load(store, want=Wanted(until=0, charges={paid}))
        assert state.lots == {1: lot(1, 0), 2: lot(2, 0)}
        state = load(store, want=Wanted(until=0, charges={owed}))
        assert state.lots == {3: lot(3, 0), 4: lot(4, 0)}

    def test_wanted_charges_come_with_entry_and_story(self, store: Store) -> None:
        draft = Draft()
        plain, kept = draft.charged(5, ("lot:1", 5)), draft.charged(5, ("lot:1", 5))
        changes = draft.changes(lots=[lot(1, 0)], charges=[charge(kept, 0, (1, 5))])
        save(store, changes)
        state = load(store, want=Wanted(until=0, charges={plain, kept, 99}))
        assert state.subjects == {plain: changes.entries[0], kept: changes.entries[1]}
        assert state.charges == {kept: charge(kept, 0, (1, 5))}
        assert state.debts == []

    def test_holds_due_are_loaded_and_those_wanted_in_any_state(self, store: Store) -> None:
        holds = [
            hold("early", 100),
            hold("edge", 200),
            hold("late", 201),
            hold("later", 300),
            hold("settled", 50, "settled"),
            hold("released", 50, "released"),
            hold("lapsed", 50, "lapsed"),
        ]
        by_key = {each.key: each for each in holds}
        draft = Draft()
        draft.account.next_lapse = 100
        save(store, draft.changes(holds=holds))
        state = load(store, want=Wanted(until=200))
        assert state.holds == {key: by_key[key] for key in ("early", "edge")}
        assert state.next_hold == 201
        state = load(store, want=Wanted(until=200, holds={"later", "settled", "lapsed", "none"}))
        assert state.holds.keys() == {"early", "edge", "later", "settled", "lapsed"}
        assert state.next_hold == 201
        state = load(store, want=Wanted(until=0, all_holds=True))
        assert state.holds.keys() == {"early", "edge", "late", "later"}

    def test_the_next_hold_is_never_told_too_late(self, store: Store) -> None:
        """Too early is allowed where nothing was due by the account's own word for it."""
        draft = Draft()
        draft.account.next_lapse = 100
        save(store, draft.changes(holds=[hold("h", 200), hold("done", 150, "settled")]))
        for until, exact in ((0, 200), (99, 200), (100, 200), (199, 200), (200, None)):
            told = load(store, want=Wanted(until=until)).next_hold
            assert told == exact or (until < 100 and told == 100), until
        assert load(store, want=Wanted(until=100)).next_hold == 200

    def test_no_hold_is_open(self, store: Store) -> None:
        save(store, Draft().changes(holds=[hold("done", 150, "settled")]))
        state = load(store, want=Wanted(until=10))
        assert state.holds == {}
        assert state.next_hold is None

    def test_counters_of_a_span_of_time(self, store: Store) -> None:
        """Those that begin in it, and the one in whose period it begins."""
        starts = (100, 200, 300)
        counters = {start: Counter("model:a", start, {"input": Count(start)}) for start in starts}
        other = Counter("model:b", 100, {"input": Count(1)})
        save(store, Draft().changes(counters=[*counters.values(), other]))
        for first, last, begun in (
            (100, 100, {100}),
            (199, 199, {100}),
            (199, 200, {100, 200}),
            (250, 350, {200, 300}),
            (50, 1000, {100, 200, 300}),
            (400, 400, {300}),
            (50, 99, set[int]()),
        ):
            state = load(store, want=Wanted(until=0, counters={"model:a": (first, last)}))
            told = {start for resource, start in state.counters if resource == "model:a"}
            # More is harmless; less would begin a counter anew.
            assert begun <= told, (first, last)
            assert state.covered == {"model:a": [(first, last)]}
            assert state.counters == {("model:a", start): counters[start] for start in told}
        both = {"model:a": (100, 100), "model:b": (100, 100)}
        state = load(store, want=Wanted(until=0, counters=both))
        assert state.counters["model:b", 100] == other
        assert load(store).covered == {}

    def test_where_it_has_looked_is_said(self, store: Store) -> None:
        """So that what is not there is known to be new, and what was not wanted is not."""
        draft = Draft()
        draft.entry("settle:a", usage=usage(500))
        save(store, draft.changes())
        state = load(store)
        assert (state.covered, state.sought, state.times) == ({}, set[tuple[str, str]](), None)
        want = Wanted(until=0, charges={1}, items={("j", "model:b")}, times=(700, 800))
        state = load(store, want=want)
        assert state.covered == {"model:a": [(500, 500)]}
        assert state.sought == {("run-1", "model:a"), ("j", "model:b")}
        assert state.times == (500, 800)

    def test_counters_of_all_that_begin_alike(self, store: Store) -> None:
        """In one period, whatever others there are: ``families``."""
        names = ("tool", "tool:", "tool:a", "tool:b", "tool:\uffee", "toolbox", "too", "x")
        counters = [
            Counter(name, start, {"call": Count(start)})
            for name in names
            for start in (100, 200, 300)
        ]
        save(store, Draft().changes(counters=counters))
        wanted = {("tool:", 200), ("tool:", 150), ("", 100), ("tool:a", 300)}
        state = load(store, want=Wanted(until=0, families=wanted))
        told = {key: [each.resource for each in found] for key, found in state.families.items()}
        assert told == {
            ("tool:", 200): ["tool:", "tool:a", "tool:b", "tool:\uffee"],
            ("tool:", 150): [],
            ("", 100): sorted(names),
            ("tool:a", 300): ["tool:a"],
        }
        assert all(
            each.of("call").quantity == start
            for (_, start), found in state.families.items()
            for each in found
        )
        assert load(store).families == {}

    def test_counters_of_loaded_holds(self, store: Store) -> None:
        """Wherever they are counted in, so that their end can take it back."""
        counters = [Counter("model:a", start, {"input": Count(held=5)}) for start in (100, 200)]
        elsewhere = Counter("model:b", 100, {"input": Count(held=5)})
        held = hold("h", 50, counted=[(100, "input", 5), (200, "input", 5)])
        save(store, Draft().changes(counters=[*counters, elsewhere], holds=[held]))
        expected = {("model:a", 100): counters[0], ("model:a", 200): counters[1]}
        for want in (
            Wanted(until=50),
            Wanted(until=0, holds={"h"}),
            Wanted(until=0, all_holds=True),
        ):
            assert load(store, want=want).counters == expected
        assert load(store).counters == {}

    def test_items_members_and_keys_that_are_wanted(self, store: Store) -> None:
        draft = Draft()
        draft.entry("settle:a")
        draft.entry("deduct:a")
        items = [Item(name, "model:a", {"input": [1, 2, "v"]}) for name in ("one", "two")]
        changes = draft.changes(items=items, members=[(1, "ann"), (2, "bob")])
        save(store, changes)
        want = Wanted(until=0, keys={"deduct:a", "hold:a"}, members={"bob", "eve"})
        want.items = {("two", "model:a"), ("two", "model:b"), ("three", "model:a")}
        state = load(store, want=want)
        assert state.entries == {"deduct:a": changes.entries[1]}
        assert state.members == {"bob": 2}
        assert state.items == {("two", "model:a"): items[1]}

    def test_the_oldest_debts_come_first_up_to_a_number(self, store: Store) -> None:
        draft = Draft()
        for number in range(1, 7):
            draft.charged(50, (f"debt:{number}", 50))
        draft.account.debt = 200
        stories = [charge(number, 0 if number in (2, 4) else 50) for number in (6, 3, 1, 5, 4, 2)]
        save(store, draft.changes(charges=stories))
        for limit, expected in ((1, [1]), (3, [1, 3, 5]), (4, [1, 3, 5, 6]), (9, [1, 3, 5, 6])):
            state = load(store, want=Wanted(until=0, debts=limit))
            assert [each.charge for each in state.debts] == expected
            assert state.all_debts == (limit >= 4)
            assert state.charges == {}

    def test_a_wanted_charge_and_its_debt_are_one_object(self, store: Store) -> None:
        draft = Draft()
        for number in (1, 2):
            draft.charged(50, (f"debt:{number}", 50))
        draft.account.debt = 100
        save(store, draft.changes(charges=[charge(1, 50), charge(2, 50)]))
        wanted = {"acme": Wanted(until=0, charges={2})}
        state = store.snapshot(wanted)["acme"]
        assert state.debts[1] is state.charges[2]
        with store.transaction() as transaction:
            state = transaction.load(wanted)["acme"]
            assert state.debts[1] is state.charges[2]

    def test_no_debt_is_all_debts(self, store: Store) -> None:
        save(store, Draft().changes())
        state = load(store)
        assert (state.debts, state.all_debts) == ([], True)


class ReadContract:
    """The reads: their order, their ranges, and that unknown orgs have no rows."""

    def test_an_unknown_org_has_no_rows(self, store: Store) -> None:
        assert list(store.orgs()) == []
        assert list(store.published()) == []
        assert store.entry("nobody", "settle:a") is None
        assert list(store.entries("nobody")) == list(store.history("nobody")) == []
        assert dict(store.cells("nobody", "hour", 0, 100)) == {}
        assert list(store.usage("nobody", 0, 100)) == []
        assert list(store.events("nobody")) == []
        assert dict(store.members("nobody")) == dict(store.members("nobody", [1])) == {}
        assert store.erase_member("nobody", "ann") is False
        for rows in (store.lots, store.holds, store.counters, store.items, store.charges):
            assert list(rows("nobody")) == []
        assert list(store.subscriptions("nobody")) == []
        assert list(store.limits("nobody")) == []
        assert list(store.spends("nobody")) == []

    def test_orgs_are_sorted_by_code_point(self, store: Store) -> None:
        for org in NAMES[::-1]:
            save(store, Draft(org).changes())
        assert list(store.orgs()) == NAMES
        assert list(store.orgs("aa")) == NAMES[3:]
        assert list(store.orgs("ab", 2)) == NAMES[3:5]
        assert list(store.orgs("🦊")) == []

    def test_entries_by_number_and_by_key(self, store: Store) -> None:
        draft = Draft()
        first = draft.changes()
        for number in range(4):
            draft.entry(f"settle:{number}", transfers=[Transfer("a", "b", 5, "grant")] * number)
        second = draft.changes()
        save(store, first)
        save(store, second)
        entries = [*first.entries, *second.entries]
        assert list(store.entries("acme")) == entries
        assert list(store.entries("acme", after=2)) == entries[2:]
        assert list(store.entries("acme", after=1, limit=2)) == entries[1:3]
        assert list(store.entries("acme", after=5)) == []
        assert store.entry("acme", "settle:2") == entries[3]
        assert store.entry("acme", "settle:9") is None

    def test_transfers_keep_their_order(self, store: Store) -> None:
        draft = Draft()
        moves = [Transfer(f"lot:{number}", "revenue", number, "charge") for number in (9, 1, 12, 2)]
        draft.entry(transfers=moves)
        save(store, draft.changes())
        assert list(store.entries("acme")[0].transfers) == moves
        assert isinstance(store.entries("acme")[0].transfers[0], Transfer)

    def test_history_is_what_moved_money_newest_first(self, store: Store) -> None:
        draft = Draft()
        for number in range(1, 7):
            moves = [Transfer("a", "b", 5, "grant")] if number % 2 else []
            draft.entry(f"settle:{number}", transfers=moves, usage=usage())
        changes = draft.changes()
        save(store, changes)
        moved = [changes.entries[number - 1] for number in (5, 3, 1)]
        assert list(store.history("acme")) == moved
        assert list(store.history("acme", limit=2)) == moved[:2]
        assert list(store.history("acme", before=5)) == moved[1:]
        assert list(store.history("acme", before=4, limit=1)) == moved[1:2]
        assert list(store.history("acme", before=1)) == []

    def test_history_without_charges_has_whatever_else_moved_money(self, store: Store) -> None:
        draft = Draft()
        for number, op in enumerate(("settle", "grant", "deduct", "reverse", "lapse", "hold"), 1):
            moves = [Transfer("a", "b", 5, "grant")] if op != "hold" else []
            draft.entry(f"{op}:{number}", transfers=moves)
        changes = draft.changes()
        save(store, changes)
        moved = [changes.entries[number - 1] for number in (5, 4, 2)]
        assert list(store.history("acme", charges=False)) == moved
        assert list(store.history("acme", before=5, limit=1, charges=False)) == moved[1:2]
        assert len(store.history("acme", charges=True)) == 5

    def test_cells_of_a_grain_that_begin_in_a_window(self, store: Store) -> None:
        cells = {
            CellKey(grain, member, start, resource, payer): Cell(1, start, {})
            for grain in ("hour", "day", "period")
            for member in (0, 1, 7)
            for start in (-100, 0, 100, 200)
            for resource, payer in (("model:a", "platform"), ("model:a", "customer"))
        }
        save(store, Draft().changes(cells=cells))
        for member in (None, 0, 7, 8):
            assert store.cells("acme", "day", 0, 200, member) == {
                key: cell
                for key, cell in cells.items()
                if key.grain == "day" and key.start in (0, 100) and member in (None, key.member)
            }
        assert len(store.cells("acme", "hour", -100, 201)) == 24
        assert store.cells("acme", "hour", 1, 100) == {}
        assert all(isinstance(key, CellKey) for key in store.cells("acme", "hour", 0, 1))

    def test_cells_and_sums_have_what_the_kept_cells_lack(self, store: Store) -> None:
        draft = Draft()
        kept = CellKey("hour", 1, 0, "model:a", "platform")
        save(store, draft.changes(cells={kept: Cell(1, 7, {"input": [3, 7]})}))
        draft.summed = False
        for at, member, quantity in ((50, 1, 4), (HOUR - 1, 1, 5), (HOUR, 1, 6), (50, 2, 7)):
            draft.entry(usage=usage(at, member, quantity=quantity))
        draft.entry()
        save(store, draft.changes())

        def cell(requests: int, quantity: int) -> Cell:
            lines = {"input": [quantity, 7 * requests], "oütput": [2 * requests, 0]}
            return Cell(requests, 7 * requests, lines)

        def key(member: int, start: int, grain: str = "hour") -> CellKey:
            return CellKey(grain, member, start, "model:a", "platform")

        both = Cell(3, 21, {"input": [12, 21], "oütput": [4, 0]})
        assert store.cells("acme", "hour", 0, 1) == {kept: both, key(2, 0): cell(1, 7)}
        assert store.cells("acme", "hour", 1, 2 * HOUR) == {key(1, HOUR): cell(1, 6)}
        assert store.cells("acme", "hour", 0, HOUR, 2) == {key(2, 0): cell(1, 7)}
        day = {key(1, 0, "day"): cell(3, 15), key(2, 0, "day"): cell(1, 7)}
        assert store.cells("acme", "day", 0, 1) == day
        period = billing_period(1000, 50).start
        assert list(store.cells("acme", "period", period, 1, 2)) == [key(2, period, "period")]
        spans = [Span("hour", 0, HOUR), Span(None, HOUR, HOUR + 1)]
        found = {1: Cell(4, 28, {"input": [18, 28], "oütput": [6, 0]}), 2: cell(1, 7)}
        for who, members in ((None, (1, 2)), (1, (1,)), (2, (2,)), (3, ())):
            assert store.usage_sums("acme", spans, who).cells == {
                (member, "model:a", "platform"): found[member] for member in members
            }

    def test_what_the_kept_cells_lack_is_loaded_where_it_is_to_be_added(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(required, "TAIL", 6)
        draft = Draft()
        draft.entry(usage=usage(1))
        save(store, draft.changes())
        draft.summed = False
        used = [usage(at) for at in (9, 2, 5)]
        for each in used:
            draft.entry(usage=each)
        draft.entry()
        save(store, draft.changes())
        account = load(store).account
        assert account is not None
        assert (account.seq, account.summed) == (5, 1)
        assert load(store).tail is None
        many = {f"deduct:{number}" for number in range(required.TAIL)}
        assert load(store, want=Wanted(until=0, keys=many)).tail == used
        state = load(store, want=Wanted(until=0, sums={(None, "day", 0)}))
        assert (state.tail, state.sums) == (used, {(None, "day", 0): 0})  # not added twice
        while draft.account.seq < account.summed + required.TAIL:
            draft.entry()
            save(store, draft.changes())
        assert load(store).tail == used
        draft.summed = True
        draft.entry(usage=usage(7))
        save(store, draft.changes())
        assert load(store).tail is None
        assert load(store, want=Wanted(until=0, keys=many)).tail == []

    def test_usage_by_time_and_number(self, store: Store) -> None:
        draft = Draft()
        for at, member in ((300, 0), (100, 1), (200, 2), (100, 0), (100, 1)):
            draft.entry(f"settle:{draft.account.seq}-{at}-{member}-{id(at)}", usage=None)
            draft.entry(usage=usage(at, member))
        changes = draft.changes()
        for number, entry in enumerate(changes.entries):
            entry.key = f"settle:{number}"
        save(store, changes)
        records = [(e.seq, e.usage) for e in changes.entries if e.usage is not None]
        records.sort(key=lambda pair: (pair[1].occurred_at, pair[0]))
        assert list(store.usage("acme", 0, 1000)) == records
        assert list(store.usage("acme", 100, 200)) == records[:3]
        assert list(store.usage("acme", 101, 301)) == records[3:]
        assert list(store.usage("acme", 0, 1000, 1)) == [r for r in records if r[1].member == 1]
        assert list(store.usage("acme", 0, 1000, 9)) == []

    def test_events_after_a_number(self, store: Store) -> None:
        events = [Event(1, 1, "a", "{}"), Event(1, 2, "b", "{}"), Event(3, 1, "c", '{"x":1}')]
        save(store, Draft().changes(events=events))
        assert list(store.events("acme")) == events
        assert list(store.events("acme", 1)) == events[2:]
        assert list(store.events("acme", 0, 2)) == events[:2]
        assert list(store.events("acme", 3)) == []

    def test_a_members_name_can_be_forgotten(self, store: Store) -> None:
        draft, other = Draft(), Draft("zeta")
        draft.entry(usage=usage(member=1))
        save(store, draft.changes(members=[(1, "ann"), (2, "bob")]))
        save(store, other.changes(members=[(1, "ann")]))
        assert dict(store.members("acme")) == {1: "ann", 2: "bob"}
        assert store.erase_member("acme", "ann") is True
        assert store.erase_member("acme", "ann") is False
        assert dict(store.members("acme")) == {2: "bob"}
        assert dict(store.members("zeta")) == {1: "ann"}
        assert dict(store.members("acme", [1, 2, 9])) == {2: "bob"}
        assert load(store, want=Wanted(until=0, members={"ann", "bob"})).members == {"bob": 2}
        assert store.usage("acme", 0, 100, 1)[0][1].member == 1
        save(store, draft.changes(members=[(3, "ann")]))
        assert list(store.members("acme").items()) == [(2, "bob"), (3, "ann")]
        assert list(store.members("acme", [3, 2]).items()) == [(2, "bob"), (3, "ann")]
        assert dict(store.members("acme", [3])) == {3: "ann"}
        assert dict(store.members("acme", [])) == {}

    def test_rows_come_in_the_order_of_their_keys(self, store: Store) -> None:
        draft = Draft()
        names, numbers = NAMES[::-1], [12, 3, 100, 1, 20]
        for number in range(100):
            draft.entry(f"settle:{number}")
        changes = draft.changes(
            lots=[lot(number) for number in numbers],
            holds=[
                hold(name, 10, state)
                for name, state in zip(names, ("open", "lapsed") * 3, strict=True)
            ],
            counters=[Counter(name, number, {}) for name in names for number in numbers],
            items=[Item(item, name, {}) for name in names for item in names],
            charges=[charge(number) for number in numbers],
            subscriptions=[Subscription(number, 7, "p") for number in numbers],
            limits=[LimitSet(name, per, 5, (), True) for name in names for per in ("b", "a")],
            spends=[
                Spend(name, grain, number, 5)
                for name in names
                for grain in ("b", "a")
                for number in (*numbers, -1)
            ],
        )
        save(store, changes)
        ordered = sorted(numbers)
        assert [each.lot for each in store.lots("acme")] == ordered
        assert [each.charge for each in store.charges("acme")] == ordered
        assert [each.key for each in store.holds("acme")] == NAMES
        assert [each.seq for each in store.subscriptions("acme")] == ordered
        limits = [(each.subject, each.per) for each in store.limits("acme")]
        assert limits == [(name, per) for name in NAMES for per in "ab"]
        spends = [(each.subject, each.grain, each.start) for each in store.spends("acme")]
        assert spends == [(name, g, n) for name in NAMES for g in "ab" for n in (-1, *ordered)]
        told = [(each.resource, each.start) for each in store.counters("acme")]
        assert told == [(name, number) for name in NAMES for number in ordered]
        rows = [(each.item, each.resource) for each in store.items("acme")]
        assert rows == [(item, name) for item in NAMES for name in NAMES]

    @pytest.mark.parametrize(
        "kind", ["lots", "holds", "counters", "items", "charges", "subscriptions", "spends"]
    )
    def test_every_row_is_read_however_many(self, store: Store, kind: str) -> None:
        numbers = range(1, MANY)
        names = [f"{number:05}" for number in numbers]
        rows = {
            "lots": [lot(number) for number in numbers],
            "holds": [hold(name) for name in names],
            "counters": [Counter("model:a", number, {}) for number in numbers],
            "items": [Item("i", name, {}) for name in names],
            "charges": [charge(number) for number in numbers],
            "subscriptions": [Subscription(number, number, None) for number in numbers],
            "spends": [Spend("org", "day", number, 1) for number in numbers],
        }[kind]
        draft = Draft()
        for number in numbers:
            draft.entry(f"settle:{number}")
        save(store, draft.changes(**{kind: rows}))
        assert list(getattr(store, kind)("acme")) == rows
        assert len(store.entries("acme", limit=10**6)) == len(rows)
