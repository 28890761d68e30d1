"""The engine: commands to a store and back, and the reads.

``execute`` is the one way of a write: load, decide, commit.  The named methods are
thin doors to it.  This is the only module of the core that knows the time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeVar
from uuid import UUID

from attrs import frozen

from billing_core.audit import Checkpoint, Discrepancy
from billing_core.commands import (
    Close,
    Command,
    Deduct,
    Extend,
    Grant,
    Hold,
    LotKind,
    OpenAccount,
    PriceUnpriced,
    Release,
    Reverse,
    Settle,
    Usage,
)
from billing_core.decide import Terms, decide, estimate, project, wanted
from billing_core.errors import (
    BillingError,
    InvalidCommand,
    NotFound,
    Refused,
    StoreError,
)
from billing_core.explain import Explanation, explain
from billing_core.ledger import Ledger, NeedMoreDebts
from billing_core.metering import Quote
from billing_core.money import Money
from billing_core.outcomes import (
    Charged,
    Closed,
    Extended,
    Granted,
    Held,
    Opened,
    Outcome,
    Refusal,
    Released,
    Reversed,
    Success,
    outcome,
)
from billing_core.ports import Clock, IdSource, Store, Wanted
from billing_core.pricing import Catalogue, PriceBook, Published
from billing_core.records import Event
from billing_core.rollups import Span, cover
from billing_core.statements import Balance, HistoryRow, balance, history_row
from billing_core.times import PeriodName, duration, micros, moment, window
from billing_core.usage import Sums, UsageReport, add_cells, add_records, report
from billing_core.verify import Progress, Verification, tampered_books, verify_org

__all__ = ["Billing", "Check", "OpenHold", "system_clock", "uuid7"]

_S = TypeVar("_S", bound=Success)
_EVER = 2**62  # beyond any time


def system_clock() -> int:
    """The machine's UTC time, in microseconds."""
    return time.time_ns() // 1000


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): ordered by time, random in the rest."""
    bits = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    bits = bits & ~(0xF << 76) | 0x7 << 76
    return str(UUID(int=bits & ~(0x3 << 62) | 0x2 << 62))


@frozen
class Check:
    """Whether a cost could be held now: nanos ``needed`` and ``available`` for it."""

    needed: int
    available: int
    refusal: Refusal | None

    @property
    def allowed(self) -> bool:
        return self.refusal is None


class Billing:
    """The billing engine over a store.  Safe to share between threads.

    ``clock``, ``ids``: where time and ids come from.  ``tolerance``: how far ahead of
    the clock a command may be dated.  ``publication_delay``: how long before it takes
    effect a change of price is published; longer than ``catalogue_age``, for which
    a loaded catalogue is trusted.

    Methods that write raise Refused, InvalidCommand, Conflict, NotFound or StoreError;
    after a StoreError whose ``outcome_unknown`` is true, send the same again.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock = system_clock,
        ids: IdSource = uuid7,
        tolerance: timedelta = timedelta(minutes=5),
        publication_delay: timedelta = timedelta(minutes=10),
        catalogue_age: timedelta = timedelta(minutes=1),
    ) -> None:
        self.store = store
        self.clock = clock
        self.ids = ids
        self._tolerance = duration("tolerance", tolerance)
        self._delay = duration("publication_delay", publication_delay)
        self._age = duration("catalogue_age", catalogue_age)
        if self._age >= self._delay:
            raise InvalidCommand(
                "catalogue_age",
                catalogue_age,
                f"less than the publication_delay, {publication_delay}",
            )
        self._catalogue = Catalogue()
        self._catalogue_loaded: int | None = None
        self._catalogue_lock = threading.Lock()

    # -- the one way of a write -------------------------------------------------

    def execute(self, commands: Iterable[Command]) -> list[Outcome]:
        """Decide the commands in order, in one commit; one outcome for each.

        A failed command is an outcome too (a Refusal, or an error as a value) and
        disturbs no other.  Raises StoreError alone: then none of it was done, or,
        where ``outcome_unknown``, all or none of it.
        """
        batch = list(commands)
        if not batch:
            return []
        for command in batch:
            if not isinstance(command, Command):
                raise InvalidCommand("commands", command, "commands, such as Settle(...)")
        now = self.clock()
        terms = Terms(self._catalogue_for(batch, now), now, self._tolerance)
        wants = wanted(batch, now)
        with self.store.transaction() as transaction:
            while True:
                try:
                    outcomes, changes = decide(transaction.load(wants), batch, terms)
                    break
                except NeedMoreDebts as need:
                    wants[need.org].debts *= 16
            if changes:
                transaction.commit(changes)
        return outcomes

    def _do(self, command: Command, kind: type[_S]) -> _S:
        [result] = self.execute([command])
        if isinstance(result, Refusal):
            raise Refused(result)
        if isinstance(result, BillingError):
            raise result
        assert isinstance(result, kind)
        return result

    # -- commands ---------------------------------------------------------------

    def open_account(
        self,
        org: str,
        *,
        currency: str = "USD",
        livemode: bool = True,
        anchor: datetime | None = None,
        at: datetime | None = None,
    ) -> Opened:
        """Open an org's account; see :class:`OpenAccount`.  The same again is a no-op."""
        command = OpenAccount(org, currency=currency, livemode=livemode, anchor=anchor, at=at)
        return self._do(command, Opened)

    def grant(
        self,
        org: str,
        key: str,
        amount: Money,
        *,
        kind: LotKind = "purchased",
        priority: int = 0,
        expires_at: datetime | None = None,
        scope: Iterable[str] | None = None,
        reference: str | None = None,
        at: datetime | None = None,
    ) -> Granted:
        """Credit comes in, as one lot; see :class:`Grant`."""
        command = Grant(
            org, key, amount=amount, kind=kind, priority=priority, expires_at=expires_at,
            scope=scope, reference=reference, at=at,
        )  # fmt: skip
        return self._do(command, Granted)

    def hold(
        self,
        org: str,
        cost: Money | Usage,
        *,
        life: timedelta,
        key: str | None = None,
        resource: str | None = None,
        member: str | None = None,
        reference: str | None = None,
        at: datetime | None = None,
    ) -> OpenHold:
        """Check and reserve; raises Refused beyond what is available.

        Use the answer in a ``with`` statement, or settle by its ``key``.  Without a
        ``key`` a fresh one is made: then a repeated call is another hold.
        """
        command = Hold(
            org, self.ids() if key is None else key, cost=cost, life=life, resource=resource,
            member=member, reference=reference, at=at,
        )  # fmt: skip
        return OpenHold(self, command, self._do(command, Held))

    def extend(
        self,
        org: str,
        key: str,
        *,
        hold: str,
        life: timedelta,
        add: Money | None = None,
        at: datetime | None = None,
    ) -> Extended:
        """Let a hold live longer, and hold more; see :class:`Extend`."""
        return self._do(Extend(org, key, hold=hold, life=life, add=add, at=at), Extended)

    def release(
        self, org: str, hold: str, *, key: str | None = None, at: datetime | None = None
    ) -> Released:
        """End a hold of which nothing was used; its key serves as this one's."""
        return self._do(Release(org, hold if key is None else key, hold=hold, at=at), Released)

    def settle(
        self,
        org: str,
        key: str,
        usage: Usage,
        *,
        hold: str | None = None,
        more: bool = False,
        member: str | None = None,
        reference: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> Charged:
        """Charge what was really used, whatever the balance; see :class:`Settle`."""
        command = Settle(
            org, key, usage=usage, hold=hold, more=more, member=member, reference=reference,
            occurred_at=occurred_at, at=at,
        )  # fmt: skip
        return self._do(command, Charged)

    def deduct(
        self,
        org: str,
        key: str,
        cost: Money | Usage,
        *,
        resource: str | None = None,
        member: str | None = None,
        reference: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> Charged:
        """Charge at once; raises Refused beyond what is available; see :class:`Deduct`."""
        command = Deduct(
            org, key, cost=cost, resource=resource, member=member, reference=reference,
            occurred_at=occurred_at, at=at,
        )  # fmt: skip
        return self._do(command, Charged)

    def price_unpriced(
        self, org: str, key: str, *, charge: int, version: str, at: datetime | None = None
    ) -> Charged:
        """Charge what a settlement left unpriced; see :class:`PriceUnpriced`."""
        return self._do(PriceUnpriced(org, key, charge=charge, version=version, at=at), Charged)

    def reverse(
        self,
        org: str,
        key: str,
        *,
        charge: int,
        amount: Money | None = None,
        expires_at: datetime | None = None,
        reason: str | None = None,
        at: datetime | None = None,
    ) -> Reversed:
        """Give a charge back, whole or in part; see :class:`Reverse`."""
        command = Reverse(
            org, key, charge=charge, amount=amount, expires_at=expires_at, reason=reason, at=at
        )
        return self._do(command, Reversed)

    def close(
        self,
        org: str,
        *,
        remainder: Literal["refund", "write_off"],
        at: datetime | None = None,
    ) -> Closed:
        """Close the account; see :class:`Close`."""
        return self._do(Close(org, remainder=remainder, at=at), Closed)

    def erase_member(self, org: str, member: str) -> bool:
        """Forget a member's name: records keep the surrogate id alone.  Their keys cannot
        be replayed afterwards."""
        return self.store.erase_member(org, member)

    # -- prices -----------------------------------------------------------------

    def publish(self, book: PriceBook) -> str:
        """Publish a price book; its full version name.  The same book again is a no-op.

        Raises InvalidCommand where it would change a price sooner than the
        publication delay allows, or where the version's name is taken.
        """
        while True:
            now = self.clock()
            catalogue = self._load_catalogue(now)
            catalogue.checked(book, now=now, delay=self._delay)
            if any(known.version == book.version for known, _ in catalogue.books.values()):
                return catalogue.version(book.version)
            published = Published.of(book, len(catalogue.books) + 1, now)
            try:
                self.store.publish(published)
            except StoreError as error:
                if error.retryable and not error.outcome_unknown:
                    continue  # somebody else published meanwhile
                raise
            return self._load_catalogue(self.clock()).version(book.version)

    def catalogue(self) -> Catalogue:
        """All published prices, as of now."""
        return self._load_catalogue(self.clock())

    def _load_catalogue(self, now: int) -> Catalogue:
        with self._catalogue_lock:
            more = self.store.books(len(self._catalogue.books))
            if more:
                known = [published for published, _ in self._catalogue.books.values()]
                try:
                    self._catalogue = Catalogue([*known, *more])
                except (ValueError, KeyError, TypeError, BillingError) as error:
                    raise StoreError(f"a price book on record cannot be read: {error}") from error
            self._catalogue_loaded = now
            return self._catalogue

    def _catalogue_for(self, batch: Sequence[Command], now: int) -> Catalogue:
        loaded = self._catalogue_loaded
        catalogue = self._catalogue
        if loaded is None or not loaded <= now < loaded + self._age:
            return self._load_catalogue(now)
        # A first price may have been published since: look before something goes unpriced.
        for command in batch:
            usage = getattr(command, "usage", None) or getattr(command, "cost", None)
            if isinstance(usage, Usage) and not catalogue.names(usage):
                return self._load_catalogue(now)
            if isinstance(command, PriceUnpriced) and not catalogue.has(command.version):
                return self._load_catalogue(now)
        return catalogue

    def quote(self, org: str, usage: Usage, *, at: datetime | None = None) -> Quote:
        """The most that a usage can cost the org at a time (default: now), rounded up.

        Raises UnknownPrice, NotFound.
        """
        now = self.clock()
        time_ = now if at is None else micros("at", at)
        ledger = self._projected(org, usage=usage, at=time_, now=now)
        return estimate(ledger, usage, time_, self._catalogue)

    # -- reads ------------------------------------------------------------------

    def _projected(
        self, org: str, *, usage: Usage | None = None, at: int | None = None, now: int
    ) -> Ledger:
        command = None
        want = Wanted(until=now)
        if usage is not None:
            command = Settle(org, "quote", usage=usage, at=moment(now if at is None else at))
            self._catalogue_for([command], now)
            want = wanted([command], now)[org]
            want.until = now
        while True:
            state = self.store.snapshot({org: want})[org]
            if state.account is None:
                raise NotFound("org", org, "open its account first")
            try:
                return project(org, state, now)
            except NeedMoreDebts:
                want.debts *= 16

    def balance(self, org: str) -> Balance:
        """The org's credit now, with what has lapsed by now applied."""
        now = self.clock()
        return balance(self._projected(org, now=now), now)

    def check(self, org: str, cost: Money | Usage, *, resource: str | None = None) -> Check:
        """Whether a hold of this cost would succeed now.  It reserves nothing."""
        now = self.clock()
        command = Hold(org, "check", cost=cost, resource=resource, life=timedelta(seconds=1))
        if isinstance(cost, Usage):
            ledger = self._projected(org, usage=cost, now=now)
            needed, resource = estimate(ledger, cost, now, self._catalogue).amount, cost.resource
        else:
            ledger = self._projected(org, now=now)
            needed = cost.nanos
            if cost.currency != ledger.account.currency:
                raise InvalidCommand("cost", cost.currency, ledger.account.currency)
        available = ledger.available(resource)
        refusal = None
        if ledger.account.closed_at is not None:
            refusal = Refusal(org, command.key, "closed")
        elif needed > max(0, available):
            refusal = Refusal(
                org, command.key, "insufficient_credit", needed - available, "balance"
            )
        return Check(needed, available, refusal)

    def history(self, org: str, *, limit: int = 100, before: int | None = None) -> list[HistoryRow]:
        """What moved the balance, newest first; ``before``: the ``seq`` to go on from."""
        if type(limit) is not int or not 1 <= limit <= 500:
            raise InvalidCommand("limit", limit, "an int from 1 to 500")
        self._account_exists(org)
        return [history_row(e) for e in self.store.history(org, before=before, limit=limit)]

    def _account_exists(self, org: str) -> None:
        self._projected(org, now=0)

    def usage(
        self, org: str, period: PeriodName = "current", *, member: str | None = None
    ) -> UsageReport:
        """Usage over a period, of all members or of one, whole and by member."""
        now = self.clock()
        account = self._projected(org, now=now).account
        span = window(period, anchor=account.anchor, opened=account.opened_at, now=now)
        names = self.store.members(org)
        only: int | None = None
        if member is not None:
            only = next((number for number, name in names.items() if name == member), -1)
        if period in ("current", "all_time"):
            # These are made of whole billing periods, whatever their length.
            first, last = (-_EVER, _EVER) if period == "all_time" else span
            spans = [Span("period", first, last)]
        else:
            spans = cover(span)
        sums: Sums = {}
        for grain, start, end in spans:
            if grain is None:
                records = self.store.usage(org, start, end, only)
                add_records(sums, (record for _, record in records))
            else:
                add_cells(sums, self.store.cells(org, grain, start, end, only))
        return report(org, account.currency, period, span, sums, names)

    def explain(self, org: str, charge: int) -> Explanation:
        """Everything behind a charge: usage, price version, arithmetic, lots."""
        want = Wanted(until=0, charges={charge})
        state = self.store.snapshot({org: want})[org]
        if state.account is None:
            raise NotFound("org", org, "open its account first")
        entry = state.subjects.get(charge)
        if entry is None or entry.usage is None or entry.op not in ("settle", "deduct", "price"):
            raise NotFound("charge", charge, "a charge is named by the seq that it answered")
        story = Ledger(org, state, 0).story(entry)
        member = self.store.members(org).get(entry.usage.member) if entry.usage.member else None
        currency = state.account.currency
        return explain(entry, story, self.catalogue(), currency, state.lots, member)

    def find(self, org: str, op: str, key: str) -> Success | None:
        """The outcome on record for an operation's key, such as ``("settle", "req-1")``."""
        entry = self.store.entry(org, f"{op}:{key}")
        return None if entry is None else outcome(entry, replayed=True)

    def events(self, org: str, *, after: int = 0, limit: int = 100) -> Sequence[Event]:
        """What the host may want to know, in order, after an entry's ``seq``."""
        return self.store.events(org, after, limit)

    # -- proof ------------------------------------------------------------------

    def verify(
        self,
        org: str | None = None,
        *,
        checkpoints: Mapping[str, Checkpoint] | None = None,
        progress: Progress | None = None,
    ) -> Verification:
        """Re-derive every balance, lot, hold, counter and rollup from the journal.

        For one org or all; from the start, or, for orgs that ``checkpoints`` name, from
        there on (the entry at the checkpoint must be the one that it was).
        ``progress(org, entries read, entries in all)`` is called as it goes.

        It reads while others write: verify a database at rest, or a copy.
        """
        catalogue = self.catalogue()
        found: list[Discrepancy] = tampered_books(catalogue)
        made: dict[str, Checkpoint] = {}
        entries = orgs = 0
        for name in [org] if org is not None else self._orgs():
            audit = verify_org(self.store, name, catalogue, (checkpoints or {}).get(name), progress)
            orgs += 1
            entries += 0 if audit.account is None else audit.account.seq
            found += audit.found
            if not audit.found and audit.account is not None:
                made[name] = audit.checkpoint()
        for name in (checkpoints or {}) if org is None else ():
            if name not in made and not any(each.org == name for each in found):
                found.append(Discrepancy(name, "account", "in a checkpoint, but not on record"))
        return Verification(entries, orgs, tuple(found), made)

    def _orgs(self) -> Iterator[str]:
        after = ""
        while page := self.store.orgs(after):
            yield from page
            after = page[-1]


class OpenHold:
    """A hold that was made.  As a context manager it settles what was reported, releases
    itself only if nothing was, and on a StoreError is left to expire."""

    def __init__(self, billing: Billing, command: Hold, held: Held) -> None:
        self.held = held
        self.charges: list[Charged] = []
        """What leaving the ``with`` block charged."""
        self._billing = billing
        self._command = command
        self._reported: list[Usage] = []

    @property
    def key(self) -> str:
        """The hold's name, for ``settle``, ``extend`` and ``release``."""
        return self.held.key

    @property
    def amount(self) -> int:
        """Nanos held."""
        return self.held.amount

    @property
    def expires_at(self) -> datetime:
        return self.held.expires_at

    def report(self, usage: Usage) -> None:
        """What was really used; may be called again for further usage."""
        if not isinstance(usage, Usage):
            raise InvalidCommand("usage", usage, "a Usage, such as tokens(...) returns")
        self._reported.append(usage)

    def __enter__(self) -> OpenHold:
        return self

    def __exit__(self, *_: object) -> None:
        command = self._command
        if not self._reported:
            self._billing.release(command.org, self.key)
            return
        last = len(self._reported) - 1
        settles = [
            Settle(
                command.org,
                self.key if index == 0 else f"{self.key}/{index}",
                usage=usage,
                hold=self.key,
                more=index < last,
                member=command.member,
                reference=command.reference,
            )
            for index, usage in enumerate(self._reported)
        ]
        for result in self._billing.execute(settles):
            if isinstance(result, BillingError):
                raise result
            assert isinstance(result, Charged)
            self.charges.append(result)
