"""Races of drawn commands, held against the reference model in the order of the journal.

Workers send commands to one engine, or to several, all at once.  Every success is an entry,
so the journal says in which order they happened: told in that order, the model must give
each caller's own answer.  What has no entry (a refusal, an error) must be the model's answer
somewhere after what had been answered before the call, and before what was called later.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from copy import copy, deepcopy
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic_ns
from typing import Any, cast

import pytest
from attrs import evolve, frozen
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from postgres_servers import DisposableStore
from test_concurrency import in_threads

from billing_adapters.postgres import PostgresStore
from billing_adapters.sqlite import SqliteStore
from billing_core import AsyncBilling, Billing, Money, PriceBook
from billing_core.commands.accounts import OpenAccount, SetLimit, SetPlan
from billing_core.commands.base import Command
from billing_core.commands.charges import Deduct, Settle
from billing_core.commands.credit import Grant
from billing_core.commands.holds import Extend, Hold
from billing_core.commands.outcomes import Outcome, Refusal, Success
from billing_core.errors import HoldEnded
from billing_core.ports.clock import Clock
from billing_core.ports.store import Store, Transaction
from billing_core.records.ledger import Entry
from billing_core.testing import MemoryStore, SettableClock
from billing_core.testing.machines import agreement as audits
from billing_core.testing.model.answers import answer_of
from billing_core.testing.model.facts import Facts
from billing_core.testing.model.ledger import Model
from billing_core.testing.model.tariff import counted
from billing_core.testing.strategies.commands import (
    BASE,
    OFFERS,
    ORGS,
    START,
    Theme,
    World,
    books,
    commands,
)
from billing_core.values.usage import Usage

pytestmark = pytest.mark.slow

ORG = ORGS[0]
MINUTE = timedelta(minutes=1)
Script = list[Command | datetime]  # what a worker sends; a time is what its clock is set to

nanos = partial(Money, currency="USD")
ENDS = [START + span * MINUTE for span in (1, 5, 10, 60)]
PROLOGUE: list[Command] = [
    *(OpenAccount(org) for org in ORGS),
    Grant(ORG, "k0", amount=nanos(40)),
    Grant(ORG, "k1", amount=nanos(9), kind="promotional", expires_at=ENDS[1]),
    Grant(ORG, "k2", amount=nanos(12), scope=["model:*"], expires_at=ENDS[3]),
    Settle(ORG, "k0", usage=Usage.of("model:a", {"flat": 9, "tiered": 9})),
    Settle(ORG, "k1", usage=Usage.of("tool", {"unknown": 3, "timed": 4}, item="run-1")),
    Deduct(ORG, "k2", cost=nanos(8), resource="model:b"),
    Hold(ORG, "k0", cost=nanos(6), expires_in=MINUTE),
    Hold(ORG, "k1", cost=nanos(4), expires_in=5 * MINUTE, resource="model:a"),
    Hold(ORG, "k2", cost=Usage.of("model:a", {"tiered": 2}), expires_in=10 * MINUTE),
    Hold(ORG, "k3", cost=nanos(3), expires_in=60 * MINUTE),
]
TERMS: list[Command] = [
    SetPlan(ORG, "k0", plan="small"),
    SetLimit(ORG, "k0", amount=nanos(60), alerts=(50, 100)),
    SetLimit(ORG, "k1", amount=nanos(15), every="member", per="day"),
    SetLimit(ORG, "k2", amount=nanos(20), every="project"),
]
PERIOD_ENDS = START + timedelta(days=28)  # from the 31st to the last of February
KNOWN = World(
    theme=Theme(
        {"hold": 6, "settle": 6, "deduct": 5, "extend": 4, "release": 3, "reverse": 4,
         "grant": 3, "price": 1, "plan": 2, "limit": 2, "low_balance": 1},
        ("flat", "tiered", "timed", "unknown"), credit=12,
    ),
    holds={ORG: ["k0", "k1", "k2", "k3"]},
    charges={ORG: [5, 6, 7, 5, 6, 7, 12, 13, 14, 16, 19]},  # what is one, and what may become one
    unpriced={ORG: [6]},
    ends=ENDS,
)  # fmt: skip


@frozen
class Race:
    book: PriceBook
    later: datetime
    commands: list[Command]
    workers: int
    terms: bool = False  # whether there are a plan and limits from the start

    @property
    def scripts(self) -> list[Script]:
        """Every worker has commands of its own, and some that another sends as well."""
        scripts: list[Script] = [[] for _ in range(self.workers)]
        for number in range(max(len(self.commands), self.workers)):
            turn, which = divmod(number, len(self.commands))
            command: Any = self.commands[which]
            if turn % 2:  # else the same again
                command = evolve(command, key=f"{command.key}.{turn}")
            scripts[number % self.workers].append(command)
            if number % 4 == 0:
                scripts[(3 * number + 1) % self.workers].append(command)
        for script in scripts:
            script.insert((len(script) + 1) // 2, self.later)
        return scripts


@st.composite
def races(draw: st.DrawFn, workers: int) -> Race:
    """All contend for the same credit, holds, charges and keys."""
    book = draw(books(KNOWN))
    terms = draw(st.booleans())
    ends = [*ENDS, PERIOD_ENDS, PERIOD_ENDS] if terms else ENDS
    later = draw(st.sampled_from(ends)) + draw(st.integers(-1, 1)) * timedelta(microseconds=1)
    world = evolve(KNOWN, versions=["base", book.version])
    drawn: list[Command] = []
    for number in range(40):
        command = draw(commands(evolve(world, serial=4 + number // 2)))
        drawn.append(command)
        if isinstance(command, Hold) and command.org == ORG:
            world = evolve(world, holds={ORG: [*world.holds[ORG], command.key]})
    return Race(book, later, drawn, workers, terms)


def begin(store: Store, race: Race) -> Model:
    """What is there before a race; the model of it."""
    billing, model = Billing(store, clock=SettableClock(START)), Model()
    for document in (*OFFERS, race.book):
        billing.publish(document)
        model.publish(document)
    before = PROLOGUE + TERMS * race.terms
    for command, outcome in zip(before, billing.execute(before), strict=True):
        agree(model, command, billing.clock(), outcome)
    return model


# -- racing -----------------------------------------------------------------------


@frozen
class Sent:
    """A command and what came of it.  ``called``, ``returned``: by the machine's clock;
    ``times``: what the engine's clock said then."""

    command: Command
    outcome: Outcome
    called: int
    returned: int
    times: frozenset[int]

    @property
    def seq(self) -> int:  # the entry's number, 0 for none
        return self.outcome.seq if isinstance(self.outcome, Success) else 0

    @property
    def made(self) -> bool:
        """Whether it made its entry, rather than found it."""
        return isinstance(self.outcome, Success) and not self.outcome.replayed


class Worker:
    """Goes through a script, taking notes."""

    def __init__(self, clock: Clock, script: Script) -> None:
        self.sent: list[Sent] = []
        self._clock = cast(SettableClock, clock)
        self._script = script

    def asks(self) -> Iterator[Command]:
        for step in self._script:
            if isinstance(step, datetime):
                self._clock.set(step)
                continue
            since, called = self._clock(), monotonic_ns()
            yield step
            times = frozenset({since, self._clock()})
            self.sent.append(Sent(step, self.heard, called, monotonic_ns(), times))

    def work(self, billing: Billing) -> list[Sent]:
        for command in self.asks():
            [self.heard] = billing.execute([command])
        return self.sent

    async def work_async(self, billing: AsyncBilling) -> list[Sent]:
        for command in self.asks():
            [self.heard] = await billing.execute([command])
        return self.sent


def by_threads(engines: Sequence[Billing], race: Race) -> list[Sent]:
    scripts, start = race.scripts, threading.Barrier(race.workers)

    def work(who: int) -> list[Sent]:
        billing = engines[who % len(engines)]
        start.wait(10)
        return Worker(billing.clock, scripts[who]).work(billing)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # else one transaction in memory is over before another begins
    try:
        results = in_threads(race.workers, work)
    finally:
        sys.setswitchinterval(usual)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(chain.from_iterable(results))


def by_tasks(store: Store, race: Race) -> list[Sent]:
    billing = AsyncBilling(store, clock=SettableClock(START))

    async def work() -> list[list[Sent]]:
        workers = [Worker(billing.clock, script) for script in race.scripts]
        return await asyncio.gather(*(worker.work_async(billing) for worker in workers))

    return list(chain.from_iterable(asyncio.run(asyncio.wait_for(work(), 60))))


def by_processes(pool: ProcessPoolExecutor, store: Store, race: Race) -> list[Sent]:
    places = [place_of(store)] * race.workers
    return list(chain.from_iterable(pool.map(in_a_process, places, race.scripts, timeout=120)))


def place_of(store: Store) -> tuple[str, ...]:
    """What another process opens the same records by."""
    if isinstance(store, PostgresStore):
        return store._dsn, store.schema
    return (cast(SqliteStore, store).path,)


class Start:
    barrier: Any  # at which a process waits for the others


def in_a_process(place: tuple[str, ...], script: Script) -> list[Sent]:
    clock = SettableClock(START)  # its own: processes disagree about the time
    if len(place) == 2:
        opened: Any = PostgresStore(place[0], schema=place[1], lock_seconds=60)
    else:
        opened = SqliteStore(place[0], busy_seconds=60)
    with opened as store:
        Start.barrier.wait(60)
        return Worker(clock, script).work(Billing(store, clock=clock))


# -- the audit --------------------------------------------------------------------


def agree(model: Model, command: Command, now: int, outcome: Outcome) -> None:
    expected = model.execute(command, now, outcome)
    assert answer_of(outcome) == expected, f"{command}: {outcome}; the model says {expected}"


def forked(facts: Facts) -> Facts:
    """A copy on which anything may be tried."""
    tables = ("lots", "uses", "reversals", "undone", "shifted", "firsts", "members", "limits")
    charges = {seq: copy(charge) for seq, charge in facts.charges.items()}
    return evolve(
        facts.copy(), charges=charges, **{name: copy(getattr(facts, name)) for name in tables}
    )


def audit_order(store: Store, model: Model, org: str, sent: Sequence[Sent]) -> None:
    """There is a serial order that leads to every answer, and it agrees with the callers'
    time: what was called after another's return comes after it."""
    facts = model.orgs[org]
    first = last = len(facts.postings)
    makers = {each.seq: each for each in sent if each.made}
    assert len(makers) == sum(each.made for each in sent), "two successes are one entry"
    states = {first: forked(facts)}
    for entry in store.entries(org, after=first):
        last = entry.seq
        maker = makers.pop(last, None)
        if maker is None and entry.op == "undone":
            pass  # of the reversal whose entry comes next
        elif maker is None:
            # That it had to be, and no sooner, the comparison of the whole journal shows.
            assert entry.op == "lapse", f"nobody was told of {entry}"
            facts.now = entry.recorded_at
            facts.lapse(entry.at)
        else:
            now = clock_of(model, facts, entry, maker)
            agree(model, maker.command, now, maker.outcome)
        states[last] = forked(facts)
    assert not makers, f"not on record: {list(makers.values())}"
    for each in sent:
        low = max((other.seq for other in sent if other.returned < each.called), default=0)
        later = [other.seq for other in sent if other.made and other.called > each.returned]
        high = min(later, default=last + 1) - 1
        if each.made:
            assert low < each.seq, f"{each.outcome} was called after {low} had returned"
        elif each.seq:
            assert each.seq <= high, f"{each.outcome} is a replay of what was called later"
            # What has ended since was told while it stood: so it was in a state of before.
            if not answers(model, facts, each, each.times):
                told = (states[seq] for seq in range(max(each.seq, low, first), high + 1))
                assert any(answers(model, then, each, each.times) for then in told), (
                    f"{each.command}: {each.outcome}; the model says otherwise"
                )
        else:
            called = [other.seq for other in sent if other.made and other.called < each.called]
            likely = max(called, default=first)
            places = sorted(range(max(low, first), high + 1), key=lambda seq: abs(seq - likely))
            assert any(answers(model, states[seq], each, each.times) for seq in places), (
                f"{each.command}: {each.outcome}; not so from entry {low} to {high}"
            )


def clock_of(model: Model, facts: Facts, entry: Entry, maker: Sent) -> int:
    """What the clock said when an entry was made: what is on record, or, where another clock
    had been ahead, less."""
    recorded = entry.recorded_at
    ahead = facts.postings[-1].recorded_at == recorded or maker.command.op in ("plan", "limit")
    times = sorted(t for t in maker.times if t == recorded or (ahead and t < recorded))
    assert times, f"{entry} is by another clock"
    return next((time for time in times if made_so(model, facts, entry, maker, time)), times[-1])


def made_so(model: Model, facts: Facts, entry: Entry, maker: Sent, now: int) -> bool:
    """Whether the model would make this very entry at a time."""
    trial = Model()
    trial.tariff, own = model.tariff, forked(facts)
    trial.orgs = {facts.name: own}
    if trial.execute(maker.command, now, maker.outcome) != answer_of(maker.outcome):
        return False
    if own.postings[-1].recorded_at != entry.recorded_at:
        return False
    if isinstance(maker.command, Settle | Deduct):
        assert entry.usage is not None
        return own.charges[entry.seq].occurred == entry.usage.occurred_at
    if isinstance(maker.command, Hold | Extend):
        key = maker.command.key if isinstance(maker.command, Hold) else maker.command.hold
        said = json.loads(entry.effects)
        announced = [[*each] for each in own.holds[key].announced]
        counted = said.get("counted", [] if isinstance(maker.command, Hold) else announced)
        return ([[*part] for part in own.holds[key].parts], announced) == (said["parts"], counted)
    return True


def answers(model: Model, facts: Facts, sent: Sent, times: Iterable[int]) -> bool:
    """Whether the model would answer so, at one of the times."""
    trial = Model()
    trial.tariff = model.tariff
    for now in times:
        trial.orgs = {facts.name: forked(facts)}
        if trial.execute(sent.command, now, sent.outcome) == answer_of(sent.outcome):
            return True
    return False


def audit_state(billing: Billing, model: Model) -> None:
    """Whatever is kept is what the model says."""
    store, now = billing.store, billing.clock()
    for org, facts in model.orgs.items():
        audits.balance([billing], model, org, now)
        audits.journal(store, model, org)
        audits.told(store, model, org)
        audits.totals(store, model, org)
        audits.conservation(billing, store, org)
        audits.reports([billing], model, org, now)
        kept = {each.key: (each.state, each.expires_at, each.parts) for each in store.holds(org)}
        assert kept == {
            key: (each.state, each.expires_at, [(*part,) for part in each.parts])
            for key, each in facts.holds.items()
        }
        for counter in store.counters(org):
            for name, (quantity, carry, of, _) in counter.components.items():
                billed, cost = counted(facts.uses, counter.resource, name, counter.start)
                assert (quantity, Fraction(carry, of)) == (billed, cost % 1)
    audits.verified(billing)


def audit(store: Store, model: Model, race: Race, sent: Sequence[Sent]) -> None:
    for org in ORGS:
        audit_order(store, model, org, [each for each in sent if each.command.org == org])
    billing = Billing(store, clock=SettableClock(race.later))
    audit_state(billing, model)
    again = billing.execute(each.command for each in sent)
    for each, outcome in zip(sent, again, strict=True):
        agree(model, each.command, billing.clock(), outcome)
        if isinstance(each.outcome, Success):
            ended = isinstance(outcome, HoldEnded)  # which the model agrees to, above
            assert ended or (outcome == each.outcome and cast(Success, outcome).replayed)
    audit_state(billing, model)


class Unlocked(MemoryStore):
    """Works on a copy and puts that in place of what is there meanwhile.  An engine that has
    one batch of an org in flight makes up for it."""

    concurrency = 2
    _two: Iterator[int] = iter(())

    def let_two_meet(self) -> None:
        """Neither of the next two transactions ends before both have begun, or a second is
        over: all may have come together in one."""
        self._two, self._both = iter((1, 2)), threading.Barrier(2)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        mine = MemoryStore()
        mine._orgs = before = self._orgs
        if next(self._two, None):
            with suppress(threading.BrokenBarrierError):
                self._both.wait(1)
        with mine.transaction() as transaction:
            yield transaction
        changed = {name: org for name, org in mine._orgs.items() if org is not before.get(name)}
        with self._lock:
            self._orgs = {**self._orgs, **changed}


@contextmanager
def on_disk() -> Iterator[SqliteStore]:
    with TemporaryDirectory() as place, SqliteStore(Path(place) / "b.db") as store:
        yield store


STORES: dict[str, Callable[[], AbstractContextManager[Store]]] = {
    "sqlite": on_disk,
    "postgres": lambda: DisposableStore(lock_seconds=60),
    "memory": lambda: nullcontext(MemoryStore()),
    "unlocked": lambda: nullcontext(Unlocked()),
}


def check(workers: int, examples: int, kind: str, run: Callable[[Store, Race], list[Sent]]) -> None:
    """So many races in a plain run, as many times more in a deeper one as elsewhere."""
    # Smaller ones are not looked for: whether a race fails again is luck.
    phases = [Phase.reuse, Phase.generate]

    @settings(max_examples=examples * settings().max_examples // 50, phases=phases)
    @given(races(workers))
    def one(race: Race) -> None:
        with STORES[kind]() as store:
            model = begin(store, race)
            audit(store, model, race, run(store, race))

    one()


@pytest.mark.parametrize(
    ("kind", "engines"),
    [
        ("sqlite", 1),
        ("sqlite", 2),
        ("postgres", 1),
        ("postgres", 2),
        ("memory", 2),
        ("unlocked", 1),
    ],
)
def test_eight_threads_race_in_some_serial_order(kind: str, engines: int) -> None:
    def run(store: Store, race: Race) -> list[Sent]:
        clock = SettableClock(START)
        return by_threads([Billing(store, clock=clock) for _ in range(engines)], race)

    check(8, 8, kind, run)


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "memory"])
def test_256_tasks_race_in_some_serial_order(kind: str) -> None:
    check(256, 3, kind, by_tasks)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_four_processes_race_in_some_serial_order(kind: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, spawn, setattr, (Start, "barrier", spawn.Barrier(4))) as pool:
        check(4, 6, kind, partial(by_processes, pool))


# -- what the audit catches -------------------------------------------------------


class NeverBusy(set[str]):
    """Lets a coalescer believe that no org has a batch in flight."""

    def isdisjoint(self, _: object) -> bool:
        return True


class Hasty(Billing):
    """Refuses by a copy that is a batch old, and asks the store only about the rest."""

    _old = MemoryStore()

    def _run(self, batch: Sequence[Command]) -> list[Outcome]:
        early = Billing(self._old, clock=self.clock).execute(batch)
        store, self._old = cast(MemoryStore, self.store), MemoryStore()
        self._old._orgs, self._old._published = store._orgs, store._published
        refused = [isinstance(outcome, Refusal) for outcome in early]
        rest = [command for command, no in zip(batch, refused, strict=True) if not no]
        asked = iter(super()._run(rest))
        return [each if no else next(asked) for each, no in zip(early, refused, strict=True)]


def faulty(fault: str) -> list[Billing]:
    clock = SettableClock(START)
    if fault == "old refusals":
        return [Hasty(MemoryStore(), clock=clock)]
    store = Unlocked()
    if fault == "two engines, no locks":
        return [Billing(store, clock=clock), Billing(store, clock=clock)]
    billing = Billing(store, clock=clock)
    billing._coalescer._busy = NeverBusy()
    return [billing]


@pytest.mark.parametrize("fault", ["two engines, no locks", "two batches", "old refusals"])
def test_the_audit_catches_what_verify_cannot(fault: str) -> None:
    caught: list[AssertionError] = []

    @settings(max_examples=20)
    @given(races(8))
    def hunt(race: Race) -> None:
        if caught:
            return
        engines = faulty(fault)
        store = engines[0].store
        model = begin(store, race)
        if isinstance(store, Unlocked):
            store.let_two_meet()
        sent = by_threads(engines, race)
        assert engines[0].verify().ok
        try:
            audit(store, model, race, sent)
        except AssertionError as error:
            caught.append(error)

    hunt()
    assert caught


def retold(sent: Sent, **facts: Any) -> Sent:
    return evolve(sent, outcome=evolve(cast(Any, sent.outcome), **facts))


A, B, C = (Deduct(ORG, key, cost=nanos(900), resource="tool") for key in "abc")
GRANT = Grant(ORG, "g", amount=nanos(1000))
Tale = Callable[[Sent, Sent, Sent, Sent], list[Sent]]
TALES: list[tuple[str, Tale]] = [
    ("nobody was told of", lambda a, g, b, c: [a, g, c]),
    ("not on record", lambda a, g, b, c: [a, g, b, c, retold(b, seq=99)]),
    ("two successes are one entry", lambda a, g, b, c: [a, g, b, b, c]),
    ("by another clock", lambda a, g, b, c: [a, g, evolve(b, times=frozenset({2**60})), c]),
    ("the model says", lambda a, g, b, c: [a, g, retold(b, balance=1), c]),
    ("had returned", lambda a, g, b, c: [g, evolve(b, called=0, returned=0), c]),
    ("a replay of", lambda a, g, b, c: [a, g, retold(b, replayed=True), evolve(b, called=2**63)]),
    ("not so from", lambda a, g, b, c: [retold(a, shortfall=1), g, b, c]),
    ("not so from", lambda a, g, b, c: [evolve(a, called=2**63), g, b, c]),
    ("not so from", lambda a, g, b, c: [a, g, b, evolve(c, called=0, returned=0)]),
]


@pytest.mark.parametrize(("said", "tale"), TALES)
def test_the_audit_believes_no_tale(said: str, tale: Tale) -> None:
    store, clock, race = MemoryStore(), SettableClock(START), Race(BASE, START, [], 1)
    model = begin(store, race)
    sent = Worker(clock, [A, GRANT, B, C]).work(Billing(store, clock=clock))
    assert [each.made for each in sent] == [False, True, True, False]
    with pytest.raises(AssertionError, match=said):
        audit_order(store, deepcopy(model), ORG, tale(*sent))
    audit(store, model, race, sent)
