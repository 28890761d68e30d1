"""What an org, its members and its projects may spend, and how much they may use.

An org with a plan or a limit has its spending added up, by UTC day and billing period of
the usage: charges less reversals.  Open holds count in every window.  Limits bind checks,
holds and deducts; the charges of settlements are counted and never refused (rule 8.7).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from billing_core.ledger.inputs import NeedMore, of_each
from billing_core.ledger.ledger import Ledger
from billing_core.pricing.plan import Quota
from billing_core.records.ledger import Account, Entry, HoldRecord, LimitName, Spend, subjects
from billing_core.records.usage import HeldQuantity
from billing_core.values.patterns import fits
from billing_core.values.times import DAY, Window

__all__ = [
    "BindingLimit",
    "Use",
    "binding_limit",
    "count_spending",
    "had_begun",
    "had_counted",
    "hold_spending",
    "limit_from",
    "marks",
    "quota_left",
    "quotas",
    "room",
    "tell_passed",
]

_GRAINS = ("day", "period")
_NAMES: dict[str, LimitName] = {
    "org": "org_limit", "member": "member_limit", "project": "project_limit",
}  # fmt: skip


class Use(NamedTuple):
    """What is about to be charged or held: whose it is, when, and how much of what.
    ``time``: the time of
    decision.  ``billed``: the platform's part of the quantities, by component.  ``until``: where
    it is held for a time, to when that is.  ``counted``: what its hold has announced already."""

    member: int
    project: str | None
    resource: str | None
    at: int
    time: int
    billed: Iterable[tuple[str, int]] = ()
    until: int | None = None
    counted: Sequence[HeldQuantity] = ()


class BindingLimit(NamedTuple):
    """What bound; ``shortfall`` in nanos; ``until``: when its window ends, if it has one."""

    limit: LimitName
    shortfall: int
    until: int | None = None


def binding_limit(
    ledger: Ledger, use: Use, amount: int, *, replaced: int = 0
) -> BindingLimit | None:
    """What forbids to charge or hold an amount for a use: a limit, the plan's quota, or the
    balance.  ``replaced``: what a hold has already, but must get from other lots.  What
    costs nothing passes no limit."""
    account = ledger.account
    found = None
    if amount and account.limited_since is not None:
        found = _limit(ledger, use, amount)
    if found is None and account.plan is not None:
        found = _quota(ledger, use)
    if found is None:
        available = ledger.available(use.resource, use.at)
        if amount + replaced > max(0, available):
            found = BindingLimit("balance", amount + replaced - available)
    return found


def room(ledger: Ledger, use: Use) -> BindingLimit | None:
    """How much more may be charged or held for a use before a limit binds: a negative
    ``shortfall`` is what is left; None: no limit."""
    return _limit(ledger, use, 0, always=True)


def limit_from(ledger: Ledger, time: int) -> None:
    """From now on the org's spending is added up.  All open holds are loaded."""
    account = ledger.account
    if account.limited_since is None:
        # Later than all that is on record, be it of this batch or by a clock ahead of ours:
        # so no time is both one of before and one of since.
        since = max(time, account.recorded_at, ledger.terms.now) + 1
        account.limited_since = account.recorded_at = since
        for hold in ledger.state.holds.values():
            hold_spending(ledger, hold, hold.reserved)


def _window(ledger: Ledger, grain: str, at: int) -> Window:
    if grain == "day":
        return Window(at - at % DAY, at - at % DAY + DAY)
    return ledger.period(at)


def _spend(ledger: Ledger, subject: str, grain: str, start: int) -> Spend:
    """What is added up; a new row is kept once it is touched.  Raises NeedMore."""
    spend = ledger.state.spends.get((subject, grain, start))
    if spend is None:
        if grain != "held":
            ledger.check_window(_window(ledger, grain, start), grain)
        spend = Spend(subject, grain, start, 0)
        if grain != "held" and had_begun(ledger.account, start):
            spend.amount = _before(ledger, subject, grain, start)
    return spend


def had_begun(account: Account, start: int) -> bool:
    """Whether a window may have had charges before spending was added up: they may be
    dated ahead, by a day at most.  At that very time too, where the first limit was recorded by
    a version that made it no later than all before it."""
    since = account.limited_since
    return since is not None and start <= since + DAY


def had_counted(account: Account, charge: Entry) -> bool:
    """Whether a charge was made since spending is added up: the reversal of an earlier one
    takes nothing from what a project, of which no earlier spending is known, has spent.
    Neither time goes back within an org, and the first limit's entry is recorded later than
    all before it."""
    since = account.limited_since
    return since is not None and max(charge.at, charge.recorded_at) >= since


def _before(ledger: Ledger, subject: str, grain: str, start: int) -> int:
    """What a window that had begun before anything was added up has by its rollup cells.
    They do not know projects: what these had spent before is not counted."""
    who, _, number = subject.partition(":")
    if who == "project":
        return 0
    key = (int(number) if who == "member" else None, grain, start)
    amount = 0 if ledger.new else ledger.state.sums.get(key)
    if amount is None:
        raise NeedMore(ledger.org, frozenset([key]))
    # The latest charges, and this batch's own, are not in the cells yet.
    return amount + ledger.rollup().amount(*key)


def _keep(ledger: Ledger, spend: Spend, more: int) -> None:
    spend.amount += more
    key = (spend.subject, spend.grain, spend.start)
    ledger.state.spends[key] = ledger.changes.spends[key] = spend


def count_spending(
    ledger: Ledger, member: int, project: str | None, occurred: int, amount: int, time: int
) -> None:
    """A charge, or less of one, adds to its day and its billing period; ``time``: of decision."""
    if ledger.account.limited_since is None or not amount:
        return
    for subject in subjects(member, project):
        for grain in _GRAINS:
            start = _window(ledger, grain, occurred).start
            spend = _spend(ledger, subject, grain, start)
            _alert(ledger, subject, spend, amount, time)
            _keep(ledger, spend, amount)


def _alert(ledger: Ledger, subject: str, spend: Spend, more: int, time: int) -> None:
    for amount, percent in _marks(ledger, subject, spend.grain, time):
        if spend.amount * 100 < amount * percent <= (spend.amount + more) * 100:
            _tell(ledger, spend, spend.amount + more, amount, percent)


def _tell(ledger: Ledger, spend: Spend, spent: int, limit: int, percent: int) -> None:
    data = {
        "subject": spend.subject,
        "per": spend.grain,
        "start": spend.start,
        "limit": limit,
        "percent": percent,
        "spent": spent,
    }
    ledger.untold.append(("budget", data))


def _marks(ledger: Ledger, subject: str, grain: str, at: int) -> list[tuple[int, int]]:
    """``(limit, percent)`` of each alert of a subject, by the plan as it is, or was, at a time."""
    limits = _limits(ledger, subject, grain, at)
    return [(limit.amount, percent) for limit in limits for percent in limit.alerts]


Marks = dict[tuple[str, str], list[tuple[int, int]]]
"""Subject and grain → the ``(limit, percent)`` of its alerts."""


def marks(
    ledger: Ledger, whose: Iterable[tuple[str, str]], time: int, at: int | None = None
) -> Marks:
    """The alerts of subjects and grains, ``member:*`` and ``project:*`` for each of them,
    before limits change at the ``time`` of decision, or as they were ``at`` an earlier one: see
    :func:`tell_passed`."""
    at = time if at is None else at
    return {
        (subject, grain): _marks(ledger, subject, grain, at)
        for name, grain in whose
        for subject in _each(ledger, name, grain, time)
    }


def tell_passed(ledger: Ledger, before: Marks, time: int) -> None:
    """Limits have changed: alerts that are new, and whose mark has been passed already, are
    told now, for no charge will."""
    new = [
        (subject, grain, *each)
        for (subject, grain), known in before.items()
        for each in _marks(ledger, subject, grain, time)
        if each not in known
    ]
    _load_spent(ledger, {(subject, grain) for subject, grain, _, _ in new}, time)
    for subject, grain, amount, percent in new:
        spend = _spend(ledger, subject, grain, _window(ledger, grain, time).start)
        if spend.amount > 0 and spend.amount * 100 >= amount * percent:
            _tell(ledger, spend, spend.amount, amount, percent)


def _each(ledger: Ledger, name: str, grain: str, time: int) -> list[str]:
    """The subjects that a name stands for.  A project that has spent nothing is none."""
    who, _, which = name.partition(":")
    if which != "*":
        return [name]
    _load_windows(ledger, {grain}, time)
    if who == "member":
        return [f"member:{number}" for number in range(1, ledger.account.members + 1)]
    start = _window(ledger, grain, time).start
    return sorted(
        subject
        for subject, per, begin in ledger.state.spends
        if (per, begin) == (grain, start) and subject.startswith("project:")
    )


def _load_windows(ledger: Ledger, grains: Iterable[str], time: int) -> None:
    windows = frozenset((grain, _window(ledger, grain, time).start) for grain in grains)
    if not ledger.new and not windows <= ledger.state.windows:
        raise NeedMore(ledger.org, windows=windows)


def _load_spent(ledger: Ledger, whose: Iterable[tuple[str, str]], time: int) -> None:
    """What subjects have spent in the windows of a time, all of it in one go."""
    _load_windows(ledger, {grain for _, grain in whose}, time)
    missing: set[tuple[int | None, str, int]] = set()
    for subject, grain in whose:
        start = _window(ledger, grain, time).start
        who, _, number = subject.partition(":")
        known = (subject, grain, start) in ledger.state.spends or who == "project"
        key = (int(number) if who == "member" else None, grain, start)
        if (
            not known
            and not ledger.new
            and had_begun(ledger.account, start)
            and key not in ledger.state.sums
        ):
            missing.add(key)
    if missing:
        raise NeedMore(ledger.org, frozenset(missing))


def hold_spending(ledger: Ledger, hold: HoldRecord, amount: int) -> None:
    """An open hold reserves more (or, negative, less)."""
    if ledger.account.limited_since is None or not amount:
        return
    for subject in subjects(hold.member, hold.project):
        _keep(ledger, _spend(ledger, subject, "held", 0), amount)


class _LimitInForce(NamedTuple):
    amount: int
    alerts: tuple[int, ...]
    blocks: bool


def _limits(ledger: Ledger, subject: str, grain: str, at: int) -> Iterator[_LimitInForce]:
    """The limits of a subject: the org's own, else that for each, and the plan's."""
    who = subject.partition(":")[0]
    own = _set(ledger, subject, grain)
    if own is None and who != "org":
        own = _set(ledger, f"{who}:*", grain)
    if own is not None:
        yield own
    plan = None if ledger.account.plan is None else ledger.plan(at)
    for limit in () if plan is None else plan.limits:
        if (limit.whose, limit.per) == (who, grain):
            yield _LimitInForce(limit.amount.nanos, limit.alerts, limit.blocks)


def _set(ledger: Ledger, subject: str, grain: str) -> _LimitInForce | None:
    found = ledger.state.limits.get((subject, grain))
    if found is None or found.amount is None:
        return None
    return _LimitInForce(found.amount, found.alerts, found.blocks)


def _limit(ledger: Ledger, use: Use, amount: int, *, always: bool = False) -> BindingLimit | None:
    """The first limit that an amount would exceed; ``always``: the closest one, anyhow."""
    found: BindingLimit | None = None
    if ledger.account.limited_since is None:
        return None
    for subject in subjects(use.member, use.project):
        for grain in _GRAINS:
            limits = _limits(ledger, subject, grain, use.time)
            blocking = [each for each in limits if each.blocks]
            if not blocking:
                continue
            held = _spend(ledger, subject, "held", 0).amount
            for window, spent in _spent(ledger, subject, grain, _reached(ledger, use, grain)):
                over = spent + held + amount - min(each.amount for each in blocking)
                if over > 0 or always:
                    one = BindingLimit(_NAMES[subject.partition(":")[0]], over, window.end)
                    if not always:
                        return one
                    if found is None or over > found.shortfall:
                        found = one
    return found


def _spent(
    ledger: Ledger, subject: str, grain: str, windows: Iterable[Window]
) -> list[tuple[Window, int]]:
    """What was spent in each window."""

    def spent(window: Window) -> tuple[Window, int]:
        return window, _spend(ledger, subject, grain, window.start).amount

    return of_each(spent, windows)


def _reached(ledger: Ledger, use: Use, grain: str) -> Iterator[Window]:
    """The windows that a use may fall in, as far as anything may be on record in them: what is
    used is dated a day ahead at most."""
    window = _window(ledger, grain, use.at)
    yield window
    until = 0 if use.until is None else use.until
    latest = max(use.at, ledger.terms.now, ledger.account.recorded_at)
    while window.end < min(until, latest + DAY):
        window = _window(ledger, grain, window.end)
        yield window


def _quota(ledger: Ledger, use: Use) -> BindingLimit | None:
    if use.resource is None:
        return None
    resource = use.resource

    def over(period: Window) -> BindingLimit | None:
        counted = {
            held.component: held.quantity for held in use.counted if held.period == period.start
        }
        more = {name: quantity - counted.get(name, 0) for name, quantity in use.billed}
        wished = {name: quantity for name, quantity in more.items() if quantity > 0}
        left = quota_left(ledger, resource, wished, period.start, use.time)
        if any(wished[name] > most for name, most in left.items()):
            return BindingLimit("quota", 0, period.end)
        return None

    bounds = of_each(over, ledger.periods(use.at, use.until))
    return next((each for each in bounds if each is not None), None)


def quotas(ledger: Ledger, resource: str, time: int) -> list[Quota]:
    """The quotas of the plan in force at a time that a resource counts in."""
    plan = None if ledger.account.plan is None else ledger.plan(time)
    if plan is None:
        return []
    return [each for each in plan.quotas if fits(each.resource, resource)]


def quota_left(
    ledger: Ledger, resource: str, components: Collection[str], start: int, time: int
) -> dict[str, int]:
    """How much more of these components of a resource the quotas of a time allow in the billing
    period that starts at ``start``, beside what is used and held; a component without one is
    left out.

    A quota of a pattern is for all that it names together.
    """
    left: dict[str, int] = {}
    for quota in quotas(ledger, resource, time):
        name = quota.component
        if name not in components:
            continue
        used = 0
        for counter in ledger.family(quota.resource, start):
            count = counter.of(name)
            used += count.quantity + count.held
        left[name] = min(quota.quantity - used, left.get(name, quota.quantity))
    return left
