"""What time itself does to an org: lots end, holds lapse, billing periods begin.

Each is an entry of its own time, in order; at one moment lots end before holds, and both
before a period begins.  A period's begin grants the plan's allowance, whether or not
anybody asks for it; its end, and the plan's grace after it, rolls over what is left.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from billing_core.ledger import WIDE_TOTALS, Ledger
from billing_core.limits import hold_spending
from billing_core.money import MAX_NANOS
from billing_core.owing import repay
from billing_core.plans import Plan
from billing_core.records import Account, Hold, Lot
from billing_core.text import compact
from billing_core.times import billing_period

__all__ = [
    "allowance_lot",
    "begin_period",
    "free",
    "grant_ahead",
    "grant_allowance",
    "keep_ahead",
    "lapse",
    "next_allowance",
]

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
            made = _next_period(ledger, end)
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
    room = 0 if plan is None else _room(ledger.account, plan, lot)
    if plan is None or room <= 0:
        amount = ledger.expire(lot)
        ledger.post(f"lapse:lot:{lot.lot}", end, compact({"lot": lot.lot}), amount)
        return None
    ending = [each for each in ledger.lots if (each.period, each.expires_at) == (lot.period, end)]
    left = sum(each.remainder - each.reserved for each in ending)
    into = allowance_lot(ledger, plan, min(left, room), end)
    ledger.roll_over(ending, into)
    _count_rolled(ledger.account, lot, into)
    amount = sum(ledger.expire(each) for each in ending)
    repay(ledger)
    ledger.post(f"lapse:lot:{lot.lot}", end, compact({"lot": lot.lot}), amount, _told(into))
    return into


def _room(account: Account, plan: Plan, lot: Lot) -> int:
    """How much more of a lot's period may roll over.  A change of plan can leave a period's
    allowances more than one end."""
    if plan.rollover is None:
        return 0
    return plan.rollover.nanos - (account.rolled if account.rolled_of == lot.period else 0)


def _count_rolled(account: Account, lot: Lot, into: Lot) -> None:
    if account.rolled_of != lot.period:
        account.rolled, account.rolled_of = 0, lot.period
    account.rolled += into.amount


def allowance_lot(ledger: Ledger, plan: Plan, amount: int, at: int) -> Lot:
    """A new lot for what is used in the billing period of a time, until its end and the plan's
    grace: the tolerance at least, by which one clock may be in the next period before another."""
    account = ledger.account
    period = ledger.period(at)
    return Lot(
        account.lots + 1, account.seq + 1, "allowance", 0, amount, 0, 0,
        period.end + max(plan.grace_micros, ledger.terms.tolerance), None, period.start,
    )  # fmt: skip


def begin_period(account: Account, start: int) -> None:
    """The org's billing period is the one that starts then, and has had what was granted ahead."""
    next_one = billing_period(account.anchor, account.period).end
    account.allowance = account.ahead if next_one == start else 0
    account.period, account.ahead = start, 0


def _next_period(ledger: Ledger, start: int) -> Lot | None:
    """A billing period begins: grant its allowance."""
    account = ledger.account
    plan = ledger.plan(start)
    begin_period(account, start)
    lot, effects = grant_allowance(ledger, plan, start)
    amount = 0 if lot is None else lot.amount
    repay(ledger)
    ledger.post(f"lapse:period:{start}", start, compact({"period": start}), amount, effects)
    return lot


def grant_allowance(
    ledger: Ledger, plan: Plan | None, at: int
) -> tuple[Lot | None, dict[str, object] | None]:
    """Grant what the plan includes and the current period has not had yet: the lot, and
    what the journal says of it."""
    account = ledger.account
    amount = _missing(account, plan, account.allowance, ledger.terms.level)
    if plan is None or not amount:
        return None, None
    account.allowance += amount
    lot = allowance_lot(ledger, plan, amount, at)
    ledger.grant(lot)
    return lot, _told(lot)


def _included(plan: Plan | None) -> int:
    return 0 if plan is None or plan.allowance is None else plan.allowance.nanos


def _missing(account: Account, plan: Plan | None, had: int, level: int) -> int:
    """What of its allowance a period has not had.  An org near 64 bits of credit gets what
    fits."""
    room = MAX_NANOS - (account.balance + account.debt)
    if level < WIDE_TOTALS:  # the total ever granted is kept in 64 bits
        room = min(room, MAX_NANOS - account.granted)
    return max(0, min(_included(plan) - had, room))


# -- the next period's allowance ------------------------------------------------


def next_allowance(ledger: Ledger) -> Lot | None:
    """The next period's allowance, as far as it has not had it: a lot that nobody has yet."""
    account = ledger.account
    current = ledger.period(ledger.time)
    if account.plan is None or account.paused or account.period != current.start:
        return None
    plan = ledger.plan(current.end)
    amount = _missing(account, plan, account.ahead, ledger.terms.level)
    if plan is None or not amount:
        return None
    lot = allowance_lot(ledger, plan, amount, current.end)
    lot.remainder = amount
    return lot


def grant_ahead(ledger: Ledger, lot: Lot) -> None:
    """Grant the next period's allowance now: an entry of its own."""
    lot.seq, lot.remainder = ledger.account.seq + 1, 0
    ledger.account.ahead += lot.amount
    ledger.grant(lot)
    content = compact({"period": lot.period})
    ledger.post(f"ahead:{lot.lot}", ledger.time, content, lot.amount, _told(lot))


def keep_ahead(ledger: Ledger, time: int) -> None:
    """What was granted ahead, and the plan as it is now will not include, expires as soon as
    it is not held."""
    account, start = ledger.account, ledger.period(ledger.account.period).end
    goes_on = account.plan is not None and not account.paused
    excess = account.ahead - _included(ledger.plan(start) if goes_on else None)
    for lot in [lot for lot in ledger.lots if lot.period == start and excess > 0]:
        amount = ledger.expire(lot, excess)
        excess -= amount
        account.ahead -= amount
        if amount:
            content = compact({"ahead": lot.lot})
            ledger.post(f"lapse:ahead:{account.seq + 1}", time, content, amount)


def _told(lot: Lot) -> dict[str, object]:
    """What the journal says of an allowance's lot."""
    return {
        "lot": lot.lot,
        "amount": lot.amount,
        "expires_at": lot.expires_at,
        "period": lot.period,
    }
