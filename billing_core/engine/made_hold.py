"""What the answers of ``hold`` have in common, waited for or awaited."""

from __future__ import annotations

from datetime import datetime

from billing_core.commands import Hold
from billing_core.errors import Conflict
from billing_core.outcomes import Charged, Held
from billing_core.quantities import Usage, check_usage

__all__ = ["MadeHold"]


class MadeHold:
    """A hold that was made, and what was used of it so far."""

    def __init__(self, command: Hold, held: Held) -> None:
        self.held = held
        self.charges: list[Charged] = []
        """What leaving the ``with`` block charged."""
        self._command = command
        self._reported: list[Usage] = []
        self._left = False

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

    def _check_open(self) -> None:
        if self._left:
            raise Conflict(
                f"the block of hold {self.key!r} was left already; charge what else was used "
                "with settle(...)"
            )

    def report(self, usage: Usage) -> None:
        """What was really used; may be called again for further usage."""
        check_usage("usage", usage)
        self._check_open()
        self._reported.append(usage)
