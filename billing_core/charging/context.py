"""A command that is being decided, and the two ways in which it ends: on record, or refused."""

from __future__ import annotations

from typing import Any, NamedTuple

from billing_core.charging.limits import Bound
from billing_core.commands.outcomes import Outcome, Refusal, outcome
from billing_core.errors import Conflict, InvalidCommand
from billing_core.ledger.inputs import NeedMore, Terms
from billing_core.ledger.ledger import Ledger
from billing_core.records.usage import UsageRecord
from billing_core.values.times import moment

__all__ = ["Ask", "check_future", "check_level", "finish", "refuse", "refused"]


class Ask(NamedTuple):
    """A command, with what every handler needs of it.  ``at``: its own time; ``time``:
    the time of decision, which is before ``at`` only by a clock in doubt."""

    command: Any
    key: str
    content: str
    at: int
    time: int
    member: int

    @property
    def now(self) -> int:
        """From when something is to live that this command begins."""
        return max(self.at, self.time)


def finish(
    ledger: Ledger,
    ask: Ask,
    amount: int,
    effects: object = None,
    usage: UsageRecord | None = None,
) -> Outcome:
    """Record a success.  A member seen for the first time gets its surrogate id here."""
    account = ledger.account
    if ask.member > account.members:
        account.members = ask.member
        name = ask.command.member
        ledger.state.members[name] = ask.member
        ledger.changes.members.append((ask.member, name))
    entry = ledger.post(ask.key, ask.time, ask.content, amount, effects, usage)
    return outcome(entry, effects=effects)


def refuse(ask: Ask, reason: str, shortfall: int = 0, limit: str | None = None) -> Refusal:
    return Refusal(ask.command.org, ask.command.key, reason, shortfall, limit)


def refused(org: str, key: str, bound: Bound, time: int) -> Refusal:
    """The refusal of what something bound, decided at a time."""
    if bound.until is None:
        return Refusal(org, key, "insufficient_credit", bound.shortfall, bound.limit)
    reason = "quota_reached" if bound.limit == "quota" else "limit_reached"
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
    raise Conflict(
        f"{what} needs schema {needs}, and the version of this library "
        f"that may still run beside this one knows {terms.level}: once it runs nowhere, run "
        "billing migrate --finish"
    )


def check_future(field: str, time: int | None, ask: Ask) -> None:
    if time is not None and time <= ask.now:
        after = moment(ask.now).isoformat()
        raise InvalidCommand(field, moment(time).isoformat(), f"a time after {after}")
