"""A clock and an id source that tests set."""

from __future__ import annotations

from datetime import datetime, timedelta

from billing_core.values.times import micros, moment

__all__ = ["CountingIds", "SettableClock"]


class SettableClock:
    """A clock for tests, which stands still until it is moved.

    Give it to `Billing` as ``clock``.

    Args:
        now: The time that it shows at first, UTC.
    """

    def __init__(self, now: datetime) -> None:
        self._now = micros("now", now)

    def __call__(self) -> int:
        return self._now

    @property
    def now(self) -> datetime:
        """The time that it shows, UTC."""
        return moment(self._now)

    def set(self, now: datetime) -> None:
        """Move the clock to a time, forward or back."""
        self._now = micros("now", now)

    def advance(self, span: timedelta) -> None:
        """Move the clock forward by a span."""
        self._now = micros("now", self.now + span)


class CountingIds:
    """Ids for tests that count up from 1, in the form of a UUID: the same in every run.

    Give it to `Billing` as ``ids``.
    """

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        self._last += 1
        return f"00000000-0000-7000-8000-{self._last:012x}"
