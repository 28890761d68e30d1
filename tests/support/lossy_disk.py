"""A disk that may drop whatever was written to it and not synced.

It is told what an SQLite database did to its files, in order, and says what they may hold
after a power failure: all that was written before a file's last sync, and of what was
written since then anything from nothing to all of it.  The directory is a file like the
others: which names are there is sure once it has been synced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import NamedTuple

SECTOR = 512  # bytes that a disk writes whole or not at all


class Write(NamedTuple):
    file: str
    offset: int
    data: bytes


class Truncate(NamedTuple):
    file: str
    size: int


class Sync(NamedTuple):
    file: str


class Delete(NamedTuple):
    file: str


class SyncDirectory(NamedTuple):
    pass


class Answer(NamedTuple):
    """A command was acknowledged."""

    worker: str
    n: int
    digest: str


Change = Write | Truncate
Event = Change | Sync | Delete | SyncDirectory | Answer


class Fate(NamedTuple):
    """How likely each change that was not synced survives; ``torn``: each sector of it."""

    chance: float
    torn: bool = False


class File:
    """Content that is sure to survive, and changes that may."""

    def __init__(self, content: bytes = b"") -> None:
        self._content = bytearray(content)
        self._changes: list[Change] = []

    def change(self, change: Change) -> None:
        self._changes.append(change)

    def sync(self) -> None:
        self._content = applied(self._content, self._changes)
        self._changes = []

    def after_power_failure(self, fate: Fate, draw: Random) -> bytes:
        changes: Iterable[Change] = self._changes
        if fate.torn:
            changes = (part for change in changes for part in sectors(change))
        kept = (change for change in changes if draw.random() < fate.chance)
        return bytes(applied(self._content.copy(), kept))


class Disk:
    """One directory, with what is in it at first."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._sure = {name: File(content) for name, content in files.items()}
        self._seen = self._sure.copy()
        self._moves: list[tuple[str, File | None]] = []  # from what is sure to what is seen

    def see(self, event: Event) -> None:
        match event:
            case Write(name) | Truncate(name):
                self._file(name).change(event)
            case Sync(name):
                self._file(name).sync()
            case Delete(name):
                self._seen.pop(name, None)
                self._moves.append((name, None))
            case SyncDirectory():
                self._sure = self._seen.copy()
                self._moves = []

    def _file(self, name: str) -> File:
        if name not in self._seen:
            self._seen[name] = File()
            self._moves.append((name, self._seen[name]))
        return self._seen[name]

    def after_power_failure(self, fate: Fate, draw: Random) -> dict[str, bytes]:
        files = self._sure.copy()
        for name, file in self._moves:
            if draw.random() >= fate.chance:
                continue
            if file is None:
                files.pop(name, None)
            else:
                files[name] = file
        return {name: file.after_power_failure(fate, draw) for name, file in files.items()}


def applied(content: bytearray, changes: Iterable[Change]) -> bytearray:
    for change in changes:
        start = change.offset if isinstance(change, Write) else change.size
        content.extend(bytes(max(0, start - len(content))))
        if isinstance(change, Write):
            content[start : start + len(change.data)] = change.data
        else:
            del content[start:]
    return content


def sectors(change: Change) -> Iterator[Change]:
    if isinstance(change, Truncate):
        yield change
        return
    start, data = change.offset, change.data
    while data:
        size = SECTOR - start % SECTOR
        yield Write(change.file, start, data[:size])
        start, data = start + size, data[size:]
