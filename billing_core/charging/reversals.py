"""Giving a charge back: a part of its money, or all of it because its usage did not happen.

A plain reversal leaves the usage.  One that undoes it is three kinds of entries: ``undone:7``
takes charge 7's quantities and requests out of what is counted; ``undone:7:9`` gives back of
charge 9 what charge 7 cannot; and the command's own gives back of charge 7.  Where its item was
billed in another billing period, ``undone:7:period:0`` takes that out of what was counted there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from operator import add
from typing import Any, NamedTuple, cast

from billing_core.charging.charges import (
    advance,
    credit_back,
    item_of,
    item_period,
    reverse_money,
    subject_of,
    versions,
)
from billing_core.charging.expiry import lapse
from billing_core.charging.operations import Decision, Operation, check_future, check_level, finish
from billing_core.commands.charges import Reverse
from billing_core.commands.outcomes import Header, Outcome, Reversed, moved
from billing_core.errors import Conflict, StoreError
from billing_core.ledger.debts import is_of_time, repay, story_of
from billing_core.ledger.inputs import NeedMore
from billing_core.ledger.ledger import Ledger
from billing_core.ports.state import Wanted
from billing_core.pricing.catalogue import Priced
from billing_core.pricing.rating import Correction, Metered, take_out, unmeter
from billing_core.records.ledger import Charge, Entry
from billing_core.records.usage import UNCOUNTED, Item, Line, UsageRecord
from billing_core.values.money import MAX_NANOS
from billing_core.values.text import compact
from billing_core.values.times import micros
from billing_core.values.usage import PLATFORM

__all__ = ["OPERATIONS"]


class _Reversible(NamedTuple):
    """A charge that something may be taken back of."""

    entry: Entry
    story: Charge

    @property
    def left(self) -> int:
        return self.story.amount - self.story.reversed


def reverse(ledger: Ledger, decision: Decision[Reverse]) -> Outcome:
    """Give a charge back, whole or in part."""
    command = decision.command
    return _undo(ledger, decision) if command.undo_usage else reverse_money(ledger, decision)


def _undo(ledger: Ledger, decision: Decision[Reverse]) -> Outcome:
    command = decision.command
    check_level("undo_usage", 2, ledger.terms)
    expires = command.expires_at
    expires_at = None if expires is None else micros("expires_at", expires)
    check_future("expires_at", expires_at, decision)
    subject = subject_of(ledger, command.charge)
    number = subject.seq
    if is_of_time(subject):
        raise Conflict(f"charge {number} is part of a run or of storage: forgive the run")
    if subject.op == "price":
        of = json.loads(subject.content)["charge"]
        raise Conflict(f"charge {number} is the price of what charge {of} used: undo that")
    if f"undone:{number}" in ledger.state.entries:
        raise Conflict(f"the usage of charge {number} was undone already")
    lapse(ledger, decision)
    own = _Reversible(subject, story_of(ledger, subject))
    parts = [own, *_priced(ledger, own.story)]
    usage = cast(UsageRecord, subject.usage)
    lines = _on_record(parts)
    before = sum(part.story.reversed for part in parts)
    metered = _unmeter(ledger, usage, lines, -MAX_NANOS)
    back = max(0, -metered.amount - before)
    if back > sum(part.left for part in parts):
        parts += _newest(ledger, usage, lines, parts)
        most = sum(part.left for part in parts)
        if back > most:
            metered = _unmeter(ledger, usage, lines, -(most + before))
            back = max(0, -metered.amount - before)
    elsewhere = _elsewhere(ledger, usage, metered, decision.time)
    ledger.check_room(returned=back + sum(each.back for each in elsewhere))
    _uncount(ledger, decision, usage, metered, number)
    others = [0, 0, 0, 0]

    def take(parts: Sequence[_Reversible], rest: int) -> int:
        whole = rest
        for part in parts:
            amount = min(rest, part.left)
            if amount:
                rest -= amount
                _add(others, _take_other(ledger, decision, part, amount, expires_at, number))
        return whole - rest

    for each in elsewhere:
        _uncount_elsewhere(ledger, decision, each, number)
        take(each.parts, each.back)
    rest = back - min(back, own.left)
    amount = back - take(parts[1:], rest)
    made, record = credit_back(ledger, subject, own.story, amount, expires_at, decision)
    repay(ledger)
    effects: dict[str, object] = {}
    if made:
        effects["lots"] = made
    if others[0]:
        effects["others"] = others
    return finish(ledger, decision, amount, effects or None, record if amount else None)


def _priced(ledger: Ledger, story: Charge) -> Iterator[_Reversible]:
    """The charge that priced later what this one left unpriced."""
    if story.priced is not None:
        entry = ledger.entry(story.priced)
        if entry is None:
            raise NeedMore(ledger.org, charges=frozenset({story.priced}))
        yield _Reversible(entry, story_of(ledger, entry))


def _on_record(parts: Sequence[_Reversible]) -> list[Line]:
    """What was used, with what priced it, be it later: there no quantity counts again."""
    first, *later = (cast(UsageRecord, part.entry.usage).lines for part in parts)
    lines: list[Line] = []
    for line in first:
        priced = [
            each
            for others in later
            for each in others
            if line.version is None and each.component == line.component
        ]
        if priced:
            priced[0] = priced[0]._replace(quantity=line.quantity)
        lines += priced or [line]
    return lines


def _unmeter(ledger: Ledger, usage: UsageRecord, lines: Sequence[Line], least: int) -> Metered:
    version_of = versions(ledger, usage.resource)

    def price_of(version: str, component: str) -> Priced:
        priced = version_of(version, component)
        if priced is None:
            raise StoreError(f"price version {version!r} of org {ledger.org!r} is not on record")
        return priced

    counter = ledger.count(usage.resource, ledger.period(usage.occurred_at).start)
    item, period = item_of(ledger, _correction(usage)), item_period(ledger, usage.occurred_at)
    return unmeter(lines, price_of, counter, item, least, period)


class _Elsewhere(NamedTuple):
    """What an item is billed no more in another period, and the charges that give it back."""

    usage: UsageRecord
    metered: Metered
    parts: list[_Reversible]

    @property
    def back(self) -> int:
        return max(0, -self.metered.amount)


def _elsewhere(ledger: Ledger, usage: UsageRecord, metered: Metered, at: int) -> list[_Elsewhere]:
    """What the item was billed in other periods than that of the usage, which goes back there."""
    found: list[_Elsewhere] = []
    for start, pieces in sorted(metered.elsewhere.items(), reverse=True):
        counter = ledger.count(usage.resource, start)
        last = max(start, min(at, ledger.period(start).end - 1))
        there = usage._replace(occurred_at=last, requests=0)
        less = take_out(pieces, counter, -MAX_NANOS)
        parts = _newest(ledger, there, less.lines, ()) if less.amount < 0 else []
        most = sum(part.left for part in parts)
        if -less.amount > most:
            less = take_out(pieces, counter, -most)
        found.append(_Elsewhere(there, less, parts))
    return found


def _uncount_elsewhere(
    ledger: Ledger, decision: Decision[Reverse], each: _Elsewhere, number: int
) -> None:
    usage, metered = each.usage, each.metered
    advance(ledger, _correction(usage), usage.occurred_at, metered)
    lines = metered.lines
    if metered.amount:
        lines += (Line("reversed", 0, 0, PLATFORM, -metered.amount, ""),)
    start = ledger.period(usage.occurred_at).start
    content = compact({"charge": number, "period": start})
    key = f"undone:{number}:period:{start}"
    ledger.post(key, decision.time, content, 0, None, usage._replace(lines=lines))


def _correction(usage: UsageRecord) -> Correction:
    return Correction(usage.resource, (), cast(str, usage.item), 0)


def _uncount(
    ledger: Ledger, decision: Decision[Reverse], usage: UsageRecord, metered: Metered, number: int
) -> None:
    """The usage leaves its counter, its item and what is reported; no money moves yet."""
    advance(ledger, _correction(usage), usage.occurred_at, metered)
    lines = metered.lines
    if metered.amount:
        lines += (Line("reversed", 0, 0, PLATFORM, -metered.amount, ""),)
    if usage.requests and usage.item is not None:
        item = cast(Item, item_of(ledger, _correction(usage)))
        item.components[UNCOUNTED] = [0, 0, ""]
        key = (item.item, item.resource)
        ledger.state.items[key] = ledger.changes.items[key] = item
    record = usage._replace(requests=-usage.requests, lines=lines)
    ledger.post(f"undone:{number}", decision.time, compact({"charge": number}), 0, None, record)


def _newest(
    ledger: Ledger, usage: UsageRecord, lines: Sequence[Line], but: Sequence[_Reversible]
) -> list[_Reversible]:
    """The latest other charges that were counted with these lines, latest first."""
    period = ledger.period(usage.occurred_at)
    known = () if ledger.new else ledger.state.newest.get((usage.resource, period.start))
    if known is None:
        raise NeedMore(ledger.org, newest=(usage.resource, period.start, period.end))
    missing = frozenset(number for number in known if ledger.entry(number) is None)
    if missing:
        raise NeedMore(ledger.org, charges=missing)
    counted = {line.component for line in lines if line.payer == PLATFORM and line.version}
    skip = {part.entry.seq for part in but}
    found: list[_Reversible] = []
    for entry in [*reversed(ledger.changes.entries), *map(ledger.entry, known)]:
        if entry is None or entry.seq in skip or entry.op not in ("settle", "deduct", "price"):
            continue
        if is_of_time(entry):
            continue
        used = entry.usage
        if used is None or used.resource != usage.resource:
            continue
        if ledger.period(used.occurred_at) != period:
            continue
        if any(each.component in counted and each.version and each.amount for each in used.lines):
            skip.add(entry.seq)
            found.append(_Reversible(entry, story_of(ledger, entry)))
    return found


def _take_other(
    ledger: Ledger,
    decision: Decision[Reverse],
    part: _Reversible,
    amount: int,
    expires_at: int | None,
    number: int,
) -> list[int]:
    """Give back of another charge, whose own usage costs so much less now: it is not one that
    was reversed.  How much of it went where."""
    made, record = credit_back(ledger, part.entry, part.story, amount, expires_at, decision)
    part.story.amount -= amount
    part.story.reversed -= amount
    moved = [
        sum(move.amount for move in ledger.moves if move.kind == kind)
        for kind in ("forgiveness", "refill", "expiry")
    ]
    content: dict[str, object] = {"charge": part.entry.seq, "undone": number}
    if expires_at is not None:
        content["expires_at"] = expires_at
    key = f"undone:{number}:{part.entry.seq}"
    effects = {"lots": made} if made else None
    ledger.post(key, decision.time, compact(content), amount, effects, record)
    return [amount, *moved]


def _add(sums: list[int], more: Sequence[int]) -> None:
    for index, each in enumerate(more):
        sums[index] += each


def _want_charge(want: Wanted, command: Reverse, at: int, now: int) -> None:
    want.charges.add(command.charge)
    if command.undo_usage:
        want.keys.add(f"undone:{command.charge}")


def _reversed(entry: Entry, base: Header, effects: Any) -> Reversed:
    own = entry.amount, *(moved(entry, kind) for kind in ("forgiveness", "refill", "expiry"))
    others = effects.get("others", (0, 0, 0, 0))
    amount, forgiven, refilled, expired = map(add, own, others)
    return Reversed(*base, amount, forgiven, refilled, expired)


OPERATIONS = (Operation(Reverse, reverse, _reversed, _want_charge, ("amount",), history="refund"),)
