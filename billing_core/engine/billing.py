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
    """The billing engine over a store.  Safe to share between threads.

    ``clock``, ``ids``: where time and ids come from.  The machine's own clock, the default, is
    checked before anything ends by it (ClockDoubt); a clock that you pass is trusted.
    ``tolerance``: how far ahead of the clock a command may be dated, and how far the machine's
    clock may be from the database's, where that has one.  ``catalogue_age``: how long a loaded
    catalogue is used before it is read again.  ``publication_delay``: how long before it takes
    effect a change of price must be published: at least ``tolerance`` and ``catalogue_age``
    together.  All services on one store use the same values.  ``payments``: moves the money of
    top-ups, within the limits of ``topups``.

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
        self._in_flight = InFlight("calls")
        self._heeding = InFlight("webhooks")
        self._work = Work(store, clock, ids, self._clock_check, self._do)
        self._joined = False
        self._coalescer = Coalescer(self._run, width=store.concurrency)
        self._submit: Callable[[Sequence[Command]], list[Outcome]] = self._coalescer.submit

    # -- the one way of a write -------------------------------------------------

    def execute(self, commands: Iterable[Command]) -> list[Outcome]:
        """Decide the commands in order, in one commit; one outcome for each.

        A failed command is an outcome too (a Refusal, or an error as a value) and
        disturbs no other.  Raises StoreError alone: then none of it was done, or,
        where ``outcome_unknown``, all or none of it.
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
        return OpenHold(self, command, self._do(command, Held))

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
        expires_in: timedelta,
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
        """Let a hold live longer, and hold more; see :class:`Extend`."""
        return self._do(
            Extend(org, key, hold=hold, expires_in=expires_in, add=add, at=at), Extended
        )

    def release(
        self, org: str, hold: str, *, key: str | None = None, at: datetime | None = None
    ) -> Released:
        """End a hold of which nothing was used.  Without a ``key``, the hold's is this command's
        too."""
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
        """Charge what was really used, whatever the balance; see :class:`Settle`."""
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
        """Confirm, as an operator, that this machine's clock is right after the store was unused
        for more than a day.  Look at the clock first: what has ended by then ends for good.
        Returns the time that was accepted.

        Raises ClockDoubt where the store has a clock of its own and that differs.
        """
        return moment(self._clock_check.accept())

    def publish(self, document: PriceBook | Plan) -> str:
        """Publish a price book or a version of a plan.  Returns its full name.  The same again is
        a no-op.

        Raises InvalidCommand where it would change terms sooner than the publication
        delay allows, or where the version's name is taken; ClockDoubt where the clock is not
        the database's.
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
        """Start a run, which its key names; see :class:`StartRun`.  Stop it by
        ``funded_until``, or get that renewed by a heartbeat before."""
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
        """A sign of life; see :class:`Heartbeat`.  Its default key is its time's."""
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
        """The run does not run from then on; see :class:`SuspendRun`."""
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
        """The run runs again; see :class:`ResumeRun`."""
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
        """The run has ended; see :class:`StopRun`.  Without a ``key``, the run's serves."""
        command = StopRun(
            org, run if key is None else key, run=run, settle=settle, occurred_at=occurred_at,
            at=at,
        )  # fmt: skip
        return self._do(command, RunStatus)

    def settle_run(
        self, org: str, run: str, *, key: str | None = None, at: datetime | None = None
    ) -> RunStatus:
        """Settle a pending run; see :class:`SettleRun`."""
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
        """Give back what a run was charged, or a part of it; see :class:`ForgiveRun`."""
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
        """Charge again what was forgiven of a run; see :class:`UndoForgiveness`."""
        return self._do(UndoForgiveness(org, key, run=run, reason=reason, at=at), RunStatus)

    def sweep_runs(
        self, *, idle_for: timedelta = timedelta(minutes=15), limit: int = 1000
    ) -> list[RunStatus]:
        """Close the runs of all orgs that gave no sign of life for so long, at their last one:
        at most ``limit``, the longest silent first.  Its cost follows these.

        A run that cannot be closed keeps no other open, whoever's it is; what was wrong with the
        first such is raised once nothing else is left to close.
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
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> StorageStatus:
        """A workspace has so many bytes from then on; see :class:`ReportStorage`.  Its default
        key is its time's and size's."""
        name = told_at(workspace, occurred_at or at, self.clock)
        command = ReportStorage(
            org, f"{name}:{size}" if key is None else key, workspace=workspace, size=size,
            occurred_at=occurred_at, at=at,
        )  # fmt: skip
        return self._do(command, StorageStatus)

    def bill_storage(
        self, org: str, workspace: str | None = None, *, until: datetime | None = None
    ) -> list[StorageStatus]:
        """Charge storage up to a time (default: now), of one workspace or all; see
        :class:`BillStorage`."""
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
        """Let a customer pay for credit, on the provider's page.

        ``amount``: of credit, before tax.  ``save_method``: keep the card for automatic
        top-ups.  ``{CHECKOUT_SESSION_ID}`` in ``success_url`` becomes the session's id, for
        :meth:`confirm`.  The order is on record before the provider hears of it; the same
        key again gives the same page, or IdempotencyConflict where another description or URL
        comes with it.  Raises PaymentError too: ``rate_limited``, and nothing is ordered,
        while four calls of the org wait for the provider.  So do ``confirm``, ``read_back``
        and ``refund``.
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
        """A payment page for a customer whose automatic top-up failed.  Paying there buys as much
        credit, saves the new card, and lets automatic top-ups go on.

        The payment that failed cannot be completed itself.
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
        """A top-up as it is on record; raises NotFound."""
        return topup_record(self.store, org, topup)

    def confirm(self, org: str, session: str) -> TopUpUpdated:
        """The customer is back: credit the session if it was paid and is not yet credited.

        ``paid`` of the answer says whether it was; if not, it may still be.  Raises NotFound
        for a session of another org, or one that is not on record: then the provider, who
        would have to be waited for, is not asked.
        """
        topups = self._at_provider()
        known = self.store.topup_of(checkout=checked_name("session", session))
        if known is None or known[0] != org:
            raise NotFound("session", session, f"org {org!r} has none of this name")
        with self._in_flight.one(org):
            return topups.fulfil(*known, checkout=session)

    def webhook(self, body: bytes, signature: str | None) -> Notice:
        """Verify what the provider posted, and do what follows from it.

        ``body``: exactly as received.  Raises PaymentError of a kind ``bad_signature``,
        ``bad_webhook`` or ``wrong_mode``, for which the answer is 400; for any other error
        answer 5xx, and the provider delivers again.  So it does for the fifth of one org, or
        of what is not on record yet, that would wait for the provider (``rate_limited``).
        """
        topups = self._at_provider()
        notice = topups.provider.read_webhook(body, signature, now=self.clock())
        topups.heed(notice, self._heeding.one)
        return notice

    def read_back(self, org: str, topup: str, *, payment: str | None = None) -> TopUpUpdated:
        """Make the record of a top-up what the provider says of it now: for what ``reconcile``
        names, should its news be lost.  Doing it again changes nothing.

        ``payment``: the provider's id of the payment, as ``reconcile`` names it, for a top-up
        whose record names neither page nor payment, since the provider's answer was lost.  Of
        a payment that does not say whose it is, that is your word: it is taken where the
        customer, amount and currency are those asked for.

        Raises NotFound, and Conflict where there is nothing to read, or the payment is another's.
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
        """How an org's automatic top-up stands; ``made``: how it stood when that was set."""
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
        """Set when and how much to top up by itself; see :class:`SetAutoTopUp`.  Raises
        Refused (``no_saved_method``)."""
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
        """Give back the money of a top-up, or ``amount`` of it, tax included; its credit is
        taken back in proportion, and may leave debt.

        It is on record before the provider hears of it, and background work goes on with
        it where the answer is lost.  Raises Refused (``not_paid``) and PaymentError.
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
        """Do what is due: what has lapsed, events for ``deliver``, automatic top-ups and lost
        answers, refunds, news that no webhook brought.

        One pass: at most about ``limit`` pieces of each kind, and none begun after ``until``,
        nor once its kind has had five seconds.  Call it again and again, from a thread, a cron
        or a queue, and at once where the answer says ``more``; any number may run at once.
        What fails is told in the answer, disturbs nothing else, and is tried again later.

        Orgs take turns, and a provider that has not answered is asked for nothing else in the
        same pass.  With one worker that calls it again and again, however much other orgs have
        waiting:

        - what lapses, and an event, wait 25 seconds at most, and the last piece of each kind,
          which takes no longer than a call to a provider that hangs (Stripe's gives up after
          about a minute, as it comes);
        - a top-up waits so long for each org that has one due as well.

        More workers wait less.  ``deliver`` is waited for.

        While the clock is in doubt (ClockDoubt, among the failures) it does no more than what
        has lapsed for certain.

        Events reach ``deliver`` at least once, in order per org; ``Delivery.id`` is for
        telling repetitions.
        """
        topups = None if self.payments is None else self._at_provider()
        return self._work.one_pass(limit, until, deliver, topups)

    def reconcile(self, since: datetime, until: datetime) -> Reconciliation:
        """Hold the ledger's payments against the provider's, made from ``since`` on and
        before ``until``, and name each difference.  It changes nothing.  Accounts of another
        livemode than the provider's are left out.

        A payment by an org's customer that does not say what it is for is a difference too, of
        no top-up: look at it there, and give it to :meth:`read_back` if it is one's.

        What is under way while it looks can differ: look at a span that has ended.
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
        """All published prices, as of now."""
        return self._prices.load()

    def quote(self, org: str, usage: Usage, *, at: datetime | None = None) -> Quote:
        """The most that a usage can cost the org at a time (default: now), rounded up.

        A later time is quoted under the prices and the plan published for it by now.
        Raises UnknownPrice, NotFound.
        """
        now = self.clock()
        time = now if at is None else micros("at", at)
        command = Settle(org, "quote", usage=usage, at=moment(time))
        return self._ask(command, now, lambda ledger: quote_usage(ledger, usage, time))

    def pricing(
        self, org: str, *, at: datetime | None = None
    ) -> Mapping[str, Mapping[str, Priced]]:
        """The prices in force for the org at a time (default: now), by resource and
        component: its own, its plan's, everyone's.  Raises NotFound."""
        now = self.clock()
        time = now if at is None else micros("at", at)

        def answer(ledger: Ledger) -> Mapping[str, Mapping[str, Priced]]:
            currency = ledger.account.currency
            return ledger.catalogue.prices(currency, time, ledger.audiences(time))

        return self._asked(
            checked_name("org", org), Wanted(until=now, times=(time, time)), now, answer
        )

    def diff(self, old: str, new: str) -> tuple[Difference, ...]:
        """What a published version changes of what another says, in words.

        Both by name: of plans, or of price books for one audience.  Raises NotFound,
        InvalidCommand.
        """
        from billing_core.pricing.differences import differences

        catalogue = self._prices.load()
        return differences(catalogue.document(old), catalogue.document(new))

    # -- credit, charges, events ------------------------------------------------

    def balance(self, org: str) -> Balance:
        """The org's credit now, with what has lapsed by now applied."""
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
        """Whether a hold of this cost would succeed now.  It reserves nothing."""
        now = self.clock()
        command = Hold(
            org, "check", cost=cost, resource=resource, expires_in=timedelta(seconds=1),
            member=member, project=project,
        )  # fmt: skip
        return self._ask(command, now, lambda ledger: check(ledger, command, now))

    def explain(self, org: str, charge: int) -> Explanation:
        """Everything behind a charge: usage, price version, arithmetic, lots."""
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
        terms = Terms(self._prices.load(), self.clock(), 0)
        ledger = Ledger(org, state, terms)
        story = own_story(ledger, entry) if entry.op == "piece" else story_of(ledger, entry)
        member = member_names(self.store, org, [entry.usage.member]).get(entry.usage.member)
        return explain(entry, story, terms.catalogue, state.account.currency, state.lots, member)

    def find(self, org: str, op: str, key: str) -> Success | None:
        """The outcome on record for an operation's key, such as ``("settle", "req-1")``."""
        operation = OPERATIONS.get(op)
        if operation is None or operation.outcome is None:
            known = [name for name, each in OPERATIONS.items() if each.outcome is not None]
            raise InvalidCommand("op", op, f"one of {', '.join(known)}")
        entry = self.store.entry(checked_name("org", org), f"{op}:{checked_name('key', key)}")
        return None if entry is None else operation.replay(entry)

    def events(self, org: str, *, after: int = 0, limit: int = 100) -> Sequence[Event]:
        """What the host may want to know, in order, after an entry's ``seq``; whose it is, by
        the names of now.  Raises NotFound."""
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
        """What a run that starts now can cost at most in so much running time, whether or not
        there is credit for it."""
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
        """How long a run that starts now can last, as far as credit, limits and published prices
        reach, for ten years at most; and what it costs until then."""
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
        """A run as it stands, with an estimate of what is not posted yet."""
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
        """The runs that are active, suspended or pending, by name, or all that there ever were."""
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
        """The workspaces, by name.  Raises NotFound."""
        from billing_core.storage.views import storage_view

        found = [storage_view(each) for each in self.store.storages(checked_name("org", org))]
        if not found:
            account_record(self.store, org)  # raises NotFound
        return found

    def check_storage_quota(self, org: str, workspace: str, size: int) -> StorageQuotaCheck:
        """Whether a workspace may have ``size`` bytes, and what is left: asked before a write."""
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
        """What expired in a half-open span of the times of decision and was not brought back,
        oldest first: what a wrong clock ended is dated ahead of its time, and
        :meth:`Billing.undo_expiry` undoes it."""
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
        """What moved the balance, newest first, in pages: go on with ``before=page.next``.

        ``types``: of :class:`HistoryRow`.  ``since`` and ``until``: a half-open span of
        the times of decision.  A page may have fewer rows than ``limit``, even none, where
        few entries meet the filter; the last page's ``next`` is None.
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
        """The balance, in nanos, at an ``effective`` time, as known at a ``recorded`` time
        (default: as known now): the sum of the transfers posted by both.

        What had lapsed by then and was recorded later is not in it: no decision uses it.
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
        """Usage over a period, of all members or of one, whole and by member."""
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
        """Usage over a period by UTC day, oldest first, of all members or of one.

        The first and the last day may be parts of days, as the period is.
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
        """Re-derive every balance, lot, hold, counter and rollup from the journal, and hold each
        row of each table against it, what is published included;
        ``docs/reference/verify.md`` has every column, and what finds an edit of it.

        For one org or all; from the start, or, for orgs that ``checkpoints`` name, from
        there on (the entry at the checkpoint must be the one that it was).
        ``progress(org, entries read, entries in all)`` is called as it goes, and
        ``checkpoint(of an org)`` with each that is made: where it is given, the result holds
        none, and memory does not grow with the number of orgs.

        It reads while others write: verify a database at rest, or a copy.
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
        """Every org's id, sorted."""
        return every_org(self.store)


def _want(runs: Iterable[Run], now: int) -> Wanted:
    want = Wanted(until=now)
    want.runs = {run.run: (now, now) for run in runs}
    return want


def _check_seq(field: str, seq: object) -> None:
    if seq is not None and (type(seq) is not int or not -(2**63) <= seq < 2**63):
        raise InvalidCommand(field, seq, "a sequence number")
