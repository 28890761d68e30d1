"""Providers beyond those that have a table here: as genai-prices reads their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from billing_adapters.answers.fields import Number, gathered, get, names, snake
from billing_adapters.answers.shapes import CHAT, GENAI, RESPONSES, Shape
from billing_core.errors import InvalidCommand

if TYPE_CHECKING:
    from genai_prices.types import Provider, UsageExtractor

__all__ = ["known_provider", "shape_by"]

_OWN: Final = frozenset(
    {
        *("openai", "azure", "anthropic", "google", "aws", "mistral", "x-ai", "cohere"),
        *("openrouter", "litellm", "pydantic-ai", "perplexity"),
    }
)
_ALIASES: Final = {
    "bedrock": "aws",
    "gemini": "google",
    "vertex": "google",
    "xai": "x-ai",
    "grok": "x-ai",
    "pydantic_ai": "pydantic-ai",
    "mistralai": "mistral",
}
_COMPONENTS: Final = {
    path: component
    for component, terms in GENAI.terms.items()
    for path in terms[0]
    if len(terms[0]) == 1
}
"""By the name that genai-prices has: the component."""


def known_provider(provider: str | None) -> str | None:
    """A provider by the name that the tables have.

    Raises:
        InvalidCommand: Nobody knows it.
    """
    if provider is None:
        return None
    if not isinstance(provider, str) or not provider:
        raise InvalidCommand("provider", provider, 'a provider\'s name, such as "anthropic"')
    name = _ALIASES.get(provider.lower(), provider.lower())
    if name in _OWN:
        return name
    listed = _listed(name)
    if listed is None:
        raise InvalidCommand(
            "provider",
            provider,
            f"one of {', '.join(sorted(_OWN))}, or one that genai-prices lists",
        )
    return listed.id


def shape_by(provider: str, answer: object) -> tuple[Shape, dict[str, Number]] | None:
    """How genai-prices reads a provider's answer, and the numbers in it; None of one that has a
    table here, or where it finds no usage."""
    listed = None if provider in _OWN else _listed(provider)
    for each in (listed.extractors or ()) if listed is not None else ():
        usage: Any = answer
        for name in _steps(each.root):
            usage = get(usage, name)
        if not names(usage):
            continue
        numbers, _ = gathered(usage)
        if all(_path(row.path) in numbers for row in each.mappings if row.required):
            return _shape(each), numbers
    return None


def _shape(extractor: UsageExtractor) -> Shape:
    """A table from genai-prices', on top of the one that it resembles."""
    sums: dict[str, list[str]] = {}
    known: set[str] = set()
    for row in extractor.mappings:
        path = _path(row.path)
        if row.dest in _COMPONENTS:
            sums.setdefault(_COMPONENTS[row.dest], []).append(path)
        else:
            known.add(path)
    base = CHAT if any(path == "prompt_tokens" for path in sums.get("input", ())) else RESPONSES
    rules: Mapping[str, str] = {
        **base.rules,
        **{
            component: " | ".join((" + ".join(paths), *_rule(base, component)))
            for component, paths in sums.items()
        },
    }
    return evolve(
        base, name="genai-prices", rules=rules, known=base.known.union(known), reasoning_apart=False
    )


def _rule(base: Shape, component: str) -> tuple[str, ...]:
    return (base.rules[component],) if component in base.rules else ()


def _steps(path: str | Sequence[Any]) -> list[str]:
    """The steps of a path; of a list's members the label that they are known by."""
    steps = [path] if isinstance(path, str) else path
    return [
        snake(step if isinstance(step, str) else str(getattr(step.match, "equals", "")))
        for step in steps
    ]


def _path(path: str | Sequence[Any]) -> str:
    return ".".join(_steps(path))


@cache
def _listed(name: str) -> Provider | None:
    try:
        from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
    except ImportError as error:
        raise ImportError(
            "usage_of(provider=…) of another provider needs genai-prices: "
            "pip install 'billing-core[prices]'",
            name=error.name,
        ) from error
    return find_provider_by_id(get_snapshot().providers, name)
