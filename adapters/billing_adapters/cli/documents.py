"""Price books and plans as people write them: TOML or JSON files.

Amounts are decimals of the currency's major unit, quoted or not; a name that is not known
is refused, since a mistyped term would be no term.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import click

from billing_core import (
    BillingError,
    Flat,
    Graduated,
    InvalidCommand,
    Limit,
    Money,
    Package,
    Plan,
    Price,
    PriceBook,
    Quota,
    Tier,
    TopUpRules,
)

__all__ = ["load_document", "load_topup_rules"]


def load_document(path: Path) -> PriceBook | Plan:
    """The price book or plan in a file; a ClickException that names the file if there is none.

    A file with ``prices`` or ``percent_off`` is a price book, any other a plan.
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


_BOOK = {"version", "effective_at", "currency", "plan", "org", "prices", "percent_off"}
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
    return PriceBook(
        given.get("version", ""),
        _time(given),
        {
            resource: {
                component: _price(f"{component} of {resource}", price)
                for component, price in parts.items()
            }
            for resource, parts in prices.items()
        },
        given.get("currency", "USD"),
        plan=given.get("plan"),
        org=given.get("org"),
        percent_off=given.get("percent_off", {}),
    )


def _price(what: str, data: object) -> Price | None:
    """``amount`` for ``per`` units, for every ``package``, or by ``tiers``; None for an end."""
    if data is None or data is False:
        return None
    names = {"amount", "per", "package", "tiers", "unit", "minimum", "increment"}
    given = _given(what, data, names)
    function: Flat | Graduated | Package
    if "tiers" in given:
        _given(what, dict(given), names - {"amount", "per", "package"})
        function = Graduated(_tier(what, tier) for tier in _tables("tiers", given["tiers"]))
    elif "package" in given:
        _given(what, dict(given), names - {"per"})
        function = Package.of(_of(what, given), given["package"])
    else:
        function = Flat.of(_of(what, given), given.get("per", 1))
    options = {name: given[name] for name in ("unit", "minimum", "increment") if name in given}
    return Price(function, **options)


def _tier(what: str, data: object) -> Tier:
    given = _given(f"tier of {what}", data, {"up_to", "amount", "per"})
    rate = Flat.of(_of(what, given), given.get("per", 1))
    return Tier(given.get("up_to"), rate.nanos, rate.per)


def _of(what: str, given: Mapping[str, Any]) -> Any:
    if "amount" not in given:
        raise InvalidCommand(what, dict(given), 'an amount, such as amount = "0.15"')
    return given["amount"]


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
