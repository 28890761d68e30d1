"""What was dated ahead before an org's first limit counts towards it."""

from datetime import timedelta

import pytest
from world import DAY, T0, TICK, World, nanos, units

from billing_core import Refused

MIDNIGHT = T0.replace(hour=0) + DAY


def of_the_version_before(ledger, time: int) -> None:
    """How 0.1.0 began to add up spending."""
    account = ledger.account
    if account.limited_since is None:
        account.limited_since = max(time, account.recorded_at, ledger.terms.now)


@pytest.mark.every_store
@pytest.mark.parametrize("earlier", [timedelta(0), TICK])
@pytest.mark.parametrize("version", ["this", "before"])
def test_a_window_a_whole_day_after_the_first_limit_has_what_was_dated_ahead_into_it(
    earlier: timedelta, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tolerance is a day, the clock stands at midnight: the day after tomorrow's first
    microsecond is as far ahead as anything may be."""
    if version == "before":
        monkeypatch.setattr("billing_core.charging.subscriptions.limit_from", of_the_version_before)
    world = World(
        now=MIDNIGHT - earlier, tolerance=DAY, publication_delay=DAY + timedelta(minutes=10)
    )
    world.grant(1000)
    charge = world.settle(9, occurred_at=MIDNIGHT - earlier + DAY, project="p", member="ann")
    assert charge.amount == 9
    world.billing.set_limit("acme", "l", nanos(10), per="day")
    world.billing.set_limit("acme", "m", nanos(10), member="ann", per="day")
    world.clock.set(MIDNIGHT - earlier + DAY)
    for whose in ({}, {"member": "ann"}):
        with pytest.raises(Refused, match="limit"):
            world.hold(units(2), **whose)
    assert world.deduct(1, member="ann").amount == 1
    world.reverse(charge)
    assert world.deduct(9, member="ann").amount == 9
    with pytest.raises(Refused, match="limit"):
        world.deduct(1)
    assert world.wrong() == []
