"""What each table holds, and the statements that write it: for one row, and for many.

Every write is an insert that, where rows may stand already, adds to them or replaces them.
Many rows come as one text for each column, split by the server: neither the statement nor
the parameters grow in number with the rows.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from attrs import define, field, frozen

from billing_adapters.postgres.wire import Query, Statement, statement

__all__ = ["TABLES", "Rows", "Table", "Value", "Writer", "joined", "text", "texts"]

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

    put: dict[str, list[tuple[Value, ...]]] = field(factory=lambda: defaultdict(list))
    updated: dict[str, list[tuple[Value, ...]]] = field(factory=lambda: defaultdict(list))


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


def _columns(names: str, kinds: str) -> dict[str, str]:
    full = {"t": "text", "i": "bigint", "n": "numeric", "b": "bytea", "o": "boolean"}
    return {name: full[kind] for name, kind in zip(names.split(", "), kinds.split(), strict=True)}


def _replaced(names: str) -> dict[str, str]:
    return {name: f"excluded.{name}" for name in names.split(", ")}


def _added(names: str) -> dict[str, str]:
    return {name: f"kept.{name} + excluded.{name}" for name in names.split(", ")}


_ACCOUNT_STATE = (
    "head, watermark, next_lapse, balance, debt, granted, used, lots, members, closed_at,"
    " recorded_at, plan, paused, plan_since, period, allowance, ahead, rolled, rolled_of,"
    " limited_since, low_balance, topup_below, topup_from, topup_open, summed, was"
)

# In the order in which they are written: the accounts first, whose locks the rest rely on.
TABLES = (
    Table(
        "accounts",
        _columns(
            "org_id, currency, livemode, anchor, opened_at, seq, head, watermark, next_lapse,"
            " balance, debt, granted, used, lots, members, closed_at, recorded_at, plan, paused,"
            " plan_since, period, allowance, ahead, rolled, rolled_of, limited_since,"
            " low_balance, topup_below, topup_from, topup_open, summed, erased, was",
            "t t o i i i b i i i i n n i i i i t o i i i i i i i i i i o i i b",
        ),
        ("org_id",),
        # NULL, which is an error, where the row is not the one that was decided on. What
        # was piped behind is then not done either.
        {
            "seq": "CASE WHEN kept.head = excluded.was AND kept.erased = excluded.erased"
            " THEN excluded.seq END",
            **_replaced(_ACCOUNT_STATE),
        },
    ),
    Table(
        "entries",
        _columns(
            "org_id, seq, key, at, recorded_at, content, effects, amount, balance, transfers,"
            " usage, member, occurred_at, hash",
            "t i t i i t t i i t t i i b",
        ),
    ),
    Table("events", _columns("org_id, seq, n, kind, data", "t i i t t")),
    Table("members", _columns("org_id, name, member", "t t i")),
    Table(
        "lots",
        _columns(
            "org_id, lot, seq, kind, priority, amount, remainder, reserved, expires_at, scope,"
            " period, spent",
            "t i i t i i i i i t i o",
        ),
        ("org_id", "lot"),
        _replaced("remainder, reserved, spent"),
    ),
    Table(
        "holds",
        _columns(
            "org_id, key, resource, expires_at, state, parts, counted, member, project, used",
            "t t t i t t t i t t",
        ),
        ("org_id", "key"),
        _replaced("expires_at, state, parts, counted, used"),
    ),
    Table(
        "counters",
        _columns("org_id, resource, start, components", "t t i t"),
        ("org_id", "resource", "start"),
        _replaced("components"),
    ),
    Table(
        "items",
        _columns("org_id, item, resource, components", "t t t t"),
        ("org_id", "item", "resource"),
        _replaced("components"),
    ),
    Table(
        "charges",
        _columns(
            "org_id, charge, resource, amount, unpaid, reversed, payments, period, priced",
            "t i t i i i t i i",
        ),
        ("org_id", "charge"),
        _replaced("amount, unpaid, reversed, payments, priced"),
    ),
    Table("subscriptions", _columns("org_id, seq, since, plan", "t i i t")),
    Table(
        "limits",
        _columns("org_id, subject, per, amount, alerts, blocks", "t t t i t o"),
        ("org_id", "subject", "per"),
        _replaced("amount, alerts, blocks"),
    ),
    Table(
        "spends",
        _columns("org_id, subject, grain, start, amount", "t t t i n"),
        ("org_id", "subject", "grain", "start"),
        _replaced("amount"),
    ),
    Table(
        "runs",
        _columns("org_id, run, state, seen_at, body", "t t t i t"),
        ("org_id", "run"),
        _replaced("state, seen_at, body"),
    ),
    Table(
        "storages",
        _columns("org_id, workspace, body", "t t t"),
        ("org_id", "workspace"),
        _replaced("body"),
    ),
    Table(
        "sizes",
        _columns("org_id, workspace, at, size", "t t i i"),
        ("org_id", "workspace", "at"),
        _replaced("size"),
    ),
    Table(
        "topups",
        _columns("org_id, topup, due_at, asked, body", "t t i t t"),
        ("org_id", "topup"),
        _replaced("due_at, asked, body"),
    ),
    Table(
        "auto_topups",
        _columns("org_id, customer, body", "t t t"),
        ("org_id",),
        _replaced("customer, body"),
    ),
    Table(
        "deliveries",
        _columns("org_id, seq, n, waiting, deliverer, until", "t i i o t i"),
        ("org_id",),
        _replaced("waiting"),
    ),
    Table(
        "cells",
        _columns(
            "org_id, grain, member, start, resource, payer, component, requests, rest, quantity,"
            " amount",
            "t t i i t t t i n n n",
        ),
        ("org_id", "grain", "member", "start", "resource", "payer", "component"),
        _added("requests, rest, quantity, amount"),
    ),
)


class _Statements(NamedTuple):
    one: Statement
    many: Statement
    update: Statement | None
    taken: Callable[[tuple[Value, ...]], Any]
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
