"""What a decision is made by, beside the state of its orgs, and how it asks for more of that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from billing_core.errors import ClockDoubt, StoreError
from billing_core.ports.clock import IdSource
from billing_core.ports.state import LEVEL, Wanted
from billing_core.pricing.catalogue import Catalogue
from billing_core.records.topups import TopUpRules
from billing_core.values.times import FOREVER, moment, spanning

__all__ = ["Instant", "NeedMore", "Terms", "When", "clock_ahead", "level_text", "of_each"]

_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


class When(Protocol):
    """When something is decided: a command, or what lapses before it."""

    @property
    def time(self) -> int:
        """The time of decision, in microseconds: what ends by then has ended."""
        ...

    @property
    def doubted(self) -> int:
        """The later time that a clock says which is not believed, or 0: whatever would end by
        then raises ClockDoubt."""
        ...


class Instant(NamedTuple):
    """A time of decision by a clock that is believed."""

    time: int
    doubted: int = 0


class Terms(NamedTuple):
    """What decisions depend on beside the orgs' state: the catalogue, the clock's time,
    and how far ahead of it a command may be dated (microseconds).  ``horizon``: how long after
    the time (microseconds) no price can take effect that the catalogue does not know.
    ``fresh``: the catalogue was read after the clock.  ``topups``: the platform's rules for them;
    ``ids``: where the id of an automatic attempt comes from.  ``level``: the newest schema that
    every running version of the library knows (:meth:`billing_core.ports.store.Store.level`),
    read with the catalogue.  ``certain``: where the clock is not believed, the latest time that
    has come all the same: nothing ends later."""

    catalogue: Catalogue
    now: int
    tolerance: int
    horizon: int
    fresh: bool = False
    topups: TopUpRules = TopUpRules()
    ids: IdSource | None = None
    level: int = LEVEL
    certain: int | None = None

    def believes(self, time: int) -> bool:
        """Whether a time is believed to have come."""
        return self.certain is None or time <= self.certain


def clock_ahead(org: str | None, time: int, certain: int) -> ClockDoubt:
    """That something would end at a time that is not believed to have come."""
    whose = "" if org is None else f" of org {org!r}"
    return ClockDoubt(
        f"nothing{whose} ends yet at {moment(time).isoformat()}, which this machine's clock says "
        f"has come: that is {timedelta(microseconds=time - certain)} after the latest that is "
        f"certain, {moment(certain).isoformat()}; set the clock right, or, if it is, say so by "
        "`billing accept-clock` or accept_clock()"
    )


class NeedMore(Exception):
    """What was loaded does not suffice: load more of it and decide again.

    ``org``: whose credit reaches further than the debts that were loaded, or, with
    ``sums`` or ``families``, whose rollup cells or counters are to be added up, with ``windows``,
    whose spending in them is missing, with ``charges``, of which the stories are, with ``runs`` or
    ``storages``, by name, until when each is looked at, with ``auto``, the automatic top-up, with
    ``newest``, of which counter the latest charges, with ``counter``, an ``item`` or ``time``, what
    was looked for where nothing was loaded: a counter by resource and start of its period, an item
    with its resource, a time whose plan or spending is asked for; None: the catalogue is to be
    read again.
    ``replayed``: by org, the holds and charges that keys on record made.
    """

    def __init__(
        self,
        org: str | None,
        sums: frozenset[tuple[int | None, str, int]] = frozenset(),
        *,
        windows: frozenset[tuple[str, int]] = frozenset(),
        charges: frozenset[int] = frozenset(),
        runs: Mapping[str, int] = MappingProxyType({}),
        storages: Mapping[str, int] = MappingProxyType({}),
        auto: bool = False,
        replayed: Mapping[str, tuple[set[str], set[int]]] | None = None,
        newest: tuple[str, int, int] | None = None,
        families: frozenset[tuple[str, int]] = frozenset(),
        counter: tuple[str, int] | None = None,
        item: tuple[str, str] | None = None,
        time: int | None = None,
    ) -> None:
        self.org = org
        self.sums = sums
        self.windows = windows
        self.charges = charges
        self.runs = runs
        self.storages = storages
        self.auto = auto
        self.replayed = replayed or {}
        self.newest = newest
        self.families = families
        self.counter = counter
        self.item = item
        self.time = time
        super().__init__(
            org, sums, windows, charges, runs, storages, auto, replayed, newest, families, counter,
            item, time,
        )  # fmt: skip

    def widen(self, wants: dict[str, Wanted]) -> None:
        """Want what was missing."""
        if self.org is None:
            return
        if self.replayed:
            self._widen_replayed(wants)
        elif self.auto:
            wants[self.org].auto = True
        elif self.newest is not None:
            wants[self.org].newest.add(self.newest)
        elif self.charges:
            wants[self.org].charges |= self.charges
        elif self.runs:
            want = wants[self.org]
            want.runs.update((name, (want.until, until)) for name, until in self.runs.items())
        elif self.storages:
            want = wants[self.org]
            want.storages.update((name, (at, at)) for name, at in self.storages.items())
        elif self.windows:
            wants[self.org].windows |= self.windows
        elif self.families:
            wants[self.org].families |= self.families
        elif self.sums:
            wants[self.org].sums |= self.sums
        elif self.counter is not None or self.item is not None or self.time is not None:
            self._widen_looked_for(wants[self.org])
        else:
            wants[self.org].debts *= 16

    def _widen_looked_for(self, want: Wanted) -> None:
        if self.counter is not None:
            resource, start = self.counter
            span = want.counters.get(resource)
            missing = span is None or not span[0] <= start <= span[1]
            # What a hold reaches, it mostly reaches in the periods after that, too.
            want.counters[resource] = spanning(span, start)[0], FOREVER
        elif self.item is not None:
            missing = self.item not in want.items
            want.items.add(self.item)
        else:
            assert self.time is not None, "else there is nothing to look for"
            span = want.times
            missing = span is None or not span[0] <= self.time <= span[1]
            want.times = spanning(span, self.time)
        if not missing:  # a store that does not say what it has loaded
            raise StoreError(
                f"{self.counter or self.item or self.time} of org {self.org!r} was wanted, and is "
                "not loaded"
            )

    def _widen_replayed(self, wants: dict[str, Wanted]) -> None:
        for org, (holds, charges) in self.replayed.items():
            want = wants[org]
            missing = (holds & want.holds) or (charges & want.charges)
            if missing:  # it was wanted, and is not there
                raise StoreError(
                    f"what {missing} of org {org!r} became is not on record; run billing verify"
                )
            want.holds |= holds
            want.charges |= charges
            want.keys |= {f"undone:{number}" for number in charges}


def of_each(find: Callable[[_Given], _Found], given: Iterable[_Given]) -> list[_Found]:
    """What is found of each; raises NeedMore once for the sums and families that any of them
    misses, as each time everything is decided anew: a run that began years ago reaches a thousand
    days."""
    found: list[_Found] = []
    missing: list[NeedMore] = []
    for each in given:
        try:
            found.append(find(each))
        except NeedMore as need:
            if not (need.sums or need.families):
                raise
            missing.append(need)
    if missing:
        raise NeedMore(
            missing[0].org,
            frozenset(key for need in missing for key in need.sums),
            families=frozenset(key for need in missing for key in need.families),
        )
    return found


def level_text(what: str, needs: int, known: int) -> str:
    """Why something is refused that needs a newer schema than all running versions know."""
    return (
        f"{what} needs schema {needs}, and the version of this library "
        f"that may still run beside this one knows {known}: once it runs nowhere, run "
        "billing migrate --finish"
    )
