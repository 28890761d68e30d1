"""When an automatic top-up is due, what stops it, and whether a payment is as it was asked for.

Pure: no ledger, no provider (rules 9.3 and 9.6).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from billing_core.records.ledger import Account
from billing_core.values.times import DAY, Window, duration

if TYPE_CHECKING:
    from billing_core.ports.payments import Payment
from billing_core.records.topups import (
    CHARGED,
    IN_FLIGHT,
    NEEDS_METHOD,
    AutoTopUp,
    StopReason,
    TopUp,
    TopUpRules,
    TopUpState,
)

__all__ = [
    "allow",
    "arm",
    "armed",
    "attempt_begins",
    "attempt_ends",
    "awaits_method",
    "held_share",
    "in_bounds",
    "may_be",
    "misfit",
    "mismatch",
    "resumes",
    "stopped",
    "subtotal_of",
    "why_not",
]
_LONGEST = 30 * DAY  # a back-off


# -- the policy -----------------------------------------------------------------


def _goes_on(auto: AutoTopUp) -> bool:
    return auto.enabled and auto.stopped is None and not auto.refunds_open


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
    if auto.refunds_open:
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


def _failed(auto: AutoTopUp, how: TopUpState, at: int, rules: TopUpRules) -> None:
    auto.failures += 1
    backoff = duration("backoff", rules.backoff)
    auto.not_before = at + min(backoff * 2 ** (auto.failures - 1), max(backoff, _LONGEST))
    if how == "authentication_required" or auto.failures >= rules.failures:
        stopped(auto, cast(StopReason, how))


def stopped(auto: AutoTopUp, why: StopReason) -> bool:
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
