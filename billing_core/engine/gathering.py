"""What the tasks of one event loop ask for at once, made one batch."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Callable, Sequence

from billing_core.commands import Command
from billing_core.engine.coalescing import Part
from billing_core.outcomes import Outcome

__all__ = ["Gatherer"]


class Gatherer:
    """The tasks of one loop that wait for a batch."""

    def __init__(self, finish: Callable[[Sequence[Part]], None]) -> None:
        self._finish = finish
        self._waiting: list[tuple[Part, asyncio.Future[None]]] = []
        self._pump: asyncio.Task[None] | None = None

    async def submit(self, commands: Sequence[Command]) -> list[Outcome]:
        part = Part(commands)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((part, done))
        if self._pump is None:
            # A task of its own: cancelling a caller cancels nobody else's write.
            self._pump = asyncio.create_task(self._work())
        await done
        return part.result()

    async def _work(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # let every task that is ready join
                batch, self._waiting = self._waiting, []
                try:
                    await to_thread(self._finish, [part for part, _ in batch])
                finally:
                    for part, done in batch:
                        if part.outcomes is None and part.error is None:
                            done.cancel()  # the loop is being torn down
                        elif not done.done():
                            done.set_result(None)
                await asyncio.sleep(0)  # and those that were just answered, too
        finally:
            # A cancelled pump leaves to another what came meanwhile, such as a clean-up's.
            self._pump = asyncio.create_task(self._work()) if self._waiting else None
