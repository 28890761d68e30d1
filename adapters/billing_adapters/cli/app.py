"""The ``billing`` command's group, and the commands that write: replay and demo."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from traceback import clear_frames
from typing import Any

import click
from rich.progress import TaskID

from billing_adapters.cli import catalogue, reads
from billing_adapters.cli import runs as over_time
from billing_adapters.cli.background import accept_clock, reconcile, undo_expiries, worker
from billing_adapters.cli.database import Place, database_options, opened, store, temporary
from billing_adapters.cli.replay import Replay, given_prices, org_names, source_prices
from billing_adapters.cli.report import replay_json, report_demo, report_replay
from billing_adapters.cli.show import print_json, progress
from billing_adapters.cli.trace import Trace, scan
from billing_adapters.credentials import without_passwords
from billing_adapters.sqlite import SqliteStore
from billing_core import BillingError, InvalidCommand, PriceBook

__all__ = ["cli"]

_DEFAULT_MODEL = "gpt-4o"


class _Group(click.Group):
    """What goes wrong on purpose is one line on stderr, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        # One that was closed before is None, of which nothing can be asked.
        sys.stdout, sys.stderr = (
            open(os.devnull, "w") if each is None else each  # noqa: SIM115
            for each in (sys.stdout, sys.stderr)
        )
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # names may be of any script, a terminal not
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)  # as by the signal
        except BrokenPipeError as error:  # whoever reads has read enough
            clear_frames(error.__traceback__)  # a progress bar's thread is waited for now
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left is flushed at the end
            ctx.exit(141)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO) or error.filename:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            clear_frames(error.__traceback__)
            told = f"the output could not be written: {error.strerror}"
            raise click.ClickException(told) from error
        except BillingError as error:
            raise click.ClickException(without_passwords(str(error))) from error
        except click.ClickException as error:
            # It may quote a secret that stands where an org, a file or a time was expected.
            told = without_passwords(error.format_message())
            if told == error.format_message():
                raise
            raise click.UsageError(told, getattr(error, "ctx", None)) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="billing-core", prog_name="billing")
def cli() -> None:
    """Prepaid credits, holds, exact metering and settlement, on SQLite or PostgreSQL.

    \b
    Examples:
      billing demo
      billing replay trace.csv.gz --db billing.sqlite
      billing verify --db billing.sqlite
      billing history replay-1 --db billing.sqlite
      billing pricing --db billing.sqlite
    """


@cli.command()
@click.argument(
    "traces",
    nargs=-1,
    required=True,
    metavar="TRACE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--model",
    "name",
    metavar="NAME",
    help=f"The model that served the requests. [default: {_DEFAULT_MODEL}]",
)
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="COMPONENT=USD_PER_MILLION",
    help="The price of a component; input and output are needed. Without any, the model's "
    "real price at the trace's time (from genai-prices).",
)
@click.option(
    "--orgs",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="How many orgs the requests are dealt out to, in turn.",
)
@database_options(
    required=False,
    told=", where the ledger is kept. Running the same again changes nothing. [default: a "
    "temporary file]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def replay(
    traces: tuple[Path, ...],
    name: str | None,
    prices: tuple[str, ...],
    orgs: int,
    db: Place | None,
    as_json: bool,
) -> None:
    """Charge the requests of a trace, each held first and then settled.

    A TRACE is a CSV file, gzipped or not, with the columns
    TIMESTAMP,ContextTokens,GeneratedTokens; times are UTC, with +00:00 or without a zone,
    digits beyond microseconds are cut off. All of it is checked before anything is charged.

    Each request is held on its input tokens and the largest output in the trace, then
    settled with its real tokens at its own time, keyed by the hash of the file's content
    and its line. The orgs' billing month begins on the day of the first request, and they
    are granted credit as they need it.

    \b
    Examples:
      billing replay trace.csv.gz
      billing replay trace.csv --model gpt-4o-mini --orgs 10 --db billing.sqlite
      billing replay trace.csv --price input=0.0753 --price output=0.3011 --json
    """
    given = _parsed(prices)
    with ExitStack() as stack:
        checked = _scanned(traces, shown=not as_json)
        if db is None:
            db = stack.enter_context(temporary("replay"))
        book, name = _book(name, given, checked)
        billing = stack.enter_context(opened(db))
        names = org_names(orgs)
        with progress(shown=not as_json) as bars:
            task = bars.add_task("Settling", total=sum(trace.count for trace in checked))
            result = Replay(billing, checked, name, book, names).run(
                lambda done: bars.update(task, completed=done)
            )
        verification = reads.verified(billing, shown=not as_json)
        if as_json:
            print_json(replay_json(billing, names, result, verification))
        else:
            report_replay(billing, names, result, verification)
        if not verification.ok:
            sys.exit(1)


def _parsed(prices: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for each in prices:
        component, equals, amount = each.partition("=")
        if not component or not equals or component in given:
            raise click.BadParameter(
                f"given {each!r}; expected COMPONENT=USD_PER_MILLION, each component once",
                param_hint="--price",
            )
        given[component] = amount
    missing = {"input", "output"} - given.keys()
    if given and missing:
        raise click.BadParameter(
            f"the price of {' and '.join(sorted(missing))} is missing", param_hint="--price"
        )
    return given


def _book(
    name: str | None, given: Mapping[str, str], traces: Sequence[Trace]
) -> tuple[PriceBook, str]:
    if not given:
        name = name or _DEFAULT_MODEL
        return source_prices(name, min(trace.first for trace in traces)), name
    # A price of one's own is not that of any known model.
    name = name or "unnamed"
    try:
        return given_prices(name, given), name
    except InvalidCommand as error:
        raise click.BadParameter(str(error), param_hint="--price") from error


def _scanned(paths: Sequence[Path], *, shown: bool) -> list[Trace]:
    """Every trace checked; the same content twice would be charged once."""
    traces: list[Trace] = []
    now = datetime.now(UTC)
    with progress(shown=shown) as bars:
        for path in paths:
            task = bars.add_task(f"Checking {path.name}", total=path.stat().st_size)

            def seen(position: int, task: TaskID = task) -> None:
                bars.update(task, completed=position)

            trace = scan(path, until=now, progress=seen)
            for other in traces:
                if other.digest == trace.digest:
                    raise click.UsageError(f"{other.path} and {path} have the same content")
            traces.append(trace)
    return traces


@cli.command()
@click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the ledger in this new file, to look at. [default: a temporary file]",
)
def demo(db: Path | None) -> None:
    """Watch a week of made-up traffic being billed.

    Three orgs with members and several models, real model prices (from genai-prices) with
    a markup, calls on a customer's own key, cached and reasoning tokens, refusals for lack
    of credit, top-ups through a fake provider of payments, by hand and automatic, credit that
    expires, holds that expire and a reversal; then a night of sandboxes and storage, over a
    month's end and a change of price. The traffic is synthetic, the same in every run, and
    shaped like real chat traffic.

    \b
    Examples:
      billing demo
      billing demo --db demo.sqlite
      billing usage acme --by-member --db demo.sqlite
    """
    from billing_adapters.cli.demo import MONTH_ENDS, RULES, Clock, Demo, Numbers
    from billing_adapters.cli.demo_sandboxes import night
    from billing_adapters.cli.traffic import BURSTS
    from billing_adapters.fake_payments import FakePayments

    if db is not None and db.exists():
        raise click.UsageError(f"{db} exists; the demo needs a new file")
    clock = Clock()
    with ExitStack() as stack:
        path = stack.enter_context(temporary("demo")) if db is None else Place(db)
        provider = FakePayments(clock=clock, ids=Numbers())
        billing = stack.enter_context(
            opened(path, clock, ids=Numbers(), payments=provider, topups=RULES)
        )
        shown = Demo(billing, clock, provider)
        with progress() as bars:
            task = bars.add_task("Holding and settling", total=BURSTS)
            shown.run(lambda: bars.advance(task))
        night(billing, clock, MONTH_ENDS)
        verification = reads.verified(billing, shown=True)
        report_demo(shown, verification)
        if not verification.ok:
            sys.exit(1)


@cli.command()
@database_options()
@click.option(
    "--grant-to",
    metavar="ROLE",
    help="Let this PostgreSQL role run the engine, without UPDATE or DELETE on the journal.",
)
@click.option(
    "--finish",
    is_flag=True,
    help="Say that the version before this one runs nowhere any more, and do what it could not"
    " work with.",
)
@click.option(
    "--sql",
    is_flag=True,
    help="Change nothing: print what would be done as SQL, for hosts that run their own"
    " migrations (PostgreSQL).",
)
def migrate(db: Place, grant_to: str | None, finish: bool, sql: bool) -> None:
    """Bring a database to this version's schema.

    Safe at any time and by several processes at once; where there is nothing to do, it does
    nothing. An SQLite file is made if missing, and is brought up to date by whoever opens it.

    An upgrade of a running service: migrate, replace each process by the new version (the old
    one goes on beside it), and then, once, migrate --finish.

    \b
    Examples:
      billing migrate --db billing.sqlite
      billing migrate --db postgresql://migrator@db.example/app --grant-to billing
      billing migrate --db postgresql://migrator@db.example/app --finish
      billing migrate --db postgresql://migrator@db.example/app --sql > upgrade.sql
    """
    with store(db) as kept:
        if isinstance(kept, SqliteStore):
            if grant_to is not None:
                raise click.UsageError("--grant-to is for PostgreSQL; SQLite has no roles")
            if sql:
                raise click.UsageError("--sql is for PostgreSQL; opening a file migrates it")
            applied, name = kept.applied, kept.path
            finished = kept.finish() if finish else []
        elif sql:
            click.echo(kept.script(finishing=finish), nl=False)
            return
        else:
            applied, name = kept.migrate(), kept.name
            finished = kept.finish() if finish else []
            if grant_to is not None:
                kept.grant(grant_to)
        for each in applied:
            click.echo(f"applied {each}")
        for each in finished:
            click.echo(f"finished {each}")
        if not applied and not finished:
            click.echo(f"{name} is up to date")


for _command in (
    worker,
    accept_clock,
    undo_expiries,
    reconcile,
    reads.verify,
    reads.balance,
    reads.history,
    reads.usage,
    reads.explain,
    catalogue.plans,
    catalogue.pricing,
    catalogue.quote,
    over_time.runtime,
    over_time.storage,
):
    cli.add_command(_command)
