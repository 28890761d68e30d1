"""The published price books and plans, loaded once and looked at again when they may have grown."""

from __future__ import annotations

import json
import os
import threading
import warnings
import weakref

from billing_core.errors import BillingError, Conflict, NameWarning, StoreError
from billing_core.ledger.inputs import Terms, level_text
from billing_core.ports.clock import Clock
from billing_core.ports.state import LEVEL
from billing_core.ports.store import Store
from billing_core.pricing.catalogue import Catalogue, Published
from billing_core.pricing.plan import Plan
from billing_core.pricing.price_book import VARIES, PriceBook
from billing_core.values.text import check_normal

__all__ = ["Prices"]


class Prices:
    """A store's catalogue, trusted for ``age`` and published ``delay`` ahead (microseconds)."""

    def __init__(self, store: Store, clock: Clock, *, age: int, delay: int) -> None:
        self._store = store
        self._clock = clock
        self._age = age
        self._delay = delay
        self._catalogue = Catalogue()
        self.level = 1
        """The store's level, as of when the catalogue was loaded last."""
        self._loaded: int | None = None
        self._lock = threading.Lock()
        _ALL.add(self)

    def forked(self) -> None:
        """In a forked process, whoever held the lock is not here to release it."""
        self._lock = threading.Lock()

    def load(self) -> Catalogue:
        """All that was published by now."""
        with self._lock:
            now = self._clock()
            known = self._catalogue.published
            more = self._store.published(known[-1].number if known else 0)
            if more:
                try:
                    self._catalogue = Catalogue([*known, *more])
                except (ValueError, KeyError, TypeError, BillingError) as error:
                    raise StoreError(f"what was published cannot be read: {error}") from error
            if self.level < LEVEL:
                self.level = self._store.level()
            self._loaded = now
            return self._catalogue

    def known(self, now: int) -> Catalogue:
        """The catalogue, if it was loaded within its age, else as of now."""
        loaded = self._loaded
        if loaded is None or not loaded <= now < loaded + self._age:
            return self.load()
        return self._catalogue

    def refreshed(self, terms: Terms) -> Terms:
        """The same terms, with what is on record by now."""
        return terms._replace(catalogue=self.load(), fresh=True, level=self.level)

    def publish(self, document: PriceBook | Plan, lag: int = 0) -> str:
        """See :meth:`Billing.publish`.  ``lag``: how far the clock may be behind others'."""
        told: tuple[str, ...] = ()
        while True:
            now = self._clock()
            catalogue = self.load()
            if not catalogue.has(document.version):
                check_normal("document", json.loads(document.body()))
            document = catalogue.checked(document, now=now, delay=self._delay + lag)
            if catalogue.has(document.version):
                for each in told:
                    warnings.warn(each, NameWarning, stacklevel=3)
                return catalogue.version(document.version)
            if isinstance(document, PriceBook) and document.varies and self.level < VARIES:
                raise Conflict(
                    level_text("a price that depends on the request", VARIES, self.level)
                )
            told = catalogue.warnings(document)
            published = Published.of(document, len(catalogue.published) + 1, now)
            try:
                self._store.publish(published)
            except StoreError as error:
                if error.retryable and len(self.load().published) > len(catalogue.published):
                    continue  # somebody else published meanwhile
                raise


_ALL: weakref.WeakSet[Prices] = weakref.WeakSet()


def _after_fork() -> None:
    for prices in list(_ALL):
        prices.forked()


os.register_at_fork(after_in_child=_after_fork)
