"""One org's plain facts, and the sums that are asked of them: for the reference model."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve, field, frozen

from billing_core.commands import Command
from billing_core.testing.answers import Amounts, Answer, amounts
from billing_core.testing.tariff import Used

__all__ = ["ChargeFact", "Facts", "HoldFact", "LotFact", "Move", "Posting"]

_KINDS = ("allowance", "promotional", "purchased")
_PAID = ("capture", "charge", "repayment")


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
    amount: int
    balance: int


@frozen
class LotFact:
    number: int
    kind: str
    priority: int
    expires_at: int | None
    scope: tuple[str, ...] | None

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

    def may_pay(self, resource: str | None) -> bool:
        if self.scope is None:
            return True
        if resource is None:
            return False
        return any(
            name == resource or (name[-1] == "*" and resource.startswith(name[:-1]))
            for name in self.scope
        )

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


@define
class ChargeFact:
    seq: int
    resource: str
    amount: int
    occurred: int
    member: int
    item: str | None
    unpriced: tuple[tuple[str, int], ...]
    requests: int
    priced: bool = False


@define
class Facts:
    """One org's facts."""

    name: str
    currency: str
    anchor: int
    opened_at: int
    lots: dict[int, LotFact] = field(factory=dict)
    moves: list[Move] = field(factory=list)
    holds: dict[str, HoldFact] = field(factory=dict)
    charges: dict[int, ChargeFact] = field(factory=dict)
    uses: list[Used] = field(factory=list)
    reversals: list[tuple[int, int, int]] = field(factory=list)  # seq, charge, amount
    postings: list[Posting] = field(factory=list)
    firsts: dict[tuple[str, str], tuple[Command | None, Answer]] = field(factory=dict)
    members: dict[str, int] = field(factory=dict)
    named: int = 0
    watermark: int = 0
    closed: bool = False

    def copy(self) -> Facts:
        """A copy that may lapse on its own."""
        held = {
            key: evolve(hold, parts=[*hold.parts], announced=[*hold.announced])
            for key, hold in self.holds.items()
        }
        return evolve(self, moves=[*self.moves], holds=held, postings=[*self.postings])

    # -- sums -------------------------------------------------------------------

    def remainder(self, lot: int) -> int:
        name = f"lot:{lot}"
        came = sum(move.amount for move in self.moves if move.credit == name)
        return came - sum(move.amount for move in self.moves if move.debit == name)

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

    def granted(self) -> int:
        return sum(move.amount for move in self.moves if move.kind == "grant")

    def used(self) -> int:
        back = sum(amount for _, _, amount in self.reversals)
        return sum(charge.amount for charge in self.charges.values()) - back

    def live(self, time: int) -> list[LotFact]:
        lots = [lot for lot in self.lots.values() if not lot.ended(time)]
        return sorted(lots, key=LotFact.order)

    def available(self, resource: str | None, time: int) -> int:
        """Rule 6.2."""
        lots = [lot.number for lot in self.live(time) if lot.may_pay(resource)]
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

    def post(self, key: str, at: int, amount: int) -> Posting:
        # Of several lots that end at one moment the later ones still count.
        left = sum(self.remainder(lot) for lot in self.lots) - self.debt()
        posting = Posting(self.seq, key, at, amount, left)
        self.postings.append(posting)
        self.watermark = max(self.watermark, at)
        return posting

    def take(self, amount: int, resource: str | None, time: int) -> list[tuple[int, int]]:
        """Parts of unreserved lots, in spending order, up to an amount."""
        parts: list[tuple[int, int]] = []
        for lot in self.live(time):
            part = min(amount, self.free(lot.number)) if lot.may_pay(resource) else 0
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
            for lot, part in self.take(self.unpaid(number), charge.resource, time):
                self.move(f"lot:{lot}", f"debt:{number}", part, "repayment", number)

    def lapse(self, time: int) -> None:
        """Rules 6.5 and 6.7: what lapses by a time, in order, each at its own."""
        while True:
            due: list[tuple[int, int, int, str]] = []
            for lot in self.lots.values():
                if lot.expires_at is not None and lot.ended(time) and self.free(lot.number):
                    due.append((lot.expires_at, 0, lot.number, ""))
            for hold in self.holds.values():
                if hold.state == "open" and hold.expires_at <= time:
                    due.append((hold.expires_at, 1, 0, hold.key))
            if not due:
                return
            at, is_hold, number, key = min(due)
            if is_hold:
                amount = self.end_hold(self.holds[key], "lapsed", at)
                self.repay(at)
                self.post(f"lapse:hold:{key}", at, amount)
            else:
                amount = self.free(number)
                self.expire([number], at)
                self.post(f"lapse:lot:{number}", at, amount)

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
