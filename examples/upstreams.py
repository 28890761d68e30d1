"""Two providers of models for the gateway, which stream as OpenAI and Anthropic do.

Each is given a request and sends server-sent events: the chunks of OpenAI's chat completions, with
a last one of usage if that was asked for, or the events of Anthropic's messages. They say what the
real ones say, of made-up words; asked to fail, they hang up halfway.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

MOST = 200  # tokens of an answer
PAUSE = 0.005  # seconds between two of them
CACHED = 2  # tokens of every prompt that were read from the provider's cache


def _read(request: Mapping[str, Any]) -> int:
    """The tokens of a prompt: here, its words."""
    return sum(len(message["content"].split()) for message in request["messages"])


async def _words(request: Mapping[str, Any]) -> AsyncIterator[str]:
    prompt = request["messages"][-1]["content"]
    most = min(MOST, request.get("max_tokens", MOST))
    for number in range(most):
        if "fail" in prompt and number == most // 4:
            raise ConnectionError("the provider hung up")
        await asyncio.sleep(PAUSE)
        yield f"word{number} "


async def openai(request: Mapping[str, Any]) -> AsyncIterator[str]:
    """Chat completions, streamed: https://platform.openai.com/docs/api-reference/chat-streaming."""
    reports = request.get("stream_options", {}).get("include_usage", False)
    written = 0

    def chunk(choices: list[object], usage: object = None) -> str:
        said: dict[str, object] = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_772_000_000,
            "model": request["model"],
            "service_tier": "default",
            "choices": choices,
        }
        if reports:
            said["usage"] = usage
        return f"data: {json.dumps(said)}\n\n"

    yield chunk([{"index": 0, "delta": {"role": "assistant", "content": ""}}])
    async for word in _words(request):
        written += 1
        yield chunk([{"index": 0, "delta": {"content": word}, "finish_reason": None}])
    yield chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    if reports:
        read = _read(request)
        yield chunk(
            [],
            {
                "prompt_tokens": read,
                "completion_tokens": written,
                "total_tokens": read + written,
                "prompt_tokens_details": {"cached_tokens": min(CACHED, read), "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
        )
    yield "data: [DONE]\n\n"


async def anthropic(request: Mapping[str, Any]) -> AsyncIterator[str]:
    """Messages, streamed: https://docs.anthropic.com/en/api/messages-streaming."""
    read, written = _read(request), 0

    def event(kind: str, **said: object) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind} | said)}\n\n"

    yield event(
        "message_start",
        message={
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": request["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": max(0, read - CACHED),
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": min(CACHED, read),
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 1,
                "service_tier": "standard",
            },
        },
    )
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield event("ping")
    async for word in _words(request):
        written += 1
        yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield event("content_block_stop", index=0)
    yield event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={"output_tokens": written},
    )
    yield event("message_stop")
