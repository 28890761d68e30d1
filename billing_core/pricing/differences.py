"""How two versions of prices, or of a plan, differ: in words.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from attrs import frozen

from billing_core.errors import InvalidCommand
from billing_core.pricing.plan import Limit, Plan
from billing_core.pricing.price_book import PriceBook
from billing_core.pricing.rating import describe
from billing_core.values.patterns import within

__all__ = ["Difference", "differences"]


@frozen
class Difference:
    """One thing that a later version of prices, or of a plan, says otherwise.

    Attributes:
        what: ``price``, ``discount`` or ``term`` (of a plan).
        name: Of a price ``input of model:small``, of a discount its resource ``model:*``, of a
            plan the term.
        before: What the earlier version says, in words; None: nothing.
        after: What the later version says, in words; None: it ends.
    """

    what: Literal["price", "discount", "term"]
    name: str
    before: str | None
    after: str | None

    @property
    def change(self) -> Literal["added", "ended", "changed"]:
        """``added``, ``ended`` or ``changed``."""
        if self.before is None:
            return "added"
        return "ended" if self.after is None else "changed"

    def __str__(self) -> str:
        text = f"{self.what} {self.name} {self.change}: "
        if self.before is None or self.after is None:
            return f"{text}{self.before or self.after}"
        return f"{text}{self.before} → {self.after}"


def differences(old: PriceBook | Plan | None, new: PriceBook | Plan) -> tuple[Difference, ...]:
    """What ``new`` changes of what ``old`` says (None: of nothing), sorted by name.

    A book leaves in force what it does not name, so that is no difference.  Raises
    InvalidCommand unless both are plans, or books for the same audience, in one currency.
    """
    if old is not None and old.currency != new.currency:
        raise InvalidCommand("old", old.currency, f"a version in {new.currency}")
    if isinstance(new, Plan):
        if not isinstance(old, Plan | None):
            raise InvalidCommand("old", old.version, "a version of a plan")
        before = {} if old is None else _terms(old)
        return tuple(_changes("term", before, {**dict.fromkeys(before), **_terms(new)}))
    if not isinstance(old, PriceBook | None) or (old and old.audience != new.audience):
        whose = new.audience or "everyone"
        raise InvalidCommand("old", old.version, f"a version of prices for {whose}")
    before = {} if old is None else _prices(old, new.multipliers)
    prices = _changes("price", before, _prices(new, () if old is None else old.multipliers))
    discounts = _changes("discount", {} if old is None else _discounts(old), _discounts(new))
    return (*prices, *discounts)


_Words = Mapping[str, str | None]


def _changes(
    what: Literal["price", "discount", "term"], before: _Words, after: _Words
) -> Iterator[Difference]:
    for name in sorted(after):
        if before.get(name) != after[name]:
            yield Difference(what, name, before.get(name), after[name])


def _prices(book: PriceBook, also: Iterable[str] = ()) -> _Words:
    """A book's prices in words; of what it, or another one, has multipliers for, too."""
    names = {*book.multipliers, *also}
    return {
        f"{component} of {name}": (
            None if price is None else describe(book.multiplied(price, name), book.currency)
        )
        for resource, parts in book.prices.items()
        for name in (resource, *(each for each in names if within(each, resource)))
        for component, price in parts.items()
    }


def _discounts(book: PriceBook) -> _Words:
    return {name: None if off == "0" else f"{off}%" for name, off in book.percent_off.items()}


def _terms(plan: Plan) -> _Words:
    terms: dict[str, str | None] = {
        "allowance": None if plan.allowance is None else str(plan.allowance),
        "rollover": None if plan.rollover is None else f"up to {plan.rollover}",
        "grace": str(plan.grace) if plan.grace else None,
    }
    for limit in plan.limits:
        terms[f"{limit.whose} limit per {limit.per}"] = _limit(limit)
    for quota in plan.quotas:
        terms[f"quota of {quota.component} of {quota.resource}"] = f"{quota.quantity:,}"
    return terms


def _limit(limit: Limit) -> str:
    text = str(limit.amount) if limit.blocks else f"{limit.amount}, refusing nothing"
    if limit.alerts:
        text += ", told at " + ", ".join(f"{percent}%" for percent in limit.alerts)
    return text
