"""Section 5: money, quantity and price."""

from fractions import Fraction
from math import floor

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, SECOND, T0, World, nanos, units

from billing_core import (
    Deduct,
    Flat,
    Graduated,
    IdempotencyConflict,
    InvalidCommand,
    MoneyOverflow,
    Package,
    Price,
    Settle,
    Tier,
    UnknownPrice,
    Usage,
    usd,
)
from billing_core.values.money import MAX_NANOS

TIERS = Price(Graduated((Tier(10, 3), Tier(20, 2), Tier(None, 1))))
RISING = Price(Graduated((Tier(100, 1), Tier(None, 1000))))


def priced(price: Price, **options) -> World:
    """A world where ``unit`` of ``m`` has this price, and there is enough credit."""
    world = World(priced=False, **options)
    world.publish({"m": {"unit": price}})
    world.grant(10**12)
    return world


def m(quantity: int, **options) -> Usage:
    return units(quantity, "m", **options)


# -- 5.1 ------------------------------------------------------------------------


def test_5_1_amounts_are_integers_of_nanos() -> None:
    world = priced(Price(Flat(753, 10_000)))
    charged = world.settle(m(12_345))
    assert charged.amount == 929
    amounts = [entry.amount for entry in world.entries()]
    amounts += [move.amount for entry in world.entries() for move in entry.transfers]
    assert {type(amount) for amount in amounts} == {int}


@pytest.mark.parametrize("amount", [0.1, 1.0, float("nan"), float("inf"), True])
def test_5_1_no_float_enters(amount: object) -> None:
    with pytest.raises(InvalidCommand):
        usd(amount)


def test_5_1_a_total_granted_beyond_64_bits_is_a_typed_error_that_changes_nothing() -> None:
    world = World()
    world.grant(MAX_NANOS - 1)
    before = world.state()
    with pytest.raises(MoneyOverflow):
        world.grant(2)
    assert world.state() == before
    world.grant(1)
    assert world.balance().balance == MAX_NANOS


def test_5_1_a_total_charged_beyond_64_bits_is_a_typed_error_that_changes_nothing() -> None:
    world = World()
    world.settle(MAX_NANOS - 1)
    before = world.state()
    for quantity in (2, 2**63, 10**30):
        for command in (
            Settle("acme", "s", usage=units(quantity)),
            Deduct("acme", "d", cost=units(quantity)),
        ):
            [outcome] = world.billing.execute([command])
            assert isinstance(outcome, MoneyOverflow)
    [outcome] = world.billing.execute([Deduct("acme", "d", cost=nanos(2), resource="x")])
    assert isinstance(outcome, MoneyOverflow)
    assert world.state() == before
    assert world.settle(1).balance == -MAX_NANOS


def test_5_1_a_hold_beyond_64_bits_is_an_overflow() -> None:
    world = World()
    world.grant(MAX_NANOS)
    before = world.state()
    with pytest.raises(MoneyOverflow):
        world.hold(units(2**63))
    assert world.state() == before


def test_5_1_an_org_has_one_currency_and_one_livemode_for_ever() -> None:
    world = World()
    before = world.state()
    with pytest.raises(IdempotencyConflict) as conflict:
        world.billing.open_account("acme", currency="EUR", livemode=False)
    assert conflict.value.differs == ("currency", "livemode")
    assert world.state() == before
    assert world.billing.open_account("acme").replayed


def test_5_1_no_other_currency_is_taken() -> None:
    world = World()
    hold = world.hold(units(0))
    charge = world.settle(5)
    before = world.state()
    euro = nanos(1, "EUR")
    for attempt in (
        lambda: world.billing.grant("acme", "g", euro),
        lambda: world.billing.hold("acme", euro, expires_in=HOUR, key="h"),
        lambda: world.billing.extend("acme", "e", hold=hold.key, expires_in=HOUR, add=euro),
        lambda: world.billing.deduct("acme", "d", euro, resource="x"),
        lambda: world.billing.reverse("acme", "r", charge=charge.seq, amount=euro),
        lambda: world.billing.check("acme", euro),
    ):
        with pytest.raises(InvalidCommand, match="USD"):
            attempt()
    assert world.state() == before


def test_5_1_prices_in_another_currency_are_none() -> None:
    world = World()
    world.billing.open_account("europe", currency="EUR")
    with pytest.raises(UnknownPrice):
        world.billing.quote("europe", units(1))
    assert world.settle(5, "europe").unpriced == ("unit",)


# -- 5.2 ------------------------------------------------------------------------


def test_5_2_quantities_are_unbounded_integers() -> None:
    world = priced(Price(Flat(1, 10**18)))
    quantity = 10**30 - 1
    charged = world.settle(m(quantity))
    assert charged.amount == floor(Fraction(quantity, 10**18))
    world.settle(m(1))
    assert world.counter("m") == [10**30]
    [row] = world.billing.usage("acme").rows
    assert row.components["unit"] == (10**30, 10**12)
    assert world.wrong() == []


# -- 5.3 ------------------------------------------------------------------------


def test_5_3_a_component_has_one_counter_per_org_and_period() -> None:
    world = priced(TIERS)
    assert [world.settle(m(10)).amount for _ in range(3)] == [30, 20, 10]
    world.billing.open_account("other")
    assert world.settle(m(10), "other").amount == 30
    world.clock.advance(31 * DAY)
    assert world.settle(m(10)).amount == 30
    assert world.counter("m") == [30, 10]


def test_5_3_whatever_member_item_or_reference_it_is_the_same_counter() -> None:
    world = priced(TIERS)
    world.settle(m(10), member="ann")
    world.settle(m(10, item="run"), reference="job 7")
    assert world.deduct(m(10), member="bob").amount == 10


def test_5_3_whatever_price_version_applied_the_counter_goes_on() -> None:
    world = priced(TIERS)
    world.publish(
        {"m": {"unit": Price(Graduated((Tier(15, 100), Tier(None, 7))))}},
        version="v2",
        effective_at=T0 + HOUR,
    )
    world.settle(m(12))
    world.clock.advance(HOUR)
    assert world.settle(m(4)).amount == 3 * 100 + 7


def test_5_3_components_and_resources_count_apart() -> None:
    world = World(priced=False)
    world.publish({"m": {"a": TIERS, "b": TIERS}, "n": {"a": TIERS}})
    charge = world.settle(Usage.of("m", {"a": 10, "b": 10}))
    assert [line.amount for line in charge.lines] == [30, 30]
    assert world.settle(Usage.of("n", {"a": 10})).amount == 30
    assert world.settle(Usage.of("m", {"a": 10})).amount == 20


def test_5_3_usage_on_the_customer_s_own_key_does_not_advance_it() -> None:
    world = priced(TIERS)
    assert world.settle(m(10, payer="customer")).amount == 0
    assert world.counter("m") == []
    assert world.settle(m(10)).amount == 30
    world.settle(m(100, payer="customer"))
    assert world.counter("m") == [10]


# -- 5.4 ------------------------------------------------------------------------

FUNCTIONS = [
    Flat(1, 3),
    Flat(753, 10_000),
    Graduated((Tier(7, 5, 3), Tier(19, 1, 7), Tier(None, 11, 2))),
    Package(100, 7),
]


@given(st.sampled_from(FUNCTIONS), st.lists(st.integers(0, 25), max_size=9), st.data())
def test_5_4_any_grouping_and_order_of_the_same_usage_costs_the_same(
    function: Flat, quantities: list[int], data: st.DataObject
) -> None:
    def total(order: list[int]) -> int:
        world = priced(Price(function))
        charges = [world.settle(m(quantity)) for quantity in order]
        return sum(charge.amount for charge in charges)

    whole = total([sum(quantities)])
    assert total(quantities) == whole
    assert total(data.draw(st.permutations(quantities))) == whole
    numerator, denominator = function.between(0, sum(quantities))
    assert whole == numerator // denominator


def test_5_4_tiny_charges_are_neither_lost_nor_rounded_up() -> None:
    world = priced(Price(Flat(1, 10)))
    amounts = [world.settle(m(1)).amount for _ in range(30)]
    assert amounts == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1] * 3


def test_5_4_the_fraction_carried_ends_with_its_period() -> None:
    world = priced(Price(Flat(1, 2)))
    assert world.settle(m(1)).amount == 0
    world.clock.advance(31 * DAY)
    assert [world.settle(m(1)).amount for _ in range(2)] == [0, 1]


def test_5_4_components_carry_apart() -> None:
    world = World(priced=False)
    world.publish({"m": {"a": Price(Flat(1, 2)), "b": Price(Flat(1, 2))}})
    both = [world.settle(Usage.of("m", {"a": 1, "b": 1})).amount for _ in range(2)]
    assert both == [0, 2]


def test_5_4_tiers_need_no_special_case() -> None:
    world = priced(TIERS)
    assert world.settle(m(25)).amount == 10 * 3 + 10 * 2 + 5


def test_5_4_where_versions_share_a_counter_the_order_of_recording_decides() -> None:
    after = T0 + HOUR

    def total(first: tuple, second: tuple) -> int:
        world = priced(TIERS)
        world.publish({"m": {"unit": Price(Flat(1))}}, version="v2", effective_at=after)
        world.clock.set(after)
        return sum(world.settle(m(10), occurred_at=at).amount for at in (first, second))

    assert total(T0, after) == 30 + 10
    assert total(after, T0) == 10 + 20


def test_5_4_quotes_and_holds_round_up() -> None:
    world = priced(Price(Flat(1, 10)))
    assert world.billing.quote("acme", m(1)).amount == 1
    assert world.billing.check("acme", m(11)).needed == 2
    assert world.hold(m(21)).amount == 3
    assert world.settle(m(21)).amount == 2


def test_5_4_a_quote_rounds_each_component_up() -> None:
    world = World(priced=False)
    world.publish({"m": {"a": Price(Flat(1, 10)), "b": Price(Flat(1, 10))}})
    quote = world.billing.quote("acme", Usage.of("m", {"a": 1, "b": 1}))
    assert quote.amount == 2
    assert [line.amount for line in quote.lines] == [1, 1]


def test_5_4_what_a_minimum_adds_is_not_rounded_by_itself() -> None:
    world = priced(Price(Flat(1, 10), minimum=60))
    assert world.billing.quote("acme", m(1)).amount == 6
    assert world.settle(m(1)).amount == 6


def test_5_4_a_hold_takes_the_dearest_start_that_open_holds_make_possible() -> None:
    world = priced(RISING)
    first = world.hold(m(60))
    second = world.hold(m(60))
    assert first.amount == 60
    assert second.amount == 40 + 20 * 1000
    charges = [world.settle(m(60), hold=each.key) for each in (second, first)]
    assert [charge.captured for charge in charges] == [60, 60]
    assert charges[1].amount == 40 + 20 * 1000


def test_5_4_usage_in_between_forgets_no_open_hold() -> None:
    world = priced(RISING)
    world.hold(m(60))
    world.settle(m(10))
    assert world.billing.quote("acme", m(60)).amount == 30 + 30 * 1000
    assert world.wrong() == []


def test_5_4_a_hold_that_ended_makes_nothing_dearer() -> None:
    world = priced(RISING)
    for end in ("release", "settle", "lapse"):
        hold = world.hold(m(60), expires_in=SECOND)
        if end == "release":
            world.billing.release("acme", hold.key)
        elif end == "settle":
            world.settle(m(0), hold=hold.key)
        else:
            world.clock.advance(SECOND)
        assert world.billing.quote("acme", m(60)).amount == 60


def test_5_4_a_hold_that_lapses_as_usage_settles_makes_nothing_dearer() -> None:
    world = priced(RISING)
    world.hold(m(60), expires_in=SECOND)
    world.clock.advance(SECOND)
    world.settle(m(10))
    assert world.billing.quote("acme", m(60)).amount == 60
    assert world.wrong() == []


def test_5_4_a_hold_that_lapsed_unnoticed_makes_the_next_no_dearer() -> None:
    world = World(priced=False)
    world.publish({"m": {"unit": Price(Graduated((Tier(10, 0), Tier(None, 1))))}})
    world.hold(m(10), expires_in=SECOND)
    world.clock.advance(SECOND)
    assert world.hold(m(5)).amount == 0
    assert world.wrong() == []


def test_5_4_open_holds_count_with_what_their_minimum_makes_of_them() -> None:
    world = priced(attrs.evolve(RISING, minimum=100))
    holds = [world.hold(m(1)) for _ in range(2)]
    charges = [world.settle(m(1), hold=hold.key) for hold in holds]
    assert [charge.captured for charge in charges] == [charge.amount for charge in charges]


@given(
    st.sampled_from(FUNCTIONS),
    st.sampled_from([(0, 1), (5, 1), (0, 4), (6, 5)]),
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=5),
    st.randoms(),
)
def test_5_4_open_holds_suffice_for_the_usage_they_were_made_for(
    function: Flat, item: tuple[int, int], used: int, holds: list, random: object
) -> None:
    """Each for its own where they settle in the order they were made, else all for all."""
    minimum, increment = item
    world, shuffled = (priced(Price(function, minimum=minimum, increment=increment)) for _ in "ab")
    made = []
    for each in (world, shuffled):
        each.settle(m(used))
        made = [(each.hold(m(max(pair))), min(pair)) for pair in holds]
        if each is shuffled:
            random.shuffle(made)
        charges = [each.settle(m(quantity), hold=hold.key) for hold, quantity in made]
        if each is world:
            for (hold, _), charge in zip(made, charges, strict=True):
                assert charge.amount <= hold.amount
        assert sum(charge.amount for charge in charges) <= sum(hold.amount for hold, _ in made)
        assert each.wrong() == []


# -- 5.5 ------------------------------------------------------------------------


def test_5_5_a_minimum_belongs_to_an_item() -> None:
    world = priced(Price(Flat(1), minimum=60))
    assert [world.settle(m(10, item="run")).amount for _ in range(7)] == [60, 0, 0, 0, 0, 0, 10]
    assert world.settle(m(10, item="another run")).amount == 60
    assert world.settle(m(10)).amount == 60
    assert world.settle(m(10)).amount == 60
    assert world.wrong() == []


def test_5_5_an_increment_belongs_to_an_item_s_cumulative_quantity() -> None:
    world = priced(Price(Flat(1), increment=60))
    amounts = [world.settle(m(quantity, item="run")).amount for quantity in (1, 58, 2, 59)]
    assert amounts == [60, 0, 60, 0]
    assert world.wrong() == []


def test_5_5_an_item_that_was_not_used_costs_nothing() -> None:
    world = priced(Price(Flat(1), minimum=60))
    assert world.settle(m(0, item="run")).amount == 0


def test_5_5_what_they_add_feeds_the_counter_in_the_period_where_it_arises() -> None:
    world = priced(Price(Flat(1), increment=60))
    world.settle(m(50, item="run"))
    world.clock.advance(31 * DAY)
    assert world.settle(m(5, item="run")).amount == 0
    assert world.settle(m(10, item="run")).amount == 60
    assert world.counter("m") == [60, 60]
    assert world.wrong() == []


def test_5_5_they_are_those_of_the_version_in_force_at_the_item_s_start() -> None:
    world = priced(Price(Flat(1), increment=60))
    world.publish({"m": {"unit": Price(Flat(100))}}, version="v2", effective_at=T0 + HOUR)
    assert world.settle(m(61, item="run")).amount == 120
    world.clock.advance(HOUR)
    charge = world.settle(m(70, item="run"))
    # 131 used is 180 billed: 60 more, all of it measured and so at the price of its time.
    assert charge.amount == 60 * 100
    # 181 used is 240 billed: 50 of the 60 more are measured, 10 are the old increment's.
    assert world.settle(m(50, item="run")).amount == 50 * 100 + 10
    assert world.settle(m(1, item="new run")).amount == 100
    assert world.wrong() == []


def test_5_5_a_quote_knows_the_item_and_the_version_at_its_start() -> None:
    world = priced(Price(Flat(10), increment=60))
    world.publish({"m": {"unit": Price(Flat(10))}}, version="v2", effective_at=T0 + HOUR)
    world.settle(m(61, item="run"))
    assert world.billing.quote("acme", m(59, item="run")).amount == 0
    world.clock.advance(HOUR)
    quoted = world.billing.quote("acme", m(60, item="run")).amount
    assert world.settle(m(60, item="run")).amount == 600 <= quoted
