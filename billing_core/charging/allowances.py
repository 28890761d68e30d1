"""A plan's allowance: granted per billing period, rolled over, granted ahead (rule 8.6)."""

from __future__ import annotations

from billing_core.ledger.debts import repay
from billing_core.ledger.ledger import WIDE_TOTALS, Ledger
from billing_core.pricing.plan import Plan
from billing_core.records.ledger import Account, Lot
from billing_core.values.money import MAX_NANOS
from billing_core.values.text import compact
from billing_core.values.times import billing_period

__all__ = [
    "allowance_lot",
    "begin_period",
    "count_rolled",
    "expire_excess_ahead",
    "grant_ahead",
    "grant_allowance",
    "next_allowance",
    "next_period",
    "rollover_room",
    "told_of",
]


def rollover_room(account: Account, plan: Plan, lot: Lot) -> int:
    """How much more of a lot's period may roll over.  A change of plan can leave a period's
    allowances more than one end."""
    if plan.rollover is None:
        return 0
    return plan.rollover.nanos - (account.rolled if account.rolled_of == lot.period else 0)


def count_rolled(account: Account, lot: Lot, into: Lot) -> None:
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


def next_period(ledger: Ledger, start: int) -> Lot | None:
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
    return lot, told_of(lot)


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


def next_allowance(ledger: Ledger, time: int) -> Lot | None:
    """The allowance of the period after that of a time, as far as it has not had it: a lot that
    nobody has yet."""
    account = ledger.account
    current = ledger.period(time)
    if account.plan is None or account.paused or account.period != current.start:
        return None
    plan = ledger.plan(current.end)
    amount = _missing(account, plan, account.ahead, ledger.terms.level)
    if plan is None or not amount:
        return None
    lot = allowance_lot(ledger, plan, amount, current.end)
    lot.remainder = amount
    return lot


def grant_ahead(ledger: Ledger, lot: Lot, time: int) -> None:
    """Grant the next period's allowance now: an entry of its own."""
    lot.seq, lot.remainder = ledger.account.seq + 1, 0
    ledger.account.ahead += lot.amount
    ledger.grant(lot)
    content = compact({"period": lot.period})
    ledger.post(f"ahead:{lot.lot}", time, content, lot.amount, told_of(lot))


def expire_excess_ahead(ledger: Ledger, time: int) -> None:
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


def told_of(lot: Lot) -> dict[str, object]:
    """What the journal says of an allowance's lot."""
    return {
        "lot": lot.lot,
        "amount": lot.amount,
        "expires_at": lot.expires_at,
        "period": lot.period,
    }
