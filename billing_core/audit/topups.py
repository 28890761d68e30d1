"""What the audit makes of entries about top-ups.  Pure.

The journal has each top-up and automatic top-up as it then was; the audit follows these,
and proves the money by the transfers: what a top-up granted and what was taken back of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from billing_core.audit.state import UNKNOWN
from billing_core.errors import BillingError
from billing_core.ledger.ledger import CLAWBACK
from billing_core.records.ledger import Charge, Draw, Entry, Lot
from billing_core.records.topups import AutoTopUp, TopUp, is_said
from billing_core.topups.policy import arm
from billing_core.values.text import compact

if TYPE_CHECKING:
    from billing_core.audit.state import Audit

__all__ = ["check_asked", "follow_topup", "of_journal"]


def of_journal(topup: TopUp) -> TopUp:
    """The top-up as the journal has it: without what was asked of the provider."""
    return attrs.evolve(topup, asked="")


def follow_topup(audit: Audit, entry: Entry, content: Any, effects: Any) -> None:
    """Any entry about a top-up or automatic top-up."""
    account = audit.account
    assert account is not None
    where = f"entry {entry.seq}"
    if "topup" in effects:
        topup = TopUp.from_data(effects["topup"])
        before = audit.tables.topups.get(topup.topup)
        audit.tables.topups[topup.topup] = topup
        if topup.changes != (0 if before is None else before.changes) + 1:
            audit.note(where, f"top-up {topup.topup} has changed {topup.changes} times")
        _MONEY.get(entry.op, _no_money)(audit, entry, content, topup, before)
        if "available" in content:
            _check_wanted(
                audit, entry, content["available"], topup, AutoTopUp.from_data(effects["auto"])
            )
        _ask(audit, entry, content, topup, before, effects.get("auto"))
        if "undone" in effects:
            _undo(audit, entry, effects["undone"])
    if "auto" in effects:
        audit.tables.auto = AutoTopUp.from_data(effects["auto"])
        arm(account, audit.tables.auto)


def _ask(
    audit: Audit, entry: Entry, content: Any, topup: TopUp, before: TopUp | None, told: Any
) -> None:
    """What the provider is asked, of which the journal has all but words for the customer."""
    account, name = audit.account, topup.topup
    assert account is not None
    asked = audit.tables.asked
    auto = told or (audit.tables.auto.to_data() if audit.tables.auto is not None else {})
    what: dict[str, Any] = {
        "org": audit.org, "amount": topup.amount, "currency": account.currency,
    }  # fmt: skip
    if topup.kind == "auto":
        first = before is None or (entry.op == "call" and before.state == "due")
        if first and topup.state in ("due", "calling"):
            what |= {"attempt": name, "customer": auto["customer"], "method": auto["method"]}
            asked[name] = compact(what)
    elif topup.checkout is not None:
        asked.pop(name, None)
    elif before is None:
        what |= {"order": name}
        what |= {each: content[each] for each in ("save_method", "automatic_tax")}
        if auto.get("customer") is not None:
            what["customer"] = auto["customer"]
        asked[name] = compact(what)


def check_asked(audit: Audit, topup: TopUp) -> None:
    """What is to be asked of the provider, as it is on record, follows from the journal."""
    expected = audit.tables.asked.get(topup.topup, "")
    if topup.checkout is not None and expected == "" and is_said(topup.asked):
        return  # a digest of what is in no journal
    if expected not in (UNKNOWN, topup.asked) and not _is(topup.asked, expected):
        what = f"asked {topup.asked or 'nothing'}; the journal leads to {expected or 'nothing'}"
        audit.note(f"top-up {topup.topup}", what)


def _is(text: str, expected: str) -> bool:
    """Whether it can be asked, and says what is expected of it."""
    from billing_core.ports.payments import ChargeAttempt, CheckoutOrder

    try:
        said, known = json.loads(text), json.loads(expected)
        (ChargeAttempt if "attempt" in known else CheckoutOrder)(**said)
    except (ValueError, TypeError, BillingError):
        return False
    return all(said.get(name) == value for name, value in known.items())


def _credit(audit: Audit, entry: Entry, content: Any, topup: TopUp, before: TopUp | None) -> None:
    account = audit.account
    assert account is not None and topup.lot is not None
    where = f"entry {entry.seq}"
    if before is None or before.lot is not None:
        audit.note(where, f"credits top-up {topup.topup} again, or one never asked for")
    if topup.granted != entry.amount or topup.amount != content["subtotal"]:
        audit.note(where, f"credits {entry.amount} for top-up {topup.topup}")
    audit.add_lot(  # pyright: ignore[reportPrivateUsage]
        Lot(topup.lot, entry.seq, "purchased", 0, entry.amount, 0, 0, None, None)
    )
    account.granted += entry.amount


def _payment(audit: Audit, entry: Entry, content: Any, topup: TopUp, before: TopUp | None) -> None:
    clawed = 0 if before is None else before.clawed
    taken = content.get("taken", 0)
    if topup.clawed != clawed + taken or not 0 <= topup.clawed <= topup.granted:
        audit.note(f"entry {entry.seq}", f"top-up {topup.topup} has {topup.clawed} taken back")
    moved = sum(
        t.amount * ((t.credit == "payments") - (t.debit == "payments")) for t in entry.transfers
    )
    if moved != taken:
        audit.note(f"entry {entry.seq}", f"takes back {taken}; its transfers take {moved}")
    if taken > 0:
        paid = [t for t in entry.transfers if t.kind == "clawback"]
        payments = [Draw(t.from_lot, t.amount) for t in paid if t.from_lot]
        unpaid = sum(t.amount for t in paid if t.debit.startswith("debt:"))
        story = Charge(entry.seq, CLAWBACK, taken, unpaid, 0, payments, 0)
        audit.tables.charges[entry.seq] = story


def _no_money(audit: Audit, entry: Entry, content: Any, topup: TopUp, before: TopUp | None) -> None:
    if entry.transfers:
        audit.note(f"entry {entry.seq}", "moves money, but only a payment does")


def _check_wanted(
    audit: Audit, entry: Entry, available: int, topup: TopUp, auto: AutoTopUp
) -> None:
    """An attempt begins, and a provider is asked for it, by the settings and credit of then."""
    if topup.state == "dropped" or topup.why is not None:
        return
    wrong = {
        f"{available} were available": not available < auto.threshold,
        f"{available} is more than all credit": available > entry.balance,
        f"its amount is {topup.amount}": topup.amount != auto.amount,
        f"{auto.spent} of {auto.cap} are spent": auto.cap is not None and auto.spent > auto.cap,
        "it is not enabled": not auto.enabled or auto.stopped is not None,
    }
    for what in (what for what, so in wrong.items() if so):
        audit.note(f"entry {entry.seq}", f"goes on with top-up {topup.topup}, though {what}")


_MONEY: dict[str, Callable[[Audit, Entry, Any, TopUp, TopUp | None], None]] = {
    "credit": _credit,
    "payment": _payment,
}


def _undo(audit: Audit, entry: Entry, undone: list[list[int]]) -> None:
    """Clawbacks undone, newest first: what was owed, then the lots that paid."""
    refills = [(t.into_lot, t.amount) for t in entry.transfers if t.kind == "refill"]
    for number, amount in undone:
        story = audit.tables.charges[number]
        story.reversed += amount
        if story.reversed > story.amount:
            audit.note(f"entry {entry.seq}", f"clawback {number} is undone beyond its amount")
        debt = f"debt:{number}"
        left = amount - sum(
            t.amount for t in entry.transfers if t.kind == "forgiveness" and t.credit == debt
        )
        while left > 0:
            lot, part = refills.pop(0)
            payer, paid = story.payments.pop()
            if payer != lot:
                audit.note(f"entry {entry.seq}", f"refills lot {lot}, which did not pay last")
            if paid != part:
                story.payments.append(Draw(payer, paid - part))
            left -= part
