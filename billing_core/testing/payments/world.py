"""What the suite of :mod:`billing_core.testing.payments.conformance` plays on: a provider, and
everyone whom it meets.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Protocol

import pytest
from attrs import frozen

from billing_core.errors import PaymentError
from billing_core.ports.payments import (
    ChargeAttempt,
    Checkout,
    CheckoutOrder,
    Notice,
    Page,
    Payment,
    PaymentProvider,
)
from billing_core.testing.clock import SettableClock

__all__ = [
    "Fault",
    "PaymentWorld",
    "Saved",
    "Street",
    "WorldContract",
    "all_of",
    "every_notice",
    "every_payment",
    "notices_of",
    "order",
    "paid_checkout",
    "payment_of",
    "refused",
]

SECOND = timedelta(seconds=1)


Fault = Literal[
    "none", "timeout_before", "timeout_after", "in_progress", "rate_limited",
    "error_before", "error_after",
]  # fmt: skip


class Street(Protocol):
    """Customers, banks, our own staff, and the network: what a provider meets.

    Amounts are in minor units.  Every change is news, delivered and listed.
    """

    def pay(
        self,
        checkout: str,
        *,
        tax: int = 0,
        discount: int = 0,
        currency: str | None = None,
        later: bool = False,
    ) -> None:
        """Submit an open checkout, altered by tax, discount or currency; ``later``: the
        money is under way until :meth:`settle`."""
        ...

    def refuse(self, checkout: str, code: str = "generic_decline") -> None:
        """Try to pay a checkout with a card that is declined; it stays open."""
        ...

    def settle(self, checkout: str, *, succeeded: bool) -> None:
        """Money that was under way arrives, or does not."""
        ...

    def expire(self, checkout: str) -> None:
        """An open checkout is left until it expires."""
        ...

    def save_method(self) -> tuple[str, str]:
        """A new customer with a saved method: their ids."""
        ...

    def detach(self, method: str) -> None:
        """A saved method is removed."""
        ...

    def delete_customer(self, customer: str) -> None:
        """A customer is deleted, with all methods; no news tells of each of these."""
        ...

    def authenticate(self, payment: str) -> None:
        """The customer finishes a payment that asked for them."""
        ...

    def decline(self, method: str, times: int = 1, code: str = "insufficient_funds") -> None:
        """The next charges of a method are declined."""
        ...

    def require_authentication(self, method: str, times: int = 1) -> None:
        """The next charges of a method ask for the customer."""
        ...

    def delay(self, method: str, times: int = 1) -> None:
        """The next charges of a method stay under way until :meth:`arrive`."""
        ...

    def arrive(self, payment: str, *, succeeded: bool) -> None:
        """A delayed charge's money arrives, or does not."""
        ...

    def relabel(self, name: str, org: str | None = None, order: str | None = None) -> None:
        """Our staff edit the metadata of a payment, a checkout or a refund: it names another
        org and order, or none; of a refund, our key is gone."""
        ...

    def refund_in_dashboard(self, payment: str, amount: int | None = None) -> str:
        """Our staff refund by hand; the refund's id."""
        ...

    def hold_refunds(self, pending: bool = True) -> None:
        """Refunds made from now on stay pending until :meth:`settle_refund`."""
        ...

    def settle_refund(self, refund: str, *, succeeded: bool) -> None:
        """A refund arrives, or fails, even after it had succeeded."""
        ...

    def dispute(self, payment: str, amount: int | None = None, *, inquiry: bool = False) -> str:
        """A dispute is opened and its money withdrawn, or an inquiry; the dispute's id."""
        ...

    def close_dispute(self, dispute: str, *, won: bool, reinstated: int | None = None) -> None:
        """A dispute is decided; one that is won gives all back, or ``reinstated``, which may be
        more; one that is lost after it was won takes that again."""
        ...

    def fault(self, *faults: Fault) -> None:
        """What befalls the next requests, one each: ``none``; ``timeout_before`` and
        ``timeout_after`` (no answer, before or after it took effect); ``error_before`` and
        ``error_after`` (their failure); ``in_progress``; ``rate_limited``."""
        ...

    def garble(self, name: str) -> None:
        """An event that was listed, or a payment, loses what it says, our labels too, so that
        nobody can read it."""
        ...

    def deliveries(self) -> list[tuple[bytes, str]]:
        """The webhooks not yet asked for: body and signature, signed now."""
        ...


@frozen
class PaymentWorld:
    """A provider, whoever else there is, and the time that all but the provider's host see."""

    provider: PaymentProvider
    street: Street
    clock: SettableClock


@frozen
class Saved:
    """A customer with a method that may be charged."""

    customer: str
    method: str

    def attempt(self, attempt: str, amount: int = 700, currency: str = "USD") -> ChargeAttempt:
        """A charge of it."""
        return ChargeAttempt(
            org="acme",
            attempt=attempt,
            amount=amount,
            currency=currency,
            customer=self.customer,
            method=self.method,
            description="Automatic top-up",
        )


def order(order: str = "order-1", amount: int = 5000, **more: object) -> CheckoutOrder:
    """An order of 50 dollars by acme, or what ``more`` says."""
    fields: dict[str, object] = {
        "org": "acme",
        "order": order,
        "amount": amount,
        "currency": "USD",
        "description": "Prepaid credit",
        "success_url": "https://host.example/success?session_id={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://host.example/billing",
        **more,
    }
    return CheckoutOrder(**fields)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def paid_checkout(world: PaymentWorld, name: str = "order-1", **more: object) -> Checkout:
    """A checkout that was paid, as read back."""
    asked = order(name, **more)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    opened = world.provider.create_checkout(asked, key=name)
    world.street.pay(opened.id)
    return world.provider.read_checkout(opened.id)


def payment_of(world: PaymentWorld, checkout: Checkout) -> Payment:
    """The payment that a checkout names, read back."""
    assert checkout.payment is not None
    return world.provider.read_payment(checkout.payment)


def notices_of(world: PaymentWorld) -> list[Notice]:
    """What the webhooks not yet delivered say."""
    now = world.clock()
    delivered = world.street.deliveries()
    return [world.provider.read_webhook(body, signed, now=now) for body, signed in delivered]


def every_notice(world: PaymentWorld, since: int) -> list[Notice]:
    """All pages of the list of notices."""
    pages: list[Page[Notice]] = [world.provider.notices(since)]
    while pages[-1].next is not None:
        pages.append(world.provider.notices(since, cursor=pages[-1].next))
    assert all(len(page.items) <= 100 for page in pages)
    return [notice for page in pages for notice in page.items]


def every_payment(
    world: PaymentWorld, start: int, end: int, customer: str | None = None
) -> list[Payment]:
    """All pages of the list of payments."""
    pages: list[Page[Payment]] = [world.provider.payments(start, end, customer=customer)]
    while pages[-1].next is not None:
        more = world.provider.payments(start, end, customer=customer, cursor=pages[-1].next)
        pages.append(more)
    assert all(len(page.items) <= 100 for page in pages)
    return [payment for page in pages for payment in page.items]


def all_of(world: PaymentWorld) -> list[Payment]:
    """Every payment there ever was."""
    return every_payment(world, 0, world.clock() + 1_000_000)


class WorldContract:
    """What the parts of the suite share."""

    @pytest.fixture
    def world(self) -> PaymentWorld:
        raise NotImplementedError("say how to make your world: a fixture `world`")

    @pytest.fixture
    def saved(self, world: PaymentWorld) -> Saved:
        return Saved(*world.street.save_method())


def refused(error: pytest.ExceptionInfo[PaymentError]) -> tuple[str, bool, bool]:
    """The kind, and whether a repetition can help, and whether the outcome is unknown."""
    return error.value.kind, error.value.retryable, error.value.outcome_unknown
