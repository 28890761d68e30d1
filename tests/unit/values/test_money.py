"""Amounts: exact integers of nanos, whatever is thrown at them."""

import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing_core import InvalidCommand, Money, MoneyOverflow, decimal_text, usd
from billing_core.values.money import MAX_NANOS, NANOS, checked_currency

AMOUNTS = st.integers(-MAX_NANOS, MAX_NANOS)


@pytest.mark.parametrize(
    ("amount", "nanos"),
    [
        ("12.34", 12_340_000_000),
        ("0.000000001", 1),
        ("-0.000000001", -1),
        ("0", 0),
        ("-0", 0),
        ("1e2", 100 * NANOS),
        ("1e-9", 1),
        (7, 7 * NANOS),
        (Decimal("0.1"), 100_000_000),
        ("9223372036.854775807", MAX_NANOS),
        ("-9223372036.854775807", -MAX_NANOS),
        ("1.00000000000000", NANOS),
    ],
)
def test_amounts_are_exact(amount: object, nanos: int) -> None:
    assert usd(amount).nanos == nanos


@pytest.mark.parametrize("amount", ["9223372036.854775808", 9_223_372_037, "-1e10", "1e11", 10**38])
def test_an_amount_beyond_64_bits_overflows(amount: object) -> None:
    with pytest.raises(MoneyOverflow):
        usd(amount)


@pytest.mark.parametrize(
    "amount",
    [
        1.5,
        0.0,
        float("nan"),
        float("inf"),
        True,
        False,
        None,
        b"1",
        1j,
        Fraction(1, 2),
        [1],
        "",
        "abc",
        "12,34",
        "$5",
        "0x10",
        "nan",
        "sNaN",
        "-inf",
        "Infinity",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        "\ud800",
        "1\udfff",
        "0.0000000001",
        Decimal("1.0000000005"),
        "1" * 41,
        "1" * 1_000_000,
    ],
    ids=lambda amount: ascii(amount)[:20],
)
def test_what_is_no_exact_amount_is_refused(amount: object) -> None:
    with pytest.raises(InvalidCommand) as refused:
        usd(amount)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "amount",
    [
        "1e100000",  # first: of the others, an integer that is built takes minutes
        "1e10000000",
        "-1e10000000",
        "1e-10000000",
        Decimal("1e10000000"),
        Decimal("-9e-10000000"),
        "1e999999999999999999999",
    ],
)
def test_an_exponent_of_any_size_costs_nothing(amount: str | Decimal) -> None:
    """No integer of that many digits, which takes a hundred kilobytes or more, is ever built."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidCommand):
            usd(amount)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("amount", [10**5000, -(10**5000), 2**300], ids=["large", "small", "300"])
def test_a_huge_integer_overflows_without_being_shown(amount: int) -> None:
    with pytest.raises(MoneyOverflow, match="an integer of"):
        usd(amount)
    with pytest.raises(MoneyOverflow, match="an integer of"):
        Money(amount, "USD")


@pytest.mark.parametrize(
    "amount", [[10**5000], {"a": 10**5000}, Fraction(10**5000)], ids=["list", "dict", "fraction"]
)
def test_a_huge_integer_inside_something_else_is_refused_too(amount: object) -> None:
    with pytest.raises(InvalidCommand):
        usd(amount)
    with pytest.raises(InvalidCommand):
        Money(amount, "USD")


@pytest.mark.parametrize(
    "given",
    [
        datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        usd("-1234567890.123456789"),
        "2026-11-28T23:59:59.858486+00:00/2026-12-28T23:59:59.858486+00:00",
        -(2**255),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_was_given_is_shown_whole(given: object) -> None:
    assert InvalidCommand("field", given, "x").given == repr(given)


@pytest.mark.parametrize("given", ["x" * 10**6, ["x" * 100] * 100, b"x" * 200, Fraction(10**200)])
def test_what_is_longer_is_shown_short(given: object) -> None:
    assert len(InvalidCommand("field", given, "x").given) <= 100


@pytest.mark.parametrize("nanos", [1.0, True, "5", None, Decimal(5), float("nan"), Fraction(5)])
def test_nanos_are_ints(nanos: object) -> None:
    with pytest.raises(InvalidCommand):
        Money(nanos, "USD")


@pytest.mark.parametrize(
    "currency",
    [
        "usd",
        "US",
        "USDX",
        "",
        "U D",
        "US1",
        "ÜSD",
        "\uff35\uff33\uff24",
        "\ud800SD",
        None,
        b"USD",
        840,
        "USD\n",
    ],
)
def test_a_currency_is_three_capital_letters(currency: object) -> None:
    with pytest.raises(InvalidCommand, match="currency"):
        Money(1, currency)
    with pytest.raises(InvalidCommand, match="currency"):
        checked_currency(currency)


@given(AMOUNTS)
@example(-1)
@example(MAX_NANOS)
def test_text_and_amount_are_one_and_the_same(nanos: int) -> None:
    text = decimal_text(nanos)
    assert Fraction(text) == Fraction(nanos, NANOS)
    assert usd(text) == Money(nanos, "USD")
    assert len(text.partition(".")[2]) >= 2
    assert str(Money(nanos, "EUR")) == f"{text} EUR"


@given(st.decimals(allow_nan=False, allow_infinity=False))
@example(Decimal("1.0000000000000000000000000000000000000000000000000000000"))
@example(Decimal("0e5000"))
def test_a_decimal_is_taken_exactly_or_not_at_all(amount: Decimal) -> None:
    try:
        money = usd(amount)
    except InvalidCommand:
        digits = amount.as_tuple().digits
        exact = Fraction(amount) * NANOS if amount.adjusted() < 100 else Fraction(10**100)
        assert exact.denominator > 1 or abs(exact) > MAX_NANOS or len(digits) > 40
    else:
        assert Fraction(money.nanos, NANOS) == Fraction(amount)


@given(AMOUNTS, st.integers(1, 5))
def test_the_host_s_decimal_context_does_not_matter(nanos: int, precision: int) -> None:
    with localcontext() as context:
        context.prec = precision
        context.Emax = 5
        context.Emin = -5
        assert usd(decimal_text(nanos)).nanos == nanos


@given(st.text() | st.from_regex(r"[-+]?[0-9._e]{1,45}", fullmatch=True))
def test_any_text_is_an_exact_amount_or_refused(text: str) -> None:
    try:
        money = usd(text)
    except InvalidCommand:
        return
    assert Fraction(money.nanos, NANOS) == Fraction(Decimal(text))


@given(
    st.floats() | st.booleans() | st.none() | st.binary() | st.complex_numbers() | st.fractions()
)
def test_nothing_but_text_integers_and_decimals_is_an_amount(amount: object) -> None:
    with pytest.raises(InvalidCommand):
        usd(amount)


@pytest.mark.parametrize("bad", [usd("1"), 1.5, "1", None, Decimal(1)])
def test_only_nanos_have_a_decimal_text(bad: object) -> None:
    with pytest.raises(InvalidCommand, match="an int of nanos"):
        decimal_text(bad)
