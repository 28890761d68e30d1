"""The audit of runs and storage: what their entries say, held against its own arithmetic.

A run's posted time must be its running time, a workspace's byte-microseconds the integral of
its sizes, and what is given back of a tab never more than what it was charged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from billing_core.records.ledger import Charge, Draw, Entry, HoldRecord
from billing_core.records.runs import Day, Run, Tab
from billing_core.records.storage import Size, Storage
from billing_core.values.times import DAY, FOREVER, billing_period

if TYPE_CHECKING:
    from billing_core.audit.state import Audit

__all__ = ["FOLLOW_TIME", "check_storage", "priced_late", "stored"]

_OWN = ("running", "forgiven")
_STATES = ("active", "suspended", "pending", "settled", "forgiven")
_LEADS = {
    "start": {("", "active")},
    "heartbeat": {(each, each) for each in _STATES},
    "suspend": {("active", "suspended"), *((each, each) for each in _STATES)},
    "resume": {("suspended", "active")},
    "stop": {
        *((begun, end) for begun in ("active", "suspended") for end in ("pending", "settled")),
        *((each, each) for each in ("pending", "settled", "forgiven")),
    },
    "settle_run": {("pending", "settled")},
    "sweep": {("active", "settled"), ("suspended", "settled")},
    "forgive": {("pending", "forgiven"), ("settled", "forgiven"), ("settled", "settled")},
    "undo": {("settled", "settled"), ("forgiven", "settled")},
}


def _owner(audit: Audit, content: Any) -> Run | Storage:
    if "run" in content:
        return audit.tables.runs[content["run"]]
    return audit.tables.storages[content["workspace"]]


def _tab(audit: Audit, owner: Run | Storage, entry: Entry, story: int) -> Tab:
    assert audit.account is not None and entry.usage is not None
    occurred = entry.usage.occurred_at
    period = billing_period(audit.account.anchor, occurred).start
    for tab in owner.tabs:
        if tab.period == period:
            if tab.charge != story:
                audit.note(f"entry {entry.seq}", f"story {story}; its period's is {tab.charge}")
            return tab
    by_day = json.loads(entry.effects).get("by_day", False)
    tab = Tab(period, story, occurred, days=[] if by_day else None)
    owner.tabs.append(tab)
    latest = {each.period for each in sorted(owner.tabs, key=lambda one: one.period)[-2:]}
    for each in owner.tabs:
        if each.period not in latest:
            each.days = None
    return tab


def _of_day(audit: Audit, tab: Tab, entry: Entry, effects: Any) -> Day | None:
    """What of a tab is of the day that an entry is of."""
    assert audit.account is not None and entry.usage is not None
    if tab.days is None:
        return None
    occurred = entry.usage.occurred_at
    limited = audit.account.limited_since is not None
    found = [each for each in tab.days if each.last // DAY == occurred // DAY]
    day = found[0] if found else Day(occurred, 0, 0, limited)
    if not found:
        tab.days = sorted([*tab.days, day], key=lambda each: each.last)
    day.last = max(day.last, occurred)
    uncounted = limited and entry.usage.project is not None and not day.counted
    if entry.op == "back" and bool(effects.get("uncounted")) != uncounted:
        audit.note(f"entry {entry.seq}", f"counts for its project: {not uncounted} is right")
    return day


def _piece(audit: Audit, entry: Entry, content: Any, effects: Any) -> None:
    owner = _owner(audit, content)
    _check_key(audit, entry, owner)
    tab = _count(audit, entry, owner, effects)
    assert entry.usage is not None
    if any(line.component != "forgiven" for line in entry.usage.lines):  # else charged again
        tab.last = max(tab.last, entry.usage.occurred_at)
    _charged(audit, entry, owner, tab)
    audit.posted += entry.amount


def priced_late(audit: Audit, entry: Entry, content: Any, effects: Any) -> None:
    """What a piece without a price was priced at later belongs to what its owner was charged."""
    subject = audit.subject(content["charge"])
    if subject.op != "piece":
        audit.note(f"entry {entry.seq}", f"charge {subject.seq} is no part of a run or storage")
        return
    owner = _owner(audit, json.loads(subject.content))
    tab = _count(audit, entry, owner, effects)
    _set_off(audit, entry, subject, owner, tab)
    _charged(audit, entry, owner, tab)
    if isinstance(owner, Run) and owner.state == "forgiven" and entry.amount:
        audit.note(f"entry {entry.seq}", f"run {owner.run} is forgiven: {entry.amount} is charged")


def _set_off(audit: Audit, entry: Entry, subject: Entry, owner: Run | Storage, tab: Tab) -> None:
    """What is priced later is what had no price, less what corrections took of it before."""
    assert entry.usage is not None and subject.usage is not None and audit.account is not None
    where, currency = f"entry {entry.seq}", audit.account.currency
    item = audit.tables.items.get((owner.item, owner.resource))
    expected: dict[str, int] = {}
    for had in subject.usage.lines:
        if had.version is not None:
            continue
        name, priced = had.component, [x for x in entry.usage.lines if x.component == had.component]
        if not priced:
            audit.note(where, f"{name} is not priced")
            continue
        taken = -sum(less for version, less in tab.late.get(name, []) if version == "")
        less = min(taken, had.quantity)
        if less:
            expected[name] = less
        _later(tab, name, "", less)
        _later(tab, name, str(priced[0].version), had.quantity - less)
        raw, billed, first = item.components[name][:3] if item is not None else (0, 0, "")
        by = audit.catalogue.priced_by(str(first), currency, owner.resource, name)
        more = sum(line.billed for line in priced)
        if by is not None and int(billed) != max(int(billed) - more, by.price.billed(int(raw))):
            audit.note(where, f"{name} bills {more} for {had.quantity - less}")
    if json.loads(entry.effects).get("less", {}) != expected:
        audit.note(where, f"corrections took {expected} of what it prices")


def _later(tab: Tab, component: str, version: str, more: int) -> None:
    parts = dict(tab.late.get(component, ()))
    parts[version] = parts.get(version, 0) + more
    if any(parts.values()):
        tab.late[component] = [part for part in parts.items() if part[1]]
    else:
        tab.late.pop(component, None)


def _corrected(audit: Audit, entry: Entry, tab: Tab, effects: Any) -> None:
    """A correction of what had no price goes by its later price, as far as it has one."""
    assert entry.usage is not None
    for name in effects.get("late", ()):
        for line in entry.usage.lines:
            if line.component == name and line.quantity:
                _later(tab, name, line.version or "", line.quantity)
        parts = tab.late.get(name, [])
        if any((quantity < 0) != (not version) for version, quantity in parts) or (
            len(parts) > 1 and "" in dict(parts)
        ):
            audit.note(f"entry {entry.seq}", f"{name} is corrected to {parts}, not by its price")


def _charged(audit: Audit, entry: Entry, owner: Run | Storage, tab: Tab) -> None:
    story = audit.tables.charges.get(tab.charge)
    if story is None:
        story = Charge(tab.charge, owner.resource, 0, 0, 0, [], tab.period)
        audit.tables.charges[tab.charge] = story
    if any(each.kind == "capture" for each in entry.transfers):
        audit.capture(audit.tables.holds[owner.item], entry, False)
    story.amount += entry.amount - story.reversed
    story.reversed = 0
    for transfer in entry.transfers:
        if transfer.kind == "debt":
            story.unpaid += transfer.amount
        elif transfer.kind in ("capture", "charge"):
            lot, amount = transfer.from_lot, transfer.amount
            if story.payments and story.payments[-1].lot == lot:
                amount += story.payments.pop().amount
            story.payments.append(Draw(lot, amount))
    _check_tab(audit, entry, tab, story)


def _back(audit: Audit, entry: Entry, content: Any, effects: Any) -> None:
    owner = _owner(audit, content)
    _check_key(audit, entry, owner)
    tab = _count(audit, entry, owner, effects)
    _corrected(audit, entry, tab, effects)
    story = audit.tables.charges[tab.charge]
    story.reversed += entry.amount
    for transfer in entry.transfers:
        if transfer.kind == "refill":
            lot, paid = story.payments.pop()
            if lot != transfer.into_lot:
                audit.note(f"entry {entry.seq}", f"refills {transfer.credit}, which paid earlier")
            if paid != transfer.amount:
                story.payments.append(Draw(lot, paid - transfer.amount))
    audit.posted -= entry.amount
    _check_tab(audit, entry, tab, story)


def _check_key(audit: Audit, entry: Entry, owner: Run | Storage) -> None:
    owner.pieces += 1
    if entry.key != f"{entry.op}:{owner.item}:{owner.pieces}":
        audit.note(f"entry {entry.seq}", f"{entry.key} out of order")


def _count(audit: Audit, entry: Entry, owner: Run | Storage, effects: Any) -> Tab:
    """What an entry's lines add to a tab."""
    assert entry.usage is not None
    tab = _tab(audit, owner, entry, effects["story"])
    day = _of_day(audit, tab, entry, effects)
    parts = (tab,) if day is None else (tab, day)
    for line in entry.usage.lines:
        if line.component == "running":
            tab.us += line.quantity
        elif line.component == "forgiven":
            tab.forgiven_us += line.quantity
            for part in parts:
                part.forgiven -= line.amount
        else:
            for part in parts:
                part.amount += line.amount
            if isinstance(owner, Storage):
                name = owner.workspace
                audit.stored[name] = audit.stored.get(name, 0) + line.quantity
    return tab


def _check_tab(audit: Audit, entry: Entry, tab: Tab, story: Charge) -> None:
    where = f"entry {entry.seq}"
    if story.amount - story.reversed != tab.amount - tab.forgiven:
        audit.note(where, f"charges {tab.amount}, forgiven {tab.forgiven}: not what its story has")
    if not 0 <= tab.forgiven <= tab.amount or not 0 <= tab.forgiven_us <= tab.us:
        audit.note(where, f"{tab.forgiven} of {tab.amount} nanos are forgiven")
    for day in tab.days or ():
        if not 0 <= day.forgiven <= day.amount:
            told = f"{day.forgiven} of {day.amount} nanos of the day of {day.last} are forgiven"
            audit.note(where, told)


# -- runs -----------------------------------------------------------------------


def _start(audit: Audit, entry: Entry, content: Any, effects: Any) -> None:
    state, _, settled_to, until, bound_by = effects["stands"]
    resource, parts, _, *facts = content["spec"]
    name, seen = effects["run"], effects["seen_at"]
    run = Run(
        name, resource, tuple(tuple(each) for each in parts), content.get("member") or 0,
        content.get("project"), content.get("reference"), content["ahead"], state, seen, seen,
        settled_to, until, bound_by, warned=effects.get("warned", 0),
        facts=tuple(facts[0].items()) if facts else (),
    )  # fmt: skip
    audit.tables.runs[name] = run
    audit.tables.holds[run.item] = HoldRecord(
        run.item, resource, FOREVER, "open", [], [], run.member, run.project
    )
    _held(audit, run, effects)
    _check_run(audit, entry, run, "", effects)


def _run(audit: Audit, entry: Entry, content: Any, effects: Any) -> None:
    run = audit.tables.runs[effects["run"]]
    before, until = run.state, run.until
    run.state, _, run.settled_to, run.until, run.bound_by = effects["stands"]
    for name in ("seen_at", "ended_at", "swept", "warned", "suspensions"):
        if name in effects:
            setattr(run, name, effects[name])
    if run.until < until:
        audit.note(f"entry {entry.seq}", f"run {run.run} was funded until {until}")
    _held(audit, run, effects)
    _check_run(audit, entry, run, before, effects)


def _held(audit: Audit, run: Run, effects: Any) -> None:
    hold = audit.tables.holds.get(run.item)
    if hold is None:
        return
    if effects.get("ended"):
        audit.end(hold, "settled")
    elif "parts" in effects:
        audit.reserve(hold, effects["parts"])
        audit.announce(hold, effects.get("counted", []))


def _check_run(audit: Audit, entry: Entry, run: Run, before: str, effects: Any) -> None:
    where = f"entry {entry.seq}"
    if (before, run.state) not in _LEADS[entry.op]:
        audit.note(where, f"{entry.op} leads run {run.run} from {before} to {run.state}")
    charged = effects["stands"][1]
    if charged != audit.posted or (entry.op != "start" and entry.amount != abs(charged)):
        audit.note(where, f"charges {charged}; its pieces add up to {audit.posted}")
    audit.posted = 0
    posted, ran = sum(tab.us for tab in run.tabs), _ran(run)
    if posted != ran:
        audit.note(where, f"run {run.run} ran {ran} us; {posted} us of it are posted")


def _ran(run: Run) -> int:
    """Running time up to where it is settled, microsecond by microsecond of no span twice."""
    edges = {run.started_at, run.settled_to}
    spans = [(begin or 0, FOREVER if end is None else end) for begin, end in run.suspensions]
    for span in spans:
        edges.update(at for at in span if run.started_at < at < run.settled_to)
    marks = sorted(edges)
    return sum(
        end - begin
        for begin, end in pairwise(marks)
        if not any(first <= begin < last for first, last in spans)
    )


# -- storage --------------------------------------------------------------------


def _size(audit: Audit, entry: Entry, content: Any, effects: Any) -> None:
    name, at, size = effects["workspace"], effects["at"], content["size"]
    audit.tables.sizes[name, at] = Size(name, at, size)
    storage = audit.tables.storages.get(name)
    if storage is None:
        audit.tables.storages[name] = storage = Storage(name, at, at, size)
        storage.facts = tuple(content.get("facts", {}).items())
    if at >= storage.sized_at:
        storage.sized_at, storage.size = at, size
    _check_storage(audit, entry, storage, effects)


def _bill(audit: Audit, entry: Entry, content: Any, effects: Any) -> None:
    storage = audit.tables.storages[effects["workspace"]]
    storage.billed_to = max(storage.billed_to, effects["at"])
    _check_storage(audit, entry, storage, effects)


def _check_storage(audit: Audit, entry: Entry, storage: Storage, effects: Any) -> None:
    where = f"entry {entry.seq}"
    charged, size, billed_to = effects["stands"]
    if charged != audit.posted or entry.amount != abs(charged):
        audit.note(where, f"charges {charged}; its pieces add up to {audit.posted}")
    audit.posted = 0
    if (size, billed_to) != (storage.size, storage.billed_to):
        audit.note(where, f"{storage.workspace} has {storage.size} bytes, to {storage.billed_to}")


def stored(
    sizes: Mapping[tuple[str, int], Size], storages: Mapping[str, Storage]
) -> dict[str, int]:
    """The integral of each workspace's sizes, up to where it is billed."""
    steps: dict[str, list[tuple[int, int]]] = {}
    for (name, at), each in sorted(sizes.items()):
        steps.setdefault(name, []).append((at, each.size))
    totals: dict[str, int] = {}
    for name, storage in storages.items():
        total, found = 0, steps.get(name, [])
        for index, (at, size) in enumerate(found):
            end = found[index + 1][0] if index + 1 < len(found) else storage.billed_to
            total += size * max(0, min(end, storage.billed_to) - at)
        totals[name] = total
    return totals


def check_storage(audit: Audit) -> None:
    """What was posted of each workspace is the integral of its sizes."""
    for name, total in stored(audit.tables.sizes, audit.tables.storages).items():
        posted = audit.stored.get(name, 0)
        if total != posted:
            audit.note(f"storage {name}", f"{total} byte-us; {posted} of them are posted")


FOLLOW_TIME: Mapping[str, Callable[[Audit, Entry, Any, Any], None]] = {
    "piece": _piece,
    "back": _back,
    "start": _start,
    **dict.fromkeys(
        ("heartbeat", "suspend", "resume", "stop", "settle_run", "sweep", "forgive", "undo"), _run
    ),
    "size": _size,
    "storage": _bill,
}
