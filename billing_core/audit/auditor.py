"""Re-derive an org's state from its journal.  Pure.

:class:`Auditor` reads the entries in order.  It does not decide again: it follows what
each entry says, checks the hash chain and the arithmetic of every price, and keeps
its own lots, holds, counters, items, charges and rollups.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from billing_core.audit.runs import FOLLOW_TIME, priced_late, stored
from billing_core.audit.state import Audit, Checkpoint, Tables, documents
from billing_core.audit.topups import follow_topup
from billing_core.audit.usage import (
    GIVES_BACK,
    check_elsewhere,
    check_undone,
    follow_usage,
    used,
)
from billing_core.ledger.hash_chain import TOLD, chained
from billing_core.ledger.ledger import CHARGES
from billing_core.pricing.catalogue import Catalogue
from billing_core.records.ledger import (
    Account,
    Charge,
    Draw,
    Entry,
    HoldRecord,
    HoldUse,
    LimitSet,
    Lot,
    Subscription,
    Transfer,
    paid_by,
)
from billing_core.records.usage import UNCOUNTED, Item
from billing_core.values.times import billing_period

__all__ = ["Auditor"]


class Auditor(Audit):
    """Follows an org's entries, one by one."""

    @classmethod
    def resume(cls, checkpoint: Checkpoint, catalogue: Catalogue) -> Auditor:
        """Go on from a checkpoint."""
        audit = cls(checkpoint.org, catalogue)
        audit.tables = Tables.from_json(checkpoint.state)
        audit.stored = stored(audit.tables.sizes, audit.tables.storages)
        return audit

    def checkpoint(self) -> Checkpoint:
        """The state now."""
        account = self._account()
        self.tables.published = documents(self.catalogue)
        return Checkpoint(self.org, account.seq, account.head.hex(), self.tables.to_json())

    # -- following --------------------------------------------------------------

    def follow(self, entry: Entry) -> None:
        """Apply the next entry, noting what does not fit."""
        where = f"entry {entry.seq}"
        self.followed += 1
        if self.account is None and entry.op != "open":
            if self.followed == 1:
                self.note("entry 1", f"missing: nothing follows from entry {entry.seq} on")
            return
        try:
            self._follow(entry, where)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            # A tampered row can be of any shape; what it breaks is itself the finding.
            self.note(where, f"cannot be followed: {type(error).__name__}: {error}")

    def _follow(self, entry: Entry, where: str) -> None:
        account = self.account
        if account is None:
            account = self._open(entry)
        if entry.seq != account.seq + 1:
            missing = f"entry {account.seq + 1} is missing: {entry.seq} follows {account.seq}"
            self.note(where, missing)
        if chained(account.head, entry) != entry.hash:
            self.note(where, "its hash does not match its content and the entry before it")
        if entry.at < account.watermark:
            self.note(where, "it was decided before the entry before it")
        if entry.recorded_at < account.recorded_at:
            self.note(where, "it was recorded before the entry before it")
        account.seq = entry.seq
        account.head = entry.hash
        account.watermark = max(account.watermark, entry.at)
        account.recorded_at = max(account.recorded_at, entry.recorded_at)
        content = json.loads(entry.content)
        effects = json.loads(entry.effects)
        if TOLD in effects:
            self.tables.events.tell(entry.seq, effects[TOLD])
        if entry.usage is not None:
            follow_usage(self, entry, entry.usage, content, effects, where)
        account.members = max(account.members, content.get("member") or 0)
        before = account.balance
        if entry.op in _FOLLOW:
            _FOLLOW[entry.op](self, entry, content, effects)
        self._check_sums(entry, before, where)

    def _open(self, entry: Entry) -> Account:
        content, effects = json.loads(entry.content), json.loads(entry.effects)
        account = self.tables.account = Account(
            self.org,
            content["currency"],
            content["livemode"],
            effects["anchor"],
            effects["opened_at"],
        )
        return account

    def _check_sums(self, entry: Entry, before: int, where: str) -> None:
        account = self._account()
        change = 0
        for transfer in entry.transfers:
            self._move(transfer, where)
            self._check_alive(transfer, entry.at, where)
            if transfer.debit == "expired" and entry.op != "restore":
                self.note(where, "what has expired comes back")
            change += transfer.change
        account.balance = before + change
        if account.balance != entry.balance:
            self.note(where, f"balance {entry.balance}; its transfers lead to {account.balance}")
        charged = sum(t.amount for t in entry.transfers if t.credit == "revenue")
        given = sum(t.amount for t in entry.transfers if t.debit == "revenue")
        if entry.op in CHARGES:
            account.used += entry.amount
            if charged != entry.amount:
                self.note(where, f"amount {entry.amount}; its transfers charge {charged}")
        elif entry.op in GIVES_BACK:
            account.used -= entry.amount
            if given != entry.amount:
                self.note(where, f"amount {entry.amount}; its transfers give back {given}")
        self._after_moves(entry)

    def _check_alive(self, transfer: Transfer, at: int, where: str) -> None:
        """What a lot has left after its end is its holds' alone."""
        if transfer.kind in ("charge", "repayment"):
            lot = self.tables.lots[transfer.from_lot]
            if lot.expires_at is not None and lot.expires_at <= at:
                self.note(where, f"lot {lot.lot} pays after its end")

    def _move(self, transfer: Transfer, where: str) -> None:
        account = self._account()
        debit, credit, amount, _ = transfer
        if amount <= 0:
            self.note(where, f"a transfer of {amount}")
        payer, gainer = transfer.from_lot, transfer.into_lot
        if payer:
            lot = self.tables.lots[payer]
            lot.remainder -= amount
            if lot.remainder < 0:
                self.note(where, f"lot {lot.lot} pays {-lot.remainder} more than it has")
        if gainer:
            self.tables.lots[gainer].remainder += amount
        if debit.startswith("debt:"):
            account.debt += amount
        if credit.startswith("debt:"):
            account.debt -= amount
            self.tables.charges[int(credit[5:])].unpaid -= amount
        if transfer.kind == "repayment":
            story = self.tables.charges[int(credit[5:])]
            story.payments.append(Draw(payer, amount))

    def _after_moves(self, entry: Entry) -> None:
        """What an entry says of reservations must leave no lot over-reserved."""
        for lot in self._lots_of(entry):
            if not 0 <= lot.reserved <= lot.remainder:
                self.note(
                    f"entry {entry.seq}",
                    f"lot {lot.lot} has {lot.reserved} reserved of {lot.remainder}",
                )

    def _lots_of(self, entry: Entry) -> Iterable[Lot]:
        found = {t.from_lot for t in entry.transfers} | {t.into_lot for t in entry.transfers}
        return [self.tables.lots[lot] for lot in found if lot]

    # -- what each operation says -----------------------------------------------

    def _grant(self, entry: Entry, content: Any, effects: Any) -> None:
        scope = content.get("scope")
        lot = Lot(
            effects["lot"], entry.seq, content["kind"], content["priority"], content["amount"],
            0, 0, content.get("expires_at"), None if scope is None else tuple(scope),
        )  # fmt: skip
        self.add_lot(lot)
        self._account().granted += entry.amount

    def _allowance(self, entry: Entry, effects: Any) -> int:
        """An allowance, or what is rolled over of one, as a new lot; its amount."""
        if "lot" not in effects:
            return 0
        amount: int = effects["amount"]
        lot = Lot(
            effects["lot"], entry.seq, "allowance", 0, amount, 0, 0, effects["expires_at"], None,
            effects["period"],
        )  # fmt: skip
        self.add_lot(lot)
        return amount

    def _hold(self, entry: Entry, content: Any, effects: Any) -> None:
        key = entry.key.partition(":")[2]
        hold = HoldRecord(
            key, effects["resource"], effects["expires_at"], "open", [], [],
            content.get("member") or 0, content.get("project"),
        )  # fmt: skip
        self.tables.holds[key] = hold
        self.reserve(hold, effects["parts"])
        self.announce(hold, effects.get("counted", []))

    def _extend(self, entry: Entry, content: Any, effects: Any) -> None:
        hold = self.tables.holds[content["hold"]]
        self.reserve(hold, effects["parts"])
        hold.expires_at = effects["expires_at"]
        if "counted" in effects:
            self.announce(hold, effects["counted"])

    def _release(self, entry: Entry, content: Any, effects: Any) -> None:
        hold = self.tables.holds.get(content["hold"])
        if hold is not None:  # else it had ended before
            self.end(hold, "released")

    def _lapse(self, entry: Entry, content: Any, effects: Any) -> None:
        account = self._account()
        if "hold" in content:
            self.end(self.tables.holds[content["hold"]], "lapsed")
        elif "period" in content:
            self._begin_period(content["period"])
            self._granted(self._allowance(entry, effects))
        elif "ahead" in content:
            account.ahead -= entry.amount
        elif rolled := self._allowance(entry, effects):
            period = self.tables.lots[content["lot"]].period
            before = account.rolled if account.rolled_of == period else 0
            account.rolled, account.rolled_of = before + rolled, period

    def _plan(self, entry: Entry, content: Any, effects: Any) -> None:
        account = self._account()
        self._limited(entry)
        self._subscribe(entry, content.get("plan"))
        account.paused = content["paused"]
        start = billing_period(account.anchor, entry.at).start
        if account.period != start:
            self._begin_period(start)
        self._granted(self._allowance(entry, effects))

    def _begin_period(self, start: int) -> None:
        account = self._account()
        follows = billing_period(account.anchor, start - 1).start == account.period
        account.allowance = account.ahead if follows else 0
        account.period, account.ahead = start, 0

    def _granted(self, amount: int) -> None:
        account = self._account()
        account.allowance += amount
        account.granted += amount

    def _ahead(self, entry: Entry, content: Any, effects: Any) -> None:
        account = self._account()
        account.ahead += self._allowance(entry, effects)
        account.granted += entry.amount

    def _terms(self, entry: Entry, content: Any, effects: Any) -> None:
        """A new version of the plan tells what it found passed."""
        name = self._account().plan
        plan = None if name is None else self.catalogue.plan(name, entry.at)
        if plan is None or plan.version != content["plan"] or entry.transfers:
            self.note(f"entry {entry.seq}", f"{content['plan']} is not the plan in force")

    def _subscribe(self, entry: Entry, plan: str | None) -> None:
        account = self._account()
        if plan is None and account.plan is None:
            return
        account.plan, account.plan_since, account.paused = plan, entry.at, False
        self.tables.subscriptions[entry.seq] = Subscription(entry.seq, entry.at, plan)

    def _limit(self, entry: Entry, content: Any, effects: Any) -> None:
        self._limited(entry)
        limit = LimitSet(
            content["subject"], content["per"], content.get("amount"), tuple(content["alerts"]),
            content["blocks"],
        )  # fmt: skip
        self.tables.limits[limit.subject, limit.per] = limit

    def _low_balance(self, entry: Entry, content: Any, effects: Any) -> None:
        self._account().low_balance = content.get("amount")

    # -- what counts towards limits ---------------------------------------------

    def _limited(self, entry: Entry) -> None:
        account = self._account()
        if account.limited_since is None:
            account.limited_since = max(entry.at, entry.recorded_at)
            for hold in self.tables.holds.values():
                self._held(hold, sum(amount for _, amount in hold.parts))

    def _charge(self, entry: Entry, content: Any, effects: Any) -> None:
        if "ended" in effects:
            hold = self.tables.holds[content["hold"]]
            self._use(hold, entry, more=not effects["ended"])
            self.capture(hold, entry, effects["ended"])
        usage = used(entry)
        if usage.requests and usage.item is not None:
            begun = self.tables.items.get((usage.item, usage.resource))
            if begun is not None:
                begun.components.pop(UNCOUNTED, None)
        if effects.get("item"):
            key = (usage.item or "", usage.resource)
            if key in self.tables.items:
                self.note(f"entry {entry.seq}", f"item {key[0]} is on record before it")
            self.tables.items.setdefault(key, Item(*key))
        unpaid = sum(t.amount for t in entry.transfers if t.kind == "debt")
        if "story" in effects:
            priced_late(self, entry, content, effects)
        elif unpaid:
            story = self._story(entry.seq, entry)
            # Repayments in this very entry are added as its transfers are followed.
            story.unpaid = unpaid
        if entry.op == "price":
            self.tables.charges[content["charge"]] = self._story(content["charge"], None)
            self.tables.charges[content["charge"]].priced = entry.seq

    def _use(self, hold: HoldRecord, entry: Entry, *, more: bool) -> None:
        """What a hold has come to by now, by the settlements that name it."""
        before = hold.used or HoldUse()
        sums = dict(before.quantities) if more else {}
        for line in used(entry).lines:
            if more and line.payer == "platform" and used(entry).resource == hold.resource:
                sums[line.component] = sums.get(line.component, 0) + line.quantity
        charges = [*before.charges, entry.seq]
        hold.used = HoldUse(
            before.settled + 1, before.amount + entry.amount, tuple(charges[-32:]),
            tuple((name, sums[name]) for name in sorted(sums)),
        )  # fmt: skip

    def _story(self, number: int, entry: Entry | None) -> Charge:
        story = self.tables.charges.get(number)
        if story is None:
            known = entry if entry is not None else self.subject(number)
            resource = used(known).resource
            payments = paid_by(known.transfers)
            anchor = self._account().anchor
            period = billing_period(anchor, used(known).occurred_at).start
            story = Charge(number, resource, known.amount, 0, 0, payments, period)
            self.tables.charges[number] = story
        return story

    def _undone(self, entry: Entry, content: Any, effects: Any) -> None:
        if "undone" in content:
            self.undone = (self.undone or 0) - entry.amount
            self._take_back(entry, content, effects)
        elif "period" in content:
            self.undone = (self.undone or 0) + check_elsewhere(self, entry, content)
        else:
            self.undone = check_undone(self, entry, content["charge"])

    def _reverse(self, entry: Entry, content: Any, effects: Any) -> None:
        if content.get("undo_usage") and entry.amount != self.undone:
            self.note(f"entry {entry.seq}", f"gives back {entry.amount}, not {self.undone}")
        self.undone = None
        self._take_back(entry, content, effects)

    def _take_back(self, entry: Entry, content: Any, effects: Any) -> None:
        story = self._story(content["charge"], None)
        if "undone" in content:  # it costs less now
            story.amount -= entry.amount
        else:
            story.reversed += entry.amount
        if story.reversed > story.amount:
            self.note(f"entry {entry.seq}", f"charge {story.charge} is reversed beyond its amount")
        renamed: dict[int, int] = {}
        for lot, old in effects.get("lots", []):
            former = self.tables.lots[old]
            amount = sum(t.amount for t in entry.transfers if t.into_lot == lot)
            renamed[lot] = old
            made = Lot(
                lot, entry.seq, former.kind, former.priority, amount, 0, 0,
                content.get("expires_at"), former.scope,
            )  # fmt: skip
            self.add_lot(made)
        for transfer in entry.transfers:
            if transfer.kind == "refill":
                lot, (payer, paid) = transfer.into_lot, story.payments.pop()
                if payer != renamed.get(lot, lot):
                    self.note(f"entry {entry.seq}", f"refills lot {lot}, which did not pay last")
                if paid != transfer.amount:
                    story.payments.append(Draw(payer, paid - transfer.amount))

    def _restore(self, entry: Entry, content: Any, effects: Any) -> None:
        """What an expiry took comes back whole, and once: the key says which one."""
        where = f"entry {entry.seq}"
        if entry.key != f"restore:{content['expiry']}":
            self.note(where, f"{entry.key} undoes expiry {content['expiry']}")
        due: dict[int, int] = {}
        for transfer in self.subject(content["expiry"]).transfers:
            if transfer.credit == "expired":
                lot = transfer.from_lot
                due[lot] = due.get(lot, 0) + transfer.amount
        if entry.amount != sum(due.values()):
            self.note(where, f"amount {entry.amount}; what expired was {sum(due.values())}")
        for lot, old in effects["lots"]:
            former = self.tables.lots[old]
            back = sum(t.amount for t in entry.transfers if t.into_lot == lot)
            if back != due.pop(old, 0):
                self.note(where, f"lot {lot} has {back} back, which is not what lot {old} lost")
            made = Lot(
                lot, entry.seq, former.kind, former.priority, back, 0, 0,
                content.get("expires_at"), former.scope,
            )  # fmt: skip
            self.add_lot(made)
        if due:
            self.note(where, f"lots {sorted(due)} get nothing back")

    def _close(self, entry: Entry, content: Any, effects: Any) -> None:
        for key in effects["released"]:
            self.end(self.tables.holds[key], "released")
        self._account().closed_at = entry.at
        self._subscribe(entry, None)


_FOLLOW: dict[str, Callable[[Auditor, Entry, Any, Any], None]] = {
    "grant": Auditor._grant,
    "hold": Auditor._hold,
    "extend": Auditor._extend,
    "release": Auditor._release,
    "lapse": Auditor._lapse,
    "ahead": Auditor._ahead,
    "settle": Auditor._charge,
    "deduct": Auditor._charge,
    "price": Auditor._charge,
    "reverse": Auditor._reverse,
    "restore": Auditor._restore,
    "undone": Auditor._undone,
    "plan": Auditor._plan,
    "limit": Auditor._limit,
    "terms": Auditor._terms,
    "low_balance": Auditor._low_balance,
    "close": Auditor._close,
    **FOLLOW_TIME,
    **dict.fromkeys(
        ("topup", "auto_topup", "refund", "auto", "call", "method", "credit", "payment"),
        follow_topup,
    ),
}
