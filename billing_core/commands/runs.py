"""What can be asked of sandbox runs; see :mod:`billing_core.commands`.

A run is named by the key of its start.  ``occurred_at`` of a command is when it happened by
the clock of whoever saw it, default: the command's own time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from attrs import field, frozen

from billing_core.commands.base import Command, check_command, check_labels, check_occurred
from billing_core.errors import InvalidCommand
from billing_core.values.money import Money
from billing_core.values.text import checked_name, given_name
from billing_core.values.times import duration, micros
from billing_core.values.usage import Payer, Rates, Usage, named

__all__ = [
    "CloseSilentRun",
    "ForgiveRun",
    "Heartbeat",
    "ResumeRun",
    "SettleRun",
    "StartRun",
    "StopRun",
    "SuspendRun",
    "UndoForgiveness",
    "sandbox",
]

_OWN = ("fixed", "forgiven", "forgiven_runs", "reversed", "running")  # the ledger's own
_MAX_RUN = 150  # names of runs stand in other names


def sandbox(
    name: str,
    rates: dict[str, int],
    *,
    payer: Payer | dict[str, Payer] = "platform",
    facts: Mapping[str, str] | None = None,
) -> Rates:
    """What a microsecond of a sandbox's running time uses, for :class:`StartRun` and `quote_run`.

    ``sandbox("small", {"vcpu": 2, "memory_mib": 4096})``; or ``{"second": 1}`` where the price is
    by time alone.  Quantities are counted by the microsecond: a price says its unit, such as
    ``vCPU-second`` (rule 5.10).  Suspended time costs nothing, unless the book has a price for a
    component ``suspended_vcpu``: that is what ``vcpu`` costs then.

    Args:
        name: The sandbox's kind; its resource is ``sandbox:<name>``.
        rates: By component, how many are used at a time: whole numbers.
        payer: Who pays: ``platform`` (the org's credit) or ``customer`` (nothing is charged; rule
            8.5), for all components or by component.
        facts: What else is known of the run, for its whole life, as its price may depend on it
            (rule 5.9).

    Raises:
        InvalidCommand: For names or rates that are not accepted.
    """
    return Rates.of(named("sandbox", name), rates, payer=payer, facts=facts)


def _check_run(name: object) -> None:
    if len(checked_name("run", name)) > _MAX_RUN:
        raise InvalidCommand("run", name, f"at most {_MAX_RUN} characters")


def _check_run_command(command: Any) -> None:
    check_command(command, known=command.op != "start")
    _check_run(command.run)
    check_occurred(command)
    if getattr(command, "reason", None) is not None:
        checked_name("reason", command.reason)


def _time(name: str, time: datetime | None) -> int | None:
    return None if time is None else micros(name, time)


@frozen(kw_only=True)
class StartRun(Command):
    """Start a sandbox run: it is quoted, and credit is held for it (rule 8.3).

    The outcome's ``funded_until`` says until when credit pays for it.  Refused where not even
    ``min_runtime`` can be funded.

    Args:
        org: Whose account it is.
        key: Idempotency key, which is also the run's name.
        spec: What a microsecond uses, as :func:`sandbox` gives it.
        fund_for: How far ahead of now the deadline may lie, at the start and at each heartbeat.
        min_runtime: The least that credit must pay for; at most ``fund_for``.
        member: Who uses it, for limits and reports.
        project: An API key, a team, or whatever else spending is grouped by.
        reference: Your own name for what it is about; it stands in the history.
        occurred_at: When the run began, UTC; None: at the command's own time.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "start"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    spec: Usage
    fund_for: timedelta = timedelta(minutes=5)
    min_runtime: timedelta = timedelta(seconds=1)
    member: str | None = None
    project: str | None = None
    reference: str | None = None
    occurred_at: datetime | None = None
    at: datetime | None = None

    @property
    def run(self) -> str:
        """The run's name: the key."""
        return self.key

    def __attrs_post_init__(self) -> None:
        _check_run_command(self)
        check_labels(self)
        if not isinstance(self.spec, Usage) or not self.spec.parts or self.spec.item is not None:
            raise InvalidCommand("spec", self.spec, "what sandbox(...) returns, of some component")
        given_name("spec", self.spec.resource)
        for component, _, _ in self.spec.parts:
            given_name("component", component)
        if not self.spec.resource.startswith("sandbox:"):
            raise InvalidCommand("spec", self.spec.resource, 'a resource that begins "sandbox:"')
        if any(component in _OWN for component, _, _ in self.spec.parts):
            raise InvalidCommand("spec", self.spec, f"no component named {', '.join(_OWN)}")
        if any(quantity >= 10**12 for _, quantity, _ in self.spec.parts):
            raise InvalidCommand("spec", self.spec, "rates below 10**12 a microsecond")
        if duration("min_runtime", self.min_runtime) > duration("fund_for", self.fund_for):
            raise InvalidCommand(
                "min_runtime", self.min_runtime, f"at most fund_for, {self.fund_for}"
            )

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "spec": self.spec.content(),
            "ahead": duration("fund_for", self.fund_for),
            "least": duration("min_runtime", self.min_runtime),
            "member": member,
            "project": self.project,
            "reference": self.reference,
            "occurred_at": _time("occurred_at", self.occurred_at),
        }


@frozen(kw_only=True)
class Heartbeat(Command):
    """A sign of life: charges what has accrued, and renews the hold and the deadline.

    Where these cannot be renewed it still charges, and answers the old deadline (rule 8.3).

    Args:
        org: Whose account it is.
        key: Idempotency key.
        run: The run's name: the key of its start.
        occurred_at: When the run was seen, UTC; None: at the command's own time.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "heartbeat"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    run: str
    occurred_at: datetime | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check_run_command(self)

    def content(self, member: int | None) -> dict[str, Any]:
        return {"run": self.run, "occurred_at": _time("occurred_at", self.occurred_at)}


@frozen(kw_only=True)
class SuspendRun(Command):
    """The run does not run from a time on, until it is resumed or until a time that is known.

    It may be told late, also of a run that has ended: what was charged for that time is given back.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        run: The run's name: the key of its start.
        until: Until when, UTC, where that is known; it needs ``occurred_at``, and lies after it.
        occurred_at: From when on, UTC; None: the command's own time.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "suspend"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    run: str
    until: datetime | None = None
    occurred_at: datetime | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check_run_command(self)
        if self.until is not None:
            until = micros("until", self.until)
            if self.occurred_at is None or until <= micros("occurred_at", self.occurred_at):
                raise InvalidCommand("until", self.until, "a time after occurred_at, given too")

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "run": self.run,
            "until": _time("until", self.until),
            "occurred_at": _time("occurred_at", self.occurred_at),
        }


@frozen(kw_only=True)
class ResumeRun(Command):
    """The run runs again, and is funded anew.

    Refused where not even a second of it can be funded; the run is then still suspended.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        run: The run's name: the key of its start.
        occurred_at: From when on, UTC; None: the command's own time.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "resume"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    run: str
    occurred_at: datetime | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check_run_command(self)

    def content(self, member: int | None) -> dict[str, Any]:
        return {"run": self.run, "occurred_at": _time("occurred_at", self.occurred_at)}


@frozen(kw_only=True)
class StopRun(Command):
    """The run has ended.  Its time up to then is charged, and its hold ends.

    Where more was charged already, as a clock was ahead, that is given back.  A run that a sweep
    had closed gets its real end.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        run: The run's name: the key of its start.
        settle: False: the run is pending: its last stretch of time is charged, and its hold ends,
            only with a :class:`SettleRun` or :class:`ForgiveRun`.
        occurred_at: When the run ended, UTC; None: at the command's own time.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "stop"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    run: str
    settle: bool = True
    occurred_at: datetime | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check_run_command(self)
        if type(self.settle) is not bool:
            raise InvalidCommand("settle", self.settle, "True or False")

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "run": self.run,
            "settle": self.settle,
            "occurred_at": _time("occurred_at", self.occurred_at),
        }


@frozen(kw_only=True)
class SettleRun(Command):
    """Charge the last stretch of a pending run, and end its hold.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        run: The run's name: the key of its start.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "settle_run"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    run: str
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check_run_command(self)

    def content(self, member: int | None) -> dict[str, Any]:
        return {"run": self.run}


@frozen(kw_only=True)
class CloseSilentRun(Command):
    """Close a run at its last sign of life, if it has given none since a time.

    Refused (``not_silent``) where it has given one, or has ended.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        run: The run's name: the key of its start.
        since: The time, UTC, from which on there must be no sign of life.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "sweep"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    run: str
    since: datetime
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check_run_command(self)
        micros("since", self.since)

    def content(self, member: int | None) -> dict[str, Any]:
        return {"run": self.run, "since": micros("since", self.since)}


@frozen(kw_only=True)
class ForgiveRun(Command):
    """Give back what a run was charged, or a part of it, for a reason that stays on record.

    A run of which all is forgiven is charged nothing more, whatever is told of it later.  All of a
    pending run can be forgiven; a part only once it is settled.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        run: The run's name: the key of its start.
        reason: Why, in your words.
        amount: How much, at most what it was charged less what was forgiven before; None: all.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "forgive"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    run: str
    reason: str
    amount: Money | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check_run_command(self)
        if self.amount is not None and (
            not isinstance(self.amount, Money) or self.amount.nanos <= 0
        ):
            raise InvalidCommand("amount", self.amount, "a positive Money, or None for all")

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "run": self.run,
            "reason": self.reason,
            "amount": None if self.amount is None else self.amount.nanos,
        }


@frozen(kw_only=True)
class UndoForgiveness(Command):
    """Charge again all that was forgiven of a run: the same amount, and what was told of it since.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        run: The run's name: the key of its start.
        reason: Why, in your words; it stays on record.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "undo"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    run: str
    reason: str | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check_run_command(self)

    def content(self, member: int | None) -> dict[str, Any]:
        return {"run": self.run, "reason": self.reason}
