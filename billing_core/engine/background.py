"""Background work: whatever is due, by any number of workers at once.

Nothing here holds anybody up: what is due is found by scans without locks, and taken one
at a time, for a lease, by an update of its org alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from billing_core.commands.outcomes import Changed, Refused, TopUpUpdated
from billing_core.commands.topups import ClaimTopUp, Lapse, RecordTopUp
from billing_core.engine.background_pass import SLICE, Failure, Pass, Pending, in_turn
from billing_core.engine.clock_check import ClockCheck
from billing_core.engine.lookups import events_with_names, topup_record
from billing_core.engine.topups import Do, TopUps
from billing_core.errors import BillingError, InvalidCommand, NotFound, PaymentError
from billing_core.ports.clock import Clock, IdSource
from billing_core.ports.store import Store
from billing_core.records.events import Event
from billing_core.values.times import DAY, micros, moment

if TYPE_CHECKING:
    from billing_core.ports.payments import Notice, Page, PaymentProvider

__all__ = ["Deliver", "Delivery", "Failure", "Pending", "Work"]

_MINUTE = 60_000_000
_SWEEP_EVERY = 5 * _MINUTE
_SLACK = 10 * _MINUTE  # news can be listed late
_DELIVERY = 5 * _MINUTE  # for how long a deliverer has an org's events to itself
_PAUSE = _MINUTE  # after a delivery, or a sweep, that failed
_LOOKED_AT = 1000  # top-ups among which the orgs take turns


@frozen
class Delivery:
    """An event that is delivered to your service, at least once and in order for each org (rule
    9.4).

    Attributes:
        id: Names the event; it is the same each time that the event is delivered.
        org: Whose event it is.
        kind: What has happened, such as ``low_balance``.
        data: What belongs to this kind; the page on events has the fields.  Amounts are in nanos.
    """

    id: str
    org: str
    kind: str
    data: Mapping[str, Any]


Deliver = Callable[[Delivery], object]
"""Takes an event; one that raises gets it again later."""


@define
class _Sweep:
    """A sweep under way: what is listed so far, and what of it is not heeded yet."""

    begun: int
    heard: int | None
    cursor: str | None = None
    first: Page[Notice] | None = None
    listed: bool = False
    news: dict[tuple[str, str], tuple[str | None, Notice]] = field(factory=dict)
    left: list[tuple[str | None, Notice]] = field(factory=list)
    again: set[tuple[str, str]] = field(factory=set)
    complete: bool = True


class Work:
    """What one engine does in the background."""

    def __init__(
        self, store: Store, clock: Clock, ids: IdSource, clock_check: ClockCheck, do: Do
    ) -> None:
        self.store = store
        self.clock = clock
        self.ids = ids
        self._clock_check = clock_check
        self._do = do
        # Whom this engine served last, for the next to come first; another keeps its own.
        self._passes = 0
        self._served: dict[str, int] = {}
        self._stuck: set[str] = set()
        self._sweeps: list[_Sweep] = []  # begun, and nobody is at them
        self._sweep_from = 0

    def one_pass(
        self, limit: int, until: datetime | None, deliver: Deliver | None, topups: TopUps | None
    ) -> Pending:
        """See :meth:`Billing.run_pending`; ``topups``: None where there is no provider."""
        if type(limit) is not int or limit < 1:
            raise InvalidCommand("limit", limit, "an int of 1 or more")
        run = Pass(None if until is None else micros("until", until), self.clock)
        self._passes += 1
        doubt = self._clock_check.doubt()
        if doubt is not None:
            # Leases, tries and marks last until their time, which would be far ahead.
            run.pending.failures.append(Failure(None, "top-ups, news and events", doubt))
        self._lapse(run, limit)
        if doubt is not None:
            return run.pending
        self._deliver_all(run, limit, deliver)
        if topups is not None:
            # Each comes first in turn: the other may be what is not answered.
            order = (True, False) if self._passes % 2 else (False, True)
            for due in order:
                run.begins()
                if due:
                    self._see_to_all(run, limit, topups)
                else:
                    self._sweep(run, topups)
            if run.pending.topups or run.pending.news:
                self._deliver_all(run, limit, deliver)
        return run.pending

    # -- what lapses ------------------------------------------------------------

    def _lapse(self, run: Pass, limit: int) -> None:
        """Orgs that fail come last, and those in which nothing is to be recorded yet: a lot of
        theirs has ended, of which all is held.  No number of them keeps others waiting."""
        run.begins()
        before = frozenset(self._stuck)
        while True:
            most = limit + len(self._stuck)
            due = self.store.lapsing(self.clock(), most)
            new = [org for org in due if org not in self._stuck]
            for org in run.each(new):
                self._lapse_of(run, org)
            if not new or len(due) < most or run.pending.lapsed >= limit or not run.goes_on():
                break
        self._stuck.intersection_update(due)
        for org in run.each(sorted(before & self._stuck)):
            self._lapse_of(run, org)

    def _lapse_of(self, run: Pass, org: str) -> None:
        lapsed = False
        with run.failing(org, "lapses"):
            lapsed = self._has_lapsed(org)
        run.pending.lapsed += lapsed
        (self._stuck.discard if lapsed else self._stuck.add)(org)

    def _has_lapsed(self, org: str) -> bool:
        """Put on record what has lapsed; whether anything had."""
        try:
            self._do(Lapse(org), Changed)
        except BillingError as error:
            if refused_for(error, "not_due"):
                return False
            raise
        return True

    # -- top-ups ----------------------------------------------------------------

    def _see_to_all(self, run: Pass, limit: int, topups: TopUps) -> None:
        now, most = self.clock(), max(limit, _LOOKED_AT)
        due = self.store.due_topups(now, most, livemode=topups.provider.livemode)
        orgs = list(dict.fromkeys(org for org, _ in due))
        served = {org: self._served[org] for org in orgs if org in self._served}
        if orgs and not served:  # as in a process that makes one pass and ends
            served = dict.fromkeys(orgs[: now // 1_000_000 % len(orgs)], 1)
        for org, topup in islice(in_turn(due, served), limit):
            if not run.asks():
                break
            served[org] = self._passes
            with run.failing(org, f"top-up {topup}"):
                run.pending.topups += self._see_to(run, topups, org, topup)
        self._served = served

    def _see_to(self, run: Pass, topups: TopUps, org: str, topup: str) -> bool:
        """Whether this worker had it to itself."""
        try:
            self._do(ClaimTopUp(org, topup), TopUpUpdated)
        except BillingError as error:
            if refused_for(error, "not_due") or refused_for(error, "dropped"):
                return False
            raise
        known = topup_record(self.store, org, topup)
        if known.kind == "auto" and known.payment is None:
            topups.attempt(org, known)
        elif known.payment is None and known.checkout is None:
            self._do(RecordTopUp(org, topup, failed="no page was opened"), TopUpUpdated)
        else:
            topups.fulfil(org, topup)
        known = topup_record(self.store, org, topup)
        asked = [each.key for each in known.refunds if each.state == "asked"]
        turn = known.tries % max(1, len(asked))  # one that fails each time is not always first
        for refund in (*asked[turn:], *asked[:turn]):
            if run.asks():  # else when it is due again
                with run.failing(org, f"refund {refund}"):
                    topups.refund(org, topup, refund)
        return True

    # -- news -------------------------------------------------------------------

    def _sweep(self, run: Pass, topups: TopUps) -> None:
        """Heed all news since the last sweep, whether or not webhooks brought it.

        ``heard`` is how far it was read, by the provider's own clock, as its news is dated;
        ``swept`` is when, by ours, and only says that it is time again.  A sweep that takes
        more time than a pass has goes on in the next.
        """
        if not run.asks():
            return
        provider = topups.provider
        try:
            sweep = self._sweeps.pop()
        except IndexError:
            if self._due_to_sweep(provider):
                sweep = _Sweep(self.clock(), self._heard(_mode(provider)))
            else:
                return
        if not self._list_news(run, sweep, provider) or not self._heed_all(run, sweep, topups):
            self._sweeps.append(sweep)
        elif not self._swept(run, sweep, provider):
            self._sweep_from = self.clock() + _PAUSE

    def _due_to_sweep(self, provider: PaymentProvider) -> bool:
        now, swept = self.clock(), self.store.mark(f"swept:{_mode(provider)}")
        if 0 < self._sweep_from - now <= _PAUSE:
            return False
        return swept is None or not 0 <= now - swept < _SWEEP_EVERY

    def _list_news(self, run: Pass, sweep: _Sweep, provider: PaymentProvider) -> bool:
        """List all of it; whether there is time for more.  A list that fails is listed no
        further: what is on it is heeded, and the sweep is not complete."""
        while not sweep.listed:
            if not run.asks():
                return False
            with run.failing(None, "the list of news") as worked:
                page = provider.notices(sweep.heard or 0, cursor=sweep.cursor)
                for notice in page.items:
                    if notice.kind != "ignored":
                        sweep.news[_about(notice)] = self._concerns(notice), notice
                sweep.first, sweep.cursor = sweep.first or page, page.next
                if page.unreadable:
                    # Told, and gone past: to ask again would say the same.
                    run.pending.failures.append(Failure(None, "news", _unreadable(page)))
            sweep.complete = worked.well
            sweep.listed = sweep.cursor is None or not worked.well
        if sweep.news:
            sweep.left, sweep.news = in_turn(sweep.news.values(), {})[::-1], {}
        return True

    def _concerns(self, notice: Notice) -> str | None:
        """The org that news is about, as far as the records tell."""
        if notice.checkout is None and notice.payment is None:
            return None
        whose = self.store.topup_of(payment=notice.payment, checkout=notice.checkout)
        return None if whose is None else whose[0]

    def _heed_all(self, run: Pass, sweep: _Sweep, topups: TopUps) -> bool:
        """Whether all of it was heeded, or has failed."""
        while sweep.left:
            if not run.asks():
                return False
            org, notice = sweep.left.pop()
            about = _about(notice)
            with run.failing(org, f"news of {about[1]}") as worked:
                topups.heed(notice)
            run.pending.news += worked.well
            if not run.answers and about not in sweep.again:
                sweep.again.add(about)
                sweep.left.insert(0, (org, notice))
                continue
            # An order that is not on record will not come to be by asking again.
            sweep.complete &= worked.well or isinstance(worked.error, NotFound)
        return True

    def _swept(self, run: Pass, sweep: _Sweep, provider: PaymentProvider) -> bool:
        """Mark how far it came; whether it was all heeded."""
        mode, heard, reached = _mode(provider), sweep.heard, _reached(sweep)
        if heard is not None and reached is not None and reached - heard > provider.news_kept:
            with run.failing(None, "news"):
                raise _lost(heard, reached - provider.news_kept)
        if sweep.complete:
            self.store.set_mark(f"swept:{mode}", sweep.begun)
            if reached is not None:
                self.store.set_mark(f"heard:{mode}", reached - _SLACK)
        return sweep.complete

    def _heard(self, mode: str) -> int | None:
        """Until when all news was heard, by the provider's clock."""
        heard = self.store.mark(f"heard:{mode}")
        if heard is None:
            # The version before went by a clock of ours, which was a day off at most.
            before = self.store.mark(f"news:{mode}")
            heard = None if before is None else before - DAY
        return heard

    # -- events -----------------------------------------------------------------

    def _deliver_all(self, run: Pass, limit: int, deliver: Deliver | None) -> None:
        if deliver is not None:
            run.begins()
            for org in run.each(self.store.undelivered(self.clock(), limit)):
                self._deliver(run, org, deliver, limit)

    def _deliver(self, run: Pass, org: str, deliver: Deliver, limit: int) -> None:
        """Deliver an org's events, in order, as long as this worker has them to itself."""
        name, now = self.ids(), self.clock()
        if not self.store.lease_events(org, name, now, now + _DELIVERY):
            return
        well, begun = True, False
        for event in events_with_names(self.store, org, self.store.waiting_events(org, limit)):
            if begun and (self.clock() >= now + SLICE or not run.goes_on()):
                run.pending.more = True  # it is others' turn
                break
            begun = True
            with run.failing(org, f"event {event.seq}/{event.n}") as worked:
                deliver(_delivery(org, event))
            well = worked.well
            if not well or not self.store.delivered(org, name, event.seq, event.n):
                break
            run.pending.delivered += 1
        now = self.clock()
        self.store.lease_events(org, name, now, now if well else now + _PAUSE)


def _mode(provider: PaymentProvider) -> str:
    return "live" if provider.livemode else "test"


def _reached(sweep: _Sweep) -> int | None:
    """Until when all news is listed, by the provider's clock, if it can be told.

    It is when the provider made the list, as far as our own clock or the news bears it out:
    further, news that is to come would be passed over.
    """
    first, now = sweep.first, sweep.begun
    if first is None:
        return None
    newest = max((each.created for each in first.items), default=None)
    if first.at is None:
        return newest
    return min(first.at, max(now, newest or now))


def _lost(start: int, end: int) -> PaymentError:
    span = f"{moment(start):%Y-%m-%d %H:%M} to {moment(end):%Y-%m-%d %H:%M} UTC"
    return PaymentError(
        f"what the provider told from {span} may be lost: it keeps news no longer. Call reconcile "
        "for the time that the payments are of, and read_back for each top-up that differs",
        kind="unavailable",
    )


def _unreadable(page: Page[Notice]) -> PaymentError:
    return PaymentError(
        f"the provider told what cannot be read: {', '.join(page.unreadable)}. Nothing was done "
        "for it. Look at it there; reconcile names each top-up that differs, read_back mends it",
        kind="unavailable",
    )


def _about(notice: Notice) -> tuple[str, str]:
    """What is to be read back: once, however much news of it there is."""
    if notice.checkout is not None:
        return "checkout", notice.checkout
    if notice.payment is not None:
        return "payment", notice.payment
    return notice.kind, notice.method or notice.event


def _delivery(org: str, event: Event) -> Delivery:
    return Delivery(f"{org}/{event.seq}/{event.n}", org, event.kind, json.loads(event.data))


def refused_for(error: BillingError, reason: str) -> bool:
    """Whether an error is a refusal for a reason."""
    return isinstance(error, Refused) and error.refusal.reason == reason
