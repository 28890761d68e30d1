"""Synthetic traffic: made up, from a fixed seed, but shaped like real chat traffic.

Input is log-normal around a thousand tokens and output around 130 with long tails, as in
published production traces; days are busier than nights.  Orgs, members, models, cached
and reasoning tokens and who pays are invented.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import pi, sin
from random import Random

from attrs import frozen

from billing_core import Usage, tokens

__all__ = ["BURSTS", "MODELS", "ORGS", "SEED", "START", "Call", "bursts"]

SEED = 2026
START = datetime(2026, 3, 2, tzinfo=UTC)
_DAYS = 7
_STEP = timedelta(minutes=30)
BURSTS = _DAYS * 48
_MEAN_CALLS = 12
_LONGEST_INPUT = 14_000
_LONGEST_OUTPUT = 1_000
_LOST = 0.001  # calls whose worker dies, so that nothing is ever reported

MODELS = ("gpt-4o", "o3", "claude-haiku-4-5", "gemini-2.5-flash")
_WEIGHTS = {
    "acme": (5, 1, 2, 2),
    "globex": (2, 1, 4, 1),
    "initech": (1, 1, 6, 0),
}
_MEMBERS = {
    "acme": ("ana", "ben", "chen"),
    "globex": ("dora", "emil"),
    "initech": ("fay", "gus"),
}
ORGS: Sequence[str] = tuple(_MEMBERS)
_OWN_KEY = {("initech", "claude-haiku-4-5")}


@frozen
class Call:
    """One model call: when it starts and ends, what it is expected to use at most and
    what it really uses.  ``lost``: nobody ever says what it used."""

    key: str
    org: str
    member: str
    model: str
    start: datetime
    end: datetime
    expected: Usage
    used: Usage
    own_key: bool
    lost: bool


def bursts() -> Iterator[list[Call]]:
    """Calls that run at the same time, burst after burst, in order of time."""
    random = Random(SEED)
    number = 0
    for index in range(BURSTS):
        at = START + _STEP * index
        busy = 1 + 0.8 * sin((at.hour - 8 + at.minute / 60) * pi / 12)
        calls = []
        for _ in range(round(_MEAN_CALLS * busy * random.uniform(0.6, 1.4))):
            number += 1
            at += timedelta(milliseconds=random.randrange(1, 2_000))
            calls.append(_call(random, f"call-{number:05}", at))
        yield calls


def _call(random: Random, key: str, start: datetime) -> Call:
    [org] = random.choices(ORGS, (5, 3, 2))
    [name] = random.choices(MODELS, _WEIGHTS[org])
    prompt = min(_LONGEST_INPUT, 1 + int(random.lognormvariate(6.9, 1.0)))
    answer = min(_LONGEST_OUTPUT, 1 + int(random.lognormvariate(4.9, 0.9)))
    own_key = (org, name) in _OWN_KEY
    cached = prompt * 3 // 4 if random.random() < 0.35 else 0
    if name.startswith("claude"):
        # Its provider counts cached tokens beside the input.
        used = tokens(
            name, input=prompt - cached, output=answer, cached_read=cached,
            cache_write=prompt // 8, input_includes_cached=False,
            payer="customer" if own_key else "platform",
        )  # fmt: skip
    else:
        used = tokens(
            name, input=prompt, output=answer, cached_read=cached, input_includes_cached=True,
            reasoning=answer * 3 // 5 if name == "o3" else 0, output_includes_reasoning=True,
        )  # fmt: skip
    expected = tokens(
        name, input=prompt, output=_LONGEST_OUTPUT, payer="customer" if own_key else "platform"
    )
    return Call(
        key,
        org,
        random.choice(_MEMBERS[org]),
        name,
        start,
        start + timedelta(seconds=1, milliseconds=25 * answer),
        expected,
        used,
        own_key,
        random.random() < _LOST,
    )
