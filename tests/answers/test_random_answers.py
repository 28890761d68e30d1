"""Whatever was used, an answer that reports it as the provider does gives it back."""

import pytest
from answer_builders import BUILDERS
from answer_checks import differences
from hypothesis import given
from hypothesis import strategies as st

from billing_adapters.answers import usage_of

NAMED = {"xai": "xai", "openrouter": "openrouter", "pydantic-ai": "pydantic-ai"}
COUNTS = st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 2_000_000))


@pytest.mark.parametrize("provider", BUILDERS)
@given(data=st.data())
def test_an_answer_gives_back_what_was_used(provider: str, data: st.DataObject) -> None:
    made, components = BUILDERS[provider]
    parts = {name: data.draw(COUNTS, name) for name in components}
    if "input_audio_duration" in parts:  # whole seconds are what is reported
        parts["input_audio_duration"] *= 1_000_000
    handed = {"provider": NAMED[provider]} if provider in NAMED else {}
    cost = "provider_cost" in parts
    usage = usage_of(made(parts), model="m", reported_cost=cost, **handed)
    used = {name: count for name, count in parts.items() if count}
    assert differences(usage, {"components": used}) == []
