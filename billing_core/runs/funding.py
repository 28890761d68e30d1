"""Until when credit funds a run, and of which lots that time is held.

A run is funded at the dearest price that it can meet under what is published.  A lot counts
for the time that it may pay for alone: not beyond its expiry, an allowance within its billing
period, which may be the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

from billing_core.charging.allowances import grant_ahead, next_allowance
from billing_core.charging.limits import BindingLimit, Use, binding_limit, quota_left, room
from billing_core.errors import UnknownPrice
from billing_core.ledger.inputs import NeedMore, When, of_each
from billing_core.ledger.ledger import Ledger, covers, spending_order
from billing_core.pricing.catalogue import Priced
from billing_core.pricing.conditions import Request
from billing_core.records.ledger import Draw, HoldRecord, Lot
from billing_core.records.runs import FundingBound
from billing_core.records.usage import Item
from billing_core.runs.demand import Demand, RunComponent, RunSpec
from billing_core.values.times import Window
from billing_core.values.usage import PLATFORM

__all__ = ["WHOLE", "Funding", "demand", "fund", "reserve", "unfunded"]

WHOLE = ("asked", "horizon")
"""What bounds a run that is funded as far as it may be."""


class Funding(NamedTuple):
    """``until`` when a run is funded, what ``bound_by`` keeps it from being later
    (``balance``, ``lot_expiry``, a limit's name, ``quota``, ``horizon`` or ``asked``), and the
    ``parts`` of lots that fund it.  ``want``: what it asks for in all the time that was to be
    funded.  ``ahead``: one of the lots, to be granted first."""

    until: int
    bound_by: FundingBound
    want: Demand
    parts: list[Draw]
    ahead: Lot | None = None


def demand(
    ledger: Ledger,
    spec: RunSpec,
    item: Item,
    span: Window,
    *,
    strict: bool = False,
) -> Demand:
    """What a run asks for in a span, by what a microsecond of it uses.  A component without a
    price counts nothing, or, with ``strict``, raises UnknownPrice."""
    resource = spec.resource
    account, catalogue = ledger.account, ledger.catalogue
    currency = account.currency
    # Its facts are fixed: those that were not given have their defaults.  The hour is open.
    times = [span.start, *catalogue.changes(currency, resource, account.org, *span), span.end]
    requests = [
        Request(first, max(first, end - 1), spec.facts, {}, {}) for first, end in pairwise(times)
    ]
    parts: list[RunComponent] = []
    for component, rate, payer in spec.parts:
        if payer != PLATFORM:
            continue
        idle = _part(ledger, requests, resource, f"suspended_{component}", rate, item)
        part = _part(ledger, requests, resource, component, rate, item)
        if part is not None:
            parts.append(part._replace(idle=idle))
            continue
        if strict and not ledger.terms.fresh:
            raise NeedMore(None)
        if strict:
            audiences = ledger.audiences(span.start)
            priced = catalogue.price(currency, resource, component, span.start, audiences)
            unknown = priced and priced.price.unknown(dict(spec.facts))
            if unknown:
                asked = f"a price of {component} of {resource} for {unknown}"
                raise UnknownPrice("facts", dict(spec.facts), asked)
            expected = catalogue.expected(currency, resource, span.start, audiences)
            raise UnknownPrice("spec", f"{component} of {resource}", expected)
        if idle is not None:
            parts.append(idle)
    ends: list[int] = []
    at = ledger.period(span.start).end
    while at < span.end:
        ends.append(at - span.start)
        at = ledger.period(at).end
    return Demand(tuple(parts), tuple(ends))


def _part(
    ledger: Ledger,
    requests: Iterable[Request],
    resource: str,
    component: str,
    rate: int,
    item: Item,
) -> RunComponent | None:
    """A component at every price that it may have at these turns of prices; None without any."""
    account, catalogue = ledger.account, ledger.catalogue
    found: list[Priced] = []
    for request in requests:
        time = request.since
        # A subscription may end at any time, and its prices with it.
        for audiences in {ledger.audiences(time), catalogue.audiences(account.org, None)}:
            priced = catalogue.price(account.currency, resource, component, time, audiences)
            for each in _under(priced, request):
                if each not in found:
                    found.append(each)
    if not found:
        return None
    raw, billed, version = item.components.get(component, (0, 0, found[0].version))[:3]
    known = catalogue.priced_by(str(version), account.currency, resource, component)
    first = known or found[0]
    functions = tuple(each.price.function for each in found)
    least, step = first.price.minimum, first.price.increment
    return RunComponent(component, rate, int(raw), int(billed), least, step, functions)


def _under(priced: Priced | None, request: Request) -> list[Priced]:
    """A price, or each that may stand for what is known: none where a fact is not."""
    if priced is None:
        return []
    if not priced.price.varies:
        return [priced]
    return [priced.chosen(each) for each in priced.price.choices(request)]


class _Purse(NamedTuple):
    """What of each lot is free for a run: unreserved, or its own hold's."""

    ledger: Ledger
    use: Use
    want: Demand
    lots: dict[int, Lot]  # in spending order
    free: dict[int, int]
    edges: list[int]  # times at which some lot can no longer pay, or not yet
    ahead: Lot | None  # the next period's allowance, if it is reached and was not granted yet
    costs: dict[int, int]  # what the time up to an edge costs: it is looked at again and again

    def plan(self, until: int) -> list[Draw] | None:
        """The lots that pay for the time up to ``until``, the latest of it first: what may
        pay late may also pay early, but for the next period's allowance, which so comes first."""
        start = self.use.at
        lots = [*self.of_next_period(), *self.lots.values()]
        edges = [start, *(edge for edge in self.edges if start < edge < until), until]
        costs = [self.cost(edge) for edge in edges]
        left, taken = dict(self.free), dict.fromkeys(self.free, 0)
        for index in range(len(edges) - 1, 0, -1):
            need = costs[index] - costs[index - 1]
            for lot in lots if need else ():
                if not left[lot.lot]:
                    continue
                if lot.expires_at is not None and lot.expires_at < edges[index]:
                    continue
                if self.ledger.may_pay(lot, self.use.resource, edges[index - 1]):
                    part = min(left[lot.lot], need)
                    left[lot.lot] -= part
                    taken[lot.lot] += part
                    need -= part
                    if not need:
                        break
            if need:
                return None
        return [Draw(lot, amount) for lot, amount in taken.items() if amount]

    def cost(self, until: int) -> int:
        if until not in self.costs:
            self.costs[until] = self.want.cost(until - self.use.at)
        return self.costs[until]

    def of_next_period(self) -> list[Lot]:
        return [lot for lot in self.lots.values() if lot.period and lot.period > self.use.at]

    def funding(self, until: int, why: FundingBound) -> Funding:
        parts = self.plan(until) or [] if until > self.use.at else []
        ahead = self.ahead
        granted = ahead is None or all(part.lot != ahead.lot for part in parts)
        return Funding(until, why, self.want, parts, None if granted else ahead)


def _purse(
    ledger: Ledger, use: Use, want: Demand, hold: HoldRecord | None, end: int, when: When
) -> _Purse:
    lots: dict[int, Lot] = {}
    edges: set[int] = set()
    reached = ledger.period(when.time).end < end
    ahead = next_allowance(ledger, when.time) if reached else None
    every = ledger.lots if ahead is None else sorted([*ledger.lots, ahead], key=spending_order)
    own = {} if hold is None else {part.lot: part.amount for part in hold.parts}
    for lot in every:
        if not covers(lot.scope, use.resource):
            continue
        if ledger.ended(lot, when) and (lot.lot not in own or (lot.expires_at or 0) <= use.at):
            continue
        if lot.period is not None and lot.period < ledger.period(use.at).start:
            continue
        lots[lot.lot] = lot
        if lot.expires_at is not None:
            edges.add(lot.expires_at)
    # Of a lot that has ended since, it is the run's own part that pays for what was before.
    free = {
        number: own.get(number, 0)
        + (0 if ledger.ended(lot, when) else lot.remainder - lot.reserved)
        for number, lot in lots.items()
    }
    at = ledger.period(use.at).end
    while at < end:
        edges.add(at)
        at = ledger.period(at).end
    return _Purse(ledger, use, want, lots, free, sorted(edges), ahead, {})


def fund(
    ledger: Ledger,
    use: Use,
    want: Demand,
    end: int,
    why: FundingBound,
    hold: HoldRecord | None,
    when: When,
) -> Funding:
    """How far from ``use.at`` towards ``end`` credit, limits and quotas fund a run.  What its
    ``hold`` has counts as free.  Nothing changes."""
    purse = _purse(ledger, use, want, hold, end, when)
    stops = _stops(ledger, use, purse, hold)

    def stopped(until: int) -> FundingBound | None:
        for stop, name in stops:
            if stop(until - use.at):
                return name
        return "lot_expiry" if purse.plan(until) is None else None

    if end <= use.at:
        return Funding(use.at, why, want, [])
    if stopped(end) is None:
        return purse.funding(end, why)
    low, high = use.at, end
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if stopped(middle) is None else (low, middle)
    return purse.funding(low, stopped(high) or why)


def _stops(
    ledger: Ledger, use: Use, purse: _Purse, hold: HoldRecord | None
) -> list[tuple[Callable[[int], bool], FundingBound]]:
    """What may stop a run after so many microseconds, and its name."""
    want = purse.want
    own = 0 if hold is None else hold.reserved
    credit = sum(purse.free.values()) - ledger.account.debt
    early = ledger.period(use.at).end - use.at
    at_once = credit - sum(purse.free[lot.lot] for lot in purse.of_next_period())

    def spent(us: int) -> bool:
        return want.cost(us) > max(0, credit) or want.cost(min(us, early)) > max(0, at_once)

    stops: list[tuple[Callable[[int], bool], FundingBound]] = []
    limit = room(ledger, use)
    if limit is not None:
        left = own - limit.shortfall
        stops.append((lambda us: want.cost(us) > max(0, left), limit.limit))
    bounded = of_each(
        lambda period: quota_left(
            ledger, use.resource or "", want.quantities(0), period.start, use.time
        ),
        ledger.periods(use.at, use.until),
    )
    if any(bounded):
        mine: dict[tuple[int, str], int] = {}
        if hold is not None:
            mine = {(held.period, held.component): held.quantity for held in hold.counted}
        starts = [period.start for period in ledger.periods(use.at, use.until)]

        def over(us: int) -> bool:
            return any(
                asked[component] > most + mine.get((start, component), 0)
                for start, asked, left in zip(starts, want.by_period(us), bounded, strict=False)
                for component, most in left.items()
            )

        stops.append((over, "quota"))
    stops.append((spent, "balance"))
    return stops


def unfunded(
    ledger: Ledger, use: Use, want: Demand, us: int, hold: HoldRecord | None = None
) -> BindingLimit:
    """Why not even so many microseconds of a use can be funded, beside what its ``hold`` has."""
    cost = want.cost(us)
    own = 0 if hold is None else hold.reserved
    counted = () if hold is None else hold.counted
    asked = use._replace(until=use.at + us, billed=want.quantities(us).items(), counted=counted)
    found = binding_limit(ledger, asked, cost - own)
    if found is None:  # but a window that it reaches later may be full
        limit = room(ledger, use)
        if limit is not None and cost > max(0, own - limit.shortfall):
            found = limit._replace(shortfall=cost - own + limit.shortfall)
    return found or BindingLimit("balance", cost)


def reserve(ledger: Ledger, hold: HoldRecord, found: Funding, when: When) -> None:
    """Let a hold have these parts of lots instead of what it has."""
    if found.ahead is not None:
        grant_ahead(ledger, found.ahead, when.time)
    more = {number: -amount for number, amount in hold.parts}
    for number, amount in found.parts:
        more[number] = more.get(number, 0) + amount
    for number, amount in more.items():
        if amount > 0:
            lot = ledger.state.lots[number]
            lot.reserved += amount
            ledger.changes.lots[number] = lot
        elif amount < 0:
            ledger.let_go(number, -amount, when)
    hold.parts = found.parts
    ledger.changes.holds[hold.key] = hold
