"""What each command does to a workspace's storage: a step function of bytes over time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from billing_core.charging.expiry import lapse
from billing_core.charging.operations import (
    Decision,
    Operation,
    check_level,
    finish,
    occurred_at,
)
from billing_core.charging.time_charges import Piece, Whose, post, windows
from billing_core.commands.outcomes import Header, Outcome, StorageStatus
from billing_core.commands.storage import BillStorage, ReportStorage
from billing_core.errors import Conflict, NotFound
from billing_core.ledger.debts import repay
from billing_core.ledger.ledger import Ledger
from billing_core.ports.state import Wanted
from billing_core.pricing.price_book import VARIES
from billing_core.records.ledger import Entry
from billing_core.records.storage import Size, Storage
from billing_core.values.times import Window, micros, moment, spanning
from billing_core.values.usage import PLATFORM

__all__ = ["BYTE_US", "OPERATIONS", "integral"]

BYTE_US = "byte_us"
"""The component of storage: byte-microseconds."""

Steps = list[tuple[int, int]]
"""``(time, bytes from then on)``, by time."""


def _want(want: Wanted, command: ReportStorage | BillStorage, at: int, now: int) -> None:
    occurred = command.occurred_at
    time = at if occurred is None else micros("occurred_at", occurred)
    want.times = spanning(want.times, time)
    want.storages[command.workspace] = spanning(want.storages.get(command.workspace), time)


def integral(steps: Steps, window: Window) -> int:
    """Byte-microseconds in a window; before the first step there is nothing."""
    total = 0
    for index, (begin, size) in enumerate(steps):
        end = steps[index + 1][0] if index + 1 < len(steps) else window.end
        total += size * max(0, min(end, window.end) - max(begin, window.start))
    return total


def _steps(ledger: Ledger, workspace: str) -> Steps:
    sizes = ledger.state.sizes
    return sorted((at, size) for (name, at), size in sizes.items() if name == workspace)


def _post(
    ledger: Ledger,
    decision: Decision[Any],
    storage: Storage,
    span: Window,
    amount: Callable[[Window], int],
) -> int:
    pieces: list[Piece] = []
    for window in windows(ledger, storage.resource, span):
        quantity = amount(window)
        if quantity:
            pieces.append(Piece(window.end - 1, ((BYTE_US, quantity, PLATFORM),), 0))
    return post(ledger, Whose(storage, None, decision), pieces)


def _finish(ledger: Ledger, decision: Decision[Any], storage: Storage, charged: int) -> Outcome:
    repay(ledger)
    name = storage.workspace
    ledger.state.storages[name] = ledger.changes.storages[name] = storage
    stands = [charged, storage.size, storage.billed_to]
    effects = {"workspace": name, "stands": stands, "at": occurred_at(decision)}
    return finish(ledger, decision, abs(charged), effects)


def report(ledger: Ledger, decision: Decision[ReportStorage]) -> Outcome:
    command = decision.command
    at, size, name = occurred_at(decision), command.size, command.workspace
    lapse(ledger, decision)
    storage = ledger.state.storages.get(name)
    if storage is None:
        if command.facts:
            check_level("storage with facts", VARIES, ledger.terms)
        storage = Storage(name, at, at, size, facts=command.facts)
    elif command.facts not in ((), storage.facts):
        raise Conflict(f"workspace {name!r} has the facts {dict(storage.facts)} since it began")
    steps = _steps(ledger, name)
    index = bisect_right(steps, at, key=lambda each: each[0])
    before = steps[index - 1][1] if index else 0
    end = storage.billed_to
    if index < len(steps):
        end = min(end, steps[index][0])
    # What was billed of the time that this size holds for, is corrected.
    more = size - before
    charged = _post(
        ledger, decision, storage, Window(at, end), lambda each: more * (each.end - each.start)
    )
    if at >= storage.sized_at:
        storage.sized_at, storage.size = at, size
    ledger.state.sizes[name, at] = size
    ledger.changes.sizes[name, at] = Size(name, at, size)
    return _finish(ledger, decision, storage, charged)


def bill(ledger: Ledger, decision: Decision[BillStorage]) -> Outcome:
    command = decision.command
    storage = ledger.state.storages.get(command.workspace)
    if storage is None:
        raise NotFound("workspace", command.workspace, "nothing was reported of it")
    until = occurred_at(decision)
    lapse(ledger, decision)
    steps = _steps(ledger, command.workspace)
    ledger.measure(storage.billed_to, until)
    span = Window(storage.billed_to, until)
    charged = _post(ledger, decision, storage, span, lambda each: integral(steps, each))
    storage.billed_to = max(storage.billed_to, until)
    return _finish(ledger, decision, storage, charged)


def _stands(entry: Entry, base: Header, effects: Any) -> StorageStatus:
    charged, size, billed_to = effects["stands"]
    return StorageStatus(*base, effects["workspace"], charged, size, moment(billed_to))


OPERATIONS = (
    Operation(ReportStorage, report, _stands, _want, tops_up="use"),
    Operation(BillStorage, bill, _stands, _want, tops_up="use"),
)
