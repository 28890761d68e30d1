"""The engine's errors as HTTP answers."""

from __future__ import annotations

from math import ceil

from billing_adapters.http.messages import Problem
from billing_core.commands.outcomes import Refusal, Refused
from billing_core.errors import (
    BillingError,
    ClockDoubt,
    Conflict,
    HoldEnded,
    IdempotencyConflict,
    InvalidCommand,
    NotFound,
    PaymentError,
    StoreError,
    UnknownPrice,
)
from billing_core.values.money import decimal_text

__all__ = ["problem_of"]

_REFUSED = {
    "insufficient_credit": (402, "insufficient_credits", "There is not enough credit."),
    "limit_reached": (429, "limit_reached", "A spending limit is reached."),
    "quota_reached": (429, "quota_reached", "The plan's quota is used up."),
    "closed": (409, "account_closed", "The account is closed."),
    "hold_lapsed": (409, "hold_lapsed", "The hold has expired."),
    "hold_released": (409, "hold_released", "The hold was released."),
    "over_reversal": (409, "over_reversal", "More would be given back than was charged."),
    "no_saved_method": (
        409,
        "no_saved_payment_method",
        "There is no saved payment method. Top up with savePaymentMethod first.",
    ),
}


def problem_of(error: BillingError) -> Problem:
    """The answer to an error; 500 for one that no caller can mend."""
    match error:
        case Refused():
            return _refused(error.refusal)
        case IdempotencyConflict():
            names = ", ".join(error.differs)
            return Problem(
                409,
                "idempotency_conflict",
                f"This key was used before with another {names}. Send the same content to get "
                "the first answer again, or use a new key.",
            )
        case HoldEnded():
            return _ended(error)
        case Conflict():
            return Problem(409, "conflict", str(error))
        case UnknownPrice():
            return Problem(422, "unknown_price", str(error), field=error.field)
        case InvalidCommand() if error.field != "livemode":  # the host's, with its provider
            return Problem(422, "invalid_request", str(error), field=error.field)
        case NotFound():
            code = "unknown_" + error.kind.replace("-", "_")
            return Problem(404, code, f"There is no such {error.kind}.")
        case PaymentError():
            return _payment_failed(error)
        case ClockDoubt():
            return Problem(
                503,
                "clock_doubt",
                "The clock of this server may be wrong. Send the same request again later.",
                headers={"Retry-After": "60"},
            )
        case StoreError() if error.retryable or error.outcome_unknown:
            return Problem(
                503,
                "store_unavailable",
                "The store did not answer. Send the same request again.",
                headers={"Retry-After": "1"},
            )
        case _:
            return Problem(500, "internal_error", "Something went wrong on our side.")


def _ended(error: HoldEnded) -> Problem:
    """``retryable``: under a new key."""
    again = "Use a new key." if error.retryable else "What it was for was done."
    if error.charged is None:
        again = "See the history for what was charged."
    return Problem(
        409,
        "hold_ended",
        f"This key was used before, for a {error.what} that is {error.ended}. {again}",
        retryable=error.retryable,
        what=error.what,
        name=None if error.what == "hold" else error.name,
        ended=error.ended,
        charges=[str(each) for each in error.charges],
        charged=None if error.charged is None else decimal_text(error.charged),
    )


def _payment_failed(error: PaymentError) -> Problem:
    if error.kind in ("bad_signature", "bad_webhook", "wrong_mode"):
        return Problem(400, error.kind, "This cannot be verified, and nothing was done.")
    if error.retryable or error.outcome_unknown:
        return Problem(
            503,
            "payments_unavailable",
            "The payment provider did not answer. Send the same request again.",
            headers={"Retry-After": "5"},
        )
    return Problem(502, "payments_failed", "The payment provider refused what we asked of it.")


def _refused(refusal: Refusal) -> Problem:
    status, code, message = _REFUSED[refusal.reason]
    after = None if refusal.retry_after is None else max(1, ceil(refusal.retry_after))
    return Problem(
        status,
        code,
        message,
        headers=None if after is None else {"Retry-After": str(after)},
        shortfall=decimal_text(refusal.shortfall) if refusal.shortfall else None,
        limit=refusal.limit,
        retryable=refusal.retryable,
    )
