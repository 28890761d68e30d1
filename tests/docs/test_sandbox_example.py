"""The example that runs real processes as sandboxes, and the commands that show runs."""

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from world import HOUR, T0, World

from billing_adapters.cli.app import cli
from billing_adapters.sqlite import SqliteStore
from billing_core import Flat, Price, sandbox

EXAMPLES = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[2]) / "examples"


def test_real_processes_are_stopped_at_their_deadline() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "sandboxes.py", "2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["small", "large"]
    assert re.match(r"credit 0\.002, spent 0\.00\d+, over by 0", lines[2])


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "b.db"
    with SqliteStore(path) as store:
        world = World(store, priced=False, now=T0)
        second = Price(Flat(1000, 1_000_000), unit="microsecond")
        stored = Price(Flat(1000, 1_000_000), unit="byte-microsecond")
        world.publish({"sandbox:box": {"second": second}, "storage:*": {"byte_us": stored}})
        world.grant(10**15)
        for run in ("done", "open"):
            world.billing.start_run("acme", run, sandbox("box", {"second": 1}))
        world.billing.report_storage("acme", "docs", 7)
        world.clock.advance(HOUR + timedelta(microseconds=1))
        world.billing.stop_run("acme", "done")
        world.billing.bill_storage("acme")
    return path


def shown(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_runtime_is_shown(database: Path) -> None:
    text = shown("runtime", "acme", "--db", database, "--period", "all_time", "--all")
    assert re.search(r"settled\s+1\s+3,600\.000001\s+0\.003600000", text)
    assert re.search(r"open\s+box\s+active", text)
    found = json.loads(shown("runtime", "acme", "--db", database, "--period", "all_time", "--json"))
    assert found["runtime"]["settled"] == {"runs": 1, "us": 3_600_000_001, "amount": "0.0036"}
    assert [each["run"] for each in found["runs"]] == ["open"]


def test_storage_is_shown(database: Path) -> None:
    text = shown("storage", "acme", "--db", database, "--period", "all_time")
    assert re.search(r"docs\s+7\s+2026-03-10 13:00:00\s+25,200\s+0\.025200000", text)
    found = json.loads(shown("storage", "acme", "--db", database, "--period", "all_time", "--json"))
    assert found["workspaces"][0]["byte_us"] == str(7 * 3_600_000_001)
