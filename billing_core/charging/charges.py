"""Charging what was used, before or after, and giving a charge back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

from attrs import evolve

from billing_core.charging.expiry import free, lapse
from billing_core.charging.limits import (
    Use,
    binding_limit,
    count_spending,
    had_counted,
    hold_spending,
)
from billing_core.charging.operations import (
    Decision,
    Operation,
    check_future,
    finish,
    limit_refusal,
    occurred_at,
    refusal,
)
from billing_core.commands.charges import Deduct, Reverse, Settle
from billing_core.commands.holds import Hold
from billing_core.commands.outcomes import Outcome, charged
from billing_core.errors import Conflict, NotFound, UnknownPrice
from billing_core.ledger.debts import give_back, is_of_time, owe, repay, story_of
from billing_core.ledger.inputs import NeedMore, When
from billing_core.ledger.ledger import CHARGES, Ledger
from billing_core.ports.state import Wanted
from billing_core.pricing.catalogue import Priced
from billing_core.pricing.conditions import Request
from billing_core.pricing.price_book import VARIES
from billing_core.pricing.rating import (
    Correction,
    Metered,
    Quote,
    QuoteLine,
    billed,
    dearest_of,
    meter,
    quantities,
    quote,
)
from billing_core.records.ledger import Charge, Entry, HoldRecord, paid_by
from billing_core.records.usage import UNCOUNTED, Counter, Item, Line, UsageRecord
from billing_core.values.times import Window, micros, spanning
from billing_core.values.usage import PLATFORM, Usage

__all__ = [
    "OPERATIONS",
    "advance",
    "credit_back",
    "item_of",
    "item_period",
    "pay",
    "price_usage",
    "quote_usage",
    "reverse_money",
    "subject_of",
    "versions",
    "want_use",
]


def want_use(want: Wanted, command: Settle | Deduct | Hold, at: int, now: int) -> None:
    """What a store must load for a use: what its usage is counted in, at its time."""
    occurred = command.occurred_at
    time = at if occurred is None else micros("occurred_at", occurred)
    want.times = spanning(want.times, time)
    usage = command.usage if isinstance(command, Settle) else command.cost
    if isinstance(usage, Usage):
        want.counters[usage.resource] = spanning(want.counters.get(usage.resource), time)
        if usage.item is not None:
            want.items.add((usage.item, usage.resource))


def quote_usage(
    ledger: Ledger, usage: Usage, at: int, until: int | None = None, own: HoldRecord | None = None
) -> Quote:
    """The most that a usage can cost the org at a time, or at any time from then ``until``: at
    whatever price is published for it, in every billing period that begins meanwhile (rule 5.4).
    Raises UnknownPrice where something has no price at first.

    ``own``: the hold that is quoted again, as it is extended.  What it announced itself does not
    count against it, and a component that has no price any more is left out: it would settle as
    unpriced.
    """
    turns = [] if until is None else _price_change_times(ledger, usage.resource, at, until)
    if not turns and own is None:
        life = Window(at, at if until is None else until)
        lines = _quote_at(ledger, usage, life, life, parts=until is not None)
        if len(lines) == len(usage.parts):  # nothing depends on the request
            return Quote(sum(line.amount for line in lines), tuple(lines))
        return dearest_of([(0, lines)])
    quotes = []
    life = Window(at, at if until is None else until)
    for turn, end in pairwise((at, *turns, life.end)):
        then = usage
        if turn != at or own is not None:
            prices = ledger.prices(usage.resource, turn)
            priced = [each for each in usage.parts if each[2] != PLATFORM or prices[each[0]]]
            if not priced:
                continue
            then = evolve(usage, parts=tuple(priced))
        lines = _quote_at(ledger, then, Window(turn, end), life, own, parts=True, several=True)
        quotes.append((ledger.period(turn).start, lines))
    return dearest_of(quotes)


def _price_change_times(ledger: Ledger, resource: str, at: int, until: int) -> list[int]:
    """When, after a time, what a usage costs may change, as far as that is known."""
    account = ledger.account
    turns = set(ledger.catalogue.changes(account.currency, resource, account.org, at, until))
    since = [account.plan_since, *(each.since for each in ledger.state.subscriptions)]
    turns.update(time for time in since if at < time < until)
    turns.update(period.start for period in ledger.periods(at, until) if period.start > at)
    return sorted(turns)


def _quote_at(
    ledger: Ledger,
    usage: Usage,
    turn: Window,
    life: Window,
    own: HoldRecord | None = None,
    *,
    parts: bool = False,
    several: bool = False,
) -> list[QuoteLine]:
    """What is quoted by the prices at the beginning of a turn, in which nothing else is known to
    change but the hour, of a hold's life."""
    counter = _without(ledger.count(usage.resource, ledger.period(turn.start).start), own)
    item = item_of(ledger, usage)
    prices = ledger.prices(usage.resource, turn.start)
    try:
        return quote(
            usage,
            prices.__getitem__,
            versions(ledger, usage.resource),
            counter,
            item,
            prices.expected,
            lambda: _expected(ledger, usage, item, turn, life, own),
            parts=parts,
            several=several,
        )
    except UnknownPrice:
        if ledger.terms.fresh:
            raise
        raise NeedMore(None) from None  # its first price may have been published just now


def _without(counter: Counter, own: HoldRecord | None) -> Counter:
    """A counter without what a hold announced."""
    if own is None or not own.counted:
        return counter
    counter = counter.copy()
    for held in own.counted:
        if held.period == counter.start:
            counter.let_go(held)
    return counter


def _expected(
    ledger: Ledger,
    usage: Usage,
    item: Item | None,
    turn: Window,
    life: Window,
    own: HoldRecord | None,
) -> Request:
    """What is known of a request that is quoted.  What open holds may use at any time of its life
    may be of the same item, so that its size can be as much more."""
    least = quantities((), item)
    most = quantities(usage.parts, item)
    if item is not None:
        held: dict[str, int] = {}
        for period in ledger.periods(life.start, life.end):
            counter = _without(ledger.count(usage.resource, period.start), own)
            for component, count in counter.components.items():
                held[component] = max(held.get(component, 0), count.held)
        for component, quantity in held.items():
            most[component] = most.get(component, 0) + quantity
    until = max(turn.start, turn.end - 1)
    return Request(turn.start, until, usage.facts, least, most, quoted=True)


def item_of(ledger: Ledger, usage: Usage | Correction) -> Item | None:
    if usage.item is None:
        return None
    return ledger.item(usage.item, usage.resource) or Item(usage.item, usage.resource)


def price_usage(
    ledger: Ledger, usage: Usage | Correction, occurred: int, *, whole: bool = False
) -> Metered:
    """What a usage at a time costs; its counter and item stay as they are.  ``whole``: the item
    keeps also what is not priced of it, as the size of a request counts that (rule 5.9)."""
    resource = usage.resource
    counter = ledger.count(resource, ledger.period(occurred).start)
    prices = ledger.prices(resource, occurred)
    version_of = versions(ledger, resource)
    item = item_of(ledger, usage)
    period = None if item is None else item_period(ledger, occurred)
    metered = meter(
        usage,
        prices.__getitem__,
        version_of,
        counter,
        item,
        period,
        lambda: Request.measured(occurred, usage.facts, quantities(usage.parts, item)),
        whole=whole and ledger.terms.level >= VARIES,
    )
    if not ledger.terms.fresh and None in [line.version for line in metered.lines]:
        raise NeedMore(None)
    ledger.check_room(used=metered.amount)
    return metered


def item_period(ledger: Ledger, occurred: int) -> int | None:
    """The start of the billing period, which an item keeps with what it is billed; None until an
    upgrade is finished, as the version before cannot read it."""
    return ledger.period(occurred).start if ledger.terms.level >= 2 else None


def versions(ledger: Ledger, resource: str) -> Callable[[str, str], Priced | None]:
    """The price that a version on record has for a component of a resource."""

    def price_of(version: str, component: str) -> Priced | None:
        currency = ledger.account.currency
        priced = ledger.catalogue.priced_by(version, currency, resource, component)
        if priced is None and not ledger.terms.fresh:
            raise NeedMore(None)  # recorded by a process that has read a newer catalogue
        return priced

    return price_of


def advance(ledger: Ledger, usage: Usage | Correction, occurred: int, metered: Metered) -> None:
    """Counters and items become what metering made of them."""
    if metered.counters:
        counter = ledger.count(usage.resource, ledger.period(occurred).start)
        before = counter.components.copy()
        counter.components.update(metered.counters)
        for component, count in before.items():
            # What open holds may use stays, as lapses may just have left it.
            if count.held != counter.components[component].held:
                left = counter.components[component]._replace(held=count.held)
                counter.components[component] = left
        ledger.keep(counter)
    if metered.items:
        item = cast(Item, item_of(ledger, usage))
        item.components.update(metered.items)
        key = (item.item, item.resource)
        ledger.state.items[key] = ledger.changes.items[key] = item


def _record_item(
    ledger: Ledger, usage: Usage, metered: Metered, effects: dict[str, object] | None
) -> object:
    """Record an item with its first part, even if that costs nothing, so that all of its parts
    count as one request.  Returns the entry's effects, with ``item`` where it is new, and
    ``unbilled`` where the item keeps what is not billed of it."""
    if usage.item is None or ledger.terms.level < 2:
        return effects
    if any(Item.unbilled(component) in metered.items for component, _, _ in usage.parts):
        effects = {**(effects or {}), "unbilled": True}
    key = (usage.item, usage.resource)
    item = ledger.item(*key)
    if item is not None:
        if item.components.pop(UNCOUNTED, None) is not None:
            ledger.changes.items[key] = item
        return effects
    ledger.state.items[key] = ledger.changes.items[key] = Item(*key)
    return {**(effects or {}), "item": True}


def settle(ledger: Ledger, decision: Decision[Settle]) -> Outcome:
    command = decision.command
    usage = command.usage
    occurred = occurred_at(decision)
    metered = price_usage(ledger, usage, occurred, whole=True)
    lapse(ledger, decision)
    hold = None
    if command.hold is not None:
        # Unknown, lapsed or released: the usage was measured, so it settles without one.
        hold = ledger.state.holds.get(command.hold)
        if hold is not None and hold.state == "settled":
            raise Conflict(f"hold {hold.key!r} of org {ledger.org!r} is settled already")
    opened = hold is not None and hold.state == "open"
    part = command.part if command.part is not None else not command.final and opened
    requests = _requests(ledger, usage, part=part)
    advance(ledger, usage, occurred, metered)
    rest = metered.amount
    effects: dict[str, object] | None = None
    freed = 0
    if hold is not None and hold.state == "open":
        rest = ledger.capture(hold, rest, usage.resource, max(occurred, decision.time))
        hold_spending(ledger, hold, rest - metered.amount)
        effects = {"ended": command.final}
        if command.final:
            hold.state = "settled"
            freed = free(ledger, hold, decision)
        if hold.used is not None:
            number = ledger.account.seq + 1
            lines = metered.lines if usage.resource == hold.resource else ()
            hold.used = hold.used.and_charge(number, metered.amount, lines, more=not command.final)
    record = UsageRecord(
        occurred,
        decision.member,
        usage.resource,
        usage.item,
        requests,
        metered.lines,
        command.project,
    )
    said = _record_item(ledger, usage, metered, effects)
    return pay(ledger, decision, metered.amount, rest, record, said, freed=freed)


def _requests(ledger: Ledger, usage: Usage, *, part: bool = False) -> int:
    """How many requests a charge counts: of an item that was charged before, none, but where the
    part that counted was undone."""
    if usage.item is None:
        return 0 if part else 1
    item = ledger.item(usage.item, usage.resource)
    return 0 if item is not None and UNCOUNTED not in item.components else 1


def pay(
    ledger: Ledger,
    decision: Decision[Any],
    amount: int,
    rest: int,
    record: UsageRecord,
    effects: object = None,
    *,
    freed: int = 0,
) -> Outcome:
    """Pay ``rest`` of a charge from what is available, owe what is left, and record it."""
    account = ledger.account
    account.used += amount
    unpaid = ledger.pay(rest, record.resource, record.occurred_at) if rest else 0
    count_spending(ledger, record.member, record.project, record.occurred_at, amount, decision.time)
    if unpaid:
        payments = paid_by(ledger.moves)
        period = ledger.period(record.occurred_at).start
        charge = Charge(account.seq + 1, record.resource, amount, unpaid, 0, payments, period)
        owe(ledger, charge)
    if freed:
        repay(ledger)
    unpriced = [line.component for line in record.lines if line.version is None]
    if unpriced:
        data = {"resource": record.resource, "components": unpriced}
        ledger.untold.append(("usage_unpriced", data))
    return finish(ledger, decision, amount, effects, record)


def deduct(ledger: Ledger, decision: Decision[Deduct]) -> Outcome:
    command = decision.command
    cost = command.cost
    occurred = occurred_at(decision)
    metered = None
    counts: dict[str, int] = {}
    if isinstance(cost, Usage):
        resource = cost.resource
        metered = price_usage(ledger, cost, occurred, whole=True)
        amount, lines, item = metered.amount, metered.lines, cost.item
        if None in [line.version for line in lines]:
            quote_usage(ledger, cost, occurred)  # refuses what has no price
        counts = billed(lines)
    else:
        assert command.resource is not None, "an amount names what it is for"
        resource = command.resource
        amount, item = cost.nanos, None
        lines = (Line("fixed", 1, 1, PLATFORM, amount, ""),)
        ledger.check_room(used=amount)
    lapse(ledger, decision)
    use = Use(decision.member, command.project, resource, occurred, decision.time, counts.items())
    binding = binding_limit(ledger, use, amount)
    if binding is not None:
        return limit_refusal(command.org, command.key, binding, decision.time)
    requests, said = 1, None
    if metered is not None:
        requests = _requests(ledger, cast(Usage, cost))
        advance(ledger, cast(Usage, cost), occurred, metered)
        said = _record_item(ledger, cast(Usage, cost), metered, None)
    record = UsageRecord(
        occurred, decision.member, resource, item, requests, lines, command.project
    )
    return pay(ledger, decision, amount, amount, record, said)


def subject_of(ledger: Ledger, number: int) -> Entry:
    entry = ledger.entry(number)
    if entry is None or entry.usage is None or entry.op not in CHARGES:
        raise NotFound("charge", number, "a charge is named by the seq that it answered")
    return entry


def reverse_money(ledger: Ledger, decision: Decision[Reverse]) -> Outcome:
    command = decision.command
    expires = command.expires_at
    expires_at = None if expires is None else micros("expires_at", expires)
    check_future("expires_at", expires_at, decision)
    subject = subject_of(ledger, command.charge)
    if is_of_time(subject):
        raise Conflict(f"charge {subject.seq} is part of a run or of storage: forgive the run")
    lapse(ledger, decision)
    story = story_of(ledger, subject)
    left = story.amount - story.reversed
    amount = left if command.amount is None else command.amount.nanos
    if amount > left or not left:
        return refusal(decision, "over_reversal", amount - left, "charge")
    ledger.check_room(returned=max(0, amount - story.unpaid))
    made, record = credit_back(ledger, subject, story, amount, expires_at, decision)
    repay(ledger)
    return finish(ledger, decision, amount, {"lots": made} if made else None, record)


def credit_back(
    ledger: Ledger, subject: Entry, story: Charge, amount: int, expires_at: int | None, when: When
) -> tuple[list[list[int]], UsageRecord]:
    """Return an amount of a charge to the customer.  Returns the lots that were made in place of
    ended ones, and the usage to record."""
    made = give_back(ledger, story, amount, expires_at, when)
    usage = cast(UsageRecord, subject.usage)
    project = usage.project if had_counted(ledger.account, subject) else None
    count_spending(ledger, usage.member, project, usage.occurred_at, -amount, when.time)
    lines = (Line("reversed", 0, 0, PLATFORM, -amount, ""),)
    return made, usage._replace(item=None, requests=0, lines=lines)


OPERATIONS = (
    Operation(Settle, settle, charged, want_use, tops_up="use", history="usage"),
    Operation(Deduct, deduct, charged, want_use, ("cost",), tops_up="use", history="usage"),
)
