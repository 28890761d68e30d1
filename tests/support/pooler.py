"""PgBouncer for tests, on a machine where nobody is root.

BILLING_TEST_PGBOUNCER names one; else it is what ``python tests/support/pooler.py`` has put beside
the environment (unpacked from Debian's packages), or a ``pgbouncer`` on the path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[2]).absolute()
HOME = ROOT / ".venv" / "pgbouncer"


def find() -> tuple[Path, Path | None] | None:
    """The program, and where its libraries are if not with the system's."""
    named = os.environ.get("BILLING_TEST_PGBOUNCER")
    if named:
        return Path(named), None
    for home in (HOME, Path(sys.prefix) / "pgbouncer"):  # a copy of the tests has no environment
        if (home / "pgbouncer").exists():
            return home / "pgbouncer", home / "lib"
    path = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return None if path is None else (Path(path), None)


def install() -> None:
    """Unpack PgBouncer, and the libraries that the system lacks, from Debian's packages."""
    made = HOME.with_name("pgbouncer.new")
    shutil.rmtree(made, ignore_errors=True)
    packages = made / "packages"
    packages.mkdir(parents=True)
    if shutil.which("apt-get") is None:
        sys.exit("PgBouncer is not here: install it, or name it in BILLING_TEST_PGBOUNCER")
    if os.geteuid() == 0 and not said("apt-cache", "pkgnames", "pgbouncer"):
        said("apt-get", "update")
    depends = said("apt-cache", "depends", "pgbouncer")
    wanted = [each for each in re.findall(r" Depends: (lib\S+)", depends) if not installed(each)]
    for each in ("pgbouncer", *wanted):
        quietly = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", each]
        subprocess.run(quietly, cwd=packages, check=True, timeout=300)
    for file in packages.glob("*.deb"):
        said("dpkg", "-x", str(file), str(made / "unpacked"))
    (made / "lib").mkdir()
    for library in (made / "unpacked").rglob("lib*.so.*"):
        shutil.copy(library, made / "lib" / library.name)
    shutil.copy(made / "unpacked" / "usr" / "sbin" / "pgbouncer", made / "pgbouncer")
    shutil.rmtree(made / "unpacked")
    shutil.rmtree(packages)
    shutil.rmtree(HOME, ignore_errors=True)
    made.rename(HOME)


def installed(package: str) -> bool:
    query = ["dpkg-query", "-W", "-f=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"


def said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


@contextmanager
def pooled(server: object, mode: str = "transaction", size: int = 2) -> Iterator[str]:
    """The connection string of a PgBouncer in front of a ``servers.Server``, which keeps so many
    connections to it; its database ``app`` is the server's ``postgres``."""
    from postgres_servers import USER, Server, _free_port

    assert isinstance(server, Server)
    found = find()
    assert found is not None, "there is no PgBouncer: run python tests/support/pooler.py"
    folder = Path(tempfile.mkdtemp(prefix="billing-pooler-"))
    port = _free_port()
    # Copied, since the environment may be closed to the user that it runs as: it refuses root.
    shutil.copy(found[0], folder / "pgbouncer")
    if found[1] is not None:
        shutil.copytree(found[1], folder / "lib")
    (folder / "users").write_text('"postgres" ""\n')
    (folder / "settings").write_text(
        f"""[databases]
app = host={server.folder} port={server.port} dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
logfile = {folder}/log
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 100
server_round_robin = 1
"""
    )
    for each in [folder, *folder.rglob("*")]:
        each.chmod(0o755 if each.is_dir() or each.name == "pgbouncer" else 0o644)
        if USER is not None:
            shutil.chown(each, USER)
    said = folder / "said"  # a file, not a pipe: one that nobody reads is full after a while
    with said.open("wb") as output:
        process = subprocess.Popen(
            [folder / "pgbouncer", folder / "settings"],
            user=USER, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=output,
            env={**os.environ, "LD_LIBRARY_PATH": str(folder / "lib")}, cwd="/",
        )  # fmt: skip
    try:
        dsn = f"host=127.0.0.1 port={port} dbname=app user=postgres"
        wait(dsn, process, said)
        yield dsn
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def wait(dsn: str, process: subprocess.Popen[bytes], said: Path, seconds: float = 20) -> None:
    import psycopg

    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(dsn).close()
            return
        except psycopg.OperationalError:
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(said.read_text("utf-8", "replace")) from None
            time.sleep(0.02)


if __name__ == "__main__":
    if find() is None or "--again" in sys.argv:
        install()
