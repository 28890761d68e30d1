"""What proves a store right, and what makes billing easy to test.

``MemoryStore``, ``SettableClock`` and ``CountingIds`` need nothing more; the
submodules ``conformance``, ``strategies``, ``machine`` and ``model`` need the
``testing`` extra.
"""

from billing_core.testing.clock import CountingIds, SettableClock
from billing_core.testing.memory_store import MemoryStore

__all__ = ["CountingIds", "MemoryStore", "SettableClock"]
