"""The driver's errors, mapped once."""

from __future__ import annotations

import sqlite3
from typing import NoReturn

from billing_core.errors import StoreError

__all__ = ["DRIVERS", "fail", "mapped"]


# json.loads and row shapes: what cannot be read as ours is corrupt.
DRIVERS = (sqlite3.Error, ValueError, TypeError, OverflowError)


class mapped:
    """Raises StoreError for the driver's errors."""

    __slots__ = ("_committing", "_path")

    def __init__(self, path: str, *, committing: bool = False) -> None:
        self._path = path
        self._committing = committing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DRIVERS):
            fail(self._path, error, committing=self._committing)


def fail(path: str, error: Exception, *, committing: bool) -> NoReturn:
    """Raise StoreError for one of the ``DRIVERS``' errors, of a COMMIT or of something before."""
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
