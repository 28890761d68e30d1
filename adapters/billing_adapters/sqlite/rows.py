"""Records to rows and back, on a given connection; knows no transaction."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from billing_adapters.sqlite import over_time, topup_rows
from billing_adapters.sqlite.known import Known
from billing_core.ports import Changes, OrgState, Wanted
from billing_core.records import (
    Account,
    Cell,
    CellKey,
    Charge,
    Counter,
    Entry,
    Hold,
    Item,
    LimitSet,
    Line,
    Lot,
    Run,
    Spend,
    Storage,
    Subscription,
    Transfer,
    UsageRecord,
)
from billing_core.text import compact
from billing_core.times import Window, starts

__all__ = ["entries", "load", "write"]

_ENTRY = (
    "seq, key, at, recorded_at, content, effects, amount, balance, transfers, usage,"
    " member, occurred_at, hash"
)
LOT = "lot, seq, kind, priority, amount, remainder, reserved, expires_at, scope, period"
HOLD = "key, resource, expires_at, state, parts, counted, member, project"
CHARGE = "charge, resource, amount, unpaid, reversed, payments, period, priced"
LIMIT = "subject, per, amount, alerts, blocks"
SPEND = "subject, grain, start, amount"
_BY_KEY = f"SELECT {_ENTRY} FROM entries WHERE org_id = ? AND key = ?"
_AT_ONCE = 100
_BY_KEYS = (
    f"SELECT {_ENTRY} FROM entries INDEXED BY entries_key"
    f" WHERE org_id = ? AND key IN ({', '.join('?' * _AT_ONCE)})"
)
_BY_ORG = "SELECT * FROM accounts WHERE org_id = ?"
_LOTS_LEFT = f"SELECT {LOT} FROM lots INDEXED BY lots_left WHERE org_id = ? AND spent = 0"
_BY_NAME = "SELECT member FROM members WHERE org_id = ? AND name = ?"
_COUNTERS_DOWN = (
    "SELECT resource, start, components FROM counters"
    " WHERE org_id = ? AND resource = ? AND start <= ? ORDER BY start DESC"
)
_BY_NUMBER = f"SELECT {_ENTRY} FROM entries WHERE org_id = ? AND seq = ?"


# -- rows to records ------------------------------------------------------------


def account(row: Sequence[Any]) -> Account:
    found = Account(*row)
    found.livemode, found.paused = bool(found.livemode), bool(found.paused)
    found.topup_open = bool(found.topup_open)
    return found


def lot(row: Sequence[Any]) -> Lot:
    found = Lot(*row)
    if found.scope is not None:
        found.scope = tuple(json.loads(row[8]))
    return found


def hold(row: Sequence[Any]) -> Hold:
    key, resource, expires_at, state, parts, counted, member, project = row
    counts = [] if counted == "[]" else [tuple(each) for each in json.loads(counted)]
    return Hold(key, resource, expires_at, state, json.loads(parts), counts, member, project)


def charge(row: Sequence[Any]) -> Charge:
    found = Charge(*row)
    found.payments = json.loads(row[5])
    return found


def counter(row: Sequence[Any]) -> Counter:
    return Counter(row[0], row[1], json.loads(row[2]))


def item(row: Sequence[Any]) -> Item:
    return Item(row[0], row[1], json.loads(row[2]))


def limit(row: Sequence[Any]) -> LimitSet:
    subject, per, amount, alerts, blocks = row
    return LimitSet(subject, per, amount, tuple(json.loads(alerts)), bool(blocks))


def usage(text: str) -> UsageRecord:
    occurred_at, member, resource, item_, requests, lines, project = json.loads(text)
    parsed = tuple(Line(*line) for line in lines)
    return UsageRecord(occurred_at, member, resource, item_, requests, parsed, project)


def cell(row: Sequence[Any]) -> tuple[CellKey, Cell]:
    """Of grain, member, start, resource, payer, requests, amount, components."""
    return CellKey(*row[:5]), Cell(row[5], row[6], json.loads(row[7]))


def entry(org: str, row: Sequence[Any]) -> Entry:
    seq, key, at, recorded_at, content, effects, amount, balance, moved, used, *filed, digest = row
    transfers = () if moved is None else tuple(Transfer(*each) for each in json.loads(moved))
    record = None if used is None else usage(used)
    if filed != ([None, None] if record is None else [record.member, record.occurred_at]):
        raise ValueError(f"entry {seq} is filed under another member or time than its own")
    return Entry(
        org, seq, key, at, recorded_at, content, effects, amount, balance, transfers, record, digest
    )


def entries(db: sqlite3.Connection, org: str, where: str, values: Sequence[Any]) -> list[Entry]:
    """Entries of an org that meet a condition, which may end in ORDER BY and LIMIT."""
    query = f"SELECT {_ENTRY} FROM entries WHERE org_id = ? AND {where}"
    return [entry(org, row) for row in db.execute(query, (org, *values))]


# -- loading --------------------------------------------------------------------


def load(db: sqlite3.Connection, org: str, want: Wanted, known: Known) -> OrgState:
    """What :class:`billing_core.ports.OrgState` promises."""
    account_and_lots = known.orgs.get(org) or _load_org(db, org)
    if account_and_lots is None:
        return OrgState()
    known.orgs[org] = account_and_lots
    row, lots = account_and_lots
    state = OrgState(account(row), {number: lot(each) for number, each in lots.items()})
    assert state.account is not None
    next_lapse, debt = state.account.next_lapse, state.account.debt
    for row in _by_keys(db, org, list(want.keys)):
        found = entry(org, row)
        state.entries[found.key] = found
    for name in want.members:
        row = db.execute(_BY_NAME, (org, name)).fetchone()
        if row is not None:
            state.members[name] = row[0]
    if want.runs or want.storages:
        over_time.load(db, org, want, state)
    if want.holds or next_lapse is not None:
        _load_holds(db, org, want, state, next_lapse)
    if state.runs or state.storages:
        _load_stories(db, org, state)
    if want.charges or debt:
        _load_charges(db, org, want, state)
    if want.counters or want.items or state.holds or state.subjects or want.runs or want.storages:
        _load_counters(db, org, want, state)
    if state.account.plan_since or state.account.limited_since is not None:
        _load_terms(db, org, want, state, state.account)
    for key in want.sums:
        state.sums[key] = _sum(db, org, *key)
    topup_rows.load(db, org, want, state)
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


def _load_org(
    db: sqlite3.Connection, org: str
) -> tuple[tuple[Any, ...], dict[int, tuple[Any, ...]]] | None:
    row = db.execute(_BY_ORG, (org,)).fetchone()
    return None if row is None else (row, {lot[0]: lot for lot in db.execute(_LOTS_LEFT, (org,))})


def _load_holds(
    db: sqlite3.Connection, org: str, want: Wanted, state: OrgState, next_lapse: int | None
) -> None:
    for key in want.holds:
        row = db.execute(
            f"SELECT {HOLD} FROM holds WHERE org_id = ? AND key = ?", (org, key)
        ).fetchone()
        if row is not None:
            state.holds[key] = hold(row)
    state.next_hold = next_lapse
    due = next_lapse is not None and next_lapse <= want.until
    if due or want.all_holds:
        state.next_hold = None
        # Read in order, up to the first that is neither due nor known.
        for row in db.execute(
            f"SELECT {HOLD} FROM holds INDEXED BY holds_open"
            " WHERE org_id = ? AND state = 'open' ORDER BY expires_at",
            (org,),
        ):
            if want.all_holds or row[2] <= want.until:
                state.holds.setdefault(row[0], hold(row))
            elif row[0] not in state.holds:
                state.next_hold = row[2]
                break


def _load_counters(db: sqlite3.Connection, org: str, want: Wanted, state: OrgState) -> None:
    spans = list(want.counters.items())
    items = set(want.items)
    for subject in state.subjects.values():
        used = subject.usage
        if used is not None:
            spans.append((used.resource, (used.occurred_at, used.occurred_at)))
            if used.item is not None:
                items.add((used.item, used.resource))
    for resource, name, span in want.spans(state.runs, state.storages):
        spans.append((resource, span))
        items.add((name, resource))
    for resource, (first, last) in spans:
        for row in db.execute(_COUNTERS_DOWN, (org, resource, last)):
            state.counters[row[0], row[1]] = counter(row)
            if row[1] <= first:
                break
    for held in state.holds.values():
        for start, _, _ in held.counted:
            if (held.resource or "", start) not in state.counters:
                row = db.execute(
                    "SELECT resource, start, components FROM counters"
                    " WHERE org_id = ? AND resource = ? AND start = ?",
                    (org, held.resource, start),
                ).fetchone()
                state.counters[row[0], row[1]] = counter(row)
    for name, resource in items:
        row = db.execute(
            "SELECT item, resource, components FROM items"
            " WHERE org_id = ? AND item = ? AND resource = ?",
            (org, name, resource),
        ).fetchone()
        if row is not None:
            state.items[name, resource] = item(row)


_STORY = f"SELECT {CHARGE} FROM charges WHERE org_id = ? AND charge = ?"


def _load_stories(db: sqlite3.Connection, org: str, state: OrgState) -> None:
    """The stories of runs and of storage."""
    owners: list[Run | Storage] = [*state.runs.values(), *state.storages.values()]
    for owner in owners:
        for tab in owner.tabs:
            for row in db.execute(_STORY, (org, tab.charge)):
                state.charges[tab.charge] = charge(row)


def _load_charges(db: sqlite3.Connection, org: str, want: Wanted, state: OrgState) -> None:
    for number in want.charges:
        row = db.execute(_BY_NUMBER, (org, number)).fetchone()
        if row is None:
            continue
        subject = state.subjects[number] = entry(org, row)
        payers = {t.debit for t in subject.transfers if t.debit.startswith("lot:")}
        lots = {int(name[4:]) for name in payers}
        row = db.execute(_STORY, (org, number)).fetchone()
        if row is not None:
            story = state.charges[number] = state.charges.get(number) or charge(row)
            lots |= {paid for paid, _ in story.payments}
        for paid in lots - state.lots.keys():
            row = db.execute(
                f"SELECT {LOT} FROM lots WHERE org_id = ? AND lot = ?", (org, paid)
            ).fetchone()
            state.lots[paid] = lot(row)
    if state.account is not None and state.account.debt:
        rows = db.execute(
            f"SELECT {CHARGE} FROM charges INDEXED BY charges_unpaid"
            " WHERE org_id = ? AND unpaid > 0 ORDER BY charge LIMIT ?",
            (org, want.debts + 1),
        ).fetchall()
        state.all_debts = len(rows) <= want.debts
        for row in rows[: want.debts]:
            state.debts.append(state.charges.get(row[0]) or charge(row))


_SUBSCRIBED_DOWN = "SELECT seq, since, plan FROM subscriptions WHERE org_id = ? ORDER BY seq DESC"
_LIMITS = f"SELECT {LIMIT} FROM limits WHERE org_id = ? AND subject = ?"
_SPENDS = (
    f"SELECT {SPEND} FROM spends WHERE org_id = ? AND subject = ? AND grain = ?"
    " AND start BETWEEN ? AND ?"
)


def _load_terms(
    db: sqlite3.Connection, org: str, want: Wanted, state: OrgState, account: Account
) -> None:
    """The plans that the org had, its limits, and what counts towards them."""
    used = [each.usage for each in state.subjects.values() if each.usage is not None]
    times = [each.occurred_at for each in used] + list(want.times or ())
    times += [at for _, _, span in want.spans(state.runs, state.storages) for at in span]
    if times and min(times) < account.plan_since:
        for row in db.execute(_SUBSCRIBED_DOWN, (org,)):
            state.subscriptions.insert(0, Subscription(*row))
            if row[1] <= min(times):
                break
    if account.limited_since is None:
        return
    owners: list[UsageRecord | Hold | Run] = [*used, *state.holds.values()]
    owners += state.runs.values()
    subjects = {"org"} | {f"member:{number}" for number in state.members.values()}
    subjects |= {f"project:{name}" for name in want.projects}
    subjects |= {f"member:{each.member}" for each in owners if each.member}
    subjects |= {f"project:{each.project}" for each in owners if each.project is not None}
    for subject in sorted(subjects | {"member:*", "project:*"}):
        for row in db.execute(_LIMITS, (org, subject)):
            state.limits[row[0], row[1]] = limit(row)
    spans = {"held": Window(0, 0)}
    for grain in ("day", "period") if times else ():
        spans[grain] = starts(account.anchor, grain, min(times), max(times))
    for subject in sorted(subjects):
        for grain, span in spans.items():
            for row in db.execute(_SPENDS, (org, subject, grain, *span)):
                state.spends[row[0], row[1], row[2]] = Spend(*row)


def _sum(db: sqlite3.Connection, org: str, member: int | None, grain: str, start: int) -> int:
    # Added up here: SQL's own sum fails where it passes 64 bits on its way.
    query = "SELECT amount FROM cells WHERE org_id = ? AND grain = ? AND member = ? AND start = ?"
    members = cell_members(db, org, grain) if member is None else [member]
    return sum(
        amount for each in members for (amount,) in db.execute(query, (org, grain, each, start))
    )


def cell_members(db: sqlite3.Connection, org: str, grain: str) -> list[int]:
    """The members that have cells."""
    query = "SELECT min(member) FROM cells WHERE org_id = ? AND grain = ? AND member > ?"
    return _skip(db, query, (org, grain))


def used_by(db: sqlite3.Connection, org: str) -> list[int]:
    """The members that have used anything, 0 for none."""
    query = (
        "SELECT min(member) FROM entries INDEXED BY entries_usage"
        " WHERE org_id = ? AND member > ? AND occurred_at IS NOT NULL"
    )
    return _skip(db, query, (org,))


def _skip(db: sqlite3.Connection, query: str, values: tuple[Any, ...]) -> list[int]:
    """What a column has, by skipping from each to the next through an index."""
    found: list[int] = []
    [following] = db.execute(query, (*values, -1)).fetchone()
    while following is not None:
        found.append(following)
        [following] = db.execute(query, (*values, following)).fetchone()
    return found


# -- writing --------------------------------------------------------------------

_UPDATE_ACCOUNT = """
UPDATE accounts SET seq = ?, head = ?, watermark = ?, next_lapse = ?, balance = ?, debt = ?,
    granted = ?, used = ?, lots = ?, members = ?, closed_at = ?, recorded_at = ?, plan = ?,
    paused = ?, plan_since = ?, period = ?, allowance = ?, limited_since = ?, low_balance = ?,
    topup_below = ?, topup_from = ?, topup_open = ?
WHERE org_id = ?
"""
_INSERT_ACCOUNT = f"INSERT INTO accounts VALUES ({', '.join('?' * 27)})"
# OR FAIL: see the triggers of the schema.
_INSERT_ENTRY = f"INSERT OR FAIL INTO entries VALUES ({', '.join('?' * 14)})"
_INSERT_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?)"
_INSERT_MEMBER = "INSERT INTO members (org_id, member, name) VALUES (?, ?, ?)"
# What stays unspent stays where it is in the index of unspent lots: most updates leave that alone.
_UPDATE_LOT = """
UPDATE lots SET remainder = ?, reserved = ? WHERE org_id = ? AND lot = ? AND spent = 0
"""
_PUT_LOT = """
INSERT INTO lots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, lot) DO UPDATE SET
    remainder = excluded.remainder, reserved = excluded.reserved, spent = excluded.spent
"""
_PUT_HOLD = """
INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, key) DO UPDATE SET
    expires_at = excluded.expires_at, state = excluded.state, parts = excluded.parts,
    counted = excluded.counted
"""
_PUT_COUNTER = """
INSERT INTO counters VALUES (?, ?, ?, ?) ON CONFLICT (org_id, resource, start)
DO UPDATE SET components = excluded.components
"""
_PUT_ITEM = """
INSERT INTO items VALUES (?, ?, ?, ?) ON CONFLICT (org_id, item, resource)
DO UPDATE SET components = excluded.components
"""
_PUT_CHARGE = """
INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, charge) DO UPDATE SET
    amount = excluded.amount, unpaid = excluded.unpaid, reversed = excluded.reversed,
    payments = excluded.payments, priced = excluded.priced
"""
_INSERT_SUBSCRIPTION = "INSERT INTO subscriptions VALUES (?, ?, ?, ?)"
_PUT_LIMIT = """
INSERT INTO limits VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, subject, per) DO UPDATE SET
    amount = excluded.amount, alerts = excluded.alerts, blocks = excluded.blocks
"""
_PUT_SPEND = """
INSERT INTO spends VALUES (?, ?, ?, ?, ?) ON CONFLICT (org_id, subject, grain, start)
DO UPDATE SET amount = excluded.amount
"""
_CELL = "org_id = ? AND grain = ? AND member = ? AND start = ? AND resource = ? AND payer = ?"
_SELECT_CELL = f"SELECT requests, amount, components FROM cells WHERE {_CELL}"
_INSERT_CELL = "INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE_CELL = f"UPDATE cells SET requests = ?, amount = ?, components = ? WHERE {_CELL}"

# The order in which tables are written.
_ORDER = (
    _INSERT_ACCOUNT,
    _UPDATE_ACCOUNT,
    _INSERT_EVENT,
    _INSERT_MEMBER,
    _UPDATE_LOT,
    _PUT_LOT,
    _PUT_HOLD,
    _PUT_COUNTER,
    _PUT_ITEM,
    _PUT_CHARGE,
    _INSERT_SUBSCRIPTION,
    _PUT_LIMIT,
    _PUT_SPEND,
    *over_time.STATEMENTS,
    *topup_rows.STATEMENTS,
    _INSERT_CELL,
    _UPDATE_CELL,
)

_RANK = {statement: rank for rank, statement in enumerate(_ORDER)}

_Rows = defaultdict[str, list[tuple[Any, ...]]]
"""Rows to write, by statement."""


def write(db: sqlite3.Connection, changes: Mapping[str, Changes], known: Known) -> None:
    """What :class:`billing_core.ports.Changes` promises, a table at a time for all orgs.

    What it writes is ``known`` afterwards, and must be forgotten if this fails.
    """
    db.executemany(_INSERT_ENTRY, _journal_rows(changes))
    rows: _Rows = defaultdict(list)
    for org, change in changes.items():
        lots = known.orgs[org][1] if org in known.orgs else {}
        _account_rows(rows, org, change, known, lots)
        _lot_rows(rows, org, change, lots)
        _state_rows(rows, org, change)
        over_time.put(rows, org, change)
        topup_rows.put(rows, org, change)
        _cell_rows(db, rows, org, change, known)
    for statement in sorted(rows, key=_RANK.__getitem__):
        values = rows[statement]
        if len(values) == 1:
            db.execute(statement, values[0])
        else:
            db.executemany(statement, values)


def _account_rows(
    rows: _Rows, org: str, changes: Changes, known: Known, lots: dict[int, tuple[Any, ...]]
) -> None:
    a = changes.account
    row = (
        org, a.currency, a.livemode, a.anchor, a.opened_at, a.seq, a.head, a.watermark,
        a.next_lapse, a.balance, a.debt, a.granted, a.used, a.lots, a.members, a.closed_at,
        a.recorded_at, a.plan, a.paused, a.plan_since, a.period, a.allowance, a.limited_since,
        a.low_balance, a.topup_below, a.topup_from, a.topup_open,
    )  # fmt: skip
    if org in known.orgs or changes.opened:  # else its lots were not loaded
        known.orgs[org] = row, lots
    if changes.opened:
        rows[_INSERT_ACCOUNT].append(row)
    else:
        rows[_UPDATE_ACCOUNT].append((*row[5:], org))


def _journal_rows(changes: Mapping[str, Changes]) -> Iterator[tuple[Any, ...]]:
    """One at a time: a batch may have many."""
    for org, change in changes.items():
        for each in change.entries:
            transfers, used = each.texts
            member = occurred_at = None
            if each.usage is not None:
                member, occurred_at = each.usage.member, each.usage.occurred_at
            yield (
                org, each.seq, each.key, each.at, each.recorded_at, each.content, each.effects,
                each.amount, each.balance, transfers, used, member, occurred_at,
                each.hash,
            )  # fmt: skip


def _lot_rows(rows: _Rows, org: str, changes: Changes, lots: dict[int, tuple[Any, ...]]) -> None:
    for each in changes.lots:
        scope = None if each.scope is None else compact(each.scope)
        row = (
            each.lot, each.seq, each.kind, each.priority, each.amount, each.remainder,
            each.reserved, each.expires_at, scope, each.period,
        )  # fmt: skip
        if each.lot in lots and each.remainder:
            rows[_UPDATE_LOT].append((each.remainder, each.reserved, org, each.lot))
        else:
            rows[_PUT_LOT].append((org, *row, each.remainder == 0))
        if each.remainder:
            lots[each.lot] = row
        else:
            lots.pop(each.lot, None)


def _state_rows(rows: _Rows, org: str, changes: Changes) -> None:
    for number, name in changes.members:
        rows[_INSERT_MEMBER].append((org, number, name))
    for event in changes.events:
        rows[_INSERT_EVENT].append((org, *event))
    for held in changes.holds:
        parts, counted = compact(held.parts), compact(held.counted)
        row: tuple[Any, ...] = (
            org, held.key, held.resource, held.expires_at, held.state, parts, counted,
            held.member, held.project,
        )  # fmt: skip
        rows[_PUT_HOLD].append(row)
    for counted_ in changes.counters:
        row = (org, counted_.resource, counted_.start, compact(counted_.components))
        rows[_PUT_COUNTER].append(row)
    for run in changes.items:
        rows[_PUT_ITEM].append((org, run.item, run.resource, compact(run.components)))
    for story in changes.charges:
        put = (
            org, story.charge, story.resource, story.amount, story.unpaid, story.reversed,
            compact(story.payments), story.period, story.priced,
        )  # fmt: skip
        rows[_PUT_CHARGE].append(put)
    for since in changes.subscriptions:
        rows[_INSERT_SUBSCRIPTION].append((org, *since))
    for each in changes.limits:
        row = (org, each.subject, each.per, each.amount, compact(each.alerts), each.blocks)
        rows[_PUT_LIMIT].append(row)
    for spend in changes.spends:
        row = (org, spend.subject, spend.grain, spend.start, spend.amount)
        rows[_PUT_SPEND].append(row)


def _cell_rows(
    db: sqlite3.Connection, rows: _Rows, org: str, changes: Changes, known: Known
) -> None:
    # Added up here, not in SQL: that knows 64-bit integers only.
    for key, more in changes.cells.items():
        where = (org, *key)
        cell_ = known.cells.get((org, key))
        if cell_ is None:
            row = db.execute(_SELECT_CELL, where).fetchone()
            if row is not None:
                cell_ = known.cells[org, key] = Cell(row[0], row[1], json.loads(row[2]))
        if cell_ is not None:
            cell_.add(more)
            values = (cell_.requests, cell_.amount, compact(cell_.components))
            rows[_UPDATE_CELL].append((*values, *where))
        else:
            rows[_INSERT_CELL].append(
                (*where, more.requests, more.amount, compact(more.components))
            )
