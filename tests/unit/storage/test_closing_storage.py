"""Storage is charged up to the moment at which its account is closed, from what is left there."""

import asyncio

import pytest
from world import DAY, HOUR, World

from billing_core import AsyncBilling, Close, Flat, Price

pytestmark = pytest.mark.every_store


def shelves(*workspaces: str, grant: int = 10**9) -> World:
    """Workspaces of a byte each, an hour of which costs 3,600 nanos."""
    world = World(priced=False)
    byte_us = Price(Flat(1, 10**6), unit="byte-microsecond")
    world.publish({"storage:*": {"byte_us": byte_us}})
    world.grant(grant)
    for name in workspaces:
        world.billing.report_storage("acme", name, 1)
    return world


def test_what_is_stored_is_charged_up_to_the_closing() -> None:
    world = shelves("one", "two")
    world.clock.advance(HOUR)
    world.billing.bill_storage("acme", "one")
    world.clock.advance(HOUR)
    closed = world.billing.close("acme", remainder="refund")
    assert closed.amount == 10**9 - 2 * 2 * 3600
    assert (world.balance().used, world.balance().balance) == (2 * 2 * 3600, 0)
    again = world.billing.close("acme", remainder="refund")
    assert (again.replayed, again.amount) == (True, closed.amount)
    assert world.wrong() == []


def test_a_closed_account_is_closed_again_without_a_charge() -> None:
    world = shelves("one")
    world.clock.advance(HOUR)
    first = world.billing.close("acme", remainder="refund")
    before = world.state()
    world.clock.advance(HOUR)
    assert world.billing.close("acme", remainder="refund").seq == first.seq
    assert world.state() == before


def test_it_is_charged_up_to_the_time_that_the_closing_is_given() -> None:
    world = shelves("one")
    world.clock.advance(2 * HOUR)
    closed = world.billing.close("acme", remainder="write_off", at=world.clock.now - HOUR)
    assert closed.at == world.clock.now - HOUR
    assert world.balance().used == 3600
    assert world.wrong() == []


def test_async_callers_close_so_too_and_what_is_not_paid_is_owed() -> None:
    world = shelves("one", grant=1000)
    world.clock.advance(HOUR)

    async def close() -> None:
        billing = AsyncBilling(world.store, clock=world.clock)
        closed = await billing.close("acme", remainder="refund")
        assert (closed.amount, closed.balance) == (0, 1000 - 3600)

    asyncio.run(close())
    assert world.wrong() == []


def test_the_command_alone_leaves_storage_to_be_billed_later() -> None:
    world = shelves("one")
    world.clock.advance(HOUR)
    world.billing.execute([Close("acme", remainder="refund")])
    assert world.balance().used == 0
    world.clock.advance(DAY)
    world.billing.bill_storage("acme", until=world.clock.now - DAY)
    assert world.balance().used == 3600
    assert world.wrong() == []
