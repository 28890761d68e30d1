"""What is told late of a run that was forgiven: it costs nothing, and undoing the forgiveness
charges what the same reports would have cost."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, MINUTE, SECOND, T0, World, nanos

from billing_core import CloseSilentRun, Flat, ImpossibleTransition, Price, sandbox

pytestmark = pytest.mark.every_store

BOX = sandbox("box", {"second": 1})


def boxes(*, grant: int = 100 * 10**9, now: datetime = T0) -> World:
    """A second costs 1,000 nanos, a suspended one 10 (or, an hour on, other prices)."""
    world = World(priced=False, now=now)
    world.publish({"sandbox:box": {"second": second(1000), "suspended_second": second(10)}})
    later = {"second": second(701), "suspended_second": second(33)}
    world.publish({"sandbox:box": later}, version="v2", effective_at=now + HOUR)
    world.grant(grant)
    return world


def second(cost: int) -> Price:
    return Price(Flat(cost, 1_000_000), unit="microsecond")


def kinds(world: World) -> list[str]:
    return [event.kind for event in world.store.events("acme")]


def test_a_forgiven_run_is_charged_nothing_for_a_suspension_told_late() -> None:
    world = boxes(grant=400_000)
    billing = world.billing
    billing.set_low_balance("acme", "low", nanos(399_999))
    billing.start_run("acme", "r1", BOX)
    world.clock.advance(MINUTE)
    billing.stop_run("acme", "r1")
    billing.forgive_run("acme", "f", "r1", reason="theirs")
    told = kinds(world)
    late = billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + 32 * SECOND)
    assert (late.state, late.charged) == ("forgiven", 0)
    assert (world.balance().balance, world.balance().used) == (400_000, 0)
    assert kinds(world) == told  # the balance was never low
    view = billing.run("acme", "r1")
    assert (view.settled, view.forgiven) == (0, 28 * 1000 + 32 * 10)
    runtime = billing.usage("acme", "all_time").summary.sandbox_runtime
    assert (runtime.forgiven.us, runtime.forgiven.amount) == (28 * 10**6, 28 * 1000 + 32 * 10)
    undone = billing.undo_forgiveness("acme", "u", "r1")
    assert undone.charged == world.balance().used == 28 * 1000 + 32 * 10
    assert world.wrong() == []


def test_a_forgiven_run_without_credit_owes_nothing_for_what_is_told_late() -> None:
    world = boxes(grant=60_000)
    world.billing.start_run("acme", "r1", BOX)
    world.clock.advance(MINUTE)
    world.billing.stop_run("acme", "r1")
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    world.deduct(nanos(60_000), resource="x")
    world.billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + 32 * SECOND)
    assert (world.balance().balance, world.balance().debt) == (0, 0)
    assert world.wrong() == []


def test_a_swept_and_forgiven_run_that_lived_longer_is_forgiven_that_too() -> None:
    world = boxes()
    billing = world.billing
    billing.start_run("acme", "r1", BOX)
    world.clock.advance(10 * MINUTE)
    billing.execute([CloseSilentRun("acme", "sweep", run="r1", since=world.clock.now)])
    billing.forgive_run("acme", "f", "r1", reason="theirs")
    beat = billing.heartbeat("acme", "r1", occurred_at=T0 + MINUTE)
    stop = billing.stop_run("acme", "r1", occurred_at=T0 + 2 * MINUTE)
    assert [(each.state, each.charged) for each in (beat, stop)] == [("forgiven", 0)] * 2
    assert world.balance().used == 0
    view = billing.run("acme", "r1")
    assert (view.forgiven, view.forgiven_us, view.swept) == (120_000, 120 * 10**6, False)
    billing.heartbeat("acme", "r1", occurred_at=T0 + 3 * MINUTE)  # its end is known now
    assert billing.undo_forgiveness("acme", "u", "r1").charged == 120_000
    assert world.wrong() == []


def test_what_is_told_late_in_another_period_of_a_forgiven_run_is_forgiven_too() -> None:
    """Nothing was charged yet in the period that it is told of."""
    end = datetime(2026, 4, 10, 12, tzinfo=T0.tzinfo)
    world = boxes()
    billing = world.billing
    world.clock.set(end - MINUTE)
    billing.start_run("acme", "r1", BOX)
    world.clock.set(end + HOUR)
    billing.execute([CloseSilentRun("acme", "sweep", run="r1", since=world.clock.now)])
    billing.forgive_run("acme", "f", "r1", reason="theirs")
    assert billing.stop_run("acme", "r1", occurred_at=end + MINUTE).charged == 0
    assert (world.balance().used, billing.run("acme", "r1").forgiven) == (0, 2 * 60 * 701)
    assert billing.undo_forgiveness("acme", "u", "r1").charged == 2 * 60 * 701
    assert world.wrong() == []


def test_a_forgiven_run_does_not_run_again() -> None:
    world = boxes()
    world.billing.start_run("acme", "r1", BOX)
    world.billing.suspend_run("acme", "r1")
    world.clock.advance(MINUTE)
    world.billing.stop_run("acme", "r1", settle=False)
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    for late in (world.billing.resume_run, world.billing.settle_run):
        with pytest.raises(ImpossibleTransition):
            late("acme", "r1")
    assert world.balance().used == 0
    assert world.wrong() == []


_TIMES = st.sampled_from([0, 1, 59, 60, 61, 1800, 3599, 3601, 5000, 90_000])
_LATE = st.lists(
    st.tuples(st.sampled_from(["heartbeat", "suspend", "stop"]), _TIMES, _TIMES), max_size=6
)


@given(before=_LATE, after=_LATE, part=st.booleans())
def test_undoing_charges_what_the_same_reports_cost_without_forgiveness(
    before: list[tuple[str, int, int]], after: list[tuple[str, int, int]], part: bool
) -> None:
    used = []
    for forgiven in (False, True):
        world = boxes()
        billing = world.billing
        billing.start_run("acme", "r1", BOX)
        world.clock.advance(3 * DAY)
        tell(world, before, "a")
        since = world.clock.now
        billing.execute([CloseSilentRun("acme", "sweep", run="r1", since=since)])
        charged = world.balance().used
        if forgiven:
            if part and charged > 7:
                billing.forgive_run("acme", "f1", "r1", reason="theirs", amount=nanos(7))
            billing.forgive_run("acme", "f2", "r1", reason="theirs")
        tell(world, after, "b")
        if forgiven:
            assert world.balance().used == 0
            billing.undo_forgiveness("acme", "u", "r1")
        assert world.wrong() == []
        used.append((world.balance().used, billing.run("acme", "r1").settled_us))
    assert used[0] == used[1]


def tell(world: World, reports: list[tuple[str, int, int]], key: str) -> None:
    for number, (what, at, more) in enumerate(reports):
        time, name = T0 + timedelta(seconds=at), f"{key}{number}"
        if what == "suspend" and more:
            until = time + timedelta(seconds=more)
            world.billing.suspend_run("acme", "r1", key=name, occurred_at=time, until=until)
        elif what == "stop":
            world.billing.stop_run("acme", "r1", key=name, occurred_at=time)
        elif what == "heartbeat":
            world.billing.heartbeat("acme", "r1", key=name, occurred_at=time)
