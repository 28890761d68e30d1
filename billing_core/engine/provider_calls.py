"""Calls that wait for the payment provider, so that no org has all of a host's threads wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from billing_core.errors import PaymentError

__all__ = ["AT_ONCE", "InFlight"]

AT_ONCE = 4  # calls of one org that may wait for the provider, in one engine


class InFlight:
    """The calls of one engine that are at the provider now.  ``what``: how they are named."""

    def __init__(self, what: str) -> None:
        self._what = what
        # No lock: each step is one of the set's own, and an interrupt leaves nothing behind.
        self._calls: set[tuple[str | None, object]] = set()

    @contextmanager
    def one(self, org: str | None) -> Iterator[None]:
        """A call of an org, or (None) of one that nobody knows yet; raises PaymentError
        (``rate_limited``) where as many as may are in flight already."""
        call = org, object()
        try:
            self._calls.add(call)
            if sum(whose == org for whose, _ in list(self._calls)) > AT_ONCE:
                of = "of an org that is not known yet" if org is None else f"of org {org!r}"
                raise PaymentError(
                    f"{AT_ONCE} {self._what} {of} are waiting for the payment provider, and "
                    "nothing was done for this one; repeat it later",
                    kind="rate_limited",
                    retryable=True,
                )
            yield
        finally:
            self._calls.discard(call)
