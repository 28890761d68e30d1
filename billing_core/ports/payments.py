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

    Args:
        org: Whose order it is.  It goes into the metadata of the page and of the payment.
        order: Our id of the order, which goes into these metadata too.
        amount: The amount before tax, in minor units of ``currency``.
        currency: The account's currency.
        description: What the customer reads.
        success_url: Where the customer comes back to after paying.  ``{CHECKOUT_SESSION_ID}`` in it
            becomes the page's id.
        cancel_url: Where the customer comes back to without paying.
        save_method: Keep the card for charges while the customer is away; this makes a customer at
            the provider if ``customer`` is None.
        customer: The provider's id of a customer who is known already.
        receipt_email: Where a receipt is sent.  None: nowhere.
        automatic_tax: Add tax, which the provider computes, on top of ``amount``.

    Raises:
        InvalidCommand: An amount is not payable, or a name or URL is invalid.
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
    """What to charge to a saved method (a card) while the customer is away.

    Args:
        org: Whose attempt it is.
        attempt: Our id of this one attempt.  It is the idempotency key, and goes into the metadata.
            Another attempt needs another id.
        amount: In minor units of ``currency``, tax included if there is any.
        currency: The account's currency.
        customer: The provider's id of the customer.
        method: The provider's id of the saved method.
        description: What the customer reads.
        receipt_email: Where a receipt is sent.  None: nowhere.

    Raises:
        InvalidCommand: The amount is not payable, or a name is invalid.
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
    """A page on which a customer pays, as the provider has it.  Amounts are in minor units of
    ``currency``.

    Args:
        id: The provider's id of the page.
        url: Where to send the customer.  None: the page is closed.
        state: ``open``, ``complete`` or ``expired``.
        paid: Whether it is paid.  ``unpaid`` is not final: a complete page may still be paid, or
            fail, days later.
        subtotal: What is paid before tax and after discounts.
        total: What is paid.
        currency: Of the amounts; empty if the provider does not know it yet.
        livemode: Whether it is about real money.
        org: The org in its metadata.  None: the page is none of ours.
        order: Our id of the order in its metadata.  None: the page is none of ours.
        payment: The provider's id of the payment.  None: the customer has not submitted yet.
        customer: The provider's id of the customer.
        method: The saved method that may be charged while the customer is away.  None: there is
            none.
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
    """Money on its way back to the customer.

    A ``pending`` refund counts as refunded.  One that fails gives the money back to us, also after
    it was ``succeeded``.

    Args:
        id: The provider's id of the refund.
        payment: The provider's id of the payment.
        amount: In minor units of the payment's currency.
        state: ``pending``, ``succeeded`` or ``failed``.
        key: The key that we asked for it with.  None: we did not ask for it.
    """

    id: str = field(validator=_is_id)
    payment: str = field(validator=_is_id)
    amount: int = field(validator=_is_amount)
    state: RefundState = field(validator=_one_of(RefundState))
    key: str | None = field(validator=optional(_is_id))


@frozen(kw_only=True)
class Dispute:
    """A customer's bank wants money back.  Amounts are in minor units of the payment's currency,
    without fees.

    Args:
        id: The provider's id of the dispute.
        amount: What the bank wants.
        state: ``inquiry`` (the bank asks, no money has moved), ``open``, ``won``, ``lost`` or
            ``closed`` (ended without a verdict).
        withdrawn: What the bank has taken from us so far.  A dispute that is lost after it was won
            has withdrawn twice.
        reinstated: What the bank has given back to us so far.
    """

    id: str = field(validator=_is_id)
    amount: int = field(validator=_is_amount)
    state: DisputeState = field(validator=_one_of(DisputeState))
    withdrawn: int = field(validator=_is_amount)
    reinstated: int = field(validator=_is_amount)


@frozen(kw_only=True)
class Payment:
    """A payment as the provider has it, with all that was taken back of it.  Amounts are in minor
    units of ``currency``.

    What the provider claims is believed as far as it can be true: see :attr:`excess`.

    Args:
        id: The provider's id of the payment.
        state: Only ``succeeded`` is money.  Only ``succeeded`` and ``canceled`` are final.
        amount: The total that was asked for, tax included.
        received: What came in; 0 until ``succeeded``.
        subtotal: The part of ``amount`` before tax and after discounts.  None: the page that it was
            made by cannot be found.
        currency: Of the amounts.
        livemode: Whether it is about real money.
        created: When it was made, in microseconds since 1970, rounded down to what the provider
            keeps.
        org: The org in its metadata.  None: the payment is none of ours.
        order: Our id of the order in its metadata, if a page was paid.
        attempt: Our id of the attempt in its metadata, if a saved method was charged.
        checkout: The provider's id of the order's page.
        customer: The provider's id of the customer.
        method: The provider's id of what it was paid with.
        refunds: All refunds of it.
        disputes: All disputes of it.
        failure: The provider's code of the last refusal.
        recovery: If the state is ``authentication_required``, the secret with which the provider's
            page or script lets the customer finish this payment.
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
        """What went back by refunds, in minor units: pending ones included, failed ones not."""
        return sum(each.amount for each in self.refunds if each.state != "failed")

    @property
    def disputed(self) -> int:
        """What disputes hold of it now, in minor units: withdrawn and not reinstated.  Of each it
        is at least 0, and at most what was received, whatever figures the provider gives.
        """
        held = (each.withdrawn - each.reinstated for each in self.disputes)
        return sum(max(0, min(each, self.received)) for each in held)

    @property
    def kept(self) -> int:
        """What of ``received`` is still ours, in minor units.  It is never below 0, though one
        amount can be both refunded and disputed.
        """
        return min(self.received, max(0, self.received - self.refunded - self.disputed))

    @property
    def excess(self) -> str | None:
        """What the provider claims beyond what can be true, in words: to have given back more than
        it took, or taken back more than was paid.  That is not believed (rule 9.5).  None:
        nothing.
        """
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
    """News of the provider: something has changed there.  It names what to read back, and has no
    amount in it (rule 9.1).

    By its kind, ``checkout`` names the page; ``payment``, ``refund`` and ``dispute`` name the
    payment; ``method_attached`` and ``method_detached`` name the method, and the customer if it is
    known; ``customer_deleted`` names the customer; ``ignored`` names nothing.

    Args:
        event: The provider's id of the news; a repeated delivery has the same one.
        kind: What the news is about.
        word: The provider's own word for it.
        created: When it happened there, in microseconds since 1970.
        api_version: In which version of its interface the provider told it, for the logs.
        checkout: The provider's id of the page.
        payment: The provider's id of the payment.
        customer: The provider's id of the customer.
        method: The provider's id of the saved method.
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
    """One page of a list.

    Attributes:
        items: What is listed.
        next: The cursor of the next page.  None: this is the last one.
        at: When the list was made, by the provider's own clock, in microseconds since 1970.  None:
            the provider does not say.
        unreadable: What was listed but is not as the provider documents it: of each its id, as far
            as it has one, and why.
    """

    items: tuple[T, ...]
    next: str | None
    at: int | None = None
    unreadable: tuple[str, ...] = ()


class PaymentProvider(Protocol):
    """Moves money: what the engine asks of a payment provider.  One can be shared by any number of
    threads.

    Every method may wait for the network, for a bounded time.  It raises PaymentError, and never an
    error of the provider's client.  An answer that the values of this module refuse with
    InvalidCommand is a PaymentError too: ``unavailable`` of a method that reads,
    ``unknown_outcome`` of one that writes, ``bad_webhook`` of what was posted.

    Any method can raise a PaymentError of these kinds: ``unauthorized``; ``rate_limited``, which is
    retryable; ``invalid_request``.

    A method that writes takes a key of 1 to 200 characters, unique among all keys that were ever
    used with this provider.  The same key with the same parameters does nothing again.  With other
    parameters it is ``key_reused``.  While the first call still runs it is ``in_progress``, which
    is retryable and whose outcome is unknown.  No answer, or a failure of the provider, is
    ``unknown_outcome``.  Some providers repeat such a failure for as long as they keep the key;
    then only looking it up helps.

    A method that reads can raise ``unavailable``, which is retryable, and, if it reads by id,
    ``not_found``.
    """

    @property
    def livemode(self) -> bool:
        """Whether it moves real money."""
        ...

    @property
    def keys_kept(self) -> int:
        """For how long a key is surely remembered, in microseconds since its first use."""
        ...

    @property
    def news_kept(self) -> int:
        """For how long news is surely listed, in microseconds since it happened."""
        ...

    def create_checkout(self, order: CheckoutOrder, *, key: str) -> Checkout:
        """Open a page on which the customer pays ``order``.  This moves no money by itself.

        Args:
            order: What the customer is to pay.
            key: The idempotency key.  If it was used before, the page is answered as it was first.

        Returns:
            The page.

        Raises:
            PaymentError: Among others ``not_found`` with ``missing`` ``customer``: there is no such
                customer any more, and nothing was opened.
        """
        ...

    def read_checkout(self, checkout: str) -> Checkout:
        """Read a page as it stands.

        Args:
            checkout: The provider's id of it.

        Returns:
            The page.

        Raises:
            PaymentError: It cannot be read.
        """
        ...

    def charge(self, attempt: ChargeAttempt) -> Payment:
        """Charge a saved method; gives the payment as it stands, whatever its state.

        A refusal is a payment too: ``declined`` with its ``failure``, or
        ``authentication_required`` with its ``recovery``.  ``processing`` is neither success nor
        failure: news will tell.  Repeating an attempt never charges twice while its key is kept,
        and never tries a declined card again.

        If a PaymentError has ``outcome_unknown``, repeat this call, or look with
        :meth:`find_charge`.  Once ``keys_kept`` has passed since the first call, repeating could
        charge again: then only look.

        Args:
            attempt: What to charge.  Its id is the idempotency key.

        Returns:
            The payment.

        Raises:
            PaymentError: After ``invalid_request`` or ``not_found`` this call has charged nothing.
                ``missing`` of ``not_found`` says whether the customer is gone, or the method (also
                if it is the customer's no more).
        """
        ...

    def find_charge(self, attempt: str, *, customer: str, since: int) -> Payment | None:
        """Find the payment that an attempt made, by its metadata, among the customer's payments.

        It looks at a list that is up to date, not at a search index that lags, and also where the
        customer is gone.  If there are several payments (a key was forgotten and the call
        repeated), it gives the one that counts most: succeeded, then processing, then the newest.
        A payment that cannot be read hides no other.

        None means that there is none now.  A request may still be under way, so it is final only
        once the key is forgotten.  Metadata can be edited, so None alone does not mean that nothing
        was charged: :meth:`payments` of the customer tells that.

        Args:
            attempt: Our id of the attempt.
            customer: The provider's id of the customer.
            since: Only payments that were made at this time or later, in microseconds since 1970.
                Leave room for clocks that differ.

        Returns:
            The payment, or None.

        Raises:
            PaymentError: The list cannot be read.
        """
        ...

    def read_payment(self, payment: str) -> Payment:
        """Read a payment as it stands, with every refund and dispute.

        Args:
            payment: The provider's id of it.

        Returns:
            The payment.

        Raises:
            PaymentError: It cannot be read.
        """
        ...

    def refund(self, payment: str, *, key: str, amount: int | None = None) -> Refund:
        """Give back the money of a payment, or a part of it.

        Args:
            payment: The provider's id of the payment.
            key: The idempotency key.  If it was used before, the refund is answered as it was
                first.
            amount: In minor units of the payment's currency.  None: what has not been refunded yet.

        Returns:
            The refund.

        Raises:
            PaymentError: Among others ``invalid_request``: more is asked for than is left, or there
                is nothing to refund.
        """
        ...

    def notices(self, since: int, *, cursor: str | None = None) -> Page[Notice]:
        """List what has happened, in no particular order, for finding what no webhook delivered.

        There are at most 100 on a page.  What happens while pages are read may be missing from
        them.  So the next reading begins at ``at`` of this one's first page, less some minutes,
        since news can be listed late.  Providers forget news: see ``news_kept``.  An event that
        cannot be read is named in ``unreadable``, and hides no other.

        Args:
            since: Only what happened at this time or later, in microseconds since 1970.
            cursor: ``next`` of the page before.  None: the first page.

        Returns:
            The page.

        Raises:
            PaymentError: The list cannot be read.
        """
        ...

    def payments(
        self, start: int, end: int, *, customer: str | None = None, cursor: str | None = None
    ) -> Page[Payment]:
        """List the payments that were made in a half-open span, in no particular order, from a list
        that is up to date.

        There are at most 100 on a page.  Payments that are none of ours are listed too, with
        ``org`` None.  Each is as :meth:`read_payment` gives it, but inquiries that took no money
        may be missing.  A payment that cannot be read, and may be the customer's, is named in
        ``unreadable``, and hides no other.

        Args:
            start: The first time that counts, in microseconds since 1970.
            end: The time before which it counts.
            customer: Only this customer's, also if the customer is gone.  None: all.
            cursor: ``next`` of the page before.  None: the first page.

        Returns:
            The page.

        Raises:
            PaymentError: The list cannot be read.
        """
        ...

    def read_webhook(self, body: bytes, signature: str | None, *, now: int) -> Notice:
        """Verify what was posted to us, and say what to read back.

        An event of a type that is not known is ``ignored``, and not an error.

        Args:
            body: The body exactly as it was received.
            signature: The provider's header.  None: there was none.
            now: The time, in microseconds since 1970.

        Returns:
            The news.

        Raises:
            PaymentError: ``bad_signature``: there is none, it is by no known secret, or it is of
                another time (more than five minutes from ``now``).  ``bad_webhook``: it is too
                large, or not what the provider sends.  ``wrong_mode``: it is of test mode and we
                are live, or the reverse.
        """
        ...


def checked_payable(amount: object, currency: object) -> int:
    """Check that an amount can be charged in a currency.

    Args:
        amount: A positive int of minor units.
        currency: The currency's code.

    Returns:
        The amount.

    Raises:
        InvalidCommand: It is no such int, or not a multiple of the smallest payable step.
    """
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
