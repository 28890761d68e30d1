"""A deliberately naive reference model of the ledger.

It keeps plain facts (grants, movements, holds, uses) and adds them up anew whenever a
sum is asked for.  It shares commands, errors and prices' data with the library, and no
rule: what it answers is written from the rules of the design alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, cast

import attrs

from billing_core.commands.accounts import (
    Close,
    OpenAccount,
    SetLimit,
    SetLowBalance,
    SetPlan,
)
from billing_core.commands.base import Command
from billing_core.commands.charges import Deduct, PriceUnpriced, Reverse, Settle
from billing_core.commands.credit import Grant, UndoExpiry
from billing_core.commands.holds import Extend, Hold, Release
from billing_core.commands.outcomes import Held, Refusal
from billing_core.pricing.plan import Plan
from billing_core.pricing.price_book import PriceBook
from billing_core.testing.model.answers import (
    Answer,
    Ended,
    No,
    Wrong,
    amounts,
    answer_of,
    no,
)
from billing_core.testing.model.facts import (
    MOST,
    TOLERANCE,
    ChargeFact,
    Facts,
    HoldFact,
    LotFact,
)
from billing_core.testing.model.limits import (
    Wish,
    alert,
    alert_of,
    alerts,
    billed_of,
    bound,
    check,
)
from billing_core.testing.model.quotes import (
    announced,
    could_have,
    hold_quote,
    named,
    prices,
    quote,
    quoted_anew,
)
from billing_core.testing.model.tariff import (
    Bill,
    Piece,
    Tariff,
    Used,
    month_end,
    month_start,
    undone,
)
from billing_core.values.money import Money
from billing_core.values.times import duration, micros
from billing_core.values.usage import Usage

__all__ = ["Model"]

_SOURCES = {"allowance": "plans", "promotional": "promotions", "purchased": "payments"}


class Model:
    """What the ledger should answer.  ``tariff``: the price books and plans published."""

    def __init__(self) -> None:
        self.tariff = Tariff()
        self.orgs: dict[str, Facts] = {}

    def publish(self, document: PriceBook | Plan) -> None:
        """A price book or plan that was accepted; the same again is a no-op."""
        if document.version in self.versions():
            return
        if isinstance(document, Plan):
            self.tariff.plans.append(document)
        else:
            self.tariff.books.append(document)

    def versions(self) -> list[str]:
        """All that was published."""
        books = [book.version for book in self.tariff.books]
        return books + [plan.version for plan in self.tariff.plans]

    def erase_member(self, org: str, member: str) -> bool:
        """Their keys cannot be replayed any more."""
        known = self.orgs.get(org)
        if known is None or known.members.pop(member, None) is None:
            return False
        for name, (command, answer) in known.firsts.items():
            if getattr(command, "member", None) == member:
                known.firsts[name] = (None, answer)
        return True

    def quoted(self, org: str, usage: Usage, now: int) -> tuple[int | None, int]:
        """The least and the most that a quote may say now; None where it is refused."""
        try:
            least, most, _ = quote(self.at(org, now), usage, now)
        except Wrong:
            return None, 0
        return least, most

    def billed(self, org: str, usage: Usage, now: int) -> Mapping[str, int]:
        """What the platform would bill of a usage now, by component."""
        return quote(self.at(org, now), usage, now)[2]

    def at(self, org: str, now: int) -> Facts:
        """A copy of an org's facts as of now, lapses applied: what reads see."""
        known = self.orgs[org].copy()
        known.now = now
        known.lapse(max(now, known.watermark))
        return known

    # -- commands ---------------------------------------------------------------

    def execute(self, command: Command, now: int, seen: object = None) -> Answer:
        """What a command should lead to, and what follows.

        ``seen``: the outcome under audit.  It decides only where the design allows a
        range: a quote across two versions may round each one up, or both together.
        """
        try:
            return self._execute(command, now, seen)
        except Ended as ended:
            return ended.answer
        except Wrong as error:
            return Answer(str(error), {})
        except No as refusal:
            return refusal.answer

    def _execute(self, command: Command, now: int, seen: object) -> Answer:
        own = now if command.at is None else micros("at", command.at)
        occurred = getattr(command, "occurred_at", None)
        if command.org in self.orgs:
            self.orgs[command.org].now = now
        latest = max(own, own if occurred is None else micros("occurred_at", occurred))
        org = self.orgs.get(command.org)
        if org is None:
            if not isinstance(command, OpenAccount):
                raise Wrong("NotFound")
            return self._open(command, own, now)
        for name in ("amount", "cost", "add"):
            money = getattr(command, name, None)
            if isinstance(money, Money) and money.currency != org.currency:
                raise Wrong("InvalidCommand")
        first = org.firsts.get((command.op, command.key))
        if first is not None:
            if first[0] != attrs.evolve(cast(Any, command), at=None):
                raise Wrong("IdempotencyConflict")
            self._check_stands(org, command, first[1], max(own, now, org.watermark))
            return first[1]
        if latest > now + TOLERANCE:
            raise Wrong("InvalidCommand")
        if isinstance(command, OpenAccount):
            raise Wrong("Conflict")
        if org.closed and not isinstance(command, (Settle, PriceUnpriced)):
            raise No(no("closed"))
        self._renew(org, max(own, org.watermark))
        handle: Callable[..., Answer] = getattr(self, f"_{command.op}")
        if isinstance(command, (Hold, Extend)):
            return handle(org, command, own, max(own, org.watermark), seen)
        return handle(org, command, own, max(own, org.watermark))

    @staticmethod
    def _check_stands(org: Facts, command: Command, first: Answer, time: int) -> None:
        """Rule 6.3: nobody goes on because of a reservation that is not there."""
        if isinstance(command, (Hold, Extend)):
            hold = org.holds[command.key if isinstance(command, Hold) else command.hold]
            if hold.state != "open" or hold.expires_at <= time:
                done = hold.state == "settled" or any(org.charges[n].amount for n in hold.charges)
                state = "lapsed" if hold.state == "open" else hold.state
                raise Ended({"lapsed": "expired"}.get(state, state), hold.charges, not done)
        elif isinstance(command, Deduct):
            number = first.facts["seq"]
            amount = org.charges[number].amount
            shifted = [n for seq, of, n in org.reversals if of == number and seq in org.shifted]
            cost = amount - sum(shifted)
            if org.reversed(number) == amount and (cost or number in org.undone):
                raise Ended("reversed", [number], True)

    def _open(self, command: OpenAccount, own: int, now: int) -> Answer:
        if own > now + TOLERANCE:
            raise Wrong("InvalidCommand")
        anchor = own if command.anchor is None else micros("anchor", command.anchor)
        org = self.orgs[command.org] = Facts(
            command.org, command.currency, anchor, own, self.tariff, now=now
        )  # fmt: skip
        return self._success(org, command, own, "Opened", 0)

    def _success(
        self, org: Facts, command: Command, time: int, kind: str, posted: int, **facts: object
    ) -> Answer:
        posting = org.post(f"{command.op}:{command.key}", time, posted)
        facts = {"seq": posting.seq, "at": time, "balance": org.balance(time), **facts}
        answer = Answer(kind, facts)
        org.firsts[command.op, command.key] = (attrs.evolve(cast(Any, command), at=None), answer)
        return answer

    @staticmethod
    def _number(org: Facts, name: str | None) -> int:
        """A member's, known or new."""
        return 0 if name is None else org.members.get(name, org.named + 1)

    def _member(self, org: Facts, command: Settle | Deduct | Hold | SetLimit) -> int:
        if command.as_held:
            held = org.holds.get(str(command.hold))
            return 0 if held is None else held.member
        name = command.member
        if name is None:
            return 0
        if name not in org.members:
            org.named += 1
            org.members[name] = org.named
        return org.members[name]

    def _grant(self, org: Facts, command: Grant, own: int, time: int) -> Answer:
        expires = None if command.expires_at is None else micros("time", command.expires_at)
        amount = command.amount.nanos
        if expires is not None and expires <= time:
            raise Wrong("InvalidCommand")
        org.lapse(time)
        if org.credit() + amount > MOST:
            raise Wrong("MoneyOverflow")
        number = len(org.lots) + 1
        org.lots[number] = LotFact(number, command.kind, command.priority, expires, command.scope)
        org.move(_SOURCES[command.kind], f"lot:{number}", amount, "grant")
        org.repay(time)
        repaid = sum(m.amount for m in org.moves if m.seq == org.seq and m.kind == "repayment")
        return self._success(
            org, command, time, "Granted", amount, amount=amount, lot=number, repaid=repaid
        )

    # -- plans and limits -------------------------------------------------------

    def _plan(self, org: Facts, command: SetPlan, own: int, time: int) -> Answer:
        plan = None
        if command.plan is not None:
            plan = self.tariff.plan(command.plan, time)
            if plan is None:
                raise Wrong("NotFound")
            if plan.currency != org.currency:
                raise Wrong("InvalidCommand")
        org.lapse(time)
        self._limit_from(org)
        before = alerts(org, time)
        org.plans.append((time, command.plan))
        alert_of(org, before, time)
        org.dealt = None if plan is None or command.paused else time
        lot, amount = (None, 0) if org.dealt is None else org.allow(plan, time)
        org.repay(time)
        return self._success(org, command, time, "Subscribed", amount, amount=amount, lot=lot)

    @staticmethod
    def _renew(org: Facts, time: int) -> None:
        """A version of the plan may have taken effect since anything was decided."""
        plan, was = org.plan(time), org.plan(org.watermark)
        if plan is None or was is None or plan.version == was.version:
            return
        known = [
            (old.whose, old.per, old.amount, mark) for old in was.limits for mark in old.alerts
        ]
        if all(
            (new.whose, new.per, new.amount, mark) in known
            for new in plan.limits
            for mark in new.alerts
        ):
            return
        before = alerts(org, org.watermark)
        org.lapse(time)
        alert_of(org, before, time)
        org.post(f"terms:{plan.version}", time, 0)

    @staticmethod
    def _limit_from(org: Facts) -> None:
        if org.limited is None:
            org.limited = org.seq

    def _limit(self, org: Facts, command: SetLimit, own: int, time: int) -> Answer:
        org.lapse(time)
        self._limit_from(org)
        subject = command.subject(self._member(org, command))
        before = alerts(org, time)
        org.limits[subject, command.per] = command
        alert_of(org, before, time)
        amount = 0 if command.amount is None else command.amount.nanos
        return self._success(org, command, time, "Changed", amount)

    def _low_balance(self, org: Facts, command: SetLowBalance, own: int, time: int) -> Answer:
        org.lapse(time)
        org.low_balance = None if command.amount is None else command.amount.nanos
        left = org.balance(time)
        if org.low_balance is not None and left < org.low_balance:
            org.tell("low_balance", balance=left, threshold=org.low_balance)
        return self._success(org, command, time, "Changed", org.low_balance or 0)

    # -- holds ------------------------------------------------------------------

    def _hold(self, org: Facts, command: Hold, own: int, time: int, seen: object) -> Answer:
        cost, resource = command.cost, command.resource
        billed: Mapping[str, int] = {}
        expires = time + duration("expires_in", command.expires_in)
        if isinstance(cost, Usage):
            resource = cost.resource
            quote(org, cost, own)  # what has no price is refused before anything lapses
            org.lapse(time)
            amount, most, billed = hold_quote(org, cost, own, expires)
            if isinstance(seen, Held) and amount <= seen.amount <= most:
                amount = seen.amount
            if amount > MOST:
                raise Wrong("MoneyOverflow")
        else:
            amount = most = cost.nanos
            org.lapse(time)
        number = self._number(org, command.member)
        wish = Wish(number, command.project, resource, own, time, billed, expires)
        if isinstance(seen, Refusal):
            amount = self._refused(org, wish, amount, most, seen)
        check(org, wish, amount)
        self._member(org, command)
        parts = org.take(amount, resource, time, own)
        org.holds[command.key] = HoldFact(
            command.key, resource, expires, "open", parts, announced(org, wish), number,
            command.project, time, cost if isinstance(cost, Usage) else None,
        )  # fmt: skip
        return self._success(org, command, time, "Held", amount, amount=amount, expires_at=expires)

    @staticmethod
    def _known_hold(org: Facts, key: str) -> HoldFact:
        hold = org.holds.get(key)
        if hold is None:
            raise Wrong("NotFound")
        if hold.state == "settled":
            raise Wrong("Conflict")
        return hold

    @staticmethod
    def _refused(
        org: Facts, wish: Wish, amount: int, most: int, seen: Refusal, replaced: int = 0
    ) -> int:
        """What from ``amount`` to ``most`` leads to the refusal under audit."""
        room: int = seen.shortfall + org.available(wish.resource, wish.time, wish.at) - replaced
        likely: list[int] = [*range(amount, min(most, amount + 40) + 1), room]
        for each in likely:
            if amount <= each <= most and bound(org, wish, each, replaced) == answer_of(seen):
                return each
        return amount

    def _extend(self, org: Facts, command: Extend, own: int, time: int, seen: object) -> Answer:
        org.lapse(time)
        hold = self._known_hold(org, command.hold)
        if hold.state != "open":
            raise No(no(f"hold_{hold.state}"))
        ended = [part for part in hold.parts if org.lots[part[0]].ended(time)]
        replaced = sum(amount for _, amount in ended)
        had = sum(amount for _, amount in hold.parts)
        until = max(hold.expires_at, time + duration("expires_in", command.expires_in))
        least, most, billed = quoted_anew(org, hold, until)
        if least > MOST:
            raise Wrong("MoneyOverflow")
        more = 0 if command.add is None else command.add.nanos
        least, most = more + max(0, least - had), more + max(0, most - had)
        more = least
        if isinstance(seen, Held) and had + least <= seen.amount <= had + most:
            more = seen.amount - had
        # What is held for a usage is used at no time before the hold was made.
        at = own if hold.usage is None else max(own, hold.made)
        wish = Wish(
            hold.member, hold.project, hold.resource, at, time, billed, until, hold.announced
        )  # fmt: skip
        if isinstance(seen, Refusal):
            more = self._refused(org, wish, least, most, seen, replaced)
        check(org, wish, more, replaced)
        kept = [part for part in hold.parts if part not in ended]
        parts = kept + org.take(replaced + more, hold.resource, time, at)
        hold.parts = sorted(parts, key=lambda part: org.lots[part[0]].order())
        org.expire({lot for lot, _ in ended}, time)
        hold.expires_at = until
        if hold.usage is not None:
            past = [each for each in hold.announced if each[0] < month_start(org.anchor, at)]
            hold.announced = past + announced(org, wish)
        amount = sum(amount for _, amount in hold.parts)
        return self._success(
            org, command, time, "Extended", amount, amount=amount, expires_at=hold.expires_at
        )

    def _release(self, org: Facts, command: Release, own: int, time: int) -> Answer:
        org.lapse(time)
        hold = self._known_hold(org, command.hold)
        freed = 0
        if hold.state == "open":
            freed = org.end_hold(hold, "released", time)
            org.repay(time)
        return self._success(org, command, time, "Released", freed, freed=freed)

    # -- charges ----------------------------------------------------------------

    def _settle(self, org: Facts, command: Settle, own: int, time: int) -> Answer:
        usage = command.usage
        occurred = own if command.occurred_at is None else micros("time", command.occurred_at)
        bill = self._bill(org, usage, occurred)
        org.lapse(time)
        hold = None if command.hold is None else org.holds.get(command.hold)
        if hold is not None and hold.state == "settled":
            raise Wrong("Conflict")
        left = bill.amount
        opened = hold is not None and hold.state == "open"
        ends = opened and command.final
        part = command.part if command.part is not None else not command.final and opened
        if hold is not None and hold.state == "open":
            hold.charges.append(org.seq)
            left = self._capture(org, hold, left, usage.resource)
            if ends:
                org.end_hold(hold, "settled", time)
        return self._charge(
            org, command, time, usage, occurred, bill, left, free=ends, counted=part
        )

    @staticmethod
    def _capture(org: Facts, hold: HoldFact, amount: int, resource: str) -> int:
        parts, hold.parts = hold.parts, []
        for lot, part in parts:
            paid = min(part, amount) if org.lots[lot].covers(resource) else 0
            org.move(f"lot:{lot}", "revenue", paid, "capture", org.seq)
            amount -= paid
            if part > paid:
                hold.parts.append((lot, part - paid))
        return amount

    def _bill(
        self, org: Facts, usage: Usage, occurred: int, late: PriceUnpriced | None = None
    ) -> Bill:
        if late is None:
            known = prices(org, usage, occurred)
        else:
            which = named if late.override else could_have
            known = which(org, late.version, org.charges[late.charge], usage)
        pieces = self.tariff.pieces(org.uses, usage, known)
        if late is not None and any(piece.version is None for piece in pieces):
            raise Wrong("InvalidCommand")
        period = month_start(org.anchor, occurred)
        bill = self.tariff.bill(org.uses, pieces, usage.resource, period)
        if org.debt() + bill.amount > MOST:
            raise Wrong("MoneyOverflow")
        return bill

    def _charge(
        self,
        org: Facts,
        command: Settle | Deduct | PriceUnpriced,
        time: int,
        usage: Usage,
        occurred: int,
        bill: Bill,
        left: int,
        *,
        free: bool = False,
        counted: bool = False,
        priced: ChargeFact | None = None,
    ) -> Answer:
        """Record a charge, of which ``left`` is to be paid from what is available."""
        seq = org.seq
        if isinstance(command, PriceUnpriced):
            member = 0 if priced is None else priced.member
            project = None if priced is None else priced.project
        else:
            member, project = self._member(org, command), command.project
        period = month_start(org.anchor, occurred)
        if usage.item is not None:
            counted = any(
                (each.item, each.resource) == (usage.item, usage.resource)
                and each.requests
                and number not in org.undone
                for number, each in org.charges.items()
            )
        for piece, exact, amount in bill.pieces:
            reported = 0 if priced is not None else piece.raw
            place = (seq, occurred, member, usage.resource, usage.item, period)
            org.uses.append(Used(*place, piece, exact, amount, reported))
        unpriced = tuple((p.component, p.raw) for p, _, _ in bill.pieces if p.version is None)
        org.charges[seq] = ChargeFact(
            seq, usage.resource, bill.amount, occurred, member, project, usage.item, unpriced,
            requests=0 if priced or counted else 1,
            prices=0 if priced is None else priced.seq,
            facts=usage.facts,
        )  # fmt: skip
        alert(org, org.charges[seq], time)
        if bill.unpriced:
            org.tell("usage_unpriced", resource=usage.resource, components=bill.unpriced)
        for lot, part in org.take(left, usage.resource, time, occurred):
            org.move(f"lot:{lot}", "revenue", part, "charge", seq)
            left -= part
        org.move(f"debt:{seq}", "revenue", left, "debt", seq)
        if free:
            org.repay(time)
        moved = {
            kind: sum(m.amount for m in org.moves if m.seq == seq and m.kind == kind)
            for kind in ("capture", "charge")
        }
        return self._success(
            org, command, time, "Charged", bill.amount,
            amount=bill.amount, captured=moved["capture"], paid=moved["charge"], unpaid=left,
            lines=amounts(
                (p.component, p.payer, p.version, 0 if priced else p.raw, p.billed, amount)
                for p, _, amount in bill.pieces
            ),
            unpriced=sorted(bill.unpriced),
        )  # fmt: skip

    def _deduct(self, org: Facts, command: Deduct, own: int, time: int) -> Answer:
        cost = command.cost
        occurred = own if command.occurred_at is None else micros("time", command.occurred_at)
        if isinstance(cost, Usage):
            known = prices(org, cost, occurred)
            pieces = self.tariff.pieces(org.uses, cost, known)
            if any(piece.version is None for piece in pieces):
                raise Wrong("UnknownPrice")
            usage, bill = cost, self._bill(org, cost, occurred)
        else:
            usage = Usage(str(command.resource), ())
            fixed = Piece("fixed", "platform", 1, 1, "")
            bill = Bill(((fixed, Fraction(cost.nanos), cost.nanos),))
            if org.debt() + cost.nanos > MOST:
                raise Wrong("MoneyOverflow")
        org.lapse(time)
        number = self._number(org, command.member)
        counts = billed_of(piece for piece, _, _ in bill.pieces)
        check(
            org,
            Wish(number, command.project, usage.resource, occurred, time, counts),
            bill.amount,
        )
        return self._charge(org, command, time, usage, occurred, bill, bill.amount)

    def _price(self, org: Facts, command: PriceUnpriced, own: int, time: int) -> Answer:
        subject = org.charges.get(command.charge)
        if subject is None:
            raise Wrong("NotFound")
        if subject.priced or not subject.unpriced or subject.seq in org.undone:
            raise Wrong("Conflict")
        if command.version not in self.versions():
            raise Wrong("NotFound")
        parts = tuple((name, quantity, "platform") for name, quantity in subject.unpriced)
        usage = Usage(subject.resource, cast(Any, parts), subject.item, subject.facts)
        bill = self._bill(org, usage, subject.occurred, command)
        org.lapse(time)
        subject.priced = True
        return self._charge(
            org, command, time, usage, subject.occurred, bill, bill.amount, priced=subject
        )

    def _reverse(self, org: Facts, command: Reverse, own: int, time: int) -> Answer:
        expires = None if command.expires_at is None else micros("time", command.expires_at)
        if expires is not None and expires <= time:
            raise Wrong("InvalidCommand")
        charge = org.charges.get(command.charge)
        if charge is None:
            raise Wrong("NotFound")
        if command.undo_usage:
            return self._undo(org, command, charge, time, expires)
        org.lapse(time)
        left = charge.amount - org.reversed(charge.seq)
        amount = left if command.amount is None else command.amount.nanos
        if amount > left or left == 0:
            raise No(no("over_reversal", amount - left, "charge"))
        forgiven = self._give_back(org, charge, amount, time, expires)
        expired = sum(m.amount for m in org.moves if m.seq == org.seq and m.kind == "expiry")
        org.repay(time)
        return self._success(
            org, command, time, "Reversed", amount,
            amount=amount, forgiven=forgiven, refilled=amount - forgiven, expired=expired,
        )  # fmt: skip

    def _undo(
        self, org: Facts, command: Reverse, charge: ChargeFact, time: int, expires: int | None
    ) -> Answer:
        """Rule 6.6: what did not happen leaves all that counts it; what the rest costs less
        comes back, of this charge and then of the latest ones counted with it."""
        if charge.seq in org.undone or charge.prices:
            raise Wrong("Conflict")
        org.lapse(time)
        later = [c for c in org.charges.values() if charge.priced and c.prices == charge.seq]
        own = [charge, *later]
        numbers = [each.seq for each in own]
        gone = [
            use
            for number in numbers
            for use in org.uses
            if use.seq == number and not (later and use.piece.version is None)
        ]
        pieces, elsewhere = undone(org.uses, gone)
        period = month_start(org.anchor, charge.occurred)
        before = sum(
            amount for seq, of, amount in org.reversals
            if of in numbers and seq not in org.shifted
        )  # fmt: skip
        names = {use.piece.component for use in gone if use.piece.price is not None}
        takes = [*own, *self._counted_with(org, charge.resource, period, names, numbers)]
        most = sum(each.amount - org.reversed(each.seq) for each in takes)
        fixed = sum(use.amount for use in gone if use.piece.price is None)
        bill = self.tariff.bill(org.uses, pieces, charge.resource, period, -(most + before - fixed))
        less = fixed - bill.amount
        back = max(0, less - before)
        beyond = self._elsewhere(org, charge, elsewhere)
        more = sum(max(0, -each.amount) for _, each, _ in beyond)
        if org.credit() + back + more > MOST:  # before anything is changed
            raise Wrong("MoneyOverflow")
        seq = org.seq
        for piece, exact, amount in bill.pieces:
            place = (seq, charge.occurred, charge.member, charge.resource, charge.item, period)
            given = -fixed if piece.price is None else amount
            org.uses.append(Used(*place, piece, exact, given, piece.raw))
        org.undone[charge.seq] = seq, less
        org.post(f"undone:{charge.seq}", time, 0)
        sums = {"forgiveness": 0, "expiry": 0}
        rest = back - min(back, charge.amount - org.reversed(charge.seq))
        first = back - rest
        for start, there, givers in beyond:
            at = max(start, min(time, month_end(org.anchor, start) - 1))
            for piece, exact, amount in there.pieces:
                place = (org.seq, at, charge.member, charge.resource, charge.item, start)
                org.uses.append(Used(*place, piece, exact, amount, 0))
            org.undone_elsewhere.append((org.seq, at, charge.seq))
            org.post(f"undone:{charge.seq}:period:{start}", time, 0)
            self._take_of(org, charge, givers, -there.amount, time, expires, sums)
        self._take_of(org, charge, takes[1:], rest, time, expires, sums)
        back += more
        if first:
            self._give_back(org, charge, first, time, expires)
        for kind in sums:
            sums[kind] += sum(m.amount for m in org.moves if m.seq == org.seq and m.kind == kind)
        org.repay(time)
        forgiven = sums["forgiveness"]
        return self._success(
            org, command, time, "Reversed", first, amount=back, forgiven=forgiven,
            refilled=back - forgiven, expired=sums["expiry"],
        )  # fmt: skip

    def _elsewhere(
        self, org: Facts, charge: ChargeFact, elsewhere: dict[int, list[Piece]]
    ) -> list[tuple[int, Bill, list[ChargeFact]]]:
        """What an item cost in other periods and costs no more, with who gives it back there."""
        found: list[tuple[int, Bill, list[ChargeFact]]] = []
        for start, pieces in sorted(elsewhere.items(), reverse=True):
            names = {piece.component for piece in pieces}
            givers = self._counted_with(org, charge.resource, start, names, [])
            most = sum(each.amount - org.reversed(each.seq) for each in givers)
            bill = self.tariff.bill(org.uses, pieces, charge.resource, start, -most)
            found.append((start, bill, givers))
        return found

    def _take_of(
        self, org: Facts, undone: ChargeFact, givers: list[ChargeFact], amount: int, time: int,
        expires: int | None, sums: dict[str, int],
    ) -> None:  # fmt: skip
        """So much comes back of other charges in turn; ``sums``: by what became of it."""
        for each in givers:
            part = min(amount, each.amount - org.reversed(each.seq))
            amount -= part
            if part > 0:
                org.shifted.add(org.seq)
                self._give_back(org, each, part, time, expires)
                for kind in sums:
                    sums[kind] += sum(
                        m.amount for m in org.moves if m.seq == org.seq and m.kind == kind
                    )
                org.post(f"undone:{undone.seq}:{each.seq}", time, part)

    @staticmethod
    def _counted_with(
        org: Facts, resource: str, period: int, names: set[str], but: list[int]
    ) -> list[ChargeFact]:
        """The latest charges that count these components in a period, latest first."""
        return [
            each
            for each in reversed(org.charges.values())
            if each.seq not in but and each.resource == resource and each.amount
            and any(
                use.seq == each.seq and use.amount and use.period == period
                and use.piece.price is not None and use.piece.component in names
                for use in org.uses
            )
        ]  # fmt: skip

    @staticmethod
    def _give_back(
        org: Facts, charge: ChargeFact, amount: int, time: int, expires: int | None
    ) -> int:
        """To debt first, then to those that paid, last first; what went to debt."""
        forgiven = min(amount, org.unpaid(charge.seq))
        if org.credit() + amount - forgiven > MOST:
            raise Wrong("MoneyOverflow")
        org.move("revenue", f"debt:{charge.seq}", forgiven, "forgiveness", charge.seq)
        rest = amount - forgiven
        for number, paid in reversed(org.payers(charge.seq)):
            part = min(paid, rest)
            rest -= part
            lot = org.lots[number]
            if part and expires is not None and lot.ended(time):
                lot = attrs.evolve(lot, number=len(org.lots) + 1, expires_at=expires, period=None)
                org.lots[lot.number] = lot
            org.move("revenue", f"lot:{lot.number}", part, "refill", charge.seq)
            org.expire([lot.number], time)
        org.reversals.append((org.seq, charge.seq, amount))
        return forgiven

    def _restore(self, org: Facts, command: UndoExpiry, own: int, time: int) -> Answer:
        expires = None if command.expires_at is None else micros("time", command.expires_at)
        if expires is not None and expires <= time:
            raise Wrong("InvalidCommand")
        expired: dict[int, int] = {}
        for move in org.moves:
            if move.seq == command.expiry and move.kind == "expiry":
                lot = int(move.debit[4:])
                expired[lot] = expired.get(lot, 0) + move.amount
        if not expired:
            raise Wrong("NotFound")
        org.lapse(time)
        lots = []
        for lot, amount in sorted(expired.items()):
            number = len(org.lots) + 1
            restored = attrs.evolve(org.lots[lot], number=number, expires_at=expires, period=None)
            org.lots[number] = restored
            org.move("expired", f"lot:{number}", amount, "restoration")
            lots.append(number)
        org.repay(time)
        amount = sum(expired.values())
        repaid = sum(m.amount for m in org.moves if m.seq == org.seq and m.kind == "repayment")
        return self._success(
            org, command, time, "Restored", amount,
            amount=amount, lots=tuple(lots), repaid=repaid,
        )  # fmt: skip

    def _close(self, org: Facts, command: Close, own: int, time: int) -> Answer:
        org.lapse(time)
        for _, hold in sorted(org.holds.items()):
            if hold.state == "open":
                org.end_hold(hold, "released", time)
        org.repay(time)
        target = "refunds" if command.remainder == "refund" else "write_off"
        amount = 0
        for lot in org.live(time):
            left = org.remainder(lot.number)
            org.move(f"lot:{lot.number}", target, left, command.remainder)
            amount += left
        org.closed, org.dealt = True, None
        org.plans.append((time, None))
        return self._success(org, command, time, "Closed", amount, amount=amount)
