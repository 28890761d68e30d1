"""Records to rows and back; knows no connection."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

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
    Table,
)
from billing_adapters.json_rows import readable
from billing_adapters.postgres.statements import Rows, row_of
from billing_adapters.postgres.wire import Row
from billing_core.ports.state import Changes
from billing_core.records.ledger import Account, Entry, HoldRecord, Spend
from billing_core.records.usage import Cell, CellKey, Counter, Item

__all__ = ["changed"]

R = TypeVar("R")

_CALL: Any = operator.call  # no type checker knows it as map has it


def _selected(table: Table[Any]) -> str:
    return ", ".join(
        f"encode({column.name}, 'hex')" if column.kind == "digest" else column.name
        for column in table.columns
    )


ACCOUNT = f"org_id, {_selected(ACCOUNTS)}, erased"
ENTRY = _selected(ENTRIES)


# -- rows to records ------------------------------------------------------------


def whole(value: bytes | None) -> int:
    if value is None:
        raise ValueError("a number is missing")
    return int(value)


def maybe(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def string(value: bytes | None) -> str:
    if value is None:
        raise ValueError("a text is missing")
    return value.decode()


def named(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def digest(value: bytes | None) -> bytes:
    return bytes.fromhex(string(value))


def _read_of(column: Column) -> Callable[[Any], Any]:
    """What makes the field of what the server says, which is a text."""
    kind, made = column.kind, column.read
    if kind == "truth":
        return lambda value: value == b"t"
    read: Callable[[Any], Any] = bytes.decode if kind == "text" else int
    if kind == "digest":
        read = digest
    elif kind == "json":
        read = _loads if made is None else lambda value: made(_loads(value))
    return (lambda value: None if value is None else read(value)) if column.optional else read


def _loads(value: bytes) -> Any:
    return json.loads(value.decode())


def _values_of(table: Table[Any]) -> Callable[[Row], Iterable[Any]]:
    reads = [_read_of(column) for column in table.columns]
    return lambda row: map(_CALL, reads, row)


def _record_of(table: Table[R]) -> Callable[[Row], R]:
    values, make = _values_of(table), table.make
    return lambda row: make(*values(row))


lot, hold, charge = _record_of(LOTS), _record_of(HOLDS), _record_of(CHARGES)
counter, item = _record_of(COUNTERS), _record_of(ITEMS)
limit, spend = _record_of(LIMITS), _record_of(SPENDS)
run, storage, topup = _record_of(RUNS), _record_of(STORAGES), _record_of(TOPUPS)
size, auto = _record_of(SIZES), _record_of(AUTO_TOPUPS)
subscription, event = _record_of(SUBSCRIPTIONS), _record_of(EVENTS)
_account_values, _entry_values = _values_of(ACCOUNTS), _values_of(ENTRIES)


def account(row: Row) -> tuple[Account, int]:
    """The account, and how many of its members' names were erased."""
    org, *values, erased = row
    return Account(string(org), *_account_values(tuple(values))), whole(erased)


def entry(org: str, row: Row) -> Entry:
    return readable("entries", row[:1], lambda row: ENTRIES.make(org, *_entry_values(row)), row)


def cells(rows: Iterable[Row]) -> dict[CellKey, Cell]:
    """Of grain, member, start, resource, payer, component, requests, rest, quantity, amount."""
    found: dict[CellKey, Cell] = {}
    for row in rows:
        key = CellKey(string(row[0]), whole(row[1]), whole(row[2]), string(row[3]), string(row[4]))
        cell = found.setdefault(key, Cell())
        component, quantity, amount = string(row[5]), whole(row[8]), whole(row[9])
        cell.requests += whole(row[6])
        cell.amount += whole(row[7]) + amount
        if component:
            cell.components[component] = [quantity, amount]
    return found


# -- changes to rows ------------------------------------------------------------


class Standing(Protocol):
    """What is known to stand in the tables for an org: rows that are never taken away."""

    @property
    def account(self) -> Account: ...
    @property
    def holds(self) -> Mapping[str, HoldRecord]: ...
    @property
    def counters(self) -> Mapping[str, tuple[int, Mapping[int, Counter]]]: ...
    @property
    def items(self) -> Mapping[tuple[str, str], Item | None]: ...
    @property
    def spends(self) -> Mapping[tuple[str, str, int], Spend | None]: ...
    @property
    def cells(self) -> Mapping[tuple[CellKey, str], None]: ...


_account_row, _entry_row = row_of(ACCOUNTS), row_of(ENTRIES)
_lot_row, _hold_row = row_of(LOTS), row_of(HOLDS)
_counter_row, _item_row = row_of(COUNTERS), row_of(ITEMS)
_charge_row, _limit_row = row_of(CHARGES), row_of(LIMITS)
_spend_row, _run_row = row_of(SPENDS), row_of(RUNS)
_storage_row, _size_row = row_of(STORAGES), row_of(SIZES)
_topup_row, _auto_row = row_of(TOPUPS), row_of(AUTO_TOPUPS)
_subscription_row, _event_row = row_of(SUBSCRIPTIONS), row_of(EVENTS)


def changed(
    changes: Mapping[str, Changes],
    bases: Mapping[str, tuple[bytes, int]],
    standing: Mapping[str, Standing],
) -> Rows:
    """What :class:`billing_core.ports.state.Changes` promises, for all orgs, in sorted order.

    ``bases``: by org, the head on which the changes were decided, and the number of names
    erased by then.
    """
    rows = Rows()
    for org in sorted(changes):
        change = changes[org]
        was, erased = (b"", 0) if change.opened else bases[org]
        row = (*_account_row(org, change.account), erased, was)
        (rows.put if change.opened else rows.updated)["accounts"].append(row)
        rows.put["entries"] += [_entry_row(org, each) for each in change.entries]
        _state_rows(rows, org, change, standing.get(org))
        _plain_rows(rows, org, change)
        _cell_rows(rows, org, change, standing.get(org))
    return rows


def _state_rows(rows: Rows, org: str, change: Changes, standing: Standing | None) -> None:
    put, updated = rows.put, rows.updated
    for number, name in change.members:
        put["members"].append((org, name, number))
    for lot in change.lots.values():
        stands = standing is not None and lot.lot <= standing.account.lots
        (updated if stands else put)["lots"].append(_lot_row(org, lot))
    for hold in change.holds.values():
        stands = standing is not None and hold.key in standing.holds
        (updated if stands else put)["holds"].append(_hold_row(org, hold))
    for counter in change.counters.values():
        known = None if standing is None else standing.counters.get(counter.resource)
        stands = known is not None and counter.start in known[1]
        (updated if stands else put)["counters"].append(_counter_row(org, counter))
    for item in change.items.values():
        named = item.item, item.resource
        stands = standing is not None and standing.items.get(named) is not None
        (updated if stands else put)["items"].append(_item_row(org, item))
    for spend in change.spends.values():
        key = spend.subject, spend.grain, spend.start
        stands = standing is not None and standing.spends.get(key) is not None
        (updated if stands else put)["spends"].append(_spend_row(org, spend))


def _plain_rows(rows: Rows, org: str, change: Changes) -> None:
    """Of what nobody remembers, and that there are events to be delivered."""
    put = rows.put
    for event in change.events:
        put["events"].append(_event_row(org, event))
    if change.events:
        put["deliveries"].append((org, 0, 0, True, "", 0))
    for story in change.charges.values():
        put["charges"].append(_charge_row(org, story))
    for since in change.subscriptions:
        put["subscriptions"].append(_subscription_row(org, since))
    for limit in change.limits.values():
        put["limits"].append(_limit_row(org, limit))
    for run in change.runs.values():
        put["runs"].append(_run_row(org, run))
    for storage in change.storages.values():
        put["storages"].append(_storage_row(org, storage))
    for size in change.sizes.values():
        put["sizes"].append(_size_row(org, size))
    for topup in change.topups.values():
        put["topups"].append(_topup_row(org, topup))
    if change.auto is not None:
        put["auto_topups"].append(_auto_row(org, change.auto))


def _cell_rows(rows: Rows, org: str, change: Changes, standing: Standing | None) -> None:
    if not change.cells:
        return
    put, updated = rows.put["cells"], rows.updated["cells"]
    known = _NO_CELLS if standing is None else standing.cells
    for key, cell in change.cells.items():
        requests, rest = cell.requests, cell.amount
        for _, amount in cell.components.values():
            rest -= amount
        for name, (quantity, amount) in (cell.components or _NOTHING).items():
            row = (org, *key, name, requests, rest, quantity, amount)
            (updated if (key, name) in known else put).append(row)
            requests = rest = 0


_NOTHING: dict[str, list[int]] = {"": [0, 0]}
_NO_CELLS: dict[tuple[CellKey, str], None] = {}
