"""Which of many top-ups that are due get a turn, when there are too many to look at all.

Of a backlog three parts are looked at, each as long as the answer: the longest due, what became
due last, and what follows a moment between that is another each time.  So no org waits until
another's backlog is done, and what it costs does not depend on how long that is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

__all__ = ["Due", "due_in_rounds"]

Due = tuple[int, str, str]
"""When, of which org, and which top-up."""

_STEP = 7_919_000_003  # a prime: a moment later looks elsewhere


def due_in_rounds(
    scan: Callable[[int, bool], Sequence[Due]], until: int, limit: int
) -> list[tuple[str, str]]:
    """At most ``limit`` of what is due at ``until``: of each org the longest due, then of each
    the next, and so on.

    ``scan(since, latest)``: at most ``limit`` of those due from ``since`` to ``until``, in
    order, or the latest first.
    """
    found = set(longest := scan(-(2**63), False))
    if len(longest) == limit:
        latest = scan(-(2**63), True)
        found.update(latest)
        begin, end = longest[-1][0], latest[-1][0]
        if begin < end:
            found.update(scan(begin + until * _STEP % (end - begin), False))
    turns: dict[str, count[int]] = {}
    rounds = sorted(
        (next(turns.setdefault(org, count())), due_at, org, topup)
        for due_at, org, topup in sorted(found)
    )
    return [(org, topup) for _, _, org, topup in rounds[:limit]]
