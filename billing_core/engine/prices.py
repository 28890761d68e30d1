"""The published price books, loaded once and looked at again when they may have grown."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence

from billing_core.commands import Command, PriceUnpriced
from billing_core.errors import BillingError, StoreError
from billing_core.ports import Clock, Store
from billing_core.pricing import Catalogue, PriceBook, Published
from billing_core.quantities import Usage

__all__ = ["Prices"]


class Prices:
    """A store's catalogue, trusted for ``age`` and published ``delay`` ahead (microseconds)."""

    def __init__(self, store: Store, clock: Clock, *, age: int, delay: int) -> None:
        self._store = store
        self._clock = clock
        self._age = age
        self._delay = delay
        self._catalogue = Catalogue()
        self._loaded: int | None = None
        self._lock = threading.Lock()
        _ALL.add(self)

    def forked(self) -> None:
        """In a forked process, whoever held the lock is not here to release it."""
        self._lock = threading.Lock()

    def load(self) -> Catalogue:
        """All books published by now."""
        with self._lock:
            now = self._clock()
            more = self._store.books(len(self._catalogue.books))
            if more:
                known = [published for published, _ in self._catalogue.books.values()]
                try:
                    self._catalogue = Catalogue([*known, *more])
                except (ValueError, KeyError, TypeError, BillingError) as error:
                    raise StoreError(f"a price book on record cannot be read: {error}") from error
            self._loaded = now
            return self._catalogue

    def known(self, batch: Sequence[Command], now: int) -> Catalogue:
        """The catalogue to decide a batch by: loaded within its age, and looked at again
        before something goes unpriced, since a first price may have been published."""
        catalogue, loaded = self._catalogue, self._loaded
        if loaded is None or not loaded <= now < loaded + self._age:
            return self.load()
        for command in batch:
            usage = getattr(command, "usage", None) or getattr(command, "cost", None)
            if isinstance(usage, Usage) and not catalogue.names(usage):
                return self.load()
            if isinstance(command, PriceUnpriced) and not catalogue.has(command.version):
                return self.load()
        return catalogue

    def publish(self, book: PriceBook) -> str:
        """See :meth:`Billing.publish`."""
        while True:
            now = self._clock()
            catalogue = self.load()
            catalogue.checked(book, now=now, delay=self._delay)
            if catalogue.has(book.version):
                return catalogue.version(book.version)
            published = Published.of(book, len(catalogue.books) + 1, now)
            try:
                self._store.publish(published)
            except StoreError as error:
                if error.retryable and len(self.load().books) > len(catalogue.books):
                    continue  # somebody else published meanwhile
                raise


_ALL: weakref.WeakSet[Prices] = weakref.WeakSet()


def _after_fork() -> None:
    for prices in list(_ALL):
        prices.forked()


os.register_at_fork(after_in_child=_after_fork)
