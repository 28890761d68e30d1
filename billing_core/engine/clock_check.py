"""Whether the machine's clock may be believed: asked before anything ends by it.

A clock that is wrong by weeks would end credit, holds and periods for good.  So the system's
clock is held against the store's own (PostgreSQL has one), or else against what was last on
record.  A clock that the caller gave to the engine is the caller's word, and is not checked.
"""

from __future__ import annotations

from datetime import timedelta

from billing_core.engine.system import SystemClock
from billing_core.errors import ClockDoubt
from billing_core.ledger.inputs import clock_ahead
from billing_core.ports.clock import Clock
from billing_core.ports.store import Store
from billing_core.values.times import DAY, HOUR, moment

__all__ = ["ClockCheck"]

_MARK = "clock"
_SOON = 5_000_000  # in doubt, looks are so far apart at least
_LEAST = 1_000_000  # no two clocks need agree to less


class ClockCheck:
    """The check of one engine's clock.  It looks at the store when first asked, and then once
    an hour.

    Where the store has no clock, its mark ``clock`` says which time has certainly come: every
    process whose clock is believed moves it along, and it is old where none ran.
    """

    def __init__(self, store: Store, clock: Clock, tolerance: int) -> None:
        self._store = store
        self._clock = clock
        self._tolerance = max(tolerance, _LEAST)
        self._exempt = not isinstance(clock, SystemClock)
        self._due: int | None = None
        self._certain: int | None = None
        self.lead = self.lag = 0  # how far it was ahead of the store's own, or behind, at most
        self._believed = False  # once it was, it is: what passes since is no clock's word

    def certain(self, now: int, *, joined: bool = False) -> int | None:
        """:attr:`Terms.certain`, now.  ``joined``: inside a transaction of the host's, beside
        which nothing is written.  Raises ClockDoubt where the store's own clock differs."""
        if not self._exempt and (self._due is None or now >= self._due):
            self._look(joined=joined)
        return self._certain

    def doubt(self) -> ClockDoubt | None:
        """What is wrong with the clock, if anything."""
        now = self._clock()
        try:
            certain = self.certain(now)
        except ClockDoubt as error:
            return error
        if certain is None:
            return None
        return clock_ahead(None, now, certain)

    def accept(self) -> int:
        """An operator says that the clock is right.  The time that it says."""
        now = self._clock()
        if not self._exempt:
            self._agrees()
            self._store.set_mark(_MARK, now)
            self._due = None
        return now

    def _agrees(self) -> bool:
        """Whether the store has a clock of its own; it then says the same."""
        before = self._clock()
        there = self._store.clock()
        if there is None:
            return False
        after = self._clock()
        off = max(before - there, there - after)
        if off > self._tolerance:
            raise ClockDoubt(
                f"this machine's clock says {moment(before).isoformat()}, the database's "
                f"{moment(there).isoformat()}: they differ by {timedelta(microseconds=off)}, and "
                f"may by {timedelta(microseconds=self._tolerance)}, the tolerance; set the wrong "
                "one right and start this process again"
            )
        self.lead = min(max(0, after - there), self._tolerance)
        self.lag = min(max(0, there - before), self._tolerance)
        return True

    def _look(self, *, joined: bool) -> None:
        self._due = None  # until it has ended well
        now = self._clock()
        if self._agrees():
            self._certain, self._due = None, now + HOUR
            return
        mark = self._store.mark(_MARK)
        latest = self._store.latest() if mark is None else mark
        if self._believed or latest is None or now <= latest + DAY:
            self._believed = True
            self._certain, self._due = None, now + HOUR
            if not joined:
                self._store.set_mark(_MARK, now)
            return
        self._certain, self._due = latest, now + _SOON
        if mark is None and not joined:
            self._store.set_mark(_MARK, latest)  # what this clock writes must not speak for it
