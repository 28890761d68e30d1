"""What the examples share: the engine, its prices, whose API key is whose, and who takes payments.

BILLING_DB chooses the database: a file of SQLite (default: billing-example.db), or the DSN of a
PostgreSQL server (postgresql://...).  PORT is where an example listens (default: 8000), and
BILLING_ADDRESS the URL that its customers use.  With STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET, both
of test mode, Stripe takes the payments; without, a fake does, which has a page of its own.
"""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from billing_adapters.fake_payments import CheckoutPage, FakePayments
from billing_adapters.http import MAX_BODY, Api, Caller, Request, Response
from billing_core import (
    Billing,
    BillingError,
    BillStorage,
    Command,
    Flat,
    ForgiveRun,
    Price,
    PriceBook,
    ReportStorage,
    Settle,
    StartRun,
    StopRun,
    Usage,
    model,
    sandbox,
    tokens,
    usd,
)
from billing_core.ports.payments import PaymentProvider
from billing_core.ports.store import Store

PORT = os.environ.get("PORT", "8000")
ADDRESS = os.environ.get("BILLING_ADDRESS", f"http://127.0.0.1:{PORT}")
LOG = logging.getLogger("host")

# A host asks its own table of keys or sessions; a revoked key is not in it.
KEYS = {
    "key-ana": Caller("ana", org="acme", member="ana"),
    "key-bo": Caller("bo", "admin", org="acme", member="bo"),
    "key-eve": Caller("eve", org="globex", member="eve"),
    "key-gus": Caller("gus", "admin", org="globex", member="gus"),
    "key-gateway": Caller("gateway", "service"),
}

PRICES = PriceBook(
    "example-1",
    datetime(2026, 1, 1, tzinfo=UTC),
    {
        model("small"): {
            "input": Price(Flat.of("0.15", 1_000_000)),
            "cached_read": Price(Flat.of("0.075", 1_000_000)),
            "output": Price(Flat.of("0.60", 1_000_000)),
        },
        model("large"): {
            "input": Price(Flat.of("3", 1_000_000)),
            "cached_read": Price(Flat.of("0.30", 1_000_000)),
            "output": Price(Flat.of("15", 1_000_000)),
        },
        "tool:search": {"call": Price(Flat.of("0.004"), unit="call")},
        "code:python": {"duration": Price(Flat.of("0.0001"), unit="second")},
        "sandbox:small": {"vcpu": Price(Flat.of("0.00002"), unit="vCPU-second")},
        "storage:*": {"byte_us": Price(Flat.of("0.001"), unit="GB-day")},
    },
)


def open_store(setting: str) -> Store:
    """The store of a file's path or of a DSN."""
    if setting.startswith(("postgres://", "postgresql://")):
        from billing_adapters.postgres import PostgresStore

        store = PostgresStore(setting)
        store.migrate()
        return store
    from billing_adapters.sqlite import SqliteStore

    return SqliteStore(setting)


def open_payments() -> PaymentProvider:
    """Stripe, or a fake."""
    key = os.environ.get("STRIPE_API_KEY")
    if key is None:
        return FakePayments(address=f"{ADDRESS}/fake-checkout")
    from billing_adapters.stripe_payments import StripePayments

    secret = os.environ["STRIPE_WEBHOOK_SECRET"]  # of the endpoint ADDRESS/v1/webhooks/stripe
    return StripePayments(key, livemode=False, webhook_secrets=[secret])


def open_billing() -> Billing:
    """The engine, with prices, two orgs and some usage to look at."""
    store = open_store(os.environ.get("BILLING_DB", "billing-example.db"))
    billing = Billing(store, payments=open_payments())
    billing.publish(PRICES)
    began = datetime.now(UTC) - timedelta(days=20)
    known = set(billing.orgs())
    for org in {"acme", "globex"} - known:
        billing.open_account(org, livemode=False, at=began)
        billing.grant(org, "welcome", usd("5"), kind="promotional", at=began)
        billing.grant(org, "first-order", usd("20"), reference="order-1", at=began)
    if "acme" not in known:
        billing.execute(_usage(began))
    return billing


def _usage(began: datetime) -> list[Command]:
    """Twenty days of work."""
    made: list[Command] = []
    for hour in range(0, 20 * 24, 5):
        key, at = f"seed-{hour}", began + timedelta(hours=hour)
        busy = 1 + (hour * 7) % 11
        used: dict[str, Usage] = {
            "ana": tokens("small", input=9_000 * busy, output=1_500 * busy),
            "bo": tokens("large", input=800 * busy, output=250 * busy),
            "cy": Usage.of("tool:search", {"call": busy}),
        }
        for member, usage in used.items():
            its = f"{key}-{member}"
            made.append(Settle("acme", its, usage=usage, member=member, at=at, occurred_at=at))
        if hour % 60 == 0:
            size = (20 - hour // 60) * 10**9
            made.append(ReportStorage("acme", key, workspace="docs", size=size, at=at))
            made += _run(key, at, timedelta(minutes=7 * busy))
        if hour == 65:
            made.append(ForgiveRun("acme", key, run="seed-60", reason="it was slow", at=at))
        made.append(BillStorage("acme", key, workspace="docs", at=at))
    return made


def _run(name: str, at: datetime, took: timedelta) -> list[Command]:
    """A sandbox of which nothing was heard before its end."""
    spec = sandbox("small", {"vcpu": 2})
    return [
        StartRun("acme", name, spec=spec, member="cy", at=at),
        StopRun("acme", name, run=name, at=at + took),
    ]


class Site:
    """What an example serves: the billing API and, beside it, the fake provider's page."""

    def __init__(self, api: Api) -> None:
        self.api = api
        payments = api.billing.payments
        self.fake = payments if isinstance(payments, FakePayments) else None

    def __call__(self, request: Request) -> Response:
        if self.fake is None or not request.path.startswith("/fake-checkout/"):
            return self.api(request)
        form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        return Response(*CheckoutPage(self.fake)(request.method, request.path, form))

    def work(self) -> bool:
        """A round of background work: automatic top-ups, lost answers, what has lapsed.  Whether
        there is more to do at once."""
        if self.fake is not None:  # as Stripe would, over the network
            for body, signature in self.fake.deliveries():
                headers = {"Stripe-Signature": signature}
                self.api(Request("POST", "/v1/webhooks/stripe", headers=headers, body=body))
        try:
            done = self.api.billing.run_pending()
        except BillingError:
            LOG.exception("background work")
            return False
        for failure in done.failures:
            LOG.warning("%s of %s: %s", failure.what, failure.org, failure.error)
        return done.more

    def work_on(self) -> NoReturn:
        """All rounds, for a thread; any number of threads and processes may."""
        while True:
            if not self.work():
                time.sleep(1)


def serve(app: Any) -> None:
    """Serve a WSGI app by waitress, which reads a request whole before a thread has it: so one that
    comes slowly holds up no other, and what it may take is said here.  On the open internet put a
    proxy such as nginx before it."""
    import waitress

    waitress.serve(
        app,
        host="127.0.0.1",
        port=PORT,
        threads=16,  # requests that come at once share a commit: a thread for each
        max_request_body_size=2 * MAX_BODY,  # of larger ones not a byte is read
        inbuf_overflow=2 * MAX_BODY,  # and none is written to disk
        connection_limit=500,  # else 100 that say nothing keep everybody out
        channel_timeout=15,  # seconds without a word
        cleanup_interval=5,
    )


def open_site() -> Site:
    print(
        "The page is /billing: sign in with key-bo, an admin's, or key-ana, a member's", flush=True
    )
    return Site(Api(open_billing(), KEYS.get, address=ADDRESS))
