"""A plan's new version takes effect by itself: the alerts that come with it and whose mark is
passed already are told, once, by whatever the org decides next (rule 8.7)."""

from datetime import timedelta

import pytest
from test_plans import budgets
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, World, nanos

from billing_core import Limit, Plan, Refused
from billing_core.charging import subscriptions as subscribing
from billing_core.values.text import compact

pytestmark = pytest.mark.every_store


def on_plan(*limits: Limit) -> World:
    """Ann's and key-1's 60 are spent, and from two hours on there are these limits too."""
    world = World()
    world.grant(1000)
    world.billing.publish(Plan("v1", "pro", LONG_AGO, limits=(limit(100, 90),)))
    world.billing.set_plan("acme", "on", "pro")
    world.deduct(60, member="ann", project="key-1")
    later = Plan("v2", "pro", T0 + 2 * HOUR, limits=limits)
    world.billing.publish(later)
    return world


def limit(amount: int, *alerts: int, whose: str = "org", per: str = "day") -> Limit:
    return Limit(whose, nanos(amount), per, alerts)


def terms(world: World) -> list[str]:
    return [entry.key for entry in world.entries() if entry.op == "terms"]


def test_an_alert_that_a_plans_new_version_brings_is_told_at_the_next_decision() -> None:
    world = on_plan(limit(100, 50, 80), limit(70, 80, whose="member", per="period"))
    world.clock.advance(HOUR)
    world.settle(1)
    assert budgets(world) == []
    world.clock.advance(2 * HOUR)
    world.settle(1)
    assert budgets(world) == [("org", "day", 100, 50, 61), ("member:1", "period", 70, 80, 60)]
    assert terms(world) == ["terms:v2"]
    assert [entry.amount for entry in world.entries() if entry.op == "terms"] == [0]
    world.settle(1)
    world.clock.advance(DAY)
    world.settle(1)
    assert (len(budgets(world)), terms(world)) == (2, ["terms:v2"])
    assert world.wrong() == []


def test_it_is_told_once_by_what_is_refused_too() -> None:
    """Of each project, of which anybody may have spent."""
    world = on_plan(limit(50, 100, whose="project"))
    world.clock.advance(3 * HOUR)
    for _ in range(2):
        with pytest.raises(Refused):
            world.deduct(10**6)
    assert budgets(world) == [("project:key-1", "day", 50, 100, 60)]
    assert terms(world) == ["terms:v2"]
    assert world.wrong() == []


def test_alerts_that_were_there_before_are_not_told_again() -> None:
    world = World()
    world.grant(1000)
    world.billing.publish(Plan("v1", "pro", LONG_AGO, limits=(limit(100, 50),)))
    world.billing.publish(Plan("v2", "pro", T0 + 2 * HOUR, limits=(limit(100, 50, 55),)))
    world.billing.set_plan("acme", "on", "pro")
    world.deduct(60)
    assert budgets(world) == [("org", "day", 100, 50, 60)]
    world.clock.advance(3 * HOUR)
    world.settle(1)
    assert budgets(world)[1:] == [("org", "day", 100, 55, 60)]
    assert world.wrong() == []


def test_background_work_that_ends_something_tells_it() -> None:
    world = on_plan(limit(100, 50))
    world.hold(5, expires_in=5 * HOUR)
    world.clock.advance(6 * HOUR)
    assert world.billing.run_pending().lapsed == 1
    assert budgets(world) == [("org", "day", 100, 50, 60)]
    assert world.wrong() == []


def test_a_version_without_new_alerts_writes_nothing() -> None:
    world = on_plan(limit(40, whose="member"))
    world.clock.advance(3 * HOUR)
    world.settle(1)
    assert (budgets(world), terms(world)) == ([], [])
    assert world.wrong() == []


def test_alerts_are_looked_at_only_where_a_version_of_the_plan_took_effect(monkeypatch) -> None:
    world = on_plan(limit(100, 50))
    looked = []

    def looking(plan: Plan | None) -> set[tuple[str, str, int, int]]:
        looked.append(plan)
        return alerts_of(plan)

    alerts_of = subscribing._alerts
    monkeypatch.setattr(subscribing, "_alerts", looking)
    world.clock.advance(HOUR)
    world.settle(1)
    assert looked == []
    world.clock.advance(HOUR)
    world.settle(1)
    assert {plan.version for plan in looked} == {"v1", "v2"}
    assert terms(world) == ["terms:v2"]


def test_a_batch_across_the_moment_tells_it_between_its_commands() -> None:
    world = on_plan(limit(100, 50))
    world.clock.advance(2 * HOUR + MINUTE)
    before = world.clock.now - timedelta(minutes=2)
    world.settle(1, at=before)
    assert terms(world) == []
    world.settle(1)
    assert terms(world) == ["terms:v2"]
    assert world.wrong() == []


def test_nothing_is_told_while_the_version_before_may_run(monkeypatch) -> None:
    world = on_plan(limit(100, 50))
    monkeypatch.setattr(type(world.store), "level", lambda store: 1)
    monkeypatch.setattr(world.billing._prices, "level", 1)
    world.clock.advance(3 * HOUR)
    world.settle(1)
    assert (budgets(world), terms(world)) == ([], [])
    assert world.wrong() == []


def test_who_left_the_plan_is_told_nothing_of_it() -> None:
    world = on_plan(limit(100, 50))
    world.billing.set_plan("acme", "off", None)
    world.clock.advance(3 * HOUR)
    world.settle(1)
    assert (budgets(world), terms(world)) == ([], [])
    assert world.wrong() == []


def test_verify_finds_terms_that_are_not_the_plans(monkeypatch) -> None:
    world = on_plan(limit(100, 50))
    monkeypatch.setattr(subscribing, "compact", lambda content: compact({"plan": "v1"}))
    world.clock.advance(3 * HOUR)
    world.settle(1)
    assert any("v1 is not the plan in force" in each for each in world.wrong())
