"""The keys of what callers give no key for."""

from __future__ import annotations

from datetime import datetime

from billing_core.ports.clock import Clock
from billing_core.values.text import checked_name
from billing_core.values.times import micros

__all__ = ["told_at"]


def told_at(name: str, time: datetime | None, clock: Clock) -> str:
    """The key of what is told of a run or workspace for a time."""
    return f"{checked_name('name', name)}@{clock() if time is None else micros('at', time)}"
