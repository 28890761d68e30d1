"""``with billing.hold(…) as hold:`` settles, releases, or leaves the hold to expire."""

import asyncio

import pytest
from world import HOUR, MINUTE, FailingStore, World, units

from billing_core import (
    AsyncBilling,
    Conflict,
    HoldEnded,
    InvalidCommand,
    Refused,
    StoreError,
)


class Broken(Exception):
    pass


def state_of(world: World, hold) -> str:
    return next(each.state for each in world.store.holds("acme") if each.key == hold.key)


def test_it_settles_what_was_reported() -> None:
    world = World()
    world.grant(10)
    with world.hold(8, member="ann", reference="job 7") as hold:
        assert (hold.amount, world.available()) == (8, 2)
        hold.report(units(5))
    [charge] = hold.charges
    assert (charge.amount, charge.captured) == (5, 5)
    assert state_of(world, hold) == "settled"
    assert world.available() == 5
    assert world.billing.explain("acme", charge.seq).member == "ann"
    assert world.billing.history("acme", limit=1)[0].reference == "job 7"


def test_what_is_reported_after_the_block_is_not_lost_silently() -> None:
    world = World()
    world.grant(10)
    with world.hold(8) as hold:
        hold.report(units(5))
    with pytest.raises(Conflict, match="settle"):
        hold.report(units(2))
    with pytest.raises(Conflict, match="left already"), hold:
        raise AssertionError
    assert [charge.amount for charge in hold.charges] == [5]
    assert world.left() == {1: 5}


def test_nor_where_it_is_awaited() -> None:
    world = World()
    world.grant(10)

    async def use() -> None:
        billing = AsyncBilling(world.store, clock=world.clock)
        async with await billing.hold("acme", units(8), expires_in=HOUR) as hold:
            pass
        with pytest.raises(Conflict, match="settle"):
            hold.report(units(2))
        with pytest.raises(Conflict, match="left already"):
            await hold.__aenter__()

    asyncio.run(use())
    assert world.available() == 10


def test_it_settles_every_report() -> None:
    world = World()
    world.grant(10)
    with world.hold(8) as hold:
        hold.report(units(2))
        hold.report(units(3, "y"))
        hold.report(units(0))
        hold.report(units(4))
    assert [charge.amount for charge in hold.charges] == [2, 3, 0, 4]
    assert [charge.captured for charge in hold.charges] == [2, 3, 0, 3]
    assert state_of(world, hold) == "settled"
    assert world.left() == {1: 1}


def test_it_settles_what_was_reported_even_if_the_body_raises() -> None:
    world = World()
    world.grant(10)
    with pytest.raises(Broken), world.hold(8) as hold:
        hold.report(units(5))
        raise Broken
    assert hold.charges[0].amount == 5
    assert state_of(world, hold) == "settled"
    assert world.left() == {1: 5}


def test_it_releases_only_if_nothing_was_reported() -> None:
    world = World()
    world.grant(10)
    with world.hold(8) as hold:
        pass
    assert (state_of(world, hold), hold.charges) == ("released", [])
    with pytest.raises(Broken), world.hold(8) as hold:
        raise Broken
    assert state_of(world, hold) == "released"
    with world.hold(8) as hold:
        hold.report(units(0))
    assert state_of(world, hold) == "settled"
    assert world.left() == {1: 10}


@pytest.mark.parametrize("reported", [True, False])
def test_on_a_store_error_the_hold_is_left_to_expire(reported: bool) -> None:
    world = World(FailingStore())
    world.grant(10)
    with pytest.raises(StoreError, match="full"), world.hold(8, expires_in=HOUR) as hold:
        if reported:
            hold.report(units(5))
        world.store.fail = "before"
    assert (state_of(world, hold), hold.charges) == ("open", [])
    world.store.fail = None
    assert world.available() == 2
    world.clock.advance(HOUR)
    assert world.available() == 10
    assert world.wrong() == []


def test_a_store_error_hides_no_error_of_the_body() -> None:
    world = World(FailingStore())
    world.grant(10)
    with pytest.raises(StoreError) as failed, world.hold(8):
        world.store.fail = "before"
        raise Broken
    assert isinstance(failed.value.__context__, Broken)


def test_after_an_unknown_outcome_the_same_settlement_finds_out() -> None:
    world = World(FailingStore())
    world.grant(10)
    with pytest.raises(StoreError) as failed, world.hold(8, key="call") as hold:
        hold.report(units(5))
        world.store.fail = "after"
    assert failed.value.outcome_unknown
    world.store.fail = None
    assert state_of(world, hold) == "settled"
    assert world.settle(5, key="call", hold="call").replayed
    assert world.left() == {1: 5}


def test_usage_beyond_the_hold_or_after_its_end_is_charged() -> None:
    world = World()
    world.grant(10)
    with world.hold(4) as hold:
        hold.report(units(12))
    assert (hold.charges[0].captured, hold.charges[0].unpaid) == (4, 2)
    world.grant(12)
    with world.hold(4, expires_in=MINUTE) as hold:
        world.clock.advance(HOUR)
        hold.report(units(4))
    assert (hold.charges[0].captured, hold.charges[0].paid) == (0, 4)


def test_a_hold_that_lapsed_or_was_released_meanwhile_needs_no_release() -> None:
    world = World()
    world.grant(10)
    with world.hold(4, expires_in=MINUTE) as hold:
        world.clock.advance(HOUR)
    assert state_of(world, hold) == "lapsed"
    with world.hold(4) as hold:
        world.billing.release("acme", hold.key)
    assert state_of(world, hold) == "released"


def test_it_can_be_extended_inside() -> None:
    world = World()
    world.grant(10)
    with world.hold(4, expires_in=MINUTE) as hold:
        world.extend(hold, expires_in=HOUR, add=5)
        world.clock.advance(2 * MINUTE)
        hold.report(units(9))
    assert hold.charges[0].captured == 9


def test_no_hold_no_block() -> None:
    world = World()
    with pytest.raises(Refused), world.hold(4):
        raise AssertionError("the body must not run")


def test_a_report_is_a_usage() -> None:
    world = World()
    world.grant(10)
    with world.hold(4) as hold, pytest.raises(InvalidCommand):
        hold.report(5)
    assert state_of(world, hold) == "released"


def test_each_hold_has_a_fresh_key_unless_one_is_given() -> None:
    world = World()
    world.grant(10)
    one, two = (world.billing.hold("acme", units(1), expires_in=HOUR) for _ in "ab")
    assert one.key != two.key
    assert one.key[14] == "7"


def test_a_block_that_is_run_again_charges_once() -> None:
    world = World()
    world.grant(10)
    with world.hold(4, key="job") as hold:
        hold.report(units(1))
        hold.report(units(2))
    numbers = tuple(charge.seq for charge in hold.charges)
    for _ in range(2):
        with pytest.raises(HoldEnded, match="as done") as done, world.hold(4, key="job"):
            raise AssertionError("the call was made: the body must not run again")
        assert (done.value.ended, done.value.charges, done.value.charged) == ("settled", numbers, 3)
        assert not done.value.retryable
    assert world.left() == {1: 7}


def test_a_block_that_is_run_twice_at_once_charges_once() -> None:
    world = World()
    world.grant(10)
    with world.hold(4, key="job") as one, world.hold(4, key="job") as two:
        assert two.held.replayed
        for hold in (one, two):
            hold.report(units(3))
    assert [charge.seq for charge in one.charges] == [charge.seq for charge in two.charges]
    assert world.left() == {1: 7}


@pytest.mark.parametrize("length", [198, 199, 200])
def test_a_long_key_loses_no_report(length: int) -> None:
    world = World()
    world.grant(100)
    with world.hold(40, key="k" * length) as hold:
        for _ in range(12):
            hold.report(units(1))
    assert sum(charge.amount for charge in hold.charges) == 12
    assert world.left() == {1: 88}


@pytest.mark.every_store
def test_a_name_erased_while_its_hold_is_open_is_not_written_again() -> None:
    world = World()
    world.grant(20)
    with world.hold(8, member="ann", project="p") as hold:
        hold.report(units(3))
        hold.report(units(2))
        assert world.billing.erase_member("acme", "ann")
    assert world.store.members("acme") == {}
    assert [each.amount for each in hold.charges] == [3, 2]
    records = [entry.usage for entry in world.entries() if entry.usage is not None]
    assert [(each.member, each.project) for each in records] == [(1, "p"), (1, "p")]
    assert world.settle(1, member="ann").amount == 1
    assert world.store.members("acme") == {2: "ann"}, "who comes back is somebody new"
    assert world.wrong() == []


@pytest.mark.every_store
def test_nor_where_the_block_is_awaited() -> None:
    world = World()
    world.grant(10)

    async def use() -> None:
        billing = AsyncBilling(world.store, clock=world.clock)
        async with await billing.hold("acme", units(8), expires_in=HOUR, member="ann") as hold:
            hold.report(units(3))
            await billing.erase_member("acme", "ann")

    asyncio.run(use())
    assert world.store.members("acme") == {}
    assert world.entries()[-1].usage.member == 1
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_settlement_as_held_is_its_holds_members() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(8, member="ann")
    world.settle(1, hold="unknown", as_held=True)
    first = world.settle(2, hold=hold.key, as_held=True, key="s")
    assert world.settle(2, hold=hold.key, as_held=True, key="s").replayed
    assert world.settle(2, hold=hold.key, member="ann", key="s").seq == first.seq, "one meaning"
    assert [each.usage.member for each in world.entries() if each.usage] == [0, 1]
    for wrong in ({"as_held": True}, {"as_held": True, "hold": "h", "member": "ann"}):
        with pytest.raises(InvalidCommand, match="a hold, and no member"):
            world.settle(1, **wrong)
    with pytest.raises(InvalidCommand, match="as_held"):
        world.settle(1, hold="h", as_held=1)


def requests(world: World) -> dict[str, int]:
    return {row.resource: row.requests for row in world.billing.usage("acme").rows}


@pytest.mark.every_store
def test_one_call_that_is_reported_in_five_parts_is_one_request() -> None:
    world = World()
    world.grant(100)
    with world.hold(units(50)) as hold:
        for _ in range(5):
            hold.report(units(1))
    assert requests(world) == {"x": 1}
    hold = world.hold(units(50))
    for _ in range(4):
        world.settle(1, hold=hold.key, final=False)
    world.settle(1, hold=hold.key)
    assert requests(world) == {"x": 2}
    for _ in range(5):
        world.settle(units(1, item="call-3"))
    for _ in range(5):
        world.deduct(units(1, item="call-4"))
    assert requests(world) == {"x": 4}
    world.settle(1)
    world.settle(1)
    assert requests(world) == {"x": 6}, "each a call of its own"
    assert world.wrong() == []


@pytest.mark.every_store
def test_calls_of_several_things_under_one_hold_count_one_each() -> None:
    world = World()
    world.grant(100)
    with world.hold(50) as hold:
        for resource in ("x", "y", "x", "z"):
            hold.report(units(1, resource=resource))
    assert requests(world) == {"x": 1, "y": 1, "z": 1}
    hold = world.hold(50)
    world.settle(units(1, item="a"), hold=hold.key, final=False)
    world.settle(units(1, item="a"), hold=hold.key, final=False)
    world.settle(units(1, resource="y"), hold=hold.key, final=False, part=False)
    world.settle(units(1, resource="y"), hold=hold.key)
    assert requests(world) == {"x": 2, "y": 3, "z": 1}
    with pytest.raises(InvalidCommand, match="part"):
        world.settle(1, part=1)
    assert world.wrong() == []
