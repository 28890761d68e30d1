"""A batch of commands: what callers may give as one, and how it is decided in a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from billing_core.commands.base import Command
from billing_core.commands.outcomes import Outcome, Success
from billing_core.decide import decide, widened
from billing_core.errors import InvalidCommand
from billing_core.ledger.inputs import NeedMore, Terms
from billing_core.ports.state import Wanted
from billing_core.ports.store import Stale, Transaction

__all__ = ["check_batch_size", "checked_batch", "decide_within", "each_of"]


def check_batch_size(batch: int) -> None:
    if type(batch) is not int or not 1 <= batch <= 10_000:
        raise InvalidCommand("batch", batch, "an int from 1 to 10,000")


def each_of(commands: Iterable[Command]) -> Iterator[Command]:
    """The commands one by one; raises InvalidCommand at once for what has none."""
    if not isinstance(commands, Iterable):
        raise _no_commands(commands)
    return iter(commands)


def checked_batch(commands: Iterable[Command]) -> list[Command]:
    """The commands as a list; raises InvalidCommand for anything else."""
    if not isinstance(commands, (list, Iterable)):  # which answers for a list at once
        raise _no_commands(commands)
    batch = list(commands)
    for command in batch:
        if not isinstance(command, Command):
            raise InvalidCommand("commands", command, "commands, such as Settle(...)")
    return batch


def _no_commands(given: object) -> InvalidCommand:
    return InvalidCommand("commands", given, "commands, such as [Settle(...)]")


def decide_within(
    transaction: Transaction, wants: dict[str, Wanted], batch: Sequence[Command], terms: Terms
) -> list[Outcome]:
    """The outcomes of a batch, committed: from what the store remembers, or
    else from what it loads."""
    outcomes = _from_memory(transaction, wants, batch, terms)
    while outcomes is None:
        try:
            loaded = transaction.load(wants)
            while widened(wants, loaded, terms):
                loaded = transaction.load(wants)
            decided, changes = decide(loaded, batch, terms)
            if changes:
                transaction.commit(changes)
            outcomes = decided
        except NeedMore as need:
            if need.org is None:
                raise
            need.widen(wants)
        except Stale:
            continue
    return outcomes


def _from_memory(
    transaction: Transaction, wants: Mapping[str, Wanted], batch: Sequence[Command], terms: Terms
) -> list[Outcome] | None:
    """The outcomes of commands that all succeed on what the store remembers; None where one
    does not.  A refusal, a replay, or that nothing was due is not told from memory: no commit
    confirms it."""
    recalled = transaction.recall(wants)
    if recalled is None or widened(wants, recalled, terms):
        return None
    try:
        outcomes, changes = decide(recalled, batch, terms)
        for each in outcomes:
            if not isinstance(each, Success):
                return None
        if changes.keys() != wants.keys():
            return None
        transaction.commit(changes)
    except (NeedMore, Stale):
        return None
    return outcomes
