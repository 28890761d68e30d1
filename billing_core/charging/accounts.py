"""An account opened, and credit granted to it."""

from __future__ import annotations

from billing_core.charging.expiry import lapse
from billing_core.charging.operations import Decision, Operation, check_future, finish
from billing_core.commands.accounts import OpenAccount
from billing_core.commands.credit import Grant
from billing_core.commands.outcomes import Granted, Opened, Outcome, moved
from billing_core.ledger.debts import repay
from billing_core.ledger.hash_chain import TELLS, TOLD
from billing_core.ledger.ledger import Ledger
from billing_core.records.ledger import Account, Lot
from billing_core.values.currencies import minor_unit
from billing_core.values.times import micros

__all__ = ["OPERATIONS"]


def open_account(ledger: Ledger, decision: Decision[OpenAccount]) -> Outcome:
    command, terms, at = decision.command, ledger.terms, decision.at
    minor_unit(command.currency)  # what nobody can pay in, nobody could be shown either
    anchor = at if command.anchor is None else micros("anchor", command.anchor)
    time = at if terms.certain is None else min(at, terms.certain)
    account = Account(command.org, command.currency, command.livemode, anchor, at, watermark=time)
    ledger.open(account)
    effects: dict[str, object] = {"anchor": anchor, "opened_at": at}
    if terms.level >= TELLS:
        effects[TOLD] = ""
    return finish(ledger, decision._replace(time=time), 0, effects)


def grant(ledger: Ledger, decision: Decision[Grant]) -> Outcome:
    command = decision.command
    expires = command.expires_at
    expires_at = None if expires is None else micros("expires_at", expires)
    check_future("expires_at", expires_at, decision)
    amount = command.amount.nanos
    lapse(ledger, decision)
    ledger.check_room(granted=amount)  # beside the allowance of a period that begins
    account = ledger.account
    lot = Lot(
        account.lots + 1, account.seq + 1, command.kind, command.priority, amount, 0, 0,
        expires_at, command.scope,
    )  # fmt: skip
    ledger.grant(lot)
    repay(ledger)
    return finish(ledger, decision, amount, {"lot": lot.lot})


OPERATIONS = (
    Operation(OpenAccount, open_account, lambda entry, base, _: Opened(*base)),
    Operation(
        Grant,
        grant,
        lambda entry, base, effects: Granted(
            *base, entry.amount, effects["lot"], moved(entry, "repayment")
        ),
        money=("amount",),
        history="grant",
    ),
)
