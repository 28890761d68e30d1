"""What a quantity costs: exact price functions.

A price is a non-decreasing function ``f`` of the *cumulative* quantity of a
component in a billing period, with ``f(0) = 0``.  The charge for ``q`` more is

    floor(r + f(c + q) - f(c))

where ``c`` is the counter and ``r < 1`` the fraction of a nano that earlier
charges left over.  So any grouping and order of the same usage under one
version costs the same, and nobody pays more than the exact price.

Quantities and costs are exact integers and integer ratios; there is no rounding
but the ``floor`` above and the ceiling of a quote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from math import gcd
from types import MappingProxyType
from typing import NamedTuple

from attrs import field, frozen

from billing_core.errors import InvalidCommand
from billing_core.values.money import (
    MAX_NANOS,
    NANOS,
    checked_decimal,
    checked_nanos,
    decimal_text,
)

__all__ = [
    "BYTES",
    "FINEST",
    "MAX_PER",
    "TIMES",
    "Discounted",
    "Flat",
    "Graduated",
    "Package",
    "PriceFunction",
    "Rate",
    "Ratio",
    "Scaled",
    "Tier",
    "bound_text",
    "charge",
    "dearest",
    "packaged",
    "parted",
    "plain_ratio",
    "quantity_text",
    "rates",
    "ratio_text",
    "scattered",
    "stated",
    "unscaled",
    "whole",
]

MAX_PER = 10**30
"""So many units a price may be for: one by the byte-microsecond is for many."""


TIMES: Mapping[str, int] = MappingProxyType(
    {
        "microsecond": 1,
        "millisecond": 10**3,
        "second": 10**6,
        "minute": 60 * 10**6,
        "hour": 3_600 * 10**6,
        "day": 24 * 3_600 * 10**6,
        "month": 730 * 3_600 * 10**6,
    }
)
"""Units of time, in microseconds."""

BYTES: Mapping[str, int] = MappingProxyType(
    {"byte": 1}
    | {f"{prefix}B": 1000**n for n, prefix in enumerate("KMGT", 1)}
    | {f"{prefix}iB": 1024**n for n, prefix in enumerate("KMGT", 1)}
)
"""Units of size, in bytes."""

Ratio = tuple[int, int]
"""An exact non-negative rational, numerator and denominator, not necessarily in lowest terms."""


def _checked_rate(nanos: object, per: object) -> None:
    if type(nanos) is not int or not 0 <= nanos <= MAX_NANOS:
        raise InvalidCommand("nanos", nanos, f"an int from 0 to {MAX_NANOS}")
    if type(per) is not int or not 1 <= per <= MAX_PER:
        raise InvalidCommand("per", per, f"an int from 1 to {MAX_PER}")


def _exact_rate(amount: str | int | Decimal, per: int) -> tuple[int, int]:
    """``(nanos, per)`` of ``amount`` major units for ``per`` units, however fine."""
    value = checked_decimal("amount", amount)
    if value < 0:
        raise InvalidCommand("amount", amount, "a price of zero or more")
    if type(per) is not int or not 1 <= per <= MAX_PER:
        raise InvalidCommand("per", per, f"an int from 1 to {MAX_PER}")
    numerator, denominator = value.as_integer_ratio()
    nanos, units = numerator * NANOS, denominator * per
    # Keep the stated "per million" where that is exact; else the lowest terms.
    if nanos % denominator == 0:
        return nanos // denominator, per
    common = gcd(nanos, units)
    return nanos // common, units // common


def quantity_text(quantity: int, unit: str) -> str:
    """A quantity in the largest unit that it is a whole number of: ``2 GB-hours``."""
    of, _, time = unit.rpartition("-")
    if time == "microsecond" and quantity:
        sizes = BYTES if of == "byte" else {of: 1}
        names = {
            f"{size}-{name}" if size else name: us * bytes_
            for size, bytes_ in sizes.items()
            for name, us in TIMES.items()
        }
        unit = max((name for name in names if quantity % names[name] == 0), key=names.__getitem__)
        quantity //= names[unit]
    return f"{quantity:,} {unit}{'' if quantity == 1 else 's'}"


def _rate(nanos: int, per: int, currency: str, unit: str) -> str:
    return f"{decimal_text(nanos)} {currency} per {quantity_text(per, unit).removeprefix('1 ')}"


@frozen
class Flat:
    """A price in proportion: so much for so many units (rule 5.3).

    `Flat.of` takes the amount as a decimal of major units.

    Args:
        nanos: For every ``per`` units, from 0 on.
        per: How many units ``nanos`` are for.
    """

    nanos: int
    per: int = 1

    def __attrs_post_init__(self) -> None:
        _checked_rate(self.nanos, self.per)

    @classmethod
    def of(cls, amount: str | int | Decimal, per: int = 1) -> Flat:
        """So many major units of the currency for ``per`` units: ``Flat.of("0.0753", 1_000_000)``.

        Args:
            amount: A decimal as text, int or `Decimal`, 0 or more; it may be finer than a nano.
            per: How many units ``amount`` is for.

        Raises:
            InvalidCommand: For an amount or a ``per`` that is not accepted.
        """
        return cls(*_exact_rate(amount, per))

    def between(self, start: int, stop: int) -> Ratio:
        """f(stop) - f(start) in nanos."""
        return (stop - start) * self.nanos, self.per

    def most(self, quantity: int) -> Ratio:
        """The most that ``quantity`` can cost, wherever it starts, in nanos."""
        return quantity * self.nanos, self.per

    def peaks(self, start: int, stop: int, quantity: int) -> Iterable[int]:
        """Where in [start, stop] the next ``quantity`` may cost most."""
        return (start,)

    def describe(self, currency: str, unit: str) -> str:
        """The price in words: ``0.0753 USD per 1,000,000 tokens``."""
        return _rate(self.nanos, self.per, currency, unit)


@frozen
class Tier:
    """One tier of a graduated price: what each unit in it costs.

    Args:
        up_to: The tier's last unit, counted from the start of the billing period; None: no end.
        nanos: For every ``per`` units, from 0 on.
        per: How many units ``nanos`` are for.
    """

    up_to: int | None
    nanos: int
    per: int = 1

    def __attrs_post_init__(self) -> None:
        _checked_rate(self.nanos, self.per)
        bound = self.up_to
        if bound is not None and (type(bound) is not int or not 1 <= bound < 10**36):
            raise InvalidCommand("up_to", bound, "an int from 1 to below 10**36, or None")


def bound_text(quantity: int, unit: str) -> str:
    """A bound of a quantity: in words where what is counted is too small to read."""
    return quantity_text(quantity, unit) if unit.endswith("microsecond") else f"{quantity:,}"


def _tuple(tiers: Iterable[Tier]) -> tuple[Tier, ...]:
    if not isinstance(tiers, Iterable):
        raise InvalidCommand("tiers", tiers, "Tiers")
    return tuple(tiers)


@frozen
class Graduated:
    """A price in tiers: each unit costs what the tier says in which it lies (rule 5.3).

    Units are counted for each org and resource from the start of its billing period.

    Args:
        tiers: :class:`Tier` values with growing ``up_to``; the last one, and no other, has none.
    """

    tiers: tuple[Tier, ...] = field(converter=_tuple)

    def __attrs_post_init__(self) -> None:
        if not all(isinstance(tier, Tier) for tier in self.tiers):
            raise InvalidCommand("tiers", self.tiers, "Tiers")
        bounds = [tier.up_to for tier in self.tiers]
        inner = [bound for bound in bounds[:-1] if bound is not None]
        if not bounds or bounds[-1] is not None or len(inner) != len(bounds) - 1:
            raise InvalidCommand("tiers", bounds, "tiers of which the last, only, has no up_to")
        if inner != sorted(set(inner)):
            raise InvalidCommand("tiers", bounds, "tiers whose up_to grows")

    def between(self, start: int, stop: int) -> Ratio:
        """f(stop) - f(start) in nanos."""
        numerator, denominator = 0, 1
        floor = 0
        for tier in self.tiers:
            ceiling = stop if tier.up_to is None else min(tier.up_to, stop)
            units = ceiling - max(floor, start)
            if units > 0:
                numerator = numerator * tier.per + units * tier.nanos * denominator
                denominator *= tier.per
            if tier.up_to is None or tier.up_to >= stop:
                break
            floor = tier.up_to
        return numerator, denominator

    def most(self, quantity: int) -> Ratio:
        """At the dearest tier, in nanos."""
        tier = max(self.tiers, key=lambda each: Fraction(each.nanos, each.per))
        return quantity * tier.nanos, tier.per

    def peaks(self, start: int, stop: int, quantity: int) -> Iterable[int]:
        """The cost of the next ``quantity`` is piecewise linear in where it starts;
        it bends where either end of it meets a tier's bound."""
        bends = [tier.up_to for tier in self.tiers if tier.up_to is not None]
        bends += [bend - quantity for bend in bends]
        return (start, stop, *(bend for bend in bends if start < bend < stop))

    def describe(self, currency: str, unit: str) -> str:
        """The price in words, tier by tier."""
        return "; ".join(
            _rate(tier.nanos, tier.per, currency, unit)
            + (" beyond" if tier.up_to is None else f" up to {bound_text(tier.up_to, unit)}")
            for tier in self.tiers
        )


@frozen
class Package:
    """A price by packages: each package that has begun is paid in full (rule 5.3).

    `Package.of` takes the amount as a decimal of major units.

    Args:
        nanos: For each package, from 0 on.
        size: How many units are in a package.
    """

    nanos: int
    size: int

    def __attrs_post_init__(self) -> None:
        _checked_rate(self.nanos, self.size)

    @classmethod
    def of(cls, amount: str | int | Decimal, size: int) -> Package:
        """So many major units of the currency for each begun package: ``Package.of("5", 1_000)``.

        Args:
            amount: A decimal as text, int or `Decimal`, 0 or more, of whole nanos.
            size: How many units are in a package.

        Raises:
            InvalidCommand: For an amount or a size that is not accepted.
        """
        return cls(checked_nanos("amount", amount), size)

    def between(self, start: int, stop: int) -> Ratio:
        """f(stop) - f(start) in nanos."""
        return (-(-stop // self.size) + (-start // self.size)) * self.nanos, 1

    def most(self, quantity: int) -> Ratio:
        """Where a package has just been used up, in nanos."""
        return -(-quantity // self.size) * self.nanos, 1

    def peaks(self, start: int, stop: int, quantity: int) -> Iterable[int]:
        """The dearest place to start is where a package has just been used up."""
        return (start, min(stop, -(-start // self.size) * self.size))

    def describe(self, currency: str, unit: str) -> str:
        """The price in words: ``5.00 USD per begun package of 1,000 calls``."""
        size = quantity_text(self.size, unit)
        return f"{decimal_text(self.nanos)} {currency} per begun package of {size}"


@frozen
class Scaled:
    """What another function says, times an exact ratio."""

    function: Flat | Graduated | Package | Scaled
    ratio: Ratio

    def between(self, start: int, stop: int) -> Ratio:
        """f(stop) - f(start) in nanos."""
        cost, per = self.function.between(start, stop)
        return cost * self.ratio[0], per * self.ratio[1]

    def most(self, quantity: int) -> Ratio:
        """That ratio of the other function's, in nanos."""
        cost, per = self.function.most(quantity)
        return cost * self.ratio[0], per * self.ratio[1]

    def peaks(self, start: int, stop: int, quantity: int) -> Iterable[int]:
        """Where the other function has them."""
        return self.function.peaks(start, stop, quantity)

    def describe(self, currency: str, unit: str) -> str:
        """The price in words, and what it is multiplied by."""
        return f"{self.function.describe(currency, unit)}, times {ratio_text(self.ratio)}"


@frozen
class Discounted(Scaled):
    """What another function says, less a discount: the ratio is what it leaves, at most one."""

    def describe(self, currency: str, unit: str) -> str:
        """The price in words, and how many percent are off."""
        kept, of = self.ratio
        off = Decimal(100 * (of - kept)) / of
        return f"{self.function.describe(currency, unit)}, less {off.normalize():f}%"


def ratio_text(ratio: Ratio) -> str:
    """A ratio in words: as a decimal where it is one, else as a fraction."""
    whole, point, part = plain_ratio(ratio).partition(".")
    return whole if "/" in whole else f"{int(whole):,}{point}{part}"


def plain_ratio(ratio: Ratio) -> str:
    """A ratio as a program reads it: ``1234.5``, ``10/3``."""
    value = Fraction(*ratio)
    rest, digits = value.denominator, 0
    for prime in (2, 5):
        times = 0
        while rest % prime == 0:
            rest //= prime
            times += 1
        digits = max(digits, times)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    whole, part = divmod(value.numerator * 10**digits // value.denominator, 10**digits)
    return f"{whole}" + (f".{part:0{digits}}" if digits else "")


def unscaled(function: PriceFunction) -> tuple[Flat | Graduated | Package, Ratio]:
    """A function without the ratios that it is multiplied by, and their product."""
    numerator, denominator = 1, 1
    while isinstance(function, Scaled):
        numerator, denominator = numerator * function.ratio[0], denominator * function.ratio[1]
        function = function.function
    return function, (numerator, denominator)


PriceFunction = Flat | Graduated | Package | Scaled


class Rate(NamedTuple):
    """So many nanos for ``per`` units, up to a cumulative quantity; None: beyond all others."""

    up_to: int | None
    nanos: Fraction
    per: int


FINEST = 10**18
"""The finest parts of a nano that a component's prices together may leave (rule 5.12)."""

_OWN = 10**36  # a price's own denominator, not in lowest terms, is carried up to here


def rates(function: PriceFunction) -> frozenset[Fraction]:
    """The nanos that a unit may cost: what a charge leaves of a nano is so many parts of it."""
    match function:
        case Flat(nanos, per):
            return frozenset({Fraction(nanos, per)})
        case Graduated(tiers):
            return frozenset(Fraction(tier.nanos, tier.per) for tier in tiers)
        case Package():
            return frozenset()  # whole nanos for whole packages
        case Scaled(of, ratio):
            return frozenset(rate * Fraction(*ratio) for rate in rates(of))


def stated(function: PriceFunction) -> tuple[Rate, ...]:
    """A price as it is stated, tier by tier, less its discount; a :class:`Package` is of its
    size."""
    match function:
        case Flat(nanos, per):
            return (Rate(None, Fraction(nanos), per),)
        case Graduated(tiers):
            return tuple(Rate(tier.up_to, Fraction(tier.nanos), tier.per) for tier in tiers)
        case Package(nanos, size):
            return (Rate(None, Fraction(nanos), size),)
        case Scaled(of, ratio):
            return tuple(each._replace(nanos=each.nanos * Fraction(*ratio)) for each in stated(of))


def packaged(function: PriceFunction) -> bool:
    """Whether each begun package is paid in full."""
    return isinstance(unscaled(function)[0], Package)


def charge(
    function: PriceFunction, counter: int, quantity: int, carry: Ratio, least: int = 0
) -> tuple[int, Ratio]:
    """The nanos for ``quantity`` more, and the new fraction carried (rule 5.4).

    A negative ``quantity`` corrects what was counted too much: the nanos are then negative,
    but not below ``least``; what cannot be given back stands in the carried fraction, below
    zero, and makes the next charges cheaper.
    """
    if quantity < 0:
        cost, per = function.between(counter + quantity, counter)
        cost = -cost
    else:
        cost, per = function.between(counter, counter + quantity)
    if per > _OWN:  # tiers multiply theirs
        common = gcd(cost, per)
        cost, per = cost // common, per // common
    carried, of = carry
    if of == per:
        nanos = max(least, (carried + cost) // per)
        rest = carried + cost - nanos * per
        return nanos, ((rest, per) if rest else (0, 1))
    denominator = of * per
    total = carried * per + cost * of
    nanos = max(least, total // denominator)
    rest = total - nanos * denominator
    if rest == 0:
        return nanos, (0, 1)
    common = gcd(rest, denominator)
    # Prefer the price's own denominator: the next charge then adds without scaling.
    if per % (denominator // common) == 0:
        common = denominator // per
    return nanos, (rest // common, denominator // common)


def dearest(function: PriceFunction, start: int, stop: int, quantity: int) -> int:
    """The most that ``quantity`` can cost when it starts anywhere in [start, stop],
    in nanos, rounded up: what a quote says and a hold takes."""
    most = 0
    for at in function.peaks(start, stop, quantity):
        numerator, denominator = function.between(at, at + quantity)
        most = max(most, -(-numerator // denominator))
    return most


def whole(function: PriceFunction) -> bool:
    """Whether each unit costs whole nanos, so that no fraction of one is ever carried."""
    function, (over, under) = unscaled(function)
    match function:
        case Flat(nanos, per):
            return nanos * over % (per * under) == 0
        case Package(nanos):
            return nanos * over % under == 0
        case Graduated(tiers):
            return all(tier.nanos * over % (tier.per * under) == 0 for tier in tiers)


def scattered(function: PriceFunction, start: int, stop: int, quantity: int) -> int:
    """The most that ``quantity`` can cost when it is used in parts between which others use what
    else there is in [start, stop], in nanos, rounded up: the dearest units there."""
    function, ratio = unscaled(function)
    match function:
        case Flat():
            nanos, per = function.most(quantity)
        case Package(price, size):
            begun = -(-stop // size) - -(-start // size)
            nanos, per = min(quantity, begun) * price, 1
        case Graduated():
            nanos, per, left = 0, 1, quantity
            for count, tier in sorted(
                _reached(function, start, stop),
                key=lambda each: Fraction(each[1].nanos, each[1].per),
                reverse=True,
            ):
                part = min(left, count)
                nanos, per = nanos * tier.per + part * tier.nanos * per, per * tier.per
                left -= part
    return -(-nanos * ratio[0] // (per * ratio[1]))


def _reached(function: Graduated, start: int, stop: int) -> Iterator[tuple[int, Tier]]:
    """How many units of (start, stop] lie in each tier."""
    for tier in function.tiers:
        end = stop if tier.up_to is None else max(start, min(stop, tier.up_to))
        if end > start:
            yield end - start, tier
            start = end


def parted(function: PriceFunction, start: int, stop: int, quantity: int) -> int:
    """The most that ``quantity`` can cost when it is used in parts, at any places in
    [start, stop] and times at which this price holds, in nanos, rounded up."""
    function, ratio = unscaled(function)
    match function:
        case Flat():
            nanos, per = function.nanos, function.per
        case Package():
            nanos, per = function.nanos, 1  # each part may begin one
        case Graduated():
            nanos, per, floor = 0, 1, 0
            for tier in function.tiers:
                reached = floor < stop and (tier.up_to is None or tier.up_to > start)
                if reached and tier.nanos * per > nanos * tier.per:
                    nanos, per = tier.nanos, tier.per
                floor = tier.up_to or floor
    return -(-quantity * nanos * ratio[0] // (per * ratio[1]))
