"""An automatic top-up goes by the settings of now, and a dead card is spared however often
somebody enables it."""

from datetime import timedelta

import pytest
from topup_till import DAY, HOUR, MINUTE, SECOND, URLS, till

from billing_core import TopUpRules, usd
from billing_core.records.topups import AutoTopUp, TopUp
from billing_core.topups.policy import attempt_ends, stopped
from billing_core.values.times import duration

MONTH = 31 * DAY


@pytest.fixture(params=["fake", "sqlite", "postgres"])
def t(request):
    with till(request.param) as made:
        yield made


def whys(t) -> list[str | None]:
    """Of each automatic attempt, in order."""
    all_ = sorted(t.store.topups("acme"), key=lambda each: each.seq)
    return [each.why for each in all_ if each.kind == "auto"]


def charged(t) -> list[int]:
    """What the provider was asked for and took, of automatic attempts, in cents."""
    return [each.amount for each in t.payments() if each.attempt]


def declines(t) -> int:
    return sum(each.state == "declined" for each in t.payments())


def due(t, amount="500", **options) -> str:
    """An attempt of 500 dollars that no worker has taken yet; the card."""
    method = t.armed("10", threshold="5", amount=amount, **options)
    t.spend("6")
    assert t.attempts() == ["due"]
    return method


def off(t, threshold="5", amount="500") -> None:
    t.billing.set_auto_topup(
        "acme", t.key(), enabled=False, threshold=usd(threshold), amount=usd(amount)
    )


def use(t) -> None:
    """Something is decided, and nothing spent."""
    t.billing.release("acme", t.billing.hold("acme", usd("1"), expires_in=HOUR).key)


# -- the settings of now --------------------------------------------------------


@pytest.mark.parametrize("between", ["at once", "disabled and enabled"])
def test_a_due_top_up_of_500_is_not_charged_after_an_admin_set_5(t, between) -> None:
    due(t)
    if between != "at once":
        off(t)
    t.enable(threshold="5", amount="5", cap=usd("5"))
    t.run()
    assert (t.attempts(), whys(t)) == (["dropped", "due"], ["amount", None])
    t.run()
    assert (charged(t), t.balance()) == ([500], "9.00 USD")
    for _ in range(5):
        t.wait(HOUR)
        use(t)
    assert charged(t) == [500]
    t.check()


def test_a_due_top_up_is_not_charged_where_900_were_bought_by_hand(t) -> None:
    due(t)
    t.paid("900")
    t.run()
    assert (t.attempts(), whys(t), charged(t)) == (["dropped"], ["threshold"], [])
    assert t.auto().topup is None
    t.spend("900")
    t.run()
    assert t.attempts() == ["dropped", "paid"], "it begins anew where it is needed"
    t.check()


def test_a_due_top_up_is_not_charged_where_just_the_threshold_is_available(t) -> None:
    due(t)
    t.billing.grant("acme", "gift", usd("0.99"), kind="promotional")
    t.billing.grant("acme", "more", usd("0.01"), kind="promotional")
    t.run()
    assert (whys(t), charged(t)) == (["threshold"], [])
    t.check()


def test_a_due_top_up_is_charged_where_a_nano_is_missing(t) -> None:
    due(t, "20")
    t.billing.grant("acme", "gift", usd("0.999999999"), kind="promotional")
    t.run()
    assert charged(t) == [2000]
    t.check()


def test_credit_that_is_held_is_not_available_to_a_due_top_up(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.billing.hold("acme", usd("6"), expires_in=HOUR)
    t.run()
    assert charged(t) == [2000]
    t.check()


def test_a_hold_that_ends_makes_a_due_top_up_needless(t) -> None:
    t.armed("10", threshold="5", amount="20")
    hold = t.billing.hold("acme", usd("6"), expires_in=HOUR)
    t.billing.release("acme", hold.key)
    t.run()
    assert (whys(t), charged(t)) == (["threshold"], [])
    t.check()


def test_a_due_top_up_above_a_lower_threshold_is_not_charged(t) -> None:
    due(t, "20")
    t.enable(threshold="4", amount="20")
    t.run()
    assert (whys(t), charged(t)) == (["threshold"], [])
    t.check()


def test_a_due_top_up_above_a_lower_cap_is_not_charged(t) -> None:
    due(t, "20")
    t.enable(threshold="5", amount="20", cap=usd("19.99"))
    t.run()
    assert (t.attempts(), whys(t), charged(t)) == (["dropped"], ["cap"], [])
    assert t.events().count("auto_topup_capped") == 1
    t.enable(threshold="5", amount="20", cap=usd("20"))
    t.run()
    assert charged(t) == [2000], "what was dropped used up nothing"
    t.check()


def test_a_due_top_up_beyond_a_lower_number_is_not_charged(t) -> None:
    due(t, "5", times=2)
    t.run()
    t.clock.advance(MINUTE)
    t.spend("5")
    assert t.attempts() == ["paid", "due"]
    t.enable(threshold="5", amount="5", times=1)
    t.run()
    assert (whys(t), charged(t)) == ([None, "times"], [500])
    t.enable(threshold="5", amount="5", times=2)
    t.run()
    assert charged(t) == [500, 500], "what was dropped was none of the two"
    t.check()


def test_a_due_top_up_that_waited_into_the_next_period_counts_towards_its_cap(t) -> None:
    due(t, "20", cap=usd("20"))
    t.clock.advance(MONTH)
    t.run()
    assert (t.attempts(), whys(t)) == (["dropped", "due"], ["period", None])
    t.run()
    t.clock.advance(HOUR)
    t.spend("20")
    t.run()
    assert charged(t) == [2000], "one of 20.00 is all that the period may have"
    t.check()


def test_a_due_top_up_that_still_fits_is_charged_once(t) -> None:
    due(t, "20", cap=usd("20"), times=1)
    off(t, amount="20")
    t.enable(threshold="5", amount="20", cap=usd("20"), times=1)
    t.run()
    t.run()
    assert (t.attempts(), charged(t)) == (["paid"], [2000])
    t.check()


@pytest.mark.parametrize("how", ["amount", "bought", "cap"])
@pytest.mark.parametrize("fault", ["rate_limited", "timeout_after"])
def test_one_without_an_answer_that_fits_no_more_is_looked_for_and_not_asked_again(
    t, fault, how
) -> None:
    due(t, "20")
    t.street.fault(fault)
    t.clock.advance(SECOND)
    t.store.set_mark("news:test", t.clock())
    assert [each.what.split()[0] for each in t.run().failures] == ["top-up"]
    if how == "amount":
        t.enable(threshold="5", amount="5")
    elif how == "bought":
        t.paid("900")
    else:
        t.enable(threshold="5", amount="20", cap=usd("10"))
    t.wait(10 * MINUTE)
    made = fault == "timeout_after"
    assert charged(t) == [2000] * made
    assert t.attempts()[0] == ("paid" if made else "calling")
    if not made and how != "bought":
        assert whys(t) == [how]
        t.enable(threshold="5", amount="20")
        t.wait(HOUR)
        assert charged(t) == [2000], "wanted again, it is asked for again"
    t.check()


def test_enabling_again_does_not_shorten_the_cooldown(t) -> None:
    t.armed("10", threshold="8", amount="5")
    assert t.store.auto_topup("acme").not_before == 0, "nothing was paid yet"
    t.spend("9")
    t.run()
    assert t.attempts() == ["paid"]
    t.clock.advance(MINUTE - SECOND)
    t.enable(threshold="8", amount="5")
    t.spend("0.5")
    assert t.attempts() == ["paid"]
    t.clock.advance(SECOND)
    use(t)
    assert t.attempts() == ["paid", "due"]
    t.check()


def test_an_attempt_that_was_charged_though_it_had_failed_counts_towards_the_cap() -> None:
    auto = AutoTopUp(enabled=True, method="pm", period=5, spent=0, begun=1)
    attempt_ends(auto, TopUp("t", "auto", 7, "paid", 2000, 5), "declined", 9, TopUpRules())
    assert auto.spent == 2000
    # Of one that failed, or that nobody asked for, nothing; it began with the very period.
    for after, begun in (("declined", 1), ("dropped", 0)):
        auto = AutoTopUp(enabled=True, method="pm", period=5, spent=2000, begun=1)
        attempt_ends(auto, TopUp("t", "auto", 7, after, 2000, 5), "calling", 9, TopUpRules())
        assert (auto.spent, auto.begun) == (0, begun)
    auto = AutoTopUp(enabled=True, method="pm", period=6, spent=2000, begun=1)
    attempt_ends(auto, TopUp("t", "auto", 7, "declined", 2000, 5), "calling", 9, TopUpRules())
    assert (auto.spent, auto.begun) == (2000, 1), "another period's counts nothing in this one"


@pytest.mark.parametrize(
    ("failures", "backoff", "wait"),
    [
        (0, HOUR, HOUR),
        (1, HOUR, 2 * HOUR),
        (9, HOUR, 512 * HOUR),
        (10, HOUR, 30 * DAY),
        (99, HOUR, 30 * DAY),
        (0, 40 * DAY, 40 * DAY),
        (5, 40 * DAY, 40 * DAY),
    ],
)
def test_each_failure_doubles_the_wait_up_to_thirty_days(failures, backoff, wait) -> None:
    auto = AutoTopUp(enabled=True, method="pm", failures=failures)
    topup = TopUp("t", "auto", 7, "declined", 2000, 5)
    attempt_ends(auto, topup, "calling", 9, TopUpRules(backoff=backoff))
    assert auto.not_before == 9 + duration("wait", wait)


# -- what stops it --------------------------------------------------------------


@pytest.mark.parametrize(
    ("enabled", "was", "why", "told", "then"),
    [
        (True, None, "method", True, "method"),
        (True, "method", "refund", False, "refund"),
        (True, "refund", "method", False, "refund"),
        (False, None, "method", False, None),
        (False, None, "refund", False, None),
    ],
)
def test_what_only_enabling_undoes_outlives_what_another_card_mends(
    enabled, was, why, told, then
) -> None:
    auto = AutoTopUp(enabled=enabled, method="pm", stopped=was)
    assert stopped(auto, why) is told
    assert auto.stopped == then


def test_a_card_that_is_gone_stops_nothing_that_is_not_enabled(t) -> None:
    t.armed("10", threshold="5", amount="20")
    off(t)
    t.street.delete_customer(t.store.auto_topup("acme").customer)
    t.deliver()
    auto = t.store.auto_topup("acme")
    assert (auto.customer, auto.method, auto.stopped) == (None, None, None)
    assert "auto_topup_stopped" not in t.events()
    t.check()


def test_a_new_card_mends_no_pause_that_a_refund_made(t) -> None:
    """Though the old one is gone since."""
    page = t.paid("10", save_method=True)
    t.enable()
    t.street.refund_in_dashboard(t.payment(page).id)
    t.deliver()
    t.street.delete_customer(t.store.auto_topup("acme").customer)
    t.deliver()
    t.paid("5", save_method=True)
    assert t.auto().stopped == "refund"
    t.run()
    assert t.attempts() == []
    t.check()


@pytest.mark.parametrize("how", ["declined", "gone"])
def test_another_card_pays_at_once_for_what_the_one_before_could_not(t, how) -> None:
    """Nobody has to use anything first."""
    method = t.armed("10", threshold="16", amount="20")
    if how == "declined":
        t.street.decline(method, times=1)
    else:
        t.street.delete_customer(t.store.auto_topup("acme").customer)
        t.deliver()
    t.run()
    t.paid("5", save_method=True)
    assert t.attempts()[-1:] == ["due"]
    t.run()
    assert (t.attempts()[-1], t.balance()) == ("paid", "35.00 USD")
    t.check()


# -- a dead card ----------------------------------------------------------------


@pytest.mark.parametrize("between", ["enabled", "disabled and enabled", "set another amount"])
def test_enabling_again_and_again_does_not_try_a_dead_card_again_and_again(t, between) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.decline(method, times=100)
    t.spend("6")
    for n in range(50):
        t.run()
        if between == "disabled and enabled":
            off(t)
        t.enable(threshold="5", amount=str(20 + n) if between == "set another amount" else "20")
        t.clock.advance(2 * SECOND)
    t.run()
    assert declines(t) == 1
    assert (t.auto().failures, t.auto().stopped) == (1, None)
    assert t.auto().not_before is not None and t.auto().not_before > t.clock.now + 50 * MINUTE
    t.check()


def test_after_failures_have_stopped_it_enabling_tries_the_card_at_once_and_only_once(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.decline(method, times=100)
    t.spend("6")
    for _ in range(100):
        t.wait(HOUR)
        use(t)
    assert (declines(t), t.auto().stopped) == (3, "declined")
    for _ in range(50):
        t.enable(threshold="5", amount="20")
        t.run()
        t.clock.advance(2 * SECOND)
    assert (declines(t), t.auto().stopped, t.auto().failures) == (4, None, 4)
    t.clock.advance(8 * HOUR - 3 * MINUTE)
    t.enable(threshold="5", amount="20")
    t.run()
    assert declines(t) == 4, "each wait is longer"
    t.clock.advance(2 * MINUTE)
    t.enable(threshold="5", amount="20")
    t.run()
    assert (declines(t), t.auto().stopped) == (5, "declined")
    t.check()


def test_in_a_month_of_enabling_a_dead_card_is_declined_ten_times() -> None:
    """1, 2, 4, … hours; the card networks bear 15."""
    with till("fake") as t:
        method = t.armed("10", threshold="5", amount="20")
        t.street.decline(method, times=1000)
        t.spend("6")
        for _ in range(30 * 24 * 2):
            t.run()
            t.enable(threshold="5", amount="20")
            t.clock.advance(30 * MINUTE)
        assert declines(t) == 10
        t.check()


def test_a_card_that_is_mended_is_tried_at_once_when_an_admin_enables_it_after_the_stop(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.decline(method, times=3)
    t.spend("6")
    for wait in (HOUR, 2 * HOUR):
        t.run()
        t.clock.advance(wait)
        use(t)
    t.run()
    assert (t.auto().stopped, t.auto().failures) == ("declined", 3)
    t.enable(threshold="5", amount="20")
    t.run()
    assert t.attempts() == ["declined"] * 3 + ["paid"]
    assert (t.auto().failures, t.balance()) == (0, "24.00 USD")
    t.check()


def test_a_new_card_is_tried_at_once(t) -> None:
    method = t.armed("10", threshold="15", amount="20")
    t.street.decline(method, times=100)
    t.run()
    assert (declines(t), t.auto().failures) == (1, 1)
    t.paid("5", save_method=True)
    assert (t.auto().failures, t.auto().not_before) == (0, None)
    t.spend("6")
    t.run()
    assert t.attempts() == ["declined", "paid"]
    t.check()


def test_the_bank_is_not_asked_again_and_again_for_the_customer(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.require_authentication(method, times=100)
    t.spend("6")
    for _ in range(50):
        t.run()
        t.enable(threshold="5", amount="20")
        t.clock.advance(2 * SECOND)
    assert t.attempts() == ["authentication_required"]
    assert t.auto().stopped is None, "it waits"
    t.clock.advance(HOUR)
    t.spend("0.01")
    t.run()
    assert t.auto().stopped == "authentication_required"
    page = t.billing.recover("acme", "recover", **URLS)
    t.street.pay(page.session)
    t.billing.confirm("acme", page.session)
    assert (t.auto().stopped, t.auto().failures) == (None, 0)
    t.check()


def test_raising_the_cap_lets_it_go_on_at_once_though_the_card_has_failed_once(t) -> None:
    method = t.armed("10", threshold="5", amount="20", times=1)
    t.street.decline(method)
    t.spend("6")
    t.run()
    t.clock.advance(HOUR)
    t.spend("0.01")
    assert (t.attempts(), t.events().count("auto_topup_capped")) == (["declined"], 1)
    assert t.auto().not_before is not None and t.auto().not_before > t.clock.now + 2 * DAY
    t.enable(threshold="5", amount="20", times=2)
    t.run()
    assert t.attempts() == ["declined", "paid"]
    t.check()


def test_enabling_after_a_refund_does_not_mend_a_dead_card(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    [paid] = t.store.topups("acme")
    t.street.decline(method, times=100)
    t.spend("6")
    t.run()
    t.street.refund_in_dashboard(paid.payment, 100)
    t.deliver()
    assert (t.auto().stopped, t.auto().failures) == ("refund", 1)
    t.enable(threshold="5", amount="20")
    t.run()
    assert (t.auto().stopped, declines(t)) == (None, 1)
    t.clock.advance(HOUR)
    t.spend("0.01")
    t.run()
    assert declines(t) == 2
    t.check()


def test_the_platform_s_number_of_failures_of_one_is_kept() -> None:
    with till("fake", topups=TopUpRules(failures=1, backoff=timedelta(minutes=10))) as t:
        method = t.armed("10", threshold="5", amount="20")
        t.street.decline(method, times=100)
        t.spend("6")
        for _ in range(50):
            t.run()
            t.enable(threshold="5", amount="20")
            t.clock.advance(2 * SECOND)
        assert declines(t) == 2
        t.check()
