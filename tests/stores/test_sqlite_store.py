"""The SQLite store keeps the contract, and the ledger on it is the same as in memory."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing_core.testing.stores.conformance import StoreConformance

MEMORY = Path("/dev/shm")
"""Where there is one: what these tests ask does not depend on the disk."""


def make_store():
    from billing_adapters.sqlite import SqliteStore

    class Disposable(SqliteStore):
        """Takes its file with it."""

        def close(self) -> None:
            super().close()
            shutil.rmtree(Path(self.path).parent)

    directory = tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None)
    return Disposable(Path(directory) / "billing.db")


class TestSqliteStore(StoreConformance):
    make_store = staticmethod(make_store)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[object]:
        from billing_adapters.sqlite import SqliteStore

        with SqliteStore(tmp_path / "billing.db") as store:
            yield store
