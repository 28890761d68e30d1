"""Answers of model providers, made with the providers' own packages, and what they say was used.

Each answer is made from the official package's response model, and a field that the model does not
have is an error.  What each must be in our vocabulary is written by hand, from the provider's
documentation (``source``), never from what the parser says.

Run it in an environment that has ``requirements.txt``::

    python sdk_answers.py             # write ../fixtures/answers/
    python sdk_answers.py --check     # differ from what is there: exit status 1
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from pydantic import BaseModel, TypeAdapter

# LiteLLM would ask the network for its prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

FIXTURES = Path(__file__).parents[1] / "fixtures" / "answers"

Quantities = dict[str, int]


@define
class After:
    """What was reported up to and with one event of a stream; `components` None: nothing yet."""

    components: Quantities | None
    facts: dict[str, str] = field(factory=dict)


@define
class Case:
    """One answer, as the objects of the provider's package, and what it says was used."""

    name: str
    family: str
    """The file that it is kept in."""
    answer: Any
    """The object, or None where only a stream is."""
    source: str
    components: Quantities | None
    """What each component must be; None: the answer does not tell, and only `sums` hold."""
    facts: dict[str, str]
    model: str
    """The model that the usage must name; `named`: the answer itself has it."""
    named: bool
    provider: str | None
    """Handed over with the answer, where its shape alone does not tell."""
    unknown: dict[str, int | None]
    """Numbers under names that no price has: a component whose path has this word, and how many."""
    may: list[str]
    """Words of paths that may be there or not: what is no quantity of anything sold."""
    sums: dict[str, int]
    events: list[Any]
    after: list[After]
    totals: dict[str, Callable[[Any], Any]]
    """By library: its own reading of the answer."""
    apart: dict[str, str]
    """By library: why its totals are not ours."""


CASES: list[Case] = []


def case(
    name: str,
    answer: Any,
    *,
    source: str,
    components: Quantities | None = None,
    model: str,
    named: bool = True,
    provider: str | None = None,
    facts: Mapping[str, str] = {},
    unknown: Mapping[str, int | None] = {},
    may: Sequence[str] = (),
    sums: Mapping[str, int] = {},
    events: Sequence[tuple[Any, After]] = (),
    totals: Mapping[str, Callable[[Any], Any]] = {},
    apart: Mapping[str, str] = {},
) -> None:
    """One more case; its file is named by the first word of its name."""
    if name in {each.name for each in CASES}:
        raise ValueError(f"two cases named {name!r}")
    CASES.append(
        Case(
            name, name.partition(":")[0].split()[0].lower(), answer, source,
            None if components is None else dict(components), dict(facts), model, named, provider,
            dict(unknown), list(may), dict(sums),
            [event for event, _ in events], [after for _, after in events],
            dict(totals), dict(apart),
        )
    )  # fmt: skip


# ---- Made strictly ------------------------------------------------------------------------------


def made(model: Any, data: Mapping[str, Any]) -> Any:
    """An object of a package's response model, of fields that it has.

    Raises:
        ValueError: For a field that the model does not have, or a value that it does not accept.
    """
    value = TypeAdapter(model).validate_python(data)
    _check_fields(data, value, getattr(model, "__name__", str(model)))
    return value


def _check_fields(data: Any, value: Any, path: str) -> None:
    if isinstance(data, Mapping) and isinstance(value, BaseModel):
        names = {}
        for name, about in type(value).model_fields.items():
            names[name] = name
            if about.alias:
                names[about.alias] = name
        for key, inner in data.items():
            if key not in names:
                raise ValueError(f"{path}: {type(value).__name__} has no field {key!r}")
            _check_fields(inner, getattr(value, names[key]), f"{path}.{key}")
    elif isinstance(data, list) and isinstance(value, list):
        for number, (inner, each) in enumerate(zip(data, value, strict=True)):
            _check_fields(inner, each, f"{path}[{number}]")


def refuses_misspelled_fields() -> None:
    """The check itself: each kind of model, with one letter wrong, is refused."""
    from anthropic.types import Usage
    from cohere.types import Usage as CohereUsage
    from google.genai.types import GenerateContentResponseUsageMetadata
    from mistralai.client.models import UsageInfo
    from openai.types import CompletionUsage
    from openrouter.components import ChatUsage
    from xai_sdk.proto import usage_pb2

    chat = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    attempts: list[Callable[[], Any]] = [
        lambda: made(CompletionUsage, chat | {"prompt_token_details": {}}),
        lambda: made(CompletionUsage, chat | {"prompt_tokens_details": {"cache_tokens": 1}}),
        lambda: made(Usage, {"input_tokens": 1, "output_tokens": 1, "cache_read_tokens": 1}),
        lambda: made(GenerateContentResponseUsageMetadata, {"prompt_tokens_count": 1}),
        lambda: made(UsageInfo, chat | {"prompt_audio_second": 1}),
        lambda: made(CohereUsage, {"billed_unit": {"input_tokens": 1}}),
        lambda: made(ChatUsage, chat | {"costs": 1.0}),
        lambda: usage_pb2.SamplingUsage(prompt_token=1),
        lambda: converse({"usage": {"inputTokens": 1, "outputTokens": 1, "totalToken": 2}}),
    ]
    for number, attempt in enumerate(attempts):
        try:
            attempt()
        except ValueError:
            continue
        raise AssertionError(f"attempt {number}: a misspelled field was accepted")


def _bedrock_shape(name: str) -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model("bedrock-runtime").shape_for(name)


def _checked_by_botocore(data: dict[str, Any], shape: str) -> dict[str, Any]:
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(data, _bedrock_shape(shape))
    if report.has_errors():
        raise ValueError(report.generate_report())
    return data


def converse(data: dict[str, Any]) -> dict[str, Any]:
    """What boto3's ``converse`` returns: a dict of the service model's ``ConverseResponse``."""
    return _checked_by_botocore(
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
            "stopReason": "end_turn",
            "metrics": {"latencyMs": 812},
            **data,
        },
        "ConverseResponse",
    )


def converse_event(data: dict[str, Any]) -> dict[str, Any]:
    """One event of boto3's ``converse_stream``."""
    return _checked_by_botocore(data, "ConverseStreamOutput")


# ---- As dicts -----------------------------------------------------------------------------------


def forms(value: Any) -> list[Any]:
    """An object as the dicts that a host may have of it: dumped whole, and as it was sent."""
    if isinstance(value, dict):
        return [value]
    if isinstance(value, Message):
        found = [
            MessageToDict(value, preserving_proto_field_name=True),
            MessageToDict(value),
            MessageToDict(value, preserving_proto_field_name=True, use_integers_for_enums=True),
        ]
    elif isinstance(value, BaseModel):
        found = [
            json.loads(value.model_dump_json()),
            json.loads(value.model_dump_json(by_alias=True, exclude_none=True)),
        ]
    else:
        adapter = TypeAdapter(type(value))
        found = [json.loads(adapter.dump_json(value))]
    once: list[Any] = []
    for each in found:
        if each not in once:
            once.append(each)
    return once


def python_forms(value: Any) -> list[Any]:
    """An object itself, and the dicts of Python values that its package makes of it."""
    if isinstance(value, BaseModel):
        return [value, value.model_dump(), value.model_dump(exclude_unset=True), *forms(value)]
    return [value, *forms(value)]


def sent(value: Any) -> Any:
    """An event of a stream as it comes over the wire."""
    return forms(value)[-1] if isinstance(value, BaseModel) else forms(value)[0]


# ---- Kept -------------------------------------------------------------------------------------


def record(one: Case) -> dict[str, Any]:
    """A case as it is kept: JSON, with what the other libraries say of it."""
    from sdk_totals import totals_of

    kept: dict[str, Any] = {"name": one.name, "source": one.source, "model": one.model}
    if not one.named:
        kept["model_is_handed_over"] = True
    if one.provider is not None:
        kept["provider"] = one.provider
    if one.answer is not None:
        kept["answers"] = forms(one.answer)
        kept["facts"] = one.facts
        for name in ("components", "sums", "unknown", "may"):
            if (value := getattr(one, name)) is not None and value not in ({}, []):
                kept[name] = value
        if one.components == {}:
            kept["components"] = {}
        totals = {
            library: totals_of(read(one.answer)) for library, read in sorted(one.totals.items())
        }
        if totals:
            kept["totals"] = totals
        if one.apart:
            kept["apart"] = one.apart
    if one.events:
        kept["stream"] = [
            {"event": sent(event)}
            | (
                {"reported": False}
                if after.components is None
                else {"components": after.components, "facts": after.facts}
            )
            for event, after in zip(one.events, one.after, strict=True)
        ]
    return kept


def files() -> dict[Path, str]:
    """Each file of cases, and its text."""
    import sdk_cases

    sdk_cases.add_all()
    families: dict[str, list[dict[str, Any]]] = {}
    for one in CASES:
        families.setdefault(one.family, []).append(record(one))
    return {FIXTURES / f"{family}.json": _text(cases) for family, cases in families.items()}


def _text(cases: list[dict[str, Any]]) -> str:
    """JSON with a line for each form of an answer and each event."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def entry(name: str, value: Any) -> str:
        if name in ("answers", "stream"):
            return (
                f"  {line(name)}: [\n" + ",\n".join(f"   {line(each)}" for each in value) + "\n  ]"
            )
        return f"  {line(name)}: {line(value)}"

    texts = (" {\n" + ",\n".join(entry(*each) for each in case.items()) + "\n }" for case in cases)
    return "[\n" + ",\n".join(texts) + "\n]\n"


def main() -> int:
    """Write the files, or say which differ."""
    refuses_misspelled_fields()
    texts = files()
    there = set(FIXTURES.glob("*.json"))
    if "--check" in sys.argv:
        wrong = [
            path.name
            for path in sorted(there | set(texts))
            if path not in texts or path not in there or path.read_text() != texts[path]
        ]
        print("differ:", ", ".join(wrong) if wrong else "none")
        return bool(wrong)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for path in there - set(texts):
        path.unlink()
    for path, text in texts.items():
        path.write_text(text)
    print(sum(len(json.loads(text)) for text in texts.values()), "cases")
    return 0


if __name__ == "__main__":
    # The cases import this module by its name: let there be one of it.
    sys.modules["sdk_answers"] = sys.modules["__main__"]
    sys.exit(main())
