"""Top-ups at the provider of payments: one way to fulfil, whoever calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from attrs import asdict, evolve, field, frozen

from billing_core.commands.base import Command
from billing_core.commands.outcomes import (
    Changed,
    Success,
    TopUpOrdered,
    TopUpUpdated,
)
from billing_core.commands.topups import LoseMethod, OrderTopUp, RecordTopUp
from billing_core.engine.lookups import account_record, every_org, topup_record
from billing_core.errors import (
    Conflict,
    IdempotencyConflict,
    Outdated,
    PaymentError,
)
from billing_core.ports.clock import Clock
from billing_core.ports.state import Wanted
from billing_core.ports.store import Store
from billing_core.records.ledger import Account
from billing_core.records.topups import RefundOrder, StopReason, TopUp, reads_alike
from billing_core.topups.policy import may_be
from billing_core.values.times import DAY

if TYPE_CHECKING:
    from billing_core.ports.payments import (
        ChargeAttempt,
        Checkout,
        CheckoutOrder,
        Notice,
        Payment,
        PaymentProvider,
    )
    from billing_core.topups.reconciliation import Reconciliation

__all__ = ["AutoTopUpStatus", "Do", "TopUpPage", "TopUps"]

_S = TypeVar("_S", bound=Success)

_TIMES = 10  # that an answer may be outdated in a row
_DOUBTS = 10  # payments that are named, of those that may be one
_MARGIN = 15 * 60_000_000  # clocks differ, and requests take their time


class Do(Protocol):
    """How an engine does one command: its success; raises what it is otherwise."""

    def __call__(self, command: Command, kind: type[_S]) -> _S: ...


@frozen
class TopUpPage:
    """The provider's page on which a customer pays for credit.

    Attributes:
        url: Where to send the customer.  None: the page is closed.
        session: The provider's id of the page, which comes back to ``success_url``.
        topup: Our id of the top-up.
        replayed: Whether it was ordered before, by this key.
    """

    url: str | None
    session: str
    topup: str
    replayed: bool = field(default=False, eq=False)


@frozen
class AutoTopUpStatus:
    """How an org's automatic top-up stands.  Amounts are in nanos of the account's currency (rule
    9.3).

    Attributes:
        enabled: Whether automatic top-ups are made.
        threshold: One begins when less than this is available.
        amount: How much credit each buys, before tax.
        cap: How much they may buy in a billing period.  None: only the platform's limits hold.
        times: How many may be made in a billing period.  None: only the platform's limits hold.
        has_saved_method: Whether there is a saved card to charge.
        stopped: Why none begins until it is enabled again or another card is saved, such as
            ``declined`` or ``authentication_required``.  None: it has not stopped.
        failures: How many have failed in a row.
        topup: Our id of the one that is under way.  None: there is none.
        last_topup_at: When the last one was paid.  None: there was none.
        minimum: The least that one top-up may buy, as the platform has set it.
        maximum: The most that one top-up may buy, as the platform has set it.
        not_before: None begins before this time: after a failure, at a cap, or so soon after the
            last one.  None: none has to wait.
    """

    enabled: bool
    threshold: int
    amount: int
    cap: int | None
    times: int | None
    has_saved_method: bool
    stopped: StopReason | None
    failures: int
    topup: str | None
    last_topup_at: datetime | None
    minimum: int
    maximum: int
    not_before: datetime | None


class TopUps:
    """What an engine asks the provider about top-ups, and what it then puts on record.

    The provider is called outside any transaction: what is to be asked is on record before,
    what it says is put on record after.
    """

    def __init__(self, store: Store, clock: Clock, do: Do, provider: PaymentProvider) -> None:
        self.store = store
        self.clock = clock
        self.provider = provider
        self._do = do

    def page(self, command: OrderTopUp) -> TopUpPage:
        """The page on which a customer pays what is ordered, which is put on record first."""
        from billing_core.ports.payments import CheckoutOrder

        org, order = command.org, command.order
        ordered = self._do(command, TopUpOrdered)
        topup = topup_record(self.store, org, ordered.topup)
        if ordered.replayed and not reads_alike(topup.asked, asdict(order)):
            raise IdempotencyConflict(org, command.key, ("success_url, cancel_url or description",))
        if topup.checkout is not None:
            page = self.provider.read_checkout(topup.checkout)
        else:
            self._check_fresh(topup)
            page = self._open(CheckoutOrder(**json.loads(topup.asked)))
            self._do(RecordTopUp(org, topup.topup, checkout=page), TopUpUpdated)
        return TopUpPage(page.url, page.id, topup.topup, ordered.replayed)

    def _open(self, asked: CheckoutOrder) -> Checkout:
        """The page of an order; without its customer, if the provider has that one no more."""
        try:
            return self.provider.create_checkout(asked, key=asked.order)
        except PaymentError as error:
            if error.missing != "customer" or asked.customer is None:
                raise
        self._do(LoseMethod(asked.org, asked.customer), Changed)
        # What was refused may be on record under its key, there, and this asks for another thing.
        return self.provider.create_checkout(
            evolve(asked, customer=None), key=f"{asked.order}/anew"
        )

    def _check_fresh(self, topup: TopUp) -> None:
        """Once the provider may have forgotten the order, asking again could be a second."""
        first = topup.created if topup.started is None else topup.started
        if topup.state != "ordered" or self.clock() > first + self.provider.keys_kept // 2:
            raise Conflict(f"top-up {topup.topup!r} was ordered long ago; order with a new key")

    def heed(
        self,
        notice: Notice,
        waiting: Callable[[str | None], AbstractContextManager[object]] = nullcontext,
    ) -> TopUpUpdated | None:
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
                    page = self.provider.read_checkout(checkout)
                whose = self._labelled(page.org, page.order)
        elif payment is not None:
            whose = self.store.topup_of(payment=payment)
            if whose is None:
                with waiting(None):
                    paid = self.provider.read_payment(payment)
                whose = self.whose(paid)
        else:
            return None
        if whose is None:
            return None
        with waiting(whose[0]):
            if checkout is not None:
                return self.fulfil(*whose, checkout=checkout)
            return self.fulfil(*whose, payment=payment)

    def whose(self, payment: Payment) -> tuple[str, str] | None:
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
        whose = self.whose(payment)
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

    def fulfil(
        self,
        org: str,
        topup: str,
        *,
        checkout: str | None = None,
        payment: str | None = None,
        refund: str | None = None,
    ) -> TopUpUpdated:
        """Make the record of a top-up what the provider says of it now, whoever calls.

        Its version is read before the provider is asked: an answer that is older than what
        somebody else has recorded meanwhile is thrown away, and asked for again.
        """

        def read() -> RecordTopUp:
            known = topup_record(self.store, org, topup)
            page, paid = self._read(known, checkout, payment)
            return RecordTopUp(
                org, topup, version=known.changes, checkout=page, payment=paid, made=refund
            )

        for _ in range(_TIMES):
            with suppress(Outdated):
                return self._do(read(), TopUpUpdated)
        return self._do(read(), TopUpUpdated)

    def _read(
        self, known: TopUp, checkout: str | None, payment: str | None
    ) -> tuple[Checkout | None, Payment | None]:
        page = None
        if known.kind == "checkout":
            name = checkout or known.checkout
            if name is None and payment is not None:
                name = self.provider.read_payment(payment).checkout
            page = None if name is None else self.provider.read_checkout(name)
        name = payment or (None if page is None else page.payment) or known.payment
        return page, None if name is None else self.provider.read_payment(name)

    def check_may_be(self, org: str, known: TopUp, payment: Payment) -> None:
        """A payment says that it is of a top-up; or says nothing, and can be."""
        said = f"payment {payment.id!r} is not of top-up {known.topup!r} of org {org!r}"
        if not self._is_open(payment, org, known.topup):
            raise Conflict(said)
        if self.whose(payment) != (org, known.topup):
            account = account_record(self.store, org)
            differs = may_be(known, payment, account.currency, account.livemode)
            if differs is not None:
                raise Conflict(f"{said}: another {differs}")

    # -- refunds ----------------------------------------------------------------

    def refund(self, org: str, topup: str, refund: str) -> TopUpUpdated:
        """Make a refund that is on record, if it is not made yet."""
        known = topup_record(self.store, org, topup)
        [asked] = [each for each in known.refunds if each.key == refund]
        assert known.payment is not None
        payment = self.provider.read_payment(known.payment)
        made = any(each.key == refund for each in payment.refunds)
        until = self.clock() - self.provider.keys_kept + _MARGIN
        made = made or _made_unnamed(known, payment, asked, until)
        if asked.state == "refused":
            raise PaymentError(
                f"the provider has refused this refund of top-up {topup!r}; ask with a new key",
                kind="invalid_request",
            )
        if asked.state == "asked" and not made:
            try:
                self.provider.refund(payment.id, key=refund, amount=asked.amount)
            except PaymentError as error:
                if error.kind in ("invalid_request", "not_found", "declined"):
                    self._do(RecordTopUp(org, topup, refused=refund), TopUpUpdated)
                raise
            made = True
        return self.fulfil(org, topup, refund=refund if made else None)

    # -- automatic top-up -------------------------------------------------------

    def attempt(self, org: str, known: TopUp) -> None:
        """Carry out an attempt, or find out what became of it."""
        from billing_core.ports.payments import ChargeAttempt

        attempt = ChargeAttempt(**json.loads(known.asked))
        payment, final = None, None
        if known.tries > 1:
            payment, final = self._look(attempt, known)
            if payment is None and final is not None:
                if final:
                    self._give_up(attempt, known)
                return
        if payment is None and known.why is not None:
            return  # it is not wanted any more, and may have been made all the same
        if payment is None:
            try:
                payment = self.provider.charge(attempt)
            except PaymentError as error:
                nothing = error.kind in ("invalid_request", "not_found", "declined")
                # An earlier call may have charged, whatever this one says.
                if nothing and known.tries == 1:
                    failed = RecordTopUp(org, known.topup, failed=error.code or error.kind)
                    self._do(failed, TopUpUpdated)
                if error.missing is not None:
                    gone = attempt.method if error.missing == "method" else attempt.customer
                    self._do(LoseMethod(org, gone), Changed)
                raise
        try:
            told = RecordTopUp(org, known.topup, version=known.changes, payment=payment)
            self._do(told, TopUpUpdated)
        except Outdated:
            self.fulfil(org, known.topup, payment=payment.id)

    def _look(self, attempt: ChargeAttempt, known: TopUp) -> tuple[Payment | None, bool | None]:
        """What an attempt has led to.  Without a payment: True, there will be none; False,
        one may yet come to light; None, it is safe to ask again."""
        first = known.started or known.created
        since = _first(known)
        found = self.provider.find_charge(attempt.attempt, customer=attempt.customer, since=since)
        if found is not None and self._of_another(found, attempt.org, known.topup):
            found = None  # whatever it says by now
        age = self.clock() - first
        if age < self.provider.keys_kept - _MARGIN:
            return found, None
        return found, age > self.provider.keys_kept + _MARGIN

    def _give_up(self, attempt: ChargeAttempt, known: TopUp) -> None:
        """No payment says that it is of the attempt.  What we wrote on it may have been edited
        away there: if any may be it, somebody has to look before the card is charged again."""
        doubts = self._doubts(attempt, known)
        failed = None if doubts else "never made"
        told = RecordTopUp(
            attempt.org, known.topup, version=known.changes, failed=failed, doubts=doubts
        )
        with suppress(Outdated):  # its news has come meanwhile
            self._do(told, TopUpUpdated)

    def _doubts(self, attempt: ChargeAttempt, known: TopUp) -> tuple[tuple[str | None, str], ...]:
        doubts: list[tuple[str | None, str]] = []
        account = account_record(self.store, attempt.org)
        end = self.clock() + DAY + _MARGIN
        cursor = None
        while len(doubts) < _DOUBTS:
            page = self.provider.payments(
                _first(known), end, customer=attempt.customer, cursor=cursor
            )
            for payment in page.items:
                differs = may_be(known, payment, account.currency, account.livemode)
                if differs is None and self._is_open(payment, attempt.org, known.topup):
                    doubts.append((payment.id, "no label"))
            doubts += [(None, f"unreadable: {each}") for each in page.unreadable]
            cursor = page.next
            if cursor is None:
                break
        return tuple(doubts[:_DOUBTS])

    # -- reconciliation ---------------------------------------------------------

    def reconciliation(self, start: int, end: int) -> Reconciliation:
        """The ledger's payments of a span of time held against the provider's."""
        from billing_core.topups.reconciliation import (
            Difference,
            Reconciliation,
            differences,
            missing,
            unnamed,
        )

        paid: dict[str | None, Difference] = {}
        strays: dict[str, tuple[str, str]] = {}
        waiting: dict[str, dict[str, list[TopUp]]] = {}
        for org in every_org(self.store):
            account, _ = self._known(org, None)
            if account is None or account.livemode is not self.provider.livemode:
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
            page = self.provider.payments(start, end, cursor=cursor)
            for payment in page.items:
                payments += 1
                unlisted.pop(payment.id, None)
                known = strays.get(payment.id) or self.store.topup_of(payment=payment.id)
                whose = known or self.whose(payment) or _elsewhere(payment)
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


def _made_unnamed(known: TopUp, payment: Payment, asked: RefundOrder, until: int) -> bool:
    """Whether a refund that got no answer is one that the provider lists without our key, which
    somebody may have edited away.  Only of those asked for before ``until``: for a later one, the
    provider knows the key, and to ask again is no second refund.  One that does not say when it
    was asked for, as before level 2, is asked for again.
    """
    if asked.state != "asked" or asked.at is None or asked.at > until:
        return False
    ours = {each.key for each in payment.refunds}
    unnamed = sum(each.key is None and each.amount == asked.amount for each in payment.refunds)
    taken = sum(
        each.state == "made" and each.amount == asked.amount and each.key not in ours
        for each in known.refunds
    )
    return unnamed > taken


def _first(known: TopUp) -> int:
    """Before which a top-up cannot have been paid.  By the provider's clock, which ours may
    lead: it is a day at most (rule 3.8)."""
    return (known.started or known.created) - DAY - _MARGIN


def _unpaid_customer(topup: TopUp) -> str | None:
    """Whom an automatic top-up charges, or did, of which no payment is on record."""
    if topup.kind != "auto" or topup.payment is not None or topup.started is None:
        return None
    customer: str | None = json.loads(topup.asked or "{}").get("customer")
    return customer


def _elsewhere(payment: Payment) -> tuple[str, str] | None:
    """Whose a payment says it is, though none of ours."""
    return None if payment.org is None else (payment.org, payment.order or payment.attempt or "")
