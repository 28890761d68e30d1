"""What proves a store right, and what makes billing easy to test.

``MemoryStore``, ``SettableClock`` and ``CountingIds`` need nothing more; the packages ``stores``,
``payments``, ``strategies``, ``machines`` and ``model`` need the ``testing`` extra.  It may use all
of the core; only tests, a host's or ours, import it.
"""

from billing_core.testing.clock import CountingIds, SettableClock
from billing_core.testing.memory_store import MemoryStore

__all__ = ["CountingIds", "MemoryStore", "SettableClock"]
