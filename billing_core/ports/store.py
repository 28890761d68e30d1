"""What the engine asks of a store.

A store keeps rows; it never decides about money.  Prove one right with
:class:`billing_core.testing.stores.conformance.StoreConformance`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from billing_core.errors import StoreError
from billing_core.ports.state import Changes, Loaded, Wanted
from billing_core.pricing.catalogue import Published
from billing_core.records.events import Delivered, Event
from billing_core.records.ledger import (
    Charge,
    Entry,
    HoldRecord,
    LimitSet,
    Lot,
    Spend,
    Subscription,
)
from billing_core.records.rollups import Span, Sums
from billing_core.records.runs import Run
from billing_core.records.storage import Size, Storage
from billing_core.records.topups import AutoTopUp, TopUp
from billing_core.records.usage import Cell, CellKey, Counter, Item, UsageRecord

__all__ = ["Stale", "Store", "Transaction"]
NEWS = ("heard:live", "heard:test", "news:live", "news:test")
"""The marks that say up to when a provider's news was read, by mode: by the provider's clock, and
those of the previous version by ours."""

PUBLISHED = "published"
"""The mark that says how many documents were published."""


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

    def holds(self, org: str) -> Iterator[HoldRecord]:
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
        :func:`billing_core.ports.due_topups.due_in_rounds` looks at: no more than three times as
        many."""
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
