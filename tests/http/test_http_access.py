"""Who may call what: every route by every role, and what a request may try to get around it."""

import json
import logging

import pytest
from http_world import (
    ADMIN,
    IN_PROCESS,
    MEMBER,
    OTHER,
    OTHER_ADMIN,
    SERVICE,
    in_process,
    mounted,
)
from world import World

from billing_adapters.http import MAX_BODY, ROUTES, Api, Caller, Problem
from billing_adapters.http.access import check_org, credential, namespaced_key
from billing_core import InvalidCommand

# What a request of each route says, beside whose org it is about.
CALL = {"model": "small", "inputTokens": 10}
SPEC = {"sandbox": "small", "rates": {"vcpu": 1}}
RUN = {"runId": "unknown"}
FIELDS = {
    "check": {"modelCall": CALL},
    "release": {"holdId": "unknown"},
    "reverse": {"chargeId": "999"},
    "deduct": {"cost": {"amount": "0.001", "currency": "USD"}, "resource": "x"},
    "settle_model": {"modelCall": CALL},
    "run_tool": {"tool": "search"},
    "run_code": {"runtime": "python", "durationMicroseconds": 1},
    "topup": {"amountCents": 500},
    "topup_success": {"session_id": "cs_unknown"},
    "set_auto_topup": {"enabled": False, "thresholdCents": 0, "topupAmountCents": 0},
    "recover_auto_topup": {},
    "quote_run": {"spec": SPEC},
    "start_run": {"spec": SPEC, "runId": "new"},
    "heartbeat": RUN,
    "suspend_run": RUN,
    "resume_run": RUN,
    "stop_run": RUN,
    "settle_run": RUN,
    "forgive_run": RUN | {"reason": "slow"},
    "undo_forgiveness": RUN,
    "run": RUN,
    "report_storage": {"workspaceId": "docs", "bytes": 1},
    "storage_quota": {"workspaceId": "docs", "bytes": 1},
    "bill_storage": {},
}
# What is answered to who may ask, where it is not done: there is no such hold, session or run, and
# nothing to recover from.
ELSE = {name: 404 for name, said in FIELDS.items() if said.get("runId") == "unknown"}
ELSE |= {"release": 404, "reverse": 404, "topup_success": 404, "recover_auto_topup": 409}
KEYS = {"member": MEMBER, "admin": ADMIN, "service": SERVICE}
MAY = {"member": ("member", "admin"), "admin": ("admin",), "service": ("service",)}
# Headers by which nobody is known, and the key itself where one was revoked.
NOBODY = {
    "missing": {},
    "malformed": {"Authorization": f"Basic {MEMBER}"},
    "empty": {"X-API-Key": ""},
    "not ASCII": {"X-API-Key": "k\xe9y"},
    "unknown": {"X-API-Key": MEMBER + "x"},
    "two that differ": {"X-API-Key": MEMBER, "Authorization": f"Bearer {ADMIN}"},
    "revoked": {"X-API-Key": "key-revoked"},
}
[WEBHOOK] = (route for route in ROUTES if route.who == "provider")
routes = pytest.mark.parametrize(
    "route", [route for route in ROUTES if route != WEBHOOK], ids=lambda route: route.name
)


@pytest.fixture(scope="module", params=IN_PROCESS)
def client(request, tmp_path_factory):
    with in_process(request.param, tmp_path_factory.mktemp("http") / "billing.db") as found:
        yield found


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with in_process("plain", tmp_path_factory.mktemp("http") / "billing.db") as found:
        yield found


def ask(client, route, key, org=None, headers=()):
    """A request of a route for an org; what is wrong with it is only who asks."""
    path = route.path.replace("{chargeId}", "4")  # ana's
    about = {} if org is None else {"orgId": org}
    if route.method == "GET":
        query = FIELDS.get(route.name, {}) | about
        return client(route.method, path, key, query=query, headers=headers)
    if route.name == "settle_batch":
        body = {"settlements": [{**about, "key": "1", "modelCall": CALL}]}
    else:
        body = FIELDS[route.name] | about
    return client(route.method, path, key, body=body, idem=f"{key}-{org}", headers=headers)


@routes
@pytest.mark.parametrize("role", KEYS)
def test_own_org(client, route, role) -> None:
    answer = ask(client, route, KEYS[role], "acme")
    if role in MAY[route.who]:
        assert answer.status == ELSE.get(route.name, 200), answer.body
    elif route.internal:
        assert (answer.status, answer.code) == (404, "not_found")
    else:
        assert (answer.status, answer.code) == (403, "not_allowed")


@routes
@pytest.mark.parametrize("role", ["member", "admin"])
def test_another_org_is_refused_alike_whether_or_not_there_is_one(client, route, role) -> None:
    there, nowhere = (ask(client, route, KEYS[role], org) for org in ("globex", "nowhere"))
    assert there.status == nowhere.status == (404 if route.internal else 403)
    assert there.code == nowhere.code == ("not_found" if route.internal else "not_allowed")
    assert without_id(there) == without_id(nowhere)


def without_id(answer):
    error = answer.json["error"]
    return {name: error[name] for name in error if name != "requestId"}


@routes
@pytest.mark.parametrize("nobody", NOBODY)
def test_nobody(client, route, nobody) -> None:
    answer = ask(client, route, None, "acme", NOBODY[nobody])
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    # Nor can anything be learnt of what there is.
    unknown = client("GET", "/v1/internal/nothing", None, headers=NOBODY[nobody])
    assert without_id(unknown) == without_id(answer)


@pytest.mark.parametrize("key", [None, MEMBER, ADMIN, SERVICE, "key-unknown"])
def test_a_webhook_is_believed_for_its_signature_alone(client, key) -> None:
    answer = client("POST", WEBHOOK.path, key, body={"orgId": "globex"})
    assert (answer.status, answer.code) == (400, "bad_signature")
    assert "globex" not in answer.json["error"]["message"]
    other = client("GET", WEBHOOK.path, key)
    assert (other.status, other.headers["allow"]) == (405, "POST")


@routes
def test_a_revoked_key_is_no_key(route) -> None:
    caller = (
        Caller("gateway", "service")
        if route.internal
        else Caller("bo", "admin", org="acme", member="bo")
    )
    keys = {"key": caller}
    client = mounted("plain", Api(world(), keys.get))
    assert ask(client, route, "key", "acme").status not in (401, 403)
    del keys["key"]
    assert ask(client, route, "key", "acme").status == 401


def world():
    return World().billing


@pytest.mark.parametrize(
    "route", [each for each in ROUTES if each.internal], ids=lambda route: route.name
)
def test_a_service_of_one_org_is_kept_to_it(route) -> None:
    keys = {SERVICE: Caller("gateway", "service", org="acme")}
    client = mounted("plain", Api(world(), keys.get))
    for org in ("globex", "nowhere"):
        answer = ask(client, route, SERVICE, org)
        if route.name == "settle_batch":
            [outcome] = answer.data["outcomes"]
            assert (outcome["charge"], outcome["error"]["code"]) == (None, "not_allowed")
        else:
            assert (answer.status, answer.code) == (403, "not_allowed")


def test_both_ways_to_send_a_key(client) -> None:
    for headers in (
        {"X-API-Key": MEMBER},
        {"Authorization": f"Bearer {MEMBER}"},
        {"Authorization": f"bearer  {MEMBER}", "X-API-Key": MEMBER},
    ):
        answer = client("GET", "/v1/billing/credits", None, headers=headers)
        assert answer.data["orgId"] == "acme"


# -- smuggling ------------------------------------------------------------------


def test_an_org_smuggled_into_a_query(client) -> None:
    path = "/v1/billing/credits"
    for query, status in (
        ("orgId=acme", 200),
        ("orgId=globex", 403),
        ("orgId=", 403),
        ("orgId=ACME", 403),
        ("orgId=acme%00", 403),
        ("orgId=acme&orgId=globex", 400),
        ("orgId=globex&orgId=acme", 400),
        ("orgId=acme&%6FrgId=globex", 400),
        ("orgId[]=globex", 422),
        ("orgid=globex", 422),
        ("org_id=globex", 422),
        ("OrgId=globex&orgId=acme", 422),
        ("orgId=acme;orgId=globex", 403),
    ):
        answer = client("GET", path, query=query)
        assert answer.status == status, (query, answer.body)
        assert b'"globex"' not in answer.body
    body = {"orgId": "globex"}
    answer = client("GET", path, body=body)
    assert answer.status == 400 or answer.data["orgId"] == "acme"
    for headers in ({"X-Org-Id": "globex"}, {"X-HTTP-Method-Override": "POST"}):
        assert client("GET", path, headers=headers).data["orgId"] == "acme"


def test_an_org_smuggled_into_a_body(client) -> None:
    path = "/v1/internal/credits/deduct"
    body = FIELDS["deduct"]
    for query, org, status in (
        ("", "globex", 200),  # a service acts for any
        ("orgId=acme", "globex", 400),
        ("orgId=globex", "globex", 400),
        ("", None, 422),
        ("orgId=globex", None, 400),
        ("", ["globex"], 422),
        ("", {"$ne": ""}, 422),
        ("", 7, 422),
    ):
        sent = body | {"orgId": org}
        answer = client("POST", path, SERVICE, query=query, body=sent, idem="smuggled")
        assert answer.status == status, (query, org, answer.body)
    twice = b'{"orgId":"acme","cost":{"amount":"0.001","currency":"USD"},"orgId":"globex"}'
    assert client("POST", path, SERVICE, body=twice, idem="twice").code == "malformed_request"


def test_an_org_is_checked_wherever_it_is_named() -> None:
    ana = Caller("ana", org="acme", member="ana")
    assert check_org(ana) == check_org(ana, {"orgId": "acme"}, {"orgId": None}) == "acme"
    for places in ([{"orgId": "globex"}, {}], [{}, {"orgId": "globex"}],
                   [{"orgId": "acme"}, {"orgId": "globex"}]):  # fmt: skip
        with pytest.raises(Problem) as caught:
            check_org(ana, *places)
        assert caught.value.status == 403
    gateway = Caller("gateway", "service")
    assert check_org(gateway) is None and check_org(gateway, {"orgId": "acme"}) == "acme"
    with pytest.raises(Problem) as caught:
        check_org(gateway, {"orgId": "acme"}, {"orgId": "globex"})
    assert caught.value.status == 400


def test_callers_are_whole() -> None:
    for wrong in (
        {"id": "a", "role": "member", "org": "acme"},
        {"id": "a", "role": "admin", "member": "a"},
        {"id": "a", "role": "owner", "org": "acme", "member": "a"},
        {"id": "", "role": "service"},
        {"id": "a", "role": "member", "org": "", "member": "a"},
    ):
        with pytest.raises(InvalidCommand):
            Caller(**wrong)


def test_credentials_are_one_key_or_none() -> None:
    assert credential({"authorization": "Bearer k"}) == credential({"x-api-key": " k "}) == "k"
    for headers in (
        {},
        {"authorization": "k"},
        {"authorization": "Bearer"},
        {"x-api-key": "k", "authorization": "Token k"},
        {"x-api-key": "k\x00"},
    ):
        assert credential(headers) is None


@pytest.mark.parametrize("odd", ["\xa0", "\x85", "\x1c", "\x0b", "\u2003"])
def test_a_key_with_a_character_too_many_is_no_key(odd) -> None:
    for key in (odd + "k", "k" + odd):
        assert credential({"x-api-key": key}) is None
        assert credential({"authorization": f"Bearer {key}"}) is None
    assert credential({"authorization": odd + "Bearer k"}) is None
    assert credential({"x-api-key": "\tk \t", "authorization": "Bearer \tk "}) == "k"


def test_keys_of_two_callers_or_routes_never_meet() -> None:
    ana, bo = (Caller(name, org="acme", member=name) for name in ("ana", "bo"))
    made = {namespaced_key(who, route, key) for who in (ana, bo)
            for route in ("check", "deduct") for key in ("k", "k:k", "deduct:k")}  # fmt: skip
    assert len(made) == 12
    longest = max((route.name for route in ROUTES), key=len)
    key = namespaced_key(Caller("x" * 200, "service"), longest, "k" * 128)
    assert len(key) <= 200 and key.startswith("http:")


# -- what is not JSON, or not ours ----------------------------------------------


def deep(depth):
    return b'{"orgId":' + b"[" * depth + b"]" * depth + b"}"


ATTACKS = {
    "not JSON": (b"{", 400),
    "empty": (b"", 400),
    "blank": (b" ", 400),
    "two values": (b"{} {}", 400),
    "bad UTF-8": (b'{"orgId":"\xff"}', 400),
    "a byte-order mark": (b"\xef\xbb\xbf{}", 400),
    "UTF-16": ('{"orgId":"acme"}'.encode("utf-16"), 400),
    "NaN": (b'{"orgId":NaN}', 400),
    "Infinity": (b'{"orgId":-Infinity}', 400),
    "a name twice": (b'{"orgId":"acme","orgId":"acme"}', 400),
    "a name twice, deep": (b'{"orgId":"acme","cost":{"amount":"1","amount":"2"}}', 400),
    "a huge integer": (b'{"orgId":' + b"9" * 10_000 + b"}", 400),
    "a huge fraction": (b'{"orgId":0.' + b"9" * 10_000 + b"}", 400),
    "a huge exponent": (b'{"orgId":1e999}', 422),
    "17 deep": (deep(17), 400),
    "100,000 deep": (deep(100_000), 400),
    "an array": (b"[]", 422),
    "null": (b"null", 422),
    "a string": (b'"acme"', 422),
    "a number for a name": (b'{"orgId":1.5}', 422),
    "a lone surrogate": (b'{"orgId":"\\ud800","cost":{"amount":"1","currency":"USD"}}', 422),
    "an unknown field": (b'{"orgId":"acme","admin":true}', 422),
    "too large": (b'{"orgId":"' + b"a" * MAX_BODY + b'"}', 413),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_body_that_is_none(client, attack) -> None:
    body, status = ATTACKS[attack]
    path = "/v1/internal/credits/deduct"
    headers = {"Content-Type": "application/json"}
    answer = client("POST", path, SERVICE, body=body, idem="attack", headers=headers)
    assert answer.status == status, answer.body
    code = {400: "malformed_request", 413: "body_too_large", 422: "invalid_request"}[status]
    assert answer.code == code


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": None},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
    ids=str,
)
def test_a_body_of_another_type(client, headers) -> None:
    body = json.dumps({"orgId": "acme"} | FIELDS["deduct"]).encode()
    path = "/v1/internal/credits/deduct"
    answer = client("POST", path, SERVICE, body=body, idem="type", headers=headers)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "change",
    [
        {"cost": {"amount": 1, "currency": "USD"}},
        {"cost": {"amount": "1e-10", "currency": "USD"}},
        {"cost": {"amount": "9" * 30, "currency": "USD"}},
        {"cost": {"amount": "NaN", "currency": "USD"}},
        {"cost": {"amount": "-1", "currency": "USD"}},
        {"cost": {"amount": "0", "currency": "USD"}},
        {"cost": {"amount": "1", "currency": "usd"}},
        {"cost": {"amount": "1"}},
        {"cost": None},
        {"modelCall": CALL},
        {"cost": None, "modelCall": CALL, "usage": {"resource": "x", "quantities": {}}},
        {"cost": None, "modelCall": CALL | {"inputTokens": 2**53}},
        {"cost": None, "modelCall": CALL | {"inputTokens": -1}},
        {"cost": None, "modelCall": CALL | {"inputTokens": 1.0}},
        {"cost": None, "modelCall": CALL | {"inputTokens": True}},
        {"cost": None, "modelCall": CALL | {"inputTokens": "10"}},
        {"cost": None, "modelCall": CALL | {"cachedReadTokens": 1}},
        {"cost": None, "usage": {"resource": "x", "quantities": {"y": "-1"}}},
        {"cost": None, "usage": {"resource": "x", "quantities": {"y": "1" * 37}}},
        {"cost": None, "usage": {"resource": "x", "quantities": [1]}},
        {"occurredAt": "2026-02-30T00:00:00Z"},
        {"occurredAt": "2026-02-03"},
        {"occurredAt": "2026-02-03T00:00:00"},
        {"occurredAt": 1},
        {"occurredAt": "1890-01-01T00:00:00Z"},
        {"orgId": ""},
        {"orgId": "x" * 201},
        {"orgId": "line\nbreak"},
        {"memberId": ""},
        {"projectId": "*"},
    ],
    ids=lambda change: json.dumps(change)[:60],
)
def test_a_body_that_is_well_formed_but_invalid(plain, change) -> None:
    body = {"orgId": "acme"} | FIELDS["deduct"] | change
    answer = plain.post("/v1/internal/credits/deduct", body)
    assert (answer.status, answer.code) == (422, "invalid_request"), answer.body


@pytest.mark.parametrize("route", ["credits/check", "credits/deduct"])
@pytest.mark.parametrize("given", [{}, {"modelCall": CALL, **FIELDS["deduct"]}])
def test_all_that_may_be_given_is_named(plain, route, given) -> None:
    answer = plain.post(f"/v1/internal/{route}", {"orgId": "acme"} | given)
    assert answer.json["error"]["message"] == "Give exactly one of cost, modelCall, usage."


def test_a_settlement_of_a_batch_takes_no_cost(plain) -> None:
    body = {"settlements": [{"orgId": "acme", "key": "1"}]}
    [outcome] = plain.post("/v1/internal/settlements", body).data["outcomes"]
    assert outcome["error"]["message"] == "Give exactly one of modelCall, usage."


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 422),
        ("limit=501", 422),
        ("limit=-1", 422),
        ("limit=1.0", 422),
        ("limit=", 422),
        ("limit=1e2", 422),
        ("limit=%D9%A3", 422),  # a digit of another script
        ("limit=" + "9" * 5_000, 422),
        ("limit=1&limit=2", 400),
        ("cursor=", 422),
        ("cursor=nonsense", 422),
        ("cursor=%00", 422),
        ("cursor=aGlzdG9yeS4x%0A", 422),
        ("cursor=aGlzdG9yeS4wMQ", 422),
        ("offset=3", 422),
        ("limit=%FF", 400),
        ("&".join(f"x{n}=1" for n in range(60)), 400),
    ],
)
def test_a_query_that_is_not_understood(client, query, status) -> None:
    answer = client("GET", "/v1/billing/credits/history", query=query)
    assert answer.status == status, answer.body
    assert answer.code == ("malformed_request" if status == 400 else "invalid_request")


def test_an_unknown_org_of_a_service_is_unknown(client) -> None:
    answer = client.get("/v1/internal/prices", SERVICE, orgId="nowhere")
    assert (answer.status, answer.code) == (404, "unknown_org")
    assert client.settle(org="nowhere").code == "unknown_org"


def test_nothing_of_another_org_shows(client) -> None:
    client.settle("eve", "globex", model="large")
    for key in (MEMBER, ADMIN):
        for path in ("plan", "credits", "credits/history", "my-usage", "my-usage/daily"):
            assert b"globex" not in client.get(f"/v1/billing/{path}", key).body
    shown = client.get("/v1/billing/my-usage", OTHER_ADMIN, all="true").data
    assert {row["memberId"] for row in shown["members"]} <= {"eve", "gus", None}
    assert client.get("/v1/billing/my-usage", OTHER).data["memberId"] == "eve"


# -- the log --------------------------------------------------------------------


def test_requests_are_logged_without_secrets(plain, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    answer = plain.get("/v1/billing/credits", orgId="acme")
    refused = plain.get("/v1/billing/credits", orgId="hidden-org")
    unknown = plain.get("/v1/hidden-path", "key-hidden")
    first, second, third = (r for r in caplog.records if r.name == "billing_adapters.http")
    assert (first.org, first.route, first.status, first.code) == ("acme", "credits", 200, None)
    assert first.request_id == answer.json["meta"]["requestId"]
    assert (second.status, second.code) == (403, "not_allowed")
    assert second.request_id == refused.json["error"]["requestId"]
    assert (third.org, third.route, third.status) == (None, None, 401)
    assert third.request_id == unknown.json["error"]["requestId"]
    told = "".join(str(vars(record)) for record in caplog.records)
    assert MEMBER not in told and "hidden" not in told
