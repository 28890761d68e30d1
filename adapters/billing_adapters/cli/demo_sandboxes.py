"""The demo's sandboxes and workspaces: a night of one more org, in the demo's own time."""

from __future__ import annotations

from datetime import datetime, timedelta

from billing_adapters.cli.demo import Clock
from billing_core import Billing, Flat, Price, PriceBook, sandbox, usd

__all__ = ["ORG", "night"]

ORG = "hooli"
_HOUR, _MINUTE = timedelta(hours=1), timedelta(minutes=1)


def night(billing: Billing, clock: Clock, month_ends: datetime) -> None:
    """Sandboxes started, suspended, orphaned, swept and forgiven, one of them over midnight at
    a month's end and over a change of price; workspaces that grow and shrink."""
    clock.now = month_ends - 6 * _HOUR
    spec = sandbox("small", {"vcpu": 2, "memory_gib": 4})
    _publish(billing, "boxes", clock.now - _HOUR, "0.05")
    _publish(billing, "dearer", month_ends + _HOUR, "0.06")
    billing.open_account(ORG, anchor=month_ends)
    billing.grant(ORG, "order-1", usd("20"))
    billing.report_storage(ORG, "docs", 40 * 10**9)
    billing.report_storage(ORG, "media", 900 * 10**9)
    for run in ("build", "orphan", "failed", "overnight"):
        billing.start_run(ORG, run, spec, member="ann" if run == "build" else "bo")
    told = clock.now
    _beat(billing, clock, ("build", "orphan", "overnight"), _HOUR)
    billing.stop_run(ORG, "build")
    billing.suspend_run(ORG, "build", occurred_at=told + 10 * _MINUTE, until=told + 25 * _MINUTE)
    billing.stop_run(ORG, "failed", occurred_at=told + 9 * _MINUTE)
    billing.forgive_run(ORG, "sorry", "failed", reason="the host was lost")
    billing.report_storage(ORG, "docs", 65 * 10**9)
    _beat(billing, clock, ("overnight",), 7 * _HOUR)
    billing.sweep_runs(idle_for=_HOUR)
    billing.report_storage(ORG, "media", 300 * 10**9, occurred_at=month_ends - _HOUR)
    billing.bill_storage(ORG)
    billing.stop_run(ORG, "overnight")


def _publish(billing: Billing, name: str, since: datetime, vcpu_hour: str) -> None:
    boxes = {
        "vcpu": Price(Flat.of(vcpu_hour), unit="vCPU-hour"),
        "memory_gib": Price(Flat.of("0.01"), unit="GiB-hour"),
    }
    shelves = {"byte_us": Price(Flat.of("0.00003"), unit="GB-hour")}
    billing.publish(PriceBook(name, since, {"sandbox:small": boxes, "storage:*": shelves}))


def _beat(billing: Billing, clock: Clock, runs: tuple[str, ...], span: timedelta) -> None:
    end = clock.now + span
    while clock.now < end:
        clock.now += 4 * _MINUTE
        for run in runs:
            billing.heartbeat(ORG, run)
        if clock.now.minute == 0:
            billing.bill_storage(ORG)
