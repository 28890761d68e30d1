"""A line's worth of points from any number of them, in bounded memory."""

from __future__ import annotations

from datetime import datetime

from attrs import define, field

__all__ = ["Series"]

_MOST = 2_048


@define
class Series:
    """Amounts over time; of many points every second, fourth, … is kept."""

    points: list[tuple[datetime, int]] = field(factory=list)
    last: tuple[datetime, int] | None = None
    _every: int = 1
    _seen: int = 0

    def add(self, at: datetime, amount: int) -> None:
        self.last = (at, amount)
        if self._seen % self._every == 0:
            self.points.append(self.last)
            if len(self.points) >= _MOST:
                self.points = self.points[::2]
                self._every *= 2
        self._seen += 1
