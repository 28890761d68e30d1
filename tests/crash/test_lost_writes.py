"""After a power failure, on a disk that drops whatever was not synced, nothing acknowledged is
lost; with a weaker ``synchronous`` it is, so these tests can fail.

`BILLING_TEST_DEPTH` multiplies the recordings, in each of which the power fails many times.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from disk_recording import staff
from load_claims import SETUP, Claims, Name
from lossy_disk import Answer, Delete, Disk, Event, Fate, Sync, SyncDirectory, Truncate, Write

from billing_adapters.sqlite import SqliteStore
from billing_core import Billing

pytestmark = pytest.mark.slow

DEPTH = int(os.environ.get("BILLING_TEST_DEPTH", "1"))
HANGING = 120  # seconds that a recording may take
LIVES = "abc"  # of a database: each but the first begins with what a power failure left
FAILURES = 40  # moments of a life at which we look what a power failure would leave

NOTHING, EVERYTHING = Fate(0), Fate(1)  # survives of what was not synced
FATES = [NOTHING, EVERYTHING, Fate(0.1), Fate(0.5), Fate(0.9), Fate(0.5, torn=True)]

DB, WAL, JOURNAL = "billing.db", "billing.db-wal", "billing.db-journal"


def recorded(folder: Path, life: str, weaker: str | None = None) -> list[Event]:
    """What a process of its own did to the database in the folder."""
    program = "import sys; from disk_recording import record; record(*sys.argv[1:])"
    arguments = [str(folder / DB), life] + ([weaker] if weaker else [])
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=Path(__file__).parents[1] / "support",
        capture_output=True,
        timeout=HANGING,
        check=False,
    )
    if done.returncode:
        pytest.fail(done.stderr.decode())
    events: list[Event] = pickle.loads(done.stdout)
    return events


def begun(life: str, claims: Claims) -> Claims:
    """The claims once the workers of a life have come."""
    for worker in (worker for workers in staff(life) for worker in workers):
        claims.employ(worker)
    return claims


def passing(
    events: list[Event], moments: Iterable[int], disk: Disk, claims: Claims
) -> Iterator[int]:
    """The moments, each when disk and claims have come to it."""
    for begin, end in pairwise([0, *moments]):
        for event in events[begin:end]:
            disk.see(event)
            if isinstance(event, Answer):
                claims.hear(*event)
        yield end


def rebuilt(folder: Path, files: dict[str, bytes]) -> Path:
    """The folder, with these files and no others."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_recorder_sees_all_that_is_done_to_the_files(tmp_path: Path) -> None:
    events = recorded(tmp_path, "a")
    disk = Disk({})
    for event in events:
        disk.see(event)
    left = disk.after_power_failure(EVERYTHING, Random(0))
    assert left[DB] == (tmp_path / DB).read_bytes()
    assert left[WAL] == (tmp_path / WAL).read_bytes()
    # What the other tests would not miss if it no longer happened.
    assert {Sync(DB), Sync(WAL), Sync(JOURNAL), SyncDirectory()} <= set(events)
    assert {Truncate(WAL, 0), Delete(WAL), Delete(JOURNAL)} <= set(events)
    assert sum(isinstance(event, Answer) for event in events) > 100
    starts = [event for event in events if isinstance(event, Write) and event[:2] == (WAL, 0)]
    assert len(starts) > 3, "the log starts anew after checkpoints"


@pytest.mark.parametrize("number", range(DEPTH))
def test_a_power_failure_loses_nothing_acknowledged(tmp_path: Path, number: int) -> None:
    seed = number if os.environ.get("CI") else time.time_ns()
    draw = Random(seed)
    files: dict[str, bytes] = {}
    claims = Claims()
    for life in LIVES:
        events = recorded(rebuilt(tmp_path / life, files), life)
        moments = sorted(draw.sample(range(len(events) + 1), FAILURES))
        disk, claims, last = Disk(files), begun(life, claims), draw.choice(moments)
        left = files, claims
        for moment in passing(events, moments, disk, claims):
            fate = draw.choice(FATES)
            files = disk.after_power_failure(fate, draw)
            try:
                with SqliteStore(rebuilt(tmp_path / "after", files) / DB) as store:
                    claims.copy().check(store)
            except BaseException as error:
                error.add_note(f"seed {seed}, life {life}: {fate} at {moment} of {len(events)}")
                raise
            if moment == last:
                left = files, claims.copy()
        files, claims = left  # with which the next life begins


def test_what_a_killed_process_did_not_sync_is_not_acknowledged_unsynced(tmp_path: Path) -> None:
    """A process is killed between a commit's write and its sync.  The next one finds it on
    record, as the system still has it in memory, and answers so; then the power fails."""
    events = recorded(rebuilt(tmp_path / "a", {}), "a")
    _, second = [index for index, event in enumerate(events) if isinstance(event, Answer)][:2]
    killed = max(index for index in range(second) if events[index] == Sync(WAL))
    disk, claims = Disk({}), begun("a", Claims())
    list(passing(events, [killed], disk, claims))

    in_memory = disk.after_power_failure(EVERYTHING, Random(0))
    events = recorded(rebuilt(tmp_path / "b", in_memory), "b")
    second = next(index for index, event in enumerate(events, 1) if event[:2] == (SETUP, 1))
    list(passing(events, [second], disk, begun("b", claims)))

    files = disk.after_power_failure(NOTHING, Random(0))
    with SqliteStore(rebuilt(tmp_path / "after", files) / DB) as store:
        assert not claims.lost(Billing(store), claims.answers)


def test_a_new_file_has_its_log_for_good_whenever_the_power_fails(tmp_path: Path) -> None:
    """Without one, and a commit were the deletion of a journal, which is not synced."""
    events = recorded(rebuilt(tmp_path / "a", {}), "a")
    opened = next(index for index, event in enumerate(events) if isinstance(event, Answer))
    draw, disk = Random(0), Disk({})
    for _ in passing(events, [*range(1, opened)], disk, Claims()):
        for _ in range(10):
            files = disk.after_power_failure(Fate(0.5), draw)
            path = rebuilt(tmp_path / "after", files) / DB
            SqliteStore(path).close()  # and the log is gone, until the file is used again
            with closing(sqlite3.connect(path)) as other:  # by a host, say
                assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("weaker", ["OFF", "NORMAL"])
def test_a_store_that_syncs_less_loses_what_was_acknowledged(tmp_path: Path, weaker: str) -> None:
    events = recorded(tmp_path, "a", weaker)
    answers = [index for index, event in enumerate(events, 1) if isinstance(event, Answer)]
    disk, claims = Disk({}), begun("a", Claims())
    lost: list[Name] = []
    for _ in passing(events, answers[::10], disk, claims):
        files = disk.after_power_failure(NOTHING, Random(0))
        with SqliteStore(rebuilt(tmp_path / "after", files) / DB) as store:
            lost += claims.lost(Billing(store), claims.answers)
    assert lost
