"""What charges an org's storage: by itself, and before its account is closed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from attrs import evolve

from billing_core.commands.accounts import Close
from billing_core.commands.base import Command
from billing_core.commands.outcomes import Closed, Outcome, StorageStatus, unwrapped
from billing_core.commands.storage import BillStorage
from billing_core.ports.state import Wanted
from billing_core.ports.store import Store
from billing_core.values.text import checked_name
from billing_core.values.times import micros, moment

__all__ = ["closed", "closing", "storage_bills"]

_AT_ONCE = 500


def storage_bills(
    store: Store, now: int, org: str, workspace: str | None, until: datetime | None
) -> Iterator[list[BillStorage]]:
    """What charges an org's storage up to a time, some workspaces at once."""
    end = moment(now) if until is None else until
    stamp = micros("until", end)
    if workspace is not None:
        yield [BillStorage(org, f"{workspace}@{stamp}", workspace=workspace, until=end)]
        return
    some: list[BillStorage] = []
    for each in store.storages(checked_name("org", org)):
        name = each.workspace
        some.append(BillStorage(org, f"{name}@{stamp}", workspace=name, until=end))
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def closing(store: Store, now: int, close: Close) -> list[Command]:
    """What closes an account: its storage is charged up to that moment first, while there is
    credit to pay for it."""
    account = store.snapshot({close.org: Wanted(until=0)})[close.org].account
    if account is None or account.closed_at is not None:
        return [close]
    bills = [
        evolve(bill, at=close.at)
        for some in storage_bills(store, now, close.org, None, close.at)
        for bill in some
    ]
    return [*bills, close]


def closed(outcomes: Sequence[Outcome]) -> Closed:
    """The answer of :func:`closing`; raises what anything of it is but a success."""
    *bills, last = outcomes
    for each in bills:
        unwrapped([each], StorageStatus)
    return unwrapped([last], Closed)
