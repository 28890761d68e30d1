"""Rule 5.7: each token that a provider reports is in one component alone, and what counts what is
asked where it makes a difference."""

import inspect
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from billing_core import InvalidCommand, Usage, code, tokens, tool

MEDIA = ("audio", "image", "video")
SIGNATURE = inspect.signature(tokens).parameters
QUESTIONS = [name for name in SIGNATURE if "_includes_" in name]
COMPONENTS = [name for name, each in SIGNATURE.items() if each.default == 0]
ASKED_ALONE = {"input_includes_cached", "output_includes_reasoning"}


def parts(usage: Usage) -> dict[str, int]:
    return {component: quantity for component, quantity, _ in usage.parts}


def medium(component: str) -> str | None:
    return next((each for each in MEDIA if component.endswith(each)), None)


def counts(number: str, token: str, says: dict[str, bool]) -> bool:
    """Whether a provider counts a token of one component in the number of another."""
    of, cached = medium(token), token.startswith(("cached_read", "cache_write"))
    match number:
        case _ if number == token:
            return True
        case "input" if cached:
            by_media = of and says["input_includes_media"] and says["media_includes_cached"]
            return bool(by_media) or says["input_includes_cached"]
        case "input":
            return token.startswith("input_") and says["input_includes_media"]
        case "input_audio" | "input_image" | "input_video":
            return cached and of == medium(number) and says["media_includes_cached"]
        case "cached_read":
            return (
                token.startswith("cached_read_") and bool(of) and says["cached_read_includes_media"]
            )
        case "cache_write" if token in ("cache_write_1h", "cache_write_12h"):
            return says["cache_write_includes_long"]
        case "cache_write":
            return token.startswith("cache_write_") and says["cache_write_includes_media"]
        case "output" if token.endswith("_prediction"):
            return says["output_includes_predictions"]
        case "output" if token in ("reasoning", "citation"):
            return says[f"output_includes_{token}"]
        case "output":
            return token.startswith("output_") and says["output_includes_media"]
        case _:
            return False


def reported(used: dict[str, int], says: dict[str, bool]) -> dict[str, int]:
    """Each number as a provider reports it that counts so."""
    return {
        number: sum(count for token, count in used.items() if counts(number, token, says))
        for number in COMPONENTS
    }


COUNTS = st.integers(1, 3) | st.integers(1, 10**12)
USUAL = ("input", "output", "cached_read", "cache_write", "reasoning")
USED = st.dictionaries(st.sampled_from(COMPONENTS), COUNTS, max_size=8) | st.dictionaries(
    st.sampled_from(USUAL), COUNTS
)
ANSWERS = st.fixed_dictionaries({name: st.booleans() for name in QUESTIONS})


ALL = dict.fromkeys(QUESTIONS, True)
NONE = dict.fromkeys(QUESTIONS, False)


def test_what_a_number_counts_it_counts_with_all_that_this_counts() -> None:
    """Cached audio that the audio counts is in the input too, which counts the audio."""
    usage = tokens(
        "m",
        input=100,
        input_audio=30,
        cached_read_audio=10,
        input_includes_media=True,
        media_includes_cached=True,
        input_includes_cached=False,
    )
    assert {part: count for part, count, _ in usage.parts} == {
        "input": 70,
        "input_audio": 20,
        "cached_read_audio": 10,
    }


@given(USED, ANSWERS)
@example(dict.fromkeys(USUAL, 1), ALL)
@example(dict.fromkeys(USUAL, 1), NONE)
@example(dict.fromkeys(COMPONENTS, 1), ALL)
@example(dict.fromkeys(COMPONENTS, 1), NONE)
def test_whatever_counts_what_each_token_is_where_it_belongs(
    used: dict[str, int], says: dict[str, bool]
) -> None:
    assert parts(tokens("m", **reported(used, says), **says)) == used


@given(USED, ANSWERS, st.sampled_from(QUESTIONS))
@example({"input": 1, "cached_read_audio": 2}, ALL, "input_includes_media")
@example({"input": 1, "input_audio": 2}, ALL, "input_includes_cached")
@example({"input": 1, "cached_read_audio": 2}, ALL, "input_includes_cached")
def test_what_counts_what_is_asked_where_it_makes_a_difference(
    used: dict[str, int], says: dict[str, bool], question: str
) -> None:
    """And else not: then either answer leads to the same."""
    numbers = reported(used, says)
    others: dict[str, Any] = {name: each for name, each in says.items() if name != question}
    try:
        silent = parts(tokens("m", **numbers, **others))
    except InvalidCommand as error:
        assert (error.field, error.given) == (question, "None")
        whole = question.partition("_includes_")[0]
        assume(numbers.get(whole, 1) or question not in ASKED_ALONE)
        try:
            turned = parts(tokens("m", **numbers, **others, **{question: not says[question]}))
        except InvalidCommand:
            return  # no such numbers
        assert turned != used
    else:
        assert silent == used
        if all(numbers[whole] for whole in wholes(question, used)):
            other_way = tokens("m", **numbers, **others, **{question: not says[question]})
            assert parts(other_way) == used


def wholes(question: str, used: dict[str, int]) -> list[str]:
    """The numbers that a question is about, where any part of them is there."""
    whole = question.partition("_includes_")[0]
    if whole != "media":
        return [whole]
    return [f"input_{of}" for of in MEDIA if any(each.endswith(of) for each in used)]


# -- as they are reported -------------------------------------------------------


def test_a_realtime_call_of_openai_s() -> None:
    usage = tokens(
        "realtime",
        input=1_000, input_audio=600, cached_read=500, cached_read_audio=400,
        output=80, output_audio=50,
        input_includes_cached=True, input_includes_media=True, media_includes_cached=True,
        cached_read_includes_media=True, output_includes_media=True,
    )  # fmt: skip
    assert parts(usage) == {
        "input": 300, "input_audio": 200, "cached_read": 100, "cached_read_audio": 400,
        "output": 30, "output_audio": 50,
    }  # fmt: skip


def test_writes_of_anthropic_s_by_lifetime() -> None:
    usage = tokens(
        "opus", input=12, cache_write=10_000, cache_write_1h=8_000,
        input_includes_cached=False, cache_write_includes_long=True,
    )  # fmt: skip
    assert parts(usage) == {"input": 12, "cache_write": 2_000, "cache_write_1h": 8_000}


def test_predictions_and_reasoning_come_out_of_the_output_together() -> None:
    usage = tokens(
        "m", output=100, reasoning=20, accepted_prediction=30, rejected_prediction=10,
        output_includes_reasoning=True, output_includes_predictions=True,
    )  # fmt: skip
    assert parts(usage) == {
        "output": 40, "reasoning": 20, "accepted_prediction": 30, "rejected_prediction": 10,
    }  # fmt: skip


# -- what is refused ------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "field"),
    [
        ({"input": 9, "input_audio": 1}, "input_includes_media"),
        ({"input": 9, "cached_read_explicit": 1}, "input_includes_cached"),
        ({"cached_read_explicit": 1}, "input_includes_cached"),
        ({"cached_read": 9, "cached_read_image": 1}, "cached_read_includes_media"),
        ({"cache_write": 9, "cache_write_12h": 1}, "cache_write_includes_long"),
        ({"cache_write": 9, "cache_write_video": 1}, "cache_write_includes_media"),
        ({"input_audio": 9, "cache_write_audio": 1}, "media_includes_cached"),
        ({"output": 9, "output_image": 1}, "output_includes_media"),
        ({"output": 9, "citation": 1}, "output_includes_citation"),
        ({"output": 9, "rejected_prediction": 1}, "output_includes_predictions"),
        ({"reasoning": 1}, "output_includes_reasoning"),
    ],
)
def test_a_question_says_what_there_is(numbers: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidCommand, match=r"True or False, since there are [\w ,-]+ tokens and"):
        tokens("m", **numbers)
    with pytest.raises(InvalidCommand) as caught:
        tokens("m", **numbers)
    assert caught.value.field == field


@pytest.mark.parametrize("numbers", [{"input_audio": 3}, {"output_audio": 3}, {"citation": 2}])
def test_nothing_is_asked_where_there_is_no_whole(numbers: dict[str, int]) -> None:
    assert parts(tokens("m", **numbers)) == numbers


@pytest.mark.parametrize(
    ("numbers", "field", "expected"),
    [
        ({"input": 5, "input_audio": 6}, "media", "at most the 5 input tokens"),
        ({"input": 5, "input_audio": 3, "cached_read": 3}, "media and cached", "at most the 5"),
        (
            {"input_audio": 5, "cached_read": 6, "cached_read_audio": 6},
            "cached",
            "at most the 5 input_",
        ),
        ({"cache_write": 5, "cache_write_1h": 6}, "long", "at most the 5 cache_write"),
        ({"output": 5, "reasoning": 3, "output_audio": 3}, "media and reasoning", "at most the 5"),
        ({"output_audio": 1}, "media", "at most the 0 output"),
    ],
)
def test_parts_above_the_whole_are_refused(
    numbers: dict[str, int], field: str, expected: str
) -> None:
    with pytest.raises(InvalidCommand, match=expected) as caught:
        tokens("m", **numbers, **ALL)
    assert caught.value.field == field


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("quantity", [-1, 1.5, "1", None, True, 10**36])
def test_each_part_is_a_whole_number(component: str, quantity: Any) -> None:
    with pytest.raises(InvalidCommand) as caught:
        tokens("m", **{component: quantity})
    assert caught.value.field == component


def test_what_stood_among_the_others_may_go_on_doing_so() -> None:
    """A part that has a name of its own now, and was taken out by the caller."""
    usage = tokens("m", input=40, other={"input_audio": 60, "cache_write_1h": 5})
    assert parts(usage) == {"input": 40, "input_audio": 60, "cache_write_1h": 5}
    with pytest.raises(InvalidCommand, match="a component other than 'input_audio', once"):
        tokens("m", input_audio=1, other={"input_audio": 60})


def test_a_part_that_was_not_used_may_have_a_payer() -> None:
    usage = tokens("m", input=4, payer={"input": "customer", "cached_read_audio": "customer"})
    assert usage.parts == (("input", 4, "customer"),)


# -- facts (rule 5.9) -----------------------------------------------------------


def test_what_else_is_known_of_the_request_goes_with_it() -> None:
    facts = {"service_tier": "batch", "region": "us"}
    made = [tokens("m", input=1, facts=facts), tool("t", facts=facts), code("c", facts=facts)]
    assert {each.facts for each in made} == {(("region", "us"), ("service_tier", "batch"))}
    assert tokens("m", input=1).facts == ()
