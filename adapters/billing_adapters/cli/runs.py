"""The commands that read sandbox runs and storage: runtime and storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import click

from billing_adapters.cli.database import Place, existing, path_of_existing
from billing_adapters.cli.show import console, money, print_json, table
from billing_core import RunView, StorageView, decimal_text
from billing_core.reports.usage import RuntimeSums, SandboxRuntime, StorageUsage
from billing_core.values.times import PeriodName

__all__ = ["runtime", "runtime_table", "storage", "storage_table"]

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
_period = click.option(
    "--period",
    type=click.Choice(["current", "7d", "30d", "all_time"]),
    default="current",
    show_default=True,
    help="The billing period, the last 7 or 30 days, or all of it.",
)
_KINDS = ("settled", "pending", "forgiven", "active")


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="microseconds") if hasattr(value, "isoformat") else value


def _fields(record: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in attrs.asdict(record).items()}


# -- sandbox runs -----------------------------------------------------------------


@click.command()
@click.argument("org")
@path_of_existing
@_period
@click.option("--all", "every", is_flag=True, help="List the runs that have ended, too.")
@_as_json
def runtime(org: str, db: Place, period: PeriodName, every: bool, as_json: bool) -> None:
    """Show the sandbox runs of ORG, and what they cost.

    The sums are of the period; the list has the runs that are active, suspended or pending.
    What is not settled yet is an estimate.

    \b
    Examples:
      billing runtime acme --db billing.sqlite
      billing runtime acme --db billing.sqlite --period all_time --all --json
    """
    with existing(db) as billing:
        report = billing.usage(org, period)
        runs = billing.runs(org, unsettled=not every)
    sums = report.summary.sandbox_runtime
    if as_json:
        shown = {name: _sums_json(getattr(sums, name)) for name in _KINDS}
        names = {"org": org, "currency": report.currency, "period": period}
        print_json({**names, "runtime": shown, "runs": [_fields(each) for each in runs]})
        return
    out = console()
    out.print(runtime_table(f"Sandbox runtime of {org}, {report.currency}", sums))
    if runs:
        out.print(_runs_table("Runs", runs))


def _sums_json(sums: RuntimeSums) -> dict[str, Any]:
    return {"runs": sums.runs, "us": sums.us, "amount": decimal_text(sums.amount)}


def runtime_table(title: str, sums: SandboxRuntime) -> Any:
    """Running time by the state of its runs."""
    made = table(title, "", ">Runs", ">Seconds", ">Amount")
    for name in _KINDS:
        each: RuntimeSums = getattr(sums, name)
        note = " (estimate)" if name in ("pending", "active") else ""
        made.add_row(name + note, f"{each.runs:,}", _seconds(each.us), money(each.amount))
    return made


def _seconds(us: int) -> str:
    return f"{us // 1_000_000:,}.{us % 1_000_000:06}"


def _runs_table(title: str, runs: list[RunView]) -> Any:
    made = table(title, "Run", "Sandbox", "State", "Funded until", ">Seconds", ">Amount")
    for each in runs:
        state = f"{each.state}, swept" if each.swept else each.state
        until = "" if each.ended_at else f"{each.funded_until:%m-%d %T} ({each.bound_by})"
        us = each.settled_us + each.unposted_us
        amount = money(each.settled + each.unposted)
        sandbox = each.resource.removeprefix("sandbox:")
        made.add_row(each.run, sandbox, state, until, _seconds(us), amount)
    return made


# -- storage ----------------------------------------------------------------------


@click.command()
@click.argument("org")
@path_of_existing
@_period
@_as_json
def storage(org: str, db: Place, period: PeriodName, as_json: bool) -> None:
    """Show the workspaces of ORG: their size now, and what was billed in the period.

    \b
    Examples:
      billing storage acme --db billing.sqlite
      billing storage acme --db billing.sqlite --period all_time --json
    """
    with existing(db) as billing:
        report = billing.usage(org, period)
        workspaces = billing.storage(org)
    billed = {each.workspace: each for each in report.summary.storage}
    if as_json:
        shown = [_workspace_json(each, billed.get(each.workspace)) for each in workspaces]
        names = {"org": org, "currency": report.currency, "period": period}
        print_json({**names, "workspaces": shown})
        return
    console().print(storage_table(f"Storage of {org}, {report.currency}", workspaces, billed))


def storage_table(
    title: str, workspaces: Iterable[StorageView], billed: Mapping[str, StorageUsage]
) -> Any:
    """Workspaces, and what was billed of them."""
    made = table(title, "Workspace", ">Bytes", "Billed to", ">Byte-seconds", ">Amount")
    for each in workspaces:
        used = billed.get(each.workspace)
        made.add_row(
            each.workspace,
            f"{each.size:,}",
            f"{each.billed_to:%F %T}",
            f"{0 if used is None else used.byte_seconds:,}",
            money(0 if used is None else used.amount),
        )
    return made


def _workspace_json(each: StorageView, used: StorageUsage | None) -> dict[str, Any]:
    # Byte-microseconds can pass what readers of JSON keep exact.
    return {
        "workspace": each.workspace,
        "size": each.size,
        "since": _plain(each.since),
        "billed_to": _plain(each.billed_to),
        "byte_us": str(0 if used is None else used.byte_us),
        "amount": decimal_text(0 if used is None else used.amount),
    }
