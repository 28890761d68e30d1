"""Real model prices, from the data that comes with ``genai-prices``.

:func:`price_book` makes an immutable, dated :class:`~billing_core.PriceBook` of the
prices that were in force at the book's date, with a markup; :func:`import_prices` tells
beside it what is not in it, and why.  They read the installed package only and never the
network: a newer release of the package has newer prices.

What a book says is what customers are to see: the names that you give and the price
that you ask.  Provider, cost and markup are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from attrs import field, frozen

from billing_adapters.price_lists import (
    PROMPT,
    TIERS,
    Axis,
    Case,
    Import,
    Later,
    Maker,
    Refused,
    checked,
    factor,
)
from billing_core import (
    Fact,
    FactIs,
    Hours,
    InvalidCommand,
    NotFound,
    Price,
    PriceBook,
    SizeAbove,
    model,
)
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

__all__ = ["Model", "import_prices", "price_book"]


class _Sold(NamedTuple):
    """Where a component's price comes from: the first of these that the source has.  A component
    that has none of its own is counted as what contains it, and costs the same: nothing goes
    unpriced.  ``per`` of ``unit`` are what the source's price is for."""

    keys: tuple[str, ...]
    per: int = 1_000_000
    unit: str = "unit"


def _cached(modality: str) -> _Sold:
    own = f"cache_{modality}_read_mtok"
    return _Sold((own, "cache_read_mtok", f"input_{modality}_mtok", "input_mtok"))


def _written(modality: str) -> _Sold:
    own = (f"cache_{modality}_write_5m_mtok", f"cache_{modality}_write_mtok")
    plain = ("cache_write_5m_mtok", "cache_write_mtok", f"input_{modality}_mtok", "input_mtok")
    return _Sold((*own, *plain))


_CACHED = ("cache_text_read_mtok", "cache_read_mtok", "input_text_mtok", "input_mtok")
_WRITTEN = ("cache_text_write_mtok", "cache_write_mtok", "input_text_mtok", "input_mtok")
_OUTPUT = ("output_text_mtok", "output_mtok")
_HOUR = 3_600

_SOLD: Mapping[str, _Sold] = {
    "input": _Sold(("input_text_mtok", "input_mtok")),
    "input_audio": _Sold(("input_audio_mtok", "input_mtok")),
    "input_image": _Sold(("input_image_mtok", "input_mtok")),
    "input_video": _Sold(("input_video_mtok", "input_mtok")),
    "cached_read": _Sold(_CACHED),
    "cached_read_audio": _cached("audio"),
    "cached_read_image": _cached("image"),
    "cached_read_video": _cached("video"),
    "cached_read_explicit": _Sold(_CACHED),
    "cache_write": _Sold(("cache_text_write_5m_mtok", "cache_write_5m_mtok", *_WRITTEN)),
    "cache_write_1h": _Sold(("cache_text_write_1h_mtok", "cache_write_1h_mtok", *_WRITTEN)),
    "cache_write_12h": _Sold(_WRITTEN),
    "cache_write_audio": _written("audio"),
    "cache_write_image": _written("image"),
    "cache_write_video": _written("video"),
    "output": _Sold(_OUTPUT),
    "output_audio": _Sold(("output_audio_mtok", "output_mtok")),
    "output_image": _Sold(("output_image_mtok", "output_mtok")),
    "output_video": _Sold(("output_video_mtok", "output_mtok")),
    "reasoning": _Sold(("output_text_reasoning_mtok", "output_reasoning_mtok", *_OUTPUT)),
    "citation": _Sold(("output_text_citation_mtok", "output_citation_mtok", *_OUTPUT)),
    "accepted_prediction": _Sold(_OUTPUT),
    "rejected_prediction": _Sold(_OUTPUT),
    "characters": _Sold(("input_mchars",)),
    "text_messages": _Sold(("input_text_messages_kcount",), 1_000),
    "audio_duration": _Sold(("audio_hours",), _HOUR, "second"),
    "input_audio_duration": _Sold(("input_audio_hours", "audio_hours"), _HOUR, "second"),
    "output_audio_duration": _Sold(("output_audio_hours", "audio_hours"), _HOUR, "second"),
    "pixels": _Sold(("input_gpixels",), 10**9),
    "pages": _Sold(("input_document_kpages",), 1_000),
    "annotated_pages": _Sold(
        ("input_annotated_document_kpages", "input_document_kpages"), 1_000
    ),
    "rerank_searches": _Sold(("rerank_searches_kcount",), 1_000),
    "web_searches": _Sold(("web_searches_kcount",), 1_000),
    "social_searches": _Sold(("social_searches_kcount",), 1_000),
    "file_searches": _Sold(("storage_searches_kcount",), 1_000),
    "code_executions": _Sold(("code_executions_kcount",), 1_000),
    "requests": _Sold(("requests_kcount",), 1_000),
}  # fmt: skip

_KEYS = frozenset(key for sold in _SOLD.values() for key in sold.keys)

_LEAST: Mapping[tuple[str, str], int] = {
    ("groq", "whisper-large-v3"): 10,
    ("groq", "whisper-large-v3-turbo"): 10,
}
"""The seconds that a request of these counts at least as.  The source has it in its code."""

_UNSAID = {"service_tier": "standard", "speed": "standard"}


@frozen
class Model:
    """A model whose prices are to be imported (rule 5.8).

    Args:
        id: Its id as genai-prices lists it, such as ``gpt-4o``.
        provider: Who serves it, by the name that genai-prices has; None: who makes it.
        name: How customers see it; empty: as ``id``.
        request_tokens: Only the prices for a request of so many input tokens, whatever its size.
            None: by the size of each request, where the source has such prices (rule 5.9).
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
    are not in the book.  A model has prices for all components that the source sells it by; one of
    tokens that has no price of its own has that of what contains it.  Prices by size, service tier,
    speed and hour are variants (rule 5.9).

    Args:
        version: The book's name, unique for ever.
        effective_at: From when it holds, UTC; the prices are those of that time.
        models: :class:`Model` values, model ids, or ``(provider, id)``.
        markup: An exact factor above 0, as text, int or `Decimal`: ``"1.20"`` for 20 % more.

    Returns:
        The book, in USD, for everyone; publish it with `Billing.publish`.

    Raises:
        NotFound: For a model that genai-prices does not list under exactly that id.
        InvalidCommand: For a model of which something is refused (see :func:`import_prices`), or
            that has no price; and for a markup that is not accepted.
    """
    found = import_prices(version, effective_at, models, markup=markup)
    for each in found.refused:
        raise InvalidCommand("models", each.model, f"one without {each.key}: {each.reason}")
    if found.book is None:
        raise InvalidCommand("models", (), "at least one model with a price")
    return found.book


def import_prices(
    version: str,
    effective_at: datetime,
    models: Iterable[Model | str | tuple[str, str]],
    *,
    markup: str | int | Decimal = 1,
    progress: Callable[[int], None] | None = None,
) -> Import:
    """As :func:`price_book`, and tells what of the source is not in the book, instead of raising.

    Args:
        version: The book's name, unique for ever.
        effective_at: From when it holds, UTC; the prices are those of that time.
        models: :class:`Model` values, model ids, or ``(provider, id)``.
        markup: An exact factor above 0, as text, int or `Decimal`.
        progress: Is told after each model how many were looked at.

    Returns:
        The book, what of the models' prices it does not have and why, and which models have other
        prices from a later date.

    Raises:
        NotFound: For a model that genai-prices does not list under exactly that id.
        InvalidCommand: For two models of one name, and for a markup that is not accepted.
    """
    by = factor(markup)
    micros("effective_at", effective_at)
    day = effective_at.astimezone(UTC).date()
    prices: dict[str, dict[str, Price]] = {}
    known: dict[str, dict[str, ModelInfo]] = {}
    refused: list[Refused] = []
    later: list[Later] = []
    source_of: dict[str, str] = {}
    for number, each in enumerate(models, 1):
        wanted = _wanted(each)
        if wanted.resource in prices:
            raise InvalidCommand("models", wanted.resource, "each name once")
        provider = _provider(wanted)
        listed = _Listed(wanted, provider, _listed(wanted, provider, known), day)
        prices[wanted.resource] = listed.prices(by, refused)
        source_of[wanted.resource] = listed.name
        later += listed.later()
        if progress is not None:
            progress(number)
    book, too_fine = checked(version, effective_at, prices, source_of)
    return Import(book, (*refused, *too_fine), tuple(later))


def listed_models(patterns: Iterable[str] = ("*",)) -> tuple[list[Model], list[Refused]]:
    """The models of the source whose ``provider/id`` fits one of the patterns, under their ids; and
    those whose id several providers have, which are not among them."""
    chosen = tuple(patterns)
    found: dict[str, list[str]] = {}
    for provider in _providers:
        for each in provider.models:
            name = f"{provider.id}/{each.id}"
            if any(fnmatchcase(name, pattern) for pattern in chosen):
                found.setdefault(each.id, []).append(provider.id)
    models = [Model(id, of[0]) for id, of in found.items() if len(of) == 1]
    reason = "several providers have it: name one, such as with the pattern 'openai/*'"
    refused = [
        Refused(f"{provider}/{id}", "id", id, reason)
        for id, of in found.items() if len(of) > 1 for provider in of
    ]  # fmt: skip
    return models, refused


class _Listed:
    """One model as the source has it on a day."""

    def __init__(self, wanted: Model, provider: Provider, listed: ModelInfo, day: date) -> None:
        self.name = f"{provider.id}/{listed.id}"
        self._least = _LEAST.get((provider.id, listed.id), 0)
        self._listed = listed
        self._day = day
        self._tokens = wanted.request_tokens
        # The last whose condition holds counts: those of hours that come after the one that
        # holds whenever, the last first.
        self._by_hours: list[tuple[Hours, ModelPrice]] = []
        self._base = self._at(day)
        self._variants = [each for each in listed.price_variants or () if self._begun(each)]

    def _begun(self, each: source.ConditionalPrice | source.PriceVariant) -> bool:
        limit = each.constraint
        return not isinstance(limit, source.StartDateConstraint) or limit.start_date <= self._day

    def _at(self, day: date) -> ModelPrice:
        listed = self._listed.prices
        if isinstance(listed, source.ModelPrice):
            return listed
        for each in reversed(listed):
            if isinstance(each.constraint, source.TimeOfDateConstraint):
                hours = _hours(each.constraint)
                if hours is not None:
                    self._by_hours.append((hours, each.prices))
            elif self._begun(each):
                return each.prices
        return listed[0].prices

    def later(self) -> Iterator[Later]:
        listed = self._listed.prices
        several = [] if isinstance(listed, source.ModelPrice) else listed
        days = {
            each.constraint.start_date
            for each in (*several, *(self._listed.price_variants or ()))
            if isinstance(each.constraint, source.StartDateConstraint) and not self._begun(each)
        }
        for day in sorted(days):
            yield Later(self.name, datetime.combine(day, time(), UTC))

    def _sets(self) -> Iterator[ModelPrice]:
        yield self._base
        yield from (prices for _, prices in self._by_hours)
        yield from (each.prices for each in self._variants)

    def prices(self, markup: Decimal, refused: list[Refused]) -> dict[str, Price]:
        """Its prices by component; what of it is refused is added to a list."""
        keys = {key: value for prices in self._sets() for key, value in _said(prices).items()}
        if not keys:
            refused.append(self._refused("prices", None, "the source has no price of it"))
        for key, value in keys.items():
            if key not in _KEYS:
                refused.append(self._refused(key, value, "no component is counted by it"))
        hours = tuple(each for each, _ in self._by_hours)
        if any(isinstance(each.constraint, source.TimeOfDateConstraint) for each in self._variants):
            reason = "a variant with hours of its own cannot be said"
            refused.append(self._refused("price_variants", self._variants, reason))
            return {}
        if any(_begins_in(one, other) for one in hours for other in hours if one is not other):
            refused.append(self._refused("prices", hours, "hours that overlap cannot be said"))
            return {}
        facts, by_fact = self._facts()
        axes = [self._sizes(), hours, *by_fact]
        maker = Maker(markup, facts)
        found: dict[str, Price] = {}
        for component, sold in _SOLD.items():
            try:
                price = maker.price(
                    axes, self._rate(component, sold.keys), per=sold.per, unit=sold.unit,
                    minimum=self._least if component.endswith("audio_duration") else 0,
                )  # fmt: skip
            except InvalidCommand as error:
                own = next(key for key in sold.keys if key in keys)
                reason = f"no price can say it: expected {error.expected}"
                refused.append(self._refused(own, keys[own], reason))
            else:
                if price is not None:
                    found[component] = price
        return found

    def _refused(self, key: str, value: object, reason: str) -> Refused:
        return Refused(self.name, key, "" if value is None else str(value), reason)

    def _sizes(self) -> Axis:
        if self._tokens is not None:
            return ()
        starts = {
            tier.start
            for prices in self._sets()
            for value in _said(prices).values()
            if isinstance(value, source.TieredPrices)
            for tier in value.tiers
        }
        return tuple(SizeAbove(start, PROMPT) for start in sorted(starts, reverse=True))

    def _facts(self) -> tuple[list[Fact], list[Axis]]:
        """The facts that variants name, with their values: a batch is a service tier."""
        values: dict[str, list[str]] = {}
        for variant in self._variants:
            for key, value in variant.when.items():
                name, said = _fact(key, value)
                known = values.setdefault(name, [])
                if said not in known:
                    known.append(said)
        facts: list[Fact] = []
        axes: list[Axis] = []
        for name, known in values.items():
            unsaid = _UNSAID.get(name, "default")
            more = TIERS if name == "service_tier" else ()
            facts.append(Fact(name, dict.fromkeys((unsaid, *more, *known)), unsaid))
            axes.append(tuple(FactIs(name, each) for each in known if each != unsaid))
        return facts, axes

    def _rate(self, component: str, keys: tuple[str, ...]) -> Callable[[Case], Decimal | None]:
        def rate(case: Case) -> Decimal | None:
            size = self._tokens or 0
            context: dict[str, str] = {}
            standing = self._base
            for each in case:
                match each:
                    case SizeAbove(bound):
                        size = bound + 1
                    case FactIs(name, value):
                        context[name] = value
                    case Hours():
                        standing = dict(self._by_hours)[each]
                    case None:
                        pass
            found = _said(standing) | self._overrides(context)
            own = next((found[key] for key in keys if key in found), None)
            return None if own is None else _amount(self.name, component, own, size)

        return rate

    def _overrides(self, context: Mapping[str, str]) -> dict[str, object]:
        """What variants say instead, each key as the first of them has it that applies."""
        found: dict[str, object] = {}
        for variant in self._variants:
            wanted = dict(_fact(*each) for each in variant.when.items())
            if all(context.get(name) == value for name, value in wanted.items()):
                found = _said(variant.prices) | found
        return found


def _fact(key: str, value: str) -> tuple[str, str]:
    """What the source says of a request, as a fact."""
    if key == "processing":
        return "service_tier", value
    if key == "service_tier" and value == "default":
        return key, "standard"
    return key, value


def _hours(limit: source.TimeOfDateConstraint) -> Hours | None:
    """Its hours in UTC; None where it never holds."""
    start, end = _utc(limit.start_time), _utc(limit.end_time)
    return None if start == end else Hours(start, end)


def _utc(at: time) -> time:
    if at.tzinfo is None:
        return at
    return datetime.combine(date(1970, 1, 2), at).astimezone(UTC).time()


def _begins_in(one: Hours, other: Hours) -> bool:
    """Whether hours of every day begin while others hold."""
    return other.at(micros("start", datetime.combine(date(2000, 1, 1), one.start, UTC)))


def _said(prices: ModelPrice) -> dict[str, object]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _amount(name: str, component: str, found: object, size: int) -> Decimal:
    """In dollars; never through a float."""
    amount = found
    if isinstance(found, source.TieredPrices):
        amount = found.base
        for tier in sorted(found.tiers, key=lambda tier: tier.start):
            if size > tier.start:
                amount = tier.price
    if not isinstance(amount, Decimal) or not amount.is_finite() or amount < 0:
        raise InvalidCommand("models", name, f"a Decimal price of {component}: {amount!r}")
    return amount


def _wanted(each: Model | str | tuple[str, str]) -> Model:
    if isinstance(each, Model):
        return each
    if isinstance(each, str):
        return Model(each)
    if isinstance(each, tuple) and len(each) == 2:
        return Model(each[1], each[0])
    raise InvalidCommand("models", each, "a Model, a model id or (provider, model id)")


def _listed(wanted: Model, provider: Provider, known: dict[str, dict[str, ModelInfo]]) -> ModelInfo:
    """The model of exactly this id: near misses have other prices.  ``known``: those of the
    providers that were asked for, by id."""
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
