"""What matters of an outcome, for holding a model's answer against it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from billing_core.commands.outcomes import Charged, Held, Outcome, Refusal
from billing_core.errors import BillingError, HoldEnded
from billing_core.records.usage import Line
from billing_core.values.times import micros

__all__ = [
    "Amounts",
    "Answer",
    "Ended",
    "No",
    "Wrong",
    "amounts",
    "answer_of",
    "line_amounts",
    "no",
]

_DIGEST = re.compile("#[0-9a-f]{16}")

Amounts = Mapping[tuple[str, str, str | None], tuple[int, int, int]]
"""(component, payer, version) → (quantity, billed, nanos)."""


@frozen
class Answer:
    """An outcome's class, or a refusal's reason, and its figures."""

    kind: str
    facts: Mapping[str, Any]


class Wrong(Exception):
    """A command that leads to an error of this class."""


class Ended(Exception):
    """A key of a reservation that has ended: how, what was charged for it, and whether it may be
    tried again."""

    def __init__(self, ended: str, charges: Sequence[int], retryable: bool) -> None:
        facts = {"ended": ended, "charges": tuple(charges), "retryable": retryable}
        self.answer = Answer("HoldEnded", facts)
        super().__init__(ended)


class No(Exception):
    """A refusal."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer.kind)


def no(
    reason: str, shortfall: int = 0, limit: str | None = None, after: float | None = None
) -> Answer:
    """A refusal's answer.  ``after``: how many seconds later a retry may help."""
    facts = {
        "shortfall": shortfall,
        "limit": limit,
        "retryable": after is not None,
        "retry_after": after,
    }
    return Answer(f"Refusal {reason}", facts)


def amounts(lines: Iterable[tuple[str, str, str | None, int, int, int]]) -> Amounts:
    """Lines added up by component, payer and version."""
    sums: dict[tuple[str, str, str | None], tuple[int, int, int]] = {}
    for component, payer, version, quantity, billed, amount in lines:
        key = (component, payer, version)
        before = sums.get(key, (0, 0, 0))
        sums[key] = (before[0] + quantity, before[1] + billed, before[2] + amount)
    return sums


def line_amounts(lines: Iterable[Line]) -> Amounts:
    """The same of lines on record; versions, and those of discounts, by their short names."""
    return amounts(
        (
            line.component,
            line.payer,
            None if line.version is None else _DIGEST.sub("", line.version),
            line.quantity,
            line.billed,
            line.amount,
        )
        for line in lines
    )


def answer_of(outcome: Outcome) -> Answer:
    """What matters of an outcome."""
    if isinstance(outcome, Refusal):
        said = ("shortfall", "limit", "retryable", "retry_after")
        facts = {name: getattr(outcome, name) for name in said}
        return Answer(f"Refusal {outcome.reason}", facts)
    if isinstance(outcome, HoldEnded):
        known = {name: getattr(outcome, name) for name in ("ended", "charges", "retryable")}
        return Answer("HoldEnded", known)
    if isinstance(outcome, BillingError):
        return Answer(type(outcome).__name__, {})
    facts = attrs.asdict(outcome, recurse=False)
    for name in ("org", "key", "replayed"):
        del facts[name]
    facts["at"] = micros("at", outcome.at)
    if isinstance(outcome, Held):
        facts["expires_at"] = micros("expires_at", outcome.expires_at)
    if isinstance(outcome, Charged):
        facts["lines"] = line_amounts(outcome.lines)
        facts["unpriced"] = sorted(outcome.unpriced)
    return Answer(type(outcome).__name__, facts)
