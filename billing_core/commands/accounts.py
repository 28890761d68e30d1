"""What can be asked of an account: opened, closed, its plan, its limits; see
:mod:`billing_core.commands`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

from attrs import field, frozen

from billing_core.commands.base import Command, check_command, check_positive, check_project
from billing_core.errors import InvalidCommand
from billing_core.pricing.plan import Grain, checked_alerts
from billing_core.values.money import Money, checked_currency
from billing_core.values.text import checked_name, given_name
from billing_core.values.times import micros

__all__ = ["Close", "OpenAccount", "SetLimit", "SetLowBalance", "SetPlan"]


@frozen(kw_only=True)
class OpenAccount(Command):
    """Open an org's account: one currency and one livemode for ever.

    ``currency``: one whose minor units are known:
    :data:`billing_core.values.currencies.CURRENCIES`.
    ``anchor``: from when its billing months count; default: the time of opening.
    """

    op: ClassVar[str] = "open"
    org: str = field(kw_only=False)
    key: str = "account"
    currency: str = "USD"
    livemode: bool = True
    anchor: datetime | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        given_name("org", self.org)
        checked_currency(self.currency)
        if type(self.livemode) is not bool:
            raise InvalidCommand("livemode", self.livemode, "True or False")
        if self.anchor is not None:
            micros("anchor", self.anchor)

    def content(self, member: int | None) -> dict[str, Any]:
        anchor = None if self.anchor is None else micros("anchor", self.anchor)
        return {"currency": self.currency, "livemode": self.livemode, "anchor": anchor}


@frozen(kw_only=True)
class Close(Command):
    """Close the account: open holds are released and what is left of every lot is
    ``refund``ed (owed to the customer outside the ledger) or written off.

    Runs end at their last sign of life, each with the event ``run_swept``: stop what is still
    running.  Storage is charged up to that moment by :meth:`Billing.close`, which gives a
    :class:`BillStorage` for each workspace in the same batch; this command alone does not.
    Measured usage that arrives later is still accepted, and becomes debt.
    """

    op: ClassVar[str] = "close"
    org: str = field(kw_only=False)
    key: str = "account"
    remainder: Literal["refund", "write_off"]
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        if self.remainder not in ("refund", "write_off"):
            raise InvalidCommand("remainder", self.remainder, '"refund" or "write_off"')

    def content(self, member: int | None) -> dict[str, Any]:
        return {"remainder": self.remainder}


@frozen(kw_only=True)
class SetPlan(Command):
    """Subscribe to a published ``plan``, change it, or (None) end the subscription.

    The plan's prices, limits and quotas hold from the time of decision.  The current
    billing period has the allowance of the plan that had most of those it had: a change
    to more brings the difference at once, one to less takes nothing back.  ``paused``: no
    allowance for periods that begin before it is set again without; prices stay.
    """

    op: ClassVar[str] = "plan"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    plan: str | None
    paused: bool = False
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        if self.plan is not None:
            checked_name("plan", self.plan)
        if type(self.paused) is not bool or (self.paused and self.plan is None):
            raise InvalidCommand("paused", self.paused, "True (of a plan) or False")

    def content(self, member: int | None) -> dict[str, Any]:
        return {"plan": self.plan, "paused": self.paused}


@frozen(kw_only=True)
class SetLimit(Command):
    """Set what may be charged in a day or billing period, beside the plan's own limits.

    For one ``member`` or ``project``, for each one that has none of its own (``every``),
    or, none of these given, for the org.  ``amount`` None takes it away again: one
    member's own comes before that for every member.  An alert whose mark has been passed
    already is told at once.  See :class:`~billing_core.Limit`.
    """

    op: ClassVar[str] = "limit"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    amount: Money | None
    member: str | None = None
    project: str | None = None
    every: Literal["member", "project"] | None = None
    per: Grain = "period"
    alerts: tuple[int, ...] = field(default=(), converter=checked_alerts)
    blocks: bool = True
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        if self.amount is not None and (
            not isinstance(self.amount, Money) or self.amount.nanos < 0
        ):
            raise InvalidCommand("amount", self.amount, "a Money of zero or more, or None")
        given = [self.member, self.project, self.every]
        if sum(each is not None for each in given) > 1:
            raise InvalidCommand("member, project, every", given, "one of them at most")
        if self.member is not None:
            given_name("member", self.member)
        if self.project is not None:
            check_project(self.project)
        if self.every not in (None, "member", "project"):
            raise InvalidCommand("every", self.every, '"member" or "project"')
        if self.per not in get_args(Grain):
            raise InvalidCommand("per", self.per, '"day" or "period"')
        if type(self.blocks) is not bool:
            raise InvalidCommand("blocks", self.blocks, "True or False")

    def subject(self, member: int | None) -> str:
        """Whose limit it is, as :class:`~billing_core.records.ledger.LimitSet` says it."""
        if self.every is not None:
            return f"{self.every}:*"
        if self.project is not None:
            return f"project:{self.project}"
        return "org" if self.member is None else f"member:{member}"

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "subject": self.subject(member),
            "per": self.per,
            "amount": None if self.amount is None else self.amount.nanos,
            "alerts": self.alerts,
            "blocks": self.blocks,
            "member": member,
        }


@frozen(kw_only=True)
class SetLowBalance(Command):
    """Raise the event ``low_balance`` whenever the balance falls below ``amount`` (None: no
    longer); at once, where it is below."""

    op: ClassVar[str] = "low_balance"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    amount: Money | None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        if self.amount is not None:
            check_positive("amount", self.amount)

    def content(self, member: int | None) -> dict[str, Any]:
        return {"amount": None if self.amount is None else self.amount.nanos}
