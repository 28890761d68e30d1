"""Units of what is counted by the microsecond, and how a price by another unit is converted.

Running time and durations are counted in microseconds, storage in byte-microseconds, a sandbox's
component in what its rate counts, times microseconds.  Their prices are said in
units from the closed list here, and converted exactly; any other word is refused, since a price
by the second for what is counted by the microsecond is a million times too much (rule 5.10).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

from attrs import evolve

from billing_core.errors import InvalidCommand
from billing_core.pricing.functions import (
    BYTES,
    TIMES,
    Flat,
    Graduated,
    Package,
    PriceFunction,
    Tier,
)
from billing_core.pricing.price import Price
from billing_core.values.patterns import meet

__all__ = ["counted", "size_in"]

_THINGS = ("vCPU", "CPU", "core", "GPU")
"""What a rate of a sandbox may count, beside sizes and what its component is called."""

_SIZES: Mapping[str, str] = MappingProxyType(
    {each.lower(): each for each in BYTES} | {"bytes": "byte"}
)
"""How the last part of a component's name says a size: ``memory_mib``."""

_TIMES = ", ".join(TIMES).replace("month", "month (730 hours)")
_BYTES = ", ".join(BYTES)


def counted(resource: str, component: str, price: Price, size: str | None = None) -> Price:
    """A price in the unit that its component is counted in; as it is where the host counts.

    ``size``: what the component's rates are known to count (``GB``), if it is a size.  Raises
    InvalidCommand for a unit that is not on the list.
    """
    if component == "byte_us" and meet(resource, "storage:*"):
        unit, one = "byte-microsecond", _stored(price.unit)
        expected = f'a size and a time, such as "GB-month": {_BYTES}; {_TIMES}'
    elif _is_duration(component) and any(meet(resource, each) for each in _TIMED):
        unit, one = "microsecond", _time(price.unit)
        expected = f"a unit of time, as durations are counted: {_TIMES}"
    elif meet(resource, "sandbox:*"):
        unit, one = _run(component, price.unit, size)
        expected = (
            f"a unit of time, as sandboxes are counted: {_TIMES}; alone, or behind what a rate"
            f' counts, such as "vCPU-hour": {", ".join(_THINGS)}, {component}, {_BYTES}'
        )
        if not resource.startswith("sandbox:"):
            expected += f"; {resource!r} names sandboxes too: say which resources it is for"
    else:
        return price
    where = f"prices[{resource!r}][{component!r}]"
    if one is None:
        raise InvalidCommand(f"{where}.unit", price.unit, expected)
    try:
        return _converted(price, unit, one)
    except InvalidCommand as error:
        raise InvalidCommand(
            where, price, f"one that can be said exactly by the {unit}: {error}"
        ) from error


_TIMED = ("tool:*", "code:*", "model:*")


def _is_duration(component: str) -> bool:
    """Whether it is time that a caller measures, in microseconds."""
    return component == "duration" or component.endswith("_duration")


def size_in(unit: str) -> str | None:
    """The size that a unit such as ``GB-microsecond`` names."""
    size = unit.partition("-")[0]
    return size if size in BYTES else None


def _time(unit: str) -> Fraction | None:
    """A unit of time in microseconds."""
    return Fraction(TIMES[unit]) if unit in TIMES else None


def _stored(unit: str) -> Fraction | None:
    size, _, time = unit.partition("-")
    if size not in BYTES or time not in TIMES:
        return None
    return Fraction(BYTES[size] * TIMES[time])


def _run(component: str, unit: str, size: str | None) -> tuple[str, Fraction | None]:
    """In which unit a sandbox's component is counted, and a unit in that one."""
    of, _, time = unit.rpartition("-")
    if time not in TIMES:
        return unit, None
    one = Fraction(TIMES[time])
    if of in BYTES:
        size = _SIZES.get(re.split("[_-]", component)[-1].lower()) or size or of
        return f"{size}-microsecond", one * BYTES[of] / BYTES[size]
    if of in (*_THINGS, component):
        return f"{of}-microsecond", one
    return "microsecond", one if unit == time else None


def _converted(price: Price, unit: str, one: Fraction) -> Price:
    """A price of which each unit is so many of what is counted."""
    if one == 1:
        return price if price.unit == unit else evolve(price, unit=unit)
    functions = [_by_unit(each, one) for each in price.functions()]
    # No increment was given: it counts by what is measured, not by the unit of the price.
    increment = None if price.given_increment is None else _whole(price.increment, one)
    return evolve(
        price.with_functions(functions),
        unit=unit,
        minimum=_whole(price.minimum, one),
        increment=increment,
    )


def _by_unit(function: PriceFunction, one: Fraction) -> PriceFunction:
    match function:
        case Flat(nanos, per):
            return Flat(*_rate(nanos, per, one))
        case Graduated(tiers):
            return Graduated(
                Tier(None if tier.up_to is None else _whole(tier.up_to, one),
                     *_rate(tier.nanos, tier.per, one))
                for tier in tiers
            )  # fmt: skip
        case Package(nanos, size):
            return Package(nanos, _whole(size, one))
        case _:
            raise InvalidCommand("function", function, "a Flat, Graduated or Package")


def _rate(nanos: int, per: int, one: Fraction) -> tuple[int, int]:
    if one.denominator == 1:
        return nanos, per * one.numerator
    rate = Fraction(nanos, per) / one
    return rate.numerator, rate.denominator


def _whole(quantity: int, one: Fraction) -> int:
    found = quantity * one
    if found.denominator != 1:
        raise InvalidCommand("quantity", quantity, f"a whole number of what is counted: {found}")
    return found.numerator
