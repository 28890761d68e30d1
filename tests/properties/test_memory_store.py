"""The in-memory store keeps the contract, and the ledger on it agrees with the model."""

from billing_core.testing import MemoryStore
from billing_core.testing.stores.conformance import StoreConformance


class TestMemoryStore(StoreConformance):
    make_store = MemoryStore
