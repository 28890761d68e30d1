"""Commands refuse, when they are made, what no ledger would accept."""

from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import partial
from inspect import signature
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import HOUR, T0, nanos, units

import billing_core
from billing_adapters.fake_payments import FakePayments
from billing_core import (
    AsyncBilling,
    Billing,
    BillStorage,
    Close,
    CloseSilentRun,
    Command,
    Deduct,
    Extend,
    ForgiveRun,
    Grant,
    Heartbeat,
    Hold,
    InvalidCommand,
    Money,
    OpenAccount,
    PriceUnpriced,
    Release,
    ReportStorage,
    ResumeRun,
    Reverse,
    SetLimit,
    SetLowBalance,
    SetPlan,
    Settle,
    SettleRun,
    StartRun,
    StopRun,
    SuspendRun,
    UndoExpiry,
    UndoForgiveness,
    Usage,
    code,
    model,
    sandbox,
    tokens,
    tool,
    usd,
)
from billing_core.commands.topups import AskRefund
from billing_core.testing import MemoryStore

BAD_NAMES = ["", "a" * 201, "a\nb", "a\x00b", "\ud800", "a\u200b", None, 5, b"a", True, ["a"]]


class Nowhere(tzinfo):
    """A time zone that does not know how far from UTC it is."""

    def utcoffset(self, _: datetime | None) -> None:
        return None


BAD_TIMES = [
    datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=Nowhere()),
    datetime.max.replace(tzinfo=UTC), "2026-01-01", 0, 1.5, True,
]  # fmt: skip
BAD_AMOUNTS = [0, 5, 1.5, "5", Decimal(5), None, True, nanos(0), nanos(-1), float("nan")]
BAD_LIVES = [timedelta(0), timedelta(-1), timedelta(days=3661), 60, 1.5, None, "1h"]
BAD_CHARGES = [0, -1, 1.5, "1", None, True, 2**63, 10**5000]

OPEN = partial(OpenAccount, "o")
GRANT = partial(Grant, "o", "k", amount=nanos(1))
HOLD = partial(Hold, "o", "k", cost=nanos(1), expires_in=HOUR)
EXTEND = partial(Extend, "o", "k", hold="h", expires_in=HOUR)
RELEASE = partial(Release, "o", "k", hold="h")
SETTLE = partial(Settle, "o", "k", usage=units(1))
DEDUCT = partial(Deduct, "o", "k", cost=units(1))
PRICE = partial(PriceUnpriced, "o", "k", charge=1, version="v1")
REVERSE = partial(Reverse, "o", "k", charge=1)
CLOSE = partial(Close, "o", remainder="refund")
SET_LIMIT = partial(SetLimit, "o", "k", amount=nanos(1))
SET_LOW_BALANCE = partial(SetLowBalance, "o", "k", amount=nanos(1))
START = partial(StartRun, "o", "k", spec=sandbox("box", {"second": 1}))
SUSPEND = partial(SuspendRun, "o", "k", run="r")
SIZE = partial(ReportStorage, "o", "k", workspace="w", size=1)
EVERY = [
    OPEN, GRANT, HOLD, EXTEND, RELEASE, SETTLE, DEDUCT, PRICE, REVERSE, CLOSE,
    partial(SetPlan, "o", "k", plan=None),
    SET_LIMIT,
    SET_LOW_BALANCE,
    START,
    partial(Heartbeat, "o", "k", run="r"),
    SUSPEND,
    partial(ResumeRun, "o", "k", run="r"),
    partial(StopRun, "o", "k", run="r"),
    partial(SettleRun, "o", "k", run="r"),
    partial(ForgiveRun, "o", "k", run="r", reason="ours"),
    partial(UndoForgiveness, "o", "k", run="r"),
    SIZE,
    partial(BillStorage, "o", "k", workspace="w"),
    partial(CloseSilentRun, "o", "k", run="r", since=T0),
]  # fmt: skip

BAD_FIELDS = [
    *((GRANT, {"amount": bad}) for bad in BAD_AMOUNTS),
    *((GRANT, {"kind": bad}) for bad in ("", "gift", None, 1)),
    *((GRANT, {"priority": bad}) for bad in (1.5, True, None, "1", 10**6 + 1, -(10**6) - 1)),
    *((GRANT, {"expires_at": bad}) for bad in BAD_TIMES),
    *((GRANT, {"scope": bad}) for bad in ("x", [], [""], ["a\n"], [None], 5, [5])),
    *((GRANT, {"reference": bad}) for bad in BAD_NAMES if bad is not None),
    *((HOLD, {"cost": bad}) for bad in BAD_AMOUNTS),
    *((HOLD, {"expires_in": bad}) for bad in BAD_LIVES),
    *((HOLD, {"resource": bad}) for bad in BAD_NAMES if bad is not None),
    *((HOLD, {"member": bad}) for bad in BAD_NAMES if bad is not None),
    *((HOLD, {"reference": bad}) for bad in BAD_NAMES if bad is not None),
    (HOLD, {"cost": units(1), "resource": "x"}),
    *((EXTEND, {"hold": bad}) for bad in BAD_NAMES),
    *((EXTEND, {"expires_in": bad}) for bad in BAD_LIVES),
    *((EXTEND, {"add": bad}) for bad in BAD_AMOUNTS if bad is not None),
    *((RELEASE, {"hold": bad}) for bad in BAD_NAMES),
    *((SETTLE, {"usage": bad}) for bad in (None, 5, nanos(1), {"unit": 1})),
    *((SETTLE, {"hold": bad}) for bad in BAD_NAMES if bad is not None),
    *((SETTLE, {"final": bad}) for bad in (None, 1, "no", 1.0)),
    *((SETTLE, {"member": bad}) for bad in BAD_NAMES if bad is not None),
    *((SETTLE, {"reference": bad}) for bad in BAD_NAMES if bad is not None),
    *((SETTLE, {"occurred_at": bad}) for bad in BAD_TIMES),
    *((DEDUCT, {"cost": bad, "resource": "x"}) for bad in BAD_AMOUNTS),
    (DEDUCT, {"cost": nanos(1)}),
    (DEDUCT, {"cost": units(1), "resource": "x"}),
    *((DEDUCT, {"occurred_at": bad}) for bad in BAD_TIMES),
    *((PRICE, {"charge": bad}) for bad in BAD_CHARGES),
    *((PRICE, {"version": bad}) for bad in BAD_NAMES),
    *((REVERSE, {"charge": bad}) for bad in BAD_CHARGES),
    *((REVERSE, {"amount": bad}) for bad in BAD_AMOUNTS if bad is not None),
    *((REVERSE, {"expires_at": bad}) for bad in BAD_TIMES),
    *((REVERSE, {"reason": bad}) for bad in BAD_NAMES if bad is not None),
    *((CLOSE, {"remainder": bad}) for bad in ("", "keep", None, 1)),
    *(
        (command, {"amount": bad})
        for command in (SET_LIMIT, SET_LOW_BALANCE)
        for bad in BAD_AMOUNTS
        if bad not in (None, nanos(0))
    ),
    *((START, {"fund_for": bad}) for bad in BAD_LIVES),
    *((SUSPEND, {"until": bad}) for bad in BAD_TIMES),
    *((SIZE, {"size": bad}) for bad in (-1, 1.5, "1", None, True)),
    *((OPEN, {"currency": bad}) for bad in ("usd", "US", "", None, 5)),
    *((OPEN, {"livemode": bad}) for bad in (None, 1, "yes")),
    *((OPEN, {"anchor": bad}) for bad in BAD_TIMES),
]


def _id(case: object) -> str:
    if isinstance(case, partial):
        return case.func.__name__
    if isinstance(case, dict):
        return "-".join(f"{name}={type(value).__name__}" for name, value in case.items())
    return type(case).__name__


@pytest.mark.parametrize(("command", "bad"), BAD_FIELDS, ids=_id)
def test_a_bad_field_is_refused_when_the_command_is_made(command: partial, bad: dict) -> None:
    with pytest.raises(InvalidCommand) as refused:
        command(**bad)
    assert len(str(refused.value)) < 400


def test_every_command_that_a_host_can_send_is_looked_at() -> None:
    public = [getattr(billing_core, name) for name in billing_core.__all__]
    commands = {each for each in public if "op" in getattr(each, "__annotations__", {})}
    others = {Command, UndoExpiry}  # what they all are; and one that is named by a number
    assert {each.func for each in EVERY} | others == commands


@pytest.mark.parametrize("command", EVERY, ids=_id)
def test_every_command_checks_its_org_key_and_time(command: partial) -> None:
    command()
    kind, options = command.func, command.keywords
    for bad in BAD_NAMES:
        with pytest.raises(InvalidCommand, match="org"):
            kind(bad, "k", **options) if "key" in command.args else kind(bad, key="k", **options)
        with pytest.raises(InvalidCommand, match="key"):
            kind("o", key=bad, **options)
    for bad in BAD_TIMES:
        with pytest.raises(InvalidCommand, match="at"):
            command(at=bad)


@pytest.mark.parametrize("command", EVERY, ids=_id)
def test_only_the_org_and_the_key_of_a_command_go_without_their_names(command: partial) -> None:
    parameters = signature(command.func).parameters.values()
    unnamed = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert unnamed in (["org", "key"], ["org"])


@pytest.mark.parametrize("command", EVERY, ids=_id)
def test_a_command_is_a_value(command: partial) -> None:
    assert command() == command()
    assert hash(command()) == hash(command())
    with pytest.raises(AttributeError):
        command().org = "other"


@pytest.mark.parametrize("command", EVERY, ids=_id)
def test_the_command_s_own_time_is_no_part_of_its_meaning(command: partial) -> None:
    assert command().meaning(None) == command(at=T0).meaning(None)


OTHERS: dict[str, Any] = {
    "add": nanos(2), "fund_for": HOUR, "alerts": (50,), "amount": nanos(2), "anchor": T0,
    "blocks": False, "charge": 2, "cost": units(2), "currency": "EUR",
    "every": "member", "expires_at": T0 + HOUR, "hold": "h2", "kind": "promotional",
    "min_runtime": timedelta(seconds=2), "expires_in": 2 * HOUR, "livemode": False,
    "member": "m", "final": False,
    "occurred_at": T0, "override": True, "paused": True, "per": "day", "plan": "p",
    "priority": 1, "project": "p", "reason": "other", "reference": "ref", "remainder": "write_off",
    "facts": {"region": "eu"},
    "resource": "res", "run": "r2", "scope": ["x"], "settle": False, "since": T0 + HOUR, "size": 2,
    "spec": sandbox("box", {"second": 2}), "undo_usage": True, "until": T0 + HOUR,
    "usage": units(2), "version": "v2", "workspace": "w2",
}  # fmt: skip
NAMED = ("org", "key", "at")
# Whose it is, the hold says; and how it is counted is not what is charged.
NO_MEANING = [(Settle, "as_held"), (Settle, "part")]
BESIDES: dict[tuple[type, str], dict[str, Any]] = {  # what a field needs beside it
    (Deduct, "resource"): {"cost": nanos(1), "resource": "x"},
    (SetPlan, "paused"): {"plan": "p"},
    (SuspendRun, "until"): {"occurred_at": T0},
}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (command, each.name)
        for command in EVERY
        for each in attrs.fields(command.func)
        if each.init and (command.func, each.name) not in NO_MEANING and each.name not in NAMED
    ],
    ids=_id,
)
def test_every_field_of_a_command_is_part_of_its_meaning(command: partial, name: str) -> None:
    beside = BESIDES.get((command.func, name), {})
    one = command(**beside)
    other = command(**(beside | {name: OTHERS[name]}))
    member = 7 if name == "member" else None
    assert one.meaning(None) != other.meaning(member)


def test_the_time_of_occurrence_is_part_of_the_meaning() -> None:
    assert SETTLE().meaning(None) != SETTLE(occurred_at=T0).meaning(None)
    assert DEDUCT().meaning(None) != DEDUCT(occurred_at=T0).meaning(None)


def test_one_time_in_two_zones_is_one_meaning() -> None:
    elsewhere = T0.astimezone(tz=__import__("datetime").timezone(timedelta(hours=5)))
    assert SETTLE(occurred_at=elsewhere).meaning(None) == SETTLE(occurred_at=T0).meaning(None)


def test_the_order_and_repetition_of_a_scope_do_not_matter() -> None:
    assert GRANT(scope=["b", "a", "b"]) == GRANT(scope=("a", "b"))


@pytest.mark.parametrize("expiry", [0, -1, 2**63, True, "7"])
def test_an_expiry_is_named_by_a_number_of_an_entry(expiry: Any) -> None:
    assert UndoExpiry("acme", expiry=2**63 - 1, expires_at=None).expiry == 2**63 - 1
    with pytest.raises(InvalidCommand, match="expiry"):
        UndoExpiry("acme", expiry=expiry, expires_at=None)


def test_a_refund_is_of_whole_minor_units_and_names_its_org_and_key() -> None:
    asked = partial(AskRefund, "acme", "k", topup="t", refund="r", livemode=False)
    assert asked(amount=Money(10_000_000, "USD")).amount == Money(10_000_000, "USD")
    for each in (10_000_001, 1, 0, -10_000_000):
        with pytest.raises(InvalidCommand, match="amount"):
            asked(amount=Money(each, "USD"))
    for org, key, field in (("", "k", "org"), ("acme", "", "key")):
        with pytest.raises(InvalidCommand, match=field):
            AskRefund(org, key, topup="t", refund="r", livemode=False)


# -- usage ----------------------------------------------------------------------

BAD_QUANTITIES = [-1, 1.0, 0.5, float("nan"), float("inf"), True, None, "1", Decimal(1), 10**36]


@pytest.mark.parametrize("quantity", [*BAD_QUANTITIES, 10**5000], ids=lambda q: type(q).__name__)
def test_a_quantity_is_a_whole_number(quantity: object) -> None:
    with pytest.raises(InvalidCommand):
        Usage.of("x", {"unit": quantity})
    with pytest.raises(InvalidCommand):
        tokens("m", input=quantity)
    with pytest.raises(InvalidCommand):
        tokens("m", other={"audio": quantity})


@pytest.mark.parametrize("quantity", BAD_QUANTITIES, ids=lambda q: type(q).__name__)
def test_a_usage_made_without_its_constructor_is_checked_as_well(quantity: object) -> None:
    with pytest.raises(InvalidCommand):
        Settle("o", "k", usage=Usage("x", (("unit", quantity, "platform"),)))


@pytest.mark.parametrize(
    "parts",
    [
        (("unit", 1, "nobody"),),
        (("", 1, "platform"),),
        (("unit", 1, "platform"), ("unit", 1, "platform")),
        (("unit", 1),),
        5,
    ],
)
def test_the_parts_of_a_usage_are_checked(parts: object) -> None:
    with pytest.raises(InvalidCommand):
        Usage("x", parts)


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: type(name).__name__)
def test_the_names_in_a_usage_are_checked(name: object) -> None:
    with pytest.raises(InvalidCommand):
        Usage.of(name, {"unit": 1})
    if name is not None:
        with pytest.raises(InvalidCommand):
            Usage.of("x", {"unit": 1}, item=name)
    with pytest.raises(InvalidCommand):
        model(name)
    if not isinstance(name, list):
        with pytest.raises(InvalidCommand):
            Usage.of("x", {name: 1})
        with pytest.raises(InvalidCommand):
            Usage.of("x", {name: 1, "unit": 1, 7: 1})


@pytest.mark.parametrize("quantities", [None, 5, "unit", ["unit"], [("unit", 1)]])
def test_quantities_are_a_mapping(quantities: object) -> None:
    with pytest.raises(InvalidCommand):
        Usage.of("x", quantities)


@pytest.mark.parametrize(
    "payer", ["", "me", None, 5, {"unit": "me"}, {"unit": None}, {"other": "customer"}]
)
def test_a_payer_is_the_platform_or_the_customer(payer: object) -> None:
    with pytest.raises(InvalidCommand):
        Usage.of("x", {"unit": 1}, payer=payer)


@pytest.mark.parametrize("named", [model, tokens, tool, code, partial(sandbox, rates={"vcpu": 1})])
def test_a_name_that_has_its_kind_already_is_refused(named) -> None:
    """``model:model:small`` has no price, so it would cost nothing."""
    kind = getattr(named, "func", named).__name__.replace("tokens", "model")
    with pytest.raises(InvalidCommand, match="leave it out"):
        named(f"{kind}:small")


@pytest.mark.parametrize("command", [Settle, Deduct, Hold])
def test_rates_are_no_use_that_could_be_charged(command) -> None:
    rates = sandbox("small", {"vcpu": 2})
    options = {Settle: {"usage": rates}, Hold: {"cost": rates, "expires_in": timedelta(hours=1)}}
    with pytest.raises(InvalidCommand, match="start_run"):
        command("acme", "k", **options.get(command, {"cost": rates}))
    assert StartRun("acme", "r", spec=rates).spec == rates


def test_usage_is_sorted_and_leaves_out_what_was_not_used() -> None:
    usage = Usage.of("x", {"b": 1, "zero": 0, "a": 2}, payer={"b": "customer"})
    assert usage.parts == (("a", 2, "platform"), ("b", 1, "customer"))
    assert usage == Usage.of("x", {"a": 2, "b": 1}, payer={"b": "customer", "a": "platform"})


# -- tokens (rule 5.7) ----------------------------------------------------------


def parts(usage: Usage) -> dict[str, int]:
    return {component: quantity for component, quantity, _ in usage.parts}


def test_cached_tokens_come_out_of_an_input_that_includes_them() -> None:
    usage = tokens(
        "m", input=100, output=7, cached_read=60, cache_write=10, input_includes_cached=True
    )
    assert parts(usage) == {"input": 30, "cached_read": 60, "cache_write": 10, "output": 7}
    assert usage.resource == "model:m"


def test_cached_tokens_stand_beside_an_input_that_excludes_them() -> None:
    usage = tokens("m", input=100, cached_read=60, input_includes_cached=False)
    assert parts(usage) == {"input": 100, "cached_read": 60}


def test_reasoning_tokens_come_out_of_an_output_that_includes_them() -> None:
    usage = tokens("m", output=100, reasoning=99, output_includes_reasoning=True)
    assert parts(usage) == {"output": 1, "reasoning": 99}
    usage = tokens("m", output=100, reasoning=100, output_includes_reasoning=True)
    assert parts(usage) == {"reasoning": 100}


@pytest.mark.parametrize("part", ["input", "output", "cached_read", "cache_write", "reasoning"])
@pytest.mark.parametrize("quantity", [-1, 1.5, "1", None, True])
def test_each_part_of_a_model_s_tokens_is_a_whole_number(part: str, quantity: object) -> None:
    rest = {"input": 10, "output": 10, "input_includes_cached": True}
    with pytest.raises(InvalidCommand, match=part):
        tokens("m", **(rest | {"output_includes_reasoning": True, part: quantity}))


def test_it_must_be_said_whether_tokens_are_included_where_there_are_any() -> None:
    with pytest.raises(InvalidCommand, match="input_includes_cached"):
        tokens("m", input=5, cached_read=1)
    with pytest.raises(InvalidCommand, match="input_includes_cached"):
        tokens("m", input=5, cache_write=1)
    with pytest.raises(InvalidCommand, match="output_includes_reasoning"):
        tokens("m", output=5, reasoning=1)
    assert parts(tokens("m", input=5, output=6)) == {"input": 5, "output": 6}


@pytest.mark.parametrize("included", ["no", 0, 1, "yes"])
def test_whether_they_are_included_is_true_or_false(included: object) -> None:
    with pytest.raises(InvalidCommand, match="input_includes_cached"):
        tokens("m", input=5, cached_read=1, input_includes_cached=included)
    with pytest.raises(InvalidCommand, match="output_includes_reasoning"):
        tokens("m", output=5, reasoning=1, output_includes_reasoning=included)


def test_cached_above_input_is_refused() -> None:
    with pytest.raises(InvalidCommand, match="cached"):
        tokens("m", input=5, cached_read=3, cache_write=3, input_includes_cached=True)
    with pytest.raises(InvalidCommand, match="reasoning"):
        tokens("m", output=5, reasoning=6, output_includes_reasoning=True)


@pytest.mark.parametrize("other", [{"input": 1}, {"reasoning": 0}, 5, ["audio"], {5: 1}])
def test_other_components_are_others(other: object) -> None:
    with pytest.raises(InvalidCommand):
        tokens("m", input=1, other=other)


COUNTS = st.integers(0, 10**6)


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_no_token_counts_twice(fresh: int, read: int, write: int, said: int, thought: int) -> None:
    """Whichever way a provider reports a call, its tokens are the same."""
    inclusive = tokens(
        "m",
        input=fresh + read + write,
        output=said + thought,
        cached_read=read,
        cache_write=write,
        reasoning=thought,
        input_includes_cached=True,
        output_includes_reasoning=True,
    )
    exclusive = tokens(
        "m",
        input=fresh,
        output=said,
        cached_read=read,
        cache_write=write,
        reasoning=thought,
        input_includes_cached=False,
        output_includes_reasoning=False,
    )
    assert inclusive == exclusive
    assert sum(parts(inclusive).values()) == fresh + read + write + said + thought


def test_a_price_in_dollars_is_not_a_cost_of_zero() -> None:
    with pytest.raises(InvalidCommand, match="cost"):
        HOLD(cost=usd(0))


class ByKey:
    """A part of an engine that is none, and that must not be shown."""

    def __repr__(self) -> str:
        return "sk_secret"


@pytest.mark.parametrize("engine", [Billing, AsyncBilling])
def test_what_an_engine_is_made_of_is_checked_when_it_is_made(engine: Any) -> None:
    store = MemoryStore()
    for bad in ("postgresql://u:sk_secret@h/db", None, ByKey(), MemoryStore, Billing(store)):
        with pytest.raises(InvalidCommand, match=r"store: .*SqliteStore\(path\)") as caught:
            engine(bad)
        assert "secret" not in str(caught.value)
    for bad in ("sk_secret", FakePayments, ByKey()):
        with pytest.raises(InvalidCommand, match=r"payments: .*FakePayments\(\)") as caught:
            engine(store, payments=bad)
        assert "secret" not in str(caught.value)
    for name, bad in (("clock", None), ("clock", 5), ("ids", None), ("topups", 5)):
        with pytest.raises(InvalidCommand, match=f"{name}: given .*; expected"):
            engine(store, **{name: bad})
    engine(store, payments=FakePayments())
