"""Where times and ids come from."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Clock", "IdSource"]


class Clock(Protocol):
    """Gives the time: any function without arguments that returns it."""

    def __call__(self) -> int:
        """Tell the time, in microseconds since 1970, UTC.

        Returns:
            An int; it may go back, which the engine bears (rule 6.7).
        """
        ...


class IdSource(Protocol):
    """Gives fresh ids: any function without arguments that returns one."""

    def __call__(self) -> str:
        """Make a fresh id.

        Returns:
            A UUID of version 7, as text; never the same twice.
        """
        ...
