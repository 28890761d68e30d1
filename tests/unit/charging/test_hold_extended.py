"""Whoever extends a hold is told that it is still the most that its call can cost (rule 5.4)."""

from datetime import timedelta

import pytest
from test_hold_life import unit
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, World, nanos, units

from billing_core import (
    Extend,
    Flat,
    Graduated,
    Hold,
    NotFound,
    Plan,
    Price,
    PriceBook,
    Quota,
    Refused,
    Tier,
    Usage,
)
from billing_core.ports.state import OrgState, Wanted
from billing_core.records.usage import HeldQuantity

TIERS = Graduated([Tier(100, 10), Tier(None, 1)])
"""The first 100 of a month cost ten, and what follows one."""


def held(world: World, key: str):
    [found] = [hold for hold in world.store.holds("acme") if hold.key == key]
    return found


def announced(world: World) -> list[int]:
    """What open holds have announced of ``x``, by billing period."""
    known = [each for each in world.store.counters("acme") if each.resource == "x"]
    return [each.of("unit").held for each in sorted(known, key=lambda each: each.start)]


@pytest.mark.every_store
def test_a_price_rise_within_the_longer_life_is_added_to_the_hold() -> None:
    world = World()
    world.grant(1_000)
    world.publish(unit(Flat(10)), version="rise", effective_at=T0 + HOUR)
    hold = world.hold(units(5), expires_in=HOUR)
    assert hold.amount == 5
    extended = world.extend(hold, expires_in=2 * HOUR, key="e")
    assert extended.amount == 50
    assert world.available() == 950
    assert world.extend(hold, expires_in=2 * HOUR, key="e").amount == 50  # once
    assert world.extend(hold, expires_in=3 * HOUR).amount == 50  # it is enough
    world.clock.advance(HOUR)
    charge = world.settle(units(5), hold=hold.key)
    assert (charge.captured, charge.unpaid) == (50, 0)
    assert world.wrong() == []


@pytest.mark.every_store
def test_an_extension_that_cannot_be_paid_for_is_refused_and_changes_nothing() -> None:
    world = World()
    world.grant(49)
    world.publish(unit(Flat(10)), version="rise", effective_at=T0 + HOUR)
    hold = world.hold(units(5), expires_in=HOUR)
    before = world.state()
    with pytest.raises(Refused) as refused:
        world.extend(hold, expires_in=2 * HOUR)
    refusal = refused.value.refusal
    assert (refusal.reason, refusal.shortfall) == ("insufficient_credit", 1)
    assert world.state() == before
    assert world.extend(hold, expires_in=HOUR).amount == 5
    world.grant(1)
    assert world.extend(hold, expires_in=2 * HOUR).amount == 50


@pytest.mark.every_store
def test_what_is_added_by_the_caller_comes_on_top() -> None:
    world = World()
    world.grant(1_000)
    world.publish(unit(Flat(10)), version="rise", effective_at=T0 + HOUR)
    hold = world.hold(units(5), expires_in=HOUR)
    assert world.extend(hold, expires_in=HOUR, add=3).amount == 8
    assert world.extend(hold, expires_in=2 * HOUR, add=3).amount == 53
    assert world.wrong() == []


@pytest.mark.every_store
def test_what_was_settled_in_parts_is_not_held_again() -> None:
    world = World()
    world.grant(1_000)
    world.publish(unit(Flat(10)), version="rise", effective_at=T0 + HOUR)
    hold = world.hold(units(5), expires_in=HOUR)
    world.settle(units(3), hold=hold.key, final=False)
    assert world.extend(hold, expires_in=2 * HOUR).amount == 20
    world.settle(units(9), hold=hold.key, final=False)
    assert sum(amount for _, amount in held(world, hold.key).parts) == 11
    assert world.extend(hold, expires_in=3 * HOUR).amount == 11  # all of it was used, and more
    assert world.wrong() == []


@pytest.mark.every_store
def test_what_another_resource_used_of_a_hold_leaves_all_of_its_own_to_come() -> None:
    world = World()
    world.grant(1_000)
    hold = world.hold(units(5), expires_in=HOUR)
    world.settle(units(3, "y"), hold=hold.key, final=False)
    assert world.extend(hold, expires_in=2 * HOUR).amount == 5
    assert world.wrong() == []


def test_a_hold_of_an_amount_keeps_it() -> None:
    world = World()
    world.grant(1_000)
    world.publish(unit(Flat(10)), version="rise", effective_at=T0 + HOUR)
    hold = world.hold(5, resource="x", expires_in=HOUR)
    assert world.extend(hold, expires_in=2 * HOUR).amount == 5


def test_what_the_customer_pays_for_is_not_held() -> None:
    world = World()
    world.grant(1_000)
    parts = {"unit": Price(Flat(1), unit="unit"), "other": Price(Flat(1), unit="unit")}
    world.publish({"w": parts}, version="w")
    dear = {name: Price(Flat(10), unit="unit") for name in parts}
    world.publish({"w": dear}, version="rise", effective_at=T0 + HOUR)
    usage = Usage.of("w", {"unit": 5, "other": 7}, payer={"other": "customer"})
    hold = world.hold(usage, expires_in=HOUR)
    assert world.extend(hold, expires_in=2 * HOUR).amount == 50
    all_theirs = world.hold(units(5, payer="customer"), expires_in=HOUR)
    assert world.extend(all_theirs, expires_in=2 * HOUR).amount == 0


@pytest.mark.every_store
def test_a_period_that_the_longer_life_reaches_begins_at_nothing() -> None:
    world = World(priced=False)
    world.grant(10_000)
    world.publish(unit(TIERS))
    world.settle(units(100))
    hold = world.hold(units(50), expires_in=HOUR)
    assert (hold.amount, announced(world)) == (50, [50])
    assert world.extend(hold, expires_in=32 * DAY).amount == 500
    assert announced(world) == [50, 50]
    assert world.wrong() == []
    world.clock.advance(31 * DAY)
    assert world.hold(units(100), expires_in=HOUR).amount == 1_000
    charge = world.settle(units(50), hold=hold.key)
    assert (charge.amount, charge.captured) == (500, 500)
    assert world.wrong() == []


@pytest.mark.every_store
def test_others_reckon_with_a_hold_in_the_period_that_it_was_extended_into() -> None:
    """The first 100 of a month are free."""
    world = World(priced=False)
    world.grant(10_000)
    world.publish(unit(Graduated([Tier(100, 0), Tier(None, 1)])))
    hold = world.hold(units(100), expires_in=HOUR)
    world.extend(hold, expires_in=32 * DAY)
    world.clock.advance(31 * DAY)
    other = world.hold(units(10), expires_in=HOUR)
    assert other.amount == 10
    world.settle(units(100), hold=hold.key)
    charge = world.settle(units(10), hold=other.key)
    assert (charge.captured, charge.unpaid) == (10, 0)
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_hold_is_not_in_its_own_way_and_announces_what_is_left() -> None:
    world = World(priced=False)
    world.grant(10_000)
    world.publish(unit(Graduated([Tier(100, 1), Tier(None, 5)])))
    hold = world.hold(units(100), expires_in=HOUR)
    assert hold.amount == 100
    assert world.extend(hold, expires_in=2 * HOUR).amount == 100
    world.settle(units(60), hold=hold.key, final=False)
    assert announced(world) == [100]
    assert world.extend(hold, expires_in=3 * HOUR).amount == 40
    assert announced(world) == [40]
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_tiered_price_that_came_since_is_announced_with_the_extension() -> None:
    world = World()
    world.grant(10_000)
    world.settle(units(200))
    hold = world.hold(units(100), expires_in=HOUR)
    world.publish(
        unit(Graduated([Tier(100, 1), Tier(None, 5)])), version="t", effective_at=T0 + HOUR
    )
    assert world.extend(hold, expires_in=3 * HOUR).amount == 500
    assert announced(world) == [100]
    world.settle(units(100), hold=hold.key)
    assert world.wrong() == []


@pytest.mark.every_store
def test_an_item_s_minimum_that_was_charged_is_not_held_again() -> None:
    world = World()
    world.grant(1_000)
    priced = {"w": {"unit": Price(Flat(1), unit="unit", minimum=60)}}
    world.publish(priced, version="w")
    hold = world.hold(units(30, "w", item="call"), expires_in=HOUR)
    assert hold.amount == 60
    world.settle(units(10, "w", item="call"), hold=hold.key, final=False)
    assert world.extend(hold, expires_in=2 * HOUR).amount == 0
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_plan_that_was_changed_since_the_hold_was_made_counts() -> None:
    world = World()
    world.grant(1_000)
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    world.billing.publish(PriceBook("pro-x", T0 + HOUR, unit(Flat(4)), plan="pro"))
    world.clock.advance(2 * HOUR)
    hold = world.hold(units(5), expires_in=HOUR)
    world.clock.advance(MINUTE)
    world.billing.set_plan("acme", "p", "pro")
    world.clock.advance(MINUTE)
    assert world.extend(hold, expires_in=HOUR).amount == 20
    assert world.wrong() == []


@pytest.mark.every_store
def test_what_may_have_been_used_under_an_earlier_plan_is_held_at_its_prices() -> None:
    world = World()
    world.grant(1_000)
    for name, price in (("old", 9), ("new", 4)):
        world.billing.publish(Plan(f"{name}-1", name, LONG_AGO))
        world.billing.publish(PriceBook(f"{name}-x", T0 + HOUR, unit(Flat(price)), plan=name))
    world.billing.set_plan("acme", "o", "old")
    world.clock.advance(2 * HOUR)
    hold = world.hold(units(5), expires_in=HOUR)
    assert hold.amount == 45
    world.settle(units(45, "y"), hold=hold.key, final=False)
    world.clock.advance(MINUTE)
    world.billing.set_plan("acme", "n", "new")
    world.clock.advance(MINUTE)
    assert world.extend(hold, expires_in=HOUR).amount == 45
    charge = world.settle(units(5), hold=hold.key, occurred_at=T0 + 2 * HOUR)
    assert (charge.amount, charge.captured) == (45, 45)
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_longer_life_must_have_room_in_a_limit() -> None:
    world = World()
    world.grant(1_000)
    world.publish(unit(Flat(10)), version="rise", effective_at=T0 + HOUR)
    world.billing.set_limit("acme", "l", nanos(49), per="day")
    hold = world.hold(units(5), expires_in=HOUR)
    with pytest.raises(Refused) as refused:
        world.extend(hold, expires_in=2 * HOUR)
    refusal = refused.value.refusal
    assert (refusal.reason, refusal.limit, refusal.shortfall) == ("limit_reached", "org_limit", 1)
    world.billing.set_limit("acme", "more", nanos(50), per="day")
    assert world.extend(hold, expires_in=2 * HOUR).amount == 50
    assert world.wrong() == []


def with_a_quota_of_ten() -> World:
    """Half a day before a billing period ends: what is dated a day ahead is in the next one."""
    world = World(tolerance=DAY, publication_delay=DAY + 10 * MINUTE)
    world.grant(1_000)
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, quotas=[Quota("x", "unit", 10)]))
    world.billing.set_plan("acme", "p", "pro")
    world.clock.advance(30 * DAY + 12 * HOUR)
    return world


@pytest.mark.every_store
def test_a_life_must_have_room_in_the_quota_of_each_period_that_it_reaches() -> None:
    world = with_a_quota_of_ten()
    world.settle(units(7), occurred_at=world.clock.now + 13 * HOUR)
    hold = world.hold(units(4), expires_in=12 * HOUR)
    with pytest.raises(Refused) as refused:
        world.extend(hold, expires_in=13 * HOUR)
    refusal = refused.value.refusal
    assert (refusal.reason, refusal.limit) == ("quota_reached", "quota")
    assert refusal.retry_after == (timedelta(hours=12) + 30 * DAY).total_seconds()
    with pytest.raises(Refused):
        world.hold(units(4), expires_in=13 * HOUR)
    assert world.hold(units(3), expires_in=13 * HOUR).amount == 3
    assert announced(world) == [7, 3]
    assert world.wrong() == []


@pytest.mark.every_store
def test_an_extension_that_adds_nothing_to_a_period_passes_its_quota() -> None:
    world = with_a_quota_of_ten()
    hold = world.hold(units(4), expires_in=HOUR)
    world.settle(units(9))  # measured: it is not refused
    assert world.extend(hold, expires_in=2 * HOUR).amount == 4
    assert world.extend(hold, expires_in=13 * HOUR).amount == 4
    assert announced(world) == [4, 4]
    assert world.wrong() == []


def test_what_is_not_known_to_have_been_settled_is_held() -> None:
    """A version that does not keep it may have changed the hold."""
    world = World()
    world.grant(1_000)
    hold = world.hold(units(5), expires_in=HOUR)
    world.settle(units(3), hold=hold.key, final=False)
    for org in world.store._orgs.values():
        org.holds[hold.key].used = None
    assert world.extend(hold, expires_in=2 * HOUR).amount == 5


def test_where_the_version_before_may_still_run_a_hold_keeps_its_amount(monkeypatch) -> None:
    world = World(priced=False)
    world.grant(10_000)
    world.publish(unit(TIERS))
    monkeypatch.setattr(type(world.store), "level", lambda store: 1)
    world.billing._prices.level = 1
    world.settle(units(100))
    hold = world.hold(units(50), expires_in=HOUR)
    assert world.extend(hold, expires_in=32 * DAY).amount == 50
    assert announced(world) == [50]
    assert "counted" not in world.entries()[-1].effects
    monkeypatch.undo()
    world.billing._prices.level = 2
    assert world.extend(hold, expires_in=32 * DAY).amount == 500
    assert announced(world) == [50, 50]
    assert world.wrong() == []


@pytest.mark.every_store
def test_many_holds_of_many_orgs_are_extended_together() -> None:
    world = World(priced=False)
    world.publish(unit(TIERS))
    orgs = ["a", "b", "c"]
    for org in orgs:
        world.billing.open_account(org)
        world.grant(10_000, org)
    for key in ("one", "two"):
        for org in orgs:
            world.hold(units(50), org, key=key)
    extensions = [
        Extend(org, f"{key}-longer", hold=key, expires_in=32 * DAY)
        for org in orgs
        for key in ("one", "two")
    ]
    more = [
        Hold("a", "new", cost=units(10), expires_in=HOUR),
        Extend("a", "e", hold="new", expires_in=DAY),
    ]
    outcomes = world.billing.execute([*extensions, *more])
    assert [outcome.amount for outcome in outcomes] == [500] * 6 + [100] * 2
    assert world.wrong() == []


def test_the_extensions_of_a_batch_are_loaded_in_two_goes() -> None:
    world = World(priced=False)
    world.publish(unit(TIERS))
    world.grant(10_000)
    for key in ("one", "two"):
        world.hold(units(50, item=key), key=key)
    loads = []
    load = world.store._load

    def counted(org: str, want: Wanted) -> OrgState:
        loads.append(org)
        return load(org, want)

    world.store._load = counted
    world.billing.execute([Extend("acme", k, hold=k, expires_in=DAY) for k in ("one", "two")])
    assert len(loads) == 2


@pytest.mark.every_store
def test_a_hold_that_is_not_open_or_not_there_is_answered_as_before() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(units(5), key="k")
    with pytest.raises(NotFound):
        world.billing.extend("acme", "e", hold="nothing", expires_in=HOUR)
    world.billing.release("acme", "k")
    with pytest.raises(Refused, match="released"):
        world.extend(hold)


def test_the_audit_finds_what_an_extension_did_not_announce() -> None:
    world = World(priced=False)
    world.grant(10_000)
    world.publish(unit(TIERS))
    hold = world.hold(units(50), expires_in=HOUR)
    world.extend(hold, expires_in=32 * DAY)
    [org] = world.store._orgs.values()
    (_, last) = sorted(org.counters)
    org.counters[last].hold(HeldQuantity(last[1], "unit", -1))
    assert any("counter" in each for each in world.wrong())


@pytest.mark.every_store
def test_an_extension_by_a_clock_of_the_period_before_forgets_nothing_that_was_used_in_it() -> None:
    world = World(priced=False)
    world.publish(unit(TIERS))
    world.grant(10_000)
    world.settle(units(7), occurred_at=T0 - HOUR)
    hold = world.hold(units(5), expires_in=DAY)
    world.extend(hold, expires_in=2 * DAY, at=T0 - MINUTE)
    late = world.settle(units(1), occurred_at=T0 - HOUR)
    assert [line.counter for line in late.lines] == [7]
    assert world.wrong() == []


@pytest.mark.every_store
def test_an_extension_by_a_clock_of_the_period_before_is_paid_from_this_period_s_allowance() -> (
    None
):
    """It is the hold that is used, in its own period; not whoever's clock is behind."""
    world = World()
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, allowance=nanos(100)))
    world.billing.set_plan("acme", "p", "pro")
    hold = world.hold(units(5), expires_in=HOUR)
    extended = world.extend(hold, expires_in=DAY, add=3, at=T0 - MINUTE)
    assert extended.amount == 8
    assert world.available() == 92
    assert world.wrong() == []
