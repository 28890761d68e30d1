"""The audit of events, of how far they are delivered, and of members' numbers.

An entry's effects have a digest of the events that it raised: so what is on record can be held
against the journal, though events say what the transfers do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from billing_core.audit.state import Events
from billing_core.ledger.hash_chain import TOLD, told
from billing_core.ports.store import Store
from billing_core.records.events import Event
from billing_core.records.ledger import Entry
from billing_core.values.times import DAY

if TYPE_CHECKING:
    from billing_core.audit.state import Audit

__all__ = ["check_events", "check_names"]

_PAGE = 1000


def check_events(audit: Audit, store: Store, now: int) -> None:
    """Hold an org's events, and how far they are delivered, against its journal."""
    derived = audit.tables.events
    if derived.since is not None:
        recorded = Events(derived.since)
        for seq, events in _by_entry(store, audit.org, derived.since):
            recorded.tell(seq, told(events))
        if recorded != derived:
            _name_events(audit, store, derived.since)
    _check_delivered(audit, store, now)


def _by_entry(store: Store, org: str, since: int) -> Iterator[tuple[int, list[Event]]]:
    """The events on record from an entry on, by entry."""
    after = since - 1
    while page := store.events(org, after, _PAGE):
        last = page[-1].seq
        if len(page) == _PAGE and page[0].seq < last:  # more of the last one's may follow
            page = [each for each in page if each.seq < last]
        for seq, events in groupby(page, attrgetter("seq")):
            yield seq, list(events)
        after = page[-1].seq


def _name_events(audit: Audit, store: Store, since: int) -> None:
    """Which events differ: the journal is read again, beside them."""
    there = _by_entry(store, audit.org, since)
    seq, events = next(there, (None, []))
    after = since - 1
    while page := store.entries(audit.org, after=after, limit=500):
        after = page[-1].seq
        for entry in page:
            found: list[Event] = []
            while seq is not None and seq <= entry.seq:
                if seq == entry.seq:
                    found = events
                else:
                    _extra(audit, events)
                seq, events = next(there, (None, []))
            expected = _told(entry)
            if not expected:
                _extra(audit, found)
            elif not found or told(found) != expected:
                what = f"{len(found)} on record, which are not what the entry told"
                audit.note(f"event {entry.seq}", what)
    while seq is not None:
        _extra(audit, events)
        seq, events = next(there, (None, []))


def _told(entry: Entry) -> str | None:
    """What an entry says of its events; nothing, where it was altered beyond reading."""
    try:
        effects = json.loads(entry.effects)
    except ValueError:
        return None
    found = effects.get(TOLD) if isinstance(effects, dict) else None
    return found if isinstance(found, str) else None


def _extra(audit: Audit, events: list[Event]) -> None:
    for event in events:
        what = "on record, but the journal does not tell of it"
        audit.note(f"event {event.seq}/{event.n}", what)


def _check_delivered(audit: Audit, store: Store, now: int) -> None:
    """They are delivered up to one of them, and whoever has them will not have them for ever."""
    account = audit.account
    assert account is not None
    delivered = store.deliveries(audit.org)
    if delivered is None:
        if store.events(audit.org, 0, 1):
            audit.note("delivery", "missing, and there are events: nobody will deliver them")
        return
    if not store.events(audit.org, 0, 1):
        audit.note("delivery", "on record, but there are no events")
    upto = delivered.seq, delivered.n
    known = store.events(audit.org, max(delivered.seq - 1, 0), _PAGE)
    if upto != (0, 0) and not any((each.seq, each.n) == upto for each in known):
        audit.note("delivery", f"delivered up to event {upto[0]}/{upto[1]}, which is none")
    waiting = bool(store.waiting_events(audit.org, 1))
    if delivered.waiting != waiting:
        there = "there are" if waiting else "there are no"
        audit.note("delivery", f"waiting {delivered.waiting}; {there} events to be delivered")
    if delivered.until > max(now, account.recorded_at) + DAY:
        what = f"{delivered.deliverer or 'nobody'} has the events until {delivered.until}"
        audit.note("delivery", f"{what}: nobody delivers them until then")


def check_names(audit: Audit, store: Store) -> None:
    """Each name has a number that was given, and each number one name at most."""
    account = audit.account
    assert account is not None
    seen: set[int] = set()
    for number, _ in store.named(audit.org):
        if not 1 <= number <= account.members:
            audit.note(f"member {number}", f"the last number given is {account.members}")
        if number in seen:
            audit.note(f"member {number}", "is the number of two names")
        seen.add(number)
