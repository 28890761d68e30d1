"""Prices: exact functions against a reference that adds up unit by unit, and books."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from world import T0

from billing_core import (
    Flat,
    Graduated,
    InvalidCommand,
    Package,
    Price,
    PriceBook,
    Tier,
)
from billing_core.pricing.functions import (
    Discounted,
    Rate,
    Ratio,
    charge,
    dearest,
    packaged,
    stated,
)
from billing_core.values.money import MAX_NANOS, NANOS

RATES = st.integers(0, 200) | st.sampled_from([1, 753, 10**9, 10**12])
PERS = st.integers(1, 12) | st.sampled_from([1000, 999_983, 10**6])
FLATS = st.builds(Flat, RATES, PERS)
PACKAGES = st.builds(Package, RATES, st.integers(1, 12))


@st.composite
def _graduated(draw: Callable) -> Graduated:
    bounds = sorted(draw(st.sets(st.integers(1, 30), max_size=4)))
    return Graduated(tuple(Tier(bound, draw(RATES), draw(PERS)) for bound in [*bounds, None]))


GRADUATED = _graduated()
FUNCTIONS = FLATS | PACKAGES | GRADUATED
SMALL = st.integers(0, 40)


def unit_cost(function: Flat | Graduated | Package, unit: int) -> Fraction:
    """What the ``unit``-th unit of a period costs, counted from 1."""
    if isinstance(function, Flat):
        return Fraction(function.nanos, function.per)
    if isinstance(function, Package):
        return Fraction(function.nanos if (unit - 1) % function.size == 0 else 0)
    for tier in function.tiers:
        if tier.up_to is None or unit <= tier.up_to:
            return Fraction(tier.nanos, tier.per)
    raise AssertionError("the last tier has no end")


def exact(function: Flat | Graduated | Package, start: int, stop: int) -> Fraction:
    return sum((unit_cost(function, unit) for unit in range(start + 1, stop + 1)), Fraction(0))


def fraction(ratio: Ratio) -> Fraction:
    return Fraction(*ratio)


# -- the functions --------------------------------------------------------------


@given(FUNCTIONS, SMALL, SMALL)
@example(Graduated((Tier(10, 3), Tier(20, 2), Tier(None, 1))), 10, 10)
@example(Graduated((Tier(10, 3, 7), Tier(20, 2, 3), Tier(None, 1))), 9, 12)
@example(Package(5, 10), 10, 0)
@example(Package(5, 10), 9, 2)
def test_a_price_is_the_sum_of_its_units(function: Flat, start: int, quantity: int) -> None:
    assert fraction(function.between(start, start + quantity)) == exact(
        function, start, start + quantity
    )


@pytest.mark.parametrize(
    ("start", "stop", "nanos"),
    [(0, 10, 30), (0, 11, 32), (9, 11, 5), (10, 20, 20), (0, 20, 50), (0, 21, 51), (20, 25, 5)],
)
def test_each_unit_costs_what_its_own_tier_says(start: int, stop: int, nanos: int) -> None:
    price = Graduated((Tier(10, 3), Tier(20, 2), Tier(None, 1)))
    assert fraction(price.between(start, stop)) == nanos


@pytest.mark.parametrize(
    ("start", "stop", "packages"),
    [(0, 0, 0), (0, 1, 1), (0, 10, 1), (0, 11, 2), (1, 10, 0), (9, 11, 1), (10, 11, 1), (5, 25, 2)],
)
def test_a_begun_package_is_paid_once(start: int, stop: int, packages: int) -> None:
    assert fraction(Package(7, 10).between(start, stop)) == 7 * packages


@given(FUNCTIONS, st.lists(SMALL, max_size=12))
def test_any_grouping_costs_the_floor_of_the_exact_price(
    function: Flat, quantities: list[int]
) -> None:
    """Rule 5.4, of one period and version."""
    counter, carry, paid = 0, (0, 1), 0
    for quantity in quantities:
        amount, carry = charge(function, counter, quantity, carry)
        counter += quantity
        paid += amount
        assert 0 <= fraction(carry) < 1
        assert paid == floor(exact(function, 0, counter))
        assert fraction(carry) == exact(function, 0, counter) - paid


@given(FUNCTIONS, st.lists(SMALL, max_size=5), st.randoms())
def test_any_order_costs_the_same(function: Flat, quantities: list[int], random: object) -> None:
    def total(order: list[int]) -> tuple[int, Fraction]:
        counter, carry, paid = 0, (0, 1), 0
        for quantity in order:
            amount, carry = charge(function, counter, quantity, carry)
            counter += quantity
            paid += amount
        return paid, fraction(carry)

    shuffled = list(quantities)
    random.shuffle(shuffled)
    assert total(shuffled) == total(quantities) == total([sum(quantities)])


@given(st.lists(st.tuples(FUNCTIONS, SMALL), max_size=8))
def test_nobody_pays_above_the_exact_price_nor_a_nano_below_it(
    usage: list[tuple[Flat, int]],
) -> None:
    """Also where versions change: the counter and the fraction go on."""
    counter, carry, paid, owed = 0, (0, 1), 0, Fraction(0)
    for function, quantity in usage:
        amount, carry = charge(function, counter, quantity, carry)
        paid += amount
        owed += exact(function, counter, counter + quantity)
        counter += quantity
        assert paid <= owed < paid + 1


@given(FUNCTIONS, st.integers(0, 10**40), st.integers(0, 10**36))
def test_quantities_of_any_size_are_exact(function: Flat, start: int, quantity: int) -> None:
    middle = start + quantity // 3
    parts = (function.between(start, middle), function.between(middle, start + quantity))
    whole = fraction(function.between(start, start + quantity))
    assert whole >= 0
    assert whole == sum(map(fraction, parts))


def test_the_carried_fraction_stays_small() -> None:
    carry = (0, 1)
    function = Flat(753, 10_000)
    for counter in range(20_000):
        _, carry = charge(function, counter, 1, carry)
        assert carry[1] <= 10_000


@given(FUNCTIONS, SMALL, SMALL, SMALL)
@example(Graduated((Tier(10, 1), Tier(20, 9), Tier(None, 1))), 0, 30, 5)
@example(Graduated((Tier(10, 9), Tier(None, 1))), 5, 7, 20)
@example(Package(9, 10), 1, 30, 2)
@example(Package(9, 10), 1, 4, 6)
@example(Flat(1, 3), 2, 2, 1)
def test_the_dearest_price_is_that_of_the_worst_start(
    function: Flat, start: int, held: int, quantity: int
) -> None:
    costs = [ceil(exact(function, at, at + quantity)) for at in range(start, start + held + 1)]
    assert dearest(function, start, start + held, quantity) == max(costs)


@given(FUNCTIONS, SMALL, SMALL, SMALL, st.fractions(0, 1, max_denominator=50))
def test_no_charge_exceeds_its_quote(
    function: Flat, start: int, others: int, quantity: int, carried: Fraction
) -> None:
    carry = (carried % 1).as_integer_ratio()
    quoted = dearest(function, start, start + 40, quantity)
    assert charge(function, start + others, quantity, carry)[0] <= quoted


@given(st.integers(0, 300), st.integers(0, 100), st.integers(1, 60))
def test_what_is_billed_is_at_least_the_minimum_in_whole_steps(
    raw: int, minimum: int, increment: int
) -> None:
    price = Price(Flat(1), minimum=minimum, increment=increment)
    billed = price.billed(raw)
    wanted = [n * increment for n in range(500) if n * increment >= max(raw, minimum)]
    assert billed == (wanted[0] if raw else 0)
    assert price.billed(raw + 1) >= billed
    assert price.by_item or billed == raw


# -- bad input ------------------------------------------------------------------

NOT_A_RATE = [-1, 1.5, True, None, "1", Decimal(1), float("nan"), MAX_NANOS + 1, 10**5000]
NOT_A_SIZE = [0, -1, 1.5, True, None, "1", 10**30 + 1, 10**5000]
KINDS = [type(value).__name__ for value in NOT_A_RATE]


@pytest.mark.parametrize("nanos", NOT_A_RATE, ids=KINDS)
@pytest.mark.parametrize("of", [Flat, lambda n: Tier(None, n), lambda n: Package(n, 10)])
def test_a_rate_is_a_bounded_integer(of: Callable, nanos: object) -> None:
    with pytest.raises(InvalidCommand):
        of(nanos)


@pytest.mark.parametrize("size", NOT_A_SIZE, ids=lambda size: type(size).__name__)
@pytest.mark.parametrize(
    "of", [lambda n: Flat(1, n), lambda n: Tier(None, 1, n), lambda n: Package(1, n)]
)
def test_what_a_rate_is_for_is_a_positive_integer(of: Callable, size: object) -> None:
    with pytest.raises(InvalidCommand):
        of(size)


def test_the_largest_size_is_one() -> None:
    assert Flat.of("1", 10**30).per == 10**30
    with pytest.raises(InvalidCommand, match="per"):
        Flat.of("1", 10**30 + 1)


@pytest.mark.parametrize("up_to", [0, -1, 1.5, True, "1", 10**5000], ids=lambda n: type(n).__name__)
def test_a_tier_ends_at_a_positive_integer_that_can_be_written(up_to: object) -> None:
    with pytest.raises(InvalidCommand):
        Graduated((Tier(up_to, 1), Tier(None, 1)))


@pytest.mark.parametrize(
    "bounds", [[], [10], [None, None], [None, 10], [10, 10, None], [20, 10, None], [10, None, None]]
)
def test_tiers_grow_and_only_the_last_has_no_end(bounds: list[int | None]) -> None:
    with pytest.raises(InvalidCommand):
        Graduated(Tier(bound, 1) for bound in bounds)


@pytest.mark.parametrize("tiers", [5, None, "ab", [5], [None], [(None, 1, 1)]])
def test_tiers_are_tiers(tiers: object) -> None:
    with pytest.raises(InvalidCommand):
        Graduated(tiers)


def test_a_list_of_tiers_cannot_change_a_price_afterwards() -> None:
    tiers = [Tier(10, 3), Tier(None, 1)]
    try:
        price = Graduated(tiers)
    except InvalidCommand:
        return
    tiers.pop()
    assert price == Graduated((Tier(10, 3), Tier(None, 1)))


@pytest.mark.parametrize("amount", ["-1", 0.5, float("nan"), "1e10000000", "x", True, None])
def test_a_rate_of_a_decimal_is_checked(amount: object) -> None:
    with pytest.raises(InvalidCommand):
        Flat.of(amount, 1000)
    with pytest.raises(InvalidCommand):
        Package.of(amount, 1000)


@given(
    st.decimals(0, 9_000_000, places=15) | st.decimals(0, 9_000_000, places=4),
    st.sampled_from([1, 3, 7, 1000, 10**6]),
)
@example(Decimal("0.0753"), 10**6)
def test_a_rate_of_a_decimal_is_exact(amount: Decimal, per: int) -> None:
    try:
        flat = Flat.of(amount, per)
    except InvalidCommand:
        assert (Fraction(amount) * NANOS / per).numerator > MAX_NANOS
    else:
        assert Fraction(flat.nanos, flat.per) == Fraction(amount) * NANOS / per


def test_a_stated_per_is_kept() -> None:
    assert Flat.of("0.0753", 1_000_000) == Flat(75_300_000, 1_000_000)


@pytest.mark.parametrize(
    "options",
    [
        {"function": 5},
        {"function": None},
        {"unit": ""},
        {"unit": "\ud800"},
        {"unit": "u" * 201},
        {"minimum": -1},
        {"minimum": 1.5},
        {"minimum": True},
        {"minimum": 10**30 + 1},
        {"increment": 0},
        {"increment": 1.0},
        {"increment": 10**30 + 1},
    ],
)
def test_a_price_is_checked(options: dict) -> None:
    with pytest.raises(InvalidCommand):
        Price(**{"function": Flat(1), **options})


PRICES = {"x": {"unit": Price(Flat(1))}}


@pytest.mark.parametrize(
    "options",
    [
        {"version": ""},
        {"version": None},
        {"version": "a\nb"},
        {"effective_at": datetime(2026, 1, 1)},
        {"effective_at": "2026-01-01"},
        {"currency": "usd"},
        {"prices": {}},
        {"prices": {"x": {}}},
        {"prices": {"": {"unit": Price(Flat(1))}}},
        {"prices": {"x": {"": Price(Flat(1))}}},
        {"prices": {"x": {"unit": Flat(1)}}},
        {"prices": {"x": {"unit": 5}}},
        {"prices": {5: {"unit": Price(Flat(1))}}},
        {"prices": 5},
        {"prices": {"x": 5}},
        {"prices": None},
    ],
    ids=str,
)
def test_a_book_is_checked(options: dict) -> None:
    with pytest.raises(InvalidCommand):
        PriceBook(**{"version": "v1", "effective_at": T0, "prices": PRICES, **options})


def test_a_price_is_stated_less_its_discount() -> None:
    flat, package = Flat.of("0.15", 1_000_000), Package.of("0.01", 7)
    tiers = Graduated((Tier(10, 3, 1), Tier(None, 2, 1)))
    assert stated(flat) == (Rate(None, Fraction(150_000_000), 1_000_000),)
    assert stated(Discounted(flat, (9, 10))) == (Rate(None, Fraction(135_000_000), 1_000_000),)
    assert stated(Discounted(package, (1, 3))) == (Rate(None, Fraction(10_000_000, 3), 7),)
    assert stated(tiers) == (Rate(10, Fraction(3), 1), Rate(None, Fraction(2), 1))
    assert [packaged(each) for each in (flat, package, Discounted(package, (1, 2)))] == [
        False, True, True,
    ]  # fmt: skip
