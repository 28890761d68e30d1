"""What a customer reads of the ledger: balance and history.  Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, get_args, overload

from attrs import frozen

from billing_core.charging.operations import Operation
from billing_core.ledger.ledger import Ledger
from billing_core.records.ledger import Entry, HistoryType
from billing_core.values.money import decimal_text
from billing_core.values.times import moment

__all__ = [
    "HISTORY_TYPES",
    "Balance",
    "HistoryPage",
    "HistoryRow",
    "LotLeft",
    "balance",
    "history_row",
]


@frozen
class LotLeft:
    """A lot with something left, in spending order; amounts in nanos.  ``period``: of an
    allowance, the start of the billing period whose usage it may pay for."""

    lot: int
    kind: str
    amount: int
    remainder: int
    reserved: int
    priority: int
    expires_at: datetime | None
    scope: tuple[str, ...] | None
    period: datetime | None


@frozen
class Balance:
    """An org's credit at a time, in nanos of ``currency``.

    ``balance`` = lots - ``debt``; ``held`` is reserved; ``available`` is what an
    unnamed use may have: unscoped, unreserved lots and the current period's allowance,
    less debt, so it can be negative.  ``plan``: the subscription.
    """

    org: str
    currency: str
    livemode: bool
    at: datetime
    balance: int
    available: int
    held: int
    debt: int
    granted: int
    used: int
    closed_at: datetime | None
    plan: str | None
    lots: tuple[LotLeft, ...]

    def __str__(self) -> str:
        return f"{decimal_text(self.balance)} {self.currency}"


def balance(ledger: Ledger, now: int) -> Balance:
    """The balance of a projected ledger."""
    account = ledger.account
    lots = tuple(
        LotLeft(
            lot.lot,
            lot.kind,
            lot.amount,
            lot.remainder,
            lot.reserved,
            lot.priority,
            None if lot.expires_at is None else moment(lot.expires_at),
            lot.scope,
            None if lot.period is None else moment(lot.period),
        )
        for lot in ledger.lots
        if lot.remainder
    )
    return Balance(
        org=account.org,
        currency=account.currency,
        livemode=account.livemode,
        at=moment(now),
        balance=account.balance,
        available=ledger.available(None, now),
        held=sum(lot.reserved for lot in lots),
        debt=account.debt,
        granted=account.granted,
        used=account.used,
        closed_at=None if account.closed_at is None else moment(account.closed_at),
        plan=account.plan,
        lots=lots,
    )


@frozen
class HistoryRow:
    """One movement of the balance.  ``amount``: its change, signed, in nanos.

    ``type``: ``topup`` (purchased credit), ``auto_topup``, ``clawback`` (its payment was
    refunded or disputed), ``reinstatement`` (and that was undone), ``grant`` (other credit),
    ``allowance`` (of the plan), ``usage``, ``refund`` (a charge reversed), ``expiry``,
    ``restoration`` (of what had expired too early),
    ``rollover`` (an allowance's end, of which ``amount`` expired), ``release`` (a hold's end
    that let credit expire or repaid debt), ``close``.  ``reference``: the caller's, or our id
    of the top-up.
    """

    seq: int
    type: HistoryType
    amount: int
    balance: int
    resource: str | None
    reference: str | None
    key: str
    at: datetime


HISTORY_TYPES: frozenset[str] = frozenset(get_args(HistoryType))
_WITHOUT_COMMAND: Mapping[str, HistoryType] = {
    "ahead": "allowance",
    "back": "refund",
    "credit": "topup",
    "piece": "usage",
    "undone": "refund",
}
"""What entries are called that are no command's own, but follow from one."""

_OF_TOPUPS = ("credit", "payment")


@frozen
class Expiry:
    """What expired with an entry of the journal: ``amount`` nanos, by lot in ``lots``.  ``at``:
    when, by the journal; ``recorded_at``: by the clock of the engine that recorded it."""

    seq: int
    at: datetime
    recorded_at: datetime
    amount: int
    lots: Mapping[int, int]


@frozen
class HistoryPage(Sequence[HistoryRow]):
    """Rows, newest first; ``next``: the ``before`` of the page that follows, None at the
    end."""

    rows: tuple[HistoryRow, ...]
    next: int | None

    @overload
    def __getitem__(self, index: int) -> HistoryRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[HistoryRow, ...]: ...
    def __getitem__(self, index: int | slice) -> HistoryRow | tuple[HistoryRow, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)


def history_row(entry: Entry, operations: Mapping[str, Operation[Any]]) -> HistoryRow:
    """How an entry that moved money reads; ``operations``: by the name that keys begin with."""
    change = sum(transfer.change for transfer in entry.transfers)
    content = json.loads(entry.content)
    op, _, key = entry.key.partition(":")
    operation = operations.get(op)
    kind = _WITHOUT_COMMAND.get(op) if operation is None else operation.history
    kind = kind or "release"  # what else moves money ends a hold, or repays debt
    if kind == "grant" and content["kind"] == "purchased":
        kind = "topup"
    if op == "credit" and content["kind"] == "auto":
        kind = "auto_topup"
    elif kind == "clawback" and content["taken"] < 0:
        kind = "reinstatement"
    elif op == "lapse" and key.startswith("period:"):
        kind = "allowance"
    elif kind == "expiry" and any(transfer.kind == "rollover" for transfer in entry.transfers):
        kind = "rollover"
    return HistoryRow(
        seq=entry.seq,
        type=kind,
        amount=change,
        balance=entry.balance,
        resource=None if entry.usage is None else entry.usage.resource,
        reference=content.get("topup") if op in _OF_TOPUPS else content.get("reference"),
        key=key,
        at=moment(entry.at),
    )
