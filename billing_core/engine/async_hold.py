"""What :meth:`AsyncBilling.hold` answers."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from billing_core.commands import Hold
from billing_core.engine.billing import settlements
from billing_core.engine.over_time import unwrapped
from billing_core.errors import InvalidCommand
from billing_core.outcomes import Charged, Held
from billing_core.quantities import Usage

if TYPE_CHECKING:
    from billing_core.engine.async_billing import AsyncBilling

__all__ = ["AsyncHold"]


class AsyncHold:
    """A hold that was made; see :class:`OpenHold`.  Use it in ``async with``."""

    def __init__(self, billing: AsyncBilling, command: Hold, held: Held) -> None:
        self.held = held
        self.charges: list[Charged] = []
        """What leaving the ``async with`` block charged."""
        self._billing = billing
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

    async def __aenter__(self) -> AsyncHold:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._reported:
            await self._billing.release(self._command.org, self.key)
            return
        for result in await self._billing.execute(settlements(self._command, self._reported)):
            self.charges.append(unwrapped([result], Charged))
