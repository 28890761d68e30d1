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
    """A lot with credit left; lots come in the order in which they are spent (rule 6.1).

    Attributes:
        lot: The lot's number.
        kind: ``purchased``, ``promotional`` or ``allowance``.
        amount: Nanos that came in.
        remainder: Nanos that are left of them, with what is reserved.
        reserved: Nanos of ``remainder`` that holds have reserved.
        priority: Lower is spent first.
        expires_at: From when it cannot be spent any more, UTC; None: never.
        scope: The resources that it may pay for; None: everything.
        period: Of an allowance, the start of the billing period whose usage it may pay for.
    """

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
    """An org's credit at a time, in nanos of its currency (rule 6.2).

    Attributes:
        org: Whose account it is.
        currency: Three capital letters.
        livemode: True: real money; False: a test account.
        at: The time, UTC.
        balance: Nanos: what is left of all lots, less ``debt``; it can be negative.
        available: Nanos for a use that names no resource: what is not reserved of lots
            without a scope and of the current period's allowance, less debt; it can be negative.
        held: Nanos that open holds have reserved.
        debt: Nanos that charges and clawbacks left unpaid.
        granted: Nanos of all credit that ever came in, used or not.
        used: Nanos that were ever charged, less what was given back.
        closed_at: When the account was closed, UTC; None: it is open.
        plan: The plan that it is subscribed to; None: none.
        lots: Those with something left, in the order in which they are spent.
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
    """One movement of an org's balance.

    ``type`` is one of:

    - ``topup``: credit that was bought; ``auto_topup``: automatically;
    - ``clawback``: taken back, as its payment was refunded or disputed; ``reinstatement``: and
    given
      back again;
    - ``grant``: other credit; ``allowance``: of the plan;
    - ``usage``: a charge; ``refund``: a charge given back;
    - ``expiry``: credit that has expired; ``restoration``: of what had expired too early;
    - ``rollover``: an allowance has ended, and ``amount`` of it expired;
    - ``release``: a hold has ended, and let credit expire or repaid debt;
    - ``close``: the account was closed.

    Attributes:
        seq: The number of the journal's entry.
        type: What happened, as above.
        amount: Nanos by which the balance changed; negative: it became less.
        balance: Nanos, right after.
        resource: What was used; None: nothing was.
        reference: The name that the caller gave, or the id of the top-up; None: none.
        key: The key of the command, or of what followed from one.
        at: The time of decision, UTC.
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
    """Credit that expired, with one entry of the journal.

    Attributes:
        seq: The entry's number, which `Billing.undo_expiry` takes.
        at: When it expired, UTC, by the journal.
        recorded_at: When it was recorded, UTC, by the clock of the engine that did.
        amount: Nanos.
        lots: Nanos by the number of the lot.
    """

    seq: int
    at: datetime
    recorded_at: datetime
    amount: int
    lots: Mapping[int, int]


@frozen
class HistoryPage(Sequence[HistoryRow]):
    """One page of an org's history, newest first: a sequence of :class:`HistoryRow`.

    Attributes:
        rows: The page's rows.
        next: What to give as ``before`` for the page that follows; None: this is the last.
    """

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
