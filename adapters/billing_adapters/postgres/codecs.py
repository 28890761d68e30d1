"""Records to rows and back; knows no connection."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Protocol

from attrs import asdict

from billing_adapters.json_rows import readable
from billing_adapters.postgres.statements import Rows, Value
from billing_adapters.postgres.wire import Row
from billing_core.ports.state import Changes
from billing_core.records.events import Event
from billing_core.records.ledger import (
    Account,
    Charge,
    Entry,
    Hold,
    LimitSet,
    Lot,
    Spend,
    Subscription,
    Transfer,
)
from billing_core.records.runs import Run
from billing_core.records.storage import Size, Storage
from billing_core.records.topups import AutoTopUp, TopUp
from billing_core.records.usage import Cell, CellKey, Counter, Item, Line, UsageRecord
from billing_core.values.text import compact

__all__ = ["changed"]

ACCOUNT = (
    "org_id, currency, livemode, anchor, opened_at, seq, encode(head, 'hex'), watermark,"
    " next_lapse, balance, debt, granted, used, lots, members, closed_at, recorded_at, plan,"
    " paused, plan_since, period, allowance, ahead, rolled, rolled_of, limited_since,"
    " low_balance, topup_below, topup_from, topup_open, summed, erased"
)
ENTRY = (
    "seq, key, at, recorded_at, content, effects, amount, balance, transfers, usage,"
    " member, occurred_at, encode(hash, 'hex')"
)
LOT = "lot, seq, kind, priority, amount, remainder, reserved, expires_at, scope, period"
HOLD = "key, resource, expires_at, state, parts, counted, member, project, used"
COUNTER = "resource, start, components"
ITEM = "item, resource, components"
CHARGE = "charge, resource, amount, unpaid, reversed, payments, period, priced"
SUBSCRIPTION = "seq, since, plan"
LIMIT = "subject, per, amount, alerts, blocks"
SPEND = "subject, grain, start, amount"
RUN = "run, body"
STORAGE = "workspace, body"
SIZE = "workspace, at, size"
TOPUP = "topup, asked, body"


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


def account(row: Row) -> tuple[Account, int]:
    """The account, and how many of its members' names were erased."""
    found = Account(
        string(row[0]), string(row[1]), row[2] == b"t", whole(row[3]), whole(row[4]),
        whole(row[5]), digest(row[6]), whole(row[7]), maybe(row[8]), whole(row[9]),
        whole(row[10]), whole(row[11]), whole(row[12]), whole(row[13]), whole(row[14]),
        maybe(row[15]), whole(row[16]), named(row[17]), row[18] == b"t", whole(row[19]),
        whole(row[20]), whole(row[21]), whole(row[22]), whole(row[23]), maybe(row[24]),
        maybe(row[25]), maybe(row[26]), maybe(row[27]), whole(row[28]), row[29] == b"t",
        whole(row[30]),
    )  # fmt: skip
    return found, whole(row[31])


def lot(row: Row) -> Lot:
    scope = None if row[8] is None else tuple(json.loads(row[8]))
    return Lot(
        whole(row[0]), whole(row[1]), string(row[2]), whole(row[3]), whole(row[4]),
        whole(row[5]), whole(row[6]), maybe(row[7]), scope,
        maybe(row[9]),
    )  # fmt: skip


def hold(row: Row) -> Hold:
    key, resource, expires_at, state, parts, counted, member, project, used = row
    counts = [tuple(each) for each in json.loads(string(counted))]
    found = Hold(
        string(key), named(resource), whole(expires_at), string(state), json.loads(string(parts)),
        counts, whole(member), named(project),
    )  # fmt: skip
    found.read_used(named(used))
    return found


def counter(row: Row) -> Counter:
    return Counter(string(row[0]), whole(row[1]), json.loads(string(row[2])))


def item(row: Row) -> Item:
    return Item(string(row[0]), string(row[1]), json.loads(string(row[2])))


def charge(row: Row) -> Charge:
    found = Charge(
        whole(row[0]), string(row[1]), whole(row[2]), whole(row[3]), whole(row[4]),
        [], whole(row[6]), maybe(row[7]),
    )  # fmt: skip
    return found.read_payments(string(row[5]))


def subscription(row: Row) -> Subscription:
    return Subscription(whole(row[0]), whole(row[1]), named(row[2]))


def limit(row: Row) -> LimitSet:
    alerts = tuple(json.loads(string(row[3])))
    return LimitSet(string(row[0]), string(row[1]), maybe(row[2]), alerts, row[4] == b"t")


def spend(row: Row) -> Spend:
    return Spend(string(row[0]), string(row[1]), whole(row[2]), whole(row[3]))


def run(row: Row) -> Run:
    return Run.from_json(string(row[1]))


def storage(row: Row) -> Storage:
    return Storage.from_json(string(row[1]))


def size(row: Row) -> Size:
    return Size(string(row[0]), whole(row[1]), whole(row[2]))


def topup(row: Row) -> TopUp:
    return TopUp(**json.loads(string(row[2])), asked=string(row[1]))


def event(row: Row) -> Event:
    return Event(whole(row[0]), whole(row[1]), string(row[2]), string(row[3]))


def auto(row: Row) -> AutoTopUp:
    return AutoTopUp(**json.loads(string(row[0])))


def usage(text: bytes | None) -> UsageRecord:
    occurred_at, member, resource, item_, requests, lines, project = json.loads(string(text))
    parsed = tuple(Line(*line) for line in lines)
    return UsageRecord(occurred_at, member, resource, item_, requests, parsed, project)


def entry(org: str, row: Row) -> Entry:
    return readable("entries", row[:1], lambda row: _entry(org, row), row)


def _entry(org: str, row: Row) -> Entry:
    moved, used, filed = row[8], row[9], (maybe(row[10]), maybe(row[11]))
    transfers = () if moved is None else tuple(Transfer(*each) for each in json.loads(moved))
    record = None if used is None else usage(used)
    if filed != ((None, None) if record is None else (record.member, record.occurred_at)):
        raise ValueError("filed under another member or time than its own")
    read = Entry(
        org, whole(row[0]), string(row[1]), whole(row[2]), whole(row[3]), string(row[4]),
        string(row[5]), whole(row[6]), whole(row[7]), transfers, record, digest(row[12]),
    )  # fmt: skip
    return read.stored(named(moved), named(used))


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
    def holds(self) -> Mapping[str, Hold]: ...
    @property
    def counters(self) -> Mapping[str, tuple[int, Mapping[int, Counter]]]: ...
    @property
    def items(self) -> Mapping[tuple[str, str], Item | None]: ...
    @property
    def spends(self) -> Mapping[tuple[str, str, int], Spend | None]: ...
    @property
    def cells(self) -> Mapping[tuple[CellKey, str], None]: ...


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
        a = change.account
        row = (
            org, a.currency, a.livemode, a.anchor, a.opened_at, a.seq, a.head, a.watermark,
            a.next_lapse, a.balance, a.debt, a.granted, a.used, a.lots, a.members, a.closed_at,
            a.recorded_at, a.plan, a.paused, a.plan_since, a.period, a.allowance,
            a.ahead, a.rolled, a.rolled_of, a.limited_since, a.low_balance, a.topup_below,
            a.topup_from, a.topup_open, a.summed, erased, was,
        )  # fmt: skip
        (rows.put if change.opened else rows.updated)["accounts"].append(row)
        entries = rows.put["entries"]
        for each in change.entries:
            transfers, used = each.texts
            member = occurred_at = None
            if each.usage is not None:
                member, occurred_at = each.usage.member, each.usage.occurred_at
            entries.append((
                org, each.seq, each.key, each.at, each.recorded_at, each.content, each.effects,
                each.amount, each.balance, transfers, used, member, occurred_at, each.hash,
            ))  # fmt: skip
        _state_rows(rows, org, change, standing.get(org))
        _work_rows(rows, org, change)
        _cell_rows(rows, org, change, standing.get(org))
    return rows


def _state_rows(rows: Rows, org: str, change: Changes, standing: Standing | None) -> None:
    put, updated = rows.put, rows.updated
    for event in change.events:
        put["events"].append((org, *event))
    for number, name in change.members:
        put["members"].append((org, name, number))
    row: tuple[Value, ...]
    for lot in change.lots.values():
        scope = None if lot.scope is None else compact(lot.scope)
        row = (
            org, lot.lot, lot.seq, lot.kind, lot.priority, lot.amount, lot.remainder,
            lot.reserved, lot.expires_at, scope, lot.period, lot.remainder == 0,
        )  # fmt: skip
        stands = standing is not None and lot.lot <= standing.account.lots
        (updated if stands else put)["lots"].append(row)
    for hold in change.holds.values():
        parts, counted = compact(hold.parts), compact(hold.counted)
        row = (
            org, hold.key, hold.resource, hold.expires_at, hold.state, parts, counted,
            hold.member, hold.project, hold.used_text(),
        )  # fmt: skip
        stands = standing is not None and hold.key in standing.holds
        (updated if stands else put)["holds"].append(row)
    for counter in change.counters.values():
        row = org, counter.resource, counter.start, compact(counter.components)
        known = None if standing is None else standing.counters.get(counter.resource)
        stands = known is not None and counter.start in known[1]
        (updated if stands else put)["counters"].append(row)
    for item in change.items.values():
        row = org, item.item, item.resource, compact(item.components)
        named = item.item, item.resource
        stands = standing is not None and standing.items.get(named) is not None
        (updated if stands else put)["items"].append(row)
    for story in change.charges.values():
        amount, returned, payments = story.to_columns()
        row = (
            org, story.charge, story.resource, amount, story.unpaid, returned,
            payments, story.period, story.priced,
        )  # fmt: skip
        put["charges"].append(row)
    for since in change.subscriptions:
        put["subscriptions"].append((org, *since))
    for limit in change.limits.values():
        row = org, limit.subject, limit.per, limit.amount, compact(limit.alerts), limit.blocks
        put["limits"].append(row)
    for spend in change.spends.values():
        key = spend.subject, spend.grain, spend.start
        stands = standing is not None and standing.spends.get(key) is not None
        (updated if stands else put)["spends"].append((org, *key, spend.amount))


def _work_rows(rows: Rows, org: str, change: Changes) -> None:
    """Runs, storage, top-ups, and that there are events to be delivered."""
    for run in change.runs.values():
        rows.put["runs"].append((org, run.run, run.state, run.seen_at, run.to_json()))
    for storage in change.storages.values():
        rows.put["storages"].append((org, storage.workspace, storage.to_json()))
    for size in change.sizes.values():
        rows.put["sizes"].append((org, *size))
    for topup in change.topups.values():
        body = asdict(topup)
        asked = body.pop("asked")
        rows.put["topups"].append((org, topup.topup, topup.due_at, asked, compact(body)))
    if change.auto is not None:
        auto = compact(asdict(change.auto))
        rows.put["auto_topups"].append((org, change.auto.customer, auto))
    if change.events:
        rows.put["deliveries"].append((org, 0, 0, True, "", 0))


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
