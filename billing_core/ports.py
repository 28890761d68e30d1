"""What the engine asks of the world: a store, a clock, a source of ids.

A store keeps rows; it never decides about money.  Prove one right with
:class:`billing_core.testing.conformance.StoreConformance`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from attrs import define, field

from billing_core.catalogue import Published
from billing_core.errors import StoreError
from billing_core.records import (
    Account,
    Cell,
    CellKey,
    Charge,
    Counter,
    Delivered,
    Entry,
    Event,
    Hold,
    Item,
    LimitSet,
    Lot,
    Run,
    Size,
    Spend,
    Storage,
    Subscription,
    UsageRecord,
)
from billing_core.rollups import Span, Sums
from billing_core.times import Window
from billing_core.topup import AutoTopUp, TopUp

__all__ = [
    "LEVEL",
    "Changes",
    "Clock",
    "IdSource",
    "Loaded",
    "OrgState",
    "Stale",
    "Store",
    "Transaction",
    "Wanted",
    "to_be_summed",
]

LEVEL = 2
"""The newest schema, and so the newest kinds of commands, that this version of the library knows.
It works beside the version before it: see :meth:`Store.level`."""

DEBTS_AT_ONCE = 64
NEWS = ("heard:live", "heard:test", "news:live", "news:test")
"""The marks that say up to when a provider's news was read, by mode: by the provider's clock, and
those of the previous version by ours."""

PUBLISHED = "published"
"""The mark that says how many documents were published."""

LOOK_BACK = 4096
"""Among so many of the latest entries the latest charges of a counter are looked for."""
NEWEST = 128
"""So many of them are found."""
TAIL = 32
"""So many entries are added to the rollup cells at once: one write for all of them."""


class Clock(Protocol):
    """Gives the time."""

    def __call__(self) -> int:
        """Microseconds since 1970, UTC."""
        ...


class IdSource(Protocol):
    """Gives fresh ids."""

    def __call__(self) -> str:
        """A new UUIDv7, as text."""
        ...


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


class Stale(StoreError):
    """What was decided on is not so any more; nothing was written.  Load and decide again, in
    the same transaction."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class Transaction(Protocol):
    """One atomic write.  Leaving it without :meth:`commit` changes nothing."""

    def recall(self, wanted: Mapping[str, Wanted]) -> Loaded | None:
        """What the store remembers of what is wanted, but for entries: out of date, perhaps,
        where it takes no lock for it.  None where it does not remember all of it, or nothing ever.

        What is decided on it may be told only once ``commit`` has returned, and only if all
        of it was written by that commit.  Asked before any ``load``.
        """
        ...

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        """Lock the orgs, in sorted order, and load what is wanted of each.

        May be called again before ``commit``; each call loads afresh.  Nobody else's
        write to these orgs happens between the first load and the end.
        """
        ...

    def commit(self, changes: Mapping[str, Changes]) -> None:
        """Make the changes durable, all or none; called once, or again after Stale.

        Committed, the records are the store's: nobody changes them any more.

        Raises Stale, a bounded number of times, where the orgs are not as they were recalled
        or loaded, or a key is on record: ``load`` then takes the locks and looks again.
        Raises StoreError; ``outcome_unknown`` says that they may have been made.
        """
        ...


class Store(Protocol):
    """Where orgs' records are kept.

    Every method raises StoreError, and nothing of the driver's, when the store
    fails.  Reads see committed writes only, each call one consistent state.
    Lists are ordered as said.  Unknown orgs have no rows; that is not an error.
    """

    concurrency: int
    """How many transactions may run at once and gain by it: 1 where writers take turns."""

    def level(self) -> int:
        """The newest schema that every running version of the library knows: :data:`LEVEL` in a
        new database.  One that the version before made keeps that one's level until an operator
        says that it runs nowhere any more (``billing migrate --finish``).  Until then nothing is
        decided or written that the version before could not follow."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction, begun when it is first asked for anything."""
        ...

    def within(self, connection: object) -> Store:
        """This store inside a transaction that the host has open on its own connection:
        ``transaction`` is then a savepoint, and nothing is committed, retried or set."""
        ...

    def snapshot(self, wanted: Mapping[str, Wanted]) -> Loaded:
        """As :meth:`Transaction.load`, without locks, from one consistent state."""
        ...

    def publish(self, document: Published) -> None:
        """Keep a price book or plan, and its number as the mark :data:`PUBLISHED`, so that one
        that is deleted is missed.  Raises StoreError(retryable=True) where its number is
        taken, so that the caller loads them again; the same one twice is a no-op."""
        ...

    def published(self, after: int = 0) -> Sequence[Published]:
        """The price books and plans numbered above ``after``, by number."""
        ...

    def orgs(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        """The orgs' ids above ``after``, sorted by code point, at most ``limit``: those with
        an account or with entries."""
        ...

    def ahead(self, org: str) -> Store:
        """This store, for whoever is about to read all of an org once: what is asked first of
        each table may have been fetched at once, of now.  Itself, where a question costs nothing.
        """
        ...

    def entry(self, org: str, key: str) -> Entry | None:
        """The entry of an operation and key, ``settle:req-1``."""
        ...

    def entries(self, org: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Entries with ``seq`` > ``after``, oldest first, at most ``limit``."""
        ...

    def history(
        self,
        org: str,
        *,
        before: int | None = None,
        limit: int = 100,
        charges: bool = True,
    ) -> Sequence[Entry]:
        """Entries that moved money (those with a transfer), with ``seq`` < ``before``,
        newest first, at most ``limit``.  ``charges`` False: without those of ``settle`` and
        ``deduct``, however many stand between."""
        ...

    def cells(
        self, org: str, grain: str, start: int, end: int, member: int | None = None
    ) -> Mapping[CellKey, Cell]:
        """The rollup cells of a grain that begin in [start, end), of one member or all: what
        is kept, and what the usage of the entries after ``account.summed`` adds."""
        ...

    def usage(
        self, org: str, start: int, end: int, member: int | None = None
    ) -> Sequence[tuple[int, UsageRecord]]:
        """``(seq, record)`` of the usage that occurred in [start, end), by time and seq."""
        ...

    def usage_sums(self, org: str, spans: Sequence[Span], member: int | None = None) -> Sums:
        """The usage of spans, by rollup cells (as :meth:`cells` has them) or (grain None) raw
        records, added up, of one member or all; from one consistent state."""
        ...

    def members(self, org: str, numbers: Collection[int] | None = None) -> Mapping[int, str]:
        """The members' names by surrogate id, in its order; erased ones are absent.  Of those
        with some ``numbers`` alone, or of all."""
        ...

    def erase_member(self, org: str, member: str) -> bool:
        """Forget a member's name; their surrogate id stays.  Whether there was one."""
        ...

    def events(self, org: str, after: int = 0, limit: int = 100) -> Sequence[Event]:
        """Events of entries with ``seq`` > ``after``, in order."""
        ...

    def lots(self, org: str) -> Iterator[Lot]:
        """Every lot, by number: this and what follows is what ``verify`` compares."""
        ...

    def holds(self, org: str) -> Iterator[Hold]:
        """Every hold, ended ones too, by key."""
        ...

    def counters(self, org: str) -> Iterator[Counter]:
        """Every counter, by resource and start."""
        ...

    def items(self, org: str) -> Iterator[Item]:
        """Every item, by item and resource."""
        ...

    def charges(self, org: str) -> Iterator[Charge]:
        """Every charge's story, by number."""
        ...

    def subscriptions(self, org: str) -> Iterator[Subscription]:
        """Every subscription, by seq."""
        ...

    def limits(self, org: str) -> Iterator[LimitSet]:
        """Every limit of the org's own, by subject and grain."""
        ...

    def spends(self, org: str) -> Iterator[Spend]:
        """Everything added up for limits, by subject, grain and start."""
        ...

    def runs(self, org: str, *, unsettled: bool = False) -> Iterator[Run]:
        """Every run, by name; or only those whose state is active, suspended or pending."""
        ...

    def storages(self, org: str) -> Iterator[Storage]:
        """Every workspace's storage, by name."""
        ...

    def sizes(self, org: str) -> Iterator[Size]:
        """Every size reported, by workspace and time."""
        ...

    def silent_runs(self, before: int, limit: int = 1000) -> Sequence[tuple[str, str]]:
        """``(org, run)`` of open runs seen last before a time, the longest silent first, at
        most ``limit``.  Its cost follows what it answers, not how many runs there are."""
        ...

    def topups(self, org: str) -> Iterator[TopUp]:
        """Every top-up, by id."""
        ...

    def auto_topup(self, org: str) -> AutoTopUp | None:
        """The automatic top-up, where there is one."""
        ...

    def misfiled(self, org: str) -> Iterator[tuple[str, str]]:
        """Rows that disagree with themselves, as ``(row, what)``: a store may keep a value of a
        record in a column too, to find rows by it.  Nothing else compares the two."""
        ...

    def deliveries(self, org: str) -> Delivered | None:
        """How far the org's events are delivered, where it has had any."""
        ...

    def named(self, org: str) -> Iterator[tuple[int, str]]:
        """Every member's number and name, as they stand on record, by name."""
        ...

    # What background work stands on: scans without locks, whose answers may be old.

    def due_topups(
        self, until: int, limit: int = 100, *, livemode: bool
    ) -> Sequence[tuple[str, str]]:
        """``(org, id)`` of top-ups with ``due_at`` <= ``until``, of the accounts of a livemode:
        of each org the longest due, then of each the next, and so on; in each such round the
        longest due first, then by org and id.  Where more than ``limit`` are due, of those that
        :func:`billing_core.due.due_in_rounds` looks at: no more than three times as many."""
        ...

    def lapsing(self, until: int, limit: int = 100) -> Sequence[str]:
        """Orgs with something that lapses at ``until`` or before, by ``next_lapse``."""
        ...

    def paying(self, customer: str) -> Sequence[str]:
        """The orgs whose automatic top-up charges a provider's customer."""
        ...

    def topup_of(
        self, *, payment: str | None = None, checkout: str | None = None
    ) -> tuple[str, str] | None:
        """``(org, id)`` of the top-up that has a payment, or else a checkout, of the provider's
        on record, by its id there.  Its cost does not grow with how many there are."""
        ...

    def mark(self, name: str) -> int | None:
        """How far something has come that is no org's own, such as the sweep."""
        ...

    def set_mark(self, name: str, value: int) -> None:
        """It has come so far: the mark never goes back."""
        ...

    # What the machine's clock is held against.

    def clock(self) -> int | None:
        """The time by the store's own clock, which is not this process's: microseconds since
        1970.  None where it has none."""
        ...

    def latest(self) -> int | None:
        """The latest ``recorded_at`` of any account; None without accounts.  Asked seldom: it
        may look at each."""
        ...

    def undelivered(self, now: int, limit: int = 100) -> Sequence[str]:
        """Orgs with events that are not delivered, and that no deliverer has to itself; those
        first whose last one had them to itself until the longest ago, then by org."""
        ...

    def lease_events(self, org: str, deliverer: str, now: int, until: int) -> bool:
        """Have an org's events to oneself until a time; False where another has them.
        ``until`` <= ``now`` gives them up."""
        ...

    def waiting_events(self, org: str, limit: int = 100) -> Sequence[Event]:
        """The events that are not delivered, in order."""
        ...

    def delivered(self, org: str, deliverer: str, seq: int, n: int) -> bool:
        """The events up to one are delivered; False, changing nothing, where the deliverer
        has them no longer."""
        ...
