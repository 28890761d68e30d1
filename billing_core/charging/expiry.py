"""What time itself does to an org: lots end, holds lapse, billing periods begin.

Each is an entry of its own time, in order; at one moment lots end before holds, and both
before a period begins.  A period's begin grants the plan's allowance, whether or not
anybody asks for it; its end, and the plan's grace after it, rolls over what is left.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from billing_core.charging.allowances import (
    allowance_lot,
    count_rolled,
    next_period,
    rollover_room,
    told_of,
)
from billing_core.charging.limits import hold_spending
from billing_core.ledger.debts import repay
from billing_core.ledger.ledger import Ledger
from billing_core.records.ledger import Hold, Lot
from billing_core.values.text import compact

__all__ = ["free", "lapse"]

_End = tuple[int, int, str, Lot | Hold | None]
"""``(time, 0 for a lot, 1 a hold, 2 a period's begin, name, what)``"""


def lapse(ledger: Ledger, time: int) -> bool:
    """Apply what lapses up to ``time``, in order; whether anything did.  Raises ClockDoubt, also
    for what a clock in doubt says has lapsed since."""
    account = ledger.account
    ledger.time = time
    reached = max(time, ledger.doubted)
    if account.next_lapse is None or reached < account.next_lapse:
        return False
    ends = _ends(ledger, reached)
    lapsed = bool(ends)
    while ends:
        end, _, _, what = heappop(ends)
        ledger.believe(end)
        ledger.time = end
        if isinstance(what, Hold):
            _end_hold(ledger, what, end)
        elif what is None:
            made = next_period(ledger, end)
            _push(ends, made, reached)
            following = ledger.period(end).end
            if following <= reached:
                heappush(ends, (following, 2, "", None))
        elif what.remainder > what.reserved:
            _push(ends, _end_lot(ledger, what, end), reached)
    ledger.time = time
    _expect_next(ledger)
    return lapsed


def _ends(ledger: Ledger, time: int) -> list[_End]:
    account = ledger.account
    ends: list[_End] = [
        (lot.expires_at, 0, f"{lot.lot:020}", lot)
        for lot in ledger.lots
        if lot.expires_at is not None and lot.expires_at <= time
    ]
    ends += [
        (hold.expires_at, 1, hold.key, hold)
        for hold in ledger.state.holds.values()
        if hold.state == "open" and hold.expires_at <= time
    ]
    if account.plan is not None and not account.paused:
        begins = ledger.period(account.period).end
        if begins <= time:
            ends.append((begins, 2, "", None))
    heapify(ends)
    return ends


def _push(ends: list[_End], lot: Lot | None, time: int) -> None:
    if lot is not None and lot.expires_at is not None and lot.expires_at <= time:
        heappush(ends, (lot.expires_at, 0, f"{lot.lot:020}", lot))


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


def free(ledger: Ledger, hold: Hold) -> int:
    """Return what is left of a hold, which ends, to its lots; how much."""
    amount = ledger.free(hold)
    hold_spending(ledger, hold, -amount)
    return amount


def _end_hold(ledger: Ledger, hold: Hold, end: int) -> None:
    hold.state = "lapsed"
    amount = free(ledger, hold)
    repay(ledger)
    ledger.untold.append(("hold_expired", {"hold": hold.key, "amount": amount}))
    ledger.post(f"lapse:hold:{hold.key}", end, compact({"hold": hold.key}), amount)


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
