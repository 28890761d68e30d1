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
    """One resource, by who pays.  ``components``: name → (quantity, nanos); ``units``:
    name → what one of the quantity is.  ``amount``: nanos, less what was reversed."""

    resource: str
    payer: str
    requests: int
    amount: int
    components: Mapping[str, tuple[int, int]]
    units: Mapping[str, str]


@frozen
class ModelUsage:
    """Calls of one model; ``byok``: on the customer's own key."""

    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    byok: bool
    amount: int

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@frozen
class ResourceCharge:
    """What any other resource was charged.  ``quantity`` of ``unit``: of its one component;
    where it has several (or a fixed amount was charged), the number of requests."""

    resource: str
    quantity: int
    unit: str
    amount: int


class Running(NamedTuple):
    """What of a run is not posted yet: ``state`` active (also while it is suspended) or
    pending, microseconds of running time, and an estimate of their cost."""

    member: int
    state: str
    us: int
    amount: int


@frozen
class RuntimeSums:
    """So many runs, ``us`` microseconds of running time, and what they cost."""

    runs: int = 0
    us: int = 0
    amount: int = 0

    @property
    def seconds(self) -> int:
        """Whole seconds."""
        return self.us // 1_000_000


@frozen
class SandboxRuntime:
    """Sandboxes' running time: ``settled`` is what is posted, less what was ``forgiven``;
    ``pending`` and ``active``, by an estimate, what is not posted yet.  Runs are counted by
    their state, those that have ended in the window of their end."""

    settled: RuntimeSums
    pending: RuntimeSums
    forgiven: RuntimeSums
    active: RuntimeSums


@frozen
class StorageUsage:
    """What a workspace stored, as far as it is billed: byte-microseconds."""

    workspace: str
    byte_us: int
    amount: int

    @property
    def byte_seconds(self) -> int:
        """Whole byte-seconds."""
        return self.byte_us // 1_000_000


@frozen
class UsageSummary:
    """Usage as a customer reads it; amounts in nanos.

    ``input_tokens``, ``output_tokens``: paid by the platform.  ``tool_executions``: calls of
    ``tool:`` resources, charged or not, however many were settled at once.  ``resources``: what
    is in none of the others.
    ``total``: of all that is posted.
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
        return self.input_tokens + self.output_tokens


@frozen
class UsageReport:
    """What was used in a half-open window.

    ``rows``: by resource and payer.  ``members``: the same by member's name (None for
    usage without one, ``#7`` for an erased member).  ``total``: nanos.
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
        """A member's part."""
        return summary(self.members.get(member, ()), self.running.get(member, ()))


@frozen
class DayUsage:
    """What was used on one UTC day, by resource and payer; ``total`` in nanos."""

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
