"""A clock and an id source that tests set."""

from __future__ import annotations

from datetime import datetime, timedelta

from billing_core.values.times import micros, moment

__all__ = ["CountingIds", "SettableClock"]


class SettableClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self._now = micros("now", now)

    def __call__(self) -> int:
        return self._now

    @property
    def now(self) -> datetime:
        return moment(self._now)

    def set(self, now: datetime) -> None:
        """Move to a time, forth or back."""
        self._now = micros("now", now)

    def advance(self, span: timedelta) -> None:
        """Move on by a span."""
        self._now = micros("now", self.now + span)


class CountingIds:
    """UUIDv7-shaped ids that count: the same in every run."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        self._last += 1
        return f"00000000-0000-7000-8000-{self._last:012x}"
