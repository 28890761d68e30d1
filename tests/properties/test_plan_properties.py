"""Properties of plans and limits: grouping and order, once per period, never passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_concurrency import in_threads
from world import LONG_AGO, T0, TICK, World, nanos, units

from billing_core import (
    Billing,
    Charged,
    Flat,
    Graduated,
    Limit,
    Plan,
    Price,
    Refusal,
    Tier,
)
from billing_core.commands.accounts import SetLimit, SetPlan
from billing_core.commands.base import Command
from billing_core.commands.charges import Deduct, Reverse, Settle
from billing_core.commands.holds import Hold, Release

ENDS = [datetime(2026, month, 10, 12, tzinfo=UTC) for month in range(4, 9)]
"""When the org's periods end."""

FLAT = Price(Flat(2, 7))
TIERED = Price(Graduated((Tier(10, 3), Tier(25, 1, 3), Tier(None, 2, 7))))

quantities = st.lists(st.integers(0, 12), min_size=1, max_size=12)
percentages = st.sampled_from(["0", "10", "33.3", "66.67", "100"])


# -- grouping and order ------------------------------------------------------------


def discounted(price: Price, percent: str) -> World:
    world = World(priced=False)
    prices = {"x": {"unit": price}}
    world.publish(prices, version="base")
    world.publish({}, version="less", plan="pro", percent_off={"*": percent})
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    world.billing.set_plan("acme", "subscribe", "pro")
    return world


@given(st.data(), quantities, percentages, st.sampled_from([FLAT, TIERED]))
def test_any_grouping_and_order_within_a_period_costs_the_same(
    data: st.DataObject, parts: list[int], percent: str, price: Price
) -> None:
    one, many = discounted(price, percent), discounted(price, percent)
    whole = one.settle(sum(parts)).amount
    shuffled = data.draw(st.permutations(parts))
    minutes = data.draw(st.lists(st.integers(0, 40_000), min_size=len(parts), max_size=len(parts)))
    many.clock.set(ENDS[0] - TICK)
    amounts = [
        many.settle(part, occurred_at=T0 + timedelta(minutes=minute)).amount
        for part, minute in zip(shuffled, minutes, strict=True)
    ]
    assert sum(amounts) == whole
    assert many.wrong() == []


@given(quantities, quantities, percentages)
def test_under_flat_prices_nobody_s_order_matters_across_a_change(
    before: list[int], after: list[int], percent: str
) -> None:
    """Usage from before and after a subscription, told in any order, at most a nano apart."""
    world = discounted(FLAT, percent)
    world.publish({"x": {"unit": Price(Flat(5, 7))}}, version="dear", plan="dear")
    world.billing.publish(Plan("dear-1", "dear", LONG_AGO))
    world.clock.set(ENDS[0] - timedelta(days=1))
    world.billing.set_plan("acme", "dear", "dear")
    uses = [(quantity, T0) for quantity in before] + [(q, world.clock.now) for q in after]
    sums = set[int]()
    for number, order in enumerate((uses, uses[::-1], sorted(uses, key=lambda use: use[0]))):
        org = f"org-{number}"
        world.billing.open_account(org, at=T0, anchor=T0)
        world.billing.set_plan(org, "pro", "pro", at=T0)
        world.billing.set_plan(org, "dear", "dear")
        sums.add(sum(world.settle(q, org, occurred_at=at).amount for q, at in order))
    assert len(sums) == 1
    assert world.wrong() == []


# -- once per period ---------------------------------------------------------------

FIRST = ("settle", "late", "hold", "deduct", "check", "grant", "plan", "refused")


def come(world: World, who: str, time: datetime) -> None:
    """Somebody is the first, or not, to touch the org at a time."""
    world.clock.set(time)
    key = world.key()
    match who:
        case "settle":
            world.settle(1)
        case "late":
            world.settle(1, occurred_at=max(T0, time - timedelta(days=31)))
        case "hold":
            world.billing.execute([Hold("acme", key, cost=nanos(2), expires_in=timedelta(days=20))])
        case "deduct":
            world.billing.execute([Deduct("acme", key, cost=nanos(3), resource="x")])
        case "check":
            world.billing.check("acme", nanos(1))
        case "grant":
            world.grant(1, expires_at=time + timedelta(days=3))
        case "plan":
            world.billing.set_plan("acme", key, "pro")
        case _:
            world.billing.execute([Hold("acme", key, cost=nanos(10**9), expires_in=timedelta(1))])


_times = st.integers(0, len(ENDS) - 1).flatmap(
    lambda which: st.sampled_from([-TICK, 0 * TICK, TICK, timedelta(days=9)]).map(
        lambda step: ENDS[which] + step
    )
)


@given(
    st.lists(st.tuples(_times, st.sampled_from(FIRST)), min_size=1, max_size=8),
    st.sampled_from([None, 5, 1000]),
    st.sampled_from([0, 1, 27]),
)
def test_an_allowance_is_granted_exactly_once_per_period_whoever_comes_first(
    visits: list[tuple[datetime, str]], rollover: int | None, grace: int
) -> None:
    world = World()
    plan = Plan(
        "pro-1",
        "pro",
        LONG_AGO,
        allowance=nanos(10),
        rollover=None if rollover is None else nanos(rollover),
        grace=timedelta(days=grace),
    )
    world.billing.publish(plan)
    world.billing.set_plan("acme", "subscribe", "pro")
    for time, who in sorted(visits):
        come(world, who, time)
    world.clock.set(ENDS[-1] + timedelta(days=10))
    world.settle(1)
    granted = [lot for lot in world.store.lots("acme") if came_in(world, lot.lot)]
    assert [lot.period for lot in granted] == sorted({lot.period for lot in granted}, key=int)
    assert [lot.amount for lot in granted] == [10] * 6
    rolled = [
        (before.period, lot)
        for before, lot in pairwise(world.store.lots("acme"))
        if lot.period is not None and not came_in(world, lot.lot)
    ]
    assert all(lot.amount <= (rollover or 0) for _, lot in rolled)
    assert world.wrong() == []


def came_in(world: World, lot: int) -> bool:
    moves = [move for entry in world.entries() for move in entry.transfers]
    return any((move.debit, move.credit) == ("plans", f"lot:{lot}") for move in moves)


@pytest.mark.parametrize("engines", [1, 2])
def test_threads_that_meet_at_a_period_s_begin_find_one_allowance(engines: int) -> None:
    for _ in range(10):
        world = World()
        world.billing.publish(Plan("pro-1", "pro", LONG_AGO, allowance=nanos(10)))
        world.billing.set_plan("acme", "subscribe", "pro")
        world.clock.set(ENDS[1])
        doors = [Billing(world.store, clock=world.clock) for _ in range(engines)]

        def deduct(who: int, doors: list[Billing] = doors) -> list[bool]:
            door = doors[who % len(doors)]
            commands = [Deduct("acme", f"{who}-{n}", cost=units(1)) for n in range(4)]
            return [isinstance(door.execute([each])[0], Charged) for each in commands]

        done = in_threads(4, deduct)
        assert sum(map(sum, done)) == 10
        keys = [entry.key for entry in world.entries() if entry.key.startswith("lapse:period")]
        assert len(keys) == len(set(keys)) == 2
        assert world.wrong() == []


# -- limits ------------------------------------------------------------------------

MEMBERS = ("ann", "bob")


@st.composite
def asks(draw: st.DrawFn) -> list[Command]:
    """Holds and deducts of members, projects and nobody, releases and reversals."""
    made: list[Command] = []
    for n in range(draw(st.integers(1, 16))):
        member = draw(st.sampled_from([None, *MEMBERS]))
        project = draw(st.sampled_from([None, "p"]))
        cost = nanos(draw(st.integers(1, 9)))
        at = T0 + timedelta(hours=draw(st.sampled_from([0, 0, 6, 13, 40])))
        kind = draw(st.sampled_from(["deduct", "deduct", "hold", "capture", "release", "reverse"]))
        key, of = f"k{n}", draw(st.integers(0, n))
        labels = {"member": member, "project": project}
        match kind:
            case "deduct":
                made.append(Deduct("acme", key, cost=cost, resource="x", occurred_at=at, **labels))
            case "hold":
                made.append(Hold("acme", key, cost=cost, expires_in=timedelta(days=5), **labels))
            case "capture":
                # What a hold captures is no more than was held, by whom it was.
                held = [each for each in made if isinstance(each, Hold)]
                if held:
                    by = held[of % len(held)]
                    used = units(draw(st.integers(0, by.cost.nanos)))
                    labels = {"member": by.member, "project": by.project}
                    made.append(Settle("acme", key, usage=used, hold=by.key, **labels))
            case "release":
                made.append(Release("acme", key, hold=f"k{of}"))
            case _:
                made.append(Reverse("acme", key, charge=of + 5))
    return made


@given(asks(), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_limits_are_never_passed_by_holds_and_deducts(
    commands: list[Command], org: int, member: int, project: int, batched: bool
) -> None:
    """Neither in one batch nor one by one, nor by the first ones of a new member."""
    world = World(now=T0 + timedelta(days=2))
    limits = [Limit("member", nanos(member), "day"), Limit("project", nanos(project))]
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, allowance=nanos(1000), limits=limits))
    world.billing.execute(
        [
            SetPlan("acme", "p", plan="pro"),
            SetLimit("acme", "l", amount=nanos(org)),
            SetLimit("acme", "m", amount=nanos(2 * member), every="member"),
        ]
    )
    batches = [commands] if batched else [[each] for each in commands]
    settled = set[str]()
    for batch in batches:
        for command, outcome in zip(batch, world.billing.execute(batch), strict=True):
            if (
                isinstance(command, Settle)
                and isinstance(outcome, Charged)
                and outcome.unpaid + (outcome.paid)
            ):
                settled.add(command.key)  # its hold had ended: a settlement may pass any limit
    most = {"org": org, "project": project, "member": min(member, 2 * member)}
    sums: dict[tuple[str, str, int], int] = {}
    for each in world.store.spends("acme"):
        sums[each.subject, each.grain, each.start] = each.amount
    free = settled == set()
    for (subject, grain, start), amount in sums.items():
        who = subject.partition(":")[0]
        per = "day" if who == "member" else "period"
        if grain == per and free:
            # A hold reserves in the windows of now alone, but a capture stays in them.
            held = sums.get((subject, "held", 0), 0) if grain == "period" else 0
            assert amount + held <= most[who], (subject, grain, start)
    assert world.wrong() == []


@pytest.mark.parametrize("engines", [1, 2])
def test_limits_are_never_passed_by_threads(engines: int) -> None:
    """The first requests of a new member, all at once."""
    for _ in range(10):
        world = World()
        world.grant(1000)
        world.billing.set_limit("acme", "each", nanos(25), every="member")
        doors = [Billing(world.store, clock=world.clock) for _ in range(engines)]

        def spend(who: int, doors: list[Billing] = doors) -> int:
            door, done = doors[who % len(doors)], 0
            for n in range(5):
                key, kind = f"{who}-{n}", (who + n) % 2
                ask = Hold("acme", key, cost=nanos(3), expires_in=timedelta(days=1), member="new")
                buy = Deduct("acme", key, cost=nanos(3), resource="x", member="new")
                [outcome] = door.execute([ask if kind else buy])
                done += not isinstance(outcome, Refusal)
            return done

        assert sum(in_threads(6, spend)) == 8, "8 of 3 nanos each are 24"
        assert not world.billing.check("acme", nanos(2), member="new").allowed
        assert world.billing.check("acme", nanos(1), member="new").allowed
        assert world.wrong() == []
