"""What customers and admins read: history, usage by period, the balance as it was.

What only a report needs is imported by the report: a service that charges starts sooner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from billing_core.engine.catalogue_cache import Prices
from billing_core.errors import InvalidCommand, NotFound
from billing_core.ports.clock import Clock
from billing_core.ports.state import Wanted
from billing_core.ports.store import Store
from billing_core.records.ledger import Account
from billing_core.records.rollups import Span, Sums, cover
from billing_core.values.text import checked_name
from billing_core.values.times import (
    DAY,
    PeriodName,
    Window,
    billing_period,
    micros,
    moment,
    window,
)

if TYPE_CHECKING:
    from billing_core.reports.statements import Expiry, HistoryPage, HistoryRow
    from billing_core.reports.usage import DayUsage, Running, UsageReport

__all__ = ["Reports", "check_seq"]

_SCAN = 2_000  # entries looked at for one page


class Reports:
    """The reads whose rows a customer sees."""

    store: Store
    clock: Clock
    _prices: Prices

    def _account(self, org: str) -> Account:
        account = self.store.snapshot({checked_name("org", org): Wanted(until=0)})[org].account
        if account is None:
            raise NotFound("org", org, "it has no account; open it first")
        return account

    # -- history ----------------------------------------------------------------

    def expiries(self, org: str, *, since: datetime, until: datetime | None = None) -> list[Expiry]:
        """What expired in a half-open span of the times of decision and was not brought back,
        oldest first: what a wrong clock ended is dated ahead of its time, and
        :meth:`Billing.undo_expiry` undoes it."""
        from billing_core.charging.restoration import expired_by
        from billing_core.reports.statements import Expiry

        account = self._account(org)
        after = self._first_at(org, account, micros("since", since)) - 1
        end = None if until is None else micros("until", until)
        found: list[Expiry] = []
        while entries := self.store.entries(org, after=after, limit=500):
            for entry in entries:
                if end is not None and entry.at >= end:
                    return found
                lots = expired_by(entry)
                if lots and self.store.entry(org, f"restore:{entry.seq}") is None:
                    at, recorded_at = moment(entry.at), moment(entry.recorded_at)
                    amount = sum(lots.values())
                    found.append(Expiry(entry.seq, at, recorded_at, amount, lots))
            after = entries[-1].seq
        return found

    def history(
        self,
        org: str,
        *,
        limit: int = 100,
        before: int | None = None,
        types: Iterable[str] | None = None,
        resource: str | None = None,
        member: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> HistoryPage:
        """What moved the balance, newest first, in pages: go on with ``before=page.next``.

        ``types``: of :class:`HistoryRow`.  ``since`` and ``until``: a half-open span of
        the times of decision.  A page may have fewer rows than ``limit``, even none, where
        few entries meet the filter; the last page's ``next`` is None.
        """
        from billing_core.decide import OPERATIONS
        from billing_core.reports.statements import HISTORY_TYPES, HistoryPage, history_row

        if type(limit) is not int or not 1 <= limit <= 500:
            raise InvalidCommand("limit", limit, "an int from 1 to 500")
        check_seq("before", before)
        wanted = None if types is None else set(types)
        if wanted is not None and not wanted <= HISTORY_TYPES:
            raise InvalidCommand("types", types, f"some of {', '.join(sorted(HISTORY_TYPES))}")
        account = self._account(org)
        number = None if member is None else self._member(org, member)
        if until is not None:
            last = self._first_at(org, account, micros("until", until))
            before = last if before is None else min(before, last)
        first = 0 if since is None else self._first_at(org, account, micros("since", since))
        # Charges are most of a journal: what asks for none of them reads none.
        charges = wanted is None or "usage" in wanted
        rows: list[HistoryRow] = []
        looked = 0
        while True:
            entries = self.store.history(org, before=before, limit=limit, charges=charges)
            for entry in entries:
                if entry.seq < first:
                    return HistoryPage(tuple(rows), None)
                before = entry.seq
                row = history_row(entry, OPERATIONS)
                used = entry.usage
                if (
                    (wanted is None or row.type in wanted)
                    and (resource is None or row.resource == resource)
                    and (number is None or (used is not None and used.member == number))
                ):
                    rows.append(row)
                    if len(rows) == limit:
                        return HistoryPage(tuple(rows), before)
            looked += len(entries)
            if len(entries) < limit:
                return HistoryPage(tuple(rows), None)
            if looked >= _SCAN:
                return HistoryPage(tuple(rows), before)

    def _member(self, org: str, name: str) -> int:
        """The surrogate id of a member; -1 for one that is unknown."""
        wanted = Wanted(until=0, members={checked_name("member", name)})
        return self.store.snapshot({org: wanted})[org].members.get(name, -1)

    def _names(self, org: str, numbers: Iterable[int]) -> Mapping[int, str]:
        """The names of some members, by surrogate id: of no others, of whom there can be very
        many.  0 is usage without a member, and has none."""
        some = {number for number in numbers if number > 0}
        return self.store.members(org, sorted(some)) if some else {}

    def _first_at(self, org: str, account: Account, time: int, *, recorded: bool = False) -> int:
        """The number of the first entry decided (or recorded) at a time or after it: both
        times only grow, so that few entries need be read."""
        low, high = 1, account.seq + 1
        while low < high:
            middle = (low + high) // 2
            [entry] = self.store.entries(org, after=middle - 1, limit=1)
            if (entry.recorded_at if recorded else entry.at) < time:
                low = middle + 1
            else:
                high = middle
        return low

    def balance_as_of(
        self, org: str, effective: datetime, *, recorded: datetime | None = None
    ) -> int:
        """The balance, in nanos, at an ``effective`` time, as known at a ``recorded`` time
        (default: as known now): the sum of the transfers posted by both.

        What had lapsed by then and was recorded later is not in it: no decision uses it.
        """
        account = self._account(org)
        # The first microsecond after each time.
        number = self._first_at(org, account, micros("effective", effective) + 1)
        if recorded is not None:
            after = micros("recorded", recorded) + 1
            number = min(number, self._first_at(org, account, after, recorded=True))
        if number == 1:
            return 0
        [entry] = self.store.entries(org, after=number - 2, limit=1)
        return entry.balance

    # -- usage ------------------------------------------------------------------

    def usage(
        self, org: str, period: PeriodName = "current", *, member: str | None = None
    ) -> UsageReport:
        """Usage over a period, of all members or of one, whole and by member."""
        from billing_core.reports.usage import report

        account, span, reached, only = self._asked_for(org, period, member)
        if period == "current":
            spans = [Span("period", *span)]
        elif period == "all_time":
            spans = cover(reached, partial(billing_period, account.anchor))
        else:
            spans = cover(span)
        sums = self.store.usage_sums(org, spans, only)
        open_runs = self._running(org, span, only)
        if member is None or only is None:
            users = {used for used, _, _ in sums.cells}
            names = self._names(org, users | {run.member for run in open_runs})
        else:
            names = {only: member}
        unit_of = self._unit(account)
        return report(org, account.currency, period, span, sums, names, unit_of, open_runs)

    def _running(self, org: str, span: Window, member: int | None) -> list[Running]:
        """What of the runs' time in a window is not posted yet."""
        raise NotImplementedError

    def usage_by_day(
        self, org: str, period: PeriodName = "30d", *, member: str | None = None
    ) -> tuple[DayUsage, ...]:
        """Usage over a period by UTC day, oldest first, of all members or of one.

        The first and the last day may be parts of days, as the period is.
        """
        from billing_core.reports.usage import by_day

        account, _, span, only = self._asked_for(org, period, member)
        days: dict[int, Sums] = {}
        for grain, start, end in cover(span):
            if grain is None:
                for _, record in self.store.usage(org, start, end, only):
                    day = record.occurred_at - record.occurred_at % DAY
                    days.setdefault(day, Sums()).add_record(record._replace(member=0))
            else:
                for key, cell in self.store.cells(org, grain, start, end, only).items():
                    day = key.start - key.start % DAY
                    days.setdefault(day, Sums()).add(0, key.resource, key.payer, cell)
        return by_day(days, self._unit(account))

    def _asked_for(
        self, org: str, period: PeriodName, member: str | None
    ) -> tuple[Account, Window, Window, int | None]:
        """The account, the period as it is said, as far as it reaches, and the member."""
        now = self.clock()
        account = self._account(org)
        span = window(period, anchor=account.anchor, opened=account.opened_at, now=now)
        if period == "all_time":
            # Usage may be recorded of a time before the opening: by whole billing periods.
            early = self.store.cells(org, "period", -(2**62), span.start)
            span = span._replace(start=min((key.start for key in early), default=span.start))
        reached = span
        if period == "all_time":
            # Of this very moment too, and of times that are yet to come by this clock.
            late = self.store.cells(org, "period", billing_period(account.anchor, now).start, 2**62)
            ends = [billing_period(account.anchor, key.start).end for key in late]
            reached = span._replace(end=max(ends, default=now))
        return account, span, reached, None if member is None else self._member(org, member)

    def _unit(self, account: Account) -> partial[str]:
        return partial(self._prices.known(self.clock()).unit, account.currency)


def check_seq(field: str, seq: object) -> None:
    if seq is not None and (type(seq) is not int or not -(2**63) <= seq < 2**63):
        raise InvalidCommand(field, seq, "a sequence number")
