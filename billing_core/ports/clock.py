"""Where times and ids come from."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Clock", "IdSource"]


class Clock(Protocol):
    """Gives the time."""

    def __call__(self) -> int:
        """Microseconds since 1970, UTC."""
        ...


class IdSource(Protocol):
    """Gives fresh ids."""

    def __call__(self) -> str:
        """A new UUIDv7, as text."""
        ...
