"""What can go wrong, by culprit.

Every error says what was given, what was expected and what to do next.  `Billing.execute` gives
`InvalidCommand`, `Conflict` and `NotFound` as values, one for each command, so that a bad command
does not disturb its neighbours (rule 3.1).  The named methods of `Billing` raise them.
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
    """Whatever this library raises on purpose: the base of all its errors."""

    def __eq__(self, other: object) -> bool:
        # Errors are also outcomes, and outcomes of two stores are compared.
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((type(self), str(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross processes in task queues; the constructors take other arguments.
        return _rebuilt, (type(self), self.args, self.__dict__)


class InvalidCommand(BillingError):
    """The caller's mistake: a value that would never be accepted, whatever is on record.

    Attributes:
        field: The argument that is wrong.
        given: Its representation, shortened.
        expected: What would be accepted, in words.
    """

    def __init__(self, field: str, given: object, expected: str) -> None:
        self.field = field
        self.given = _shown(given)
        self.expected = expected
        super().__init__(f"{field}: given {self.given}; expected {expected}")


class NameWarning(UserWarning):
    """A document names a resource that has a price only by a wildcard: it may be misspelt."""


class MoneyOverflow(InvalidCommand):
    """An amount, or a total that it would lead to, is beyond 64 bits of nanos (rule 5.1)."""


class UnknownPrice(InvalidCommand):
    """A quote, check, hold, deduct or start of a run asks for what has no price, or none for the
    value that it gives of a fact (rules 5.7 and 5.9).

    A settlement never raises it: it records the usage as unpriced.
    """


class Conflict(BillingError):
    """What the command asks contradicts what is on record."""


class IdempotencyConflict(Conflict):
    """The key was used before, with other content (rule 7.2).

    Attributes:
        org: Whose account it is.
        key: The key.
        differs: The names of the fields that differ.
    """

    def __init__(self, org: str, key: str, differs: tuple[str, ...]) -> None:
        self.org = org
        self.key = key
        self.differs = differs
        super().__init__(
            f"key {key!r} of org {org!r} is on record with another {', '.join(differs)}; "
            "send the same content to get the first outcome again, or use a new key"
        )


class ImpossibleTransition(Conflict):
    """A run cannot go from the state that it is in to the one that was asked for (rule 8.3).

    Attributes:
        run: The run's name.
        state: The state that it is in; empty: it has not started.
        to: The state that was asked for.
    """

    def __init__(self, run: str, state: str, to: str) -> None:
        self.run = run
        self.state = state
        self.to = to
        super().__init__(f"run {run!r} is {state or 'not started'}: it cannot become {to}")


EndedState = Literal["settled", "released", "expired", "stopped", "forgiven", "reversed"]


class HoldEnded(Conflict):
    """The key was used before with the same content, but what it made has ended (rule 6.3).

    The caller must not go on as if the credit were still reserved.

    Attributes:
        org: Whose account it is.
        key: The key.
        what: What the command made: ``hold``, ``run`` or ``charge`` (of a deduct).
        name: Its name: a hold's or a run's key, a charge's number.
        ended: How: a hold is ``settled``, ``released`` or ``expired``; a run ``stopped``,
            ``settled``, ``forgiven`` or ``released``; a charge ``reversed``, all of it.
        charges: The numbers of the charges for it; of very many, the latest.
        charged: Nanos of all charges for it together, less what was forgiven of a run.  None: not
            known, as an earlier version of the library served the hold.
        retryable: True: nothing was charged, or all of it was given back, so try again under a
            *new* key.  False: take the call as done, and do not repeat it; where ``charged`` is
            None, look in the history first.
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
    """What the provider answered may be older than what is on record: read the payment again."""


class NotFound(BillingError):
    """The org, hold, charge, run or version that the command names is not on record.

    Attributes:
        kind: What was looked for: ``org``, ``hold``, ``charge`` and so on.
        name: The name that was given.
    """

    def __init__(self, kind: str, name: object, advice: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"no {kind} {_shown(name)}; {advice}")


class StoreError(BillingError):
    """The database failed.  The driver's own error is the ``__cause__``.

    Attributes:
        retryable: True: the same command, sent again, may succeed.
        outcome_unknown: True: the write may have been committed.  Send the same command with the
            same key: it is done once, and you get its outcome (rule 3.6).
    """

    def __init__(
        self, message: str, *, retryable: bool = False, outcome_unknown: bool = False
    ) -> None:
        self.retryable = retryable
        self.outcome_unknown = outcome_unknown
        super().__init__(message)


class ClockDoubt(StoreError):
    """The machine's clock may be wrong, so nothing was done (rule 3.8).  Always retryable.

    The clock differs from the database's, or is far ahead of everything on record.  Send the same
    command again once the clock is right, or, on SQLite, once an operator who has looked at it has
    called `Billing.accept_clock`.
    """

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

    Attributes:
        kind: What went wrong, the same words for every provider:

            - ``invalid_request``, ``not_found``, ``declined``: nothing was done, nor will be;
            - ``key_reused``: the idempotency key was used before with other parameters;
            - ``unauthorized``: the provider refuses the credentials;
            - ``rate_limited``: nothing was done this time;
            - ``unavailable``: nothing could be read;
            - ``in_progress``: a request with this key is still being carried out;
            - ``unknown_outcome``: it may have been done or not, as there was no answer, or the
              provider failed;
            - ``bad_signature``, ``bad_webhook``, ``wrong_mode``: a webhook that must change
              nothing.
        retryable: True: the same call with the same key may succeed, and is safe.
        outcome_unknown: True: this call may have taken effect, so never count it as failed.  False
            speaks of this call alone: if an earlier one with its key is unknown, it stays so.
        code: The provider's own word, for the logs.
        missing: With ``not_found``: what the provider does not have any more, the ``customer`` or
            the saved ``method``.
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
