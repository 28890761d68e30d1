"""Price books: immutable, dated versions of prices, for everyone, a plan or a customer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import evolve, field, frozen

from billing_core.errors import InvalidCommand
from billing_core.pricing.conditions import Fact, FactIs, check_known, fact_json
from billing_core.pricing.functions import Ratio
from billing_core.pricing.price import (
    Multiplier,
    Price,
    load_multiplier,
    load_price,
    multiplier_json,
    price_json,
)
from billing_core.values.money import checked_currency, checked_decimal
from billing_core.values.patterns import checked_pattern, fits, meet
from billing_core.values.text import checked_name, compact
from billing_core.values.times import micros, moment

__all__ = ["VARIES", "PriceBook", "checked_version", "kept", "load_book"]

VARIES = 3
"""The schema whose version of the library knows prices that depend on the request (rule 5.9)."""


def checked_version(version: object) -> str:
    """A version's name: what is on record names it as ``version#digest``."""
    name = checked_name("version", version)
    if "#" in name:
        raise InvalidCommand("version", version, 'a name without "#"')
    return name


def _percentages(percent_off: Mapping[str, str | int | Decimal]) -> Mapping[str, str]:
    if not isinstance(percent_off, Mapping):
        raise InvalidCommand("percent_off", percent_off, "a mapping of resource to percentage")
    return {checked_name("percent_off", name): _percent(off) for name, off in percent_off.items()}


def _facts(given: Iterable[Fact]) -> tuple[Fact, ...]:
    return tuple(given)


def _by_pattern(given: Mapping[str, Iterable[Multiplier]]) -> Mapping[str, tuple[Multiplier, ...]]:
    if not isinstance(given, Mapping):
        raise InvalidCommand("multipliers", given, "a mapping of resource to Multipliers")
    found: dict[str, tuple[Multiplier, ...]] = {}
    for name, multipliers in given.items():
        found[checked_name("multipliers", name)] = each = tuple(multipliers)
        if not each or not all(isinstance(one, Multiplier) for one in each):
            raise InvalidCommand("multipliers", each, "one Multiplier or more")
    return found


def _percent(off: object) -> str:
    if not isinstance(off, str | int | Decimal) or isinstance(off, bool):
        raise InvalidCommand("percent_off", off, 'a percentage, such as "12.5"')
    value = checked_decimal("percent_off", off)
    if not 0 <= value <= 100:
        raise InvalidCommand("percent_off", off, "a percentage from 0 to 100")
    return f"{value.normalize():f}"


def kept(percent: str) -> Ratio:
    """What a discount of so many percent leaves of a price, exactly."""
    off, of = Decimal(percent).as_integer_ratio()
    return 100 * of - off, 100 * of


@frozen
class PriceBook:
    """One version of prices, by resource and component; it never changes once it is published.

    A book replaces the earlier prices that it names, and leaves others in force (rule 5.6).  A
    resource is named, or a prefix that ends in ``*``; of several that fit, the longest counts (rule
    5.11).  Resources of models are named ``model:…``: see `model`.

    A book holds for everyone, for the subscribers of a ``plan``, or for one ``org``.  An org's own
    price comes before its plan's, and that before everyone's.

    Sandboxes, and the ``duration`` of tools and code, are counted by the microsecond, storage (its
    component is ``byte_us``) by the byte-microsecond.  Their prices say a unit of the closed list,
    such as ``hour``, ``vCPU-second`` or ``GB-month``: it is converted exactly when the book is
    published, and any other unit is refused (rule 5.10).  A price is also refused then if, with the
    earlier prices of its component, it would leave parts of a nano finer than 10⁻¹⁸ (rule 5.12).

    Args:
        version: The book's name, unique for ever.
        effective_at: From when usage is priced by it, UTC.
        prices: `Price` by resource and component.  In a book for a plan or an org, None instead of
            a price ends an earlier one for that plan or org.
        currency: Of all its prices: three capital letters.
        plan: Holds for the subscribers of this plan only.
        org: Holds for this org only; not with ``plan``.
        multipliers: Lists of `Multiplier` by resource or prefix, such as a region's uplift for
            ``model:*``.  They hold for all of this book's prices of what is named so, beside the
            prices' own, by every pattern that fits (rule 5.9).
        facts: A `Fact` for each fact that ``multipliers`` name.  Prices have facts of their own.
        percent_off: Discounts, from 0 to 100, by resource or prefix, as text, int or `Decimal`;
            only for a plan or an org.  An org's discount is taken off its plan's and everyone's
            prices, and replaces its plan's discount; a plan's is taken off everyone's prices.  0
            ends a discount.

    Raises:
        InvalidCommand: For what could never be published.
    """

    version: str
    effective_at: datetime
    prices: Mapping[str, Mapping[str, Price | None]] = field(factory=dict)
    currency: str = "USD"
    plan: str | None = field(default=None, kw_only=True)
    org: str | None = field(default=None, kw_only=True)
    percent_off: Mapping[str, str] = field(factory=dict, kw_only=True, converter=_percentages)
    multipliers: Mapping[str, tuple[Multiplier, ...]] = field(
        factory=dict, kw_only=True, converter=_by_pattern
    )
    facts: tuple[Fact, ...] = field(default=(), kw_only=True, converter=_facts)

    def __attrs_post_init__(self) -> None:
        checked_version(self.version)
        micros("effective_at", self.effective_at)
        checked_currency(self.currency)
        if self.plan is not None and self.org is not None:
            raise InvalidCommand("org", self.org, f"none: the book is plan {self.plan!r}'s")
        for name in ("plan", "org"):
            if getattr(self, name) is not None:
                checked_name(name, getattr(self, name))
        if self.percent_off and not self.audience:
            raise InvalidCommand("percent_off", self.percent_off, "none: say whose plan or org's")
        if not isinstance(self.prices, Mapping) or not (self.prices or self.percent_off):
            raise InvalidCommand("prices", self.prices, "a mapping with at least one price")
        for resource, components in self.prices.items():
            checked_name("resource", resource)
            if not isinstance(components, Mapping) or not components:
                raise InvalidCommand("prices", resource, "at least one component's price")
            for component, price in components.items():
                checked_name("component", component)
                if not isinstance(price, Price) and (price is not None or not self.audience):
                    raise InvalidCommand(f"prices[{resource!r}][{component!r}]", price, "a Price")
        if self.multipliers or self.facts:
            self._check_multipliers()

    def _check_multipliers(self) -> None:
        if not all(isinstance(each, Fact) for each in self.facts):
            raise InvalidCommand("facts", self.facts, "Fact values")
        for name, multipliers in self.multipliers.items():
            checked_pattern("multipliers", name)
            if not any(meet(name, resource) for resource in self.prices):
                expected = "what names a resource that this book has prices of"
                raise InvalidCommand("multipliers", name, expected)
            for each in multipliers:
                check_known(each.when, self.facts)
        for resource, components in self.prices.items():
            # As many as any resource that it names can have.
            names = [each for each in self.multipliers if meet(each, resource)]
            for component, price in components.items():
                try:
                    if price is not None:
                        self._multiplied(price, names)
                except InvalidCommand as error:
                    raise InvalidCommand(
                        f"prices[{resource!r}][{component!r}]",
                        price,
                        f"one for the book's multipliers of {', '.join(names)}: {error}",
                    ) from error

    def multiplied(self, price: Price, resource: str) -> Price:
        """A price of the book, with the multipliers that the book has for a resource."""
        return self._multiplied(price, [each for each in self.multipliers if fits(each, resource)])

    def _multiplied(self, price: Price, names: Iterable[str]) -> Price:
        more = [each for name in sorted(names) for each in self.multipliers[name]]
        if not more:
            return price
        known = {fact.name: fact for fact in price.facts}
        named = {one.name for each in more for one in each.when if isinstance(one, FactIs)}
        for fact in self.facts:
            if fact.name in named and known.setdefault(fact.name, fact) != fact:
                expected = f"the same values and default as the book says of {fact.name!r}"
                raise InvalidCommand("facts", known[fact.name], expected)
        return evolve(price, multipliers=(*price.multipliers, *more), facts=tuple(known.values()))

    @property
    def varies(self) -> bool:
        """Whether a price in it depends on the request: a version of this library before schema 3
        cannot read it."""
        return bool(self.multipliers) or any(
            price is not None and price.varies
            for parts in self.prices.values()
            for price in parts.values()
        )

    @property
    def audience(self) -> str:
        """Whom it holds for: ``org:acme``, ``plan:pro``, or empty for everyone."""
        if self.org is not None:
            return f"org:{self.org}"
        return "" if self.plan is None else f"plan:{self.plan}"

    def body(self) -> str:
        """The canonical JSON of everything in it."""
        data: dict[str, Any] = {
            "version": self.version,
            "effective_at": micros("effective_at", self.effective_at),
            "currency": self.currency,
            "prices": {
                resource: _parts_json(parts) for resource, parts in sorted(self.prices.items())
            },
        }
        for name in ("plan", "org"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        if self.percent_off:
            data["percent_off"] = dict(sorted(self.percent_off.items()))
        if self.multipliers:
            data["multipliers"] = {
                name: [multiplier_json(each) for each in multipliers]
                for name, multipliers in sorted(self.multipliers.items())
            }
        if self.facts:
            data["facts"] = [fact_json(each) for each in self.facts]
        return compact(data)


def _parts_json(parts: Mapping[str, Price | None]) -> dict[str, object]:
    """The prices of one resource.  One that depends on the request is long: where components have
    the same, it is written once."""
    found: dict[str, object] = {}
    written: dict[Price, str] = {}
    for name, price in sorted(parts.items()):
        if price is None:
            found[name] = None
        elif price in written:
            found[name] = {"as": written[price]}
        else:
            found[name] = price_json(price)
            if price.varies:
                written[price] = name
    return found


def _load_parts(data: Mapping[str, Any]) -> dict[str, Price | None]:
    found: dict[str, Price | None] = {}
    for name, price in data.items():
        if price is None:
            found[name] = None
        else:
            found[name] = found[price["as"]] if "as" in price else load_price(price)
    return found


def load_book(body: str) -> PriceBook:
    """The book of a :meth:`PriceBook.body`."""
    data = json.loads(body)
    return PriceBook(
        version=data["version"],
        effective_at=moment(data["effective_at"]),
        prices={resource: _load_parts(parts) for resource, parts in data["prices"].items()},
        currency=data["currency"],
        plan=data.get("plan"),
        org=data.get("org"),
        percent_off=data.get("percent_off", {}),
        multipliers={
            name: [load_multiplier(each) for each in multipliers]
            for name, multipliers in data.get("multipliers", {}).items()
        },
        facts=[Fact(*each) for each in data.get("facts", ())],
    )
