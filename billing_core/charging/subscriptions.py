"""What an org subscribes to, and the limits and marks that it sets itself."""

from __future__ import annotations

from billing_core.charging.allowances import begin_period, grant_allowance
from billing_core.charging.expiry import lapse
from billing_core.charging.limits import limit_from, marks, tell_passed
from billing_core.charging.operations import Decision, Operation, finish
from billing_core.commands.accounts import SetLimit, SetLowBalance, SetPlan
from billing_core.commands.outcomes import Outcome, Subscribed, changed
from billing_core.errors import InvalidCommand, NotFound
from billing_core.ledger.debts import repay
from billing_core.ledger.hash_chain import TELLS
from billing_core.ledger.inputs import NeedMore, When
from billing_core.ledger.ledger import Ledger
from billing_core.ports.state import Wanted
from billing_core.pricing.plan import Plan
from billing_core.records.ledger import LimitSet, Subscription
from billing_core.values.text import compact

__all__ = ["OPERATIONS", "subscribe", "tell_plan_alerts", "want_holds"]


def set_plan(ledger: Ledger, decision: Decision[SetPlan]) -> Outcome:
    command = decision.command
    account = ledger.account
    plan = None
    if command.plan is not None:
        plan = ledger.catalogue.plan(command.plan, decision.time)
        if plan is None:
            if not ledger.terms.fresh:
                raise NeedMore(None)
            raise NotFound("plan", command.plan, "publish it first")
        if plan.currency != account.currency:
            expected = f"a plan in {account.currency}, the currency of org {account.org!r}"
            raise InvalidCommand("plan", f"{command.plan} in {plan.currency}", expected)
    lapse(ledger, decision)
    if decision.at > decision.time and ledger.period(decision.at) != ledger.period(decision.time):
        ledger.believe(decision.at)  # which period's allowance it brings
    limit_from(ledger, decision.time)
    before = marks(ledger, [] if plan is None else _alerted(plan), decision.time)
    period = ledger.period(decision.time)
    if account.period != period.start:  # it had no plan, or paused, when this one began
        begin_period(account, period.start)
    subscribe(ledger, command.plan, decision.time)
    account.paused = command.paused
    tell_passed(ledger, before, decision.time)
    lot, effects = None, None
    if plan is not None and not command.paused:
        lot, effects = grant_allowance(ledger, plan, decision.time)
        ledger.will_lapse(period.end)
        repay(ledger)
    return finish(ledger, decision, 0 if lot is None else lot.amount, effects)


def _alerted(plan: Plan) -> list[tuple[str, str]]:
    """Whose limits of a plan have alerts, and per what."""
    return [
        (each.whose if each.whose == "org" else f"{each.whose}:*", each.per)
        for each in plan.limits
        if each.alerts
    ]


def tell_plan_alerts(ledger: Ledger, when: When) -> None:
    """Where a new version of the org's plan has taken effect since it last decided anything, the
    alerts that came with it and whose mark has been passed are told, in an entry of its own."""
    account = ledger.account
    name, since, time = account.plan, account.watermark, when.time
    if name is None or not ledger.catalogue.renewed(name, since, time):
        return
    if ledger.terms.level < TELLS:
        return
    plan, was = ledger.plan(time), ledger.plan(since)
    if plan is None or _alerts(plan) <= _alerts(was):
        return
    lapse(ledger, when)
    tell_passed(ledger, marks(ledger, _alerted(plan), time, since), time)
    ledger.post(f"terms:{plan.version}", time, compact({"plan": plan.version}), 0)


def _alerts(plan: Plan | None) -> set[tuple[str, str, int, int]]:
    return {
        (limit.whose, limit.per, limit.amount.nanos, percent)
        for limit in (() if plan is None else plan.limits)
        for percent in limit.alerts
    }


def subscribe(ledger: Ledger, plan: str | None, time: int) -> None:
    """From a time on the org has a plan, or none."""
    account, state = ledger.account, ledger.state
    if plan is None and account.plan is None:
        return
    if not state.subscriptions and account.plan_since:
        state.subscriptions.append(Subscription(0, account.plan_since, account.plan))
    account.plan, account.plan_since, account.paused = plan, time, False
    since = Subscription(account.seq + 1, time, plan)
    state.subscriptions.append(since)
    ledger.changes.subscriptions.append(since)


def set_limit(ledger: Ledger, decision: Decision[SetLimit]) -> Outcome:
    command = decision.command
    lapse(ledger, decision)
    limit_from(ledger, decision.time)
    amount = None if command.amount is None else command.amount.nanos
    subject = command.subject(decision.member)
    # For each that has no own, the marks that were there stay unless this one has some.
    some = command.every is None or (amount is not None and command.alerts)
    before = marks(ledger, [(subject, command.per)] if some else [], decision.time)
    limit = LimitSet(subject, command.per, amount, command.alerts, command.blocks)
    key = (limit.subject, limit.per)
    ledger.state.limits[key] = ledger.changes.limits[key] = limit
    tell_passed(ledger, before, decision.time)
    return finish(ledger, decision, amount or 0)


def set_low_balance(ledger: Ledger, decision: Decision[SetLowBalance]) -> Outcome:
    command = decision.command
    lapse(ledger, decision)
    amount = None if command.amount is None else command.amount.nanos
    account = ledger.account
    account.low_balance = amount
    if amount is not None and account.balance < amount:
        data = {"balance": account.balance, "threshold": amount}
        ledger.untold.append(("low_balance", data))
    return finish(ledger, decision, amount or 0)


def want_holds(want: Wanted, command: object, at: int, now: int) -> None:
    """What a store must load for what every open hold counts in."""
    want.all_holds = True


OPERATIONS = (
    Operation(
        SetPlan,
        set_plan,
        lambda entry, base, effects: Subscribed(*base, entry.amount, effects.get("lot")),
        want_holds,
        history="allowance",
    ),
    Operation(SetLimit, set_limit, changed, want_holds, ("amount",)),
    Operation(SetLowBalance, set_low_balance, changed, money=("amount",)),
)
