"""What a store keeps of a sandbox run, and of what is charged by the day.

Immutable facts are tuples or frozen; the state that decisions change is plain
mutable ``define``: a loaded copy belongs to the batch that loaded it.
Amounts are nanos, times microseconds since 1970, quantities unbounded integers.
"""

from __future__ import annotations

from json import loads
from typing import Any, Literal

from attrs import asdict, define, field

from billing_core.records.ledger import LimitName
from billing_core.values.text import compact

__all__ = ["Run", "Tab", "load_tab", "tab_json"]


@define
class Day:
    """What of a tab occurred in one UTC day, and so counts in that day's windows.

    ``last``: when the latest of it occurred.  ``amount``, ``forgiven``: as of the tab.
    ``counted``: whether the first of it was charged since spending is added up.
    """

    last: int
    amount: int
    forgiven: int
    counted: bool


@define
class Tab:
    """What a run or a workspace was charged for its time in one billing period: one story.

    ``period``: its start.  ``charge``: the story's number, that of its first piece.
    ``last``: when the latest of it occurred.  ``us``: microseconds of running time posted;
    ``amount``: nanos, less corrections.  ``forgiven``, ``forgiven_us``: of these.
    ``days``: the amounts by UTC day, in order; None: not known (any more).
    ``late``: of what had no price, by component, ``[version, quantity]``: what was priced later,
    less corrections since; or, with the version ``""`` and a negative quantity, what corrections
    took of it, which is set off against a later price.
    """

    period: int
    charge: int
    last: int
    us: int = 0
    amount: int = 0
    forgiven: int = 0
    forgiven_us: int = 0
    days: list[Day] | None = None
    late: dict[str, list[tuple[str, int]]] = field(factory=dict)


def tab_json(owner: Any) -> str:
    data = asdict(owner)
    if not data["facts"]:  # else the version before could not read it
        del data["facts"]
    for tab in data["tabs"]:
        days = tab.pop("days")
        if days is not None:  # else the version before could not read it
            tab["days"] = [list(day.values()) for day in days]
        if not tab["late"]:
            del tab["late"]
    return compact(data)


def load_tab(data: dict[str, Any]) -> Tab:
    days = data.pop("days", None)
    late = {
        component: [(version, quantity) for version, quantity in parts]
        for component, parts in data.pop("late", {}).items()
    }
    return Tab(**data, days=None if days is None else [Day(*each) for each in days], late=late)


RunState = Literal["active", "suspended", "pending", "settled", "forgiven"]
"""``pending``: it has stopped, and its last stretch of time is not settled yet."""

FundingBound = LimitName | Literal["asked", "horizon", "lot_expiry"]
"""What keeps a run from being funded for longer.  ``asked``: nothing, no more was asked for;
``horizon``: what prices are is known until then; ``lot_expiry``: credit ends; or a limit."""


@define
class Run:
    """A sandbox run, named by the key of its start.

    ``spec``: ``(component, rate per microsecond, payer)``.  ``seen_at``: the last sign of
    life.  ``settled_to``: its time is posted up to there.  ``until``: credit funds it until
    then, and ``bound_by`` what keeps that from being later.  ``ahead``: how far ahead of a
    heartbeat (microseconds) it asks to be funded.  ``suspensions``: ``[from, until or None]``.
    ``pieces``: how many entries charged it or gave back.  ``swept``: it was closed unstopped.
    ``facts``: ``(name, value)``, fixed at its start, as prices may depend on them (rule 5.9).
    """

    run: str
    resource: str
    spec: tuple[tuple[str, int, str], ...]
    member: int
    project: str | None
    reference: str | None
    ahead: int
    state: RunState
    started_at: int
    seen_at: int
    settled_to: int
    until: int
    bound_by: FundingBound
    ended_at: int | None = None
    swept: bool = False
    warned: int = 0
    pieces: int = 0
    suspensions: list[list[int | None]] = field(factory=list)
    tabs: list[Tab] = field(factory=list)
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def item(self) -> str:
        """The name of its item, and of its hold."""
        return f"run:{self.run}"

    @property
    def open(self) -> bool:
        """Whether a sweep may have to close it."""
        return self.state in ("active", "suspended")

    @property
    def unsettled(self) -> bool:
        """Whether some of its time may not be posted."""
        return self.open or self.state == "pending"

    def to_json(self) -> str:
        """All of it, as a store may keep it."""
        return tab_json(self)

    @classmethod
    def from_json(cls, text: str) -> Run:
        """The run of a :meth:`to_json`."""
        data = loads(text)
        data["spec"] = tuple(tuple(each) for each in data["spec"])
        data["tabs"] = [load_tab(each) for each in data["tabs"]]
        data["facts"] = tuple((name, value) for name, value in data.get("facts", ()))
        return cls(**data)
