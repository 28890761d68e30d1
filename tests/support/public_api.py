"""The public API in words: every public name with its signature, and what one finds on it.

    python tests/support/public_api.py > tests/fixtures/public_api.txt

`tests/docs/test_public_api.py` compares it with that fixture, so that a change of a public name
is seen in review. Public is what these modules export.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import get_origin

import attrs

MODULES = (
    "billing_core",
    "billing_core.testing",
    "billing_adapters.answers",
    "billing_adapters.fake_payments",
    "billing_adapters.genai",
    "billing_adapters.http",
    "billing_adapters.litellm_prices",
    "billing_adapters.postgres",
    "billing_adapters.price_lists",
    "billing_adapters.sqlite",
    "billing_adapters.stripe_payments",
    "billing_adapters.webhooks",
)
_OBJECT = re.compile(r"<(?:function )?([\w.]+)[^<>]* at 0x[0-9a-f]+>")


def lines() -> Iterator[str]:
    for module in MODULES:
        yield f"# {module}"
        exported = import_module(module)
        for name in sorted(exported.__all__):
            yield from described(name, getattr(exported, name))
        yield ""


def described(name: str, thing: object) -> Iterator[str]:
    if get_origin(thing) is not None:  # an alias, such as a Callable
        yield f"{name}: a type"
        return
    if not inspect.isclass(thing):
        yield name + (_signature(thing) if callable(thing) else f": {type(thing).__name__}")
        return
    bases = [base.__name__ for base in thing.__bases__ if base is not object]
    yield f"class {name}" + (f"({', '.join(bases)})" if bases else "")
    if "__init__" in _defined(thing) or issubclass(thing, tuple):
        yield f"    {_signature(thing)}"
    if not attrs.has(thing) and not issubclass(thing, tuple):  # whose constructor has them
        for attribute, hint in sorted(vars(thing).get("__annotations__", {}).items()):
            if not attribute.startswith("_"):
                yield f"    {attribute}: {hint}"
    for member, value in sorted(_defined(thing).items()):
        if member.startswith("_"):
            continue
        if isinstance(value, property):
            yield f"    {member}{_signature(value.fget)}"
        elif callable(value) or isinstance(value, staticmethod | classmethod):
            yield f"    {member}{_signature(getattr(thing, member))}"
    if issubclass(thing, Exception):
        yield f"    attributes: {', '.join(_given(thing)) or 'none'}"


def _defined(thing: type) -> dict[str, object]:
    """What the class defines, or a base of ours that is not public itself."""
    found: dict[str, object] = {}
    for base in reversed(thing.__mro__):
        if base is thing or (base.__module__.startswith("billing_") and base.__name__ not in _ALL):
            slots = vars(base).get("__slots__", ())
            found |= {name: value for name, value in vars(base).items() if name not in slots}
    return found


_ALL = {name for module in MODULES for name in import_module(module).__all__}


def _given(error: type) -> list[str]:
    """The attributes that an error's constructors give it."""
    found: set[str] = set()
    for base in error.__mro__:
        code = getattr(vars(base).get("__init__"), "__code__", None)
        if code is not None:
            given = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
            found |= set(code.co_names) & set(given)
    return sorted(found)


def _signature(thing: object) -> str:
    try:
        text = str(inspect.signature(thing))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(…)"
    # Where a default is, and how an annotation is quoted, differs from run to run and by version.
    return _OBJECT.sub(r"<\1>", text).replace("'", "").replace('"', "")


if __name__ == "__main__":
    print("\n".join(lines()))
