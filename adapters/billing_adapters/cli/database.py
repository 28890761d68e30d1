"""Opening the database that a command names."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from billing_adapters.sqlite import SqliteStore
from billing_core import Billing
from billing_core.engine import system_clock
from billing_core.ports import Clock

__all__ = ["existing", "opened", "path_of_existing", "temporary"]

_F = TypeVar("_F", bound=Callable[..., Any])


def path_of_existing(command: _F) -> _F:
    """The ``--db`` option of a command that reads."""
    return click.option(
        "--db",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        required=True,
        help="The database file.",
    )(command)


@contextmanager
def opened(path: Path, clock: Clock = system_clock, **options: Any) -> Iterator[Billing]:
    """The database at a path, made if missing; further options are those of Billing."""
    with SqliteStore(path) as store:
        yield Billing(store, clock=clock, **options)


@contextmanager
def existing(path: Path, **options: Any) -> Iterator[Billing]:
    """The database at a path, never made: an empty file is no database either."""
    if not path.stat().st_size:
        raise click.ClickException(f"{path} is empty; give the path of a billing database")
    with opened(path, **options) as billing:
        yield billing


@contextmanager
def temporary(name: str) -> Iterator[Path]:
    """The path of a database on disk that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"billing-{name}-") as folder:
        yield Path(folder) / f"{name}.sqlite"
