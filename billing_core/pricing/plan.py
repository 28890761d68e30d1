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
    """What an org, each of its members, or each of its projects may be charged in a UTC
    day or a billing period.

    It binds checks, holds and deducts, never settlements.  ``alerts``: percentages at
    which the event ``budget`` is raised.  ``blocks`` False: a budget, which refuses nothing.
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
    """How much of a component an org may use in a billing period, as billed and paid for by
    the platform.  It binds checks, holds and deducts of usage, never settlements.

    ``resource``: a name, or a prefix of names that ends in ``*``: then of all that it names
    together.  ``bytes`` of ``storage:…``, or of ``storage``, are what workspaces may hold.
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
    """One version of a plan.

    ``version``: its name, unique for ever.  ``plan``: what orgs subscribe to.
    ``effective_at``: from when this version holds.  ``allowance``: credit for each billing
    period, used or not, that pays for what is used in that period; it can be spent until
    the period's end and ``grace`` (late settlements; the engine's tolerance at least).  What
    is then left of it, and of what was rolled over before, is rolled over into the period
    that has begun, up to ``rollover``; the rest expires.
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
