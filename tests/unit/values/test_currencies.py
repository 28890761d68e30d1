"""Minor units: exact or refused, by Stripe's table of currencies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from billing_core import InvalidCommand, Money, MoneyOverflow, NotFound
from billing_core.values.currencies import (
    CURRENCIES,
    floor_minor,
    minor_unit,
    to_minor,
    to_nanos,
)
from billing_core.values.money import MAX_NANOS, NANOS

AMOUNTS = st.integers(-MAX_NANOS, MAX_NANOS)
CODES = st.sampled_from(sorted(CURRENCIES))


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("10.99", "USD", 1099),
        ("500", "JPY", 500),
        ("5.12", "KWD", 5120),
        ("5.13", "BHD", 5130),
        ("5", "ISK", 500),
        ("5", "UGX", 500),
        ("10.45", "HUF", 1045),
        ("800.45", "TWD", 80045),
        ("0", "USD", 0),
        ("-0.01", "USD", -1),
    ],
)
def test_the_examples_of_the_documentation(amount: str, currency: str, minor: int) -> None:
    nanos = Money.of(amount, currency).nanos
    assert to_minor(nanos, currency) == minor
    assert to_nanos(minor, currency) == nanos


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("0.001", "USD"), ("0.5", "JPY"), ("5.124", "KWD"), ("5.50", "ISK"), ("0.01", "UGX")],
)
def test_what_cannot_be_paid_exactly_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(InvalidCommand, match=f"a multiple of .* {currency}"):
        to_minor(Money.of(amount, currency).nanos, currency)


@pytest.mark.parametrize("currency", ["usd", "XXX", "BTC", "", "USDC", None, 840])
def test_an_unknown_currency_is_refused(currency: object) -> None:
    for convert in (to_minor, to_nanos, floor_minor):
        with pytest.raises(InvalidCommand, match="currency"):
            convert(0, currency)


@pytest.mark.parametrize("amount", [1.0, True, "1", None])
def test_only_integers_convert(amount: object) -> None:
    for convert in (to_minor, to_nanos, floor_minor):
        with pytest.raises(InvalidCommand):
            convert(amount, "USD")


def test_amounts_beyond_64_bits_overflow() -> None:
    assert to_nanos(922_337_203_685, "USD") == 9_223_372_036_850_000_000
    for minor in (922_337_203_686, -922_337_203_686, 10**5000):
        with pytest.raises(MoneyOverflow):
            to_nanos(minor, "USD")
    assert floor_minor(10**20 + 1, "USD") == 10**13, "a sum over time may be more than any amount"


@given(AMOUNTS, CODES)
def test_converting_is_exact_or_refused(nanos: int, currency: str) -> None:
    unit = minor_unit(currency)
    if nanos % (unit.nanos * unit.step):
        with pytest.raises(InvalidCommand):
            to_minor(nanos, currency)
    else:
        assert to_nanos(to_minor(nanos, currency), currency) == nanos


@given(AMOUNTS, CODES)
def test_what_is_shown_is_never_more_than_there_is(nanos: int, currency: str) -> None:
    shown = floor_minor(nanos, currency) * minor_unit(currency).nanos
    assert shown <= nanos < shown + minor_unit(currency).nanos


def test_the_table_counts_as_stripe_does() -> None:
    by_digits = {
        digits: {code for code, unit in CURRENCIES.items() if unit.digits == digits}
        for digits in (0, 2, 3)
    }
    whole = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
    assert " ".join(sorted(by_digits[0])) == whole
    assert by_digits[3] == {"BHD", "JOD", "KWD", "OMR", "TND"}
    assert sum(map(len, by_digits.values())) == len(CURRENCIES) >= 135
    steps = {code: unit.step for code, unit in CURRENCIES.items() if unit.step > 1}
    assert steps == {**dict.fromkeys(by_digits[3], 10), "ISK": 100, "UGX": 100}
    assert all(unit.nanos * 10**unit.digits == NANOS for unit in CURRENCIES.values())


@pytest.mark.every_store
@pytest.mark.parametrize("currency", ["XTS", "XAU", "BTC", "ZZZ"])
def test_an_account_in_a_currency_without_known_minor_units_is_not_opened(currency) -> None:
    world = World(opened=False)
    with pytest.raises(InvalidCommand, match=f"currency.*{currency}"):
        world.billing.open_account("acme", currency=currency)
    with pytest.raises(NotFound):
        world.balance()
    world.billing.open_account("acme", currency="VND")
    assert world.balance().currency == "VND"
