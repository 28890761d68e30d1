"""Tables, the plot and progress bars."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from billing_adapters.cli.series import Series
from billing_core import Explanation, HistoryRow, UsageRow, Verification, decimal_text

__all__ = [
    "console",
    "explanation_table",
    "history_table",
    "money",
    "plot",
    "print_json",
    "print_json_rows",
    "progress",
    "say_verified",
    "table",
    "usage_table",
]


class _Output(Console):
    def on_broken_pipe(self) -> None:
        self.quiet = True
        raise BrokenPipeError  # rich would exit with 1, which says that something is wrong


def console() -> Console:
    """Where results go."""
    # Names may hold what looks like markup.
    return _Output(highlight=False, markup=False, emoji=False)


def progress(*, shown: bool = True) -> Progress:
    """Bars on the terminal's stderr; nothing where that is not a terminal."""
    stderr = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=stderr,
        disable=not (shown and stderr.is_terminal),
        redirect_stdout=False,  # results go where they were to go
        transient=True,
        expand=True,
    )


def print_json(value: object) -> None:
    """One object, alone on stdout."""
    click.echo(_json_text(value))


def print_json_rows(name: str, rows: Iterable[object]) -> None:
    """One object, alone on stdout, of a list by this name: each row as it comes."""
    before = f"{{\n  {_json_text(name)}: [\n    "
    for row in rows:
        click.echo(before + _json_text(row).replace("\n", "\n    "), nl=False)
        before = ",\n    "
    click.echo("\n  ]\n}" if before.startswith(",") else _json_text({name: []}))


def _json_text(value: object) -> str:
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    return json.dumps(value, indent=2, ensure_ascii=plain)


def table(title: str, *columns: str) -> Table:
    """A table; columns that begin with ``>`` hold numbers."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    for name in columns:
        if name.startswith(">"):
            made.add_column(name[1:], justify="right", no_wrap=True)
        else:
            made.add_column(name, overflow="fold")
    return made


def usage_table(title: str, rows: Iterable[UsageRow]) -> Table:
    """Charges by model and component, with their total."""
    made = table(title, "Resource", "Component", ">Quantity", ">Charged")
    total = 0
    for row in rows:
        name = row.resource if row.payer == "platform" else f"{row.resource} (own key)"
        first = True
        for component, (quantity, amount) in row.components.items():
            made.add_row(
                name if first else "", component, f"{quantity:,}" if quantity else "", money(amount)
            )
            first = False
        total += row.amount
        requests = f"{row.requests:,} request" + ("" if row.requests == 1 else "s")
        made.add_row("", requests, "", money(row.amount), style="dim")
    made.add_section()
    made.add_row("Total", "", "", money(total), style="bold")
    return made


def money(nanos: int) -> str:
    """Aligned at the point: all nine decimals."""
    text = decimal_text(nanos)
    return text + "0" * (9 - len(text.rpartition(".")[2]))


def history_table(title: str, rows: Sequence[tuple[str, HistoryRow]]) -> Table:
    """Movements, each with its org."""
    made = table(title, "Time (UTC)", "Org", ">Seq", "What", ">Amount", ">Balance")
    made.columns[0].no_wrap = True
    for org, row in rows:
        made.add_row(
            f"{row.at:%m-%d %T}",
            org,
            str(row.seq),
            _what(row),
            money(row.amount),
            money(row.balance),
            style="green" if row.amount > 0 else "",
        )
    return made


def _what(row: HistoryRow) -> str:
    if row.type == "usage" and row.resource is not None:
        return row.resource.removeprefix("model:")
    return row.type


def plot(out: Console, title: str, series: Series, height: int = 16) -> None:
    """A balance over time."""
    import plotext  # type: ignore[import-untyped]  # which takes a fifth of the time to start

    if series.last is None:
        return
    points = [*series.points, series.last]
    start, end = min(at for at, _ in points), max(at for at, _ in points)
    # plotext has one figure, which keeps what it was told before.
    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(out.width, height)
    figure.title(title)
    # Floats are for the picture only.
    amounts = [nanos / 1e9 for _, nanos in points]
    times = [at.timestamp() for at, _ in points]
    figure.draw(figure.signal(times, amounts, marker="braille").lines())
    figure.ruler("y", "left").lim(min(0.0, *amounts), None).frequency(height // 3)
    ticks = [start + (end - start) * part / 4 for part in range(5)]
    figure.ruler("x", "lower").ticks(
        [tick.timestamp() for tick in ticks], [_tick(tick, end - start) for tick in ticks]
    )
    drawn: Any = figure.build()
    out.print(Text.from_ansi(drawn.string().rstrip()), no_wrap=True, crop=True)


def _tick(at: datetime, span: timedelta) -> str:
    return f"{at:%T}" if span < timedelta(days=2) else f"{at:%m-%d %H:%M}"


def say_verified(out: Console, verification: Verification) -> None:
    """What verify found, each discrepancy named."""
    orgs = f"{verification.orgs} org" + ("" if verification.orgs == 1 else "s")
    if verification.ok:
        rest = f": {verification.entries:,} entries of {orgs}, no discrepancy."
        out.print(Text.assemble(("Verified", "bold green"), rest))
        return
    found = verification.discrepancies
    out.print(Text.assemble(("Not verified", "bold red"), f": {len(found)} wrong in {orgs}."))
    for each in found:
        out.print(f"  {each}", soft_wrap=True)


def explanation_table(each: Explanation) -> Iterator[Table | Text]:
    """A charge: what was used, by which price, how it adds up and who paid."""
    who = "" if each.member is None else f", member {each.member}"
    yield Text.assemble(
        (
            f"Charge {each.charge} of {each.org}: {decimal_text(each.amount)} {each.currency}",
            "bold",
        ),
        f"\n{each.resource}{who}, {each.occurred_at:%F %T.%f} UTC",
    )
    made = table("", "Component", ">Quantity", "Price", ">Charged")
    made.title = None
    for line in each.lines:
        made.add_row(
            line.component,
            f"{line.quantity:,}",
            line.price or ("own key" if line.payer == "customer" else ""),
            money(line.amount),
        )
    yield made
    text = Text()
    for line in each.lines:
        text.append(f"{line.component}: ", "bold")
        text.append(f"{line.arithmetic}\n")
        if line.variant:
            text.append(f"  for this request: {line.variant}\n")
    for version in sorted({line.version for line in each.lines if line.version}):
        text.append(f"by price version {version}\n", "dim")
    for payment in each.payments:
        text.append(f"{decimal_text(payment.amount)} paid by lot {payment.lot} ({payment.kind}), ")
        text.append(f"{_HOW[payment.how]}\n")
    for name, nanos in (("owed", each.unpaid), ("given back", each.reversed)):
        if nanos:
            text.append(f"{decimal_text(nanos)} {name}\n")
    if each.priced_by is not None:
        text.append(f"priced later by entry {each.priced_by}\n")
    text.rstrip()
    yield text


_HOW = {
    "capture": "from the hold",
    "charge": "from what was available",
    "repayment": "later, of debt",
}
