"""What can be asked of sandbox runs; see :mod:`billing_core.commands`.

A run is named by the key of its start.  ``occurred_at`` of a command is when it happened by
the clock of whoever saw it, default: the command's own time.
"""

from __future__ import annotations

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
    name: str, rates: dict[str, int], *, payer: Payer | dict[str, Payer] = "platform"
) -> Rates:
    """What a microsecond of a sandbox's running time uses: ``rates`` by component, whole
    numbers of its price's unit.  ``sandbox("small", {"vcpu": 2, "memory_mib": 4096})``, or
    ``{"second": 1}`` where the price is by the second alone (and its unit a microsecond).

    While a run is suspended nothing is billed, unless a price says so: that of the component
    ``suspended_vcpu`` is what ``vcpu`` then costs.
    """
    return Rates.of(named("sandbox", name), rates, payer=payer)


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
    """Start a run: quoted, held, and funded for ``fund_for`` from now, as far as credit, limits
    and the published prices reach.

    ``spec``: what a microsecond uses (:func:`sandbox`).  Refused where not even ``min_runtime``
    can be funded.
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
    """A sign of life: what accrued is settled, hold and deadline are renewed.  Where they
    cannot be, it still settles, and answers the old deadline."""

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
    """From ``occurred_at`` on, until it is resumed, the run does not run; or until ``until``,
    where its end is known already.

    It may be told late, of a run that has ended too: what was settled of that time is given
    back.
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
    """The run runs again.  Refused, and still suspended, where not even a second of it can be
    funded."""

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
    """The run has ended.  Its time up to then is settled, and its hold ends; with ``settle``
    False both are left to :class:`SettleRun` or :class:`ForgiveRun`: it is pending.

    Where more was settled already, by a clock that was ahead, it is given back.  A run that
    was swept ends at its real end after all.
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
    """Settle a pending run."""

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
    """Close a run at its last sign of life, if there was none since ``since``; refused
    (``not_silent``) where there was, or where it has ended."""

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
    """Give back what a run was charged, or ``amount`` of it, for a reason.  A pending run is
    settled first; one of which all is forgiven is charged nothing more, whatever is told of it
    later."""

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
    """Charge again all that was forgiven of a run: the same amount, and what was told of it
    since."""

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
