"""State and commands in, changes and outcomes out: the only place where money is decided.

Pure.  Commands are decided in order, each seeing the effects of those before it.
A command that is refused, invalid or in conflict moves nothing of its own; what
had lapsed by its time of decision is recorded all the same, as it is a fact.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from billing_core.charging import (
    accounts,
    charges,
    holds,
    restoration,
    reversals,
    subscriptions,
    unpriced_usage,
)
from billing_core.charging.allowances import expire_excess_ahead
from billing_core.charging.expiry import free, lapse
from billing_core.charging.holds import QUOTES_ANEW, made_for
from billing_core.charging.operations import Decision, Operation, check_level, finish
from billing_core.charging.subscriptions import subscribe, tell_plan_alerts
from billing_core.commands.accounts import Close, OpenAccount
from billing_core.commands.base import OLDER_NAMES, Command
from billing_core.commands.outcomes import Closed, Outcome, Refusal
from billing_core.errors import Conflict, IdempotencyConflict, InvalidCommand, NotFound
from billing_core.ledger.debts import repay
from billing_core.ledger.inputs import Instant, Terms
from billing_core.ledger.ledger import Ledger
from billing_core.ledger.replay import check_loaded, check_stands
from billing_core.ports.state import Changes, Loaded, OrgState, Wanted
from billing_core.records.ledger import Account
from billing_core.runs import handlers as runs
from billing_core.runs.handlers import end_runs
from billing_core.storage import handlers as storage
from billing_core.topups import handlers as topups
from billing_core.topups.handlers import begin_topup_if_low, retryable_while_topup_open
from billing_core.values.money import Money
from billing_core.values.times import DAY, FOREVER, billing_period, micros, moment, spanning
from billing_core.values.usage import Usage

__all__ = ["OPERATIONS", "decide", "ledger_now", "wanted", "widened"]


def wanted(commands: Iterable[Command], now: int) -> dict[str, Wanted]:
    """What a store must load for these commands, by org."""
    wants: dict[str, Wanted] = {}
    for command in commands:
        at = now if command.at is None else micros("at", command.at)
        want = wants.get(command.org)
        if want is None:
            want = wants[command.org] = Wanted(until=at)
        want.until = max(want.until, at)
        want.keys.add(f"{command.op}:{command.key}")
        if command.member is not None:
            want.members.add(command.member)
        if command.project is not None:
            want.projects.add(command.project)
        if command.hold is not None:
            want.holds.add(command.hold)
        more = _OF[type(command)].wants
        if more is not None:
            more(want, command, at, now)
    return wants


def widened(wants: Mapping[str, Wanted], loaded: Loaded, terms: Terms) -> bool:
    """Add to ``wants`` what only the loaded accounts show to be needed; True if anything was
    added: then load again.

    - A hold reaches later windows of limits where the org's watermark is ahead of the clock.
    - Of a hold that is extended, the entry that made it names its usage: its item, the plans
      since then, and the counters of billing periods in which it was not announced yet.

    What is missed here is raised as NeedMore while deciding, one load for each.
    """
    more = False
    for org, want in wants.items():
        if want.lives:
            more |= _want_reached(want, loaded[org].account)
        for name, until in want.extended.items():
            state = loaded[org]
            made = state.entries.get(f"hold:{name}")
            if state.account is not None and made is not None and terms.level >= QUOTES_ANEW:
                usage = made_for(made)
                hold = state.holds.get(name)
                if usage is not None and hold is not None:
                    begun = billing_period(state.account.anchor, until).start
                    beyond = all(held.period != begun for held in hold.counted)
                    more |= _want_quote(want, state.account, usage, made.at, beyond)
    return more


def _want_reached(want: Wanted, account: Account | None) -> bool:
    if account is None or account.limited_since is None or want.times is None:
        return False
    first, last = want.times
    # As late as anything of this batch may be decided, or anything is recorded.
    latest = max(account.watermark, account.recorded_at, want.until) + want.lives
    if latest < min(last - last % DAY + DAY, billing_period(account.anchor, last).end):
        return False
    want.times = first, latest
    return True


def _want_quote(want: Wanted, account: Account, usage: Usage, since: int, beyond: bool) -> bool:
    resource = usage.resource
    before = want.counters.get(resource), len(want.items), want.times
    if beyond:
        want.counters[resource] = min(since, before[0][0] if before[0] else since), FOREVER
    if usage.item is not None:
        want.items.add((usage.item, resource))
    if account.plan_since > since:
        want.times = spanning(want.times, since)
    return before != (want.counters.get(resource), len(want.items), want.times)


def decide(
    loaded: Loaded, commands: Iterable[Command], terms: Terms
) -> tuple[list[Outcome], dict[str, Changes]]:
    """The outcome of each command, in order, and what to write, by org.

    Uses ``loaded`` up.  Raises NeedMore, and ClockDoubt.
    """
    check_loaded(loaded)
    ledgers: dict[str, Ledger] = {}
    outcomes: list[Outcome] = []
    for command in commands:
        ledger = ledgers.get(command.org)
        if ledger is None:
            ledger = ledgers[command.org] = Ledger(command.org, loaded[command.org], terms)
        try:
            outcomes.append(_decide(ledger, command, terms))
        except (InvalidCommand, Conflict, NotFound) as error:
            outcomes.append(error)
    changes = {org: ledgers[org].changed() for org in sorted(ledgers)}
    return outcomes, {org: change for org, change in changes.items() if change is not None}


def _decide(ledger: Ledger, command: Command, terms: Terms) -> Outcome:
    at = terms.now if command.at is None else micros("at", command.at)
    key = f"{command.op}:{command.key}"
    operation = _OF[type(command)]
    account = ledger.state.account
    if account is None:
        if not isinstance(command, OpenAccount):
            raise NotFound("org", command.org, "it has no account; open it first")
        _check_not_ahead("at", at, terms)
        content = command.meaning(None)
        return operation.handle(ledger, Decision(operation, command, key, content, at, at, 0, 0))
    _check_currency(command, operation, account)
    anybody = command.member is not None or command.as_held
    member = _member(ledger, command) if anybody else None
    content = command.meaning(member)
    known = ledger.state.entries.get(key)
    if known is not None:
        if known.content != content:
            raise IdempotencyConflict(command.org, command.key, _differing(known.content, content))
        check_stands(ledger, command, known, at)
        return operation.replay(known)
    if at > terms.now:
        _check_not_ahead("at", at, terms)
    if command.occurred_at is not None:
        _check_not_ahead("occurred_at", micros("occurred_at", command.occurred_at), terms)
    if isinstance(command, OpenAccount):
        raise Conflict(f"org {command.org!r} is open already, under another key")
    if account.closed_at is not None and not (command.measured or operation.after_closing):
        return Refusal(command.org, command.key, "closed")
    if command.level > terms.level:
        check_level(type(command).__name__, command.level, terms)
    time, doubted = _time_of_decision(account, at, terms)
    decision = Decision(operation, command, key, content, at, time, doubted, member or 0)
    tell_plan_alerts(ledger, decision)  # of a new version of the plan
    result = operation.handle(ledger, decision)
    if account.ahead:
        expire_excess_ahead(ledger, time)
    if account.topup_below is not None and (
        operation.tops_up == "use" or (terms.topups.on_expiry and operation.tops_up == "expiry")
    ):
        begin_topup_if_low(ledger, time)
    if isinstance(result, Refusal):
        result = retryable_while_topup_open(result, open=account.topup_open)
    return result


def _time_of_decision(account: Account, at: int, terms: Terms) -> tuple[int, int]:
    """The time of decision of a command dated ``at``, and the clock's time if that is in doubt.

    Normally the later of ``at`` and the watermark, and 0.  Where ``at`` is later than the latest
    certain time of a clock in doubt: the later of that certain time and the watermark, and ``at``.
    A wrong time must not become the watermark, which never goes back: credit would end by it.
    """
    if terms.certain is None or at <= terms.certain:
        return max(at, account.watermark), 0
    return max(terms.certain, account.watermark), at


def _member(ledger: Ledger, command: Command) -> int | None:
    """The number of a command's member, who may be new, or of the one its hold was made for."""
    if command.member is not None:
        return ledger.state.members.get(command.member, ledger.account.members + 1)
    held = ledger.state.holds.get(command.hold)
    return None if held is None else held.member or None


def _check_not_ahead(field: str, time: int, terms: Terms) -> None:
    if time > terms.now + terms.tolerance:
        latest = moment(terms.now + terms.tolerance).isoformat()
        raise InvalidCommand(field, moment(time).isoformat(), f"{latest} or earlier")


def _check_currency(command: Command, operation: Operation[Any], account: Account) -> None:
    for field in operation.money:
        money = getattr(command, field)
        if isinstance(money, Money) and money.currency != account.currency:
            raise InvalidCommand(
                field, money.currency, f"{account.currency}, the currency of org {account.org!r}"
            )


def _differing(before: str, after: str) -> tuple[str, ...]:
    old, new = json.loads(before), json.loads(after)
    names = [name for name in old.keys() | new.keys() if old.get(name) != new.get(name)]
    return tuple(sorted(OLDER_NAMES.get(name, name) for name in names))


def _close(ledger: Ledger, decision: Decision[Close]) -> Outcome:
    command = decision.command
    lapse(ledger, decision)
    end_runs(ledger, decision)
    released = sorted(hold.key for hold in ledger.state.holds.values() if hold.state == "open")
    for key in released:
        hold = ledger.state.holds[key]
        hold.state = "released"
        free(ledger, hold, decision)
    repay(ledger)
    account = "refunds" if command.remainder == "refund" else "write_off"
    amount = ledger.drain(account, command.remainder, decision.time)
    ledger.account.closed_at = decision.time
    subscribe(ledger, None, decision.time)
    return finish(ledger, decision, amount, {"released": released})


_ROWS: tuple[Operation[Any], ...] = (
    *accounts.OPERATIONS,
    *holds.OPERATIONS,
    *charges.OPERATIONS,
    *unpriced_usage.OPERATIONS,
    *reversals.OPERATIONS,
    *restoration.OPERATIONS,
    *subscriptions.OPERATIONS,
    Operation(
        Close,
        _close,
        lambda entry, base, _: Closed(*base, entry.amount),
        subscriptions.want_holds,
        tops_up="never",
        history="close",
    ),
    *runs.OPERATIONS,
    *storage.OPERATIONS,
    *topups.OPERATIONS,
)
OPERATIONS: Mapping[str, Operation[Any]] = {row.command.op: row for row in _ROWS}
"""Every operation, by the name that the keys of its entries begin with."""
_OF: Mapping[type[Command], Operation[Any]] = {row.command: row for row in _ROWS}


def ledger_now(org: str, state: OrgState, terms: Terms) -> Ledger:
    """The org's ledger as of the terms' time, for reads: what has lapsed by then is applied, and
    nothing of it is stored.  Raises NeedMore."""
    ledger = Ledger(org, state, terms)
    if state.account is not None:
        lapse(ledger, Instant(max(terms.now, state.account.watermark)))
    return ledger
