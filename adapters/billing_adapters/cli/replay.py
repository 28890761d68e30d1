"""Replaying traces: each request is held, then settled with its real tokens.

Everything written depends on the traces, the prices and the number of orgs alone, so
that a second run meets its own keys and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from attrs import define, evolve, field, frozen

from billing_adapters.cli.series import Series
from billing_adapters.cli.trace import Request, Trace
from billing_core import (
    Billing,
    BillingError,
    Charged,
    Command,
    Conflict,
    Flat,
    Grant,
    Hold,
    HoldEnded,
    InvalidCommand,
    Money,
    OpenAccount,
    Outcome,
    Price,
    PriceBook,
    Refusal,
    Settle,
    model,
    tokens,
)

__all__ = ["Replay", "Result", "given_prices", "org_names", "source_prices"]

BATCH = 1_000  # commands in one commit
_LIFE = timedelta(minutes=10)
_ALWAYS = datetime(1971, 1, 1, tzinfo=UTC)
_TOPUPS = 12  # about how many each org needs, so that the balance has something to show


# -- prices -----------------------------------------------------------------------


def source_prices(name: str, at: datetime) -> PriceBook:
    """The real prices of a model at a time, from genai-prices."""
    from billing_adapters.genai import price_book

    return _named(price_book("replay", at, [name]).prices)


def given_prices(name: str, given: Mapping[str, str]) -> PriceBook:
    """Prices by component in USD per million tokens."""
    parts = {part: Price(Flat.of(amount, 1_000_000)) for part, amount in given.items()}
    return _named({model(name): parts})


def _named(prices: Mapping[str, Mapping[str, Price | None]]) -> PriceBook:
    """As a book whose version follows from its prices, in force at any trace's time."""
    book = PriceBook("replay", _ALWAYS, prices)
    return evolve(book, version=f"replay-{sha256(book.body().encode()).hexdigest()[:12]}")


# -- what is written --------------------------------------------------------------


def org_names(count: int) -> list[str]:
    """The orgs that requests are dealt out to, in turn, by line."""
    digits = len(str(count))
    return [f"replay-{number:0{digits}}" for number in range(1, count + 1)]


@define
class _Credit:
    """How much of a trace's credit an org has been given, and may have spent at most.

    It follows from the trace alone, not from the ledger: then a replay of the replay
    makes the same grants, which are on record already.
    """

    granted: int = 0
    spent: int = 0


@define
class Result:
    """What the replay did.  ``known``: settlements that were on record before it."""

    requests: int = 0
    known: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    refused: int = 0
    seconds: float = 0.0
    balances: dict[str, int] = field(factory=dict)
    series: Series = field(factory=Series)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0


@frozen
class Replay:
    """Traces on their way into a ledger."""

    billing: Billing
    traces: Sequence[Trace]
    model: str
    book: PriceBook
    orgs: Sequence[str]

    def run(self, progress: Callable[[int], object] = lambda _: None) -> Result:
        """Open accounts, publish the prices, then hold and settle every request.

        ``progress``: told how many requests are done.
        """
        self._prepare()
        result = Result()
        started = time.perf_counter()
        for trace in self.traces:
            step = _topup(self._cost(trace.input_tokens, trace.output_tokens), len(self.orgs))
            credit = {org: _Credit() for org in self.orgs}
            commands: list[Command] = []
            for request in trace.requests():
                commands += self._commands(trace, request, credit, step)
                if len(commands) >= BATCH:
                    self._execute(trace, commands, result)
                    progress(result.requests)
                    commands = []
            self._execute(trace, commands, result)
            progress(result.requests)
        result.seconds = time.perf_counter() - started
        return result

    def _prepare(self) -> None:
        """Accounts exist from before the first request, and their billing month begins on
        its day, so that one period holds a trace of less than a month."""
        for trace in self.traces:
            # Refuses what would overflow on the way.
            Money(self._cost(trace.input_tokens, trace.output_tokens), self.book.currency)
        existing = list(self.billing.store.orgs(limit=len(self.orgs) + 1))
        if existing and existing != sorted(self.orgs):
            raise BillingError(
                f"the database holds other orgs than a replay over {len(self.orgs)}: "
                f"{', '.join(existing[:3])}, …; use another database, or the same --orgs"
            )
        for trace in self.traces if existing else ():
            self._check_same(trace)
        try:
            self.billing.publish(self.book)
        except InvalidCommand as error:
            if error.field != "effective_at":
                raise
            raise BillingError(
                f"{model(self.model)} has other prices in this database; use another database"
            ) from error
        if not existing:
            first = min(trace.first for trace in self.traces)
            opened = max(first.replace(hour=0, minute=0, second=0, microsecond=0), _ALWAYS)
            opening = [OpenAccount(org, anchor=opened, at=opened) for org in self.orgs]
            for outcome in self.billing.execute(opening):
                _raise(outcome)

    def _check_same(self, trace: Trace) -> None:
        """A trace that is on record must be so with this model and these prices: find out
        by its first request, before anything else is granted or published."""
        request = next(trace.requests())
        *_, hold, settle = self._commands(trace, request, {self.orgs[0]: _Credit()}, 1)
        if self.billing.find(settle.org, settle.op, settle.key) is None:
            return
        for outcome in self.billing.execute([hold, settle]):
            if isinstance(outcome, HoldEnded):
                continue  # settled, as it was left
            if isinstance(outcome, Conflict):
                raise BillingError(
                    f"{trace.path} is on record with another model or other prices; "
                    "use another database"
                ) from outcome
            _raise(outcome)

    def _cost(self, inputs: int, outputs: int) -> int:
        """Nanos, each component rounded up: a hold's amount, or a bound of a charge."""
        prices = self.book.prices[model(self.model)]
        total = 0
        for component, quantity in (("input", inputs), ("output", outputs)):
            price = prices[component]
            assert price is not None, "the book is everyone's: it ends no price"
            numerator, denominator = price.function.between(0, quantity)
            total += -(-numerator // denominator)
        return total

    def _commands(
        self, trace: Trace, request: Request, credit: dict[str, _Credit], step: int
    ) -> Iterator[Command]:
        org = self.orgs[(request.line - 2) % len(self.orgs)]
        key = f"{trace.digest}:{request.line}"
        purse = credit[org]
        bound = self._cost(request.input, max(request.output, trace.largest_output))
        short = purse.spent + bound - purse.granted
        if short > 0:
            amount = -(-short // step) * step
            yield Grant(org, key, amount=Money(amount, self.book.currency), at=request.at)
            purse.granted += amount
        purse.spent += self._cost(request.input, request.output)
        expected = tokens(self.model, input=request.input, output=trace.largest_output)
        used = tokens(self.model, input=request.input, output=request.output)
        yield Hold(org, key, cost=expected, expires_in=_LIFE, at=request.at)
        yield Settle(org, key, usage=used, hold=key, occurred_at=request.at, at=request.at)

    def _execute(self, trace: Trace, commands: Sequence[Command], result: Result) -> None:
        outcomes = self.billing.execute(commands)
        for command, outcome in zip(commands, outcomes, strict=True):
            if isinstance(outcome, HoldEnded):
                continue  # on record since before: so is its settlement
            if isinstance(outcome, BillingError):
                line = command.key.rpartition(":")[2]
                raise BillingError(f"{trace.path}: line {line}: {outcome}") from outcome
            if isinstance(outcome, Refusal):
                result.refused += 1
                continue
            result.balances[command.org] = outcome.balance
            if isinstance(outcome, Charged):
                result.requests += 1
                result.known += outcome.replayed
                for part in outcome.lines:
                    if part.component == "input":
                        result.input_tokens += part.quantity
                    else:
                        result.output_tokens += part.quantity
                result.series.add(command.at or outcome.at, sum(result.balances.values()))


def _raise(outcome: Outcome) -> None:
    if isinstance(outcome, BillingError):
        raise outcome


def _topup(cost: int, orgs: int) -> int:
    """A round amount of which each org needs about a dozen: 1, 2 or 5, and zeros."""
    wanted = max(1, cost // (orgs * _TOPUPS))
    power: int = 10 ** (len(str(wanted)) - 1)
    return power * next(each for each in (1, 2, 5, 10) if power * each >= wanted)
