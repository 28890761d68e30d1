"""``execute`` is the one way of a write: load, decide, commit.  The named methods are
thin doors to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar

from billing_core.commands.accounts import (
    Close,
    OpenAccount,
    SetLimit,
    SetLowBalance,
    SetPlan,
)
from billing_core.commands.base import Command
from billing_core.commands.charges import Deduct, PriceUnpriced, Reverse, Settle
from billing_core.commands.credit import Grant, LotKind, UndoExpiry
from billing_core.commands.holds import Extend, Hold, Release
from billing_core.commands.outcomes import (
    Changed,
    Charged,
    Closed,
    Extended,
    Granted,
    Held,
    Opened,
    Outcome,
    Released,
    Restored,
    Reversed,
    Subscribed,
    Success,
)
from billing_core.decide import decide, wanted, widened
from billing_core.engine.background import Work
from billing_core.engine.catalogue_cache import Prices
from billing_core.engine.clock_check import ClockCheck
from billing_core.engine.group_commit import Coalescer, Part, Run
from billing_core.engine.hold_handles import OpenHold
from billing_core.engine.run_reads import TimeReads
from billing_core.engine.runs import OverTime, closed, closing, unwrapped
from billing_core.engine.system import system_clock, uuid7
from billing_core.engine.validation import check_wiring
from billing_core.errors import InvalidCommand
from billing_core.ledger.inputs import NeedMore, Terms
from billing_core.ports.clock import Clock, IdSource
from billing_core.ports.state import Wanted
from billing_core.ports.store import Stale, Store, Transaction
from billing_core.pricing.plan import Grain, Plan
from billing_core.pricing.price_book import PriceBook
from billing_core.records.topups import TopUpRules
from billing_core.values.money import Money
from billing_core.values.text import checked_name
from billing_core.values.times import DAY, duration, moment
from billing_core.values.usage import Usage

if TYPE_CHECKING:
    from billing_core.ports.payments import PaymentProvider

__all__ = ["Billing", "OpenHold"]

_S = TypeVar("_S", bound=Success)


class Billing(OverTime, TimeReads, Work):
    """The billing engine over a store.  Safe to share between threads.

    ``clock``, ``ids``: where time and ids come from.  The machine's own clock, the default, is
    checked before anything ends by it (ClockDoubt); another is the caller's word.
    ``tolerance``: how far ahead of the clock a command may be dated, and how far the machine's
    clock may be from the database's, where that has one.  ``publication_delay``: how long
    before it takes effect a change of price is published; no shorter than ``tolerance`` and
    ``catalogue_age``, for which a loaded catalogue is trusted, together.  All services on
    one store use the same.  ``payments``: moves the money of top-ups, within the limits of
    ``topups``.

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
        payments: PaymentProvider | None = None,
        topups: TopUpRules = TopUpRules(),  # noqa: B008  frozen
    ) -> None:
        super().__init__()
        check_wiring(store, clock, ids, payments, topups)
        self.store = store
        self.clock = clock
        self.ids = ids
        self.payments = payments
        self._topups = topups
        self._tolerance = duration("tolerance", tolerance)
        if self._tolerance > DAY:
            raise InvalidCommand("tolerance", tolerance, "a day at most")
        delay = duration("publication_delay", publication_delay)
        age = duration("catalogue_age", catalogue_age)
        if age + self._tolerance > delay:
            raise InvalidCommand(
                "catalogue_age",
                catalogue_age,
                f"with the tolerance, {tolerance}, at most the publication_delay, "
                f"{publication_delay}",
            )
        self._prices = Prices(store, clock, age=age, delay=delay)
        self._horizon = delay - age
        self._clock_check = ClockCheck(store, clock, self._tolerance)
        self._joined = False
        self._coalescer = Coalescer(self._run, width=store.concurrency)
        self._submit: Run = self._coalescer.submit

    # -- the one way of a write -------------------------------------------------

    def execute(self, commands: Iterable[Command]) -> list[Outcome]:
        """Decide the commands in order, in one commit; one outcome for each.

        A failed command is an outcome too (a Refusal, or an error as a value) and
        disturbs no other.  Raises StoreError alone: then none of it was done, or,
        where ``outcome_unknown``, all or none of it.
        """
        batch = checked_batch(commands)
        return self._submit(batch) if batch else []

    def finish(self, parts: Sequence[Part]) -> None:
        """Run parts that stand or fall alone, together where they can: what
        :class:`AsyncBilling` stands on."""
        if not self._joined:
            self._coalescer.finish(parts)
            return
        for part in parts:  # in the host's transaction, which an error ends
            part.outcomes = self._run(part.commands)

    def execute_many(self, commands: Iterable[Command], *, batch: int = 1000) -> Iterator[Outcome]:
        """The outcomes of any number of commands, in order, ``batch`` to a commit, as they
        come: for backfills.  Memory is bounded by one batch.

        A StoreError ends it; the batches before are done, and sending all of it again
        does the rest.
        """
        check_batch_size(batch)
        rest = each_of(commands)
        while some := list(islice(rest, batch)):
            yield from self.execute(some)

    def within(self, connection: object) -> Billing:
        """This engine inside the transaction that the host has open on ``connection``: its
        rows and the charges commit together or not at all.

        It never commits, retries or changes a setting, and wraps each call in a savepoint.
        SQLite needs a write transaction (``BEGIN IMMEDIATE``).  Meanwhile the engine
        outside it waits for these orgs, for a bounded time, and then raises a retryable
        StoreError: do not call it from inside.
        """
        inside = copy(self)
        inside.store = self.store.within(connection)
        inside.payments = None  # nobody is to wait for it in a transaction
        inside._joined = True
        inside._submit = inside._run  # no coalescing: this transaction is the caller's alone
        return inside

    def _run(self, batch: Sequence[Command]) -> list[Outcome]:
        now = self.clock()
        terms = Terms(
            self._prices.known(now),
            now,
            self._tolerance,
            horizon=self._horizon,
            topups=self._topups,
            ids=self.ids,
            level=self._prices.level,
            certain=self._clock_check.certain(now, joined=self._joined),
        )
        wants = wanted(batch, now)
        while True:
            try:
                with self.store.transaction() as transaction:
                    return _decided(transaction, wants, batch, terms)
            except NeedMore:  # of what was published: not to be read inside a transaction
                terms = self._prices.refreshed(terms)

    def _do(self, command: Command, kind: type[_S]) -> _S:
        return unwrapped(self.execute([command]), kind)

    def _open_hold(self, command: Hold) -> OpenHold:
        return OpenHold(self, command, self._do(command, Held))

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
        """Open an org's account; see :class:`OpenAccount`.  The same again is a no-op, also
        where it was closed: closing is final."""
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
        project: str | None = None,
        reference: str | None = None,
        at: datetime | None = None,
    ) -> OpenHold:
        """Check and reserve; raises Refused beyond what is available.

        Use the answer in a ``with`` statement (``async with``, of an :class:`AsyncHold`), or
        settle by its ``key``.  Without a ``key`` a fresh one is made: then a repeated call is
        another hold.
        """
        command = Hold(
            org, self.ids() if key is None else key, cost=cost, life=life, resource=resource,
            member=member, project=project, reference=reference, at=at,
        )  # fmt: skip
        return self._open_hold(command)

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
        as_held: bool = False,
        part: bool | None = None,
        member: str | None = None,
        project: str | None = None,
        reference: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> Charged:
        """Charge what was really used, whatever the balance; see :class:`Settle`."""
        command = Settle(
            org, key, usage=usage, hold=hold, more=more, as_held=as_held, part=part,
            member=member, project=project, reference=reference, occurred_at=occurred_at, at=at,
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
        project: str | None = None,
        reference: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> Charged:
        """Charge at once; raises Refused beyond what is available; see :class:`Deduct`."""
        command = Deduct(
            org, key, cost=cost, resource=resource, member=member, project=project,
            reference=reference, occurred_at=occurred_at, at=at,
        )  # fmt: skip
        return self._do(command, Charged)

    def price_unpriced(
        self,
        org: str,
        key: str,
        *,
        charge: int,
        version: str,
        override: bool = False,
        at: datetime | None = None,
    ) -> Charged:
        """Charge what a settlement left unpriced; see :class:`PriceUnpriced`."""
        command = PriceUnpriced(org, key, charge=charge, version=version, override=override, at=at)
        return self._do(command, Charged)

    def reverse(
        self,
        org: str,
        key: str,
        *,
        charge: int,
        amount: Money | None = None,
        undo_usage: bool = False,
        expires_at: datetime | None = None,
        reason: str | None = None,
        at: datetime | None = None,
    ) -> Reversed:
        """Give a charge back, whole or in part; ``undo_usage`` where what it charged for did not
        happen.  See :class:`Reverse`."""
        command = Reverse(
            org, key, charge=charge, amount=amount, undo_usage=undo_usage,
            expires_at=expires_at, reason=reason, at=at,
        )  # fmt: skip
        return self._do(command, Reversed)

    def undo_expiry(
        self,
        org: str,
        expiry: int,
        *,
        expires_at: datetime | None,
        reason: str | None = None,
        at: datetime | None = None,
    ) -> Restored:
        """Bring back what expired too early; see :class:`UndoExpiry`, and :meth:`expiries`."""
        command = UndoExpiry(org, expiry, expires_at=expires_at, reason=reason, at=at)
        return self._do(command, Restored)

    def close(
        self,
        org: str,
        *,
        remainder: Literal["refund", "write_off"],
        at: datetime | None = None,
    ) -> Closed:
        """Close the account for good, its storage charged up to that moment; see
        :class:`Close`."""
        close = Close(org, remainder=remainder, at=at)
        return closed(self.execute(closing(self.store, self.clock(), close)))

    def set_plan(
        self,
        org: str,
        key: str,
        plan: str | None,
        *,
        paused: bool = False,
        at: datetime | None = None,
    ) -> Subscribed:
        """Subscribe to a plan, change, pause or end it; see :class:`SetPlan`."""
        return self._do(SetPlan(org, key, plan=plan, paused=paused, at=at), Subscribed)

    def set_limit(
        self,
        org: str,
        key: str,
        amount: Money | None,
        *,
        member: str | None = None,
        project: str | None = None,
        every: Literal["member", "project"] | None = None,
        per: Grain = "period",
        alerts: Iterable[int] = (),
        blocks: bool = True,
        at: datetime | None = None,
    ) -> Changed:
        """Set what an org, a member or a project may be charged; see :class:`SetLimit`."""
        command = SetLimit(
            org, key, amount=amount, member=member, project=project, every=every, per=per,
            alerts=alerts, blocks=blocks, at=at,
        )  # fmt: skip
        return self._do(command, Changed)

    def set_low_balance(
        self, org: str, key: str, amount: Money | None, *, at: datetime | None = None
    ) -> Changed:
        """Set where the event ``low_balance`` is raised; see :class:`SetLowBalance`."""
        return self._do(SetLowBalance(org, key, amount=amount, at=at), Changed)

    def erase_member(self, org: str, member: str) -> bool:
        """Forget a member's name: records keep the surrogate id alone.  Their keys cannot
        be replayed afterwards.  Whoever comes with that name later is a new member, with all of
        a member's limits unused: nothing on record says that it was the same person."""
        return self.store.erase_member(checked_name("org", org), checked_name("member", member))

    def accept_clock(self) -> datetime:
        """Say, as an operator, that this machine's clock is right although nobody used the
        store for more than a day before the time that it says; that time.  Look at it first:
        what has ended by then ends for good.

        Raises ClockDoubt where the store has a clock of its own and that differs.
        """
        return moment(self._clock_check.accept())

    def publish(self, document: PriceBook | Plan) -> str:
        """Publish a price book or a version of a plan; its full name.  The same one again is
        a no-op.

        Raises InvalidCommand where it would change terms sooner than the publication
        delay allows, or where the version's name is taken; ClockDoubt where the clock is not
        the database's.
        """
        if not isinstance(document, PriceBook | Plan):
            raise InvalidCommand("document", document, "a PriceBook or a Plan")
        self._clock_check.certain(self.clock())
        return self._prices.publish(document)


def _decided(
    transaction: Transaction, wants: dict[str, Wanted], batch: Sequence[Command], terms: Terms
) -> list[Outcome]:
    outcomes = _from_memory(transaction, wants, batch, terms)
    while outcomes is None:
        try:
            loaded = transaction.load(wants)
            while widened(wants, loaded, terms):
                loaded = transaction.load(wants)
            decided, changes = decide(loaded, batch, terms)
            if changes:
                transaction.commit(changes)
            outcomes = decided
        except NeedMore as need:
            if need.org is None:
                raise
            need.widen(wants)
        except Stale:
            continue
    return outcomes


def _from_memory(
    transaction: Transaction, wants: Mapping[str, Wanted], batch: Sequence[Command], terms: Terms
) -> list[Outcome] | None:
    """The outcomes of commands that all succeed on what the store remembers; None where one
    does not.  A refusal, a replay, or that nothing was due is not told from memory: no commit
    confirms it."""
    recalled = transaction.recall(wants)
    if recalled is None or widened(wants, recalled, terms):
        return None
    try:
        outcomes, changes = decide(recalled, batch, terms)
        for each in outcomes:
            if not isinstance(each, Success):
                return None
        if changes.keys() != wants.keys():
            return None
        transaction.commit(changes)
    except (NeedMore, Stale):
        return None
    return outcomes


def check_batch_size(batch: int) -> None:
    if type(batch) is not int or not 1 <= batch <= 10_000:
        raise InvalidCommand("batch", batch, "an int from 1 to 10,000")


def each_of(commands: Iterable[Command]) -> Iterator[Command]:
    """The commands one by one; raises InvalidCommand at once for what has none."""
    if not isinstance(commands, Iterable):
        raise _no_commands(commands)
    return iter(commands)


def checked_batch(commands: Iterable[Command]) -> list[Command]:
    """The commands as a list; raises InvalidCommand for anything else."""
    if not isinstance(commands, (list, Iterable)):  # which answers for a list at once
        raise _no_commands(commands)
    batch = list(commands)
    for command in batch:
        if not isinstance(command, Command):
            raise InvalidCommand("commands", command, "commands, such as Settle(...)")
    return batch


def _no_commands(given: object) -> InvalidCommand:
    return InvalidCommand("commands", given, "commands, such as [Settle(...)]")
