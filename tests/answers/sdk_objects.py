"""The answers as the providers' own objects, whole and streamed, against what we say was used.

For an environment that has ``requirements.txt``; the arguments are the folders of the library::

    python sdk_objects.py LIBRARY ADAPTERS
"""

from __future__ import annotations

import sys
from typing import Any

# Last: the environment's own packages stand before whatever else is in the library's folders.
sys.path += sys.argv[1:]

import sdk_answers
import sdk_cases
from answer_checks import differences

from billing_adapters.answers import AnswerStream, usage_of
from billing_core import InvalidCommand


def _wrong(one: sdk_answers.Case) -> list[str]:
    handed: dict[str, Any] = {} if one.provider is None else {"provider": one.provider}
    if not one.named:
        handed["model"] = one.model
    if one.components is not None and "provider_cost" in one.components:
        handed["reported_cost"] = True
    kept = {"facts": one.facts, "sums": one.sums, "unknown": one.unknown, "may": one.may}
    if one.components is not None:
        kept["components"] = one.components
    found = []
    if one.answer is not None:
        for number, form in enumerate(sdk_answers.python_forms(one.answer)):
            try:
                wrong = differences(usage_of(form, **handed), kept)
            except InvalidCommand as error:
                wrong = [str(error)]
            found += [f"form {number}: {each}" for each in wrong]
    stream = AnswerStream()
    for number, (event, after) in enumerate(zip(one.events, one.after, strict=True), 1):
        stream.feed(event)
        if after.components is None:
            if stream.reported:
                found.append(f"after {number} events: reported, though nothing was")
        else:
            told = {"components": after.components, "facts": after.facts, "may": one.may}
            wrong = differences(stream.usage(**handed | {"model": one.model}), told)
            found += [f"after {number} events: {each}" for each in wrong]
    return found


def main() -> int:
    """Say which answers are read otherwise than written by hand."""
    sdk_cases.add_all()
    wrong = {one.name: found for one in sdk_answers.CASES if (found := _wrong(one))}
    for name, found in wrong.items():
        print(name, *found, sep="\n  ")
    print(len(sdk_answers.CASES), "answers,", len(wrong), "read wrongly")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
