"""Signed webhooks, by the scheme that Stripe documents: to sign what you send, or verify what
comes.

The header is ``t=SECONDS,v1=HEX``: an HMAC-SHA256 of ``SECONDS.BODY`` by a secret that both
sides know, hex-encoded; several ``v1`` while a secret is being rotated.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from typing import Any

from billing_core.errors import PaymentError

__all__ = ["signed", "verified"]

MOST_BYTES = 1_000_000
"""More than any event has; what is larger is refused unread."""

TOLERANCE = 300_000_000
"""How far, in microseconds, a signature's time may be from ours, either way."""

_MOST_HEADER = 4096


def signed(body: bytes, secret: str, at: int) -> str:
    """The signature header for a body.

    Args:
        body: The raw bytes that are sent.
        secret: The secret that both sides know.
        at: The time of signing: microseconds since 1970, UTC.
    """
    seconds = at // 1_000_000
    return f"t={seconds},v1={_signature(body, secret, seconds)}"


def verified(
    body: bytes, header: str | None, *, secrets: Sequence[str], now: int
) -> dict[str, Any]:
    """The JSON object in a body whose signature is right and recent.

    Args:
        body: The raw bytes as they came, at most 1,000,000; not parsed and written anew.
        header: The signature header; None: there was none.
        secrets: The secrets of which one must have signed; two while one is being rotated.
        now: The time: microseconds since 1970, UTC.  The signature may be 5 minutes away from it.

    Raises:
        PaymentError: ``bad_signature``: none, by another secret, or too old or too new;
            ``bad_webhook``: too large, not UTF-8, or not a JSON object.
    """
    if len(body) > MOST_BYTES:
        raise _bad_webhook(f"a body of {len(body)} bytes; expected at most {MOST_BYTES}")
    if not secrets:
        raise _bad_signature("no webhook secret is configured; give the endpoint's (whsec_…)")
    if not header:
        raise _bad_signature("no signature header; pass on the one that came with the request")
    seconds, signatures = _parsed(header)
    expected = [_signature(body, secret, seconds).encode() for secret in secrets]
    # Every pair is compared: how long it takes does not say which was near.
    if not sum(hmac.compare_digest(ours, theirs) for ours in expected for theirs in signatures):
        raise _bad_signature(
            "a signature by none of the configured secrets; check that the secret is this "
            "endpoint's and that the body is passed on as raw bytes, not parsed and rewritten"
        )
    age = now - seconds * 1_000_000
    if abs(age) > TOLERANCE:
        when = "ago" if age > 0 else "in the future"
        raise _bad_signature(
            f"a signature made {abs(age) // 1_000_000} s {when}; expected within "
            f"{TOLERANCE // 1_000_000} s: a replay, or a clock that is wrong"
        )
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _bad_webhook(f"a body that is not JSON in UTF-8 ({type(error).__name__})") from error
    if not isinstance(value, dict):
        raise _bad_webhook(f"a JSON {type(value).__name__}; expected an object")
    return value


def _signature(body: bytes, secret: str, seconds: int) -> str:
    return hmac.new(secret.encode(), f"{seconds}.".encode() + body, "sha256").hexdigest()


def _parsed(header: str) -> tuple[int, list[bytes]]:
    """The time, in seconds, and the ``v1`` signatures."""
    items = [item.strip().partition("=") for item in header[:_MOST_HEADER].split(",")]
    times = [value for name, _, value in items if name == "t"]
    signatures = [value.encode(errors="replace") for name, _, value in items if name == "v1"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdecimal() and len(times[0]) < 13):
        raise _bad_signature("a signature header without one time; expected t=SECONDS,v1=HEX")
    if not signatures:
        raise _bad_signature("a signature header without a v1 signature")
    return int(times[0]), signatures


def _bad_signature(given: str) -> PaymentError:
    return PaymentError(f"webhook refused: {given}", kind="bad_signature")


def _bad_webhook(given: str) -> PaymentError:
    return PaymentError(f"webhook refused: {given}", kind="bad_webhook")
