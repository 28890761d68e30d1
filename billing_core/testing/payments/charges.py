"""The contract of charging saved methods, above all where answers are lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from attrs import evolve

from billing_core.errors import PaymentError
from billing_core.ports.payments import Payment
from billing_core.testing.payments.world import (
    SECOND,
    Fault,
    PaymentWorld,
    Saved,
    WorldContract,
    all_of,
    notices_of,
    refused,
)

__all__ = ["ChargeContract", "UnknownOutcomeContract"]


class ChargeContract(WorldContract):
    def test_a_charge_succeeds(self, world: PaymentWorld, saved: Saved) -> None:
        payment = world.provider.charge(saved.attempt("a-1"))
        assert (payment.state, payment.received, payment.subtotal) == ("succeeded", 700, 700)
        assert (payment.org, payment.attempt, payment.order) == ("acme", "a-1", None)
        assert (payment.customer, payment.method) == (saved.customer, saved.method)
        assert payment.currency == "USD" and payment.kept == 700
        assert payment.livemode is world.provider.livemode
        assert payment.created == world.clock() // 1_000_000 * 1_000_000
        assert payment.failure is None and payment.recovery is None

    def test_a_repeated_attempt_charges_once(self, world: PaymentWorld, saved: Saved) -> None:
        first = world.provider.charge(saved.attempt("a-1"))
        world.provider.refund(first.id, key="r-1", amount=200)
        again = world.provider.charge(saved.attempt("a-1"))
        # As it stands, not as it was first answered.
        assert again.id == first.id and again.refunded == 200
        assert [each.id for each in all_of(world)] == [first.id]

    def test_an_attempt_with_another_amount_is_refused(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        world.provider.charge(saved.attempt("a-1"))
        with pytest.raises(PaymentError) as error:
            world.provider.charge(saved.attempt("a-1", amount=800))
        assert refused(error) == ("key_reused", False, False)
        assert [each.amount for each in all_of(world)] == [700]

    def test_a_declined_charge_is_an_answer(self, world: PaymentWorld, saved: Saved) -> None:
        world.street.decline(saved.method, code="insufficient_funds")
        payment = world.provider.charge(saved.attempt("a-1"))
        assert (payment.state, payment.received) == ("declined", 0)
        assert payment.failure == "insufficient_funds" and payment.recovery is None
        assert (payment.org, payment.attempt) == ("acme", "a-1")

    def test_a_declined_attempt_is_not_tried_again(self, world: PaymentWorld, saved: Saved) -> None:
        world.street.decline(saved.method, times=1)
        first = world.provider.charge(saved.attempt("a-1"))
        assert world.provider.charge(saved.attempt("a-1")) == first
        assert world.provider.charge(saved.attempt("a-2")).state == "succeeded"

    def test_authentication_required_can_be_recovered(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        world.street.require_authentication(saved.method)
        asked = world.provider.charge(saved.attempt("a-1"))
        assert (asked.state, asked.received) == ("authentication_required", 0)
        assert asked.recovery and asked.failure == "authentication_required"
        assert asked.recovery not in repr(asked)
        world.street.authenticate(asked.id)
        done = world.provider.read_payment(asked.id)
        assert (done.state, done.received, done.attempt) == ("succeeded", 700, "a-1")
        assert done.recovery is None and done.failure is None

    @pytest.mark.parametrize("succeeded", [True, False])
    def test_a_charge_under_way_is_neither_success_nor_failure(
        self, world: PaymentWorld, saved: Saved, succeeded: bool
    ) -> None:
        world.street.delay(saved.method)
        payment = world.provider.charge(saved.attempt("a-1"))
        assert (payment.state, payment.received) == ("processing", 0)
        notices_of(world)
        world.street.arrive(payment.id, succeeded=succeeded)
        assert {notice.payment for notice in notices_of(world)} == {payment.id}
        done = world.provider.read_payment(payment.id)
        expected = ("succeeded", 700) if succeeded else ("declined", 0)
        assert (done.state, done.received) == expected

    def test_a_method_of_another_customer_is_refused(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        other = Saved(*world.street.save_method())
        with pytest.raises(PaymentError) as error:
            world.provider.charge(evolve(saved, method=other.method).attempt("a-1"))
        assert refused(error) == ("not_found", False, False)
        assert error.value.missing == "method"
        assert all_of(world) == []

    def test_a_detached_method_is_refused(self, world: PaymentWorld, saved: Saved) -> None:
        world.street.detach(saved.method)
        with pytest.raises(PaymentError) as error:
            world.provider.charge(saved.attempt("a-1"))
        assert (error.value.kind, error.value.missing) == ("not_found", "method")
        # What was refused unexecuted does not use its key up.
        renewed = Saved(*world.street.save_method())
        assert world.provider.charge(renewed.attempt("a-1")).state == "succeeded"

    def test_a_customer_who_was_deleted_is_charged_no_more(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        world.street.delete_customer(saved.customer)
        with pytest.raises(PaymentError) as error:
            world.provider.charge(saved.attempt("a-1"))
        assert refused(error) == ("not_found", False, False)
        assert error.value.missing == "customer"
        assert all_of(world) == []

    def test_one_attempt_at_once_from_many_threads_charges_once(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        def charge(_: int) -> Payment | None:
            try:
                return world.provider.charge(saved.attempt("a-1"))
            except PaymentError as error:
                assert error.kind == "in_progress" and error.outcome_unknown
                return None

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(charge, range(16)))
        made = all_of(world)
        assert len(made) == 1 and made[0].received == 700
        assert {each.id for each in answers if each is not None} == {made[0].id}


class UnknownOutcomeContract(WorldContract):
    """A charge whose answer is lost: never a failure, never charged twice."""

    def lost(self, world: PaymentWorld, saved: Saved, *faults: Fault) -> None:
        world.street.fault(*faults)
        with pytest.raises(PaymentError) as error:
            world.provider.charge(saved.attempt("a-1"))
        assert refused(error) == ("unknown_outcome", True, True)

    def found(self, world: PaymentWorld, saved: Saved, since: int = 0) -> Payment | None:
        return world.provider.find_charge("a-1", customer=saved.customer, since=since)

    @pytest.mark.parametrize(
        ("fault", "took_effect"), [("timeout_before", False), ("timeout_after", True)]
    )
    def test_a_timeout_is_settled_by_the_same_key(
        self, world: PaymentWorld, saved: Saved, fault: Fault, took_effect: bool
    ) -> None:
        self.lost(world, saved, fault)
        found = self.found(world, saved)
        assert (found is not None) is took_effect
        payment = world.provider.charge(saved.attempt("a-1"))
        assert payment.state == "succeeded"
        assert found is None or found == payment
        assert all_of(world) == [payment]

    @pytest.mark.parametrize(
        ("fault", "took_effect"), [("error_before", False), ("error_after", True)]
    )
    def test_a_failure_of_theirs_is_settled_by_looking(
        self, world: PaymentWorld, saved: Saved, fault: Fault, took_effect: bool
    ) -> None:
        self.lost(world, saved, fault)
        self.lost(world, saved)  # such a failure may be given again while the key is kept
        found = self.found(world, saved)
        assert (found is not None) is took_effect
        assert all_of(world) == ([found] if found else [])

    @pytest.mark.parametrize(
        ("fault", "took_effect"),
        [
            ("timeout_before", False),
            ("timeout_after", True),
            ("error_before", False),
            ("error_after", True),
        ],
    )
    def test_after_the_key_has_lapsed_looking_tells(
        self, world: PaymentWorld, saved: Saved, fault: Fault, took_effect: bool
    ) -> None:
        began = world.clock()
        self.lost(world, saved, fault)
        world.clock.advance(SECOND + world.provider.keys_kept // 1_000_000 * SECOND)
        found = self.found(world, saved, since=began)
        assert (found is not None) is took_effect
        if found is not None:
            assert (found.state, found.received, found.attempt) == ("succeeded", 700, "a-1")

    def test_looking_finds_a_refusal_as_well(self, world: PaymentWorld, saved: Saved) -> None:
        world.street.require_authentication(saved.method)
        self.lost(world, saved, "timeout_after")
        found = self.found(world, saved)
        assert found is not None
        assert found.state == "authentication_required" and found.recovery

    def test_looking_finds_that_attempt_of_that_customer_since_that_time(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        other = Saved(*world.street.save_method())
        world.provider.charge(saved.attempt("a-0"))
        world.provider.charge(other.attempt("a-3"))
        payment = world.provider.charge(saved.attempt("a-1"))
        assert self.found(world, saved) == payment
        assert self.found(world, other) is None
        assert self.found(world, saved, since=world.clock() + 2_000_000) is None

    def test_looking_finds_the_payment_of_a_customer_who_was_deleted_since(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        self.lost(world, saved, "timeout_after")
        world.street.delete_customer(saved.customer)
        found = self.found(world, saved)
        assert found is not None and (found.attempt, found.received) == ("a-1", 700)
        assert world.provider.find_charge("a-2", customer=saved.customer, since=0) is None

    def test_looking_goes_by_our_label_and_past_what_cannot_be_read(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        odd = [world.provider.charge(saved.attempt(f"a-{n}")).id for n in (2, 3)]
        payment = world.provider.charge(saved.attempt("a-1"))
        for name in odd:
            world.street.garble(name)
        assert self.found(world, saved) == payment
        assert world.provider.find_charge("a-2", customer=saved.customer, since=0) is None
        world.street.relabel(payment.id)
        assert self.found(world, saved) is None

    def test_a_charge_that_cannot_be_read_back_is_unknown(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        self.lost(world, saved, "none", "timeout_before")
        payment = world.provider.charge(saved.attempt("a-1"))
        assert all_of(world) == [payment]

    def test_a_request_in_progress_is_repeated_later(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        world.street.fault("in_progress")
        with pytest.raises(PaymentError) as error:
            world.provider.charge(saved.attempt("a-1"))
        assert refused(error) == ("in_progress", True, True)
        assert world.provider.charge(saved.attempt("a-1")).state == "succeeded"

    def test_too_many_requests_did_nothing(self, world: PaymentWorld, saved: Saved) -> None:
        world.street.fault("rate_limited")
        with pytest.raises(PaymentError) as error:
            world.provider.charge(saved.attempt("a-1"))
        assert refused(error) == ("rate_limited", True, False)
        assert all_of(world) == []
        assert world.provider.charge(saved.attempt("a-1")).state == "succeeded"
