"""Stripe, through its own client and a server shaped like it, keeps the port's contract."""

from collections.abc import Iterator

import pytest
from payment_worlds import stripe_world

from billing_core.testing.payments.conformance import PaymentConformance
from billing_core.testing.payments.world import PaymentWorld


class TestStripePayments(PaymentConformance):
    @pytest.fixture
    def world(self) -> Iterator[PaymentWorld]:
        with stripe_world() as (world, _):
            yield world
