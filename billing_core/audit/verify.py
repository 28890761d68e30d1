"""Prove an org's tables against its journal.

:func:`verify_org` runs an :class:`~billing_core.audit.auditor.Auditor` over the journal and
:func:`compare` holds what it led to against the tables, naming each difference.
What a rewrite of the whole tail, hashes included, would hide shows against a
:class:`~billing_core.audit.auditor.Checkpoint` kept elsewhere; an audit can also go on from one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import attrs
from attrs import define, frozen

from billing_core.audit.auditor import Auditor
from billing_core.audit.events import check_events, check_names
from billing_core.audit.runs import check_storage
from billing_core.audit.state import (
    SHARES,
    Checkpoint,
    Discrepancy,
    Ended,
    documents,
    share,
)
from billing_core.audit.topups import check_asked, of_journal
from billing_core.errors import BillingError, StoreError
from billing_core.ports.state import Wanted
from billing_core.ports.store import NEWS, PUBLISHED, Store
from billing_core.pricing.catalogue import Catalogue, Published
from billing_core.records.ledger import (
    Account,
    Charge,
    Entry,
    HoldRecord,
    LimitSet,
    Lot,
    Spend,
    Subscription,
)
from billing_core.records.runs import Run
from billing_core.records.storage import Size, Storage
from billing_core.records.topups import AutoTopUp, TopUp
from billing_core.records.usage import Cell, CellKey, Count, Counter, Item
from billing_core.values.times import DAY, billing_period

__all__ = ["Progress", "Verification", "check_marks", "compare", "read_documents", "verify_org"]

Progress = Callable[[str, int, int], object]
"""Called as ``progress(org, entries read, entries in all)``."""

_PAGE = 500  # entries
_EVER = 2**62  # beyond any time
_NAMED = 20  # rows of a table that are missing; how many more is told


@frozen
class Verification:
    """What an audit found (rule 6.9).

    Attributes:
        entries: How many entries of journals were read.
        orgs: How many orgs were verified.
        discrepancies: What is not as the journal says.
        checkpoints: By org, its state at the end, where nothing was wrong: keep it elsewhere.
    """

    entries: int
    orgs: int
    discrepancies: tuple[Discrepancy, ...]
    checkpoints: Mapping[str, Checkpoint]

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.discrepancies


@define
class Recorded:
    """An org's tables, as a store has them, for :func:`compare`."""

    account: Account | None
    lots: Iterable[Lot]
    holds: Iterable[HoldRecord]
    counters: Iterable[Counter]
    items: Iterable[Item]
    charges: Iterable[Charge]
    cells: Iterable[tuple[CellKey, Cell]]
    subscriptions: Iterable[Subscription]
    limits: Iterable[LimitSet]
    spends: Iterable[Spend]
    topups: Iterable[TopUp]
    auto: AutoTopUp | None
    runs: Iterable[Run]
    storages: Iterable[Storage]
    sizes: Iterable[Size]


def compare(audit: Auditor, recorded: Recorded) -> list[int]:
    """Hold what the journal led to against the tables, noting each difference.  In which
    shares of the ended holds there is one, is answered."""
    derived = audit.account
    if derived is None or recorded.account is None:
        if derived is not recorded.account:
            audit.note("account", "there is a journal or an account, but not both")
        if recorded.account is not None and not audit.followed:
            audit.note("entry 1", f"missing: the account has {recorded.account.seq} entries")
        return []
    if recorded.account.seq > derived.seq:
        what = f"missing: the account has {recorded.account.seq} entries"
        audit.note(f"entry {derived.seq + 1}", what)
    _compare_account(audit, derived, recorded.account)
    tables = audit.tables
    _compare(audit, "lot", tables.lots, ((each.lot, each) for each in recorded.lots))
    ended = Ended(shares=None if tables.ended.shares is None else [0] * SHARES)
    _compare(audit, "hold", tables.holds, _open_holds(recorded.holds, tables.holds, ended))
    if ended.used is None or tables.ended.used is None:
        ended.used = tables.ended.used  # of some it is not known, and nothing is made of it
    if ended != tables.ended:
        audit.note("ended holds", f"the {ended.holds} on record are not those of the journal")
    counters = (((each.resource, each.start), _lowest(each)) for each in recorded.counters)
    _compare(
        audit, "counter", {key: _lowest(tables.counters[key]) for key in tables.counters}, counters
    )
    items = (_placed(each, tables.items) for each in recorded.items)
    _compare(audit, "item", tables.items, items)
    _compare(audit, "charge", tables.charges, ((each.charge, each) for each in recorded.charges))
    _compare(audit, "rollup", tables.cells, recorded.cells)
    plans = ((each.seq, each) for each in recorded.subscriptions)
    _compare(audit, "subscription", tables.subscriptions, plans)
    limits = (((each.subject, each.per), each) for each in recorded.limits)
    _compare(audit, "limit", tables.limits, limits)
    spends = (((each.subject, each.grain, each.start), each) for each in recorded.spends)
    _compare(audit, "spend", audit.spends(), spends)
    _compare(audit, "run", tables.runs, ((each.run, each) for each in recorded.runs))
    storages = ((each.workspace, each) for each in recorded.storages)
    _compare(audit, "storage", tables.storages, storages)
    sizes = (((each.workspace, each.at), each) for each in recorded.sizes)
    _compare(audit, "size", tables.sizes, sizes)
    check_storage(audit)
    _compare(audit, "top-up", tables.topups, _topups(audit, recorded.topups))
    if tables.auto != recorded.auto:
        audit.note("automatic top-up", f"{recorded.auto}; the journal leads to {tables.auto}")
    total = sum(lot.remainder for lot in tables.lots.values()) - derived.debt
    if total != derived.balance:
        audit.note("account", f"lots less debt make {total}, the balance {derived.balance}")
    return tables.ended.differing(ended)


def _placed(item: Item, told: dict[tuple[str, str], Item]) -> tuple[tuple[str, str], Item]:
    """An item on record; where it does not say in which periods it was billed, as where that
    makes no difference, nothing is made of it."""
    key = (item.item, item.resource)
    known = told[key].components if key in told else {}
    recorded: Any = item.components  # which may be altered to anything
    if not isinstance(recorded, dict):
        return key, item
    components = {
        name: [*state, *known.get(name, ())[3:]] if _is_short(state) else state
        for name, state in recorded.items()
    }
    return key, Item(*key, components)


def _is_short(state: Any) -> bool:
    return isinstance(state, list) and len(state) == 3


def _lowest(counter: Counter) -> Counter:
    """A counter whose carried fractions are in lowest terms; one that is none stays as it is."""
    lowest: dict[str, Count] = {}
    for name, count in counter.components.items():
        try:
            carry, carry_of = Fraction(count.carry, count.carry_of).as_integer_ratio()
        except (TypeError, ValueError, ZeroDivisionError):
            lowest[name] = count  # and so it is found to differ
        else:
            lowest[name] = count._replace(carry=carry, carry_of=carry_of)
    return Counter(counter.resource, counter.start, lowest)


def _compare_account(audit: Auditor, derived: Account, recorded: Account) -> None:
    for name in _names(Account):
        there, told = getattr(recorded, name), getattr(derived, name)
        if name == "next_lapse":
            ends = [hold.expires_at for hold in audit.tables.holds.values() if hold.state == "open"]
            ends += [
                lot.expires_at
                for lot in audit.tables.lots.values()
                if lot.expires_at is not None and lot.remainder > lot.reserved
            ]
            if derived.plan is not None and not derived.paused:
                ends.append(billing_period(derived.anchor, derived.period).end)
            if ends and (there is None or there > min(ends)):
                audit.note("account", f"next_lapse {there}; something lapses at {min(ends)}")
        elif name == "summed":
            if not 0 <= there <= derived.seq:
                audit.note("account", f"summed {there}; the journal has {derived.seq} entries")
        elif there != told:
            shown = [each.hex() if isinstance(each, bytes) else each for each in (there, told)]
            audit.note("account", f"{name} {shown[0]}; the journal leads to {shown[1]}")


def _compare(
    audit: Auditor, kind: str, derived: Mapping[Any, Any], recorded: Iterable[tuple[Any, Any]]
) -> None:
    seen: set[Any] = set()
    with _readable(audit, kind) as all_read:
        for key, row in recorded:
            told = derived.get(key)
            if told is None:
                what = "on record, but the journal does not tell of it"
                audit.note(f"{kind} {_name(key)}", what)
                continue
            seen.add(key)
            if told != row:
                for name in _names(type(row)):
                    there, right = getattr(row, name), getattr(told, name)
                    if there != right:
                        what = f"{name} {there}; the journal leads to {right}"
                        audit.note(f"{kind} {_name(key)}", what)
        all_read.append(True)
    if not all_read:
        return
    missing = [key for key in derived if key not in seen]
    for key in missing[:_NAMED]:
        audit.note(f"{kind} {_name(key)}", "missing, but the journal tells of it")
    if len(missing) > _NAMED:
        more = len(missing) - _NAMED
        audit.note(f"{kind}s", f"{more} more that the journal tells of are missing")


@contextmanager
def _readable(audit: Auditor, kind: str) -> Iterator[list[bool]]:
    """A row altered beyond reading is a finding, and the other tables are read all the same."""
    try:
        yield []
    except StoreError as error:
        if error.retryable:
            raise
        audit.note(f"{kind}s", str(error))


def _topups(audit: Auditor, topups: Iterable[TopUp]) -> Iterator[tuple[str, TopUp]]:
    for topup in topups:
        check_asked(audit, topup)
        yield topup.topup, of_journal(topup)


def _open_holds(
    holds: Iterable[HoldRecord], told: Mapping[str, HoldRecord], ended: Ended
) -> Iterator[tuple[str, HoldRecord]]:
    for hold in holds:
        if hold.state == "open":
            if hold.used is None and hold.key in told:
                hold.used = told[hold.key].used  # made by a version that does not keep it
            yield hold.key, hold
        else:
            ended.add(hold)


def _names(record: Any) -> Iterable[str]:
    if attrs.has(record):
        return [attribute.name for attribute in attrs.fields(record)]
    fields: tuple[str, ...] = record._fields  # of a NamedTuple
    return fields


def _name(key: Any) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)


def verify_org(
    store: Store,
    org: str,
    catalogue: Catalogue,
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
    now: int = 0,
) -> Auditor:
    """The audit of one org, with all that was found; from a checkpoint on, if given."""
    audit = Auditor(org, catalogue)
    try:
        if checkpoint is not None:
            audit = Auditor.resume(checkpoint, catalogue)
            then = store.entries(org, after=checkpoint.seq - 1, limit=1)
            if not then or then[0].seq != checkpoint.seq or then[0].hash.hex() != checkpoint.head:
                audit.note(f"entry {checkpoint.seq}", "not the one that the checkpoint saw")
                return audit
            _check_documents(audit)
        _follow(audit, store, progress)
        _hold_against_tables(audit, store, now)
    except StoreError as error:
        if error.retryable:
            raise
        audit.note("store", str(error))  # an entry altered beyond reading is a finding
    return audit


def _check_documents(audit: Auditor) -> None:
    """What was published by a checkpoint is there, as it was."""
    then = audit.tables.published
    if then is not None and documents(audit.catalogue, then[0]) != then:
        audit.note("published", f"not the {then[0]} documents that the checkpoint saw")


def _follow(audit: Auditor, store: Store, progress: Progress | None) -> None:
    org = audit.org
    audit.subject = lambda number: _subject(store, org, number)
    total = 0
    after = 0 if audit.account is None else audit.account.seq
    while page := store.entries(org, after=after, limit=_PAGE):
        for entry in page:
            audit.follow(entry)
        if page[-1].seq <= after:
            audit.note(f"entry {after}", "stands in the journal more than once")
            break
        after = page[-1].seq
        if len(page) == _PAGE and not total and progress is not None:
            total = _entries_in_all(audit, store)
        if progress is not None:
            progress(org, after, max(total, after))
        if len(page) < _PAGE:
            break  # the last: of many small orgs each question more counts


def _entries_in_all(audit: Auditor, store: Store) -> int:
    account = None
    with _readable(audit, "row"):
        account = store.snapshot({audit.org: Wanted(until=0)})[audit.org].account
    return 0 if account is None else account.seq


def _hold_against_tables(audit: Auditor, store: Store, now: int) -> None:
    org, store = audit.org, store.ahead(audit.org)
    account = audit.account
    with _readable(audit, "row"):
        account = store.snapshot({org: Wanted(until=0)})[org].account
    recorded = Recorded(
        account=account,
        lots=store.lots(org),
        holds=store.holds(org),
        counters=store.counters(org),
        items=store.items(org),
        charges=store.charges(org),
        cells=(
            pair
            for grain in ("hour", "day", "period")
            for pair in store.cells(org, grain, -_EVER, _EVER).items()
        ),
        subscriptions=store.subscriptions(org),
        limits=store.limits(org),
        spends=store.spends(org),
        runs=store.runs(org),
        storages=store.storages(org),
        sizes=store.sizes(org),
        topups=store.topups(org),
        auto=_auto(audit, store),
    )
    differing = compare(audit, recorded)
    if differing:
        _name_ended(audit, store, differing[0])
    with _readable(audit, "row"):
        for where, what in store.misfiled(org):
            audit.note(where, what)
    if audit.account is not None:
        check_events(audit, store, now)
        check_names(audit, store)


def _auto(audit: Auditor, store: Store) -> AutoTopUp | None:
    found = None
    with _readable(audit, "automatic top-up"):
        found = store.auto_topup(audit.org)
    return found


def _name_ended(audit: Auditor, store: Store, which: int) -> None:
    """Name what is wrong in one share of the ended holds, by following the journal again."""
    again = Auditor(audit.org, audit.catalogue)
    kept = again.tables.ended = _Kept(which)
    _follow(again, store, None)
    there = (each for each in store.holds(audit.org) if share(each.key) == which)
    _compare(audit, "hold", kept.kept, _ended_holds(there, kept.kept))


def _ended_holds(
    holds: Iterable[HoldRecord], told: Mapping[str, HoldRecord]
) -> Iterator[tuple[str, HoldRecord]]:
    for hold in holds:
        if hold.state != "open":
            if hold.used is None and hold.key in told:
                hold.used = told[hold.key].used  # made by a version that does not keep it
            yield hold.key, hold


class _Kept(Ended):
    """Ended holds of which one share is kept whole."""

    def __init__(self, which: int) -> None:
        super().__init__()
        self.which = which
        self.kept: dict[str, HoldRecord] = {}

    def add(self, hold: HoldRecord) -> None:
        if share(hold.key) == self.which:
            self.kept[hold.key] = hold


def _subject(store: Store, org: str, number: int) -> Entry:
    page = store.entries(org, after=number - 1, limit=1)
    if not page or page[0].seq != number:
        raise KeyError(f"entry {number}")
    return page[0]


# -- what is published ------------------------------------------------------------


def check_marks(store: Store, now: int) -> list[Discrepancy]:
    """No news is read up to a time that is yet to come: until then none would be."""
    found: list[Discrepancy] = []
    for name in NEWS:
        value = store.mark(name)
        if value is not None and value > now + DAY:
            what = f"{value} is yet to come: no news is read until then"
            found.append(Discrepancy("", f"mark {name}", what))
    return found


def read_documents(store: Store) -> tuple[Catalogue, list[Discrepancy]]:
    """What was published, as far as it can be read, and what is wrong with it: a document that
    is not what its digest says, one that cannot be read, and those that are missing."""
    found: list[Discrepancy] = []
    good: list[Published] = []

    def note(where: str, what: str) -> None:
        found.append(Discrepancy("", where, what))

    number = 0
    for each in store.published():
        where = f"version {each.version}"
        for missing in range(number + 1, each.number):
            note(f"document {missing}", f"missing: number {each.number} follows {number}")
        number = each.number
        if not each.intact():
            note(where, "its digest does not match its content")
        try:
            document = each.document()
            Catalogue([each])
        except (ValueError, KeyError, TypeError, AttributeError, BillingError) as error:
            note(where, f"cannot be read: {type(error).__name__}: {error}")
            continue
        if document.version != each.version:
            note(where, f"on record under another name than its own, {document.version}")
        good.append(each)
    last = store.mark(PUBLISHED) or 0
    if last > number + _NAMED:
        note(f"mark {PUBLISHED}", f"{last}, but the last document on record has number {number}")
    for missing in range(number + 1, min(last, number + _NAMED) + 1):
        note(f"document {missing}", f"missing: the last one published had number {last}")
    return Catalogue(good), found
