"""The fake provider of payments keeps the port's contract."""

import pytest
from payment_worlds import fake_world

from billing_adapters.fake_payments import FakePayments
from billing_core import InvalidCommand, PaymentError
from billing_core.testing.payments.conformance import PaymentConformance
from billing_core.testing.payments.world import PaymentWorld, order, refused


class TestFakePayments(PaymentConformance):
    @pytest.fixture
    def world(self) -> PaymentWorld:
        return fake_world()


def test_a_fake_of_its_own_accord_has_time_and_ids_that_never_meet() -> None:
    opened = [FakePayments().create_checkout(order(), key="order-1") for _ in range(2)]
    assert opened[0].id != opened[1].id
    fake = FakePayments(livemode=True, address="https://host.example/pay/")
    checkout = fake.create_checkout(order(), key="order-1")
    assert checkout.livemode and checkout.url == f"https://host.example/pay/{checkout.id}"
    fake.pay(checkout.id)
    (payment,) = fake.payments(0, 2**62).items
    assert payment.livemode and payment.created > 1_700_000_000_000_000


def test_what_cannot_happen_is_refused() -> None:
    fake = fake_world().provider
    checkout = fake.create_checkout(order(), key="order-1")
    fake.pay(checkout.id)
    for again in (fake.pay, fake.refuse, fake.expire):
        with pytest.raises(InvalidCommand, match="an open one; it is complete"):
            again(checkout.id)
    with pytest.raises(InvalidCommand, match="under way"):
        fake.settle(checkout.id, succeeded=True)
    with pytest.raises(PaymentError) as error:
        fake.close_dispute("dp_none", won=True)
    assert refused(error) == ("not_found", False, False)


def test_a_cursor_of_nowhere_is_not_found() -> None:
    with pytest.raises(PaymentError) as error:
        fake_world().provider.notices(0, cursor="evt_none")
    assert refused(error) == ("not_found", False, False)
