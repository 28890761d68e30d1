"""The shapes that providers report usage in: where each component's number stands.

A shape is a table.  By component, alternatives of sums of paths: ``a | b + c`` is the number at
``a``, or where there is none the sum of those at ``b`` and ``c``.  Paths are in snake_case, so
that JSON and the objects of an SDK are read by one table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final

from attrs import frozen

from billing_adapters.answers.fields import Number, snake
from billing_core.errors import InvalidCommand

__all__ = ["MEDIA", "ROOTS", "SHAPES", "Shape", "shape_of"]

MEDIA = ("audio", "image", "video")


@frozen(slots=False)
class Shape:
    """One way to report usage.

    ``rules``: by component, where its number stands.  ``known``: paths (or beginnings of paths that
    end in ``*``) of what is a part of another number, or is not for sale.  ``total``: where all
    tokens stand.  ``cached_apart``, ``reasoning_apart``: the input does not count what was cached,
    the output not the reasoning; None: the numbers tell.
    """

    name: str
    rules: Mapping[str, str]
    known: frozenset[str] = frozenset()
    total: str = "total_tokens"
    cached_apart: bool = False
    reasoning_apart: bool | None = False

    @cached_property
    def terms(self) -> Mapping[str, tuple[tuple[str, ...], ...]]:
        """By component: alternatives of sums of paths."""
        return {
            component: tuple(
                tuple(path.strip() for path in each.split("+")) for each in rule.split("|")
            )
            for component, rule in self.rules.items()
        }

    @cached_property
    def paths(self) -> frozenset[str]:
        """Every path that the table knows."""
        return self.known | {
            path for terms in self.terms.values() for each in terms for path in each
        }

    @cached_property
    def _beginnings(self) -> tuple[str, ...]:
        return tuple(path[:-1] for path in self.known if path.endswith("*"))

    def knows(self, path: str) -> bool:
        if path == self.total or path in self.paths or path.startswith(self._beginnings):
            return True
        if self.name != "genai" or not path.startswith("details.") or "advisor" in path:
            return False  # an advisor is another model
        return "token" in path

    def read(self, numbers: Mapping[str, Number]) -> dict[str, Number]:
        """The components that are there."""
        found: dict[str, Number] = {}
        for component, alternatives in self.terms.items():
            for paths in alternatives:
                count = sum(numbers.get(path, 0) for path in paths)
                if count:
                    found[component] = count
                    break
        return found


def _each(*rules: tuple[str, str]) -> dict[str, str]:
    """A rule for each medium, where ``{}`` stands for it."""
    return {name.replace("{}", of): rule.replace("{}", of) for of in MEDIA for name, rule in rules}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COST = _names("cost cost.* cost_in_usd_ticks cost_details.*")
_DRAWN = "tool_usage.image_gen."
_TOOLS = {
    "web_searches": (
        "tool_usage.web_search.num_requests | server_tool_use.web_search_requests"
        " | server_tool_use_details.web_search_requests"
        " | prompt_tokens_details.web_search_requests"
        " | server_side_tools_used.server_side_tool_web_search | server_side_tools_used.1"
        " | server_side_tool_usage_details.web_search_calls"
        " | connectors.web_search + connectors.web_search_premium"
        " | num_search_queries | tool_calls_details.search_web.invocation"
    ),
    "social_searches": (
        "server_side_tools_used.server_side_tool_x_search | server_side_tools_used.2"
        " | server_side_tool_usage_details.x_search_calls"
    ),
    "file_searches": (
        "server_side_tools_used.server_side_tool_collections_search"
        " + server_side_tools_used.server_side_tool_attachment_search"
        " | server_side_tools_used.6 + server_side_tools_used.8"
        " | server_side_tool_usage_details.file_search_calls"
        " + server_side_tool_usage_details.document_search_calls"
        " | connectors.document_library"
    ),
    "map_searches": "prompt_tokens_details.google_maps_grounding_requests",
    "code_executions": (
        "server_tool_use.code_execution_requests"
        " | server_side_tools_used.server_side_tool_code_execution | server_side_tools_used.3"
        " | server_side_tool_usage_details.code_interpreter_calls"
        " | connectors.code_interpreter"
    ),
}
_FREE_TOOLS = _names(
    """
    server_tool_use.web_fetch_requests server_tool_use.tool_search_requests
    server_tool_use.tool_calls_executed server_tool_use.tool_calls_requested
    server_tool_use_details.tool_calls_executed server_tool_use_details.tool_calls_requested
    num_server_side_tools_used server_side_tool_usage_details.mcp_calls
    server_side_tools_used.server_side_tool_mcp
    server_side_tools_used.server_side_tool_view_image
    server_side_tools_used.server_side_tool_view_x_video
    server_side_tools_used.4 server_side_tools_used.5 server_side_tools_used.7
    """
)
_WRITES = "prompt_tokens_details.cache_creation_token_details.ephemeral"

CHAT = Shape(
    "chat",
    {
        "input": "prompt_tokens",
        "output": "completion_tokens",
        **_each(
            ("input_{}", "prompt_tokens_details.{}_tokens"),
            ("output_{}", "completion_tokens_details.{}_tokens"),
            ("cached_read_{}", "prompt_tokens_details.cached_tokens_details.{}_tokens"),
        ),
        "input_image": "prompt_tokens_details.image_tokens | prompt_image_tokens",
        "cached_read": (
            "prompt_tokens_details.cached_tokens | cache_read_input_tokens"
            " | prompt_cache_hit_tokens | cached_prompt_text_tokens | num_cached_tokens"
            " | cached_tokens"
        ),
        "cache_write": (
            "prompt_tokens_details.cache_write_tokens"
            " | prompt_tokens_details.cache_creation_tokens | cache_creation_input_tokens"
        ),
        "cache_write_1h": (
            f"{_WRITES}_1h_input_tokens | prompt_tokens_details.cache_write_1h_tokens"
        ),
        "cache_write_12h": (
            f"{_WRITES}_12h_input_tokens"
            " | prompt_tokens_details.cache_write_tokens_details.ttl_12h_tokens"
        ),
        "reasoning": "completion_tokens_details.reasoning_tokens | reasoning_tokens",
        "accepted_prediction": "completion_tokens_details.accepted_prediction_tokens",
        "rejected_prediction": "completion_tokens_details.rejected_prediction_tokens",
        "citation": "citation_tokens",
        "input_audio_duration": (
            "prompt_audio_seconds | prompt_tokens_details.audio_length_seconds"
        ),
        "input_video_duration": "prompt_tokens_details.video_length_seconds",
        "characters": "prompt_tokens_details.character_count",
        "input_images": "prompt_tokens_details.image_count",
        "queries": "prompt_tokens_details.query_count",
        **_TOOLS,
    },
    # Also parts of the input, second names, and how long it took (Groq).
    _names(
        f"""
        prompt_tokens_details.text_tokens prompt_tokens_details.file_tokens
        completion_tokens_details.text_tokens
        prompt_text_tokens prompt_cache_miss_tokens
        prompt_tokens_details.cached_tokens_details.text_tokens
        prompt_tokens_details.cache_write_tokens_details.ttl_30m_tokens
        {_WRITES}_5m_input_tokens {_WRITES}_30m_input_tokens
        prompt_tokens_details.tool_use_tokens prompt_tokens_details.initial_prompt_tokens
        cache_creation.ephemeral_5m_input_tokens cache_creation.ephemeral_1h_input_tokens
        queue_time prompt_time completion_time total_time
        iterations.*
        """
    )
    | _FREE_TOOLS
    | _COST,
    reasoning_apart=None,
)
"""OpenAI's chat and embeddings, Mistral, xAI (its API and its SDK), OpenRouter, and who follows
them; LiteLLM's usage."""

RESPONSES = Shape(
    "responses",
    {
        "input": "input_tokens",
        "output": "output_tokens",
        **_each(
            ("input_{}", "input_tokens_details.{}_tokens | input_token_details.{}_tokens"),
            ("output_{}", "output_tokens_details.{}_tokens | output_token_details.{}_tokens"),
            (
                "cached_read_{}",
                "input_tokens_details.cached_tokens_details.{}_tokens"
                " | input_token_details.cached_tokens_details.{}_tokens",
            ),
        ),
        "cached_read": (
            "input_tokens_details.cached_tokens | input_token_details.cached_tokens"
            " | input_tokens_details.cache_read_input_tokens"
        ),
        "cache_write": (
            "input_tokens_details.cache_write_tokens"
            " | input_tokens_details.cache_creation_input_tokens"
        ),
        "cache_write_12h": "input_tokens_details.cache_write_tokens_details.ttl_12h_tokens",
        "reasoning": (
            "output_tokens_details.reasoning_tokens | output_token_details.reasoning_tokens"
        ),
        "input_audio_duration": "seconds",
        "audio_duration": "billable_audio_seconds",
        "text_messages": "input_text_messages",
        **_TOOLS,
        # Another model's, which has no price here.
        f"{_DRAWN}output_tokens_details.image_tokens": (
            f"{_DRAWN}output_tokens_details.image_tokens | {_DRAWN}output_tokens"
        ),
    },
    _names(
        f"""
        {_DRAWN}input_tokens {_DRAWN}total_tokens {_DRAWN}cached_*
        svg_usage.total_tokens svg_usage.reasoning_tokens
        input_tokens_details.text_tokens input_token_details.text_tokens
        output_tokens_details.text_tokens output_token_details.text_tokens
        input_tokens_details.cached_tokens_details.text_tokens
        input_token_details.cached_tokens_details.text_tokens
        input_tokens_details.cache_write_tokens_details.ttl_30m_tokens
        """
    )
    | _FREE_TOOLS
    | _COST,
)
"""OpenAI's responses, realtime and transcription, xAI's responses, and who follows them."""

IMAGES = Shape(
    "images",
    {
        **RESPONSES.rules,
        "output_image": "output_tokens_details.image_tokens",
    },
    RESPONSES.known,
)
"""OpenAI's images: without details all output is an image (see `reported`)."""

_COMPACTED = "iterations.compaction."


def _compacted(path: str) -> str:
    """What it took to shorten the context is in none of the other numbers."""
    return f"{path} + {_COMPACTED}{path}"


MESSAGES = Shape(
    "messages",
    {
        "input": _compacted("input_tokens"),
        "output": _compacted("output_tokens"),
        "cached_read": _compacted("cache_read_input_tokens"),
        "cache_write": (
            f"{_compacted('cache_creation_input_tokens')} | cache_write_input_tokens"
            " | cache_creation.ephemeral_5m_input_tokens + cache_creation.ephemeral_1h_input_tokens"
            " | cache_details.5m.input_tokens + cache_details.1h.input_tokens"
        ),
        "cache_write_1h": (
            f"{_compacted('cache_creation.ephemeral_1h_input_tokens')}"
            " | cache_details.1h.input_tokens"
        ),
        "reasoning": (
            "output_tokens_details.thinking_tokens | output_tokens_details.reasoning_tokens"
        ),
        **_TOOLS,
    },
    # Parts of what stands above them.
    _names(
        f"""
        cache_creation.ephemeral_5m_input_tokens cache_details.5m.input_tokens
        {_COMPACTED}cache_creation.ephemeral_5m_input_tokens
        iterations.message.* iterations.fallback_message.*
        iterations.advisor_message.cache_creation.* fallback_credit.*
        """
    )
    | _FREE_TOOLS
    | _COST,
    cached_apart=True,
)
"""Anthropic's messages, wherever they are served, and Bedrock's converse."""


def _gemini(details: str) -> dict[str, str]:
    """The tokens of each modality: a document's are an image's."""
    return {
        of: " + ".join(
            f"{each}.{modality}.token_count"
            for each in details.split()
            for modality in ((of, "document") if of == "image" else (of,))
        )
        for of in MEDIA
    }


_GIVEN = _gemini("prompt_tokens_details tool_use_prompt_tokens_details")
_MADE = _gemini("candidates_tokens_details response_tokens_details")
_KEPT = _gemini("cache_tokens_details")

GEMINI = Shape(
    "gemini",
    {
        "input": "prompt_token_count + tool_use_prompt_token_count",
        "output": "candidates_token_count | response_token_count",
        "reasoning": "thoughts_token_count",
        "cached_read": "cached_content_token_count",
        **{f"input_{of}": rule for of, rule in _GIVEN.items()},
        **{f"output_{of}": rule for of, rule in _MADE.items()},
        **{f"cached_read_{of}": rule for of, rule in _KEPT.items()},
        "characters": "billable_character_count",
    },
    frozenset(
        f"{details}_tokens_details.{of}.token_count"
        for details in ("prompt", "tool_use_prompt", "candidates", "response", "cache")
        for of in ("text", "modality_unspecified")
    ),
    total="total_token_count",
    reasoning_apart=True,
)
"""Google's generate_content and live, as JSON and from its SDK."""

COHERE = Shape(
    "cohere",
    {
        "input": "billed_units.input_tokens",
        "output": "billed_units.output_tokens",
        "input_image": "billed_units.image_tokens",
        "input_images": "billed_units.images",
        "rerank_searches": "billed_units.search_units",
        "pages": "billed_units.pages",
        "cached_read": "cached_tokens",
    },
    _names("tokens.* billed_units.text_tokens"),
)
"""Cohere, where it says what it bills."""

COHERE_TOKENS = Shape(
    "cohere tokens",
    {
        "input": "tokens.input_tokens",
        "output": "tokens.output_tokens",
        "cached_read": "cached_tokens",
    },
)
"""Cohere, where it says what was counted alone."""

GENAI = Shape(
    "genai",
    {
        "input": "input_tokens",
        "output": "output_tokens",
        "cached_read": "cache_read_tokens",
        "cache_write": "cache_write_tokens",
        "cache_write_1h": "cache_write_1h_tokens",
        **_each(
            ("input_{}", "input_{}_tokens"),
            ("output_{}", "output_{}_tokens"),
            ("cached_read_{}", "cache_{}_read_tokens"),
            ("cache_write_{}", "cache_{}_write_tokens"),
        ),
        "reasoning": (
            "output_reasoning_tokens | details.reasoning_tokens | details.thoughts_tokens"
        ),
        "citation": "output_citation_tokens",
        "accepted_prediction": "details.accepted_prediction_tokens",
        "rejected_prediction": "details.rejected_prediction_tokens",
        "characters": "input_characters",
        "text_messages": "input_text_messages",
        "audio_duration": "audio_seconds",
        "input_audio_duration": "input_audio_seconds",
        "output_audio_duration": "output_audio_seconds",
        "pixels": "input_pixels",
        "pages": "input_document_pages",
        "annotated_pages": "input_annotated_document_pages",
        "rerank_searches": "rerank_searches",
        "web_searches": "web_searches | details.web_search_requests",
        "social_searches": "social_searches",
        "file_searches": "storage_searches",
        "code_executions": "code_executions",
    },
    _names(
        """
        requests tool_calls unmeasured_requests cost
        input_text_tokens output_text_tokens cache_text_read_tokens input_tool_tokens
        cache_write_5m_tokens cache_text_write_tokens cache_text_write_5m_tokens
        cache_text_write_1h_tokens input_text_tool_tokens input_audio_tool_tokens
        input_image_tool_tokens input_video_tool_tokens output_text_reasoning_tokens
        """
    ),
)
"""pydantic-ai's usage, and the names that genai-prices has.  Further tokens among the details are
parts of these."""

DURATION = Shape("duration", {"audio_duration": "seconds"}, _names("active_seconds paused_seconds"))
"""A session that is sold by its time (OpenAI's live ones)."""

PAGES = Shape(
    "pages",
    {"pages": "pages_processed", "annotated_pages": "pages_processed_annotation"},
    _names("doc_size_bytes"),
)
"""Mistral's reading of documents."""

SHAPES: Final = {
    each.name: each
    for each in (
        *(CHAT, RESPONSES, IMAGES, MESSAGES, GEMINI, COHERE, COHERE_TOKENS, GENAI),
        *(DURATION, PAGES),
    )
}

ROOTS: Final = _names(
    """
    prompt_tokens completion_tokens input_tokens output_tokens total_tokens
    prompt_token_count candidates_token_count response_token_count total_token_count
    thoughts_token_count cached_content_token_count billable_character_count
    billed_units tokens pages_processed seconds audio_seconds billable_audio_seconds
    cache_read_tokens cache_write_tokens cache_read_input_tokens cache_creation_input_tokens
    """
)
"""A usage has one of these."""

_FIRST: Final = (
    ("chat", ("prompt_tokens", "completion_tokens")),
    ("gemini", ("prompt_token_count", "candidates_token_count", "response_token_count")),
    ("gemini", ("total_token_count", "billable_character_count", "thoughts_token_count")),
    ("gemini", ("cached_content_token_count",)),
    ("cohere", ("billed_units.",)),
    ("cohere tokens", ("tokens.",)),
    ("pages", ("pages_processed",)),
)
"""What one of these paths tells at once; one that ends in a dot is the beginning of several."""

_MARKS: Final = {
    "responses": (
        *("input_tokens_details.", "input_token_details.", "output_token_details."),
        *("output_tokens_details.reasoning_tokens", "billable_audio_seconds"),
    ),
    "messages": (
        *("cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation."),
        *("cache_write_input_tokens", "cache_details.", "iterations."),
        "output_tokens_details.thinking_tokens",
    ),
    "genai": (
        *("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "details."),
        *("input_audio_tokens", "cache_audio_read_tokens", "output_audio_tokens"),
        *("output_reasoning_tokens", "audio_seconds", "requests", "tool_calls"),
    ),
}
"""Providers that say ``input_tokens`` differ in what they count.  Some of what else they say tells
them apart."""

_BY_PROVIDER: Final = {
    "anthropic": "messages",
    "aws": "messages",
    "bedrock": "messages",
    "openai": "responses",
    "azure": "responses",
    "x-ai": "responses",
    "openrouter": "responses",
    "perplexity": "responses",
    "pydantic-ai": "genai",
}


def shape_of(numbers: Iterable[str], words: Mapping[str, str], provider: str | None) -> Shape:
    """The shape of a usage, by the paths that are in it.

    Raises:
        InvalidCommand: It can be of several providers, who count differently, and none was named;
            or it is of no shape that is known.
    """
    paths = tuple(numbers)
    for name, marks in _FIRST:
        if _has(paths, marks):
            return SHAPES[name]
    found = [name for name, marks in _MARKS.items() if _has(paths, marks)]
    own = _BY_PROVIDER.get(provider or "")
    if len(found) > 1 and own in found:
        found = [own]
    if len(found) > 1:
        raise InvalidCommand(
            "provider",
            provider,
            f"the answer's provider: its usage can be of the shapes {' and '.join(found)}, which "
            "differ in whether the input counts cached tokens",
        )
    if found == ["responses"] and "input_tokens_details.image_tokens" in paths:
        here = [path for path in paths if not path.startswith(("svg_usage.", "tool_usage."))]
        is_text = any(path.endswith(("reasoning_tokens", "cached_tokens")) for path in here)
        return RESPONSES if is_text else IMAGES
    if found:
        return SHAPES[found[0]]
    if "input_tokens" in paths or "output_tokens" in paths:
        return SHAPES[own or "responses"]
    if "total_tokens" in paths:
        return CHAT
    if "seconds" in paths:
        return RESPONSES if words.get("type") == "duration" else DURATION
    raise InvalidCommand(
        "answer",
        sorted(path for path in paths if snake(path) == path)[:8],
        "a usage of a shape that is known; or make it with tokens(...)",
    )


def _has(paths: Iterable[str], marks: Iterable[str]) -> bool:
    beginnings = tuple(mark for mark in marks if mark.endswith("."))
    return any(path in marks or path.startswith(beginnings) for path in paths)
