"""Bar charts of what was charged: by day, or by model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.text import Text

from billing_core import Billing, UsageReport, UsageRow
from billing_core.ports.state import Wanted
from billing_core.records.rollups import cover
from billing_core.values.times import DAY, Window, micros, moment

__all__ = ["bars", "by_day", "by_model"]

_MOST_DAYS = 62


def bars(out: Console, title: str, amounts: Mapping[str, int]) -> None:
    """One line and one bar for each, from the top."""
    import plotext  # type: ignore[import-untyped]  # which takes a fifth of the time to start

    if not amounts:
        out.print(f"{title}: nothing.")
        return
    names = list(amounts)[::-1]
    # Floats are for the picture only.
    values = [max(amounts[name], 0) / 1e9 for name in names]
    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(out.width, len(names) + 4)
    figure.title(title)
    # Thin bars: thicker ones reach into their neighbours' lines.
    figure.draw(figure.bar(list(range(len(names))), values, orientation="h", width=0.01))
    figure.ruler("x", "lower").lim(0, max(values) or 1)
    lines = figure.ruler("y", "left").lim(0, max(len(names) - 1, 1))
    lines.ticks(list(range(len(names))), names)
    drawn: Any = figure.build()
    out.print(Text.from_ansi(drawn.string().rstrip()), no_wrap=True, crop=True)


def by_model(rows: Iterable[UsageRow]) -> dict[str, int]:
    """Nanos by resource, the dearest first; what the customer's own keys paid is no bar."""
    paid = [row for row in rows if row.payer == "platform"]
    paid.sort(key=lambda row: (-row.amount, row.resource))
    return {row.resource.removeprefix("model:"): row.amount for row in paid}


def by_day(billing: Billing, report: UsageReport, member: str | None) -> dict[str, int]:
    """Nanos by UTC day of use, or by month where there are many days; they add up to the
    report's total."""
    store, org = billing.store, report.org
    only = None
    if member is not None:
        wanted = Wanted(until=0, members={member})
        only = store.snapshot({org: wanted})[org].members.get(member, -1)
    days: dict[int, int] = {}
    for grain, start, end in cover(
        Window(micros("start", report.start), micros("end", report.end))
    ):
        if grain is None:
            for _, record in store.usage(org, start, end, only):
                day = record.occurred_at // DAY
                days[day] = days.get(day, 0) + sum(line.amount for line in record.lines)
        else:
            for key, cell in store.cells(org, grain, start, end, only).items():
                day = key.start // DAY
                days[day] = days.get(day, 0) + cell.amount
    if not days:
        return {}
    first, last = min(days), max(days)
    form = "%m-%d" if last - first < _MOST_DAYS else "%Y-%m"
    found: dict[str, int] = {}
    for day in range(first, last + 1):
        name = f"{moment(0) + timedelta(days=day):{form}}"
        found[name] = found.get(name, 0) + days.get(day, 0)
    return found
