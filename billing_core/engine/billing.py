"""The billing engine: every method that a platform's services call.

``execute`` is the one way of a write: load, decide, commit; the named methods that write are
thin doors to it.  Reads never write, and none is needed to decide.  What only a report needs is
imported by the report: a service that charges starts sooner.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar

from billing_core.charging.charges import quote_usage
from billing_core.charging.limits import Use
from billing_core.commands.accounts import (
    Close,
    OpenAccount,
    SetLimit,
    SetLowBalance,
    SetPlan,
)
from billing_core.commands.base import Command, check_positive
from billing_core.commands.charges import Deduct, PriceUnpriced, Reverse, Settle
from billing_core.commands.credit import Grant, LotKind, UndoExpiry
from billing_core.commands.holds import Extend, Hold, Release
from billing_core.commands.outcomes import (
    AutoTopUpSet,
    Changed,
    Charged,
    Closed,
    Extended,
    Granted,
    Held,
    Opened,
    Outcome,
    RefundRequested,
    Released,
    Restored,
    Reversed,
    RunStatus,
    StorageStatus,
    Subscribed,
    Success,
    TopUpUpdated,
    unwrapped,
)
from billing_core.commands.runs import (
    ForgiveRun,
    Heartbeat,
    ResumeRun,
    SettleRun,
    StartRun,
    StopRun,
    SuspendRun,
    UndoForgiveness,
)
from billing_core.commands.storage import ReportStorage
from billing_core.commands.topups import AskRefund, OrderTopUp, SetAutoTopUp
from billing_core.decide import OPERATIONS, ledger_now, wanted, widened
from billing_core.engine.background import Deliver, Pending, Work
from billing_core.engine.batch import check_batch_size, checked_batch, decide_within, each_of
from billing_core.engine.catalogue_cache import Prices
from billing_core.engine.check import Check, check
from billing_core.engine.clock_check import ClockCheck
from billing_core.engine.default_keys import told_at
from billing_core.engine.group_commit import Coalescer, Submission
from billing_core.engine.hold_handles import OpenHold
from billing_core.engine.lookups import (
    account_record,
    events_with_names,
    every_org,
    first_entry_at,
    member_names,
    member_number,
    topup_record,
)
from billing_core.engine.provider_calls import InFlight
from billing_core.engine.silent_runs import SilentRuns
from billing_core.engine.storage_bills import closed, closing, storage_bills
from billing_core.engine.system import system_clock, uuid7
from billing_core.engine.topups import AutoTopUpStatus, TopUpPage, TopUps
from billing_core.engine.validation import check_wiring
from billing_core.errors import Conflict, InvalidCommand, NotFound, PaymentError, StoreError
from billing_core.ledger.debts import own_story, story_of
from billing_core.ledger.inputs import NeedMore, Terms
from billing_core.ledger.ledger import CHARGES, Ledger
from billing_core.ports.answers import UsageOf
from billing_core.ports.clock import Clock, IdSource
from billing_core.ports.state import Wanted
from billing_core.ports.store import Store
from billing_core.pricing.catalogue import Catalogue, Priced
from billing_core.pricing.plan import Grain, Plan
from billing_core.pricing.price_book import PriceBook
from billing_core.pricing.rating import Quote
from billing_core.records.events import Event
from billing_core.records.ledger import Account
from billing_core.records.rollups import Span, Sums, cover
from billing_core.records.runs import Run
from billing_core.records.topups import NEEDS_METHOD, AutoTopUp, TopUp, TopUpRules
from billing_core.values.currencies import to_minor, to_nanos
from billing_core.values.money import Money
from billing_core.values.text import checked_name
from billing_core.values.times import (
    DAY,
    PeriodName,
    Window,
    billing_period,
    duration,
    micros,
    moment,
    window,
)
from billing_core.values.usage import Usage

if TYPE_CHECKING:
    from billing_core.audit.state import Checkpoint
    from billing_core.audit.verify import Progress, Verification
    from billing_core.ports.payments import Notice, PaymentProvider
    from billing_core.pricing.differences import Difference
    from billing_core.reports.explain import Explanation
    from billing_core.reports.statements import Balance, Expiry, HistoryPage, HistoryRow
    from billing_core.reports.usage import DayUsage, Running, UsageReport
    from billing_core.runs.views import RunQuote, RunView
    from billing_core.storage.views import StorageQuotaCheck, StorageView
    from billing_core.topups.reconciliation import Reconciliation

__all__ = ["Billing", "OpenHold"]

_LONG = duration("runtime", timedelta(days=3652))
_SCAN = 2_000  # entries looked at for one page

_A = TypeVar("_A")
_S = TypeVar("_S", bound=Success)


class Billing:
    """The billing engine over a store: every method that a platform's services call.  One engine
    can be shared by any number of threads.

    All services on one store give the same ``tolerance``, ``publication_delay``, ``catalogue_age``
    and ``topups``.

    What many methods have in common:

    - ``org``: the customer's id, the name of its account.
    - ``key``: the name that you give a write.  The same key with the same content, sent again at
      any later time, does nothing twice and gets the first outcome; it is unique within an org and
      a kind of command (rules 7.1, 7.2).  A method whose key may be left out says what it then is.
    - ``at``: the command's own time.  Default: the engine's clock.  It may be at most ``tolerance``
      ahead of that.  The command is decided as of this time, or as of the latest time at which
      anything of the org was decided, if that is later (rule 6.7).
    - Times are ``datetime`` with a time zone; spans are ``timedelta``.  Amounts are given as
      :class:`Money` in the account's currency and answered in nanos, 10⁻⁹ of its unit (rule 5.1).

    Every method can raise StoreError, when the store fails.  If its ``retryable`` is true, the same
    may be sent again.  If its ``outcome_unknown`` is true, the write may have happened: send the
    same again, with the same key (rule 3.6).  ClockDoubt is a StoreError too: the machine's clock
    is not believed, and nothing was done (rule 3.8).

    Every method that writes for an org can also raise InvalidCommand (an argument that no state of
    the ledger accepts), NotFound (the org has no account) and IdempotencyConflict (the key is on
    record with other content).  Except where a method says otherwise, a closed account refuses what
    is not measured usage.  The ``Raises`` of a method names what is particular to it.

    Args:
        store: Where the records are kept, such as a ``PostgresStore`` or a ``SqliteStore``.
        clock: Where times come from.  The default is the machine's clock, which is checked before
            anything ends by it (rule 3.8).  A clock that you give is not checked.
        ids: Where fresh ids come from.  Default: random UUIDs of version 7.
        tolerance: How far ahead of the clock a command may be dated, and how far the machine's
            clock may differ from the database's, if that has one.  At most a day.
        publication_delay: How long before it takes effect a change of price or plan must be
            published (rule 5.6).  At least ``tolerance`` and ``catalogue_age`` together.
        catalogue_age: For how long prices that were read are used before the store is asked again.
        payments: Moves the money of top-ups.  Without one, the methods that need it raise
            PaymentError.
        topups: The platform's own limits for top-ups.
        usage_of: Reads the usage in what a provider answered, so that a hold can be told of the
            answer: ``billing_adapters.answers.usage_of``.

    Raises:
        InvalidCommand: The values do not fit together, or an argument is not of its type.
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
        usage_of: UsageOf | None = None,
    ) -> None:
        check_wiring(store, clock, ids, payments, topups, usage_of)
        self.store = store
        self.clock = clock
        self.ids = ids
        self.payments = payments
        self._topups = topups
        self._usage_of = usage_of
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
        self._in_flight = InFlight("calls")
        self._heeding = InFlight("webhooks")
        self._work = Work(store, clock, ids, self._clock_check, self._do)
        self._joined = False
        self._coalescer = Coalescer(self._run, width=store.concurrency)
        self._submit: Callable[[Sequence[Command]], list[Outcome]] = self._coalescer.submit

    # -- the one way of a write -------------------------------------------------

    def execute(self, commands: Iterable[Command]) -> list[Outcome]:
        """Decide the commands in order and commit them at once; gives one outcome for each.

        A command that fails is an outcome too: a :class:`Refusal`, or an error as a value
        (InvalidCommand, Conflict, NotFound).  It changes nothing for the others (rules 3.1, 3.2).

        Args:
            commands: Commands of one or of several orgs, such as ``[Settle(…), Grant(…)]``.

        Returns:
            The outcomes, in the order of the commands.

        Raises:
            InvalidCommand: Something among them is not a command; nothing was done.
            StoreError: The commit failed.  Nothing was done, or, if ``outcome_unknown`` is true,
                all or nothing.
        """
        batch = checked_batch(commands)
        return self._submit(batch) if batch else []

    def _finish(self, parts: Sequence[Submission]) -> None:
        """Decide submissions, each of which stands or falls alone, in one commit where they can."""
        if not self._joined:
            self._coalescer.finish(parts)
            return
        for part in parts:  # in the host's transaction, which an error ends
            part.outcomes = self._run(part.commands)

    def execute_many(self, commands: Iterable[Command], *, batch: int = 1000) -> Iterator[Outcome]:
        """Decide any number of commands, ``batch`` to a commit: for backfills.

        The outcomes come as the batches are committed, and memory is bounded by one batch.  Nothing
        is done before the first outcome is asked for.

        Args:
            commands: Commands of one or of several orgs; they are taken one by one.
            batch: How many commands share a commit, from 1 to 10,000.

        Yields:
            The outcomes, in the order of the commands.

        Raises:
            InvalidCommand: ``batch`` is out of range, or something is not a command.
            StoreError: A commit failed, and no more is done.  The batches before it are done;
                sending all of it again does the rest, and gives the first outcomes again.
        """
        check_batch_size(batch)
        rest = each_of(commands)
        while some := list(islice(rest, batch)):
            yield from self.execute(some)

    def within(self, connection: object) -> Billing:
        """Give this engine inside the transaction that you have open on ``connection``: your rows
        and the charges commit together, or not at all.

        It never commits, tries again or changes a setting of the session.  Each call is wrapped in
        a savepoint, so a call that fails leaves your transaction as it was (rule 3.5).  Its methods
        that need the payment provider raise PaymentError, and :meth:`publish` raises StoreError.
        Call these, and :meth:`run_pending`, of the engine outside.

        While your transaction is open, a call of the engine outside it for the same org waits for a
        bounded time, and then raises a retryable StoreError.  So do not call that one from inside.

        Args:
            connection: A ``sqlite3.Connection`` after ``BEGIN IMMEDIATE``, or a connection of
                psycopg 3 that has a transaction open.

        Returns:
            An engine that works in your transaction, for as long as that lasts.

        Raises:
            InvalidCommand: The connection is not one of this store's driver.
            StoreError: The connection is not to a billing database, or the store cannot join a
                transaction (the memory store).  The first call tells if no transaction is open.
        """
        inside = copy(self)
        inside.store = self.store.within(connection)
        inside.payments = None  # nobody is to wait for it in a transaction
        inside._work = Work(inside.store, self.clock, self.ids, self._clock_check, inside._do)
        inside._joined = True
        inside._submit = inside._run  # no coalescing: this transaction is the caller's alone
        return inside

    def _run(self, batch: Sequence[Command]) -> list[Outcome]:
        now = self.clock()
        terms = Terms(
            self._prices.known(now),
            now,
            self._tolerance,
            topups=self._topups,
            ids=self.ids,
            level=self._prices.level,
            certain=self._clock_check.certain(now, joined=self._joined),
            horizon=self._horizon - self._clock_check.lead,  # of the look just taken
        )
        wants = wanted(batch, now)
        while True:
            try:
                with self.store.transaction() as transaction:
                    return decide_within(transaction, wants, batch, terms)
            except NeedMore:  # of what was published: not to be read inside a transaction
                terms = self._prices.refreshed(terms)

    def _do(self, command: Command, kind: type[_S]) -> _S:
        return unwrapped(self.execute([command]), kind)

    def _at_provider(self) -> TopUps:
        """What may wait for the provider; raises PaymentError where there is none."""
        if self.payments is None:
            raise PaymentError(
                "no provider of payments; give Billing(store, payments=…)", kind="invalid_request"
            )
        return TopUps(self.store, self.clock, self._do, self.payments)

    def _open_hold(self, command: Hold) -> OpenHold:
        return OpenHold(self, command, self._do(command, Held), self._usage_of)

    # -- accounts, credit, holds, charges ---------------------------------------

    def open_account(
        self,
        org: str,
        *,
        currency: str = "USD",
        livemode: bool = True,
        anchor: datetime | None = None,
        at: datetime | None = None,
    ) -> Opened:
        """Open an org's account, with a currency and a mode that never change.

        The same again is a no-op, also after the account was closed: closing is final.

        Args:
            currency: One of :data:`billing_core.values.currencies.CURRENCIES`.
            livemode: Whether the account's payments are real (live) or a test.
            anchor: The time from which the org's billing months count (rule 8.2).  Default: the
                time of opening.

        Returns:
            That the account exists, and where it is on record.

        Raises:
            IdempotencyConflict: The account is open with another currency, mode or anchor.
        """
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
        """Bring credit in, as one lot; it repays debt at once (rules 6.1, 6.5).

        This is for promotions, and for money that you received in another way.  What a customer
        pays through the provider comes in with :meth:`top_up`.

        Args:
            amount: More than zero.
            kind: ``purchased``, ``promotional`` or ``allowance``.  It decides in which order lots
                are spent, and what the history calls it.
            priority: Lots with a lower number are spent first; from -1,000,000 to 1,000,000.
            expires_at: From this time on it cannot be spent.  None: it does not expire.
            scope: The resources that it may pay for: names, or prefixes of names that end in ``*``.
                None: any.
            reference: A text of your own that is kept on record with it.

        Returns:
            The number of the lot, and how much of it repaid debt.

        Raises:
            Refused: The account is closed.
        """
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
        expires_in: timedelta,
        key: str | None = None,
        resource: str | None = None,
        member: str | None = None,
        project: str | None = None,
        reference: str | None = None,
        at: datetime | None = None,
    ) -> OpenHold:
        """Check that there is credit for a cost, and reserve it in the same step (rule 6.3).

        Use the answer in a ``with`` statement (``async with`` for an :class:`AsyncHold`), which
        settles what you report of it; or settle by its ``key``.  Without a ``key`` a fresh one is
        made, so a repeated call makes another hold.

        Args:
            cost: An amount, or the usage expected.  Of a usage as much is held as it can cost at
                most, whenever in the hold's life it happens (rule 5.4).  Give it the facts that
                are certain: a fact that its price depends on and that it does not give may have
                the value that costs most (rule 5.9).
            expires_in: How long the hold lives, from the time of decision.  After that its credit
                is free again.
            resource: What an amount is for, so that lots with a scope can serve it.  A usage names
                its own: then leave it out.
            member: Who in the org spends the credit: for reports, and for limits by member (rule
                8.7).  None: nobody in particular.
            project: What spending is grouped and limited by beside members, such as an API key or a
                team.  None: no project.
            reference: A text of your own that is kept on record with it.

        Returns:
            The hold, with its key, its amount and its end.

        Raises:
            Refused: It costs more than is available, or than a limit or quota leaves; or the
                account is closed.  ``refusal`` says what is missing, and when to try again, if that
                is known (rule 6.8).
            UnknownPrice: The usage has a component without a price in force.
            HoldEnded: The key made this hold before, and it has ended: ``retryable`` says whether
                to try again with a new key.
        """
        command = Hold(
            org, self.ids() if key is None else key, cost=cost, expires_in=expires_in,
            resource=resource, member=member, project=project, reference=reference, at=at,
        )  # fmt: skip
        return self._open_hold(command)

    def extend(
        self,
        org: str,
        key: str,
        *,
        hold: str,
        expires_in: timedelta,
        add: Money | None = None,
        at: datetime | None = None,
    ) -> Extended:
        """Let an open hold live longer, and hold more.

        It never ends sooner than it would have.  A hold that was made for a usage is quoted anew
        for its longer life: what it has is brought up to the most that the part of the usage that
        is not settled yet can cost.  If that cannot be reserved, it is refused and the hold stays
        as it was (rules 5.4, 6.3).  A hold of an amount keeps that amount.

        Args:
            hold: The key that the hold was made with.
            expires_in: How long it lives, from the time of decision.
            add: How much more to hold, on top of what is said above.  None: nothing.

        Returns:
            The amount that the hold now has, in nanos, and its end.

        Raises:
            Refused: More is needed than is available, or than a limit or quota leaves; or the hold
                has expired (``hold_lapsed``) or was released (``hold_released``).
            NotFound: There is no such hold.
            Conflict: The hold is settled already.
            HoldEnded: This key extended the hold before, and the hold has ended since.
        """
        return self._do(
            Extend(org, key, hold=hold, expires_in=expires_in, add=add, at=at), Extended
        )

    def release(
        self, org: str, hold: str, *, key: str | None = None, at: datetime | None = None
    ) -> Released:
        """End a hold of which nothing was used; its credit is free again.

        Without a ``key``, the hold's own key is this command's too.

        Args:
            hold: The key that the hold was made with.

        Returns:
            How much was freed, in nanos; 0 if the hold had expired.

        Raises:
            NotFound: There is no such hold.
            Conflict: The hold is settled already.
            Refused: The account is closed, which has released its holds.
        """
        return self._do(Release(org, hold if key is None else key, hold=hold, at=at), Released)

    def settle(
        self,
        org: str,
        key: str,
        usage: Usage,
        *,
        hold: str | None = None,
        final: bool = True,
        as_held: bool = False,
        part: bool | None = None,
        member: str | None = None,
        project: str | None = None,
        reference: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> Charged:
        """Charge what was really used, whatever the balance.

        Measured usage is never refused: it is paid from the hold, then from what is available, and
        the rest becomes debt (rule 6.4).  A component without a price in force is recorded as
        unpriced and costs nothing yet; see :meth:`price_unpriced` (rule 5.7).  A hold that is not
        known, has expired or was released changes nothing: then it settles without one.

        Args:
            usage: What was used, such as ``tokens(…)`` or ``tool(…)`` make it.
            hold: The key of the hold that pays.  None: no hold.
            final: Whether the hold ends with this.  False: more will be settled of it.
            as_held: Charge the member that the hold was made for; then give no ``member``.  For a
                name that may have been erased meanwhile.
            part: Whether the call that this usage belongs to is counted as a request by another
                settlement (True) or by this one (False).  Default: it is counted by the settlement
                that ends its hold.  A usage that names an item is counted with the item's first
                settlement, whatever is given here.
            member: Who in the org spends the credit: for reports, and for limits by member (rule
                8.7).  None: nobody in particular.
            project: What spending is grouped and limited by beside members, such as an API key or a
                team.  None: no project.
            reference: A text of your own that is kept on record with it.
            occurred_at: When it happened: the price and the billing period of that time count (rule
                6.7).  Default: the command's time.

        Returns:
            The charge: its number (``seq``), its amount in nanos, and what paid it.

        Raises:
            Conflict: The hold is settled already.
            InvalidCommand: The time is further ahead than the tolerance, or an argument is invalid.
        """
        command = Settle(
            org, key, usage=usage, hold=hold, final=final, as_held=as_held, part=part,
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
        """Charge at once, before the thing happens, and only within what is available (rule 6.2).

        Args:
            cost: An amount, or a usage with a price.
            resource: What an amount is charged for; needed with an amount.  A usage names its own:
                then leave it out.
            member: Who in the org spends the credit: for reports, and for limits by member (rule
                8.7).  None: nobody in particular.
            project: What spending is grouped and limited by beside members, such as an API key or a
                team.  None: no project.
            reference: A text of your own that is kept on record with it.
            occurred_at: When it happened: the price and the billing period of that time count (rule
                6.7).  Default: the command's time.

        Returns:
            The charge: its number (``seq``) and its amount in nanos.

        Raises:
            Refused: It costs more than is available, or than a limit or quota leaves; or the
                account is closed.
            UnknownPrice: The usage has a component without a price in force.
            HoldEnded: The key made this charge before, and it was reversed in full since.  Try
                again with a new key.
        """
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
        """Charge what a settlement recorded as unpriced, by a price version that you name (rule
        5.7).

        Args:
            charge: The ``seq`` that the settlement answered.
            version: The name of a version that could have applied to the org when the usage
                occurred: one for everyone, for the plan that it had then, or for the org.
            override: An operator's word that another version is right.  It stays on record.

        Returns:
            The new charge, with a number of its own.

        Raises:
            NotFound: There is no such charge, or no such version.
            Conflict: Nothing of the charge is unpriced, or its usage was undone.
            InvalidCommand: The version has no price for it, or could not have applied to the org
                then and ``override`` is False.
        """
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
        """Give a charge back, whole or in part (rule 6.6).

        It first reduces what is still unpaid of the charge, then goes back to the lots that paid.
        The time of a run is not reversed charge by charge: see :meth:`forgive_run`.

        Args:
            charge: The ``seq`` that the charge answered.
            amount: How much; at most what is not reversed of it yet.  None: all of that.
            undo_usage: What was charged for did not happen, such as a call that failed.  The
                quantities leave counters, quotas and reports, and what comes back is what all usage
                costs less without them: of this charge first, then of the latest others that were
                counted with it.  Once per charge, for all of it: then give no ``amount``.
            expires_at: A new end for what goes back to lots that have expired since.  None: that
                part expires again.
            reason: A text that is kept on record with it.

        Returns:
            How much was given back, in nanos, and where it went.

        Raises:
            Refused: More than is left of the charge (``over_reversal``), or the account is closed.
            NotFound: There is no such charge.
            Conflict: The charge is part of a run or of storage, or its usage was undone already.
                Or, with ``undo_usage``, the version of the library before this one may still be
                running (rule 3.9).
            InvalidCommand: ``expires_at`` has passed, or an argument is invalid.
        """
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
        """Bring back, as new lots, what expired too early because a clock was wrong.

        An operator does this after the clock is right again.  :meth:`expiries` finds what expired.
        All that expired with one entry of the journal comes back, with the kind, priority and scope
        that it had.  There is no ``key``: an expiry is undone once.

        Args:
            expiry: The number of the journal's entry, the ``seq`` of an :class:`Expiry`.
            expires_at: The end of what comes back; later than the org's latest decision, which the
                wrong clock may have dated ahead.  None: it does not expire.
            reason: A text that is kept on record with it.

        Returns:
            The amount that came back, in nanos, and its lots.

        Raises:
            NotFound: Nothing expired with that entry.
            Refused: The account is closed.
            Conflict: The version of the library before this one may still be running, and could not
                follow it (rule 3.9).
            InvalidCommand: ``expires_at`` is not later than the time of decision.
        """
        command = UndoExpiry(org, expiry, expires_at=expires_at, reason=reason, at=at)
        return self._do(command, Restored)

    def close(
        self,
        org: str,
        *,
        remainder: Literal["refund", "write_off"],
        at: datetime | None = None,
    ) -> Closed:
        """Close the account for good.

        Storage is charged up to that moment, while there is credit to pay for it.  Open holds are
        released.  Runs end at their last sign of life, each with the event ``run_swept``: stop what
        is still running.  What is left of every lot leaves the ledger.  Usage that was measured and
        arrives later is still accepted, and becomes debt.

        Args:
            remainder: What becomes of the credit that is left.  ``refund``: you owe it to the
                customer, outside the ledger.  ``write_off``: nobody gets it.

        Returns:
            How much was refunded or written off, in nanos.

        Raises:
            IdempotencyConflict: It was closed with the other ``remainder``.
            NotFound: The org has no account.
        """
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
        """Subscribe the org to a plan, change it, pause it or end it.

        The plan's prices, limits and quotas hold from the time of decision.  The current billing
        period has the largest allowance of the plans that it had: a change to a plan with more
        brings the difference at once, one to less takes nothing back (rule 8.6).

        Args:
            plan: The name of a published plan.  None ends the subscription.
            paused: No allowance for billing periods that begin before the plan is set again without
                this.  Prices stay.

        Returns:
            The credit that came in at once, in nanos, and its lot.

        Raises:
            NotFound: No plan of this name is published.
            InvalidCommand: The plan is in another currency than the account.
            Refused: The account is closed.
        """
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
        """Set how much an org, a member or a project may be charged in a day or a billing period,
        beside the plan's own limits (rule 8.7).

        Give one of ``member``, ``project`` and ``every``, or none of them for the whole org.  An
        alert whose percentage is reached already is raised at once.

        Args:
            amount: The limit; zero is allowed.  None takes the limit away again.
            member: The member whose limit it is; it comes before the limit for every member.
            project: The project whose limit it is; it comes before the limit for every project.
            every: Each ``member``, or each ``project``, that has no limit of its own.
            per: ``day``, a UTC day, or ``period``, a billing period.
            alerts: Percentages of the limit at which the event ``budget`` is raised.
            blocks: Whether what goes beyond the limit is refused.  False: it only raises alerts.

        Returns:
            That the limit is as asked.

        Raises:
            Refused: The account is closed.
            InvalidCommand: More than one of ``member``, ``project`` and ``every``, or another
                argument is invalid.
        """
        command = SetLimit(
            org, key, amount=amount, member=member, project=project, every=every, per=per,
            alerts=alerts, blocks=blocks, at=at,
        )  # fmt: skip
        return self._do(command, Changed)

    def set_low_balance(
        self, org: str, key: str, amount: Money | None, *, at: datetime | None = None
    ) -> Changed:
        """Set below which balance the event ``low_balance`` is raised; at once, if it is below
        already.

        Args:
            amount: The mark, more than zero.  None: the event is not raised any more.

        Returns:
            That the mark is as asked.

        Raises:
            Refused: The account is closed.
        """
        return self._do(SetLowBalance(org, key, amount=amount, at=at), Changed)

    def erase_member(self, org: str, member: str) -> bool:
        """Forget a member's name: the records keep the member's number alone (rule 6.9).

        A key of a command with this member cannot be sent again afterwards: it is a conflict.
        Somebody who comes with the same name later is a new member, with all of a member's limits
        unused.

        Args:
            member: The name to forget.

        Returns:
            Whether there was a member of this name.

        Raises:
            InvalidCommand: A name is invalid.
            StoreError: The store failed.
        """
        return self.store.erase_member(checked_name("org", org), checked_name("member", member))

    def accept_clock(self) -> datetime:
        """Confirm, as an operator, that this machine's clock is right after the store was unused
        for more than a day (rule 3.8).

        Look at the clock first: what has ended by this time ends for good.

        Returns:
            The time that was accepted.

        Raises:
            ClockDoubt: The store has a clock of its own, and that differs.
        """
        return moment(self._clock_check.accept())

    def publish(self, document: PriceBook | Plan) -> str:
        """Publish a price book or a version of a plan; the same again is a no-op.

        What is published never changes.  A change is a new version, and is published at least
        ``publication_delay`` before it takes effect (rule 5.6).  A NameWarning is issued for a name
        that may be misspelt.

        Args:
            document: The price book or the plan.

        Returns:
            The full name of the version.

        Raises:
            InvalidCommand: It would change prices or terms too soon, or its version's name is taken
                by another document.
            ClockDoubt: This machine's clock differs from the database's.
            StoreError: The store failed, or it is a store inside your transaction.
        """
        if not isinstance(document, PriceBook | Plan):
            raise InvalidCommand("document", document, "a PriceBook or a Plan")
        self._clock_check.certain(self.clock())
        return self._prices.publish(document, self._clock_check.lag)

    # -- sandbox runs -----------------------------------------------------------

    def start_run(
        self,
        org: str,
        key: str,
        spec: Usage,
        *,
        fund_for: timedelta = timedelta(minutes=5),
        min_runtime: timedelta = timedelta(seconds=1),
        member: str | None = None,
        project: str | None = None,
        reference: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> RunStatus:
        """Start a sandbox run, which its ``key`` names, and hold credit for it (rule 8.3).

        Stop the sandbox by ``funded_until``, or have that renewed by a :meth:`heartbeat` before.

        Args:
            spec: What a microsecond of it uses: ``sandbox(…)`` makes it.
            fund_for: How far ahead to fund it.  The deadline is earlier if credit, limits or
                published prices do not reach that far.
            min_runtime: Refuse the start if not even this long can be funded; at most ``fund_for``.
            member: Who in the org spends the credit: for reports, and for limits by member (rule
                8.7).  None: nobody in particular.
            project: What spending is grouped and limited by beside members, such as an API key or a
                team.  None: no project.
            reference: A text of your own that is kept on record with it.
            occurred_at: When it started.  Default: the command's time.

        Returns:
            How the run stands: until when it is funded, and what keeps that from being later.

        Raises:
            Refused: Not even ``min_runtime`` can be funded, or the account is closed.
            UnknownPrice: A component has no price in force.
            HoldEnded: The key started this run before, and it has stopped or its hold has ended.
        """
        command = StartRun(
            org, key, spec=spec, fund_for=fund_for, min_runtime=min_runtime, member=member,
            project=project, reference=reference, occurred_at=occurred_at, at=at,
        )  # fmt: skip
        return self._do(command, RunStatus)

    def heartbeat(
        self,
        org: str,
        run: str,
        *,
        key: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> RunStatus:
        """Tell that a run is alive: what it used so far is settled, and its hold and its deadline
        are renewed (rule 8.3).

        If they cannot be renewed, it still settles and answers the old deadline.  Without a
        ``key``, it is made of the run's name and the time: ``occurred_at``, else ``at``, else the
        clock.  So give ``occurred_at`` or a ``key`` if you may send it again.

        Args:
            run: The run's name, which is the key that it was started with.
            occurred_at: When the run was seen.  Default: the command's time.

        Returns:
            How the run stands, with its deadline and what was charged.

        Raises:
            NotFound: The org has no account, or no run of this name.
            InvalidCommand: The time is further ahead than the tolerance.
        """
        name = told_at(run, occurred_at or at, self.clock) if key is None else key
        return self._do(Heartbeat(org, name, run=run, occurred_at=occurred_at, at=at), RunStatus)

    def suspend_run(
        self,
        org: str,
        run: str,
        *,
        key: str | None = None,
        until: datetime | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> RunStatus:
        """Tell that a run does not run from ``occurred_at`` on; that time costs nothing unless a
        price says so.

        It may be told late, also of a run that has ended: what was settled of that time is given
        back.  The default ``key`` is made as for :meth:`heartbeat`.

        Args:
            run: The run's name, which is the key that it was started with.
            until: When it ran again, if that is known already; then give ``occurred_at`` too.
                None: until it is resumed.
            occurred_at: When it was suspended.  Default: the command's time.

        Returns:
            How the run stands; ``charged`` is negative for what was given back.

        Raises:
            NotFound: The org has no account, or no run of this name.
            InvalidCommand: ``until`` is not after ``occurred_at``, or has not come yet.
        """
        name = told_at(run, occurred_at or at, self.clock) if key is None else key
        command = SuspendRun(org, name, run=run, until=until, occurred_at=occurred_at, at=at)
        return self._do(command, RunStatus)

    def resume_run(
        self,
        org: str,
        run: str,
        *,
        key: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> RunStatus:
        """Tell that a suspended run runs again, if there is credit for at least a second of it.

        The default ``key`` is made as for :meth:`heartbeat`.

        Args:
            run: The run's name, which is the key that it was started with.
            occurred_at: When it runs again.  Default: the command's time.

        Returns:
            How the run stands, with its deadline.

        Raises:
            Refused: Not even a second can be funded, and the run is still suspended; or the account
                is closed.
            ImpossibleTransition: The run is not suspended.
            HoldEnded: This key resumed the run before, and it has stopped or its hold has ended
                since.
            NotFound: The org has no account, or no run of this name.
        """
        name = told_at(run, occurred_at or at, self.clock) if key is None else key
        return self._do(ResumeRun(org, name, run=run, occurred_at=occurred_at, at=at), RunStatus)

    def stop_run(
        self,
        org: str,
        run: str,
        *,
        key: str | None = None,
        settle: bool = True,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> RunStatus:
        """Tell that a run has ended: its time is settled up to then, and its hold ends.

        If more was settled already, by a clock that was ahead, it is given back.  A run that was
        swept ends at its real end after all.  Without a ``key``, the run's name is the key.

        Args:
            run: The run's name, which is the key that it was started with.
            settle: Whether to settle it now.  False: the run is pending, until :meth:`settle_run`
                or :meth:`forgive_run`.
            occurred_at: When it ended.  Default: the command's time.

        Returns:
            How the run stands, and what was charged.

        Raises:
            NotFound: The org has no account, or no run of this name.
            InvalidCommand: The time is further ahead than the tolerance.
        """
        command = StopRun(
            org, run if key is None else key, run=run, settle=settle, occurred_at=occurred_at,
            at=at,
        )  # fmt: skip
        return self._do(command, RunStatus)

    def settle_run(
        self, org: str, run: str, *, key: str | None = None, at: datetime | None = None
    ) -> RunStatus:
        """Settle a pending run: charge its time, and end its hold.

        Without a ``key``, the run's name is the key.

        Args:
            run: The run's name, which is the key that it was started with.

        Returns:
            How the run stands, and what was charged.

        Raises:
            NotFound: The org has no account, or no run of this name.
            ImpossibleTransition: The run is not pending.
        """
        command = SettleRun(org, run if key is None else key, run=run, at=at)
        return self._do(command, RunStatus)

    def forgive_run(
        self,
        org: str,
        key: str,
        run: str,
        *,
        reason: str,
        amount: Money | None = None,
        at: datetime | None = None,
    ) -> RunStatus:
        """Give back what a run was charged, or a part of it, for a reason (rule 8.3).

        A pending run is settled first.  A run of which all is forgiven is charged nothing more,
        whatever is told of it later.  :meth:`undo_forgiveness` charges it again.

        Args:
            run: The run's name, which is the key that it was started with.
            reason: Why; it is kept on record.
            amount: How much; at most what was charged and is not forgiven yet.  None: all.

        Returns:
            How the run stands; ``charged`` is negative for what was given back.

        Raises:
            Refused: More than is left to forgive (``over_reversal``).
            ImpossibleTransition: The run has not ended, or is forgiven already; or it is pending
                and ``amount`` is given.
            NotFound: The org has no account, or no run of this name.
        """
        command = ForgiveRun(org, key, run=run, reason=reason, amount=amount, at=at)
        return self._do(command, RunStatus)

    def undo_forgiveness(
        self,
        org: str,
        key: str,
        run: str,
        *,
        reason: str | None = None,
        at: datetime | None = None,
    ) -> RunStatus:
        """Charge again all that was forgiven of a run: the same amount, and what was told of the
        run since.

        Args:
            run: The run's name, which is the key that it was started with.
            reason: Why; it is kept on record.

        Returns:
            How the run stands, and what was charged.

        Raises:
            Conflict: Nothing of the run is forgiven.
            ImpossibleTransition: The run is neither settled nor forgiven.
            NotFound: The org has no account, or no run of this name.
        """
        return self._do(UndoForgiveness(org, key, run=run, reason=reason, at=at), RunStatus)

    def sweep_runs(
        self, *, idle_for: timedelta = timedelta(minutes=15), limit: int = 1000
    ) -> list[RunStatus]:
        """Close the runs, of all orgs, that have given no sign of life for a time: each at its last
        sign of life (rule 8.3).

        Call it regularly, from a thread, a cron or a queue.  The longest silent are closed first;
        what a call costs depends on how many it closes, not on how many runs there are.  A run that
        cannot be closed keeps no other run open.

        Args:
            idle_for: For how long a run must have been silent.
            limit: How many runs to close at most.

        Returns:
            How each closed run stands.

        Raises:
            InvalidCommand: ``idle_for`` is not a positive span.
            BillingError: No run was closed, and at least one could not be: the first error that was
                met.
        """
        sweep = SilentRuns(self.store, self.clock(), idle_for, limit)
        while parts := sweep.parts():
            self._finish(parts)
            sweep.done(parts)
        return sweep.result()

    # -- storage ----------------------------------------------------------------

    def report_storage(
        self,
        org: str,
        workspace: str,
        size: int,
        *,
        key: str | None = None,
        facts: Mapping[str, str] | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> StorageStatus:
        """Tell that a workspace has so many bytes from ``occurred_at`` on (rule 8.4).

        The size holds until the one that is reported for the next later time.  Reports may come
        late and out of order: what was billed already is corrected at once.  Of two sizes for one
        time, the one recorded last holds.  Without a ``key``, it is made of the workspace's name,
        the time and the size.

        Args:
            workspace: The workspace's name, of at most 150 characters.
            size: In bytes, zero or more.
            facts: What else is known of the workspace, as its price may depend on it (rule 5.9);
                those of its first report hold for ever.
            occurred_at: From when it has this size.  Default: the command's time.

        Returns:
            How the workspace stands, and what was charged or (negative) given back.

        Raises:
            NotFound: The org has no account.
            InvalidCommand: The size is not an int from 0 to below 2⁶³, or the time is further ahead
                than the tolerance.
            Conflict: It gives other facts than the workspace's first report; or it is the first one
                and gives facts, before ``billing migrate --finish``.
        """
        name = told_at(workspace, occurred_at or at, self.clock)
        command = ReportStorage(
            org, f"{name}:{size}" if key is None else key, workspace=workspace, size=size,
            facts=facts, occurred_at=occurred_at, at=at,
        )  # fmt: skip
        return self._do(command, StorageStatus)

    def bill_storage(
        self, org: str, workspace: str | None = None, *, until: datetime | None = None
    ) -> list[StorageStatus]:
        """Charge storage up to a time, of one workspace or of all (rule 8.4).

        Each byte-microsecond is charged once, however often it is called and by however many
        workers.

        Args:
            workspace: The workspace's name.  None: all of the org's.
            until: Up to when.  Default: now.

        Returns:
            How each workspace stands; nothing, if the org has none.

        Raises:
            NotFound: Nothing was reported of this workspace, or the org has no account.
            InvalidCommand: ``until`` is further ahead than the tolerance.
        """
        stands: list[StorageStatus] = []
        for bills in storage_bills(self.store, self.clock(), org, workspace, until):
            stands += [unwrapped([each], StorageStatus) for each in self.execute(bills)]
        return stands

    # -- top-ups ----------------------------------------------------------------

    def top_up(
        self,
        org: str,
        key: str,
        amount: Money,
        *,
        success_url: str,
        cancel_url: str,
        save_method: bool = False,
        receipt_email: str | None = None,
        automatic_tax: bool = False,
        description: str = "Prepaid credit",
        at: datetime | None = None,
    ) -> TopUpPage:
        """Open a page of the payment provider on which a customer pays for credit (rule 9.1).

        The order is on record before the provider hears of it, and the credit comes in once the
        provider says that it is paid.  The same key again gives the same page.

        At most four calls of an org wait for the provider at a time, in one engine,
        :meth:`confirm`, :meth:`read_back` and :meth:`refund` among them.  A fifth raises
        PaymentError of kind ``rate_limited``, and nothing is done for it.

        Args:
            amount: How much credit, before tax: within the platform's limits, and payable in the
                currency's minor units.
            success_url: Where the customer comes back to after paying.  ``{CHECKOUT_SESSION_ID}``
                in it becomes the page's id, for :meth:`confirm`.
            cancel_url: Where the customer comes back to without paying.
            save_method: Keep the card for automatic top-ups.
            receipt_email: Where the provider sends a receipt.  None: nowhere.
            automatic_tax: Have the provider add tax on top of ``amount``.
            description: What the customer reads on the page.

        Returns:
            The page's URL, the provider's id of it, and ours of the top-up.

        Raises:
            PaymentError: The provider failed or said no, or the engine has none.
            InvalidCommand: The amount is outside the limits, a URL is invalid, or the provider is
                in another mode (live or test) than the account.
            IdempotencyConflict: The key ordered before with another amount, description or URL.
            Conflict: The order is too old for its page to be opened: order with a new key.
            Refused: The account is closed.
        """
        from billing_core.ports.payments import CheckoutOrder

        topups = self._at_provider()
        check_positive("amount", amount)
        order = CheckoutOrder(
            org=org, order=self.ids(), amount=to_minor(amount.nanos, amount.currency),
            currency=amount.currency, description=description, success_url=success_url,
            cancel_url=cancel_url, save_method=save_method, receipt_email=receipt_email,
            automatic_tax=automatic_tax,
        )  # fmt: skip
        command = OrderTopUp(
            org, key, amount=amount, order=order, livemode=topups.provider.livemode, at=at
        )
        with self._in_flight.one(org):
            return topups.page(command)

    def recover(
        self, org: str, key: str, *, success_url: str, cancel_url: str, at: datetime | None = None
    ) -> TopUpPage:
        """Open a payment page for a customer whose automatic top-up failed.

        Paying there buys as much credit as an automatic top-up does, saves the new card, and lets
        automatic top-ups go on.  The payment that failed cannot be completed itself.

        Args:
            success_url: Where the customer comes back to after paying; see :meth:`top_up`.
            cancel_url: Where the customer comes back to without paying.

        Returns:
            The page, as :meth:`top_up` gives it.

        Raises:
            Conflict: Automatic top-ups are not stopped, or for a reason that no payment ends, such
                as a refund.
            PaymentError: The provider failed or said no, or the engine has none.
            NotFound: The org has no account.
        """
        status = self.auto_topup(org)
        if status.stopped is None:
            raise Conflict(f"the automatic top-up of org {org!r} is not stopped")
        if status.stopped not in NEEDS_METHOD:
            raise Conflict(
                f"the automatic top-up of org {org!r} is stopped ({status.stopped}), which no "
                "payment mends; enable it again"
            )
        amount = Money(status.amount, account_record(self.store, org).currency)
        return self.top_up(
            org, key, amount, success_url=success_url, cancel_url=cancel_url, save_method=True,
            at=at,
        )  # fmt: skip

    def topup(self, org: str, topup: str) -> TopUp:
        """Read a top-up as it is on record; the provider is not asked.

        Args:
            topup: Our id of it, such as a :class:`TopUpPage` has.

        Returns:
            The top-up, with its amounts in minor units of the currency and its times in
                microseconds since 1970.

        Raises:
            NotFound: The org has no such top-up.
        """
        return topup_record(self.store, org, topup)

    def confirm(self, org: str, session: str) -> TopUpUpdated:
        """Credit a page that was paid and is not credited yet: for when the customer comes back
        (rule 9.1).

        Args:
            session: The provider's id of the page, which comes back to ``success_url``.

        Returns:
            How the top-up stands.  ``paid`` says whether it was paid and credited; if not, it may
                still be paid.

        Raises:
            NotFound: The page is on record for another org, or not at all.  Then the provider is
                not asked.
            PaymentError: The provider failed, or the engine has none; or four calls of the org are
                waiting for it.
        """
        topups = self._at_provider()
        known = self.store.topup_of(checkout=checked_name("session", session))
        if known is None or known[0] != org:
            raise NotFound("session", session, f"org {org!r} has none of this name")
        with self._in_flight.one(org):
            return topups.fulfil(*known, checkout=session)

    def webhook(self, body: bytes, signature: str | None) -> Notice:
        """Verify what the provider posted, and do what follows from it (rule 9.1).

        Args:
            body: The body exactly as it was received.
            signature: The header in which the provider signs it.  None: there was none.

        Returns:
            What the provider told.

        Raises:
            PaymentError: Of kind ``bad_signature``, ``bad_webhook`` or ``wrong_mode``: answer 400.
                Of kind ``rate_limited``: four webhooks of one org, or of payments that are not on
                record yet, are waiting for the provider.  For that and for any other error answer
                5xx, and the provider delivers again.
            BillingError: What follows could not be done; answer 5xx.
        """
        topups = self._at_provider()
        notice = topups.provider.read_webhook(body, signature, now=self.clock())
        topups.heed(notice, self._heeding.one)
        return notice

    def read_back(self, org: str, topup: str, *, payment: str | None = None) -> TopUpUpdated:
        """Make the record of a top-up what the provider says of it now.

        This is for what :meth:`reconcile` names, if the provider's news of it was lost.  Doing it
        again changes nothing.

        Args:
            topup: Our id of the top-up.
            payment: The provider's id of the payment, as :meth:`reconcile` names it; for a top-up
                whose record names neither page nor payment, because the provider's answer was lost.
                If the payment does not say what it is for, it is taken on your word, provided that
                customer, amount and currency are those that were asked for.

        Returns:
            How the top-up stands.

        Raises:
            NotFound: The org has no such top-up.
            Conflict: There is nothing to read, or the payment is not of this top-up.
            PaymentError: The provider failed, or the engine has none; or four calls of the org are
                waiting for it.
        """
        known = topup_record(self.store, org, topup)
        unheard = known.checkout is None and known.payment is None
        if unheard and payment is None:
            raise Conflict(
                f"top-up {topup!r} is {known.state}: there is nothing to read, as no page or "
                "payment of it is on record. If reconcile names one, give that as payment="
            )
        with self._in_flight.one(org):
            topups = self._at_provider()
            if not unheard or payment is None:
                return topups.fulfil(org, topup)
            topups.check_may_be(org, known, topups.provider.read_payment(payment))
            return topups.fulfil(org, topup, payment=payment)

    def auto_topup(self, org: str, *, made: AutoTopUpSet | None = None) -> AutoTopUpStatus:
        """Read how an org's automatic top-up stands.

        Args:
            made: An answer of :meth:`set_auto_topup`; then it tells how it stood when that was set.
                None: as it stands now.

        Returns:
            The settings, why it has stopped, if it has, and the platform's limits; amounts in
                nanos.

        Raises:
            NotFound: The org has no account.
        """
        account = account_record(self.store, org)
        if made is None:
            auto, now = self.store.auto_topup(org) or AutoTopUp(), self.clock()
        else:
            auto, now = AutoTopUp.from_data(made.auto), micros("at", made.at)
            begun = self.store.entry(org, f"auto:{made.seq + 1}")  # the attempt that it began
            if begun is not None and begun.at == now:
                auto = AutoTopUp.from_data(json.loads(begun.effects)["auto"])
        currency = account.currency
        minimum, maximum = self._topups.bounds(currency)
        return AutoTopUpStatus(
            enabled=auto.enabled,
            threshold=auto.threshold,
            amount=to_nanos(auto.amount, currency),
            cap=None if auto.cap is None else to_nanos(auto.cap, currency),
            times=auto.times,
            has_saved_method=auto.method is not None,
            stopped=auto.stopped,
            failures=auto.failures,
            topup=auto.open,
            last_topup_at=None if auto.last is None else moment(auto.last),
            minimum=to_nanos(minimum, currency),
            maximum=to_nanos(maximum, currency),
            not_before=moment(auto.not_before) if auto.not_before > now else None,
        )

    def set_auto_topup(
        self,
        org: str,
        key: str,
        *,
        enabled: bool,
        threshold: Money,
        amount: Money,
        cap: Money | None = None,
        times: int | None = None,
        at: datetime | None = None,
    ) -> AutoTopUpSet:
        """Set when to top up automatically, and by how much (rule 9.3).

        Enabling lets go on what was stopped.  It is no new card: failures stay counted, and the
        wait after them goes on.  Only if as many failures as the platform allows have stopped it,
        the first enabling has the card tried at once; the next failure stops it again.

        Args:
            enabled: Whether automatic top-ups are made.
            threshold: Top up when less than this is available; zero or more.
            amount: How much credit each buys, before tax; zero is allowed where ``enabled`` is
                False.
            cap: How much automatic top-ups may buy in a billing period.  None: only the platform's
                limits hold.
            times: How many may be made in a billing period.  None: only the platform's limits hold.

        Returns:
            That it is set; :meth:`auto_topup` takes this answer.

        Raises:
            Refused: There is no saved card (``no_saved_method``): top up with ``save_method=True``
                first.  Or the account is closed.
            InvalidCommand: The amount is outside the platform's limits, or another argument is
                invalid.
        """
        command = SetAutoTopUp(
            org, key, enabled=enabled, threshold=threshold, amount=amount, cap=cap, times=times,
            at=at,
        )  # fmt: skip
        return self._do(command, AutoTopUpSet)

    def refund(
        self,
        org: str,
        key: str,
        *,
        topup: str,
        amount: Money | None = None,
        at: datetime | None = None,
    ) -> TopUpUpdated:
        """Give back the money of a top-up, or a part of it, through the provider (rule 9.2).

        The credit is taken back in proportion, and what of it is spent already becomes debt.  The
        refund is on record before the provider hears of it, and background work goes on with it if
        the answer is lost.  Until it is made or refused, no automatic top-up begins.

        Args:
            topup: Our id of the top-up.
            amount: Of the money paid, tax included.  None: all that is left.

        Returns:
            How the top-up stands.

        Raises:
            Refused: The top-up is not paid (``not_paid``).
            NotFound: The org has no such top-up.
            PaymentError: The provider failed or said no, or the engine has none; or four calls of
                the org are waiting for it.
            InvalidCommand: The amount is not payable in minor units, or the top-up was paid in
                another currency: then give no amount.
        """
        topups = self._at_provider()
        command = AskRefund(
            org, key, topup=topup, refund=self.ids(), livemode=topups.provider.livemode,
            amount=amount, at=at,
        )  # fmt: skip
        with self._in_flight.one(org):
            asked = self._do(command, RefundRequested)
            return topups.refund(org, topup, asked.refund)

    # -- background -------------------------------------------------------------

    def run_pending(
        self,
        limit: int = 100,
        until: datetime | None = None,
        *,
        deliver: Deliver | None = None,
    ) -> Pending:
        """Do the background work that is due: record what has expired, deliver events, carry out
        automatic top-ups and refunds, look up answers that were lost, and read the provider's
        news that no webhook brought.

        One call is one pass.  Call it again and again, from a thread, a cron or a queue, and at
        once if the answer's ``more`` is true.  Any number of workers may run it at the same time.
        What fails is told in the answer, disturbs nothing else, and is tried again later.

        Orgs take turns, and a provider that has not answered is asked for nothing else in the same
        pass (rule 9.6).  With one worker that calls it again and again, however much is due for
        other orgs:

        - what expires, and an event, wait 25 seconds at most, and the last piece of each kind of
          work, which takes no longer than one call to a provider that hangs (Stripe's gives up
          after about a minute, unless you set another);
        - a top-up waits that long for each org that has one due as well.

        More workers wait less.  Events reach ``deliver`` at least once, in order for each org (rule
        9.4).  While the clock is in doubt, only what has expired for certain is recorded.

        Args:
            limit: About how many pieces of each kind of work to do at most; 1 or more.
            until: Begin nothing after this time.  Nor is anything begun of a kind of work that has
                had five seconds.
            deliver: Called with each event, as a :class:`Delivery`, and waited for.  An event for
                which it raises comes again later.  None: no events are delivered.

        Returns:
            What was done, and what failed.

        Raises:
            InvalidCommand: ``limit`` is not an int of 1 or more.
            StoreError: The store cannot say what is due.
        """
        topups = None if self.payments is None else self._at_provider()
        return self._work.one_pass(limit, until, deliver, topups)

    def reconcile(self, since: datetime, until: datetime) -> Reconciliation:
        """Hold the payments of a span of time at the provider against those in the ledger, and name
        each difference.  It changes nothing.

        Accounts of another mode (live or test) than the provider's are left out.  A payment by an
        org's customer that does not say what it is for is a difference too, of no top-up: look at
        it at the provider, and if it is of a top-up, give it to :meth:`read_back`.  What is under
        way at this moment can differ, so look at a span that has ended.

        Args:
            since: The first time at which a payment counts.
            until: The time before which it counts.

        Returns:
            How many payments were compared, and the differences.

        Raises:
            PaymentError: The provider failed, or the engine has none.
            InvalidCommand: ``until`` is not after ``since``.
        """
        topups = self._at_provider()
        start, end = micros("since", since), micros("until", until)
        if start >= end:
            raise InvalidCommand("until", until, f"a time after {since}, from where it begins")
        return topups.reconciliation(start, end)

    # -- the one way of a read --------------------------------------------------

    def _ask(self, command: Command, now: int, answer: Callable[[Ledger], _A]) -> _A:
        """What the org as it stands now answers, with what a command would need."""
        want = wanted([command], now)[command.org]
        want.until = now
        return self._asked(command.org, want, now, answer)

    def _terms(self, now: int) -> Terms:
        catalogue = self._prices.known(now)
        level = self._prices.level
        return Terms(catalogue, now, self._tolerance, horizon=self._horizon, level=level)

    def _asked(self, org: str, want: Wanted, now: int, answer: Callable[[Ledger], _A]) -> _A:
        terms = self._terms(now)
        wants = {org: want}
        while True:
            loaded = self.store.snapshot(wants)
            if widened(wants, loaded, terms):
                continue
            state = loaded[org]
            if state.account is None:
                raise NotFound("org", org, "it has no account; open it first")
            try:
                return answer(ledger_now(org, state, terms))
            except NeedMore as need:
                need.widen(wants)
                if need.org is None:
                    terms = self._prices.refreshed(terms)

    def _projected(self, org: str, *, now: int) -> Ledger:
        return self._asked(checked_name("org", org), Wanted(until=now), now, lambda each: each)

    # -- prices -----------------------------------------------------------------

    def catalogue(self) -> Catalogue:
        """Read all published prices and plans, as of now.

        Returns:
            The catalogue.

        Raises:
            StoreError: The store failed, or what was published cannot be read.
        """
        return self._prices.load()

    def quote(self, org: str, usage: Usage, *, at: datetime | None = None) -> Quote:
        """Compute the most that a usage can cost the org at one time, rounded up to whole nanos; it
        reserves nothing (rule 5.4).

        Args:
            usage: What would be used.  A fact that its price depends on and that it does not give
                may have the value that costs most (rule 5.9).
            at: The time of the usage, which may lie ahead: then the prices and the plan count that
                are published for it by now.  Default: now.

        Returns:
            The cost in nanos, whole and by component.

        Raises:
            UnknownPrice: A component has no price in force then.
            NotFound: The org has no account.
        """
        now = self.clock()
        time = now if at is None else micros("at", at)
        command = Settle(org, "quote", usage=usage, at=moment(time))
        return self._ask(command, now, lambda ledger: quote_usage(ledger, usage, time))

    def pricing(
        self, org: str, *, at: datetime | None = None
    ) -> Mapping[str, Mapping[str, Priced]]:
        """Read the prices that are in force for an org: its own, else its plan's, else everyone's.

        Args:
            at: The time at which they are in force.  Default: now.

        Returns:
            The prices by resource and component; a resource may be a prefix that ends in ``*``.

        Raises:
            NotFound: The org has no account.
        """
        now = self.clock()
        time = now if at is None else micros("at", at)

        def answer(ledger: Ledger) -> Mapping[str, Mapping[str, Priced]]:
            currency = ledger.account.currency
            return ledger.catalogue.prices(currency, time, ledger.audiences(time))

        return self._asked(
            checked_name("org", org), Wanted(until=now, times=(time, time)), now, answer
        )

    def diff(self, old: str, new: str) -> tuple[Difference, ...]:
        """Say in words what a published version changes of what another one says.

        Args:
            old: The name of the version before.
            new: The name of the version after: of the same kind (a plan or a price book), currency
                and audience.

        Returns:
            The differences; none, if they say the same.

        Raises:
            NotFound: There is no version of this name.
            InvalidCommand: The two cannot be compared.
        """
        from billing_core.pricing.differences import differences

        catalogue = self._prices.load()
        return differences(catalogue.document(old), catalogue.document(new))

    # -- credit, charges, events ------------------------------------------------

    def balance(self, org: str) -> Balance:
        """Read the org's credit now; what has expired by now is not in it, whether or not that is
        on record yet.

        Returns:
            The balance, what of it is held, what is available, what is owed, and each lot; in
                nanos.

        Raises:
            NotFound: The org has no account.
        """
        from billing_core.reports.statements import balance

        now = self.clock()
        return balance(self._projected(org, now=now), now)

    def check(
        self,
        org: str,
        cost: Money | Usage,
        *,
        resource: str | None = None,
        member: str | None = None,
        project: str | None = None,
    ) -> Check:
        """Ask whether a hold of this cost would succeed now; it reserves nothing.

        A usage is quoted at its price of this moment.  A hold may need more, if prices change in
        its life (rule 5.4).

        Args:
            cost: An amount, or the usage expected.
            resource: What an amount is for, so that lots with a scope can serve it.  A usage names
                its own: then leave it out.
            member: Who in the org spends the credit: for reports, and for limits by member (rule
                8.7).  None: nobody in particular.
            project: What spending is grouped and limited by beside members, such as an API key or a
                team.  None: no project.

        Returns:
            Whether it is allowed, what is needed and what is available, in nanos, and the refusal,
                if it is not allowed.

        Raises:
            UnknownPrice: The usage has a component without a price in force.
            NotFound: The org has no account.
            InvalidCommand: The amount is in another currency, or another argument is invalid.
        """
        now = self.clock()
        command = Hold(
            org, "check", cost=cost, resource=resource, expires_in=timedelta(seconds=1),
            member=member, project=project,
        )  # fmt: skip
        return self._ask(command, now, lambda ledger: check(ledger, command, now))

    def explain(self, org: str, charge: int) -> Explanation:
        """Show everything behind a charge: its usage, its price versions, the arithmetic, the lots
        that paid, and what was given back.

        Args:
            charge: The ``seq`` that the charge answered.

        Returns:
            The explanation, with amounts in nanos; its ``str`` is readable text.

        Raises:
            NotFound: The org has no account, or no such charge.
        """
        from billing_core.reports.explain import explain

        checked_name("org", org)
        _check_seq("charge", charge)
        want = Wanted(until=0, charges={charge})
        state = self.store.snapshot({org: want})[org]
        if state.account is None:
            raise NotFound("org", org, "it has no account; open it first")
        entry = state.subjects.get(charge)
        if entry is None or entry.usage is None or entry.op not in CHARGES:
            raise NotFound("charge", charge, "a charge is named by the seq that it answered")
        terms = Terms(self._prices.load(), self.clock(), 0, 0)
        ledger = Ledger(org, state, terms)
        story = own_story(ledger, entry) if entry.op == "piece" else story_of(ledger, entry)
        member = member_names(self.store, org, [entry.usage.member]).get(entry.usage.member)
        return explain(entry, story, terms.catalogue, state.account.currency, state.lots, member)

    def find(self, org: str, op: str, key: str) -> Success | None:
        """Look up the outcome of an operation's key, without sending the command again.

        Args:
            op: The operation's name as the journal has it, such as ``settle``, ``hold`` or
                ``grant``.

        Returns:
            The success on record, or None if there is none.  Nothing else is kept: after a refusal
                the key is still unused.

        Raises:
            InvalidCommand: There is no such operation.
        """
        operation = OPERATIONS.get(op)
        if operation is None or operation.outcome is None:
            known = [name for name, each in OPERATIONS.items() if each.outcome is not None]
            raise InvalidCommand("op", op, f"one of {', '.join(known)}")
        entry = self.store.entry(checked_name("org", org), f"{op}:{checked_name('key', key)}")
        return None if entry is None else operation.replay(entry)

    def events(self, org: str, *, after: int = 0, limit: int = 100) -> Sequence[Event]:
        """Read what the ledger has to tell your service, in order: see the page on events for the
        kinds (rule 9.4).

        Members are named as they are now; a name that was erased is None.

        Args:
            after: The ``seq`` of the last entry whose events you have. 0: from the first on.
            limit: How many events at most, from 1 to 10,000.

        Returns:
            The events of later entries.

        Raises:
            NotFound: The org has no account.
            InvalidCommand: ``after`` or ``limit`` is out of range.
        """
        _check_seq("after", after)
        if type(limit) is not int or not 1 <= limit <= 10_000:
            raise InvalidCommand("limit", limit, "an int from 1 to 10,000")
        found = self.store.events(checked_name("org", org), after, limit)
        if not found:
            account_record(self.store, org)  # raises NotFound
        return events_with_names(self.store, org, found)

    # -- runs and storage, as they stand ----------------------------------------

    def quote_run(
        self,
        org: str,
        spec: Usage,
        runtime: timedelta,
        *,
        member: str | None = None,
        project: str | None = None,
    ) -> RunQuote:
        """Compute what a run that starts now can cost at most in so much running time, whether or
        not there is credit for it.

        Args:
            spec: What a microsecond of it uses: ``sandbox(…)`` makes it.
            runtime: For how long it would run.
            member: Who in the org spends the credit: for reports, and for limits by member (rule
                8.7).  None: nobody in particular.
            project: What spending is grouped and limited by beside members, such as an API key or a
                team.  None: no project.

        Returns:
            The cost in nanos, and until when.

        Raises:
            UnknownPrice: A component has no price in force.
            NotFound: The org has no account.
            InvalidCommand: An argument is invalid.
        """
        from billing_core.runs.views import run_cost

        us = duration("runtime", runtime)
        return self._quoted_run(
            org, spec, member, project, lambda ledger, use: run_cost(ledger, use, spec, us)
        )

    def longest_run(
        self,
        org: str,
        spec: Usage,
        *,
        member: str | None = None,
        project: str | None = None,
    ) -> RunQuote:
        """Compute how long a run that starts now can last, as far as credit, limits and published
        prices reach; ten years at most.

        Args:
            spec: What a microsecond of it uses: ``sandbox(…)`` makes it.
            member: Who in the org spends the credit: for reports, and for limits by member (rule
                8.7).  None: nobody in particular.
            project: What spending is grouped and limited by beside members, such as an API key or a
                team.  None: no project.

        Returns:
            Until when, what keeps that from being later, and what it costs until then, in nanos.

        Raises:
            UnknownPrice: A component has no price in force.
            NotFound: The org has no account.
            InvalidCommand: An argument is invalid.
        """
        from billing_core.runs.views import longest_run

        return self._quoted_run(
            org, spec, member, project, lambda ledger, use: longest_run(ledger, use, spec, _LONG)
        )

    def _quoted_run(
        self,
        org: str,
        spec: Usage,
        member: str | None,
        project: str | None,
        quoted: Callable[[Ledger, Use], RunQuote],
    ) -> RunQuote:
        now = self.clock()
        command = StartRun(org, "quote", spec=spec, member=member, project=project)

        def answer(ledger: Ledger) -> RunQuote:
            who = 0 if member is None else ledger.state.members.get(member, -1)
            use = Use(who, project, spec.resource, now, max(now, ledger.account.watermark))
            return quoted(ledger, use)

        return self._ask(command, now, answer)

    def run(self, org: str, run: str) -> RunView:
        """Read how a run stands, with an estimate of what is not charged yet.

        Args:
            run: The run's name, which is the key that it was started with.

        Returns:
            The run; amounts are in nanos.

        Raises:
            NotFound: The org has no account, or no run of this name.
        """
        from billing_core.runs.views import run_view

        now = self.clock()
        command: Command = Heartbeat(org, "view", run=run)

        def answer(ledger: Ledger) -> RunView:
            found = ledger.state.runs.get(run)
            if found is None:
                raise NotFound("run", run, "a run is named by the key of its start")
            names = member_names(self.store, org, [found.member])
            return run_view(ledger, found, names.get(found.member), now)

        return self._asked(org, wanted([command], now)[org], now, answer)

    def runs(self, org: str, *, unsettled: bool = True) -> list[RunView]:
        """Read the org's runs, ordered by name.

        Args:
            unsettled: Only those that are active, suspended or pending.  False: all that there ever
                were.

        Returns:
            The runs, each as :meth:`run` gives it.

        Raises:
            NotFound: The org has no account.
        """
        from billing_core.runs.views import run_view

        now = self.clock()
        found = list(self.store.runs(checked_name("org", org), unsettled=unsettled))
        names = member_names(self.store, org, [run.member for run in found])
        return self._asked(
            org,
            _want(found, now),
            now,
            lambda ledger: [
                run_view(ledger, run, names.get(run.member), now)
                for run in ledger.state.runs.values()
            ],
        )

    def _running(self, org: str, span: Window, member: int | None) -> list[Running]:
        """What of the runs' time in a window is not posted yet."""
        found = [
            run
            for run in self.store.runs(org, unsettled=True)
            if member in (None, run.member) and run.started_at < span.end
        ]
        if not found:
            return []
        from billing_core.runs.views import running

        now = self.clock()
        window = Window(span.start, min(span.end, now))
        return self._asked(
            org,
            _want(found, now),
            now,
            lambda ledger: [running(ledger, run, window) for run in ledger.state.runs.values()],
        )

    def storage(self, org: str) -> list[StorageView]:
        """Read the org's workspaces, ordered by name.

        Returns:
            The workspaces, with sizes in bytes and amounts in nanos.

        Raises:
            NotFound: The org has no account.
        """
        from billing_core.storage.views import storage_view

        found = [storage_view(each) for each in self.store.storages(checked_name("org", org))]
        if not found:
            account_record(self.store, org)  # raises NotFound
        return found

    def check_storage_quota(self, org: str, workspace: str, size: int) -> StorageQuotaCheck:
        """Ask, before a write, whether a workspace may have a size by the plan's quotas of
        ``bytes``.

        Args:
            workspace: The workspace's name.
            size: The size that it would have, in bytes.

        Returns:
            Whether it may, and how many bytes more than now it may have.

        Raises:
            NotFound: The org has no account.
            InvalidCommand: ``size`` is not an int of zero or more.
        """
        from billing_core.storage.views import check_storage_quota

        checked_name("workspace", workspace)
        if type(size) is not int or size < 0:
            raise InvalidCommand("size", size, "bytes: an int of zero or more")
        sizes = {each.workspace: each.size for each in self.store.storages(org)}
        now = self.clock()
        ledger = self._projected(org, now=now)
        return check_storage_quota(
            ledger, workspace, size, sizes, max(now, ledger.account.watermark)
        )

    # -- history ----------------------------------------------------------------

    def expiries(self, org: str, *, since: datetime, until: datetime | None = None) -> list[Expiry]:
        """Find what has expired and was not brought back, oldest first.

        What a wrong clock ended is dated ahead of its time; :meth:`undo_expiry` brings it back.

        Args:
            since: The first time of decision at which an expiry counts.
            until: The time before which it counts.  None: no end.

        Returns:
            The expiries, each with its amount in nanos.

        Raises:
            NotFound: The org has no account.
            InvalidCommand: A time has no time zone.
        """
        from billing_core.charging.restoration import expired_by
        from billing_core.reports.statements import Expiry

        account = account_record(self.store, org)
        after = first_entry_at(self.store, org, account, micros("since", since)) - 1
        end = None if until is None else micros("until", until)
        found: list[Expiry] = []
        while entries := self.store.entries(org, after=after, limit=500):
            for entry in entries:
                if end is not None and entry.at >= end:
                    return found
                lots = expired_by(entry)
                if lots and self.store.entry(org, f"restore:{entry.seq}") is None:
                    at, recorded_at = moment(entry.at), moment(entry.recorded_at)
                    amount = sum(lots.values())
                    found.append(Expiry(entry.seq, at, recorded_at, amount, lots))
            after = entries[-1].seq
        return found

    def history(
        self,
        org: str,
        *,
        limit: int = 100,
        before: int | None = None,
        types: Iterable[str] | None = None,
        resource: str | None = None,
        member: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> HistoryPage:
        """Read what moved the balance, newest first, in pages: go on with ``before=page.next``.

        A page may have fewer rows than ``limit``, even none, if few entries meet the filter.  Only
        where ``next`` is None is it the last.

        Args:
            limit: How many rows at most, from 1 to 500.
            before: Only entries with a lower ``seq``.  None: from the newest on.
            types: Only these types of :class:`HistoryRow`.  None: all.
            resource: Only rows of this resource.  None: all.
            member: Only usage of this member.  None: all.
            since: The first time of decision that counts.  None: from the beginning.
            until: The time before which it counts.  None: no end.

        Returns:
            The page.

        Raises:
            NotFound: The org has no account.
            InvalidCommand: An argument is out of range, or a type is not known.
        """
        from billing_core.reports.statements import HISTORY_TYPES, HistoryPage, history_row

        if type(limit) is not int or not 1 <= limit <= 500:
            raise InvalidCommand("limit", limit, "an int from 1 to 500")
        _check_seq("before", before)
        wanted = None if types is None else set(types)
        if wanted is not None and not wanted <= HISTORY_TYPES:
            raise InvalidCommand("types", types, f"some of {', '.join(sorted(HISTORY_TYPES))}")
        account = account_record(self.store, org)
        number = None if member is None else member_number(self.store, org, member)
        if until is not None:
            last = first_entry_at(self.store, org, account, micros("until", until))
            before = last if before is None else min(before, last)
        first = 0
        if since is not None:
            first = first_entry_at(self.store, org, account, micros("since", since))
        # Charges are most of a journal: what asks for none of them reads none.
        charges = wanted is None or "usage" in wanted
        rows: list[HistoryRow] = []
        looked = 0
        while True:
            entries = self.store.history(org, before=before, limit=limit, charges=charges)
            for entry in entries:
                if entry.seq < first:
                    return HistoryPage(tuple(rows), None)
                before = entry.seq
                row = history_row(entry, OPERATIONS)
                used = entry.usage
                if (
                    (wanted is None or row.type in wanted)
                    and (resource is None or row.resource == resource)
                    and (number is None or (used is not None and used.member == number))
                ):
                    rows.append(row)
                    if len(rows) == limit:
                        return HistoryPage(tuple(rows), before)
            looked += len(entries)
            if len(entries) < limit:
                return HistoryPage(tuple(rows), None)
            if looked >= _SCAN:
                return HistoryPage(tuple(rows), before)

    def balance_as_of(
        self, org: str, effective: datetime, *, recorded: datetime | None = None
    ) -> int:
        """Read the balance at an earlier time, as known then or now.

        It is the sum of what was decided by the one time and recorded by the other.  What had
        expired by then and was recorded later is not taken off: no decision used that.

        Args:
            effective: Up to which time of decision, inclusive.
            recorded: Up to which time of recording, inclusive.  None: as known now.

        Returns:
            The balance in nanos.

        Raises:
            NotFound: The org has no account.
            InvalidCommand: A time has no time zone.
        """
        account = account_record(self.store, org)
        # The first microsecond after each time.
        number = first_entry_at(self.store, org, account, micros("effective", effective) + 1)
        if recorded is not None:
            after = micros("recorded", recorded) + 1
            number = min(number, first_entry_at(self.store, org, account, after, recorded=True))
        if number == 1:
            return 0
        [entry] = self.store.entries(org, after=number - 2, limit=1)
        return entry.balance

    # -- usage ------------------------------------------------------------------

    def usage(
        self, org: str, period: PeriodName = "current", *, member: str | None = None
    ) -> UsageReport:
        """Report usage over a period, whole and by member (rule 8.2).

        Args:
            period: ``current``, the billing period; ``7d`` or ``30d``, which end now; or
                ``all_time``, all that was ever recorded.
            member: Only this member's.  None: all members'.

        Returns:
            The report, with amounts in nanos, and an estimate of what open runs have used and was
                not charged yet.

        Raises:
            NotFound: The org has no account.
            InvalidCommand: There is no such period.
        """
        from billing_core.reports.usage import report

        account, span, reached, only = self._asked_for(org, period, member)
        if period == "current":
            spans = [Span("period", *span)]
        elif period == "all_time":
            spans = cover(reached, partial(billing_period, account.anchor))
        else:
            spans = cover(span)
        sums = self.store.usage_sums(org, spans, only)
        open_runs = self._running(org, span, only)
        if member is None or only is None:
            users = {used for used, _, _ in sums.cells}
            names = member_names(self.store, org, users | {run.member for run in open_runs})
        else:
            names = {only: member}
        unit_of = self._unit(account)
        return report(org, account.currency, period, span, sums, names, unit_of, open_runs)

    def usage_by_day(
        self, org: str, period: PeriodName = "30d", *, member: str | None = None
    ) -> tuple[DayUsage, ...]:
        """Report usage over a period by UTC day, oldest first (rule 8.2).

        The first and the last day may be parts of days, as the period is.

        Args:
            period: ``current``, the billing period; ``7d`` or ``30d``, which end now; or
                ``all_time``, all that was ever recorded.
            member: Only this member's.  None: all members'.

        Returns:
            The days on which something was used, with amounts in nanos.

        Raises:
            NotFound: The org has no account.
            InvalidCommand: There is no such period.
        """
        from billing_core.reports.usage import by_day

        account, _, span, only = self._asked_for(org, period, member)
        days: dict[int, Sums] = {}
        for grain, start, end in cover(span):
            if grain is None:
                for _, record in self.store.usage(org, start, end, only):
                    day = record.occurred_at - record.occurred_at % DAY
                    days.setdefault(day, Sums()).add_record(record._replace(member=0))
            else:
                for key, cell in self.store.cells(org, grain, start, end, only).items():
                    day = key.start - key.start % DAY
                    days.setdefault(day, Sums()).add(0, key.resource, key.payer, cell)
        return by_day(days, self._unit(account))

    def _asked_for(
        self, org: str, period: PeriodName, member: str | None
    ) -> tuple[Account, Window, Window, int | None]:
        """The account, the period as it is said, as far as it reaches, and the member."""
        now = self.clock()
        account = account_record(self.store, org)
        span = window(period, anchor=account.anchor, opened=account.opened_at, now=now)
        if period == "all_time":
            # Usage may be recorded of a time before the opening: by whole billing periods.
            early = self.store.cells(org, "period", -(2**62), span.start)
            span = span._replace(start=min((key.start for key in early), default=span.start))
        reached = span
        if period == "all_time":
            # Of this very moment too, and of times that are yet to come by this clock.
            late = self.store.cells(org, "period", billing_period(account.anchor, now).start, 2**62)
            ends = [billing_period(account.anchor, key.start).end for key in late]
            reached = span._replace(end=max(ends, default=now))
        number = None if member is None else member_number(self.store, org, member)
        return account, span, reached, number

    def _unit(self, account: Account) -> partial[str]:
        return partial(self._prices.known(self.clock()).unit, account.currency)

    # -- proof ------------------------------------------------------------------

    def verify(
        self,
        org: str | None = None,
        *,
        checkpoints: Mapping[str, Checkpoint] | None = None,
        progress: Progress | None = None,
        checkpoint: Callable[[Checkpoint], object] | None = None,
    ) -> Verification:
        """Compute every balance, lot, hold, counter and sum anew from the journal, and name each
        row of each table that differs, what is published included (rule 6.9).

        ``docs/reference/verify.md`` names every column, and what finds an edit of it.  It reads
        while others write, so verify a database at rest, or a copy.

        Args:
            org: Only this org.  None: all of them.
            checkpoints: Checkpoints of earlier runs by org, kept elsewhere.  The audit of such an
                org begins at its checkpoint, and the entry there must be the one that it was.
            progress: Called as ``progress(org, entries read, entries in all)`` while it goes.
            checkpoint: Called with each checkpoint that is made.  Then the result holds none, and
                memory does not grow with the number of orgs.

        Returns:
            What was read, the discrepancies, and the checkpoints.

        Raises:
            NotFound: The org has neither an account nor entries.
            InvalidCommand: ``checkpoints`` has something else than a Checkpoint.
            StoreError: The store failed.
        """
        from billing_core.audit.state import Checkpoint, Discrepancy
        from billing_core.audit.verify import (
            Verification,
            check_marks,
            read_documents,
            verify_org,
        )

        kept = {} if checkpoints is None else dict(checkpoints)
        for each in kept.values():
            if not isinstance(each, Checkpoint):
                raise InvalidCommand("checkpoints", each, "Checkpoints by org")
        catalogue, found = read_documents(self.store)
        published = not found  # as it was: else no checkpoint is made of it
        now = self.clock()
        found += check_marks(self.store, now)
        made: dict[str, Checkpoint] = {}
        gone = set(kept) if org is None else set()
        entries = orgs = 0
        if org is not None and org not in kept and not self._has_journal(org):
            account_record(self.store, org)  # raises NotFound, but for an account without entries
        for name in [org] if org is not None else self.orgs():
            audit = verify_org(self.store, name, catalogue, kept.get(name), progress, now)
            gone.discard(name)
            orgs += 1
            entries += audit.followed
            found += audit.found
            if published and not audit.found and audit.account is not None:
                if checkpoint is None:
                    made[name] = audit.checkpoint()
                else:
                    checkpoint(audit.checkpoint())
        for name in kept:
            if name in gone:
                found.append(Discrepancy(name, "account", "in a checkpoint, but not on record"))
        return Verification(entries, orgs, tuple(found), made)

    def _has_journal(self, org: str) -> bool:
        try:
            return bool(self.store.entries(org, limit=1))
        except StoreError as error:
            if error.retryable:
                raise
            return True  # altered beyond reading: that is for the audit to say

    def orgs(self) -> Iterator[str]:
        """Give every org's id, sorted.

        Yields:
            The ids.

        Raises:
            StoreError: The store failed.
        """
        return every_org(self.store)


def _want(runs: Iterable[Run], now: int) -> Wanted:
    want = Wanted(until=now)
    want.runs = {run.run: (now, now) for run in runs}
    return want


def _check_seq(field: str, seq: object) -> None:
    if seq is not None and (type(seq) is not int or not -(2**63) <= seq < 2**63):
        raise InvalidCommand(field, seq, "a sequence number")
