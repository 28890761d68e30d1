"""Hypothesis strategies for commands and price books that are likely to meet.

Pools are small and amounts tiny, so that keys are used again, lots run out, lots and
holds end at the same moment, and fractions of a nano add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast

from attrs import field, frozen
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from billing_core.commands import (
    CUSTOMER,
    PLATFORM,
    Close,
    Command,
    Deduct,
    Extend,
    Grant,
    Hold,
    LotKind,
    OpenAccount,
    Payer,
    PriceUnpriced,
    Release,
    Reverse,
    Settle,
    Usage,
)
from billing_core.money import MAX_NANOS, Money
from billing_core.pricing import Flat, Graduated, Package, Price, PriceBook, PriceFunction, Tier

__all__ = [
    "BASE",
    "MEMBERS",
    "ORGS",
    "START",
    "THEMES",
    "Theme",
    "World",
    "books",
    "commands",
    "prices",
    "usages",
]

_T = TypeVar("_T")

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
"""When a run begins: an anchor on a 31st."""

ORGS = ("acme", "bøb & söhne 🦊")
MEMBERS = ("ann", "bülent")
RESOURCES = ("model:a", "model:b", "tool")
ITEMS = ("run-1", "run-2")

_TICK = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
_SPANS = (_MINUTE, 5 * _MINUTE, 10 * _MINUTE, timedelta(hours=1))
_LONG = (timedelta(days=1), timedelta(days=31))


@frozen
class Theme:
    """What a run is about: a few things, so that they meet.

    ``operations``, ``acts``: how often each operation comes, and each of the machine's
    other acts beside the usual.  ``plain``: one org, one resource, no scopes, and all at
    the clock's time.  ``credit``: the most of a usual grant.  ``extremes``: amounts and
    quantities may be huge, after which little else matters.
    """

    operations: Mapping[str, int]
    components: Sequence[str] = ("flat",)
    acts: Mapping[str, int] = field(factory=dict)
    plain: bool = False
    credit: int = 40
    extremes: bool = False


_ANY = ("flat", "tiered", "timed", "stepped", "unknown")

THEMES = {
    "holds": Theme(
        {"grant": 6, "hold": 6, "extend": 6, "release": 2, "settle": 4},
        plain=True,
        acts={"pass_time_until_something_ends": 3},
    ),
    "debts": Theme({"grant": 5, "settle": 6, "reverse": 5, "hold": 3, "release": 3, "deduct": 1}),
    "quotes": Theme(
        {"settle": 6, "hold": 6, "grant": 1, "release": 1},
        ("tiered", "stepped"),
        plain=True,
        credit=400,
        acts={"ask": 12, "publish": 2},
    ),
    "items": Theme(
        {"settle": 8, "deduct": 2, "grant": 1},
        ("timed", "stepped"),
        plain=True,
        credit=400,
        acts={"publish": 6, "pass_time": 4},
    ),
    "unpriced": Theme(
        {"settle": 6, "price": 5, "reverse": 2, "grant": 2, "hold": 2},
        ("unknown", "flat", "timed"),
        acts={"publish": 5},
    ),
    "all": Theme(
        {
            "grant": 5, "hold": 6, "settle": 7, "extend": 3, "release": 2, "deduct": 3,
            "reverse": 4, "price": 2, "open": 1,
        },
        _ANY,
    ),
    "closing": Theme(
        {"grant": 6, "hold": 6, "settle": 12, "release": 3, "price": 2, "close": 1}, _ANY
    ),
    "extremes": Theme(
        {"grant": 4, "hold": 3, "settle": 4, "deduct": 2, "reverse": 3, "extend": 1},
        _ANY,
        extremes=True,
    ),
}  # fmt: skip


@frozen
class World:
    """What commands may refer to: the time, and what is on record.

    ``serial``: makes a fresh key.  ``holds``: by org, the open ones.  ``charges``: those
    with something to reverse; ``unpriced``: those to be priced.  ``ends``: when something
    lapses.
    """

    theme: Theme = THEMES["all"]
    now: datetime = START
    serial: int = 0
    holds: Mapping[str, Sequence[str]] = field(factory=dict)
    charges: Mapping[str, Sequence[int]] = field(factory=dict)
    unpriced: Mapping[str, Sequence[int]] = field(factory=dict)
    ends: Sequence[datetime] = ()
    versions: Sequence[str] = ("base",)


def _often(
    usual: SearchStrategy[_T], seldom: SearchStrategy[_T], one_in: int
) -> SearchStrategy[_T]:
    """Mostly the one, now and then the other."""
    # Hypothesis draws the ends of a range more often: what is rare stands inside.
    return st.integers(1, one_in).flatmap(lambda n: seldom if n == one_in // 2 + 1 else usual)


def _amounts(world: World, most: int) -> SearchStrategy[Money]:
    """Positive amounts, tiny but where the theme has extremes."""
    nanos = st.integers(1, most)
    if world.theme.extremes:
        nanos = _often(nanos, st.sampled_from([10**9, 2**62, MAX_NANOS - 1, MAX_NANOS]), 5)
    usual = nanos.map(lambda amount: Money(amount, "USD"))
    return _often(usual, st.just(Money(1, "EUR")), 100)


def _quantities(world: World) -> SearchStrategy[int]:
    usual = st.integers(0, 9)
    if world.theme.extremes:
        return _often(usual, st.sampled_from([2**62, 2**63, 10**20, 10**36 - 1]), 5)
    return usual


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
    "flat": _flat,
    "timed": _flat,
    "tiered": lambda: _graduated() | _package(),
    "stepped": lambda: _graduated() | _package() | _flat(),
}
COMPONENTS = (*_FUNCTIONS, "unknown")
"""``unknown`` has no price in the base book, and only what is flat there stays flat, for
holds announce to tiered prices alone.  ``timed`` and ``stepped`` are billed by item."""


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


BASE = PriceBook(
    "base",
    START - timedelta(days=100),
    {
        resource: {
            "flat": Price(Flat(1, 3), unit="unit"),
            "tiered": Price(Graduated((Tier(10, 2), Tier(20, 1, 3), Tier(None, 3, 2)))),
            "timed": Price(Flat(2, 3), unit="second", minimum=5, increment=2),
            "stepped": Price(Package(5, 4), unit="second", minimum=1, increment=5),
        }
        for resource in RESOURCES
    },
)
"""The prices that a run begins with."""


@st.composite
def books(draw: st.DrawFn, world: World) -> PriceBook:
    """A further version: soon in force, or, for what has no price yet, since long ago."""
    version = draw(st.sampled_from(["v1", "v2", "v3", "v4", "v5", "v6"]))
    back = draw(st.booleans())
    names = (
        ["unknown"] if back else draw(st.lists(st.sampled_from(COMPONENTS), min_size=1, max_size=4))
    )
    resources = draw(st.sampled_from([RESOURCES, RESOURCES[:1], RESOURCES[1:]]))
    effective = world.now + draw(st.sampled_from([10 * _MINUTE, 10 * _MINUTE, 60 * _MINUTE]))
    return PriceBook(
        version,
        START - timedelta(days=100) if back else effective,
        {resource: {name: draw(prices(name)) for name in set(names)} for resource in resources},
    )


# -- commands -------------------------------------------------------------------


@st.composite
def usages(draw: st.DrawFn, world: World) -> Usage:
    """One or two components of a resource, now and then on the customer's own key."""
    names = draw(st.lists(st.sampled_from(world.theme.components), max_size=2, unique=True))
    payer: Payer = draw(_often(st.just(PLATFORM), st.just(CUSTOMER), 12))
    return Usage.of(
        draw(_resources(world)),
        {name: draw(_quantities(world)) for name in names},
        payer={names[0]: payer} if names else "platform",
        item=draw(st.sampled_from([None, None, *ITEMS])),
    )


@st.composite
def _time(draw: st.DrawFn, world: World) -> datetime | None:
    """Mostly the clock's; else around what lapses, before now, or ahead of it."""
    way = 0 if world.theme.plain else draw(st.integers(0, 15))
    if way == 6:
        return world.now + draw(st.sampled_from([_MINUTE, 5 * _MINUTE, 6 * _MINUTE]))
    near = [end for end in world.ends if end < world.now + 5 * _MINUTE]
    if way in (7, 8) and near:
        ticks = draw(st.sampled_from([-_TICK, 0 * _TICK, _TICK]))
        return draw(st.sampled_from(near[-4:])) + ticks
    if way in (9, 10):
        return world.now - draw(st.sampled_from([*_SPANS, *_LONG]))
    return None


@st.composite
def _end(draw: st.DrawFn, world: World) -> datetime | None:
    way = draw(st.integers(0, 15))
    if way == 7:
        return world.now - _MINUTE
    if way == 8:
        return world.now + draw(st.sampled_from(_LONG))
    later = [end for end in world.ends if end > world.now]
    if way in (9, 10) and later:
        return draw(st.sampled_from(later))
    return None if way < 5 else world.now + draw(st.sampled_from(_SPANS))


_lives = st.sampled_from([*_SPANS, *_SPANS, _LONG[0]])
_members = st.sampled_from([None, None, *MEMBERS])
_scopes = st.sampled_from([None, None, None, ("model:*",), ("tool",), ("model:a", "tool")])


def _keys(world: World) -> SearchStrategy[str]:
    """Mostly a fresh one; the machine repeats commands on purpose."""
    return _often(st.just(f"k{world.serial}"), st.integers(0, 9).map(lambda n: f"k{n}"), 30)


def _orgs(world: World) -> SearchStrategy[str]:
    return st.just(ORGS[0]) if world.theme.plain else _often(st.just(ORGS[0]), st.just(ORGS[1]), 6)


def _resources(world: World) -> SearchStrategy[str]:
    return st.sampled_from(RESOURCES[:1] if world.theme.plain else (RESOURCES[0], *RESOURCES))


def _known(
    known: Mapping[str, Sequence[_T]], org: str, other: SearchStrategy[_T]
) -> SearchStrategy[_T]:
    """One that is on record, or seldom any other."""
    names = known.get(org)
    return _often(st.sampled_from(names), other, 8) if names else other


_any_hold = st.integers(0, 9).map(lambda number: f"k{number}")
_any_charge = st.integers(1, 20)


@st.composite
def _cost(draw: st.DrawFn, world: World) -> tuple[Money | Usage, str | None]:
    """An amount with its resource, or a usage, which names its own."""
    priced = draw(st.booleans()) or world.theme.components != ("flat",)
    if priced and draw(_often(st.just(True), st.just(False), 6)):
        return draw(usages(world)), None
    return draw(_amounts(world, 12)), draw(_resources(world))


@st.composite
def _open(draw: st.DrawFn, world: World) -> Command:
    return OpenAccount(
        draw(_orgs(world)),
        currency=draw(st.sampled_from(["USD", "USD", "EUR"])),
        anchor=draw(st.none() | st.just(START - timedelta(days=16))),
        key=draw(st.sampled_from(["account", "other"])),
        at=draw(_time(world)),
    )


@st.composite
def _grant(draw: st.DrawFn, world: World) -> Command:
    kinds = cast("list[LotKind]", ["purchased", "promotional", "allowance"])
    return Grant(
        draw(_orgs(world)),
        draw(_keys(world)),
        amount=draw(_amounts(world, world.theme.credit)),
        kind=draw(st.sampled_from(kinds)),
        priority=draw(st.sampled_from([0, 0, -1, 1])),
        expires_at=draw(_end(world)),
        scope=None if world.theme.plain else draw(_scopes),
        reference=draw(st.sampled_from([None, "order-1"])),
        at=draw(_time(world)),
    )


@st.composite
def _hold(draw: st.DrawFn, world: World) -> Command:
    cost, resource = draw(_cost(world))
    if draw(st.booleans()):
        resource = None
    return Hold(
        draw(_orgs(world)),
        draw(_keys(world)),
        cost=cost,
        life=draw(_lives),
        resource=resource,
        member=draw(_members),
        at=draw(_time(world)),
    )


@st.composite
def _extend(draw: st.DrawFn, world: World) -> Command:
    org = draw(_orgs(world))
    if not world.holds.get(org) and draw(st.booleans()):
        return draw(_hold(world))
    return Extend(
        org,
        draw(_keys(world)),
        hold=draw(_known(world.holds, org, _any_hold)),
        life=draw(_lives),
        add=draw(st.none() | _amounts(world, 10)),
        at=draw(_time(world)),
    )


@st.composite
def _release(draw: st.DrawFn, world: World) -> Command:
    org = draw(_orgs(world))
    if not world.holds.get(org) and draw(st.booleans()):
        return draw(_hold(world))
    return Release(
        org,
        draw(_keys(world)),
        hold=draw(_known(world.holds, org, _any_hold)),
        at=draw(_time(world)),
    )


@st.composite
def _settle(draw: st.DrawFn, world: World) -> Command:
    org = draw(_orgs(world))
    return Settle(
        org,
        draw(_keys(world)),
        usage=draw(usages(world)),
        hold=draw(st.none() | _known(world.holds, org, _any_hold)),
        more=draw(st.booleans()),
        member=draw(_members),
        reference=draw(st.sampled_from([None, "job-1"])),
        occurred_at=draw(_time(world)),
        at=draw(_time(world)),
    )


@st.composite
def _deduct(draw: st.DrawFn, world: World) -> Command:
    cost, resource = draw(_cost(world))
    return Deduct(
        draw(_orgs(world)),
        draw(_keys(world)),
        cost=cost,
        resource=resource,
        member=draw(_members),
        occurred_at=draw(_time(world)),
        at=draw(_time(world)),
    )


@st.composite
def _price(draw: st.DrawFn, world: World) -> Command:
    org = draw(_orgs(world))
    if not world.unpriced.get(org) and draw(st.booleans()):
        return draw(_settle(world))
    return PriceUnpriced(
        org,
        draw(_keys(world)),
        charge=draw(_known(world.unpriced, org, _any_charge)),
        version=draw(_often(st.sampled_from(world.versions), st.just("never"), 12)),
        at=draw(_time(world)),
    )


@st.composite
def _reverse(draw: st.DrawFn, world: World) -> Command:
    org = draw(_orgs(world))
    if not world.charges.get(org) and draw(st.booleans()):
        return draw(_settle(world))
    return Reverse(
        org,
        draw(_keys(world)),
        charge=draw(_known(world.charges, org, _any_charge)),
        amount=draw(st.none() | _amounts(world, 5)),
        expires_at=draw(_end(world)),
        reason=draw(st.sampled_from([None, "goodwill"])),
        at=draw(_time(world)),
    )


@st.composite
def _close(draw: st.DrawFn, world: World) -> Command:
    return Close(draw(_orgs(world)), remainder=draw(st.sampled_from(["refund", "write_off"])))


_OPERATIONS: dict[str, Callable[[World], SearchStrategy[Command]]] = {
    "open": _open,
    "grant": _grant,
    "hold": _hold,
    "extend": _extend,
    "release": _release,
    "settle": _settle,
    "deduct": _deduct,
    "price": _price,
    "reverse": _reverse,
    "close": _close,
}


def commands(world: World) -> SearchStrategy[Command]:
    """Any command that the theme has, as often as it says."""
    operations = world.theme.operations
    names = [name for name, weight in operations.items() for _ in range(weight)]
    return st.sampled_from(names).flatmap(lambda name: _OPERATIONS[name](world))
