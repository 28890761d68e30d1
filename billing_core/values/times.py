"""Time: UTC, passed in, whole microseconds; billing periods and windows.

Inside the engine a time is an ``int`` of microseconds since 1970; at the door it
is an aware ``datetime``.  Windows are half-open: start included, end not.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

from billing_core.errors import InvalidCommand

__all__ = [
    "DAY",
    "FOREVER",
    "HOUR",
    "PeriodName",
    "Window",
    "billing_period",
    "micros",
    "moment",
    "seconds",
    "spanning",
    "starts",
    "window",
]

HOUR = 3_600_000_000
DAY = 24 * HOUR
FOREVER = 2**63 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NOTHING, _LONGEST = timedelta(0), timedelta(days=3660)
_FIRST = datetime(1971, 1, 1, tzinfo=UTC)
_LAST = datetime(9900, 1, 1, tzinfo=UTC)
_MOST_MONTHS = 4096
_MOST_SECONDS = 2_147_483  # both databases count milliseconds in 31 bits

PeriodName = Literal["current", "7d", "30d", "all_time"]


class Window(NamedTuple):
    """A half-open span of time, in microseconds since 1970."""

    start: int
    end: int


def micros(field: str, time: object) -> int:
    """Microseconds since 1970 of an aware datetime between 1971 and 9900."""
    if not isinstance(time, datetime):
        raise InvalidCommand(field, time, "an aware datetime, such as datetime.now(UTC)")
    if time.tzinfo is None or time.utcoffset() is None:
        raise InvalidCommand(field, time, "an aware datetime: this one has no time zone")
    if not _FIRST <= time < _LAST:
        raise InvalidCommand(field, time, "a time between the years 1971 and 9900")
    return _since_epoch(time)


def _since_epoch(time: datetime) -> int:
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


@lru_cache(64)  # a batch asks for one time over and over
def moment(time: int) -> datetime:
    """The UTC datetime of microseconds since 1970."""
    seconds, rest = divmod(time, 1_000_000)
    return _EPOCH + timedelta(0, seconds, rest)


def duration(field: str, span: object) -> int:
    """Microseconds of a positive timedelta of at most 10 years."""
    if not isinstance(span, timedelta):
        raise InvalidCommand(field, span, "a timedelta, such as timedelta(minutes=10)")
    if not _NOTHING < span <= _LONGEST:
        raise InvalidCommand(field, span, "a positive duration of at most 3,660 days")
    return span // _MICROSECOND


def seconds(field: str, number: float, *, positive: bool) -> float:
    """For how long a store waits: a number of seconds that every database can count."""
    real = isinstance(number, (int, float)) and not isinstance(number, bool)
    # NaN is in no span.
    if not real or not 0 <= number <= _MOST_SECONDS or (positive and not number):
        least = "above 0" if positive else "of 0 or more"
        raise InvalidCommand(field, number, f"a number of seconds {least}, up to {_MOST_SECONDS:,}")
    return number


_MONTHS: dict[int, Window] = {}
"""The month last asked for, by anchor."""


def billing_period(anchor: int, time: int) -> Window:
    """The month, counted from ``anchor``, in which ``time`` lies.

    Months start on the anchor's day and time of day; where a month has no such
    day (the 31st), on its last day.
    """
    known = _MONTHS.get(anchor)
    if known is not None and known.start <= time < known.end:
        return known
    if len(_MONTHS) >= _MOST_MONTHS:
        _MONTHS.clear()
    _MONTHS[anchor] = found = _billing_period(anchor, time)
    return found


def _billing_period(anchor: int, time: int) -> Window:
    at = moment(time)
    month = at.year * 12 + at.month - 1
    start = _boundary(anchor, month)
    if start > time:
        return Window(_boundary(anchor, month - 1), start)
    return Window(start, _boundary(anchor, month + 1))


def starts(anchor: int, grain: str, first: int, last: int) -> Window:
    """Between which times, both included, the days or billing periods begin in which the
    times from ``first`` to ``last`` lie."""
    begin = first - first % DAY if grain == "day" else billing_period(anchor, first).start
    return Window(begin, last)


@lru_cache(maxsize=4096)
def _boundary(anchor: int, month: int) -> int:
    """When the billing month begins that begins in a calendar month, counted from year 0."""
    first = moment(anchor)
    year, index = divmod(month, 12)
    day = min(first.day, monthrange(year, index + 1)[1])
    return _since_epoch(first.replace(year=year, month=index + 1, day=day))


def window(name: str, *, anchor: int, opened: int, now: int) -> Window:
    """The span of a period's name: ``current`` is the billing period, ``7d`` and
    ``30d`` end now, ``all_time`` runs from the account's opening until now (and has what was
    recorded of earlier periods, and of later times: see the reports)."""
    match name:
        case "current":
            return billing_period(anchor, now)
        case "7d":
            return Window(now - 7 * DAY, now)
        case "30d":
            return Window(now - 30 * DAY, now)
        case "all_time":
            return Window(min(opened, now), now)
        case _:
            raise InvalidCommand("period", name, "one of current, 7d, 30d, all_time")


def spanning(span: tuple[int, int] | None, time: int) -> tuple[int, int]:
    """The earliest and latest of what a span has and a time."""
    if span is None:
        return time, time
    first, last = span
    return span if first <= time <= last else (min(first, time), max(last, time))
