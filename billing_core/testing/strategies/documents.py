"""Hypothesis strategies for what is published: prices, for everyone or of one's own, plans."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time, timedelta
from fractions import Fraction

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from billing_core.pricing.conditions import Condition, Fact, FactIs, Hours, SizeAbove
from billing_core.pricing.functions import Flat, Graduated, Package, PriceFunction, Tier
from billing_core.pricing.plan import Limit, Plan, Quota
from billing_core.pricing.price import Multiplier, Price, Variant
from billing_core.pricing.price_book import PriceBook
from billing_core.testing.strategies.themes import ORGS, RESOURCES, START, World
from billing_core.values.money import Money

__all__ = [
    "BASE",
    "FACTS",
    "OFFERS",
    "books",
    "documents",
    "facts",
    "multipliers",
    "own_books",
    "plans",
    "prices",
    "varying",
]

_MINUTE = timedelta(minutes=1)

# -- prices ---------------------------------------------------------------------

_rates = st.tuples(st.sampled_from([0, 1, 2, 3, 7]), st.sampled_from([1, 2, 3, 7, 10]))


@st.composite
def _flat(draw: st.DrawFn) -> PriceFunction:
    return Flat(*draw(_rates))


@st.composite
def _graduated(draw: st.DrawFn) -> PriceFunction:
    bounds = draw(st.lists(st.integers(1, 30), min_size=1, max_size=3, unique=True))
    ends: list[int | None] = [*sorted(bounds), None]
    return Graduated(tuple(Tier(end, *draw(_rates)) for end in ends))


@st.composite
def _package(draw: st.DrawFn) -> PriceFunction:
    return Package(draw(st.integers(0, 7)), draw(st.integers(1, 12)))


_FUNCTIONS: dict[str, Callable[[], SearchStrategy[PriceFunction]]] = {
    "flat": lambda: _flat() | _graduated(),
    "timed": lambda: _flat() | _graduated(),
    "reversed": _flat,
    "tiered": lambda: _graduated() | _package(),
    "stepped": lambda: _graduated() | _package() | _flat(),
}
COMPONENTS = (*_FUNCTIONS, "unknown")
"""``unknown`` has no price in the base book.  ``flat`` and ``timed`` are flat there, and may get
tiers while holds are open.  ``timed`` and ``stepped`` are billed by item.
``reversed`` is also what a reversal's line is called; ``by_request`` depends on the request."""


@st.composite
def prices(draw: st.DrawFn, component: str) -> Price:
    """A price of the kind that a component has."""
    make = _FUNCTIONS.get(component, _flat)
    if component not in ("timed", "stepped"):
        return Price(draw(make()), unit="unit")
    return Price(
        draw(make()),
        unit="second",
        minimum=draw(st.sampled_from([0, 1, 5, 10])),
        increment=draw(st.sampled_from([1, 2, 5])),
    )


# -- what they depend on --------------------------------------------------------

FACTS = (
    Fact("tier", ("usual", "cheap", "dear"), default="usual"),
    Fact("region", ("here", "there"), default="here"),
)
"""What prices here may depend on."""

_FACTS: tuple[Condition, ...] = tuple(
    FactIs(fact.name, value) for fact in FACTS for value in fact.values
)
_HOURS: tuple[Condition, ...] = (
    Hours(time(0), time(12)),
    Hours(time(12), time(13)),
    Hours(time(22, 30), time(1)),
    Hours(time(0), time(0), ("sat", "tue")),
    Hours(time(11, 59, 59, 999_999), time(12, 5), ("sat", "sun", "tue")),
)
_BOUNDS = (0, 2, 5, 9, 12, 20)
_BY: tuple[str | Fraction, ...] = ("1.1", "0.5", "2", Fraction(1, 3), Fraction(4, 3))


@st.composite
def _when(draw: st.DrawFn, sizes: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """One condition or two, of each kind alike."""
    kinds = [_FACTS, _HOURS, sizes] if sizes else [_FACTS, _HOURS]
    return tuple(
        draw(st.sampled_from(draw(st.sampled_from(kinds))))
        for _ in range(draw(st.sampled_from([1, 1, 1, 2])))
    )


def _sizes(components: tuple[str, ...]) -> tuple[Condition, ...]:
    """Of each component, and of all together."""
    some = {*((name,) for name in components), components} if components else set()
    return tuple(SizeAbove(bound, of) for of in sorted(some) for bound in _BOUNDS)


@st.composite
def multipliers(draw: st.DrawFn, components: tuple[str, ...]) -> Multiplier:
    """One, by facts, hours and the sizes of these components."""
    return Multiplier(draw(st.sampled_from(_BY)), draw(_when(_sizes(components))))


@st.composite
def varying(draw: st.DrawFn, price: Price, components: tuple[str, ...]) -> Price:
    """A price that may depend on the request, by facts, hours and the sizes of these
    components; a package does not."""
    base = price.function
    if isinstance(base, Package):
        return price
    variants: list[Variant] = []
    for _ in range(draw(st.integers(0, 3))):
        function: PriceFunction = draw(_flat())
        if isinstance(base, Graduated):
            function = Graduated(tuple(Tier(tier.up_to, *draw(_rates)) for tier in base.tiers))
        variants.append(Variant(function, draw(_when(_sizes(components)))))
    most = 0 if len(variants) > 1 else 2
    more = draw(st.lists(multipliers(components), max_size=most))
    return evolve(price, variants=variants, multipliers=more, facts=FACTS)


@st.composite
def facts(draw: st.DrawFn) -> dict[str, str]:
    """What a request says, of each of them or not."""
    some = draw(st.sampled_from(_SAID))
    return {fact.name: draw(st.sampled_from(fact.values)) for fact in FACTS if fact.name in some}


_SAID = ((), ("tier",), ("region",), ("tier", "region"))


BASE = PriceBook(
    "base",
    START - timedelta(days=100),
    {
        resource: {
            "flat": Price(Flat(1, 3), unit="unit"),
            "reversed": Price(Flat(1, 2), unit="unit"),
            "tiered": Price(Graduated((Tier(10, 2), Tier(20, 1, 3), Tier(None, 3, 2)))),
            "timed": Price(Flat(2, 3), unit="second", minimum=5, increment=2),
            "stepped": Price(Package(5, 4), unit="second", minimum=1, increment=5),
            "by_request": Price(
                Graduated((Tier(10, 2), Tier(None, 5, 3))),
                unit="unit",
                variants=[
                    Variant(Graduated((Tier(10, 4), Tier(None, 7, 3))), FactIs("tier", "dear")),
                    Variant(
                        Graduated((Tier(10, 1), Tier(None, 1, 3))),
                        SizeAbove(12, ("by_request", "flat")),
                    ),
                ],
                multipliers=[Multiplier("1.1", Hours(time(12, 30), time(14)))],
                facts=FACTS[:1],
            ),
        }
        for resource in RESOURCES
    },
)
"""The prices that a run begins with."""


_versions = st.sampled_from(["v1", "v2", "v3", "v4", "v5", "v6"])
_delays = st.sampled_from([10 * _MINUTE, 10 * _MINUTE, 60 * _MINUTE])


@st.composite
def books(draw: st.DrawFn, world: World) -> PriceBook:
    """A further version: soon in force, or, for what has no price yet, since long ago."""
    if world.theme.requests and draw(st.integers(0, 3)):
        return draw(_books_by_request(world))
    version = draw(_versions)
    back = draw(st.booleans())
    names = (
        ["unknown"] if back else draw(st.lists(st.sampled_from(COMPONENTS), min_size=1, max_size=4))
    )
    resources = draw(st.sampled_from([RESOURCES, RESOURCES[:1], RESOURCES[1:]]))
    effective = world.now + draw(_delays)
    return PriceBook(
        version,
        START - timedelta(days=100) if back else effective,
        {resource: {name: draw(prices(name)) for name in set(names)} for resource in resources},
    )


@st.composite
def _books_by_request(draw: st.DrawFn, world: World) -> PriceBook:
    """A further version whose prices depend on the request, some by the book's multipliers."""
    names = world.theme.components
    some = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    found = {name: draw(varying(draw(prices(name)), _SIZED)) for name in some}
    more = draw(st.lists(multipliers(_SIZED), max_size=1))
    return PriceBook(
        draw(_versions),
        world.now + draw(_delays),
        dict.fromkeys(draw(st.sampled_from([RESOURCES, RESOURCES[:1]])), found),
        multipliers={"model:*": more} if more else {},
        facts=FACTS if more else (),
    )


_SIZED = ("by_request", "flat", "unknown")
_AUDIENCES = ({"org": ORGS[0]}, {"plan": "small"}, {"plan": "large"}, {"plan": "extra"})
_PERCENTAGES = ("10", "33.3", "50", "100", "0")
_PATTERNS = ("*", "model:*", "model:a", "tool")


@st.composite
def own_books(draw: st.DrawFn, world: World) -> PriceBook:
    """Prices of a plan or an org, ends of such, and discounts."""
    names = draw(st.lists(st.sampled_from(COMPONENTS), max_size=2, unique=True))
    patterns = draw(
        st.lists(st.sampled_from(_PATTERNS), min_size=not names, max_size=2, unique=True)
    )
    ends = draw(st.integers(0, 3)) == 2
    prices_of = {name: None if ends else draw(prices(name)) for name in names}
    audience = draw(st.sampled_from(_AUDIENCES))
    resources = draw(st.sampled_from([RESOURCES, RESOURCES[:1]]))
    return PriceBook(
        draw(_versions),
        world.now + draw(_delays),
        dict.fromkeys(resources, prices_of) if names else {},
        percent_off={name: draw(st.sampled_from(_PERCENTAGES)) for name in patterns},
        plan=audience.get("plan"),
        org=audience.get("org"),
    )


def _nanos(amount: int | None) -> Money | None:
    return None if amount is None else Money(amount, "USD")


_GRACES = (timedelta(0), timedelta(0), timedelta(hours=1), timedelta(days=1), timedelta(days=27))
_LIMITS = (
    Limit("org", Money(30, "USD"), "day", (50, 100)),
    Limit("org", Money(20, "USD"), "period", (50,), blocks=False),
    Limit("member", Money(12, "USD"), "day"),
    Limit("member", Money(25, "USD"), "period", (80,)),
    Limit("project", Money(15, "USD"), "period", (100,)),
)
_QUOTAS = (
    Quota(RESOURCES[0], "flat", 12),
    Quota(RESOURCES[0], "tiered", 9),
    Quota(RESOURCES[0], "timed", 15),
    Quota("model:*", "flat", 14),
    Quota("*", "timed", 18),
)


@st.composite
def plans(draw: st.DrawFn, world: World) -> Plan:
    """A further version of a plan, or the first of one more."""
    name = draw(st.sampled_from(["small", "large", "extra"]))
    return Plan(
        draw(_versions),
        name,
        world.now + draw(_delays),
        allowance=_nanos(draw(st.sampled_from([None, 5, 10, 20, 40]))),
        rollover=_nanos(draw(st.sampled_from([None, 3, 15]))),
        grace=draw(st.sampled_from(_GRACES)),
        limits=draw(st.lists(st.sampled_from(_LIMITS), max_size=2, unique=True)),
        quotas=draw(st.lists(st.sampled_from(_QUOTAS), max_size=1)),
    )


def documents(world: World) -> SearchStrategy[PriceBook | Plan]:
    """Anything that may be published, in themes that have plans."""
    if not world.theme.operations.get("plan"):
        return books(world)
    return books(world) | own_books(world) | plans(world)


OFFERS: tuple[PriceBook | Plan, ...] = (
    BASE,
    PriceBook(
        "small-prices",
        START - timedelta(days=100),
        {RESOURCES[0]: {"flat": Price(Flat(2, 3), unit="unit")}},
        percent_off={"tool": "33.3", "*": "10"},
        plan="small",
    ),
    Plan("small-1", "small", START, allowance=_nanos(10), rollover=_nanos(8), quotas=_QUOTAS[1:2]),
    Plan(
        "large-1",
        "large",
        START - timedelta(days=100),
        allowance=_nanos(30),
        rollover=_nanos(100),
        grace=timedelta(days=1),
        limits=(_LIMITS[3], _LIMITS[4]),
        quotas=_QUOTAS[:1],
    ),
)
"""What there is when a run begins."""
