"""Real model prices, from the data that comes with ``genai-prices``.

:func:`price_book` makes an immutable, dated :class:`~billing_core.PriceBook` of the
prices that were in force at the book's date, with a markup.  It reads the installed
package only and never the network: a newer release of the package has newer prices.

What a book says is what customers are to see: the names that you give and the price
that you ask.  Provider, cost and markup are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING

from attrs import field, frozen

from billing_core import Flat, InvalidCommand, NotFound, Price, PriceBook, model
from billing_core.values.money import checked_decimal
from billing_core.values.text import checked_name
from billing_core.values.times import micros

try:
    from genai_prices import types as source
    from genai_prices.data import providers as _providers
except ImportError as error:
    raise ImportError(
        "billing_adapters.genai needs genai-prices: pip install 'billing-core[prices]'",
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

__all__ = ["Model", "price_book"]

_PER = 1_000_000
_EXACTLY = Context(prec=200, traps=[Inexact])

_COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "input": ("input_mtok",),
    "output": ("output_mtok",),
    "cached_read": ("cache_read_mtok", "input_mtok"),
    "cache_write": ("cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok",),
    "reasoning": ("output_reasoning_mtok", "output_mtok"),
}
"""Where a component's price comes from.  A source that has none of its own for cached
or reasoning tokens counts them as plain input and output, at that price, so the book
does too: nothing goes unpriced.  Longer cache writes are priced where the source does."""


@frozen
class Model:
    """A model whose prices are to be imported (rule 5.8).

    Args:
        id: Its id as genai-prices lists it, such as ``gpt-4o``.
        provider: Who serves it, by the name that genai-prices has; None: who makes it.
        name: How customers see it; empty: as ``id``.
        request_tokens: Only for a model whose price depends on a request's size: the level for a
            request of so many input tokens is imported.  Import each level that you serve under
            a name of its own, and settle a request under the name that fits it.
    """

    id: str
    provider: str | None = None
    name: str = field(kw_only=True, default="")
    request_tokens: int | None = field(kw_only=True, default=None)

    def __attrs_post_init__(self) -> None:
        checked_name("id", self.id)
        if self.provider is not None:
            checked_name("provider", self.provider)
        tokens = self.request_tokens
        if tokens is not None and (type(tokens) is not int or tokens < 1):
            raise InvalidCommand("request_tokens", tokens, "a positive int")

    @property
    def resource(self) -> str:
        """The resource that usage of it is settled under: ``model:gpt-4o``."""
        return model(self.name or self.id)


def price_book(
    version: str,
    effective_at: datetime,
    models: Iterable[Model | str | tuple[str, str]],
    *,
    markup: str | int | Decimal = 1,
) -> PriceBook:
    """A price book of real model prices, with your markup (rule 5.8).

    It reads the installed package genai-prices, and never the network.  Provider, cost and markup
    are not in the book.  Components: ``input``, ``output``, ``cached_read``, ``cache_write``,
    ``reasoning``, and ``cache_write_1h`` where the package has it.  Batch discounts and usage of
    other kinds (audio, searches) are not imported: under a component of its own, such usage is
    settled as unpriced (rule 5.7).

    Args:
        version: The book's name, unique for ever.
        effective_at: From when it holds, UTC; the prices are those of that time.
        models: :class:`Model` values, model ids, or ``(provider, id)``.
        markup: An exact factor above 0, as text, int or `Decimal`: ``"1.20"`` for 20 % more.

    Returns:
        The book, in USD, for everyone; publish it with `Billing.publish`.

    Raises:
        NotFound: For a model that genai-prices does not list under exactly that id.
        InvalidCommand: For a model that one price for each component cannot describe, as its price
            depends on the size of a request (see `Model`) or the time of day, or there is a fee
            for each request; and for a markup that is not accepted.
    """
    factor = checked_decimal("markup", markup)
    if factor <= 0:
        raise InvalidCommand("markup", markup, 'a positive factor, such as "1.20"')
    micros("effective_at", effective_at)
    prices: dict[str, dict[str, Price]] = {}
    known: dict[str, dict[str, ModelInfo]] = {}
    for each in models:
        wanted = _wanted(each)
        if wanted.resource in prices:
            raise InvalidCommand("models", wanted.resource, "each name once")
        listed = _price_at(wanted, _listed(wanted, known), effective_at)
        prices[wanted.resource] = _prices(wanted, listed, factor)
    return PriceBook(version, effective_at, prices, currency="USD")


def _wanted(each: Model | str | tuple[str, str]) -> Model:
    if isinstance(each, Model):
        return each
    if isinstance(each, str):
        return Model(each)
    if isinstance(each, tuple) and len(each) == 2:
        return Model(each[1], each[0])
    raise InvalidCommand("models", each, "a Model, a model id or (provider, model id)")


def _prices(wanted: Model, listed: ModelPrice, factor: Decimal) -> dict[str, Price]:
    if getattr(listed, "requests_kcount", None) is not None:
        raise InvalidCommand(
            "models", wanted.id, "a model priced by tokens alone: this one has a fee per request"
        )
    prices: dict[str, Price] = {}
    for component, names in _COMPONENTS.items():
        found = next((each for name in names if (each := getattr(listed, name)) is not None), None)
        if found is not None:
            amount = _EXACTLY.multiply(_amount(wanted, component, found), factor)
            prices[component] = Price(Flat.of(amount, _PER))
    if not prices:
        raise InvalidCommand("models", wanted.id, "a model with a price for tokens")
    return prices


def _amount(wanted: Model, component: str, found: Decimal | source.TieredPrices) -> Decimal:
    """Dollars per million; never through a float."""
    if isinstance(found, source.TieredPrices):
        if wanted.request_tokens is None:
            levels = ", ".join(f"{tier.price} above {tier.start}" for tier in found.tiers)
            raise InvalidCommand(
                "models",
                wanted.id,
                f"request_tokens, since the price of {component} depends on the input tokens "
                f"of each request ({found.base} USD per million; {levels}): say which level, "
                "such as Model(…, request_tokens=1)",
            )
        amount = found.base
        for tier in sorted(found.tiers, key=lambda tier: tier.start):
            if wanted.request_tokens > tier.start:
                amount = tier.price
    else:
        amount = found
    if type(amount) is not Decimal or not amount.is_finite() or amount < 0:
        raise InvalidCommand("models", wanted.id, f"a Decimal price of {component}: {amount!r}")
    return amount


def _price_at(wanted: Model, listed: ModelInfo, at: datetime) -> ModelPrice:
    """The last of a model's prices whose condition holds, as the source means it."""
    if isinstance(listed.prices, source.ModelPrice):
        return listed.prices
    for each in reversed(listed.prices):
        if isinstance(each.constraint, source.TimeOfDateConstraint):
            raise InvalidCommand(
                "models", wanted.id, "a model with one price all day: this one has off-peak hours"
            )
        if each.constraint is None or each.constraint.active(at):
            return each.prices
    return listed.prices[0].prices


def _listed(wanted: Model, known: dict[str, dict[str, ModelInfo]]) -> ModelInfo:
    """The model of exactly this id: near misses have other prices.  ``known``: those of the
    providers that were asked for, by id."""
    provider = _provider(wanted)
    if provider.id not in known:
        known[provider.id] = {each.id: each for each in reversed(provider.models)}
    listed = known[provider.id].get(wanted.id)
    if listed is not None:
        return listed
    near = next((each.id for each in provider.models if each.is_match(wanted.id)), None)
    advice = f"did you mean {near!r}?" if near else "see the list of genai-prices"
    raise NotFound("model", f"{wanted.id} of {provider.id}", advice)


def _provider(wanted: Model) -> Provider:
    for each in _providers:
        if wanted.provider is None:
            if each.model_match is not None and each.model_match.is_match(wanted.id):
                return each
        elif each.id == wanted.provider:
            return each
    if wanted.provider is not None:
        known = ", ".join(each.id for each in _providers)
        raise NotFound("provider", wanted.provider, f"known: {known}")
    raise NotFound("model", wanted.id, "name its provider too")
