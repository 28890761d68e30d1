"""What a command says where its output is closed or full: a line at most, never a traceback."""

import os
import subprocess
import sys

import pytest

from billing_adapters.sqlite import SqliteStore
from billing_core import Billing

COMMANDS = [["balance"], ["balance", "--json"], ["verify"], ["history", "acme"], ["pricing"]]


def ran(folder, command, **options):
    db = folder / "b.db"
    with SqliteStore(db) as store:
        Billing(store).open_account("acme")
    code = "from billing_adapters.cli.app import cli; cli()"
    asked = [sys.executable, "-c", code, *command, "--db", str(db)]
    return subprocess.run(
        asked, check=False, stderr=subprocess.PIPE, text=True, timeout=120, **options
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_disk_is_told_in_one_line(tmp_path, command) -> None:
    with open("/dev/full", "w") as full:
        done = ran(tmp_path, command, stdout=full)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("could not be written: No space left on device")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_closed_output_stops_no_command(tmp_path, command) -> None:
    done = ran(tmp_path, command, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")
