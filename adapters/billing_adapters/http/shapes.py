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
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from attrs import NOTHING, fields, frozen, has

from billing_adapters.http.messages import Problem
from billing_core.errors import InvalidCommand
from billing_core.values.currencies import floor_minor
from billing_core.values.money import Money, decimal_text

__all__ = ["Rule", "camel", "json_names", "properties", "read", "required", "schema", "shown"]

_IS_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DECIMAL = {"type": "string", "pattern": r"^-?\d+\.\d{2,9}$"}
_CURRENCY = {"type": "string", "pattern": "^[A-Z]{3}$"}

_Reader = Callable[[Any, str], Any]
"""``(JSON, where it stands)`` → the value; raises a Problem 422 that names the field."""


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
def json_names(shape: type) -> Mapping[str, str]:
    """The JSON name of each field, by its name in Python."""
    return {each.name: each.metadata.get("json", camel(each.name)) for each in fields(shape)}


@cache
def required(shape: type) -> tuple[str, ...]:
    """The JSON names of the fields that a request must have."""
    names = json_names(shape)
    return tuple(names[each.name] for each in fields(shape) if each.default is NOTHING)


# -- reading --------------------------------------------------------------------


def read(kind: Any, value: Any, where: str, *, text: bool = False) -> Any:
    """A value of a type from its JSON, or, with ``text``, from a query's text.

    Raises a Problem 422 that names the field.
    """
    return _reader(kind, text)(value, where)


@cache
def _reader(kind: Any, text: bool) -> _Reader:
    """How values of a type are read; made once, since types do not change."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _ruled(_reader(arguments[0], text), arguments[1])
    if origin in (Union, UnionType):
        kinds = [_reader(each, text) for each in arguments if each is not NoneType]
        return _any_of(kinds, nullable=NoneType in arguments)
    if origin is Literal:
        return _one_of(arguments)
    if origin is tuple:
        return _array_of(_reader(arguments[0], text))
    if origin is not None:
        return _object_of(_reader(arguments[1], text))
    return _shape_of(kind, text) if has(kind) else _plain(kind, text)


def _ruled(inner: _Reader, rule: Rule) -> _Reader:
    def read(value: Any, where: str) -> Any:
        found = inner(value, where)
        expected = rule.broken(found)
        return found if expected is None else _wrong(where, expected)

    return read


def _any_of(kinds: list[_Reader], *, nullable: bool) -> _Reader:
    *others, last = kinds

    def read(value: Any, where: str) -> Any:
        if value is None and nullable:
            return None
        for each in others:
            try:
                return each(value, where)
            except Problem:
                continue
        return last(value, where)

    return read


def _one_of(values: tuple[Any, ...]) -> _Reader:
    names = ", ".join(str(each) for each in values)
    return lambda value, where: value if value in values else _wrong(where, f"one of {names}")


def _array_of(inner: _Reader) -> _Reader:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            _wrong(where, "an array")
        return tuple(inner(each, f"{where}[{number}]") for number, each in enumerate(value))

    return read


def _object_of(inner: _Reader) -> _Reader:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            _wrong(where, "an object")
        return {name: inner(each, f"{where}.{name}") for name, each in value.items()}

    return read


def _shape_of(shape: Any, text: bool) -> _Reader:
    names = json_names(shape)
    named = {names[name]: (name, _reader(kind, text)) for name, kind in types(shape).items()}
    needed = required(shape)
    known = ", ".join(sorted(named)) or "none"

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            _wrong(where, "an object")
        prefix = f"{where}." if where else ""
        for name in value:
            if name not in named:
                _wrong(f"{prefix}{name[:50]}", f"no such field; there are {known}")
        for name in needed:
            if name not in value:
                _wrong(prefix + name, "a value: it is required")
        found: dict[str, Any] = {}
        for name, each in value.items():
            own, inner = named[name]
            found[own] = inner(each, prefix + name)
        return shape(**found)

    return read


def _plain(kind: Any, text: bool) -> _Reader:
    if kind is datetime:
        return _time
    if text and kind is not str:
        return _integer_of_text if kind is int else _truth_of_text
    expected = {str: "a string", int: "an integer", bool: "true or false"}[kind]
    return lambda value, where: value if type(value) is kind else _wrong(where, expected)


def _integer_of_text(value: str, where: str) -> int:
    if not re.fullmatch(r"-?\d{1,40}", value, re.ASCII):
        _wrong(where, "an integer")
    return int(value)


def _truth_of_text(value: str, where: str) -> bool:
    return value == "true" if value in ("true", "false") else _wrong(where, "true or false")


def _time(value: Any, where: str) -> datetime:
    if isinstance(value, str) and _IS_TIME.fullmatch(value):
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
    kind: Any = type(value)
    return _writer(kind)(value)


@cache
def _writer(kind: Any) -> Callable[[Any], Any]:
    """How values of a type are shown."""
    if issubclass(kind, datetime):
        return lambda value: value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if issubclass(kind, tuple):
        return lambda value: [shown(each) for each in value]
    if issubclass(kind, Mapping):
        return lambda value: {name: shown(each) for name, each in value.items()}
    if not has(kind):
        return lambda value: value
    names = json_names(kind)
    plan = [(name, names[name], _is_money(each)) for name, each in types(kind).items()]

    def write(value: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, shown_name, is_money in plan:
            each = getattr(value, name)
            if is_money:
                _show_money(found, shown_name, each)
            else:
                found[shown_name] = shown(each)
        return found

    return write


def _show_money(found: dict[str, Any], name: str, money: Money | None) -> None:
    if money is None:
        found[f"{name}Cents"] = found[name] = None
        return
    try:
        found[f"{name}Cents"] = floor_minor(money.nanos, money.currency)
    except InvalidCommand as error:  # no request can mend it
        raise LookupError(f"the minor units of {money.currency} are not known") from error
    found[name] = decimal_text(money.nanos)
    found["currency"] = money.currency


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
    names = json_names(kind)
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
