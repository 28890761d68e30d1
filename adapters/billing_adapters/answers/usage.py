"""The usage of an answer, whole or streamed."""

from __future__ import annotations

from collections.abc import Mapping

from billing_adapters.answers.reported import read, usage_from
from billing_adapters.answers.stream import AnswerStream
from billing_core import Usage
from billing_core.values.usage import PLATFORM, Payer

__all__ = ["usage_of"]


def usage_of(
    answer: object,
    *,
    provider: str | None = None,
    model: str | None = None,
    facts: Mapping[str, str] | None = None,
    payer: Payer | Mapping[str, Payer] = PLATFORM,
    item: str | None = None,
    reported_cost: bool = False,
) -> Usage:
    """The usage that a provider reports in an answer, each token counted once (rules 5.7, 14.1).

    It knows answers, and bare usages, of OpenAI (chat, responses, embeddings, realtime,
    transcription, images), Anthropic, Gemini, Bedrock's converse, Mistral, xAI, Cohere,
    OpenRouter, and of who follows them; usages of LiteLLM and pydantic-ai; and with ``provider=``
    whatever genai-prices can read.  A number that it does not know becomes a component of that
    name, which settles as unpriced; so does what the total exceeds its parts by, as the component
    ``total_tokens``.  Parts that come to more than what should contain them are counted as they
    are.

    Args:
        answer: The answer: a dict, or the object of an SDK.  Or the `AnswerStream` that was fed a
            streamed one.
        provider: Who answered, such as ``anthropic``; None: it is seen by the answer.
        model: The name that its price has, without ``model:``; None: as the answer names it.
        facts: What you know of the request (rule 5.9).  What the answer says of it stands in its
            place, such as the tier that served it; but ``batch`` stands where the answer says
            ``standard``, as providers tell of batches nowhere else.
        payer: Who pays: ``platform`` or ``customer`` (rule 8.5), for all or by component.
        item: The name of the one call that several settlements belong to (rule 5.5).
        reported_cost: Whether the cost in dollars that the answer reports is added, as the
            component ``provider_cost`` in billionths.  Price either that or the other components:
            with prices for both it is paid twice.

    Returns:
        The usage, with the facts that the answer tells.

    Raises:
        InvalidCommand: For an answer without usage, or with one that cannot be read; where it must
            be said who answered, or which model did; or where no cost was reported and is wanted.
    """
    if isinstance(answer, AnswerStream):
        return answer.usage(
            provider=provider, model=model, facts=facts, payer=payer, item=item,
            reported_cost=reported_cost,
        )  # fmt: skip
    return usage_from(
        read(answer), answer, provider=provider, model=model, facts=facts, payer=payer, item=item,
        reported_cost=reported_cost,
    )  # fmt: skip
