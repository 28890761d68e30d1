"""The HTTP contract, over every framework in this process and every example as a server."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from http_world import (
    ADMIN,
    IN_PROCESS,
    MEMBER,
    OTHER,
    OTHER_ADMIN,
    SERVERS,
    SERVICE,
    database,
    in_process,
    served,
)

from billing_adapters.http.public import _SAID
from billing_adapters.http.routes import cursor_after
from billing_core.reports.statements import HISTORY_TYPES
from billing_core.values.times import DAY

DATABASES = ("sqlite", "postgres")


@pytest.fixture(
    scope="module",
    params=[(host, database) for host in IN_PROCESS + SERVERS for database in DATABASES],
    ids="-".join,
)
def client(request, tmp_path_factory):
    host, kind = request.param
    with (
        database(kind, tmp_path_factory) as name,
        (in_process if host in IN_PROCESS else served)(host, name) as found,
    ):
        yield found


# -- shapes of the contract -----------------------------------------------------

CENTS = int
TEXT = str


def nullable(kind):
    return (kind, type(None))


def time(text):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text), text
    return datetime.fromisoformat(text)


def money(*names):
    return {
        "currency": TEXT,
        **{f"{name}Cents": CENTS for name in names},
        **dict.fromkeys(names, TEXT),
    }


PLAN = {"orgId": TEXT, "plan": nullable(TEXT), **money("balance", "totalGranted", "totalUsed")}
CREDITS = {
    "orgId": TEXT,
    "freeCreditsUsed": bool,
    **money("balance", "available", "held", "debt", "totalGranted", "totalUsed"),
}
SAME = {"replayed": True}
"""What an answer has beside the first one, where the same was sent again."""
MOVEMENT = {
    "id": TEXT,
    "orgId": TEXT,
    "type": TEXT,
    "resource": nullable(TEXT),
    "description": TEXT,
    "referenceId": nullable(TEXT),
    "createdAt": time,
    **money("amount", "balanceAfter"),
}
PRICING = {
    "package": bool,
    **dict.fromkeys(("tiers", "variants", "multipliers", "facts"), list),
    **dict.fromkeys(("resource", "component", "unit", "amount", "per", "currency"), TEXT),
    **dict.fromkeys(("minimum", "increment", "price", "version"), TEXT),
}
RUNTIME = {"runs": int, "seconds": int, **money("amount")}
ROW = {
    "tokens": {"input": int, "output": int, "total": int},
    "modelUsage": [
        {
            "model": TEXT,
            "requests": int,
            "inputTokens": int,
            "outputTokens": int,
            "totalTokens": int,
            "byok": bool,
            **money("amount"),
        }
    ],
    "sandboxRuntime": dict.fromkeys(("settled", "pending", "forgiven", "active"), RUNTIME),
    "storageUsage": [{"workspaceId": TEXT, "byteSeconds": TEXT, **money("amount")}],
    "toolExecutions": int,
    "resourceCharges": [{"resource": TEXT, "quantity": TEXT, "unit": TEXT, **money("amount")}],
    **money("total"),
}
USAGE = {
    "orgId": TEXT,
    "memberId": nullable(TEXT),
    "period": {"name": TEXT, "start": time, "end": time},
    "credits": CREDITS,
    "members": (list, type(None)),
    **ROW,
}
RUN_NOW = {
    "runId": TEXT,
    "orgId": TEXT,
    "state": TEXT,
    "settledTo": time,
    "fundedUntil": time,
    "boundBy": TEXT,
    "createdAt": time,
    "replayed": bool,
    **money("charged", "balance"),
}
RUN = {
    "runId": TEXT,
    "orgId": TEXT,
    "resource": TEXT,
    "state": TEXT,
    "memberId": nullable(TEXT),
    "projectId": nullable(TEXT),
    "referenceId": nullable(TEXT),
    "startedAt": time,
    "seenAt": time,
    "endedAt": time,
    "swept": bool,
    "settledTo": time,
    "fundedUntil": time,
    "boundBy": TEXT,
    **{f"{each}Microseconds": int for each in ("settled", "forgiven", "unposted")},
    **money("settled", "forgiven", "unposted"),
}
WORKSPACE = {
    "workspaceId": TEXT,
    "orgId": TEXT,
    "bytes": TEXT,
    "billedTo": time,
    "replayed": bool,
    **money("charged", "balance"),
}
CHARGE = {
    "id": TEXT,
    "orgId": TEXT,
    "memberId": nullable(TEXT),
    "resource": TEXT,
    "occurredAt": time,
    "createdAt": time,
    "lines": [
        {
            "component": TEXT,
            "quantity": TEXT,
            "billed": TEXT,
            "byok": bool,
            "priceVersion": nullable(TEXT),
            "price": TEXT,
            "variant": TEXT,
            "arithmetic": TEXT,
            **money("amount"),
        }
    ],
    "payments": [{"lotId": TEXT, "credit": TEXT, "how": TEXT, **money("amount")}],
    **money("amount", "unpaid", "reversed"),
}


def check(value, shape, where="data"):
    """Every field is there, with its type, and no other; cents are the floor of the decimal."""
    if isinstance(shape, dict):
        assert isinstance(value, dict) and value.keys() == shape.keys(), (where, value)
        for name, kind in shape.items():
            check(value[name], kind, f"{where}.{name}")
            if name.endswith("Cents"):
                assert re.fullmatch(r"-?\d+\.\d{2,9}", value[name.removesuffix("Cents")])
                exact = value[name.removesuffix("Cents")].partition(".")
                nanos = int((exact[0] + exact[2].ljust(9, "0")).replace("-", ""))
                nanos = -nanos if exact[0].startswith("-") else nanos
                assert value[name] == nanos // 10_000_000, (where, value)
    elif isinstance(shape, list):
        assert isinstance(value, list) and value, where
        for number, each in enumerate(value):
            check(each, shape[0], f"{where}[{number}]")
    elif shape is time:
        time(value)
    else:
        kinds = shape if isinstance(shape, tuple) else (shape,)
        assert type(value) in kinds, (where, value)


def test_every_type_of_history_has_its_words() -> None:
    assert _SAID.keys() == HISTORY_TYPES


# -- public ---------------------------------------------------------------------


def test_plan_and_credits(client) -> None:
    for key in (MEMBER, ADMIN):
        check(client.get("/v1/billing/plan", key).data, PLAN)
        check(client.get("/v1/billing/credits", key).data, CREDITS)
    assert client.get("/v1/billing/plan", OTHER).data["orgId"] == "globex"
    found = client.get("/v1/billing/credits", orgId="acme")
    # Of acme's free credit nothing is left.
    assert found.data["orgId"] == "acme" and found.data["freeCreditsUsed"] is True
    assert client.get("/v1/billing/credits", OTHER).data["freeCreditsUsed"] is False
    assert found.json["meta"] == {"requestId": found.headers["x-request-id"]}
    assert found.headers["cache-control"] == "no-store"


def test_what_is_held_is_not_available(client) -> None:
    before = client.get("/v1/billing/credits").data
    body = {
        "orgId": "acme",
        "cost": {"amount": "0.015", "currency": "USD"},
        "hold": {"lifeSeconds": 600},
    }
    made = client.post("/v1/internal/credits/check", body).data
    assert (made["allowed"], made["needed"], made["available"]) == (True, "0.015", None)
    after = client.get("/v1/billing/credits").data
    assert after["balance"] == before["balance"]
    assert (before["held"], after["held"], after["heldCents"]) == ("0.00", "0.015", 1)
    released = client.post(
        "/v1/internal/credits/release", {"orgId": "acme", "holdId": made["hold"]["id"]}
    ).data
    assert released["freed"] == "0.015"
    assert client.get("/v1/billing/credits").data == before


def test_history_in_pages_that_new_rows_do_not_move(client) -> None:
    first = client.get("/v1/billing/credits/history", limit=2)
    for row in first.data:
        check(row, MOVEMENT)
        assert row["type"] in HISTORY_TYPES and row["orgId"] == "acme"
    meta = first.json["meta"]
    assert meta["hasMore"] is True and isinstance(meta["nextCursor"], str)
    second = client.get("/v1/billing/credits/history", limit=2, cursor=meta["nextCursor"])
    client.settle()
    again = client.get("/v1/billing/credits/history", limit=2, cursor=meta["nextCursor"])
    assert again.data == second.data
    ids = [int(row["id"]) for row in first.data + second.data]
    assert ids == sorted(set(ids), reverse=True)


def test_history_ends_with_no_cursor(client) -> None:
    rows, cursor = [], None
    while True:
        query = {"limit": 100} | ({} if cursor is None else {"cursor": cursor})
        page = client.get("/v1/billing/credits/history", **query)
        rows += page.data
        assert page.data
        cursor = page.json["meta"]["nextCursor"]
        assert page.json["meta"]["hasMore"] is (cursor is not None)
        if cursor is None:
            break
    assert [row["type"] for row in rows[-2:]] == ["topup", "grant"]
    assert rows[-2]["referenceId"] == "order-1" and rows[-2]["amountCents"] == 2000
    assert rows[0]["balanceAfter"] == client.get("/v1/billing/credits").data["balance"]
    # Two rows on two pages of one each: the second says that it is the last.
    page = client.get("/v1/billing/credits/history", OTHER, limit=1)
    assert page.json["meta"]["hasMore"] is True
    page = client.get(
        "/v1/billing/credits/history", OTHER, limit=1, cursor=page.json["meta"]["nextCursor"]
    )
    assert page.json["meta"] | {"requestId": ""} == {
        "requestId": "",
        "hasMore": False,
        "nextCursor": None,
    }


@pytest.mark.parametrize("period", ["current", "7d", "30d", "all_time"])
def test_a_member_sees_their_own_usage(client, period) -> None:
    client.settle("ana", model="large")
    found = client.get("/v1/billing/my-usage", period=period).data
    assert found["memberId"] == "ana" and found["members"] is None
    assert found["period"]["name"] == period
    assert time(found["period"]["start"]) < time(found["period"]["end"])
    assert not any(row["resource"] == "tool:search" for row in found["resourceCharges"])
    check(found, USAGE | {"resourceCharges": list, "storageUsage": list})


def test_an_admin_sees_everyone_s_usage(client) -> None:
    run = {"orgId": "acme", "tool": "search", "calls": 3}
    client.post("/v1/internal/tools/execute", run)
    client.settle("ana", byok=True)
    before = client.get("/v1/billing/my-usage", ADMIN, all="true", period="30d").data
    check(before, USAGE)
    names = [row["memberId"] for row in before["members"]]
    assert before["memberId"] is None and names == [None, "ana", "bo", "cy"]
    for row in before["members"]:
        check(row, {"memberId": nullable(TEXT), **ROW} | dict.fromkeys(
            ("modelUsage", "resourceCharges", "storageUsage"), list))  # fmt: skip
    assert sum(row["tokens"]["total"] for row in before["members"]) == before["tokens"]["total"]
    assert [row["amount"] for row in before["modelUsage"] if row["byok"]] == ["0.00"]
    own = client.get("/v1/billing/my-usage", ADMIN, period="30d").data
    assert own["memberId"] == "bo" and own["total"] != before["total"]
    denied = client.get("/v1/billing/my-usage", MEMBER, all="true")
    assert (denied.status, denied.code) == (403, "not_allowed")


def test_an_admin_reads_members_page_by_page_and_nobody_is_missed_or_told_twice(client) -> None:
    client.settle("ana")
    client.settle("Zoë \U0001f600")
    client.settle("bo")
    asked = {"all": "true", "period": "30d"}
    whole = client.get("/v1/billing/my-usage", ADMIN, **asked)
    assert (whole.json["meta"]["hasMore"], whole.json["meta"]["nextCursor"]) == (False, None)
    rows, cursor = [], {}
    while True:
        page = client.get("/v1/billing/my-usage", ADMIN, **asked, limit=1, **cursor)
        check(page.data, USAGE)
        rows += page.data["members"]
        assert len(rows) < 9, "the pages end"
        # Who comes in meanwhile, before the page or behind it, moves nobody.
        if rows[-1]["memberId"] == "ana":
            client.settle("aaa")
            client.settle("zzz")
        meta = page.json["meta"]
        assert meta["hasMore"] is (meta["nextCursor"] is not None)
        if not meta["hasMore"]:
            break
        assert len(page.data["members"]) == 1, "the last page alone may be short"
        cursor = {"cursor": meta["nextCursor"]}
    told = [row["memberId"] for row in rows]
    before = [row["memberId"] for row in whole.data["members"]]
    assert [each for each in told if each in before] == before
    assert set(told) - set(before) == {"zzz"}
    page, whole = (client.get("/v1/billing/my-usage", ADMIN, **asked, **some).data
                   for some in ({"limit": 1}, {}))  # fmt: skip
    of_page = ("members", "period")  # 30 days end now
    assert {name: each for name, each in page.items() if name not in of_page} == {
        name: each for name, each in whole.items() if name not in of_page
    }, "the totals are the org's on every page"


NO_PAGES = (
    *({"limit": 0}, {"limit": 501}, {"limit": "x"}, {"cursor": "x"}),
    *({"limit": 2, "all": "false"}, {"cursor": "", "all": "false"}),
)


@pytest.mark.parametrize("said", NO_PAGES)
def test_a_page_of_members_that_cannot_be_is_refused(client, said) -> None:
    found = client.get("/v1/billing/my-usage", ADMIN, **{"all": "true"} | said)
    assert (found.status, found.code) == (422, "invalid_request"), found.json


def test_usage_by_day(client) -> None:
    client.settle("ana")
    found = client.get("/v1/billing/my-usage/daily", period="30d").data
    assert found.keys() == {"orgId", "memberId", "days"} and found["memberId"] == "ana"
    days = [each["day"] for each in found["days"]]
    assert len(days) > 15 and days == sorted(days)
    for each in found["days"]:
        check(each, {"day": TEXT, **ROW, "resourceCharges": list, "storageUsage": list})
    everyone = client.get("/v1/billing/my-usage/daily", ADMIN, period="30d", all="true").data
    whole = client.get("/v1/billing/my-usage", ADMIN, period="30d", all="true").data
    total = sum(int(each["tokens"]["total"]) for each in everyone["days"])
    assert total == whole["tokens"]["total"]


def test_a_charge_explains_itself_to_whose_it_is(client) -> None:
    charge = client.settle("ana").data["id"]
    found = client.get(f"/v1/billing/charges/{charge}").data
    check(found, CHARGE)
    assert found["memberId"] == "ana" and found["resource"] == "model:small"
    [row] = client.get("/v1/billing/credits/history", limit=1).data
    assert row["id"] == charge and row["amount"] == "-" + found["amount"]
    assert client.get(f"/v1/billing/charges/{charge}", ADMIN).data == found
    others = client.settle("bo").data["id"]
    assert client.get(f"/v1/billing/charges/{others}").code == "not_allowed"
    # Of another org, there is no such charge, be there one of its own by that number or not.
    answers = [
        client.get(f"/v1/billing/charges/{each}", OTHER_ADMIN)
        for each in (charge, "999999999", "0", "-1", "x", "9" * 40, "٣")
    ]
    assert {(each.status, each.code) for each in answers} == {(404, "unknown_charge")}
    own = client.settle("eve", "globex").data["id"]
    assert client.get(f"/v1/billing/charges/{own}", OTHER).data["orgId"] == "globex"


# -- internal -------------------------------------------------------------------


def test_a_hold_is_settled_by_its_id(client) -> None:
    call = {"model": "small", "inputTokens": 1_000, "outputTokens": 1_000}
    check_body = {"orgId": "acme", "memberId": "ana", "modelCall": call}
    asked = client.post("/v1/internal/credits/check", check_body).data
    assert asked["allowed"] and asked["hold"] is None and asked["needed"] == "0.00075"
    body = check_body | {"hold": {"lifeSeconds": 60}}
    made = client.post("/v1/internal/credits/check", body, idem="hold-1").data
    assert client.post("/v1/internal/credits/check", body, idem="hold-1").data == made | SAME
    settle = {
        "orgId": "acme",
        "memberId": "ana",
        "holdId": made["hold"]["id"],
        "modelCall": {"model": "small", "inputTokens": 1_000, "outputTokens": 10},
    }
    charge = client.post("/v1/internal/models/settle", settle, idem="hold-1").data
    assert charge["captured"] == charge["amount"] == "0.000156" and charge["unpriced"] == []
    assert client.post("/v1/internal/models/settle", settle, idem="hold-1").data == charge | SAME
    again = client.post("/v1/internal/models/settle", settle, idem="hold-2")
    assert (again.status, again.code) == (409, "conflict")
    other = settle | {"memberId": "bo"}
    again = client.post("/v1/internal/models/settle", other, idem="hold-1")
    assert (again.status, again.code) == (409, "idempotency_conflict")


def test_deducting_is_refused_beyond_what_is_available(client) -> None:
    cost = {"amount": "0.25", "currency": "USD"}
    body = {"orgId": "acme", "cost": cost, "resource": "video", "referenceId": "v-1"}
    found = client.post("/v1/internal/credits/deduct", body).data
    assert (found["amount"], found["paid"], found["unpaid"]) == ("0.25", "0.25", "0.00")
    dear = body | {"cost": cost | {"amount": "1000"}}
    refused = client.post("/v1/internal/credits/deduct", dear)
    assert (refused.status, refused.code) == (402, "insufficient_credits")
    assert refused.json["error"]["limit"] == "balance"
    no = client.post("/v1/internal/credits/check", dear).data
    assert (no["allowed"], no["reason"]) == (False, "insufficient_credits")
    held = client.post("/v1/internal/credits/check", dear | {"hold": {"lifeSeconds": 60}}).data
    assert {**held, "available": no["available"]} == no, "refused alike, to be held or not"
    assert held["refusal"]["code"] == "insufficient_credits"
    assert held["refusal"]["limit"] == "balance" and held["refusal"]["shortfallCents"] > 0
    assert client.post("/v1/internal/credits/check", body).data["refusal"] is None
    for_what = {name: body[name] for name in ("orgId", "cost")}
    nothing = client.post("/v1/internal/credits/deduct", for_what)
    assert (nothing.status, nothing.json["error"]["field"]) == (422, "resource")
    euros = client.post("/v1/internal/credits/deduct", body | {"cost": cost | {"currency": "EUR"}})
    assert (euros.status, euros.code) == (422, "invalid_request")
    unknown = {"orgId": "acme", "usage": {"resource": "nothing", "quantities": {"x": 1}}}
    answer = client.post("/v1/internal/credits/deduct", unknown)
    assert (answer.status, answer.code) == (422, "unknown_price")


def test_tools_and_code(client) -> None:
    tool = client.post("/v1/internal/tools/execute", {"orgId": "acme", "tool": "search"}).data
    assert tool["amount"] == "0.004"
    run = {"orgId": "acme", "runtime": "python", "durationMicroseconds": 2_500_000}
    assert client.post("/v1/internal/code/execute", run).data["amount"] == "0.00025"


def test_five_calls_in_one_settlement_are_five_executions(client) -> None:
    before = client.get("/v1/billing/my-usage", OTHER).data["toolExecutions"]
    five = {"orgId": "globex", "memberId": "eve", "tool": "search", "calls": 5}
    client.post("/v1/internal/tools/execute", five)
    found = client.get("/v1/billing/my-usage", OTHER).data
    assert found["toolExecutions"] == before + 5
    [charge] = [row for row in found["resourceCharges"] if row["resource"] == "tool:search"]
    assert charge["quantity"] == str(before + 5)


def test_a_service_reverses_a_deduct(client) -> None:
    body = {"orgId": "globex", "cost": {"amount": "0.25", "currency": "USD"}, "resource": "video"}
    made = client.post("/v1/internal/credits/deduct", body).data
    back = {"orgId": "globex", "chargeId": made["id"], "reason": "it was blurred"}
    found = client.post("/v1/internal/credits/reverse", back).data
    assert (found["amount"], found["refilled"]) == ("0.25", "0.25")


def test_a_call_that_failed_is_undone(client) -> None:
    tool = client.post("/v1/internal/tools/execute", {"orgId": "acme", "tool": "search"}).data
    path, body = "/v1/internal/credits/reverse", {"orgId": "acme", "chargeId": tool["id"]}
    cost = {"amount": "0.001", "currency": "USD"}
    both = client.post(path, body | {"undoUsage": True, "part": cost})
    assert (both.status, both.code) == (422, "invalid_request")
    part = client.post(path, body | {"part": cost, "reason": "slow"}).data
    assert (part["amount"], part["chargeId"]) == ("0.001", tool["id"])
    undone = client.post(path, body | {"undoUsage": True, "reason": "it was down"}).data
    assert (undone["amount"], undone["refilled"], undone["expired"]) == ("0.003", "0.003", "0.00")
    again = client.post(path, body | {"undoUsage": True})
    assert again.status == 409
    charge = client.get(f"/v1/billing/charges/{tool['id']}", ADMIN).data
    assert charge["reversed"] == "0.004"
    assert client.post(path, body | {"chargeId": "x"}).status == 404


NOW = datetime.now(UTC).replace(microsecond=0)


def hours_ago(hours):
    at = NOW - timedelta(hours=hours)
    return at.isoformat().replace("+00:00", "Z")


@pytest.fixture
def run(client):
    """Asks for something of a run of eve's, who has no other."""
    name = uuid4().hex

    def run(what, **more):
        body = {"orgId": "globex", "runId": name} | more
        return client.post(f"/v1/internal/runs/{what}", body)

    run.spec = {"sandbox": "small", "rates": {"vcpu": 4}}
    run.read = lambda: (
        client.get("/v1/internal/runs/read", SERVICE, orgId="globex", runId=name).data
    )
    return run


def runtime(client, state, key=OTHER, **query):
    found = client.get("/v1/billing/my-usage", key, period="7d", **query).data
    row = found["sandboxRuntime"][state]
    return row["runs"], row["seconds"], row["amount"]


@pytest.mark.parametrize("what", ["start", "heartbeat", "suspend", "resume", "stop"])
def test_of_a_run_the_last_90_days_are_told(client, run, what) -> None:
    if what != "start":
        run("start", spec=run.spec, occurredAt=hours_ago(1))
    spec = {"spec": run.spec} if what == "start" else {}
    answer = run(what, **spec, occurredAt=hours_ago(24 * 90 + 1))
    assert (answer.status, answer.code) == (422, "invalid_request")
    assert answer.json["error"]["field"] == "occurredAt" and "90 days" in answer.body.decode()


def test_of_a_workspace_the_last_90_days_are_told(client) -> None:
    said = {"orgId": "globex", "workspaceId": uuid4().hex, "bytes": "1"}
    answer = client.post("/v1/internal/storage/size", said | {"occurredAt": hours_ago(24 * 91)})
    assert (answer.status, answer.json["error"]["field"]) == (422, "occurredAt")
    said["occurredAt"] = hours_ago(24 * 89)
    assert client.post("/v1/internal/storage/size", said).status == 200


@pytest.mark.parametrize("keyed", [True, False], ids=["with keys", "without"])
def test_what_was_told_in_time_is_answered_again_long_after(tmp_path, keyed) -> None:
    run, at = {"orgId": "acme", "runId": "late"}, {"occurredAt": hours_ago(1)}
    spec = {"spec": {"sandbox": "small", "rates": {"vcpu": 1}}}
    told = [
        ("runs/start", run | spec | at),
        *((f"runs/{what}", run | at) for what in ("heartbeat", "suspend", "resume", "stop")),
        ("storage/size", {"orgId": "acme", "workspaceId": "late", "bytes": "7"} | at),
    ]
    with in_process("plain", tmp_path / "billing.db") as client:

        def tell(path, body):
            idem = f"again-{path}" if keyed else None
            return client("POST", f"/v1/internal/{path}", SERVICE, body=body, idem=idem)

        said = [tell(path, body).data for path, body in told]
        billing = client.site.api.billing
        later = billing.clock() + 120 * DAY
        billing.clock = lambda: later
        for (path, body), before in zip(told, said, strict=True):
            answer = tell(path, body)
            if path in ("runs/start", "runs/resume"):  # the run has stopped since
                assert (answer.status, answer.code) == (409, "hold_ended"), answer.body
            else:
                assert answer.data == before | SAME, path
            name = "workspaceId" if "bytes" in body else "runId"
            other = client.post(f"/v1/internal/{path}", body | {name: "other"})
            assert (other.status, other.json["error"]["field"]) == (422, "occurredAt"), path


def test_a_run_from_its_quote_to_its_forgiveness(client, run) -> None:
    before = runtime(client, "settled")
    quote = {"orgId": "globex", "spec": run.spec, "seconds": 3_600}
    found = client.post("/v1/internal/runs/quote", quote).data
    check(found, {"orgId": TEXT, "until": time, "boundBy": TEXT, **money("amount")})
    assert (found["amount"], found["boundBy"]) == ("0.288", "asked")
    lasting = client.post("/v1/internal/runs/quote", quote | {"seconds": None}).data
    assert lasting["boundBy"] == "balance" and time(lasting["until"]) > time(found["until"])

    start = {"spec": run.spec, "memberId": "eve", "occurredAt": hours_ago(3)}
    made = run("start", **start).data
    check(made, RUN_NOW)
    assert (made["state"], made["boundBy"], made["charged"]) == ("active", "asked", "0.00")
    again = run("start", **start)
    assert again.data == made | SAME
    other = run("start", **start | {"memberId": None})
    assert (other.status, other.code) == (409, "idempotency_conflict")
    assert runtime(client, "active")[0] == 1

    made = run("heartbeat", occurredAt=hours_ago(2)).data
    assert (made["charged"], made["settledTo"]) == ("0.288", hours_ago(2))
    assert run("suspend", occurredAt=hours_ago(1.5)).data["state"] == "suspended"
    assert run("resume", occurredAt=hours_ago(1)).data["state"] == "active"
    made = run("stop", settle=False, occurredAt=hours_ago(0.5)).data
    check(made, RUN_NOW)
    assert made["state"] == "pending"
    runs, seconds, amount = runtime(client, "pending")
    assert (runs, seconds, amount) == (1, 1_800, "0.144")
    assert run("settle").data["state"] == "settled"
    assert run("heartbeat").data["state"] == "settled"
    found = run.read()
    check(found, RUN)
    assert (found["settled"], found["settledMicroseconds"]) == ("0.576", 2 * 3_600 * 10**6)
    assert runtime(client, "settled")[:2] == (before[0] + 1, before[1] + 7_200)

    part = {"reason": "slow", "part": {"amount": "0.288", "currency": "USD"}}
    assert run("forgive", **part).data["charged"] == "-0.288"
    whole = run("forgive", reason="slow").data
    assert (whole["charged"], whole["state"]) == ("-0.288", "forgiven")
    assert runtime(client, "settled") == before
    made = run("undo", reason="it was not").data
    assert (made["charged"], made["state"]) == ("0.576", "settled")
    everything = client.post("/v1/internal/runs/forgive", {
        "orgId": "globex", "runId": made["runId"], "reason": "x",
        "part": {"amount": "1", "currency": "USD"},
    })  # fmt: skip
    assert (everything.status, everything.code) == (409, "over_reversal")
    run("forgive", reason="to be as before")


def test_a_run_that_credit_does_not_reach(client, run) -> None:
    dear = {"sandbox": "small", "rates": {"vcpu": 10**9}}
    refused = run("start", spec=dear)
    assert (refused.status, refused.code) == (402, "insufficient_credits")
    assert run("heartbeat").code == "unknown_run"
    unpriced = run("start", spec={"sandbox": "unknown", "rates": {"x": 1}})
    assert (unpriced.status, unpriced.code) == (422, "unknown_price")
    for wrong in ({"vcpu": -1}, {"vcpu": 0}, {}):
        answer = run("start", spec={"sandbox": "small", "rates": wrong})
        assert (answer.status, answer.code) == (422, "invalid_request"), wrong
    assert run("start", spec=run.spec, byok=True).status == 422


def test_what_the_customer_pays_of_a_run_is_not_charged(run) -> None:
    run("start", spec=run.spec | {"byok": ["vcpu"]}, occurredAt=hours_ago(1))
    assert run("stop").data["charged"] == "0.00"
    assert run.read()["settledMicroseconds"] >= 3_600 * 10**6


def test_a_stop_that_is_told_twice_is_one(run) -> None:
    run("start", spec=run.spec, occurredAt=hours_ago(1))
    ended = {"occurredAt": hours_ago(0.5)}
    assert run("stop", **ended).data["charged"] == "0.144"
    assert run("stop", **ended).data["charged"] == "0.00"
    assert run("settle").code == "conflict"


def test_without_a_key_what_is_said_twice_is_one_thing(client) -> None:
    of = {"orgId": "globex", "runId": uuid4().hex}
    spec = {"spec": {"sandbox": "small", "rates": {"vcpu": 4}}}
    at = {"occurredAt": hours_ago(0.5)}
    shelf = {"orgId": "acme", "workspaceId": f"w-{uuid4().hex}", "bytes": 10**9, **at}

    def said(path, body):
        return client("POST", f"/v1/internal/{path}", SERVICE, body=body).data

    said("runs/start", of | spec | {"occurredAt": hours_ago(1)})
    for path, body in (
        ("runs/heartbeat", of | {"occurredAt": hours_ago(0.75)}),
        ("runs/stop", of | at),
        ("storage/size", shelf),
    ):
        first = said(path, body)
        assert said(path, body) == first | SAME, path
    assert first["charged"] == "0.00"
    assert said("runs/stop", of | at)["charged"] == "0.072"


def test_storage_is_reported_late_and_billed_once(client) -> None:
    workspace = {"orgId": "acme", "workspaceId": f"w-{uuid4().hex}"}

    def size(much, hours):
        body = workspace | {"bytes": much, "occurredAt": hours_ago(hours)}
        return client.post("/v1/internal/storage/size", body)

    def bill(**more):
        return client.post("/v1/internal/storage/bill", workspace | more).data["workspaces"]

    assert client.post("/v1/internal/storage/bill", workspace).code == "unknown_workspace"
    made = size(24 * 10**9, 3).data
    check(made, WORKSPACE)
    assert (made["charged"], made["bytes"]) == ("0.00", "24000000000")
    [made] = bill(until=hours_ago(1))
    check(made, WORKSPACE)
    assert (made["charged"], made["billedTo"]) == ("0.002", hours_ago(1))
    assert bill(until=hours_ago(1)) == [made | SAME]
    assert [each["charged"] for each in bill(until=hours_ago(1.5))] == ["0.00"]
    assert size("0", 2).data["charged"] == "-0.001"
    used = client.get("/v1/billing/my-usage", ADMIN, all="true", period="7d").data["storageUsage"]
    [row] = [row for row in used if row["workspaceId"] == workspace["workspaceId"]]
    assert (row["byteSeconds"], row["amount"]) == (str(24 * 10**9 * 3_600), "0.001")
    assert len(client.post("/v1/internal/storage/bill", {"orgId": "acme"}).data["workspaces"]) > 1
    for wrong in (-1, "1.5", "9" * 36, None, True):
        assert size(wrong, 1).status == 422


def test_storage_s_quota(client) -> None:
    query = {"orgId": "acme", "workspaceId": "docs", "bytes": str(10**18)}
    found = client.get("/v1/internal/storage/quota", SERVICE, **query).data
    assert found == {"orgId": "acme", "workspaceId": "docs", "allowed": True, "left": None}


def test_prices(client) -> None:
    found = client.get("/v1/internal/prices", SERVICE, orgId="acme", resource="tool:search")
    [row] = found.data
    assert row == {
        "resource": "tool:search",
        "component": "call",
        "unit": "call",
        "amount": "0.004",
        "per": "1",
        "currency": "USD",
        "package": False,
        "tiers": [],
        "minimum": "0",
        "increment": "1",
        "variants": [],
        "multipliers": [],
        "facts": [],
        "price": "0.004 USD per call",
        "priceVersion": row["priceVersion"],
    }
    assert len(client.get("/v1/internal/prices", SERVICE, orgId="acme").data) == 10


def test_a_member_reads_what_the_org_pays_page_by_page(client) -> None:
    path = "/v1/billing/pricing"
    whole = client.get(path)
    check(whole.data[0], PRICING)
    assert (whole.json["meta"]["hasMore"], whole.json["meta"]["nextCursor"]) == (False, None)
    assert len(whole.data) == 10
    [search] = client.get(path, resource="tool:search").data
    assert (search["amount"], search["per"], search["unit"]) == ("0.004", "1", "call")
    for_services = client.get("/v1/internal/prices", SERVICE, orgId="acme").data
    assert [row | {"priceVersion": row["version"]} for row in whole.data] == [
        row | {"version": row["priceVersion"]} for row in for_services
    ]
    pages, cursor = [], {}
    while cursor is not None:
        page = client.get(path, limit=3, **cursor)
        pages.append(page.data)
        after = page.json["meta"]["nextCursor"]
        cursor = None if after is None else {"cursor": after}
    assert [len(page) for page in pages] == [3, 3, 3, 1]
    assert [row for page in pages for row in page] == whole.data
    for wrong in ("x", "W10", "cHJpY2luZw", cursor_after("history", "a", "b"), "é"):
        answer = client.get(path, cursor=wrong)
        assert (answer.status, answer.json["error"]["field"]) == (422, "cursor")


def test_a_batch_answers_for_each_settlement(client) -> None:
    good = {"orgId": "acme", "key": "b-1", "modelCall": {"model": "small", "inputTokens": 20}}
    items = [
        good,
        good | {"orgId": "nowhere"},
        good | {"modelCall": {"model": "small", "inputTokens": 21}},
        good | {"key": "b-2", "usage": {"resource": "x", "quantities": {"y": "12"}}},
        {"orgId": "acme", "key": "b-3", "usage": {"resource": "x", "quantities": {"y": "9" * 36}}},
    ]
    found = client("POST", "/v1/internal/settlements", SERVICE, body={"settlements": items}).data
    outcomes = found["outcomes"]
    assert [each["key"] for each in outcomes] == ["b-1", "b-1", "b-1", "b-2", "b-3"]
    assert outcomes[0]["charge"]["amount"] == "0.000003"
    codes = [each["error"] and each["error"]["code"] for each in outcomes]
    assert codes == [None, "unknown_org", "idempotency_conflict", "invalid_request", None]
    assert outcomes[4]["charge"]["unpriced"] == ["y"]


def test_writes_need_a_key_and_two_callers_or_routes_share_none(client) -> None:
    body = {"orgId": "acme", "cost": {"amount": "0.01", "currency": "USD"}, "resource": "x"}
    answer = client("POST", "/v1/internal/credits/deduct", SERVICE, body=body)
    assert (answer.status, answer.code) == (400, "idempotency_key_missing")
    for bad in ("x" * 129, "tab\there"):
        answer = client.post("/v1/internal/credits/deduct", body, idem=bad)
        assert (answer.status, answer.code) == (400, "malformed_request")
    deducted = client.post("/v1/internal/credits/deduct", body, idem="same").data["id"]
    assert client.post("/v1/internal/credits/deduct", body, idem="same").data["id"] == deducted
    assert client.settle(idem="same").data["id"] != deducted


# -- the rest -------------------------------------------------------------------


def test_the_description_is_the_public_routes(client) -> None:
    found = client("GET", "/openapi.json", None)
    assert found.status == 200 and found.json["openapi"] == "3.1.0"
    paths = set(found.json["paths"])
    assert "/v1/webhooks/stripe" in paths
    assert all(path.startswith("/v1/billing/") for path in paths - {"/v1/webhooks/stripe"})
    assert b"internal" not in found.body and b"service" not in found.body
    assert client("POST", "/openapi.json", None, body={}).status == 405


def test_the_page(client) -> None:
    for path, kind in (
        ("/billing", "text/html"),
        ("/billing/page.css", "text/css"),
        ("/billing/page.js", "text/javascript"),
        ("/billing/chart.js", "text/javascript"),
        ("/billing/client.js", "text/javascript"),
        ("/billing/elements.js", "text/javascript"),
        ("/billing/paying.js", "text/javascript"),
    ):
        found = client("GET", path, None)
        assert found.status == 200 and found.body
        assert found.headers["content-type"] == f"{kind}; charset=utf-8"
        policy = found.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
    assert client("GET", "/billing/secret.txt", MEMBER).status == 404


def test_methods_that_a_path_does_not_have(client) -> None:
    found = client("PUT", "/v1/billing/plan", body={})
    assert (found.status, found.code) == (405, "method_not_allowed")
    assert found.headers["allow"] == "GET, HEAD"
    for path in ("/v1/billing/plan", "/v1/billing/credits", "/billing", "/openapi.json"):
        got, head = client("GET", path), client("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(got.body))
        assert head.headers["content-type"] == got.headers["content-type"]
    assert client("PUT", "/v1/internal/prices", body={}).status == 404
    assert client("POST", "/v1/internal/prices", SERVICE, body={}).status == 405
