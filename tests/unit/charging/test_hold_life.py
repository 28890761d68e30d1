"""A hold is the most that its call can cost, whatever is known to change in its life (rule 5.4)."""

from datetime import timedelta

import pytest
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, World, units

from billing_core import (
    Flat,
    Graduated,
    Package,
    Plan,
    Price,
    PriceBook,
    Refused,
    Tier,
    UnknownPrice,
)
from billing_core.charging import holds
from billing_core.charging.charges import quote_usage
from billing_core.pricing.functions import Discounted, parted, scattered


def unit(function) -> dict:
    return {"x": {"unit": Price(function, unit="unit")}}


@pytest.mark.every_store
def test_a_price_rise_that_is_published_is_held_from_before() -> None:
    world = World()
    world.grant(1_000)
    world.publish(unit(Flat(10)), version="rise", effective_at=T0 + HOUR)
    assert (
        world.hold(units(5), key="short", expires_in=HOUR).amount == 5
    )  # it ends as the rise comes
    hold = world.hold(units(90), key="long", expires_in=2 * HOUR)
    assert hold.amount == 900
    world.clock.advance(HOUR)
    charge = world.settle(units(90), hold=hold.key)
    assert (charge.captured, charge.unpaid) == (900, 0)
    with pytest.raises(Refused):
        world.hold(units(60), expires_in=2 * HOUR)
    assert world.wrong() == []


def test_a_price_fall_is_not_believed_before_it_comes() -> None:
    world = World()
    world.grant(1_000)
    world.publish(unit(Flat(0)), version="fall", effective_at=T0 + HOUR)
    world.publish(unit(Flat(3)), version="again", effective_at=T0 + 2 * HOUR)
    assert world.hold(units(5), expires_in=90 * MINUTE).amount == 5
    assert world.hold(units(5), expires_in=3 * HOUR).amount == 15


@pytest.mark.every_store
def test_a_book_of_the_org_and_the_end_of_a_discount_are_known_too() -> None:
    world = World()
    world.grant(1_000)
    books = [
        PriceBook("cheap", T0 + HOUR, {}, org="acme", percent_off={"x": 50}),
        PriceBook("dear", T0 + 2 * HOUR, unit(Flat(7)), org="acme"),
        PriceBook("other", T0 + HOUR, unit(Flat(99)), org="globex"),
    ]
    for book in books:
        world.billing.publish(book)
    world.clock.advance(HOUR)
    assert world.hold(units(10), expires_in=MINUTE).amount == 5
    world.billing.publish(
        PriceBook("no-more", T0 + 90 * MINUTE, {}, org="acme", percent_off={"x": 0})
    )
    assert world.hold(units(10), expires_in=45 * MINUTE).amount == 10
    assert world.hold(units(10), expires_in=2 * HOUR).amount == 70


def test_a_plan_that_is_known_to_change_is_reckoned_with() -> None:
    world = World()
    world.grant(1_000)
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    world.billing.publish(Plan("big-1", "big", LONG_AGO))
    world.billing.publish(PriceBook("pro-x", T0 + HOUR, unit(Flat(4)), plan="pro"))
    world.billing.publish(PriceBook("big-x", T0 + HOUR, unit(Flat(9)), plan="big"))
    world.billing.set_plan("acme", "p", "pro")
    world.clock.advance(2 * HOUR)
    assert world.hold(units(5), expires_in=HOUR).amount == 20
    now = world.clock.now
    world.billing.set_plan("acme", "b", "big", at=now + 3 * MINUTE)
    assert world.hold(units(5), expires_in=HOUR, at=now).amount == 45


@pytest.mark.every_store
def test_a_billing_period_that_begins_within_its_life_begins_at_nothing() -> None:
    """The first 100 of a month cost ten, and what follows one."""
    world = World(priced=False)
    world.grant(10_000)
    world.publish(unit(Graduated([Tier(100, 10), Tier(None, 1)])))
    world.settle(units(100))
    assert world.hold(units(50), expires_in=HOUR).amount == 50
    hold = world.hold(units(50), expires_in=32 * DAY)
    assert hold.amount == 500
    world.clock.advance(31 * DAY)
    charge = world.settle(units(50), hold=hold.key)
    assert (charge.amount, charge.captured) == (500, 500)
    assert world.wrong() == []


@pytest.mark.every_store
def test_what_other_holds_may_use_of_the_next_period_counts() -> None:
    """The first 100 of a month are free."""
    world = World(priced=False)
    world.grant(10_000)
    world.publish(unit(Graduated([Tier(100, 0), Tier(None, 1)])))
    one = world.hold(units(100), expires_in=32 * DAY)
    two = world.hold(units(100), expires_in=32 * DAY)
    assert (one.amount, two.amount) == (0, 100)
    world.clock.advance(31 * DAY)
    three = world.hold(units(10), expires_in=HOUR)
    assert three.amount == 10
    for hold, amount in ((one, 0), (two, 100), (three, 10)):
        used = 10 if hold is three else 100
        charge = world.settle(units(used), hold=hold.key)
        assert (charge.amount, charge.captured) == (amount, amount)
    assert world.wrong() == []


def test_a_stream_that_goes_on_in_another_period_stays_within_its_hold() -> None:
    world = World(priced=False)
    world.grant(10_000)
    world.publish(unit(Graduated([Tier(100, 10), Tier(None, 1)])))
    hold = world.hold(units(150), expires_in=32 * DAY)
    assert hold.amount == 1_500
    first = world.settle(units(100), hold=hold.key, final=False)
    world.clock.advance(31 * DAY)
    rest = world.settle(units(50), hold=hold.key)
    assert (first.captured, rest.captured, rest.unpaid) == (1_000, 500, 0)


def test_a_component_that_has_no_price_yet_is_refused_and_one_that_loses_it_is_not() -> None:
    world = World()
    world.grant(100)
    world.publish({"w": {"unit": Price(Flat(2), unit="unit")}}, effective_at=T0 + HOUR)
    with pytest.raises(UnknownPrice):
        world.hold(units(5, "w"), expires_in=2 * HOUR)
    world.publish(
        {"x": {"unit": Price(Flat(3), unit="unit")}}, version="own", effective_at=T0 + HOUR
    )
    assert world.hold(units(5), expires_in=timedelta(hours=2)).amount == 15


@pytest.mark.parametrize(
    ("function", "places", "most"),
    [
        (Flat(3, 2), (0, 9), 8),
        (Package(7, 100), (0, 9), 35),
        (Graduated([Tier(10, 9), Tier(20, 1), Tier(None, 2)]), (0, 5), 45),
        (Graduated([Tier(10, 9), Tier(20, 1), Tier(None, 2)]), (10, 20), 5),
        (Graduated([Tier(10, 9), Tier(20, 1), Tier(None, 2)]), (10, 21), 10),
        (Discounted(Flat(3, 2), (1, 2)), (0, 9), 4),
    ],
)
def test_what_is_used_in_parts_costs_no_more_than_the_dearest_rate_reached(
    function, places, most
) -> None:
    assert parted(function, *places, 5) == most


@pytest.mark.every_store
def test_a_call_over_a_periods_end_may_be_dear_in_both_periods() -> None:
    """Five of ten at the first tier's price of each period: no price alone is as dear as that."""
    world = World()
    world.grant(960)
    tiers = {"dear": 100, "less": 90}
    starts = {"dear": T0 + HOUR, "less": T0 + 31 * DAY}
    for name, nanos in tiers.items():
        price = Graduated((Tier(5, nanos), Tier(None, 1)))
        world.publish(unit(price), version=name, effective_at=starts[name])
    world.clock.advance(31 * DAY - HOUR)
    hold = world.hold(units(10), expires_in=2 * HOUR)
    assert hold.amount == 960
    first = world.settle(units(5), hold=hold.key, final=False)
    world.clock.advance(HOUR)
    second = world.settle(units(5), hold=hold.key)
    assert (first.captured, second.captured) == (500, 450)
    assert world.balance().debt == 0
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_hold_is_quoted_once_where_nothing_has_lapsed_and_anew_where_something_has(
    monkeypatch,
) -> None:
    world = World()
    world.grant(1000)
    world.hold(units(1), expires_in=HOUR)
    quoted = []

    def quoting(*given):
        quoted.append(given)
        return quote_usage(*given)

    monkeypatch.setattr(holds, "quote_usage", quoting)
    world.hold(units(1), expires_in=2 * HOUR)
    assert len(quoted) == 1
    world.clock.advance(HOUR)
    world.hold(units(1), expires_in=HOUR)
    assert len(quoted) == 3


# -- used in parts, beside others --------------------------------------------------------


def test_each_period_may_carry_a_fraction_of_a_nano_into_a_call() -> None:
    world = World(priced=False)
    world.grant(1_000)
    world.publish(unit(Flat(1, 2)))
    hold = world.hold(units(2), expires_in=40 * DAY)
    world.settle(1)
    first = world.settle(units(1), hold=hold.key, final=False)
    world.clock.advance(31 * DAY)
    world.settle(1)
    second = world.settle(units(1), hold=hold.key)
    assert (first.amount, second.amount, hold.amount) == (1, 1, 2)
    world.publish({"y": {"unit": Price(Flat(3), unit="unit")}}, version="whole")
    assert world.hold(units(2, "y"), expires_in=40 * DAY).amount == 6, "none is carried of it"


def test_what_an_increment_adds_may_be_all_at_the_item_s_first_price() -> None:
    world = World(priced=False)
    world.grant(10_000)
    dear = Price(Flat(100), unit="unit", increment=10)
    world.publish({"x": {"unit": dear}})
    world.publish({"x": {"unit": Price(Flat(1), unit="unit", increment=10)}}, version="cheap",
                  effective_at=T0 + HOUR)  # fmt: skip
    world.settle(units(10, item="run"))
    world.clock.advance(HOUR)
    hold = world.hold(units(11, item="run"))
    parts = [1, 9, 1]
    charged = [
        world.settle(units(part, item="run"), hold=hold.key, final=n == 2).amount
        for n, part in enumerate(parts)
    ]
    assert charged == [901, 0, 901]
    assert sum(charged) <= hold.amount == 2_000
    other = world.hold(units(10, item="other"))
    assert other.amount == 10, "it begins at the price in force"


@pytest.mark.parametrize(
    ("function", "stop", "quantity", "most"),
    [
        (Flat(3, 2), 9, 3, 5),
        (Package(5, 10), 12, 2, 5),
        (Package(5, 10), 11, 2, 5),
        (Package(5, 10), 10, 2, 0),
        (Package(5, 4), 20, 2, 10),
        (Graduated([Tier(5, 9), Tier(10, 1), Tier(None, 4)]), 20, 3, 18 + 4),
        (Graduated([Tier(5, 9), Tier(10, 1), Tier(None, 4)]), 9, 5, 18 + 3),
        (Graduated([Tier(2, 9), Tier(None, 1, 2)]), 9, 5, 3),
        (Discounted(Package(5, 4), (1, 3)), 20, 2, 4),
    ],
)
def test_beside_others_the_dearest_units_may_be_its_own(function, stop, quantity, most) -> None:
    assert scattered(function, 3, stop, quantity) == most


def test_a_call_in_parts_may_begin_a_package_with_each() -> None:
    world = World(priced=False)
    world.grant(1_000)
    world.publish(unit(Package(10, 10)))
    other = world.hold(units(19))
    hold = world.hold(units(2))
    assert hold.amount == 20
    charged = []
    for _ in range(2):
        charged.append(world.settle(units(1), hold=hold.key, final=False).amount)
        world.settle(units(9), hold=other.key, final=False)
    assert charged == [10, 10]
    assert world.hold(units(2)).amount == 20
