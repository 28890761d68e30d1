"""What replay and demo show at their end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from billing_adapters.cli.reads import verification_json
from billing_adapters.cli.replay import Result
from billing_adapters.cli.show import (
    console,
    explanation_table,
    history_table,
    money,
    plot,
    say_verified,
    table,
    usage_table,
)
from billing_core import Billing, HistoryRow, UsageRow, Verification, decimal_text

if TYPE_CHECKING:
    from billing_adapters.cli.demo import Demo

__all__ = ["replay_json", "report_demo", "report_replay"]

_TAIL = 8


def replay_json(
    billing: Billing, orgs: Sequence[str], result: Result, verification: Verification
) -> dict[str, Any]:
    balances = [billing.balance(org) for org in orgs]
    return {
        "requests": result.requests,
        "replayed": result.known,
        "inputTokens": result.input_tokens,
        "outputTokens": result.output_tokens,
        "charged": decimal_text(sum(each.used for each in balances)),
        "granted": decimal_text(sum(each.granted for each in balances)),
        "balance": decimal_text(sum(each.balance for each in balances)),
        "currency": balances[0].currency,
        "refused": result.refused,
        "orgs": len(orgs),
        "seconds": round(result.seconds, 3),
        "requestsPerSecond": round(result.rate),
        **verification_json(verification),
    }


def report_replay(
    billing: Billing, orgs: Sequence[str], result: Result, verification: Verification
) -> None:
    out = console()
    out.print(usage_table("Charges", merged(billing, orgs)))
    out.print(history_table("The ledger's tail", tail(billing, orgs)))
    plot(out, "Balance over time (USD)", result.series)
    known = f", {result.known:,} of them on record before" if result.known else ""
    out.print(
        f"\n{result.requests:,} requests held and settled in {result.seconds:.2f} s: "
        f"{result.rate:,.0f} per second, {result.refused:,} refused{known}."
    )
    say_verified(out, verification)


def merged(billing: Billing, orgs: Sequence[str]) -> list[UsageRow]:
    """The usage of several orgs in one."""
    requests: Counter[tuple[str, str]] = Counter()
    amounts: Counter[tuple[str, str]] = Counter()
    parts: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    units: dict[tuple[str, str], dict[str, str]] = {}
    for org in orgs:
        for row in billing.usage(org, "all_time").rows:
            key = (row.resource, row.payer)
            requests[key] += row.requests
            amounts[key] += row.amount
            sums = parts.setdefault(key, {})
            for component, (quantity, amount) in row.components.items():
                before = sums.get(component, (0, 0))
                sums[component] = (before[0] + quantity, before[1] + amount)
            units.setdefault(key, {}).update(row.units)
    return [
        UsageRow(*key, requests[key], amounts[key], parts[key], units[key]) for key in sorted(parts)
    ]


def tail(billing: Billing, orgs: Sequence[str]) -> list[tuple[str, HistoryRow]]:
    """The last movements of several orgs, oldest first."""
    rows = [(org, row) for org in orgs for row in billing.history(org, limit=_TAIL)]
    return sorted(rows, key=lambda pair: (pair[1].at, pair[0], pair[1].seq))[-_TAIL:]


def sandboxes(out: Console, billing: Billing) -> None:
    """The night of sandboxes and storage."""
    from billing_adapters.cli.demo_sandboxes import ORG
    from billing_adapters.cli.runs import runtime_table, storage_table

    summary = billing.usage(ORG, "all_time").summary
    out.print(runtime_table(f"Sandbox runtime of {ORG}", summary.sandbox_runtime))
    billed = {each.workspace: each for each in summary.storage}
    out.print(storage_table(f"Storage of {ORG}", billing.storage(ORG), billed))


def report_demo(demo: Demo, verification: Verification) -> None:
    """The orgs, their charges, the ledger's tail, balances, one charge, and the proof."""
    from billing_adapters.cli.demo import MARKUP, PRICED_AT
    from billing_adapters.cli.demo_sandboxes import ORG
    from billing_adapters.cli.traffic import ORGS, SEED, START

    billing = demo.billing
    out = console()
    out.print(
        Text.assemble(
            ("Synthetic traffic", "bold"),
            f" (seed {SEED}): a week from {START:%F}, made up but shaped like real chat traffic. "
            f"Model prices are real: genai-prices of {PRICED_AT:%F}, times {MARKUP}.\n",
        )
    )
    calls_made = table("Calls", "Org", ">Calls", ">Own key", ">Refused", ">Lost")
    for org, tally in demo.tallies.items():
        counts = (tally.settled, tally.own_key, tally.refused, tally.lost)
        calls_made.add_row(org, *(f"{each:,}" for each in counts))
    out.print(calls_made)
    out.print(
        "A refused call found too little credit. A lost one reported nothing: its hold expired by "
        "itself.\n",
        style="dim",
    )
    credit = table("Credit (USD)", "Org", ">Granted", ">Charged", ">Expired", ">Balance")
    for org in (*ORGS, ORG):
        balance = billing.balance(org)
        expired = -sum(row.amount for row in billing.history(org, limit=500, types=("expiry",)))
        amounts = (balance.granted, balance.used, expired, balance.balance)
        credit.add_row(org, *map(money, amounts))
    out.print(credit)
    out.print(usage_table("Charges", merged(billing, ORGS)))
    members = table("Members", "Org", "Member", ">Calls", ">Charged")
    for org in ORGS:
        for name, rows in billing.usage(org, "all_time").members.items():
            calls, amount = sum(row.requests for row in rows), sum(row.amount for row in rows)
            members.add_row(org, name, f"{calls:,}", money(amount))
    out.print(members)
    bought = [
        (org, row)
        for org in ORGS
        for row in billing.history(org, limit=500, types=("topup", "auto_topup"))
    ]
    bought.sort(key=lambda pair: (pair[1].at, pair[0], pair[1].seq))
    out.print(history_table("Top-ups, through a fake provider of payments", bought))
    sandboxes(out, billing)
    out.print(history_table("The ledger's tail", tail(billing, ORGS)))
    for org in ORGS:
        plot(out, f"Balance of {org} over time (USD)", demo.tallies[org].series, height=10)
    out.print()
    if demo.explained is not None:
        out.print(*explanation_table(billing.explain(*demo.explained)))
        out.print()
    if demo.reversed is not None:
        org, charge = demo.reversed
        given_back = billing.explain(org, charge).reversed
        out.print(f"Charge {charge} of {org} was given back: {decimal_text(given_back)} USD.")
    rate = demo.settled / demo.seconds
    out.print(
        f"{demo.settled:,} calls held and settled in {demo.seconds:.2f} s: {rate:,.0f} per second."
    )
    say_verified(out, verification)
