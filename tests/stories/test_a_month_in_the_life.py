"""A month in the life of two customers, told in order, and counted twice.

What the engine charges is held against arithmetic of this file's own: the price lists below,
the facts as they are told, and Fractions.  A customer owes the floor of what a component's
usage of a billing period costs exactly; so a charge is what that floor has grown by.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import pytest
from postgres_servers import DisposableStore

from billing_adapters.sqlite import SqliteStore
from billing_core import (
    Billing,
    Charged,
    Flat,
    Graduated,
    Limit,
    Plan,
    Price,
    PriceBook,
    Refused,
    Tier,
    Usage,
    code,
    model,
    tokens,
    tool,
    usd,
)
from billing_core.testing import MemoryStore, SettableClock

# USD per million tokens.
LIST = {
    "small": {"input": "0.15", "cached_read": "0.0753", "output": "0.60"},
    "large": {"input": "2.50", "output": "10.07"},
}
NEW_LIST = {"small": {"input": "0.1333", "cached_read": "0.0667", "output": "0.5501"}}
NEW_LIST_FROM = datetime(2026, 4, 16, tzinfo=UTC)
STUDIO_OFF = "12.5"  # percent off all models, for subscribers of the studio plan
SEARCH, SEARCH_BEYOND_10 = "0.004", "0.0025"
STUDIO_SEARCH = "0.003"
PYTHON_SECOND = "0.0003"  # at least a second, in steps of a tenth

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def at(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def nanos(amount: str) -> Fraction:
    return Fraction(amount) * 10**9


Costs = Mapping[tuple[str, str], Fraction]
"""(resource, component) → exact nanos."""


def cost(
    name: str, prices: Mapping[str, Mapping[str, str]], off: str = "0", **quantities: int
) -> Costs:
    """What tokens cost exactly."""
    kept = 1 - Fraction(off) / 100
    return {
        (f"model:{name}", part): nanos(prices[name][part]) / 10**6 * quantity * kept
        for part, quantity in quantities.items()
    }


class Customer:
    """One org: what the engine is told of it, and what it should have made of that."""

    def __init__(self, billing: Billing, clock: SettableClock, org: str) -> None:
        self.billing, self.clock, self.org = billing, clock, org
        self.exact: dict[tuple[str, str, str], Fraction] = defaultdict(Fraction)
        self.spent: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        self.lots: dict[int, int] = {}
        self.debt = 0
        self.keys = 0

    def key(self) -> str:
        self.keys += 1
        return f"{self.org}-{self.keys}"

    def owes(self, period: str, costs: Costs) -> int:
        """By how much the floors grow."""
        amount = 0
        for (resource, component), exact in costs.items():
            name = (period, resource, component)
            amount -= floor(self.exact[name])
            self.exact[name] += exact
            amount += floor(self.exact[name])
        return amount

    def charged(self, charge: Charged, member: str, period: str, costs: Costs, *paid: int) -> int:
        """The charge is what the costs come to, and these lots paid it, in this order."""
        expected = self.owes(period, costs)
        assert charge.amount == expected, (self.org, charge.key)
        [resource] = {resource for resource, _ in costs}
        self.count(period, member, resource, expected)
        self.pay(expected, *paid)
        return expected

    def count(
        self, period: str, member: str, resource: str, amount: int, payer: str = "platform"
    ) -> None:
        row = self.spent[(period, member, resource, payer)]
        row[0] += 1
        row[1] += amount

    def pay(self, amount: int, *lots: int) -> None:
        for lot in lots:
            part = min(amount, self.lots[lot])
            self.lots[lot] -= part
            amount -= part
        self.debt += amount
        self.check()

    def check(self) -> None:
        """Every lot, the debt and the balance are as they should be."""
        balance = self.billing.balance(self.org)
        left = {lot.lot: lot.remainder for lot in balance.lots}
        assert left == {lot: rest for lot, rest in self.lots.items() if rest}
        assert balance.debt == self.debt
        assert balance.balance == sum(self.lots.values()) - self.debt

    def settle(self, usage: Usage, member: str, **options) -> Charged:
        return self.billing.settle(self.org, self.key(), usage, member=member, **options)

    def deduct(self, cost, member: str, **options) -> Charged:
        return self.billing.deduct(self.org, self.key(), cost, member=member, **options)

    def refused(self, act: Callable[[], object], limit: str) -> int:
        with pytest.raises(Refused) as caught:
            act()
        assert caught.value.refusal.limit == limit
        self.check()
        return caught.value.refusal.shortfall


# -- what is published ----------------------------------------------------------


def book(prices: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Price]]:
    return {
        model(name): {part: Price(Flat.of(amount, 10**6)) for part, amount in parts.items()}
        for name, parts in prices.items()
    }


def publish(billing: Billing) -> None:
    first, beyond = int(nanos(SEARCH)), int(nanos(SEARCH_BEYOND_10))
    search = Price(Graduated((Tier(10, first), Tier(None, beyond))), unit="call")
    own_search = Price(Flat.of(STUDIO_SEARCH), unit="call")
    python = Price(
        Flat.of(PYTHON_SECOND, 10**6), unit="microsecond", minimum=10**6, increment=10**5
    )
    others = {"tool:search": {"call": search}, "code:python": {"duration": python}}
    billing.publish(PriceBook("2026-01", LONG_AGO, {**book(LIST), **others}))
    studio = {"tool:search": {"call": own_search}}
    off = {"model:*": STUDIO_OFF}
    billing.publish(PriceBook("studio-prices", LONG_AGO, studio, plan="studio", percent_off=off))
    billing.publish(Plan("solo-1", "solo", LONG_AGO, allowance=usd("0.50")))
    billing.publish(
        Plan(
            "team-1", "team", LONG_AGO, allowance=usd("2"), rollover=usd("0.75"), grace=2 * DAY,
            limits=[Limit("member", usd("1.50"))],
        )
    )  # fmt: skip
    billing.publish(
        Plan("studio-1", "studio", LONG_AGO, allowance=usd("5"), rollover=usd(1), grace=2 * DAY)
    )


# -- acme: ana, ben and cho; months of the calendar -----------------------------


def acme_in_march(acme: Customer) -> None:
    acme.clock.set(at(3, 1))
    acme.billing.open_account("acme")
    acme.billing.set_plan("acme", "subscribe", "team")  # lot 1: March's allowance
    acme.clock.set(at(3, 5))
    acme.billing.grant("acme", "order-1", usd("3"))
    welcome = {"kind": "promotional", "expires_at": at(3, 20)}
    acme.billing.grant("acme", "welcome", usd("0.10"), **welcome)
    acme.lots = {1: nanos("2"), 2: nanos("3"), 3: nanos("0.10")}
    acme.check()

    acme.clock.set(at(3, 10, 9))
    # 412,347 tokens of input, of which 100,001 were cached: these are not charged twice.
    call = tokens(
        "small", input=412_347, cached_read=100_001, input_includes_cached=True, output=51_119
    )
    costs = cost("small", LIST, input=312_346, cached_read=100_001, output=51_119)
    # The credit that expires first pays first: the welcome, then the allowance.
    acme.charged(acme.settle(call, "ana"), "ana", "March", costs, 3, 1)
    assert acme.lots[3] > 0

    acme.clock.set(at(3, 20))
    acme.lots[3] = 0  # what was left of the welcome has expired, without anybody's doing
    acme.check()

    acme.clock.set(at(3, 25))
    large = tokens("large", input=120_000, output=60_001)
    costs = cost("large", LIST, input=120_000, output=60_001)
    acme.charged(acme.settle(large, "ben"), "ben", "March", costs, 1)


def acme_over_the_months_end(acme: Customer) -> None:
    acme.clock.set(at(4, 2))
    acme.lots[4] = nanos("2")  # April's allowance, since the 1st
    acme.check()
    # Used in March, reported in April: March's allowance pays, for two days more.
    late = tokens("small", input=777_777, output=33_333)
    costs = cost("small", LIST, input=777_777, output=33_333)
    charge = acme.settle(late, "cho", occurred_at=at(3, 31, 23, 59))
    acme.charged(charge, "cho", "March", costs, 1)

    acme.clock.set(at(4, 3))
    assert acme.lots[1] > nanos("0.75")  # the rest of it expires
    acme.lots[1], acme.lots[5] = 0, nanos("0.75")
    acme.check()
    # Later still: April's allowance does not pay for March; what was bought does.
    charge = acme.settle(late, "cho", occurred_at=at(3, 31, 23, 59))
    acme.charged(charge, "cho", "March", costs, 2)


def acmes_tools(acme: Customer) -> None:
    acme.clock.set(at(4, 8))
    search = {("tool:search", "call"): nanos(SEARCH)}
    charges = []
    for _ in range(3):
        charges.append(acme.deduct(tool("search"), "ana"))
        acme.charged(charges[-1], "ana", "April", search, 4)
    acme.billing.reverse("acme", acme.key(), charge=charges[1].seq, reason="search was down")
    acme.spent["April", "ana", "tool:search", "platform"][1] -= nanos(SEARCH)
    acme.lots[4] += nanos(SEARCH)
    acme.check()

    acme.clock.set(at(4, 9))
    for took, seconds in [(250, "1"), (1_001, "1.1"), (90_000, "90")]:
        run = code("python", duration=timedelta(milliseconds=took))
        costs = {("code:python", "duration"): nanos(PYTHON_SECOND) * Fraction(seconds)}
        acme.charged(acme.deduct(run, "ben"), "ben", "April", costs, 4)

    acme.clock.set(at(4, 12))
    own = tokens("large", input=1_000_000, output=1_000_000, payer="customer")
    assert acme.settle(own, "ana").amount == 0
    acme.count("April", "ana", "model:large", 0, "customer")
    acme.check()


def acmes_limit(acme: Customer) -> None:
    """Each member of a team may be charged 1.50 a month."""
    acme.clock.set(at(4, 13))
    large = tokens("large", input=200_000, output=50_001)
    costs = cost("large", LIST, input=200_000, output=50_001)
    acme.charged(acme.settle(large, "ben"), "ben", "April", costs, 4)
    spent = sum(row[1] for name, row in acme.spent.items() if name[:2] == ("April", "ben"))
    # A cost known beforehand is the exact one, rounded up, for each component.
    another = sum(ceil(exact) for exact in costs.values())
    over = spent + another - nanos("1.50")
    assert over > 0
    act = {"expires_in": HOUR, "member": "ben"}
    assert acme.refused(lambda: acme.billing.hold("acme", large, **act), "member_limit") == over
    # Nobody else is bound by what ben has spent, nor ben by what was measured already.
    assert acme.billing.check("acme", large, member="cho").allowed
    assert not acme.billing.check("acme", large, member="ben").allowed
    acme.charged(acme.settle(large, "ben"), "ben", "April", costs, 4, 5)


def acmes_price_and_plan_change(acme: Customer) -> None:
    acme.clock.set(at(4, 15))
    small = tokens("small", input=333_331, output=7)
    before = cost("small", LIST, input=333_331, output=7)
    acme.charged(acme.settle(small, "cho"), "cho", "April", before, 4, 5)

    acme.clock.set(at(4, 17))
    after = cost("small", NEW_LIST, input=333_331, output=7)
    acme.charged(acme.settle(small, "cho"), "cho", "April", after, 4, 5)
    # Used before the change, reported after it: not repriced.
    charge = acme.settle(small, "cho", occurred_at=at(4, 15, 23, 59))
    acme.charged(charge, "cho", "April", before, 4, 5)

    acme.clock.set(at(4, 20))
    upgrade = acme.billing.set_plan("acme", "upgrade", "studio")
    acme.lots[6] = nanos("5") - nanos("2")
    assert upgrade.amount == acme.lots[6]
    acme.check()
    discounted = cost("small", NEW_LIST, STUDIO_OFF, input=333_331, output=7)
    acme.charged(acme.settle(small, "cho"), "cho", "April", discounted, 4, 5, 6)
    charge = acme.settle(small, "cho", occurred_at=at(4, 19))
    acme.charged(charge, "cho", "April", after, 4, 5, 6)
    search = {("tool:search", "call"): nanos(STUDIO_SEARCH)}
    acme.charged(acme.deduct(tool("search"), "ana"), "ana", "April", search, 4, 5, 6)
    # Studio has no limits.
    costs = cost("large", LIST, STUDIO_OFF, input=200_000, output=50_001)
    large = tokens("large", input=200_000, output=50_001)
    with acme.billing.hold("acme", large, expires_in=HOUR, member="ben") as hold:
        assert hold.amount == sum(ceil(exact) for exact in costs.values())
        hold.report(large)
    acme.charged(hold.charges[0], "ben", "April", costs, 4, 5, 6)


def acme_over_the_next_months_end(acme: Customer) -> None:
    acme.clock.set(at(4, 30, 23, 50))
    expected = tokens("small", input=100_000, output=50_000)
    hold = acme.billing.hold("acme", expected, expires_in=HOUR, member="cho", key="over midnight")
    acme.clock.set(at(5, 1, 0, 10))
    acme.lots[7] = nanos("5")  # May's allowance
    used = tokens("small", input=100_001, output=12_345)
    costs = cost("small", NEW_LIST, STUDIO_OFF, input=100_001, output=12_345)
    # May's usage, paid from what the hold had kept of April's allowance.
    charge = acme.settle(used, "cho", hold=hold.key)
    assert charge.captured == charge.amount
    acme.charged(charge, "cho", "May", costs, 4, 5, 6)

    acme.clock.set(at(5, 2))
    late = tokens("small", input=333_331, output=7)
    costs = cost("small", NEW_LIST, STUDIO_OFF, input=333_331, output=7)
    charge = acme.settle(late, "ana", occurred_at=at(4, 29))
    acme.charged(charge, "ana", "April", costs, 4, 5, 6)

    acme.clock.set(at(5, 3))
    left = acme.lots[4] + acme.lots[5] + acme.lots[6]
    assert left > nanos("1")
    acme.lots |= {4: 0, 5: 0, 6: 0, 8: nanos("1")}
    acme.check()


# -- bolt: dee and eli; its months begin on the 15th, at noon -------------------


def bolts_first_month(bolt: Customer) -> None:
    bolt.clock.set(at(3, 15, 12))
    bolt.billing.open_account("bolt")
    bolt.billing.set_plan("bolt", "subscribe", "solo")
    bolt.lots = {1: nanos("0.50")}
    bolt.clock.set(at(3, 20))
    charges = []
    for nth in range(1, 13):
        charges.append(bolt.deduct(tool("search"), "dee"))
        price = SEARCH if nth <= 10 else SEARCH_BEYOND_10
        bolt.charged(charges[-1], "dee", "first", {("tool:search", "call"): nanos(price)}, 1)
    # The eleventh failed; what comes after it stays in its tier.
    given_back = bolt.billing.reverse("bolt", "down", charge=charges[10].seq)
    assert given_back.refilled == nanos(SEARCH_BEYOND_10)
    bolt.lots[1] += nanos(SEARCH_BEYOND_10)
    bolt.spent["first", "dee", "tool:search", "platform"][1] -= nanos(SEARCH_BEYOND_10)
    bolt.check()
    for _ in range(3):
        own = tokens("large", input=5_001, output=401, payer="customer")
        assert bolt.settle(own, "eli").amount == 0
        bolt.count("first", "eli", "model:large", 0, "customer")

    # Tiny calls: each costs a fraction of a nano more than it is charged, none is lost.
    bolt.clock.set(at(4, 10))
    costs = cost("small", LIST, cached_read=1)
    amounts = []
    for _ in range(10):
        cached = tokens("small", cached_read=1, input_includes_cached=False)
        amounts.append(bolt.charged(bolt.settle(cached, "eli"), "eli", "first", costs, 1))
    assert amounts == [75, 75, 75, 76, 75, 75, 76, 75, 75, 76]


def bolts_second_month(bolt: Customer) -> None:
    bolt.clock.set(at(4, 15, 12) + timedelta(minutes=5))
    assert bolt.lots[1] > 0
    bolt.lots = {1: 0, 2: nanos("0.50")}  # no rollover, no grace beyond the tolerance
    bolt.check()
    bolt.clock.set(at(4, 17))
    search = {("tool:search", "call"): nanos(SEARCH)}  # from the first tier again
    bolt.charged(bolt.deduct(tool("search"), "dee"), "dee", "second", search, 2)

    bolt.clock.set(at(4, 18))
    large = tokens("large", input=33_333, output=80_001)
    costs = cost("large", LIST, input=33_333, output=80_001)
    bolt.charged(bolt.settle(large, "eli"), "eli", "second", costs, 2)
    assert bolt.debt > 0 and bolt.lots[2] == 0
    missing = bolt.refused(lambda: bolt.deduct(tool("search"), "dee"), "balance")
    assert missing == bolt.debt + nanos(SEARCH)
    bought = bolt.billing.grant("bolt", "order-1", usd("2"))
    assert bought.repaid == bolt.debt
    bolt.lots[3], bolt.debt = nanos("2") - bolt.debt, 0
    bolt.check()

    bolt.clock.set(at(4, 19))
    bolt.billing.set_limit("bolt", "a day", usd("1"), per="day")
    bolt.deduct(usd("0.75"), "dee", resource="render")
    bolt.count("second", "dee", "render", nanos("0.75"))
    bolt.pay(nanos("0.75"), 3)

    def another() -> Charged:
        return bolt.deduct(usd("0.30"), "eli", resource="render")

    assert bolt.refused(another, "org_limit") == nanos("0.05")
    bolt.clock.set(at(4, 20))
    another()
    bolt.count("second", "eli", "render", nanos("0.30"))
    bolt.pay(nanos("0.30"), 3)

    # From the month before: its prices, its fractions; its allowance is gone.
    costs = cost("small", LIST, cached_read=3)
    late = tokens("small", cached_read=3, input_includes_cached=False)
    charge = bolt.settle(late, "eli", occurred_at=at(4, 14))
    assert bolt.charged(charge, "eli", "first", costs, 3) == floor(
        nanos("0.0753") / 10**6 * 13
    ) - floor(nanos("0.0753") / 10**6 * 10)


# -- the whole ------------------------------------------------------------------


def agree_on_usage(customer: Customer, period: str, during: datetime) -> None:
    """By member, model and payer, as read at a time of the period."""
    billing = Billing(customer.billing.store, clock=SettableClock(during))
    report = billing.usage(customer.org)
    expected = {name[1:]: tuple(row) for name, row in customer.spent.items() if name[0] == period}
    assert expected, period
    assert {
        (member, row.resource, row.payer): (row.requests, row.amount)
        for member, rows in report.members.items()
        for row in rows
    } == expected
    assert report.total == sum(amount for _, amount in expected.values())
    for member in {name[0] for name in expected}:
        rows = billing.usage(customer.org, member=member).rows
        assert rows == report.members[member]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[object]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "postgres":
        with DisposableStore() as made:
            yield made
    else:
        with SqliteStore(tmp_path / "month.sqlite") as made:
            yield made


def test_a_month_in_the_life(store) -> None:
    clock = SettableClock(at(2, 28))
    billing = Billing(store, clock=clock)
    publish(billing)
    acme, bolt = Customer(billing, clock, "acme"), Customer(billing, clock, "bolt")
    acme_in_march(acme)
    bolts_first_month(bolt)
    clock.set(at(4, 1))
    billing.publish(PriceBook("2026-04", NEW_LIST_FROM, book(NEW_LIST)))
    acme_over_the_months_end(acme)
    acmes_tools(acme)
    acmes_limit(acme)
    acmes_price_and_plan_change(acme)
    acme_over_the_next_months_end(acme)
    bolts_second_month(bolt)

    agree_on_usage(acme, "March", at(3, 31))
    agree_on_usage(acme, "April", at(4, 30))
    agree_on_usage(acme, "May", at(5, 3))
    agree_on_usage(bolt, "first", at(4, 1))
    agree_on_usage(bolt, "second", at(5, 1))
    clock.set(at(5, 3, 1))
    for customer in (acme, bolt):
        whole = sum(amount for _, amount in customer.spent.values())
        assert billing.usage(customer.org, "all_time").total == whole
        assert billing.balance(customer.org).used == whole
    verified = billing.verify()
    assert verified.ok, [str(each) for each in verified.discrepancies]
    assert verified.orgs == 2
