"""Price books: what they say, which is in force, and when they may be published."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_price_functions import FUNCTIONS
from world import LONG_AGO, MINUTE, T0, TICK, World

from billing_core import (
    Catalogue,
    Flat,
    InvalidCommand,
    NotFound,
    Price,
    PriceBook,
    StoreError,
)
from billing_core.pricing.catalogue import Published
from billing_core.pricing.price_book import load_book
from billing_core.testing import MemoryStore
from billing_core.values.times import micros

# -- books ----------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9)
PRICE = st.builds(
    Price,
    FUNCTIONS,
    unit=NAMES,
    minimum=st.integers(0, 10**18),
    increment=st.integers(1, 10**18),
)
BOOKS = st.builds(
    PriceBook,
    version=NAMES.filter(lambda name: "#" not in name),
    effective_at=st.datetimes(datetime(1971, 1, 2), datetime(9899, 1, 1), timezones=st.just(UTC)),
    prices=st.dictionaries(
        NAMES, st.dictionaries(NAMES, PRICE, min_size=1, max_size=3), min_size=1, max_size=3
    ),
    currency=st.sampled_from(["USD", "EUR"]),
)


@given(BOOKS)
def test_a_book_survives_its_body(book: PriceBook) -> None:
    assert load_book(book.body()) == book
    assert load_book(book.body()).body() == book.body()


def test_equal_books_have_one_body() -> None:
    parts = {"a": Price(Flat(1)), "b": Price(Flat(2))}
    backwards = dict(reversed(parts.items()))
    one = PriceBook("v1", T0, {"x": parts, "y": parts})
    other = PriceBook("v1", T0, {"y": backwards, "x": backwards})
    assert one.body() == other.body()
    assert Published.of(one, 1, 0).digest == Published.of(other, 1, 0).digest


def catalogue(*books: PriceBook) -> Catalogue:
    return Catalogue(Published.of(book, number, 0) for number, book in enumerate(books, 1))


def in_force(known: Catalogue, at: datetime, part: str = "unit", currency: str = "USD") -> int:
    priced = known.price(currency, "x", part, micros("at", at))
    return -1 if priced is None else priced.price.function.nanos


def unit_at(nanos: int) -> dict:
    return {"x": {"unit": Price(Flat(nanos))}}


def test_a_price_is_in_force_from_its_first_microsecond_to_its_successor_s() -> None:
    known = catalogue(
        PriceBook("v2", T0 + MINUTE, unit_at(2)),
        PriceBook("v1", T0, unit_at(1)),
    )
    times = [T0 - TICK, T0, T0 + MINUTE - TICK, T0 + MINUTE, T0 + 99 * MINUTE]
    assert [in_force(known, at) for at in times] == [-1, 1, 1, 2, 2]


def test_a_book_supersedes_only_what_it_names() -> None:
    both = {"x": {"unit": Price(Flat(1)), "other": Price(Flat(5))}}
    known = catalogue(PriceBook("v1", T0, both), PriceBook("v2", T0 + MINUTE, unit_at(2)))
    assert in_force(known, T0 + MINUTE) == 2
    assert in_force(known, T0 + MINUTE, "other") == 5


def test_of_two_books_of_one_time_the_later_published_is_in_force() -> None:
    known = catalogue(PriceBook("v1", T0, unit_at(1)), PriceBook("v2", T0, unit_at(2)))
    assert in_force(known, T0) == 2


def test_currencies_have_prices_of_their_own() -> None:
    known = catalogue(PriceBook("v1", T0, unit_at(1)), PriceBook("e1", T0, unit_at(2), "EUR"))
    assert in_force(known, T0) == 1
    assert in_force(known, T0, currency="EUR") == 2
    assert in_force(known, T0, currency="GBP") == -1
    assert known.priced_by("e1", "USD", "x", "unit") is None


def test_a_version_is_found_by_its_short_and_its_full_name() -> None:
    known = catalogue(PriceBook("v1", T0, unit_at(1)))
    full = known.version("v1")
    assert full.startswith("v1#")
    assert known.version(full) == full
    assert known.priced_by(full, "USD", "x", "unit") == known.priced_by("v1", "USD", "x", "unit")
    with pytest.raises(NotFound, match="version"):
        known.version("v2")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), max_size=8), st.integers(-1, 10))
def test_the_price_in_force_is_the_last_that_took_effect(
    versions: list[tuple[int, int]], minute: int
) -> None:
    known = catalogue(
        *(
            PriceBook(f"v{number}", T0 + after * MINUTE, unit_at(nanos))
            for number, (after, nanos) in enumerate(versions)
        )
    )
    due = [(after, number, nanos) for number, (after, nanos) in enumerate(versions)]
    due = [each for each in due if each[0] <= minute]
    assert in_force(known, T0 + minute * MINUTE) == (max(due)[2] if due else -1)


# -- publishing (rule 5.6) ------------------------------------------------------

DELAY = timedelta(minutes=10)


def test_the_first_price_of_a_component_may_reach_back() -> None:
    world = World(priced=False)
    world.publish(unit_at(1), effective_at=LONG_AGO)
    world.publish({"x": {"new part": Price(Flat(1))}}, version="v2", effective_at=LONG_AGO)


@pytest.mark.parametrize("early", [TICK, MINUTE, timedelta(days=500)])
def test_a_change_of_price_takes_effect_after_the_publication_delay(early: timedelta) -> None:
    world = World(priced=False)
    world.publish(unit_at(1))
    before = world.state()
    with pytest.raises(InvalidCommand, match="effective_at"):
        world.publish(unit_at(2), version="v2", effective_at=T0 + DELAY - early)
    assert world.state() == before
    world.publish(unit_at(2), version="v2", effective_at=T0 + DELAY)


def test_one_component_with_a_price_already_binds_the_whole_book() -> None:
    world = World(priced=False)
    world.publish(unit_at(1))
    mixed = {"x": {"new part": Price(Flat(1)), "unit": Price(Flat(2))}}
    with pytest.raises(InvalidCommand, match="'unit'"):
        world.publish(mixed, version="v2", effective_at=T0)


def test_the_same_book_again_is_a_no_op() -> None:
    world = World(priced=False)
    name = world.publish(unit_at(1))
    before = world.state()
    world.clock.advance(timedelta(days=9))
    assert world.publish(unit_at(1)) == name
    assert world.state() == before


def test_a_version_s_name_is_its_own_for_ever() -> None:
    world = World(priced=False)
    world.publish(unit_at(1))
    with pytest.raises(InvalidCommand, match="version"):
        world.publish(unit_at(2), effective_at=T0 + DELAY)


def test_two_publishers_at_once_both_succeed() -> None:
    class Contended(MemoryStore):
        rival = PriceBook("rival", LONG_AGO, {"y": {"unit": Price(Flat(1))}})
        times = 0

        def publish(self, book: Published) -> None:
            self.times += 1
            if self.times == 1:
                super().publish(Published.of(self.rival, book.number, 0))
            super().publish(book)

    world = World(Contended(), priced=False)
    world.publish(unit_at(1))
    assert [book.version for book in world.store.published()] == ["rival", "v1"]
    assert [book.number for book in world.store.published()] == [1, 2]


def test_a_store_that_cannot_publish_is_not_asked_for_ever() -> None:
    class Locked(MemoryStore):
        times = itertools.count()

        def publish(self, book: Published) -> None:
            assert next(self.times) < 1000, "it should have given up"
            raise StoreError("locked", retryable=True)

    world = World(Locked(), priced=False)
    with pytest.raises(StoreError, match="locked"):
        world.publish(unit_at(1))


def test_the_delay_is_longer_than_a_catalogue_is_trusted() -> None:
    with pytest.raises(InvalidCommand, match="catalogue_age"):
        World(publication_delay=MINUTE, catalogue_age=MINUTE)


@pytest.mark.parametrize("when", [datetime(2026, 1, 1), "2026-01-01", None])
def test_a_book_takes_effect_at_a_time_with_a_zone(when: object) -> None:
    with pytest.raises(InvalidCommand, match="effective_at"):
        PriceBook("v1", when, {"x": {"unit": Price(Flat(1))}})
