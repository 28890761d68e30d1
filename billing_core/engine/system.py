"""The machine's own clock and ids."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

__all__ = ["SystemClock", "system_clock", "uuid7"]

_elapsed: Callable[[], int] = (
    partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)  # goes on while the machine sleeps
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic_ns
)


class SystemClock:
    """The machine's UTC time, in microseconds: what its clock said when this was made, and the
    time that has passed since.  So it never goes back, and does not follow when somebody sets
    the machine's clock: start the process again for that."""

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, elapsed: Callable[[], int] = _elapsed
    ) -> None:
        self._elapsed = elapsed
        self._start = wall() - elapsed()

    def __call__(self) -> int:
        return (self._start + self._elapsed()) // 1000


system_clock = SystemClock()
"""The clock of an engine that is given none; every engine of a process has the same."""


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): ordered by time, random in the rest."""
    from uuid import UUID

    bits = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    bits = bits & ~(0xF << 76) | 0x7 << 76
    return str(UUID(int=bits & ~(0x3 << 62) | 0x2 << 62))
