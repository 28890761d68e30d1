"""Price books: immutable, dated versions of prices, for everyone, a plan or a customer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import field, frozen

from billing_core.errors import InvalidCommand
from billing_core.pricing.functions import Price, Ratio, load_price, price_json
from billing_core.values.money import checked_currency, checked_decimal
from billing_core.values.text import checked_name, compact
from billing_core.values.times import micros, moment

__all__ = ["PriceBook", "checked_version", "kept", "load_book"]


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
                resource: {
                    name: None if price is None else price_json(price)
                    for name, price in sorted(parts.items())
                }
                for resource, parts in sorted(self.prices.items())
            },
        }
        for name in ("plan", "org"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        if self.percent_off:
            data["percent_off"] = dict(sorted(self.percent_off.items()))
        return compact(data)


def load_book(body: str) -> PriceBook:
    """The book of a :meth:`PriceBook.body`."""
    data = json.loads(body)
    return PriceBook(
        version=data["version"],
        effective_at=moment(data["effective_at"]),
        prices={
            resource: {
                name: None if price is None else load_price(price) for name, price in parts.items()
            }
            for resource, parts in data["prices"].items()
        },
        currency=data["currency"],
        plan=data.get("plan"),
        org=data.get("org"),
        percent_off=data.get("percent_off", {}),
    )
