"""Records to rows and back, on a given connection; knows no transaction."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from billing_adapters.json_rows import readable
from billing_adapters.sqlite import runs as over_time
from billing_adapters.sqlite import topups as topup_rows
from billing_adapters.sqlite.cache import Known
from billing_adapters.sqlite.inserts import inserted
from billing_core.ports.state import Changes
from billing_core.records.ledger import (
    Account,
    Charge,
    Entry,
    Hold,
    LimitSet,
    Lot,
    Spend,
    Transfer,
)
from billing_core.records.usage import Cell, CellKey, Counter, Item, Line, UsageRecord
from billing_core.values.money import MAX_NANOS
from billing_core.values.text import compact

__all__ = ["record", "write"]

ACCOUNT = (
    "org_id, currency, livemode, anchor, opened_at, seq, head, watermark, next_lapse, balance,"
    " debt, granted, used, lots, members, closed_at, recorded_at, plan, paused, plan_since,"
    " period, allowance, ahead, rolled, rolled_of, limited_since, low_balance, topup_below,"
    " topup_from, topup_open, summed"
)
ENTRY = (
    "seq, key, at, recorded_at, content, effects, amount, balance, transfers, usage,"
    " member, occurred_at, hash"
)
LOT = "lot, seq, kind, priority, amount, remainder, reserved, expires_at, scope, period"
HOLD = "key, resource, expires_at, state, parts, counted, member, project"
CHARGE = "charge, resource, amount, unpaid, reversed, payments, period, priced"
LIMIT = "subject, per, amount, alerts, blocks"
SPEND = "subject, grain, start, amount"


# -- rows to records ------------------------------------------------------------


def account(row: Sequence[Any]) -> Account:
    found = Account(*row)
    found.livemode, found.paused = bool(found.livemode), bool(found.paused)
    found.topup_open = bool(found.topup_open)
    found.granted, found.used = int(found.granted), int(found.used)
    return found


def lot(row: Sequence[Any]) -> Lot:
    found = Lot(*row)
    if found.scope is not None:
        found.scope = tuple(json.loads(row[8]))
    return found


def hold(row: Sequence[Any]) -> Hold:
    key, resource, expires_at, state, parts, counted, member, project, *used = row
    counts = [] if counted == "[]" else [tuple(each) for each in json.loads(counted)]
    found = Hold(key, resource, expires_at, state, json.loads(parts), counts, member, project)
    found.read_used(used[0] if used else None)
    return found


def hold_columns(known: Known) -> str:
    """Those that the file has."""
    return f"{HOLD}, used" if known.uses else HOLD


def charge(row: Sequence[Any]) -> Charge:
    return Charge(*row).read_payments(row[5])


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
    components = readable("cells", row[:5], json.loads, row[7])
    return CellKey(*row[:5]), Cell(row[5], int(row[6]), components)


def spend(row: Sequence[Any]) -> Spend:
    subject, grain, start, amount = row
    return Spend(subject, grain, start, int(amount))


def wide(number: int) -> int | str:
    """A number as a wide column keeps it: a text where it passes SQLite's 64 bits."""
    return number if -MAX_NANOS <= number <= MAX_NANOS else str(number)


def entry(org: str, row: Sequence[Any]) -> Entry:
    return readable("entries", row[:1], lambda row: _entry(org, row), row)


def _entry(org: str, row: Sequence[Any]) -> Entry:
    seq, key, at, recorded_at, content, effects, amount, balance, moved, used, *filed, digest = row
    transfers = () if moved is None else tuple(Transfer(*each) for each in json.loads(moved))
    record = None if used is None else usage(used)
    if filed != ([None, None] if record is None else [record.member, record.occurred_at]):
        raise ValueError("filed under another member or time than its own")
    read = Entry(
        org, seq, key, at, recorded_at, content, effects, amount, balance, transfers, record, digest
    )
    return read.stored(moved, used)


# -- writing --------------------------------------------------------------------

_UPDATE_ACCOUNT = """
UPDATE accounts SET seq = ?, head = ?, watermark = ?, next_lapse = ?, balance = ?, debt = ?,
    granted = ?, used = ?, lots = ?, members = ?, closed_at = ?, recorded_at = ?, plan = ?,
    paused = ?, plan_since = ?, period = ?, allowance = ?, ahead = ?, rolled = ?,
    rolled_of = ?, limited_since = ?, low_balance = ?, topup_below = ?, topup_from = ?,
    topup_open = ?, summed = ?
WHERE org_id = ?
"""
_INSERT_ACCOUNT = inserted("accounts", ACCOUNT)
# OR FAIL: see the triggers of the schema.
_INSERT_ENTRY = inserted("entries", f"org_id, {ENTRY}", verb="INSERT OR FAIL")
_INSERT_EVENT = inserted("events", "org_id, seq, n, kind, data")
_INSERT_MEMBER = inserted("members", "org_id, member, name")
# What stays unspent stays where it is in the index of unspent lots: most updates leave that alone.
_UPDATE_LOT = """
UPDATE lots SET remainder = ?, reserved = ? WHERE org_id = ? AND lot = ? AND spent = 0
"""
_PUT_LOT = f"""
{inserted("lots", f"org_id, {LOT}, spent")} ON CONFLICT (org_id, lot) DO UPDATE SET
    remainder = excluded.remainder, reserved = excluded.reserved, spent = excluded.spent
"""
_PUT_HOLD = f"""
{inserted("holds", f"org_id, {HOLD}")} ON CONFLICT (org_id, key) DO UPDATE SET
    expires_at = excluded.expires_at, state = excluded.state, parts = excluded.parts,
    counted = excluded.counted
"""
_PUT_USED_HOLD = f"""
{inserted("holds", f"org_id, {HOLD}, used")} ON CONFLICT (org_id, key) DO UPDATE SET
    expires_at = excluded.expires_at, state = excluded.state, parts = excluded.parts,
    counted = excluded.counted, used = excluded.used
"""
_PUT_COUNTER = f"""
{inserted("counters", "org_id, resource, start, components")} ON CONFLICT (org_id, resource, start)
DO UPDATE SET components = excluded.components
"""
_PUT_ITEM = f"""
{inserted("items", "org_id, item, resource, components")} ON CONFLICT (org_id, item, resource)
DO UPDATE SET components = excluded.components
"""
_PUT_CHARGE = f"""
{inserted("charges", f"org_id, {CHARGE}")} ON CONFLICT (org_id, charge) DO UPDATE SET
    amount = excluded.amount, unpaid = excluded.unpaid, reversed = excluded.reversed,
    payments = excluded.payments, priced = excluded.priced
"""
_INSERT_SUBSCRIPTION = inserted("subscriptions", "org_id, seq, since, plan")
_PUT_LIMIT = f"""
{inserted("limits", f"org_id, {LIMIT}")} ON CONFLICT (org_id, subject, per) DO UPDATE SET
    amount = excluded.amount, alerts = excluded.alerts, blocks = excluded.blocks
"""
_PUT_SPEND = f"""
{inserted("spends", f"org_id, {SPEND}")} ON CONFLICT (org_id, subject, grain, start)
DO UPDATE SET amount = excluded.amount
"""
_CELL = "org_id = ? AND grain = ? AND member = ? AND start = ? AND resource = ? AND payer = ?"
_SELECT_CELL = f"SELECT requests, amount, components FROM cells WHERE {_CELL}"
_INSERT_CELL = inserted(
    "cells", "org_id, grain, member, start, resource, payer, requests, amount, components"
)
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
    _PUT_USED_HOLD,
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


def record(db: sqlite3.Connection, changes: Mapping[str, Changes]) -> None:
    """Write the journal: raises IntegrityError where a key is on record."""
    db.executemany(_INSERT_ENTRY, _journal_rows(changes))


def write(db: sqlite3.Connection, changes: Mapping[str, Changes], known: Known) -> None:
    """What else :class:`billing_core.ports.state.Changes` promises, a table at a time for all orgs.

    What it writes is ``known`` afterwards, and must be forgotten if this fails.
    """
    rows: _Rows = defaultdict(list)
    for org, change in changes.items():
        _account_rows(rows, org, change)
        _lot_rows(rows, org, change, known)
        _state_rows(rows, org, change, known)
        _counter_rows(rows, org, change, known)
        over_time.put(rows, org, change)
        topup_rows.put(rows, org, change)
        _cell_rows(db, rows, org, change, known)
        tail = change.tail(known.tails.get(org))
        if tail is not None:
            known.tails[org] = tail
    for statement in sorted(rows, key=_RANK.__getitem__):
        values = rows[statement]
        if len(values) == 1:
            db.execute(statement, values[0])
        else:
            db.executemany(statement, values)


def _account_rows(rows: _Rows, org: str, changes: Changes) -> None:
    a = changes.account
    row = (
        a.seq, a.head, a.watermark, a.next_lapse, a.balance, a.debt, wide(a.granted), wide(a.used),
        a.lots, a.members, a.closed_at, a.recorded_at, a.plan, a.paused, a.plan_since, a.period,
        a.allowance, a.ahead, a.rolled, a.rolled_of, a.limited_since, a.low_balance,
        a.topup_below, a.topup_from, a.topup_open, a.summed,
    )  # fmt: skip
    if changes.opened:
        rows[_INSERT_ACCOUNT].append((org, a.currency, a.livemode, a.anchor, a.opened_at, *row))
    else:
        rows[_UPDATE_ACCOUNT].append((*row, org))


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


def _lot_rows(rows: _Rows, org: str, changes: Changes, known: Known) -> None:
    lent = known.lent.pop(org, None)
    lots = {} if lent is None else lent[1]
    if lent is not None and lent[0] is changes.account:
        known.orgs[org] = lent
    for each in changes.lots.values():
        if each.lot in lots and each.remainder:
            rows[_UPDATE_LOT].append((each.remainder, each.reserved, org, each.lot))
        else:
            rows[_PUT_LOT].append((org, *_lot(each), each.remainder == 0))
        if each.remainder:
            lots[each.lot] = each
        else:
            lots.pop(each.lot, None)


def _lot(lot: Lot) -> tuple[Any, ...]:
    scope = None if lot.scope is None else compact(lot.scope)
    return (
        lot.lot, lot.seq, lot.kind, lot.priority, lot.amount, lot.remainder, lot.reserved,
        lot.expires_at, scope, lot.period,
    )  # fmt: skip


def _state_rows(rows: _Rows, org: str, changes: Changes, known: Known) -> None:
    for number, name in changes.members:
        known.members[org, name] = number
        rows[_INSERT_MEMBER].append((org, number, name))
    for event in changes.events:
        rows[_INSERT_EVENT].append((org, *event))
    for held in changes.holds.values():
        parts, counted = compact(held.parts), compact(held.counted)
        row: tuple[Any, ...] = (
            org, held.key, held.resource, held.expires_at, held.state, parts, counted,
            held.member, held.project,
        )  # fmt: skip
        if known.uses:
            rows[_PUT_USED_HOLD].append((*row, held.used_text()))
        else:
            rows[_PUT_HOLD].append(row)
        if held.state == "open":
            known.holds[org, held.key] = held
        else:
            known.holds.pop((org, held.key), None)
    for run in changes.items.values():
        rows[_PUT_ITEM].append((org, run.item, run.resource, compact(run.components)))
    for story in changes.charges.values():
        amount, returned, payments = story.to_columns()
        put = (
            org, story.charge, story.resource, amount, story.unpaid, returned,
            payments, story.period, story.priced,
        )  # fmt: skip
        rows[_PUT_CHARGE].append(put)
    for since in changes.subscriptions:
        rows[_INSERT_SUBSCRIPTION].append((org, *since))
    for each in changes.limits.values():
        row = (org, each.subject, each.per, each.amount, compact(each.alerts), each.blocks)
        rows[_PUT_LIMIT].append(row)
    for spent in changes.spends.values():
        row = (org, spent.subject, spent.grain, spent.start, wide(spent.amount))
        rows[_PUT_SPEND].append(row)


def _counter_rows(rows: _Rows, org: str, changes: Changes, known: Known) -> None:
    for each in changes.counters.values():
        latest = known.counters.get((org, each.resource))
        if latest is not None and latest.start <= each.start:
            known.counters[org, each.resource] = each
        rows[_PUT_COUNTER].append((org, each.resource, each.start, compact(each.components)))


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
                cell_ = known.cells[org, key] = Cell(row[0], int(row[1]), json.loads(row[2]))
        if cell_ is not None:
            cell_.add(more)
            values = (cell_.requests, wide(cell_.amount), compact(cell_.components))
            rows[_UPDATE_CELL].append((*values, *where))
        else:
            rows[_INSERT_CELL].append(
                (*where, more.requests, wide(more.amount), compact(more.components))
            )
