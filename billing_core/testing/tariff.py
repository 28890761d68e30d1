"""What things cost, the slow way: for the reference model.

Prices are added up unit by unit, or by the definition with exact fractions where there
are many units; nothing here calls the library's own arithmetic.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Sequence
from datetime import datetime
from fractions import Fraction
from math import ceil, floor

from attrs import define, field, frozen

from billing_core.books import PriceBook
from billing_core.pricing import Discounted, Flat, Graduated, Package, Price, PriceFunction
from billing_core.quantities import CUSTOMER, Usage
from billing_core.times import micros, moment

__all__ = ["Bill", "Piece", "Tariff", "Used", "dearest_start", "f", "month_start"]

_FEW = 40  # units: up to here they are added up one by one


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
        case Discounted():
            return f(function.function, quantity) * Fraction(*function.keep)


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
        case Discounted():
            return _unit(function.function, number) * Fraction(*function.keep)


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


@define
class Tariff:
    """All price books, in the order of publication."""

    books: list[PriceBook] = field(factory=list)

    def price(
        self, currency: str, resource: str, component: str, at: int
    ) -> tuple[str, Price] | None:
        """The version in force at a time: the latest that took effect by then."""
        best: tuple[int, str, Price] | None = None
        for book in self.books:
            price = book.prices.get(resource, {}).get(component)
            effective = micros("time", book.effective_at)
            if price is None or book.currency != currency or effective > at:
                continue
            if best is None or effective >= best[0]:
                best = (effective, book.version, price)
        return None if best is None else best[1:]

    def named(self, version: str, currency: str, resource: str, component: str) -> Price | None:
        """The price that one version has."""
        for book in self.books:
            if book.version == version and book.currency == currency:
                return book.prices.get(resource, {}).get(component)
        return None

    def pieces(
        self,
        uses: Sequence[Used],
        usage: Usage,
        currency: str,
        at: int,
        version: str | None = None,
    ) -> list[Piece]:
        """How a usage is billed, after the uses on record (rule 5.5); by the version in
        force at a time, or by the one named."""
        made: list[Piece] = []
        for component, quantity, payer in usage.parts:
            if payer == CUSTOMER:
                made.append(Piece(component, payer, quantity, quantity, ""))
                continue
            if version is None:
                known = self.price(currency, usage.resource, component, at)
            else:
                price = self.named(version, currency, usage.resource, component)
                known = None if price is None else (version, price)
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
            made += self._item_pieces(before, component, quantity, known, currency, usage.resource)
        return made

    def _item_pieces(
        self,
        before: Sequence[Piece],
        component: str,
        quantity: int,
        known: tuple[str, Price],
        currency: str,
        resource: str,
    ) -> Iterable[Piece]:
        version, price = known
        first_version, first = version, price
        if before:
            first_version = before[0].version or ""
            first = self.named(first_version, currency, resource, component) or price
        raw_before = sum(piece.raw for piece in before)
        billed_before = sum(piece.billed for piece in before)
        more = max(0, billed(first, raw_before + quantity) - billed_before)
        measured = min(quantity, more)
        yield Piece(component, "platform", quantity, measured, version, price)
        if more > measured:
            yield Piece(component, "platform", 0, more - measured, first_version, first)

    def bill(
        self, uses: Sequence[Used], pieces: Iterable[Piece], resource: str, period: int
    ) -> Bill:
        """Each piece's cost: the total of the exact costs so far is rounded down, so that
        what one charge leaves of a nano the next one gets (rule 5.4)."""
        totals: dict[str, Fraction] = {}
        counters: dict[str, int] = {}
        out: list[tuple[Piece, Fraction, int]] = []
        for piece in pieces:
            name = piece.component
            if piece.price is None:
                out.append((piece, Fraction(0), 0))
                continue
            if name not in totals:
                counters[name], totals[name] = counted(uses, resource, name, period)
            exact = cost(piece.price.function, counters[name], piece.billed)
            out.append((piece, exact, floor(totals[name] + exact) - floor(totals[name])))
            totals[name] += exact
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


def _starts(pieces: Sequence[Piece], start: int, stop: int) -> Iterable[int]:
    """All starts, or, of very many, those around which any of the costs can bend."""
    if stop - start <= 200:
        return range(start, stop + 1)
    bends: set[int] = {start, stop}
    ahead = 0
    for piece in pieces:
        assert piece.price is not None
        function = piece.price.function
        if isinstance(function, Discounted):
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
                case Flat():
                    pass
        ahead += piece.billed
    near = {bend + step for bend in bends for step in (-1, 0, 1)}
    return [at for at in near if start <= at <= stop]


def month_start(anchor: int, time: int) -> int:
    """The beginning of the month, counted from the anchor, that a time lies in."""
    first, at = moment(anchor), moment(time)
    months = (at.year - first.year) * 12 + at.month - first.month
    starts = [_month(first, months + step) for step in (-1, 0, 1)]
    return micros("time", max(start for start in starts if start <= at))


def _month(first: datetime, months: int) -> datetime:
    year, month = first.year, first.month + months
    while month > 12:
        year, month = year + 1, month - 12
    while month < 1:
        year, month = year - 1, month + 12
    return first.replace(year=year, month=month, day=min(first.day, monthrange(year, month)[1]))
