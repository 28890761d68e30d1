"""What matters of an outcome, for holding a model's answer against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from attrs import frozen

from billing_core.errors import BillingError
from billing_core.outcomes import Charged, Held, Outcome, Refusal
from billing_core.records import Line
from billing_core.times import micros

__all__ = ["Amounts", "Answer", "amounts", "answer_of", "line_amounts"]

Amounts = Mapping[tuple[str, str, str | None], tuple[int, int, int]]
"""(component, payer, version) → (quantity, billed, nanos)."""


@frozen
class Answer:
    """An outcome's class, or a refusal's reason, and its figures."""

    kind: str
    facts: Mapping[str, Any]


def amounts(lines: Iterable[tuple[str, str, str | None, int, int, int]]) -> Amounts:
    """Lines added up by component, payer and version."""
    sums: dict[tuple[str, str, str | None], tuple[int, int, int]] = {}
    for component, payer, version, quantity, billed, amount in lines:
        key = (component, payer, version)
        before = sums.get(key, (0, 0, 0))
        sums[key] = (before[0] + quantity, before[1] + billed, before[2] + amount)
    return sums


def line_amounts(lines: Iterable[Line]) -> Amounts:
    """The same of lines on record; versions by their short names."""
    return amounts(
        (
            line.component,
            line.payer,
            None if line.version is None else line.version.partition("#")[0],
            line.quantity,
            line.billed,
            line.amount,
        )
        for line in lines
    )


def answer_of(outcome: Outcome) -> Answer:
    """What matters of an outcome."""
    if isinstance(outcome, Refusal):
        return Answer(f"Refusal {outcome.reason}", {"shortfall": outcome.shortfall})
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
