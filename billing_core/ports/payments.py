"""The payment port: how money comes in and goes back, whoever moves it.

A provider moves money; it never decides about credit.  Amounts are integers of the
currency's minor units (:mod:`billing_core.values.currencies`), times are microseconds since 1970,
ids are the provider's except where they are ours (org, order, attempt, key).

Three rules make money right across a network that loses answers:

1. *Ours is written first.*  An order or attempt is on record before the provider hears of
   it; its id goes along as metadata, so that whatever comes back can be recognised.  What has
   come back once is known by the provider's own id: metadata can be edited there.
2. *An unknown outcome is not a failure.*  :class:`~billing_core.errors.PaymentError` says
   ``outcome_unknown``.  The same call with the same key finds out, while the provider keeps
   keys (``keys_kept``); after that only :meth:`PaymentProvider.find_charge` does.
3. *Amounts are read back.*  A :class:`Notice` only names what has changed.

Prove a provider right with :mod:`billing_core.testing.payments.conformance`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen
from attrs.validators import optional

from billing_core.errors import InvalidCommand
from billing_core.values.currencies import minor_unit
from billing_core.values.money import checked_currency
from billing_core.values.text import checked_name

__all__ = [
    "ChargeAttempt",
    "Checkout",
    "CheckoutOrder",
    "CheckoutState",
    "Dispute",
    "DisputeState",
    "Notice",
    "NoticeKind",
    "Page",
    "PaidState",
    "Payment",
    "PaymentProvider",
    "PaymentState",
    "Refund",
    "RefundState",
]

CheckoutState = Literal["open", "complete", "expired"]

PaidState = Literal["paid", "unpaid", "no_payment_required"]
"""``unpaid`` is not final: a complete checkout may still be paid, or fail, days later."""

PaymentState = Literal[
    "open", "processing", "succeeded", "declined", "authentication_required", "canceled"
]
"""Only ``succeeded`` is money, and only ``succeeded`` and ``canceled`` are final: one that is
``declined`` or waits for ``authentication_required`` stays payable until it is canceled."""

RefundState = Literal["pending", "succeeded", "failed"]

DisputeState = Literal["inquiry", "open", "won", "lost", "closed"]
"""``inquiry``: the bank asks, no money has moved.  ``closed``: ended without a verdict."""

NoticeKind = Literal[
    "checkout", "payment", "refund", "dispute", "method_attached", "method_detached",
    "customer_deleted", "ignored",
]  # fmt: skip

T = TypeVar("T")

_LARGEST = 2**63 - 1
_LATEST = 10**17  # microseconds, in the year 5138: later than any time that means something


# -- what a provider's answer is made of: checked, as it comes from outside ----------------


def _is_id(_: object, of: Attribute[Any], value: object) -> None:
    checked_name(of.name, value)


def _is_text(_: object, of: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value.isprintable():
        raise InvalidCommand(of.name, value, "printable text")


def _is_amount(_: object, of: Attribute[Any], value: object) -> None:
    if type(value) is not int or abs(value) > _LARGEST:
        raise InvalidCommand(of.name, value, "an int of minor units, of 64 bits")


def _is_time(_: object, of: Attribute[Any], value: object) -> None:
    if type(value) is not int or not 0 <= value < _LATEST:
        raise InvalidCommand(of.name, value, "an int of microseconds since 1970")


def _is_bool(_: object, of: Attribute[Any], value: object) -> None:
    if type(value) is not bool:
        raise InvalidCommand(of.name, value, "True or False")


def _is_currency(_: object, of: Attribute[Any], value: object) -> None:
    checked_currency(value)


def _is_currency_or_none_yet(_: object, of: Attribute[Any], value: object) -> None:
    if value != "":
        checked_currency(value)


def _one_of(kind: Any) -> Callable[[object, Attribute[Any], object], None]:
    words = get_args(kind)

    def is_one(_: object, of: Attribute[Any], value: object) -> None:
        if not isinstance(value, str) or value not in words:
            raise InvalidCommand(of.name, value, f"one of {', '.join(words)}")

    return is_one


@frozen(kw_only=True)
class CheckoutOrder:
    """What to ask a customer to pay on the provider's page.

    ``org``, ``order``: ours, put into the metadata of checkout and payment.
    ``amount``: the subtotal before tax, in minor units.  ``description``: what the customer
    reads.  ``success_url``: where the customer comes back to; ``{CHECKOUT_SESSION_ID}`` in
    it becomes the checkout's id.  ``save_method``: keep the card for charges off-session,
    making a customer if ``customer`` is None.  ``receipt_email``: where a receipt is sent.
    ``automatic_tax``: add tax, computed by the provider, on top of ``amount``.
    """

    org: str
    order: str
    amount: int
    currency: str
    description: str
    success_url: str
    cancel_url: str
    save_method: bool = False
    customer: str | None = None
    receipt_email: str | None = None
    automatic_tax: bool = False

    def __attrs_post_init__(self) -> None:
        checked_name("org", self.org)
        checked_name("order", self.order)
        checked_name("description", self.description)
        checked_payable(self.amount, self.currency)
        _check_optional("customer", self.customer)
        _check_optional("receipt_email", self.receipt_email)
        _check_url("success_url", self.success_url)
        _check_url("cancel_url", self.cancel_url)


@frozen(kw_only=True)
class ChargeAttempt:
    """What to charge to a saved method while the customer is away.

    ``attempt``: our id of this one attempt.  It is the idempotency key and in the metadata;
    another attempt needs another id.  ``amount``: in minor units, tax included if any.
    """

    org: str
    attempt: str
    amount: int
    currency: str
    customer: str
    method: str
    description: str
    receipt_email: str | None = None

    def __attrs_post_init__(self) -> None:
        checked_name("org", self.org)
        checked_name("attempt", self.attempt)
        checked_name("customer", self.customer)
        checked_name("method", self.method)
        checked_name("description", self.description)
        checked_payable(self.amount, self.currency)
        _check_optional("receipt_email", self.receipt_email)


@frozen(kw_only=True)
class Checkout:
    """A checkout as the provider has it.

    ``url``: where to send the customer while it is open.  ``subtotal``: what is paid before
    tax and after discounts; ``total``: what is paid.  ``org``, ``order``: from its metadata,
    None where it is none of ours.  ``payment``: None until the customer has submitted.
    ``method``: the saved method, once there is one that may be charged off-session.
    """

    id: str = field(validator=_is_id)
    url: str | None = field(validator=optional(_is_text))
    state: CheckoutState = field(validator=_one_of(CheckoutState))
    paid: PaidState = field(validator=_one_of(PaidState))
    subtotal: int = field(validator=_is_amount)
    total: int = field(validator=_is_amount)
    currency: str = field(validator=_is_currency_or_none_yet)
    livemode: bool = field(validator=_is_bool)
    org: str | None = field(validator=optional(_is_id))
    order: str | None = field(validator=optional(_is_id))
    payment: str | None = field(validator=optional(_is_id))
    customer: str | None = field(validator=optional(_is_id))
    method: str | None = field(validator=optional(_is_id))


@frozen(kw_only=True)
class Refund:
    """Money on its way back: ``amount`` in minor units of its payment's currency.

    ``pending`` counts as refunded; one that fails gives the money back to us, also after it
    was ``succeeded``.  ``key``: the caller's, None where we did not ask for it.
    """

    id: str = field(validator=_is_id)
    payment: str = field(validator=_is_id)
    amount: int = field(validator=_is_amount)
    state: RefundState = field(validator=_one_of(RefundState))
    key: str | None = field(validator=optional(_is_id))


@frozen(kw_only=True)
class Dispute:
    """A customer's bank wants money back.  ``withdrawn``, ``reinstated``: what it has taken
    from us and given back so far, in minor units of the payment's currency, without fees.  One
    that is lost after it was won has withdrawn twice."""

    id: str = field(validator=_is_id)
    amount: int = field(validator=_is_amount)
    state: DisputeState = field(validator=_one_of(DisputeState))
    withdrawn: int = field(validator=_is_amount)
    reinstated: int = field(validator=_is_amount)


@frozen(kw_only=True)
class Payment:
    """A payment as the provider has it, with all that was taken back of it.

    ``amount``: the total asked for, tax included; ``received``: what came in, 0 until
    ``succeeded``.  ``subtotal``: the part of ``amount`` before tax and after discounts, None
    where the checkout it was made by cannot be found.  ``org`` and one of ``order`` and
    ``attempt``: from its metadata, None where it is none of ours.  ``checkout``: that of the
    order.  ``created``: rounded down to what the provider keeps.

    What is claimed is believed as far as it can be true: see :attr:`excess`.

    ``failure``: the provider's code of the last refusal.  ``recovery``: where
    ``authentication_required``, the secret with which the provider's own page or script lets
    the customer finish this very payment.
    """

    id: str = field(validator=_is_id)
    state: PaymentState = field(validator=_one_of(PaymentState))
    amount: int = field(validator=_is_amount)
    received: int = field(validator=_is_amount)
    subtotal: int | None = field(validator=optional(_is_amount))
    currency: str = field(validator=_is_currency)
    livemode: bool = field(validator=_is_bool)
    created: int = field(validator=_is_time)
    org: str | None = field(validator=optional(_is_id))
    order: str | None = field(validator=optional(_is_id))
    attempt: str | None = field(validator=optional(_is_id))
    checkout: str | None = field(validator=optional(_is_id))
    customer: str | None = field(validator=optional(_is_id))
    method: str | None = field(validator=optional(_is_id))
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    failure: str | None = field(default=None, validator=optional(_is_text))
    recovery: str | None = field(default=None, repr=False, validator=optional(_is_text))

    @property
    def refunded(self) -> int:
        """What went back by refunds, pending ones included, failed ones not."""
        return sum(each.amount for each in self.refunds if each.state != "failed")

    @property
    def disputed(self) -> int:
        """What disputes hold of it now: withdrawn and not reinstated.  Of each no more than was
        received, nor less than nothing, whatever figures the provider gives."""
        held = (each.withdrawn - each.reinstated for each in self.disputes)
        return sum(max(0, min(each, self.received)) for each in held)

    @property
    def kept(self) -> int:
        """What of ``received`` is still ours: no more than that, and never below 0, though one
        amount can be both refunded and disputed."""
        return min(self.received, max(0, self.received - self.refunded - self.disputed))

    @property
    def excess(self) -> str | None:
        """What the provider claims beyond what can be true, and so is not believed: to have
        given back more than it took, or taken back more than was paid.  None: nothing."""
        held = [each.withdrawn - each.reinstated for each in self.disputes]
        given = -sum(each for each in held if each < 0)
        if given:
            return f"{given} more than was taken is given back, in minor units of {self.currency}"
        taken = self.refunded + sum(held) - self.received
        if self.received and taken > 0:
            return f"{taken} more than was paid is taken back, in minor units of {self.currency}"
        return None


@frozen(kw_only=True)
class Notice:
    """Something has changed at the provider.  It names what to read back and no amount.

    ``event``: the provider's id of the news; a repeated delivery has the same one.
    ``word``: the provider's word for it.  ``created``: when it happened there.
    ``api_version``: in which version of its interface the provider told it, for the logs.
    By kind: ``checkout`` names the checkout; ``payment``, ``refund`` and ``dispute`` the
    payment; ``method_attached`` and ``method_detached`` the method, and the customer where
    known; ``customer_deleted`` the customer; ``ignored`` nothing.
    """

    event: str = field(validator=_is_id)
    kind: NoticeKind = field(validator=_one_of(NoticeKind))
    word: str = field(validator=_is_text)
    created: int = field(validator=_is_time)
    api_version: str | None = field(default=None, validator=optional(_is_text))
    checkout: str | None = field(default=None, validator=optional(_is_id))
    payment: str | None = field(default=None, validator=optional(_is_id))
    customer: str | None = field(default=None, validator=optional(_is_id))
    method: str | None = field(default=None, validator=optional(_is_id))


@frozen
class Page(Generic[T]):
    """One page of a list.  ``next``: the cursor of the next page, None at the end.  ``at``: when
    it was made, by the provider's own clock; None where it does not say.  ``unreadable``: what
    was listed but is not as documented, each by its id as far as it has one, and why."""

    items: tuple[T, ...]
    next: str | None
    at: int | None = None
    unreadable: tuple[str, ...] = ()


class PaymentProvider(Protocol):
    """Moves money.  Safe to share between threads; every method may block on the network,
    for a bounded time, and raises PaymentError, never an error of the provider's client.

    What is answered may be of any shape.  The values above raise InvalidCommand where it is not
    what they are made of; that is a PaymentError too: ``unavailable`` of what reads,
    ``unknown_outcome`` of what writes, ``bad_webhook`` of what is posted.

    Any method: ``unauthorized``, ``rate_limited`` (retryable), ``invalid_request``.
    Methods that write take a key of 1 to 200 characters, unique among all keys ever used with
    this provider.  The same key and parameters do nothing again; with other parameters
    ``key_reused``; while the first call still runs ``in_progress`` (retryable, outcome
    unknown).  No answer, or a failure on their side: ``unknown_outcome``; some providers
    repeat such a failure for as long as they keep the key, so that looking up is what helps.
    Methods that read: ``unavailable`` (retryable) and, by id, ``not_found``.
    """

    @property
    def livemode(self) -> bool:
        """Whether it moves real money."""
        ...

    @property
    def keys_kept(self) -> int:
        """For how long, in microseconds since its first use, a key is surely remembered."""
        ...

    @property
    def news_kept(self) -> int:
        """For how long, in microseconds since it happened, news is surely listed."""
        ...

    def create_checkout(self, order: CheckoutOrder, *, key: str) -> Checkout:
        """Open a page where the customer pays ``order``; moves no money by itself.

        With a key used before: the checkout as it was first answered.  ``not_found`` with
        ``missing`` ``customer``: there is no such customer any more, and nothing was opened.
        """
        ...

    def read_checkout(self, checkout: str) -> Checkout:
        """A checkout as it stands."""
        ...

    def charge(self, attempt: ChargeAttempt) -> Payment:
        """Charge a saved method; the payment as it stands, whatever its state.

        A refusal is a payment too: ``declined`` with its ``failure``, or
        ``authentication_required`` with its ``recovery``.  ``processing`` is neither success
        nor failure: a notice will tell.  Repeating an attempt never charges twice while its
        key is kept, and never tries a declined card again.

        ``outcome_unknown``: repeat this call, or look with :meth:`find_charge`; once
        ``keys_kept`` has passed since the first call, repeating could charge again, so only
        look.  ``invalid_request``: nothing was charged by this call.  Nor by ``not_found``,
        whose ``missing`` says whether the customer is gone, or the method, or its being the
        customer's.
        """
        ...

    def find_charge(self, attempt: str, *, customer: str, since: int) -> Payment | None:
        """The payment made by an attempt, found by its metadata among the customer's
        payments created at ``since`` or later, on a list that is up to date, not a search
        index that lags; also where the customer is gone.  None: there is none *now*; a
        request may still be under way, so it is final only once the key has lapsed.  Leave
        room in ``since`` for clocks that differ.

        Where there are several (a key lapsed and the call was repeated) the one that counts
        most: succeeded, then processing, then the newest.  One that cannot be read hides no
        other.

        Metadata can be edited: so None alone does not mean that nothing was charged.  That is
        for :meth:`payments` of the customer to tell.
        """
        ...

    def read_payment(self, payment: str) -> Payment:
        """A payment as it stands, with every refund and dispute."""
        ...

    def refund(self, payment: str, *, key: str, amount: int | None = None) -> Refund:
        """Give back ``amount`` in minor units, or what has not been refunded yet.

        With a key used before: the refund as it was first answered.  ``invalid_request``:
        more than is left, or nothing to refund.
        """
        ...

    def notices(self, since: int, *, cursor: str | None = None) -> Page[Notice]:
        """What happened at ``since`` or later, in no particular order; for the sweep that
        finds what no webhook delivered.

        At most 100 a page.  What happens while pages are read may be missing from them: the
        next sweep begins where this one began, by ``at`` of its first page, less some minutes,
        since news can be listed late.  Providers forget news: see ``news_kept``.

        An event that cannot be read is named in ``unreadable``, and hides none of the others.
        """
        ...

    def payments(
        self, start: int, end: int, *, customer: str | None = None, cursor: str | None = None
    ) -> Page[Payment]:
        """Payments created from ``start`` on, before ``end``, in no particular order, on a list
        that is up to date; ``customer``: of this one alone, also where the customer is gone.

        At most 100 a page; those that are none of ours are listed too, with ``org`` None.  As
        :meth:`read_payment`, but inquiries that took no money may be missing.  A payment that
        cannot be read, and may be the customer's, is named in ``unreadable``, and hides none of
        the others.
        """
        ...

    def read_webhook(self, body: bytes, signature: str | None, *, now: int) -> Notice:
        """Verify what was posted to us, and say what to read back.

        ``body``: exactly as received.  ``signature``: the provider's header, if any.
        ``bad_signature``: none, by no known secret, or of another time (five minutes either
        way).  ``bad_webhook``: too large, or not what the provider sends.  ``wrong_mode``:
        of test mode where we are live, or the reverse.  An unknown type of event is
        ``ignored``, not an error.
        """
        ...


def checked_payable(amount: object, currency: object) -> int:
    """A positive int of minor units that can be charged in ``currency``."""
    unit = minor_unit(currency)
    if type(amount) is not int or amount <= 0:
        raise InvalidCommand("amount", amount, f"a positive int of minor units of {currency}")
    if amount % unit.step:
        raise InvalidCommand("amount", amount, f"a multiple of {unit.step} in {currency}")
    return amount


def _check_optional(name: str, value: object) -> None:
    if value is not None:
        checked_name(name, value)


# A host of plain characters: nothing that could be mistaken for syntax where URLs are listed.
_URL = re.compile(r"https?://[A-Za-z0-9._\-\[\]:]+([/?#]\S*)?")


def _check_url(name: str, url: object) -> None:
    if not (
        isinstance(url, str) and len(url) <= 2000 and url.isprintable() and _URL.fullmatch(url)
    ):
        raise InvalidCommand(name, url, "an absolute http or https URL of at most 2,000 characters")
    try:
        parts = urlsplit(url)
        fits = parts.hostname is not None and (parts.port is None or parts.port > 0)
        url.encode("latin-1")  # as a header has it
    except ValueError:
        fits = False
    if not fits:
        expected = "a URL with a host, and with what is not of latin-1 percent-encoded"
        raise InvalidCommand(name, url, expected)
