"""The reads of the port, over whatever connection ``_reader`` gives."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self, TypeVar

from billing_adapters.columns import (
    CHARGES,
    COUNTERS,
    HOLDS,
    ITEMS,
    LIMITS,
    LOTS,
    RUNS,
    SIZES,
    SPENDS,
    STORAGES,
    TOPUPS,
    Table,
    usage,
)
from billing_adapters.json_rows import FILED, misfiled, readable
from billing_adapters.sqlite import codecs, loader, schema
from billing_adapters.sqlite.cache import Known
from billing_adapters.sqlite.errors import mapped
from billing_adapters.sqlite.topups import TopUpReads
from billing_core.ports.state import Loaded, Wanted
from billing_core.pricing.catalogue import Published
from billing_core.records.events import Delivered, Event
from billing_core.records.ledger import (
    Charge,
    Entry,
    HoldRecord,
    LimitSet,
    Lot,
    Spend,
    Subscription,
)
from billing_core.records.rollups import Span, Sums, begun
from billing_core.records.runs import Run
from billing_core.records.storage import Size, Storage
from billing_core.records.topups import TopUp
from billing_core.records.usage import Cell, CellKey, Counter, Item, UsageRecord

__all__ = ["DOCUMENT", "Reads"]

DOCUMENT = "number, version, published_at, body, digest"

_R = TypeVar("_R")
_PAGE = 500
_CELLS = (
    "SELECT {} FROM cells"
    " WHERE org_id = ? AND grain = ? AND member = ? AND start >= ? AND start < ?"
)
_USED = (
    "SELECT {} FROM entries INDEXED BY entries_usage"
    " WHERE org_id = ? AND member = ? AND occurred_at >= ? AND occurred_at < ?"
)
_SUMS = _CELLS.format("resource, payer, requests, amount, components")
_TEXTS = _USED.format("usage")
_UNSETTLED = " AND state IN ('active', 'suspended', 'pending')"


class Reads(TopUpReads):
    """Each call sees one consistent state."""

    path: str

    def _reader(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection in a transaction."""
        raise NotImplementedError

    def _read(self, query: str, values: Sequence[Any], make: Callable[[Any], _R]) -> list[_R]:
        with self._reader() as db:
            return [make(row) for row in db.execute(query, values)]

    # -- reading ----------------------------------------------------------------

    def snapshot(self, wanted: Mapping[str, Wanted]) -> Loaded:
        with self._reader() as db:
            return {org: loader.snapshot(db, org, want) for org, want in wanted.items()}

    def level(self) -> int:
        with self._reader() as db:
            return schema.level(db)

    def published(self, after: int = 0) -> Sequence[Published]:
        return self._read(
            f"SELECT {DOCUMENT} FROM published WHERE number > ? ORDER BY number",
            (after,),
            lambda row: Published(*row),
        )

    def orgs(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        # Entries too, by skipping through their key: an account may have been deleted.
        query = (
            "SELECT min(org_id) FROM (SELECT min(org_id) AS org_id FROM accounts WHERE org_id > ?"
            " UNION ALL SELECT min(org_id) FROM entries WHERE org_id > ?)"
        )
        found: list[str] = []
        with self._reader() as db:
            while len(found) < limit:
                [org] = db.execute(query, [found[-1] if found else after] * 2).fetchone()
                if org is None:
                    break
                found.append(org)
        return found

    def ahead(self, org: str) -> Self:
        return self

    def entry(self, org: str, key: str) -> Entry | None:
        with self._reader() as db:
            found = loader.entries(db, org, "key = ?", (key,))
            return found[0] if found else None

    def entries(self, org: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        with self._reader() as db:
            return loader.entries(db, org, "seq > ? ORDER BY seq LIMIT ?", (after, limit))

    def history(
        self,
        org: str,
        *,
        before: int | None = None,
        limit: int = 100,
        charges: bool = True,
    ) -> Sequence[Entry]:
        where = "transfers IS NOT NULL" + ("" if charges else f" AND {schema.NO_CHARGE}")
        with self._reader() as db:
            last = 2**63 - 1 if before is None else before
            return loader.entries(
                db, org, f"seq < ? AND {where} ORDER BY seq DESC LIMIT ?", (last, limit)
            )

    def cells(
        self, org: str, grain: str, start: int, end: int, member: int | None = None
    ) -> Mapping[CellKey, Cell]:
        columns = "grain, member, start, resource, payer, requests, amount, components"
        with self._reader() as db:
            found: dict[CellKey, Cell] = {}
            for number in loader.cell_members(db, org, grain) if member is None else [member]:
                # A range of the primary key for each member.
                span = (org, grain, number, start, end)
                found.update(map(codecs.cell, db.execute(_CELLS.format(columns), span)))
            for key, cell in begun(loader.tail_cells(db, org), grain, start, end, member):
                found.setdefault(key, Cell()).add(cell)
            return found

    def usage(
        self, org: str, start: int, end: int, member: int | None = None
    ) -> Sequence[tuple[int, UsageRecord]]:
        with self._reader() as db:
            found: list[tuple[int, int, str]] = []
            for number in loader.used_by(db, org) if member is None else [member]:
                query = _USED.format("occurred_at, seq, usage")
                found += db.execute(query, (org, number, start, end))
            found.sort()
            return [(seq, usage(text)) for _, seq, text in found]

    def usage_sums(self, org: str, spans: Sequence[Span], member: int | None = None) -> Sums:
        sums = Sums()
        with self._reader() as db:
            for number in loader.used_by(db, org) if member is None else [member]:
                # All of a member's texts are parsed as one: there can be very many.
                found: list[tuple[Any, ...]] = []
                texts: list[str] = []
                for grain, *span in spans:
                    if grain is None:
                        texts += (row[0] for row in db.execute(_TEXTS, (org, number, *span)))
                    else:
                        found += db.execute(_SUMS, (org, grain, number, *span))
                for record in json.loads(f"[{','.join(texts)}]"):
                    sums.add_record(record)
                parts = json.loads(f"[{','.join([row[4] for row in found])}]")
                for row, components in zip(found, parts, strict=True):
                    resource, payer, requests, amount, _ = row
                    sums.of(number, resource, payer).add(Cell(requests, int(amount), components))
            lacking = loader.tail_cells(db, org)
            for grain, start, end in spans:
                for key, cell in begun(lacking, grain, start, end, member):
                    sums.add(key.member, key.resource, key.payer, cell)
        return sums

    def members(self, org: str, numbers: Collection[int] | None = None) -> Mapping[int, str]:
        some = "" if numbers is None else " AND member IN (SELECT value FROM json_each(?))"
        query = f"SELECT member, name FROM members WHERE org_id = ?{some} ORDER BY member"
        given = (org,) if numbers is None else (org, json.dumps(list(numbers)))
        return dict(self._read(query, given, lambda row: (row[0], row[1])))

    def events(self, org: str, after: int = 0, limit: int = 100) -> Sequence[Event]:
        return self._read(
            "SELECT seq, n, kind, data FROM events WHERE org_id = ? AND seq > ?"
            " ORDER BY seq, n LIMIT ?",
            (org, after, limit),
            codecs.event,
        )

    def lots(self, org: str) -> Iterator[Lot]:
        return self._scan(LOTS, org, codecs.lot)

    def holds(self, org: str) -> Iterator[HoldRecord]:
        with self._reader() as db:
            columns = codecs.hold_columns(Known.nothing(db))
        return self._scan(HOLDS, org, codecs.hold, columns=columns)

    def counters(self, org: str) -> Iterator[Counter]:
        return self._scan(COUNTERS, org, codecs.counter)

    def items(self, org: str) -> Iterator[Item]:
        return self._scan(ITEMS, org, codecs.item)

    def charges(self, org: str) -> Iterator[Charge]:
        return self._scan(CHARGES, org, codecs.charge)

    def subscriptions(self, org: str) -> Iterator[Subscription]:
        return self._pages("subscriptions", "seq, since, plan", ("seq",), org, codecs.subscription)

    def limits(self, org: str) -> Iterator[LimitSet]:
        return self._scan(LIMITS, org, codecs.limit)

    def spends(self, org: str) -> Iterator[Spend]:
        return self._scan(SPENDS, org, codecs.spend)

    def runs(self, org: str, *, unsettled: bool = False) -> Iterator[Run]:
        if not unsettled:
            return self._scan(RUNS, org, codecs.run)
        table, also = "runs INDEXED BY runs_unsettled", _UNSETTLED
        return self._pages(table, RUNS.selected, ("run",), org, codecs.run, also)

    def storages(self, org: str) -> Iterator[Storage]:
        return self._scan(STORAGES, org, codecs.storage)

    def sizes(self, org: str) -> Iterator[Size]:
        return self._scan(SIZES, org, codecs.size)

    def topups(self, org: str) -> Iterator[TopUp]:
        return self._scan(TOPUPS, org, codecs.topup)

    def misfiled(self, org: str) -> Iterator[tuple[str, str]]:
        for kind, (table, columns) in FILED.items():
            differs = " OR ".join(
                f"{each} IS NOT json_extract(body, '$.{each}')" for each in columns
            )
            query = f"SELECT {', '.join(columns)} FROM {table} WHERE org_id = ? AND ({differs})"
            for row in self._read(query, (org,), tuple):
                yield misfiled(kind, columns, row)

    def deliveries(self, org: str) -> Delivered | None:
        query = "SELECT seq, n, waiting, deliverer, until FROM deliveries WHERE org_id = ?"
        found = self._read(query, (org,), Delivered._make)
        return found[0]._replace(waiting=bool(found[0].waiting)) if found else None

    def named(self, org: str) -> Iterator[tuple[int, str]]:
        found = self._pages("members", "name, member", ("name",), org, tuple)
        return ((member, name) for name, member in found)

    def silent_runs(self, before: int, limit: int = 1000) -> Sequence[tuple[str, str]]:
        query = (
            "SELECT org_id, run FROM runs INDEXED BY runs_open"
            " WHERE state IN ('active', 'suspended') AND seen_at < ?"
            " ORDER BY seen_at, org_id, run LIMIT ?"
        )
        return self._read(query, (before, limit), lambda row: (row[0], row[1]))

    def _scan(
        self, table: Table[_R], org: str, make: Callable[[Any], _R], columns: str | None = None
    ) -> Iterator[_R]:
        return self._pages(table.name, columns or table.selected, table.key or (), org, make)

    def _pages(
        self,
        table: str,
        columns: str,
        key: tuple[str, ...],
        org: str,
        make: Callable[[Any], _R],
        also: str = "",
    ) -> Iterator[_R]:
        """All of an org's rows by pages of the primary key, whose columns come first."""
        order = ", ".join(key)
        marks = ", ".join("?" * len(key))
        last: tuple[Any, ...] = ()
        while True:
            beyond = f" AND ({order}) > ({marks})" if last else ""
            page = self._read(
                f"SELECT {columns} FROM {table} WHERE org_id = ?{also}{beyond}"
                f" ORDER BY {order} LIMIT {_PAGE}",
                (org, *last),
                tuple,
            )
            with mapped(self.path):
                yield from [
                    readable(table.split(maxsplit=1)[0], row[: len(key)], make, row) for row in page
                ]
            if len(page) < _PAGE:
                return
            last = page[-1][: len(key)]
