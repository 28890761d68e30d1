"""Holding credit for a use to come: a hold made, extended, released."""

from __future__ import annotations

from billing_core.asked import Ask, finish, refuse, refused
from billing_core.charging import estimate
from billing_core.commands import Extend, Hold
from billing_core.errors import Conflict, MoneyOverflow, NotFound
from billing_core.lapsing import free, lapse
from billing_core.ledger import Ledger, spending_order
from billing_core.limits import Use, bound, hold_spending, quotas
from billing_core.metering import billed
from billing_core.money import MAX_NANOS
from billing_core.outcomes import Outcome
from billing_core.owing import repay
from billing_core.quantities import Usage
from billing_core.records import Hold as HoldRecord
from billing_core.times import duration

__all__ = ["announce", "extend", "hold", "release"]


def hold(ledger: Ledger, ask: Ask) -> Outcome:
    command: Hold = ask.command
    cost = command.cost
    expires_at = ask.time + duration("life", command.life)
    quoted = None
    if isinstance(cost, Usage):
        resource: str | None = cost.resource
        quoted = estimate(ledger, cost, ask.at, expires_at)
        if lapse(ledger, ask.time):  # what it announced is no longer to be used
            quoted = estimate(ledger, cost, ask.at, expires_at)
        amount = quoted.amount
        if amount > MAX_NANOS:
            raise MoneyOverflow("usage", amount, "a usage that costs at most 64 bits of nanos")
    else:
        resource, amount = command.resource, cost.nanos
        lapse(ledger, ask.time)
    counts = {} if quoted is None else billed(quoted.lines)
    use = Use(ask.member, command.project, resource, ask.at, counts.items())
    no = bound(ledger, use, amount)
    if no is not None:
        return refused(command.org, command.key, no, ask.time)
    parts = ledger.reserve(amount, resource, ask.at)
    hold = HoldRecord(
        command.key, resource, expires_at, "open", parts, [], ask.member, command.project
    )
    if quoted is not None:
        announce(ledger, hold, counts, ask.at, expires_at)
    hold_spending(ledger, hold, amount)
    ledger.state.holds[hold.key] = ledger.changes.holds[hold.key] = hold
    ledger.will_lapse(expires_at)
    effects: dict[str, object] = {
        "expires_at": expires_at,
        "parts": parts,
        "resource": resource,
    }
    if hold.counted:
        effects["counted"] = hold.counted
    return finish(ledger, ask, amount, effects)


def announce(
    ledger: Ledger, hold: HoldRecord, counts: dict[str, int], at: int, until: int | None = None
) -> None:
    """Let quotes of tiered prices (rule 5.4) and quotas know what this hold may use, in each
    billing period from a time ``until``."""
    resource = hold.resource or ""
    currency = ledger.account.currency
    bounded = {each.component for each in quotas(ledger, resource)}
    told = [
        (component, quantity)
        for component, quantity in counts.items()
        if component in bounded or ledger.catalogue.tiered(currency, resource, component)
    ]
    while told:
        period = ledger.period(at)
        counter = ledger.count(resource, period.start)
        for component, quantity in told:
            counter.components.setdefault(component, [0, 0, 1, 0])[3] += quantity
            hold.counted.append((counter.start, component, quantity))
        ledger.keep(counter)
        at = period.end
        if until is None or at >= until:
            break


def _open_hold(ledger: Ledger, ask: Ask) -> HoldRecord:
    name = ask.command.hold
    hold = ledger.state.holds.get(name)
    if hold is None:
        raise NotFound("hold", name, "a hold is named by the key it was made with")
    if hold.state == "settled":
        raise Conflict(f"hold {name!r} of org {ledger.org!r} is settled already")
    return hold


def extend(ledger: Ledger, ask: Ask) -> Outcome:
    command: Extend = ask.command
    lapse(ledger, ask.time)
    hold = _open_hold(ledger, ask)
    if hold.state != "open":
        return refuse(ask, f"hold_{hold.state}")
    # Parts whose lot has ended cannot live on: live lots replace them, or nothing changes.
    ended = [part for part in hold.parts if ledger.ended(ledger.state.lots[part[0]])]
    replaced = sum(part[1] for part in ended)
    added = 0 if command.add is None else command.add.nanos
    use = Use(hold.member, hold.project, hold.resource, ask.at)
    no = bound(ledger, use, added, replaced=replaced)
    if no is not None:
        return refused(command.org, command.key, no, ask.time)
    hold.parts = [part for part in hold.parts if not ledger.ended(ledger.state.lots[part[0]])]
    for lot, amount in ended:
        ledger.let_go(lot, amount)
    if replaced + added:
        hold.parts += ledger.reserve(replaced + added, hold.resource, ask.at)
        hold.parts.sort(key=lambda part: spending_order(ledger.state.lots[part[0]]))
    hold_spending(ledger, hold, added)
    hold.expires_at = max(hold.expires_at, ask.time + duration("life", command.life))
    ledger.changes.holds[hold.key] = hold
    ledger.will_lapse(hold.expires_at)
    effects = {"expires_at": hold.expires_at, "parts": hold.parts}
    return finish(ledger, ask, sum(part[1] for part in hold.parts), effects)


def release(ledger: Ledger, ask: Ask) -> Outcome:
    lapse(ledger, ask.time)
    hold = _open_hold(ledger, ask)
    freed = 0
    if hold.state == "open":
        hold.state = "released"
        freed = free(ledger, hold)
        repay(ledger)
    return finish(ledger, ask, freed)
