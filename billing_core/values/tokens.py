"""The tokens of one call of a model, as its provider reported them, each counted once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from billing_core.errors import InvalidCommand
from billing_core.values.usage import PLATFORM, Payer, Usage, check_quantity, model

__all__ = ["tokens"]

_MEDIA = ("audio", "image", "video")


def _of_media(*kinds: str) -> tuple[str, ...]:
    return tuple(f"{kind}_{medium}" for kind in kinds for medium in _MEDIA)


_LONG = ("cache_write_1h", "cache_write_12h")
_CACHED = (
    *("cached_read", "cached_read_explicit", "cache_write", *_LONG),
    *_of_media("cached_read", "cache_write"),
)
_INCLUDES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "cached_read": {"cached_read_includes_media": _of_media("cached_read")},
    "cache_write": {
        "cache_write_includes_long": _LONG,
        "cache_write_includes_media": _of_media("cache_write"),
    },
    **{
        f"input_{medium}": {
            "media_includes_cached": (f"cached_read_{medium}", f"cache_write_{medium}")
        }
        for medium in _MEDIA
    },
    "input": {"input_includes_media": _of_media("input"), "input_includes_cached": _CACHED},
    "output": {
        "output_includes_media": _of_media("output"),
        "output_includes_reasoning": ("reasoning",),
        "output_includes_citation": ("citation",),
        "output_includes_predictions": ("accepted_prediction", "rejected_prediction"),
    },
}
"""What may count what: by component, the question that says so and the parts it is about.  A
component stands behind those that it may count."""

_COUNTED_BY: Final = {
    part: tuple(
        (place, whole, question)
        for place, (whole, asked) in enumerate(_INCLUDES.items())
        for question, parts in asked.items()
        if part in parts
    )
    for part in {each for asked in _INCLUDES.values() for parts in asked.values() for each in parts}
}
"""The same by part: what may count it, with its place in the table."""
_RARE: Final = (
    *_of_media("input"),
    *_of_media("cached_read"),
    "cached_read_explicit",
    *_LONG,
    *_of_media("cache_write", "output"),
    *("citation", "accepted_prediction", "rejected_prediction"),
)
_NO_RARE: Final = (0,) * len(_RARE)
_ALWAYS_ASKED = {"input_includes_cached", "output_includes_reasoning"}
"""Also where the whole is 0: one that was forgotten is seen."""
_ALWAYS_HERE = ("input", "output", "cached_read", "cache_write", "reasoning")
"""These are never among the others, not even as 0."""
_WORDS = {
    "media": "audio, image or video",
    "long": "one-hour or twelve-hour",
    "predictions": "prediction",
}


def tokens(
    model_name: str,
    *,
    input: int = 0,
    output: int = 0,
    input_audio: int = 0,
    input_image: int = 0,
    input_video: int = 0,
    cached_read: int = 0,
    cached_read_audio: int = 0,
    cached_read_image: int = 0,
    cached_read_video: int = 0,
    cached_read_explicit: int = 0,
    cache_write: int = 0,
    cache_write_1h: int = 0,
    cache_write_12h: int = 0,
    cache_write_audio: int = 0,
    cache_write_image: int = 0,
    cache_write_video: int = 0,
    output_audio: int = 0,
    output_image: int = 0,
    output_video: int = 0,
    reasoning: int = 0,
    citation: int = 0,
    accepted_prediction: int = 0,
    rejected_prediction: int = 0,
    input_includes_cached: bool | None = None,
    input_includes_media: bool | None = None,
    media_includes_cached: bool | None = None,
    cached_read_includes_media: bool | None = None,
    cache_write_includes_long: bool | None = None,
    cache_write_includes_media: bool | None = None,
    output_includes_reasoning: bool | None = None,
    output_includes_media: bool | None = None,
    output_includes_citation: bool | None = None,
    output_includes_predictions: bool | None = None,
    other: Mapping[str, int] | None = None,
    payer: Payer | Mapping[str, Payer] = PLATFORM,
    facts: Mapping[str, str] | None = None,
) -> Usage:
    """One call of a model, as its provider reported it, split so that no token counts twice (rule
    5.7).

    Providers differ in what they count.  Each ``…_includes_…`` says whether a number counts
    certain parts; it is needed where both are there and it makes a difference.  What a number
    counts, it counts with all that this counts in turn, and each token once: cached audio is taken
    out of the input once, also where both the cached tokens and the audio ones count it.

    Args:
        model_name: The model; its resource is ``model:<model_name>``.
        input: Input tokens, as reported.
        output: Output tokens, as reported.
        input_audio: Audio tokens of the input.
        input_image: Image tokens of the input.
        input_video: Video tokens of the input.
        cached_read: Tokens that were read from the provider's cache.
        cached_read_audio: Audio tokens that were read from it.
        cached_read_image: Image tokens that were read from it.
        cached_read_video: Video tokens that were read from it.
        cached_read_explicit: Tokens that were read from a cache that the caller made, where the
            provider has a price of its own for these.
        cache_write: Tokens that were written to the cache, for five minutes or where no lifetime is
            said.
        cache_write_1h: Tokens that were written for one hour.
        cache_write_12h: Tokens that were written for twelve hours.
        cache_write_audio: Audio tokens that were written.
        cache_write_image: Image tokens that were written.
        cache_write_video: Video tokens that were written.
        output_audio: Audio tokens of the output.
        output_image: Image tokens of the output.
        output_video: Video tokens of the output.
        reasoning: Reasoning tokens.
        citation: Tokens of citations.
        accepted_prediction: Tokens of a predicted output that were taken.
        rejected_prediction: Tokens of a predicted output that were not.
        input_includes_cached: Whether ``input`` counts what was read from the cache and written to
            it (OpenAI, Google: yes; Anthropic: no); needed wherever there is any.
        input_includes_media: Whether ``input`` counts audio, images and video.
        media_includes_cached: Whether ``input_audio`` counts ``cached_read_audio`` and
            ``cache_write_audio``, and likewise images and video.
        cached_read_includes_media: Whether ``cached_read`` counts the audio, images and video.
        cache_write_includes_long: Whether ``cache_write`` counts the longer lifetimes.
        cache_write_includes_media: Whether ``cache_write`` counts the audio, images and video.
        output_includes_reasoning: Whether ``output`` counts ``reasoning``; needed wherever there is
            any.
        output_includes_media: Whether ``output`` counts audio, images and video.
        output_includes_citation: Whether ``output`` counts ``citation``.
        output_includes_predictions: Whether ``output`` counts both predictions.
        other: Further components that the price book has, with their quantities, as they are.
        payer: Who pays: ``platform`` (the org's credit) or ``customer`` (recorded, not charged;
            rule 8.5), for all components or by component.
        facts: What else is known of the request, such as ``{"service_tier": "batch"}`` (rule 5.9).

    Returns:
        The usage, with a component of the same name for each number, and those of ``other``; those
        of 0 are left out.

    Raises:
        InvalidCommand: For a quantity that is not accepted, where it must be said what includes
            what, or where parts are more than what is said to include them.
    """
    reported = {
        "input": input,
        "output": output,
        "cached_read": cached_read,
        "cache_write": cache_write,
        "reasoning": reasoning,
    }
    rare = (
        input_audio,
        input_image,
        input_video,
        cached_read_audio,
        cached_read_image,
        cached_read_video,
        cached_read_explicit,
        cache_write_1h,
        cache_write_12h,
        cache_write_audio,
        cache_write_image,
        cache_write_video,
        output_audio,
        output_image,
        output_video,
        citation,
        accepted_prediction,
        rejected_prediction,
    )
    if rare != _NO_RARE or not isinstance(payer, str):  # what is not used may have a payer too
        reported |= zip(_RARE, rare, strict=True)
    used = {name: count for name, count in reported.items() if type(count) is not int or count}
    for name, count in used.items():
        check_quantity(name, count)
    if rare == _NO_RARE:  # what most calls are made of
        if cached := used.get("cached_read", 0) + used.get("cache_write", 0):
            used["input"] = _less("input_includes_cached", input_includes_cached, input, cached)
        if reasoning:
            asked = "output_includes_reasoning"
            used["output"] = _less(asked, output_includes_reasoning, output, reasoning)
    else:
        answers = {
            "input_includes_cached": input_includes_cached,
            "input_includes_media": input_includes_media,
            "media_includes_cached": media_includes_cached,
            "cached_read_includes_media": cached_read_includes_media,
            "cache_write_includes_long": cache_write_includes_long,
            "cache_write_includes_media": cache_write_includes_media,
            "output_includes_reasoning": output_includes_reasoning,
            "output_includes_media": output_includes_media,
            "output_includes_citation": output_includes_citation,
            "output_includes_predictions": output_includes_predictions,
        }
        used = _each_once(used, answers)
    if not isinstance(payer, str):
        used = reported | used
    if other is not None:
        if not isinstance(other, Mapping):
            raise InvalidCommand("other", other, "a mapping of component to quantity")
        for name in other:
            if name in _ALWAYS_HERE or reported.get(name):
                raise InvalidCommand("other", name, f"a component other than {name!r}, once")
        used.update(other)
    return Usage.of(model(model_name), used, payer=payer, facts=facts)


def _each_once(used: Mapping[str, int], answers: Mapping[str, bool | None]) -> dict[str, int]:
    """The tokens that are each component's alone.

    A number less those that it counts, also by way of others: what it counts is a set of
    components, so that one which is reached in two ways is taken out once.
    """
    asked: dict[tuple[int, str], dict[str, set[str]]] = {}
    for part in used:
        for place, whole, question in _COUNTED_BY.get(part, ()):
            asked.setdefault((place, whole), {}).setdefault(question, set()).add(part)
    alone = dict(used)
    counted: dict[str, set[str]] = {}  # by component: those that its number counts beside it
    for (_, whole), questions in sorted(asked.items()):
        inside: set[str] = set()
        unsaid: list[tuple[str, set[str]]] = []
        for question, parts in questions.items():
            reached = parts.union(*[counted[part] for part in parts if part in counted])
            if answers[question] is True:
                inside |= reached
            elif answers[question] is not False:
                unsaid.append((question, reached))
        for question, reached in unsaid:
            # Where what was said settles all, nothing needs to be asked.
            matters = whole in used or question in _ALWAYS_ASKED
            if matters and any(alone[each] for each in reached - inside):
                raise _unsaid(question, answers[question])
        if not inside:
            continue
        said = [question for question in _INCLUDES[whole] if answers[question] is True]
        kinds = " and ".join(_kind(question) for question in said if question in questions)
        taken = sum([alone[each] for each in inside])
        alone[whole] = _rest(whole, kinds, used.get(whole, 0), taken)
        counted[whole] = inside
    return alone


def _less(question: str, answer: bool | None, total: int, part: int) -> int:
    """What is left of a number, by whether it counts a part."""
    if type(answer) is not bool:
        raise _unsaid(question, answer)
    whole, _, kind = question.partition("_includes_")
    return _rest(whole, kind, total, part) if answer else total


def _rest(whole: str, kinds: str, total: int, taken: int) -> int:
    if taken > total:
        expected = f"at most the {total} {whole} tokens that are said to include them"
        raise InvalidCommand(kinds, taken, expected)
    return total - taken


def _unsaid(question: str, answer: object) -> InvalidCommand:
    kind = _WORDS.get(_kind(question), _kind(question))
    expected = f"True or False, since there are {kind} tokens and providers differ"
    return InvalidCommand(question, answer, expected)


def _kind(question: str) -> str:
    return question.partition("_includes_")[2]
