"""Copies of what a store keeps: who changes one changes no other."""

from __future__ import annotations

from typing import Any, TypeVar

from attrs import fields

__all__ = ["copied"]

_T = TypeVar("_T")
_FIELDS: dict[type, tuple[str, ...]] = {}


def copied(value: _T) -> _T:
    """A copy of records, or of lists, dicts and sets of them, as `copy.deepcopy` makes.

    What can be hashed never changes, and is shared: text, numbers, tuples, what is frozen.  What
    is there twice as one object is one object in the copy, too.  To know that much of records
    takes a fraction of the time that it takes not to.
    """
    copy: _T = _copied(value, {})
    return copy


def _copied(value: Any, made: dict[int, Any]) -> Any:
    kind: Any = type(value)
    if kind.__hash__ is not None:
        return value
    known = made.get(id(value))
    if known is not None:
        return known
    if kind is dict:
        new: Any = {key: _copied(each, made) for key, each in value.items()}
    elif kind is list:
        new = [_copied(each, made) for each in value]
    elif kind is set:
        new = value.copy()
    else:
        names = _FIELDS.get(kind)
        if names is None:
            names = _FIELDS[kind] = tuple(each.name for each in fields(kind))
        new = kind.__new__(kind)
        for name in names:
            setattr(new, name, _copied(getattr(value, name), made))
    made[id(value)] = new
    return new
