"""What the answers of ``hold`` have in common, waited for or awaited."""

from __future__ import annotations

from datetime import datetime

from billing_core.commands import Hold
from billing_core.errors import InvalidCommand
from billing_core.outcomes import Charged, Held
from billing_core.quantities import Usage

__all__ = ["MadeHold"]


class MadeHold:
    """A hold that was made, and what was used of it so far."""

    def __init__(self, command: Hold, held: Held) -> None:
        self.held = held
        self.charges: list[Charged] = []
        """What leaving the ``with`` block charged."""
        self._command = command
        self._reported: list[Usage] = []

    @property
    def key(self) -> str:
        """The hold's name, for ``settle``, ``extend`` and ``release``."""
        return self.held.key

    @property
    def amount(self) -> int:
        """Nanos held."""
        return self.held.amount

    @property
    def expires_at(self) -> datetime:
        return self.held.expires_at

    def report(self, usage: Usage) -> None:
        """What was really used; may be called again for further usage."""
        if not isinstance(usage, Usage):
            raise InvalidCommand("usage", usage, "a Usage, such as tokens(...) returns")
        self._reported.append(usage)
