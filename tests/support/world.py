"""A small world to tell the rules in: one engine, one clock, one org, plain numbers.

Every component costs one nano, so that a quantity is also its price:
``world.settle(5)`` charges five nanos.
"""

from datetime import UTC, datetime, timedelta
from itertools import count

from billing_core import (
    Billing,
    Charged,
    Flat,
    Granted,
    Money,
    OpenHold,
    Price,
    PriceBook,
    StoreError,
    Usage,
)
from billing_core.testing import MemoryStore, SettableClock
from billing_core.testing.copies import copied

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
LONG_AGO = T0 - timedelta(days=400)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)

ONE_NANO = Price(Flat(1), unit="unit")


def nanos(amount: int, currency: str = "USD") -> Money:
    return Money(amount, currency)


def units(quantity: int, resource: str = "x", **options) -> Usage:
    return Usage.of(resource, {"unit": quantity}, **options)


class World:
    """An engine on a memory store, an org ``acme``, and resources ``x``, ``y`` and ``z``,
    of which a unit costs a nano."""

    make_store = MemoryStore

    def __init__(self, store=None, *, now=T0, priced=True, opened=True, **options):
        self.clock = SettableClock(now)
        self.store = self.make_store() if store is None else store
        self.billing = Billing(self.store, clock=self.clock, **options)
        self._keys = count(1)
        if priced:
            self.publish({name: {"unit": ONE_NANO} for name in "xyz"}, version="base")
        if opened:
            self.billing.open_account("acme")

    def key(self) -> str:
        return f"key-{next(self._keys)}"

    def publish(
        self, prices, *, version="v1", effective_at=LONG_AGO, currency="USD", **options
    ) -> str:
        return self.billing.publish(PriceBook(version, effective_at, prices, currency, **options))

    def grant(self, amount: int, org="acme", **options) -> int:
        """Credit comes in; the number of its lot."""
        return self.granted(amount, org, **options).lot

    def granted(self, amount: int, org="acme", key=None, **options) -> Granted:
        return self.billing.grant(org, key or self.key(), nanos(amount), **options)

    def hold(self, cost, org="acme", *, key=None, expires_in=HOUR, **options) -> OpenHold:
        cost = nanos(cost) if isinstance(cost, int) else cost
        return self.billing.hold(org, cost, key=key or self.key(), expires_in=expires_in, **options)

    def settle(self, usage, org="acme", *, key=None, **options) -> Charged:
        usage = units(usage) if isinstance(usage, int) else usage
        return self.billing.settle(org, key or self.key(), usage, **options)

    def deduct(self, cost, org="acme", *, key=None, **options) -> Charged:
        cost = units(cost) if isinstance(cost, int) else cost
        return self.billing.deduct(org, key or self.key(), cost, **options)

    def extend(self, hold, org="acme", *, key=None, expires_in=HOUR, add=0, **options):
        add = nanos(add) if add else None
        return self.billing.extend(
            org, key or self.key(), hold=hold.key, expires_in=expires_in, add=add, **options
        )

    def reverse(self, charge, amount=None, org="acme", *, key=None, **options):
        amount = None if amount is None else nanos(amount)
        return self.billing.reverse(
            org, key or self.key(), charge=charge.seq, amount=amount, **options
        )

    def balance(self, org="acme"):
        return self.billing.balance(org)

    def left(self, org="acme") -> dict[int, int]:
        """What is left of each lot that has something left, now."""
        return {lot.lot: lot.remainder for lot in self.balance(org).lots}

    def paid_by(self, charge) -> list[tuple[int, int]]:
        """Which lots paid how much of a charge, in order."""
        explained = self.billing.explain(charge.org, charge.seq)
        return [(payment.lot, payment.amount) for payment in explained.payments]

    def available(self, resource=None, org="acme") -> int:
        return self.billing.check(org, nanos(1), resource=resource).available

    def counter(self, resource="x", component="unit", org="acme") -> list[int]:
        """The quantities counted, one for each billing period, in order."""
        known = [each for each in self.store.counters(org) if each.resource == resource]
        known.sort(key=lambda each: each.start)
        return [each.of(component).quantity for each in known if component in each.components]

    def entries(self, org="acme"):
        return list(self.store.entries(org))

    def moves(self, charge):
        """The transfers of an entry."""
        return list(self.entries(charge.org)[charge.seq - 1].transfers)

    def state(self):
        """Everything on record, to be compared with later."""
        if isinstance(self.store, MemoryStore):
            orgs = copied(self.store._orgs)
            for name, org in orgs.items():  # which usage the kept cells lack is nobody's affair
                org.account.summed = 0
                org.cells = {
                    key: cell
                    for grain in ("hour", "day", "period")
                    for key, cell in self.store.cells(name, grain, -(2**62), 2**62).items()
                }
            return orgs, copied(self.store._published)
        tables = ("lots", "holds", "counters", "items", "charges", "spends", "runs", "storages")
        orgs = self.store.orgs()
        return [self.store.published(), *map(self.store.members, orgs)] + [
            [self.entries(org), *([*getattr(self.store, name)(org)] for name in tables)]
            for org in orgs
        ]

    def wrong(self, **options) -> list[str]:
        """What verify finds."""
        return [str(each) for each in self.billing.verify(**options).discrepancies]


class FailingStore(MemoryStore):
    """Fails at commit when told to: ``before`` the write, or ``after`` it, unknown to whom
    it answers."""

    fail: str | None = None

    def transaction(self):
        return _Failing(self, super().transaction())


class _Failing:
    def __init__(self, store, manager):
        self.store, self.manager = store, manager

    def __enter__(self):
        self.transaction = self.manager.__enter__()
        return self

    def __exit__(self, *exception):
        return self.manager.__exit__(*exception)

    def recall(self, wanted):
        return self.transaction.recall(wanted)

    def load(self, wanted):
        return self.transaction.load(wanted)

    def commit(self, changes):
        if self.store.fail == "before":
            raise StoreError("the disk is full", retryable=True)
        self.transaction.commit(changes)
        if self.store.fail == "after":
            raise StoreError("the connection is lost", retryable=True, outcome_unknown=True)
