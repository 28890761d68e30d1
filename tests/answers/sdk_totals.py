"""What pydantic-ai and LiteLLM themselves read in the providers' answers.

Each function takes an answer as the provider's own package gives it, hands it to the code by which
the library reads usage, and gives the library's usage object.
"""

from __future__ import annotations

import json
from typing import Any

GOOGLE = "https://generativelanguage.googleapis.com"


def totals_of(usage: Any) -> dict[str, int]:
    """A library's usage as four totals that contain everything, cached tokens in those given."""
    from pydantic_ai.usage import RequestUsage

    if isinstance(usage, RequestUsage):
        return {
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "cache_read": usage.cache_read_tokens,
            "cache_write": usage.cache_write_tokens,
        }
    details = usage.prompt_tokens_details  # without the attributes that it has nothing for
    return {
        "input": usage.prompt_tokens,
        "output": usage.completion_tokens,
        "cache_read": getattr(details, "cached_tokens", None) or 0,
        "cache_write": getattr(details, "cache_write_tokens", None) or 0,
    }


# ---- pydantic-ai --------------------------------------------------------------------------------


def pydantic_openai(answer: Any) -> Any:
    from pydantic_ai.models.openai._response_fields import map_usage

    return map_usage(answer, "openai", "https://api.openai.com/v1", answer.model)


def pydantic_embeddings(answer: Any) -> Any:
    from pydantic_ai.embeddings.openai import _map_usage

    return _map_usage(answer.usage, "openai", "https://api.openai.com/v1", answer.model)


def pydantic_realtime(answer: Any) -> Any:
    from pydantic_ai.realtime.openai import _map_usage

    return _map_usage(answer.response.usage)


def pydantic_anthropic(answer: Any) -> Any:
    from anthropic.types.beta import BetaMessage
    from pydantic_ai.models.anthropic._response import map_usage

    message = BetaMessage.model_validate(answer.model_dump())
    return map_usage(message, "anthropic", "https://api.anthropic.com", answer.model)


def pydantic_google(answer: Any) -> Any:
    from pydantic_ai.models.google import _metadata_as_usage

    return _metadata_as_usage(answer, "google-gla", GOOGLE)


def pydantic_bedrock(answer: Any) -> Any:
    from pydantic_ai.models.bedrock import _map_usage

    url = "https://bedrock-runtime.us-east-1.amazonaws.com"
    return _map_usage(answer["usage"], "bedrock", url, "anthropic.claude-sonnet-4-20250514-v1:0")


def pydantic_mistral(answer: Any) -> Any:
    from pydantic_ai.models.mistral import _map_usage

    return _map_usage(answer, "mistral", "https://api.mistral.ai", answer.model)


def pydantic_cohere(answer: Any) -> Any:
    from pydantic_ai.models.cohere import _map_usage

    return _map_usage(answer, "cohere", "https://api.cohere.com", "command-a-03-2025")


def pydantic_cohere_embed(answer: Any) -> Any:
    from pydantic_ai.embeddings.cohere import _map_usage

    return _map_usage(answer, "cohere", "https://api.cohere.com", "embed-v4.0")


def pydantic_xai(answer: Any) -> Any:
    from pydantic_ai.models.xai import _extract_usage
    from xai_sdk.chat import Response

    return _extract_usage(Response(answer, 0), answer.model, "x-ai", "https://api.x.ai/v1")


def pydantic_openrouter(answer: Any) -> Any:
    from pydantic_ai.models.openrouter import _map_openai_usage, _OpenRouterChatCompletion

    sent = json.loads(answer.model_dump_json(by_alias=True, exclude_none=True))
    read = _OpenRouterChatCompletion.model_construct(**sent)
    from openai.types import CompletionUsage

    read.usage = CompletionUsage.model_validate(sent["usage"])
    return _map_openai_usage(read, "openrouter", "https://openrouter.ai/api/v1", answer.model)


# ---- LiteLLM ------------------------------------------------------------------------------------


def litellm_chat(answer: Any) -> Any:
    """Whatever answers as OpenAI's chat completions do."""
    from litellm import ModelResponse
    from litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response import (
        convert_to_model_response_object,
    )

    sent = json.loads(answer.model_dump_json(by_alias=True, exclude_none=True))
    for choice in sent.get("choices", []):
        choice["message"].setdefault("role", "assistant")
    return convert_to_model_response_object(
        response_object=sent, model_response_object=ModelResponse()
    ).usage


def litellm_responses(answer: Any) -> Any:
    from litellm.responses.utils import ResponseAPILoggingUtils

    return ResponseAPILoggingUtils.transform_response_api_usage_to_chat_usage(
        answer.usage.model_dump(exclude_none=True)
    )


def litellm_realtime(answer: Any) -> Any:
    from litellm.responses.utils import ResponseAPILoggingUtils

    return ResponseAPILoggingUtils.transform_response_api_usage_to_chat_usage(
        answer.response.usage.model_dump(exclude_none=True)
    )


def litellm_anthropic(answer: Any) -> Any:
    from litellm.llms.anthropic.chat.transformation import AnthropicConfig

    return AnthropicConfig().calculate_usage(answer.usage.model_dump(exclude_none=True), None)


def litellm_google(answer: Any) -> Any:
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexGeminiConfig

    sent = json.loads(answer.model_dump_json(by_alias=True, exclude_none=True))
    return VertexGeminiConfig.calculate_usage(sent)


def litellm_grounded(answer: Any, grounding: list[dict[str, Any]]) -> Any:
    """As `litellm_google`, with the searches that LiteLLM counts in the metadata of candidates."""
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexGeminiConfig

    usage = litellm_google(answer)
    VertexGeminiConfig.set_grounding_usage_counters(usage, grounding)
    return usage


def litellm_bedrock(answer: Any) -> Any:
    from litellm.llms.bedrock.chat.converse_transformation import AmazonConverseConfig

    return AmazonConverseConfig().transform_usage(answer["usage"])


def litellm_xai(answer: Any) -> Any:
    from litellm.llms.xai.chat.transformation import XAIChatConfig

    usage = litellm_chat(answer)
    dumped = json.loads(usage.model_dump_json())
    XAIChatConfig.fold_reasoning_tokens_into_completion(dumped)
    from litellm import Usage

    return Usage(**dumped)
