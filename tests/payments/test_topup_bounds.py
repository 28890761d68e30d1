"""The platform's least and most of one top-up, in each currency."""

import pytest
from topup_till import MINUTE, URLS, till

from billing_core import InvalidCommand, Money, TopUpRules, usd
from billing_core.values.currencies import A_DOLLAR, CURRENCIES, to_minor, to_nanos


@pytest.fixture(params=["fake", "sqlite", "postgres"])
def t(request):
    with till(request.param) as made:
        yield made


@pytest.mark.parametrize("currency", sorted(CURRENCIES))
def test_a_currency_s_bounds_are_of_the_order_of_5_and_10_000_dollars(currency) -> None:
    least, most = TopUpRules().bounds(currency)
    for each, dollars in ((least, 5), (most, 10_000)):
        nanos = to_nanos(each, currency)
        assert to_minor(nanos, currency) == each, "it can be paid"
        assert nanos == dollars * A_DOLLAR[currency] * 10**9


def test_what_a_dollar_is_worth_is_a_round_number() -> None:
    assert A_DOLLAR.keys() == CURRENCIES.keys()
    assert {int(str(each).rstrip("0")) for each in A_DOLLAR.values()} == {1, 2, 5}
    assert (A_DOLLAR["USD"], A_DOLLAR["EUR"], A_DOLLAR["JPY"], A_DOLLAR["VND"]) == (
        1, 1, 100, 20_000,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("currency", "below", "least", "most", "above"),
    [
        ("EUR", "4.99", "5.00", "10000.00", "10000.01"),
        ("JPY", "499", "500.00", "1000000.00", "1000001"),
        ("KRW", "4999", "5000.00", "10000000.00", "10000001"),
        ("IDR", "99999.99", "100000.00", "200000000.00", "200000000.01"),
        ("KWD", "4.99", "5.00", "10000.00", "10000.01"),
    ],
)
def test_a_top_up_is_within_the_bounds_of_its_currency(
    t, currency, below, least, most, above
) -> None:
    t.billing.open_account("abroad", currency=currency, livemode=False)
    for n, amount in enumerate((below, above)):
        with pytest.raises(InvalidCommand, match=f"{least} to {most} {currency}"):
            t.billing.top_up("abroad", f"k{n}", Money.of(amount, currency), **URLS)
        with pytest.raises(InvalidCommand, match=f"{least} to {most} {currency}"):
            t.billing.set_auto_topup(
                "abroad", f"a{n}", enabled=True, threshold=Money.of("1", currency),
                amount=Money.of(amount, currency),
            )  # fmt: skip
    for n, amount in enumerate((least, most)):
        page = t.billing.top_up("abroad", f"fits{n}", Money.of(amount, currency), **URLS)
        t.street.pay(page.session)
        assert t.billing.confirm("abroad", page.session).paid
    status = t.billing.auto_topup("abroad")
    assert (status.minimum, status.maximum) == tuple(
        Money.of(n, currency).nanos for n in (least, most)
    )
    t.check()


def test_what_the_host_names_holds_and_the_rest_follows_its_dollars() -> None:
    rules = TopUpRules(
        minimum=[usd("20"), Money.of("900", "JPY")], maximum=Money.of("50000", "JPY")
    )
    assert rules.bounds("USD") == (2_000, 1_000_000)
    assert rules.bounds("EUR") == (2_000, 1_000_000)
    assert rules.bounds("JPY") == (900, 50_000)
    assert rules.bounds("KRW") == (20_000, 10_000_000)
    assert TopUpRules(minimum=1000, maximum=2000) == TopUpRules(minimum=usd(10), maximum=usd(20))
    most = TopUpRules(maximum=usd("9000000000")).bounds("LBP")[1]
    assert to_nanos(most, "LBP") <= 2**63 - 1 and most > 9 * 10**11, "what an amount can be"


@pytest.mark.parametrize("name", ["minimum", "maximum"])
@pytest.mark.parametrize(
    "given",
    [0, -1, True, None, "5", 1.5, (), [5], usd(0), usd(-5), [usd(5), usd(6)], usd("0.001")],
    ids=str,
)
def test_bounds_that_are_none_are_refused(name, given) -> None:
    with pytest.raises(InvalidCommand):
        TopUpRules(**{name: given})


@pytest.mark.parametrize(
    "rules",
    [
        {"minimum": usd(20), "maximum": usd("19.99")},
        {"minimum": Money.of("1000001", "JPY")},
        {"maximum": Money.of("499", "JPY")},
        {"maximum": usd("4.99")},
    ],
    ids=str,
)
def test_a_minimum_above_the_maximum_is_refused(rules) -> None:
    with pytest.raises(InvalidCommand, match=r"minimum: given .*the maximum, at most"):
        TopUpRules(**rules)


def test_an_amount_beyond_bounds_set_since_is_not_bought_by_itself(t) -> None:
    t.armed("10", threshold="5", amount="500")
    t.spend("6")
    t.options = {"topups": TopUpRules(maximum=usd("100"))}
    t.billing = t.engine()
    t.run()
    assert t.attempts() == ["dropped"]
    assert (t.auto().stopped, t.auto().maximum) == ("amount", usd(100).nanos)
    assert t.events().count("auto_topup_stopped") == 1
    t.spend("1")
    t.paid("5", save_method=True)
    assert (t.attempts(), t.auto().stopped) == (["dropped"], "amount"), "no card mends it"
    t.spend("5")
    t.enable(threshold="5", amount="100")
    t.run()
    assert (t.attempts(), t.auto().stopped) == (["dropped", "paid"], None)
    t.check()


def test_an_amount_beyond_bounds_set_since_does_not_begin(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.options = {"topups": TopUpRules(minimum=usd("50"))}
    t.billing = t.engine()
    t.spend("6")
    assert (t.attempts(), t.auto().stopped) == ([], "amount")
    assert t.events()[-1] == "auto_topup_stopped"
    t.clock.advance(MINUTE)
    t.spend("1")
    assert t.events().count("auto_topup_stopped") == 1
    t.check()
