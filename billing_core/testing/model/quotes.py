"""What a use would cost an org, at its own prices: for the reference model."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from attrs import evolve

from billing_core.pricing.price import Price
from billing_core.testing.model.answers import Wrong
from billing_core.testing.model.facts import ChargeFact, Facts, HoldFact
from billing_core.testing.model.limits import Wish, held_of
from billing_core.testing.model.requests import Asked, may_stand, stands
from billing_core.testing.model.tariff import (
    PriceOf,
    counted,
    dearest_parts,
    dearest_start,
    dearest_units,
    month_end,
    month_start,
)
from billing_core.values.times import Window
from billing_core.values.usage import CUSTOMER, Usage

__all__ = ["announced", "could_have", "hold_quote", "named", "prices", "quote", "quoted_anew"]


def prices(org: Facts, usage: Usage, at: int) -> PriceOf:
    """Those in force at a time for a usage that was made then, for the plan that the org had."""
    return _standing(org, usage, at, _in_force(org, usage.resource, at), _measured(org, usage))


def named(org: Facts, version: str, charge: ChargeFact, usage: Usage) -> PriceOf:
    """Those of one version, for what a charge left unpriced."""

    def price(part: str) -> tuple[str, Price] | None:
        found = org.tariff.named(version, org.currency, charge.resource, part)
        return None if found is None else (version, found)

    return _standing(org, usage, charge.occurred, price, _charged(org, charge))


def could_have(org: Facts, version: str, charge: ChargeFact, usage: Usage) -> PriceOf:
    """The same, as far as they could have applied to the org then."""
    resource, at = charge.resource, charge.occurred
    plan = org.subscribed(at)

    def price(part: str) -> tuple[str, Price] | None:
        return org.tariff.could_have(version, org.currency, resource, part, at, org.name, plan)

    return _standing(org, usage, at, price, _charged(org, charge))


def _in_force(org: Facts, resource: str, at: int) -> PriceOf:
    plan = org.subscribed(at)
    return lambda part: org.tariff.price(org.currency, resource, part, at, org.name, plan)


def _standing(
    org: Facts, usage: Usage, at: int, price_of: PriceOf, sizes: Mapping[str, int]
) -> PriceOf:
    def price(part: str) -> tuple[str, Price] | None:
        found = price_of(part)
        asked = Asked(dict(usage.facts), sizes, sizes, at, at)
        return None if found is None else stands(*found, asked)

    return price


def _of_item(org: Facts, usage: Usage) -> dict[str, int]:
    """What was measured of its item, whoever paid."""
    sums: dict[str, int] = {}
    for use in org.uses:
        if usage.item is not None and (use.item, use.resource) == (usage.item, usage.resource):
            name = use.piece.component
            sums[name] = sums.get(name, 0) + use.reported
    return sums


def _measured(org: Facts, usage: Usage) -> dict[str, int]:
    """The size of a request with these parts."""
    sums = _of_item(org, usage)
    for name, quantity, _ in usage.parts:
        sums[name] = sums.get(name, 0) + quantity
    return sums


def _charged(org: Facts, charge: ChargeFact) -> dict[str, int]:
    """The size of a request that is on record."""
    usage = Usage(charge.resource, (), charge.item)
    if charge.item is not None:
        return _of_item(org, usage)
    sums: dict[str, int] = {}
    for use in org.uses:
        if use.seq == charge.seq:
            sums[use.piece.component] = sums.get(use.piece.component, 0) + use.reported
    return sums


Places = dict[str, dict[tuple[int, str | None], tuple[int, int, int, int]]]
"""By component, period and version: the least and the most that a quote may say, what it costs in
parts, and what is billed."""


def _look(
    org: Facts, usage: Usage, turn: Window, life: Window, places: Places, *, strict: bool
) -> None:
    """What a usage may cost at a turn of prices, for each price that may stand.  ``strict``: what
    has none is refused."""
    known = _in_force(org, usage.resource, turn.start)
    least, most = _of_item(org, usage), _measured(org, usage)
    if usage.item is not None:
        for name in {part for hold in org.holds.values() for _, part, _ in hold.announced}:
            starts = {month_start(org.anchor, life.start)}
            end = month_end(org.anchor, life.start)
            while end < life.end:
                starts.add(end)
                end = month_end(org.anchor, end)
            held = max(held_of(org, usage.resource, name, start) for start in starts)
            most[name] = most.get(name, 0) + held
    last = max(turn.start, turn.end - 1)
    asked = Asked(dict(usage.facts), least, most, turn.start, last)
    period = month_start(org.anchor, turn.start)
    for part in usage.parts:
        name, _, payer = part
        found = None if payer == CUSTOMER else known(name)
        standing = None if found is None else may_stand(*found, asked)
        if payer == CUSTOMER or (standing is None and not strict):
            continue
        if standing is None:
            raise Wrong("UnknownPrice")
        alone = evolve(usage, parts=(part,))
        start, _ = counted(org.uses, usage.resource, name, period)
        stop = start + held_of(org, usage.resource, name, period)
        for each in standing:
            own = org.tariff.pieces(org.uses, alone, {name: each}.get)
            low, high = dearest_start(own, start, stop)
            first = org.tariff.begun(org.uses, usage, name)
            if first is not None and own[-1].version == own[0].version != first.version:
                own.append(evolve(first, raw=0, billed=0))  # in other parts it may add something
            if life.end > life.start:
                high = max(high, dearest_units(own, start, stop))
            parts = dearest_parts(own, start, stop)
            bill = sum(piece.billed for piece in own)
            places.setdefault(name, {})[period, own[0].version] = low, high, parts, bill


def _sum(places: Places) -> tuple[int, int, Mapping[str, int]]:
    """The least and the most of all components, and what is billed of each at most."""
    least = most = 0
    billed: dict[str, int] = {}
    for name, found in places.items():
        lows, highs, rates, bills = map(list, zip(*found.values(), strict=True))
        # Each period may carry a fraction of a nano into it.
        carried = len({period for period, _ in found}) - 1
        least += max([*lows, min(sum(lows), max(rates))]) if len(lows) > 1 else lows[0]
        most += max([*highs, min(sum(highs), max(rates) + carried)])
        billed[name] = max(bills)
    return least, most, billed


def quote(org: Facts, usage: Usage, at: int) -> tuple[int, int, Mapping[str, int]]:
    """The least and the most that a quote may say, and what would be billed (rule 5.4)."""
    places: Places = {}
    _look(org, usage, Window(at, at), Window(at, at), places, strict=True)
    return _sum(places)


def hold_quote(
    org: Facts, usage: Usage, at: int, until: int, *, strict: bool = True
) -> tuple[int, int, Mapping[str, int]]:
    """The same of a hold that may be used at any time ``until``: at every price and in every
    period that is known, whole or in parts.  ``strict``: what has no price at first is refused."""
    times = {at} | org.tariff.turns(org.currency, usage.resource, org.name)
    times.update(since for since, _ in org.plans)
    end = month_end(org.anchor, at)
    while end < until:
        times.add(end)
        end = month_end(org.anchor, end)
    places: Places = {}
    turns = sorted(time for time in times if at <= time < until)
    for start, stop in pairwise((*turns, until)):
        _look(
            org, usage, Window(start, stop), Window(at, until), places,
            strict=strict and start == at,
        )  # fmt: skip
    return _sum(places)


def quoted_anew(org: Facts, hold: HoldFact, until: int) -> tuple[int, int, Mapping[str, int]]:
    """The same of what an open hold may yet be used for, beside all others."""
    if hold.usage is None:
        return 0, 0, {}
    left = []
    for component, quantity, payer in hold.usage.parts:
        settled = sum(
            use.piece.raw
            for use in org.uses
            if use.seq in hold.charges
            and (use.resource, use.piece.component) == (hold.resource, component)
            and use.piece.payer == "platform"
        )
        if payer == "platform" and quantity > settled:
            left.append((component, quantity - settled, payer))
    own, hold.announced = hold.announced, []
    rest = evolve(hold.usage, parts=tuple(left))
    found = hold_quote(org, rest, hold.made, until, strict=False)
    hold.announced = own
    return found


def announced(org: Facts, wish: Wish) -> list[tuple[int, str, int]]:
    """What others' quotes and quotas must reckon with, in each period in which it may be used."""
    return [
        (period, name, quantity)
        for period in wish.periods(org.anchor)
        for name, quantity in wish.billed.items()
        if quantity
    ]
