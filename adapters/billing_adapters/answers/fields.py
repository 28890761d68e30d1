"""What an answer says, whatever it is made of: dicts, and objects of pydantic, dataclasses, attrs
or protobuf.  Nothing is copied but numbers and short words, and no content gets into an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any

from billing_core.errors import InvalidCommand

__all__ = ["Number", "gathered", "get", "items", "names", "snake", "word"]

Number = int | Decimal

_DEEPEST = 12
_MOST = 2_000
_LONGEST = 200  # as names are
_LABELS = ("modality", "ttl", "type")
"""What tells the members of a list apart: its value stands in the path."""


@cache
def snake(name: str) -> str:
    """``cacheReadInputTokens`` → ``cache_read_input_tokens``."""
    parts: list[str] = []
    before = ""
    for letter in name:
        if letter.isascii() and letter.isupper() and before.isalnum() and not before.isupper():
            parts.append("_")
        parts.append(letter)
        before = letter if letter.isascii() else ""
    return "".join(parts).lower()


@cache
def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def get(thing: object, name: str) -> Any:
    """A field of an answer by its name in snake_case; None where there is none."""
    if type(thing) is dict:  # what most answers are made of
        return _either(thing, name)
    try:
        if isinstance(thing, Mapping):
            return _either(thing, name)
        if thing is None or isinstance(thing, str | bytes | int | float | list | tuple):
            return None
        if hasattr(thing, "ListFields") or hasattr(thing, "__pydantic_fields_set__"):
            return _either(_fields(thing) or {}, name)
        found = getattr(thing, name, None)
        found = getattr(thing, _camel(name), None) if found is None else found
        return None if callable(found) else found
    except Exception as error:
        raise _unreadable(thing) from error


def _either(fields: Mapping[str, Any], name: str) -> Any:
    found = fields.get(name)
    return fields.get(_camel(name)) if found is None and "_" in name else found


def items(thing: object) -> Sequence[Any]:
    """The members of a list; none where it is no list."""
    if isinstance(thing, str | bytes) or not isinstance(thing, Sequence):
        return ()
    return thing


def word(thing: object) -> str | None:
    """A short text, or the value of an enum; None where it is neither."""
    if isinstance(thing, Enum):
        thing = thing.value
    return thing if isinstance(thing, str) and 0 < len(thing) <= _LONGEST else None


def names(thing: object) -> set[str]:
    """The names, in snake_case, of what it has; none of what has no fields."""
    try:
        fields = _fields(thing) or {}
        return {
            snake(name) for name, value in fields.items() if value is not None and _is_name(name)
        }
    except Exception as error:
        raise _unreadable(thing) from error


def _is_name(name: object) -> bool:
    return isinstance(name, str) and len(name) <= _LONGEST


def gathered(thing: object) -> tuple[dict[str, Number], dict[str, str]]:
    """Every number and every short text in it, by its path in snake_case, such as
    ``prompt_tokens_details.cached_tokens``.

    In a list the label of each member stands in the path (``cache_details.1h.input_tokens``), and
    what has one path is summed.  Of a list of names, such as tools, each counts as one.
    """
    numbers: dict[str, Number] = {}
    words: dict[str, str] = {}
    try:
        for count, (path, value) in enumerate(_leaves(thing, "", 0)):
            if count == _MOST:
                raise InvalidCommand("answer", type(thing), f"a usage of at most {_MOST:,} values")
            if isinstance(value, str):
                words[path] = value
            else:
                numbers[path] = numbers.get(path, 0) + value
    except InvalidCommand:
        raise
    except Exception as error:
        raise _unreadable(thing) from error
    return numbers, words


def _leaves(thing: object, path: str, depth: int) -> Iterator[tuple[str, str | Number]]:
    if depth > _DEEPEST:
        raise InvalidCommand("answer", type(thing), f"a usage of at most {_DEEPEST} levels")
    if thing is None or isinstance(thing, bool):
        return
    if isinstance(thing, int):
        yield path, int(thing)
    elif isinstance(thing, float):
        yield path, Decimal(repr(float(thing)))
    elif isinstance(thing, Decimal):
        yield path, thing
    elif (text := word(thing)) is not None:
        yield path, text
    elif isinstance(thing, str | bytes):
        return
    elif (fields := _fields(thing)) is not None:
        for name, value in fields.items():
            if _is_name(name):
                own = snake(name)
                yield from _leaves(value, f"{path}.{own}" if path else own, depth + 1)
    else:
        yield from _members(thing, path, depth)


def _members(thing: object, path: str, depth: int) -> Iterator[tuple[str, str | Number]]:
    for member in items(thing):
        fields = _fields(member)
        if fields is None:
            if (name := word(member)) is not None:
                yield f"{path}.{snake(name)}", 1
            elif type(member) is int and path.endswith("_used"):
                yield f"{path}.{member}", 1  # the number of an enum, as protobuf may say it
            continue
        label = next((text for each in _LABELS if (text := word(fields.get(each)))), None)
        rest = {name: value for name, value in fields.items() if name not in _LABELS}
        yield from _leaves(rest, path if label is None else f"{path}.{snake(label)}", depth + 1)


def _fields(thing: object) -> Mapping[str, Any] | None:
    """The fields of a mapping or an object by name; None of what has none."""
    if type(thing) is dict or isinstance(thing, Mapping):
        return thing
    if thing is None or isinstance(thing, str | bytes | int | float | Sequence | Enum | type):
        return None
    if hasattr(thing, "ListFields"):  # protobuf
        message: Any = thing
        return {field.name: _of_protobuf(field, value) for field, value in message.ListFields()}
    if dataclasses.is_dataclass(thing) and not hasattr(thing, "__dict__"):
        return {each.name: getattr(thing, each.name) for each in dataclasses.fields(thing)}
    own: Mapping[str, Any] | None = getattr(thing, "__dict__", None)
    if own is None:
        return None
    # What pydantic does not know of an answer it keeps apart.
    return {**own, **(getattr(thing, "__pydantic_extra__", None) or {})}


def _of_protobuf(field: Any, value: Any) -> Any:
    """Enums by their names: a number of one is no quantity."""
    if field.enum_type is None:
        return value
    names = field.enum_type.values_by_number
    if isinstance(value, int):
        return names[value].name if value in names else None
    return [names[each].name if each in names else f"{field.name}_{each}" for each in value]


def _unreadable(thing: object) -> InvalidCommand:
    return InvalidCommand("answer", type(thing), "an answer whose fields can be read")
