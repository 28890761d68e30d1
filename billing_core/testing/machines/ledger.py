"""A state machine that drives several stores and the reference model alike.

Every batch goes to an engine on each store.  Outcomes must be equal between stores and
agree with the model, as must balances, journals, usage reports and quotes; the sums must
come out even, and ``verify`` must find nothing.

    TestMyStore = ledger_test(lambda: [MemoryStore(), MyStore(...)])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast
from unittest import TestCase

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from billing_core.audit.verify import Verification
from billing_core.commands.accounts import OpenAccount
from billing_core.commands.base import Command
from billing_core.commands.outcomes import Outcome
from billing_core.engine import Billing
from billing_core.errors import BillingError
from billing_core.ports.state import Loaded, Wanted
from billing_core.ports.store import Store, Transaction
from billing_core.pricing.plan import Plan
from billing_core.testing.clock import CountingIds, SettableClock
from billing_core.testing.machines import agreement as audits
from billing_core.testing.memory_store import MemoryStore
from billing_core.testing.model.answers import Answer, answer_of
from billing_core.testing.model.ledger import Model
from billing_core.testing.model.tariff import month_end
from billing_core.testing.strategies.commands import (
    MEMBERS,
    OFFERS,
    ORGS,
    START,
    THEMES,
    World,
    commands,
    documents,
    usages,
)
from billing_core.values.times import DAY, moment

__all__ = ["STEPS", "FewDebts", "LedgerMachine", "ledger_machine", "ledger_test"]

STEPS = 40
"""How many rules a run has: longer ones meet more, but each audit has more to add up."""

Stores = Callable[[], Sequence[Store]]

# What is rare stands inside: hypothesis draws the ends of a range more often.
_MINUTES = (1, 1, 5, 60, 5, 24 * 60, 10, 31 * 24 * 60, 10, 5, 1, 1)
_SPANS = [timedelta(microseconds=1), *(timedelta(minutes=minutes) for minutes in _MINUTES)]

_ACTS = {
    "act": 10,
    "act_one_by_one": 10,
    "pass_time": 4,
    "pass_time_until_something_ends": 4,
    "ask": 2,
    "repeat": 1,
    "publish": 1,
    "report": 1,
    "erase": 1,
    "keep_a_checkpoint": 1,
}


class FewDebts(MemoryStore):
    """Loads one debt where 64 are asked for, so that decisions must ask again."""

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with super().transaction() as transaction:
            yield _FewDebts(transaction)


class _FewDebts:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def recall(self, wanted: Mapping[str, Wanted]) -> Loaded | None:
        return None

    def load(self, wanted: Mapping[str, Wanted]) -> Loaded:
        less = {org: evolve(want, debts=max(1, want.debts // 64)) for org, want in wanted.items()}
        return self._transaction.load(less)

    def commit(self, changes: Mapping[str, audits.Changes]) -> None:
        self._transaction.commit(changes)


class LedgerMachine(RuleBasedStateMachine):
    """Subclasses say with ``make_stores`` which stores to compare: fresh, empty ones."""

    @staticmethod
    def make_stores() -> Sequence[Store]:
        """The stores of one run."""
        raise NotImplementedError("use ledger_machine(make_stores)")

    def __init__(self) -> None:
        super().__init__()
        self.clock = SettableClock(START)
        self.stores = list(type(self).make_stores())
        self.engines = [
            Billing(store, clock=self.clock, ids=CountingIds()) for store in self.stores
        ]
        self.model = Model()
        self.theme = THEMES["all"]
        self.sent: list[Command] = []
        self.touched: set[str] = set()
        self.checkpoint: Verification | None = None
        self.sound = True

    # -- rules ------------------------------------------------------------------

    @initialize(theme=st.sampled_from(sorted(THEMES)))
    def begin(self, theme: str) -> None:
        self.theme = THEMES[theme]
        for document in OFFERS:
            self._publish(document)
        self._execute([OpenAccount(org) for org in ORGS])

    # One rule, which weighs: of many, hypothesis would leave out a random half in each run,
    # and themes already say what a run is about.
    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        acts = {**_ACTS, **self.theme.acts}
        name = data.draw(st.sampled_from([each for each in acts for _ in range(acts[each])]))
        getattr(self, name)(data)

    def act(self, data: st.DataObject) -> None:
        """A batch of commands."""
        size, world = data.draw(st.integers(2, 6)), self._world()
        self._execute(
            [data.draw(commands(evolve(world, serial=world.serial + n))) for n in range(size)]
        )

    def act_one_by_one(self, data: st.DataObject) -> None:
        """Commands that each know what those before it led to."""
        for _ in range(4):
            self._execute([data.draw(commands(self._world()))])

    def repeat(self, data: st.DataObject) -> None:
        """Something sent before, as it was or at another time of its own."""
        command = data.draw(st.sampled_from(self.sent))
        batch = [cast(Command, evolve(cast(Any, command), at=None))]
        self._execute([command, *batch] if data.draw(st.booleans()) else batch)

    def pass_time(self, data: st.DataObject) -> None:
        """Time passes; now and then a clock goes back."""
        now, span = self.clock.now, data.draw(st.sampled_from(_SPANS))
        back = data.draw(st.integers(0, 9)) == 5
        self.clock.set(max(START, now - span) if back else now + span)

    def pass_time_until_something_ends(self, data: st.DataObject) -> None:
        """To the moment, or right before or after it."""
        ends = [end for end in self._world().ends if end > self.clock.now]
        if ends:
            end = data.draw(st.sampled_from(ends[:3]))
            self.clock.set(end + timedelta(microseconds=data.draw(st.integers(-1, 1))))

    def pass_time_until_a_period_begins(self, data: st.DataObject) -> None:
        """The billing period, or the second one from now; and then some."""
        facts, end = self.model.orgs[ORGS[0]], self._now()
        for _ in range(data.draw(st.sampled_from([1, 1, 2]))):
            end = month_end(facts.anchor, end)
        after = data.draw(st.sampled_from([0, 0, -1, 1, DAY - 1, DAY, 2 * DAY]))
        self.clock.set(moment(end + after))

    def publish(self, data: st.DataObject) -> None:
        """A price book or plan, where it may be published."""
        self._publish(data.draw(documents(self._world())))

    def ask(self, data: st.DataObject) -> None:
        """Quotes, and whether they could be held."""
        for usage in data.draw(st.lists(usages(self._world()), min_size=1, max_size=3)):
            with self._unsound():
                audits.quote(self.engines, self.model, ORGS[0], usage, self._now())

    def erase(self, data: st.DataObject) -> None:
        """A member is forgotten."""
        org, member = data.draw(st.sampled_from(ORGS)), data.draw(st.sampled_from(MEMBERS))
        with self._unsound():
            was = self.model.erase_member(org, member)
            for engine in self.engines:
                assert engine.erase_member(org, member) == was

    def report(self, data: st.DataObject) -> None:
        """Usage over the named periods, and over any window."""
        with self._unsound():
            for org in self.model.orgs:
                audits.reports(self.engines, self.model, org, self._now())
                window = data.draw(audits.windows(self._now()))
                audits.window(self.stores, self.model, org, window)

    def keep_a_checkpoint(self, data: st.DataObject) -> None:
        """What verify finds now, to go on from at the end."""
        with self._unsound():
            self.checkpoint = audits.verified(self.engines[0])

    def teardown(self) -> None:
        try:
            if self.sound:
                self.audit()
        finally:
            for store in self.stores:
                close = getattr(store, "close", None)
                if close is not None:
                    close()

    # -- doing ------------------------------------------------------------------

    def _now(self) -> int:
        return self.clock()

    def _world(self) -> World:
        orgs = self.model.orgs
        ends: set[int] = set()
        for facts in orgs.values():
            ends |= {lot.expires_at for lot in facts.lots.values() if lot.expires_at is not None}
            ends |= {hold.expires_at for hold in facts.holds.values()}
            if self.theme.calendar:
                now = self._now()
                ends |= {month_end(facts.anchor, now), now - now % DAY + DAY}
        return World(
            theme=self.theme,
            now=self.clock.now,
            serial=len(self.sent),
            holds={
                org: [hold.key for hold in facts.holds.values() if hold.state == "open"]
                for org, facts in orgs.items()
            },
            charges={
                org: [n for n, charge in facts.charges.items() if charge.amount > facts.reversed(n)]
                for org, facts in orgs.items()
            },
            made={org: list(facts.charges) for org, facts in orgs.items()},
            unpriced={
                org: [n for n, c in facts.charges.items() if c.unpriced and not c.priced]
                for org, facts in orgs.items()
            },
            expiries={
                org: sorted({move.seq for move in facts.moves if move.kind == "expiry"})
                for org, facts in orgs.items()
            },
            ends=[moment(end) for end in sorted(ends)],
            versions=self.model.versions() or ["base"],
            plans=sorted({plan.plan for plan in self.model.tariff.plans}) or ["small"],
        )

    @contextmanager
    def _unsound(self) -> Iterator[None]:
        """What fails here needs no further audit at the end."""
        self.sound = False
        yield
        self.sound = True

    def _execute(self, batch: Sequence[Command]) -> None:
        with self._unsound():
            first, *others = [engine.execute(batch) for engine in self.engines]
            for other in others:
                assert first == other, "the stores do not agree"
            self._compare(batch, first)
            self.sent += batch
            self.touched = {command.org for command in batch} & set(self.model.orgs)
            for org in self.touched:
                audits.balance(self.engines, self.model, org, self._now())
                audits.journal_tail(self.stores[0], self.model, org)
                audits.totals(self.stores[0], self.model, org)

    def _compare(self, batch: Sequence[Command], outcomes: Iterable[Outcome]) -> None:
        for command, outcome in zip(batch, outcomes, strict=True):
            expected = self.model.execute(command, self._now(), outcome)
            got = answer_of(outcome)
            assert got == expected, _difference(command, got, expected)

    def _publish(self, book: audits.PriceBook | Plan) -> None:
        with self._unsound():
            results: list[str] = []
            for engine in self.engines:
                try:
                    results.append(engine.publish(book).partition("#")[0])
                except BillingError as error:
                    results.append(str(error))
            assert len(set(results)) == 1, results
            if results[0] == book.version:
                self.model.publish(book)

    def audit(self) -> None:
        """What must hold at any time."""
        for engine, store in zip(self.engines, self.stores, strict=True):
            audits.verified(engine, self.checkpoint)
            for org in self.model.orgs:
                audits.conservation(engine, store, org)
                audits.journal(store, self.model, org)
                audits.told(store, self.model, org)
                audits.totals(store, self.model, org)
                audits.explanations(engine, self.model, org)
        for org in self.model.orgs:
            audits.balance(self.engines, self.model, org, self._now())
            audits.reports(self.engines, self.model, org, self._now())
            audits.same_rows(self.stores, org)


def _difference(command: Command, got: Answer, expected: Answer) -> str:
    if got.kind != expected.kind:
        return f"{command}: {got}; the model says {expected}"
    names = [n for n in expected.facts if got.facts.get(n) != expected.facts[n]]
    return f"{command}: " + "; ".join(
        f"{n} {got.facts.get(n)!r}, the model says {expected.facts[n]!r}" for n in names
    )


def ledger_machine(make_stores: Stores) -> type[LedgerMachine]:
    """A state machine over these stores, made afresh for every run."""
    return type("Machine", (LedgerMachine,), {"make_stores": staticmethod(make_stores)})


def ledger_test(make_stores: Stores) -> type[TestCase]:
    """The same as a test case, under the settings profile that is loaded."""
    case = ledger_machine(make_stores).TestCase
    case.settings = settings(stateful_step_count=STEPS)
    return case
