"""From a usage to priced lines: splitting, items, counters, quotes.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from billing_core.errors import UnknownPrice
from billing_core.pricing.catalogue import Catalogue, Priced
from billing_core.pricing.conditions import Request
from billing_core.pricing.functions import (
    Flat,
    bound_text,
    charge,
    dearest,
    parted,
    scattered,
    whole,
)
from billing_core.pricing.price import Price
from billing_core.records.usage import NO_COUNT, Count, Counter, Item, Line
from billing_core.values.usage import CUSTOMER, PLATFORM, Payer, Usage

__all__ = [
    "Correction",
    "Metered",
    "Quote",
    "QuoteLine",
    "ResourcePrices",
    "billed",
    "by_period",
    "dearest_of",
    "describe",
    "meter",
    "quantities",
    "quote",
    "take_out",
    "unmeter",
]

PriceOf = Callable[[str], Priced | None]
"""The price for a component; None where there is none."""

_Pieces = tuple[tuple[int, int, Priced], ...]
"""``(raw, billed, price)``"""

_NOWHERE: dict[int, int] = {}


class Metered(NamedTuple):
    """Priced lines, their total, and what becomes of the counter (quantity and carried
    fraction) and of the item, by component.  ``elsewhere``: what a decrease takes out of the
    counters of other billing periods, by their start: components, quantities and prices."""

    lines: tuple[Line, ...]
    amount: int
    counters: dict[str, Count]
    items: dict[str, list[int | str]]
    elsewhere: dict[int, list[tuple[str, int, Priced]]]


class Correction(NamedTuple):
    """What was measured of an item too much: a :class:`Usage` whose quantities are
    negative; or what corrections left of a usage, which may be nothing.  ``least``: what may be
    given back at most, in nanos, as a negative number.  ``facts``: those on record."""

    resource: str
    parts: tuple[tuple[str, int, Payer], ...]
    item: str | None
    least: int
    facts: tuple[tuple[str, str], ...] = ()


def quantities(parts: Iterable[tuple[str, int, Payer]], item: Item | None) -> dict[str, int]:
    """What a request used in all, with these parts: of its item, whoever pays; else of them."""
    found = {} if item is None else item.measured()
    for component, quantity, _ in parts:
        found[component] = found.get(component, 0) + quantity
    return found


def meter(
    usage: Usage | Correction,
    price_of: PriceOf,
    version_of: Callable[[str, str], Priced | None],
    counter: Counter,
    item: Item | None,
    period: int | None,
    request: Callable[[], Request],
    *,
    whole: bool = False,
) -> Metered:
    """Price measured usage.  A component without a price gives an unpriced line.

    ``request``: what a price may depend on (rule 5.9).  ``whole``: the item keeps also what is
    not priced of it, whose size is that of the request.

    ``period``: the start of the billing period, for an item to know where it is billed; None
    where the version before could not read it.

    ``version_of(version, component)`` is the price of the version that was in force
    when an item started: its minimum and increment hold for the item's whole life,
    and what they add is charged at it (rule 5.5).
    """
    lines: list[Line] = []
    total = 0
    least = usage.least if isinstance(usage, Correction) else 0
    counters: dict[str, Count] = {}
    counted = counter.components  # without a call for each component: every charge is metered
    items: dict[str, list[int | str]] = {}
    elsewhere: dict[int, list[tuple[str, int, Priced]]] = {}
    known: Request | None = None
    for component, quantity, payer in usage.parts:
        priced = None if payer == CUSTOMER else price_of(component)
        if priced is not None and priced.price.varies:
            choice = priced.price.choice_by_facts(usage.facts)
            if choice is None:
                known = known or request()
                choice = priced.price.choice(known)
            priced = None if choice is None else priced.chosen(choice)
        if priced is None:
            version = "" if payer == CUSTOMER else None
            lines.append(Line(component, quantity, quantity, payer, 0, version))
            if whole and item is not None:
                items[item.unbilled(component)] = item.more_unbilled(component, quantity)
            continue
        pieces: _Pieces = ((quantity, quantity, priced),)
        if item is not None or priced.price.by_item:
            started = item.components.get(component) if item is not None else None
            pieces, become, others = _by_item(
                quantity, priced, started, component, version_of, period
            )
            if item is not None:
                items[component] = become
                _spread(elsewhere, component, others)
        at, carry, carry_of, held = counted.get(component, NO_COUNT)
        for raw, billed, by in pieces:
            amount, rest = charge(by.price.function, at, billed, (carry, carry_of), least)
            if amount < 0:
                least -= amount
            lines.append(
                Line(component, raw, billed, PLATFORM, amount, by.version, at, carry, carry_of)
            )
            at += billed
            carry, carry_of = rest
            total += amount
        counters[component] = Count(at, carry, carry_of, held)
    return Metered(tuple(lines), total, counters, items, elsewhere)


def unmeter(
    lines: Iterable[Line],
    price_of: Callable[[str, str], Priced],
    counter: Counter,
    item: Item | None,
    least: int,
    period: int | None,
) -> Metered:
    """Take what lines on record say out of their counter and item: lines that are their
    opposites, each at its own version (``price_of(version, component)``) from where the
    counter stands now.

    What is left of an item counts at least as its minimum.  ``least``: what may be given back
    at most, in nanos, as a negative number; what is left stands in the carried fraction.
    """
    found: list[Line] = []
    priced: dict[str, list[Line]] = {}
    items: dict[str, list[int | str]] = {}
    known = {} if item is None else item.components
    for line in lines:
        if line.payer == PLATFORM and line.version:
            priced.setdefault(line.component, []).append(line)
        else:
            found.append(_opposite(line))
            least += line.amount
            if item is not None and line.quantity and item.unbilled(line.component) in known:
                items[item.unbilled(line.component)] = item.more_unbilled(
                    line.component, -line.quantity
                )
    counters: dict[str, Count] = {}
    elsewhere: dict[int, list[tuple[str, int, Priced]]] = {}
    for component, some in priced.items():
        pieces: _Pieces = tuple(
            (-line.quantity, -line.billed, price_of(line.version or "", component))
            for line in reversed(some)
        )
        if item is not None:
            pieces, items[component], others = _by_item(
                -sum(line.quantity for line in some),
                price_of(some[0].version or "", component),
                item.components.get(component),
                component,
                price_of,
                period,
            )
            _spread(elsewhere, component, others)
        at, carry, carry_of, held = counter.of(component)
        for raw, billed, by in pieces:
            amount, rest = charge(by.price.function, at, billed, (carry, carry_of), least)
            least -= min(0, amount)
            found.append(
                Line(component, raw, billed, PLATFORM, amount, by.version, at, carry, carry_of)
            )
            at += billed
            carry, carry_of = rest
        counters[component] = Count(at, carry, carry_of, held)
    amount = sum(line.amount for line in found)
    return Metered(tuple(found), amount, counters, items, elsewhere)


def take_out(parts: Iterable[tuple[str, int, Priced]], counter: Counter, least: int) -> Metered:
    """Take what an item is billed no more out of the counter of another period than the one in
    which it is corrected.  ``least``: as of :func:`unmeter`."""
    lines: list[Line] = []
    counters: dict[str, Count] = {}
    for component, billed, by in parts:
        at, carry, carry_of, held = counters.get(component) or counter.of(component)
        amount, rest = charge(by.price.function, at, billed, (carry, carry_of), least)
        least -= min(0, amount)
        lines.append(Line(component, 0, billed, PLATFORM, amount, by.version, at, carry, carry_of))
        counters[component] = Count(at + billed, *rest, held)
    return Metered(tuple(lines), sum(line.amount for line in lines), counters, {}, {})


def _spread(
    elsewhere: dict[int, list[tuple[str, int, Priced]]],
    component: str,
    others: Iterable[tuple[int, int, Priced]],
) -> None:
    for start, billed, by in others:
        elsewhere.setdefault(start, []).append((component, billed, by))


def _opposite(line: Line) -> Line:
    quantity, billed, amount = -line.quantity, -line.billed, -line.amount
    return line._replace(quantity=quantity, billed=billed, amount=amount)


def _by_item(
    quantity: int,
    priced: Priced,
    started: list[int | str] | None,
    component: str,
    version_of: Callable[[str, str], Priced | None],
    period: int | None = None,
) -> tuple[_Pieces, list[int | str], list[tuple[int, int, Priced]]]:
    """``(raw, billed, price)`` pieces for ``quantity`` more of an item, its new state, and what
    is taken out of other periods: ``(start, billed, price)``, latest first.

    What is billed never falls but by a correction: raw quantity already covered by the
    minimum or the last increment is billed 0, and what they add comes as a piece of its own.
    What falls leaves the period that is corrected as far as it was billed there, and then the
    latest ones in which it was.
    """
    raw, billed, version = started[:3] if started is not None else (0, 0, priced.version)
    raw, billed, version = int(raw), int(billed), str(version)
    first = priced if version == priced.version else version_of(version, component) or priced
    now_billed = first.price.billed(raw + quantity)
    known, places = period is not None and first.price.by_item, _NOWHERE
    if known:
        places = by_period(started)
        known = sum(places.values()) == billed
    others: list[tuple[int, int, Priced]] = []
    if quantity < 0:
        more = min(0, now_billed - billed)
        now_billed = billed + more
        if known and period is not None:
            left, more = more, max(more, -places.get(period, 0))
            left -= more
            for start in sorted(places, reverse=True):
                part = max(left, -places[start]) if start != period else 0
                if part:
                    others.append((start, part, first))
                    places[start] += part
                    left -= part
        measured = max(quantity, more)
    else:
        more = max(0, now_billed - billed)
        now_billed = billed + more
        measured = min(quantity, more)
    pieces = [(quantity, measured, priced)]
    if more != measured:
        pieces.append((0, more - measured, first))
    become: list[int | str] = [raw + quantity, now_billed, version]
    if known and period is not None:
        places[period] = places.get(period, 0) + more
        become += _flat(places)
    return tuple(pieces), become, others


def by_period(state: Sequence[int | str] | None) -> dict[int, int]:
    """How much of an item's component was billed in which billing period, by its start; empty
    where that is not known."""
    told = [int(each) for each in (state or ())[3:]]
    return dict(zip(told[::2], told[1::2], strict=True))


def _flat(places: dict[int, int]) -> list[int]:
    return [each for place in sorted(places.items()) if place[1] for each in place]


class QuoteLine(NamedTuple):
    """The most that one component of a usage can cost.

    Attributes:
        component: The component's name.
        quantity: The quantity that was asked about.
        billed: That quantity, with what a minimum and an increment add (rule 5.5).
        payer: ``platform``, or ``customer``: then nothing is charged (rule 8.5).
        amount: Nanos, rounded up.
        version: The price version; empty: the customer pays, and there is no price.
        parted: For a hold's arithmetic: nanos, the most where only a part of it is used at this
            price.
        fine: For the same: whether a unit may cost a fraction of a nano.
    """

    component: str
    quantity: int
    billed: int
    payer: str
    amount: int
    version: str
    parted: int = 0
    fine: bool = False


class Quote(NamedTuple):
    """The most that a usage can cost at a moment; nothing is reserved (rule 5.4).

    Attributes:
        amount: Nanos, for all components.
        lines: One for each component.
    """

    amount: int
    lines: tuple[QuoteLine, ...]


def quote(
    usage: Usage,
    price_of: PriceOf,
    version_of: Callable[[str, str], Priced | None],
    counter: Counter,
    item: Item | None,
    expected: Callable[[], str],
    request: Callable[[], Request],
    *,
    parts: bool = False,
    several: bool = False,
) -> list[QuoteLine]:
    """The most that each component can cost, rounded up, at the dearest price of the quantity
    starting anywhere from the counter to the counter plus what open holds announced (rule 5.4).
    A component whose price depends on the request has a line for each that may stand (rule 5.9);
    :func:`dearest_of` makes them one.  ``parts``: it may be used in parts, between which others
    are used.  ``several``: this is one of several quotes; say also what it can cost in part.

    Raises UnknownPrice for a component that is not priced; ``expected`` says
    in its message which are.
    """
    lines: list[QuoteLine] = []
    known: Request | None = None
    for component, quantity, payer in usage.parts:
        priced = price_of(component)
        if payer == CUSTOMER:
            version = "" if priced is None else priced.version
            lines.append(QuoteLine(component, quantity, quantity, CUSTOMER, 0, version))
            continue
        if priced is None:
            raise UnknownPrice("usage", f"{component} of {usage.resource}", expected())
        found = [priced]
        price, version = priced.price, priced.version
        if type(price.function) is Flat and not (price.varies or price.by_item or item):
            amount = dearest(price.function, 0, 0, quantity)  # as mostly: wherever it starts
            fine = price.function.nanos % price.function.per != 0
            lines.append(
                QuoteLine(component, quantity, quantity, PLATFORM, amount, version, amount, fine)
            )
            continue
        if priced.price.varies:
            known = known or request()
            found = [priced.chosen(each) for each in priced.price.choices(known)]
            if not found:
                unknown = priced.price.unknown(dict(usage.facts))
                expected_facts = f"a price of {component} of {usage.resource} for {unknown}"
                raise UnknownPrice("facts", dict(usage.facts), expected_facts)
        count, among = counter.of(component), several or len(found) > 1
        lines += [
            _quote_line(
                component, quantity, each, version_of, count, item, parts=parts, several=among
            )
            for each in found
        ]
    return lines


def _quote_line(
    component: str,
    quantity: int,
    priced: Priced,
    version_of: Callable[[str, str], Priced | None],
    count: Count,
    item: Item | None,
    *,
    parts: bool,
    several: bool,
) -> QuoteLine:
    pieces: _Pieces = ((quantity, quantity, priced),)
    at, held = count.quantity, count.held
    if item is not None or priced.price.by_item:
        started = item.components.get(component) if item is not None else None
        pieces = _at_most(quantity, priced, started, component, version_of)
    amount = more = most = 0
    fine = False
    for _, billed, by in pieces:
        function, start = by.price.function, at + more
        more += billed
        if parts and held:
            amount += scattered(function, at, at + more + held, billed)
        else:
            amount += dearest(function, start, start + held, billed)
    if parts and len(pieces) > 1:  # then all of it may be what an increment adds
        amount = max(amount, dearest(pieces[1][2].price.function, at, at + held, more))
    if several:
        most = max(parted(by.price.function, at, at + more + held, more) for _, _, by in pieces)
        fine = not all(whole(by.price.function) for _, _, by in pieces)
    return QuoteLine(component, quantity, more, PLATFORM, amount, priced.version, most, fine)


def _at_most(
    quantity: int,
    priced: Priced,
    started: list[int | str] | None,
    component: str,
    version_of: Callable[[str, str], Priced | None],
) -> _Pieces:
    """``(raw, billed, price)`` pieces for what is billed of ``quantity`` more of an item at most,
    in whatever parts it is used."""
    raw, billed, version = started[:3] if started is not None else (0, 0, priced.version)
    first = priced if version == priced.version else version_of(str(version), component) or priced
    more = max(0, first.price.billed(int(raw) + quantity) - int(billed))
    if first.version == priced.version or not first.price.by_item:
        return ((quantity, more, priced),)
    measured = min(quantity, more)
    return ((quantity, measured, priced), (0, more - measured, first))


def dearest_of(quotes: Iterable[tuple[int, Iterable[QuoteLine]]]) -> Quote:
    """The most that a usage can cost that may be made under any of these quotes, or in part
    under each: no more than all of it under each of them, nor than all of
    it at the dearest rate that any of them reaches, and a fraction of a nano that each further
    period may carry.  Each comes with its period's start."""
    found: dict[tuple[str, str], dict[tuple[int, str], QuoteLine]] = {}
    for period, lines in quotes:
        for line in lines:
            found.setdefault((line.component, line.payer), {})[period, line.version] = line
    merged: list[QuoteLine] = []
    for places in found.values():
        under = list(places.values())
        top = under[0]
        if len(under) > 1:
            top = max(under, key=lambda line: line.amount)
            most = max(line.parted for line in under)
            if any(line.fine for line in under):
                most += len({period for period, _ in places}) - 1
            most = min(sum(line.amount for line in under), most)
            billed = max(line.billed for line in under)
            top = top._replace(amount=max(top.amount, most), billed=billed)
        merged.append(top)
    return Quote(sum(line.amount for line in merged), tuple(merged))


class ResourcePrices(dict[str, "Priced | None"]):
    """The prices of a resource in force at a time, by component, for those who may have their
    own: each is looked up in the catalogue once."""

    __slots__ = ("_catalogue", "_of")

    def __init__(
        self,
        catalogue: Catalogue,
        currency: str,
        resource: str,
        at: int,
        audiences: tuple[str, ...],
    ) -> None:
        self._catalogue = catalogue
        self._of = currency, resource, at, audiences

    def __missing__(self, component: str) -> Priced | None:
        currency, resource, at, audiences = self._of
        found = self._catalogue.price(currency, resource, component, at, audiences)
        self[component] = found
        return found

    def expected(self) -> str:
        """What UnknownPrice expects of the resource then."""
        return self._catalogue.expected(*self._of)


def billed(lines: Iterable[Line | QuoteLine]) -> dict[str, int]:
    """The quantities that the platform's price counts, by component."""
    found: dict[str, int] = {}
    for line in lines:
        if line.payer == PLATFORM:
            found[line.component] = found.get(line.component, 0) + line.billed
    return found


def describe(price: Price, currency: str) -> str:
    """A price in words, for explanations."""
    text = price.function.describe(currency, price.unit)
    if price.minimum:
        text += f", at least {bound_text(price.minimum, price.unit)} per item"
    if price.increment > 1:
        text += f", in steps of {bound_text(price.increment, price.unit)}"
    return text + price.describe_variants(currency)
