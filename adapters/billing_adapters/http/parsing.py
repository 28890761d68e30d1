"""What a client sent, read strictly: nothing is guessed, repeated or silently dropped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from billing_adapters.http.messages import MAX_BODY, Problem, Request

__all__ = ["body_fields", "query_fields"]

_MAX_DEPTH = 16
_MAX_DIGITS = 40
_MAX_PARAMETERS = 50


def query_fields(request: Request) -> dict[str, str]:
    """The query's fields; a Problem 400 for a repeated one, or one that is not UTF-8."""
    if not request.query:
        return {}
    try:
        pairs = parse_qsl(
            request.query,
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:  # UnicodeDecodeError among them
        raise _malformed("The query is not percent-encoded UTF-8, or too long.") from None
    return _once(pairs, "query")


def body_fields(request: Request) -> dict[str, Any]:
    """The fields of a body, which is one JSON object.

    A Problem 413 where it is too large, 415 where it is said to be anything but JSON, 400
    where it is not strict JSON: UTF-8, each name once, finite numbers of at most 40
    characters, nested at most 16 deep.
    """
    if len(request.body) > MAX_BODY:
        raise Problem(413, "body_too_large", f"The body has more than {MAX_BODY:,} bytes.")
    _check_type(request.headers)
    try:
        text = request.body.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("The body is not UTF-8.") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _malformed(f"The body is not JSON: {error}.") from None
    except RecursionError:  # far deeper than what is looked at below
        raise _too_deep() from None
    if not isinstance(value, dict):
        raise Problem(422, "invalid_request", "The body must be a JSON object.")
    _check_depth(value)
    return value


def _check_type(headers: Mapping[str, str]) -> None:
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Problem(415, "unsupported_media_type", "Send Content-Type: application/json.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "unsupported_media_type", "Send the body without a Content-Encoding.")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            each
            for outer in level
            for each in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(each, (dict, list))
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> Problem:
    return _malformed(f"The body is nested more than {_MAX_DEPTH} deep.")


def _once(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _malformed(f"The {where} names {name[:50]!r} twice.")
            seen.add(name)
    return fields


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise _malformed(f"The body has a number of more than {_MAX_DIGITS} characters.")
    return int(text)


def _float(text: str) -> float:
    # No field takes one; it only has to be named in the answer.
    if len(text) > _MAX_DIGITS:
        raise _malformed(f"The body has a number of more than {_MAX_DIGITS} characters.")
    return float(text)


def _not_finite(text: str) -> NoReturn:
    raise _malformed(f"The body has {text}, which is not JSON.")


def _malformed(message: str) -> Problem:
    return Problem(400, "malformed_request", message)


_DECODER = json.JSONDecoder(
    object_pairs_hook=lambda pairs: _once(pairs, "body"),
    parse_constant=_not_finite,
    parse_int=_integer,
    parse_float=_float,
)
