"""What a file in LiteLLM's format says that tokens cost, reckoned again with fractions.

Written from the file and from LiteLLM's cost calculator, and not from the importer: it looks every
price up when it is asked for, for one token of one request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

AUDIO_IN = "input_cost_per_audio_token"
IMAGE_OUT = "output_cost_per_image_token"
READ, WRITE = "cache_read_input_token_cost", "cache_creation_input_token_cost"
LADDERS = {
    "input": ["input_cost_per_token"],
    "input_audio": [AUDIO_IN, "input_cost_per_token"],
    "input_image": ["input_cost_per_image_token", "input_cost_per_token"],
    "input_video": ["input_cost_per_video_token", "input_cost_per_token"],
    "cached_read": [READ, "input_cost_per_token"],
    "cached_read_audio": ["cache_read_input_audio_token_cost", READ, "input_cost_per_token"],
    "cached_read_image": ["cache_read_input_image_token_cost", READ, "input_cost_per_token"],
    "cached_read_video": [READ, "input_cost_per_token"],
    "cached_read_explicit": [f"explicit_{READ}", READ, "input_cost_per_token"],
    "cache_write": [WRITE, "input_cost_per_token"],
    "cache_write_1h": [f"{WRITE}_above_1hr", WRITE, "input_cost_per_token"],
    "cache_write_12h": [f"{WRITE}_above_12hr", WRITE, "input_cost_per_token"],
    "cache_write_audio": ["cache_creation_input_audio_token_cost", WRITE, "input_cost_per_token"],
    "cache_write_image": [WRITE, "input_cost_per_token"],
    "cache_write_video": [WRITE, "input_cost_per_token"],
    "output": ["output_cost_per_token", IMAGE_OUT],
    "output_audio": ["output_cost_per_audio_token", "output_cost_per_token", IMAGE_OUT],
    "output_image": [IMAGE_OUT, "output_cost_per_token"],
    "output_video": ["output_cost_per_video_token", "output_cost_per_token", IMAGE_OUT],
    "reasoning": ["output_cost_per_reasoning_token", "output_cost_per_token", IMAGE_OUT],
    "citation": ["citation_cost_per_token", "output_cost_per_token", IMAGE_OUT],
    "accepted_prediction": ["output_cost_per_token", IMAGE_OUT],
    "rejected_prediction": ["output_cost_per_token", IMAGE_OUT],
}
COUNTED = {
    "characters": "input_cost_per_character",
    "output_characters": "output_cost_per_character",
    "input_images": "input_cost_per_image",
    "images": "output_cost_per_image",
    "queries": "input_cost_per_query",
    "requests": "input_cost_per_request",
    "sessions": "code_interpreter_cost_per_session",
    "map_searches": "google_maps_grounding_cost_per_query",
    "duration": "input_cost_per_second",
    "input_audio_duration": "input_cost_per_audio_per_second",
    "input_video_duration": "input_cost_per_video_per_second",
}
"""What chat, responses and embedding models are sold by beside tokens, in whatever tier."""
UPLIFTED = {"characters", "output_characters", "input_images", "queries", "duration",
            "input_audio_duration", "input_video_duration"}  # fmt: skip
PROMPT = [name for name in LADDERS if name.startswith(("input", "cache"))]
SUFFIX = {"flex": "_flex", "priority": "_priority", "fast": "_priority", "balanced": "_balanced",
          "ultrafast": "_ultrafast", "decisions": "_decisions"}  # fmt: skip


class Reckoning:
    """The prices of one entry."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.entry = entry
        self.bounds = sorted(
            {int(n) * (1000 if k else 1)
             for key in entry for n, k in re.findall(r"_above_(\d+)(k?)_tokens", key)},
            reverse=True,
        )  # fmt: skip

    def dollars(
        self, quantities: Mapping[str, int], facts: Mapping[str, str], at: datetime
    ) -> dict[str, Fraction]:
        """What each component costs."""
        size = sum(quantities.get(name, 0) for name in PROMPT)
        tier = facts.get("service_tier", "standard")
        uplift = self.uplift(facts)
        return {
            name: uplift * quantity * self.rate(name, size, tier, at)
            if name in LADDERS
            else quantity * self.counted(name, size, facts)
            for name, quantity in quantities.items()
        }

    def counted(self, name: str, size: int, facts: Mapping[str, str]) -> Fraction:
        """What one of something else than tokens costs: a second, where it is a duration."""
        if name == "web_searches":
            context = facts.get("search_context", "medium")
            costs = self.entry["search_context_cost_per_query"]
            return Fraction(costs[f"search_context_size_{context}"])
        own = next(key for key in self.sized(COUNTED[name], size) if key in self.entry)
        return Fraction(self.entry[own]) * (self.uplift(facts) if name in UPLIFTED else 1)

    def uplift(self, facts: Mapping[str, str]) -> Fraction:
        entry, region = self.entry, facts.get("region", "global")
        own = entry.get("provider_specific_entry", {})
        found = Fraction(1)
        if region in ("us", "eu"):
            found *= Fraction(entry.get(f"regional_processing_uplift_multiplier_{region}", 1))
        if region == "us":
            found *= Fraction(own.get("us", 1))
        if region != "global":
            found *= Fraction(entry.get("regional_endpoint_uplift_multiplier", 1))
        if facts.get("speed") == "fast":
            found *= Fraction(own.get("fast", 1))
        if facts.get("fedramp") == "yes":
            found *= Fraction(entry.get("fedramp_uplift_multiplier", 1))
        return found

    def rate(self, name: str, size: int, tier: str, at: datetime) -> Fraction:
        cheap = self.off_peak(at)
        if tier == "batch" and any(key.endswith("_batches") for key in self.entry):
            found = self.in_batch(name, size)
            if found is not None:
                return Fraction(found)
        for key in LADDERS[name]:
            if key in cheap:
                return Fraction(cheap[key])
            if (found := self.plain(key, size, SUFFIX.get(tier, ""))) is not None:
                return Fraction(found)
        raise LookupError(name)

    def reached(self, size: int) -> Iterator[int]:
        for bound in self.bounds:
            if size > bound or (size == bound and self.entry.get("litellm_provider") == "xai"):
                yield bound

    def sized(self, key: str, size: int) -> Iterator[str]:
        """A key at the levels that a request reaches, the highest first, and without one."""
        for bound in self.reached(size):
            yield f"{key}_above_{bound}_tokens"
            if bound % 1000 == 0:
                yield f"{key}_above_{bound // 1000}k_tokens"
        yield key

    def plain(self, key: str, size: int, suffix: str) -> Any:
        if "tiered_pricing" in self.entry:
            tiers = self.entry["tiered_pricing"]
            tier = next((each for each in tiers if size <= each["range"][1]), tiers[-1])
            if key in tier:
                return tier[key]
            if key == "output_cost_per_reasoning_token" and "output_cost_per_token" in tier:
                return None
            from_input = key.startswith(("cache_", "explicit_", "input_cost_per_token"))
            return None if from_input and "audio" not in key and "image" not in key else (
                self.entry.get(key))  # fmt: skip
        if key == "output_cost_per_reasoning_token" and suffix not in ("", "_decisions"):
            if key + suffix in self.entry:
                return self.entry[key + suffix]
            if f"output_cost_per_token{suffix}" in self.entry:
                return None
        for each in self.sized(key, size):
            for one in (each + suffix, each):
                if one in self.entry:
                    return self.entry[one]
        return None

    def in_batch(self, name: str, size: int) -> Any:
        def batch(key: str) -> Any:
            named = (f"{each}_batches" for each in self.sized(key, size))
            return next((self.entry[each] for each in named if each in self.entry), None)

        ladder = LADDERS[name]
        if name == "output":
            ladder = ladder[:1]
        found = batch(ladder[0])
        if found is None and name == "cached_read_audio":
            found = batch(READ)
        if found is None and (ladder[0] == READ or name in ("cached_read_audio", "output_image")):
            # As much in a batch as else.
            found = self.plain(ladder[0], size, "")
        for key in ladder[1:]:
            if found is None and key != IMAGE_OUT:
                found = batch(key)
            if found is None and key == READ:
                found = self.plain(READ, size, "")
        return found

    def off_peak(self, at: datetime) -> Mapping[str, Any]:
        block = self.entry.get("off_peak_pricing")
        if block is None:
            return {}
        zone = ZoneInfo(block.get("weekday_timezone", "UTC"))
        weekday, now = at.astimezone(zone).isoweekday(), at.astimezone(UTC).strftime("%H:%M")
        for rule in block["windows"]:
            if weekday not in rule["weekdays"]:
                continue
            hours = rule["hours_utc"]
            for window in [hours] if isinstance(hours, str) else hours:
                start, end = window.split("-")
                if start <= now < (end if end > start else "24:00"):
                    return block
        return {}
