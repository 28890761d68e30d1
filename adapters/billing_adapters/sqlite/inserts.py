"""How rows are inserted: by the names of their columns.

A later version of the library may add columns to a table while this one runs beside it; an
insert that named none would then have too few values.
"""

from __future__ import annotations

__all__ = ["inserted"]


def inserted(table: str, columns: str, *, verb: str = "INSERT") -> str:
    """The statement that inserts one row: ``columns`` are names, separated by commas."""
    marks = ", ".join("?" for _ in columns.split(","))
    return f"{verb} INTO {table} ({columns}) VALUES ({marks})"
