"""A server shaped like Stripe: the endpoints that payments need, stateful, in memory.

Written from Stripe's documentation (https://docs.stripe.com/api, /webhooks/signature,
/api/idempotent_requests, /currencies), to be a second opinion on the adapter: nothing here is
imported from the library. `StripeServer` is the account, and what customers, banks and staff do
to it; `stripe_http.py` puts it behind HTTP.
"""

import copy
import hashlib
import hmac
import json
import threading
from itertools import count

import stripe_objects as objects

ZERO_DECIMAL = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
MULTIPLES = {**dict.fromkeys(["bhd", "jod", "kwd", "omr", "tnd"], 10), "isk": 100, "ugx": 100}
LEAST = {"usd": 50, "eur": 50, "jpy": 50}


class ApiError(Exception):
    """An answer that is no success. `executed`: whether the endpoint had begun, so that the
    answer is kept for the idempotency key."""

    def __init__(self, status, kind, message, *, executed=False, **fields):
        super().__init__(message)
        self.status = status
        self.executed = executed
        self.body = {"error": {"type": kind, "message": message, **fields}}


def invalid(message, param=None, code=None, status=400):
    fields = {"param": param, "code": code}
    return ApiError(
        status,
        "invalid_request_error",
        message,
        **{name: value for name, value in fields.items() if value is not None},
    )


def missing(kind, name, param, status=400):
    return invalid(f"No such {kind}: '{name}'", param, "resource_missing", status)


class StripeServer:
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

    # -- Endpoints ----------------------------------------------------------------------

    def handle(self, method, path, params):
        """The body of a success; raises ApiError."""
        with self.lock:
            match method, *path.strip("/").split("/")[1:]:
                case "POST", "checkout", "sessions":
                    return self.render(self.create_session(params), params)
                case "GET", "checkout", "sessions":
                    return self.list(
                        "/v1/checkout/sessions", self.sessions, params, ["payment_intent"]
                    )
                case "GET", "checkout", "sessions", name:
                    return self.retrieve("checkout.session", self.sessions, name, params)
                case "POST", "payment_intents":
                    return self.render(self.create_intent(params), params)
                case "GET", "payment_intents":
                    return self.list("/v1/payment_intents", self.intents, params, ["customer"])
                case "GET", "payment_intents", name:
                    return self.retrieve("payment_intent", self.intents, name, params)
                case "POST", "refunds":
                    return self.render(self.create_refund(params), params)
                case "GET", "refunds":
                    return self.list("/v1/refunds", self.refunds, params, ["payment_intent"])
                case "GET", "disputes":
                    return self.list("/v1/disputes", self.disputes, params, ["payment_intent"])
                case "GET", "events":
                    return self.list("/v1/events", self.events, params, [])
        raise invalid(f"Unrecognized request URL ({method}: {path}).", status=404)

    def create_session(self, params):
        refuse_payment_method_types(params)
        for needed in ("mode", "success_url", "line_items"):
            if needed not in params:
                raise invalid(f"Missing required param: {needed}.", needed, "parameter_missing")
        if "customer" in params:
            self.check_customer(params["customer"])
            if "customer_creation" in params:
                raise invalid("You may only specify one of these: customer, customer_creation.")
        elif "customer_update" in params:
            raise invalid("`customer_update` can only be used with `customer`.", "customer_update")
        line = params["line_items"]["0"]
        price = line["price_data"]
        amount = checked_amount(price["unit_amount"], price["currency"]) * int(line["quantity"])
        tax = params.get("automatic_tax", {}).get("enabled") == "true"
        if (
            tax
            and "customer" in params
            and params.get("customer_update", {}).get("address") != "auto"
        ):
            raise invalid(
                "Automatic tax calculation in Checkout requires a valid address on the Customer.",
                "automatic_tax",
                "customer_tax_location_invalid",
            )
        mode = "live" if self.livemode else "test"
        name = self.new(f"cs_{mode}")
        made = objects.session(name, self.now(), self.livemode, params, amount)
        self.sessions[name] = made
        self.asked[name] = params
        return made

    def create_intent(self, params):
        refuse_payment_method_types(params)
        amount = checked_amount(params.get("amount"), params.get("currency"))
        if params.get("off_session") and params.get("confirm") != "true":
            raise invalid("You cannot set `off_session` without `confirm`.", "off_session")
        automatic = params.get("automatic_payment_methods", {})
        redirects = automatic.get("allow_redirects") != "never"
        if params.get("confirm") == "true" and redirects and "return_url" not in params:
            raise invalid(
                "This PaymentIntent is configured to accept payment methods enabled in your "
                "Dashboard. Because some of these payment methods might redirect your customer "
                "off of your page, you must provide a `return_url`.",
                "return_url",
            )
        customer, method = params.get("customer"), params.get("payment_method")
        if customer is not None:
            self.check_customer(customer)
        if method not in self.methods:
            raise missing("PaymentMethod", method, "payment_method")
        if self.methods[method]["customer"] != customer:
            raise invalid(
                f"The customer does not have a payment method with the ID {method}. The payment "
                "method must be attached to the customer.",
                "payment_method",
                "resource_missing",
            )
        intent = self.put_intent(
            amount=amount,
            currency=params["currency"],
            customer=customer,
            payment_method=method,
            metadata=params.get("metadata", {}),
            description=params.get("description"),
            receipt_email=params.get("receipt_email"),
        )
        said = self.verdicts.get(method) or ["succeeded"]
        return self.confirmed(intent, said.pop(0))

    def confirmed(self, intent, verdict):
        if verdict == "succeeded":
            self.succeed(intent)
        elif verdict == "processing":
            intent["status"] = "processing"
            self.put_charge(intent, "pending")
            self.tell("payment_intent.processing", intent)
        else:
            self.decline_intent(intent, verdict)
            raise ApiError(
                402,
                "card_error",
                "Your card was declined.",
                executed=True,
                **{
                    k: v
                    for k, v in intent["last_payment_error"].items()
                    if k not in ("type", "message")
                },
                payment_intent=copy.deepcopy(intent),
            )
        return intent

    def create_refund(self, params):
        intent = self.intents.get(params.get("payment_intent"))
        if intent is None:
            raise missing("payment_intent", params.get("payment_intent"), "payment_intent")
        charge = self.charges.get(intent["latest_charge"])
        if charge is None or charge["status"] != "succeeded":
            raise invalid("This PaymentIntent does not have a successful charge to refund.")
        left = charge["amount"] - charge["amount_refunded"]
        if left == 0:
            raise invalid(
                f"Charge {charge['id']} has already been refunded.", None, "charge_already_refunded"
            )
        amount = int(params.get("amount", left))
        if not 0 < amount <= left:
            raise invalid(
                f"Refund amount ({amount}) is greater than unrefunded amount ({left})", "amount"
            )
        status = "pending" if self.pending_refunds else "succeeded"
        made = objects.refund(
            self.new("re"), self.now(), intent, amount, status, params.get("metadata", {})
        )
        self.refunds[made["id"]] = made
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        self.tell("charge.refunded", charge)
        self.tell("refund.created", made)
        return made

    def retrieve(self, kind, things, name, params):
        if name not in things:
            raise missing(kind, name, "id", 404)
        return self.render(things[name], params)

    def list(self, url, things, params, filters):
        """Newest first; `starting_after` an object, `created` by range, `types` of events."""
        found = [
            each
            for each in reversed(things.values())
            if all(each[name] == params[name] for name in filters if name in params)
            and in_range(each["created"], params.get("created", {}))
            and ("types" not in params or each["type"] in params["types"].values())
        ]
        limit = int(params.get("limit", 10))
        if not 1 <= limit <= 100:
            raise invalid("This value must be between 1 and 100.", "limit")
        if len(params.get("types", {})) > 20:
            raise invalid("Array types exceeded maximum 20 allowed elements.", "types")
        begin = 0
        if "starting_after" in params:
            names = [each["id"] for each in found]
            if params["starting_after"] not in names:
                raise missing("object", params["starting_after"], "starting_after")
            begin = names.index(params["starting_after"]) + 1
        page = found[begin : begin + limit]
        answer = objects.listing(url, page, len(found) > begin + limit)
        return self.render(answer, params)

    # -- Expanding ------------------------------------------------------------------------

    def render(self, thing, params):
        answer = copy.deepcopy(thing)
        for path in params.get("expand", {}).values():
            words = path.split(".")
            if len(words) > 4:
                raise invalid("You cannot expand more than 4 levels of a property.", "expand")
            self.expand(answer, words)
        return answer

    def expand(self, thing, words):
        if not words or thing is None:
            return
        if isinstance(thing, list):
            for each in thing:
                self.expand(each, words)
            return
        word, *rest = words
        if word == "refunds" and thing["object"] == "charge":
            mine = [
                each for each in reversed(self.refunds.values()) if each["charge"] == thing["id"]
            ]
            url = f"/v1/charges/{thing['id']}/refunds"
            thing["refunds"] = objects.listing(url, copy.deepcopy(mine[:10]), len(mine) > 10)
        elif isinstance(thing.get(word), str):
            everything = {**self.intents, **self.charges, **self.sessions}
            thing[word] = copy.deepcopy(everything[thing[word]])
        elif word not in thing:
            raise invalid(f"This property cannot be expanded ({word}).", "expand")
        self.expand(thing[word], rest)

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

    def refund_in_dashboard(self, payment, amount=None):
        with self.lock:
            params = {"payment_intent": payment}
            if amount is not None:
                params["amount"] = str(amount)
            return self.create_refund(params)["id"]

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
            made["status"] = "won" if won else "lost"
            if won:
                self.move(
                    made, made["amount"] if reinstated is None else reinstated, "dispute_reversal"
                )
            self.tell("charge.dispute.closed", made)
            if won:
                self.tell("charge.dispute.funds_reinstated", made)

    def fault(self, *faults):
        with self.lock:
            self.faults.extend(faults)

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

    def check_customer(self, name):
        if name not in self.customers:
            raise missing("customer", name, "customer")

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


def refuse_payment_method_types(params):
    if "payment_method_types" in params:
        raise invalid(
            "payment_method_types is no longer supported.",
            "payment_method_types",
            "payment_method_types_no_longer_supported",
        )


def checked_amount(text, currency):
    if not isinstance(text, str) or not text.isdecimal() or int(text) < 1:
        raise invalid("This value must be greater than or equal to 1.", "amount")
    amount = int(text)
    if currency != currency.lower() or len(currency) != 3:
        raise invalid(f"Invalid currency: {currency}.", "currency")
    if amount % MULTIPLES.get(currency, 1):
        raise invalid(
            f"Amount in {currency} must be a multiple of {MULTIPLES[currency]}.", "amount"
        )
    if amount < LEAST.get(currency, 1):
        raise invalid("Amount must be at least $0.50 usd", "amount", "amount_too_small")
    if amount > 99_999_999 and currency not in ZERO_DECIMAL:
        raise invalid("Amount must be no more than $999,999.99", "amount", "amount_too_large")
    return amount


def in_range(created, bounds):
    tests = {
        "gt": created.__gt__,
        "gte": created.__ge__,
        "lt": created.__lt__,
        "lte": created.__le__,
    }
    return all(tests[name](int(value)) for name, value in bounds.items())
