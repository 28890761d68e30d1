"""A run's time, and what more of it can cost.  Pure.

Running time is what lies between a run's start and its end and in no suspended span.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from billing_core.pricing.functions import PriceFunction, Ratio
from billing_core.values.times import Window

__all__ = ["Demand", "Measure", "RunComponent", "RunSpec", "measure"]


# -- time -----------------------------------------------------------------------


class Measure(NamedTuple):
    """Microseconds of running, and of suspended time."""

    running: int = 0
    suspended: int = 0

    def less(self, other: Measure) -> Measure:
        return Measure(self.running - other.running, self.suspended - other.suspended)


def measure(window: Window, suspensions: Iterable[Sequence[int | None]], end: int) -> Measure:
    """What of a window lies before a run's ``end``: running, and in its suspended spans, which
    may overlap; the last may be without an end."""
    last = min(window.end, end)
    if last <= window.start:
        return Measure()
    suspended = 0
    reached = window.start
    for begin, until in sorted(suspensions, key=lambda each: each[0] or 0):
        first = max(reached, begin or 0)
        stop = last if until is None else min(until, last)
        if stop > first:
            suspended += stop - first
            reached = stop
    return Measure(last - window.start - suspended, suspended)


# -- what it can cost -----------------------------------------------------------


class RunSpec(NamedTuple):
    """What a microsecond of a run uses: ``(component, rate, payer)``; and its facts, fixed at the
    start."""

    resource: str
    parts: tuple[tuple[str, int, str], ...]
    facts: tuple[tuple[str, str], ...] = ()


class RunComponent(NamedTuple):
    """A component of a run, paid by the platform: ``rate`` of it in a microsecond, ``raw``
    and ``billed`` so far, by a ``minimum`` and ``increment``, and every price reachable.
    ``idle``: what is billed instead while the run is suspended."""

    component: str
    rate: int
    raw: int
    billed: int
    minimum: int
    increment: int
    prices: tuple[PriceFunction, ...]
    idle: RunComponent | None = None

    def more(self, us: int) -> int:
        """What would be billed beyond what is, for so much more running time."""
        raw = self.raw + self.rate * us
        if raw == 0:
            return 0
        return max(0, -(-max(raw, self.minimum) // self.increment) * self.increment - self.billed)

    def cost(self, us: int, ends: Iterable[int] = ()) -> int:
        """The most nanos that so much more time can cost, running or suspended, where billing
        periods end so far from now: their counters begin anew."""
        cuts = [end for end in ends if end < us]
        if us <= 0 or self.idle is None:
            return self._most(us, cuts)
        # Part of the time is one, part the other, and each is rounded up by itself.
        both = (self, self.idle)
        least = [each._dearest(max(each.minimum, each.increment)) for each in both]
        rounding = sum(-(-nanos // per) for nanos, per in least) * (1 + len(cuts))
        return max(each._most(us, cuts) for each in both) + rounding

    def _most(self, us: int, cuts: Iterable[int]) -> int:
        nanos, per, billed = 0, 1, 0
        for end in (*cuts, us):
            more = self.more(end)
            add, of = self._dearest(more - billed)
            nanos, per, billed = nanos * of + add * per, per * of, more
        return -(-nanos // per)

    def _dearest(self, billed: int) -> Ratio:
        most: Ratio = 0, 1
        for function in self.prices:
            nanos, per = function.most(billed)
            if nanos * most[1] > most[0] * per:
                most = nanos, per
        return most


class Demand(NamedTuple):
    """What a run asks for, from now on.  ``ends``: how far from now billing periods end."""

    parts: tuple[RunComponent, ...]
    ends: tuple[int, ...] = ()

    def cost(self, us: int) -> int:
        """The most nanos that so much more time can cost."""
        return sum(part.cost(us, self.ends) for part in self.parts)

    def by_period(self, us: int) -> list[dict[str, int]]:
        """What would be billed at most in each billing period that so much more time reaches."""
        before: dict[str, int] = {}
        found: list[dict[str, int]] = []
        for end in (*(end for end in self.ends if end < us), us):
            sums = self.quantities(end)
            found.append({name: sums[name] - before.get(name, 0) for name in sums})
            before = sums
        return found

    def quantities(self, us: int) -> dict[str, int]:
        """What would be billed at most, by component."""
        idle = [part.idle for part in self.parts if part.idle is not None]
        return {part.component: part.more(us) for part in (*self.parts, *idle)}
