"""What is on record of an org, by name.  None of it depends on the time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from billing_core.errors import NotFound
from billing_core.ports.state import Wanted
from billing_core.ports.store import Store
from billing_core.records.events import Event
from billing_core.records.ledger import Account
from billing_core.records.topups import TopUp
from billing_core.values.text import checked_name, compact

__all__ = [
    "account_record",
    "events_with_names",
    "every_org",
    "first_entry_at",
    "member_names",
    "member_number",
    "topup_record",
]


def every_org(store: Store) -> Iterator[str]:
    """Every org's id, sorted."""
    after = ""
    while page := store.orgs(after):
        yield from page
        after = page[-1]


def account_record(store: Store, org: str) -> Account:
    """An org's account; raises NotFound."""
    account = store.snapshot({checked_name("org", org): Wanted(until=0)})[org].account
    if account is None:
        raise NotFound("org", org, "it has no account; open it first")
    return account


def topup_record(store: Store, org: str, topup: str) -> TopUp:
    """A top-up as it is on record; raises NotFound."""
    wanted = Wanted(until=0, topups={checked_name("topup", topup)})
    found = store.snapshot({checked_name("org", org): wanted})[org].topups.get(topup)
    if found is None:
        raise NotFound("top-up", topup, f"org {org!r} has none of this name")
    return found


def member_number(store: Store, org: str, name: str) -> int:
    """The surrogate id of a member; -1 for one that is unknown."""
    wanted = Wanted(until=0, members={checked_name("member", name)})
    return store.snapshot({org: wanted})[org].members.get(name, -1)


def member_names(store: Store, org: str, numbers: Iterable[int]) -> Mapping[int, str]:
    """The names of some members, by surrogate id: of no others, of whom there can be very
    many.  0 is usage without a member, and has none."""
    some = {number for number in numbers if number > 0}
    return store.members(org, sorted(some)) if some else {}


def events_with_names(store: Store, org: str, events: Sequence[Event]) -> list[Event]:
    """Events with the name of the member that they are about, which is not on record with
    them: None once it has been erased."""
    about: dict[int, dict[str, Any]] = {}  # by place
    for place, event in enumerate(events):
        data = json.loads(event.data) if event.kind == "budget" else {}
        if data.get("subject", "").startswith("member:"):
            about[place] = data
    numbers = {place: int(data["subject"][len("member:") :]) for place, data in about.items()}
    names = member_names(store, org, numbers.values())
    named = list(events)
    for place, data in about.items():
        text = compact(data | {"member": names.get(numbers[place])})
        named[place] = events[place]._replace(data=text)
    return named


def first_entry_at(
    store: Store, org: str, account: Account, time: int, *, recorded: bool = False
) -> int:
    """The number of the first entry decided (or recorded) at a time or after it: both
    times only grow, so that few entries need be read."""
    low, high = 1, account.seq + 1
    while low < high:
        middle = (low + high) // 2
        [entry] = store.entries(org, after=middle - 1, limit=1)
        if (entry.recorded_at if recorded else entry.at) < time:
            low = middle + 1
        else:
            high = middle
    return low
