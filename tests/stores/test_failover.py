"""A primary with a synchronous standby, killed under eight writers: what was acknowledged is on
the standby; what was not is found out by sending it again."""

from __future__ import annotations

import os
import signal
import threading
import time
from itertools import count

import psycopg
import pytest
from load_claims import Claims, set_up, work
from postgres_servers import QUICK, Server, with_options

from billing_adapters.postgres import PostgresStore
from billing_core import Billing, StoreError

pytestmark = pytest.mark.slow

DEPTH = int(os.environ.get("BILLING_TEST_DEPTH", "1"))
WRITERS = 8
SECONDS = 0.7
IN_FLIGHT = 2_000_000  # bytes of log, several times what a socket holds for who does not read


class Pair:
    """A primary, and a standby that it waits for."""

    def __init__(self) -> None:
        self.primary = Server(settings=QUICK).start()
        self.standby = Server(settings=QUICK, copy_of=self.primary).start()
        with psycopg.connect(self.primary.dsn(), autocommit=True) as db:
            db.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            db.execute("SELECT pg_reload_conf()")
            while self._state(db) != ("sync",):
                time.sleep(0.02)

    def _state(self, db: psycopg.Connection[tuple[object, ...]]) -> object:
        return db.execute(
            "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'standby'"
        ).fetchone()

    def leave_behind(self) -> None:
        """Stop the standby, until the primary has written what cannot be on its way to it."""
        self.standby.signal(signal.SIGSTOP)
        with psycopg.connect(self.primary.dsn(), autocommit=True) as db:
            beyond = self._written(db) + IN_FLIGHT
            deadline = time.monotonic() + 60
            while self._written(db) < beyond:
                assert time.monotonic() < deadline, "the writers have stopped"
                time.sleep(0.02)

    def _written(self, db: psycopg.Connection[tuple[object, ...]]) -> int:
        [(bytes_,)] = db.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchall()
        return int(str(bytes_))

    def remove(self) -> None:
        self.primary.remove()
        self.standby.signal(signal.SIGCONT)
        self.standby.remove()


class Writers:
    """Threads that each send one command after another until the server is gone."""

    def __init__(self, dsn: str, claims: Claims) -> None:
        self._store = PostgresStore(dsn, pool_size=WRITERS, pool_seconds=1)
        self._told: list[tuple[str, int, str]] = []
        self._claims = claims
        self._strange: list[BaseException] = []
        self.billing = Billing(self._store)
        set_up(self.billing, self._tell)
        for n in range(WRITERS):
            claims.employ(f"w{n}")
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _tell(self, worker: str, n: int, digest: str) -> None:
        self._told.append((worker, n, digest))

    def _work(self, n: int) -> None:
        try:
            work(self.billing, f"w{n}", count(), self._tell)
        except StoreError as error:
            if not error.retryable:
                self._strange.append(error)
        except BaseException as error:
            self._strange.append(error)

    def end(self) -> int:
        """Wait until the last one has failed; how many commands were acknowledged."""
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a writer hangs"
        self._store.close()
        assert not self._strange, self._strange
        for each in self._told:
            self._claims.hear(*each)
        return len(self._told)


def test_nothing_acknowledged_is_lost_when_the_primary_is() -> None:
    for _ in range(DEPTH):
        pair, claims = Pair(), Claims()
        try:
            with PostgresStore(pair.primary.dsn()) as store:
                store.migrate()
            writers = Writers(pair.primary.dsn(), claims)
            time.sleep(SECONDS)
            pair.primary.kill()
            assert writers.end() > WRITERS
            pair.standby.promote()
            with PostgresStore(pair.standby.dsn()) as store:
                claims.check(store)
        finally:
            pair.remove()


def test_without_waiting_for_the_standby_something_is_lost() -> None:
    """The control: what the test above looks for can happen, and is seen."""
    pair, claims = Pair(), Claims()
    try:
        with PostgresStore(pair.primary.dsn()) as store:
            store.migrate()
        local = with_options(pair.primary.dsn(), options="-c synchronous_commit=local")
        writers = Writers(local, claims)
        time.sleep(SECONDS / 2)
        pair.leave_behind()
        pair.primary.kill()
        writers.end()
        pair.standby.signal(signal.SIGCONT)
        pair.standby.promote()
        with PostgresStore(pair.standby.dsn()) as store:
            assert claims.lost(Billing(store), claims.answers)
    finally:
        pair.remove()


def test_an_engine_that_knows_both_servers_goes_on_with_the_other() -> None:
    pair = Pair()
    try:
        hosts = f"host=127.0.0.1,127.0.0.1 port={pair.primary.port},{pair.standby.port}"
        dsn = f"{hosts} dbname=postgres user=postgres target_session_attrs=read-write"
        with PostgresStore(dsn, pool_seconds=20) as store:
            store.migrate()
            billing, claims = Billing(store), Claims()
            set_up(billing, claims.hear)
            pair.primary.kill()
            pair.standby.promote()
            claims.employ("w")
            for n in range(20):
                for _ in range(20):
                    try:
                        work(billing, "w", [n], claims.hear)
                        break
                    except StoreError as error:
                        assert error.retryable, error
                else:
                    raise AssertionError("it does not go on")
            claims.check(store)
    finally:
        pair.remove()
