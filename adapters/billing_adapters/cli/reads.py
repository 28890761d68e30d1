"""The commands that read a database: verify, balance, history, usage and explain."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import click

from billing_adapters.cli.charts import bars, by_day, by_model
from billing_adapters.cli.checkpoints import load_checkpoints, saved_checkpoints
from billing_adapters.cli.database import Place, existing, path_of_existing
from billing_adapters.cli.show import (
    console,
    explanation_table,
    history_table,
    money,
    print_json,
    print_json_rows,
    progress,
    say_verified,
    table,
    usage_table,
)
from billing_core import (
    Balance,
    Billing,
    Checkpoint,
    Explanation,
    UsageRow,
    Verification,
    decimal_text,
)
from billing_core.values.times import PeriodName

__all__ = [
    "as_json_option",
    "balance",
    "explain",
    "history",
    "time_text",
    "usage",
    "verification_json",
    "verified",
    "verify",
]

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead."
)


def time_text(at: datetime | None) -> str | None:
    """ISO 8601 with microseconds and the zone."""
    return None if at is None else at.isoformat(timespec="microseconds")


# -- verify -----------------------------------------------------------------------


@click.command()
@path_of_existing
@click.option("--org", help="Only this org.")
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Go on from what an earlier run saved, and prove that its past still stands.",
)
@click.option(
    "--save-checkpoint",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Where nothing is wrong, save the state at the end here. Keep it elsewhere: what a "
    "rewrite of the whole ledger would hide shows against it.",
)
@as_json_option
def verify(
    db: Place,
    org: str | None,
    checkpoint: Path | None,
    save_checkpoint: Path | None,
    as_json: bool,
) -> None:
    """Re-derive every balance and name what differs.

    Checks the hash chain and the arithmetic of every price, and holds every balance,
    lot, hold, counter and rollup against what the ledger leads to. Exits with 1 if
    anything is wrong. Verify a database at rest, or a copy.

    \b
    Examples:
      billing verify --db billing.sqlite
      billing verify --db billing.sqlite --save-checkpoint monday.json
      billing verify --db billing.sqlite --checkpoint monday.json
    """
    known = {} if checkpoint is None else load_checkpoints(checkpoint)
    left = dict(known)
    try:
        with existing(db) as billing, saved_checkpoints(save_checkpoint) as save:

            def keep(each: Checkpoint) -> None:
                left.pop(each.org, None)
                save(each)

            verification = verified(billing, org, known, shown=not as_json, keep=keep)
            if not verification.ok:
                raise _Wrong(verification)
            # Orgs of the earlier checkpoints that were not looked at now stay as they were.
            for each in left.values():
                save(each)
    except _Wrong as wrong:
        verification = wrong.verification
    if as_json:
        print_json(verification_json(verification))
    else:
        say_verified(console(), verification)
    if not verification.ok:
        sys.exit(1)


class _Wrong(Exception):
    """Nothing is saved."""

    def __init__(self, verification: Verification) -> None:
        super().__init__()
        self.verification = verification


def verified(
    billing: Billing,
    org: str | None = None,
    checkpoints: Mapping[str, Checkpoint] | None = None,
    *,
    shown: bool,
    keep: Callable[[Checkpoint], object] = lambda checkpoint: None,
) -> Verification:
    """Verify, with a bar for all orgs and one for the org that is read on the terminal.
    ``keep``: told of each checkpoint; they are not kept here."""
    with progress(shown=shown) as bars:
        orgs = 1 if org is not None or bars.disable else sum(1 for _ in billing.orgs())
        every = bars.add_task("Orgs", total=orgs, visible=orgs > 1)
        task = bars.add_task("Verifying", total=None)
        last: str | None = None

        def tell(name: str, done: int, total: int) -> None:
            nonlocal last
            if name != last:
                bars.advance(every)
                last = name
            bars.update(task, description=f"Verifying {name}", completed=done, total=total)

        return billing.verify(org, checkpoints=checkpoints, progress=tell, checkpoint=keep)


def verification_json(verification: Verification) -> dict[str, Any]:
    return {
        "verified": verification.ok,
        "orgs": verification.orgs,
        "entries": verification.entries,
        "discrepancies": [attrs.asdict(each) for each in verification.discrepancies],
    }


# -- balance ----------------------------------------------------------------------


@click.command()
@click.argument("org", required=False)
@path_of_existing
@as_json_option
def balance(org: str | None, db: Place, as_json: bool) -> None:
    """Show the credit of ORG and its lots, or of every org.

    \b
    Examples:
      billing balance --db billing.sqlite
      billing balance acme --db billing.sqlite --json
    """
    with existing(db) as billing:
        if org is None:
            _show_balances(billing, as_json=as_json)
            return
        found = billing.balance(org)
    if as_json:
        print_json(_balance_json(found))
        return
    _print_balances([found])
    if found.lots:
        lots = table("Lots, in the order they are spent", ">Lot", "Kind", ">Left", ">Held", "Until")
        for lot in found.lots:
            until = "" if lot.expires_at is None else f"{lot.expires_at:%F %T}"
            lots.add_row(str(lot.lot), lot.kind, money(lot.remainder), money(lot.reserved), until)
        console().print(lots)


_ORGS = 500
"""So many orgs are shown in a table; of more, nothing is kept in memory."""


def _show_balances(billing: Billing, *, as_json: bool) -> None:
    """Every org's balance as it is read, with a bar where the results go elsewhere than to the
    terminal."""
    with progress(shown=not sys.stdout.isatty()) as bars:
        orgs = None if bars.disable else sum(1 for _ in billing.orgs())
        names = bars.track(billing.orgs(), total=orgs, description="Reading")
        balances = map(billing.balance, names)
        if as_json:
            print_json_rows("orgs", map(_balance_json, balances))
            return
        part = list(islice(balances, _ORGS))
        _print_balances(part)
        while len(part) == _ORGS and (part := list(islice(balances, _ORGS))):
            _print_balances(part)


def _print_balances(balances: Iterable[Balance]) -> None:
    made = table(
        "Balances", "Org", "", ">Balance", ">Available", ">Held", ">Debt", ">Granted", ">Used"
    )
    for each in balances:
        amounts = (
            each.balance, each.available, each.held, each.debt, each.granted, each.used
        )  # fmt: skip
        made.add_row(each.org, each.currency, *map(decimal_text, amounts))
    console().print(made)


def _balance_json(each: Balance) -> dict[str, Any]:
    return {
        "org": each.org,
        "currency": each.currency,
        "livemode": each.livemode,
        "at": time_text(each.at),
        "balance": decimal_text(each.balance),
        "available": decimal_text(each.available),
        "held": decimal_text(each.held),
        "debt": decimal_text(each.debt),
        "granted": decimal_text(each.granted),
        "used": decimal_text(each.used),
        "closedAt": time_text(each.closed_at),
        "lots": [
            {
                "lot": lot.lot,
                "kind": lot.kind,
                "amount": decimal_text(lot.amount),
                "remainder": decimal_text(lot.remainder),
                "reserved": decimal_text(lot.reserved),
                "priority": lot.priority,
                "expiresAt": time_text(lot.expires_at),
                "scope": lot.scope,
            }
            for lot in each.lots
        ],
    }


# -- history ----------------------------------------------------------------------


@click.command()
@click.argument("org")
@path_of_existing
@click.option(
    "--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many."
)
@click.option("--before", type=int, metavar="SEQ", help="Go on from this one, towards the past.")
@as_json_option
def history(org: str, db: Place, limit: int, before: int | None, as_json: bool) -> None:
    """Show what moved the balance of ORG, newest first.

    \b
    Examples:
      billing history acme --db billing.sqlite
      billing history acme --db billing.sqlite --limit 100 --before 4711
    """
    with existing(db) as billing:
        rows = billing.history(org, limit=limit, before=before)
    if not as_json:
        console().print(history_table(f"History of {org}", [(org, row) for row in rows]))
        return
    shown = [
        {
            "seq": row.seq,
            "type": row.type,
            "amount": decimal_text(row.amount),
            "balance": decimal_text(row.balance),
            "resource": row.resource,
            "reference": row.reference,
            "key": row.key,
            "at": time_text(row.at),
        }
        for row in rows
    ]
    print_json({"org": org, "rows": shown})


# -- usage ------------------------------------------------------------------------


@click.command()
@click.argument("org")
@path_of_existing
@click.option(
    "--period",
    type=click.Choice(["current", "7d", "30d", "all_time"]),
    default="all_time",
    show_default=True,
    help="`current` is the billing period; 7d and 30d end now.",
)
@click.option("--member", help="Only this member's.")
@click.option("--by-member", is_flag=True, help="One table for each member.")
@click.option("--chart", type=click.Choice(["day", "model"]), help="A bar chart as well.")
@as_json_option
def usage(
    org: str,
    db: Place,
    period: PeriodName,
    member: str | None,
    by_member: bool,
    chart: str | None,
    as_json: bool,
) -> None:
    """Show what ORG used and was charged, by model.

    \b
    Examples:
      billing usage acme --db billing.sqlite
      billing usage acme --db billing.sqlite --period 30d --by-member
      billing usage acme --db billing.sqlite --chart day
    """
    with existing(db) as billing:
        report = billing.usage(org, period, member=member)
        charted = by_model(report.rows) if chart == "model" else {}
        if chart == "day":
            charted = by_day(billing, report, member)
    if as_json:
        print_json(
            {
                "org": report.org,
                "currency": report.currency,
                "period": report.period,
                "start": time_text(report.start),
                "end": time_text(report.end),
                "total": decimal_text(report.total),
                "rows": _usage_json(report.rows),
                "members": [
                    {"member": name, "rows": _usage_json(rows)}
                    for name, rows in report.members.items()
                ],
                **({"chart": _chart_json(charted)} if chart else {}),
            }
        )
        return
    out = console()
    span = f"{report.start:%F %T} to {report.end:%F %T} UTC"
    who = "" if member is None else f", member {member}"
    title = f"Usage of {org}{who}, {report.period}: {span}"
    if not by_member:
        out.print(usage_table(title, report.rows))
    else:
        out.print(title)
        for name, rows in report.members.items():
            out.print(usage_table("Without a member" if name is None else f"Member {name}", rows))
    if chart is not None:
        bars(out, f"Charged by {chart} ({report.currency})", charted)


def _chart_json(charted: Mapping[str, int]) -> dict[str, str]:
    return {name: decimal_text(amount) for name, amount in charted.items()}


def _usage_json(rows: Iterable[UsageRow]) -> list[dict[str, Any]]:
    return [
        {
            "resource": row.resource,
            "payer": row.payer,
            "requests": row.requests,
            "amount": decimal_text(row.amount),
            "components": {
                name: {"quantity": quantity, "amount": decimal_text(amount)}
                for name, (quantity, amount) in row.components.items()
            },
        }
        for row in rows
    ]


# -- explain ----------------------------------------------------------------------


@click.command()
@click.argument("org")
@click.argument("charge", type=int)
@path_of_existing
@as_json_option
def explain(org: str, charge: int, db: Place, as_json: bool) -> None:
    """Show everything behind a CHARGE of ORG.

    What was used, by which price, the arithmetic to the nano, and the lots that paid.

    CHARGE is its number in the org's ledger: the Seq that `billing history` shows where What is
    a resource, or `usage`. Grants, top-ups, refunds and whatever else is there are no charges.

    \b
    Examples:
      billing explain acme 4711 --db billing.sqlite
    """
    with existing(db) as billing:
        explanation = billing.explain(org, charge)
    if as_json:
        print_json(_explanation_json(explanation))
        return
    for each in explanation_table(explanation):
        console().print(each)


def _explanation_json(each: Explanation) -> dict[str, Any]:
    return {
        "org": each.org,
        "charge": each.charge,
        "key": each.key,
        "currency": each.currency,
        "at": time_text(each.at),
        "recordedAt": time_text(each.recorded_at),
        "occurredAt": time_text(each.occurred_at),
        "member": each.member,
        "resource": each.resource,
        "amount": decimal_text(each.amount),
        "lines": [
            {
                "component": line.component,
                "quantity": line.quantity,
                "billed": line.billed,
                "payer": line.payer,
                "amount": decimal_text(line.amount),
                "version": line.version,
                "price": line.price,
                "variant": line.variant,
                "arithmetic": line.arithmetic,
            }
            for line in each.lines
        ],
        "payments": [
            {
                "lot": payment.lot,
                "kind": payment.kind,
                "amount": decimal_text(payment.amount),
                "how": payment.how,
            }
            for payment in each.payments
        ],
        "unpaid": decimal_text(each.unpaid),
        "reversed": decimal_text(each.reversed),
        "pricedBy": each.priced_by,
    }
