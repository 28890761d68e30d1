"""The contract of publishing: :meth:`billing_core.ports.store.Store.publish` and ``published``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from billing_core.errors import StoreError
from billing_core.ports.store import PUBLISHED, Store
from billing_core.pricing.catalogue import Published
from billing_core.pricing.functions import Flat
from billing_core.pricing.plan import Limit, Plan
from billing_core.pricing.price import Price
from billing_core.pricing.price_book import PriceBook
from billing_core.values.money import Money

__all__ = ["PublishContract"]

_LIMIT = Limit("member", Money(7, "USD"), "day", (50,))


class PublishContract:
    """Price books and plans are numbered, immutable and read in order."""

    def test_plans_are_kept_among_the_books(self, store: Store) -> None:
        plan = Plan("plän-1", "plän", datetime(2026, 1, 1, tzinfo=UTC), limits=[_LIMIT])
        documents = [_book(1), Published.of(plan, 2, 1), _book(3)]
        for document in documents:
            store.publish(document)
        assert list(store.published()) == documents
        assert store.published()[1].document() == plan
        with pytest.raises(StoreError):
            store.publish(Published.of(plan, 4, 1))  # a version is published once

    def test_books_are_kept_in_order(self, store: Store) -> None:
        books = [_book(number) for number in (1, 2, 3)]
        for book in books:
            store.publish(book)
        assert list(store.published()) == books
        assert list(store.published(1)) == books[1:]
        assert list(store.published(3)) == []

    def test_publishing_marks_the_number(self, store: Store) -> None:
        """So that verify misses the last one when it is gone."""
        assert store.mark(PUBLISHED) is None
        for number in (1, 2):
            store.publish(_book(number))
            store.publish(_book(number))
            assert store.mark(PUBLISHED) == number
        with pytest.raises(StoreError):
            store.publish(_book(7, "v1"))
        assert store.mark(PUBLISHED) == 2

    def test_the_same_book_twice_is_a_no_op(self, store: Store) -> None:
        store.publish(_book(1))
        store.publish(_book(1))
        assert list(store.published()) == [_book(1)]

    def test_a_taken_number_is_retryable(self, store: Store) -> None:
        """So that the publisher loads what another one published, and numbers anew."""
        store.publish(_book(1))
        for rival in (_book(1, "rival"), _book(1, at=2), _book(2, "v1")):
            with pytest.raises(StoreError) as caught:
                store.publish(rival)
            assert caught.value.retryable
            assert not caught.value.outcome_unknown
        assert list(store.published()) == [_book(1)]

    def test_racing_publishers_get_numbers_of_their_own(self, store: Store) -> None:
        def publish(number: int) -> None:
            for _ in range(100):
                try:
                    return store.publish(_book(len(store.published()) + 1, f"r{number}"))
                except StoreError as error:
                    assert error.retryable
            raise AssertionError("busy for ever")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(publish, range(8)))
        books = store.published()
        assert [book.number for book in books] == list(range(1, 9))
        assert {book.version for book in books} == {f"r{number}" for number in range(8)}


def _book(number: int, version: str = "", at: int = 1) -> Published:
    effective = datetime(2026, 1, 1, tzinfo=UTC)
    prices = {"mødel": {"input": Price(Flat(10**18, 7))}}
    return Published.of(PriceBook(version or f"v{number}", effective, prices), number, at)
