"""What each command does to a sandbox run.

Measured time is never refused: whatever arrives late, twice or out of order, what is posted of
a run is its running time up to where it is settled, each microsecond once.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy
from typing import Any, TypeVar

from billing_core.charging.expiry import free, lapse
from billing_core.charging.holds import announce
from billing_core.charging.limits import Use, hold_spending
from billing_core.charging.operations import (
    Decision,
    Operation,
    check_level,
    finish,
    limit_refusal,
    occurred_at,
    refusal,
)
from billing_core.charging.time_charges import Piece, Whose, forgive, post, repost, windows
from billing_core.commands.accounts import Close
from billing_core.commands.base import Command
from billing_core.commands.outcomes import Header, Outcome, RunStatus
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
from billing_core.errors import Conflict, InvalidCommand, NotFound
from billing_core.ledger.debts import repay
from billing_core.ledger.inputs import NeedMore
from billing_core.ledger.ledger import Ledger
from billing_core.ports.state import Wanted
from billing_core.pricing.price_book import VARIES
from billing_core.records.ledger import Entry, HoldRecord
from billing_core.records.runs import FundingBound, Run
from billing_core.records.usage import Item, Line, UsageRecord
from billing_core.runs.demand import Demand, Measure, RunSpec, measure
from billing_core.runs.funding import WHOLE, Funding, demand, fund, reserve, unfunded
from billing_core.runs.states import OPEN, moved
from billing_core.values.times import DAY, FOREVER, Window, duration, micros, moment
from billing_core.values.usage import Payer

__all__ = ["OPERATIONS", "demand_of", "end_runs", "unposted"]

_C = TypeVar("_C", bound=Command)

_SECOND = 1_000_000
_TOLD = ("seen_at", "ended_at", "swept", "warned", "suspensions")
"""What an entry says of a run where it changed, beside how it stands."""


def _want(want: Wanted, command: Any, at: int, now: int) -> None:
    occurred = command.occurred_at
    time = at if occurred is None else micros("occurred_at", occurred)
    want.holds.add(f"run:{command.run}")
    if isinstance(command, StartRun):
        resource = command.spec.resource
        first, _ = want.counters.get(resource, (time, time))
        # What follows in the batch may charge it in any later period.
        want.counters[resource] = min(first, time), FOREVER
        want.items.add((f"run:{command.run}", resource))
    latest = max(time, at)  # from then on it is funded
    if isinstance(command, (ForgiveRun, UndoForgiveness)):
        time = latest = 0  # all of the run's periods
    else:
        ahead = duration("fund_for", command.fund_for) if isinstance(command, StartRun) else 0
        first, last = want.times or (time, time)
        want.times = min(first, time), max(last, min(latest + ahead, max(latest, now) + DAY))
    first, last = want.runs.get(command.run, (time, time))
    want.runs[command.run] = min(first, time), max(last, latest)


# -- what handlers share --------------------------------------------------------


class _Change:
    """A run that a command changes."""

    def __init__(self, ledger: Ledger, decision: Decision[Any], run: Run) -> None:
        self.ledger, self.decision, self.run = ledger, decision, run
        self.was: dict[str, Any] = {name: deepcopy(getattr(run, name)) for name in _TOLD}
        self.hold = ledger.state.holds.get(run.item)
        self.effects: dict[str, Any] = {}
        self.charged = 0
        self.counted = UsageRecord(0, 0, "", None, 0, ())

    @property
    def whose(self) -> Whose:
        run = self.run
        return Whose(run, self.hold, self.decision, run.member, run.project)

    def post(self, span: Window, before: Callable[[Window], Measure] | None, end: int) -> None:
        """Post a span's time as the run has it now, less what was posted ``before``."""
        run, pieces = self.run, []
        for window in windows(self.ledger, run.resource, span):
            more = measure(window, run.suspensions, end)
            if before is not None:
                more = more.less(before(window))
            pieces += _pieces(self.ledger, run, window.end - 1, more)
        self.charged += post(self.ledger, self.whose, pieces)

    def settle(self, to: int) -> None:
        """Post what accrued up to a time."""
        run = self.run
        if to > run.settled_to:
            self.ledger.measure(run.settled_to, to)
            self.post(Window(run.settled_to, to), None, FOREVER)
            run.settled_to = to

    def end_at(self, end: int, *, swept: bool = False) -> None:
        """The run has ended: what was posted beyond that is given back.  One that was swept
        may have lived longer: as it was then, suspended or not."""
        run = self.run
        self.ledger.measure(run.settled_to, end)
        run.seen_at = max(run.seen_at, end)
        suspended = run.suspensions
        if end < run.settled_to:
            self.post(
                Window(end, run.settled_to), lambda each: measure(each, suspended, FOREVER), end
            )
            run.settled_to = end
        run.ended_at = end
        if not swept:
            run.suspensions = [
                [begin, end if until is None else min(until, end)]
                for begin, until in suspended
                if (begin or 0) < end
            ]

    def close(self) -> None:
        """All of it is posted: it is settled and its hold ends."""
        run, hold = self.run, self.hold
        run.state = moved(run.run, run.state, "settle")
        self.count(1)
        if hold is not None and hold.state == "open":
            hold.state = "settled"
            free(self.ledger, hold, self.decision)
            self.effects["ended"] = True

    def count(self, runs: int, forgiven: int = 0) -> None:
        """One more settled run, or one less, at its end."""
        run = self.run
        at = max(run.started_at, (run.ended_at or 0) - 1)
        lines = (Line("forgiven_runs", forgiven, 0, "platform", 0, ""),) if forgiven else ()
        before = self.counted.requests
        self.counted = UsageRecord(
            at, run.member, run.resource, run.item, before + runs, lines, run.project
        )

    def renew(self) -> None:
        """Hold what funds the run for as long as it asks; a deadline never moves back."""
        run, ledger, hold = self.run, self.ledger, self.hold
        if run.state != "active" or hold is None or hold.state != "open":
            return
        if ledger.account.closed_at is None:
            self.fund(hold, _funding(ledger, self.decision, run, run.settled_to, hold))

    def fund(self, hold: HoldRecord, found: Funding) -> None:
        """Hold what funds the run, and tell where that is not for as long as it asks."""
        self._hold(hold, found)
        if self.run.bound_by not in WHOLE:
            self.warn()

    def warn(self) -> None:
        """The deadline nears, or has passed, and was not renewed: told once for each."""
        run = self.run
        if run.warned != run.until:
            run.warned = run.until
            data = {"run": run.run, "until": run.until, "bound_by": run.bound_by}
            self.ledger.untold.append(("run_unfunded", data))

    def _hold(self, hold: HoldRecord, found: Funding) -> None:
        run, ledger = self.run, self.ledger
        more = sum(part.amount for part in found.parts) - hold.reserved
        if found.until > max(run.until, run.settled_to):
            run.until, run.bound_by = found.until, found.bound_by
        else:
            if found.bound_by not in WHOLE:
                run.bound_by = found.bound_by
            if more <= 0:  # else time reported late has taken of what was held for this deadline
                return
        reserve(ledger, hold, found, self.decision)
        hold_spending(ledger, hold, more)
        span = Window(run.settled_to, found.until)
        want = found.want if found.bound_by in WHOLE else demand_of(ledger, run, span)
        ledger.uncount(hold)
        by_period = want.by_period(span.end - span.start)
        announce(ledger, hold, zip(ledger.periods(*span), by_period, strict=True))

    def finish(self, amount: int | None = None) -> Outcome:
        """Record it.  What came free repays debt."""
        run, ledger = self.run, self.ledger
        repay(ledger)
        ledger.state.runs[run.run] = ledger.changes.runs[run.run] = run
        stands = [run.state, self.charged, run.settled_to, run.until, run.bound_by]
        effects: dict[str, Any] = {"run": run.run, "stands": stands, **self.effects}
        for name in _TOLD:
            if name not in self.was or getattr(run, name) != self.was[name]:
                effects[name] = deepcopy(getattr(run, name))
        hold = self.hold
        if hold is not None and hold.state == "open":
            effects["parts"] = hold.parts
            if hold.counted:
                effects["counted"] = hold.counted
        usage = self.counted if self.counted.requests or self.counted.lines else None
        amount = abs(self.charged) if amount is None else amount
        return finish(ledger, self.decision, amount, effects, usage)


def _pieces(ledger: Ledger, run: Run, occurred: int, more: Measure) -> list[Piece]:
    """The quantities of so much more running and suspended time (or less, negative)."""
    up: list[tuple[str, int, Payer]] = []
    down: list[tuple[str, int, Payer]] = []
    account, audiences = ledger.account, ledger.audiences(occurred)
    for component, rate, who in run.spec:
        payer: Payer = "customer" if who == "customer" else "platform"
        quantity = rate * more.running
        if quantity:
            (up if quantity > 0 else down).append((component, quantity, payer))
        if more.suspended:
            name = f"suspended_{component}"
            priced = ledger.catalogue.price(
                account.currency, run.resource, name, occurred, audiences
            )
            if priced is not None:
                quantity = rate * more.suspended
                (up if quantity > 0 else down).append((name, quantity, payer))
    return [
        Piece(occurred, tuple(sorted(down)), min(0, more.running)),
        Piece(occurred, tuple(sorted(up)), max(0, more.running)),
    ]


def unposted(ledger: Ledger, run: Run, at: int) -> list[Piece]:
    """What has accrued of a run by a time and is not posted."""
    end = at if run.ended_at is None else min(at, run.ended_at)
    found: list[Piece] = []
    for window in windows(ledger, run.resource, Window(run.settled_to, end)):
        found += _pieces(ledger, run, window.end - 1, measure(window, run.suspensions, FOREVER))
    return [piece for piece in found if piece.parts]


def demand_of(ledger: Ledger, run: Run, span: Window) -> Demand:
    """What a run asks for in a span, from how it stands."""
    item = ledger.item(run.item, run.resource) or Item(run.item, run.resource)
    spec = RunSpec(run.resource, run.spec, run.facts)
    return demand(ledger, spec, item, span)


def _horizon(
    ledger: Ledger, decision: Decision[Any], run: Run, start: int
) -> tuple[int, FundingBound]:
    """How far a run may be funded from a time on, by a clock that may be ahead; and why no
    further."""
    asked = max(max(decision.at, start) + run.ahead, run.until)
    known = ledger.terms.now + ledger.terms.horizon
    return (asked, "asked") if asked <= known else (known, "horizon")


def _funding(
    ledger: Ledger, decision: Decision[Any], run: Run, start: int, hold: HoldRecord | None
) -> Funding:
    end, why = _horizon(ledger, decision, run, start)
    want = demand_of(ledger, run, Window(start, max(start, end)))
    use = Use(run.member, run.project, run.resource, start, decision.time, until=end)
    return fund(ledger, use, want, end, why, hold, decision)


def _change(ledger: Ledger, decision: Decision[Any]) -> _Change:
    name = decision.command.run
    run = ledger.state.runs.get(name)
    if run is None:
        raise NotFound("run", name, "a run is named by the key of its start")
    return _Change(ledger, decision, copy(run))  # one that fails has changed nothing


# -- the commands ---------------------------------------------------------------


def start(ledger: Ledger, decision: Decision[StartRun]) -> Outcome:
    command = decision.command
    spec, began = command.spec, occurred_at(decision)
    if spec.facts:
        check_level("a run with facts", VARIES, ledger.terms)
    state = moved(command.run, "", "start")
    run = Run(
        command.run, spec.resource, spec.parts, decision.member, command.project, command.reference,
        duration("fund_for", command.fund_for), state, began, began, began, began, "asked",
        facts=spec.facts,
    )  # fmt: skip
    item = ledger.item(run.item, run.resource) or Item(run.item, run.resource)
    end, why = _horizon(ledger, decision, run, began)
    span = Window(began, max(began, end))
    asked = RunSpec(spec.resource, spec.parts, spec.facts)
    want = demand(ledger, asked, item, span, strict=True)
    lapse(ledger, decision)
    least = min(duration("min_runtime", command.min_runtime), max(1, end - began))
    use = Use(decision.member, command.project, spec.resource, began, decision.time, until=end)
    funding = fund(ledger, use, want, end, why, None, decision)
    if funding.until < began + least:
        return limit_refusal(
            command.org, command.key, unfunded(ledger, use, want, least), decision.time
        )
    change = _Change(ledger, decision, run)
    hold = HoldRecord(run.item, run.resource, FOREVER, "open", [], [], run.member, run.project)
    change.hold = ledger.state.holds[hold.key] = ledger.changes.holds[hold.key] = hold
    change.was = {}
    ledger.will_lapse(FOREVER)
    change.fund(hold, funding)
    return change.finish(hold.reserved)


def heartbeat(ledger: Ledger, decision: Decision[Heartbeat]) -> Outcome:
    change, seen = _change(ledger, decision), occurred_at(decision)
    run = change.run
    run.state = moved(run.run, run.state, "heartbeat")
    lapse(ledger, decision)
    if run.state in OPEN:
        run.seen_at = max(run.seen_at, seen)
        change.settle(seen)
        change.renew()
    elif run.swept and seen > (run.ended_at or 0):
        change.settle(seen)  # it lived longer than was known
        run.seen_at = run.ended_at = seen
    return change.finish()


def suspend(ledger: Ledger, decision: Decision[SuspendRun]) -> Outcome:
    command = decision.command
    change = _change(ledger, decision)
    run = change.run
    until = None if command.until is None else micros("until", command.until)
    if until is not None and until > ledger.terms.now + ledger.terms.tolerance:
        raise InvalidCommand("until", moment(until).isoformat(), "a time that has come")
    begin = max(occurred_at(decision), run.started_at)
    state = run.state
    if until is None or state not in OPEN:
        state = moved(run.run, state, "suspend")
    lapse(ledger, decision)
    if run.ended_at is not None:
        until = run.ended_at if until is None else min(until, run.ended_at)
    else:
        ledger.measure(run.settled_to, until or 0)
        run.seen_at = max(run.seen_at, begin, until or 0)
        change.settle(begin)
    if until is None or begin < until:
        suspended = run.suspensions
        run.suspensions = _joined([*suspended, [begin, until]])
        span = Window(begin, run.settled_to if until is None else min(until, run.settled_to))
        change.post(span, lambda each: measure(each, suspended, FOREVER), FOREVER)
    run.state = state
    return change.finish()


def _joined(spans: list[list[int | None]]) -> list[list[int | None]]:
    """The same time as sorted spans of which none touches another."""
    joined: list[list[int | None]] = []
    for begin, until in sorted(spans, key=lambda each: each[0] or 0):
        last = joined[-1] if joined else None
        if last is None or (last[1] is not None and last[1] < (begin or 0)):
            joined.append([begin, until])
        elif last[1] is not None and (until is None or until > last[1]):
            last[1] = until
    return joined


def resume(ledger: Ledger, decision: Decision[ResumeRun]) -> Outcome:
    change = _change(ledger, decision)
    run, command = change.run, decision.command
    state = moved(run.run, run.state, "resume")
    lapse(ledger, decision)
    suspended = run.suspensions
    begin = suspended[-1][0] or 0
    again = max(occurred_at(decision), begin)
    funding = _funding(ledger, decision, run, again, change.hold)
    if funding.until < again + _SECOND and funding.bound_by not in WHOLE:
        want = demand_of(ledger, run, Window(again, again + _SECOND))
        end, _ = _horizon(ledger, decision, run, again)
        use = Use(run.member, run.project, run.resource, again, decision.time, until=end)
        why = unfunded(ledger, use, want, _SECOND, change.hold)
        return limit_refusal(command.org, command.key, why, decision.time)
    run.state = state
    run.seen_at = max(run.seen_at, again)
    change.settle(again)
    ended: list[list[int | None]] = [[begin, again]] if begin < again else []
    run.suspensions = suspended[:-1] + ended
    span = Window(again, run.settled_to)
    change.post(span, lambda each: measure(each, suspended, FOREVER), FOREVER)
    change.renew()
    return change.finish()


def stop(ledger: Ledger, decision: Decision[StopRun]) -> Outcome:
    change = _change(ledger, decision)
    run, end = change.run, max(occurred_at(decision), change.run.started_at)
    was_open, state = run.open, moved(run.run, run.state, "stop")
    lapse(ledger, decision)
    if was_open:
        change.end_at(end)
        run.state = state
        if decision.command.settle:
            change.settle(end)
            change.close()
    elif run.swept:
        change.settle(end)  # where it lived longer than was known
        change.end_at(end)
        run.swept = False
    return change.finish()


def settle_run(ledger: Ledger, decision: Decision[SettleRun]) -> Outcome:
    change = _change(ledger, decision)
    run = change.run
    moved(run.run, run.state, "settle")
    lapse(ledger, decision)
    change.settle(run.ended_at or run.settled_to)
    change.close()
    return change.finish()


def end_runs(ledger: Ledger, decision: Decision[Close]) -> None:
    """The account is being closed: every run that has a hold ends now, as a sweep ends it at its
    last sign of life, or is settled where it had been stopped.  An entry of its own for each.
    What is told of it later is still charged."""
    holds = ledger.state.holds.values()
    names = [hold.key for hold in holds if hold.state == "open" and hold.key.startswith("run:")]
    names = sorted(name.removeprefix("run:") for name in names)
    until = max(decision.time, ledger.terms.now + ledger.terms.tolerance)
    missing = {name: until for name in names if name not in ledger.state.runs}
    if missing:
        raise NeedMore(ledger.org, runs=missing)
    for name in names:
        run, key = ledger.state.runs[name], f"{name}@closing"
        if run.open:
            since = moment(run.seen_at + 1)
            swept = CloseSilentRun(ledger.org, key, run=name, since=since)
            _close_silent(_change(ledger, _of_closing(decision, _SWEEP, swept)), why="closed")
        else:
            settled = SettleRun(ledger.org, key, run=name)
            settle_run(ledger, _of_closing(decision, _SETTLE, settled))


def _of_closing(closing: Decision[Close], operation: Operation[_C], command: _C) -> Decision[_C]:
    """A command that the closing of its account brings."""
    key = f"{command.op}:{command.key}"
    return Decision(
        operation, command, key, command.meaning(None), closing.at, closing.time, closing.doubted, 0
    )


def sweep(ledger: Ledger, decision: Decision[CloseSilentRun]) -> Outcome:
    command = decision.command
    change = _change(ledger, decision)
    run = change.run
    lapse(ledger, decision)
    since = micros("since", command.since)
    if not run.open or run.seen_at >= since:
        return refusal(decision, "not_silent")
    ledger.believe(since)
    return _close_silent(change)


def _close_silent(change: _Change, **why: str) -> Outcome:
    """A run ends at its last sign of life, which is told."""
    run = change.run
    run.state = moved(run.run, run.state, "sweep")
    change.end_at(run.seen_at, swept=True)
    change.settle(run.seen_at)
    change.close()
    run.swept = True
    if run.until < change.decision.time:
        change.warn()
    data = {"run": run.run, "seen_at": run.seen_at, **why}
    change.ledger.untold.append(("run_swept", data))
    return change.finish()


def forgive_run(ledger: Ledger, decision: Decision[ForgiveRun]) -> Outcome:
    command = decision.command
    change = _change(ledger, decision)
    run = change.run
    amount = None if command.amount is None else command.amount.nanos
    state = moved(run.run, run.state, "forgive" if amount is None else "forgive part")
    lapse(ledger, decision)
    left = sum(tab.amount - tab.forgiven for tab in run.tabs)
    if amount is not None and amount > left:
        return refusal(decision, "over_reversal", amount - left, "charge")
    ledger.check_room(returned=left if amount is None else amount)
    pending = run.state == "pending"
    if pending:
        change.settle(run.ended_at or run.settled_to)
    change.charged -= forgive(ledger, change.whose, amount)
    if pending:
        change.close()  # not before: what of the hold expires belongs to the command's own entry
    if amount is None:
        change.count(-1, 1)
    run.state = state
    return change.finish()


def undo(ledger: Ledger, decision: Decision[UndoForgiveness]) -> Outcome:
    change = _change(ledger, decision)
    run = change.run
    state = moved(run.run, run.state, "undo")
    if run.state == "settled" and not any(tab.forgiven for tab in run.tabs):
        raise Conflict(f"nothing of run {run.run!r} is forgiven")
    ledger.check_room(used=sum(tab.forgiven for tab in run.tabs))
    lapse(ledger, decision)
    change.charged += repost(ledger, change.whose)
    if run.state == "forgiven":
        change.count(1, -1)
    run.state = state
    return change.finish()


def _stands(entry: Entry, base: Header, effects: Any) -> RunStatus:
    state, charged, settled_to, until, bound_by = effects["stands"]
    run = effects["run"]
    return RunStatus(*base, run, state, charged, moment(settled_to), moment(until), bound_by)


_SETTLE = Operation(SettleRun, settle_run, _stands, _want, tops_up="use")
_SWEEP = Operation(CloseSilentRun, sweep, _stands, _want, tops_up="use")
OPERATIONS = (
    Operation(StartRun, start, _stands, _want, tops_up="use"),
    Operation(Heartbeat, heartbeat, _stands, _want, tops_up="use"),
    Operation(SuspendRun, suspend, _stands, _want, tops_up="use"),
    Operation(ResumeRun, resume, _stands, _want, tops_up="use"),
    Operation(StopRun, stop, _stands, _want, tops_up="use"),
    _SETTLE,
    _SWEEP,
    Operation(ForgiveRun, forgive_run, _stands, _want, ("amount",), tops_up="use"),
    Operation(UndoForgiveness, undo, _stands, _want, tops_up="use"),
)
