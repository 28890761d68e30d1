"""``billing pricing --import``: real prices from a list that others keep (rule 5.8)."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import attrs
import click

from billing_adapters.cli.differences import differences_json, show_differences
from billing_adapters.cli.reads import time_text
from billing_adapters.cli.show import console, print_json, progress, table
from billing_adapters.price_lists import Import, Refused
from billing_core import Billing, Difference, InvalidCommand, Price, PriceBook
from billing_core.errors import NameWarning
from billing_core.pricing.catalogue import Catalogue
from billing_core.pricing.differences import differences
from billing_core.values.times import micros, moment

__all__ = ["SOURCES", "Source", "import_prices"]

Source = Literal["genai", "litellm"]
SOURCES: tuple[Source, ...] = ("genai", "litellm")

_AHEAD = timedelta(minutes=15)
"""A change takes effect so long after the import: longer than the publication delay, with the time
that an import takes."""
_SHOWN = 40  # differences in a table, without -v

_Prices = dict[str, dict[str, Price]]


def import_prices(
    billing: Billing,
    source: Source,
    file: Path | None,
    patterns: Sequence[str],
    markup: str,
    version: str | None,
    effective_at: datetime | None,
    *,
    publish: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Show what of a source's prices is new, and what of it cannot be imported; publish what is new
    where that is asked for."""
    now = moment(billing.clock())
    at = now + _AHEAD if effective_at is None else effective_at
    version = version or f"prices-{now:%Y-%m-%dT%H:%M:%S.%f}Z"
    found = _imported(source, file, patterns, markup, version, at, shown=not as_json)
    catalogue = billing.catalogue()
    book, kept, too_fine = _new(catalogue, found.book, now)
    same_day = effective_at is None and at.date() == now.date()
    if book is not None and same_day and catalogue.superseded(book) is None:
        book = attrs.evolve(book, effective_at=now)  # the first prices may hold at once
    found = attrs.evolve(found, book=book, refused=(*found.refused, *too_fine))
    changes: tuple[Difference, ...] = ()
    told: tuple[str, ...] = ()
    if book is not None:
        changes = differences(catalogue.superseded(book), book)
        told = catalogue.warnings(book)
        if publish:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NameWarning)  # they are told
                version = billing.publish(book)
    if as_json:
        _print(found, version, changes, kept, told, published=publish and book is not None)
    else:
        _show(found, version, changes, kept, told, publish=publish, verbose=verbose)


def _imported(
    source: Source,
    file: Path | None,
    patterns: Sequence[str],
    markup: str,
    version: str,
    at: datetime,
    *,
    shown: bool,
) -> Import:
    chosen = patterns or ("*",)
    with progress(shown=shown) as bars:
        if source == "genai":
            from billing_adapters import genai

            if file is not None:
                raise click.UsageError(
                    f"genai is read from the installed package genai-prices, not from {file}"
                )
            models, refused = genai.listed_models(chosen)
            task = bars.add_task("Importing", total=len(models))
            found = genai.import_prices(
                version, at, models, markup=markup,
                progress=lambda done: bars.update(task, completed=done),
            )  # fmt: skip
            return attrs.evolve(found, refused=(*refused, *found.refused))
        from billing_adapters import litellm_prices

        if file is None:
            raise click.UsageError("--import litellm needs the FILE to import")
        entries = litellm_prices.read_prices(file)
        task = bars.add_task("Importing", total=len(entries))
        return litellm_prices.import_prices(
            version, at, entries, models=chosen, markup=markup,
            progress=lambda done: bars.update(task, completed=done),
        )  # fmt: skip


def _new(
    catalogue: Catalogue, book: PriceBook | None, now: datetime
) -> tuple[PriceBook | None, list[str], list[Refused]]:
    """What of a book is not in force already; which prices of its models stay in force that it does
    not have; and what may not be published beside what is on record."""
    if book is None:
        return None, [], []
    book = _book(catalogue.counted(book))
    standing = catalogue.superseded(book)
    before: Mapping[str, Mapping[str, object]] = {}
    if isinstance(standing, PriceBook):
        before = standing.prices
    prices: _Prices = {}
    for resource, parts in book.prices.items():
        for component, price in parts.items():
            if price is not None and before.get(resource, {}).get(component) != price:
                prices.setdefault(resource, {})[component] = price
    in_force = catalogue.prices(book.currency, micros("at", book.effective_at))
    kept = [
        f"{component} of {resource}"
        for resource, parts in book.prices.items()
        for component in in_force.get(resource, {})
        if component not in parts
    ]
    refused: list[Refused] = []

    def checked(some: _Prices) -> bool:
        assert book is not None
        first = attrs.evolve(book, prices=some)
        try:
            catalogue.checked(first, now=micros("now", now), delay=0)
        except InvalidCommand as error:
            if not error.field.startswith("prices["):  # the time, or a name that is taken
                raise
            if sum(map(len, some.values())) > 1:
                return False
            [(resource, parts)] = some.items()
            [(component, price)] = parts.items()
            text = price.function.describe(book.currency, price.unit)
            refused.append(Refused(resource.removeprefix("model:"), component, text, str(error)))
            return False
        return True

    prices = _publishable(prices, checked)
    return (attrs.evolve(book, prices=prices) if prices else None), kept, refused


def _book(document: object) -> PriceBook:
    assert isinstance(document, PriceBook)
    return document


def _publishable(prices: _Prices, checked: Callable[[_Prices], bool]) -> _Prices:
    """The prices without those that may not be published; what may is looked at in few parts."""
    every = [(resource, name) for resource, parts in prices.items() for name in parts]
    if not every or checked(prices):
        return prices
    if len(every) == 1:
        return {}
    found: _Prices = {}
    half = len(every) // 2
    for some in (every[:half], every[half:]):
        part: _Prices = {}
        for resource, name in some:
            part.setdefault(resource, {})[name] = prices[resource][name]
        for resource, parts in _publishable(part, checked).items():
            found.setdefault(resource, {}).update(parts)
    return found


def _print(
    found: Import,
    version: str,
    changes: Sequence[Difference],
    kept: Sequence[str],
    told: Sequence[str],
    *,
    published: bool,
) -> None:
    book = found.book
    print_json(
        {
            "version": None if book is None else version,
            "effectiveAt": None if book is None else time_text(book.effective_at),
            "published": published,
            "differences": differences_json(changes),
            "kept": list(kept),
            "refused": [attrs.asdict(each) for each in found.refused],
            "later": [{"model": each.model, "at": time_text(each.at)} for each in found.later],
            "warnings": list(told),
        }
    )


def _show(
    found: Import,
    version: str,
    changes: Sequence[Difference],
    kept: Sequence[str],
    told: Sequence[str],
    *,
    publish: bool,
    verbose: bool,
) -> None:
    for each in told:
        click.echo(f"Warning: {each}.", err=True)
    _show_refused(found.refused, verbose=verbose)
    if found.later:
        made = table("Other prices from a later date: import again for it", "Model", "From")
        for one in found.later:
            made.add_row(one.model, f"{one.at:%F}")
        console().print(made)
    if kept:
        some = kept if verbose else kept[:3]
        more = f" and {len(kept) - len(some)} more" if len(some) < len(kept) else ""
        console().print(f"Not in the source, and still in force: {', '.join(some)}{more}.")
    if found.book is None:
        console().print("No price is new: nothing to publish.")
        return
    models = len(found.book.prices)
    at = f"{found.book.effective_at.astimezone(UTC):%F %T} UTC"
    title = f"{len(changes):,} prices of {models:,} models are new from {at}"
    show_differences(title, changes if verbose else changes[:_SHOWN])
    if not verbose and len(changes) > _SHOWN:
        console().print(f"… and {len(changes) - _SHOWN:,} more; -v shows each.")
    if publish:
        console().print(f"Published {version}.")
    else:
        console().print("Nothing is published: that is what --publish does.")


def _show_refused(refused: Sequence[Refused], *, verbose: bool) -> None:
    if not refused:
        return
    if verbose:
        made = table("Not imported", "Model", "What", "Value", "Why")
        for each in refused:
            made.add_row(each.model, each.key, each.value, each.reason)
    else:
        made = table("Not imported", ">", "Why", "Such as")
        examples: dict[str, Refused] = {}
        for each in refused:
            examples.setdefault(each.reason, each)
        for reason, count in Counter(each.reason for each in refused).most_common(_SHOWN):
            such = examples[reason]
            made.add_row(f"{count:,}", reason, f"{such.key} of {such.model}")
    console().print(made)
