"""The commands beside reads and writes: worker, accept-clock, undo-expiries and reconcile."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from billing_adapters.cli.database import Place, existing, path_of_existing
from billing_adapters.cli.documents import load_topup_rules
from billing_adapters.cli.show import print_json
from billing_core import Billing, BillingError, Delivery, Pending, TopUpRules, decimal_text
from billing_core.ports.payments import PaymentProvider
from billing_core.topups.reconciliation import Reconciliation

__all__ = ["accept_clock", "reconcile", "undo_expiries", "worker"]

_KEY = "STRIPE_API_KEY"


def _provider() -> PaymentProvider | None:
    """Stripe, with the key of the environment: a command line is seen by other users."""
    key = os.environ.get(_KEY)
    if not key:
        return None
    try:
        from billing_adapters.stripe_payments import StripePayments
    except ImportError as error:
        raise click.ClickException("Stripe needs the extra billing-core[stripe]") from error
    return StripePayments(key, livemode="_live_" in key)


def _print_event(event: Delivery) -> None:
    """One line of JSON, written before the event counts as delivered."""
    row = {"id": event.id, "org": event.org, "kind": event.kind, "data": dict(event.data)}
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


@click.command("accept-clock")
@path_of_existing
def accept_clock(db: Place) -> None:
    """Say that this machine's clock is right.

    Credit, holds and periods do not end by a clock that is more than a day ahead of everything
    on record (ClockDoubt): it may be wrong. Where the database was not used for so long, and
    has no clock of its own, somebody has to look. PostgreSQL has one: there it must agree.

    \b
    Examples:
      date --utc
      billing accept-clock --db billing.sqlite
    """
    with existing(db) as billing:
        click.echo(f"{billing.accept_clock().isoformat()} is accepted.")


@click.command("undo-expiries")
@path_of_existing
@click.argument("orgs", nargs=-1, metavar="[ORG...]")
@click.option(
    "--expires-at", type=click.DateTime(), required=True,
    help="UTC: until when what comes back can be spent. After all that the wrong clock recorded.",
)  # fmt: skip
@click.option(
    "--since", type=click.DateTime(),
    help="UTC: take only what the journal says ended at or after this. [default: now]",
)  # fmt: skip
@click.option("--until", type=click.DateTime(), help="UTC: take only what ended before this.")
@click.option("--reason", help="Kept in the journal.")
@click.option("--dry-run", is_flag=True, help="Say what would come back, and change nothing.")
def undo_expiries(
    db: Place,
    orgs: tuple[str, ...],
    expires_at: datetime,
    since: datetime | None,
    until: datetime | None,
    reason: str | None,
    dry_run: bool,
) -> None:
    """Bring back credit that a clock which was wrong ended too early.

    Of all orgs, or of those named; each expiry once, however often this runs. A clock that was
    ahead dated what it ended in the future. Without --since, only what is dated later than now
    comes back; once those dates have passed, say --since.

    \b
    Examples:
      billing undo-expiries --db billing.sqlite --expires-at 2026-12-31 --dry-run
      billing undo-expiries acme --db billing.sqlite --expires-at 2026-12-31 --reason "clock of w3"
    """
    start = datetime.now(UTC) if since is None else since.replace(tzinfo=UTC)
    end = None if until is None else until.replace(tzinfo=UTC)
    ends = expires_at.replace(tzinfo=UTC)
    count = 0
    with existing(db) as billing:
        for org in orgs or billing.orgs():
            for expiry in billing.expiries(org, since=start, until=end):
                count += 1
                ended = f"{expiry.at:%Y-%m-%d %H:%M}"
                said = f"{decimal_text(expiry.amount)} of {org}, which ended {ended}"
                if dry_run:
                    click.echo(f"{said}, would come back")
                else:
                    billing.undo_expiry(org, expiry.seq, expires_at=ends, reason=reason)
                    click.echo(f"{said}, is back until {ends:%Y-%m-%d %H:%M}")
    if not count:
        click.echo("Nothing expired in that time that is not back.")


@click.command()
@path_of_existing
@click.option("--once", is_flag=True, help="Do what is due now, and end.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True,
    help="How much of each kind to take at a time.",
)  # fmt: skip
@click.option(
    "--topup-rules", metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The platform's rules of top-ups, TOML or JSON: those of the engines that serve.",
)  # fmt: skip
@click.option("--events", is_flag=True, help="Deliver events to standard output, a JSON line each.")
def worker(db: Place, once: bool, limit: int, topup_rules: Path | None, events: bool) -> None:
    """Do the background work: automatic top-ups, lost answers, refunds, what has lapsed, news
    that no webhook brought.

    Any number may run. Orgs take turns, so that one's backlog is not in another's way, and a
    provider that hangs delays what lapses, and events, by one call of its at most. Payments
    need a Stripe key in STRIPE_API_KEY; without one the rest is done. What fails is told on
    standard error and tried again later. Where the engines that serve have TopUpRules of their
    own, give the worker the same: it measures each automatic top-up by them.

    \b
    Examples:
      billing worker --db billing.sqlite
      billing worker --db billing.sqlite --once --events
      billing worker --db billing.sqlite --topup-rules topups.toml
    """
    provider = _provider()
    if provider is None:
        click.echo(f"No {_KEY}: no payments are made or looked at.", err=True)
    rules = TopUpRules() if topup_rules is None else load_topup_rules(topup_rules)
    with existing(db, payments=provider, topups=rules) as billing:
        while True:
            pending = _run(billing, limit, events=events)
            if once and not (pending.more and (pending.done or pending.news)):
                return
            if not once and not pending.done and not pending.more:
                time.sleep(1)


def _run(billing: Billing, limit: int, *, events: bool) -> Pending:
    """One pass."""
    pending = billing.run_pending(limit, deliver=_print_event if events else None)
    for failure in pending.failures:
        if isinstance(failure.error, BrokenPipeError):
            raise failure.error  # nobody reads the events any more
        where = "" if failure.org is None else f"{failure.org}: "
        click.echo(f"{where}{failure.what}: {failure.error}", err=True)
    return pending


@click.command()
@path_of_existing
@click.option("--since", type=click.DateTime(), help="UTC. [default: a week before --until]")
@click.option("--until", type=click.DateTime(), help="UTC. [default: an hour ago]")
@click.option("--read-back", is_flag=True, help="Read back what differs, and compare again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def reconcile(
    db: Place, since: datetime | None, until: datetime | None, read_back: bool, as_json: bool
) -> None:
    """Compare the ledger's payments with the provider's, and name every difference.

    Takes the payments made from --since on and before --until. Exits with 1 if anything
    differs. It changes nothing, unless --read-back makes the record of each top-up that differs
    what the provider says of it now. Needs a Stripe key in STRIPE_API_KEY.

    \b
    Examples:
      billing reconcile --db billing.sqlite
      billing reconcile --db billing.sqlite --since 2026-03-01 --until 2026-04-01 --json
    """
    end = datetime.now(UTC) - timedelta(hours=1) if until is None else until.replace(tzinfo=UTC)
    start = end - timedelta(days=7) if since is None else since.replace(tzinfo=UTC)
    provider = _provider()
    if provider is None:
        raise click.ClickException(f"no provider of payments; put a Stripe key into {_KEY}")
    with existing(db, payments=provider) as billing:
        found = billing.reconcile(start, end)
        if read_back and not found.ok:
            _read_back(billing, found)
            found = billing.reconcile(start, end)
    if as_json:
        rows = [
            {"org": each.org, "topup": each.topup, "payment": each.payment, "what": each.what}
            for each in found.differences
        ]
        counts = {"payments": found.payments, "foreign": found.foreign, "topups": found.topups}
        unreadable = list(found.unreadable)
        print_json({"ok": found.ok, **counts, "differences": rows, "unreadable": unreadable})
    else:
        for each in found.differences:
            click.echo(str(each))
        for odd in found.unreadable:
            click.echo(f"cannot be read: {odd}")
        click.echo(
            f"{found.payments:,} payments ({found.foreign:,} none of ours) and {found.topups:,} "
            f"paid top-ups compared: {len(found.differences):,} differences."
        )
    if not found.ok:
        sys.exit(1)


def _read_back(billing: Billing, found: Reconciliation) -> None:
    payments = {(each.org, each.topup): each.payment for each in found.differences}
    for (org, topup), payment in payments.items():
        if topup is not None:
            try:
                billing.read_back(org, topup, payment=payment)
            except BillingError as error:
                click.echo(f"{org}: top-up {topup}: {error}", err=True)
