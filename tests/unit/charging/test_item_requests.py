"""One call that is reported in parts is one request, whoever pays for them, priced or not."""

import asyncio

import pytest
from world import TICK, World

from billing_core import AsyncBilling, Flat, Price, Settle, Usage

pytestmark = pytest.mark.every_store


def calls() -> World:
    world = World()
    world.publish({"model:m": {"input": Price(Flat(1)), "output": Price(Flat(2))}})
    world.grant(1000)
    return world


def part(component: str, payer: str = "platform", item: str | None = "call-1") -> Usage:
    return Usage.of("model:m", {component: 5}, payer=payer, item=item)


def requests(world: World) -> dict[str, int]:
    world.clock.advance(TICK)
    return {row.payer: row.requests for row in world.billing.usage("acme", "all_time").rows}


def test_parts_on_the_customers_own_key_are_one_request() -> None:
    world = calls()
    for component in ("input", "output", "input"):
        world.settle(part(component, "customer"))
    assert requests(world) == {"customer": 1}
    world.deduct(part("output", "customer", item="call-2"))
    world.deduct(part("input", "customer", item="call-2"))
    assert requests(world) == {"customer": 2}
    assert world.wrong() == []


def test_parts_without_a_price_are_one_request_then_and_once_they_are_priced() -> None:
    world = calls()
    lost = [world.settle(part("audio")) for _ in range(3)]
    world.settle(part("input"))
    assert requests(world) == {"platform": 1}
    world.publish({"model:m": {"audio": Price(Flat(3))}}, version="audio")
    for each in lost:
        key = f"p{each.seq}"
        priced = world.billing.price_unpriced("acme", key, charge=each.seq, version="audio")
        assert priced.amount == 15
    assert requests(world) == {"platform": 1}
    assert world.wrong() == []


def test_the_first_part_alone_counts_whoever_pays() -> None:
    world = calls()
    world.settle(part("input", "customer"))
    world.settle(part("output"))
    world.settle(part("audio"))
    world.settle(part("input", item=None))
    assert requests(world) == {"customer": 1, "platform": 1}
    assert world.wrong() == []


def test_parts_of_one_batch_are_one_request() -> None:
    world = calls()
    parts = [Settle("acme", f"k{n}", usage=part("input", "customer")) for n in range(3)]
    world.billing.execute(parts)

    async def more() -> None:
        billing = AsyncBilling(world.store, clock=world.clock)
        await billing.settle("acme", "k4", part("input", "customer"))

    asyncio.run(more())
    assert requests(world) == {"customer": 1}
    assert world.wrong() == []


def test_a_first_part_that_is_undone_takes_its_request_back() -> None:
    world = calls()
    first = world.settle(part("input", "customer"))
    world.settle(part("output", "customer"))
    world.reverse(first, undo_usage=True)
    assert requests(world) == {"customer": 0}
    assert world.wrong() == []


@pytest.mark.parametrize("payer", ["platform", "customer"])
@pytest.mark.parametrize("component", ["input", "audio"])
def test_once_its_first_part_is_undone_the_next_part_is_the_call(
    payer: str, component: str
) -> None:
    world = calls()
    first = world.settle(part(component, payer))
    world.reverse(first, undo_usage=True)
    assert requests(world).get(payer, 0) == 0
    second = world.settle(part("input", payer))
    world.deduct(part("output", payer))
    assert requests(world) == {payer: 1}
    world.reverse(second, undo_usage=True)
    assert requests(world) == {payer: 0}
    parts = [Settle("acme", f"k{n}", usage=part("input", payer)) for n in range(2)]
    world.billing.execute(parts)
    assert requests(world) == {payer: 1}
    assert world.wrong() == []


def test_while_the_version_before_may_run_parts_count_as_there(monkeypatch) -> None:
    """That one would find an item that its audit does not know."""
    world = calls()
    monkeypatch.setattr(type(world.store), "level", lambda store: 1)
    monkeypatch.setattr(world.billing._prices, "level", 1)
    world.settle(part("input", "customer"))
    assert list(world.store.items("acme")) == []
    assert all("item" not in entry.effects for entry in world.entries())
    monkeypatch.undo()
    world.settle(part("input", "customer"))
    world.settle(part("input", "customer"))
    assert requests(world) == {"customer": 2}
    assert world.wrong() == []
