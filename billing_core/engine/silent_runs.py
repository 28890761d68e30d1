"""Runs that gave no sign of life, closed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from billing_core.commands.base import Command
from billing_core.commands.outcomes import RunStatus
from billing_core.commands.runs import CloseSilentRun
from billing_core.engine.group_commit import Submission
from billing_core.errors import StoreError
from billing_core.ports.store import Store
from billing_core.values.times import duration, moment

__all__ = ["SilentRuns"]


class SilentRuns:
    """Closes runs without a sign of life, of each org for itself: what cannot be closed, or an
    org that cannot be written to, keeps no other run open."""

    def __init__(self, store: Store, now: int, span: timedelta, limit: int) -> None:
        self._store = store
        self._before = now - duration("idle_for", span)
        self._limit = limit
        self._failed: set[tuple[str, str]] = set()
        self._error: Exception | None = None
        self._ended = False
        self.closed: list[RunStatus] = []

    def parts(self) -> list[Submission]:
        """The longest silent of those that have not failed, by org; none once enough are closed."""
        more = self._limit - len(self.closed)
        if self._ended or more <= 0:
            return []
        found = self._store.silent_runs(self._before, more + len(self._failed))
        since = moment(self._before)
        some: dict[str, list[Command]] = {}
        for org, run in [each for each in found if each not in self._failed][:more]:
            key = f"{run}@{self._before}"
            some.setdefault(org, []).append(CloseSilentRun(org, key, run=run, since=since))
        return [Submission(commands) for commands in some.values()]

    def done(self, parts: Sequence[Submission]) -> None:
        # The last round is one in which the store answered nobody, or did not answer.
        self._ended = all(_unanswered(part.error) for part in parts)
        for part in parts:
            for place, command in enumerate(part.commands):
                outcome = part.error if part.outcomes is None else part.outcomes[place]
                if isinstance(outcome, RunStatus):
                    self.closed.append(outcome)
                else:
                    assert isinstance(command, CloseSilentRun)
                    self._failed.add((command.org, command.run))
                    if isinstance(outcome, Exception):
                        self._error = self._error or outcome

    def result(self) -> list[RunStatus]:
        if self._error is not None and not self.closed:
            raise self._error
        return self.closed


def _unanswered(error: Exception | None) -> bool:
    return isinstance(error, StoreError) and error.retryable
