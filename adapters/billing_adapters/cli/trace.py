"""Reading request traces: ``TIMESTAMP,ContextTokens,GeneratedTokens``, gzipped or not.

A trace is read twice, in bounded memory: :func:`scan` checks every line and finds what
must be known beforehand, then :meth:`Trace.requests` gives them one by one.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from attrs import frozen

from billing_core import BillingError

__all__ = ["Request", "Trace", "TraceError", "scan"]

HEADER = b"TIMESTAMP,ContextTokens,GeneratedTokens"
_LINE = re.compile(
    rb"([0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)[0-9]*"
    rb"(?:Z|\+00:?00)?,([0-9]{1,12}),([0-9]{1,12})"
)
_LONGEST = 200  # bytes: no line of a trace comes near, and memory stays bounded
_FIRST = datetime(1971, 1, 1, tzinfo=UTC)
_EVERY = 2_000  # lines between two reports of progress

Progress = Callable[[int], object]
"""Told how many bytes of the file have been read."""


class TraceError(BillingError):
    """A trace that cannot be read: which file and line, and what was expected."""


class Request(NamedTuple):
    """One line: ``line`` is its number in the file, the header's being 1."""

    line: int
    at: datetime
    input: int
    output: int


@frozen
class Trace:
    """A checked trace.  ``digest``: SHA-256 of the unpacked bytes, in hex."""

    path: Path
    digest: str
    count: int
    input_tokens: int
    output_tokens: int
    largest_output: int
    first: datetime
    last: datetime

    def requests(self) -> Iterator[Request]:
        """The requests again, in the file's order."""
        digest = sha256()
        with _unpacked(self.path) as (file, _):
            for number, raw in _lines(self.path, file, digest.update):
                yield _request(self.path, number, raw)
        if digest.hexdigest() != self.digest:
            raise TraceError(f"{self.path}: changed while it was read; run the same again")


def scan(path: Path, *, until: datetime, progress: Progress = lambda _: None) -> Trace:
    """Check a trace from its first line to its last; raises TraceError.

    ``until``: no request may be later, as it cannot have happened yet.
    """
    digest = sha256()
    count = inputs = outputs = largest = 0
    first, last = until, _FIRST
    with _unpacked(path) as (file, packed):
        for number, raw in _lines(path, file, digest.update):
            request = _request(path, number, raw)
            if not _FIRST <= request.at <= until:
                raise _malformed(path, number, raw, f"a time from 1971 to now, {until:%F %T} UTC")
            count += 1
            inputs += request.input
            outputs += request.output
            largest = max(largest, request.output)
            first, last = min(first, request.at), max(last, request.at)
            if count % _EVERY == 0:
                progress(packed.tell())
        progress(packed.tell())
    if not count:
        raise TraceError(f"{path}: line 2: expected a request, but the file ends")
    return Trace(path, digest.hexdigest(), count, inputs, outputs, largest, first, last)


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The unpacked file, and the file as it lies on disk."""
    try:
        with path.open("rb") as packed:
            magic = packed.read(2)
            packed.seek(0)
            if magic != b"\x1f\x8b":
                yield packed, packed
                return
            with gzip.open(packed) as file:
                yield cast(BinaryIO, file), packed
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(f"{path}: cannot be read: {error}") from error


def _lines(
    path: Path, file: BinaryIO, seen: Callable[[bytes], object]
) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without their ends; the header is checked and left out."""
    header = file.readline(_LONGEST)
    seen(header)
    if header.rstrip(b"\r\n") != HEADER:
        raise _malformed(path, 1, header, f"the header {HEADER.decode()}")
    number = 1
    while raw := file.readline(_LONGEST):
        number += 1
        seen(raw)
        yield number, raw.rstrip(b"\r\n")


def _request(path: Path, number: int, raw: bytes) -> Request:
    match = _LINE.fullmatch(raw)
    if match is not None:
        time, inputs, outputs = match.groups()
        try:
            at = datetime.fromisoformat(time.decode()).replace(tzinfo=UTC)
        except ValueError:
            pass
        else:
            return Request(number, at, int(inputs), int(outputs))
    raise _malformed(
        path,
        number,
        raw,
        "time (UTC, with or without +00:00), input and output tokens: "
        "2023-11-16 18:15:46.6805900,374,44",
    )


def _malformed(path: Path, number: int, raw: bytes, expected: str) -> TraceError:
    text = repr(raw.rstrip(b"\r\n").decode("utf-8", "replace"))
    shown = text if len(text) <= 80 else text[:77] + "..."
    return TraceError(f"{path}: line {number}: given {shown}; expected {expected}")
