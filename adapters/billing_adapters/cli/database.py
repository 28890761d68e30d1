"""Opening the database that a command names."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from billing_adapters.sqlite import SqliteStore
from billing_core import Billing
from billing_core.engine import system_clock
from billing_core.ports import Clock

if TYPE_CHECKING:
    from billing_adapters.postgres import PostgresStore

__all__ = ["Database", "existing", "opened", "path_of_existing", "store", "temporary"]

_F = TypeVar("_F", bound=Callable[..., Any])


class Database(click.ParamType[Path | str]):
    """The path of an SQLite file, or the connection string of a PostgreSQL database."""

    name = "database"

    def __init__(self, *, exists: bool = False) -> None:
        self._path = click.Path(exists=exists, dir_okay=False, path_type=Path)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        if isinstance(value, str) and value.startswith(("postgresql://", "postgres://")):
            return value
        if self._path.exists and not Path(value).exists():
            self.fail(
                f"{value} does not exist; `billing migrate --db {value}` makes it", param, ctx
            )
        return self._path.convert(value, param, ctx)


def path_of_existing(command: _F) -> _F:
    """The ``--db`` option of a command that reads."""
    return click.option(
        "--db",
        type=Database(exists=True),
        required=True,
        help="The database: a file, or postgresql://…",
    )(command)


def store(place: Path | str) -> SqliteStore | PostgresStore:
    """The store at a path or a connection string."""
    if isinstance(place, Path):
        return SqliteStore(place)
    try:
        from billing_adapters.postgres import PostgresStore
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    return PostgresStore(place)


@contextmanager
def opened(place: Path | str, clock: Clock = system_clock, **options: Any) -> Iterator[Billing]:
    """The database at a path, made if missing; or that of a connection string.  Further
    options are those of Billing."""
    with store(place) as kept:
        yield Billing(kept, clock=clock, **options)


@contextmanager
def existing(place: Path | str, **options: Any) -> Iterator[Billing]:
    """The database at a path, never made: an empty file is no database either."""
    if isinstance(place, Path) and not place.stat().st_size:
        raise click.ClickException(f"{place} is empty; give the path of a billing database")
    with opened(place, **options) as billing:
        yield billing


@contextmanager
def temporary(name: str) -> Iterator[Path]:
    """The path of a database on disk that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"billing-{name}-") as folder:
        yield Path(folder) / f"{name}.sqlite"
