"""A credit check over HTTP, 200 whether or not the cost may be incurred, and what settles it."""

from unittest.mock import patch

import pytest
from http_world import mounted
from world import World

from billing_adapters.http import Api, Caller
from billing_core import usd

CHECK = "/v1/internal/credits/check"
BODY = {
    "orgId": "acme",
    "cost": {"amount": "5", "currency": "USD"},
    "resource": "video",
    "hold": {"lifeSeconds": 60},
}


def asked(world, idem):
    api = Api(world.billing, {"service-key": Caller("gateway", "service")}.get)
    return mounted("plain", api).post(CHECK, BODY, "service-key", idem)


def test_what_was_refused_stays_refused_though_credit_came_in_meanwhile() -> None:
    world = World()
    check = world.billing.check

    def late(*given, **more):
        world.billing.grant("acme", "late", usd("100"))
        return check(*given, **more)

    with patch.object(world.billing, "check", late):
        found = asked(world, "k-1").data
    assert (found["allowed"], found["hold"]) == (False, None)
    assert (found["reason"], found["refusal"]["code"]) == ("insufficient_credits",) * 2
    assert found["refusal"]["retryable"] is False
    again = asked(world, "k-1").data  # a refusal is not remembered
    assert again["allowed"] and again["hold"]["id"] and again["refusal"] is None


def test_a_closed_account_is_told_alike() -> None:
    world = World()
    world.billing.close("acme", remainder="write_off")
    found = asked(world, "k-2").data
    assert (found["allowed"], found["reason"]) == (False, "account_closed")


@pytest.mark.parametrize("batch", [False, True])
def test_a_model_call_that_is_settled_in_parts_is_one_request_alone_and_in_a_batch(batch) -> None:
    world = World(priced=False)
    world.grant(10**10)
    held = asked(world, "k-3").data["hold"]["id"]
    post = mounted(
        "plain", Api(world.billing, {"service-key": Caller("gateway", "service")}.get)
    ).post
    for more in (True, True, False):
        body = {"orgId": "acme", "holdId": held, "more": more}
        body["modelCall"] = {"model": "m", "inputTokens": 5}
        if batch:
            body = {"settlements": [{**body, "key": world.key()}]}
        path = "settlements" if batch else "models/settle"
        assert post(f"/v1/internal/{path}", body, "service-key").status == 200
    [row] = world.billing.usage("acme", "all_time").rows
    assert (row.resource, row.requests, row.components["input"][0]) == ("model:m", 1, 15)
