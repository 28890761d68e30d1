"""What asyncio hands to threads: the host's connection is free when a call ends, cancelled or
not, and a provider that hangs takes no thread from what meets none."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from payment_worlds import fake_world
from postgres_servers import DisposableStore, shared_dsn
from topup_till import URLS

from billing_adapters.fake_payments import FakePayments
from billing_adapters.sqlite import SqliteStore
from billing_core import AsyncBilling, Billing, Deduct, Flat, Price, PriceBook, Usage, usd
from billing_core.testing import MemoryStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ARGUMENTS: dict[str, Any] = {
    "amount": usd("1"),
    "body": b"{}",
    "charge": 1,
    "commands": [Deduct("acme", "each", cost=usd("0.01"), resource="x")],
    "cost": Usage.of("x", {"unit": 1}),
    "document": PriceBook("v1", NOW, {"x": {"unit": Price(Flat(1), unit="unit")}}),
    "effective": NOW,
    "enabled": False,
    "expires_at": None,
    "expiry": 1,
    "expires_in": timedelta(minutes=1),
    "plan": None,
    "remainder": "refund",
    "signature": None,
    "since": NOW,
    "size": 1,
    "spec": Usage.of("sandbox:s", {"vcpu": 1}),
    "threshold": usd("1"),
    "until": NOW + timedelta(days=1),
    "usage": Usage.of("model:m", {"input": 1}),
}
"""What a required parameter of a name is given; else its own name."""

NAMES = sorted(
    name
    for name, found in inspect.getmembers(AsyncBilling)
    if not name.startswith("_")
    and (inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found))
)


def call(billing: AsyncBilling, name: str) -> Any:
    """A public method, with what it requires."""
    method = getattr(billing, name)
    given = {
        each.name: ARGUMENTS.get(each.name, each.name)
        for each in inspect.signature(method).parameters.values()
        if each.default is inspect.Parameter.empty
    }
    if "org" in given:
        given["org"] = "acme"
    if not inspect.isasyncgenfunction(method):
        return method(**given)

    async def exhausted() -> None:
        async for _ in method(**given):
            pass

    return exhausted()


class Slow(ThreadPoolExecutor):
    """Threads that do not begin before they are let, and tell when they have ended."""

    def __init__(self) -> None:
        super().__init__(1)
        self.began, self.let, self.at_work = threading.Event(), threading.Event(), False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        def work() -> Any:
            self.at_work = True
            self.began.set()
            try:
                assert self.let.wait(20)
                return fn(*args, **options)
            finally:
                self.at_work = False

        return super().submit(work)


def test_every_public_method_is_looked_at() -> None:
    assert {"pricing", "storage", "topup", "auto_topup", "diff", "balance"} < set(NAMES)
    assert len(NAMES) > 60


@pytest.fixture(params=["sqlite", "postgres"], scope="module")
def store(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Any]:
    if request.param == "sqlite":
        made: Any = SqliteStore(tmp_path_factory.mktemp("b") / "b.db", busy_seconds=0.1)
    else:
        made = DisposableStore()
    with made as store:
        billing = Billing(store)
        billing.open_account("acme", at=NOW)
        billing.grant("acme", "g", usd("5"), at=NOW)
        yield store


async def host_of(store: Any) -> Any:
    if isinstance(store, SqliteStore):
        import sqlite3

        host = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
        host.execute("BEGIN IMMEDIATE")
        return host
    connection = await psycopg.AsyncConnection.connect(shared_dsn())
    await connection.execute("SELECT 1")
    return connection


@pytest.mark.parametrize("name", NAMES)
def test_a_cancelled_call_ends_when_the_host_s_connection_is_free(store: Any, name: str) -> None:
    async def work() -> None:
        threads = Slow()
        asyncio.get_running_loop().set_default_executor(threads)
        host = await host_of(store)
        try:
            inside = AsyncBilling(store, payments=FakePayments()).within(host)
            asked = asyncio.ensure_future(call(inside, name))
            while not threads.began.is_set():
                assert not asked.done(), f"{name} meets no thread: {await asked}"
                await asyncio.sleep(0.001)
            for _ in range(2):
                asked.cancel()
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not asked.done(), f"{name} has left its thread alone with the connection"
            threads.let.set()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert not threads.at_work
        finally:
            threads.let.set()
            while threads.at_work:
                await asyncio.sleep(0.001)
            closed = host.close()
            if closed is not None:
                await closed

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_provider_that_hangs_takes_no_thread_from_who_meets_none(tmp_path: Path) -> None:
    world, gone = fake_world(), threading.Event()

    class Deaf(FakePayments):
        def create_checkout(self, order: Any, *, key: str) -> Any:
            assert gone.wait(30)
            return super().create_checkout(order, key=key)

    async def work() -> None:
        billing = AsyncBilling(MemoryStore(), clock=world.clock, payments=Deaf())
        orgs = [f"org-{n}" for n in range(10)]
        for org in ("acme", *orgs):
            await billing.open_account(org, livemode=False)
        pages = [
            asyncio.ensure_future(billing.top_up(org, f"k-{n}", usd("10"), **URLS))
            for org in orgs
            for n in range(4)
        ]
        await asyncio.sleep(0.2)
        try:
            await billing.grant("acme", "g", usd("1"))
            assert str(await billing.balance("acme")) == "1.00 USD"
            assert not any(each.done() for each in pages)
        finally:
            gone.set()
        assert len({page.session for page in await asyncio.gather(*pages)}) == 40

    asyncio.run(asyncio.wait_for(work(), 20))
