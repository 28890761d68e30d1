"""Plans: allowances, rollover, prices of one's own, changes in mid-period, limits, quotas."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, TICK, World, nanos, units

from billing_core import (
    Billing,
    Deduct,
    Flat,
    InvalidCommand,
    Limit,
    NotFound,
    OpenAccount,
    Plan,
    Price,
    Quota,
    Refused,
    SetLimit,
    SetPlan,
    Usage,
    sandbox,
)
from billing_core.testing import SettableClock

# The org's periods begin on the 10th of each month at noon.
SECOND_PERIOD = datetime(2026, 4, 10, 12, tzinfo=UTC)
THIRD_PERIOD = datetime(2026, 5, 10, 12, tzinfo=UTC)
LEAST = 5 * MINUTE
"""The least grace: the tolerance."""


pytestmark = pytest.mark.every_store


def subscribed(plan: str = "pro", world: World | None = None, **options) -> World:
    world = world or World()
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, **options))
    world.billing.set_plan("acme", "subscribe", plan)
    return world


def kinds(world: World) -> list[str]:
    return [row.type for row in reversed(world.billing.history("acme"))]


# -- allowances -----------------------------------------------------------------


def test_an_allowance_comes_in_at_once_and_then_with_every_period() -> None:
    world = subscribed(allowance=nanos(100))
    assert world.left() == {1: 100}
    world.settle(30)
    world.clock.set(SECOND_PERIOD - TICK)
    assert world.left() == {1: 70}
    world.clock.set(SECOND_PERIOD)
    assert world.left() == {1: 70, 2: 100}, "a read counts it as granted"
    assert world.available() == 100, "what is left of the last pays for its own usage alone"
    world.clock.set(SECOND_PERIOD + LEAST)
    assert world.left() == {2: 100}, "and the old one as expired"
    world.settle(1)
    assert kinds(world) == ["allowance", "usage", "allowance", "expiry", "usage"]
    assert world.wrong() == []


def test_it_is_granted_for_every_period_begun_used_or_not() -> None:
    world = subscribed(allowance=nanos(100), rollover=nanos(250))
    world.clock.set(datetime(2026, 8, 1, tzinfo=UTC))
    world.settle(0 + 1)
    # 100 in March; then each end carries over what is left, up to 250.
    assert sum(world.left().values()) == 100 + 250 - 1
    granted = [entry.amount for entry in world.entries() if entry.key.startswith("lapse:period")]
    assert granted == [100] * 4
    assert world.balance().granted == 500
    assert world.wrong() == []


def test_a_period_of_a_plan_without_an_allowance_begins_with_nothing() -> None:
    world = World()
    world.billing.publish(Plan("p1", "pro", LONG_AGO))
    world.billing.set_plan("acme", "on", "pro")
    world.clock.advance(31 * DAY)
    world.billing.run_pending()
    begun = [each.amount for each in world.entries() if each.key.startswith("lapse:period:")]
    assert begun == [0]
    assert world.wrong() == []


def test_what_is_left_rolls_over_up_to_the_cap_and_the_rest_expires() -> None:
    world = subscribed(allowance=nanos(100), rollover=nanos(40), grace=DAY)
    world.settle(30)
    world.clock.set(SECOND_PERIOD + DAY)
    assert world.left() == {2: 100, 3: 40}
    assert [lot.expires_at for lot in world.balance().lots] == [THIRD_PERIOD + DAY] * 2
    world.settle(1)
    rolled = next(row for row in world.billing.history("acme") if row.type == "rollover")
    assert rolled.amount == -30
    assert world.wrong() == []


@pytest.mark.parametrize(("first", "more"), [(100, 0), (30, 30), (0, 50)])
def test_the_cap_is_the_period_s_where_its_allowances_end_at_two_times(
    first: int, more: int
) -> None:
    """An upgrade's part has the new plan's grace; what was there keeps its end."""
    world = subscribed(allowance=nanos(100), rollover=nanos(40))
    large = Plan("team-1", "team", LONG_AGO, allowance=nanos(150), rollover=nanos(60), grace=DAY)
    world.billing.publish(large)
    world.settle(100 - first)
    world.billing.set_plan("acme", "upgrade", "team")
    assert world.left() == {lot: left for lot, left in ((1, first), (2, 50)) if left}
    world.clock.set(SECOND_PERIOD + DAY)
    rolled = [lot.remainder for lot in world.balance().lots if lot.remainder != 150]
    assert rolled == [part for part in (min(first, 60), more) if part]
    assert sum(rolled) <= 60
    world.clock.set(THIRD_PERIOD + DAY)
    assert sorted(world.left().values()) == [60, 150], "the next period has the whole cap again"
    world.settle(1)
    assert world.wrong() == []


def test_within_its_grace_an_allowance_pays_for_its_own_period_only() -> None:
    world = subscribed(allowance=nanos(100), grace=2 * DAY)
    world.clock.set(SECOND_PERIOD + DAY)
    assert world.paid_by(world.settle(30)) == [(2, 30)]
    assert world.paid_by(world.settle(10, occurred_at=SECOND_PERIOD - HOUR)) == [(1, 10)]
    assert world.available() == 70, "an unnamed use is one of now"
    assert world.balance().balance == 160
    world.clock.set(SECOND_PERIOD + 2 * DAY)
    assert world.paid_by(world.settle(10, occurred_at=SECOND_PERIOD - HOUR)) == []
    assert world.balance().debt == 10, "the new allowance does not pay what the old period owes"
    world.grant(4)
    assert world.balance().debt == 6
    assert world.wrong() == []


def test_an_allowance_pays_for_usage_of_its_period_that_a_clock_ahead_overtook() -> None:
    """A service whose clock is ahead by the tolerance decides in the next period already; what
    was used in the last minutes of the old one is reported after that."""
    world = subscribed(allowance=nanos(100))
    world.clock.set(SECOND_PERIOD - TICK)
    world.settle(1, at=SECOND_PERIOD - TICK + LEAST, occurred_at=SECOND_PERIOD - TICK)
    assert world.paid_by(world.settle(10)) == [(1, 10)]
    world.clock.set(SECOND_PERIOD + LEAST - TICK)
    assert world.paid_by(world.settle(10, occurred_at=SECOND_PERIOD - TICK)) == [(1, 10)]
    world.clock.set(SECOND_PERIOD + LEAST)
    assert world.paid_by(world.settle(10, occurred_at=SECOND_PERIOD - TICK)) == []
    assert world.wrong() == []


def test_a_read_knows_the_same_end_of_an_allowance_as_a_write() -> None:
    world = subscribed(allowance=nanos(100))
    world.clock.set(SECOND_PERIOD)
    read = world.balance().lots
    world.settle(0 + 1)
    assert [lot.expires_at for lot in read] == [lot.expires_at for lot in world.balance().lots]
    assert [lot.expires_at for lot in read] == [SECOND_PERIOD + LEAST, THIRD_PERIOD + LEAST]


def test_a_hold_keeps_what_it_has_of_an_allowance_over_the_periods_end() -> None:
    world = subscribed(allowance=nanos(100))
    world.clock.set(SECOND_PERIOD - MINUTE)
    hold = world.hold(60, expires_in=HOUR)
    world.clock.set(SECOND_PERIOD + LEAST)
    charge = world.settle(50, hold=hold.key)
    assert world.paid_by(charge) == [(1, 50)]
    assert world.left() == {2: 100}, "what the hold did not need expires with its lot"
    assert world.wrong() == []


def test_what_a_hold_has_is_not_rolled_over() -> None:
    world = subscribed(allowance=nanos(100), rollover=nanos(1000))
    hold = world.hold(60, expires_in=90 * DAY)
    world.clock.set(SECOND_PERIOD + LEAST)
    assert world.left() == {1: 60, 2: 100, 3: 40}
    assert [lot.amount for lot in world.balance().lots] == [100, 100, 40]
    world.hold(50, expires_in=90 * DAY)
    world.clock.set(THIRD_PERIOD + LEAST)
    assert world.left() == {1: 60, 2: 50, 4: 100, 5: 90}
    world.settle(50, hold=hold.key)
    assert world.left() == {2: 50, 4: 100, 5: 90}, "what it did not need has ended"
    assert world.wrong() == []


def test_an_allowance_is_spent_before_what_was_paid_for() -> None:
    world = subscribed(allowance=nanos(10))
    world.grant(100)
    assert world.paid_by(world.settle(15)) == [(1, 10), (2, 5)]


def test_a_refill_of_the_period_never_reduces_a_balance() -> None:
    """Elsewhere a recurring refill sets the balance back to the allowance."""
    world = subscribed(allowance=nanos(10))
    world.grant(500)
    world.clock.set(SECOND_PERIOD + LEAST)
    assert world.balance().balance == 510


@pytest.mark.parametrize("first", ["settle", "hold", "grant", "check", "balance"])
def test_whoever_comes_first_finds_it_granted_once(first: str) -> None:
    world = subscribed(allowance=nanos(10))
    world.clock.set(SECOND_PERIOD + LEAST)
    match first:
        case "settle":
            world.settle(1)
        case "hold":
            world.hold(10)
        case "grant":
            world.grant(5)
        case "check":
            assert world.billing.check("acme", nanos(10)).allowed
        case _:
            assert world.balance().balance == 10
    world.settle(1)
    world.settle(1)
    granted = [entry for entry in world.entries() if entry.key.startswith("lapse:period")]
    assert len(granted) == 1
    assert world.wrong() == []


# -- changes --------------------------------------------------------------------


def two_plans() -> World:
    world = World()
    world.billing.publish(Plan("small-1", "small", LONG_AGO, allowance=nanos(10)))
    world.billing.publish(Plan("large-1", "large", LONG_AGO, allowance=nanos(50)))
    world.billing.set_plan("acme", "first", "small")
    return world


def test_an_upgrade_brings_the_difference_and_a_downgrade_takes_nothing() -> None:
    world = two_plans()
    world.settle(10)
    assert world.billing.set_plan("acme", "up", "large").amount == 40
    assert world.billing.set_plan("acme", "down", "small").amount == 0
    assert world.billing.set_plan("acme", "up again", "large").amount == 0
    assert world.balance().balance == 40
    world.clock.set(SECOND_PERIOD + LEAST)
    assert world.balance().balance == 50
    assert world.wrong() == []


def test_a_paused_plan_grants_nothing_until_it_goes_on() -> None:
    world = two_plans()
    world.billing.set_plan("acme", "pause", "small", paused=True)
    assert world.balance().balance == 10, "the period that had begun keeps its own"
    world.clock.set(THIRD_PERIOD + DAY)
    assert world.balance().balance == 0
    assert world.billing.set_plan("acme", "resume", "small").amount == 10
    assert [entry.key for entry in world.entries() if "period" in entry.key] == []
    assert world.wrong() == []


def test_an_ended_plan_leaves_what_it_granted() -> None:
    world = two_plans()
    world.billing.set_plan("acme", "end", None)
    assert world.balance().plan is None
    assert world.balance().balance == 10
    world.clock.set(SECOND_PERIOD + LEAST)
    assert world.balance().balance == 0
    assert world.billing.set_plan("acme", "again", "small").amount == 10
    assert world.wrong() == []


def test_closing_ends_the_plan() -> None:
    world = two_plans()
    world.billing.close("acme", remainder="write_off")
    world.clock.set(THIRD_PERIOD)
    world.settle(5)
    assert world.balance().balance == -5
    assert world.wrong() == []


def test_a_new_version_of_a_plan_holds_from_its_time() -> None:
    world = two_plans()
    later = SECOND_PERIOD - HOUR
    with pytest.raises(InvalidCommand, match="has a version already"):
        world.billing.publish(Plan("small-2", "small", T0, allowance=nanos(99)))
    world.billing.publish(Plan("small-2", "small", later, allowance=nanos(20)))
    world.clock.set(SECOND_PERIOD - MINUTE)
    assert world.balance().balance == 10, "the period has begun under the first"
    world.clock.set(SECOND_PERIOD)
    assert world.available() == 20


def test_a_plan_keeps_its_currency() -> None:
    world = two_plans()
    euro = Plan("small-2", "small", SECOND_PERIOD, allowance=nanos(9, "EUR"), currency="EUR")
    with pytest.raises(InvalidCommand, match="USD"):
        world.billing.publish(euro)


def test_an_unknown_plan_is_refused_and_one_just_published_is_found() -> None:
    world = two_plans()
    other = World(world.store, priced=False, opened=False)
    assert other.billing.quote("acme", units(1)).amount == 1  # its catalogue is loaded now
    with pytest.raises(NotFound):
        other.billing.set_plan("acme", "k", "nowhere")
    world.billing.publish(Plan("new-1", "new", T0, allowance=nanos(7)))
    assert other.billing.set_plan("acme", "k", "new").amount == 0
    world.billing.publish(Plan("euro", "euro", T0, allowance=nanos(7, "EUR"), currency="EUR"))
    with pytest.raises(InvalidCommand, match="USD"):
        other.billing.set_plan("acme", "k2", "euro")


# -- prices of one's own --------------------------------------------------------


def test_a_plans_prices_hold_for_its_subscribers() -> None:
    world = World()
    world.publish({"x": {"unit": Price(Flat(3))}}, version="pro-x", plan="pro")
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    assert world.settle(10).amount == 10
    world.clock.advance(MINUTE)
    world.billing.set_plan("acme", "subscribe", "pro")
    assert world.settle(10).amount == 30
    assert world.settle(10, occurred_at=T0).amount == 10, "it was used before"
    assert world.settle(units(10, "y")).amount == 10
    world.clock.advance(MINUTE)
    world.billing.set_plan("acme", "end", None)
    assert world.settle(10).amount == 10
    assert world.settle(10, occurred_at=T0 + MINUTE).amount == 30
    assert world.wrong() == []


def test_an_orgs_own_price_comes_before_its_plans() -> None:
    world = World()
    world.publish({"x": {"unit": Price(Flat(3))}}, version="pro-x", plan="pro")
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    world.billing.set_plan("acme", "subscribe", "pro")
    later = T0 + HOUR
    with pytest.raises(InvalidCommand, match="prices of everyone"):
        world.publish({"x": {"unit": Price(Flat(2))}}, version="acme-x", org="acme")
    world.publish({"x": {"unit": Price(Flat(2))}}, version="acme", org="acme", effective_at=later)
    world.publish({"x": {"unit": None}}, version="over", org="acme", effective_at=later + HOUR)
    world.clock.set(later)
    assert world.settle(10).amount == 20
    world.clock.set(later + HOUR)
    assert world.settle(10).amount == 30
    assert world.wrong() == []


def test_a_discount_is_exact_and_explained() -> None:
    world = World()
    world.publish({}, version="less", percent_off={"x": "33.3", "*": 50}, plan="pro")
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    world.billing.set_plan("acme", "subscribe", "pro")
    assert sum(world.settle(1).amount for _ in range(1000)) == 667
    charge = world.settle(units(7, "y"))
    assert charge.amount == 3
    text = str(world.billing.explain("acme", charge.seq))
    assert "less 50%" in text and "base#" in text and "*less#" in text
    own = T0 + HOUR
    world.publish({}, version="own", percent_off={"*": 0}, org="acme", effective_at=own)
    world.clock.set(own)
    assert world.settle(units(8, "y")).amount == 8, "the org's discount stands in for its plan's"
    assert world.wrong() == []


# -- limits ---------------------------------------------------------------------


def refusal(call):
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.refusal


def test_limits_bind_checks_holds_and_deducts_and_never_settlements() -> None:
    world = World()
    world.grant(1000)
    world.billing.set_limit("acme", "each", nanos(50), every="member")
    world.deduct(30, member="ann")
    no = refusal(lambda: world.deduct(21, member="ann"))
    assert (no.reason, no.limit, no.shortfall) == ("limit_reached", "member_limit", 1)
    assert no.retryable and no.retry_after == (SECOND_PERIOD - T0).total_seconds()
    assert refusal(lambda: world.hold(units(21), member="ann")).limit == "member_limit"
    assert world.billing.check("acme", units(21), member="ann").refusal.limit == "member_limit"
    assert world.billing.check("acme", units(20), member="ann").allowed
    world.hold(20, member="ann")
    assert refusal(lambda: world.hold(1, member="ann")).limit == "member_limit"
    world.settle(40, member="ann")
    world.deduct(50, member="bob")
    assert world.deduct(51).amount == 51, "nobody's limit"
    assert world.wrong() == []


def test_what_was_spent_before_a_limit_was_set_counts() -> None:
    world = World()
    world.grant(1000)
    world.deduct(30, member="ann")
    world.hold(5, member="ann")
    world.billing.set_limit("acme", "ann", nanos(50), member="ann")
    world.billing.set_limit("acme", "org", nanos(60), per="day")
    assert refusal(lambda: world.deduct(16, member="ann")).limit == "member_limit"
    assert refusal(lambda: world.deduct(26)).limit == "org_limit"
    world.deduct(15, member="ann")
    world.clock.advance(DAY)
    world.deduct(55)
    assert world.wrong() == []


def test_a_members_own_limit_comes_before_that_of_every_member() -> None:
    world = World()
    world.grant(1000)
    world.billing.set_limit("acme", "each", nanos(10), every="member")
    world.billing.set_limit("acme", "ann", nanos(90), member="ann")
    world.deduct(80, member="ann")
    world.billing.set_limit("acme", "not ann", None, member="ann")
    assert refusal(lambda: world.deduct(1, member="ann")).limit == "member_limit"


def test_reversals_and_released_holds_make_room_again() -> None:
    world = World()
    world.grant(1000)
    world.billing.set_limit("acme", "p", nanos(50), project="key-1", per="day")
    charge = world.deduct(30, project="key-1")
    hold = world.hold(20, project="key-1")
    assert refusal(lambda: world.deduct(1, project="key-1")).limit == "project_limit"
    world.reverse(charge, 10)
    world.billing.release("acme", hold.key)
    world.deduct(30, project="key-1")
    assert refusal(lambda: world.deduct(1, project="key-1")).limit == "project_limit"
    assert world.wrong() == []


def test_the_first_requests_of_a_new_member_are_bound() -> None:
    world = subscribed(allowance=nanos(1000), limits=[Limit("member", nanos(50))])
    outcomes = world.billing.execute(
        [Deduct("acme", f"d{n}", cost=units(20), member="new") for n in range(5)]
    )
    assert [type(each).__name__ for each in outcomes] == ["Charged"] * 2 + ["Refusal"] * 3
    assert world.wrong() == []


def test_a_new_members_very_first_request_is_bound() -> None:
    world = World()
    world.grant(1000)
    world.billing.set_limit("acme", "each", nanos(50), every="member")
    assert refusal(lambda: world.deduct(51, member="new")).limit == "member_limit"
    assert refusal(lambda: world.hold(51, member="new")).limit == "member_limit"
    world.deduct(50, member="new")


def test_what_a_batch_spent_before_it_set_a_limit_counts() -> None:
    world = World()
    world.grant(1000)
    world.deduct(10, member="ann")
    outcomes = world.billing.execute(
        [
            Deduct("acme", "before", cost=units(20), member="ann"),
            SetLimit("acme", "limit", amount=nanos(50), member="ann"),
            Deduct("acme", "too much", cost=units(21), member="ann"),
            Deduct("acme", "enough", cost=units(20), member="ann"),
        ]
    )
    assert [type(each).__name__ for each in outcomes][2:] == ["Refusal", "Charged"]
    assert world.wrong() == []


def test_a_time_of_record_never_goes_back() -> None:
    world = World()
    world.grant(10)
    world.clock.advance(-HOUR)
    world.settle(1)
    world.clock.advance(2 * HOUR)
    world.settle(1)
    first, *others = [entry.recorded_at for entry in world.entries()]
    assert [each - first for each in others] == [0, 0, 3_600_000_000]
    assert world.wrong() == []


def test_late_usage_counts_in_its_own_window() -> None:
    world = World()
    world.grant(1000)
    world.billing.set_limit("acme", "day", nanos(50), per="day")
    world.clock.advance(DAY)
    world.deduct(50, occurred_at=T0)
    assert refusal(lambda: world.deduct(1, occurred_at=T0)).limit == "org_limit"
    world.deduct(50)
    assert world.wrong() == []


def test_a_window_that_is_over_has_no_room_again() -> None:
    world = World()
    world.grant(1000)
    world.billing.set_limit("acme", "day", nanos(50), per="day")
    world.clock.advance(DAY)
    no = refusal(lambda: world.deduct(51, occurred_at=T0))
    assert (no.limit, no.retryable, no.retry_after) == ("org_limit", False, None)
    no = refusal(lambda: world.deduct(51))
    assert (no.limit, no.retryable, no.retry_after) == ("org_limit", True, 12 * 3600)


def test_what_had_not_counted_of_a_project_makes_no_room_when_it_is_reversed() -> None:
    world = World()
    world.grant(1000)
    before = world.deduct(30, project="key-1")
    world.clock.advance(MINUTE)
    world.billing.set_limit("acme", "p", nanos(50), project="key-1")
    world.reverse(before)
    world.deduct(50, project="key-1")
    assert refusal(lambda: world.deduct(1, project="key-1")).limit == "project_limit"
    assert world.wrong() == []


def in_one_batch(world: World) -> int:
    made = world.billing.execute(
        [
            Deduct("acme", "before", cost=units(4), project="key-1"),
            SetLimit("acme", "p", amount=nanos(5), project="key-1"),
        ]
    )
    return made[0].seq


def by_a_clock_ahead(world: World) -> int:
    ahead = Billing(world.store, clock=SettableClock(T0 + 2 * MINUTE))
    before = ahead.deduct("acme", "before", units(4), project="key-1")
    world.billing.set_limit("acme", "p", nanos(5), project="key-1")
    return before.seq


def before_the_clock_stepped_back(world: World) -> int:
    before = world.deduct(4, project="key-1")
    world.clock.advance(-HOUR)
    world.billing.set_limit("acme", "p", nanos(5), project="key-1")
    return before.seq


def dated_ahead(world: World) -> int:
    before = world.deduct(4, project="key-1", at=T0 + 2 * MINUTE)
    world.billing.set_limit("acme", "p", nanos(5), project="key-1")
    return before.seq


@pytest.mark.parametrize(
    "before", [in_one_batch, by_a_clock_ahead, before_the_clock_stepped_back, dated_ahead]
)
def test_a_charge_of_the_very_time_at_which_limits_begin_makes_no_room(before) -> None:
    """9 were deducted under a limit of 5: what stood at the time of the first limit, and had
    not counted, was taken off when it was reversed."""
    world = World()
    world.grant(1000)
    charge = before(world)
    since = world.deduct(5, project="key-1")
    world.billing.reverse("acme", "back", charge=charge)
    assert refusal(lambda: world.deduct(1, project="key-1")).limit == "project_limit"
    world.reverse(since)
    world.deduct(5, project="key-1")
    assert refusal(lambda: world.deduct(1, project="key-1")).limit == "project_limit"
    assert world.wrong() == []


def test_a_charge_right_after_its_limit_in_the_batch_counts_and_makes_room() -> None:
    world = World()
    world.grant(1000)
    made = world.billing.execute(
        [
            SetLimit("acme", "p", amount=nanos(5), project="key-1"),
            Deduct("acme", "since", cost=units(5), project="key-1"),
        ]
    )
    assert refusal(lambda: world.deduct(1, project="key-1")).limit == "project_limit"
    world.billing.reverse("acme", "back", charge=made[1].seq)
    world.deduct(5, project="key-1")
    assert world.wrong() == []


def test_a_limit_that_is_dated_back_counts_what_was_spent_before_it_was_set() -> None:
    world = World()
    world.grant(1000, at=T0)
    world.clock.advance(40 * DAY)
    world.deduct(30, at=T0, occurred_at=T0 + 40 * DAY)
    world.billing.set_limit("acme", "org", nanos(50), at=T0)
    assert refusal(lambda: world.deduct(21)).limit == "org_limit"
    world.deduct(20)
    assert world.wrong() == []


def test_what_its_items_minimum_covers_uses_no_more_of_a_quota() -> None:
    world = World()
    world.publish({"run": {"second": Price(Flat(1), minimum=10)}}, version="runs")
    world = subscribed(world=world, allowance=nanos(1000), quotas=[Quota("run", "second", 5)])
    seconds = {"second": 2}
    world.settle(Usage.of("run", seconds, item="run-1"))
    assert world.deduct(Usage.of("run", seconds, item="run-1")).amount == 0
    assert refusal(lambda: world.deduct(Usage.of("run", seconds, item="run-2"))).limit == "quota"
    assert world.wrong() == []


def test_a_quota_bounds_what_is_used() -> None:
    world = subscribed(allowance=nanos(1000), quotas=[Quota("x", "unit", 100)])
    world.deduct(60)
    hold = world.hold(units(40))
    no = refusal(lambda: world.deduct(1))
    assert (no.reason, no.limit) == ("quota_reached", "quota")
    world.billing.release("acme", hold.key)
    world.settle(70)
    assert refusal(lambda: world.deduct(1)).limit == "quota"
    world.clock.set(SECOND_PERIOD)
    world.deduct(100)
    assert world.wrong() == []


def test_a_quota_of_a_pattern_counts_nothing_of_a_resource_that_it_does_not_name() -> None:
    """Be its name of the same first letters."""
    world = World()
    others = {"model:a", "model:b", "models:a", "mode:a", "mail:a"}
    world.publish({name: {"unit": Price(Flat(1))} for name in others}, version="others")
    subscribed(world=world, allowance=nanos(1000), quotas=[Quota("model:*", "unit", 100)])
    for name in ("models:a", "mode:a", "mail:a"):
        world.deduct(units(50, name))
    for name, quantity in (("model:a", 60), ("model:b", 30)):
        world.deduct(units(quantity, name))
    assert refusal(lambda: world.deduct(units(11, "model:b"))).limit == "quota"
    assert world.deduct(units(10, "model:b")).amount == 10
    assert world.wrong() == []


def test_a_quota_of_a_pattern_bounds_an_org_that_is_opened_in_the_batch_too() -> None:
    world = World(opened=False)
    world.publish({"model:a": {"unit": Price(Flat(1))}}, version="models")
    terms = {"allowance": nanos(1000), "quotas": [Quota("model:*", "unit", 5)]}
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, **terms))
    *_, first, second = world.billing.execute(
        [
            OpenAccount("acme"),
            SetPlan("acme", "plan", plan="pro"),
            Deduct("acme", "d1", cost=units(3, "model:a")),
            Deduct("acme", "d2", cost=units(3, "model:a")),
        ]
    )
    assert (first.paid, second.limit) == (3, "quota")
    assert world.wrong() == []


# -- events ---------------------------------------------------------------------


def events(world: World) -> list[tuple[str, dict]]:
    return [(each.kind, json.loads(each.data)) for each in world.billing.events("acme")]


def test_it_is_told_that_nothing_is_left_by_what_took_the_last_nano() -> None:
    """With its place among the events of its entry."""
    world = World()
    world.grant(3)
    world.settle(2)
    assert events(world) == []
    last = world.settle(1)
    assert [(each.kind, each.seq, each.n) for each in world.store.events("acme")] == [
        ("depleted", last.seq, 1)
    ]


def test_a_low_balance_is_told_once_per_crossing() -> None:
    world = World()
    world.grant(100)
    world.billing.set_low_balance("acme", "low", nanos(40))
    world.settle(60)
    assert events(world) == []
    world.settle(1)
    world.settle(1)
    assert events(world) == [("low_balance", {"balance": 39, "threshold": 40})]
    world.grant(10)
    world.settle(48)
    assert [kind for kind, _ in events(world)] == ["low_balance", "low_balance", "depleted"]


def test_a_budget_alerts_and_refuses_nothing() -> None:
    world = World()
    world.grant(1000)
    world.billing.set_limit("acme", "b", nanos(100), alerts=(50, 100), blocks=False)
    world.deduct(49)
    world.deduct(1)
    world.deduct(60)
    found = events(world)
    assert [(kind, data["percent"], data["spent"]) for kind, data in found] == [
        ("budget", 50, 50),
        ("budget", 100, 110),
    ]


def budgets(world: World) -> list[tuple[str, str, int, int, int]]:
    """Whose alerts were told, in order."""
    return [
        tuple(data[name] for name in ("subject", "per", "limit", "percent", "spent"))
        for kind, data in events(world)
        if kind == "budget"
    ]


def test_an_alert_whose_mark_is_passed_when_its_limit_is_set_is_told_then_once() -> None:
    world = World()
    world.grant(1000)
    world.deduct(60, member="ann")
    world.billing.set_limit("acme", "org", nanos(100), alerts=(50, 80), per="day")
    assert budgets(world) == [("org", "day", 100, 50, 60)]
    world.billing.set_limit("acme", "ann", nanos(60), member="ann", alerts=(100,))
    assert budgets(world)[1:] == [("member:1", "period", 60, 100, 60)]
    world.billing.set_limit("acme", "again", nanos(100), alerts=(50, 80), per="day")
    world.settle(10)
    assert len(budgets(world)) == 2, "told once"
    world.settle(10)
    assert budgets(world)[2:] == [("org", "day", 100, 80, 80)]
    world.clock.advance(DAY)
    world.billing.set_limit("acme", "lower", nanos(90), alerts=(50, 80), per="day")
    assert len(budgets(world)) == 3, "of another day nothing is spent"
    assert world.wrong() == []


def test_an_alert_that_a_lowered_limit_passes_is_told_then() -> None:
    world = World()
    world.grant(1000)
    world.billing.set_limit("acme", "p", nanos(100), project="key-1", alerts=(80,))
    world.deduct(70, project="key-1")
    assert budgets(world) == []
    world.billing.set_limit("acme", "lower", nanos(80), project="key-1", alerts=(80,))
    assert budgets(world) == [("project:key-1", "period", 80, 80, 70)]
    world.hold(10, project="key-1")
    world.billing.set_limit("acme", "higher", nanos(99), project="key-1", alerts=(80,))
    assert len(budgets(world)) == 1, "what is held is not charged yet"
    assert world.wrong() == []


def test_alerts_for_each_are_told_of_all_who_have_passed_them() -> None:
    world = World()
    world.grant(1000)
    world.deduct(60, member="ann")
    world.deduct(40, member="bob")
    world.billing.set_limit("acme", "own", nanos(500), member="cid")
    world.deduct(90, member="cid", project="key-1")
    world.deduct(70, member="dan", project="key-2")
    world.deduct(10, project="key-3")
    world.billing.set_limit("acme", "each", nanos(100), every="member", alerts=(50,))
    assert budgets(world) == [
        ("member:1", "period", 100, 50, 60),
        ("member:4", "period", 100, 50, 70),
    ]
    world.billing.set_limit("acme", "keys", nanos(70), every="project", alerts=(100,))
    assert budgets(world)[2:] == [
        ("project:key-1", "period", 70, 100, 90),
        ("project:key-2", "period", 70, 100, 70),
    ]
    world.billing.set_limit("acme", "no own", None, member="cid")
    assert budgets(world)[4:] == [("member:3", "period", 100, 50, 90)], "as each of them"
    assert world.wrong() == []


def test_alerts_that_come_with_a_plan_are_told_then() -> None:
    world = World()
    world.grant(1000)
    world.deduct(60, member="ann")
    small = [
        Limit("org", nanos(50), "day", (100,)),
        Limit("member", nanos(100), alerts=(50, 90)),
        Limit("project", nanos(10), alerts=(50,)),
    ]
    world.billing.publish(Plan("small-1", "small", LONG_AGO, limits=small))
    world.billing.publish(Plan("large-1", "large", LONG_AGO, limits=small[1:]))
    world.billing.set_plan("acme", "begin", "small")
    assert budgets(world) == [
        ("org", "day", 50, 100, 60),
        ("member:1", "period", 100, 50, 60),
    ]
    world.billing.set_plan("acme", "change", "large")
    assert len(budgets(world)) == 2, "these were told already"
    world.billing.set_plan("acme", "end", None)
    world.settle(9, project="key-1")
    world.billing.set_plan("acme", "again", "small")
    assert budgets(world)[2:] == [
        ("org", "day", 50, 100, 69),
        ("member:1", "period", 100, 50, 60),
        ("project:key-1", "period", 10, 50, 9),
    ]
    assert world.wrong() == []


def test_what_the_same_batch_has_spent_is_told_with_its_limit() -> None:
    world = World()
    world.grant(1000)
    world.deduct(20, member="ann")
    world.billing.execute(
        [
            Deduct("acme", "d", cost=units(20), member="ann"),
            SetLimit("acme", "l", amount=nanos(50), every="member", alerts=(80,)),
        ]
    )
    assert budgets(world) == [("member:1", "period", 50, 80, 40)]


def test_a_budget_names_its_member_until_the_name_is_erased() -> None:
    """Resolved when it is read or delivered: the name is not written with the event."""
    world = World()
    world.grant(1000)
    each = Limit("member", nanos(100), alerts=(50,))
    world.billing.publish(
        Plan("pro-1", "pro", LONG_AGO, limits=[each, Limit("org", nanos(100), alerts=(50,))])
    )
    world.billing.set_plan("acme", "p", "pro")
    world.deduct(60, member="ann")
    told: list[dict] = []
    world.billing.run_pending(deliver=lambda delivery: told.append(dict(delivery.data)))
    assert [data["subject"] for data in told] == ["org", "member:1"]
    assert "member" not in told[0]
    assert told[1]["member"] == "ann"
    assert [data for _, data in events(world)] == told
    assert "ann" not in "".join(each.data for each in world.store.events("acme", 0, 100))
    world.billing.erase_member("acme", "ann")
    assert events(world)[1][1] == told[1] | {"member": None}


def test_who_looks_at_a_charge_a_run_or_an_event_reads_no_other_member_s_name(monkeypatch) -> None:
    """An org of thousands of members has no more read to show one of them."""
    world = World()
    world.grant(10_000)
    cost = Price(Flat(1, 1_000_000), unit="microsecond")
    world.publish({"sandbox:box": {"second": cost}}, version="boxes")
    each = Limit("member", nanos(1_000), alerts=(50,))
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, limits=[each]))
    world.billing.set_plan("acme", "p", "pro")
    for number in range(20):
        world.deduct(1, member=f"m{number}")
    charge = world.deduct(600, member="ann").seq
    world.billing.start_run("acme", "r1", sandbox("box", {"second": 1}), member="bob")
    nobody = world.deduct(1).seq
    read, members = [], world.store.members

    def counted(*given):
        found = members(*given)
        read.extend(found.values())
        return found

    monkeypatch.setattr(world.store, "members", counted)

    def names(act):
        read.clear()
        return act(), list(read)

    billing = world.billing
    told, seen = names(lambda: billing.explain("acme", charge).member)
    assert (told, seen) == ("ann", ["ann"])
    told, seen = names(lambda: billing.explain("acme", nobody).member)
    assert (told, seen) == (None, [])
    told, seen = names(lambda: billing.run("acme", "r1").member)
    assert (told, seen) == ("bob", ["bob"])
    told, seen = names(lambda: [run.member for run in billing.runs("acme")])
    assert (told, seen) == (["bob"], ["bob"])
    told, seen = names(lambda: [data["member"] for _, data in events(world)])
    assert (told, seen) == (["ann"], ["ann"])
    world.clock.advance(40 * DAY)
    world.deduct(1, member="ann")
    told, seen = names(lambda: list(billing.usage("acme").members))
    assert (told, seen) == (["ann"], ["ann", "bob"]), "whose usage and whose runs are shown"
    told, seen = names(lambda: list(billing.usage("acme", "all_time").members))
    assert len(told) == len(seen) == 22, "nobody's usage has no name, bob none"


def test_grace_is_shorter_than_a_period() -> None:
    with pytest.raises(InvalidCommand, match="27 days"):
        Plan("v", "p", T0, grace=timedelta(days=28))
