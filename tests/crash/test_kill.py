"""``kill -9`` at random moments under load: nothing acknowledged is lost, and nothing is
charged twice once everything that was not acknowledged is sent again.

A plain run kills 160 processes, 100 of them under load; `BILLING_TEST_DEPTH=10` ten times as
many, and so a thousand under load.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import psycopg
import pytest
from load_claims import Claims, Place, opened
from postgres_servers import shared_dsn, without_password

from billing_adapters.sqlite import SqliteStore, schema

pytestmark = pytest.mark.slow

DEPTH = int(os.environ.get("BILLING_TEST_DEPTH", "1"))
HANGING = 30  # seconds without a sign of life
THREADS = 3


class Nursery:
    """Where processes to be killed come from."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        program = f"from kill_targets import nursery; nursery({theirs.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[1] / "support",
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._socket = ours
        ours.settimeout(HANGING)

    def close(self) -> None:
        self._socket.close()
        assert self._process.wait(HANGING) == 0

    def bear(self, place: Place, workers: list[str]) -> Victim:
        """A process that has just begun to open the store."""
        reading, writing = os.pipe()
        message = json.dumps([place, workers]).encode()
        socket.send_fds(self._socket, [message], [writing])
        os.close(writing)
        pid = int.from_bytes(self._socket.recv(4), "big")
        victim = Victim(pid, reading)
        victim.await_sign()
        os.read(reading, 1)
        return victim


class Victim:
    """A process that serves until it is killed."""

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid = pid
        self._pipe = pipe

    def await_sign(self) -> None:
        ready, _, _ = select.select([self._pipe], [], [], HANGING)
        assert ready, "a process hangs"

    def kill(self) -> str:
        """Its acknowledgements, and what it complained of."""
        os.kill(self._pid, signal.SIGKILL)
        with open(self._pipe, encoding="utf-8") as pipe:
            return pipe.read()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


class Hunt:
    """Kills processes on one store after another."""

    def __init__(
        self, nursery: Nursery, places: Callable[[int], Place], seed: int, span: float
    ) -> None:
        self._nursery = nursery
        self._places = places
        self._random = Random(seed)
        self._span = span
        self._files = 0
        self.kills = self.answers = self.written = 0

    def one_file(self, generations: int, processes: int) -> None:
        """Generations of processes on a new store, which none of them closes."""
        place = self._places(self._files)
        self._files += 1
        claims = Claims()
        for generation in range(generations):
            self._generation(place, claims, [f"{generation}.{each}" for each in range(processes)])
            last = generation == generations - 1
            # Now and then the next generation is the first to open what this one left.
            if last or self._random.random() < 0.7:
                with opened(place) as store:
                    claims.check(store, thorough=last)
        self.answers += len(claims.answers)
        self.written += claims.written

    def _generation(self, place: Place, claims: Claims, names: list[str]) -> None:
        victims: list[tuple[float, Victim]] = []
        for name in names:
            workers = [f"{name}.{thread}" for thread in range(THREADS)]
            for worker in workers:
                claims.employ(worker)
            victim = self._nursery.bear(place, workers)
            if self._random.random() < 0.5:
                victim.await_sign()  # its first acknowledgement
            victims.append((time.monotonic() + self._random.uniform(0, self._span), victim))
        told: list[str] = []
        for moment, victim in sorted(victims, key=lambda each: each[0]):
            time.sleep(max(0, moment - time.monotonic()))
            told.append(victim.kill())
            self.kills += 1
        for answers, _, complaint in (each.partition("\n!") for each in told):
            if complaint:
                pytest.fail(complaint)
            for line in answers.splitlines():
                worker, n, digest = line.split()
                claims.hear(worker, int(n), digest)


# name: kills in a plain run, of how many processes at once and in how many generations on
# one file; the most seconds that they live.
HUNTS = {
    "under load": (80, 1, 20, 0.030),
    "two processes on one file": (24, 2, 6, 0.030),
    "while the file is made": (30, 1, 2, 0.010),
    "two processes make the file": (30, 2, 1, 0.010),
}


SERVED = {
    "under load": (40, 1, 20, 0.060),
    "two processes on one schema": (12, 2, 6, 0.060),
    "two processes make the schema": (12, 2, 1, 0.100),
}


@pytest.mark.parametrize("hunt", HUNTS.values(), ids=HUNTS)
def test_a_killed_process_loses_nothing_acknowledged_and_charges_nothing_twice(
    hunt: tuple[int, int, int, float],
    nursery: Nursery,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hunted(hunt, nursery, lambda number: (str(tmp_path / f"{number}.db"),), capsys)


@pytest.mark.parametrize("hunt", SERVED.values(), ids=SERVED)
def test_the_same_on_a_server(
    hunt: tuple[int, int, int, float],
    nursery: Nursery,
    schemas: Callable[[int], Place],
    capsys: pytest.CaptureFixture[str],
) -> None:
    hunted(hunt, nursery, schemas, capsys)


@pytest.fixture
def schemas() -> Iterator[Callable[[int], Place]]:
    """Names for new schemas, dropped in the end."""
    made: list[str] = []

    def place(number: int) -> Place:
        made.append(f"killed {os.getpid()} {number}")
        return without_password(shared_dsn()), made[-1]

    yield place
    with psycopg.connect(shared_dsn(), autocommit=True) as db:
        db.execute("SET client_min_messages = error")
        for name in made:
            db.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


def hunted(
    hunt: tuple[int, int, int, float],
    nursery: Nursery,
    places: Callable[[int], Place],
    capsys: pytest.CaptureFixture[str],
) -> None:
    kills, processes, generations, span = hunt
    kills *= DEPTH
    seed = 0 if os.environ.get("CI") else time.time_ns()
    hunting = Hunt(nursery, places, seed, span)
    shown = 0
    try:
        while hunting.kills < kills:
            hunting.one_file(generations, processes)
            if hunting.kills - shown >= 100:
                shown = hunting.kills
                with capsys.disabled():
                    print(f"  {tally(hunting)}", file=sys.stderr, flush=True)
    except BaseException as error:
        error.add_note(f"seed {seed}; {tally(hunting)}")
        raise
    assert hunting.answers
    print(tally(hunting))


def test_who_opens_a_file_that_another_process_is_making_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the other one begins just before this one gives the file its log."""
    migrate, path = schema.migrate, tmp_path / "b.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        end = threading.Timer(0.1, other.execute, ["ROLLBACK"])

        def then_the_other_begins(db: sqlite3.Connection, path: str) -> list[str]:
            applied = migrate(db, path)
            other.execute("BEGIN IMMEDIATE")
            end.start()
            return applied

        monkeypatch.setattr(schema, "migrate", then_the_other_begins)
        try:
            SqliteStore(path).close()
        finally:
            end.join()


def tally(hunt: Hunt) -> str:
    return (
        f"{hunt.kills} kills: {hunt.answers} commands acknowledged at last, "
        f"{hunt.written} of them written before they were sent again"
    )
