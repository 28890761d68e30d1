"""Providers' answers made backwards: from what was used, each token once, as they report it.

Each function takes quantities by component, of those that its ``PARTS`` has, and gives the answer
in which the provider's documentation says that they are reported: parts inside what contains them,
cached parts inside both the cached and the modality, seconds of floats, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

Parts = Mapping[str, int]
MODALITIES = ("text", "audio", "image", "video")


def _named(kind: str, modality: str) -> str:
    return kind if modality == "text" else f"{kind}_{modality}"


def openai_chat(parts: Parts) -> dict[str, Any]:
    """A chat completion: with text alone where any is cached, since of what kind is not told."""
    of = _counter(parts)
    written = of("cached_read") + of("cache_write")
    text = of("input") + written
    audio, image = of("input_audio"), of("input_image")
    said = ("output", "output_audio", "reasoning", "accepted_prediction", "rejected_prediction")
    prompt, completion = text + audio + image, sum(map(of, said))
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-5",
        "choices": [],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {
                "cached_tokens": of("cached_read"),
                "cache_write_tokens": of("cache_write"),
                "audio_tokens": audio,
                "image_tokens": image,
                "text_tokens": text,
            },
            "completion_tokens_details": {
                "reasoning_tokens": of("reasoning"),
                "audio_tokens": of("output_audio"),
                "accepted_prediction_tokens": of("accepted_prediction"),
                "rejected_prediction_tokens": of("rejected_prediction"),
            },
        },
    }


def openai_responses(parts: Parts) -> dict[str, Any]:
    """A response; what is written to the cache is written for 30 minutes or for 12 hours."""
    of = _counter(parts)
    written = of("cache_write") + of("cache_write_12h")
    given = of("input") + of("cached_read") + written
    output = of("output") + of("reasoning")
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_790_000_000,
        "model": "gpt-5.6",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "status": "completed",
        "tool_usage": {
            "web_search": {"num_requests": of("web_searches")},
            "image_gen": {
                "input_tokens": 0,
                "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
                "output_tokens": 0,
                "total_tokens": 0,
            },
        },
        "usage": {
            "input_tokens": given,
            "input_tokens_details": {
                "cached_tokens": of("cached_read"),
                "cache_write_tokens": written,
                "cache_write_tokens_details": {
                    "ttl_30m_tokens": of("cache_write"),
                    "ttl_12h_tokens": of("cache_write_12h"),
                },
            },
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": of("reasoning")},
            "total_tokens": given + output,
        },
    }


def openai_realtime(parts: Parts) -> dict[str, Any]:
    """The event ``response.done``."""
    of = _counter(parts)
    kinds = ("text", "audio", "image")
    cached = {kind: of(_named("cached_read", kind)) for kind in kinds}
    given = {kind: of(_named("input", kind)) + cached[kind] for kind in kinds}
    output = of("output") + of("output_audio")
    return {
        "type": "response.done",
        "event_id": "event_1",
        "response": {
            "id": "resp_1",
            "object": "realtime.response",
            "status": "completed",
            "output": [],
            "usage": {
                "total_tokens": sum(given.values()) + output,
                "input_tokens": sum(given.values()),
                "output_tokens": output,
                "input_token_details": {
                    **{f"{kind}_tokens": count for kind, count in given.items()},
                    "cached_tokens": sum(cached.values()),
                    "cached_tokens_details": {
                        f"{kind}_tokens": count for kind, count in cached.items()
                    },
                },
                "output_token_details": {
                    "text_tokens": of("output"),
                    "audio_tokens": of("output_audio"),
                },
            },
        },
    }


def anthropic(parts: Parts) -> dict[str, Any]:
    """A message; the caches lie beside the input, thinking lies inside the output."""
    of = _counter(parts)
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": of("input"),
            "output_tokens": of("output") + of("reasoning"),
            "output_tokens_details": {"thinking_tokens": of("reasoning")},
            "cache_read_input_tokens": of("cached_read"),
            "cache_creation_input_tokens": of("cache_write") + of("cache_write_1h"),
            "cache_creation": {
                "ephemeral_5m_input_tokens": of("cache_write"),
                "ephemeral_1h_input_tokens": of("cache_write_1h"),
            },
            "server_tool_use": {
                "web_search_requests": of("web_searches"),
                "web_fetch_requests": 0,
            },
        },
    }


def gemini(parts: Parts) -> dict[str, Any]:
    """A generated content; cached parts lie inside the prompt, thoughts beside the candidates."""
    of = _counter(parts)
    cached = {kind: of(_named("cached_read", kind)) for kind in MODALITIES}
    given = {kind: of(_named("input", kind)) + cached[kind] for kind in MODALITIES}
    output = {kind: of(_named("output", kind)) for kind in MODALITIES}

    def details(counts: Mapping[str, int]) -> list[dict[str, Any]]:
        return [
            {"modality": kind.upper(), "tokenCount": count}
            for kind, count in counts.items()
            if count
        ]

    return {
        "candidates": [],
        "modelVersion": "gemini-2.5-flash",
        "usageMetadata": {
            "promptTokenCount": sum(given.values()),
            "promptTokensDetails": details(given),
            "cachedContentTokenCount": sum(cached.values()),
            "cacheTokensDetails": details(cached),
            "candidatesTokenCount": sum(output.values()),
            "candidatesTokensDetails": details(output),
            "thoughtsTokenCount": of("reasoning"),
            "totalTokenCount": sum(given.values()) + sum(output.values()) + of("reasoning"),
        },
    }


def bedrock(parts: Parts) -> dict[str, Any]:
    """What ``converse`` returns; the caches lie beside the input."""
    of = _counter(parts)
    written = of("cache_write") + of("cache_write_1h")
    return {
        "output": {"message": {"role": "assistant", "content": []}},
        "stopReason": "end_turn",
        "metrics": {"latencyMs": 812},
        "usage": {
            "inputTokens": of("input"),
            "outputTokens": of("output"),
            "totalTokens": sum(parts.values()),
            "cacheReadInputTokens": of("cached_read"),
            "cacheWriteInputTokens": written,
            "cacheDetails": [
                {"ttl": ttl, "inputTokens": count}
                for ttl, count in (("1h", of("cache_write_1h")), ("5m", of("cache_write")))
                if count
            ],
        },
    }


def mistral(parts: Parts) -> dict[str, Any]:
    """A transcription: seconds of audio lie beside all tokens."""
    of = _counter(parts)
    return {
        "model": "voxtral-mini-2507",
        "text": "Hello.",
        "language": None,
        "usage": {
            "prompt_tokens": of("input"),
            "completion_tokens": of("output"),
            "total_tokens": of("input") + of("output"),
            "prompt_audio_seconds": of("input_audio_duration") // 1_000_000,
        },
    }


def xai(parts: Parts) -> dict[str, Any]:
    """The protobuf's dict; reasoning lies beside the completion."""
    of = _counter(parts)
    prompt = of("input") + of("cached_read") + of("input_image")
    return {
        "id": "1",
        "model": "grok-4",
        "usage": {
            "prompt_tokens": prompt,
            "prompt_text_tokens": of("input") + of("cached_read"),
            "cached_prompt_text_tokens": of("cached_read"),
            "prompt_image_tokens": of("input_image"),
            "completion_tokens": of("output"),
            "reasoning_tokens": of("reasoning"),
            "total_tokens": prompt + of("output") + of("reasoning"),
        },
    }


def cohere(parts: Parts) -> dict[str, Any]:
    """A chat answer: billed units, as floats; Cohere read a little more."""
    of = _counter(parts)
    return {
        "id": "1",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": []},
        "usage": {
            "billed_units": {
                "input_tokens": float(of("input")),
                "output_tokens": float(of("output")),
            },
            "tokens": {
                "input_tokens": float(of("input") + 66),
                "output_tokens": float(of("output") + 4),
            },
        },
    }


def openrouter(parts: Parts) -> dict[str, Any]:
    """A chat result, with what it cost as a float of dollars."""
    of = _counter(parts)
    prompt = sum(map(of, ("input", "input_video", "cached_read", "cache_write")))
    completion = of("output") + of("reasoning")
    return {
        "id": "gen-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "anthropic/claude-sonnet-4.5",
        "system_fingerprint": None,
        "choices": [],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {
                "cached_tokens": of("cached_read"),
                "cache_write_tokens": of("cache_write"),
                "video_tokens": of("input_video"),
            },
            "completion_tokens_details": {"reasoning_tokens": of("reasoning")},
            "cost": float(Decimal(of("provider_cost")) / 10**9),
        },
    }


def pydantic_ai(parts: Parts) -> dict[str, Any]:
    """pydantic-ai's usage: every count lies inside the one that contains it."""
    of = _counter(parts)
    cached = of("cached_read") + of("cached_read_audio")
    written = of("cache_write") + of("cache_write_1h")
    audio = of("input_audio") + of("cached_read_audio")
    return {
        "input_tokens": of("input") + of("input_audio") + cached + written,
        "cache_write_tokens": written,
        "cache_write_1h_tokens": of("cache_write_1h"),
        "cache_read_tokens": cached,
        "output_tokens": of("output") + of("output_audio") + of("reasoning"),
        "output_reasoning_tokens": of("reasoning"),
        "input_audio_tokens": audio,
        "cache_audio_read_tokens": of("cached_read_audio"),
        "output_audio_tokens": of("output_audio"),
        "audio_seconds": 0.0,
        "details": {},
        "cost": None,
    }


def _counter(parts: Parts) -> Callable[[str], int]:
    return lambda name: parts.get(name, 0)


_CACHED = ("input", "cached_read", "cache_write", "output")
BUILDERS: dict[str, tuple[Callable[[Parts], dict[str, Any]], tuple[str, ...]]] = {
    "openai-chat text": (
        openai_chat,
        (*_CACHED, "reasoning", "accepted_prediction", "rejected_prediction"),
    ),
    "openai-chat media": (
        openai_chat,
        ("input", "input_audio", "input_image", "output", "output_audio"),
    ),
    "openai-responses": (
        openai_responses,
        (*_CACHED, "cache_write_12h", "reasoning", "web_searches"),
    ),
    "openai-realtime": (
        openai_realtime,
        (
            "input", "input_audio", "input_image", "cached_read", "cached_read_audio",
            "cached_read_image", "output", "output_audio",
        ),
    ),
    "anthropic": (anthropic, (*_CACHED, "cache_write_1h", "reasoning", "web_searches")),
    "gemini": (
        gemini,
        (
            "input", "input_audio", "input_image", "input_video", "cached_read",
            "cached_read_audio", "cached_read_image", "cached_read_video", "output",
            "output_audio", "output_image", "output_video", "reasoning",
        ),
    ),
    "bedrock": (bedrock, (*_CACHED, "cache_write_1h")),
    "mistral": (mistral, ("input", "output", "input_audio_duration")),
    "xai": (xai, ("input", "input_image", "cached_read", "output", "reasoning")),
    "cohere": (cohere, ("input", "output")),
    "openrouter": (openrouter, (*_CACHED, "input_video", "reasoning", "provider_cost")),
    "pydantic-ai": (
        pydantic_ai,
        (
            *_CACHED, "cache_write_1h", "input_audio", "cached_read_audio", "output_audio",
            "reasoning",
        ),
    ),
}  # fmt: skip
"""By provider: how its answers are made, and of what."""
