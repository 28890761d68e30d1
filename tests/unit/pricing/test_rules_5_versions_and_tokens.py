"""Section 5: price versions, tokens, and what has no price."""

import attrs
import pytest
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, TICK, World, nanos, units

from billing_core import (
    Explanation,
    Flat,
    Graduated,
    Grant,
    HistoryRow,
    Hold,
    InvalidCommand,
    OpenAccount,
    Price,
    PriceBook,
    Tier,
    UnknownPrice,
    Usage,
    UsageRow,
    tokens,
)
from billing_core.records.usage import Line
from billing_core.reports.explain import ExplainedLine

TIERS = Price(Graduated((Tier(10, 3), Tier(20, 2), Tier(None, 1))))


def priced(price: Price, **options) -> World:
    """A world where ``unit`` of ``m`` has this price, and there is enough credit."""
    world = World(priced=False, **options)
    world.publish({"m": {"unit": price}})
    world.grant(10**12)
    return world


def m(quantity: int, **options) -> Usage:
    return units(quantity, "m", **options)


# -- 5.6 ------------------------------------------------------------------------


def test_5_6_a_change_takes_effect_after_the_publication_delay() -> None:
    world = priced(Price(Flat(1)))
    with pytest.raises(InvalidCommand, match="effective_at"):
        world.publish({"m": {"unit": Price(Flat(2))}}, version="v2", effective_at=T0 + MINUTE)


def test_5_6_the_first_price_of_a_component_may_reach_back() -> None:
    world = World(priced=False)
    world.clock.advance(HOUR)
    world.publish({"m": {"unit": Price(Flat(2))}}, effective_at=T0)
    assert world.settle(m(5), occurred_at=T0).amount == 10


def test_5_6_a_first_price_is_seen_at_once_by_an_engine_that_knew_the_book_before() -> None:
    world = World()
    world.settle(1)
    other = World(world.store, priced=False, opened=False)
    other.publish({"m": {"unit": Price(Flat(2))}})
    assert world.settle(m(5)).amount == 10


def test_5_6_the_version_in_force_when_the_usage_occurred_prices_it() -> None:
    world = priced(Price(Flat(1)))
    change = T0 + HOUR
    world.publish({"m": {"unit": Price(Flat(2))}}, version="v2", effective_at=change)
    world.clock.set(change + HOUR)
    occurred = [change - TICK, change, change + TICK, change - TICK]
    amounts = [world.settle(m(10), occurred_at=at).amount for at in occurred]
    assert amounts == [10, 20, 20, 10]
    versions = [entry.usage.lines[0].version[:2] for entry in world.entries() if entry.usage]
    assert versions == ["v1", "v2", "v2", "v1"]


def test_5_6_late_usage_uses_the_counter_of_the_period_in_which_it_occurred() -> None:
    world = priced(TIERS)
    world.settle(m(10))
    world.clock.advance(31 * DAY)
    world.settle(m(5))
    assert world.settle(m(10), occurred_at=T0).amount == 20
    assert world.counter("m") == [20, 5]
    assert world.wrong() == []


def test_5_6_versions_are_immutable() -> None:
    world = priced(Price(Flat(1)))
    [published] = world.store.published()
    with pytest.raises(InvalidCommand, match="version"):
        world.publish({"m": {"unit": Price(Flat(2))}}, effective_at=T0 + DAY)
    with pytest.raises(AttributeError):
        published.body = "{}"


def test_5_6_changing_the_mapping_a_book_was_made_from_changes_no_price() -> None:
    prices = {"m": {"unit": Price(Flat(1))}}
    world = World(priced=False)
    world.publish(prices)
    prices["m"]["unit"] = Price(Flat(1000))
    assert world.settle(m(1)).amount == 1


# -- 5.7 ------------------------------------------------------------------------


def test_5_7_reported_tokens_are_split_so_that_none_counts_twice() -> None:
    world = World(priced=False)
    parts = ("input", "cached_read", "output", "reasoning")
    prices = {part: Price(Flat(10**index)) for index, part in enumerate(parts)}
    world.publish({"model:m": prices})
    usage = tokens(
        "m",
        input=9,
        cached_read=4,
        output=8,
        reasoning=2,
        input_includes_cached=True,
        output_includes_reasoning=True,
    )
    assert world.settle(usage).amount == 5 + 4 * 10 + 6 * 100 + 2 * 1000


@pytest.mark.parametrize("usage", [units(1, "unheard of"), Usage.of("x", {"unit": 1, "tone": 1})])
def test_5_7_checks_quotes_holds_and_deducts_refuse_what_has_no_price(usage: Usage) -> None:
    world = World()
    world.grant(100)
    before = world.state()
    for attempt in (
        lambda: world.billing.quote("acme", usage),
        lambda: world.billing.check("acme", usage),
        lambda: world.hold(usage),
        lambda: world.deduct(usage),
    ):
        with pytest.raises(UnknownPrice):
            attempt()
    assert world.state() == before


def test_5_7_a_price_that_is_not_in_force_yet_is_no_price() -> None:
    world = World(priced=False)
    world.publish({"m": {"unit": Price(Flat(2))}}, effective_at=T0 + HOUR)
    with pytest.raises(UnknownPrice):
        world.hold(m(1))
    assert world.settle(m(1)).unpriced == ("unit",)


def test_5_7_a_settlement_of_what_has_no_price_is_recorded_as_unpriced() -> None:
    world = World()
    charge = world.settle(Usage.of("x", {"unit": 5, "tone": 7}))
    assert (charge.amount, charge.unpriced) == (5, ("tone",))
    assert [line.version for line in charge.lines] == [None, charge.lines[1].version]
    [event] = world.billing.events("acme")
    assert (event.seq, event.kind) == (charge.seq, "usage_unpriced")
    assert '"tone"' in event.data
    assert world.wrong() == []


def test_5_7_it_is_priced_later_by_a_command_that_names_the_version() -> None:
    world = World()
    charge = world.settle(Usage.of("m", {"unit": 5}), occurred_at=T0 - DAY)
    world.publish({"m": {"unit": Price(Flat(2))}}, version="late")
    priced_ = world.billing.price_unpriced("acme", "p", charge=charge.seq, version="late")
    assert (priced_.amount, priced_.unpaid) == (10, 10)
    assert world.billing.explain("acme", charge.seq).priced_by == priced_.seq
    assert world.counter("m") == [5]
    [row] = world.billing.usage("acme", "7d").rows
    assert (row.requests, row.components["unit"]) == (1, (5, 10))
    assert world.wrong() == []


def test_5_7_pricing_goes_on_from_the_counter_as_it_stands() -> None:
    world = World()
    charge = world.settle(Usage.of("x", {"unit": 100, "tone": 5}))
    world.publish({"x": {"tone": TIERS}}, version="late", effective_at=T0 + HOUR)
    world.clock.advance(HOUR)
    world.settle(Usage.of("x", {"tone": 8}))
    late = world.billing.price_unpriced(
        "acme", "p", charge=charge.seq, version="late", override=True
    )
    assert late.amount == 2 * 3 + 3 * 2
    assert world.counter() == [100]
    assert world.counter(component="tone") == [13]
    assert world.wrong() == []


def test_5_7_pricing_knows_the_item_that_was_used() -> None:
    world = World()
    charge = world.settle(m(10, item="run"))
    late = Price(Flat(1), minimum=60)
    world.publish({"m": {"unit": late}}, version="late", effective_at=T0 + HOUR)
    world.clock.advance(HOUR)
    assert world.settle(m(10, item="run")).amount == 60
    assert (
        world.billing.price_unpriced(
            "acme", "p", charge=charge.seq, version="late", override=True
        ).amount
        == 0
    )
    assert world.settle(m(41, item="run")).amount == 1
    assert world.wrong() == []


def test_5_7_an_item_s_minimum_is_counted_once_when_it_is_priced_late() -> None:
    world = World()
    charge = world.settle(m(10, item="run"))
    world.publish({"m": {"unit": Price(Flat(1), minimum=60)}}, version="late")
    late = world.billing.price_unpriced("acme", "p", charge=charge.seq, version="late")
    assert late.amount == 60
    assert world.settle(m(51, item="run")).amount == 1
    assert world.wrong() == []


def test_5_7_what_was_priced_once_is_not_priced_again() -> None:
    world = World()
    charge = world.settle(m(5))
    world.publish({"m": {"unit": Price(Flat(2))}}, version="late")
    world.billing.price_unpriced("acme", "p", charge=charge.seq, version="late")
    before = world.state()
    for number in (charge.seq, charge.seq + 1):
        with pytest.raises(Exception, match="nothing unpriced"):
            world.billing.price_unpriced("acme", "p2", charge=number, version="late")
    assert world.state() == before


def test_5_7_the_version_must_price_what_was_used() -> None:
    world = World()
    charge = world.settle(m(5))
    before = world.state()
    with pytest.raises(Exception, match="no version"):
        world.billing.price_unpriced("acme", "p", charge=charge.seq, version="unheard of")
    with pytest.raises(InvalidCommand, match="version"):
        world.billing.price_unpriced("acme", "p", charge=charge.seq, version="base")
    with pytest.raises(Exception, match="no charge"):
        world.billing.price_unpriced("acme", "p", charge=99, version="base")
    assert world.state() == before


# -- 5.8 ------------------------------------------------------------------------


def test_5_8_provider_cost_and_markup_show_nowhere() -> None:
    """No record that a customer can see has a place for them."""
    shown = [*(attrs.fields_dict(kind) for kind in (Explanation, ExplainedLine, HistoryRow))]
    shown += [attrs.fields_dict(UsageRow), attrs.fields_dict(PriceBook), Line._fields]
    names = {name for fields in shown for name in fields}
    assert not any(word in name for name in names for word in ("provider", "cost", "markup"))


def test_5_8_a_book_is_dated_and_immutable() -> None:
    book = PriceBook("v1", LONG_AGO, {"m": {"unit": TIERS}})
    with pytest.raises(AttributeError):
        book.effective_at = T0
    assert str(LONG_AGO.year) in book.effective_at.isoformat()


def test_5_commands_in_every_currency_are_made_before_the_org_is_known() -> None:
    """The command is a value; it is the org that has the currency."""
    assert OpenAccount("o", currency="EUR").currency == "EUR"
    assert Grant("o", "k", amount=nanos(1, "EUR")).amount.currency == "EUR"
    assert Hold("o", "k", cost=nanos(1, "EUR"), expires_in=HOUR).cost.currency == "EUR"
