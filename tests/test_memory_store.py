"""The in-memory store keeps the contract, and the ledger on it agrees with the model."""

from billing_core.testing import MemoryStore
from billing_core.testing.conformance import StoreConformance
from billing_core.testing.machine import FewDebts, ledger_test


class TestMemoryStore(StoreConformance):
    make_store = MemoryStore


TestLedger = ledger_test(lambda: [MemoryStore(), FewDebts()])
