"""Rules of section 6 in the corners where a random run, or an auditor, found them broken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billing_core import Billing, Deduct, Grant, Hold, Money, Refusal, Refused, Release
from billing_core.testing import MemoryStore, SettableClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def minutes(number: int) -> timedelta:
    return timedelta(minutes=number)


def nanos(number: int) -> Money:
    return Money(number, "USD")


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOON)


@pytest.fixture
def billing(clock: SettableClock) -> Billing:
    billing = Billing(MemoryStore(), clock=clock)
    billing.open_account("acme")
    return billing


def test_6_7_a_refusal_does_not_make_an_end_be_forgotten(
    billing: Billing, clock: SettableClock
) -> None:
    """A refused command is dated after a lot's end, the next ones before and after it."""
    billing.execute(
        [
            Grant("acme", "g", amount=nanos(10), expires_at=NOON + minutes(15)),
            Grant("acme", "g2", amount=nanos(1), expires_at=NOON + minutes(10), priority=9),
            Hold("acme", "h", cost=nanos(10), expires_in=minutes(100)),
        ]
    )
    clock.set(NOON + minutes(20))
    [refused] = billing.execute([Hold("acme", "h2", cost=nanos(100), expires_in=minutes(1))])
    assert isinstance(refused, Refusal)
    billing.execute([Release("acme", "h", hold="h", at=NOON + minutes(12))])
    late = Deduct("acme", "d", cost=nanos(10), resource="x", at=NOON + minutes(16))
    [outcome] = billing.execute([late])
    assert isinstance(outcome, Refusal)
    assert billing.balance("acme").balance == 0
    assert billing.verify().ok


def test_6_1_a_hold_that_was_extended_is_captured_in_spending_order(billing: Billing) -> None:
    billing.grant("acme", "late", nanos(5))
    billing.hold("acme", nanos(5), expires_in=minutes(5), key="h")
    soon = billing.grant("acme", "soon", nanos(3), expires_at=NOON + minutes(30))
    billing.extend("acme", "e", hold="h", expires_in=minutes(5), add=nanos(3))
    billing.release("acme", "h")
    billing.hold("acme", nanos(8), expires_in=minutes(5), key="h2")
    assert [lot.lot for lot in billing.balance("acme").lots] == [soon.lot, 1]
    hold = next(each for each in billing.store.holds("acme") if each.key == "h2")
    assert hold.parts == [(soon.lot, 3), (1, 5)]
    billing.extend("acme", "e2", hold="h2", expires_in=minutes(6))
    with pytest.raises(Refused):
        billing.extend("acme", "e3", hold="h2", expires_in=minutes(6), add=nanos(1))


def test_6_1_parts_added_by_an_extension_take_their_place(billing: Billing) -> None:
    billing.grant("acme", "late", nanos(5))
    billing.hold("acme", nanos(5), expires_in=minutes(5), key="h")
    soon = billing.grant("acme", "soon", nanos(3), expires_at=NOON + minutes(30))
    billing.extend("acme", "e", hold="h", expires_in=minutes(5), add=nanos(3))
    [hold] = billing.store.holds("acme")
    assert hold.parts == [(soon.lot, 3), (1, 5)]
    assert billing.verify().ok
