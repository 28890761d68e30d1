"""The doors to sandbox runs and storage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from attrs import evolve

from billing_core.commands.accounts import Close
from billing_core.commands.base import Command
from billing_core.commands.outcomes import (
    Closed,
    Outcome,
    Refusal,
    Refused,
    RunStands,
    StorageStands,
    Success,
)
from billing_core.commands.runs import (
    CloseSilentRun,
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
from billing_core.engine.group_commit import Part
from billing_core.errors import BillingError, StoreError
from billing_core.ports.clock import Clock
from billing_core.ports.state import Wanted
from billing_core.ports.store import Store
from billing_core.values.money import Money
from billing_core.values.text import checked_name
from billing_core.values.times import duration, micros, moment
from billing_core.values.usage import Usage

__all__ = ["OverTime", "closed", "closing", "storage_bills", "told_at", "unwrapped"]

_AT_ONCE = 500

_S = TypeVar("_S", bound=Success)


def told_at(name: str, time: datetime | None, clock: Clock) -> str:
    """The key of what is told of a run or workspace for a time."""
    return f"{checked_name('name', name)}@{clock() if time is None else micros('at', time)}"


class _Sweep:
    """Closes runs without a sign of life, of each org for itself: what cannot be closed, or an
    org that cannot be written to, keeps no other run open."""

    def __init__(self, store: Store, now: int, span: timedelta, limit: int) -> None:
        self._store = store
        self._before = now - duration("silent", span)
        self._limit = limit
        self._failed: set[tuple[str, str]] = set()
        self._error: Exception | None = None
        self._ended = False
        self.closed: list[RunStands] = []

    def parts(self) -> list[Part]:
        """The longest silent of those that have not failed, by org; none once enough are closed."""
        more = self._limit - len(self.closed)
        if self._ended or more <= 0:
            return []
        found = self._store.silent_runs(self._before, more + len(self._failed))
        since = moment(self._before)
        some: dict[str, list[Command]] = {}
        for org, run in [each for each in found if each not in self._failed][:more]:
            key = f"{run}@{self._before}"
            some.setdefault(org, []).append(CloseSilentRun(org, key, run=run, since=since))
        return [Part(commands) for commands in some.values()]

    def done(self, parts: Sequence[Part]) -> None:
        # The last round is one in which the store answered nobody, or did not answer.
        self._ended = all(_unanswered(part.error) for part in parts)
        for part in parts:
            for place, command in enumerate(part.commands):
                outcome = part.error if part.outcomes is None else part.outcomes[place]
                if isinstance(outcome, RunStands):
                    self.closed.append(outcome)
                else:
                    assert isinstance(command, CloseSilentRun)
                    self._failed.add((command.org, command.run))
                    if isinstance(outcome, Exception):
                        self._error = self._error or outcome

    def result(self) -> list[RunStands]:
        if self._error is not None and not self.closed:
            raise self._error
        return self.closed


def _unanswered(error: Exception | None) -> bool:
    return isinstance(error, StoreError) and error.retryable


def storage_bills(
    store: Store, now: int, org: str, workspace: str | None, until: datetime | None
) -> Iterator[list[BillStorage]]:
    """What charges an org's storage up to a time, some workspaces at once."""
    end = moment(now) if until is None else until
    stamp = micros("until", end)
    if workspace is not None:
        yield [BillStorage(org, f"{workspace}@{stamp}", workspace=workspace, until=end)]
        return
    some: list[BillStorage] = []
    for each in store.storages(checked_name("org", org)):
        name = each.workspace
        some.append(BillStorage(org, f"{name}@{stamp}", workspace=name, until=end))
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def closing(store: Store, now: int, close: Close) -> list[Command]:
    """What closes an account: its storage is charged up to that moment first, while there is
    credit to pay for it."""
    account = store.snapshot({close.org: Wanted(until=0)})[close.org].account
    if account is None or account.closed_at is not None:
        return [close]
    bills = [
        evolve(bill, at=close.at)
        for some in storage_bills(store, now, close.org, None, close.at)
        for bill in some
    ]
    return [*bills, close]


def closed(outcomes: Sequence[Outcome]) -> Closed:
    """The answer of :func:`closing`; raises what anything of it is but a success."""
    *bills, last = outcomes
    for each in bills:
        unwrapped([each], StorageStands)
    return unwrapped([last], Closed)


def unwrapped(outcomes: Sequence[Outcome], kind: type[_S]) -> _S:
    """The one success; raises what it is otherwise."""
    [result] = outcomes
    if isinstance(result, Refusal):
        raise Refused(result)
    if isinstance(result, BillingError):
        raise result
    assert isinstance(result, kind)
    return result


class OverTime:
    """What can be told of runs and storage; :class:`Billing` has it."""

    store: Store
    clock: Clock

    def execute(self, commands: Iterable[Command]) -> list[Outcome]:
        """See :meth:`Billing.execute`."""
        raise NotImplementedError

    def finish(self, parts: Sequence[Part]) -> None:
        """See :meth:`Billing.finish`."""
        raise NotImplementedError

    def _do(self, command: Command, kind: type[_S]) -> _S:
        raise NotImplementedError

    # -- sandbox runs -----------------------------------------------------------

    def start_run(
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
        return self._do(command, RunStands)

    def heartbeat(
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
        return self._do(Heartbeat(org, name, run=run, occurred_at=occurred_at, at=at), RunStands)

    def suspend_run(
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
        return self._do(command, RunStands)

    def resume_run(
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
        return self._do(ResumeRun(org, name, run=run, occurred_at=occurred_at, at=at), RunStands)

    def stop_run(
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
        return self._do(command, RunStands)

    def settle_run(
        self, org: str, run: str, *, key: str | None = None, at: datetime | None = None
    ) -> RunStands:
        """Settle a pending run; see :class:`SettleRun`."""
        command = SettleRun(org, run if key is None else key, run=run, at=at)
        return self._do(command, RunStands)

    def forgive_run(
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
        return self._do(command, RunStands)

    def undo_forgiveness(
        self,
        org: str,
        key: str,
        run: str,
        *,
        reason: str | None = None,
        at: datetime | None = None,
    ) -> RunStands:
        """Charge again what was forgiven of a run; see :class:`UndoForgiveness`."""
        return self._do(UndoForgiveness(org, key, run=run, reason=reason, at=at), RunStands)

    def sweep_runs(
        self, *, silent: timedelta = timedelta(minutes=15), limit: int = 1000
    ) -> list[RunStands]:
        """Close the runs of all orgs that gave no sign of life for so long, at their last one:
        at most ``limit``, the longest silent first.  Its cost follows these.

        A run that cannot be closed keeps no other open, whoever's it is; what was wrong with the
        first such is raised once nothing else is left to close.
        """
        sweep = _Sweep(self.store, self.clock(), silent, limit)
        while parts := sweep.parts():
            self.finish(parts)
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
    ) -> StorageStands:
        """A workspace has so many bytes from then on; see :class:`ReportStorage`.  Its default
        key is its time's and size's."""
        name = told_at(workspace, occurred_at or at, self.clock)
        command = ReportStorage(
            org, f"{name}:{size}" if key is None else key, workspace=workspace, size=size,
            occurred_at=occurred_at, at=at,
        )  # fmt: skip
        return self._do(command, StorageStands)

    def bill_storage(
        self, org: str, workspace: str | None = None, *, until: datetime | None = None
    ) -> list[StorageStands]:
        """Charge storage up to a time (default: now), of one workspace or all; see
        :class:`BillStorage`."""
        stands: list[StorageStands] = []
        for bills in storage_bills(self.store, self.clock(), org, workspace, until):
            stands += [unwrapped([each], StorageStands) for each in self.execute(bills)]
        return stands
