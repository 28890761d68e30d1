"""The hash chain: each entry is hashed onto the org's previous one."""

from __future__ import annotations

from hashlib import sha256

from billing_core.records import Entry

__all__ = ["chained"]


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
