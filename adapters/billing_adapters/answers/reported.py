"""From what a provider answered to a usage, each token once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from attrs import define, field

from billing_adapters.answers import extractors
from billing_adapters.answers.fields import Number, gathered, get, items, names, word
from billing_adapters.answers.shapes import MEDIA, ROOTS, Shape, shape_of
from billing_core import InvalidCommand, Usage, tokens
from billing_core.values.usage import Payer

__all__ = ["Reported", "read", "usage_from"]

_PLACES: Final = tuple(
    tuple(place.split("."))
    for place in (
        *("usage", "usage_metadata", "usage_info", "meta", "response.usage"),
        *("response.usage_metadata", "response.meta", "message.usage", "metadata.usage"),
        *("metadata", "delta.usage", "data.usage", "result.usage", "result.message.usage"),
        *("response.body.usage", "x_groq.usage", "proto.usage"),
    )
)
"""Where a usage stands in an answer, or in an event of a stream."""

_TIERS: Final = {
    "default": "standard",
    "on_demand": "standard",
    "on_demand_priority": "priority",
    "on_demand_flex": "flex",
    "on_demand_offpeak": "offpeak",
    "service_tier_default": "standard",
    "service_tier_priority": "priority",
    "_batches": "batch",
}
_NO_TIER: Final = {
    *("auto", "unspecified", "traffic_type_unspecified", "service_tier_unspecified"),
}
_NUMBERED_TIERS: Final = {1: "default", 2: "priority"}
"""Of xAI, as protobuf's JSON may say them."""
_FEES: Final = {"web_search_call": "web_searches", "file_search_call": "file_searches"}
"""What is paid for each call of a tool of OpenAI's, beside its tokens."""
_DURATIONS: Final = {
    *("duration", "audio_duration", "input_audio_duration", "output_audio_duration"),
    *("input_video_duration", "output_video_duration"),
}
_IN: Final = tuple(f"input_{of}" for of in MEDIA)
_READ: Final = tuple(f"cached_read_{of}" for of in MEDIA)
_WRITTEN: Final = tuple(f"cache_write_{of}" for of in MEDIA)
_LONG: Final = ("cache_write_1h", "cache_write_12h")
_MADE: Final = (*(f"output_{of}" for of in MEDIA), "accepted_prediction", "rejected_prediction")
_TOKENS: Final = frozenset(
    {
        *("input", "output", "cached_read", "cache_write", "reasoning", "citation"),
        *(*_IN, *_READ, *_WRITTEN, *_LONG, *_MADE),
    }
)
_MAX_DIGITS = 36


@define
class Reported:
    """What was read of an answer, or so far of a stream's events.

    ``numbers``: those of the usage, by path; empty where none was reported.  ``fees``: what else
    is paid for, each by a name of its own: the component.
    """

    numbers: dict[str, Number] = field(factory=dict)
    words: dict[str, str] = field(factory=dict)
    model: str | None = None
    facts: dict[str, str] = field(factory=dict)
    fees: dict[str, str] = field(factory=dict)

    def follow(self, later: Reported) -> None:
        """What a later event reports stands in the place of what was reported before: numbers are
        of all that came so far.  A zero takes nothing back."""
        self.numbers |= {
            path: count
            for path, count in later.numbers.items()
            if count or path not in self.numbers
        }
        self.words |= later.words
        self.facts |= later.facts
        self.fees |= later.fees
        self.model = later.model or self.model

    def charged(self) -> dict[str, int]:
        """How often each fee is to be paid, by component."""
        found = Counter(self.fees.values())
        if "tool_usage.web_search.num_requests" in self.numbers:  # which tells itself
            del found["web_searches"]
        return found


# -- what stands where ----------------------------------------------------------


def read(answer: object) -> Reported:
    """What an answer, or an event of a stream, reports; nothing where it reports nothing."""
    found = Reported()
    holder, usage = _found(answer)
    if usage is not None:
        found.numbers, found.words = gathered(usage)
        for name in ("tool_usage", "svg_usage"):
            extra, _ = gathered(get(holder, name))
            found.numbers |= {f"{name}.{path}": count for path, count in extra.items()}
    inner = (get(answer, name) for name in ("response", "message", "data", "item", "proto"))
    for each in (answer, *inner, holder):
        if each is not None and not isinstance(each, str):
            _add_said(found, each)
    found.facts |= dict(_told(found.words))
    if usage is None and (made := items(get(answer, "data"))) and names(made[0]) & _PICTURE:
        found.numbers = {"images": len(made)}
    return found


_PICTURE: Final = {"url", "b64_json"}


def _found(answer: object) -> tuple[object, object]:
    """The usage in an answer, and what it stands in."""
    own = names(answer)
    if not own.isdisjoint(ROOTS):
        return None, answer
    here = own if isinstance(answer, Mapping) else None
    for path in _PLACES:
        if here is not None and path[0] not in here:
            continue
        holder: object = None
        thing = answer
        for name in path:
            holder, thing = thing, get(thing, name)
            if thing is None or isinstance(thing, str):
                break
        else:
            if names(thing) & ROOTS:
                return holder, thing
    return None, None


def _add_said(found: Reported, holder: object) -> None:
    """What stands beside the usage: the model, the tier, tools that were called."""
    for name in ("model", "model_name", "model_version"):
        found.model = word(get(holder, name)) or found.model
    if (tier := get(holder, "service_tier")) is not None:
        named = _NUMBERED_TIERS.get(tier) if type(tier) is int else word(tier)
        found.facts |= dict(_tier(named or word(get(tier, "type"))))
    if word(get(get(holder, "performance_config"), "latency")) == "optimized":
        found.facts["latency"] = "optimized"
    for name in ("quality", "size"):
        if said := word(get(holder, name)):
            found.facts[name] = said
    for call in (holder, *items(get(holder, "output"))):
        found.fees |= dict(_called(call))
    for candidate in items(get(holder, "candidates")):
        grounding = get(candidate, "grounding_metadata")
        found.fees |= dict(_grounded(grounding, found.model or ""))


def _tier(said: str | None) -> Iterator[tuple[str, str]]:
    if said is not None and (tier := said.lower()) not in _NO_TIER:
        yield "service_tier", _TIERS.get(tier, tier)


def _told(words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The facts that stand in the usage itself."""
    yield from _tier(words.get("traffic_type"))
    yield from _tier(words.get("service_tier"))
    if "speed" in words:
        yield "speed", words["speed"]
    if words.get("inference_geo", "not_available") != "not_available":
        yield "region", words["inference_geo"]


def _called(call: object) -> Iterator[tuple[str, str]]:
    """What is paid for a call of one of OpenAI's tools."""
    kind = word(get(call, "type"))
    name = word(get(call, "id"))
    if kind is None or not kind.endswith("_call") or name is None:
        return
    if kind == "code_interpreter_call":
        yield f"session {word(get(call, 'container_id')) or name}", "sessions"
    elif kind in _FEES and (word(get(get(call, "action"), "type")) or "search") == "search":
        yield f"{kind} {name}", _FEES[kind]


def _grounded(grounding: object, model: str) -> Iterator[tuple[str, str]]:
    """Google's searches are paid by the query, before Gemini 3 by the prompt."""
    queries = [each for each in items(get(grounding, "web_search_queries")) if each]
    by_prompt = model.rpartition("/")[2].startswith(("gemini-1", "gemini-2"))
    for query in queries[:1] if by_prompt else queries:
        yield ("search" if by_prompt else f"search {query}"), "web_searches"
    if any(get(chunk, "maps") is not None for chunk in items(get(grounding, "grounding_chunks"))):
        yield "map", "map_searches"


# -- what it comes to -----------------------------------------------------------


def usage_from(
    reported: Reported,
    answer: object,
    *,
    provider: str | None,
    model: str | None,
    facts: Mapping[str, str] | None,
    payer: Payer | Mapping[str, Payer],
    item: str | None,
    reported_cost: bool,
) -> Usage:
    """The usage that was read, with the arguments of `usage_of`."""
    numbers = reported.numbers
    name = model or reported.model
    who = extractors.known_provider(provider)
    if who is not None and (own := extractors.shape_by(who, answer)) is not None:
        shape, numbers = own
    elif not numbers:
        raise InvalidCommand("answer", type(answer), "an answer in which usage was reported")
    elif numbers.keys() == {"images"}:
        shape = Shape("pictures", {"images": "images"})
    else:
        shape = shape_of(numbers, reported.words, who)
    if not name:
        raise InvalidCommand("model", model, "the model's name: the answer does not say it")
    numbers = {path: count for path, count in numbers.items() if _is_number(count, path, shape)}
    found = {part: _quantity(part, count) for part, count in shape.read(numbers).items()}
    found = {**reported.charged(), **found}
    counted = {part: found.pop(part) for part in list(found) if part in _TOKENS}
    known = _known(facts, reported.facts)
    rest = found | _unknown(numbers, shape)
    if reported_cost:
        rest["provider_cost"] = _cost(numbers, reported.words)
    grok = any("grok" in each.lower() for each in (name, reported.model or ""))
    usage = _tokens(name, counted, numbers, shape, "x-ai" if grok else who)
    beyond = _quantity(shape.total, numbers.get(shape.total, 0)) - sum(
        quantity for _, quantity, _ in usage.parts
    )
    beyond -= sum(count for path, count in rest.items() if "token" in path)
    if beyond > 0 and "input_audio_duration" not in rest:  # else it is what is sold by time
        rest[shape.total] = rest.get(shape.total, 0) + beyond
    parts = {part: quantity for part, quantity, _ in usage.parts} | rest
    return Usage.of(usage.resource, parts, payer=payer, item=item, facts=known)


def _known(asked: Mapping[str, str] | None, served: Mapping[str, str]) -> dict[str, str]:
    if asked is not None and not isinstance(asked, Mapping):
        raise InvalidCommand("facts", asked, 'a mapping, such as {"region": "eu"}')
    known = {**(asked or {}), **served}
    if (asked or {}).get("service_tier") == "batch" and known["service_tier"] == "standard":
        known["service_tier"] = "batch"
    return known


def _is_number(count: Number, path: str, shape: Shape) -> bool:
    if isinstance(count, int) or count.is_finite():
        return True
    if shape.knows(path):
        raise InvalidCommand(path, str(count), "a number")
    return False  # what has no value is no quantity


def _quantity(name: str, count: Number) -> int:
    """A component's quantity; of time in microseconds."""
    if isinstance(count, Decimal):
        if count.adjusted() >= _MAX_DIGITS:
            raise InvalidCommand(name, type(count), "a quantity below 10**36")
        if name in _DURATIONS:
            return _whole(name, int((count * 1_000_000).to_integral_value()))
        if count != (whole := int(count)):
            raise InvalidCommand(name, str(count), "a whole number")
        return _whole(name, whole)
    return _whole(name, count * 1_000_000 if name in _DURATIONS else count)


def _whole(name: str, count: int) -> int:
    if count < 0:
        raise InvalidCommand(name, count, "0 or more")
    return count


def _unknown(numbers: Mapping[str, Number], shape: Shape) -> dict[str, int]:
    """What nothing knows: by its own name, so that it settles as unpriced and is seen.

    What is not whole is counted in billionths, and what is below 0 by its size; the name says so.
    """
    found: dict[str, int] = {}
    for path, number in numbers.items():
        count = number
        if not count or shape.knows(path):
            continue
        name = "".join(each if each.isascii() and each.isprintable() else "_" for each in path)
        if count < 0:
            name, count = f"{name}.negative", -count
        if isinstance(count, Decimal):
            if count.adjusted() >= _MAX_DIGITS:
                raise InvalidCommand(name[-100:], type(count), "a number below 10**36")
            if count != int(count):
                name = f"{name}.billionths"
                count = (count * 10**9).to_integral_value(ROUND_CEILING)
        name = name[-200:]
        found[name] = found.get(name, 0) + int(count)
    return found


def _cost(numbers: Mapping[str, Number], words: Mapping[str, str]) -> int:
    """The reported cost in billionths, up where it is finer."""
    for path, per in (("cost", 10**9), ("cost.total_cost", 10**9), ("cost_in_usd_ticks", None)):
        count = numbers.get(path)
        said = words.get(path, "")
        if count is None and said.isascii() and said.isdecimal() and len(said) < _MAX_DIGITS:
            count = int(said)  # JSON of protobuf has long integers as text
        if count is not None:
            exact = Decimal(count) / 10 if per is None else Decimal(count) * per
            return _whole(path, int(exact.to_integral_value(ROUND_CEILING)))
    raise InvalidCommand("reported_cost", True, "an answer that reports what it cost")


def _tokens(
    name: str, counted: dict[str, int], numbers: Mapping[str, Number], shape: Shape, who: str | None
) -> Usage:
    apart = shape.reasoning_apart
    if apart is None:
        apart = _reasoning_apart(counted, numbers, who)
    media = True
    if shape.name == "images" and "output_tokens_details.text_tokens" not in numbers:
        counted["output_image"] = counted.get("output", 0)
    if shape.name == "cohere":
        counted["cached_read"] = min(counted.get("cached_read", 0), counted.get("input", 0))
        said = numbers.get("billed_units.text_tokens", 0) + counted.get("input_image", 0)
        media = said == counted.get("input", 0)
    _fit(counted, cached_apart=shape.cached_apart, apart=apart, media=media)
    every: dict[str, Any] = counted
    return tokens(
        name,
        **every,
        input_includes_cached=not shape.cached_apart,
        input_includes_media=media,
        media_includes_cached=True,
        cached_read_includes_media=True,
        cache_write_includes_long=True,
        cache_write_includes_media=True,
        output_includes_reasoning=not apart,
        output_includes_media=True,
        output_includes_citation=not apart,
        output_includes_predictions=True,
    )


def _reasoning_apart(
    counted: Mapping[str, int], numbers: Mapping[str, Number], who: str | None
) -> bool:
    """Whether the output does not count the reasoning: who follows OpenAI's chat does not follow it
    in that.  The total tells, or else the provider."""
    given, made, thought = (counted.get(each, 0) for each in ("input", "output", "reasoning"))
    if thought > made or "citation_tokens" in numbers or who == "perplexity":
        return True
    total = numbers.get("total_tokens", 0)
    if total in (given + made, given + made + thought) and thought:
        return total != given + made
    return who == "x-ai"


def _fit(counted: dict[str, int], *, cached_apart: bool, apart: bool, media: bool) -> None:
    """Make what contains others as large as they are: parts stand as they were reported.

    Where cached tokens and those of media come to more than the input, both count the same ones,
    which are cached audio, images or video then.
    """

    def sum_of(*parts: str) -> int:
        return sum(counted.get(part, 0) for part in parts)

    def at_least(whole: str, least: int) -> None:
        if counted.get(whole, 0) < least:
            counted[whole] = least

    at_least("cached_read", sum_of(*_READ))
    at_least("cache_write", sum_of(*_LONG, *_WRITTEN))
    for given, kept, written in zip(_IN, _READ, _WRITTEN, strict=True):
        at_least(given, sum_of(kept, written))
    cached = 0 if cached_apart else sum_of("cached_read", "cache_write")
    both = 0 if cached_apart else sum_of(*_READ, *_WRITTEN)
    excess = (sum_of(*_IN) - both if media else 0) + cached - sum_of("input")
    for given, kept, written in zip(_IN, _READ, _WRITTEN, strict=True):
        if excess > 0 and not cached_apart and media:
            fresh = sum_of(given) - sum_of(kept, written)
            same = min(excess, fresh, sum_of("cached_read") - sum_of(*_READ))
            counted[kept] = sum_of(kept) + same
            excess -= same
    counted["input"] = sum_of("input") + max(0, excess)
    at_least("output", sum_of(*_MADE) + (0 if apart else sum_of("reasoning", "citation")))
    for part in [part for part, count in counted.items() if not count]:
        del counted[part]
