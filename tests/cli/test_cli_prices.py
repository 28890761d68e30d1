"""Prices that depend on the request, as people write them in files and as the command line shows
them (rule 5.9)."""

import json
from datetime import UTC, datetime, time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import run, run_json

from billing_adapters.cli.documents import load_document, price_terms
from billing_adapters.sqlite import SqliteStore
from billing_core import (
    Billing,
    Fact,
    FactIs,
    Flat,
    Graduated,
    Hours,
    Multiplier,
    Package,
    Price,
    PriceBook,
    SizeAbove,
    Tier,
    Usage,
    Variant,
    usd,
)
from billing_core.pricing.functions import PriceFunction, stated

MILLION = 10**6
BOOK = """
version = "models"
effective_at = 2026-01-01T00:00:00Z

[facts]
service_tier = { values = ["standard", "batch", "priority"], default = "standard" }
region = { values = ["global", "eu"], default = "global" }

[multipliers]
"model:*" = [{ by = "1.1", where = { region = "eu" } }]

[prices."model:large"]
output = { amount = "10", per = 1_000_000, multipliers = [
    { by = "1/3", hours = { from = 16:30:00, to = "00:30", weekdays = ["mon", "fri"] } },
] }

[prices."model:large".input]
amount = "2.50"
per = 1_000_000
variants = [
    { amount = "1.25", per = 1_000_000, where = { service_tier = "batch" } },
    { amount = "5", per = 1_000_000, above = 272_000, of = ["input", "cached_read"] },
]

[prices."tool:search".call]
unit = "call"
tiers = [{ up_to = 1000, amount = "0.004" }, { amount = "0.0025" }]
variants = [{ where = { quality = "high" }, tiers = [
    { up_to = 1000, amount = "0.008" }, { amount = "0.005" },
] }]
facts = { quality = { values = ["low", "high"], default = "low" } }
"""
TIER = Fact("service_tier", ("standard", "batch", "priority"), default="standard")
REGION = Fact("region", ("global", "eu"), default="global")
QUALITY = Fact("quality", ("low", "high"), default="low")
EVENING = Hours(time(16, 30), time(0, 30), ("mon", "fri"))
LONG = SizeAbove(272_000, ["input", "cached_read"])


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(BOOK, encoding="utf-8")
    return path


@pytest.fixture
def db(tmp_path: Path, book: Path) -> Path:
    path = tmp_path / "billing.sqlite"
    with SqliteStore(path) as store:
        billing = Billing(store)
        billing.open_account("acme", livemode=False)
        billing.grant("acme", "g", usd(1000))
        billing.publish(load_document(book))
    return path


def test_a_file_says_all_that_a_price_may_depend_on(book: Path) -> None:
    assert load_document(book) == PriceBook(
        "models",
        datetime(2026, 1, 1, tzinfo=UTC),
        {
            "model:large": {
                "output": Price(
                    Flat.of("10", MILLION), multipliers=[Multiplier(Fraction(1, 3), EVENING)]
                ),
                "input": Price(
                    Flat.of("2.50", MILLION),
                    variants=[
                        Variant(Flat.of("1.25", MILLION), FactIs("service_tier", "batch")),
                        Variant(Flat.of("5", MILLION), LONG),
                    ],
                    facts=[TIER],
                ),
            },
            "tool:search": {
                "call": Price(
                    Graduated([Tier(1000, 4_000_000), Tier(None, 2_500_000)]),
                    "call",
                    variants=[
                        Variant(
                            Graduated([Tier(1000, 8_000_000), Tier(None, 5_000_000)]),
                            FactIs("quality", "high"),
                        )
                    ],
                    facts=[QUALITY],
                )
            },
        },
        multipliers={"model:*": [Multiplier("1.1", FactIs("region", "eu"))]},
        facts=[REGION],
    )


PRICES = [
    Price(Flat.of("0.0753", MILLION), minimum=5, increment=10),
    Price(Package.of("3", 10), "call"),
    Price(Flat(7, 3), "call", variants=[Variant(Flat(5), (FactIs("quality", "high"), LONG))],
          facts=[QUALITY]),
    Price(Flat(7), multipliers=[Multiplier(1_000, (LONG, EVENING, SizeAbove(5, ["output"])))]),
    Price(Graduated([Tier(10, 5), Tier(None, 3, 7)]), "call",
          variants=[Variant(Graduated([Tier(10, 9), Tier(None, 1)]), (QUALITY_IS := FactIs(
              "quality", "high"), EVENING))],
          multipliers=[Multiplier("0.25", LONG), Multiplier(Fraction(10, 3), QUALITY_IS)],
          facts=[QUALITY]),
]  # fmt: skip


def read_back(price: Price, path: Path) -> Price | None:
    """A price that a file says in the words in which it is shown."""
    terms = {"unit": price.unit, **price_terms(price)}
    path.write_text(
        json.dumps({"version": "v", "effective_at": "2026-01-01T00:00:00Z",
                    "prices": {"x": {"y": terms}}})
    )  # fmt: skip
    read = load_document(path)
    assert isinstance(read, PriceBook)
    return read.prices["x"]["y"]


@pytest.mark.parametrize("price", PRICES)
def test_what_is_shown_of_a_price_is_what_a_file_says_of_it(price: Price, tmp_path: Path) -> None:
    assert read_back(price, tmp_path / "b.json") == price


FACTS = [TIER, REGION, QUALITY]
RATES = st.tuples(st.integers(0, 10**12), st.sampled_from([1, 3, 1000, MILLION]))
MOMENTS = st.times(timezones=st.none())
DAYS = st.lists(st.sampled_from(["mon", "tue", "sat", "sun"]), min_size=1, unique=True)
IS = st.sampled_from(FACTS).flatmap(
    lambda fact: st.builds(FactIs, st.just(fact.name), st.sampled_from(fact.values))
)
ABOVE = st.builds(
    SizeAbove, st.integers(0, 10**30), st.lists(st.sampled_from("abc"), min_size=1, unique=True)
)
HOURS = st.builds(Hours, MOMENTS, MOMENTS, DAYS)
WHEN = st.lists(IS | ABOVE | HOURS, min_size=1, max_size=4)  # fmt: skip


@st.composite
def varying(draw: st.DrawFn) -> Price:
    bounds = sorted(draw(st.sets(st.integers(1, 10**9), max_size=3)))

    def function() -> Flat | Graduated:
        if not bounds:
            return Flat(*draw(RATES))
        return Graduated([Tier(bound, *draw(RATES)) for bound in [*bounds, None]])

    ratios = st.fractions(Fraction(1, 1000), 1000, max_denominator=10**6)
    return Price(
        function(),
        "token",
        variants=[Variant(function(), draw(WHEN)) for _ in range(draw(st.integers(0, 3)))],
        multipliers=draw(st.lists(st.builds(Multiplier, ratios, WHEN), max_size=3)),
        facts=FACTS,
    )


@given(varying())
def test_so_for_any_price(tmp_path_factory: pytest.TempPathFactory, price: Price) -> None:
    read = read_back(price, tmp_path_factory.getbasetemp() / "any.json")
    assert read is not None
    for one, other in zip(price.functions(), read.functions(), strict=True):
        assert stated_per_unit(one) == stated_per_unit(other)
    assert [set(when) for when in read.conditions()] == [set(when) for when in price.conditions()]
    assert [each.by for each in read.multipliers] == [each.by for each in price.multipliers]
    assert read.facts == price.facts


def stated_per_unit(function: PriceFunction) -> list[tuple[int | None, Fraction]]:
    return [(each.up_to, each.nanos / each.per) for each in stated(function)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('a = { amount = "1", variants = [{ amount = "2" }] }',
         "variants[1] of a of x: given {'amount': '2'}; expected where, above and of, or hours"),
        ('a = { amount = "1", variants = [{ amount = "2", when = { t = "b" } }] }',
         "variants[1] of a of x: given 'when'; expected one of above, also, amount, hours"),
        ('a = { amount = "1", variants = [{ amount = "2", above = 5 }] }',
         "variants[1] of a of x: given {'above': 5, 'amount': '2'}; expected a size, such as"),
        ('a = { amount = "1", variants = [{ amount = "2", above = 5, of = "a" }] }',
         "variants[1] of a of x: of: given 'a'; expected a size, such as above = 272_000"),
        ('a = { amount = "1", variants = [{ amount = "2", above = "5", of = ["a"] }] }',
         "variants[1] of a of x: bound: given '5'; expected an int"),
        ('a = { amount = "1", variants = [{ where = { t = "b" } }] }',
         "variants[1] of a of x: given {'where': {'t': 'b'}}; expected an amount"),
        ('a = { amount = "1", variants = [{ amount = "2", where = { t = "b" } }] }',
         "a of x: facts: given 't'; expected a Fact that declares the values of 't'"),
        ('a = { amount = "1", variants = [{ amount = "2", where = { known = "b" } }] }',
         "a of x: value: given 'b'; expected one of u, v"),
        ('a = { package = 5, amount = "1", multipliers = [{ by = 2, where = { known = "u" } }] }',
         "a of x: variants: given Package("),
        ('a = { amount = "1", multipliers = [{ by = "1/0", where = { known = "u" } }] }',
         "multipliers[1] of a of x: by: given '1/0'; expected"),
        ('a = { amount = "1", multipliers = [{ where = { known = "u" } }] }',
         "multipliers[1] of a of x: by: given None; expected an exact ratio"),
        ('a = { amount = "1", multipliers = [{ by = 2, hours = { from = "25:00", to = 1 } }] }',
         "multipliers[1] of a of x: from: given '25:00'; expected a time of day in UTC"),
        ('a = { amount = "1", multipliers = [{ by = 2, hours = { from = "01:00" } }] }',
         "multipliers[1] of a of x: to: given None; expected a time of day in UTC"),
        ('a = { amount = "1", multipliers = [{ by = 2, hours = { from = "01:00", to = "02:00",'
         ' weekdays = ["monday"] } }] }',
         "multipliers[1] of a of x: weekdays: given ('monday',); expected some of mon, tue"),
        ('a = { amount = "1", facts = { t = { values = ["u"], default = "w" } } }',
         "t of facts of a of x: default: given 'w'; expected one of u"),
        ('a = { amount = "1", variants = [{ amount = "2", also = [{ above = 1 }] }] }',
         "also[1] of variants[1] of a of x: given {'above': 1}; expected a size, such as"),
        ('a = { amount = "1" }',
         "facts: given 'known'; expected a fact that a variant or a multiplier names"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named_with_its_place(line, told, tmp_path) -> None:
    path = tmp_path / "b.toml"
    path.write_text(
        'version = "v"\neffective_at = 2026-01-01T00:00:00Z\n'
        '[facts]\nknown = { values = ["u", "v"], default = "u" }\n'
        f"[prices.x]\n{line}\n"
    )
    with pytest.raises(Exception, match="expected") as error:
        load_document(path)
    assert type(error.value).__name__ == "ClickException"
    assert str(error.value).startswith(f"{path}: {told}"), str(error.value)


def test_prices_that_depend_on_the_request_are_shown(db: Path) -> None:
    rows = run_json("pricing", "--org", "acme", "--db", db)["prices"]
    shown = {(row["resource"], row["component"]): row for row in rows}
    row = shown["model:large", "input"]
    assert (row["amount"], row["per"]) == ("2.5", MILLION)
    assert row["variants"] == [
        {"amount": "1.25", "per": MILLION, "where": {"service_tier": "batch"}},
        {"amount": "5", "per": MILLION, "above": 272_000, "of": ["input", "cached_read"]},
    ]
    hours = {"from": "16:30", "to": "00:30", "weekdays": ["mon", "fri"]}
    in_eu = {"by": "1.1", "where": {"region": "eu"}}
    assert row["multipliers"] == [in_eu]
    assert row["facts"]["region"] == {"values": ["global", "eu"], "default": "global"}
    of_output = shown["model:large", "output"]["multipliers"]
    assert of_output == [{"by": "1/3", "hours": hours}, in_eu]
    lines = run("pricing", "--db", db).stdout.splitlines()
    [at] = [number for number, line in enumerate(lines) if " input " in line and "2.50" in line]
    assert "2.50 USD per 1,000,000 tokens" in lines[at]
    assert "for service_tier is batch: 1.25 USD per 1,000,000 tokens" in lines[at + 1]
    assert "for input + cached_read above 272,000: 5.00 USD per 1,000,000 tokens" in lines[at + 2]
    assert "times 1.1 for region is eu" in lines[at + 3]
    assert any("times 1/3 for from 16:30 to 00:30 UTC on mon, fri" in line for line in lines)


def test_what_a_file_changes_of_a_variant_is_shown_before_it_is_published(
    db: Path, book: Path
) -> None:
    text = BOOK.replace('"models"', '"dearer"').replace('"1.25"', '"1.30"')
    book.write_text(text.replace("2026-01-01", "2126-01-01"), encoding="utf-8")
    [found] = run_json("pricing", "--publish", book, "--yes", "--db", db)["differences"]
    assert found["name"] == "input of model:large"
    assert "for service_tier is batch: 1.25 USD" in found["before"]
    assert "for service_tier is batch: 1.30 USD" in found["after"]
    told = run("pricing", "--diff", "models", "dearer", "--db", db).stdout
    assert "for service_tier is batch: 1.30 USD" in told


def test_a_quote_takes_facts(db: Path) -> None:
    def cost(*facts: str) -> str:
        words = ("quote", "acme", "model:large", "input=300000", *facts, "--db", db)
        return run_json(*words)["amount"]

    batch = ("--fact", "service_tier=batch", "--fact", "region=global")
    assert cost(*batch) == "0.375"
    assert cost("--fact", "service_tier=priority", "--fact", "region=eu") == "1.65"
    assert cost() == "1.65", "a fact that is not given may have any value"
    told = run_json("quote", "acme", "model:large", "input=1", *batch, "--db", db)
    assert told["facts"] == {"region": "global", "service_tier": "batch"}
    for wrong in ("service_tier", "=batch", "service_tier="):
        words = ("quote", "acme", "model:large", "input=1", "--fact", wrong, "--db", db)
        assert "expected NAME=VALUE, each fact once" in run(*words, code=2).stderr
    odd = ("quote", "acme", "model:large", "input=1", "--fact", "service_tier=turbo", "--db", db)
    assert "turbo" in run(*odd, code=1).stderr


def test_an_explanation_names_what_held(db: Path) -> None:
    with SqliteStore(db) as store:
        usage = Usage.of("model:large", {"input": 300_000}, facts={"region": "eu"})
        seq = Billing(store).settle("acme", "s", usage).seq
    [line] = run_json("explain", "acme", seq, "--db", db)["lines"]
    assert line["variant"] == "input + cached_read above 272,000; times 1.1 for region is eu"
    assert f"for this request: {line['variant']}" in run("explain", "acme", seq, "--db", db).stdout
