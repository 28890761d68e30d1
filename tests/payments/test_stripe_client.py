"""What the Stripe adapter says on the wire, and what it makes of the answers."""

import socket
import subprocess
import sys
import threading

import pytest
import stripe
from payment_worlds import stripe_world

from billing_adapters.stripe_payments import API_VERSION, StripePayments
from billing_adapters.stripe_replies import NOTICES
from billing_core import InvalidCommand, PaymentError
from billing_core.testing.payments.world import (
    SECOND,
    Saved,
    all_of,
    order,
    paid_checkout,
    payment_of,
    refused,
)


@pytest.fixture
def stripes():
    with stripe_world() as world_and_api:
        yield world_and_api


def posts(api):
    return [
        (path, params, headers) for method, path, params, headers in api.seen if method == "POST"
    ]


def test_a_checkout_says_what_it_must(stripes) -> None:
    world, api = stripes
    world.provider.create_checkout(
        order(save_method=True, receipt_email="a@b.example", automatic_tax=True), key="order-1"
    )
    ((path, params, _),) = posts(api)
    assert path == "/v1/checkout/sessions"
    ours = {"billing_org": "acme", "billing_order": "order-1"}
    assert params["metadata"] == ours and params["payment_intent_data"]["metadata"] == ours
    assert params["payment_intent_data"]["setup_future_usage"] == "off_session"
    assert params["payment_intent_data"]["receipt_email"] == "a@b.example"
    assert params["customer_creation"] == "always" and "customer" not in params
    assert params["automatic_tax"] == {"enabled": "true"}
    assert params["adaptive_pricing"] == {"enabled": "false"}
    line = params["line_items"]["0"]
    assert line["price_data"]["unit_amount"] == "5000" and line["quantity"] == "1"
    assert line["price_data"]["tax_behavior"] == "exclusive"
    assert "{CHECKOUT_SESSION_ID}" in params["success_url"]


def test_a_plain_checkout_asks_for_nothing_else(stripes) -> None:
    world, api = stripes
    world.provider.create_checkout(order(), key="order-1")
    ((_, params, _),) = posts(api)
    absent = {"customer", "customer_creation", "customer_update", "automatic_tax"}
    assert not absent & set(params)
    assert not {"setup_future_usage", "receipt_email"} & set(params["payment_intent_data"])


def test_a_known_customer_with_tax_may_get_an_address(stripes) -> None:
    world, api = stripes
    customer, _ = world.street.save_method()
    asked = order(customer=customer, automatic_tax=True, save_method=True)
    world.provider.create_checkout(asked, key="order-1")
    ((_, params, _),) = posts(api)
    assert params["customer"] == customer and params["customer_update"] == {"address": "auto"}
    assert "customer_creation" not in params


def test_a_charge_says_what_it_must(stripes) -> None:
    world, api = stripes
    world.provider.charge(Saved(*world.street.save_method()).attempt("a-1"))
    ((path, params, _),) = posts(api)
    assert path == "/v1/payment_intents"
    assert params["metadata"] == {"billing_org": "acme", "billing_attempt": "a-1"}
    assert (params["off_session"], params["confirm"]) == ("true", "true")
    assert (params["amount"], params["currency"]) == ("700", "usd")


def test_every_post_has_our_key_and_every_request_the_pinned_version(stripes) -> None:
    world, api = stripes
    checkout = paid_checkout(world)
    payment = payment_of(world, checkout)
    world.provider.charge(Saved(*world.street.save_method()).attempt("a-1"))
    world.provider.refund(payment.id, key="r-1", amount=5)
    keys = [headers["Idempotency-Key"] for _, _, headers in posts(api)]
    assert keys == ["order-1", "a-1", "r-1"]
    assert {headers["Stripe-Version"] for *_, headers in api.seen} == {API_VERSION}
    gets = [headers for method, _, _, headers in api.seen if method == "GET"]
    assert gets and not any("Idempotency-Key" in headers for headers in gets)


def test_the_pinned_version_is_of_the_clients_major_release() -> None:
    assert API_VERSION.endswith(stripe._api_version._ApiVersion.CURRENT_MAJOR)


def test_a_list_of_events_takes_all_types_that_are_read() -> None:
    assert len(NOTICES) <= 20


@pytest.mark.parametrize("retries", [0, 2])
def test_reads_are_repeated_so_often_and_charges_never(retries: int) -> None:
    with stripe_world(retries=retries) as (world, api):
        saved = Saved(*world.street.save_method())
        faults = ["timeout_before"] * retries
        world.street.fault(*faults)
        assert world.provider.notices(0).items
        assert len(api.seen) == 1 + retries
        world.street.fault("timeout_after", "timeout_after", "timeout_after")
        with pytest.raises(PaymentError) as error:
            world.provider.charge(saved.attempt("a-1"))
        assert refused(error) == ("unknown_outcome", True, True)
        assert len(posts(api)) == 1
        world.street.faults.clear()
        assert len(all_of(world)) == 1


def test_a_checkout_is_repeated_with_the_same_key() -> None:
    with stripe_world(retries=1) as (world, api):
        world.street.fault("timeout_after")
        opened = world.provider.create_checkout(order(), key="order-1")
        assert [headers["Idempotency-Key"] for _, _, headers in posts(api)] == ["order-1"] * 2
        assert list(world.street.sessions) == [opened.id]


def test_a_server_that_hangs_is_not_waited_for() -> None:
    with stripe_world(timeout=0.2) as (world, api):
        saved = Saved(*world.street.save_method())
        world.street.fault("hang")
        with pytest.raises(PaymentError) as error:
            world.provider.charge(saved.attempt("a-1"))
        assert refused(error) == ("unknown_outcome", True, True)
        assert isinstance(error.value.__cause__, stripe.APIConnectionError)
        world.street.fault("hang")
        with pytest.raises(PaymentError) as error:
            world.provider.read_payment("pi_1")
        assert refused(error) == ("unavailable", True, False)
        api.hold.set()
        assert world.provider.charge(saved.attempt("a-1")).state == "succeeded"


def test_nobody_there_is_an_unknown_outcome_too() -> None:
    """Whether a request left cannot be told apart reliably, so it is not claimed."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        provider = StripePayments("sk_test_abc", livemode=False, retries=0, address=address)
        with pytest.raises(PaymentError) as error:
            provider.charge(Saved("cus_1", "pm_1").attempt("a-1"))
        assert refused(error) == ("unknown_outcome", True, True)


def test_a_request_whose_twin_is_running_is_a_conflict(stripes) -> None:
    """Two at once with one key, the first held up on its way."""
    world, _ = stripes
    saved = Saved(*world.street.save_method())
    handle, running, go_on = world.street.handle, threading.Event(), threading.Event()

    def slow(method, path, params):
        if method == "POST":
            running.set()
            assert go_on.wait(30)
        return handle(method, path, params)

    world.street.handle = slow
    first = threading.Thread(target=world.provider.charge, args=(saved.attempt("a-1"),))
    first.start()
    assert running.wait(30)
    with pytest.raises(PaymentError) as error:
        world.provider.charge(saved.attempt("a-1"))
    assert refused(error) == ("in_progress", True, True)
    go_on.set()
    first.join()
    assert world.provider.charge(saved.attempt("a-1")).state == "succeeded"
    assert len(all_of(world)) == 1


def test_once_a_key_is_pruned_repeating_charges_again_and_looking_prefers_success(stripes) -> None:
    """Why an old attempt is looked up and never repeated."""
    world, _ = stripes
    saved = Saved(*world.street.save_method())
    first = world.provider.charge(saved.attempt("a-1"))
    world.clock.advance(SECOND + world.provider.keys_kept // 1_000_000 * SECOND)
    world.street.decline(saved.method)
    second = world.provider.charge(saved.attempt("a-1"))
    assert (first.state, second.state) == ("succeeded", "declined")
    assert world.provider.find_charge("a-1", customer=saved.customer, since=0) == first


def test_keys_are_kept_for_as_long_as_is_claimed(stripes) -> None:
    world, _ = stripes
    saved = Saved(*world.street.save_method())
    first = world.provider.charge(saved.attempt("a-1"))
    world.clock.advance((world.provider.keys_kept // 1_000_000 - 1) * SECOND)
    assert world.provider.charge(saved.attempt("a-1")).id == first.id


def test_looking_reads_every_page(stripes) -> None:
    world, _api = stripes
    saved = Saved(*world.street.save_method())
    first = world.provider.charge(saved.attempt("a-1"))
    for _ in range(150):
        world.street.succeed(
            world.street.put_intent(amount=700, currency="usd", customer=saved.customer)
        )
    assert world.provider.find_charge("a-1", customer=saved.customer, since=0) == first


def test_payments_of_others_on_the_account_are_listed_as_such(stripes) -> None:
    world, _ = stripes
    intent = world.street.put_intent(amount=700, currency="usd")
    world.street.succeed(intent)
    (payment,) = all_of(world)
    assert (payment.org, payment.order, payment.attempt) == (None, None, None)
    assert payment == world.provider.read_payment(intent["id"])


def test_an_order_whose_checkout_is_gone_has_no_subtotal(stripes) -> None:
    world, _ = stripes
    checkout = paid_checkout(world)
    del world.street.sessions[checkout.id]
    payment = payment_of(world, checkout)
    assert (payment.subtotal, payment.checkout, payment.received) == (None, None, 5000)


@pytest.mark.parametrize("won", [True, False])
def test_a_dispute_settled_in_another_currency_is_counted_in_the_payments(stripes, won) -> None:
    world, _ = stripes
    world.street.settles_in = "eur"
    payment = payment_of(world, paid_checkout(world))
    world.street.close_dispute(world.street.dispute(payment.id, 2000), won=won)
    (found,) = world.provider.read_payment(payment.id).disputes
    assert (found.withdrawn, found.reinstated) == (2000, 2000 if won else 0)


@pytest.mark.parametrize("apart", [0, 1])
def test_a_dispute_lost_after_it_was_won_in_another_currency_has_taken_it(stripes, apart) -> None:
    world, _ = stripes
    world.street.settles_in = "eur"
    payment = payment_of(world, paid_checkout(world))
    dispute = world.street.dispute(payment.id, 2000)
    held = []
    for won in (True, False, True, False):
        world.clock.advance(apart * SECOND)
        world.street.close_dispute(dispute, won=won)
        held.append(world.provider.read_payment(payment.id).disputed)
    assert held == [0, 2000, 0, 2000]
    (found,) = world.provider.read_payment(payment.id).disputes
    assert found.withdrawn == 6000, "what is taken again is news"


def test_a_dispute_taken_in_parts_in_another_currency_is_taken_and_given_back_once(stripes) -> None:
    world, _ = stripes
    world.street.settles_in = "eur"
    payment = payment_of(world, paid_checkout(world))
    name = world.street.dispute(payment.id, 2000)
    made = world.street.disputes[name]
    world.clock.advance(SECOND)
    world.street.move(made, -500, "dispute")
    assert world.provider.read_payment(payment.id).disputed == 2000
    world.clock.advance(SECOND)
    world.street.close_dispute(name, won=True)
    now = world.provider.read_payment(payment.id)
    assert (now.disputed, now.excess) == (0, None)


def test_the_mode_is_that_of_what_was_read_not_what_was_configured(stripes) -> None:
    world, _ = stripes
    world.street.livemode = True
    checkout = paid_checkout(world)
    assert checkout.livemode and payment_of(world, checkout).livemode
    assert not world.provider.livemode


def test_a_wrong_key_is_unauthorized(stripes) -> None:
    world, api = stripes
    api.key = "sk_test_other"
    with pytest.raises(PaymentError, match="check the API key") as error:
        world.provider.create_checkout(order(), key="order-1")
    assert refused(error) == ("unauthorized", False, False)


def test_a_key_without_permission_is_unauthorized(stripes) -> None:
    world, _ = stripes
    world.street.fault("forbidden")
    with pytest.raises(PaymentError) as error:
        world.provider.notices(0)
    assert refused(error) == ("unauthorized", False, False)


def test_what_stripe_refuses_is_told_in_its_words(stripes) -> None:
    world, _ = stripes
    with pytest.raises(PaymentError, match=r"order 'order-1'.*at least") as error:
        world.provider.create_checkout(order(amount=10), key="order-1")
    assert refused(error) == ("invalid_request", False, False)
    assert error.value.code == "amount_too_small"
    assert isinstance(error.value.__cause__, stripe.InvalidRequestError)
    # The key was not used up.
    assert world.provider.create_checkout(order(), key="order-1").state == "open"


@pytest.mark.parametrize(
    ("key", "livemode"),
    [("sk_test_1", True), ("rk_test_1", True), ("sk_live_1", False), ("rk_live_1", False)],
)
def test_a_key_of_the_other_mode_is_refused(key: str, livemode: bool) -> None:
    with pytest.raises(InvalidCommand, match="api_key"):
        StripePayments(key, livemode=livemode)


def test_without_stripe_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['stripe'] = None; import billing_adapters.stripe_payments"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'billing-core[stripe]'" in done.stderr
