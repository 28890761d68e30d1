"""An operator brings back credit that expired because a clock was wrong."""

from __future__ import annotations

from typing import Any

from billing_core.charging.expiry import lapse
from billing_core.charging.operations import Decision, Operation, check_future, finish
from billing_core.commands.credit import UndoExpiry
from billing_core.commands.outcomes import Header, Outcome, Restored, moved
from billing_core.errors import NotFound
from billing_core.ledger.debts import repay, successor
from billing_core.ledger.ledger import Ledger
from billing_core.ports.state import Wanted
from billing_core.records.ledger import Entry
from billing_core.values.times import micros

__all__ = ["OPERATIONS", "expired_by"]


def expired_by(entry: Entry) -> dict[int, int]:
    """What expired with an entry: nanos by lot."""
    found: dict[int, int] = {}
    for move in entry.transfers:
        if move.kind == "expiry":
            lot = move.from_lot
            found[lot] = found.get(lot, 0) + move.amount
    return found


def undo_expiry(ledger: Ledger, decision: Decision[UndoExpiry]) -> Outcome:
    """Bring back what expired, as new lots: an ended one cannot be spent, whatever its end
    should have been."""
    command = decision.command
    end = command.expires_at
    expires_at = None if end is None else micros("expires_at", end)
    check_future("expires_at", expires_at, decision)
    entry = ledger.entry(command.expiry)
    expired = {} if entry is None else expired_by(entry)
    if not expired:
        raise NotFound("expiry", command.expiry, "an expiry is named by the seq of its entry")
    lapse(ledger, decision)
    lots = []
    for number, amount in sorted(expired.items()):
        lot = successor(ledger, ledger.state.lots[number], amount, expires_at)
        ledger.add_lot(lot)
        ledger.into_lot(lot, amount, "expired", "restoration")
        lots.append([lot.lot, number])
    repay(ledger)
    return finish(ledger, decision, sum(expired.values()), {"lots": lots})


def _want_expiry(want: Wanted, command: UndoExpiry, at: int, now: int) -> None:
    want.charges.add(command.expiry)


def _restored(entry: Entry, base: Header, effects: Any) -> Restored:
    lots = tuple(lot for lot, _ in effects["lots"])
    return Restored(*base, entry.amount, lots, moved(entry, "repayment"))


OPERATIONS = (Operation(UndoExpiry, undo_expiry, _restored, _want_expiry, history="restoration"),)
