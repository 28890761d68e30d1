"""Services that share an org's sandbox runs and are killed: ``worker`` starts, suspends,
resumes and stops runs and bills storage, ``beats`` gives signs of life.  What a worker was
answered it prints, a line each."""

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from random import Random

from database_places import Place, store_at

from billing_core import (
    BillingError,
    Conflict,
    Flat,
    ImpossibleTransition,
    Price,
    PriceBook,
    StoreError,
    sandbox,
    usd,
)
from billing_core.engine import Billing

RATE = 3  # nanos for a microsecond
BYTES = 10**6


def engine(place: Place) -> Billing:
    """The engine, its prices published and its account open."""
    billing = Billing(store_at(place))
    prices = {
        "sandbox:box": {"second": Price(Flat(RATE), unit="microsecond")},
        "storage:*": {"byte_us": Price(Flat(1, 10**9), unit="byte-microsecond")},
    }
    billing.publish(PriceBook("kill", datetime(2026, 1, 1, tzinfo=UTC), prices))
    billing.open_account("acme")
    billing.grant("acme", "credit", usd("1000000"))
    return billing


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def work(billing: Billing, name: str, random: Random) -> None:
    """One step of a worker: something about some run."""
    runs = [view for view in billing.runs("acme") if view.state != "pending"]
    at = datetime.now(UTC) - timedelta(milliseconds=random.randrange(30))
    if len(runs) < 4:
        run = f"{name}-{time.time_ns()}"
        billing.start_run("acme", run, sandbox("box", {"second": 1}), occurred_at=at)
        tell("started", run, at.isoformat())
        return
    view = random.choice(runs)
    key = f"{name}-{time.time_ns()}"
    match random.randrange(4):
        case 0:
            stands = billing.stop_run("acme", view.run, key=key, occurred_at=at)
            if stands.charged and stands.settled_to == at:
                tell("stopped", view.run, at.isoformat())
        case 1:
            billing.suspend_run("acme", view.run, key=key, occurred_at=at)
        case 2:
            billing.resume_run("acme", view.run, key=key, occurred_at=at)
        case _:
            billing.report_storage("acme", "ws", random.randrange(BYTES), occurred_at=at)
            billing.bill_storage("acme")


def beat(billing: Billing, random: Random) -> None:
    """A sign of life of every run, by a clock that is up to a minute off."""
    for view in billing.runs("acme"):
        off = timedelta(seconds=random.choice([0, 0, 0, -60, 20]))
        at = max(datetime.now(UTC) + off, view.started_at)
        billing.heartbeat("acme", view.run, occurred_at=at)


def main(role: str, seed: str, *place: str) -> None:
    billing, random = engine(place), Random(seed)
    tell("up")
    while True:
        try:
            if role == "worker":
                work(billing, f"w{seed}", random)
            else:
                beat(billing, random)
        except (ImpossibleTransition, Conflict):
            pass  # another service was faster
        except StoreError as error:
            if not error.retryable:
                raise
        except BillingError as error:
            tell("wrong", repr(error))
        time.sleep(0.002)


if __name__ == "__main__":
    main(*sys.argv[1:])
