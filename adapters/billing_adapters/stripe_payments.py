"""Payments by Stripe: hosted Checkout, saved methods off-session, refunds, disputes.

A :class:`billing_core.ports.payments.PaymentProvider`.  Needs the ``stripe`` extra.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from billing_adapters.credentials import (
    checked_address,
    checked_api_key,
    checked_webhook_secrets,
)
from billing_adapters.stripe_replies import (
    NOTICES,
    ODD,
    attempt_of,
    checkout_of,
    dispute_of,
    may_be_of,
    named,
    notice_of,
    notices_of,
    objects_of,
    payment_of,
    refund_of,
    word_of,
)
from billing_adapters.webhooks import verified
from billing_core.errors import InvalidCommand, PaymentError, PaymentErrorKind
from billing_core.ports.payments import (
    ChargeAttempt,
    Checkout,
    CheckoutOrder,
    Notice,
    Page,
    Payment,
    PaymentProvider,
    Refund,
)
from billing_core.values.text import checked_name
from billing_core.values.times import DAY, HOUR

try:
    import stripe
except ImportError as error:
    raise ImportError(
        "billing_adapters.stripe_payments needs stripe: pip install 'billing-core[stripe]'",
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from stripe.params import (
        EventListParams,
        PaymentIntentCreateParams,
        PaymentIntentListParams,
        RefundCreateParams,
    )
    from stripe.params.checkout import SessionCreateParams, SessionCreateParamsPaymentIntentData

__all__ = ["API_VERSION", "StripePayments"]

API_VERSION = "2026-10-28.endive"
"""What every request asks for and every reply is read as, whatever the account's default."""

_CLIENT_SECRET = re.compile(r"(\w_secret_)\w+")


def _unsaid(record: logging.LogRecord) -> bool:
    """Stripe's client logs the bodies of answers at DEBUG, with the secrets of payments."""
    record.msg, record.args = _CLIENT_SECRET.sub(r"\1…", record.getMessage()), ()
    return True


logging.getLogger("stripe").addFilter(_unsaid)

_PAGE = 100
_CHECKOUT_LIFE = DAY + HOUR  # a session is open for at most a day; an hour for good measure
_REFUNDS = "latest_charge.refunds"
_SECOND = 1_000_000
_LATEST = 10**11  # seconds, later than any time that means something

_Found = TypeVar("_Found", Checkout, Payment)


class StripePayments(PaymentProvider):
    """Payments by Stripe; give it to `Billing` as ``payments``.

    Reads, and opening a page, are repeated with the same key where Stripe does not answer.  A
    charge and a refund are sent once a call, so that the answer is to the one request that was
    sent: the engine, which has the attempt on record, repeats them (rule 9.3).  What each method
    does is said at :class:`billing_core.ports.payments.PaymentProvider`.

    Connections are kept open, one for each thread; a process that forks makes its own afterwards.

    Args:
        api_key: A secret or restricted key (``sk_…``, ``rk_…``) that may write checkout sessions,
            payment intents and refunds, and read these, charges, disputes and events.
        livemode: True: real money; False: a test.  A key of the other mode is refused.
        webhook_secrets: Of the webhook's endpoint (``whsec_…``); two while one is being rotated.
        timeout: Seconds, for connecting and for each wait on an answer.
        retries: How often a read, or the opening of a page, is repeated.
        address: Where the API is, for a proxy or a test; None: Stripe's own.

    Raises:
        InvalidCommand: For a key, secret or address of the wrong shape; none of them is shown (rule
            9.7).
    """

    def __init__(
        self,
        api_key: str,
        *,
        livemode: bool,
        webhook_secrets: Sequence[str] = (),
        timeout: float = 20.0,
        retries: int = 2,
        address: str | None = None,
    ) -> None:
        if type(livemode) is not bool:
            raise InvalidCommand("livemode", type(livemode), "True or False")
        self._livemode = livemode
        self._secrets = checked_webhook_secrets(webhook_secrets)
        self._client = stripe.StripeClient(
            checked_api_key(api_key, livemode=livemode),
            stripe_version=API_VERSION,
            max_network_retries=retries,
            http_client=stripe.RequestsClient(timeout=timeout),
            base_addresses={} if address is None else {"api": checked_address(address)},
        )

    @property
    def livemode(self) -> bool:
        return self._livemode

    @property
    def keys_kept(self) -> int:
        return DAY  # "at least 24 hours"

    @property
    def news_kept(self) -> int:
        return 30 * DAY

    def create_checkout(self, order: CheckoutOrder, *, key: str) -> Checkout:
        checked_name("key", key)
        params = _session_params(order)
        with _mapped(f"create a checkout for order {order.order!r}", writes=True):
            session = self._client.v1.checkout.sessions.create(params, {"idempotency_key": key})
            return checkout_of(session.to_dict())

    def read_checkout(self, checkout: str) -> Checkout:
        checked_name("checkout", checkout)
        with _mapped(f"read checkout {checkout!r}"):
            session = self._client.v1.checkout.sessions.retrieve(
                checkout, {"expand": ["payment_intent"]}
            )
            return _asked(checkout, checkout_of(session.to_dict()))

    def charge(self, attempt: ChargeAttempt) -> Payment:
        doing = f"charge attempt {attempt.attempt!r}"
        params = _intent_params(attempt)
        with _mapped(doing, writes=True):
            try:
                intent = self._client.v1.payment_intents.create(
                    params, {"idempotency_key": attempt.attempt, "max_network_retries": 0}
                )
                payment = checked_name("payment", intent.id)
            except stripe.CardError as declined:
                payment = checked_name("payment", _declined_intent(declined))
        # What a repeated key is answered is as old as the first answer, so read it back.
        try:
            return self.read_payment(payment)
        except PaymentError as error:
            raise PaymentError(
                f"could not {doing}: payment {payment!r} was made but could not be read back; "
                "repeat the call with the same attempt",
                kind="unknown_outcome",
                retryable=True,
                outcome_unknown=True,
                code=error.code,
            ) from error

    def find_charge(self, attempt: str, *, customer: str, since: int) -> Payment | None:
        checked_name("attempt", attempt)
        checked_name("customer", customer)
        found: list[Mapping[str, Any]] = []
        # A list is up to date; the search index lags by a minute or, in an outage, hours.
        params: PaymentIntentListParams = {"created": {"gte": since // _SECOND}, "limit": _PAGE}
        with _mapped(f"find the payment of attempt {attempt!r}"):
            listed = self._intents(params, customer)
            for each in _every(listed):
                if attempt_of(each) == attempt:
                    found.append(each)
            if not found:
                return None
            ranks = {"succeeded": 0, "processing": 1}
            best = min(found, key=lambda each: (ranks.get(each["status"], 2), -each["created"]))
            payment = checked_name("payment", best["id"])
        return self.read_payment(payment)

    def read_payment(self, payment: str) -> Payment:
        checked_name("payment", payment)
        with _mapped(f"read payment {payment!r}"):
            read = self._client.v1.payment_intents.retrieve(payment, {"expand": [_REFUNDS]})
            intent = read.to_dict()
            session = None
            if _may_be_of_a_checkout(intent):
                made_by = self._client.v1.checkout.sessions.list({"payment_intent": payment})
                session = next((each.to_dict() for each in made_by.data), None)
            disputed = intent["latest_charge"] is not None
            return _asked(payment, self._payment(intent, session, disputed=disputed))

    def refund(self, payment: str, *, key: str, amount: int | None = None) -> Refund:
        checked_name("payment", payment)
        checked_name("key", key)
        params: RefundCreateParams = {
            "payment_intent": payment,
            "metadata": {"billing_refund": key},
        }
        if amount is not None:
            if type(amount) is not int or amount <= 0:
                raise InvalidCommand("amount", amount, "a positive int of minor units")
            params["amount"] = amount
        with _mapped(f"refund payment {payment!r}", writes=True):
            refund = self._client.v1.refunds.create(
                params, {"idempotency_key": key, "max_network_retries": 0}
            )
            return refund_of(refund.to_dict(), payment)

    def notices(self, since: int, *, cursor: str | None = None) -> Page[Notice]:
        params: EventListParams = {
            "created": {"gte": since // _SECOND},
            "types": list(NOTICES),
            "limit": _PAGE,
        }
        if cursor is not None:
            params["starting_after"] = cursor
        with _mapped("list events"):
            listed = self._client.v1.events.list(params)
            items, unreadable, last = notices_of(listed.to_dict())
            if listed.has_more and last is None:
                raise ValueError("a page after which no other can be asked for")
            more = last if listed.has_more else None
            return Page(items, more, _dated(listed.last_response), unreadable)

    def _intents(
        self, params: PaymentIntentListParams, customer: str | None
    ) -> stripe.ListObject[stripe.PaymentIntent]:
        """A list of payment intents: a customer's, or everybody's where the customer is gone."""
        if customer is None:
            return self._client.v1.payment_intents.list(params)
        try:
            return self._client.v1.payment_intents.list({**params, "customer": customer})
        except stripe.InvalidRequestError as error:
            if _missing(error) != "customer":
                raise
            # Whoever is deleted may have paid before: it is among everybody's.
            return self._client.v1.payment_intents.list(params)

    def payments(
        self, start: int, end: int, *, customer: str | None = None, cursor: str | None = None
    ) -> Page[Payment]:
        if customer is not None:
            checked_name("customer", customer)
        params: PaymentIntentListParams = {
            "created": {"gte": start // _SECOND, "lt": -(-end // _SECOND)},
            "expand": [f"data.{_REFUNDS}"],
            "limit": _PAGE,
        }
        if cursor is not None:
            params["starting_after"] = cursor
        with _mapped("list payments"):
            listed = self._intents(params, customer)
            intents, unreadable, last = objects_of(listed.to_dict(), "payment")
            if listed.has_more and last is None:
                raise ValueError("a page after which no other can be asked for")
            mine = [each for each in intents if customer is None or may_be_of(each, customer)]
            sessions = self._sessions_of(mine)
            items: list[Payment] = []
            for intent in mine:
                try:
                    items.append(self._listed_payment(intent, sessions))
                except ODD as error:
                    unreadable.append(named(intent, "payment", error))
            return Page(tuple(items), last if listed.has_more else None, None, tuple(unreadable))

    def _listed_payment(
        self, intent: Mapping[str, Any], sessions: Mapping[str, Mapping[str, Any]]
    ) -> Payment:
        disputed = bool((intent.get("latest_charge") or {}).get("disputed"))
        return self._payment(intent, sessions.get(intent["id"]), disputed=disputed)

    def read_webhook(self, body: bytes, signature: str | None, *, now: int) -> Notice:
        event = verified(body, signature, secrets=self._secrets, now=now)
        if event.get("object") != "event":
            raise PaymentError(
                "webhook refused: not an event of Stripe's with its snapshot; configure the "
                "endpoint for snapshot payloads",
                kind="bad_webhook",
            )
        if event.get("livemode") is not self._livemode:
            raise PaymentError(
                f"webhook refused: an event with livemode {event.get('livemode')!r}; expected "
                f"{self._livemode}: an endpoint of one mode was given the other's secret",
                kind="wrong_mode",
            )
        try:
            return notice_of(event)
        except ODD as error:
            raise PaymentError(
                f"webhook refused: an event without what every event has ({error!r})",
                kind="bad_webhook",
            ) from error

    def _payment(
        self, intent: Mapping[str, Any], session: Mapping[str, Any] | None, *, disputed: bool
    ) -> Payment:
        """``disputed``: whether to ask for disputes."""
        charge: Mapping[str, Any] | None = intent["latest_charge"]
        listed: list[Mapping[str, Any]] = []
        more = False
        if charge is not None:
            listed, more = charge["refunds"]["data"], charge["refunds"]["has_more"]
        if more:  # beyond the ten that come with a charge
            every = self._client.v1.refunds.list({"payment_intent": intent["id"], "limit": _PAGE})
            listed = [each.to_dict() for each in every.auto_paging_iter()]
        disputes: list[Mapping[str, Any]] = []
        if disputed:
            every_dispute = self._client.v1.disputes.list(
                {"payment_intent": intent["id"], "limit": _PAGE}
            )
            disputes = [each.to_dict() for each in every_dispute.auto_paging_iter()]
        return payment_of(
            intent,
            session,
            tuple(refund_of(each, intent["id"]) for each in listed),
            tuple(dispute_of(each) for each in disputes),
        )

    def _sessions_of(self, intents: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """By payment intent, the sessions that made some: one list, not a question for each."""
        times = [time for each in intents if (time := _made_by_a_checkout(each)) is not None]
        if not times:
            return {}
        first = min(times) - _CHECKOUT_LIFE // _SECOND
        listed = self._client.v1.checkout.sessions.list(
            {"created": {"gte": first, "lte": max(times)}, "limit": _PAGE}
        )
        made = [(word_of(each.get("payment_intent")), each) for each in _every(listed)]
        return {intent: each for intent, each in made if intent is not None}


def _every(listed: stripe.ListObject[Any]) -> Iterator[Mapping[str, Any]]:
    """All objects of a list, whatever else is on it."""
    for each in listed.auto_paging_iter():
        if isinstance(each, stripe.StripeObject):
            yield each.to_dict()


def _may_be_of_a_checkout(intent: Mapping[str, Any]) -> bool:
    """Whatever says that it is no automatic attempt, or says nothing any more."""
    return attempt_of(intent) is None


def _made_by_a_checkout(intent: Mapping[str, Any]) -> int | None:
    """When an intent was made that may be of a checkout; None for others, and where it does not
    say, as then it cannot be read either."""
    created = intent.get("created")
    if type(created) is int and 0 <= created < _LATEST and _may_be_of_a_checkout(intent):
        return created
    return None


def _dated(answer: stripe.StripeResponse | None) -> int | None:
    """When Stripe answered, by its own clock."""
    dated = None if answer is None else answer.headers.get("Date")
    if dated is None:
        return None
    try:
        return int(parsedate_to_datetime(dated).timestamp()) * _SECOND
    except (ValueError, OverflowError):
        return None


def _session_params(order: CheckoutOrder) -> SessionCreateParams:
    metadata = {"billing_org": order.org, "billing_order": order.order}
    intent: SessionCreateParamsPaymentIntentData = {
        "metadata": metadata,
        "description": order.description,
    }
    params: SessionCreateParams = {
        "mode": "payment",
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": order.currency.lower(),
                    "unit_amount": order.amount,
                    "product_data": {"name": order.description},
                    # Tax comes on top: the subtotal is what was ordered, taxed or not.
                    "tax_behavior": "exclusive",
                },
            }
        ],
        "success_url": order.success_url,
        "cancel_url": order.cancel_url,
        "metadata": metadata,
        "payment_intent_data": intent,
        # The customer pays in the org's currency: nothing is converted on the way.
        "adaptive_pricing": {"enabled": False},
    }
    if order.receipt_email is not None:
        intent["receipt_email"] = order.receipt_email
    if order.save_method:
        intent["setup_future_usage"] = "off_session"
    if order.customer is not None:
        params["customer"] = order.customer
    elif order.save_method:
        params["customer_creation"] = "always"
    if order.automatic_tax:
        params["automatic_tax"] = {"enabled": True}
        if order.customer is not None:  # tax is by address, which the customer may not have yet
            params["customer_update"] = {"address": "auto"}
    return params


def _intent_params(attempt: ChargeAttempt) -> PaymentIntentCreateParams:
    params: PaymentIntentCreateParams = {
        "amount": attempt.amount,
        "currency": attempt.currency.lower(),
        "customer": attempt.customer,
        "payment_method": attempt.method,
        "confirm": True,
        "off_session": True,
        # Nobody is there to be sent to another page, and so no return_url is needed.
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "description": attempt.description,
        "metadata": {"billing_org": attempt.org, "billing_attempt": attempt.attempt},
    }
    if attempt.receipt_email is not None:
        params["receipt_email"] = attempt.receipt_email
    return params


def _declined_intent(declined: stripe.CardError) -> str:
    """The payment that a refusal left behind; raises the refusal if there is none."""
    intent = None if declined.error is None else declined.error.payment_intent
    if intent is None:
        raise declined
    return intent.id


@contextmanager
def _mapped(doing: str, *, writes: bool = False) -> Iterator[None]:
    """Stripe's errors as ours: the one place."""
    try:
        yield
    except stripe.StripeError as error:
        raise _payment_error(error, doing, writes=writes) from error
    except ODD as error:
        said = f"could not {doing}: an answer that is not as documented ({type(error).__name__})"
        raise _unanswered(said, writes=writes) from error


def _asked(name: str, found: _Found) -> _Found:
    """What was read, which is what was asked for."""
    if found.id != name:
        raise ValueError(f"an answer about {found.id!r}")
    return found


def _missing(error: stripe.InvalidRequestError) -> Literal["customer", "method"] | None:
    """What of a request Stripe has no more, or never had."""
    if error.code != "resource_missing":
        return None
    if error.param == "customer":
        return "customer"
    return "method" if error.param == "payment_method" else None


def _payment_error(error: stripe.StripeError, doing: str, *, writes: bool) -> PaymentError:
    said = f"could not {doing}: {_message(error)}"
    code, status = word_of(error.code), error.http_status
    if error.error is not None:
        code = word_of(error.error.code) or code
    if status == 409:
        advice = "a request with this key is still running; repeat it later with the same key"
        return PaymentError(
            f"{said}; {advice}",
            kind="in_progress" if writes else "unavailable",
            retryable=True,
            outcome_unknown=writes,
            code=code,
        )
    if isinstance(error, stripe.RateLimitError):
        return PaymentError(
            f"{said}; repeat it later", kind="rate_limited", retryable=True, code=code
        )
    if isinstance(error, stripe.IdempotencyError):
        advice = "use a new key for other parameters"
        return PaymentError(f"{said}; {advice}", kind="key_reused", code=code)
    if isinstance(error, (stripe.AuthenticationError, stripe.PermissionError)):
        # What Stripe says quotes a part of the key.
        said = f"could not {doing}: {type(error).__name__}"
        advice = "check the API key and what it is allowed to do"
        return PaymentError(f"{said}; {advice}", kind="unauthorized", code=code)
    if isinstance(error, stripe.CardError):
        return PaymentError(said, kind="declined", code=code)
    if isinstance(error, stripe.InvalidRequestError):
        missing = status == 404 or code == "resource_missing"
        kind: PaymentErrorKind = "not_found" if missing else "invalid_request"
        return PaymentError(said, kind=kind, code=code, missing=_missing(error))
    # No answer, one that is unreadable, or a failure of theirs.
    return _unanswered(said, writes=writes, code=code)


def _message(error: stripe.StripeError) -> str:
    said = error.user_message
    return said if isinstance(said, str) and said.isprintable() and said else type(error).__name__


def _unanswered(said: str, *, writes: bool, code: str | None = None) -> PaymentError:
    if not writes:
        return PaymentError(
            f"{said}; repeat it later", kind="unavailable", retryable=True, code=code
        )
    return PaymentError(
        f"{said}; whether it took effect is unknown: repeat it with the same key, or look it up",
        kind="unknown_outcome",
        retryable=True,
        outcome_unknown=True,
        code=code,
    )
