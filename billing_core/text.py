"""Names and the canonical text that is hashed and compared."""

from __future__ import annotations

import json

from billing_core.errors import InvalidCommand

__all__ = ["checked_name", "compact"]

_MAX_NAME = 200

compact = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode
"""Canonical JSON: ASCII, no spaces, keys in the order given."""


def checked_name(field: str, name: object) -> str:
    """An org, key, member, resource or other name: 1 to 200 printable characters."""
    if not isinstance(name, str):
        raise InvalidCommand(field, name, "a str")
    # isprintable() also refuses lone surrogates, which no database would take.
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise InvalidCommand(field, name, f"1 to {_MAX_NAME} printable characters")
    return name
