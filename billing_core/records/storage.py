"""What a store keeps of a workspace: its sizes over time.

Immutable facts are tuples or frozen; the state that decisions change is plain
mutable ``define``: a loaded copy belongs to the batch that loaded it.
Amounts are nanos, times microseconds since 1970, quantities unbounded integers.
"""

from __future__ import annotations

from json import loads
from typing import NamedTuple

from attrs import define, field

from billing_core.records.runs import Tab, load_tab, tab_json

__all__ = ["Size", "Storage"]


@define
class Storage:
    """A workspace's storage.  ``size``: bytes since ``sized_at``, the latest report's time.
    ``billed_to``: its byte-microseconds are posted up to there.  ``facts``: those of the first
    report, ``(name, value)``, as prices may depend on them (rule 5.9)."""

    workspace: str
    billed_to: int
    sized_at: int
    size: int
    pieces: int = 0
    tabs: list[Tab] = field(factory=list)
    facts: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """All of it, as a store may keep it."""
        return tab_json(self)

    @classmethod
    def from_json(cls, text: str) -> Storage:
        """The storage of a :meth:`to_json`."""
        data = loads(text)
        data["tabs"] = [load_tab(each) for each in data["tabs"]]
        data["facts"] = tuple((name, value) for name, value in data.get("facts", ()))
        return cls(**data)

    @property
    def resource(self) -> str:
        return f"storage:{self.workspace}"

    @property
    def item(self) -> str:
        return f"storage:{self.workspace}"


class Size(NamedTuple):
    """A workspace has so many bytes from a time on, until its next size."""

    workspace: str
    at: int
    size: int
