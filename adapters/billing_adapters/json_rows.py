"""Rows as tables file them: read so that an error names the row, and what stands twice in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

__all__ = ["FILED", "misfiled", "readable", "row_name"]

_R = TypeVar("_R")
_Row = TypeVar("_Row")

FILED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "run": ("runs", ("run", "state", "seen_at")),
    "storage": ("storages", ("workspace",)),
    "top-up": ("topups", ("topup", "due_at")),
    "automatic top-up": ("auto_topups", ("customer",)),
}
"""Tables that keep a record as JSON, ``body``, and the columns by which they find it: by what
a row is called, its key first."""

_KINDS = {"topups": "top-up", "cells": "rollup", "entries": "entry"}


def row_name(table: str, key: Sequence[object]) -> str:
    """What a discrepancy calls a row."""
    words = [each.decode() if isinstance(each, bytes) else str(each) for each in key]
    return f"{_KINDS.get(table, table.removesuffix('s'))} {'/'.join(words)}"


def readable(table: str, key: Sequence[object], make: Callable[[_Row], _R], row: _Row) -> _R:
    """What a row says.  Raises ValueError, which names it, where it cannot be read."""
    try:
        return make(row)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{row_name(table, key)}: {type(error).__name__}: {error}") from error


def misfiled(kind: str, columns: Sequence[str], row: Sequence[Any]) -> tuple[str, str]:
    """What verify says of a row whose columns are not what its body says."""
    name = kind if kind == "automatic top-up" else f"{kind} {row[0]}"
    shown = ", ".join(f"{column} {value}" for column, value in zip(columns, row, strict=True))
    return name, f"filed under {shown}; the record in the row says otherwise"
