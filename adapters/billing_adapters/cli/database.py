"""Opening the database that a command names."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from attrs import field, frozen
from click.core import ParameterSource

from billing_adapters.credentials import has_password, is_connection_string
from billing_adapters.sqlite import SqliteStore
from billing_core import Billing
from billing_core.engine import system_clock
from billing_core.ports.clock import Clock

if TYPE_CHECKING:
    from billing_adapters.postgres import PostgresStore

__all__ = [
    "Place",
    "database_options",
    "existing",
    "opened",
    "path_of_existing",
    "store",
    "temporary",
]

VARIABLE = "BILLING_DB"

_F = TypeVar("_F", bound=Callable[..., Any])


@frozen
class Place:
    """Where a database is: the path of an SQLite file, or the connection string of a PostgreSQL
    database, which may hold a password, and the schema there."""

    where: Path | str = field(repr=False)
    schema: str = "billing"


class _Database(click.ParamType[Path | str]):
    """What ``--db`` takes.  A connection string, misspelt or not, is never shown."""

    name = "database"

    def __init__(self, *, exists: bool) -> None:
        self._path = click.Path(exists=exists, dir_okay=False, path_type=Path)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        text = str(value)
        if text.startswith(("postgresql://", "postgres://")):
            source = ctx.get_parameter_source("db") if ctx is not None else None
            if source is ParameterSource.COMMANDLINE and has_password(text):
                self.fail(
                    "a password on a command line is seen by everybody on this machine; put the "
                    f"connection string into {VARIABLE}, or the password into ~/.pgpass",
                    param,
                    ctx,
                )
            return text
        if is_connection_string(text) and not Path(text).exists():
            self.fail(
                "given what is no path of a file (not shown); expected a path, or "
                "postgresql://user@host/database",
                param,
                ctx,
            )
        if self._path.exists and not Path(value).exists():
            self.fail(
                f"{value} does not exist; `billing migrate --db {value}` makes it", param, ctx
            )
        return self._path.convert(value, param, ctx)


def database_options(
    *, exists: bool = False, required: bool = True, told: str = ""
) -> Callable[[_F], _F]:
    """The options of a command that name its database, which it is given as ``db``, a Place.
    ``exists``: a file is not made; ``told``: what the help says besides."""

    def decorated(command: _F) -> _F:
        @wraps(command)
        def called(*args: Any, db: Path | str | None, schema: str | None, **options: Any) -> Any:
            if schema == "":
                raise click.UsageError("--schema is empty; leave it out for the schema billing")
            if schema is not None and not isinstance(db, str):
                raise click.UsageError("--schema is for PostgreSQL; an SQLite file has none")
            place = None if db is None else Place(db, schema or "billing")
            return command(*args, db=place, **options)

        name = click.option(
            "--db",
            type=_Database(exists=exists),
            required=required,
            envvar=VARIABLE,
            show_envvar=True,
            help=f"The database: a file, or postgresql://…{told}",
        )
        schema = click.option(
            "--schema", help="The schema of the tables in PostgreSQL. [default: billing]"
        )
        made: Any = name(schema(called))
        return cast(_F, made)

    return decorated


path_of_existing = database_options(exists=True)
"""The options of a command that makes no database."""


def store(place: Place) -> SqliteStore | PostgresStore:
    """The store at a place."""
    if isinstance(place.where, Path):
        return SqliteStore(place.where)
    try:
        from billing_adapters.postgres import PostgresStore
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    return PostgresStore(place.where, schema=place.schema)


@contextmanager
def opened(place: Place, clock: Clock = system_clock, **options: Any) -> Iterator[Billing]:
    """The database at a path, made if missing; or that of a connection string.  Further
    options are those of Billing."""
    with store(place) as kept:
        yield Billing(kept, clock=clock, **options)


@contextmanager
def existing(place: Place, **options: Any) -> Iterator[Billing]:
    """The database at a path, never made: an empty file is no database either."""
    where = place.where
    if isinstance(where, Path) and not where.stat().st_size:
        raise click.ClickException(f"{where} is empty; give the path of a billing database")
    with opened(place, **options) as billing:
        yield billing


@contextmanager
def temporary(name: str) -> Iterator[Place]:
    """A database on disk that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"billing-{name}-") as folder:
        yield Place(Path(folder) / f"{name}.sqlite")
