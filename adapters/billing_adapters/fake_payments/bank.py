"""What happens to payments behind the provider's back: customers, banks, the dashboard.

The state is the port's own values, replaced as things happen; each change is also news, to
be delivered as signed webhooks or listed.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from attrs import evolve, frozen

from billing_adapters.webhooks import signed
from billing_core.errors import InvalidCommand, PaymentError
from billing_core.ports.clock import Clock, IdSource
from billing_core.ports.payments import (
    Checkout,
    CheckoutOrder,
    Dispute,
    Payment,
    PaymentState,
    Refund,
    RefundState,
)

__all__ = ["Bank", "Fault", "News", "Verdict"]

T = TypeVar("T")

Fault = Literal[
    "none", "timeout_before", "timeout_after", "in_progress", "rate_limited",
    "error_before", "error_after",
]  # fmt: skip
"""What befalls one request.  ``timeout_…``: no answer, before or after it took effect.
``error_…``: an internal failure, before or after, repeated for as long as the key is kept."""


@frozen
class News:
    """An event: ``body`` is what is posted, without the time that it is signed at."""

    id: str
    created: int
    body: bytes


@frozen
class Verdict:
    """What the bank says to a charge."""

    state: PaymentState
    failure: str | None = None


class Bank:
    """The state of a fake provider, and what others do to it.  Threads may share it;
    whoever holds ``lock`` sees several things at one moment."""

    def __init__(
        self, *, livemode: bool, secrets: Sequence[str], clock: Clock, ids: IdSource
    ) -> None:
        self._livemode = livemode
        self._secrets = tuple(secrets)
        self._clock = clock
        self._ids = ids
        self.lock = threading.RLock()
        self._orders: dict[str, CheckoutOrder] = {}
        self._checkouts: dict[str, Checkout] = {}
        self._payments: dict[str, Payment] = {}
        self._customers: set[str] = set()
        self._methods: dict[str, str] = {}
        self._verdicts: dict[str, deque[Verdict]] = {}
        self._garbled: set[str] = set()
        self._pending_refunds = False
        self._faults: deque[Fault] = deque()
        self._news: list[News] = []
        self._delivered = 0

    # -- The network ----------------------------------------------------------------------

    def fault(self, *faults: Fault) -> None:
        """What is to befall the next requests, one each; ``none`` lets one pass."""
        with self.lock:
            self._faults.extend(faults)

    def deliveries(self) -> list[tuple[bytes, str]]:
        """The webhooks that have not been asked for yet: body and signature header, signed
        now, oldest first.  Deliver them in any order, as often as you like, or not at all."""
        with self.lock:
            news = self._news[self._delivered :]
            self._delivered = len(self._news)
            if not self._secrets:
                return []
            return [
                (each.body, signed(each.body, self._secrets[0], self._clock())) for each in news
            ]

    def garble(self, name: str) -> None:
        """An event, or a payment, loses what it says, so that nobody can read it."""
        with self.lock:
            if name in self._payments:
                self._garbled.add(name)
            for place, each in enumerate(self._news):
                if each.id == name:
                    self._news[place] = News(name, each.created, b'{"id": "%s"}' % name.encode())

    # -- The customer ---------------------------------------------------------------------

    def checkout(self, checkout: str) -> Checkout:
        """A checkout as it stands, without asking over the network."""
        with self.lock:
            return self._found(self._checkouts, "checkout", checkout)

    def order_of(self, checkout: str) -> CheckoutOrder:
        """What a checkout was opened for."""
        with self.lock:
            self._found(self._checkouts, "checkout", checkout)
            return self._orders[checkout]

    def pay(
        self,
        checkout: str,
        *,
        tax: int = 0,
        discount: int = 0,
        currency: str | None = None,
        later: bool = False,
    ) -> None:
        """Submit an open checkout.  ``tax`` and ``discount``, in minor units, and
        ``currency`` alter what is paid; ``later``: the money is still under way."""
        with self.lock:
            opened = self._opened(checkout)
            total = opened.subtotal - discount + tax
            opened = evolve(
                opened,
                state="complete",
                url=None,
                subtotal=opened.subtotal - discount,
                total=total,
                currency=currency or opened.currency,
            )
            if total == 0:
                self._checkouts[checkout] = evolve(opened, paid="no_payment_required", payment=None)
                self._tell("checkout", "completed", checkout=checkout)
                return
            opened = self._with_customer(opened)
            payment = self._payment_for(opened, "processing" if later else "succeeded")
            self._checkouts[checkout] = evolve(
                opened, paid="unpaid" if later else "paid", payment=payment.id
            )
            self._put(payment)
            self._tell("checkout", "completed", checkout=checkout)

    def refuse(self, checkout: str, code: str = "generic_decline") -> None:
        """Try to pay with a card that is declined; the checkout stays open."""
        with self.lock:
            opened = self._opened(checkout)
            payment = evolve(self._payment_for(opened, "declined"), failure=code)
            self._checkouts[checkout] = evolve(opened, payment=payment.id)
            self._put(payment)

    def settle(self, checkout: str, *, succeeded: bool) -> None:
        """The money of a checkout that was paid ``later`` arrives, or does not."""
        with self.lock:
            complete = self._found(self._checkouts, "checkout", checkout)
            if complete.paid != "unpaid" or complete.payment is None:
                raise InvalidCommand("checkout", checkout, "one whose money is under way")
            payment = self._payments[complete.payment]
            if succeeded:
                self._checkouts[checkout] = evolve(complete, paid="paid")
                self._put(evolve(payment, state="succeeded", received=payment.amount))
                self._tell("checkout", "async_payment_succeeded", checkout=checkout)
            else:
                self._put(evolve(payment, state="declined", failure="insufficient_funds"))
                self._tell("checkout", "async_payment_failed", checkout=checkout)

    def expire(self, checkout: str) -> None:
        """The customer never came back."""
        with self.lock:
            self._checkouts[checkout] = evolve(self._opened(checkout), state="expired", url=None)
            self._tell("checkout", "expired", checkout=checkout)

    def save_method(self) -> tuple[str, str]:
        """A new customer with a saved method: their ids."""
        with self.lock:
            return self._saved_method(self._new_customer())

    def detach(self, method: str) -> None:
        """The saved method is removed."""
        with self.lock:
            customer = self._methods.pop(method)
            self._tell("method_detached", "detached", method=method, customer=customer)

    def delete_customer(self, customer: str) -> None:
        """A customer is deleted, with all methods: the payments stay."""
        with self.lock:
            self._customers.remove(customer)
            self._methods = {m: whose for m, whose in self._methods.items() if whose != customer}
            self._tell("customer_deleted", "deleted", customer=customer)

    def authenticate(self, payment: str) -> None:
        """The customer comes back and finishes a payment that asked for them."""
        with self.lock:
            asked = self._found(self._payments, "payment", payment)
            if asked.state != "authentication_required":
                raise InvalidCommand("payment", payment, "one that asks for authentication")
            self._put(_succeeded(asked))

    # -- The bank -------------------------------------------------------------------------

    def decline(self, method: str, times: int = 1, code: str = "insufficient_funds") -> None:
        """Decline the next charges of a method."""
        self._say(method, Verdict("declined", code), times)

    def require_authentication(self, method: str, times: int = 1) -> None:
        """Ask for the customer at the next charges of a method."""
        code = "authentication_required"
        self._say(method, Verdict("authentication_required", code), times)

    def delay(self, method: str, times: int = 1) -> None:
        """Leave the next charges of a method ``processing``, until :meth:`arrive`."""
        self._say(method, Verdict("processing"), times)

    def arrive(self, payment: str, *, succeeded: bool) -> None:
        """The money of a charge that was ``processing`` arrives, or does not."""
        with self.lock:
            delayed = self._found(self._payments, "payment", payment)
            if delayed.state != "processing":
                raise InvalidCommand("payment", payment, "one that is processing")
            if succeeded:
                self._put(_succeeded(delayed))
            else:
                self._put(evolve(delayed, state="declined", failure="insufficient_funds"))

    def dispute(self, payment: str, amount: int | None = None, *, inquiry: bool = False) -> str:
        """Open a dispute of all or ``amount``, withdrawing it at once unless an ``inquiry``."""
        with self.lock:
            disputed = self._found(self._payments, "payment", payment)
            wanted: int = disputed.received if amount is None else amount
            taken = 0 if inquiry else wanted
            made = Dispute(
                id=self._new("dp"),
                amount=wanted,
                state="inquiry" if inquiry else "open",
                withdrawn=taken,
                reinstated=0,
            )
            disputes = (*disputed.disputes, made)
            self._payments[payment] = evolve(disputed, disputes=disputes)
            self._tell("dispute", "created", payment=payment)
            if taken:
                self._tell("dispute", "funds_withdrawn", payment=payment)
            return made.id

    def close_dispute(self, dispute: str, *, won: bool, reinstated: int | None = None) -> None:
        """Decide a dispute; a won one gives back what it took, or ``reinstated``; one that is
        lost after it was won takes that again."""
        with self.lock:
            payment = self._holding(lambda each: any(d.id == dispute for d in each.disputes))
            disputes = tuple(
                _closed(each, won=won, reinstated=reinstated) if each.id == dispute else each
                for each in payment.disputes
            )
            self._payments[payment.id] = evolve(payment, disputes=disputes)
            self._tell("dispute", "closed", payment=payment.id)
            if won:
                self._tell("dispute", "funds_reinstated", payment=payment.id)

    def hold_refunds(self, pending: bool = True) -> None:
        """Whether refunds made from now on stay ``pending`` until :meth:`settle_refund`."""
        with self.lock:
            self._pending_refunds = pending

    def settle_refund(self, refund: str, *, succeeded: bool) -> None:
        """A refund arrives or fails; one that had succeeded can still fail."""
        with self.lock:
            payment = self._holding(lambda each: any(r.id == refund for r in each.refunds))
            state: RefundState = "succeeded" if succeeded else "failed"
            refunds = tuple(
                evolve(each, state=state) if each.id == refund else each for each in payment.refunds
            )
            self._payments[payment.id] = evolve(payment, refunds=refunds)
            self._tell("refund", "updated" if succeeded else "failed", payment=payment.id)

    def refund_in_dashboard(self, payment: str, amount: int | None = None) -> str:
        """Our own staff refund by hand, all that is left or ``amount``; the refund's id."""
        with self.lock:
            return self._refund(payment, amount, None).id

    def relabel(self, name: str, org: str | None = None, order: str | None = None) -> None:
        """Our own staff edit what we wrote on a payment, a checkout or a refund: it names
        another org and order, or none; a refund has no key of ours any more."""
        with self.lock:
            if name in self._checkouts:
                found = self._checkouts[name]
                self._checkouts[name] = evolve(found, org=org, order=order)
            elif name in self._payments:
                edited = evolve(self._payments[name], org=org, order=order, attempt=None)
                self._payments[name] = edited
            else:
                payment = self._holding(lambda each: any(r.id == name for r in each.refunds))
                refunds = tuple(
                    evolve(each, key=None) if each.id == name else each for each in payment.refunds
                )
                self._payments[payment.id] = evolve(payment, refunds=refunds)

    # -- Bookkeeping, under the lock ------------------------------------------------------

    def _refund(self, payment: str, amount: int | None, key: str | None) -> Refund:
        refunded = self._found(self._payments, "payment", payment)
        left = refunded.received - refunded.refunded
        wanted: int = left if amount is None else amount
        if not 0 < wanted <= left:
            raise PaymentError(
                f"refund of {wanted} of payment {payment!r}; expected 1 to {left}",
                kind="invalid_request",
            )
        state: RefundState = "pending" if self._pending_refunds else "succeeded"
        refund = Refund(id=self._new("re"), payment=payment, amount=wanted, state=state, key=key)
        self._payments[payment] = evolve(refunded, refunds=(*refunded.refunds, refund))
        self._tell("refund", "created", payment=payment)
        return refund

    def _opened(self, checkout: str) -> Checkout:
        opened = self._found(self._checkouts, "checkout", checkout)
        if opened.state != "open":
            raise InvalidCommand("checkout", checkout, f"an open one; it is {opened.state}")
        return opened

    def _with_customer(self, checkout: Checkout) -> Checkout:
        """With the customer and the saved method that its order asks for."""
        if not self._orders[checkout.id].save_method:
            return checkout
        customer, method = self._saved_method(checkout.customer or self._new_customer())
        return evolve(checkout, customer=customer, method=method)

    def _new_customer(self) -> str:
        customer = self._new("cus")
        self._customers.add(customer)
        return customer

    def _saved_method(self, customer: str) -> tuple[str, str]:
        method = self._new("pm")
        self._methods[method] = customer
        self._tell("method_attached", "attached", method=method, customer=customer)
        return customer, method

    def _payment_for(self, checkout: Checkout, state: PaymentState) -> Payment:
        """A checkout's payment: made at the first try to pay, and then the same."""
        made = self._payments.get(checkout.payment or "")
        return Payment(
            id=self._new("pi") if made is None else made.id,
            state=state,
            amount=checkout.total,
            received=checkout.total if state == "succeeded" else 0,
            subtotal=checkout.subtotal,
            currency=checkout.currency,
            livemode=self._livemode,
            created=self._seconds() if made is None else made.created,
            org=checkout.org,
            order=checkout.order,
            attempt=None,
            checkout=checkout.id,
            customer=checkout.customer,
            method=checkout.method,
        )

    def _put(self, payment: Payment) -> None:
        self._payments[payment.id] = payment
        self._tell("payment", payment.state, payment=payment.id)

    def _say(self, method: str, verdict: Verdict, times: int) -> None:
        with self.lock:
            self._verdicts.setdefault(method, deque()).extend([verdict] * times)

    def _tell(self, kind: str, word: str, **named: str | None) -> None:
        event = self._new("evt")
        created = self._seconds()
        value: dict[str, Any] = {
            "id": event,
            "kind": kind,
            "word": f"{kind}.{word}",
            "created": created,
            "livemode": self._livemode,
            "named": named,
        }
        self._news.append(News(event, created, json.dumps(value).encode()))

    def _found(self, things: Mapping[str, T], kind: str, name: str) -> T:
        if name not in things:
            raise PaymentError(f"no {kind} {name!r} at the fake provider", kind="not_found")
        return things[name]

    def _holding(self, has: Callable[[Payment], bool]) -> Payment:
        found = next((each for each in self._payments.values() if has(each)), None)
        if found is None:
            raise PaymentError("no payment with that refund or dispute", kind="not_found")
        return found

    def _seconds(self) -> int:
        """Now, rounded down to the whole second that a provider keeps."""
        return self._clock() // 1_000_000 * 1_000_000

    def _new(self, kind: str) -> str:
        return f"{kind}_{self._ids()}"


def _succeeded(payment: Payment) -> Payment:
    return evolve(payment, state="succeeded", received=payment.amount, failure=None, recovery=None)


def _closed(dispute: Dispute, *, won: bool, reinstated: int | None) -> Dispute:
    if dispute.state == "inquiry":
        return evolve(dispute, state="closed")
    if not won:
        return evolve(dispute, state="lost", withdrawn=dispute.withdrawn + dispute.reinstated)
    returned = dispute.withdrawn if reinstated is None else reinstated
    return evolve(dispute, state="won", reinstated=returned)
