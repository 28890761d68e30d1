"""The store port: what the engine asks of the place where records are kept.

A store keeps rows; it never decides about money.
:class:`billing_core.testing.stores.conformance.StoreConformance` proves that one keeps what is
promised here.  Times are microseconds since 1970, UTC; amounts are nanos.
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
    """What was decided on has changed meanwhile, and nothing was written: load and decide again, in
    the same transaction.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class Transaction(Protocol):
    """One atomic write.  Leaving it without :meth:`commit` changes nothing."""

    def recall(self, wanted: Mapping[str, Wanted]) -> Loaded | None:
        """Give what the store remembers of what is wanted, but for entries.  If it takes no lock
        for this, it may be out of date.

        It is asked before any :meth:`load`.  What is decided on its answer may be told only after
        :meth:`commit` has returned, and only if that commit has written all of it.

        Args:
            wanted: What is wanted, by org.

        Returns:
            What is remembered of each org.  None: not all of it is remembered, or this store never
                remembers anything.

        Raises:
            StoreError: The store failed.
        """
        ...

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        """Lock the orgs, in sorted order, and load what is wanted of each.

        It may be called again before :meth:`commit`, and each call loads afresh.  Nobody else
        writes to these orgs between the first load and the end of the transaction.

        Args:
            wanted: What is wanted, by org.

        Returns:
            What was found, with an empty state for an org that is not known.

        Raises:
            StoreError: The store failed.
        """
        ...

    def commit(self, changes: Mapping[str, Changes]) -> None:
        """Make the changes durable, all or none.  It is called once, or again after Stale.

        The records belong to the store afterwards: nobody changes them any more.

        Args:
            changes: What to write, by org.

        Raises:
            Stale: The orgs are not as they were recalled or loaded, or a key is on record already.
                This is raised a bounded number of times: :meth:`load` then takes the locks and
                looks again.
            StoreError: The store failed.  If ``outcome_unknown`` is true, the changes may have been
                made (rule 3.6).
        """
        ...


class Store(Protocol):
    """Where the orgs' records are kept.  One store can be shared by any number of threads.

    Every method raises StoreError when the store fails, and never an error of the driver.  A read
    sees committed writes only, and each call sees one consistent state.  Lists are ordered as is
    said of each.  An org that is not known has no rows; that is not an error.

    Attributes:
        concurrency: How many transactions may run at once and gain by it; 1 if writers take turns.
    """

    concurrency: int
    """How many transactions may run at once and gain by it: 1 where writers take turns."""

    def level(self) -> int:
        """Tell the newest schema that every running version of the library knows (rule 3.9).

        A new database has :data:`LEVEL`.  One that the version before made keeps that version's
        level until an operator says, with ``billing migrate --finish``, that it runs nowhere any
        more.  Until then nothing is decided or written that the version before could not follow.

        Returns:
            The level, 1 or more.
        """
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Give a transaction, which begins when it is first asked for anything.

        Returns:
            A context manager; leaving its block ends the transaction.
        """
        ...

    def within(self, connection: object) -> Store:
        """Give this store inside a transaction that the host has open on its own connection (rule
        3.5).

        Its :meth:`transaction` is a savepoint.  Nothing is committed, tried again or set.

        Args:
            connection: A connection of the store's driver.

        Returns:
            The store inside that transaction.

        Raises:
            InvalidCommand: It is not a connection of the store's driver.
            StoreError: The store cannot join it.
        """
        ...

    def snapshot(self, wanted: Mapping[str, Wanted]) -> Loaded:
        """Load as :meth:`Transaction.load` does, without locks, from one consistent state.

        Args:
            wanted: What is wanted, by org.

        Returns:
            What was found, with an empty state for an org that is not known.
        """
        ...

    def publish(self, document: Published) -> None:
        """Keep a price book or a plan, and set its number as the mark :data:`PUBLISHED`, so that a
        document that was deleted is missed.

        The same document twice is a no-op.

        Args:
            document: The document, with the number that it is to have.

        Raises:
            StoreError: With ``retryable`` true: the number is taken.  The caller loads the
                documents again, and tries the next number.
        """
        ...

    def published(self, after: int = 0) -> Sequence[Published]:
        """List the price books and plans, in the order of their numbers.

        Args:
            after: Only those with a higher number.

        Returns:
            The documents.
        """
        ...

    def orgs(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        """List orgs' ids, sorted by code point: those with an account or with entries.

        Args:
            after: Only ids that sort behind this one.
            limit: How many at most.

        Returns:
            The ids.
        """
        ...

    def ahead(self, org: str) -> Store:
        """Give this store for somebody who is about to read all of an org once.

        What is asked first of each table may have been fetched at once, when this was called.  A
        store of which a question costs nothing gives itself.

        Args:
            org: Whose records will be read.

        Returns:
            A store with the same records.
        """
        ...

    def entry(self, org: str, key: str) -> Entry | None:
        """Find the entry of an operation and key.

        Args:
            org: Whose journal it is.
            key: The operation and the key, such as ``settle:req-1``.

        Returns:
            The entry, or None.
        """
        ...

    def entries(self, org: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """List entries of an org's journal, oldest first.

        Args:
            org: Whose journal it is.
            after: Only entries with a higher ``seq``.
            limit: How many at most.

        Returns:
            The entries.
        """
        ...

    def history(
        self,
        org: str,
        *,
        before: int | None = None,
        limit: int = 100,
        charges: bool = True,
    ) -> Sequence[Entry]:
        """List entries that moved money (those with a transfer), newest first.

        Args:
            org: Whose journal it is.
            before: Only entries with a lower ``seq``.  None: from the newest on.
            limit: How many at most.
            charges: False: without those of ``settle`` and ``deduct``, however many stand between.

        Returns:
            The entries.
        """
        ...

    def cells(
        self, org: str, grain: str, start: int, end: int, member: int | None = None
    ) -> Mapping[CellKey, Cell]:
        """Read the rollup cells of a grain that begin in a half-open span: what is kept, and what
        the usage of the entries after ``account.summed`` adds.

        Args:
            org: Whose usage it is.
            grain: ``hour``, ``day`` or ``period``.
            start: The first time at which a cell may begin.
            end: The time before which it begins.
            member: Only this member's, by number.  None: all.

        Returns:
            The cells by their keys.
        """
        ...

    def usage(
        self, org: str, start: int, end: int, member: int | None = None
    ) -> Sequence[tuple[int, UsageRecord]]:
        """List the usage that occurred in a half-open span, by time and ``seq``.

        Args:
            org: Whose usage it is.
            start: The first time that counts.
            end: The time before which it counts.
            member: Only this member's, by number.  None: all.

        Returns:
            For each, the ``seq`` of its entry and the record.
        """
        ...

    def usage_sums(self, org: str, spans: Sequence[Span], member: int | None = None) -> Sums:
        """Add up the usage of several spans, from one consistent state.

        Args:
            org: Whose usage it is.
            spans: Each is read from the rollup cells of its grain, as :meth:`cells` has them, or
                (grain None) from the single records.
            member: Only this member's, by number.  None: all.

        Returns:
            The sums.
        """
        ...

    def members(self, org: str, numbers: Collection[int] | None = None) -> Mapping[int, str]:
        """Read the names of members by their numbers, in the order of these.  A name that was
        erased is absent.

        Args:
            org: Whose members they are.
            numbers: Only these.  None: all.

        Returns:
            The names by number.
        """
        ...

    def erase_member(self, org: str, member: str) -> bool:
        """Forget a member's name; the number stays (rule 6.9).

        Args:
            org: Whose member it is.
            member: The name.

        Returns:
            Whether there was one.
        """
        ...

    def events(self, org: str, after: int = 0, limit: int = 100) -> Sequence[Event]:
        """List an org's events in order.

        Args:
            org: Whose events they are.
            after: Only those of entries with a higher ``seq``.
            limit: How many at most.

        Returns:
            The events.
        """
        ...

    def lots(self, org: str) -> Iterator[Lot]:
        """Read every lot of an org, by number.  This and the next methods are what ``verify`` holds
        against the journal.
        """
        ...

    def holds(self, org: str) -> Iterator[HoldRecord]:
        """Read every hold of an org, ended ones too, by key."""
        ...

    def counters(self, org: str) -> Iterator[Counter]:
        """Read every counter of an org, by resource and start."""
        ...

    def items(self, org: str) -> Iterator[Item]:
        """Read every item of an org, by item and resource."""
        ...

    def charges(self, org: str) -> Iterator[Charge]:
        """Read the story of every charge of an org that has one, by number."""
        ...

    def subscriptions(self, org: str) -> Iterator[Subscription]:
        """Read every subscription of an org, by ``seq``."""
        ...

    def limits(self, org: str) -> Iterator[LimitSet]:
        """Read every limit of the org's own, by subject and grain."""
        ...

    def spends(self, org: str) -> Iterator[Spend]:
        """Read everything that is added up for limits, by subject, grain and start."""
        ...

    def runs(self, org: str, *, unsettled: bool = False) -> Iterator[Run]:
        """Read every run of an org, by name.

        Args:
            org: Whose runs they are.
            unsettled: Only those that are active, suspended or pending.

        Returns:
            The runs.
        """
        ...

    def storages(self, org: str) -> Iterator[Storage]:
        """Read the storage of every workspace of an org, by name."""
        ...

    def sizes(self, org: str) -> Iterator[Size]:
        """Read every size that was reported, by workspace and time."""
        ...

    def silent_runs(self, before: int, limit: int = 1000) -> Sequence[tuple[str, str]]:
        """List open runs of all orgs that were seen last before a time, the longest silent first.

        What it costs depends on how many it answers, not on how many runs there are.

        Args:
            before: The time before which a run was seen last.
            limit: How many at most.

        Returns:
            Org and run of each.
        """
        ...

    def topups(self, org: str) -> Iterator[TopUp]:
        """Read every top-up of an org, by id."""
        ...

    def auto_topup(self, org: str) -> AutoTopUp | None:
        """Read the org's automatic top-up.

        Args:
            org: Whose it is.

        Returns:
            The automatic top-up, or None.
        """
        ...

    def misfiled(self, org: str) -> Iterator[tuple[str, str]]:
        """List the rows that contradict themselves.

        A store may keep a value of a record in a column too, to find rows by it.  Only this method
        compares the two.

        Args:
            org: Whose rows they are.

        Returns:
            For each, the row's name and what is wrong with it.
        """
        ...

    def deliveries(self, org: str) -> Delivered | None:
        """Tell how far an org's events are delivered.

        Args:
            org: Whose events they are.

        Returns:
            How far; None if the org has had none.
        """
        ...

    def named(self, org: str) -> Iterator[tuple[int, str]]:
        """Read every member's number and name as they are on record, by name."""
        ...

    # What background work stands on: scans without locks, whose answers may be old.

    def due_topups(
        self, until: int, limit: int = 100, *, livemode: bool
    ) -> Sequence[tuple[str, str]]:
        """List the top-ups of all orgs whose ``due_at`` has come: of each org the one that is due
        longest, then of each the next, and so on.  In each such round the longest due come
        first, then by org and id.

        It takes no lock, and its answer may be old.  If more than ``limit`` are due, they are among
        those that :func:`billing_core.ports.due_topups.due_in_rounds` looks at: at most three times
        as many.

        Args:
            until: ``due_at`` is at this time or before.
            limit: How many at most.
            livemode: Of accounts of this mode only.

        Returns:
            Org and id of each.
        """
        ...

    def lapsing(self, until: int, limit: int = 100) -> Sequence[str]:
        """List the orgs in which something has expired by a time, by their ``next_lapse``.  It
        takes no lock, and its answer may be old.

        Args:
            until: ``next_lapse`` is at this time or before.
            limit: How many at most.

        Returns:
            The orgs' ids.
        """
        ...

    def paying(self, customer: str) -> Sequence[str]:
        """List the orgs whose automatic top-up charges a customer of the provider.

        Args:
            customer: The provider's id of the customer.

        Returns:
            The orgs' ids.
        """
        ...

    def topup_of(
        self, *, payment: str | None = None, checkout: str | None = None
    ) -> tuple[str, str] | None:
        """Find the top-up that has a payment of the provider on record, or else a page.  What it
        costs does not grow with how many there are.

        Args:
            payment: The provider's id of the payment.
            checkout: The provider's id of the page.

        Returns:
            Org and id of the top-up, or None.
        """
        ...

    def mark(self, name: str) -> int | None:
        """Read a time or number that is kept for the whole database, such as how far the provider's
        news was read.

        Args:
            name: The mark's name.

        Returns:
            Its value; None if it was never set.
        """
        ...

    def set_mark(self, name: str, value: int) -> None:
        """Set a mark.  It never goes back: a lower value changes nothing.

        Args:
            name: The mark's name.
            value: How far it has come.
        """
        ...

    # What the machine's clock is held against.

    def clock(self) -> int | None:
        """Tell the time by the store's own clock, which the machine's clock is compared with (rule
        3.8).

        Returns:
            Microseconds since 1970; None if the store has no clock of its own.
        """
        ...

    def latest(self) -> int | None:
        """Tell the latest ``recorded_at`` of any account.  It is asked seldom, so it may look at
        each.

        Returns:
            The time; None if there are no accounts.
        """
        ...

    def undelivered(self, now: int, limit: int = 100) -> Sequence[str]:
        """List the orgs with events that are not delivered and that no deliverer has leased: first
        those whose last lease ended the longest ago, then by org.

        Args:
            now: The time at which a lease counts as ended.
            limit: How many at most.

        Returns:
            The orgs' ids.
        """
        ...

    def lease_events(self, org: str, deliverer: str, now: int, until: int) -> bool:
        """Lease an org's events to one deliverer until a time.

        Args:
            org: Whose events they are.
            deliverer: The name of the deliverer.
            now: The time by which another's lease has ended or not.
            until: When this lease ends by itself.  At ``now`` or before: the lease is given up.

        Returns:
            Whether the deliverer has them; False if another one has.
        """
        ...

    def waiting_events(self, org: str, limit: int = 100) -> Sequence[Event]:
        """List an org's events that are not delivered, in order.

        Args:
            org: Whose events they are.
            limit: How many at most.

        Returns:
            The events.
        """
        ...

    def delivered(self, org: str, deliverer: str, seq: int, n: int) -> bool:
        """Record that an org's events are delivered up to one of them.

        Args:
            org: Whose events they are.
            deliverer: Who has delivered them.
            seq: The ``seq`` of the event's entry.
            n: The event's number within that.

        Returns:
            False, and nothing changes, if the deliverer has lost its lease.
        """
        ...
