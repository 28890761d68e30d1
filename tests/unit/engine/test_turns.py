"""Nobody waits for another's backlog, nor for a provider that hangs (rule 9.6).

Time passes here because the provider, and who takes events, take it: a clock that they move.
"""

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from datetime import timedelta

import psycopg
import pytest
from payment_worlds import T0, fake_world
from postgres_servers import DisposableStore
from topup_till import HOUR, MINUTE, SECOND, URLS, Till, till

from billing_adapters.fake_payments import FakePayments
from billing_adapters.postgres import PostgresStore
from billing_adapters.sqlite import SqliteStore
from billing_core import (
    AsyncBilling,
    Flat,
    NotFound,
    PaymentError,
    Price,
    PriceBook,
    StoreError,
    sandbox,
    usd,
)
from billing_core.commands.topups import Lapse, OrderTopUp, RecordTopUp
from billing_core.engine import background_pass as passes
from billing_core.ports.payments import CheckoutOrder
from billing_core.testing import SettableClock
from billing_core.testing.payments.world import PaymentWorld
from billing_core.values.times import micros

STORES = pytest.mark.parametrize("kind", ["fake", "sqlite", "postgres"])
GIVES_UP = timedelta(seconds=62)  # as Stripe's client does that repeats twice
BOUND = 5 * timedelta(microseconds=passes.BUDGET) + GIVES_UP
"""As the docstring of ``run_pending`` has it: for a lapse, an event, and the top-up of an org
beside one other that has any."""


class Slow:
    """A provider each of whose calls takes time, and of whom some orgs get no answer."""

    def __init__(self, provider, clock) -> None:
        self._provider = provider
        self._clock = clock
        self.hangs = lambda org: False
        self.takes = timedelta(seconds=0.3)
        self.asked = []

    def __getattr__(self, name):
        found = getattr(self._provider, name)
        if not callable(found):
            return found

        def call(*args, **options):
            org = self._whose(args[0])
            self.asked.append((name, org))
            if self.hangs(org):
                self._clock.advance(GIVES_UP)
                unknown = name in ("charge", "refund")
                raise PaymentError(
                    "it did not answer",
                    kind="unknown_outcome" if unknown else "unavailable",
                    retryable=True,
                    outcome_unknown=unknown,
                )
            self._clock.advance(self.takes)
            return found(*args, **options)

        return call

    def _whose(self, asked) -> str | None:
        bank = self._provider
        known = bank._checkouts.get(asked) or bank._payments.get(asked) if asked else None
        return getattr(known if isinstance(asked, str) else asked, "org", None)


@contextmanager
def slow(kind):
    with till(kind) as t:
        t.provider = Slow(t.provider, t.clock)
        t.billing = t.engine()
        yield t


def armed(t, org: str) -> None:
    """It buys credit as soon as it has less than five dollars."""
    if org != "acme":
        t.billing.open_account(org, livemode=False)
    page = t.order("10", org, save_method=True)
    t.street.pay(page.session)
    assert t.billing.confirm(org, page.session).paid
    t.billing.set_auto_topup(org, "auto", enabled=True, threshold=usd("5"), amount=usd("20"))
    t.street.deliveries()


def crosses(t, org: str) -> None:
    t.billing.deduct(org, t.key(), usd("6"), resource="x")


def abandons(t, org: str, times: int) -> None:
    """Its customers open pages and never come back; they are to be looked at."""
    t.billing.open_account(org, livemode=False)
    orders = [
        CheckoutOrder(
            org=org, order=t.ids(), amount=1000, currency="USD", description="credit", **URLS
        )
        for _ in range(times)
    ]
    bank = getattr(t.provider, "_provider", t.provider)
    t.billing.execute(
        OrderTopUp(org, each.order, amount=usd("10"), order=each, livemode=False) for each in orders
    )
    t.billing.execute(
        RecordTopUp(org, each.order, checkout=bank.create_checkout(each, key=each.order))
        for each in orders
    )


def worked(t, done, **options) -> timedelta:
    """A worker works until it is done; how long that took."""
    began = t.clock.now
    while not done():
        assert t.clock.now - began < 10 * BOUND
        if not t.run(**options).more:
            t.clock.advance(SECOND)
    return t.clock.now - began


@STORES
def test_what_lapses_does_not_wait_for_fifty_orgs_whose_provider_hangs(kind) -> None:
    with slow(kind) as t:
        for n in range(12 if kind == "postgres" else 50):
            armed(t, f"org-{n}")
            crosses(t, f"org-{n}")
        t.billing.grant("acme", "g", usd("1"), expires_at=t.clock.now + SECOND)
        t.provider.hangs = lambda org: True
        t.clock.advance(SECOND)
        t.run()  # one that had begun before
        t.billing.grant("acme", "g2", usd("1"), expires_at=t.clock.now + SECOND)
        t.clock.advance(SECOND)
        balance = t.balance
        assert worked(t, lambda: balance() == "0.00 USD" and t.kinds().count("expiry") == 2) <= (
            BOUND
        )


@STORES
def test_an_event_does_not_wait_for_orgs_whose_provider_hangs(kind) -> None:
    with slow(kind) as t:
        for n in range(10):
            armed(t, f"org-{n}")
            crosses(t, f"org-{n}")
        t.provider.hangs = lambda org: True
        told = []
        t.run(deliver=told.append)
        t.billing.set_low_balance("acme", "low", usd("5"))
        t.billing.grant("acme", "g", usd("6"), kind="promotional")
        t.spend("2")
        spent = worked(t, lambda: "acme" in {each.org for each in told}, deliver=told.append)
        assert spent <= BOUND


@STORES
def test_a_pass_asks_a_provider_that_hangs_once(kind) -> None:
    with slow(kind) as t:
        for n in range(5):
            armed(t, f"org-{n}")
            crosses(t, f"org-{n}")
        t.provider.hangs = lambda org: True
        for _ in range(3):
            t.provider.asked.clear()
            pending = t.run()
            assert len(t.provider.asked) == 1
            assert len(pending.failures) == 1
        t.provider.hangs = lambda org: False
        while t.run().done:
            t.clock.advance(10 * MINUTE)
        assert {t.balance(f"org-{n}") for n in range(5)} == {"24.00 USD"}


@STORES
def test_a_top_up_does_not_wait_for_another_org_s_abandoned_checkouts(kind) -> None:
    with slow(kind) as t:
        armed(t, "acme")
        abandons(t, "aaa", 150)  # more than a pass takes up
        t.provider.takes = SECOND
        t.clock.advance(26 * HOUR)
        crosses(t, "acme")
        assert worked(t, lambda: t.balance() == "24.00 USD") <= BOUND


@STORES
def test_a_top_up_does_not_wait_for_checkouts_of_which_the_provider_says_nothing(kind) -> None:
    with slow(kind) as t:
        armed(t, "acme")
        abandons(t, "aaa", 20)
        t.clock.advance(26 * HOUR)
        t.run()
        t.provider.hangs = lambda org: org == "aaa"
        crosses(t, "acme")
        assert worked(t, lambda: t.balance() == "24.00 USD") <= BOUND


def test_processes_that_make_one_pass_each_serve_every_org() -> None:
    with slow("fake") as t:
        armed(t, "acme")
        abandons(t, "aaa", 20)
        t.clock.advance(26 * HOUR)
        t.provider.hangs = lambda org: org == "aaa"
        crosses(t, "acme")
        for _ in range(4):
            t.engine().run_pending()
            t.clock.advance(MINUTE + SECOND)
        assert t.balance() == "24.00 USD"


@STORES
def test_an_org_with_many_events_is_no_reason_for_another_to_wait(kind) -> None:
    with slow(kind) as t:
        for org in ("aaa", "bbb"):
            t.billing.open_account(org, livemode=False)
            t.billing.set_low_balance(org, "low", usd("5"))
            for n in range(40):
                t.billing.grant(org, f"g-{n}", usd("6"), kind="promotional")
                t.billing.deduct(org, f"d-{n}", usd("6"), resource="x")
        t.billing.set_low_balance("acme", "low", usd("5"))
        t.billing.grant("acme", "g", usd("6"), kind="promotional")
        t.spend("2")
        told = []

        def deliver(event) -> None:
            told.append(event)
            t.clock.advance(0.4 * SECOND)

        spent = worked(t, lambda: "acme" in {each.org for each in told}, deliver=deliver)
        assert spent <= 4 * SECOND, "a slice for each of the three"
        assert {each.org for each in told} == {"aaa", "bbb", "acme"}
        worked(t, lambda: not t.store.undelivered(2**60), deliver=deliver)
        for org in ("aaa", "bbb"):
            seqs = [each.id for each in told if each.org == org]
            assert seqs == sorted(set(seqs), key=lambda each: [int(n) for n in each.split("/")[1:]])


@STORES
def test_orgs_that_always_have_events_do_not_keep_the_last_one_from_its_own(kind) -> None:
    with slow(kind) as t:
        for org in ("aaa", "bbb", "zzz"):
            t.billing.open_account(org, livemode=False)
            t.billing.set_low_balance(org, "low", usd("5"))
        told = []
        for n in range(3):
            for org in ("aaa", "bbb", "zzz")[: 2 if n else 3]:
                t.billing.grant(org, f"g-{n}", usd("6"), kind="promotional")
                t.billing.deduct(org, f"d-{n}", usd("2"), resource="x")
                t.billing.deduct(org, f"e-{n}", usd("4"), resource="x")
            t.run(limit=2, deliver=told.append)
            t.clock.advance(SECOND)
        assert "zzz" in {each.org for each in told}


@STORES
def test_orgs_that_cannot_lapse_do_not_keep_others_from_it(kind) -> None:
    with slow(kind) as t:
        orgs = ["aaa", "bbb", "ccc", "zzz"]
        for n, org in enumerate(orgs):
            t.billing.open_account(org, livemode=False)
            t.billing.grant(org, "g", usd("1"), expires_at=t.clock.now + (n + 1) * SECOND)
        t.clock.advance(MINUTE)
        does = t.billing._work._do

        def locked(command, kind):
            if isinstance(command, Lapse) and command.org != "zzz":
                t.clock.advance(6 * SECOND)
                raise StoreError("the org's lock is held elsewhere", retryable=True)
            return does(command, kind)

        t.billing._work._do = locked
        spent = worked(t, lambda: t.billing.history("zzz")[0].type == "expiry", limit=2)
        assert spent <= BOUND
        t.billing._work._do = does
        worked(t, lambda: all(t.billing.history(org)[0].type == "expiry" for org in orgs), limit=2)


@STORES
def test_credit_that_has_ended_but_is_held_does_not_keep_others_from_lapsing(kind) -> None:
    """Until its hold ends, nothing of it is to be recorded: that is no work, for ever."""
    with slow(kind) as t:
        for org in ("aaa", "bbb", "ccc"):
            t.billing.open_account(org, livemode=False)
            t.billing.grant(org, "g", usd("1"), expires_at=t.clock.now + HOUR)
            t.billing.hold(org, usd("1"), expires_in=5 * HOUR, key="h")
        t.clock.advance(2 * HOUR)
        t.billing.grant("acme", "g", usd("1"), expires_at=t.clock.now + SECOND)
        t.clock.advance(SECOND)
        assert t.run(limit=1).lapsed == 1
        assert t.billing.history("acme")[0].type == "expiry"
        for billing in (t.billing, t.engine()):  # also one that makes a single pass
            pending = billing.run_pending(limit=1)
            assert (pending.done, pending.more) == (0, False), "a worker rests"
        t.clock.advance(3 * HOUR)
        assert t.run().lapsed == 3
        assert {t.balance(org) for org in ("aaa", "bbb", "ccc")} == {"0.00 USD"}


@STORES
def test_news_that_takes_more_time_than_a_pass_is_read_to_its_end(kind) -> None:
    with slow(kind) as t:
        t.run()
        pages = [t.order("10") for _ in range(30)]
        t.clock.advance(10 * MINUTE)
        for page in pages:
            t.street.pay(page.session)
        t.street.deliveries()  # all lost
        assert t.run().more
        assert t.balance() not in ("0.00 USD", "300.00 USD"), "a part of them"
        t.billing.grant("acme", "g", usd("1"), expires_at=t.clock.now + SECOND)
        t.clock.advance(SECOND)
        assert worked(t, lambda: "expiry" in t.kinds()) <= BOUND - GIVES_UP
        worked(t, lambda: t.balance() == "300.00 USD")
        worked(t, lambda: not t.run().more)
        swept = t.store.mark("swept:test")
        assert swept > micros("began", T0 + 10 * MINUTE), "and it is done with"
        t.provider.asked.clear()
        t.run()
        assert t.provider.asked == []
        t.check()


def test_news_of_one_org_does_not_wait_for_all_of_another_s() -> None:
    with slow("fake") as t:
        t.run()
        first = t.order("10")
        t.billing.open_account("aaa", livemode=False)
        pages = [t.order("10", "aaa") for _ in range(30)]
        t.clock.advance(10 * MINUTE)
        for page in [first, *pages]:  # the newest is listed first
            t.street.pay(page.session)
        t.street.deliveries()
        assert t.run().more
        assert t.balance() == "10.00 USD"


def test_news_that_is_not_answered_is_asked_for_again_and_the_rest_heeded() -> None:
    with slow("fake") as t:
        t.run()
        t.billing.open_account("aaa", livemode=False)
        pages = [t.order("10", "aaa"), t.order("10")]
        t.clock.advance(10 * MINUTE)
        for page in pages:
            t.street.pay(page.session)
        t.street.deliveries()
        t.provider.hangs = lambda org: org == "aaa"
        # That the page was paid, and its payment, are two pieces of news.
        t.provider.asked.clear()

        def both() -> bool:
            return [org for _, org in t.provider.asked].count("aaa") >= 2

        worked(t, lambda: both() and t.balance() == "10.00 USD")
        t.provider.hangs = lambda org: False
        spent = worked(t, lambda: t.balance("aaa") == "10.00 USD")
        assert spent <= BOUND - GIVES_UP, "and not with the next sweep"
        t.check()


def test_a_top_up_with_many_refunds_has_its_turn_as_others_do() -> None:
    with slow("fake") as t:
        page = t.paid("100")
        t.provider.hangs = lambda org: True
        for n in range(30):
            with pytest.raises(PaymentError):
                t.billing.refund("acme", f"r-{n}", topup=page.topup, amount=usd("1"))
        t.provider.hangs = lambda org: False
        t.clock.advance(10 * MINUTE)
        began = t.clock.now
        t.run()
        assert t.clock.now - began <= 4 * timedelta(microseconds=passes.BUDGET)
        while t.store.due_topups(2**60, livemode=False):
            t.wait(2 * HOUR)
        assert t.balance() == "70.00 USD"
        t.check()


@STORES
def test_a_session_that_somebody_made_up_never_reaches_the_provider(kind) -> None:
    with slow(kind) as t:
        t.billing.open_account("globex", livemode=False)
        page = t.order("10")
        t.street.pay(page.session)
        t.provider.asked.clear()
        t.provider.hangs = lambda org: True
        for org, session in (("acme", "cs_made_up"), ("globex", page.session), ("none", "cs_1")):
            with pytest.raises(NotFound, match=session):
                t.billing.confirm(org, session)
        assert t.provider.asked == []


def test_a_pass_tells_whether_there_is_more() -> None:
    with slow("fake") as t:
        assert not t.run().more
        abandons(t, "aaa", 20)
        t.clock.advance(26 * HOUR)
        assert t.run().more
        while t.run().more:
            pass
        assert t.store.due_topups(t.clock(), livemode=False) == []
        t.provider.hangs = lambda org: True
        abandons(t, "bbb", 2)
        t.clock.advance(26 * HOUR)
        assert not t.run().more, "asking again at once would help nobody"


class Deaf(FakePayments):
    """Once it is ``deaf``, every call hangs for half a second."""

    deaf = False
    asked: "list[str]"

    def _heard(self, org=None) -> None:
        if self.deaf:
            self.asked.append(org)
            time.sleep(0.5)
            raise PaymentError("no answer", kind="unavailable", retryable=True)

    def read_checkout(self, checkout):
        self._heard(self._checkouts[checkout].org)
        return super().read_checkout(checkout)

    def charge(self, attempt):
        self._heard(attempt.org)
        return super().charge(attempt)

    def notices(self, since, *, cursor=None):
        self._heard()
        return super().notices(since, cursor=cursor)


@contextmanager
def real_store(kind, path):
    with SqliteStore(path / "b.db") if kind == "sqlite" else DisposableStore() as store:
        yield store


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_four_workers_leave_no_org_waiting_for_a_thousand_leftovers(kind, tmp_path) -> None:
    """Real threads, and time that passes by itself."""
    world, bound = fake_world(), 25.0 + 0.5
    offset = world.clock() - time.time_ns() // 1000

    def clock() -> int:
        return time.time_ns() // 1000 + offset

    provider = Deaf(clock=clock)
    provider.asked = []
    with real_store(kind, tmp_path) as store:
        t = Till(world, store)
        t.clock, t.provider, t.street = clock, provider, provider
        t.billing = t.engine()
        armed(t, "acme")
        t.billing.set_low_balance("acme", "low", usd("9"))
        abandons(t, "aaa", 1000)
        offset += micros("later", T0 + 26 * HOUR) - micros("now", T0)
        provider.deaf = True
        told, ended = [], threading.Event()

        def work() -> None:
            engine = t.engine()
            while not ended.is_set():
                if not engine.run_pending(deliver=told.append).more:
                    ended.wait(0.1)

        workers = [threading.Thread(target=work) for _ in range(4)]
        for each in workers:
            each.start()
        try:
            time.sleep(1)  # they are in the midst of it
            t.billing.hold(
                "acme", usd("1"), key="h", expires_in=timedelta(seconds=0.1), resource="x"
            )
            t.billing.deduct("acme", "d", usd("6"), resource="x")
            began = time.monotonic()
            t.billing.balance("acme")
            read = time.monotonic() - began
            waits = {
                "lapse": lambda: "hold_expired" in t.events(),
                "event": lambda: "acme" in {each.org for each in told},
                "top-up": lambda: "acme" in provider.asked,
            }
            took = {"read": read}
            while len(took) < 4 and time.monotonic() - began < 2 * bound:
                for what, done in waits.items():
                    if what not in took and done():
                        took[what] = time.monotonic() - began
                time.sleep(0.05)
        finally:
            ended.set()
            for each in workers:
                each.join()
        assert sorted(took) == ["event", "lapse", "read", "top-up"]
        assert max(took.values()) < bound, took


def test_a_settable_clock_that_stands_still_never_ends_a_pass() -> None:
    clock = SettableClock(T0)
    run = passes.Pass(None, clock)
    run.begins()
    assert list(run.each(range(1000))) == list(range(1000))
    assert not run.pending.more


def test_orgs_take_turns() -> None:
    pieces = [("a", 1), ("a", 2), ("b", 3), (None, 4), ("a", 5), ("b", 6), (None, 7)]
    order = [piece for _, piece in passes.in_turn(pieces, {})]
    assert order == [1, 3, 4, 2, 6, 7, 5]
    order = [piece for _, piece in passes.in_turn(pieces, {"a": 2, "b": 1})]
    assert order == [4, 3, 1, 7, 6, 2, 5], "who was served last comes last"


class Hanging(FakePayments):
    """A provider that does not answer the first calls that it gets once it ``hangs``."""

    hangs = 0

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.reached, self.answers = threading.Semaphore(0), threading.Event()

    def read_checkout(self, checkout):
        self._hang()
        return super().read_checkout(checkout)

    def read_payment(self, payment):
        self._hang()
        return super().read_payment(payment)

    def _hang(self):
        if self.hangs:
            self.hangs -= 1
            self.reached.release()
            assert self.answers.wait(60)


@contextmanager
def hanging(kind, path):
    clock = SettableClock(T0)
    fake = Hanging(clock=clock)
    with real_store(kind, path) if kind != "fake" else nullcontext() as store:
        yield Till(PaymentWorld(provider=fake, street=fake, clock=clock), store)


ASKED = {
    "confirm": lambda t, page: t.billing.confirm("acme", page.session),
    "the page again": lambda t, page: t.order("10", key="page"),
    "another page": lambda t, page: t.order("10"),
    "read_back": lambda t, page: t.billing.read_back("acme", page.topup),
    "refund": lambda t, page: t.billing.refund("acme", "r", topup=page.topup),
}


@pytest.mark.parametrize("kind", ["fake", "sqlite", "postgres"])
def test_an_org_whose_provider_hangs_takes_four_of_the_host_s_threads(kind, tmp_path) -> None:
    with hanging(kind, tmp_path) as t:
        page, paid = t.order("10", key="page"), t.paid("10")
        t.street.deliveries()
        t.street.pay(page.session)
        t.billing.open_account("zeta", livemode=False)
        other = t.order("10", "zeta")
        before = len(list(t.store.entries("acme")))
        t.provider.hangs = 4
        with ThreadPoolExecutor(4) as threads:
            try:
                calls = [threads.submit(t.billing.confirm, "acme", page.session) for _ in range(4)]
                for _ in calls:
                    assert t.provider.reached.acquire(timeout=20)
                # Nobody waits: each is answered at once, and nothing was done.
                for name, ask in ASKED.items():
                    with pytest.raises(PaymentError, match="4 calls of org 'acme'") as error:
                        ask(t, paid if name == "refund" else page)
                    assert (error.value.kind, error.value.retryable) == ("rate_limited", True)
                assert len(list(t.store.entries("acme"))) == before
                assert not t.billing.confirm("zeta", other.session).paid
                with pytest.raises(NotFound):
                    t.billing.confirm("acme", "cs_made_up")
                assert t.run().failures == []  # background work is not bounded by it
            finally:
                t.provider.answers.set()
            assert all(call.result().paid for call in calls)
        for name, ask in ASKED.items():
            ask(t, paid if name == "refund" else page)


def test_a_fifth_call_of_an_org_is_answered_at_once_by_the_async_engine_too(tmp_path) -> None:
    async def story(t) -> None:
        page = t.order("10")
        t.provider.hangs = 4
        billing = AsyncBilling(t.store, clock=t.clock, ids=t.ids, payments=t.provider)
        calls = [asyncio.create_task(billing.confirm("acme", page.session)) for _ in range(4)]
        try:
            for _ in calls:
                assert await asyncio.to_thread(t.provider.reached.acquire, timeout=20)
            with pytest.raises(PaymentError, match="4 calls of org 'acme'"):
                await billing.confirm("acme", page.session)
        finally:
            t.provider.answers.set()
        await asyncio.gather(*calls)

    with hanging("sqlite", tmp_path) as t:
        asyncio.run(story(t))


@pytest.mark.parametrize("kind", ["fake", "sqlite", "postgres"])
def test_webhooks_that_wait_for_the_provider_take_four_threads_of_an_org(kind, tmp_path) -> None:
    """The fifth is answered at once, and is followed when it is delivered again."""
    with hanging(kind, tmp_path) as t:
        page = t.order("10")
        t.street.pay(page.session)
        post = posted(t, "checkout")
        t.billing.open_account("zeta", livemode=False)
        other = t.order("10", "zeta")
        t.street.pay(other.session)
        others = posted(t, "checkout")
        before = len(list(t.store.entries("acme")))
        t.provider.hangs = 4
        with ThreadPoolExecutor(4) as threads:
            try:
                calls = [threads.submit(t.billing.webhook, *post) for _ in range(4)]
                for _ in calls:
                    assert t.provider.reached.acquire(timeout=20)
                with pytest.raises(PaymentError, match="4 webhooks of org 'acme'") as error:
                    t.billing.webhook(*post)
                assert (error.value.kind, error.value.retryable) == ("rate_limited", True)
                with pytest.raises(PaymentError) as error:
                    t.billing.webhook(post[0], "t=1,v1=00")
                assert error.value.kind == "bad_signature"
                assert len(list(t.store.entries("acme"))) == before
                # Neither another org's nor a customer who is back waits for them.
                t.billing.webhook(*others)
                assert t.balance("zeta") == "10.00 USD"
                assert t.billing.confirm("acme", page.session).paid
            finally:
                t.provider.answers.set()
            for call in calls:
                call.result()
        t.billing.webhook(*post)
        assert t.balance("acme") == "10.00 USD"


@pytest.mark.parametrize("kind", ["fake", "sqlite", "postgres"])
def test_webhooks_of_what_is_not_on_record_take_four_threads(kind, tmp_path) -> None:
    with hanging(kind, tmp_path) as t:
        page = t.order("10")
        t.street.pay(page.session)
        post = posted(t, "payment")  # no payment is on record yet, so whose it is nobody knows
        t.provider.hangs = 4
        with ThreadPoolExecutor(4) as threads:
            try:
                calls = [threads.submit(t.billing.webhook, *post) for _ in range(4)]
                for _ in calls:
                    assert t.provider.reached.acquire(timeout=20)
                with pytest.raises(PaymentError, match="4 webhooks of an org that is not") as error:
                    t.billing.webhook(*post)
                assert error.value.retryable
                assert t.billing.confirm("acme", page.session).paid
            finally:
                t.provider.answers.set()
            for call in calls:
                call.result()
        t.billing.webhook(*post)
        assert t.balance("acme") == "10.00 USD"


def posted(t, kind):
    """A webhook of a kind, among what is to be delivered now."""
    found = [
        each
        for each in t.street.deliveries()
        if t.provider.read_webhook(*each, now=t.clock()).kind == kind
    ]
    return found[0]


class Interrupted(BaseException):
    pass


def test_an_interrupted_call_does_not_count_as_one_that_waits() -> None:
    with till("fake") as t:
        page = t.order("10")
        read = t.provider.read_checkout
        for _ in range(5):
            t.provider.read_checkout = raising(Interrupted)
            with pytest.raises(Interrupted):
                t.billing.confirm("acme", page.session)
        t.provider.read_checkout = read
        assert not t.billing.confirm("acme", page.session).paid


def raising(error):
    def call(*_):
        raise error

    return call


# -- runs that cannot be closed -----------------------------------------------------


def runs_of(t, orgs) -> None:
    """One silent run each, the first org's the longest."""
    cost = Price(Flat(1000, 1_000_000), unit="microsecond")
    prices = {"sandbox:box": {"second": cost}}
    t.billing.publish(PriceBook("v1", T0 - timedelta(days=400), prices, "USD"))
    for org in orgs:
        t.billing.open_account(org, livemode=False)
        t.billing.grant(org, "g", usd("1"))
        t.billing.start_run(org, "r", sandbox("box", {"second": 1}))
        t.clock.advance(SECOND)
    t.clock.advance(HOUR)


def spoiled(store, path, org) -> None:
    """A run's row is altered beyond reading."""
    if isinstance(store, SqliteStore):
        with closing(sqlite3.connect(path / "b.db")) as db, db:
            db.execute("UPDATE runs SET body = 'x' WHERE org_id = ?", (org,))
    else:
        with psycopg.connect(store.dsn) as db:
            query = f"""UPDATE "{store.schema}".runs SET body = 'x' WHERE org_id = %s"""
            db.execute(query, (org,))


@pytest.mark.parametrize("door", ["sync", "async"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_runs_that_cannot_be_closed_keep_no_other_open(kind, door, tmp_path) -> None:
    with real_store(kind, tmp_path) as store:
        t = Till(fake_world(), store)
        runs_of(t, ["bad-1", "bad-2", "good-1", "good-2", "good-3"])
        for org in ("bad-1", "bad-2"):
            spoiled(store, tmp_path, org)

        def sweep():
            if door == "sync":
                return t.billing.sweep_runs(limit=2)
            billing = AsyncBilling(store, clock=t.clock, ids=t.ids)
            return asyncio.run(billing.sweep_runs(limit=2))

        assert [each.run for each in sweep()] == ["r", "r"]
        states = [t.billing.run(f"good-{n}", "r").state for n in (1, 2, 3)]
        assert states == ["settled", "settled", "active"]
        assert len(sweep()) == 1
        assert t.billing.run("good-3", "r").state == "settled"
        with pytest.raises(StoreError, match="cannot be read"):
            sweep()


def test_an_org_that_is_locked_elsewhere_keeps_no_other_s_run_open() -> None:
    with (
        DisposableStore() as made,
        PostgresStore(made.dsn, schema=made.schema, lock_seconds=0.2) as store,
    ):
        t = Till(fake_world(), store)
        runs_of(t, ["locked", "good"])
        with psycopg.connect(made.dsn) as host:
            query = f"""SELECT 1 FROM "{made.schema}".accounts WHERE org_id = 'locked' FOR UPDATE"""
            host.execute(query)
            assert len(t.billing.sweep_runs()) == 1
            assert t.billing.run("good", "r").state == "settled"
            with pytest.raises(StoreError) as error:
                t.billing.sweep_runs()
            assert error.value.retryable
        assert len(t.billing.sweep_runs()) == 1
