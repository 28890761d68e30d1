"""What a price may depend on: facts of a request, its size, and the hour (rule 5.9).  Pure.

A condition holds, does not hold, or is open: a quote does not know yet how much will be used, when
in a hold's life, or which of the facts that nobody gave.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import time, timedelta
from typing import Any, NamedTuple

from attrs import field, frozen

from billing_core.errors import InvalidCommand
from billing_core.values.text import given_name
from billing_core.values.times import DAY

__all__ = [
    "Condition",
    "Fact",
    "FactIs",
    "Hours",
    "Request",
    "SizeAbove",
    "check_known",
    "clock_text",
    "condition_json",
    "fact_json",
    "load_condition",
]

_MICROSECOND = timedelta(microseconds=1)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FIRST = 3  # 1970 began on a Thursday
_MAX_BOUND = 10**36
_MAX_NAMES = 32


class Request(NamedTuple):
    """What is known of a request when it is priced or quoted.

    ``since`` and ``until``: the first and the last microsecond at which it may have occurred.
    ``least`` and ``most``: how much of each component it may have used in all.  ``quoted``: it is
    still to come: a fact that is not given may be any, and is open.
    """

    since: int
    until: int
    facts: tuple[tuple[str, str], ...]
    least: Mapping[str, int]
    most: Mapping[str, int]
    quoted: bool = False

    @classmethod
    def measured(
        cls, occurred: int, facts: Iterable[tuple[str, str]], quantities: Mapping[str, int]
    ) -> Request:
        """One that was made."""
        return cls(occurred, occurred, tuple(facts), quantities, quantities)


def _names(what: str, names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InvalidCommand(what, names, "a list of names")
    found = tuple(names)
    if not 0 < len(found) <= _MAX_NAMES:
        raise InvalidCommand(what, len(found), f"1 to {_MAX_NAMES} names")
    for name in found:
        given_name(what, name)
    if len(set(found)) != len(found):
        raise InvalidCommand(what, found, "each name once")
    return found


def _values(names: Iterable[str]) -> tuple[str, ...]:
    return _names("values", names)


def _of(names: Iterable[str]) -> tuple[str, ...]:
    return _names("of", names)


@frozen
class Fact:
    """A fact that a price depends on, and the values of it that the price knows (rule 5.9).

    ``Fact("service_tier", ["standard", "batch"], default="standard")``.  A usage says its value:
    ``facts={"service_tier": "batch"}``.  Any other value has no price: a settlement is recorded as
    unpriced, and quotes, checks, holds and deducts raise `UnknownPrice`.

    Args:
        name: The fact's name, as a usage gives it.
        values: Up to 32 values that the price knows.
        default: Which of them a request has that does not say.
    """

    name: str
    values: tuple[str, ...] = field(converter=_values)
    default: str

    def __attrs_post_init__(self) -> None:
        given_name("name", self.name)
        if self.default not in self.values:
            raise InvalidCommand("default", self.default, f"one of {', '.join(self.values)}")


@frozen
class FactIs:
    """The condition that a fact of the request has this value (rule 5.9).

    Args:
        name: The fact's name.  The price, or the book, declares it with a `Fact`.
        value: One of the values that the `Fact` knows.
    """

    name: str
    value: str

    def __attrs_post_init__(self) -> None:
        given_name("name", self.name)
        given_name("value", self.value)

    def holds(self, facts: Mapping[str, str]) -> bool | None:
        """Whether it holds by these facts; None, where it is of none of them: that is open."""
        given = facts.get(self.name)
        return None if given is None else given == self.value

    def describe(self) -> str:
        """In words: ``service_tier is batch``."""
        return f"{self.name} is {self.value}"


@frozen
class SizeAbove:
    """The condition that the request used more than so many units in all (rule 5.9).

    ``SizeAbove(272_000, ["input", "cached_read"])`` holds from 272,001 tokens on.  What counts is
    all that was measured of the usage's item so far, or without an item of the one settlement,
    whoever pays for it.  Prices of runs and storage cannot have it.

    Args:
        bound: The largest size at which it does not hold yet, from 0 on, in what is counted: of
            durations that is microseconds, whatever unit the price is in.
        of: The names of up to 32 components, whose quantities are added up.
    """

    bound: int
    of: tuple[str, ...] = field(converter=_of)

    def __attrs_post_init__(self) -> None:
        if type(self.bound) is not int or not 0 <= self.bound < _MAX_BOUND:
            raise InvalidCommand("bound", self.bound, "an int from 0 to below 10**36")

    def holds(self, request: Request) -> bool | None:
        """Whether it holds; None: that is open."""
        most = request.most
        if sum(most[name] for name in self.of if name in most) <= self.bound:
            return False
        least = request.least
        if least is most or sum(least.get(name, 0) for name in self.of) > self.bound:
            return True
        return None

    def describe(self) -> str:
        """In words: ``input + cached_read above 272,000``."""
        return f"{' + '.join(self.of)} above {self.bound:,}"


def _days(weekdays: Iterable[str]) -> tuple[str, ...]:
    found = _names("weekdays", weekdays)
    if not set(found) <= set(_WEEKDAYS):
        raise InvalidCommand("weekdays", found, f"some of {', '.join(_WEEKDAYS)}")
    return tuple(day for day in _WEEKDAYS if day in found)


@frozen
class Hours:
    """The condition that the request occurs from one time of day until before another, in UTC, on
    some days of the week (rule 5.9).

    ``Hours(time(16, 30), time(0, 30))`` holds from 16:30 until half past midnight of the next day.
    Hours that end where they begin, or earlier, go on into the next day, and belong to the weekday
    on which they begin.

    Args:
        start: Their first moment, a `datetime.time` without a time zone, in UTC.
        end: The moment after their last; ``start`` itself: 24 hours later.
        weekdays: Of ``mon``, ``tue``, ``wed``, ``thu``, ``fri``, ``sat``, ``sun``; default: all.
    """

    start: time
    end: time
    weekdays: tuple[str, ...] = field(default=_WEEKDAYS, converter=_days)
    _from: int = field(init=False, eq=False, repr=False)
    _to: int = field(init=False, eq=False, repr=False)
    _on: tuple[bool, ...] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        start, end = _of_day("start", self.start), _of_day("end", self.end)
        object.__setattr__(self, "_from", start)
        object.__setattr__(self, "_to", end if end > start else end + DAY)
        object.__setattr__(self, "_on", tuple(day in self.weekdays for day in _WEEKDAYS))

    def at(self, moment: int) -> bool:
        """Whether it holds at a time, in microseconds since 1970."""
        day, of_day = divmod(moment, DAY)
        if self._from <= of_day < self._to and self._on[(day + _FIRST) % 7]:
            return True
        return of_day + DAY < self._to and self._on[(day - 1 + _FIRST) % 7]

    def changes(self, start: int, end: int) -> Iterator[int]:
        """When, in (start, end), it begins to hold or ends to."""
        for day in range((start - DAY) // DAY, end // DAY + 1):
            for edge in (day * DAY + self._from, day * DAY + self._to):
                if start < edge < end and self.at(edge) != self.at(edge - 1):
                    yield edge

    def holds(self, request: Request) -> bool | None:
        """Whether it holds; None: that is open."""
        since, until = request.since, request.until
        if until > since and next(self.changes(since, until + 1), None) is not None:
            return None
        return self.at(since)

    def describe(self) -> str:
        """In words: ``from 22:00 to 06:00 UTC on mon, tue``."""
        days = "" if self.weekdays == _WEEKDAYS else f" on {', '.join(self.weekdays)}"
        return f"from {clock_text(self.start)} to {clock_text(self.end)} UTC{days}"


def clock_text(at: time) -> str:
    """A time of day in words: ``16:30``, to the second or the microsecond where it needs that."""
    return at.isoformat("minutes" if not at.second and not at.microsecond else "auto")


def _of_day(name: str, at: object) -> int:
    if not isinstance(at, time) or at.tzinfo is not None:
        raise InvalidCommand(name, at, "a datetime.time without a time zone: it is in UTC")
    return (
        timedelta(hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond)
        // _MICROSECOND
    )


Condition = FactIs | SizeAbove | Hours
"""What a variant or a multiplier of a price may depend on."""


def condition_json(condition: Condition) -> list[object]:
    """A condition as a book keeps it."""
    match condition:
        case FactIs(name, value):
            return ["fact", name, value]
        case SizeAbove(bound, of):
            return ["above", bound, list(of)]
        case Hours(start, end, weekdays):
            return ["hours", start.isoformat(), end.isoformat(), list(weekdays)]


def load_condition(data: list[Any]) -> Condition:
    """The condition of a :func:`condition_json`."""
    kind, *rest = data
    if kind == "fact":
        return FactIs(*rest)
    if kind == "above":
        return SizeAbove(*rest)
    start, end, weekdays = rest
    return Hours(time.fromisoformat(start), time.fromisoformat(end), weekdays)


def fact_json(fact: Fact) -> list[object]:
    """A fact that a price declares, as a book keeps it."""
    return [fact.name, list(fact.values), fact.default]


def check_known(conditions: Collection[Condition], facts: Iterable[Fact]) -> None:
    """Raise InvalidCommand for a condition on a fact, or a value, that is not declared."""
    known = {fact.name: fact.values for fact in facts}
    for each in conditions:
        if not isinstance(each, FactIs):
            continue
        if each.name not in known:
            raise InvalidCommand(
                "facts", each.name, f"a Fact that declares the values of {each.name!r}"
            )
        if each.value not in known[each.name]:
            raise InvalidCommand("value", each.value, f"one of {', '.join(known[each.name])}")
