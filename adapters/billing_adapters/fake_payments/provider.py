"""The fake's side of the payment port: keys, faults, and what is asked of it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from attrs import frozen

from billing_adapters.credentials import checked_webhook_secrets
from billing_adapters.fake_payments.bank import Bank, Verdict
from billing_adapters.webhooks import verified
from billing_core.errors import InvalidCommand, PaymentError
from billing_core.ports.clock import Clock, IdSource
from billing_core.ports.payments import (
    ChargeAttempt,
    Checkout,
    CheckoutOrder,
    Notice,
    NoticeKind,
    Page,
    Payment,
    PaymentProvider,
    Refund,
)
from billing_core.values.text import checked_name
from billing_core.values.times import DAY

__all__ = ["FakePayments"]

T = TypeVar("T")

_PAGE = 100
_ODD = AttributeError, InvalidCommand, LookupError, TypeError, ValueError  # what no event raises


@frozen
class _Kept:
    """What a key was used for: the answer, None for an internal failure."""

    asked: object
    answer: Any
    since: int


class FakePayments(Bank, PaymentProvider):
    """A payment provider in memory, for development, demos and tests; all is gone with the process.

    What requests do is said at `billing_core.ports.payments.PaymentProvider`.  The further methods
    are what customers, banks and the network do.

    Args:
        livemode: What it says that it is; no money moves in either.
        webhook_secrets: As a real provider's; the first one signs.
        address: The URL under which `CheckoutPage` is mounted.
        clock: Microseconds since 1970, UTC; None: the machine's time.
        ids: A source of ids; None: random ones.
    """

    def __init__(
        self,
        *,
        livemode: bool = False,
        webhook_secrets: Sequence[str] = ("whsec_fake",),
        address: str = "http://localhost:8000/fake-checkout",
        clock: Clock | None = None,
        ids: IdSource | None = None,
    ) -> None:
        super().__init__(
            livemode=livemode,
            secrets=checked_webhook_secrets(webhook_secrets),
            clock=clock or (lambda: time.time_ns() // 1000),
            ids=ids or (lambda: uuid.uuid4().hex),
        )
        self._address = address.rstrip("/")
        self._kept: dict[str, _Kept] = {}

    @property
    def livemode(self) -> bool:
        return self._livemode

    @property
    def keys_kept(self) -> int:
        return DAY

    @property
    def news_kept(self) -> int:
        return 30 * DAY

    def create_checkout(self, order: CheckoutOrder, *, key: str) -> Checkout:
        checked_name("key", key)
        return self._once(key, order, lambda: self._open(order))

    def read_checkout(self, checkout: str) -> Checkout:
        return self._read(lambda: self._found(self._checkouts, "checkout", checkout))

    def charge(self, attempt: ChargeAttempt) -> Payment:
        payment = self._once(attempt.attempt, attempt, lambda: self._charge(attempt))
        try:
            return self.read_payment(payment)
        except PaymentError as error:
            raise _unknown() from error

    def find_charge(self, attempt: str, *, customer: str, since: int) -> Payment | None:
        def find() -> Payment | None:
            found = [
                each
                for each in self._payments.values()
                if each.attempt == attempt
                and each.customer == customer
                and each.created >= _second(since)
                and each.id not in self._garbled
            ]
            ranks = {"succeeded": 0, "processing": 1}
            return min(
                found, key=lambda each: (ranks.get(each.state, 2), -each.created), default=None
            )

        return self._read(find)

    def read_payment(self, payment: str) -> Payment:
        def read() -> Payment:
            found = self._found(self._payments, "payment", payment)
            if payment in self._garbled:
                raise PaymentError(
                    f"payment {payment!r} at the fake provider cannot be read",
                    kind="unavailable",
                    retryable=True,
                )
            return found

        return self._read(read)

    def refund(self, payment: str, *, key: str, amount: int | None = None) -> Refund:
        checked_name("key", key)
        asked = ("refund", payment, amount)
        return self._once(key, asked, lambda: self._refund(payment, amount, key))

    def notices(self, since: int, *, cursor: str | None = None) -> Page[Notice]:
        def listed() -> Page[Notice]:
            first = max(since, self._clock() - self.news_kept)
            wanted = [each for each in reversed(self._news) if each.created >= _second(first)]
            page = _page(wanted, cursor, lambda each: each.id)
            notices: list[Notice] = []
            unreadable: list[str] = []
            for each in page.items:
                try:
                    notices.append(_notice(json.loads(each.body)))
                except _ODD as error:
                    unreadable.append(f"event {each.id} ({type(error).__name__})")
            return Page(tuple(notices), page.next, self._seconds(), tuple(unreadable))

        return self._read(listed)

    def payments(
        self, start: int, end: int, *, customer: str | None = None, cursor: str | None = None
    ) -> Page[Payment]:
        def listed() -> Page[Payment]:
            wanted = [
                each
                for each in reversed(self._payments.values())
                if _second(start) <= each.created < end and customer in (None, each.customer)
            ]
            page = _page(wanted, cursor, lambda each: each.id)
            read = tuple(each for each in page.items if each.id not in self._garbled)
            odd = tuple(f"payment {each.id}" for each in page.items if each.id in self._garbled)
            return Page(read, page.next, unreadable=odd)

        return self._read(listed)

    def read_webhook(self, body: bytes, signature: str | None, *, now: int) -> Notice:
        event = verified(body, signature, secrets=self._secrets, now=now)
        if event.get("livemode") is not self._livemode:
            raise PaymentError(
                f"webhook refused: an event with livemode {event.get('livemode')!r}; expected "
                f"{self._livemode}",
                kind="wrong_mode",
            )
        try:
            return _notice(event)
        except _ODD as error:
            raise PaymentError(
                f"webhook refused: an event without what every event has ({error!r})",
                kind="bad_webhook",
            ) from error

    # -- What requests do -----------------------------------------------------------------

    def _open(self, order: CheckoutOrder) -> Checkout:
        self._check_customer(order.customer)
        name = self._new("cs")
        opened = Checkout(
            id=name,
            url=f"{self._address}/{name}",
            state="open",
            paid="unpaid",
            subtotal=order.amount,
            total=order.amount,
            currency=order.currency,
            livemode=self._livemode,
            org=order.org,
            order=order.order,
            payment=None,
            customer=order.customer,
            method=None,
        )
        self._orders[name] = order
        self._checkouts[name] = opened
        return opened

    def _check_customer(self, customer: str | None) -> None:
        if customer is not None and customer not in self._customers:
            raise PaymentError(
                f"no customer {customer!r} at the fake provider", kind="not_found",
                missing="customer",
            )  # fmt: skip

    def _charge(self, attempt: ChargeAttempt) -> str:
        """The id of the payment made, whatever became of it."""
        self._check_customer(attempt.customer)
        if self._methods.get(attempt.method) != attempt.customer:
            raise PaymentError(
                f"customer {attempt.customer!r} has no method {attempt.method!r} attached",
                kind="not_found",
                missing="method",
            )
        script = self._verdicts.get(attempt.method)
        verdict = script.popleft() if script else Verdict("succeeded")
        name = self._new("pi")
        asks = verdict.state == "authentication_required"
        payment = Payment(
            id=name,
            state=verdict.state,
            amount=attempt.amount,
            received=attempt.amount if verdict.state == "succeeded" else 0,
            subtotal=attempt.amount,
            currency=attempt.currency,
            livemode=self._livemode,
            created=self._seconds(),
            org=attempt.org,
            order=None,
            attempt=attempt.attempt,
            checkout=None,
            customer=attempt.customer,
            method=attempt.method,
            failure=verdict.failure,
            recovery=f"{name}_secret_{self._ids()}" if asks else None,
        )
        self._put(payment)
        return name

    def _once(self, key: str, asked: object, effect: Callable[[], T]) -> T:
        """A write: takes effect once per key, for as long as the key is kept.

        What is refused unexecuted (an invalid request) does not use the key up.
        """
        with self.lock:
            fault = self._befalls()
            if fault == "timeout_before":
                raise _unknown()
            if fault == "in_progress":
                raise PaymentError(
                    f"a request with key {key!r} is still running; repeat it later",
                    kind="in_progress",
                    retryable=True,
                    outcome_unknown=True,
                )
            now = self._clock()
            kept = self._kept.get(key)
            if kept is None or now - kept.since >= self.keys_kept:
                answer = None if fault == "error_before" else effect()
                kept = _Kept(asked, None if fault == "error_after" else answer, now)
                self._kept[key] = kept
            elif kept.asked != asked:
                raise PaymentError(
                    f"key {key!r} was used with other parameters; use a new one",
                    kind="key_reused",
                )
            if fault == "timeout_after" or kept.answer is None:
                raise _unknown()
            answered: T = kept.answer
            return answered

    def _read(self, answer: Callable[[], T]) -> T:
        with self.lock:
            if self._befalls() != "none":
                raise PaymentError(
                    "the fake provider does not answer; repeat it later",
                    kind="unavailable",
                    retryable=True,
                )
            return answer()

    def _befalls(self) -> str:
        fault = self._faults.popleft() if self._faults else "none"
        if fault == "rate_limited":
            raise PaymentError(
                "too many requests; repeat it later", kind="rate_limited", retryable=True
            )
        return fault


def _notice(event: Mapping[str, Any]) -> Notice:
    """An event of :meth:`Bank.deliveries`; raises what reading raises for what is none."""
    kinds = get_args(NoticeKind)
    kind: NoticeKind = event["kind"] if event["kind"] in kinds else "ignored"
    named: Mapping[str, str | None] = {} if kind == "ignored" else event["named"]
    return Notice(
        event=event["id"], kind=kind, word=event["word"], created=event["created"], **named
    )


def _page(wanted: Sequence[T], cursor: str | None, name: Callable[[T], str]) -> Page[T]:
    """The page that begins after ``cursor``, newest first."""
    names = [name(each) for each in wanted]
    if cursor is not None and cursor not in names:
        raise PaymentError(f"no page after {cursor!r} in this list", kind="not_found")
    begin = 0 if cursor is None else names.index(cursor) + 1
    more = len(wanted) > begin + _PAGE
    return Page(tuple(wanted[begin : begin + _PAGE]), names[begin + _PAGE - 1] if more else None)


def _second(time: int) -> int:
    """Rounded down to the whole second."""
    return time // 1_000_000 * 1_000_000


def _unknown() -> PaymentError:
    return PaymentError(
        "the fake provider did not answer; whether it took effect is unknown: repeat it with "
        "the same key, or look it up",
        kind="unknown_outcome",
        retryable=True,
        outcome_unknown=True,
    )
