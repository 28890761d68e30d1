"""What is stored never changes: a life in which every operation happens leaves what it left
before, to the byte, and the databases of before go on. See `golden.py`."""

from collections.abc import Iterator

import golden
import pytest
from postgres_servers import DisposableStore

from billing_adapters.sqlite import SqliteStore
from billing_core import Billing
from billing_core.decide import _ROWS, OPERATIONS
from billing_core.testing import CountingIds, MemoryStore

KEPT = golden.ENTRIES.read_text(encoding="utf-8").splitlines()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request, tmp_path) -> Iterator:
    if request.param == "memory":
        yield MemoryStore()
        return
    new = DisposableStore() if request.param == "postgres" else SqliteStore(tmp_path / "b.db")
    with new:
        yield new


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request, tmp_path) -> Iterator:
    sqlite = request.param == "sqlite"
    with golden.opened_sqlite(tmp_path / "b.db") if sqlite else golden.GoldenPostgres() as found:
        yield found


def test_every_operation_happens_in_it() -> None:
    sent = {each.op for batch in golden.live(MemoryStore()).batches for each in batch}
    assert {op for op, each in OPERATIONS.items() if each.outcome is not None} <= sent


def test_no_two_commands_have_one_name() -> None:
    """By which the keys of their entries begin."""
    assert len(OPERATIONS) == len(_ROWS)


def test_the_same_life_leaves_the_same_entries(store) -> None:
    golden.live(store)
    assert golden.entries(store) == KEPT


def test_a_life_whose_prices_depend_on_the_request_leaves_the_same_entries(store) -> None:
    lived = golden.by_request(store)
    kept = golden.REQUESTS.read_text(encoding="utf-8").splitlines()
    assert golden.entries(store) == kept
    answers = golden.replies(lived, list(lived.batches))
    assert sum(each == "replayed" for some in answers for each in some) > 15


def test_a_database_of_before_is_whole_and_every_key_is_known(kept) -> None:
    assert golden.entries(kept) == KEPT
    lived = golden.live(MemoryStore())
    batches = list(lived.batches)
    billing = Billing(kept, clock=lived.clock, ids=CountingIds(), payments=lived.payments)
    verified = billing.verify()
    assert verified.ok, [str(each) for each in verified.discrepancies]
    answers = golden.replies(billing, batches)
    assert answers == golden.replies(lived, batches)
    assert sum(each == "replayed" for some in answers for each in some) > 60


def test_what_was_open_goes_on(kept) -> None:
    billing = Billing(kept, clock=golden.live(MemoryStore()).clock, ids=CountingIds())
    assert billing.settle("acme", "go on 1", golden.ONE, hold="h-open").captured == 1
    assert not billing.release("acme", "h-plain").replayed
    assert billing.stop_run("acme", "r-active").state == "settled"
    assert billing.settle_run("acme", "r-pending").state == "settled"
    billing.bill_storage("acme", "ws")
    verified = billing.verify()
    assert verified.ok, [str(each) for each in verified.discrepancies]
