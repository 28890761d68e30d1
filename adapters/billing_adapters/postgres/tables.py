"""What each table holds, and the statements that write it: for one row, and for many.

Every write is an insert that, where rows may stand already, adds to them or replaces them.
Many rows come as one text for each column, split by the server: neither the statement nor
the parameters grow in number with the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from billing_adapters.postgres.wire import Query, Statement, statement

__all__ = ["NONE", "SEPARATOR", "TABLES", "Table", "Value", "Writer", "joined", "text"]

Value = str | int | bool | bytes | None

# No name or canonical JSON contains control characters.
SEPARATOR, NONE = "\x1f", "\x1e"


def text(value: Value) -> bytes | None:
    """A value as the server reads it."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    return str(value).encode()


def joined(values: Iterable[Value]) -> bytes:
    """Values as one text, to be split by the server."""
    parts = [
        NONE if v is None else "\\x" + v.hex() if isinstance(v, bytes) else str(v) for v in values
    ]
    whole = SEPARATOR.join(parts)
    if whole.count(SEPARATOR) >= max(1, len(parts)):
        raise ValueError("a text with a control character")
    return whole.encode()


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
    "head, watermark, next_lapse, balance, debt, granted, used, lots, members, closed_at, was"
)

# In the order in which they are written: the accounts first, whose locks the rest rely on.
TABLES = (
    Table(
        "accounts",
        _columns(
            "org_id, currency, livemode, anchor, opened_at, seq, head, watermark, next_lapse,"
            " balance, debt, granted, used, lots, members, closed_at, erased, was",
            "t t o i i i b i i i i i i i i i i b",
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
            " usage, occurred_at, hash",
            "t i t i i t t i i t t i b",
        ),
    ),
    Table("events", _columns("org_id, seq, n, kind, data", "t i i t t")),
    Table("members", _columns("org_id, name, member", "t t i")),
    Table(
        "lots",
        _columns(
            "org_id, lot, seq, kind, priority, amount, remainder, reserved, expires_at, scope,"
            " spent",
            "t i i t i i i i i t o",
        ),
        ("org_id", "lot"),
        _replaced("remainder, reserved, spent"),
    ),
    Table(
        "holds",
        _columns("org_id, key, resource, expires_at, state, parts, counted", "t t t i t t t"),
        ("org_id", "key"),
        _replaced("expires_at, state, parts, counted"),
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
            "org_id, charge, resource, amount, unpaid, reversed, payments, priced",
            "t i t i i i t i",
        ),
        ("org_id", "charge"),
        _replaced("unpaid, reversed, payments, priced"),
    ),
    Table(
        "cells",
        _columns(
            "org_id, grain, member, start, resource, payer, component, requests, rest, quantity,"
            " amount",
            "t t i i t t t i i n i",
        ),
        ("org_id", "grain", "member", "start", "resource", "payer", "component"),
        _added("requests, rest, quantity, amount"),
    ),
)


class Writer:
    """The statements that write to the tables of one schema (a quoted name)."""

    def __init__(self, schema: str) -> None:
        self._statements: dict[str, tuple[Statement, Statement]] = {
            table.name: (statement(table.one(schema)), statement(table.many(schema)))
            for table in TABLES
        }

    def queries(self, rows: Mapping[str, Sequence[tuple[Value, ...]]]) -> list[Query]:
        """One statement for each table that has rows to be written."""
        found: list[Query] = []
        for name, (one, many) in self._statements.items():
            values: Sequence[tuple[Any, ...]] = rows.get(name, ())
            if len(values) == 1:
                found.append(Query(one, [text(value) for value in values[0]]))
            elif values:
                found.append(Query(many, [joined(column) for column in zip(*values, strict=True)]))
        return found

    @property
    def statements(self) -> list[bytes]:
        """Every statement's SQL, to be checked."""
        return [each.sql for pair in self._statements.values() for each in pair]
