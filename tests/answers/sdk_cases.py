"""The answers, and by hand what each says was used: each token once, in our vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sdk_totals as read
from answer_builders import BUILDERS
from google.protobuf.json_format import ParseDict
from sdk_answers import After, case, converse, converse_event, made

NOTHING = After(None)


def add_all() -> None:
    """All cases, in the order in which the files have them."""
    openai_chat()
    openai_responses()
    openai_others()
    anthropic()
    gemini()
    bedrock()
    mistral()
    xai()
    cohere()
    openrouter()
    litellm()
    pydantic_ai()
    every_part()


# ---- OpenAI: chat completions -------------------------------------------------------------------

OPENAI_CHAT = "openai.types.CompletionUsage; https://platform.openai.com/docs/api-reference/chat"


def _chat(usage: Mapping[str, Any], **more: Any) -> Any:
    from openai.types.chat import ChatCompletion

    data: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-5-2025-08-07",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hello."},
            }
        ],
        "usage": usage,
    }
    return made(ChatCompletion, data | more)


def _chunk(content: str | None, usage: Mapping[str, Any] | None = None, **more: Any) -> Any:
    from openai.types.chat import ChatCompletionChunk

    choices = []
    if content is not None:
        choices = [{"index": 0, "delta": {"content": content}, "finish_reason": None}]
    data: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "gpt-5-2025-08-07",
        "choices": choices,
        "usage": usage,
    }
    return made(ChatCompletionChunk, data | more)


def openai_chat() -> None:
    both = {"pydantic_ai": read.pydantic_openai, "litellm": read.litellm_chat}
    model = "gpt-5-2025-08-07"
    case(
        "openai-chat: input and output, nothing else told",
        _chat({"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}),
        model=model, components={"input": 19, "output": 10}, totals=both, source=OPENAI_CHAT,
    )  # fmt: skip
    case(
        "openai-chat: every detail told as zero, the default tier",
        _chat(
            {
                "prompt_tokens": 19,
                "completion_tokens": 10,
                "total_tokens": 29,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            service_tier="default",
        ),
        model=model, components={"input": 19, "output": 10}, totals=both, source=OPENAI_CHAT,
    )  # fmt: skip
    case(
        "openai-chat: nothing at all was used",
        _chat({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
        model=model, components={}, totals=both, source=OPENAI_CHAT,
    )  # fmt: skip
    case(
        "openai-chat: half is read from the cache, priority served",
        _chat(
            {
                "prompt_tokens": 272_001,
                "completion_tokens": 800,
                "total_tokens": 272_801,
                "prompt_tokens_details": {"cached_tokens": 136_064},
                "completion_tokens_details": {"reasoning_tokens": 640},
            },
            service_tier="priority",
        ),
        model=model, totals=both, source=OPENAI_CHAT, facts={"service_tier": "priority"},
        components={"input": 135_937, "cached_read": 136_064, "output": 160, "reasoning": 640},
    )  # fmt: skip
    case(
        "openai-chat: all of the prompt is read from the cache, all of the output is reasoning",
        _chat(
            {
                "prompt_tokens": 4096,
                "completion_tokens": 2048,
                "total_tokens": 6144,
                "prompt_tokens_details": {"cached_tokens": 4096},
                "completion_tokens_details": {"reasoning_tokens": 2048},
            },
            service_tier="flex",
        ),
        model=model, totals=both, source=OPENAI_CHAT, facts={"service_tier": "flex"},
        components={"cached_read": 4096, "reasoning": 2048},
    )  # fmt: skip
    case(
        "openai-chat: predictions lie inside the output, the rejected ones too",
        _chat(
            {
                "prompt_tokens": 1000,
                "completion_tokens": 500,
                "total_tokens": 1500,
                "completion_tokens_details": {
                    "reasoning_tokens": 200,
                    "accepted_prediction_tokens": 120,
                    "rejected_prediction_tokens": 30,
                },
            }
        ),
        model=model, totals=both,
        source=OPENAI_CHAT + ": rejected predictions are still counted in the completion tokens",
        components={
            "input": 1000, "output": 150, "reasoning": 200,
            "accepted_prediction": 120, "rejected_prediction": 30,
        },
    )  # fmt: skip
    case(
        "openai-chat: audio in and out",
        _chat(
            {
                "prompt_tokens": 1100,
                "completion_tokens": 300,
                "total_tokens": 1400,
                "prompt_tokens_details": {"audio_tokens": 900, "text_tokens": 200},
                "completion_tokens_details": {"audio_tokens": 250, "text_tokens": 50},
            },
            model="gpt-audio",
        ),
        model="gpt-audio", totals=both, source=OPENAI_CHAT,
        components={"input": 200, "input_audio": 900, "output": 50, "output_audio": 250},
    )  # fmt: skip
    case(
        "openai-chat: an image, part of the text read from the cache, part written to it",
        _chat(
            {
                "prompt_tokens": 3000,
                "completion_tokens": 40,
                "total_tokens": 3040,
                "prompt_tokens_details": {
                    "cached_tokens": 1024,
                    "cache_write_tokens": 512,
                    "image_tokens": 765,
                    "text_tokens": 2235,
                },
            }
        ),
        model=model, totals=both, source=OPENAI_CHAT, sums={"input": 3000, "output": 40},
        components={
            "input": 699, "input_image": 765, "cached_read": 1024, "cache_write": 512, "output": 40,
        },
    )  # fmt: skip
    case(
        "openai-chat: cached and audio overlap by what is not told, but must",
        _chat(
            {
                "prompt_tokens": 2000,
                "completion_tokens": 10,
                "total_tokens": 2010,
                "prompt_tokens_details": {"cached_tokens": 1900, "audio_tokens": 300},
            }
        ),
        model=model, totals=both, source=OPENAI_CHAT + ": both lie inside prompt_tokens",
        sums={"input": 2000, "cache_read": 1900, "output": 10},
    )  # fmt: skip
    whole = {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 192, "audio_tokens": 0},
    }
    parts = {"input": 86, "cached_read": 1920, "output": 108, "reasoning": 192}
    case(
        "openai-chat: a stream tells usage in its last chunk, which has no choices",
        _chat(whole, service_tier="priority"),
        model=model, totals=both, components=parts, facts={"service_tier": "priority"},
        source=OPENAI_CHAT + "-streaming: usage is null except for the last chunk",
        events=[
            (_chunk("", service_tier="priority"), NOTHING),
            (_chunk("Hel", service_tier="priority"), NOTHING),
            (_chunk("lo.", service_tier="priority"), NOTHING),
            (
                _chunk(None, whole, service_tier="priority"),
                After(parts, {"service_tier": "priority"}),
            ),
        ],
    )  # fmt: skip
    case(
        "openai-chat: a stream without include_usage never tells",
        None,
        model=model, source=OPENAI_CHAT + "-streaming",
        events=[(_chunk("Hel"), NOTHING), (_chunk("lo."), NOTHING)],
    )  # fmt: skip


# ---- OpenAI: responses --------------------------------------------------------------------------

OPENAI_RESPONSES = "openai.types.responses.ResponseUsage, ToolUsage"


def _response_data(usage: Mapping[str, Any] | None, **more: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_790_000_000,
        "model": "gpt-5.6",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "status": "completed",
        "usage": usage,
    }
    return data | more


def _response(usage: Mapping[str, Any] | None, **more: Any) -> Any:
    from openai.types.responses import Response

    return made(Response, _response_data(usage, **more))


def _used(
    given: int, output: int, *, cached: int = 0, written: int = 0, reasoning: int = 0, **inner: Any
) -> dict[str, Any]:
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written} | inner,
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": given + output,
    }


def _web_search(number: int, action: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"ws_{number}",
        "type": "web_search_call",
        "status": "completed",
        "action": action,
    }


def openai_responses() -> None:
    from openai.types.responses import (
        ResponseCompletedEvent,
        ResponseCreatedEvent,
        ResponseFailedEvent,
        ResponseIncompleteEvent,
        ResponseInProgressEvent,
        ResponseOutputItemAddedEvent,
        ResponseTextDeltaEvent,
    )

    both = {"pydantic_ai": read.pydantic_openai, "litellm": read.litellm_responses}
    model = "gpt-5.6"
    case(
        "openai-responses: input and output",
        _response(_used(75, 1186, reasoning=1024), service_tier="default"),
        model=model, totals=both, source=OPENAI_RESPONSES,
        components={"input": 75, "output": 162, "reasoning": 1024},
    )  # fmt: skip
    case(
        "openai-responses: cached, the flex tier",
        _response(_used(272_000, 5, cached=271_999), service_tier="flex"),
        model=model, totals=both, source=OPENAI_RESPONSES, facts={"service_tier": "flex"},
        components={"input": 1, "cached_read": 271_999, "output": 5},
    )  # fmt: skip
    case(
        "openai-responses: the ultrafast tier",
        _response(_used(10, 5), service_tier="ultrafast"),
        model=model, totals=both, source=OPENAI_RESPONSES, facts={"service_tier": "ultrafast"},
        components={"input": 10, "output": 5},
    )  # fmt: skip
    case(
        "openai-responses: written to the cache, lifetime not told",
        _response(_used(50_000, 900, cached=20_000, written=25_000)),
        model=model, totals=both, source=OPENAI_RESPONSES,
        components={"input": 5000, "cached_read": 20_000, "cache_write": 25_000, "output": 900},
    )  # fmt: skip
    case(
        "openai-responses: written to the cache for 30 minutes and for 12 hours",
        _response(
            _used(
                50_000, 900, cached=20_000, written=25_000,
                cache_write_tokens_details={"ttl_30m_tokens": 10_000, "ttl_12h_tokens": 15_000},
            )
        ),
        model=model, totals=both, source=OPENAI_RESPONSES,
        components={
            "input": 5000, "cached_read": 20_000, "cache_write": 10_000,
            "cache_write_12h": 15_000, "output": 900,
        },
    )  # fmt: skip
    searches = [
        _web_search(1, {"type": "search", "query": "a"}),
        _web_search(2, {"type": "open_page", "url": "https://example.com/a"}),
        _web_search(3, {"type": "search", "query": "b"}),
        _web_search(4, {"type": "find_in_page", "pattern": "x", "url": "https://example.com/a"}),
    ]
    case(
        "openai-responses: billable web searches are counted, not the calls",
        _response(
            _used(8000, 400),
            output=[*searches, _web_search(5, {"type": "search", "query": "a discounted one"})],
            tool_usage={
                "web_search": {"num_requests": 2},
                "image_gen": {
                    "input_tokens": 0,
                    "output_tokens": 0,
                    "total_tokens": 0,
                    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
                },
            },
        ),
        model=model, totals=both,
        source="openai.types.responses.Response.tool_usage: num_requests counts billable searches",
        components={"input": 8000, "output": 400, "web_searches": 2},
    )  # fmt: skip
    case(
        "openai-responses: without tool_usage, calls that searched are counted",
        _response(_used(8000, 400), output=searches),
        model=model, totals=both,
        source="https://platform.openai.com/docs/pricing: per call that searches, not per page",
        components={"input": 8000, "output": 400, "web_searches": 2},
    )  # fmt: skip
    case(
        "openai-responses: file searches and one session of the code interpreter",
        _response(
            _used(8000, 400),
            output=[
                {
                    "id": f"fs_{number}",
                    "type": "file_search_call",
                    "status": "completed",
                    "queries": ["a", "b"],
                }
                for number in (1, 2, 3)
            ]
            + [
                {
                    "id": f"ci_{number}",
                    "type": "code_interpreter_call",
                    "status": "completed",
                    "container_id": "cntr_1",
                    "code": "1 + 1",
                }
                for number in (1, 2)
            ],
        ),
        model=model, totals=both,
        source="https://platform.openai.com/docs/pricing: file search per call, the code "
        "interpreter per container",
        components={"input": 8000, "output": 400, "file_searches": 3, "sessions": 1},
    )  # fmt: skip
    case(
        "openai-responses: an image was made by another model, whose tokens are not this one's",
        _response(
            _used(300, 50),
            tool_usage={
                "web_search": {"num_requests": 0},
                "image_gen": {
                    "input_tokens": 60,
                    "output_tokens": 4160,
                    "total_tokens": 4220,
                    "input_tokens_details": {"image_tokens": 0, "text_tokens": 60},
                },
            },
        ),
        model=model, totals=both,
        source="openai.types.responses.Response.tool_usage: separate from base model usage",
        components={"input": 300, "output": 50}, unknown={"image_gen": None},
    )  # fmt: skip

    def event(kind: Any, name: str, number: int, **data: Any) -> Any:
        return made(kind, {"type": name, "sequence_number": number} | data)

    begun = _response_data(None, status="in_progress", service_tier="auto")
    used = _used(2006, 300, cached=1920, reasoning=192)
    parts = {"input": 86, "cached_read": 1920, "output": 108, "reasoning": 192}
    start = [
        (event(ResponseCreatedEvent, "response.created", 0, response=begun), NOTHING),
        (event(ResponseInProgressEvent, "response.in_progress", 1, response=begun), NOTHING),
        (
            event(
                ResponseOutputItemAddedEvent, "response.output_item.added", 2, output_index=0,
                item={
                    "id": "msg_1",
                    "type": "message",
                    "role": "assistant",
                    "status": "in_progress",
                    "content": [],
                },
            ),
            NOTHING,
        ),
        (
            event(
                ResponseTextDeltaEvent, "response.output_text.delta", 3, output_index=0,
                item_id="msg_1", content_index=0, delta="Hello.", logprobs=[],
            ),
            NOTHING,
        ),
    ]  # fmt: skip
    for kind, status in (
        (ResponseCompletedEvent, "completed"),
        (ResponseIncompleteEvent, "incomplete"),
        (ResponseFailedEvent, "failed"),
    ):
        done = _response_data(used, status=status, service_tier="default")
        case(
            f"openai-responses: a stream whose response is {status}; auto was asked, not served",
            _response(used, status=status, service_tier="default"),
            model=model, totals=both, source=OPENAI_RESPONSES, components=parts,
            events=[
                *start,
                (event(kind, f"response.{status}", 4, response=done), After(parts)),
            ],
        )  # fmt: skip
    case(
        "openai-responses: a stream that was served by a lower tier than begun",
        _response(used, service_tier="default"),
        model=model, totals=both, source=OPENAI_RESPONSES + ": the tier that served",
        components=parts,
        events=[
            (
                event(
                    ResponseCreatedEvent, "response.created", 0,
                    response=begun | {"service_tier": "priority"},
                ),
                NOTHING,
            ),
            (
                event(
                    ResponseCompletedEvent, "response.completed", 1,
                    response=_response_data(used, service_tier="default"),
                ),
                After(parts),
            ),
        ],
    )  # fmt: skip


# ---- OpenAI: embeddings, realtime, transcription ------------------------------------------------


def openai_others() -> None:
    from openai.types import CreateEmbeddingResponse, ImageGenCompletedEvent, ImagesResponse
    from openai.types.audio import (
        Transcription,
        TranscriptionTextDeltaEvent,
        TranscriptionTextDoneEvent,
        TranscriptionVerbose,
    )
    from openai.types.realtime import (
        ConversationItemInputAudioTranscriptionCompletedEvent,
        ResponseDoneEvent,
    )

    case(
        "openai-embeddings: tokens in",
        made(
            CreateEmbeddingResponse,
            {
                "object": "list",
                "model": "text-embedding-3-small",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
                "usage": {"prompt_tokens": 8, "total_tokens": 8},
            },
        ),
        model="text-embedding-3-small", components={"input": 8},
        totals={"pydantic_ai": read.pydantic_embeddings},
        source="openai.types.CreateEmbeddingResponse",
    )  # fmt: skip

    def done(usage: Mapping[str, Any]) -> Any:
        return made(
            ResponseDoneEvent,
            {
                "type": "response.done",
                "event_id": "event_1",
                "response": {
                    "id": "resp_1",
                    "object": "realtime.response",
                    "status": "completed",
                    "output": [],
                    "usage": usage,
                },
            },
        )

    realtime = "openai.types.realtime.RealtimeResponseUsage"
    both = {"pydantic_ai": read.pydantic_realtime, "litellm": read.litellm_realtime}
    case(
        "openai-realtime: cached text",
        done(
            {
                "total_tokens": 253,
                "input_tokens": 132,
                "output_tokens": 121,
                "input_token_details": {
                    "text_tokens": 119,
                    "audio_tokens": 13,
                    "image_tokens": 0,
                    "cached_tokens": 64,
                    "cached_tokens_details": {
                        "text_tokens": 64,
                        "audio_tokens": 0,
                        "image_tokens": 0,
                    },
                },
                "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
            }
        ),
        model="gpt-realtime", named=False, totals=both,
        source=realtime + "; the example of https://platform.openai.com/docs/api-reference/"
        "realtime-server-events/response/done",
        components={
            "input": 55, "input_audio": 13, "cached_read": 64, "output": 30, "output_audio": 91,
        },
    )  # fmt: skip
    case(
        "openai-realtime: cached audio lies inside the cached, inside the audio, inside the input",
        done(
            {
                "total_tokens": 1700,
                "input_tokens": 1200,
                "output_tokens": 500,
                "input_token_details": {
                    "text_tokens": 400,
                    "audio_tokens": 700,
                    "image_tokens": 100,
                    "cached_tokens": 600,
                    "cached_tokens_details": {
                        "text_tokens": 250,
                        "audio_tokens": 300,
                        "image_tokens": 50,
                    },
                },
                "output_token_details": {"text_tokens": 100, "audio_tokens": 400},
            }
        ),
        model="gpt-realtime", named=False, totals=both, source=realtime,
        components={
            "input": 150, "input_audio": 400, "input_image": 50, "cached_read": 250,
            "cached_read_audio": 300, "cached_read_image": 50, "output": 100, "output_audio": 400,
        },
    )  # fmt: skip
    case(
        "openai-realtime: all of the audio is cached",
        done(
            {
                "total_tokens": 1200,
                "input_tokens": 1200,
                "output_tokens": 0,
                "input_token_details": {
                    "text_tokens": 0,
                    "audio_tokens": 1200,
                    "cached_tokens": 1200,
                    "cached_tokens_details": {"audio_tokens": 1200},
                },
            }
        ),
        model="gpt-realtime", named=False, totals=both, source=realtime,
        components={"cached_read_audio": 1200},
    )  # fmt: skip
    case(
        "openai-realtime: text alone, of what kind the cached are is not told",
        done(
            {
                "total_tokens": 1010,
                "input_tokens": 1000,
                "output_tokens": 10,
                "input_token_details": {"text_tokens": 1000, "cached_tokens": 400},
                "output_token_details": {"text_tokens": 10},
            }
        ),
        model="gpt-realtime", named=False, totals=both, source=realtime,
        components={"input": 600, "cached_read": 400, "output": 10},
    )  # fmt: skip
    case(
        "openai-realtime: no details",
        done({"total_tokens": 30, "input_tokens": 20, "output_tokens": 10}),
        model="gpt-realtime", named=False, totals=both, source=realtime,
        components={"input": 20, "output": 10},
    )  # fmt: skip

    def heard(usage: Mapping[str, Any]) -> Any:
        return made(
            ConversationItemInputAudioTranscriptionCompletedEvent,
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "event_id": "event_2",
                "item_id": "item_1",
                "content_index": 0,
                "transcript": "Hello.",
                "usage": usage,
            },
        )

    spoken = {
        "type": "tokens",
        "input_tokens": 114,
        "output_tokens": 31,
        "total_tokens": 145,
        "input_token_details": {"audio_tokens": 100, "text_tokens": 14},
    }
    heard_parts = {"input": 14, "input_audio": 100, "output": 31}
    case(
        "openai-realtime: what was said is transcribed, in tokens",
        heard(spoken),
        model="gpt-4o-mini-transcribe", named=False, components=heard_parts,
        source="openai.types.realtime.ConversationItemInputAudioTranscriptionCompletedEvent",
    )  # fmt: skip
    case(
        "openai-realtime: what was said is transcribed, by the second",
        heard({"type": "duration", "seconds": 12.3}),
        model="whisper-1", named=False, components={"input_audio_duration": 12_300_000},
        source="openai.types.realtime.ConversationItemInputAudioTranscriptionCompletedEvent",
    )  # fmt: skip

    images = "openai.types.ImagesResponse: the output of a GPT image model is image tokens"
    drawn = {
        "input_tokens": 50,
        "input_tokens_details": {"text_tokens": 40, "image_tokens": 10},
        "output_tokens": 4160,
        "total_tokens": 4210,
    }
    drawn_parts = {"input": 40, "input_image": 10, "output_image": 4160}
    size = {"quality": "high", "size": "1024x1024"}
    case(
        "openai-images: text and an image in, an image out; whole and streamed",
        made(
            ImagesResponse,
            {
                "created": 1_790_000_000,
                "data": [{"b64_json": "aGVsbG8="}],
                "usage": drawn
                | {"output_tokens_details": {"image_tokens": 4160, "text_tokens": 0}},
            }
            | size,
        ),
        model="gpt-image-1", named=False, components=drawn_parts, facts=size, source=images,
        events=[
            (
                made(
                    ImageGenCompletedEvent,
                    {
                        "type": "image_generation.completed",
                        "b64_json": "aGVsbG8=",
                        "background": "auto",
                        "created_at": 1_790_000_000,
                        "output_format": "png",
                        "usage": drawn,
                    }
                    | size,
                ),
                After(drawn_parts, size),
            )
        ],
    )  # fmt: skip
    case(
        "openai-images: of what kind the output is, is not told",
        made(ImagesResponse, {"created": 1_790_000_000, "data": [], "usage": drawn}),
        model="gpt-image-1", named=False, components=drawn_parts, source=images,
    )  # fmt: skip

    case(
        "openai-images: an SVG was written by another model, whose tokens are not this one's",
        made(
            ImagesResponse,
            {
                "created": 1_790_000_000,
                "data": [],
                "usage": drawn,
                "svg_usage": {
                    "model": "gpt-5",
                    "input_tokens": 5,
                    "output_tokens": 7,
                    "reasoning_tokens": 3,
                    "total_tokens": 12,
                },
            },
        ),
        model="gpt-image-1", named=False, components=drawn_parts, unknown={"svg_usage": None},
        source="openai.types.images_response.SvgUsage: separate from image rendering usage",
    )  # fmt: skip

    transcription = "openai.types.audio.Transcription"
    case(
        "openai-transcription: in tokens",
        made(Transcription, {"text": "Hello.", "usage": spoken}),
        model="gpt-4o-transcribe", named=False, components=heard_parts, source=transcription,
        events=[
            (
                made(
                    TranscriptionTextDeltaEvent,
                    {"type": "transcript.text.delta", "delta": "Hello."},
                ),
                NOTHING,
            ),
            (
                made(
                    TranscriptionTextDoneEvent,
                    {"type": "transcript.text.done", "text": "Hello.", "usage": spoken},
                ),
                After(heard_parts),
            ),
        ],
    )  # fmt: skip
    case(
        "openai-transcription: in tokens, of which kind is not told",
        made(
            Transcription,
            {
                "text": "Hello.",
                "usage": {
                    "type": "tokens",
                    "input_tokens": 114,
                    "output_tokens": 31,
                    "total_tokens": 145,
                },
            },
        ),
        model="gpt-4o-transcribe", named=False, source=transcription,
        sums={"input": 114, "output": 31},
    )  # fmt: skip
    case(
        "openai-transcription: by the second, to the microsecond",
        made(Transcription, {"text": "Hello.", "usage": {"type": "duration", "seconds": 8.470001}}),
        model="whisper-1", named=False, source=transcription,
        components={"input_audio_duration": 8_470_001},
    )  # fmt: skip
    case(
        "openai-transcription: the duration of the audio and of the usage is one",
        made(
            TranscriptionVerbose,
            {
                "text": "Hello.",
                "language": "english",
                "duration": 8.470000267028809,
                "usage": {"type": "duration", "seconds": 9.0},
            },
        ),
        model="whisper-1", named=False, source="openai.types.audio.TranscriptionVerbose",
        components={"input_audio_duration": 9_000_000},
    )  # fmt: skip


# ---- Anthropic ----------------------------------------------------------------------------------

ANTHROPIC = (
    "anthropic.types.Usage: input_tokens, cache_creation_input_tokens and "
    "cache_read_input_tokens sum to the input; "
    "https://docs.claude.com/en/docs/build-with-claude/prompt-caching"
)


def _message_data(usage: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "Hello."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    return data | more


def _message(usage: Mapping[str, Any], **more: Any) -> Any:
    from anthropic.types import Message

    return made(Message, _message_data(usage, **more))


def _beta_message(usage: Mapping[str, Any], **more: Any) -> Any:
    from anthropic.types.beta import BetaMessage

    return made(BetaMessage, _message_data(usage, **more))


def _compacted() -> Any:
    unused = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    rounds = [
        {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500} | unused,
        {"type": "message", "input_tokens": 23_000, "output_tokens": 1000} | unused,
    ]
    return _beta_message({"input_tokens": 23_000, "output_tokens": 1000, "iterations": rounds})


def _advised() -> Any:
    unused = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    rounds = [
        {"type": "message", "input_tokens": 412, "output_tokens": 531} | unused,
        {
            "type": "advisor_message",
            "model": "claude-opus-4-6",
            "input_tokens": 823,
            "output_tokens": 1612,
        }
        | unused,
    ]
    return _beta_message({"input_tokens": 412, "output_tokens": 531, "iterations": rounds})


def anthropic() -> None:
    from anthropic.types import (
        RawContentBlockDeltaEvent,
        RawContentBlockStartEvent,
        RawContentBlockStopEvent,
        RawMessageDeltaEvent,
        RawMessageStartEvent,
        RawMessageStopEvent,
    )

    both = {"pydantic_ai": read.pydantic_anthropic, "litellm": read.litellm_anthropic}
    model = "claude-sonnet-4-5-20250929"
    case(
        "anthropic: input and output",
        _message({"input_tokens": 25, "output_tokens": 150}),
        model=model, totals=both, source=ANTHROPIC, components={"input": 25, "output": 150},
    )  # fmt: skip
    case(
        "anthropic: what the caches have is told as none, the standard tier",
        _message(
            {
                "input_tokens": 25,
                "output_tokens": 150,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
                "service_tier": "standard",
                "inference_geo": "global",
                "speed": "standard",
            }
        ),
        model=model, totals=both, source=ANTHROPIC, components={"input": 25, "output": 150},
    )  # fmt: skip
    case(
        "anthropic: written for five minutes and for an hour, beside the input",
        _message(
            {
                "input_tokens": 2048,
                "output_tokens": 503,
                "cache_read_input_tokens": 1800,
                "cache_creation_input_tokens": 248,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 148,
                    "ephemeral_1h_input_tokens": 100,
                },
            }
        ),
        model=model, totals=both, source=ANTHROPIC + "#1-hour-cache-duration",
        components={
            "input": 2048, "cached_read": 1800, "cache_write": 148, "cache_write_1h": 100,
            "output": 503,
        },
    )  # fmt: skip
    case(
        "anthropic: written for an hour alone: 10,000, not 18,000",
        _message(
            {
                "input_tokens": 3,
                "output_tokens": 1,
                "cache_read_input_tokens": 0,
                "cache_creation_input_tokens": 10_000,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 0,
                    "ephemeral_1h_input_tokens": 10_000,
                },
            }
        ),
        model=model, totals=both, source=ANTHROPIC + "#1-hour-cache-duration",
        components={"input": 3, "cache_write_1h": 10_000, "output": 1},
    )  # fmt: skip
    case(
        "anthropic: written to the cache, the lifetime not told",
        _message(
            {
                "input_tokens": 3,
                "output_tokens": 1,
                "cache_read_input_tokens": None,
                "cache_creation_input_tokens": 10_000,
                "cache_creation": None,
            }
        ),
        model=model, totals=both, source=ANTHROPIC,
        components={"input": 3, "cache_write": 10_000, "output": 1},
    )  # fmt: skip
    case(
        "anthropic: more is written than the lifetimes say",
        _message(
            {
                "input_tokens": 3,
                "output_tokens": 1,
                "cache_creation_input_tokens": 450,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 100,
                    "ephemeral_1h_input_tokens": 200,
                },
            }
        ),
        model=model, totals=both,
        source="anthropic.types.MessageDeltaUsage has the cumulative total, without lifetimes",
        components={"input": 3, "cache_write": 250, "cache_write_1h": 200, "output": 1},
    )  # fmt: skip
    case(
        "anthropic: thinking lies inside the output; a batch",
        _message(
            {
                "input_tokens": 1000,
                "output_tokens": 1500,
                "output_tokens_details": {"thinking_tokens": 1100},
                "service_tier": "batch",
            }
        ),
        model=model, totals=both,
        source="anthropic.types.OutputTokensDetails: always at most output_tokens",
        components={"input": 1000, "output": 400, "reasoning": 1100},
        facts={"service_tier": "batch"},
    )  # fmt: skip
    case(
        "anthropic: priority, fast, in the United States",
        _message(
            {
                "input_tokens": 10,
                "output_tokens": 5,
                "service_tier": "priority",
                "inference_geo": "us",
                "speed": "fast",
            }
        ),
        model=model, totals=both, source="anthropic.types.Usage",
        components={"input": 10, "output": 5},
        facts={"service_tier": "priority", "region": "us", "speed": "fast"},
    )  # fmt: skip
    case(
        "anthropic: a geography that is not available is none",
        _message(
            {
                "input_tokens": 10,
                "output_tokens": 5,
                "service_tier": "standard",
                "inference_geo": "not_available",
            }
        ),
        model=model, totals=both,
        source="anthropic.types.beta.organization.BetaAnalyticsInferenceGeoFilter: "
        "global, us, not_available",
        components={"input": 10, "output": 5},
    )  # fmt: skip
    case(
        "anthropic: searches of the web have a fee; fetches are told under a name of their own",
        _message(
            {
                "input_tokens": 105,
                "output_tokens": 6039,
                "cache_read_input_tokens": 7123,
                "cache_creation_input_tokens": 7345,
                "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 2},
            },
            content=[
                {
                    "type": "server_tool_use",
                    "id": f"srvtoolu_{number}",
                    "name": "web_search",
                    "input": {"query": "a"},
                }
                for number in (1, 2, 3)
            ],
        ),
        model=model, totals=both,
        source="https://docs.claude.com/en/docs/agents-and-tools/tool-use/web-search-tool"
        "#usage-and-pricing",
        components={
            "input": 105, "cached_read": 7123, "cache_write": 7345, "output": 6039,
            "web_searches": 3,
        },
        may=["web_fetch_requests"],
    )  # fmt: skip
    case(
        "anthropic: a compaction is beside the totals at the top",
        _beta_message(
            {
                "input_tokens": 23_000,
                "output_tokens": 1000,
                "iterations": [
                    {
                        "type": "compaction",
                        "input_tokens": 180_000,
                        "output_tokens": 3500,
                        "cache_creation_input_tokens": 0,
                        "cache_read_input_tokens": 0,
                    },
                    {
                        "type": "message",
                        "input_tokens": 23_000,
                        "output_tokens": 1000,
                        "cache_creation_input_tokens": 0,
                        "cache_read_input_tokens": 0,
                    },
                ],
            }
        ),
        model=model, totals=both,
        source="https://docs.claude.com/en/docs/build-with-claude/compaction#understanding-usage",
        components={"input": 203_000, "output": 4500},
    )  # fmt: skip
    case(
        "anthropic: a compaction reads from the cache and writes to it for an hour",
        _beta_message(
            {
                "input_tokens": 100,
                "output_tokens": 10,
                "cache_read_input_tokens": 2000,
                "cache_creation_input_tokens": 300,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 300,
                    "ephemeral_1h_input_tokens": 0,
                },
                "iterations": [
                    {
                        "type": "compaction",
                        "input_tokens": 50,
                        "output_tokens": 700,
                        "cache_creation_input_tokens": 4000,
                        "cache_read_input_tokens": 90_000,
                        "cache_creation": {
                            "ephemeral_5m_input_tokens": 0,
                            "ephemeral_1h_input_tokens": 4000,
                        },
                    },
                    {
                        "type": "message",
                        "input_tokens": 100,
                        "output_tokens": 10,
                        "cache_creation_input_tokens": 300,
                        "cache_read_input_tokens": 2000,
                        "cache_creation": {
                            "ephemeral_5m_input_tokens": 300,
                            "ephemeral_1h_input_tokens": 0,
                        },
                    },
                ],
            }
        ),
        model=model, totals=both,
        source="https://docs.claude.com/en/docs/build-with-claude/compaction#understanding-usage",
        components={
            "input": 150, "cached_read": 92_000, "cache_write": 300, "cache_write_1h": 4000,
            "output": 710,
        },
    )  # fmt: skip
    case(
        "anthropic: turns of a loop of tools are in the totals at the top already",
        _beta_message(
            {
                "input_tokens": 300,
                "output_tokens": 30,
                "iterations": [
                    {
                        "type": "message",
                        "input_tokens": given,
                        "output_tokens": 10,
                        "cache_creation_input_tokens": 0,
                        "cache_read_input_tokens": 0,
                    }
                    for given in (50, 100, 150)
                ],
            }
        ),
        model=model, totals=both, source="anthropic.types.beta.BetaUsage.iterations",
        components={"input": 300, "output": 30},
    )  # fmt: skip
    case(
        "anthropic: an advisor's tokens are another model's, and seen",
        _beta_message(
            {
                "input_tokens": 412,
                "output_tokens": 531,
                "iterations": [
                    {
                        "type": "message",
                        "input_tokens": 412,
                        "output_tokens": 531,
                        "cache_creation_input_tokens": 0,
                        "cache_read_input_tokens": 0,
                    },
                    {
                        "type": "advisor_message",
                        "model": "claude-opus-4-6",
                        "input_tokens": 823,
                        "output_tokens": 1612,
                        "cache_creation_input_tokens": 0,
                        "cache_read_input_tokens": 0,
                    },
                ],
            }
        ),
        model=model, totals=both, apart={
            "litellm": "LiteLLM adds the advisor's tokens to the model's, whose price they have not"
        },
        source="https://docs.claude.com/en/docs/agents-and-tools/tool-use/advisor-tool",
        components={"input": 412, "output": 531}, unknown={"advisor_message": None},
    )  # fmt: skip

    def start(usage: Mapping[str, Any]) -> Any:
        return made(
            RawMessageStartEvent,
            {
                "type": "message_start",
                "message": _message_data(usage, content=[], stop_reason=None),
            },
        )

    def delta(usage: Mapping[str, Any]) -> Any:
        return made(
            RawMessageDeltaEvent,
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": usage,
            },
        )

    text = [
        made(
            RawContentBlockStartEvent,
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
        ),
        made(
            RawContentBlockDeltaEvent,
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "Hello."},
            },
        ),
        made(RawContentBlockStopEvent, {"type": "content_block_stop", "index": 0}),
    ]
    stop = made(RawMessageStopEvent, {"type": "message_stop"})
    streaming = "https://docs.claude.com/en/docs/build-with-claude/streaming"
    begun, ended = {"input": 25, "output": 1}, {"input": 25, "output": 15}
    case(
        "anthropic: a stream; the usage of a delta is cumulative",
        _message({"input_tokens": 25, "output_tokens": 15}),
        model=model, totals=both, components=ended,
        source=streaming + ": the counts of message_delta are cumulative",
        events=[
            (start({"input_tokens": 25, "output_tokens": 1}), After(begun)),
            *[(each, After(begun)) for each in text],
            (delta({"output_tokens": 15}), After(ended)),
            (stop, After(ended)),
        ],
    )  # fmt: skip
    first = {
        "input_tokens": 2048,
        "output_tokens": 3,
        "cache_read_input_tokens": 1800,
        "cache_creation_input_tokens": 248,
        "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
        "service_tier": "priority",
    }
    cached = {"input": 2048, "cached_read": 1800, "cache_write": 148, "cache_write_1h": 100}
    priority = {"service_tier": "priority"}
    case(
        "anthropic: a stream; lifetimes and tier are told at its start alone",
        _message(first | {"output_tokens": 503}),
        model=model, totals=both, components=cached | {"output": 503}, facts=priority,
        source=streaming,
        events=[
            (start(first), After(cached | {"output": 3}, priority)),
            *[(each, After(cached | {"output": 3}, priority)) for each in text],
            (
                delta(
                    {
                        "input_tokens": 2048,
                        "output_tokens": 503,
                        "cache_read_input_tokens": 1800,
                        "cache_creation_input_tokens": 248,
                    }
                ),
                After(cached | {"output": 503}, priority),
            ),
            (stop, After(cached | {"output": 503}, priority)),
        ],
    )  # fmt: skip
    before = {"input": 2679, "output": 3}
    after = {"input": 10_682, "output": 110, "reasoning": 400, "web_searches": 1}
    case(
        "anthropic: a stream; searches make the input grow",
        _message(
            {
                "input_tokens": 10_682,
                "output_tokens": 510,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
                "output_tokens_details": {"thinking_tokens": 400},
            }
        ),
        model=model, totals=both, components=after,
        source=streaming + "#streaming-request-with-web-search-tool-use",
        events=[
            (
                start(
                    {
                        "input_tokens": 2679,
                        "output_tokens": 3,
                        "cache_creation_input_tokens": 0,
                        "cache_read_input_tokens": 0,
                    }
                ),
                After(before),
            ),
            *[(each, After(before)) for each in text],
            (
                delta(
                    {
                        "input_tokens": 10_682,
                        "output_tokens": 510,
                        "cache_creation_input_tokens": 0,
                        "cache_read_input_tokens": 0,
                        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
                        "output_tokens_details": {"thinking_tokens": 400},
                    }
                ),
                After(after),
            ),
            (stop, After(after)),
        ],
    )  # fmt: skip
    from anthropic.types.beta import BetaRawMessageDeltaEvent, BetaRawMessageStartEvent

    unused = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    rounds = [
        {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500} | unused,
        {"type": "message", "input_tokens": 23_000, "output_tokens": 1000} | unused,
    ]
    compacted = {"input": 203_000, "output": 4500}
    case(
        "anthropic: a stream; its end tells of a compaction",
        _beta_message({"input_tokens": 23_000, "output_tokens": 1000, "iterations": rounds}),
        model=model, totals=both, components=compacted,
        source="anthropic.types.beta.BetaMessageDeltaUsage.iterations",
        events=[
            (
                made(
                    BetaRawMessageStartEvent,
                    {
                        "type": "message_start",
                        "message": _message_data(
                            {"input_tokens": 23_000, "output_tokens": 1}, content=[],
                            stop_reason=None,
                        ),
                    },
                ),
                After({"input": 23_000, "output": 1}),
            ),
            (
                made(
                    BetaRawMessageDeltaEvent,
                    {
                        "type": "message_delta",
                        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                        "usage": {
                            "input_tokens": 23_000,
                            "output_tokens": 1000,
                            "iterations": rounds,
                        },
                    },
                ),
                After(compacted),
            ),
            (stop, After(compacted)),
        ],
    )  # fmt: skip


# ---- Gemini -------------------------------------------------------------------------------------

GEMINI = (
    "google.genai.types.GenerateContentResponseUsageMetadata: the total is the sum of prompt, "
    "candidates, tool-use prompt and thoughts; the prompt includes the cached content"
)


def _counts(**modalities: int) -> list[dict[str, Any]]:
    return [
        {"modality": name.upper(), "token_count": count}
        for name, count in modalities.items()  # in the order given
    ]


def _generated(usage: Mapping[str, Any] | None, **more: Any) -> Any:
    from google.genai.types import GenerateContentResponse

    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": [{"text": "Hello."}]},
        "finish_reason": "STOP",
        "index": 0,
    }
    if "grounding_metadata" in more:
        candidate["grounding_metadata"] = more.pop("grounding_metadata")
    data: dict[str, Any] = {
        "candidates": [candidate],
        "model_version": "gemini-2.5-flash",
        "response_id": "r1",
        "usage_metadata": usage,
    }
    return made(GenerateContentResponse, data | more)


def gemini() -> None:
    from google.genai.types import LiveServerMessage

    both = {"pydantic_ai": read.pydantic_google, "litellm": read.litellm_google}
    model = "gemini-2.5-flash"
    case(
        "gemini: prompt and candidates",
        _generated(
            {"prompt_token_count": 10, "candidates_token_count": 20, "total_token_count": 30}
        ),
        model=model, totals=both, source=GEMINI, components={"input": 10, "output": 20},
    )  # fmt: skip
    case(
        "gemini: thoughts lie beside the candidates",
        _generated(
            {
                "prompt_token_count": 10,
                "prompt_tokens_details": _counts(text=10),
                "candidates_token_count": 100,
                "thoughts_token_count": 900,
                "total_token_count": 1010,
                "traffic_type": "ON_DEMAND",
            }
        ),
        model=model, totals=both, source=GEMINI,
        components={"input": 10, "output": 100, "reasoning": 900},
    )  # fmt: skip
    case(
        "gemini: each modality in the prompt, in the cache and in the candidates",
        _generated(
            {
                "prompt_token_count": 10_000,
                "prompt_tokens_details": _counts(text=1000, image=2580, video=5260, audio=1160),
                "cached_content_token_count": 4000,
                "cache_tokens_details": _counts(text=500, image=1290, video=1710, audio=500),
                "candidates_token_count": 1500,
                "candidates_tokens_details": _counts(text=210, image=1290),
                "thoughts_token_count": 77,
                "total_token_count": 11_577,
            }
        ),
        model=model, totals=both, source=GEMINI,
        components={
            "input": 500, "input_image": 1290, "input_video": 3550, "input_audio": 660,
            "cached_read": 500, "cached_read_image": 1290, "cached_read_video": 1710,
            "cached_read_audio": 500, "output": 210, "output_image": 1290, "reasoning": 77,
        },
    )  # fmt: skip
    case(
        "gemini: of which modality the cached tokens are is not told",
        _generated(
            {
                "prompt_token_count": 5000,
                "prompt_tokens_details": _counts(text=5000),
                "cached_content_token_count": 4096,
                "candidates_token_count": 7,
                "total_token_count": 5007,
            }
        ),
        model=model, totals=both, source=GEMINI,
        components={"input": 904, "cached_read": 4096, "output": 7},
    )  # fmt: skip
    case(
        "gemini: results of tools lie beside the prompt",
        _generated(
            {
                "prompt_token_count": 50,
                "prompt_tokens_details": _counts(text=50),
                "tool_use_prompt_token_count": 3000,
                "tool_use_prompt_tokens_details": _counts(text=3000),
                "candidates_token_count": 100,
                "thoughts_token_count": 60,
                "total_token_count": 3210,
            }
        ),
        model=model, totals=both, source=GEMINI,
        components={"input": 3050, "output": 100, "reasoning": 60},
    )  # fmt: skip
    case(
        "gemini: results of tools with images among them",
        _generated(
            {
                "prompt_token_count": 50,
                "prompt_tokens_details": _counts(text=50),
                "tool_use_prompt_token_count": 3000,
                "tool_use_prompt_tokens_details": _counts(text=1710, image=1290),
                "candidates_token_count": 100,
                "total_token_count": 3150,
            }
        ),
        model=model, totals=both, source=GEMINI,
        components={"input": 1760, "input_image": 1290, "output": 100},
    )  # fmt: skip
    case(
        "gemini: a modality that is not specified is text",
        _generated(
            {
                "prompt_token_count": 50,
                "prompt_tokens_details": _counts(modality_unspecified=20, audio=30),
                "candidates_token_count": 1,
                "total_token_count": 51,
            }
        ),
        model=model, totals=both, source="google.genai.types.MediaModality",
        components={"input": 20, "input_audio": 30, "output": 1},
    )  # fmt: skip
    case(
        "gemini: the details of the prompt leave some of it out",
        _generated(
            {
                "prompt_token_count": 100,
                "prompt_tokens_details": _counts(audio=30),
                "candidates_token_count": 1,
                "total_token_count": 101,
            }
        ),
        model=model, totals=both, source=GEMINI,
        components={"input": 70, "input_audio": 30, "output": 1},
    )  # fmt: skip
    case(
        "gemini: the prompt was refused: no candidate, no count of any",
        _generated({"prompt_token_count": 12, "total_token_count": 12}, candidates=None),
        model=model, totals=both, source=GEMINI, components={"input": 12},
    )  # fmt: skip
    case(
        "gemini: speech",
        _generated(
            {
                "prompt_token_count": 12,
                "prompt_tokens_details": _counts(text=12),
                "candidates_token_count": 300,
                "candidates_tokens_details": _counts(audio=300),
                "total_token_count": 312,
            },
            model_version="gemini-2.5-flash-preview-tts",
        ),
        model="gemini-2.5-flash-preview-tts", totals=both, source=GEMINI,
        components={"input": 12, "output_audio": 300},
    )  # fmt: skip
    for traffic, tier in (("ON_DEMAND_PRIORITY", "priority"), ("ON_DEMAND_FLEX", "flex")):
        case(
            f"gemini: traffic {traffic}",
            _generated(
                {
                    "prompt_token_count": 10,
                    "candidates_token_count": 20,
                    "total_token_count": 30,
                    "traffic_type": traffic,
                }
            ),
            model=model, totals=both, source="google.genai.types.TrafficType",
            components={"input": 10, "output": 20}, facts={"service_tier": tier},
        )  # fmt: skip
    web = [
        {"web": {"uri": "https://example.com/a", "title": "A"}},
        {"web": {"uri": "https://example.com/b", "title": "B"}},
    ]
    used = {"prompt_token_count": 10, "candidates_token_count": 20, "total_token_count": 30}
    grounding = "https://ai.google.dev/gemini-api/docs/google-search#pricing"
    case(
        "gemini: Gemini 2.5 has one fee for a grounded prompt, however many queries",
        _generated(
            used, grounding_metadata={"web_search_queries": ["a", "b"], "grounding_chunks": web}
        ),
        model=model, totals=both, source=grounding,
        components={"input": 10, "output": 20, "web_searches": 1},
    )  # fmt: skip
    case(
        "gemini: Gemini 3 has a fee for each different query that is not empty",
        _generated(
            used,
            grounding_metadata={
                "web_search_queries": ["a", "b", "a", ""],
                "grounding_chunks": web,
            },
            model_version="gemini-3-pro-preview",
        ),
        model="gemini-3-pro-preview", totals=both, source=grounding,
        components={"input": 10, "output": 20, "web_searches": 2},
    )  # fmt: skip
    case(
        "gemini: grounded by maps",
        _generated(
            used,
            grounding_metadata={
                "grounding_chunks": [
                    {"maps": {"uri": "https://maps.google.com/?cid=1", "title": "A"}},
                    {"maps": {"uri": "https://maps.google.com/?cid=2", "title": "B"}},
                ]
            },
        ),
        model=model, totals=both,
        source="https://ai.google.dev/gemini-api/docs/maps-grounding#pricing: per grounded prompt",
        components={"input": 10, "output": 20, "map_searches": 1},
    )  # fmt: skip

    live = made(
        LiveServerMessage,
        {
            "usage_metadata": {
                "prompt_token_count": 100,
                "prompt_tokens_details": _counts(text=20, audio=80),
                "cached_content_token_count": 30,
                "cache_tokens_details": _counts(audio=30),
                "response_token_count": 60,
                "response_tokens_details": _counts(audio=60),
                "thoughts_token_count": 5,
                "total_token_count": 165,
                "service_tier": "priority",
            }
        },
    )
    spoken = {
        "input": 20, "input_audio": 50, "cached_read_audio": 30, "output_audio": 60, "reasoning": 5,
    }  # fmt: skip
    case(
        "gemini: a message of a live session",
        live,
        model="gemini-live-2.5-flash", named=False, components=spoken,
        facts={"service_tier": "priority"}, source="google.genai.types.UsageMetadata",
        events=[(live, After(spoken, {"service_tier": "priority"}))],
    )  # fmt: skip

    def parts(output: int, reasoning: int) -> dict[str, int]:
        return {
            name: count
            for name, count in (
                ("input", 86), ("cached_read", 1920), ("output", output), ("reasoning", reasoning),
            )
            if count
        }  # fmt: skip

    def chunk(output: int | None, thoughts: int) -> Any:
        return _generated(
            {
                "prompt_token_count": 2006,
                "prompt_tokens_details": _counts(text=2006),
                "cached_content_token_count": 1920,
                "cache_tokens_details": _counts(text=1920),
                "candidates_token_count": output,
                "thoughts_token_count": thoughts,
                "total_token_count": 2006 + (output or 0) + thoughts,
            }
        )

    case(
        "gemini: a stream; each chunk tells all so far",
        chunk(108, 192),
        model=model, totals=both, components=parts(108, 192),
        source="https://ai.google.dev/gemini-api/docs/tokens: the last chunk has the final counts",
        events=[
            (chunk(None, 64), After(parts(0, 64))),
            (chunk(5, 192), After(parts(5, 192))),
            (chunk(60, 192), After(parts(60, 192))),
            (chunk(108, 192), After(parts(108, 192))),
        ],
    )  # fmt: skip
    case(
        "gemini: a stream; usage in the last chunk alone",
        chunk(108, 192),
        model=model, totals=both, components=parts(108, 192), source=GEMINI,
        events=[
            (_generated(None), NOTHING),
            (_generated(None), NOTHING),
            (chunk(108, 192), After(parts(108, 192))),
        ],
    )  # fmt: skip


# ---- Bedrock ------------------------------------------------------------------------------------

BEDROCK = (
    "bedrock-runtime's service model (TokenUsage, CacheDetail); "
    "https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html: inputTokens are "
    "those neither read from the cache nor written to it"
)


def bedrock() -> None:
    both = {"pydantic_ai": read.pydantic_bedrock, "litellm": read.litellm_bedrock}
    model = "anthropic.claude-sonnet-4-20250514-v1:0"
    case(
        "bedrock: input and output",
        converse({"usage": {"inputTokens": 30, "outputTokens": 628, "totalTokens": 658}}),
        model=model, named=False, totals=both, source=BEDROCK,
        components={"input": 30, "output": 628},
    )  # fmt: skip
    case(
        "bedrock: the caches told as unused, the default tier",
        converse(
            {
                "usage": {
                    "inputTokens": 30,
                    "outputTokens": 628,
                    "totalTokens": 658,
                    "cacheReadInputTokens": 0,
                    "cacheWriteInputTokens": 0,
                    "cacheDetails": [],
                },
                "serviceTier": {"type": "default"},
            }
        ),
        model=model, named=False, totals=both, source=BEDROCK,
        components={"input": 30, "output": 628},
    )  # fmt: skip
    cached = {
        "inputTokens": 4,
        "outputTokens": 50,
        "totalTokens": 1554,
        "cacheReadInputTokens": 1000,
        "cacheWriteInputTokens": 500,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 300}, {"ttl": "5m", "inputTokens": 200}],
    }
    parts = {
        "input": 4, "cached_read": 1000, "cache_write": 200, "cache_write_1h": 300, "output": 50,
    }  # fmt: skip
    case(
        "bedrock: written for five minutes and an hour, priority; whole and streamed",
        converse({"usage": cached, "serviceTier": {"type": "priority"}}),
        model=model, named=False, totals=both, source=BEDROCK, components=parts,
        facts={"service_tier": "priority"},
        events=[
            (converse_event({"messageStart": {"role": "assistant"}}), NOTHING),
            (
                converse_event(
                    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello."}}}
                ),
                NOTHING,
            ),
            (converse_event({"contentBlockStop": {"contentBlockIndex": 0}}), NOTHING),
            (converse_event({"messageStop": {"stopReason": "end_turn"}}), NOTHING),
            (
                converse_event(
                    {
                        "metadata": {
                            "usage": cached,
                            "metrics": {"latencyMs": 812},
                            "serviceTier": {"type": "priority"},
                        }
                    }
                ),
                After(parts, {"service_tier": "priority"}),
            ),
        ],
    )  # fmt: skip
    case(
        "bedrock: written to the cache, the lifetime not told",
        converse(
            {
                "usage": {
                    "inputTokens": 4,
                    "outputTokens": 50,
                    "totalTokens": 554,
                    "cacheWriteInputTokens": 500,
                },
                "serviceTier": {"type": "flex"},
            }
        ),
        model=model, named=False, totals=both, source=BEDROCK,
        components={"input": 4, "cache_write": 500, "output": 50},
        facts={"service_tier": "flex"},
    )  # fmt: skip
    case(
        "bedrock: the lifetimes leave some of what was written out",
        converse(
            {
                "usage": {
                    "inputTokens": 4,
                    "outputTokens": 50,
                    "totalTokens": 554,
                    "cacheWriteInputTokens": 500,
                    "cacheDetails": [{"ttl": "1h", "inputTokens": 300}],
                }
            }
        ),
        model=model, named=False, totals=both, source=BEDROCK,
        components={"input": 4, "cache_write": 200, "cache_write_1h": 300, "output": 50},
    )  # fmt: skip


# ---- Mistral ------------------------------------------------------------------------------------


def mistral() -> None:
    from mistralai.client.models import (
        ChatCompletionResponse,
        CompletionEvent,
        EmbeddingResponse,
        OCRResponse,
        TranscriptionResponse,
    )

    both = {"pydantic_ai": read.pydantic_mistral, "litellm": read.litellm_chat}
    model = "mistral-large-latest"
    usage_info = "mistralai.client.models.UsageInfo"

    def answered(usage: Mapping[str, Any]) -> Any:
        return made(
            ChatCompletionResponse,
            {
                "id": "cmpl-1",
                "object": "chat.completion",
                "created": 1_790_000_000,
                "model": model,
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": "Hello."},
                    }
                ],
                "usage": usage,
            },
        )

    def event(content: str, usage: Mapping[str, Any] | None = None) -> Any:
        data: dict[str, Any] = {
            "id": "cmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_790_000_000,
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": content},
                    "finish_reason": "stop" if usage else None,
                }
            ],
        }
        return made(CompletionEvent, {"data": data | ({"usage": usage} if usage else {})})

    plain = {"prompt_tokens": 16, "completion_tokens": 34, "total_tokens": 50}
    parts = {"input": 16, "output": 34}
    case(
        "mistral: input and output; whole and streamed",
        answered(plain),
        model=model, totals=both, components=parts, source=usage_info,
        events=[
            (event(""), NOTHING),
            (event("Hel"), NOTHING),
            (event("lo.", plain), After(parts)),
        ],
    )  # fmt: skip
    case(
        "mistral: the tier that processed it",
        answered(plain | {"service_tier": "priority", "prompt_audio_seconds": None}),
        model=model, totals=both, components=parts, source=usage_info,
        facts={"service_tier": "priority"},
    )  # fmt: skip
    case(
        "mistral: seconds of audio, which no token is for",
        made(
            TranscriptionResponse,
            {
                "model": "voxtral-mini-2507",
                "text": "Hello.",
                "language": None,
                "usage": {
                    "prompt_audio_seconds": 203,
                    "prompt_tokens": 4,
                    "total_tokens": 3264,
                    "completion_tokens": 635,
                },
            },
        ),
        model="voxtral-mini-2507", source="https://docs.mistral.ai/capabilities/audio: its example",
        components={"input": 4, "input_audio_duration": 203_000_000, "output": 635},
    )  # fmt: skip
    case(
        "mistral: embeddings",
        made(
            EmbeddingResponse,
            {
                "id": "emb-1",
                "object": "list",
                "model": "mistral-embed",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.25]}],
                "usage": {"prompt_tokens": 15, "completion_tokens": 0, "total_tokens": 15},
            },
        ),
        model="mistral-embed", source=usage_info, components={"input": 15},
    )  # fmt: skip
    case(
        "mistral: pages that were read",
        made(
            OCRResponse,
            {
                "model": "mistral-ocr-2505",
                "pages": [],
                "usage_info": {"pages_processed": 3, "doc_size_bytes": 60_592},
            },
        ),
        model="mistral-ocr-2505", source="mistralai.client.models.OCRUsageInfo",
        components={"pages": 3}, may=["doc_size_bytes"],
    )  # fmt: skip


# ---- xAI ----------------------------------------------------------------------------------------

XAI = (
    "https://github.com/xai-org/xai-proto: usage.proto; https://docs.x.ai/docs/key-information/"
    "consumption-and-rate-limits: reasoning tokens are counted separately from completion_tokens"
)


def xai() -> None:
    from xai_sdk.proto import chat_pb2, usage_pb2

    model = "grok-4"
    tools = {
        name.removeprefix("SERVER_SIDE_TOOL_").lower(): number
        for name, number in usage_pb2.ServerSideTool.items()
    }

    def answered(usage: dict[str, Any], **more: Any) -> Any:
        return chat_pb2.GetChatCompletionResponse(
            id="1", model=model, usage=usage_pb2.SamplingUsage(**usage), **more
        )

    def chunk(text: str, usage: dict[str, Any], **more: Any) -> Any:
        return chat_pb2.GetChatCompletionChunk(
            id="1", model=model, usage=usage_pb2.SamplingUsage(**usage),
            outputs=[chat_pb2.CompletionOutputChunk(delta=chat_pb2.Delta(content=text))], **more,
        )  # fmt: skip

    ours = {"pydantic_ai": read.pydantic_xai}
    plain = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "reasoning_tokens": 94,
        "total_tokens": 135,
        "prompt_text_tokens": 32,
    }
    case(
        "xai: reasoning lies beside the completion",
        answered(plain),
        model=model, totals=ours, source=XAI, provider="xai",
        components={"input": 32, "output": 9, "reasoning": 94},
    )  # fmt: skip
    for text_tokens, told in ((900, "with the cached"), (260, "without the cached")):
        case(
            f"xai: cached text and an image; the text is told {told}",
            answered(
                {
                    "prompt_tokens": 1156,
                    "prompt_text_tokens": text_tokens,
                    "cached_prompt_text_tokens": 640,
                    "prompt_image_tokens": 256,
                    "completion_tokens": 40,
                    "total_tokens": 1196,
                },
                service_tier=usage_pb2.SERVICE_TIER_PRIORITY,
            ),
            model=model, totals=ours, provider="xai",
            source=XAI + ": prompt_tokens are all of the prompt, text and images",
            components={"input": 260, "cached_read": 640, "input_image": 256, "output": 40},
            facts={"service_tier": "priority"},
        )  # fmt: skip
    case(
        "xai: tools that ran at xAI",
        answered(
            plain
            | {
                "server_side_tools_used": [
                    tools["web_search"], tools["x_search"], tools["web_search"],
                    tools["code_execution"], tools["collections_search"],
                ],
            },
            service_tier=usage_pb2.SERVICE_TIER_DEFAULT,
        ),
        model=model, totals=ours, provider="xai",
        source=XAI + "; https://docs.x.ai/docs/models#tools-pricing",
        components={
            "input": 32, "output": 9, "reasoning": 94, "web_searches": 2, "social_searches": 1,
            "code_executions": 1, "file_searches": 1,
        },
    )  # fmt: skip

    case(
        "xai: what it all cost, in 64 bits",
        answered(plain | {"cost_in_usd_ticks": 123_456_780}),
        model=model, totals=ours, provider="xai",
        source=XAI + "; 1 tick is 10⁻¹⁰ USD; https://protobuf.dev/programming-guides/json: an "
        "int64 is a string",
        components={"input": 32, "output": 9, "reasoning": 94, "provider_cost": 12_345_678},
    )  # fmt: skip

    def so_far(output: int, reasoning: int) -> dict[str, Any]:
        return {
            "prompt_tokens": 2006,
            "prompt_text_tokens": 2006,
            "cached_prompt_text_tokens": 1920,
            "completion_tokens": output,
            "reasoning_tokens": reasoning,
            "total_tokens": 2006 + output + reasoning,
        }

    def parts(output: int, reasoning: int) -> dict[str, int]:
        found = {"input": 86, "cached_read": 1920, "reasoning": reasoning}
        return found | ({"output": output} if output else {})

    case(
        "xai: a stream; each chunk tells all so far",
        answered(so_far(108, 192)),
        model=model, totals=ours, provider="xai", source="xai_sdk.chat.Response.process_chunk",
        components=parts(108, 192),
        events=[
            (chunk("", so_far(0, 64)), After(parts(0, 64))),
            (chunk("Hel", so_far(1, 192)), After(parts(1, 192))),
            (chunk("lo.", so_far(108, 192)), After(parts(108, 192))),
        ],
    )  # fmt: skip
    case(
        "xai: as OpenAI's chat completions, reasoning beside the completion",
        _chat(
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "prompt_tokens_details": {
                    "text_tokens": 32,
                    "audio_tokens": 0,
                    "image_tokens": 0,
                    "cached_tokens": 6,
                },
                "completion_tokens_details": {
                    "reasoning_tokens": 94,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            model=model,
        ),
        model=model, provider="xai", totals={"litellm": read.litellm_xai}, source=XAI,
        components={"input": 26, "cached_read": 6, "output": 9, "reasoning": 94},
    )  # fmt: skip
    case(
        "xai: as OpenAI's responses, reasoning inside the output",
        _response(_used(125, 48, cached=98, reasoning=30), model=model),
        model=model, provider="xai",
        source="https://docs.x.ai/developers/advanced-api-usage/prompt-caching/usage-and-pricing",
        components={"input": 27, "cached_read": 98, "output": 18, "reasoning": 30},
    )  # fmt: skip


# ---- Cohere -------------------------------------------------------------------------------------


def cohere() -> None:
    from cohere.types import EmbedByTypeResponse
    from cohere.v2.types import V2ChatResponse, V2RerankResponse
    from cohere.v2.types.v2chat_stream_response import (
        ContentDeltaV2ChatStreamResponse,
        MessageEndV2ChatStreamResponse,
        MessageStartV2ChatStreamResponse,
    )

    def answered(usage: Mapping[str, Any]) -> Any:
        return made(
            V2ChatResponse,
            {
                "id": "1",
                "finish_reason": "COMPLETE",
                "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
                "usage": usage,
            },
        )

    pricing = (
        "https://docs.cohere.com/docs/how-does-cohere-pricing-work: billed units are what one is "
        "billed for; the tokens that Cohere adds are not"
    )
    billed = {
        "billed_units": {"input_tokens": 6772.0, "output_tokens": 248.0},
        "tokens": {"input_tokens": 7596.0, "output_tokens": 645.0},
    }
    parts = {"input": 6772, "output": 248}
    case(
        "cohere: what is billed, not what was read; whole and streamed",
        answered(billed),
        model="command-a-03-2025", named=False, components=parts, source=pricing,
        totals={"pydantic_ai": read.pydantic_cohere},
        apart=COHERE_APART,
        events=[
            (made(MessageStartV2ChatStreamResponse, {"type": "message-start", "id": "1"}), NOTHING),
            (
                made(
                    ContentDeltaV2ChatStreamResponse,
                    {
                        "type": "content-delta",
                        "index": 0,
                        "delta": {"message": {"content": {"text": "Hello."}}},
                    },
                ),
                NOTHING,
            ),
            (
                made(
                    MessageEndV2ChatStreamResponse,
                    {
                        "type": "message-end",
                        "delta": {"finish_reason": "COMPLETE", "usage": billed},
                    },
                ),
                After(parts),
            ),
        ],
    )  # fmt: skip
    case(
        "cohere: units that are not told",
        answered(
            {
                "billed_units": {
                    "input_tokens": 11.0,
                    "output_tokens": 5.0,
                    "search_units": None,
                    "classifications": None,
                },
                "tokens": {"input_tokens": 11.0, "output_tokens": 5.0},
                "cached_tokens": 0.0,
            }
        ),
        model="command-a-03-2025", named=False, components={"input": 11, "output": 5},
        source=pricing, totals={"pydantic_ai": read.pydantic_cohere},
    )  # fmt: skip
    case(
        "cohere: searches of a rerank",
        made(
            V2RerankResponse,
            {
                "id": "1",
                "results": [{"index": 3, "relevance_score": 0.99}],
                "meta": {
                    "api_version": {"version": "2", "is_experimental": False},
                    "billed_units": {"search_units": 2.0},
                },
            },
        ),
        model="rerank-v3.5", named=False, components={"rerank_searches": 2},
        source="cohere.types.ApiMetaBilledUnits: search_units",
    )  # fmt: skip
    case(
        "cohere: embeddings of texts",
        made(
            EmbedByTypeResponse,
            {
                "response_type": "embeddings_by_type",
                "id": "1",
                "embeddings": {"float": [[0.25, -0.5]]},
                "texts": ["hello"],
                "meta": {
                    "api_version": {"version": "2"},
                    "billed_units": {"input_tokens": 2.0},
                },
            },
        ),
        model="embed-v4.0", named=False, components={"input": 2},
        totals={"pydantic_ai": read.pydantic_cohere_embed},
        source="cohere.types.ApiMetaBilledUnits: input_tokens",
    )  # fmt: skip


# ---- OpenRouter ---------------------------------------------------------------------------------


def openrouter() -> None:
    from openrouter.components import ChatResult, ChatStreamChunk

    model = "anthropic/claude-sonnet-4.5"
    both = {"pydantic_ai": read.pydantic_openrouter, "litellm": read.litellm_chat}
    accounting = (
        "openrouter.components.ChatUsage; https://openrouter.ai/docs/use-cases/usage-accounting"
    )
    # How the cost came about, and how often tools were called, are parts of the cost.
    may = ["cost_details", "server_tool_use_details"]

    def answered(usage: Mapping[str, Any], **more: Any) -> Any:
        data: dict[str, Any] = {
            "id": "gen-1",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": model,
            "system_fingerprint": None,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "Hello."},
                }
            ],
            "usage": usage,
        }
        return made(ChatResult, data | more)

    def chunk(content: str, usage: Mapping[str, Any] | None = None) -> Any:
        data: dict[str, Any] = {
            "id": "gen-1",
            "object": "chat.completion.chunk",
            "created": 1_790_000_000,
            "model": model,
            "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}],
        }
        return made(ChatStreamChunk, data | ({"usage": usage} if usage else {}))

    whole = {
        "prompt_tokens": 10_339,
        "completion_tokens": 60,
        "total_tokens": 10_399,
        "prompt_tokens_details": {
            "cached_tokens": 8000,
            "cache_write_tokens": 2000,
            "audio_tokens": 39,
        },
        "completion_tokens_details": {"reasoning_tokens": 50},
        "cost": 0.0137125,
        "cost_details": {
            "upstream_inference_cost": None,
            "upstream_inference_prompt_cost": 0.0128125,
            "upstream_inference_completions_cost": 0.0009,
        },
        "is_byok": False,
    }
    parts = {
        "input": 300, "input_audio": 39, "cached_read": 8000, "cache_write": 2000, "output": 10,
        "reasoning": 50, "provider_cost": 13_712_500,
    }  # fmt: skip
    case(
        "openrouter: cached, written, audio, reasoning and the cost; whole and streamed",
        answered(whole),
        model=model, provider="openrouter", totals=both, source=accounting, components=parts,
        may=may,
        events=[
            (chunk(""), NOTHING),
            (chunk("Hello."), NOTHING),
            (chunk("", whole), After(parts)),
        ],
    )  # fmt: skip
    for cost, nanos in ((0.00014, 140_000), (1.1e-08, 11), (12.345678901, 12_345_678_901)):
        case(
            f"openrouter: a cost of {cost} is exact",
            answered(
                {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "cost": cost}
            ),
            model=model, provider="openrouter", totals=both,
            source=accounting + ": a decimal of credits, of which one is one dollar",
            components={"input": 7, "output": 3, "provider_cost": nanos},
        )  # fmt: skip
    case(
        "openrouter: details told as null, video, searches",
        answered(
            {
                "prompt_tokens": 1000,
                "completion_tokens": 3,
                "total_tokens": 1003,
                "prompt_tokens_details": {"video_tokens": 600},
                "completion_tokens_details": {"reasoning_tokens": None, "audio_tokens": None},
                "cost": 0,
                "cost_details": None,
                "server_tool_use_details": {
                    "tool_calls_requested": 3,
                    "tool_calls_executed": 2,
                    "web_search_requests": 2,
                },
            },
            service_tier="flex",
        ),
        model=model, provider="openrouter", totals=both, may=may,
        source=accounting + "; ServerToolUseDetails: web searches are among the calls",
        components={"input": 400, "input_video": 600, "output": 3, "web_searches": 2},
        facts={"service_tier": "flex"},
    )  # fmt: skip


# ---- LiteLLM's usage ----------------------------------------------------------------------------


def litellm() -> None:
    from litellm import ModelResponse, ModelResponseStream, ResponsesAPIResponse

    source = (
        "litellm.types.utils.Usage: prompt_tokens include what is read from and written to caches"
    )
    kept = {"litellm": lambda usage: usage}
    case(
        "litellm: Anthropic's, with both lifetimes told twice over",
        read.litellm_anthropic(
            _message(
                {
                    "input_tokens": 2048,
                    "output_tokens": 503,
                    "cache_read_input_tokens": 1800,
                    "cache_creation_input_tokens": 248,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 148,
                        "ephemeral_1h_input_tokens": 100,
                    },
                    "output_tokens_details": {"thinking_tokens": 400},
                    "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0},
                }
            )
        ),
        model="claude-sonnet-4-5", named=False, provider="litellm", source=source, totals=kept,
        components={
            "input": 2048, "cached_read": 1800, "cache_write": 148, "cache_write_1h": 100,
            "output": 103, "reasoning": 400, "web_searches": 3,
        },
    )  # fmt: skip
    case(
        "litellm: Bedrock's",
        read.litellm_bedrock(
            converse(
                {
                    "usage": {
                        "inputTokens": 4,
                        "outputTokens": 50,
                        "totalTokens": 1554,
                        "cacheReadInputTokens": 1000,
                        "cacheWriteInputTokens": 500,
                        "cacheDetails": [
                            {"ttl": "1h", "inputTokens": 300},
                            {"ttl": "5m", "inputTokens": 200},
                        ],
                    }
                }
            )
        ),
        model="claude-sonnet-4", named=False, provider="litellm", source=source, totals=kept,
        components={
            "input": 4, "cached_read": 1000, "cache_write": 200, "cache_write_1h": 300,
            "output": 50,
        },
    )  # fmt: skip
    case(
        "litellm: Gemini's, cached audio and images inside the cached, thoughts in the completion",
        read.litellm_google(
            _generated(
                {
                    "prompt_token_count": 4740,
                    "prompt_tokens_details": _counts(text=1000, image=2580, audio=1160),
                    "cached_content_token_count": 2290,
                    "cache_tokens_details": _counts(text=500, image=1290, audio=500),
                    "candidates_token_count": 1500,
                    "candidates_tokens_details": _counts(text=210, image=1290),
                    "thoughts_token_count": 77,
                    "total_token_count": 6317,
                }
            )
        ),
        model="gemini-2.5-flash", named=False, provider="litellm", source=source, totals=kept,
        components={
            "input": 500, "input_image": 1290, "input_audio": 660, "cached_read": 500,
            "cached_read_image": 1290, "cached_read_audio": 500, "output": 210,
            "output_image": 1290, "reasoning": 77,
        },
    )  # fmt: skip
    case(
        "litellm: OpenAI's, written to the cache for 30 minutes and for 12 hours",
        read.litellm_responses(
            _response(
                _used(
                    50_000, 900, cached=20_000, written=25_000, reasoning=100,
                    cache_write_tokens_details={
                        "ttl_30m_tokens": 10_000,
                        "ttl_12h_tokens": 15_000,
                    },
                )
            )
        ),
        model="gpt-5.6", named=False, provider="litellm", source=source, totals=kept,
        components={
            "input": 5000, "cached_read": 20_000, "cache_write": 10_000,
            "cache_write_12h": 15_000, "output": 800, "reasoning": 100,
        },
    )  # fmt: skip
    case(
        "litellm: Gemini's results of tools lie inside the prompt",
        read.litellm_google(
            _generated(
                {
                    "prompt_token_count": 50,
                    "prompt_tokens_details": _counts(text=50),
                    "tool_use_prompt_token_count": 3000,
                    "tool_use_prompt_tokens_details": _counts(text=3000),
                    "candidates_token_count": 100,
                    "thoughts_token_count": 60,
                    "total_token_count": 3210,
                }
            )
        ),
        model="gemini-2.5-flash", named=False, provider="litellm", source=source, totals=kept,
        components={"input": 3050, "output": 100, "reasoning": 60},
    )  # fmt: skip
    case(
        "litellm: Gemini's groundings, as it counts them",
        read.litellm_grounded(
            _generated(
                {
                    "prompt_token_count": 50,
                    "candidates_token_count": 100,
                    "total_token_count": 150,
                }
            ),
            [
                {"webSearchQueries": ["a", "b"]},
                {"groundingChunks": [{"maps": {"uri": "https://maps.google.com/?cid=1"}}]},
            ],
        ),
        model="gemini-3-pro-preview", named=False, provider="litellm", totals=kept,
        source="litellm.types.utils.PromptTokensDetailsWrapper",
        components={"input": 50, "output": 100, "web_searches": 2, "map_searches": 1},
    )  # fmt: skip
    case(
        "litellm: Anthropic's, with a compaction inside the totals",
        read.litellm_anthropic(_compacted()),
        model="claude-sonnet-4-5", named=False, provider="litellm", source=source, totals=kept,
        components={"input": 203_000, "output": 4500},
    )  # fmt: skip
    case(
        "litellm: an answer of responses",
        ResponsesAPIResponse(**_response_data(_used(100, 20, cached=40, reasoning=5))),
        model="gpt-5.6", provider="litellm", source="litellm.types.llms.openai.ResponseAPIUsage",
        components={"input": 60, "cached_read": 40, "output": 15, "reasoning": 5},
    )  # fmt: skip
    case(
        "litellm: Anthropic's tier, geography and speed",
        read.litellm_anthropic(
            _message(
                {
                    "input_tokens": 10,
                    "output_tokens": 5,
                    "service_tier": "priority",
                    "inference_geo": "us",
                    "speed": "fast",
                }
            )
        ),
        model="claude-opus-4-6", named=False, provider="litellm", source=source, totals=kept,
        components={"input": 10, "output": 5},
        facts={"service_tier": "priority", "region": "us", "speed": "fast"},
    )  # fmt: skip

    def chunk(content: str | None, usage: Any = None) -> Any:
        choices = [] if content is None else [{"index": 0, "delta": {"content": content}}]
        more = {} if usage is None else {"usage": usage}
        return ModelResponseStream(
            id="chatcmpl-1", created=1_790_000_000, model="gpt-5", choices=choices, **more
        )

    streamed = read.litellm_chat(
        _chat(
            {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920},
                "completion_tokens_details": {"reasoning_tokens": 192},
            }
        )
    )
    case(
        "litellm: a stream in the shape of OpenAI's",
        None,
        model="gpt-5", provider="litellm", source=source,
        events=[
            (chunk("Hel"), NOTHING),
            (chunk("lo."), NOTHING),
            (
                chunk(None, streamed),
                After({"input": 86, "cached_read": 1920, "output": 108, "reasoning": 192}),
            ),
        ],
    )  # fmt: skip
    case(
        "litellm: a whole answer in the shape of OpenAI's",
        ModelResponse(
            id="chatcmpl-1",
            created=1_790_000_000,
            model="gpt-5",
            choices=[
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "Hello."},
                }
            ],
            usage=read.litellm_chat(
                _chat(
                    {
                        "prompt_tokens": 2006,
                        "completion_tokens": 300,
                        "total_tokens": 2306,
                        "prompt_tokens_details": {"cached_tokens": 1920},
                        "completion_tokens_details": {"reasoning_tokens": 192},
                    }
                )
            ),
        ),
        model="gpt-5", provider="litellm", source=source,
        totals={"litellm": lambda answer: answer.usage},
        components={"input": 86, "cached_read": 1920, "output": 108, "reasoning": 192},
    )  # fmt: skip


# ---- pydantic-ai's usage ------------------------------------------------------------------------


def pydantic_ai() -> None:
    from pydantic_ai.usage import RequestUsage, RunUsage

    source = (
        "pydantic_ai.usage.UsageBase: counts form inclusive buckets; the input has what is cached "
        "and the audio, what is written has what is written for an hour"
    )
    kept = {"pydantic_ai": lambda usage: usage}
    case(
        "pydantic-ai: every bucket inside another",
        RequestUsage(
            input_tokens=10_000,
            cache_read_tokens=4000,
            cache_write_tokens=3000,
            cache_write_1h_tokens=1000,
            input_audio_tokens=2000,
            cache_audio_read_tokens=1500,
            output_tokens=900,
            output_reasoning_tokens=300,
            output_audio_tokens=200,
            details={"reasoning_tokens": 300, "audio_tokens": 200},
        ),
        model="gpt-5", named=False, provider="pydantic-ai", source=source, totals=kept,
        components={
            "input": 2500, "input_audio": 500, "cached_read": 2500, "cached_read_audio": 1500,
            "cache_write": 2000, "cache_write_1h": 1000, "output": 400, "reasoning": 300,
            "output_audio": 200,
        },
    )  # fmt: skip
    case(
        "pydantic-ai: Anthropic's, as it reads it",
        read.pydantic_anthropic(
            _message(
                {
                    "input_tokens": 2048,
                    "output_tokens": 503,
                    "cache_read_input_tokens": 1800,
                    "cache_creation_input_tokens": 248,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 148,
                        "ephemeral_1h_input_tokens": 100,
                    },
                    "output_tokens_details": {"thinking_tokens": 400},
                    "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0},
                }
            )
        ),
        model="claude-sonnet-4-5", named=False, provider="pydantic-ai", source=source, totals=kept,
        components={
            "input": 2048, "cached_read": 1800, "cache_write": 148, "cache_write_1h": 100,
            "output": 103, "reasoning": 400, "web_searches": 3,
        },
    )  # fmt: skip
    case(
        "pydantic-ai: Gemini's, as it reads it, every modality cached in part",
        read.pydantic_google(
            _generated(
                {
                    "prompt_token_count": 10_000,
                    "prompt_tokens_details": _counts(
                        text=1000, image=2580, video=5260, audio=1160
                    ),
                    "cached_content_token_count": 4000,
                    "cache_tokens_details": _counts(text=500, image=1290, video=1710, audio=500),
                    "candidates_token_count": 1500,
                    "candidates_tokens_details": _counts(text=210, image=1290),
                    "thoughts_token_count": 77,
                    "total_token_count": 11_577,
                }
            )
        ),
        model="gemini-2.5-flash", named=False, provider="pydantic-ai", source=source, totals=kept,
        components={
            "input": 500, "input_image": 1290, "input_video": 3550, "input_audio": 660,
            "cached_read": 500, "cached_read_image": 1290, "cached_read_video": 1710,
            "cached_read_audio": 500, "output": 210, "output_image": 1290, "reasoning": 77,
        },
    )  # fmt: skip
    case(
        "pydantic-ai: Anthropic's, as it reads it, with a compaction inside the totals",
        read.pydantic_anthropic(_compacted()),
        model="claude-sonnet-4-5", named=False, provider="pydantic-ai", source=source, totals=kept,
        components={"input": 203_000, "output": 4500},
        may=["message_iterations", "compaction_iterations"],
    )  # fmt: skip
    case(
        "pydantic-ai: Anthropic's, as it reads it, with an advisor's tokens beside the totals",
        read.pydantic_anthropic(_advised()),
        model="claude-sonnet-4-5", named=False, provider="pydantic-ai", source=source, totals=kept,
        components={"input": 412, "output": 531},
        unknown={"advisor_input_tokens": 823, "advisor_output_tokens": 1612},
        may=["message_iterations", "advisor_iterations"],
    )  # fmt: skip
    case(
        "pydantic-ai: xAI's, as it reads it",
        RequestUsage(
            input_tokens=32,
            output_tokens=103,
            output_reasoning_tokens=94,
            details={"reasoning_tokens": 94},
        ),
        model="grok-4", named=False, provider="pydantic-ai", source=source, totals=kept,
        components={"input": 32, "output": 9, "reasoning": 94},
    )  # fmt: skip
    case(
        "pydantic-ai: seconds of audio",
        RequestUsage(audio_seconds=12.5),
        model="grok-voice", named=False, provider="pydantic-ai", source=source,
        components={"audio_duration": 12_500_000},
    )  # fmt: skip
    case(
        "pydantic-ai: a run of three requests",
        RunUsage(
            requests=3,
            tool_calls=5,
            input_tokens=10_000,
            cache_read_tokens=4000,
            cache_write_tokens=3000,
            output_tokens=900,
            output_reasoning_tokens=300,
        ),
        model="gpt-5", named=False, provider="pydantic-ai", source=source,
        sums={"input": 10_000, "cache_read": 4000, "cache_write": 3000, "output": 900},
        may=["tool_calls"],
    )  # fmt: skip


# ---- What the random answers are made as --------------------------------------------------------


def every_part() -> None:
    """The answers that `answer_builders` makes are the packages' own, with each part at once."""
    from anthropic.types import Message
    from cohere.v2.types import V2ChatResponse
    from google.genai.types import GenerateContentResponse
    from mistralai.client.models import TranscriptionResponse
    from openai.types.chat import ChatCompletion
    from openai.types.realtime import ResponseDoneEvent
    from openai.types.responses import Response
    from openrouter.components import ChatResult
    from pydantic_ai.usage import RequestUsage
    from xai_sdk.proto import chat_pb2

    def of(model: Any) -> Any:
        return lambda data: made(model, data)

    kinds: dict[str, tuple[Any, str | None, str | None]] = {
        "openai-chat text": (of(ChatCompletion), "gpt-5", None),
        "openai-chat media": (of(ChatCompletion), "gpt-5", None),
        "openai-responses": (of(Response), "gpt-5.6", None),
        "openai-realtime": (of(ResponseDoneEvent), None, None),
        "anthropic": (of(Message), "claude-sonnet-4-5", None),
        "gemini": (of(GenerateContentResponse), "gemini-2.5-flash", None),
        "bedrock": (converse, None, None),
        "mistral": (of(TranscriptionResponse), "voxtral-mini-2507", None),
        "xai": (
            lambda data: ParseDict(data, chat_pb2.GetChatCompletionResponse()),
            "grok-4",
            "xai",
        ),
        "cohere": (of(V2ChatResponse), None, None),
        "openrouter": (of(ChatResult), "anthropic/claude-sonnet-4.5", "openrouter"),
        "pydantic-ai": (lambda data: RequestUsage(**data), None, "pydantic-ai"),
    }
    readers: dict[str, dict[str, Any]] = {
        "openai-chat": {"pydantic_ai": read.pydantic_openai, "litellm": read.litellm_chat},
        "openai-responses": {
            "pydantic_ai": read.pydantic_openai,
            "litellm": read.litellm_responses,
        },
        "openai-realtime": {
            "pydantic_ai": read.pydantic_realtime,
            "litellm": read.litellm_realtime,
        },
        "anthropic": {"pydantic_ai": read.pydantic_anthropic, "litellm": read.litellm_anthropic},
        "gemini": {"pydantic_ai": read.pydantic_google, "litellm": read.litellm_google},
        "bedrock": {"pydantic_ai": read.pydantic_bedrock, "litellm": read.litellm_bedrock},
        "xai": {"pydantic_ai": read.pydantic_xai},
        "cohere": {"pydantic_ai": read.pydantic_cohere},
        "openrouter": {"pydantic_ai": read.pydantic_openrouter, "litellm": read.litellm_chat},
        "pydantic-ai": {"pydantic_ai": lambda usage: usage},
    }
    for name, (builder, components) in BUILDERS.items():
        # Different primes, so that no sum of some is another.
        parts = dict(zip(components, PRIMES, strict=False))
        if "input_audio_duration" in parts:
            parts["input_audio_duration"] *= 1_000_000
        kind, model, provider = kinds[name]
        family, _, rest = name.partition(" ")
        case(
            f"{family}: every part at once{rest and ', ' + rest}",
            kind(builder(parts)),
            model=model or "m", named=model is not None, provider=provider, components=parts,
            source="answer_builders.py", totals=readers.get(family, {}),
            apart=COHERE_APART if family == "cohere" else {},
        )  # fmt: skip


COHERE_APART = {"pydantic_ai": "pydantic-ai counts the tokens that were read, Cohere bills units"}
PRIMES = (101, 211, 307, 401, 503, 601, 701, 809, 907, 1009, 1103, 1201, 1301)
