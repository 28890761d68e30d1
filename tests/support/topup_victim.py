"""A process to be killed: it spends, and does background work, until somebody ends it."""

import sys
from contextlib import suppress
from datetime import timedelta
from itertools import count

from database_places import store_at

from billing_adapters.stripe_payments import StripePayments
from billing_core import Billing, Refused, StoreError, TopUpRules, usd
from billing_core.ports.store import Store

# So short that whoever comes next does not wait for the dead.
SOON = timedelta(milliseconds=20)
RULES = TopUpRules(lease=SOON, cooldown=timedelta(microseconds=1), times=100_000)


def engine(store: Store, address: str) -> Billing:
    provider = StripePayments(
        "sk_test_abc", livemode=False, webhook_secrets=["whsec_test"], address=address, retries=0
    )
    return Billing(store, payments=provider, topups=RULES)


def main(address: str, name: str, *place: str) -> None:
    with store_at(place) as store:
        billing = engine(store, address)
        billing.balance("acme")
        sys.stdout.write("!")
        sys.stdout.flush()
        for n in count():
            with suppress(Refused, StoreError):
                billing.deduct("acme", f"{name}-{n}", usd("1"), resource="x")
            with suppress(StoreError):
                billing.run_pending(deliver=lambda event: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
