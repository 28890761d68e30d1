"""The driver's errors, mapped once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from billing_core.errors import StoreError

__all__ = ["mapped"]


@contextmanager
def mapped(path: str, *, committing: bool = False) -> Iterator[None]:
    """The driver's errors, mapped once."""
    try:
        yield
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        # json.loads and row shapes: what cannot be read as ours is corrupt.
        raise _store_error(path, error, committing=committing) from error


def _store_error(path: str, error: Exception, *, committing: bool) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(f"{path} is locked by another writer; try again", retryable=True)
    text = f"{path}: {error}"
    if isinstance(error, sqlite3.DatabaseError) and code == sqlite3.SQLITE_NOTADB:
        text = f"{path} is not an SQLite database; give the path of a billing database"
    elif not isinstance(error, sqlite3.Error):
        text = f"{path} has a row that cannot be read ({error}); run verify"
    return StoreError(text, outcome_unknown=committing)
