"""The two worlds that tests of payments play in: the fake, and Stripe's own client against a
server shaped like Stripe."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from stripe_http import Api, served
from stripe_schema import schema
from stripe_server import StripeServer

from billing_adapters.fake_payments import FakePayments
from billing_adapters.stripe_payments import StripePayments
from billing_core.testing import CountingIds, SettableClock
from billing_core.testing.payments.world import PaymentWorld

T0 = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECRET = "whsec_test"


def fake_world() -> PaymentWorld:
    clock = SettableClock(T0)
    fake = FakePayments(webhook_secrets=[SECRET], clock=clock, ids=CountingIds())
    return PaymentWorld(provider=fake, street=fake, clock=clock)


@contextmanager
def stripe_world(**options) -> Iterator[tuple[PaymentWorld, Api]]:
    """Ends with an error if Stripe's schema has any complaint against what was said."""
    clock = SettableClock(T0)
    server = StripeServer(clock, secret=SECRET)
    api = Api(server, schema=schema())
    with served(api) as address:
        given = {"webhook_secrets": [SECRET], "timeout": 10, "retries": 0, **options}
        provider = StripePayments(api.key, livemode=False, address=address, **given)
        yield PaymentWorld(provider=provider, street=server, clock=clock), api
    assert not api.complaints, "\n".join(dict.fromkeys(api.complaints))
