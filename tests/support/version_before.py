"""A piece of work done by the version of the library before this one.

    PYTHONPATH=fixtures/billing_core-0.1.0.zip python tests/support/version_before.py NAME PLACE…

It charges `acme` in several ways under keys that begin with NAME, replays one of them, settles
by the hold that whoever came before has left, leaves one, and verifies. NAME `finish`: it brings
the schema up to date, and finishes that, instead. PLACE: an SQLite file's path, or a connection
string and a schema.
"""

from __future__ import annotations

import inspect
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import billing_core
from billing_core import Billing, StoreError, Usage, usd
from billing_core.testing import SettableClock

# What the version before calls `life`.
NEW = "expires_in" in inspect.signature(Billing.hold).parameters
LONG: dict[str, Any] = {"expires_in" if NEW else "life": timedelta(hours=1)}
NOON = datetime(2026, 3, 10, 14, tzinfo=UTC)  # after the fixtures' life


def work(billing: Billing, name: str) -> None:
    usage = Usage.of("model:small", {"input": 300, "output": 100})
    paid = billing.deduct("acme", f"{name}-d", usd("0.5"), resource="x", member="ana")
    billing.hold("acme", usage, key=f"{name}-h", **LONG, member=name, project="site")
    settled = billing.settle("acme", f"{name}-s", usage, hold=f"{name}-h", member=name)
    billing.reverse("acme", f"{name}-r", charge=paid.seq, amount=usd("0.25"))
    billing.settle("beta", f"{name}-b", usage)
    for left in [each.key for each in billing.store.holds("acme") if each.key.endswith("-left")]:
        if f"settle:{left}" not in {each.key for each in billing.store.entries("acme")}:
            billing.settle("acme", left, usage, hold=left)
    billing.hold("acme", usage, key=f"{name}-left", **LONG)
    billing.heartbeat("acme", "active", key=f"{name}-beat")
    billing.report_storage("acme", "docs", 3 * 10**9, key=f"{name}-size")
    assert billing.settle("acme", f"{name}-s", usage, hold=f"{name}-h", member=name).seq == (
        settled.seq
    )
    wrong = [str(each) for each in billing.verify().discrepancies]
    assert not wrong, wrong


def main(name: str, place: list[str]) -> None:
    assert ".zip" in (billing_core.__file__ or ""), "the library of the fixture is not on the path"
    try:
        if len(place) == 1:
            from billing_adapters.sqlite import SqliteStore

            store = SqliteStore(place[0])
        else:
            from billing_adapters.postgres import PostgresStore

            store = PostgresStore(place[0], schema=place[1])
        with store:
            if name == "finish":
                if len(place) > 1:
                    store.migrate()
                store.finish()
                print("finished")
                return
            work(Billing(store, clock=SettableClock(NOON)), name)
    except StoreError as error:
        print(f"refused: {error}")
    else:
        print("worked")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
