"""How rows are inserted: by the names of their columns.

A later version of the library may add columns to a table while this one runs beside it; an
insert that named none would then have too few values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from billing_adapters.columns import Table

__all__ = ["inserted", "put"]


def inserted(table: str, columns: str, *, verb: str = "INSERT") -> str:
    """The statement that inserts one row: ``columns`` are names, separated by commas."""
    marks = ", ".join("?" for _ in columns.split(","))
    return f"{verb} INTO {table} ({columns}) VALUES ({marks})"


def put(table: Table[Any], names: Sequence[str], *, verb: str = "INSERT") -> str:
    """The statement that inserts a row with these columns, or replaces what changes of that under
    the same key."""
    insert = inserted(table.name, ", ".join(names), verb=verb)
    if table.key is None:
        return insert
    replaced = ", ".join(f"{name} = excluded.{name}" for name in table.changing if name in names)
    return f"{insert} ON CONFLICT ({', '.join(['org_id', *table.key])}) DO UPDATE SET {replaced}"
