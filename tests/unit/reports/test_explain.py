"""explain: from a charge to its usage, price version, arithmetic and lots."""

import pytest
from world import DAY, HOUR, MINUTE, T0, World, nanos, units

from billing_core import Flat, Graduated, NotFound, Package, Price, Tier, Usage


def test_a_charge_is_explained_down_to_its_arithmetic() -> None:
    world = World()
    name = world.publish({"m": {"token": Price(Flat.of("0.0753", 1_000_000))}}, version="march")
    lot = world.grant(10**6)
    world.clock.advance(DAY)
    world.settle(Usage.of("m", {"token": 7}))
    charge = world.settle(
        Usage.of("m", {"token": 12_345}), member="ann", occurred_at=T0 + HOUR, key="call-7"
    )
    why = world.billing.explain("acme", charge.seq)
    assert (why.org, why.key, why.charge, why.amount) == (
        "acme",
        "call-7",
        charge.seq,
        929_578,
    )
    assert (why.at, why.occurred_at, why.member) == (T0 + DAY, T0 + HOUR, "ann")
    [line] = why.lines
    assert (line.component, line.quantity, line.billed, line.amount) == (
        "token",
        12345,
        12345,
        929578,
    )
    assert line.version == name
    assert line.price == "0.0753 USD per 1,000,000 tokens"
    carried = 7 * 75_300_000 % 1_000_000
    cost = 12_345 * 75_300_000
    assert f"from 7: floor({carried}/1000000 + {cost}/1000000) = 929578 nanos" in line.arithmetic
    assert (carried + cost) // 1_000_000 == 929_578
    assert [(paid.lot, paid.kind, paid.amount, paid.how) for paid in why.payments] == [
        (lot, "purchased", 929_578, "charge")
    ]


def test_the_arithmetic_can_be_done_again_by_hand() -> None:
    world = World(priced=False)
    functions = {
        "flat": Flat(2, 3),
        "graduated": Graduated((Tier(5, 3, 2), Tier(None, 1, 7))),
        "package": Package(10, 4),
    }
    world.publish({"m": {name: Price(each) for name, each in functions.items()}})
    counter = 0
    for quantity in (3, 4, 1, 9):
        charge = world.settle(Usage.of("m", dict.fromkeys(functions, quantity)))
        for line in world.billing.explain("acme", charge.seq).lines:
            sum_ = line.arithmetic.partition("floor(")[2].partition(")")[0]
            carried, _, cost = sum_.partition(" + ")
            (a, b), (c, d) = (map(int, each.split("/")) for each in (carried, cost))
            assert (a * d + c * b) // (b * d) == line.amount
            assert f"from {counter}: " in line.arithmetic
        counter += quantity


def test_who_paid_and_how() -> None:
    world = World()
    one, two = world.grant(5), world.grant(4, kind="promotional", priority=1)
    hold = world.hold(3)
    charge = world.settle(12, hold=hold.key)
    three = world.grant(2)
    why = world.billing.explain("acme", charge.seq)
    assert [(paid.lot, paid.kind, paid.amount, paid.how) for paid in why.payments] == [
        (one, "purchased", 3, "capture"),
        (one, "purchased", 2, "charge"),
        (two, "promotional", 4, "charge"),
        (three, "purchased", 2, "repayment"),
    ]
    assert (why.unpaid, why.reversed) == (1, 0)
    assert sum(paid.amount for paid in why.payments) + why.unpaid == why.amount


def test_what_was_reversed_is_told() -> None:
    world = World()
    world.grant(5)
    charge = world.settle(8)
    world.grant(2)
    world.reverse(charge, 2)
    why = world.billing.explain("acme", charge.seq)
    assert (why.reversed, why.unpaid) == (2, 0)
    assert "reversed 0.000000002" in str(why)


def test_what_lots_paid_less_what_went_back_adds_up() -> None:
    """Or all that they ever paid, whatever went back: not a mixture of both."""
    world = World()
    one = world.grant(5)
    charge = world.settle(8)
    two = world.grant(2)
    world.reverse(charge, 4)
    why = world.billing.explain("acme", charge.seq)
    paid = [(payment.lot, payment.amount) for payment in why.payments]
    assert paid in ([(one, 4)], [(one, 5), (two, 2)])


def test_minimums_are_told() -> None:
    world = World()
    world.publish({"run": {"second": Price(Flat(1), unit="second", minimum=60, increment=10)}})
    charge = world.settle(Usage.of("run", {"second": 7}))
    measured, added = world.billing.explain("acme", charge.seq).lines
    assert measured.price == "0.000000001 USD per second, at least 60 per item, in steps of 10"
    assert (measured.quantity, measured.billed, measured.amount) == (7, 7, 7)
    assert (added.quantity, added.billed, added.amount) == (0, 53, 53)
    assert "53 billed" in added.arithmetic


def test_what_is_not_charged_is_told_as_well() -> None:
    world = World()
    own = world.settle(units(5, payer="customer"))
    [line] = world.billing.explain("acme", own.seq).lines
    assert "customer's own key" in line.arithmetic
    unpriced = world.settle(units(5, "unheard of"))
    [line] = world.billing.explain("acme", unpriced.seq).lines
    assert (line.version, line.arithmetic) == (
        None,
        "no price was in force: recorded, to be priced",
    )
    world.grant(10**6)
    fixed = world.billing.deduct("acme", "d", nanos(7), resource="report")
    [line] = world.billing.explain("acme", fixed.seq).lines
    assert line.arithmetic == "a fixed amount: 0.000000007"


def test_it_reads_as_text() -> None:
    world = World()
    world.grant(5)
    charge = world.settle(8, member="ann")
    text = str(world.billing.explain("acme", charge.seq))
    for line in (
        f"charge {charge.seq} of org acme: 0.000000008 USD",
        "for x, member ann",
        "unit: 8 -> 0.000000008",
        "0.000000001 USD per unit",
        "paid 0.000000005 by lot 1 (purchased, charge)",
        "unpaid 0.000000003",
    ):
        assert line in text


def test_an_old_charge_is_explained_by_the_price_of_its_time() -> None:
    world = World()
    charge = world.settle(10)
    before = world.billing.explain("acme", charge.seq)
    world.publish(
        {"x": {"unit": Price(Flat(1000))}}, version="dearer", effective_at=T0 + 20 * MINUTE
    )
    world.clock.advance(DAY)
    assert world.settle(10).amount == 10_000
    assert world.billing.explain("acme", charge.seq) == before
    assert world.wrong() == []


def test_only_charges_are_explained() -> None:
    world = World()
    granted = world.granted(5)
    charge = world.settle(3)
    reversal = world.reverse(charge)
    for number in (1, granted.seq, reversal.seq, 99, 0, -1):
        with pytest.raises(NotFound, match="charge"):
            world.billing.explain("acme", number)
    with pytest.raises(NotFound, match="org"):
        world.billing.explain("nobody", charge.seq)
