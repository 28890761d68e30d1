"""Commands that charge for usage, price it later, and give back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from attrs import field, frozen

from billing_core.commands.base import (
    Command,
    check_command,
    check_cost,
    check_hold,
    check_labels,
    check_occurred,
    check_positive,
    cost_text,
    labels,
)
from billing_core.errors import InvalidCommand
from billing_core.values.money import Money
from billing_core.values.text import checked_name, quoted
from billing_core.values.times import micros
from billing_core.values.usage import Usage, check_usage

__all__ = ["Deduct", "PriceUnpriced", "Reverse", "Settle", "check_charge"]


@frozen(kw_only=True)
class Settle(Command):
    """Charge what was really used.  Measured usage is never refused (rule 6.4).

    It is paid from the hold, then from what is available, and the rest becomes debt.  A component
    without a price is recorded as unpriced, and costs nothing yet (rule 5.7).  A second settlement
    of a settled hold is a `Conflict`.

    A report counts one request for each call.  Where the usage names an item, the item's first
    settlement is counted.  Without an item, it is the settlement that ends the hold; without a
    hold, each settlement.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        usage: What was used, as `tokens`, `tool`, `code` or `Usage.of` give it.
        hold: The key of the hold that pays first; None: none.
        final: True: the hold ends.  False: more settlements of it follow.
        as_held: True: for the member that the hold was made for, whose name is then not given, and
            may have been erased meanwhile.  Needs ``hold``.
        part: Where no item is named, whether another settlement counts the call as a request (True)
            or this one does (False); None: as said above.
        member: Who used it, for limits and reports.
        project: An API key, a team, or whatever else spending is grouped by.
        reference: Your own name for what it is about; it stands in the history.
        occurred_at: When it was used, UTC; this decides price and billing period (rule 6.7).  None:
            at the command's own time.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "settle"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    usage: Usage
    hold: str | None = None
    final: bool = True
    as_held: bool = False
    part: bool | None = None
    member: str | None = None
    project: str | None = None
    reference: str | None = None
    occurred_at: datetime | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        check_labels(self)
        check_occurred(self)
        check_usage("usage", self.usage)
        if self.hold is not None:
            check_hold(self.hold)
        if type(self.final) is not bool:
            raise InvalidCommand("final", self.final, "True or False")
        if self.part is not None and type(self.part) is not bool:
            raise InvalidCommand("part", self.part, "True, False or None")
        if self.as_held is not False:
            _check_as_held(self)

    def meaning(self, member: int | None) -> str:
        hold = "" if self.hold is None else f',"hold":{quoted(self.hold)}'
        more = "false" if self.final else "true"
        return f'{{"usage":{self.usage.text()}{hold},"more":{more}{labels(self, member)}}}'


def _check_as_held(command: Settle) -> None:
    if command.as_held is not True:
        raise InvalidCommand("as_held", command.as_held, "True or False")
    if command.hold is None or command.member is not None:
        given = f"hold {command.hold!r}, member {command.member!r}"
        raise InvalidCommand("as_held", given, "a hold, and no member")


@frozen(kw_only=True)
class Deduct(Command):
    """Charge at once, before the thing happens.  Refused beyond what is available (rule 6.2).

    Args:
        org: Whose account it is.
        key: Idempotency key.
        cost: A fixed amount, which then needs ``resource``, or a usage that has a price.
        resource: What a fixed amount is charged for, such as ``tool:search``; with a usage: none.
        member: Who uses it, for limits and reports.
        project: An API key, a team, or whatever else spending is grouped by.
        reference: Your own name for what it is about; it stands in the history.
        occurred_at: When it is used, UTC; this decides price and billing period (rule 6.7).  None:
            at the command's own time.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "deduct"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    cost: Money | Usage
    resource: str | None = None
    member: str | None = None
    project: str | None = None
    reference: str | None = None
    occurred_at: datetime | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        check_labels(self)
        check_occurred(self)
        check_cost(self.cost, self.resource)
        if self.resource is None and isinstance(self.cost, Money):
            raise InvalidCommand("resource", None, "the resource that the amount is charged for")

    def meaning(self, member: int | None) -> str:
        return f"{{{cost_text(self.cost, self.resource)}{labels(self, member)}}}"


@frozen(kw_only=True)
class PriceUnpriced(Command):
    """Charge what a settlement recorded as unpriced, by a price version that you name (rule 5.7).

    The version must be one that could have applied to the org when the usage occurred: in force
    then, and for everyone, for the org's plan of that time, or for the org itself.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        charge: The settlement's number: its ``seq``.
        version: The price book's version.
        override: True: an operator insists that any other version is right; that stays on record.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "price"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    charge: int
    version: str
    override: bool = False
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        check_charge(self.charge)
        checked_name("version", self.version)
        if type(self.override) is not bool:
            raise InvalidCommand("override", self.override, "True or False")

    def content(self, member: int | None) -> dict[str, Any]:
        override = True if self.override else None
        return {"charge": self.charge, "version": self.version, "override": override}


@frozen(kw_only=True)
class Reverse(Command):
    """Give back a charge, or a part of it: at most what of it is not given back yet (rule 6.6).

    What is still unpaid of the charge is reduced first; then the lots that paid are refilled.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        charge: The charge's number: its ``seq``.
        amount: How much to give back; None: all that is left of it.
        undo_usage: True: what was charged for did not happen, such as a call that failed.  Once for
            a charge, and only for all of it, even if it cost nothing: its quantities leave
            their counters, its item, quotas and reports.  What comes back is what all usage costs
            less without it: from this charge, and where that is not enough, as tiers or packages
            shift, from the latest other charges that the same counters counted.
        expires_at: The expiry, UTC, of the new lots that come in place of those that have ended
            since; None: that part expires again.
        reason: Why, in your words; it stays on record.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "reverse"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    charge: int
    amount: Money | None = None
    undo_usage: bool = False
    expires_at: datetime | None = None
    reason: str | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        check_charge(self.charge)
        if type(self.undo_usage) is not bool:
            raise InvalidCommand("undo_usage", self.undo_usage, "True or False")
        if self.amount is not None:
            check_positive("amount", self.amount)
            if self.undo_usage:
                raise InvalidCommand("amount", self.amount, "none: usage is undone as a whole")
        if self.expires_at is not None:
            micros("expires_at", self.expires_at)
        if self.reason is not None:
            checked_name("reason", self.reason)

    def content(self, member: int | None) -> dict[str, Any]:
        expires = self.expires_at
        return {
            "charge": self.charge,
            "amount": None if self.amount is None else self.amount.nanos,
            "undo_usage": self.undo_usage or None,
            "expires_at": None if expires is None else micros("expires_at", expires),
            "reason": self.reason,
        }


def check_charge(charge: object) -> None:
    if type(charge) is not int or not 0 < charge < 2**63:
        raise InvalidCommand("charge", charge, "the sequence number that the charge answered")
