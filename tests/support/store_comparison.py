"""A database beside the store in memory: whatever is loaded, or remembered, is the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import fields
from postgres_servers import EmptiedStore

from billing_adapters.sqlite import SqliteStore
from billing_core.engine.lookups import account_record
from billing_core.ports.state import Changes, Loaded, OrgState, Wanted
from billing_core.ports.store import Transaction
from billing_core.pricing.catalogue import Published
from billing_core.records.rollups import Span
from billing_core.testing import MemoryStore
from billing_core.values.times import DAY

FOREVER = 2**62
SPANS = [
    Span(None, 0, 10**15 + 5),
    Span("hour", 0, FOREVER),
    Span("day", DAY, FOREVER),
    Span("period", 0, FOREVER),
    Span(None, 10**15 + 5, FOREVER),
]


class _Beside:
    """Whatever its engines do is done to the store in memory as well, and compared."""

    def __init__(self, *given: Any, **options: Any) -> None:
        self.model = MemoryStore()
        self.recalled = 0
        super().__init__(*given, **options)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with super().transaction() as mine, self.model.transaction() as model:
            yield _Both(self, mine, model)

    def snapshot(self, wanted: Mapping[str, Wanted]) -> Loaded:
        found = super().snapshot(wanted)
        same(found, self.model.snapshot(wanted))
        return found

    def publish(self, document: Published) -> None:
        super().publish(document)
        self.model.publish(document)

    def erase_member(self, org: str, member: str) -> bool:
        return super().erase_member(org, member) and self.model.erase_member(org, member)

    def set_mark(self, name: str, value: int) -> None:
        super().set_mark(name, value)
        self.model.set_mark(name, value)
        assert self.mark(name) == self.model.mark(name)

    def lease_events(self, org: str, deliverer: str, now: int, until: int) -> bool:
        leased = super().lease_events(org, deliverer, now, until)
        assert leased == self.model.lease_events(org, deliverer, now, until)
        return leased

    def delivered(self, org: str, deliverer: str, seq: int, n: int) -> bool:
        done = super().delivered(org, deliverer, seq, n)
        assert done == self.model.delivered(org, deliverer, seq, n)
        return done

    def close(self) -> None:
        """Before it is gone, the reads too."""
        try:
            self.compare()
        finally:
            super().close()

    def compare(self) -> None:
        model = self.model
        assert self.published() == model.published()
        for now in (0, FOREVER):
            assert self.silent_runs(now) == model.silent_runs(now)
            for mode in (False, True):
                found = self.due_topups(now, livemode=mode)
                assert found == model.due_topups(now, livemode=mode)
            # By their time; those that lapse at one time come in any order.
            found = list(self.lapsing(now))
            assert sorted(found) == sorted(model.lapsing(now))
            times = [account_record(model, org).next_lapse or 0 for org in found]
            assert times == sorted(times)
            assert self.undelivered(now) == model.undelivered(now)
        for org in model.orgs():
            for table in (
                "lots", "holds", "counters", "items", "charges", "subscriptions", "limits",
                "spends", "runs", "storages", "sizes", "topups",
            ):  # fmt: skip
                assert [*getattr(self, table)(org)] == [*getattr(model, table)(org)], table
            assert [*self.runs(org, unsettled=True)] == [*model.runs(org, unsettled=True)]
            assert self.auto_topup(org) == model.auto_topup(org)
            assert self.waiting_events(org) == model.waiting_events(org)
            assert self.entries(org) == model.entries(org)
            for charges in (True, False):
                for page in ({}, {"before": 9, "limit": 3}):
                    found = self.history(org, charges=charges, **page)
                    assert found == model.history(org, charges=charges, **page)
            for member in (None, 0, 1, 2, 99):
                window = 0, FOREVER, member
                assert self.usage(org, *window) == model.usage(org, *window)
                for spans in (SPANS, [], *([span] for span in SPANS)):
                    sums = self.usage_sums(org, spans, member)
                    assert sums == model.usage_sums(org, spans, member), (spans, member)
                for span in SPANS[1:4]:
                    assert self.cells(org, *span, member) == model.cells(org, *span, member)


class BesideMemory(_Beside, EmptiedStore):
    """PostgreSQL."""


class SqliteBesideMemory(_Beside, SqliteStore):
    """SQLite, in a file that has its tables: to make them takes longer than most tests."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(_empty())
        super().__init__(path)


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        SqliteStore(path).close()
        return path.read_bytes()


class _Both:
    def __init__(self, store: _Beside, mine: Transaction, model: Transaction) -> None:
        self.store, self.mine, self.model = store, mine, model

    def recall(self, wanted: Mapping[str, Wanted]) -> Loaded | None:
        found = self.mine.recall(wanted)
        if found is not None:
            self.store.recalled += 1
            same(found, self.model.load(wanted), but={"entries"})
        return found

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        found = self.mine.load(wanted)
        same(found, self.model.load(wanted))
        return found

    def commit(self, changes: Mapping[str, Changes]) -> None:
        self.mine.commit(changes)
        self.model.commit(changes)


def _sorted(spans: dict[str, list[tuple[int, int]]]) -> dict[str, list[tuple[int, int]]]:
    return {resource: sorted(some) for resource, some in spans.items()}


def same(found: Loaded, expected: Loaded, *, but: Collection[str] = ()) -> None:
    for org, state in expected.items():
        for name in [each.name for each in fields(OrgState)]:
            if name == "next_hold":  # may be told too early
                continue
            if name not in but:
                one, other = getattr(found[org], name), getattr(state, name)
                if name == "counters":  # of a wanted charge, later ones may come too
                    one = {key: counter for key, counter in one.items() if key in other}
                if name == "covered":  # by the wanted charges, which come in any order
                    one, other = _sorted(one), _sorted(other)
                assert one == other, f"{name} of {org}: {one}, not {other}"
    assert found.keys() == expected.keys()
