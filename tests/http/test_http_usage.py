"""What was used is the same, told over HTTP or in Python: every part of a model's tokens, facts."""

import inspect
from typing import Any
from unittest.mock import patch

import pytest
from http_world import mounted
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World

from billing_adapters.http import Api, Caller
from billing_adapters.http.shapes import camel
from billing_core import InvalidCommand, Usage, code, tokens, tool

SIGNATURE = inspect.signature(tokens).parameters
NUMBERS = [name for name, each in SIGNATURE.items() if each.default == 0]
QUESTIONS = [name for name in SIGNATURE if "_includes_" in name]
OLD = {"input", "output", "cached_read", "cache_write", "reasoning"}
FACTS = {"service_tier": "batch", "region": "us"}
WORLD = World(priced=False)
CLIENT = mounted("plain", Api(WORLD.billing, {"service-key": Caller("gateway", "service")}.get))


def json_name(name: str) -> str:
    return camel(f"{name}_tokens" if name in OLD else name)


def posted(path: str, body: dict[str, Any]) -> tuple[int, Usage | None, Any]:
    """The answer's status, the usage that the engine was given, and the answer's error."""
    found: list[Usage] = []
    execute = WORLD.billing.execute

    def seen(commands: Any) -> Any:
        found.extend(each.usage for each in commands)
        return execute(commands)

    with patch.object(WORLD.billing, "execute", seen):
        answer = CLIENT.post(f"/v1/internal/{path}", body, "service-key", WORLD.key())
    return answer.status, found[0] if found else None, answer.json


GIVEN = st.dictionaries(st.sampled_from(NUMBERS), st.integers(0, 50), max_size=6)
ANSWERS = st.dictionaries(st.sampled_from(QUESTIONS), st.booleans() | st.none())
OTHER = st.none() | st.just({"web_searches": 3, "pages": 10**20})


@settings(max_examples=100)
@given(GIVEN, ANSWERS, OTHER, st.none() | st.just(FACTS), st.booleans())
def test_a_model_call_is_what_tokens_makes_of_it(numbers, answers, other, facts, batch) -> None:
    body: dict[str, Any] = {json_name(name): count for name, count in numbers.items()}
    body |= {camel(name): answer for name, answer in answers.items()}
    body |= {"model": "m", "facts": facts}
    body["other"] = other and {name: str(count) for name, count in other.items()}
    item = {"orgId": "acme", "modelCall": body}
    if batch:
        status, usage, said = posted("settlements", {"settlements": [item | {"key": WORLD.key()}]})
        error = said["data"]["outcomes"][0]["error"]
    else:
        status, usage, said = posted("models/settle", item)
        error = said["error"] if status != 200 else None
    try:
        expected = tokens("m", **numbers, **answers, other=other, facts=facts)
    except InvalidCommand as wrong:
        assert usage is None and error["code"] == "invalid_request"
        assert wrong.expected in error["message"]
    else:
        assert usage == expected and error is None


def test_facts_go_with_whatever_was_used() -> None:
    tooled = posted("tools/execute", {"orgId": "acme", "tool": "t", "calls": 2, "facts": FACTS})
    assert tooled[1] == tool("t", calls=2, facts=FACTS)
    ran = posted("code/execute", {"orgId": "acme", "runtime": "py", "facts": FACTS})
    assert ran[1] == code("py", facts=FACTS)
    used = {"resource": "video", "quantities": {"second": 3}, "facts": FACTS}
    item = {"orgId": "acme", "key": WORLD.key(), "usage": used}
    assert posted("settlements", {"settlements": [item]})[1] == Usage.of(
        "video", {"second": 3}, facts=FACTS
    )


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"tier": 5}, "modelCall.facts.tier"),
        ({"tier": ""}, "modelCall.facts.tier"),
        (["tier"], "modelCall.facts"),
        ({f"f{number}": "x" for number in range(33)}, "facts"),
    ],
)
def test_facts_are_names_with_values(facts: Any, named: str) -> None:
    call = {"model": "m", "inputTokens": 1, "facts": facts}
    status, usage, said = posted("models/settle", {"orgId": "acme", "modelCall": call})
    assert (status, usage, said["error"]["field"]) == (422, None, named)


def test_a_check_asks_by_the_facts_that_are_given() -> None:
    with patch.object(WORLD.billing, "check", side_effect=InvalidCommand("seen", "it", "")) as seen:
        call = {"model": "m", "outputAudio": 5, "facts": FACTS}
        CLIENT.post(
            "/v1/internal/credits/check", {"orgId": "acme", "modelCall": call}, "service-key"
        )
    assert seen.call_args.args == ("acme", tokens("m", output_audio=5, facts=FACTS))
