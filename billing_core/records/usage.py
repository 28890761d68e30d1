"""What a store keeps of usage: what was measured, counted, and added up.

Immutable facts are tuples or frozen; the state that decisions change is plain
mutable ``define``: a loaded copy belongs to the batch that loaded it.
Amounts are nanos, times microseconds since 1970, quantities unbounded integers.
"""

from __future__ import annotations

from typing import NamedTuple

from attrs import define, field

from billing_core.values.text import quoted

__all__ = [
    "NO_COUNT",
    "UNCOUNTED",
    "Cell",
    "CellKey",
    "Count",
    "Counter",
    "HeldQuantity",
    "Item",
    "Line",
    "UsageRecord",
    "usage_text",
]


class Line(NamedTuple):
    """One priced component of a usage record, with all that its arithmetic needs.

    ``quantity`` is what was measured, ``billed`` what the minimum and increment made
    of it.  ``version``: the price book's version and digest; empty for a fixed amount,
    None for unpriced.  ``counter`` and the carried fraction of a nano
    (``carry``/``carry_of``) are those *before* this line.
    """

    component: str
    quantity: int
    billed: int
    payer: str
    amount: int
    version: str | None
    counter: int = 0
    carry: int = 0
    carry_of: int = 1


class UsageRecord(NamedTuple):
    """What one entry used, at one time.  ``requests``: how many it stands for (1, or 0
    where it corrects an earlier one).  ``member``: surrogate id, 0 for none."""

    occurred_at: int
    member: int
    resource: str
    item: str | None
    requests: int
    lines: tuple[Line, ...]
    project: str | None = None


def usage_text(usage: UsageRecord) -> str:
    occurred_at, member, resource, item, requests, lines, project = usage
    priced = [
        f'[{quoted(component)},{quantity},{billed},"{payer}",{amount},'
        f"{'null' if version is None else quoted(version)},{counter},{carry},{carry_of}]"
        for component, quantity, billed, payer, amount, version, counter, carry, carry_of in lines
    ]
    return (
        f"[{occurred_at},{member},{quoted(resource)},{'null' if item is None else quoted(item)},"
        f"{requests},[{','.join(priced)}],{'null' if project is None else quoted(project)}]"
    )


class Count(NamedTuple):
    """What is counted of a component of a resource in one billing period.

    ``quantity``: what was billed so far.  ``carry``/``carry_of``: the fraction of a nano that the
    last charge left over.  ``held``: the quantity that open holds may yet use.
    """

    quantity: int = 0
    carry: int = 0
    carry_of: int = 1
    held: int = 0


NO_COUNT = Count()
"""Of a component that was not counted yet."""


class HeldQuantity(NamedTuple):
    """What a hold may use of a component in one billing period, named by its start."""

    period: int
    component: str
    quantity: int


@define
class Counter:
    """What is counted of a resource in one billing period, by component."""

    resource: str
    start: int
    components: dict[str, Count] = field(factory=dict)

    def copy(self) -> Counter:
        """One that may be changed apart from this."""
        return Counter(self.resource, self.start, self.components.copy())

    def of(self, component: str) -> Count:
        """What is counted of a component, which may be nothing."""
        return self.components.get(component, NO_COUNT)

    def hold(self, held: HeldQuantity) -> None:
        """Count what a hold may use."""
        name, components = held.component, self.components
        billed, carry, carry_of, before = components.get(name, NO_COUNT)
        components[name] = Count(billed, carry, carry_of, before + held.quantity)

    def let_go(self, held: HeldQuantity) -> None:
        """Count it no more.  Raises KeyError where it was not counted."""
        name, components = held.component, self.components
        billed, carry, carry_of, before = components[name]
        components[name] = Count(billed, carry, carry_of, before - held.quantity)


@define
class Item:
    """One run or call: component → ``[raw, billed, version at its start]``.

    Where that version has a minimum or an increment, what follows says where it was billed:
    the start of a billing period and how much in that, by time; nothing of one that the version
    before had begun.  What of a component has no price, or is not the platform's to charge, stands
    under the name that :meth:`unbilled` gives, as ``[raw, 0, ""]``.
    """

    item: str
    resource: str
    components: dict[str, list[int | str]] = field(factory=dict)

    @staticmethod
    def unbilled(component: str) -> str:
        """Under what name stands how much of a component is not billed; no component has it."""
        return f"\t{component}"

    def more_unbilled(self, component: str, quantity: int) -> list[int | str]:
        """What stands there with so much more."""
        raw = self.components.get(self.unbilled(component), (0, 0, ""))[0]
        return [int(raw) + quantity, 0, ""]

    def measured(self) -> dict[str, int]:
        """What was measured of each component so far, whoever pays."""
        found: dict[str, int] = {}
        for name, state in self.components.items():
            component = name.removeprefix("\t")
            found[component] = found.get(component, 0) + int(state[0])
        return found


UNCOUNTED = ""
"""In place of a component: the part that counted an item's request was undone; the next one
counts it.  No component has this name."""


class CellKey(NamedTuple):
    """A rollup cell: ``grain`` is ``hour``, ``day`` or ``period``; ``start`` its beginning."""

    grain: str
    member: int
    start: int
    resource: str
    payer: str


@define
class Cell:
    """Sums over usage records: requests, nanos, and component → ``[quantity, nanos]``."""

    requests: int = 0
    amount: int = 0
    components: dict[str, list[int]] = field(factory=dict)

    def add(self, other: Cell) -> None:
        self.requests += other.requests
        self.amount += other.amount
        mine = self.components
        for name, (quantity, amount) in other.components.items():
            sums = mine.get(name)  # as add_part: a report adds up very many
            if sums is None:
                mine[name] = [quantity, amount]
            else:
                sums[0] += quantity
                sums[1] += amount

    def add_record(self, usage: UsageRecord, payer: str) -> None:
        """Add what one payer has of a record."""
        self.requests += usage.requests
        for line in usage.lines:
            if line.payer == payer:
                self.amount += line.amount
                self.add_part(line.component, line.quantity, line.amount)

    def add_part(self, component: str, quantity: int, amount: int) -> None:
        sums = self.components.get(component)
        if sums is None:
            self.components[component] = [quantity, amount]
        else:
            sums[0] += quantity
            sums[1] += amount
