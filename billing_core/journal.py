"""The hash chain: each entry is hashed onto the org's previous one."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from billing_core.records import Transfer, UsageRecord
from billing_core.text import compact

__all__ = ["chained", "transfers_text", "usage_text"]


def transfers_text(transfers: Sequence[Transfer]) -> str:
    """Canonical JSON of an entry's transfers."""
    return compact(transfers) if transfers else ""


def usage_text(usage: UsageRecord | None) -> str:
    """Canonical JSON of an entry's usage record."""
    return "" if usage is None else compact(usage)


def chained(
    head: bytes,
    org: str,
    seq: int,
    key: str,
    at: int,
    recorded_at: int,
    content: str,
    effects: str,
    amount: int,
    balance: int,
    transfers: Sequence[Transfer],
    usage: UsageRecord | None,
) -> bytes:
    """SHA-256 over the previous entry's hash (empty for the first) and this entry.

    The fields are joined by line feeds, which none of them contains: names are
    printable and the rest is numbers and canonical JSON.
    """
    text = (
        f"1\n{org}\n{seq}\n{key}\n{at}\n{recorded_at}\n{content}\n{effects}\n{amount}\n{balance}\n"
        f"{transfers_text(transfers)}\n{usage_text(usage)}"
    )
    return sha256(head + text.encode()).digest()
