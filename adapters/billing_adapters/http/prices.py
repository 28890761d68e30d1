"""The routes of prices: what an org pays now, for its members and for services."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from typing import Annotated, Any

from attrs import field, frozen

from billing_adapters.http.routes import Call, Listed, Name, Route, cursor_after, names_in
from billing_adapters.http.shapes import Rule
from billing_core.pricing.catalogue import Priced
from billing_core.pricing.conditions import Condition, FactIs, Hours, SizeAbove, clock_text
from billing_core.pricing.functions import PriceFunction, packaged, plain_ratio, stated
from billing_core.pricing.price import STANDS, Multiplier, Price, Variant
from billing_core.pricing.rating import describe
from billing_core.values.money import NANOS, decimal_text

__all__ = ["PRICES", "PRICING"]

Digits = Annotated[str, Rule(pattern=r"^\d+$")]
Decimals = Annotated[str, Rule(pattern=r"^\d+\.\d{2,}$")]
Ratio = Annotated[str, Rule(pattern=r"^\d+(\.\d+|/\d+)?$")]
Clock = Annotated[str, Rule(pattern=r"^\d\d:\d\d(:\d\d(\.\d{6})?)?$")]
Weekday = Annotated[str, Rule(enum=("mon", "tue", "wed", "thu", "fri", "sat", "sun"))]


@frozen(kw_only=True)
class PricingQuery:
    org_id: Name | None = None
    resource: Name | None = None
    limit: Annotated[int, Rule(minimum=1, maximum=500)] = 100
    cursor: Annotated[str, Rule(max_length=8_000)] | None = None


@frozen(kw_only=True)
class PriceQuery:
    org_id: Name
    resource: Name | None = None


@frozen
class TierRow:
    """What units cost up to a number of them in a billing period; null: all beyond."""

    up_to: Digits | None
    amount: Decimals
    per: Digits


@frozen
class HoursRow:
    """Hours of the day, UTC, on these weekdays; where `to` is no later than `from`, they end on
    the next day."""

    start: Clock = field(metadata={"json": "from"})
    end: Clock = field(metadata={"json": "to"})
    weekdays: tuple[Weekday, ...]


@frozen(kw_only=True)
class ConditionRow:
    """One thing that must hold of a request, in words `text`: that its `fact` has a `value`; that
    the quantities `of` these components are together `above` a number; or that it is made in
    `hours`.  What a condition does not ask about is null, and `of` empty."""

    text: str
    fact: str | None = None
    value: str | None = None
    above: Digits | None = None
    of: tuple[str, ...] = ()
    hours: HoursRow | None = None


@frozen(kw_only=True)
class VariantRow:
    """What stands in place of the price while each of `when` holds, as `amount`, `per` and `tiers`
    of a price; of several, the first."""

    when: tuple[ConditionRow, ...]
    amount: Decimals
    per: Digits
    tiers: tuple[TierRow, ...]
    price: str


@frozen(kw_only=True)
class MultiplierRow:
    """What the price is multiplied by while each of `when` holds: a decimal, or a fraction such as
    `1/3`."""

    when: tuple[ConditionRow, ...]
    by: Ratio


@frozen
class FactRow:
    """A fact that the price depends on, the values that it knows, and which of them holds for a
    request that says none."""

    name: str
    values: tuple[str, ...]
    default: str


@frozen(kw_only=True)
class _Price:
    resource: str
    component: str
    unit: str
    amount: Decimals
    per: Digits
    currency: str
    package: bool
    tiers: tuple[TierRow, ...]
    minimum: Digits
    increment: Digits
    variants: tuple[VariantRow, ...]
    multipliers: tuple[MultiplierRow, ...]
    facts: tuple[FactRow, ...]
    price: str


@frozen(kw_only=True)
class PriceRow(_Price):
    """A price in force for an org now, of one component of a resource: `amount` for `per` units,
    in words `price`.  With `package`, for each begun one of `per` units; with `tiers`, `amount` is
    that of the first, and each holds `upTo` a number of units, null: beyond.  An item counts at
    least as `minimum`, in steps of `increment`.  The first of `variants` that holds for a request
    stands in place of that, and each of `multipliers` that holds multiplies what stands."""

    price_version: str


@frozen(kw_only=True)
class PricingRow(_Price):
    """What the org pays now for one component of a resource: `amount` for `per` units, in words
    `price`.  With `package`, for each begun one of `per` units; with `tiers`, `amount` is that of
    the first, and each holds `upTo` a number of units, null: beyond.  An item counts at least as
    `minimum`, in steps of `increment`.  The first of `variants` that holds for a request stands in
    place of that, and each of `multipliers` that holds multiplies what stands."""

    version: str


def _in_force(
    call: Call, resource: str | None, after: tuple[str, str] = ("", "")
) -> Iterator[tuple[Priced, dict[str, Any]]]:
    """The prices of an org now, by resource and component, with what any row says of each."""
    found = call.billing.balance(call.org)
    catalogue = call.billing.catalogue()
    audiences = catalogue.audiences(call.org, found.plan)
    now = call.billing.clock()
    for name in sorted(catalogue.resources(found.currency)):
        if resource not in (None, name) or name < after[0]:
            continue
        for component in sorted(catalogue.components(found.currency, name)):
            if (name, component) <= after:
                continue
            priced = catalogue.price(found.currency, name, component, now, audiences)
            if priced is not None:
                yield priced, _said(name, component, priced, found.currency)


def _prices(call: Call, asked: PriceQuery) -> Listed:
    rows = (
        PriceRow(**said, price_version=priced.version)
        for priced, said in _in_force(call, asked.resource)
    )
    return Listed(tuple(rows), None)


def _pricing(call: Call, asked: PricingQuery) -> Listed:
    after = ("", "") if asked.cursor is None else names_in("pricing", asked.cursor)
    rows: list[PricingRow] = []
    for priced, said in _in_force(call, asked.resource, after):
        if len(rows) == asked.limit:
            last = rows[-1]
            return Listed(tuple(rows), cursor_after("pricing", last.resource, last.component))
        rows.append(PricingRow(**said, version=priced.version))
    return Listed(tuple(rows), None)


def _decimal(nanos: Fraction) -> str:
    """Major units: percentages leave decimals alone, if more than money has."""
    if nanos.denominator == 1:
        return decimal_text(nanos.numerator)
    amount = Decimal(nanos.numerator), Decimal(nanos.denominator * NANOS)
    return f"{Context(prec=300, traps=[Inexact]).divide(*amount):f}"


def _tiers(function: PriceFunction) -> tuple[TierRow, ...]:
    return tuple(
        TierRow(None if each.up_to is None else str(each.up_to), _decimal(each.nanos),
                str(each.per))
        for each in stated(function)
    )  # fmt: skip


def _condition(each: Condition) -> ConditionRow:
    text = each.describe()
    match each:
        case FactIs(name, value):
            return ConditionRow(text=text, fact=name, value=value)
        case SizeAbove(bound, of):
            return ConditionRow(text=text, above=str(bound), of=of)
        case Hours(start, end, weekdays):
            hours = HoursRow(clock_text(start), clock_text(end), weekdays)
            return ConditionRow(text=text, hours=hours)


def _variant(each: Variant, price: Price, currency: str) -> VariantRow:
    tiers = _tiers(each.function)
    return VariantRow(
        when=tuple(_condition(one) for one in each.when),
        amount=tiers[0].amount,
        per=tiers[0].per,
        tiers=tiers if len(tiers) > 1 else (),
        price=each.function.describe(currency, price.unit),
    )


def _multiplier(each: Multiplier) -> MultiplierRow:
    return MultiplierRow(when=tuple(_condition(one) for one in each.when), by=plain_ratio(each.by))


def _said(resource: str, component: str, priced: Priced, currency: str) -> dict[str, Any]:
    price = priced.price
    tiers = _tiers(price.function)
    return {
        "resource": resource,
        "component": component,
        "unit": price.unit,
        "amount": tiers[0].amount,
        "per": tiers[0].per,
        "currency": currency,
        "package": packaged(price.function),
        "tiers": tiers if len(tiers) > 1 else (),
        "minimum": str(price.minimum),
        "increment": str(price.increment),
        "variants": tuple(_variant(each, price, currency) for each in price.variants),
        "multipliers": tuple(_multiplier(each) for each in price.multipliers),
        "facts": tuple(FactRow(each.name, each.values, each.default) for each in price.facts),
        "price": describe(price.chosen(STANDS), currency),
    }


PRICING = Route(
    "GET", "/v1/billing/pricing", "pricing", "member", PricingQuery, PricingRow, _pricing,
    "What the org pays now", lists=True,
)  # fmt: skip

PRICES = Route(
    "GET", "/v1/internal/prices", "prices", "service", PriceQuery, PriceRow, _prices,
    "The prices in force for an org", lists=True,
)  # fmt: skip
