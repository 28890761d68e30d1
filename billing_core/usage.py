"""Usage by member, model and resource over a window.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from attrs import frozen

from billing_core.quantities import CUSTOMER
from billing_core.rollups import Sums
from billing_core.times import Window, moment

__all__ = [
    "DayUsage",
    "ModelUsage",
    "ResourceCharge",
    "UsageReport",
    "UsageRow",
    "UsageSummary",
    "by_day",
    "report",
    "summary",
]

UnitOf = Callable[[str, str], str]
"""``(resource, component)`` → what one of the quantity is."""

_MODEL, _TOOL = "model:", "tool:"
_NOT_MEASURED = ("fixed", "reversed")  # the ledger's own components


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


@frozen
class UsageSummary:
    """Usage as a customer reads it; amounts in nanos.

    ``input_tokens``, ``output_tokens``: paid by the platform.  ``tool_executions``: uses of
    ``tool:`` resources, charged or not.  ``total``: of all.
    """

    input_tokens: int
    output_tokens: int
    models: tuple[ModelUsage, ...]
    tool_executions: int
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

    @property
    def summary(self) -> UsageSummary:
        """All of it, as a customer reads it; :func:`summary` makes a member's."""
        return summary(self.rows)


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
) -> UsageReport:
    """The report of sums; ``names`` are the members' names by surrogate id."""
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


def summary(rows: Iterable[UsageRow]) -> UsageSummary:
    """Rows of one report, of all members or of one."""
    every = tuple(rows)
    models = tuple(_model(row) for row in every if row.resource.startswith(_MODEL))
    own = [each for each in models if not each.byok]
    return UsageSummary(
        input_tokens=sum(each.input_tokens for each in own),
        output_tokens=sum(each.output_tokens for each in own),
        models=models,
        tool_executions=sum(row.requests for row in every if row.resource.startswith(_TOOL)),
        resources=tuple(_charge(row) for row in every if not row.resource.startswith(_MODEL)),
        total=sum(row.amount for row in every),
    )


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


def _charge(row: UsageRow) -> ResourceCharge:
    measured = [name for name in row.components if name not in _NOT_MEASURED]
    if len(measured) == 1:
        [name] = measured
        return ResourceCharge(row.resource, row.components[name][0], row.units[name], row.amount)
    return ResourceCharge(row.resource, row.requests, "request", row.amount)
