"""What a use would cost an org, at its own prices: for the reference model."""

from __future__ import annotations

from billing_core.pricing import Price
from billing_core.quantities import Usage
from billing_core.testing.answers import Wrong
from billing_core.testing.facts import Facts
from billing_core.testing.spending import Wish, held_of
from billing_core.testing.tariff import Piece, PriceOf, counted, dearest_start, month_start

__all__ = ["announced", "named", "prices", "quote"]


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


def announced(org: Facts, wish: Wish) -> list[tuple[int, str, int]]:
    """What others' quotes and quotas must reckon with: where it can matter by now."""
    plan, resource = org.plan(wish.time), wish.resource or ""
    quotas = () if plan is None else plan.quotas
    bounded = {each.component for each in quotas if each.resource == resource}
    period = month_start(org.anchor, wish.at)
    return [
        (period, name, quantity)
        for name, quantity in wish.billed.items()
        if name in bounded or org.tariff.tiered(org.currency, resource, name)
    ]
