"""What makes billing easy to test, and what a store of your own is tested with.

`MemoryStore`, `SettableClock` and `CountingIds` need nothing more.  The packages ``stores``,
``payments``, ``strategies``, ``machines`` and ``model`` need the ``testing`` extra.  Import this in
tests only: it may use all of the core.
"""

from billing_core.testing.clock import CountingIds, SettableClock
from billing_core.testing.memory_store import MemoryStore

__all__ = ["CountingIds", "MemoryStore", "SettableClock"]
