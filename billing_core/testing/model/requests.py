"""What of a price stands for a request, by the words of rule 5.9: for the reference model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from fractions import Fraction

from attrs import evolve, frozen

from billing_core.pricing.conditions import Condition, FactIs, Hours, SizeAbove
from billing_core.pricing.functions import Scaled
from billing_core.pricing.price import Price
from billing_core.values.times import moment

__all__ = ["Asked", "may_stand", "stands"]

_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)


@frozen
class Asked:
    """A request, or one to come: what it says, the least and the most that it may have used in
    all, and the first and the last microsecond at which it may occur."""

    facts: Mapping[str, str]
    least: Mapping[str, int]
    most: Mapping[str, int]
    first: int
    last: int


def stands(version: str, price: Price, asked: Asked) -> tuple[str, Price] | None:
    """The price of a request that was made, and its version's name; None where a fact has a value
    that the price does not know."""
    given = {fact.name: fact.default for fact in price.facts} | dict(asked.facts)
    found = may_stand(version, price, evolve(asked, facts=given))
    return None if found is None else found[0]


def may_stand(version: str, price: Price, asked: Asked) -> list[tuple[str, Price]] | None:
    """Each price that may stand for a request to come, the last resort last; None as above."""
    for fact in price.facts:
        if asked.facts.get(fact.name, fact.default) not in fact.values:
            return None
    if not (price.variants or price.multipliers):
        return [(version, price)]
    times, ratio = "", Fraction(1)
    for number, multiplier in enumerate(price.multipliers, 1):
        by = Fraction(*multiplier.by)
        can = _outcomes(multiplier.when, asked)
        if can == {True} or (True in can and by > 1):
            times += f"x{number}"
            ratio *= by
    found: list[tuple[int, Price]] = []
    for number, variant in enumerate(price.variants, 1):
        can = _outcomes(variant.when, asked)
        if True in can:
            found.append((number, evolve(price, function=variant.function)))
        if can == {True}:
            break
    else:
        found.append((0, price))
    return [
        (version + (f"/{number}{times}" if number or times else ""), _times(each, ratio))
        for number, each in found
    ]


def _times(price: Price, ratio: Fraction) -> Price:
    function = price.function
    if ratio != 1:
        function = Scaled(function, (ratio.numerator, ratio.denominator))
    return evolve(price, function=function, variants=(), multipliers=(), facts=())


def _outcomes(when: Iterable[Condition], asked: Asked) -> set[bool]:
    """Whether conditions can hold together, and can fail to, each looked at by itself."""
    each = [set(_can(condition, asked)) for condition in when]
    found = {True} if all(True in can for can in each) else set()
    return found | ({False} if any(False in can for can in each) else set())


def _can(condition: Condition, asked: Asked) -> Iterator[bool]:
    match condition:
        case FactIs(name, value):
            if name not in asked.facts:
                yield from (True, False)
            else:
                yield asked.facts[name] == value
        case SizeAbove(bound, of):
            for sizes in (asked.least, asked.most):
                yield sum(sizes.get(name, 0) for name in of) > bound
        case Hours():
            first, last = moment(asked.first), moment(asked.last)
            midnight = first.replace(hour=0, minute=0, second=0, microsecond=0) - _DAY
            moments = [first, last]
            while midnight <= last:
                for edge in (condition.start, condition.end):
                    at = datetime.combine(midnight, edge, midnight.tzinfo)
                    moments += [at - _TICK, at]
                midnight += _DAY
            for at in moments:
                if first <= at <= last:
                    yield _is_hour(condition, at)


def _is_hour(hours: Hours, at: datetime) -> bool:
    names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    today = names[at.weekday()] in hours.weekdays
    yesterday = names[at.weekday() - 1] in hours.weekdays
    time = at.timetz().replace(tzinfo=None)
    if hours.start < hours.end:
        return today and hours.start <= time < hours.end
    return (today and time >= hours.start) or (yesterday and time < hours.end)
