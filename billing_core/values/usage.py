"""How much of what was used, and who pays: quantities of a resource's components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Self

from attrs import frozen

from billing_core.errors import InvalidCommand
from billing_core.values.text import checked_name, compact, given_name, quoted
from billing_core.values.times import duration as checked_duration

__all__ = [
    "CUSTOMER",
    "MAX_FACTS",
    "PLATFORM",
    "Payer",
    "Rates",
    "Usage",
    "check_facts",
    "check_quantity",
    "check_usage",
    "code",
    "given_facts",
    "model",
    "named",
    "tool",
]

Payer = Literal["platform", "customer"]
PLATFORM: Payer = "platform"
CUSTOMER: Payer = "customer"

_MAX_QUANTITY = 10**36
MAX_FACTS = 32
"""So many facts a usage may have."""


def model(name: str) -> str:
    """The resource name of a model: ``model:gpt-4o`` for ``gpt-4o``.

    Raises:
        InvalidCommand: For a name that begins with ``model:`` already, or is not accepted as one.
    """
    return named("model", name)


def named(kind: str, name: str) -> str:
    """The name of a resource of a kind, from what it is called among its own."""
    if checked_name(kind, name).startswith(f"{kind}:"):
        raise InvalidCommand(kind, name, f'a name to which "{kind}:" is added; leave it out')
    return f"{kind}:{name}"


def check_quantity(field: str, quantity: object) -> None:
    """Of a component: a whole number that is not too large to be one (rule 5.2)."""
    if type(quantity) is not int or not 0 <= quantity < _MAX_QUANTITY:
        raise InvalidCommand(field, quantity, "an int from 0 to below 10**36")


def given_facts(facts: object) -> tuple[tuple[str, str], ...]:
    """Facts as a usage keeps them, of a mapping of names to values."""
    if not isinstance(facts, Mapping):
        raise InvalidCommand("facts", facts, 'a mapping, such as {"service_tier": "batch"}')
    return tuple(sorted(facts.items(), key=lambda each: str(each[0])))


def check_facts(facts: object) -> None:
    """Facts as a usage keeps them: few, sorted, of names that are accepted."""
    if not isinstance(facts, tuple):
        raise InvalidCommand("facts", facts, "a tuple of (name, value); see Usage.of")
    if len(facts) > MAX_FACTS:
        raise InvalidCommand("facts", len(facts), f"at most {MAX_FACTS}")
    before = ""
    for fact in facts:
        if type(fact) is not tuple or len(fact) != 2:
            raise InvalidCommand("facts", fact, "(name, value); see Usage.of")
        name, value = fact
        given_name("facts", name)
        given_name(f"facts[{name!r}]", value)
        if name <= before:
            raise InvalidCommand("facts", facts, "sorted, each once; see Usage.of")
        before = name


@frozen
class Usage:
    """How much of each component of one resource was used, or is expected to be.

    `Usage.of`, :func:`~billing_core.tokens`, :func:`tool` and :func:`code` make one.

    Attributes:
        resource: What was used, such as ``model:small``.
        parts: ``(component, quantity, payer)``, sorted by component, without those of 0.  A
            quantity is an int below 10³⁶ (rule 5.2); the payer is ``platform`` or ``customer``
            (rule 8.5).
        item: The name of the one call or run that several settlements belong to: a minimum and an
            increment apply to all of it together (rule 5.5), and its size is that of all of it
            (rule 5.9).  None: this settlement alone.
        facts: ``(name, value)``, sorted by name: what else is known of the request, as a price may
            depend on it, such as the tier that served it (rule 5.9).
    """

    resource: str
    parts: tuple[tuple[str, int, Payer], ...]
    item: str | None = None
    facts: tuple[tuple[str, str], ...] = ()

    def __attrs_post_init__(self) -> None:
        checked_name("resource", self.resource)
        if self.item is not None:
            checked_name("item", self.item)
        if self.facts != ():
            check_facts(self.facts)
        if not isinstance(self.parts, tuple):
            raise InvalidCommand("parts", self.parts, "a tuple; see Usage.of")
        before = ""
        for part in self.parts:
            if type(part) is not tuple or len(part) != 3:
                raise InvalidCommand("parts", part, "(component, quantity, payer); see Usage.of")
            component, quantity, payer = part
            checked_name("component", component)
            check_quantity(component, quantity)
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
        facts: Mapping[str, str] | None = None,
    ) -> Self:
        """A usage, of quantities by component.

        Args:
            resource: What was used, such as ``model:small``.
            quantities: By component, each an int from 0 to below 10³⁶, in the unit of its price.
            payer: Who pays: ``platform`` (the org's credit) or ``customer`` (recorded, not charged;
                rule 8.5).  For all components, or by component; one that is not named is the
                platform's.
            item: The name of the one call or run that several settlements belong to (rule 5.5).
            facts: What else is known of the request, by name, such as ``{"service_tier": "batch"}``
                (rule 5.9).  One that no price asks for changes nothing.

        Raises:
            InvalidCommand: For a name, a quantity or a payer that is not accepted.
        """
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
        return cls(resource, tuple(parts), item, () if facts is None else given_facts(facts))

    def content(self) -> list[Any]:
        """The usage as it is compared when a key comes again (rule 7.2)."""
        own: list[Any] = [self.resource, self.parts, self.item]
        return [*own, dict(self.facts)] if self.facts else own

    @classmethod
    def of_content(cls, content: Sequence[Any]) -> Self:
        """The usage of a :meth:`content`, as it was read from JSON."""
        resource, parts, item, *facts = content
        known = tuple(facts[0].items()) if facts else ()
        parts = tuple((name, quantity, payer) for name, quantity, payer in parts)
        return cls(resource, parts, item, known)

    def text(self) -> str:
        """The content as canonical JSON."""
        parts = [
            f'[{quoted(component)},{quantity},"{payer}"]'
            for component, quantity, payer in self.parts
        ]
        item = "null" if self.item is None else quoted(self.item)
        facts = f",{compact(dict(self.facts))}" if self.facts else ""
        return f"[{quoted(self.resource)},[{','.join(parts)}],{item}{facts}]"


class Rates(Usage):
    """What a microsecond of a run uses, by component: what `sandbox` returns.

    Only the commands and quotes of runs take it.  It cannot be settled, as it does not say how
    long the run goes on.
    """

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


def tool(
    name: str,
    *,
    calls: int | None = None,
    duration: timedelta | None = None,
    payer: Payer | Mapping[str, Payer] = PLATFORM,
    facts: Mapping[str, str] | None = None,
) -> Usage:
    """Use of a tool, counted by calls, by duration, or by both, as its price does.

    Args:
        name: The tool; its resource is ``tool:<name>``.
        calls: The quantity of the component ``call``; neither this nor ``duration``: 1.
        duration: How long it took; the component ``duration`` counts microseconds.
        payer: Who pays: ``platform`` (the org's credit) or ``customer`` (recorded, not charged;
            rule 8.5), for all components or by component.
        facts: What else is known of the request, as its price may depend on it (rule 5.9).

    Raises:
        InvalidCommand: For a name, a number or a duration that is not accepted.
    """
    return Usage.of(named("tool", name), _run(calls, duration), payer=payer, facts=facts)


def code(
    runtime: str,
    *,
    calls: int | None = None,
    duration: timedelta | None = None,
    payer: Payer | Mapping[str, Payer] = PLATFORM,
    facts: Mapping[str, str] | None = None,
) -> Usage:
    """An execution of code, counted by calls, by duration, or by both, as its price does.

    Args:
        runtime: Where it ran; its resource is ``code:<runtime>``.
        calls: The quantity of the component ``call``; neither this nor ``duration``: 1.
        duration: How long it took; the component ``duration`` counts microseconds.
        payer: Who pays: ``platform`` (the org's credit) or ``customer`` (recorded, not charged;
            rule 8.5), for all components or by component.
        facts: What else is known of the request, as its price may depend on it (rule 5.9).

    Raises:
        InvalidCommand: For a name, a number or a duration that is not accepted.
    """
    return Usage.of(named("code", runtime), _run(calls, duration), payer=payer, facts=facts)


def _run(calls: int | None, duration: timedelta | None) -> Mapping[str, int]:
    if duration is None:
        return {"call": 1 if calls is None else calls}
    took = checked_duration("duration", duration)
    return {"duration": took} if calls is None else {"call": calls, "duration": took}
