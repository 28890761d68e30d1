"""What a quantity costs: exact price functions, price books and the catalogue.

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

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from math import gcd
from typing import NamedTuple, cast

from attrs import field, frozen

from billing_core.errors import InvalidCommand, NotFound
from billing_core.money import (
    MAX_NANOS,
    NANOS,
    checked_currency,
    checked_decimal,
    checked_nanos,
    decimal_text,
)
from billing_core.quantities import PLATFORM, Usage
from billing_core.text import checked_name, compact
from billing_core.times import micros, moment

__all__ = [
    "Catalogue",
    "Flat",
    "Graduated",
    "Package",
    "Price",
    "PriceBook",
    "Published",
    "Ratio",
    "Tier",
    "charge",
    "dearest",
    "load_book",
]

_MAX_PER = 10**18


Ratio = tuple[int, int]
"""An exact non-negative rational, numerator and denominator, not necessarily in lowest terms."""


def _checked_rate(nanos: object, per: object) -> None:
    if type(nanos) is not int or not 0 <= nanos <= MAX_NANOS:
        raise InvalidCommand("nanos", nanos, f"an int from 0 to {MAX_NANOS}")
    if type(per) is not int or not 1 <= per <= _MAX_PER:
        raise InvalidCommand("per", per, f"an int from 1 to {_MAX_PER}")


def _exact_rate(amount: str | int | Decimal, per: int) -> tuple[int, int]:
    """``(nanos, per)`` of ``amount`` major units for ``per`` units, however fine."""
    value = checked_decimal("amount", amount)
    if value < 0:
        raise InvalidCommand("amount", amount, "a price of zero or more")
    if type(per) is not int or not 1 <= per <= _MAX_PER:
        raise InvalidCommand("per", per, f"an int from 1 to {_MAX_PER}")
    numerator, denominator = value.as_integer_ratio()
    nanos, units = numerator * NANOS, denominator * per
    # Keep the stated "per million" where that is exact; else the lowest terms.
    if nanos % denominator == 0:
        return nanos // denominator, per
    common = gcd(nanos, units)
    return nanos // common, units // common


def _rate(nanos: int, per: int, currency: str, unit: str) -> str:
    units = unit if per == 1 else f"{per:,} {unit}s"
    return f"{decimal_text(nanos)} {currency} per {units}"


@frozen
class Flat:
    """``nanos`` for every ``per`` units, charged in proportion."""

    nanos: int
    per: int = 1

    def __attrs_post_init__(self) -> None:
        _checked_rate(self.nanos, self.per)

    @classmethod
    def of(cls, amount: str | int | Decimal, per: int = 1) -> Flat:
        """``amount`` major units for ``per`` units: ``Flat.of("0.0753", 1_000_000)``."""
        return cls(*_exact_rate(amount, per))

    def between(self, start: int, stop: int) -> Ratio:
        """f(stop) - f(start) in nanos."""
        return (stop - start) * self.nanos, self.per

    def peaks(self, start: int, stop: int, quantity: int) -> Iterable[int]:
        """Where in [start, stop] the next ``quantity`` may cost most."""
        return (start,)

    def describe(self, currency: str, unit: str) -> str:
        return _rate(self.nanos, self.per, currency, unit)


@frozen
class Tier:
    """Units up to ``up_to`` (cumulative, None: without end) cost ``nanos`` for ``per``."""

    up_to: int | None
    nanos: int
    per: int = 1

    def __attrs_post_init__(self) -> None:
        _checked_rate(self.nanos, self.per)
        bound = self.up_to
        if bound is not None and (type(bound) is not int or not 1 <= bound < 10**36):
            raise InvalidCommand("up_to", bound, "an int from 1 to below 10**36, or None")


def _tuple(tiers: Iterable[Tier]) -> tuple[Tier, ...]:
    if not isinstance(tiers, Iterable):
        raise InvalidCommand("tiers", tiers, "Tiers")
    return tuple(tiers)


@frozen
class Graduated:
    """Each unit costs what its own tier says, by the cumulative quantity it falls at."""

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

    def peaks(self, start: int, stop: int, quantity: int) -> Iterable[int]:
        """The cost of the next ``quantity`` is piecewise linear in where it starts;
        it bends where either end of it meets a tier's bound."""
        bends = [tier.up_to for tier in self.tiers if tier.up_to is not None]
        bends += [bend - quantity for bend in bends]
        return (start, stop, *(bend for bend in bends if start < bend < stop))

    def describe(self, currency: str, unit: str) -> str:
        return "; ".join(
            _rate(tier.nanos, tier.per, currency, unit)
            + (" beyond" if tier.up_to is None else f" up to {tier.up_to:,}")
            for tier in self.tiers
        )


@frozen
class Package:
    """``nanos`` for every begun package of ``size`` units."""

    nanos: int
    size: int

    def __attrs_post_init__(self) -> None:
        _checked_rate(self.nanos, self.size)

    @classmethod
    def of(cls, amount: str | int | Decimal, size: int) -> Package:
        """``amount`` major units, a whole number of nanos, for ``size`` units."""
        return cls(checked_nanos("amount", amount), size)

    def between(self, start: int, stop: int) -> Ratio:
        """f(stop) - f(start) in nanos."""
        return (-(-stop // self.size) + (-start // self.size)) * self.nanos, 1

    def peaks(self, start: int, stop: int, quantity: int) -> Iterable[int]:
        """The dearest place to start is where a package has just been used up."""
        return (start, min(stop, -(-start // self.size) * self.size))

    def describe(self, currency: str, unit: str) -> str:
        return f"{decimal_text(self.nanos)} {currency} per begun package of {self.size:,} {unit}s"


PriceFunction = Flat | Graduated | Package


@frozen
class Price:
    """The price of one component.

    ``unit``: what one of the quantity is ("token", "second").  ``minimum`` and
    ``increment``, in that unit, hold for an *item* (one call, one sandbox run):
    its cumulative raw quantity counts at least as ``minimum``, rounded up to
    whole increments.
    """

    function: PriceFunction
    unit: str = "token"
    minimum: int = 0
    increment: int = 1

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.function, PriceFunction):
            raise InvalidCommand("function", self.function, "a Flat, Graduated or Package")
        checked_name("unit", self.unit)
        if type(self.minimum) is not int or not 0 <= self.minimum <= _MAX_PER:
            raise InvalidCommand("minimum", self.minimum, "an int of zero or more")
        if type(self.increment) is not int or not 1 <= self.increment <= _MAX_PER:
            raise InvalidCommand("increment", self.increment, "an int of one or more")

    @property
    def by_item(self) -> bool:
        """Whether an item's billed quantity can differ from its raw one."""
        return self.minimum > 0 or self.increment > 1

    def billed(self, raw: int) -> int:
        """What an item's cumulative raw quantity counts as; an unused item costs nothing."""
        if raw == 0:
            return 0
        return -(-max(raw, self.minimum) // self.increment) * self.increment


def charge(function: PriceFunction, counter: int, quantity: int, carry: Ratio) -> tuple[int, Ratio]:
    """The nanos for ``quantity`` more, and the new fraction carried (rule 5.4)."""
    cost, per = function.between(counter, counter + quantity)
    carried, of = carry
    if of == per:
        nanos, rest = divmod(carried + cost, per)
        return nanos, ((rest, per) if rest else (0, 1))
    denominator = of * per
    nanos, rest = divmod(carried * per + cost * of, denominator)
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


@frozen
class PriceBook:
    """One immutable version of prices, by resource and component.

    ``version``: its name, unique for ever.  ``effective_at``: from when usage is
    priced by it.  A book supersedes the prices that it names and leaves others
    in force.  Resources of models are named ``model:…`` (:func:`billing_core.model`).
    """

    version: str
    effective_at: datetime
    prices: Mapping[str, Mapping[str, Price]]
    currency: str = "USD"

    def __attrs_post_init__(self) -> None:
        if "#" in checked_name("version", self.version):
            raise InvalidCommand("version", self.version, 'a name without "#"')
        micros("effective_at", self.effective_at)
        checked_currency(self.currency)
        if not isinstance(self.prices, Mapping) or not self.prices:
            raise InvalidCommand("prices", self.prices, "a mapping with at least one price")
        for resource, components in self.prices.items():
            checked_name("resource", resource)
            if not isinstance(components, Mapping) or not components:
                raise InvalidCommand("prices", resource, "at least one component's price")
            for component, price in components.items():
                checked_name("component", component)
                if not isinstance(price, Price):
                    raise InvalidCommand(f"prices[{resource!r}][{component!r}]", price, "a Price")

    def body(self) -> str:
        """The canonical JSON of everything in it."""
        return compact(
            {
                "version": self.version,
                "effective_at": micros("effective_at", self.effective_at),
                "currency": self.currency,
                "prices": {
                    resource: {name: _price_json(price) for name, price in sorted(parts.items())}
                    for resource, parts in sorted(self.prices.items())
                },
            }
        )


def _price_json(price: Price) -> dict[str, object]:
    function = price.function
    match function:
        case Flat():
            shape: dict[str, object] = {"flat": [function.nanos, function.per]}
        case Graduated():
            shape = {"graduated": [[t.up_to, t.nanos, t.per] for t in function.tiers]}
        case Package():
            shape = {"package": [function.nanos, function.size]}
    return shape | {"unit": price.unit, "minimum": price.minimum, "increment": price.increment}


def _price(data: dict[str, object]) -> Price:
    function: PriceFunction
    if "flat" in data:
        function = Flat(*cast("list[int]", data["flat"]))
    elif "graduated" in data:
        tiers = cast("list[tuple[int | None, int, int]]", data["graduated"])
        function = Graduated(tuple(Tier(*tier) for tier in tiers))
    else:
        function = Package(*cast("list[int]", data["package"]))
    return Price(
        function,
        unit=cast("str", data["unit"]),
        minimum=cast("int", data["minimum"]),
        increment=cast("int", data["increment"]),
    )


def load_book(body: str) -> PriceBook:
    """The book of a :meth:`PriceBook.body`."""
    data = json.loads(body)
    return PriceBook(
        version=data["version"],
        effective_at=moment(data["effective_at"]),
        prices={
            resource: {name: _price(price) for name, price in parts.items()}
            for resource, parts in data["prices"].items()
        },
        currency=data["currency"],
    )


@frozen
class Published:
    """A price book as a store keeps it.

    ``number``: order of publication, from 1.  ``published_at``: microseconds.
    ``digest``: SHA-256 of the rest, in hex; every charge's record names its
    first 16 digits, so that a book cannot be altered unseen.
    """

    number: int
    version: str
    published_at: int
    body: str
    digest: str

    @classmethod
    def of(cls, book: PriceBook, number: int, published_at: int) -> Published:
        body = book.body()
        text = f"{number}\n{published_at}\n{body}"
        return cls(number, book.version, published_at, body, sha256(text.encode()).hexdigest())


class Priced(NamedTuple):
    """A price in force: ``version`` is the book's version and digest, ``v1#0123456789abcdef``."""

    version: str
    price: Price


class Catalogue:
    """All published books, for looking up the price in force.  Immutable."""

    def __init__(self, books: Iterable[Published] = ()) -> None:
        self.books: dict[str, tuple[Published, PriceBook]] = {}
        timelines: dict[tuple[str, str, str], list[tuple[int, Priced]]] = {}
        self._tiered: set[tuple[str, str, str]] = set()
        for published in sorted(books, key=lambda each: each.number):
            book = load_book(published.body)
            name = f"{book.version}#{published.digest[:16]}"
            self.books[name] = (published, book)
            effective = micros("effective_at", book.effective_at)
            for resource, parts in book.prices.items():
                for component, price in parts.items():
                    key = (book.currency, resource, component)
                    timelines.setdefault(key, []).append((effective, Priced(name, price)))
                    if not isinstance(price.function, Flat):
                        self._tiered.add(key)
        self._named = {key[1:] for key in timelines}
        self._timelines = {
            key: sorted(versions, key=lambda version: version[0])
            for key, versions in timelines.items()
        }

    def price(self, currency: str, resource: str, component: str, at: int) -> Priced | None:
        """The price in force at a time (microseconds), or None."""
        versions = self._timelines.get((currency, resource, component))
        if versions is None:
            return None
        index = (
            len(versions)
            if at >= versions[-1][0]
            else bisect_right(versions, at, key=lambda version: version[0])
        )
        return versions[index - 1][1] if index else None

    def priced_by(self, name: str, currency: str, resource: str, component: str) -> Priced | None:
        """The price that one version, ``v1`` or ``v1#digest``, has for a component."""
        for full, (published, book) in self.books.items():
            if name in (full, published.version) and book.currency == currency:
                price = book.prices.get(resource, {}).get(component)
                return None if price is None else Priced(full, price)
        return None

    def tiered(self, currency: str, resource: str, component: str) -> bool:
        """Whether any version's price depends on where the counter stands."""
        return (currency, resource, component) in self._tiered

    def components(self, currency: str, resource: str) -> list[str]:
        """The components ever priced for a resource, for messages."""
        return sorted(c for cur, res, c in self._timelines if (cur, res) == (currency, resource))

    def has(self, name: str) -> bool:
        """Whether a version, by short or full name, is known."""
        return any(name in (full, known.version) for full, (known, _) in self.books.items())

    def names(self, usage: Usage) -> bool:
        """Whether every platform-paid component of a usage was ever priced, in any currency."""
        return all(
            payer != PLATFORM or (usage.resource, component) in self._named
            for component, _, payer in usage.parts
        )

    def resources(self, currency: str) -> list[str]:
        """The resources ever priced in a currency."""
        return sorted({resource for cur, resource, _ in self._timelines if cur == currency})

    def checked(self, book: PriceBook, *, now: int, delay: int) -> None:
        """Raise InvalidCommand unless ``book`` may be published ``now`` (microseconds).

        A change of price takes effect at least ``delay`` after publication, longer
        than any service's cache lives; a component's first price may reach back.
        """
        effective = micros("effective_at", book.effective_at)
        for published, _ in self.books.values():
            if published.version == book.version:
                if published.body == book.body():
                    return
                raise InvalidCommand(
                    "version", book.version, "a new version name: this one is published"
                )
        if effective >= now + delay:
            return
        for resource, parts in book.prices.items():
            for component in parts:
                if (book.currency, resource, component) in self._timelines:
                    raise InvalidCommand(
                        "effective_at",
                        book.effective_at.isoformat(),
                        f"{moment(now + delay).isoformat()} or later, since {component!r} of "
                        f"{resource!r} has a price already",
                    )

    def version(self, name: str) -> str:
        """The full name of a version; raises NotFound."""
        for full, (published, _) in self.books.items():
            if name in (full, published.version):
                return full
        raise NotFound("price version", name, "publish it first")
