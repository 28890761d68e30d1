"""Records to rows and back; knows no connection."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from billing_adapters.postgres.tables import Value
from billing_adapters.postgres.wire import Row
from billing_core.ports import Changes
from billing_core.records import (
    Account,
    Cell,
    CellKey,
    Charge,
    Counter,
    Entry,
    Hold,
    Item,
    Line,
    Lot,
    Transfer,
    UsageRecord,
)
from billing_core.text import compact

__all__ = ["changed"]

ACCOUNT = (
    "org_id, currency, livemode, anchor, opened_at, seq, encode(head, 'hex'), watermark,"
    " next_lapse, balance, debt, granted, used, lots, members, closed_at, erased"
)
ENTRY = (
    "seq, key, at, recorded_at, content, effects, amount, balance, transfers, usage,"
    " occurred_at, encode(hash, 'hex')"
)
LOT = "lot, seq, kind, priority, amount, remainder, reserved, expires_at, scope"
HOLD = "key, resource, expires_at, state, parts, counted"
COUNTER = "resource, start, components"
ITEM = "item, resource, components"
CHARGE = "charge, resource, amount, unpaid, reversed, payments, priced"


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


def digest(value: bytes | None) -> bytes:
    return bytes.fromhex(string(value))


def account(row: Row) -> tuple[Account, int]:
    """The account, and how many of its members' names were erased."""
    found = Account(
        string(row[0]), string(row[1]), row[2] == b"t", whole(row[3]), whole(row[4]),
        whole(row[5]), digest(row[6]), whole(row[7]), maybe(row[8]), whole(row[9]),
        whole(row[10]), whole(row[11]), whole(row[12]), whole(row[13]), whole(row[14]),
        maybe(row[15]),
    )  # fmt: skip
    return found, whole(row[16])


def lot(row: Row) -> Lot:
    scope = None if row[8] is None else tuple(json.loads(row[8]))
    return Lot(
        whole(row[0]), whole(row[1]), string(row[2]), whole(row[3]), whole(row[4]),
        whole(row[5]), whole(row[6]), maybe(row[7]), scope,
    )  # fmt: skip


def hold(row: Row) -> Hold:
    key, resource, expires_at, state, parts, counted = row
    named = None if resource is None else resource.decode()
    counts = [tuple(each) for each in json.loads(string(counted))]
    return Hold(
        string(key), named, whole(expires_at), string(state), json.loads(string(parts)), counts
    )


def counter(row: Row) -> Counter:
    return Counter(string(row[0]), whole(row[1]), json.loads(string(row[2])))


def item(row: Row) -> Item:
    return Item(string(row[0]), string(row[1]), json.loads(string(row[2])))


def charge(row: Row) -> Charge:
    return Charge(
        whole(row[0]), string(row[1]), whole(row[2]), whole(row[3]), whole(row[4]),
        json.loads(string(row[5])), maybe(row[6]),
    )  # fmt: skip


def usage(text: bytes | None) -> UsageRecord:
    occurred_at, member, resource, item_, requests, lines = json.loads(string(text))
    parsed = tuple(Line(*line) for line in lines)
    return UsageRecord(occurred_at, member, resource, item_, requests, parsed)


def entry(org: str, row: Row) -> Entry:
    moved, used, filed = row[8], row[9], maybe(row[10])
    transfers = () if moved is None else tuple(Transfer(*each) for each in json.loads(moved))
    record = None if used is None else usage(used)
    if filed != (None if record is None else record.occurred_at):
        number = whole(row[0])
        raise ValueError(f"entry {number} is filed at another time of occurrence than its own")
    return Entry(
        org, whole(row[0]), string(row[1]), whole(row[2]), whole(row[3]), string(row[4]),
        string(row[5]), whole(row[6]), whole(row[7]), transfers, record, digest(row[11]),
    )  # fmt: skip


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

Rows = dict[str, list[tuple[Value, ...]]]
"""Rows to be written, by table."""


def changed(changes: Mapping[str, Changes], bases: Mapping[str, tuple[bytes, int]]) -> Rows:
    """What :class:`billing_core.ports.Changes` promises, for all orgs, in sorted order.

    ``bases``: by org, the head on which the changes were decided, and the number of names
    erased by then.
    """
    rows: Rows = {}
    for org in sorted(changes):
        change = changes[org]
        was, erased = (b"", 0) if change.opened else bases[org]
        a = change.account
        rows.setdefault("accounts", []).append((
            org, a.currency, a.livemode, a.anchor, a.opened_at, a.seq, a.head, a.watermark,
            a.next_lapse, a.balance, a.debt, a.granted, a.used, a.lots, a.members, a.closed_at,
            erased, was,
        ))  # fmt: skip
        entries = rows.setdefault("entries", [])
        for each in change.entries:
            transfers, used = each.texts
            occurred_at = None if each.usage is None else each.usage.occurred_at
            entries.append((
                org, each.seq, each.key, each.at, each.recorded_at, each.content, each.effects,
                each.amount, each.balance, transfers, used, occurred_at, each.hash,
            ))  # fmt: skip
        _state_rows(rows, org, change)
        if change.cells:
            _cell_rows(rows.setdefault("cells", []), org, change.cells)
    return rows


def _state_rows(rows: Rows, org: str, change: Changes) -> None:
    if change.events:
        rows.setdefault("events", []).extend((org, *event) for event in change.events)
    if change.members:
        rows.setdefault("members", []).extend((org, name, n) for n, name in change.members)
    if change.lots:
        rows.setdefault("lots", []).extend(
            (
                org, each.lot, each.seq, each.kind, each.priority, each.amount, each.remainder,
                each.reserved, each.expires_at,
                None if each.scope is None else compact(each.scope), each.remainder == 0,
            )
            for each in change.lots
        )  # fmt: skip
    if change.holds:
        rows.setdefault("holds", []).extend(
            (
                org, each.key, each.resource, each.expires_at, each.state, compact(each.parts),
                compact(each.counted),
            )
            for each in change.holds
        )  # fmt: skip
    if change.counters:
        rows.setdefault("counters", []).extend(
            (org, each.resource, each.start, compact(each.components)) for each in change.counters
        )
    if change.items:
        rows.setdefault("items", []).extend(
            (org, each.item, each.resource, compact(each.components)) for each in change.items
        )
    if change.charges:
        rows.setdefault("charges", []).extend(
            (
                org, each.charge, each.resource, each.amount, each.unpaid, each.reversed,
                compact(each.payments), each.priced,
            )
            for each in change.charges
        )  # fmt: skip


def _cell_rows(rows: list[tuple[Value, ...]], org: str, cells_: Mapping[CellKey, Cell]) -> None:
    for key, cell in cells_.items():
        requests = cell.requests
        rest = cell.amount - sum(amount for _, amount in cell.components.values())
        for name, (quantity, amount) in cell.components.items():
            rows.append((org, *key, name, requests, rest, quantity, amount))
            requests = rest = 0
        if not cell.components:
            rows.append((org, *key, "", requests, rest, 0, 0))
