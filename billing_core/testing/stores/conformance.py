"""The suite that proves a store right, for its author to import and run.

    class TestMyStore(StoreConformance):
        @staticmethod
        def make_store() -> MyStore:
            return MyStore(...)

``make_store`` gives a fresh, empty store at every call; one that has ``close`` is closed
after use.  Override the fixture ``store`` as well where a test's store needs fixtures of
yours.  The suite needs pytest and hypothesis, and heeds hypothesis's loaded profile.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from billing_core.ports.store import Store
from billing_core.testing.machines.ledger import STEPS, FewDebts, ledger_machine
from billing_core.testing.machines.runs import time_machine, time_settings
from billing_core.testing.stores.publishing import PublishContract
from billing_core.testing.stores.reads import LoadContract, ReadContract
from billing_core.testing.stores.runs import TimeContract
from billing_core.testing.stores.terms import TermsContract
from billing_core.testing.stores.topups import TopUpContract
from billing_core.testing.stores.writes import WriteContract

__all__ = ["StoreConformance"]


class StoreConformance(
    WriteContract,
    LoadContract,
    TermsContract,
    ReadContract,
    PublishContract,
    TimeContract,
    TopUpContract,
):
    """What :mod:`billing_core.ports` asks of a store, point by point, and then the whole
    ledger on it beside the one in memory."""

    @staticmethod
    def make_store() -> Store:
        """A fresh, empty store."""
        raise NotImplementedError("say how to make your store: def make_store() -> Store")

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """A fresh, empty store."""
        made = self.make_store()
        yield made
        close = getattr(made, "close", None)
        if close is not None:
            close()

    def test_the_ledger_is_the_same_as_in_memory(self) -> None:
        """Random batches of commands: equal outcomes, rows and reports, and sums that are
        even (:mod:`billing_core.testing.machines.ledger`)."""
        machine = ledger_machine(lambda: [FewDebts(), self.make_store()])
        run_state_machine_as_test(machine, settings=settings(stateful_step_count=STEPS))

    def test_runs_and_storage_are_the_same_as_in_memory(self) -> None:
        """Random batches about sandbox runs and storage: equal outcomes, and what they are by a
        naive model (:mod:`billing_core.testing.machines.runs`)."""
        machine = time_machine(lambda: [FewDebts(), self.make_store()])
        run_state_machine_as_test(machine, settings=time_settings())
