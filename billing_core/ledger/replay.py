"""The answer to a key that was used before: the first outcome, however late, unless what it
made has ended (rule 6.3): then a conflict that says how.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from billing_core.commands.base import Command
from billing_core.commands.charges import Deduct
from billing_core.commands.holds import Extend, Hold
from billing_core.commands.runs import ResumeRun, StartRun
from billing_core.errors import EndedState, HoldEnded
from billing_core.ledger.inputs import NeedMore
from billing_core.ledger.ledger import Ledger
from billing_core.ports.state import Loaded, OrgState
from billing_core.records.ledger import Entry

__all__ = ["check_loaded", "check_stands"]


def check_loaded(loaded: Loaded) -> None:
    """Raise NeedMore unless the holds and charges that keys on record made are loaded too.  Only
    replays have any; those of all orgs are asked for at once."""
    missing: dict[str, tuple[set[str], set[int]]] = {}
    for org, state in loaded.items():
        if state.entries:
            made = _made(state)
            if made[0] or made[1]:
                missing[org] = made
    if missing:
        raise NeedMore(next(iter(missing)), replayed=missing)


def _made(state: OrgState) -> tuple[set[str], set[int]]:
    holds: set[str] = set()
    charges: set[int] = set()
    for key, entry in state.entries.items():
        op, _, name = key.partition(":")
        if op == "hold" and name not in state.holds:
            holds.add(name)
        elif op == "deduct" and entry.seq not in state.subjects:
            charges.add(entry.seq)
    return holds, charges


def check_stands(ledger: Ledger, command: Command, made: Entry, at: int) -> None:
    """Raise HoldEnded where what an entry made for this very command does not stand any more."""
    if isinstance(command, (Hold, Extend)):
        name = command.key if isinstance(command, Hold) else command.hold
        _check_hold(ledger, command, name, max(at, ledger.account.watermark, ledger.terms.now))
    elif isinstance(command, (StartRun, ResumeRun)):
        _check_run(ledger, command)
    elif isinstance(command, Deduct):
        story = ledger.state.charges.get(made.seq)
        # One that costs nothing stands unless its usage was undone: that of others may have
        # been, and it be what costs less for that.
        undone = f"undone:{made.seq}" in ledger.state.entries
        if story is not None and story.amount <= story.reversed and (story.amount or undone):
            raise HoldEnded(
                command.org, command.key, "charge", str(made.seq), "reversed",
                charges=(made.seq,), charged=made.amount, retryable=True,
            )  # fmt: skip


def _check_hold(ledger: Ledger, command: Hold | Extend, name: str, time: int) -> None:
    """By the clock, too: what nobody has swept yet has expired all the same."""
    hold = ledger.state.holds[name]
    if hold.state == "open" and time < hold.expires_at:
        return
    if hold.state == "open":
        ledger.believe(hold.expires_at)
    ended = _ENDED.get(hold.state, "expired")
    used = hold.used
    raise HoldEnded(
        command.org, command.key, "hold", name, ended,
        charges=() if used is None else used.charges,
        charged=None if used is None else used.amount,
        retryable=ended != "settled" and used is not None and not used.amount,
    )  # fmt: skip


_ENDED: Mapping[str, EndedState] = {"settled": "settled", "released": "released"}


def _check_run(ledger: Ledger, command: StartRun | ResumeRun) -> None:
    run = ledger.state.runs[command.run]
    hold = ledger.state.holds[run.item]
    if run.ended_at is None and hold.state == "open":
        return
    ended = "released" if run.ended_at is None else _STOPPED[run.state]
    raise HoldEnded(
        command.org, command.key, "run", run.run, ended,
        charges=tuple(tab.charge for tab in run.tabs),
        charged=sum(tab.amount - tab.forgiven for tab in run.tabs),
    )  # fmt: skip


_STOPPED: Mapping[str, EndedState] = {
    "pending": "stopped", "settled": "settled", "forgiven": "forgiven",
}  # fmt: skip
