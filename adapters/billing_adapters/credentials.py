"""The secrets that a host gives: checked for their shape when given, and never shown.

A Stripe key that ends in a newline is printed by the HTTP library, and a connection string that
is misspelt by libpq: so neither gets that far.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from billing_core.errors import InvalidCommand

__all__ = [
    "Unshown",
    "checked_address",
    "checked_api_key",
    "checked_webhook_secrets",
    "has_password",
    "is_connection_string",
    "unshown",
    "without_passwords",
]


class Unshown:
    """Stands in an error for a secret, and tells what is safe to tell of it."""

    __slots__ = ("_told",)

    def __init__(self, told: str) -> None:
        self._told = told

    def __repr__(self) -> str:
        return self._told


# Public knowledge of what else there is at Stripe, and so the likeliest mistakes.
_PREFIXES = ("pk_", "sk_", "rk_", "whsec_", "price_", "acct_")


def unshown(value: object) -> Unshown:
    """What can be told of what was given for a secret."""
    if not isinstance(value, str):
        return Unshown(f"a {type(value).__name__} (not shown)")
    if not value.strip():
        return Unshown("an empty text")
    if not all("!" <= each <= "~" for each in value):
        return Unshown("a text with white space, a line's end or another odd character (not shown)")
    prefix = next((each for each in _PREFIXES if value.startswith(each)), None)
    return Unshown("a text (not shown)" if prefix is None else f"a text '{prefix}…' (not shown)")


# -- payments ---------------------------------------------------------------------

_API_KEY = re.compile(r"(?:sk|rk)_(test|live)_[0-9A-Za-z_]+")
_WEBHOOK_SECRET = re.compile(r"whsec_[!-~]+")


def checked_api_key(key: object, *, livemode: bool) -> str:
    """A secret or restricted key of Stripe's, of this mode."""
    found = _API_KEY.fullmatch(key) if isinstance(key, str) else None
    mode = "live" if livemode else "test"
    if found is None or not isinstance(key, str):
        expected = (
            f"a secret or restricted key of Stripe's, sk_{mode}_… or rk_{mode}_…, and no more"
        )
        raise InvalidCommand("api_key", unshown(key), expected)
    if found[1] != mode:
        raise InvalidCommand(
            "api_key", Unshown(f"a key of {found[1]} mode"), f"a key of {mode} mode"
        )
    return key


def checked_webhook_secrets(secrets: object) -> tuple[str, ...]:
    """Of a webhook's endpoint; two while one is rotated."""
    expected = "a list of secrets of a webhook's endpoint, each whsec_… and no more"
    if isinstance(secrets, (str, bytes)) or not isinstance(secrets, Sequence):
        raise InvalidCommand("webhook_secrets", unshown(secrets), expected)
    for each in secrets:
        if not (isinstance(each, str) and _WEBHOOK_SECRET.fullmatch(each)):
            raise InvalidCommand("webhook_secrets", unshown(each), expected)
    return tuple(secrets)


def checked_address(address: object) -> str:
    """Where an API is.  A user and a password there would be sent instead of the key."""
    try:
        found = urlsplit(address) if isinstance(address, str) else None
    except ValueError:
        found = None
    plain = found is not None and found.hostname and found.username is None
    if (
        found is None
        or not isinstance(address, str)
        or not plain
        or found.scheme not in ("http", "https")
        or any(each.isspace() for each in address)
    ):
        raise InvalidCommand(
            "address", unshown(address), "a URL, https://…, without a user or a password"
        )
    return address


# -- databases --------------------------------------------------------------------

_PLACE = re.compile(r"[./\\~]|[A-Za-z]:[/\\]")
_CONNECTION = re.compile(r"^\s*[\w+.-]+://|\bpassword\s*=", re.IGNORECASE)
_USER = re.compile(r"\w:")
_PASSWORD = re.compile(
    r"\b\w[\w+.-]{0,20}://[^\s:/@]*:|\b(?:ssl)?password\s*=\s*('[^']*'|\S+)", re.IGNORECASE
)
_BLANK = re.compile(r"\s")
_SECRET = re.compile(r"([sr]k_(?:test|live)_|whsec_)[\w+/=-]+")


def is_connection_string(text: str) -> bool:
    """Whether this is no path of a file but leads to a database, however it is misspelt."""
    before, _, _ = text.rpartition("@")
    found = _USER.search(before) or _CONNECTION.search(text)
    return _PLACE.match(text) is None and found is not None


def has_password(text: str) -> bool:
    """Whether a connection string, misspelt or not, may hold a password."""
    return any(_passwords(text))


def without_passwords(text: str) -> str:
    """A message, without the passwords of connection strings and the secrets of Stripe's that it
    may quote."""
    text = _SECRET.sub(r"\1…", text)
    parts, last = [], 0
    for begin, end in _passwords(text):
        parts.append(text[last:begin])
        last = end
    return "…".join([*parts, text[last:]])


def _passwords(text: str) -> Iterator[tuple[int, int]]:
    """Where passwords stand: behind ``password =``, or from a user's colon to the last ``@`` of
    the word, which is sought once a word, however many colons there are before it."""
    place, without = 0, 0
    while found := _PASSWORD.search(text, place):
        begin, at = found.end(), -1
        if found[1] is not None:
            yield found.span(1)
            place = begin
            continue
        if begin >= without:
            blank = _BLANK.search(text, begin)
            end = len(text) if blank is None else blank.start()
            at = text.rfind("@", begin + 1, end)
            without = end if at < 0 else 0
        if at < 0:
            place = found.start() + 1
        else:
            yield begin, at
            place = at + 1
