"""What an audit has re-derived of an org so far, and the checkpoint that keeps it.  Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import attrs
from attrs import define, field, frozen

from billing_core.charging.limits import had_begun
from billing_core.errors import InvalidCommand
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
    Spend,
    Subscription,
    subjects,
)
from billing_core.records.runs import Run
from billing_core.records.storage import Size, Storage
from billing_core.records.topups import AutoTopUp, TopUp
from billing_core.records.usage import (
    Cell,
    CellKey,
    Count,
    Counter,
    HeldQuantity,
    Item,
    UsageRecord,
)
from billing_core.values.text import compact
from billing_core.values.times import DAY, billing_period

__all__ = [
    "SHARES",
    "UNKNOWN",
    "Audit",
    "Checkpoint",
    "Discrepancy",
    "Ended",
    "Events",
    "Tables",
    "documents",
    "share",
]


@frozen
class Discrepancy:
    """One thing that is not as the journal says.

    Attributes:
        org: Whose account it is.
        where: Where: an entry of the journal, or a table and its row.
        what: What is wrong, in words.
    """

    org: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.org}: {self.where}: {self.what}"


UNKNOWN = "?"
"""What was asked for a top-up, by a checkpoint that does not have it."""

SHARES = 64
"""In so many shares, by their keys, are ended holds added up: where one is wrong, only that
share is gone through again, to name the hold."""


def digest_of(value: object) -> int:
    return int.from_bytes(sha256(compact(value).encode()).digest(), "big")


def share(key: str) -> int:
    """Which share of the ended holds one is in."""
    return sha256(key.encode()).digest()[0] % SHARES


@define
class Ended:
    """Holds that have ended, as a count and sums of digests: however many there were, an
    audit and its checkpoints stay small, and two sets that differ show a different sum.

    ``total`` is without their labels, as checkpoints had it first.  ``shares``: all of it;
    None where the audit goes on from such a checkpoint, and the labels are not known.
    """

    holds: int = 0
    total: int = 0
    used: int | None = 0
    """The same of what they were used for; None where that is not known of each."""
    shares: list[int] | None = field(factory=lambda: [0] * SHARES)

    def add(self, hold: HoldRecord) -> None:
        all_of_it: list[object] = [
            hold.key, hold.resource, hold.expires_at, hold.state, hold.parts,
        ]  # fmt: skip
        self.holds += 1
        self.total = (self.total + digest_of(all_of_it)) % 2**256
        if hold.used is None:
            self.used = None
        elif self.used is not None:
            self.used = (self.used + digest_of([hold.key, *hold.used])) % 2**256
        if self.shares is not None:
            all_of_it += [hold.counted, hold.member, hold.project]
            index = share(hold.key)
            self.shares[index] = (self.shares[index] + digest_of(all_of_it)) % 2**256

    def differing(self, other: Ended) -> list[int]:
        """The shares in which two sets differ."""
        if self.shares is None or other.shares is None:
            return []
        pairs = enumerate(zip(self.shares, other.shares, strict=True))
        return [index for index, (one, another) in pairs if one != another]


@define
class Events:
    """The entries that raised events, as a count and a sum of digests.  ``since``: from which
    entry on each says which it raised; None: none does so yet."""

    since: int | None = None
    entries: int = 0
    total: int = 0

    def tell(self, seq: int, told: str) -> None:
        if self.since is None:
            self.since = seq
        if told:
            self.entries += 1
            self.total = (self.total + digest_of([seq, told])) % 2**256


@define
class Tables:
    """An org's state: what the tables of a store must have."""

    account: Account | None = None
    lots: dict[int, Lot] = field(factory=dict)
    holds: dict[str, HoldRecord] = field(factory=dict)  # the open ones
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
    asked: dict[str, str] = field(factory=dict)
    """By top-up, what of its ``asked`` follows from the journal, as JSON, where there is any."""
    auto: AutoTopUp | None = None
    ended: Ended = field(factory=Ended)
    events: Events = field(factory=Events)
    published: list[Any] | None = None
    """How many documents there were, and a digest of theirs; None: not known."""

    def to_json(self) -> str:
        """All of it, of an account that was opened."""
        assert self.account is not None
        account = attrs.asdict(self.account) | {"head": self.account.head.hex()}
        state = {
            "account": account,
            "ended": [
                self.ended.holds,
                f"{self.ended.total:x}",
                None if self.ended.used is None else f"{self.ended.used:x}",
            ],
            "ended_shares": _hex(self.ended.shares),
            "published": self.published,
            "events": [self.events.since, self.events.entries, f"{self.events.total:x}"],
            "lots": [attrs.asdict(each) for each in self.lots.values()],
            "holds": [attrs.asdict(each, recurse=False) for each in self.holds.values()],
            "counters": [attrs.asdict(each, recurse=False) for each in self.counters.values()],
            "items": [attrs.asdict(each) for each in self.items.values()],
            "charges": [attrs.asdict(each, recurse=False) for each in self.charges.values()],
            "cells": [[key, attrs.asdict(cell)] for key, cell in self.cells.items()],
            "subscriptions": list(self.subscriptions.values()),
            "limits": list(self.limits.values()),
            "spends": [attrs.asdict(each) for each in self.spends.values()],
            "runs": [each.to_json() for each in self.runs.values()],
            "storages": [each.to_json() for each in self.storages.values()],
            "sizes": list(self.sizes.values()),
            "topups": [each.to_data() for each in self.topups.values()],
            "asked": self.asked,
            "auto": None if self.auto is None else self.auto.to_data(),
        }
        return compact(state)

    @classmethod
    def from_json(cls, text: str) -> Tables:
        """Raises what a text that is none of :meth:`to_json` brings about."""
        data = json.loads(text)
        tables = cls()
        account = dict(data["account"])
        account["head"] = bytes.fromhex(account["head"])
        tables.account = Account(**account)
        ended, total, *used = data["ended"]  # a checkpoint of before has no third
        known = used[0] if used else None
        shares = data.get("ended_shares")
        tables.ended = Ended(
            ended, int(total, 16), None if known is None else int(known, 16), _numbers(shares)
        )
        tables.published = data.get("published")
        since, entries, total = data.get("events", (None, 0, "0"))
        tables.events = Events(since, entries, int(total, 16))
        for row in data["lots"]:
            scope = row.pop("scope")
            tables.lots[row["lot"]] = Lot(**row, scope=None if scope is None else tuple(scope))
        for row in data["holds"]:
            row["parts"] = [Draw(*each) for each in row["parts"]]
            row["counted"] = [HeldQuantity(*each) for each in row["counted"]]
            known = row.pop("used", None)
            tables.holds[row["key"]] = HoldRecord(
                **row, used=None if known is None else _use(*known)
            )
        for row in data["counters"]:
            counts = {name: Count(*each) for name, each in row.pop("components").items()}
            tables.counters[row["resource"], row["start"]] = Counter(**row, components=counts)
        for row in data["items"]:
            tables.items[row["item"], row["resource"]] = Item(**row)
        for row in data["charges"]:
            payments = [Draw(*each) for each in row.pop("payments")]
            tables.charges[row["charge"]] = Charge(**row, payments=payments)
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
        tables.topups = {row["topup"]: TopUp.from_data(row) for row in data["topups"]}
        tables.asked = data.get("asked", dict.fromkeys(tables.topups, UNKNOWN))
        tables.auto = None if data["auto"] is None else AutoTopUp.from_data(data["auto"])
        return tables


def _use(settled: int, amount: int, charges: list[int], quantities: list[list[Any]]) -> HoldUse:
    pairs = tuple((name, quantity) for name, quantity in quantities)
    return HoldUse(settled, amount, tuple(charges), pairs)


def documents(catalogue: Catalogue, count: int | None = None) -> list[Any]:
    """How many documents there are, or of them up to ``count``, and a digest of theirs."""
    digests = [[each.number, each.digest] for each in catalogue.published[:count]]
    return [len(digests), sha256(compact(digests).encode()).hexdigest()]


def _hex(numbers: list[int] | None) -> list[str] | None:
    return None if numbers is None else [f"{each:x}" for each in numbers]


def _numbers(texts: list[str] | None) -> list[int] | None:
    return None if texts is None else [int(each, 16) for each in texts]


@frozen
class Checkpoint:
    """An org's state at an entry of its journal: keep it outside the database (rule 6.9).

    A later audit finds with it whether the journal before that entry was rewritten, and can begin
    from it.

    Attributes:
        org: Whose account it is.
        seq: The entry's number.
        head: The entry's hash, in hex.
        state: What the audit computed up to there, as JSON.
    """

    org: str
    seq: int
    head: str
    state: str = field(repr=False)

    def to_json(self) -> str:
        """The checkpoint as text, for :meth:`from_json`."""
        return compact(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Checkpoint:
        """The checkpoint of a text.

        Raises:
            InvalidCommand: For a text that :meth:`to_json` did not write.
        """
        try:
            checkpoint = cls(**json.loads(text))
            if type(checkpoint.org) is not str or type(checkpoint.seq) is not int:
                raise TypeError("an org's name and an entry's number")
            Tables.from_json(checkpoint.state)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise InvalidCommand("checkpoint", text, "a Checkpoint.to_json") from error
        return checkpoint


class Audit:
    """What the audit of an org knows so far, as its journal tells it, and the steps that its
    followers share."""

    def __init__(self, org: str, catalogue: Catalogue) -> None:
        self.org = org
        self.catalogue = catalogue
        self.tables = Tables()
        self.followed = 0  # entries, by this audit
        self.found: list[Discrepancy] = []
        self.posted = 0  # of a run or workspace, since its last command
        self.undone: int | None = None  # still to be given back of usage that was undone
        self.stored: dict[str, int] = {}  # byte-microseconds posted, by workspace

    subject: Callable[[int], Entry]
    """Gives an earlier entry by number; set by whoever runs the audit."""

    @property
    def account(self) -> Account | None:
        return self.tables.account

    def note(self, where: str, what: str) -> None:
        """Report a discrepancy."""
        self.found.append(Discrepancy(self.org, where, what))

    def _account(self) -> Account:
        assert self.account is not None
        return self.account

    def add_lot(self, lot: Lot) -> None:
        account = self._account()
        account.lots += 1
        if lot.lot != account.lots or lot.lot in self.tables.lots:
            self.note(f"entry {lot.seq}", f"lot {lot.lot} out of order")
        self.tables.lots[lot.lot] = lot

    def reserve(self, hold: HoldRecord, parts: list[list[int]]) -> None:
        before = sum(amount for _, amount in hold.parts)
        for lot, amount in hold.parts:
            self.tables.lots[lot].reserved -= amount
        hold.parts = [Draw(*part) for part in parts]
        for lot, amount in hold.parts:
            self.tables.lots[lot].reserved += amount
        self._held(hold, sum(amount for _, amount in hold.parts) - before)

    def announce(self, hold: HoldRecord, counted: list[list[Any]]) -> None:
        """What an open hold may use, in place of what it announced before."""
        resource = hold.resource or ""
        for start, component, quantity in hold.counted:
            self._hold_quantity(resource, start, component, -quantity)
        hold.counted = [HeldQuantity(*each) for each in counted]
        for start, component, quantity in hold.counted:
            self._hold_quantity(resource, start, component, quantity)

    def _hold_quantity(self, resource: str, start: int, component: str, more: int) -> None:
        counter = self.counter(resource, start)
        count = counter.of(component)
        counter.components[component] = count._replace(held=count.held + more)

    def end(self, hold: HoldRecord, state: str) -> None:
        self.reserve(hold, [])
        hold.state = state
        self.announce(hold, [])
        self.tables.ended.add(self.tables.holds.pop(hold.key))

    def counter(self, resource: str, start: int) -> Counter:
        return self.tables.counters.setdefault((resource, start), Counter(resource, start))

    def count(self, usage: UsageRecord, amount: int) -> None:
        account, at = self._account(), usage.occurred_at
        if not amount or account.limited_since is None:
            return
        for subject in subjects(usage.member, usage.project):
            self._spent(subject, "day", at - at % DAY, amount)
            self._spent(subject, "period", billing_period(account.anchor, at).start, amount)

    def capture(self, hold: HoldRecord, entry: Entry, ended: bool) -> None:
        for transfer in entry.transfers:
            if transfer.kind != "capture":
                continue
            number, left = transfer.from_lot, transfer.amount
            for place, part in enumerate(hold.parts):
                if part.lot == number:
                    taken = min(part.amount, left)
                    hold.parts[place] = Draw(number, part.amount - taken)
                    left -= taken
                    self.tables.lots[number].reserved -= taken
            if left:
                self.note(f"entry {entry.seq}", f"captures {left} more than hold {hold.key} has")
        hold.parts = [part for part in hold.parts if part.amount]
        captured = sum(t.amount for t in entry.transfers if t.kind == "capture")
        self._held(hold, -captured)
        if ended:
            self.end(hold, "settled")

    def _held(self, hold: HoldRecord, more: int) -> None:
        if more and self._account().limited_since is not None:
            for subject in subjects(hold.member, hold.project):
                self._spent(subject, "held", 0, more)

    def _spent(self, subject: str, grain: str, start: int, more: int) -> None:
        key = (subject, grain, start)
        self.tables.spends.setdefault(key, Spend(*key, 0)).amount += more

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
