"""Payments over HTTP: the contract, over every framework in this process and every example as a
server, with the fake provider; and with Stripe's own client on the loopback."""

import json
import re
from time import sleep, time_ns
from urllib.parse import parse_qsl, urlsplit

import pytest
from http_world import (
    ADMIN,
    IN_PROCESS,
    MEMBER,
    OTHER,
    OTHER_ADMIN,
    SERVERS,
    in_process,
    mounted,
    served,
)
from payment_worlds import fake_world, stripe_world
from test_http_contract import MOVEMENT, TEXT, check, money, nullable, time

from billing_adapters.http import MAX_BODY, Api, Caller
from billing_adapters.webhooks import signed
from billing_core import Billing, Money, TopUpRules, usd
from billing_core.testing import CountingIds, MemoryStore

TOPUP, AUTO, SUCCESS = (f"/v1/billing/{name}" for name in ("topup", "auto-topup", "success"))
RECOVER, WEBHOOK = f"{AUTO}/recover", "/v1/webhooks/stripe"
PAGE = {"checkoutUrl": TEXT, "sessionId": TEXT, "replayed": bool}
RESULT = {
    "orgId": TEXT,
    "sessionId": TEXT,
    "paid": bool,
    "state": TEXT,
    **money("credited", "balance"),
}
AUTO_TOPUP = {
    "orgId": TEXT,
    "enabled": bool,
    "hasSavedPaymentMethod": bool,
    "lastTopupAt": (str, type(None)),
    "periodTimes": nullable(int),
    "pausedReason": nullable(TEXT),
    "recovery": nullable(TEXT),
    "failures": int,
    "inFlight": bool,
    "notBefore": nullable(TEXT),
    **money("threshold", "topupAmount", "minimumTopup", "maximumTopup"),
}
CAP = ("periodCapCents", "periodCap")


@pytest.fixture(scope="module", params=IN_PROCESS + SERVERS)
def client(request, tmp_path_factory):
    host = request.param
    path = tmp_path_factory.mktemp("http") / "billing.db"
    with (in_process if host in IN_PROCESS else served)(host, path) as found:
        yield found


def order(client, cents=2_500, key=ADMIN, **more):
    answer = client.post(TOPUP, {"amountCents": cents, **more}, key)
    check(answer.data, PAGE)
    return answer.data


def press(client, page, choice="pay"):
    """What a customer does on the fake's page; where that leads."""
    path = urlsplit(page["checkoutUrl"]).path
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client("POST", path, None, body=f"do={choice}".encode(), headers=form)
    assert answer.status == 303, answer.body
    return answer.headers["location"]


def success(client, page, key=MEMBER):
    answer = client.get(SUCCESS, key, session_id=page["sessionId"])
    check(answer.data, RESULT)
    return answer.data


def pay(client, page, key=MEMBER):
    """Paid and credited, where that leads, and what it came to.  A server's own background work
    would else credit it a second later, in the middle of whatever is looked at then."""
    return press(client, page), success(client, page, key)


def balance(client, key=MEMBER):
    return client.get("/v1/billing/credits", key).data["balanceCents"]


def auto(client, key=OTHER):
    found = client.get(AUTO, key).data
    if found["periodCap"] is None:
        check({name: found[name] for name in found if name not in CAP}, AUTO_TOPUP)
        assert found["periodCapCents"] is None
    else:
        check(found, AUTO_TOPUP | money("periodCap"))
    if found["lastTopupAt"] is not None:
        time(found["lastTopupAt"])
    return found


def until(client, look):
    """What it looks like once it is so; background work goes on meanwhile."""
    for _ in range(300):
        found = look()
        if found:
            return found
        if client.api is None:
            sleep(0.1)
        else:
            client.site.work()
    raise AssertionError(look())


def news(page, **changed):
    """A webhook's body, as the fake sends it."""
    event = {
        "id": f"evt_{page['sessionId']}",
        "kind": "checkout",
        "word": "completed",
        "created": 0,
        "livemode": False,
        "named": {"checkout": page["sessionId"]},
        **changed,
    }
    return json.dumps(event).encode()


def deliver(client, body, secret="whsec_fake", late=0, **headers):
    signature = signed(body, secret, time_ns() // 1_000 - late)
    return client(
        "POST", WEBHOOK, None, body=body, headers={"Stripe-Signature": signature, **headers}
    )


# -- top-ups --------------------------------------------------------------------


def test_a_top_up_from_the_button_to_the_credit(client) -> None:
    before = balance(client)
    page = order(client)
    found = success(client, page)
    assert (found["paid"], found["state"], found["creditedCents"]) == (False, "open", 0)
    back = urlsplit(press(client, page))
    assert back.path == "/billing"
    assert dict(parse_qsl(back.query)) == {"session_id": page["sessionId"]}
    found = success(client, page)
    assert (found["paid"], found["state"], found["orgId"]) == (True, "paid", "acme")
    assert (found["creditedCents"], found["balanceCents"]) == (2_500, before + 2_500)
    assert found["sessionId"] == page["sessionId"]
    assert success(client, page, ADMIN) == found
    [row] = client.get("/v1/billing/credits/history", limit=1).data
    check(row, MOVEMENT)
    assert (row["type"], row["amountCents"], row["description"]) == (
        "topup",
        2_500,
        "Credit bought",
    )


def test_admins_pay_and_set_and_members_look(client) -> None:
    settings = {"enabled": False, "thresholdCents": 0, "topupAmountCents": 0}
    for method, path, body in (
        ("POST", TOPUP, {"amountCents": 500}),
        ("POST", RECOVER, {}),
        ("PUT", AUTO, settings),
    ):
        answer = client(method, path, MEMBER, body=body)
        assert (answer.status, answer.code) == (403, "not_allowed")
    assert client.get(AUTO, MEMBER).data == client.get(AUTO, ADMIN).data


def test_where_the_customer_comes_back_to(client) -> None:
    page = order(
        client,
        successUrl="https://you.example/thanks?s={CHECKOUT_SESSION_ID}",
        cancelUrl="https://you.example/no",
        orgId="acme",
    )
    assert press(client, page, "cancel") == "https://you.example/no"
    back, found = pay(client, page)
    assert back == f"https://you.example/thanks?s={page['sessionId']}" and found["paid"]


def test_a_session_of_another_org_is_as_unknown_as_any(client) -> None:
    page = order(client)
    pay(client, page)
    answers = [
        client.get(SUCCESS, OTHER, session_id=each) for each in (page["sessionId"], "cs_none", "x")
    ]
    assert {(each.status, each.code) for each in answers} == {(404, "unknown_session")}
    assert len({each.json["error"]["message"] for each in answers}) == 1
    assert client.get(SUCCESS, OTHER, session_id=page["sessionId"], orgId="acme").status == 403
    assert client.get(SUCCESS).code == "invalid_request"
    assert client.get(SUCCESS, sessionId="x").code == "invalid_request"


def test_one_key_opens_one_page(client) -> None:
    body = {"amountCents": 700}
    first = client.post(TOPUP, body, ADMIN, "one").data
    assert first["replayed"] is False
    assert client.post(TOPUP, body, ADMIN, "one").data == first | {"replayed": True}
    others = [{"amountCents": 800}, body | {"savePaymentMethod": True}]
    others += [body | {name: "https://host.example/x"} for name in ("successUrl", "cancelUrl")]
    for other in others:
        answer = client.post(TOPUP, other, ADMIN, "one")
        assert (answer.status, answer.code) == (409, "idempotency_conflict")
    assert client.post(TOPUP, body, OTHER_ADMIN, "one").data != first
    without = [client("POST", TOPUP, ADMIN, body=body).data["sessionId"] for _ in range(2)]
    assert len({first["sessionId"], *without}) == 3
    pay(client, first)
    again = client.post(TOPUP, body, ADMIN, "one").data
    assert again == {"checkoutUrl": None, "sessionId": first["sessionId"], "replayed": True}
    paid = client.post(TOPUP, others[-1], ADMIN, "one")
    assert (paid.status, paid.code) == (409, "idempotency_conflict")


def test_a_provider_of_the_other_mode_is_the_hosts_fault() -> None:
    world = fake_world()
    billing = Billing(MemoryStore(), clock=world.clock, ids=CountingIds(), payments=world.provider)
    billing.open_account("acme", livemode=True)
    api = Api(billing, {"bo": Caller("bo", "admin", org="acme", member="bo")}.get)
    urls = dict.fromkeys(("successUrl", "cancelUrl"), "https://host.example/x")
    answer = mounted("plain", api).post(TOPUP, {"amountCents": 700, **urls}, "bo")
    assert (answer.status, answer.code) == (500, "internal_error")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amountCents": 499}, "amountCents"),
        ({"amountCents": 0}, "amountCents"),
        ({"amountCents": -500}, "amountCents"),
        ({"amountCents": "500"}, "amountCents"),
        ({"amountCents": 500.5}, "amountCents"),
        ({"amountCents": None}, "amountCents"),
        ({"amountCents": 1_000_001}, "amountCents"),
        ({"amountCents": 2**53 - 1}, "amountCents"),
        ({"successUrl": "javascript:alert(1)"}, "successUrl"),
        ({"successUrl": ""}, "successUrl"),
        ({"successUrl": "http://[/"}, "successUrl"),
        ({"cancelUrl": "https://you.example/東京"}, "cancelUrl"),
        ({"cancelUrl": "/billing"}, "cancelUrl"),
        ({"savePaymentMethod": 1}, "savePaymentMethod"),
        ({"currency": "EUR"}, "currency"),
    ],
    ids=str,
)
def test_a_top_up_that_is_none(client, change, field) -> None:
    answer = client.post(TOPUP, {"amountCents": 500} | change, ADMIN)
    assert (answer.status, answer.code) == (422, "invalid_request")
    assert answer.json["error"]["field"] == field


# -- webhooks -------------------------------------------------------------------


def test_a_webhook_credits_once_whatever_else_does(client) -> None:
    page = order(client, 900)
    press(client, page)
    for _ in range(3):
        found = deliver(client, news(page)).data
        assert found == {"event": f"evt_{page['sessionId']}", "kind": "checkout"}
    found = success(client, page)
    assert found["paid"] and found["creditedCents"] == 900
    until(client, lambda: balance(client) == found["balanceCents"])
    rows = client.get("/v1/billing/credits/history", limit=50).data
    assert [row["amountCents"] for row in rows].count(900) == 1


def test_what_follows_from_nothing_is_ignored(client) -> None:
    page = {"sessionId": "cs_1"}
    assert deliver(client, news(page, kind="weather")).data["kind"] == "ignored"


def test_what_cannot_be_verified_changes_nothing(client) -> None:
    page = order(client, 1_100)
    body, key = news(page), {"X-API-Key": ADMIN}
    answers = [
        (client("POST", WEBHOOK, None, body=body), "bad_signature"),
        (client("POST", WEBHOOK, ADMIN, body=body), "bad_signature"),
        (deliver(client, body, "whsec_other", **key), "bad_signature"),
        (deliver(client, body, late=301_000_000), "bad_signature"),
        (deliver(client, body, late=-400_000_000), "bad_signature"),
        (deliver(client, body + b" " * MAX_BODY), "bad_webhook"),
        (deliver(client, b""), "bad_webhook"),
        (deliver(client, b"[]"), "bad_webhook"),
        (deliver(client, b"\xff"), "bad_webhook"),
        (deliver(client, b"{}"), "wrong_mode"),
        (deliver(client, news(page, livemode=True)), "wrong_mode"),
        (deliver(client, news(page, named=[])), "bad_webhook"),
    ]
    for answer, code in answers:
        assert (answer.status, answer.code) == (400, code), answer.body
    before = balance(client)
    signature = signed(body, "whsec_fake", time_ns() // 1_000)
    headers = {"Stripe-Signature": signature}
    reordered = json.dumps(json.loads(body), sort_keys=True).encode()
    assert client("POST", WEBHOOK, None, body=reordered, headers=headers).status == 400
    assert success(client, page)["state"] == "open" and balance(client) == before


def test_news_of_what_is_not_there_is_delivered_again(client) -> None:
    answer = deliver(client, news({"sessionId": "cs_none"}))
    assert (answer.status, answer.code) == (502, "payments_failed")


# -- automatic top-ups ----------------------------------------------------------


def test_automatic_top_ups_from_the_first_card_to_recovery(client) -> None:
    found = auto(client)
    assert (found["orgId"], found["enabled"], found["lastTopupAt"]) == ("globex", False, None)
    assert (found["minimumTopup"], found["maximumTopupCents"]) == ("5.00", 1_000_000)
    wanted = {"enabled": True, "thresholdCents": 900_000, "topupAmountCents": 2_000}

    def put(key=OTHER_ADMIN, **change):
        return client("PUT", AUTO, key, body=wanted | change, idem=str(change))

    refused = put()
    assert (refused.status, refused.code) == (409, "no_saved_payment_method")
    assert put(OTHER, x=1).status == 403
    off = put(enabled=False, thresholdCents=0, topupAmountCents=0).data
    assert off == auto(client) | {"replayed": False} == found | {"replayed": False}
    again = put(enabled=False, thresholdCents=0, topupAmountCents=0).data
    assert again == found | {"replayed": True}

    press(client, page := order(client, key=OTHER_ADMIN, savePaymentMethod=True), "pay_once")
    assert success(client, page, OTHER)["paid"]
    assert auto(client)["hasSavedPaymentMethod"] is True
    for change, field in (
        ({"topupAmountCents": 499}, "topupAmountCents"),
        ({"topupAmountCents": 0}, "topupAmountCents"),
        ({"thresholdCents": -1}, "thresholdCents"),
        ({"periodCapCents": 0}, "periodCapCents"),
        ({"periodTimes": 0}, "periodTimes"),
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": None}, "enabled"),
    ):
        answer = put(**change)
        assert (answer.status, answer.code) == (422, "invalid_request"), answer.body
        assert answer.json["error"]["field"] == field
    capped = put(periodCapCents=100_000, periodTimes=9).data
    used = str({"periodCapCents": 100_000, "periodTimes": 9})
    reused = client("PUT", AUTO, OTHER_ADMIN, body=wanted | {"periodTimes": 8}, idem=used)
    assert (reused.status, reused.code) == (409, "idempotency_conflict")
    assert put(periodTimes=8).data["periodTimes"] == 8
    again = put(periodCapCents=100_000, periodTimes=9).data
    assert again == capped | {"replayed": True} != auto(client) | {"replayed": True}
    put(periodCapCents=100_000, periodTimes=9, thresholdCents=900_001)
    check(capped, AUTO_TOPUP | money("periodCap") | {"replayed": bool})
    assert (capped["enabled"], capped["thresholdCents"]) == (True, 900_000)
    assert (capped["topupAmount"], capped["periodCap"]) == ("20.00", "1000.00")
    assert capped["periodTimes"] == 9

    paused = until(client, lambda: (now := auto(client))["pausedReason"] and now)
    assert paused["pausedReason"] == "authentication_required"
    assert (paused["enabled"], paused["inFlight"], paused["failures"]) == (True, False, 1)
    assert (paused["recovery"], paused["lastTopupAt"]) == ("checkout", None)
    assert client.post(RECOVER, {}, OTHER).code == "not_allowed"
    page = client.post(RECOVER, {}, OTHER_ADMIN, "recover").data
    check(page, PAGE)
    again = client.post(RECOVER, {}, OTHER_ADMIN, "recover").data
    assert again == page | {"replayed": True}
    press(client, page)
    assert success(client, page, OTHER)["creditedCents"] == 2_000
    going = until(client, lambda: (now := auto(client))["lastTopupAt"] and now)
    assert (going["pausedReason"], going["recovery"], going["failures"]) == (None, None, 0)
    # It goes on, so there is nothing to recover from.
    again = client.post(RECOVER, {}, OTHER_ADMIN)
    assert (again.status, again.code) == (409, "conflict")
    rows = client.get("/v1/billing/credits/history", OTHER, limit=10).data
    [bought] = [row for row in rows if row["type"] == "auto_topup"]
    assert bought["description"] == "Credit bought automatically"
    assert bought["amountCents"] == 2_000
    assert put(enabled=False).data["enabled"] is False


def test_what_the_description_says_of_payments(client) -> None:
    paths = client("GET", "/openapi.json", None).json["paths"]
    hook = paths[WEBHOOK]["post"]
    assert hook["security"] == [] and hook["description"] == "For the payment provider."
    assert [each["name"] for each in hook["parameters"]] == ["Stripe-Signature"]
    assert hook["responses"].keys() == {"200", "400", "405", "500", "501", "502", "503"}
    asked = {each["name"]: each["required"] for each in paths[SUCCESS]["get"]["parameters"]}
    assert asked == {"session_id": True, "orgId": False}
    for path, method in ((TOPUP, "post"), (AUTO, "put"), (RECOVER, "post")):
        [key] = paths[path][method]["parameters"]
        assert (key["name"], key["required"]) == ("Idempotency-Key", False)
    assert "502" in paths[TOPUP]["post"]["responses"]
    assert "502" not in paths[AUTO]["put"]["responses"]


# -- providers that fail --------------------------------------------------------


KEYS = {
    MEMBER: Caller("ana", org="acme", member="ana"),
    ADMIN: Caller("bo", "admin", org="acme", member="bo"),
}


def till(world, framework="plain", **options):
    """A client of an API whose engine has the world's provider."""
    billing = Billing(MemoryStore(), clock=world.clock, ids=CountingIds(), payments=world.provider)
    billing.open_account("acme", livemode=False)
    return mounted(framework, Api(billing, KEYS.get, **options))


URLS = {"successUrl": "https://you.example/s", "cancelUrl": "https://you.example/c"}


@pytest.mark.parametrize(
    "fault", ["timeout_before", "timeout_after", "rate_limited", "in_progress"]
)
def test_a_provider_that_does_not_answer(fault) -> None:
    world = fake_world()
    client = till(world)
    world.provider.fault(fault)
    body = {"amountCents": 500, **URLS}
    answer = client.post(TOPUP, body, ADMIN, "k")
    assert (answer.status, answer.code) == (503, "payments_unavailable")
    assert answer.headers["retry-after"] == "5"
    page = client.post(TOPUP, body, ADMIN, "k").data
    world.street.pay(page["sessionId"])
    world.provider.fault("timeout_before")
    answer = client.get(SUCCESS, session_id=page["sessionId"])
    assert (answer.status, answer.code) == (503, "payments_unavailable")
    [(body, signature)] = world.street.deliveries()[:1]
    headers = {"Stripe-Signature": signature}
    world.provider.fault("timeout_before")
    answer = client("POST", WEBHOOK, None, body=body, headers=headers)
    assert (answer.status, answer.code) == (503, "payments_unavailable")
    assert balance(client) == 0
    assert client("POST", WEBHOOK, None, body=body, headers=headers).status == 200
    assert balance(client) == 500


def test_an_order_that_is_not_on_record_is_delivered_again() -> None:
    world = fake_world()
    page = till(world).post(TOPUP, {"amountCents": 500, **URLS}, ADMIN).data
    world.street.pay(page["sessionId"])
    other = till(world)  # has the org, and not the order
    for body, signature in world.street.deliveries():
        answer = other("POST", WEBHOOK, None, body=body, headers={"Stripe-Signature": signature})
        assert (answer.status, answer.code) == (503, "webhook_failed")
        assert answer.headers["retry-after"] == "60"
    answer = other.get(SUCCESS, session_id=page["sessionId"])
    assert (answer.status, answer.code) == (404, "unknown_session")


@pytest.mark.parametrize(
    ("currency", "rules", "least", "refused"),
    [
        ("JPY", {}, 500, "500.00 to 1000000.00 JPY"),
        ("VND", {}, 100_000, "100000.00 to 200000000.00 VND"),
        ("ISK", {}, 50_000, "500.00 to 1000000.00 ISK"),
        ("USD", {"minimum": usd("0.50")}, 50, "0.50 to 10000.00 USD"),
        ("USD", {"minimum": usd("20")}, 2_000, "20.00 to 10000.00 USD"),
        ("JPY", {"minimum": (usd("9"), Money.of("70", "JPY"))}, 70, "70.00 to 1000000.00 JPY"),
    ],
)
def test_the_least_top_up_is_the_engine_s_word(currency, rules, least, refused) -> None:
    world = fake_world()
    billing = Billing(
        MemoryStore(), clock=world.clock, payments=world.provider, topups=TopUpRules(**rules)
    )
    billing.open_account("acme", currency=currency, livemode=False)
    client = mounted("plain", Api(billing, KEYS.get))
    assert client.get(AUTO).data["minimumTopupCents"] == least
    step = 100 if currency == "ISK" else 1
    answer = client.post(TOPUP, {"amountCents": least - step, **URLS}, ADMIN)
    assert (answer.status, answer.json["error"]["field"]) == (422, "amountCents")
    assert answer.json["error"]["message"] == f"amountCents: expected {refused}."
    answer = client("PUT", AUTO, ADMIN, body={
        "enabled": False, "thresholdCents": 0, "topupAmountCents": least - step,
    })  # fmt: skip
    assert (answer.status, answer.json["error"]["field"]) == (422, "topupAmountCents")
    page = client.post(TOPUP, {"amountCents": least, **URLS}, ADMIN).data
    world.street.pay(page["sessionId"])
    assert client.get(SUCCESS, session_id=page["sessionId"]).data["creditedCents"] == least


def test_a_host_without_payments() -> None:
    billing = Billing(MemoryStore())
    billing.open_account("acme")
    client = mounted("plain", Api(billing, KEYS.get, address="https://you.example"))
    for answer in (
        client.post(TOPUP, {"amountCents": 500}, ADMIN),
        client.post(RECOVER, {}, ADMIN),
        client.get(SUCCESS, session_id="x"),
        client("POST", WEBHOOK, None, body=b"{}"),
    ):
        assert (answer.status, answer.code) == (501, "payments_not_offered")
    assert client.get(AUTO).data["enabled"] is False


def test_a_host_that_has_not_said_where_it_is() -> None:
    client = till(fake_world())
    for given, field in (({}, "successUrl"), ({"successUrl": URLS["successUrl"]}, "cancelUrl")):
        answer = client.post(TOPUP, {"amountCents": 500, **given}, ADMIN)
        assert (answer.status, answer.json["error"]["field"]) == (422, field)
    client = till(fake_world(), address="https://you.example/")
    page = client.post(TOPUP, {"amountCents": 500}, ADMIN).data
    order = client.api.billing.payments.order_of(page["sessionId"])
    assert order.success_url == "https://you.example/billing?session_id={CHECKOUT_SESSION_ID}"
    assert order.cancel_url == "https://you.example/billing"


def test_what_a_refund_stops_is_enabled_again() -> None:
    world = fake_world()
    client = till(world, address="https://you.example")
    page = order(client, savePaymentMethod=True)
    world.street.pay(page["sessionId"])
    assert success(client, page)["paid"]
    wanted = {"enabled": True, "thresholdCents": 500, "topupAmountCents": 500}
    assert client("PUT", AUTO, ADMIN, body=wanted).data["enabled"]
    payment = world.provider.read_checkout(page["sessionId"]).payment
    world.street.refund_in_dashboard(payment)
    for body, signature in world.street.deliveries():
        client("POST", WEBHOOK, None, body=body, headers={"Stripe-Signature": signature})
    found = auto(client, MEMBER)
    assert (found["pausedReason"], found["recovery"]) == ("refund", "enable")
    no = client.post(RECOVER, {}, ADMIN)  # another card is not what is missing
    assert (no.status, no.code) == (409, "conflict") and "enable it again" in no.body.decode()
    [row] = client.get("/v1/billing/credits/history", limit=1).data
    assert (row["type"], row["amountCents"]) == ("clawback", -2_500)
    assert row["description"] == "Payment refunded or disputed"
    assert client("PUT", AUTO, ADMIN, body=wanted).data["pausedReason"] is None
    world.street.detach(client.api.billing.store.auto_topup("acme").method)
    for body, signature in world.street.deliveries():
        client("POST", WEBHOOK, None, body=body, headers={"Stripe-Signature": signature})
    found = auto(client, MEMBER)
    assert (found["pausedReason"], found["recovery"]) == ("method", "checkout")
    assert found["hasSavedPaymentMethod"] is False


def test_a_refund_of_a_dollar_says_that_it_pauses_automatic_top_ups() -> None:
    world = fake_world()
    client = till(world, address="https://you.example")
    page = order(client, 2_500, savePaymentMethod=True)
    world.street.pay(page["sessionId"])
    assert success(client, page)["paid"]
    wanted = {"enabled": True, "thresholdCents": 500, "topupAmountCents": 500}
    assert client("PUT", AUTO, ADMIN, body=wanted).data["pausedReason"] is None
    [payment] = world.provider.payments(0, 2**60).items
    world.street.refund_in_dashboard(payment.id, 100)
    for body, signature in world.street.deliveries():
        client("POST", WEBHOOK, None, body=body, headers={"Stripe-Signature": signature})
    found = auto(client, MEMBER)
    assert (found["pausedReason"], found["recovery"]) == ("refund", "enable")
    assert client("PUT", AUTO, ADMIN, body=wanted).data["pausedReason"] is None


# -- Stripe's own client --------------------------------------------------------


@pytest.mark.parametrize("framework", IN_PROCESS)
def test_a_top_up_through_stripe_s_client(framework) -> None:
    with stripe_world() as (world, _):
        client = till(world, framework, address="https://you.example")
        first, second = order(client, 2_500, savePaymentMethod=True), order(client, 700)
        assert re.match("https?://", first["checkoutUrl"])
        assert success(client, first)["paid"] is False
        for page in (first, second):
            world.street.pay(page["sessionId"])
        assert success(client, first)["creditedCents"] == 2_500
        delivered = world.street.deliveries()
        assert len(delivered) >= 2
        for body, signature in delivered * 2:
            headers = {"Stripe-Signature": signature}
            assert client("POST", WEBHOOK, None, body=body, headers=headers).status == 200
            forged = body.replace(b"evt_", b"evT_", 1)
            answer = client("POST", WEBHOOK, None, body=forged, headers=headers)
            assert (answer.status, answer.code) == (400, "bad_signature")
        assert balance(client) == 3_200
        assert client.get(SUCCESS, session_id="cs_test_none").code == "unknown_session"
        wanted = {"enabled": True, "thresholdCents": 500, "topupAmountCents": 500}
        assert client("PUT", AUTO, ADMIN, body=wanted).data["hasSavedPaymentMethod"] is True


def test_a_key_that_stripe_refuses() -> None:
    with stripe_world() as (world, stripe):
        client = till(world, address="https://you.example")
        stripe.key = "sk_test_another"
        answer = client.post(TOPUP, {"amountCents": 500}, ADMIN)
        assert (answer.status, answer.code) == (502, "payments_failed")
        assert b"sk_" not in answer.body
