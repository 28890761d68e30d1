"""The importer of real model prices."""

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from call_counts import calls
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ClauseContains,
    ClauseEquals,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from genai_prices.types import Usage as SourceUsage

from billing_adapters.genai import Model, import_prices, listed_models, price_book
from billing_adapters.price_lists import PROMPT, Later
from billing_core import (
    Billing,
    InvalidCommand,
    NotFound,
    Price,
    PriceBook,
    SizeAbove,
    Usage,
    tokens,
    usd,
)
from billing_core.pricing.conditions import Request
from billing_core.pricing.price_book import load_book
from billing_core.testing import MemoryStore, SettableClock
from billing_core.values.times import micros

DEPTH = int(os.environ.get("BILLING_TEST_DEPTH", "1"))
OUTPUT = (
    "output", "output_audio", "output_image", "output_video", "reasoning", "citation",
    "accepted_prediction", "rejected_prediction",
)  # fmt: skip
AT = datetime(2026, 3, 1, tzinfo=UTC)
Prices = dict[str, Fraction]


def priced(**prices: str | TieredPrices) -> ModelPrice:
    return ModelPrice(
        **{k: v if isinstance(v, TieredPrices) else Decimal(v) for k, v in prices.items()}
    )


def levels(base: str, above: int, price: str) -> TieredPrices:
    return TieredPrices(Decimal(base), [Tier(above, Decimal(price))])


CHANGED_ON = date(2025, 6, 10)
PEAK = TimeOfDateConstraint(time(9, tzinfo=UTC), time(17, tzinfo=UTC))

INVENTED: dict[str, ModelPrice | list[ConditionalPrice]] = {
    "plain": priced(input_mtok="2.5", output_mtok="10"),
    "own": priced(
        input_mtok="3", output_mtok="15", cache_read_mtok="0.3", cache_write_mtok="3.75",
        cache_write_1h_mtok="6", output_reasoning_mtok="20", web_searches_kcount="10",
    ),
    "embedding": priced(input_mtok="0.13"),
    "free": priced(input_mtok="0", output_mtok="0"),
    "dated": [
        ConditionalPrice(prices=priced(input_mtok="10", output_mtok="40")),
        ConditionalPrice(
            StartDateConstraint(CHANGED_ON), prices=priced(input_mtok="2", output_mtok="8")
        ),
    ],
    "sized": priced(input_mtok=levels("1.25", 200_000, "2.5"), output_mtok="10"),
    "off-peak": [
        ConditionalPrice(prices=priced(input_mtok="1", output_mtok="2")),
        ConditionalPrice(PEAK, prices=priced(input_mtok="2", output_mtok="4")),
    ],
    "once-off-peak": [
        ConditionalPrice(PEAK, prices=priced(input_mtok="2", output_mtok="4")),
        ConditionalPrice(
            StartDateConstraint(CHANGED_ON), prices=priced(input_mtok="3", output_mtok="6")
        ),
    ],
    "fee": priced(input_mtok="1", output_mtok="1", requests_kcount="5"),
    "speech": priced(audio_hours="0.36"),
    "varied": priced(input_mtok="4", output_mtok="16"),
    "odd-one": priced(input_mtok="4", input_tool_mtok="16"),
    "unsold-one": priced(),
    "overlapping": [
        ConditionalPrice(prices=priced(input_mtok="1")),
        ConditionalPrice(PEAK, prices=priced(input_mtok="2")),
        ConditionalPrice(
            TimeOfDateConstraint(time(16, tzinfo=UTC), time(1, tzinfo=UTC)),
            prices=priced(input_mtok="3"),
        ),
    ],
}  # fmt: skip
VARIANTS = {
    "varied": [
        PriceVariant({"processing": "batch"}, priced(input_mtok="2", output_mtok="8")),
        PriceVariant({"speed": "fast"}, priced(input_mtok="16", output_mtok="64")),
        PriceVariant(
            {"service_tier": "flex"}, priced(input_mtok="1"),
            StartDateConstraint(date(2026, 6, 1)),
        ),
    ]
}  # fmt: skip


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source whose prices do not change with its releases."""
    models = [
        ModelInfo(name, ClauseStartsWith(name), prices=prices, price_variants=VARIANTS.get(name))
        for name, prices in INVENTED.items()
    ]
    provider = Provider("maker", "Maker", "", model_match=ClauseContains("e"), models=models)
    reseller = Provider(
        "reseller", "", "", models=[ModelInfo("plain", ClauseEquals("plain"), prices=priced(
            input_mtok="2.75", output_mtok="11"))],
    )  # fmt: skip
    monkeypatch.setattr("billing_adapters.genai._providers", [provider, reseller])


def imported(model: Model | str | tuple[str, str], at: datetime = AT, **options: str) -> Prices:
    [prices] = price_book("v1", at, [model], **options).prices.values()
    return {name: Fraction(each.function.nanos, each.function.per) for name, each in prices.items()}


def part(book: PriceBook, component: str) -> Price:
    [parts] = book.prices.values()
    price = parts[component]
    assert price is not None
    return price


def nanos(
    price: Price,
    quantities: dict[str, int],
    facts: dict[str, str] | None = None,
    at: datetime = AT,
) -> Fraction:
    """What the first component of a request costs, exactly."""
    choice = price.choice(Request.measured(micros("at", at), (facts or {}).items(), quantities))
    assert choice is not None
    quantity = next(iter(quantities.values()))
    return Fraction(*price.chosen(choice).function.between(0, quantity))


def dollars(amount: str, markup: str = "1") -> Fraction:
    """Nanos per token of a price per million, by arithmetic of its own."""
    return Fraction(amount) * Fraction(markup) * 10**9 / 10**6


@pytest.mark.usefixtures("invented")
def test_prices_are_the_source_s_times_the_markup_exactly() -> None:
    prices = imported(("maker", "plain"), markup="1.2345")
    assert prices["input"] == dollars("2.5", "1.2345")
    assert prices["output"] == dollars("10", "1.2345")
    assert imported(("reseller", "plain"))["input"] == dollars("2.75")


@pytest.mark.usefixtures("invented")
def test_what_has_no_price_of_its_own_has_that_of_what_contains_it() -> None:
    prices = imported(("maker", "plain"))
    assert {name for name, price in prices.items() if price == dollars("2.5")} == {*PROMPT}
    assert {name for name, price in prices.items() if price == dollars("10")} == {*OUTPUT}
    assert imported("embedding").keys() == {*PROMPT}
    assert set(imported("free").values()) == {0}


@pytest.mark.usefixtures("invented")
def test_an_own_price_is_kept() -> None:
    prices = imported(("maker", "own"))
    assert prices["input"] == prices["input_audio"] == dollars("3")
    assert prices["output"] == prices["citation"] == dollars("15")
    assert prices["cached_read"] == prices["cached_read_explicit"] == dollars("0.3")
    assert prices["cache_write"] == prices["cache_write_12h"] == dollars("3.75")
    assert prices["cache_write_1h"] == dollars("6")
    assert prices["reasoning"] == dollars("20")
    assert prices["web_searches"] == dollars("10") * 1_000
    assert imported("speech")["audio_duration"] == Fraction("0.36") / 3_600 * 10**9
    assert imported("fee")["requests"] == dollars("5") * 1_000


def test_nothing_of_a_model_call_goes_unpriced() -> None:
    billing = Billing(MemoryStore(), clock=SettableClock(AT))
    billing.publish(price_book("v1", AT, ["gpt-4o", "claude-haiku-4-5"]))
    billing.open_account("acme")
    billing.grant("acme", "g", usd(5))
    for name in ("gpt-4o", "claude-haiku-4-5"):
        used = tokens(
            name, input=1_000, output=500, cached_read=300, cache_write=200, reasoning=100,
            input_includes_cached=True, output_includes_reasoning=True,
        )  # fmt: skip
        assert billing.settle("acme", name, used).unpriced == ()


def test_provider_cost_and_markup_do_not_show() -> None:
    wanted = [Model("claude-haiku-4-5", "anthropic", name="fast")]
    body = price_book("spring", AT, wanted, markup="1.37").body()
    for secret in ("anthropic", "claude", "haiku", "1.37", "markup", "genai"):
        assert secret not in body
    assert '"model:fast"' in body


@pytest.mark.usefixtures("invented")
def test_the_price_is_that_of_the_book_s_date() -> None:
    changed = datetime.combine(CHANGED_ON, time(), UTC)
    assert imported("dated", changed)["input"] == dollars("2")
    assert imported("dated", changed - timedelta(microseconds=1))["input"] == dollars("10")
    elsewhere = changed.astimezone(timezone(timedelta(hours=-8)))
    assert imported("dated", elsewhere)["input"] == dollars("2")


@pytest.mark.usefixtures("invented")
def test_off_peak_hours_that_are_over_do_not_matter() -> None:
    changed = datetime.combine(CHANGED_ON, time(), UTC)
    assert imported("once-off-peak", changed)["input"] == dollars("3")
    [parts] = price_book("v1", changed, ["once-off-peak"]).prices.values()
    assert not parts["input"].varies  # type: ignore[union-attr]


@pytest.mark.usefixtures("invented")
def test_hours_are_variants() -> None:
    """The last of the source's prices whose hours it is counts, else the one of all day."""
    price = part(price_book("v1", AT, ["off-peak"]), "input")

    def at(hour: int, minute: int = 0) -> Fraction:
        return nanos(price, {"input": 1}, at=AT.replace(hour=hour, minute=minute))

    assert [at(8, 59), at(9), at(16, 59), at(17)] == [
        dollars(each) for each in ("1", "2", "2", "1")
    ]
    before = datetime.combine(CHANGED_ON, time(), UTC) - timedelta(days=1)
    price = part(price_book("v1", before, ["once-off-peak"]), "input")
    # None of its prices is for these hours: then the source takes the first.
    assert nanos(price, {"input": 1}, at=before) == dollars("2")


@pytest.mark.usefixtures("invented")
def test_what_comes_later_is_told() -> None:
    before = datetime.combine(CHANGED_ON, time(), UTC) - timedelta(days=1)
    found = import_prices("v1", before, ["dated", ("maker", "plain")])
    assert found.later == (Later("maker/dated", before + timedelta(days=1)),)
    assert import_prices("v1", AT, ["dated"]).later == ()


def test_the_book_is_dated() -> None:
    assert price_book("v1", AT, ["gpt-4o"]).effective_at == AT
    with pytest.raises(InvalidCommand, match="time zone"):
        price_book("v1", AT.replace(tzinfo=None), ["gpt-4o"])


@pytest.mark.usefixtures("invented")
def test_prices_by_the_size_of_a_request_are_variants_unless_one_level_is_named() -> None:
    price = part(price_book("v1", AT, ["sized"]), "input")
    assert nanos(price, {"input": 200_000}) == dollars("1.25") * 200_000
    assert nanos(price, {"input": 200_001}) == dollars("2.5") * 200_001
    assert nanos(price, {"input": 1, "cached_read": 200_000}) == dollars("2.5")
    assert imported(Model("sized", request_tokens=200_000))["input"] == dollars("1.25")
    assert imported(Model("sized", request_tokens=200_001))["input"] == dollars("2.5")
    models = [
        Model("sized", request_tokens=1),
        Model("sized", name="sized-long", request_tokens=200_001),
    ]
    assert price_book("v1", AT, models).prices.keys() == {"model:sized", "model:sized-long"}


@pytest.mark.usefixtures("invented")
def test_what_the_request_was_is_a_fact() -> None:
    parts = price_book("v1", AT, ["varied"]).prices["model:varied"]

    def per_token(component: str, **facts: str) -> Fraction:
        return nanos(parts[component], {component: 1}, facts)  # type: ignore[arg-type]

    assert per_token("input") == per_token("input", service_tier="standard") == dollars("4")
    assert per_token("input", service_tier="batch") == dollars("2")
    assert per_token("output", service_tier="batch") == dollars("8")
    # A tier that the source says nothing of costs what the standard one does.
    assert per_token("input", service_tier="flex") == dollars("4")
    assert per_token("input", speed="fast") == dollars("16")
    # The first of the source's variants that applies has each price that it names.
    assert per_token("input", service_tier="batch", speed="fast") == dollars("2")
    assert per_token("output", service_tier="batch", speed="fast") == dollars("8")
    price = part(price_book("v1", AT, ["varied"]), "input")
    assert price.unknown({"service_tier": "golden"})
    early = datetime(2025, 1, 1, tzinfo=UTC)
    found = import_prices("v1", early, ["varied"])
    assert found.later == (Later("maker/varied", datetime(2026, 6, 1, tzinfo=UTC)),)


@pytest.mark.usefixtures("invented")
def test_what_a_book_cannot_say_is_refused_with_the_reason() -> None:
    found = import_prices("v1", AT, ["odd-one", "unsold-one", "overlapping", ("maker", "plain")])
    assert [(each.model, each.key) for each in found.refused] == [
        ("maker/odd-one", "input_tool_mtok"),
        ("maker/unsold-one", "prices"),
        ("maker/overlapping", "prices"),
    ]
    assert found.book is not None and found.book.prices.keys() == {"model:odd-one", "model:plain"}
    with pytest.raises(InvalidCommand, match="no component"):
        price_book("v1", AT, ["odd-one"])
    with pytest.raises(InvalidCommand, match="no price of it"):
        price_book("v1", AT, ["unsold-one"])
    with pytest.raises(InvalidCommand, match="at least one"):
        price_book("v1", AT, [])


@pytest.mark.usefixtures("invented")
def test_an_unknown_model_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(NotFound, match=r"sized-2026.*did you mean 'sized'"):
        imported("sized-2026")
    with pytest.raises(NotFound, match="never heard of"):
        imported("never heard of")
    with pytest.raises(NotFound, match="name its provider"):
        imported("x")
    with pytest.raises(NotFound, match=r"nobody.*known: maker, reseller"):
        imported(("nobody", "plain"))


@pytest.mark.parametrize("markup", [1.2, "0", "-1", "NaN", "1e10000000", True])
def test_a_markup_is_an_exact_positive_factor(markup: object) -> None:
    with pytest.raises(InvalidCommand):
        price_book("v1", AT, ["gpt-4o"], markup=markup)


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidCommand, match="once"):
        price_book("v1", AT, ["gpt-4o", Model("o3", name="gpt-4o")])


def test_the_source_has_no_floats() -> None:
    """What the importer relies on, over all that the installed release has."""

    def amounts(price: ModelPrice) -> Iterator[Decimal]:
        for value in vars(price).values():
            if isinstance(value, TieredPrices):
                yield value.base
                yield from (tier.price for tier in value.tiers)
            elif value is not None:
                yield value

    checked = 0
    for provider in providers:
        for model in provider.models:
            dated = [model.prices] if isinstance(model.prices, ModelPrice) else model.prices
            for each in dated:
                for amount in amounts(each if isinstance(each, ModelPrice) else each.prices):
                    assert type(amount) is Decimal and amount.is_finite() and amount >= 0
                    checked += 1
    assert checked > 1_000


@pytest.mark.usefixtures("invented")
def test_a_float_from_the_source_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(INVENTED["embedding"], "input_mtok", 2.5)
    with pytest.raises(InvalidCommand, match="a Decimal price of input"):
        imported("embedding")


# -- all that the installed release has ----------------------------------------------

REPORTED = {
    "input": "input", "input_audio": "input_audio", "input_image": "input_image",
    "input_video": "input_video", "cached_read": "cache_read",
    "cached_read_audio": "cache_audio_read", "cached_read_image": "cache_image_read",
    "cached_read_video": "cache_video_read", "cached_read_explicit": "cache_read",
    "cache_write": "cache_write_5m", "cache_write_1h": "cache_write_1h",
    "cache_write_12h": "cache_write", "cache_write_audio": "cache_audio_write_5m",
    "cache_write_image": "cache_image_write_5m", "cache_write_video": "cache_video_write_5m",
    "output": "output", "output_audio": "output_audio", "output_image": "output_image",
    "output_video": "output_video", "reasoning": "output_reasoning",
    "citation": "output_citation", "accepted_prediction": "output",
    "rejected_prediction": "output",
    "characters": "input_characters", "text_messages": "input_text_messages",
    "audio_duration": "audio_seconds", "input_audio_duration": "input_audio_seconds",
    "output_audio_duration": "output_audio_seconds", "pixels": "input_pixels",
    "pages": "input_document_pages", "annotated_pages": "input_annotated_document_pages",
    "rerank_searches": "rerank_searches", "web_searches": "web_searches",
    "social_searches": "social_searches", "file_searches": "storage_searches",
    "code_executions": "code_executions",
}  # fmt: skip
"""Under which name the source is told a component; tokens without their ending."""


def reported(quantities: dict[str, int]) -> SourceUsage:
    """The usage as the source has it: a number for each name, with all that it contains."""
    told: Counter[str] = Counter()
    for component, quantity in quantities.items():
        if component == "requests":
            continue
        name = REPORTED[component]
        key = name if name in unit_data else f"{name}_tokens"
        mine = unit_data[key]["dimensions"].items()
        for other, unit in unit_data.items():
            if unit["dimensions"].items() <= mine:
                told[other] += quantity
    return SourceUsage(**told)


def within(chance: random.Random, price: Price, components: list[str]) -> dict[str, int]:
    bounds = [
        each.bound + step
        for when in price.conditions() for each in when if isinstance(each, SizeAbove)
        for step in (0, 1)
    ] or [chance.randrange(1, 400_000)]  # fmt: skip
    size = chance.choice(bounds)
    found = {name: chance.randrange(3_000) for name in components if name not in PROMPT}
    prompt = [name for name in components if name in PROMPT]
    cuts = sorted(chance.randrange(size + 1) for _ in prompt[1:])
    parts = [end - start for start, end in zip([0, *cuts], [*cuts, size], strict=True)]
    found |= dict(zip(prompt, parts, strict=True)) if prompt else {}
    return found | ({"requests": 1} if "requests" in components else {})


CONTEXTS = [
    ({}, {}), ({"service_tier": "batch"}, {"processing": "batch"}), ({"speed": "fast"},) * 2,
    *(({"service_tier": each},) * 2 for each in ("flex", "priority", "fast", "ultrafast")),
    ({"service_tier": "batch", "speed": "fast"}, {"processing": "batch", "speed": "fast"}),
    ({"route": "mistral/eu"},) * 2, ({"search_type": "fast"},) * 2, ({"search_type": "web"},) * 2,
]  # fmt: skip


@pytest.mark.slow
def test_every_model_costs_what_the_source_calculates_to_the_nano() -> None:
    chance = random.Random(20261130)
    day = datetime(2026, 11, 30, tzinfo=UTC)
    listed = [(provider, each) for provider in providers for each in provider.models]
    models = [Model(each.id, of.id, name=f"{of.id}/{each.id}") for of, each in listed]
    found = import_prices("v1", day, models)
    assert found.book is not None
    book = load_book(found.book.body())
    changing = {each.model for each in found.later}
    unsold = {each.model for each in found.refused}
    assert {each.reason for each in found.refused} == {"the source has no price of it"}
    counts: Counter[str] = Counter()
    for provider, each in listed:
        counts["models"] += 1
        name = f"{provider.id}/{each.id}"
        prices = {k: v for k, v in book.prices.get(f"model:{name}", {}).items() if v is not None}
        if not prices:
            assert name in unsold
            counts["without a price"] += 1
            continue
        varied = max(prices.values(), key=lambda price: len(price.variants))
        asked = [CONTEXTS[0], *CONTEXTS] if varied.varies else CONTEXTS[:1]
        for facts, context in asked * max(DEPTH, 2):
            days = 1 if name in changing else 7
            at = day + timedelta(minutes=chance.randrange(days * 24 * 60))
            known = [component for component, price in prices.items() if not price.unknown(facts)]
            if "audio_duration" in known:  # the same audio, told with or without its direction
                either = ("audio_duration", "input_audio_duration", "output_audio_duration")
                known = [each for each in known if each not in either]
                known.append(chance.choice([each for each in either if each in prices]))
            if "pages" in known and "annotated_pages" in known:
                known.remove(chance.choice(["pages", "annotated_pages"]))
            quantities = within(chance, varied, known)
            theirs = each.calc_price(
                reported(quantities), provider, genai_request_timestamp=at, price_context=context
            ).total_price
            scaled = {
                name: quantity * (1_000_000 if name.endswith("_duration") else 1)
                for name, quantity in quantities.items()
            }
            request = Request.measured(micros("at", at), facts.items(), scaled)
            ours = Fraction(0)
            for component, quantity in quantities.items():
                price = prices[component]
                choice = price.choice(request)
                assert choice is not None
                ours += Fraction(*price.chosen(choice).function.between(0, price.billed(quantity)))
                counts["charges"] += bool(quantity)
            # The source divides decimals of 28 digits: its own last digits are not exact.
            told = (name, quantities, facts, at, float(ours), theirs)
            assert abs(ours - Fraction(theirs) * 10**9) < Fraction(1, 10**9), told
            exact = Fraction(theirs).limit_denominator(10**18) * 10**9
            assert floor(ours) == floor(exact), told
            counts["requests"] += 1
    print(dict(counts), found.later)
    assert counts["models"] > 2_000 and counts["charges"] > 20_000


def test_the_least_that_a_request_counts_as_is_the_source_s() -> None:
    price = part(price_book("v1", AT, [("groq", "whisper-large-v3")]), "audio_duration")
    [provider] = [of for of in providers if of.id == "groq"]
    [listed] = [each for each in provider.models if each.id == "whisper-large-v3"]
    for seconds in (1, 10, 11):
        theirs = listed.calc_price(
            SourceUsage(audio_seconds=seconds, input_audio_seconds=seconds), provider
        )
        ours = Fraction(*price.function.between(0, price.billed(seconds)))
        assert (
            ours.limit_denominator(10**9)
            == Fraction(theirs.total_price).limit_denominator(10**9) * 10**9
        )


def test_an_engine_charges_what_the_source_calculates() -> None:
    day = datetime(2026, 11, 30, tzinfo=UTC)
    listed = {each.id: each for of in providers if of.id == "anthropic" for each in of.models}
    [provider] = [of for of in providers if of.id == "anthropic"]
    models = [Model(name, "anthropic") for name in listed]
    found = import_prices("v1", day, models)
    assert found.book is not None
    billing = Billing(MemoryStore(), clock=SettableClock(day))
    billing.publish(found.book)
    billing.open_account("acme")
    settled = 0
    for name, each in listed.items():
        if f"model:{name}" not in found.book.prices:
            continue
        for facts, context in CONTEXTS[:3]:
            used = {"input": 210_000, "cached_read": 7, "cache_write": 5, "cache_write_1h": 3,
                    "output": 11, "reasoning": 2}  # fmt: skip
            usage = Usage.of(f"model:{name}", {k: v * 10**6 for k, v in used.items()}, facts=facts)
            charged = billing.settle("acme", f"{name} {facts}", usage)
            theirs = each.calc_price(
                reported({k: v * 10**6 for k, v in used.items()}), provider,
                genai_request_timestamp=day, price_context=context,
            ).total_price  # fmt: skip
            assert charged.amount == theirs * 10**9
            settled += 1
    assert settled > 50
    assert billing.verify().ok


def test_the_models_of_several_providers_are_told() -> None:
    models, refused = listed_models(["openai/*", "azure/*"])
    names = {each.model for each in refused}
    assert {"openai/o1-mini", "azure/o1-mini"} <= names
    assert all(each.provider in ("openai", "azure") for each in models)
    alone, none = listed_models(["openai/o1-mini"])
    assert alone == [Model("o1-mini", "openai")] and none == []


def test_without_genai_prices_the_error_says_what_to_install() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['genai_prices'] = None; import billing_adapters.genai",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'billing-core[prices]'" in done.stderr


def test_twice_as_many_models_of_twice_as_many_cost_twice_as_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is looked up, not sought among all of its provider's."""

    def importing(times: int) -> int:
        names = [f"m{number}" for number in range(times)]
        models = [
            ModelInfo(name, ClauseEquals(name), prices=priced(input_mtok="1")) for name in names
        ]
        provider = Provider("maker", "Maker", "", model_match=ClauseContains("m"), models=models)
        monkeypatch.setattr("billing_adapters.genai._providers", [provider])
        return calls(lambda: price_book("v1", AT, names))

    importing(10)
    once, twice = importing(100), importing(200)
    assert twice <= 2.2 * once, (once, twice)
