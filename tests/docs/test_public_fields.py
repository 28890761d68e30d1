"""Every field of a public value, every argument of a public function, and every attribute of an
error is explained in its docstring, and nothing is explained that is not there.

The methods of the engine are looked at in ``test_public_docstrings.py``.
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

import attrs
import pytest
from public_api import MODULES

from billing_core import BillingError

PLAIN = {"decimal_text": {"nanos"}, "description": {"routes"}, "model": {"name"}}
"""What the first sentence says already."""

SECTION = re.compile(r"^(?:Args|Attributes):\n((?:    .*\n|\n)+)", re.M)
ENTRY = re.compile(r"^    (\w+): (?=\S)", re.M)


def public() -> Iterator[tuple[str, object]]:
    for module in MODULES:
        exported = import_module(module)
        for name in sorted(exported.__all__):
            thing = getattr(exported, name)
            home = getattr(thing, "__module__", "")
            if home.startswith("billing_") and ".engine" not in home:
                yield f"{module}.{name}", thing


THINGS = dict(public())


def explained(thing: object) -> list[str]:
    docstring = inspect.cleandoc(getattr(thing, "__doc__", None) or "") + "\n"
    return [name for section in SECTION.findall(docstring) for name in ENTRY.findall(section)]


def fields(thing: object) -> tuple[set[str], set[str]]:
    """Those that it has, and those of them that it must explain itself: not what a base has."""
    if isinstance(thing, type) and attrs.has(thing):
        found = [field for field in attrs.fields(thing) if not field.name.startswith("_")]
        known = {field.alias or field.name for field in found}
        if "__attrs_attrs__" not in vars(thing):  # all of them are its base's
            return known, set()
        own = {field.alias or field.name for field in found if field.init and not field.inherited}
        return known, own
    if isinstance(thing, type) and issubclass(thing, tuple):
        named = set(getattr(thing, "_fields", ()))
        return named, named
    if isinstance(thing, type) and "__init__" not in vars(thing):
        return {name for name in dir(thing) if not name.startswith("_")} | hints(thing), set()
    if isinstance(thing, type) and issubclass(thing, Exception):
        given = set(inspect.signature(thing).parameters)
        return given, set(thing.__init__.__code__.co_names) & given
    if callable(thing):
        given = set(inspect.signature(thing).parameters)
        return given, given
    return set(), set()


def hints(thing: type) -> set[str]:
    return {name for base in thing.__mro__ for name in vars(base).get("__annotations__", {})}


def flaws(name: str, thing: object) -> list[str]:
    said = explained(thing)
    known, own = fields(thing)
    return sorted(
        [f"{name}: {each} is not explained" for each in own - set(said) - PLAIN.get(name, set())]
        + [f"{name}: there is no {each}" for each in set(said) - known]
        + [f"{name}: {each} is explained twice" for each in set(said) if said.count(each) > 1]
    )


@pytest.mark.parametrize("name", THINGS)
def test_each_field_and_argument_is_explained(name: str) -> None:
    assert flaws(name.rpartition(".")[2], THINGS[name]) == []


def test_there_is_much_to_explain() -> None:
    assert sum(len(fields(thing)[1]) for thing in THINGS.values()) > 400


# -- that it can fail ----------------------------------------------------------------


@attrs.frozen
class Loan:
    """What somebody borrowed.

    Attributes:
        book: Which one.
        day: When.
        day: When, again.
    """

    book: str
    shelf: int


@attrs.frozen
class Renewed(Loan):
    """Borrowed for longer.

    Args:
        days: How many
            more: of these.
    """

    days: int


class Due(NamedTuple):
    """When it is to be back."""

    day: int


class Late(BillingError):
    """It is not back.

    Attributes:
        days: How many.
    """

    def __init__(self, days: int, fine: int, message: str) -> None:
        self.days = days
        self.fine = fine
        super().__init__(message)


def lend(book: str) -> str:
    """Lend it."""
    return book


def test_what_is_not_explained_or_not_there_is_found() -> None:
    assert flaws("Loan", Loan) == [
        "Loan: day is explained twice", "Loan: shelf is not explained", "Loan: there is no day",
    ]  # fmt: skip
    assert flaws("Renewed", Renewed) == []
    assert flaws("Due", Due) == ["Due: day is not explained"]
    assert flaws("Late", Late) == ["Late: fine is not explained"]
    assert flaws("lend", lend) == ["lend: book is not explained"]
