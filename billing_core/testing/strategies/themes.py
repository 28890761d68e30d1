"""What random runs are about, and what their commands may refer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from attrs import field, frozen

__all__ = ["ITEMS", "MEMBERS", "ORGS", "PROJECTS", "RESOURCES", "START", "THEMES", "Theme", "World"]

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
"""When a run begins: an anchor on a 31st."""

ORGS = ("acme", "bøb & söhne 🦊")
MEMBERS = ("ann", "bülent")
RESOURCES = ("model:a", "model:b", "tool")
PROJECTS = ("p-1", "prøject")
ITEMS = ("run-1", "run-2")


@frozen
class Theme:
    """What a run is about: a few things, so that they meet.

    ``operations``, ``acts``: how often each operation comes, and each of the machine's
    other acts beside the usual.  ``plain``: one org, one resource, no scopes, and all at
    the clock's time.  ``credit``: the most of a usual grant.  ``extremes``: amounts and
    quantities may be huge, after which little else matters.  ``calendar``: days and
    billing periods end like everything else.  ``requests``: prices depend on the request, and
    usages say facts.
    """

    operations: Mapping[str, int]
    components: Sequence[str] = ("flat",)
    acts: Mapping[str, int] = field(factory=dict)
    plain: bool = False
    credit: int = 40
    extremes: bool = False
    calendar: bool = False
    requests: bool = False


_ANY = ("flat", "tiered", "timed", "stepped", "unknown", "reversed")

THEMES = {
    "holds": Theme(
        {"grant": 6, "hold": 6, "extend": 6, "release": 2, "settle": 4, "restore": 1},
        plain=True,
        acts={"pass_time_until_something_ends": 3},
    ),
    "debts": Theme({"grant": 5, "settle": 6, "reverse": 5, "hold": 3, "release": 3, "deduct": 1}),
    "quotes": Theme(
        {"settle": 6, "hold": 6, "grant": 1, "release": 1, "extend": 5},
        ("tiered", "stepped"),
        plain=True,
        credit=400,
        acts={"ask": 12, "publish": 2},
    ),
    "items": Theme(
        {"settle": 8, "deduct": 2, "grant": 1},
        ("timed", "stepped"),
        plain=True,
        credit=400,
        acts={"publish": 6, "pass_time": 4},
    ),
    "unpriced": Theme(
        {"settle": 6, "price": 5, "reverse": 2, "grant": 2, "hold": 2},
        ("unknown", "flat", "timed"),
        acts={"publish": 5},
    ),
    "all": Theme(
        {
            "grant": 5, "hold": 6, "settle": 7, "extend": 3, "release": 2, "deduct": 3,
            "reverse": 4, "price": 2, "open": 1, "plan": 1, "limit": 1, "low_balance": 1,
            "restore": 2,
        },
        _ANY,
    ),
    "requests": Theme(
        {
            "settle": 8, "hold": 4, "deduct": 2, "reverse": 3, "price": 1, "extend": 1, "grant": 2,
            "plan": 1,
        },
        ("by_request", "flat", "timed"),
        acts={"publish": 6, "pass_time": 4, "ask": 4},
        credit=400,
        requests=True,
    ),
    "closing": Theme(
        {
            "grant": 6, "hold": 6, "settle": 12, "release": 3, "price": 2, "plan": 2, "limit": 1,
            "close": 1,
        },
        _ANY,
    ),
    "allowances": Theme(
        {
            "plan": 6, "settle": 6, "hold": 4, "reverse": 3, "grant": 2, "extend": 2, "deduct": 2,
            "restore": 2,
        },
        acts={"pass_time_until_a_period_begins": 10, "publish": 2},
        calendar=True,
    ),
    "own prices": Theme(
        {"plan": 4, "settle": 8, "deduct": 3, "hold": 2, "price": 1, "grant": 1},
        ("flat", "tiered", "timed", "unknown"),
        acts={"publish": 8, "pass_time": 6, "ask": 2},
        credit=400,
    ),
    "limits": Theme(
        {
            "limit": 5, "deduct": 8, "hold": 5, "release": 2, "reverse": 3, "settle": 3,
            "extend": 2, "plan": 3, "low_balance": 1, "grant": 2,
        },
        ("flat", "tiered"),
        acts={"ask": 3, "pass_time_until_a_period_begins": 1},
        credit=400,
        calendar=True,
    ),
    "extremes": Theme(
        {
            "grant": 4, "hold": 3, "settle": 4, "deduct": 2, "reverse": 3, "extend": 1,
            "plan": 1, "limit": 1,
        },
        _ANY,
        extremes=True,
    ),
}  # fmt: skip


@frozen
class World:
    """What commands may refer to: the time, and what is on record.

    ``serial``: makes a fresh key.  ``holds``: by org, the open ones.  ``charges``: those
    with something to reverse; ``made``: all; ``unpriced``: those to be priced; ``expiries``:
    entries with which credit expired.  ``ends``: when something lapses.  ``versions``: all that
    was published; ``plans``: the plans' names.
    """

    theme: Theme = THEMES["all"]
    now: datetime = START
    serial: int = 0
    holds: Mapping[str, Sequence[str]] = field(factory=dict)
    charges: Mapping[str, Sequence[int]] = field(factory=dict)
    made: Mapping[str, Sequence[int]] = field(factory=dict)
    unpriced: Mapping[str, Sequence[int]] = field(factory=dict)
    expiries: Mapping[str, Sequence[int]] = field(factory=dict)
    ends: Sequence[datetime] = ()
    versions: Sequence[str] = ("base",)
    plans: Sequence[str] = ("small", "large")
