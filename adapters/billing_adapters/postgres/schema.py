"""The schema: numbered migrations, and who may do what to it.

What is here is done once, by whoever owns the schema, on a connection of its own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib import resources
from typing import Any, LiteralString

import psycopg
from attrs import frozen
from psycopg import sql

from billing_adapters.postgres.errors import mapped
from billing_core.errors import StoreError
from billing_core.ports.state import LEVEL

__all__ = [
    "LEAST", "SCHEMA", "check", "finish", "grant", "migrate", "migrations", "quoted",
    "script",
]  # fmt: skip

SCHEMA = LEVEL
"""The newest schema that this library knows."""

LEAST = 2
"""The oldest schema that this library works with: a database is migrated before its services are
upgraded, and works beside the version before."""

_PATIENCE = 30.0  # seconds for which a process lets others make the schema

_FINISH = "-- finish:"

_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS billing.migrations (
    number bigint NOT NULL PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    needs bigint NOT NULL,
    applied_at bigint NOT NULL
)
"""


@frozen
class Migration:
    """One migration, whose ``text`` never changes by a byte once it was applied anywhere.

    ``needs``: the oldest schema that a library must know to work on what it ``adds``.  What the
    version of the library before this one could not work with is below the line
    ``-- finish:``, and done once that version runs nowhere any more; the schema then needs a
    library that knows ``number``.  A new database has both at once.
    """

    number: int
    name: str
    text: str
    needs: int

    @property
    def adds(self) -> str:
        return self.text.partition(_FINISH)[0]

    @property
    def finishes(self) -> str:
        return "".join(self.text.partition(_FINISH)[1:])

    @property
    def checksum(self) -> str:
        return sha256(self.text.encode()).hexdigest()


def quoted(schema: str) -> str:
    """A schema's name as it stands in SQL."""
    if not isinstance(schema, str) or not schema or "\0" in schema:
        raise StoreError(f"{schema!r} is no name for a schema")
    return '"' + schema.replace('"', '""') + '"'


def migrations() -> list[Migration]:
    """Those of this library, in order.  Each file begins with ``-- needs: N``."""
    found: list[Migration] = []
    folder = resources.files("billing_adapters.postgres") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".sql"):
            text = file.read_text(encoding="utf-8")
            needs = int(text.splitlines()[0].removeprefix("-- needs: "))
            name = file.name.removesuffix(".sql")
            found.append(Migration(int(name[:4]), name, text, needs))
    return found


def _execute(db: psycopg.Connection[Any], schema: str, text: str, *values: object) -> Any:
    """SQL that says ``billing.``, for whatever the schema is called."""
    return db.execute(text.replace("billing.", f"{quoted(schema)}.").encode(), values or None)


@contextmanager
def _owning(db: psycopg.Connection[Any], name: str) -> Iterator[None]:
    """A transaction by what the server and the role say, whatever others have left on a
    connection that a pooler lends."""
    with mapped(name), db.transaction():
        db.execute(
            "SELECT set_config('role', NULL, true), set_config('lock_timeout', NULL, true),"
            " set_config('statement_timeout', NULL, true),"
            " set_config('idle_in_transaction_session_timeout', NULL, true)"
        )
        yield


# -- migrating ------------------------------------------------------------------


def migrate(db: psycopg.Connection[Any], schema: str, name: str) -> list[str]:
    """Apply what is missing, in one transaction; the names of what was applied.

    Safe when several processes start at once: one does it, the others wait.  Raises
    StoreError for a schema that is newer, or that was made by other migrations, and for a
    database of another encoding than UTF8.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with _owning(db, name):
                return _migrate(db, schema, name)
        except StoreError as error:
            # Two that make the same schema at once: the second one fails where it would
            # have found it made a moment later.
            cause = error.__cause__
            raced = isinstance(cause, psycopg.Error) and cause.sqlstate in (
                "23505", "42P06", "42P07", "40P01", "55P03", "XX000",
            )  # fmt: skip
            if not raced or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.01, 0.1))


def _migrate(db: psycopg.Connection[Any], schema: str, name: str) -> list[str]:
    known = migrations()
    if _missing(_applied(db, schema), known, name):
        db.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        _execute(db, schema, _MIGRATIONS)
        # Until the end of this transaction nobody else applies anything.
        _execute(db, schema, "LOCK TABLE billing.migrations IN SHARE ROW EXCLUSIVE MODE")
    applied = _applied(db, schema)
    missing = _missing(applied, known, name)
    if not applied:
        _check_encoding(db, name)
    for each in missing:
        _execute(db, schema, each.adds)
        if not applied:  # a new schema: nobody works on it yet
            _execute(db, schema, each.finishes)
        _execute(
            db, schema, "INSERT INTO billing.migrations VALUES (%s, %s, %s, %s, %s)",
            each.number, each.name, each.checksum, each.needs if applied else each.number,
            time.time_ns() // 1000,
        )  # fmt: skip
    return [each.name for each in missing]


def finish(db: psycopg.Connection[Any], schema: str, name: str) -> list[str]:
    """Do what the version of the library before this one could not work with, once it runs
    nowhere any more; the names of the migrations that were finished.

    Raises StoreError where migrations are missing.
    """
    with _owning(db, name):
        applied = _applied(db, schema)
        missing = _missing(applied, migrations(), name)
        if missing:
            raise StoreError(f"{name} lacks {missing[0].name}; run billing migrate first")
        _execute(db, schema, "LOCK TABLE billing.migrations IN SHARE ROW EXCLUSIVE MODE")
        unfinished = _unfinished(_applied(db, schema))
        for each in unfinished:
            _execute(db, schema, each.finishes)
            _execute(
                db, schema, "UPDATE billing.migrations SET needs = %s WHERE number = %s",
                each.number, each.number,
            )  # fmt: skip
        return [each.name for each in unfinished]


def _check_encoding(db: psycopg.Connection[Any], name: str) -> None:
    encoding = db.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"{name} is encoded in {encoding}; names and keys may be of any language and need "
            "UTF8: CREATE DATABASE billing ENCODING 'UTF8' TEMPLATE template0"
        )


def _unfinished(applied: _Applied) -> list[Migration]:
    needed = max((needs for _, _, needs in applied.values()), default=0)
    return [each for each in migrations() if each.number > needed]


def script(db: psycopg.Connection[Any], schema: str, name: str, *, finishing: bool = False) -> str:
    """What :func:`migrate` would do, or :func:`finish`, as SQL for hosts that run their own
    migrations; empty where there is nothing to do."""
    applied = _applied(db, schema)
    missing = _missing(applied, migrations(), name)
    lines: list[str] = []
    if finishing:
        if missing:
            raise StoreError(f"{name} lacks {missing[0].name}; run billing migrate first")
        for each in _unfinished(applied):
            done = f"UPDATE billing.migrations SET needs = {each.number}"
            lines += [each.finishes, f"{done} WHERE number = {each.number};"]
    else:
        if missing and not applied:
            _check_encoding(db, name)
            lines += [f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};", f"{_MIGRATIONS.strip()};"]
        for each in missing:
            needs = each.needs if applied else each.number
            lines += [
                each.adds if applied else each.text,
                "INSERT INTO billing.migrations VALUES"
                f" ({each.number}, '{each.name}', '{each.checksum}', {needs},"
                " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);",
            ]
    if not lines:
        return ""
    text = "\n".join(["BEGIN READ WRITE;", *lines, "COMMIT;", ""])
    return text.replace("billing.", f"{quoted(schema)}.")


_Applied = Mapping[int, tuple[str, str, int]]
"""By number: name, checksum, what it needs."""


def _applied(db: psycopg.Connection[Any], schema: str) -> _Applied:
    there = db.execute("SELECT to_regclass(%s)", (f"{quoted(schema)}.migrations",)).fetchone()
    if there == (None,):
        return {}
    query = "SELECT number, name, checksum, needs FROM billing.migrations"
    rows: Sequence[tuple[int, str, str, int]] = _execute(db, schema, query).fetchall()
    return {number: (name, checksum, needs) for number, name, checksum, needs in rows}


def _missing(applied: _Applied, known: Sequence[Migration], name: str) -> list[Migration]:
    _check_known(applied, name)
    for each in known:
        if each.number in applied and applied[each.number][1] != each.checksum:
            raise StoreError(
                f"{name}: migration {each.number} is on record with another content "
                f"({applied[each.number][0]}); it was applied by something else than this library"
            )
    return [each for each in known if each.number not in applied]


def _check_known(applied: _Applied, name: str) -> None:
    needed = max((needs for _, _, needs in applied.values()), default=0)
    if needed > SCHEMA:
        raise StoreError(
            f"{name} has schema {max(applied)}, which needs a library that knows {needed}; "
            f"this one knows up to {SCHEMA}; upgrade billing-core"
        )


def check(db: psycopg.Connection[Any], schema: str, name: str) -> None:
    """Raises StoreError where this library cannot work on the schema as it is."""
    with mapped(name):
        applied = _applied(db, schema)
    _missing(applied, migrations(), name)
    if max(applied, default=0) < LEAST:
        raise StoreError(
            f"{name} has schema {max(applied, default=0)} in {quoted(schema)}, this library needs "
            f"{LEAST}; run billing migrate, or PostgresStore.migrate()"
        )


# -- who may do what ------------------------------------------------------------

_APPENDED = ("entries", "events", "subscriptions", "published")
_CHANGED = (
    "accounts", "lots", "holds", "counters", "items", "charges", "limits", "spends", "cells",
    "runs", "storages", "sizes", "topups", "auto_topups", "deliveries", "marks",
)  # fmt: skip


def grant(db: psycopg.Connection[Any], schema: str, role: str, name: str) -> None:
    """Let a role do what the engine does, and no more: it cannot change or delete what is
    in the journal, nor alter the schema."""
    with _owning(db, name):
        granted: list[tuple[LiteralString, tuple[str, ...]]] = [
            ("SELECT, INSERT", _APPENDED),
            ("SELECT, INSERT, UPDATE", _CHANGED),
            ("SELECT, INSERT, DELETE", ("members",)),
            ("SELECT", ("migrations", "transfers")),
        ]
        for privileges, tables in granted:
            for table in tables:
                db.execute(
                    sql.SQL("GRANT {} ON {} TO {}").format(
                        sql.SQL(privileges), sql.Identifier(schema, table), sql.Identifier(role)
                    )
                )
        db.execute(
            sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(
                sql.Identifier(schema), sql.Identifier(role)
            )
        )
