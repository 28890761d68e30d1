"""What binds a use, and what was spent: rules 6.8 and 8.7 for the reference model.

Nothing is kept: every sum is added up from the charges, reversals and holds themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from attrs import field, frozen

from billing_core.testing.model.answers import Answer, No, no
from billing_core.testing.model.facts import ChargeFact, Facts, reaches
from billing_core.testing.model.tariff import Piece, counted, month_end, month_start

__all__ = [
    "GRAINS",
    "Wish",
    "alert",
    "alert_of",
    "alerts",
    "billed_of",
    "bound",
    "check",
    "held",
    "held_of",
    "spent",
]

DAY = 24 * 3_600_000_000
GRAINS = ("day", "period")


@frozen
class Wish:
    """What is about to be charged or held: for whom, for a use at which time, decided when,
    and how much the platform would bill of what.  ``until``: it may be used until then;
    ``announced``: what its hold said of that before."""

    member: int
    project: str | None
    resource: str | None
    at: int
    time: int
    billed: Mapping[str, int] = field(factory=dict)
    until: int = 0
    announced: Iterable[tuple[int, str, int]] = ()

    def periods(self, anchor: int) -> list[int]:
        """The starts of the billing periods in which it may be used."""
        found = [month_start(anchor, self.at)]
        while month_end(anchor, found[-1]) < self.until:
            found.append(month_end(anchor, found[-1]))
        return found


def billed_of(pieces: Iterable[Piece]) -> Mapping[str, int]:
    """What the platform bills, by component."""
    sums: dict[str, int] = {}
    for piece in pieces:
        if piece.price is not None:
            sums[piece.component] = sums.get(piece.component, 0) + piece.billed
    return sums


def check(org: Facts, wish: Wish, amount: int, replaced: int = 0) -> None:
    """Raise what forbids a use."""
    found = bound(org, wish, amount, replaced)
    if found is not None:
        raise No(found)


def bound(org: Facts, wish: Wish, amount: int, replaced: int = 0) -> Answer | None:
    """Limits first, then quotas, then the balance."""
    for subject in _subjects(wish.member, wish.project) if amount else ():
        for grain in GRAINS:
            blocking = [
                most for most, _, blocks in _limits(org, subject, grain, wish.time) if blocks
            ]
            for start, end in _reached(org, grain, wish) if blocking else ():
                over = spent(org, subject, grain, start) + held(org, subject) + amount
                if over > min(blocking):
                    which = f"{subject.partition(':')[0]}_limit"
                    return _until(end, wish, "limit_reached", over - min(blocking), which)
    plan = org.plan(wish.time)
    quotas = [] if plan is None else plan.quotas
    for period, quota in [(p, q) for p in wish.periods(org.anchor) for q in quotas]:
        more = wish.billed.get(quota.component, 0)
        more -= sum(n for p, name, n in wish.announced if (p, name) == (period, quota.component))
        if wish.resource is None or not reaches(quota.resource, wish.resource) or more <= 0:
            continue
        taken = 0
        for each in {use.resource for use in org.uses} | {h.resource for h in org.holds.values()}:
            if each is not None and reaches(quota.resource, each):
                taken += counted(org.uses, each, quota.component, period)[0]
                taken += held_of(org, each, quota.component, period)
        if taken + more > quota.quantity:
            return _until(month_end(org.anchor, period), wish, "quota_reached", 0, "quota")
    available = org.available(wish.resource, wish.time, wish.at)
    if amount + replaced > max(0, available):
        return no("insufficient_credit", amount + replaced - available, "balance")
    return None


def _until(end: int, wish: Wish, reason: str, shortfall: int, limit: str) -> Answer:
    """A window that is over has no room again."""
    after = None if end <= wish.time else (end - wish.time) / 1_000_000
    return no(reason, shortfall, limit, after)


def held_of(org: Facts, resource: str, component: str, period: int) -> int:
    """How much of a component open holds may use."""
    return sum(
        quantity
        for hold in org.holds.values()
        for begins, part, quantity in hold.announced
        if (hold.resource, begins, part) == (resource, period, component)
    )


def _subjects(member: int, project: str | None) -> Iterator[str]:
    yield "org"
    if member:
        yield f"member:{member}"
    if project is not None:
        yield f"project:{project}"


def _window(org: Facts, grain: str, at: int) -> tuple[int, int]:
    if grain == "day":
        return at - at % DAY, at - at % DAY + DAY
    return month_start(org.anchor, at), month_end(org.anchor, at)


def _reached(org: Facts, grain: str, wish: Wish) -> Iterator[tuple[int, int]]:
    """The windows that a use may fall in."""
    start, end = _window(org, grain, wish.at)
    yield start, end
    while end < wish.until:
        start, end = _window(org, grain, end)
        yield start, end


def _limits(
    org: Facts, subject: str, grain: str, time: int
) -> Iterator[tuple[int, tuple[int, ...], bool]]:
    """The org's own limit for one comes before that for each; the plan's bind beside it."""
    who = subject.partition(":")[0]
    for name in (subject, f"{who}:*"):
        own = org.limits.get((name, grain))
        if own is not None and own.amount is not None:
            yield own.amount.nanos, own.alerts, own.blocks
            break
    plan = org.plan(time)
    for limit in () if plan is None else plan.limits:
        if (limit.whose, limit.per) == (who, grain):
            yield limit.amount.nanos, limit.alerts, limit.blocks


def spent(org: Facts, subject: str, grain: str, start: int) -> int:
    """Charges less reversals in the window of the usage; of a project, since the org is
    limited, and less only what had counted."""
    total = 0
    for charge in org.charges.values():
        if _window(org, grain, charge.occurred)[0] != start or not _whose(charge, subject):
            continue
        if not subject.startswith("project:"):
            total += charge.amount - org.reversed(charge.seq)
            continue
        if charge.seq > (org.limited or 0):
            total += charge.amount - org.reversed(charge.seq)
    return total


def _whose(charge: ChargeFact, subject: str) -> bool:
    return subject in _subjects(charge.member, charge.project)


def held(org: Facts, subject: str) -> int:
    """What open holds have reserved."""
    return sum(
        amount
        for hold in org.holds.values()
        if subject in _subjects(hold.member, hold.project)
        for _, amount in hold.parts
    )


def alerts(org: Facts, time: int) -> list[tuple[str, str, int, int]]:
    """Every alert there is: whose, per what, of which limit, at how many percent."""
    members = [f"member:{number}" for number in range(1, org.named + 1)]
    projects = {f"project:{each.project}" for each in org.charges.values() if each.project}
    return [
        (subject, grain, most, percent)
        for subject in ("org", *members, *sorted(projects))
        for grain in GRAINS
        for most, marks, _ in _limits(org, subject, grain, time)
        for percent in marks
    ]


def alert_of(org: Facts, before: list[tuple[str, str, int, int]], time: int) -> None:
    """Alerts that came with a change of limits, and whose mark has been passed."""
    for subject, grain, most, percent in alerts(org, time):
        start, _ = _window(org, grain, time)
        already = spent(org, subject, grain, start)
        new = (subject, grain, most, percent) not in before
        if new and already > 0 and already >= Fraction(most * percent, 100):
            org.tell(
                "budget", subject=subject, per=grain, start=start, limit=most,
                percent=percent, spent=already,
            )  # fmt: skip


def alert(org: Facts, charge: ChargeFact, time: int) -> None:
    """A charge that was just made is told of where it meets a limit's marks."""
    if org.limited is None:
        return
    for subject in _subjects(charge.member, charge.project):
        for grain in GRAINS:
            start, _ = _window(org, grain, charge.occurred)
            after = spent(org, subject, grain, start)
            for most, marks, _ in _limits(org, subject, grain, time):
                for percent in marks:
                    mark = Fraction(most * percent, 100)
                    if after - charge.amount < mark <= after:
                        org.tell(
                            "budget", subject=subject, per=grain, start=start, limit=most,
                            percent=percent, spent=after,
                        )  # fmt: skip
