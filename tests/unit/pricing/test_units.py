"""What is counted by the microsecond is priced by the second, the hour, the GB-month: by a unit
from a closed list, converted exactly (rule 5.10)."""

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, LONG_AGO, MINUTE, SECOND, T0, TICK, World

from billing_core import (
    Flat,
    Graduated,
    InvalidCommand,
    Package,
    Price,
    PriceBook,
    SizeAbove,
    Tier,
    Usage,
    Variant,
    code,
    sandbox,
    tool,
    usd,
)
from billing_core.pricing.catalogue import Published
from billing_core.pricing.rating import describe

MONTH = 730 * HOUR


def priced(prices, **options) -> World:
    world = World(priced=False)
    world.publish(prices, **options)
    world.grant(usd("1000000").nanos)
    return world


def per(amount: str, unit: str, **options) -> Price:
    return Price(Flat.of(amount), unit=unit, **options)


def dollars(nanos: int) -> Fraction:
    return Fraction(nanos, 10**9)


# -- the right amounts --------------------------------------------------------------


@pytest.mark.every_store
@pytest.mark.parametrize("pattern", ["tool:browser", "tool:*", "*"])
def test_two_milliseconds_of_a_tool_at_a_dollar_a_second_cost_a_fifth_of_a_cent(pattern) -> None:
    world = priced({pattern: {"duration": per("1.00", "second")}})
    two = tool("browser", duration=timedelta(milliseconds=2))
    assert world.billing.quote("acme", two).amount == usd("0.002").nanos
    assert world.deduct(two).amount == usd("0.002").nanos
    assert world.settle(two).amount == usd("0.002").nanos


@pytest.mark.every_store
@pytest.mark.parametrize(
    ("amount", "unit", "size", "span", "cost"),
    [
        ("0.023", "GB-month", 10**9, MONTH, "0.023"),
        ("0.023", "GiB-month", 2**30, MONTH, "0.023"),
        ("23", "TB-month", 10**9, MONTH, "0.023"),
        ("0.01", "GB-hour", 5 * 10**9, 2 * HOUR, "0.10"),
        ("0.24", "GiB-day", 2**30, HOUR, "0.01"),
        ("1", "MB-second", 10**6, SECOND, "1"),
        ("0.000001", "byte-microsecond", 3, TICK, "0.000003"),
    ],
)
def test_storage_is_priced_by_the_gigabyte_month(amount, unit, size, span, cost) -> None:
    world = priced({"storage:*": {"byte_us": per(amount, unit)}})
    world.billing.report_storage("acme", "docs", size)
    world.clock.advance(span)
    world.billing.bill_storage("acme")
    [shown] = world.billing.usage("acme", "all_time").summary.storage
    assert shown.amount == usd(cost).nanos
    assert shown.byte_us == size * (span // TICK)


@pytest.mark.every_store
@pytest.mark.parametrize(
    ("component", "rate", "unit", "cost"),
    [
        ("vcpu", 2, "vCPU-hour", "0.20"),
        ("vcpu", 2, "hour", "0.20"),
        ("gpu", 1, "GPU-second", "360"),
        ("h100", 1, "h100-minute", "6"),
        ("memory_gib", 4, "GiB-hour", "0.40"),
        ("memory_mib", 4096, "GiB-hour", "0.40"),
        ("memory_gib", 4, "MiB-hour", "409.60"),
        ("memory_gb", 4, "GB-hour", "0.40"),
        ("memory", 4, "GB-hour", "0.40"),
        ("memory_gib", 125, "GB-hour", "13.4217728"),
        ("second", 1, "second", "360"),
    ],
)
def test_a_sandbox_is_priced_by_the_hour_of_what_it_has(component, rate, unit, cost) -> None:
    world = priced({"sandbox:box": {component: per("0.10", unit)}})
    world.billing.start_run("acme", "r", sandbox("box", {component: rate}), fund_for=2 * HOUR)
    world.clock.advance(HOUR)
    world.billing.stop_run("acme", "r")
    assert world.billing.run("acme", "r").settled == usd(cost).nanos
    assert world.wrong() == []


def test_code_has_its_minimum_and_its_steps_in_the_unit_of_its_price() -> None:
    world = priced({"code:*": {"duration": per("0.36", "minute", minimum=2, increment=1)}})
    for span, minutes in ((TICK, 2), (2 * MINUTE + TICK, 3), (3 * MINUTE, 3)):
        charged = world.settle(code("python", duration=span))
        assert dollars(charged.amount) == Fraction("0.36") * minutes


def test_without_an_increment_nothing_is_rounded_up_to_the_unit_of_the_price() -> None:
    world = priced({"code:*": {"duration": per("3.60", "hour")}})
    assert world.settle(code("python", duration=SECOND)).amount == usd("0.001").nanos


def test_tiers_and_packages_are_of_so_many_units_of_the_price() -> None:
    first, beyond = Tier(10, usd("1").nanos), Tier(None, usd("0.25").nanos, 2)
    world = priced(
        {
            "tool:a": {"duration": Price(Graduated((first, beyond)), unit="hour")},
            "tool:b": {"duration": Price(Package.of("5", 100), unit="second")},
        }
    )
    assert world.settle(tool("a", duration=14 * HOUR)).amount == usd("10.50").nanos
    assert world.settle(tool("b", duration=101 * SECOND)).amount == usd("10").nanos


TIMES = {
    "microsecond": 1, "millisecond": 1000, "second": 10**6, "minute": 6 * 10**7,
    "hour": 36 * 10**8, "day": 864 * 10**8, "month": 2628 * 10**9,
}  # fmt: skip
SIZES = {"byte": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip


@given(
    nanos=st.integers(1, 10**12),
    of=st.integers(1, 1000),
    time=st.sampled_from(sorted(TIMES)),
    size=st.none() | st.sampled_from(sorted(SIZES)),
    quantity=st.integers(1, 10**30),
)
def test_any_unit_is_converted_exactly(nanos, of, time, size, quantity) -> None:
    price = Price(Flat(nanos, of), unit=time if size is None else f"{size}-{time}")
    one = TIMES[time] * (1 if size is None else SIZES[size])
    cost = quantity * Fraction(nanos, of * one)
    world = World(priced=False)
    prices = {"storage:x": {"byte_us": price}} if size else {"tool:x": {"duration": price}}
    if Fraction(nanos, of * one).denominator > 10**18:
        with pytest.raises(InvalidCommand, match="parts"):  # rule 5.12
            world.publish(prices)
        return
    world.publish(prices)
    if size is None:
        usage = Usage.of("tool:x", {"duration": quantity})
    else:
        usage = Usage.of("storage:x", {"byte_us": quantity})
    if cost < 2**63:
        assert world.settle(usage).amount == cost.numerator // cost.denominator


@pytest.mark.parametrize(
    "component",
    ["duration", "audio_duration", "input_audio_duration", "output_audio_duration",
     "input_video_duration", "output_video_duration"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("unit", "amount"), [("second", "0.0001"), ("minute", "0.006"), ("hour", "0.36")]
)
def test_what_a_model_hears_and_says_is_priced_by_time(component, unit, amount) -> None:
    world = priced({"model:whisper": {component: per(amount, unit)}})
    ninety = Usage.of("model:whisper", {component: 90 * SECOND // TICK})
    assert world.billing.quote("acme", ninety).amount == usd("0.009").nanos
    assert world.settle(ninety).amount == usd("0.009").nanos
    five = Usage.of("model:whisper", {component: 5})  # half a nano
    assert [world.settle(five).amount for _ in range(4)] == [0, 1, 0, 1]
    assert world.billing.verify().ok


def test_every_variant_is_in_the_unit_that_is_counted() -> None:
    """A size is in what is counted, as a usage says it: microseconds."""
    price = Price(
        Graduated([Tier(10, usd("0.06").nanos), Tier(None, usd("0.03").nanos)]),
        "minute",
        minimum=1,
        variants=[
            Variant(
                Graduated([Tier(10, usd("0.12").nanos), Tier(None, usd("0.06").nanos)]),
                SizeAbove(5 * MINUTE // TICK, ["input_audio_duration"]),
            )
        ],
    )
    world = priced({"model:*": {"input_audio_duration": price}})

    def cost(minutes: int) -> int:
        quantity = {"input_audio_duration": minutes * MINUTE // TICK}
        return world.settle(Usage.of("model:whisper", quantity)).amount

    assert cost(5) == usd("0.30").nanos
    assert cost(6) == usd("0.12").nanos * 5 + usd("0.06").nanos
    assert cost(1) == usd("0.03").nanos
    assert world.billing.verify().ok


# -- what is refused ----------------------------------------------------------------

ANY = ["token", "seconds", "Second", "sec", "s", "us", "kilosecond", "fortnight", "1000-second"]


@pytest.mark.parametrize(
    ("resource", "component", "unit"),
    [
        *(("tool:search", "duration", unit) for unit in [*ANY, "vCPU-second", "GB-hour"]),
        *(("code:*", "duration", unit) for unit in ANY),
        *(("model:*", "duration", unit) for unit in ANY),
        *(("model:whisper", "input_audio_duration", unit) for unit in [*ANY, "vCPU-second"]),
        *(("*", "output_video_duration", unit) for unit in ANY),
        *(("t*", "duration", unit) for unit in ANY),
        *(("*", "duration", unit) for unit in ANY),
        *(("storage:*", "byte_us", unit) for unit in [*ANY, "second", "hour", "GB", "Gb-month"]),
        *(("storage:docs", "byte_us", unit) for unit in ["GB-week", "PB-month", "GB month"]),
        *(("*", "byte_us", unit) for unit in ["token", "month", "GBmonth"]),
        *(("sandbox:box", "vcpu", unit) for unit in [*ANY, "vCPU", "gpu-hour", "-hour", "GB"]),
        *(("sand*", "vcpu", unit) for unit in ANY),
        ("*", "vcpu", "call"),
    ],
)
def test_a_price_by_any_other_word_is_refused_when_it_is_published(
    resource, component, unit
) -> None:
    world = World(priced=False)
    before = world.state()
    with pytest.raises(InvalidCommand, match="unit") as refused:
        world.publish({resource: {component: per("1", unit)}})
    assert repr(unit) in str(refused.value)
    assert "month (730 hours)" in str(refused.value), "it says what is possible"
    assert world.state() == before


def test_storage_is_priced_by_what_is_billed_of_it() -> None:
    with pytest.raises(InvalidCommand, match="byte_us"):
        World(priced=False).publish({"storage:*": {"gb_hour": per("1", "GB-hour")}})


def test_what_cannot_be_said_exactly_is_refused_with_the_price_that_it_is_of() -> None:
    thirds = per("0.10", "MB-second", minimum=1)  # a megabyte is no whole number of mebibytes
    with pytest.raises(InvalidCommand, match=r"memory_mib.*MiB-microsecond"):
        World(priced=False).publish({"sandbox:box": {"memory_mib": thirds}})


def test_what_the_host_counts_has_any_unit() -> None:
    world = priced({"gpu": {"second": per("2", "second")}, "tool:x": {"page": per("1", "page")}})
    assert world.settle(Usage.of("gpu", {"second": 3})).amount == usd("6").nanos


def test_a_component_of_a_sandbox_stays_counted_in_one_size() -> None:
    """Its rates are the host's, and mean what they meant under the first price."""
    world = priced({"sandbox:box": {"memory": per("0.10", "GB-hour")}})
    world.publish(
        {"sandbox:*": {"memory": per("0.0001", "MB-hour")}}, version="v2", org="acme"
        , effective_at=T0 + HOUR,
    )  # fmt: skip
    price = world.billing.catalogue().document("v2").prices["sandbox:*"]["memory"]
    assert price.unit == "GB-microsecond"
    assert Fraction(*price.function.between(0, 36 * 10**8)) == usd("0.1").nanos


# -- what is on record --------------------------------------------------------------


def test_what_was_published_before_prices_as_it_did_and_is_published_still() -> None:
    world = World(priced=False)
    world.grant(usd("10000").nanos)
    book = PriceBook("old", LONG_AGO, {"tool:x": {"duration": per("1.00", "second")}})
    world.store.publish(Published.of(book, 1, 0))
    charged = world.settle(tool("x", duration=timedelta(milliseconds=2)))
    assert charged.amount == usd("2000").nanos, "whoever published it was charged so"
    assert world.billing.publish(book) == Published.of(book, 1, 0).name
    assert world.wrong() == []
    # A price of another book is converted, and shown beside it.
    new = world.publish(
        {"tool:x": {"duration": per("1.00", "second")}}, version="new", effective_at=T0 + DAY
    )
    world.clock.set(T0 + DAY)
    charged = world.settle(tool("x", duration=timedelta(milliseconds=2)))
    assert (charged.amount, charged.lines[0].version) == (usd("0.002").nanos, new)


def test_a_service_that_publishes_its_book_at_each_start_publishes_it_once() -> None:
    world = World(priced=False)
    prices = {"sandbox:*": {"vcpu": per("0.1", "vCPU-hour"), "memory": per("1", "GB-month")}}
    name = world.publish(prices)
    world.clock.advance(DAY)
    assert world.publish(prices) == name
    [one] = world.store.published()
    assert "vCPU-microsecond" in one.body, "as every version of this library reads it"
    assert "hour" not in one.body
    with pytest.raises(InvalidCommand, match="a new version name"):
        world.publish({"sandbox:*": {"vcpu": per("0.2", "vCPU-hour")}})


@pytest.mark.parametrize(
    ("resource", "component", "price", "said"),
    [
        ("tool:x", "duration", per("3.60", "hour"), "3.60 USD per hour"),
        ("tool:x", "duration", per("1", "microsecond"), "1.00 USD per microsecond"),
        ("tool:x", "duration", Price(Flat.of("1", 15), unit="minute"), "1.00 USD per 15 minutes"),
        ("tool:x", "duration", Price(Flat.of("1", 10**6), "microsecond"), "1.00 USD per second"),
        ("storage:*", "byte_us", per("0.023", "GB-month"), "0.023 USD per GB-month"),
        ("storage:*", "byte_us", per("0.023", "GiB-hour"), "0.023 USD per GiB-hour"),
        ("sandbox:*", "vcpu", per("0.1", "vCPU-hour", minimum=2, increment=1),
         "0.10 USD per vCPU-hour, at least 2 vCPU-hours per item, in steps of 1 vCPU-hour"),
        ("sandbox:*", "x", Price(Package.of("5", 90), unit="second"),
         "5.00 USD per begun package of 90 seconds"),
        ("tool:x", "duration", Price(Graduated((Tier(10, 10**9), Tier(None, 0))), unit="day"),
         "1.00 USD per day up to 10 days; 0.00 USD per day beyond"),
        ("model:x", "input", Price(Flat.of("1", 10**6)), "1.00 USD per 1,000,000 tokens"),
    ],
)  # fmt: skip
def test_a_price_is_shown_in_words_that_people_use(resource, component, price, said) -> None:
    world = World(priced=False)
    world.publish({resource: {component: price}})
    found = world.billing.pricing("acme")[resource][component].price
    assert describe(found, "USD") == said


def test_reports_count_what_was_measured() -> None:
    world = priced({"tool:x": {"duration": per("3.60", "hour")}})
    world.settle(tool("x", duration=SECOND))
    [row] = world.billing.usage("acme").rows
    assert row.components["duration"] == (1_000_000, usd("0.001").nanos)
    assert row.units["duration"] == "microsecond"
