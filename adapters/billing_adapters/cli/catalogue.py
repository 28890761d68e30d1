"""The commands about what was published: plans, pricing and quote."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click

from billing_adapters.cli.database import Place, existing, path_of_existing
from billing_adapters.cli.differences import differences_json, in_lines, show_differences
from billing_adapters.cli.documents import load_document, price_terms
from billing_adapters.cli.imports import SOURCES, Source, import_prices
from billing_adapters.cli.reads import as_json_option, time_text
from billing_adapters.cli.show import console, money, print_json, table
from billing_core import Billing, Difference, Plan, PriceBook, Quote, Usage, decimal_text
from billing_core.errors import NameWarning
from billing_core.pricing.catalogue import Priced
from billing_core.pricing.differences import differences
from billing_core.pricing.rating import describe
from billing_core.values.times import micros, moment

__all__ = ["plans", "pricing", "quote"]


def _time(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time such as 2026-05-01T12:00") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _versions(
    ctx: click.Context, param: click.Parameter, value: tuple[str, str] | None
) -> tuple[str, str] | None:
    if value is not None and value[1].startswith("--"):  # the next option, taken for a version
        raise click.BadParameter(f"given {value[0]!r} alone; expected two versions, OLD NEW")
    return value


_ALONE = "-"  # --publish without a file


def _published(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | str | None:
    if value is None or value == _ALONE:
        return value
    found: Path = click.Path(exists=True, dir_okay=False, path_type=Path).convert(value, param, ctx)
    return found


_at_option = click.option(
    "--at", metavar="TIME", callback=_time, help="At this time, UTC, also one to come. [now]"
)


# -- plans ------------------------------------------------------------------------


@click.command()
@path_of_existing
@click.option("--org", help="The plan of this org, in the version in force.")
@as_json_option
def plans(db: Place, org: str | None, as_json: bool) -> None:
    """Show the published plans, or the plan of an org.

    Versions with their terms, by the time from which they hold; the one in force is marked.

    \b
    Examples:
      billing plans --db billing.sqlite
      billing plans --org acme --db billing.sqlite
    """
    with existing(db) as billing:
        now = billing.clock()
        subscribed = None if org is None else billing.balance(org).plan
        catalogue = billing.catalogue()
    found = sorted(catalogue.plans.values(), key=lambda each: (each.plan, each.effective_at))
    current = {each.plan: catalogue.plan(each.plan, now) for each in found}
    if org is not None:
        found = [each for each in found if each.plan == subscribed and current[each.plan] is each]
    if as_json:
        shown = [_plan_json(each, each is current[each.plan]) for each in found]
        own = shown[0] if shown else None
        print_json({"plans": shown} if org is None else {"org": org, "plan": own})
        return
    if not found:
        console().print("No plan was published." if org is None else f"{org} has no plan.")
        return
    title = "Plans" if org is None else f"Plan of {org}"
    made = table(title, "Plan", "Version", "From (UTC)", "", "Allowance", "Terms")
    for each in found:
        mark = "in force" if each is current[each.plan] else ""
        made.add_row(
            each.plan, each.version, f"{each.effective_at.astimezone(UTC):%F %T}", mark,
            "" if each.allowance is None else str(each.allowance), "\n".join(_terms(each)),
        )  # fmt: skip
    console().print(made)


def _terms(plan: Plan) -> Iterable[str]:
    """All but the allowance, in the words of differences."""
    for each in differences(None, plan):
        if each.name != "allowance":
            yield f"{each.name}: {each.after}"


def _plan_json(plan: Plan, in_force: bool) -> dict[str, Any]:
    return {
        "plan": plan.plan,
        "version": plan.version,
        "effectiveAt": time_text(plan.effective_at),
        "inForce": in_force,
        "currency": plan.currency,
        "allowance": None if plan.allowance is None else decimal_text(plan.allowance.nanos),
        "rollover": None if plan.rollover is None else decimal_text(plan.rollover.nanos),
        "graceSeconds": plan.grace_micros // 1_000_000,
        "limits": [
            {
                "whose": limit.whose,
                "per": limit.per,
                "amount": decimal_text(limit.amount.nanos),
                "alerts": limit.alerts,
                "blocks": limit.blocks,
            }
            for limit in plan.limits
        ],
        "quotas": [attrs.asdict(quota) for quota in plan.quotas],
    }


# -- pricing ----------------------------------------------------------------------


@click.command()
@path_of_existing
@click.option("--org", help="The prices of this org: its own, its plan's, everyone's.")
@_at_option
@click.option(
    "--diff",
    nargs=2,
    metavar="OLD NEW",
    callback=_versions,
    help="What one published version of prices, or of a plan, changes of another.",
)
@click.option(
    "--publish",
    is_flag=False,
    flag_value=_ALONE,
    callback=_published,
    metavar="[FILE]",
    help="Publish the price book or plan in this TOML or JSON file, once you have seen what it "
    "changes; with --import, without a file: what of the import is new.",
)
@click.option("--yes", is_flag=True, help="Publish a file without asking.")
@click.option(
    "--import",
    "source",
    type=click.Choice(SOURCES),
    help="Show which prices of a list of real prices are new, and what of it cannot be imported: "
    "genai is the installed package genai-prices, litellm a FILE in LiteLLM's format, gzipped or "
    "not.",
)
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--models",
    multiple=True,
    metavar="PATTERN",
    help="Import only models whose name (of genai: PROVIDER/NAME) fits a pattern such as 'gpt-*'.",
)
@click.option("--markup", metavar="FACTOR", help="Import prices times this, such as 1.2. [1]")
@click.option("--version", metavar="NAME", help="The imported version's name. [by the time]")
@click.option(
    "--effective-at",
    metavar="TIME",
    callback=_time,
    help="From when imported prices hold, UTC. [in 15 minutes; the first ones: now]",
)
@click.option("-v", "--verbose", is_flag=True, help="Show each imported price and refusal.")
@as_json_option
def pricing(
    db: Place,
    org: str | None,
    at: datetime | None,
    diff: tuple[str, str] | None,
    publish: Path | str | None,
    yes: bool,
    source: Source | None,
    file: Path | None,
    models: tuple[str, ...],
    markup: str | None,
    version: str | None,
    effective_at: datetime | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Show the prices in force, compare versions, publish new ones, import real ones.

    What is published never changes: a file with other prices needs another version's name,
    and what it changes takes effect ten minutes after its publication at the earliest.

    \b
    Examples:
      billing pricing --db billing.sqlite
      billing pricing --org acme --at 2026-05-01 --db billing.sqlite
      billing pricing --diff 2026-04 2026-05 --db billing.sqlite
      billing pricing --publish 2026-06.toml --db billing.sqlite
      billing pricing --import litellm prices.json --models 'gpt-*' --markup 1.2 --db billing.sqlite
      billing pricing --import genai --models 'openai/*' --publish --db billing.sqlite
    """
    file_to_publish = publish if isinstance(publish, Path) else None
    shown = org is not None or at is not None
    if sum([diff is not None, file_to_publish is not None, shown, source is not None]) > 1:
        raise click.UsageError(
            "--diff, --publish FILE, --import, and --org or --at exclude one another"
        )
    given = [
        file,
        markup,
        version,
        effective_at,
        *models,
        publish == _ALONE or None,
        verbose or None,
    ]
    if source is None and any(each is not None for each in given):
        raise click.UsageError(
            "FILE, --models, --markup, --version, --effective-at, -v and --publish without a file"
            " are for --import"
        )
    with existing(db) as billing:
        if diff is not None:
            found = billing.diff(*diff)
            if as_json:
                print_json({"differences": differences_json(found)})
            else:
                show_differences(f"What {diff[1]} changes of {diff[0]}", found)
        elif source is not None:
            import_prices(
                billing, source, file, models, markup or "1", version, effective_at,
                publish=publish == _ALONE, verbose=verbose, as_json=as_json,
            )  # fmt: skip
        elif file_to_publish is not None:
            _publish(billing, load_document(file_to_publish), yes, as_json)
        else:
            _show_pricing(billing, org, at, as_json)


_InForce = Mapping[str, Mapping[str, Priced]]


def _show_pricing(billing: Billing, org: str | None, at: datetime | None, as_json: bool) -> None:
    time = billing.clock() if at is None else micros("at", at)
    found: dict[str, _InForce]
    if org is not None:
        found = {billing.balance(org).currency: billing.pricing(org, at=moment(time))}
    else:
        catalogue = billing.catalogue()
        found = {each: catalogue.prices(each, time) for each in catalogue.currencies()}
    rows = [
        (currency, resource, component, priced)
        for currency, prices in found.items()
        for resource, parts in prices.items()
        for component, priced in parts.items()
    ]
    if as_json:
        shown = [
            {
                "resource": resource,
                "component": component,
                "currency": currency,
                "unit": priced.price.unit,
                "price": describe(priced.price, currency),
                "version": priced.version,
                **price_terms(priced.price),
            }
            for currency, resource, component, priced in rows
        ]
        print_json({"org": org, "at": time_text(moment(time)), "prices": shown})
        return
    whose = "everyone" if org is None else org
    title = f"Prices for {whose} at {moment(time):%F %T} UTC"
    made = table(title, "Resource", "Component", "Price", "Version")
    before = None
    for currency, resource, component, priced in rows:
        name = "" if resource == before else resource
        made.add_row(
            name, component, in_lines(describe(priced.price, currency)),
            _version_text(priced.version),
        )  # fmt: skip
        before = resource
    console().print(made)


def _version_text(version: str) -> str:
    """The names of a price's version, and of the discount's on it, each on a line."""
    return "\n* ".join(each.partition("#")[0] for each in version.split("*"))


def _publish(billing: Billing, document: PriceBook | Plan, yes: bool, as_json: bool) -> None:
    catalogue = billing.catalogue()
    known = catalogue.has(document.version)
    if known:
        billing.publish(document)  # raises where another document has the name
    found: tuple[Difference, ...] = ()
    told: tuple[str, ...] = ()
    if not known:
        document = catalogue.counted(document)
        found = differences(catalogue.superseded(document), document)
        told = catalogue.warnings(document)
    if not as_json:
        at = f"{document.effective_at.astimezone(UTC):%F %T} UTC"
        show_differences(f"What {document.version} changes from {at}", found)
    for each in told:
        click.echo(f"Warning: {each}.", err=True)
    if not (yes or known):
        click.confirm(f"Publish {document.version}?", abort=True, err=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NameWarning)  # they were told
        version = billing.publish(document)
    if as_json:
        shown = differences_json(found)
        print_json(
            {"version": version, "new": not known, "differences": shown, "warnings": list(told)}
        )
    else:
        console().print(f"{version} was published already." if known else f"Published {version}.")


# -- quote ------------------------------------------------------------------------


@click.command()
@click.argument("org")
@click.argument("resource")
@click.argument("quantities", nargs=-1, required=True, metavar="COMPONENT=QUANTITY...")
@click.option(
    "--fact",
    "facts",
    multiple=True,
    metavar="NAME=VALUE",
    help="What else is known of the request, once for each fact. One that its price depends on "
    "and that is not given may have any value.",
)
@path_of_existing
@_at_option
@as_json_option
def quote(
    org: str,
    resource: str,
    quantities: tuple[str, ...],
    facts: tuple[str, ...],
    db: Place,
    at: datetime | None,
    as_json: bool,
) -> None:
    """Show the most that a usage of RESOURCE can cost ORG, rounded up.

    Models are called model:NAME, tools tool:NAME, code execution code:NAME. A time to come is
    quoted under the prices that are published for it by now.

    \b
    Examples:
      billing quote acme model:gpt-4o input=1200 output=4096 --db billing.sqlite
      billing quote acme tool:search call=10 --at 2026-05-01 --db billing.sqlite
      billing quote acme model:gpt-5 input=300000 --fact service_tier=batch --db billing.sqlite
    """
    usage = Usage.of(resource, _quantities(quantities), facts=_facts(facts))
    with existing(db) as billing:
        found = billing.quote(org, usage, at=at)
        currency = billing.balance(org).currency
        time = moment(billing.clock()) if at is None else at
    if as_json:
        told = {"org": org, "resource": resource, "facts": dict(usage.facts), "currency": currency}
        print_json({**told, **_quote_json(found)})
        return
    title = f"{resource} for {org} at {time.astimezone(UTC):%F %T} UTC"
    made = table(title, "Component", ">Quantity", ">At most", "Version")
    for line in found.lines:
        made.add_row(
            line.component, f"{line.quantity:,}", money(line.amount), _version_text(line.version)
        )
    made.add_section()
    made.add_row("Total", "", money(found.amount), currency, style="bold")
    console().print(made)


def _quantities(given: Iterable[str]) -> dict[str, int]:
    quantities: dict[str, int] = {}
    for each in given:
        component, equals, digits = each.partition("=")
        number = digits.replace("_", "")
        plain = number.isascii() and number.isdecimal() and len(number) <= 36
        if not equals or not plain or component in quantities:
            raise click.BadParameter(
                f"given {each!r}; expected COMPONENT=QUANTITY, a whole number, each component once",
                param_hint="COMPONENT=QUANTITY",
            )
        quantities[component] = int(number)
    return quantities


def _facts(given: Iterable[str]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals and value) or name in facts:
            raise click.BadParameter(
                f"given {each!r}; expected NAME=VALUE, each fact once", param_hint="--fact"
            )
        facts[name] = value
    return facts


def _quote_json(found: Quote) -> dict[str, Any]:
    return {
        "amount": decimal_text(found.amount),
        "lines": [line._asdict() | {"amount": decimal_text(line.amount)} for line in found.lines],
    }
