"""What things cost, the slow way: for the reference model.

Prices are added up unit by unit, or by the definition with exact fractions where there
are many units; nothing here calls the library's own arithmetic.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from fractions import Fraction
from functools import cache
from math import ceil, floor

from attrs import define, evolve, field, frozen

from billing_core.pricing.functions import (
    Discounted,
    Flat,
    Graduated,
    Package,
    PriceFunction,
    Scaled,
)
from billing_core.pricing.plan import Plan
from billing_core.pricing.price import Price
from billing_core.pricing.price_book import PriceBook
from billing_core.values.times import micros, moment
from billing_core.values.usage import CUSTOMER, Usage

__all__ = [
    "Bill",
    "Piece",
    "PriceOf",
    "Tariff",
    "Used",
    "charged",
    "dearest_parts",
    "dearest_start",
    "dearest_units",
    "f",
    "month_end",
    "month_start",
    "undone",
]

_DAY = 24 * 3_600_000_000
_FEW = 40  # units: up to here they are added up one by one
_MANY = 400  # units: beyond, the dearest are not looked for one by one


def f(function: PriceFunction, quantity: int) -> Fraction:
    """What the first ``quantity`` units of a period cost."""
    match function:
        case Flat():
            return Fraction(quantity * function.nanos, function.per)
        case Package():
            return Fraction(ceil(Fraction(quantity, function.size)) * function.nanos)
        case Graduated():
            cost, below = Fraction(0), 0
            for tier in function.tiers:
                top = quantity if tier.up_to is None else min(quantity, tier.up_to)
                cost += max(0, top - below) * Fraction(tier.nanos, tier.per)
                below = max(below, top)
            return cost
        case Scaled():
            return f(function.function, quantity) * Fraction(*function.ratio)


def _unit(function: PriceFunction, number: int) -> Fraction:
    """What the unit of this number, from 1, adds."""
    match function:
        case Flat():
            return Fraction(function.nanos, function.per)
        case Package():
            return Fraction(function.nanos if (number - 1) % function.size == 0 else 0)
        case Graduated():
            for tier in function.tiers:
                if tier.up_to is None or number <= tier.up_to:
                    return Fraction(tier.nanos, tier.per)
            raise AssertionError("the last tier has no end")
        case Scaled():
            return _unit(function.function, number) * Fraction(*function.ratio)


def cost(function: PriceFunction, start: int, quantity: int) -> Fraction:
    """What ``quantity`` units cost after ``start`` others."""
    if quantity <= _FEW:
        return sum((_unit(function, start + n) for n in range(1, quantity + 1)), Fraction(0))
    return f(function, start + quantity) - f(function, start)


def billed(price: Price, raw: int) -> int:
    """What an item's raw quantity counts as."""
    if raw == 0:
        return 0
    steps = ceil(Fraction(max(raw, price.minimum), price.increment))
    return steps * price.increment


@frozen
class Piece:
    """``billed`` units of a component at one version's price, of which ``raw`` were measured.

    ``version``: None where there is no price, empty where none applies."""

    component: str
    payer: str
    raw: int
    billed: int
    version: str | None
    price: Price | None = None


@frozen
class Used:
    """One piece on record.  ``reported``: what of ``raw`` is new to the customer."""

    seq: int
    occurred: int
    member: int
    resource: str
    item: str | None
    period: int
    piece: Piece
    cost: Fraction
    amount: int
    reported: int


@frozen
class Bill:
    """Pieces with their exact costs and amounts, before they are on record."""

    pieces: tuple[tuple[Piece, Fraction, int], ...]

    @property
    def amount(self) -> int:
        return sum(amount for _, _, amount in self.pieces)

    @property
    def unpriced(self) -> list[str]:
        return [piece.component for piece, _, _ in self.pieces if piece.version is None]


PriceOf = Callable[[str], tuple[str, Price] | None]
"""The version and price of a component; None where it has none."""


def by_book(book: PriceBook, price: Price, resource: str) -> Price:
    """A price, with the multipliers that its book has for a resource behind its own."""
    more = [
        each
        for name, some in sorted(book.multipliers.items())
        if name == resource or (name[-1] == "*" and resource.startswith(name[:-1]))
        for each in some
    ]
    if not more:
        return price
    known = {fact.name for fact in price.facts}
    facts = [*price.facts, *(fact for fact in book.facts if fact.name not in known)]
    return evolve(price, multipliers=(*price.multipliers, *more), facts=facts)


@define
class Tariff:
    """All price books and plans, in the order of publication."""

    books: list[PriceBook] = field(factory=list)
    plans: list[Plan] = field(factory=list)

    def price(
        self, currency: str, resource: str, component: str, at: int, org: str, plan: str | None
    ) -> tuple[str, Price] | None:
        """The price in force at a time for an org with a plan: its own, else its plan's,
        else everyone's, less the discount of the nearest who has one and no price."""
        off: tuple[str, str] | None = None
        for audience in (f"org:{org}", f"plan:{plan}", ""):
            books = self._in_force(audience, currency, at)
            naming = [book for book in books if component in book.prices.get(resource, {})]
            price = naming[-1].prices[resource][component] if naming else None
            if price is not None:
                return self._less(naming[-1].version, by_book(naming[-1], price, resource), off)
            off = off or self._off(books, resource)
        return None

    def could_have(
        self,
        version: str,
        currency: str,
        resource: str,
        component: str,
        at: int,
        org: str,
        plan: str | None,
    ) -> tuple[str, Price] | None:
        """What a version would have asked of an org with a plan at a time, were there none
        nearer."""
        off: tuple[str, str] | None = None
        for audience in (f"org:{org}", f"plan:{plan}", ""):
            books = self._in_force(audience, currency, at)
            naming = [book for book in books if component in book.prices.get(resource, {})]
            price = naming[-1].prices[resource][component] if naming else None
            if price is not None and naming[-1].version == version:
                return self._less(version, by_book(naming[-1], price, resource), off)
            off = off or self._off(books, resource)
        return None

    def _in_force(self, audience: str, currency: str, at: int) -> list[PriceBook]:
        """The latest to take effect comes last."""
        found = [
            book
            for book in self.books
            if (book.audience, book.currency) == (audience, currency)
            and micros("time", book.effective_at) <= at
        ]
        return sorted(found, key=lambda book: book.effective_at)

    @staticmethod
    def _off(books: Sequence[PriceBook], resource: str) -> tuple[str, str] | None:
        """The percentage that names a resource most closely, and its version."""
        prefixes = [resource[:length] + "*" for length in range(len(resource), -1, -1)]
        for name in (resource, *prefixes):
            for book in reversed(books):
                if name in book.percent_off:
                    return book.percent_off[name], book.version
        return None

    @staticmethod
    def _less(version: str, price: Price, off: tuple[str, str] | None) -> tuple[str, Price]:
        if off is None or Fraction(off[0]) == 0:
            return version, price
        keep = (1 - Fraction(off[0]) / 100).as_integer_ratio()
        variants = [
            evolve(each, function=Discounted(each.function, keep)) for each in price.variants
        ]
        less = evolve(price, function=Discounted(price.function, keep), variants=variants)
        return f"{version}*{off[1]}", less

    def named(self, version: str, currency: str, resource: str, component: str) -> Price | None:
        """The price that one version has."""
        for book in self.books:
            if book.version == version and book.currency == currency:
                price = book.prices.get(resource, {}).get(component)
                return None if price is None else by_book(book, price, resource)
        return None

    def turns(self, currency: str, resource: str, org: str) -> set[int]:
        """When a price of a resource, or what is off it, may change for an org."""
        return {
            micros("time", book.effective_at)
            for book in self.books
            if book.currency == currency
            and (book.org is None or book.org == org)
            and (resource in book.prices or self._off([book], resource) is not None)
        }

    def plan(self, name: str | None, at: int) -> Plan | None:
        """The version of a plan in force at a time; the first one also holds before."""
        versions = [plan for plan in self.plans if plan.plan == name]
        versions.sort(key=lambda plan: plan.effective_at)
        begun = [plan for plan in versions if micros("time", plan.effective_at) <= at]
        if not versions:
            return None
        return begun[-1] if begun else versions[0]

    def pieces(self, uses: Sequence[Used], usage: Usage, price_of: PriceOf) -> list[Piece]:
        """How a usage is billed at these prices, after the uses on record (rule 5.5)."""
        made: list[Piece] = []
        for component, quantity, payer in usage.parts:
            if payer == CUSTOMER:
                made.append(Piece(component, payer, quantity, quantity, ""))
                continue
            known = price_of(component)
            if known is None:
                made.append(Piece(component, payer, quantity, quantity, None))
                continue
            before = [
                use.piece
                for use in uses
                if usage.item is not None
                and use.piece.price is not None
                and (use.item, use.resource, use.piece.component)
                == (usage.item, usage.resource, component)
            ]
            made += self._item_pieces(before, component, quantity, *known)
        return made

    @staticmethod
    def begun(uses: Sequence[Used], usage: Usage, component: str) -> Piece | None:
        """The first that was charged of a usage's item, if that has a minimum or an increment."""
        for use in uses:
            price = use.piece.price
            if (
                usage.item is not None
                and price is not None
                and (use.item, use.resource, use.piece.component)
                == (usage.item, usage.resource, component)
            ):
                return use.piece if price.minimum or price.increment > 1 else None
        return None

    @staticmethod
    def _item_pieces(
        before: Sequence[Piece], component: str, quantity: int, version: str, price: Price
    ) -> Iterable[Piece]:
        first_version, first = version, price
        if before and before[0].price is not None:
            first_version, first = before[0].version or "", before[0].price
        raw_before = sum(piece.raw for piece in before)
        billed_before = sum(piece.billed for piece in before)
        more = max(0, billed(first, raw_before + quantity) - billed_before)
        measured = min(quantity, more)
        yield Piece(component, "platform", quantity, measured, version, price)
        if more > measured:
            yield Piece(component, "platform", 0, more - measured, first_version, first)

    def bill(
        self,
        uses: Sequence[Used],
        pieces: Iterable[Piece],
        resource: str,
        period: int,
        least: int = 0,
    ) -> Bill:
        """Each piece's cost: the total of the exact costs so far is rounded down, so that
        what one charge leaves of a nano the next one gets (rule 5.4).  ``least``: below nothing
        where pieces are undone; what may not be given back makes the next ones cheaper."""
        open_: dict[str, Fraction] = {}  # of the exact costs, what is not charged
        counters: dict[str, int] = {}
        out: list[tuple[Piece, Fraction, int]] = []
        for piece in pieces:
            name = piece.component
            if piece.price is None:
                out.append((piece, Fraction(0), 0))
                continue
            if name not in open_:
                counters[name], total = counted(uses, resource, name, period)
                open_[name] = total - charged(uses, resource, name, period)
            at = counters[name]
            if piece.billed < 0:
                exact = -cost(piece.price.function, at + piece.billed, -piece.billed)
            else:
                exact = cost(piece.price.function, at, piece.billed)
            amount = max(least, floor(open_[name] + exact))
            least -= min(0, amount)
            out.append((piece, exact, amount))
            open_[name] += exact - amount
            counters[name] += piece.billed
        return Bill(tuple(out))


def counted(
    uses: Sequence[Used], resource: str, component: str, period: int
) -> tuple[int, Fraction]:
    """A component's counter in a period, and the exact cost of all that it counts."""
    same = [
        use
        for use in uses
        if use.piece.price is not None
        and (use.resource, use.piece.component, use.period) == (resource, component, period)
    ]
    return sum(use.piece.billed for use in same), sum((use.cost for use in same), Fraction(0))


def charged(uses: Sequence[Used], resource: str, component: str, period: int) -> int:
    """What was charged of a component's counter in a period."""
    return sum(
        use.amount
        for use in uses
        if use.piece.price is not None
        and (use.resource, use.piece.component, use.period) == (resource, component, period)
    )


def undone(
    uses: Sequence[Used], gone: Sequence[Used]
) -> tuple[list[Piece], dict[int, list[Piece]]]:
    """Pieces that take uses on record back: an item's as if they had never been; and those of
    other periods, latest first, in which it was billed what their own was not."""
    made: list[Piece] = []
    elsewhere: dict[int, list[Piece]] = {}
    seen: set[str] = set()
    for use in gone:
        piece = use.piece
        if piece.price is None:
            made.append(evolve(piece, raw=-piece.raw, billed=-piece.billed))
        elif piece.component not in seen:
            seen.add(piece.component)
            same = [
                each.piece
                for each in gone
                if each.piece.component == piece.component and each.piece.price is not None
            ]
            if use.item is None:
                made += [evolve(p, raw=-p.raw, billed=-p.billed) for p in reversed(same)]
                continue
            every = [
                each
                for each in uses
                if (each.item, each.resource, each.piece.component)
                == (use.item, use.resource, piece.component)
                and each.piece.price is not None
            ]
            whole = [each.piece for each in every]
            first, raw = whole[0], sum(p.raw for p in same)
            assert first.price is not None
            left = billed(first.price, sum(p.raw for p in whole) - raw)
            more = min(0, left - sum(p.billed for p in whole))
            periods = sorted({each.period for each in every} - {use.period}, reverse=True)
            had = {
                period: sum(each.piece.billed for each in every if each.period == period)
                for period in (use.period, *periods)
            }
            beyond = max(0, -more - had[use.period])
            more += beyond
            for period in periods:
                part = min(beyond, had[period])
                if part:
                    piece_there = evolve(first, raw=0, billed=-part)
                    elsewhere.setdefault(period, []).append(piece_there)
                    beyond -= part
            made.append(evolve(same[0], raw=-raw, billed=max(-raw, more)))
            if more < -raw:
                made.append(evolve(first, raw=0, billed=more + raw))
    return made, elsewhere


def dearest_start(pieces: Sequence[Piece], start: int, stop: int) -> tuple[int, int]:
    """The most that one component's pieces, in a row, cost from anywhere in [start, stop],
    rounded up; and the sum of what each costs at its own dearest, rounded up."""

    def whole(at: int) -> Fraction:
        total = Fraction(0)
        for piece in pieces:
            assert piece.price is not None
            total += cost(piece.price.function, at, piece.billed)
            at += piece.billed
        return total

    most = max(whole(at) for at in _starts(pieces, start, stop))
    loose, ahead = 0, 0
    for piece in pieces:
        assert piece.price is not None
        function, quantity = piece.price.function, piece.billed
        starts = _starts([piece], start + ahead, stop + ahead)
        loose += ceil(max(cost(function, at, quantity) for at in starts))
        ahead += quantity
    return ceil(most), loose


def dearest_parts(pieces: Sequence[Piece], start: int, stop: int) -> int:
    """The most that they cost if each unit is used by itself, anywhere it can come to stand, at
    whichever of their prices."""
    total = sum(piece.billed for piece in pieces)
    units = [
        _dearest_unit(piece.price.function, start, stop + total)
        for piece in pieces
        if piece.price is not None
    ]
    return ceil(max(units) * total)


def dearest_units(pieces: Sequence[Piece], start: int, stop: int) -> int:
    """The most that they cost if others use what else there is up to where they can come to
    stand, so that each unit may be one of the dearest; and if all are at the last one's price."""
    end = stop + sum(piece.billed for piece in pieces)
    if end - start > _MANY:
        return dearest_parts(pieces, start, stop)
    total = 0
    for piece in pieces:
        assert piece.price is not None
        function = piece.price.function
        units = sorted(_unit(function, number) for number in range(start + 1, end + 1))
        total += ceil(sum(units[len(units) - piece.billed :], Fraction(0)))
    last = [evolve(pieces[-1], billed=end - stop)]
    return total if len(pieces) == 1 else max(total, dearest_start(last, start, stop)[1])


def _dearest_unit(function: PriceFunction, start: int, stop: int) -> Fraction:
    match function:
        case Package():
            return Fraction(function.nanos)
        case Scaled():
            return _dearest_unit(function.function, start, stop) * Fraction(*function.ratio)
        case Graduated():
            firsts = [t.up_to + 1 for t in function.tiers if t.up_to is not None]
            numbers = [start + 1, *(n for n in firsts if start < n <= stop)]
            return max(_unit(function, number) for number in numbers)
        case Flat():
            return _unit(function, start + 1)


def _starts(pieces: Sequence[Piece], start: int, stop: int) -> Iterable[int]:
    """All starts, or, of very many, those around which any of the costs can bend."""
    if stop - start <= 200:
        return range(start, stop + 1)
    bends: set[int] = {start, stop}
    ahead = 0
    for piece in pieces:
        assert piece.price is not None
        function = piece.price.function
        while isinstance(function, Scaled):
            function = function.function
        for edge in (ahead, ahead + piece.billed):
            match function:
                case Graduated():
                    bends |= {t.up_to - edge for t in function.tiers if t.up_to is not None}
                case Package():
                    first = (start + edge) // function.size
                    bends |= {n * function.size - edge for n in range(first, first + 4)}
                    last = (stop + edge) // function.size
                    bends |= {n * function.size - edge for n in range(last - 2, last + 2)}
                case _:
                    pass
        ahead += piece.billed
    near = {bend + step for bend in bends for step in (-1, 0, 1)}
    return [at for at in near if start <= at <= stop]


@cache
def month_start(anchor: int, time: int) -> int:
    """The beginning of the month, counted from the anchor, that a time lies in."""
    first, at = moment(anchor), moment(time)
    months = (at.year - first.year) * 12 + at.month - first.month
    starts = [_month(first, months + step) for step in (-1, 0, 1)]
    return micros("time", max(start for start in starts if start <= at))


def month_end(anchor: int, time: int) -> int:
    """When the month that a time lies in is over: months have 28 to 31 days."""
    return month_start(anchor, month_start(anchor, time) + 32 * _DAY)


def _month(first: datetime, months: int) -> datetime:
    year, month = first.year, first.month + months
    while month > 12:
        year, month = year + 1, month - 12
    while month < 1:
        year, month = year - 1, month + 12
    return first.replace(year=year, month=month, day=min(first.day, monthrange(year, month)[1]))
