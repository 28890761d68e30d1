"""The driver's errors, mapped once."""

from __future__ import annotations

from typing import NoReturn

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from billing_core.errors import StoreError
from billing_core.ports.store import Stale

__all__ = ["DRIVERS", "Failure", "again", "fail", "mapped", "outdated"]

_AGAIN = {
    "40001": "it met another transaction",
    "40P01": "it met another transaction in a deadlock",
    "55P03": "its rows are locked by another transaction",
}
"""The whole transaction may be tried again at once."""

_LATER = ("25006", "53", "57014", "57P")
"""A standby, too few resources, a timeout, a shutdown: later, perhaps elsewhere."""


class Failure(Exception):
    """The server refused the statement at ``index`` of a pipeline; its error is the cause."""

    def __init__(self, index: int, error: psycopg.Error) -> None:
        self.index = index
        self.error = error
        super().__init__(str(error))


# int(), json.loads and row shapes: what cannot be read as ours is corrupt.
DRIVERS = (Failure, psycopg.Error, PoolTimeout, ValueError, TypeError, OverflowError, IndexError)


class mapped:
    """Raises StoreError for the driver's errors.

    ``committing``: the index in the pipeline of the commit, which its end is or a COMMIT sent
    with the rest; None where there is none.
    """

    __slots__ = ("_committing", "_name")

    def __init__(self, name: str, *, committing: int | None = None) -> None:
        self._name = name
        self._committing = committing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DRIVERS):
            fail(self._name, error, self._committing)


def fail(name: str, error: Exception, committing: int | None) -> NoReturn:
    """Raise StoreError for one of the ``DRIVERS``' errors; ``committing``: see mapped."""
    if isinstance(error, Failure):
        unsure = committing is not None and error.index >= committing
        raise _refused(name, error.error, unsure=unsure) from error.error
    raise _failed(name, error, sent=committing is not None) from error


def again(error: BaseException | None) -> bool:
    """Whether the cause of a StoreError is one for which all may be done again at once."""
    return isinstance(error, psycopg.Error) and (error.sqlstate in _AGAIN or outdated(error))


def outdated(error: psycopg.Error) -> bool:
    """Whether a statement was prepared when a table's columns had other types."""
    # 0A000 is whatever is not supported; the message is in the server's language.
    return error.sqlstate == "0A000" and error.diag.source_function == "RevalidateCachedQuery"


def _refused(name: str, error: psycopg.Error, *, unsure: bool) -> StoreError:
    """What the server said about one statement."""
    code = error.sqlstate or ""
    if unsure and (code.startswith(("08", "57P", "58")) or code in ("", "40003", "XX000")):
        return StoreError(
            f"{name} failed in the COMMIT ({_text(error)}); send the same again to find out",
            retryable=True,
            outcome_unknown=True,
        )
    if code in _AGAIN:
        return StoreError(f"{name}: {_AGAIN[code]}; try again", retryable=True)
    if outdated(error):
        return StoreError(f"{name}: a table's columns have changed; try again", retryable=True)
    if code == "23502" and error.diag.column_name == "seq":
        return Stale(f"{name}: the account was written meanwhile; load it again")
    if code == "23505":
        return Stale(f"{name}: {_text(error)}; load it again")
    if code in ("42P01", "3F000"):
        return StoreError(f"{name} has no billing tables ({_text(error)}); run billing migrate")
    return StoreError(f"{name}: {_text(error)}", retryable=code.startswith(_LATER))


def _failed(name: str, error: Exception, *, sent: bool) -> StoreError:
    """What the connection or the client said."""
    if isinstance(error, PoolTimeout):
        text = f"{name}: no connection was free in time ({error}); try again"
        if isinstance(error.__cause__, psycopg.Error):
            text = f"{name}: no connection could be made ({_text(error.__cause__)}); try again"
        return StoreError(text, retryable=True)
    if not isinstance(error, psycopg.Error):
        return StoreError(f"{name} has a row that cannot be read ({error}); run verify")
    if isinstance(error, PoolClosed) or not isinstance(error, psycopg.OperationalError):
        return StoreError(f"{name}: {_text(error)}", outcome_unknown=sent)
    if sent:
        text = f"{name} was lost in the COMMIT ({_text(error)}); send the same again to find out"
        return StoreError(text, retryable=True, outcome_unknown=True)
    return StoreError(f"{name} was lost ({_text(error)}); try again", retryable=True)


def _text(error: psycopg.Error) -> str:
    message = error.diag.message_primary or str(error).strip().partition("\n")[0]
    return f"{message} ({error.sqlstate})" if error.sqlstate else message
