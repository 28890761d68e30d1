"""What can go wrong, by culprit.

Every error says what was given, what was expected and what to do next.  In
:meth:`Engine.execute` the first four are *values*, one per command, so that a
bad command does not disturb its neighbours; the named methods of ``Billing``
raise them.
"""

from __future__ import annotations

import reprlib
from typing import Any, Literal

__all__ = [
    "BillingError",
    "ClockDoubt",
    "Conflict",
    "EndedState",
    "HoldEnded",
    "IdempotencyConflict",
    "ImpossibleTransition",
    "InvalidCommand",
    "MoneyOverflow",
    "NameWarning",
    "NotFound",
    "Outdated",
    "PaymentError",
    "PaymentErrorKind",
    "StoreError",
    "UnknownPrice",
]


class BillingError(Exception):
    """Anything that this library raises on purpose."""

    def __eq__(self, other: object) -> bool:
        # Errors are also outcomes, and outcomes of two stores are compared.
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((type(self), str(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross processes in task queues; the constructors take other arguments.
        return _rebuilt, (type(self), self.args, self.__dict__)


class InvalidCommand(BillingError):
    """The caller's bug: a value that no state of the ledger would accept.

    ``field`` names the argument, ``given`` is its representation, shortened.
    """

    def __init__(self, field: str, given: object, expected: str) -> None:
        self.field = field
        self.given = _shown(given)
        self.expected = expected
        super().__init__(f"{field}: given {self.given}; expected {expected}")


class NameWarning(UserWarning):
    """A document names a resource that has a price only by a wildcard: it may be misspelt."""


class MoneyOverflow(InvalidCommand):
    """An amount, or a total that it would lead to, beyond 64 bits of nanos."""


class UnknownPrice(InvalidCommand):
    """A quote, check, hold or deduct of something for which no price is in force."""


class Conflict(BillingError):
    """What the command asks contradicts what is on record."""


class IdempotencyConflict(Conflict):
    """The key was used before with other content; ``differs`` names the fields."""

    def __init__(self, org: str, key: str, differs: tuple[str, ...]) -> None:
        self.org = org
        self.key = key
        self.differs = differs
        super().__init__(
            f"key {key!r} of org {org!r} is on record with another {', '.join(differs)}; "
            "send the same content to get the first outcome again, or use a new key"
        )


class ImpossibleTransition(Conflict):
    """A run cannot go from its ``state`` to the one that was asked for (``to``)."""

    def __init__(self, run: str, state: str, to: str) -> None:
        self.run = run
        self.state = state
        self.to = to
        super().__init__(f"run {run!r} is {state or 'not started'}: it cannot become {to}")


EndedState = Literal["settled", "released", "expired", "stopped", "forgiven", "reversed"]


class HoldEnded(Conflict):
    """The key was used before, with the same content, but what that made has ended: the caller
    must not go on as if it still held.

    ``what`` it made (a deduct makes a charge), and its ``name``.  ``ended``: how: a
    hold is ``settled``, ``released`` or ``expired``, a run ``stopped``, ``settled``,
    ``forgiven`` or ``released``, a charge ``reversed`` in full.  ``charges``: the numbers of
    what was charged for it, the latest of very many, and ``charged``: nanos, all together (None:
    not known, of a hold that an earlier version of the library served: look in the history).
    ``retryable``: nothing was charged, or it was given back, so try again with a *new* key.
    Otherwise treat the call as done.
    """

    def __init__(
        self,
        org: str,
        key: str,
        what: Literal["hold", "run", "charge"],
        name: str,
        ended: EndedState,
        *,
        charges: tuple[int, ...] = (),
        charged: int | None = 0,
        retryable: bool = False,
    ) -> None:
        self.org = org
        self.key = key
        self.what = what
        self.name = name
        self.ended = ended
        self.charges = charges
        self.charged = charged
        self.retryable = retryable
        told = f"key {key!r} of org {org!r} was used before: {what} {name!r} is {ended}"
        if charges:
            more = "…, " if len(charges) > 3 else ""
            told += f" (charged: {more}{', '.join(str(each) for each in charges[-3:])})"
        advice = "take what it was for as done"
        if retryable:
            advice = "try again under a new key"
        elif charged is None:
            advice = "look in the history for what was charged before trying again under a new key"
        super().__init__(f"{told}; {advice}")


class Outdated(Conflict):
    """What was read of the provider may be older than what is on record: read again."""


class NotFound(BillingError):
    """The org, hold, charge or version that the command names is not on record."""

    def __init__(self, kind: str, name: object, advice: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"no {kind} {_shown(name)}; {advice}")


class StoreError(BillingError):
    """The store failed.  The driver's own error is the ``__cause__``.

    ``retryable``: sending the same command again may succeed.
    ``outcome_unknown``: the write may have been committed; sending the same
    command again, with the same key, finds out and repairs.
    """

    def __init__(
        self, message: str, *, retryable: bool = False, outcome_unknown: bool = False
    ) -> None:
        self.retryable = retryable
        self.outcome_unknown = outcome_unknown
        super().__init__(message)


class ClockDoubt(StoreError):
    """The machine's clock is not believed: it differs from the database's, or is far ahead of
    everything on record.  Nothing was done; the same may be sent again once the clock is right,
    or once an operator has said that it is (:meth:`Billing.accept_clock`)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


PaymentErrorKind = Literal[
    "bad_signature",
    "bad_webhook",
    "declined",
    "in_progress",
    "invalid_request",
    "key_reused",
    "not_found",
    "rate_limited",
    "unauthorized",
    "unavailable",
    "unknown_outcome",
    "wrong_mode",
]


class PaymentError(BillingError):
    """The payment provider failed or said no.  Its client's own error is the ``__cause__``.

    ``kind``: what went wrong, whoever the provider is:

    - ``invalid_request``, ``not_found``, ``declined``: nothing was done, nor will be;
    - ``key_reused``: the idempotency key was used before with other parameters;
    - ``unauthorized``: the provider refuses our credentials;
    - ``rate_limited``: nothing was done this time;  ``unavailable``: nothing could be read;
    - ``in_progress``: a request with this key is still being carried out;
    - ``unknown_outcome``: it may have been done or not (no answer, or a failure on their side);
    - ``bad_signature``, ``bad_webhook``, ``wrong_mode``: a webhook that must change nothing.

    ``retryable``: the same call with the same key may succeed, and is safe.
    ``outcome_unknown``: this call may have taken effect: never count it as failed.  False
    speaks of this call alone; what an earlier one with its key left open stays open.
    ``code``: the provider's own word, for the logs.  ``missing``: with ``not_found``, what of
    the call the provider has no more: the ``customer`` or the saved ``method``.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: PaymentErrorKind,
        retryable: bool = False,
        outcome_unknown: bool = False,
        code: str | None = None,
        missing: Literal["customer", "method"] | None = None,
    ) -> None:
        self.kind: PaymentErrorKind = kind
        self.retryable = retryable
        self.outcome_unknown = outcome_unknown
        self.code = code
        self.missing = missing
        super().__init__(message)


_WIDTH = 100  # a datetime of UTC has 81
_REPR = reprlib.Repr()
# Its own limits, 30 to 40, cut the very digits out of a time or an amount.
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = _WIDTH


def _rebuilt(kind: type[BillingError], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def _shown(value: object) -> str:
    # repr() of a huge integer is quadratic (and refused beyond 4,300 digits).
    if isinstance(value, int) and not -(2**256) < value < 2**256:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = _REPR.repr(value)
    except Exception:  # a huge integer within, or a broken __repr__: say at least what it is
        return f"a {type(value).__name__}"
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
