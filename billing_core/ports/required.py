"""What is required of an org beside what commands name, by what a store has loaded so far: which
open holds, lots, stories, counters, items, plans, limits.

A store loads the account with what :class:`Wanted` names; then it asks here, in the order of this
module, what else an :class:`OrgState` needs, and fetches that.  How, is its own affair.
"""

from __future__ import annotations

from collections.abc import Iterator

from billing_core.ports.state import OrgState, Times, Wanted
from billing_core.records.ledger import Account, HoldRecord, subjects
from billing_core.records.runs import Run
from billing_core.records.storage import Storage
from billing_core.records.usage import UsageRecord
from billing_core.values.times import FOREVER, Window, starts

__all__ = [
    "EVERYBODY",
    "held_in",
    "holds_until",
    "knows_counter",
    "limited_subjects",
    "needs_only_named",
    "payers",
    "plans_from",
    "required_spans",
    "sizes",
    "stories",
    "tail",
    "to_be_summed",
    "windows",
]

TAIL = 32
"""Rollup cells are written once for so many entries.  Those that are not in them yet are the
org's tail."""

EVERYBODY = frozenset(("member:*", "project:*"))
"""Whose limits are those of each member and of each project."""


def needs_only_named(want: Wanted, account: Account) -> bool:
    """Whether what the commands name is enough, with the counters of their holds, as it is with
    most: nothing lapses, nothing is owed or was used before the present plan, and nothing is
    wanted of charges, all holds, sums, windows, families, runs, workspaces or top-ups."""
    return not (
        (account.next_lapse is not None and account.next_lapse <= want.until)
        or (account.plan_since and want.times and want.times[0] < account.plan_since)
        or account.debt
        or want.charges
        or want.all_holds
        or want.sums
        or want.windows
        or want.families
        or want.runs
        or want.storages
        or want.topups
        or want.auto
        or want.extended
    )


def holds_until(want: Wanted, account: Account) -> int | None:
    """Up to which expiry all open holds are required; None where those that are named suffice."""
    lapse = account.next_lapse
    if lapse is None:  # not one is open
        return None
    if want.all_holds:
        return FOREVER
    return want.until if lapse <= want.until else None


def stories(state: OrgState) -> set[int]:
    """Charges whose stories are required: those of the tabs of loaded runs and workspaces, but
    for what is loaded as a wanted charge's."""
    owners: list[Run | Storage] = [*state.runs.values(), *state.storages.values()]
    return {tab.charge for owner in owners for tab in owner.tabs} - state.charges.keys()


def payers(state: OrgState) -> set[int]:
    """The lots that paid the loaded charges, but for those in which something is left."""
    found: set[int] = set()
    for number, subject in state.subjects.items():
        found |= {transfer.from_lot for transfer in subject.transfers}
        if number in state.charges:
            found |= {lot for lot, _ in state.charges[number].payments}
    return found - state.lots.keys() - {0}


def required_spans(
    want: Wanted, state: OrgState
) -> tuple[dict[str, list[Times]], set[tuple[str, str]], Times | None]:
    """Which counters and items are required, and of which times the plans and spending:
    :attr:`OrgState.covered`, ``sought`` and ``times``."""
    covered: dict[str, list[Times]] = {}
    for resource, span in want.counters.items():
        covered[resource] = [span]
    if not (state.subjects or want.runs or want.storages):
        return covered, set(want.items), want.times
    sought, times = set(want.items), want.times
    for resource, item, span in _charged(want, state):
        covered.setdefault(resource, []).append(span)
        if item is not None:
            sought.add((item, resource))
        first, last = times or span
        times = min(first, span[0]), max(last, span[1])
    return covered, sought, times


def held_in(state: OrgState) -> set[tuple[str, int]]:
    """Resource and start of the counters in which the loaded holds are counted, but for those that
    are loaded."""
    found: set[tuple[str, int]] = set()
    for hold in state.holds.values():
        for start, _, _ in hold.counted:
            key = hold.resource or "", start
            if key not in state.counters:
                found.add(key)
    return found


def sizes(want: Wanted, state: OrgState) -> list[tuple[str, int, int]]:
    """Of which wanted workspaces, and for which span of time, the sizes are required."""
    return [(name, *_stored(state, name, span)) for name, span in want.storages.items()]


def plans_from(account: Account, dated: Times | None) -> int | None:
    """From which time on the org's subscriptions are required; None where there were no others
    than the one that the account has."""
    return None if dated is None or dated[0] >= account.plan_since else dated[0]


def limited_subjects(want: Wanted, state: OrgState) -> set[str]:
    """Whose limits, besides :data:`EACH`, are required where the org has any, and what they have
    spent and held."""
    found = {"org"} | {f"member:{number}" for number in state.members.values()}
    found |= {f"project:{name}" for name in want.projects}
    owners: list[HoldRecord | Run | UsageRecord] = [*state.holds.values(), *state.runs.values()]
    for owner in [*owners, *_used(state)]:
        found.update(subjects(owner.member, owner.project))
    return found


def windows(anchor: int, dated: Times | None) -> dict[str, Window]:
    """By grain, the earliest and latest start of what counts towards limits at these times."""
    found = {"held": Window(0, 0)}
    if dated is not None:
        for grain in ("day", "period"):
            found[grain] = starts(anchor, grain, *dated)
    return found


def tail(want: Wanted, account: Account) -> bool:
    """Whether :attr:`OrgState.tail` is required: where sums are wanted, or these commands may
    bring the tail to :data:`TAIL` entries."""
    if want.sums:
        return True
    return account.seq + len(want.keys) - account.summed >= TAIL


def to_be_summed(account: Account) -> bool:
    """Whether the tail has :data:`TAIL` entries, which then go into the cells."""
    return account.seq - account.summed >= TAIL


def knows_counter(state: OrgState, resource: str, period: Window) -> bool:
    """Whether the counter of a period would be loaded, if there were one."""
    spans = state.covered.get(resource, ())
    return any(first < period.end and period.start <= last for first, last in spans)


def _used(state: OrgState) -> list[UsageRecord]:
    """The usage of the wanted charges."""
    return [each.usage for each in state.subjects.values() if each.usage is not None]


def _charged(want: Wanted, state: OrgState) -> Iterator[tuple[str, str | None, Times]]:
    """``(resource, item, span)`` of what a wanted charge, run or workspace is charged for.  Of a
    run, the time from where it is posted to, to the last that is asked about, charged, or its end;
    of an open one as far as it may be funded."""
    for used in _used(state):
        yield used.resource, used.item, (used.occurred_at, used.occurred_at)
    for name, (first, last) in want.runs.items():
        run = state.runs.get(name)
        if run is not None:
            begin = min(max(first, run.started_at), run.settled_to)
            ends = [last, run.settled_to, run.ended_at or 0, *(tab.last for tab in run.tabs)]
            if run.open:
                ends.append(max(run.until, max(last, run.settled_to) + run.ahead))
            yield run.resource, run.item, (begin, max(ends))
    for name, asked in want.storages.items():
        yield f"storage:{name}", f"storage:{name}", _stored(state, name, asked)


def _stored(state: OrgState, name: str, asked: Times) -> Times:
    """A workspace's time that is asked about, and from there to where it is billed to."""
    known = state.storages.get(name)
    if known is None:
        return asked
    return min(asked[0], known.billed_to), max(asked[1], known.billed_to)
