"""The states of a sandbox run, and what leads from one to another.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from billing_core.errors import ImpossibleTransition
from billing_core.records.runs import RunState

__all__ = ["OPEN", "TRANSITIONS", "diagram", "moved"]

OPEN = ("active", "suspended")
"""The states of a run whose end is not known."""

TRANSITIONS: Mapping[tuple[str, str], RunState] = {
    ("", "start"): "active",
    ("active", "heartbeat"): "active",
    ("active", "suspend"): "suspended",
    ("active", "stop"): "pending",
    ("active", "sweep"): "pending",
    ("suspended", "heartbeat"): "suspended",
    ("suspended", "suspend"): "suspended",
    ("suspended", "resume"): "active",
    ("suspended", "stop"): "pending",
    ("suspended", "sweep"): "pending",
    ("pending", "heartbeat"): "pending",
    ("pending", "suspend"): "pending",
    ("pending", "stop"): "pending",
    ("pending", "settle"): "settled",
    ("pending", "forgive"): "forgiven",
    ("settled", "heartbeat"): "settled",
    ("settled", "suspend"): "settled",
    ("settled", "stop"): "settled",
    ("settled", "forgive"): "forgiven",
    ("settled", "forgive part"): "settled",
    ("settled", "undo"): "settled",
    ("forgiven", "heartbeat"): "forgiven",
    ("forgiven", "suspend"): "forgiven",
    ("forgiven", "stop"): "forgiven",
    ("forgiven", "undo"): "settled",
}
"""``(state, event)`` → state.  What arrives late or twice leaves an ended run's state alone."""

_AIMS = {
    "start": "active",
    "resume": "active",
    "suspend": "suspended",
    "settle": "settled",
    "undo": "settled",
    "forgive": "forgiven",
    "forgive part": "settled",
}


def moved(run: str, state: str, event: str) -> RunState:
    """The state that an event leads to; raises ImpossibleTransition."""
    to = TRANSITIONS.get((state, event))
    if to is None:
        raise ImpossibleTransition(run, state, _AIMS.get(event, "pending"))
    return to


def diagram() -> str:
    """The transition table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for (state, event), to in TRANSITIONS.items():
        lines.append(f"    {state or '[*]'} --> {to}: {event}")
    return "\n".join(lines) + "\n"
