"""Sandbox runs: quoted, held, settled by heartbeats, stopped, swept, forgiven."""

import json
import os
from datetime import timedelta
from fractions import Fraction
from math import floor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, LONG_AGO, MINUTE, SECOND, T0, World, nanos

from billing_core import (
    CloseSilentRun,
    Conflict,
    Flat,
    Graduated,
    HoldEnded,
    ImpossibleTransition,
    Limit,
    NotFound,
    Plan,
    Price,
    Quota,
    Refused,
    Tier,
    UnknownPrice,
    sandbox,
)
from billing_core.records.runs import Run
from billing_core.runs import handlers
from billing_core.runs.funding import fund
from billing_core.runs.states import TRANSITIONS, diagram
from billing_core.values.times import micros

pytestmark = pytest.mark.every_store

BOX = sandbox("box", {"second": 1})
US = timedelta(microseconds=1)


def boxes(nanos_a_second: int = 1000, *, grant: int = 10**9, store=None, **price) -> World:
    """A second of ``sandbox:box`` costs so many nanos; prices are known nine minutes ahead."""
    world = World(store, priced=False)
    cost = Price(Flat(nanos_a_second, 1_000_000), unit="microsecond", **price)
    world.publish({"sandbox:box": {"second": cost}})
    if grant:
        world.grant(grant)
    return world


def start(world: World, key: str = "r1", spec=BOX, **options):
    return world.billing.start_run("acme", key, spec, **options)


def beat(world: World, run: str = "r1", **options):
    return world.billing.heartbeat("acme", run, **options)


def stop(world: World, run: str = "r1", **options):
    return world.billing.stop_run("acme", run, **options)


def spent(world: World) -> int:
    return world.balance().used


def events(world: World) -> list[str]:
    return [each.kind for each in world.billing.events("acme")]


# -- a run from start to end ------------------------------------------------------


def test_a_run_is_held_ahead_and_charged_what_it_ran() -> None:
    world = boxes()
    started = start(world)
    assert started.funded_until == T0 + 5 * MINUTE
    assert started.bound_by == "asked"
    assert world.balance().held == 300 * 1000
    world.clock.advance(MINUTE)
    after = beat(world)
    assert after.charged == 60 * 1000
    assert after.funded_until == T0 + 6 * MINUTE
    assert world.balance().held == 300 * 1000
    world.clock.advance(30 * SECOND)
    assert stop(world).charged == 30 * 1000
    assert world.balance().held == 0
    assert spent(world) == 90 * 1000
    view = world.billing.run("acme", "r1")
    assert (view.state, view.settled_us, view.settled) == ("settled", 90 * 10**6, 90_000)
    assert (view.unposted_us, view.unposted) == (0, 0)
    assert world.wrong() == []


def test_a_start_without_credit_is_refused_and_leaves_nothing() -> None:
    world = boxes(grant=0)
    before = world.state()
    with pytest.raises(Refused) as caught:
        start(world, min_runtime=10 * SECOND)
    assert caught.value.refusal.reason == "insufficient_credit"
    assert caught.value.refusal.shortfall == 10 * 1000
    assert world.state() == before


def test_a_start_of_what_has_no_price_is_invalid() -> None:
    with pytest.raises(UnknownPrice, match="vcpu"):
        start(boxes(), spec=sandbox("box", {"vcpu": 2}))


def test_a_start_again_is_the_first_one() -> None:
    world = boxes()
    first = start(world)
    world.clock.advance(MINUTE)
    assert start(world) == first
    assert len(world.billing.runs("acme")) == 1


def test_each_component_can_have_its_own_payer() -> None:
    world = World(priced=False)
    part = Price(Flat(1, 1_000_000), unit="vCPU-microsecond")
    world.publish({"sandbox:box": {"vcpu": part, "gpu": part}})
    world.grant(10**9)
    start(world, spec=sandbox("box", {"vcpu": 2, "gpu": 8}, payer={"gpu": "customer"}))
    world.clock.advance(MINUTE)
    assert stop(world).charged == 2 * 60
    rows = {row.payer: row for row in world.billing.usage("acme").rows}
    assert rows["customer"].components["gpu"] == (8 * 60 * 10**6, 0)
    assert rows["platform"].components["vcpu"] == (2 * 60 * 10**6, 120)
    assert world.wrong() == []


# -- what arrives late, twice, or in another order ---------------------------------


def test_settled_after_its_hold_was_used_up_it_is_billed_in_full_and_owed() -> None:
    world = boxes(grant=100 * 1000)
    started = start(world)
    assert started.funded_until == T0 + 100 * SECOND
    assert started.bound_by == "balance"
    world.clock.advance(HOUR)
    assert stop(world).charged == 3600 * 1000
    assert world.balance().debt == 3500 * 1000
    assert world.wrong() == []


def test_of_a_hold_whose_lot_expired_it_is_billed_in_full() -> None:
    world = boxes(grant=0)
    world.grant(10**9, expires_at=T0 + 2 * MINUTE)
    started = start(world)
    assert started.funded_until == T0 + 2 * MINUTE
    assert started.bound_by == "lot_expiry"
    world.clock.advance(2 * MINUTE)
    assert stop(world).charged == 120 * 1000
    assert world.balance().debt == 0, "what is reserved serves its hold"
    assert world.wrong() == []


def test_above_hold_and_balance_it_is_billed_in_full() -> None:
    world = boxes(grant=60 * 1000)
    start(world)
    world.clock.advance(2 * MINUTE)
    after = beat(world)
    assert after.charged == 120 * 1000
    assert after.funded_until == T0 + MINUTE, "no time is funded that was not"
    assert world.balance().balance == -60 * 1000
    world.grant(10**6)
    assert world.balance().debt == 0
    assert world.wrong() == []


def test_suspended_time_is_not_billed_unless_a_price_says_so() -> None:
    world = boxes()
    start(world)
    world.clock.advance(MINUTE)
    world.billing.suspend_run("acme", "r1")
    world.clock.advance(HOUR)
    assert beat(world).charged == 0
    assert world.billing.resume_run("acme", "r1").funded_until == world.clock.now + 5 * MINUTE
    world.clock.advance(MINUTE)
    stop(world)
    assert spent(world) == 120 * 1000
    assert world.wrong() == []


def test_suspended_time_is_billed_where_a_price_says_so() -> None:
    world = World(priced=False)
    prices = {
        "second": Price(Flat(1000, 1_000_000), unit="microsecond"),
        "suspended_second": Price(Flat(10, 1_000_000), unit="microsecond"),
    }
    world.publish({"sandbox:box": prices})
    world.grant(10**9)
    start(world)
    world.clock.advance(MINUTE)
    world.billing.suspend_run("acme", "r1")
    world.clock.advance(MINUTE)
    stop(world)
    assert spent(world) == 60 * 1000 + 60 * 10
    assert world.wrong() == []


def test_suspended_time_that_costs_shows_before_it_is_charged() -> None:
    world = World(priced=False)
    prices = {
        "second": Price(Flat(1000, 1_000_000), unit="microsecond"),
        "suspended_second": Price(Flat(10, 1_000_000), unit="microsecond"),
    }
    world.publish({"sandbox:box": prices})
    world.grant(10**9)
    start(world)
    world.billing.suspend_run("acme", "r1")
    world.clock.advance(MINUTE)
    view = world.billing.run("acme", "r1")
    assert (view.unposted_us, view.unposted, view.settled) == (0, 60 * 10, 0)
    assert beat(world).charged == 60 * 10


def test_a_suspension_told_late_gives_back_what_was_settled() -> None:
    world = boxes()
    start(world)
    world.clock.advance(10 * MINUTE)
    beat(world)
    told = world.billing.suspend_run(
        "acme", "r1", occurred_at=T0 + 2 * MINUTE, until=T0 + 5 * MINUTE
    )
    assert (told.state, told.charged) == ("active", -180 * 1000)
    again = world.billing.suspend_run(
        "acme", "r1", occurred_at=T0 + 3 * MINUTE, until=T0 + 6 * MINUTE
    )
    assert again.charged == -60 * 1000, "no microsecond twice"
    assert world.counter("sandbox:box", "second") == [6 * 60 * 10**6]
    world.clock.advance(MINUTE)
    stop(world)
    late = world.billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + MINUTE)
    assert (late.state, late.charged) == ("settled", -60 * 1000)
    assert spent(world) == 6 * 60 * 1000
    assert world.wrong() == []


def test_a_run_that_is_never_closed_is_swept_at_its_last_sign_of_life() -> None:
    world = boxes()
    start(world)
    world.clock.advance(MINUTE)
    beat(world)
    world.clock.advance(30 * DAY)
    [swept] = world.billing.sweep_runs(idle_for=15 * MINUTE)
    assert (swept.state, swept.settled_to) == ("settled", T0 + MINUTE)
    assert spent(world) == 60 * 1000
    assert world.balance().held == 0
    assert world.billing.sweep_runs() == []
    assert events(world) == ["run_unfunded", "run_swept"], "its deadline had passed"
    assert world.wrong() == []


def test_of_a_run_swept_closed_the_real_usage_that_arrives_later_is_billed() -> None:
    world = boxes()
    start(world)
    world.clock.advance(HOUR)
    [swept] = world.billing.sweep_runs(idle_for=15 * MINUTE)
    assert swept.charged == 0
    assert beat(world, occurred_at=T0 + 10 * MINUTE).charged == 600 * 1000
    assert stop(world, occurred_at=T0 + 20 * MINUTE).charged == 600 * 1000
    assert stop(world, key="again", occurred_at=T0 + 30 * MINUTE).charged == 0
    summary = world.billing.usage("acme").summary.sandbox_runtime
    assert (summary.settled.runs, summary.settled.seconds) == (1, 1200)
    assert world.wrong() == []


def test_a_sweep_is_refused_where_there_was_a_sign_of_life() -> None:
    """Between the look for silent runs and the sweep, there was one."""
    world = boxes()
    start(world)
    sweep = CloseSilentRun("acme", "k", run="r1", since=T0)
    world.clock.advance(MINUTE)
    [refusal] = world.billing.execute([sweep])
    assert refusal.reason == "not_silent"
    assert world.billing.run("acme", "r1").state == "active"


def test_a_run_swept_while_suspended_stays_so_whatever_comes_later() -> None:
    world = boxes()
    start(world)
    world.clock.advance(MINUTE)
    world.billing.suspend_run("acme", "r1")
    world.clock.advance(HOUR)
    world.billing.sweep_runs()
    assert beat(world, occurred_at=T0 + 30 * MINUTE).charged == 0
    assert stop(world, occurred_at=T0 + 40 * MINUTE).charged == 0
    assert spent(world) == 60 * 1000
    assert world.wrong() == []


def test_a_sweep_leaves_alone_what_gave_a_sign_of_life_meanwhile() -> None:
    world = boxes()
    start(world)
    world.clock.advance(HOUR)
    beat(world)
    assert world.billing.sweep_runs() == []
    assert world.billing.run("acme", "r1").state == "active"


def test_a_stop_delivered_twice_ends_it_once() -> None:
    world = boxes()
    start(world)
    world.clock.advance(MINUTE)
    first = stop(world)
    world.clock.advance(MINUTE)
    assert stop(world) == first
    other = stop(world, key="second delivery", occurred_at=T0 + 2 * MINUTE)
    assert (other.charged, other.settled_to) == (0, T0 + MINUTE)
    assert spent(world) == 60 * 1000
    assert world.wrong() == []


def test_a_stop_before_a_late_heartbeat_settles_all_of_it() -> None:
    world = boxes()
    start(world)
    world.clock.advance(2 * MINUTE)
    stop(world)
    assert beat(world, occurred_at=T0 + MINUTE).charged == 0
    assert beat(world, occurred_at=T0 + 3 * MINUTE).charged == 0, "it had ended"
    assert spent(world) == 120 * 1000
    assert world.wrong() == []


def test_clocks_of_two_services_minutes_apart_bill_no_second_twice() -> None:
    world = boxes()
    start(world)
    world.clock.advance(3 * MINUTE)
    beat(world, occurred_at=world.clock.now + 4 * MINUTE)  # a clock that is ahead
    assert beat(world).charged == 0, "that time is settled already"
    world.clock.advance(MINUTE)
    assert beat(world, occurred_at=T0 + MINUTE).charged == 0  # one that is behind
    assert spent(world) == 7 * 60 * 1000
    stop(world)
    assert spent(world) == 4 * 60 * 1000, "the stop knows the end"
    assert world.wrong() == []


# -- deadlines ----------------------------------------------------------------------


def swept(world: World) -> list[dict]:
    events = world.billing.events("acme")
    return [json.loads(each.data) for each in events if each.kind == "run_swept"]


def test_closing_an_account_ends_its_runs_and_tells_it() -> None:
    """Nobody was told, and they went on without a hold."""
    world = boxes()
    for run in ("active", "suspended", "stopped", "pending"):
        start(world, run, member="ann", project="p")
    world.clock.advance(30 * SECOND)
    beat(world, "active")
    world.billing.suspend_run("acme", "suspended")
    stop(world, "stopped")
    stop(world, "pending", settle=False)
    world.clock.advance(10 * SECOND)
    closed = world.billing.close("acme", remainder="refund")
    assert closed.amount == 10**9 - 4 * 30_000
    seen = micros("seen", T0 + 30 * SECOND)
    assert swept(world) == [
        {"run": "active", "seen_at": seen, "why": "closed"},
        {"run": "suspended", "seen_at": seen, "why": "closed"},
    ]
    views = {view.run: view for view in world.billing.runs("acme", unsettled=False)}
    assert {view.state for view in views.values()} == {"settled"}
    assert {view.settled_us for view in views.values()} == {30_000_000}
    assert not [hold for hold in world.store.holds("acme") if hold.state == "open"]
    assert world.billing.close("acme", remainder="refund").replayed
    # It was stopped only now: measured time is charged all the same.
    assert stop(world, "active").charged == 10_000
    assert world.balance().debt == 10_000
    assert world.wrong() == []


def test_an_account_is_closed_by_a_clock_behind_its_runs() -> None:
    world = boxes()
    start(world)
    beat(world, occurred_at=T0 + 4 * MINUTE)
    world.clock.advance(-HOUR)
    world.billing.close("acme", remainder="write_off")
    assert [each["why"] for each in swept(world)] == ["closed"]
    assert world.balance().debt == 0
    assert world.wrong() == []


def test_two_runs_never_promise_more_than_the_credit() -> None:
    world = boxes(grant=400 * 1000)
    assert start(world, "r1").funded_until == T0 + 300 * SECOND
    second = start(world, "r2")
    assert (second.funded_until, second.bound_by) == (T0 + 100 * SECOND, "balance")
    with pytest.raises(Refused):
        start(world, "r3")
    assert events(world) == ["run_unfunded"]


def test_a_start_is_refused_by_the_limit_of_a_day_that_it_reaches_later() -> None:
    world = boxes()
    world.billing.set_limit("acme", "daily", nanos(100 * 1000), per="day")
    midnight = T0 + 12 * HOUR
    world.clock.set(midnight + MINUTE)
    world.deduct(nanos(40 * 1000), resource="x")
    world.clock.set(midnight - 3 * MINUTE)
    assert start(world, min_runtime=MINUTE).bound_by == "org_limit"
    stop(world)
    world.clock.set(midnight + MINUTE)
    world.deduct(nanos(60 * 1000), resource="x")
    world.clock.set(midnight - 3 * MINUTE)
    with pytest.raises(Refused) as refused:
        start(world, "r2", min_runtime=MINUTE)
    refusal = refused.value.refusal
    assert (refusal.reason, refusal.limit) == ("limit_reached", "org_limit")
    assert refusal.shortfall == 60 * 1000


def test_a_start_that_a_limit_of_the_next_day_refuses_lacks_what_that_day_has_not_left() -> None:
    world = boxes()
    world.billing.set_limit("acme", "daily", nanos(100_000), per="day")
    midnight = T0 + 12 * HOUR
    world.clock.set(midnight + MINUTE)
    world.deduct(nanos(98_000), resource="x")
    world.clock.set(midnight - 3 * MINUTE)
    with pytest.raises(Refused) as refused:
        start(world, min_runtime=MINUTE)
    refusal = refused.value.refusal
    assert (refusal.limit, refusal.shortfall) == ("org_limit", 60_000 - 2000)


def test_a_start_beyond_the_next_day_s_limit_and_beyond_its_credit_is_told_the_limit() -> None:
    world = boxes(grant=20_000)
    midnight = T0 + 12 * HOUR
    world.clock.set(midnight - 5 * SECOND)
    world.billing.set_limit("acme", "daily", nanos(15_000), per="day")
    world.deduct(nanos(15_000), resource="x", occurred_at=midnight + MINUTE)
    with pytest.raises(Refused) as refused:
        start(world, min_runtime=10 * SECOND)  # of which there is credit for half
    refusal = refused.value.refusal
    assert (refusal.limit, refusal.shortfall) == ("org_limit", 10_000)


def test_a_resume_that_is_refused_lacks_what_its_hold_does_not_have() -> None:
    world = boxes(grant=1500)
    start(world, min_runtime=SECOND)
    world.clock.advance(SECOND)
    world.billing.suspend_run("acme", "r1")
    assert (world.balance().held, world.available()) == (500, 0)
    with pytest.raises(Refused) as refused:
        world.billing.resume_run("acme", "r1")
    refusal = refused.value.refusal
    assert (refusal.limit, refusal.shortfall) == ("balance", 500)
    world.grant(500)
    assert world.billing.resume_run("acme", "r1").state == "active"


def test_a_start_looks_once_for_what_funds_it(monkeypatch) -> None:
    looked = []

    def looking(ledger, use, *given):
        looked.append(use.until)
        return fund(ledger, use, *given)

    monkeypatch.setattr(handlers, "fund", looking)
    started = start(boxes())
    assert looked == [micros("until", started.funded_until)]


def test_what_a_hold_had_that_has_ended_funds_a_run() -> None:
    world = boxes(grant=60_000)
    world.hold(60_000, expires_in=MINUTE)
    world.clock.advance(MINUTE)
    assert start(world).funded_until == world.clock.now + MINUTE
    assert world.wrong() == []


@pytest.mark.parametrize(
    "what", ["heartbeat", "suspend", "resume", "stop", "settle", "forgive", "undo", "sweep"]
)
def test_a_hold_that_has_ended_lapses_before_anything_is_done_to_a_run(what: str) -> None:
    world = boxes()
    billing = world.billing
    start(world)
    if what == "resume":
        billing.suspend_run("acme", "r1")
    if what in ("settle", "forgive", "undo"):
        billing.stop_run("acme", "r1", settle=what != "settle")
    if what == "undo":
        billing.forgive_run("acme", "f", "r1", reason="ours")
    world.hold(10, key="h", expires_in=MINUTE)
    world.clock.advance(MINUTE)
    if what in ("heartbeat", "suspend", "resume", "stop", "settle"):
        getattr(billing, what if what == "heartbeat" else f"{what}_run")("acme", "r1")
    elif what == "forgive":
        billing.forgive_run("acme", "f", "r1", reason="ours")
    elif what == "undo":
        billing.undo_forgiveness("acme", "u", "r1")
    else:
        since = world.clock.now
        billing.execute([CloseSilentRun("acme", "sweep", run="r1", since=since)])
    keys = [entry.key for entry in world.entries()]
    assert keys[keys.index("hold:h") + 1] == "lapse:hold:h"
    assert len(keys) > keys.index("lapse:hold:h") + 1
    assert world.wrong() == []


def test_a_start_by_a_clock_that_is_ahead_is_funded_for_as_long_as_prices_are_known() -> None:
    """Be that a microsecond: prices are known for no longer than clocks may differ by."""
    world = World(priced=False, publication_delay=6 * MINUTE)
    world.publish({"sandbox:box": {"second": Price(Flat(1000, 1_000_000), unit="microsecond")}})
    world.grant(10**9)
    known = T0 + 5 * MINUTE
    started = start(world, occurred_at=known - US)
    assert (started.funded_until, started.bound_by) == (known, "horizon")
    world.clock.advance(MINUTE)
    assert beat(world, occurred_at=known).funded_until == known + MINUTE
    assert world.wrong() == []


def test_what_a_run_cannot_fund_is_not_announced() -> None:
    """Neither are components whose first price comes after what is funded."""
    world = boxes(grant=120 * 1000)
    disk = Price(Flat(1000, 1_000_000), unit="microsecond")
    world.publish({"sandbox:box": {"disk": disk}}, version="v2", effective_at=T0 + 2 * MINUTE)
    started = start(world, spec=sandbox("box", {"second": 1, "disk": 1}))
    assert (started.funded_until, started.bound_by) == (T0 + MINUTE, "balance")
    [hold] = world.store.holds("acme")
    assert [(name, us) for _, name, us in hold.counted] == [("second", 60 * 10**6)]


def test_a_heartbeat_that_cannot_renew_settles_and_answers_the_old_deadline() -> None:
    world = boxes(grant=300 * 1000)
    promised = start(world).funded_until
    world.clock.advance(MINUTE)
    after = beat(world)
    assert after.charged == 60 * 1000
    assert after.funded_until == promised
    assert after.bound_by == "balance"
    assert "run_unfunded" in events(world)
    world.grant(10**9)
    assert beat(world, key="funded").funded_until == world.clock.now + 5 * MINUTE


def test_a_deadline_once_given_stays_though_a_limit_comes_later() -> None:
    world = boxes()
    promised = start(world)
    world.clock.advance(MINUTE)
    world.billing.set_limit("acme", "tight", nanos(100 * 1000))
    after = beat(world)
    assert (after.funded_until, after.bound_by) == (promised.funded_until, "org_limit")
    assert world.balance().held == 240 * 1000
    world.clock.set(after.funded_until)
    stop(world)
    assert world.wrong() == []


def test_a_deadline_reaches_no_further_than_prices_are_known() -> None:
    world = boxes()
    started = start(world, fund_for=HOUR)
    assert (started.funded_until, started.bound_by) == (T0 + 9 * MINUTE, "horizon")


def test_it_is_funded_at_the_dearest_price_that_is_published() -> None:
    world = boxes(grant=300 * 1000)
    dearer = Price(Flat(3000, 1_000_000), unit="microsecond")
    world.publish({"sandbox:box": {"second": dearer}}, version="v2", effective_at=T0 + 11 * MINUTE)
    world.clock.advance(10 * MINUTE)
    started = start(world)
    assert started.funded_until == world.clock.now + 100 * SECOND
    world.clock.advance(100 * SECOND)
    assert stop(world).charged == 60 * 1000 + 40 * 3000, "each second at its own price"
    assert world.wrong() == []


@pytest.mark.parametrize("what", ["limit", "quota"])
def test_limits_and_quotas_bind_a_deadline(what: str) -> None:
    world = boxes()
    terms = (
        {"limits": [Limit("org", nanos(100 * 1000))]}
        if what == "limit"
        else {"quotas": [Quota("sandbox:box", "second", 100 * 10**6)]}
    )
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, **terms))
    world.billing.set_plan("acme", "subscribe", "pro")
    started = start(world)
    assert started.funded_until == T0 + 100 * SECOND
    assert started.bound_by == ("org_limit" if what == "limit" else "quota")
    with pytest.raises(Refused) as caught:
        start(world, "r2")
    assert caught.value.refusal.reason == f"{what}_reached"
    world.clock.advance(MINUTE)
    assert beat(world).funded_until == started.funded_until
    stop(world)
    assert world.wrong() == []


def test_a_quote_says_what_a_run_costs_and_how_long_the_credit_lasts() -> None:
    world = boxes(grant=3600 * 1000, minimum=60 * 10**6, increment=10**6)
    assert world.billing.quote_run("acme", BOX, SECOND).amount == 60 * 1000
    assert world.billing.quote_run("acme", BOX, 61 * SECOND + US).amount == 62 * 1000
    lasting = world.billing.longest_run("acme", BOX)
    assert (lasting.until, lasting.bound_by) == (T0 + HOUR, "balance")


def test_a_minimum_and_an_increment_belong_to_the_run() -> None:
    world = boxes(minimum=60 * 10**6, increment=10 * 10**6)
    start(world)
    charged = []
    for _ in range(7):
        world.clock.advance(10 * SECOND)
        charged.append(beat(world).charged)
    assert charged == [60_000, 0, 0, 0, 0, 0, 10_000]
    world.clock.advance(SECOND)
    assert stop(world).charged == 10_000
    assert world.wrong() == []


# -- forgiveness ----------------------------------------------------------------------


def test_forgiving_and_undoing_is_on_record() -> None:
    world = boxes()
    start(world, member="ann")
    world.clock.advance(MINUTE)
    beat(world)
    world.clock.advance(MINUTE)
    stop(world)
    part = world.billing.forgive_run("acme", "f1", "r1", reason="outage", amount=nanos(30_000))
    assert (part.state, part.charged) == ("settled", -30_000)
    whole = world.billing.forgive_run("acme", "f2", "r1", reason="all of it")
    assert (whole.state, whole.charged) == ("forgiven", -90_000)
    runtime = world.billing.usage("acme").of_member("ann").sandbox_runtime
    assert (runtime.forgiven.runs, runtime.forgiven.seconds) == (1, 120)
    assert (runtime.settled.runs, runtime.settled.seconds, runtime.settled.amount) == (0, 0, 0)
    assert runtime.forgiven.amount == 120_000
    undone = world.billing.undo_forgiveness("acme", "u1", "r1", reason="a mistake")
    assert (undone.state, undone.charged) == ("settled", 120_000)
    assert spent(world) == 120_000
    assert world.wrong() == []


def test_what_was_forgiven_is_not_given_back_again_by_a_late_suspension() -> None:
    world = boxes()
    start(world)
    world.clock.advance(2 * MINUTE)
    stop(world)
    world.billing.forgive_run("acme", "f", "r1", reason="outage")
    late = world.billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + MINUTE)
    assert late.charged == 0
    assert world.billing.undo_forgiveness("acme", "u", "r1").charged == 60 * 1000
    assert world.wrong() == []


def room(world: World, amount: int) -> bool:
    """Whether project ``p`` may spend so much."""
    return world.billing.check("acme", nanos(amount), project="p").allowed


def test_what_had_not_counted_of_a_project_makes_no_room_when_its_run_is_forgiven() -> None:
    """Nor when it is suspended late, nor does undoing it take any."""
    world = boxes()
    start(world, project="p")
    start(world, "r2", project="p")
    world.clock.advance(MINUTE)
    stop(world)
    stop(world, "r2")
    world.billing.set_limit("acme", "p", nanos(5_000), project="p")
    world.deduct(nanos(5_000), resource="x", project="p")
    world.billing.forgive_run("acme", "f1", "r1", reason="outage")
    assert not room(world, 1)
    until = T0 + 30 * SECOND
    late = world.billing.suspend_run("acme", "r2", occurred_at=T0, until=until)
    assert late.charged == -30_000
    assert not room(world, 1)
    world.billing.undo_forgiveness("acme", "u1", "r1")
    world.billing.set_limit("acme", "more", nanos(5_001), project="p")
    assert room(world, 1)
    assert not room(world, 2)
    assert world.wrong() == []


def test_what_counted_of_a_project_makes_room_when_its_run_is_forgiven() -> None:
    world = boxes()
    world.billing.set_limit("acme", "p", nanos(60_000), project="p")
    start(world, project="p")
    world.clock.advance(MINUTE)
    stop(world)
    assert not room(world, 1)
    world.billing.forgive_run("acme", "f1", "r1", reason="outage")
    assert room(world, 60_000)
    world.billing.undo_forgiveness("acme", "u1", "r1")
    assert not room(world, 1)
    assert world.wrong() == []


def test_a_pending_run_is_settled_or_forgiven() -> None:
    world = boxes()
    start(world, "r1")
    start(world, "r2")
    world.clock.advance(MINUTE)
    for run in ("r1", "r2"):
        assert stop(world, run, settle=False).state == "pending"
    runtime = world.billing.usage("acme").summary.sandbox_runtime
    assert (runtime.pending.runs, runtime.pending.seconds) == (2, 120)
    assert runtime.pending.amount == 120_000
    assert world.billing.settle_run("acme", "r1").charged == 60_000
    assert world.billing.forgive_run("acme", "f", "r2", reason="ours").charged == 0
    assert spent(world) == 60_000
    assert world.wrong() == []


# -- the transition table -----------------------------------------------------------


def test_an_impossible_transition_names_both_states() -> None:
    world = boxes()
    start(world)
    with pytest.raises(ImpossibleTransition) as caught:
        world.billing.resume_run("acme", "r1")
    assert (caught.value.state, caught.value.to) == ("active", "active")
    with pytest.raises(ImpossibleTransition) as caught:
        world.billing.forgive_run("acme", "f", "r1", reason="early")
    assert (caught.value.state, caught.value.to) == ("active", "forgiven")
    with pytest.raises(ImpossibleTransition, match=r"active.*settled"):
        world.billing.settle_run("acme", "r1")


def test_the_documents_diagram_is_the_table() -> None:
    docs = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[3])
    text = (docs / "DESIGN.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{diagram()}```" in text


def test_every_state_is_reached_and_no_end_is_left_but_by_undoing() -> None:
    states = set(TRANSITIONS.values())
    assert states == {"active", "suspended", "pending", "settled", "forgiven"}
    assert {event for (state, event), to in TRANSITIONS.items() if state == "forgiven" != to} == {
        "undo"
    }


# -- properties ---------------------------------------------------------------------

HOURS = 3600
tiers = Graduated(
    (Tier(2000 * 10**6, 700, 10**6), Tier(5000 * 10**6, 333, 10**6), Tier(None, 77, 10**5))
)
prices = st.sampled_from(
    [Price(Flat(1001, 3_000_000), unit="microsecond"), Price(tiers, unit="microsecond"),
     Price(tiers, unit="microsecond", minimum=90 * 10**6, increment=7 * 10**6)]
)  # fmt: skip
spans = st.lists(
    st.tuples(st.integers(0, HOURS), st.integers(1, HOURS)).map(
        lambda pair: (pair[0], min(pair[0] + pair[1], HOURS))
    ).filter(lambda pair: pair[0] < pair[1]),
    max_size=4,
)  # fmt: skip


def exact(price: Price, raw: int) -> int:
    cost, per = price.function.between(0, price.billed(raw))
    return floor(Fraction(cost, per))


@given(
    price=prices,
    suspended=spans,
    beats=st.lists(st.integers(0, HOURS + 200), max_size=6),
    order=st.randoms(use_true_random=False),
    end=st.integers(1, HOURS),
    live=st.booleans(),
)
def test_any_grouping_and_order_costs_what_one_settlement_costs(
    price, suspended, beats, order, end, live
) -> None:
    """Heartbeats, suspensions and the stop arrive in any order, the stop's at last but for
    what is late."""
    world = World(priced=False)
    world.publish({"sandbox:box": {"second": price}})
    world.grant(10**12)
    began = T0 if live else T0 - 3 * HOURS * SECOND
    start(world, occurred_at=began)
    world.clock.advance((HOURS + 300) * SECOND)
    told = [("beat", at, None) for at in beats] + [("suspend", *span) for span in suspended]
    told += [("stop", end, None)]
    order.shuffle(told)
    for number, (what, at, until) in enumerate(told):
        options = {"key": f"k{number}", "occurred_at": began + at * SECOND}
        if what == "beat":
            beat(world, **options)
        elif what == "stop":
            stop(world, **options)
        else:
            options["until"] = began + until * SECOND
            world.billing.suspend_run("acme", "r1", **options)
    off = {second for first, last in suspended for second in range(first, last)}
    ran = sum(second not in off for second in range(end))
    assert spent(world) == exact(price, ran * 10**6)
    view = world.billing.run("acme", "r1")
    assert (view.settled_us, view.settled) == (ran * 10**6, spent(world))
    counted = [each for each in world.counter("sandbox:box", "second") if each]
    assert counted[-1:] in ([price.billed(ran * 10**6)], [])
    assert world.wrong() == []


steps = st.lists(
    st.tuples(
        st.sampled_from(["start", "beat", "suspend", "resume", "stop", "pend", "settle", "forgive",
                         "part", "undo", "grant", "sweep", "other"]),
        st.integers(0, 3),
        st.integers(1, 400),
    ),
    max_size=25,
)  # fmt: skip


def do(world: World, what: str, run: str, key: str, amount: int) -> None:
    billing = world.billing
    doors = {
        "start": lambda: start(world, run),
        "beat": lambda: beat(world, run, key=key),
        "suspend": lambda: billing.suspend_run("acme", run, key=key),
        "resume": lambda: billing.resume_run("acme", run, key=key),
        "stop": lambda: stop(world, run, key=key),
        "pend": lambda: stop(world, run, key=key, settle=False),
        "settle": lambda: billing.settle_run("acme", run, key=key),
        "forgive": lambda: billing.forgive_run("acme", key, run, reason="x"),
        "part": lambda: billing.forgive_run(
            "acme", key, run, reason="x", amount=nanos(amount * 11)
        ),
        "undo": lambda: billing.undo_forgiveness("acme", key, run),
        "grant": lambda: world.grant(amount * 1000),
        "sweep": lambda: billing.sweep_runs(idle_for=10 * MINUTE),
        "other": lambda: world.deduct(nanos(amount * 100), resource="other"),
    }
    try:
        doors[what]()
    except (Refused, ImpossibleTransition, NotFound):
        pass
    except HoldEnded:
        assert what in ("start", "resume"), what  # of a run that has ended
    except Conflict as error:
        assert "nothing of run" in str(error), error


@given(steps=steps)
def test_deadlines_hold_their_money_and_summaries_add_up(steps) -> None:
    world = boxes(grant=700 * 1000)
    world.grant(150 * 1000, expires_at=T0 + 10 * MINUTE)
    billing = world.billing
    promised: dict[str, int] = {}
    for number, (what, run, wait) in enumerate(steps):
        do(world, what, f"r{run}", f"k{number}", wait)
        check_promises(world, promised)
        world.clock.advance(wait * SECOND)
    summary = billing.usage("acme", "all_time").summary
    runtime = summary.sandbox_runtime
    views = billing.runs("acme", unsettled=False)
    ran = sum(view.settled_us + view.forgiven_us + view.unposted_us for view in views)
    kinds = (runtime.settled, runtime.pending, runtime.forgiven, runtime.active)
    assert sum(each.us for each in kinds) == ran
    assert sum(each.runs for each in kinds) == len(views)
    assert summary.total == spent(world)
    assert runtime.settled.amount == sum(view.settled for view in views)
    assert world.wrong() == []


def check_promises(world: World, promised: dict[str, int]) -> None:
    """The money for every run's time up to its deadline is in its hold, and no deadline
    moves back."""
    holds = {hold.key: hold for hold in world.store.holds("acme")}
    for run in world.store.runs("acme"):
        before = promised.get(run.run, 0)
        assert before == run.until or max(before, run.settled_to) < run.until, run
        promised[run.run] = run.until
        if run.state == "active":
            held = sum(amount for _, amount in holds[run.item].parts)
            seconds = Fraction(max(0, run.until - run.settled_to), 10**6)
            assert held >= seconds * 1000, (run, held)


def test_a_run_survives_its_json() -> None:
    world = boxes()
    start(world, member="ann", project="p", reference="ref")
    world.clock.advance(MINUTE)
    beat(world)
    [run] = world.store.runs("acme")
    assert Run.from_json(run.to_json()) == run
    assert run.settled_to == micros("at", T0 + MINUTE)
