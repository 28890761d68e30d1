"""What this process knows of orgs that it wrote last, so as to decide without asking.

A memory is right for as long as the account's row stands on the same head, which is a digest
of all that was ever written for the org, and no member's name was erased.  Whoever decides
on it writes on that condition (see the table ``accounts``); where it does not hold any more,
nothing is written.

A transaction checks out copies, which are its own and its decisions'.  What it has committed it
checks in: the records are the memory's from then on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

from attrs import define, field, fields

from billing_adapters.postgres.codecs import Standing
from billing_adapters.postgres.loader import Found, Hint
from billing_core.ports import required
from billing_core.ports.state import Changes, Loaded, OrgState, Wanted
from billing_core.records.ledger import Account, HoldRecord, LimitSet, Lot, Spend
from billing_core.records.usage import CellKey, Counter, Item, UsageRecord
from billing_core.values.times import DAY

__all__ = ["Base", "Known"]


Base = tuple[bytes, int]
"""The head on which something was decided, and how many names were erased by then."""

_ORGS = 10_000
_ROWS = 1_000  # of one org, of each kind


@define
class _Org:
    """``trusted``: whether nobody else has written lately.  ``lots``: all that are not spent.
    ``holds``: open ones.  ``counters``: by resource, the time from which on all are known,
    and they.  ``items``, ``members``, ``spends``: None for what is known not to be there.
    ``limits``: all of a subject's, by grain.  ``cells``: those that there are, with their
    components.  ``tail``: what these lack, or None."""

    account: Account
    erased: int
    trusted: bool = True
    lots: dict[int, Lot] = field(factory=dict)
    holds: dict[str, HoldRecord] = field(factory=dict)
    counters: dict[str, tuple[int, dict[int, Counter]]] = field(factory=dict)
    items: dict[tuple[str, str], Item | None] = field(factory=dict)
    members: dict[str, int | None] = field(factory=dict)
    limits: dict[str, dict[str, LimitSet]] = field(factory=dict)
    spends: dict[tuple[str, str, int], Spend | None] = field(factory=dict)
    cells: dict[tuple[CellKey, str], None] = field(factory=dict)
    tail: list[UsageRecord] | None = None

    @property
    def base(self) -> Base:
        return self.account.head, self.erased


class Known:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._orgs: dict[str, _Org] = {}
        self._lock = threading.Lock()

    def check_out(self, wanted: Mapping[str, Wanted]) -> tuple[Loaded, dict[str, Base]] | None:
        """Copies of what is wanted but for entries, and what they rest on; None where
        something of it is not known, or likely to be out of date."""
        loaded: Loaded = {}
        bases: dict[str, Base] = {}
        with self._lock:
            for org, want in wanted.items():
                known = self._orgs.get(org)
                if known is None or not known.trusted:
                    return None
                state = _checked_out(known, want)
                if state is None:
                    return None
                loaded[org] = state
                bases[org] = known.base
        return loaded, bases

    def standing(self, orgs: Iterable[str]) -> dict[str, Standing]:
        """What is known to stand in the tables: what has been committed never goes."""
        return {org: self._orgs[org] for org in orgs if org in self._orgs}

    def hints(self, wanted: Mapping[str, Wanted]) -> dict[str, Hint]:
        """Whose limits a load will ask for, be the memory out of date or not: a limited org
        stays one, and a member keeps the number."""
        found: dict[str, Hint] = {}
        with self._lock:
            for org, want in wanted.items():
                known = self._orgs.get(org)
                if known is not None and known.account.limited_since is not None:
                    numbers = {name: known.members.get(name) for name in want.members}
                    members = {name: each for name, each in numbers.items() if each is not None}
                    found[org] = Hint(known.account.anchor, members)
        return found

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

    def check_in(self, changes: Mapping[str, Changes], bases: Mapping[str, Base]) -> None:
        """Take what was committed, as decided on these bases.  The records are kept, not
        copied: who has them committed is done with them."""
        with self._lock:
            for org, change in changes.items():
                known = self._orgs.get(org)
                if change.opened:
                    known = _Org(change.account, 0)
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
        for rows in (
            known.holds, known.counters, known.items, known.members, known.limits, known.spends,
            known.cells,
        ):  # fmt: skip
            if len(rows) > _ROWS:
                _bounded(rows, _ROWS)
        self._orgs[org] = known
        _bounded(self._orgs, _ORGS)


def _bounded(rows: dict[Any, Any], most: int) -> None:
    while len(rows) > most:
        del rows[next(iter(rows))]


# -- checking out -------------------------------------------------------------


def _checked_out(known: _Org, want: Wanted) -> OrgState | None:
    account = known.account
    if not required.needs_only_named(want, account):
        return None
    state = OrgState(_account(account))
    state.covered, state.sought, state.times = required.required_spans(want, state)
    if required.tail(want, account):
        if known.tail is None:
            return None
        state.tail = list(known.tail)
    try:
        _copy_named(known, want, state)
        for resource, (first, last) in want.counters.items():
            since, counters = known.counters[resource]
            if first < since:
                return None
            for start in _spanned(counters, first, last):
                state.counters[resource, start] = counters[start].copy()
        for resource, start in required.held_in(state):
            state.counters[resource, start] = known.counters[resource][1][start].copy()
        if account.limited_since is not None:
            _copy_terms(known, want, state)
    except KeyError:
        return None
    for lot in known.lots.values():
        state.lots[lot.lot] = _lot(lot)
    state.next_hold = account.next_lapse
    return state


def _copy_named(known: _Org, want: Wanted, state: OrgState) -> None:
    """Holds, members and items; raises KeyError where not all is known."""
    for key in want.holds:
        state.holds[key] = known.holds[key].copy()
    for name in want.members:
        number = known.members[name]
        if number is not None:
            state.members[name] = number
    for named in want.items:
        item = known.items[named]
        if item is not None:
            state.items[named] = _item(item)


def _copy_terms(known: _Org, want: Wanted, state: OrgState) -> None:
    """Limits and what counts towards them; raises KeyError where not all is known."""
    who = required.limited_subjects(want, state)
    for subject in who | required.EVERYBODY:
        for grain, limit in known.limits[subject].items():
            state.limits[subject, grain] = limit
    first, last = want.times or (0, 0)
    if last - last % DAY - first > DAY:
        raise KeyError("there may be other windows between the two")
    for key in _windows(known.account.anchor, want, who):
        spend = known.spends[key]
        if spend is not None:
            state.spends[key] = _spend(spend)


def _windows(anchor: int, want: Wanted, who: Iterable[str]) -> list[tuple[str, str, int]]:
    """What counts towards limits at the times wanted: of windows, the first and the last."""
    spans = [required.windows(anchor, None)]
    spans += [required.windows(anchor, (time, time)) for time in want.times or ()]
    starts = {(grain, span.start) for each in spans for grain, span in each.items()}
    return [(subject, grain, start) for subject in who for grain, start in starts]


def _spanned(counters: Iterable[int], first: int, last: int) -> list[int]:
    """The starts within a span, and the latest before it."""
    before: int | None = None
    within: list[int] = []
    for start in counters:
        if first < start <= last:
            within.append(start)
        elif start <= first and (before is None or start > before):
            before = start
    return within if before is None else [before, *within]


# -- checking in ----------------------------------------------------------------


def _add(known: _Org, found: Found, want: Wanted) -> None:
    state = found.state
    if state.tail is not None:
        known.tail = list(state.tail)
    for hold in state.holds.values():
        if hold.state == "open":
            known.holds[hold.key] = hold.copy()
    for name in want.members:
        known.members[name] = state.members.get(name)
    for key in want.items:
        item = state.items.get(key)
        known.items[key] = None if item is None else _item(item)
    for resource, (first, counters) in found.counters.items():
        # All from the one in force at the time asked for.
        since = min([first, *(counter.start for counter in counters)])
        kept = {counter.start: counter.copy() for counter in counters}
        known.counters[resource] = since, kept
    if state.account is not None and state.account.limited_since is not None:
        who = required.limited_subjects(want, state)
        for subject in who | required.EVERYBODY:
            known.limits[subject] = {}
        for window in _windows(state.account.anchor, want, who):
            known.spends[window] = None
        for (subject, per), limit in state.limits.items():
            known.limits.setdefault(subject, {})[per] = limit
        for window, spend in state.spends.items():
            known.spends[window] = _spend(spend)


def _apply(known: _Org, change: Changes) -> None:
    known.account = change.account
    known.tail = change.tail(known.tail)
    _apply_credit(known, change)
    for counter in change.counters.values():
        if counter.resource in known.counters:
            known.counters[counter.resource][1][counter.start] = counter
    for item in change.items.values():
        known.items[item.item, item.resource] = item
    for number, name in change.members:
        known.members[name] = number
    for key, cell in change.cells.items():
        for name in cell.components or ("",):
            known.cells[key, name] = None
    for limit in change.limits.values():
        if limit.subject in known.limits:
            known.limits[limit.subject][limit.per] = limit
    for spend in change.spends.values():
        known.spends[spend.subject, spend.grain, spend.start] = spend


def _apply_credit(known: _Org, change: Changes) -> None:
    for lot in change.lots.values():
        if lot.remainder:
            known.lots[lot.lot] = lot
        else:
            known.lots.pop(lot.lot, None)
    for hold in change.holds.values():
        if hold.state == "open":
            known.holds[hold.key] = hold
        else:
            known.holds.pop(hold.key, None)


# -- copies ---------------------------------------------------------------------

_ACCOUNT = attrgetter(*(each.name for each in fields(Account)))
_LOT = attrgetter(*(each.name for each in fields(Lot)))


def _account(account: Account) -> Account:
    return Account(*_ACCOUNT(account))


def _lot(lot: Lot) -> Lot:
    return Lot(*_LOT(lot))


def _spend(spend: Spend) -> Spend:
    return Spend(spend.subject, spend.grain, spend.start, spend.amount)


def _item(item: Item) -> Item:
    components = {name: list(each) for name, each in item.components.items()}
    return Item(item.item, item.resource, components)
