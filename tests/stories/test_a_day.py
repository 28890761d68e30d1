"""A day in the life of an org with sandboxes and workspaces, on every store; what it costs is
added up here once more, with fractions and by hand."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import floor

import pytest
from postgres_servers import DisposableStore
from world import HOUR, MINUTE, SECOND, World

from billing_adapters.sqlite import SqliteStore
from billing_core import Flat, Price, sandbox
from billing_core.testing import MemoryStore

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 4, 1, tzinfo=UTC)  # where the billing month begins
DEARER = datetime(2026, 4, 1, 6, tzinfo=UTC)
VCPU, DEAR_VCPU = Fraction(1001, 3_000_000), Fraction(2003, 3_000_000)
MEMORY, BYTE = Fraction(17, 7_000_000), Fraction(3, 10**9)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def world(request, tmp_path):
    store = {
        "memory": MemoryStore,
        "sqlite": lambda: SqliteStore(tmp_path / "b.db"),
        "postgres": DisposableStore,
    }[request.param]()
    world = World(store, now=NOON, priced=False, opened=False)
    world.billing.open_account("acme", anchor=datetime(2026, 1, 1, tzinfo=UTC))
    per = {"vcpu": VCPU, "memory": MEMORY}
    prices = {name: Price(price_of(rate), unit="microsecond") for name, rate in per.items()}
    storage = Price(price_of(BYTE), unit="byte-microsecond")
    world.publish({"sandbox:small": prices, "storage:*": {"byte_us": storage}})
    dearer = {"sandbox:small": {"vcpu": Price(price_of(DEAR_VCPU), unit="microsecond")}}
    world.publish(dearer, version="dearer", effective_at=DEARER)
    world.grant(10**16)
    yield world
    getattr(store, "close", lambda: None)()


def price_of(rate: Fraction) -> Flat:
    return Flat(rate.numerator, rate.denominator)


SMALL = sandbox("small", {"vcpu": 2, "memory": 4})
OWN_MEMORY = sandbox("small", {"vcpu": 2, "memory": 4}, payer={"memory": "customer"})


def beats(world: World, run: str, until: datetime, every: timedelta) -> None:
    while world.clock.now + every < until:
        world.clock.advance(every)
        world.billing.heartbeat("acme", run)
    world.clock.set(until)


def test_a_day_in_the_life(world: World) -> None:
    billing, clock = world.billing, world.clock
    for name, size in (("docs", 10**9), ("media", 5 * 10**10)):
        billing.report_storage("acme", name, size)

    # An hour's run, suspended for ten minutes of it, which is told late.
    billing.start_run("acme", "hour", SMALL, member="ann")
    beats(world, "hour", NOON + HOUR, 7 * MINUTE)
    billing.stop_run("acme", "hour")
    billing.suspend_run("acme", "hour", occurred_at=NOON + 20 * MINUTE, until=NOON + 30 * MINUTE)

    # An orphan, whose service died after nine minutes.
    billing.start_run("acme", "orphan", OWN_MEMORY)
    beats(world, "orphan", NOON + HOUR + 10 * MINUTE, 3 * MINUTE)
    clock.advance(HOUR)
    [swept] = billing.sweep_runs(idle_for=30 * MINUTE)
    assert swept.settled_to == NOON + HOUR + 9 * MINUTE

    # One that failed by the platform's fault, and is forgiven.
    failed = clock.now
    billing.start_run("acme", "failed", SMALL, member="bo")
    clock.advance(100 * SECOND)
    billing.stop_run("acme", "failed", settle=False)
    billing.forgive_run("acme", "sorry", "failed", reason="the host was lost")
    assert clock.now - failed == 100 * SECOND

    # A workspace grows; the other shrinks, which is reported after it was billed.
    grown = clock.now
    billing.report_storage("acme", "docs", 3 * 10**9)
    clock.set(MIDNIGHT - HOUR)
    billing.bill_storage("acme")
    shrunk = MIDNIGHT - 5 * HOUR
    billing.report_storage("acme", "media", 10**10, occurred_at=shrunk)

    # A run over midnight, where the month ends, and over the change of price.
    night = clock.now
    billing.start_run("acme", "night", SMALL, member="ann")
    beats(world, "night", DEARER + HOUR, 6.5 * MINUTE)  # neither change falls on a heartbeat
    billing.stop_run("acme", "night")
    billing.bill_storage("acme")
    end = clock.now

    us = 10**6
    march = {
        "vcpu": 2 * VCPU * (50 * 60 + 9 * 60 + 100 + 3600) * us,
        "memory": 4 * MEMORY * (50 * 60 + 100 + 3600) * us,
        "docs": BYTE * (10**9 * seconds(NOON, grown) + 3 * 10**9 * seconds(grown, MIDNIGHT)) * us,
        "media": BYTE
        * (5 * 10**10 * seconds(NOON, shrunk) + 10**10 * seconds(shrunk, MIDNIGHT))
        * us,
    }
    april = {
        "vcpu": 2 * (VCPU * 6 * 3600 + DEAR_VCPU * 3600) * us,
        "memory": 4 * MEMORY * 7 * 3600 * us,
        "docs": BYTE * 3 * 10**9 * seconds(MIDNIGHT, end) * us,
        "media": BYTE * 10**10 * seconds(MIDNIGHT, end) * us,
    }
    assert night == MIDNIGHT - HOUR
    failed_view = billing.run("acme", "failed")
    forgiven = failed_view.forgiven
    bare = (2 * VCPU + 4 * MEMORY) * 100 * us
    assert abs(forgiven - bare) <= 2, "to a fraction of a nano carried, for each component"
    total = sum(floor(each) for month in (march, april) for each in month.values())
    assert world.balance().used == total - forgiven

    views = {view.run: view for view in billing.runs("acme", unsettled=False)}
    assert {name: view.settled_us // us for name, view in views.items()} == {
        "hour": 3000, "orphan": 540, "failed": 0, "night": 8 * 3600,
    }  # fmt: skip
    summary = billing.usage("acme", "all_time").summary
    runtime = summary.sandbox_runtime
    assert (runtime.settled.runs, runtime.forgiven.runs) == (3, 1)
    assert runtime.forgiven.seconds == 100
    assert runtime.settled.amount + sum(each.amount for each in summary.storage) == summary.total
    assert summary.total == total - forgiven
    assert world.wrong() == []


def seconds(start: datetime, end: datetime) -> int:
    return int((end - start).total_seconds())
