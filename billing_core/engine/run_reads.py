"""The reads of sandbox runs and storage.

What only a report needs is imported by the report: a service that charges starts sooner.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from billing_core.charging.limits import Use
from billing_core.commands.base import Command
from billing_core.commands.runs import Heartbeat, StartRun
from billing_core.decide import wanted
from billing_core.engine.reads import Reads
from billing_core.errors import InvalidCommand, NotFound
from billing_core.ledger.ledger import Ledger
from billing_core.ports.state import Wanted
from billing_core.records.runs import Run
from billing_core.values.text import checked_name
from billing_core.values.times import Window, duration
from billing_core.values.usage import Usage

if TYPE_CHECKING:
    from billing_core.reports.usage import Running
    from billing_core.runs.views import RunQuote, RunView
    from billing_core.storage.views import StorageRoom, StorageView

__all__ = ["TimeReads"]

_LONG = timedelta(days=3652)


class TimeReads(Reads):
    """What can be asked of runs and storage; :class:`Billing` has it."""

    def quote_run(
        self,
        org: str,
        spec: Usage,
        span: timedelta | None = None,
        *,
        member: str | None = None,
        project: str | None = None,
    ) -> RunQuote:
        """What a run that starts now can cost at most for a span of running time, or, with
        none, how long the credit lasts (for ten years at most), under what is published."""
        from billing_core.runs.views import quoted

        now = self.clock()
        command = StartRun(org, "quote", spec=spec, member=member, project=project)
        us = duration("span", _LONG if span is None else span)

        def answer(ledger: Ledger) -> RunQuote:
            who = 0 if member is None else ledger.state.members.get(member, -1)
            use = Use(who, project, spec.resource, now, max(now, ledger.account.watermark))
            return quoted(ledger, use, spec, us, bounded=span is not None)

        return self._ask(command, now, answer)

    def run(self, org: str, run: str) -> RunView:
        """A run as it stands, with an estimate of what is not posted yet."""
        from billing_core.runs.views import run_view

        now = self.clock()
        command: Command = Heartbeat(org, "view", run=run)

        def answer(ledger: Ledger) -> RunView:
            found = ledger.state.runs.get(run)
            if found is None:
                raise NotFound("run", run, "a run is named by the key of its start")
            names = self._names(org, [found.member])
            return run_view(ledger, found, names.get(found.member), now)

        return self._asked(org, wanted([command], now)[org], now, answer)

    def runs(self, org: str, *, unsettled: bool = True) -> list[RunView]:
        """The runs that are active, suspended or pending, by name, or all that there ever were."""
        from billing_core.runs.views import run_view

        now = self.clock()
        found = list(self.store.runs(checked_name("org", org), unsettled=unsettled))
        names = self._names(org, [run.member for run in found])
        return self._asked(
            org,
            _want(found, now),
            now,
            lambda ledger: [
                run_view(ledger, run, names.get(run.member), now)
                for run in ledger.state.runs.values()
            ],
        )

    def _running(self, org: str, span: Window, member: int | None) -> list[Running]:
        """What of the runs' time in a window is not posted yet."""
        found = [
            run
            for run in self.store.runs(org, unsettled=True)
            if member in (None, run.member) and run.started_at < span.end
        ]
        if not found:
            return []
        from billing_core.runs.views import running

        now = self.clock()
        window = Window(span.start, min(span.end, now))
        return self._asked(
            org,
            _want(found, now),
            now,
            lambda ledger: [running(ledger, run, window) for run in ledger.state.runs.values()],
        )

    def storage(self, org: str) -> list[StorageView]:
        """The workspaces, by name.  Raises NotFound."""
        from billing_core.storage.views import storage_view

        found = [storage_view(each) for each in self.store.storages(checked_name("org", org))]
        if not found:
            self._account(org)  # raises NotFound
        return found

    def storage_room(self, org: str, workspace: str, size: int) -> StorageRoom:
        """Whether a workspace may have ``size`` bytes, and what is left: asked before a write."""
        from billing_core.storage.views import storage_room

        checked_name("workspace", workspace)
        if type(size) is not int or size < 0:
            raise InvalidCommand("size", size, "bytes: an int of zero or more")
        sizes = {each.workspace: each.size for each in self.store.storages(org)}
        now = self.clock()
        ledger = self._projected(org, now=now)
        return storage_room(ledger, workspace, size, sizes, max(now, ledger.account.watermark))


def _want(runs: Iterable[Run], now: int) -> Wanted:
    want = Wanted(until=now)
    want.runs = {run.run: (now, now) for run in runs}
    return want
