"""The same engine for asyncio: every method of :class:`Billing`, awaited.

Tasks that ask in the same turn of the loop share a batch, which runs in a thread of the
loop's executor by the same :class:`Coalescer` that serves threads.

A cancelled await is an unknown outcome: the write may commit all the same.  Sending the
same command again, with its key, resolves it.  Inside the host's transaction (``within``) every
cancelled call, reads included, ends when the host's connection is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal, TypeVar
from weakref import WeakKeyDictionary

from billing_core.audit.state import Checkpoint
from billing_core.audit.verify import Progress, Verification
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
from billing_core.engine.async_runs import AsyncOverTime
from billing_core.engine.async_topups import AsyncTopUps
from billing_core.engine.billing import Billing, checked_batch, each_of
from billing_core.engine.hold_handles import AsyncHold
from billing_core.engine.reads import Check
from billing_core.engine.runs import closed, closing, unwrapped
from billing_core.engine.system import system_clock, uuid7
from billing_core.engine.task_batches import Gatherer
from billing_core.errors import InvalidCommand
from billing_core.ports.clock import Clock, IdSource
from billing_core.ports.payments import PaymentProvider
from billing_core.ports.store import Store
from billing_core.pricing.catalogue import Catalogue, Priced
from billing_core.pricing.differences import Difference
from billing_core.pricing.plan import Grain, Plan
from billing_core.pricing.price_book import PriceBook
from billing_core.pricing.rating import Quote
from billing_core.records.events import Event
from billing_core.records.topups import TopUpRules
from billing_core.reports.explain import Explanation
from billing_core.reports.statements import Balance, Expiry, HistoryPage
from billing_core.reports.usage import DayUsage, UsageReport
from billing_core.values.money import Money
from billing_core.values.times import PeriodName
from billing_core.values.usage import Usage

__all__ = ["AsyncBilling", "AsyncHold"]

_S = TypeVar("_S", bound=Success)


class AsyncBilling(AsyncOverTime, AsyncTopUps):
    """The billing engine over a store, for asyncio; see :class:`Billing`.

    May be used from several event loops.
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
        self._billing = Billing(
            store,
            clock=clock,
            ids=ids,
            tolerance=tolerance,
            publication_delay=publication_delay,
            catalogue_age=catalogue_age,
            payments=payments,
            topups=topups,
        )
        self._joined = False
        self._desks = WeakKeyDictionary()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Gatherer] = WeakKeyDictionary()

    @property
    def store(self) -> Store:
        return self._billing.store

    @property
    def clock(self) -> Clock:
        return self._billing.clock

    @property
    def ids(self) -> IdSource:
        return self._billing.ids

    # -- the one way of a write -------------------------------------------------

    async def execute(self, commands: Iterable[Command]) -> list[Outcome]:
        """Decide the commands in order, in one commit; see :meth:`Billing.execute`."""
        batch = checked_batch(commands)
        if not batch:
            return []
        loop = asyncio.get_running_loop()
        if self._joined:
            return await self._in_thread(self._billing.execute, batch)
        gatherer = self._loops.get(loop)
        if gatherer is None:
            gatherer = Gatherer(self._billing.finish, self.store.concurrency)
            self._loops[loop] = gatherer
        return await gatherer.submit(batch)

    async def execute_many(
        self, commands: Iterable[Command], *, batch: int = 1000
    ) -> AsyncIterator[Outcome]:
        """Any number of commands, ``batch`` to a commit; see :meth:`Billing.execute_many`."""
        if type(batch) is not int or not 1 <= batch <= 10_000:
            raise InvalidCommand("batch", batch, "an int from 1 to 10,000")
        rest = each_of(commands)
        while some := list(islice(rest, batch)):
            for result in await self.execute(some):
                yield result

    def within(self, connection: object) -> AsyncBilling:
        """This engine inside the transaction that the host has open on ``connection``, such as
        a psycopg AsyncConnection of the running loop; see :meth:`Billing.within`.

        A cancelled await ends when the connection is free again: what it asked for was done,
        or not, and is the host's to commit or to roll back.
        """
        inside = copy(self)
        inside._billing = self._billing.within(connection)
        inside._joined = True
        return inside

    async def _do(self, command: Command, kind: type[_S]) -> _S:
        return unwrapped(await self.execute([command]), kind)

    # -- commands ---------------------------------------------------------------

    async def open_account(
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
        return await self._do(command, Opened)

    async def grant(
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
        return await self._do(command, Granted)

    async def hold(
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
    ) -> AsyncHold:
        """Check and reserve; raises Refused beyond what is available.

        Use the answer in an ``async with`` statement, or settle by its ``key``.  Without a
        ``key`` a fresh one is made: then a repeated call is another hold.
        """
        command = Hold(
            org, self.ids() if key is None else key, cost=cost, life=life, resource=resource,
            member=member, project=project, reference=reference, at=at,
        )  # fmt: skip
        return AsyncHold(self, command, await self._do(command, Held))

    async def extend(
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
        return await self._do(Extend(org, key, hold=hold, life=life, add=add, at=at), Extended)

    async def release(
        self, org: str, hold: str, *, key: str | None = None, at: datetime | None = None
    ) -> Released:
        """End a hold of which nothing was used; its key serves as this one's."""
        return await self._do(
            Release(org, hold if key is None else key, hold=hold, at=at), Released
        )

    async def settle(
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
        return await self._do(command, Charged)

    async def deduct(
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
        return await self._do(command, Charged)

    async def price_unpriced(
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
        return await self._do(command, Charged)

    async def reverse(
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
        return await self._do(command, Reversed)

    async def undo_expiry(
        self,
        org: str,
        expiry: int,
        *,
        expires_at: datetime | None,
        reason: str | None = None,
        at: datetime | None = None,
    ) -> Restored:
        """Bring back what expired too early; see :class:`UndoExpiry`."""
        command = UndoExpiry(org, expiry, expires_at=expires_at, reason=reason, at=at)
        return await self._do(command, Restored)

    async def close(
        self,
        org: str,
        *,
        remainder: Literal["refund", "write_off"],
        at: datetime | None = None,
    ) -> Closed:
        """Close the account for good; see :meth:`Billing.close`."""
        close = Close(org, remainder=remainder, at=at)
        commands = await self._in_thread(closing, self.store, self.clock(), close)
        return closed(await self.execute(commands))

    async def set_plan(
        self,
        org: str,
        key: str,
        plan: str | None,
        *,
        paused: bool = False,
        at: datetime | None = None,
    ) -> Subscribed:
        """Subscribe to a plan, change, pause or end it; see :class:`SetPlan`."""
        return await self._do(SetPlan(org, key, plan=plan, paused=paused, at=at), Subscribed)

    async def set_limit(
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
        return await self._do(command, Changed)

    async def set_low_balance(
        self, org: str, key: str, amount: Money | None, *, at: datetime | None = None
    ) -> Changed:
        """Set where the event ``low_balance`` is raised; see :class:`SetLowBalance`."""
        return await self._do(SetLowBalance(org, key, amount=amount, at=at), Changed)

    async def erase_member(self, org: str, member: str) -> bool:
        """Forget a member's name: records keep the surrogate id alone.  Their keys cannot
        be replayed afterwards."""
        return await self._in_thread(self._billing.erase_member, org, member)

    async def accept_clock(self) -> datetime:
        """Say, as an operator, that this machine's clock is right; see
        :meth:`Billing.accept_clock`."""
        return await self._in_thread(self._billing.accept_clock)

    async def publish(self, document: PriceBook | Plan) -> str:
        """Publish a price book or plan; see :meth:`Billing.publish`."""
        return await self._in_thread(self._billing.publish, document)

    # -- reads ------------------------------------------------------------------

    async def catalogue(self) -> Catalogue:
        """All published prices; see :meth:`Billing.catalogue`."""
        return await self._in_thread(self._billing.catalogue)

    async def quote(self, org: str, usage: Usage, *, at: datetime | None = None) -> Quote:
        """The most that a usage can cost; see :meth:`Billing.quote`."""
        return await self._in_thread(self._billing.quote, org, usage, at=at)

    async def pricing(
        self, org: str, *, at: datetime | None = None
    ) -> Mapping[str, Mapping[str, Priced]]:
        """The prices in force for an org; see :meth:`Billing.pricing`."""
        return await self._in_thread(self._billing.pricing, org, at=at)

    async def diff(self, old: str, new: str) -> tuple[Difference, ...]:
        """How two published versions differ; see :meth:`Billing.diff`."""
        return await self._in_thread(self._billing.diff, old, new)

    async def balance(self, org: str) -> Balance:
        """The org's credit now; see :meth:`Billing.balance`."""
        return await self._in_thread(self._billing.balance, org)

    async def check(
        self,
        org: str,
        cost: Money | Usage,
        *,
        resource: str | None = None,
        member: str | None = None,
        project: str | None = None,
    ) -> Check:
        """Whether a hold would succeed now; see :meth:`Billing.check`."""
        return await self._in_thread(
            self._billing.check, org, cost, resource=resource, member=member, project=project
        )

    async def expiries(
        self, org: str, *, since: datetime, until: datetime | None = None
    ) -> list[Expiry]:
        """What expired and was not brought back; see :meth:`Billing.expiries`."""
        return await self._in_thread(self._billing.expiries, org, since=since, until=until)

    async def history(
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
        """What moved the balance, newest first; see :meth:`Billing.history`."""
        return await self._in_thread(
            self._billing.history,
            org,
            limit=limit,
            before=before,
            types=types,
            resource=resource,
            member=member,
            since=since,
            until=until,
        )

    async def balance_as_of(
        self, org: str, effective: datetime, *, recorded: datetime | None = None
    ) -> int:
        """The balance as it was; see :meth:`Billing.balance_as_of`."""
        return await self._in_thread(self._billing.balance_as_of, org, effective, recorded=recorded)

    async def usage(
        self, org: str, period: PeriodName = "current", *, member: str | None = None
    ) -> UsageReport:
        """Usage over a period; see :meth:`Billing.usage`."""
        return await self._in_thread(self._billing.usage, org, period, member=member)

    async def usage_by_day(
        self, org: str, period: PeriodName = "30d", *, member: str | None = None
    ) -> tuple[DayUsage, ...]:
        """Usage over a period by UTC day; see :meth:`Billing.usage_by_day`."""
        return await self._in_thread(self._billing.usage_by_day, org, period, member=member)

    async def explain(self, org: str, charge: int) -> Explanation:
        """Everything behind a charge; see :meth:`Billing.explain`."""
        return await self._in_thread(self._billing.explain, org, charge)

    async def find(self, org: str, op: str, key: str) -> Success | None:
        """The outcome on record for a key; see :meth:`Billing.find`."""
        return await self._in_thread(self._billing.find, org, op, key)

    async def events(self, org: str, *, after: int = 0, limit: int = 100) -> Sequence[Event]:
        """What the host may want to know; see :meth:`Billing.events`."""
        return await self._in_thread(self._billing.events, org, after=after, limit=limit)

    async def orgs(self) -> AsyncIterator[str]:
        """Every org's id, sorted."""
        for org in await self._in_thread(lambda: list(self._billing.orgs())):
            yield org

    async def verify(
        self,
        org: str | None = None,
        *,
        checkpoints: Mapping[str, Checkpoint] | None = None,
        progress: Progress | None = None,
        checkpoint: Callable[[Checkpoint], object] | None = None,
    ) -> Verification:
        """Re-derive everything from the journal; see :meth:`Billing.verify`."""
        return await self._in_thread(
            self._billing.verify,
            org,
            checkpoints=checkpoints,
            progress=progress,
            checkpoint=checkpoint,
        )
