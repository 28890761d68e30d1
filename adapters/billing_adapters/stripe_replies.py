"""What Stripe's objects mean to the payment port: pure functions over plain JSON.

An answer may be of any shape: what is missing or of another type raises one of ``ODD``, here or
in the port's values, and whoever asked makes a PaymentError of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing_core.errors import InvalidCommand
from billing_core.ports.payments import (
    Checkout,
    Dispute,
    DisputeState,
    Notice,
    NoticeKind,
    Payment,
    PaymentState,
    Refund,
    RefundState,
)

__all__ = [
    "NOTICES",
    "ODD",
    "attempt_of",
    "checkout_of",
    "dispute_of",
    "may_be_of",
    "named",
    "notice_of",
    "notices_of",
    "objects_of",
    "payment_of",
    "refund_of",
    "word_of",
]

Json = Mapping[str, Any]

ODD = (
    ArithmeticError, AttributeError, InvalidCommand, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
"""What reading an answer raises that is not as documented."""

NOTICES: Mapping[str, NoticeKind] = {
    "checkout.session.completed": "checkout",
    "checkout.session.async_payment_succeeded": "checkout",
    "checkout.session.async_payment_failed": "checkout",
    "checkout.session.expired": "checkout",
    "payment_intent.succeeded": "payment",
    "payment_intent.processing": "payment",
    "payment_intent.payment_failed": "payment",
    "payment_intent.canceled": "payment",
    "charge.refunded": "refund",
    "refund.created": "refund",
    "refund.updated": "refund",
    "refund.failed": "refund",
    "charge.dispute.created": "dispute",
    "charge.dispute.updated": "dispute",
    "charge.dispute.closed": "dispute",
    "charge.dispute.funds_withdrawn": "dispute",
    "charge.dispute.funds_reinstated": "dispute",
    "payment_method.attached": "method_attached",
    "payment_method.detached": "method_detached",
    "customer.deleted": "customer_deleted",
}
"""The types of event that a webhook endpoint is to be sent; a list takes at most twenty."""

_PAYMENT_STATES: Mapping[str, PaymentState] = {
    "succeeded": "succeeded",
    "processing": "processing",
    "canceled": "canceled",
    "requires_action": "authentication_required",
}

_REFUND_STATES: Mapping[str | None, RefundState] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "failed",
}

_DISPUTE_STATES: Mapping[str, DisputeState] = {
    "warning_needs_response": "inquiry",
    "warning_under_review": "inquiry",
    "needs_response": "open",
    "under_review": "open",
    "won": "won",
    "lost": "lost",
}


def checkout_of(session: Json) -> Checkout:
    """A session; its payment intent may be expanded."""
    intent = session.get("payment_intent")
    method = None
    # A method is there to be charged later once the payment that saves it has been confirmed.
    if (
        isinstance(intent, Mapping)
        and intent.get("setup_future_usage") == "off_session"
        and intent["status"] in ("succeeded", "processing")
    ):
        method = _id(intent.get("payment_method"))
    metadata = session.get("metadata") or {}
    return Checkout(
        id=session["id"],
        url=session.get("url"),
        state=session["status"] or "open",
        paid=session["payment_status"],
        subtotal=_untaxed(session),
        total=session["amount_total"] or 0,
        currency=(session["currency"] or "").upper(),  # one that only saves a card has none
        livemode=session["livemode"],
        org=_ours(metadata, "billing_org"),
        order=_ours(metadata, "billing_order"),
        payment=_id(intent),
        customer=_id(session.get("customer")),
        method=method,
    )


def payment_of(
    intent: Json, session: Json | None, refunds: tuple[Refund, ...], disputes: tuple[Dispute, ...]
) -> Payment:
    """A payment intent, and the session that made it where one did."""
    metadata = intent.get("metadata") or {}
    state = _payment_state(intent)
    subtotal = intent["amount"] if session is None else _untaxed(session)
    if session is None and "billing_order" in metadata:
        subtotal = None
    error = intent.get("last_payment_error") or {}
    return Payment(
        id=intent["id"],
        state=state,
        amount=intent["amount"],
        received=intent["amount_received"] or 0,
        subtotal=subtotal,
        currency=intent["currency"].upper(),
        livemode=intent["livemode"],
        created=intent["created"] * 1_000_000,
        org=_ours(metadata, "billing_org"),
        order=_ours(metadata, "billing_order"),
        attempt=_ours(metadata, "billing_attempt"),
        checkout=None if session is None else session["id"],
        customer=_id(intent.get("customer")),
        # A refused method is taken off the intent, and is in the error.
        method=_id(intent.get("payment_method")) or _id(error.get("payment_method")),
        refunds=refunds,
        disputes=disputes,
        failure=word_of(error.get("decline_code")) or word_of(error.get("code")),
        recovery=intent.get("client_secret") if state == "authentication_required" else None,
    )


def refund_of(refund: Json, payment: str) -> Refund:
    """``requires_action`` is pending: the customer must say where the money is to go."""
    return Refund(
        id=refund["id"],
        payment=payment,
        amount=refund["amount"],
        state=_REFUND_STATES.get(refund.get("status"), "pending"),
        key=_ours(refund.get("metadata") or {}, "billing_refund"),
    )


def dispute_of(dispute: Json) -> Dispute:
    """Its money is in its balance transactions, which may be in another currency than the
    payment: then it is all or nothing, by the last of them, since how much of it was converted
    cannot be told."""
    amount = dispute["amount"]
    moves = [each for each in dispute["balance_transactions"] if each["amount"]]
    withdrawn = -sum(each["amount"] for each in moves if each["amount"] < 0)
    reinstated = sum(each["amount"] for each in moves if each["amount"] > 0)
    if any(each["currency"] != dispute["currency"] for each in moves):
        lost = dispute["status"] == "lost"
        last = max(moves, key=lambda each: (each["created"], (each["amount"] < 0) is lost))
        withdrawn = amount * sum(each["amount"] < 0 for each in moves)
        reinstated = max(0, withdrawn - amount) if last["amount"] < 0 else withdrawn
    return Dispute(
        id=dispute["id"],
        amount=amount,
        state=_DISPUTE_STATES.get(dispute["status"], "closed"),
        withdrawn=withdrawn,
        reinstated=reinstated,
    )


def notice_of(event: Json) -> Notice:
    """An event.  What was not made through a payment intent is none of ours: ignored."""
    word = event["type"]
    kind = NOTICES.get(word, "ignored")
    about = event["data"]["object"]
    named: dict[str, str | None] = {}
    if kind == "checkout":
        named["checkout"] = about["id"]
    elif kind == "payment":
        named["payment"] = about["id"]
    elif kind in ("refund", "dispute"):
        named["payment"] = _id(about.get("payment_intent"))
        kind = kind if named["payment"] else "ignored"
    elif kind == "customer_deleted":
        named["customer"] = about["id"]
    elif kind != "ignored":
        before = event["data"].get("previous_attributes") or {}
        named["method"] = about["id"]
        named["customer"] = _id(about.get("customer")) or _id(before.get("customer"))
    return Notice(
        event=event["id"],
        kind=kind,
        word=word,
        created=event["created"] * 1_000_000,
        api_version=event.get("api_version"),
        **named,
    )


def notices_of(listed: Json) -> tuple[tuple[Notice, ...], tuple[str, ...], str | None]:
    """Of a list of events: what they say; what cannot be read; and the last id, if any has one."""
    events, unreadable, last = objects_of(listed, "event")
    read: list[Notice] = []
    for event in events:
        try:
            read.append(notice_of(event))
        except ODD as error:
            unreadable.append(named(event, word_of(event.get("type")) or "event", error))
    return tuple(read), tuple(unreadable), last


def objects_of(listed: Json, kind: str) -> tuple[list[Json], list[str], str | None]:
    """What is on a list; what of that is not even an object; and the last id, if any has one."""
    found: list[Json] = []
    unreadable: list[str] = []
    last: str | None = None
    if not isinstance(listed["data"], list):
        raise TypeError("a list of another type")
    for each in listed["data"]:
        if isinstance(each, Mapping):
            found.append(each)
            last = word_of(each.get("id")) or last
        else:
            unreadable.append(named({}, kind, TypeError()))
    return found, unreadable, last


def named(thing: Json, kind: str, error: Exception) -> str:
    """What cannot be read, by its id as far as it has one, and why."""
    name = word_of(thing.get("id")) or "without an id"
    return f"{kind} {name} ({type(error).__name__})"


def attempt_of(intent: Json) -> str | None:
    """The attempt that a payment intent says it is of, if it can be read."""
    metadata = intent.get("metadata")
    return _ours(metadata, "billing_attempt") if isinstance(metadata, Mapping) else None


def may_be_of(intent: Json, customer: str) -> bool:
    """Whether a payment intent is of a customer, or does not say of whom."""
    try:
        return _id(intent["customer"]) == customer
    except ODD:
        return True


def _payment_state(intent: Json) -> PaymentState:
    known = _PAYMENT_STATES.get(intent["status"])
    if known is not None:
        return known
    error = intent.get("last_payment_error")
    if not error:
        return "open"
    wanted = "authentication_required" in (error.get("code"), error.get("decline_code"))
    return "authentication_required" if wanted else "declined"


def _untaxed(session: Json) -> int:
    """What is paid before tax and shipping, after discounts: what credit is given for."""
    details = session.get("total_details") or {}
    added = (details.get("amount_tax") or 0) + (details.get("amount_shipping") or 0)
    return (session["amount_total"] or 0) - added


def _id(value: Any) -> str | None:
    """Of a reference, which may be expanded."""
    found = value["id"] if isinstance(value, Mapping) else value
    if found is not None and not isinstance(found, str):
        raise TypeError(f"a reference of type {type(found).__name__}")
    return found


def _ours(metadata: Json, name: str) -> str | None:
    """What we wrote into metadata; anybody may have written there since."""
    return word_of(metadata.get(name))


def word_of(value: object) -> str | None:
    """A short word of the provider's, which says nothing where it is none."""
    if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable():
        return value
    return None
