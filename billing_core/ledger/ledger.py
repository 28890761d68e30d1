"""One org's money during one batch: lots, holds, debt, lapses, and the journal.

This is where amounts move.  Each movement is a :class:`Transfer` of a kind:

=============  ==============================  =========================================
kind           from → to                       when
=============  ==============================  =========================================
``grant``      payments, promotions,           credit comes in
               plans → lot
``rollover``   lot → lot                       an allowance's end, into the next period
``capture``    lot → revenue                   a charge, paid from its hold
``charge``     lot → revenue                   a charge, paid from what was available
``debt``       debt → revenue                  a charge, unpaid
``repayment``  lot → debt                      credit came in or came free
``expiry``     lot → expired                   a lot's end, or credit returned to an ended lot
``forgiveness`` revenue → debt                 a reversal, of what was unpaid
``refill``     revenue → lot                   a reversal, of what was paid
``refund``     lot → refunds                   closing
``write_off``  lot → write_off                 closing
``clawback``   lot, debt → payments            its payment was taken back; undone by
                                               ``forgiveness`` and ``refill``
``restoration`` expired → lot                  an expiry that a wrong clock made is undone
=============  ==============================  =========================================

A command's checks come before its first movement: a failed one has moved nothing.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import cast

from billing_core.errors import MoneyOverflow, StoreError
from billing_core.ledger.hash_chain import TELLS, TOLD, chained, told
from billing_core.ledger.inputs import NeedMore, Terms, When, clock_ahead
from billing_core.ports.required import knows_counter, to_be_summed
from billing_core.ports.state import Changes, OrgState
from billing_core.pricing.plan import Plan
from billing_core.pricing.rating import ResourcePrices
from billing_core.records.events import Event
from billing_core.records.ledger import Account, Draw, Entry, HoldRecord, Lot, Transfer
from billing_core.records.rollups import Rollup
from billing_core.records.usage import Counter, Item, UsageRecord
from billing_core.values.money import MAX_NANOS
from billing_core.values.patterns import fits
from billing_core.values.text import compact
from billing_core.values.times import DAY, FOREVER, Window, billing_period

__all__ = ["CHARGES", "CLAWBACK", "WIDE_TOTALS", "Ledger", "covers", "spending_order"]

CHARGES = ("settle", "deduct", "price", "piece")
"""The operations whose entries are charges; ``piece``: of a run's time, or of storage."""

WIDE_TOTALS = 2
"""The schema whose columns of totals are wider than 64 bits."""
_NEVER = Window(0, 0)
CLAWBACK = ""
"""What stands for the resource of a clawback: no resource has this name."""

_KINDS = {"allowance": 0, "promotional": 1, "purchased": 2}
_SOURCES = {"allowance": "plans", "promotional": "promotions", "purchased": "payments"}


def spending_order(lot: Lot) -> tuple[int, bool, int, int, int]:
    """Rule 6.1: priority, scoped before unscoped, earliest expiry, promotional before
    purchased, oldest."""
    expires = FOREVER if lot.expires_at is None else lot.expires_at
    return (lot.priority, lot.scope is None, expires, _KINDS[lot.kind], lot.lot)


def covers(scope: Iterable[str] | None, resource: str | None) -> bool:
    """Whether a lot of this scope may pay for a resource (None: for anything)."""
    if scope is None:
        return True
    if resource is None:
        return False
    return any(fits(name, resource) for name in scope)


class Ledger:
    """The state of one org, as the commands of a batch change it in turn."""

    account: Account
    changes: Changes
    """What the batch has changed so far."""

    def __init__(self, org: str, state: OrgState, terms: Terms) -> None:
        self.org = org
        self.state = state
        if state.account is not None:
            self.account = state.account
            self.changes = Changes(state.account)
        self.terms = terms
        self.catalogue = terms.catalogue
        self._prices: dict[
            tuple[str, int, tuple[str, ...]], ResourcePrices
        ] = {}  # asked for so far
        self.lots = [lot for lot in state.lots.values() if lot.remainder]
        self.lots.sort(key=spending_order)
        self.moves: list[Transfer] = []
        self._rollup: Rollup | None = None
        # What is used and stands in no cell, as far as it is known: not in the rollup yet.
        self._unsummed = list(state.tail or ())
        self._all_unsummed = state.tail is not None or state.account is None
        self.untold: list[tuple[str, object]] = []  # events of the entry to come
        self._period = _NEVER
        self._balance = 0 if state.account is None else state.account.balance  # last recorded
        # As they were loaded: from then on, and only if, there are rows that may not be loaded.
        self._plans_since = 0 if state.account is None else state.account.plan_since
        self._limited = state.account is not None and state.account.limited_since is not None

    def open(self, account: Account) -> None:
        """The org's account is opened: nothing of it is kept that could be loaded."""
        self.account = self.state.account = account
        self.changes = Changes(account, opened=True)

    @property
    def new(self) -> bool:
        """Whether the account was opened in this batch."""
        return self.changes.opened

    def changed(self) -> Changes | None:
        """What the batch changed, or None."""
        if self.state.account is None or not self.changes.entries:
            return None
        if self._all_unsummed and to_be_summed(self.account):
            self.changes.cells = self.rollup().cells()
            self.account.summed = self.account.seq
        return self.changes

    # -- looking ----------------------------------------------------------------

    def rollup(self) -> Rollup:
        """What is used and stands in no cell: of this batch, and the tail that was loaded."""
        rollup = self._rollup
        if rollup is None:
            rollup = self._rollup = Rollup()
        for usage in self._unsummed:
            rollup.add(usage, self.period(usage.occurred_at).start)
        self._unsummed.clear()
        return rollup

    def period(self, time: int) -> Window:
        """The org's billing period in which a time lies."""
        if not self._period.start <= time < self._period.end:
            self._period = billing_period(self.account.anchor, time)
        return self._period

    def periods(self, at: int, until: int | None = None) -> Iterator[Window]:
        """The org's billing periods from a time's ``until`` another."""
        period = self.period(at)
        yield period
        while until is not None and period.end < until:
            period = self.period(period.end)
            yield period

    def available(self, resource: str | None, at: int) -> int:
        """Rule 6.2: unreserved remainders that may pay for a use of the resource at a time,
        less debt."""
        free = 0
        for lot in self.lots:
            if (lot.scope is None and lot.period is None) or self.may_pay(lot, resource, at):
                free += lot.remainder - lot.reserved
        return free - self.account.debt

    def may_pay(self, lot: Lot, resource: str | None, at: int) -> bool:
        """Whether a lot, if it lives, may pay for a use of the resource at a time."""
        if lot.period is not None and lot.period != self.period(at).start:
            return False
        return lot.scope is None or covers(lot.scope, resource)

    def audiences(self, at: int) -> tuple[str, ...]:
        """Whose price books hold for the org at a time, beside everyone's."""
        # A catalogue that does not know the plan has not its books either.
        plan = self.plan(at) if self.account.plan_since else None
        return self.catalogue.audiences(self.org, None if plan is None else plan.plan)

    def prices(self, resource: str, at: int) -> ResourcePrices:
        """The org's prices of a resource at a time: a batch asks for the same many times."""
        audiences = self.audiences(at)
        key = (resource, at, audiences)
        prices = self._prices.get(key)
        if prices is None:
            prices = ResourcePrices(self.catalogue, self.account.currency, resource, at, audiences)
            self._prices[key] = prices
        return prices

    def _subscribed(self, at: int) -> str | None:
        """The plan at a time."""
        account = self.account
        if at >= account.plan_since:
            plan = account.plan
        else:
            if self._plans_since and at < self._plans_since:
                times = self.state.times
                if times is None or at < times[0]:
                    raise NeedMore(self.org, time=at)
            plan = None
            for each in self.state.subscriptions:
                if each.since > at:
                    break
                plan = each.plan
        return plan

    def plan(self, at: int) -> Plan | None:
        """The version of the org's plan in force at a time."""
        name = self._subscribed(at)
        if name is None:
            return None
        plan = self.catalogue.plan(name, at)
        if plan is None:
            if not self.terms.fresh:
                raise NeedMore(None)
            raise StoreError(f"plan {name!r} of org {self.org!r} is not on record")
        return plan

    def check_room(self, *, granted: int = 0, returned: int = 0, used: int = 0) -> None:
        """Raise MoneyOverflow where the credit in all lots, by what is granted or comes back, or
        the debt, by what is charged, would leave 64 bits.  What has ever been granted and charged
        only counts: it refuses nothing, as soon as the columns for it are wide."""
        account = self.account
        credit = account.balance + account.debt
        if credit + granted + returned > MAX_NANOS:
            expected = "credit that is within 64 bits of nanos with what there is"
            raise MoneyOverflow("amount", granted + returned, expected)
        if account.debt + used > MAX_NANOS:
            raise MoneyOverflow("amount", used, "a debt within 64 bits of nanos")
        if self.terms.level < WIDE_TOTALS:
            if account.granted + granted > MAX_NANOS:
                raise MoneyOverflow("amount", granted, "a total granted within 64 bits of nanos")
            if account.used + used > MAX_NANOS:
                raise MoneyOverflow("amount", used, "a total charged within 64 bits of nanos")

    # -- moving -----------------------------------------------------------------

    def grant(self, lot: Lot) -> None:
        """Credit comes in as a new lot."""
        self.add_lot(lot)
        self.account.granted += lot.amount
        self.into_lot(lot, lot.amount, _SOURCES[lot.kind], "grant")

    def reserve(self, amount: int, resource: str | None, at: int) -> list[Draw]:
        """Take ``amount``, which is available for a use at a time, out of circulation; its
        parts by lot."""
        parts: list[Draw] = []
        if not amount:
            return parts
        for lot in self.lots:
            free = lot.remainder - lot.reserved
            if free <= 0 or not self.may_pay(lot, resource, at):
                continue
            part = min(free, amount)
            lot.reserved += part
            self.changes.lots[lot.lot] = lot
            parts.append(Draw(lot.lot, part))
            amount -= part
            if not amount:
                return parts
        raise StoreError(
            f"{amount} nanos that org {self.org!r} has available cannot be reserved; "
            "run billing verify"
        )

    def capture(self, hold: HoldRecord, amount: int, resource: str, at: int) -> int:
        """Pay a charge for a use at a time from a hold.  Returns what is left.  What a hold has
        of an allowance serves it to its end, be it in the next period; not the other way."""
        parts, hold.parts = hold.parts, []
        for part in parts:
            lot = self.state.lots[part.lot]
            paid = min(part.amount, amount)
            if (
                not paid
                or not (lot.scope is None or covers(lot.scope, resource))
                or (lot.period is not None and lot.period > self.period(at).start)
            ):
                hold.parts.append(part)
                continue
            lot.reserved -= paid
            self.out_of_lot(lot, paid, "revenue", "capture")
            amount -= paid
            if paid < part.amount:
                hold.parts.append(Draw(part.lot, part.amount - paid))
        self.changes.holds[hold.key] = hold
        return amount

    def pay(self, amount: int, resource: str, at: int) -> int:
        """Pay a charge for a use at a time from unreserved credit; what is left unpaid."""
        for lot in self.lots:
            if not amount:
                break
            free = lot.remainder - lot.reserved
            if free <= 0 or not self.may_pay(lot, resource, at):
                continue
            paid = min(free, amount)
            self.out_of_lot(lot, paid, "revenue", "charge")
            amount -= paid
        return amount

    def withdraw(self, number: int, amount: int) -> int:
        """Take what is unreserved of a lot back to whoever paid for it, up to ``amount``; how
        much."""
        lot = self.state.lots.get(number)
        if lot is None:
            return 0
        part = min(lot.remainder - lot.reserved, amount)
        if part:
            self.out_of_lot(lot, part, "payments", "clawback")
        return part

    def free(self, hold: HoldRecord, when: When) -> int:
        """Return what is left of a hold to its lots; of ended lots it expires."""
        freed = 0
        for number, amount in hold.parts:
            freed += amount
            self.let_go(number, amount, when)
        hold.parts = []
        self.changes.holds[hold.key] = hold
        self.uncount(hold)
        return freed

    def ended(self, lot: Lot, when: When) -> bool:
        """Whether a lot can no longer be spent, but by holds that have it."""
        if lot.expires_at is None or lot.expires_at > max(when.time, when.doubted):
            return False
        self.believe(lot.expires_at)
        return True

    def let_go(self, number: int, amount: int, when: When) -> None:
        """Unreserve part of a lot; if the lot has ended, it expires."""
        lot = self.state.lots[number]
        lot.reserved -= amount
        self.changes.lots[number] = lot
        self.expire_ended(lot, when)

    def drain(self, account_name: str, kind: str, time: int) -> int:
        """Move what is left of every lot out: closing.  What was granted ahead expires."""
        moved = 0
        for lot in self.lots:
            if lot.period is not None and lot.period > time:
                self.expire(lot)
            elif lot.remainder:
                moved += lot.remainder
                self.out_of_lot(lot, lot.remainder, account_name, kind)
        return moved

    # -- time -------------------------------------------------------------------

    def believe(self, time: int) -> None:
        """Raise ClockDoubt where something ends at a time that has come by nothing but a clock
        which may be wrong."""
        certain = self.terms.certain
        if certain is not None and not self.terms.believes(time):
            raise clock_ahead(self.org, time, certain)

    def measure(self, since: int, until: int) -> None:
        """Raise ClockDoubt where time is measured from one that has certainly come to one a day
        and more after the latest such, which has come by nothing but a clock that may be wrong."""
        certain = self.terms.certain
        if certain is not None and since <= certain and until > certain + DAY:
            self.believe(until)

    def will_lapse(self, time: int | None) -> None:
        """Note that something lapses at a time."""
        account = self.account
        if time is not None and (account.next_lapse is None or time < account.next_lapse):
            account.next_lapse = time

    # -- the record -------------------------------------------------------------

    def post(
        self,
        key: str,
        at: int,
        content: str,
        amount: int,
        effects: object = None,
        usage: UsageRecord | None = None,
    ) -> Entry:
        """Write the journal entry for what has moved since the last one."""
        account = self.account
        seq = account.seq + 1
        transfers = tuple(self.moves)
        self.moves = []
        self._watch_balance()
        if self.untold:
            effects = self._tell(seq, effects)
        effects_text = "{}" if effects is None else compact(effects)
        account.recorded_at = max(account.recorded_at, self.terms.now)
        entry = Entry(
            self.org, seq, key, at, account.recorded_at, content, effects_text, amount,
            account.balance, transfers, usage,
        )  # fmt: skip
        entry.write()
        account.seq = seq
        account.head = entry.hash = chained(account.head, entry)
        account.watermark = max(account.watermark, at)
        self.changes.entries.append(entry)
        self.state.entries[key] = entry
        if usage is not None:
            self._unsummed.append(usage)
        return entry

    def _tell(self, seq: int, effects: object) -> object:
        """Raise the events of an entry; its effects, which bind them."""
        raised = [
            Event(seq, n, kind, compact(data)) for n, (kind, data) in enumerate(self.untold, 1)
        ]
        self.untold = []
        self.changes.events += raised
        if self.terms.level < TELLS:
            return effects
        said = cast("dict[str, object]", effects or {})
        return said | {TOLD: told(raised)}

    def _watch_balance(self) -> None:
        """Events for the balance, once per crossing."""
        before, balance = self._balance, self.account.balance
        self._balance = balance
        low = self.account.low_balance
        if low is not None and balance < low <= before:
            self.untold.append(("low_balance", {"balance": balance, "threshold": low}))
        if balance <= 0 < before:
            self.untold.append(("depleted", {"balance": balance}))

    def entry(self, seq: int) -> Entry | None:
        """A charge's entry: one that was wanted, or of this batch."""
        entries = self.changes.entries
        if entries and seq >= entries[0].seq:
            index = seq - entries[0].seq
            return entries[index] if index < len(entries) else None
        return self.state.subjects.get(seq)

    def count(self, resource: str, start: int) -> Counter:
        """The counter of a resource in the period that starts at ``start``; a new one is
        kept once it is touched.  Raises NeedMore where nobody has looked for one."""
        counter = self.state.counters.get((resource, start))
        if counter is None:
            if not self.new and not knows_counter(self.state, resource, self.period(start)):
                raise NeedMore(self.org, counter=(resource, start))
            counter = Counter(resource, start)
        return counter

    def item(self, item: str, resource: str) -> Item | None:
        """An item that has begun; raises NeedMore where nobody has looked for it."""
        key = (item, resource)
        found = self.state.items.get(key)
        if found is None and not self.new and key not in self.state.sought:
            raise NeedMore(self.org, item=key)
        return found

    def check_window(self, window: Window, grain: str) -> None:
        """Raise NeedMore unless what is spent in a window was looked for."""
        if not self._limited or (grain, window.start) in self.state.windows:
            return
        times = self.state.times
        if times is None or window.end <= times[0] or times[1] < window.start:
            raise NeedMore(self.org, time=window.start)

    def family(self, pattern: str, start: int) -> Iterable[Counter]:
        """The counters of all resources that a pattern names, in the period that starts at
        ``start``; raises NeedMore."""
        if not pattern.endswith("*"):
            return (self.count(pattern, start),)
        key = (pattern[:-1], start)
        kept = self.state.families.get(key)
        if kept is None and self.new:
            kept = self.state.families[key] = []
        if kept is None:
            raise NeedMore(self.org, families=frozenset([key]))
        found = {each.resource: each for each in kept}
        # As this batch left those that it has touched.
        for (resource, begins), counter in self.state.counters.items():
            if begins == start and fits(pattern, resource):
                found[resource] = counter
        return found.values()

    def keep(self, counter: Counter) -> None:
        """Keep what a counter has become."""
        key = (counter.resource, counter.start)
        self.state.counters[key] = counter
        self.changes.counters[key] = counter

    # -- lots -------------------------------------------------------------------

    def roll_over(self, lots: Iterable[Lot], into: Lot) -> None:
        """Move what is unreserved of ended allowances into a new lot, up to its amount."""
        self.add_lot(into)
        for lot in lots:
            part = min(lot.remainder - lot.reserved, into.amount - into.remainder)
            if part:
                lot.remainder -= part
                into.remainder += part
                self.changes.lots[lot.lot] = lot
                self.moves.append(Transfer(f"lot:{lot.lot}", f"lot:{into.lot}", part, "rollover"))
        self.changes.lots[into.lot] = into

    def expire(self, lot: Lot, most: int = MAX_NANOS) -> int:
        """Let what is unreserved of a lot expire, up to ``most``.  Returns how much."""
        amount = min(lot.remainder - lot.reserved, most)
        if amount:
            self.out_of_lot(lot, amount, "expired", "expiry")
        return amount

    def add_lot(self, lot: Lot) -> None:
        """A lot is new: its number is the account's last, and it has its place in the order."""
        self.account.lots = lot.lot
        self.state.lots[lot.lot] = lot
        insort(self.lots, lot, key=spending_order)
        self.will_lapse(lot.expires_at)

    def relist(self, lot: Lot, when: When) -> None:
        """A lot that may have been used up gets a remainder again."""
        if not any(each is lot for each in self.lots):
            insort(self.lots, lot, key=spending_order)
        if not self.ended(lot, when):
            self.will_lapse(lot.expires_at)

    def into_lot(self, lot: Lot, amount: int, source: str, kind: str) -> None:
        """Move an amount from ``source`` into a lot."""
        lot.remainder += amount
        self.account.balance += amount
        self.changes.lots[lot.lot] = lot
        self.moves.append(Transfer(source, f"lot:{lot.lot}", amount, kind))

    def out_of_lot(self, lot: Lot, amount: int, target: str, kind: str) -> None:
        """Move an amount out of a lot, to ``target``."""
        lot.remainder -= amount
        self.account.balance -= amount
        self.changes.lots[lot.lot] = lot
        self.moves.append(Transfer(f"lot:{lot.lot}", target, amount, kind))

    def expire_ended(self, lot: Lot, when: When) -> None:
        """What is unreserved of an ended lot expires at once (rule 6.7)."""
        if self.ended(lot, when):
            self.expire(lot)

    def uncount(self, hold: HoldRecord) -> None:
        """A hold that ends takes back what it announced to the counters."""
        counter = None
        for held in hold.counted:
            if counter is None or counter.start != held.period:
                counter = self.count(hold.resource or "", held.period)
                self.keep(counter)
            counter.let_go(held)
        hold.counted = []
