"""Charging time: a span is cut where its price or billing period changes, and each piece is
an entry of its own, ``piece:run:r1:7``, at its last microsecond.

What a run, or a workspace, is charged in one billing period is one story (a *tab*): so what
is given back of it, ``back:run:r1:8``, costs the same however often it was charged.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from billing_core.charging.charges import advance, item_of, item_period, price_usage, versions
from billing_core.charging.limits import (
    count_spending,
    had_counted,
    hold_spending,
)
from billing_core.errors import MoneyOverflow
from billing_core.ledger.debts import give_back, owe_more
from billing_core.ledger.inputs import NeedMore, When
from billing_core.ledger.ledger import Ledger
from billing_core.pricing.catalogue import Priced
from billing_core.pricing.conditions import Request
from billing_core.pricing.rating import (
    Correction,
    Metered,
    by_period,
    meter,
    take_out,
)
from billing_core.records.ledger import Charge, Draw, HoldRecord, paid_by
from billing_core.records.runs import Day, Run, Tab
from billing_core.records.storage import Storage
from billing_core.records.usage import Count, Line, UsageRecord
from billing_core.values.money import MAX_NANOS
from billing_core.values.text import compact
from billing_core.values.times import DAY, Window
from billing_core.values.usage import PLATFORM, Payer, Usage

__all__ = ["Piece", "Whose", "forgive", "pay_late", "post", "repost", "set_off", "windows"]

Parts = tuple[tuple[str, int, Payer], ...]


class Whose(NamedTuple):
    """Whose time it is, and the hold that pays for it first."""

    owner: Run | Storage
    hold: HoldRecord | None
    when: When
    member: int = 0
    project: str | None = None

    @property
    def content(self) -> str:
        """What its pieces' entries say."""
        owner = self.owner
        if isinstance(owner, Storage):
            return compact({"workspace": owner.workspace})
        said = {"run": owner.run}
        return compact(said if owner.reference is None else said | {"reference": owner.reference})


class Piece(NamedTuple):
    """What is to be posted at one time: quantities, all positive or all negative, and the
    microseconds of running time that they stand for."""

    occurred: int
    parts: Parts
    us: int


def windows(ledger: Ledger, resource: str, span: Window) -> list[Window]:
    """A span cut at the ends of billing periods and wherever the org's price may change, be it
    with the hour."""
    start, end = span
    if start >= end:
        return []
    account = ledger.account
    cuts = set(ledger.catalogue.changes(account.currency, resource, account.org, start, end))
    cuts |= ledger.catalogue.hours(account.currency, resource, account.org, start, end)
    since = [each.since for each in ledger.state.subscriptions] + [account.plan_since]
    cuts.update(at for at in since if start < at < end)
    at = ledger.period(start).end
    while at < end:
        cuts.add(at)
        at = ledger.period(at).end
    edges = [start, *sorted(cuts), end]
    return [Window(*each) for each in pairwise(edges)]


def _priced(ledger: Ledger, owner: Run | Storage, occurred: int, component: str) -> Priced | None:
    """The price of a component at a time, by the facts that were fixed at the start."""
    priced = ledger.prices(owner.resource, occurred)[component]
    if priced is None or not priced.price.varies:
        return priced
    choice = priced.price.choice(Request.measured(occurred, owner.facts, {}))
    return None if choice is None else priced.chosen(choice)


def post(ledger: Ledger, whose: Whose, pieces: Iterable[Piece]) -> int:
    """Charge pieces, or give back those that are negative; the nanos charged in all.  What is
    told late of a run that is forgiven is forgiven with it: nothing of it is ever charged.

    Raises MoneyOverflow before anything has moved.
    """
    every = [piece for piece in pieces if piece.parts or piece.us]
    less = [piece for piece in every if _is_less(piece)]
    if less:
        ledger.check_room(returned=_most_back(ledger, whose.owner, less))
    if len(every) > 1:
        _check_room(ledger, whose.owner, every)
    total = 0
    for piece in every:
        move = _give_back if _is_less(piece) else _charge
        total += move(ledger, whose, piece)
    return total


def _is_less(piece: Piece) -> bool:
    return piece.us < 0 or any(quantity < 0 for _, quantity, _ in piece.parts)


def _most_back(ledger: Ledger, owner: Run | Storage, pieces: Iterable[Piece]) -> int:
    """The most that corrections give back: no more than each tab has, nor than what they are of
    can have cost, with what could not be given back before.  A tab's total alone, which may be
    larger than any amount, refuses none."""
    most: dict[int, int] = {}
    for piece in pieces:
        period = ledger.period(piece.occurred).start
        if period not in most:
            counts = ledger.count(owner.resource, period).components.values()
            most[period] = sum(_carried(count) + 1 for count in counts)
        most[period] += _most_cost(ledger, owner, piece)
        for start, cost in _most_elsewhere(ledger, owner, piece):
            most[start] = most.get(start, 0) + cost
    left = {tab.period: tab.amount - tab.forgiven for tab in owner.tabs}
    return sum(min(amount, left.get(period, 0)) for period, amount in most.items())


def _carried(count: Count) -> int:
    """The nanos that earlier corrections could not give back, and the next one may."""
    return max(0, -count.carry // count.carry_of)


def _most_cost(ledger: Ledger, owner: Run | Storage, piece: Piece) -> int:
    """The most that the quantities of a correction can have cost, by the price in force then and
    by that whose minimum and increment hold for the item."""
    version_of = versions(ledger, owner.resource)
    item = ledger.item(owner.item, owner.resource)
    most = 0
    for component, quantity, payer in piece.parts:
        priced = _priced(ledger, owner, piece.occurred, component)
        if payer != PLATFORM:
            continue
        if priced is None:
            most += _most_late(ledger, owner, piece.occurred, component, -quantity)
            continue
        begun = None if item is None else item.components.get(component)
        first = priced if begun is None else version_of(str(begun[2]), component) or priced
        billed = first.price.billed(-quantity)
        costs = [each.price.function.most(billed) for each in (priced, first)]
        most += max(-(-nanos // per) for nanos, per in costs) + 2  # two lines, each rounded
    return most


def _most_elsewhere(
    ledger: Ledger, owner: Run | Storage, piece: Piece
) -> Iterator[tuple[int, int]]:
    """The most that can come back of other periods in which the item of a correction was billed,
    by their start."""
    item = ledger.item(owner.item, owner.resource)
    version_of = versions(ledger, owner.resource)
    own = ledger.period(piece.occurred).start
    for component, _, _ in piece.parts:
        begun = None if item is None else item.components.get(component)
        first = None if begun is None else version_of(str(begun[2]), component)
        for start, billed in by_period(begun).items():
            if start != own and first is not None:
                count = ledger.count(owner.resource, start).of(component)
                nanos, per = first.price.function.most(billed)
                yield start, -(-nanos // per) + 2 + _carried(count)


def _most_late(
    ledger: Ledger, owner: Run | Storage, occurred: int, component: str, quantity: int
) -> int:
    """The most that a quantity can have cost which had no price and was priced later."""
    version_of = versions(ledger, owner.resource)
    late = _late(ledger, owner, occurred).get(component, [])
    found = [version_of(version, component) for version, _ in late if version]
    item = ledger.item(owner.item, owner.resource)
    begun = None if item is None else item.components.get(component)
    if found and begun is not None:
        found.append(version_of(str(begun[2]), component))
    most = 0
    for priced in found:
        if priced is not None:
            nanos, per = priced.price.function.most(priced.price.billed(quantity))
            most += -(-nanos // per) + 2
    return most


def _check_room(ledger: Ledger, owner: Run | Storage, pieces: Iterable[Piece]) -> None:
    most = 0
    for piece in pieces:
        for component, quantity, payer in piece.parts:
            priced = _priced(ledger, owner, piece.occurred, component)
            if priced is not None and payer == PLATFORM and quantity > 0:
                nanos, per = priced.price.function.most(priced.price.billed(quantity))
                most += -(-nanos // per)
    if most > MAX_NANOS:
        raise MoneyOverflow("usage", most, "a total within 64 bits of nanos")
    ledger.check_room(used=most)


def _charge(ledger: Ledger, whose: Whose, piece: Piece) -> int:
    owner = whose.owner
    usage = Usage(owner.resource, piece.parts, owner.item, owner.facts)
    metered = price_usage(ledger, usage, piece.occurred)
    advance(ledger, usage, piece.occurred, metered)
    lines = metered.lines
    if piece.us:
        lines += (Line("running", piece.us, 0, PLATFORM, 0, ""),)
    unpriced = [line.component for line in metered.lines if line.version is None]
    if unpriced:
        data = {"resource": owner.resource, "components": unpriced}
        ledger.untold.append(("usage_unpriced", data))
    tab = _tab(ledger, owner, piece.occurred)
    tab.last = max(tab.last, piece.occurred)
    day = _day(ledger, tab, piece.occurred)
    amount, forgiven = _add(owner, tab, day, metered.amount, piece.us)
    _pay(ledger, whose, tab, amount, piece.occurred, lines + forgiven)
    return amount


def _add(
    owner: Run | Storage, tab: Tab, day: Day | None, amount: int, us: int
) -> tuple[int, tuple[Line, ...]]:
    """A tab has more; how much of it is to be paid: nothing of a run that is forgiven, and the
    line that says so."""
    tab.us += us
    _change(tab, day, amount)
    if not isinstance(owner, Run) or owner.state != "forgiven" or not (amount or us):
        return amount, ()
    _change(tab, day, 0, amount)
    tab.forgiven_us += us
    return 0, (Line("forgiven", us, 0, PLATFORM, -amount, ""),)


def _change(tab: Tab, day: Day | None, amount: int, forgiven: int = 0) -> None:
    """A tab, and its day, have so much more, and so much more of it is forgiven."""
    for part in (tab,) if day is None else (tab, day):
        part.amount += amount
        part.forgiven += forgiven


def _late(ledger: Ledger, owner: Run | Storage, occurred: int) -> dict[str, list[tuple[str, int]]]:
    """What became of that which had no price, of the tab of a time."""
    period = ledger.period(occurred).start
    return next((tab.late for tab in owner.tabs if tab.period == period), {})


def set_off(ledger: Ledger, owner: Run | Storage, occurred: int, parts: Parts) -> dict[str, int]:
    """How much of what had no price, by component, corrections took that were told before it
    is priced."""
    late = _late(ledger, owner, occurred)
    taken = {
        component: min(quantity, -sum(less for version, less in late[component] if not version))
        for component, quantity, _ in parts
        if component in late
    }
    return {component: quantity for component, quantity in taken.items() if quantity}


def _add_late(tab: Tab, component: str, version: str, more: int) -> None:
    """Of a component without a price so much more is by a version, or (``""``) is corrected."""
    sums = dict(tab.late.pop(component, []))
    sums[version] = sums.get(version, 0) + more
    left = [each for each in sums.items() if each[1]]
    if left:
        tab.late[component] = left


def pay_late(
    ledger: Ledger,
    whose: Whose,
    amount: int,
    record: UsageRecord,
    late: Iterable[tuple[str, str, int, int]],
) -> tuple[int, UsageRecord, Tab]:
    """Charge what a piece that had no price costs, on the tab of that piece: the nanos charged,
    what is to be recorded of it, and the tab.  ``late``: by component, its version, the quantity
    that it prices, and what is set off."""
    owner = whose.owner
    tab = _tab(ledger, owner, record.occurred_at)
    for component, version, quantity, less in late:
        _add_late(tab, component, "", less)
        _add_late(tab, component, version, quantity)
    day = _day(ledger, tab, record.occurred_at)
    amount, forgiven = _add(owner, tab, day, amount, 0)
    _take(ledger, whose, tab, amount, record.occurred_at)
    if isinstance(owner, Run):
        ledger.changes.runs[owner.run] = owner
    else:
        ledger.changes.storages[owner.workspace] = owner
    return amount, record._replace(lines=record.lines + forgiven), tab


def _pay(
    ledger: Ledger,
    whose: Whose,
    tab: Tab,
    amount: int,
    occurred: int,
    lines: tuple[Line, ...],
    *,
    counted: bool = True,
) -> None:
    _take(ledger, whose, tab, amount, occurred, counted=counted)
    record = UsageRecord(
        occurred, whose.member, whose.owner.resource, whose.owner.item, 0, lines, whose.project
    )
    _record(ledger, whose, "piece", amount, tab, record, counted=counted)


def _take(
    ledger: Ledger, whose: Whose, tab: Tab, amount: int, occurred: int, *, counted: bool = True
) -> None:
    """A charge is paid from the hold, then from what is available; the rest is owed."""
    owner, hold = whose.owner, whose.hold
    rest = amount
    if hold is not None and hold.state == "open":
        rest = ledger.capture(hold, amount, owner.resource, occurred)
        hold_spending(ledger, hold, rest - amount)
    ledger.account.used += amount
    unpaid = ledger.pay(rest, owner.resource, occurred) if rest else 0
    project = whose.project if counted else None
    count_spending(ledger, whose.member, project, occurred, amount, whose.when.time)
    story = _story(ledger, owner, tab)
    story.amount += amount - story.reversed  # what came back is no part of it any more
    story.reversed = 0
    for lot, paid in paid_by(ledger.moves):
        _add_payment(story, lot, paid)
    if unpaid:
        owe_more(ledger, story, unpaid)


def _add_payment(story: Charge, lot: int, amount: int) -> None:
    if story.payments and story.payments[-1].lot == lot:
        amount += story.payments.pop().amount
    story.payments.append(Draw(lot, amount))


def _record(
    ledger: Ledger,
    whose: Whose,
    op: str,
    amount: int,
    tab: Tab,
    record: UsageRecord,
    *,
    counted: bool,
    late: Iterable[str] = (),
) -> None:
    owner = whose.owner
    owner.pieces += 1
    key = f"{op}:{owner.item}:{owner.pieces}"
    effects: dict[str, object] = {"story": tab.charge}
    if not counted:
        effects["uncounted"] = True
    if late:
        effects["late"] = sorted(late)
    if tab.days is not None and tab.charge == ledger.account.seq + 1:
        effects["by_day"] = True
    ledger.post(key, whose.when.time, whose.content, amount, effects, record)


def _counted(ledger: Ledger, whose: Whose, tab: Tab, day: Day | None) -> bool:
    """Whether what is given back of a day of a tab, or charged again, moves what its project has
    spent: not where it was begun before spending was added up, for that part is not told apart.
    Where days are not known, it is the tab that was begun."""
    if whose.project is None or ledger.account.limited_since is None:
        return True
    if day is not None:
        return day.counted
    if ledger.terms.level < 2:
        return True  # the version before knows it no other way
    first = ledger.entry(tab.charge)
    if first is None:
        if tab.charge > ledger.account.seq:
            return True  # this is the first of it
        raise NeedMore(ledger.org, charges=frozenset(each.charge for each in whose.owner.tabs))
    return had_counted(ledger.account, first)


def _tab(ledger: Ledger, owner: Run | Storage, occurred: int) -> Tab:
    period = ledger.period(occurred).start
    for tab in owner.tabs:
        if tab.period == period:
            return tab
    days: list[Day] | None = [] if ledger.terms.level >= 2 else None
    tab = Tab(period, ledger.account.seq + 1, occurred, days=days)
    owner.tabs.append(tab)
    for old in sorted(owner.tabs, key=lambda each: each.period)[:-_BY_DAY]:
        old.days = None  # its windows are over, and what is kept of a run stays small
    return tab


_BY_DAY = 2
"""Of so many of the latest billing periods the days of a tab are known."""


def _day(ledger: Ledger, tab: Tab, occurred: int) -> Day | None:
    """A tab's day of a time, if its days are known."""
    if tab.days is None:
        return None
    index = bisect_left(tab.days, occurred // DAY, key=lambda each: each.last // DAY)
    if index < len(tab.days) and tab.days[index].last // DAY == occurred // DAY:
        day = tab.days[index]
        day.last = max(day.last, occurred)
        return day
    day = Day(occurred, 0, 0, ledger.account.limited_since is not None)
    tab.days.insert(index, day)
    return day


def _story(ledger: Ledger, owner: Run | Storage, tab: Tab) -> Charge:
    story = ledger.state.charges.get(tab.charge)
    if story is None:
        story = Charge(tab.charge, owner.resource, 0, 0, 0, [], tab.period)
        ledger.state.charges[tab.charge] = story
    ledger.changes.charges[tab.charge] = story
    return story


def _refundable(ledger: Ledger, owner: Run | Storage, tab: Tab) -> Charge:
    """A tab's story, with the lots that paid it; raises NeedMore."""
    story = _story(ledger, owner, tab)
    if any(lot not in ledger.state.lots for lot, _ in story.payments):
        raise NeedMore(ledger.org, charges=frozenset(each.charge for each in owner.tabs))
    return story


# -- giving back ----------------------------------------------------------------


def _give_back(ledger: Ledger, whose: Whose, piece: Piece) -> int:
    """A correction of what was measured: by rule 5.4, and off this item's charges.

    What of it was forgiven already is not given back again.  No day gives back more than it
    counts (rule 8.7): what its time costs less beyond that is taken from other days.
    """
    owner = whose.owner
    tab = _tab(ledger, owner, piece.occurred)
    _refundable(ledger, owner, tab)
    lines: tuple[Line, ...] = ()
    late: set[str] = set()
    elsewhere: dict[int, list[tuple[str, int, Priced]]] = {}
    amount = 0
    for version, parts in _by_version(ledger, owner, tab, piece):
        least = amount - tab.amount
        correction = Correction(owner.resource, parts, owner.item, least, owner.facts)
        metered = _price_correction(ledger, correction, piece.occurred, version)
        advance(ledger, correction, piece.occurred, metered)
        amount -= metered.amount
        lines += metered.lines
        for start, less in metered.elsewhere.items():
            elsewhere.setdefault(start, []).extend(less)
        if ledger.terms.level >= 2:
            late.update(line.component for line in metered.lines if version or line.version is None)
    given = _cost_less(ledger, whose, tab, amount, piece, lines, late)
    for start, less in sorted(elsewhere.items(), reverse=True):
        given += _give_back_elsewhere(ledger, whose, start, less)
    return -given


def _give_back_elsewhere(
    ledger: Ledger, whose: Whose, start: int, less: Iterable[tuple[str, int, Priced]]
) -> int:
    """What an item is billed no more was billed in another period than that of the correction:
    it leaves that period's counter and comes back off its tab; how much."""
    owner = whose.owner
    tab = next(tab for tab in owner.tabs if tab.period == start)
    _refundable(ledger, owner, tab)
    metered = take_out(less, ledger.count(owner.resource, start), -tab.amount)
    nothing = Piece(tab.last, (), 0)
    advance(ledger, Correction(owner.resource, (), owner.item, 0), tab.last, metered)
    return _cost_less(ledger, whose, tab, -metered.amount, nothing, metered.lines, ())


def _cost_less(
    ledger: Ledger,
    whose: Whose,
    tab: Tab,
    amount: int,
    piece: Piece,
    lines: tuple[Line, ...],
    late: Iterable[str],
) -> int:
    """What a correction is of costs so much less: how much of it is given back."""
    story = _refundable(ledger, whose.owner, tab)
    given = min(amount, tab.amount - tab.forgiven)
    day = _day(ledger, tab, piece.occurred)
    part = tab if day is None else day
    own = min(given, part.amount - part.forgiven)
    absorbed = min(part.forgiven, amount - own)
    moved = amount - own - absorbed
    if given > own or moved:
        _take_of_others(ledger, whose, tab, story, part, given - own, moved)
    if piece.us:
        lines += (Line("running", piece.us, 0, PLATFORM, 0, ""),)
    if moved:
        lines += (Line("reversed", 0, 0, PLATFORM, moved, ""),)
    whole = tab.forgiven_us == tab.us
    tab.us += piece.us
    _change(tab, day, -own - absorbed, -absorbed)
    less_us = _forgive_us(tab, whole=whole)
    if less_us or absorbed:
        lines += (Line("forgiven", less_us, 0, PLATFORM, absorbed, ""),)
    _back(ledger, whose, tab, story, own, (piece.occurred, day), lines, late)
    return given


def _by_version(
    ledger: Ledger, owner: Run | Storage, tab: Tab, piece: Piece
) -> list[tuple[str, Parts]]:
    """A correction's parts by the version that prices them: what has a price in force, or none
    at all, under ``""``; what had none and was priced later, latest first, under its version.
    What had none and has none yet is set off when it is priced."""
    if ledger.terms.level < 2:
        return [("", piece.parts)]  # the version before knows it no other way
    rest: list[tuple[str, int, Payer]] = []
    found: list[tuple[str, Parts]] = []
    for component, quantity, payer in piece.parts:
        left = quantity
        if payer == PLATFORM and _priced(ledger, owner, piece.occurred, component) is None:
            if not ledger.terms.fresh:
                raise NeedMore(None)
            for version, had in reversed(tab.late.get(component, [])):
                part = max(left, -had) if version else 0
                if part:
                    found.append((version, ((component, part, payer),)))
                    _add_late(tab, component, version, part)
                    left -= part
            if left:
                _add_late(tab, component, "", left)
        if left:
            rest.append((component, left, payer))
    return [("", tuple(rest)), *found] if rest else found


def _price_correction(
    ledger: Ledger, correction: Correction, occurred: int, version: str
) -> Metered:
    if not version:
        return price_usage(ledger, correction, occurred)
    version_of = versions(ledger, correction.resource)
    counter = ledger.count(correction.resource, ledger.period(occurred).start)
    item, period = item_of(ledger, correction), item_period(ledger, occurred)
    price_of = partial(version_of, version)
    request = Request.measured(occurred, correction.facts, {})
    return meter(correction, price_of, version_of, counter, item, period, lambda: request)


def _take_of_others(
    ledger: Ledger, whose: Whose, tab: Tab, story: Charge, but: Tab | Day, given: int, moved: int
) -> None:
    """Give back of a tab's other days, latest first, what the day that is corrected counts too
    little for; ``moved``: how much of the price of its time was more than that day was charged."""
    others = [day for day in reversed(tab.days or ()) if day is not but and day.amount]
    shares: list[tuple[Day, int, int]] = []
    for day in others:
        part = min(given, day.amount - day.forgiven)
        less = min(moved, part)
        given -= part
        moved -= less
        shares.append((day, part, less))
    for day, part, of_paid in shares:
        of_forgiven = min(moved, day.forgiven)
        moved -= of_forgiven
        less = of_paid + of_forgiven
        if not part and not less:
            continue
        _change(tab, day, -less, part - less)
        lines: tuple[Line, ...] = ()
        if less:
            lines += (Line("reversed", 0, 0, PLATFORM, -less, ""),)
        if part != less:
            lines += (Line("forgiven", 0, 0, PLATFORM, less - part, ""),)
        _back(ledger, whose, tab, story, part, (day.last, day), lines)


def _back(
    ledger: Ledger,
    whose: Whose,
    tab: Tab,
    story: Charge,
    amount: int,
    when: tuple[int, Day | None],
    lines: tuple[Line, ...],
    late: Iterable[str] = (),
) -> None:
    owner = whose.owner
    occurred, day = when
    counted = _counted(ledger, whose, tab, day)
    give_back(ledger, story, amount, None, whose.when)
    project = whose.project if counted else None
    count_spending(ledger, whose.member, project, occurred, -amount, whose.when.time)
    record = UsageRecord(
        occurred, whose.member, owner.resource, owner.item, 0, lines, whose.project
    )
    _record(ledger, whose, "back", amount, tab, record, counted=counted, late=late)


def _forgive_us(tab: Tab, *, whole: bool) -> int:
    """The running time that what is forgiven stands for becomes what it is now, in proportion to
    the amounts; how much more that is."""
    us = tab.us if whole else tab.us * tab.forgiven // tab.amount if tab.forgiven else 0
    more = us - tab.forgiven_us
    tab.forgiven_us = us
    return more


def _parts(tab: Tab) -> list[tuple[int, Day | None]]:
    """When what a tab has is forgiven, and charged again: day by day, where these are known."""
    if tab.days is None:
        return [(tab.last, None)]
    return [(day.last, day) for day in tab.days]


def forgive(ledger: Ledger, whose: Whose, amount: int | None) -> int:
    """Give back an amount of a run's charges, newest first, or (None) all.  Returns how much."""
    total = 0
    for tab in reversed(whose.owner.tabs):
        for when in reversed(_parts(tab)):
            day = when[1]
            of = tab if day is None else day
            left = of.amount - of.forgiven
            part = left if amount is None else min(left, amount - total)
            if not part and amount is not None:
                continue
            story = _refundable(ledger, whose.owner, tab)
            _change(tab, day, 0, part)
            whole = amount is None and tab.forgiven == tab.amount
            us = _forgive_us(tab, whole=whole)
            if part or us:
                lines = (Line("forgiven", us, 0, PLATFORM, -part, ""),)
                _back(ledger, whose, tab, story, part, when, lines)
            total += part
    return total


def repost(ledger: Ledger, whose: Whose) -> int:
    """Charge again all that was forgiven.  Returns how much that is."""
    total = 0
    for tab in whose.owner.tabs:
        for occurred, day in _parts(tab):
            amount = tab.forgiven if day is None else day.forgiven
            us = tab.forgiven_us * amount // tab.forgiven if tab.forgiven else tab.forgiven_us
            if not amount and not us:
                continue
            lines = (Line("forgiven", -us, 0, PLATFORM, amount, ""),)
            counted = _counted(ledger, whose, tab, day)
            _change(tab, day, 0, -amount)
            tab.forgiven_us -= us
            _pay(ledger, whose, tab, amount, occurred, lines, counted=counted)
            total += amount
    return total
