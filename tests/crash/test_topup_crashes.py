"""A crash between any two steps, then recovery; and processes killed at random moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from database_places import Place, new_place, store_at
from stripe_http import Api, served
from stripe_server import StripeServer
from topup_till import HOUR, URLS, till
from topup_victim import RULES, engine

from billing_core import usd
from billing_core.records.topups import IN_FLIGHT
from billing_core.testing import MemoryStore
from billing_core.values.times import moment

pytestmark = pytest.mark.slow

DEPTH = int(os.environ.get("BILLING_TEST_DEPTH", "1"))


class Crash(BaseException):
    """The process is gone."""


class Steps:
    """Counts steps, and crashes at one of them."""

    def __init__(self) -> None:
        self.taken = 0
        self.fatal: int | None = None

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.fatal:
            raise Crash


class SteppingStore(MemoryStore):
    """Before and after each commit is a step."""

    steps: Steps

    def transaction(self):
        return Stepping(super().transaction(), self.steps)


class Stepping:
    def __init__(self, manager, steps) -> None:
        self.manager, self.steps = manager, steps

    def __enter__(self):
        self.transaction = self.manager.__enter__()
        return self

    def __exit__(self, *exception):
        return self.manager.__exit__(*exception)

    def recall(self, wanted):
        return self.transaction.recall(wanted)

    def load(self, wanted):
        return self.transaction.load(wanted)

    def commit(self, changes):
        self.steps.step()
        self.transaction.commit(changes)
        self.steps.step()


class SteppingProvider:
    """Before and after each call of the provider is a step."""

    def __init__(self, provider, steps) -> None:
        self.provider, self.steps = provider, steps

    def __getattr__(self, name):
        found = getattr(self.provider, name)
        if not callable(found):
            return found

        def call(*args, **options):
            self.steps.step()
            answer = found(*args, **options)
            self.steps.step()
            return answer

        return call


def story(t) -> None:
    """What callers do; done again with the same keys, it changes nothing."""
    b, at = t.billing, t.street
    page = b.top_up("acme", "order", usd("10"), save_method=True, **URLS)
    if page.url is not None:
        at.pay(page.session)
    b.confirm("acme", page.session)
    for body, signed in at.deliveries():
        b.webhook(body, signed)
    b.set_auto_topup("acme", "on", enabled=True, threshold=usd("5"), amount=usd("20"))
    b.deduct("acme", "spent", usd("6"), resource="x")
    t.run()
    b.refund("acme", "back", topup=page.topup, amount=usd("4"))
    for body, signed in at.deliveries():
        b.webhook(body, signed)
    t.run()


def crashing(kind: str, fatal: int | None) -> int:
    """Tell the story with a crash at a step, recover, and look; how many steps there were."""
    steps = Steps()
    SteppingStore.steps = steps
    with till(kind) as t:
        t.store = SteppingStore()
        t.provider = SteppingProvider(t.world.provider, steps)
        t.billing = t.engine()
        t.billing.open_account("acme", livemode=False)
        t.run()
        steps.taken, steps.fatal = 0, fatal
        try:
            story(t)
        except Crash:
            t.billing = t.engine()
            t.clock.advance(timedelta(minutes=10))
            story(t)
        taken, steps.fatal = steps.taken, None
        for _ in range(4):
            t.wait(HOUR)
        assert t.run().failures == []
        assert t.balance() == "20.00 USD"
        assert [each.received for each in reversed(t.payments())] == [1000, 2000]
        assert t.attempts() == ["paid"]
        t.check()
        return taken


def test_a_crash_between_any_two_steps_of_the_fake() -> None:
    steps = crashing("fake", None)
    assert steps >= 50
    for fatal in range(1, steps + 1):
        crashing("fake", fatal)


def test_a_crash_between_any_two_steps_of_stripe() -> None:
    steps = crashing("stripe", None)
    for fatal in range(1, steps + 1, 4 if DEPTH == 1 else 1):
        crashing("stripe", fatal)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_killed_workers_charge_once_and_lose_nothing(tmp_path: Path, kind: str) -> None:
    """`kill -9` at random moments, the provider surviving; 40 kills in a plain run on each
    store, `BILLING_TEST_DEPTH` times as many otherwise."""
    with new_place(kind, tmp_path) as place:
        spend_and_kill(place)


def spend_and_kill(place: Place) -> None:
    random = Random(0)
    server = StripeServer(lambda: time.time_ns() // 1000, secret="whsec_test")
    api = Api(server)
    with served(api) as address, store_at(place) as store:
        billing = engine(store, address)
        billing.open_account("acme", livemode=False)
        page = billing.top_up("acme", "first", usd("10"), save_method=True, **URLS)
        server.pay(page.session)
        assert billing.confirm("acme", page.session).paid
        billing.set_auto_topup("acme", "on", enabled=True, threshold=usd("8"), amount=usd("5"))
        kills = 0
        while kills < 40 * DEPTH:
            victims = [
                subprocess.Popen(
                    [sys.executable, "topup_victim.py", address, f"{kills}-{n}", *place],
                    cwd=Path(__file__).parents[1] / "support",
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                for n in range(4)
            ]
            signs = [each.stdout is not None and each.stdout.read(1) for each in victims]
            for each in victims:
                time.sleep(random.uniform(0, 0.06))
                each.send_signal(signal.SIGKILL)
                kills += 1
            if signs != [b"!"] * len(victims):
                pytest.fail(str([each.communicate()[1].decode()[-2000:] for each in victims]))
            for each in victims:
                _, complaint = each.communicate()
                assert complaint == b"", complaint.decode()[-2000:]
            states = [each.state for each in store.topups("acme") if each.kind == "auto"]
            assert sum(state in IN_FLIGHT for state in states) <= 1
        for _ in range(100):
            billing.run_pending()
            if not store.due_topups(2**60, livemode=False):
                break
            time.sleep(0.05)
        attempts = [each for each in store.topups("acme") if each.kind == "auto"]
        assert {each.state for each in attempts} == {"paid"}
        assert len(attempts) > 3
        payments = billing.payments.payments(0, 2**60).items
        made = [each.attempt for each in payments if each.attempt is not None]
        assert len(made) == len(set(made)) == len(set(made) & {each.topup for each in attempts})
        assert billing.verify().discrepancies == ()
        end = moment(time.time_ns() // 1000 + 10**6)
        assert billing.reconcile(end - timedelta(days=1), end).differences == ()
        assert RULES.lease < timedelta(seconds=1)
