"""What providers answer, as their own packages have it, against what we say was used.

The cases in ``tests/fixtures/answers`` were made by ``sdk_answers.py``, with the providers' own
packages; what each must be was written by hand from their documentation.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from answer_checks import (
    CACHE_READ,
    CACHE_WRITE,
    INPUT,
    OUTPUT,
    differences,
    quantities,
    totals,
)

from billing_adapters.answers import AnswerStream, usage_of
from billing_core import Usage, tokens

FIXTURES = Path(__file__).parents[1] / "fixtures" / "answers"
KEPT: dict[str, dict[str, Any]] = {
    case["name"]: case | {"family": path.stem}
    for path in sorted(FIXTURES.glob("*.json"))
    for case in json.loads(path.read_text())
}
WHOLE = [name for name, case in KEPT.items() if "answers" in case]
STREAMED = [name for name, case in KEPT.items() if "stream" in case]
COUNTED = [name for name in WHOLE if "totals" in KEPT[name]]


def _handed(case: dict[str, Any]) -> dict[str, Any]:
    """What the host says with an answer: what it does not say itself, and that its cost counts."""
    handed = {"provider": case["provider"]} if "provider" in case else {}
    if "model_is_handed_over" in case:
        handed["model"] = case["model"]
    return handed | ({"reported_cost": True} if _costs(case) else {})


def _costs(case: dict[str, Any]) -> bool:
    return "provider_cost" in case.get("components", {})


@pytest.mark.parametrize("name", WHOLE)
def test_each_token_is_counted_once(name: str) -> None:
    case = KEPT[name]
    for number, answer in enumerate(case["answers"]):
        usage = usage_of(answer, **_handed(case))
        assert usage.resource == f"model:{case['model']}"
        assert differences(usage, case) == [], f"form {number}: {answer}"


@pytest.mark.parametrize("name", WHOLE)
def test_naming_the_provider_and_the_model_changes_no_quantity(name: str) -> None:
    case = KEPT[name]
    provider = case["family"].removesuffix("-ai").partition("-")[0]
    named = _handed(case) | {"provider": {"pydantic": "pydantic-ai"}.get(provider, provider)}
    for answer in case["answers"]:
        usage = usage_of(answer, **named | {"model": "small"})
        assert usage.resource == "model:small"
        assert differences(usage, case) == []


@pytest.mark.parametrize("name", [name for name in WHOLE if "components" in KEPT[name]])
def test_a_bare_usage_has_the_same_tokens(name: str) -> None:
    case = KEPT[name]
    tokens_of = INPUT | CACHE_READ | CACHE_WRITE | OUTPUT
    expected = {part: count for part, count in case["components"].items() if part in tokens_of}
    for answer in case["answers"]:
        for path in ("usage", "usage_metadata", "usageMetadata", "meta", "response"):
            if (bare := answer.get(path)) is not None:
                if path == "response":
                    bare = bare["usage"]
                told = quantities(usage_of(bare, **_handed(case) | {"model": "small"}))
                assert {part: told[part] for part in told if part in tokens_of} == expected


@pytest.mark.parametrize("name", [name for name in WHOLE if _costs(KEPT[name])])
def test_a_reported_cost_counts_where_it_is_wanted_alone(name: str) -> None:
    case = KEPT[name]
    components = dict(case["components"])
    del components["provider_cost"]
    for answer in case["answers"]:
        usage = usage_of(answer, **_handed(case) | {"reported_cost": False})
        assert differences(usage, case | {"components": components}) == []


@pytest.mark.parametrize("name", COUNTED)
def test_other_libraries_read_the_same_totals(name: str) -> None:
    """What was written by hand agrees with pydantic-ai's and LiteLLM's code, or says why not."""
    case = KEPT[name]
    for library, theirs in case["totals"].items():
        if "components" in case:
            agree = totals(case["components"]) == theirs
        else:
            agree = case["sums"].items() <= theirs.items()
        assert agree != (library in case.get("apart", {})), f"{library}: {theirs}"


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_that_ends_anywhere_tells_what_was_reported(name: str) -> None:
    case = KEPT[name]
    estimate = tokens(case["model"], input=7, output=3)
    for end in range(len(case["stream"]) + 1):
        stream = AnswerStream()
        for told in case["stream"][:end]:
            stream.feed(told["event"])
        told = case["stream"][end - 1] if end else {"reported": False}
        if "components" in told:
            assert stream.reported is True, f"after {end} events"
            usage = stream.usage(estimate, **_handed(case) | {"model": case["model"]})
            assert usage.resource == f"model:{case['model']}"
            assert differences(usage, told | {"may": case.get("may", [])}) == [], f"{end} events"
        else:
            assert stream.reported is False, f"after {end} events"
            usage = stream.usage(estimate)
            assert quantities(usage) == {"input": 7, "output": 3}
            assert dict(usage.facts)["estimated"] == "yes"


@pytest.mark.parametrize("name", [name for name in STREAMED if name in WHOLE])
def test_streamed_is_the_same_as_whole(name: str) -> None:
    case = KEPT[name]
    stream = AnswerStream()
    for told in case["stream"]:
        stream.feed(told["event"])
    whole: Usage = usage_of(case["answers"][0], **_handed(case))
    assert stream.usage(**_handed(case)) == whole


def test_every_provider_has_cases() -> None:
    families = {path.stem for path in FIXTURES.glob("*.json")}
    assert families == {
        "anthropic", "bedrock", "cohere", "gemini", "litellm", "mistral", "openai-chat",
        "openai-embeddings", "openai-images", "openai-realtime", "openai-responses",
        "openai-transcription", "openrouter", "pydantic-ai", "xai",
    }  # fmt: skip
    assert len(WHOLE) > 100 and len(STREAMED) > 15
