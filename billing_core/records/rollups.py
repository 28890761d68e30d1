"""Sums over usage records, by hour, day and billing period, and how a window is
covered by them: whole days, the hours beside them, raw records at the two edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from attrs import define, field

from billing_core.records.usage import Cell, CellKey, UsageRecord
from billing_core.values.times import DAY, HOUR, Window, billing_period
from billing_core.values.usage import PLATFORM

__all__ = ["Rollup", "Span", "Sums", "begun", "cover", "payers", "tail_cells"]


def payers(usage: UsageRecord) -> set[str]:
    """Whose cells a record is added to: nothing used is the platform's."""
    return {line.payer for line in usage.lines} or {PLATFORM}


class Rollup:
    """Adds records up, once per batch: by hour first, the wider grains from these."""

    def __init__(self) -> None:
        self._hours: dict[tuple[int, int, int, str, str], Cell] = {}

    def add(self, usage: UsageRecord, period: int) -> None:
        """Add a record of the billing period that starts at ``period``."""
        hour = usage.occurred_at - usage.occurred_at % HOUR
        for payer in payers(usage):
            key = (hour, period, usage.member, usage.resource, payer)
            sums = self._hours.get(key)
            if sums is None:
                sums = self._hours[key] = Cell()
            sums.add_record(usage, payer)

    def amount(self, member: int | None, grain: str, start: int) -> int:
        """Nanos added so far for a member, or all, in the ``day`` or ``period`` of a start."""
        return sum(
            sums.amount
            for (hour, period, who, _, _), sums in self._hours.items()
            if member in (None, who)
            and (period if grain == "period" else hour - hour % DAY) == start
        )

    def cells(self) -> dict[CellKey, Cell]:
        """What has been added, in every grain; read them only."""
        cells: dict[CellKey, Cell] = {}
        for (hour, period, member, resource, payer), sums in self._hours.items():
            for grain, start in (("hour", hour), ("day", hour - hour % DAY), ("period", period)):
                key = CellKey(grain, member, start, resource, payer)
                known = cells.get(key)
                if known is None:
                    cells[key] = sums  # the same cell in every grain, until another hour joins
                else:
                    cells[key] = both = Cell()
                    both.add(known)
                    both.add(sums)
        return cells


@define
class Sums:
    """Usage added up by member's surrogate id, resource and payer."""

    cells: dict[tuple[int, str, str], Cell] = field(factory=dict)

    def of(self, member: int, resource: str, payer: str) -> Cell:
        """What there is so far."""
        key = (member, resource, payer)
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell()
        return cell

    def add(self, member: int, resource: str, payer: str, cell: Cell) -> None:
        """Add what a cell has; it is not changed."""
        self.of(member, resource, payer).add(cell)

    def add_record(self, record: Sequence[Any]) -> None:
        """Add a usage record; also one whose lines, or itself, are still lists, as JSON has
        them: a window's edges have many."""
        _, member, resource, _, requests, lines, _ = record
        if not lines:
            self.of(member, resource, PLATFORM).requests += requests
        counted: set[str] = set()
        for component, quantity, _, payer, amount, *_ in lines:
            cell = self.of(member, resource, payer)
            if payer not in counted:
                counted.add(payer)
                cell.requests += requests
            cell.amount += amount
            cell.add_part(component, quantity, amount)


def tail_cells(tail: Iterable[UsageRecord], anchor: int) -> dict[CellKey, Cell]:
    """The cells, in every grain, of usage that the kept ones lack; read them only.
    ``anchor`` is the account's."""
    rollup = Rollup()
    for usage in tail:
        rollup.add(usage, billing_period(anchor, usage.occurred_at).start)
    return rollup.cells()


def begun(
    cells: Mapping[CellKey, Cell], grain: str | None, start: int, end: int, member: int | None
) -> Iterator[tuple[CellKey, Cell]]:
    """Those cells of a grain that begin in [start, end), of one member or all."""
    for key, cell in cells.items():
        if key.grain == grain and start <= key.start < end and member in (None, key.member):
            yield key, cell


class Span(NamedTuple):
    """Part of a window, and the grain that answers it (None: raw records)."""

    grain: str | None
    start: int
    end: int


def cover(window: Window, period: Callable[[int], Window] | None = None) -> list[Span]:
    """Spans, disjoint and in order, that make up the window exactly.

    ``period`` gives the billing period of a time: then whole ones are answered as such.
    """
    if period is not None:
        first = period(window.start)
        start = first.start if first.start == window.start else first.end
        end = period(window.end).start
        if start < end:
            before, after = Window(window.start, start), Window(end, window.end)
            return [*cover(before), Span("period", start, end), *cover(after)]
    spans = _cover(window.start, window.end, None, HOUR)
    return [span for span in spans if span.start < span.end]


def _cover(start: int, end: int, edge: str | None, width: int) -> list[Span]:
    first = -(-start // width) * width
    last = end // width * width
    if first >= last:
        return [Span(edge, start, end)]
    inner = _cover(first, last, "hour", DAY) if width == HOUR else [Span("day", first, last)]
    return [Span(edge, start, first), *inner, Span(edge, last, end)]
