"""What is given back of a run of several days is taken from the days that counted it, and from
none more than it counted (rule 8.7)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_runs_forgiven import second
from world import DAY, HOUR, MINUTE, SECOND, World, nanos

from billing_core import (
    CloseSilentRun,
    Conflict,
    Graduated,
    ImpossibleTransition,
    Price,
    Refused,
    Tier,
    sandbox,
)
from billing_core.charging import time_charges as spans
from billing_core.records.runs import Run
from billing_core.testing import MemoryStore

pytestmark = pytest.mark.every_store

BOX = sandbox("box", {"second": 1})
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def boxes(price: Price | None = None, **options: object) -> World:
    """A second costs 1,000 nanos."""
    world = World(priced=False, now=NOON, **options)
    world.publish({"sandbox:box": {"second": second(1000) if price is None else price}})
    world.grant(10**12)
    return world


def ran(world: World, *days: int) -> None:
    """It runs for so many seconds of each day, the last of each, and of the next the first."""
    world.billing.start_run("acme", "r1", BOX, project="p", member="bo")
    for number, seconds in enumerate(days):
        world.clock.set(NOON + number * DAY + timedelta(seconds=seconds))
        world.billing.suspend_run("acme", "r1", key=f"off{number}")
        world.clock.set(NOON + (number + 1) * DAY)
        world.billing.resume_run("acme", "r1", key=f"on{number}")
    world.billing.stop_run("acme", "r1")


def spent(world: World, subject: str = "org", grain: str = "day") -> list[int]:
    """What each window counts, in order."""
    found = [
        each
        for each in world.store.spends("acme")
        if (each.subject, each.grain) == (subject, grain)
    ]
    return [each.amount for each in sorted(found, key=lambda each: each.start)]


def test_a_forgiven_run_of_three_days_makes_room_in_each_for_what_it_cost() -> None:
    world = boxes()
    world.billing.set_limit("acme", "l", nanos(50_000), per="day")
    ran(world, 10, 20, 30)
    assert spent(world) == [10_000, 20_000, 30_000]
    world.clock.set(NOON + 2 * DAY + HOUR)
    world.billing.forgive_run("acme", "part", "r1", reason="theirs", amount=nanos(35_000))
    for subject in ("org", "member:1", "project:p"):
        assert spent(world, subject) == [10_000, 15_000, 0]
        assert spent(world, subject, "period") == [25_000]
    world.billing.forgive_run("acme", "all", "r1", reason="theirs")
    assert spent(world) == [0, 0, 0]
    assert world.billing.check("acme", nanos(50_000)).allowed
    assert not world.billing.check("acme", nanos(50_001)).allowed
    assert world.billing.undo_forgiveness("acme", "u", "r1").charged == 60_000
    for subject in ("org", "member:1", "project:p"):
        assert spent(world, subject) == [10_000, 20_000, 30_000]
    assert world.wrong() == []


def test_forgiven_time_is_reported_in_the_days_in_which_it_ran() -> None:
    world = boxes()
    ran(world, 10, 20)
    world.billing.forgive_run("acme", "f", "r1", reason="theirs", amount=nanos(25_000))
    cells = world.store.cells("acme", "day", 0, 2**60)
    days = [cells[key] for key in sorted(cells) if "running" in cells[key].components]
    assert [
        (day.amount, day.components["running"][0], day.components["forgiven"]) for day in days
    ] == [(5000, 10 * 10**6, [5 * 10**6, -5000]), (0, 20 * 10**6, [20 * 10**6, -20_000])]
    assert world.wrong() == []


def test_a_correction_of_a_day_that_was_forgiven_is_taken_from_the_others() -> None:
    """What is still charged for the run is what comes back, and its day counts nothing of it."""
    world = boxes()
    world.billing.set_limit("acme", "l", nanos(10**9), per="day")
    ran(world, 10, 10)
    world.billing.forgive_run("acme", "f", "r1", reason="theirs", amount=nanos(10_000))
    assert spent(world) == [10_000, 0]
    begin = NOON + DAY
    late = world.billing.suspend_run(
        "acme", "r1", key="late", occurred_at=begin, until=begin + timedelta(seconds=4)
    )
    assert late.charged == -4000
    lines = [entry.usage.lines for entry in world.entries() if entry.op == "back"][-2:]
    assert [[(*line[:3], line.amount) for line in each] for each in lines] == [
        [("forgiven", 0, 0, -4000)],
        [
            ("second", -4_000_000, -4_000_000, -4000),
            ("running", -4_000_000, 0, 0),
            ("forgiven", 0, 0, 4000),
        ],
    ]
    for subject in ("org", "member:1", "project:p"):
        assert spent(world, subject) == [6000, 0]
    view = world.billing.run("acme", "r1")
    assert (view.settled, view.forgiven, view.settled_us, view.forgiven_us) == (
        6000, 10_000, 6 * 10**6, 10 * 10**6,
    )  # fmt: skip
    assert world.billing.undo_forgiveness("acme", "u", "r1").charged == 10_000
    assert spent(world) == [10_000, 6000]
    assert world.wrong() == []


def test_a_correction_that_is_dearer_than_its_day_was_is_taken_from_the_others() -> None:
    """The later seconds are the dear ones: without those of the first day there are none."""
    tiers = Graduated((Tier(10 * 10**6, 1000, 10**6), Tier(None, 3000, 10**6)))
    world = boxes(Price(tiers, unit="microsecond"))
    world.billing.set_limit("acme", "l", nanos(10**9), per="day")
    ran(world, 10, 10)
    assert spent(world) == [10_000, 30_000]
    late = world.billing.suspend_run(
        "acme", "r1", key="late", occurred_at=NOON, until=NOON + timedelta(seconds=8)
    )
    assert late.charged == -24_000
    assert spent(world) == [0, 16_000]
    assert world.balance().used == 16_000
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    assert spent(world) == [0, 0]
    assert world.billing.undo_forgiveness("acme", "u", "r1").charged == 16_000
    assert spent(world) == [0, 16_000]
    used = [each.usage for each in world.entries() if each.usage is not None]
    back = [line for each in used for line in each.lines if line.component == "reversed"]
    assert {(line.quantity, line.billed) for line in back} == {(0, 0)}, "money, and no usage"
    assert world.wrong() == []


def test_days_after_the_first_limit_count_of_a_run_that_began_before_it() -> None:
    """A project counts from its first limit on: of the run's first day it counted nothing."""
    world = boxes()
    world.billing.start_run("acme", "r1", BOX, project="p")
    world.clock.advance(10 * timedelta(seconds=1))
    world.billing.heartbeat("acme", "r1")
    world.billing.suspend_run("acme", "r1")
    world.billing.set_limit("acme", "l", nanos(20_000), project="p")
    world.clock.set(NOON + DAY)
    world.billing.resume_run("acme", "r1")
    world.clock.advance(20 * timedelta(seconds=1))
    world.billing.stop_run("acme", "r1")
    assert spent(world, "project:p", "period") == [20_000]
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    assert (spent(world, "project:p", "period"), spent(world, "project:p")) == ([0], [0])
    assert world.billing.check("acme", nanos(20_000), project="p").allowed
    assert not world.billing.check("acme", nanos(20_001), project="p").allowed
    world.billing.undo_forgiveness("acme", "u", "r1")
    assert spent(world, "project:p") == [20_000]
    assert world.wrong() == []


def test_of_the_two_latest_periods_alone_the_days_are_kept() -> None:
    """So what is kept of a run that never ends stays small."""
    world = boxes()
    world.billing.start_run("acme", "r1", BOX)
    for number in range(4):
        world.clock.set(NOON + (31 * number + 5) * DAY)
        world.billing.heartbeat("acme", "r1", key=f"b{number}")
    [run] = world.store.runs("acme")
    assert [None if tab.days is None else len(tab.days) for tab in run.tabs] == [None, None, 2, 1]
    charged = world.balance().used
    world.billing.stop_run("acme", "r1")
    assert world.billing.forgive_run("acme", "f", "r1", reason="x").charged == -charged
    assert world.billing.undo_forgiveness("acme", "u", "r1").charged == charged
    assert world.wrong() == []


def test_a_run_of_before_gives_back_as_it_did(monkeypatch) -> None:
    """While the version before may run, and of what was charged then: in one, on the last day."""
    world = boxes()
    monkeypatch.setattr(type(world.store), "level", lambda store: 1)
    monkeypatch.setattr(world.billing._prices, "level", 1)
    ran(world, 10, 20)
    [run] = world.store.runs("acme")
    assert "days" not in run.to_json()
    assert Run.from_json(run.to_json()) == run
    monkeypatch.undo()
    world.billing.set_limit("acme", "l", nanos(20_000), project="p")
    world.deduct(nanos(20_000), resource="x", project="p")
    world.billing.forgive_run("acme", "f", "r1", reason="theirs", amount=nanos(25_000))
    [entry] = [each for each in world.entries() if each.op == "back"]
    assert (entry.amount, entry.usage.occurred_at) == (25_000, run.tabs[0].last)
    assert not world.billing.check("acme", nanos(1), project="p").allowed
    assert world.wrong() == []


def test_what_a_run_of_before_gives_back_makes_room_in_its_projects_limit(monkeypatch) -> None:
    """Or the project would be refused for what it was not charged."""
    world = boxes()
    monkeypatch.setattr(type(world.store), "level", lambda store: 1)
    monkeypatch.setattr(world.billing._prices, "level", 1)
    world.billing.set_limit("acme", "l", nanos(10**6), project="p")
    ran(world, 10, 20)
    charged = world.balance().used
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    assert world.billing.check("acme", nanos(10**6), project="p").allowed
    world.billing.undo_forgiveness("acme", "u", "r1")
    assert world.billing.check("acme", nanos(10**6 - charged), project="p").allowed
    assert not world.billing.check("acme", nanos(10**6 - charged + 1), project="p").allowed
    assert world.wrong() == []


def test_verify_finds_a_day_that_gives_back_more_than_it_counted(monkeypatch) -> None:
    world = boxes()
    ran(world, 10, 20)
    monkeypatch.setattr(spans, "_parts", lambda tab: [(tab.last, None)])
    world.billing.forgive_run("acme", "g", "r1", reason="theirs", amount=nanos(25_000))
    assert any("of 20000 nanos of the day" in each for each in world.wrong())


def test_verify_finds_a_run_that_makes_its_project_room_that_it_had_not_used(monkeypatch) -> None:
    world = boxes()
    ran(world, 10)
    world.billing.set_limit("acme", "l", nanos(20_000), project="p")
    monkeypatch.setattr(spans, "_counted", lambda *_: True)
    world.billing.forgive_run("acme", "f", "r1", reason="theirs")
    assert any("counts for its project: False is right" in each for each in world.wrong())


_AT = st.integers(0, 4 * 24 * 3600)
_STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["limit", "forgive", "undo", "stop", "sweep"]), st.just(0), st.just(0)
        ),
        st.tuples(st.just("part"), st.integers(1, 400_000), st.just(0)),
        st.tuples(st.just("beat"), _AT, st.just(0)),
        st.tuples(st.just("suspend"), _AT, st.integers(1, 2 * 24 * 3600)),
        st.tuples(st.just("go on"), st.integers(1, 36), st.just(0)),
    ),
    max_size=14,
)
_TIERS = Graduated(
    (Tier(10_800 * 10**6, 1, 10**6), Tier(36_000 * 10**6, 7, 10**6), Tier(None, 3, 10**6))
)


class Before(MemoryStore):
    """One that the version before may still write to."""

    def level(self) -> int:
        return 1


@given(steps=_STEPS, tiers=st.booleans())
def test_no_window_goes_below_what_it_counted_and_the_money_is_the_same(
    steps: list[tuple[str, int, int]], tiers: bool
) -> None:
    """As it is where days are not known."""
    used = []
    for store in (MemoryStore(), Before()):
        price = Price(_TIERS, unit="microsecond") if tiers else None
        world = boxes(price, store=store)
        world.billing.start_run("acme", "r1", BOX, project="p", member="bo")
        for number, step in enumerate(steps):
            try:
                do(world, f"s{number}", *step)
            except (Conflict, Refused, ImpossibleTransition):
                continue
            if store.level() == 2:
                assert min((each.amount for each in world.store.spends("acme")), default=0) >= 0
        assert world.wrong() == []
        view = world.billing.run("acme", "r1")
        used.append((world.balance().used, view.settled, view.forgiven, view.settled_us))
    assert used[0] == used[1]


def do(world: World, key: str, what: str, at: int, more: int) -> None:
    billing, time = world.billing, min(NOON + timedelta(seconds=at), world.clock.now)
    if what == "limit":
        billing.set_limit("acme", key, nanos(10**12), project="p")
    elif what == "forgive":
        billing.forgive_run("acme", key, "r1", reason="x")
    elif what == "part":
        billing.forgive_run("acme", key, "r1", reason="x", amount=nanos(at))
    elif what == "undo":
        billing.undo_forgiveness("acme", key, "r1")
    elif what == "stop":
        billing.stop_run("acme", "r1", key=key)
    elif what == "sweep":
        billing.execute([CloseSilentRun("acme", key, run="r1", since=world.clock.now + MINUTE)])
    elif what == "beat":
        billing.heartbeat("acme", "r1", key=key, occurred_at=time)
    elif what == "suspend":
        until = min(time + timedelta(seconds=more), world.clock.now)
        if until > time:
            billing.suspend_run("acme", "r1", key=key, occurred_at=time, until=until)
    else:
        world.clock.advance(at * HOUR)
        billing.heartbeat("acme", "r1", key=key)


def test_a_correction_takes_of_another_day_no_more_than_what_is_not_forgiven_there() -> None:
    tiers = (Tier(10**7, 100, 10**6), Tier(2 * 10**7, 1000, 10**6), Tier(None, 10_000, 10**6))
    world = boxes(Price(Graduated(tiers), unit="microsecond"))
    world.billing.set_limit("acme", "l", nanos(10**9), per="day")
    ran(world, 10, 10, 10)
    assert spent(world) == [1_000, 10_000, 100_000]
    world.billing.forgive_run("acme", "f", "r1", reason="slow", amount=nanos(93_000))
    assert spent(world) == [1_000, 10_000, 7_000]
    late = world.billing.suspend_run("acme", "r1", occurred_at=NOON, until=NOON + SECOND)
    assert late.charged == -10_000, "the last second's price"
    assert spent(world) == [0, 8_000, 0]
    assert world.wrong() == []
