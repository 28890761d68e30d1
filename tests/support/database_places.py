"""Databases that several processes open: an SQLite file's path, or a connection string and a
schema; as words on a command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from postgres_servers import DisposableStore, without_password

from billing_adapters.postgres import PostgresStore
from billing_adapters.sqlite import SqliteStore

Place = tuple[str, ...]


@contextmanager
def new_place(kind: str, directory: Path) -> Iterator[Place]:
    """One in a directory, or a schema of its own, which is dropped."""
    if kind == "sqlite":
        yield (str(directory / "b.db"),)
        return
    with DisposableStore() as store:
        yield without_password(store.dsn), store.schema


def store_at(place: Place) -> SqliteStore | PostgresStore:
    """The store at a place, made if missing."""
    if len(place) == 1:
        return SqliteStore(place[0], busy_seconds=30)
    return PostgresStore(place[0], schema=place[1])
