"""Usage that did not happen, such as a call that failed, is undone: its counter, item, quota and
requests go back, and what all that was used costs then is what stays charged (rule 6.6)."""

import asyncio
import json
from datetime import timedelta
from fractions import Fraction

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, LONG_AGO, T0, TICK, World, nanos

from billing_core import (
    AsyncBilling,
    Conflict,
    Flat,
    Graduated,
    HoldEnded,
    InvalidCommand,
    MoneyOverflow,
    NotFound,
    Package,
    Plan,
    Price,
    Quota,
    Refused,
    Reverse,
    Settle,
    Tier,
    Usage,
)
from billing_core.audit.auditor import Auditor
from billing_core.values.money import MAX_NANOS
from billing_core.values.times import micros

pytestmark = pytest.mark.every_store

FREE = Graduated([Tier(3, 0), Tier(None, 10)])
"""Three calls are free, each further one costs ten."""


def tools(function=FREE, *, grant: int = 10**6, **price) -> World:
    world = World()
    world.publish({"tool:search": {"call": Price(function, unit="call", **price)}})
    if grant:
        world.grant(grant)
    return world


def call(world: World, calls: int = 1, **options):
    usage = Usage.of("tool:search", {"call": calls}, item=options.pop("item", None))
    return world.deduct(usage, **options)


def report(world: World):
    world.clock.advance(TICK)
    return world.billing.usage("acme", "all_time")


def undo(world: World, charge, **options):
    return world.reverse(charge, undo_usage=True, **options)


def test_a_failed_call_gives_its_free_units_back() -> None:
    world = tools()
    first = call(world)
    undone = undo(world, first, reason="the tool was down")
    assert (undone.amount, undone.forgiven, undone.refilled) == (0, 0, 0)
    assert world.counter("tool:search", "call") == [0]
    assert [call(world).amount for _ in range(4)] == [0, 0, 0, 10]
    assert world.wrong() == []


def test_what_a_free_call_that_failed_made_others_pay_comes_back_from_the_latest() -> None:
    world = tools()
    charges = [call(world, member=member) for member in ("ann", "bob", "cy", "di", "ed")]
    assert [each.amount for each in charges] == [0, 0, 0, 10, 10]
    undone = undo(world, charges[0])
    assert (undone.amount, undone.forgiven, undone.refilled, undone.expired) == (10, 0, 10, 0)
    assert world.balance().used == 10
    assert world.billing.explain("acme", charges[4].seq).reversed == 10
    found = report(world)
    spent = {name: found.of_member(name).total for name in found.members}
    assert spent == {"ann": 0, "bob": 0, "cy": 0, "di": 10, "ed": 0}
    assert found.of_member("ann").tool_executions == 0
    assert found.summary.tool_executions == 4
    assert world.wrong() == []
    again = undo(world, charges[1])
    assert (again.amount, world.balance().used) == (10, 0)
    assert world.billing.explain("acme", charges[3].seq).reversed == 10
    assert world.wrong() == []


def test_a_charge_of_another_component_gives_nothing_back_for_a_call_that_failed() -> None:
    world = World()
    prices = {"call": Price(FREE, unit="call"), "page": Price(Flat(7), unit="page")}
    world.publish({"tool:search": prices})
    world.grant(10**6)
    charges = [call(world) for _ in range(4)]
    pages = world.deduct(Usage.of("tool:search", {"page": 1}))
    assert undo(world, charges[0]).amount == 10
    explained = [world.billing.explain("acme", each.seq) for each in (charges[3], pages)]
    assert [each.reversed for each in explained] == [10, 0]
    assert world.wrong() == []


def test_a_call_that_costs_nothing_for_others_failures_stands_until_it_is_undone_too() -> None:
    """Sent again, it is paid; once its own usage did not happen, nobody goes on because of it."""
    world = tools()
    charges = [call(world, key=f"c{number}") for number in range(4)]
    undo(world, charges[0])
    assert world.balance().used == 0
    assert call(world, key="c3").replayed
    assert undo(world, charges[3]).amount == 0
    for key, charge in (("c0", charges[0]), ("c3", charges[3])):
        with pytest.raises(HoldEnded) as caught:
            call(world, key=key)
        assert (caught.value.ended, caught.value.charges) == ("reversed", (charge.seq,))
        assert caught.value.retryable
    assert call(world, key="c2").replayed
    asyncio.run(_sent_again(world))
    assert world.wrong() == []


async def _sent_again(world: World) -> None:
    billing = AsyncBilling(world.store, clock=world.clock)
    with pytest.raises(HoldEnded):
        await billing.deduct("acme", "c3", Usage.of("tool:search", {"call": 1}))


def test_requests_and_quantities_leave_the_reports() -> None:
    world = tools()
    kept, failed = call(world, 2), call(world, 5)
    undo(world, failed)
    [row] = report(world).rows
    assert (row.requests, row.components["call"], row.amount) == (1, (2, 0), kept.amount)
    assert report(world).summary.tool_executions == 2
    assert world.wrong() == []


def test_a_quota_gets_back_what_a_failed_call_took() -> None:
    world = tools()
    world.billing.publish(Plan("p1", "pro", LONG_AGO, quotas=[Quota("tool:search", "call", 2)]))
    world.billing.set_plan("acme", "on", "pro")
    call(world)
    failed = call(world)
    with pytest.raises(Refused):
        call(world)
    undo(world, failed)
    call(world)
    with pytest.raises(Refused):
        call(world)
    assert world.wrong() == []


def test_limits_count_what_stays_charged_of_each_member() -> None:
    world = tools()
    world.billing.set_limit("acme", "limit", nanos(15), every="member", per="day")
    for _ in range(3):
        call(world, member="ann")
    failed = world.store.entries("acme")[-1]
    call(world, member="bob")
    with pytest.raises(Refused):
        call(world, member="bob")
    undo(world, failed)
    call(world, member="bob")  # ten came back to bob, who paid; ann has spent nothing
    with pytest.raises(Refused):
        call(world, 2, member="ann")
    assert world.wrong() == []


def test_usage_is_undone_once_and_whole() -> None:
    world = tools(Flat(10))
    charge = call(world, 2)
    with pytest.raises(InvalidCommand, match="amount"):
        Reverse("acme", "k", charge=charge.seq, amount=nanos(5), undo_usage=True)
    with pytest.raises(InvalidCommand, match="undo_usage"):
        Reverse("acme", "k", charge=charge.seq, undo_usage=1)
    first = undo(world, charge, key="k")
    assert undo(world, charge, key="k") == first
    with pytest.raises(Conflict, match="undone already"):
        undo(world, charge, key="other")
    with pytest.raises(NotFound):
        world.billing.reverse("acme", "x", charge=99, undo_usage=True)
    assert (world.balance().used, world.counter("tool:search", "call")) == (0, [0])
    assert world.wrong() == []


def test_two_undoings_of_one_charge_in_a_batch_undo_it_once() -> None:
    world = tools()
    charge = call(world)
    commands = [Reverse("acme", key, charge=charge.seq, undo_usage=True) for key in "aab"]
    first, same, other = world.billing.execute(commands)
    assert first == same
    assert isinstance(other, Conflict)
    assert world.counter("tool:search", "call") == [0]
    assert world.wrong() == []


def test_what_was_given_back_before_is_not_given_back_again() -> None:
    world = tools(Flat(10))
    charge = call(world, 10)
    world.reverse(charge, 40)
    assert undo(world, charge).amount == 60
    whole = call(world, 10)
    world.reverse(whole)
    assert undo(world, whole).amount == 0
    assert (world.balance().used, world.counter("tool:search", "call")) == (0, [0])
    [row] = report(world).rows
    assert (row.requests, row.amount, row.components["call"]) == (0, 0, (0, 0))
    assert world.wrong() == []


def test_all_that_is_left_comes_back_where_parts_of_every_charge_were_given_back() -> None:
    world = tools(Graduated([Tier(1, 10), Tier(None, 30)]))
    first, later = call(world), call(world)
    world.reverse(later)
    world.reverse(first, 4)
    assert undo(world, first).amount == 6
    assert (world.balance().balance, world.balance().used) == (10**6, 0)
    assert world.wrong() == []


def test_what_a_call_cost_less_comes_back_of_its_own_charge_before_its_later_price() -> None:
    world = World()
    dear_first = Graduated([Tier(1, 1000), Tier(None, 10)])
    world.publish({"tool:search": {"call": Price(dear_first, unit="call")}})
    world.grant(10**6)
    first = world.settle(Usage.of("tool:search", {"call": 1, "page": 1}))
    call(world)
    world.publish({"tool:search": {"page": Price(Flat(5), unit="page")}}, version="later")
    priced = world.billing.price_unpriced("acme", "p", charge=first.seq, version="later")
    assert (first.amount, priced.amount) == (1000, 5)
    assert undo(world, first).amount == 15
    explained = [world.billing.explain("acme", each.seq) for each in (first, priced)]
    assert [each.reversed for each in explained] == [15, 0]
    assert world.wrong() == []


def test_a_later_call_that_was_cheaper_is_what_goes() -> None:
    """The more calls, the cheaper: without the first, all others move up."""
    world = tools(Graduated([Tier(1, 20), Tier(None, 10)]))
    first, second = call(world), call(world)
    assert undo(world, first).amount == 10
    assert world.balance().used == 20  # as one call costs
    assert undo(world, second).amount == 20
    assert world.balance().used == 0
    assert world.wrong() == []


def test_a_package_that_was_begun_by_a_failed_call_goes_back() -> None:
    world = tools(Package(100, 4))
    calls = [call(world) for _ in range(5)]
    assert [each.amount for each in calls] == [100, 0, 0, 0, 100]
    undone = undo(world, calls[1])
    assert (undone.amount, world.balance().used) == (100, 100)
    assert world.wrong() == []


def test_a_settlement_that_is_owed_is_owed_no_more() -> None:
    world = tools(Flat(10), grant=0)
    usage = Usage.of("tool:search", {"call": 3})
    charge = world.settle(usage)
    assert world.balance().debt == 30
    undone = undo(world, charge)
    assert (undone.amount, undone.forgiven, world.balance().debt) == (30, 30, 0)
    assert world.wrong() == []


def test_a_fixed_amount_is_undone_with_its_request() -> None:
    world = tools()
    charge = world.deduct(nanos(500), resource="tool:fax")
    assert undo(world, charge).amount == 500
    [row] = report(world).rows
    assert (row.requests, row.amount, world.balance().used) == (0, 0, 0)
    assert world.wrong() == []


def test_usage_on_the_customers_own_key_is_undone_too() -> None:
    world = tools()
    own = Usage.of("tool:search", {"call": 3}, payer="customer")
    charge = world.settle(own)
    assert undo(world, charge).amount == 0
    [row] = report(world).rows
    assert (row.payer, row.requests, row.components["call"]) == ("customer", 0, (0, 0))
    assert world.wrong() == []


def test_an_items_minimum_stays_while_anything_of_it_is_left() -> None:
    world = tools(Flat(1), minimum=10)
    first, second = call(world, 5, item="run"), call(world, 3, item="run")
    assert (first.amount, second.amount) == (10, 0)
    assert undo(world, first).amount == 0
    assert world.counter("tool:search", "call") == [10]
    assert undo(world, second).amount == 10
    assert (world.balance().used, world.counter("tool:search", "call")) == (0, [0])
    assert call(world, 5, item="run").amount == 10
    assert world.wrong() == []


def test_usage_that_was_undone_is_not_priced_and_its_price_goes_with_it() -> None:
    world = tools()
    unpriced = Usage.of("tool:search", {"call": 1, "page": 7})
    lost, kept = world.settle(unpriced), world.settle(unpriced)
    undo(world, lost)
    version = world.publish({"tool:search": {"page": Price(Flat(3))}}, version="pages")
    with pytest.raises(Conflict, match="undone"):
        world.billing.price_unpriced("acme", "p0", charge=lost.seq, version=version)
    priced = world.billing.price_unpriced("acme", "p1", charge=kept.seq, version=version)
    assert priced.amount == 21
    with pytest.raises(Conflict, match=f"undo charge {kept.seq}|undo that"):
        undo(world, priced)
    assert undo(world, kept).amount == 21
    assert (world.balance().used, world.counter("tool:search", "page")) == (0, [0])
    [row] = report(world).rows
    assert (row.requests, row.amount) == (0, 0)
    assert row.components["page"] == (0, 0)
    assert world.wrong() == []


def test_of_usage_priced_later_only_what_was_not_given_back_yet_comes_back() -> None:
    world = tools()
    kept = world.settle(Usage.of("tool:search", {"call": 1, "page": 7}))
    version = world.publish({"tool:search": {"page": Price(Flat(3))}}, version="pages")
    priced = world.billing.price_unpriced("acme", "p1", charge=kept.seq, version=version)
    world.reverse(priced, 5)
    assert undo(world, kept).amount == 16
    assert (world.balance().used, world.counter("tool:search", "page")) == (0, [0])
    assert world.wrong() == []


def test_a_piece_of_a_run_is_not_undone() -> None:
    world = World(priced=False)
    world.publish({"storage:*": {"byte_us": Price(Flat(1, 1_000_000), unit="byte-microsecond")}})
    world.billing.report_storage("acme", "ws", 10**6)
    world.clock.advance(HOUR)
    world.billing.bill_storage("acme")
    [piece] = [each for each in world.entries() if each.op == "piece"]
    with pytest.raises(Conflict, match="forgive"):
        undo(world, piece)
    assert world.wrong() == []


def test_what_an_ended_lot_paid_comes_back_as_asked() -> None:
    world = tools(Flat(10), grant=0)
    world.grant(100, expires_at=T0 + HOUR)
    lost, other = call(world, 3), call(world, 4)
    world.clock.advance(DAY)
    assert undo(world, lost).expired == 30
    later = undo(world, other, expires_at=T0 + 2 * DAY)
    assert (later.refilled, later.expired, world.balance().balance) == (40, 0, 40)
    assert world.wrong() == []


def test_what_another_call_costs_less_comes_back_for_as_long_as_was_said() -> None:
    """Of a lot that has ended; the record of that call says until when."""
    world = tools(grant=0)
    world.grant(100, expires_at=T0 + HOUR)
    calls = [call(world) for _ in range(5)]
    world.clock.advance(DAY)
    later = undo(world, calls[0], expires_at=T0 + 2 * DAY)
    assert (later.amount, later.refilled, later.expired) == (10, 10, 0)
    assert [lot.expires_at for lot in world.balance().lots] == [T0 + 2 * DAY]
    assert undo(world, calls[1]).expired == 10
    said = [
        json.loads(entry.content)
        for entry in world.entries()
        if entry.key
        in (f"undone:{calls[0].seq}:{calls[4].seq}", f"undone:{calls[1].seq}:{calls[3].seq}")
    ]
    assert said == [
        {"charge": calls[4].seq, "undone": calls[0].seq, "expires_at": micros("at", T0 + 2 * DAY)},
        {"charge": calls[3].seq, "undone": calls[1].seq},
    ]
    assert world.wrong() == []


def test_undoing_is_in_the_history_as_what_came_back() -> None:
    world = tools()
    charges = [call(world) for _ in range(5)]
    undo(world, charges[0])
    rows = world.billing.history("acme").rows
    assert [(row.type, row.amount) for row in rows][:2] == [("refund", 10), ("usage", -10)]


def test_the_free_part_of_the_period_in_which_a_call_was_made_goes_back() -> None:
    world = tools()
    march = [call(world) for _ in range(4)]
    world.clock.advance(timedelta(days=40))
    call(world)
    assert undo(world, march[0]).amount == 10
    assert world.counter("tool:search", "call") == [3, 1]
    assert world.wrong() == []


def test_a_plain_reversal_keeps_what_it_said() -> None:
    """Its content is what journals have had from the start, and it moves no counter."""
    world = tools(Flat(10))
    charge = call(world, 5)
    world.reverse(charge, 20, key="r")
    entry = world.store.entry("acme", "reverse:r")
    assert entry is not None
    assert entry.content == f'{{"charge":{charge.seq},"amount":20}}'
    assert world.counter("tool:search", "call") == [5]
    assert report(world).summary.tool_executions == 5


@given(
    calls=st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=9),
    shape=st.sampled_from(
        [
            Flat(1, 3),
            Flat(7),
            FREE,
            Graduated([Tier(2, 9), Tier(5, 1, 3), Tier(None, 4)]),
            Package(10, 3),
        ]
    ),
    order=st.randoms(use_true_random=False),
)
def test_what_stays_charged_is_what_the_rest_costs(calls, shape, order) -> None:
    """As if what was undone had never been: to the nano, with the fraction that is carried."""
    world, plain = tools(shape), tools(shape)
    charges = [(world.settle(Usage.of("tool:search", {"call": n})), failed) for n, failed in calls]
    failed = [charge for charge, lost in charges if lost]
    order.shuffle(failed)
    for charge in failed:
        undo(world, charge)
    for n, lost in calls:
        if not lost:
            plain.settle(Usage.of("tool:search", {"call": n}))
    assert world.wrong() == []
    assert counted(world) == counted(plain)
    assert world.balance().used == plain.balance().used


def counted(world: World) -> tuple[int, Fraction]:
    """The quantity, and the exact cost of it."""
    for counter in world.store.counters("acme"):
        quantity, carry, of, _ = counter.components["call"]
        return quantity, world.balance().used + Fraction(carry, of)
    return 0, Fraction(0)


def test_undoing_among_others_of_a_batch() -> None:
    world = tools()
    batch = [Settle("acme", f"s{n}", usage=Usage.of("tool:search", {"call": 1})) for n in range(5)]
    first = world.billing.execute(batch)[0]
    outcomes = world.billing.execute(
        [
            Settle("acme", "more", usage=Usage.of("tool:search", {"call": 1})),
            Reverse("acme", "u", charge=first.seq, undo_usage=True),
            Settle("acme", "last", usage=Usage.of("tool:search", {"call": 1})),
        ]
    )
    assert [each.amount for each in outcomes] == [10, 10, 10]
    assert world.balance().used == 30
    assert world.wrong() == []


def test_it_is_refused_while_the_version_before_may_run(monkeypatch) -> None:
    """That one could not follow it."""
    world = tools()
    charge = call(world)
    monkeypatch.setattr(world.billing._prices, "level", 1)
    monkeypatch.setattr(type(world.store), "level", lambda store: 1)
    with pytest.raises(Conflict, match=r"billing migrate --finish"):
        undo(world, charge)
    world.deduct(nanos(5), resource="x")
    assert world.reverse(world.deduct(nanos(5), resource="x")).amount == 5
    monkeypatch.undo()
    world.billing._prices.level = 1
    assert undo(world, charge).amount == 0  # said to be finished meanwhile
    assert world.wrong() == []


def test_usage_is_undone_by_async_callers_too() -> None:
    world = tools()
    charges = [call(world) for _ in range(4)]

    async def undone():
        engine = AsyncBilling(world.store, clock=world.clock)
        return await engine.reverse("acme", "u", charge=charges[0].seq, undo_usage=True)

    assert asyncio.run(undone()).amount == 10
    assert world.wrong() == []


def test_verify_finds_undone_usage_that_was_altered() -> None:
    """Each figure of it has to be what its charge has on record."""
    world = tools()
    charges = [call(world, 2) for _ in range(3)]
    undo(world, charges[0])
    assert world.wrong() == []
    entries = world.entries()
    [marker] = [each for each in entries if each.key == f"undone:{charges[0].seq}"]
    usage = marker.usage
    line = usage.lines[0]
    for wrong in (
        usage._replace(requests=0),
        usage._replace(member=3),
        usage._replace(lines=(line._replace(quantity=-1), *usage.lines[1:])),
        usage._replace(lines=(line._replace(billed=-1), *usage.lines[1:])),
        usage._replace(lines=(line._replace(amount=-5), *usage.lines[1:])),
    ):
        audit = Auditor("acme", world.billing.catalogue())
        audit.subject = lambda number: entries[number - 1]
        for each in entries:
            audit.follow(evolve(each, usage=wrong) if each is marker else each)
        assert len(audit.found) > 1, wrong  # beside its hash


@pytest.mark.parametrize("free", [True, False])
def test_a_deduct_that_was_undone_is_not_answered_as_paid_again(free: bool) -> None:
    world = tools(FREE if free else Flat(10))
    charge = call(world, key="k")
    assert call(world, key="k") == charge
    undo(world, charge)
    with pytest.raises(HoldEnded):
        call(world, key="k")
    assert world.wrong() == []


def test_a_usage_that_is_undone_brings_no_credit_beyond_64_bits() -> None:
    world = World()
    world.grant(MAX_NANOS)
    charge = world.settle(10)
    world.grant(5)
    before = world.state()
    with pytest.raises(MoneyOverflow, match="credit"):
        undo(world, charge)
    assert world.state() == before
    world.settle(5)
    assert undo(world, charge).amount == 10
    assert world.balance().balance == MAX_NANOS
    assert world.wrong() == []
