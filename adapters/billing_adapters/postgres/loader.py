"""What :class:`billing_core.ports.state.OrgState` promises, in one exchange with the server; in
two or three where something lapses, is owed, limited, or a charge is reversed or priced."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from attrs import define, field

from billing_adapters.columns import usage
from billing_adapters.postgres import codecs
from billing_adapters.postgres.codecs import maybe, string, whole
from billing_adapters.postgres.lookups import Lookup, Lookups
from billing_adapters.postgres.statements import Value, joined, text
from billing_adapters.postgres.wire import Query, Row
from billing_core.ports import required
from billing_core.ports.state import LOOK_BACK, Loaded, OrgState, Wanted
from billing_core.records.usage import Counter
from billing_core.values.patterns import END
from billing_core.values.times import Window

__all__ = ["Found", "Hint", "Loader"]

Send = Callable[[Sequence[Query]], list[list[Row]]]


@define
class Found:
    """One org's state, with what a memory of it needs beside.

    ``erased``: how many members' names were.  ``counters``: all from the one in force at
    the earliest time asked for, by resource, with that time.
    """

    state: OrgState = field(factory=OrgState)
    erased: int = 0
    counters: dict[str, tuple[int, list[Counter]]] = field(factory=dict)


class Hint(NamedTuple):
    """What is known of a limited org before it is loaded, and does not change: whose limits
    to ask for with the first exchange.  ``members``: those wanted, by name."""

    anchor: int
    members: Mapping[str, int]


class Loader:
    """Loads from the tables of one schema (a quoted name)."""

    def __init__(self, schema: str) -> None:
        self.lookups = Lookups(schema)

    def load(
        self,
        run: Send,
        wanted: Mapping[str, Wanted],
        *,
        lock: bool,
        before: Sequence[Query] = (),
        hints: Mapping[str, Hint] | None = None,
    ) -> dict[str, Found]:
        """Everything wanted; ``before`` is sent ahead, in the same exchange."""
        found = {org: Found() for org in wanted}
        if wanted:
            plan = _Plan(self.lookups, found, wanted, hints or {})
            for stage in (partial(plan.first, lock), plan.second, plan.third):
                asked = stage()
                if asked:
                    answers = run([*before, *(query for query, _ in asked)])
                    for (_, take), answer in zip(asked, answers[len(before) :], strict=True):
                        for row in answer:
                            take(row)
                before = ()
            plan.finish()
        return found

    def heads(self, run: Send, orgs: Iterable[str]) -> dict[str, bytes]:
        """The heads of those orgs' journals that have an account."""
        [found] = run([Query(self.lookups.accounts.many, [joined(orgs)])])
        return {account.org: account.head for account, _ in map(codecs.account, found)}


_KEYS, _MEMBERS, _HOLDS, _CHARGES, _RUNS, _STORAGES, _TOPUPS = map(
    attrgetter, ("keys", "members", "holds", "charges", "runs", "storages", "topups")
)
_Take = Callable[[Row], None]
_Asked = tuple[Query, _Take]


class _Plan:
    """What to ask for, and where the answers go."""

    def __init__(
        self,
        lookups: Lookups,
        found: Mapping[str, Found],
        wanted: Mapping[str, Wanted],
        hints: Mapping[str, Hint],
    ) -> None:
        self._lookups = lookups
        self._found = found
        self._wanted = wanted
        self._hints = hints
        self._stories: dict[tuple[str, int], Any] = {}
        self._lasts: dict[tuple[str, str], int] = {}  # by org and resource, what is asked for
        self._limited: dict[str, set[str]] = {}  # by org, whose limits were asked for
        self._spanned: dict[str, dict[str, Window]] = {}

    def _state(self, row: Row) -> OrgState:
        return self._found[string(row[0])].state

    def _known(self) -> Iterator[tuple[str, OrgState, Wanted]]:
        for org, found in self._found.items():
            if found.state.account is not None:
                yield org, found.state, self._wanted[org]

    def _moved(self) -> list[tuple[str, OrgState, Wanted]]:
        """Of orgs of which a charge, a run or storage is wanted."""
        return [
            each for each in self._known() if each[1].subjects or each[1].runs or each[2].storages
        ]

    def _ask(
        self,
        lookup: Lookup,
        ids: Iterable[tuple[str, Collection[tuple[Value, ...]]]],
        take: _Take,
    ) -> list[_Asked]:
        wanted = {org: sorted(each) for org, each in ids if each}
        return [(lookup.query(wanted), take)] if wanted else []

    # -- what is asked for by its id ----------------------------------------------

    def first(self, lock: bool) -> list[_Asked]:
        lookups, wants = self._lookups, self._wanted
        accounts = lookups.locked if lock else lookups.accounts

        def whole(lookup: Lookup, orgs: Sequence[str], take: _Take) -> _Asked:
            one = len(orgs) == 1
            values = [text(orgs[0]) if one else joined(orgs)]
            return Query(lookup.one if one else lookup.many, values), take

        orgs = sorted(wants)
        asked = [whole(accounts, orgs, self._account), whole(lookups.lots, orgs, self._lot)]
        automatic = [org for org in orgs if wants[org].auto]
        if automatic:
            asked.append(whole(lookups.auto, automatic, self._auto))
        by_id: tuple[tuple[Lookup, Callable[[Wanted], Iterable[Value]], _Take], ...] = (
            (lookups.entries, _KEYS, self._entry),
            (lookups.members, _MEMBERS, self._member),
            (lookups.holds, _HOLDS, self._hold),
            (lookups.subjects, _CHARGES, self._subject),
            (lookups.charges, _CHARGES, self._story),
            (lookups.runs, _RUNS, self._run),
            (lookups.storages, _STORAGES, self._storage),
            (lookups.topups, _TOPUPS, self._topup),
        )
        for lookup, ids, take in by_id:
            named = [(org, [(each,) for each in ids(want)]) for org, want in wants.items()]
            asked += self._ask(lookup, named, take)
        starts_ = [(org, _starts(want)) for org, want in wants.items()]
        asked += self._ask(lookups.counters, starts_, self._counter)
        asked += self._ask(
            lookups.items, [(org, want.items) for org, want in wants.items()], self._item
        )
        asked += self._terms((org, *_hinted(hint, wants[org])) for org, hint in self._hints.items())
        for org, want in wants.items():
            for key in want.sums:
                member, grain, start = key
                query = lookups.sum_of_all if member is None else lookups.sum
                values = [org, grain, start, *(() if member is None else (member,))]
                take = partial(self._sum, key)
                asked.append((Query(query, [text(value) for value in values]), take))
            if want.windows:
                asked.append((Query(lookups.all_limits, [text(org)]), self._limit))
            for grain, start in sorted(want.windows):
                values = [text(org), text(grain), text(start)]
                asked.append((Query(lookups.window, values), self._spend))
            for prefix, start in want.families:
                bounds = [text(value) for value in (org, prefix, prefix + END, start)]
                of = partial(self._family, (prefix, start))
                asked.append((Query(lookups.family, bounds), of))
        return asked

    def _account(self, row: Row) -> None:
        found = self._found[string(row[0])]
        found.state.account, found.erased = codecs.account(row)

    def _lot(self, row: Row) -> None:
        lot = codecs.lot(row[1:])
        self._state(row).lots[lot.lot] = lot

    def _entry(self, row: Row) -> None:
        entry = codecs.entry(string(row[0]), row[1:])
        self._state(row).entries[entry.key] = entry

    def _member(self, row: Row) -> None:
        self._state(row).members[string(row[1])] = whole(row[2])

    def _hold(self, row: Row) -> None:
        hold = codecs.hold(row[1:])
        self._state(row).holds.setdefault(hold.key, hold)

    def _counter(self, row: Row) -> None:
        counter = codecs.counter(row[1:])
        org = string(row[0])
        first, last = self._wanted[org].counters[counter.resource]
        found = self._found[org]
        found.counters.setdefault(counter.resource, (first, []))[1].append(counter)
        if counter.start <= last:
            found.state.counters[counter.resource, counter.start] = counter

    def _item(self, row: Row) -> None:
        item = codecs.item(row[1:])
        self._state(row).items[item.item, item.resource] = item

    def _subject(self, row: Row) -> None:
        entry = codecs.entry(string(row[0]), row[1:])
        self._state(row).subjects[entry.seq] = entry

    def _sum(self, key: tuple[int | None, str, int], row: Row) -> None:
        self._state(row).sums[key] = whole(row[1])

    def _family(self, key: tuple[str, int], row: Row) -> None:
        self._state(row).families.setdefault(key, []).append(codecs.counter(row[1:]))

    def _usage(self, row: Row) -> None:
        tail = self._state(row).tail
        assert tail is not None
        tail.append(usage(string(row[1])))

    def _newest(self, row: Row) -> None:
        counter = string(row[1]), whole(row[2])
        self._state(row).newest[counter].append(whole(row[3]))

    def _limit(self, row: Row) -> None:
        limit = codecs.limit(row[1:])
        self._state(row).limits[limit.subject, limit.per] = limit

    def _spend(self, row: Row) -> None:
        spend = codecs.spend(row[1:])
        self._state(row).spends[spend.subject, spend.grain, spend.start] = spend

    def _subscription(self, row: Row) -> None:
        self._state(row).subscriptions.append(codecs.subscription(row[1:]))

    def _story(self, row: Row) -> None:
        charge = codecs.charge(row[1:])
        self._stories[string(row[0]), charge.charge] = charge

    def _run(self, row: Row) -> None:
        run = codecs.run(row[1:])
        self._state(row).runs[run.run] = run

    def _storage(self, row: Row) -> None:
        storage = codecs.storage(row[1:])
        self._state(row).storages[storage.workspace] = storage

    def _topup(self, row: Row) -> None:
        topup = codecs.topup(row[1:])
        self._state(row).topups[topup.topup] = topup

    def _auto(self, row: Row) -> None:
        self._state(row).auto = codecs.auto(row[1:])

    # -- what follows from that -----------------------------------------------------

    def second(self) -> list[_Asked]:
        lookups = self._lookups
        for org, state, _ in self._known():
            for number in state.subjects:
                if (org, number) in self._stories:
                    state.charges[number] = self._stories[org, number]
        asked = self._over_time()
        for org, state, want in self._known():
            account = state.account
            assert account is not None
            state.next_hold = account.next_lapse
            until = required.holds_until(want, account)
            if until is not None:
                state.next_hold = None
                asked.append((Query(lookups.due, [text(org), text(until)]), self._hold))
                loaded_ = joined(sorted(state.holds))
                asked.append(
                    (Query(lookups.next, [text(org), text(until), loaded_]), self._next_hold)
                )
            if required.tail(want, account):
                state.tail = []
                span = [text(org), text(account.summed), text(account.seq)]
                if account.summed < account.seq:
                    asked.append((Query(lookups.tail, span), self._usage))
            for resource, start, end in want.newest:
                state.newest[resource, start] = []
                values: list[Value] = [org, account.seq - LOOK_BACK, start, end, resource]
                newest = Query(lookups.newest, [text(value) for value in values])
                asked.append((newest, self._newest))
            if account.debt:
                limit = text(want.debts + 1)
                asked.append((Query(lookups.debts, [text(org), limit]), self._debt))
            state.covered, state.sought, state.times = required.required_spans(want, state)
            first = required.plans_from(account, state.times)
            if first is not None:
                since = Query(lookups.subscribed, [text(org), text(first)])
                asked.append((since, self._subscription))
        known = self._moved()
        payers = ((org, [(lot,) for lot in required.payers(state)]) for org, state, _ in known)
        asked += self._ask(lookups.spent, payers, self._lot)
        spans = ((org, self._spans(org, state, want)) for org, state, want in known)
        asked += self._ask(lookups.counters, spans, self._spanned_counter)
        items = ((org, state.sought - want.items) for org, state, want in known)
        asked += self._ask(lookups.items, items, self._item)
        return [*asked, *self._owned()]

    def _over_time(self) -> list[_Asked]:
        """The stories of runs and of storage, and the sizes of this."""
        lookups, known = self._lookups, self._moved()
        tabs = ((org, [(tab,) for tab in required.stories(state)]) for org, state, _ in known)
        sizes = ((org, required.sizes(want, state)) for org, state, want in known)
        return [
            *self._ask(lookups.charges, tabs, self._own_story),
            *self._ask(lookups.sizes, sizes, self._size),
        ]

    def _own_story(self, row: Row) -> None:
        charge = codecs.charge(row[1:])
        self._state(row).charges.setdefault(charge.charge, charge)

    def _size(self, row: Row) -> None:
        size = codecs.size(row[1:])
        self._state(row).sizes[size.workspace, size.at] = size.size

    def third(self) -> list[_Asked]:
        return self._owned()

    def _owned(self) -> list[_Asked]:
        """What loaded holds are counted in, and whose limits they, and all else, count in."""
        limited: list[tuple[str, set[str], dict[str, Window]]] = []
        for org, state, want in self._known():
            account = state.account
            if account is not None and account.limited_since is not None:
                spans = required.windows(account.anchor, state.times)
                limited.append((org, required.limited_subjects(want, state), spans))
        return [*self._counts(), *self._terms(limited)]

    def _terms(self, limited: Iterable[tuple[str, set[str], dict[str, Window]]]) -> list[_Asked]:
        """The limits of subjects, and what counts towards them in spans, but for what has been
        asked for."""
        limits: list[tuple[str, Collection[tuple[Value, ...]]]] = []
        spends: list[tuple[str, Collection[tuple[Value, ...]]]] = []
        for org, who, spans in limited:
            asked = self._limited.setdefault(org, set())
            before = self._spanned.get(org, spans)
            self._spanned[org] = spans
            new = who | required.EVERYBODY
            limits.append((org, [(subject,) for subject in new - asked]))
            # Charges that are wanted widen the spans.
            late = who if before != spans else who - asked
            spends.append(
                (org, [(whose, grain, *span) for whose in late for grain, span in spans.items()])
            )
            asked |= new
        return [
            *self._ask(self._lookups.limits, limits, self._limit),
            *self._ask(self._lookups.spends, spends, self._spend),
        ]

    def _counts(self) -> list[_Asked]:
        """The counters that loaded holds are counted in."""
        uncounted = [(org, required.held_in(state)) for org, state, _ in self._known()]
        return self._ask(self._lookups.counted, uncounted, self._counted_counter)

    def _next_hold(self, row: Row) -> None:
        self._state(row).next_hold = maybe(row[1])

    def _debt(self, row: Row) -> None:
        charge = codecs.charge(row[1:])
        state = self._state(row)
        state.debts.append(state.charges.get(charge.charge) or charge)

    def _spans(self, org: str, state: OrgState, want: Wanted) -> set[tuple[str, int]]:
        """From when on the counters of wanted charges, runs and storage are asked for."""
        spans = [
            (resource, span)
            for resource, found in state.covered.items()
            for span in found
            if span != want.counters.get(resource)
        ]
        for resource, (_, last) in spans:
            self._lasts[org, resource] = max(last, self._lasts.get((org, resource), last))
        return {(resource, first) for resource, (first, _) in spans}

    def _spanned_counter(self, row: Row) -> None:
        counter = codecs.counter(row[1:])
        if counter.start <= self._lasts[string(row[0]), counter.resource]:
            self._state(row).counters.setdefault((counter.resource, counter.start), counter)

    def _counted_counter(self, row: Row) -> None:
        counter = codecs.counter(row[1:])
        self._state(row).counters.setdefault((counter.resource, counter.start), counter)

    def finish(self) -> None:
        for found in self._found.values():
            if found.state.account is None:
                found.state = OrgState()
        for org, state, want in self._known():
            state.sums = {key: state.sums.get(key, 0) for key in want.sums}
            state.windows = set(want.windows)
            state.families = {key: state.families.get(key, []) for key in want.families}
            state.all_debts = len(state.debts) <= want.debts
            del state.debts[want.debts :]
            for resource, (first, _) in want.counters.items():
                self._found[org].counters.setdefault(resource, (first, []))


def loaded(found: Mapping[str, Found]) -> Loaded:
    return {org: each.state for org, each in found.items()}


def _starts(want: Wanted) -> list[tuple[str, int]]:
    return [(resource, first) for resource, (first, _) in want.counters.items()]


def _hinted(hint: Hint, want: Wanted) -> tuple[set[str], dict[str, Window]]:
    """What will be asked for of a limited org, as far as that is known beforehand."""
    expected = OrgState()
    expected.members.update(hint.members)
    return required.limited_subjects(want, expected), required.windows(hint.anchor, want.times)
