"""Top-ups: what callers ask, and one way to fulfil, whoever calls.

The provider is called outside any transaction: what is to be asked is on record before,
what it says is put on record after.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from attrs import asdict, evolve, field, frozen

from billing_core.commands.base import check_positive
from billing_core.commands.outcomes import (
    AutoTopUpSet,
    Changed,
    Ordered,
    Recorded,
    RefundAsked,
    Refused,
)
from billing_core.commands.topups import (
    AskRefund,
    LoseMethod,
    OrderTopUp,
    RecordTopUp,
    SetAutoTopUp,
)
from billing_core.errors import (
    BillingError,
    Conflict,
    IdempotencyConflict,
    NotFound,
    Outdated,
    PaymentError,
)
from billing_core.ports.clock import IdSource
from billing_core.ports.state import Wanted
from billing_core.records.topups import (
    NEEDS_METHOD,
    AutoTopUp,
    TopUp,
    TopUpRules,
    reads_alike,
)
from billing_core.topups.policy import may_be
from billing_core.values.currencies import to_minor, to_nanos
from billing_core.values.money import Money
from billing_core.values.text import checked_name
from billing_core.values.times import micros, moment

if TYPE_CHECKING:
    from billing_core.commands.base import Command
    from billing_core.commands.outcomes import Success
    from billing_core.ports.payments import (
        Checkout,
        CheckoutOrder,
        Notice,
        Payment,
        PaymentProvider,
    )

from billing_core.engine.provider_calls import InFlight
from billing_core.engine.reads import Reads

__all__ = ["AutoTopUpStatus", "TopUpPage", "TopUps"]

_S = TypeVar("_S", bound="Success")

_TIMES = 10  # that an answer may be outdated in a row
MARGIN = 15 * 60_000_000  # clocks differ, and requests take their time


@frozen
class TopUpPage:
    """Where to send a customer to pay.  ``session``: the provider's id of the page, which
    comes back to ``success_url``; ``topup``: ours.  ``url``: None once it is closed.
    ``replayed``: it was ordered before, by this key."""

    url: str | None
    session: str
    topup: str
    replayed: bool = field(default=False, eq=False)


@frozen
class AutoTopUpStatus:
    """An org's automatic top-up.  Amounts in nanos; ``cap``, ``times``: of a billing period.

    ``stopped``: why none begins until it is enabled again or has another method, such as
    ``declined`` or ``authentication_required``; ``topup``: the attempt in flight.
    ``least``, ``most``: of one top-up, as the platform has it.  ``not_before``: none begins
    until then, after a failure, at a cap, or so soon after the last one.
    """

    enabled: bool
    threshold: int
    amount: int
    cap: int | None
    times: int | None
    has_saved_method: bool
    stopped: str | None
    failures: int
    topup: str | None
    last_topup_at: datetime | None
    least: int
    most: int
    not_before: datetime | None


class TopUps(Reads):
    """How money comes in and goes back; :class:`Billing` adds the rest."""

    ids: IdSource
    payments: PaymentProvider | None
    _topups: TopUpRules

    def __init__(self) -> None:
        self._in_flight = InFlight("calls")
        self._heeding = InFlight("webhooks")

    def _do(self, command: Command, kind: type[_S]) -> _S:
        raise NotImplementedError

    def _provider(self) -> PaymentProvider:
        if self.payments is None:
            raise PaymentError(
                "no provider of payments; give Billing(store, payments=…)", kind="invalid_request"
            )
        return self.payments

    def _topup(self, org: str, topup: str) -> TopUp:
        """As it is on record; raises NotFound."""
        wanted = Wanted(until=0, topups={checked_name("topup", topup)})
        found = self.store.snapshot({checked_name("org", org): wanted})[org].topups.get(topup)
        if found is None:
            raise NotFound("top-up", topup, f"org {org!r} has none of this name")
        return found

    # -- top-ups ----------------------------------------------------------------

    def top_up(
        self,
        org: str,
        key: str,
        amount: Money,
        *,
        success_url: str,
        cancel_url: str,
        save_method: bool = False,
        receipt_email: str | None = None,
        automatic_tax: bool = False,
        description: str = "Prepaid credit",
        at: datetime | None = None,
    ) -> TopUpPage:
        """Let a customer pay for credit, on the provider's page.

        ``amount``: of credit, before tax.  ``save_method``: keep the card for automatic
        top-ups.  ``{CHECKOUT_SESSION_ID}`` in ``success_url`` becomes the session's id, for
        :meth:`confirm`.  The order is on record before the provider hears of it; the same
        key again gives the same page, or IdempotencyConflict where another description or URL
        comes with it.  Raises PaymentError too: ``rate_limited``, and nothing is ordered,
        while four calls of the org wait for the provider.  So do ``confirm``, ``read_back``
        and ``refund``.
        """
        from billing_core.ports.payments import CheckoutOrder

        provider = self._provider()
        check_positive("amount", amount)
        order = CheckoutOrder(
            org=org, order=self.ids(), amount=to_minor(amount.nanos, amount.currency),
            currency=amount.currency, description=description, success_url=success_url,
            cancel_url=cancel_url, save_method=save_method, receipt_email=receipt_email,
            automatic_tax=automatic_tax,
        )  # fmt: skip
        command = OrderTopUp(
            org, key, amount=amount, order=order, livemode=provider.livemode, at=at
        )
        with self._in_flight.one(org):
            ordered = self._do(command, Ordered)
            topup = self._topup(org, ordered.topup)
            if ordered.replayed and not reads_alike(topup.asked, asdict(order)):
                raise IdempotencyConflict(org, key, ("success_url, cancel_url or description",))
            if topup.checkout is not None:
                page = provider.read_checkout(topup.checkout)
            else:
                self._check_fresh(provider, topup)
                page = self._open(provider, CheckoutOrder(**json.loads(topup.asked)))
                self._do(RecordTopUp(org, topup.topup, checkout=page), Recorded)
        return TopUpPage(page.url, page.id, topup.topup, ordered.replayed)

    def _open(self, provider: PaymentProvider, asked: CheckoutOrder) -> Checkout:
        """The page of an order; without its customer, if the provider has that one no more."""
        try:
            return provider.create_checkout(asked, key=asked.order)
        except PaymentError as error:
            if error.missing != "customer" or asked.customer is None:
                raise
        self._do(LoseMethod(asked.org, asked.customer), Changed)
        # What was refused may be on record under its key, there, and this asks for another thing.
        return provider.create_checkout(evolve(asked, customer=None), key=f"{asked.order}/anew")

    def _check_fresh(self, provider: PaymentProvider, topup: TopUp) -> None:
        """Once the provider may have forgotten the order, asking again could be a second."""
        first = topup.created if topup.started is None else topup.started
        if topup.state != "ordered" or self.clock() > first + provider.keys_kept // 2:
            raise Conflict(f"top-up {topup.topup!r} was ordered long ago; order with a new key")

    def recover(
        self, org: str, key: str, *, success_url: str, cancel_url: str, at: datetime | None = None
    ) -> TopUpPage:
        """The page by which a customer makes good what an automatic top-up could not charge:
        a top-up of its amount that saves the method, after which it goes on.

        The failed payment itself cannot be paid any more: nobody was given its secret.
        """
        status = self.auto_topup(org)
        if status.stopped is None:
            raise Conflict(f"the automatic top-up of org {org!r} is not stopped")
        if status.stopped not in NEEDS_METHOD:
            raise Conflict(
                f"the automatic top-up of org {org!r} is stopped ({status.stopped}), which no "
                "payment mends; enable it again"
            )
        amount = Money(status.amount, self._account(org).currency)
        return self.top_up(
            org, key, amount, success_url=success_url, cancel_url=cancel_url, save_method=True,
            at=at,
        )  # fmt: skip

    def topup(self, org: str, topup: str) -> TopUp:
        """A top-up as it is on record; raises NotFound."""
        return self._topup(org, topup)

    def confirm(self, org: str, session: str) -> Recorded:
        """The customer is back: credit the session if it was paid and is not yet credited.

        ``paid`` of the answer says whether it was; if not, it may still be.  Raises NotFound
        for a session of another org, or one that is not on record: then the provider, who
        would have to be waited for, is not asked.
        """
        self._provider()
        known = self.store.topup_of(checkout=checked_name("session", session))
        if known is None or known[0] != org:
            raise NotFound("session", session, f"org {org!r} has none of this name")
        with self._in_flight.one(org):
            return self._fulfil(*known, checkout=session)

    def webhook(self, body: bytes, signature: str | None) -> Notice:
        """Verify what the provider posted, and do what follows from it.

        ``body``: exactly as received.  Raises PaymentError of a kind ``bad_signature``,
        ``bad_webhook`` or ``wrong_mode``, for which the answer is 400; for any other error
        answer 5xx, and the provider delivers again.  So it does for the fifth of one org, or
        of what is not on record yet, that would wait for the provider (``rate_limited``).
        """
        notice = self._provider().read_webhook(body, signature, now=self.clock())
        self._heed(notice, self._heeding.one)
        return notice

    def _heed(
        self,
        notice: Notice,
        waiting: Callable[[str | None], AbstractContextManager[object]] = nullcontext,
    ) -> Recorded | None:
        """Read back what a notice names, and put it on record; None where it is not ours.
        ``waiting``: held while the provider is asked, for an org or one not known yet."""
        if notice.kind in ("method_detached", "customer_deleted"):
            if notice.customer is not None:
                for org in self.store.paying(notice.customer):
                    self._do(LoseMethod(org, notice.method or notice.customer), Changed)
            return None
        checkout, payment = notice.checkout, notice.payment
        if checkout is not None:
            whose = self.store.topup_of(checkout=checkout)
            if whose is None:
                with waiting(None):
                    page = self._provider().read_checkout(checkout)
                whose = self._labelled(page.org, page.order)
        elif payment is not None:
            whose = self.store.topup_of(payment=payment)
            if whose is None:
                with waiting(None):
                    paid = self._provider().read_payment(payment)
                whose = self._whose(paid)
        else:
            return None
        if whose is None:
            return None
        with waiting(whose[0]):
            if checkout is not None:
                return self._fulfil(*whose, checkout=checkout)
            return self._fulfil(*whose, payment=payment)

    def _whose(self, payment: Payment) -> tuple[str, str] | None:
        """The top-up of a payment that is not on record: by its checkout, if that is; else as its
        metadata say, which we wrote, but which anybody at the provider can have edited since."""
        known = None
        if payment.checkout is not None:
            known = self.store.topup_of(checkout=payment.checkout)
        return known or self._labelled(payment.org, payment.order or payment.attempt)

    def _of_another(self, payment: Payment, org: str, topup: str) -> bool:
        """Whether a payment is on record, and of another top-up."""
        return self.store.topup_of(payment=payment.id) not in (None, (org, topup))

    def _is_open(self, payment: Payment, org: str, topup: str) -> bool:
        """Whether a payment is on nobody's record, and does not say that it is of another top-up
        that is."""
        if self.store.topup_of(payment=payment.id) is not None:
            return False
        whose = self._whose(payment)
        if whose is not None and whose != (org, topup):
            wanted = Wanted(until=0, topups={whose[1]})
            if whose[1] in self.store.snapshot({whose[0]: wanted})[whose[0]].topups:
                return False
        return all(payment.id not in each.strays for each in self.store.topups(org))

    def _labelled(self, org: str | None, topup: str | None) -> tuple[str, str] | None:
        if org is None or topup is None:
            return None
        if self.store.snapshot({org: Wanted(until=0)})[org].account is None:
            return None  # of another database that shares the provider's account
        return org, topup

    # -- the one function that fulfils ------------------------------------------

    def _fulfil(
        self,
        org: str,
        topup: str,
        *,
        checkout: str | None = None,
        payment: str | None = None,
        refund: str | None = None,
    ) -> Recorded:
        """Make the record of a top-up what the provider says of it now, whoever calls.

        Its version is read before the provider is asked: an answer that is older than what
        somebody else has recorded meanwhile is thrown away, and asked for again.
        """

        def read(known: TopUp) -> RecordTopUp:
            page, paid = self._read(known, checkout, payment)
            return RecordTopUp(
                org, topup, version=known.changes, checkout=page, payment=paid, made=refund
            )

        return self._settle_topup(org, topup, read)

    def _settle_topup(self, org: str, topup: str, read: Callable[[TopUp], RecordTopUp]) -> Recorded:
        for _ in range(_TIMES):
            with suppress(Outdated):
                return self._do(read(self._topup(org, topup)), Recorded)
        return self._do(read(self._topup(org, topup)), Recorded)

    def _read(
        self, known: TopUp, checkout: str | None, payment: str | None
    ) -> tuple[Checkout | None, Payment | None]:
        provider = self._provider()
        page = None
        if known.kind == "checkout":
            name = checkout or known.checkout
            if name is None and payment is not None:
                name = provider.read_payment(payment).checkout
            page = None if name is None else provider.read_checkout(name)
        name = payment or (None if page is None else page.payment) or known.payment
        return page, None if name is None else provider.read_payment(name)

    def read_back(self, org: str, topup: str, *, payment: str | None = None) -> Recorded:
        """Make the record of a top-up what the provider says of it now: for what ``reconcile``
        names, should its news be lost.  Doing it again changes nothing.

        ``payment``: the provider's id of the payment, as ``reconcile`` names it, for a top-up
        whose record names neither page nor payment, since the provider's answer was lost.  Of
        a payment that does not say whose it is, that is your word: it is taken where the
        customer, amount and currency are those asked for.

        Raises NotFound, and Conflict where there is nothing to read, or the payment is another's.
        """
        known = self._topup(org, topup)
        unheard = known.checkout is None and known.payment is None
        if unheard and payment is None:
            raise Conflict(
                f"top-up {topup!r} is {known.state}: there is nothing to read, as no page or "
                "payment of it is on record. If reconcile names one, give that as payment="
            )
        with self._in_flight.one(org):
            if not unheard or payment is None:
                return self._fulfil(org, topup)
            self._check_may_be(org, known, self._provider().read_payment(payment))
            return self._fulfil(org, topup, payment=payment)

    def _check_may_be(self, org: str, known: TopUp, payment: Payment) -> None:
        """A payment says that it is of a top-up; or says nothing, and can be."""
        said = f"payment {payment.id!r} is not of top-up {known.topup!r} of org {org!r}"
        if not self._is_open(payment, org, known.topup):
            raise Conflict(said)
        if self._whose(payment) != (org, known.topup):
            account = self._account(org)
            differs = may_be(known, payment, account.currency, account.livemode)
            if differs is not None:
                raise Conflict(f"{said}: another {differs}")

    # -- automatic top-up -------------------------------------------------------

    def auto_topup(self, org: str, *, made: AutoTopUpSet | None = None) -> AutoTopUpStatus:
        """How an org's automatic top-up stands; ``made``: how it stood when that was set."""
        account = self._account(org)
        if made is None:
            auto, now = self.store.auto_topup(org) or AutoTopUp(), self.clock()
        else:
            auto, now = AutoTopUp(**made.auto), micros("at", made.at)
            begun = self.store.entry(org, f"auto:{made.seq + 1}")  # the attempt that it began
            if begun is not None and begun.at == now:
                auto = AutoTopUp(**json.loads(begun.effects)["auto"])
        currency = account.currency
        least, most = self._topups.bounds(currency)
        return AutoTopUpStatus(
            enabled=auto.enabled,
            threshold=auto.threshold,
            amount=to_nanos(auto.amount, currency),
            cap=None if auto.cap is None else to_nanos(auto.cap, currency),
            times=auto.times,
            has_saved_method=auto.method is not None,
            stopped=auto.stopped,
            failures=auto.failures,
            topup=auto.open,
            last_topup_at=None if auto.last is None else moment(auto.last),
            least=to_nanos(least, currency),
            most=to_nanos(most, currency),
            not_before=moment(auto.not_before) if auto.not_before > now else None,
        )

    def set_auto_topup(
        self,
        org: str,
        key: str,
        *,
        enabled: bool,
        threshold: Money,
        amount: Money,
        cap: Money | None = None,
        times: int | None = None,
        at: datetime | None = None,
    ) -> AutoTopUpSet:
        """Set when and how much to top up by itself; see :class:`SetAutoTopUp`.  Raises
        Refused (``no_saved_method``)."""
        command = SetAutoTopUp(
            org, key, enabled=enabled, threshold=threshold, amount=amount, cap=cap, times=times,
            at=at,
        )  # fmt: skip
        return self._do(command, AutoTopUpSet)

    # -- refunds ----------------------------------------------------------------

    def refund(
        self,
        org: str,
        key: str,
        *,
        topup: str,
        amount: Money | None = None,
        at: datetime | None = None,
    ) -> Recorded:
        """Give back the money of a top-up, or ``amount`` of it, tax included; its credit is
        taken back in proportion, and may leave debt.

        It is on record before the provider hears of it, and background work goes on with
        it where the answer is lost.  Raises Refused (``not_paid``) and PaymentError.
        """
        livemode = self._provider().livemode
        command = AskRefund(
            org, key, topup=topup, refund=self.ids(), livemode=livemode, amount=amount, at=at
        )
        with self._in_flight.one(org):
            asked = self._do(command, RefundAsked)
            return self._refund(org, topup, asked.refund)

    def _refund(self, org: str, topup: str, refund: str) -> Recorded:
        """Make a refund that is on record, if it is not made yet."""
        provider = self._provider()
        known = self._topup(org, topup)
        [asked] = [each for each in known.refunds if each[0] == refund]
        assert known.payment is not None
        payment = provider.read_payment(known.payment)
        made = any(each.key == refund for each in payment.refunds)
        until = self.clock() - provider.keys_kept + MARGIN
        made = made or _made_unnamed(known, payment, asked, until)
        if asked[2] == "refused":
            raise PaymentError(
                f"the provider has refused this refund of top-up {topup!r}; ask with a new key",
                kind="invalid_request",
            )
        if asked[2] == "asked" and not made:
            amount = asked[1]
            assert not isinstance(amount, str)
            try:
                provider.refund(payment.id, key=refund, amount=amount)
            except PaymentError as error:
                if error.kind in ("invalid_request", "not_found", "declined"):
                    self._do(RecordTopUp(org, topup, refused=refund), Recorded)
                raise
            made = True
        return self._fulfil(org, topup, refund=refund if made else None)


def _made_unnamed(
    known: TopUp, payment: Payment, asked: Sequence[str | int | None], until: int
) -> bool:
    """Whether a refund that got no answer is one that the provider lists without our key, which
    somebody may have edited away.  Only of those asked for before ``until``: for a later one, the
    provider knows the key, and to ask again is no second refund.  One that does not say when it
    was asked for, as before level 2, is asked for again.
    """
    _, amount, state, *since = asked
    if state != "asked" or not since or int(since[0] or 0) > until:
        return False
    ours = {each.key for each in payment.refunds}
    unnamed = sum(each.key is None and each.amount == amount for each in payment.refunds)
    taken = sum(
        each[2] == "made" and each[1] == amount and each[0] not in ours for each in known.refunds
    )
    return unnamed > taken


def refused_for(error: BillingError, reason: str) -> bool:
    """Whether an error is a refusal for a reason."""
    return isinstance(error, Refused) and error.refusal.reason == reason
