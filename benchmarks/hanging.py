"""Settlements beside a worker whose provider of payments hangs, and beside an idle one."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import place, quartiles, say
from billing_adapters.fake_payments import FakePayments
from billing_adapters.sqlite import SqliteStore
from billing_core import Billing, Flat, Price, PriceBook, TopUpRules, tokens, usd
from billing_core.ports.payments import ChargeAttempt, Payment
from billing_core.values.times import moment

_URL = "https://host.example/"
_MEDIAN, _P99 = 1.1, 1.5


class Hanging(FakePayments):
    """Takes a charge and gives no answer until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = threading.Event()
        self.asked = threading.Event()

    def charge(self, attempt: ChargeAttempt) -> Payment:
        self.asked.set()
        self.gone.wait()
        return super().charge(attempt)


class Side:
    """An org on a file of its own, and a worker in a thread beside it."""

    def __init__(self, stack: ExitStack, path: Path, provider: FakePayments) -> None:
        self.store = stack.enter_context(SqliteStore(path))
        self.provider = provider
        self.billing = Billing(self.store, payments=provider, topups=TopUpRules())
        day = time.time_ns() // 1000 - 86_400_000_000
        price = {"input": Price(Flat.of("1", 1_000_000))}
        self.billing.publish(PriceBook("v", moment(day), {"model:m": price}))
        self.billing.open_account("acme", livemode=False)
        self.billing.grant("acme", "credit", usd("1000"), kind="promotional")
        page = self.billing.top_up(
            "acme", "o", usd("5"), success_url=_URL, cancel_url=_URL, save_method=True
        )
        provider.pay(page.session)
        self.billing.confirm("acme", page.session)
        self.done = threading.Event()
        self.waits: list[float] = []
        self.number = 0
        self.worker = threading.Thread(target=self._work)

    def cross(self) -> None:
        """Fall below a threshold that is never reached again: an attempt is open."""
        self.billing.set_auto_topup(
            "acme", "on", enabled=True, threshold=usd("5000"), amount=usd("5")
        )

    def _work(self) -> None:
        while not self.done.wait(1):
            self.billing.run_pending()

    def settle(self, times: int) -> None:
        """Settlements, one after another; how long each took."""
        for _ in range(times):
            self.number += 1
            usage = tokens("m", input=100, output=0)
            began = time.perf_counter()
            self.billing.settle("acme", f"s-{self.number}", usage)
            self.waits.append(time.perf_counter() - began)


def run(*, smoke: bool) -> None:
    rounds, times = (3, 20) if smoke else (40, 100)
    with place() as directory, ExitStack() as stack:
        hanging = Hanging()
        sides = [
            Side(stack, directory / "idle.db", FakePayments()),
            Side(stack, directory / "hanging.db", hanging),
        ]
        for side in sides:
            side.worker.start()
        sides[1].cross()
        hanging.asked.wait()
        say("settling beside a provider that hangs")
        for side in sides:
            side.settle(times)
            side.waits.clear()
        medians: list[float] = []
        for number in range(rounds):
            at = [len(side.waits) for side in sides]
            for side in sides if number % 2 else reversed(sides):
                side.settle(times)
            idle, slow = (
                statistics.median(side.waits[begin:]) for side, begin in zip(sides, at, strict=True)
            )
            medians.append(slow / idle)
        hanging.gone.set()
        for side in sides:
            side.done.set()
            side.worker.join()
        _report(sides, medians)


def _report(sides: list[Side], medians: list[float]) -> None:
    figures = [statistics.quantiles(side.waits, n=100) for side in sides]
    (idle, slow) = figures
    print("\nA settlement beside a worker whose provider hangs, and beside an idle one")
    for name, of in zip(("idle", "hanging"), figures, strict=True):
        print(f"  {name:8} median {of[49] * 1e6:7.0f} µs   p99 {of[98] * 1e6:7.0f} µs")
    low, middle, high = quartiles(medians)
    median, p99 = middle, slow[98] / idle[98]
    print(f"  median ×{median:.3f} ({low:.3f} to {high:.3f}), asked for ×{_MEDIAN} at most")
    print(f"  p99    ×{p99:.3f}, asked for ×{_P99} at most")
