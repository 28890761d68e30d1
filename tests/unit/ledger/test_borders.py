"""Borders: the very nano, microsecond, character or row at which an answer changes.

They are where small changes of the code (see `mutants.py`) were noticed by no other test.
"""

import json
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from attrs import astuple
from full_database import furnish
from test_runs import US, beat, boxes, spent, start, stop
from test_topup_claims import altered
from topup_till import till
from world import DAY, HOUR, LONG_AGO, MINUTE, ONE_NANO, SECOND, T0, World, nanos, units

from billing_core import (
    BillStorage,
    Close,
    CloseSilentRun,
    Deduct,
    Flat,
    ForgiveRun,
    Graduated,
    Grant,
    Heartbeat,
    Hold,
    InvalidCommand,
    Limit,
    MoneyOverflow,
    NotFound,
    Package,
    PaymentError,
    Plan,
    Price,
    PriceBook,
    Quota,
    Refusal,
    Refused,
    ReportStorage,
    ResumeRun,
    Reverse,
    Settle,
    SettleRun,
    StartRun,
    StopRun,
    SuspendRun,
    Tier,
    TopUpRules,
    UndoForgiveness,
    Usage,
    sandbox,
    usd,
)
from billing_core.commands.topups import AskRefund, ClaimTopUp, SetAutoTopUp
from billing_core.engine.background import refused_for
from billing_core.engine.topups import _made_unnamed
from billing_core.ports.payments import ChargeAttempt, Checkout, Refund
from billing_core.ports.state import LEVEL
from billing_core.records.topups import AutoTopUp, RefundOrder, TopUp
from billing_core.testing import MemoryStore
from billing_core.testing.machines.ledger import FewDebts
from billing_core.testing.payments.world import order
from billing_core.topups.policy import attempt_ends, resumes
from billing_core.values.currencies import to_minor, to_nanos
from billing_core.values.money import MAX_NANOS
from billing_core.values.times import micros, moment

PER_US = Price(Flat(1), unit="microsecond")


@pytest.mark.parametrize("kind", ["fake", "stripe"])
def test_of_two_clawbacks_of_a_payment_only_the_one_undone_comes_back(kind) -> None:
    with till(kind) as t:
        page = t.paid("20")
        payment = t.payment(page).id
        t.street.refund_in_dashboard(payment, 200)
        t.deliver()
        dispute = t.street.dispute(payment, 700)
        t.deliver()
        assert t.balance() == "11.00 USD"
        t.street.close_dispute(dispute, won=True)
        t.deliver()
        assert t.balance() == "18.00 USD"
        t.check()


def test_an_attempt_that_was_dropped_leaves_room_for_the_next() -> None:
    with till("fake") as t:
        t.armed("10", threshold="5", amount="20")
        t.spend("6")
        assert t.attempts() == ["due"]
        t.paid("900")
        t.run()
        assert t.attempts() == ["dropped"], "there is credit enough by now"
        t.spend("901")
        assert t.attempts() == ["dropped", "due"]
        t.run()
        assert t.attempts() == ["dropped", "paid"]
        t.check()


def test_a_quarantined_payment_stops_automatic_top_ups() -> None:
    auto = AutoTopUp(enabled=True, method="pm", open="t", begun=1, spent=2000, failures=1)
    topup = TopUp("t", "auto", 7, "quarantined", 2000, 5)
    attempt_ends(auto, topup, "calling", 9, TopUpRules())
    assert (auto.stopped, auto.open, auto.failures) == ("quarantined", None, 1)


@pytest.mark.every_store
def test_a_part_that_was_forgiven_of_a_run_can_be_charged_again() -> None:
    world = boxes()
    start(world)
    world.clock.advance(10 * SECOND)
    stop(world)
    assert spent(world) == 10_000
    world.billing.forgive_run("acme", "f", "r1", reason="slow", amount=nanos(3_000))
    assert spent(world) == 7_000
    world.billing.undo_forgiveness("acme", "u", "r1")
    assert spent(world) == 10_000
    assert world.wrong() == []


@pytest.mark.every_store
@pytest.mark.parametrize(("limit", "percent", "mark"), [(1000, 80, 800), (1050, 33, 347)])
def test_an_alert_is_raised_by_the_nano_that_reaches_its_mark(limit, percent, mark) -> None:
    world = World()
    world.grant(10**6)
    world.billing.set_limit("acme", "l", nanos(limit), alerts=(percent,))
    world.settle(mark - 1)
    assert [each.kind for each in world.billing.events("acme")] == []
    world.settle(1)
    assert [each.kind for each in world.billing.events("acme")] == ["budget"]
    world.settle(1)
    assert len(world.billing.events("acme")) == 1


@pytest.mark.every_store
def test_a_resume_is_a_sign_of_life() -> None:
    world = boxes()
    start(world)
    world.clock.advance(MINUTE)
    world.billing.suspend_run("acme", "r1")
    world.clock.advance(9 * MINUTE)
    world.billing.resume_run("acme", "r1")
    world.clock.advance(10 * MINUTE)
    assert world.billing.sweep_runs(idle_for=15 * MINUTE) == []
    world.clock.advance(5 * MINUTE + US)
    [swept] = world.billing.sweep_runs(idle_for=15 * MINUTE)
    assert swept.settled_to == T0 + 10 * MINUTE
    assert world.wrong() == []


@pytest.mark.every_store
def test_undoing_what_was_forgiven_is_refused_where_the_debt_would_leave_64_bits() -> None:
    world = boxes(2**62, grant=2**62)
    world.publish({"x": {"unit": ONE_NANO}}, version="more")
    start(world, fund_for=SECOND)
    world.clock.advance(SECOND)
    stop(world)
    world.billing.forgive_run("acme", "f", "r1", reason="ours")
    world.settle(MAX_NANOS)
    world.settle(2**62 - 5)
    assert world.balance().debt == MAX_NANOS - 5
    before = world.state()
    with pytest.raises(MoneyOverflow, match="debt"):
        world.billing.undo_forgiveness("acme", "u", "r1")
    assert world.state() == before
    assert world.wrong() == []


@pytest.mark.every_store
def test_an_allowance_beside_almost_64_bits_of_credit_is_what_fits() -> None:
    world = World()
    world.billing.publish(Plan("p-1", "p", LONG_AGO, allowance=nanos(10)))
    world.grant(MAX_NANOS - 4)
    world.billing.set_plan("acme", "plan", "p")
    assert world.balance().balance == MAX_NANOS
    assert [lot.remainder for lot in world.balance().lots if lot.kind == "allowance"] == [4]
    assert world.wrong() == []


def test_an_error_names_the_latest_time_that_is_taken() -> None:
    world = World()
    latest = (T0 + 5 * MINUTE).isoformat()
    with pytest.raises(InvalidCommand, match=f"{latest.replace('+', '[+]')} or earlier"):
        world.grant(5, at=T0 + 5 * MINUTE + US)
    world.grant(5, at=T0 + 5 * MINUTE)
    with pytest.raises(InvalidCommand, match=latest.replace("+", "[+]")):
        world.settle(5, occurred_at=T0 + 5 * MINUTE + US)


@pytest.mark.every_store
def test_many_keys_at_once_are_those_of_their_own_org() -> None:
    """A lookup of a hundred keys and more is a statement of its own."""
    world = World()
    world.billing.open_account("beta")
    for org in ("acme", "beta"):
        world.grant(1000, org)
    keys = [f"k{n}" for n in range(150)]

    def charge(org: str) -> list:
        return world.billing.execute([Deduct(org, k, cost=nanos(1), resource="x") for k in keys])

    assert not any(each.replayed for each in charge("acme"))
    assert not any(each.replayed for each in charge("beta"))
    assert [world.balance(org).used for org in ("acme", "beta")] == [150, 150]
    assert all(each.replayed for each in charge("beta"))


@pytest.mark.every_store
def test_what_has_lapsed_is_gone_before_a_balance_is_called_low() -> None:
    world = World()
    world.grant(10, kind="promotional", expires_at=T0 + HOUR)
    world.grant(5)
    world.billing.set_low_balance("acme", "low", nanos(7))
    world.clock.advance(2 * HOUR)
    with pytest.raises(Refused):
        world.deduct(6)
    assert [each.kind for each in world.billing.events("acme")] == ["low_balance"]


@pytest.mark.every_store
def test_whatever_a_run_is_charged_or_given_back_has_its_reference() -> None:
    world = boxes()
    start(world, reference="job 7")
    world.clock.advance(10 * SECOND)
    beat(world)
    world.billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + SECOND)
    stop(world)
    said = {each.op: json.loads(each.content) for each in world.entries()}
    assert said["piece"] == said["back"] == {"run": "r1", "reference": "job 7"}
    rows = world.billing.history("acme")
    assert {row.reference for row in rows if row.type in ("usage", "refund")} == {"job 7"}


@pytest.mark.every_store
def test_a_microsecond_of_suspension_gives_back_its_nano() -> None:
    world = boxes(1_000_000)
    start(world)
    world.clock.advance(10 * US)
    assert beat(world).charged == 10
    late = world.billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + US)
    assert late.charged == -1
    assert spent(world) == 9
    assert world.counter("sandbox:box", "second") == [9]
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_byte_less_for_a_microsecond_gives_back_its_nano() -> None:
    world = World()
    world.publish({"storage:*": {"byte_us": Price(Flat(1), unit="byte-microsecond")}}, version="s")
    world.grant(1000)
    world.billing.report_storage("acme", "ws", 3)
    world.clock.advance(10 * US)
    assert [each.charged for each in world.billing.bill_storage("acme")] == [30]
    assert world.billing.report_storage("acme", "ws", 2, occurred_at=T0 + 9 * US).charged == -1
    assert spent(world) == 29
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_correction_gives_back_no_more_than_the_run_was_charged() -> None:
    """The dear tier was another run's; both components together never make a charge negative,
    and what is left stands in the fractions that are carried."""
    world = World(priced=False)
    tiers = Graduated((Tier(10**7, 1000, 10**6), Tier(None, 10, 10**6)))
    price = Price(tiers, unit="microsecond")
    world.publish({"sandbox:two": {"a": price, "b": price}})
    world.grant(10**9)
    two = sandbox("two", {"a": 1, "b": 1})
    for run in ("r1", "r2"):
        start(world, run, two)
    world.clock.advance(10 * SECOND)
    assert [beat(world, run).charged for run in ("r1", "r2")] == [20_000, 200]
    late = world.billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + 10 * SECOND)
    assert late.charged == -200, "by where the counters stand"
    late = world.billing.suspend_run("acme", "r2", occurred_at=T0, until=T0 + 10 * SECOND)
    assert late.charged == -200, "not 20,000"
    assert [world.billing.run("acme", run).settled for run in ("r1", "r2")] == [19_800, 0]
    assert spent(world) == 19_800
    start(world, "r3", two)
    world.clock.advance(10 * SECOND)
    assert stop(world, "r3").charged == 200, "the rest is paid already"
    assert world.wrong() == []


def test_what_moves_nothing_has_no_amount() -> None:
    billing = furnish(MemoryStore())
    billing.set_limit("acme", "off", None, member="ann")
    billing.set_low_balance("acme", "off", None)
    billing.set_plan("acme", "off", None)
    billing.set_plan("bare", "on", "idle", paused=True)
    billing.close("bare", remainder="write_off")
    said = ("hold", "release", "limit", "low_balance", "lapse")  # which say what they are about
    over_time = ("start", "heartbeat", "stop", "sweep", "forgive", "undo", "size", "storage")
    seen = set[str]()
    for org in ("acme", "other", "bare"):
        for each in billing.store.entries(org):
            if not each.transfers and each.op not in (*said, *over_time):
                assert each.amount == 0, each
                seen.add(each.op)
    assert seen >= {"open", "plan", "close", "topup", "auto_topup", "suspend", "resume", "call"}
    [limit, low] = [each for each in billing.store.entries("acme") if each.key.endswith(":off")][:2]
    assert (limit.amount, low.amount) == (0, 0)


@pytest.mark.parametrize("kind", ["fake", "stripe"])
def test_that_automatic_top_ups_stopped_is_told_once(kind) -> None:
    with till(kind) as t:
        method = t.armed("20")
        payment = t.store.topups("acme")
        [page] = [each for each in payment if each.kind == "checkout"]
        for cents in (200, 300):
            t.street.refund_in_dashboard(page.payment, cents)
            t.deliver()
            assert t.events().count("auto_topup_stopped") == 1
        t.enable()
        t.street.refund_in_dashboard(page.payment, 100)
        t.deliver()
        assert t.events().count("auto_topup_stopped") == 2
        assert method == t.store.auto_topup("acme").method
        t.check()


def test_an_attempt_names_the_entry_that_began_it() -> None:
    with till("fake") as t:
        t.armed("10", threshold="5", amount="20")
        t.spend("6")
        [attempt] = [each for each in t.store.topups("acme") if each.kind == "auto"]
        [entry] = t.store.entries("acme", after=attempt.seq - 1, limit=1)
        assert (entry.op, json.loads(entry.effects)["topup"]["topup"]) == ("auto", attempt.topup)


def test_what_a_run_owes_is_repaid_after_older_debts_that_were_not_looked_at_yet() -> None:
    world = boxes(grant=300_000, store=FewDebts())
    world.publish({"x": {"unit": ONE_NANO}}, version="x")
    start(world)
    debts = [world.settle(10).seq for _ in range(3)]
    world.clock.advance(10 * MINUTE)
    stopped, granted = world.billing.execute(
        [StopRun("acme", "end", run="r1"), Grant("acme", "late", amount=nanos(25))]
    )
    assert (stopped.charged, granted.balance) == (600_000, -300_005)
    stories = {each.charge: each.unpaid for each in world.store.charges("acme")}
    assert [stories.pop(seq) for seq in debts] == [0, 0, 5]
    assert list(stories.values()) == [300_000]
    assert world.wrong() == []


def test_a_discount_that_has_ended_is_named_by_nothing_any_more() -> None:
    world = World()
    off = {"version": "half", "percent_off": {"x": 50}, "effective_at": T0 + HOUR}
    half = world.publish({}, org="acme", **off)
    off = {"version": "end", "percent_off": {"x": 0}, "effective_at": T0 + 2 * HOUR}
    world.publish({}, org="acme", **off)
    for _ in range(2):
        world.clock.advance(HOUR)
        world.settle(2)
    versions = [each.usage.lines[0].version for each in world.entries() if each.usage]
    assert half in versions[0]
    assert versions[1].startswith("base#") and "end#" not in versions[1]
    assert world.balance().used == 3


@pytest.mark.every_store
def test_a_balance_as_it_was_known_then_lacks_what_was_recorded_later() -> None:
    world = World()
    world.grant(10)
    world.clock.advance(HOUR)
    world.grant(5, at=T0 + 30 * MINUTE)
    as_of, then = world.billing.balance_as_of, T0 + 45 * MINUTE
    assert as_of("acme", then) == 15
    assert as_of("acme", then, recorded=T0 + 50 * MINUTE) == 10
    assert as_of("acme", then, recorded=T0 + HOUR) == 15


@pytest.mark.every_store
def test_pieces_that_together_leave_64_bits_are_refused_before_any_is_charged() -> None:
    world = boxes(2**62, grant=2**62)
    cost = Price(Flat(2**62, 1_000_000), unit="microsecond")
    edge = T0 + 10 * MINUTE
    world.publish({"sandbox:box": {"second": cost}}, version="v2", effective_at=edge)
    world.clock.advance(10 * MINUTE - SECOND)
    start(world, fund_for=SECOND)
    world.clock.advance(2 * SECOND)
    before = world.state()
    with pytest.raises(MoneyOverflow, match="usage"):
        stop(world)
    assert world.state() == before
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_part_that_is_forgiven_of_two_periods_is_no_more_than_was_asked_for() -> None:
    world = boxes()
    world.clock.advance(31 * DAY - 4 * SECOND)
    start(world)
    world.clock.advance(10 * SECOND)
    stop(world)
    assert spent(world) == 10_000
    world.billing.forgive_run("acme", "f", "r1", reason="slow", amount=nanos(8_000))
    assert spent(world) == 2_000
    view = world.billing.run("acme", "r1")
    assert (view.settled, view.forgiven) == (2_000, 8_000)
    assert world.wrong() == []


@pytest.mark.every_store
def test_what_has_ended_pays_no_bill_for_storage() -> None:
    world = World()
    world.publish({"storage:*": {"byte_us": Price(Flat(1), unit="byte-microsecond")}}, version="s")
    world.grant(10**12, kind="promotional", expires_at=T0 + HOUR)
    world.billing.report_storage("acme", "ws", 1)
    world.clock.advance(2 * HOUR)
    [bill] = world.billing.bill_storage("acme")
    assert bill.charged == 7_200_000_000
    assert [each.op for each in world.entries()][-3:] == ["lapse", "piece", "storage"]
    assert (world.balance().balance, world.balance().debt) == (-bill.charged, bill.charged)
    assert world.wrong() == []


@pytest.mark.every_store
def test_forgiving_more_than_a_run_cost_says_by_how_much() -> None:
    world = boxes()
    start(world)
    world.clock.advance(10 * SECOND)
    stop(world)
    with pytest.raises(Refused) as refused:
        world.billing.forgive_run("acme", "f", "r1", reason="slow", amount=nanos(12_000))
    assert refused.value.refusal.shortfall == 2_000


@pytest.mark.every_store
def test_what_a_run_has_not_told_yet_is_estimated_for_the_period_alone() -> None:
    world = boxes(grant=10**11)
    world.clock.advance(timedelta(days=31) - 4 * MINUTE)
    start(world)
    world.clock.advance(6 * MINUTE)
    usage = world.billing.usage("acme")
    assert usage.start == T0 + timedelta(days=31)
    active = usage.summary.sandbox_runtime.active
    assert (active.seconds, active.amount) == (120, 120_000)


@pytest.mark.parametrize("kind", ["fake", "stripe"])
def test_all_clawbacks_that_are_undone_at_once_come_back(kind) -> None:
    with till(kind) as t:
        page = t.paid("20")
        payment = t.payment(page).id
        t.street.hold_refunds()
        refund = t.street.refund_in_dashboard(payment, 200)
        t.deliver()
        dispute = t.street.dispute(payment, 700)
        t.deliver()
        assert t.balance() == "11.00 USD"
        t.street.settle_refund(refund, succeeded=False)
        t.street.close_dispute(dispute, won=True)
        t.deliver()
        assert t.balance() == "20.00 USD"
        t.check()


def test_a_page_is_looked_at_again_when_it_has_closed_and_not_before() -> None:
    with till("fake") as t:
        t.order("20")
        read = []
        one = t.provider.read_checkout
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(t.provider, "read_checkout", lambda page: read.append(page) or one(page))
            t.wait(24 * HOUR)
            assert read == []
            t.wait(HOUR)
            assert len(read) == 1


def test_an_automatic_top_up_is_of_whole_minor_units() -> None:
    good = {"enabled": True, "threshold": usd("5"), "amount": usd("20")}
    SetAutoTopUp("acme", "k", **good)
    for name in ("amount", "cap"):
        with pytest.raises(InvalidCommand, match="expected a multiple of"):
            SetAutoTopUp("acme", "k", **(good | {name: nanos(20_000_000_001)}))


@pytest.mark.every_store
def test_what_was_measured_is_taken_after_closing_and_nothing_else() -> None:
    world = boxes()
    stored = Price(Flat(1), unit="byte-microsecond")
    world.publish({"storage:*": {"byte_us": stored}}, version="stored")
    start(world)
    start(world, "r2")
    world.clock.advance(MINUTE)
    world.billing.close("acme", remainder="write_off")
    world.clock.advance(MINUTE)
    measured = [
        Heartbeat("acme", "h", run="r1"),
        SuspendRun("acme", "s", run="r1"),
        StopRun("acme", "e", run="r1", settle=False),
        SettleRun("acme", "t", run="r1"),
        ForgiveRun("acme", "f", run="r1", reason="ours"),
        UndoForgiveness("acme", "u", run="r1"),
        CloseSilentRun("acme", "c", run="r2", since=T0),
        ReportStorage("acme", "w", workspace="ws", size=7),
        BillStorage("acme", "b", workspace="ws"),
        Settle("acme", "m", usage=units(1)),
    ]
    answers = world.billing.execute(measured)
    refusals = [each.reason for each in answers if isinstance(each, Refusal)]
    assert refusals == ["not_silent"], "closing has closed the second run"
    others = [
        Hold("acme", "o1", cost=nanos(1), expires_in=MINUTE),
        Deduct("acme", "o2", cost=nanos(1), resource="x"),
        Grant("acme", "o3", amount=nanos(1)),
        StartRun("acme", "o4", spec=sandbox("box", {"second": 1})),
        ResumeRun("acme", "o5", run="r1"),
    ]
    assert [each.reason for each in world.billing.execute(others)] == ["closed"] * len(others)
    assert world.wrong() == []


def test_a_plan_s_time_has_a_zone_and_a_run_s_name_150_characters() -> None:
    with pytest.raises(InvalidCommand, match="effective_at"):
        Plan("p-1", "p", T0.replace(tzinfo=None))
    assert len(SettleRun("acme", "k", run="r" * 150).run) == 150
    with pytest.raises(InvalidCommand, match="150 characters"):
        SettleRun("acme", "k", run="r" * 151)


def test_a_top_up_that_another_worker_was_quicker_to_see_to_is_no_failure() -> None:
    with till("fake") as t:
        page = t.order("20")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(t.store, "due_topups", lambda *_, **__: [("acme", page.topup)])
            run = t.run()
        assert (run.failures, run.topups) == ([], 0)
        t.check()


def test_events_that_one_worker_delivers_are_not_delivered_by_another_meanwhile() -> None:
    with till("fake") as t:
        t.paid("20")
        t.billing.set_low_balance("acme", "low", usd("15"))
        t.spend("10")
        other = t.engine()
        told, doubled = [], []

        def deliver(event) -> None:
            told.append(event)
            other.run_pending(deliver=doubled.append)

        t.run(deliver=deliver)
        assert told and doubled == []


@pytest.mark.every_store
def test_a_charge_that_nobody_paid_can_be_reversed_however_large() -> None:
    world = World()
    world.billing.publish(PriceBook("dear", LONG_AGO, {"dear": {"unit": ONE_NANO}}))
    charge = world.settle(units(2**62 + 2**61, "dear"))
    world.reverse(charge)
    assert (world.balance().debt, world.balance().used) == (0, 0)
    assert world.wrong() == []


@pytest.mark.every_store
def test_time_that_cost_nothing_is_forgiven_and_counted_again() -> None:
    world = boxes()
    start(world, spec=sandbox("box", {"second": 1}, payer="customer"))
    world.clock.advance(10 * SECOND)
    stop(world)
    world.billing.forgive_run("acme", "f", "r1", reason="ours")
    assert world.billing.run("acme", "r1").forgiven_us == 10 * 10**6
    world.billing.undo_forgiveness("acme", "u", "r1")
    assert world.billing.run("acme", "r1").forgiven_us == 0
    assert world.wrong() == []


@pytest.mark.every_store
def test_of_forgiven_time_that_cost_nothing_what_did_not_run_is_forgiven_no_more() -> None:
    world = boxes()
    start(world, spec=sandbox("box", {"second": 1}, payer="customer"))
    world.clock.advance(10 * SECOND)
    stop(world)
    world.billing.forgive_run("acme", "f", "r1", reason="ours")
    world.billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + 4 * SECOND)
    view = world.billing.run("acme", "r1")
    assert (view.forgiven_us, view.settled_us) == (6 * 10**6, 0)
    assert world.wrong() == []


@pytest.mark.every_store
def test_credit_beside_an_allowance_that_fills_64_bits_is_refused() -> None:
    """The allowance is that of a period which nobody has asked for yet."""
    world = World()
    world.billing.publish(Plan("p-1", "p", LONG_AGO, allowance=nanos(10)))
    world.billing.set_plan("acme", "plan", "p")
    world.grant(MAX_NANOS - 20)
    world.settle(10)
    world.clock.advance(timedelta(days=32))
    with pytest.raises(MoneyOverflow):
        world.grant(15)
    world.grant(10)
    assert world.balance().balance == MAX_NANOS
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_nano_that_time_told_late_took_is_held_for_the_deadline_again() -> None:
    world = World(priced=False)
    world.publish({"sandbox:box": {"second": PER_US, "suspended_second": PER_US}})
    world.grant(10**12)
    start(world)
    world.clock.advance(10 * US)
    until = beat(world).funded_until
    held = world.balance().held
    late = world.billing.suspend_run("acme", "r1", occurred_at=T0, until=T0 + US)
    assert (late.charged, late.funded_until, world.balance().held) == (0, until, held - 1)
    assert beat(world, key="again").funded_until == until
    assert world.balance().held == held
    assert world.wrong() == []


@pytest.mark.every_store
def test_what_is_held_pays_for_running_and_suspended_over_the_end_of_a_period() -> None:
    """Each is rounded up by itself."""
    world = World(priced=False)
    cost = Price(Flat(1000, 1_000_000), unit="microsecond", increment=60 * 10**6)
    world.publish({"sandbox:box": {"second": cost, "suspended_second": cost}})
    world.grant(10**9)
    world.clock.advance(31 * DAY - 2 * SECOND)
    start(world, fund_for=10 * SECOND)
    held = world.balance().held
    world.clock.advance(4 * SECOND)
    world.billing.suspend_run("acme", "r1")
    world.clock.advance(4 * SECOND)
    stop(world)
    assert spent(world) == 120_000 <= held
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_run_that_is_told_ahead_of_the_clock_ends_with_its_account() -> None:
    """Its last half minute, suspended, is of the next billing period, like another run's."""
    world = World(priced=False)
    world.publish({"sandbox:box": {"second": PER_US, "suspended_second": PER_US}})
    world.grant(10**12)
    world.clock.advance(31 * DAY - MINUTE)
    start(world, "r1", fund_for=SECOND, min_runtime=SECOND)
    start(world, "r2")
    world.clock.advance(50 * SECOND)
    ahead = T0 + 31 * DAY + 30 * SECOND
    stop(world, "r2", occurred_at=ahead)
    world.billing.suspend_run("acme", "r1", occurred_at=world.clock.now, until=ahead)
    world.billing.close("acme", remainder="write_off")
    view = world.billing.run("acme", "r1")
    assert (view.state, view.settled) == ("settled", 90 * 10**6)
    assert world.counter("sandbox:box", "second")[-1] == 30 * 10**6
    assert world.counter("sandbox:box", "suspended_second")[-1] == 30 * 10**6
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_refused_start_lacks_what_its_least_time_costs_at_the_price_to_come() -> None:
    world = boxes(grant=0)
    twice = Price(Flat(2000, 1_000_000), unit="microsecond")
    world.publish({"sandbox:box": {"second": twice}}, version="v2", effective_at=T0 + HOUR)
    world.clock.advance(HOUR - 5 * SECOND)
    with pytest.raises(Refused) as refused:
        start(world, min_runtime=10 * SECOND)
    assert refused.value.refusal.shortfall == 20_000


@pytest.mark.every_store
def test_a_start_that_asks_for_more_than_prices_are_known_for_runs_as_far_as_they_are() -> None:
    world = boxes()
    started = start(world, fund_for=HOUR, min_runtime=HOUR)
    assert (started.funded_until, started.bound_by) == (T0 + 9 * MINUTE, "horizon")


@pytest.mark.every_store
@pytest.mark.parametrize(("credit", "allowed"), [(61_000, True), (60_999, False)])
def test_a_run_that_resumes_has_a_second_paid(credit, allowed) -> None:
    world = boxes(grant=credit)
    start(world)
    world.clock.advance(MINUTE)
    world.billing.suspend_run("acme", "r1")
    if allowed:
        assert world.billing.resume_run("acme", "r1").funded_until == T0 + 61 * SECOND
        return
    with pytest.raises(Refused):
        world.billing.resume_run("acme", "r1")


@pytest.mark.every_store
def test_a_run_can_be_funded_to_the_very_end_of_a_period() -> None:
    world = boxes()
    world.clock.advance(31 * DAY - 5 * MINUTE)
    assert start(world).funded_until == T0 + 31 * DAY
    assert world.wrong() == []


@pytest.mark.every_store
def test_an_allowance_repays_debt_before_it_pays_for_anything_new() -> None:
    world = World()
    world.billing.publish(Plan("p-1", "p", LONG_AGO, allowance=nanos(10)))
    world.billing.set_plan("acme", "plan", "p")
    world.clock.advance(31 * DAY - MINUTE)
    old = world.settle(18, occurred_at=T0 + 31 * DAY)
    assert world.paid_by(old) == []
    world.clock.advance(MINUTE)
    new = world.settle(10)
    assert world.billing.explain("acme", old.seq).unpaid == 8
    assert (world.paid_by(new), world.billing.explain("acme", new.seq).unpaid) == ([], 10)
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_part_that_is_priced_later_does_not_count_an_undone_request_again() -> None:
    """Of a request whose counting part was undone, the next part counts."""
    world = World()
    first = world.settle(units(1, item="job"))
    late = world.settle(Usage.of("x", {"late": 2}, item="job"))
    world.reverse(first, undo_usage=True)
    world.publish({"x": {"late": ONE_NANO}}, version="late")
    world.billing.price_unpriced("acme", "p", charge=late.seq, version="late")
    assert world.wrong() == []
    world.settle(units(1, item="job"))
    assert world.wrong() == []
    requests = [each.usage.requests for each in world.entries() if each.usage]
    assert (requests[:3], sum(requests), requests[-1]) == ([1, 0, -1], 1, 1)


def test_half_off_halves_what_a_run_has_held() -> None:
    world = boxes()
    off = {"version": "half", "percent_off": {"sandbox:box": 50}, "effective_at": T0 + HOUR}
    world.publish({}, org="acme", **off)
    world.clock.advance(HOUR)
    start(world)
    assert world.balance().held == 150_000


def test_a_tier_ends_below_36_digits() -> None:
    assert Tier(10**36 - 1, 1).up_to == 10**36 - 1
    for bad in (10**36, 0):
        with pytest.raises(InvalidCommand, match="up_to"):
            Tier(bad, 1)


def test_an_amount_of_64_bits_is_an_amount() -> None:
    for nanos_ in (MAX_NANOS, -MAX_NANOS):
        with pytest.raises(InvalidCommand, match="multiple"):
            to_minor(nanos_, "USD")
        with pytest.raises(MoneyOverflow):
            to_minor(nanos_ + (1 if nanos_ > 0 else -1), "USD")


def test_a_discount_is_given_by_name() -> None:
    with pytest.raises(TypeError):
        PriceBook("v", LONG_AGO, {}, "USD", {"x": 50})  # type: ignore[misc]


def test_a_list_of_missing_rows_ends_with_how_many_more_there_are() -> None:
    world = World()
    for number in range(23):
        world.grant(1, key=f"g{number}")
    world.store._orgs["acme"].lots.clear()
    found = world.wrong()
    assert len([each for each in found if "missing, but" in each and "lot " in each]) == 20
    assert any("lots: 3 more that the journal tells of are missing" in each for each in found)


def test_a_provider_s_figures_are_of_64_bits() -> None:
    good = {"id": "re", "payment": "pi", "state": "succeeded", "key": None}
    for amount in (2**63 - 1, 1 - 2**63):
        assert Refund(amount=amount, **good).amount == amount
    for amount in (2**63, -(2**63), True, 1.0):
        with pytest.raises(InvalidCommand, match="amount"):
            Refund(amount=amount, **good)


def test_a_page_has_a_currency_or_none_yet() -> None:
    page = {
        "id": "cs", "url": None, "state": "open", "paid": "unpaid", "subtotal": 0, "total": 0,
        "livemode": False, "org": None, "order": None, "payment": None, "customer": None,
        "method": None,
    }  # fmt: skip
    for currency in ("", "USD"):
        assert Checkout(currency=currency, **page).currency == currency
    with pytest.raises(InvalidCommand, match="currency"):
        Checkout(currency="usd", **page)


def test_what_is_set_below_the_threshold_answers_with_the_attempt_that_it_began() -> None:
    with till("fake") as t:
        t.paid("6", save_method=True)
        t.deliver()
        t.spend("2")
        began = t.enable(threshold="5", amount="20")
        [attempt] = [each.topup for each in t.store.topups("acme") if each.kind == "auto"]
        assert t.billing.auto_topup("acme", made=began).topup == attempt
        t.run()
        again = t.enable(threshold="5", amount="30")
        t.wait(MINUTE)
        stands = t.billing.auto_topup("acme", made=again)
        assert (stands.topup, stands.amount) == (None, usd("30").nanos)
        t.check()


def test_names_of_workspaces_and_orders_are_checked() -> None:
    assert len(ReportStorage("acme", "k", workspace="w" * 150, size=1).workspace) == 150
    with pytest.raises(InvalidCommand, match="150 characters"):
        ReportStorage("acme", "k", workspace="w" * 151, size=1)
    assert order(order="o" * 200).order == "o" * 200
    for name, bad in (("order", "o" * 201), ("order", ""), ("org", "")):
        with pytest.raises(InvalidCommand, match=name):
            order(**{name: bad})


@pytest.mark.every_store
def test_a_batch_corrects_a_run_in_the_period_before_and_tells_of_it_now() -> None:
    world = boxes()
    world.clock.advance(31 * DAY - 10 * SECOND)
    start(world)
    world.clock.advance(20 * SECOND)
    beat(world)
    begun = T0 + 31 * DAY - 8 * SECOND
    late = SuspendRun("acme", "s", run="r1", occurred_at=begun, until=begun + SECOND)
    world.clock.advance(SECOND)
    world.billing.execute([late, Heartbeat("acme", "h", run="r1")])
    assert world.counter("sandbox:box", "second") == [9 * 10**6, 11 * 10**6]
    assert spent(world) == 20_000
    assert world.wrong() == []


def test_a_sandbox_s_rates_are_below_12_digits() -> None:
    good = sandbox("box", {"second": 10**12 - 1})
    assert StartRun("acme", "k", spec=good).spec == good
    with pytest.raises(InvalidCommand, match="rates below"):
        StartRun("acme", "k", spec=sandbox("box", {"second": 10**12}))


def test_a_threshold_of_nothing_and_a_pass_of_one_are_taken() -> None:
    good = {"enabled": True, "threshold": usd("0"), "amount": usd("20")}
    assert SetAutoTopUp("acme", "k", **good).threshold == usd("0")
    world = World()
    assert world.billing.run_pending(limit=1).failures == []
    for limit in (0, -1, True, 1.0):
        with pytest.raises(InvalidCommand, match="limit"):
            world.billing.run_pending(limit=limit)


def test_a_customer_who_comes_back_is_told_that_nobody_takes_payments() -> None:
    with pytest.raises(PaymentError, match="no provider"):
        World().billing.confirm("acme", "cs_1")


def test_automatic_top_ups_are_off_and_have_done_nothing_at_first() -> None:
    assert set(astuple(AutoTopUp())) == {None, False}


def test_another_method_is_taken_and_the_same_one_is_no_news() -> None:
    auto = AutoTopUp(method="a", failures=2, not_before=9)
    assert not resumes(auto, None, "a")
    assert resumes(auto, "cus", "b")
    assert (auto.method, auto.customer, auto.failures, auto.not_before) == ("b", "cus", 0, 0)


def test_a_refund_without_our_key_is_ours_where_no_other_of_as_much_is() -> None:
    """One was asked for at 5, and its answer was lost."""
    with till("fake") as t:
        paid = attrs.evolve(t.payment(t.paid("20")), refunds=())
    known = TopUp("t", "checkout", 1, "paid", 2000, 1)
    asked = RefundOrder("ours", 300, "asked", 5)

    def taken(*made: RefundOrder, of=asked, until=5) -> bool:
        lists = {"id": "re", "payment": "pi", "state": "succeeded"}
        refunds = [Refund(**lists, amount=300, key=None), Refund(**lists, amount=200, key="other")]
        known.refunds = [*made, of]
        return _made_unnamed(known, attrs.evolve(paid, refunds=tuple(refunds)), of, until)

    assert taken()
    assert taken(RefundOrder("earlier", 200, "made", 1))
    assert not taken(RefundOrder("earlier", 300, "made", 1)), "it may be that one"
    assert not taken(until=4)
    assert not taken(of=RefundOrder("ours", 200, "asked", 5)), "that one has another's key"
    assert not taken(of=RefundOrder("ours", 300, "asked"))
    assert not taken(of=RefundOrder("ours", 300, "made", 5))


def test_a_refusal_is_known_by_its_reason() -> None:
    refused = Refused(Refusal("acme", "k", "not_due"))
    assert refused_for(refused, "not_due")
    assert not refused_for(refused, "dropped")
    assert not refused_for(NotFound("run", "r", "x"), "not_due")


def test_what_a_top_up_brings_about_is_told_in_the_same_pass() -> None:
    with till("fake") as t:
        t.armed("10", threshold="5", amount="20")
        t.spend("6")
        told = []
        t.run(deliver=told.append)
        assert t.attempts() == ["paid"]
        assert [each.kind for each in told].count("topup_succeeded") == 2, "the first by hand"


def test_a_refund_whose_answer_was_lost_is_made_once_its_news_has_come() -> None:
    with till("fake") as t:
        page = t.paid("20")
        t.deliver()
        t.street.fault("none", "timeout_after")
        with pytest.raises(PaymentError):
            t.billing.refund("acme", "r", topup=page.topup, amount=usd("3"))
        t.deliver()
        [known] = t.store.topups("acme")
        assert [each[1:3] for each in known.refunds] == [(300, "made")]
        assert (t.store.auto_topup("acme").refunds_open, t.balance()) == (0, "17.00 USD")
        t.check()


@pytest.mark.every_store
def test_what_is_told_late_of_a_forgiven_run_bills_nothing_more() -> None:
    world = boxes()
    start(world)
    world.clock.advance(10 * MINUTE)
    world.billing.execute([CloseSilentRun("acme", "sweep", run="r1", since=world.clock.now)])
    world.billing.forgive_run("acme", "f", "r1", reason="ours")
    assert stop(world).charged == 0
    entry = [each for each in world.entries() if each.usage][-1]
    [ran, _, forgiven] = entry.usage.lines
    assert (ran.billed, forgiven.component) == (600 * 10**6, "forgiven")
    assert (forgiven.billed, forgiven.amount) == (0, -ran.amount)
    assert world.wrong() == []


@pytest.mark.every_store
@pytest.mark.parametrize(("room", "fits"), [(5_949, False), (5_955, False), (5_956, True)])
def test_there_is_room_for_what_a_correction_gives_back_of_an_earlier_one(room, fits) -> None:
    """4,950 could not be given back to the other run, and stand in the carried fraction; each
    part is rounded up."""
    world = World()
    tiers = Price(Graduated((Tier(10**7, 1000, 10**6), Tier(None, 10, 10**6))), unit="microsecond")
    flat = Price(Flat(1000, 10**6), unit="microsecond")
    world.publish({"sandbox:two": {"a": tiers, "b": flat}}, version="two")
    world.grant(10**9)
    one, two = sandbox("two", {"a": 1}), sandbox("two", {"a": 1, "b": 1})
    start(world, "r1", two)
    start(world, "r2", one)
    world.clock.advance(25 * SECOND)
    assert stop(world, "r1", occurred_at=T0 + 20 * SECOND).charged == 10_100 + 20_000
    assert stop(world, "r2", occurred_at=T0 + 5 * SECOND).charged == 50

    def less(run: str, since: timedelta, until: timedelta) -> int:
        options = {"occurred_at": T0 + since, "until": T0 + until}
        return world.billing.suspend_run("acme", run, **options).charged

    assert less("r1", SECOND, 20 * SECOND) == -4_150 - 19_000
    assert less("r2", 0 * SECOND, 5 * SECOND) == -50
    world.grant(MAX_NANOS - world.balance().balance - room)
    before = world.state()
    if fits:
        assert less("r1", 0 * SECOND, SECOND / 2) == -5_950
    else:
        with pytest.raises(MoneyOverflow):
            less("r1", 0 * SECOND, SECOND / 2)
        assert world.state() == before
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_late_stop_gives_back_at_a_price_that_rose_only_where_there_is_room() -> None:
    world = boxes(1000)
    dear = Price(Flat(10**6, 10**6), unit="microsecond")
    rises = T0 + 10 * MINUTE
    world.publish({"sandbox:box": {"second": dear}}, version="v2", effective_at=rises)
    world.clock.set(rises - MINUTE)
    start(world)
    world.clock.advance(2 * MINUTE)
    assert beat(world).charged == 60 * 1000 + 60 * 10**6
    world.grant(MAX_NANOS - world.balance().balance - 30 * 10**6 + 1)
    before = world.state()
    with pytest.raises(MoneyOverflow):
        stop(world, occurred_at=rises + 30 * SECOND)
    assert world.state() == before
    world.billing.deduct("acme", "room", nanos(9), resource="x")
    assert stop(world, occurred_at=rises + 30 * SECOND).charged == -30 * 10**6
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_correction_of_time_without_a_price_needs_no_room_for_what_it_cost_before() -> None:
    world = World()
    cost = Price(Flat(1000, 1_000_000), unit="microsecond")
    world.publish({"sandbox:box": {"second": cost}}, version="p", plan="p")
    world.billing.publish(Plan("p-1", "p", LONG_AGO))
    world.billing.set_plan("acme", "on", "p")
    world.grant(10**9)
    end = T0 + MINUTE
    start(world)
    world.clock.advance(MINUTE)
    world.billing.set_plan("acme", "off", None)
    world.clock.advance(MINUTE)
    stop(world)
    assert spent(world) == 60_000
    world.grant(MAX_NANOS - world.balance().balance - 1)
    options = {"occurred_at": end, "until": end + 30 * SECOND}
    assert world.billing.suspend_run("acme", "r1", **options).charged == 0
    assert world.balance().balance == MAX_NANOS - 1
    assert world.wrong() == []


@pytest.mark.every_store
def test_pieces_whose_debt_together_would_leave_64_bits_are_refused() -> None:
    """Each alone would fit, since what is held pays for the first."""
    world = boxes(1000, grant=2_000_000)
    world.publish({"x": {"unit": ONE_NANO}}, version="more")
    edge = T0 + 10 * MINUTE
    more = Price(Flat(2000, 1_000_000), unit="microsecond")
    world.publish({"sandbox:box": {"second": more}}, version="v2", effective_at=edge)
    world.clock.advance(10 * MINUTE - 10 * SECOND)
    start(world, fund_for=20 * SECOND)
    world.settle(MAX_NANOS)
    world.settle(2_000_000 - 40_000 - 25_000)
    assert world.balance().debt == MAX_NANOS - 25_000
    world.clock.advance(20 * SECOND)
    before = world.state()
    with pytest.raises(MoneyOverflow, match="debt"):
        stop(world)
    assert world.state() == before
    assert world.wrong() == []


def test_what_has_ended_by_now_is_no_credit_that_makes_a_top_up_needless() -> None:
    with till("fake") as t:
        t.armed("10", threshold="5", amount="20")
        t.spend("6")
        ends = moment(t.clock()) + HOUR
        t.billing.grant("acme", "promo", usd("900"), kind="promotional", expires_at=ends)
        t.clock.advance(2 * HOUR)
        [(org, topup)] = t.store.due_topups(t.clock(), livemode=False)
        assert t.billing.execute([ClaimTopUp(org, topup)])[0].state == "calling"
        t.wait(3 * MINUTE)
        assert t.attempts() == ["paid"]
        t.check()


def test_an_org_s_events_are_others_turn_after_a_second() -> None:
    with till("fake") as t:
        t.billing.set_low_balance("acme", "low", usd("15"))
        t.paid("20")
        t.spend("20")
        t.run()
        told = []

        def deliver(event) -> None:
            told.append(event)
            t.clock.advance(SECOND)

        assert len(t.events()) > 1
        assert t.run(deliver=deliver).more
        assert len(told) == 1


def test_that_no_payment_will_come_is_known_once_its_key_is_surely_forgotten() -> None:
    with till("fake") as t:
        t.armed("10", threshold="5", amount="20")
        t.spend("6")
        [attempt] = [each for each in t.store.topups("acme") if each.kind == "auto"]
        charge = ChargeAttempt(**json.loads(attempt.asked))
        attempt.started = t.clock()
        kept = timedelta(microseconds=t.provider.keys_kept)
        said = []
        for age in (kept - 15 * MINUTE - US, US, 30 * MINUTE, US):
            t.clock.advance(age)
            said.append(t.billing._at_provider()._look(charge, attempt))
        assert said == [(None, None), (None, False), (None, False), (None, True)]


def test_a_url_has_2000_characters_at_most() -> None:
    long = "https://host.example/"
    for name in ("success_url", "cancel_url"):
        url = long + "x" * (2000 - len(long))
        assert getattr(order(**{name: url}), name) == url
        with pytest.raises(InvalidCommand, match="2,000 characters"):
            order(**{name: url + "x"})


def test_a_payment_of_a_top_up_that_nobody_ordered_is_said_to_be_no_more_than_that() -> None:
    def nobody_s(content, effects) -> None:
        effects["topup"] |= {"topup": "another", "changes": 1}

    with till("fake") as t:
        t.order("20")
        found = altered(t, "payment", nobody_s)
        assert any("another" in each for each in found)
        assert not any("taken back" in each for each in found)


@pytest.mark.every_store
def test_what_an_item_s_minimum_adds_is_held_at_the_price_that_it_began_with() -> None:
    world = World()
    dear, cheap = (Price(Flat(cost), unit="unit", increment=100) for cost in (10, 1))
    world.publish({"call": {"n": dear}}, version="dear")
    world.publish({"call": {"n": cheap}}, version="cheap", effective_at=T0 + HOUR)
    world.grant(10_000)
    assert world.settle(Usage.of("call", {"n": 10}, item="job")).amount == 1000
    world.clock.advance(2 * HOUR)
    more = Usage.of("call", {"n": 91}, item="job")
    assert world.billing.quote("acme", more).amount == 91 + 9 * 10
    # In parts, the last unit alone may begin the next hundred.
    held = world.hold(more, key="h").held.amount
    first = Usage.of("call", {"n": 90}, item="job")
    last = Usage.of("call", {"n": 1}, item="job")
    assert world.settle(first, hold="h", final=False).amount == 0
    assert world.settle(last, hold="h").amount == 1 + 99 * 10 <= held == 100 * 10
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_price_that_comes_later_is_refused_where_the_debt_would_leave_64_bits() -> None:
    world = World()
    late = world.settle(Usage.of("x", {"late": 20}))
    world.settle(MAX_NANOS - 10)
    world.publish({"x": {"late": ONE_NANO}}, version="late")
    before = world.state()
    with pytest.raises(MoneyOverflow, match="debt"):
        world.billing.price_unpriced("acme", "p", charge=late.seq, version="late")
    assert world.state() == before
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_charge_that_is_not_made_yet_cannot_be_reversed_in_its_batch() -> None:
    world = World()
    world.grant(10)
    last = world.entries()[-1].seq
    charge, reverse = Settle("acme", "s", usage=units(1)), Reverse("acme", "r", charge=last + 2)
    charged, back = world.billing.execute([charge, reverse])
    assert charged.seq == last + 1
    assert isinstance(back, NotFound)


@pytest.mark.every_store
def test_a_nano_is_refused_to_who_has_none() -> None:
    world = World()
    for ask in (world.hold, world.deduct):
        with pytest.raises(Refused) as refused:
            ask(1)
        assert refused.value.refusal.shortfall == 1


@pytest.mark.every_store
def test_credit_that_is_brought_back_repays_debt_and_ends_in_the_future() -> None:
    world = World()
    world.grant(10, kind="promotional", expires_at=T0 + HOUR)
    world.clock.advance(2 * HOUR)
    world.settle(4)
    [expiry] = world.billing.expiries("acme", since=T0)
    with pytest.raises(InvalidCommand, match="expires_at"):
        world.billing.undo_expiry("acme", expiry.seq, expires_at=world.clock.now)
    world.billing.undo_expiry("acme", expiry.seq, expires_at=world.clock.now + HOUR)
    balance = world.balance()
    assert (balance.debt, balance.balance) == (0, 6)
    assert world.wrong() == []


def test_the_longest_grace_and_the_highest_alert_are_taken() -> None:
    assert Plan("p-1", "p", LONG_AGO, grace=27 * DAY).grace == 27 * DAY
    assert Limit("org", nanos(1), alerts=(1, 1000)).alerts == (1, 1000)
    for bad in (0, 1001):
        with pytest.raises(InvalidCommand, match="alerts"):
            Limit("org", nanos(1), alerts=(bad,))
    with pytest.raises(InvalidCommand, match="grace"):
        Plan("p-1", "p", LONG_AGO, grace=27 * DAY + US)


@pytest.mark.every_store
def test_a_limit_of_nothing_tells_nothing_before_anything_is_spent() -> None:
    world = World()
    world.grant(10)
    world.billing.set_limit("acme", "none", nanos(0), alerts=(50,), blocks=False)
    assert world.billing.events("acme") == []
    world.billing.set_limit("acme", "two", nanos(2), alerts=(50,), blocks=False)
    assert world.billing.events("acme") == []
    world.settle(1)
    assert [each.kind for each in world.billing.events("acme")] == ["budget"]


@pytest.mark.every_store
@pytest.mark.parametrize("spent", [4, 5])
def test_a_limit_that_is_set_tells_at_once_of_a_mark_that_is_reached(spent) -> None:
    world = World()
    world.grant(10)
    world.billing.set_limit("acme", "first", nanos(100))
    world.settle(spent)
    world.billing.set_limit("acme", "lower", nanos(10), alerts=(50,))
    told = [each.kind for each in world.billing.events("acme")]
    assert told == (["budget"] if spent == 5 else [])


@pytest.mark.every_store
def test_a_plan_s_allowance_repays_what_is_owed_of_its_period() -> None:
    world = World()
    world.billing.publish(Plan("p-1", "p", LONG_AGO, allowance=nanos(10)))
    world.settle(4)
    world.billing.set_plan("acme", "on", "p")
    assert (world.balance().debt, world.balance().balance) == (0, 6)
    assert world.wrong() == []


@pytest.mark.every_store
def test_each_period_has_its_allowance_from_its_very_first_moment() -> None:
    """Nothing was asked for in the period between."""
    world = World()
    world.billing.publish(Plan("p-1", "p", LONG_AGO, allowance=nanos(10)))
    world.billing.set_plan("acme", "on", "p")
    world.clock.advance(61 * DAY)  # from March to May the 10th
    assert world.deduct(10).paid == 10
    assert [each.op for each in world.entries()].count("lapse") == 3
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_quota_of_a_pattern_counts_what_it_names_in_its_period_alone() -> None:
    world = World()
    calls = {"call": Price(Flat(1), unit="call")}
    world.publish({"tool:*": calls, "code:*": calls}, version="calls")
    quota = Quota("tool:*", "call", 3)
    world.billing.publish(Plan("p-1", "p", LONG_AGO, quotas=(quota,)))
    world.billing.set_plan("acme", "on", "p")
    world.grant(100)
    world.clock.advance(31 * DAY)
    before = world.clock.now - HOUR
    tool, code = (Usage.of(name, {"call": 3}) for name in ("tool:search", "code:run"))
    batch = [
        Settle("acme", "old", usage=tool, occurred_at=before),
        Settle("acme", "other", usage=code),
        Deduct("acme", "now", cost=tool),
        Deduct("acme", "more", cost=Usage.of("tool:read", {"call": 1})),
    ]
    *charged, refused = world.billing.execute(batch)
    assert [each.amount for each in charged] == [3, 3, 3]
    assert refused.reason == "quota_reached"
    assert world.wrong() == []


def test_a_price_of_64_bits_is_a_price() -> None:
    assert Flat(MAX_NANOS, 10**30).nanos == MAX_NANOS
    for nanos_, per, name in ((MAX_NANOS + 1, 1, "nanos"), (1, 10**30 + 1, "per"), (1, 0, "per")):
        with pytest.raises(InvalidCommand, match=name):
            Flat(nanos_, per)
    price = Price(Flat(1), minimum=10**30, increment=10**30)
    assert price.billed(1) == 10**30
    for bounds in ({"minimum": 10**30 + 1}, {"increment": 10**30 + 1}, {"increment": 0}):
        with pytest.raises(InvalidCommand, match=next(iter(bounds))):
            Price(Flat(1), **bounds)


@pytest.mark.every_store
def test_a_lot_that_expires_twice_in_one_entry_comes_back_whole() -> None:
    """A charge had ten of it from its hold, and five beside."""
    world = World()
    world.grant(100, kind="promotional", expires_at=T0 + HOUR)
    world.hold(10, key="h", expires_in=MINUTE)
    charge = world.settle(15, hold="h")
    world.clock.advance(2 * HOUR)
    back = world.reverse(charge)
    assert world.balance().balance == 0
    world.billing.undo_expiry("acme", back.seq, expires_at=None)
    assert world.balance().balance == 15
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_hold_of_this_period_s_allowance_pays_for_what_was_used_just_before_it() -> None:
    world = World()
    world.billing.publish(Plan("p-1", "p", LONG_AGO, allowance=nanos(10)))
    world.billing.set_plan("acme", "on", "p")
    world.clock.advance(31 * DAY + MINUTE)
    world.hold(5, key="h")
    charged = world.settle(5, hold="h", occurred_at=world.clock.now - 2 * MINUTE)
    assert (charged.captured, charged.unpaid) == (5, 0)
    assert world.wrong() == []


@pytest.mark.every_store
def test_undoing_gives_back_no_more_than_is_left_by_both_components_together() -> None:
    """The dear charge was given back already, as money."""
    world = World()
    price = Price(Graduated((Tier(10, 10), Tier(None, 1))), unit="unit")
    world.publish({"two": {"a": price, "b": price}}, version="two")
    world.grant(1000)
    used = Usage.of("two", {"a": 10, "b": 10})
    dear, cheap = world.settle(used), world.settle(used)
    assert (dear.amount, cheap.amount) == (200, 20)
    world.reverse(dear)
    assert world.reverse(dear, undo_usage=True).amount == 0
    assert world.reverse(cheap, undo_usage=True).amount == 20
    assert (world.balance().balance, world.balance().used) == (1000, 0)
    assert world.wrong() == []


@pytest.mark.every_store
def test_what_was_never_published_prices_nothing_later() -> None:
    world = World()
    late = world.settle(Usage.of("x", {"late": 2}))
    with pytest.raises(NotFound, match="never"):
        world.billing.price_unpriced("acme", "p", charge=late.seq, version="never")


@pytest.mark.every_store
def test_an_alert_of_a_plan_that_has_just_changed_is_told_from_its_first_moment() -> None:
    world = World()
    world.billing.publish(Plan("p-1", "p", LONG_AGO))
    limit = Limit("org", nanos(10), alerts=(50,))
    world.billing.publish(Plan("p-2", "p", T0 + HOUR, limits=(limit,)))
    world.billing.set_plan("acme", "on", "p")
    world.grant(100)
    world.settle(5)
    world.clock.advance(HOUR)
    world.grant(1)
    assert [each.kind for each in world.billing.events("acme")] == ["budget"]
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_balance_that_is_its_threshold_is_not_low_yet() -> None:
    world = World()
    world.grant(10)
    world.billing.set_low_balance("acme", "at", nanos(10))
    assert world.billing.events("acme") == []
    world.billing.set_low_balance("acme", "above", nanos(11))
    assert [each.kind for each in world.billing.events("acme")] == ["low_balance"]


@pytest.mark.every_store
def test_what_was_granted_ever_leaves_room_for_an_allowance() -> None:
    world = World()
    world.billing.publish(Plan("p-1", "p", LONG_AGO, allowance=nanos(10)))
    world.grant(MAX_NANOS)
    world.settle(MAX_NANOS)
    world.billing.set_plan("acme", "on", "p")
    assert world.balance().balance == 10
    assert world.wrong() == []


def test_a_package_is_dearest_where_one_has_just_been_used_up() -> None:
    package = Package(5, 10)
    assert list(package.peaks(3, 7, 4)) == [3, 7]
    assert list(package.peaks(3, 17, 4)) == [3, 10]
    assert list(package.peaks(10, 30, 4)) == [10, 10]


@pytest.mark.every_store
def test_a_hold_that_outlives_a_price_is_of_what_has_one() -> None:
    world = World()
    world.publish({"own": {"unit": ONE_NANO}}, version="own", org="acme", effective_at=T0 + HOUR)
    end = {"version": "end", "org": "acme", "effective_at": T0 + 2 * HOUR}
    world.publish({"own": {"unit": None}}, **end)
    world.grant(10)
    world.clock.advance(90 * MINUTE)
    assert world.hold(units(5, "own")).held.amount == 5


@pytest.mark.every_store
def test_a_hold_that_a_price_changes_in_is_of_the_tier_that_others_bring_it_to() -> None:
    world = World(priced=False)
    for version, at in (("one", LONG_AGO), ("two", T0 + 30 * MINUTE)):
        tiers = Graduated((Tier(10, 1), Tier(None, 7)))
        world.publish({"x": {"unit": Price(tiers, unit="unit")}}, version=version, effective_at=at)
    world.grant(1000)
    world.hold(units(8))
    assert world.hold(units(5)).held.amount == 35


@pytest.mark.every_store
def test_a_hold_announces_the_most_that_any_price_in_its_life_counts() -> None:
    world = World(priced=False)
    for version, at, step in (("one", LONG_AGO, 100), ("two", T0 + 30 * MINUTE, 10)):
        price = Price(Flat(1), unit="unit", increment=step)
        world.publish({"x": {"unit": price}}, version=version, effective_at=at)
    quota = Quota("x", "unit", 1000)
    world.billing.publish(Plan("p-1", "p", LONG_AGO, quotas=(quota,)))
    world.billing.set_plan("acme", "on", "p")
    world.grant(1000)
    world.hold(units(5, item="job"))
    [counter] = world.store.counters("acme")
    assert counter.of("unit").held == 100


@pytest.mark.every_store
def test_undoing_looks_for_no_money_in_another_period() -> None:
    world = World()
    price = Price(Graduated((Tier(10, 0), Tier(None, 10))), unit="unit")
    world.publish({"tiers": {"n": price}}, version="tiers")
    world.grant(10**6)
    world.clock.advance(31 * DAY + MINUTE)
    old = world.clock.now - HOUR
    used = Usage.of("tiers", {"n": 10})
    free = world.settle(used)
    dear = Settle("acme", "dear", usage=Usage.of("tiers", {"n": 10}))
    before = Settle("acme", "before", usage=Usage.of("tiers", {"n": 20}), occurred_at=old)
    undo = Reverse("acme", "undo", charge=free.seq, undo_usage=True)
    *charged, back = world.billing.execute([dear, before, undo])
    assert [each.amount for each in charged] == [100, 100]
    assert back.amount == 100
    amounts = {each.charge: each.amount for each in world.store.charges("acme")}
    assert amounts[charged[0].seq] == 0
    assert amounts.get(charged[1].seq, 100) == 100
    assert world.wrong() == []


@pytest.mark.parametrize("kind", ["fake", "stripe"])
def test_what_a_won_dispute_gives_back_waits_until_there_is_room_in_64_bits(kind) -> None:
    with till(kind) as t:
        page = t.paid("20")
        dispute = t.street.dispute(t.payment(page).id, 700)
        t.deliver()
        left = t.billing.balance("acme").balance
        t.billing.grant("acme", "fill", nanos(MAX_NANOS - left - to_nanos(700, "USD") + 1))
        t.street.close_dispute(dispute, won=True)
        with pytest.raises(MoneyOverflow):
            t.deliver()
        assert t.billing.balance("acme").balance == MAX_NANOS - to_nanos(700, "USD") + 1
        t.billing.deduct("acme", "room", nanos(1), resource="x")
        t.clock.advance(HOUR)
        t.run()
        assert t.billing.balance("acme").balance == MAX_NANOS
        assert t.wrong() == []


@pytest.mark.every_store
def test_a_start_just_before_midnight_is_refused_for_the_limit_of_the_day_to_come() -> None:
    world = boxes()
    world.clock.advance(12 * HOUR - 5 * SECOND)
    world.billing.set_limit("acme", "l", nanos(15_000), per="day")
    world.billing.deduct(
        "acme", "d", nanos(15_000), resource="x", occurred_at=T0 + 12 * HOUR + MINUTE
    )
    with pytest.raises(Refused) as refused:
        start(world, min_runtime=10 * SECOND)
    assert (refused.value.refusal.reason, refused.value.refusal.limit) == (
        "limit_reached",
        "org_limit",
    )


@pytest.mark.every_store
def test_at_one_moment_an_allowance_ends_before_a_hold_whatever_its_key() -> None:
    """It was granted and ended since anybody asked for anything."""
    world = World()
    world.billing.publish(Plan("p-1", "p", LONG_AGO, allowance=nanos(10)))
    world.billing.set_plan("acme", "on", "p")
    second_ends = datetime(2026, 5, 10, 12, 5, tzinfo=UTC)  # and the grace
    world.hold(3, key="!", expires_in=second_ends - world.clock.now)
    world.clock.set(second_ends + DAY)
    world.grant(1)
    lapsed = [(each.at, each.key) for each in world.entries() if each.op == "lapse"]
    at_once = [key for at, key in lapsed if at == micros("at", second_ends)]
    assert [key.split(":")[1] for key in at_once] == ["lot", "hold"]
    assert world.wrong() == []


@pytest.mark.every_store
@pytest.mark.parametrize(
    "command",
    [
        "grant", "deduct", "hold", "hold_usage", "settle", "extend", "release", "reverse",
        "undo_usage", "undo_expiry", "price_unpriced", "set_plan", "set_limit", "set_low_balance",
        "report_storage", "bill_storage", "close",
    ],
)  # fmt: skip
def test_a_hold_that_has_ended_lapses_before_whatever_comes_next(command: str) -> None:
    """What it held is free for that."""
    world = World()
    billing = world.billing
    world.grant(1000)
    world.grant(5, expires_at=T0 + SECOND)
    used = world.settle(Usage.of("x", {"unit": 3, "odd": 1}))
    billing.report_storage("acme", "ws", 1)
    billing.publish(Plan("p-1", "p", LONG_AGO))
    world.publish({"x": {"odd": ONE_NANO}}, version="late")
    world.clock.advance(MINUTE)
    billing.run_pending()
    [expiry] = [entry.seq for entry in world.entries() if entry.key.startswith("lapse:lot:")]
    lasting = world.hold(10)
    world.hold(10, key="h", expires_in=MINUTE)
    world.clock.advance(MINUTE)
    before = len(world.entries())
    do = {
        "grant": lambda: world.grant(1),
        "deduct": lambda: world.deduct(1),
        "hold": lambda: world.hold(1),
        "hold_usage": lambda: world.hold(units(1)),
        "settle": lambda: world.settle(1),
        "extend": lambda: world.extend(lasting, expires_in=2 * HOUR),
        "release": lambda: billing.release("acme", lasting.key),
        "reverse": lambda: world.reverse(used, 1),
        "undo_usage": lambda: world.reverse(used, undo_usage=True),
        "undo_expiry": lambda: billing.undo_expiry("acme", expiry, expires_at=None),
        "price_unpriced": lambda: billing.price_unpriced(
            "acme", "p", charge=used.seq, version="late"
        ),
        "set_plan": lambda: billing.set_plan("acme", "s", "p"),
        "set_limit": lambda: billing.set_limit("acme", "l", nanos(9), per="day"),
        "set_low_balance": lambda: billing.set_low_balance("acme", "b", nanos(1)),
        "report_storage": lambda: billing.report_storage("acme", "ws", 2),
        "bill_storage": lambda: billing.bill_storage("acme"),
        "close": lambda: billing.execute([Close("acme", remainder="refund")]),
    }
    do[command]()
    new = [entry.key for entry in world.entries()[before:]]
    assert new[0] == "lapse:hold:h"
    assert len(new) > 1
    assert world.wrong() == []


@pytest.mark.every_store
def test_an_allowance_has_the_room_that_credit_leaves_whatever_is_owed() -> None:
    """What there is may pay for other things than what is owed."""
    world = World()
    world.billing.publish(Plan("p-1", "p", LONG_AGO, allowance=nanos(50)))
    world.grant(MAX_NANOS - 10, scope=["y"])
    world.settle(100)
    assert world.balance().debt == 100
    assert world.billing.set_plan("acme", "on", "p").amount == 10
    assert world.balance().debt == 90
    assert world.wrong() == []


def test_a_quote_of_as_long_as_credit_lasts_says_what_that_costs() -> None:
    world = boxes(1000, grant=90_000)
    quoted = world.billing.longest_run("acme", sandbox("box", {"second": 1}))
    assert (quoted.amount, quoted.until, quoted.bound_by) == (90_000, T0 + 90 * SECOND, "balance")


@pytest.mark.every_store
def test_a_resumption_told_late_gives_back_what_suspended_time_cost() -> None:
    world = World(priced=False)
    prices = {
        name: Price(Flat(nanos_, 1_000_000), unit="microsecond")
        for name, nanos_ in (("second", 1000), ("suspended_second", 10))
    }
    world.publish({"sandbox:box": prices})
    world.grant(10**9)
    start(world)
    world.billing.suspend_run("acme", "r1")
    world.clock.advance(MINUTE)
    assert beat(world).charged == 60 * 10
    resumed = world.billing.resume_run("acme", "r1", occurred_at=T0 + 20 * SECOND)
    assert resumed.charged == 40 * 1000 - 40 * 10
    assert stop(world).charged == 0
    assert spent(world) == 40 * 1000 + 20 * 10
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_run_is_funded_to_the_very_end_of_a_billing_period() -> None:
    world = boxes(1000)
    end = datetime(2026, 4, 10, 12, tzinfo=UTC)
    world.clock.set(end - 2 * MINUTE)
    started = start(world, fund_for=2 * MINUTE)
    assert (started.funded_until, started.bound_by) == (end, "asked")
    world.clock.set(end)
    assert stop(world).charged == 120 * 1000
    assert world.wrong() == []


@pytest.mark.every_store
def test_a_run_that_ended_before_it_was_suspended_was_not_suspended() -> None:
    world = boxes(1000)
    start(world)
    world.clock.advance(MINUTE)
    world.billing.suspend_run("acme", "r1", occurred_at=T0 + 40 * SECOND)
    stopped = stop(world, occurred_at=T0 + 30 * SECOND)
    assert (stopped.charged, spent(world)) == (-10 * 1000, 30 * 1000)
    (run,) = world.store.runs("acme")
    assert run.suspensions == []
    assert world.wrong() == []


@pytest.mark.parametrize("name", ["", "\n", "x" * 201])
def test_what_the_engine_asks_for_itself_has_names_too(name) -> None:
    with pytest.raises(InvalidCommand, match="org"):
        ClaimTopUp(name, "t1")
    with pytest.raises(InvalidCommand, match="refund"):
        AskRefund("acme", "k", topup="t1", refund=name, livemode=True)


@pytest.mark.parametrize("level", [1, 2])
def test_totals_stay_within_64_bits_while_the_version_before_may_run(level, monkeypatch) -> None:
    """Its columns hold no more; from then on they refuse nothing."""
    monkeypatch.setattr(MemoryStore, "level", lambda store: level)
    world = World()
    world.grant(MAX_NANOS - 5)
    world.settle(MAX_NANOS - 5)
    world.grant(5)
    world.settle(5)
    for more, what in ((world.grant, "granted"), (world.settle, "charged")):
        if level == 1:
            with pytest.raises(MoneyOverflow, match=f"a total {what} within 64 bits"):
                more(1)
        else:
            more(1)
    assert world.wrong() == []


def test_credit_beside_debt_that_it_may_not_pay_stays_within_64_bits() -> None:
    """It is what all lots have together that is kept in 64 bits, not the balance."""
    world = World()
    world.settle(units(20, "y"))
    world.grant(MAX_NANOS, scope=["x"])
    assert world.balance().balance == MAX_NANOS - 20
    with pytest.raises(MoneyOverflow, match="credit that is within 64 bits"):
        world.grant(1, scope=["x"])
    world.settle(units(1, "x"))
    world.grant(1, scope=["x"])
    assert world.wrong() == []


def test_a_debt_of_64_bits_is_repaid() -> None:
    world = World()
    world.settle(MAX_NANOS)
    assert world.granted(7).repaid == 7
    assert world.balance().debt == MAX_NANOS - 7
    assert world.wrong() == []


@pytest.mark.parametrize(("level", "binds"), [(1, False), (2, True), (LEVEL, True)])
def test_an_entry_binds_its_events_once_the_version_before_that_is_gone(
    level, binds, monkeypatch
) -> None:
    """It could not follow what it does not know."""
    monkeypatch.setattr(MemoryStore, "level", lambda store: level)
    world = World()
    world.grant(5)
    last = world.settle(5)
    assert [each.kind for each in world.billing.events("acme")] == ["depleted"]
    assert ("told" in json.loads(world.entries()[last.seq - 1].effects)) is binds
    assert world.wrong() == []
