"""A hold is told of the provider's answer itself, by an engine that can read it (rule 14.1)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_adapters.answers import AnswerStream, usage_of
from billing_core import (
    AsyncBilling,
    Billing,
    Flat,
    InvalidCommand,
    Price,
    PriceBook,
    Usage,
    model,
    tokens,
    usd,
)
from billing_core.testing import MemoryStore

SECRET = "what the customer was told"
START = datetime(2026, 1, 1, tzinfo=UTC)
LIFE = timedelta(minutes=5)
ANSWER = {
    "model": "gpt-5-mini-2025-08-07",
    "service_tier": "default",
    "choices": [{"message": {"content": SECRET}}],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 6},
    },
}
SPLIT = (("cached_read", 6, "platform"), ("input", 4, "platform"), ("output", 4, "platform"))


def made(**more: Any) -> Billing:
    billing = Billing(MemoryStore(), **more)
    prices = {part: Price(Flat(1)) for part in ("input", "output", "cached_read")}
    billing.publish(PriceBook("2026-01", START, {model("small"): prices}))
    billing.open_account("acme")
    billing.grant("acme", "order-1", usd("1"))
    return billing


def test_an_answer_is_charged_as_the_model_that_was_held() -> None:
    billing = made(usage_of=usage_of)
    most = tokens("small", input=20, output=20, facts={"service_tier": "flex", "region": "eu"})
    with billing.hold("acme", most, expires_in=LIFE) as hold:
        hold.report(ANSWER)
    [charge] = hold.charges
    assert charge.amount == 14
    assert [(line.component, line.quantity) for line in charge.lines] == [
        ("cached_read", 6), ("input", 4), ("output", 4),
    ]  # fmt: skip
    [entry] = billing.usage("acme", "all_time").rows
    assert entry.resource == "model:small"


def reported(billing: Billing, cost: Any, answer: object) -> Usage:
    hold = billing.hold(
        "acme", cost, expires_in=LIFE, resource=None if isinstance(cost, Usage) else "x"
    )
    hold.report(answer)
    [usage] = hold._reported
    billing.release("acme", hold.key)
    return usage


def test_what_is_known_of_the_request_is_what_was_held() -> None:
    billing = made(usage_of=usage_of)
    held = tokens("small", input=1, facts={"service_tier": "flex", "region": "eu"})
    usage = reported(billing, held, ANSWER)
    assert usage.parts == SPLIT
    assert dict(usage.facts) == {"service_tier": "standard", "region": "eu"}
    own = reported(billing, tokens("small", input=1, payer="customer"), ANSWER)
    assert {payer for _, _, payer in own.parts} == {"customer"}


def test_who_pays_for_what_of_an_answer_is_asked_where_both_pay_for_what_was_held() -> None:
    billing = made(usage_of=usage_of)
    payers: dict[str, Any] = {"input": "customer"}
    held = tokens("small", input=20, output=20, payer=payers)
    with pytest.raises(InvalidCommand, match="who pays for which component") as raised:
        reported(billing, held, ANSWER)
    assert SECRET not in str(raised.value)
    usage = usage_of(ANSWER, model="small", payer=payers)
    assert reported(billing, held, usage) == usage


def test_a_hold_of_an_amount_takes_the_model_that_answered() -> None:
    usage = reported(made(usage_of=usage_of), usd("0.01"), ANSWER)
    assert (usage.resource, usage.parts) == ("model:gpt-5-mini-2025-08-07", SPLIT)


def test_a_hold_of_an_amount_for_a_model_names_it() -> None:
    billing = made(usage_of=usage_of)
    with billing.hold("acme", usd("0.01"), expires_in=LIFE, resource="model:small") as hold:
        hold.report(ANSWER)
    [charge] = hold.charges
    assert (charge.amount, charge.unpriced) == (14, ())


def test_a_stream_and_a_usage_are_reported_alike() -> None:
    billing, held = made(usage_of=usage_of), tokens("small", input=20)
    stream = AnswerStream()
    with pytest.raises(InvalidCommand, match="reported none"):
        reported(billing, held, stream)
    stream.feed(ANSWER)
    assert reported(billing, held, stream) == reported(billing, held, ANSWER)
    own = tokens("other", input=3)
    assert reported(billing, held, own) is own


@pytest.mark.parametrize("answer", [ANSWER, SECRET, None, [SECRET]])
def test_an_engine_that_cannot_read_answers_says_how_it_could(answer: object) -> None:
    with pytest.raises(InvalidCommand, match=r"usage_of=billing_adapters\.answers") as caught:
        reported(made(), tokens("small", input=20), answer)
    assert SECRET not in str(caught.value)


def test_a_block_in_which_nothing_could_be_read_releases_its_hold() -> None:
    billing = made(usage_of=usage_of)
    with (
        pytest.raises(InvalidCommand, match="usage was reported"),
        billing.hold("acme", tokens("small", input=20), expires_in=LIFE) as hold,
    ):
        hold.report({"choices": [SECRET]})
    assert hold.charges == [] and billing.balance("acme").held == 0


def test_it_is_awaited_likewise() -> None:
    async def held() -> None:
        billing = made()
        engine = AsyncBilling(billing.store, usage_of=usage_of)
        most = tokens("small", input=20, output=20)
        async with await engine.hold("acme", most, expires_in=LIFE) as hold:
            hold.report(ANSWER)
        assert [charge.amount for charge in hold.charges] == [14]

    asyncio.run(held())


@pytest.mark.parametrize("engine", [Billing, AsyncBilling])
@pytest.mark.parametrize("bad", ["usage_of", 5, Usage])
def test_who_reads_answers_is_a_function(engine: Any, bad: object) -> None:
    with pytest.raises(InvalidCommand, match="usage_of"):
        engine(MemoryStore(), usage_of=bad)
