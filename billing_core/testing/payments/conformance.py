"""The suite that proves a provider of payments right, for its author to import and run.

    class TestMyPayments(PaymentConformance):
        @pytest.fixture
        def world(self) -> PaymentWorld:
            return PaymentWorld(provider=..., street=..., clock=...)

``provider`` is what is tested; ``street`` stands for everyone else, at a fake provider or at
a server shaped like the real one; ``clock`` is theirs.  Needs pytest.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from billing_core.errors import PaymentError
from billing_core.testing.payments.charges import ChargeContract, UnknownOutcomeContract
from billing_core.testing.payments.checkouts import (
    CheckoutContract,
    DisputeContract,
    RefundContract,
)
from billing_core.testing.payments.world import (
    SECOND,
    PaymentWorld,
    Saved,
    Street,
    WorldContract,
    all_of,
    every_notice,
    every_payment,
    notices_of,
    order,
    paid_checkout,
    payment_of,
    refused,
)

__all__ = ["PaymentConformance", "PaymentWorld", "Street"]

MINUTE = 60_000_000
DAY = timedelta(days=1)


class WebhookContract(WorldContract):
    def test_news_names_what_to_read_back_and_no_amount(self, world: PaymentWorld) -> None:
        checkout = paid_checkout(world, save_method=True)
        payment = payment_of(world, checkout)
        named = {(n.kind, n.checkout, n.payment, n.method) for n in notices_of(world)}
        assert ("checkout", checkout.id, None, None) in named
        assert ("payment", None, payment.id, None) in named
        assert ("method_attached", None, None, checkout.method) in named
        world.street.dispute(payment.id, 1)
        world.street.refund_in_dashboard(payment.id, 1)
        named = {(n.kind, n.checkout, n.payment, n.method) for n in notices_of(world)}
        assert {("dispute", None, payment.id, None), ("refund", None, payment.id, None)} <= named

    def test_a_removed_method_names_its_customer(self, world: PaymentWorld, saved: Saved) -> None:
        notices_of(world)
        world.street.detach(saved.method)
        (notice,) = notices_of(world)
        assert (notice.kind, notice.method) == ("method_detached", saved.method)
        assert notice.customer == saved.customer

    def test_a_deleted_customer_is_named(self, world: PaymentWorld, saved: Saved) -> None:
        notices_of(world)
        world.street.delete_customer(saved.customer)
        (notice,) = notices_of(world)
        assert (notice.kind, notice.customer) == ("customer_deleted", saved.customer)

    def test_a_repeated_delivery_is_the_same_event(self, world: PaymentWorld) -> None:
        paid_checkout(world)
        for body, signature in world.street.deliveries():
            first = world.provider.read_webhook(body, signature, now=world.clock())
            assert world.provider.read_webhook(body, signature, now=world.clock()) == first
            assert first.created <= world.clock()

    @pytest.mark.parametrize("late", [-10 * MINUTE, -6 * MINUTE, 6 * MINUTE, 10 * MINUTE])
    def test_a_signature_of_another_time_is_refused(self, world: PaymentWorld, late: int) -> None:
        paid_checkout(world)
        body, signature = world.street.deliveries()[0]
        with pytest.raises(PaymentError) as error:
            world.provider.read_webhook(body, signature, now=world.clock() + late)
        assert refused(error) == ("bad_signature", False, False)

    @pytest.mark.parametrize("late", [-4 * MINUTE, 4 * MINUTE])
    def test_clocks_may_differ_a_little(self, world: PaymentWorld, late: int) -> None:
        paid_checkout(world)
        body, signature = world.street.deliveries()[0]
        assert world.provider.read_webhook(body, signature, now=world.clock() + late).event

    @pytest.mark.parametrize("signature", [None, "", "t=1", "v1=00", "nonsense", "t=x,v1=00", "é"])
    def test_an_unsigned_body_is_refused(self, world: PaymentWorld, signature: str | None) -> None:
        paid_checkout(world)
        body, _ = world.street.deliveries()[0]
        with pytest.raises(PaymentError) as error:
            world.provider.read_webhook(body, signature, now=world.clock())
        assert refused(error) == ("bad_signature", False, False)

    def test_an_altered_body_is_refused(self, world: PaymentWorld) -> None:
        paid_checkout(world)
        body, signature = world.street.deliveries()[0]
        for altered in (body + b" ", body[:-1], b"", body.replace(b"a", b"b", 1), b"\xff\xfe"):
            with pytest.raises(PaymentError) as error:
                world.provider.read_webhook(altered, signature, now=world.clock())
            assert refused(error) == ("bad_signature", False, False)

    def test_a_body_of_any_size_is_refused_unread(self, world: PaymentWorld) -> None:
        paid_checkout(world)
        _, signature = world.street.deliveries()[0]
        with pytest.raises(PaymentError) as error:
            world.provider.read_webhook(b" " * 50_000_000, signature, now=world.clock())
        assert refused(error) == ("bad_webhook", False, False)


class ListContract(WorldContract):
    def test_the_list_has_what_the_webhooks_say(self, world: PaymentWorld, saved: Saved) -> None:
        payment = payment_of(world, paid_checkout(world))
        world.provider.charge(saved.attempt("a-1"))
        world.provider.refund(payment.id, key="r-1", amount=5)
        world.street.close_dispute(world.street.dispute(payment.id, 7), won=True)
        delivered = {notice for notice in notices_of(world) if notice.kind != "ignored"}
        listed = {notice for notice in every_notice(world, 0) if notice.kind != "ignored"}
        assert listed == delivered
        assert len({notice.event for notice in listed}) == len(listed) > 5

    def test_only_what_happened_since(self, world: PaymentWorld) -> None:
        world.street.save_method()
        world.clock.advance(SECOND)
        since = world.clock()
        assert every_notice(world, since) == []
        _, method = world.street.save_method()
        assert [notice.method for notice in every_notice(world, since)] == [method]

    def test_a_list_of_news_is_dated_by_the_provider_s_own_clock(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        for _ in range(2):
            page = world.provider.notices(world.clock())
            assert page.at is not None and abs(page.at - world.clock()) <= 1_000_000
            world.clock.advance(500 * DAY)

    def test_news_is_listed_for_as_long_as_is_claimed(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        kept = timedelta(microseconds=world.provider.news_kept)
        world.clock.advance(kept - SECOND)
        assert [notice.method for notice in every_notice(world, 0)] == [saved.method]

    def test_what_our_staff_edit_leaves_the_money_as_it_is(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        opened = world.provider.create_checkout(order(), key="order-1")
        world.street.pay(opened.id, tax=950)
        paid = payment_of(world, world.provider.read_checkout(opened.id))
        refund = world.provider.refund(paid.id, key="r-1", amount=100)
        before = world.provider.read_payment(paid.id)
        for edited in ("acme-2", "order-9"), (None, None):
            for name in (paid.id, opened.id, refund.id):
                world.street.relabel(name, *edited)
            now = world.provider.read_payment(paid.id)
            assert (now.org, now.order, now.attempt) == (*edited, None)
            assert [each.key for each in now.refunds] == [None]
            assert (now.subtotal, now.checkout, now.kept) == (5000, opened.id, before.kept)
            assert all_of(world) == [now]
            page = world.provider.read_checkout(opened.id)
            assert (page.org, page.order, page.subtotal) == (*edited, 5000)

    def test_many_notices_come_in_pages(self, world: PaymentWorld) -> None:
        methods = {world.street.save_method()[1] for _ in range(250)}
        assert {notice.method for notice in every_notice(world, 0)} == methods
        assert len(every_notice(world, 0)) == 250

    def test_an_event_that_cannot_be_read_is_named_and_hides_no_other(
        self, world: PaymentWorld
    ) -> None:
        methods = {world.street.save_method()[1] for _ in range(101)}
        newest_first = every_notice(world, 0)
        odd = [newest_first[place] for place in (0, 50, 99, 100)]
        for notice in odd:  # the last of a page, after which the next begins, is among them
            world.street.garble(notice.event)
        pages = [world.provider.notices(0)]
        while pages[-1].next is not None:
            pages.append(world.provider.notices(0, cursor=pages[-1].next))
        listed = [notice.method for page in pages for notice in page.items]
        assert sorted(map(str, listed)) == sorted(methods - {notice.method for notice in odd})
        unreadable = [each for page in pages for each in page.unreadable]
        assert len(unreadable) == len(odd)
        assert all(notice.event in each for notice, each in zip(odd, unreadable, strict=True))

    def test_payments_of_a_span_as_they_are_read(self, world: PaymentWorld, saved: Saved) -> None:
        first = payment_of(world, paid_checkout(world, "order-1"))
        world.clock.advance(SECOND)
        start = world.clock()
        refunded = payment_of(world, paid_checkout(world, "order-2"))
        world.provider.refund(refunded.id, key="r-1", amount=100)
        disputed = world.provider.charge(saved.attempt("a-1"))
        world.street.dispute(disputed.id)
        world.street.decline(saved.method)
        declined = world.provider.charge(saved.attempt("a-2"))
        world.clock.advance(SECOND)
        end = world.clock()
        last = payment_of(world, paid_checkout(world, "order-3"))
        listed = {payment.id: payment for payment in every_payment(world, start, end)}
        assert set(listed) == {refunded.id, disputed.id, declined.id}
        for name, payment in listed.items():
            assert payment == world.provider.read_payment(name)
        assert len(all_of(world)) == 5 and {first.id, last.id} < {p.id for p in all_of(world)}

    def test_payments_of_one_customer_are_listed_whatever_they_say(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        other = Saved(*world.street.save_method())
        begun = world.clock()
        mine = [world.provider.charge(saved.attempt(f"a-{n}")).id for n in range(105)]
        world.provider.charge(other.attempt("b-1"))
        paid_checkout(world)
        world.street.relabel(mine[0])
        world.street.relabel(mine[1], "nobody", "order-1")
        world.clock.advance(SECOND)
        end = world.clock()
        world.provider.charge(saved.attempt("a-later"))
        for gone in (False, True):
            if gone:
                world.street.delete_customer(saved.customer)
            listed = every_payment(world, begun, end, customer=saved.customer)
            assert sorted(each.id for each in listed) == sorted(mine)
            assert listed[-1] == world.provider.read_payment(listed[-1].id)

    def test_a_payment_that_cannot_be_read_is_named_and_hides_no_other(
        self, world: PaymentWorld, saved: Saved
    ) -> None:
        other = Saved(*world.street.save_method())
        theirs = world.provider.charge(other.attempt("b-1")).id
        made = [world.provider.charge(saved.attempt(f"a-{n}")).id for n in range(101)]
        made.reverse()  # newest first, as both list them
        odd = [made[place] for place in (0, 50, 99, 100)]
        for name in (*odd, theirs):
            world.street.garble(name)
        span = 0, world.clock() + 1_000_000
        for customer, named in ((None, [*odd, theirs]), (saved.customer, odd)):
            pages = [world.provider.payments(*span, customer=customer)]
            while pages[-1].next is not None:
                more = world.provider.payments(*span, customer=customer, cursor=pages[-1].next)
                pages.append(more)
            listed = [payment.id for page in pages for payment in page.items]
            assert sorted(listed) == sorted(set(made) - set(odd))
            unreadable = [each for page in pages for each in page.unreadable]
            assert len(unreadable) == len(named)
            assert all(name in each for name, each in zip(named, unreadable, strict=True))
        world.street.delete_customer(saved.customer)
        page = world.provider.payments(*span, customer=saved.customer)
        assert len(page.unreadable) == 3 and theirs not in str(page.unreadable)
        with pytest.raises(PaymentError) as error:
            world.provider.read_payment(odd[0])
        assert refused(error) == ("unavailable", True, False)

    def test_many_payments_come_in_pages(self, world: PaymentWorld) -> None:
        names = [f"order-{number}" for number in range(120)]
        for name in names:
            world.street.pay(world.provider.create_checkout(order(name), key=name).id)
        listed = all_of(world)
        assert sorted(str(payment.order) for payment in listed) == sorted(names)
        assert all(payment.subtotal == payment.received == 5000 for payment in listed)

    def test_a_list_that_fails_is_repeated(self, world: PaymentWorld) -> None:
        world.street.fault("timeout_before", "error_before")
        for _ in range(2):
            with pytest.raises(PaymentError) as error:
                world.provider.notices(0)
            assert refused(error) == ("unavailable", True, False)
        assert world.provider.notices(0).items == ()


class PaymentConformance(
    CheckoutContract,
    ChargeContract,
    UnknownOutcomeContract,
    RefundContract,
    DisputeContract,
    WebhookContract,
    ListContract,
):
    """What :mod:`billing_core.ports.payments` asks of a provider, point by point."""
