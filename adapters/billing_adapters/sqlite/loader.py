"""An org's state, read from its tables on a given connection; knows no transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from billing_adapters.columns import ACCOUNTS, CHARGES, ENTRIES, LIMITS, LOTS, SPENDS, usage
from billing_adapters.sqlite import codecs, runs, topups
from billing_adapters.sqlite.cache import AccountAndLots, Known
from billing_core.ports import required
from billing_core.ports.state import LOOK_BACK, NEWEST, OrgState, Wanted
from billing_core.records import rollups
from billing_core.records.ledger import Account, Entry, Subscription
from billing_core.records.usage import Cell, CellKey, Counter, UsageRecord
from billing_core.values.patterns import END

__all__ = [
    "account_and_lots",
    "cell_members",
    "entries",
    "load",
    "recall",
    "snapshot",
    "tail_cells",
    "used_by",
]

_BY_KEY = f"SELECT {ENTRIES.selected} FROM entries WHERE org_id = ? AND key = ?"
_AT_ONCE = 100
_BY_KEYS = (
    f"SELECT {ENTRIES.selected} FROM entries INDEXED BY entries_key"
    f" WHERE org_id = ? AND key IN ({', '.join('?' * _AT_ONCE)})"
)
_BY_ORG = f"SELECT {ACCOUNTS.selected} FROM accounts WHERE org_id = ?"
_LOTS_LEFT = f"SELECT {LOTS.selected} FROM lots INDEXED BY lots_left WHERE org_id = ? AND spent = 0"
_BY_NAME = "SELECT member FROM members WHERE org_id = ? AND name = ?"
_COUNTERS_DOWN = (
    "SELECT resource, start, components FROM counters"
    " WHERE org_id = ? AND resource = ? ORDER BY start DESC"
)
# From each resource that has a counter to the next: not through all the periods of each.
_FAMILY = (
    "WITH RECURSIVE known (resource) AS (SELECT min(resource) FROM counters"
    " WHERE org_id = :org AND resource >= :first AND resource < :beyond UNION ALL"
    " SELECT (SELECT min(c.resource) FROM counters AS c WHERE c.org_id = :org"
    " AND c.resource > known.resource AND c.resource < :beyond) FROM known"
    " WHERE known.resource IS NOT NULL)"
    " SELECT c.resource, c.start, c.components FROM known JOIN counters AS c"
    " ON c.org_id = :org AND c.resource = known.resource AND c.start = :start"
    " ORDER BY c.resource"
)
_BY_NUMBER = f"SELECT {ENTRIES.selected} FROM entries WHERE org_id = ? AND seq = ?"


def entries(db: sqlite3.Connection, org: str, where: str, values: Sequence[Any]) -> list[Entry]:
    """Entries of an org that meet a condition, which may end in ORDER BY and LIMIT."""
    query = f"SELECT {ENTRIES.selected} FROM entries WHERE org_id = ? AND {where}"
    return [codecs.entry(org, row) for row in db.execute(query, (org, *values))]


def load(
    db: sqlite3.Connection,
    org: str,
    want: Wanted,
    known: Known,
    account_and_lots: AccountAndLots | None,
) -> OrgState:
    """What :class:`billing_core.ports.state.OrgState` promises, of an account and its lots."""
    if account_and_lots is None:
        return OrgState()
    account, lots = account_and_lots
    state = OrgState(account, lots.copy())
    for row in _by_keys(db, org, list(want.keys)):
        found = codecs.entry(org, row)
        state.entries[found.key] = found
    if want.members:
        _load_members(db, org, want, state, known)
    if want.runs or want.storages:
        runs.load(db, org, want, state)
    if want.holds or account.next_lapse is not None:
        _load_holds(db, org, want, state, account, known)
    if want.charges or state.runs or state.storages:
        _load_charges(db, org, want, state)
    if account.debt:
        _load_debts(db, org, want, state)
    state.covered, state.sought, state.times = required.required_spans(want, state)
    if state.covered or state.sought or state.holds:
        _load_counters(db, org, state, known)
    state.windows = set(want.windows)
    state.families = {
        (prefix, start): [
            codecs.counter(row)
            for row in db.execute(
                _FAMILY, {"org": org, "first": prefix, "beyond": prefix + END, "start": start}
            )
        ]
        for prefix, start in want.families
    }
    if account.plan_since or account.limited_since is not None:
        _load_plans_and_limits(db, org, want, state, account)
    if required.tail(want, account):
        _load_sums(db, org, want, state, known)
    for counter in want.newest:
        state.newest[counter[:2]] = _newest(db, org, counter, account.seq)
    if want.topups or want.auto:
        topups.load(db, org, want, state)
    return state


def snapshot(db: sqlite3.Connection, org: str, want: Wanted) -> OrgState:
    """The same, of what the file has: nothing is known before, or remembered."""
    return load(db, org, want, Known.nothing(db), account_and_lots(db, org))


def recall(org: str, want: Wanted, known: Known) -> OrgState | None:
    """What is wanted but for entries, as it is known; None where more is wanted than that.  The
    account and its lots are those that are known: whoever lets a decision change them checks them
    out."""
    if want.items:
        return None
    try:
        account, lots = known.orgs[org]
        if account.limited_since is not None or not required.needs_only_named(want, account):
            return None
        state = OrgState(account, lots.copy())
        state.next_hold = account.next_lapse
        state.covered, state.sought, state.times = required.required_spans(want, state)
        for key in want.holds:
            state.holds[key] = known.holds[org, key].copy()
        for name in want.members:
            state.members[name] = known.members[org, name]
        if required.tail(want, account):
            state.tail = list(known.tails[org])
        for resource, [(first, _)] in state.covered.items():
            latest = known.counters[org, resource]
            if latest.start > first:
                return None
            state.counters[resource, latest.start] = latest.copy()
        for resource, start in required.held_in(state) if state.holds else ():
            latest = known.counters[org, resource]
            if latest.start != start:
                return None
            state.counters[resource, start] = latest.copy()
    except KeyError:
        return None
    return state


def _by_keys(db: sqlite3.Connection, org: str, keys: list[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of the keys that are on record: many at a time, the rest one by one, so that
    there are two statements and not one for every number of keys."""
    first = 0
    while len(keys) - first >= _AT_ONCE:
        yield from db.execute(_BY_KEYS, (org, *keys[first : first + _AT_ONCE]))
        first += _AT_ONCE
    for key in keys[first:]:
        yield from db.execute(_BY_KEY, (org, key))


def account_and_lots(db: sqlite3.Connection, org: str) -> AccountAndLots | None:
    row = db.execute(_BY_ORG, (org,)).fetchone()
    if row is None:
        return None
    lots = {lot[0]: codecs.lot(lot) for lot in db.execute(_LOTS_LEFT, (org,))}
    return codecs.account(org, row), lots


def _load_members(
    db: sqlite3.Connection, org: str, want: Wanted, state: OrgState, known: Known
) -> None:
    for name in want.members:
        number = known.members.get((org, name))
        if number is None:
            row = db.execute(_BY_NAME, (org, name)).fetchone()
            number = None if row is None else row[0]
        if number is not None:
            state.members[name] = known.members[org, name] = number


def _load_holds(
    db: sqlite3.Connection, org: str, want: Wanted, state: OrgState, account: Account, known: Known
) -> None:
    for key in want.holds:
        hold = known.holds.get((org, key))
        if hold is not None:
            state.holds[key] = hold.copy()
            continue
        row = db.execute(
            f"SELECT {codecs.hold_columns(known)} FROM holds WHERE org_id = ? AND key = ?",
            (org, key),
        ).fetchone()
        if row is not None:
            state.holds[key] = codecs.hold(row)
    state.next_hold = account.next_lapse
    until = required.holds_until(want, account)
    if until is not None:
        state.next_hold = None
        # Read in order, up to the first that is neither due nor known.
        for row in db.execute(
            f"SELECT {codecs.hold_columns(known)} FROM holds INDEXED BY holds_open"
            " WHERE org_id = ? AND state = 'open' ORDER BY expires_at",
            (org,),
        ):
            if row[2] <= until:
                state.holds.setdefault(row[0], codecs.hold(row))
            elif row[0] not in state.holds:
                state.next_hold = row[2]
                break


def _counters(
    db: sqlite3.Connection, org: str, resource: str, span: tuple[int, int], known: Known
) -> Iterator[Counter]:
    """Those of the periods that any time of a span may fall in."""
    first, last = span
    latest = known.counters.get((org, resource))
    if latest is not None and latest.start <= first:
        yield latest.copy()
        return
    for row in db.execute(_COUNTERS_DOWN, (org, resource)):
        known.counters.setdefault((org, resource), codecs.counter(row))
        if row[1] <= last:
            yield codecs.counter(row)
        if row[1] <= first:
            return


def _load_counters(db: sqlite3.Connection, org: str, state: OrgState, known: Known) -> None:
    """The counters that are required, and the items."""
    for resource, spans in state.covered.items():
        for span in spans:
            for each in _counters(db, org, resource, span, known):
                state.counters[resource, each.start] = each
    for key in required.held_in(state):
        row = db.execute(
            "SELECT resource, start, components FROM counters"
            " WHERE org_id = ? AND resource = ? AND start = ?",
            (org, *key),
        ).fetchone()
        state.counters[key] = codecs.counter(row)
    for name, resource in state.sought:
        row = db.execute(
            "SELECT item, resource, components FROM items"
            " WHERE org_id = ? AND item = ? AND resource = ?",
            (org, name, resource),
        ).fetchone()
        if row is not None:
            state.items[name, resource] = codecs.item(row)


_STORY = f"SELECT {CHARGES.selected} FROM charges WHERE org_id = ? AND charge = ?"


def _load_charges(db: sqlite3.Connection, org: str, want: Wanted, state: OrgState) -> None:
    """The wanted charges, the stories of these and of runs and workspaces, and who paid."""
    for number in want.charges:
        for row in db.execute(_BY_NUMBER, (org, number)):
            state.subjects[number] = codecs.entry(org, row)
    for number in state.subjects.keys() | required.stories(state):
        for row in db.execute(_STORY, (org, number)):
            state.charges[number] = codecs.charge(row)
    for lot in required.payers(state):
        row = db.execute(
            f"SELECT {LOTS.selected} FROM lots WHERE org_id = ? AND lot = ?", (org, lot)
        ).fetchone()
        state.lots[lot] = codecs.lot(row)


def _load_debts(db: sqlite3.Connection, org: str, want: Wanted, state: OrgState) -> None:
    unpaid = db.execute(
        f"SELECT {CHARGES.selected} FROM charges INDEXED BY charges_unpaid"
        " WHERE org_id = ? AND unpaid > 0 ORDER BY charge LIMIT ?",
        (org, want.debts + 1),
    ).fetchall()
    state.all_debts = len(unpaid) <= want.debts
    for row in unpaid[: want.debts]:
        state.debts.append(state.charges.get(row[0]) or codecs.charge(row))


_NEWEST = (
    "SELECT seq FROM entries WHERE org_id = ? AND seq > ? AND occurred_at >= ? AND occurred_at < ?"
    " AND amount > 0 AND substr(key, 1, instr(key, ':') - 1) IN ('settle', 'deduct', 'price')"
    " AND json_extract(usage, '$[2]') = ? ORDER BY seq DESC LIMIT ?"
)


def _newest(
    db: sqlite3.Connection, org: str, counter: tuple[str, int, int], last: int
) -> list[int]:
    """The latest charges that were counted in a counter."""
    resource, start, end = counter
    values = (org, last - LOOK_BACK, start, end, resource, NEWEST)
    return [seq for (seq,) in db.execute(_NEWEST, values)]


_SUBSCRIBED_DOWN = "SELECT seq, since, plan FROM subscriptions WHERE org_id = ? ORDER BY seq DESC"
_LIMITS = f"SELECT {LIMITS.selected} FROM limits WHERE org_id = ? AND subject = ?"
_SPENDS = (
    f"SELECT {SPENDS.selected} FROM spends WHERE org_id = ? AND subject = ? AND grain = ?"
    " AND start BETWEEN ? AND ?"
)


def _load_plans_and_limits(
    db: sqlite3.Connection, org: str, want: Wanted, state: OrgState, account: Account
) -> None:
    """The plans that the org had, its limits, and what counts towards them."""
    since = required.plans_from(account, state.times)
    if since is not None:
        for row in db.execute(_SUBSCRIBED_DOWN, (org,)):
            state.subscriptions.insert(0, Subscription(*row))
            if row[1] <= since:
                break
    if account.limited_since is None:
        return
    whose = required.limited_subjects(want, state)
    for subject in sorted(whose | required.EVERYBODY):
        for row in db.execute(_LIMITS, (org, subject)):
            state.limits[row[0], row[1]] = codecs.limit(row)
    spans = required.windows(account.anchor, state.times)
    for subject in sorted(whose):
        for grain, span in spans.items():
            for row in db.execute(_SPENDS, (org, subject, grain, *span)):
                state.spends[row[0], row[1], row[2]] = codecs.spend(row)
    if want.windows:
        _load_windows(db, org, want, state)


def _load_windows(db: sqlite3.Connection, org: str, want: Wanted, state: OrgState) -> None:
    """What everybody has spent in windows, and all limits."""
    for row in db.execute(f"SELECT {LIMITS.selected} FROM limits WHERE org_id = ?", (org,)):
        state.limits[row[0], row[1]] = codecs.limit(row)
    query = "SELECT min(subject) FROM spends WHERE org_id = ? AND subject > ?"
    for subject in _distinct_by_index(db, query, (org,), ""):
        for grain, start in want.windows:
            for row in db.execute(_SPENDS, (org, subject, grain, start, start)):
                state.spends[row[0], row[1], row[2]] = codecs.spend(row)


def _load_sums(
    db: sqlite3.Connection, org: str, want: Wanted, state: OrgState, known: Known
) -> None:
    for key in want.sums:
        state.sums[key] = _sum(db, org, *key)
    tail = known.tails.get(org)
    if tail is None:
        tail = known.tails[org] = _tail(db, org)
    state.tail = list(tail)


def _tail(db: sqlite3.Connection, org: str) -> list[UsageRecord]:
    query = (
        "SELECT usage FROM entries WHERE org_id = ? AND usage IS NOT NULL"
        " AND seq > (SELECT summed FROM accounts WHERE org_id = ?) ORDER BY seq"
    )
    return [usage(text) for (text,) in db.execute(query, (org, org))]


def tail_cells(db: sqlite3.Connection, org: str) -> dict[CellKey, Cell]:
    """What the kept cells lack."""
    row = db.execute("SELECT anchor FROM accounts WHERE org_id = ?", (org,)).fetchone()
    return {} if row is None else rollups.tail_cells(_tail(db, org), row[0])


def _sum(db: sqlite3.Connection, org: str, member: int | None, grain: str, start: int) -> int:
    # Added up here: SQL's own sum fails where it passes 64 bits on its way.
    query = "SELECT amount FROM cells WHERE org_id = ? AND grain = ? AND member = ? AND start = ?"
    members = cell_members(db, org, grain) if member is None else [member]
    return sum(
        int(amount)
        for each in members
        for (amount,) in db.execute(query, (org, grain, each, start))
    )


def cell_members(db: sqlite3.Connection, org: str, grain: str) -> list[int]:
    """The members that have cells."""
    query = "SELECT min(member) FROM cells WHERE org_id = ? AND grain = ? AND member > ?"
    return _distinct_by_index(db, query, (org, grain))


def used_by(db: sqlite3.Connection, org: str) -> list[int]:
    """The members that have used anything, 0 for none."""
    query = (
        "SELECT min(member) FROM entries INDEXED BY entries_usage"
        " WHERE org_id = ? AND member > ? AND occurred_at IS NOT NULL"
    )
    return _distinct_by_index(db, query, (org,))


def _distinct_by_index(
    db: sqlite3.Connection, query: str, values: tuple[Any, ...], least: Any = -1
) -> list[Any]:
    """What a column has, by skipping from each to the next through an index."""
    found: list[Any] = []
    [following] = db.execute(query, (*values, least)).fetchone()
    while following is not None:
        found.append(following)
        [following] = db.execute(query, (*values, following)).fetchone()
    return found
