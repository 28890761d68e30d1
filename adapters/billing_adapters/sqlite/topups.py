"""Top-ups and what waits for background work: loaded, and scanned for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from billing_adapters.columns import TOPUPS
from billing_adapters.sqlite import codecs
from billing_core.ports.due_topups import Due, due_in_rounds
from billing_core.ports.state import OrgState, Wanted
from billing_core.records.events import Event
from billing_core.records.topups import AutoTopUp

__all__ = ["SET_MARK", "TopUpReads", "load"]

_R = TypeVar("_R")

SET_MARK = (
    "INSERT INTO marks (name, value) VALUES (?, ?) ON CONFLICT (name)"
    " DO UPDATE SET value = max(value, excluded.value)"
)
_TOPUP = f"SELECT {TOPUPS.selected} FROM topups WHERE org_id = ? AND topup = ?"
_AUTO = "SELECT body FROM auto_topups WHERE org_id = ?"
# The indexes' expressions, as migration 2 has them: so rows of the version before are found too.
# By their index, and no further: a backlog may be long.
_DUE = """
    SELECT due_at, org_id, topup FROM topups CROSS JOIN accounts USING (org_id)
    WHERE due_at >= ? AND due_at <= ? AND livemode = ?
"""
_LONGEST_DUE = f"{_DUE} ORDER BY due_at, org_id, topup LIMIT ?"
_LATEST_DUE = f"{_DUE} ORDER BY due_at DESC, org_id DESC, topup DESC LIMIT ?"

_BY_PAYMENT = """
SELECT org_id, topup FROM topups WHERE json_extract(body, '$.payment') = ?
ORDER BY org_id, topup LIMIT 1
"""
_BY_CHECKOUT = """
SELECT org_id, topup FROM topups WHERE json_extract(body, '$.checkout') = ?
ORDER BY org_id, topup LIMIT 1
"""
_WAITING = """
SELECT e.seq, e.n, e.kind, e.data FROM deliveries AS d, events AS e
WHERE d.org_id = ? AND e.org_id = d.org_id AND (e.seq, e.n) > (d.seq, d.n)
ORDER BY e.seq, e.n LIMIT ?
"""
_LEASE = """
UPDATE deliveries SET deliverer = ?, until = ?
WHERE org_id = ? AND (deliverer = ? OR until <= ?)
"""
_DELIVERED = """
UPDATE deliveries SET seq = ?, n = ?, waiting = EXISTS (
    SELECT 1 FROM events WHERE org_id = ? AND (seq, n) > (?, ?)
) WHERE org_id = ? AND deliverer = ?
"""


def load(db: sqlite3.Connection, org: str, want: Wanted, state: OrgState) -> None:
    """The wanted top-ups, and the automatic one."""
    for name in want.topups:
        row = db.execute(_TOPUP, (org, name)).fetchone()
        if row is not None:
            state.topups[name] = codecs.topup(row)
    if want.auto:
        row = db.execute(_AUTO, (org,)).fetchone()
        state.auto = None if row is None else codecs.auto(row)


class TopUpReads:
    """What the port has for top-ups and background work; each call sees one state."""

    def _read(self, query: str, values: Sequence[Any], make: Callable[[Any], _R]) -> list[_R]:
        raise NotImplementedError

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        raise NotImplementedError

    def auto_topup(self, org: str) -> AutoTopUp | None:
        found = self._read(_AUTO, (org,), codecs.auto)
        return found[0] if found else None

    def due_topups(
        self, until: int, limit: int = 100, *, livemode: bool
    ) -> Sequence[tuple[str, str]]:
        def scan(since: int, latest: bool) -> list[Due]:
            query = _LATEST_DUE if latest else _LONGEST_DUE
            values = (since, until, livemode, limit)
            return self._read(query, values, lambda row: (row[0], row[1], row[2]))

        return due_in_rounds(scan, until, limit)

    def lapsing(self, until: int, limit: int = 100) -> Sequence[str]:
        # No index: it would cost every settlement more than this scan costs the background.
        query = "SELECT org_id FROM accounts WHERE next_lapse <= ? ORDER BY next_lapse LIMIT ?"
        return self._read(query, (until, limit), lambda row: row[0])

    def paying(self, customer: str) -> Sequence[str]:
        query = "SELECT org_id FROM auto_topups WHERE customer = ? ORDER BY org_id"
        return self._read(query, (customer,), lambda row: row[0])

    def topup_of(
        self, *, payment: str | None = None, checkout: str | None = None
    ) -> tuple[str, str] | None:
        query = _BY_CHECKOUT if payment is None else _BY_PAYMENT
        found = self._read(query, (payment or checkout,), lambda row: (row[0], row[1]))
        return found[0] if found else None

    def mark(self, name: str) -> int | None:
        found = self._read("SELECT value FROM marks WHERE name = ?", (name,), lambda row: row[0])
        return found[0] if found else None

    def set_mark(self, name: str, value: int) -> None:
        with self._writing() as db:
            db.execute(SET_MARK, (name, value))

    def clock(self) -> int | None:
        return None  # SQLite is in this process

    def latest(self) -> int | None:
        query = "SELECT max(recorded_at) FROM accounts"
        found: list[int | None] = self._read(query, (), lambda row: row[0])
        return found[0]

    def undelivered(self, now: int, limit: int = 100) -> Sequence[str]:
        query = (
            "SELECT org_id FROM deliveries WHERE waiting = 1 AND until <= ?"
            " ORDER BY until, org_id LIMIT ?"
        )
        return self._read(query, (now, limit), lambda row: row[0])

    def waiting_events(self, org: str, limit: int = 100) -> Sequence[Event]:
        return self._read(_WAITING, (org, limit), codecs.event)

    def lease_events(self, org: str, deliverer: str, now: int, until: int) -> bool:
        with self._writing() as db:
            taken = db.execute(_LEASE, (deliverer, until, org, deliverer, now))
            return taken.rowcount == 1

    def delivered(self, org: str, deliverer: str, seq: int, n: int) -> bool:
        with self._writing() as db:
            done = db.execute(_DELIVERED, (seq, n, org, seq, n, org, deliverer))
            return done.rowcount == 1
