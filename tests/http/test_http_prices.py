"""Prices that depend on the request, over HTTP: how they are shown, quoted, charged, explained."""

from datetime import time, timedelta
from fractions import Fraction

import pytest
from http_world import mounted
from world import HOUR, T0, World

from billing_adapters.http import Api, Caller
from billing_core import (
    Fact,
    FactIs,
    Flat,
    Graduated,
    Hours,
    Multiplier,
    Price,
    SizeAbove,
    Tier,
    Variant,
)

TIER = Fact("service_tier", ("standard", "batch"), default="standard")
REGION = Fact("region", ("global", "eu", "moon"), default="global")
BATCH, EU = FactIs("service_tier", "batch"), FactIs("region", "eu")
LONG = SizeAbove(272_000, ("input", "cached_read"))
EVENING = Hours(time(16, 30), time(0, 30), ("mon", "fri"))
IN_EU = {"text": "region is eu", "fact": "region", "value": "eu", "above": None, "of": [],
         "hours": None}  # fmt: skip


@pytest.fixture
def world() -> World:
    world = World(priced=False)
    timed = Price(Flat(2_000), "second", multipliers=[Multiplier(2, EU)], facts=[REGION])
    world.publish(
        {
            "model:m": {
                "input": Price(
                    Flat.of("2.5", 10**6),
                    variants=[
                        Variant(Flat.of("1.25", 10**6), BATCH),
                        Variant(Flat.of("5", 10**6), (LONG, EVENING)),
                    ],
                    multipliers=[Multiplier("1.1", EU), Multiplier(Fraction(1, 3), EVENING),
                                 Multiplier(1_000, FactIs("region", "moon"))],
                    facts=[TIER, REGION],
                ),
                "output": Price(
                    Graduated([Tier(10, 2_000), Tier(None, 1_000)]),
                    variants=[Variant(Graduated([Tier(10, 500), Tier(None, 250)]), BATCH)],
                    facts=[TIER],
                ),
            },
            "sandbox:s": {"second": timed},
            "storage:*": {"byte_us": Price(Flat(2), "byte-second",
                                           multipliers=[Multiplier(2, EU)], facts=[REGION])},
        }
    )  # fmt: skip
    world.grant(10**12)
    return world


@pytest.fixture
def client(world):
    callers = {
        "service-key": Caller("gateway", "service"),
        "ana": Caller("ana", "admin", org="acme", member="ana"),
    }
    return mounted("plain", Api(world.billing, callers.get))


@pytest.mark.parametrize("path", ["/v1/billing/pricing", "/v1/internal/prices"])
def test_a_price_says_what_it_depends_on_in_words_and_as_data(client, path) -> None:
    query = {"resource": "model:m", "orgId": "acme"}
    whole, output = client.get(path, "ana" if "billing" in path else "service-key", **query).data
    assert (whole["amount"], whole["per"], whole["tiers"]) == ("2.50", "1000000", [])
    assert whole["price"] == "2.50 USD per 1,000,000 tokens"
    hours = {"from": "16:30", "to": "00:30", "weekdays": ["mon", "fri"]}
    evening = IN_EU | {"text": "from 16:30 to 00:30 UTC on mon, fri", "fact": None, "value": None,
                       "hours": hours}  # fmt: skip
    batch = IN_EU | {"text": "service_tier is batch", "fact": "service_tier", "value": "batch"}
    long = evening | {"text": "input + cached_read above 272,000", "hours": None,
                      "above": "272000", "of": ["input", "cached_read"]}  # fmt: skip
    said = {"per": "1000000", "tiers": []}
    assert whole["variants"] == [
        {"when": [batch], "amount": "1.25", "price": "1.25 USD per 1,000,000 tokens", **said},
        {"when": [long, evening], "amount": "5.00", "price": "5.00 USD per 1,000,000 tokens",
         **said},
    ]  # fmt: skip
    assert whole["multipliers"] == [
        {"when": [IN_EU], "by": "1.1"},
        {"when": [evening], "by": "1/3"},
        {"when": [IN_EU | {"text": "region is moon", "value": "moon"}], "by": "1000"},
    ]
    assert whole["facts"] == [
        {"name": "service_tier", "values": ["standard", "batch"], "default": "standard"},
        {"name": "region", "values": ["global", "eu", "moon"], "default": "global"},
    ]
    [variant] = output["variants"]
    assert [each["upTo"] for each in variant["tiers"]] == ["10", None]
    assert (variant["amount"], variant["tiers"][1]["amount"]) == ("0.0000005", "0.00000025")


def test_a_charge_is_explained_by_what_held(client) -> None:
    call = {"model": "m", "inputTokens": 300_000, "facts": {"service_tier": "batch",
                                                            "region": "eu"}}  # fmt: skip
    body = {"orgId": "acme", "memberId": "ana", "modelCall": call}
    made = client.post("/v1/internal/models/settle", body, "service-key", "k-1").data
    assert made["amount"] == "0.4125"
    [line] = client.get(f"/v1/billing/charges/{made['id']}", "ana").data["lines"]
    assert line["variant"] == "service_tier is batch; times 1.1 for region is eu"
    assert line["price"] == "1.25 USD per 1,000,000 tokens, times 1.1"
    plain = body | {"modelCall": {"model": "m", "inputTokens": 1_000}}
    made = client.post("/v1/internal/models/settle", plain, "service-key", "k-2").data
    [line] = client.get(f"/v1/billing/charges/{made['id']}", "ana").data["lines"]
    assert (line["variant"], line["price"]) == ("", "2.50 USD per 1,000,000 tokens")


def test_runs_take_facts(world, client) -> None:
    def post(what, **body):
        return client.post(f"/v1/internal/runs/{what}", {"orgId": "acme", **body}, "service-key")

    spec = {"sandbox": "s", "rates": {"second": 1}}
    facts = {"eu": {"region": "eu"}, "global": {"region": "global"}, "any": None}
    quoted = {
        name: post("quote", spec=spec | {"facts": each}, seconds=60).data["amount"]
        for name, each in facts.items()
    }
    assert quoted == {"eu": "0.00024", "global": "0.00012", "any": "0.00012"}
    for name, each in facts.items():
        assert post("start", runId=name, spec=spec | {"facts": each}).status == 200
    world.clock.advance(timedelta(minutes=5))
    charged = {name: post("stop", runId=name).data["charged"] for name in facts}
    assert charged == {"eu": "0.0012", "global": "0.0006", "any": "0.0006"}
    odd = post("start", runId="odd", spec=spec | {"facts": {"region": "mars"}})
    assert (odd.status, odd.code) == (422, "unknown_price")
    assert post("start", runId="odd", spec=spec | {"facts": {"region": 5}}).status == 422


def test_storage_takes_facts_when_it_is_first_told_of(world, client) -> None:
    def size(workspace, number, facts=None, at=T0):
        body = {"orgId": "acme", "workspaceId": workspace, "bytes": number, "facts": facts}
        return client.post("/v1/internal/storage/size", body, "service-key")

    for name, facts in (("plain", None), ("eu", {"region": "eu"})):
        assert size(name, 10, facts).status == 200
    world.clock.advance(HOUR)
    billed = client.post("/v1/internal/storage/bill", {"orgId": "acme"}, "service-key").data
    charged = {each["workspaceId"]: each["charged"] for each in billed["workspaces"]}
    assert charged == {"plain": "0.000072", "eu": "0.000144"}
    assert size("eu", 20).status == 200
    assert size("eu", 30, {"region": "global"}).status == 409
