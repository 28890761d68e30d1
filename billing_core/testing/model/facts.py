"""One org's plain facts, and the sums that are asked of them: for the reference model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from billing_core.commands.accounts import SetLimit
from billing_core.commands.base import Command
from billing_core.pricing.plan import Plan
from billing_core.testing.model.answers import Amounts, Answer, amounts
from billing_core.testing.model.tariff import Tariff, Used, month_end, month_start
from billing_core.values.usage import Usage

__all__ = [
    "TOLERANCE",
    "ChargeFact",
    "EventFact",
    "Facts",
    "HoldFact",
    "LotFact",
    "Move",
    "Posting",
    "reaches",
]

_KINDS = ("allowance", "promotional", "purchased")
MOST = 2**63 - 1
_PAID = ("capture", "charge", "repayment")


TOLERANCE = 5 * 60 * 1_000_000
"""The engine's."""


@frozen
class Move:
    """``amount`` from one account to another; ``about``: the charge that it is about."""

    seq: int
    debit: str
    credit: str
    amount: int
    kind: str
    about: int = 0


@frozen
class Posting:
    """A journal entry."""

    seq: int
    key: str
    at: int
    recorded_at: int
    amount: int
    balance: int


@frozen
class EventFact:
    """What the host is told with an entry."""

    seq: int
    kind: str
    data: Mapping[str, Any]


def reaches(pattern: str, resource: str) -> bool:
    """Whether a pattern names a resource."""
    return pattern == resource or (pattern[-1] == "*" and resource.startswith(pattern[:-1]))


@frozen
class LotFact:
    """``period``: of a plan's allowance, the start of the one whose usage it pays for."""

    number: int
    kind: str
    priority: int
    expires_at: int | None
    scope: tuple[str, ...] | None
    period: int | None = None

    def order(self) -> tuple[object, ...]:
        """Rule 6.1."""
        return (
            self.priority,
            self.scope is None,
            self.expires_at is None,
            self.expires_at or 0,
            _KINDS.index(self.kind),
            self.number,
        )

    def may_pay(self, resource: str | None, period: int) -> bool:
        """Whether for a use of this billing period."""
        return self.period in (None, period) and self.covers(resource)

    def covers(self, resource: str | None) -> bool:
        if self.scope is None:
            return True
        if resource is None:
            return False
        return any(reaches(name, resource) for name in self.scope)

    def ended(self, time: int) -> bool:
        return self.expires_at is not None and self.expires_at <= time


@define
class HoldFact:
    key: str
    resource: str | None
    expires_at: int
    state: str
    parts: list[tuple[int, int]]
    announced: list[tuple[int, str, int]]
    member: int
    project: str | None
    made: int
    usage: Usage | None = None
    charges: list[int] = field(factory=list)


@define
class ChargeFact:
    seq: int
    resource: str
    amount: int
    occurred: int
    member: int
    project: str | None
    item: str | None
    unpriced: tuple[tuple[str, int], ...]
    requests: int
    priced: bool = False
    prices: int = 0  # the charge that had left it unpriced
    facts: tuple[tuple[str, str], ...] = ()


@define
class Facts:
    """One org's facts."""

    name: str
    currency: str
    anchor: int
    opened_at: int
    tariff: Tariff
    lots: dict[int, LotFact] = field(factory=dict)
    moves: list[Move] = field(factory=list)
    holds: dict[str, HoldFact] = field(factory=dict)
    charges: dict[int, ChargeFact] = field(factory=dict)
    uses: list[Used] = field(factory=list)
    reversals: list[tuple[int, int, int]] = field(factory=list)  # seq, charge, amount
    undone: dict[int, tuple[int, int]] = field(factory=dict)  # charge: seq, what it costs less
    undone_elsewhere: list[tuple[int, int, int]] = field(factory=list)  # seq, occurred, charge
    shifted: set[int] = field(factory=set)  # of the reversals' seqs, those for others' usage
    postings: list[Posting] = field(factory=list)
    firsts: dict[tuple[str, str], tuple[Command | None, Answer]] = field(factory=dict)
    members: dict[str, int] = field(factory=dict)
    named: int = 0
    watermark: int = 0
    closed: bool = False
    now: int = 0  # by the engine's clock
    plans: list[tuple[int, str | None]] = field(factory=list)  # since when, which
    dealt: int | None = None  # until when allowances are; None: no plan, or paused
    allowances: list[tuple[int, int]] = field(factory=list)  # period, amount
    rolled: list[tuple[int, int]] = field(factory=list)  # over, of a period, amount
    limits: dict[tuple[str, str], SetLimit] = field(factory=dict)  # by subject and grain
    limited: int | None = None  # the entry from which on
    low_balance: int | None = None
    events: list[EventFact] = field(factory=list)

    def copy(self) -> Facts:
        """A copy that may lapse on its own."""
        held = {
            key: evolve(
                hold, parts=[*hold.parts], announced=[*hold.announced], charges=[*hold.charges]
            )
            for key, hold in self.holds.items()
        }
        return evolve(
            self,
            holds=held,
            lots={**self.lots},
            moves=[*self.moves],
            postings=[*self.postings],
            plans=[*self.plans],
            allowances=[*self.allowances],
            rolled=[*self.rolled],
            events=[*self.events],
        )

    # -- sums -------------------------------------------------------------------

    def remainder(self, lot: int) -> int:
        name = f"lot:{lot}"
        came = sum(move.amount for move in self.moves if move.credit == name)
        return came - sum(move.amount for move in self.moves if move.debit == name)

    def came(self, lot: int) -> int:
        """What a grant or a period's end made it of; 0 for what a reversal made."""
        made = [move for move in self.moves if move.kind in ("grant", "rollover")]
        return sum(move.amount for move in made if move.credit == f"lot:{lot}")

    def reserved(self, lot: int) -> int:
        parts = [part for hold in self.holds.values() for part in hold.parts]
        return sum(amount for number, amount in parts if number == lot)

    def free(self, lot: int) -> int:
        return self.remainder(lot) - self.reserved(lot)

    def unpaid(self, charge: int) -> int:
        name = f"debt:{charge}"
        owed = sum(move.amount for move in self.moves if move.debit == name)
        return owed - sum(move.amount for move in self.moves if move.credit == name)

    def debt(self) -> int:
        return sum(self.unpaid(charge) for charge in self.charges)

    def credit(self) -> int:
        """What is left in all lots."""
        return sum(self.remainder(number) for number in self.lots)

    def granted(self) -> int:
        return sum(move.amount for move in self.moves if move.kind == "grant")

    def used(self) -> int:
        back = sum(amount for _, _, amount in self.reversals)
        return sum(charge.amount for charge in self.charges.values()) - back

    def live(self, time: int) -> list[LotFact]:
        lots = [lot for lot in self.lots.values() if not lot.ended(time)]
        return sorted(lots, key=LotFact.order)

    def available(self, resource: str | None, time: int, at: int) -> int:
        """Rule 6.2: as of a time, for a use at another."""
        period = month_start(self.anchor, at)
        lots = [lot.number for lot in self.live(time) if lot.may_pay(resource, period)]
        return sum(self.free(lot) for lot in lots) - self.debt()

    def balance(self, time: int) -> int:
        """Rule 6.2: live lots and the reserved parts of expired ones, less debt."""
        kept = [
            self.reserved(lot.number) if lot.ended(time) else self.remainder(lot.number)
            for lot in self.lots.values()
        ]
        return sum(kept) - self.debt()

    def payers(self, charge: int) -> list[tuple[int, int]]:
        """What lots paid of a charge, in order, less what went back to them."""
        about = [move for move in self.moves if move.about == charge]
        paid = [(int(m.debit[4:]), m.amount) for m in about if m.kind in _PAID]
        back = sum(move.amount for move in about if move.kind == "refill")
        while back:
            lot, amount = paid.pop()
            if amount > back:
                paid.append((lot, amount - back))
            back -= min(amount, back)
        return paid

    def reversed(self, charge: int) -> int:
        return sum(amount for _, subject, amount in self.reversals if subject == charge)

    # -- movements --------------------------------------------------------------

    @property
    def seq(self) -> int:
        """The number of the entry that is being made."""
        return len(self.postings) + 1

    def move(self, debit: str, credit: str, amount: int, kind: str, about: int = 0) -> None:
        if amount:
            self.moves.append(Move(self.seq, debit, credit, amount, kind, about))

    def tell(self, kind: str, **data: object) -> None:
        """With the entry that is being made."""
        self.events.append(EventFact(self.seq, kind, data))

    def post(self, key: str, at: int, amount: int) -> Posting:
        # Of several lots that end at one moment the later ones still count.
        left = sum(self.remainder(lot) for lot in self.lots) - self.debt()
        before = self.postings[-1].balance if self.postings else 0
        if self.low_balance is not None and left < self.low_balance <= before:
            self.tell("low_balance", balance=left, threshold=self.low_balance)
        if left <= 0 < before:
            self.tell("depleted", balance=left)
        recorded = max([self.now, *(each.recorded_at for each in self.postings[-1:])])
        if self.limited == self.seq:  # later than all before it
            recorded = max(recorded, at) + 1
        posting = Posting(self.seq, key, at, recorded, amount, left)
        self.postings.append(posting)
        self.watermark = max(self.watermark, at)
        return posting

    def take(self, amount: int, resource: str | None, time: int, at: int) -> list[tuple[int, int]]:
        """Parts of unreserved lots, in spending order, up to an amount, for a use at a time."""
        parts: list[tuple[int, int]] = []
        period = month_start(self.anchor, at)
        for lot in self.live(time):
            part = min(amount, self.free(lot.number)) if lot.may_pay(resource, period) else 0
            if part:
                parts.append((lot.number, part))
                amount -= part
        return parts

    def end_hold(self, hold: HoldFact, state: str, time: int) -> int:
        """Reserved parts come free; those of ended lots expire."""
        parts, hold.parts, hold.announced, hold.state = hold.parts, [], [], state
        self.expire({lot for lot, _ in parts}, time)
        return sum(amount for _, amount in parts)

    def expire(self, lots: Iterable[int], time: int) -> None:
        for lot in sorted(lots):
            if self.lots[lot].ended(time):
                self.move(f"lot:{lot}", "expired", self.free(lot), "expiry")

    def repay(self, time: int) -> None:
        """Rule 6.5: debts, oldest first, from what may pay for them."""
        for number, charge in sorted(self.charges.items()):
            owed = self.unpaid(number)
            for lot, part in self.take(owed, charge.resource, time, charge.occurred):
                self.move(f"lot:{lot}", f"debt:{number}", part, "repayment", number)

    # -- time -------------------------------------------------------------------

    def lapse(self, time: int) -> None:
        """Rules 6.5, 6.7 and 8.6: what time does, in order, each at its own."""
        while True:
            due: list[tuple[int, int, int, str]] = []
            for lot in self.lots.values():
                if lot.expires_at is not None and lot.ended(time) and self.free(lot.number):
                    due.append((lot.expires_at, 0, lot.number, ""))
            for hold in self.holds.values():
                if hold.state == "open" and hold.expires_at <= time:
                    due.append((hold.expires_at, 1, 0, hold.key))
            if self.dealt is not None and month_end(self.anchor, self.dealt) <= time:
                due.append((month_end(self.anchor, self.dealt), 2, 0, ""))
            if not due:
                return
            at, what, number, key = min(due)
            if what == 2:
                amount = self.begin_period(at)
                self.post(f"lapse:period:{at}", at, amount)
            elif what == 1:
                amount = self.end_hold(self.holds[key], "lapsed", at)
                self.repay(at)
                self.tell("hold_expired", hold=key, amount=amount)
                self.post(f"lapse:hold:{key}", at, amount)
            else:
                self.post(f"lapse:lot:{number}", at, self.end_lot(self.lots[number], at))

    def end_lot(self, lot: LotFact, time: int) -> int:
        """What is free of it expires, but for what a plan rolls over; how much."""
        plan = self.plan(time)
        room = 0 if plan is None or plan.rollover is None else plan.rollover.nanos
        room -= sum(amount for period, amount in self.rolled if period == lot.period)
        if lot.period is None or plan is None or room <= 0:
            amount = self.free(lot.number)
            self.expire([lot.number], time)
            return amount
        ending = [
            each.number
            for each in self.lots.values()
            if (each.period, each.expires_at) == (lot.period, time)
        ]
        ending.sort(key=lambda number: self.lots[number].order())
        into = self.allowance_lot(plan, time)
        for number in ending:
            part = min(room, self.free(number))
            self.rolled.append((lot.period, part))
            self.move(f"lot:{number}", f"lot:{into}", part, "rollover")
            room -= part
        amount = sum(self.free(number) for number in ending)
        self.expire(ending, time)
        self.repay(time)
        return amount

    # -- plans ------------------------------------------------------------------

    def subscribed(self, at: int) -> str | None:
        """The name of the plan at a time."""
        then = [name for since, name in self.plans if since <= at]
        return then[-1] if then else None

    def plan(self, at: int) -> Plan | None:
        return self.tariff.plan(self.subscribed(at), at)

    def allowance_lot(self, plan: Plan, at: int) -> int:
        """A lot for the usage of a time's period, spent until the plan's grace after it, which
        is the tolerance at least."""
        number = len(self.lots) + 1
        ends = month_end(self.anchor, at) + max(plan.grace_micros, TOLERANCE)
        start = month_start(self.anchor, at)
        self.lots[number] = LotFact(number, "allowance", 0, ends, None, start)
        return number

    def begin_period(self, start: int) -> int:
        """Rule 8.6: its allowance, used or not."""
        self.dealt = start
        _, amount = self.allow(self.plan(start), start)
        self.repay(start)
        return amount

    def allow(self, plan: Plan | None, at: int) -> tuple[int | None, int]:
        """What a plan includes and a time's period has not had: the lot, and how much."""
        start = month_start(self.anchor, at)
        had = sum(amount for period, amount in self.allowances if period == start)
        included = 0 if plan is None or plan.allowance is None else plan.allowance.nanos
        amount = min(included - had, MOST - self.credit())
        if plan is None or amount <= 0:
            return None, 0
        lot = self.allowance_lot(plan, at)
        self.allowances.append((start, amount))
        self.move("plans", f"lot:{lot}", amount, "grant")
        return lot, amount

    # -- the record -------------------------------------------------------------

    def records(self) -> list[Record]:
        """All usage on record, in order."""
        found = [
            Record(
                charge.seq,
                charge.occurred,
                charge.member,
                charge.resource,
                charge.requests,
                amounts(
                    (u.piece.component, u.piece.payer, u.piece.version, u.reported,
                     u.piece.billed, u.amount)
                    for u in self.uses
                    if u.seq == charge.seq
                ),
            )
            for charge in self.charges.values()
        ]  # fmt: skip
        for number, (seq, less) in self.undone.items():
            charge = self.charges[number]
            gone = [
                (u.piece.component, u.piece.payer, u.piece.version, u.reported, u.piece.billed,
                 u.amount)
                for u in self.uses
                if u.seq == seq
            ]  # fmt: skip
            if less:
                gone.append(("reversed", "platform", "", 0, 0, less))
            place = (seq, charge.occurred, charge.member, charge.resource)
            found.append(Record(*place, -charge.requests, amounts(gone)))
        for seq, occurred, number in self.undone_elsewhere:
            charge = self.charges[number]
            gone = [
                (u.piece.component, u.piece.payer, u.piece.version, u.reported, u.piece.billed,
                 u.amount)
                for u in self.uses
                if u.seq == seq
            ]  # fmt: skip
            less = -sum(each[-1] for each in gone)
            if less:
                gone.append(("reversed", "platform", "", 0, 0, less))
            found.append(Record(seq, occurred, charge.member, charge.resource, 0, amounts(gone)))
        for seq, number, amount in self.reversals:
            charge = self.charges[number]
            lines = amounts([("reversed", "platform", "", 0, 0, -amount)])
            found.append(Record(seq, charge.occurred, charge.member, charge.resource, 0, lines))
        return sorted(found, key=lambda record: record.seq)


@frozen
class Record:
    """A usage record's figures."""

    seq: int
    occurred: int
    member: int
    resource: str
    requests: int
    lines: Amounts
