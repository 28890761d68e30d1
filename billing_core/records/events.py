"""What a store keeps of what is to be told: events, and how far each org was told."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Delivered", "Event"]


class Event(NamedTuple):
    """Something the host may want to know, in order per org: ``seq`` of the entry that
    raised it, and a number within it."""

    seq: int
    n: int
    kind: str
    data: str


class Delivered(NamedTuple):
    """How far an org's events are delivered: up to ``seq`` and ``n``; whether any ``waiting``
    ones are beyond; who has them until when."""

    seq: int
    n: int
    waiting: bool
    deliverer: str
    until: int
