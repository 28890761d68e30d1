"""What importers of real model prices share: what an import tells, and how a price that depends on
the request is made from what a source says of each case.

The sources are `genai` and `litellm_prices`.  What a source prices is priced, exactly; what it
prices and a book cannot say is refused by name, with the reason (rule 5.8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Context, Decimal, Inexact
from itertools import permutations, product

from attrs import frozen

from billing_core import (
    Fact,
    FactIs,
    Flat,
    Hours,
    InvalidCommand,
    Multiplier,
    Price,
    PriceBook,
    SizeAbove,
    Variant,
)
from billing_core.pricing.catalogue import Catalogue
from billing_core.pricing.price_book import checked_version
from billing_core.values.money import checked_decimal

__all__ = ["Import", "Later", "Refused"]

EXACTLY = Context(prec=200, traps=[Inexact])

PROMPT = (
    "input", "input_audio", "input_image", "input_video",
    "cached_read", "cached_read_audio", "cached_read_image", "cached_read_video",
    "cached_read_explicit",
    "cache_write", "cache_write_1h", "cache_write_12h",
    "cache_write_audio", "cache_write_image", "cache_write_video",
)  # fmt: skip
"""The components that are a request's prompt: both sources mean them, all together, by its size."""

TIERS = ("standard", "batch", "flex", "priority", "fast", "balanced", "ultrafast", "decisions")
"""The service tiers that both sources know of.  Where a model has prices for some, all are values
that its prices know: a tier without a price of its own costs what the standard one does, as both
sources have it."""

_MOST = 16  # variants of a price

Condition = FactIs | SizeAbove | Hours
Axis = tuple[Condition, ...]
"""What one thing may be, other than what it is without more said: service tiers, sizes (largest
first), hours (no two at once)."""
Case = tuple[Condition | None, ...]
"""One of each axis; None: none of its conditions holds."""


@frozen
class Refused:
    """One thing that a source says of a model's price, and that is not in the book.

    Attributes:
        model: The model, as the source names it.
        key: What the source calls it.
        value: What it says, as text.
        reason: Why it is not in the book.
    """

    model: str
    key: str
    value: str
    reason: str


@frozen
class Later:
    """A price that a source has for a time after the book's: import again for it then.

    Attributes:
        model: The model, as the source names it.
        at: From when.
    """

    model: str
    at: datetime


@frozen
class Import:
    """What was made of a source of prices (rule 5.8).

    All that the source says of the price of the models that were asked for is in the book, or
    refused, or later.

    Attributes:
        book: The price book, to be published; None where nothing had a price.
        refused: What is not in it.
        later: Prices that hold from a later time than the book's.
    """

    book: PriceBook | None
    refused: tuple[Refused, ...]
    later: tuple[Later, ...] = ()


def factor(markup: object) -> Decimal:
    """A markup as an exact factor above 0."""
    found = checked_decimal("markup", markup)
    if found <= 0:
        raise InvalidCommand("markup", markup, 'a positive factor, such as "1.20"')
    return found


def _holds(condition: Condition | None, given: Condition | None) -> bool:
    """Whether a condition holds in a case of its axis."""
    if condition is None or condition == given:
        return True
    if isinstance(condition, SizeAbove) and isinstance(given, SizeAbove):
        return condition.bound <= given.bound
    return False


def _standing(variants: Iterable[Case], case: Case) -> Case | None:
    for variant in variants:
        if all(map(_holds, variant, case)):
            return variant
    return None


def _fewest(axes: Sequence[Axis], table: Mapping[Case, Decimal]) -> list[Case]:
    """The fewest variants that give every case its price: the most special first, without those
    that say what would stand without them."""
    base = tuple(None for _ in axes)
    best: list[Case] | None = None
    for order in permutations(range(len(axes))):
        cases = [
            tuple(case[order.index(axis)] for axis in range(len(axes)))
            for case in product(*((*axes[axis], None) for axis in order))
        ]
        kept = [case for case in cases if case != base]
        for each in tuple(kept):
            without = [case for case in kept if case != each]
            if all(
                table[_standing(without, case) or base] == table[case]
                for case in cases
                if all(map(_holds, each, case))
            ):
                kept = without
        if best is None or len(kept) < len(best):
            best = kept
    return best or []


class Maker:
    """Makes the prices of one model.

    Args:
        markup: The factor that every price is multiplied by.
        facts: The facts that conditions may name.
    """

    def __init__(self, markup: Decimal, facts: Iterable[Fact]) -> None:
        self._markup = markup
        self._facts = {fact.name: fact for fact in facts}
        self._known: dict[object, Price] = {}

    def price(
        self,
        axes: Sequence[Axis],
        rate: Callable[[Case], Decimal | None],
        *,
        per: int = 1,
        unit: str = "unit",
        minimum: int = 0,
        multipliers: Sequence[Multiplier] = (),
    ) -> Price | None:
        """The price of a component; None where no case has one.

        Args:
            axes: What it may depend on.
            rate: What the source asks for ``per`` units in a case, in the currency's unit.
            per: How many units the rate is for.
            unit: What one is.
            minimum: The least that an item counts as.
            multipliers: What holds beside.

        Raises:
            InvalidCommand: Where a price cannot say it: some case has no price, or it takes more
                than 16 variants.
        """
        axes = [axis for axis in axes if axis]
        cases: list[Case] = list(product(*((*axis, None) for axis in axes)))
        rates = {case: rate(case) for case in cases}
        if all(each is None for each in rates.values()):
            return None
        table = {case: each for case, each in rates.items() if each is not None}
        key = (tuple(axes), tuple(rates.values()), per, unit, minimum, tuple(multipliers))
        if key not in self._known:
            if len(table) < len(cases):
                raise InvalidCommand("price", "some cases", "a price in every case")
            self._known[key] = self._made(axes, table, per, unit, minimum, multipliers)
        return self._known[key]

    def _made(
        self,
        axes: Sequence[Axis],
        table: Mapping[Case, Decimal],
        per: int,
        unit: str,
        minimum: int,
        multipliers: Sequence[Multiplier],
    ) -> Price:
        kept = _fewest(axes, table)
        if len(kept) > _MOST:
            raise InvalidCommand("price", len(kept), f"at most {_MOST} variants")
        variants = [
            Variant(self._flat(table[case], per), [each for each in case if each is not None])
            for case in kept
        ]
        named = [each for variant in variants for each in variant.when]
        named += [each for multiplier in multipliers for each in multiplier.when]
        names = {each.name for each in named if isinstance(each, FactIs)}
        return Price(
            self._flat(table[tuple(None for _ in axes)], per),
            unit,
            minimum,
            variants=variants,
            multipliers=multipliers,
            facts=[fact for name, fact in self._facts.items() if name in names],
        )

    def _flat(self, rate: Decimal, per: int) -> Flat:
        try:
            return Flat.of(EXACTLY.multiply(rate, self._markup), per)
        except InvalidCommand as error:
            expected = "an amount of fewer digits with the markup, as its nanos have 64 bits"
            raise InvalidCommand("price", rate, expected) from error


def checked(
    version: str,
    effective_at: datetime,
    prices: Mapping[str, Mapping[str, Price]],
    source_of: Mapping[str, str],
) -> tuple[PriceBook | None, list[Refused]]:
    """The book of what could be published first, and what could not (rules 5.10 to 5.12).

    ``source_of``: the model of each resource, as the source names it.
    """

    checked_version(version)

    def could(some: Mapping[str, Mapping[str, Price]]) -> PriceBook:
        book = PriceBook(version, effective_at, some, currency="USD")
        Catalogue().checked(book, now=0, delay=0)
        return book

    prices = {resource: parts for resource, parts in prices.items() if parts}
    if not prices:
        return None, []
    try:
        return could(prices), []
    except InvalidCommand:
        refused: list[Refused] = []
    kept: dict[str, dict[str, Price]] = {}
    for resource, parts in prices.items():
        for component, price in parts.items():
            try:
                could({resource: {component: price}})
            except InvalidCommand as error:
                told = price.function.describe("USD", price.unit)
                refused.append(Refused(source_of[resource], component, told, str(error)))
            else:
                kept.setdefault(resource, {})[component] = price
    return (could(kept) if kept else None), refused
