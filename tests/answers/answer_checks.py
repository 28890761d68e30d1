"""Whether a usage says what a provider's answer says: shared by the tests in both environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing_core import Usage

INPUT = {"input", "input_audio", "input_image", "input_video"}
CACHE_READ = {
    "cached_read", "cached_read_audio", "cached_read_image", "cached_read_video",
    "cached_read_explicit",
}  # fmt: skip
CACHE_WRITE = {
    "cache_write", "cache_write_1h", "cache_write_12h", "cache_write_audio", "cache_write_image",
    "cache_write_video",
}  # fmt: skip
OUTPUT = {
    "output", "output_audio", "output_image", "output_video", "reasoning", "citation",
    "accepted_prediction", "rejected_prediction",
}  # fmt: skip
COUNTED = {
    "requests", "sessions", "web_searches", "social_searches", "file_searches", "map_searches",
    "code_executions", "rerank_searches", "queries", "characters", "output_characters", "pages",
    "annotated_pages", "text_messages", "images", "input_images", "pixels", "output_pixels",
    "duration", "audio_duration", "input_audio_duration", "output_audio_duration",
    "input_video_duration", "output_video_duration", "provider_cost",
}  # fmt: skip
VOCABULARY = INPUT | CACHE_READ | CACHE_WRITE | OUTPUT | COUNTED
"""What models are sold by."""

DEFAULTS = {"service_tier": "standard", "speed": "standard", "region": "global"}
"""Facts that say the same when they are left out."""


def totals(components: Mapping[str, int]) -> dict[str, int]:
    """Four totals that contain everything, as the libraries have them: the input has the caches."""
    sums = {
        "cache_read": sum(components.get(name, 0) for name in CACHE_READ),
        "cache_write": sum(components.get(name, 0) for name in CACHE_WRITE),
        "output": sum(components.get(name, 0) for name in OUTPUT),
    }
    sums["input"] = (
        sum(components.get(name, 0) for name in INPUT) + sums["cache_read"] + sums["cache_write"]
    )
    return sums


def quantities(usage: Usage) -> dict[str, int]:
    """A usage's quantities by component."""
    return {component: quantity for component, quantity, _ in usage.parts}


def _has(path: str, word: str) -> bool:
    return word in path.split(".")


def differences(usage: Usage, kept: Mapping[str, Any]) -> list[str]:
    """What a usage says otherwise than a kept case, or than one point of its stream; none is well.

    Args:
        usage: What was made of the answer.
        kept: ``components`` and ``facts``, and what else a case may have.
    """
    found = []
    told = quantities(usage)
    known = {name: count for name, count in told.items() if name in VOCABULARY}
    if "components" in kept and known != kept["components"]:
        found.append(f"components {known}, not {kept['components']}")
    for name, count in kept.get("sums", {}).items():
        if totals(known)[name] != count:
            found.append(f"{name} in all {totals(known)[name]}, not {count}")
    if not found:
        for library, counts in kept.get("totals", {}).items():
            if library not in kept.get("apart", {}) and totals(known) != counts:
                found.append(f"totals {totals(known)}, {library} {counts}")
    others = {name: count for name, count in told.items() if name not in VOCABULARY}
    unknown = kept.get("unknown", {})
    for word, number in unknown.items():
        seen = [count for name, count in others.items() if _has(name, word)]
        if not seen or (number is not None and seen != [number]):
            found.append(f"nothing is seen of {word} ({number}) in {others}")
    allowed = [*unknown, *kept.get("may", [])]
    for name, count in others.items():
        if not any(_has(name, word) for word in allowed):
            found.append(f"the component {name} ({count}) is nothing that was used")
    facts = {name: value for name, value in usage.facts if DEFAULTS.get(name) != value}
    if facts != kept.get("facts", {}):
        found.append(f"facts {facts}, not {kept.get('facts', {})}")
    return found
