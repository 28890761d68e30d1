"""What background work stands on: scans without locks, whose answers may be old, and claims,
each of one org, which only one of those who ask gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from billing_adapters.postgres.codecs import auto, event, string, whole
from billing_adapters.postgres.statements import Value
from billing_adapters.postgres.wire import Row, Statement, statement
from billing_core.ports.due_topups import Due, due_in_rounds
from billing_core.records.events import Delivered, Event
from billing_core.records.topups import AutoTopUp

__all__ = ["WorkReader", "WorkReads", "work_reader"]

_R = TypeVar("_R")


class WorkReader(NamedTuple):
    """The statements."""

    silent: Statement
    due: Statement
    due_last: Statement
    lapsing: Statement
    paying: Statement
    by_payment: Statement
    by_checkout: Statement
    undelivered: Statement
    auto: Statement
    mark: Statement
    set_mark: Statement
    clock: Statement
    latest: Statement
    deliveries: Statement
    waiting: Statement
    lease: Statement
    delivering: Statement
    delivered: Statement


def work_reader(schema: str) -> WorkReader:
    """The statements on the tables of one schema (a quoted name)."""
    s = schema
    due = (
        f"SELECT due_at, org_id, topup FROM {s}.topups JOIN {s}.accounts USING (org_id)"
        " WHERE due_at >= $1 AND due_at <= $2 AND livemode = $3"
    )
    beyond = f"FROM {s}.events AS e WHERE e.org_id = $1 AND (e.seq, e.n) >"
    return WorkReader(
        silent=statement(
            f"SELECT org_id, run FROM {s}.runs WHERE state IN ('active', 'suspended')"
            " AND seen_at < $1 ORDER BY seen_at, org_id, run LIMIT $2"
        ),
        due=statement(f"{due} ORDER BY due_at, org_id, topup LIMIT $4"),
        due_last=statement(f"{due} ORDER BY due_at DESC, org_id DESC, topup DESC LIMIT $4"),
        # No index: it would cost every settlement more than this scan costs the background.
        lapsing=statement(
            f"SELECT org_id FROM {s}.accounts WHERE next_lapse <= $1 ORDER BY next_lapse LIMIT $2"
        ),
        paying=statement(f"SELECT org_id FROM {s}.auto_topups WHERE customer = $1 ORDER BY org_id"),
        # The indexes' expressions, as migration 2 has them: rows of the version before count too.
        by_payment=statement(
            f"SELECT org_id, topup FROM {s}.topups WHERE (body::jsonb ->> 'payment') = $1"
            " ORDER BY org_id, topup LIMIT 1"
        ),
        by_checkout=statement(
            f"SELECT org_id, topup FROM {s}.topups WHERE (body::jsonb ->> 'checkout') = $1"
            " ORDER BY org_id, topup LIMIT 1"
        ),
        undelivered=statement(
            f"SELECT org_id FROM {s}.deliveries WHERE waiting AND until <= $1"
            " ORDER BY until, org_id LIMIT $2"
        ),
        auto=statement(f"SELECT body FROM {s}.auto_topups WHERE org_id = $1"),
        mark=statement(f"SELECT value FROM {s}.marks WHERE name = $1"),
        set_mark=statement(
            f"INSERT INTO {s}.marks AS kept (name, value) VALUES ($1, $2) ON CONFLICT (name)"
            " DO UPDATE SET value = greatest(kept.value, excluded.value)"
        ),
        clock=statement("SELECT (date_part('epoch', clock_timestamp()) * 1000000)::bigint AS now"),
        latest=statement(f"SELECT max(recorded_at) FROM {s}.accounts"),
        deliveries=statement(
            f"SELECT seq, n, waiting, deliverer, until FROM {s}.deliveries WHERE org_id = $1"
        ),
        waiting=statement(
            f"SELECT e.seq, e.n, e.kind, e.data FROM {s}.deliveries AS d"
            f" JOIN {s}.events AS e ON e.org_id = d.org_id AND (e.seq, e.n) > (d.seq, d.n)"
            " WHERE d.org_id = $1 AND e.org_id = $1 ORDER BY e.seq, e.n LIMIT $2"
        ),
        lease=statement(
            f"UPDATE {s}.deliveries SET deliverer = $2, until = $4 WHERE org_id = $1"
            " AND (deliverer = $2 OR until <= $3) RETURNING org_id"
        ),
        # The lock first, by a statement of its own: only what begins after another's commit
        # sees the events that it has written.
        delivering=statement(
            f"SELECT org_id FROM {s}.deliveries WHERE org_id = $1 AND deliverer = $2 FOR UPDATE"
        ),
        delivered=statement(
            f"UPDATE {s}.deliveries SET seq = $3::bigint, n = $4::bigint,"
            f" waiting = EXISTS (SELECT 1 {beyond} ($3::bigint, $4::bigint))"
            " WHERE org_id = $1 AND deliverer = $2 RETURNING org_id"
        ),
    )


class WorkReads:
    """What the port has for background work, over ``_read`` and ``_write``."""

    @property
    def _work(self) -> WorkReader:
        raise NotImplementedError

    def _read(self, query: Statement, make: Callable[[Row], _R], *values: Value) -> list[_R]:
        raise NotImplementedError

    def _write(self, *queries: tuple[Statement, Sequence[Value]]) -> list[Row]:
        """Make the changes durable, and give the rows of the last one."""
        raise NotImplementedError

    def auto_topup(self, org: str) -> AutoTopUp | None:
        found = self._read(self._work.auto, auto, org)
        return found[0] if found else None

    def silent_runs(self, before: int, limit: int = 1000) -> Sequence[tuple[str, str]]:
        return self._read(self._work.silent, _pair, before, limit)

    def due_topups(
        self, until: int, limit: int = 100, *, livemode: bool
    ) -> Sequence[tuple[str, str]]:
        def scan(since: int, latest: bool) -> list[Due]:
            query = self._work.due_last if latest else self._work.due
            return self._read(query, _due, since, until, livemode, limit)

        return due_in_rounds(scan, until, limit)

    def lapsing(self, until: int, limit: int = 100) -> Sequence[str]:
        return self._read(self._work.lapsing, _org, until, limit)

    def paying(self, customer: str) -> Sequence[str]:
        return self._read(self._work.paying, _org, customer)

    def topup_of(
        self, *, payment: str | None = None, checkout: str | None = None
    ) -> tuple[str, str] | None:
        work = self._work
        name = checkout if payment is None else payment
        query = work.by_checkout if payment is None else work.by_payment
        found = [] if name is None else self._read(query, _pair, name)
        return found[0] if found else None

    def mark(self, name: str) -> int | None:
        found = self._read(self._work.mark, lambda row: whole(row[0]), name)
        return found[0] if found else None

    def set_mark(self, name: str, value: int) -> None:
        self._write((self._work.set_mark, (name, value)))

    def clock(self) -> int | None:
        return self._read(self._work.clock, lambda row: whole(row[0]))[0]

    def latest(self) -> int | None:
        query = self._work.latest
        return self._read(query, lambda row: None if row[0] is None else whole(row[0]))[0]

    def undelivered(self, now: int, limit: int = 100) -> Sequence[str]:
        return self._read(self._work.undelivered, _org, now, limit)

    def waiting_events(self, org: str, limit: int = 100) -> Sequence[Event]:
        return self._read(self._work.waiting, event, org, limit)

    def deliveries(self, org: str) -> Delivered | None:
        found = self._read(self._work.deliveries, _delivered, org)
        return found[0] if found else None

    def lease_events(self, org: str, deliverer: str, now: int, until: int) -> bool:
        return bool(self._write((self._work.lease, (org, deliverer, now, until))))

    def delivered(self, org: str, deliverer: str, seq: int, n: int) -> bool:
        work = self._work
        whose = org, deliverer
        return bool(self._write((work.delivering, whose), (work.delivered, (*whose, seq, n))))


def _delivered(row: Row) -> Delivered:
    seq, n, waiting, deliverer, until = row
    return Delivered(
        whole(seq),
        whole(n),
        waiting == b"t",
        string(deliverer),
        whole(until),
    )


def _pair(row: Row) -> tuple[str, str]:
    return string(row[0]), string(row[1])


def _due(row: Row) -> Due:
    return whole(row[0]), string(row[1]), string(row[2])


def _org(row: Row) -> str:
    return string(row[0])
