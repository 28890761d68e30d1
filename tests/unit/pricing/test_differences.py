"""What was published: how versions differ, what is in force, what will be."""

import asyncio
from datetime import timedelta

import pytest
from world import DAY, HOUR, LONG_AGO, ONE_NANO, T0, World, nanos, units

from billing_core import (
    AsyncBilling,
    Difference,
    Flat,
    Graduated,
    InvalidCommand,
    Limit,
    NotFound,
    Package,
    Plan,
    Price,
    PriceBook,
    Quota,
    Tier,
    usd,
)
from billing_core.pricing.differences import differences

LATER = T0 + DAY


def said(found) -> list[str]:
    return [str(each) for each in found]


# -- differences ----------------------------------------------------------------


def test_a_book_differs_in_the_prices_that_it_adds_and_changes() -> None:
    tiers = Graduated((Tier(1000, 5), Tier(None, 4)))
    world = World(priced=False)
    same, gone = Price(Flat(7)), Price(Flat(8))
    world.publish({"x": {"a": Price(Flat(1)), "b": same, "c": gone}}, version="v1")
    world.publish(
        {"x": {"a": Price(tiers, minimum=3), "b": same}, "y": {"a": Price(Package(9, 10))}},
        version="v2",
        effective_at=LATER,
    )
    assert said(world.billing.diff("v1", "v2")) == [
        "price a of x changed: 0.000000001 USD per token → 0.000000005 USD per token up to "
        "1,000; 0.000000004 USD per token beyond, at least 3 per item",
        "price a of y added: 0.000000009 USD per begun package of 10 tokens",
    ], "what the second does not name stays in force"
    assert world.billing.diff("v1", "v1") == ()


def test_books_of_ones_own_also_end_prices_and_give_discounts() -> None:
    world = World()
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    own = {"effective_at": LATER, "plan": "pro"}
    first = {"x": {"unit": Price(Flat(3), "unit")}}
    ended = {"x": {"unit": None}}
    world.publish(first, version="p1", percent_off={"y": 10, "z": 5, "*": 1}, **own)
    world.publish(ended, version="p2", percent_off={"y": "12.5", "z": 0, "x": 1}, **own)
    assert world.billing.diff("p1", "p2") == (
        Difference("price", "unit of x", "0.000000003 USD per unit", None),
        Difference("discount", "x", None, "1%"),
        Difference("discount", "y", "10%", "12.5%"),
        Difference("discount", "z", "5%", None),
    )
    assert [each.change for each in world.billing.diff("p1", "p2")] == [
        "ended", "added", "changed", "ended",
    ]  # fmt: skip


def test_plans_differ_in_their_terms() -> None:
    old = Plan(
        "v1", "pro", T0, allowance=usd(20), grace=DAY, quotas=[Quota("x", "unit", 100)],
        limits=[Limit("member", usd(5)), Limit("org", usd(50), "day")],
    )  # fmt: skip
    new = Plan(
        "v2", "pro", LATER, allowance=usd(25), rollover=usd(5), quotas=[Quota("x", "unit", 1000)],
        limits=[Limit("member", usd(5), alerts=(80, 100)), Limit("project", usd(1), blocks=False)],
    )  # fmt: skip
    assert said(differences(old, new)) == [
        "term allowance changed: 20.00 USD → 25.00 USD",
        "term grace ended: 1 day, 0:00:00",
        "term member limit per period changed: 5.00 USD → 5.00 USD, told at 80%, 100%",
        "term org limit per day ended: 50.00 USD",
        "term project limit per period added: 1.00 USD, refusing nothing",
        "term quota of unit of x changed: 100 → 1,000",
        "term rollover added: up to 5.00 USD",
    ]


def test_only_what_is_alike_is_compared() -> None:
    world = World()
    world.publish({"x": {"unit": ONE_NANO}}, version="euro", currency="EUR")
    world.publish({"x": {"unit": ONE_NANO}}, version="own", org="acme", effective_at=LATER)
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    for old, new, why in [
        ("base", "euro", "in EUR"),
        ("base", "own", "prices for org:acme"),
        ("own", "base", "prices for everyone"),
        ("pro-1", "base", "prices for everyone"),
        ("base", "pro-1", "version of a plan"),
    ]:
        with pytest.raises(InvalidCommand, match=why):
            world.billing.diff(old, new)
    with pytest.raises(NotFound, match="nowhere"):
        world.billing.diff("base", "nowhere")


def test_what_a_document_would_supersede_is_known_before_it_is_published() -> None:
    world = World()
    world.publish({"x": {"unit": Price(Flat(2), "unit")}}, version="v2", effective_at=LATER)
    known = world.billing.catalogue()
    dearer = {"x": {"unit": Price(Flat(5), "unit"), "extra": ONE_NANO}, "y": {"unit": ONE_NANO}}
    for at, before in [(LATER, "0.000000002"), (LATER - HOUR, "0.000000001")]:
        book = PriceBook("v3", at, dearer)
        assert said(differences(known.superseded(book), book)) == [
            "price extra of x added: 0.000000001 USD per unit",
            f"price unit of x changed: {before} USD per unit → 0.000000005 USD per unit",
        ]
    own = PriceBook("own", LATER, dearer, org="acme", percent_off={"*": 3})
    assert known.superseded(own) is None, "the prices of everyone stay what they are"
    assert said(differences(None, own))[-1] == "discount * added: 3%"
    plan = Plan("pro-1", "pro", LONG_AGO, allowance=usd(1))
    assert known.superseded(plan) is None
    world.billing.publish(plan)
    assert world.billing.catalogue().superseded(Plan("pro-2", "pro", LATER)) == plan


# -- what is in force, and what will be -----------------------------------------


def test_an_orgs_pricing_is_what_it_is_charged_by() -> None:
    world = World()
    world.publish({"x": {"unit": Price(Flat(3), "unit")}}, version="pro-x", plan="pro")
    world.publish({}, version="less", percent_off={"y": 50}, org="acme", effective_at=LATER)
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO))

    def told(at=None) -> dict[str, int]:
        found = world.billing.pricing("acme", at=at)
        return {resource: parts["unit"].price.function.between(0, 10)[0] for resource, parts in
                found.items()}  # fmt: skip

    assert told() == {"x": 10, "y": 10, "z": 10}
    world.clock.advance(HOUR)
    world.billing.set_plan("acme", "subscribe", "pro")
    assert told() == {"x": 30, "y": 10, "z": 10}
    assert told(T0) == {"x": 10, "y": 10, "z": 10}, "it had no plan then"
    assert told(LONG_AGO - DAY) == {}
    priced = world.billing.pricing("acme", at=LATER)["y"]["unit"]
    assert priced.price.function.describe("USD", "unit").endswith("less 50%")
    assert "*less#" in priced.version
    with pytest.raises(NotFound, match="nobody"):
        world.billing.pricing("nobody")


def test_a_quote_under_a_future_version() -> None:
    """A change of prices and a version of the plan that are published, not yet in force."""
    world = World()
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, quotas=[Quota("x", "unit", 5)]))
    world.billing.set_plan("acme", "subscribe", "pro")
    world.publish({"x": {"unit": Price(Flat(4), "unit")}}, version="v2", effective_at=LATER)
    world.publish({}, version="less", percent_off={"x": 25}, plan="pro", effective_at=LATER + DAY)
    world.billing.publish(Plan("pro-2", "pro", LATER, allowance=nanos(1)))
    before = world.state()
    times = [None, LATER - timedelta(microseconds=1), LATER, LATER + DAY]
    amounts = [world.billing.quote("acme", units(10), at=at).amount for at in times]
    assert amounts == [10, 10, 40, 30]
    assert world.state() == before
    world.billing.set_plan("acme", "end", None)
    assert world.billing.quote("acme", units(10), at=LATER + DAY).amount == 40, (
        "under the subscription as it is now"
    )


def test_a_tiered_quote_under_a_future_period_starts_at_its_first_tier() -> None:
    world = World(priced=False)
    tiers = Graduated((Tier(10, 5), Tier(None, 1)))
    world.publish({"x": {"unit": Price(tiers, "unit")}})
    world.settle(10)
    assert world.billing.quote("acme", units(4)).amount == 4
    assert world.billing.quote("acme", units(4), at=T0 + 40 * DAY).amount == 20


def test_the_async_engine_says_the_same() -> None:
    world = World()
    world.publish({"x": {"unit": Price(Flat(2), "unit")}}, version="v2", effective_at=LATER)

    async def ask() -> tuple[object, object]:
        engine = AsyncBilling(world.store, clock=world.clock)
        return await engine.diff("base", "v2"), await engine.pricing("acme", at=LATER)

    assert asyncio.run(ask()) == (
        world.billing.diff("base", "v2"),
        world.billing.pricing("acme", at=LATER),
    )
