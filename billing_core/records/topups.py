"""Top-ups: what a store keeps of them, and which state may follow which.

=============================  ==========================================================
``ordered``                    on record; the provider may not have heard of it
``open``                       has a page where the customer can pay
``due``                        an automatic attempt is on record; nobody has been asked
``calling``                    a worker asks, or did and has no answer yet
``processing``                 the money is under way
``paid``                       credited
``declined``, ``failed``       no money; it may still come, and then it is credited
``authentication_required``    the bank wants the customer; no money
``expired``                    the page is closed and nothing was paid
``quarantined``                money came, but not as it was asked for; not credited
``dropped``                    stopped before anybody was asked: it fits no more
=============================  ==========================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from attrs import asdict, define, field, frozen

from billing_core.errors import InvalidCommand
from billing_core.values.currencies import A_DOLLAR, minor_unit, to_minor, to_nanos
from billing_core.values.money import MAX_NANOS, Money, usd
from billing_core.values.text import compact
from billing_core.values.times import duration

__all__ = [
    "CHARGED",
    "DATED",
    "IN_FLIGHT",
    "KEEPS",
    "MOVES",
    "NEEDS_METHOD",
    "AutoTopUp",
    "RefundOrder",
    "StopReason",
    "TopUp",
    "TopUpRules",
    "TopUpState",
    "is_said",
    "reads_alike",
    "said_of",
]

TopUpState = Literal[
    "ordered", "open", "due", "calling", "processing", "declined", "authentication_required",
    "failed", "expired", "quarantined", "paid", "dropped",
]  # fmt: skip
"""See :class:`TopUp`."""

StopReason = Literal[
    "declined", "authentication_required", "failed", "expired", "method", "refund", "dispute",
    "quarantined", "amount",
]  # fmt: skip
"""Why automatic top-ups have stopped: see :class:`AutoTopUp`."""


def _or_late(*states: TopUpState) -> frozenset[TopUpState]:
    """These states, or those of a payment that is heard of late."""
    return frozenset((*states, "paid", "quarantined"))


_MOVES: Mapping[TopUpState, frozenset[TopUpState]] = {
    "ordered": _or_late("open", "processing", "expired", "failed"),
    "open": _or_late("processing", "expired", "failed"),
    "due": frozenset(("calling", "dropped")),
    "calling": _or_late("processing", "declined", "authentication_required", "failed"),
    "processing": _or_late("declined", "authentication_required", "expired", "failed"),
    "declined": _or_late(),
    "authentication_required": _or_late(),
    "failed": _or_late(),
    "expired": _or_late(),
    "quarantined": frozenset(("paid",)),
    "paid": frozenset(),
    "dropped": frozenset(),
}
MOVES = MappingProxyType(_MOVES)
"""From each state, those that it can go to."""

NEEDS_METHOD = frozenset(("declined", "authentication_required", "failed", "method"))
"""What stops automatic top-ups for want of a method that can be charged: another one mends it.
The rest ends when they are enabled again."""

IN_FLIGHT = frozenset(("due", "calling", "processing"))
"""The states of an automatic attempt in which the org has no other."""

CHARGED = IN_FLIGHT | {"paid", "quarantined"}
"""The states in which an attempt was or may yet be charged: they count towards the cap."""


def _several(given: int | Money | Iterable[Money]) -> tuple[Money, ...]:
    """What :class:`TopUpRules` checks: a bound for each currency that is named."""
    if type(given) is int:
        return (Money(to_nanos(given, "USD"), "USD"),)
    if isinstance(given, Iterable):
        return tuple(given)
    return (given,)  # type: ignore[return-value]


_MINIMUM = (usd("5"),)
_MAXIMUM = (usd("10000"),)


@frozen(kw_only=True)
class TopUpRules:
    """The platform's own bounds to top-ups, whatever an org asks for (rule 9.3).

    Args:
        minimum: The least that one top-up may be: a `Money`, several of different currencies, or
            an int of US cents.  A currency that is not named has about as much as the dollars: 5.00
            USD are 500 JPY or 5,000 KRW.
        maximum: The most that one top-up may be, given in the same way.
        cooldown: The time between two automatic top-ups of an org.
        failures: After so many failures in a row automatic top-ups stop.
        backoff: The wait after the first failure; each further one doubles it, up to thirty days.
        times: How many automatic attempts an org has in a billing period at most.
        lease: How long a worker has an attempt to itself; longer than a call of the provider can
            take.
        on_expiry: True: an automatic top-up also begins where credit has fallen below the threshold
            because it expired, though nobody used any.
        refund_stops: True: a refund, even of a part, stops automatic top-ups until they are enabled
            again.  False: only a dispute does.

    Raises:
        InvalidCommand: For what is not accepted, such as a minimum above the maximum.
    """

    minimum: tuple[Money, ...] = field(default=_MINIMUM, converter=_several)
    maximum: tuple[Money, ...] = field(default=_MAXIMUM, converter=_several)
    cooldown: timedelta = timedelta(minutes=1)
    failures: int = 3
    backoff: timedelta = timedelta(hours=1)
    times: int = 50
    lease: timedelta = timedelta(minutes=3)
    on_expiry: bool = False
    refund_stops: bool = True

    def __attrs_post_init__(self) -> None:
        for name in ("failures", "times"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InvalidCommand(name, value, "an int of 1 or more")
        for name in ("minimum", "maximum"):
            _check_amounts(name, getattr(self, name))
        for currency in {each.currency for each in self.minimum + self.maximum}:
            least, most = (to_nanos(each, currency) for each in self.bounds(currency))
            if least > most:
                expected = f"{Money(most, currency)}, the maximum, at most"
                raise InvalidCommand("minimum", str(Money(least, currency)), expected)
        for name in ("on_expiry", "refund_stops"):
            if type(getattr(self, name)) is not bool:
                raise InvalidCommand(name, getattr(self, name), "True or False")
        for name in ("cooldown", "backoff", "lease"):
            duration(name, getattr(self, name))

    def bounds(self, currency: str) -> tuple[int, int]:
        """The least and the most that one top-up may be, in minor units of a currency."""
        return (
            _bound(self.minimum, _MINIMUM, currency),
            _bound(self.maximum, _MAXIMUM, currency),
        )


def _check_amounts(name: str, amounts: tuple[object, ...]) -> None:
    expected = "positive Money, or several of different currencies, or an int of US cents"
    known: set[str] = set()
    for each in amounts:
        if not isinstance(each, Money) or each.nanos < 1 or each.currency in known:
            raise InvalidCommand(name, each, expected)
        to_minor(each.nanos, each.currency)
        known.add(each.currency)
    if not known:
        raise InvalidCommand(name, amounts, expected)


def _bound(amounts: tuple[Money, ...], default: tuple[Money, ...], currency: str) -> int:
    """In minor units: as it was named, or about as much as the dollars are worth."""
    unit = minor_unit(currency)
    named = {each.currency: each.nanos for each in default + amounts}
    nanos = named.get(currency)
    if nanos is None:
        nanos = min(named["USD"] * A_DOLLAR[currency], MAX_NANOS)
    return nanos // (unit.nanos * unit.step) * unit.step


KEEPS = 2
"""The level from which the digest is kept: the version before takes it for a fault."""
DATED = 2
"""The level from which a refund on record says when it was asked for."""


def said_of(asked: str) -> str:
    """What is kept of an order whose page is open: by it another that comes under the same key
    is told from it.  ``asked``: the order, or what was kept of it already."""
    order = json.loads(asked) if asked else {}
    return asked if "order" not in order else compact({"said": _digest(order)})


def reads_alike(asked: str, order: Mapping[str, object]) -> bool:
    """Whether the customer reads, and is sent to, the same by an order and by one on record; of
    one of which nothing was kept, nobody can tell."""
    kept = said_of(asked)
    return kept in ("", compact({"said": _digest(order)}))


def is_said(asked: str) -> bool:
    """Whether this is what is kept of an order: one digest, of which no journal can tell more."""
    return re.fullmatch(r'\{"said":"[0-9a-f]{32}"\}', asked) is not None


def _digest(order: Mapping[str, object]) -> str:
    said = [order[name] for name in ("success_url", "cancel_url", "description")]
    return sha256(compact(said).encode()).hexdigest()[:32]


class RefundOrder(NamedTuple):
    """A refund that was asked for: ``key``, our id of it; ``amount`` in minor units, None for all;
    ``state``: ``asked``, ``made`` or ``refused``; ``at``: when it was asked for, which is not
    known of one from before level 2."""

    key: str
    amount: int | None
    state: str
    at: int | None = None


@define
class TopUp:
    """One top-up of an org, by a checkout or automatic.

    ``topup``: our id of it, which is the provider's key and metadata.  ``kind``:
    ``checkout`` or ``auto``.  ``seq``: the entry that made it.  ``amount``: the subtotal
    asked for, in minor units.  ``asked``: the CheckoutOrder or ChargeAttempt as JSON; it
    may hold a person's address, and is not in the journal.  Once a page is open, a digest is
    kept of what the customer reads and is sent to (:func:`said_of`), if that.
    ``changes``: how often it has changed: who read it before asking the provider can tell
    whether the answer is news.  ``due_at``: when a worker is to look at it; None: no more.
    ``tries``, ``started``: how often, and when first, the provider was asked.

    ``lot``: what it granted; ``granted``, ``clawed``: nanos, so far.  ``taken``:
    minor units that refunds, failed ones too, and disputes have ever taken.  ``clawbacks``:
    the entries that took credit back.  ``refunds``: those asked of the provider.
    ``strays``: further payments for the same order.
    ``why``: of the state; of one that is ``calling``, why nobody is to be asked for it any
    more (:func:`misfit`); of one that is ``paid``, what the provider claims of its payment and
    is not believed.  ``paid_at``: when the provider made the payment.
    """

    topup: str
    kind: Literal["checkout", "auto"]
    seq: int
    state: TopUpState
    amount: int
    created: int
    asked: str = ""
    changes: int = 0
    due_at: int | None = None
    tries: int = 0
    started: int | None = None
    checkout: str | None = None
    payment: str | None = None
    paid_at: int | None = None
    lot: int | None = None
    granted: int = 0
    clawed: int = 0
    taken: int = 0
    clawbacks: list[int] = field(factory=list)
    refunds: list[RefundOrder] = field(factory=list)
    strays: list[str] = field(factory=list)
    why: str | None = None

    def to_data(self) -> dict[str, Any]:
        """All of it as JSON data, which shares nothing with it."""
        refunds = [[*order] if order.at is not None else [*order[:3]] for order in self.refunds]
        lists = {"clawbacks": self.clawbacks[:], "refunds": refunds, "strays": self.strays[:]}
        return asdict(self, recurse=False) | lists

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> TopUp:
        """The top-up of a :meth:`to_data`."""
        refunds = [RefundOrder(*order) for order in data.get("refunds", ())]
        fields: dict[str, Any] = {**data, "refunds": refunds}
        return cls(**fields)

    @property
    def in_flight(self) -> bool:
        return self.kind == "auto" and self.state in IN_FLIGHT

    def move(self, state: TopUpState, why: str | None = None) -> bool:
        """Go to another state, where there is a way; whether it went."""
        if state == self.state or state not in MOVES[self.state]:
            return False
        self.state, self.why = state, why
        return True


@define
class AutoTopUp:
    """An org's automatic top-up: how it pays, what it asked for, and how that goes.

    ``customer``, ``method``: the provider's; None: there is none to charge.
    ``threshold``: nanos; ``amount``: minor units; ``cap``, ``times``: minor units and
    attempts in a billing period at most, None: as the platform has it.
    ``stopped``: why, None where it goes on: ``declined``, ``authentication_required``,
    ``failed`` and ``method`` until there is another method, or it is enabled again;
    ``refund``, ``dispute``, ``quarantined`` and ``amount`` (the platform has other bounds
    since) until it is enabled again.  ``failures``: in a row, of one method, however often
    it is enabled.  ``not_before``: cooldown, back-off, or a cap.  ``open``: the attempt in
    flight.
    ``period``: the billing period in which ``spent`` minor units were or may yet be
    charged, in ``begun`` attempts.  ``last``: when one was last paid.  ``saved_by``: the
    ``seq`` of the top-up whose page saved the method.  ``refunds_open``: how many were asked
    for and are neither made nor refused yet.
    """

    customer: str | None = None
    method: str | None = None
    enabled: bool = False
    threshold: int = 0
    amount: int = 0
    cap: int | None = None
    times: int | None = None
    stopped: StopReason | None = None
    failures: int = 0
    not_before: int = 0
    open: str | None = None
    period: int = 0
    spent: int = 0
    begun: int = 0
    last: int | None = None
    saved_by: int = 0
    refunds_open: int = 0

    def to_data(self) -> dict[str, Any]:
        """All of it as JSON data, where ``refunds_open`` is ``refunds`` (rule 3.9)."""
        data = asdict(self)
        return data | {"refunds": data.pop("refunds_open")}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> AutoTopUp:
        """The automatic top-up of a :meth:`to_data`."""
        fields = dict(data)
        open_ = fields.pop("refunds", 0)
        return cls(**fields, refunds_open=open_)
