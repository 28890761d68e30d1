"""The reference store: plain dictionaries, one lock, copies in and out."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, TypeVar

from attrs import define, evolve, field, fields

from billing_core.errors import StoreError
from billing_core.ports import required
from billing_core.ports.due_topups import Due, due_in_rounds
from billing_core.ports.state import (
    LEVEL,
    LOOK_BACK,
    NEWEST,
    Changes,
    Loaded,
    OrgState,
    Wanted,
)
from billing_core.ports.store import PUBLISHED, Store, Transaction
from billing_core.pricing.catalogue import Published
from billing_core.records.events import Delivered, Event
from billing_core.records.ledger import (
    Account,
    Charge,
    Entry,
    HoldRecord,
    LimitSet,
    Lot,
    Spend,
    Subscription,
)
from billing_core.records.rollups import Span, Sums, begun, tail_cells
from billing_core.records.runs import Run
from billing_core.records.storage import Size, Storage
from billing_core.records.topups import AutoTopUp, TopUp
from billing_core.records.usage import Cell, CellKey, Counter, Item, UsageRecord
from billing_core.testing.copies import copied

__all__ = ["MemoryStore"]

_K = TypeVar("_K", bound=Any)
_R = TypeVar("_R")


@define
class _Org:
    account: Account
    entries: list[Entry] = field(factory=list)
    by_key: dict[str, Entry] = field(factory=dict)
    events: list[Event] = field(factory=list)
    lots: dict[int, Lot] = field(factory=dict)
    holds: dict[str, HoldRecord] = field(factory=dict)
    counters: dict[tuple[str, int], Counter] = field(factory=dict)
    items: dict[tuple[str, str], Item] = field(factory=dict)
    charges: dict[int, Charge] = field(factory=dict)
    members: dict[str, int] = field(factory=dict)
    cells: dict[CellKey, Cell] = field(factory=dict)
    subscriptions: dict[int, Subscription] = field(factory=dict)
    limits: dict[tuple[str, str], LimitSet] = field(factory=dict)
    spends: dict[tuple[str, str, int], Spend] = field(factory=dict)
    runs: dict[str, Run] = field(factory=dict)
    storages: dict[str, Storage] = field(factory=dict)
    sizes: dict[tuple[str, int], Size] = field(factory=dict)
    topups: dict[str, TopUp] = field(factory=dict)
    auto: AutoTopUp | None = None
    delivered: tuple[int, int] = (0, 0)
    lease: tuple[str, int] = ("", 0)


_TABLES = [each.name for each in fields(_Org) if each.name != "account"]


class MemoryStore:
    """A store in memory, for tests and for trying things out; all is gone when the process ends.

    Safe to share between threads.  It has no connections, so `Billing.within` raises a
    :class:`StoreError`.  What each method does is said at :class:`billing_core.ports.store.Store`.
    """

    concurrency = 1

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._orgs: dict[str, _Org] = {}
        self._published: list[Published] = []
        self._marks: dict[str, int] = {}

    def level(self) -> int:
        return LEVEL

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._lock:
            yield _Transaction(self)

    def within(self, connection: object) -> Store:
        raise StoreError("the memory store has no connections to join")

    def snapshot(self, wanted: Mapping[str, Wanted]) -> Loaded:
        with self._lock:
            return {org: self._load(org, want) for org, want in wanted.items()}

    def _load(self, name: str, want: Wanted) -> OrgState:
        org = self._orgs.get(name)
        if org is None:
            return OrgState()
        state = OrgState(account=org.account)
        open_holds = [hold for hold in org.holds.values() if hold.state == "open"]
        until = required.holds_until(want, org.account)
        due = [] if until is None else [hold for hold in open_holds if hold.expires_at <= until]
        state.holds = {hold.key: hold for hold in due}
        state.holds |= {key: org.holds[key] for key in want.holds if key in org.holds}
        later = [hold.expires_at for hold in open_holds if hold.key not in state.holds]
        state.next_hold = min(later, default=None)
        state.lots = {lot.lot: lot for lot in org.lots.values() if lot.remainder}
        if want.charges or want.runs or want.storages:
            self._load_charged(org, state, want)
        state.covered, state.sought, state.times = required.required_spans(want, state)
        for resource, spans in state.covered.items():
            begins = sorted(start for known, start in org.counters if known == resource)
            for first, last in spans:
                for start in begins[_last_by(begins, first) : bisect_right(begins, last)]:
                    state.counters[resource, start] = org.counters[resource, start]
        state.counters |= {key: org.counters[key] for key in required.held_in(state)}
        state.items = {key: org.items[key] for key in state.sought if key in org.items}
        state.families = {
            (prefix, start): [
                counter
                for (resource, begins), counter in sorted(org.counters.items())
                if begins == start and resource.startswith(prefix)
            ]
            for prefix, start in want.families
        }
        state.members = {name: org.members[name] for name in want.members if name in org.members}
        state.entries = {key: org.by_key[key] for key in want.keys if key in org.by_key}
        owing = [charge for _, charge in sorted(org.charges.items()) if charge.unpaid]
        state.debts = owing[: want.debts]
        state.all_debts = len(owing) <= want.debts
        self._load_terms(org, state, want)
        for member, grain, start in want.sums:
            state.sums[member, grain, start] = sum(
                cell.amount
                for key, cell in org.cells.items()
                if (key.grain, key.start) == (grain, start) and member in (None, key.member)
            )
        if required.tail(want, org.account):
            state.tail = _tail(org)
        for resource, start, end in want.newest:
            state.newest[resource, start] = _newest(org, resource, start, end)
        state.topups = {name: org.topups[name] for name in want.topups if name in org.topups}
        state.auto = org.auto if want.auto else None
        return copied(state)

    def _load_charged(self, org: _Org, state: OrgState, want: Wanted) -> None:
        """The wanted charges, runs and workspaces, and what became of them."""
        for number in want.charges:
            if 0 < number <= len(org.entries):
                state.subjects[number] = org.entries[number - 1]
                if number in org.charges:
                    state.charges[number] = org.charges[number]
        for name in want.runs.keys() & org.runs.keys():
            state.runs[name] = org.runs[name]
        for name in want.storages.keys() & org.storages.keys():
            state.storages[name] = org.storages[name]
        state.charges |= {number: org.charges[number] for number in required.stories(state)}
        state.lots |= {lot: org.lots[lot] for lot in required.payers(state)}
        for workspace, first, last in required.sizes(want, state):
            begins = sorted(at for known, at in org.sizes if known == workspace)
            for at in begins[_last_by(begins, first) : bisect_right(begins, last) + 1]:
                state.sizes[workspace, at] = org.sizes[workspace, at].size

    def _load_terms(self, org: _Org, state: OrgState, want: Wanted) -> None:
        """The plans that the org had, its limits, and what counts towards them."""
        account = org.account
        state.windows = set(want.windows)
        since = required.plans_from(account, state.times)
        if since is not None:
            then = [each for each in org.subscriptions.values() if each.since <= since]
            later = [each for each in org.subscriptions.values() if each.since > since]
            state.subscriptions = then[-1:] + later
        if account.limited_since is None:
            return
        whose = required.limited_subjects(want, state)
        state.limits = {
            key: limit
            for key, limit in org.limits.items()
            if want.windows or key[0] in whose | required.EVERYBODY
        }
        spans = required.windows(account.anchor, state.times)
        state.spends = {
            key: spend
            for key, spend in org.spends.items()
            if key[1:] in want.windows
            or (
                key[0] in whose
                and key[1] in spans
                and spans[key[1]][0] <= key[2] <= spans[key[1]][1]
            )
        }

    def _commit(self, name: str, changes: Changes) -> None:
        org = self._orgs.get(name)
        if org is None:
            org = self._orgs[name] = _Org(changes.account)
        org.account = changes.account
        for entry in changes.entries:
            if entry.key in org.by_key or entry.seq != len(org.entries) + 1:
                raise StoreError(f"entry {entry.key!r} of org {name!r} is on record")
            org.entries.append(entry)
            org.by_key[entry.key] = entry
        known = {(event.seq, event.n) for event in org.events}
        if any((event.seq, event.n) in known for event in changes.events):
            raise StoreError(f"an event of org {name!r} is on record")
        if any(member in org.members for _, member in changes.members):
            raise StoreError(f"a member of org {name!r} is on record")
        org.events.extend(changes.events)
        org.lots |= changes.lots
        org.holds |= changes.holds
        org.counters |= changes.counters
        org.items |= changes.items
        org.charges |= changes.charges
        org.subscriptions |= {each.seq: each for each in changes.subscriptions}
        org.limits |= changes.limits
        org.spends |= changes.spends
        org.runs |= changes.runs
        org.storages |= changes.storages
        org.sizes |= changes.sizes
        org.topups |= changes.topups
        org.auto = changes.auto or org.auto
        org.members |= {name: number for number, name in changes.members}
        for key, cell in changes.cells.items():
            sums = copied(org.cells.get(key, Cell()))
            sums.add(cell)
            org.cells[key] = sums

    def publish(self, document: Published) -> None:
        with self._lock:
            if document in self._published:
                return
            taken = any(document.version == known.version for known in self._published)
            if taken or document.number != len(self._published) + 1:
                raise StoreError(f"document {document.number} is on record", retryable=True)
            self._published.append(document)
            self.set_mark(PUBLISHED, document.number)

    def published(self, after: int = 0) -> Sequence[Published]:
        return self._published[after:]

    def orgs(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        return sorted(org for org in self._orgs if org > after)[:limit]

    def ahead(self, org: str) -> MemoryStore:
        return self

    def entry(self, org: str, key: str) -> Entry | None:
        known = self._orgs.get(org)
        return None if known is None else copied(known.by_key.get(key))

    def _entries(self, org: str) -> list[Entry]:
        return self._orgs[org].entries if org in self._orgs else []

    def entries(self, org: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        return copied(self._entries(org)[max(after, 0) : max(after, 0) + limit])

    def history(
        self,
        org: str,
        *,
        before: int | None = None,
        limit: int = 100,
        charges: bool = True,
    ) -> Sequence[Entry]:
        moved = [
            entry
            for entry in reversed(self._entries(org))
            if entry.transfers
            and (before is None or entry.seq < before)
            and (charges or entry.op not in ("settle", "deduct"))
        ]
        return copied(moved[:limit])

    def cells(
        self, org: str, grain: str, start: int, end: int, member: int | None = None
    ) -> Mapping[CellKey, Cell]:
        known = self._orgs.get(org)
        if known is None:
            return {}
        window = grain, start, end, member
        found = {key: copied(cell) for key, cell in begun(known.cells, *window)}
        for key, cell in begun(tail_cells(_tail(known), known.account.anchor), *window):
            found.setdefault(key, Cell()).add(cell)
        return found

    def usage(
        self, org: str, start: int, end: int, member: int | None = None
    ) -> Sequence[tuple[int, UsageRecord]]:
        found = [
            (entry.usage.occurred_at, entry.seq, entry.usage)
            for entry in self._entries(org)
            if entry.usage is not None
            and start <= entry.usage.occurred_at < end
            and member in (None, entry.usage.member)
        ]
        return [(seq, record) for _, seq, record in sorted(found, key=lambda each: each[:2])]

    def usage_sums(self, org: str, spans: Sequence[Span], member: int | None = None) -> Sums:
        sums = Sums()
        with self._lock:
            for grain, start, end in spans:
                if grain is None:
                    for _, record in self.usage(org, start, end, member):
                        sums.add_record(record)
                else:
                    for key, cell in self.cells(org, grain, start, end, member).items():
                        sums.add(key.member, key.resource, key.payer, cell)
        return sums

    def members(self, org: str, numbers: Collection[int] | None = None) -> Mapping[int, str]:
        known = self._orgs[org].members if org in self._orgs else {}
        pairs = sorted((number, name) for name, number in known.items())
        return {number: name for number, name in pairs if numbers is None or number in numbers}

    def erase_member(self, org: str, member: str) -> bool:
        with self._lock:
            known = self._orgs[org].members if org in self._orgs else {}
            return known.pop(member, None) is not None

    def events(self, org: str, after: int = 0, limit: int = 100) -> Sequence[Event]:
        known = self._orgs[org].events if org in self._orgs else []
        return [event for event in known if event.seq > after][:limit]

    def _rows(self, org: str, table: Callable[[_Org], dict[_K, _R]]) -> Iterator[_R]:
        with self._lock:
            rows = {} if org not in self._orgs else table(self._orgs[org])
            return iter([copied(rows[key]) for key in sorted(rows)])

    def lots(self, org: str) -> Iterator[Lot]:
        return self._rows(org, lambda known: known.lots)

    def holds(self, org: str) -> Iterator[HoldRecord]:
        return self._rows(org, lambda known: known.holds)

    def counters(self, org: str) -> Iterator[Counter]:
        return self._rows(org, lambda known: known.counters)

    def items(self, org: str) -> Iterator[Item]:
        return self._rows(org, lambda known: known.items)

    def charges(self, org: str) -> Iterator[Charge]:
        return self._rows(org, lambda known: known.charges)

    def subscriptions(self, org: str) -> Iterator[Subscription]:
        return self._rows(org, lambda known: known.subscriptions)

    def limits(self, org: str) -> Iterator[LimitSet]:
        return self._rows(org, lambda known: known.limits)

    def spends(self, org: str) -> Iterator[Spend]:
        return self._rows(org, lambda known: known.spends)

    def runs(self, org: str, *, unsettled: bool = False) -> Iterator[Run]:
        every = self._rows(org, lambda known: known.runs)
        return (run for run in every if not unsettled or run.unsettled)

    def storages(self, org: str) -> Iterator[Storage]:
        return self._rows(org, lambda known: known.storages)

    def sizes(self, org: str) -> Iterator[Size]:
        return self._rows(org, lambda known: known.sizes)

    def silent_runs(self, before: int, limit: int = 1000) -> Sequence[tuple[str, str]]:
        with self._lock:
            silent = [
                (run.seen_at, name, run.run)
                for name, org in self._orgs.items()
                for run in org.runs.values()
                if run.open and run.seen_at < before
            ]
        return [(org, run) for _, org, run in sorted(silent)[:limit]]

    def topups(self, org: str) -> Iterator[TopUp]:
        return self._rows(org, lambda known: known.topups)

    def auto_topup(self, org: str) -> AutoTopUp | None:
        known = self._orgs.get(org)
        return None if known is None else copied(known.auto)

    def misfiled(self, org: str) -> Iterator[tuple[str, str]]:
        return iter(())  # nothing is kept twice

    def deliveries(self, org: str) -> Delivered | None:
        known = self._orgs.get(org)
        if known is None or not known.events:
            return None
        return Delivered(*known.delivered, bool(_waiting(known)), *known.lease)

    def named(self, org: str) -> Iterator[tuple[int, str]]:
        known = self._orgs.get(org)
        names = {} if known is None else known.members
        return iter([(names[name], name) for name in sorted(names)])

    def due_topups(
        self, until: int, limit: int = 100, *, livemode: bool
    ) -> Sequence[tuple[str, str]]:
        due = [
            (each.due_at, name, each.topup)
            for name, org in self._orgs.items()
            for each in org.topups.values()
            if each.due_at is not None and each.due_at <= until
            if org.account.livemode is livemode
        ]

        def scan(since: int, latest: bool) -> list[Due]:
            return sorted((each for each in due if each[0] >= since), reverse=latest)[:limit]

        return due_in_rounds(scan, until, limit)

    def lapsing(self, until: int, limit: int = 100) -> Sequence[str]:
        due = [
            (org.account.next_lapse, name)
            for name, org in self._orgs.items()
            if org.account.next_lapse is not None and org.account.next_lapse <= until
        ]
        return [org for _, org in sorted(due)[:limit]]

    def paying(self, customer: str) -> Sequence[str]:
        orgs = self._orgs.items()
        return sorted(
            name for name, org in orgs if org.auto is not None and org.auto.customer == customer
        )

    def topup_of(
        self, *, payment: str | None = None, checkout: str | None = None
    ) -> tuple[str, str] | None:
        for name, org in sorted(self._orgs.items()):
            for each in org.topups.values():
                if payment is not None:
                    found = each.payment == payment
                else:
                    found = checkout is not None and each.checkout == checkout
                if found:
                    return name, each.topup
        return None

    def mark(self, name: str) -> int | None:
        return self._marks.get(name)

    def set_mark(self, name: str, value: int) -> None:
        with self._lock:
            self._marks[name] = max(value, self._marks.get(name, value))

    def clock(self) -> int | None:
        return None

    def latest(self) -> int | None:
        return max((org.account.recorded_at for org in self._orgs.values()), default=None)

    def undelivered(self, now: int, limit: int = 100) -> Sequence[str]:
        waiting = [
            (org.lease[1], name)
            for name, org in self._orgs.items()
            if org.lease[1] <= now and _waiting(org)
        ]
        return [name for _, name in sorted(waiting)[:limit]]

    def lease_events(self, org: str, deliverer: str, now: int, until: int) -> bool:
        with self._lock:
            known = self._orgs[org]
            if known.lease[0] != deliverer and known.lease[1] > now:
                return False
            self._orgs[org] = evolve(known, lease=(deliverer, until))
            return True

    def waiting_events(self, org: str, limit: int = 100) -> Sequence[Event]:
        return _waiting(self._orgs[org])[:limit] if org in self._orgs else []

    def delivered(self, org: str, deliverer: str, seq: int, n: int) -> bool:
        with self._lock:
            known = self._orgs[org]
            if known.lease[0] != deliverer:
                return False
            self._orgs[org] = evolve(known, delivered=max(known.delivered, (seq, n)))
            return True


def _last_by(times: Sequence[int], time: int) -> int:
    """Where in sorted times the last is that is not after a time; 0 where there is none."""
    return max(0, bisect_right(times, time) - 1)


def _newest(org: _Org, resource: str, start: int, end: int) -> list[int]:
    """The latest charges that were counted in a counter."""
    found = [
        entry.seq
        for entry in reversed(org.entries[-LOOK_BACK:])
        if entry.op in ("settle", "deduct", "price")
        and entry.amount > 0
        and entry.usage is not None
        and entry.usage.resource == resource
        and start <= entry.usage.occurred_at < end
    ]
    return found[:NEWEST]


def _tail(org: _Org) -> list[UsageRecord]:
    later = org.entries[org.account.summed :]
    return [entry.usage for entry in later if entry.usage is not None]


def _waiting(org: _Org) -> list[Event]:
    return [event for event in org.events if (event.seq, event.n) > org.delivered]


def _shallow(org: _Org) -> _Org:
    """A copy whose tables are its own; rows are replaced, never changed."""
    return evolve(org, **{name: copy(getattr(org, name)) for name in _TABLES})


class _Transaction:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def recall(self, wanted: Mapping[str, Wanted]) -> Loaded | None:
        return None

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        return self._store.snapshot(wanted)

    def commit(self, changes: Mapping[str, Changes]) -> None:
        before = self._store._orgs
        self._store._orgs = {
            **before,
            **{org: _shallow(before[org]) for org in changes if org in before},
        }
        try:
            for org, change in changes.items():
                self._store._commit(org, copied(change))
        except BaseException:
            self._store._orgs = before
            raise
