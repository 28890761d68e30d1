"""What an audit has re-derived of an org so far, and the checkpoint that keeps it.  Pure."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import attrs
from attrs import define, field, frozen

from billing_core.errors import InvalidCommand
from billing_core.records import (
    Account,
    Cell,
    CellKey,
    Charge,
    Counter,
    Hold,
    HoldUse,
    Item,
    LimitSet,
    Lot,
    Run,
    Size,
    Spend,
    Storage,
    Subscription,
)
from billing_core.text import compact
from billing_core.topup import AutoTopUp, TopUp

__all__ = ["Checkpoint", "Discrepancy", "Ended", "Tables"]


@frozen
class Discrepancy:
    """One thing that is not as the journal says, and where."""

    org: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.org}: {self.where}: {self.what}"


@define
class Ended:
    """Holds that have ended, as a count and a sum of digests: however many there were, an
    audit and its checkpoints stay small, and two sets that differ show a different sum."""

    holds: int = 0
    total: int = 0
    used: int | None = 0
    """The same of what they were used for; None where that is not known of each."""

    def add(self, hold: Hold) -> None:
        self.holds += 1
        self.total = _and_digest(
            self.total, [hold.key, hold.resource, hold.expires_at, hold.state, hold.parts]
        )
        if hold.used is None:
            self.used = None
        elif self.used is not None:
            self.used = _and_digest(self.used, [hold.key, *hold.used])


def _and_digest(total: int, row: object) -> int:
    return (total + int(sha256(compact(row).encode()).hexdigest(), 16)) % 2**256


@define
class Tables:
    """An org's state: what the tables of a store must have."""

    account: Account | None = None
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
    ended: Ended = field(factory=Ended)

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
            "lots": [attrs.asdict(each) for each in self.lots.values()],
            "holds": [attrs.asdict(each) | {"used": each.used} for each in self.holds.values()],
            "counters": [attrs.asdict(each) for each in self.counters.values()],
            "items": [attrs.asdict(each) for each in self.items.values()],
            "charges": [attrs.asdict(each) for each in self.charges.values()],
            "cells": [[key, attrs.asdict(cell)] for key, cell in self.cells.items()],
            "subscriptions": list(self.subscriptions.values()),
            "limits": list(self.limits.values()),
            "spends": [attrs.asdict(each) for each in self.spends.values()],
            "runs": [each.to_json() for each in self.runs.values()],
            "storages": [each.to_json() for each in self.storages.values()],
            "sizes": list(self.sizes.values()),
            "topups": [attrs.asdict(each) for each in self.topups.values()],
            "auto": None if self.auto is None else attrs.asdict(self.auto),
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
        tables.ended = Ended(ended, int(total, 16), None if known is None else int(known, 16))
        for row in data["lots"]:
            scope = row.pop("scope")
            tables.lots[row["lot"]] = Lot(**row, scope=None if scope is None else tuple(scope))
        for row in data["holds"]:
            row["counted"] = [tuple(each) for each in row["counted"]]
            known = row.pop("used", None)
            tables.holds[row["key"]] = Hold(**row, used=None if known is None else _use(*known))
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
        tables.topups = {row["topup"]: TopUp(**row) for row in data["topups"]}
        tables.auto = None if data["auto"] is None else AutoTopUp(**data["auto"])
        return tables


def _use(settled: int, amount: int, charges: list[int], quantities: list[list[Any]]) -> HoldUse:
    pairs = tuple((name, quantity) for name, quantity in quantities)
    return HoldUse(settled, amount, tuple(charges), pairs)


@frozen
class Checkpoint:
    """An org's state at an entry: keep it elsewhere.  ``state`` is JSON."""

    org: str
    seq: int
    head: str
    state: str = field(repr=False)

    def to_json(self) -> str:
        return compact(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Checkpoint:
        """Raises InvalidCommand for a text that :meth:`to_json` did not write."""
        try:
            checkpoint = cls(**json.loads(text))
            Tables.from_json(checkpoint.state)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise InvalidCommand("checkpoint", text, "a Checkpoint.to_json") from error
        return checkpoint
