"""What a database finds of an org is that org's, and all of it: two orgs whose names for
everything are the same, beside the store in memory."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from full_database import BOX, URLS
from payment_worlds import fake_world
from store_comparison import BesideMemory, SqliteBesideMemory, same
from world import LONG_AGO

from billing_adapters.sqlite import SqliteStore
from billing_core import (
    Billing,
    Flat,
    Graduated,
    Money,
    Plan,
    Price,
    PriceBook,
    Tier,
    Usage,
    usd,
)
from billing_core.ports.state import Wanted
from billing_core.testing import CountingIds, SettableClock
from billing_core.values.times import DAY, HOUR, billing_period, micros, moment

ORGS = ("acme", "beta", "corp")
NAMES = ("ann", "bob", "nobody")
KEYS = ("h-settled", "h-open", "h-lapsed", "run:r1", "run:r2", "no")


def story(billing: Billing, org: str, k: int, world: Any) -> None:
    """What happens to an org; ``k`` makes its amounts its own."""
    clock, street = world.clock, world.street
    labels = {"member": "ann", "project": "p"}
    billing.open_account(org, livemode=False)
    billing.grant(org, "g1", usd(f"{20 + k}"))
    billing.grant(
        org, "g2", Money(90 + k, "USD"), kind="promotional", scope=["x"],
        expires_at=clock.now + timedelta(days=1),
    )  # fmt: skip
    page = billing.top_up(org, "t1", usd(f"{10 + k}"), save_method=True, **URLS)
    street.pay(page.session)
    assert billing.confirm(org, page.session).paid
    billing.set_plan(org, "plan", "pro")
    billing.set_limit(org, "l1", usd(f"{500 + k}"), every="member", alerts=(50,))
    billing.set_limit(org, "l2", usd(f"{400 + k}"), project="p", per="day")
    billing.set_limit(org, "l3", usd(f"{300 + k}"), member="ann")
    x, tiered = Usage.of("x", {"unit": 10 + k}), Usage.of("tool:a", {"call": 3 + k})
    billing.hold(org, x, key="h-settled", expires_in=timedelta(days=1), **labels)
    billing.settle(org, "s1", x, hold="h-settled", **labels)
    billing.hold(org, tiered, key="h-open", expires_in=timedelta(days=60), **labels)
    billing.hold(
        org, Money(k + 2, "USD"), key="h-lapsed", expires_in=timedelta(minutes=1), resource="x"
    )
    billing.settle(org, "s2", Usage.of("tool:b", {"call": 2 + k}, item="i1"), member="bob")
    late = billing.settle(org, "s3", Usage.of("unheard", {"unit": 2 + k}))
    billing.settle(org, "s4", x, occurred_at=clock.now - timedelta(days=40), **labels)
    spent = billing.deduct(org, "d1", Money(30 + k, "USD"), resource="x", **labels)
    billing.reverse(org, "rev", charge=spent.seq, amount=Money(5 + k, "USD"))
    billing.start_run(org, "r1", BOX, **labels)
    billing.start_run(org, "r2", BOX)
    billing.report_storage(org, "ws", 1000 + k)
    clock.advance(timedelta(minutes=2))
    billing.stop_run(org, "r1")
    billing.report_storage(org, "ws", 500 + k)
    on = {"enabled": True, "threshold": usd(f"{1000 + k}"), "amount": usd(f"{20 + k}")}
    billing.set_auto_topup(org, "a1", **on, times=9)
    if k == 2:  # and one owes: more than there is, twice
        for key in ("o1", "o2", "o3"):
            billing.settle(org, key, Usage.of("x", {"unit": 10**12}))
    assert late.unpriced


def publish(billing: Billing) -> None:
    call = {"call": Price(Flat(3), unit="call")}
    prices = {
        "x": {"unit": Price(Flat(1), unit="unit")},
        "tool:a": call,
        "tool:b": call,
        "sandbox:box": {"second": Price(Flat(1000, 1_000_000), unit="microsecond")},
        "storage:*": {"byte_us": Price(Flat(1, 1_000_000), unit="byte-microsecond")},
    }
    billing.publish(PriceBook("base", LONG_AGO, prices))
    billing.publish(Plan("pro-1", "pro", LONG_AGO, allowance=Money(30, "USD")))


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(request: Any, tmp_path_factory: Any) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("lookups")
    with SqliteBesideMemory(folder / "b.db") if request.param == "sqlite" else BesideMemory() as s:
        world = fake_world()
        billing = Billing(s, clock=world.clock, ids=CountingIds(), payments=world.provider)
        publish(billing)
        for k, org in enumerate(ORGS):
            story(billing, org, k, world)
        s.now = world.clock()
        yield s


def wants(store: Any, org: str) -> Iterator[dict[str, Any]]:
    """All that can be asked for, each by itself, with what there is not."""
    now = store.now
    entries = store.model.entries(org)
    charges = [each.seq for each in entries if each.usage is not None and each.op != "piece"]
    begun = billing_period(store.model.snapshot({org: Wanted(0)})[org].account.anchor, now)
    before = begun.start - 1
    yield {}
    yield {"until": now - 400 * DAY}
    yield {"until": now + 100 * DAY}
    yield {"keys": {entries[3].key}}
    yield {"keys": {each.key for each in entries} | {f"settle:none {n}" for n in range(120)}}
    yield {"members": set(NAMES)}
    for hold in KEYS:
        yield {"holds": {hold}}
    yield {"all_holds": True}
    for charge in (*charges, 10**6):
        yield {"charges": {charge}}
    for debts in (1, 2, 5):
        yield {"debts": debts}
    for resource in ("x", "tool:a", "none"):
        for span in ((now, now), (before, before), (before, now), (0, 1)):
            yield {"counters": {resource: span}}
    yield from over_time(store, org, begun, entries)


def over_time(store: Any, org: str, begun: Any, entries: Any) -> Iterator[dict[str, Any]]:
    """What is asked for of times, periods, and what is named."""
    now, before = store.now, begun.start - 1
    yield {"items": {("i1", "tool:b"), ("i1", "tool:a"), ("none", "x")}}
    for times in ((now, now), (before, now)):
        yield {"times": times, "projects": {"p", "q"}, "members": {"ann"}}
        yield {"times": times}
    day = now - now % DAY
    yield {"windows": {("day", day), ("period", begun.start), ("held", 0), ("day", day - DAY)}}
    for member in (None, 0, 1, 2, 99):
        for grain, start in (
            ("hour", now - now % HOUR), ("day", day), ("period", begun.start), ("day", 0),
        ):  # fmt: skip
            yield {"sums": {(member, grain, start)}}
    for prefix in ("tool:", "tool:b", "x", "", "none:"):
        for start in (begun.start, 0):
            yield {"families": {(prefix, start)}}
    for name in ("r1", "r2", "none"):
        yield {"runs": {name: (now, now)}}
    for name in ("ws", "none"):
        for at in (0, now - 60_000_000, now):
            yield {"storages": {name: (at, now)}}
    for topup in (*(each.topup for other in ORGS for each in store.model.topups(other)), "none"):
        yield {"topups": {topup}}
    yield {"auto": True}
    for resource in ("x", "tool:a", "unheard", "none"):
        at = micros("at", LONG_AGO)
        exact = next(e.usage.occurred_at for e in entries if e.key == "settle:s1")
        for span in ((begun.start, begun.end), (at, begun.start), (exact, now), (at, exact)):
            yield {"newest": {(resource, *span)}}


@pytest.mark.parametrize("org", [*ORGS, "none"])
def test_what_is_loaded_of_an_org_is_its_own(store: Any, org: str) -> None:
    for asked in wants(store, org) if org != "none" else iter([{}, {"auto": True}]):
        want = {"until": store.now, **asked}
        try:
            store.snapshot({org: Wanted(**want)})
        except AssertionError as error:
            raise AssertionError(f"{want}: {error}") from error


def test_what_is_loaded_of_many_orgs_is_each_ones_own(store: Any) -> None:
    wanted = {org: list(wants(store, org)) for org in ORGS}
    for number in range(min(map(len, wanted.values()))):
        asked = {org: Wanted(**{"until": store.now, **wanted[org][number]}) for org in ORGS}
        with store.transaction() as transaction:
            transaction.load(asked)


def test_what_is_read_of_an_org_is_its_own(store: Any) -> None:
    store.compare()
    for org in ORGS:
        names = {name: store.model.snapshot({org: Wanted(0, members={name})}) for name in NAMES}
        for name, expected in names.items():
            same(store.snapshot({org: Wanted(0, members={name})}), expected)
        assert store.members(org) == store.model.members(org)
        assert [*store.named(org)] == [*store.model.named(org)]
        assert store.waiting_events(org, 2) == store.model.waiting_events(org, 2)
        for after in (0, 5, 10**6):
            assert store.events(org, after, 3) == store.model.events(org, after, 3)
            found = store.entries(org, after=after, limit=4)
            assert found == store.model.entries(org, after=after, limit=4)
        assert store.deliveries(org) == store.model.deliveries(org)
    assert store.orgs() == store.model.orgs()
    assert store.orgs("acme", 1) == store.model.orgs("acme", 1)


def announced(store: Any) -> Billing:
    """An engine, and a hold whose quantities are announced in each of two billing periods."""
    billing = Billing(store, clock=fake_world().clock)
    tiers = Graduated((Tier(5, 2), Tier(None, 1)))
    billing.publish(PriceBook("tiers", LONG_AGO, {"x": {"unit": Price(tiers, unit="unit")}}))
    billing.open_account("acme")
    billing.grant("acme", "g", usd("1"))
    billing.hold("acme", Usage.of("x", {"unit": 3}), key="h", expires_in=timedelta(days=60))
    return billing


def free_of(store: Any) -> bool:
    """Nothing is announced any more."""
    counters = list(store.counters("acme"))
    return len(counters) == 2 and all(each.of("unit").held == 0 for each in counters)


def test_a_hold_over_periods_takes_back_what_it_announced_in_each(tmp_path: Path) -> None:
    with SqliteBesideMemory(tmp_path / "b.db") as store:
        billing = announced(store)
        billing.settle("acme", "s", Usage.of("x", {"unit": 1}))
        billing.release("acme", "h")
        assert free_of(store)
        assert billing.verify().ok


def test_a_hold_that_is_known_without_its_counters_takes_back_what_it_announced(
    tmp_path: Path,
) -> None:
    with SqliteStore(tmp_path / "b.db") as before:
        clock = announced(before).clock
    with SqliteStore(tmp_path / "b.db") as store:
        billing = Billing(store, clock=SettableClock(moment(clock())))
        billing.extend("acme", "e", hold="h", expires_in=timedelta(days=61))
        billing.release("acme", "h")
        assert free_of(store)
        assert billing.verify().ok
