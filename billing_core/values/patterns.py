"""Patterns: a resource's name, or a prefix of names that ends in ``*`` (rule 5.11).

They mean the same wherever one may be written: in price books, discounts, quotas and the
scopes of lots.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator

from billing_core.errors import InvalidCommand
from billing_core.values.text import checked_name

__all__ = ["END", "Names", "checked_pattern", "closest", "fits", "meet", "within"]

END = "\U0010ffff"
"""Behind a prefix it sorts after every name that begins so: no name has this character."""


def checked_pattern(field: str, pattern: object) -> str:
    """A pattern; InvalidCommand for one with a ``*`` where it can match nothing."""
    name = checked_name(field, pattern)
    if "*" in name[:-1]:
        raise InvalidCommand(field, name, 'a name, or a prefix of names that ends in its only "*"')
    return name


def fits(pattern: str, resource: str) -> bool:
    """Whether a pattern names a resource."""
    if pattern == resource:
        return True
    return pattern.endswith("*") and resource.startswith(pattern[:-1])


def within(pattern: str, other: str) -> bool:
    """Whether all that a pattern names, another does too."""
    return fits(other, pattern.removesuffix("*")) if other.endswith("*") else pattern == other


def meet(one: str, other: str) -> bool:
    """Whether there may be a resource that both patterns name."""
    return within(one, other) or within(other, one)


def closest(patterns: Collection[str], resource: str) -> list[str]:
    """Those that name a resource: itself first, then the longest prefix.  Of a set or a mapping:
    where there are more of them than the resource has prefixes, those are looked up."""
    if len(patterns) <= len(resource):
        fitting = [name for name in patterns if fits(name, resource)]
        return sorted(fitting, key=lambda name: (name == resource, len(name)), reverse=True)
    prefixes = (f"{resource[:length]}*" for length in range(len(resource), -1, -1))
    names = [resource, *(name for name in prefixes if name != resource)]
    return [name for name in names if name in patterns]


class Names:
    """Names and patterns in order: what another meets of them is found without looking through
    all.  What lies below patterns, each given once, is as much as all names are long."""

    def __init__(self, names: Iterable[str]) -> None:
        self._sorted = sorted(set(names))
        self._all = frozenset(self._sorted)

    def above(self, pattern: str) -> list[str]:
        """Those that name all that a pattern does, itself too: the closest first."""
        if not pattern.endswith("*"):
            return closest(self._all, pattern)
        return [name for name in closest(self._all, pattern[:-1]) if name.endswith("*")]

    def below(self, pattern: str) -> Iterator[str]:
        """Those that name nothing but what a pattern does, itself too, in order."""
        if not pattern.endswith("*"):
            yield from [pattern] if pattern in self._all else []
            return
        prefix = pattern[:-1]
        for place in range(
            bisect_left(self._sorted, prefix), bisect_left(self._sorted, prefix + END)
        ):
            if within(self._sorted[place], pattern):
                yield self._sorted[place]

    def meeting(self, pattern: str) -> set[str]:
        """Those that may name a resource that a pattern names."""
        return {*self.above(pattern), *self.below(pattern)}
