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
    """What every success says: where it is on record, and the balance after it.

    The same command with the same key, sent again, gives an equal outcome (rule 7.2).

    Attributes:
        org: Whose account it is.
        key: The key that the command was given.
        seq: The number of the journal's entry; it counts up within the org.  A charge is named by
            it.
        at: The time of decision, UTC: never before that of an earlier entry (rule 6.7).
        balance: Nanos, right after this entry; debt makes it negative.
        replayed: True if the key was used before and this is the first outcome again.  It does not
            count in comparison.
    """

    org: str
    key: str
    seq: int
    at: datetime
    balance: int
    replayed: bool = field(eq=False)


@frozen
class Opened(Success):
    """The account exists.  The fields are those of :class:`Success`."""


@frozen
class Granted(Success):
    """Credit came in, as one lot.

    Attributes:
        amount: Nanos that came in.
        lot: The new lot's number.
        repaid: Nanos of ``amount`` that repaid debt at once (rule 6.5).
    """

    amount: int
    lot: int
    repaid: int


@frozen
class Held(Success):
    """Credit is reserved for one use.

    Attributes:
        amount: Nanos that are reserved; of a hold for a usage, the most that it can cost.
        expires_at: When the hold ends by itself, UTC (rule 6.3).
    """

    amount: int
    expires_at: datetime


@frozen
class Extended(Held):
    """The hold lives longer, and may have more.

    Attributes:
        amount: Nanos that the hold has now, in all.
        expires_at: When the hold now ends by itself, UTC.
    """


@frozen
class Released(Success):
    """The hold has ended, and nothing was charged by this.

    Attributes:
        freed: Nanos that went back to the lots that they were reserved of; 0 where the hold had
            ended by itself before.
    """

    freed: int


@frozen
class Charged(Success):
    """A charge: of a settlement, a deduct, or the later pricing of unpriced usage.

    It is named by ``seq``: give that to `reverse` and `explain`.
    ``amount`` = ``captured`` + ``paid`` + ``unpaid``.

    Attributes:
        amount: Nanos charged.
        captured: Nanos that the hold paid.
        paid: Nanos that other credit paid, from what was available.
        unpaid: Nanos that nothing paid: they are debt (rule 6.4).
        lines: One for each component: what was measured and billed, the price version, the nanos.
    """

    amount: int
    captured: int
    paid: int
    unpaid: int
    lines: tuple[Line, ...]

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The components that cost nothing yet, as no price was in force (rule 5.7)."""
        return tuple(line.component for line in self.lines if line.version is None)


@frozen
class Reversed(Success):
    """A charge was given back, whole or in part (rule 6.6).

    ``amount`` = ``forgiven`` + ``refilled``.  Where usage was undone, all four also count what was
    given back of other charges.

    Attributes:
        amount: Nanos given back.
        forgiven: Nanos by which debt of the charge became less.
        refilled: Nanos that went back to lots.
        expired: Nanos of ``refilled`` that expired again at once, as their lot had ended.
    """

    amount: int
    forgiven: int
    refilled: int
    expired: int


@frozen
class Restored(Success):
    """Credit that had expired too early came back, as new lots.

    Attributes:
        amount: Nanos that came back.
        lots: The numbers of the new lots.
        repaid: Nanos of ``amount`` that repaid debt at once (rule 6.5).
    """

    amount: int
    lots: tuple[int, ...]
    repaid: int


@frozen
class Closed(Success):
    """The account is closed for good.

    Attributes:
        amount: Nanos of credit that were left, and are now refunded or written off, as was asked.
            The engine pays nothing out: a refund is for you to make.
    """

    amount: int


@frozen
class Subscribed(Success):
    """The plan is as asked.

    Attributes:
        amount: Nanos of the plan's allowance that came in at once; 0: none.
        lot: The number of the lot that they are; None: none came in.
    """

    amount: int
    lot: int | None


@frozen
class Changed(Success):
    """A limit, or the mark of a low balance, is as asked.  The fields are those of `Success`."""


@frozen
class AutoTopUpSet(Changed):
    """The settings of the automatic top-up are as asked.

    Attributes:
        auto: How the automatic top-up stood right after, in the form in which it is stored.  Read
            `Billing.auto_topup` instead.
    """

    auto: Mapping[str, Any] = field(eq=False, repr=False)


@frozen
class RunStatus(Success):
    """How a sandbox run stands after a command (rule 8.3).

    Attributes:
        run: The run's name: the key of its start.
        state: ``active``, ``suspended``, ``pending`` (stopped, and its last stretch of time is not
            settled yet), ``settled`` or ``forgiven``.
        charged: Nanos that this command charged; negative: that it gave back.
        settled_to: Up to when the run's time is charged, UTC.
        funded_until: The deadline, UTC: credit pays for the run until then.  Stop it by then, or
            send a heartbeat before.
        bound_by: What keeps the deadline from being later: ``asked`` (it was not asked for more),
            ``horizon`` (prices are not certain beyond), ``balance``, ``lot_expiry``,
            ``org_limit``, ``member_limit``, ``project_limit`` or ``quota``.
    """

    run: str
    state: RunState
    charged: int
    settled_to: datetime
    funded_until: datetime
    bound_by: FundingBound


@frozen
class StorageStatus(Success):
    """How a workspace's storage stands after a command (rule 8.4).

    Attributes:
        workspace: The workspace's name.
        charged: Nanos that this command charged; negative: that it gave back.
        size: Bytes, by the latest report.
        billed_to: Up to when its storage is charged, UTC.
    """

    workspace: str
    charged: int
    size: int
    billed_to: datetime


@frozen
class TopUpOrdered(Success):
    """A top-up is on record, for the customer to pay.

    Attributes:
        topup: The id that the engine gave it.
    """

    topup: str


@frozen
class RefundRequested(Success):
    """A refund of a top-up's payment is on record; the provider is asked next.

    Attributes:
        topup: The top-up's id.
        refund: The id that the engine gave the refund.
    """

    topup: str
    refund: str


@frozen
class TopUpUpdated(Success):
    """What the provider says of a top-up is on record (rules 9.1 and 9.2).

    Attributes:
        topup: The top-up's id.
        state: Of a page: ``ordered``, ``open``, ``processing``, ``paid``, ``failed``, ``expired``
            or ``quarantined`` (money came, but not as it was ordered: nothing is credited).  Of an
            automatic attempt also ``due``, ``calling``, ``declined``, ``authentication_required``
            and ``dropped``.
        granted: Nanos of credit that the top-up brought in, in all.
        clawed: Nanos of ``granted`` that were taken back since, for a refund or a dispute.
        why: What the state comes from, in words or as the provider's code; None: nothing to tell.
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
"""What each reason means: see :class:`Refusal`."""


@frozen
class Refusal:
    """A business rule said no.  Nothing was written, and the key is still unused (rule 6.8).

    The reason is one of:

    - ``insufficient_credit``: it costs more than what is available (rule 6.2);
    - ``limit_reached``, ``quota_reached``: a limit or a quota leaves less (rule 8.7);
    - ``closed``: the account is closed;
    - ``hold_lapsed``, ``hold_released``: the hold that was to be extended has ended;
    - ``over_reversal``: less is left of the charge, or of the run, to give back (rule 6.6);
    - ``not_silent``: the run that was to be swept has given a sign of life, or has ended;
    - ``no_saved_method``: automatic top-ups need a saved method of payment;
    - ``not_paid``: the top-up that was to be refunded is not paid;
    - ``not_due``, ``dropped``: answers to the engine's own commands for top-ups.

    Attributes:
        org: Whose account it is.
        key: The key that the command was given.
        reason: Which rule, as above.
        shortfall: Nanos that are missing; 0 where no amount is, and of a quota.
        limit: What bound: ``balance``, ``org_limit``, ``member_limit``, ``project_limit``,
            ``quota``, or ``charge`` (no more of it can be given back); None: none of these.
        retryable: True if the same command may succeed later without anybody's doing, because a
            top-up is under way or a limit's day or period ends.
        retry_after: Seconds until then, where they are known.
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
    """A business rule said no: the methods of `Billing` raise what `execute` gives as a `Refusal`.

    Attributes:
        refusal: The :class:`Refusal`: the reason, the shortfall, and whether to try again.
    """

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
