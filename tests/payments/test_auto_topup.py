"""Automatic top-up: each case against the fake, and through Stripe's own client."""

import json

import pytest
from topup_till import DAY, HOUR, MINUTE, URLS, till

from billing_adapters.fake_payments import FakePayments
from billing_core import Billing, Refused, TopUpRules, usd
from billing_core.values.times import moment


@pytest.fixture(params=["fake", "stripe", "postgres"])
def t(request):
    with till(request.param) as made:
        yield made


in_memory = pytest.mark.parametrize("t", ["fake", "stripe"], indirect=True)


def test_below_the_threshold_credit_is_bought_in_the_background(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.spend("5")
    assert t.attempts() == [], "what is available is not below the threshold"
    t.spend("0.01")
    assert t.attempts() == ["due"], "on record in the transaction that crossed it"
    [attempt] = [each for each in t.store.topups("acme") if each.kind == "auto"]
    assert attempt.seq == list(t.store.entries("acme"))[-1].seq
    assert len(t.payments()) == 1, "and the provider has not been asked"
    t.run()
    assert t.attempts() == ["paid"]
    assert t.balance() == "24.99 USD"
    assert t.kinds() == ["topup", "usage", "usage", "auto_topup"]
    assert t.auto().last_topup_at is not None
    t.check()


def test_a_refusal_begins_one_and_says_that_trying_again_can_help(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.spend("4")
    with pytest.raises(Refused) as refused:
        t.spend("50")
    assert not refused.value.refusal.retryable, "there is enough yet"
    t.street.deliveries()
    t.billing.set_auto_topup("acme", "higher", enabled=True, threshold=usd("7"), amount=usd("50"))
    assert t.attempts() == ["due"], "setting it is a decision too"
    with pytest.raises(Refused) as refused:
        t.spend("50")
    assert refused.value.refusal.retryable
    assert refused.value.refusal.retry_after
    assert t.billing.check("acme", usd("50")).refusal.retryable
    t.run()
    t.spend("50")
    t.check()


def test_a_refused_command_alone_begins_one(t) -> None:
    t.paid("10", save_method=True)
    expires = t.clock.now + HOUR
    t.billing.grant("acme", "g", usd("5"), kind="promotional", expires_at=expires)
    t.enable(threshold="12", amount="20")
    t.clock.advance(2 * HOUR)
    with pytest.raises(Refused) as refused:
        t.spend("25")
    assert refused.value.refusal.retryable
    assert t.attempts() == ["due"], "it wrote nothing else"
    assert t.kinds() == ["topup", "grant", "expiry"]
    t.run()
    t.spend("25")
    t.check()


def test_a_hold_begins_one(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.billing.hold("acme", usd("6"), expires_in=HOUR)
    assert t.attempts() == ["due"], "what is held is not available"


def test_a_settlement_begins_one_and_measured_usage_is_never_refused(t) -> None:
    from billing_core import Flat, Price, PriceBook, Usage

    t.billing.publish(
        PriceBook("v", t.clock.now - DAY, {"x": {"unit": Price(Flat.of("1", 1), unit="unit")}})
    )
    t.armed("10", threshold="5", amount="20")
    t.billing.settle("acme", "s", Usage.of("x", {"unit": 12}))
    assert t.attempts() == ["due"]
    t.run()
    assert t.balance() == "18.00 USD"
    t.check()


@pytest.mark.parametrize("kind", ["fake", "sqlite", "postgres"])
def test_expiry_begins_one_where_the_host_says_so(kind) -> None:
    with till(kind, topups=TopUpRules(on_expiry=True)) as t:
        _expiry_begins_one(t)


def _expiry_begins_one(t) -> None:
    t.paid("10", save_method=True)
    expires = t.clock.now + HOUR
    t.billing.grant("acme", "g", usd("5"), kind="promotional", expires_at=expires)
    t.enable(threshold="12", amount="20")
    done = t.wait(2 * HOUR)
    assert (done.lapsed, done.topups) == (1, 1)
    assert t.attempts() == ["paid"]
    assert t.balance() == "30.00 USD"
    t.check()


def test_enabling_needs_a_saved_method(t) -> None:
    with pytest.raises(Refused) as refused:
        t.enable()
    assert refused.value.refusal.reason == "no_saved_method"
    t.paid("10")
    with pytest.raises(Refused):
        t.enable()
    t.paid("10", save_method=True)
    t.enable()
    assert t.auto().has_saved_method


def test_one_at_a_time_and_a_cooldown_between(t) -> None:
    t.armed("10", threshold="8", amount="5")
    t.spend("9")
    t.spend("0.5")
    assert t.attempts() == ["due"]
    t.run()
    t.spend("0.1")
    assert t.attempts() == ["paid"], "it cools down"
    t.clock.advance(MINUTE)
    t.spend("0.1")
    assert t.attempts() == ["paid", "due"]
    t.check()


def test_a_dead_card_is_tried_a_few_times_and_then_no_more(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.decline(method, times=100)
    t.spend("6")
    for _ in range(400):
        t.clock.advance(HOUR)
        t.run()
        t.billing.settle("acme", t.key(), usage_of_nothing())
    assert t.attempts() == ["declined"] * 3
    assert (t.auto().stopped, t.auto().failures) == ("declined", 3)
    assert t.events().count("topup_failed") == 3
    assert t.events().count("auto_topup_stopped") == 1
    times = [each.created for each in t.store.topups("acme") if each.kind == "auto"]
    times.sort()
    assert times[2] - times[1] > times[1] - times[0], "each wait is longer"
    whys = {each.failure for each in t.payments() if each.state == "declined"}
    assert {each.why for each in t.store.topups("acme") if each.kind == "auto"} == whys
    told = [json.loads(each.data) for each in t.billing.events("acme", limit=10_000)]
    failed = [(each["state"], each["why"]) for each in told if "state" in each]
    assert [("declined", why) for why in whys] * 3 == failed
    assert len(whys) == 1 and None not in whys
    t.check()


def usage_of_nothing():
    from billing_core import Usage

    return Usage.of("x", {"unit": 1}, payer="customer")


def test_authentication_required_stops_at_once_and_a_recovery_link_goes_on(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.require_authentication(method)
    t.spend("6")
    t.run()
    assert t.attempts() == ["authentication_required"]
    assert t.auto().stopped == "authentication_required"
    t.clock.advance(10 * DAY)
    t.spend("1")
    assert len(t.attempts()) == 1
    page = t.billing.recover("acme", "recover", **URLS)
    t.street.pay(page.session)
    t.billing.confirm("acme", page.session)
    assert t.auto().stopped is None, "there is a new method"
    assert t.balance() == "23.00 USD"
    t.spend("19")
    t.run()
    assert t.attempts() == ["authentication_required", "paid"]
    t.check()


def test_who_authenticates_after_all_is_credited(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.require_authentication(method)
    t.spend("6")
    t.run()
    [attempt] = [each for each in t.store.topups("acme") if each.kind == "auto"]
    t.street.authenticate(attempt.payment)
    t.deliver()
    assert t.attempts() == ["paid"]
    assert t.balance() == "24.00 USD"
    t.check()


@pytest.mark.parametrize("succeeded", [True, False])
def test_processing_keeps_the_attempt_open(t, succeeded) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.delay(method)
    t.spend("6")
    t.run()
    t.clock.advance(DAY)
    t.spend("1")
    assert t.attempts() == ["processing"]
    [attempt] = [each for each in t.store.topups("acme") if each.kind == "auto"]
    t.street.arrive(attempt.payment, succeeded=succeeded)
    t.run()
    assert t.attempts() == ["paid" if succeeded else "declined"]
    assert t.balance() == ("23.00 USD" if succeeded else "3.00 USD")
    t.check()


def test_a_debit_that_is_on_its_way_is_looked_at_once_an_hour(t) -> None:
    """A bank takes days, and each look is a request to the provider."""
    method = t.armed("10", threshold="5", amount="20")
    t.street.delay(method)
    t.spend("6")
    t.run()
    for _ in range(3):
        [attempt] = [each for each in t.store.topups("acme") if each.kind == "auto"]
        assert (attempt.state, moment(attempt.due_at)) == ("processing", t.clock.now + HOUR)
        t.wait(HOUR)
    t.street.arrive(attempt.payment, succeeded=True)
    t.wait(HOUR)
    assert t.attempts() == ["paid"]
    t.check()


def unanswered(t, fault):
    """An attempt whose worker got no answer; the top-up that was paid before."""
    t.armed("10", threshold="5", amount="20")
    [paid] = t.store.topups("acme")
    t.run()  # the sweep is not what is looked at here
    t.spend("6")
    t.street.fault(fault)
    assert [each.what.split()[0] for each in t.run().failures] == ["top-up"]
    assert t.attempts() == ["calling"]
    return paid


FAULTS = [
    "timeout_before", "timeout_after", "error_before", "error_after", "rate_limited", "in_progress",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unknown_outcome_is_found_out_and_charged_once(t, fault) -> None:
    unanswered(t, fault)
    for _ in range(60):
        t.wait(HOUR)
    assert len([each for each in t.payments() if each.attempt]) == (fault != "error_before")
    assert t.attempts()[0] == ("failed" if fault == "error_before" else "paid")
    assert t.balance() == ("4.00 USD" if fault == "error_before" else "24.00 USD")
    t.check()


def test_an_attempt_older_than_the_provider_keeps_keys_is_only_looked_up(t) -> None:
    unanswered(t, "timeout_after")
    t.clock.advance(3 * DAY)
    t.run()
    assert t.attempts() == ["paid"]
    assert t.balance() == "24.00 USD"
    t.check()


def test_one_that_was_never_made_fails_for_good_once_keys_have_lapsed(t) -> None:
    unanswered(t, "timeout_before")
    t.clock.advance(24 * HOUR)
    t.run()
    assert t.attempts() == ["calling"], "it may be under way yet"
    t.clock.advance(2 * HOUR)
    t.run()
    assert t.attempts() == ["failed"]
    assert [each.attempt for each in t.payments() if each.attempt] == []
    t.check()


@pytest.mark.parametrize("fault", ["rate_limited", "timeout_before", "timeout_after"])
@pytest.mark.parametrize("how", ["closed", "disabled", "dispute"])
def test_what_is_not_wanted_any_more_is_looked_for_and_not_asked_for_again(t, fault, how) -> None:
    paid = unanswered(t, fault)
    if how == "closed":
        t.billing.close("acme", remainder="refund")
    elif how == "disabled":
        t.billing.set_auto_topup("acme", "off", enabled=False, threshold=usd(5), amount=usd(20))
    else:
        t.street.dispute(paid.payment)
    t.deliver()
    assert not t.billing.check("acme", usd("50")).refusal.retryable, "nothing is on its way"
    made = fault == "timeout_after"
    for _ in range(30):
        t.wait(HOUR)
    assert len([each for each in t.payments() if each.attempt]) == made
    assert t.attempts() == ["paid" if made else "failed"]
    t.check()


def test_one_that_is_wanted_again_is_asked_for_again(t) -> None:
    unanswered(t, "rate_limited")
    t.billing.set_auto_topup("acme", "off", enabled=False, threshold=usd("5"), amount=usd("20"))
    t.wait(10 * MINUTE)
    assert t.attempts() == ["calling"]
    t.enable(threshold="5", amount="20")
    t.wait(HOUR)
    assert (t.attempts(), t.balance()) == (["paid"], "24.00 USD")
    t.check()


def test_a_page_ordered_earlier_does_not_bring_its_card_back(t) -> None:
    slow = t.order("10", save_method=True)
    t.street.pay(slow.session, later=True)
    t.deliver()
    t.paid("10", save_method=True)
    t.street.deliveries()
    card = t.store.auto_topup("acme").method
    t.street.detach(t.provider.read_checkout(slow.session).method)
    t.clock.advance(3 * DAY)
    t.street.settle(slow.session, succeeded=True)
    t.deliver()
    assert (t.state(slow), t.store.auto_topup("acme").method) == ("paid", card)
    t.enable(threshold="15", amount="20")
    t.spend("10")
    t.run()
    assert t.attempts() == ["paid"]
    t.check()


def test_each_mode_s_worker_leaves_the_other_s_alone(t) -> None:
    t.armed("10", threshold="8", amount="10")
    live = FakePayments(livemode=True, clock=t.clock, ids=t.ids)
    other = Billing(t.store, clock=t.clock, ids=t.ids, payments=live)
    other.open_account("globex", livemode=True)
    t.run()
    t.spend("3")
    t.street.fault("timeout_after")
    t.run()
    t.clock.advance(26 * HOUR)
    assert other.run_pending().topups == 0
    assert t.attempts() == ["calling"], "who asks the other provider finds nothing"
    assert other.reconcile(moment(366 * 86_400_000_000), moment(t.clock() + 1)).ok
    t.run()
    assert (t.attempts(), t.balance()) == (["paid"], "17.00 USD")
    t.check()


@in_memory
def test_a_key_that_was_used_with_other_parameters_charges_nothing(t) -> None:
    unanswered(t, "error_before")
    [name] = [each.topup for each in t.store.topups("acme") if each.kind == "auto"]
    known = t.store._orgs["acme"].topups[name]
    known.asked = known.asked.replace("Automatic", "Another")
    [failure] = t.wait(HOUR).failures
    assert failure.error.kind == "key_reused"
    assert t.attempts() == ["calling"], "an earlier call with it may yet have charged"
    for _ in range(3):
        t.wait(12 * HOUR)
    assert t.attempts()[0] == "failed"
    assert [each for each in t.payments() if each.attempt == name] == []
    t.check()


def test_a_worker_that_dies_after_charging_is_relieved(t) -> None:
    """Its lease ends, and another one finds the payment."""
    t.armed("10", threshold="5", amount="20")
    t.run()
    t.spend("6")
    real = t.billing._do

    def dying(command, kind):
        if getattr(command, "payment", None) is not None:
            raise KeyboardInterrupt
        return real(command, kind)

    t.billing._do = dying
    with pytest.raises(KeyboardInterrupt):
        t.run()
    assert t.attempts() == ["calling"]
    t.billing = t.engine()
    assert t.run().topups == 0, "the lease is another's"
    t.wait(5 * MINUTE)
    assert t.attempts() == ["paid"]
    assert len([each for each in t.payments() if each.attempt]) == 1
    t.check()


def test_a_method_that_was_removed_is_charged_no_more(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.detach(method)
    t.deliver()
    assert (t.auto().has_saved_method, t.auto().stopped) == (False, "method")
    t.spend("6")
    t.run()
    assert t.attempts() == []
    t.paid("10", save_method=True)
    assert t.auto().stopped is None
    t.spend("10")
    t.run()
    assert t.attempts() == ["paid"]
    t.check()


def test_a_method_that_was_removed_unheard_of_fails_the_attempt(t) -> None:
    method = t.armed("10", threshold="5", amount="20")
    t.street.detach(method)
    t.street.deliveries()
    t.billing._work._sweep = lambda run, topups: None
    t.spend("6")
    t.run()
    assert t.attempts() == ["failed"]
    t.check()


def test_caps_hold(t) -> None:
    t.armed("10", threshold="8", amount="5", cap=usd("12"))
    for _ in range(20):
        t.clock.advance(10 * MINUTE)
        t.run()
        t.billing.settle("acme", t.key(), usage_of_nothing())
        if t.billing.balance("acme").available > usd("3").nanos:
            t.spend("3")
    assert t.attempts() == ["paid", "paid"]
    assert t.events().count("auto_topup_capped") == 1
    assert len([each for each in t.payments() if each.attempt]) == 2
    t.clock.advance(31 * DAY)
    t.spend("1")
    t.run()
    assert t.attempts() == ["paid"] * 3, "another billing period"
    t.check()


def test_the_platform_caps_the_number_of_attempts() -> None:
    with till("fake", topups=TopUpRules(times=2)) as t:
        t.armed("10", threshold="8", amount="5", times=5)
        for _ in range(20):
            t.clock.advance(10 * MINUTE)
            t.run()
            if t.billing.balance("acme").available > usd("3").nanos:
                t.spend("3")
        assert t.attempts() == ["paid", "paid"]
        t.check()


@pytest.mark.parametrize("how", ["disable", "close"])
def test_what_nobody_was_asked_for_is_dropped(t, how) -> None:
    t.armed("10", threshold="5", amount="20")
    t.spend("6")
    if how == "disable":
        t.billing.set_auto_topup("acme", "off", enabled=False, threshold=usd("5"), amount=usd("20"))
    else:
        t.billing.close("acme", remainder="write_off")
    t.run()
    assert t.attempts() == ["dropped"]
    assert len(t.payments()) == 1
    t.check()


def test_a_payment_that_arrives_after_closing_is_on_record(t) -> None:
    page = t.order()
    t.billing.close("acme", remainder="write_off")
    t.street.pay(page.session)
    assert t.billing.confirm("acme", page.session).paid
    assert t.balance() == "10.00 USD"
    t.billing.refund("acme", "back", topup=page.topup)
    assert t.balance() == "0.00 USD"
    t.check()


def test_events_reach_the_host_in_order_and_again_if_it_fails(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.spend("6")
    told = []

    def deliver(event) -> None:
        told.append((event.id, event.kind))
        if len(told) == 2:
            raise ConnectionError("the host is away")

    t.run()
    assert [each.what for each in t.run(deliver=deliver).failures] == ["event 14/1"] or told
    assert len(told) == 2
    assert t.run(deliver=deliver).delivered == 0, "not at once"
    t.clock.advance(2 * MINUTE)
    t.run(deliver=deliver)
    assert told[1] == told[2]
    assert [kind for _, kind in told] == ["topup_succeeded"] + ["topup_succeeded"] * 2
    assert t.run(deliver=deliver).delivered == 0
    assert len({id_ for id_, _ in told}) == 2
    t.check()


def test_workers_pass_over_what_another_has(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.spend("6")
    now = t.clock()
    assert t.store.lease_events("acme", "other", now, now + 1_000_000)
    assert t.run(deliver=lambda event: None).delivered == 0
    assert not t.store.delivered("acme", "nobody", 1, 1)
    t.wait(MINUTE)
    assert t.billing.run_pending(deliver=lambda event: None).delivered == 2


def test_a_run_ends_when_it_is_told_to(t) -> None:
    t.armed("10", threshold="5", amount="20")
    t.spend("6")
    assert t.run(until=t.clock.now).done == 0
    assert t.attempts() == ["due"]
