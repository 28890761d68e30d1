"""The importer of a file in LiteLLM's format."""

import gzip
import os
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import pytest
from litellm_costs import LADDERS, PROMPT, Reckoning

from billing_adapters.litellm_prices import import_prices, read_prices
from billing_core import (
    Billing,
    Hours,
    InvalidCommand,
    Price,
    SizeAbove,
    Usage,
    tokens,
    usd,
)
from billing_core.pricing.catalogue import Catalogue
from billing_core.pricing.conditions import Request
from billing_core.pricing.functions import charge
from billing_core.pricing.price_book import load_book
from billing_core.testing import MemoryStore, SettableClock
from billing_core.values.times import micros

PROJECT = Path(__file__).parents[3]
FILE = Path(
    os.environ.get("BILLING_MODEL_PRICES")
    or PROJECT / "../shared/data/litellm_model_prices.json.gz"
)
DEPTH = int(os.environ.get("BILLING_TEST_DEPTH", "1"))
AT = datetime(2026, 11, 30, tzinfo=UTC)
TIERS = ("standard", "batch", "flex", "priority", "fast", "balanced", "ultrafast", "decisions")
NO_MODELS = {"sample_spec", "fallback_generalizations"}
SAYS_A_PRICE = re.compile(
    r".*(cost|pric|uplift|multiplier|search_free).*|alias_of|provider_specific_entry"
)

Entries = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def real() -> Entries:
    if not FILE.is_file():
        pytest.skip(f"no {FILE}: BILLING_MODEL_PRICES says where it is")
    return read_prices(FILE)


def imported(entry: Mapping[str, object], **options: Any) -> dict[str, Price]:
    """The prices of one entry, nothing of which is refused."""
    found = import_prices("v1", AT, {"m": entry}, **options)
    assert found.refused == ()
    assert found.book is not None
    return dict(found.book.prices["model:m"])  # type: ignore[arg-type]


def refused(entry: Mapping[str, object]) -> dict[str, str]:
    return {each.key: each.reason for each in import_prices("v1", AT, {"m": entry}).refused}


def asked(
    price: Price,
    quantities: Mapping[str, int],
    component: str,
    facts: Mapping[str, str] | None = None,
    at: datetime = AT,
) -> int:
    """The nanos of a component of a request, the first of its period."""
    request = Request.measured(micros("at", at), (facts or {}).items(), quantities)
    choice = price.choice(request)
    assert choice is not None
    nanos, _ = charge(price.chosen(choice).function, 0, quantities[component], (0, 1), 0)
    return nanos


def rate(price: Price, facts: Mapping[str, str] | None = None, size: int = 1) -> Fraction:
    """Dollars for one, of a request with so many input tokens."""
    choice = price.choice(
        Request.measured(micros("at", AT), (facts or {}).items(), {"input": size})
    )
    assert choice is not None
    nanos, per = price.chosen(choice).function.between(0, 1)
    return Fraction(nanos, per) / 10**9


# -- examples ---------------------------------------------------------------------


def test_a_price_is_read_as_it_is_written_and_never_as_a_float(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"m": {"input_cost_per_token": 2.0000000000000002e-07}}')
    assert rate(imported(read_prices(file)["m"])["input"]) == Fraction("2.0000000000000002e-07")
    marked_up = imported(read_prices(file)["m"], markup="1.25")["input"]
    assert rate(marked_up) == Fraction("2.50000000000000025e-07")
    # What is more than a price can say is told, and not rounded to what it can.
    long = {"input_cost_per_token": Decimal("0.00000" + "1".ljust(30, "0") + "1")}
    assert "no price can say it" in refused(long)["input_cost_per_token"]
    assert "no number" in refused({"input_cost_per_token": 2e-07})["input_cost_per_token"]
    for number in ("1e-61", "1e60", "NaN", "1e999999", "x", "-1", True, [], "0." + 70 * "1"):
        assert "no number" in refused({"input_cost_per_token": number})["input_cost_per_token"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"m":' * 100_000, '{"m": 1}', "{", '{"m": {"input_cost_per_token": 1e}}']
)
def test_what_is_no_such_file_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(text)
    with pytest.raises(InvalidCommand):
        read_prices(file)
    zipped = tmp_path / "prices.json.gz"
    zipped.write_text(text)
    with pytest.raises(InvalidCommand):
        read_prices(zipped)
    zipped.write_bytes(gzip.compress(b'{"m": {}}')[:-12] + 12 * b"x")
    with pytest.raises(InvalidCommand):
        read_prices(zipped)
    zipped.write_bytes(gzip.compress(b'{"m": {}}'))
    assert read_prices(zipped) == {"m": {}}


def test_sizes_and_tiers_are_variants_the_whole_request_at_one_price() -> None:
    prices = imported(
        {
            "input_cost_per_token": Decimal("2e-6"),
            "input_cost_per_token_above_272k_tokens": Decimal("4e-6"),
            "input_cost_per_token_batches": Decimal("1e-6"),
            "input_cost_per_token_above_272k_tokens_batches": Decimal("2e-6"),
            "input_cost_per_token_priority": Decimal("5e-6"),
        }
    )
    price = prices["input"]
    batch, priority = {"service_tier": "batch"}, {"service_tier": "priority"}
    assert rate(price, size=272_000) == Fraction("2e-6")
    assert rate(price, size=272_001) == Fraction("4e-6")
    assert rate(price, batch, 272_000) == Fraction("1e-6")
    assert rate(price, batch, 272_001) == Fraction("2e-6")
    assert rate(price, priority, 272_000) == Fraction("5e-6")
    # Where a tier says nothing of a size, the standard price of that size stands.
    assert rate(price, priority, 272_001) == Fraction("4e-6")
    assert rate(price, {"service_tier": "fast"}) == Fraction("5e-6")
    assert rate(price, {"service_tier": "flex"}) == Fraction("2e-6")
    assert len(price.variants) <= 5
    # What is cached counts to the request's size.
    cached = {"input": 1, "cached_read": 272_000}
    assert asked(price, cached, "input") == 4_000
    assert asked(prices["cached_read"], cached, "cached_read") == 272_000 * 4_000


def test_three_sizes_stand_in_their_order() -> None:
    prices = imported(
        {
            "input_cost_per_token": 1,
            "input_cost_per_token_above_32k_tokens": 2,
            "input_cost_per_token_above_200k_tokens": 3,
            "input_cost_per_token_batches": 4,
            "output_cost_per_token": 5,
            "output_cost_per_token_above_32k_tokens": 6,
            "output_cost_per_token_above_200k_tokens": 5,
        }
    )
    sizes = (32_000, 32_001, 200_000, 200_001)
    assert [rate(prices["input"], size=size) for size in sizes] == [1, 2, 2, 3]
    assert [rate(prices["output"], size=size) for size in sizes] == [5, 6, 6, 5]
    batch = {"service_tier": "batch"}
    assert [rate(prices["input"], batch, size) for size in sizes] == [4, 4, 4, 4]
    assert len(prices["input"].variants) == 3


def test_a_size_is_reached_at_its_bound_where_the_provider_has_it_so() -> None:
    prices = {"input_cost_per_token": 1, "input_cost_per_token_above_200k_tokens": 2}
    assert rate(imported(prices)["input"], size=200_000) == 1
    assert rate(imported({**prices, "litellm_provider": "xai"})["input"], size=200_000) == 2
    assert rate(imported({**prices, "litellm_provider": "xai"})["input"], size=199_999) == 1


def test_ranges_of_a_request_s_size_are_variants_too() -> None:
    prices = imported(
        {
            "tiered_pricing": [
                {"range": [0, 32_000], "input_cost_per_token": 1, "output_cost_per_token": 3},
                {
                    "range": [Decimal("32000.0"), 128_000],
                    "input_cost_per_token": 2,
                    "output_cost_per_token": 6,
                },
            ]
        }
    )  # fmt: skip
    assert [rate(prices["input"], size=n) for n in (32_000, 32_001, 10**7)] == [1, 2, 2]
    assert [rate(prices["cached_read"], size=n) for n in (32_000, 32_001)] == [1, 2]
    assert [rate(prices["reasoning"], size=n) for n in (32_000, 32_001)] == [3, 6]
    told = refused({"tiered_pricing": [{"range": [5, 9], "input_cost_per_token": 1}]})
    assert "one after the other" in told["tiered_pricing"]
    told = refused({"tiered_pricing": [{"max_results_range": [0, 25], "input_cost_per_query": 1}]})
    assert "how many results" in told["tiered_pricing"]


def test_off_peak_hours_are_those_of_the_weekday_where_the_provider_is() -> None:
    block = {
        "input_cost_per_token": 1,
        "windows": [
            {"hours_utc": ["15:00-17:00"], "weekdays": [5]},
            {"hours_utc": "22:00-01:00", "weekdays": ["sun"]},
        ],
    }
    entry = {"input_cost_per_token": 2, "output_cost_per_token": 9, "off_peak_pricing": block}

    def off_peak(entry: Mapping[str, object], *at: object) -> bool:
        price = imported(entry)["input"]
        moment = datetime(2026, 11, *at, tzinfo=UTC)  # type: ignore[arg-type, misc]
        return asked(price, {"input": 1}, "input", at=moment) == 10**9

    assert off_peak(entry, 27, 15) and off_peak(entry, 27, 16, 59, 59, 999_999)  # a Friday
    assert not off_peak(entry, 27, 14, 59, 59, 999_999) and not off_peak(entry, 27, 17)
    assert not off_peak(entry, 26, 16)
    # Hours over midnight are those of the day that it is, not that on which they began.
    assert off_peak(entry, 29, 0, 30) and off_peak(entry, 29, 23) and not off_peak(entry, 30, 0, 30)
    shanghai = {**entry, "off_peak_pricing": {**block, "weekday_timezone": "Asia/Shanghai"}}
    assert off_peak(shanghai, 27, 15, 59, 59) and not off_peak(shanghai, 27, 16)  # Saturday there
    assert off_peak(shanghai, 26, 16) and not off_peak(shanghai, 26, 15, 59, 59)
    assert imported(entry)["output"].variants == ()
    for zone in ("Europe/Berlin", "Nowhere/At_All"):
        told = refused({**entry, "off_peak_pricing": {**block, "weekday_timezone": zone}})
        assert zone in told["off_peak_pricing"]
    for wrong in ({"hours_utc": "25:00-26:00"}, {"windows": "always"}, {"input_cost_per_day": 1}):
        assert "off_peak_pricing" in refused({**entry, "off_peak_pricing": {**block, **wrong}})


def test_uplifts_are_multipliers_by_region_and_speed() -> None:
    prices = imported(
        {
            "input_cost_per_token": 10,
            "output_cost_per_image": 4,
            "regional_processing_uplift_multiplier_eu": Decimal("1.1"),
            "fedramp_uplift_multiplier": Decimal("1.2"),
            "provider_specific_entry": {"fast": 2, "us": Decimal("1.5"), "realtime_ga_only": 1},
            "search_context_cost_per_query": {
                "search_context_size_low": 1,
                "search_context_size_medium": 2,
                "search_context_size_high": 3,
            },
        }
    )
    price = prices["input"]
    assert rate(price) == rate(price, {"region": "regional"}) == 10
    assert rate(price, {"region": "eu"}) == 11
    assert rate(price, {"region": "us", "speed": "fast"}) == 30
    assert rate(price, {"fedramp": "yes"}) == 12
    assert rate(prices["images"], {"region": "eu"}) == 4
    searches = prices["web_searches"]
    assert [rate(searches, {"search_context": each}) for each in ("low", "medium", "high")] == [
        1,
        2,
        3,
    ]
    assert rate(searches) == 2
    assert rate(searches, {"region": "eu"}) == 2
    regional = imported({"input_cost_per_token": 10, "regional_endpoint_uplift_multiplier": 2})
    assert [rate(regional["input"], {"region": each}) for each in ("global", "us", "regional")] == [
        10, 20, 20]  # fmt: skip


def test_videos_and_images_cost_by_their_size() -> None:
    entry = {
        "mode": "video_generation", "output_cost_per_second": 5,
        "output_cost_per_second_720p": 7, "output_cost_per_second_4k": 9,
    }  # fmt: skip
    video = imported(entry)["output_video_duration"]
    assert video.unit == "second"
    assert [rate(video, {"size": each}) for each in ("720p", "4k")] == [7, 9]
    assert rate(video) == 5
    # Without a plain one, a video of no known size costs as the dearest.
    del entry["output_cost_per_second"]
    assert rate(imported(entry)["output_video_duration"]) == 9
    image = imported({"output_cost_per_image": 1, "output_cost_per_image_2K": 3})["images"]
    assert [rate(image), rate(image, {"size": "2K"})] == [1, 3]


@pytest.mark.parametrize(
    ("entry", "components"),
    [
        ({"mode": "audio_transcription", "input_cost_per_second": 2, "output_cost_per_second": 0},
         {"audio_duration": 2, "input_audio_duration": 2}),
        ({"mode": "audio_transcription", "input_cost_per_second": 0, "output_cost_per_second": 3},
         {"audio_duration": 3, "input_audio_duration": 3}),
        ({"mode": "realtime", "input_cost_per_second": 2},
         {"audio_duration": 2, "input_audio_duration": 2}),
        ({"mode": "audio_speech", "output_cost_per_second": 2}, {"output_audio_duration": 2}),
        ({"mode": "chat", "cost_per_second": 2, "input_cost_per_second": 2}, {"duration": 2}),
        ({"mode": "image_generation", "input_cost_per_image": 2}, {"images": 2}),
        ({"mode": "image_generation", "input_cost_per_pixel": 2, "output_cost_per_pixel": 0},
         {"output_pixels": 2}),
        ({"mode": "chat", "input_cost_per_image": 2}, {"input_images": 2}),
        ({"mode": "rerank", "input_cost_per_query": 2}, {"rerank_searches": 2}),
        ({"mode": "search", "input_cost_per_query": 2}, {"queries": 2}),
        ({"mode": "ocr", "ocr_cost_per_page": 2, "annotation_cost_per_page": 3},
         {"pages": 2, "annotated_pages": 3}),
        ({"input_cost_per_character": 2, "output_cost_per_character": 3},
         {"characters": 2, "output_characters": 3}),
        ({"file_search_cost_per_1k_calls": 2}, {"file_searches": Fraction(2, 1000)}),
        ({"code_interpreter_cost_per_session": 2}, {"sessions": 2}),
        ({"google_maps_grounding_cost_per_query": 2}, {"map_searches": 2}),
        ({"input_cost_per_request": 2, "input_cost_per_text_message": 3},
         {"requests": 2, "text_messages": 3}),
    ],
)  # fmt: skip
def test_what_is_not_sold_by_tokens_has_a_component_too(
    entry: dict[str, object], components: dict[str, Fraction]
) -> None:
    assert {name: rate(price) for name, price in imported(entry).items()} == components


def test_two_prices_of_one_thing_that_differ_are_told() -> None:
    entry = {"mode": "audio_transcription", "input_cost_per_second": 2, "output_cost_per_second": 3}
    assert refused(entry) == {
        "input_cost_per_second": "output_cost_per_second is the price of the same"
    }
    told = refused({"cache_read_input_token_cost": 1, "input_cost_per_token_cache_hit": 2})
    assert told.keys() == {"input_cost_per_token_cache_hit"}
    alone = imported({"input_cost_per_token": 5, "input_cost_per_token_cache_hit": 2})
    assert rate(alone["cached_read"]) == 2


def test_what_is_not_known_is_refused_by_name() -> None:
    entry = {
        "input_cost_per_token": 1, "input_cost_per_hologram": 2, "shiny": True, "mode": "chat",
        "supports_shine": True, "max_tokens": 5, "output_cost_per_token": -1,
        "provider_specific_entry": {"slow": 3}, "search_free_requests": {"count": 5},
    }  # fmt: skip
    told = refused(entry)
    assert told.keys() == {
        "input_cost_per_hologram", "shiny", "output_cost_per_token",
        "provider_specific_entry.slow", "search_free_requests",
    }  # fmt: skip
    assert refused({"alias_of": "nobody"}).keys() == {"alias_of"}
    found = import_prices("v1", AT, {"a/*/b": entry, "c": {"input_cost_per_token": 1}})
    assert {each.model for each in found.refused} == {"a/*/b"}
    assert found.book is not None and found.book.prices.keys() == {"model:c"}


def test_nothing_stands_in_place_of_a_price_that_is_refused() -> None:
    """What would cost too much, or too little, is unpriced, and is seen."""
    found = import_prices(
        "v1", AT, {"m": {"input_cost_per_token": 5, "cache_read_input_token_cost": -1}}
    )
    assert {each.key for each in found.refused} == {"cache_read_input_token_cost"}
    assert found.book is not None
    names = found.book.prices["model:m"].keys()
    assert names == {name for name in PROMPT if not name.startswith("cached_read")}
    fine = {
        "input_cost_per_token": Decimal("2.0000000000000002e-07"),
        "input_cost_per_token_batches": Decimal("1e-07"),
        "input_cost_per_token_above_32k_tokens_priority": Decimal("3e-07"),
        "output_cost_per_token": 1,
    }
    found = import_prices("v1", AT, {"m": fine}, markup="1.2345")
    assert {each.key for each in found.refused} == fine.keys() - {"output_cost_per_token"}
    assert {each.reason for each in found.refused} == {
        "no price can say it: expected an amount of fewer digits with the markup, as its nanos have"
        " 64 bits"
    }
    assert found.book is not None and not {*PROMPT} & found.book.prices["model:m"].keys()


def test_an_alias_has_the_prices_of_what_it_names() -> None:
    entries = {"new": {"alias_of": "old"}, "old": {"input_cost_per_token": 1}}
    book = import_prices("v1", AT, entries, models=["n*"]).book
    assert book is not None and book.prices.keys() == {"model:new"}


def test_a_price_too_fine_is_refused_and_the_rest_is_not() -> None:
    entry = {"input_cost_per_token": Decimal("1e-30"), "output_cost_per_token": 1}
    found = import_prices("v1", AT, {"m": entry, "n": {"input_cost_per_token": 1}})
    assert found.book is not None
    assert set(found.book.prices["model:m"]) >= {"output", "reasoning"}
    assert "input" not in found.book.prices["model:m"]
    assert {each.key for each in found.refused} >= {"input"}
    assert all("10**18" in each.reason for each in found.refused)


def test_neither_provider_nor_cost_nor_markup_show() -> None:
    entry = {"input_cost_per_token": Decimal("2e-6"), "litellm_provider": "acme", "source": "x.com"}
    book = import_prices("v1", AT, {"fast": entry}, markup="1.37").book
    assert book is not None
    for secret in ("acme", "x.com", "1.37", "litellm"):
        assert secret not in book.body()


# -- the whole file ------------------------------------------------------------------


def usages(chance: random.Random, prices: Mapping[str, Price]) -> Iterator[dict[str, int]]:
    """Usages of what a model has prices for, with prompts at and about every bound."""
    bounds = [
        each.bound + step
        for price in prices.values()
        for when in price.conditions()
        for each in when
        if isinstance(each, SizeAbove)
        for step in (0, 1)
    ] or [chance.randrange(1, 400_000)]
    prompt = [name for name in PROMPT if name in prices]
    others = [name for name in prices if name not in prompt]
    for size in sorted(set(bounds)):
        cuts = sorted(chance.randrange(size + 1) for _ in prompt[1:])
        parts = [end - start for start, end in zip([0, *cuts], [*cuts, size], strict=True)]
        found = dict(zip(prompt, parts, strict=True)) if prompt else {}
        yield found | {name: chance.randrange(5_000) for name in others}
        if prompt:
            yield {prompt[0]: size}


FACTS = (
    [{"service_tier": tier} for tier in TIERS]
    + [{"region": each} for each in ("us", "eu", "regional")]
    + [{"search_context": each} for each in ("low", "high")]
    + [{"speed": "fast"}, {"fedramp": "yes"}, {}]
)
MOMENTS = [AT + timedelta(days=day, hours=hour) for day in (0, 4, 5, 6) for hour in (0, 1, 5, 16)]


def compared(entries: Entries) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The chat, responses and embedding models, an alias as what it names."""
    for name, entry in entries.items():
        entry = entries.get(entry.get("alias_of", ""), entry)  # noqa: PLW2901
        if entry.get("mode") in ("chat", "responses", "embedding") and name not in NO_MODELS:
            yield name, entry


@pytest.mark.slow
def test_every_model_costs_what_the_file_says_to_the_nano(real: Entries) -> None:
    chance = random.Random(20261130)
    markup = "1.2"
    found = import_prices("v1", AT, real, markup=markup)
    assert found.book is not None
    book = load_book(found.book.body())  # as it is kept
    counts: Counter[str] = Counter()
    for name, entry in compared(real):
        counts["models"] += 1
        prices = {
            component: price
            for component, price in book.prices.get(f"model:{name}", {}).items()
            if price is not None
        }
        reckoned = Reckoning(entry)
        counts["models with a price"] += bool(prices)
        for quantities in usages(chance, prices) if prices else ():
            every = FACTS if any(price.varies for price in prices.values()) else [{}]
            for facts in every if DEPTH > 1 else chance.sample(every, min(4, len(every))):
                at = chance.choice(MOMENTS)
                expected = reckoned.dollars(quantities, facts, at)
                for component, quantity in quantities.items():
                    nanos = floor(expected[component] * Fraction(markup) * 10**9)
                    told = (name, component, quantities, facts, at)
                    assert asked(prices[component], quantities, component, facts, at) == nanos, told
                    counts["charges"] += bool(quantity)
        for component in LADDERS.keys() - prices.keys():
            with pytest.raises(LookupError):
                reckoned.rate(component, 1, "standard", AT)
    print(dict(counts), "of", len(real), "entries;", len(found.refused), "keys refused")
    assert counts["models"] > 3_000
    assert counts["charges"] > 100_000


def test_an_engine_charges_what_the_file_says(real: Entries) -> None:
    chance = random.Random(5)
    chosen = dict(chance.sample(list(compared(real)), 25))
    varied = [
        (name, entry) for name, entry in compared(real)
        if any(key.endswith("_above_272k_tokens_priority") for key in entry)
    ]  # fmt: skip
    chosen |= dict(chance.sample(varied, 10))
    book = import_prices("v1", AT, chosen).book
    assert book is not None
    billing = Billing(MemoryStore(), clock=SettableClock(AT))
    billing.publish(book)
    billing.open_account("acme")
    billing.grant("acme", "g", usd(1_000_000))
    settled = 0
    for name, entry in chosen.items():
        prices = {k: v for k, v in book.prices.get(f"model:{name}", {}).items() if k in LADDERS}
        if not prices:
            continue
        exact: Counter[str] = Counter()
        charged: Counter[str] = Counter()
        for number, quantities in enumerate(usages(chance, prices)):  # type: ignore[arg-type]
            facts = chance.choice(FACTS)
            usage = Usage.of(f"model:{name}", quantities, facts=facts)
            outcome = billing.settle("acme", f"{name}-{number}", usage)
            assert outcome.unpriced == ()
            settled += 1
            for component, cost in Reckoning(entry).dollars(quantities, facts, AT).items():
                exact[component] += cost * 10**9  # type: ignore[assignment]
            for line in outcome.lines:
                charged[line.component] += line.amount
        # Fractions of a nano are carried from request to request.
        assert {name: floor(cost) for name, cost in exact.items() if floor(cost)} == {
            name: amount for name, amount in charged.items() if amount
        }
    assert settled > 50
    assert billing.verify().ok


@pytest.mark.slow
def test_every_key_of_every_entry_is_priced_or_refused(real: Entries) -> None:
    """A key is priced if another value of it makes other prices."""
    chance = random.Random(11)
    names = [name for name in real if name not in NO_MODELS]
    if DEPTH == 1:
        seen: set[str] = set()
        rare = [name for name in names if not (set(real[name]) <= seen or seen.update(real[name]))]
        names = sorted({*rare, *chance.sample(names, 150)})
    counts: Counter[str] = Counter()
    for name in names:
        entry = {**real.get(real[name].get("alias_of", ""), {}), **real[name]}
        entry.pop("alias_of", None)
        before = import_prices("v1", AT, {name: entry})
        told = {each.key for each in before.refused}
        for key, value in entry.items():
            if not SAYS_A_PRICE.fullmatch(key) or "dbu_cost" in key:
                counts["no price"] += 1
                assert key not in told, (name, key)
                continue
            if key == "provider_specific_entry" and not {"us", "fast"} & value.keys():
                counts["no price"] += 1
                continue
            if any(each == key or each.startswith(f"{key}.") for each in told):
                counts["refused"] += 1
                continue
            after = import_prices("v1", AT, {name: {**entry, key: another(value)}})
            changed = body(before.book) != body(after.book) or len(after.refused) > len(told)
            assert changed, (name, key, value)
            counts["priced"] += 1
    print(dict(counts), "keys of", len(names), "entries")
    assert counts["priced"] > 500 and counts["refused"] > 10


def body(book: object) -> str:
    return book.body() if book is not None else ""  # type: ignore[attr-defined, no-any-return]


def another(value: object) -> object:
    match value:
        case dict():
            return {
                key: another(one) if isinstance(one, int | Decimal) else one
                for key, one in value.items()
            }
        case list():
            return [another(one) for one in value]
    assert isinstance(value, int | Decimal)
    return value * 2 or 1


def test_what_is_refused_of_the_file_is_of_few_kinds(real: Entries) -> None:
    chosen = [name for name in real if len(real[name]) > 1]
    found = import_prices("v1", AT, {name: real[name] for name in chosen[::7] + chosen[1::7]})
    reasons = {each.reason for each in found.refused}
    assert len(reasons) <= 12, reasons
    assert all(each.value and each.key and each.model for each in found.refused)


def test_the_book_of_the_file_can_be_published_and_kept(real: Entries) -> None:
    book = import_prices("v1", AT, real, models=["gpt-*", "claude-*", "gemini*"]).book
    assert book is not None and len(book.prices) > 200
    assert load_book(book.body()) == book
    assert Catalogue().checked(book, now=micros("at", AT), delay=0)
    assert all(
        len(price.variants) <= 16
        for parts in book.prices.values()
        for price in parts.values()
        if price
    )


def test_tokens_of_a_real_model_are_all_priced(real: Entries) -> None:
    book = import_prices("v1", AT, real, models=["gpt-6-astra"]).book
    assert book is not None
    billing = Billing(MemoryStore(), clock=SettableClock(AT))
    billing.publish(book)
    billing.open_account("acme")
    usage = tokens(
        "gpt-6-astra", input=300_000, output=500, cached_read=300, cache_write=200, reasoning=100,
        input_includes_cached=True, output_includes_reasoning=True,
    )  # fmt: skip
    assert billing.settle("acme", "one", usage).unpriced == ()


def test_off_peak_hours_do_not_overlap(real: Entries) -> None:
    book = import_prices("v1", AT, real, models=["deepseek*", "tencent/*"]).book
    assert book is not None
    hours = {
        each
        for parts in book.prices.values()
        for price in parts.values()
        for when in (price.conditions() if price else ())
        for each in when
        if isinstance(each, Hours)
    }
    assert hours
    for minute in range(0, 7 * 24 * 60, 30):
        moment = micros("at", AT) + minute * 60_000_000
        assert sum(each.at(moment) for each in hours) <= 1
