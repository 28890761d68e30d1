"""Commands that give credit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Literal

from attrs import Factory, field, frozen

from billing_core.commands.base import Command, check_command, check_positive
from billing_core.errors import InvalidCommand
from billing_core.values.money import Money
from billing_core.values.patterns import checked_pattern
from billing_core.values.text import checked_name, given_name
from billing_core.values.times import micros

__all__ = ["Grant", "LotKind", "UndoExpiry"]

LotKind = Literal["purchased", "promotional", "allowance"]


def _scope(names: Iterable[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str):
        raise InvalidCommand("scope", names, "a collection of resource names, or None")
    if not isinstance(names, Iterable):
        raise InvalidCommand("scope", names, "a collection of resource names, or None")
    scope = tuple(sorted({checked_pattern("scope", given_name("scope", name)) for name in names}))
    if not scope:
        raise InvalidCommand("scope", scope, "at least one resource name, or None for all")
    return scope


@frozen(kw_only=True)
class Grant(Command):
    """Bring in credit, as one lot (rule 6.1).

    Debt is repaid of it at once (rule 6.5).

    Args:
        org: Whose account it is.
        key: Idempotency key.
        amount: How much, more than 0, in the account's currency.
        kind: ``purchased``, ``promotional`` or ``allowance``.
        priority: Lower is spent first; from -1,000,000 to 1,000,000.
        expires_at: From when it cannot be spent any more, UTC; None: never.
        scope: The resources that it may pay for: names, or prefixes that end in ``*`` (rule 5.11);
            None: everything.
        reference: Your own name for what it is about; it stands in the history.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "grant"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    amount: Money
    kind: LotKind = "purchased"
    priority: int = 0
    expires_at: datetime | None = None
    scope: tuple[str, ...] | None = field(default=None, converter=_scope)
    reference: str | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        check_positive("amount", self.amount)
        if self.kind not in ("purchased", "promotional", "allowance"):
            raise InvalidCommand("kind", self.kind, '"purchased", "promotional" or "allowance"')
        if type(self.priority) is not int or not -(10**6) <= self.priority <= 10**6:
            raise InvalidCommand("priority", self.priority, "an int within ±1,000,000")
        if self.expires_at is not None:
            micros("expires_at", self.expires_at)
        if self.reference is not None:
            checked_name("reference", self.reference)

    def content(self, member: int | None) -> dict[str, Any]:
        expires = self.expires_at
        return {
            "amount": self.amount.nanos,
            "kind": self.kind,
            "priority": self.priority,
            "expires_at": None if expires is None else micros("expires_at", expires),
            "scope": self.scope,
            "reference": self.reference,
        }


@frozen(kw_only=True)
class UndoExpiry(Command):
    """Bring back credit that a wrong clock let expire too early; for an operator (rule 3.8).

    All that expired with one entry of the journal comes back, once, as new lots of the same kind,
    priority and scope.

    Args:
        org: Whose account it is.
        expiry: The number (``seq``) of the entry with which it expired, as `Billing.expiries` lists
            it.  It is the key, too.
        expires_at: Until when the new lots can be spent, UTC; None: for ever.  It must be later
            than the org's latest decision, which the wrong clock may have dated ahead.
        reason: Why, in your words; it stays on record.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "restore"
    level: ClassVar[int] = 2
    org: str = field(kw_only=False)
    expiry: int = field(kw_only=False)
    key: str = field(init=False, default=Factory(lambda self: str(self.expiry), takes_self=True))
    expires_at: datetime | None
    reason: str | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        if type(self.expiry) is not int or not 0 < self.expiry < 2**63:
            raise InvalidCommand("expiry", self.expiry, "the sequence number of its entry")
        check_command(self)
        if self.expires_at is not None:
            micros("expires_at", self.expires_at)
        if self.reason is not None:
            checked_name("reason", self.reason)

    def content(self, member: int | None) -> dict[str, Any]:
        expires = self.expires_at
        return {
            "expiry": self.expiry,
            "expires_at": None if expires is None else micros("expires_at", expires),
            "reason": self.reason,
        }
