"""The machine's own clock and ids."""

from __future__ import annotations

import os
import time

__all__ = ["system_clock", "uuid7"]


def system_clock() -> int:
    """The machine's UTC time, in microseconds."""
    return time.time_ns() // 1000


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): ordered by time, random in the rest."""
    from uuid import UUID

    bits = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    bits = bits & ~(0xF << 76) | 0x7 << 76
    return str(UUID(int=bits & ~(0x3 << 62) | 0x2 << 62))
