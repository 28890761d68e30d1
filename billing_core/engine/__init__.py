"""The engine: commands to a store and back, and the reads.

The only package of the core that knows the time, chance and threads.
"""

from billing_core.engine.billing import Billing, OpenHold
from billing_core.engine.reads import Check
from billing_core.engine.system import system_clock, uuid7

__all__ = ["Billing", "Check", "OpenHold", "system_clock", "uuid7"]
