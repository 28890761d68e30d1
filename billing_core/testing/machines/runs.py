"""A state machine that drives sandbox runs and storage on several stores alike, beside
:mod:`billing_core.testing.model.runs`.

Outcomes and journals must be equal between stores; what is posted must be the running time,
and the integral of the sizes; what is charged, together with the fractions that counters
carry, their exact price; and a deadline that was given must stay and hold its money.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from typing import Any

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from billing_core.commands.accounts import OpenAccount, SetLimit, SetPlan
from billing_core.commands.base import Command
from billing_core.commands.credit import Grant
from billing_core.commands.outcomes import Outcome, Refusal, RunStatus
from billing_core.commands.runs import (
    CloseSilentRun,
    ForgiveRun,
    Heartbeat,
    ResumeRun,
    SettleRun,
    StartRun,
    StopRun,
    SuspendRun,
    UndoForgiveness,
    sandbox,
)
from billing_core.commands.storage import BillStorage, ReportStorage
from billing_core.engine import Billing
from billing_core.errors import Conflict, ImpossibleTransition
from billing_core.ports.store import Store
from billing_core.pricing.conditions import Fact, FactIs, Hours
from billing_core.pricing.functions import Flat
from billing_core.pricing.plan import Plan
from billing_core.pricing.price import Multiplier, Price, Variant
from billing_core.pricing.price_book import PriceBook
from billing_core.records.ledger import Entry
from billing_core.testing.clock import CountingIds, SettableClock
from billing_core.testing.model.runs import EARLY, RunFact, ShelfFact, TimeModel
from billing_core.values.money import Money
from billing_core.values.times import billing_period, micros, moment

__all__ = ["TimeMachine", "time_machine", "time_settings"]

_OPENED = datetime(2026, 3, 1, tzinfo=UTC)
_TICK, _SECOND, _MINUTE = timedelta(microseconds=1), timedelta(seconds=1), timedelta(minutes=1)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_KNOWN = 9 * _MINUTE  # how far ahead an engine that is as it comes knows prices
_BOX = sandbox("box", {"second": 1})
_SPANS = [_TICK, _SECOND, _MINUTE, 4 * _MINUTE, 4 * _MINUTE, _HOUR, _DAY, 31 * _DAY]
_AMOUNTS = st.sampled_from([Money(nanos, "USD") for nanos in (1, 5000, 300_000)])
_BEGINS = [
    datetime(2026, 3, 31, 23, 55, tzinfo=UTC),  # a billing period ends
    datetime(2026, 3, 10, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 3, 10, 12, tzinfo=UTC),
]
_ACTS = {
    "start": 3,
    "heartbeat": 3,
    "suspend": 3,
    "resume": 3,
    "stop": 2,
    "settle": 1,
    "sweep": 1,
    "forgive": 2,
    "undo": 1,
    "size": 3,
    "bill": 2,
    "grant": 1,
    "limit": 1,
}
_FITTING = {
    "resume": ("suspended",),
    "settle": ("pending",),
    "forgive": ("pending", "settled"),
    "undo": ("settled", "forgiven"),
}
"""In which states a run is when what is done to it does most; else it is active."""


_FAR = {"region": "far"}
_REGION = Fact("region", ("near", "far"), default="near")
_FAR_BOX = evolve(_BOX, facts=tuple(_FAR.items()))


def _price(rate: tuple[int, int], per: int, unit: str) -> Price:
    usual, early = (Flat(nanos, per) for nanos in rate)
    return Price(
        usual,
        unit,
        variants=[Variant(early, Hours(time(0), time(0, EARLY // 60_000_000)))],
        multipliers=[Multiplier(2, FactIs("region", "far"))],
        facts=[_REGION],
    )


class TimeMachine(RuleBasedStateMachine):
    """Subclasses say with ``make_stores`` which stores to compare: fresh, empty ones."""

    @staticmethod
    def make_stores() -> Sequence[Store]:
        """The stores of one run."""
        raise NotImplementedError("use time_machine(make_stores)")

    def __init__(self) -> None:
        super().__init__()
        self.clock = SettableClock(_OPENED)
        self.stores = list(type(self).make_stores())
        self.engines = [
            Billing(store, clock=self.clock, ids=CountingIds()) for store in self.stores
        ]
        self.model = TimeModel()
        self.serial = 0
        self.sound = True

    # -- rules ------------------------------------------------------------------

    @initialize(
        begin=st.sampled_from(_BEGINS),
        credit=st.sampled_from([400_000, 10**12]),
        allowance=st.sampled_from([0, 0, 150_000, 10**9]),
        grace=st.sampled_from([timedelta(), 2 * _DAY]),
    )
    def begin(self, begin: datetime, credit: int, allowance: int, grace: timedelta) -> None:
        self._publish(_OPENED - _DAY, (1000, 1300), (7, 5))
        self._execute([OpenAccount("acme")])
        if allowance:
            plan = Plan("p1", "p", _OPENED - _DAY, allowance=Money(allowance, "USD"), grace=grace)
            for engine in self.engines:
                engine.publish(plan)
            self.model.allowance = allowance
            self._execute([SetPlan("acme", "plan", plan="p")])
        self._execute([Grant("acme", "first", amount=Money(credit, "USD"))])
        self.clock.set(begin)

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        what = data.draw(st.sampled_from(["act"] * 5 + ["time"] * 3 + ["publish"]))
        if what == "time":
            self.clock.advance(data.draw(st.sampled_from(_SPANS)))
        elif what == "publish":
            soon = self.clock.now + 10 * _MINUTE + data.draw(st.sampled_from([_TICK, _MINUTE]))
            nanos = data.draw(st.sampled_from([(1, 1), (700, 40), (3000, 5000)]))
            self._publish(soon, nanos, data.draw(st.sampled_from([(0, 1), (1, 0), (10, 10)])))
        else:
            every = [act for act, times in _ACTS.items() for _ in range(times)]
            acts = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=4))
            self._execute([self._command(act, data) for act in acts])

    def teardown(self) -> None:
        try:
            if self.sound:
                for engine in self.engines:
                    found = engine.verify().discrepancies
                    assert not found, [str(each) for each in found]
        finally:
            for store in self.stores:
                close = getattr(store, "close", None)
                if close is not None:
                    close()

    # -- what is asked ------------------------------------------------------------

    def _command(self, act: str, data: st.DataObject) -> Command:
        self.serial += 1
        key, now = f"k{self.serial}", self.clock.now
        shelf = data.draw(st.sampled_from(["wa", "wb"]))
        near = [now, now, now - _TICK, now - _MINUTE, now - 11 * _MINUTE, now + 5 * _MINUTE]
        at = data.draw(st.sampled_from([*near, now - _DAY, now - 2 * _HOUR]))
        project = data.draw(st.sampled_from([None, "p"]))
        match act:
            case "start":
                ahead = data.draw(st.sampled_from([_TICK, _MINUTE, 5 * _MINUTE, _HOUR]))
                member = data.draw(st.sampled_from([None, "ann"]))
                spec = _FAR_BOX if self.serial % 3 == 0 else _BOX
                return StartRun(
                    "acme", f"r{self.serial}", spec=spec, fund_for=ahead,
                    min_runtime=min(ahead, _SECOND), member=member, project=project,
                    occurred_at=min(at, now),
                )  # fmt: skip
            case "size":
                size = data.draw(st.sampled_from([0, 1, 10**6, 2**30]))
                facts = _FAR if shelf == "wb" else None
                return ReportStorage(
                    "acme", key, workspace=shelf, size=size, occurred_at=at, facts=facts
                )
            case "bill":
                return BillStorage("acme", key, workspace=shelf, until=at)
            case "limit":  # one that does not bind: only what counts towards it is watched
                most = Money(10**15, "USD")
                return SetLimit("acme", key, amount=most, project=project, per="day")
            case "grant":
                return Grant("acme", key, amount=data.draw(_AMOUNTS))
            case _:
                return self._about_run(act, key, at, data)

    def _about_run(self, act: str, key: str, at: datetime, data: st.DataObject) -> Command:
        runs = self.model.runs
        fitting = [run for run in runs if runs[run].state in _FITTING.get(act, "active")][-2:]
        # A name that is none may be that of a start in the same batch.
        names = [*fitting * 4, *[*runs][-4:], f"r{self.serial - 1}"]
        run = data.draw(st.sampled_from(names))
        match act:
            case "heartbeat":
                return Heartbeat("acme", key, run=run, occurred_at=at)
            case "suspend":
                end = at + data.draw(st.sampled_from([_TICK, _MINUTE, _HOUR]))
                known = end <= self.clock.now and data.draw(st.booleans())
                until = end if known else None
                return SuspendRun("acme", key, run=run, occurred_at=at, until=until)
            case "resume":
                return ResumeRun("acme", key, run=run, occurred_at=at)
            case "stop":
                settle = data.draw(st.sampled_from([True, True, False]))
                return StopRun("acme", key, run=run, occurred_at=at, settle=settle)
            case "settle":
                return SettleRun("acme", key, run=run)
            case "sweep":
                return CloseSilentRun("acme", key, run=run, since=at)
            case "forgive":
                part = data.draw(st.none() | _AMOUNTS)
                return ForgiveRun("acme", key, run=run, reason="theirs", amount=part)
            case _:
                return UndoForgiveness("acme", key, run=run)

    # -- doing ------------------------------------------------------------------

    def _publish(self, effective_at: datetime, run: tuple[int, int], byte: tuple[int, int]) -> None:
        """Prices at any time, and in the first minutes of a day; far away, twice that."""
        prices = {
            "sandbox:box": {"second": _price(run, 10**6, "microsecond")},
            "storage:*": {"byte_us": _price(byte, 10**9, "byte-microsecond")},
        }
        book = PriceBook(f"v{len(self.model.rates)}", effective_at, prices)
        for engine in self.engines:
            engine.publish(book)
        since = micros("effective_at", effective_at)
        running, kept = (
            (Fraction(usual, per), Fraction(early, per))
            for (usual, early), per in ((run, 10**6), (byte, 10**9))
        )
        self.model.rates.append((since, running, kept))
        self.model.rates.sort(key=lambda rate: rate[0])

    def _execute(self, batch: Sequence[Command]) -> None:
        self.sound = False
        free = None
        if len(batch) == 1 and self.model.granted and not self.model.allowance:
            standing = self.engines[0].balance("acme")
            free = standing.balance - standing.held
        first, *others = [engine.execute(batch) for engine in self.engines]
        for other in others:
            assert first == other, "the stores do not agree"
        for command, outcome in zip(batch, first, strict=True):
            self._follow(command, outcome)
            if isinstance(command, StartRun) and free is not None:
                self._check_funding(command, outcome, free)
        self._compare()
        self.sound = True

    def _follow(self, command: Any, outcome: Outcome) -> None:
        """Tell the model what was asked, and see that it answers as the engine did."""
        model = self.model
        occurred = getattr(command, "occurred_at", None)
        at = self.clock() if occurred is None else micros("occurred_at", occurred)
        if isinstance(command, Grant):
            model.granted += command.amount.nanos
        elif isinstance(command, ReportStorage):
            new = ShelfFact(at, far=command.facts != ())
            shelf = model.shelves.setdefault(command.workspace, new)
            shelf.sizes[at] = command.size
        elif isinstance(command, BillStorage):
            known = model.shelves.get(command.workspace)
            assert (known is None) == (not _done(outcome)), (command, outcome)
            if known is not None:
                known.billed = max(known.billed, at)
        elif isinstance(command, StartRun):
            if _done(outcome):
                far = command.spec.facts != ()
                model.runs[command.key] = RunFact(at, seen=at, posted=at, far=far)
        elif getattr(command, "run", None) is not None:
            run = model.runs.get(command.run)
            if run is None or isinstance(outcome, Refusal):
                assert not _done(outcome), (command, outcome)
            else:
                possible = _told(run, command, at)
                assert possible == _done(outcome), (command, outcome, run)
                assert possible or isinstance(outcome, (ImpossibleTransition, Conflict)), outcome
        if isinstance(outcome, RunStatus):
            run = model.runs[outcome.run]
            assert outcome.state == run.state, (command, outcome, run)
            assert moment(run.posted) == outcome.settled_to, (command, outcome, run)
            until = micros("funded_until", outcome.funded_until)
            assert until >= run.until, "a deadline moved back"
            run.told = run.told + 1 if until == run.until else 0
            run.until = until

    def _check_funding(self, command: StartRun, outcome: Outcome, free: int) -> None:
        """As far as free credit reaches at the dearest price that is published, no further."""
        assert command.occurred_at is not None
        begin = micros("occurred_at", command.occurred_at)
        end = micros("end", self.clock.now + min(command.fund_for, _KNOWN))

        def cost(us: int) -> int:
            return self.model.dearest(us, begin, end, far=command.spec.facts != ())

        if isinstance(outcome, RunStatus):
            us = micros("funded_until", outcome.funded_until) - begin
            assert cost(us) <= max(0, free), (command, outcome, free)
            assert begin + us == end or cost(us + 1) > free, (command, outcome, free)
        else:
            assert cost(int(command.min_runtime / _TICK)) > free, (command, outcome, free)

    # -- what must hold -------------------------------------------------------------

    def _compare(self) -> None:
        engine, store, model = self.engines[0], self.stores[0], self.model
        views = {view.run: view for view in engine.runs("acme", unsettled=False)}
        assert views.keys() == model.runs.keys()
        charged, exact = 0, Fraction()
        for name, view in views.items():
            run = model.runs[name]
            assert view.settled_us + view.forgiven_us == run.ran_us(run.posted), (view, run)
            end = run.posted
            if run.open or run.state == "pending":
                end = max(end, min(self.clock(), run.end or self.clock()))
            assert view.unposted_us == run.ran_us(end) - run.ran_us(run.posted), (view, run)
            assert min(view.settled, view.forgiven, view.settled_us, view.forgiven_us) >= 0
            assert run.state != "forgiven" or view.settled == 0, view
            charged += view.settled + view.forgiven
            exact += model.run_cost(name)
        for shelf in engine.storage("acme"):
            charged += shelf.amount
            exact += model.shelf_cost(shelf.workspace)
        counters = list(store.counters("acme"))
        carried = [
            Fraction(c.carry, c.carry_of) for each in counters for c in each.components.values()
        ]
        assert all(each < 1 for each in carried)
        assert charged + sum(carried) == exact, (charged, carried, exact)
        balance = engine.balance("acme")
        assert balance.used == charged - sum(view.forgiven for view in views.values())
        self._compare_sums(list(store.entries("acme")), balance.used)
        assert engine.usage("acme", "all_time").summary.sandbox_runtime == (
            self.engines[-1].usage("acme", "all_time").summary.sandbox_runtime
        )
        self._compare_deadlines(store)

    def _compare_sums(self, entries: Sequence[Entry], used: int) -> None:
        """Each billing period has its allowance once, whoever needed it first; an allowance pays
        for no earlier one's time; and what came in, went or is left."""
        opened = micros("opened", _OPENED)
        periods: dict[str, int] = {}  # of each allowance's lot
        had: dict[int, int] = {}
        expired = 0
        for entry in entries:
            told = json.loads(entry.effects)
            for debit, credit, amount, kind in entry.transfers:
                if debit == "plans":
                    period = periods[credit] = told["period"]
                    had[period] = had.get(period, 0) + amount
                elif kind in ("capture", "charge") and debit in periods:
                    assert entry.usage is not None
                    begins = billing_period(opened, entry.usage.occurred_at).start
                    kept = kind == "capture"  # a hold keeps what it has of an earlier one
                    assert periods[debit] == begins or (kept and periods[debit] < begins), entry
                expired += amount * (kind == "expiry")
        assert set(had.values()) <= {self.model.allowance}, had
        assert max(had, default=0) <= micros("known", self.clock.now + _KNOWN), had
        came = self.model.granted + sum(had.values())
        assert entries[-1].balance == came - expired - used

    def _compare_deadlines(self, store: Store) -> None:
        """The money for every active run's time up to its deadline is in its hold."""
        holds = {hold.key: hold for hold in store.holds("acme")}
        lots = [lot for lot in store.lots("acme") if lot.period is None]
        free = sum(lot.remainder - lot.reserved for lot in lots)
        for name, run in self.model.runs.items():
            hold = holds[f"run:{name}"]
            assert (hold.state == "open") == (run.open or run.state == "pending")
            if run.state == "active" and run.until > run.posted:
                held = hold.reserved
                us = run.until - run.posted
                # Each settlement may bring a nano of the fractions that others left.
                need = self.model.dearest(us, run.posted, run.until, far=run.far) - run.told
                # Time that is reported late may take of it, and what could replace it.
                assert held >= need or free < need - held or run.short, (name, run, held, free)
                run.short = held < need


def _done(outcome: Outcome) -> bool:
    return not isinstance(outcome, (Refusal, Exception))


def _told(run: RunFact, command: Any, at: int) -> bool:
    match command:
        case Heartbeat():
            return run.beat(at)
        case SuspendRun(until=until):
            return run.suspend(at, None if until is None else micros("until", until))
        case ResumeRun():
            return run.resume(at)
        case StopRun(settle=settle):
            return run.stop(at, settle=settle)
        case SettleRun():
            return run.settle()
        case CloseSilentRun():
            return run.sweep()
        case ForgiveRun(amount=None):
            return run.forgive()
        case ForgiveRun():
            run.forgiven = run.forgiven or run.state == "settled"
            return run.state == "settled"
        case _:
            undone, run.forgiven = run.forgiven, False
            if run.state == "settled" and not run.ran_us(run.posted):
                return False  # all of it was given back since: nothing of it is forgiven
            run.state = "settled" if undone else run.state
            return undone


def time_settings() -> settings:
    """Under the profile that is loaded, half of its examples: each adds much up."""
    return settings(max_examples=max(1, settings().max_examples // 2), stateful_step_count=20)


def time_machine(make_stores: Callable[[], Sequence[Store]]) -> type[TimeMachine]:
    """A state machine over these stores, made afresh for every run."""
    return type("Machine", (TimeMachine,), {"make_stores": staticmethod(make_stores)})
