"""Real model prices, from a file in LiteLLM's format (``model_prices_and_context_window.json``).

:func:`read_prices` reads the file that you name, exactly; :func:`import_prices` makes an immutable,
dated :class:`~billing_core.PriceBook` of it, with a markup, and tells what of it is not in the
book, and why.  The project ships no such file and reads none from the network.

The file is the source, and LiteLLM's own cost calculator tells how it is meant: which price stands
in for one that it does not have (DESIGN.md).  Prices that LiteLLM has in its code and not in the
file, such as half of everything for batches, are none.

What a book says is what customers are to see: the models' names in the file, and the price that you
ask.  Cost and markup are not in it.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from billing_adapters.price_lists import (
    EXACTLY,
    PROMPT,
    TIERS,
    Axis,
    Case,
    Import,
    Maker,
    Refused,
    checked,
    factor,
)
from billing_core import Fact, FactIs, Hours, InvalidCommand, Multiplier, Price, SizeAbove, model
from billing_core.values.text import given_name
from billing_core.values.times import micros

__all__ = ["import_prices", "read_prices"]

Entry = Mapping[str, object]

_NO_PRICE = re.compile(
    "supports_.*|max_(input_|output_)?tokens|mode|source|litellm_provider|metadata|comment|rpm|tpm"
    "|deprecation_(date|source)|successor_model|supported_.*|token_count_.*|bedrock_.*|reasoning_.*"
    "|default_reasoning_effort|thinking_(always_on|on_by_default)|prompt_cache_min_tokens"
    "|output_vector_size|use_openai_responses_path|uses_embed_content|vertex_ai_audio_api"
    "|audio_transcription_config|gemini_(audio_only_live|native_audio)"
    # Databricks' own units; the same prices stand beside them in dollars.
    "|(in|out)put_dbu_cost_per_token"
    # How searches are counted by who reports them: by query, or once for a prompt.
    "|web_search_billing_unit"
    # Of provider_specific_entry: what a provider accepts.
    r"|provider_specific_entry\.(realtime_ga_only|dashscope_.*|volcengine_.*|transcription_.*"
    "|bedrock_invocation_schema)"
)
"""What an entry says that is no price."""

_NO_MODELS = frozenset({"sample_spec", "fallback_generalizations"})
"""Entries that are no models: the file's own documentation, and its rules for naming models."""


class _Part(NamedTuple):
    """How a component is priced: by a key, else as the component that contains it."""

    key: str
    within: str | None = None
    per: int = 1
    unit: str = "unit"
    scale: int = 1  # the file's price is for ``per`` of them; tokens are said by the million
    uplifted: bool = True  # whether a region's multiplier is for it, as LiteLLM has it


def _tokens(key: str, within: str | None = None) -> _Part:
    return _Part(key, within, 1_000_000, scale=1_000_000)


_INPUT, _OUTPUT = "input_cost_per_token", "output_cost_per_token"
_READ, _WRITE = "cache_read_input_token_cost", "cache_creation_input_token_cost"
_READ_EXPLICIT = "explicit_cache_read_input_token_cost"
_WRITE_1H, _WRITE_12H = f"{_WRITE}_above_1hr", f"{_WRITE}_above_12hr"
_REASONING = "output_cost_per_reasoning_token"
_NONE = ""

_TOKENS: Mapping[str, _Part] = {
    "input": _tokens(_INPUT),
    "input_audio": _tokens("input_cost_per_audio_token", "input"),
    "input_image": _tokens("input_cost_per_image_token", "input"),
    "input_video": _tokens("input_cost_per_video_token", "input"),
    "cached_read": _tokens(_READ, "input"),
    "cached_read_audio": _tokens("cache_read_input_audio_token_cost", "cached_read"),
    "cached_read_image": _tokens("cache_read_input_image_token_cost", "cached_read"),
    "cached_read_video": _tokens(_NONE, "cached_read"),
    "cached_read_explicit": _tokens(_READ_EXPLICIT, "cached_read"),
    "cache_write": _tokens(_WRITE, "input"),
    "cache_write_1h": _tokens(_WRITE_1H, "cache_write"),
    "cache_write_12h": _tokens(_WRITE_12H, "cache_write"),
    "cache_write_audio": _tokens("cache_creation_input_audio_token_cost", "cache_write"),
    "cache_write_image": _tokens(_NONE, "cache_write"),
    "cache_write_video": _tokens(_NONE, "cache_write"),
    "output": _tokens(_OUTPUT),
    "output_audio": _tokens("output_cost_per_audio_token", "output"),
    "output_image": _tokens("output_cost_per_image_token", "output"),
    "output_video": _tokens("output_cost_per_video_token", "output"),
    "reasoning": _tokens(_REASONING, "output"),
    "citation": _tokens("citation_cost_per_token", "output"),
    "accepted_prediction": _tokens(_NONE, "output"),
    "rejected_prediction": _tokens(_NONE, "output"),
}

_COUNTED: Mapping[str, _Part] = {
    "characters": _Part("input_cost_per_character"),
    "output_characters": _Part("output_cost_per_character"),
    "input_images": _Part("input_cost_per_image"),
    "images": _Part("output_cost_per_image", uplifted=False),
    "queries": _Part("input_cost_per_query"),
    "requests": _Part("input_cost_per_request", uplifted=False),
    "text_messages": _Part("input_cost_per_text_message", uplifted=False),
    "input_audio_duration": _Part("input_cost_per_audio_per_second", unit="second"),
    "input_video_duration": _Part("input_cost_per_video_per_second", unit="second"),
    "output_video_duration": _Part(
        "output_cost_per_video_per_second", unit="second", uplifted=False
    ),
    "pages": _Part("ocr_cost_per_page", uplifted=False),
    "annotated_pages": _Part("annotation_cost_per_page", uplifted=False),
    "map_searches": _Part("google_maps_grounding_cost_per_query", uplifted=False),
    "sessions": _Part("code_interpreter_cost_per_session", uplifted=False),
    "file_searches": _Part("file_search_cost_per_1k_calls", per=1_000, uplifted=False),
}
"""What every model is sold by in the same way.  The rest depends on its mode: see `_counted`."""

_SUFFIXES: Mapping[str, str] = {
    "batch": "_batches",
    "flex": "_flex",
    "priority": "_priority",
    "fast": "_priority",
    "balanced": "_balanced",
    "ultrafast": "_ultrafast",
    "decisions": "_decisions",
}
"""How a service tier's keys end.  ``fast`` costs what ``priority`` does."""

_LEVELS_AND_TIERS = r"(_above_\d+k?_tokens)?(_[a-z]+)?"
_LEVEL = re.compile(r"([0-9]{1,9})(k?)_tokens(_[a-z]+)?")
"""What stands behind the last ``_above_`` of a key."""
_STANDARD_BEFORE_BATCH = frozenset({"cached_read", "cached_read_audio", "output_image"})
"""What costs as much in a batch as else, where it has no price for batches, rather than what
contains it does in one."""
_INCLUSIVE = frozenset({"xai"})
"""Providers whose sizes are reached at their bound, not above it."""

_REGIONS = Fact("region", ("global", "regional", "us", "eu"), "global")
_UPLIFTS: Mapping[str, Sequence[FactIs]] = {
    "regional_processing_uplift_multiplier_us": (FactIs("region", "us"),),
    "regional_processing_uplift_multiplier_eu": (FactIs("region", "eu"),),
    "regional_endpoint_uplift_multiplier": tuple(
        FactIs("region", each) for each in ("regional", "us", "eu")
    ),
    "fedramp_uplift_multiplier": (FactIs("fedramp", "yes"),),
    "provider_specific_entry.us": (FactIs("region", "us"),),
    "provider_specific_entry.fast": (FactIs("speed", "fast"),),
}
_FACTS = (
    Fact("service_tier", TIERS, "standard"),
    _REGIONS,
    Fact("speed", ("standard", "fast"), "standard"),
    Fact("fedramp", ("no", "yes"), "no"),
)
_SIZED = {
    "output_video_duration": re.compile(r"output_cost_per_second_([0-9]+[a-z]+)"),
    "images": re.compile(r"output_cost_per_image_([0-9.]+K?)"),
}
_NESTED = ("provider_specific_entry", "search_context_cost_per_query", "guardrail_cost_per_unit")
_REASONS = {
    r".*_above_\d+s_interval":
        "it depends on the interval at which a video is sampled, which no fact says",
    "search_free_requests":
        "searches that are free of charge, so many a day or month for several models together, are"
        " no price of a request: each search has the price",
    "provider_specific_entry[.]minimax_free_input_images":
        "images that are free of charge, so many in each request: each image has the price",
    "ocr_cost_per_credit": "it is for the provider's own credits, of which no usage tells",
    "guardrail_cost_per_unit[.].*":
        "it is for units of a guardrail, of which no model's usage tells",
}  # fmt: skip
_SEARCH = "search_context_cost_per_query"
_CONTEXTS = ("medium", "low", "high")
_DIGITS = 60
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def read_prices(path: Path | str) -> dict[str, Entry]:
    """The entries of a file in LiteLLM's format, by model, every number exactly as it is written.

    Args:
        path: The file; gzipped if its name ends in ``.gz``.

    Raises:
        InvalidCommand: For a file that is no JSON object of objects.
        OSError: For one that cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        text = gzip.decompress(data) if str(path).endswith(".gz") else data
        found = json.loads(text, parse_float=Decimal)
    except (ValueError, OSError, EOFError, RecursionError, zlib.error) as error:
        raise InvalidCommand("file", str(path), f"a file in LiteLLM's format: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise InvalidCommand("file", str(path), "a JSON object with an object for each model")
    return found


def import_prices(
    version: str,
    effective_at: datetime,
    entries: Mapping[str, Entry],
    *,
    models: Iterable[str] = ("*",),
    markup: str | int | Decimal = 1,
    progress: Callable[[int], None] | None = None,
) -> Import:
    """A price book of the models in a file in LiteLLM's format, and what of it is refused (rule
    5.8).

    Every key of every entry is priced, or refused with the reason, unless it is on a list of what
    is no price (``supports_*``, ``max_tokens``, …).  Prices by size, service tier, region and hour
    are variants and multipliers (rule 5.9).

    Args:
        version: The book's name, unique for ever.
        effective_at: From when it holds, UTC.
        entries: What :func:`read_prices` read.
        models: Patterns of the names to import, with ``*`` and ``?``; one that fits is enough.
        markup: An exact factor above 0, as text, int or `Decimal`: ``"1.20"`` for 20 % more.
        progress: Is told after each model how many were looked at.

    Returns:
        The book, in USD, for everyone, with each model under ``model:`` and its name in the file;
        and what is refused.

    Raises:
        InvalidCommand: For a markup or a version that is not accepted.
    """
    by = factor(markup)
    micros("effective_at", effective_at)
    patterns = tuple(models)
    prices: dict[str, dict[str, Price]] = {}
    source_of: dict[str, str] = {}
    refused: list[Refused] = []
    for number, (name, entry) in enumerate(entries.items(), 1):
        if name not in _NO_MODELS and any(fnmatchcase(name, each) for each in patterns):
            found, not_priced = _model(name, entry, entries, by)
            refused += not_priced
            if found:
                prices[model(name)] = found
                source_of[model(name)] = name
        if progress is not None:
            progress(number)
    book, too_fine = checked(version, effective_at, prices, source_of)
    return Import(book, (*refused, *too_fine))


def _model(
    name: str, entry: Entry, entries: Mapping[str, Entry], markup: Decimal
) -> tuple[dict[str, Price], list[Refused]]:
    target = entry.get("alias_of")
    if isinstance(target, str):
        if target not in entries or "alias_of" in entries[target]:
            return {}, [Refused(name, "alias_of", target, "no entry of the file has that name")]
        entry = {**entries[target], **{key: entry[key] for key in entry if key != "alias_of"}}
    listed = _Listed(entry)
    try:
        given_name("model", model(name))
    except InvalidCommand as error:
        return {}, [Refused(name, *each, str(error)) for each in listed.all()]
    if "*" in name:
        reason = "it is for many models or regions, and its name is that of none"
        return {}, [Refused(name, *each, reason) for each in listed.all()]
    found = listed.prices(markup)
    return found, [Refused(name, *each) for each in listed.refused()]


class _Listed:
    """One entry.  What was asked of it is remembered, so that nothing is left over unseen."""

    def __init__(self, entry: Entry) -> None:
        self._said: dict[str, object] = {}
        for key, value in entry.items():
            if key in _NESTED and isinstance(value, dict):
                self._said |= {f"{key}.{of}": one for of, one in value.items()}
            else:
                self._said[key] = value
        self._mode = entry.get("mode")
        self._inclusive = entry.get("litellm_provider") in _INCLUSIVE
        self._asked: set[str] = set()
        self._bad: dict[str, str] = {}
        self._levels = self._all_levels()
        self._ranges: dict[int, Entry] = self._all_ranges()
        self._hours, self._off_peak = self._all_hours()

    # -- what is left over ----------------------------------------------------------

    def all(self) -> Iterator[tuple[str, str]]:
        """Every key that says something of the price, and what."""
        for key, value in self._said.items():
            if not _NO_PRICE.fullmatch(key):
                yield key, str(value)

    def refused(self) -> Iterator[tuple[str, str, str]]:
        """The keys that no price was made of, what they say, and why."""
        for key, value in self.all():
            if key in self._bad:
                yield key, value, self._bad[key]
            elif key not in self._asked:
                yield key, value, _reason(key)

    # -- reading ----------------------------------------------------------------------

    def _number(self, key: str) -> Decimal | None:
        value = self._said.get(key)
        if value is None or key in self._bad:
            return None
        self._asked.add(key)
        found = _decimal(value)
        if found is None:
            self._bad[key] = f"no number of zero or more, of at most {_DIGITS} digits"
        return found

    def _all_levels(self) -> dict[int, list[str]]:
        """The sizes above which there are other prices, and how keys say each."""
        found: dict[int, list[str]] = {}
        for key in self._said:
            of, _, above = key.rpartition("_above_")
            level = _LEVEL.fullmatch(above)
            if of and level is not None:
                bound = int(level[1]) * (1_000 if level[2] else 1)
                label = f"_above_{level[1]}{level[2]}_tokens"
                labels = found.setdefault(bound, [])
                if label not in labels:
                    labels.append(label)
        return dict(sorted(found.items()))

    def _all_ranges(self) -> dict[int, Entry]:
        """The prices of ``tiered_pricing``, by the size above which each holds."""
        tiers = self._said.get("tiered_pricing")
        if tiers is None:
            return {}
        self._asked.add("tiered_pricing")
        found: dict[int, Entry] = {}
        reached = Decimal(0)
        for tier in tiers if isinstance(tiers, list) else ():
            bounds = tier.get("range") if isinstance(tier, dict) else None
            known = {"range", _INPUT, _OUTPUT, _READ, _WRITE, _WRITE_1H, _WRITE_12H, _REASONING,
                     _READ_EXPLICIT}  # fmt: skip
            if (
                not isinstance(bounds, list)
                or [_decimal(each) for each in bounds[:1]] != [reached]
                or reached != int(reached)
                or not tier.keys() <= known
                or any(_decimal(tier[key]) is None for key in tier if key != "range")
                or _INPUT not in tier
            ):
                self._bad["tiered_pricing"] = (
                    "its price depends on how many results are asked for, which no fact says"
                    if isinstance(tier, dict) and "max_results_range" in tier
                    else "not prices of tokens by ranges of the prompt's size, one after the other"
                )
                return {}
            found[int(reached)] = tier
            reached = _decimal(bounds[1]) or Decimal(0)
        first = found.get(0, {})
        for key in (_INPUT, _OUTPUT, _READ, _WRITE, _REASONING):
            if key in self._said:
                if key in first and _decimal(self._said[key]) == _decimal(first[key]):
                    self._asked.add(key)  # the first range says the same
                elif key in first or key in (_INPUT, _READ, _WRITE):
                    self._bad[key] = "tiered_pricing stands in its place"
        return found

    def _all_hours(self) -> tuple[Axis, Mapping[str, Decimal]]:
        """The off-peak hours, none at the same time as another, and what is paid then."""
        block = self._said.get("off_peak_pricing")
        if not isinstance(block, dict):
            return (), {}
        self._asked.add("off_peak_pricing")
        keys = {_INPUT, _OUTPUT, _READ, _WRITE, _REASONING, _READ_EXPLICIT}
        told = {"hours_utc", "windows", "weekday_timezone"}
        rates = {key: _decimal(block[key]) for key in block if key in keys}
        try:
            hours = _weekly(block)
        except ValueError as error:
            self._bad["off_peak_pricing"] = f"hours that cannot be said: {error}"
            return (), {}
        if not block.keys() <= keys | told or None in rates.values():
            self._bad["off_peak_pricing"] = "it says more than prices of tokens by the hour"
            return (), {}
        return hours, {key: each for key, each in rates.items() if each is not None}

    # -- what it costs ----------------------------------------------------------------

    def prices(self, markup: Decimal) -> dict[str, Price]:
        """The prices of its components."""
        parts = {**_TOKENS, **self._counted()}
        axes = self._axes()
        uplifts = list(self._uplifts())
        maker = Maker(markup, _FACTS)
        found: dict[str, Price] = {}
        for component, part in parts.items():
            try:
                price = maker.price(
                    axes, self._rate(parts, component), per=part.per, unit=part.unit,
                    multipliers=uplifts if part.uplifted else (),
                )  # fmt: skip
            except InvalidCommand as error:
                # So is what is counted as this component, rather than at the price of more.
                for key in self._said if part.key else ():
                    if re.fullmatch(re.escape(part.key) + _LEVELS_AND_TIERS, key):
                        reason = f"no price can say it: expected {error.expected}"
                        self._bad.setdefault(key, reason)
            else:
                if price is not None:
                    found[component] = price
        return found | dict(self._by_fact(parts, markup))

    def _axes(self) -> list[Axis]:
        self._bounds = {
            SizeAbove(bound - self._inclusive, PROMPT): bound
            for bound in sorted({*self._levels, *self._ranges} - {0}, reverse=True)
        }
        tiers = tuple(
            FactIs("service_tier", tier)
            for tier, suffix in _SUFFIXES.items()
            if any(key.endswith(suffix) for key in self._said)
        )
        return [tuple(self._bounds), self._hours, tiers]

    def _uplifts(self) -> Iterator[Multiplier]:
        for key, conditions in _UPLIFTS.items():
            by = self._number(key)
            if by == 0:
                self._bad[key] = "nothing would cost anything"
            elif by is not None and by != 1:
                for each in conditions:
                    yield Multiplier(by, each)

    def _counted(self) -> dict[str, _Part]:
        """What it is sold by beside tokens, and by another key than others."""
        parts = dict(_COUNTED)
        read = self._one_of(_READ, "input_cost_per_token_cache_hit")
        if read is not None:
            parts["cached_read"] = _tokens(read, "input")
        said = self._said
        if self._mode == "rerank":
            parts["rerank_searches"] = parts.pop("queries")
        if self._mode == "image_generation":
            if "output_cost_per_image" not in said and "input_cost_per_image" in said:
                parts["images"] = parts.pop("input_images")._replace(uplifted=False)
            made = self._one_of(
                "output_cost_per_image", "input_cost_per_pixel", "output_cost_per_pixel"
            )
            if made is not None and made.endswith("pixel"):
                parts["output_pixels"] = _Part(made, uplifted=False)
        else:
            parts["pixels"] = _Part("input_cost_per_pixel")
            parts["output_pixels"] = _Part("output_cost_per_pixel", uplifted=False)
        parts |= {each: _Part(key, None, 1, "second") for each, key in self._seconds()}
        return parts

    def _seconds(self) -> Iterator[tuple[str, str]]:
        """What is counted by the second, and by which key: that depends on what the model does."""
        given, made = "input_cost_per_second", "output_cost_per_second"
        of_it = "output_cost_per_video_per_second"
        match self._mode:
            case "audio_transcription":
                # Both are of the audio that was given; the one that is not zero counts.
                first = made if self._number(made) else given
                key = self._one_of(first, given, made)
                components = ["audio_duration", "input_audio_duration"]
            case "realtime":
                key, components = given, ["audio_duration"]
                if "input_cost_per_audio_per_second" not in self._said:
                    components.append("input_audio_duration")
            case "audio_speech":
                key, components = made, ["output_audio_duration"]
            case "video_generation":
                key, components = self._one_of(of_it, made), ["output_video_duration"]
            case _:
                key, components = self._one_of("cost_per_second", given, made), ["duration"]
        if key is not None:
            for component in components:
                yield component, key

    def _one_of(self, *keys: str) -> str | None:
        """The first of keys that say the price of the same thing; another one that says neither
        that nor zero is refused."""
        said = [key for key in keys if key in self._said]
        for key in said:
            if self._number(key) not in (0, self._number(said[0])):
                self._bad[key] = f"{said[0]} is the price of the same"
        return said[0] if said else None

    def _by_fact(self, parts: Mapping[str, _Part], markup: Decimal) -> Iterator[tuple[str, Price]]:
        """What costs more or less by a fact that its keys name."""
        for component, pattern in _SIZED.items():
            keys = {
                name[1]: key for key in self._said
                if (name := pattern.fullmatch(key)) and self._number(key) is not None
            }  # fmt: skip
            plain = parts[component].key
            if keys and self._number(plain) is not None:
                keys["default"] = plain
            if keys:
                dearest = max(keys, key=lambda size: self._number(keys[size]) or 0)
                unsaid = "default" if "default" in keys else dearest
                yield component, self._chosen("size", keys, unsaid, markup, parts[component].unit)
        contexts = {
            each: key for each in _CONTEXTS
            if self._number(key := f"{_SEARCH}.search_context_size_{each}") is not None
        }  # fmt: skip
        if contexts:
            unsaid = next(iter(contexts))
            keys = {each: contexts.get(each, contexts[unsaid]) for each in _CONTEXTS}
            yield "web_searches", self._chosen("search_context", keys, unsaid, markup, "unit")

    def _chosen(
        self, name: str, keys: Mapping[str, str], unsaid: str, markup: Decimal, unit: str
    ) -> Price:
        """A price by the value of a fact, each under a key of its own."""
        maker = Maker(markup, [Fact(name, keys, unsaid)])

        def rate(case: Case) -> Decimal | None:
            [each] = case
            return self._number(keys[each.value if isinstance(each, FactIs) else unsaid])

        axis = tuple(FactIs(name, value) for value in keys if value != unsaid)
        if not axis:
            return cast("Price", maker.price([], lambda _: self._number(keys[unsaid]), unit=unit))
        return cast("Price", maker.price([axis], rate, unit=unit))

    # -- one case ---------------------------------------------------------------------

    def _rate(self, parts: Mapping[str, _Part], component: str) -> Callable[[Case], Decimal | None]:
        scale = parts[component].scale

        def rate(case: Case) -> Decimal | None:
            at = _At(0, "standard", False)
            for each in case:
                match each:
                    case SizeAbove():
                        at = at._replace(bound=self._bounds[each])
                    case FactIs(_, tier):
                        at = at._replace(tier=tier)
                    case Hours():
                        at = at._replace(off_peak=True)
                    case None:
                        pass
            found = self._batched(parts, component, at) if at.tier == "batch" else None
            if found is None:
                found = self._plain(parts, component, at)
            return None if found is None else EXACTLY.multiply(found, Decimal(scale))

        return rate

    def _plain(self, parts: Mapping[str, _Part], component: str, at: _At) -> Decimal | None:
        """What a component costs, or what it is counted as."""
        key = parts[component].key
        own = self._own(key, at)
        if at.off_peak:
            own = self._off_peak.get(key, own)
            if key == _READ_EXPLICIT and own is not None and key not in self._off_peak:
                own = self._off_peak.get(_READ, own)
        if own is not None:
            return own
        if component == "output":  # of a model that makes images only
            return self._own(parts["output_image"].key, at)
        within = parts[component].within
        return None if within is None else self._plain(parts, within, at)

    def _own(self, key: str, at: _At) -> Decimal | None:
        """What a key says in a tier and at a size; a tier that says nothing is the standard one."""
        if self._ranges:
            return self._of_range(key, at)
        suffix = "" if at.tier == "batch" else _SUFFIXES.get(at.tier, "")
        if key == _REASONING and suffix not in ("", "_decisions"):
            own = self._price(key + suffix)
            if own is not None or self._price(_OUTPUT + suffix) is not None:
                return own  # a tier's own price of output comes before another's of reasoning
        found = self._in_tier(key, suffix)
        for label in self._crossed(at):
            own = self._in_tier(key + label, suffix)
            found = found if own is None else own
        return found

    def _price(self, key: str) -> Decimal | None:
        """A number, as :meth:`_number`; InvalidCommand for one that is refused: nothing stands in
        its place."""
        found = self._number(key)
        if key in self._bad:
            raise InvalidCommand("price", self._said[key], self._bad[key])
        return found

    def _in_tier(self, key: str, suffix: str) -> Decimal | None:
        own = self._price(key + suffix) if suffix else None
        standard = self._price(key)
        return standard if own is None else own

    def _crossed(self, at: _At) -> Iterator[str]:
        """How keys say the sizes that are reached, the smallest first."""
        for bound, labels in self._levels.items():
            if bound <= at.bound:
                yield from labels

    def _of_range(self, key: str, at: _At) -> Decimal | None:
        tier = self._ranges[max(bound for bound in self._ranges if bound <= at.bound)]
        if key in tier:
            return _decimal(tier[key])
        if key in (_INPUT, _READ, _WRITE, _WRITE_1H, _WRITE_12H, _READ_EXPLICIT):
            return None
        return None if key == _REASONING and _OUTPUT in tier else self._price(key)

    def _batched(self, parts: Mapping[str, _Part], component: str, at: _At) -> Decimal | None:
        """What a component costs in a batch, or what it is counted as; None: there is no such
        price."""
        key = parts[component].key
        own = self._batch(key, at)
        if own is None and component == "cached_read_audio":
            own = self._batch(_READ, at)
        if own is None and component in _STANDARD_BEFORE_BATCH:
            own = self._own(key, at)
        within = parts[component].within
        return own if own is not None or within is None else self._batched(parts, within, at)

    def _batch(self, key: str, at: _At) -> Decimal | None:
        found = self._price(f"{key}_batches")
        for label in self._crossed(at):
            own = self._price(f"{key}{label}_batches")
            found = found if own is None else own
        return found


class _At(NamedTuple):
    """One case of a price: the size above which it holds, the service tier, and whether it is
    off-peak."""

    bound: int
    tier: str
    off_peak: bool


def _decimal(value: object) -> Decimal | None:
    """A number of zero or more, and of no more digits than a price may have; None for all else,
    floats included: they are not exact."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        found = Decimal(value)
    except (InvalidOperation, ValueError):
        return None
    if not found.is_finite() or found < 0 or found.adjusted() >= _DIGITS:
        return None
    _, digits, exponent = found.as_tuple()
    return found if len(digits) <= _DIGITS and cast("int", exponent) >= -_DIGITS else None


def _reason(key: str) -> str:
    """Why no price was made of a key."""
    for pattern, reason in _REASONS.items():
        if re.fullmatch(pattern, key):
            return reason
    return "no component is counted by it"


def _weekly(block: Entry) -> Axis:
    """Off-peak hours of the days of a week; ValueError for what is none."""
    shift = _offset(block.get("weekday_timezone"))
    rules = [{"hours_utc": block["hours_utc"]}] if "hours_utc" in block else []
    windows = block.get("windows", ())
    if not isinstance(windows, list | tuple):
        raise ValueError(windows)
    off = [[False] * _DAY for _ in _DAYS]
    for rule in (*rules, *windows):
        days = _weekdays(rule.get("weekdays", range(1, 8)))
        for start, end in _windows(rule["hours_utc"]):
            for minute in range(7 * _DAY):
                day, of_day = divmod(minute, _DAY)
                inside = start <= of_day < end if start < end else not end <= of_day < start
                if inside and (minute + shift) // _DAY % 7 in days:
                    off[day][of_day] = True
    spans: dict[tuple[int, int], list[str]] = {}
    for name, minutes in zip(_DAYS, off, strict=True):
        for held, run in groupby(range(_DAY), key=minutes.__getitem__):
            if held:
                span = list(run)
                spans.setdefault((span[0], span[-1] + 1), []).append(name)
    return tuple(
        Hours(_time(start), _time(end % _DAY), names) for (start, end), names in spans.items()
    )


_DAY = 24 * 60


def _time(minute: int) -> time:
    return time(*divmod(minute, 60))


def _windows(given: object) -> Iterator[tuple[int, int]]:
    for each in [given] if isinstance(given, str) else cast("list[object]", given):
        hours = re.fullmatch(r"\s*(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)\s*", str(each))
        if hours is None or int(hours[1]) > 23 or int(hours[3]) > 23:
            raise ValueError(each)
        yield int(hours[1]) * 60 + int(hours[2]), int(hours[3]) * 60 + int(hours[4])


def _weekdays(given: object) -> set[int]:
    """Days of the week from 0, of numbers from 1 or names."""
    found: set[int] = set()
    for each in cast("Iterable[object]", given):
        name = str(each).strip().lower()[:3]
        if isinstance(each, int) and 1 <= each <= 7:
            found.add(each - 1)
        elif name in _DAYS:
            found.add(_DAYS.index(name))
        else:
            raise ValueError(each)
    return found


def _offset(zone: object) -> int:
    """How many minutes before UTC a day begins in a time zone that has the same all year."""
    if zone is None:
        return 0
    try:
        known = ZoneInfo(str(zone))
    except ZoneInfoNotFoundError as error:
        raise ValueError(zone) from error
    days = (datetime(2026, month, 1, tzinfo=known) for month in range(1, 13))
    offsets = {day.utcoffset() or timedelta() for day in days}
    if len(offsets) > 1:
        raise ValueError(f"{zone}, whose clocks are changed in the year")
    return offsets.pop() // timedelta(minutes=1)
