"""A till to tell top-ups at: an engine, a provider of payments, and all whom it meets."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import timedelta
from tempfile import TemporaryDirectory

from payment_worlds import fake_world, stripe_world
from postgres_servers import DisposableStore
from store_comparison import BesideMemory

from billing_adapters.sqlite import SqliteStore
from billing_core import Billing, Flat, Price, PriceBook, Usage, usd
from billing_core.ports.payments import Payment
from billing_core.testing import CountingIds, MemoryStore
from billing_core.testing.payments.world import PaymentWorld
from billing_core.values.times import moment

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
URLS = {
    "success_url": "https://host.example/success?session_id={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://host.example/billing",
}


class Till:
    """``acme`` has an account.  Amounts are dollars."""

    def __init__(self, world: PaymentWorld, store=None, **options) -> None:
        self.world = world
        self.street, self.clock, self.provider = world.street, world.clock, world.provider
        self.store = MemoryStore() if store is None else store
        self.ids = CountingIds()
        self.options = options
        self.billing = self.engine()
        self.billing.open_account("acme", livemode=False)
        self.told = []
        self._keys = 0

    def engine(self) -> Billing:
        """Another engine on the same store."""
        return Billing(
            self.store, clock=self.clock, ids=self.ids, payments=self.provider, **self.options
        )

    def key(self) -> str:
        self._keys += 1
        return f"key-{self._keys}"

    def order(self, amount="10", org="acme", key=None, **options):
        return self.billing.top_up(org, key or self.key(), usd(amount), **(URLS | options))

    def paid(self, amount="10", **options):
        """A top-up that was ordered, paid and credited."""
        page = self.order(amount, **options)
        self.street.pay(page.session)
        assert self.billing.confirm("acme", page.session).paid
        return page

    def deliver(self) -> list[str]:
        """All webhooks that are on their way."""
        delivered = self.street.deliveries()
        return [self.billing.webhook(body, signed).word for body, signed in delivered]

    def enable(self, threshold="5", amount="20", **options):
        return self.billing.set_auto_topup(
            "acme",
            self.key(),
            enabled=True,
            threshold=usd(threshold),
            amount=usd(amount),
            **options,
        )

    def armed(self, credit="10", **options) -> str:
        """With credit, a saved method and automatic top-up; the method."""
        self.paid(credit, save_method=True)
        self.street.deliveries()
        self.enable(**options)
        method = self.store.auto_topup("acme").method
        assert method is not None
        return method

    def spend(self, amount):
        return self.billing.deduct("acme", self.key(), usd(amount), resource="x")

    def run(self, **options):
        return self.billing.run_pending(**options)

    def wait(self, span: timedelta):
        """Time passes, and background work is done."""
        self.clock.advance(span)
        return self.run()

    def balance(self, org="acme") -> str:
        return str(self.billing.balance(org))

    def state(self, topup) -> str:
        return self.billing.topup("acme", getattr(topup, "topup", topup)).state

    def auto(self):
        return self.billing.auto_topup("acme")

    def attempts(self) -> list[str]:
        """The states of all automatic attempts, in order."""
        all_ = sorted(self.store.topups("acme"), key=lambda each: each.seq)
        return [each.state for each in all_ if each.kind == "auto"]

    def payment(self, topup) -> Payment:
        payment = self.billing.topup("acme", topup.topup).payment
        assert payment is not None
        return self.provider.read_payment(payment)

    def payments(self) -> list[Payment]:
        """All that the provider ever made."""
        found, cursor = [], None
        while True:
            page = self.provider.payments(0, self.clock() + 1_000_000, cursor=cursor)
            found += page.items
            cursor = page.next
            if cursor is None:
                return found

    def state_of_all(self):
        """Everything on record, to be compared with later."""
        return deepcopy(getattr(self.store, "model", self.store)._orgs)

    def events(self) -> list[str]:
        return [event.kind for event in self.billing.events("acme", limit=10_000)]

    def kinds(self) -> list[str]:
        return [row.type for row in reversed(self.billing.history("acme"))]

    def _entries(self, *operations: str):
        return [each for each in self.store.entries("acme") if each.op in operations]

    def wrong(self) -> list[str]:
        return [str(each) for each in self.billing.verify().discrepancies]

    def differences(self):
        """Between the ledger and the provider."""
        span = moment(366 * 86_400_000_000), moment(self.clock() + 1_000_000)
        return list(self.billing.reconcile(*span).differences)

    def check(self) -> None:
        """Nothing is wrong: the journal, and the ledger against the provider."""
        assert self.wrong() == []
        attempts = ("auto", "call", "method")  # which move no money
        assert [each.key for each in self._entries(*attempts) if each.amount] == []
        assert [str(each) for each in self.differences()] == []


def used(t: Till, quantity: int) -> None:
    """Usage of so many nanos is measured; nobody asks whether there is credit for it."""
    book = PriceBook("base", t.clock.now - DAY, {"x": {"unit": Price(Flat(1), unit="unit")}})
    t.billing.publish(book)
    t.billing.settle("acme", t.key(), Usage.of("x", {"unit": quantity}))


@contextmanager
def till(kind: str, **options) -> Iterator[Till]:
    """At the fake, also on SQLite or PostgreSQL (for threads, not beside the store in memory), or
    at Stripe's own client and a server shaped like Stripe."""
    if kind == "fake":
        yield Till(fake_world(), **options)
    elif kind == "sqlite":
        with TemporaryDirectory() as place, SqliteStore(f"{place}/billing.db") as store:
            yield Till(fake_world(), store, **options)
    elif kind in ("postgres", "postgres at once"):
        with (BesideMemory if kind == "postgres" else DisposableStore)() as store:
            yield Till(fake_world(), store, **options)
    else:
        with stripe_world() as (world, _):
            world.street.settles_in = "eur" if kind == "stripe in euros" else None
            yield Till(world, **options)
