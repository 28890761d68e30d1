"""Holding credit for a use to come: a hold made, extended, released."""

from __future__ import annotations

from collections.abc import Mapping

from billing_core.asked import Ask, Terms, finish, refuse, too_little
from billing_core.charging import estimate
from billing_core.commands import Extend, Hold
from billing_core.errors import Conflict, MoneyOverflow, NotFound
from billing_core.ledger import Ledger, spending_order
from billing_core.metering import tiered_parts
from billing_core.money import MAX_NANOS
from billing_core.outcomes import Outcome
from billing_core.quantities import Usage
from billing_core.records import Hold as HoldRecord
from billing_core.times import duration

__all__ = ["extend", "hold", "release"]


def hold(ledger: Ledger, ask: Ask, terms: Terms) -> Outcome:
    command: Hold = ask.command
    cost = command.cost
    if isinstance(cost, Usage):
        resource: str | None = cost.resource
        quoted = estimate(ledger, cost, ask.at, terms.catalogue)
        if ledger.lapse(ask.time):  # what it announced is no longer to be used
            quoted = estimate(ledger, cost, ask.at, terms.catalogue)
        amount = quoted.amount
        if amount > MAX_NANOS:
            raise MoneyOverflow("usage", amount, "a usage that costs at most 64 bits of nanos")
    else:
        resource, amount, quoted = command.resource, cost.nanos, None
        ledger.lapse(ask.time)
    available = ledger.available(resource)
    if amount > max(0, available):
        return too_little(ask, amount, available)
    parts = ledger.reserve(amount, resource)
    expires_at = ask.time + duration("life", command.life)
    hold = HoldRecord(command.key, resource, expires_at, "open", parts)
    if quoted is not None and resource is not None:
        parts_ = tiered_parts(terms.catalogue, ledger.account.currency, resource, quoted)
        _announce(ledger, hold, resource, parts_, ask.at)
    ledger.state.holds[hold.key] = ledger.touched_holds[hold.key] = hold
    ledger.will_lapse(expires_at)
    effects: dict[str, object] = {
        "expires_at": expires_at,
        "parts": parts,
        "resource": resource,
    }
    if hold.counted:
        effects["counted"] = hold.counted
    return finish(ledger, ask, amount, effects)


def _announce(
    ledger: Ledger, hold: HoldRecord, resource: str, parts: Mapping[str, int], at: int
) -> None:
    """Let others' quotes of tiered prices know what this hold may use (rule 5.4)."""
    if not parts:
        return
    counter = ledger.count(resource, ledger.period(at).start)
    for component, quantity in parts.items():
        counter.components.setdefault(component, [0, 0, 1, 0])[3] += quantity
        hold.counted.append((counter.start, component, quantity))
    ledger.keep(counter)


def _open_hold(ledger: Ledger, ask: Ask) -> HoldRecord:
    name = ask.command.hold
    hold = ledger.state.holds.get(name)
    if hold is None:
        raise NotFound("hold", name, "a hold is named by the key it was made with")
    if hold.state == "settled":
        raise Conflict(f"hold {name!r} of org {ledger.org!r} is settled already")
    return hold


def extend(ledger: Ledger, ask: Ask, terms: Terms) -> Outcome:
    command: Extend = ask.command
    ledger.lapse(ask.time)
    hold = _open_hold(ledger, ask)
    if hold.state != "open":
        return refuse(ask, f"hold_{hold.state}")
    # Parts whose lot has ended cannot live on: live lots replace them, or nothing changes.
    ended = [part for part in hold.parts if ledger.ended(part[0])]
    replaced = sum(part[1] for part in ended)
    more = replaced + (0 if command.add is None else command.add.nanos)
    available = ledger.available(hold.resource)
    if more > max(0, available):
        return too_little(ask, more, available)
    hold.parts = [part for part in hold.parts if not ledger.ended(part[0])]
    for lot, amount in ended:
        ledger.let_go(lot, amount)
    if more:
        hold.parts += ledger.reserve(more, hold.resource)
        hold.parts.sort(key=lambda part: spending_order(ledger.state.lots[part[0]]))
    hold.expires_at = max(hold.expires_at, ask.time + duration("life", command.life))
    ledger.touched_holds[hold.key] = hold
    ledger.will_lapse(hold.expires_at)
    effects = {"expires_at": hold.expires_at, "parts": hold.parts}
    return finish(ledger, ask, sum(part[1] for part in hold.parts), effects)


def release(ledger: Ledger, ask: Ask, terms: Terms) -> Outcome:
    ledger.lapse(ask.time)
    hold = _open_hold(ledger, ask)
    freed = 0
    if hold.state == "open":
        hold.state = "released"
        freed = ledger.free(hold)
        ledger.repay()
    return finish(ledger, ask, freed)
