"""The contract of top-ups, of what waits for background work, and of delivery."""

from __future__ import annotations

from billing_core.ports.state import Wanted
from billing_core.ports.store import Store
from billing_core.records.events import Event
from billing_core.records.topups import AutoTopUp, RefundOrder, TopUp
from billing_core.testing.stores.drafts import Draft, save

__all__ = ["TopUpContract"]


def _topup(name: str = "t-1", due_at: int | None = 50, **more: object) -> TopUp:
    fields: dict[str, object] = {
        "seq": 1,
        "state": "paid",
        "amount": 1000,
        "created": 7,
        "asked": '{"org":"ü"}',
        "refunds": [RefundOrder("r-1", None, "asked"), RefundOrder("r-2", 5, "made", 7)],
        "clawbacks": [3, 4],
        "strays": ["pi_2"],
        **more,
    }
    return TopUp(name, "checkout", due_at=due_at, **fields)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class TopUpContract:
    """What is kept of top-ups, found when due, and handed on as events."""

    def test_top_ups_are_kept_as_given_and_replaced(self, store: Store) -> None:
        draft = Draft()
        auto = AutoTopUp(customer="cus", method="pm", enabled=True, cap=5, last=9)
        save(store, draft.changes(topups=[_topup("t-2"), _topup("t-1")], auto=auto))
        assert list(store.topups("acme")) == [_topup("t-1"), _topup("t-2")]
        assert store.auto_topup("acme") == auto
        assert list(store.topups("other")) == []
        assert store.auto_topup("other") is None
        paid = _topup("t-1", None, state="paid", payment="pi_1", lot=1, granted=10**10)
        auto = AutoTopUp(method=None)
        save(store, draft.changes(topups=[paid], auto=auto))
        assert list(store.topups("acme")) == [paid, _topup("t-2")]
        assert store.auto_topup("acme") == auto
        save(store, draft.changes())
        assert store.auto_topup("acme") == auto, "none in a commit leaves it"

    def test_only_what_is_wanted_is_loaded(self, store: Store) -> None:
        auto = AutoTopUp(customer="cus")
        save(store, Draft().changes(topups=[_topup("t-1"), _topup("t-2")], auto=auto))
        state = store.snapshot({"acme": Wanted(until=0, topups={"t-2", "none"}, auto=True)})
        assert state["acme"].topups == {"t-2": _topup("t-2")}
        assert state["acme"].auto == auto
        state = store.snapshot({"acme": Wanted(until=0)})
        assert (state["acme"].topups, state["acme"].auto) == ({}, None)

    def test_the_accounts_own_words_about_them(self, store: Store) -> None:
        draft = Draft()
        draft.account.topup_below, draft.account.topup_from = 5, 6
        draft.account.topup_open = True
        save(store, draft.changes())
        account = store.snapshot({"acme": Wanted(until=0)})["acme"].account
        assert account is not None
        assert (account.topup_below, account.topup_from) == (5, 6)
        assert account.topup_open is True
        draft.account.topup_below, draft.account.topup_open = None, False
        save(store, draft.changes())
        account = store.snapshot({"acme": Wanted(until=0)})["acme"].account
        assert account is not None
        assert (account.topup_below, account.topup_open) == (None, False)

    def test_what_is_due_is_found_in_all_orgs_the_longest_due_first(self, store: Store) -> None:
        rows = [_topup("t-1", 50), _topup("t-2", None), _topup("t-3", 30)]
        save(store, Draft().changes(topups=rows), Draft("bolt").changes(topups=[_topup("t-1", 40)]))
        due = [("acme", "t-3"), ("bolt", "t-1"), ("acme", "t-1")]
        assert list(store.due_topups(50, livemode=True)) == due
        assert list(store.due_topups(49, livemode=True)) == due[:2]
        assert list(store.due_topups(100, limit=1, livemode=True)) == due[:1]

    def test_orgs_take_turns_in_what_is_due(self, store: Store) -> None:
        many = [_topup("t-1", 10), _topup("t-2", 10), _topup("t-3", 12)]
        save(
            store,
            Draft().changes(topups=many),
            Draft("bolt").changes(topups=[_topup("t-1", 20), _topup("t-2", 25)]),
            Draft("cog").changes(topups=[_topup("t-9", 10)]),
        )
        first = [("acme", "t-1"), ("cog", "t-9"), ("bolt", "t-1")]
        then = [("acme", "t-2"), ("bolt", "t-2"), ("acme", "t-3")]
        assert list(store.due_topups(50, livemode=True)) == first + then
        assert list(store.due_topups(50, limit=3, livemode=True)) == first

    def test_an_org_has_its_turn_however_much_of_another_is_due(self, store: Store) -> None:
        """Longer due than all of it, in its midst or after it: the answer looks at a part."""
        many = [_topup(f"t-{n:03}", 1000 + n) for n in range(200)]
        others = [("bolt", 900), ("cog", 1100), ("dyn", 2000)]
        drafts = [Draft(org).changes(topups=[_topup("t", due_at)]) for org, due_at in others]
        save(store, Draft().changes(topups=many), *drafts)
        looks = [store.due_topups(2000 + n, limit=10, livemode=True) for n in range(100)]
        for found in looks:
            assert found[0] == ("bolt", "t")
            assert ("dyn", "t") in found
            assert len(found) == len(set(found)) == 10
        assert 0 < sum(("cog", "t") in found for found in looks) < 100
        everything = store.due_topups(2000, limit=300, livemode=True)
        assert everything[:4] == [("bolt", "t"), ("acme", "t-000"), ("cog", "t"), ("dyn", "t")]
        assert everything[4:] == [("acme", each.topup) for each in many[1:]]

    def test_what_is_due_of_test_accounts_is_another_provider_s(self, store: Store) -> None:
        test = Draft("bolt")
        test.account.livemode = False
        rows = [_topup("t-1", 10), _topup("t-2", 20)]
        save(store, test.changes(topups=rows), Draft().changes(topups=[_topup("t-3", 30)]))
        assert list(store.due_topups(50, limit=1, livemode=True)) == [("acme", "t-3")]
        assert list(store.due_topups(50, limit=1, livemode=False)) == [("bolt", "t-1")]

    def test_what_is_seen_to_is_due_no_more(self, store: Store) -> None:
        draft = Draft()
        save(store, draft.changes(topups=[_topup("t-1", 10), _topup("t-2", 20)]))
        save(store, draft.changes(topups=[_topup("t-1", None), _topup("t-2", 40)]))
        assert list(store.due_topups(39, livemode=True)) == []
        assert list(store.due_topups(40, livemode=True)) == [("acme", "t-2")]

    def test_orgs_in_which_something_lapses(self, store: Store) -> None:
        drafts = [Draft(), Draft("bolt"), Draft("cog")]
        drafts[0].account.next_lapse, drafts[1].account.next_lapse = 20, 10
        save(store, *(each.changes() for each in drafts))
        assert list(store.lapsing(20)) == ["bolt", "acme"]
        assert list(store.lapsing(19)) == ["bolt"]
        assert list(store.lapsing(20, limit=1)) == ["bolt"]

    def test_who_pays_by_a_customer(self, store: Store) -> None:
        for org, customer in (("acme", "cus_1"), ("bolt", "cus_2"), ("cog", "cus_1")):
            save(store, Draft(org).changes(auto=AutoTopUp(customer=customer)))
        assert list(store.paying("cus_1")) == ["acme", "cog"]
        assert list(store.paying("none")) == []

    def test_a_top_up_is_known_by_the_provider_s_own_ids(self, store: Store) -> None:
        assert store.topup_of(payment="pi_1") is None
        draft = Draft()
        save(store, draft.changes(topups=[_topup("t-1", checkout="cs_1"), _topup("t-2")]))
        save(store, Draft("bolt").changes(topups=[_topup("t-1", checkout="cs_2", payment="pi_2")]))
        assert store.topup_of(checkout="cs_1") == ("acme", "t-1")
        assert store.topup_of(checkout="cs_2") == store.topup_of(payment="pi_2") == ("bolt", "t-1")
        assert store.topup_of(payment="pi_1") is None
        save(store, draft.changes(topups=[_topup("t-1", checkout="cs_1", payment="pi_1")]))
        assert store.topup_of(payment="pi_1") == ("acme", "t-1")
        for none in ("cs_1", "t-1", ""):
            assert store.topup_of(payment=none) is None
        assert store.topup_of(checkout="pi_1") is None
        assert store.topup_of() is None, "nor is every top-up without one meant"

    def test_a_mark_never_goes_back(self, store: Store) -> None:
        assert store.mark("news") is None
        store.set_mark("news", 5)
        store.set_mark("news", 3)
        store.set_mark("other", 1)
        assert (store.mark("news"), store.mark("other")) == (5, 1)

    def test_the_latest_time_on_record(self, store: Store) -> None:
        assert store.latest() is None
        drafts = [Draft(), Draft("bolt")]
        for draft, recorded_at in zip(drafts, (7_000, 5_000), strict=True):
            draft.account.recorded_at = recorded_at
        save(store, *(each.changes() for each in drafts))
        assert store.latest() == 7_000

    def test_a_clock_of_its_own_goes_on(self, store: Store) -> None:
        first = store.clock()
        if first is None:
            assert store.clock() is None
        else:
            year = 366 * 86_400 * 1_000_000
            assert 50 * year < first <= (store.clock() or 0) < 200 * year, "microseconds"

    def test_how_far_events_are_delivered_and_who_has_which_number(self, store: Store) -> None:
        """As verify asks for it; what a store keeps twice, to find rows by it, is the same."""
        draft = Draft()
        told = [Event(1, 1, "a", "{}"), Event(1, 2, "b", "{}")]
        topups = [_topup("t-1", 5)]
        members = [(2, "ann"), (1, "bob")]
        auto = AutoTopUp(customer="cus_1")
        changes = draft.changes(events=told, topups=topups, members=members, auto=auto)
        save(store, changes, Draft("bolt").changes())
        assert store.deliveries("acme") == (0, 0, True, "", 0)
        assert store.deliveries("bolt") is None
        store.lease_events("acme", "me", 10, 20)
        store.delivered("acme", "me", 1, 1)
        assert store.deliveries("acme") == (1, 1, True, "me", 20)
        store.delivered("acme", "me", 1, 2)
        assert store.deliveries("acme") == (1, 2, False, "me", 20)
        assert list(store.named("acme")) == [(2, "ann"), (1, "bob")]
        assert list(store.named("bolt")) == []
        assert list(store.misfiled("acme")) == []

    def test_events_wait_until_they_are_delivered(self, store: Store) -> None:
        draft = Draft()
        first = [Event(1, 1, "a", "{}"), Event(1, 2, "b", "{}")]
        save(store, draft.changes(events=first), Draft("bolt").changes())
        assert list(store.undelivered(10)) == ["acme"]
        assert list(store.waiting_events("acme")) == first
        assert list(store.waiting_events("acme", limit=1)) == first[:1]
        assert store.lease_events("acme", "me", 10, 20)
        assert store.delivered("acme", "me", 1, 1)
        assert list(store.waiting_events("acme")) == first[1:]
        assert store.delivered("acme", "me", 1, 2)
        assert list(store.undelivered(30)) == []
        later = [Event(2, 1, "c", "{}")]
        save(store, draft.changes(events=later))
        assert list(store.undelivered(30)) == ["acme"]
        assert list(store.waiting_events("acme")) == later
        assert list(store.events("acme")) == [*first, *later], "they stay on record"

    def test_whose_events_were_delivered_longest_ago_comes_first(self, store: Store) -> None:
        told = [Event(1, 1, "a", "{}")]
        save(store, *(Draft(org).changes(events=told) for org in ("acme", "bolt", "cog")))
        assert list(store.undelivered(100)) == ["acme", "bolt", "cog"]
        for org, now in (("acme", 20), ("bolt", 10)):
            store.lease_events(org, "me", now, now + 5)
            store.lease_events(org, "me", now + 1, now + 1)
        assert list(store.undelivered(100)) == ["cog", "bolt", "acme"]
        assert list(store.undelivered(100, limit=2)) == ["cog", "bolt"]

    def test_one_deliverer_at_a_time(self, store: Store) -> None:
        save(store, Draft().changes(events=[Event(1, 1, "a", "{}")]))
        assert store.lease_events("acme", "one", 10, 20)
        assert not store.lease_events("acme", "two", 19, 40)
        assert list(store.undelivered(19)) == []
        assert store.lease_events("acme", "one", 19, 30), "its own is renewed"
        assert not store.delivered("acme", "two", 1, 1)
        assert len(store.waiting_events("acme")) == 1
        assert list(store.undelivered(30)) == ["acme"]
        assert store.lease_events("acme", "two", 30, 40), "one that has ended is taken"
        assert not store.delivered("acme", "one", 1, 1)
        assert store.lease_events("acme", "two", 35, 35), "and given up"
        assert list(store.undelivered(35)) == ["acme"]
