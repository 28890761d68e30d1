"""The audit of what was used: each line held against the price it names, and added up.  Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from billing_core.charging.limits import had_counted
from billing_core.ledger.ledger import CHARGES
from billing_core.pricing.conditions import Request
from billing_core.pricing.functions import charge
from billing_core.pricing.price import Price
from billing_core.records.ledger import Entry
from billing_core.records.usage import UNCOUNTED, Cell, CellKey, Count, Item, Line, UsageRecord
from billing_core.values.times import DAY, HOUR, billing_period, micros
from billing_core.values.usage import CUSTOMER

if TYPE_CHECKING:
    from billing_core.audit.state import Audit

__all__ = ["GIVES_BACK", "check_elsewhere", "check_undone", "follow_usage", "used"]

GIVES_BACK = ("reverse", "back", "undone")
"""The operations that take back of a charge."""


def used(entry: Entry) -> UsageRecord:
    """The usage of an entry that must have one; raises ValueError."""
    if entry.usage is None:
        raise ValueError(f"entry {entry.seq} has no usage record")
    return entry.usage


def follow_usage(
    audit: Audit, entry: Entry, usage: UsageRecord, content: Any, effects: Any, where: str
) -> None:
    """What an entry used: its arithmetic, its counters and items, and what it adds up to."""
    account = audit.account
    assert account is not None
    start = billing_period(account.anchor, usage.occurred_at).start
    total = 0
    seen: set[str] = set()
    request = _request(audit, entry, usage, content)
    for line in usage.lines:
        total += line.amount
        if entry.op == "reverse" or line.payer == CUSTOMER or not line.version:
            _keep_unbilled(audit, entry, line, usage, effects)
            continue
        _check_line(audit, line, usage, start, entry, where)
        if line.component not in seen and (line.quantity or entry.op == "price"):
            _check_choice(audit, line, usage, request, where)
        if usage.item is not None:
            measured = line.quantity
            if entry.op == "price" and line.component not in seen:
                measured = _was_unpriced(audit, content["charge"], line.component)
                measured -= effects.get("less", {}).get(line.component, 0)
            later = entry.op == "price" and line.component not in seen
            _itemise(audit, line, usage, measured, start, priced_later=later)
        seen.add(line.component)
    if entry.op in CHARGES and total != entry.amount:
        audit.note(where, f"amount {entry.amount}; its lines add up to {total}")
    if entry.op in GIVES_BACK and total != -entry.amount:
        audit.note(where, f"amount {entry.amount}; its lines give back {-total}")
    _roll_up(audit, usage, start)
    if not _counts(audit, entry, content, effects, where):
        usage = usage._replace(project=None)
    audit.count(usage, total)


def _counts(audit: Audit, entry: Entry, content: Any, effects: Any, where: str) -> bool:
    """Whether an entry moves what its project has spent: not where it takes back of what was
    charged before spending was added up."""
    account = audit.account
    assert account is not None
    if entry.op in ("reverse", "undone"):
        return had_counted(account, audit.subject(content["charge"]))
    if not effects.get("uncounted"):
        return True
    if had_counted(account, audit.subject(effects["story"])):
        audit.note(where, f"does not count, though charge {effects['story']} did")
    return False


def _check_line(
    audit: Audit, line: Line, usage: UsageRecord, start: int, entry: Entry, where: str
) -> None:
    account = audit.account
    assert account is not None
    counter = audit.counter(usage.resource, start)
    count = counter.of(line.component)
    same_fraction = line.carry * count.carry_of == count.carry * line.carry_of
    if line.counter != count.quantity or not same_fraction:
        audit.note(where, f"{line.component} counts from {line.counter}, not from {count.quantity}")
    version = line.version or ""
    priced = audit.catalogue.priced_by(version, account.currency, usage.resource, line.component)
    if priced is None:
        audit.note(where, f"price version {version} is not on record as it was")
        return
    # An item keeps its first version, and a later command may name any.
    exempt = entry.op in ("price", "undone") or usage.item is not None
    for book in () if exempt else audit.catalogue.books_of(version):
        if usage.occurred_at < micros("effective_at", book.effective_at):
            audit.note(where, f"price version {version} was not in force yet")
        if book.audience not in ("", f"org:{audit.org}", f"plan:{_subscribed(audit, usage)}"):
            audit.note(where, f"price version {version} is for {book.audience}")
    amount, rest = charge(
        priced.price.function, line.counter, line.billed, (line.carry, line.carry_of),
        line.amount if entry.op in ("back", "undone") else 0,
    )  # fmt: skip
    if amount != line.amount:
        audit.note(where, f"{line.component} charges {line.amount}; its price says {amount}")
    counter.components[line.component] = Count(line.counter + line.billed, *rest, count.held)
    if not exempt and not _billed_right(usage, line, priced.price):
        audit.note(where, f"{line.component} bills {line.billed} for {line.quantity}")


_USES = ("settle", "deduct")


def _request(audit: Audit, entry: Entry, usage: UsageRecord, content: Any) -> Request | None:
    """What the prices of an entry's usage may have depended on; None where nothing is priced
    anew."""
    if entry.op in ("reverse", "undone"):
        return None
    said, told = entry, content
    if entry.op == "price":
        said = audit.subject(content["charge"])
        told = json.loads(said.content)
    facts: Any = ()
    if said.op in _USES:
        used_up = told.get("usage", ())
        facts = tuple(used_up[3].items()) if len(used_up) > 3 else ()
    else:
        facts = _owner_facts(audit, told)
    item = audit.tables.items.get((usage.item or "", usage.resource))
    found = {} if item is None or usage.item is None else item.measured()
    if entry.op in _USES or (entry.op == "price" and not found):
        for line in used(said).lines:
            found[line.component] = found.get(line.component, 0) + line.quantity
    return Request.measured(usage.occurred_at, facts, found)


def _owner_facts(audit: Audit, content: Any) -> tuple[tuple[str, str], ...]:
    """Those of the run or the workspace whose time is charged."""
    if "run" in content:
        run = audit.tables.runs.get(content["run"])
        return () if run is None else run.facts
    storage = audit.tables.storages.get(content.get("workspace", ""))
    return () if storage is None else storage.facts


def _check_choice(
    audit: Audit, line: Line, usage: UsageRecord, request: Request | None, where: str
) -> None:
    """What stands of a price for its request stands in the line."""
    account = audit.account
    assert account is not None
    if request is None:
        return
    named = line.version or ""
    standing = audit.catalogue.standing(
        named, account.currency, usage.resource, line.component, request
    )
    if standing is not None and standing != named:
        audit.note(where, f"{line.component} is priced by {named}; for its request by {standing}")


def _keep_unbilled(
    audit: Audit, entry: Entry, line: Line, usage: UsageRecord, effects: Any
) -> None:
    """An item keeps what is not billed of it, as the size of its request counts that."""
    if usage.item is None or not line.quantity:
        return
    key = (usage.item, usage.resource)
    item = audit.tables.items.get(key)
    name = Item.unbilled(line.component)
    known = item is not None and name in item.components
    if (entry.op in _USES and effects.get("unbilled")) or (entry.op == "undone" and known):
        item = audit.tables.items.setdefault(key, Item(*key))
        item.components[name] = item.more_unbilled(line.component, line.quantity)


def _subscribed(audit: Audit, usage: UsageRecord) -> str | None:
    plan = None
    for each in audit.tables.subscriptions.values():
        if each.since <= usage.occurred_at:
            plan = each.plan
    return plan


def _itemise(
    audit: Audit,
    line: Line,
    usage: UsageRecord,
    measured: int,
    period: int,
    *,
    priced_later: bool,
) -> None:
    key = (usage.item or "", usage.resource)
    item = audit.tables.items.setdefault(key, Item(*key))
    parts = item.components
    name = Item.unbilled(line.component)
    if priced_later and name in parts:
        parts[name] = item.more_unbilled(line.component, -measured)
    raw, billed, first, *told = parts.get(line.component, (0, 0, line.version or ""))
    places = {int(start): int(part) for start, part in zip(told[::2], told[1::2], strict=True)}
    now = int(billed) + line.billed
    if sum(places.values()) == billed:  # else it was begun by a version that did not tell
        places[period] = places.get(period, 0) + line.billed
    if not now or min(places.values(), default=0) < 0:
        places = {}
    kept = [each for place in sorted(places.items()) if place[1] for each in place]
    parts[line.component] = [int(raw) + measured, now, first, *kept]


def _was_unpriced(audit: Audit, number: int, component: str) -> int:
    lines = used(audit.subject(number)).lines
    return sum(each.quantity for each in lines if each.component == component)


def _billed_right(usage: UsageRecord, line: Line, price: Price) -> bool:
    same = [each for each in usage.lines if each.component == line.component]
    billed = sum(each.billed for each in same)
    return billed == price.billed(sum(each.quantity for each in same))


def _roll_up(audit: Audit, usage: UsageRecord, period: int) -> None:
    at = usage.occurred_at
    starts = (("hour", at - at % HOUR), ("day", at - at % DAY), ("period", period))
    payers = {line.payer for line in usage.lines} or {"platform"}
    for grain, start in starts:
        for payer in payers:
            key = CellKey(grain, usage.member, start, usage.resource, payer)
            cell = audit.tables.cells.setdefault(key, Cell())
            cell.requests += usage.requests
            for line in usage.lines:
                if line.payer == payer:
                    cell.amount += line.amount
                    cell.add_part(line.component, line.quantity, line.amount)


def check_undone(audit: Audit, entry: Entry, number: int) -> int:
    """Usage that is undone is what its charge has on record, and what priced it later, taken
    away; what is then to be given back."""
    where = f"entry {entry.seq}"
    undone, story = used(entry), audit.tables.charges.get(number)
    whole = [audit.subject(number)]
    before = 0 if story is None else story.reversed
    if story is not None and story.priced is not None:
        whole.append(audit.subject(story.priced))
        later = audit.tables.charges.get(story.priced)
        before += 0 if later is None else later.reversed
    first = used(whole[0])
    same = first._replace(requests=-first.requests, lines=undone.lines)
    if first.requests and first.item is not None:
        key = (first.item, first.resource)
        audit.tables.items.setdefault(key, Item(*key)).components[UNCOUNTED] = [0, 0, ""]
    if undone != same:
        audit.note(where, f"undoes other usage than that of charge {number}")
    left: dict[tuple[str, str], list[int]] = {}
    cost = 0
    for part in (*(used(each).lines for each in whole), undone.lines):
        for line in part:
            if (line.component, line.payer, line.version) == ("reversed", "platform", ""):
                cost += line.amount
                continue
            sums = left.setdefault((line.component, line.payer), [0, 0])
            sums[0] += line.quantity
            if line.version is not None or len(whole) == 1:
                sums[1] += line.billed
    # What is left of an item may count as its minimum.
    if any(quantity or (billed and first.item is None) for quantity, billed in left.values()):
        audit.note(where, f"leaves {left} of charge {number}")
    return max(0, cost - before)


def check_elsewhere(audit: Audit, entry: Entry, content: Any) -> int:
    """What an item was billed in another period leaves that period, and nothing else does; what
    is then to be given back."""
    assert audit.account is not None
    where = f"entry {entry.seq}"
    gone = used(entry)
    period = billing_period(audit.account.anchor, gone.occurred_at).start
    first = used(audit.subject(content["charge"]))
    same = first._replace(occurred_at=gone.occurred_at, requests=0, lines=gone.lines)
    if gone != same or first.item is None or period != content["period"]:
        audit.note(where, f"undoes what charge {content['charge']} was not billed")
    if period == billing_period(audit.account.anchor, first.occurred_at).start:
        audit.note(where, f"is of the period of charge {content['charge']}")
    cost = 0
    for line in gone.lines:
        if (line.component, line.payer, line.version) == ("reversed", "platform", ""):
            cost += line.amount
        elif line.quantity or line.billed >= 0:
            audit.note(where, f"bills {line.billed} for {line.quantity} {line.component}")
    return max(0, cost)
