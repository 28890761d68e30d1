"""JSON shapes from frozen attrs values: one declaration reads, writes and describes.

A field's type says what its JSON is: ``str``, ``int``, ``bool``, ``datetime`` (RFC 3339),
``Literal``, ``X | None``, ``tuple[X, ...]``, ``Mapping[str, X]``, another such value, and
``Annotated[X, Rule(...)]`` for further JSON Schema keywords.  Names are camelCase in JSON.

A field's metadata may say another: ``field(metadata={"json": "session_id"})``.

``Money``, in answers alone, is three fields: ``balance: Money`` is ``balanceCents`` (minor
units, rounded toward minus infinity), ``balance`` (the exact decimal) and ``currency``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from attrs import NOTHING, fields, frozen, has

from billing_adapters.http.messages import Problem
from billing_core.errors import InvalidCommand
from billing_core.minor_units import floor_minor
from billing_core.money import Money, decimal_text

__all__ = ["Rule", "camel", "properties", "read", "required", "schema", "shown"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DECIMAL = {"type": "string", "pattern": r"^-?\d+\.\d{2,9}$"}
_CURRENCY = {"type": "string", "pattern": "^[A-Z]{3}$"}


@frozen
class Rule:
    """What a value must be beyond its type; None: nothing."""

    minimum: int | None = None
    maximum: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    min_items: int | None = None
    max_items: int | None = None
    enum: tuple[str, ...] | None = None
    description: str | None = None

    def keywords(self) -> dict[str, Any]:
        """As JSON Schema."""
        values = {camel(each.name): getattr(self, each.name) for each in fields(Rule)}
        return {name: shown(value) for name, value in values.items() if value is not None}

    def broken(self, value: Any) -> str | None:
        """What is wrong with a value of the right type."""
        if isinstance(value, int):
            if self.minimum is not None and value < self.minimum:
                return f"at least {self.minimum:,}"
            if self.maximum is not None and value > self.maximum:
                return f"at most {self.maximum:,}"
        if isinstance(value, str):
            if self.enum is not None and value not in self.enum:
                return f"one of {', '.join(self.enum)}"
            if not (self.min_length or 0) <= len(value) <= (self.max_length or len(value)):
                return f"{self.min_length or 0} to {self.max_length} characters"
            if self.pattern is not None and not re.search(self.pattern, value, re.ASCII):
                return f"text that matches {self.pattern}"
        if isinstance(value, tuple) and not (
            (self.min_items or 0) <= len(value) <= (self.max_items or len(value))
        ):
            return f"{self.min_items or 0} to {self.max_items} items"
        return None


@cache
def camel(name: str) -> str:
    """``member_id`` → ``memberId``."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


@cache
def types(shape: type) -> Mapping[str, Any]:
    """The type of each field, by its name in Python."""
    hints = get_type_hints(shape, include_extras=True)
    return {each.name: hints[each.name] for each in fields(shape)}


@cache
def _json_names(shape: type) -> Mapping[str, str]:
    """The JSON name of each field, by its name in Python."""
    return {each.name: each.metadata.get("json", camel(each.name)) for each in fields(shape)}


@cache
def _by_json_name(shape: type) -> Mapping[str, tuple[str, Any]]:
    names = _json_names(shape)
    return {names[name]: (name, kind) for name, kind in types(shape).items()}


@cache
def _moneys(shape: type) -> frozenset[str]:
    return frozenset(name for name, kind in types(shape).items() if _is_money(kind))


@cache
def required(shape: type) -> tuple[str, ...]:
    """The JSON names of the fields that a request must have."""
    names = _json_names(shape)
    return tuple(names[each.name] for each in fields(shape) if each.default is NOTHING)


# -- reading --------------------------------------------------------------------


def read(kind: Any, value: Any, where: str, *, text: bool = False) -> Any:
    """A value of a type from its JSON, or, with ``text``, from a query's text.

    Raises a Problem 422 that names the field.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        found = read(arguments[0], value, where, text=text)
        expected = arguments[1].broken(found)
        return found if expected is None else _wrong(where, expected)
    if origin in (Union, UnionType):
        return _read_any(arguments, value, where, text)
    if origin is Literal:
        names = ", ".join(str(each) for each in arguments)
        return value if value in arguments else _wrong(where, f"one of {names}")
    if origin is tuple:
        if not isinstance(value, list):
            _wrong(where, "an array")
        return tuple(read(arguments[0], each, f"{where}[{n}]") for n, each in enumerate(value))
    if origin is not None:
        if not isinstance(value, dict):
            _wrong(where, "an object")
        return {name: read(arguments[1], each, f"{where}.{name}") for name, each in value.items()}
    if has(kind):
        return _read_shape(kind, value, where, text)
    return _read_plain(kind, value, where, text)


def _read_any(kinds: tuple[Any, ...], value: Any, where: str, text: bool) -> Any:
    if value is None and NoneType in kinds:
        return None
    *others, last = (each for each in kinds if each is not NoneType)
    for kind in others:
        try:
            return read(kind, value, where, text=text)
        except Problem:
            continue
    return read(last, value, where, text=text)


def _read_shape(kind: Any, value: Any, where: str, text: bool) -> Any:
    if not isinstance(value, dict):
        _wrong(where, "an object")
    prefix = f"{where}." if where else ""
    named = _by_json_name(kind)
    for name in value:
        if name not in named:
            known = ", ".join(sorted(named)) or "none"
            _wrong(f"{prefix}{name[:50]}", f"no such field; there are {known}")
    for name in required(kind):
        if name not in value:
            _wrong(prefix + name, "a value: it is required")
    found = {
        named[name][0]: read(named[name][1], each, prefix + name, text=text)
        for name, each in value.items()
    }
    return kind(**found)


def _read_plain(kind: Any, value: Any, where: str, text: bool) -> Any:
    if kind is str:
        return value if isinstance(value, str) else _wrong(where, "a string")
    if kind is int:
        if text and re.fullmatch(r"-?\d{1,40}", value, re.ASCII):
            return int(value)
        return value if type(value) is int else _wrong(where, "an integer")
    if kind is bool:
        if text and value in ("true", "false"):
            return value == "true"
        return value if type(value) is bool else _wrong(where, "true or false")
    assert kind is datetime, kind
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass  # there is no such day, hour or offset
    return _wrong(where, "a time such as 2026-01-31T12:00:00Z")


def _wrong(where: str, expected: str) -> NoReturn:
    name = where or "body"
    raise Problem(422, "invalid_request", f"{name}: expected {expected}.", field=name)


# -- writing --------------------------------------------------------------------


def shown(value: Any) -> Any:
    """The JSON of a value."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return [shown(each) for each in value]
    if isinstance(value, Mapping):
        return {name: shown(each) for name, each in value.items()}
    shape: Any = type(value)
    if not has(shape):
        return value
    found: dict[str, Any] = {}
    moneys, names = _moneys(shape), _json_names(shape)
    for name in types(shape):
        each = getattr(value, name)
        if name in moneys:
            found |= _shown_money(names[name], each)
        else:
            found[names[name]] = shown(each)
    return found


def _shown_money(name: str, money: Money | None) -> dict[str, Any]:
    if money is None:
        return {f"{name}Cents": None, name: None}
    try:
        cents = floor_minor(money.nanos, money.currency)
    except InvalidCommand as error:  # no request can mend it
        raise LookupError(f"the minor units of {money.currency} are not known") from error
    return {
        f"{name}Cents": cents,
        name: decimal_text(money.nanos),
        "currency": money.currency,
    }


def _is_money(kind: Any) -> bool:
    return kind is Money or Money in get_args(kind)


# -- describing -----------------------------------------------------------------


def schema(kind: Any, shapes: dict[str, Any], *, asked: bool) -> dict[str, Any]:
    """The JSON Schema of a type; ``shapes`` gathers those it refers to, by name.

    ``asked``: of a request, which may leave out what has a default, and adds nothing.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        keywords: dict[str, Any] = arguments[1].keywords()
        return schema(arguments[0], shapes, asked=asked) | keywords
    if origin in (Union, UnionType):
        return {"anyOf": [schema(each, shapes, asked=asked) for each in arguments]}
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": schema(arguments[0], shapes, asked=asked)}
    if origin is not None:
        values = schema(arguments[1], shapes, asked=asked)
        return {"type": "object", "additionalProperties": values}
    if has(kind):
        return _schema_of_shape(kind, shapes, asked=asked)
    if kind is datetime:
        return {"type": "string", "format": "date-time"}
    names = {str: "string", int: "integer", bool: "boolean", NoneType: "null"}
    return {"type": names[kind]}


def _schema_of_shape(kind: Any, shapes: dict[str, Any], *, asked: bool) -> dict[str, Any]:
    name = kind.__name__.lstrip("_")
    if name not in shapes:
        shapes[name] = {}  # a shape may refer to itself
        found = properties(kind, shapes, asked=asked)
        shapes[name] = {
            "type": "object",
            "description": " ".join((kind.__doc__ or "").split()),
            "properties": found,
            "required": list(required(kind) if asked else found),
        }
        if asked:
            shapes[name]["additionalProperties"] = False
    return {"$ref": f"#/components/schemas/{name}"}


def properties(kind: Any, shapes: dict[str, Any], *, asked: bool) -> dict[str, Any]:
    """The JSON Schema of each field of a shape, by its JSON name."""
    found: dict[str, Any] = {}
    names = _json_names(kind)
    for python_name, each in types(kind).items():
        name = names[python_name]
        if _is_money(each):
            cents: dict[str, Any] = {"type": "integer"}
            none = [{"type": "null"}] if each is not Money else []
            found[f"{name}Cents"] = {"anyOf": [cents, *none]} if none else cents
            found[name] = {"anyOf": [_DECIMAL, *none]} if none else _DECIMAL
            if not none:
                found["currency"] = _CURRENCY
        else:
            found[name] = schema(each, shapes, asked=asked)
    return found
