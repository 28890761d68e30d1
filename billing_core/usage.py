"""Usage by member, model and resource over a window.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from attrs import frozen

from billing_core.records import Cell, CellKey, UsageRecord
from billing_core.rollups import payers
from billing_core.times import Window, moment

__all__ = ["UsageReport", "UsageRow", "report"]


@frozen
class UsageRow:
    """One resource, by who pays.  ``components``: name → (quantity, nanos).
    ``amount``: nanos, less what was reversed."""

    resource: str
    payer: str
    requests: int
    amount: int
    components: Mapping[str, tuple[int, int]]


@frozen
class UsageReport:
    """What was used in a half-open window.

    ``rows``: by resource and payer.  ``members``: the same by member's name (None for
    usage without one, ``#7`` for an erased member), where asked for.  ``total``: nanos.
    """

    org: str
    currency: str
    period: str
    start: datetime
    end: datetime
    rows: tuple[UsageRow, ...]
    total: int
    members: Mapping[str | None, tuple[UsageRow, ...]]


Sums = dict[tuple[int, str, str], Cell]
"""By member's surrogate id, resource and payer."""


def add_cells(sums: Sums, cells: Mapping[CellKey, Cell]) -> None:
    """Add rollup cells."""
    for key, cell in cells.items():
        sums.setdefault((key.member, key.resource, key.payer), Cell()).add(cell)


def add_records(sums: Sums, records: Iterable[UsageRecord]) -> None:
    """Add raw records."""
    for record in records:
        for payer in payers(record):
            key = (record.member, record.resource, payer)
            sums.setdefault(key, Cell()).add_record(record, payer)


def report(
    org: str, currency: str, period: str, window: Window, sums: Sums, names: Mapping[int, str]
) -> UsageReport:
    """The report of sums; ``names`` are the members' names by surrogate id."""
    whole: Sums = {}
    members: dict[str | None, Sums] = {}
    for (member, resource, payer), cell in sums.items():
        whole.setdefault((0, resource, payer), Cell()).add(cell)
        name = None if member == 0 else names.get(member, f"#{member}")
        members.setdefault(name, {}).setdefault((0, resource, payer), Cell()).add(cell)
    return UsageReport(
        org=org,
        currency=currency,
        period=period,
        start=moment(window.start),
        end=moment(window.end),
        rows=_rows(whole),
        total=sum(cell.amount for cell in whole.values()),
        members={
            name: _rows(members[name]) for name in sorted(members, key=lambda each: each or "")
        },
    )


def _rows(sums: Sums) -> tuple[UsageRow, ...]:
    return tuple(
        UsageRow(
            resource,
            payer,
            cell.requests,
            cell.amount,
            {name: (parts[0], parts[1]) for name, parts in sorted(cell.components.items())},
        )
        for (_, resource, payer), cell in sorted(sums.items(), key=lambda each: each[0])
    )
