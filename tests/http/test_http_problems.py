"""What goes wrong, as HTTP says it: every code, once."""

import pytest
from http_world import MEMBER, SERVICE, mounted
from world import LONG_AGO, FailingStore, World, nanos

from billing_adapters.http import ROUTES, Api, Caller, Problem, Request
from billing_adapters.http.problems import problem_of
from billing_core import (
    AsyncBilling,
    Billing,
    BillingError,
    ClockDoubt,
    Conflict,
    IdempotencyConflict,
    InvalidCommand,
    MoneyOverflow,
    NotFound,
    Plan,
    Quota,
    Refusal,
    Refused,
    StoreError,
    UnknownPrice,
)
from billing_core.testing import MemoryStore

KEYS = {
    MEMBER: Caller("ana", org="acme", member="ana"),
    SERVICE: Caller("gateway", "service"),
}


def refused(reason, **more):
    return Refused(Refusal("acme", "k", reason, **more))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (refused("insufficient_credit", shortfall=5, limit="balance"), 402, "insufficient_credits"),
        (refused("limit_reached", retryable=True, retry_after=0.1), 429, "limit_reached"),
        (refused("quota_reached", retryable=True, retry_after=61.5), 429, "quota_reached"),
        (refused("closed"), 409, "account_closed"),
        (refused("hold_lapsed"), 409, "hold_lapsed"),
        (refused("hold_released"), 409, "hold_released"),
        (refused("over_reversal"), 409, "over_reversal"),
        (IdempotencyConflict("acme", "http:x", ("amount",)), 409, "idempotency_conflict"),
        (Conflict("no"), 409, "conflict"),
        (UnknownPrice("usage", "x", "a price"), 422, "unknown_price"),
        (InvalidCommand("limit", 0, "more"), 422, "invalid_request"),
        (MoneyOverflow("amount", 2**70, "less"), 422, "invalid_request"),
        (NotFound("hold", "h", "make it"), 404, "unknown_hold"),
        (StoreError("busy", retryable=True), 503, "store_unavailable"),
        (ClockDoubt("40 days ahead"), 503, "clock_doubt"),
        (StoreError("lost", outcome_unknown=True), 503, "store_unavailable"),
        (StoreError("corrupt"), 500, "internal_error"),
        (BillingError("?"), 500, "internal_error"),
    ],
    ids=str,
)
def test_an_error_s_answer(error, status, code) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (status, code)
    assert "http:" not in problem.message and "corrupt" not in problem.message
    if status == 503:
        assert problem.headers == {"Retry-After": "60" if code == "clock_doubt" else "1"}
    if code == "quota_reached":
        assert problem.headers == {"Retry-After": "62"}


def test_what_a_refusal_says() -> None:
    problem = problem_of(refused("insufficient_credit", shortfall=1_500_000_000, limit="balance"))
    assert problem.details == {"shortfall": "1.50", "limit": "balance", "retryable": False}


def test_a_limit_says_when_it_ends() -> None:
    world = World()
    world.grant(1_000)
    world.billing.set_limit("acme", "l", nanos(10), member="ana", per="day")
    client = mounted("plain", Api(world.billing, KEYS.get))
    body = {
        "orgId": "acme",
        "memberId": "ana",
        "usage": {"resource": "x", "quantities": {"unit": 11}},
    }
    answer = client.post("/v1/internal/credits/deduct", body)
    assert (answer.status, answer.code) == (429, "limit_reached")
    assert answer.headers["retry-after"] == str(12 * 3600)  # it is noon
    assert answer.json["error"]["limit"] == "member_limit"
    found = client.post("/v1/internal/credits/check", body).data
    assert (found["allowed"], found["reason"]) == (False, "limit_reached")


def test_storage_s_quota_is_of_the_plan() -> None:
    world = World()
    quotas = [Quota("storage", "bytes", 100)]
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, quotas=quotas))
    world.billing.set_plan("acme", "pro-1", "pro")
    client = mounted("plain", Api(world.billing, KEYS.get))
    body = {"orgId": "acme", "workspaceId": "docs", "bytes": 130}
    assert client.post("/v1/internal/storage/size", body).status == 200  # it is measured
    for size, allowed in ((120, True), (131, False)):
        query = {"orgId": "acme", "workspaceId": "docs", "bytes": size}
        found = client.get("/v1/internal/storage/quota", SERVICE, **query).data
        assert (found["allowed"], found["left"]) == (allowed, "-30")


def test_a_closed_account() -> None:
    world = World()
    world.billing.close("acme", remainder="write_off")
    client = mounted("plain", Api(world.billing, KEYS.get))
    body = {"orgId": "acme", "usage": {"resource": "x", "quantities": {"unit": 1}}}
    assert client.post("/v1/internal/credits/deduct", body).code == "account_closed"


class Down(MemoryStore):
    """Fails to read, once it has an error."""

    error = None

    def snapshot(self, wanted):
        if self.error is not None:
            raise self.error
        return super().snapshot(wanted)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreError("/secret/path is busy", retryable=True), 503, "store_unavailable"),
        (StoreError("/secret/path is corrupt"), 500, "internal_error"),
        (ZeroDivisionError("/secret/path"), 500, "internal_error"),
    ],
    ids=str,
)
def test_a_store_that_fails_to_read(error, status, code, caplog) -> None:
    store = Down()
    billing = World(store).billing
    store.error = error
    answer = mounted("plain", Api(billing, KEYS.get)).get("/v1/billing/credits")
    assert (answer.status, answer.code) == (status, code)
    assert b"secret" not in answer.body
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
    [record] = caplog.records
    assert record.levelname == "ERROR" and record.exc_info[1] is error


@pytest.mark.parametrize("fail", ["before", "after"])
def test_a_write_that_failed_is_sent_again_and_done_once(fail) -> None:
    store = FailingStore()
    world = World(store)
    client = mounted("plain", Api(world.billing, KEYS.get))
    body = {"orgId": "acme", "usage": {"resource": "x", "quantities": {"unit": 5}}}
    world.grant(100)
    store.fail = fail
    answer = client.post("/v1/internal/credits/deduct", body, idem="k")
    assert (answer.status, answer.code) == (503, "store_unavailable")
    store.fail = None
    assert client.post("/v1/internal/credits/deduct", body, idem="k").status == 200
    assert world.balance().balance == 95


def test_what_cannot_be_shown_is_our_fault(monkeypatch) -> None:
    """An org's currency without minor units that we know of, from before such were refused:
    no cents are guessed."""
    world = World(opened=False)
    monkeypatch.setattr("billing_core.charging.accounts.minor_unit", lambda currency: None)
    world.billing.open_account("acme", currency="XTS")
    monkeypatch.undo()
    assert world.billing.open_account("acme", currency="XTS").replayed
    answer = mounted("plain", Api(world.billing, KEYS.get)).get("/v1/billing/credits")
    assert (answer.status, answer.code) == (500, "internal_error")


def test_minor_units_are_the_currency_s() -> None:
    for currency, cents in (("USD", 1_234), ("JPY", 12), ("KWD", 12_345)):
        world = World(opened=False)
        world.billing.open_account("acme", currency=currency)
        world.billing.grant("acme", "g", nanos(12_345_678_901, currency))
        found = mounted("plain", Api(world.billing, KEYS.get)).get("/v1/billing/credits").data
        assert (found["balanceCents"], found["balance"]) == (cents, "12.345678901")
        assert found["currency"] == currency


def test_debt_is_rounded_down_too() -> None:
    world = World()
    world.settle(1)
    found = mounted("plain", Api(world.billing, KEYS.get)).get("/v1/billing/credits").data
    assert (found["balanceCents"], found["balance"]) == (-1, "-0.000000001")
    assert (found["debtCents"], found["debt"]) == (0, "0.000000001")


def test_free_credit_is_used_when_none_of_it_is_left() -> None:
    world = World()
    client = mounted("plain", Api(world.billing, KEYS.get))

    def used():
        return client.get("/v1/billing/credits").data["freeCreditsUsed"]

    assert not used()
    for _ in range(3):
        world.grant(10)
    assert not used()  # none was granted
    world.grant(5, kind="promotional")
    assert not used()
    world.deduct(5)
    assert used()
    world.grant(1)
    assert used()


def test_a_problem_s_details_leave_out_what_is_not_known() -> None:
    assert Problem(400, "c", "m", field=None, limit="x").details == {"limit": "x"}


def test_the_names_of_routes_are_their_own() -> None:
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    # A name is part of the idempotency keys on record: it must not contain what parts them.
    assert all(route.name.replace("_", "").isalpha() for route in ROUTES)


def test_headers_that_a_client_repeats_are_joined() -> None:
    class Pairs(dict):
        def items(self):
            return [("X-API-Key", "a"), ("x-api-key", "b")]

    assert Request("GET", "/", headers=Pairs()).headers == {"x-api-key": "a, b"}


def test_what_an_api_is_made_of_is_checked_when_it_is_made() -> None:
    world = World()
    for bad in (world.store, AsyncBilling(world.store), Billing, None):
        with pytest.raises(InvalidCommand, match=r"billing: given .*; expected a Billing"):
            Api(bad, KEYS.get)
    with pytest.raises(InvalidCommand, match="of an API key to its Caller"):
        Api(world.billing, KEYS)
