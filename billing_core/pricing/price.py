"""The price of one component: what its units cost, and what that depends on (rules 5.3 to 5.9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple, cast

from attrs import evolve, field, frozen

from billing_core.errors import InvalidCommand
from billing_core.pricing.conditions import (
    Condition,
    Fact,
    FactIs,
    Hours,
    Request,
    SizeAbove,
    check_known,
    condition_json,
    fact_json,
    load_condition,
)
from billing_core.pricing.functions import (
    MAX_PER,
    Flat,
    Graduated,
    Package,
    PriceFunction,
    Ratio,
    Scaled,
    Tier,
    ratio_text,
    unscaled,
)
from billing_core.values.money import checked_decimal
from billing_core.values.text import checked_name

__all__ = [
    "STANDS",
    "Choice",
    "Multiplier",
    "Price",
    "Variant",
    "load_multiplier",
    "load_price",
    "multiplier_json",
    "price_json",
]

_MOST = 16  # variants, and multipliers, of a price
_MAX_RATIO = 10**18
_KEPT = 256  # so many choices of a price are kept made, and what so many sets of facts leave open

Choice = tuple[int, tuple[int, ...]]
"""Which variant of a price stands, from 1, or 0: its base; and which multipliers hold, from 1."""


STANDS: Choice = (0, ())
"""The base stands, and nothing multiplies it."""


def _conditions(when: Condition | Iterable[Condition]) -> tuple[Condition, ...]:
    if isinstance(when, Condition):
        return (when,)
    if not isinstance(when, Iterable):
        raise InvalidCommand("when", when, "conditions: FactIs, SizeAbove or Hours")
    found = tuple(when)
    if not found or not all(isinstance(each, Condition) for each in found):
        raise InvalidCommand("when", found, "one condition or more: FactIs, SizeAbove or Hours")
    return found


@frozen
class Variant:
    """What stands in place of a price's base for the requests of which its conditions hold (rule
    5.9): ``Variant(Flat.of("1.25", 1_000_000), FactIs("service_tier", "batch"))``.

    Args:
        function: A :class:`Flat` or :class:`Graduated`, whichever the base is.  The tiers of a
            graduated one end where those of the base do, and have other prices.
        when: A :class:`FactIs`, :class:`SizeAbove` or :class:`Hours`, or a list of them, of which
            all must hold.
    """

    function: Flat | Graduated | Package | Scaled
    when: tuple[Condition, ...] = field(converter=_conditions)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.function, PriceFunction):
            raise InvalidCommand("function", self.function, "a Flat or Graduated")


def _ratio(by: str | int | Decimal | Fraction) -> Ratio:
    if isinstance(by, Fraction):
        value = by
    elif isinstance(by, str | int | Decimal) and not isinstance(by, bool):
        value = Fraction(checked_decimal("by", by))
    else:
        raise InvalidCommand("by", by, 'an exact ratio, such as "1.1" or Fraction(11, 10)')
    if not (0 < value.numerator <= _MAX_RATIO and value.denominator <= _MAX_RATIO):
        raise InvalidCommand("by", by, "a ratio above zero, of numbers up to 10**18")
    return value.numerator, value.denominator


@frozen
class Multiplier:
    """What a price is multiplied by for the requests of which its conditions hold (rule 5.9):
    ``Multiplier("1.1", FactIs("region", "eu"))``.

    Args:
        by: An exact ratio above zero, as text (``"1.1"``), int, `Decimal` or `Fraction`.
        when: A :class:`FactIs`, :class:`SizeAbove` or :class:`Hours`, or a list of them, of which
            all must hold.
    """

    by: Ratio = field(converter=_ratio)
    when: tuple[Condition, ...] = field(converter=_conditions)


class _Open(NamedTuple):
    """A variant or a multiplier that facts do not exclude, by its number: the conditions that are
    left, and whether it holds for certain where these do."""

    number: int
    left: tuple[SizeAbove | Hours, ...]
    certain: bool


class _ByFacts(NamedTuple):
    """What facts leave open of a price.  ``unknown``: a value that it does not know, in words.
    ``choice``: what stands, where that is known for certain."""

    unknown: str | None
    variants: tuple[_Open, ...] = ()
    multipliers: tuple[_Open, ...] = ()
    choice: Choice | None = None


def _tuple(values: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidCommand("price", values, "a list of Variants, Multipliers or Facts")
    return tuple(values)


@frozen
class Price:
    """The price of one component of a resource.

    A minimum and an increment apply to all that was measured of an item (one call, one sandbox run)
    so far: that counts at least as ``minimum``, rounded up to whole increments (rule 5.5).

    A price may depend on the request (rule 5.9): the first variant whose conditions hold stands in
    place of ``function``, and each multiplier whose conditions hold multiplies what stands.  All of
    them share one counter.

    Args:
        function: :class:`Flat`, :class:`Graduated` or :class:`Package`.  A package takes neither
            variants nor multipliers.
        unit: What one of the quantity is, such as ``token`` or ``call``.  For time and storage one
            of the closed list, such as ``second``, ``vCPU-hour`` or ``GB-month`` (rule 5.10).
        minimum: The least that an item counts as, in that unit; 0: none.
        increment: What an item is rounded up to whole ones of, in that unit; None: nothing is
            rounded up.
        variants: Up to 16 :class:`Variant` values.  They are tried in this order, so put the
            narrower before the wider.
        multipliers: Up to 16 :class:`Multiplier` values.
        facts: A :class:`Fact` for each fact that a condition names, and for each other one of which
            only some values have this price.

    Raises:
        InvalidCommand: For what could never hold, or cannot be added up.
    """

    function: PriceFunction
    unit: str = "token"
    minimum: int = 0
    given_increment: int | None = field(
        default=None, alias="increment", eq=lambda given: 1 if given is None else given
    )
    variants: tuple[Variant, ...] = field(default=(), converter=_tuple, kw_only=True)
    multipliers: tuple[Multiplier, ...] = field(default=(), converter=_tuple, kw_only=True)
    facts: tuple[Fact, ...] = field(default=(), converter=_tuple, kw_only=True)
    by_item: bool = field(init=False, eq=False, repr=False)
    """Whether an item's billed quantity can differ from its raw one."""
    varies: bool = field(init=False, eq=False, repr=False)
    """Whether it depends on the request."""
    _made: dict[Choice, tuple[str, Price]] = field(init=False, eq=False, repr=False)
    _known: dict[object, _ByFacts] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.function, PriceFunction):
            raise InvalidCommand("function", self.function, "a Flat, Graduated or Package")
        checked_name("unit", self.unit)
        if type(self.minimum) is not int or not 0 <= self.minimum <= MAX_PER:
            raise InvalidCommand("minimum", self.minimum, "an int of zero or more")
        if type(self.increment) is not int or not 1 <= self.increment <= MAX_PER:
            raise InvalidCommand("increment", self.increment, "an int of one or more")
        object.__setattr__(self, "by_item", self.minimum > 0 or self.increment > 1)
        object.__setattr__(self, "varies", bool(self.variants or self.multipliers or self.facts))
        if self.varies:
            _check_varying(self)
        object.__setattr__(self, "_made", {})
        object.__setattr__(self, "_known", {})

    @property
    def increment(self) -> int:
        """What an item's quantity is rounded up to whole ones of; 1: not at all."""
        return 1 if self.given_increment is None else self.given_increment

    def billed(self, raw: int) -> int:
        """What an item's cumulative raw quantity counts as; an unused item costs nothing."""
        if raw == 0:
            return 0
        return -(-max(raw, self.minimum) // self.increment) * self.increment

    def conditions(self) -> list[tuple[Condition, ...]]:
        """On what each variant and each multiplier depends."""
        return [each.when for each in self.variants] + [each.when for each in self.multipliers]

    def functions(self) -> list[PriceFunction]:
        """What may stand: the base, and each variant."""
        return [self.function, *(each.function for each in self.variants)]

    def with_functions(self, made: Sequence[PriceFunction]) -> Price:
        """The price with others in place of its :meth:`functions`."""
        base, *others = made
        variants = [
            evolve(each, function=function)
            for each, function in zip(self.variants, others, strict=True)
        ]
        return evolve(self, function=base, variants=variants)

    def most(self, quantity: int) -> Ratio:
        """The most that ``quantity`` can cost, wherever it starts and whatever holds, in nanos."""
        if not self.varies:
            return self.function.most(quantity)
        costs = [Fraction(*each.most(quantity)) for each in self.functions()]
        above = [Fraction(*each.by) for each in self.multipliers if _above_one(each)]
        return (max(costs) * prod(above, start=Fraction(1))).as_integer_ratio()

    # -- what it depends on -----------------------------------------------------

    def unknown(self, facts: Mapping[str, str]) -> str | None:
        """What of these facts has a value that the price does not know, in words."""
        return self._by_facts(tuple(sorted(facts.items())), quoted=False).unknown

    def choice(self, request: Request) -> Choice | None:
        """What stands and holds for a request that was made; None where it says a fact's value
        that is not known: then it has no price."""
        known = self._by_facts(request.facts, quoted=False)
        if known.unknown is not None or known.choice is not None:
            return known.choice
        standing = 0
        for number, left, _ in known.variants:
            if _hold(left, request):
                standing = number
                break
        return standing, tuple(
            each.number for each in known.multipliers if _hold(each.left, request)
        )

    def choice_by_facts(self, facts: tuple[tuple[str, str], ...]) -> Choice | None:
        """The same, where these facts alone decide it; else None, also for a value that is not
        known."""
        known = self._known.get(facts) or self._by_facts(facts, quoted=False)
        return known.choice

    def choices(self, request: Request) -> list[Choice]:
        """For a request that is quoted: each variant that may stand, times every multiplier that
        holds for certain, or that may hold and is above one; none where a fact's value is not
        known."""
        known = self._by_facts(request.facts, quoted=request.quoted)
        if known.unknown is not None:
            return []
        if known.choice is not None:
            return [known.choice]
        holding = tuple(
            number
            for number, left, certain in known.multipliers
            if (held := _hold(left, request)) is not False
            and ((certain and held) or _above_one(self.multipliers[number - 1]))
        )
        found: list[Choice] = []
        for number, left, certain in known.variants:
            held = _hold(left, request)
            if held is not False:
                found.append((number, holding))
            if held and certain:
                return found
        return [(0, holding), *found]

    def _by_facts(self, facts: tuple[tuple[str, str], ...], *, quoted: bool) -> _ByFacts:
        """What is left open by facts alone; of a request that was made, those that it does not
        say have their defaults."""
        key = (facts,) if quoted else facts
        found = self._known.get(key)
        if found is None:
            found = self._without_facts(dict(facts), quoted=quoted)
            if len(self._known) < _KEPT:
                self._known[key] = found
        return found

    def _without_facts(self, facts: dict[str, str], *, quoted: bool) -> _ByFacts:
        for fact in self.facts:
            if not quoted:
                facts.setdefault(fact.name, fact.default)
            value = facts.get(fact.name)
            if value is not None and value not in fact.values:
                return _ByFacts(f"{fact.name} {value!r}; known: {', '.join(fact.values)}")
        variants: list[_Open] = []
        for each in _left_open(self.variants, facts):
            variants.append(each)
            if each.certain and not each.left:
                break
        multipliers = tuple(_left_open(self.multipliers, facts))
        choice = None
        if all(each.certain and not each.left for each in (*variants, *multipliers)):
            standing = variants[0].number if variants else 0
            choice = standing, tuple(each.number for each in multipliers)
        return _ByFacts(None, tuple(variants), multipliers, choice)

    def chosen(self, choice: Choice) -> Price:
        """The price as it is where this stands and holds: one that depends on nothing more."""
        return self.named(choice)[1]

    def named(self, choice: Choice) -> tuple[str, Price]:
        """The same, behind what a version's name says of it: ``/2x1x3`` for variant 2, times
        multipliers 1 and 3; nothing for a base that none multiplies."""
        found = self._made.get(choice)
        if found is not None:
            return found
        variant, multipliers = choice
        function = self.variants[variant - 1].function if variant else self.function
        by = prod((Fraction(*self.multipliers[n - 1].by) for n in multipliers), start=Fraction(1))
        if by != 1:
            function = Scaled(function, by.as_integer_ratio())
        text = "".join([f"/{variant}", *(f"x{number}" for number in multipliers)])
        price = Price(function, self.unit, self.minimum, self.given_increment)
        found = ("" if choice == STANDS else text), price
        if len(self._made) < _KEPT:
            self._made[choice] = found
        return found

    def describe_choice(self, choice: Choice) -> str:
        """In words which conditions of it hold; empty for a base that nothing multiplies."""
        variant, multipliers = choice
        words = [_when(self.variants[variant - 1].when)] if variant else []
        words += [
            f"times {ratio_text(self.multipliers[n - 1].by)} for"
            f" {_when(self.multipliers[n - 1].when)}"
            for n in multipliers
        ]
        return "; ".join(words)

    def describe_variants(self, currency: str) -> str:
        """In words what it depends on; empty where that is nothing."""
        words = [
            f"; for {_when(each.when)}: {each.function.describe(currency, self.unit)}"
            for each in self.variants
        ]
        words += [
            f"; times {ratio_text(each.by)} for {_when(each.when)}" for each in self.multipliers
        ]
        return "".join(words)


def _above_one(multiplier: Multiplier) -> bool:
    over, under = multiplier.by
    return over > under


def _left_open(some: Iterable[Variant | Multiplier], facts: Mapping[str, str]) -> Iterator[_Open]:
    """Those that facts do not exclude."""
    for number, each in enumerate(some, 1):
        held = [one.holds(facts) for one in each.when if isinstance(one, FactIs)]
        if False not in held:
            left = tuple(one for one in each.when if not isinstance(one, FactIs))
            yield _Open(number, left, None not in held)


def _hold(conditions: Iterable[SizeAbove | Hours], request: Request) -> bool | None:
    """Whether all of them hold; None: that is open."""
    certain: bool | None = True
    for condition in conditions:
        held = condition.holds(request)
        if held is False:
            return False
        if held is None:
            certain = None
    return certain


def _when(conditions: Iterable[Condition]) -> str:
    return " and ".join(each.describe() for each in conditions)


def _check_varying(price: Price) -> None:
    for name, kind in (("variants", Variant), ("multipliers", Multiplier), ("facts", Fact)):
        values: tuple[Any, ...] = getattr(price, name)
        if not all(isinstance(each, kind) for each in values):
            raise InvalidCommand(name, values, f"{kind.__name__} values")
        if len(values) > _MOST:
            raise InvalidCommand(name, len(values), f"at most {_MOST}")
    names = [fact.name for fact in price.facts]
    if len(set(names)) != len(names):
        raise InvalidCommand("facts", names, "each fact once")
    for when in price.conditions():
        check_known(when, price.facts)
    base, _ = unscaled(price.function)
    if isinstance(base, Package):
        raise InvalidCommand(
            "variants", price.function, "a Flat or Graduated: a package depends on nothing"
        )
    for variant in price.variants:
        other, _ = unscaled(variant.function)
        if isinstance(base, Graduated) and isinstance(other, Graduated):
            bounds = [tier.up_to for tier in base.tiers]
            if [tier.up_to for tier in other.tiers] != bounds:
                raise InvalidCommand("variants", other, f"tiers up to {bounds}, as the base has")
        elif type(other) is not type(base):
            raise InvalidCommand("variants", other, f"a {type(base).__name__}, as the base is one")


# -- as a book keeps it ---------------------------------------------------------


def price_json(price: Price) -> dict[str, object]:
    """A price as a book keeps it."""
    shape: dict[str, object] = _function_json(price.function)
    if price.varies:
        # Under names of their own: who does not know them cannot take it for a simple price.
        varying: dict[str, list[object]] = {
            "variants": [
                [_function_json(each.function), _conditions_json(each.when)]
                for each in price.variants
            ],
            "multipliers": [multiplier_json(each) for each in price.multipliers],
            "facts": [fact_json(each) for each in price.facts],
        }
        shape = {"base": shape, **{name: values for name, values in varying.items() if values}}
    return {**shape, "unit": price.unit, "minimum": price.minimum, "increment": price.increment}


def _conditions_json(when: Iterable[Condition]) -> list[object]:
    return [condition_json(each) for each in when]


def _function_json(function: PriceFunction) -> dict[str, object]:
    match function:
        case Flat():
            return {"flat": [function.nanos, function.per]}
        case Graduated():
            return {"graduated": [[t.up_to, t.nanos, t.per] for t in function.tiers]}
        case Package():
            return {"package": [function.nanos, function.size]}
        case Scaled():
            raise InvalidCommand("function", function, "a price; a book says its discounts apart")


def load_price(data: Mapping[str, Any]) -> Price:
    """The price of a :func:`price_json`."""
    return Price(
        _load_function(data.get("base", data)),
        unit=cast("str", data["unit"]),
        minimum=cast("int", data["minimum"]),
        increment=cast("int", data["increment"]),
        variants=[
            Variant(_load_function(function), [load_condition(each) for each in when])
            for function, when in data.get("variants", ())
        ],
        multipliers=[load_multiplier(each) for each in data.get("multipliers", ())],
        facts=[Fact(*each) for each in data.get("facts", ())],
    )


def multiplier_json(multiplier: Multiplier) -> list[object]:
    """A multiplier as a book keeps it."""
    return [*multiplier.by, _conditions_json(multiplier.when)]


def load_multiplier(data: Sequence[Any]) -> Multiplier:
    """The multiplier of a :func:`multiplier_json`."""
    over, under, when = data
    return Multiplier(Fraction(over, under), [load_condition(each) for each in when])


def _load_function(data: Mapping[str, Any]) -> Flat | Graduated | Package:
    if "flat" in data:
        return Flat(*cast("list[int]", data["flat"]))
    if "graduated" in data:
        tiers = cast("list[tuple[int | None, int, int]]", data["graduated"])
        return Graduated(tuple(Tier(*tier) for tier in tiers))
    return Package(*cast("list[int]", data["package"]))
