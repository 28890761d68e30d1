"""A pattern of resources means the same wherever one is written (rule 5.11)."""

import warnings
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, TICK, World, nanos

from billing_core import (
    Deduct,
    Flat,
    InvalidCommand,
    NameWarning,
    Plan,
    Price,
    PriceBook,
    Quota,
    Refusal,
    Refused,
    Usage,
    model,
    sandbox,
    tool,
)
from billing_core.values.patterns import closest, fits

CALL = Price(Flat(1), unit="call")
TOKEN = Price(Flat(1))
TARIFF = {
    "tool:search": {"call": CALL},
    "tool:browse": {"call": CALL, "duration": Price(Flat(1), unit="microsecond")},
    "model:*": {"input": TOKEN, "output": TOKEN},
    "sandbox:box": {"second": Price(Flat(1, 1000), unit="microsecond")},
    "storage:*": {"byte_us": Price(Flat(1, 10**9), unit="byte-microsecond")},
}


def with_quotas(*quotas: Quota, **options) -> World:
    world = World(priced=False, **options)
    world.publish(TARIFF)
    world.grant(10**12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NameWarning)
        world.billing.publish(Plan("pro-1", "pro", LONG_AGO, quotas=quotas))
    world.billing.set_plan("acme", "subscribe", "pro")
    return world


def limit(spend) -> str | None:
    with pytest.raises(Refused) as refused:
        spend()
    return refused.value.refusal.limit


# -- quotas -------------------------------------------------------------------------


@pytest.mark.every_store
def test_a_quota_of_all_tools_lets_three_calls_pass_and_no_more() -> None:
    world = with_quotas(Quota("tool:*", "call", 3))
    world.deduct(tool("search"))
    world.deduct(tool("browse"))
    world.deduct(tool("search"))
    for name in ("search", "browse"):
        assert limit(lambda name=name: world.deduct(tool(name))) == "quota"
        assert limit(lambda name=name: world.hold(tool(name))) == "quota"
        assert world.billing.check("acme", tool(name)).refusal.limit == "quota"
    world.settle(tool("browse", calls=5))  # measured usage is never refused
    world.deduct(tool("browse", duration=TICK))
    world.clock.advance(31 * DAY)
    world.deduct(tool("search", calls=3))
    assert limit(lambda: world.deduct(tool("browse"))) == "quota"
    assert world.wrong() == []


@pytest.mark.every_store
def test_open_holds_count_in_the_quota_of_a_pattern() -> None:
    world = with_quotas(Quota("tool:*", "call", 3))
    hold = world.hold(tool("search", calls=2))
    assert limit(lambda: world.hold(tool("browse", calls=2))) == "quota"
    world.hold(tool("browse"), expires_in=MINUTE)
    assert limit(lambda: world.deduct(tool("browse"))) == "quota"
    world.billing.release("acme", hold.key)
    world.clock.advance(HOUR)
    world.deduct(tool("browse", calls=3))
    assert world.wrong() == []


@pytest.mark.every_store
def test_in_one_batch_a_quota_of_a_pattern_sees_what_came_before() -> None:
    world = with_quotas(Quota("tool:*", "call", 3))
    found = world.billing.execute(
        [
            Deduct("acme", f"d{n}", cost=tool(name))
            for n, name in enumerate(["search", "browse"] * 2)
        ]
    )
    assert [isinstance(each, Refusal) for each in found] == [False, False, False, True]


def test_the_smallest_of_all_quotas_that_name_a_resource_binds() -> None:
    world = with_quotas(Quota("tool:*", "call", 5), Quota("tool:search", "call", 2))
    world.deduct(tool("search", calls=2))
    assert limit(lambda: world.deduct(tool("search"))) == "quota"
    world.deduct(tool("browse", calls=3))
    assert limit(lambda: world.deduct(tool("browse"))) == "quota"


def test_what_was_used_before_the_plan_counts() -> None:
    world = World(priced=False)
    world.publish(TARIFF)
    world.grant(10**12)
    world.settle(tool("browse", calls=2))
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, quotas=[Quota("tool:*", "call", 3)]))
    world.billing.set_plan("acme", "subscribe", "pro")
    world.deduct(tool("search"))
    assert limit(lambda: world.deduct(tool("search"))) == "quota"


@pytest.mark.every_store
def test_the_deadline_of_a_run_reckons_with_the_quota_of_a_pattern() -> None:
    world = with_quotas(Quota("sandbox:*", "second", 120 * 10**6))
    first = world.billing.start_run("acme", "r1", sandbox("box", {"second": 1}), fund_for=MINUTE)
    assert first.bound_by == "asked"
    second = world.billing.start_run("acme", "r2", sandbox("box", {"second": 1}), fund_for=HOUR)
    assert (second.bound_by, second.funded_until - T0) == ("quota", MINUTE)
    world.clock.advance(MINUTE / 2)
    assert world.billing.heartbeat("acme", "r2").funded_until - T0 == MINUTE
    assert world.wrong() == []


def test_workspaces_share_the_quota_of_a_pattern() -> None:
    world = with_quotas(Quota("storage:team-*", "bytes", 100), Quota("storage:*", "bytes", 150))
    world.billing.report_storage("acme", "team-a", 60)
    world.billing.report_storage("acme", "other", 40)
    room = world.billing.check_storage_quota
    assert (room("acme", "team-b", 40).allowed, room("acme", "team-b", 41).allowed) == (True, False)
    assert room("acme", "other", 40).left == 50
    assert room("acme", "other", 91).allowed is False


# -- names that match nothing -------------------------------------------------------


def refused(document, said: str) -> None:
    world = World(priced=False)
    world.publish(TARIFF)
    before = world.state()
    with pytest.raises(InvalidCommand, match=said):
        world.billing.publish(document)
    assert world.state() == before


@pytest.mark.parametrize(
    ("resource", "component", "said"),
    [
        ("tool:serach", "call", "tool:serach.*check the name"),
        ("tools:*", "call", "check the name"),
        ("tool:search", "calls", "a component that has a price: call"),
        ("tool:*", "calls", "a component that has a price: call, duration"),
        ("*", "calls", "a component that has a price"),
        ("tool:*:x", "call", r"its only"),
        ("*search", "call", r"its only"),
        ("storage:docs", "byte", "a component that has a price: byte_us"),
        ("tool:search", "bytes", "a component that has a price: call"),
    ],
)
def test_a_quota_that_can_never_bind_is_refused(resource, component, said) -> None:
    refused(Plan("p", "pro", T0, quotas=[Quota(resource, component, 3)]), said)


def test_a_quota_of_another_currency_s_resources_is_refused() -> None:
    quota = Quota("tool:search", "call", 3)
    refused(Plan("p", "pro", T0, quotas=[quota], currency="EUR"), "with a price in EUR")


@pytest.mark.parametrize(
    ("prices", "percent_off", "said"),
    [
        ({}, {"tool:serach": 10}, "tool:serach.*check the name"),
        ({}, {"tools:*": 10}, "check the name"),
        ({}, {"*:search": 10}, "its only"),
        ({"tool:serach": {"call": None}}, {}, "check the name"),
        ({"tool:search": {"cal": None}}, {}, "a component that has a price: call"),
        ({"tool:*x": {"call": CALL}}, {}, "its only"),
    ],
)
def test_a_discount_or_an_end_of_nothing_is_refused(prices, percent_off, said) -> None:
    refused(PriceBook("own", T0, prices, org="acme", percent_off=percent_off), said)


def test_a_scope_that_can_never_match_is_refused() -> None:
    world = World()
    with pytest.raises(InvalidCommand, match="its only"):
        world.grant(5, scope=["tool:*:x"])
    world.grant(5, scope=["fixed fees"])  # an amount may be for anything
    assert world.deduct(nanos(5), resource="fixed fees").amount == 5


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-*"])
def test_a_name_that_a_wildcard_alone_matches_is_told(name) -> None:
    world = World(priced=False)
    world.publish(TARIFF)
    quota = Quota(model(name), "input", 100)
    plan = Plan("pro-1", "pro", LONG_AGO, quotas=[quota])
    with pytest.warns(NameWarning, match=r"only 'model:\*' matches 'model:gpt-"):
        world.billing.publish(plan)
    world.billing.publish(plan)  # once
    off = PriceBook("less", T0 + HOUR, percent_off={model(name): 5}, org="acme")
    with pytest.warns(NameWarning, match="percent_off"):
        world.billing.publish(off)
    world.grant(1000)
    world.billing.set_plan("acme", "subscribe", "pro")
    assert limit(lambda: world.deduct(Usage.of("model:gpt-4o", {"input": 101}))) == "quota"


def test_what_is_named_as_its_price_is_or_more_widely_is_not_told() -> None:
    quotas = [
        Quota("tool:search", "call", 1),
        Quota("tool:*", "call", 1),
        Quota("t*", "call", 1),
        Quota("model:*", "input", 1),
        Quota("*", "input", 1),
        Quota("storage", "bytes", 1),
        Quota("storage:*", "bytes", 1),
    ]
    world = World(priced=False)
    world.publish(TARIFF)
    world.billing.publish(Plan("pro-1", "pro", LONG_AGO, quotas=quotas))
    world.billing.publish(
        PriceBook("less", T0 + timedelta(days=1), percent_off={"tool:*": 5, "*": 1}, org="acme")
    )


def test_a_discount_on_everything_may_come_before_any_price() -> None:
    world = World(priced=False)
    world.publish({}, version="less", plan="pro", percent_off={"*": 10})


# -- looking names up ---------------------------------------------------------------


class Read(dict):
    """Patterns that say how often all of them were gone through."""

    gone_through = 0

    def __iter__(self):
        self.gone_through += 1
        return super().__iter__()


def test_a_name_is_looked_up_among_any_number_of_patterns() -> None:
    """What prices are found costs no more where an operator has thousands of patterns."""
    many = Read.fromkeys(f"model:{number}*" for number in range(10_000))
    many |= dict.fromkeys(("*", "model:*", "model:a*", "model:ab", "model:ab*"))
    assert closest(many, "model:ab") == ["model:ab", "model:ab*", "model:a*", "model:*", "*"]
    assert closest(many, "model:ab*") == ["model:ab*", "model:a*", "model:*", "*"]
    assert closest(many, "x") == ["*"]
    assert many.gone_through == 0


@given(st.sets(st.text("ab*", max_size=4)), st.text("ab*", min_size=1, max_size=4))
def test_few_patterns_and_many_name_the_same(patterns: set[str], name: str) -> None:
    fitting = [each for each in patterns if fits(each, name)]
    found = sorted(fitting, key=lambda each: (each == name, len(each)), reverse=True)
    others = {f"z{number}" for number in range(9)}
    assert closest(patterns, name) == closest(patterns | others, name) == found
