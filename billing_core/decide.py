"""State and commands in, changes and outcomes out: the only place where money is decided.

Pure.  Commands are decided in order, each seeing the effects of those before it.
A command that is refused, invalid or in conflict moves nothing of its own; what
had lapsed by its time of decision is recorded all the same, as it is a fact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from billing_core.charging.accounts import grant, open_account
from billing_core.charging.allowances import keep_ahead
from billing_core.charging.charges import deduct, settle
from billing_core.charging.context import Ask, check_level, finish
from billing_core.charging.expiry import free, lapse
from billing_core.charging.holds import QUOTES_ANEW, extend, hold, made_for, release
from billing_core.charging.restoration import undo_expiry
from billing_core.charging.reversals import reverse
from billing_core.charging.subscriptions import (
    renew,
    set_limit,
    set_low_balance,
    set_plan,
    subscribe,
)
from billing_core.charging.unpriced_usage import price
from billing_core.commands.accounts import (
    Close,
    OpenAccount,
    SetLimit,
    SetLowBalance,
    SetPlan,
)
from billing_core.commands.base import Command
from billing_core.commands.charges import Deduct, PriceUnpriced, Reverse, Settle
from billing_core.commands.credit import Grant, UndoExpiry
from billing_core.commands.holds import Extend, Hold, Release
from billing_core.commands.outcomes import Outcome, Refusal, outcome
from billing_core.commands.topups import (
    AskRefund,
    ClaimTopUp,
    Lapse,
    LoseMethod,
    OrderTopUp,
    RecordTopUp,
    SetAutoTopUp,
)
from billing_core.errors import Conflict, IdempotencyConflict, InvalidCommand, NotFound
from billing_core.ledger.debts import repay
from billing_core.ledger.inputs import Terms
from billing_core.ledger.ledger import FOREVER, Ledger
from billing_core.ledger.replay import check_loaded, check_stands
from billing_core.ports.state import Changes, Loaded, OrgState, Wanted
from billing_core.records.ledger import Account
from billing_core.runs.handlers import RUN_HANDLERS, end_runs, want_run
from billing_core.storage.handlers import STORAGE_HANDLERS, want_storage
from billing_core.topups.handlers import (
    ask_refund,
    claim,
    consider,
    in_flight,
    lapse_only,
    lose_method,
    order,
    record,
    set_auto,
)
from billing_core.values.money import Money
from billing_core.values.times import DAY, billing_period, duration, micros, moment
from billing_core.values.usage import Usage

__all__ = ["decide", "project", "wanted", "widened"]


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
        more = _WANTS.get(type(command))
        if more is not None:
            more(want, command, at, now)
    return wants


def _want_use(want: Wanted, command: Any, at: int, now: int) -> None:
    occurred = command.occurred_at
    time = at if occurred is None else micros("occurred_at", occurred)
    want.times = _spanning(want.times, time)
    kind = type(command)
    if kind is Hold:  # nothing is dated more than a day ahead
        life = min(duration("life", command.life), DAY)
        want.lives = max(want.lives, life)
        want.times = _spanning(want.times, max(at, now) + life)
    usage = command.usage if kind is Settle else command.cost
    if isinstance(usage, Usage):
        span = _spanning(want.counters.get(usage.resource), time)
        if kind is Hold:  # it may be used in any later period
            span = span[0], FOREVER
        want.counters[usage.resource] = span
        if usage.item is not None:
            want.items.add((usage.item, usage.resource))


def _want_extension(want: Wanted, command: Extend, at: int, now: int) -> None:
    want.times = _spanning(_spanning(want.times, at), max(at, now) + DAY)
    want.lives = DAY
    until = max(at, now) + duration("life", command.life)
    want.extended[command.hold] = max(until, want.extended.get(command.hold, 0))
    want.keys.add(f"hold:{command.hold}")


def widened(wants: Mapping[str, Wanted], loaded: Loaded, terms: Terms) -> bool:
    """Whether more must be loaded now that the orgs' accounts are known: windows of limits that
    holds reach by the time of decision, where the clock is behind that; and for the extensions of
    holds, now that what these were made for is known, its item, the plans since, and the counters
    where it is to live beyond the periods in which it is announced: those are loaded with it.
    What is overlooked here is asked for by NeedMore, one after the other."""
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
                    beyond = all(start != begun for start, _, _ in hold.counted)
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
        want.times = _spanning(want.times, since)
    return before != (want.counters.get(resource), len(want.items), want.times)


def _want_charge(want: Wanted, command: Any, at: int, now: int) -> None:
    want.charges.add(command.charge)
    if isinstance(command, PriceUnpriced) or command.undo_usage:
        want.keys.add(f"undone:{command.charge}")


def _want_expiry(want: Wanted, command: Any, at: int, now: int) -> None:
    want.charges.add(command.expiry)


def _want_holds(want: Wanted, command: Any, at: int, now: int) -> None:
    want.all_holds = True


def _want_topup(want: Wanted, command: Any, at: int, now: int) -> None:
    want.topups.add(command.topup if type(command) is AskRefund else command.key)
    want.auto = True


def _want_auto(want: Wanted, command: Any, at: int, now: int) -> None:
    want.auto = True


_WANTS: Mapping[type[Command], Callable[[Wanted, Any, int, int], None]] = {
    **dict.fromkeys((Settle, Deduct, Hold), _want_use),
    Extend: _want_extension,
    **dict.fromkeys((PriceUnpriced, Reverse), _want_charge),
    UndoExpiry: _want_expiry,
    **dict.fromkeys((Close, SetPlan, SetLimit), _want_holds),
    **dict.fromkeys((ClaimTopUp, RecordTopUp, AskRefund), _want_topup),
    **dict.fromkeys((OrderTopUp, SetAutoTopUp, LoseMethod), _want_auto),
    **dict.fromkeys(RUN_HANDLERS, want_run),
    **dict.fromkeys(STORAGE_HANDLERS, want_storage),
}


def _spanning(span: tuple[int, int] | None, time: int) -> tuple[int, int]:
    if span is None:
        return time, time
    first, last = span
    return span if first <= time <= last else (min(first, time), max(last, time))


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
    account = ledger.state.account
    if account is None:
        if not isinstance(command, OpenAccount):
            raise NotFound("org", command.org, "it has no account; open it first")
        _check_not_ahead("at", at, terms)
        return open_account(ledger, command, key, at, terms)
    _check_currency(command, account)
    anybody = command.member is not None or command.as_held
    member = _member(ledger, command) if anybody else None
    content = command.meaning(member)
    known = ledger.state.entries.get(key)
    if known is not None:
        if known.content != content:
            raise IdempotencyConflict(command.org, command.key, _differing(known.content, content))
        check_stands(ledger, command, known, at)
        return outcome(known, replayed=True)
    if at > terms.now:
        _check_not_ahead("at", at, terms)
    if command.occurred_at is not None:
        _check_not_ahead("occurred_at", micros("occurred_at", command.occurred_at), terms)
    if isinstance(command, OpenAccount):
        raise Conflict(f"org {command.org!r} is open already, under another key")
    if account.closed_at is not None and not (
        command.measured or isinstance(command, _AFTER_CLOSING)
    ):
        return Refusal(command.org, command.key, "closed")
    if command.level > terms.level:
        check_level(type(command).__name__, command.level, terms)
    ask = Ask(command, key, content, at, _time_of_decision(ledger, at, terms), member or 0)
    renew(ledger, ask.time)
    result = _HANDLERS[type(command)](ledger, ask)
    if account.ahead:
        keep_ahead(ledger, ask.time)
    if account.topup_below is not None and (
        type(command) in _USES or (terms.topups.on_expiry and type(command) not in _PAYING)
    ):
        consider(ledger, ask.time)
    if isinstance(result, Refusal):
        result = in_flight(result, open=account.topup_open)
    return result


def _time_of_decision(ledger: Ledger, at: int, terms: Terms) -> int:
    """Of a command of a time.  By a clock in doubt it is no later than is certain: it never goes
    back, and what right clocks decide from then on would end credit by it."""
    watermark = ledger.account.watermark
    ledger.doubted = 0
    if terms.certain is None or at <= terms.certain:
        return max(at, watermark)
    ledger.doubted = at
    return max(terms.certain, watermark)


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


def _check_currency(command: Command, account: Account) -> None:
    for field in _MONEY[type(command)]:
        money = getattr(command, field)
        if isinstance(money, Money) and money.currency != account.currency:
            raise InvalidCommand(
                field, money.currency, f"{account.currency}, the currency of org {account.org!r}"
            )


def _differing(before: str, after: str) -> tuple[str, ...]:
    old, new = json.loads(before), json.loads(after)
    return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))


def _close(ledger: Ledger, ask: Ask) -> Outcome:
    command: Close = ask.command
    lapse(ledger, ask.time)
    end_runs(ledger, ask)
    released = sorted(hold.key for hold in ledger.state.holds.values() if hold.state == "open")
    for key in released:
        hold = ledger.state.holds[key]
        hold.state = "released"
        free(ledger, hold)
    repay(ledger)
    account = "refunds" if command.remainder == "refund" else "write_off"
    amount = ledger.drain(account, command.remainder)
    ledger.account.closed_at = ask.time
    subscribe(ledger, None, ask.time)
    return finish(ledger, ask, amount, {"released": released})


_HANDLERS: Mapping[type[Command], Callable[[Ledger, Ask], Outcome]] = {
    Grant: grant,
    Hold: hold,
    Extend: extend,
    Release: release,
    Settle: settle,
    Deduct: deduct,
    PriceUnpriced: price,
    Reverse: reverse,
    UndoExpiry: undo_expiry,
    SetPlan: set_plan,
    SetLimit: set_limit,
    SetLowBalance: set_low_balance,
    Close: _close,
    **RUN_HANDLERS,
    **STORAGE_HANDLERS,
    OrderTopUp: order,
    SetAutoTopUp: set_auto,
    AskRefund: ask_refund,
    ClaimTopUp: claim,
    RecordTopUp: record,
    LoseMethod: lose_method,
    Lapse: lapse_only,
}
_MONEY = {
    kind: tuple(name for name in ("amount", "cost", "add") if hasattr(kind, name))
    for kind in (OpenAccount, *_HANDLERS)
}
"""Which fields of a command may be an amount of money."""
_USES = frozenset(
    (
        Hold, Extend, Settle, Deduct, PriceUnpriced, *RUN_HANDLERS, *STORAGE_HANDLERS,
        SetAutoTopUp, ClaimTopUp,
    )
)  # fmt: skip
"""What may begin an automatic top-up: use, refused or not, and its own settings.  Whatever else
finds too little available finds what expired, and nobody has used anything."""
_PAYING = frozenset((OrderTopUp, AskRefund, RecordTopUp, LoseMethod, Close))
"""What begins none by itself, whatever the platform says: money comes or goes already.  A page
that saves another card lets go on what the one before could not pay for."""
_AFTER_CLOSING = (AskRefund, ClaimTopUp, RecordTopUp, LoseMethod, Lapse)


def project(org: str, state: OrgState, terms: Terms) -> Ledger:
    """The org as it stands at the terms' time, with what has lapsed by then applied: for
    reads.  Raises NeedMore."""
    ledger = Ledger(org, state, terms)
    if state.account is not None:
        lapse(ledger, max(terms.now, state.account.watermark))
    return ledger
