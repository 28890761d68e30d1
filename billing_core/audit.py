"""Re-derive an org's state from its journal.  Pure.

:class:`Audit` reads the entries in order.  It does not decide again: it follows what
each entry says, checks the hash chain and the arithmetic of every price, and keeps
its own lots, holds, counters, items, charges and rollups.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

import attrs
from attrs import define, field, frozen

from billing_core.audit_time import FOLLOW_TIME
from billing_core.catalogue import Catalogue
from billing_core.errors import InvalidCommand
from billing_core.journal import chained
from billing_core.limits import had_begun, had_counted, subjects
from billing_core.pricing import Price, charge
from billing_core.quantities import CUSTOMER
from billing_core.records import (
    Account,
    Cell,
    CellKey,
    Charge,
    Counter,
    Entry,
    Hold,
    Item,
    LimitSet,
    Line,
    Lot,
    Run,
    Size,
    Spend,
    Storage,
    Subscription,
    Transfer,
    UsageRecord,
)
from billing_core.text import compact
from billing_core.times import DAY, HOUR, billing_period, micros
from billing_core.topup import AutoTopUp, TopUp
from billing_core.topup_audit import follow_topup, restored

__all__ = ["Audit", "Checkpoint", "Discrepancy", "Ended"]

_CHARGES = ("settle", "deduct", "price", "piece")
_GIVES_BACK = ("reverse", "back")


@frozen
class Discrepancy:
    """One thing that is not as the journal says, and where."""

    org: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.org}: {self.where}: {self.what}"


@frozen
class Checkpoint:
    """An org's state at an entry: keep it elsewhere.  ``state`` is JSON."""

    org: str
    seq: int
    head: str
    state: str

    def to_json(self) -> str:
        return compact(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Checkpoint:
        """Raises InvalidCommand for a text that :meth:`to_json` did not write."""
        try:
            checkpoint = cls(**json.loads(text))
            Audit.resume(checkpoint, Catalogue())
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise InvalidCommand("checkpoint", text, "a Checkpoint.to_json") from error
        return checkpoint


@define
class _Tables:
    lots: dict[int, Lot] = field(factory=dict)
    holds: dict[str, Hold] = field(factory=dict)  # the open ones
    counters: dict[tuple[str, int], Counter] = field(factory=dict)
    items: dict[tuple[str, str], Item] = field(factory=dict)
    charges: dict[int, Charge] = field(factory=dict)
    cells: dict[CellKey, Cell] = field(factory=dict)
    subscriptions: dict[int, Subscription] = field(factory=dict)
    limits: dict[tuple[str, str], LimitSet] = field(factory=dict)
    spends: dict[tuple[str, str, int], Spend] = field(factory=dict)
    runs: dict[str, Run] = field(factory=dict)
    storages: dict[str, Storage] = field(factory=dict)
    sizes: dict[tuple[str, int], Size] = field(factory=dict)
    topups: dict[str, TopUp] = field(factory=dict)
    auto: AutoTopUp | None = None


@define
class Ended:
    """Holds that have ended, as a count and a sum of digests: however many there were, an
    audit and its checkpoints stay small, and two sets that differ show a different sum."""

    holds: int = 0
    total: int = 0

    def add(self, hold: Hold) -> None:
        text = compact([hold.key, hold.resource, hold.expires_at, hold.state, hold.parts])
        self.holds += 1
        self.total = (self.total + int(sha256(text.encode()).hexdigest(), 16)) % 2**256


class Audit:
    """An org's state as its journal tells it."""

    def __init__(self, org: str, catalogue: Catalogue) -> None:
        self.org = org
        self.catalogue = catalogue
        self.account: Account | None = None
        self.tables = _Tables()
        self.followed = 0  # entries, by this audit
        self.ended = Ended()
        self.found: list[Discrepancy] = []
        self.posted = 0  # of a run or workspace, since its last command

    @classmethod
    def resume(cls, checkpoint: Checkpoint, catalogue: Catalogue) -> Audit:
        """Go on from a checkpoint."""
        audit = cls(checkpoint.org, catalogue)
        data = json.loads(checkpoint.state)
        account = dict(data["account"])
        account["head"] = bytes.fromhex(account["head"])
        audit.account = Account(**account)
        audit.ended = Ended(data["ended"][0], int(data["ended"][1], 16))
        tables = audit.tables
        for row in data["lots"]:
            scope = row.pop("scope")
            tables.lots[row["lot"]] = Lot(**row, scope=None if scope is None else tuple(scope))
        for row in data["holds"]:
            row["counted"] = [tuple(each) for each in row["counted"]]
            tables.holds[row["key"]] = Hold(**row)
        for row in data["counters"]:
            tables.counters[row["resource"], row["start"]] = Counter(**row)
        for row in data["items"]:
            tables.items[row["item"], row["resource"]] = Item(**row)
        for row in data["charges"]:
            tables.charges[row["charge"]] = Charge(**row)
        for key, cell in data["cells"]:
            tables.cells[CellKey(*key)] = Cell(**cell)
        tables.subscriptions = {row[0]: Subscription(*row) for row in data["subscriptions"]}
        for subject, per, amount, alerts, blocks in data["limits"]:
            limit = LimitSet(subject, per, amount, tuple(alerts), blocks)
            tables.limits[subject, per] = limit
        for row in data["spends"]:
            tables.spends[row["subject"], row["grain"], row["start"]] = Spend(**row)
        tables.runs = {each.run: each for each in map(Run.from_json, data["runs"])}
        for storage in map(Storage.from_json, data["storages"]):
            tables.storages[storage.workspace] = storage
        tables.sizes = {(row[0], row[1]): Size(*row) for row in data["sizes"]}
        tables.topups = {row["topup"]: restored(row) for row in data["topups"]}
        tables.auto = None if data["auto"] is None else AutoTopUp(**data["auto"])
        return audit

    def checkpoint(self) -> Checkpoint:
        """The state now."""
        assert self.account is not None
        account = attrs.asdict(self.account) | {"head": self.account.head.hex()}
        tables = self.tables
        state = {
            "account": account,
            "ended": [self.ended.holds, f"{self.ended.total:x}"],
            "lots": [attrs.asdict(each) for each in tables.lots.values()],
            "holds": [attrs.asdict(each) for each in tables.holds.values()],
            "counters": [attrs.asdict(each) for each in tables.counters.values()],
            "items": [attrs.asdict(each) for each in tables.items.values()],
            "charges": [attrs.asdict(each) for each in tables.charges.values()],
            "cells": [[key, attrs.asdict(cell)] for key, cell in tables.cells.items()],
            "subscriptions": list(tables.subscriptions.values()),
            "limits": list(tables.limits.values()),
            "spends": [attrs.asdict(each) for each in tables.spends.values()],
            "runs": [each.to_json() for each in tables.runs.values()],
            "storages": [each.to_json() for each in tables.storages.values()],
            "sizes": list(tables.sizes.values()),
            "topups": [attrs.asdict(each) for each in tables.topups.values()],
            "auto": None if tables.auto is None else attrs.asdict(tables.auto),
        }
        return Checkpoint(self.org, self.account.seq, self.account.head.hex(), compact(state))

    def note(self, where: str, what: str) -> None:
        """Report a discrepancy."""
        self.found.append(Discrepancy(self.org, where, what))

    # -- following --------------------------------------------------------------

    def follow(self, entry: Entry) -> None:
        """Apply the next entry, noting what does not fit."""
        where = f"entry {entry.seq}"
        self.followed += 1
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
        if entry.usage is not None:
            self._use(entry, entry.usage, content, where)
        account.members = max(account.members, content.get("member") or 0)
        before = account.balance
        if entry.op in _FOLLOW:
            _FOLLOW[entry.op](self, entry, content, effects)
        self._check_sums(entry, before, where)

    def _open(self, entry: Entry) -> Account:
        content, effects = json.loads(entry.content), json.loads(entry.effects)
        self.account = Account(
            self.org,
            content["currency"],
            content["livemode"],
            effects["anchor"],
            effects["opened_at"],
        )
        return self.account

    def _check_sums(self, entry: Entry, before: int, where: str) -> None:
        account = self._account()
        change = 0
        for transfer in entry.transfers:
            self._move(transfer, where)
            self._check_alive(transfer, entry.at, where)
            change += transfer.amount * transfer.credit.startswith(("lot:", "debt:"))
            change -= transfer.amount * transfer.debit.startswith(("lot:", "debt:"))
        # A repayment moves between the two sides of the balance and so cancels out.
        account.balance = before + change
        if account.balance != entry.balance:
            self.note(where, f"balance {entry.balance}; its transfers lead to {account.balance}")
        charged = sum(t.amount for t in entry.transfers if t.credit == "revenue")
        given = sum(t.amount for t in entry.transfers if t.debit == "revenue")
        if entry.op in _CHARGES:
            account.used += entry.amount
            if charged != entry.amount:
                self.note(where, f"amount {entry.amount}; its transfers charge {charged}")
        elif entry.op in _GIVES_BACK:
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
        counted = [(start, part, quantity) for start, part, quantity in effects.get("counted", [])]
        key = entry.key.partition(":")[2]
        hold = Hold(
            key, effects["resource"], effects["expires_at"], "open", [], counted,
            content.get("member") or 0, content.get("project"),
        )  # fmt: skip
        self.tables.holds[key] = hold
        self.reserve(hold, effects["parts"])
        for start, part, quantity in counted:
            self.part(effects["resource"], start, part)[3] += quantity

    def reserve(self, hold: Hold, parts: list[list[int]]) -> None:
        before = sum(amount for _, amount in hold.parts)
        for lot, amount in hold.parts:
            self.tables.lots[lot].reserved -= amount
        hold.parts = [list(part) for part in parts]
        for lot, amount in hold.parts:
            self.tables.lots[lot].reserved += amount
        self._held(hold, sum(amount for _, amount in hold.parts) - before)

    def end(self, hold: Hold, state: str) -> None:
        self.reserve(hold, [])
        hold.state = state
        for start, part, quantity in hold.counted:
            self.part(hold.resource or "", start, part)[3] -= quantity
        self.ended.add(self.tables.holds.pop(hold.key))

    def _extend(self, entry: Entry, content: Any, effects: Any) -> None:
        hold = self.tables.holds[content["hold"]]
        self.reserve(hold, effects["parts"])
        hold.expires_at = effects["expires_at"]

    def _release(self, entry: Entry, content: Any, effects: Any) -> None:
        hold = self.tables.holds.get(content["hold"])
        if hold is not None:  # else it had ended before
            self.end(hold, "released")

    def _lapse(self, entry: Entry, content: Any, effects: Any) -> None:
        account = self._account()
        if "hold" in content:
            self.end(self.tables.holds[content["hold"]], "lapsed")
        elif "period" in content:
            granted = self._allowance(entry, effects)
            account.period, account.allowance = content["period"], granted
            account.granted += granted
        else:
            self._allowance(entry, effects)

    def _plan(self, entry: Entry, content: Any, effects: Any) -> None:
        account = self._account()
        self._limited(entry)
        self._subscribe(entry, content.get("plan"))
        account.paused = content["paused"]
        start = billing_period(account.anchor, entry.at).start
        if account.period != start:
            account.period, account.allowance = start, 0
        granted = self._allowance(entry, effects)
        account.allowance += granted
        account.granted += granted

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

    def _count(self, usage: UsageRecord, amount: int) -> None:
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
            self.capture(self.tables.holds[content["hold"]], entry, effects["ended"])
        _used(entry)
        unpaid = sum(t.amount for t in entry.transfers if t.kind == "debt")
        if unpaid:
            story = self._story(entry.seq, entry)
            # Repayments in this very entry are added as its transfers are followed.
            story.unpaid = unpaid
        if entry.op == "price":
            self.tables.charges[content["charge"]] = self._story(content["charge"], None)
            self.tables.charges[content["charge"]].priced = entry.seq

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
            resource = _used(known).resource
            payments = [
                [int(t.debit[4:]), t.amount]
                for t in known.transfers
                if t.kind in ("capture", "charge")
            ]
            anchor = self._account().anchor
            period = billing_period(anchor, _used(known).occurred_at).start
            story = Charge(number, resource, known.amount, 0, 0, payments, period)
            self.tables.charges[number] = story
        return story

    subject: Callable[[int], Entry]
    """Gives an earlier entry by number; set by whoever runs the audit."""

    def _reverse(self, entry: Entry, content: Any, effects: Any) -> None:
        story = self._story(content["charge"], None)
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

    def _close(self, entry: Entry, content: Any, effects: Any) -> None:
        for key in effects["released"]:
            self.end(self.tables.holds[key], "released")
        self._account().closed_at = entry.at
        self._subscribe(entry, None)

    # -- usage ------------------------------------------------------------------

    def part(self, resource: str, start: int, component: str) -> list[int]:
        counter = self.tables.counters.setdefault((resource, start), Counter(resource, start))
        return counter.components.setdefault(component, [0, 0, 1, 0])

    def _use(self, entry: Entry, usage: UsageRecord, content: Any, where: str) -> None:
        account = self._account()
        start = billing_period(account.anchor, usage.occurred_at).start
        total = 0
        seen: set[str] = set()
        for line in usage.lines:
            total += line.amount
            if entry.op == "reverse" or line.payer == CUSTOMER or not line.version:
                continue
            self._check_line(line, usage, start, entry, where)
            if usage.item is not None:
                measured = line.quantity
                if entry.op == "price" and line.component not in seen:
                    measured = self._was_unpriced(content["charge"], line.component)
                self._itemise(line, usage, measured)
            seen.add(line.component)
        if entry.op in _CHARGES and total != entry.amount:
            self.note(where, f"amount {entry.amount}; its lines add up to {total}")
        if entry.op in _GIVES_BACK and total != -entry.amount:
            self.note(where, f"amount {entry.amount}; its lines give back {-total}")
        self._roll_up(usage, start)
        if entry.op == "reverse" and not had_counted(account, self.subject(content["charge"])):
            usage = usage._replace(project=None)
        self._count(usage, total)

    def _check_line(
        self, line: Line, usage: UsageRecord, start: int, entry: Entry, where: str
    ) -> None:
        account = self._account()
        part = self.part(usage.resource, start, line.component)
        if [line.counter, line.carry, line.carry_of] != part[:3]:
            self.note(where, f"{line.component} counts from {line.counter}, not from {part[0]}")
        version = line.version or ""
        priced = self.catalogue.priced_by(version, account.currency, usage.resource, line.component)
        if priced is None:
            self.note(where, f"price version {version} is not on record as it was")
            return
        # An item keeps its first version, and a later command may name any.
        exempt = entry.op == "price" or usage.item is not None
        for book in () if exempt else self.catalogue.books_of(version):
            if usage.occurred_at < micros("effective_at", book.effective_at):
                self.note(where, f"price version {version} was not in force yet")
            if book.audience not in ("", f"org:{self.org}", f"plan:{self._subscribed(usage)}"):
                self.note(where, f"price version {version} is for {book.audience}")
        amount, rest = charge(
            priced.price.function, line.counter, line.billed, (line.carry, line.carry_of),
            line.amount if entry.op == "back" else 0,
        )  # fmt: skip
        if amount != line.amount:
            self.note(where, f"{line.component} charges {line.amount}; its price says {amount}")
        part[:3] = [line.counter + line.billed, *rest]
        if not exempt and not self._billed_right(usage, line, priced.price):
            self.note(where, f"{line.component} bills {line.billed} for {line.quantity}")

    def _subscribed(self, usage: UsageRecord) -> str | None:
        plan = None
        for each in self.tables.subscriptions.values():
            if each.since <= usage.occurred_at:
                plan = each.plan
        return plan

    def _itemise(self, line: Line, usage: UsageRecord, measured: int) -> None:
        key = (usage.item or "", usage.resource)
        parts = self.tables.items.setdefault(key, Item(*key)).components
        raw, billed, first = parts.get(line.component, (0, 0, line.version or ""))
        parts[line.component] = [int(raw) + measured, int(billed) + line.billed, first]

    def _was_unpriced(self, number: int, component: str) -> int:
        lines = _used(self.subject(number)).lines
        return sum(each.quantity for each in lines if each.component == component)

    @staticmethod
    def _billed_right(usage: UsageRecord, line: Line, price: Price) -> bool:
        same = [each for each in usage.lines if each.component == line.component]
        billed = sum(each.billed for each in same)
        return billed == price.billed(sum(each.quantity for each in same))

    def _roll_up(self, usage: UsageRecord, period: int) -> None:
        at = usage.occurred_at
        starts = (("hour", at - at % HOUR), ("day", at - at % DAY), ("period", period))
        payers = {line.payer for line in usage.lines} or {"platform"}
        for grain, start in starts:
            for payer in payers:
                key = CellKey(grain, usage.member, start, usage.resource, payer)
                cell = self.tables.cells.setdefault(key, Cell())
                cell.requests += usage.requests
                for line in usage.lines:
                    if line.payer == payer:
                        cell.amount += line.amount
                        cell.add_part(line.component, line.quantity, line.amount)


def _used(entry: Entry) -> UsageRecord:
    if entry.usage is None:
        raise ValueError(f"entry {entry.seq} has no usage record")
    return entry.usage


_FOLLOW: dict[str, Callable[[Audit, Entry, Any, Any], None]] = {
    "grant": Audit._grant,
    "hold": Audit._hold,
    "extend": Audit._extend,
    "release": Audit._release,
    "lapse": Audit._lapse,
    "settle": Audit._charge,
    "deduct": Audit._charge,
    "price": Audit._charge,
    "reverse": Audit._reverse,
    "plan": Audit._plan,
    "limit": Audit._limit,
    "low_balance": Audit._low_balance,
    "close": Audit._close,
    **FOLLOW_TIME,
    **dict.fromkeys(
        ("topup", "auto_topup", "refund", "auto", "call", "method", "credit", "payment"),
        follow_topup,
    ),
}
