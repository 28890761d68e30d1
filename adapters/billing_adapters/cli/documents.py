"""Price books and plans as people write them: TOML or JSON files.

Amounts are decimals of the currency's major unit, quoted or not; a name that is not known
is refused, since a mistyped term would be no term.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click

from billing_core import (
    BillingError,
    Fact,
    FactIs,
    Flat,
    Graduated,
    Hours,
    InvalidCommand,
    Limit,
    Money,
    Multiplier,
    Package,
    Plan,
    Price,
    PriceBook,
    Quota,
    SizeAbove,
    Tier,
    TopUpRules,
    Variant,
)
from billing_core.pricing.conditions import Condition, clock_text
from billing_core.pricing.functions import PriceFunction, packaged, plain_ratio, stated
from billing_core.values.money import NANOS

__all__ = ["load_document", "load_topup_rules", "price_terms"]


def load_document(path: Path) -> PriceBook | Plan:
    """The price book or plan in a file; a ClickException that names the file if there is none.

    A file with ``prices`` or ``percent_off`` is a price book, any other a plan.  The facts of a
    book hold for its multipliers, and for each price whose conditions name them (rule 5.9).
    """
    return _loaded(path, _document)


def load_topup_rules(path: Path) -> TopUpRules:
    """The platform's rules of top-ups in a file; a ClickException that names the file if
    there are none."""
    return _loaded(path, _topup_rules)


_Made = TypeVar("_Made")


def _loaded(path: Path, make: Callable[[Any], _Made]) -> _Made:
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".toml":
            data: Any = tomllib.loads(text, parse_float=Decimal)
        else:
            data = json.loads(text, parse_float=Decimal)
        return make(data)
    except json.JSONDecodeError as error:
        raise click.ClickException(
            f"{path}: it is no JSON, and TOML is read from a file named .toml: {error}"
        ) from error
    except RecursionError:
        raise click.ClickException(f"{path}: nested more deeply than any document is") from None
    except (BillingError, OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {error}") from error


def _document(data: object) -> PriceBook | Plan:
    given = _given("document", data, _BOOK | _PLAN)
    if "version" not in given:
        raise ValueError('it has no version, such as version = "2026-06"')
    return _book(data) if given.keys() & {"prices", "percent_off"} else _plan(data)


_RULES = {
    "minimum", "maximum", "cooldown_seconds", "failures", "backoff_seconds", "times",
    "lease_seconds", "on_expiry", "refund_stops",
}  # fmt: skip


def _topup_rules(data: object) -> TopUpRules:
    """Those of TopUpRules: amounts by currency, spans in seconds."""
    given = dict(_given("rules of top-ups", data, _RULES))
    for name in ("minimum", "maximum"):
        if name in given:
            amounts = given[name]
            if not isinstance(amounts, dict):
                raise InvalidCommand(name, amounts, 'amounts by currency, such as {"USD": "5.00"}')
            given[name] = tuple(Money.of(each, currency) for currency, each in amounts.items())
    for name in ("cooldown", "backoff", "lease"):
        seconds = given.pop(f"{name}_seconds", None)
        if seconds is not None:
            if type(seconds) is not int or not 0 < seconds < 10**9:
                raise InvalidCommand(f"{name}_seconds", seconds, "a whole number of seconds")
            given[name] = timedelta(seconds=seconds)
    return TopUpRules(**given)


_BOOK = {
    "version", "effective_at", "currency", "plan", "org", "prices", "percent_off", "multipliers",
    "facts",
}  # fmt: skip
_PLAN = {
    "version", "effective_at", "currency", "plan", "allowance", "rollover", "grace_days", "limits",
    "quotas",
}  # fmt: skip


def _given(what: str, data: object, names: set[str]) -> Mapping[str, Any]:
    """A table that has these names only."""
    if not isinstance(data, dict):
        raise InvalidCommand(what, data, "a table of names and values")
    unknown = sorted(data.keys() - names)
    if unknown:
        raise InvalidCommand(what, unknown[0], f"one of {', '.join(sorted(names))}")
    return data


def _tables(what: str, data: object) -> list[object]:
    """A list; each of its tables is looked at where it is read."""
    if not isinstance(data, list):
        raise InvalidCommand(what, data, "a list of tables, such as [{ … }, { … }]")
    return data


def _time(given: Mapping[str, Any]) -> datetime:
    at = given.get("effective_at")
    if not isinstance(at, str):
        return at  # type: ignore[return-value]  # the constructors check it
    try:
        return datetime.fromisoformat(at)
    except ValueError:
        raise InvalidCommand("effective_at", at, "a time such as 2026-05-01T00:00:00Z") from None


def _book(data: object) -> PriceBook:
    given = _given("price book", data, _BOOK)
    prices = given.get("prices", {})
    if not isinstance(prices, dict) or not all(isinstance(p, dict) for p in prices.values()):
        raise InvalidCommand("prices", prices, "tables of components by resource")
    facts = {fact.name: fact for fact in _facts("facts", given.get("facts", {}))}
    multipliers = {
        pattern: _multipliers(pattern, several)
        for pattern, several in _by_name("multipliers", given.get("multipliers", {}))
    }
    made = {
        resource: {
            component: _price(f"{component} of {resource}", price, facts)
            for component, price in parts.items()
        }
        for resource, parts in prices.items()
    }
    named = _named(each.when for several in multipliers.values() for each in several)
    used = named | {
        fact.name
        for parts in made.values()
        for price in parts.values()
        if price is not None
        for fact in price.facts
    }
    for name in facts:
        if name not in used:
            raise InvalidCommand("facts", name, "a fact that a variant or a multiplier names")
    return PriceBook(
        given.get("version", ""),
        _time(given),
        made,
        given.get("currency", "USD"),
        plan=given.get("plan"),
        org=given.get("org"),
        percent_off=given.get("percent_off", {}),
        multipliers=multipliers,
        facts=[fact for name, fact in facts.items() if name in named],
    )


_PRICE = {
    "amount", "per", "package", "tiers", "unit", "minimum", "increment", "variants",
    "multipliers", "facts",
}  # fmt: skip
_FUNCTION = {"amount", "per", "package", "tiers"}


def _price(what: str, data: object, known: Mapping[str, Fact]) -> Price | None:
    """``amount`` for ``per`` units, for every ``package``, or by ``tiers``; None for an end.

    ``known``: the book's facts, of which a price has those that its conditions name.
    """
    if data is None or data is False:
        return None
    with _told_of(what):
        given = _given(what, data, _PRICE)
        variants = [
            _variant(f"variants[{number}] of {what}", each)
            for number, each in enumerate(_tables("variants", given.get("variants", [])), 1)
        ]
        multipliers = _multipliers(what, given.get("multipliers", []))
        facts = _facts(f"facts of {what}", given.get("facts", {}))
        own = {fact.name for fact in facts}
        named = _named([each.when for each in variants] + [each.when for each in multipliers])
        return Price(
            _function(what, given, _PRICE),
            **{name: given[name] for name in ("unit", "minimum", "increment") if name in given},
            variants=variants,
            multipliers=multipliers,
            facts=[*facts, *(fact for name, fact in known.items() if name in named - own)],
        )


def _function(
    what: str, given: Mapping[str, Any], names: Collection[str]
) -> Flat | Graduated | Package:
    """What units cost; ``names``: all that may stand beside it."""
    if "tiers" in given:
        _given(what, dict(given), {*names} - {"amount", "per", "package"})
        return Graduated(_tier(what, tier) for tier in _tables("tiers", given["tiers"]))
    if "package" in given:
        _given(what, dict(given), {*names} - {"per"})
        return Package.of(_of(what, given), given["package"])
    return Flat.of(_of(what, given), given.get("per", 1))


def _tier(what: str, data: object) -> Tier:
    given = _given(f"tier of {what}", data, {"up_to", "amount", "per"})
    rate = Flat.of(_of(what, given), given.get("per", 1))
    return Tier(given.get("up_to"), rate.nanos, rate.per)


def _of(what: str, given: Mapping[str, Any]) -> Any:
    if "amount" not in given:
        raise InvalidCommand(what, dict(given), 'an amount, such as amount = "0.15"')
    return given["amount"]


# -- what a price depends on --------------------------------------------------------


@contextmanager
def _told_of(what: str) -> Iterator[None]:
    """Say in which price what a constructor refuses stands."""
    try:
        yield
    except InvalidCommand as error:
        if what in error.field:
            raise
        raise ValueError(f"{what}: {error}") from error


def _by_name(what: str, data: object) -> Iterable[tuple[str, Any]]:
    if not isinstance(data, dict):
        raise InvalidCommand(what, data, "a table by name")
    return data.items()


def _named(conditions: Iterable[Iterable[Condition]]) -> set[str]:
    """Of which facts conditions ask."""
    return {each.name for when in conditions for each in when if isinstance(each, FactIs)}


def _facts(what: str, data: object) -> list[Fact]:
    """``service_tier = { values = ["standard", "batch"], default = "standard" }``"""
    found: list[Fact] = []
    for name, each in _by_name(what, data):
        given = _given(f"{name} of {what}", each, {"values", "default"})
        with _told_of(f"{name} of {what}"):
            found.append(Fact(name, given.get("values", ()), given.get("default", "")))
    return found


_WHEN = {"where", "above", "of", "hours", "also"}


def _variant(what: str, data: object) -> Variant:
    names = _FUNCTION | _WHEN
    given = _given(what, data, names)
    with _told_of(what):
        return Variant(_function(what, given, names), _when(what, given))


def _multipliers(what: str, data: object) -> list[Multiplier]:
    return [
        _multiplier(f"multipliers[{number}] of {what}", each)
        for number, each in enumerate(_tables(f"multipliers of {what}", data), 1)
    ]


def _multiplier(what: str, data: object) -> Multiplier:
    given = _given(what, data, {"by"} | _WHEN)
    by = given.get("by")
    if isinstance(by, str) and re.fullmatch(r"[0-9]{1,19}/[0-9]{1,19}", by):
        over, under = map(int, by.split("/"))
        if under:
            by = Fraction(over, under)
    with _told_of(what):
        return Multiplier(by, _when(what, given))  # type: ignore[arg-type]  # it checks it


def _when(what: str, given: Mapping[str, Any]) -> list[Condition]:
    """All that must hold: facts, then a size, then hours, then what else of these is ``also``."""
    found: list[Condition] = [
        FactIs(name, value) for name, value in _by_name(f"where of {what}", given.get("where", {}))
    ]
    if "above" in given or "of" in given:
        expected = 'a size, such as above = 272_000, of = ["input", "cached_read"]'
        if not {"above", "of"} <= given.keys():
            raise InvalidCommand(what, dict(given), expected)
        if not isinstance(given["of"], list):
            raise InvalidCommand("of", given["of"], expected)
        found.append(SizeAbove(given["above"], given["of"]))
    if "hours" in given:
        hours = _given(f"hours of {what}", given["hours"], {"from", "to", "weekdays"})
        of_days = {"weekdays": hours["weekdays"]} if "weekdays" in hours else {}
        found.append(Hours(_clock(hours, "from"), _clock(hours, "to"), **of_days))
    for number, more in enumerate(_tables(f"also of {what}", given.get("also", [])), 1):
        inner = f"also[{number}] of {what}"
        found += _when(inner, _given(inner, more, _WHEN))
    if not found:
        expected = 'where, above and of, or hours, such as where = { service_tier = "batch" }'
        raise InvalidCommand(what, dict(given), expected)
    return found


def _clock(hours: Mapping[str, Any], name: str) -> time:
    """A time of day, as TOML has it or as text."""
    at = hours.get(name)
    if isinstance(at, str):
        with suppress(ValueError):  # then it is no time of day
            at = time.fromisoformat(at)
    if not isinstance(at, time):
        raise InvalidCommand(name, at, 'a time of day in UTC, such as "16:30"')
    return at


def price_terms(price: Price) -> dict[str, Any]:
    """What a price costs and depends on, in the words of a file, less a discount on it; not its
    unit."""
    terms = _function_terms(price.function)
    if price.minimum:
        terms["minimum"] = price.minimum
    if price.increment > 1:
        terms["increment"] = price.increment
    if price.variants:
        terms["variants"] = [
            _function_terms(each.function) | _when_terms(each.when) for each in price.variants
        ]
    if price.multipliers:
        terms["multipliers"] = [
            {"by": plain_ratio(each.by)} | _when_terms(each.when) for each in price.multipliers
        ]
    if price.facts:
        terms["facts"] = {
            each.name: {"values": list(each.values), "default": each.default}
            for each in price.facts
        }
    return terms


def _function_terms(function: PriceFunction) -> dict[str, Any]:
    rates = [
        {"amount": plain_ratio((each.nanos / NANOS).as_integer_ratio()), "per": each.per}
        | ({} if each.up_to is None else {"up_to": each.up_to})
        for each in stated(function)
    ]
    if len(rates) > 1:
        return {"tiers": rates}
    [rate] = rates
    return {"amount": rate["amount"], "package": rate["per"]} if packaged(function) else rate


def _when_terms(conditions: Iterable[Condition]) -> dict[str, Any]:
    """What must hold; what one table has no room for is ``also``."""
    terms: dict[str, Any] = {}
    more: list[Condition] = []
    for each in conditions:
        match each:
            case FactIs(name, value) if name not in terms.get("where", {}):
                terms.setdefault("where", {})[name] = value
            case SizeAbove(bound, of) if "above" not in terms:
                terms |= {"above": bound, "of": list(of)}
            case Hours(start, end, weekdays) if "hours" not in terms:
                hours = {"from": clock_text(start), "to": clock_text(end)}
                terms["hours"] = hours | {"weekdays": list(weekdays)}
            case _:
                more.append(each)
    return terms | {"also": [_when_terms(more)]} if more else terms


def _plan(data: object) -> Plan:
    given = _given("plan", data, _PLAN)
    currency = given.get("currency", "USD")

    def money(name: str) -> Money | None:
        return Money.of(given[name], currency) if name in given else None

    days = given.get("grace_days", 0)
    if type(days) is not int or not 0 <= days <= 27:
        raise InvalidCommand("grace_days", days, "an int from 0 to 27")
    return Plan(
        given.get("version", ""),
        given.get("plan", ""),
        _time(given),
        allowance=money("allowance"),
        rollover=money("rollover"),
        grace=timedelta(days=days),
        limits=tuple(_limit(each, currency) for each in _tables("limits", given.get("limits", []))),
        quotas=tuple(_quota(each) for each in _tables("quotas", given.get("quotas", []))),
        currency=currency,
    )


def _limit(data: object, currency: str) -> Limit:
    given = _given("limit", data, {"whose", "amount", "per", "alerts", "blocks"})
    options = {name: given[name] for name in ("per", "alerts", "blocks") if name in given}
    return Limit(given.get("whose", ""), Money.of(_of("limit", given), currency), **options)


def _quota(data: object) -> Quota:
    given = _given("quota", data, {"resource", "component", "quantity"})
    return Quota(
        given.get("resource", ""),
        given.get("component", ""),
        given.get("quantity"),  # type: ignore[arg-type]
    )
