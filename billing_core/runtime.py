"""A sandbox run: its states, its time, and what that time can cost.  Pure.

Running time is what lies between a run's start and its end and in no suspended span.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from billing_core.errors import ImpossibleTransition
from billing_core.pricing import PriceFunction, Ratio
from billing_core.times import Window

__all__ = ["OPEN", "TRANSITIONS", "Demand", "Measure", "Part", "diagram", "measure", "moved"]

OPEN = ("active", "suspended")
"""The states of a run whose end is not known."""

TRANSITIONS: Mapping[tuple[str, str], str] = {
    ("", "start"): "active",
    ("active", "heartbeat"): "active",
    ("active", "suspend"): "suspended",
    ("active", "stop"): "pending",
    ("active", "sweep"): "pending",
    ("suspended", "heartbeat"): "suspended",
    ("suspended", "suspend"): "suspended",
    ("suspended", "resume"): "active",
    ("suspended", "stop"): "pending",
    ("suspended", "sweep"): "pending",
    ("pending", "heartbeat"): "pending",
    ("pending", "suspend"): "pending",
    ("pending", "stop"): "pending",
    ("pending", "settle"): "settled",
    ("pending", "forgive"): "forgiven",
    ("settled", "heartbeat"): "settled",
    ("settled", "suspend"): "settled",
    ("settled", "stop"): "settled",
    ("settled", "forgive"): "forgiven",
    ("settled", "forgive part"): "settled",
    ("settled", "undo"): "settled",
    ("forgiven", "heartbeat"): "forgiven",
    ("forgiven", "suspend"): "forgiven",
    ("forgiven", "stop"): "forgiven",
    ("forgiven", "undo"): "settled",
}
"""``(state, event)`` → state.  What arrives late or twice leaves an ended run's state alone."""

_AIMS = {
    "start": "active",
    "resume": "active",
    "suspend": "suspended",
    "settle": "settled",
    "undo": "settled",
    "forgive": "forgiven",
    "forgive part": "settled",
}


def moved(run: str, state: str, event: str) -> str:
    """The state that an event leads to; raises ImpossibleTransition."""
    to = TRANSITIONS.get((state, event))
    if to is None:
        raise ImpossibleTransition(run, state, _AIMS.get(event, "pending"))
    return to


def diagram() -> str:
    """The transition table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for (state, event), to in TRANSITIONS.items():
        lines.append(f"    {state or '[*]'} --> {to}: {event}")
    return "\n".join(lines) + "\n"


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


class Part(NamedTuple):
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
    idle: Part | None = None

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

    parts: tuple[Part, ...]
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
