"""A server shaped like Stripe: the endpoints that payments need, stateful, in memory.

Written from Stripe's documentation (https://docs.stripe.com/api, /webhooks/signature,
/api/idempotent_requests, /currencies), to be a second opinion on the adapter: nothing here is
imported from the library. `stripe_account.py` is what happens behind it; `stripe_http.py` puts it
behind HTTP.
"""

import copy

import stripe_objects as objects
from stripe_account import Account

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


class StripeServer(Account):
    """The endpoints of an account."""

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
                    # Not documented for a customer who was deleted: the harder answer.
                    self.check_customer(params.get("customer"))
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
                    oldest = self.now() - 30 * 86_400  # "going back up to 30 days"
                    kept = {n: each for n, each in self.events.items() if each["created"] >= oldest}
                    return self.list("/v1/events", kept, params, [])
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

    def check_customer(self, name):
        if name is not None and name not in self.customers:
            raise missing("customer", name, "customer")

    def refund_in_dashboard(self, payment, amount=None):
        with self.lock:
            params = {"payment_intent": payment}
            if amount is not None:
                params["amount"] = str(amount)
            return self.create_refund(params)["id"]

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
