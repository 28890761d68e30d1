"""Stripe's objects as its documentation shows them: plain JSON, the fields that matter here.

Written from https://docs.stripe.com/api, for the server in `stripe_server.py`.
"""

API_VERSION = "2026-10-28.endive"


def session(name, created, livemode, params, amount):
    return {
        "id": name,
        "object": "checkout.session",
        "adaptive_pricing": {
            "enabled": params.get("adaptive_pricing", {}).get("enabled") != "false"
        },
        "amount_subtotal": amount,
        "amount_total": amount,
        "automatic_tax": {
            "enabled": params.get("automatic_tax", {}).get("enabled") == "true",
            "liability": None,
            "provider": None,
            "status": None,
        },
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": None,
        "created": created,
        "currency": params["line_items"]["0"]["price_data"]["currency"],
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ["after_submit", "shipping_address", "submit", "terms_of_service_acceptance"]
        ),
        "customer": params.get("customer"),
        "customer_creation": params.get("customer_creation", "if_required"),
        "customer_email": None,
        "expires_at": created + 86_400,
        "livemode": livemode,
        "metadata": params.get("metadata", {}),
        "mode": params["mode"],
        "payment_intent": None,
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "shipping_options": [],
        "status": "open",
        "success_url": params["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "url": f"https://checkout.stripe.com/c/pay/{name}",
    }


def payment_intent(name, created, livemode, *, amount, currency, **fields):
    return {
        "id": name,
        "object": "payment_intent",
        "amount": amount,
        "amount_received": 0,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{name}_secret_abc",
        "confirmation_method": "automatic",
        "created": created,
        "currency": currency,
        "customer": None,
        "description": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": livemode,
        "metadata": {},
        "next_action": None,
        "payment_method": None,
        "payment_method_types": ["card"],
        "receipt_email": None,
        "setup_future_usage": None,
        "status": "requires_payment_method",
        **fields,
    }


def charge(name, created, livemode, intent, *, status, code=None):
    return {
        "id": name,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if status == "succeeded" else 0,
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": dict.fromkeys(["address", "email", "name", "phone", "tax_id"]),
        "captured": status == "succeeded",
        "created": created,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "disputed": False,
        "failure_code": code,
        "failure_message": None,
        "livemode": livemode,
        "metadata": intent["metadata"],
        "paid": status != "failed",
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "payment_method_details": None,
        "refunded": False,
        "status": status,
    }


def refund(name, created, intent, amount, status, metadata):
    return {
        "id": name,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": intent["latest_charge"],
        "created": created,
        "currency": intent["currency"],
        "metadata": metadata,
        "payment_intent": intent["id"],
        "reason": None,
        "receipt_number": None,
        "status": status,
    }


def dispute(name, created, livemode, intent, amount, status):
    return {
        "id": name,
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": intent["latest_charge"],
        "created": created,
        "currency": intent["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": None,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": livemode,
        "metadata": {},
        "payment_intent": intent["id"],
        "reason": "fraudulent",
        "status": status,
    }


def balance_transaction(name, created, amount, currency, category):
    return {
        "id": name,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": created,
        "balance_type": "payments",
        "created": created,
        "currency": currency,
        "description": None,
        "exchange_rate": None,
        "fee": 1500,
        "fee_details": [],
        "net": amount - 1500,
        "reporting_category": category,
        "source": None,
        "status": "available",
        "type": "adjustment",
    }


def customer(name, created, livemode):
    return {
        "id": name,
        "object": "customer",
        "address": None,
        "created": created,
        "default_source": None,
        "description": None,
        "email": None,
        "livemode": livemode,
        "metadata": {},
        "name": None,
        "shipping": None,
    }


def payment_method(name, created, livemode, customer):
    return {
        "id": name,
        "object": "payment_method",
        "billing_details": dict.fromkeys(["address", "email", "name", "phone", "tax_id"]),
        "created": created,
        "customer": customer,
        "livemode": livemode,
        "metadata": {},
        "type": "card",
    }


def event(name, created, livemode, kind, about, previous):
    data = {"object": about}
    if previous is not None:
        data["previous_attributes"] = previous
    return {
        "id": name,
        "object": "event",
        "api_version": API_VERSION,
        "created": created,
        "data": data,
        "livemode": livemode,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def listing(url, items, has_more):
    return {"object": "list", "url": url, "has_more": has_more, "data": items}
