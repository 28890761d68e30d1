"""pytest, many times over, without importing each time what is not under test.

A process that has imported the third parties, and never the code or its tests, forks for each
run. What a run finds, and what it can break, is what a new interpreter would.

Half of what it costs to import the code is that attrs compiles the methods that it generates, the
same source each time. What one run compiled, the next ones find compiled: by its whole source,
so that a class with a fault in it is compiled as ever.
"""

from __future__ import annotations

import json
import marshal
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import CodeType

# What the tests of most faults import. Another is imported by the run itself, as always.
IMPORTED = (
    "pytest", "_pytest.pytester", "_pytest.legacypath", "hypothesis", "hypothesis.stateful",
    "hypothesis.strategies", "attrs", "jsonschema", "psycopg",
    "psycopg_binary", "psycopg_pool", "stripe", "sqlite_utils", "click.testing", "plotext",
    "rich.console",
    "asyncio", "http.server", "multiprocessing", "xml.etree.ElementTree",
)  # fmt: skip
OURS = ("billing_core", "billing_adapters", "conftest", "test_", "world")
GRACE = 5  # seconds to tidy up in, for a run that is out of time


# What attrs has compiled, by source and file; and what this process has added.
COMPILED: dict[tuple[str, str], CodeType] = {}
NEW: dict[tuple[str, str], CodeType] = {}


def _compiled(source: str, file: str, mode: str) -> CodeType:
    """As `compile` in `attr._make`, which asks for the annotations to be left as they are: so does
    this module."""
    code = COMPILED.get((source, file))
    if code is None:
        code = compile(source, file, mode)
        COMPILED[source, file] = NEW[source, file] = code
    return code


class Forked:
    """Runs of pytest in a directory."""

    def __init__(self, place: Path, environment: dict[str, str]) -> None:
        self.place = place
        self.output = place / "output"
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            cwd=place,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, patience: float) -> subprocess.CompletedProcess[str]:
        """As `pytest ARGUMENTS`; ``TimeoutExpired`` after so many seconds."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([arguments, str(self.output), patience]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"what forks has ended: {self.process.wait()}")
        said = self.output.read_text(encoding="utf-8", errors="replace")
        code = json.loads(answer)
        if code is None:
            raise subprocess.TimeoutExpired(list(arguments), patience, said)
        return subprocess.CompletedProcess(arguments, code, said)

    def close(self) -> None:
        self.process.communicate()  # the end of its input is its end


def _serve() -> None:
    import gc

    for name in IMPORTED:
        import_module(name)
    import_module("attr._make").__dict__["compile"] = _compiled
    ours = [name for name in sys.modules if name.startswith(OURS)]
    assert not ours, f"already imported: {ours}"
    gc.freeze()
    for line in sys.stdin:
        arguments, output, patience = json.loads(line)
        added = Path(f"{output}.compiled")
        added.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            _pytest_alone(arguments, output, added)
        code = _wait(pid, patience)
        if code is not None and added.exists():
            COMPILED.update(marshal.loads(added.read_bytes()))
        print(json.dumps(code), flush=True)


def _pytest_alone(arguments: Sequence[str], output: str, added: Path) -> None:
    """Never returns. What tests started is stopped as at exit, but no thread is waited for."""
    import atexit

    import pytest

    os.setsid()
    with open(os.devnull, "rb") as nothing, open(output, "wb") as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["pytest", *arguments]
    code = pytest.main(list(arguments))
    if NEW:
        added.write_bytes(marshal.dumps(NEW))
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _wait(pid: int, patience: float) -> int | None:
    """Its exit code; nothing where it had to be stopped. Whatever it left running is killed."""
    try:
        code = _ended(pid, patience)
        if code is None:
            os.killpg(pid, signal.SIGINT)
            if _ended(pid, GRACE) is None:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        return code
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _ended(pid: int, patience: float) -> int | None:
    ends = time.monotonic() + patience
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > ends:
            return None
        time.sleep(0.01)


if __name__ == "__main__":
    _serve()
