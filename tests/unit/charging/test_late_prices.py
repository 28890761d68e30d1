"""What had no price is priced by a version that could have applied to the org then."""

import json

import pytest
from world import DAY, HOUR, LONG_AGO, T0, World, nanos, units

from billing_core import (
    Billing,
    Conflict,
    Flat,
    InvalidCommand,
    NotFound,
    Plan,
    Price,
    PriceBook,
    Usage,
)

pytestmark = pytest.mark.every_store

USED = T0 + DAY


def cost(each: int) -> dict:
    return {"m": {"unit": Price(Flat(each))}}


@pytest.fixture
def world() -> World:
    """Ten of ``m`` used a day ago, on plan ``pro``, when nothing priced it."""
    world = World()
    world.billing.open_account("globex")
    for plan in ("pro", "team"):
        world.billing.publish(Plan(f"{plan}-1", plan, LONG_AGO))
    world.billing.set_plan("acme", "on", "pro")
    world.clock.set(USED)
    world.charge = world.settle(units(10, "m"))
    world.clock.set(USED + HOUR)
    world.billing.set_plan("acme", "later", "team")
    world.clock.set(USED + DAY)
    return world


def price(world: World, version: str, **options):
    options = {"key": "p"} | options
    key = options.pop("key")
    seq = world.charge.seq
    return world.billing.price_unpriced("acme", key, charge=seq, version=version, **options)


def refused(world: World, version: str) -> None:
    before = world.state()
    with pytest.raises(InvalidCommand, match=f"version: given '{version}'.*override"):
        price(world, version)
    assert world.state() == before


def test_everyone_s_price_and_that_of_the_plan_of_then_may_be_named(world: World) -> None:
    world.publish(cost(3), version="all")
    world.publish(cost(2), version="pro", plan="pro", effective_at=USED + DAY + HOUR)
    refused(world, "pro")  # it takes effect later
    assert price(world, "all").amount == 30
    assert world.wrong() == []


def test_the_price_of_the_plan_that_the_org_has_today_may_not(world: World) -> None:
    world.publish(cost(3), version="all", effective_at=LONG_AGO)
    world.publish(cost(1), version="team price", plan="team", effective_at=USED + DAY + HOUR)
    world.clock.advance(2 * DAY)
    refused(world, "team price")
    assert price(world, "all").amount == 30


def test_another_customer_s_own_price_may_not_and_is_never_shown(world: World) -> None:
    world.publish(cost(3), version="all")
    soon = USED + DAY + HOUR
    world.publish(cost(1), version="globex only", org="globex", effective_at=soon)
    world.clock.advance(2 * DAY)
    refused(world, "globex only")
    late = price(world, "globex only", override=True)
    assert late.amount == 10
    explained = world.billing.explain("acme", late.seq)
    assert explained.override
    assert "operator's override" in str(explained)
    assert "globex" not in str(explained) and "globex" not in repr(explained)
    [line] = explained.lines
    assert (line.amount, line.price, line.version) == (10, "", None)
    assert world.wrong() == []


def test_a_price_that_was_superseded_or_is_to_come_may_not(world: World) -> None:
    world.publish(cost(3), version="all")
    world.publish(cost(9), version="next", effective_at=USED + DAY + HOUR)
    refused(world, "next")
    world.clock.advance(400 * DAY)
    refused(world, "next")
    assert price(world, "all").amount == 30


def test_an_override_is_on_record_as_one(world: World) -> None:
    world.publish(cost(3), version="all")
    world.publish(cost(9), version="next", effective_at=USED + DAY + HOUR)
    late = price(world, "next", override=True)
    assert late.amount == 90
    assert json.loads(world.entries()[late.seq - 1].content)["override"] is True
    assert price(world, "next", override=True).replayed
    with pytest.raises(Conflict, match="override"):
        price(world, "next")
    assert world.wrong() == []


def test_without_one_the_record_is_as_it_ever_was(world: World) -> None:
    world.publish(cost(3), version="all")
    late = price(world, "all")
    content = json.loads(world.entries()[late.seq - 1].content)
    assert content == {"charge": world.charge.seq, "version": "all"}
    assert not world.billing.explain("acme", late.seq).override


def test_what_was_off_then_is_off_of_what_is_priced_later() -> None:
    world = World()
    world.publish({}, version="less", org="acme", percent_off={"*": 50}, effective_at=T0 + HOUR)
    world.clock.advance(DAY)
    world.charge = world.settle(Usage.of("x", {"tone": 10}))
    world.publish({"x": {"tone": Price(Flat(3))}}, version="all", effective_at=T0)
    late = price(world, "all")
    assert late.amount == 15
    assert "less 50%" in world.billing.explain("acme", late.seq).lines[0].price
    world.grant(100)
    assert world.balance().balance == 85
    assert world.deduct(nanos(5), resource="x").amount == 5
    assert world.wrong() == []


def test_an_override_is_true_or_false() -> None:
    world = World()
    with pytest.raises(InvalidCommand, match="override"):
        world.billing.price_unpriced("acme", "p", charge=1, version="v", override="yes")


def test_a_version_that_another_process_has_just_published_prices_what_was_used(world) -> None:
    """This one has read what was published a moment before."""
    other = Billing(world.store, clock=world.clock)
    world.billing.settle("acme", "s", units(1))
    with pytest.raises(NotFound, match="publish it first"):
        price(world, "all")
    other.publish(PriceBook("all", LONG_AGO, cost(3)))
    assert price(world, "all").amount == 30
    assert world.wrong() == []
