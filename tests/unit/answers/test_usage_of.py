"""Rule 14.1: usage is taken from what a provider answered, each token once, whatever its shape."""

from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import frozen
from genai_prices import extract_usage
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from billing_adapters.answers import AnswerStream, usage_of
from billing_core import InvalidCommand, Usage

SECRET = "what the customer asked and was told"
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-5-2025-08-07",
    "service_tier": "default",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": SECRET}}],
    "usage": {
        "prompt_tokens": 1_000,
        "completion_tokens": 200,
        "total_tokens": 1_200,
        "prompt_tokens_details": {"cached_tokens": 700, "audio_tokens": 100, "text_tokens": 900},
        "completion_tokens_details": {
            "reasoning_tokens": 120,
            "audio_tokens": 30,
            "accepted_prediction_tokens": 10,
            "rejected_prediction_tokens": 5,
        },
    },
}
RESPONSES = {
    "object": "response",
    "model": "gpt-5",
    "service_tier": "flex",
    "output": [
        {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": SECRET}},
        {"type": "web_search_call", "id": "ws_2", "action": {"type": "open_page", "url": "u"}},
        {"type": "file_search_call", "id": "fs_1"},
        {"type": "code_interpreter_call", "id": "ci_1", "container_id": "c"},
        {"type": "code_interpreter_call", "id": "ci_2", "container_id": "c"},
        {"type": "function_call", "id": "fc_1"},
        {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": SECRET}]},
    ],
    "usage": {
        "input_tokens": 1_000,
        "input_tokens_details": {
            "cached_tokens": 300,
            "cache_write_tokens": 50,
            "cache_write_tokens_details": {"ttl_12h_tokens": 20, "ttl_30m_tokens": 30},
        },
        "output_tokens": 200,
        "output_tokens_details": {"reasoning_tokens": 150},
        "total_tokens": 1_200,
    },
}
REALTIME = {
    "type": "response.done",
    "response": {
        "object": "realtime.response",
        "usage": {
            "total_tokens": 1_080,
            "input_tokens": 1_000,
            "output_tokens": 80,
            "input_token_details": {
                "text_tokens": 400,
                "audio_tokens": 600,
                "cached_tokens": 500,
                "cached_tokens_details": {"text_tokens": 100, "audio_tokens": 400},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 50},
        },
    },
}
ANTHROPIC = {
    "type": "message",
    "model": "claude-opus-4-5",
    "content": [{"type": "text", "text": SECRET}],
    "usage": {
        "input_tokens": 12,
        "cache_creation_input_tokens": 10_000,
        "cache_read_input_tokens": 500,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 2_000,
            "ephemeral_1h_input_tokens": 8_000,
        },
        "output_tokens": 300,
        "output_tokens_details": {"thinking_tokens": 100},
        "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
        "service_tier": "priority",
        "speed": "fast",
        "inference_geo": "us",
    },
}
GEMINI = {
    "modelVersion": "gemini-2.5-flash",
    "candidates": [
        {
            "content": {"parts": [{"text": SECRET}]},
            "groundingMetadata": {"webSearchQueries": ["a", "b"]},
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 1_000,
        "cachedContentTokenCount": 400,
        "candidatesTokenCount": 50,
        "thoughtsTokenCount": 20,
        "toolUsePromptTokenCount": 30,
        "totalTokenCount": 1_100,
        "trafficType": "ON_DEMAND_PRIORITY",
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 600},
            {"modality": "AUDIO", "tokenCount": 300},
            {"modality": "IMAGE", "tokenCount": 60},
            {"modality": "DOCUMENT", "tokenCount": 40},
        ],
        "cacheTokensDetails": [
            {"modality": "TEXT", "tokenCount": 200},
            {"modality": "AUDIO", "tokenCount": 200},
        ],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 50}],
        "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 30}],
    },
}
BEDROCK = {
    "output": {"message": {"content": [{"text": SECRET}]}},
    "usage": {
        "inputTokens": 10,
        "outputTokens": 20,
        "totalTokens": 145,
        "cacheReadInputTokens": 15,
        "cacheWriteInputTokens": 100,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 40}, {"ttl": "1h", "inputTokens": 60}],
    },
    "metrics": {"latencyMs": 812},
    "serviceTier": {"type": "flex"},
}
XAI = {
    "object": "chat.completion",
    "model": "grok-4",
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 200,
        "prompt_tokens_details": {"text_tokens": 90, "image_tokens": 10, "cached_tokens": 50},
        "completion_tokens_details": {"reasoning_tokens": 80, "audio_tokens": 0},
        "num_sources_used": 4,
        "cost_in_usd_ticks": 12_345_678,
    },
}
COHERE = {
    "id": "c",
    "usage": {
        "billed_units": {"input_tokens": 5.0, "output_tokens": 7.0},
        "tokens": {"input_tokens": 70.0, "output_tokens": 9.0},
    },
}
OPENROUTER = {
    "model": "anthropic/claude-opus-4.5",
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "cost": 0.00014,
        "cost_details": {"upstream_inference_cost": None, "upstream_inference_prompt_cost": 0.1},
        "is_byok": False,
        "prompt_tokens_details": {"cached_tokens": 0, "video_tokens": 4},
    },
}
LITELLM = {
    "model": "claude-opus-4-5",
    "usage": {
        "prompt_tokens": 10_012,
        "completion_tokens": 50,
        "total_tokens": 10_062,
        "cache_creation_input_tokens": 9_000,
        "cache_read_input_tokens": 1_000,
        "prompt_tokens_details": {
            "cached_tokens": 1_000,
            "cache_creation_tokens": 9_000,
            "cache_write_tokens": 9_000,
            "cache_creation_token_details": {
                "ephemeral_5m_input_tokens": 1_000,
                "ephemeral_1h_input_tokens": 8_000,
            },
        },
        "completion_tokens_details": {"reasoning_tokens": 11, "text_tokens": 39},
        "server_tool_use": {"web_search_requests": 2},
    },
}
PYDANTIC_AI = {
    "input_tokens": 100,
    "cache_read_tokens": 50,
    "cache_audio_read_tokens": 10,
    "input_audio_tokens": 20,
    "cache_write_tokens": 8,
    "cache_write_1h_tokens": 3,
    "output_tokens": 9,
    "output_reasoning_tokens": 4,
    "details": {"reasoning_tokens": 4, "text_prompt_tokens": 12, "web_fetches": 2},
    "requests": 3,
}
IMAGES = {
    "created": 1,
    "quality": "high",
    "size": "1024x1024",
    "data": [{"b64_json": SECRET}],
    "usage": {
        "input_tokens": 30,
        "output_tokens": 1_000,
        "total_tokens": 1_030,
        "input_tokens_details": {"image_tokens": 10, "text_tokens": 20},
    },
}
WHOLE: list[tuple[str, Any, dict[str, Any], dict[str, int], dict[str, str]]] = [
    (
        "chat", CHAT, {},
        {
            "input": 200, "input_audio": 100, "cached_read": 700, "output": 35,
            "output_audio": 30, "reasoning": 120, "accepted_prediction": 10,
            "rejected_prediction": 5,
        },
        {"service_tier": "standard"},
    ),
    (
        "responses", RESPONSES, {},
        {
            "input": 650, "cached_read": 300, "cache_write": 30, "cache_write_12h": 20,
            "output": 50, "reasoning": 150, "web_searches": 1, "file_searches": 1, "sessions": 1,
        },
        {"service_tier": "flex"},
    ),
    (
        "embeddings",
        {"model": "e", "data": [{}], "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        {}, {"input": 8}, {},
    ),
    (
        "realtime", REALTIME, {"model": "rt"},
        {
            "input": 300, "input_audio": 200, "cached_read": 100, "cached_read_audio": 400,
            "output": 30, "output_audio": 50,
        },
        {},
    ),
    (
        "transcription by tokens",
        {
            "text": SECRET,
            "usage": {
                "type": "tokens", "input_tokens": 20, "output_tokens": 5, "total_tokens": 25,
                "input_token_details": {"audio_tokens": 18, "text_tokens": 2},
            },
        },
        {"model": "t"}, {"input": 2, "input_audio": 18, "output": 5}, {},
    ),
    (
        "transcription by time",
        {"text": SECRET, "usage": {"type": "duration", "seconds": 12.3}},
        {"model": "t"}, {"input_audio_duration": 12_300_000}, {},
    ),
    (
        "a live session",
        {"type": "session.usage.updated", "usage": {"seconds": 61, "active_seconds": 61}},
        {"model": "t"}, {"audio_duration": 61_000_000}, {},
    ),
    (
        "images", IMAGES, {"model": "gpt-image-1"},
        {"input": 20, "input_image": 10, "output_image": 1_000},
        {"quality": "high", "size": "1024x1024"},
    ),
    (
        "images without tokens", {"created": 1, "data": [{"url": "u"}, {"url": "v"}]},
        {"model": "dall-e-3"}, {"images": 2}, {},
    ),
    (
        "anthropic", ANTHROPIC, {},
        {
            "input": 12, "cached_read": 500, "cache_write": 2_000, "cache_write_1h": 8_000,
            "output": 200, "reasoning": 100, "web_searches": 3,
        },
        {"service_tier": "priority", "speed": "fast", "region": "us"},
    ),
    (
        "gemini", GEMINI, {},
        {
            "input": 430, "input_audio": 100, "input_image": 100, "cached_read": 200,
            "cached_read_audio": 200, "output": 50, "reasoning": 20, "web_searches": 1,
        },
        {"service_tier": "priority"},
    ),
    (
        "bedrock", BEDROCK, {"model": "nova"},
        {"input": 10, "cached_read": 15, "cache_write": 40, "cache_write_1h": 60, "output": 20},
        {"service_tier": "flex"},
    ),
    (
        "mistral",
        {
            "model": "voxtral",
            "usage": {
                "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                "prompt_audio_seconds": 7,
            },
        },
        {}, {"input": 10, "output": 5, "input_audio_duration": 7_000_000}, {},
    ),
    (
        "mistral's pages",
        {"model": "ocr", "usage_info": {"pages_processed": 3, "doc_size_bytes": 99}},
        {}, {"pages": 3}, {},
    ),
    (
        "xai", XAI, {},
        {
            "input": 40, "input_image": 10, "cached_read": 50, "output": 20, "reasoning": 80,
            "num_sources_used": 4,
        },
        {},
    ),
    ("cohere", COHERE, {"model": "command-a"}, {"input": 5, "output": 7}, {}),
    (
        "cohere's first version",
        {"text": SECRET, "meta": {"tokens": {"input_tokens": 3.0, "output_tokens": 4.0}}},
        {"model": "command"}, {"input": 3, "output": 4}, {},
    ),
    (
        "cohere's rerank", {"meta": {"billed_units": {"search_units": 2.0}}},
        {"model": "rerank"}, {"rerank_searches": 2}, {},
    ),
    ("openrouter", OPENROUTER, {}, {"input": 6, "input_video": 4, "output": 5}, {}),
    (
        "litellm", LITELLM, {},
        {
            "input": 12, "cached_read": 1_000, "cache_write": 1_000, "cache_write_1h": 8_000,
            "output": 39, "reasoning": 11, "web_searches": 2,
        },
        {},
    ),
    (
        "pydantic-ai", PYDANTIC_AI, {"model": "m"},
        {
            "input": 32, "input_audio": 10, "cached_read": 40, "cached_read_audio": 10,
            "cache_write": 5, "cache_write_1h": 3, "output": 5, "reasoning": 4,
            "details.web_fetches": 2,
        },
        {},
    ),
    (
        "perplexity",
        {
            "model": "sonar-deep-research",
            "usage": {
                "prompt_tokens": 33, "completion_tokens": 7_163, "total_tokens": 7_196,
                "citation_tokens": 20_016, "num_search_queries": 18, "reasoning_tokens": 5_000,
            },
        },
        {},
        {
            "input": 33, "output": 7_163, "citation": 20_016, "reasoning": 5_000,
            "web_searches": 18,
        },
        {},
    ),
]  # fmt: skip


def parts(usage: Usage) -> dict[str, int]:
    return {component: quantity for component, quantity, _ in usage.parts}


@pytest.mark.parametrize(("answer", "given_", "expected", "facts"), [
    pytest.param(*each[1:], id=each[0]) for each in WHOLE
])  # fmt: skip
def test_each_token_is_counted_once(answer: Any, given_: Any, expected: Any, facts: Any) -> None:
    usage = usage_of(answer, **given_)
    assert parts(usage) == expected
    assert dict(usage.facts) == facts
    assert usage.resource == f"model:{given_.get('model') or model_of(answer)}"


def model_of(answer: Any) -> str:
    return str(answer.get("model") or answer["modelVersion"])


def as_objects(thing: Any) -> Any:
    if isinstance(thing, dict):
        return SimpleNamespace(**{name: as_objects(value) for name, value in thing.items()})
    return [as_objects(each) for each in thing] if isinstance(thing, list) else thing


@pytest.mark.parametrize(("answer", "given_", "expected", "facts"), [
    pytest.param(*each[1:], id=each[0]) for each in WHOLE
])  # fmt: skip
def test_an_object_is_read_as_its_json_is(
    answer: Any, given_: Any, expected: Any, facts: Any
) -> None:
    assert usage_of(as_objects(answer), **given_) == usage_of(answer, **given_)


# -- what an answer is made of --------------------------------------------------


class Tier(Enum):
    FLEX = "flex"


class Details(BaseModel):
    model_config = ConfigDict(extra="allow")
    cached_tokens: int | None = None


@dataclass(slots=True)
class Slotted:
    prompt_tokens: int
    completion_tokens: int


@frozen
class Field:
    name: str
    enum_type: Any = None


def named(names: dict[int, str]) -> Any:
    """An enum of protobuf's."""
    values = {number: SimpleNamespace(name=name) for number, name in names.items()}
    return SimpleNamespace(values_by_number=values)


class Message:
    """As protobuf shows one."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def ListFields(self) -> list[tuple[Field, Any]]:
        tools = named({1: "SERVER_SIDE_TOOL_WEB_SEARCH", 7: "SERVER_SIDE_TOOL_NEW"})
        tier = named({2: "SERVICE_TIER_PRIORITY"})
        kinds = {"server_side_tools_used": tools, "service_tier": tier}
        return [(Field(name, kinds.get(name)), value) for name, value in self.values.items()]


def test_objects_of_pydantic_keep_what_their_class_does_not_know() -> None:
    details = Details.model_validate({"cached_tokens": 4, "sparkle_tokens": 2})
    answer = {"model": "m", "usage": {"prompt_tokens": 10, "prompt_tokens_details": details}}
    usage = usage_of({**answer, "service_tier": Tier.FLEX})
    assert parts(usage) == {
        "input": 6, "cached_read": 4, "prompt_tokens_details.sparkle_tokens": 2,
    }  # fmt: skip
    assert usage.facts == (("service_tier", "flex"),)


def test_slots_are_read() -> None:
    assert parts(usage_of({"usage": Slotted(3, 4)}, model="m")) == {"input": 3, "output": 4}


def test_protobuf_says_tools_and_tiers_by_number() -> None:
    usage = Message(
        prompt_tokens=5, completion_tokens=1, reasoning_tokens=2, total_tokens=8,
        server_side_tools_used=[1, 1, 7, 99],
    )  # fmt: skip
    found = usage_of(Message(model="grok-4", service_tier=2, usage=usage))
    assert parts(found) == {
        "input": 5, "output": 1, "reasoning": 2, "web_searches": 2,
        "server_side_tools_used.server_side_tool_new": 1,
        "server_side_tools_used.server_side_tools_used_99": 1,
    }  # fmt: skip
    assert found.facts == (("service_tier", "priority"),)


# -- what is not known, and what does not agree ---------------------------------


def chat(**usage: Any) -> dict[str, Any]:
    return {"model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": 5, **usage}}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"sparkles": 3, "newDetails": {"glitterTokens": 4}},
         {"sparkles": 3, "new_details.glitter_tokens": 4}),
        ({"weight": 0.25}, {"weight.billionths": 250_000_000}),
        ({"weight": 2.0}, {"weight": 2}),
        ({"left": -7}, {"left.negative": 7}),
        ({"ratio": float("nan"), "none": None, "yes": True, "word": "x", "zero": 0}, {}),
        ({"naïve\n": 1}, {"na_ve_": 1}),
        ({"total_tokens": 15}, {}),
        ({"total_tokens": 11}, {}),
        ({"total_tokens": 22}, {"total_tokens": 7}),
        ({"total_tokens": 22, "glitter_tokens": 5}, {"total_tokens": 2, "glitter_tokens": 5}),
    ],
)  # fmt: skip
def test_what_nobody_knows_is_a_component_of_its_own(usage: Any, expected: dict[str, int]) -> None:
    assert parts(usage_of(chat(**usage))) == {"input": 10, "output": 5, **expected}


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"cached_tokens": 8, "audio_tokens": 6},
         {"cached_read": 4, "cached_read_audio": 4, "input_audio": 2}),
        ({"cached_tokens": 10, "audio_tokens": 10}, {"cached_read_audio": 10}),
        ({"cached_tokens": 14}, {"cached_read": 14}),
        ({"audio_tokens": 9, "image_tokens": 9}, {"input_audio": 9, "input_image": 9}),
        ({"cache_write_1h_tokens": 4}, {"input": 6, "cache_write_1h": 4}),
    ],
)  # fmt: skip
def test_parts_stand_where_they_are_more_than_the_whole(
    details: Any, expected: dict[str, int]
) -> None:
    usage = usage_of(
        {"model": "m", "usage": {"prompt_tokens": 10, "prompt_tokens_details": details}}
    )
    assert parts(usage) == expected


def test_reasoning_is_taken_as_the_total_counts_it() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 3}}
    inside, outside = {"output": 2, "reasoning": 3}, {"output": 5, "reasoning": 3}
    for total, expected in ((15, inside), (18, outside)):
        assert parts(usage_of(chat(total_tokens=total, **details))) == {"input": 10, **expected}
    assert parts(usage_of(chat(**details))) == {"input": 10, **inside}
    assert parts(usage_of(chat(**details), provider="xai")) == {"input": 10, **outside}
    assert parts(usage_of(chat(**details), model="grok-4")) == {"input": 10, **outside}
    grok = {**chat(**details), "model": "x-ai/grok-4"}
    assert parts(usage_of(grok, model="small")) == {"input": 10, **outside}


def test_shortening_the_context_is_in_no_other_number() -> None:
    """Turns are: they are parts of what stands above them.  An advisor is another model."""
    turn = {"input_tokens": 100, "output_tokens": 10, "cache_creation_input_tokens": 0}
    iterations = [
        {"type": "message", **turn},
        {"type": "compaction", "input_tokens": 50, "output_tokens": 4},
        {"type": "advisor_message", "model": "other", "input_tokens": 7, "output_tokens": 8},
    ]
    usage = {"input_tokens": 100, "output_tokens": 10, "iterations": iterations}
    assert parts(usage_of({"model": "m", "usage": usage})) == {
        "input": 150, "output": 14,
        "iterations.advisor_message.input_tokens": 7,
        "iterations.advisor_message.output_tokens": 8,
    }  # fmt: skip


def test_openai_tells_of_its_tools_itself_where_it_does() -> None:
    drawn = {
        "input_tokens": 30, "input_tokens_details": {"image_tokens": 10, "text_tokens": 20},
        "output_tokens": 99, "total_tokens": 129,
    }  # fmt: skip
    tools = {"web_search": {"num_requests": 0}, "image_gen": drawn}
    found = parts(usage_of({**RESPONSES, "tool_usage": tools}))
    own = {name: count for name, count in found.items() if name.startswith("tool_usage")}
    assert sum(own.values()) == 129 and len(own) == 3
    assert "web_searches" not in found and found["sessions"] == 1


def test_google_is_paid_by_the_query_from_gemini_3_on_and_for_maps() -> None:
    found = {"webSearchQueries": ["a", "b"], "groundingChunks": [{"web": {}}, {"maps": {}}]}
    usage = {"promptTokenCount": 1, "totalTokenCount": 1}
    answer = {"candidates": [{"groundingMetadata": found}], "usageMetadata": usage}
    for version, searches in (("gemini-3-pro", 2), ("models/gemini-2.5-pro", 1)):
        assert parts(usage_of({**answer, "modelVersion": version})) == {
            "input": 1, "web_searches": searches, "map_searches": 1,
        }  # fmt: skip


# -- who answered, what is known of the request ---------------------------------


def test_where_it_cannot_be_told_apart_it_is_asked_who_answered() -> None:
    usage = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 2}}
    answer = {"model": "m", "usage": {**usage, "cache_read_input_tokens": 3}}
    with pytest.raises(InvalidCommand, match="responses and messages") as caught:
        usage_of(answer)
    assert caught.value.field == "provider"
    assert parts(usage_of(answer, provider="anthropic"))["input"] == 9
    assert parts(usage_of(answer, provider="OpenAI"))["input"] == 7


@pytest.mark.parametrize(
    ("provider", "given_"), [("nobody", "nobody"), (5, "5"), ("", "''")]
)  # fmt: skip
def test_a_provider_is_one_that_somebody_knows(provider: Any, given_: str) -> None:
    with pytest.raises(InvalidCommand) as caught:
        usage_of(CHAT, provider=provider)
    assert caught.value.field == "provider" and given_ in caught.value.given


def test_other_providers_are_read_as_genai_prices_does() -> None:
    cloudflare = {"result": {"usage": {"prompt_tokens": 3, "completion_tokens": 4, "odd": 1}}}
    usage = usage_of(cloudflare, provider="cloudflare", model="m")
    assert parts(usage) == {"input": 3, "output": 4, "odd": 1}
    cursor = {
        "model": "m",
        "tokenUsage": {
            "inputTokens": 5, "outputTokens": 1, "cacheWriteTokens": 2, "cacheReadTokens": 3,
            "totalCents": 0.5,
        },
    }  # fmt: skip
    assert parts(usage_of(cursor, provider="cursor")) == {
        "input": 5, "output": 1, "cache_write": 2, "cached_read": 3,
        "total_cents.billionths": 500_000_000,
    }  # fmt: skip
    groq = chat(queue_time=0.1, total_time=0.5, total_tokens=15)
    assert parts(usage_of(groq, provider="groq")) == {"input": 10, "output": 5}


@pytest.mark.parametrize("asked", ["flex", "priority"])
def test_the_tier_that_served_it_stands_in_place_of_the_one_that_was_asked(asked: str) -> None:
    usage = usage_of(CHAT, facts={"service_tier": asked, "search_context": "high"})
    assert dict(usage.facts) == {"service_tier": "standard", "search_context": "high"}


def test_no_provider_tells_of_a_batch_in_the_answer() -> None:
    asked = {"service_tier": "batch"}
    assert dict(usage_of(CHAT, facts=asked).facts) == asked
    assert dict(usage_of(RESPONSES, facts=asked).facts) == {"service_tier": "flex"}
    assert dict(usage_of(XAI, facts=asked).facts) == asked


@pytest.mark.parametrize("tier", ["auto", "", None, "unspecified", 5])
def test_no_tier_is_made_up(tier: Any) -> None:
    assert usage_of({**chat(), "service_tier": tier}).facts == ()


def test_model_payer_and_item_are_the_caller_s() -> None:
    usage = usage_of(CHAT, model="small", payer="customer", item="call-7")
    assert (usage.resource, usage.item) == ("model:small", "call-7")
    assert {payer for _, _, payer in usage.parts} == {"customer"}


@pytest.mark.parametrize(
    ("answer", "cost"),
    [(OPENROUTER, 140_000), (XAI, 1_234_568), (chat(cost={"total_cost": 0.5}), 500_000_000)],
)
def test_a_reported_cost_is_given_where_it_is_asked_for(answer: Any, cost: int) -> None:
    assert "provider_cost" not in parts(usage_of(answer))
    assert parts(usage_of(answer, reported_cost=True))["provider_cost"] == cost


def test_a_cost_that_is_not_reported_is_not_nothing() -> None:
    with pytest.raises(InvalidCommand, match="reports what it cost"):
        usage_of(CHAT, reported_cost=True)


# -- what is no answer ----------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        (None, "answer"),
        (SECRET, "answer"),
        ({"choices": [SECRET]}, "answer"),
        ({"usage": {"nothing": 5, SECRET: 4}}, "answer"),
        ({"usage": {"tokens": SECRET}}, "answer"),
        ({"usage": {"prompt_tokens": 3}, "content": SECRET}, "model"),
        ({"model": "m", "usage": {"prompt_tokens": -3}}, "input"),
        ({"model": "m", "usage": {"prompt_tokens": 1.5}}, "input"),
        ({"model": "m", "usage": {"prompt_tokens": float("inf")}}, "prompt_tokens"),
        ({"model": "m", "usage": {"prompt_tokens": 1e300}}, "input"),
        ({"model": "m", "usage": {"prompt_tokens": 10**36}}, "input"),
        ({"model": "m", "usage": {"prompt_tokens": 1, "sparkles": 1e300}}, "sparkles"),
        ({"model": "\n", "usage": {"prompt_tokens": 1}}, "model"),
    ],
)
def test_an_answer_that_cannot_be_charged_is_said_to_be_none(answer: Any, field: str) -> None:
    with pytest.raises(InvalidCommand) as caught:
        usage_of(answer)
    assert caught.value.field == field
    assert SECRET not in str(caught.value)


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = {"a": found}
    return found


class Broken:
    @property
    def usage(self) -> Any:
        raise RuntimeError(SECRET)


def test_what_cannot_be_read_is_said_so() -> None:
    itself: dict[str, Any] = {"prompt_tokens": 1}
    itself |= {"a": itself, "b": itself, "c": itself}
    wide = {"prompt_tokens": 1, **{f"n{number}": 1 for number in range(3_000)}}
    for answer in (chat(deep=nested(5_000)), itself, wide, Broken()):
        with pytest.raises(InvalidCommand) as caught:
            usage_of(answer, model="m")
        assert caught.value.field == "answer" and SECRET not in str(caught.value)


NAMES = st.sampled_from(
    [*CHAT["usage"], *ANTHROPIC["usage"], *GEMINI["usageMetadata"], *BEDROCK["usage"],  # type: ignore[misc]
     *PYDANTIC_AI, "usage", "usageMetadata", "response", "message", "model", "meta", "tokens",
     "billed_units", "seconds", "service_tier", "output", "candidates", "data", "type", "delta"]
)  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers(-5, 10**40) | st.floats() | st.text(max_size=3)
)  # fmt: skip
ANSWERS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


@given(ANSWERS, st.booleans(), st.sampled_from([None, "anthropic", "groq"]))
def test_whatever_comes_is_a_usage_or_an_invalid_command(
    answer: Any, cost: bool, provider: str | None
) -> None:
    try:
        usage = usage_of(answer, model="m", reported_cost=cost, provider=provider)
    except InvalidCommand:
        return
    assert isinstance(usage, Usage)


# -- held against another reader of answers -------------------------------------


@pytest.mark.parametrize(
    ("answer", "provider", "flavor"),
    [
        (CHAT, "openai", "chat"),
        (RESPONSES, "openai", "responses"),
        (ANTHROPIC, "anthropic", "default"),
        (GEMINI, "google", "default"),
        (BEDROCK, "aws", "default"),
        (COHERE, "cohere", "default"),
    ],
)
def test_genai_prices_comes_to_the_same_totals(answer: Any, provider: str, flavor: str) -> None:
    theirs = extract_usage(
        {name: value for name, value in answer.items() if name not in ("model", "modelVersion")},
        provider_id=provider, api_flavor=flavor,
    ).usage  # fmt: skip
    ours = parts(usage_of(answer, model="m"))
    given_ = sum(count for name, count in ours.items() if name.startswith(("input", "cache")))
    made = sum(ours.get(name, 0) for name in MADE)
    assert (given_, made) == (theirs.input_tokens, theirs.output_tokens)


MADE = ("output", "output_audio", "reasoning", "accepted_prediction", "rejected_prediction")


def test_a_stream_is_an_answer_too() -> None:
    stream = AnswerStream()
    stream.feed(CHAT)
    assert usage_of(stream, model="small") == usage_of(CHAT, model="small")
