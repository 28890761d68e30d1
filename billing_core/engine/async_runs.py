"""The doors to sandbox runs and storage, for asyncio."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from billing_core.commands.base import Command
from billing_core.commands.outcomes import Outcome, RunStands, StorageStands, Success
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
from billing_core.commands.storage import BillStorage, ReportStorage
from billing_core.engine.async_calls import AsyncCalls
from billing_core.engine.runs import storage_bills, told_at, unwrapped
from billing_core.ports.clock import Clock
from billing_core.ports.store import Store
from billing_core.runs.views import RunQuote, RunView
from billing_core.storage.views import StorageRoom, StorageView
from billing_core.values.money import Money
from billing_core.values.usage import Usage

if TYPE_CHECKING:
    from billing_core.engine.billing import Billing

__all__ = ["AsyncOverTime"]

_S = TypeVar("_S", bound=Success)


class AsyncOverTime(AsyncCalls):
    """What can be told of runs and storage; :class:`AsyncBilling` has it."""

    _billing: Billing

    @property
    def store(self) -> Store:
        raise NotImplementedError

    @property
    def clock(self) -> Clock:
        raise NotImplementedError

    async def execute(self, commands: Iterable[Command]) -> list[Outcome]:
        """See :meth:`AsyncBilling.execute`."""
        raise NotImplementedError

    async def _do(self, command: Command, kind: type[_S]) -> _S:
        raise NotImplementedError

    # -- sandbox runs -----------------------------------------------------------

    async def start_run(
        self,
        org: str,
        key: str,
        spec: Usage,
        *,
        ahead: timedelta = timedelta(minutes=5),
        least: timedelta = timedelta(seconds=1),
        member: str | None = None,
        project: str | None = None,
        reference: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> RunStands:
        """Start a run, which its key names; see :class:`StartRun`.  Stop it by
        ``funded_until``, or get that renewed by a heartbeat before."""
        command = StartRun(
            org, key, spec=spec, ahead=ahead, least=least, member=member, project=project,
            reference=reference, occurred_at=occurred_at, at=at,
        )  # fmt: skip
        return await self._do(command, RunStands)

    async def heartbeat(
        self,
        org: str,
        run: str,
        *,
        key: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> RunStands:
        """A sign of life; see :class:`Heartbeat`.  Its default key is its time's."""
        name = told_at(run, occurred_at or at, self.clock) if key is None else key
        return await self._do(
            Heartbeat(org, name, run=run, occurred_at=occurred_at, at=at), RunStands
        )

    async def suspend_run(
        self,
        org: str,
        run: str,
        *,
        key: str | None = None,
        until: datetime | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> RunStands:
        """The run does not run from then on; see :class:`SuspendRun`."""
        name = told_at(run, occurred_at or at, self.clock) if key is None else key
        command = SuspendRun(org, name, run=run, until=until, occurred_at=occurred_at, at=at)
        return await self._do(command, RunStands)

    async def resume_run(
        self,
        org: str,
        run: str,
        *,
        key: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> RunStands:
        """The run runs again; see :class:`ResumeRun`."""
        name = told_at(run, occurred_at or at, self.clock) if key is None else key
        return await self._do(
            ResumeRun(org, name, run=run, occurred_at=occurred_at, at=at), RunStands
        )

    async def stop_run(
        self,
        org: str,
        run: str,
        *,
        key: str | None = None,
        settle: bool = True,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> RunStands:
        """The run has ended; see :class:`StopRun`.  The run's key serves as this one's."""
        command = StopRun(
            org, run if key is None else key, run=run, settle=settle, occurred_at=occurred_at,
            at=at,
        )  # fmt: skip
        return await self._do(command, RunStands)

    async def settle_run(
        self, org: str, run: str, *, key: str | None = None, at: datetime | None = None
    ) -> RunStands:
        """Settle a pending run; see :class:`SettleRun`."""
        command = SettleRun(org, run if key is None else key, run=run, at=at)
        return await self._do(command, RunStands)

    async def forgive_run(
        self,
        org: str,
        key: str,
        run: str,
        *,
        reason: str,
        amount: Money | None = None,
        at: datetime | None = None,
    ) -> RunStands:
        """Give back what a run was charged, or a part of it; see :class:`ForgiveRun`."""
        command = ForgiveRun(org, key, run=run, reason=reason, amount=amount, at=at)
        return await self._do(command, RunStands)

    async def undo_forgiveness(
        self,
        org: str,
        key: str,
        run: str,
        *,
        reason: str | None = None,
        at: datetime | None = None,
    ) -> RunStands:
        """Charge again what was forgiven of a run; see :class:`UndoForgiveness`."""
        return await self._do(UndoForgiveness(org, key, run=run, reason=reason, at=at), RunStands)

    async def sweep_runs(
        self, *, silent: timedelta = timedelta(minutes=15), limit: int = 1000
    ) -> list[RunStands]:
        """Close the runs of all orgs that gave no sign of life for so long, at their last one:
        at most ``limit``, the longest silent first.  Its cost follows these."""
        return await self._in_thread(self._billing.sweep_runs, silent=silent, limit=limit)

    # -- storage ----------------------------------------------------------------

    async def report_storage(
        self,
        org: str,
        workspace: str,
        size: int,
        *,
        key: str | None = None,
        occurred_at: datetime | None = None,
        at: datetime | None = None,
    ) -> StorageStands:
        """A workspace has so many bytes from then on; see :class:`ReportStorage`.  Its default
        key is its time's and size's."""
        name = told_at(workspace, occurred_at or at, self.clock)
        command = ReportStorage(
            org, f"{name}:{size}" if key is None else key, workspace=workspace, size=size,
            occurred_at=occurred_at, at=at,
        )  # fmt: skip
        return await self._do(command, StorageStands)

    async def bill_storage(
        self, org: str, workspace: str | None = None, *, until: datetime | None = None
    ) -> list[StorageStands]:
        """Charge storage up to a time (default: now), of one workspace or all; see
        :class:`BillStorage`."""
        stands: list[StorageStands] = []
        every = storage_bills(self.store, self.clock(), org, workspace, until)
        nothing: list[BillStorage] = []
        while bills := await self._in_thread(next, every, nothing):
            stands += [unwrapped([each], StorageStands) for each in await self.execute(bills)]
        return stands

    # -- reads ------------------------------------------------------------------

    async def quote_run(
        self,
        org: str,
        spec: Usage,
        span: timedelta | None = None,
        *,
        member: str | None = None,
        project: str | None = None,
    ) -> RunQuote:
        """What a run can cost, or how long the credit lasts; see :meth:`Billing.quote_run`."""
        ask = self._billing.quote_run
        return await self._in_thread(ask, org, spec, span, member=member, project=project)

    async def run(self, org: str, run: str) -> RunView:
        """A run as it stands; see :meth:`Billing.run`."""
        return await self._in_thread(self._billing.run, org, run)

    async def runs(self, org: str, *, unsettled: bool = True) -> list[RunView]:
        """The runs; see :meth:`Billing.runs`."""
        return await self._in_thread(self._billing.runs, org, unsettled=unsettled)

    async def storage(self, org: str) -> list[StorageView]:
        """The workspaces, by name."""
        return await self._in_thread(self._billing.storage, org)

    async def storage_room(self, org: str, workspace: str, size: int) -> StorageRoom:
        """Whether a workspace may have ``size`` bytes; see :meth:`Billing.storage_room`."""
        return await self._in_thread(self._billing.storage_room, org, workspace, size)
