"""A load whose every command is known beforehand, and what its callers may claim of the
file that they sent it to, whatever became of the process or of the disk meanwhile."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random

import attrs

from billing_adapters.postgres import PostgresStore
from billing_adapters.sqlite import SqliteStore
from billing_core import (
    Billing,
    Checkpoint,
    Command,
    Deduct,
    Flat,
    Grant,
    Hold,
    HoldEnded,
    Money,
    OpenAccount,
    Outcome,
    Price,
    PriceBook,
    Release,
    Settle,
    Success,
    Usage,
    usd,
)
from billing_core.ports.store import Store

ORGS = ("acme", "bolt")
RATE = Flat.of("0.0753", 1_000_000)  # 75.3 nanos a unit: charges carry fractions along
BOOK = PriceBook(
    "v1", datetime(2026, 1, 1, tzinfo=UTC), {"tool": {"unit": Price(RATE, unit="unit")}}
)
CREDIT = usd("1000")  # never used up: a refusal would be answered and leave no trace
LONG, SHORT = timedelta(hours=1), timedelta(microseconds=500)

Name = tuple[str, int]
"""A command's: the worker who sends it, and the how manieth of that worker's it is."""

SETUP = "setup"  # the worker as whom every process opens the accounts
SETUPS = 2 * len(ORGS)

Tell = Callable[[str, int, str], object]
"""Called with worker, number and digest of the outcome once a command is acknowledged."""


def command(worker: str, n: int) -> Command:
    """The same in every process.  A worker's commands come in pairs that may belong together,
    such as a hold and its settlement."""
    if worker == SETUP:
        org = ORGS[n // 2]
        return Grant(org, "credit", amount=CREDIT) if n % 2 else OpenAccount(org)
    draw = Random(f"{worker} {n // 2}")
    org, kind, expires_in = draw.choice(ORGS), draw.randrange(6), draw.choice((LONG, SHORT))
    quantity = draw.randrange(1, 1000)
    usage, money = Usage.of("tool", {"unit": quantity}), Money(quantity, "USD")
    key, first = f"{worker}/{n}", f"{worker}/{n - n % 2}"
    match kind, n % 2:
        case 0, 0:
            return Deduct(org, key, cost=money, resource="fee", member="ana")
        case 1, 0:
            return Grant(org, key, amount=money)
        case 2, 0:
            return Hold(org, key, cost=money, expires_in=LONG)
        case _, 0:
            return Hold(org, key, cost=usage, expires_in=expires_in, member="bo")
        case 0, _:
            return Settle(org, key, usage=usage)
        case 1, _:
            return Deduct(org, key, cost=usage, member="ana")
        case 2, _:
            return Release(org, key, hold=first)
        case _:
            return Settle(org, key, usage=usage, hold=first, member="bo")


def digest(outcome: Success) -> str:
    same = attrs.evolve(outcome, replayed=False)
    return sha256(repr(same).encode()).hexdigest()[:16]


def set_up(billing: Billing, tell: Tell) -> None:
    """What every process does first; only the first one's changes anything."""
    billing.publish(BOOK)
    work(billing, SETUP, range(SETUPS), tell)


def work(billing: Billing, worker: str, numbers: Iterable[int], tell: Tell) -> None:
    """Send a worker's commands, one after another."""
    for n in numbers:
        [outcome] = billing.execute([command(worker, n)])
        tell(worker, n, digest(succeeded(outcome)))


def answers(billing: Billing, commands: Sequence[Command]) -> list[Outcome]:
    """Send commands, perhaps again.  A hold that has ended since does not answer as if it held;
    what is on record of it is its first answer."""
    outcomes: list[Outcome] = []
    for one, outcome in zip(commands, billing.execute(commands), strict=True):
        if isinstance(one, Hold) and isinstance(outcome, HoldEnded):
            found = billing.find(one.org, "hold", one.key)
            assert found is not None, f"hold {one.key} has ended and is not on record"
            outcomes.append(attrs.evolve(found, replayed=True))
        else:
            outcomes.append(outcome)
    return outcomes


def succeeded(outcome: Outcome) -> Success:
    if isinstance(outcome, Exception):
        raise outcome
    assert isinstance(outcome, Success), outcome
    return outcome


class Hasty(SqliteStore):
    """Checkpoints often, so that a short load has many."""

    def _connect(self) -> sqlite3.Connection:
        db = super()._connect()
        db.execute("PRAGMA wal_autocheckpoint = 60")
        return db


Place = tuple[str, ...]
"""An SQLite file's path, or a PostgreSQL connection string and a schema."""


def opened(place: Place) -> SqliteStore | PostgresStore:
    """The store at a place, made if missing."""
    if len(place) == 1:
        return Hasty(place[0])
    dsn, schema = place
    store = PostgresStore(dsn, schema=schema)
    store.migrate()
    return store


class Claims:
    """What the callers of one file were told, and what they would send again."""

    def __init__(self) -> None:
        self.answers: dict[Name, str] = {}
        self.written = 0
        """Commands without an answer that proved to have been written all the same."""
        self._next = {SETUP: 0}
        self._unchecked: list[Name] = []
        self._checkpoints: Mapping[str, Checkpoint] = {}
        self._fees, self._units, self._credit = Counter[str](), Counter[str](), Counter[str]()

    def copy(self) -> Claims:
        """The same claims, to be checked against another future."""
        return deepcopy(self)

    def employ(self, worker: str) -> None:
        """From now on this worker sends commands."""
        self._next[worker] = 0

    def hear(self, worker: str, n: int, answer: str) -> None:
        """Note an acknowledgement."""
        if (worker, n) in self.answers:
            assert self.answers[worker, n] == answer, f"{worker}/{n} has two outcomes"
            return
        assert n == self._next[worker], f"{worker} was told of {n} out of turn"
        self._next[worker] += 1
        self.answers[worker, n] = answer
        self._unchecked.append((worker, n))
        self._count(command(worker, n))

    def _count(self, one: Command) -> None:
        if isinstance(one, Grant):
            self._credit[one.org] += one.amount.nanos
        elif isinstance(one, Deduct) and isinstance(one.cost, Money):
            self._fees[one.org] += one.cost.nanos
        elif isinstance(one, Deduct | Settle):
            usage = one.cost if isinstance(one, Deduct) else one.usage
            assert isinstance(usage, Usage)
            self._units[one.org] += sum(quantity for _, quantity, _ in usage.parts)

    def lost(self, billing: Billing, names: Iterable[Name]) -> list[Name]:
        """Those acknowledged that are not on record as they were acknowledged."""
        names = list(names)
        outcomes = answers(billing, [command(*name) for name in names])
        return [
            name
            for name, outcome in zip(names, outcomes, strict=True)
            if not isinstance(outcome, Success)
            or not outcome.replayed
            or digest(outcome) != self.answers[name]
        ]

    def check(self, store: Store, *, thorough: bool = True) -> None:
        """Nothing acknowledged is lost; once what was not acknowledged is sent again, nothing
        is charged twice.  ``thorough``: look at everything, not at what is new alone.

        Afterwards the workers are gone: who comes next has another name.
        """
        billing = Billing(store)
        audit = billing.verify(checkpoints={} if thorough else self._checkpoints)
        assert audit.ok, [str(each) for each in audit.discrepancies]
        self._checkpoints = audit.checkpoints
        if self.answers:
            assert len(store.published()) == 1, "the prices were published, and are lost"
        lost = self.lost(billing, self.answers if thorough else self._unchecked)
        assert not lost, f"acknowledged and lost: {lost}"
        self._send_again(billing)
        self._unchecked.clear()
        for org in ORGS:
            balance = billing.balance(org)
            assert balance.granted == self._credit[org], f"{org}: credit"
            charged = self._fees[org] + self._units[org] * RATE.nanos // RATE.per
            assert balance.used == charged, f"{org}: charged"
            assert balance.balance == balance.granted - balance.used, f"{org}: balance"

    def _send_again(self, billing: Billing) -> None:
        billing.publish(BOOK)
        # The accounts first; a worker never has more than one command under way.
        names = [(SETUP, n) for n in range(self._next[SETUP], SETUPS)]
        names += [(worker, n) for worker, n in self._next.items() if worker != SETUP]
        outcomes = answers(billing, [command(*name) for name in names])
        for name, outcome in zip(names, outcomes, strict=True):
            self.written += succeeded(outcome).replayed
            self.hear(*name, digest(succeeded(outcome)))
        again = self.lost(billing, names)
        assert not again, f"sent again and again, and not the same: {again}"
        self._next = {SETUP: SETUPS}
