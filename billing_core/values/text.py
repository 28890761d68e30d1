"""Names and the canonical text that is hashed and compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder as json_encoder
from typing import Any
from unicodedata import is_normalized

from billing_core.errors import InvalidCommand

__all__ = ["check_normal", "checked_name", "compact", "given_name", "quoted"]

_MAX_NAME = 200

_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False)


def _compact(encoder: json.JSONEncoder) -> Callable[[object], str]:
    # encode() builds the C encoder anew at each call; it is half the cost of a small value.
    make: Any = getattr(json_encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    ascii_only = json_encoder.encode_basestring_ascii
    encode = make(None, encoder.default, ascii_only, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


compact = _compact(_ENCODER)
"""Canonical JSON: ASCII, no spaces, keys in the order given."""

quoted: Callable[[str], str] = json_encoder.encode_basestring_ascii
"""A str as ``compact`` writes it."""


def given_name(field: str, name: object) -> str:
    """A name that something is to be kept by: a :func:`checked_name` in Unicode's form NFC.
    Else one name that is written in two ways, as ``é`` is, would be two members with two limits.
    What was kept by another form can still be read."""
    found = checked_name(field, name)
    if not found.isascii() and not is_normalized("NFC", found):
        raise InvalidCommand(field, found, "the name in Unicode's form NFC (unicodedata.normalize)")
    return found


def check_normal(field: str, data: object) -> None:
    """Every name in JSON data is in the form of a :func:`given_name`."""
    if isinstance(data, str) and not data.isascii() and not is_normalized("NFC", data):
        given_name(field, data)
    elif isinstance(data, dict):
        for name, value in data.items():
            check_normal(field, name)
            check_normal(name, value)
    elif isinstance(data, list):
        for value in data:
            check_normal(field, value)


def checked_name(field: str, name: object) -> str:
    """An org, key, member, resource or other name: 1 to 200 printable characters."""
    if not isinstance(name, str):
        raise InvalidCommand(field, name, "a str")
    # isprintable() also refuses lone surrogates, which no database would take.
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise InvalidCommand(field, name, f"1 to {_MAX_NAME} printable characters")
    return name
