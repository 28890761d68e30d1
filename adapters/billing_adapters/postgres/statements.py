"""What each table holds, and the statements that write it: for one row, and for many.

Every write is an insert that, where rows may stand already, adds to them or replaces them.
Many rows come as one text for each column, split by the server: neither the statement nor
the parameters grow in number with the rows.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from attrs import define, field, frozen

from billing_adapters import columns
from billing_adapters.postgres.wire import Query, Statement, statement
from billing_core.values.text import compact

__all__ = ["TABLES", "Rows", "Table", "Value", "Writer", "joined", "row_of", "text", "texts"]

R = TypeVar("R")
Value = str | int | bool | bytes | None

# No name or canonical JSON contains control characters.
_SEPARATOR, _NONE = "\x1f", "\x1e"


def text(value: Value) -> bytes | None:
    """A value as the server reads it."""
    if isinstance(value, str):
        return value.encode()
    if value is None:
        return None
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    return str(value).encode()


def texts(values: Iterable[Value]) -> list[bytes | None]:
    """Many values as the server reads them: most are numbers, or nothing."""
    return [
        None if v is None
        else b"%d" % v if type(v) is int
        else v.encode() if type(v) is str
        else b"\\x" + v.hex().encode() if type(v) is bytes
        else _TRUTHS[v] if type(v) is bool
        else text(v)
        for v in values
    ]  # fmt: skip


def joined(values: Iterable[Value]) -> bytes:
    """Values as one text, to be split by the server."""
    parts = [
        _NONE if v is None else "\\x" + v.hex() if isinstance(v, bytes) else str(v) for v in values
    ]
    whole = _SEPARATOR.join(parts)
    if whole.count(_SEPARATOR) >= max(1, len(parts)):
        raise ValueError("a text with a control character")
    return whole.encode()


_TRUTHS = {False: b"f", True: b"t"}
_USED = re.compile(r"excluded\.(\w+)")
_FEW = 6


@define
class Rows:
    """Rows to be written, by table: those ``put`` may stand already or not, those ``updated``
    do."""

    put: dict[str, list[Sequence[Value]]] = field(factory=lambda: defaultdict(list))
    updated: dict[str, list[Sequence[Value]]] = field(factory=lambda: defaultdict(list))


@frozen
class Table:
    """``columns``: name → type, in order.  ``key``: the columns under which a row may stand
    already; then ``put`` says what becomes of it: column → expression."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...] = ()
    put: Mapping[str, str] = {}

    def insert(self, schema: str, rows: str) -> str:
        names = ", ".join(self.columns)
        sql = f"INSERT INTO {schema}.{self.name} AS kept ({names}) {rows}"
        if self.key:
            put = ", ".join(f"{name} = {value}" for name, value in self.put.items())
            sql += f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {put}"
        return sql

    def one(self, schema: str) -> str:
        marks = ", ".join(f"${n}" for n in range(1, len(self.columns) + 1))
        return self.insert(schema, f"VALUES ({marks})")

    def update(self, schema: str) -> tuple[str, list[int]]:
        """The statement for one row that stands already, which costs the server half as much,
        and which of the row's values it takes."""
        names = list(self.columns)
        put = {name: _USED.findall(value) for name, value in self.put.items()}
        used = {*self.key, *(each for found in put.values() for each in found)}
        taken = [n for n, name in enumerate(names) if name in used]
        mark = {names[n]: f"${place}::{self.columns[names[n]]}" for place, n in enumerate(taken, 1)}
        sets = ", ".join(
            f"{name} = {_USED.sub(lambda found: mark[found[1]], value)}"
            for name, value in self.put.items()
        )
        where = " AND ".join(f"{name} = {mark[name]}" for name in self.key)
        return f"UPDATE {schema}.{self.name} AS kept SET {sets} WHERE {where}", taken

    def many(self, schema: str) -> str:
        arrays = ", ".join(
            f"string_to_array(${n}, E'\\x1f', E'\\x1e')::{kind}[]"
            for n, kind in enumerate(self.columns.values(), 1)
        )
        return self.insert(schema, f"SELECT * FROM unnest({arrays})")


def _replaced(names: Iterable[str]) -> dict[str, str]:
    return {name: f"excluded.{name}" for name in names}


_SUMS = ("requests", "rest", "quantity", "amount")
_TYPES: Mapping[columns.Kind, str] = {
    "text": "text", "json": "text", "whole": "bigint", "narrow": "bigint", "wide": "numeric",
    "truth": "boolean", "digest": "bytea",
}  # fmt: skip
_WRITES: Mapping[columns.Kind, Callable[[Any], Any]] = {"json": compact, "narrow": columns.narrow}


def row_of(table: columns.Table[R]) -> Callable[[str, R], Sequence[Value]]:
    """What makes an org's row of a record, in the order of the table here."""
    return columns.form_of(table, _WRITES).row


def _table(table: columns.Table[Any], put: Mapping[str, str] | None = None, **more: str) -> Table:
    """``more``: columns that are nothing of the record."""
    form = columns.form_of(table, _WRITES)
    types = ["text", *(_TYPES[column.kind] for column in form.columns)]
    named = {**dict(zip(form.names, types, strict=True)), **more}
    if table.key is None:
        return Table(table.name, named)
    return Table(table.name, named, ("org_id", *table.key), put or _replaced(table.changing))


# In the order in which they are written: the accounts first, whose locks the rest rely on.
TABLES = (
    _table(
        columns.ACCOUNTS,
        # NULL, which is an error, where the row is not the one that was decided on. What
        # was piped behind is then not done either.
        {
            **_replaced((*columns.ACCOUNTS.changing, "was")),
            "seq": "CASE WHEN kept.head = excluded.was AND kept.erased = excluded.erased"
            " THEN excluded.seq END",
        },
        erased="bigint",
        was="bytea",
    ),
    _table(columns.ENTRIES),
    _table(columns.EVENTS),
    Table("members", {"org_id": "text", "name": "text", "member": "bigint"}),
    _table(columns.LOTS),
    _table(columns.HOLDS),
    _table(columns.COUNTERS),
    _table(columns.ITEMS),
    _table(columns.CHARGES),
    _table(columns.SUBSCRIPTIONS),
    _table(columns.LIMITS),
    _table(columns.SPENDS),
    _table(columns.RUNS),
    _table(columns.STORAGES),
    _table(columns.SIZES),
    _table(columns.TOPUPS),
    _table(columns.AUTO_TOPUPS),
    Table(
        "deliveries",
        {
            "org_id": "text", "seq": "bigint", "n": "bigint", "waiting": "boolean",
            "deliverer": "text", "until": "bigint",
        },
        ("org_id",),
        _replaced(("waiting",)),
    ),
    Table(
        "cells",
        {
            "org_id": "text", "grain": "text", "member": "bigint", "start": "bigint",
            "resource": "text", "payer": "text", "component": "text", "requests": "bigint",
            "rest": "numeric", "quantity": "numeric", "amount": "numeric",
        },
        ("org_id", "grain", "member", "start", "resource", "payer", "component"),
        {name: f"kept.{name} + excluded.{name}" for name in _SUMS},
    ),
)  # fmt: skip


class _Statements(NamedTuple):
    one: Statement
    many: Statement
    update: Statement | None
    taken: Callable[[Sequence[Value]], Any]
    """Which of a row's values the update takes."""


class Writer:
    """The statements that write to the tables of one schema (a quoted name)."""

    def __init__(self, schema: str) -> None:
        self._statements: dict[str, _Statements] = {}
        for table in TABLES:
            update, taken = table.update(schema) if table.key else (None, [])
            self._statements[table.name] = _Statements(
                statement(table.one(schema)),
                statement(table.many(schema)),
                None if update is None else statement(update),
                itemgetter(*taken) if taken else tuple,
            )
        self._places = {table.name: n for n, table in enumerate(TABLES)}

    def queries(self, rows: Rows) -> list[Query]:
        """One or two statements for each table that has rows to be written; a few more
        where a few rows stand already."""
        found: list[Query] = []
        for name in sorted({*rows.put, *rows.updated}, key=self._places.__getitem__):
            one, many, update, taken = self._statements[name]
            put, updated = rows.put.get(name, ()), rows.updated.get(name, ())
            if update is not None and len(updated) <= _FEW:
                for row in updated:
                    found.append(Query(update, texts(taken(row))))
            else:
                put = [*put, *updated]
            if len(put) == 1:
                found.append(Query(one, texts(put[0])))
            elif put:
                # In the order given, which is that of the orgs: so are the locks.
                found.append(Query(many, [joined(column) for column in zip(*put, strict=True)]))
        return found

    @property
    def statements(self) -> list[bytes]:
        """Every statement's SQL, to be checked."""
        found: list[bytes] = []
        for one, many, update, _ in self._statements.values():
            found += [one.sql, many.sql] if update is None else [one.sql, many.sql, update.sql]
        return found
