"""Section 6, the ledger: expiry, decision time, and refusals."""

from datetime import timedelta

import pytest
from world import DAY, HOUR, MINUTE, SECOND, T0, TICK, World, units

from billing_core import InvalidCommand, Refusal, Refused
from billing_core.values.money import NANOS

# -- 6.7 ------------------------------------------------------------------------


def test_6_7_expired_credit_is_never_spendable_sweep_or_no_sweep() -> None:
    """Nobody ever came by to sweep."""
    world = World()
    world.grant(10, expires_at=T0 + HOUR)
    world.clock.advance(HOUR - TICK)
    assert world.billing.check("acme", units(10)).allowed
    world.clock.advance(TICK)
    assert not world.billing.check("acme", units(1)).allowed
    assert world.balance().balance == 0
    for attempt in (lambda: world.hold(1), lambda: world.deduct(1)):
        with pytest.raises(Refused):
            attempt()
    assert world.settle(1).unpaid == 1


def test_6_7_decision_time_is_the_later_of_the_command_s_time_and_the_watermark() -> None:
    world = World()
    world.grant(10, expires_at=T0 + MINUTE)
    world.settle(1, at=T0 + MINUTE)
    late = world.settle(1, at=T0)
    assert late.at == T0 + MINUTE
    assert late.unpaid == 1
    assert world.settle(1, at=T0 + 2 * MINUTE).at == T0 + 2 * MINUTE


def test_6_7_a_clock_that_goes_back_revives_nothing() -> None:
    world = World()
    world.grant(10, expires_at=T0 + HOUR)
    hold = world.hold(3, expires_in=HOUR)
    world.clock.advance(HOUR)
    world.settle(0)
    world.clock.set(T0)
    assert world.balance().balance == 0
    with pytest.raises(Refused):
        world.extend(hold)
    assert world.wrong() == []


@pytest.mark.parametrize("ahead", [5 * MINUTE + TICK, DAY, timedelta(days=365_000)])
def test_6_7_commands_dated_too_far_ahead_are_refused(ahead: timedelta) -> None:
    world = World()
    world.grant(10)
    before = world.state()
    for options in ({"at": T0 + ahead}, {"occurred_at": T0 + ahead}):
        for attempt in (world.settle, world.deduct):
            with pytest.raises(InvalidCommand, match="or earlier"):
                attempt(1, **options)
    with pytest.raises(InvalidCommand, match="or earlier"):
        world.billing.open_account("new", at=T0 + ahead)
    assert world.state() == before
    world.settle(1, at=T0 + 5 * MINUTE, occurred_at=T0 + 5 * MINUTE)


def test_6_7_occurrence_picks_the_price_and_decision_time_the_lots() -> None:
    world = World()
    old = world.grant(10, expires_at=T0 + HOUR)
    world.clock.advance(HOUR)
    charge = world.settle(5, occurred_at=T0)
    assert charge.unpaid == 5
    assert (old, 5) not in world.paid_by(charge)


@pytest.mark.parametrize("ahead", [timedelta(0), -TICK, -DAY])
def test_6_7_credit_that_has_expired_already_cannot_come_in(ahead: timedelta) -> None:
    world = World()
    before = world.state()
    with pytest.raises(InvalidCommand, match="expires_at"):
        world.grant(5, expires_at=T0 + ahead)
    assert world.state() == before


def test_6_7_the_account_carries_the_next_time_at_which_something_lapses() -> None:
    world = World()

    def next_lapse() -> int | None:
        return world.store._orgs["acme"].account.next_lapse

    start = world.clock()
    assert next_lapse() is None
    world.grant(5, expires_at=T0 + 3 * SECOND)
    world.grant(5)
    assert next_lapse() == start + 3_000_000
    world.hold(5, expires_in=SECOND)
    world.hold(5, expires_in=5 * SECOND)
    assert next_lapse() == start + 1_000_000
    for passed, then in ((1, 3_000_000), (3, 5_000_000), (5, None)):
        world.clock.set(T0 + passed * SECOND)
        world.settle(0)
        assert next_lapse() == (None if then is None else start + then)


def test_6_7_at_one_moment_lots_end_before_holds_whatever_a_hold_is_called() -> None:
    world = World()
    lot = world.grant(10, expires_at=T0 + HOUR)
    for key in ("#1", "a"):
        world.hold(3, expires_in=HOUR, key=key)
    world.clock.advance(HOUR)
    world.settle(0, key="s")
    ended = [(entry.key, entry.amount) for entry in world.entries() if entry.op == "lapse"]
    assert ended == [(f"lapse:lot:{lot}", 4), ("lapse:hold:#1", 3), ("lapse:hold:a", 3)]
    assert world.wrong() == []


def test_6_7_reads_project_and_never_write() -> None:
    world = World()
    world.grant(10, expires_at=T0 + HOUR)
    world.hold(3, expires_in=2 * HOUR)
    world.clock.advance(DAY)
    before = world.state()
    assert world.balance().balance == 0
    assert world.available() == 0
    world.billing.quote("acme", units(3))
    world.billing.usage("acme")
    world.billing.history("acme")
    world.billing.verify()
    assert world.state() == before


def test_6_7_what_has_lapsed_is_recorded_even_if_the_command_is_refused() -> None:
    world = World()
    world.grant(10, expires_at=T0 + HOUR)
    world.clock.advance(DAY)
    with pytest.raises(Refused):
        world.deduct(1)
    [lapse] = [entry for entry in world.entries() if entry.op == "lapse"]
    assert lapse.at == T0.timestamp() * 10**6 + 3600 * 10**6
    assert world.wrong() == []


# -- 6.8 ------------------------------------------------------------------------


def test_6_8_a_refusal_is_a_value_that_says_why_and_what_would_help() -> None:
    world = World()
    world.grant(10)
    with pytest.raises(Refused) as refused:
        world.deduct(25, key="d")
    refusal = refused.value.refusal
    assert (refusal.org, refusal.key) == ("acme", "d")
    assert (refusal.reason, refusal.limit) == ("insufficient_credit", "balance")
    assert refusal.shortfall == 15
    assert (refusal.retryable, refusal.retry_after) == (False, None)
    assert "0.000000015 more is needed" in str(refusal)


@pytest.mark.parametrize(
    ("reason", "shortfall", "limit", "said"),
    [
        ("limit_reached", 5 * NANOS, "org_limit", "5.00 more than it leaves (bound by org_limit)"),
        ("quota_reached", 0, "quota", "used up until its window ends (bound by quota)"),
        ("over_reversal", 4 * NANOS, "charge", "too much by 4.00 (bound by charge)"),
        ("over_reversal", 0, "charge", "nothing of it is left to give back (bound by charge)"),
        ("closed", 0, None, "open another org"),
        ("hold_lapsed", 0, None, "settle without it"),
        ("hold_released", 0, None, "make another"),
        ("not_silent", 0, None, "nothing to sweep"),
        ("no_saved_method", 0, None, "save_method=True first"),
        ("not_paid", 0, None, "wait until it is paid"),
    ],
)
def test_6_8_a_refusal_says_what_is_too_much_or_what_to_do(
    reason: str, shortfall: int, limit: str | None, said: str
) -> None:
    text = str(Refusal("acme", "k", reason, shortfall, limit))
    assert text.startswith(f"{reason} for key 'k' of org 'acme': ") and text.endswith(said)


def test_6_8_where_no_credit_is_missing_a_refusal_tells_of_no_shortfall() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(3, expires_in=MINUTE)
    charge = world.settle(5)
    world.reverse(charge)
    world.clock.advance(HOUR)
    for attempt in (lambda: world.extend(hold), lambda: world.reverse(charge)):
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.refusal.shortfall == 0
        assert "short" not in str(refused.value)


def test_6_8_the_shortfall_is_what_exactly_suffices() -> None:
    world = World()
    world.settle(7)
    with pytest.raises(Refused) as refused:
        world.hold(5)
    world.grant(refused.value.refusal.shortfall)
    assert world.hold(5).amount == 5


def test_6_8_each_rule_has_its_reason() -> None:
    world = World()
    charge = world.settle(5)
    with pytest.raises(Refused) as refused:
        world.reverse(charge, 6)
    assert refused.value.refusal.reason == "over_reversal"
    world.billing.close("acme", remainder="refund")
    with pytest.raises(Refused) as refused:
        world.grant(5)
    assert refused.value.refusal.reason == "closed"
    refusal = world.billing.check("acme", units(0)).refusal
    assert refusal is not None
    assert refusal.reason == "closed"
