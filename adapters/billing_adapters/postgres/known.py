"""What this process knows of orgs that it wrote last, so as to decide without asking.

A memory is right for as long as the account's row stands on the same head, which is a digest
of all that was ever written for the org, and no member's name was erased.  Whoever decides
on it writes on that condition (see the table ``accounts``); where it does not hold any more,
nothing is written.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

from attrs import define, field, fields

from billing_adapters.postgres.loading import Found
from billing_adapters.postgres.rows import Standing
from billing_core.ports import Changes, Loaded, OrgState, Wanted
from billing_core.records import Account, CellKey, Counter, Hold, Item, Lot

__all__ = ["Base", "Known"]


Base = tuple[bytes, int]
"""The head on which something was decided, and how many names were erased by then."""

_ORGS = 10_000
_ROWS = 1_000  # of one org, of each kind


@define
class _Org:
    """``trusted``: whether nobody else has written lately.  ``lots``: all that are not spent.
    ``holds``: open ones.  ``counters``: by resource, the time from which on all are known,
    and they.  ``items``, ``members``: None for what is known not to be there.  ``cells``:
    those that there are, with their components."""

    account: Account
    erased: int
    trusted: bool = True
    lots: dict[int, Lot] = field(factory=dict)
    holds: dict[str, Hold] = field(factory=dict)
    counters: dict[str, tuple[int, dict[int, Counter]]] = field(factory=dict)
    items: dict[tuple[str, str], Item | None] = field(factory=dict)
    members: dict[str, int | None] = field(factory=dict)
    cells: dict[tuple[CellKey, str], None] = field(factory=dict)

    @property
    def base(self) -> Base:
        return self.account.head, self.erased


class Known:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._orgs: dict[str, _Org] = {}
        self._lock = threading.Lock()

    def recall(self, wanted: Mapping[str, Wanted]) -> tuple[Loaded, dict[str, Base]] | None:
        """Copies of what is wanted but for entries, and what they rest on; None where
        something of it is not known, or likely to be out of date."""
        loaded: Loaded = {}
        bases: dict[str, Base] = {}
        with self._lock:
            for org, want in wanted.items():
                known = self._orgs.get(org)
                if known is None or not known.trusted:
                    return None
                state = _recalled(known, want)
                if state is None:
                    return None
                loaded[org] = state
                bases[org] = known.base
        return loaded, bases

    def standing(self, orgs: Iterable[str]) -> dict[str, Standing]:
        """What is known to stand in the tables: what has been committed never goes."""
        return {org: self._orgs[org] for org in orgs if org in self._orgs}

    def loaded(self, found: Mapping[str, Found], wanted: Mapping[str, Wanted]) -> None:
        """Learn what was loaded under the orgs' locks."""
        with self._lock:
            for org, each in found.items():
                account = each.state.account
                known = self._orgs.get(org)
                if account is None:
                    self._orgs.pop(org, None)
                    continue
                if known is None or known.base != (account.head, each.erased):
                    # Somebody else has written: it takes two loads in a row without that to
                    # decide from memory again.
                    known = _Org(_account(account), each.erased, trusted=known is None)
                    lots = each.state.lots.values()
                    known.lots = {lot.lot: _lot(lot) for lot in lots if lot.remainder}
                else:
                    known.trusted = True
                _add(known, each, wanted[org])
                self._keep(org, known)

    def written(self, changes: Mapping[str, Changes], bases: Mapping[str, Base]) -> None:
        """Learn what was committed, as decided on these bases."""
        with self._lock:
            for org, change in changes.items():
                known = self._orgs.get(org)
                if change.opened:
                    known = _Org(_account(change.account), 0)
                elif known is None or known.base != bases[org]:
                    self._orgs.pop(org, None)
                    continue
                _apply(known, change)
                self._keep(org, known)

    def distrust(self, orgs: Iterable[str]) -> None:
        """Somebody else has written for one of them."""
        with self._lock:
            for org in orgs:
                if org in self._orgs:
                    self._orgs[org].trusted = False

    def _keep(self, org: str, known: _Org) -> None:
        if len(known.lots) > _ROWS:
            self._orgs.pop(org, None)
            return
        for rows in (known.holds, known.counters, known.items, known.members, known.cells):
            _bounded(rows, _ROWS)
        self._orgs[org] = known
        _bounded(self._orgs, _ORGS)


def _bounded(rows: dict[Any, Any], most: int) -> None:
    while len(rows) > most:
        del rows[next(iter(rows))]


# -- recalling ------------------------------------------------------------------


def _recalled(known: _Org, want: Wanted) -> OrgState | None:
    account = known.account
    due = account.next_lapse is not None and account.next_lapse <= want.until
    if due or account.debt or want.charges or want.all_holds:
        return None
    state = OrgState(_account(account))
    try:
        state.holds = {key: _hold(known.holds[key]) for key in want.holds}
        members = [(name, known.members[name]) for name in want.members]
        items = [(key, known.items[key]) for key in want.items]
        for resource, (first, last) in want.counters.items():
            since, counters = known.counters[resource]
            if first < since:
                return None
            for start in _spanned(counters, first, last):
                state.counters[resource, start] = _counter(counters[start])
        for hold in state.holds.values():
            for start, _, _ in hold.counted:
                resource = hold.resource or ""
                counter = known.counters[resource][1][start]
                state.counters.setdefault((resource, start), _counter(counter))
    except KeyError:
        return None
    state.lots = {number: _lot(lot) for number, lot in known.lots.items()}
    state.members = {name: number for name, number in members if number is not None}
    state.items = {key: _item(item) for key, item in items if item is not None}
    state.next_hold = account.next_lapse
    return state


def _spanned(counters: Iterable[int], first: int, last: int) -> list[int]:
    """The starts within a span, and the latest before it."""
    before = max((start for start in counters if start <= first), default=None)
    within = [start for start in counters if first < start <= last]
    return within if before is None else [before, *within]


# -- learning -------------------------------------------------------------------


def _add(known: _Org, found: Found, want: Wanted) -> None:
    state = found.state
    for hold in state.holds.values():
        if hold.state == "open":
            known.holds[hold.key] = _hold(hold)
    for name in want.members:
        known.members[name] = state.members.get(name)
    for key in want.items:
        item = state.items.get(key)
        known.items[key] = None if item is None else _item(item)
    for resource, (first, counters) in found.counters.items():
        # All from the one in force at the time asked for.
        since = min([first, *(counter.start for counter in counters)])
        kept = {counter.start: _counter(counter) for counter in counters}
        known.counters[resource] = since, kept


def _apply(known: _Org, change: Changes) -> None:
    known.account = _account(change.account)
    for lot in change.lots:
        if lot.remainder:
            known.lots[lot.lot] = _lot(lot)
        else:
            known.lots.pop(lot.lot, None)
    for hold in change.holds:
        if hold.state == "open":
            known.holds[hold.key] = _hold(hold)
        else:
            known.holds.pop(hold.key, None)
    for counter in change.counters:
        if counter.resource in known.counters:
            known.counters[counter.resource][1][counter.start] = _counter(counter)
    for item in change.items:
        known.items[item.item, item.resource] = _item(item)
    known.members.update((name, number) for number, name in change.members)
    for key, cell in change.cells.items():
        for name in cell.components or ("",):
            known.cells[key, name] = None


# -- copies ---------------------------------------------------------------------

_ACCOUNT = attrgetter(*(each.name for each in fields(Account)))
_LOT = attrgetter(*(each.name for each in fields(Lot)))


def _account(account: Account) -> Account:
    return Account(*_ACCOUNT(account))


def _lot(lot: Lot) -> Lot:
    return Lot(*_LOT(lot))


def _hold(hold: Hold) -> Hold:
    parts = [list(part) for part in hold.parts]
    return Hold(hold.key, hold.resource, hold.expires_at, hold.state, parts, list(hold.counted))


def _counter(counter: Counter) -> Counter:
    components = {name: list(each) for name, each in counter.components.items()}
    return Counter(counter.resource, counter.start, components)


def _item(item: Item) -> Item:
    components = {name: list(each) for name, each in item.components.items()}
    return Item(item.item, item.resource, components)
