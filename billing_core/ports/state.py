"""What is loaded of an org before a decision, and what a decision changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, field

from billing_core.records.events import Event
from billing_core.records.ledger import (
    Account,
    Charge,
    Entry,
    Hold,
    LimitSet,
    Lot,
    Spend,
    Subscription,
)
from billing_core.records.runs import Run
from billing_core.records.storage import Size, Storage
from billing_core.records.topups import AutoTopUp, TopUp
from billing_core.records.usage import Cell, CellKey, Counter, Item, UsageRecord
from billing_core.values.times import Window

__all__ = ["LEVEL", "Changes", "Loaded", "OrgState", "Wanted", "to_be_summed"]

LEVEL = 2
"""The newest schema, and so the newest kinds of commands, that this version of the library knows.
It works beside the version before it: see :meth:`Store.level`."""

DEBTS_AT_ONCE = 64

LOOK_BACK = 4096
"""Among so many of the latest entries the latest charges of a counter are looked for."""
NEWEST = 128
"""So many of them are found."""
TAIL = 32
"""So many entries are added to the rollup cells at once: one write for all of them."""


def to_be_summed(account: Account, more: int = 0) -> bool:
    """Whether with so many more entries the rollup cells lack :data:`TAIL`."""
    return account.seq + more - account.summed >= TAIL


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
    counters: dict[str, tuple[int, int]] = field(factory=dict)
    items: set[tuple[str, str]] = field(factory=set)
    charges: set[int] = field(factory=set)
    debts: int = DEBTS_AT_ONCE
    all_holds: bool = False
    times: tuple[int, int] | None = None
    projects: set[str] = field(factory=set)
    sums: set[tuple[int | None, str, int]] = field(factory=set)
    windows: set[tuple[str, int]] = field(factory=set)
    families: set[tuple[str, int]] = field(factory=set)
    topups: set[str] = field(factory=set)
    auto: bool = False
    runs: dict[str, tuple[int, int]] = field(factory=dict)
    storages: dict[str, tuple[int, int]] = field(factory=dict)
    newest: set[tuple[str, int, int]] = field(factory=set)
    lives: int = 0
    extended: dict[str, int] = field(factory=dict)

    def tail(self, account: Account) -> bool:
        """Whether :attr:`OrgState.tail` is wanted: where commands of so many keys may make
        the cells lack too much, and with ``sums``."""
        return to_be_summed(account, len(self.keys)) or bool(self.sums)

    def plain(self, account: Account) -> bool:
        """Whether nothing lapses, is owed, or was used before the plan, and nothing is wanted
        of charges, all holds, sums, windows, families, runs, workspaces, top-ups or extensions:
        so it is with most commands."""
        due = account.next_lapse is not None and account.next_lapse <= self.until
        late = self.times is not None and self.times[0] < account.plan_since
        return not (
            due
            or late
            or account.debt
            or self.charges
            or self.all_holds
            or self.sums
            or self.windows
            or self.families
            or self.runs
            or self.storages
            or self.topups
            or self.auto
            or self.extended
        )

    def counted(self, state: OrgState) -> Iterator[tuple[str, str | None, tuple[int, int]]]:
        """``(resource, item, span)``: of which resources the counters are wanted, and of which
        times, and the item with them, once the charges, runs and workspaces are loaded."""
        for resource, span in self.counters.items():
            yield resource, None, span
        for subject in state.subjects.values():
            used = subject.usage
            if used is not None:
                yield used.resource, used.item, (used.occurred_at, used.occurred_at)
        yield from self.spans(state.runs, state.storages)

    def dated(self, state: OrgState) -> tuple[int, int] | None:
        """The earliest and latest of the times whose plans and spending are wanted, once the
        charges, runs and workspaces are loaded."""
        if not (state.subjects or self.runs or self.storages):
            return self.times
        times = list(self.times or ())
        times += [each.usage.occurred_at for each in state.subjects.values() if each.usage]
        for _, _, span in self.spans(state.runs, state.storages):
            times += span
        return (min(times), max(times)) if times else None

    def spans(
        self, runs: Mapping[str, Run], storages: Mapping[str, Storage]
    ) -> Iterator[tuple[str, str, tuple[int, int]]]:
        """``(resource, item, span)`` of the wanted runs and workspaces that a store found:
        from where they are posted to, to the last time asked about, charged, or of their end, and
        of an open run as far as it may be funded."""
        for name, (first, last) in self.runs.items():
            run = runs.get(name)
            if run is not None:
                begin = min(max(first, run.started_at), run.settled_to)
                ends = [last, run.settled_to, run.ended_at or 0, *(tab.last for tab in run.tabs)]
                if run.open:
                    ends.append(max(run.until, max(last, run.settled_to) + run.ahead))
                yield run.resource, run.item, (begin, max(ends))
        for name, (first, last) in self.storages.items():
            known = storages.get(name)
            if known is not None:
                span = (min(first, known.billed_to), max(last, known.billed_to))
                yield known.resource, known.item, span
            else:
                yield f"storage:{name}", f"storage:{name}", (first, last)


@define
class OrgState:
    """What a store loaded for one org.  Everything here is the caller's to change.

    ``account``: None for an unknown org; then the rest is empty.
    ``lots``: those with a remainder, in any order, and those that paid a wanted charge.
    ``holds``: the wanted ones, and those open that expire at ``Wanted.until`` or before
    (all open ones if ``all_holds``).
    ``next_hold``: the earliest expiry of an open hold beyond ``until``; a store that
    found nothing due by ``account.next_lapse`` may answer that instead.
    ``counters``: for each wanted resource, those of the periods that any time in its
    span may fall in; for each loaded hold, those that it is counted in.
    ``items``: the wanted ones.  For a wanted charge: also the counter, as above, and the
    item, of its usage.
    ``entries``: by key, those on record for the wanted keys.  ``subjects``: by sequence
    number, those of the wanted charges.  ``charges``: by number, the stories of these,
    where kept.
    ``debts``: the oldest charges with something unpaid, oldest first, at most
    ``Wanted.debts``, and among them those that are in ``charges`` as the same objects.
    ``all_debts``: whether that is all of them.

    ``subscriptions``: in order, those that held at any time from the earliest of
    ``Wanted.times``, or of a wanted charge's usage, where the account has ever had a plan.
    Where ``account.limited_since`` is set: ``limits``, by subject and grain, those of the
    org's own for it, for each member and project, and for those wanted; and ``spends``, by
    subject, grain and start, those of the org and of every member and project that is
    wanted or of a loaded hold or wanted charge: what is ``held``, and the days and periods
    in which any of ``Wanted.times`` or a wanted charge's usage falls.  With ``windows``, all
    of the org's limits, and everybody's spends in these.
    ``windows``: the wanted ones.  ``sums``: the amounts of the wanted rollup cells, added up,
    as they are kept.
    ``families``: for each that is wanted the counters as they are kept, by resource; an empty
    list where there are none.
    ``tail``: where :meth:`Wanted.tail`, the usage of the entries after ``account.summed``,
    which the kept cells lack, by number; else None.

    ``runs``, ``storages``: the wanted ones, and in ``charges`` the stories of their tabs; for
    each span of :meth:`Wanted.spans` also the counters and the item, and its times count as
    ``Wanted.times``.  A run counts as a hold whose member and project are wanted.
    ``sizes``: by workspace and time, those of a wanted workspace from the last at or before
    its span's start to the first after its end.

    ``topups``: the wanted ones.  ``auto``: where wanted, and where the org has one.

    ``newest``: by resource and start, for each wanted one, the numbers of those of the
    :data:`LOOK_BACK` last entries that charged more than nothing for usage of the resource which
    occurred from the start until before the end, latest first, at most :data:`NEWEST`:
    settlements, deducts and what was priced later.

    What is not here is new only where it was looked for.  A store says where it has looked:
    ``covered``: by resource, the spans of time whose ``counters`` are loaded.  ``sought``: the
    ``items`` that are, if there are any.  ``times``: from the earliest to the latest of those
    whose ``subscriptions`` and ``spends`` are.
    """

    account: Account | None = None
    lots: dict[int, Lot] = field(factory=dict)
    holds: dict[str, Hold] = field(init=False, factory=dict)
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
    covered: dict[str, list[tuple[int, int]]] = field(init=False, factory=dict)
    sought: set[tuple[str, str]] = field(init=False, factory=set)
    times: tuple[int, int] | None = field(init=False, default=None)

    def cover(self, resource: str, span: tuple[int, int]) -> None:
        """The counters of a span of time are loaded."""
        self.covered.setdefault(resource, []).append(span)

    def covers(self, resource: str, period: Window) -> bool:
        """Whether the counter of a period would be here, if there were one."""
        spans = self.covered.get(resource, ())
        return any(first < period.end and period.start <= last for first, last in spans)


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
    holds: dict[str, Hold] = field(init=False, factory=dict)
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
