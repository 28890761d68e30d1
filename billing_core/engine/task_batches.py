"""What the tasks of one event loop ask for at once, made one batch."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Callable, Sequence
from typing import NamedTuple

from billing_core.commands.base import Command
from billing_core.commands.outcomes import Outcome
from billing_core.engine.group_commit import SLOW, Submission

__all__ = ["Gatherer"]

_Asked = tuple[Submission, "asyncio.Future[None]"]


class _Batch(NamedTuple):
    """What is on its way since a loop's time, and whose it is."""

    asked: list[_Asked]
    orgs: set[str]
    began: float


class Gatherer:
    """The tasks of one loop that wait for a batch: one after another, but ``width`` at once
    where they take long, never two with an org in common."""

    def __init__(self, finish: Callable[[Sequence[Submission]], None], width: int) -> None:
        self._finish = finish
        self._width = width
        self._waiting: list[_Asked] = []
        self._gathering: asyncio.Task[None] | None = None
        self._batches: list[_Batch] = []
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, commands: Sequence[Command]) -> list[Outcome]:
        part = Submission(commands)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((part, done))
        self._begin()
        await done
        return part.result()

    def _begin(self) -> None:
        """Begin a batch, unless one is being gathered, or is on its way and may be back soon."""
        if self._gathering is not None or not self._waiting:
            return
        if self._batches:
            loop = asyncio.get_running_loop()
            soon = max(batch.began for batch in self._batches) + SLOW - loop.time()
            if len(self._batches) >= self._width or (soon <= 0 and not self._free()[0]):
                return
            if soon > 0:
                if self._timer is None:
                    self._timer = loop.call_later(soon, self._look)
                return
        # A task of its own: cancelling a caller cancels nobody else's write.
        self._gathering = asyncio.create_task(self._work())
        self._gathering.add_done_callback(self._end)

    def _look(self) -> None:
        self._timer = None
        self._begin()

    def _free(self) -> tuple[list[_Asked], list[_Asked]]:
        """Those whose orgs no batch has, and those who wait on."""
        busy: set[str] = set().union(*(batch.orgs for batch in self._batches))
        free: list[_Asked] = []
        rest: list[_Asked] = []
        for asked in self._waiting:
            orgs = {command.org for command in asked[0].commands}
            if busy.isdisjoint(orgs):
                free.append(asked)
            else:
                busy |= orgs  # later ones for these orgs keep their order
                rest.append(asked)
        return free, rest

    def _end(self, pump: asyncio.Task[None]) -> None:
        """Cancelled or not, a pump leaves to another what came meanwhile, such as a clean-up's."""
        if self._gathering is pump:
            self._gathering = None
        self._begin()

    async def _work(self) -> None:
        await asyncio.sleep(0)  # let every task that is ready join
        asked, self._waiting = self._free() if self._batches else (self._waiting, [])
        self._gathering = None
        parts = [part for part, _ in asked]
        orgs = {command.org for part in parts for command in part.commands}
        batch = _Batch(asked, orgs, asyncio.get_running_loop().time())
        self._batches.append(batch)
        try:
            await to_thread(self._finish, parts)
        finally:
            self._batches = [each for each in self._batches if each is not batch]
            for part, done in asked:
                if part.outcomes is None and part.error is None:
                    done.cancel()  # the loop is being torn down
                elif not done.done():
                    done.set_result(None)
