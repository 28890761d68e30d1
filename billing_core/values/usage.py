"""How much of what was used, and who pays: quantities of a resource's components."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, Self

from attrs import frozen

from billing_core.errors import InvalidCommand
from billing_core.values.text import checked_name, given_name, quoted
from billing_core.values.times import duration as checked_duration

__all__ = [
    "CUSTOMER",
    "PLATFORM",
    "Payer",
    "Rates",
    "Usage",
    "check_usage",
    "code",
    "model",
    "named",
    "tokens",
    "tool",
]

Payer = Literal["platform", "customer"]
PLATFORM: Payer = "platform"
CUSTOMER: Payer = "customer"

_MAX_QUANTITY = 10**36


def model(name: str) -> str:
    """The resource name of a model: ``model:gpt-4o``."""
    return named("model", name)


def named(kind: str, name: str) -> str:
    """The name of a resource of a kind, from what it is called among its own."""
    if checked_name(kind, name).startswith(f"{kind}:"):
        raise InvalidCommand(kind, name, f'a name to which "{kind}:" is added; leave it out')
    return f"{kind}:{name}"


def _check_quantity(field: str, quantity: object) -> None:
    if type(quantity) is not int or not 0 <= quantity < _MAX_QUANTITY:
        raise InvalidCommand(field, quantity, "an int from 0 to below 10**36")


@frozen
class Usage:
    """Measured (or expected) use of one resource.

    ``parts``: ``(component, quantity, payer)``, sorted by component, none of zero.
    ``item``: the one run or call whose minimum and increment span several
    settlements; without it a settlement is an item of its own.
    """

    resource: str
    parts: tuple[tuple[str, int, Payer], ...]
    item: str | None = None

    def __attrs_post_init__(self) -> None:
        checked_name("resource", self.resource)
        if self.item is not None:
            checked_name("item", self.item)
        if not isinstance(self.parts, tuple):
            raise InvalidCommand("parts", self.parts, "a tuple; see Usage.of")
        before = ""
        for part in self.parts:
            if type(part) is not tuple or len(part) != 3:
                raise InvalidCommand("parts", part, "(component, quantity, payer); see Usage.of")
            component, quantity, payer = part
            checked_name("component", component)
            _check_quantity(component, quantity)
            if payer not in (PLATFORM, CUSTOMER):
                raise InvalidCommand("payer", payer, '"platform" or "customer"')
            if quantity == 0 or component <= before:
                raise InvalidCommand("parts", self.parts, "sorted, none of zero; see Usage.of")
            before = component

    @classmethod
    def of(
        cls,
        resource: str,
        quantities: Mapping[str, int],
        *,
        payer: Payer | Mapping[str, Payer] = PLATFORM,
        item: str | None = None,
    ) -> Self:
        """``quantities`` by component, each at least 0; ``payer`` for all of them or by
        component (components it does not name are the platform's)."""
        if not isinstance(quantities, Mapping):
            raise InvalidCommand("quantities", quantities, "a mapping of component to quantity")
        used: list[str] = []
        for component, quantity in quantities.items():
            # What is used is checked with its part, below; what is not, here.
            if (type(quantity) is int and quantity == 0) or not isinstance(component, str):
                checked_name("component", component)
            else:
                used.append(component)
        used.sort()
        if isinstance(payer, str):
            parts: list[tuple[str, int, Payer]] = [
                (component, quantities[component], payer) for component in used
            ]
        elif not isinstance(payer, Mapping):
            raise InvalidCommand("payer", payer, '"platform", "customer" or a mapping of them')
        else:
            for component in payer:
                if component not in quantities:
                    raise InvalidCommand("payer", component, "a component of the quantities")
            parts = [
                (component, quantities[component], payer.get(component, PLATFORM))
                for component in used
            ]
        return cls(resource, tuple(parts), item)

    def content(self) -> list[Any]:
        return [self.resource, self.parts, self.item]

    def text(self) -> str:
        """The content as canonical JSON."""
        parts = [
            f'[{quoted(component)},{quantity},"{payer}"]'
            for component, quantity, payer in self.parts
        ]
        item = "null" if self.item is None else quoted(self.item)
        return f"[{quoted(self.resource)},[{','.join(parts)}],{item}]"


class Rates(Usage):
    """What a microsecond of a run uses, by component: what :func:`sandbox` returns.  It is
    no use that could be charged: how long it goes on is not said."""

    __slots__ = ()


def check_usage(field: str, usage: object) -> None:
    """Of something that was used, or is to be: no rates."""
    if type(usage) is Usage:
        given_name("resource", usage.resource)
        if usage.item is not None:
            given_name("item", usage.item)
        for component, _, _ in usage.parts:
            if not component.isascii():
                given_name("component", component)
        return
    if isinstance(usage, Rates):
        raise InvalidCommand(
            field, usage, "a Usage; rates are for runs: start_run, quote_run, longest_run"
        )
    if not isinstance(usage, Usage):
        raise InvalidCommand(field, usage, "a Usage, such as tokens(...) returns")


def tokens(
    model_name: str,
    *,
    input: int = 0,
    output: int = 0,
    cached_read: int = 0,
    cache_write: int = 0,
    reasoning: int = 0,
    input_includes_cached: bool | None = None,
    output_includes_reasoning: bool | None = None,
    other: Mapping[str, int] | None = None,
    payer: Payer | Mapping[str, Payer] = PLATFORM,
) -> Usage:
    """One model call, as its provider reported it, split so that no token counts twice.

    Providers differ in what they count: say whether ``input`` includes the cached
    tokens (OpenAI, Google: yes; Anthropic: no) and ``output`` the reasoning ones,
    wherever there are any.  ``other``: further components that the book prices.
    """
    _check_quantity("input", input)
    _check_quantity("output", output)
    _check_quantity("cached_read", cached_read)
    _check_quantity("cache_write", cache_write)
    _check_quantity("reasoning", reasoning)
    cached = cached_read + cache_write
    if cached:
        input = _without("input", input, "cached", cached, input_includes_cached)
    if reasoning:
        output = _without("output", output, "reasoning", reasoning, output_includes_reasoning)
    quantities = {
        "input": input,
        "output": output,
        "cached_read": cached_read,
        "cache_write": cache_write,
        "reasoning": reasoning,
    }
    if other is not None:
        if not isinstance(other, Mapping):
            raise InvalidCommand("other", other, "a mapping of component to quantity")
        for name in other:
            if name in quantities:
                raise InvalidCommand("other", name, f"a component other than {name!r}, once")
        quantities.update(other)
    return Usage.of(model(model_name), quantities, payer=payer)


def _without(name: str, total: int, part_name: str, part: int, included: bool | None) -> int:
    if type(included) is not bool:
        raise InvalidCommand(
            f"{name}_includes_{part_name}",
            included,
            f"True or False, since there are {part_name} tokens and providers differ",
        )
    if not included:
        return total
    if part > total:
        raise InvalidCommand(
            part_name, part, f"at most the {total} {name} tokens that are said to include them"
        )
    return total - part


def tool(
    name: str,
    *,
    calls: int | None = None,
    duration: timedelta | None = None,
    payer: Payer | Mapping[str, Payer] = PLATFORM,
) -> Usage:
    """Use of ``tool:<name>``: the component ``call``, or ``duration`` in microseconds.

    Say what the tool's price counts: ``calls``, how long it took, or both; neither: one call.
    """
    return Usage.of(named("tool", name), _run(calls, duration), payer=payer)


def code(
    runtime: str,
    *,
    calls: int | None = None,
    duration: timedelta | None = None,
    payer: Payer | Mapping[str, Payer] = PLATFORM,
) -> Usage:
    """Execution of code in ``code:<runtime>``, by calls or duration as in :func:`tool`."""
    return Usage.of(named("code", runtime), _run(calls, duration), payer=payer)


def _run(calls: int | None, duration: timedelta | None) -> Mapping[str, int]:
    if duration is None:
        return {"call": 1 if calls is None else calls}
    took = checked_duration("duration", duration)
    return {"duration": took} if calls is None else {"call": calls, "duration": took}
