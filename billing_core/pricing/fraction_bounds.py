"""How fine a fraction of a nano a component's prices leave, and that it stays small (rule 5.12).

A charge is exact: it leaves fractions whose least common denominator is that of all that a unit
has ever cost, with whatever discounts have ever been taken off.  Denominators of products need
no products: the *measure* of some amounts is the largest that each is a whole multiple of, and
what the measures of prices and of discounts make together has the denominator that we look for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from fractions import Fraction
from math import gcd, lcm, prod
from typing import NamedTuple

from attrs import frozen

from billing_core.errors import InvalidCommand
from billing_core.pricing.functions import FINEST, rates
from billing_core.pricing.price import Price
from billing_core.pricing.price_book import PriceBook, kept
from billing_core.values.patterns import Names, closest, meet

__all__ = ["Asked", "check_fineness", "unit_costs", "whose"]

_NOTHING = Fraction(0)
_ALL = Fraction(1)


def whose(audience: str) -> str:
    """The org that alone has a book; empty for everyone's, and plans', which come and go."""
    return audience if audience.startswith("org:") else ""


def _measure(amounts: Iterable[Fraction]) -> Fraction:
    """The largest amount that each is a whole multiple of; 0 of nothing."""
    given = list(amounts)
    return Fraction(
        gcd(*(each.numerator for each in given)), lcm(*(each.denominator for each in given))
    )


def _bounded(measures: Iterable[Fraction]) -> Fraction:
    """The measure of rates, or one that is too fine with any discount."""
    found = _NOTHING
    for each in measures:
        found = _measure((found, each))
        if found.denominator > FINEST:
            return Fraction(1, FINEST + 1)
    return found


def unit_costs(book: PriceBook, name: str, price: Price) -> frozenset[Fraction]:
    """What a unit may cost by a book's price of a name, under whatever it depends on: amounts of
    which all others are whole multiples."""
    costs = frozenset(rate for each in price.functions() for rate in rates(each))
    by = [*price.multipliers]
    by += [each for pattern, of in book.multipliers.items() if meet(pattern, name) for each in of]
    if not by:
        return costs
    # Each may hold or not: all products are multiples of that of what 1 and each have in common.
    least = prod((_measure((_ALL, Fraction(*each.by))) for each in by), start=_ALL)
    return frozenset({_measure(costs) * least}) if costs else costs


@frozen
class Asked:
    """What books say of one name: the measure of what a unit costs, by component and whose
    price it is, and of what discounts leave, by whose.  ``rate`` and ``keep``: of all those."""

    rates: Mapping[str, Mapping[str, Fraction]]
    keeps: Mapping[str, Fraction]
    rate: Fraction
    keep: Fraction

    @classmethod
    def of(
        cls,
        prices: Mapping[str, Mapping[str, Iterable[Fraction]]],
        discounts: Mapping[str, Iterable[Fraction]],
    ) -> Asked:
        found = {
            component: {org: _measure(of) for org, of in by.items()}
            for component, by in prices.items()
        }
        keeps = {org: _measure(of) for org, of in discounts.items()}
        rate = _bounded(each for by in found.values() for each in by.values())
        return cls(found, keeps, rate, _measure(keeps.values()))


class _Along(NamedTuple):
    """What is said of a name and of all patterns above it."""

    asked: list[Asked]

    def all_of(self, component: str) -> Fraction:
        return _bounded(of for each in self.asked for of in each.rates.get(component, {}).values())

    def orgs(self, component: str) -> set[str]:
        """Who has prices of a component, or discounts, that differ: an empty name is everyone."""
        found = {""}
        for each in self.asked:
            found.update(each.rates.get(component, ()), each.keeps)
        return found

    def finest(self, component: str, org: str) -> int:
        """The least common denominator of all that a component has been asked for a unit, by
        everyone on any plan and by one org."""
        rate, keep = [_NOTHING], [_ALL]
        for each in self.asked:
            of = each.rates.get(component, {})
            rate += [of.get("", _NOTHING), of.get(org, _NOTHING)]
            keep += [each.keeps.get("", _ALL), each.keeps.get(org, _ALL)]
        return (_measure(rate) * _measure(keep)).denominator


def check_fineness(book: PriceBook, known: Collection[str], asked: Callable[[str], Asked]) -> None:
    """Refuse a book that makes what is left of a nano too fine; where it is so already, finer.

    ``known``: the names of prices and discounts on record; ``asked``: what is on record of one,
    in the book's currency, all books that ever were.
    """
    new = _new(book)
    names = Names({*new, *known})
    wide = {name for name in (*new, *known) if name.endswith("*")}
    targets = {*new, *(each for name in new for each in names.below(name))}
    found: dict[str, Asked] = {}
    looked_at: set[object] = set()
    for target in sorted(targets):
        chain = [target]
        chain += (name for name in closest(wide, target.removesuffix("*")) if name != target)
        for name in chain:
            if name not in found:
                found[name] = asked(name)
        before = _Along([found[name] for name in chain])
        after = _Along([*before.asked, *(new[name] for name in chain if name in new)])
        keep = _measure((_ALL, *(each.keep for each in after.asked)))
        if (_bounded(each.rate for each in after.asked) * keep).denominator <= FINEST:
            continue  # fine enough for all together
        here = [found[target], *([new[target]] if target in new else [])]
        components = {component for each in here for component in each.rates}
        # What the pattern above says is looked at once, for names with the same discounts.
        off = tuple(frozenset(each.keeps.items()) for each in here)
        mark = (*chain[1:2], *off)
        if mark not in looked_at:
            looked_at.add(mark)
            components.update(component for each in after.asked for component in each.rates)
        for component in sorted(components):
            if (after.all_of(component) * keep).denominator > FINEST:
                _check_component(book, target, component, before, after)


def _check_component(
    book: PriceBook, target: str, component: str, before: _Along, after: _Along
) -> None:
    # What others have is what it was, unless the book is for everyone.
    org = whose(book.audience)
    had = before.orgs(component)
    orgs = after.orgs(component)
    for each in sorted(orgs & {org} if org else orgs):
        finest = after.finest(component, each)
        if finest > max(FINEST, before.finest(component, each) if each in had else 1):
            raise _too_fine(book, target, component, finest)


def _new(book: PriceBook) -> dict[str, Asked]:
    """What a book says of each name."""
    org = whose(book.audience)
    found: dict[str, Asked] = {}
    for name in {*book.prices, *book.percent_off}:
        prices = {
            component: {org: unit_costs(book, name, price)}
            for component, price in book.prices.get(name, {}).items()
            if price is not None
        }
        off = book.percent_off.get(name)
        found[name] = Asked.of(prices, {} if off is None else {org: [Fraction(*kept(off))]})
    return found


def _too_fine(book: PriceBook, target: str, component: str, finest: int) -> InvalidCommand:
    names = [*book.prices, *book.percent_off]
    name = next(each for each in names if meet(each, target))
    price = book.prices.get(name, {}).get(component)
    given = book.percent_off.get(name) if price is None else price.function
    where = f"prices[{name!r}][{component!r}]" if price is not None else f"percent_off[{name!r}]"
    return InvalidCommand(
        where,
        given,
        f"a price that, together with those that {component!r} of {target!r} has had, leaves a nano"
        f" in at most 10**18 parts, not in some 10**{finest.bit_length() * 30_103 // 100_000}: say"
        ' it with fewer digits, or for a rounder "per"',
    )
