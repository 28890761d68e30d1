"""Records to rows and back, on a given connection; knows no transaction."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar

from attrs import evolve

from billing_adapters.columns import (
    ACCOUNTS,
    AUTO_TOPUPS,
    CHARGES,
    COUNTERS,
    ENTRIES,
    EVENTS,
    HOLDS,
    ITEMS,
    LIMITS,
    LOTS,
    RUNS,
    SIZES,
    SPENDS,
    STORAGES,
    SUBSCRIPTIONS,
    TOPUPS,
    Column,
    Kind,
    Table,
    form_of,
    narrow,
)
from billing_adapters.json_rows import readable
from billing_adapters.sqlite.cache import AccountAndLots, Known
from billing_adapters.sqlite.inserts import inserted, put
from billing_core.ports.state import Changes
from billing_core.records.ledger import Account, Entry, Lot
from billing_core.records.usage import Cell, CellKey
from billing_core.values.money import MAX_NANOS
from billing_core.values.text import compact

__all__ = [
    "account", "cell", "charge", "counter", "entry", "hold", "hold_columns", "item", "limit", "lot",
    "record", "spend", "write",
]  # fmt: skip

R = TypeVar("R")


# -- rows to records ------------------------------------------------------------


def _read_of(column: Column) -> Callable[[Any], Any] | None:
    """What makes the field of what SQLite has; None where that is it."""
    read = column.read
    if column.kind == "json":
        return json.loads if read is None else lambda text: read(json.loads(text))
    return {"wide": int, "truth": bool}.get(column.kind)


def _values_of(table: Table[Any]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """What makes the values of a record's fields of a row of its columns."""
    places = [
        (place, read)
        for place, column in enumerate(table.columns)
        if (read := _read_of(column)) is not None
    ]

    def values(row: Sequence[Any]) -> Sequence[Any]:
        found = list(row)
        for place, read in places:
            if found[place] is not None:
                found[place] = read(found[place])
        return found

    return values if places else lambda row: row


def _record_of(table: Table[R]) -> Callable[[Sequence[Any]], R]:
    values, make = _values_of(table), table.make
    return lambda row: make(*values(row))


lot, hold, charge = _record_of(LOTS), _record_of(HOLDS), _record_of(CHARGES)
counter, item = _record_of(COUNTERS), _record_of(ITEMS)
limit, spend = _record_of(LIMITS), _record_of(SPENDS)
run, storage, topup = _record_of(RUNS), _record_of(STORAGES), _record_of(TOPUPS)
size, auto = _record_of(SIZES), _record_of(AUTO_TOPUPS)
subscription, event = _record_of(SUBSCRIPTIONS), _record_of(EVENTS)
_account_values = _values_of(ACCOUNTS)


def account(org: str, row: Sequence[Any]) -> Account:
    return Account(org, *_account_values(row))


def entry(org: str, row: Sequence[Any]) -> Entry:
    return readable("entries", row[:1], lambda row: ENTRIES.make(org, *row), row)


_HOLD_BEFORE = ", ".join(
    "NULL" if column.name == "used" else column.name for column in HOLDS.columns
)


def hold_columns(known: Known) -> str:
    """Those of a hold, NULL for one that the file does not have yet."""
    return HOLDS.selected if known.uses else _HOLD_BEFORE


def cell(row: Sequence[Any]) -> tuple[CellKey, Cell]:
    """Of grain, member, start, resource, payer, requests, amount, components."""
    components = readable("cells", row[:5], json.loads, row[7])
    return CellKey(*row[:5]), Cell(row[5], int(row[6]), components)


def wide(number: int) -> int | str:
    """A number as a wide column keeps it: a text where it passes SQLite's 64 bits."""
    return number if -MAX_NANOS <= number <= MAX_NANOS else str(number)


# -- writing --------------------------------------------------------------------

_WRITES: Mapping[Kind, Callable[[Any], Any]] = {"wide": wide, "narrow": narrow, "json": compact}


class _Written(Generic[R]):
    """How the rows of a table are written: the statement, and a row of an org's record."""

    def __init__(self, table: Table[R], verb: str = "INSERT") -> None:
        form = form_of(table, _WRITES)
        self.names, self.row = form.names, form.row
        self.put = put(table, form.names, verb=verb)


_ACCOUNTS, _LOTS, _HOLDS = _Written(ACCOUNTS), _Written(LOTS), _Written(HOLDS)
_COUNTERS, _ITEMS, _CHARGES = _Written(COUNTERS), _Written(ITEMS), _Written(CHARGES)
_LIMITS, _SPENDS, _SUBSCRIPTIONS = _Written(LIMITS), _Written(SPENDS), _Written(SUBSCRIPTIONS)
_RUNS, _STORAGES, _SIZES = _Written(RUNS), _Written(STORAGES), _Written(SIZES)
_TOPUPS, _AUTO_TOPUPS, _EVENTS = _Written(TOPUPS), _Written(AUTO_TOPUPS), _Written(EVENTS)
_ENTRIES = _Written(ENTRIES, "INSERT OR FAIL")  # see the triggers of the schema
_INSERT_MEMBER = inserted("members", "org_id, member, name")
_CHANGING = form_of(
    evolve(
        ACCOUNTS,
        columns=tuple(each for each in ACCOUNTS.columns if each.name in ACCOUNTS.changing),
    ),
    _WRITES,
)
_UPDATE_ACCOUNT = f"""
UPDATE accounts SET {", ".join(f"{name} = ?" for name in _CHANGING.names[1:])} WHERE org_id = ?
"""
# What stays unspent stays where it is in the index of unspent lots: most updates leave that alone.
_LEFT = [name for name in LOTS.changing if name != "spent"]
_UPDATE_LOT = f"""
UPDATE lots SET {", ".join(f"{name} = ?" for name in _LEFT)} WHERE lot = ? AND org_id = ?
    AND spent = 0
"""
_left = attrgetter(*_LEFT, "lot")
# Of a file that does not say yet what was charged by a hold.
_HOLDS_BEFORE = _Written(
    evolve(HOLDS, columns=tuple(each for each in HOLDS.columns if each.name != "used"))
)
_PUT_WAITING = """
INSERT INTO deliveries (org_id, seq, n, waiting, deliverer, until) VALUES (?, 0, 0, 1, '', 0)
ON CONFLICT (org_id) DO UPDATE SET waiting = 1
"""
_CELL = "org_id = ? AND grain = ? AND member = ? AND start = ? AND resource = ? AND payer = ?"
_SELECT_CELL = f"SELECT requests, amount, components FROM cells WHERE {_CELL}"
_INSERT_CELL = inserted(
    "cells", "org_id, grain, member, start, resource, payer, requests, amount, components"
)
_UPDATE_CELL = f"UPDATE cells SET requests = ?, amount = ?, components = ? WHERE {_CELL}"

_BY_KIND: Mapping[str, _Written[Any]] = {
    "items": _ITEMS,
    "charges": _CHARGES,
    "limits": _LIMITS,
    "spends": _SPENDS,
    "runs": _RUNS,
    "storages": _STORAGES,
    "sizes": _SIZES,
    "topups": _TOPUPS,
}
"""Records that are not remembered, by what changes call them."""
_by_kind = attrgetter(*_BY_KIND)

# The order in which tables are written.
_ORDER = (
    _ACCOUNTS.put,
    _UPDATE_ACCOUNT,
    _EVENTS.put,
    _INSERT_MEMBER,
    _UPDATE_LOT,
    _LOTS.put,
    _HOLDS_BEFORE.put,
    _HOLDS.put,
    _COUNTERS.put,
    _ITEMS.put,
    _CHARGES.put,
    _SUBSCRIPTIONS.put,
    _LIMITS.put,
    _SPENDS.put,
    _RUNS.put,
    _STORAGES.put,
    _SIZES.put,
    _TOPUPS.put,
    _AUTO_TOPUPS.put,
    _PUT_WAITING,
    _INSERT_CELL,
    _UPDATE_CELL,
)

_RANK = {statement: rank for rank, statement in enumerate(_ORDER)}

_Statements = defaultdict[str, list[Sequence[Any]]]
"""Rows to write, by statement."""


def record(db: sqlite3.Connection, changes: Mapping[str, Changes]) -> None:
    """Write the journal: raises IntegrityError where a key is on record."""
    # One at a time: a batch may have many.
    row = _ENTRIES.row
    rows = (row(org, each) for org, change in changes.items() for each in change.entries)
    db.executemany(_ENTRIES.put, rows)


def write(
    db: sqlite3.Connection,
    changes: Mapping[str, Changes],
    known: Known,
    lent: Mapping[str, AccountAndLots],
) -> None:
    """What else :class:`billing_core.ports.state.Changes` promises, a table at a time for all orgs.

    What it writes is ``known`` afterwards, and must be forgotten if this fails.  ``lent``: on
    which accounts and lots it was decided; they are then as they are written.
    """
    rows: _Statements = defaultdict(list)
    for org, change in changes.items():
        if change.opened:
            rows[_ACCOUNTS.put].append(_ACCOUNTS.row(org, change.account))
        else:
            rows[_UPDATE_ACCOUNT].append((*_CHANGING.row(org, change.account)[1:], org))
        _lot_rows(rows, org, change, lent[org][1] if org in lent else {})
        _hold_rows(rows, org, change, known)
        _counter_rows(rows, org, change, known)
        _plain_rows(rows, org, change)
        for number, name in change.members:
            known.members[org, name] = number
            rows[_INSERT_MEMBER].append((org, number, name))
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


def _lot_rows(rows: _Statements, org: str, changes: Changes, lots: dict[int, Lot]) -> None:
    """``lots``: the unspent ones before, and then after."""
    for each in changes.lots.values():
        if each.lot in lots and each.remainder:
            rows[_UPDATE_LOT].append((*_left(each), org))
        else:
            rows[_LOTS.put].append(_LOTS.row(org, each))
        if each.remainder:
            lots[each.lot] = each
        else:
            lots.pop(each.lot, None)


def _hold_rows(rows: _Statements, org: str, changes: Changes, known: Known) -> None:
    if not changes.holds:
        return
    written = _HOLDS if known.uses else _HOLDS_BEFORE
    put, row = rows[written.put], written.row
    for held in changes.holds.values():
        put.append(row(org, held))
        if held.state == "open":
            known.holds[org, held.key] = held
        else:
            known.holds.pop((org, held.key), None)


def _counter_rows(rows: _Statements, org: str, changes: Changes, known: Known) -> None:
    for each in changes.counters.values():
        latest = known.counters.get((org, each.resource))
        if latest is not None and latest.start <= each.start:
            known.counters[org, each.resource] = each
        rows[_COUNTERS.put].append(_COUNTERS.row(org, each))


def _plain_rows(rows: _Statements, org: str, changes: Changes) -> None:
    """Of what is not remembered."""
    for each in changes.events:
        rows[_EVENTS.put].append(_EVENTS.row(org, each))
    if changes.events:
        rows[_PUT_WAITING].append((org,))
    for since in changes.subscriptions:
        rows[_SUBSCRIPTIONS.put].append(_SUBSCRIPTIONS.row(org, since))
    if changes.auto is not None:
        rows[_AUTO_TOPUPS.put].append(_AUTO_TOPUPS.row(org, changes.auto))
    by_kind = _by_kind(changes)
    if not any(by_kind):
        return
    for written, records in zip(_BY_KIND.values(), by_kind, strict=True):
        if records:
            rows[written.put] += [written.row(org, each) for each in records.values()]


def _cell_rows(
    db: sqlite3.Connection, rows: _Statements, org: str, changes: Changes, known: Known
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
