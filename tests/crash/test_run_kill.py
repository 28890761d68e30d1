"""Two workers and four heartbeat services on one org and one database, killed at random: no
microsecond of a run is billed twice or not at all.

A plain run kills 18 processes on each store; `BILLING_TEST_DEPTH=10` ten times as many.
"""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from database_places import Place, new_place
from run_services import RATE, engine

pytestmark = pytest.mark.slow

DEPTH = int(os.environ.get("BILLING_TEST_DEPTH", "1"))
ROLES = ("worker", "worker", "beats", "beats", "beats", "beats")
HERE = Path(__file__).parents[1] / "support"


def generation(place: Place, number: int, random: Random) -> list[str]:
    """Six services that live for a moment; what the workers were answered."""
    services = [
        subprocess.Popen(
            [sys.executable, HERE / "run_services.py", role, f"{number}.{index}", *place],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, role in enumerate(ROLES)
    ]
    told: list[str] = []
    for service in services:
        assert service.stdout is not None
        up = service.stdout.readline()
        assert up == "up\n", service.communicate(timeout=10)
    for service in random.sample(services, len(services)):
        time.sleep(random.uniform(0.05, 0.3))
        service.kill()
    for service in services:
        out, err = service.communicate(timeout=30)
        assert not err, err
        told += out.splitlines()
    return told


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_killed_services_bill_no_microsecond_twice_or_not_at_all(kind: str, tmp_path: Path) -> None:
    with new_place(kind, tmp_path) as place:
        serve_and_kill(place)


def serve_and_kill(place: Place) -> None:
    random = Random(os.environ.get("CI") and 0)
    billing = engine(place)
    told: list[str] = []
    for number in range(3 * DEPTH):
        told += generation(place, number, random)
    assert not [line for line in told if line.startswith("wrong")]
    for view in billing.runs("acme"):
        billing.stop_run("acme", view.run, key=f"last-{view.run}", occurred_at=datetime.now(UTC))
    billing.bill_storage("acme")
    runs = {run.run: run for run in billing.store.runs("acme")}
    views = {view.run: view for view in billing.runs("acme", unsettled=False)}
    for line in told:
        what, *rest = line.split()
        if what == "started":
            assert views[rest[0]].started_at == datetime.fromisoformat(rest[1])
        elif what == "stopped":
            assert views[rest[0]].ended_at == datetime.fromisoformat(rest[1])
    assert len(views) > 4
    total = 0
    for name, run in runs.items():
        assert run.ended_at is not None
        # Suspensions stand in the row sorted, and none touches another.
        off = sum((end or 0) - (begin or 0) for begin, end in run.suspensions)
        assert views[name].settled_us == run.ended_at - run.started_at - off
        assert views[name].settled == RATE * views[name].settled_us
        total += views[name].settled
    storage = sum(view.amount for view in billing.storage("acme"))
    assert billing.balance("acme").used == total + storage
    assert billing.balance("acme").held == 0
    verification = billing.verify()
    assert verification.ok, verification.discrepancies[:5]
    print(f"{3 * DEPTH * len(ROLES)} kills: {len(views)} runs, {verification.entries} entries")
    billing.store.close()
