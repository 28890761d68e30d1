"""What is loaded of an org before a decision, and what a decision changes."""

from __future__ import annotations

from attrs import define, field

from billing_core.records.events import Event
from billing_core.records.ledger import (
    Account,
    Charge,
    Entry,
    HoldRecord,
    LimitSet,
    Lot,
    Spend,
    Subscription,
)
from billing_core.records.runs import Run
from billing_core.records.storage import Size, Storage
from billing_core.records.topups import AutoTopUp, TopUp
from billing_core.records.usage import Cell, CellKey, Counter, Item, UsageRecord

__all__ = ["LEVEL", "Changes", "Loaded", "OrgState", "Times", "Wanted"]

LEVEL = 3
"""The newest schema, and so the newest kinds of commands, that this version of the library knows.
It works beside the version before it: see :meth:`Store.level`."""

DEBTS_AT_ONCE = 64

LOOK_BACK = 4096
"""Among so many of the latest entries the latest charges of a counter are looked for."""
NEWEST = 128
"""So many of them are found."""

Times = tuple[int, int]
"""The earliest and the latest of some times, both included."""


@define
class Wanted:
    """What the commands for one org need to be decided.

    ``until``: the latest time of decision asked for (watermark aside).
    ``counters``: resource → earliest and latest time of occurrence.
    ``charges``: charges that are reversed or priced.  ``debts``: how many of the oldest
    open debts.  ``all_holds``: every open hold, for closing.  ``times``: the earliest and
    latest time of occurrence of anything charged or held.  ``projects``: by name.
    ``sums``: ``(member or None for all, grain, start)`` of rollup cells.
    ``windows``: ``(grain, start)`` of those in which everybody's spending is asked for.
    ``families``: ``(prefix, start)`` of counters, in one period, of all resources whose name
    begins so.
    ``runs`` and ``storages``: by name, the earliest and latest time that is asked about.
    ``topups``: by their ids.  ``auto``: the automatic top-up.
    ``newest``: ``(resource, start, end)`` of a counter and its period.
    ``lives``: the longest that anything is held for, as far as limits look ahead.
    ``extended``: holds of which the keys that made them are among ``keys``, so as to learn what
    else is wanted, and to when they are to live at most.
    """

    until: int
    keys: set[str] = field(factory=set)
    holds: set[str] = field(factory=set)
    members: set[str] = field(factory=set)
    counters: dict[str, Times] = field(factory=dict)
    items: set[tuple[str, str]] = field(factory=set)
    charges: set[int] = field(factory=set)
    debts: int = DEBTS_AT_ONCE
    all_holds: bool = False
    times: Times | None = None
    projects: set[str] = field(factory=set)
    sums: set[tuple[int | None, str, int]] = field(factory=set)
    windows: set[tuple[str, int]] = field(factory=set)
    families: set[tuple[str, int]] = field(factory=set)
    topups: set[str] = field(factory=set)
    auto: bool = False
    runs: dict[str, Times] = field(factory=dict)
    storages: dict[str, Times] = field(factory=dict)
    newest: set[tuple[str, int, int]] = field(factory=set)
    lives: int = 0
    extended: dict[str, int] = field(factory=dict)


@define
class OrgState:
    """What a store loaded for one org.  Everything here is the caller's to change.

    Beside what is wanted by name there is what is required then: :mod:`billing_core.ports.required`
    says what that is, and :class:`StoreConformance` proves that it is there.

    ``account``: None for an unknown org; then the rest is empty.
    ``lots``: those with a remainder, in any order, and the payers of wanted charges.
    ``holds``: the wanted ones, and those open that expire until then.
    ``next_hold``: the earliest expiry of an open hold beyond that; a store that found nothing due
    by ``account.next_lapse`` may answer that instead.
    ``counters``: by resource and start of the period, those of the periods that any required time
    may fall in, and those in which a loaded hold is counted.
    ``items``: the required ones that have begun.
    ``members``: of the wanted ones the numbers, by name.
    ``entries``: by key, those on record for the wanted keys.  ``subjects``: by sequence
    number, those of the wanted charges.  ``charges``: by number, the stories of these,
    where kept, and those of loaded runs' and workspaces' tabs.
    ``debts``: the oldest charges with something unpaid, oldest first, at most
    ``Wanted.debts``, and among them those that are in ``charges`` as the same objects.
    ``all_debts``: whether that is all of them.

    ``subscriptions``: in order, those that held at any time from the one on from which they are
    required.
    ``limits``: by subject and grain, the org's own of those whose limits are required, where the
    account has ``limited_since``; and ``spends``, by subject, grain and start, what they have spent
    in the windows of required times, and what is ``held``.  With ``windows``, all limits, and
    everybody's spends in these.
    ``windows``: the wanted ones.  ``sums``: the amounts of the wanted rollup cells, added up,
    as they are kept.
    ``families``: for each that is wanted the counters as they are kept, by resource; an empty
    list where there are none.
    ``tail``: where required, the usage of the entries after ``account.summed``, which the kept
    cells lack, by number; else None.

    ``runs``, ``storages``: the wanted ones.
    ``sizes``: by workspace and time, from the last at or before a required time to the first after.

    ``topups``: the wanted ones.  ``auto``: where wanted, and where the org has one.

    ``newest``: by resource and start, for each wanted one, the numbers of those of the
    :data:`LOOK_BACK` last entries that charged more than nothing for usage of the resource which
    occurred from the start until before the end, latest first, at most :data:`NEWEST`:
    settlements, deducts and what was priced later.

    What is not here is new only where it was looked for.  A store says where it has looked:
    ``covered``: by resource, the times whose ``counters`` are loaded.  ``sought``: the
    ``items`` that are, if there are any.  ``times``: from the earliest to the latest of those
    whose ``subscriptions`` and ``spends`` are.
    """

    account: Account | None = None
    lots: dict[int, Lot] = field(factory=dict)
    holds: dict[str, HoldRecord] = field(init=False, factory=dict)
    next_hold: int | None = field(init=False, default=None)
    counters: dict[tuple[str, int], Counter] = field(init=False, factory=dict)
    items: dict[tuple[str, str], Item] = field(init=False, factory=dict)
    members: dict[str, int] = field(init=False, factory=dict)
    entries: dict[str, Entry] = field(init=False, factory=dict)
    subjects: dict[int, Entry] = field(init=False, factory=dict)
    charges: dict[int, Charge] = field(init=False, factory=dict)
    debts: list[Charge] = field(init=False, factory=list)
    all_debts: bool = field(init=False, default=True)
    subscriptions: list[Subscription] = field(init=False, factory=list)
    limits: dict[tuple[str, str], LimitSet] = field(init=False, factory=dict)
    spends: dict[tuple[str, str, int], Spend] = field(init=False, factory=dict)
    sums: dict[tuple[int | None, str, int], int] = field(init=False, factory=dict)
    windows: set[tuple[str, int]] = field(init=False, factory=set)
    families: dict[tuple[str, int], list[Counter]] = field(init=False, factory=dict)
    tail: list[UsageRecord] | None = field(init=False, default=None)
    runs: dict[str, Run] = field(init=False, factory=dict)
    storages: dict[str, Storage] = field(init=False, factory=dict)
    sizes: dict[tuple[str, int], int] = field(init=False, factory=dict)
    topups: dict[str, TopUp] = field(init=False, factory=dict)
    auto: AutoTopUp | None = field(init=False, default=None)
    newest: dict[tuple[str, int], list[int]] = field(init=False, factory=dict)
    covered: dict[str, list[Times]] = field(init=False, factory=dict)
    sought: set[tuple[str, str]] = field(init=False, factory=set)
    times: Times | None = field(init=False, default=None)


Loaded = dict[str, OrgState]


@define
class Changes:
    """What one batch changes for one org; written all or not at all.

    ``account`` replaces the org's row (or makes it, where ``opened``).  ``entries``,
    with their transfers and usage records, ``events`` and ``subscriptions`` are appended.
    What has keys, as in :class:`OrgState`, replaces the rows of the same key or makes them;
    so does ``auto``, where there is one.  ``members``, number and name, are new.  ``cells``
    are *added* to what is kept; they are read only.
    """

    account: Account
    opened: bool = False
    entries: list[Entry] = field(init=False, factory=list)
    events: list[Event] = field(init=False, factory=list)
    lots: dict[int, Lot] = field(init=False, factory=dict)
    holds: dict[str, HoldRecord] = field(init=False, factory=dict)
    counters: dict[tuple[str, int], Counter] = field(init=False, factory=dict)
    items: dict[tuple[str, str], Item] = field(init=False, factory=dict)
    charges: dict[int, Charge] = field(init=False, factory=dict)
    members: list[tuple[int, str]] = field(init=False, factory=list)
    subscriptions: list[Subscription] = field(init=False, factory=list)
    limits: dict[tuple[str, str], LimitSet] = field(init=False, factory=dict)
    spends: dict[tuple[str, str, int], Spend] = field(init=False, factory=dict)
    topups: dict[str, TopUp] = field(init=False, factory=dict)
    auto: AutoTopUp | None = field(init=False, default=None)
    cells: dict[CellKey, Cell] = field(init=False, factory=dict)
    runs: dict[str, Run] = field(init=False, factory=dict)
    storages: dict[str, Storage] = field(init=False, factory=dict)
    sizes: dict[tuple[str, int], Size] = field(init=False, factory=dict)

    def tail(self, before: list[UsageRecord] | None) -> list[UsageRecord] | None:
        """The :attr:`OrgState.tail` after these changes, made of that ``before`` them, which is
        used up; None where that is not known and needed."""
        if self.opened or self.account.summed == self.account.seq:
            before = []
        if before is not None and self.account.summed < self.account.seq:
            for entry in self.entries:
                if entry.usage is not None:
                    before.append(entry.usage)
        return before
