"""A deliberately naive model of sandbox runs and storage.

It keeps what was told (spans, sizes) and adds it all up anew, in fractions, whenever a sum
is asked for.  It shares no rule with the library.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from math import ceil

from attrs import define, field

__all__ = ["EARLY", "FOREVER", "RunFact", "ShelfFact", "TimeModel"]

Rates = tuple[Fraction, Fraction]
"""At any time, and in the first minutes of a day."""

FOREVER = 2**62
_DAY = 24 * 3_600_000_000
EARLY = 3 * 60_000_000
"""So much of a day, in microseconds, is early."""

_OPEN = ("active", "suspended")


@define
class RunFact:
    """``off``: when it was suspended; ``posted``: its time is posted up to there; ``told``:
    how often it was told of since its deadline ``until`` was given; ``short``: credit did not
    reach to hold all of it; ``far``: it runs where it costs twice as much."""

    begin: int
    state: str = "active"
    seen: int = 0
    posted: int = 0
    end: int | None = None
    swept: bool = False
    forgiven: bool = False
    off: list[tuple[int, int]] = field(factory=list)
    until: int = 0
    told: int = 0
    short: bool = False
    far: bool = False

    @property
    def open(self) -> bool:
        return self.state in _OPEN

    def ran(self, to: int) -> list[tuple[int, int]]:
        """The spans in which it ran, up to a time."""
        edges = {self.begin, to, *(edge for span in self.off for edge in span)}
        marks = sorted(edge for edge in edges if self.begin <= edge <= to)
        return [
            (first, last)
            for first, last in pairwise(marks)
            if not any(begin <= first < end for begin, end in self.off)
        ]

    def ran_us(self, to: int) -> int:
        return sum(last - first for first, last in self.ran(to))

    # -- what is told of it; each answers whether it is possible -----------------------

    def beat(self, at: int) -> bool:
        if self.open:
            self.seen, self.posted = max(self.seen, at), max(self.posted, at)
        elif self.swept and at > (self.end or 0):
            self.seen = self.posted = self.end = at
        return True

    def suspend(self, at: int, until: int | None) -> bool:
        begin = max(at, self.begin)
        if self.end is not None:
            until = self.end if until is None else min(until, self.end)
        else:
            self.posted = max(self.posted, begin)
            self.seen = max(self.seen, begin, until or 0)
            if until is None:
                self.state = "suspended"
        self.off.append((begin, FOREVER if until is None else max(begin, until)))
        return True

    def resume(self, at: int) -> bool:
        if self.state != "suspended":
            return False
        begin = min(first for first, last in self.off if last == FOREVER)
        # Spans that touch are one, and what is resumed is its end.
        for first, last in sorted(self.off, reverse=True):
            if first < begin <= last:
                begin = first
        at = max(at, begin)
        self.off = [(first, min(last, max(at, first))) for first, last in self.off]
        self.state = "active"
        self.seen, self.posted = max(self.seen, at), max(self.posted, at)
        return True

    def stop(self, at: int, *, settle: bool) -> bool:
        end = max(at, self.begin)
        if self.open:
            self.end = end
            self.posted = end if settle else min(self.posted, end)
            self.state = "settled" if settle else "pending"
            self.off = [(first, min(last, max(first, end))) for first, last in self.off]
        elif self.swept:
            self.end, self.posted, self.swept = end, end, False
            self.off = [(first, min(last, max(first, end))) for first, last in self.off]
        return True

    def settle(self) -> bool:
        if self.state != "pending":
            return False
        self.state, self.posted = "settled", self.end or 0
        return True

    def sweep(self) -> bool:
        self.state, self.swept = "settled", True
        self.end = self.posted = self.seen
        return True

    def forgive(self) -> bool:
        if self.state not in ("pending", "settled"):
            return False
        self.state, self.posted, self.forgiven = "forgiven", self.end or 0, True
        return True


@define
class ShelfFact:
    """A workspace: its sizes by time, up to where they are billed, and whether it lies where it
    costs twice as much."""

    billed: int
    sizes: dict[int, int] = field(factory=dict)
    far: bool = False

    def stored(self) -> list[tuple[int, int, int]]:
        """``(from, until, bytes)``, as far as it is billed."""
        marks = [at for at in sorted(self.sizes) if at < self.billed]
        return [(a, b, self.sizes[a]) for a, b in pairwise([*marks, self.billed])]


@define
class TimeModel:
    """``rates``: from when on a microsecond, and a byte-microsecond, cost how many nanos, and in
    the first minutes of a day; of the same time, the last holds.
    ``granted``: nanos, beside a plan's ``allowance`` for each billing period."""

    rates: list[tuple[int, Rates, Rates]] = field(factory=list)
    runs: dict[str, RunFact] = field(factory=dict)
    shelves: dict[str, ShelfFact] = field(factory=dict)
    granted: int = 0
    allowance: int = 0

    def _cut(
        self, first: int, last: int, which: int, *, far: bool
    ) -> Iterable[tuple[int, Fraction]]:
        """A span's parts, each with its rate, of running time (0) or of bytes (1)."""
        edges = {first, last, *(at for at, _, _ in self.rates)}
        for day in range(first // _DAY, last // _DAY + 1):
            edges |= {day * _DAY, day * _DAY + EARLY}
        for begin, end in pairwise(sorted(at for at in edges if first <= at <= last)):
            _, *rates = [rate for rate in self.rates if rate[0] <= begin][-1]
            usual, early = rates[which]
            yield end - begin, (early if begin % _DAY < EARLY else usual) * (2 if far else 1)

    def run_cost(self, name: str) -> Fraction:
        """What the posted time of a run costs, exactly."""
        run = self.runs[name]
        spans = run.ran(run.posted)
        return sum(
            (us * rate for span in spans for us, rate in self._cut(*span, 0, far=run.far)),
            Fraction(),
        )

    def shelf_cost(self, name: str) -> Fraction:
        """What a workspace's billed time costs, exactly."""
        total = Fraction()
        shelf = self.shelves[name]
        for first, last, size in shelf.stored():
            parts = self._cut(first, last, 1, far=shelf.far)
            total += sum((us * size * rate for us, rate in parts), Fraction())
        return total

    def dearest(self, us: int, first: int, last: int, *, far: bool) -> int:
        """The most that so much running time can cost at the rates of a span."""
        rates = [rate for _, rate in self._cut(first, max(last, first + 1), 0, far=far)]
        return ceil(max(rates) * us)
