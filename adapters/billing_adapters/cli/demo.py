"""The demo: a week of synthetic traffic through the engine, on real model prices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import count

from attrs import define, field

from billing_adapters.cli.series import Series
from billing_adapters.cli.traffic import MODELS, ORGS, START, Call, bursts
from billing_adapters.fake_payments import FakePayments
from billing_adapters.genai import price_book
from billing_core import (
    Billing,
    BillingError,
    Charged,
    Command,
    Grant,
    Hold,
    OpenAccount,
    Outcome,
    Refusal,
    Reverse,
    Settle,
    Success,
    TopUpRules,
    usd,
)
from billing_core.values.times import micros

__all__ = ["MARKUP", "MONTH_ENDS", "PRICED_AT", "RULES", "Clock", "Demo", "Numbers", "Tally"]

MARKUP = "1.175"
PRICED_AT = START - timedelta(days=1)
_HOLD_LIFE = timedelta(minutes=10)
_PURCHASE = {"acme": usd("3"), "globex": usd("1.50"), "initech": usd("0.50")}
_AUTOMATIC = "acme"  # buys by itself once its credit runs low
_LOW = usd("0.50")
RULES = TopUpRules(minimum=usd("0.50"))
_NOTICED_AFTER = timedelta(hours=2)
_REVERSED_ON = START + timedelta(days=3)
MONTH_ENDS = (START + timedelta(days=40)).replace(day=1)


class Clock:
    """The demo's own time, so that its ledger is the same whenever it runs."""

    def __init__(self) -> None:
        self.now = PRICED_AT

    def __call__(self) -> int:
        return micros("now", self.now)


class Numbers:
    """Ids that are the same in every run."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self) -> str:
        return f"demo-{next(self._numbers)}"


@define
class Tally:
    """What happened to an org's calls."""

    settled: int = 0
    own_key: int = 0
    refused: int = 0
    lost: int = 0
    purchases: int = 0
    balance: int = 0
    series: Series = field(factory=Series)


@define
class Demo:
    """The week, burst by burst.  ``explained``: the charge worth explaining, by org."""

    billing: Billing
    clock: Clock
    provider: FakePayments
    tallies: dict[str, Tally] = field(factory=lambda: {org: Tally() for org in ORGS})
    explained: tuple[str, int] | None = None
    reversed: tuple[str, int] | None = None
    seconds: float = 0.0
    _short: dict[str, datetime] = field(factory=dict)

    def run(self, progress: Callable[[], object] = lambda: None) -> None:
        """Hold and settle all calls.  ``progress``: called after every burst."""
        self._open()
        started = time.perf_counter()
        for calls in bursts():
            if calls:
                self._burst(calls)
            progress()
        self.seconds = time.perf_counter() - started

    @property
    def settled(self) -> int:
        return sum(tally.settled for tally in self.tallies.values())

    def _open(self) -> None:
        self.billing.publish(price_book("demo", PRICED_AT, MODELS, markup=MARKUP))
        self._execute([OpenAccount(org, livemode=False, at=PRICED_AT) for org in ORGS])
        self._execute(
            Grant(
                org,
                "welcome",
                amount=usd("0.50"),
                kind="promotional",
                expires_at=START + timedelta(days=2),
                at=PRICED_AT,
            )
            for org in ORGS
        )
        for org in ORGS:
            self._purchase(org)
        self.billing.set_auto_topup(
            _AUTOMATIC, "on", enabled=True, threshold=_LOW, amount=_PURCHASE[_AUTOMATIC]
        )

    def _purchase(self, org: str) -> None:
        """A customer pays on the provider's page, and comes back before the webhook does."""
        tally = self.tallies[org]
        tally.purchases += 1
        page = self.billing.top_up(
            org,
            f"purchase-{tally.purchases}",
            _PURCHASE[org],
            success_url="https://demo.example/success?session_id={CHECKOUT_SESSION_ID}",
            cancel_url="https://demo.example/billing",
            save_method=org == _AUTOMATIC,
        )
        self.provider.pay(page.session)
        tally.balance = self.billing.confirm(org, page.session).balance

    def _background(self) -> None:
        """What a worker does beside the traffic: automatic top-ups; and the webhooks."""
        for body, signature in self.provider.deliveries():
            self.billing.webhook(body, signature)
        for failure in self.billing.run_pending().failures:
            raise failure.error

    def _burst(self, calls: Sequence[Call]) -> None:
        """Holds as the calls start; then, as they end, what each has really used."""
        first, last = calls[0].start, calls[-1].start
        for org in ORGS:
            # Acme buys by itself, in time; the others some time after they have been refused.
            if org in self._short and first >= self._short[org] + _NOTICED_AFTER:
                self._short.pop(org, None)
                if org != _AUTOMATIC:
                    self._purchase(org)
        self.clock.now = max(call.end for call in calls) + timedelta(seconds=1)
        holds = self._execute(
            Hold(
                call.org,
                call.key,
                cost=call.expected,
                expires_in=_HOLD_LIFE,
                member=call.member,
                at=call.start,
            )
            for call in calls
        )
        running: list[Call] = []
        for call, outcome in zip(calls, holds, strict=True):
            tally = self.tallies[call.org]
            if isinstance(outcome, Refusal):
                tally.refused += 1
                self._short.setdefault(call.org, call.start)
            elif call.lost:
                tally.lost += 1
            else:
                running.append(call)
        running.sort(key=lambda call: call.end)
        settled = self._execute(
            Settle(
                call.org,
                call.key,
                usage=call.used,
                hold=call.key,
                member=call.member,
                occurred_at=call.start,
                at=max(call.end, last),
            )
            for call in running
        )
        for call, outcome in zip(running, settled, strict=True):
            self._count(call, outcome)
        self._background()

    def _count(self, call: Call, outcome: Outcome) -> None:
        assert isinstance(outcome, Charged)
        tally = self.tallies[call.org]
        tally.settled += 1
        tally.own_key += call.own_key
        tally.series.add(call.start, outcome.balance)
        if len(outcome.lines) < 4 or not any(line.carry for line in outcome.lines):
            return
        self.explained = (call.org, outcome.seq)
        if self.reversed is None and call.start >= _REVERSED_ON:
            self.reversed = self.explained
            reason = "the answer was cut off"
            self._execute(
                [Reverse(call.org, call.key, charge=outcome.seq, reason=reason, at=outcome.at)]
            )

    def _execute(self, commands: Iterable[Command]) -> list[Outcome]:
        outcomes = self.billing.execute(commands)
        for outcome in outcomes:
            if isinstance(outcome, BillingError):
                raise outcome
            if isinstance(outcome, Success):
                self.tallies[outcome.org].balance = outcome.balance
        return outcomes
