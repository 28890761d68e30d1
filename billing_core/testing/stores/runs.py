"""The contract of runs and storage."""

from __future__ import annotations

from copy import deepcopy
from typing import get_args

from billing_core.ports.state import Wanted
from billing_core.ports.store import Store
from billing_core.records.runs import Day, Run, RunState, Tab
from billing_core.records.storage import Size, Storage
from billing_core.records.usage import Count, Counter, Item
from billing_core.testing.stores.drafts import Draft, charge, hold, load, lot, save

__all__ = ["TimeContract"]

_HUGE = 10**40


def run(name: str, state: RunState = "active", seen: int = 50, **changed: object) -> Run:
    """A run of ``sandbox:a`` that is settled to 40."""
    made = Run(
        name, "sandbox:a", (("gpu", 8, "customer"), ("vcpu", _HUGE, "platform")), 3, "tööl",
        None, 100, state, 10, seen, 40, 90, "asked",
    )  # fmt: skip
    for field, value in changed.items():
        setattr(made, field, value)
    return made


def _names(store: Store, before: int, limit: int = 10) -> list[tuple[str, str]]:
    return list(store.silent_runs(before, limit))


class TimeContract:
    """What a store keeps of runs and storage, and finds again."""

    def test_runs_and_storage_are_kept_and_replaced(self, store: Store) -> None:
        draft = Draft()
        first = run("r1", suspensions=[[12, 15], [20, None]])
        shelf = Storage("ws", 30, 20, 2**63 - 1)
        sizes = [Size("ws", 20, 7), Size("ws", 30, 2**63 - 1), Size("wt", 5, 1)]
        save(store, draft.changes(runs=[run("r2"), first], storages=[shelf], sizes=sizes))
        assert list(store.runs("acme")) == [first, run("r2")]
        assert list(store.storages("acme")) == [shelf]
        assert list(store.sizes("acme")) == sizes
        ended = run("r1", "settled", 60, ended_at=60, swept=True, tabs=[Tab(0, 4, 39, 20, 7)])
        fuller = Storage("ws", 60, 55, 3, 2, [Tab(0, 9, 59, days=[Day(59, 7, 3, True)])])
        more = [Size("ws", 20, 8)]
        save(store, draft.changes(runs=[ended], storages=[fuller], sizes=more))
        assert list(store.runs("acme")) == [ended, run("r2")]
        assert list(store.storages("acme")) == [fuller]
        assert list(store.sizes("acme")) == [*more, *sizes[1:]]
        assert not list(store.runs("other"))
        assert not list(store.sizes("other"))

    def test_unsettled_runs_are_found_without_the_others(self, store: Store) -> None:
        rows = [run(f"r{number}", state) for number, state in enumerate(get_args(RunState))]
        save(store, Draft().changes(runs=rows))
        assert list(store.runs("acme", unsettled=True)) == rows[:3]

    def test_silent_runs_of_all_orgs_come_longest_silent_first(self, store: Store) -> None:
        save(store, Draft().changes(runs=[run("a", seen=30), run("b", "suspended", 10)]))
        others = [run("c", seen=20), run("d", "pending", 1), run("e", "settled", 1)]
        save(store, Draft("other").changes(runs=others))
        assert _names(store, 31) == [("acme", "b"), ("other", "c"), ("acme", "a")]
        assert _names(store, 30) == [("acme", "b"), ("other", "c")]
        assert _names(store, 31, 1) == [("acme", "b")]
        save(store, Draft("third").changes(runs=[run("b", "settled", 10)]))
        assert _names(store, 31, 1) == [("acme", "b")]

    def test_a_run_that_ends_or_gives_a_sign_of_life_is_silent_no_more(self, store: Store) -> None:
        draft = Draft()
        save(store, draft.changes(runs=[run("a", seen=10), run("b", seen=20), run("c", seen=30)]))
        save(store, draft.changes(runs=[run("a", "settled", 10), run("b", seen=50)]))
        assert _names(store, 50) == [("acme", "c")]

    def test_a_wanted_run_comes_with_what_charges_it(self, store: Store) -> None:
        draft = Draft()
        for _ in range(3):
            draft.entry("grant:x" + str(_))
        counters = [Counter("sandbox:a", start, {"vcpu": Count(start)}) for start in (0, 35, 70)]
        rows = {
            "runs": [run("r1", tabs=[Tab(0, 2, 39), Tab(35, 3, 39)]), run("r2")],
            "charges": [charge(2, 0, (1, 3)), charge(3, 4)],
            "counters": counters,
            "items": [Item("run:r1", "sandbox:a", {"vcpu": [1, 2, "v1#00"]})],
            "holds": [hold("run:r1", 2**63 - 1)],
            "lots": [lot(1)],
        }
        save(store, draft.changes(**deepcopy(rows)))
        want = Wanted(until=0, holds={"run:r1"}, runs={"r1": (50, 60), "none": (1, 2)})
        state = load(store, "acme", want)
        assert list(state.runs) == ["r1"]
        assert state.holds.keys() == {"run:r1"}
        assert state.charges.keys() == {2, 3}
        assert state.items.keys() == {("run:r1", "sandbox:a")}
        # Settled to 40: the periods from 35 on, as far as it may be funded from 60.
        assert {start for _, start in state.counters} == {35, 70}
        assert [first for first, _ in state.covered["sandbox:a"]] == [40]
        early = load(store, "acme", Wanted(until=0, runs={"r1": (12, 80)}))
        assert {start for _, start in early.counters} == {0, 35, 70}

    def test_a_wanted_workspace_comes_with_the_sizes_of_its_span(self, store: Store) -> None:
        sizes = [Size("ws", at, at) for at in (10, 20, 30, 40, 50, 60)] + [Size("wt", 45, 1)]
        save(store, Draft().changes(storages=[Storage("ws", 35, 60, 60)], sizes=sizes))

        def times(first: int, last: int) -> list[int]:
            state = load(store, "acme", Wanted(until=0, storages={"ws": (first, last)}))
            assert state.storages.keys() == {"ws"}
            return sorted(at for _, at in state.sizes)

        assert times(45, 45) == [30, 40, 50]
        assert times(15, 15) == [10, 20, 30, 40]
        assert times(70, 70) == [30, 40, 50, 60]
        assert times(5, 5) == [10, 20, 30, 40]
        assert times(40, 40) == [30, 40, 50]
