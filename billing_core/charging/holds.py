"""Holding credit for a use to come: a hold made, extended, released."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from attrs import evolve

from billing_core.charging.charges import quote_usage, want_use
from billing_core.charging.expiry import free, lapse
from billing_core.charging.limits import Use, binding_limit, hold_spending
from billing_core.charging.operations import (
    Decision,
    Operation,
    check_level,
    finish,
    limit_refusal,
    refusal,
)
from billing_core.commands.holds import Extend, Hold, Release
from billing_core.commands.outcomes import Extended, Held, Outcome, Released
from billing_core.errors import Conflict, MoneyOverflow, NotFound, StoreError
from billing_core.ledger.debts import repay
from billing_core.ledger.ledger import Ledger, spending_order
from billing_core.ports.state import Wanted
from billing_core.pricing.price_book import VARIES
from billing_core.pricing.rating import Quote, billed
from billing_core.records.ledger import Entry, HoldRecord
from billing_core.records.usage import HeldQuantity
from billing_core.values.money import MAX_NANOS
from billing_core.values.times import DAY, FOREVER, Window, duration, moment, spanning
from billing_core.values.usage import PLATFORM, Payer, Usage

__all__ = ["OPERATIONS", "QUOTES_ANEW", "announce", "made_for"]

QUOTES_ANEW = 2
"""The schema whose audit follows what an extended hold announces."""


def hold(ledger: Ledger, decision: Decision[Hold]) -> Outcome:
    command = decision.command
    cost = command.cost
    expires_at = decision.now + duration("expires_in", command.expires_in)
    quoted = None
    if isinstance(cost, Usage):
        if cost.facts:
            check_level("a hold with facts", VARIES, ledger.terms)
        resource: str | None = cost.resource
        quoted = quote_usage(ledger, cost, decision.at, expires_at)
        if lapse(ledger, decision):  # what it announced is no longer to be used
            quoted = quote_usage(ledger, cost, decision.at, expires_at)
        amount = _within_64_bits(quoted)
    else:
        resource, amount = command.resource, cost.nanos
        lapse(ledger, decision)
    counts = {} if quoted is None else billed(quoted.lines)
    use = Use(
        decision.member,
        command.project,
        resource,
        decision.at,
        decision.time,
        counts.items(),
        expires_at,
    )
    binding = binding_limit(ledger, use, amount)
    if binding is not None:
        return limit_refusal(command.org, command.key, binding, decision.time)
    parts = ledger.reserve(amount, resource, decision.at)
    hold = HoldRecord(
        command.key, resource, expires_at, "open", parts, [], decision.member, command.project
    )
    if quoted is not None:
        announce(ledger, hold, [(each, counts) for each in ledger.periods(decision.at, expires_at)])
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
    return finish(ledger, decision, amount, effects)


def _within_64_bits(quoted: Quote) -> int:
    if quoted.amount > MAX_NANOS:
        raise MoneyOverflow("usage", quoted.amount, "a usage that costs at most 64 bits of nanos")
    return quoted.amount


def announce(
    ledger: Ledger, hold: HoldRecord, uses: Iterable[tuple[Window, Mapping[str, int]]]
) -> None:
    """Let quotes of tiered prices (rule 5.4) and quotas know what this hold may use, in each of
    these billing periods: those there are, and those that a price or a plan brings meanwhile."""
    for period, counts in uses:
        used = [(component, quantity) for component, quantity in counts.items() if quantity]
        if not used:
            continue
        counter = ledger.count(hold.resource or "", period.start)
        for component, quantity in used:
            held = HeldQuantity(counter.start, component, quantity)
            counter.hold(held)
            hold.counted.append(held)
        ledger.keep(counter)


def _open_hold(ledger: Ledger, decision: Decision[Extend] | Decision[Release]) -> HoldRecord:
    name = decision.command.hold
    hold = ledger.state.holds.get(name)
    if hold is None:
        raise NotFound("hold", name, "a hold is named by the key it was made with")
    if hold.state == "settled":
        raise Conflict(f"hold {name!r} of org {ledger.org!r} is settled already")
    return hold


def extend(ledger: Ledger, decision: Decision[Extend]) -> Outcome:
    command = decision.command
    lapse(ledger, decision)
    hold = _open_hold(ledger, decision)
    if hold.state != "open":
        return refusal(decision, "hold_lapsed" if hold.state == "lapsed" else "hold_released")
    until = max(hold.expires_at, decision.now + duration("expires_in", command.expires_in))
    # Parts whose lot has ended cannot live on: live lots replace them, or nothing changes.
    ended = [part for part in hold.parts if ledger.ended(ledger.state.lots[part.lot], decision)]
    replaced = sum(part.amount for part in ended)
    added = 0 if command.add is None else command.add.nanos
    quoted = _quoted_anew(ledger, hold, until)
    counts: dict[str, int] = {}
    at = decision.at
    if quoted is not None:
        added += max(0, _within_64_bits(quoted) - hold.reserved)
        counts = billed(quoted.lines)
        # Its clock may be behind that of the hold, which is used at no time before.
        at = max(at, ledger.state.entries[f"hold:{hold.key}"].at)
    use = Use(
        hold.member,
        hold.project,
        hold.resource,
        at,
        decision.time,
        counts.items(),
        until,
        hold.counted,
    )
    binding = binding_limit(ledger, use, added, replaced=replaced)
    if binding is not None:
        return limit_refusal(command.org, command.key, binding, decision.time)
    hold.parts = [part for part in hold.parts if part not in ended]
    for lot, amount in ended:
        ledger.let_go(lot, amount, decision)
    if replaced + added:
        hold.parts += ledger.reserve(replaced + added, hold.resource, at)
        hold.parts.sort(key=lambda part: spending_order(ledger.state.lots[part.lot]))
    hold_spending(ledger, hold, added)
    hold.expires_at = until
    ledger.changes.holds[hold.key] = hold
    ledger.will_lapse(until)
    effects: dict[str, object] = {"expires_at": until, "parts": hold.parts}
    if quoted is not None:
        before = hold.counted
        _announce_anew(ledger, hold, counts, at)
        if hold.counted != before:
            effects["counted"] = hold.counted
    return finish(ledger, decision, hold.reserved, effects)


def made_for(made: Entry) -> Usage | None:
    """The usage that a hold was made for, as its entry says; None for one of an amount."""
    found = json.loads(made.content).get("usage")
    if found is None:
        return None
    return Usage.of_content(found)


def _quoted_anew(ledger: Ledger, hold: HoldRecord, until: int) -> Quote | None:
    """The most that can still be charged to a hold that lives ``until`` then: the usage that it was
    made for, less what was settled of it, at the prices since it was made, as its usage may be
    told late.  None for a hold of a plain amount."""
    if ledger.terms.level < QUOTES_ANEW:
        return None
    made = ledger.state.entries.get(f"hold:{hold.key}")
    if made is None:
        raise StoreError(
            f"what hold {hold.key!r} of org {ledger.org!r} was made for is not on record; "
            "run billing verify"
        )
    usage = made_for(made)
    if usage is None:
        return None
    settled = {} if hold.used is None else dict(hold.used.quantities)
    left: tuple[tuple[str, int, Payer], ...] = tuple(
        (component, quantity - settled.get(component, 0), payer)
        for component, quantity, payer in usage.parts
        if payer == PLATFORM and quantity > settled.get(component, 0)
    )
    return quote_usage(ledger, evolve(usage, parts=left), made.at, until, hold)


def _announce_anew(ledger: Ledger, hold: HoldRecord, counts: dict[str, int], at: int) -> None:
    """What a hold may use from now on, in place of what it announced for that time."""
    now = ledger.period(at).start
    past = [each for each in hold.counted if each.period < now]
    hold.counted = [each for each in hold.counted if each.period >= now]
    ledger.uncount(hold)
    announce(ledger, hold, [(each, counts) for each in ledger.periods(at, hold.expires_at)])
    hold.counted = past + hold.counted


def release(ledger: Ledger, decision: Decision[Release]) -> Outcome:
    lapse(ledger, decision)
    hold = _open_hold(ledger, decision)
    freed = 0
    if hold.state == "open":
        hold.state = "released"
        freed = free(ledger, hold, decision)
        repay(ledger)
    return finish(ledger, decision, freed)


def _want_hold(want: Wanted, command: Hold, at: int, now: int) -> None:
    # Nothing is dated more than a day ahead.
    life = min(duration("expires_in", command.expires_in), DAY)
    want.lives = max(want.lives, life)
    want.times = spanning(want.times, max(at, now) + life)
    want_use(want, command, at, now)
    if isinstance(command.cost, Usage):  # it may be used in any later period
        resource = command.cost.resource
        want.counters[resource] = want.counters[resource][0], FOREVER


def _want_extension(want: Wanted, command: Extend, at: int, now: int) -> None:
    want.times = spanning(spanning(want.times, at), max(at, now) + DAY)
    want.lives = DAY
    until = max(at, now) + duration("expires_in", command.expires_in)
    want.extended[command.hold] = max(until, want.extended.get(command.hold, 0))
    want.keys.add(f"hold:{command.hold}")


OPERATIONS = (
    Operation(
        Hold,
        hold,
        lambda entry, base, effects: Held(*base, entry.amount, moment(effects["expires_at"])),
        _want_hold,
        ("cost",),
        tops_up="use",
    ),
    Operation(
        Extend,
        extend,
        lambda entry, base, effects: Extended(*base, entry.amount, moment(effects["expires_at"])),
        _want_extension,
        ("add",),
        tops_up="use",
        history="release",  # parts of ended lots are let go and expire: that moves the balance
    ),
    Operation(
        Release,
        release,
        lambda entry, base, _: Released(*base, entry.amount),
        history="release",
    ),
)
