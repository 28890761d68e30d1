"""How runs stand and what one would cost, as a customer reads it; pure.  Amounts are nanos."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from billing_core.charging.charges import price_usage
from billing_core.charging.limits import Use
from billing_core.ledger.inputs import Instant
from billing_core.ledger.ledger import Ledger
from billing_core.records.runs import FundingBound, Run, RunState
from billing_core.records.usage import Item
from billing_core.reports.usage import Running
from billing_core.runs.demand import Demand, RunSpec, measure
from billing_core.runs.funding import demand, fund
from billing_core.runs.handlers import unposted
from billing_core.values.times import Window, moment
from billing_core.values.usage import Usage

__all__ = ["RunQuote", "RunView", "longest_run", "run_cost", "run_view", "running"]


@frozen
class RunQuote:
    """The most that a run can cost until a time, if it starts now (rule 8.3).

    Attributes:
        amount: Nanos.
        until: The time, UTC.
        bound_by: What keeps the time from being later, in the words of `RunStatus.bound_by`.
    """

    amount: int
    until: datetime
    bound_by: FundingBound


@frozen
class RunView:
    """How a sandbox run stands (rule 8.3).

    Attributes:
        run: The run's name: the key of its start.
        resource: ``sandbox:…``.
        state: ``active``, ``suspended``, ``pending`` (stopped, its last stretch of time not settled
            yet), ``settled`` or ``forgiven``.
        member: Who uses it; None: nobody in particular.
        project: What its spending is grouped by; None: nothing.
        reference: The name that the caller gave; None: none.
        started_at: When it began, UTC.
        seen_at: The last sign of life, UTC.
        ended_at: When it ended, UTC; None: it has not.
        swept: Whether it was closed for want of a sign of life, and not stopped.
        settled_to: Up to when its time is charged, UTC.
        funded_until: The deadline, UTC: credit pays for it until then.
        bound_by: What keeps the deadline from being later, in the words of `RunStatus.bound_by`.
        settled_us: Microseconds of running time that are charged, less those forgiven.
        settled: Nanos that were charged, less what was forgiven.
        forgiven_us: Microseconds of running time that were forgiven.
        forgiven: Nanos that were forgiven.
        unposted_us: Microseconds of running time that are not charged yet.
        unposted: Nanos, an estimate of what they will cost.
    """

    run: str
    resource: str
    state: RunState
    member: str | None
    project: str | None
    reference: str | None
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    swept: bool
    settled_to: datetime
    funded_until: datetime
    bound_by: FundingBound
    settled_us: int
    settled: int
    forgiven_us: int
    forgiven: int
    unposted_us: int
    unposted: int


def running(ledger: Ledger, run: Run, window: Window) -> Running:
    """What of a run's time in a window is not posted yet, and an estimate of its cost."""
    end = window.end if run.ended_at is None else min(window.end, run.ended_at)
    span = Window(max(run.settled_to, window.start), end)
    us = measure(span, run.suspensions, end).running
    amount = 0
    for piece in unposted(ledger, run, end):
        if piece.occurred >= window.start:
            usage = Usage(run.resource, piece.parts, run.item, run.facts)
            amount += price_usage(ledger, usage, piece.occurred).amount
    return Running(run.member, "pending" if run.state == "pending" else "active", us, amount)


def run_view(ledger: Ledger, run: Run, member: str | None, at: int) -> RunView:
    """A run as it stands at a time."""
    rest = running(ledger, run, Window(run.started_at, max(at, run.settled_to)))
    forgiven_us = sum(tab.forgiven_us for tab in run.tabs)
    forgiven = sum(tab.forgiven for tab in run.tabs)
    if not run.unsettled:
        rest = Running(run.member, "active", 0, 0)
    return RunView(
        run=run.run,
        resource=run.resource,
        state=run.state,
        member=member,
        project=run.project,
        reference=run.reference,
        started_at=moment(run.started_at),
        seen_at=moment(run.seen_at),
        ended_at=None if run.ended_at is None else moment(run.ended_at),
        swept=run.swept,
        settled_to=moment(run.settled_to),
        funded_until=moment(run.until),
        bound_by=run.bound_by,
        settled_us=sum(tab.us for tab in run.tabs) - forgiven_us,
        settled=sum(tab.amount for tab in run.tabs) - forgiven,
        forgiven_us=forgiven_us,
        forgiven=forgiven,
        unposted_us=rest.us,
        unposted=rest.amount,
    )


def run_cost(ledger: Ledger, use: Use, spec: Usage, us: int) -> RunQuote:
    """What a run from ``use.at`` on can cost in so long.  Raises UnknownPrice."""
    return RunQuote(_demand(ledger, use, spec, us).cost(us), moment(use.at + us), "asked")


def longest_run(ledger: Ledger, use: Use, spec: Usage, us: int) -> RunQuote:
    """How long a run from ``use.at`` on can last, for so long at most.  Raises UnknownPrice."""
    want = _demand(ledger, use, spec, us)
    found = fund(ledger, use, want, use.at + us, "asked", None, Instant(use.time))
    return RunQuote(want.cost(found.until - use.at), moment(found.until), found.bound_by)


def _demand(ledger: Ledger, use: Use, spec: Usage, us: int) -> Demand:
    span, item = Window(use.at, use.at + us), Item("", spec.resource)
    asked = RunSpec(spec.resource, spec.parts, spec.facts)
    return demand(ledger, asked, item, span, strict=True)
