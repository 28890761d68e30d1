"""The commands of top-ups.  Callers give :class:`OrderTopUp`, :class:`SetAutoTopUp` and
:class:`AskRefund`; the others are the engine's own: they have no key of a caller's, write
entries under names that no caller can use, and doing one again changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from billing_core.commands.base import Command, check_command
from billing_core.errors import InvalidCommand
from billing_core.values.currencies import to_minor
from billing_core.values.money import Money
from billing_core.values.text import checked_name
from billing_core.values.times import micros

if TYPE_CHECKING:
    from billing_core.ports.payments import Checkout, CheckoutOrder, Payment

__all__ = [
    "AskRefund",
    "ClaimTopUp",
    "Lapse",
    "LoseMethod",
    "OrderTopUp",
    "RecordTopUp",
    "SetAutoTopUp",
]


def _check(command: Any) -> None:
    checked_name("org", command.org)
    checked_name("key", command.key)
    if command.at is not None:
        micros("at", command.at)


def _check_amount(name: str, amount: object, *, least: int = 1) -> None:
    if not isinstance(amount, Money) or amount.nanos < least:
        raise InvalidCommand(name, amount, "a positive Money" if least else "a Money of 0 or more")


class _Engines(Command):
    """One that no caller gives: there is nothing to compare with what was asked before."""

    __slots__ = ()

    def content(self, member: int | None) -> dict[str, Any]:
        return {}


@frozen(kw_only=True)
class OrderTopUp(Command):
    """Put on record that the org is to pay ``amount``, before the provider hears of it.

    ``order``: what will be asked; its id is a fresh one, and is that of the first call
    where the key was used before.  ``livemode``: the provider's.
    """

    op: ClassVar[str] = "topup"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    amount: Money
    order: CheckoutOrder
    livemode: bool
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        _check_amount("amount", self.amount)
        if self.order.org != self.org:
            raise InvalidCommand("order", self.order.org, f"an order of org {self.org!r}")
        if self.order.amount != to_minor(self.amount.nanos, self.amount.currency):
            raise InvalidCommand("order", self.order.amount, f"an order of {self.amount}")

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "amount": self.amount.nanos,
            "save_method": self.order.save_method,
            "automatic_tax": self.order.automatic_tax,
        }


@frozen(kw_only=True)
class SetAutoTopUp(Command):
    """Top up ``amount`` by itself whenever available credit falls below ``threshold``.

    ``cap``, ``times``: at most so much, and so often, in a billing period.  Enabling needs
    a saved method, and lets go on what was stopped; disabled, ``amount`` may be 0.

    An attempt that is due, and for which the provider was not asked yet, is measured
    against this, and dropped where it does not fit.  Enabling is no new method: failures
    stay counted, and the wait after them goes on.  Only where as many failures as the
    platform allows have stopped it, the first enabling after them has the method tried at
    once; the next failure stops it again.
    """

    op: ClassVar[str] = "auto_topup"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    enabled: bool
    threshold: Money
    amount: Money
    cap: Money | None = None
    times: int | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        if type(self.enabled) is not bool:
            raise InvalidCommand("enabled", self.enabled, "True or False")
        _check_amount("threshold", self.threshold, least=0)
        _check_amount("amount", self.amount, least=1 if self.enabled else 0)
        to_minor(self.amount.nanos, self.amount.currency)
        if self.cap is not None:
            _check_amount("cap", self.cap)
            to_minor(self.cap.nanos, self.cap.currency)
        if self.times is not None and (type(self.times) is not int or self.times < 1):
            raise InvalidCommand("times", self.times, "an int of 1 or more, or None")

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "enabled": self.enabled,
            "threshold": self.threshold.nanos,
            "amount": self.amount.nanos,
            "cap": None if self.cap is None else self.cap.nanos,
            "times": self.times,
        }


@frozen(kw_only=True)
class AskRefund(Command):
    """Put on record that a top-up's payment is to be refunded, before the provider hears of
    it.  ``amount``: of the money paid, tax included; None: all that is left.  ``refund``: a
    fresh id, which becomes the provider's key.  ``livemode``: the provider's.

    Until it is made or refused, no automatic top-up begins."""

    op: ClassVar[str] = "refund"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    topup: str
    refund: str
    livemode: bool
    amount: Money | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        checked_name("topup", self.topup)
        checked_name("refund", self.refund)
        if self.amount is not None:
            _check_amount("amount", self.amount)
            to_minor(self.amount.nanos, self.amount.currency)

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "topup": self.topup,
            "amount": None if self.amount is None else self.amount.nanos,
        }


@frozen(kw_only=True)
class ClaimTopUp(_Engines):
    """Have a due top-up to oneself for the lease: whoever comes first gets it."""

    op: ClassVar[str] = "call"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check(self)


@frozen(kw_only=True)
class RecordTopUp(_Engines):
    """Put on record what the provider says of a top-up, named by ``key``.

    ``version``: the top-up's ``changes`` before the provider was asked; if it has changed
    since, the answer may be older than what is on record: a Conflict, ask again.  None: for
    what stays true, such as a checkout's name.  ``failed``: there is no payment, nor will
    be one, and why.  ``doubts``: payments that may be it, though they do not say so, and why:
    until somebody has looked at them, nothing else is tried.  ``made``, ``refused``: our id of a
    refund that the provider says it has made, or will not make.
    """

    op: ClassVar[str] = "payment"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    version: int | None = None
    checkout: Checkout | None = None
    payment: Payment | None = None
    failed: str | None = None
    doubts: tuple[tuple[str | None, str], ...] = ()
    made: str | None = None
    refused: str | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check(self)


@frozen(kw_only=True)
class LoseMethod(_Engines):
    """What is saved to be charged is there no more: ``key`` names the method, or its customer,
    who is then forgotten too, so that the next order goes without."""

    op: ClassVar[str] = "method"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check(self)


@frozen(kw_only=True)
class Lapse(_Engines):
    """Put on record what has lapsed by now, though nobody asks for anything."""

    op: ClassVar[str] = "lapse"
    org: str = field(kw_only=False)
    key: str = "lapsed"
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check(self)
