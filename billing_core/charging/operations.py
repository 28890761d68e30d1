"""What an operation of the ledger is declared as, and a decision about one: its command with all
that is known of it, and the two ways in which it ends, on record or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from attrs import frozen

from billing_core.charging.limits import BindingLimit
from billing_core.commands.base import Command
from billing_core.commands.outcomes import Header, Outcome, Refusal, RefusalReason, Success, header
from billing_core.errors import Conflict, InvalidCommand
from billing_core.ledger.inputs import NeedMore, Terms, level_text
from billing_core.ledger.ledger import Ledger
from billing_core.ports.state import Wanted
from billing_core.records.ledger import Entry, HistoryType, LimitName
from billing_core.records.usage import UsageRecord
from billing_core.values.times import micros, moment

__all__ = [
    "Decision",
    "Operation",
    "check_future",
    "check_level",
    "finish",
    "limit_refusal",
    "occurred_at",
    "refusal",
]

_C = TypeVar("_C", bound=Command)


@frozen(eq=False)
class Operation(Generic[_C]):
    """What there is to know of a kind of command: all of it is said here, once."""

    command: type[_C]
    """Its class."""
    handle: Callable[[Ledger, Decision[_C]], Outcome]
    """Decides one."""
    outcome: Callable[[Entry, Header, Any], Success] | None
    """Builds the success from the command's entry, at first and at every replay: from what every
    success says, and the entry's effects.  None: the handler builds it, and callers cannot look it
    up again."""
    wants: Callable[[Wanted, _C, int, int], None] | None = None
    """Adds what a store must load for it, beside its key, member, project and hold; is given the
    command's time and the clock's, in microseconds."""
    money: tuple[str, ...] = ()
    """Its fields that may be an amount of money: in the account's currency."""
    after_closing: bool = False
    """Whether it is taken after its account was closed, as what was measured always is."""
    tops_up: Literal["use", "expiry", "never"] = "expiry"
    """When an automatic top-up may begin with it.  ``use``: always, whether refused or not.
    ``expiry``: only where ``TopUpRules.on_expiry`` is set, as nothing but expired credit can have
    made one due.  ``never``: money comes or goes already."""
    history: HistoryType | None = None
    """What a customer's history calls its entries, where they move the balance."""

    def success(self, entry: Entry, effects: object, *, replayed: bool) -> Success:
        """The success that an entry is the record of."""
        assert self.outcome is not None, f"{self.command.op} has no outcome on record"
        return self.outcome(entry, header(entry, replayed=replayed), effects)

    def replay(self, entry: Entry) -> Success:
        """The same again, from the record alone."""
        return self.success(entry, json.loads(entry.effects), replayed=True)


class Decision(NamedTuple, Generic[_C]):
    """A command that is being decided.

    ``key`` and ``content``: as the journal has them.  ``member``: the number of the member that it
    is for, 0 for nobody.  Of times there are three.  ``at``: when it was sent, by the caller's word
    or the clock's.  ``time``: of decision: never before the org's watermark, and before ``at`` only
    while the clock is in doubt.  ``doubted``: then that clock's time, else 0; see :class:`When`.
    """

    operation: Operation[_C]
    command: _C
    key: str
    content: str
    at: int
    time: int
    doubted: int
    member: int

    @property
    def now(self) -> int:
        """From when the life of a hold, run or lot that this command makes is measured."""
        return max(self.at, self.time)


def occurred_at(decision: Decision[Any]) -> int:
    """When what the command tells of happened: its own time, unless it says another."""
    occurred = decision.command.occurred_at
    return decision.at if occurred is None else micros("occurred_at", occurred)


def finish(
    ledger: Ledger,
    decision: Decision[Any],
    amount: int,
    effects: object = None,
    usage: UsageRecord | None = None,
) -> Outcome:
    """Record a success.  A member seen for the first time gets its surrogate id here."""
    account = ledger.account
    if decision.member > account.members:
        account.members = decision.member
        name = decision.command.member
        ledger.state.members[name] = decision.member
        ledger.changes.members.append((decision.member, name))
    entry = ledger.post(decision.key, decision.time, decision.content, amount, effects, usage)
    return decision.operation.success(entry, effects or {}, replayed=False)


def refusal(
    decision: Decision[Any],
    reason: RefusalReason,
    shortfall: int = 0,
    limit: LimitName | Literal["charge"] | None = None,
) -> Refusal:
    return Refusal(decision.command.org, decision.command.key, reason, shortfall, limit)


def limit_refusal(org: str, key: str, bound: BindingLimit, time: int) -> Refusal:
    """The refusal that a limit, a quota or the balance makes, at a time of decision."""
    if bound.until is None:
        return Refusal(org, key, "insufficient_credit", bound.shortfall, bound.limit)
    reason: RefusalReason = "quota_reached" if bound.limit == "quota" else "limit_reached"
    if bound.until <= time:  # a window that is over has no room again
        return Refusal(org, key, reason, bound.shortfall, bound.limit)
    seconds = (bound.until - time) / 1_000_000
    return Refusal(
        org, key, reason, bound.shortfall, bound.limit, retryable=True, retry_after=seconds
    )


def check_level(what: str, needs: int, terms: Terms) -> None:
    """Raise Conflict for what the version of the library that may run beside this one cannot
    follow; NeedMore where that may have changed."""
    if terms.level >= needs:
        return
    if not terms.fresh:
        raise NeedMore(None)
    raise Conflict(level_text(what, needs, terms.level))


def check_future(field: str, time: int | None, decision: Decision[Any]) -> None:
    if time is not None and time <= decision.now:
        after = moment(decision.now).isoformat()
        raise InvalidCommand(field, moment(time).isoformat(), f"a time after {after}")
