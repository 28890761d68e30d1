"""What :meth:`AsyncBilling.hold` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_core.commands import Hold
from billing_core.engine.billing import settlements
from billing_core.engine.made_hold import MadeHold
from billing_core.engine.over_time import unwrapped
from billing_core.outcomes import Charged, Held

if TYPE_CHECKING:
    from billing_core.engine.async_billing import AsyncBilling

__all__ = ["AsyncHold"]


class AsyncHold(MadeHold):
    """A hold that was made; see :class:`OpenHold`.  Use it in ``async with``."""

    def __init__(self, billing: AsyncBilling, command: Hold, held: Held) -> None:
        super().__init__(command, held)
        self._billing = billing

    async def __aenter__(self) -> AsyncHold:
        self._check_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left = True
        if not self._reported:
            await self._billing.release(self._command.org, self.key)
            return
        for result in await self._billing.execute(settlements(self._command, self._reported)):
            self.charges.append(unwrapped([result], Charged))
