"""What crosses the door: a request, a response, and a problem that is answered as an error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from attrs import field, frozen

__all__ = ["MAX_BODY", "Problem", "Request", "Response", "json_response", "without_body"]

MAX_BODY = 1_000_000
"""The largest body in bytes.  A host reads one byte more at most, and passes on what it read."""


class Headers(Protocol):
    """What any framework's headers are, be they a mapping or not."""

    def items(self) -> Iterable[tuple[str, str]]: ...


def _lowered(headers: Headers) -> Mapping[str, str]:
    """Names in lower case; values of a repeated one joined, as RFC 9110 has it."""
    found: dict[str, list[str]] = {}
    for name, value in headers.items():
        found.setdefault(name.lower(), []).append(value)
    return {name: ", ".join(values) for name, values in found.items()}


@frozen
class Request:
    """A request, as your web framework has it.

    Its text form has no query, headers or body, as these hold keys and secrets.

    Args:
        method: ``GET``, ``POST`` and so on.
        path: Decoded, without the query.
        query: What follows the ``?``, as it was sent.
        headers: A mapping, or what has ``items()``; names in any case.
        body: Raw bytes.  Read ``MAX_BODY`` and one more at most: what is larger is refused.
    """

    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(factory=dict, converter=_lowered, repr=False)
    body: bytes = field(default=b"", repr=False)


@frozen
class Response:
    """An answer, to be sent as it is.

    Attributes:
        status: The HTTP status.
        headers: By name.
        body: Raw bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Problem(Exception):
    """A request that is answered with an error.

    Args:
        status: The HTTP status.
        code: What went wrong, for programs.
        message: The same for people.
        headers: Further headers of the answer.
        details: Further fields of the error's body; those that are None are left out.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        **details: object,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}
        self.details = {name: value for name, value in details.items() if value is not None}
        super().__init__(message)


def without_body(response: Response) -> Response:
    """The answer to HEAD: what GET answers, its length too, but for the body."""
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    return Response(response.status, headers, b"")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)


def json_response(status: int, value: Any, headers: Mapping[str, str]) -> Response:
    return Response(
        status,
        {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **headers,
        },
        _ENCODER.encode(value).encode(),
    )
