"""Background work: whatever is due, by any number of workers at once.

Nothing here holds anybody up: what is due is found by scans without locks, and taken one
at a time, for a lease, by an update of its org alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from billing_core.engine.clock_check import ClockCheck
from billing_core.engine.topups import TopUps, refused_for
from billing_core.errors import BillingError, InvalidCommand, NotFound, Outdated, PaymentError
from billing_core.outcomes import Changed, Recorded
from billing_core.ports import Wanted
from billing_core.records import Account, Event
from billing_core.times import DAY, micros, moment
from billing_core.topup import TopUp
from billing_core.topup_commands import ClaimTopUp, Lapse, LoseMethod, RecordTopUp

if TYPE_CHECKING:
    from billing_core.payments import ChargeAttempt, Notice, Payment, PaymentProvider
    from billing_core.reconciliation import Reconciliation

__all__ = ["Deliver", "Delivery", "Failure", "Pending", "Work"]

_MINUTE = 60_000_000
_MARGIN = 15 * _MINUTE  # clocks differ, and requests take their time
_SWEEP_EVERY = 5 * _MINUTE
_SLACK = 10 * _MINUTE  # news can be listed late
_DELIVERY = 5 * _MINUTE  # for how long a deliverer has an org's events to itself
_PAUSE = _MINUTE  # after a delivery that failed


@frozen
class Delivery:
    """An event on its way to the host.  ``id`` is the same each time it is delivered."""

    id: str
    org: str
    kind: str
    data: Mapping[str, Any]


Deliver = Callable[[Delivery], object]
"""Takes an event; one that raises gets it again later."""


@frozen
class Failure:
    """A piece of work that failed, and will be tried again."""

    org: str | None
    what: str
    error: Exception


@define
class Pending:
    """What one run has done: top-ups seen to, orgs in which something lapsed, news read,
    events delivered; and what failed."""

    topups: int = 0
    lapsed: int = 0
    news: int = 0
    delivered: int = 0
    failures: list[Failure] = field(factory=list)

    @property
    def done(self) -> int:
        """How much work there was."""
        return self.topups + self.lapsed + self.delivered


class Work(TopUps):
    """What is done in the background."""

    _clock_check: ClockCheck

    def run_pending(
        self,
        limit: int = 100,
        until: datetime | None = None,
        *,
        deliver: Deliver | None = None,
    ) -> Pending:
        """Do what is due: automatic top-ups and lost answers, refunds, what has lapsed, news
        that no webhook brought, and events for ``deliver``.

        At most about ``limit`` pieces of each kind, and none begun after ``until``.  Call it
        again and again, from a thread, a cron or a queue; any number may run at once.  What
        fails is told in the answer, disturbs nothing else, and is tried again later.

        While the clock is in doubt (ClockDoubt, among the failures) it does no more than what
        has lapsed for certain.

        Events reach ``deliver`` at least once, in order per org; ``Delivery.id`` is for
        telling repetitions.
        """
        if type(limit) is not int or limit < 1:
            raise InvalidCommand("limit", limit, "an int of 1 or more")
        run = _Run(Pending(), None if until is None else micros("until", until), self.clock)
        doubt = self._clock_check.doubt()
        if doubt is not None:
            # Leases, tries and marks last until their time, which would be far ahead.
            run.pending.failures.append(Failure(None, "top-ups, news and events", doubt))
        if self.payments is not None and doubt is None:
            mode = self.payments.livemode
            due = self.store.due_topups(self.clock(), limit, livemode=mode)
            for org, topup in run.each(due):
                with run.failing(org, f"top-up {topup}"):
                    run.pending.topups += self._see_to(org, topup)
        for org in run.each(self.store.lapsing(self.clock(), limit)):
            with run.failing(org, "lapses"):
                self._do(Lapse(org), Changed)
                run.pending.lapsed += 1
        if doubt is not None:
            return run.pending
        if self.payments is not None and run.goes_on():
            self._sweep(run, self.payments)
        if deliver is not None:
            for org in run.each(self.store.undelivered(self.clock(), limit)):
                self._deliver(run, org, deliver, limit)
        return run.pending

    # -- top-ups ----------------------------------------------------------------

    def _see_to(self, org: str, topup: str) -> bool:
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
        for refund in self._topup(org, topup).refunds:
            if refund[2] == "asked":
                self._refund(org, topup, str(refund[0]))
        return True

    def _charge(self, org: str, known: TopUp) -> None:
        """Carry out an attempt, or find out what became of it."""
        from billing_core.payments import ChargeAttempt

        provider = self._provider()
        attempt = ChargeAttempt(**json.loads(known.asked))
        payment, final = None, None
        if known.tries > 1:
            payment, final = self._look(provider, attempt, known)
            if payment is None and final is not None:
                if final:
                    self._do(RecordTopUp(org, known.topup, failed="never made"), Recorded)
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
        # By the provider's clock, which ours may lead: it is a day at most (rule 3.8).
        since = first - DAY - _MARGIN
        found = provider.find_charge(attempt.attempt, customer=attempt.customer, since=since)
        age = self.clock() - first
        if age < provider.keys_kept - _MARGIN:
            return found, None
        return found, age > provider.keys_kept + _MARGIN

    # -- news -------------------------------------------------------------------

    def _sweep(self, run: _Run, provider: PaymentProvider) -> None:
        """Heed all news since the last sweep, whether or not webhooks brought it.

        ``heard`` is how far it was read, by the provider's own clock, as its news is dated;
        ``swept`` is when, by ours, and only says that it is time again.
        """
        mode = "live" if provider.livemode else "test"
        begun, swept = self.clock(), self.store.mark(f"swept:{mode}")
        if swept is not None and 0 <= begun - swept < _SWEEP_EVERY:
            return
        heard = self._heard(mode)
        complete, reached = False, None
        with run.failing(None, "the list of news"):
            notices, reached = _every_notice(provider, heard or 0, begun)
            seen = {_about(notice): notice for notice in notices}
            complete = True
            for about, notice in seen.items():
                if notice.kind != "ignored":
                    with run.failing(None, f"news of {about[1]}") as worked:
                        self._heed(notice)
                    run.pending.news += worked.well
                    # An order that is not on record will not come to be by asking again.
                    complete = complete and (worked.well or isinstance(worked.error, NotFound))
        if heard is not None and reached is not None and reached - heard > provider.news_kept:
            with run.failing(None, "news"):
                raise _lost(heard, reached - provider.news_kept)
        if complete:
            self.store.set_mark(f"swept:{mode}", begun)
            if reached is not None:
                self.store.set_mark(f"heard:{mode}", reached - _SLACK)

    def _heard(self, mode: str) -> int | None:
        """Until when all news was heard, by the provider's clock."""
        heard = self.store.mark(f"heard:{mode}")
        if heard is None:
            # The version before went by a clock of ours, which was a day off at most.
            before = self.store.mark(f"news:{mode}")
            heard = None if before is None else before - DAY
        return heard

    # -- events -----------------------------------------------------------------

    def _deliver(self, run: _Run, org: str, deliver: Deliver, limit: int) -> None:
        """Deliver an org's events, in order, as long as this worker has them to itself."""
        name, now = self.ids(), self.clock()
        if not self.store.lease_events(org, name, now, now + _DELIVERY):
            return
        well = True
        for event in run.each(self._named(org, self.store.waiting_events(org, limit))):
            if self.clock() >= now + _DELIVERY // 2:
                break
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

        What is under way while it looks can differ: look at a span that has ended.
        """
        from billing_core.reconciliation import (
            Difference,
            Reconciliation,
            differences,
            missing,
        )

        provider = self._provider()
        start, end = micros("since", since), micros("until", until)
        if start >= end:
            raise InvalidCommand("until", until, f"a time after {since}, from where it begins")
        paid: dict[str | None, Difference] = {}
        strays: dict[str, tuple[str, str]] = {}
        for org in self.orgs():
            account, _ = self._known(org, None)
            if account is None or account.livemode is not provider.livemode:
                continue
            for topup in self.store.topups(org):
                strays |= dict.fromkeys(topup.strays, (org, topup.topup))
                if topup.paid_at is not None and start <= topup.paid_at < end:
                    paid[topup.payment] = missing(org, topup)
        found = []
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
                if whose is None:
                    foreign += 1
                    continue
                found += differences(payment, *whose, *self._known(*whose))
            cursor = page.next
            if cursor is None:
                break
        found += unlisted.values()
        return Reconciliation(payments, foreign, len(paid), tuple(found))

    def _known(self, org: str, topup: str | None) -> tuple[Account | None, TopUp | None]:
        wanted = Wanted(until=0, topups=set() if topup is None else {topup})
        state = self.store.snapshot({org: wanted})[org]
        return state.account, state.topups.get(topup or "")


class _Worked:
    """How a piece of work went."""

    error: Exception | None = None

    @property
    def well(self) -> bool:
        return self.error is None


class _Run:
    """One run: what it has done, and whether it may begin more."""

    def __init__(self, pending: Pending, until: int | None, clock: Callable[[], int]) -> None:
        self.pending = pending
        self._until = until
        self._clock = clock

    def goes_on(self) -> bool:
        return self._until is None or self._clock() < self._until

    def each(self, pieces: Any) -> Iterator[Any]:
        """The pieces, as long as more may begin."""
        for piece in pieces:
            if not self.goes_on():
                return
            yield piece

    def failing(self, org: str | None, what: str) -> _Failing:
        """A piece of work: what it raises is told, and goes no further."""
        return _Failing(self.pending, org, what)


class _Failing:
    def __init__(self, pending: Pending, org: str | None, what: str) -> None:
        self._pending = pending
        self._org = org
        self._what = what
        self._worked = _Worked()

    def __enter__(self) -> _Worked:
        return self._worked

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._worked.error = error
        self._pending.failures.append(Failure(self._org, self._what, error))
        return True


def _every_notice(
    provider: PaymentProvider, since: int, now: int
) -> tuple[list[Notice], int | None]:
    """All news since then; and until when that is, by the provider's clock, if it can be told.

    It is when the provider made the list, as far as our own clock or the news bears it out:
    further, news that is to come would be passed over.
    """
    first = page = provider.notices(since)
    notices = list(page.items)
    while page.next is not None:
        page = provider.notices(since, cursor=page.next)
        notices += page.items
    newest = max((each.created for each in first.items), default=None)
    if first.at is None:
        return notices, newest
    return notices, min(first.at, max(now, newest or now))


def _lost(start: int, end: int) -> PaymentError:
    span = f"{moment(start):%Y-%m-%d %H:%M} to {moment(end):%Y-%m-%d %H:%M} UTC"
    return PaymentError(
        f"what the provider told from {span} may be lost: it keeps news no longer. Call reconcile "
        "for the time that the payments are of, and read_back for each top-up that differs",
        kind="unavailable",
    )


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
