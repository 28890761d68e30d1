"""The PostgreSQL store keeps the contract, and the ledger on it is the same as in memory."""

from servers import DisposableStore

from billing_core.testing.conformance import StoreConformance


class TestPostgresStore(StoreConformance):
    make_store = staticmethod(DisposableStore)
