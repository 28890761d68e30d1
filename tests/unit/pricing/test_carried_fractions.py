"""What is carried of a nano stays a small fraction: a price that would make it too fine is refused
when it is published (rule 5.12)."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, T0, World, units

from billing_core import Flat, Graduated, InvalidCommand, Package, Price, PriceBook, Tier
from billing_core.pricing.catalogue import Published

PRIMES = (999_983, 999_979, 999_961, 999_959, 999_953)


def cost(function, resource: str = "m") -> dict:
    return {resource: {"unit": Price(function)}}


def publish(world: World, n: int, function, resource: str = "m", **options) -> str:
    when = T0 + HOUR + n * DAY
    return world.publish(cost(function, resource), version=f"v{n}", effective_at=when, **options)


def test_prices_of_different_primes_are_refused_once_their_product_is_too_fine() -> None:
    world = World(priced=False)
    for n, prime in enumerate(PRIMES[:3]):
        publish(world, n, Flat(1, prime))
    before = world.state()
    with pytest.raises(
        InvalidCommand, match=r"prices\['m'\]\['unit'\].*a nano.*10\*\*18"
    ) as refused:
        publish(world, 3, Flat(1, PRIMES[3]))
    assert "10**24" in str(refused.value)
    assert world.state() == before
    publish(world, 3, Flat(7, PRIMES[0] * PRIMES[1]))  # no finer than it was
    publish(world, 4, Flat(PRIMES[3], PRIMES[3]))  # in lowest terms it is a nano
    publish(world, 5, Package(7, PRIMES[3]))
    publish(world, 6, Flat(1, PRIMES[3]), "n")


def test_tiers_without_a_common_measure_are_refused() -> None:
    world = World(priced=False)
    pers = [10**29 + 2 * n + 1 for n in range(170)]
    tiers = [Tier(n + 1, 1, per) for n, per in enumerate(pers)] + [Tier(None, 1, 10**29)]
    with pytest.raises(InvalidCommand, match=r"'unit' of 'm'"):
        publish(world, 0, Graduated(tiers))
    with pytest.raises(InvalidCommand, match=r"'unit' of 'm'"):
        publish(world, 0, Flat(1, 10**18 + 1))
    publish(world, 0, Flat(1, 10**18))


@pytest.mark.every_store
def test_what_is_published_can_be_used_and_leaves_a_small_fraction() -> None:
    world = World(priced=False)
    tiers = [Tier(n + 1, n + 1, 10**6) for n in range(800)] + [Tier(None, 1, 10**6 - 1)]
    world.publish(cost(Graduated(tiers)))
    world.settle(units(799, "m"))
    world.settle(units(5, "m"))
    [counter] = world.store.counters("acme")
    _, carry, of, _ = counter.components["unit"]
    assert 0 <= carry < of <= 10**12
    exact = sum(Fraction(n + 1, 10**6) for n in range(800)) + 4 * Fraction(1, 10**6 - 1)
    assert world.balance().balance == -(exact.numerator // exact.denominator)
    assert Fraction(carry, of) == exact % 1
    assert world.wrong() == []


def test_discounts_count_with_what_they_are_taken_off() -> None:
    world = World(priced=False)
    publish(world, 0, Flat(1, 10**15))
    world.publish({}, version="half", percent_off={"*": 50}, plan="pro")
    with pytest.raises(InvalidCommand, match=r"percent_off\['m'\].*10\*\*20"):
        world.publish({}, version="less", percent_off={"m": "0.001"}, plan="pro")
    with pytest.raises(InvalidCommand, match=r"percent_off\['m\*'\]"):
        world.publish({}, version="less", percent_off={"m*": "0.001"}, plan="pro")
    publish(world, 1, Flat(1, 10**10), "other")
    world.publish({}, version="less", percent_off={"other": "0.001"}, plan="pro")


def test_one_customer_s_prices_do_not_count_for_another() -> None:
    world = World(priced=False)
    publish(world, 0, Flat(1, PRIMES[0]))
    for n, prime in enumerate(PRIMES[1:]):
        publish(world, n + 1, Flat(1, prime), org=f"org-{n}")
    publish(world, 8, Flat(1, PRIMES[2]), org="org-0")
    with pytest.raises(InvalidCommand, match="'unit' of 'm'"):
        publish(world, 9, Flat(1, PRIMES[3]), org="org-0")
    with pytest.raises(InvalidCommand, match="'unit' of 'm'"):
        publish(world, 9, Flat(1, 999_931), plan="pro")  # org-0 may subscribe to it


def test_a_pattern_s_price_counts_with_each_name_that_it_stands_in_for() -> None:
    world = World(priced=False)
    for n, prime in enumerate(PRIMES[:4]):
        publish(world, n, Flat(1, prime), f"model:{n}")
    publish(world, 4, Flat(1, PRIMES[4]), "model:*")
    publish(world, 5, Flat(1, PRIMES[3]), "model:*")
    publish(world, 6, Flat(1, PRIMES[3]), "model:3")
    with pytest.raises(InvalidCommand, match="'unit' of 'model:0'"):
        publish(world, 7, Flat(1, PRIMES[2]), "model:*")


def test_a_component_that_is_too_fine_already_gets_no_finer() -> None:
    world = World(priced=False)
    book = PriceBook("old", T0 - DAY, cost(Flat(1, 10**20)))
    world.store.publish(Published.of(book, 1, 0))
    world.settle(units(3, "m"))
    assert world.billing.publish(book) == Published.of(book, 1, 0).name
    publish(world, 0, Flat(3, 10**19))
    with pytest.raises(InvalidCommand):
        publish(world, 1, Flat(1, 3))
    assert world.wrong() == []


@given(
    st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(1, 10**7), st.integers(1, 50)), max_size=8
    )
)
def test_the_fraction_carried_has_at_most_eighteen_digits(story) -> None:
    world = World(priced=False)
    n = 0
    for nanos, per, quantity in story:
        try:
            publish(world, n, Flat(nanos, per))
        except InvalidCommand:
            continue
        world.clock.set(T0 + HOUR + n * DAY)
        n += 1
        world.settle(units(quantity, "m"))
    for counter in world.store.counters("acme"):
        _, carry, of, _ = counter.components["unit"]
        assert 0 <= carry < of <= 10**18
