"""Top-ups: what a store keeps of them, how they go from state to state, and when an
automatic one is due.  Pure; no ledger, no provider.

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
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from billing_core.errors import InvalidCommand
from billing_core.minor_units import A_DOLLAR, minor_unit, to_minor, to_nanos
from billing_core.money import MAX_NANOS, Money, usd
from billing_core.records import Account
from billing_core.text import compact
from billing_core.times import DAY, Window, duration

if TYPE_CHECKING:
    from billing_core.payments import Payment

__all__ = [
    "CHARGED",
    "DATED",
    "IN_FLIGHT",
    "KEEPS",
    "MOVES",
    "NEEDS_METHOD",
    "AutoTopUp",
    "TopUp",
    "TopUpRules",
    "allow",
    "arm",
    "armed",
    "attempt_begins",
    "attempt_ends",
    "awaits_method",
    "held_share",
    "in_bounds",
    "is_said",
    "may_be",
    "misfit",
    "mismatch",
    "reads_alike",
    "resumes",
    "said_of",
    "stopped",
    "subtotal_of",
    "why_not",
]

_LATE = frozenset(("paid", "quarantined"))
_LONGEST = 30 * DAY  # a back-off

MOVES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "ordered": _LATE | {"open", "processing", "expired", "failed"},
        "open": _LATE | {"processing", "expired", "failed"},
        "due": frozenset(("calling", "dropped")),
        "calling": _LATE | {"processing", "declined", "authentication_required", "failed"},
        "processing": _LATE | {"declined", "authentication_required", "expired", "failed"},
        "declined": _LATE,
        "authentication_required": _LATE,
        "failed": _LATE,
        "expired": _LATE,
        "quarantined": frozenset(("paid",)),
        "paid": frozenset(),
        "dropped": frozenset(),
    }
)
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
    """The platform's own limits to top-ups, whatever an org asks for.

    ``minimum``, ``maximum``: of one top-up, as Money, or as several of different currencies.
    A currency that is not named has about as much as the dollars (:meth:`bounds`): 5.00 USD
    are 500 JPY or 5,000 KRW.  An int is of US cents.

    ``cooldown``: from one automatic top-up to the next.  ``failures``: after so many in a
    row they stop.  ``backoff``: after the first failure; each further one doubles it, up to
    thirty days.  ``times``: automatic attempts in a billing period.  ``lease``: for how long
    a worker has an attempt to itself: longer than a call of the provider can take.

    ``on_expiry``: automatic top-ups follow use; with this they also begin where credit has
    fallen below the threshold because it expired, though nobody used any.
    ``refund_stops``: money refunded, if only in part, stops them until they are enabled
    again; without this only a dispute does.  Neither begins one.
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
    the entries that took credit back.  ``refunds``: ``[our id, minor units or None for all,
    "asked", "made" or "refused", when it was asked for]``, the last from level 2 on.
    ``strays``: further payments for the same order.
    ``why``: of the state; of one that is ``calling``, why nobody is to be asked for it any
    more (:func:`misfit`); of one that is ``paid``, what the provider claims of its payment and
    is not believed.  ``paid_at``: when the provider made the payment.
    """

    topup: str
    kind: str
    seq: int
    state: str
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
    refunds: list[list[str | int | None]] = field(factory=list)
    strays: list[str] = field(factory=list)
    why: str | None = None

    @property
    def in_flight(self) -> bool:
        return self.kind == "auto" and self.state in IN_FLIGHT

    def move(self, state: str, why: str | None = None) -> bool:
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
    ``seq`` of the top-up whose page saved the method.  ``refunds``: how many were asked for
    and are neither made nor refused yet.
    """

    customer: str | None = None
    method: str | None = None
    enabled: bool = False
    threshold: int = 0
    amount: int = 0
    cap: int | None = None
    times: int | None = None
    stopped: str | None = None
    failures: int = 0
    not_before: int = 0
    open: str | None = None
    period: int = 0
    spent: int = 0
    begun: int = 0
    last: int | None = None
    saved_by: int = 0
    refunds: int = 0


# -- the policy -----------------------------------------------------------------


def _goes_on(auto: AutoTopUp) -> bool:
    return auto.enabled and auto.stopped is None and not auto.refunds


def armed(auto: AutoTopUp) -> bool:
    """Whether an attempt may begin, once available credit is below the threshold and
    ``not_before`` has passed."""
    return _goes_on(auto) and auto.method is not None and auto.open is None


def arm(account: Account, auto: AutoTopUp) -> None:
    """Let the account's row say what every decision needs to know."""
    account.topup_below = auto.threshold if armed(auto) else None
    account.topup_from = auto.not_before
    account.topup_open = _goes_on(auto) and auto.open is not None


def why_not(auto: AutoTopUp, period: Window, rules: TopUpRules) -> str | None:
    """The cap that forbids another attempt in this billing period: ``times``, ``amount``."""
    begun, spent = (auto.begun, auto.spent) if auto.period == period.start else (0, 0)
    if begun >= _most_times(auto, rules):
        return "times"
    if auto.cap is not None and spent + auto.amount > auto.cap:
        return "amount"
    return None


def _most_times(auto: AutoTopUp, rules: TopUpRules) -> int:
    return rules.times if auto.times is None else min(rules.times, auto.times)


def in_bounds(amount: int, currency: str, rules: TopUpRules) -> bool:
    """Whether the platform lets so many minor units be one top-up."""
    least, most = rules.bounds(currency)
    return least <= amount <= most


def misfit(
    auto: AutoTopUp, topup: TopUp, available: int, period: Window, rules: TopUpRules
) -> str | None:
    """Why the attempt that is counted last is not to be asked for any more, by the settings
    and the credit of now (rule 9.6); None where it still fits.

    ``disabled``, ``refund`` (one is under way), ``method`` (there is none), or what it
    stopped for; ``amount``: another one is set; ``threshold``: as much is available;
    ``period``: nobody was asked in the billing period whose cap counts it; ``times``,
    ``cap``: these have been lowered.
    """
    if not auto.enabled:
        return "disabled"
    if auto.refunds:
        return "refund"
    if auto.stopped is not None:
        return auto.stopped
    if auto.method is None:
        return "method"
    if topup.amount != auto.amount:
        return "amount"
    if available >= auto.threshold:
        return "threshold"
    if topup.state == "due" and auto.period != period.start:
        return "period"
    if auto.begun > _most_times(auto, rules):
        return "times"
    if auto.cap is not None and auto.spent > auto.cap:
        return "cap"
    return None


def allow(auto: AutoTopUp, period: Window, rules: TopUpRules) -> None:
    """Automatic top-ups are set anew: they are no longer stopped.  Says when the next may begin.

    This does not mend the card: failures stay counted, and the back-off stays.  Only the
    first enabling after as many failures as stop them has the card tried at once.  One more
    failure stops them again, and from then on enabling waits for the back-off.
    """
    auto.stopped = None
    start = 0 if auto.last is None else auto.last + duration("cooldown", rules.cooldown)
    at_once = auto.enabled and auto.failures == rules.failures
    capped = auto.not_before == period.end  # by what may have been raised
    if auto.failures and not (at_once or capped):
        start = max(start, auto.not_before)
    auto.not_before = start


def attempt_begins(auto: AutoTopUp, topup: str, period: Window) -> None:
    """Count an attempt of ``auto.amount``."""
    if auto.period != period.start:
        auto.period, auto.spent, auto.begun = period.start, 0, 0
    auto.open = topup
    auto.spent += auto.amount
    auto.begun += 1


def attempt_ends(auto: AutoTopUp, topup: TopUp, before: str, at: int, rules: TopUpRules) -> None:
    """What an attempt's new state means for the next one."""
    after = topup.state
    if auto.open == topup.topup and not topup.in_flight:
        auto.open = None
    if after in CHARGED and before not in CHARGED:
        auto.spent += topup.amount  # it had failed, and was charged all the same
    elif before in CHARGED and after not in CHARGED and auto.period <= topup.created:
        auto.spent -= topup.amount
        auto.begun -= after == "dropped"  # it used up nothing
    if after == "paid":
        auto.failures = 0
        auto.last = at
        auto.not_before = at + duration("cooldown", rules.cooldown)
    elif after == "quarantined":
        stopped(auto, "quarantined")
    elif before in IN_FLIGHT and not topup.in_flight and after != "dropped":
        _failed(auto, after, at, rules)


def _failed(auto: AutoTopUp, how: str, at: int, rules: TopUpRules) -> None:
    auto.failures += 1
    backoff = duration("backoff", rules.backoff)
    auto.not_before = at + min(backoff * 2 ** (auto.failures - 1), max(backoff, _LONGEST))
    if how == "authentication_required" or auto.failures >= rules.failures:
        stopped(auto, how)


def stopped(auto: AutoTopUp, why: str) -> bool:
    """Stop; whether it was going on.  What only enabling undoes outlives the rest."""
    if not auto.enabled or (auto.stopped is not None and auto.stopped not in NEEDS_METHOD):
        return False
    was, auto.stopped = auto.stopped, why
    return was is None


def awaits_method(auto: AutoTopUp) -> bool:
    """Whether another method lets it go on at once: the one before has failed, or is gone."""
    return auto.stopped in NEEDS_METHOD or auto.failures > 0


def resumes(auto: AutoTopUp, customer: str | None, method: str) -> bool:
    """Take a saved method; what the one before has stopped goes on.  Whether it is new."""
    if auto.method == method:
        return False
    auto.customer, auto.method = customer or auto.customer, method
    if auto.stopped in NEEDS_METHOD:
        auto.stopped = None
    if auto.failures:
        auto.failures, auto.not_before = 0, 0
    return True


# -- payments against top-ups ---------------------------------------------------


def subtotal_of(topup: TopUp, payment: Payment) -> int | None:
    """What was paid before tax, None where it cannot be told.  Of an automatic one that has no
    page that is all of it, even if the payment by now says that it was paid on one."""
    if payment.subtotal is None and topup.kind == "auto":
        return payment.amount
    return payment.subtotal


def mismatch(topup: TopUp, payment: Payment, currency: str, livemode: bool) -> str | None:
    """What of a payment is not as it was asked for: then it is quarantined."""
    if payment.livemode is not livemode:
        return "livemode"
    if payment.currency != currency:
        return "currency"
    subtotal = subtotal_of(topup, payment)
    if subtotal is None:
        return "subtotal"
    if subtotal != topup.amount or payment.received != payment.amount:
        return "amount"
    if subtotal > payment.amount:  # credit for money that nobody has paid
        return "amount"
    return None


def may_be(topup: TopUp, payment: Payment, currency: str, livemode: bool) -> str | None:
    """Why a payment that does not say whose it is cannot be that of a top-up, of which no page
    or payment is on record; None where it can."""
    if payment.state not in ("succeeded", "processing"):
        return "state"  # no money, and nobody was given what could still pay it
    if subtotal_of(topup, payment) != topup.amount:
        return "amount"
    asked: dict[str, object] = {"currency": currency, "livemode": livemode}
    customer = json.loads(topup.asked or "{}").get("customer")
    if customer is not None:
        asked["customer"] = customer
    return next((name for name in asked if getattr(payment, name) != asked[name]), None)


def held_share(topup: TopUp, payment: Payment) -> int | None:
    """Nanos of a credited top-up for what the provider holds of its payment: the subtotal in
    the proportion of what is kept to the total, rounded down.  None where it cannot be told.

    The subtotal and the currency were compared when it was credited; a checkout that cannot be
    found later changes nothing, nor does another currency.
    """
    if payment.received <= 0:
        return None
    return topup.granted * payment.kept // payment.received
