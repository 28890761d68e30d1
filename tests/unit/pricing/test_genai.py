"""The importer of real model prices."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from call_counts import calls
from genai_prices.data import providers
from genai_prices.types import (
    ClauseContains,
    ClauseEquals,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from billing_adapters.genai import Model, price_book
from billing_core import Billing, InvalidCommand, NotFound, tokens, usd
from billing_core.testing import MemoryStore, SettableClock

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
}  # fmt: skip


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source whose prices do not change with its releases."""
    models = [
        ModelInfo(name, ClauseStartsWith(name), prices=prices) for name, prices in INVENTED.items()
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
def test_what_has_no_price_of_its_own_has_that_of_input_or_output() -> None:
    assert imported(("maker", "plain")) == {
        "input": dollars("2.5"),
        "output": dollars("10"),
        "cached_read": dollars("2.5"),
        "cache_write": dollars("2.5"),
        "reasoning": dollars("10"),
    }
    assert imported("embedding").keys() == {"input", "cached_read", "cache_write"}
    assert set(imported("free").values()) == {0}


@pytest.mark.usefixtures("invented")
def test_an_own_price_of_cached_and_reasoning_tokens_is_kept() -> None:
    assert imported(("maker", "own")) == {
        "input": dollars("3"),
        "output": dollars("15"),
        "cached_read": dollars("0.3"),
        "cache_write": dollars("3.75"),
        "cache_write_1h": dollars("6"),
        "reasoning": dollars("20"),
    }


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
    with pytest.raises(InvalidCommand, match="all day"):
        imported("once-off-peak", changed - timedelta(days=1))


def test_the_book_is_dated() -> None:
    assert price_book("v1", AT, ["gpt-4o"]).effective_at == AT
    with pytest.raises(InvalidCommand, match="time zone"):
        price_book("v1", AT.replace(tzinfo=None), ["gpt-4o"])


@pytest.mark.usefixtures("invented")
def test_prices_by_the_size_of_a_request_are_refused_unless_one_level_is_named() -> None:
    with pytest.raises(InvalidCommand, match=r"request_tokens.*1\.25.*2\.5 above 200000"):
        imported("sized")
    assert imported(Model("sized", request_tokens=200_000))["input"] == dollars("1.25")
    assert imported(Model("sized", request_tokens=200_001))["input"] == dollars("2.5")
    models = [
        Model("sized", request_tokens=1),
        Model("sized", name="sized-long", request_tokens=200_001),
    ]
    assert price_book("v1", AT, models).prices.keys() == {"model:sized", "model:sized-long"}


@pytest.mark.usefixtures("invented")
@pytest.mark.parametrize(
    ("model", "expected"),
    [("off-peak", "all day"), ("fee", "fee per request"), ("speech", "a price for tokens")],
)
def test_what_one_price_per_component_cannot_say_is_refused(model: str, expected: str) -> None:
    with pytest.raises(InvalidCommand, match=expected):
        imported(model)


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
