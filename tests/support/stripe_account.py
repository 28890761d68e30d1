"""The account behind `stripe_server.py`: what it holds, and what customers, banks and staff do to
it, with the events that Stripe documents for each (https://docs.stripe.com/api/events/types).
"""

import copy
import hashlib
import hmac
import json
import threading
from itertools import count

import stripe_objects as objects


class Account:
    def __init__(self, clock, *, secret="whsec_test", livemode=False, settles_in=None):
        self.clock = clock
        self.secret = secret
        self.livemode = livemode
        self.settles_in = settles_in  # the currency of the account's balance, if it is another
        self.lock = threading.RLock()
        self.names = count(1)
        self.sessions, self.intents, self.charges = {}, {}, {}
        self.refunds, self.disputes, self.methods = {}, {}, {}
        self.customers = set()
        self.asked = {}  # a session's parameters
        self.events = {}
        self.delivered = 0
        self.verdicts = {}
        self.pending_refunds = False
        self.faults = []

    # -- Customers, banks and staff ---------------------------------------------------------

    def pay(self, checkout, *, tax=0, discount=0, currency=None, later=False):
        with self.lock:
            session = self.opened(checkout)
            session["total_details"].update(amount_tax=tax, amount_discount=discount)
            session["amount_total"] = session["amount_subtotal"] - discount + tax
            session["currency"] = (currency or session["currency"]).lower()
            session.update(status="complete", url=None)
            if session["amount_total"] == 0:
                session["payment_status"] = "no_payment_required"
                self.tell("checkout.session.completed", session)
                return
            intent = self.intent_of(session)
            if later:
                intent["status"] = "processing"
                self.put_charge(intent, "pending")
                self.tell("payment_intent.processing", intent)
            else:
                session["payment_status"] = "paid"
                self.succeed(intent)
            self.tell("checkout.session.completed", session)

    def refuse(self, checkout, code="generic_decline"):
        with self.lock:
            self.decline_intent(self.intent_of(self.opened(checkout)), code)

    def settle(self, checkout, *, succeeded):
        with self.lock:
            session = self.sessions[checkout]
            intent = self.intents[session["payment_intent"]]
            if succeeded:
                session["payment_status"] = "paid"
                self.succeed(intent)
                self.tell("checkout.session.async_payment_succeeded", session)
            else:
                self.decline_intent(intent, "insufficient_funds")
                self.tell("checkout.session.async_payment_failed", session)

    def expire(self, checkout):
        with self.lock:
            session = self.opened(checkout)
            session.update(status="expired", url=None)
            self.tell("checkout.session.expired", session)

    def save_method(self):
        with self.lock:
            return self.attached(self.new_customer())

    def detach(self, method):
        with self.lock:
            gone = self.methods.pop(method)
            before = {"customer": gone["customer"]}
            self.tell("payment_method.detached", {**gone, "customer": None}, before)

    def delete_customer(self, customer):
        with self.lock:
            self.customers.remove(customer)
            self.methods = {m: e for m, e in self.methods.items() if e["customer"] != customer}
            self.tell("customer.deleted", objects.customer(customer, self.now(), self.livemode))

    def authenticate(self, payment):
        with self.lock:
            self.succeed(self.intents[payment])

    def decline(self, method, times=1, code="insufficient_funds"):
        self.verdicts.setdefault(method, []).extend([code] * times)

    def require_authentication(self, method, times=1):
        self.decline(method, times, "authentication_required")

    def delay(self, method, times=1):
        self.decline(method, times, "processing")

    def arrive(self, payment, *, succeeded):
        with self.lock:
            intent = self.intents[payment]
            if succeeded:
                self.succeed(intent)
            else:
                self.decline_intent(intent, "insufficient_funds")

    def hold_refunds(self, pending=True):
        self.pending_refunds = pending

    def settle_refund(self, refund, *, succeeded):
        with self.lock:
            made = self.refunds[refund]
            if succeeded:
                made["status"] = "succeeded"
                self.tell("refund.updated", made)
                return
            charge = self.charges[made["charge"]]
            charge["amount_refunded"] -= made["amount"]
            charge["refunded"] = False
            made.update(status="failed", failure_reason="expired_or_canceled_card")
            self.tell("refund.failed", made)

    def dispute(self, payment, amount=None, *, inquiry=False):
        with self.lock:
            intent = self.intents[payment]
            charge = self.charges[intent["latest_charge"]]
            charge["disputed"] = True
            amount = charge["amount"] if amount is None else amount
            status = "warning_needs_response" if inquiry else "needs_response"
            made = objects.dispute(
                self.new("dp"), self.now(), self.livemode, intent, amount, status
            )
            self.disputes[made["id"]] = made
            if not inquiry:
                self.move(made, -amount, "dispute")
            self.tell("charge.dispute.created", made)
            if not inquiry:
                self.tell("charge.dispute.funds_withdrawn", made)
            return made["id"]

    def close_dispute(self, dispute, *, won, reinstated=None):
        with self.lock:
            made = self.disputes[dispute]
            if made["status"].startswith("warning"):
                made["status"] = "warning_closed"
                self.tell("charge.dispute.closed", made)
                return
            regained = made["status"] == "won"
            made["status"] = "won" if won else "lost"
            if regained and not won:
                self.move(made, -made["amount"], "dispute")
            if won:
                self.move(
                    made, made["amount"] if reinstated is None else reinstated, "dispute_reversal"
                )
            self.tell("charge.dispute.closed", made)
            if won:
                self.tell("charge.dispute.funds_reinstated", made)

    def relabel(self, name, org=None, order=None):
        with self.lock:
            edited = {} if org is None else {"billing_org": org, "billing_order": order}
            everything = {**self.sessions, **self.intents, **self.refunds}
            everything[name]["metadata"] = edited

    def fault(self, *faults):
        with self.lock:
            self.faults.extend(faults)

    def garble(self, name):
        with self.lock:
            if name in self.intents:
                self.intents[name].update(currency="???", metadata={})
                return
            self.events[name]["data"] = {"object": {"id": 5, "payment_intent": 5}}

    def deliveries(self):
        with self.lock:
            events = list(self.events.values())[self.delivered :]
            self.delivered += len(events)
        return [(body, self.sign(body)) for body in map(encoded, events)]

    def sign(self, body, *, secret=None, at=None):
        """As documented: HMAC-SHA256 over the time, a dot and the body."""
        at = self.now() if at is None else at
        key = (secret or self.secret).encode()
        digest = hmac.new(key, str(at).encode() + b"." + body, hashlib.sha256).hexdigest()
        return f"t={at},v1={digest}"

    # -- Bookkeeping ----------------------------------------------------------------------

    def now(self):
        return self.clock() // 1_000_000

    def new(self, kind):
        return f"{kind}_{next(self.names):06}"

    def new_customer(self):
        name = self.new("cus")
        self.customers.add(name)
        return name

    def opened(self, checkout):
        session = self.sessions[checkout]
        assert session["status"] == "open", session["status"]
        return session

    def attached(self, customer):
        name = self.new("pm")
        method = objects.payment_method(name, self.now(), self.livemode, customer)
        self.methods[name] = method
        self.tell("payment_method.attached", method)
        return customer, name

    def intent_of(self, session):
        """A session's payment intent: made when the customer first submits, then the same."""
        data = self.asked[session["id"]].get("payment_intent_data", {})
        if session["payment_intent"] is None:
            intent = self.put_intent(
                amount=session["amount_total"],
                currency=session["currency"],
                customer=session["customer"],
                metadata=data.get("metadata", {}),
                description=data.get("description"),
                receipt_email=data.get("receipt_email"),
                setup_future_usage=data.get("setup_future_usage"),
            )
            session["payment_intent"] = intent["id"]
        intent = self.intents[session["payment_intent"]]
        if session["status"] == "complete":
            intent.update(amount=session["amount_total"], currency=session["currency"])
            if session["customer_creation"] == "always" and session["customer"] is None:
                session["customer"] = intent["customer"] = self.new_customer()
            if data.get("setup_future_usage"):
                _, intent["payment_method"] = self.attached(intent["customer"])
            else:
                intent["payment_method"] = self.new("pm")
        return intent

    def put_intent(self, **fields):
        name = self.new("pi")
        self.intents[name] = objects.payment_intent(name, self.now(), self.livemode, **fields)
        return self.intents[name]

    def put_charge(self, intent, status, code=None):
        name = self.new("ch")
        self.charges[name] = objects.charge(
            name, self.now(), self.livemode, intent, status=status, code=code
        )
        intent["latest_charge"] = name

    def succeed(self, intent):
        intent.update(status="succeeded", amount_received=intent["amount"], last_payment_error=None)
        self.put_charge(intent, "succeeded")
        self.tell("payment_intent.succeeded", intent)

    def decline_intent(self, intent, code):
        self.put_charge(intent, "failed", "card_declined")
        error = {"type": "card_error", "code": "card_declined", "decline_code": code}
        if code == "authentication_required":
            error = {"type": "card_error", "code": code, "decline_code": code}
        error["message"] = "Your card was declined."
        if intent["payment_method"] in self.methods:
            error["payment_method"] = copy.deepcopy(self.methods[intent["payment_method"]])
        error["charge"] = intent["latest_charge"]
        intent.update(
            status="requires_payment_method", payment_method=None, last_payment_error=error
        )
        self.tell("payment_intent.payment_failed", intent)

    def move(self, dispute, amount, category):
        """A balance transaction is in the currency that the account settles in."""
        currency = self.settles_in or dispute["currency"]
        if currency != dispute["currency"]:
            amount = amount * 7 // 10
        moved = objects.balance_transaction(self.new("txn"), self.now(), amount, currency, category)
        dispute["balance_transactions"].append(moved)

    def tell(self, kind, about, previous=None):
        name = self.new("evt")
        about = copy.deepcopy(about)
        self.events[name] = objects.event(name, self.now(), self.livemode, kind, about, previous)


def encoded(event):
    return json.dumps(event, indent=2).encode()
