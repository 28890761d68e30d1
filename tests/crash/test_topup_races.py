"""Many threads and workers at once, on one file, and on PostgreSQL."""

import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from payment_worlds import fake_world
from postgres_servers import DisposableStore
from topup_till import MINUTE, Till

from billing_adapters.sqlite import SqliteStore
from billing_core import BillingError, PaymentError, Refused, TopUpRules, usd
from billing_core.records.topups import IN_FLIGHT

THREADS, WORKERS = 32, 4


class Unreliable:
    """A provider whose charges take effect, and of which half have no answer."""

    def __init__(self, provider, random: Random) -> None:
        self._provider = provider
        self._random = random
        self.charged = 0

    def __getattr__(self, name):
        return getattr(self._provider, name)

    def charge(self, attempt):
        answer = self._provider.charge(attempt)
        self.charged += 1
        if self._random.random() < 0.5:
            raise PaymentError(
                "no answer", kind="unknown_outcome", retryable=True, outcome_unknown=True
            )
        return answer


def made(kind: str, folder: Path) -> SqliteStore | DisposableStore:
    return SqliteStore(folder / "b.db") if kind == "sqlite" else DisposableStore()


def at_once(works) -> list[Exception]:
    gate = threading.Barrier(len(works))
    errors: list[Exception] = []

    def run(work) -> None:
        gate.wait()
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return errors


@pytest.mark.parametrize(("kind", "seed"), [*(("sqlite", n) for n in range(3)), ("postgres", 0)])
def test_32_threads_cross_the_threshold_with_four_workers(
    tmp_path: Path, kind: str, seed: int
) -> None:
    with made(kind, tmp_path) as store:
        # The lease is so short that workers relieve each other all the time.
        rules = TopUpRules(lease=timedelta(microseconds=1), cooldown=timedelta(microseconds=1))
        t = Till(fake_world(), store, topups=rules)
        t.armed("10", threshold="8", amount="5", cap=usd("40"))
        t.provider = t.billing.payments = provider = Unreliable(t.provider, Random(seed))
        engines = [t.engine() for _ in range(WORKERS)]
        done = threading.Event()
        most: list[int] = []

        def spend(thread: int) -> None:
            for n in range(12):
                with suppress(Refused):
                    t.billing.deduct("acme", f"{thread}-{n}", usd("0.25"), resource="x")

        def work(engine) -> None:
            while not done.is_set():
                for failure in engine.run_pending().failures:
                    assert isinstance(failure.error, BillingError)
                most.append(sum(state in IN_FLIGHT for state in t.attempts()))
                t.clock.advance(timedelta(milliseconds=1))

        workers = [threading.Thread(target=work, args=(engine,)) for engine in engines]
        for each in workers:
            each.start()
        errors = at_once([lambda thread=thread: spend(thread) for thread in range(THREADS)])
        done.set()
        for each in workers:
            each.join()
        assert errors == []
        for _ in range(30):
            with suppress(Refused):
                t.spend("2")
            t.wait(2 * MINUTE)
        assert max(most) == 1, "never two in flight"
        attempts = [each for each in t.payments() if each.attempt is not None]
        assert len({each.attempt for each in attempts}) == len(attempts), "one charge each"
        assert t.attempts() == ["paid"] * 8, "and the cap holds"
        assert provider.charged >= 8
        t.provider = t.billing.payments = t.world.provider
        t.check()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_workers_at_once_do_each_piece_once(tmp_path: Path, kind: str) -> None:
    with made(kind, tmp_path) as store:
        t = Till(fake_world(), store)
        t.armed("10", threshold="8", amount="5")
        t.spend("5")
        told: list[str] = []
        engines = [t.engine() for _ in range(8)]
        errors = at_once(
            [
                lambda engine=engine: engine.run_pending(deliver=lambda e: told.append(e.id))
                for engine in engines
            ]
        )
        assert errors == []
        t.run(deliver=lambda each: told.append(each.id))
        assert t.attempts() == ["paid"]
        assert len(told) == len(set(told)) == 2
        assert sorted(told) == told
        t.check()
