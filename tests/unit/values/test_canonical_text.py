"""What the ledger writes by hand is what the JSON encoder writes of the same, letter for letter."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unicodedata import normalize

from hypothesis import given
from hypothesis import strategies as st

from billing_core.commands.base import Command
from billing_core.commands.charges import Deduct, Settle
from billing_core.commands.holds import Hold
from billing_core.pricing.catalogue import Catalogue, Priced
from billing_core.pricing.functions import Flat
from billing_core.pricing.price import Price
from billing_core.pricing.rating import ResourcePrices
from billing_core.records.ledger import Entry, Transfer
from billing_core.records.usage import Line, UsageRecord
from billing_core.values.money import Money
from billing_core.values.text import compact
from billing_core.values.times import DAY, billing_period, micros
from billing_core.values.usage import Usage

NAMES = st.text(min_size=1, max_size=12)
NUMBERS = st.integers(-(2**80), 2**80)
LINES = st.builds(
    Line,
    component=NAMES,
    quantity=NUMBERS,
    billed=NUMBERS,
    payer=st.sampled_from(["platform", "customer"]),
    amount=NUMBERS,
    version=st.none() | st.just("") | NAMES,
    counter=NUMBERS,
    carry=NUMBERS,
    carry_of=NUMBERS,
)
USAGE = st.builds(
    UsageRecord,
    occurred_at=NUMBERS,
    member=NUMBERS,
    resource=NAMES | st.just(""),
    item=st.none() | NAMES,
    requests=st.integers(0, 1),
    lines=st.lists(LINES, max_size=3).map(tuple),
    project=st.none() | NAMES,
)
ACCOUNTS = st.sampled_from(["payments", "revenue", "write_off", "lot:1", "debt:123"])
TRANSFERS = st.builds(
    Transfer, ACCOUNTS, ACCOUNTS, NUMBERS, st.sampled_from(["charge", "write_off"])
)


@given(st.lists(TRANSFERS, max_size=3).map(tuple), st.none() | USAGE)
def test_an_entry_is_written_as_canonical_json(
    transfers: tuple[Transfer, ...], usage: UsageRecord | None
) -> None:
    entry = Entry("acme", 1, "settle:k", 5, 6, "{}", "{}", 7, 8, transfers, usage)
    said = entry.texts
    assert said == (
        compact(transfers) if transfers else None,
        None if usage is None else compact(usage),
    )
    entry.write()
    assert entry.texts == said


PRINTABLE = st.text(
    st.just(" ") | st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12
).map(partial(normalize, "NFC"))
PARTS = st.dictionaries(PRINTABLE, st.integers(1, 10**35), max_size=3)
USED = st.builds(
    Usage.of,
    PRINTABLE,
    PARTS,
    payer=st.sampled_from(["platform", "customer"]),
    item=st.none() | PRINTABLE,
)
LABELS = st.fixed_dictionaries(
    {
        "project": st.none() | PRINTABLE.filter(lambda name: name != "*"),
        "reference": st.none() | PRINTABLE,
    }
)
TIMES = st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
COST = st.builds(Money, st.integers(1, 2**62), st.just("USD")) | USED


@given(COST, PRINTABLE, LABELS, TIMES, st.none() | st.integers(1, 9), st.booleans())
def test_a_command_s_meaning_is_canonical_json(
    cost: Money | Usage,
    name: str,
    labels: dict[str, Any],
    time: datetime | None,
    member: int | None,
    flag: bool,
) -> None:
    priced = isinstance(cost, Usage)
    what = {"usage": cost.content()} if priced else {"amount": cost.nanos}
    for_what = {} if priced else {"resource": name}

    def means(command: Command, what: dict[str, Any]) -> None:
        occurred = None if command.occurred_at is None else micros("at", command.occurred_at)
        content = {**what, "member": member, "project": labels["project"]}
        content |= {"reference": labels["reference"], "occurred_at": occurred}
        given = {key: value for key, value in content.items() if value is not None}
        assert command.meaning(member) == compact(given)

    deduct = Deduct("acme", "k", cost=cost, occurred_at=time, **for_what, **labels)
    means(deduct, what | for_what)
    resource = None if priced or flag else name
    expires_in = timedelta(seconds=7)
    hold = Hold("acme", "k", cost=cost, expires_in=expires_in, resource=resource, **labels)
    means(hold, what | {"resource": resource, "life": 7_000_000})
    if priced:
        settle = Settle(
            "acme", "k", usage=cost, hold=f"h{name}" if flag else None, final=not flag,
            occurred_at=time, **labels,
        )  # fmt: skip
        means(settle, what | {"hold": f"h{name}" if flag else None, "more": flag})


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 800)), max_size=12))
def test_a_period_is_the_same_whatever_was_asked_for_before(asked: list[tuple[int, int]]) -> None:
    for anchor, days in asked:
        start, end = billing_period(31 * DAY * (anchor + 12), days * DAY * 10)
        assert start <= days * DAY * 10 < end
        assert billing_period(31 * DAY * (anchor + 12), start) == (start, end)
        assert billing_period(31 * DAY * (anchor + 12), end - 1) == (start, end)
        assert billing_period(31 * DAY * (anchor + 12), end).start == end


def test_a_price_is_looked_up_once() -> None:
    class Counting(Catalogue):
        asked = 0

        def price(
            self,
            currency: str,
            resource: str,
            component: str,
            at: int,
            audiences: tuple[str, ...] = (),
        ) -> Priced | None:
            self.asked += 1
            return Priced("v1", Price(Flat(1))) if component == "input" else None

    catalogue = Counting()
    prices = ResourcePrices(catalogue, "USD", "model:m", 1, ())
    assert [prices["input"], prices["output"]] * 3 == [prices["input"], None] * 3
    assert catalogue.asked == 2
