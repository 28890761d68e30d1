"""A hold is the most that its call can cost (rules 5.4 and 5.9), whatever its price depends on.

Random prices with facts, sizes, hours and tiers; holds that leave facts open; prices published
meanwhile; settlements in parts, at any time of the hold's life.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import count
from math import ceil, floor

import pytest
from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_servers import EmptiedStore
from test_sqlite_store import make_store as sqlite_store
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, TICK, World

from billing_core import (
    FactIs,
    Flat,
    Multiplier,
    Package,
    Plan,
    Price,
    PriceBook,
    SizeAbove,
    Usage,
    Variant,
)
from billing_core.ports.store import Store
from billing_core.testing import MemoryStore
from billing_core.testing.strategies.documents import FACTS, facts, multipliers, prices, varying

PARTS = ("in", "out")
RESOURCE = "model:a"
CREDIT = 10**12
DELAY = 10 * MINUTE
LIVES = (MINUTE, 20 * MINUTE, HOUR, 13 * HOUR, 2 * DAY, 40 * DAY)
SPANS = (TICK, MINUTE, 20 * MINUTE, HOUR, 11 * HOUR, 10 * DAY)
AMOUNTS = (0, 1, 1, 2, 3, 5, 6, 8, 10, 13, 21)


@define
class Call:
    """A call that was held for, and what it may yet use.  ``known``: the holds that its quote
    reckons with.  ``reach``: when a price takes effect that was published since."""

    key: str
    facts: dict[str, str]
    item: str | None
    payers: dict[str, str]
    left: dict[str, int]
    made: datetime
    until: datetime
    held: int
    known: set[str]
    reach: datetime
    charged: int = 0
    between: int = 0
    parts: list[object] = field(factory=list)


@define
class Calls:
    """Calls of one org that are held for, settled, extended, while prices are published."""

    draw: Callable[..., object]
    world: World
    tiered: bool
    itemed: bool
    open: list[Call] = field(factory=list)
    done: list[Call] = field(factory=list)
    versions: count[int] = field(factory=lambda: count(1))
    told: list[str] = field(factory=list)

    # -- prices ---------------------------------------------------------------------

    def price(self, part: str) -> Price:
        kind = {True: "tiered", False: "reversed"}[self.tiered]
        price = self.draw(varying(self.draw(prices(kind)), PARTS))
        if not self.itemed:
            return price
        least, step = self.draw(st.sampled_from([(0, 1), (5, 1), (0, 4), (7, 3)]))
        return evolve(price, minimum=least, increment=step)

    def book(self, effective: datetime, version: str, **audience: str) -> PriceBook:
        """Prices, with multipliers for all that a pattern names."""
        more = self.draw(st.lists(multipliers(PARTS), max_size=2))
        found = {part: self.price(part) for part in PARTS}
        packages = any(isinstance(each.function, Package) for each in found.values())
        named = {} if packages or not more else {"model:*": more}
        return PriceBook(
            version, effective, {RESOURCE: found}, multipliers=named,
            facts=FACTS if named else (), **audience,
        )  # fmt: skip

    def publish(self) -> None:
        """Prices from some time on, of everyone's or the plan's, or the plan's discount."""
        effective = self.world.clock.now + DELAY + self.draw(st.sampled_from(SPANS))
        version = f"v{next(self.versions)}"
        if self.draw(st.integers(0, 3)) == 0:
            off = self.draw(st.sampled_from(["10", "33.3", "50"]))
            book = PriceBook(version, effective, {}, percent_off={"model:*": off}, plan="pro")
        elif self.draw(st.booleans()):
            book = self.book(effective, version, plan="pro")
        else:
            book = self.book(effective, version)
        self.told.append(f"publish {book}")
        self.world.billing.publish(book)
        for call in self.open:
            call.reach = min(call.reach, effective)

    # -- calls ----------------------------------------------------------------------

    def usage(self, quantities, facts, item, payers) -> Usage:
        return Usage.of(RESOURCE, quantities, facts=facts, item=item, payer=payers)

    def forget_lapsed(self) -> None:
        """What is told of a hold that has lapsed is measured without one, for others."""
        now = self.world.clock.now
        self.done += [call for call in self.open if call.until <= now]
        self.open = [call for call in self.open if call.until > now]

    def hold(self) -> None:
        self.forget_lapsed()
        item = self.draw(st.sampled_from([None, "i", "i", "j"]))
        if self.itemed and any(call.item == item for call in self.open):
            item = None  # its minimum is one for all of its calls
        quantities = {part: self.draw(st.sampled_from(AMOUNTS)) for part in PARTS}
        if self.draw(st.integers(0, 4)) == 0:
            quantities.popitem()
        payers = {}
        if item is None and self.draw(st.integers(0, 5)) == 0:
            payers = {"in": "customer"}
        payers = {part: payer for part, payer in payers.items() if part in quantities}
        said = self.draw(facts())
        life, now = self.draw(st.sampled_from(LIVES)), self.world.clock.now
        usage = self.usage(quantities, said, item, payers)
        made = self.world.hold(usage, expires_in=life)
        self.told.append(f"hold {made.key} {usage} for {life} at {now}: {made.held.amount}")
        self.open.append(
            Call(
                made.key, said, item, payers, quantities, now, now + life, made.held.amount,
                {call.key for call in self.open}, now + 9_000 * DAY,
            )
        )  # fmt: skip

    def extend(self) -> None:
        self.forget_lapsed()
        if not self.open:
            return
        call = self.draw(st.sampled_from(self.open))
        life, now = self.draw(st.sampled_from(LIVES)), self.world.clock.now
        found = self.world.billing.extend("acme", self.world.key(), hold=call.key, expires_in=life)
        call.held = call.charged + found.amount
        call.until = max(call.until, now + life)
        call.known = {other.key for other in self.open if other is not call}
        call.reach = now + 9_000 * DAY
        call.between = 0
        self.told.append(f"extend {call.key} for {life} at {now}: {found.amount}")

    def may_settle(self, call: Call) -> bool:
        """Whether the quotes of all others reckon with this one."""
        return all(call.key in other.known for other in self.open if other is not call)

    def settle(self, *, final: bool | None = None) -> None:
        able = [call for call in self.open if self.may_settle(call)]
        if not able:
            return
        call = self.draw(st.sampled_from(able))
        if final is None:
            # Without an item each part has the price's minimum.
            final = self.draw(st.booleans()) or (self.itemed and call.item is None)
        now = self.world.clock.now
        last = min(call.until, call.reach, now + TICK) - TICK
        if last < call.made:
            return
        part = {
            name: self.draw(st.sampled_from([most, most, most // 2, min(1, most), 0]))
            for name, most in call.left.items()
        }
        said = dict(call.facts)
        for fact in FACTS:
            if fact.name not in said:
                value = self.draw(st.sampled_from([None, *fact.values]))
                said |= {} if value is None else {fact.name: value}
        at = self.time(call.made, last)
        usage = self.usage(part, said, call.item, call.payers)
        charge = self.world.settle(usage, hold=call.key, final=final, occurred_at=at)
        self.told.append(f"settle {call.key} {usage} at {at}, {now}: {charge.amount}")
        call.left = {name: most - part[name] for name, most in call.left.items()}
        call.charged += charge.amount
        for other in self.open:
            if other is not call and other.charged:
                other.between += 1
        assert call.charged <= call.held + call.between, "\n".join(self.told)
        if final:
            self.open.remove(call)

    def time(self, first: datetime, last: datetime) -> datetime:
        """Any, or at an hour, a midnight or the end of the period."""
        marks = [first, last, last]
        for mark in (T0 + timedelta(days=31), *(midnight(last) - n * HOUR for n in (0, 1, 2))):
            marks += [at for at in (mark - TICK, mark) if first <= at <= last]
        marks.append(first + (last - first) * self.draw(st.integers(0, 7)) / 8)
        return self.draw(st.sampled_from(marks))


def midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


STARTS = (T0, T0 + 10 * HOUR, T0 + timedelta(days=31) - HOUR, T0 + timedelta(days=30))


def run(data: st.DataObject, store: Store) -> None:
    world = World(store, priced=False)
    draw = data.draw
    calls = Calls(draw, world, draw(st.booleans()), draw(st.integers(0, 2)) == 1)
    book = calls.book(LONG_AGO, "base")
    calls.told.append(f"base {book}")
    world.billing.publish(book)
    if draw(st.booleans()):
        world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
        world.billing.publish(
            PriceBook("off", T0 + HOUR, {}, percent_off={"model:a": "20"}, plan="pro")
        )
        world.billing.set_plan("acme", "pro", "pro")
        calls.told.append("plan")
    else:
        world.billing.publish(Plan("pro-1", "pro", LONG_AGO))
    world.clock.set(draw(st.sampled_from(STARTS)))
    world.grant(CREDIT)
    for _ in range(draw(st.integers(0, 2))):
        before = {part: draw(st.sampled_from(AMOUNTS)) for part in PARTS}
        usage = calls.usage(before, {}, draw(st.sampled_from([None, "i"])), {})
        calls.told.append(f"before {usage} at {world.clock.now}")
        world.settle(usage)
    steps = [
        calls.hold, calls.hold, calls.settle, calls.settle, calls.settle, calls.extend,
        calls.extend, calls.publish,
    ]  # fmt: skip
    calls.hold()
    for _ in range(draw(st.integers(2, 9))):
        if draw(st.integers(0, 3)) == 3:
            world.clock.advance(draw(st.sampled_from(SPANS)))
        draw(st.sampled_from(steps))()
    for _ in range(len(calls.open)):
        calls.settle(final=True)
    assert world.wrong() == []


@given(st.data())
def test_no_settlement_within_what_was_held_is_more_than_its_hold(data: st.DataObject) -> None:
    run(data, MemoryStore())


# -- tight ------------------------------------------------------------------------------


@given(
    base=st.tuples(st.integers(0, 9), st.integers(1, 7)),
    by_tier=st.lists(st.integers(0, 20), min_size=2, max_size=2),
    above=st.lists(st.integers(21, 60), max_size=2),
    by=st.sampled_from(["1.1", "2", Fraction(1, 3)]),
    quantity=st.sampled_from([0, 1, 9, 10, 11, 20, 21, 500]),
    tier=st.sampled_from(FACTS[0].values),
    region=st.sampled_from(FACTS[1].values),
)
def test_a_hold_whose_facts_are_known_is_what_its_call_costs(
    base, by_tier, above, by, quantity, tier, region
) -> None:
    """Without tiers, hours or items, and where a larger size is no cheaper."""
    sizes = dict(zip((20, 10), sorted(above, reverse=True), strict=False))
    tiers = dict(zip(("cheap", "dear"), by_tier, strict=True))
    price = Price(
        Flat(*base),
        variants=[
            *(Variant(Flat(rate), SizeAbove(bound, ["in"])) for bound, rate in sizes.items()),
            *(Variant(Flat(rate), FactIs("tier", name)) for name, rate in tiers.items()),
        ],
        multipliers=[Multiplier(by, FactIs("region", "there"))],
        facts=FACTS,
    )
    world = World(priced=False)
    world.publish({RESOURCE: {"in": price}})
    world.grant(CREDIT)
    rate = Fraction(tiers.get(tier, Fraction(*base)))
    for bound, dear in sizes.items():
        if quantity > bound:
            rate = Fraction(dear)
            break
    cost = quantity * rate * (Fraction(by) if region == "there" else 1)
    usage = Usage.of(RESOURCE, {"in": quantity}, facts={"tier": tier, "region": region})
    hold = world.hold(usage)
    assert hold.held.amount == ceil(cost)
    assert world.settle(usage, hold=hold.key).amount == floor(cost)


@pytest.mark.parametrize("make_store", [sqlite_store, EmptiedStore])
def test_holds_on_databases_are_as_large(make_store: Callable[[], Store]) -> None:
    @settings(max_examples=max(1, settings().max_examples // 5))
    @given(st.data())
    def told(data: st.DataObject) -> None:
        store = make_store()
        try:
            run(data, store)
        finally:
            store.close()

    told()
