"""The contract of loading what an org subscribed to, its limits, and what counts for them."""

from __future__ import annotations

from collections.abc import Sequence

from billing_core.ports.state import LOOK_BACK, OrgState, Wanted
from billing_core.ports.store import Store
from billing_core.records.ledger import LimitSet, Spend, Subscription
from billing_core.records.usage import Cell, CellKey
from billing_core.testing.model.tariff import month_end, month_start
from billing_core.testing.stores.drafts import Draft, hold, load, save, usage
from billing_core.values.times import DAY

__all__ = ["TermsContract"]

NOON = DAY // 2
TENTH = 18_271 * DAY
ANCHOR = TENTH + NOON
"""Periods begin on the 10th of January 2020, and of each month after it, at noon."""

NEXT = month_end(ANCHOR, ANCHOR)
LAST = month_end(ANCHOR, NEXT)
SUBJECTS = ("org", "member:1", "member:2", "project:a", "project:b")


def _limited(org: str = "acme") -> Draft:
    draft = Draft(org)
    draft.account.anchor = ANCHOR
    draft.account.limited_since = ANCHOR
    return draft


def _spends(subjects: Sequence[str] = SUBJECTS) -> dict[tuple[str, str, int], Spend]:
    """For each what is held, five days, and three periods."""
    days = [*(TENTH + day * DAY for day in range(4)), NEXT - NOON]
    rows = [("held", 0), *(("day", day) for day in days)]
    rows += [("period", start) for start in (ANCHOR, NEXT, LAST)]
    return {
        (subject, grain, start): Spend(subject, grain, start, number + 1)
        for subject in subjects
        for number, (grain, start) in enumerate(rows)
    }


def _told(state: OrgState) -> set[tuple[str, str, int]]:
    """What a load brought, each as it was kept."""
    rows = _spends()
    assert state.spends == {key: rows[key] for key in state.spends}
    return set(state.spends)


class TermsContract:
    """Which subscriptions, limits and sums a load must bring.  More is harmless only where
    it says so: a row that is missing is taken for one that was never kept."""

    def test_subscriptions_from_the_earliest_time_on(self, store: Store) -> None:
        had = [
            Subscription(1, 100, "a"),
            Subscription(2, 200, None),
            Subscription(3, 300, "b"),
            Subscription(4, 300, "c"),
        ]
        draft = Draft()
        draft.account.plan, draft.account.plan_since = "c", 300
        for _ in had:
            draft.entry()
        draft.entry("settle:late", usage=usage(150))
        save(store, draft.changes(subscriptions=had))
        for times, needed in (
            ((50, 50), had),
            ((100, 400), had),
            ((199, 199), had),
            ((200, 250), had[1:]),
            ((299, 400), had[1:]),
        ):
            told = load(store, want=Wanted(until=0, times=times)).subscriptions
            assert told == sorted(told)
            assert told[-len(needed) :] == needed, times
        # From the last one on the account itself says it.
        told = load(store, want=Wanted(until=0, times=(300, 400))).subscriptions
        assert told in (had[k:] for k in range(5))
        told = load(store, want=Wanted(until=0, charges={5})).subscriptions
        assert told == had, "the usage of a wanted charge"
        told = load(store, want=Wanted(until=0, charges={5}, times=(400, 400))).subscriptions
        assert told == had

    def test_limits_of_the_org_of_each_and_of_those_wanted(self, store: Store) -> None:
        subjects = (*SUBJECTS, "member:*", "project:*")
        limits = {
            (subject, per): LimitSet(subject, per, None if per == "day" else 5, (80,), True)
            for subject in subjects
            for per in ("day", "period")
        }
        draft = _limited()
        draft.entry("settle:x", usage=usage(ANCHOR, 2))
        members = [(1, "ann"), (2, "bob")]
        save(store, draft.changes(limits=list(limits.values()), members=members))
        always = {"org", "member:*", "project:*"}
        for want, more in (
            (Wanted(until=0), set[str]()),
            (Wanted(until=0, members={"ann", "new"}), {"member:1"}),
            (Wanted(until=0, projects={"a", "new"}), {"project:a"}),
            (Wanted(until=0, charges={1}), {"member:2"}),
        ):
            state = load(store, want=want)
            assert {subject for subject, _ in state.limits} == always | more
            assert state.limits == {key: limits[key] for key in state.limits}
            assert len(state.limits) == 2 * len(always | more)

    def test_spends_of_the_days_and_periods_that_are_wanted(self, store: Store) -> None:
        save(store, _limited().changes(spends=list(_spends().values())))
        held = ("org", "held", 0)
        for times, needed in (
            ((TENTH + DAY, TENTH + DAY), {("day", TENTH + DAY), ("period", ANCHOR)}),
            (
                (TENTH + 2 * DAY - 1, TENTH + 2 * DAY - 1),
                {("day", TENTH + DAY), ("period", ANCHOR)},
            ),
            (
                (TENTH + DAY + NOON, TENTH + 3 * DAY),
                {("day", TENTH + day * DAY) for day in (1, 2, 3)} | {("period", ANCHOR)},
            ),
            ((NEXT - 1, NEXT), {("day", NEXT - NOON), ("period", ANCHOR), ("period", NEXT)}),
            ((LAST - 1, LAST - 1), {("period", NEXT)}),
        ):
            told = _told(load(store, want=Wanted(until=0, times=times)))
            assert held in told
            assert {subject for subject, _, _ in told} == {"org"}
            assert {("org", *each) for each in needed} <= told, times
        told = _told(load(store, want=Wanted(until=0, times=(LAST, LAST))))
        assert told == {held, ("org", "period", LAST)}
        assert held in _told(load(store, want=Wanted(until=0)))

    def test_windows_bring_all_limits_and_what_everybody_has_spent_in_them(
        self, store: Store
    ) -> None:
        subjects = (*SUBJECTS, "member:*", "project:*")
        limits = {(each, "day"): LimitSet(each, "day", 5, (80,), True) for each in subjects}
        spends = _spends()
        draft = _limited()
        save(store, draft.changes(limits=list(limits.values()), spends=list(spends.values())))
        other = _limited("other").changes(spends=[Spend("project:c", "day", TENTH, 1)])
        save(store, other)
        assert not load(store, want=Wanted(until=0)).windows
        windows = {("day", TENTH), ("period", NEXT)}
        state = load(store, want=Wanted(until=0, windows=set(windows)))
        assert state.windows == windows
        assert state.limits == limits
        told = {key for key in state.spends if key[1] != "held"}
        assert told == {(subject, *window) for subject in SUBJECTS for window in windows}
        assert state.spends == {key: spends[key] for key in state.spends}

    def test_spends_of_whoever_may_be_charged(self, store: Store) -> None:
        """Members and projects that are wanted, of loaded holds, of wanted charges."""
        draft = _limited()
        draft.entry("settle:x", usage=usage(TENTH + 2 * DAY + 1, 2, project="b"))
        holds = [
            hold("due", 50, member=1, project="a"),
            hold("h", 900, member=2, project="b"),
            hold("done", 900, "settled", member=2),
        ]
        members = [(1, "ann"), (2, "bob")]
        changes = draft.changes(spends=list(_spends().values()), holds=holds, members=members)
        save(store, changes)
        for want, whose in (
            (Wanted(until=0), {"org"}),
            (Wanted(until=0, members={"bob", "new"}), {"org", "member:2"}),
            (Wanted(until=0, projects={"a", "new"}), {"org", "project:a"}),
            (Wanted(until=60), {"org", "member:1", "project:a"}),
            (Wanted(until=0, holds={"h"}), {"org", "member:2", "project:b"}),
            (Wanted(until=0, all_holds=True), set(SUBJECTS)),
            (Wanted(until=0, charges={1}), {"org", "member:2", "project:b"}),
        ):
            state = load(store, want=want)
            told = _told(state)
            assert {subject for subject, _, _ in told} == whose, want
            assert {(subject, "held", 0) for subject in whose} <= told
            if want.charges:
                used = {("day", TENTH + 2 * DAY), ("period", ANCHOR)}
                assert {(subject, *each) for subject in whose for each in used} <= told

    def test_who_has_no_limits_has_none_loaded(self, store: Store) -> None:
        draft = Draft()
        draft.account.anchor = ANCHOR
        limits = [LimitSet("org", "day", 5, (), True)]
        save(store, draft.changes(limits=limits, spends=list(_spends().values())))
        state = load(store, want=Wanted(until=0, times=(ANCHOR, NEXT), projects={"a"}))
        assert (state.limits, state.spends) == ({}, {})

    def test_orgs_have_terms_of_their_own(self, store: Store) -> None:
        draft, other = _limited(), _limited("zeta")
        limit = LimitSet("org", "day", 5, (), True)
        save(
            store,
            draft.changes(limits=[limit], spends=list(_spends(["org"]).values())),
            other.changes(subscriptions=[Subscription(1, 5, "p")]),
        )
        state = load(store, "zeta", Wanted(until=0, times=(ANCHOR, ANCHOR)))
        assert (state.limits, state.spends) == ({}, {})
        assert list(store.subscriptions("acme")) == []
        assert list(store.limits("zeta")) == []
        assert list(store.spends("zeta")) == []

    def test_sums_of_wanted_cells(self, store: Store) -> None:
        """Of one member or all, over resources and payers; nothing is zero."""
        start = month_start(ANCHOR, ANCHOR)
        cells = {
            CellKey(grain, member, at, resource, payer): Cell(1, 10 * member + number, {})
            for grain in ("hour", "day", "period")
            for member in (0, 1, 2)
            for at in (start, start + DAY)
            for number, (resource, payer) in enumerate(
                [("model:a", "platform"), ("model:a", "customer"), ("tool", "platform")]
            )
        }
        save(store, Draft().changes(cells=cells))
        sums: set[tuple[int | None, str, int]] = {
            (None, "day", start),
            (0, "day", start),
            (2, "period", start + DAY),
            (7, "period", start),
            (None, "period", start - DAY),
        }
        assert load(store, want=Wanted(until=0, sums=sums)).sums == {
            (None, "day", start): 99,
            (0, "day", start): 3,
            (2, "period", start + DAY): 63,
            (7, "period", start): 0,
            (None, "period", start - DAY): 0,
        }

    def test_the_latest_charges_of_a_wanted_counter(self, store: Store) -> None:
        """Settlements, deducts and what was priced later, that charged anything, of one
        resource and period, latest first, as far back as is looked."""
        draft = Draft()
        draft.entry("settle:0", amount=7, usage=usage(at=60))
        for n in range(LOOK_BACK - 9):
            draft.entry(f"grant:{n}")
        draft.entry("settle:1", amount=7, usage=usage(at=50))
        draft.entry("deduct:2", amount=7, usage=usage(at=60))
        draft.entry("price:3", amount=7, usage=usage(at=99))
        draft.entry("settle:4", usage=usage(at=60))
        draft.entry("piece:5", amount=7, usage=usage(at=60))
        draft.entry("settle:6", amount=7, usage=usage(at=60, resource="model:b"))
        draft.entry("settle:7", amount=7, usage=usage(at=100))
        draft.entry("settle:8", amount=7, usage=usage(at=49))
        draft.entry("reverse:9", amount=7, usage=usage(at=60))
        save(store, draft.changes())
        first = LOOK_BACK - 7
        want = Wanted(until=0, newest={("model:a", 50, 100), ("model:c", 0, 100)})
        assert load(store, want=want).newest == {
            ("model:a", 50): [first + 2, first + 1, first],
            ("model:c", 0): [],
        }
        save(store, draft.changes())
        save(store, draft.changes())
        assert load(store, want=want).newest["model:a", 50] == [first + 2, first + 1, first]
