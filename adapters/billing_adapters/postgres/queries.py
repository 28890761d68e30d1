"""The reads of the port, over whatever ``_run`` asks."""

from __future__ import annotations

import json
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
    SUBSCRIPTIONS,
    TOPUPS,
    Table,
    usage,
)
from billing_adapters.json_rows import FILED, misfiled, readable
from billing_adapters.postgres import codecs
from billing_adapters.postgres.background import WorkReader, WorkReads, work_reader
from billing_adapters.postgres.codecs import string, whole
from billing_adapters.postgres.errors import mapped
from billing_adapters.postgres.loader import Loader, Send, loaded
from billing_adapters.postgres.lookups import skipping
from billing_adapters.postgres.statements import Value, joined, text
from billing_adapters.postgres.wire import Query, Row, Statement, statement
from billing_core.ports.state import Loaded, Wanted
from billing_core.pricing.catalogue import Published
from billing_core.records.events import Event
from billing_core.records.ledger import (
    Charge,
    Entry,
    HoldRecord,
    LimitSet,
    Lot,
    Spend,
    Subscription,
)
from billing_core.records.rollups import Span, Sums, begun, tail_cells
from billing_core.records.runs import Run
from billing_core.records.storage import Size, Storage
from billing_core.records.topups import TopUp
from billing_core.records.usage import Cell, CellKey, Counter, Item, UsageRecord

__all__ = ["Reader", "Reads", "document_of", "document_row"]

_R = TypeVar("_R")
_Asked = tuple[Statement, tuple[Value, ...]]
_PAGE = 500
_EVER = 2**62

_DOCUMENT = "number, version, published_at, body, digest"
_OTHER = "key NOT BETWEEN 'deduct:' AND 'deduct;' AND key NOT BETWEEN 'settle:' AND 'settle;'"


class Reader:
    """The statements that read the tables of one schema (a quoted name)."""

    def __init__(self, schema: str) -> None:
        s = schema
        entries = f"SELECT {codecs.ENTRY} FROM {s}.entries WHERE org_id = $1"
        self.level = statement(f"SELECT max(needs) FROM {s}.migrations")
        self.published = statement(
            f"SELECT {_DOCUMENT} FROM {s}.published WHERE number > $1 ORDER BY number"
        )
        self.same = statement(
            f"SELECT {_DOCUMENT} FROM {s}.published WHERE number = $1 OR version = $2"
        )
        self.publish = statement(
            f"INSERT INTO {s}.published ({_DOCUMENT}) VALUES ($1, $2, $3, $4, $5)"
        )
        # Entries too, by the first of each org: an account may have been deleted.
        self.orgs = statement(
            f"(SELECT org_id FROM {s}.accounts WHERE org_id > $1 ORDER BY org_id LIMIT $2)"
            f" UNION (SELECT org_id FROM {s}.entries WHERE org_id > $1 AND seq = 1"
            " ORDER BY org_id LIMIT $2) ORDER BY org_id LIMIT $2"
        )
        self.entry = statement(f"{entries} AND key = $2")
        self.entries = statement(f"{entries} AND seq > $2 ORDER BY seq LIMIT $3")
        moved = f"{entries} AND seq < $2 AND transfers IS NOT NULL"
        self.history = statement(f"{moved} ORDER BY seq DESC LIMIT $3")
        self.other_history = statement(f"{moved} AND {_OTHER} ORDER BY seq DESC LIMIT $3")
        # By member, each a range of the primary key; all members, by skipping through it.
        columns = (
            "grain, member, start, resource, payer, component, requests, rest, quantity, amount"
        )
        # With it what the kept cells lack, whatever it is about: so it is one state.
        nothing = ", ".join("NULL" for _ in columns.split(", "))
        tail = (
            f"FROM {s}.accounts AS a CROSS JOIN LATERAL (SELECT e.usage"
            f" FROM {s}.entries AS e WHERE e.org_id = $1 AND e.seq > a.summed AND e.seq <= a.seq"
            " AND e.usage IS NOT NULL ORDER BY e.seq OFFSET 0) AS t"
        )
        and_tail = f"UNION ALL SELECT {nothing}, t.usage, a.anchor {tail} WHERE a.org_id = $1"
        self.cells = statement(
            f"SELECT {columns}, NULL, NULL::bigint FROM {s}.cells AS c WHERE c.org_id = $1"
            f" AND grain = $2 AND member = $5 AND start >= $3 AND start < $4 {and_tail}"
        )
        self.all_cells = statement(
            f"{skipping(s, 'cells', 'grain = $2')}"
            f" SELECT {', '.join(f't.{name}' for name in columns.split(', '))}, NULL, NULL::bigint"
            f" FROM known CROSS JOIN LATERAL (SELECT {columns} FROM {s}.cells AS c"
            " WHERE c.org_id = $1 AND c.grain = $2 AND c.member = known.member"
            f" AND c.start >= $3 AND c.start < $4 OFFSET 0) AS t {and_tail}"
        )
        used = f"SELECT e.seq, e.usage, e.occurred_at FROM {s}.entries AS e WHERE e.org_id = $1"
        within = "e.occurred_at >= $2 AND e.occurred_at < $3"
        users = skipping(s, "entries", "occurred_at IS NOT NULL")
        self.usage = statement(
            f"{used} AND e.member = $4 AND {within} ORDER BY e.occurred_at, e.seq"
        )
        self.all_usage = statement(
            f"{users} SELECT t.seq, t.usage, t.occurred_at FROM known CROSS JOIN LATERAL"
            f" ({used} AND e.member = known.member AND {within} OFFSET 0) AS t"
            " ORDER BY t.occurred_at, t.seq"
        )
        # What each member has of each span, a range of an index, in one statement: so it is
        # one state, whatever the isolation. A span without a grain is raw records.
        spans = (
            "unnest(string_to_array($2, E'\\x1f', E'\\x1e')::text[],"
            " string_to_array($3, E'\\x1f')::bigint[], string_to_array($4, E'\\x1f')::bigint[])"
            " AS w (grain, first, beyond)"
        )
        key = "resource, payer, component"
        sums = ", ".join(f"sum(t.{name})" for name in ("requests", "rest", "quantity", "amount"))
        added = (
            f"SELECT known.member, t.resource, t.payer, t.component, {sums}, NULL, NULL::bigint"
            f" FROM known CROSS JOIN {spans} CROSS JOIN LATERAL (SELECT {key}, requests, rest,"
            f" quantity, amount FROM {s}.cells AS c WHERE c.org_id = $1 AND c.grain = w.grain"
            " AND c.member = known.member AND c.start >= w.first AND c.start < w.beyond"
            " OFFSET 0) AS t GROUP BY known.member, t.resource, t.payer, t.component"
            " UNION ALL SELECT known.member, NULL, NULL, NULL, NULL, NULL, NULL, NULL, t.usage,"
            f" NULL::bigint FROM known CROSS JOIN {spans} CROSS JOIN LATERAL (SELECT e.usage"
            f" FROM {s}.entries AS e WHERE w.grain IS NULL AND e.org_id = $1"
            " AND e.member = known.member AND e.occurred_at >= w.first"
            " AND e.occurred_at < w.beyond OFFSET 0) AS t"
            f" UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, t.usage, a.anchor"
            f" {tail} WHERE a.org_id = $1"
        )
        self.sums = statement(f"WITH known (member) AS (SELECT $5::bigint) {added}")
        self.all_sums = statement(f"{users} {added}")
        self.members = statement(
            f"SELECT member, name FROM {s}.members WHERE org_id = $1 ORDER BY member"
        )
        self.some_members = statement(
            f"SELECT member, name FROM {s}.members WHERE org_id = $1"
            " AND member = ANY (string_to_array($2, ',')::bigint[]) ORDER BY member"
        )
        self.erase = statement(
            f"DELETE FROM {s}.members WHERE org_id = $1 AND name = $2 RETURNING member"
        )
        # Takes the account's lock, and tells everybody who remembers the name.
        self.erasing = statement(f"UPDATE {s}.accounts SET erased = erased + 1 WHERE org_id = $1")
        self.events = statement(
            f"SELECT seq, n, kind, data FROM {s}.events WHERE org_id = $1 AND seq > $2"
            " ORDER BY seq, n LIMIT $3"
        )
        scanned: list[Table[Any]] = [
            LOTS, HOLDS, COUNTERS, ITEMS, CHARGES, LIMITS, SPENDS, RUNS, STORAGES, SIZES, TOPUPS,
        ]  # fmt: skip
        pages = {
            **{each.name: (each.selected, ", ".join(each.key or ())) for each in scanned},
            "subscriptions": (SUBSCRIPTIONS.selected, "seq"),
            "members": ("name, member", "name"),
        }
        self.first_pages: dict[str, Statement] = {}
        self.next_pages: dict[str, Statement] = {}
        for table, (names, key) in pages.items():
            select = f"SELECT {names} FROM {s}.{table} WHERE org_id = $1"
            marks = ", ".join(f"${n}" for n, _ in enumerate(key.split(", "), 2))
            order = f"ORDER BY {key} LIMIT {_PAGE}"
            self.first_pages[table] = statement(f"{select} {order}")
            self.next_pages[table] = statement(f"{select} AND ({key}) > ({marks}) {order}")
            if table == "runs":
                some = f"{select} AND state IN ('active', 'suspended', 'pending')"
                self.first_pages["unsettled"] = statement(f"{some} {order}")
                self.next_pages["unsettled"] = statement(f"{some} AND ({key}) > ({marks}) {order}")
        self.misfiled = {kind: _misfiled(s, *filed) for kind, filed in FILED.items()}
        self.work = work_reader(s)

    @property
    def statements(self) -> list[bytes]:
        """Every statement's SQL, to be checked."""
        alone = [each for each in vars(self).values() if isinstance(each, Statement)]
        pages = [*self.first_pages.values(), *self.next_pages.values()]
        return [each.sql for each in [*alone, *pages, *self.misfiled.values(), *self.work]]


def _misfiled(schema: str, table: str, names: Sequence[str]) -> Statement:
    """Rows whose columns are not what the record in them says."""
    differs = " OR ".join(
        f"{name} IS DISTINCT FROM (body::json ->> '{name}'){'::bigint' * name.endswith('_at')}"
        for name in names
    )
    columns = ", ".join(names)
    return statement(f"SELECT {columns} FROM {schema}.{table} WHERE org_id = $1 AND ({differs})")


class Reads(WorkReads):
    """Each call sees one consistent state: it is one statement, or a snapshot."""

    name: str
    _reader: Reader
    _loader: Loader
    _fetched: dict[_Asked, list[Row]] | None = None  # ahead of being asked for, each once

    @property
    def _work(self) -> WorkReader:
        return self._reader.work

    def _asking(self) -> AbstractContextManager[Send]:
        """Something that sends single statements."""
        raise NotImplementedError

    def _snapshot(self) -> AbstractContextManager[Send]:
        """Something whose statements all see one state."""
        raise NotImplementedError

    def _read(self, query: Statement, make: Callable[[Row], _R], *values: Value) -> list[_R]:
        fetched = self._fetched.pop((query, values), None) if self._fetched else None
        if fetched is not None:
            with mapped(self.name):
                return [make(row) for row in fetched]
        with mapped(self.name), self._asking() as run:
            [found] = run([Query(query, [text(value) for value in values])])
            return [make(row) for row in found]

    def _first(self, org: str) -> list[_Asked]:
        """What is asked first of each table by whoever reads all of an org."""
        tables = [query for name, query in self._reader.first_pages.items() if name != "unsettled"]
        work, cells = self._reader.work, self._reader.all_cells
        every = [*tables, work.auto, *self._reader.misfiled.values(), work.deliveries]
        return [
            *((query, (org,)) for query in every),
            *((cells, (org, grain, -_EVER, _EVER)) for grain in ("hour", "day", "period")),
            *((self._reader.events, (org, 0, limit)) for limit in (1, _PAGE)),
            (work.waiting, (org, 1)),
        ]

    # -- reading ----------------------------------------------------------------

    def snapshot(self, wanted: Mapping[str, Wanted]) -> Loaded:
        with mapped(self.name), self._snapshot() as run:
            return loaded(self._loader.load(run, wanted, lock=False))

    def level(self) -> int:
        [found] = self._read(self._reader.level, lambda row: whole(row[0]))
        return found

    def published(self, after: int = 0) -> Sequence[Published]:
        return self._read(self._reader.published, document_of, after)

    def orgs(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        return self._read(self._reader.orgs, lambda row: string(row[0]), after, limit)

    def ahead(self, org: str) -> Self:
        return self

    def entry(self, org: str, key: str) -> Entry | None:
        found = self._read(self._reader.entry, lambda row: codecs.entry(org, row), org, key)
        return found[0] if found else None

    def entries(self, org: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        query = self._reader.entries
        return self._read(query, lambda row: codecs.entry(org, row), org, after, limit)

    def history(
        self,
        org: str,
        *,
        before: int | None = None,
        limit: int = 100,
        charges: bool = True,
    ) -> Sequence[Entry]:
        last = 2**63 - 1 if before is None else before
        query = self._reader.history if charges else self._reader.other_history
        return self._read(query, lambda row: codecs.entry(org, row), org, last, limit)

    def cells(
        self, org: str, grain: str, start: int, end: int, member: int | None = None
    ) -> Mapping[CellKey, Cell]:
        span = org, grain, start, end
        if member is None:
            found: list[Row] = self._read(self._reader.all_cells, tuple, *span)
        else:
            found = self._read(self._reader.cells, tuple, *span, member)
        with mapped(self.name):
            cells = codecs.cells(row for row in found if row[10] is None)
            lacking = _lacking([row[10:] for row in found if row[10] is not None])
            for key, cell in begun(lacking, grain, start, end, member):
                cells.setdefault(key, Cell()).add(cell)
        return cells

    def usage(
        self, org: str, start: int, end: int, member: int | None = None
    ) -> Sequence[tuple[int, UsageRecord]]:
        if member is None:
            return self._read(self._reader.all_usage, _usage, org, start, end)
        return self._read(self._reader.usage, _usage, org, start, end, member)

    def usage_sums(self, org: str, spans: Sequence[Span], member: int | None = None) -> Sums:
        columns = [joined(column) for column in zip(*spans, strict=True)]
        query = self._reader.all_sums if member is None else self._reader.sums
        values = [text(org), *columns, *(() if member is None else (text(member),))]
        sums = Sums()
        if not spans:
            return sums
        with mapped(self.name), self._asking() as run:
            [found] = run([Query(query, values)])
            # All texts are parsed as one: there can be very many.
            raw = b",".join([row[8] for row in found if row[8] is not None and row[9] is None])
            for record in json.loads(b"[%s]" % raw):
                sums.add_record(record)
            lacking = _lacking([row[8:] for row in found if row[9] is not None])
            for span in spans:
                for key, cell in begun(lacking, *span, member):
                    sums.add(key.member, key.resource, key.payer, cell)
            for number, resource, payer, component, *numbers, usage, _ in found:
                if usage is None:
                    requests, rest, quantity, amount = map(codecs.whole, numbers)
                    cell = Cell(requests, rest + amount)
                    if component:
                        cell.components[component.decode()] = [quantity, amount]
                    sums.add(whole(number), string(resource), string(payer), cell)
        return sums

    def members(self, org: str, numbers: Collection[int] | None = None) -> Mapping[int, str]:
        some = [] if numbers is None else [",".join(map(str, numbers))]
        query = self._reader.some_members if some else self._reader.members
        pair = self._read(query, lambda row: (whole(row[0]), string(row[1])), org, *some)
        return dict(pair)

    def events(self, org: str, after: int = 0, limit: int = 100) -> Sequence[Event]:
        return self._read(self._reader.events, codecs.event, org, after, limit)

    def lots(self, org: str) -> Iterator[Lot]:
        return self._scan("lots", 1, org, codecs.lot)

    def holds(self, org: str) -> Iterator[HoldRecord]:
        return self._scan("holds", 1, org, codecs.hold)

    def counters(self, org: str) -> Iterator[Counter]:
        return self._scan("counters", 2, org, codecs.counter)

    def items(self, org: str) -> Iterator[Item]:
        return self._scan("items", 2, org, codecs.item)

    def charges(self, org: str) -> Iterator[Charge]:
        return self._scan("charges", 1, org, codecs.charge)

    def subscriptions(self, org: str) -> Iterator[Subscription]:
        return self._scan("subscriptions", 1, org, codecs.subscription)

    def limits(self, org: str) -> Iterator[LimitSet]:
        return self._scan("limits", 2, org, codecs.limit)

    def spends(self, org: str) -> Iterator[Spend]:
        return self._scan("spends", 3, org, codecs.spend)

    def runs(self, org: str, *, unsettled: bool = False) -> Iterator[Run]:
        return self._scan("unsettled" if unsettled else "runs", 1, org, codecs.run)

    def storages(self, org: str) -> Iterator[Storage]:
        return self._scan("storages", 1, org, codecs.storage)

    def sizes(self, org: str) -> Iterator[Size]:
        return self._scan("sizes", 2, org, codecs.size)

    def topups(self, org: str) -> Iterator[TopUp]:
        return self._scan("topups", 1, org, codecs.topup)

    def named(self, org: str) -> Iterator[tuple[int, str]]:
        return self._scan("members", 1, org, lambda row: (whole(row[1]), string(row[0])))

    def misfiled(self, org: str) -> Iterator[tuple[str, str]]:
        for kind, query in self._reader.misfiled.items():
            columns = FILED[kind][1]
            for row in self._read(query, lambda row: [codecs.named(each) for each in row], org):
                yield misfiled(kind, columns, row)

    def _scan(self, table: str, key: int, org: str, make: Callable[[Row], _R]) -> Iterator[_R]:
        """All of an org's rows by pages of the primary key, whose columns come first."""
        query = self._reader.first_pages[table]
        last: tuple[Value, ...] = ()
        while True:
            page: list[Row] = self._read(query, tuple, org, *last)
            with mapped(self.name):
                yield from [readable(table, row[:key], make, row) for row in page]
            if len(page) < _PAGE:
                return
            last = tuple(None if each is None else each.decode() for each in page[-1][:key])
            query = self._reader.next_pages[table]


def document_row(document: Published) -> tuple[Value, ...]:
    return (
        document.number, document.version, document.published_at, document.body, document.digest,
    )  # fmt: skip


def document_of(row: Row) -> Published:
    number, version, published_at, body, digest = row
    return Published(
        whole(number), string(version), whole(published_at), string(body),
        string(digest),
    )  # fmt: skip


def _lacking(tail: Sequence[Row]) -> dict[CellKey, Cell]:
    """What the kept cells lack: of usage records, with the account's anchor."""
    return tail_cells([usage(string(row[0])) for row in tail], whole(tail[0][1])) if tail else {}


def _usage(row: Row) -> tuple[int, UsageRecord]:
    return whole(row[0]), usage(string(row[1]))
