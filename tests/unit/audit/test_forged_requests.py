"""A journal in which a line names another variant of its price than its request has (rule 5.9).

All variants here cost the same, so that the arithmetic is right whichever is named.
"""

from datetime import time

import pytest
from test_forged_journal import forged, line
from world import HOUR, LONG_AGO, World

from billing_core import (
    Fact,
    FactIs,
    Flat,
    Hours,
    Multiplier,
    Price,
    SizeAbove,
    Usage,
    Variant,
    sandbox,
)

TIER = Fact("tier", ("usual", "cheap", "dear"), default="usual")
NIGHT = Hours(time(12, 30), time(6))


def price(unit: str, *, sized: bool = True) -> Price:
    variants = [
        Variant(Flat(5), FactIs("tier", "cheap")),
        Variant(Flat(5), FactIs("tier", "dear")),
        Variant(Flat(5), NIGHT),
    ]
    if sized:
        variants.append(Variant(Flat(5), SizeAbove(10, ["unit"])))
    same = [Multiplier(2, FactIs("tier", "dear")), Multiplier("0.5", FactIs("tier", "dear"))]
    return Price(Flat(5), unit, variants=variants, multipliers=same, facts=[TIER])


@pytest.fixture(scope="module")
def whole() -> World:
    """It is twelve o'clock; from half past on another variant stands."""
    world = World(priced=False)
    world.publish(
        {
            "x": {"unit": price("unit")},
            "sandbox:s": {"second": price("second", sized=False)},
            "storage:*": {"byte_us": price("byte-second", sized=False)},
        }
    )
    world.grant(10**12)
    dear, cheap = {"tier": "dear"}, {"tier": "cheap"}
    world.settle(Usage.of("x", {"unit": 3}, facts=dear), key="dear")
    world.settle(Usage.of("x", {"unit": 3}), key="plain")
    world.settle(Usage.of("x", {"unit": 11}), key="long")
    world.settle(Usage.of("x", {"unit": 6}, item="call"), key="begun")
    world.settle(Usage.of("x", {"unit": 5}, item="call"), key="went on")
    world.deduct(Usage.of("x", {"unit": 3}, facts=cheap), key="bought")
    late = world.settle(Usage.of("new", {"unit": 3}, facts=dear), key="late")
    world.publish({"new": {"unit": price("unit")}}, version="new", effective_at=LONG_AGO)
    world.billing.price_unpriced("acme", "priced", charge=late.seq, version="new")
    world.billing.start_run("acme", "r", spec=sandbox("s", {"second": 1}, facts=cheap))
    world.billing.start_run("acme", "q", spec=sandbox("s", {"second": 1}))
    world.billing.report_storage("acme", "ws", 10)
    world.clock.advance(HOUR)
    for run in ("r", "q"):
        world.billing.stop_run("acme", run)
    world.billing.bill_storage("acme")
    assert world.wrong() == []
    return world


@pytest.mark.parametrize(
    ("key", "known", "named"),
    [
        ("settle:dear", "/2x1x2", "/1x1x2"),
        ("settle:dear", "/2x1x2", "/2"),
        ("settle:plain", "", "/1"),
        ("settle:plain", "", "/0x1x2"),
        ("settle:long", "/4", ""),
        ("settle:begun", "", "/4"),
        ("settle:went on", "/4", ""),
        ("deduct:bought", "/1", "/3"),
        ("price:priced", "/2x1x2", "/1"),
        ("piece:run:r:1", "/1", "/2"),
        ("piece:run:q:1", "", "/3"),
        ("piece:run:q:2", "/3", ""),
        ("piece:storage:ws:1", "", "/3"),
        ("piece:storage:ws:2", "/3", "/1"),
    ],
)
def test_another_variant_than_the_request_has_is_found(
    whole: World, key: str, known: str, named: str
) -> None:
    [entry] = [each for each in whole.entries() if each.key.partition("@")[0] == key]
    was = entry.usage.lines[0].version
    plain = was.partition("/")[0]
    assert was == plain + known
    _, found = forged(whole, key, line(version=plain + named))
    part = entry.usage.lines[0].component
    assert f"{part} is priced by {plain}{named}; for its request by {was}" in "\n".join(found)


@pytest.mark.parametrize("named", ["/5", "/0x3", "/0x0", "/2x", "/2X1", "//2", "/2x1x2x1x2"])
def test_what_no_price_has_is_no_version_on_record(whole: World, named: str) -> None:
    _, found = forged(
        whole, "settle:dear", lambda entry: line(
            version=entry.usage.lines[0].version.partition("/")[0] + named
        )(entry),
    )  # fmt: skip
    assert found
