"""State and commands in, changes and outcomes out: the only place where money is decided.

Pure.  Commands are decided in order, each seeing the effects of those before it.
A command that is refused, invalid or in conflict moves nothing of its own; what
had lapsed by its time of decision is recorded all the same, as it is a fact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

from billing_core.commands import (
    PLATFORM,
    Close,
    Command,
    Deduct,
    Extend,
    Grant,
    Hold,
    OpenAccount,
    Payer,
    PriceUnpriced,
    Release,
    Reverse,
    Settle,
    Usage,
)
from billing_core.errors import (
    Conflict,
    IdempotencyConflict,
    InvalidCommand,
    MoneyOverflow,
    NotFound,
)
from billing_core.ledger import Ledger, spending_order
from billing_core.metering import Metered, Quote, in_force, meter, quote, tiered_parts
from billing_core.money import MAX_NANOS, Money
from billing_core.outcomes import Outcome, Refusal, outcome
from billing_core.ports import Changes, Loaded, OrgState, Wanted
from billing_core.pricing import Catalogue, Priced
from billing_core.records import Account, Charge, Entry, Item, Line, Lot, UsageRecord
from billing_core.records import Hold as HoldRecord
from billing_core.text import compact
from billing_core.times import duration, micros, moment

__all__ = ["Terms", "decide", "estimate", "project", "wanted"]


class Terms(NamedTuple):
    """What decisions depend on beside the orgs' state: the catalogue, the clock's time,
    and how far ahead of it a command may be dated (microseconds)."""

    catalogue: Catalogue
    now: int
    tolerance: int


class _Ask(NamedTuple):
    """A command, with what every handler needs of it.  ``at``: its own time; ``time``:
    the time of decision."""

    command: Any
    key: str
    content: str
    at: int
    time: int
    member: int


def wanted(commands: Iterable[Command], now: int) -> dict[str, Wanted]:
    """What a store must load for these commands, by org."""
    wants: dict[str, Wanted] = {}
    for command in commands:
        at = now if command.at is None else micros("at", command.at)
        want = wants.get(command.org)
        if want is None:
            want = wants[command.org] = Wanted(until=at)
        want.until = max(want.until, at)
        want.keys.add(f"{command.op}:{command.key}")
        member = getattr(command, "member", None)
        if member is not None:
            want.members.add(member)
        hold = getattr(command, "hold", None)
        if hold is not None:
            want.holds.add(hold)
        match command:
            case Settle(usage=usage) | Deduct(cost=Usage() as usage) | Hold(cost=Usage() as usage):
                occurred = getattr(command, "occurred_at", None)
                time = at if occurred is None else micros("occurred_at", occurred)
                _want_counter(want, usage, time)
            case PriceUnpriced(charge=charge) | Reverse(charge=charge):
                want.charges.add(charge)
            case Close():
                want.all_holds = True
            case _:
                pass
    return wants


def _want_counter(want: Wanted, usage: Usage, time: int) -> None:
    first, last = want.counters.get(usage.resource, (time, time))
    want.counters[usage.resource] = (min(first, time), max(last, time))
    if usage.item is not None:
        want.items.add((usage.item, usage.resource))


def decide(
    loaded: Loaded, commands: Iterable[Command], terms: Terms
) -> tuple[list[Outcome], dict[str, Changes]]:
    """The outcome of each command, in order, and what to write, by org.

    Uses ``loaded`` up.  Raises NeedMoreDebts.
    """
    ledgers: dict[str, Ledger] = {}
    outcomes: list[Outcome] = []
    for command in commands:
        ledger = ledgers.get(command.org)
        if ledger is None:
            ledger = ledgers[command.org] = Ledger(command.org, loaded[command.org], terms.now)
        try:
            outcomes.append(_decide(ledger, command, terms))
        except (InvalidCommand, Conflict, NotFound) as error:
            outcomes.append(error)
    changes = {org: ledgers[org].changes() for org in sorted(ledgers)}
    return outcomes, {org: change for org, change in changes.items() if change is not None}


def _decide(ledger: Ledger, command: Command, terms: Terms) -> Outcome:
    at = terms.now if command.at is None else micros("at", command.at)
    key = f"{command.op}:{command.key}"
    account = ledger.state.account
    if account is None:
        if not isinstance(command, OpenAccount):
            raise NotFound("org", command.org, "it has no account; open it first")
        _check_not_ahead("at", at, terms)
        return _open(ledger, command, key, at)
    _check_currency(command, account)
    name = getattr(command, "member", None)
    member = None if name is None else ledger.state.members.get(name, account.members + 1)
    content = compact(command.content(member))
    known = ledger.state.entries.get(key)
    if known is not None:
        if known.content != content:
            raise IdempotencyConflict(command.org, command.key, _differing(known.content, content))
        return outcome(known, replayed=True)
    _check_not_ahead("at", at, terms)
    occurred = getattr(command, "occurred_at", None)
    if occurred is not None:
        _check_not_ahead("occurred_at", micros("occurred_at", occurred), terms)
    if isinstance(command, OpenAccount):
        raise Conflict(f"org {command.org!r} is open already, under another key")
    if account.closed_at is not None and not isinstance(command, (Settle, PriceUnpriced)):
        return Refusal(command.org, command.key, "closed")
    ask = _Ask(command, key, content, at, max(at, account.watermark), member or 0)
    return _HANDLERS[type(command)](ledger, ask, terms)


def _check_not_ahead(field: str, time: int, terms: Terms) -> None:
    if time > terms.now + terms.tolerance:
        latest = moment(terms.now + terms.tolerance).isoformat()
        raise InvalidCommand(field, moment(time).isoformat(), f"{latest} or earlier")


def _check_currency(command: Command, account: Account) -> None:
    for field in ("amount", "cost", "add"):
        money = getattr(command, field, None)
        if isinstance(money, Money) and money.currency != account.currency:
            raise InvalidCommand(
                field, money.currency, f"{account.currency}, the currency of org {account.org!r}"
            )


def _differing(before: str, after: str) -> tuple[str, ...]:
    old, new = json.loads(before), json.loads(after)
    return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))


def _finish(
    ledger: Ledger,
    ask: _Ask,
    amount: int,
    effects: object = None,
    usage: UsageRecord | None = None,
) -> Outcome:
    """Record a success.  A member seen for the first time gets its surrogate id here."""
    account = ledger.account
    if ask.member > account.members:
        account.members = ask.member
        name = ask.command.member
        ledger.state.members[name] = ask.member
        ledger.new_members.append((ask.member, name))
    entry = ledger.post(ask.key, ask.time, ask.content, amount, effects, usage)
    return outcome(entry, effects=effects)


def _refuse(ask: _Ask, reason: str, shortfall: int = 0, limit: str | None = None) -> Refusal:
    return Refusal(ask.command.org, ask.command.key, reason, shortfall, limit)


def _too_little(ask: _Ask, amount: int, available: int) -> Refusal:
    return _refuse(ask, "insufficient_credit", amount - available, "balance")


# -- accounts and credit --------------------------------------------------------


def _open(ledger: Ledger, command: OpenAccount, key: str, at: int) -> Outcome:
    anchor = at if command.anchor is None else micros("anchor", command.anchor)
    account = Account(command.org, command.currency, command.livemode, anchor, at, watermark=at)
    ledger.account = ledger.state.account = account
    ledger.opened = True
    effects = {"anchor": anchor, "opened_at": at}
    content = compact(command.content(None))
    return outcome(ledger.post(key, at, content, 0, effects), effects=effects)


def _grant(ledger: Ledger, ask: _Ask, terms: Terms) -> Outcome:
    command: Grant = ask.command
    expires = command.expires_at
    expires_at = None if expires is None else micros("expires_at", expires)
    _check_future("expires_at", expires_at, ask)
    amount = command.amount.nanos
    ledger.check_room(granted=amount)
    ledger.lapse(ask.time)
    account = ledger.account
    lot = Lot(
        account.lots + 1, account.seq + 1, command.kind, command.priority, amount, 0, 0,
        expires_at, command.scope,
    )  # fmt: skip
    ledger.grant(lot)
    ledger.repay()
    return _finish(ledger, ask, amount, {"lot": lot.lot})


def _check_future(field: str, time: int | None, ask: _Ask) -> None:
    if time is not None and time <= ask.time:
        after = moment(ask.time).isoformat()
        raise InvalidCommand(field, moment(time).isoformat(), f"a time after {after}")


# -- holds ----------------------------------------------------------------------


def estimate(ledger: Ledger, usage: Usage, at: int, catalogue: Catalogue) -> Quote:
    """The most that a usage at a time can cost the org; raises UnknownPrice."""
    currency = ledger.account.currency
    counter = ledger.count(usage.resource, ledger.period(at).start)
    return quote(
        usage,
        in_force(catalogue, currency, usage.resource, at),
        _versions(ledger, usage.resource, catalogue),
        counter,
        _item(ledger, usage),
        partial(catalogue.components, currency, usage.resource),
    )


def _item(ledger: Ledger, usage: Usage) -> Item | None:
    if usage.item is None:
        return None
    key = (usage.item, usage.resource)
    return ledger.state.items.get(key) or Item(usage.item, usage.resource)


def _hold(ledger: Ledger, ask: _Ask, terms: Terms) -> Outcome:
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
        return _too_little(ask, amount, available)
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
    return _finish(ledger, ask, amount, effects)


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


def _open_hold(ledger: Ledger, ask: _Ask) -> HoldRecord:
    name = ask.command.hold
    hold = ledger.state.holds.get(name)
    if hold is None:
        raise NotFound("hold", name, "a hold is named by the key it was made with")
    if hold.state == "settled":
        raise Conflict(f"hold {name!r} of org {ledger.org!r} is settled already")
    return hold


def _extend(ledger: Ledger, ask: _Ask, terms: Terms) -> Outcome:
    command: Extend = ask.command
    ledger.lapse(ask.time)
    hold = _open_hold(ledger, ask)
    if hold.state != "open":
        return _refuse(ask, f"hold_{hold.state}")
    # Parts whose lot has ended cannot live on: live lots replace them, or nothing changes.
    ended = [part for part in hold.parts if ledger.ended(part[0])]
    replaced = sum(part[1] for part in ended)
    more = replaced + (0 if command.add is None else command.add.nanos)
    available = ledger.available(hold.resource)
    if more > max(0, available):
        return _too_little(ask, more, available)
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
    return _finish(ledger, ask, sum(part[1] for part in hold.parts), effects)


def _release(ledger: Ledger, ask: _Ask, terms: Terms) -> Outcome:
    ledger.lapse(ask.time)
    hold = _open_hold(ledger, ask)
    freed = 0
    if hold.state == "open":
        hold.state = "released"
        freed = ledger.free(hold)
        ledger.repay()
    return _finish(ledger, ask, freed)


# -- charges --------------------------------------------------------------------


def _metered(ledger: Ledger, usage: Usage, occurred: int, catalogue: Catalogue) -> Metered:
    account = ledger.account
    resource = usage.resource
    counter = ledger.count(resource, ledger.period(occurred).start)
    price_of = in_force(catalogue, account.currency, resource, occurred)
    metered = meter(
        usage, price_of, _versions(ledger, resource, catalogue), counter, _item(ledger, usage)
    )
    ledger.check_room(used=metered.amount)
    return metered


def _versions(
    ledger: Ledger, resource: str, catalogue: Catalogue
) -> Callable[[str, str], Priced | None]:
    currency = ledger.account.currency
    return lambda version, part: catalogue.priced_by(version, currency, resource, part)


def _advance(ledger: Ledger, usage: Usage, occurred: int, metered: Metered) -> None:
    """Counters and items become what metering made of them."""
    if metered.counters:
        counter = ledger.count(usage.resource, ledger.period(occurred).start)
        for component, standing in metered.counters.items():
            # What open holds announced stays, as lapses may just have left it.
            counter.components.setdefault(component, [0, 0, 1, 0])[:3] = standing
        ledger.keep(counter)
    if metered.items:
        item = cast(Item, _item(ledger, usage))
        item.components.update(metered.items)
        key = (item.item, item.resource)
        ledger.state.items[key] = ledger.touched_items[key] = item


def _occurred(ask: _Ask) -> int:
    occurred = ask.command.occurred_at
    return ask.at if occurred is None else micros("occurred_at", occurred)


def _settle(ledger: Ledger, ask: _Ask, terms: Terms) -> Outcome:
    command: Settle = ask.command
    usage = command.usage
    occurred = _occurred(ask)
    metered = _metered(ledger, usage, occurred, terms.catalogue)
    ledger.lapse(ask.time)
    hold = None
    if command.hold is not None:
        # Unknown, lapsed or released: the usage was measured, so it settles without one.
        hold = ledger.state.holds.get(command.hold)
        if hold is not None and hold.state == "settled":
            raise Conflict(f"hold {hold.key!r} of org {ledger.org!r} is settled already")
    _advance(ledger, usage, occurred, metered)
    rest = metered.amount
    effects = None
    freed = 0
    if hold is not None and hold.state == "open":
        rest = ledger.capture(hold, rest, usage.resource)
        effects = {"ended": not command.more}
        if not command.more:
            hold.state = "settled"
            freed = ledger.free(hold)
    record = UsageRecord(occurred, ask.member, usage.resource, usage.item, 1, metered.lines)
    return _charge(ledger, ask, metered.amount, rest, record, effects, freed=freed)


def _charge(
    ledger: Ledger,
    ask: _Ask,
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
    unpaid = ledger.pay(rest, record.resource) if rest else 0
    if unpaid:
        payments = [
            [int(move.debit.removeprefix("lot:")), move.amount]
            for move in ledger.moves
            if move.kind in ("capture", "charge")
        ]
        ledger.owe(Charge(account.seq + 1, record.resource, amount, unpaid, 0, payments))
    if freed:
        ledger.repay()
    done = _finish(ledger, ask, amount, effects, record)
    unpriced = [line.component for line in record.lines if line.version is None]
    if unpriced:
        ledger.tell(
            ledger.entries[-1],
            "usage_unpriced",
            {"resource": record.resource, "components": unpriced},
        )
    return done


def _deduct(ledger: Ledger, ask: _Ask, terms: Terms) -> Outcome:
    command: Deduct = ask.command
    cost = command.cost
    occurred = _occurred(ask)
    metered = None
    if isinstance(cost, Usage):
        resource = cost.resource
        estimate(ledger, cost, occurred, terms.catalogue)  # refuses what has no price
        metered = _metered(ledger, cost, occurred, terms.catalogue)
        amount, lines, item = metered.amount, metered.lines, cost.item
    else:
        resource = cast(str, command.resource)
        amount, item = cost.nanos, None
        lines = (Line("fixed", 1, 1, PLATFORM, amount, ""),)
        ledger.check_room(used=amount)
    ledger.lapse(ask.time)
    available = ledger.available(resource)
    if amount > max(0, available):
        return _too_little(ask, amount, available)
    if metered is not None:
        _advance(ledger, cast(Usage, cost), occurred, metered)
    record = UsageRecord(occurred, ask.member, resource, item, 1, lines)
    return _charge(ledger, ask, amount, amount, record)


def _subject(ledger: Ledger, number: int) -> Entry:
    entry = ledger.entry(number)
    if entry is None or entry.usage is None or entry.op not in ("settle", "deduct", "price"):
        raise NotFound("charge", number, "a charge is named by the seq that it answered")
    return entry


def _price(ledger: Ledger, ask: _Ask, terms: Terms) -> Outcome:
    command: PriceUnpriced = ask.command
    subject = _subject(ledger, command.charge)
    story = ledger.story(subject)
    usage = cast(UsageRecord, subject.usage)
    parts: tuple[tuple[str, int, Payer], ...] = tuple(
        (line.component, line.quantity, PLATFORM) for line in usage.lines if line.version is None
    )
    if not parts or story.priced is not None:
        by = f"; entry {story.priced} priced it" if story.priced is not None else ""
        raise Conflict(f"charge {subject.seq} has nothing unpriced{by}")
    catalogue = terms.catalogue
    version = catalogue.version(command.version)
    account = ledger.account
    price_of = partial(_must_price, catalogue, version, account.currency, usage.resource)
    unpriced = Usage(usage.resource, parts, usage.item)
    counter = ledger.count(usage.resource, ledger.period(usage.occurred_at).start)
    versions = _versions(ledger, usage.resource, catalogue)
    metered = meter(unpriced, price_of, versions, counter, _item(ledger, unpriced))
    ledger.check_room(used=metered.amount)
    ledger.lapse(ask.time)
    _advance(ledger, unpriced, usage.occurred_at, metered)
    story.priced = account.seq + 1
    ledger.touched_charges[story.charge] = ledger.state.charges[story.charge] = story
    # The quantities are on record already; what is new is what they cost.
    lines = tuple(line._replace(quantity=0) for line in metered.lines)
    record = usage._replace(requests=0, lines=lines)
    return _charge(ledger, ask, metered.amount, metered.amount, record)


def _must_price(
    catalogue: Catalogue, version: str, currency: str, resource: str, component: str
) -> Priced:
    priced = catalogue.priced_by(version, currency, resource, component)
    if priced is None:
        raise InvalidCommand("version", version, f"one that prices {component} of {resource}")
    return priced


def _reverse(ledger: Ledger, ask: _Ask, terms: Terms) -> Outcome:
    command: Reverse = ask.command
    expires = command.expires_at
    expires_at = None if expires is None else micros("expires_at", expires)
    _check_future("expires_at", expires_at, ask)
    subject = _subject(ledger, command.charge)
    ledger.lapse(ask.time)
    story = ledger.story(subject)
    left = story.amount - story.reversed
    amount = left if command.amount is None else command.amount.nanos
    if amount > left or not left:
        return _refuse(ask, "over_reversal", amount - left, "charge")
    made = ledger.reverse(story, amount, expires_at)
    ledger.repay()
    usage = cast(UsageRecord, subject.usage)
    lines = (Line("reversed", 0, 0, PLATFORM, -amount, ""),)
    record = usage._replace(item=None, requests=0, lines=lines)
    return _finish(ledger, ask, amount, {"lots": made} if made else None, record)


def _close(ledger: Ledger, ask: _Ask, terms: Terms) -> Outcome:
    command: Close = ask.command
    ledger.lapse(ask.time)
    released = sorted(hold.key for hold in ledger.state.holds.values() if hold.state == "open")
    for key in released:
        hold = ledger.state.holds[key]
        hold.state = "released"
        ledger.free(hold)
    ledger.repay()
    account = "refunds" if command.remainder == "refund" else "write_off"
    amount = ledger.drain(account, command.remainder)
    ledger.account.closed_at = ask.time
    return _finish(ledger, ask, amount, {"released": released})


_HANDLERS: Mapping[type[Command], Callable[[Ledger, _Ask, Terms], Outcome]] = {
    Grant: _grant,
    Hold: _hold,
    Extend: _extend,
    Release: _release,
    Settle: _settle,
    Deduct: _deduct,
    PriceUnpriced: _price,
    Reverse: _reverse,
    Close: _close,
}


def project(org: str, state: OrgState, now: int) -> Ledger:
    """The org as it stands at a time, with what has lapsed by then applied: for reads."""
    ledger = Ledger(org, state, now)
    if state.account is not None:
        ledger.lapse(max(now, state.account.watermark))
    return ledger
