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
    """Open an org's account, with one currency and one mode for ever.

    Args:
        org: The new account's name.
        key: Idempotency key; an org is opened once, so the default is enough.
        currency: Three capital letters, of a currency whose minor unit is known (rule 5.1).
        livemode: True: real money; False: a test account.
        anchor: The day and time, UTC, at which its billing months begin (rule 8.2); None: the time
            of opening.
        at: The command's own time, UTC; None: the engine's clock.

    Raises:
        InvalidCommand: For an unknown currency, a name or a time that is not accepted.
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
    """Close the account for good.  Open holds are released, and the credit that is left is taken
    out.

    Runs end at their last sign of life, each with the event ``run_swept``, so stop first what is
    still running.  `Billing.close` also charges storage up to that moment, with a `BillStorage` for
    each workspace in the same batch; this command alone does not.  Measured usage that arrives
    later is still accepted, and becomes debt (rule 6.4).

    Args:
        org: Whose account it is.
        key: Idempotency key; an account is closed once, so the default is enough.
        remainder: Where the credit that is left goes: ``refund`` (you owe it to the customer, and
            pay it outside the ledger) or ``write_off``.
        at: The command's own time, UTC; None: the engine's clock.
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
    """Subscribe to a published plan, change to another, or end the subscription.

    The plan's prices, limits and quotas hold from the time of decision.  In the billing period of a
    change, a plan with a larger allowance brings the difference at once; one with a smaller
    allowance takes nothing back (rule 8.6).

    Args:
        org: Whose account it is.
        key: Idempotency key.
        plan: The plan's name; None: no plan any more.
        paused: True: no allowance for periods that begin before the plan is set again with False.
            Prices, limits and quotas stay.
        at: The command's own time, UTC; None: the engine's clock.
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
    """Set what may be charged in a day or a billing period, besides the limits of the org's plan.

    The limit is for one ``member``, for one ``project``, for each member or project that has no
    limit of its own (``every``), or, with none of these three, for the org.  It binds checks, holds
    and deducts, never settlements (rule 8.7).

    Args:
        org: Whose account it is.
        key: Idempotency key.
        amount: The most that may be charged, 0 or more; None: takes this limit away again.
        member: Whose limit it is.
        project: Which project's limit it is.
        every: ``member`` or ``project``: a limit for each one that has none of its own.
        per: ``day`` (UTC) or ``period``, the org's billing period.
        alerts: Percentages of ``amount``, from 1 to 1,000, at which the event ``budget`` is raised.
            One that is passed already is raised at once.
        blocks: False: a budget, which raises its alerts and refuses nothing.
        at: The command's own time, UTC; None: the engine's clock.
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
    """Raise the event ``low_balance`` whenever the balance falls below an amount.

    Where the balance is below it already, the event is raised at once.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        amount: The mark, more than 0; None: no such event any more.
        at: The command's own time, UTC; None: the engine's clock.
    """

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
