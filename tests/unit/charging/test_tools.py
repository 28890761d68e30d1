"""Tools, code execution, and whatever else has a name, a unit and a price."""

from datetime import timedelta

import pytest
from world import HOUR, SECOND, T0, World

from billing_core import (
    Deduct,
    Flat,
    InvalidCommand,
    Price,
    Refused,
    UnknownPrice,
    Usage,
    code,
    tool,
    usd,
)

MILLISECOND = timedelta(milliseconds=1)
PER_SECOND = 1_000_000
TARIFF = {
    "tool:search": {"call": Price(Flat.of("0.004"), unit="call")},
    "tool:browser": {
        "call": Price(Flat.of("0.01"), unit="call"),
        "duration": Price(Flat.of("0.002", PER_SECOND), unit="microsecond"),
    },
    # At least a second, in steps of a tenth.
    "code:python": {
        "duration": Price(
            Flat.of("0.0003", PER_SECOND), "microsecond", minimum=PER_SECOND, increment=100_000
        )
    },
    "sms:de": {"message": Price(Flat.of("0.075"), unit="message")},
}


@pytest.fixture
def world() -> World:
    made = World(priced=False)
    made.publish(TARIFF)
    made.grant(usd("1").nanos)
    return made


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (tool("search"), "0.004"),
        (tool("search", calls=250), "1.0"),
        (tool("browser", calls=1, duration=90 * SECOND), "0.19"),
        (tool("browser", duration=90 * SECOND), "0.18"),
        (code("python", duration=MILLISECOND), "0.0003"),
        (code("python", duration=1001 * MILLISECOND), "0.00033"),
        (code("python", duration=HOUR / 2), "0.54"),
        (Usage.of("sms:de", {"message": 2}), "0.15"),
        (tool("search", payer="customer"), "0"),
    ],
)
def test_a_call_is_charged_per_call_or_by_its_duration(
    world: World, usage: Usage, cost: str
) -> None:
    assert world.billing.quote("acme", usage).amount == usd(cost).nanos
    assert world.deduct(usage).amount == usd(cost).nanos
    assert world.wrong() == []


def test_every_execution_has_a_minimum_of_its_own(world: World) -> None:
    charges = [world.deduct(code("python", duration=MILLISECOND)) for _ in range(3)]
    assert [charge.amount for charge in charges] == [usd("0.0003").nanos] * 3


def test_a_call_that_cannot_be_paid_for_is_refused_before_it_is_made(world: World) -> None:
    with pytest.raises(Refused) as caught:
        world.deduct(tool("search", calls=251))
    assert caught.value.refusal.shortfall == usd("0.004").nanos
    with pytest.raises(UnknownPrice, match="duration of tool:search"):
        world.deduct(tool("search", duration=SECOND))
    assert world.balance().balance == usd("1").nanos


def test_a_call_that_failed_for_the_platforms_fault_is_given_back(world: World) -> None:
    charges = [world.deduct(tool("search"), member="ann") for _ in range(3)]
    world.reverse(charges[1], reason="the search engine was down")
    assert world.balance().balance == usd("0.992").nanos
    [row] = world.billing.usage("acme").rows
    assert (row.resource, row.requests, row.amount) == ("tool:search", 3, usd("0.008").nanos)
    assert row.components["call"] == (3, usd("0.012").nanos)
    assert world.wrong() == []


def test_executions_are_counted_by_member_and_resource(world: World) -> None:
    world.billing.execute(
        [Deduct("acme", f"s{n}", cost=tool("search"), member="ann") for n in range(4)]
        + [Deduct("acme", "p", cost=code("python", duration=SECOND), member="ann")]
        + [Deduct("acme", "b", cost=tool("search", payer="customer"), member="bob")]
    )
    members = world.billing.usage("acme").members
    counted = {
        name: {(row.resource, row.payer): row.requests for row in rows}
        for name, rows in members.items()
    }
    assert counted == {
        "ann": {("tool:search", "platform"): 4, ("code:python", "platform"): 1},
        "bob": {("tool:search", "customer"): 1},
    }


def test_a_change_of_price_finds_a_tool_as_it_finds_a_model(world: World) -> None:
    dearer = {"tool:search": {"call": Price(Flat.of("0.005"), unit="call")}}
    world.publish(dearer, version="v2", effective_at=T0 + HOUR)
    world.clock.set(T0 + HOUR)
    assert world.deduct(tool("search"), occurred_at=T0).amount == usd("0.004").nanos
    assert world.deduct(tool("search")).amount == usd("0.005").nanos


def test_what_a_call_was_is_said_in_names_and_whole_numbers() -> None:
    assert tool("search") == Usage.of("tool:search", {"call": 1})
    assert code("python", calls=2) == Usage.of("code:python", {"call": 2})
    assert code("python", duration=SECOND).parts == (("duration", 1_000_000, "platform"),)
    for wrong in ({"calls": -1}, {"calls": 1.5}, {"duration": 3}, {"duration": -SECOND}):
        with pytest.raises(InvalidCommand):
            tool("search", **wrong)
    with pytest.raises(InvalidCommand):
        code("")
