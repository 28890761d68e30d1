"""The fake provider of payments keeps the port's contract."""

import pytest
from payment_worlds import fake_world

from billing_core.testing.payment_contract import PaymentConformance
from billing_core.testing.payment_world import PaymentWorld


class TestFakePayments(PaymentConformance):
    @pytest.fixture
    def world(self) -> PaymentWorld:
        return fake_world()
