"""Rule 14.1: a stream charges what was reported in the events that came, wherever it was cut."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_adapters.answers import AnswerStream, usage_of
from billing_core import InvalidCommand, Usage, tokens

Events = list[tuple[Any, dict[str, int] | None]]
"""Each event of a stream, and what was reported once it has come; None: nothing so far."""


def chunk(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"delta": {"content": text}}], "usage": None, **more}


SEARCH = {"type": "web_search_call", "id": "ws", "action": {"type": "search"}}
CHAT: Events = [
    (chunk("", service_tier="auto"), None),
    (chunk("Hel"), None),
    (chunk("lo"), None),
    (
        chunk(
            "", service_tier="flex",
            usage={
                "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
        ),
        {"input": 6, "cached_read": 4, "output": 5},
    ),
]  # fmt: skip
RUNNING: Events = [  # who sends the usage so far with each chunk
    (
        chunk("a", usage={"prompt_tokens": 10, "completion_tokens": done}),
        {"input": 10, "output": done} if done else {"input": 10},
    )
    for done in range(4)
]  # fmt: skip
GROQ: Events = [
    (chunk("a"), None),
    (
        chunk("b", x_groq={"id": "r", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        {"input": 3, "output": 2},
    ),
]
RESPONSES: Events = [
    ({"type": "response.created", "response": {"model": "m", "usage": None, "output": []}}, None),
    ({"type": "response.output_item.done", "item": SEARCH}, None),
    ({"type": "response.output_text.delta", "delta": "Hello"}, None),
    (
        {
            "type": "response.completed",
            "response": {
                "model": "m", "service_tier": "default", "output": [SEARCH],
                "usage": {
                    "input_tokens": 9, "input_tokens_details": {"cached_tokens": 4},
                    "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2},
                    "total_tokens": 14,
                },
            },
        },
        {"input": 5, "cached_read": 4, "output": 3, "reasoning": 2, "web_searches": 1},
    ),
]  # fmt: skip
WRITES = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 80}
BEGUN = {"input": 3, "cached_read": 20, "cache_write_1h": 80, "output": 1}
ANTHROPIC: Events = [
    (
        {
            "type": "message_start",
            "message": {
                "model": "m",
                "usage": {
                    "input_tokens": 3, "cache_read_input_tokens": 20,
                    "cache_creation_input_tokens": 80, "cache_creation": WRITES,
                    "output_tokens": 1, "service_tier": "standard",
                },
            },
        },
        BEGUN,
    ),
    ({"type": "content_block_start", "content_block": {"type": "text"}}, BEGUN),
    ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}, BEGUN),
    (
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {
                "input_tokens": 0, "cache_read_input_tokens": 20,
                "cache_creation_input_tokens": 80, "output_tokens": 15,
                "server_tool_use": {"web_search_requests": 1},
            },
        },
        {**BEGUN, "output": 15, "web_searches": 1},
    ),
    ({"type": "message_stop"}, {**BEGUN, "output": 15, "web_searches": 1}),
]  # fmt: skip
GEMINI: Events = [
    (
        {
            "modelVersion": "m",
            "usageMetadata": {
                "promptTokenCount": 10, "totalTokenCount": 10 + made,
                "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}],
                **({"candidatesTokenCount": made} if made else {}),
            },
        },
        {"input": 6, "input_audio": 4, **({"output": made} if made else {})},
    )
    for made in (0, 3, 8)
]  # fmt: skip
BEDROCK: Events = [
    ({"messageStart": {"role": "assistant"}}, None),
    ({"contentBlockDelta": {"delta": {"text": "Hi"}, "contentBlockIndex": 0}}, None),
    ({"messageStop": {"stopReason": "end_turn"}}, None),
    (
        {
            "metadata": {
                "usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9},
                "metrics": {"latencyMs": 5},
                "serviceTier": {"type": "priority"},
            }
        },
        {"input": 7, "output": 2},
    ),
]
MISTRAL: Events = [
    ({"data": {"model": "m", "choices": [{"delta": {"content": "Hi"}}]}}, None),
    (
        {
            "data": {
                "model": "m", "choices": [],
                "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
            }
        },
        {"input": 7, "output": 2},
    ),
]  # fmt: skip
COHERE: Events = [
    ({"type": "content-delta", "delta": {"message": {"content": {"text": "Hi"}}}}, None),
    (
        {
            "type": "message-end",
            "delta": {"usage": {"billed_units": {"input_tokens": 7.0, "output_tokens": 2.0}}},
        },
        {"input": 7, "output": 2},
    ),
]
COHERE_1: Events = [
    ({"event_type": "text-generation", "text": "Hi"}, None),
    (
        {
            "event_type": "stream-end",
            "response": {"meta": {"billed_units": {"input_tokens": 7.0, "output_tokens": 2.0}}},
        },
        {"input": 7, "output": 2},
    ),
]
TRANSCRIPTION: Events = [
    ({"type": "transcript.text.delta", "delta": "Hi"}, None),
    (
        {
            "type": "transcript.text.done", "text": "Hi",
            "usage": {
                "type": "tokens", "input_tokens": 7, "output_tokens": 2, "total_tokens": 9,
                "input_token_details": {"audio_tokens": 7, "text_tokens": 0},
            },
        },
        {"input_audio": 7, "output": 2},
    ),
]  # fmt: skip
SDK_OF_XAI: Events = [
    ({"proto": {"model": "m", "usage": {}}}, None),
    (
        {
            "proto": {
                "model": "m",
                "usage": {
                    "prompt_tokens": 7, "completion_tokens": 2, "reasoning_tokens": 4,
                    "total_tokens": 13,
                },
            }
        },
        {"input": 7, "output": 2, "reasoning": 4},
    ),
]  # fmt: skip
STREAMS = {
    "chat": CHAT,
    "the usage so far with each chunk": RUNNING,
    "groq": GROQ,
    "responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "bedrock": BEDROCK,
    "mistral": MISTRAL,
    "cohere": COHERE,
    "cohere's first version": COHERE_1,
    "transcription": TRANSCRIPTION,
    "the sdk of xai": SDK_OF_XAI,
}
ESTIMATE = tokens("m", input=100, output=40, payer="customer", facts={"region": "eu"})


def parts(usage: Usage) -> dict[str, int]:
    return {component: quantity for component, quantity, _ in usage.parts}


@pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)
def test_a_stream_that_is_cut_at_any_event_charges_what_was_reported(events: Events) -> None:
    stream = AnswerStream()
    for event, expected in events:
        before = deepcopy(event)
        stream.feed(event)
        assert event == before
        assert stream.reported is (expected is not None)
        if expected is not None:
            assert parts(stream.usage(model="m")) == expected
            assert stream.usage(ESTIMATE, model="m") == usage_of(stream, model="m")
        else:
            with pytest.raises(InvalidCommand, match="the events reported none"):
                stream.usage(model="m")


def test_nothing_was_fed() -> None:
    stream = AnswerStream()
    assert not stream.reported
    with pytest.raises(InvalidCommand) as caught:
        usage_of(stream)
    assert caught.value.field == "estimate"


def test_where_nothing_was_reported_the_estimate_stands_and_says_so() -> None:
    stream = AnswerStream()
    stream.feed(CHAT[0][0])
    usage = stream.usage(ESTIMATE)
    assert usage.parts == ESTIMATE.parts and usage.resource == "model:m"
    assert dict(usage.facts) == {"region": "eu", "estimated": "yes"}
    with pytest.raises(InvalidCommand, match="a Usage"):
        stream.usage({"input": 5})  # type: ignore[arg-type]


def test_a_tool_that_was_called_before_the_cut_is_paid_beside_the_estimate() -> None:
    stream = AnswerStream()
    for event, _ in RESPONSES[:2]:
        stream.feed(event)
    assert not stream.reported
    usage = stream.usage(ESTIMATE)
    assert usage.parts == (
        ("input", 100, "customer"), ("output", 40, "customer"), ("web_searches", 1, "platform"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("events", "tier"),
    [(CHAT, "flex"), (RESPONSES, "standard"), (ANTHROPIC, "standard"), (BEDROCK, "priority")],
)
def test_the_tier_is_the_one_that_served_it(events: Events, tier: str) -> None:
    stream = AnswerStream()
    for event, _ in events:
        stream.feed(event)
    usage = stream.usage(model="m", facts={"service_tier": "asked", "region": "eu"})
    assert dict(usage.facts) == {"service_tier": tier, "region": "eu"}


def test_a_zero_takes_nothing_back() -> None:
    """Some proxies of Anthropic's say 0 at the end for what was said at the beginning."""
    stream = AnswerStream()
    for event, _ in ANTHROPIC:
        stream.feed(event)
    assert parts(stream.usage())["input"] == 3


@given(st.lists(st.sampled_from([event for each in STREAMS.values() for event, _ in each])))
def test_events_in_any_order_are_a_usage_or_an_invalid_command(events: list[Any]) -> None:
    stream = AnswerStream()
    for event in events:
        stream.feed(event)
    try:
        usage = stream.usage(ESTIMATE, model="m")
    except InvalidCommand:
        return
    assert isinstance(usage, Usage)
