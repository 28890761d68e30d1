"""Background work: whatever is due, by any number of workers at once.

Nothing here holds anybody up: what is due is found by scans without locks, and taken one
at a time, for a lease, by an update of its org alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from billing_core.commands.outcomes import Changed, Recorded
from billing_core.commands.topups import ClaimTopUp, Lapse, LoseMethod, RecordTopUp
from billing_core.engine.background_pass import SLICE, Failure, Pass, Pending, in_turn
from billing_core.engine.clock_check import ClockCheck
from billing_core.engine.topups import MARGIN, TopUps, refused_for
from billing_core.errors import BillingError, InvalidCommand, NotFound, Outdated, PaymentError
from billing_core.ports.state import Wanted
from billing_core.records.events import Event
from billing_core.records.ledger import Account
from billing_core.records.topups import TopUp
from billing_core.topups.policy import may_be
from billing_core.values.times import DAY, micros, moment

if TYPE_CHECKING:
    from billing_core.ports.payments import (
        ChargeAttempt,
        Notice,
        Page,
        Payment,
        PaymentProvider,
    )
    from billing_core.topups.reconciliation import Reconciliation

__all__ = ["Deliver", "Delivery", "Failure", "Pending", "Work"]

_MINUTE = 60_000_000
_SWEEP_EVERY = 5 * _MINUTE
_SLACK = 10 * _MINUTE  # news can be listed late
_DELIVERY = 5 * _MINUTE  # for how long a deliverer has an org's events to itself
_PAUSE = _MINUTE  # after a delivery, or a sweep, that failed
_DOUBTS = 10  # payments that are named, of those that may be one
_LOOKED_AT = 1000  # top-ups among which the orgs take turns


@frozen
class Delivery:
    """An event on its way to the host.  ``id`` is the same each time it is delivered."""

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


class Work(TopUps):
    """What is done in the background."""

    _clock_check: ClockCheck

    def __init__(self) -> None:
        super().__init__()
        # Whom this engine served last, for the next to come first; another keeps its own.
        self._passes = 0
        self._served: dict[str, int] = {}
        self._stuck: set[str] = set()
        self._sweeps: list[_Sweep] = []  # begun, and nobody is at them
        self._sweep_from = 0

    def run_pending(
        self,
        limit: int = 100,
        until: datetime | None = None,
        *,
        deliver: Deliver | None = None,
    ) -> Pending:
        """Do what is due: what has lapsed, events for ``deliver``, automatic top-ups and lost
        answers, refunds, news that no webhook brought.

        One pass: at most about ``limit`` pieces of each kind, and none begun after ``until``,
        nor once its kind has had five seconds.  Call it again and again, from a thread, a cron
        or a queue, and at once where the answer says ``more``; any number may run at once.
        What fails is told in the answer, disturbs nothing else, and is tried again later.

        Orgs take turns, and a provider that has not answered is asked for nothing else in the
        same pass.  So, with one worker that calls it again and again: what lapses, and an
        event, wait 25 seconds and the last piece of each kind at most, however much other orgs
        have waiting, which is no longer than one call that hangs takes to give up (with Stripe,
        as it comes, about a minute) if the provider hangs; a top-up waits so long for each org
        that also has one due.  More workers wait less.  ``deliver`` is waited for.

        While the clock is in doubt (ClockDoubt, among the failures) it does no more than what
        has lapsed for certain.

        Events reach ``deliver`` at least once, in order per org; ``Delivery.id`` is for
        telling repetitions.
        """
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
        if self.payments is not None:
            # Each comes first in turn: the other may be what is not answered.
            order = (True, False) if self._passes % 2 else (False, True)
            for topups in order:
                run.begins()
                if topups:
                    self._see_to_all(run, limit, self.payments)
                else:
                    self._sweep(run, self.payments)
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

    def _see_to_all(self, run: Pass, limit: int, provider: PaymentProvider) -> None:
        now, most = self.clock(), max(limit, _LOOKED_AT)
        due = self.store.due_topups(now, most, livemode=provider.livemode)
        orgs = list(dict.fromkeys(org for org, _ in due))
        served = {org: self._served[org] for org in orgs if org in self._served}
        if orgs and not served:  # as in a process that makes one pass and ends
            served = dict.fromkeys(orgs[: now // 1_000_000 % len(orgs)], 1)
        for org, topup in islice(in_turn(due, served), limit):
            if not run.asks():
                break
            served[org] = self._passes
            with run.failing(org, f"top-up {topup}"):
                run.pending.topups += self._see_to(run, org, topup)
        self._served = served

    def _see_to(self, run: Pass, org: str, topup: str) -> bool:
        """Whether this worker had it to itself."""
        try:
            self._do(ClaimTopUp(org, topup), Recorded)
        except BillingError as error:
            if refused_for(error, "not_due") or refused_for(error, "dropped"):
                return False
            raise
        known = self._topup(org, topup)
        if known.kind == "auto" and known.payment is None:
            self._charge(org, known)
        elif known.payment is None and known.checkout is None:
            self._do(RecordTopUp(org, topup, failed="no page was opened"), Recorded)
        else:
            self._fulfil(org, topup)
        known = self._topup(org, topup)
        asked = [str(each[0]) for each in known.refunds if each[2] == "asked"]
        turn = known.tries % max(1, len(asked))  # one that fails each time is not always first
        for refund in (*asked[turn:], *asked[:turn]):
            if run.asks():  # else when it is due again
                with run.failing(org, f"refund {refund}"):
                    self._refund(org, topup, refund)
        return True

    def _charge(self, org: str, known: TopUp) -> None:
        """Carry out an attempt, or find out what became of it."""
        from billing_core.ports.payments import ChargeAttempt

        provider = self._provider()
        attempt = ChargeAttempt(**json.loads(known.asked))
        payment, final = None, None
        if known.tries > 1:
            payment, final = self._look(provider, attempt, known)
            if payment is None and final is not None:
                if final:
                    self._give_up(provider, attempt, known)
                return
        if payment is None and known.why is not None:
            return  # it is not wanted any more, and may have been made all the same
        if payment is None:
            try:
                payment = provider.charge(attempt)
            except PaymentError as error:
                nothing = error.kind in ("invalid_request", "not_found", "declined")
                # An earlier call may have charged, whatever this one says.
                if nothing and known.tries == 1:
                    failed = RecordTopUp(org, known.topup, failed=error.code or error.kind)
                    self._do(failed, Recorded)
                if error.missing is not None:
                    gone = attempt.method if error.missing == "method" else attempt.customer
                    self._do(LoseMethod(org, gone), Changed)
                raise
        try:
            told = RecordTopUp(org, known.topup, version=known.changes, payment=payment)
            self._do(told, Recorded)
        except Outdated:
            self._fulfil(org, known.topup, payment=payment.id)

    def _look(
        self, provider: PaymentProvider, attempt: ChargeAttempt, known: TopUp
    ) -> tuple[Payment | None, bool | None]:
        """What an attempt has led to.  Without a payment: True, there will be none; False,
        one may yet come to light; None, it is safe to ask again."""
        first = known.started or known.created
        since = _first(known)
        found = provider.find_charge(attempt.attempt, customer=attempt.customer, since=since)
        if found is not None and self._of_another(found, attempt.org, known.topup):
            found = None  # whatever it says by now
        age = self.clock() - first
        if age < provider.keys_kept - MARGIN:
            return found, None
        return found, age > provider.keys_kept + MARGIN

    def _give_up(self, provider: PaymentProvider, attempt: ChargeAttempt, known: TopUp) -> None:
        """No payment says that it is of the attempt.  What we wrote on it may have been edited
        away there: if any may be it, somebody has to look before the card is charged again."""
        doubts = self._doubts(provider, attempt, known)
        failed = None if doubts else "never made"
        told = RecordTopUp(
            attempt.org, known.topup, version=known.changes, failed=failed, doubts=doubts
        )
        with suppress(Outdated):  # its news has come meanwhile
            self._do(told, Recorded)

    def _doubts(
        self, provider: PaymentProvider, attempt: ChargeAttempt, known: TopUp
    ) -> tuple[tuple[str | None, str], ...]:
        doubts: list[tuple[str | None, str]] = []
        account = self._account(attempt.org)
        end = self.clock() + DAY + MARGIN
        cursor = None
        while len(doubts) < _DOUBTS:
            page = provider.payments(_first(known), end, customer=attempt.customer, cursor=cursor)
            for payment in page.items:
                differs = may_be(known, payment, account.currency, account.livemode)
                if differs is None and self._is_open(payment, attempt.org, known.topup):
                    doubts.append((payment.id, "no label"))
            doubts += [(None, f"unreadable: {each}") for each in page.unreadable]
            cursor = page.next
            if cursor is None:
                break
        return tuple(doubts[:_DOUBTS])

    # -- news -------------------------------------------------------------------

    def _sweep(self, run: Pass, provider: PaymentProvider) -> None:
        """Heed all news since the last sweep, whether or not webhooks brought it.

        ``heard`` is how far it was read, by the provider's own clock, as its news is dated;
        ``swept`` is when, by ours, and only says that it is time again.  A sweep that takes
        more time than a pass has goes on in the next.
        """
        if not run.asks():
            return
        try:
            sweep = self._sweeps.pop()
        except IndexError:
            if self._due_to_sweep(provider):
                sweep = _Sweep(self.clock(), self._heard(_mode(provider)))
            else:
                return
        if not self._list_news(run, sweep, provider) or not self._heed_all(run, sweep):
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

    def _heed_all(self, run: Pass, sweep: _Sweep) -> bool:
        """Whether all of it was heeded, or has failed."""
        while sweep.left:
            if not run.asks():
                return False
            org, notice = sweep.left.pop()
            about = _about(notice)
            with run.failing(org, f"news of {about[1]}") as worked:
                self._heed(notice)
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
        for event in self._named(org, self.store.waiting_events(org, limit)):
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

    # -- reconciliation ---------------------------------------------------------

    def reconcile(self, since: datetime, until: datetime) -> Reconciliation:
        """Hold the ledger's payments against the provider's, made from ``since`` on and
        before ``until``, and name each difference.  It changes nothing.  Accounts of another
        livemode than the provider's are left out.

        A payment by an org's customer that does not say what it is for is a difference too, of
        no top-up: look at it there, and give it to :meth:`read_back` if it is one's.

        What is under way while it looks can differ: look at a span that has ended.
        """
        from billing_core.topups.reconciliation import (
            Difference,
            Reconciliation,
            differences,
            missing,
            unnamed,
        )

        provider = self._provider()
        start, end = micros("since", since), micros("until", until)
        if start >= end:
            raise InvalidCommand("until", until, f"a time after {since}, from where it begins")
        paid: dict[str | None, Difference] = {}
        strays: dict[str, tuple[str, str]] = {}
        waiting: dict[str, dict[str, list[TopUp]]] = {}
        for org in self.orgs():
            account, _ = self._known(org, None)
            if account is None or account.livemode is not provider.livemode:
                continue
            for topup in self.store.topups(org):
                strays |= dict.fromkeys(topup.strays, (org, topup.topup))
                customer = _unpaid_customer(topup)
                if customer is not None:
                    waiting.setdefault(customer, {}).setdefault(org, []).append(topup)
                if topup.paid_at is not None and start <= topup.paid_at < end:
                    paid[topup.payment] = missing(org, topup)
        found: list[Difference] = []
        unreadable: list[str] = []
        payments = foreign = 0
        unlisted = dict(paid)
        cursor = None
        while True:
            page = provider.payments(start, end, cursor=cursor)
            for payment in page.items:
                payments += 1
                unlisted.pop(payment.id, None)
                known = strays.get(payment.id) or self.store.topup_of(payment=payment.id)
                whose = known or self._whose(payment) or _elsewhere(payment)
                if whose is not None:
                    found += differences(payment, *whose, *self._known(*whose))
                    continue
                orgs = waiting.get(payment.customer or "", {})
                if payment.customer is not None:
                    orgs = {org: [] for org in self.store.paying(payment.customer)} | orgs
                foreign += not orgs
                for org, topups in orgs.items():
                    account, _ = self._known(org, None)
                    found += unnamed(payment, org, account, topups)
            unreadable += page.unreadable
            cursor = page.next
            if cursor is None:
                break
        found += unlisted.values()
        return Reconciliation(payments, foreign, len(paid), tuple(found), tuple(unreadable))

    def _known(self, org: str, topup: str | None) -> tuple[Account | None, TopUp | None]:
        wanted = Wanted(until=0, topups=set() if topup is None else {topup})
        state = self.store.snapshot({org: wanted})[org]
        return state.account, state.topups.get(topup or "")


def _first(known: TopUp) -> int:
    """Before which a top-up cannot have been paid.  By the provider's clock, which ours may
    lead: it is a day at most (rule 3.8)."""
    return (known.started or known.created) - DAY - MARGIN


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


def _unpaid_customer(topup: TopUp) -> str | None:
    """Whom an automatic top-up charges, or did, of which no payment is on record."""
    if topup.kind != "auto" or topup.payment is not None or topup.started is None:
        return None
    customer: str | None = json.loads(topup.asked or "{}").get("customer")
    return customer


def _elsewhere(payment: Payment) -> tuple[str, str] | None:
    """Whose a payment says it is, though none of ours."""
    return None if payment.org is None else (payment.org, payment.order or payment.attempt or "")


def _about(notice: Notice) -> tuple[str, str]:
    """What is to be read back: once, however much news of it there is."""
    if notice.checkout is not None:
        return "checkout", notice.checkout
    if notice.payment is not None:
        return "payment", notice.payment
    return notice.kind, notice.method or notice.event


def _delivery(org: str, event: Event) -> Delivery:
    return Delivery(f"{org}/{event.seq}/{event.n}", org, event.kind, json.loads(event.data))
