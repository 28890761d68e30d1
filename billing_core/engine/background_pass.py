"""One pass of background work: what it has done, and whether it may begin more.

Nobody waits for another's backlog, nor for a provider that hangs: each kind of work has a
budget of time, an org has a slice of it and then its turn again after the others, and a
provider that has not answered is not asked for anything else in the same pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from attrs import define, field, frozen

from billing_core.errors import PaymentError

__all__ = ["BUDGET", "SLICE", "Failure", "Pass", "Pending", "in_turn"]

BUDGET = 5_000_000  # microseconds in which a pass begins work of one kind
SLICE = 1_000_000  # and those in which it begins one org's, before another's turn

_NO_ANSWER = frozenset(("unavailable", "unknown_outcome", "rate_limited"))

_T = TypeVar("_T")
_Org = TypeVar("_Org", bound="str | None")


@frozen
class Failure:
    """A piece of background work that failed.  It will be tried again, except for news of the
    provider that is lost or cannot be read: that is only told.

    Attributes:
        org: Whose work it was.  None: nobody's alone.
        what: Which piece of work, in words.
        error: What was raised.
    """

    org: str | None
    what: str
    error: Exception


@define
class Pending:
    """What one pass of background work has done, and what failed in it.

    Attributes:
        topups: How many top-ups were worked on.
        lapsed: In how many orgs something had expired and was put on record.
        news: How many news of the provider were read.
        delivered: How many events were delivered.
        failures: What failed.
        more: The pass ended because its time was over, and there is more to do at once.
    """

    topups: int = 0
    lapsed: int = 0
    news: int = 0
    delivered: int = 0
    failures: list[Failure] = field(factory=list)
    more: bool = False

    @property
    def done(self) -> int:
        """How many top-ups, orgs and events were worked on together."""
        return self.topups + self.lapsed + self.delivered


class Worked:
    """How a piece of work went."""

    error: Exception | None = None

    @property
    def well(self) -> bool:
        return self.error is None


class Pass:
    """One pass, until a time at most."""

    def __init__(self, until: int | None, clock: Callable[[], int]) -> None:
        self.pending = Pending()
        self.answers = True  # so far, the provider does
        self._until = until
        self._clock = clock
        self._ends: int | None = until

    def begins(self) -> None:
        """Another kind of work begins, and with it its budget."""
        ends = self._clock() + BUDGET
        self._ends = ends if self._until is None else min(ends, self._until)

    def goes_on(self) -> bool:
        """Whether more of this kind may begin."""
        if self._ends is None or self._clock() < self._ends:
            return True
        self.pending.more = True
        return False

    def asks(self) -> bool:
        """Whether the provider may be asked for more of this kind."""
        return self.answers and self.goes_on()

    def each(self, pieces: Iterable[_T]) -> Iterator[_T]:
        """The pieces, as long as more may begin."""
        for piece in pieces:
            if not self.goes_on():
                return
            yield piece

    def failing(self, org: str | None, what: str) -> _Failing:
        """A piece of work: what it raises is told, and goes no further."""
        return _Failing(self, org, what)


class _Failing:
    def __init__(self, run: Pass, org: str | None, what: str) -> None:
        self._run = run
        self._org = org
        self._what = what
        self._worked = Worked()

    def __enter__(self) -> Worked:
        return self._worked

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._worked.error = error
        self._run.pending.failures.append(Failure(self._org, self._what, error))
        if isinstance(error, PaymentError) and error.kind in _NO_ANSWER:
            self._run.answers = False
        return True


def in_turn(pieces: Iterable[tuple[_Org, _T]], served: Mapping[str, int]) -> list[tuple[_Org, _T]]:
    """Pieces of orgs, round robin: of each org the first, then of each the second, and so on.
    Those who were ``served`` (in which pass) come after those who were not, or longer ago.  What
    is of no known org, None, is as one org's."""
    had: dict[str | None, int] = {}
    order: list[tuple[int, int, int, tuple[_Org, _T]]] = []
    for org, piece in pieces:
        turn = had.get(org, 0)
        had[org] = turn + 1
        last = 0 if org is None else served.get(org, 0)
        order.append((turn, last, len(order), (org, piece)))
    order.sort(key=lambda each: each[:3])
    return [each for *_, each in order]
