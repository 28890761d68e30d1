"""What a use would cost an org, at its own prices: for the reference model."""

from __future__ import annotations

from collections.abc import Mapping

from billing_core.pricing.price import Price
from billing_core.testing.model.answers import Wrong
from billing_core.testing.model.facts import Facts, HoldFact
from billing_core.testing.model.limits import Wish, held_of
from billing_core.testing.model.tariff import (
    Piece,
    PriceOf,
    counted,
    dearest_parts,
    dearest_start,
    dearest_units,
    month_end,
    month_start,
)
from billing_core.values.times import micros
from billing_core.values.usage import Usage

__all__ = ["announced", "could_have", "hold_quote", "named", "prices", "quote", "quoted_anew"]


def prices(org: Facts, resource: str, at: int) -> PriceOf:
    """Those in force at a time, for the plan that the org had then."""
    plan = org.subscribed(at)
    return lambda part: org.tariff.price(org.currency, resource, part, at, org.name, plan)


def named(org: Facts, version: str, resource: str) -> PriceOf:
    """Those of one version."""

    def price(part: str) -> tuple[str, Price] | None:
        found = org.tariff.named(version, org.currency, resource, part)
        return None if found is None else (version, found)

    return price


def could_have(org: Facts, version: str, resource: str, at: int) -> PriceOf:
    """Those of one version, as far as they could have applied to the org at a time."""
    plan = org.subscribed(at)
    return lambda part: org.tariff.could_have(
        version, org.currency, resource, part, at, org.name, plan
    )


def quote(org: Facts, usage: Usage, at: int) -> tuple[int, int, list[Piece]]:
    """The least and the most that a quote may say, and the pieces quoted (rule 5.4)."""
    pieces = org.tariff.pieces(org.uses, usage, prices(org, usage.resource, at))
    if any(piece.version is None for piece in pieces):
        raise Wrong("UnknownPrice")
    period = month_start(org.anchor, at)
    least = most = 0
    for name in dict.fromkeys(piece.component for piece in pieces if piece.price is not None):
        start, _ = counted(org.uses, usage.resource, name, period)
        ahead = held_of(org, usage.resource, name, period)
        own = [p for p in pieces if p.component == name and p.price is not None]
        low, high = dearest_start(own, start, start + ahead)
        least, most = least + low, most + high
    return least, most, pieces


def hold_quote(
    org: Facts, usage: Usage, at: int, until: int, *, strict: bool = True
) -> tuple[int, int, Mapping[str, int]]:
    """The same of a hold that may be used at any time ``until``, and what would be billed at
    most: at every price and in every period that is known, whole or in parts.  ``strict``: what
    has no price at first is refused."""
    times = {at}
    for book in org.tariff.books:
        times.add(micros("time", book.effective_at))
    times.update(since for since, _ in org.plans)
    end = month_end(org.anchor, at)
    while end < until:
        times.add(end)
        end = month_end(org.anchor, end)
    if strict:
        quote(org, usage, at)
    found: dict[str, dict[tuple[int, str | None], tuple[int, int, int, int]]] = {}
    for time in sorted(time for time in times if at <= time < until):
        pieces = org.tariff.pieces(org.uses, usage, prices(org, usage.resource, time))
        period = month_start(org.anchor, time)
        for name in dict.fromkeys(piece.component for piece in pieces if piece.price is not None):
            start, _ = counted(org.uses, usage.resource, name, period)
            stop = start + held_of(org, usage.resource, name, period)
            own = [p for p in pieces if p.component == name and p.price is not None]
            low, high = dearest_start(own, start, stop)
            bill = sum(piece.billed for piece in own)
            places = found.setdefault(name, {})
            parts = dearest_parts(own, start, stop)
            high = max(high, dearest_units(own, start, stop))
            places[period, own[0].version] = low, high, max(low, parts), bill
    least = most = 0
    billed: dict[str, int] = {}
    for name, places in found.items():
        lows, highs, rates, bills = map(list, zip(*places.values(), strict=True))
        # Each period may carry a fraction of a nano into it.
        carried = len({period for period, _ in places}) - 1
        least += max([*lows, min(sum(lows), max(rates))]) if len(lows) > 1 else lows[0]
        most += max([*highs, min(sum(highs), max(rates) + carried)])
        billed[name] = max(bills)
    return least, most, billed


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
    rest = Usage(hold.usage.resource, tuple(left), hold.usage.item)
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
