"""Re-derive an org's state from its journal.  Pure.

:class:`Audit` reads the entries in order.  It does not decide again: it follows what
each entry says, checks the hash chain and the arithmetic of every price, and keeps
its own lots, holds, counters, items, charges and rollups.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from billing_core.audit_tables import Checkpoint, Discrepancy, Tables, documents
from billing_core.audit_time import FOLLOW_TIME, priced_late, stored
from billing_core.audit_usage import GIVES_BACK, check_elsewhere, check_undone, follow_usage, used
from billing_core.catalogue import Catalogue
from billing_core.journal import TOLD, chained
from billing_core.ledger import CHARGES
from billing_core.limits import had_begun, subjects
from billing_core.records import (
    UNCOUNTED,
    Account,
    Charge,
    Counter,
    Entry,
    Hold,
    HoldUse,
    Item,
    LimitSet,
    Lot,
    Spend,
    Subscription,
    Transfer,
    UsageRecord,
)
from billing_core.times import DAY, billing_period
from billing_core.topup_audit import follow_topup

__all__ = ["Audit"]


class Audit:
    """An org's state as its journal tells it."""

    def __init__(self, org: str, catalogue: Catalogue) -> None:
        self.org = org
        self.catalogue = catalogue
        self.tables = Tables()
        self.followed = 0  # entries, by this audit
        self.found: list[Discrepancy] = []
        self.posted = 0  # of a run or workspace, since its last command
        self.undone: int | None = None  # still to be given back of usage that was undone
        self.stored: dict[str, int] = {}  # byte-microseconds posted, by workspace

    @classmethod
    def resume(cls, checkpoint: Checkpoint, catalogue: Catalogue) -> Audit:
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

    @property
    def account(self) -> Account | None:
        return self.tables.account

    def note(self, where: str, what: str) -> None:
        """Report a discrepancy."""
        self.found.append(Discrepancy(self.org, where, what))

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
            change += transfer.amount * transfer.credit.startswith(("lot:", "debt:"))
            change -= transfer.amount * transfer.debit.startswith(("lot:", "debt:"))
        # A repayment moves between the two sides of the balance and so cancels out.
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
            lot = self.tables.lots[int(transfer.debit[4:])]
            if lot.expires_at is not None and lot.expires_at <= at:
                self.note(where, f"lot {lot.lot} pays after its end")

    def _account(self) -> Account:
        assert self.account is not None
        return self.account

    def _move(self, transfer: Transfer, where: str) -> None:
        account = self._account()
        debit, credit, amount, _ = transfer
        if amount <= 0:
            self.note(where, f"a transfer of {amount}")
        if debit.startswith("lot:"):
            lot = self.tables.lots[int(debit[4:])]
            lot.remainder -= amount
            if lot.remainder < 0:
                self.note(where, f"lot {lot.lot} pays {-lot.remainder} more than it has")
        if credit.startswith("lot:"):
            self.tables.lots[int(credit[4:])].remainder += amount
        if debit.startswith("debt:"):
            account.debt += amount
        if credit.startswith("debt:"):
            account.debt -= amount
            self.tables.charges[int(credit[5:])].unpaid -= amount
        if transfer.kind == "repayment":
            story = self.tables.charges[int(credit[5:])]
            story.payments.append([int(debit[4:]), amount])

    def _after_moves(self, entry: Entry) -> None:
        """What an entry says of reservations must leave no lot over-reserved."""
        for lot in self._lots_of(entry):
            if not 0 <= lot.reserved <= lot.remainder:
                self.note(
                    f"entry {entry.seq}",
                    f"lot {lot.lot} has {lot.reserved} reserved of {lot.remainder}",
                )

    def _lots_of(self, entry: Entry) -> Iterable[Lot]:
        names = {t.debit for t in entry.transfers} | {t.credit for t in entry.transfers}
        return [self.tables.lots[int(name[4:])] for name in names if name.startswith("lot:")]

    # -- what each operation says -----------------------------------------------

    def _grant(self, entry: Entry, content: Any, effects: Any) -> None:
        scope = content.get("scope")
        lot = Lot(
            effects["lot"], entry.seq, content["kind"], content["priority"], content["amount"],
            0, 0, content.get("expires_at"), None if scope is None else tuple(scope),
        )  # fmt: skip
        self._add_lot(lot)
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
        self._add_lot(lot)
        return amount

    def _add_lot(self, lot: Lot) -> None:
        account = self._account()
        account.lots += 1
        if lot.lot != account.lots or lot.lot in self.tables.lots:
            self.note(f"entry {lot.seq}", f"lot {lot.lot} out of order")
        self.tables.lots[lot.lot] = lot

    def _hold(self, entry: Entry, content: Any, effects: Any) -> None:
        key = entry.key.partition(":")[2]
        hold = Hold(
            key, effects["resource"], effects["expires_at"], "open", [], [],
            content.get("member") or 0, content.get("project"),
        )  # fmt: skip
        self.tables.holds[key] = hold
        self.reserve(hold, effects["parts"])
        self.announce(hold, effects.get("counted", []))

    def reserve(self, hold: Hold, parts: list[list[int]]) -> None:
        before = sum(amount for _, amount in hold.parts)
        for lot, amount in hold.parts:
            self.tables.lots[lot].reserved -= amount
        hold.parts = [list(part) for part in parts]
        for lot, amount in hold.parts:
            self.tables.lots[lot].reserved += amount
        self._held(hold, sum(amount for _, amount in hold.parts) - before)

    def announce(self, hold: Hold, counted: list[list[Any]]) -> None:
        """What an open hold may use, in place of what it announced before."""
        resource = hold.resource or ""
        for start, part, quantity in hold.counted:
            self.part(resource, start, part)[3] -= quantity
        hold.counted = [(start, part, quantity) for start, part, quantity in counted]
        for start, part, quantity in hold.counted:
            self.part(resource, start, part)[3] += quantity

    def end(self, hold: Hold, state: str) -> None:
        self.reserve(hold, [])
        hold.state = state
        self.announce(hold, [])
        self.tables.ended.add(self.tables.holds.pop(hold.key))

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

    def _held(self, hold: Hold, more: int) -> None:
        if more and self._account().limited_since is not None:
            for subject in subjects(hold.member, hold.project):
                self._spent(subject, "held", 0, more)

    def _spent(self, subject: str, grain: str, start: int, more: int) -> None:
        key = (subject, grain, start)
        self.tables.spends.setdefault(key, Spend(*key, 0)).amount += more

    def count(self, usage: UsageRecord, amount: int) -> None:
        account, at = self._account(), usage.occurred_at
        if not amount or account.limited_since is None:
            return
        for subject in subjects(usage.member, usage.project):
            self._spent(subject, "day", at - at % DAY, amount)
            self._spent(subject, "period", billing_period(account.anchor, at).start, amount)

    def spends(self) -> dict[tuple[str, str, int], Spend]:
        """What counts towards limits.  A window that had begun before it was added up has
        what its rollup cells say; they do not know projects."""
        account = self._account()
        sums: dict[tuple[str, str, int], int] = {}
        for key, cell in self.tables.cells.items():
            for subject in ("org", f"member:{key.member}"):
                at = (subject, key.grain, key.start)
                sums[at] = sums.get(at, 0) + cell.amount
        return {
            key: Spend(*key, sums.get(key, 0))
            if key[1] != "held" and key in sums and had_begun(account, key[2])
            else spend
            for key, spend in self.tables.spends.items()
        }

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

    def _use(self, hold: Hold, entry: Entry, *, more: bool) -> None:
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

    def capture(self, hold: Hold, entry: Entry, ended: bool) -> None:
        for transfer in entry.transfers:
            if transfer.kind != "capture":
                continue
            number, left = int(transfer.debit[4:]), transfer.amount
            for part in hold.parts:
                if part[0] == number:
                    taken = min(part[1], left)
                    part[1] -= taken
                    left -= taken
                    self.tables.lots[number].reserved -= taken
            if left:
                self.note(f"entry {entry.seq}", f"captures {left} more than hold {hold.key} has")
        hold.parts = [part for part in hold.parts if part[1]]
        captured = sum(t.amount for t in entry.transfers if t.kind == "capture")
        self._held(hold, -captured)
        if ended:
            self.end(hold, "settled")

    def _story(self, number: int, entry: Entry | None) -> Charge:
        story = self.tables.charges.get(number)
        if story is None:
            known = entry if entry is not None else self.subject(number)
            resource = used(known).resource
            payments = [
                [int(t.debit[4:]), t.amount]
                for t in known.transfers
                if t.kind in ("capture", "charge")
            ]
            anchor = self._account().anchor
            period = billing_period(anchor, used(known).occurred_at).start
            story = Charge(number, resource, known.amount, 0, 0, payments, period)
            self.tables.charges[number] = story
        return story

    subject: Callable[[int], Entry]
    """Gives an earlier entry by number; set by whoever runs the audit."""

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
            amount = sum(t.amount for t in entry.transfers if t.credit == f"lot:{lot}")
            renamed[lot] = old
            made = Lot(
                lot, entry.seq, former.kind, former.priority, amount, 0, 0,
                content.get("expires_at"), former.scope,
            )  # fmt: skip
            self._add_lot(made)
        for transfer in entry.transfers:
            if transfer.kind == "refill":
                lot = int(transfer.credit[4:])
                payment = story.payments[-1]
                if payment[0] != renamed.get(lot, lot):
                    self.note(f"entry {entry.seq}", f"refills lot {lot}, which did not pay last")
                payment[1] -= transfer.amount
                if not payment[1]:
                    story.payments.pop()

    def _restore(self, entry: Entry, content: Any, effects: Any) -> None:
        """What an expiry took comes back whole, and once: the key says which one."""
        where = f"entry {entry.seq}"
        if entry.key != f"restore:{content['expiry']}":
            self.note(where, f"{entry.key} undoes expiry {content['expiry']}")
        due: dict[int, int] = {}
        for transfer in self.subject(content["expiry"]).transfers:
            if transfer.credit == "expired":
                lot = int(transfer.debit[4:])
                due[lot] = due.get(lot, 0) + transfer.amount
        if entry.amount != sum(due.values()):
            self.note(where, f"amount {entry.amount}; what expired was {sum(due.values())}")
        for lot, old in effects["lots"]:
            former = self.tables.lots[old]
            back = sum(t.amount for t in entry.transfers if t.credit == f"lot:{lot}")
            if back != due.pop(old, 0):
                self.note(where, f"lot {lot} has {back} back, which is not what lot {old} lost")
            made = Lot(
                lot, entry.seq, former.kind, former.priority, back, 0, 0,
                content.get("expires_at"), former.scope,
            )  # fmt: skip
            self._add_lot(made)
        if due:
            self.note(where, f"lots {sorted(due)} get nothing back")

    def _close(self, entry: Entry, content: Any, effects: Any) -> None:
        for key in effects["released"]:
            self.end(self.tables.holds[key], "released")
        self._account().closed_at = entry.at
        self._subscribe(entry, None)

    def part(self, resource: str, start: int, component: str) -> list[int]:
        counter = self.tables.counters.setdefault((resource, start), Counter(resource, start))
        return counter.components.setdefault(component, [0, 0, 1, 0])


_FOLLOW: dict[str, Callable[[Audit, Entry, Any, Any], None]] = {
    "grant": Audit._grant,
    "hold": Audit._hold,
    "extend": Audit._extend,
    "release": Audit._release,
    "lapse": Audit._lapse,
    "ahead": Audit._ahead,
    "settle": Audit._charge,
    "deduct": Audit._charge,
    "price": Audit._charge,
    "reverse": Audit._reverse,
    "restore": Audit._restore,
    "undone": Audit._undone,
    "plan": Audit._plan,
    "limit": Audit._limit,
    "terms": Audit._terms,
    "low_balance": Audit._low_balance,
    "close": Audit._close,
    **FOLLOW_TIME,
    **dict.fromkeys(
        ("topup", "auto_topup", "refund", "auto", "call", "method", "credit", "payment"),
        follow_topup,
    ),
}
