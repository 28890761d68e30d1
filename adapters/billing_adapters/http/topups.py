"""The routes by which money comes in: top-ups, automatic ones, and the provider's webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Literal

from attrs import asdict, field, frozen

from billing_adapters.http.messages import Problem
from billing_adapters.http.routes import Call, Id, Name, Posted, Route
from billing_adapters.http.shapes import Rule
from billing_core import AutoTopUpStatus, Billing, BillingError, InvalidCommand, PaymentError
from billing_core.commands.outcomes import AutoTopUpSet as AutoTopUpWasSet
from billing_core.errors import StoreError
from billing_core.records.topups import MOVES, NEEDS_METHOD
from billing_core.values.currencies import to_nanos
from billing_core.values.money import Money

__all__ = ["PAYING"]

Url = Annotated[str, Rule(min_length=1, max_length=2000)]
Minor = Annotated[int, Rule(minimum=0, maximum=2**53 - 1)]


def _billing(call: Call) -> Billing:
    """The engine, where it has a provider of payments."""
    if call.billing.payments is None:
        raise Problem(501, "payments_not_offered", "Payments are not set up here.")
    return call.billing


def _money(call: Call, minor: int) -> Money:
    currency = call.currency()
    return Money(to_nanos(minor, currency), currency)


@contextmanager
def _named(**names: str) -> Iterator[None]:
    """What the engine says of its fields, said of the request's."""
    try:
        yield
    except InvalidCommand as error:
        if error.field == "livemode":  # no field of a request: problem_of knows it
            raise
        name = names.get(error.field, error.field)
        message = f"{name}: expected {error.expected}."
        raise Problem(422, "invalid_request", message, field=name) from error


# -- top-ups --------------------------------------------------------------------


@frozen(kw_only=True)
class CheckoutBody:
    """Where the customer comes back to.  `{CHECKOUT_SESSION_ID}` in `successUrl` becomes the
    session's id."""

    org_id: Name | None = None
    success_url: Url | None = None
    cancel_url: Url | None = None

    def urls(self, call: Call) -> tuple[str, str]:
        """Both; where the client says none, this API's own page."""
        if call.address is None and (self.success_url is None or self.cancel_url is None):
            name = "successUrl" if self.success_url is None else "cancelUrl"
            raise Problem(422, "invalid_request", f"{name}: expected a URL.", field=name)
        page = f"{call.address}/billing"
        success = self.success_url or page + "?session_id={CHECKOUT_SESSION_ID}"
        return success, self.cancel_url or page


@frozen(kw_only=True)
class TopUpBody(CheckoutBody):
    """Credit to buy on the provider's page, from `minimumTopup` to `maximumTopup` of the
    automatic top-up: the platform's bounds for the currency.  `{CHECKOUT_SESSION_ID}` in
    `successUrl` becomes the session's id.  `savePaymentMethod`: keep the card for automatic
    top-ups."""

    amount_cents: Annotated[int, Rule(minimum=1, maximum=2**53 - 1)]
    save_payment_method: bool = False


@frozen
class CheckoutPage:
    """Where to send the customer to pay; the URL is null once the page is closed.  `replayed`:
    it was ordered before, by this key."""

    checkout_url: str | None
    session_id: Id
    replayed: bool


@frozen
class SuccessQuery:
    session: Id = field(metadata={"json": "session_id"})
    org_id: Name | None = None


@frozen
class TopUpResult:
    """What became of a checkout.  `paid`: it was paid and credited; until then it may still be.
    `credited` is what it brought in, `balance` the org's balance now."""

    org_id: str
    session_id: Id
    paid: bool
    state: Annotated[str, Rule(enum=tuple(sorted(MOVES)))]
    credited: Money
    balance: Money


def _top_up(call: Call, asked: TopUpBody) -> CheckoutPage:
    billing = _billing(call)
    success, cancel = asked.urls(call)
    with _named(amount="amountCents", success_url="successUrl", cancel_url="cancelUrl"):
        page = billing.top_up(
            call.org,
            call.key_or_new,
            _money(call, asked.amount_cents),
            success_url=success,
            cancel_url=cancel,
            save_method=asked.save_payment_method,
        )
    return CheckoutPage(page.url, page.session, page.replayed)


def _success(call: Call, asked: SuccessQuery) -> TopUpResult:
    found = _billing(call).confirm(call.org, asked.session)
    stands = call.billing.balance(call.org)
    return TopUpResult(
        org_id=call.org,
        session_id=asked.session,
        paid=found.paid,
        state=found.state,
        credited=Money(found.granted, stands.currency),
        balance=Money(stands.balance, stands.currency),
    )


# -- automatic top-ups ----------------------------------------------------------


@frozen
class AutoTopUpQuery:
    org_id: Name | None = None


@frozen(kw_only=True)
class AutoTopUpBody:
    """When and how much to top up by itself, all of it anew.  `periodCapCents` and
    `periodTimes`: at most so much, and so often, in a billing period."""

    enabled: bool
    threshold_cents: Minor
    topup_amount_cents: Minor
    org_id: Name | None = None
    period_cap_cents: Annotated[int, Rule(minimum=1, maximum=2**53 - 1)] | None = None
    period_times: Annotated[int, Rule(minimum=1, maximum=1_000_000)] | None = None


@frozen(kw_only=True)
class AutoTopUp:
    """An org's automatic top-up.

    `pausedReason`: why none begins though it is enabled; `recovery` says what helps: a
    `checkout` that saves another card, or to `enable` it again.  `failures`: in a row.
    `inFlight`: one is under way.  `notBefore`: none begins until then, after a failure, at
    the cap, or so soon after the last one.  `minimumTopup` and `maximumTopup`: of one
    top-up, the platform's for the org's currency.
    """

    org_id: str
    enabled: bool
    threshold: Money
    topup_amount: Money
    has_saved_payment_method: bool
    last_topup_at: datetime | None
    period_cap: Money | None
    period_times: int | None
    paused_reason: str | None
    recovery: Literal["checkout", "enable"] | None
    failures: int
    in_flight: bool
    not_before: datetime | None
    minimum_topup: Money
    maximum_topup: Money


def _auto_topup(call: Call, _: object, *, made: AutoTopUpWasSet | None = None) -> AutoTopUp:
    found = call.billing.auto_topup(call.org, made=made)
    currency = call.currency()
    return AutoTopUp(
        org_id=call.org,
        enabled=found.enabled,
        threshold=Money(found.threshold, currency),
        topup_amount=Money(found.amount, currency),
        has_saved_payment_method=found.has_saved_method,
        last_topup_at=found.last_topup_at,
        period_cap=None if found.cap is None else Money(found.cap, currency),
        period_times=found.times,
        paused_reason=found.stopped,
        recovery=_recovery(found),
        failures=found.failures,
        in_flight=found.topup is not None,
        not_before=found.not_before,
        minimum_topup=Money(found.minimum, currency),
        maximum_topup=Money(found.maximum, currency),
    )


def _recovery(found: AutoTopUpStatus) -> Literal["checkout", "enable"] | None:
    if found.stopped is None:
        return None
    return "checkout" if found.stopped in NEEDS_METHOD else "enable"


@frozen(kw_only=True)
class AutoTopUpSet(AutoTopUp):
    """How the automatic top-up stood once it was set.  `replayed`: it was set before, by this key,
    and may have changed since."""

    replayed: bool


def _set_auto_topup(call: Call, asked: AutoTopUpBody) -> AutoTopUpSet:
    cap = asked.period_cap_cents
    with _named(amount="topupAmountCents", threshold="thresholdCents", cap="periodCapCents"):
        made = call.billing.set_auto_topup(
            call.org,
            call.key_or_new,
            enabled=asked.enabled,
            threshold=_money(call, asked.threshold_cents),
            amount=_money(call, asked.topup_amount_cents),
            cap=None if cap is None else _money(call, cap),
            times=asked.period_times,
        )
    stands = _auto_topup(call, asked, made=made)
    return AutoTopUpSet(**asdict(stands, recurse=False), replayed=made.replayed)


def _recover(call: Call, asked: CheckoutBody) -> CheckoutPage:
    billing = _billing(call)
    success, cancel = asked.urls(call)
    with _named(success_url="successUrl", cancel_url="cancelUrl"):
        page = billing.recover(call.org, call.key_or_new, success_url=success, cancel_url=cancel)
    return CheckoutPage(page.url, page.session, page.replayed)


# -- webhooks -------------------------------------------------------------------


@frozen
class Heeded:
    """What was delivered, and done: `ignored` where nothing follows from it."""

    event: str
    kind: str


def _webhook(call: Call, posted: Posted) -> Heeded:
    try:
        notice = _billing(call).webhook(posted.body, posted.signature)
    except (PaymentError, StoreError):
        raise
    except BillingError as error:  # such as an order that is not on record
        message = "This cannot be followed now. Deliver it again later."
        raise Problem(503, "webhook_failed", message, headers={"Retry-After": "60"}) from error
    return Heeded(notice.event, notice.kind)


PAYING: tuple[Route, ...] = (
    Route(
        "POST", "/v1/billing/topup", "topup", "admin", TopUpBody, CheckoutPage, _top_up,
        "Open a page on which to pay for credit", key="optional", pays=True,
    ),
    Route(
        "GET", "/v1/billing/success", "topup_success", "member", SuccessQuery, TopUpResult,
        _success, "Credit a checkout if it was paid, and say how it stands", pays=True,
    ),
    Route(
        "GET", "/v1/billing/auto-topup", "auto_topup", "member", AutoTopUpQuery, AutoTopUp,
        _auto_topup, "The org's automatic top-up",
    ),
    Route(
        "PUT", "/v1/billing/auto-topup", "set_auto_topup", "admin", AutoTopUpBody, AutoTopUpSet,
        _set_auto_topup, "Set the automatic top-up", key="optional",
    ),
    Route(
        "POST", "/v1/billing/auto-topup/recover", "recover_auto_topup", "admin", CheckoutBody,
        CheckoutPage, _recover, "Open a page on which to pay what could not be charged",
        key="optional", pays=True,
    ),
    Route(
        "POST", "/v1/webhooks/stripe", "webhook", "provider", Posted, Heeded, _webhook,
        "What the payment provider has to tell", pays=True,
    ),
)  # fmt: skip
