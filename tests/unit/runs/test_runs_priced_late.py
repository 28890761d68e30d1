"""Time of a run or of storage that had no price, and is priced later: what that costs belongs to
what the run was charged, and is forgiven and given back with it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_runs_forgiven import second
from world import HOUR, LONG_AGO, MINUTE, SECOND, T0, World, nanos

from billing_core import (
    AsyncBilling,
    Charged,
    Conflict,
    Flat,
    Graduated,
    MoneyOverflow,
    Plan,
    Price,
    Refused,
    Tier,
    Usage,
    sandbox,
)
from billing_core.charging import time_charges as spans
from billing_core.charging import unpriced_usage
from billing_core.records.ledger import Entry
from billing_core.records.runs import Day, Tab
from billing_core.values.money import MAX_NANOS

pytestmark = pytest.mark.every_store

BOX = sandbox("box", {"second": 1, "gpu": 1})
GPU = {"sandbox:box": {"gpu": second(100)}}


def boxes(*, grant: int = 10**9, now: datetime = T0, gpu: int = 100) -> World:
    """A second costs 1,000 nanos; a GPU's costs 100 while the plan is had."""
    world = World(priced=False, now=now)
    world.publish({"sandbox:box": {"second": second(1000)}})
    world.publish({"sandbox:box": {"gpu": second(gpu)}}, version="gpus", plan="pro")
    world.billing.publish(Plan("pro1", "pro", LONG_AGO))
    world.grant(grant)
    world.billing.set_plan("acme", "on", "pro")
    return world


def started(world: World, **options: object) -> None:
    """A run starts, and from then on its GPU has no price."""
    world.billing.start_run("acme", "r1", BOX, **options)
    world.billing.set_plan("acme", "off", None)


def unpriced(world: World) -> list[Entry]:
    return [
        entry
        for entry in world.entries()
        if entry.op == "piece" and any(line.version is None for line in entry.usage.lines)
    ]


def price(world: World, key: str = "p", *, which: int = -1, version: str = "gpus") -> Charged:
    charge = unpriced(world)[which].seq
    return world.billing.price_unpriced(
        "acme", key, charge=charge, version=version, override=version == "gpus"
    )


def ran(world: World, minutes: int = 1) -> None:
    """It runs, and stops."""
    world.clock.advance(minutes * MINUTE)
    world.billing.stop_run("acme", "r1")


def test_an_hour_of_a_dear_gpu_that_was_priced_later_comes_back() -> None:
    world = boxes(grant=10**13, gpu=10**9)
    started(world)
    ran(world, minutes=60)
    assert price(world).amount == 3600 * 10**9
    world.billing.suspend_run("acme", "r1", occurred_at=T0 + 15 * MINUTE, until=T0 + 45 * MINUTE)
    assert world.balance().used == 1800 * (1000 + 10**9)
    assert world.wrong() == []


def test_what_was_priced_later_comes_back_only_where_credit_stays_within_64_bits() -> None:
    world = boxes(grant=10**13, gpu=10**9)
    started(world)
    ran(world)
    price(world)
    back = 30 * (1000 + 10**9)
    filled = world.grant(MAX_NANOS - world.balance().balance - back + 1)
    before = world.state()
    with pytest.raises(MoneyOverflow):
        suspended(world, 10, 40)
    assert world.state() == before
    world.deduct(nanos(10**11), resource="x")
    assert suspended(world, 10, 40).charged == -back
    assert filled in world.left()
    assert world.wrong() == []


def test_what_a_forgiven_run_is_priced_at_later_is_forgiven_too() -> None:
    world = boxes()
    started(world)
    ran(world)
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    priced = price(world)
    assert (priced.amount, priced.paid, world.balance().used) == (0, 0, 0)
    assert {line.component: line.amount for line in priced.lines} == {
        "gpu": 6000,
        "forgiven": -6000,
    }
    assert price(world).replayed
    assert world.balance().balance == 10**9
    view = world.billing.run("acme", "r1")
    assert (view.settled, view.forgiven, view.forgiven_us) == (0, 66_000, 60 * 10**6)
    assert world.billing.undo_forgiveness("acme", "u", "r1").charged == 66_000
    assert world.balance().used == 66_000
    assert world.wrong() == []


def test_what_a_run_was_priced_at_later_is_forgiven_with_it() -> None:
    world = boxes()
    started(world)
    ran(world)
    assert price(world).amount == 6000
    assert world.billing.run("acme", "r1").settled == 66_000
    forgiven = world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    assert (forgiven.charged, world.balance().used) == (-66_000, 0)
    assert world.balance().balance == 10**9
    assert world.wrong() == []


def test_part_of_what_a_run_was_priced_at_later_can_be_forgiven() -> None:
    world = boxes()
    started(world)
    ran(world)
    price(world)
    assert (
        world.billing.forgive_run("acme", "f", "r1", reason="theirs", amount=nanos(63_000)).charged
        == -63_000
    )
    with pytest.raises(Refused, match="too much by"):
        world.billing.forgive_run("acme", "g", "r1", reason="theirs", amount=nanos(3001))
    assert world.wrong() == []


def test_what_an_open_run_is_priced_at_later_is_paid_from_what_is_available() -> None:
    """Its hold funds the deadline that it was told."""
    world = boxes()
    started(world, fund_for=10 * MINUTE)
    world.clock.advance(MINUTE)
    beat = world.billing.heartbeat("acme", "r1")
    [hold] = [each for each in world.store.holds("acme") if each.state == "open"]
    priced = price(world)
    assert (priced.amount, priced.captured, priced.paid) == (6000, 0, 6000)
    assert next(each for each in world.store.holds("acme") if each.key == hold.key) == hold
    assert world.billing.heartbeat("acme", "r1").funded_until >= beat.funded_until
    ran(world)
    assert price(world, "p2").amount == 6000
    assert world.balance().used == 2 * 66_000
    assert world.wrong() == []


def test_what_is_owed_of_a_run_priced_later_is_forgiven_once() -> None:
    world = boxes(grant=66_000)
    started(world)
    ran(world)
    world.deduct(nanos(6000), resource="x")
    assert (price(world).unpaid, world.balance().debt) == (6000, 6000)
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    assert (world.balance().debt, world.balance().balance) == (0, 60_000)
    assert world.wrong() == []


def test_a_later_price_of_a_runs_time_is_not_reversed_by_itself() -> None:
    world = boxes()
    started(world)
    ran(world)
    priced = price(world)
    for undo in (False, True):
        with pytest.raises(Conflict, match=r"forgive the run|undo that"):
            world.reverse(priced, undo_usage=undo)
    assert world.balance().used == 66_000
    assert world.wrong() == []


def test_a_call_that_is_undone_takes_back_nothing_of_a_run_that_was_priced_later() -> None:
    """Though the run pays for what the call had free: a run gives back what it did not use."""
    world = World(priced=False)
    world.publish({"sandbox:box": {"second": second(1000)}})
    tiers = Graduated((Tier(60 * 10**6, 0), Tier(None, 100, 10**6)))
    gpu = Price(tiers, unit="microsecond")
    world.publish({"sandbox:box": {"gpu": gpu}}, version="gpus", plan="pro")
    world.billing.publish(Plan("pro1", "pro", LONG_AGO))
    world.grant(10**9)
    world.billing.set_plan("acme", "on", "pro")
    call = world.deduct(Usage.of("sandbox:box", {"gpu": 60 * 10**6}))
    started(world)
    ran(world)
    assert (call.amount, price(world).amount) == (0, 6000)
    assert world.reverse(call, undo_usage=True).amount == 0
    assert world.billing.run("acme", "r1").settled == world.balance().used == 66_000
    assert world.wrong() == []


def test_each_piece_of_a_forgiven_run_over_two_periods_is_priced_on_its_own() -> None:
    world = boxes(now=datetime(2026, 3, 10, 12, tzinfo=UTC))
    world.clock.set(datetime(2026, 4, 10, 11, 59, tzinfo=UTC))
    started(world)
    ran(world, 3)
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    first, last = unpriced(world)
    assert [price(world, key, which=n).amount for n, key in enumerate("ab")] == [0, 0]
    with pytest.raises(Conflict, match="nothing unpriced"):
        price(world, "c", which=0)
    assert world.billing.run("acme", "r1").forgiven == 3 * 66_000
    assert world.billing.undo_forgiveness("acme", "u", "r1").charged == 3 * 66_000
    assert first.usage.occurred_at < last.usage.occurred_at
    assert world.wrong() == []


def test_storage_that_was_priced_later_gives_back_for_a_size_told_late() -> None:
    """Its size was told wrongly: half of what it was charged comes back."""
    world = World(priced=False)
    world.grant(10**12)
    world.billing.report_storage("acme", "ws", 2000)
    world.clock.advance(HOUR)
    world.billing.bill_storage("acme")
    byte_us = Price(Flat(1, 10**6), unit="byte-microsecond")
    version = world.publish({"storage:*": {"byte_us": byte_us}}, version="stored")
    assert price(world, version=version).amount == 2000 * 3600
    back = world.billing.report_storage("acme", "ws", 1000, occurred_at=T0)
    assert (back.charged, world.balance().used) == (-1000 * 3600, 1000 * 3600)
    assert world.wrong() == []


def test_a_run_that_was_priced_later_gives_back_for_a_suspension_told_late() -> None:
    world = boxes()
    started(world)
    ran(world)
    version = world.publish(GPU, version="for all")  # from long ago: its first price
    assert price(world, version=version).amount == 6000
    late = world.billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + 20 * SECOND)
    assert (late.charged, world.balance().used) == (-22_000, 44_000)
    assert world.wrong() == []


def suspended(world: World, start: int, end: int, key: str = "late") -> Charged:
    """It is told late that the run did not run from one second to another."""
    return world.billing.suspend_run(
        "acme", "r1", key=key, occurred_at=T0 + start * SECOND, until=T0 + end * SECOND
    )


@pytest.mark.parametrize("late_first", [True, False])
def test_time_priced_later_costs_what_ran_whenever_a_suspension_is_told(late_first) -> None:
    world = boxes()
    started(world)
    ran(world)
    if late_first:
        assert suspended(world, 10, 40).charged == -30_000
        assert price(world).amount == 3000
    else:
        assert price(world).amount == 6000
        assert suspended(world, 10, 40).charged == -33_000
        [back] = [entry.usage.lines for entry in world.entries() if entry.op == "back"]
        assert [(line.component, line.billed, line.amount) for line in back] == [
            ("second", -30_000_000, -30_000),
            ("gpu", -30_000_000, -3000),
            ("running", 0, 0),
        ]
    assert world.billing.run("acme", "r1").settled == world.balance().used == 33_000
    assert suspended(world, 40, 50, "more").charged == -11_000
    assert world.wrong() == []


@pytest.mark.parametrize("late_first", [True, False])
def test_of_a_forgiven_run_what_ran_is_charged_again_when_that_is_undone(late_first) -> None:
    world = boxes()
    started(world)
    ran(world)
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    for late in (late_first, not late_first):
        done = suspended(world, 10, 40).charged if late else price(world).amount
        assert done == 0
    assert world.billing.undo_forgiveness("acme", "u", "r1").charged == 33_000
    assert world.balance().used == 33_000
    assert world.wrong() == []


def test_a_suspension_told_late_before_any_of_two_pieces_is_priced_is_taken_off_once() -> None:
    world = boxes()
    started(world)
    for _ in range(2):
        world.clock.advance(MINUTE)
        world.billing.heartbeat("acme", "r1")
    suspended(world, 0, 90)
    assert price(world, "a", which=0).amount == 0
    assert price(world, "b", which=1).amount == 3000
    assert suspended(world, 90, 100, "more").charged == -11_000
    assert world.balance().used == 22_000
    assert world.wrong() == []


@pytest.mark.parametrize(
    "order", ["late publish price", "publish late price", "publish price late"]
)
def test_storage_priced_later_costs_its_sizes_whenever_they_are_told(order: str) -> None:
    world = World(priced=False)
    world.grant(10**12)
    world.billing.report_storage("acme", "ws", 2000)
    world.clock.advance(HOUR)
    world.billing.bill_storage("acme")
    byte_us = Price(Flat(1, 10**6), unit="byte-microsecond")
    for step in order.split():
        if step == "late":
            world.billing.report_storage("acme", "ws", 500, occurred_at=T0 + 15 * MINUTE)
        elif step == "publish":
            version = world.publish({"storage:*": {"byte_us": byte_us}}, version="stored")
        else:
            price(world, version=version)
    assert world.balance().used == (2000 * 15 + 500 * 45) * 60
    assert world.wrong() == []


def test_verify_finds_a_later_price_of_more_than_corrections_left(monkeypatch) -> None:
    world = boxes()
    started(world)
    ran(world)
    suspended(world, 10, 40)
    monkeypatch.setattr(unpriced_usage, "set_off", lambda *_: {})
    assert price(world).amount == 6000
    assert any("corrections took {'gpu': " in each for each in world.wrong())


def test_time_is_priced_later_once_the_version_before_runs_nowhere(monkeypatch) -> None:
    """That one could not follow it."""
    world = boxes()
    started(world)
    ran(world)
    monkeypatch.setattr(world.billing._prices, "level", 1)
    monkeypatch.setattr(type(world.store), "level", lambda store: 1)
    with pytest.raises(Conflict, match=r"billing migrate --finish"):
        price(world)
    monkeypatch.undo()
    assert price(world).amount == 6000
    assert world.wrong() == []


def test_verify_finds_a_forgiven_run_that_a_later_price_is_charged_to(monkeypatch) -> None:
    world = boxes()
    started(world)
    ran(world)
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")

    def add(owner: object, tab: Tab, day: Day, amount: int, us: int) -> tuple[int, tuple[()]]:
        for part in (tab, day):
            part.amount += amount
        return amount, ()

    monkeypatch.setattr(spans, "_add", add)
    assert price(world).amount == 6000
    assert any("is forgiven: 6000 is charged" in each for each in world.wrong())


def test_time_is_priced_later_by_async_callers_too() -> None:
    world = boxes()
    started(world)
    ran(world)

    async def ask() -> Charged:
        billing = AsyncBilling(world.store, clock=world.clock)
        charge = unpriced(world)[-1].seq
        return await billing.price_unpriced(
            "acme", "p", charge=charge, version="gpus", override=True
        )

    assert asyncio.run(ask()).amount == 6000
    assert world.billing.forgive_run("acme", "f", "r1", reason="x").charged == -66_000
    assert world.wrong() == []


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("price"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["forgive", "undo"]), st.just(0)),
        st.tuples(st.just("part"), st.integers(1, 9)),
        st.tuples(st.just("suspend"), st.integers(1, 59)),
    ),
    max_size=8,
)


def due(seconds: int, priced: set[int]) -> int:
    """What a run of four minutes costs, of which so many seconds ran: what corrections took of
    its GPU comes off the minutes that are priced by now."""
    return seconds * 1000 + max(0, 60 * len(priced) - (240 - seconds)) * 100


@given(steps=_STEPS)
def test_in_any_order_a_run_costs_what_it_used_less_what_is_forgiven(
    steps: list[tuple[str, int]],
) -> None:
    world = boxes(grant=200_000)
    started(world)
    for _ in range(4):
        world.clock.advance(MINUTE)
        world.billing.heartbeat("acme", "r1")
    world.billing.stop_run("acme", "r1")
    seconds, priced, forgiven, whole, at = 240, set[int](), 0, False, T0
    for number, (what, value) in enumerate(steps):
        key = f"s{number}"
        cost = due(seconds, priced)
        if what == "price" and value not in priced:
            price(world, key, which=value)
            priced.add(value)
        elif what == "forgive" and not whole:
            world.billing.forgive_run("acme", key, "r1", reason="x")
            whole = True
        elif what == "part" and not whole and forgiven + value <= cost:
            world.billing.forgive_run("acme", key, "r1", reason="x", amount=nanos(value))
            forgiven += value
        elif what == "undo" and (whole or forgiven):
            world.billing.undo_forgiveness("acme", key, "r1")
            forgiven, whole = 0, False
        elif what == "suspend":
            until = at + timedelta(seconds=value)
            world.billing.suspend_run("acme", "r1", key=key, occurred_at=at, until=until)
            at = until
            seconds -= value if until <= T0 + 4 * MINUTE else 0
        if at > T0 + 3 * MINUTE:
            break
        cost = due(seconds, priced)
        assert world.balance().used == (0 if whole else cost - forgiven)
    assert world.billing.run("acme", "r1").settled == world.balance().used
    assert world.wrong() == []


def test_what_a_run_owes_is_still_owed_once_by_the_run_when_a_part_is_priced_later() -> None:
    world = boxes(grant=400_000)
    started(world)
    world.clock.advance(MINUTE)
    world.billing.heartbeat("acme", "r1")
    ran(world, minutes=9)
    assert world.balance().debt == 200_000
    assert price(world).amount == 54_000
    assert world.balance().debt == 254_000
    owed = [each.unpaid for each in world.store.charges("acme") if each.unpaid]
    assert owed == [254_000]
    assert world.wrong() == []
    world.grant(254_000)
    assert (world.balance().debt, world.balance().balance) == (0, 0)
    assert world.wrong() == []


def test_time_of_a_run_that_has_no_price_is_told() -> None:
    """Else nobody prices it."""
    world = boxes()
    started(world)
    ran(world)
    [told] = [each for each in world.billing.events("acme") if each.kind == "usage_unpriced"]
    assert json.loads(told.data) == {"resource": "sandbox:box", "components": ["gpu"]}
    assert told.seq == unpriced(world)[0].seq
    assert price(world).amount == 6000


def test_of_time_without_a_price_each_suspension_told_late_takes_what_it_says() -> None:
    world = boxes()
    started(world)
    ran(world)
    suspended(world, 10, 40, "first")
    suspended(world, 40, 45, "second")
    backs = [entry.usage.lines for entry in world.entries() if entry.op == "back"]
    told = [[(line.component, line.quantity) for line in lines] for lines in backs]
    assert told == [
        [(component, -seconds * 10**6) for component in ("gpu", "second", "running")]
        for seconds in (30, 5)
    ]
    assert price(world).amount == 2500
    assert world.wrong() == []
