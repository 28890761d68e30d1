"""What time itself does to an org: lots end, holds lapse, billing periods begin.

Each is an entry of its own time, in order; at one moment lots end before holds, and both
before a period begins.  A period's begin grants the plan's allowance, whether or not
anybody asks for it; its end, and the plan's grace after it, rolls over what is left.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import NamedTuple

from billing_core.charging.allowances import (
    allowance_lot,
    count_rolled,
    next_period,
    rollover_room,
    told_of,
)
from billing_core.charging.limits import hold_spending
from billing_core.ledger.debts import repay
from billing_core.ledger.inputs import When
from billing_core.ledger.ledger import Ledger
from billing_core.records.ledger import HoldRecord, Lot
from billing_core.values.text import compact

__all__ = ["free", "lapse"]


class _End(NamedTuple):
    """What lapses at a time, in the order in which it does: ``kind`` is 0 for a lot, 1 for a
    hold, 2 for the begin of a billing period, where ``what`` is None."""

    time: int
    kind: int
    name: str
    what: Lot | HoldRecord | None
    doubted: int


def lapse(ledger: Ledger, when: When) -> bool:
    """Apply what lapses by the time of a decision, in order; whether anything did.  Raises
    ClockDoubt, also for what a clock in doubt says has lapsed since."""
    account = ledger.account
    reached = max(when.time, when.doubted)
    if account.next_lapse is None or reached < account.next_lapse:
        return False
    ends = _ends(ledger, reached, when.doubted)
    lapsed = bool(ends)
    while ends:
        end = heappop(ends)
        time, _, _, what, doubted = end
        ledger.believe(time)
        if isinstance(what, HoldRecord):
            _end_hold(ledger, what, end)
        elif what is None:
            made = next_period(ledger, time)
            _push(ends, made, reached, doubted)
            following = ledger.period(time).end
            if following <= reached:
                heappush(ends, _End(following, 2, "", None, doubted))
        elif what.remainder > what.reserved:
            _push(ends, _end_lot(ledger, what, time), reached, doubted)
    _expect_next(ledger)
    return lapsed


def _ends(ledger: Ledger, time: int, doubted: int) -> list[_End]:
    account = ledger.account
    ends: list[_End] = [
        _End(lot.expires_at, 0, f"{lot.lot:020}", lot, doubted)
        for lot in ledger.lots
        if lot.expires_at is not None and lot.expires_at <= time
    ]
    ends += [
        _End(hold.expires_at, 1, hold.key, hold, doubted)
        for hold in ledger.state.holds.values()
        if hold.state == "open" and hold.expires_at <= time
    ]
    if account.plan is not None and not account.paused:
        begins = ledger.period(account.period).end
        if begins <= time:
            ends.append(_End(begins, 2, "", None, doubted))
    heapify(ends)
    return ends


def _push(ends: list[_End], lot: Lot | None, time: int, doubted: int) -> None:
    if lot is not None and lot.expires_at is not None and lot.expires_at <= time:
        heappush(ends, _End(lot.expires_at, 0, f"{lot.lot:020}", lot, doubted))


def _expect_next(ledger: Ledger) -> None:
    account = ledger.account
    # Not "after time": a refused command leaves the watermark behind its own time, and a
    # later one may be decided before an end that has not been recorded yet.
    later = [
        lot.expires_at
        for lot in ledger.lots
        if lot.expires_at is not None and lot.expires_at > account.watermark
    ]
    later += [hold.expires_at for hold in ledger.state.holds.values() if hold.state == "open"]
    if ledger.state.next_hold is not None:
        later.append(ledger.state.next_hold)
    if account.plan is not None and not account.paused:
        later.append(ledger.period(account.period).end)
    account.next_lapse = min(later, default=None)


def free(ledger: Ledger, hold: HoldRecord, when: When) -> int:
    """Give what is left of a hold, which ends, back to its lots.  Returns how much that was."""
    amount = ledger.free(hold, when)
    hold_spending(ledger, hold, -amount)
    return amount


def _end_hold(ledger: Ledger, hold: HoldRecord, end: When) -> None:
    hold.state = "lapsed"
    amount = free(ledger, hold, end)
    repay(ledger)
    ledger.untold.append(("hold_expired", {"hold": hold.key, "amount": amount}))
    ledger.post(f"lapse:hold:{hold.key}", end.time, compact({"hold": hold.key}), amount)


def _end_lot(ledger: Ledger, lot: Lot, end: int) -> Lot | None:
    """A lot ends; with an allowance, all of its period that end then.  What they roll over."""
    plan = None if lot.period is None else ledger.plan(end)
    room = 0 if plan is None else rollover_room(ledger.account, plan, lot)
    if plan is None or room <= 0:
        amount = ledger.expire(lot)
        ledger.post(f"lapse:lot:{lot.lot}", end, compact({"lot": lot.lot}), amount)
        return None
    ending = [each for each in ledger.lots if (each.period, each.expires_at) == (lot.period, end)]
    left = sum(each.remainder - each.reserved for each in ending)
    into = allowance_lot(ledger, plan, min(left, room), end)
    ledger.roll_over(ending, into)
    count_rolled(ledger.account, lot, into)
    amount = sum(ledger.expire(each) for each in ending)
    repay(ledger)
    ledger.post(f"lapse:lot:{lot.lot}", end, compact({"lot": lot.lot}), amount, told_of(into))
    return into
