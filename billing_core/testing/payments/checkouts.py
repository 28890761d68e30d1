"""The contract of checkouts, and of money that goes back."""

from __future__ import annotations

import pytest

from billing_core.errors import PaymentError
from billing_core.testing.payments.world import (
    Fault,
    PaymentWorld,
    Saved,
    WorldContract,
    all_of,
    notices_of,
    order,
    paid_checkout,
    payment_of,
    refused,
)

__all__ = ["CheckoutContract", "DisputeContract", "RefundContract"]


class CheckoutContract(WorldContract):
    def test_a_checkout_is_opened_for_an_order(self, world: PaymentWorld) -> None:
        opened = world.provider.create_checkout(order(), key="order-1")
        assert (opened.state, opened.paid, opened.payment) == ("open", "unpaid", None)
        assert (opened.subtotal, opened.total, opened.currency) == (5000, 5000, "USD")
        assert (opened.org, opened.order) == ("acme", "order-1")
        assert opened.livemode is world.provider.livemode
        assert opened.url and opened.url.startswith("http")
        assert world.provider.read_checkout(opened.id) == opened
        assert all_of(world) == []

    def test_a_paid_checkout_names_its_payment_and_the_payment_its_order(
        self, world: PaymentWorld
    ) -> None:
        checkout = paid_checkout(world)
        assert (checkout.state, checkout.paid) == ("complete", "paid")
        payment = payment_of(world, checkout)
        assert (payment.state, payment.received, payment.subtotal) == ("succeeded", 5000, 5000)
        assert (payment.org, payment.order, payment.attempt) == ("acme", "order-1", None)
        assert payment.checkout == checkout.id
        assert payment.livemode is world.provider.livemode

    def test_a_method_is_saved_when_asked(self, world: PaymentWorld) -> None:
        checkout = paid_checkout(world, save_method=True)
        assert checkout.customer and checkout.method
        charged = world.provider.charge(Saved(checkout.customer, checkout.method).attempt("a-1"))
        assert charged.state == "succeeded"

    def test_a_method_is_not_saved_unasked(self, world: PaymentWorld) -> None:
        assert paid_checkout(world).method is None

    def test_a_customer_who_is_known_stays_the_same(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        checkout = paid_checkout(world, customer=saved.customer, save_method=True)
        assert checkout.customer == saved.customer
        assert checkout.method not in (None, saved.method)

    def test_an_unknown_customer_is_refused(self, world: PaymentWorld) -> None:
        with pytest.raises(PaymentError) as error:
            world.provider.create_checkout(order(customer="nobody"), key="order-1")
        assert refused(error) == ("not_found", False, False)
        assert error.value.missing == "customer"

    def test_a_customer_who_was_deleted_is_refused(self, world: PaymentWorld, saved: Saved) -> None:
        world.street.delete_customer(saved.customer)
        with pytest.raises(PaymentError) as error:
            world.provider.create_checkout(order(customer=saved.customer), key="order-1")
        assert refused(error) == ("not_found", False, False)
        assert error.value.missing == "customer"
        assert world.provider.create_checkout(order(), key="order-2").state == "open"

    def test_tax_comes_on_top_of_the_subtotal(self, world: PaymentWorld, saved: Saved) -> None:
        asked = order(automatic_tax=True, customer=saved.customer, receipt_email="a@b.example")
        opened = world.provider.create_checkout(asked, key="order-1")
        world.street.pay(opened.id, tax=950)
        checkout = world.provider.read_checkout(opened.id)
        assert (checkout.subtotal, checkout.total) == (5000, 5950)
        payment = payment_of(world, checkout)
        assert (payment.subtotal, payment.amount, payment.received) == (5000, 5950, 5950)
        assert [each.subtotal for each in all_of(world)] == [5000]

    def test_an_amount_altered_by_a_discount_shows(self, world: PaymentWorld) -> None:
        opened = world.provider.create_checkout(order(), key="order-1")
        world.street.pay(opened.id, discount=1000, tax=400)
        checkout = world.provider.read_checkout(opened.id)
        assert (checkout.subtotal, checkout.total) == (4000, 4400)
        assert payment_of(world, checkout).subtotal == 4000

    def test_nothing_to_pay_is_no_payment(self, world: PaymentWorld) -> None:
        opened = world.provider.create_checkout(order(), key="order-1")
        world.street.pay(opened.id, discount=5000)
        checkout = world.provider.read_checkout(opened.id)
        assert (checkout.paid, checkout.payment) == ("no_payment_required", None)
        assert (checkout.subtotal, checkout.total) == (0, 0)

    def test_a_currency_that_was_altered_shows(self, world: PaymentWorld) -> None:
        opened = world.provider.create_checkout(order(), key="order-1")
        world.street.pay(opened.id, currency="EUR")
        checkout = world.provider.read_checkout(opened.id)
        assert checkout.currency == "EUR"
        assert payment_of(world, checkout).currency == "EUR"

    @pytest.mark.parametrize("succeeded", [True, False])
    def test_unpaid_is_not_final(self, world: PaymentWorld, succeeded: bool) -> None:
        opened = world.provider.create_checkout(order(), key="order-1")
        world.street.pay(opened.id, later=True)
        waiting = world.provider.read_checkout(opened.id)
        assert (waiting.state, waiting.paid) == ("complete", "unpaid")
        assert payment_of(world, waiting).state == "processing"
        assert payment_of(world, waiting).received == 0
        notices_of(world)
        world.street.settle(opened.id, succeeded=succeeded)
        assert opened.id in {notice.checkout for notice in notices_of(world)}
        done = world.provider.read_checkout(opened.id)
        assert done.paid == ("paid" if succeeded else "unpaid")
        assert payment_of(world, done).received == (5000 if succeeded else 0)
        assert payment_of(world, done).state == ("succeeded" if succeeded else "declined")

    def test_an_expired_checkout(self, world: PaymentWorld) -> None:
        opened = world.provider.create_checkout(order(), key="order-1")
        notices_of(world)
        world.street.expire(opened.id)
        assert [notice.checkout for notice in notices_of(world)] == [opened.id]
        expired = world.provider.read_checkout(opened.id)
        assert (expired.state, expired.paid, expired.url) == ("expired", "unpaid", None)

    def test_a_declined_card_leaves_a_checkout_open(self, world: PaymentWorld) -> None:
        opened = world.provider.create_checkout(order(), key="order-1")
        world.street.refuse(opened.id)
        tried = world.provider.read_checkout(opened.id)
        assert (tried.state, tried.paid) == ("open", "unpaid")
        assert payment_of(world, tried).state == "declined"
        world.street.pay(opened.id)
        done = world.provider.read_checkout(opened.id)
        assert done.payment == tried.payment
        assert payment_of(world, done).received == 5000

    def test_a_repeated_key_opens_one_checkout(self, world: PaymentWorld) -> None:
        opened = world.provider.create_checkout(order(), key="order-1")
        assert world.provider.create_checkout(order(), key="order-1").id == opened.id
        assert world.provider.create_checkout(order("order-2"), key="order-2").id != opened.id

    def test_a_key_with_another_order_is_refused(self, world: PaymentWorld) -> None:
        world.provider.create_checkout(order(), key="order-1")
        with pytest.raises(PaymentError) as error:
            world.provider.create_checkout(order(amount=6000), key="order-1")
        assert refused(error) == ("key_reused", False, False)

    def test_a_checkout_whose_answer_was_lost_is_found_by_its_key(
        self, world: PaymentWorld
    ) -> None:
        world.street.fault("timeout_after")
        with pytest.raises(PaymentError) as error:
            world.provider.create_checkout(order(), key="order-1")
        assert refused(error) == ("unknown_outcome", True, True)
        opened = world.provider.create_checkout(order(), key="order-1")
        assert world.provider.create_checkout(order(), key="order-1") == opened

    def test_what_is_not_there_is_not_found(self, world: PaymentWorld) -> None:
        with pytest.raises(PaymentError) as error:
            world.provider.read_checkout("cs_none")
        assert refused(error) == ("not_found", False, False)
        with pytest.raises(PaymentError) as error:
            world.provider.read_payment("pi_none")
        assert refused(error) == ("not_found", False, False)

    @pytest.mark.parametrize("fault", ["timeout_before", "error_before", "error_after"])
    def test_a_read_that_fails_is_repeated(self, world: PaymentWorld, fault: Fault) -> None:
        checkout = paid_checkout(world)
        world.street.fault(fault)
        with pytest.raises(PaymentError) as error:
            world.provider.read_checkout(checkout.id)
        assert refused(error) == ("unavailable", True, False)
        assert world.provider.read_checkout(checkout.id) == checkout

    @pytest.mark.parametrize(
        ("currency", "amount", "part"),
        [("USD", 1999, 1), ("JPY", 1999, 1), ("KWD", 51_230, 10), ("ISK", 50_000, 100)],
    )
    def test_every_kind_of_currency_end_to_end(
        self, world: PaymentWorld, saved: Saved, currency: str, amount: int, part: int
    ) -> None:
        checkout = paid_checkout(world, amount=amount, currency=currency)
        payment = payment_of(world, checkout)
        assert (payment.currency, payment.received) == (currency, amount)
        world.provider.refund(payment.id, key="r-1", amount=part)
        assert payment_of(world, checkout).kept == amount - part
        charged = world.provider.charge(saved.attempt("a-1", amount, currency))
        assert (charged.currency, charged.received) == (currency, amount)


class RefundContract(WorldContract):
    def test_part_of_a_payment_and_then_the_rest(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        part = world.provider.refund(payment.id, key="r-1", amount=1200)
        assert (part.payment, part.amount, part.key) == (payment.id, 1200, "r-1")
        now = world.provider.read_payment(payment.id)
        assert (now.refunded, now.kept, now.received) == (1200, 3800, 5000)
        rest = world.provider.refund(payment.id, key="r-2")
        assert rest.amount == 3800
        done = world.provider.read_payment(payment.id)
        assert (done.refunded, done.kept, done.state) == (5000, 0, "succeeded")
        assert {each.key for each in done.refunds} == {"r-1", "r-2"}

    def test_more_than_is_left_is_refused(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        world.provider.refund(payment.id, key="r-1", amount=1)
        with pytest.raises(PaymentError) as error:
            world.provider.refund(payment.id, key="r-2", amount=5000)
        assert refused(error) == ("invalid_request", False, False)
        world.provider.refund(payment.id, key="r-3")
        with pytest.raises(PaymentError) as error:
            world.provider.refund(payment.id, key="r-4")
        assert refused(error) == ("invalid_request", False, False)

    def test_a_repeated_key_refunds_once(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        first = world.provider.refund(payment.id, key="r-1", amount=100)
        assert world.provider.refund(payment.id, key="r-1", amount=100) == first
        with pytest.raises(PaymentError) as error:
            world.provider.refund(payment.id, key="r-1", amount=200)
        assert refused(error) == ("key_reused", False, False)
        assert world.provider.read_payment(payment.id).refunded == 100

    @pytest.mark.parametrize(("fault", "refunded"), [("timeout_before", 0), ("timeout_after", 100)])
    def test_a_refund_whose_answer_was_lost(
        self, world: PaymentWorld, fault: Fault, refunded: int
    ) -> None:
        payment = payment_of(world, paid_checkout(world))
        world.street.fault(fault)
        with pytest.raises(PaymentError) as error:
            world.provider.refund(payment.id, key="r-1", amount=100)
        assert refused(error) == ("unknown_outcome", True, True)
        found = world.provider.read_payment(payment.id)
        assert found.refunded == refunded
        assert [each.key for each in found.refunds] == (["r-1"] if refunded else [])
        world.provider.refund(payment.id, key="r-1", amount=100)
        assert world.provider.read_payment(payment.id).refunded == 100

    @pytest.mark.parametrize("succeeded", [True, False])
    def test_a_pending_refund_counts_and_a_failed_one_does_not(
        self, world: PaymentWorld, succeeded: bool
    ) -> None:
        payment = payment_of(world, paid_checkout(world))
        world.street.hold_refunds()
        refund = world.provider.refund(payment.id, key="r-1", amount=2000)
        assert refund.state == "pending"
        assert world.provider.read_payment(payment.id).refunded == 2000
        notices_of(world)
        world.street.settle_refund(refund.id, succeeded=succeeded)
        assert [(n.kind, n.payment) for n in notices_of(world)] == [("refund", payment.id)]
        done = world.provider.read_payment(payment.id)
        assert done.refunded == (2000 if succeeded else 0)
        assert [each.state for each in done.refunds] == ["succeeded" if succeeded else "failed"]

    def test_a_refund_can_fail_after_it_succeeded(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        refund = world.provider.refund(payment.id, key="r-1")
        assert refund.state == "succeeded"
        world.street.settle_refund(refund.id, succeeded=False)
        assert world.provider.read_payment(payment.id).kept == 5000
        assert world.provider.refund(payment.id, key="r-2").amount == 5000

    def test_a_refund_by_hand_has_no_key_of_ours(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        notices_of(world)
        by_hand = world.street.refund_in_dashboard(payment.id, 300)
        assert {(n.kind, n.payment) for n in notices_of(world)} == {("refund", payment.id)}
        refunds = world.provider.read_payment(payment.id).refunds
        assert [(each.id, each.amount, each.key) for each in refunds] == [(by_hand, 300, None)]

    def test_every_one_of_many_refunds_counts(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        for _ in range(25):
            world.street.refund_in_dashboard(payment.id, 10)
        assert world.provider.read_payment(payment.id).refunded == 250
        assert [each.refunded for each in all_of(world)] == [250]

    def test_a_payment_that_failed_has_nothing_to_refund(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        world.street.decline(saved.method)
        declined = world.provider.charge(saved.attempt("a-1"))
        with pytest.raises(PaymentError) as error:
            world.provider.refund(declined.id, key="r-1")
        assert refused(error) == ("invalid_request", False, False)


class DisputeContract(WorldContract):
    def test_an_opened_dispute_has_taken_its_money(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        notices_of(world)
        world.street.dispute(payment.id)
        assert {(n.kind, n.payment) for n in notices_of(world)} == {("dispute", payment.id)}
        now = world.provider.read_payment(payment.id)
        assert [(each.state, each.withdrawn) for each in now.disputes] == [("open", 5000)]
        assert (now.disputed, now.kept, now.received) == (5000, 0, 5000)
        assert [each.disputed for each in all_of(world)] == [5000]

    def test_a_won_dispute_gives_it_back(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        dispute = world.street.dispute(payment.id)
        world.street.close_dispute(dispute, won=True)
        now = world.provider.read_payment(payment.id)
        (found,) = now.disputes
        assert (found.state, found.withdrawn, found.reinstated) == ("won", 5000, 5000)
        assert now.kept == 5000

    def test_a_lost_dispute_does_not(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        dispute = world.street.dispute(payment.id, 1500)
        world.street.close_dispute(dispute, won=False)
        now = world.provider.read_payment(payment.id)
        (found,) = now.disputes
        assert (found.state, found.withdrawn, found.reinstated) == ("lost", 1500, 0)
        assert now.kept == 3500

    def test_what_is_reinstated_can_be_a_part(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        dispute = world.street.dispute(payment.id, 2000)
        world.street.close_dispute(dispute, won=True, reinstated=500)
        assert world.provider.read_payment(payment.id).disputed == 1500

    def test_a_dispute_that_is_lost_after_it_was_won_takes_it_again(
        self, world: PaymentWorld
    ) -> None:
        payment = payment_of(world, paid_checkout(world))
        dispute = world.street.dispute(payment.id, 2000)
        world.street.close_dispute(dispute, won=True)
        assert world.provider.read_payment(payment.id).kept == 5000
        world.street.close_dispute(dispute, won=False)
        now = world.provider.read_payment(payment.id)
        (found,) = now.disputes
        assert (found.state, found.withdrawn - found.reinstated) == ("lost", 2000)
        assert (now.disputed, now.kept, now.excess) == (2000, 3000, None)
        assert all_of(world) == [now]

    def test_more_given_back_than_was_taken_is_not_believed(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        other = world.street.dispute(payment.id, 1000)
        dispute = world.street.dispute(payment.id, 2000)
        world.street.close_dispute(dispute, won=True, reinstated=2500)
        now = world.provider.read_payment(payment.id)
        assert (now.disputed, now.kept) == (1000, 4000), "nor is it taken off another dispute"
        assert now.excess is not None and now.excess.startswith("500 more than was taken")
        world.street.close_dispute(other, won=True)
        assert world.provider.read_payment(payment.id).kept == 5000

    def test_an_inquiry_moves_no_money(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        inquiry = world.street.dispute(payment.id, inquiry=True)
        now = world.provider.read_payment(payment.id)
        assert [(each.state, each.withdrawn) for each in now.disputes] == [("inquiry", 0)]
        world.street.close_dispute(inquiry, won=True)
        now = world.provider.read_payment(payment.id)
        assert [each.state for each in now.disputes] == ["closed"] and now.kept == 5000

    def test_disputed_and_refunded_keeps_nothing_and_not_less(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        world.provider.refund(payment.id, key="r-1", amount=3000)
        world.street.dispute(payment.id, 5000)
        now = world.provider.read_payment(payment.id)
        assert (now.refunded, now.disputed, now.kept) == (3000, 5000, 0)
        assert now.excess is not None and now.excess.startswith("3000 more than was paid")

    def test_disputes_of_parts_add_up(self, world: PaymentWorld) -> None:
        payment = payment_of(world, paid_checkout(world))
        first = world.street.dispute(payment.id, 1000)
        world.street.dispute(payment.id, 2000)
        assert world.provider.read_payment(payment.id).disputed == 3000
        world.street.close_dispute(first, won=True)
        assert world.provider.read_payment(payment.id).disputed == 2000
