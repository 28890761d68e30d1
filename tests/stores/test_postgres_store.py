"""The PostgreSQL store keeps the contract, and the ledger on it is the same as elsewhere."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from postgres_servers import EmptiedStore
from test_sqlite_store import make_store as sqlite_store

from billing_core.testing.machines.ledger import STEPS, FewDebts, ledger_machine
from billing_core.testing.stores.conformance import StoreConformance


class TestPostgresStore(StoreConformance):
    make_store = staticmethod(EmptiedStore)


@pytest.mark.slow
def test_memory_sqlite_and_postgres_answer_alike() -> None:
    machine = ledger_machine(lambda: [FewDebts(), sqlite_store(), EmptiedStore()])
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=STEPS))
