"""Credit that is taken back because its payment was, and given back again.

A clawback takes what is unreserved of the lot that the payment granted.  What that lacks
is debt, which purchased credit alone repays (rule 6.5): at once, where there is some.
A reinstatement undoes clawbacks, newest first, as a reversal undoes a charge: first what
is still owed, then back to the lots that paid, in reverse order.
"""

from __future__ import annotations

from billing_core.ledger.debts import give_back, keep_story, owe, repay
from billing_core.ledger.inputs import NeedMore, When
from billing_core.ledger.ledger import CLAWBACK, Ledger
from billing_core.records.ledger import Charge, Draw
from billing_core.records.topups import TopUp

__all__ = ["claw_back", "reinstate"]


def claw_back(ledger: Ledger, topup: TopUp, amount: int) -> None:
    """Take ``amount`` of what a top-up granted, as the entry to come."""
    account = ledger.account
    ledger.check_room(used=amount)
    story = Charge(account.seq + 1, CLAWBACK, amount, amount, 0, [], 0)
    assert topup.lot is not None, "what is taken back was granted"
    part = ledger.withdraw(topup.lot, amount)
    if part:
        story.payments.append(Draw(topup.lot, part))
        story.unpaid -= part
    keep_story(ledger, story)
    if story.unpaid:
        owe(ledger, story, "payments", "clawback")
    topup.clawbacks.append(story.charge)
    topup.clawed += amount
    repay(ledger)


def reinstate(ledger: Ledger, topup: TopUp, amount: int, when: When) -> list[list[int]]:
    """Give back ``amount`` of what was clawed back: ``[clawback, amount]``."""
    ledger.check_room(returned=amount)
    topup.clawed -= amount
    undone: list[list[int]] = []
    for number in reversed(topup.clawbacks):
        story = ledger.state.charges.get(number)
        if story is None:
            raise NeedMore(ledger.org, charges=frozenset({number}))
        part = min(amount, story.amount - story.reversed)
        if part:
            give_back(ledger, story, part, None, when, "payments")
            undone.append([number, part])
            amount -= part
        if not amount:
            break
    repay(ledger)
    return undone
