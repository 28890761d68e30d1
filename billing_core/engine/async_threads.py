"""How the engine for asyncio leaves the loop: in threads, and what becomes of a cancelled call."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["Threads"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_AT_PROVIDER = 32  # threads at most, of one loop's and one engine's


class Threads:
    """Every call that blocks goes through one of these.  ``joined``: inside the host's
    transaction."""

    def __init__(self, *, joined: bool = False) -> None:
        self.joined = joined
        self._desks: WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadPoolExecutor] = (
            WeakKeyDictionary()
        )

    async def call(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """In a thread of the loop's executor.  Cancelled inside the host's transaction, it ends
        when the thread is done with the host's connection."""
        work = asyncio.ensure_future(to_thread(function, *args, **kwargs))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            while self.joined and not work.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([work])
            if work.done() and not work.cancelled():
                work.exception()  # nobody awaits it: once read, asyncio logs no warning of it
            raise

    async def call_provider(
        self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """In a thread of those that may wait for the provider of payments: however many of them
        it lets hang, what meets no provider finds a thread of the loop's."""
        if self.joined:  # then there is no provider
            return await self.call(function, *args, **kwargs)
        loop = asyncio.get_running_loop()
        desk = self._desks.get(loop)
        if desk is None:
            desk = self._desks[loop] = ThreadPoolExecutor(_AT_PROVIDER, "billing-provider")
        return await loop.run_in_executor(
            desk, partial(copy_context().run, function, *args, **kwargs)
        )
