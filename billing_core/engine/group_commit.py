"""Group commit: concurrent callers share one transaction.

Whoever comes first leads: takes every waiting call, runs them as one batch, and hands
the outcomes out; the rest ride along, asleep.  When the batch is done, the first of
those that came meanwhile is woken to lead the next.  There is no thread of its own, so
it survives a fork, and a leader that dies or is interrupted strands nobody: what it had
taken is put back, and since every command carries its key, running it again is safe.

Grouping commits is as old as the write-ahead log (Gawlick and Kinkade, "Varieties of
concurrency control in IMS/VS Fast Path", 1985).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from itertools import pairwise
from time import monotonic

from billing_core.commands.base import Command
from billing_core.commands.outcomes import Outcome
from billing_core.errors import ClockDoubt, StoreError

__all__ = ["SLOW", "Coalescer", "Execute", "Submission"]

Execute = Callable[[Sequence[Command]], list[Outcome]]
"""Decides commands in one transaction; raises StoreError."""

_MOST = 1000  # commands in a batch, unless one call alone has more
_GATHER = 0.001  # seconds that a leader waits for as many callers as there just were
_IN_VAIN = 3  # calls that wait for the store one after another, where it does not answer
_LOOK = 0.02  # seconds after which a sleeper looks whether its leader is still alive
SLOW = 0.01  # seconds after which a batch may be waiting for a lock, and nobody waits for it


class Submission:
    """Commands that stand or fall together, and what became of them."""

    __slots__ = ("commands", "error", "outcomes")

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = commands
        self.outcomes: list[Outcome] | None = None
        self.error: Exception | None = None

    def result(self) -> list[Outcome]:
        """The outcomes; raises the error."""
        if self.error is not None:
            raise _own(self.error)
        assert self.outcomes is not None, "asked for before it was done"
        return self.outcomes


class _Call:
    """One thread's parts: it sleeps, or leads, until all are done."""

    __slots__ = (
        "after", "batch", "commands", "done", "gate", "leads", "led", "orgs", "parts", "thread",
    )  # fmt: skip

    def __init__(self, parts: Sequence[Submission]) -> None:
        self.parts = parts
        self.commands = parts[0].commands
        if len(parts) > 1:
            self.commands = [command for part in parts for command in part.commands]
        self.orgs = {command.org for command in self.commands}
        self.done = False
        self.leads = False
        self.led = 0.0  # when it was let lead
        self.batch: list[_Call] | None = None  # of a leader: what it has taken
        self.after: _Call | None = None  # whom to wake when it is done
        self.thread = threading.current_thread()
        self.gate = threading.Lock()
        self.gate.acquire()

    def wake(self) -> None:
        if self.gate.locked():
            self.gate.release()


class Coalescer:
    """Runs calls in shared batches: one after another, but ``width`` at once where they take
    long, never two with an org in common."""

    def __init__(self, run: Execute, *, width: int) -> None:
        self._run = run
        self._width = width
        self._reset()
        _ALL.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._leaders: list[_Call] = []
        self._busy: set[str] = set()
        self._expected = 1
        self._gathering: _Call | None = None

    def submit(self, commands: Sequence[Command]) -> list[Outcome]:
        """The outcomes of one caller's commands, decided together and in order."""
        part = Submission(commands)
        self.finish([part])
        return part.result()

    def finish(self, parts: Sequence[Submission]) -> None:
        """Return when every part has its outcomes or its error."""
        call = _Call(parts)
        try:
            self._join(call)
            while not call.done:
                if call.batch is not None:
                    self._execute(call, call.batch)
                elif call.leads:
                    self._lead(call)
                else:
                    self._sleep(call)
            self._leave(call)
        except BaseException:
            # Interrupted: a second interrupt while leaving must strand nobody either.
            try:
                self._leave(call)
            finally:
                self._leave(call)
            raise

    # -- joining and leaving ----------------------------------------------------

    def _join(self, call: _Call) -> None:
        with self._lock:
            if not self._waiting and not self._leaders and self._expected <= 1:
                call.leads = True  # alone, so nobody is waited for
                call.led = monotonic()
                self._leaders = [call]
                call.batch = [call]
                self._busy |= call.orgs
                return
            self._waiting.append(call)
            if self._gathering is not None:
                if len(self._waiting) >= self._expected:
                    self._gathering.wake()
            else:
                self._promote()

    def _promote(self) -> None:
        """Let the first waiting call that may go lead, if there is room for a leader.  One that
        may already, and has taken nothing yet, is not let again: it would fill two places."""
        if len(self._leaders) >= self._width or self._gathering is not None:
            return
        now = monotonic()
        if self._leaders and now - max(each.led for each in self._leaders) < SLOW:
            return  # a batch more at once is a smaller one
        ahead: set[str] = set()
        for call in self._waiting:
            if call.done:
                continue
            free = self._busy.isdisjoint(call.orgs) and ahead.isdisjoint(call.orgs)
            if free and not call.leads:
                call.leads = True
                call.led = now
                self._leaders.append(call)
                call.wake()
                return
            ahead |= call.orgs  # later calls for these orgs keep their order

    def _sleep(self, call: _Call) -> None:
        if call.gate.acquire(timeout=_LOOK):
            return
        with self._lock:
            for leader in [each for each in self._leaders if not each.thread.is_alive()]:
                self._step_down(leader)
            self._promote()

    def _leave(self, call: _Call) -> None:
        with self._lock:
            if call.leads:
                self._step_down(call)
            elif not call.done:
                self._waiting = deque(each for each in self._waiting if each is not call)
            call.done = True
            if call.after is not None:
                call.after.wake()
            if self._waiting:
                self._promote()

    def _step_down(self, leader: _Call) -> None:
        """Whatever a leader took and did not finish goes back to the front.

        Interrupted at any point it can be done again: ``leads`` is unset last.
        """
        if self._gathering is leader:
            self._gathering = None
        batch = leader.batch or [leader]
        if len(batch) > 1 or self._waiting:
            unfinished = [call for call in batch if not call.done and call is not leader]
            taken = set(batch)
            self._waiting = deque([*unfinished, *(c for c in self._waiting if c not in taken)])
        if leader.batch is not None:
            for call in batch:
                self._busy -= call.orgs
        # Each wakes the next: woken at once, they would all queue for the interpreter's lock,
        # at twice the processor's time. One that died is made up for by looking (_LOOK).
        if len(batch) > 1:
            done = [call for call in batch if call.done and call is not leader]
            for call, following in pairwise(done):
                call.after = following
            if done:
                done[0].wake()
        self._expected = len(batch) + len(self._waiting)
        self._leaders = [each for each in self._leaders if each is not leader]
        leader.batch = None
        leader.leads = False

    # -- leading ----------------------------------------------------------------

    def _lead(self, call: _Call) -> None:
        """Take who waits, and run them; but wait first, briefly, for as many callers as were in
        flight a moment ago: a leader that goes at once finds half of them still on their way
        back."""
        with self._lock:
            if len(self._waiting) < self._expected and self._gathering is None:
                self._gathering = call
                if not call.gate.locked():
                    call.gate.acquire()
            else:
                self._take(call)
        if call.batch is None:
            call.gate.acquire(timeout=_GATHER)
            with self._lock:
                if self._gathering is call:
                    self._gathering = None
                self._take(call)

    def _take(self, leader: _Call) -> None:
        leader.batch = batch = [leader]
        self._waiting.remove(leader)
        self._busy |= leader.orgs
        if not self._waiting:
            return
        room = _MOST - len(leader.commands)
        blocked = self._busy - leader.orgs
        left: deque[_Call] = deque()
        for call in self._waiting:
            if call.done:
                continue
            # One that was let lead at the same time takes its own.
            if not call.leads and room >= len(call.commands) and blocked.isdisjoint(call.orgs):
                room -= len(call.commands)
                batch.append(call)
                self._busy |= call.orgs
            else:
                blocked |= call.orgs  # later calls for these orgs keep their order
                left.append(call)
        self._waiting = left

    def _execute(self, leader: _Call, batch: list[_Call]) -> None:
        parts, commands = leader.parts, leader.commands
        if len(batch) > 1:
            parts = [part for call in batch for part in call.parts]
            commands = [command for call in batch for command in call.commands]
        try:
            outcomes = self._run(commands)
        except Exception as error:
            if len(parts) > 1 and not _same_for_all(error, self._width):
                self._one_by_one(parts)
            else:
                for part in parts:
                    part.error = error
        else:
            first = 0
            for part in parts:
                last = first + len(part.commands)
                part.outcomes = outcomes[first:last]
                first = last
        for call in batch:
            call.done = True

    def _one_by_one(self, parts: Sequence[Submission]) -> None:
        """Somebody's command is poison, or the commit failed: each alone, before anyone is
        told of a failure.  Where one waited in vain, nobody else waits for the same orgs; and
        after a few such nobody waits at all: then it is the store that does not answer."""
        stuck: dict[str, Exception] = {}
        in_vain = 0
        for part in parts:
            orgs = {command.org for command in part.commands}
            error = next((stuck[org] for org in orgs if org in stuck), None)
            if error is None and in_vain == _IN_VAIN:
                error = next(iter(stuck.values()))
            if error is None:
                self._alone(part)
                error = part.error
                if isinstance(error, StoreError) and _waited(error):
                    in_vain += 1
                    stuck.update(dict.fromkeys(orgs, error))
            else:
                part.error = error

    def _alone(self, part: Submission) -> None:
        try:
            part.outcomes = self._run(part.commands)
        except Exception as error:
            part.error = error


def _same_for_all(error: Exception, width: int) -> bool:
    """Whether every caller gets this error: an unknown outcome, after which each sends the same
    again; or a wait in vain for the lock of a store with one writer, which all of them need."""
    if not isinstance(error, StoreError):
        return False
    return error.outcome_unknown or (_waited(error) and width == 1)


def _waited(error: StoreError) -> bool:
    """Whether it was waited for the store, in vain: a doubt of the clock is told at once."""
    return error.retryable and not error.outcome_unknown and not isinstance(error, ClockDoubt)


def _own(error: Exception) -> Exception:
    """An error for one caller to raise: callers in other threads raise their own."""
    if isinstance(error, StoreError):
        mine = copy(error)
        mine.__cause__ = error.__cause__
        return mine
    return error


_ALL: weakref.WeakSet[Coalescer] = weakref.WeakSet()


def _after_fork() -> None:
    # The threads that waited or led are the parent's; so are their calls and the lock.
    for coalescer in list(_ALL):
        coalescer._reset()


os.register_at_fork(after_in_child=_after_fork)
