"""Plans: what a subscription includes each billing period, and what it allows.

A plan is published like a price book: in versions, immutable and effective-dated.  What
its subscribers pay is in price books of the plan's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from attrs import field, frozen

from billing_core.errors import InvalidCommand
from billing_core.pricing.price_book import checked_version
from billing_core.values.money import Money, checked_currency
from billing_core.values.text import checked_name, compact
from billing_core.values.times import micros, moment

__all__ = ["Grain", "Limit", "Plan", "Quota", "Whose", "checked_alerts", "load_plan"]

Whose = Literal["org", "member", "project"]
Grain = Literal["day", "period"]

_MICROSECOND = timedelta(microseconds=1)


def checked_alerts(alerts: object) -> tuple[int, ...]:
    """Percentages of a limit, sorted, at which an event is raised."""
    if isinstance(alerts, str) or not isinstance(alerts, Iterable):
        raise InvalidCommand("alerts", alerts, "percentages, such as (80, 100)")
    found = tuple(alerts)
    if not all(type(each) is int and 1 <= each <= 1000 for each in found):
        raise InvalidCommand("alerts", alerts, "percentages from 1 to 1,000")
    return tuple(sorted(set(found)))


@frozen
class Limit:
    """What an org, each member, or each project may be charged in a UTC day or a billing period.

    It binds checks, holds and deducts, never settlements (rule 8.7).

    Args:
        whose: ``org``; ``member`` (each of its members) or ``project`` (each of its projects).
        amount: The most that may be charged, 0 or more.
        per: ``day`` (UTC) or ``period``, the org's billing period.
        alerts: Percentages of ``amount``, from 1 to 1,000, at which the event ``budget`` is raised.
        blocks: False: a budget, which raises its alerts and refuses nothing.
    """

    whose: Whose
    amount: Money
    per: Grain = "period"
    alerts: tuple[int, ...] = field(default=(), converter=checked_alerts)
    blocks: bool = True

    def __attrs_post_init__(self) -> None:
        if self.whose not in get_args(Whose):
            raise InvalidCommand("whose", self.whose, '"org", "member" or "project"')
        if not isinstance(self.amount, Money) or self.amount.nanos < 0:
            raise InvalidCommand("amount", self.amount, "a Money of zero or more")
        if self.per not in get_args(Grain):
            raise InvalidCommand("per", self.per, '"day" or "period"')
        if type(self.blocks) is not bool:
            raise InvalidCommand("blocks", self.blocks, "True or False")


@frozen
class Quota:
    """How much of a component an org may use in a billing period (rule 8.7).

    It counts what is billed and paid for by the platform's credit.  It binds checks, holds and
    deducts of usage, never settlements.

    Args:
        resource: A name, or a prefix that ends in ``*``: then all that it names together (rule
            5.11).
        component: Which component.  ``bytes`` of ``storage:…``, or of ``storage`` (all workspaces),
            are what workspaces may hold at a time.
        quantity: How much, from 0 to below 10³⁶.
    """

    resource: str
    component: str
    quantity: int

    def __attrs_post_init__(self) -> None:
        checked_name("resource", self.resource)
        checked_name("component", self.component)
        if type(self.quantity) is not int or not 0 <= self.quantity < 10**36:
            raise InvalidCommand("quantity", self.quantity, "an int from 0 to below 10**36")


def _tuple(values: Iterable[Any]) -> tuple[Any, ...]:
    if not isinstance(values, Iterable):
        raise InvalidCommand("limits", values, "Limits, or Quotas")
    return tuple(values)


@frozen
class Plan:
    """One version of a plan: the allowance, limits and quotas of those who subscribe to it.

    What subscribers pay is in price books with this ``plan``.  A version never changes once it is
    published (rule 5.6).

    Args:
        version: This version's name, unique for ever.
        plan: The plan's name, which orgs subscribe to.
        effective_at: From when this version holds, UTC.
        allowance: Credit for each billing period, used or not, which pays for usage of that period
            (rule 8.6); None: none.
        rollover: The most that may go into the next period of what is left of the allowance at its
            end, with what was rolled over before; the rest expires.  None: nothing rolls over.
        grace: How long after a period's end its allowance still pays for usage of that period that
            is settled late, up to 27 days; the engine's tolerance at least.
        limits: :class:`Limit` values, one at most for each ``whose`` and ``per``.
        quotas: :class:`Quota` values, one at most for each resource and component.
        currency: Of all its amounts: three capital letters.

    Raises:
        InvalidCommand: For what could never be published.
    """

    version: str
    plan: str
    effective_at: datetime
    allowance: Money | None = field(default=None, kw_only=True)
    rollover: Money | None = field(default=None, kw_only=True)
    grace: timedelta = field(default=timedelta(0), kw_only=True)
    limits: tuple[Limit, ...] = field(default=(), kw_only=True, converter=_tuple)
    quotas: tuple[Quota, ...] = field(default=(), kw_only=True, converter=_tuple)
    currency: str = field(default="USD", kw_only=True)

    def __attrs_post_init__(self) -> None:
        checked_version(self.version)
        checked_name("plan", self.plan)
        micros("effective_at", self.effective_at)
        checked_currency(self.currency)
        for name in ("allowance", "rollover"):
            money = getattr(self, name)
            if money is not None and (not isinstance(money, Money) or money.nanos <= 0):
                raise InvalidCommand(name, money, "a positive Money, or None")
        days = timedelta(days=27)  # shorter than any billing period
        if not isinstance(self.grace, timedelta) or not timedelta(0) <= self.grace <= days:
            raise InvalidCommand("grace", self.grace, "a timedelta of zero to 27 days")
        for kind, values in ((Limit, self.limits), (Quota, self.quotas)):
            if not all(isinstance(each, kind) for each in values):
                raise InvalidCommand(f"{kind.__name__.lower()}s", values, f"{kind.__name__}s")
        _check_once("limits", [(each.whose, each.per) for each in self.limits])
        _check_once("quotas", [(each.resource, each.component) for each in self.quotas])
        amounts = [self.allowance, self.rollover, *(each.amount for each in self.limits)]
        for money in amounts:
            if money is not None and money.currency != self.currency:
                raise InvalidCommand("currency", money.currency, self.currency)

    @property
    def grace_micros(self) -> int:
        """``grace`` in microseconds."""
        return self.grace // _MICROSECOND

    def body(self) -> str:
        """The canonical JSON of everything in it."""
        return compact(
            {
                "version": self.version,
                "subscription": self.plan,
                "effective_at": micros("effective_at", self.effective_at),
                "currency": self.currency,
                "allowance": None if self.allowance is None else self.allowance.nanos,
                "rollover": None if self.rollover is None else self.rollover.nanos,
                "grace": self.grace_micros,
                "limits": [
                    [each.whose, each.amount.nanos, each.per, each.alerts, each.blocks]
                    for each in self.limits
                ],
                "quotas": [[each.resource, each.component, each.quantity] for each in self.quotas],
            }
        )


def _check_once(field: str, keys: list[tuple[str, str]]) -> None:
    if len(set(keys)) != len(keys):
        raise InvalidCommand(field, keys, "each at most once")


def load_plan(body: str) -> Plan:
    """The plan of a :meth:`Plan.body`."""
    data = json.loads(body)
    currency = data["currency"]

    def money(nanos: int | None) -> Money | None:
        return None if nanos is None else Money(nanos, currency)

    return Plan(
        data["version"],
        data["subscription"],
        moment(data["effective_at"]),
        allowance=money(data["allowance"]),
        rollover=money(data["rollover"]),
        grace=timedelta(microseconds=data["grace"]),
        limits=tuple(
            Limit(whose, Money(nanos, currency), per, tuple(alerts), blocks)
            for whose, nanos, per, alerts, blocks in data["limits"]
        ),
        quotas=tuple(Quota(*each) for each in data["quotas"]),
        currency=currency,
    )
