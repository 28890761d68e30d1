"""The engine: commands to a store and back, and the reads.

The only package of the core that knows the time, chance and threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billing_core.engine.billing import Billing, OpenHold
from billing_core.engine.check import Check
from billing_core.engine.system import SystemClock, system_clock, uuid7

if TYPE_CHECKING:
    from billing_core.engine.async_billing import AsyncBilling, AsyncHold

__all__ = [
    "AsyncBilling",
    "AsyncHold",
    "Billing",
    "Check",
    "OpenHold",
    "SystemClock",
    "system_clock",
    "uuid7",
]


def __getattr__(name: str) -> Any:
    # asyncio takes longer to import than all the rest: only who asks for it pays.
    if name in ("AsyncBilling", "AsyncHold"):
        from billing_core.engine import async_billing

        return getattr(async_billing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
