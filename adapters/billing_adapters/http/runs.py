"""The internal routes of sandbox runs and storage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from attrs import frozen

from billing_adapters.http.internal import Cost, Facts, For, Quantity, written
from billing_adapters.http.routes import Call, Name, Route, Total
from billing_adapters.http.shapes import Rule
from billing_core import InvalidCommand, RunStatus, StorageStatus, Usage, sandbox
from billing_core.engine.default_keys import told_at
from billing_core.values.money import Money
from billing_core.values.times import moment
from billing_core.values.usage import CUSTOMER, Payer

__all__ = ["OVER_TIME"]

RunId = Annotated[str, Rule(min_length=1, max_length=150, description="The caller's name of it.")]
WorkspaceId = RunId
Seconds = Annotated[int, Rule(minimum=1, maximum=3660 * 86_400)]
Bytes = Annotated[str, Rule(pattern=r"^-?\d+$")]
_TOLD_WITHIN = timedelta(days=90)


def _occurred(call: Call, op: str, key: str, at: datetime | None) -> datetime | None:
    """When what is told took place.  Time is charged by the billing period, so that what a
    request costs grows with how long ago it was: a service tells of the last 90 days.  What was
    told in time, under this key, is answered again at any later time."""
    if at is not None:
        earliest = moment(call.billing.clock()) - _TOLD_WITHIN
        if at < earliest and call.billing.find(call.org, op, key) is None:
            expected = f"{earliest.isoformat()} or later: what was 90 days ago is told in Python"
            raise InvalidCommand("occurredAt", at.isoformat(), expected)
    return at


# -- sandbox runs ---------------------------------------------------------------


@frozen(kw_only=True)
class Spec:
    """What a microsecond of a sandbox's running time uses, by component, in its price's unit.
    `byok`: the components that are on the customer's own account.  `facts`: what its price may
    depend on, for the run's whole life."""

    sandbox: Name
    rates: Mapping[str, Quantity]
    byok: tuple[Name, ...] = ()
    facts: Facts | None = None

    def usage(self) -> Usage:
        rates = {name: int(rate) for name, rate in self.rates.items()}
        payer: dict[str, Payer] = dict.fromkeys(self.byok, CUSTOMER)
        return sandbox(self.sandbox, rates, payer=payer, facts=self.facts)


@frozen(kw_only=True)
class QuoteBody:
    """A run that would start now: for `seconds` of running time, or as long as credit lasts."""

    org_id: Name
    member_id: Name | None = None
    project_id: Name | None = None
    spec: Spec
    seconds: Seconds | None = None


@frozen
class RunQuoted:
    """The most that the run can cost until a time, and what keeps that from being later."""

    org_id: str
    amount: Money
    until: datetime
    bound_by: str


def _quote(call: Call, asked: QuoteBody) -> RunQuoted:
    spec, labels = asked.spec.usage(), {"member": asked.member_id, "project": asked.project_id}
    if asked.seconds is None:
        found = call.billing.longest_run(call.org, spec, **labels)
    else:
        runtime = timedelta(seconds=asked.seconds)
        found = call.billing.quote_run(call.org, spec, runtime, **labels)
    return RunQuoted(call.org, Money(found.amount, call.currency()), found.until, found.bound_by)


@frozen(kw_only=True)
class StartBody(For):
    """A run to start, funded `aheadSeconds`, as far as credit reaches; refused where not even
    `leastSeconds` are.  Its id is its idempotency key."""

    run_id: RunId
    spec: Spec
    ahead_seconds: Seconds = 300
    least_seconds: Seconds = 1
    occurred_at: datetime | None = None


@frozen(kw_only=True)
class OfRun:
    """A run, and when it happened."""

    org_id: Name
    run_id: RunId
    occurred_at: datetime | None = None

    def told(self, call: Call, op: str) -> dict[str, Any]:
        key, at = call.key_or_none, self.occurred_at
        made = self.run_id if op == "stop" else told_at(self.run_id, at, call.billing.clock)
        return {"key": key, "occurred_at": _occurred(call, op, key or made, at)}


@frozen(kw_only=True)
class SuspendBody(OfRun):
    """A run that does not run from then on, or until `until`."""

    until: datetime | None = None


@frozen(kw_only=True)
class StopBody(OfRun):
    """A run that has ended.  `settle` false leaves it pending: to be settled or forgiven."""

    settle: bool = True


@frozen(kw_only=True)
class SettleBody:
    """A pending run."""

    org_id: Name
    run_id: RunId


@frozen(kw_only=True)
class ForgiveBody:
    """A run of which all, or a `part`, is given back."""

    org_id: Name
    run_id: RunId
    reason: Name
    part: Cost | None = None


@frozen(kw_only=True)
class UndoBody:
    """A run of which all that was forgiven is charged again."""

    org_id: Name
    run_id: RunId
    reason: Name | None = None


@frozen
class RunNow:
    """How a run stands.  `charged`: by this request, negative where it gave back.  Credit funds
    it until `fundedUntil`: stop it by then, or renew that by a heartbeat before.  `replayed`: this
    is how it stood when the same was asked before."""

    run_id: str
    org_id: str
    state: str
    charged: Money
    balance: Money
    settled_to: datetime
    funded_until: datetime
    bound_by: str
    created_at: datetime
    replayed: bool


def _start(call: Call, asked: StartBody) -> RunNow:
    made = call.billing.start_run(
        call.org,
        asked.run_id,
        asked.spec.usage(),
        fund_for=timedelta(seconds=asked.ahead_seconds),
        min_runtime=timedelta(seconds=asked.least_seconds),
        occurred_at=_occurred(call, "start", asked.run_id, asked.occurred_at),
        **asked.labels(),
    )
    return _run_now(call, made)


def _heartbeat(call: Call, asked: OfRun) -> RunNow:
    return _run_now(
        call, call.billing.heartbeat(call.org, asked.run_id, **asked.told(call, "heartbeat"))
    )


def _suspend(call: Call, asked: SuspendBody) -> RunNow:
    made = call.billing.suspend_run(
        call.org, asked.run_id, until=asked.until, **asked.told(call, "suspend")
    )
    return _run_now(call, made)


def _resume(call: Call, asked: OfRun) -> RunNow:
    return _run_now(
        call, call.billing.resume_run(call.org, asked.run_id, **asked.told(call, "resume"))
    )


def _stop(call: Call, asked: StopBody) -> RunNow:
    made = call.billing.stop_run(
        call.org, asked.run_id, settle=asked.settle, **asked.told(call, "stop")
    )
    return _run_now(call, made)


def _settle(call: Call, asked: SettleBody) -> RunNow:
    made = call.billing.settle_run(call.org, asked.run_id, key=call.key_or_none)
    return _run_now(call, made)


def _forgive(call: Call, asked: ForgiveBody) -> RunNow:
    part = None if asked.part is None else asked.part.money()
    made = call.billing.forgive_run(
        call.org, call.key, asked.run_id, reason=asked.reason, amount=part
    )
    return _run_now(call, made)


def _undo(call: Call, asked: UndoBody) -> RunNow:
    made = call.billing.undo_forgiveness(call.org, call.key, asked.run_id, reason=asked.reason)
    return _run_now(call, made)


def _run_now(call: Call, made: RunStatus) -> RunNow:
    currency = call.currency()
    return RunNow(
        run_id=made.run,
        org_id=made.org,
        state=made.state,
        charged=Money(made.charged, currency),
        balance=Money(made.balance, currency),
        settled_to=made.settled_to,
        funded_until=made.funded_until,
        bound_by=made.bound_by,
        created_at=made.at,
        replayed=made.replayed,
    )


@frozen(kw_only=True)
class RunQuery:
    org_id: Name
    run_id: RunId


@frozen(kw_only=True)
class RunRead:
    """A run as it stands now.  `unposted`: by an estimate, what is not settled yet."""

    run_id: str
    org_id: str
    resource: str
    state: str
    member_id: str | None
    project_id: str | None
    reference_id: str | None
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    swept: bool
    settled_to: datetime
    funded_until: datetime
    bound_by: str
    settled_microseconds: int
    settled: Money
    forgiven_microseconds: int
    forgiven: Money
    unposted_microseconds: int
    unposted: Money


def _read(call: Call, asked: RunQuery) -> RunRead:
    found, currency = call.billing.run(call.org, asked.run_id), call.currency()
    return RunRead(
        run_id=found.run,
        org_id=call.org,
        resource=found.resource,
        state=found.state,
        member_id=found.member,
        project_id=found.project,
        reference_id=found.reference,
        started_at=found.started_at,
        seen_at=found.seen_at,
        ended_at=found.ended_at,
        swept=found.swept,
        settled_to=found.settled_to,
        funded_until=found.funded_until,
        bound_by=found.bound_by,
        settled_microseconds=found.settled_us,
        settled=Total(found.settled, currency),
        forgiven_microseconds=found.forgiven_us,
        forgiven=Total(found.forgiven, currency),
        unposted_microseconds=found.unposted_us,
        unposted=Money(found.unposted, currency),
    )


# -- storage --------------------------------------------------------------------


@frozen(kw_only=True)
class SizeBody:
    """A workspace's size from `occurredAt` on; it may come late and out of order, and corrects
    what was billed already.  `facts`: what its price may depend on, given when it is first told
    of, and the same or none later."""

    org_id: Name
    workspace_id: WorkspaceId
    bytes: Quantity
    occurred_at: datetime | None = None
    facts: Facts | None = None


@frozen(kw_only=True)
class RoomQuery:
    org_id: Name
    workspace_id: WorkspaceId
    bytes: Annotated[int, Rule(minimum=0, maximum=2**63 - 1)]


@frozen
class Room:
    """Whether a workspace may have so many bytes.  `left`: how many it may have more than it
    has now, by the plan's quotas; null without one."""

    org_id: str
    workspace_id: str
    allowed: bool
    left: Bytes | None


@frozen(kw_only=True)
class BillBody:
    """Storage to charge up to a time (default: now), of one workspace or of all.  Nothing is
    charged twice, however often and by however many it is asked."""

    org_id: Name
    workspace_id: WorkspaceId | None = None
    until: datetime | None = None


@frozen
class WorkspaceNow:
    """How a workspace stands.  `charged`: by this request, negative where it gave back.
    `replayed`: this is how it stood when the same was asked before."""

    workspace_id: str
    org_id: str
    bytes: Bytes
    charged: Money
    balance: Money
    billed_to: datetime
    replayed: bool


@frozen
class Billed:
    """The workspaces that were billed."""

    workspaces: tuple[WorkspaceNow, ...]


def _size(call: Call, asked: SizeBody) -> WorkspaceNow:
    size, key = int(asked.bytes), call.key_or_none
    name = told_at(asked.workspace_id, asked.occurred_at, call.billing.clock)
    at = _occurred(call, "size", key or f"{name}:{size}", asked.occurred_at)
    made = call.billing.report_storage(
        call.org, asked.workspace_id, size, key=key, occurred_at=at, facts=asked.facts
    )
    return _workspace_now(call, made)


def _room(call: Call, asked: RoomQuery) -> Room:
    found = call.billing.check_storage_quota(call.org, asked.workspace_id, asked.bytes)
    left = None if found.left is None else str(found.left)
    return Room(call.org, asked.workspace_id, found.allowed, left)


def _bill(call: Call, asked: BillBody) -> Billed:
    made = call.billing.bill_storage(call.org, asked.workspace_id, until=asked.until)
    return Billed(tuple(_workspace_now(call, each) for each in made))


def _workspace_now(call: Call, made: StorageStatus) -> WorkspaceNow:
    currency = call.currency()
    return WorkspaceNow(
        workspace_id=made.workspace,
        org_id=made.org,
        bytes=str(made.size),
        charged=Money(made.charged, currency),
        balance=Money(made.balance, currency),
        billed_to=made.billed_to,
        replayed=made.replayed,
    )


OVER_TIME: tuple[Route, ...] = (
    written("runs/quote", "quote_run", QuoteBody, RunQuoted, _quote,
            "What a run can cost at most", key=None),
    written("runs/start", "start_run", StartBody, RunNow, _start,
            "Start a run, with credit held for it", key=None),
    written("runs/heartbeat", "heartbeat", OfRun, RunNow, _heartbeat,
            "Settle what accrued of a run, and fund it further", key="optional"),
    written("runs/suspend", "suspend_run", SuspendBody, RunNow, _suspend,
            "A run does not run, from a time on", key="optional"),
    written("runs/resume", "resume_run", OfRun, RunNow, _resume,
            "A run runs again", key="optional"),
    written("runs/stop", "stop_run", StopBody, RunNow, _stop,
            "End a run, and settle it", key="optional"),
    written("runs/settle", "settle_run", SettleBody, RunNow, _settle,
            "Settle a pending run", key="optional"),
    written("runs/forgive", "forgive_run", ForgiveBody, RunNow, _forgive,
            "Give back what a run was charged, or a part of it"),
    written("runs/undo", "undo_forgiveness", UndoBody, RunNow, _undo,
            "Charge again what was forgiven of a run"),
    Route(
        "GET", "/v1/internal/runs/read", "run", "service", RunQuery, RunRead, _read,
        "How a run stands",
    ),
    written("storage/size", "report_storage", SizeBody, WorkspaceNow, _size,
            "Say what size a workspace has", key="optional"),
    Route(
        "GET", "/v1/internal/storage/quota", "storage_quota", "service", RoomQuery, Room, _room,
        "Whether a workspace may have a size, by the quotas",
    ),
    written("storage/bill", "bill_storage", BillBody, Billed, _bill,
            "Charge storage up to a time", key=None),
)  # fmt: skip
