"""The hash chain: each entry is hashed onto the org's previous one."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from billing_core.records.events import Event
from billing_core.records.ledger import Entry
from billing_core.values.text import compact

__all__ = ["TELLS", "TOLD", "chained", "told"]

TOLD = "told"
"""Where an entry's effects have the digest of the events that it raised; empty for none, in
the entry from which on every one that raises any says so."""


TELLS = 2
"""From which level on entries do: the version before leaves it out."""


def told(events: Iterable[Event]) -> str:
    """A digest of the events of one entry."""
    return sha256(compact([each[1:] for each in events]).encode()).hexdigest()[:32]


def chained(head: bytes, entry: Entry) -> bytes:
    """SHA-256 over the previous entry's hash (empty for the first) and this entry.

    The fields are joined by line feeds, which none of them contains: names are
    printable and the rest is numbers and canonical JSON.
    """
    transfers, usage = entry.texts
    text = (
        f"1\n{entry.org}\n{entry.seq}\n{entry.key}\n{entry.at}\n{entry.recorded_at}\n"
        f"{entry.content}\n{entry.effects}\n{entry.amount}\n{entry.balance}\n"
        f"{transfers or ''}\n{usage or ''}"
    )
    return sha256(head + text.encode()).digest()
