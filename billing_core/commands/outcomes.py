"""What a command leads to, as values.

A success is built from the command's journal entry, the first time and at every replay alike,
as its :class:`billing_core.charging.operations.Operation` declares, so both are equal;
``replayed`` tells them apart and does not count in comparison.  A :class:`Refusal` is a
business rule's no.  The errors that a command can also lead to are in
:mod:`billing_core.errors`.

All amounts are nanos of the org's currency; ``seq`` is the entry's number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from attrs import field, frozen

from billing_core.errors import BillingError, Conflict, InvalidCommand, NotFound
from billing_core.records.ledger import Entry, LimitName
from billing_core.records.runs import FundingBound, RunState
from billing_core.records.topups import TopUpState
from billing_core.records.usage import Line
from billing_core.values.money import decimal_text
from billing_core.values.times import moment

__all__ = [
    "AutoTopUpSet",
    "Changed",
    "Charged",
    "Closed",
    "Extended",
    "Granted",
    "Header",
    "Held",
    "Opened",
    "Outcome",
    "RefundRequested",
    "Refusal",
    "RefusalReason",
    "Refused",
    "Released",
    "Restored",
    "Reversed",
    "RunStatus",
    "StorageStatus",
    "Subscribed",
    "Success",
    "TopUpOrdered",
    "TopUpUpdated",
    "changed",
    "charged",
    "header",
    "moved",
    "unwrapped",
]


@frozen
class Success:
    """What every success says: where it is on record, and the balance after it."""

    org: str
    key: str
    seq: int
    at: datetime
    balance: int
    replayed: bool = field(eq=False)


@frozen
class Opened(Success):
    """The account exists."""


@frozen
class Granted(Success):
    """Credit came in as lot number ``lot``; ``repaid`` of it paid debt at once."""

    amount: int
    lot: int
    repaid: int


@frozen
class Held(Success):
    """``amount`` is reserved until ``expires_at``."""

    amount: int
    expires_at: datetime


@frozen
class Extended(Held):
    """The hold now has ``amount`` and lives until ``expires_at``."""


@frozen
class Released(Success):
    """``freed`` went back to its lots (0 where the hold had lapsed)."""

    freed: int


@frozen
class Charged(Success):
    """A charge, named by ``seq``: of a settle, a deduct, or the pricing of what was
    unpriced.  ``amount`` = ``captured`` from the hold + ``paid`` from what was
    available + ``unpaid``, which is debt.  ``unpriced``: components without a price."""

    amount: int
    captured: int
    paid: int
    unpaid: int
    lines: tuple[Line, ...]

    @property
    def unpriced(self) -> tuple[str, ...]:
        return tuple(line.component for line in self.lines if line.version is None)


@frozen
class Reversed(Success):
    """``amount`` of a charge was given back: ``forgiven`` as less debt, ``refilled`` to
    lots, ``expired`` because the lot had.  Where usage was undone, of later charges too."""

    amount: int
    forgiven: int
    refilled: int
    expired: int


@frozen
class Restored(Success):
    """``amount`` that had expired came back, as these ``lots``; ``repaid`` of it paid debt at
    once."""

    amount: int
    lots: tuple[int, ...]
    repaid: int


@frozen
class Closed(Success):
    """The account is closed; ``amount`` was refunded or written off."""

    amount: int


@frozen
class Subscribed(Success):
    """The plan is as asked; ``amount`` of its allowance came in at once, as ``lot``."""

    amount: int
    lot: int | None


@frozen
class Changed(Success):
    """A limit or mark of the org's own is as asked."""


@frozen
class AutoTopUpSet(Changed):
    """The automatic top-up is as asked.  ``auto``: how it then stood, as it is kept."""

    auto: Mapping[str, Any] = field(eq=False, repr=False)


@frozen
class RunStatus(Success):
    """How a run stands after a command.  ``charged``: nanos that the command charged, or,
    negative, gave back.  ``settled_to``: its time is posted up to there.  ``funded_until``:
    credit funds it until then; ``bound_by``: what keeps that from being later."""

    run: str
    state: RunState
    charged: int
    settled_to: datetime
    funded_until: datetime
    bound_by: FundingBound


@frozen
class StorageStatus(Success):
    """How a workspace stands after a command.  ``charged``: nanos that the command charged,
    or, negative, gave back.  ``size``: the latest, in bytes."""

    workspace: str
    charged: int
    size: int
    billed_to: datetime


@frozen
class TopUpOrdered(Success):
    """A top-up is on record, for the customer to pay; ``topup`` is our id of it."""

    topup: str


@frozen
class RefundRequested(Success):
    """A refund of a top-up's payment is on record; ``refund`` is our id of it."""

    topup: str
    refund: str


@frozen
class TopUpUpdated(Success):
    """What the provider says of a top-up is on record.

    ``state``: as in :mod:`billing_core.records.topups`, and ``why``.  ``granted``: nanos of
    credit that
    it brought in all; ``clawed``: what of them was taken back since.
    """

    topup: str
    state: TopUpState
    granted: int
    clawed: int
    why: str | None

    @property
    def paid(self) -> bool:
        """Whether it was paid and credited."""
        return self.state == "paid"


RefusalReason = Literal[
    "insufficient_credit", "limit_reached", "quota_reached", "closed", "hold_lapsed",
    "hold_released", "over_reversal", "not_silent", "no_saved_method", "not_paid", "not_due",
    "dropped",
]  # fmt: skip
"""``not_silent``: of a run to be swept.  ``not_due`` and ``dropped`` answer the engine's own
commands for top-ups."""


@frozen
class Refusal:
    """A business rule said no; nothing was written and the key is still unused.

    ``shortfall``: nanos missing.  ``limit``: what bound.  ``retryable``: the same command may
    succeed without anyone's doing, after ``retry_after`` seconds if that is known: a top-up is in
    flight, or a window ends.
    """

    org: str
    key: str
    reason: RefusalReason
    shortfall: int = 0
    limit: LimitName | Literal["charge"] | None = None
    retryable: bool = False
    retry_after: float | None = None

    def __str__(self) -> str:
        some, none = _SAID.get(self.reason, ("", ""))
        why = some.format(decimal_text(self.shortfall)) if self.shortfall else none
        text = f"{self.reason} for key {self.key!r} of org {self.org!r}"
        text += f": {why}" if why else ""
        return text + ("" if self.limit is None else f" (bound by {self.limit})")


_OVER = "{} more than it leaves"
_SAID = {
    "insufficient_credit": ("{} more is needed", ""),
    "limit_reached": (_OVER, "nothing is left of it"),
    "quota_reached": (_OVER, "it is used up until its window ends"),
    "over_reversal": ("too much by {}", "nothing of it is left to give back"),
    "closed": ("", "the account is closed for good; open another org"),
    "hold_lapsed": ("", "the hold has expired; make another, or settle without it"),
    "hold_released": ("", "the hold was released; make another"),
    "not_silent": ("", "the run was seen since, or has ended; there is nothing to sweep"),
    "no_saved_method": ("", "top up with save_method=True first"),
    "not_paid": ("", "only a paid top-up has money to give back; wait until it is paid"),
}
"""What a refusal says beside its reason: with a shortfall, and without."""


class Refused(BillingError):
    """A business rule said no; ``refusal`` carries why, and whether to try again."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(str(refusal))


Outcome = Success | Refusal | InvalidCommand | Conflict | NotFound

_S = TypeVar("_S", bound=Success)


def unwrapped(outcomes: Sequence[Outcome], kind: type[_S]) -> _S:
    """The one success; raises what it is otherwise."""
    [result] = outcomes
    if isinstance(result, kind):
        return result
    if isinstance(result, Refusal):
        raise Refused(result)
    assert isinstance(result, BillingError)
    raise result


Header = tuple[str, str, int, datetime, int, bool]
"""The fields of :class:`Success`."""


def header(entry: Entry, *, replayed: bool) -> Header:
    """What every success says, of the entry that it is on record as."""
    key = entry.key.partition(":")[2]
    return entry.org, key, entry.seq, moment(entry.at), entry.balance, replayed


def moved(entry: Entry, kind: str) -> int:
    """How much an entry moved by transfers of a kind."""
    return sum(transfer.amount for transfer in entry.transfers if transfer.kind == kind)


def charged(entry: Entry, base: Header, _: object) -> Charged:
    """The outcome of whatever charges."""
    captured = paid = unpaid = 0
    for transfer in entry.transfers:
        if transfer.kind == "charge":
            paid += transfer.amount
        elif transfer.kind == "capture":
            captured += transfer.amount
        elif transfer.kind == "debt":
            unpaid += transfer.amount
    lines = entry.usage.lines if entry.usage is not None else ()
    return Charged(*base, entry.amount, captured, paid, unpaid, lines)


def changed(_: Entry, base: Header, __: object) -> Changed:
    """The outcome of setting a limit or a mark."""
    return Changed(*base)
