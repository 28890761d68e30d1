"""Usage by member, model and resource over a window.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from attrs import field, frozen

from billing_core.records.rollups import Sums
from billing_core.values.times import Window, moment
from billing_core.values.usage import CUSTOMER

__all__ = [
    "DayUsage",
    "ModelUsage",
    "ResourceCharge",
    "Running",
    "RuntimeSums",
    "SandboxRuntime",
    "StorageUsage",
    "UsageReport",
    "UsageRow",
    "UsageSummary",
    "by_day",
    "report",
    "summary",
]

UnitOf = Callable[[str, str], str]
"""``(resource, component)`` → what one of the quantity is."""

_MODEL, _TOOL, _SANDBOX, _STORAGE = "model:", "tool:", "sandbox:", "storage:"
_NOT_MEASURED = ("fixed", "reversed", "running", "forgiven", "forgiven_runs")
"""The ledger's own components."""


@frozen
class UsageRow:
    """What was used of one resource, by who pays for it.

    Attributes:
        resource: What was used.
        payer: ``platform`` or ``customer`` (rule 8.5).
        requests: How many calls.
        amount: Nanos, less what was given back.
        components: ``(quantity, nanos)`` by component.
        units: What one of the quantity is, by component.
    """

    resource: str
    payer: str
    requests: int
    amount: int
    components: Mapping[str, tuple[int, int]]
    units: Mapping[str, str]


@frozen
class ModelUsage:
    """The calls of one model.

    Attributes:
        model: The model's name, without ``model:``.
        requests: How many calls.
        input_tokens: With the cached ones.
        output_tokens: With the reasoning ones.
        byok: Whether the customer pays for them with a key of their own (rule 8.5).
        amount: Nanos, less what was given back.
    """

    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    byok: bool
    amount: int

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens


@frozen
class ResourceCharge:
    """What was charged for a resource that is not a model, a sandbox or a workspace.

    Attributes:
        resource: What was used.
        quantity: Of its one component, in ``unit``; where it has several, or a fixed amount was
            charged, the number of requests.
        unit: What one of ``quantity`` is.
        amount: Nanos, less what was given back.
    """

    resource: str
    quantity: int
    unit: str
    amount: int


class Running(NamedTuple):
    """What of a run's time is not charged yet.

    Attributes:
        member: The member's number; 0: none.
        state: ``active`` (also while it is suspended) or ``pending``.
        us: Microseconds of running time.
        amount: Nanos, an estimate of what they will cost.
    """

    member: int
    state: str
    us: int
    amount: int


@frozen
class RuntimeSums:
    """A number of runs, their running time, and what it cost.

    Attributes:
        runs: How many.
        us: Microseconds of running time.
        amount: Nanos.
    """

    runs: int = 0
    us: int = 0
    amount: int = 0

    @property
    def seconds(self) -> int:
        """Whole seconds of running time, rounded down."""
        return self.us // 1_000_000


@frozen
class SandboxRuntime:
    """The running time of sandboxes (rule 8.3).

    A run is counted under its state; one that has ended, in the report in which its end lies.

    Attributes:
        settled: What is charged, less what was forgiven.
        pending: Of runs that have stopped: an estimate of what is not charged yet.
        forgiven: What was charged and forgiven.
        active: Of runs that go on, or are suspended: an estimate of what is not charged yet.
    """

    settled: RuntimeSums
    pending: RuntimeSums
    forgiven: RuntimeSums
    active: RuntimeSums


@frozen
class StorageUsage:
    """What a workspace stored, as far as it is charged (rule 8.4).

    Attributes:
        workspace: The workspace's name.
        byte_us: Byte-microseconds.
        amount: Nanos, less what was given back.
    """

    workspace: str
    byte_us: int
    amount: int

    @property
    def byte_seconds(self) -> int:
        """Whole byte-seconds, rounded down."""
        return self.byte_us // 1_000_000


@frozen
class UsageSummary:
    """Usage as a customer reads it.

    Attributes:
        input_tokens: Of all models, paid for by the platform's credit.
        output_tokens: Of all models, paid for by the platform's credit.
        models: By model, and by who pays.
        tool_executions: Calls of ``tool:`` resources, charged or not, however many were settled at
            once.
        sandbox_runtime: The running time of sandboxes.
        storage: By workspace.
        resources: What is in none of the others.
        total: Nanos, of all that is charged.
    """

    input_tokens: int
    output_tokens: int
    models: tuple[ModelUsage, ...]
    tool_executions: int
    sandbox_runtime: SandboxRuntime
    storage: tuple[StorageUsage, ...]
    resources: tuple[ResourceCharge, ...]
    total: int

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together, paid for by the platform's credit."""
        return self.input_tokens + self.output_tokens


@frozen
class UsageReport:
    """What an org used in a window of time (rule 8.2).

    Attributes:
        org: Whose account it is.
        currency: Of all amounts.
        period: What was asked for: ``current``, ``7d``, ``30d`` or ``all_time``.
        start: The window's start, UTC; it belongs to the window.
        end: The window's end, UTC; it does not.
        rows: By resource and payer.
        total: Nanos, less what was given back.
        members: The same rows by member; None: usage without a member; ``#7``: a member whose name
            was erased.
        running: By member, what of runs is not charged yet.
    """

    org: str
    currency: str
    period: str
    start: datetime
    end: datetime
    rows: tuple[UsageRow, ...]
    total: int
    members: Mapping[str | None, tuple[UsageRow, ...]]
    running: Mapping[str | None, tuple[Running, ...]] = field(factory=dict)

    @property
    def summary(self) -> UsageSummary:
        """All of it, as a customer reads it."""
        return summary(self.rows, [each for some in self.running.values() for each in some])

    def of_member(self, member: str | None) -> UsageSummary:
        """One member's part, as a customer reads it; empty where there is none."""
        return summary(self.members.get(member, ()), self.running.get(member, ()))


@frozen
class DayUsage:
    """What was used on one UTC day.

    Attributes:
        day: The day's start, UTC.
        rows: By resource and payer.
        total: Nanos, less what was given back.
    """

    day: datetime
    rows: tuple[UsageRow, ...]
    total: int


def report(
    org: str,
    currency: str,
    period: str,
    window: Window,
    sums: Sums,
    names: Mapping[int, str],
    unit_of: UnitOf,
    open_runs: Iterable[Running] = (),
) -> UsageReport:
    """The report of sums; ``names`` are the members' names by surrogate id."""
    running: dict[str | None, list[Running]] = {}
    for each in open_runs:
        name = None if each.member == 0 else names.get(each.member, f"#{each.member}")
        running.setdefault(name, []).append(each)
    whole = Sums()
    members: dict[str | None, Sums] = {}
    for (member, resource, payer), cell in sums.cells.items():
        whole.add(0, resource, payer, cell)
        name = None if member == 0 else names.get(member, f"#{member}")
        members.setdefault(name, Sums()).add(0, resource, payer, cell)
    return UsageReport(
        org=org,
        currency=currency,
        period=period,
        start=moment(window.start),
        end=moment(window.end),
        rows=_rows(whole, unit_of),
        total=_total(whole),
        members={
            name: _rows(members[name], unit_of)
            for name in sorted(members, key=lambda each: each or "")
        },
        running={name: tuple(some) for name, some in running.items()},
    )


def by_day(days: Mapping[int, Sums], unit_of: UnitOf) -> tuple[DayUsage, ...]:
    """Each day's usage, by the day's start in microseconds."""
    return tuple(
        DayUsage(moment(day), _rows(sums, unit_of), _total(sums))
        for day, sums in sorted(days.items())
    )


def _total(sums: Sums) -> int:
    return sum(cell.amount for cell in sums.cells.values())


def _rows(sums: Sums, unit_of: UnitOf) -> tuple[UsageRow, ...]:
    return tuple(
        UsageRow(
            resource,
            payer,
            cell.requests,
            cell.amount,
            {name: (parts[0], parts[1]) for name, parts in sorted(cell.components.items())},
            {name: unit_of(resource, name) for name in sorted(cell.components)},
        )
        for (_, resource, payer), cell in sorted(sums.cells.items(), key=lambda each: each[0])
    )


# -- as a customer reads it -----------------------------------------------------


def summary(rows: Iterable[UsageRow], running: Iterable[Running] = ()) -> UsageSummary:
    """Rows of one report, and its open runs, of all members or of one."""
    every = tuple(rows)
    models = tuple(_model(row) for row in every if row.resource.startswith(_MODEL))
    own = [each for each in models if not each.byok]
    return UsageSummary(
        input_tokens=sum(each.input_tokens for each in own),
        output_tokens=sum(each.output_tokens for each in own),
        models=models,
        tool_executions=sum(_calls(row) for row in every if row.resource.startswith(_TOOL)),
        sandbox_runtime=_runtime(
            [row for row in every if row.resource.startswith(_SANDBOX)], tuple(running)
        ),
        storage=tuple(
            StorageUsage(
                row.resource.removeprefix(_STORAGE),
                row.components.get("byte_us", (0, 0))[0],
                row.amount,
            )
            for row in every
            if row.resource.startswith(_STORAGE)
        ),
        resources=tuple(
            _charge(row)
            for row in every
            if not row.resource.startswith((_MODEL, _SANDBOX, _STORAGE))
        ),
        total=sum(row.amount for row in every),
    )


def _runtime(rows: Sequence[UsageRow], running: Sequence[Running]) -> SandboxRuntime:
    def total(component: str, which: int) -> int:
        return sum(row.components.get(component, (0, 0))[which] for row in rows)

    def rest(state: str) -> RuntimeSums:
        some = [each for each in running if each.state == state]
        us, amount = sum(each.us for each in some), sum(each.amount for each in some)
        return RuntimeSums(len(some), us, amount)

    forgiven = RuntimeSums(total("forgiven_runs", 0), total("forgiven", 0), -total("forgiven", 1))
    settled = RuntimeSums(
        sum(row.requests for row in rows),
        total("running", 0) - forgiven.us,
        sum(row.amount for row in rows),
    )
    return SandboxRuntime(settled, rest("pending"), forgiven, rest("active"))


def _model(row: UsageRow) -> ModelUsage:
    return ModelUsage(
        row.resource.removeprefix(_MODEL),
        row.requests,
        _tokens(row, ("input", "cache")),
        _tokens(row, ("output", "reasoning")),
        row.payer == CUSTOMER,
        row.amount,
    )


def _tokens(row: UsageRow, kinds: tuple[str, ...]) -> int:
    """Cached tokens are input and reasoning is output, whatever they are priced at."""
    return sum(quantity for name, (quantity, _) in row.components.items() if name.startswith(kinds))


def _calls(row: UsageRow) -> int:
    """Calls, however many were settled at once; where they are not counted, settlements."""
    calls, _ = row.components.get("call", (row.requests, 0))
    return calls


def _charge(row: UsageRow) -> ResourceCharge:
    measured = [name for name in row.components if name not in _NOT_MEASURED]
    if len(measured) == 1:
        [name] = measured
        return ResourceCharge(row.resource, row.components[name][0], row.units[name], row.amount)
    return ResourceCharge(row.resource, row.requests, "request", row.amount)
