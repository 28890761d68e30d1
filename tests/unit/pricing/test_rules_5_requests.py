"""Rule 5.9: a price may depend on the request: its size, its facts, the hour."""

from datetime import datetime, time, timedelta
from fractions import Fraction

import pytest
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, TICK, World, units

from billing_core import (
    Fact,
    FactIs,
    Flat,
    Graduated,
    Hours,
    InvalidCommand,
    Multiplier,
    Package,
    Price,
    PriceBook,
    SizeAbove,
    Tier,
    UnknownPrice,
    Usage,
    Variant,
    sandbox,
)
from billing_core.pricing.price_book import load_book

TIER = Fact("service_tier", ("standard", "batch", "priority"), default="standard")
BATCH = FactIs("service_tier", "batch")
PRIORITY = FactIs("service_tier", "priority")
PROMPT = ("input", "cached_read")
LONG = SizeAbove(272_000, PROMPT)


def by_tier_and_size(base: int, long: int, cheap: int, dear: int) -> Price:
    return Price(
        Flat(base),
        variants=[
            Variant(Flat(cheap), BATCH),
            Variant(Flat(dear), PRIORITY),
            Variant(Flat(long), LONG),
        ],
        facts=[TIER],
    )


@pytest.fixture
def world() -> World:
    world = World()
    world.publish(
        {
            "model:m": {
                "input": by_tier_and_size(100, 200, 50, 175),
                "cached_read": by_tier_and_size(10, 20, 5, 18),
                "output": by_tier_and_size(400, 600, 200, 700),
            }
        }
    )
    world.grant(10**12)
    return world


def call(input: int, cached: int = 0, output: int = 0, item=None, **facts: str) -> Usage:
    quantities = {"input": input, "cached_read": cached, "output": output}
    return Usage.of("model:m", quantities, item=item, facts=facts)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (call(200_000, 72_000, 10), 200_000 * 100 + 72_000 * 10 + 10 * 400),
        (call(200_001, 72_000, 10), 200_001 * 200 + 72_000 * 20 + 10 * 600),
        (call(272_001, 0, 10, service_tier="batch"), 272_001 * 50 + 10 * 200),
        (call(10, 10, 10, service_tier="priority"), 1_750 + 180 + 7_000),
        (call(10, service_tier="standard", unheard_of="x"), 1_000),
    ],
)
def test_the_first_variant_that_holds_stands_in_place_of_the_base(world, usage, cost) -> None:
    assert world.settle(usage).amount == cost
    assert world.billing.quote("acme", usage).amount >= cost


def test_the_first_of_two_sizes_that_hold_stands() -> None:
    world = World(priced=False)
    sizes = [Variant(Flat(3), SizeAbove(10, ["unit"])), Variant(Flat(2), SizeAbove(5, ["unit"]))]
    world.publish({"x": {"unit": Price(Flat(1), variants=sizes)}})
    assert [world.settle(units(size)).amount for size in (5, 6, 10, 11)] == [5, 12, 20, 33]
    assert world.billing.verify().ok


def test_a_value_that_the_price_does_not_know_settles_as_unpriced(world) -> None:
    usage = call(10, output=1, service_tier="turbo")
    charged = world.settle(usage)
    assert charged.amount == 0
    told = [each for each in world.billing.events("acme") if each.kind == "usage_unpriced"]
    assert '"components":["input","output"]' in told[-1].data
    for ask in (
        lambda: world.billing.quote("acme", usage),
        lambda: world.hold(usage),
        lambda: world.deduct(usage),
    ):
        with pytest.raises(UnknownPrice, match=r"turbo.*known: standard, batch, priority"):
            ask()
    with pytest.raises(InvalidCommand, match="turbo"):
        world.billing.price_unpriced("acme", "late", charge=charged.seq, version="v1")


def test_what_was_unpriced_is_priced_later_by_the_facts_on_record(world) -> None:
    charged = world.settle(Usage.of("model:n", {"input": 300_000}, facts={"service_tier": "batch"}))
    price = by_tier_and_size(100, 200, 50, 175)
    world.publish({"model:n": {"input": price}}, version="late", effective_at=LONG_AGO)
    late = world.billing.price_unpriced("acme", "late", charge=charged.seq, version="late")
    assert late.amount == 300_000 * 50
    assert world.billing.verify().ok


def test_size_is_that_of_the_whole_item_and_what_was_settled_stays(world) -> None:
    first = world.settle(call(200_000, item="call-1"))
    second = world.settle(call(72_000, item="call-1"))
    third = world.settle(call(1, item="call-1"))
    other = world.settle(call(1, item="call-2"))
    assert [each.amount for each in (first, second, third, other)] == [
        200_000 * 100, 72_000 * 100, 200, 100,
    ]  # fmt: skip
    assert world.billing.verify().ok


def test_size_counts_whoever_pays_and_what_has_no_price(world) -> None:
    own = Usage.of("model:m", {"input": 272_000}, payer="customer", item="a")
    assert world.settle(own).amount == 0
    assert world.settle(call(1, item="a")).amount == 200
    odd = Usage.of("model:m", {"input": 272_000}, facts={"service_tier": "odd"}, item="b")
    assert world.settle(odd).amount == 0
    assert world.settle(call(1, item="b")).amount == 200
    assert world.billing.verify().ok


def test_usage_that_is_undone_leaves_the_size_of_its_item(world) -> None:
    own = world.settle(Usage.of("model:m", {"input": 272_000}, payer="customer", item="a"))
    paid = world.settle(call(1, item="a"))
    world.billing.reverse("acme", "r1", charge=own.seq, undo_usage=True)
    assert world.settle(call(1, item="a")).amount == 100
    back = world.billing.reverse("acme", "r2", charge=paid.seq, undo_usage=True)
    assert back.amount == 200
    assert world.billing.verify().ok


def test_a_fact_that_is_only_declared_is_known_by_its_values_alone() -> None:
    world = World(priced=False)
    world.publish({"model:m": {"input": Price(Flat(5), facts=[TIER])}})
    assert world.settle(call(1, service_tier="batch")).amount == 5
    assert world.settle(call(1, service_tier="turbo")).amount == 0
    with pytest.raises(UnknownPrice, match="turbo"):
        world.billing.quote("acme", call(1, service_tier="turbo"))


def test_a_run_is_not_started_for_facts_that_have_no_price() -> None:
    world = World(priced=False)
    world.publish({"sandbox:s": {"second": Price(Flat(5), "second", facts=[TIER])}})
    world.grant(10**6)
    spec = sandbox("s", {"second": 1}, facts={"service_tier": "turbo"})
    with pytest.raises(UnknownPrice, match="turbo"):
        world.billing.start_run("acme", "r", spec=spec)


def test_a_part_that_is_priced_late_has_the_size_of_its_item_by_then(world) -> None:
    first, second = (
        world.settle(Usage.of("model:n", {"input": size}, item="a")) for size in (200_000, 100_000)
    )
    price = by_tier_and_size(100, 200, 50, 175)
    world.publish({"model:n": {"input": price}}, version="late", effective_at=LONG_AGO)
    late = world.billing.price_unpriced("acme", "late-1", charge=first.seq, version="late")
    assert late.amount == 200_000 * 200
    late = world.billing.price_unpriced("acme", "late-2", charge=second.seq, version="late")
    assert late.amount == 100_000 * 200
    assert world.settle(Usage.of("model:n", {"input": 1}, item="b")).amount == 100
    assert world.billing.verify().ok


def test_what_a_minimum_adds_takes_the_item_s_first_variant() -> None:
    world = World(priced=False)
    price = Price(Flat(10), "second", minimum=60, increment=20, facts=[TIER],
                  variants=[Variant(Flat(3), BATCH)])  # fmt: skip
    world.publish({"gpu": {"second": price}})

    def cost(seconds: int, tier: str) -> int:
        usage = Usage.of("gpu", {"second": seconds}, item="i", facts={"service_tier": tier})
        return world.settle(usage).amount

    assert cost(10, "batch") == 60 * 3
    assert cost(50, "standard") == 0  # 60 in all: the minimum covers it
    assert cost(1, "standard") == 10 + 19 * 3  # 61 in all, billed as 80
    assert world.billing.verify().ok


# -- multipliers ----------------------------------------------------------------

REGION = Fact("region", ("global", "eu", "us"), default="global")
EU = Multiplier("1.1", FactIs("region", "eu"))
OFF_PEAK = Hours(time(16, 30), time(0, 30), ("mon", "tue", "wed", "thu", "fri"))


def test_each_multiplier_that_holds_multiplies_and_fractions_are_carried() -> None:
    world = World()
    price = Price(
        Flat(7, 3),
        multipliers=[EU, Multiplier(Fraction(1, 3), FactIs("region", "us"))],
        facts=[REGION],
    )
    world.publish({"x": {"unit": price}}, version="v2", effective_at=T0 + DAY)
    world.clock.advance(2 * DAY)
    charged = [
        world.settle(Usage.of("x", {"unit": 1}, facts={"region": region})).amount
        for region in ["eu", "us", "global"] * 10
    ]
    exact = 10 * (Fraction(7, 3) * (Fraction(11, 10) + Fraction(1, 3) + 1))
    assert sum(charged) == exact.numerator // exact.denominator
    assert world.billing.verify().ok


def test_a_books_multipliers_hold_for_all_that_their_patterns_name() -> None:
    world = World(priced=False)
    world.publish(
        {"model:*": {"input": Price(Flat(100))}, "tool:a": {"call": Price(Flat(100), "call")}},
        multipliers={
            "model:*": [EU],
            "model:claude-*": [Multiplier(2, FactIs("residency", "yes"))],
        },
        facts=[REGION, Fact("residency", ("no", "yes"), default="no")],
    )

    def cost(resource: str, component: str = "input", **facts: str) -> int:
        return world.settle(Usage.of(resource, {component: 1}, facts=facts)).amount

    assert cost("model:gpt", region="eu") == 110
    assert cost("model:gpt", region="eu", residency="yes") == 110
    assert cost("model:claude-1", region="eu", residency="yes") == 220
    assert cost("tool:a", "call", region="eu") == 100
    assert cost("model:gpt") == 100
    assert world.billing.verify().ok


def test_a_discount_is_taken_off_every_variant() -> None:
    world = World(priced=False)
    price = by_tier_and_size(100, 200, 50, 175)
    world.publish({"model:m": {"input": price}})
    world.publish({}, version="half", org="acme", percent_off={"model:*": 50},
                  effective_at=T0 + DAY)  # fmt: skip
    world.clock.advance(2 * DAY)
    assert world.settle(call(10, service_tier="batch")).amount == 250
    assert world.settle(call(300_000)).amount == 300_000 * 100
    assert world.billing.verify().ok


# -- hours ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "cost"),
    [
        ("2026-03-13T16:29:59.999999", 100),  # a Friday
        ("2026-03-13T16:30:00", 40),
        ("2026-03-13T23:59:59.999999", 40),
        ("2026-03-14T00:00:00", 40),  # it began on Friday
        ("2026-03-14T00:29:59.999999", 40),
        ("2026-03-14T00:30:00", 100),
        ("2026-03-14T17:00:00", 100),  # a Saturday
        ("2026-03-16T00:10:00", 100),  # what would have begun on Sunday
        ("2026-03-16T16:30:00", 40),
    ],
)
def test_hours_hold_to_the_microsecond_over_midnight_and_a_weekend(at: str, cost: int) -> None:
    now = datetime.fromisoformat(at + "+00:00")
    world = World(now=now, priced=False)
    price = Price(Flat(100), variants=[Variant(Flat(40), OFF_PEAK)])
    world.publish({"model:m": {"input": price}})
    assert world.settle(call(1)).amount == cost
    # A hold that reaches into other hours takes the dearest.
    assert world.billing.quote("acme", call(1)).amount == cost
    assert world.billing.verify().ok


def test_hours_of_one_day_end_before_their_end() -> None:
    world = World(priced=False)  # 12:00
    noon = Hours(time(12), time(13))
    world.publish({"model:m": {"input": Price(Flat(100), variants=[Variant(Flat(40), noon)])}})
    world.clock.advance(2 * HOUR)
    times = (T0 - TICK, T0, T0 + HOUR - TICK, T0 + HOUR)
    assert [world.settle(call(1), occurred_at=at).amount for at in times] == [100, 40, 40, 100]


def test_a_hold_takes_the_dearest_hour_that_it_reaches() -> None:
    world = World(priced=False)  # 12:00 on a Tuesday
    world.publish({"model:m": {"input": Price(Flat(40), variants=[Variant(Flat(100), OFF_PEAK)])}})
    world.grant(10**6)
    assert world.hold(call(10), expires_in=timedelta(hours=4, minutes=30)).held.amount == 400
    assert (
        world.hold(call(10), expires_in=timedelta(hours=4, minutes=30) + TICK).held.amount == 1_000
    )


def test_a_run_is_cut_where_the_hour_changes_and_its_facts_are_fixed() -> None:
    world = World(priced=False)
    price = Price(
        Flat(1),
        "second",
        variants=[Variant(Flat(3), OFF_PEAK)],
        multipliers=[Multiplier(2, FactIs("region", "eu"))],
        facts=[REGION],
    )
    world.publish({"sandbox:s": {"second": price}})
    world.grant(10**9)
    started = T0 + timedelta(hours=4)
    world.clock.advance(timedelta(hours=4))
    spec = sandbox("s", {"second": 1})
    in_eu = sandbox("s", {"second": 1}, facts={"region": "eu"})
    world.billing.start_run("acme", "plain", spec=spec, fund_for=timedelta(hours=2))
    world.billing.start_run("acme", "eu", spec=in_eu, fund_for=timedelta(hours=2))
    world.clock.advance(HOUR)
    assert world.billing.stop_run("acme", "plain").charged == 1_800 + 3 * 1_800
    assert world.billing.stop_run("acme", "eu").charged == 2 * (1_800 + 3 * 1_800)
    # Told late that it did not run from 16:20 to 16:40: each part comes back at its hour's price.
    late = world.billing.suspend_run(
        "acme",
        "eu",
        key="late",
        occurred_at=started + timedelta(minutes=20),
        until=started + timedelta(minutes=40),
    )
    assert late.charged == -2 * (600 + 3 * 600)
    assert world.billing.verify().ok


def test_a_run_is_funded_at_the_hours_of_a_price_only_while_it_is_in_force() -> None:
    world = World(priced=False)
    later = Hours(time(12, 12), time(13))
    dear = Price(Flat(1), "second", variants=[Variant(Flat(100), later)])
    world.publish({"sandbox:s": {"second": dear}})
    world.publish(
        {"sandbox:s": {"second": Price(Flat(2), "second")}},
        version="v2",
        effective_at=T0 + 10 * MINUTE,
    )
    world.clock.advance(5 * MINUTE)
    world.grant(10_000)
    spec = sandbox("s", {"second": 1})
    run = world.billing.start_run("acme", "r", spec=spec, fund_for=9 * MINUTE)
    assert run.funded_until == T0 + 14 * MINUTE
    world.clock.advance(9 * MINUTE)
    assert world.billing.stop_run("acme", "r").charged == 300 + 2 * 240


def test_storage_is_cut_where_the_hour_changes_and_keeps_its_first_facts() -> None:
    world = World(priced=False)
    price = Price(
        Flat(1),
        "byte-second",
        variants=[Variant(Flat(3), OFF_PEAK)],
        multipliers=[Multiplier(2, FactIs("region", "eu"))],
        facts=[REGION],
    )
    world.publish({"storage:*": {"byte_us": price}})
    world.grant(10**12)
    for name, facts in (("plain", None), ("eu", {"region": "eu"})):
        world.billing.report_storage("acme", name, 10, facts=facts)
    world.clock.advance(timedelta(hours=5))
    for name, times in (("plain", 1), ("eu", 2)):
        [billed] = world.billing.bill_storage("acme", name)
        assert billed.charged == times * 10 * (4 * 3600 + 1800 + 3 * 1800)
    world.billing.report_storage("acme", "eu", 20)
    with pytest.raises(Exception, match="since it began"):
        world.billing.report_storage("acme", "eu", 30, facts={"region": "us"})
    assert world.billing.verify().ok


# -- holds ----------------------------------------------------------------------


def test_a_hold_is_tight_once_the_facts_are_known(world) -> None:
    open_ = world.hold(call(1_000, output=1_000))
    assert open_.held.amount == 1_000 * 175 + 1_000 * 700, "any tier may serve it"
    for tier, cost in (("standard", 500_000), ("batch", 250_000), ("priority", 875_000)):
        held = world.hold(call(1_000, output=1_000, service_tier=tier))
        assert held.held.amount == cost
        assert world.settle(
            call(1_000, output=1_000, service_tier=tier), hold=held.key
        ).amount == cost  # fmt: skip


def test_a_hold_covers_each_size_up_to_its_own() -> None:
    world = World(priced=False)
    falling = Price(Flat(100), variants=[Variant(Flat(10), SizeAbove(1_000, ["input"]))])
    world.publish({"model:m": {"input": falling}})
    world.grant(10**9)
    held = world.hold(call(1_001))
    assert held.held.amount == 100_100, "a thousand cost more than a thousand and one"
    assert world.settle(call(1_000), hold=held.key).amount == 100_000


def test_two_holds_of_one_item_foresee_each_others_size(world) -> None:
    one = world.hold(call(200_000, item="a", service_tier="standard"))
    two = world.hold(call(200_000, item="a", service_tier="standard"))
    usage = call(200_000, item="a")
    assert world.settle(usage, hold=one.key).amount <= one.held.amount
    assert world.settle(usage, hold=two.key).amount == 200_000 * 200 <= two.held.amount


def test_a_hold_foresees_the_size_that_others_give_its_item_in_any_period() -> None:
    world = World(priced=False)
    for version, dear, since in (("v1", 1, LONG_AGO), ("v2", 100, T0 + 40 * DAY)):
        price = Price(Flat(1), variants=[Variant(Flat(dear), SizeAbove(10, ["unit"]))])
        world.publish({"x": {"unit": price}}, version=version, effective_at=since)
    world.grant(10**6)
    other = world.hold(units(10, item="call"), expires_in=DAY)
    hold = world.hold(units(5, item="call"), expires_in=50 * DAY)
    world.settle(units(10, item="call"), hold=other.key)
    world.clock.advance(41 * DAY)
    assert world.settle(units(5, item="call"), hold=hold.key).amount == hold.held.amount == 500


def test_a_multiplier_above_one_that_may_hold_is_held() -> None:
    world = World(priced=False)
    price = Price(
        Flat(10),
        multipliers=[EU, Multiplier("0.5", FactIs("region", "us"))],
        facts=[REGION],
    )
    world.publish({"model:m": {"input": price}})
    world.grant(10**6)
    assert world.hold(call(10)).held.amount == 110
    assert world.hold(call(10, region="us")).held.amount == 50
    assert world.hold(call(10, region="global")).held.amount == 100


# -- what is refused, kept and explained ----------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: Price(Package(5, 10), variants=[Variant(Package(4, 10), LONG)]),
        lambda: Price(Package(5, 10), multipliers=[Multiplier(2, LONG)]),
        lambda: Price(Flat(5), variants=[Variant(Graduated([Tier(None, 1)]), LONG)]),
        lambda: Price(
            Graduated([Tier(10, 2), Tier(None, 1)]),
            variants=[Variant(Graduated([Tier(20, 2), Tier(None, 1)]), LONG)],
        ),
        lambda: Price(Flat(5), variants=[Variant(Flat(4), BATCH)]),
        lambda: Price(Flat(5), variants=[Variant(Flat(4), FactIs("service_tier", "x"))],
                      facts=[TIER]),
        lambda: Price(Flat(5), variants=[Variant(Flat(4), LONG)] * 17),
        lambda: Price(Flat(5), multipliers=[Multiplier(2, LONG)] * 17),
        lambda: Price(Flat(5), facts=[TIER, TIER]),
        lambda: Multiplier(0, LONG),
        lambda: Multiplier(0.5, LONG),
        lambda: Multiplier("-1", LONG),
        lambda: Variant(Flat(5), []),
        lambda: Variant(Flat(5), "batch"),
        lambda: SizeAbove(-1, PROMPT),
        lambda: SizeAbove(1, "input"),
        lambda: SizeAbove(1, []),
        lambda: Hours(time(1), time(2), ["monday"]),
        lambda: Hours("1:00", time(2)),
        lambda: Fact("service_tier", ("a", "b"), default="c"),
        lambda: Fact("service_tier", ("a", "a"), default="a"),
        lambda: Usage.of("x", {"unit": 1}, facts={"a": 1}),
        lambda: Usage.of("x", {"unit": 1}, facts=[("a", "b")]),
        lambda: Usage.of("x", {"unit": 1}, facts={str(n): "x" for n in range(33)}),
        lambda: PriceBook("v", LONG_AGO, {"x": {"unit": Price(Flat(1))}},
                          multipliers={"y": [Multiplier(2, LONG)]}),
        lambda: PriceBook("v", LONG_AGO, {"x": {"unit": Price(Flat(1))}},
                          multipliers={"*": [Multiplier(2, BATCH)]}),
    ],
)  # fmt: skip
def test_what_could_never_hold_is_refused(make) -> None:
    with pytest.raises(InvalidCommand):
        make()


def test_a_price_that_the_book_s_multipliers_cannot_multiply_is_named() -> None:
    prices = {"tool:a": {"call": Price(Flat(1), "call"), "page": Price(Package(5, 10), "page")}}
    with pytest.raises(InvalidCommand, match=r"prices\['tool:a'\]\['page'\].*tool:\*.*a package"):
        PriceBook("v", LONG_AGO, prices, multipliers={"tool:*": [Multiplier(2, LONG)]})


def test_as_many_names_as_there_may_be_are_taken_and_no_more() -> None:
    names = [f"part-{number}" for number in range(33)]
    assert SizeAbove(1, names[:32]).of == tuple(names[:32])
    with pytest.raises(InvalidCommand, match="1 to 32 names"):
        SizeAbove(1, names)
    facts = dict.fromkeys(names[:32], "x")
    assert len(Usage.of("x", {"unit": 1}, facts=facts).facts) == 32


def test_a_fact_is_said_in_one_form_of_unicode() -> None:
    for facts in ({"re\u0301gion": "eu"}, {"region": "re\u0301union"}):
        with pytest.raises(InvalidCommand, match="NFC"):
            Usage.of("x", {"unit": 1}, facts=facts)


def test_what_is_less_a_discount_is_made_once_for_each_percentage() -> None:
    """A price that depends on the request is made of many parts: not for each charge anew."""
    world = World(priced=False)
    world.publish({"model:m": {"input": by_tier_and_size(100, 200, 50, 175)}})
    for org, off in (("acme", 50), ("other", 20)):
        world.publish({}, version=org, org=org, percent_off={"model:*": off},
                      effective_at=T0 + DAY)  # fmt: skip
        if org != "acme":
            world.billing.open_account(org)
    world.clock.advance(2 * DAY)
    assert [world.settle(call(10), org).amount for org in ("acme", "other", "acme")] == [
        500, 800, 500,
    ]  # fmt: skip
    at = int((T0 + 2 * DAY).timestamp()) * 10**6
    one, again = (
        world.billing.catalogue().price("USD", "model:m", "input", at, ("org:acme",))
        for _ in range(2)
    )
    assert one is not None and again is not None and one.price is again.price


@pytest.mark.parametrize("resource", ["sandbox:s", "storage:*", "*"])
def test_runs_and_storage_have_no_conditions_on_size(resource: str) -> None:
    world = World(priced=False)
    price = Price(Flat(5), "second" if resource != "storage:*" else "byte-second",
                  variants=[Variant(Flat(4), LONG)])  # fmt: skip
    component = "byte_us" if resource == "storage:*" else "second"
    with pytest.raises(InvalidCommand, match="no SizeAbove"):
        world.publish({resource: {component: price}})


def test_a_book_is_kept_whole_and_writes_what_repeats_once() -> None:
    price = by_tier_and_size(1, 2, 3, 4)
    book = PriceBook(
        "v", LONG_AGO,
        {
            "model:*": {"a": price, "b": price, "c": Price(Flat(1)), "d": Price(
                Graduated([Tier(10, 2), Tier(None, 1)]),
                variants=[Variant(Graduated([Tier(10, 4), Tier(None, 3)]), (OFF_PEAK, BATCH))],
                multipliers=[EU], facts=[TIER, REGION],
            )},
        },
        multipliers={"model:x": [Multiplier(Fraction(1, 3), (PRIORITY, LONG))]}, facts=[TIER],
    )  # fmt: skip
    body = book.body()
    assert load_book(body) == book
    assert load_book(body).body() == body
    assert '"b":{"as":"a"}' in body


def test_an_explanation_names_what_held(world) -> None:
    charged = world.settle(call(300_000, service_tier="batch"))
    [line] = world.billing.explain("acme", charged.seq).lines
    assert line.variant == "service_tier is batch"
    [line] = world.billing.explain("acme", world.settle(call(300_000)).seq).lines
    assert line.variant == "input + cached_read above 272,000"
    assert "0.0000002 USD per token" in line.price
    [line] = world.billing.explain("acme", world.settle(call(1)).seq).lines
    assert line.variant == ""
    assert line.price == "0.0000001 USD per token"


def test_facts_are_part_of_what_a_command_means(world) -> None:
    world.settle(call(1, service_tier="batch"), key="k")
    assert world.settle(call(1, service_tier="batch"), key="k").replayed
    for other in (call(1), call(1, service_tier="priority")):
        with pytest.raises(Exception, match="another usage"):
            world.settle(other, key="k")
