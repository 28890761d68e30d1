"""What this process wrote last and nobody else has written since."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sized

from attrs import define, field

from billing_core.ports.state import Changes
from billing_core.records.ledger import Account, HoldRecord, Lot
from billing_core.records.usage import Cell, CellKey, Counter, UsageRecord

__all__ = ["AccountAndLots", "Known"]

_ORGS = 1_000
_ROWS = 10_000  # of a kind


AccountAndLots = tuple[Account, dict[int, Lot]]


@define
class Known:
    """Records that need not be read again: orgs' accounts, their unspent lots by number, open
    holds, members, rollup cells, what these lack, and each resource's latest counter.

    An account and its lots are of whoever has checked them out: a transaction, which lets
    decisions change them.  It checks them in once they are committed; else nobody does, and they
    are read again.  What else is here is copied for a decision.

    They are those of one connection, and hold for as long as its ``data_version`` stays:
    that changes when any other connection has committed.  Asked for inside a write
    transaction, so that nobody writes after it; forgotten when a write fails, and with
    the connection.

    ``uses``: whether the file says what was charged by a hold, as one whose migration to schema
    2 is finished does.
    """

    uses: bool = False
    version: int | None = None
    orgs: dict[str, AccountAndLots] = field(factory=dict)
    holds: dict[tuple[str, str], HoldRecord] = field(factory=dict)
    members: dict[tuple[str, str], int] = field(factory=dict)
    cells: dict[tuple[str, CellKey], Cell] = field(factory=dict)
    counters: dict[tuple[str, str], Counter] = field(factory=dict)
    tails: dict[str, list[UsageRecord]] = field(factory=dict)

    def check(self, db: sqlite3.Connection) -> None:
        """Forget what somebody else may have changed."""
        [version] = db.execute("PRAGMA data_version").fetchone()
        rows: tuple[Sized, ...] = (self.cells, self.counters, self.holds, self.members)
        many = len(self.orgs) > _ORGS or max(map(len, rows)) > _ROWS
        if version != self.version or many:
            self.forget()
            self.version = version
            self.uses = _has_uses(db)

    def check_out(self, org: str) -> AccountAndLots | None:
        """Give away an org's account and lots, where they are known: they are known no more."""
        return self.orgs.pop(org, None)

    def check_in(
        self, lent: Mapping[str, AccountAndLots], committed: Mapping[str, Changes]
    ) -> None:
        """Take back accounts and lots as they were committed, but for what whoever decided may
        still change: an account that is none of those ``lent``."""
        for org, changes in committed.items():
            account_and_lots = lent.get(org)
            if account_and_lots is not None and account_and_lots[0] is changes.account:
                self.orgs[org] = account_and_lots

    @classmethod
    def nothing(cls, db: sqlite3.Connection) -> Known:
        """For a decision or a read that remembers nothing."""
        return cls(_has_uses(db))

    def forget(self) -> None:
        """Forget all."""
        self.version = None
        self.orgs = {}
        self.holds = {}
        self.members = {}
        self.cells = {}
        self.counters = {}
        self.tails = {}


def _has_uses(db: sqlite3.Connection) -> bool:
    [level] = db.execute("PRAGMA user_version").fetchone()
    return bool(level >= 2)
