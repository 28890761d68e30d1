"""Hypothesis strategies for commands and price books that are likely to meet.

Pools are small and amounts tiny, so that keys are used again, lots run out, lots and
holds end at the same moment, and fractions of a nano add up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from attrs import evolve, frozen
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from billing_core.commands.accounts import (
    Close,
    OpenAccount,
    SetLimit,
    SetLowBalance,
    SetPlan,
)
from billing_core.commands.base import Command
from billing_core.commands.charges import Deduct, PriceUnpriced, Reverse, Settle
from billing_core.commands.credit import Grant, LotKind, UndoExpiry
from billing_core.commands.holds import Extend, Hold, Release
from billing_core.testing.strategies.documents import (
    BASE,
    OFFERS,
    books,
    documents,
    facts,
    prices,
)
from billing_core.testing.strategies.themes import (
    ITEMS,
    MEMBERS,
    ORGS,
    PROJECTS,
    RESOURCES,
    START,
    THEMES,
    Theme,
    World,
)
from billing_core.values.money import MAX_NANOS, Money
from billing_core.values.usage import CUSTOMER, Usage

__all__ = [
    "BASE",
    "MEMBERS",
    "OFFERS",
    "ORGS",
    "START",
    "THEMES",
    "Theme",
    "World",
    "books",
    "commands",
    "documents",
    "prices",
    "usages",
]

_T = TypeVar("_T")

_TICK = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
_SPANS = (_MINUTE, 5 * _MINUTE, 10 * _MINUTE, timedelta(hours=1))
_LONG = (timedelta(days=1), timedelta(days=31))


def _often(
    usual: SearchStrategy[_T], seldom: SearchStrategy[_T], one_in: int
) -> SearchStrategy[_T]:
    """Mostly the one, now and then the other."""
    # Hypothesis draws the ends of a range more often: what is rare stands inside.
    return st.integers(1, one_in).flatmap(lambda n: seldom if n == one_in // 2 + 1 else usual)


def _amounts(world: World, most: int, currency: str) -> SearchStrategy[Money]:
    """Positive amounts, tiny but where the theme has extremes."""
    nanos = st.integers(1, most)
    if world.theme.extremes:
        nanos = _often(nanos, st.sampled_from([10**9, 2**62, MAX_NANOS - 1, MAX_NANOS]), 5)
    return nanos.map(lambda amount: Money(amount, currency))


def _quantities(world: World) -> SearchStrategy[int]:
    usual = st.integers(0, 9)
    if world.theme.extremes:
        return _often(usual, st.sampled_from([2**62, 2**63, 10**20, 10**36 - 1]), 5)
    return usual


# -- commands -------------------------------------------------------------------
# Hypothesis lets a run draw a bounded number of choices: the fewer a command takes, the
# more commands there are.  So what is seldom odd is decided by one choice, and what only
# has to vary follows from the serial number.

_LIVES = (*_SPANS, *_SPANS, _LONG[0])
_SCOPES = (None, None, None, ("model:*",), ("tool",), ("model:a", "tool"))
_LOT_KINDS: list[LotKind] = ["purchased", "promotional", "allowance"]
_KINDS: list[tuple[LotKind, int]] = [
    (kind, priority) for kind in _LOT_KINDS for priority in (0, 0, -1, 1)
]
_USUAL = ("usual",) * 18
_ODD = ("other org",) * 4 + ("near an end",) * 3 + ("before", "before", "ahead", "old key", "euro")


@frozen
class _Setting:
    """Whose a command is, its key and times, and the currency of its money."""

    org: str
    key: str
    at: datetime | None = None
    occurred_at: datetime | None = None
    currency: str = "USD"


@st.composite
def _settings(draw: st.DrawFn, world: World) -> _Setting:
    usual = _Setting(ORGS[0], f"k{world.serial}")
    how = "usual" if world.theme.plain else draw(st.sampled_from(_USUAL[:9] + _ODD + _USUAL[9:]))
    if how == "usual":
        return usual
    if how == "other org":
        return evolve(usual, org=ORGS[1])
    if how == "old key":
        return evolve(usual, key=f"k{draw(st.integers(0, 9))}")
    if how == "euro":
        return evolve(usual, currency="EUR")
    if how == "ahead":
        time = world.now + draw(st.sampled_from([_MINUTE, 5 * _MINUTE, 6 * _MINUTE]))
    else:
        time = world.now - draw(st.sampled_from([*_SPANS, *_LONG]))
        near = [end for end in world.ends if end < world.now + 5 * _MINUTE]
        if how == "near an end" and near:
            time = draw(st.sampled_from(near[-4:])) + draw(st.integers(-1, 1)) * _TICK
    match draw(st.integers(0, 2)):
        case 0:
            return evolve(usual, at=time)
        case 1:
            return evolve(usual, occurred_at=time)
        case _:
            return evolve(usual, at=time, occurred_at=world.now)


@st.composite
def _end(draw: st.DrawFn, world: World) -> datetime | None:
    """Of a lot: none, soon, with something else, much later, or past."""
    later = [end for end in world.ends if end > world.now]
    how = draw(st.integers(0, 15))
    if how in (9, 10) and later:
        return draw(st.sampled_from(later))
    if how == 7:
        return world.now - _MINUTE
    if how == 8:
        return world.now + draw(st.sampled_from(_LONG))
    return None if how < 5 else world.now + draw(st.sampled_from(_SPANS))


def _resources(world: World) -> SearchStrategy[str]:
    return st.sampled_from(RESOURCES[:1] if world.theme.plain else (RESOURCES[0], *RESOURCES))


def _member(world: World) -> str | None:
    return (None, *MEMBERS)[world.serial % 3]


def _project(world: World) -> str | None:
    return (None, *PROJECTS)[world.serial // 3 % 3]


@st.composite
def usages(draw: st.DrawFn, world: World) -> Usage:
    """None, one or two components of a resource, seldom on the customer's own key."""
    names = world.theme.components
    some: list[tuple[str, ...]] = [(name,) for name in names]
    some += [(), *some, *itertools.combinations(names, 2)]
    chosen = draw(st.sampled_from(some))
    customer = chosen[:1] if len(chosen) > 1 and world.serial % 5 == 0 else ()
    return Usage.of(
        draw(_resources(world)),
        {name: draw(_quantities(world)) for name in chosen},
        payer=dict.fromkeys(customer, CUSTOMER),
        item=draw(st.sampled_from([None, None, *ITEMS])) if names != ("flat",) else None,
        facts=draw(facts()) if world.theme.requests else None,
    )


def _known(
    known: Mapping[str, Sequence[_T]], org: str, other: SearchStrategy[_T]
) -> SearchStrategy[_T]:
    """One that is on record, or seldom any other."""
    names = known.get(org)
    return _often(st.sampled_from(names), other, 10) if names else other


_any_hold = st.integers(0, 9).map(lambda number: f"k{number}")
_any_charge = st.integers(1, 20)


@st.composite
def _cost(draw: st.DrawFn, world: World, currency: str) -> tuple[Money | Usage, str | None]:
    """An amount with its resource, or a usage, which names its own."""
    if draw(st.integers(0, 3)) < (2 if world.theme.components == ("flat",) else 1):
        return draw(_amounts(world, 12, currency)), draw(_resources(world))
    return draw(usages(world)), None


@st.composite
def _open(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    return OpenAccount(
        own.org,
        currency=draw(st.sampled_from(["USD", "USD", "EUR"])),
        anchor=draw(st.none() | st.just(START - timedelta(days=16))),
        key=draw(st.sampled_from(["account", "other"])),
        at=own.at,
    )


@st.composite
def _grant(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    kind, priority = draw(st.sampled_from(_KINDS))
    return Grant(
        own.org,
        own.key,
        amount=draw(_amounts(world, world.theme.credit, own.currency)),
        kind=kind,
        priority=priority,
        expires_at=draw(_end(world)),
        scope=None if world.theme.plain else draw(st.sampled_from(_SCOPES)),
        reference=(None, "order-1")[world.serial % 2],
        at=own.at,
    )


@st.composite
def _hold(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    cost, resource = draw(_cost(world, own.currency))
    return Hold(
        own.org,
        own.key,
        cost=cost,
        expires_in=draw(st.sampled_from(_LIVES)),
        resource=resource if world.serial % 2 else None,
        member=_member(world),
        project=_project(world),
        at=own.at,
    )


@st.composite
def _extend(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    return Extend(
        own.org,
        own.key,
        hold=draw(_known(world.holds, own.org, _any_hold)),
        expires_in=draw(st.sampled_from(_LIVES)),
        add=draw(st.none() | _amounts(world, 10, own.currency)),
        at=own.at,
    )


@st.composite
def _release(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    hold = draw(_known(world.holds, own.org, _any_hold))
    return Release(own.org, own.key, hold=hold, at=own.at)


@st.composite
def _settle(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    hold = draw(st.booleans()) and draw(_known(world.holds, own.org, _any_hold))
    return Settle(
        own.org,
        own.key,
        usage=draw(usages(world)),
        hold=hold or None,
        final=not (bool(hold) and draw(st.booleans())),
        member=_member(world),
        project=_project(world),
        reference=(None, "job-1")[world.serial % 2],
        occurred_at=own.occurred_at,
        at=own.at,
    )


@st.composite
def _deduct(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    cost, resource = draw(_cost(world, own.currency))
    return Deduct(
        own.org,
        own.key,
        cost=cost,
        resource=resource,
        member=_member(world),
        project=_project(world),
        occurred_at=own.occurred_at,
        at=own.at,
    )


@st.composite
def _price(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    return PriceUnpriced(
        own.org,
        own.key,
        charge=draw(_known(world.unpriced, own.org, _any_charge)),
        version=draw(_often(st.sampled_from(world.versions), st.just("never"), 12)),
        override=draw(st.booleans()),
        at=own.at,
    )


@st.composite
def _reverse(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    undo = draw(st.integers(0, 2)) == 1
    return Reverse(
        own.org,
        own.key,
        charge=draw(_known(world.made if undo else world.charges, own.org, _any_charge)),
        amount=None if undo else draw(st.none() | _amounts(world, 5, own.currency)),
        undo_usage=undo,
        expires_at=draw(_end(world)),
        reason=(None, "goodwill")[world.serial % 2],
        at=own.at,
    )


@st.composite
def _restore(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    expiry = draw(_known(world.expiries, own.org, _any_charge))
    return UndoExpiry(own.org, expiry, expires_at=draw(_end(world)), at=own.at)


@st.composite
def _close(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    return Close(own.org, remainder=draw(st.sampled_from(["refund", "write_off"])), at=own.at)


@st.composite
def _plan(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    plan = draw(_often(st.sampled_from(world.plans), st.just("never"), 12))
    how = draw(st.integers(0, 9))
    paused = how in (4, 5)
    return SetPlan(own.org, own.key, plan=None if how == 6 else plan, paused=paused, at=own.at)


_WHOSE: list[Mapping[str, str]] = [
    {},
    {},
    {"member": MEMBERS[0]},
    {"member": MEMBERS[1]},
    {"project": PROJECTS[0]},
    {"every": "member"},
    {"every": "project"},
]
_MOST = (0, 5, 10, 20, 40, 80, None)


@st.composite
def _limit(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    whose: Mapping[str, Any] = draw(st.sampled_from(_WHOSE))
    most = draw(st.sampled_from(_MOST))
    return SetLimit(
        own.org,
        own.key,
        amount=None if most is None else Money(most, own.currency),
        per=draw(st.sampled_from(["period", "day"])),
        alerts=((), (50, 100), (120,))[world.serial % 3],
        blocks=draw(st.integers(0, 5)) != 3,
        at=own.at,
        **whose,
    )


@st.composite
def _low_balance(draw: st.DrawFn, world: World) -> Command:
    own = draw(_settings(world))
    amount = draw(st.none() | _amounts(world, 20, own.currency))
    return SetLowBalance(own.org, own.key, amount=amount, at=own.at)


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
    "restore": _restore,
    "close": _close,
    "plan": _plan,
    "limit": _limit,
    "low_balance": _low_balance,
}


def _possible(name: str, world: World) -> str:
    """What needs something on record is mostly preceded by what makes it."""
    if world.serial % 4 == 0:
        return name
    if name in ("extend", "release") and not world.holds.get(ORGS[0]):
        return "hold"
    if name == "reverse" and not world.charges.get(ORGS[0]):
        return "settle"
    if name == "restore" and not world.expiries.get(ORGS[0]):
        return "grant"
    if name == "price" and not world.unpriced.get(ORGS[0]):
        return "settle"
    return name


def commands(world: World) -> SearchStrategy[Command]:
    """Any command that the theme has, as often as it says."""
    operations = world.theme.operations
    names = [name for name, weight in operations.items() for _ in range(weight)]
    return st.sampled_from(names).flatmap(lambda name: _OPERATIONS[_possible(name, world)](world))
