"""What a regular expression costs, counted: a matcher that goes back where Python's does, and
counts the characters that it looks at.  Python's own tells nobody, and its time is no proof."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

_parse = import_module("re._parser").parse

_KINDS = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}


class Steps:
    """Finds a pattern in a text as :func:`re.finditer` does, or as a whole; ``count``: what
    was looked at."""

    def __init__(self, pattern: str, text: str):
        self.tree = list(_parse(pattern, re.ASCII))
        self.text = text
        self.count = 0

    def found(self) -> list[tuple[int, int]]:
        """Where it is, from where it begins on for each that is found."""
        spans, at = [], 0
        while at <= len(self.text):
            self.count += 1
            end = next(self._all(self.tree, 0, at), None)
            if end is not None:
                spans.append((at, end))
            at = max(end or 0, at + 1) if end != at else at + 1
        return spans

    def whole(self) -> bool:
        return any(end == len(self.text) for end in self._all(self.tree, 0, 0))

    def _all(self, nodes: list[Any], place: int, at: int) -> Iterator[int]:
        """The ends of what nodes match from a place on, in the order in which they are tried."""
        if place == len(nodes):
            yield at
            return
        for end in self._one(*nodes[place], at):
            yield from self._all(nodes, place + 1, end)

    def _one(self, op: Any, given: Any, at: int) -> Iterator[int]:
        self.count += 1
        match str(op):
            case "LITERAL" | "NOT_LITERAL" | "IN" | "ANY":
                if at < len(self.text) and _is(str(op), given, self.text[at]):
                    yield at + 1
            case "BRANCH":
                for each in given[1]:
                    yield from self._all(list(each), 0, at)
            case "SUBPATTERN":
                yield from self._all(list(given[3]), 0, at)
            case "MAX_REPEAT":
                least, most, body = given
                yield from self._repeated(list(body), int(least), int(most), at)
            case "AT":
                if self._at(str(given), at):
                    yield at
            case other:
                raise NotImplementedError(f"{other}: say here how it is matched")

    def _repeated(self, body: list[Any], least: int, most: int, at: int) -> Iterator[int]:
        if most > 0:
            for end in self._all(body, 0, at):
                if end > at or least > 0:
                    yield from self._repeated(body, max(0, least - 1), most - 1, end)
        if least == 0:
            self.count += 1
            yield at

    def _at(self, where: str, at: int) -> bool:
        def word(place: int) -> bool:
            return 0 <= place < len(self.text) and _is_kind(r"\w", self.text[place])

        match where:
            case "AT_BEGINNING":
                return at == 0
            case "AT_END":
                return at == len(self.text) or self.text[at:] == "\n"
            case "AT_BOUNDARY":
                return word(at - 1) != word(at)
        raise NotImplementedError(f"{where}: say here where it is")


def _is_kind(kind: str, character: str) -> bool:
    return re.fullmatch(kind, character, re.ASCII) is not None


def _is(op: str, given: Any, character: str) -> bool:
    code = ord(character)
    match op:
        case "LITERAL":
            return code == given
        case "NOT_LITERAL":
            return code != given
        case "ANY":
            return character != "\n"
        case "RANGE":
            return given[0] <= code <= given[1]
        case "CATEGORY":
            return _is_kind(_KINDS[str(given)], character)
    negated = str(given[0][0]) == "NEGATE"
    return negated != any(_is(str(kind), each, character) for kind, each in given[negated:])
