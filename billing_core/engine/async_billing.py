"""The same engine for asyncio: each method is made from :class:`Billing`'s, where its parameters,
defaults and docstring are written.

Tasks that ask in the same turn of the loop share a batch, which runs in a thread of the
loop's executor by the same :class:`Coalescer` that serves threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from copy import copy
from datetime import timedelta
from functools import wraps
from inspect import signature
from itertools import islice
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, overload
from weakref import WeakKeyDictionary

from billing_core.commands.base import Command
from billing_core.commands.holds import Hold
from billing_core.commands.outcomes import Held, Outcome, Success, unwrapped
from billing_core.engine.async_threads import Threads
from billing_core.engine.batch import check_batch_size, checked_batch, each_of
from billing_core.engine.billing import Billing
from billing_core.engine.hold_handles import AsyncHold, OpenHold
from billing_core.engine.system import system_clock, uuid7
from billing_core.engine.task_batches import Gatherer
from billing_core.ports.answers import UsageOf
from billing_core.ports.clock import Clock, IdSource
from billing_core.ports.payments import PaymentProvider
from billing_core.ports.store import Store
from billing_core.records.topups import TopUpRules

__all__ = ["AsyncBilling", "AsyncHold"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound=Success)
_Method: TypeAlias = Callable[Concatenate[Billing, _P], _R]
_Twin: TypeAlias = Callable[Concatenate["AsyncBilling", _P], Coroutine[Any, Any, _R]]


@overload
def awaited(method: _Method[_P, _R]) -> _Twin[_P, _R]: ...
@overload
def awaited(method: _Method[_P, OpenHold], answer: type[_R]) -> _Twin[_P, _R]: ...
def awaited(method: _Method[_P, Any], answer: type[Any] | None = None) -> _Twin[_P, Any]:
    """The twin of a method that sends one command.  Billing's own function is called with the
    AsyncBilling as its ``self``: its last step, ``self._do`` or ``self._open_hold``, then returns
    what is awaited here.  So such a method may use nothing else of a Billing's but ``ids`` and
    ``clock``.  ``answer``: the type of the answer, if not Billing's."""
    function: Callable[..., Any] = method

    async def twin(self: AsyncBilling, /, *args: _P.args, **kwargs: _P.kwargs) -> Any:
        return await function(self, *args, **kwargs)

    return _told_as(method, twin, answer)


def in_thread(method: _Method[_P, _R]) -> _Twin[_P, _R]:
    """The twin of a method that blocks: a read, or several steps one after another."""

    async def twin(self: AsyncBilling, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return await self._threads.call(method, self._billing, *args, **kwargs)

    return _told_as(method, twin)


def at_provider(method: _Method[_P, _R]) -> _Twin[_P, _R]:
    """The twin of a method that may wait for the provider of payments."""

    async def twin(self: AsyncBilling, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return await self._threads.call_provider(method, self._billing, *args, **kwargs)

    return _told_as(method, twin)


def _told_as(
    method: _Method[_P, Any], twin: _Twin[_P, _R], answer: type[Any] | None = None
) -> _Twin[_P, _R]:
    """A twin with its method's name, signature and docstring."""
    told = wraps(method)(twin)
    told.__module__ = __name__
    told.__qualname__ = f"AsyncBilling.{told.__name__}"
    if answer is not None:
        vars(told)["__signature__"] = signature(method).replace(return_annotation=answer.__name__)
    return told


class AsyncBilling:
    """The billing engine over a store, for asyncio: the methods of :class:`Billing`, to be awaited.
    One engine can be used from several event loops.

    What :class:`Billing` says of ``org``, ``key``, ``at``, times, amounts and errors holds here
    too.

    A cancelled await is an unknown outcome: the write may be committed all the same.  Send the same
    again, with the same key (rule 3.6).  In your own transaction (:meth:`within`) a cancelled call,
    a read too, ends when your connection is free again.

    Args:
        store: Where the records are kept, such as a ``PostgresStore`` or a ``SqliteStore``.
        clock: Where times come from.  The default is the machine's clock, which is checked before
            anything ends by it (rule 3.8).  A clock that you give is not checked.
        ids: Where fresh ids come from.  Default: random UUIDs of version 7.
        tolerance: How far ahead of the clock a command may be dated, and how far the machine's
            clock may differ from the database's, if that has one.  At most a day.
        publication_delay: How long before it takes effect a change of price or plan must be
            published (rule 5.6).  At least ``tolerance`` and ``catalogue_age`` together.
        catalogue_age: For how long prices that were read are used before the store is asked again.
        payments: Moves the money of top-ups.  Without one, the methods that need it raise
            PaymentError.
        topups: The platform's own limits for top-ups.
        usage_of: Reads the usage in what a provider answered, so that a hold can be told of the
            answer: ``billing_adapters.answers.usage_of``.

    Raises:
        InvalidCommand: The values do not fit together, or an argument is not of its type.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock = system_clock,
        ids: IdSource = uuid7,
        tolerance: timedelta = timedelta(minutes=5),
        publication_delay: timedelta = timedelta(minutes=10),
        catalogue_age: timedelta = timedelta(minutes=1),
        payments: PaymentProvider | None = None,
        topups: TopUpRules = TopUpRules(),  # noqa: B008  frozen
        usage_of: UsageOf | None = None,
    ) -> None:
        self._billing = Billing(
            store,
            clock=clock,
            ids=ids,
            tolerance=tolerance,
            publication_delay=publication_delay,
            catalogue_age=catalogue_age,
            payments=payments,
            topups=topups,
            usage_of=usage_of,
        )
        self._threads = Threads()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Gatherer] = WeakKeyDictionary()

    @property
    def store(self) -> Store:
        """Where the records are kept."""
        return self._billing.store

    @property
    def clock(self) -> Clock:
        """Where times come from: it gives microseconds since 1970, UTC."""
        return self._billing.clock

    @property
    def ids(self) -> IdSource:
        """Where fresh ids come from."""
        return self._billing.ids

    # -- the one way of a write -------------------------------------------------

    async def execute(self, commands: Iterable[Command]) -> list[Outcome]:
        """Decide the commands in order and commit them at once; gives one outcome for each, as
        :meth:`Billing.execute` does.

        Tasks that await at the same time share a commit.

        Args:
            commands: Commands of one or of several orgs, such as ``[Settle(…), Grant(…)]``.

        Returns:
            The outcomes, in the order of the commands.

        Raises:
            InvalidCommand: Something among them is not a command; nothing was done.
            StoreError: The commit failed.  Nothing was done, or, if ``outcome_unknown`` is true,
                all or nothing.
        """
        batch = checked_batch(commands)
        return await self._submit(batch) if batch else []

    async def execute_many(
        self, commands: Iterable[Command], *, batch: int = 1000
    ) -> AsyncIterator[Outcome]:
        """Decide any number of commands, ``batch`` to a commit, as :meth:`Billing.execute_many`
        does.

        Args:
            commands: Commands of one or of several orgs; they are taken one by one.
            batch: How many commands share a commit, from 1 to 10,000.

        Yields:
            The outcomes, in the order of the commands.

        Raises:
            InvalidCommand: ``batch`` is out of range, or something is not a command.
            StoreError: A commit failed, and no more is done.  The batches before it are done;
                sending all of it again does the rest, and gives the first outcomes again.
        """
        check_batch_size(batch)
        rest = each_of(commands)
        while some := list(islice(rest, batch)):
            for result in await self.execute(some):
                yield result

    def within(self, connection: object) -> AsyncBilling:
        """Give this engine inside the transaction that you have open on ``connection``, as
        :meth:`Billing.within` does.

        A cancelled await ends when the connection is free again.  What it asked for was done, or
        not, and is yours to commit or to roll back.

        Args:
            connection: A connection of psycopg 3, such as an AsyncConnection of the running loop,
                that has a transaction open, or a ``sqlite3.Connection`` after ``BEGIN IMMEDIATE``.

        Returns:
            An engine that works in your transaction, for as long as that lasts.

        Raises:
            InvalidCommand: The connection is not one of this store's driver.
            StoreError: The connection is not to a billing database, or the store cannot join a
                transaction (the memory store).  The first call tells if no transaction is open.
        """
        inside = copy(self)
        inside._billing = self._billing.within(connection)
        inside._threads = Threads(joined=True)
        return inside

    async def _submit(self, batch: Sequence[Command]) -> list[Outcome]:
        if self._threads.joined:
            return await self._threads.call(self._billing.execute, batch)
        loop = asyncio.get_running_loop()
        gatherer = self._loops.get(loop)
        if gatherer is None:
            gatherer = Gatherer(self._billing._finish, self.store.concurrency)
            self._loops[loop] = gatherer
        return await gatherer.submit(batch)

    async def _do(self, command: Command, kind: type[_S]) -> _S:
        return unwrapped(await self.execute([command]), kind)

    async def _open_hold(self, command: Hold) -> AsyncHold:
        held = await self._do(command, Held)
        return AsyncHold(self, command, held, self._billing._usage_of)

    # -- accounts, credit and charges ---------------------------------------------

    open_account = awaited(Billing.open_account)
    grant = awaited(Billing.grant)
    hold = awaited(Billing.hold, AsyncHold)
    extend = awaited(Billing.extend)
    release = awaited(Billing.release)
    settle = awaited(Billing.settle)
    deduct = awaited(Billing.deduct)
    price_unpriced = awaited(Billing.price_unpriced)
    reverse = awaited(Billing.reverse)
    undo_expiry = awaited(Billing.undo_expiry)
    close = in_thread(Billing.close)
    set_plan = awaited(Billing.set_plan)
    set_limit = awaited(Billing.set_limit)
    set_low_balance = awaited(Billing.set_low_balance)
    erase_member = in_thread(Billing.erase_member)
    accept_clock = in_thread(Billing.accept_clock)
    publish = in_thread(Billing.publish)

    # -- runs and storage ---------------------------------------------------------

    start_run = awaited(Billing.start_run)
    heartbeat = awaited(Billing.heartbeat)
    suspend_run = awaited(Billing.suspend_run)
    resume_run = awaited(Billing.resume_run)
    stop_run = awaited(Billing.stop_run)
    settle_run = awaited(Billing.settle_run)
    forgive_run = awaited(Billing.forgive_run)
    undo_forgiveness = awaited(Billing.undo_forgiveness)
    sweep_runs = in_thread(Billing.sweep_runs)
    report_storage = awaited(Billing.report_storage)
    bill_storage = in_thread(Billing.bill_storage)
    quote_run = in_thread(Billing.quote_run)
    longest_run = in_thread(Billing.longest_run)
    run = in_thread(Billing.run)
    runs = in_thread(Billing.runs)
    storage = in_thread(Billing.storage)
    check_storage_quota = in_thread(Billing.check_storage_quota)

    # -- prices and credit, as they stand -------------------------------------------

    catalogue = in_thread(Billing.catalogue)
    quote = in_thread(Billing.quote)
    pricing = in_thread(Billing.pricing)
    diff = in_thread(Billing.diff)
    balance = in_thread(Billing.balance)
    check = in_thread(Billing.check)

    # -- reports and proof ----------------------------------------------------------

    expiries = in_thread(Billing.expiries)
    history = in_thread(Billing.history)
    balance_as_of = in_thread(Billing.balance_as_of)
    usage = in_thread(Billing.usage)
    usage_by_day = in_thread(Billing.usage_by_day)
    explain = in_thread(Billing.explain)
    find = in_thread(Billing.find)
    events = in_thread(Billing.events)
    verify = in_thread(Billing.verify)

    async def orgs(self) -> AsyncIterator[str]:
        """Give every org's id, sorted.

        Yields:
            The ids.

        Raises:
            StoreError: The store failed.
        """
        for org in await self._threads.call(lambda: list(self._billing.orgs())):
            yield org

    # -- top-ups and background work --------------------------------------------------

    top_up = at_provider(Billing.top_up)
    recover = at_provider(Billing.recover)
    topup = in_thread(Billing.topup)
    confirm = at_provider(Billing.confirm)
    webhook = at_provider(Billing.webhook)
    read_back = at_provider(Billing.read_back)
    auto_topup = in_thread(Billing.auto_topup)
    set_auto_topup = awaited(Billing.set_auto_topup)
    refund = at_provider(Billing.refund)
    run_pending = at_provider(Billing.run_pending)
    reconcile = at_provider(Billing.reconcile)
