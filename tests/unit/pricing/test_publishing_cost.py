"""What it costs to publish: in proportion to what is published and what is on record, never to
the one times the other.  Calls are counted, nothing is timed."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import product
from math import lcm

import pytest
from call_counts import calls
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core import Flat, InvalidCommand, Plan, Price, PriceBook, Quota
from billing_core.pricing.catalogue import Catalogue, Published

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def book(prices=(), percent_off=(), *, per=10**6, unit="token", day=1, **options):
    """A book of components of resources, each at so much."""
    price = Price(Flat(3, per), unit)
    return PriceBook(
        f"v{day}{options}",
        T0 + day * DAY,
        {name: dict.fromkeys(parts, price) for name, parts in dict(prices).items()},
        percent_off=dict(percent_off),
        **options,
    )


def catalogue(*books):
    return Catalogue(Published.of(each, n, 0) for n, each in enumerate(books, 1))


def names(times, of="model:m{:04}"):
    return [of.format(number) for number in range(times)]


def percents(times):
    """Discounts that differ."""
    return [f"{number + 1}e-3" for number in range(times)]


def parts(times):
    return names(times, "part{:04}")


def many_below_one(n):
    """Resources on record, and a pattern above them all with many components."""
    return [book(dict.fromkeys(names(n), ("unit",)))], book({"model:*": parts(n)}, day=2)


def many_below_one_that_are_nearly_too_fine(n):
    record, document = many_below_one(n)
    return [
        *record,
        book({"mod*": parts(n)}, per=10**12),
        book({"*": ("unit",)}, per=7**12),
    ], document


def discounts_below_a_pattern(n):
    record = [book({"model:*": parts(n)}), plan_of("model:*")]
    return record, book((), zip(names(n), percents(n), strict=True), day=2, plan="pro")


def discounts_of_what_is_nearly_too_fine(n):
    """All of it together is too fine, though each component is not: 7 * 10**14 and 3**20."""
    record = [
        book({"model:*": parts(n)}, per=10**12),
        book({"model:*": ["other"]}, per=3**20, day=2),
        plan_of("model:*"),
    ]
    return record, book((), dict.fromkeys(names(n), "12.5"), day=3, plan="pro")


def discounts_of_many_orgs(n):
    """Each org has its own, and everyone's prices change: together they are too fine."""
    own = [
        book((), {"model:*": percent}, day=2, org=f"org-{number}")
        for number, percent in enumerate(percents(n))
    ]
    other = book({"model:*": ["other"]}, per=7**12)
    return [other, *own], book({"model:*": parts(n)}, day=3)


def sizes_of_sandboxes(n):
    record = [book(dict.fromkeys(names(n, "sandbox:s{}"), ("memory",)), unit="GB-hour")]
    return record, book(dict.fromkeys(names(n, "sandbox:t{}"), ("memory",)), unit="GB-hour", day=2)


def sizes_below_patterns(n):
    record = [book(dict.fromkeys(names(n, "sandbox:s{}"), parts(5)), unit="GB-hour")]
    to_come = {"sandbox:*": parts(n), **dict.fromkeys(names(n, "sandbox:s{}*"), parts(2))}
    return record, book(to_come, unit="MB-second", day=2)


def quotas(n):
    few = [Quota(name, "unit", 1) for name in names(n)]
    return [book(dict.fromkeys([*names(n), "model:*"], ("unit",)))], plan_of("", few)


def prices_that_end(n):
    ends = PriceBook("end", T0 + 2 * DAY, {name: {"unit": None} for name in names(n)}, org="acme")
    return [book({"model:*": ["unit"]}), book(dict.fromkeys(names(n), ("unit",)), day=2)], ends


def plan_of(name, quotas=()):
    return Plan(f"plan of {name}", "pro", T0, quotas=tuple(quotas))


SHAPES = [
    many_below_one,
    many_below_one_that_are_nearly_too_fine,
    discounts_below_a_pattern,
    discounts_of_what_is_nearly_too_fine,
    discounts_of_many_orgs,
    sizes_of_sandboxes,
    sizes_below_patterns,
    quotas,
    prices_that_end,
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.__name__)
def test_twice_as_much_to_publish_on_twice_as_much_costs_twice_as_much(shape):
    def published(times):
        record, document = shape(times)
        known = catalogue(*record)

        def act():
            found = known.checked(document, now=0, delay=0)
            known.warnings(found)

        return calls(act)

    once, twice = published(60), published(120)
    assert twice <= 2.6 * once, (once, twice)


# -- and what is refused is what it was -----------------------------------------

NAMES = ["model:a", "model:ab", "model:(x)", "model:", "model:*", "model:a*", "model:(*", "mod*"]
PERS = [1, 7, 10**6, 10**12, 997 * 10**9, 2**40, 3**25, 7**12]
BOOKS = st.fixed_dictionaries(
    {},
    optional={
        name: st.dictionaries(st.sampled_from(["in", "out"]), st.sampled_from(PERS), min_size=1)
        for name in NAMES
    },
)
OFF = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from(["10", "12.5", "33.333", "1e-9"]), max_size=3
)
WHOSE = [{}, {"plan": "pro"}, {"org": "acme"}, {"org": "bolt"}]


@st.composite
def some_books(draw):
    found = []
    for day in range(draw(st.integers(1, 5))):
        options = draw(st.sampled_from(WHOSE))
        prices = {
            name: {part: Price(Flat(3, per)) for part, per in parts.items()}
            for name, parts in draw(BOOKS).items()
        }
        off = draw(OFF) if options else {}
        if prices or off:
            when = T0 + day * DAY
            found.append(PriceBook(f"v{day}", when, prices, percent_off=off, **options))
    return found


def all_denominators(books, name):
    """By component and org, what every price for a name times every discount has below."""

    def of(book, org):
        return book.org in (None, org)

    def above(pattern):
        stem = name.removesuffix("*")
        fits = pattern.endswith("*") and stem.startswith(pattern[:-1])
        return pattern == name or fits

    found = {}
    for part, org in product(["in", "out"], {each.org for each in books} | {None}):
        rates = [
            Fraction(price.function.nanos, price.function.per)
            for book in books
            if of(book, org)
            for resource, prices in book.prices.items()
            if above(resource)
            for component, price in prices.items()
            if component == part
        ]
        keeps = [
            1 - Fraction(percent) / 100
            for book in books
            if of(book, org)
            for pattern, percent in book.percent_off.items()
            if above(pattern)
        ]
        all_of = [rate * keep for rate in rates for keep in [Fraction(1), *keeps]]
        found[part, org] = lcm(*(each.denominator for each in all_of))
    return found


@settings(max_examples=300)
@given(some_books())
def test_what_would_leave_too_fine_a_fraction_is_refused_and_nothing_else(books):
    """Against every price times every discount.  Whatever passes stays within 10**18."""
    record = [Plan("pro-1", "pro", T0)]
    passed = []
    for each in books:
        after = [all_denominators([*passed, each], name) for name in NAMES]
        too_fine = any(finest > 10**18 for by in after for finest in by.values())
        try:
            document = catalogue(*record).checked(each, now=0, delay=0)
        except InvalidCommand as error:
            if "leaves a nano" in str(error):
                assert too_fine, error
            else:
                assert "has a price" in str(error) or "publish its price" in str(error), error
        else:
            assert not too_fine
            record.append(document)
            passed.append(each)


def test_each_discount_counts_with_what_a_pattern_above_has():
    other = book({"model:*": ["other"]}, per=7**12, day=2)  # with it all together is too fine
    record = [book({"model:*": ["in"]}, per=10**12), other, plan_of("model:*")]
    discounts = {"model:a": "10", "model:b": "10", "model:c": "1e-9"}
    with pytest.raises(InvalidCommand, match=r"'in' of 'model:c'"):
        catalogue(*record).checked(book((), discounts, day=3, plan="pro"), now=0, delay=0)
