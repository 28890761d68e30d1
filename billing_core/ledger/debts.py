"""What charges left unpaid, and what went back of them.

The story of a charge is kept once there is more to it than its own entry tells: it left
debt, was repaid, priced or reversed.
"""

from __future__ import annotations

import json
from bisect import insort

from billing_core.ledger.inputs import NeedMore, When
from billing_core.ledger.ledger import CLAWBACK, Ledger, covers
from billing_core.records.ledger import Charge, Draw, Entry, Lot, Transfer, paid_by

__all__ = [
    "give_back",
    "is_of_time",
    "keep_story",
    "owe",
    "owe_more",
    "own_story",
    "repay",
    "story_of",
    "successor",
]


def owe(ledger: Ledger, charge: Charge, target: str = "revenue", kind: str = "debt") -> None:
    """What a charge or clawback left unpaid becomes debt."""
    account = ledger.account
    account.debt += charge.unpaid
    account.balance -= charge.unpaid
    ledger.moves.append(Transfer(f"debt:{charge.charge}", target, charge.unpaid, kind))
    keep_story(ledger, charge)
    if ledger.state.all_debts:  # else it would stand before older ones
        ledger.state.debts.append(charge)


def owe_more(ledger: Ledger, charge: Charge, amount: int) -> None:
    """What a further piece of a charge left unpaid becomes debt."""
    account = ledger.account
    charge.unpaid += amount
    account.debt += amount
    account.balance -= amount
    ledger.moves.append(Transfer(f"debt:{charge.charge}", "revenue", amount, "debt"))
    debts = ledger.state.debts
    oldest = ledger.state.all_debts or (debts and charge.charge < debts[-1].charge)
    if oldest and not any(each is charge for each in debts):
        insort(debts, charge, key=lambda each: each.charge)


def keep_story(ledger: Ledger, charge: Charge) -> None:
    """Keep what became of a charge or clawback."""
    ledger.changes.charges[charge.charge] = ledger.state.charges[charge.charge] = charge


def repay(ledger: Ledger) -> None:
    """Rule 6.5: credit that came in or came free pays debt at once, oldest first."""
    account = ledger.account
    if not account.debt:
        return
    usable = [lot for lot in ledger.lots if lot.remainder > lot.reserved]
    for charge in ledger.state.debts:
        for lot in usable:
            if not charge.unpaid:
                break
            part = min(lot.remainder - lot.reserved, charge.unpaid)
            if not covers(lot.scope, charge.resource):
                continue
            if charge.resource == CLAWBACK and lot.kind != "purchased":
                continue
            if lot.period not in (None, charge.period):
                continue
            ledger.out_of_lot(lot, part, f"debt:{charge.charge}", "repayment")
            account.debt -= part
            account.balance += part
            charge.unpaid -= part
            charge.payments.append(Draw(lot.lot, part))
            ledger.changes.charges[charge.charge] = charge
        usable = [lot for lot in usable if lot.remainder > lot.reserved]
        if not usable:
            return
    if not ledger.state.all_debts:
        raise NeedMore(ledger.org)


def give_back(
    ledger: Ledger,
    charge: Charge,
    amount: int,
    expires_at: int | None,
    when: When,
    source: str = "revenue",
) -> list[list[int]]:
    """Give back ``amount`` of a charge or clawback: first what is unpaid, then to the lots
    that paid, last one first.  The new lots, ``[lot, old lot]``, that stand for ended ones."""
    account = ledger.account
    keep_story(ledger, charge)
    charge.reversed += amount
    if source == "revenue":
        account.used -= amount
    forgiven = min(amount, charge.unpaid)
    if forgiven:
        charge.unpaid -= forgiven
        account.debt -= forgiven
        account.balance += forgiven
        name = f"debt:{charge.charge}"
        ledger.moves.append(Transfer(source, name, forgiven, "forgiveness"))
        amount -= forgiven
    made: list[list[int]] = []
    while amount:
        number, paid = charge.payments.pop()
        part = min(amount, paid)
        if part < paid:
            charge.payments.append(Draw(number, paid - part))
        amount -= part
        lot = ledger.state.lots[number]
        if expires_at is not None and ledger.ended(lot, when):
            made.append([account.lots + 1, lot.lot])
            lot = successor(ledger, lot, part, expires_at)
            ledger.add_lot(lot)
        else:
            ledger.relist(lot, when)
        ledger.into_lot(lot, part, source, "refill")
        ledger.expire_ended(lot, when)
    return made


def successor(ledger: Ledger, old: Lot, amount: int, expires_at: int | None) -> Lot:
    """A new lot that stands for part of one that has ended; of an allowance, it may pay for
    what is used in any period."""
    return Lot(
        ledger.account.lots + 1, ledger.account.seq + 1, old.kind, old.priority, amount, 0, 0,
        expires_at, old.scope,
    )  # fmt: skip


def story_of(ledger: Ledger, subject: Entry) -> Charge:
    """What became of a charge since its own entry."""
    story = ledger.state.charges.get(subject.seq)
    if story is None:
        story = own_story(ledger, subject)
        story.unpaid = 0  # what a piece of a story owes, stands in that story
    return story


def is_of_time(charge: Entry) -> bool:
    """Whether a charge is part of what a run or a workspace was charged for its time."""
    if charge.op == "price":
        return "story" in json.loads(charge.effects)
    return charge.op == "piece"


def own_story(ledger: Ledger, subject: Entry) -> Charge:
    """What a charge's own entry tells."""
    payments = paid_by(subject.transfers)
    used = subject.usage
    assert used is not None, "a charge has a usage record"
    period = ledger.period(used.occurred_at).start
    unpaid = sum(move.amount for move in subject.transfers if move.kind == "debt")
    return Charge(subject.seq, used.resource, subject.amount, unpaid, 0, payments, period)
