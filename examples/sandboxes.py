"""Real processes as sandboxes: started with credit held, renewed by heartbeats, and stopped
at the deadline that the credit ends at.

    python examples/sandboxes.py [SECONDS OF CREDIT]

Each child is a process that would go on for an hour.  The host looks after them a few times
a second, and so overspends by at most that delay × the rate.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from billing_adapters.sqlite import SqliteStore
from billing_core import Billing, Flat, Money, Price, PriceBook, decimal_text, sandbox

RATE = 1_000_000  # nanos for a second of one vCPU: a tenth of a cent
LOOK = 0.05  # seconds between two looks at the children
SIZES = {"small": 1, "large": 3}  # vCPUs


class Host:
    """Runs sandboxes, and lets no one run longer than its credit."""

    def __init__(self, billing: Billing, org: str) -> None:
        self.billing = billing
        self.org = org
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.deadlines: dict[str, datetime] = {}
        self.late: dict[str, float] = {}  # how long after its deadline each was stopped

    def start(self, run: str, vcpus: int) -> None:
        spec = sandbox("box", {"vcpu": vcpus})
        stands = self.billing.start_run(
            self.org,
            run,
            spec,
            fund_for=timedelta(seconds=0.5),
            min_runtime=timedelta(seconds=0.05),
        )
        self.deadlines[run] = stands.funded_until
        sleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
        self.children[run] = subprocess.Popen(sleep)

    def look(self) -> None:
        """Renew what is half over; stop what cannot be renewed."""
        for run in list(self.children):
            left = (self.deadlines[run] - datetime.now(UTC)).total_seconds()
            if left < 0.25:
                stands = self.billing.heartbeat(self.org, run)
                self.deadlines[run] = stands.funded_until
            if datetime.now(UTC) >= self.deadlines[run]:
                self.stop(run)

    def stop(self, run: str) -> None:
        child = self.children.pop(run)
        child.kill()
        child.wait()
        ended = datetime.now(UTC)
        self.late[run] = (ended - self.deadlines[run]).total_seconds()
        self.billing.stop_run(self.org, run, occurred_at=ended)


def main(seconds: float = 4.0) -> None:
    with tempfile.TemporaryDirectory() as folder, SqliteStore(Path(folder) / "b.db") as store:
        billing = Billing(store)
        price = Price(Flat(RATE), unit="vCPU-second")
        since = datetime(2026, 1, 1, tzinfo=UTC)
        billing.publish(PriceBook("boxes", since, {"sandbox:box": {"vcpu": price}}))
        billing.open_account("acme")
        credit = int(RATE * seconds)
        billing.grant("acme", "order-1", Money(credit, "USD"))
        host = Host(billing, "acme")
        try:
            for name, vcpus in SIZES.items():
                host.start(name, vcpus)
            while host.children:
                host.look()
                time.sleep(LOOK)
        finally:
            for child in host.children.values():
                child.kill()
        allowed = 0
        for name, vcpus in SIZES.items():
            run = billing.run("acme", name)
            assert run.ended_at is not None
            wall = (run.ended_at - run.started_at).total_seconds()
            late = max(0.0, host.late[name])
            allowed += (int(late * 1_000_000) + 1) * vcpus * RATE // 1_000_000 + 1
            cost = decimal_text(run.settled)
            print(f"{name}: {wall:.3f} s x {vcpus} vCPU = {cost} USD, stopped", end=" ")
            print(f"{late * 1000:.0f} ms after its deadline ({run.bound_by})")
            assert run.settled == run.settled_us * vcpus * RATE // 1_000_000
        spent = billing.balance("acme").used
        over = max(0, spent - credit)
        print(f"credit {decimal_text(credit)}, spent {decimal_text(spent)}, ", end="")
        print(f"over by {decimal_text(over)}, of {decimal_text(allowed)} that the delays allow")
        assert over <= allowed, "more was spent than the stop delay times the rate"
        assert billing.verify().ok


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
