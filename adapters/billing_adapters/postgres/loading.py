"""What :class:`billing_core.ports.OrgState` promises, in one exchange with the server; in
two or three where something lapses, is owed, limited, or a charge is reversed or priced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from attrs import define, field, frozen

from billing_adapters.postgres import rows
from billing_adapters.postgres.tables import Value, joined, text
from billing_adapters.postgres.wire import Query, Row, Statement, statement
from billing_core.limits import subjects
from billing_core.ports import Loaded, OrgState, Wanted
from billing_core.records import Counter, Run, Storage, UsageRecord
from billing_core.times import Window, starts

__all__ = ["Found", "Hint", "Loader", "concerned", "skipping", "spanned"]

FOREVER = 2**63 - 1
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


def concerned(state: OrgState, want: Wanted) -> set[str]:
    """Whose limits, and what counts towards them, a decision on the state may need."""
    found = {"org"} | {f"member:{number}" for number in state.members.values()}
    found |= {f"project:{name}" for name in want.projects}
    for hold in state.holds.values():
        found |= {*subjects(hold.member, hold.project)}
    for run in state.runs.values():
        found |= {*subjects(run.member, run.project)}
    for used in _used(state):
        found |= {*subjects(used.member, used.project)}
    return found


def spanned(anchor: int, times: Sequence[int]) -> dict[str, Window]:
    """By grain, in which starts what is spent at these times counts."""
    spans = {"held": Window(0, 0)}
    for grain in ("day", "period") if times else ():
        spans[grain] = starts(anchor, grain, min(times), max(times))
    return spans


@frozen
class _Lookup:
    """Rows found by ids: a statement for the ids of one org, and one for those of many."""

    one: Statement
    many: Statement

    def query(self, ids: Mapping[str, Sequence[tuple[Value, ...]]]) -> Query:
        if len(ids) == 1:
            [(org, wanted)] = ids.items()
            columns = [joined(column) for column in zip(*wanted, strict=True)]
            return Query(self.one, [text(org), *columns])
        pairs = [(org, *each) for org, wanted in ids.items() for each in wanted]
        return Query(self.many, [joined(column) for column in zip(*pairs, strict=True)])


def skipping(schema: str, table: str, where: str) -> str:
    """A WITH clause: the members that an org has in a table, as ``known``, found by skipping
    from each to the next through an index."""
    least = f"SELECT min(member) FROM {schema}.{table} WHERE org_id = $1 AND {where}"
    return (
        f"WITH RECURSIVE known (member) AS (({least}) UNION ALL"
        f" SELECT ({least} AND member > known.member) FROM known WHERE known.member IS NOT NULL)"
    )


class Loader:
    """Loads from the tables of one schema (a quoted name)."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._locked = self._by_org("accounts", rows.ACCOUNT, " ORDER BY org_id FOR UPDATE")
        self._accounts = self._by_org("accounts", rows.ACCOUNT)
        self._lots = self._by_org("lots", f"org_id, {rows.LOT}", " AND NOT spent")
        self._entries = self._lookup("entries", rows.ENTRY, key="text")
        self._subjects = self._lookup("entries", rows.ENTRY, seq="bigint")
        self._members = self._lookup("members", "name, member", name="text")
        self._holds = self._lookup("holds", rows.HOLD, key="text")
        self._items = self._lookup("items", rows.ITEM, item="text", resource="text")
        self._charges = self._lookup("charges", rows.CHARGE, charge="bigint")
        self._spent = self._lookup("lots", rows.LOT, lot="bigint")
        self._counted = self._lookup("counters", rows.COUNTER, resource="text", start="bigint")
        # From the counter in force at a time on; an unknown one begins at no time.
        in_force = (
            "t.resource = w.resource AND t.start >= coalesce("
            f"(SELECT max(c.start) FROM {schema}.counters AS c WHERE c.org_id = t.org_id"
            " AND c.resource = t.resource AND c.start <= w.first), w.first)"
        )
        self._counters = _Lookup(
            self._joined("counters", rows.COUNTER, "resource text, first bigint", in_force),
            self._joined(
                "counters", rows.COUNTER, "org_id text, resource text, first bigint", in_force
            ),
        )
        of_org = f"FROM {schema}.holds WHERE org_id = $1 AND state = 'open' AND expires_at"
        self._due = statement(f"SELECT org_id, {rows.HOLD} {of_org} <= $2")
        self._next = statement(
            f"SELECT org_id, min(expires_at) {of_org} > $2"
            " AND key <> ALL (string_to_array($3, E'\\x1f')) GROUP BY org_id"
        )
        self._limits = self._lookup("limits", rows.LIMIT, subject="text")
        names = "subject text, grain text, first bigint, last bigint"
        within = (
            "t.subject = w.subject AND t.grain = w.grain AND t.start >= w.first"
            " AND t.start <= w.last"
        )
        self._spends = _Lookup(
            self._joined("spends", rows.SPEND, names, within),
            self._joined("spends", rows.SPEND, f"org_id text, {names}", within),
        )
        # From the one in force at a time on.
        self._subscribed = statement(
            f"SELECT org_id, {rows.SUBSCRIPTION} FROM {schema}.subscriptions WHERE org_id = $1"
            f" AND seq >= coalesce((SELECT s.seq FROM {schema}.subscriptions AS s"
            " WHERE s.org_id = $1 AND s.since <= $2 ORDER BY s.seq DESC LIMIT 1), 0) ORDER BY seq"
        )
        added = "t.org_id, sum(t.rest) + sum(t.amount)"
        self._sum = statement(
            f"SELECT {added} FROM {schema}.cells AS t WHERE t.org_id = $1 AND t.grain = $2"
            " AND t.start = $3 AND t.member = $4 GROUP BY t.org_id"
        )
        self._sum_of_all = statement(
            f"{skipping(schema, 'cells', 'grain = $2')} SELECT {added} FROM known"
            f" JOIN {schema}.cells AS t ON t.org_id = $1 AND t.grain = $2"
            " AND t.member = known.member AND t.start = $3 GROUP BY t.org_id"
        )
        self._runs = self._lookup("runs", rows.RUN, run="text")
        self._storages = self._lookup("storages", rows.STORAGE, workspace="text")
        # From the last at or before a span to the first after it.
        sized = f"FROM {schema}.sizes AS s WHERE s.org_id = t.org_id AND s.workspace = t.workspace"
        around = (
            "t.workspace = w.workspace"
            f" AND t.at >= coalesce((SELECT max(s.at) {sized} AND s.at <= w.first), w.first)"
            f" AND t.at <= coalesce((SELECT min(s.at) {sized} AND s.at > w.last), w.last)"
        )
        names = "workspace text, first bigint, last bigint"
        self._sizes = _Lookup(
            self._joined("sizes", rows.SIZE, names, around),
            self._joined("sizes", rows.SIZE, f"org_id text, {names}", around),
        )
        self._topups = self._lookup("topups", rows.TOPUP, topup="text")
        self._auto = self._by_org("auto_topups", "org_id, body")
        self._debts = statement(
            f"SELECT org_id, {rows.CHARGE} FROM {schema}.charges WHERE org_id = $1 AND unpaid > 0"
            " ORDER BY charge LIMIT $2"
        )

    # -- statements -------------------------------------------------------------

    def _by_org(self, table: str, columns: str, more: str = "") -> _Lookup:
        select = f"SELECT {columns} FROM {self._schema}.{table} WHERE org_id"
        many = f"{select} = ANY (string_to_array($1, E'\\x1f')){more}"
        return _Lookup(statement(f"{select} = $1{more}"), statement(many))

    def _lookup(self, table: str, columns: str, **ids: str) -> _Lookup:
        where = " AND ".join(f"t.{name} = w.{name}" for name in ids)
        names = ", ".join(f"{name} {kind}" for name, kind in ids.items())
        return _Lookup(
            self._joined(table, columns, names, where),
            self._joined(table, columns, f"org_id text, {names}", where),
        )

    def _joined(self, table: str, columns: str, ids: str, where: str) -> Statement:
        """Rows of a table that meet ids, which come as joined texts: with the org's, or
        after a first parameter that is the one org."""
        pairs = [each.split() for each in ids.split(", ")]
        many = pairs[0][0] == "org_id"
        org = "w.org_id" if many else "$1"
        arrays = ", ".join(
            f"string_to_array(${n}, E'\\x1f')::{kind}[]"
            for n, (_, kind) in enumerate(pairs, 1 if many else 2)
        )
        # Row by row, whatever the planner thinks of tables that were small when it looked.
        return statement(
            f"SELECT t.* FROM unnest({arrays}) AS w ({', '.join(name for name, _ in pairs)})"
            f" CROSS JOIN LATERAL (SELECT t.org_id, {columns} FROM {self._schema}.{table} AS t"
            f" WHERE t.org_id = {org} AND {where} OFFSET 0) AS t"
        )

    @property
    def statements(self) -> list[bytes]:
        """Every statement's SQL, to be checked."""
        found: list[bytes] = []
        for each in vars(self).values():
            if isinstance(each, _Lookup):
                found += [each.one.sql, each.many.sql]
            elif isinstance(each, Statement):
                found.append(each.sql)
        return found

    # -- loading ----------------------------------------------------------------

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
            plan = _Plan(self, found, wanted, hints or {})
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
        [found] = run([Query(self._accounts.many, [joined(orgs)])])
        return {account.org: account.head for account, _ in map(rows.account, found)}


_Take = Callable[[Row], None]
_Asked = tuple[Query, _Take]


class _Plan:
    """What to ask for, and where the answers go."""

    def __init__(
        self,
        loader: Loader,
        found: Mapping[str, Found],
        wanted: Mapping[str, Wanted],
        hints: Mapping[str, Hint],
    ) -> None:
        self._loader = loader
        self._found = found
        self._wanted = wanted
        self._hints = hints
        self._stories: dict[tuple[str, int], Any] = {}
        self._lasts: dict[tuple[str, str], int] = {}  # by org and resource, what is asked for
        self._limited: dict[str, set[str]] = {}  # by org, whose limits were asked for
        self._spanned: dict[str, dict[str, Window]] = {}

    def _state(self, row: Row) -> OrgState:
        return self._found[rows.string(row[0])].state

    def _known(self) -> Iterator[tuple[str, OrgState, Wanted]]:
        for org, found in self._found.items():
            if found.state.account is not None:
                yield org, found.state, self._wanted[org]

    def _ask(
        self,
        lookup: _Lookup,
        ids: Iterable[tuple[str, Iterable[tuple[Value, ...]]]],
        take: _Take,
    ) -> Iterator[_Asked]:
        wanted = {org: sorted(each) for org, each in ids}
        wanted = {org: each for org, each in wanted.items() if each}
        if wanted:
            yield lookup.query(wanted), take

    # -- what is asked for by its id ----------------------------------------------

    def first(self, lock: bool) -> list[_Asked]:
        loader, wants = self._loader, self._wanted
        accounts = loader._locked if lock else loader._accounts

        def whole(lookup: _Lookup, orgs: Sequence[str], take: _Take) -> _Asked:
            one = len(orgs) == 1
            values = [text(orgs[0]) if one else joined(orgs)]
            return Query(lookup.one if one else lookup.many, values), take

        orgs = sorted(wants)
        asked = [whole(accounts, orgs, self._account), whole(loader._lots, orgs, self._lot)]
        automatic = [org for org in orgs if wants[org].auto]
        if automatic:
            asked.append(whole(loader._auto, automatic, self._auto))
        by_id: list[tuple[_Lookup, Callable[[Wanted], Iterable[tuple[Value, ...]]], _Take]] = [
            (loader._entries, lambda want: [(key,) for key in want.keys], self._entry),
            (loader._members, lambda want: [(name,) for name in want.members], self._member),
            (loader._holds, lambda want: [(key,) for key in want.holds], self._hold),
            (loader._counters, _starts, self._counter),
            (loader._items, lambda want: want.items, self._item),
            (loader._subjects, lambda want: [(seq,) for seq in want.charges], self._subject),
            (loader._charges, lambda want: [(seq,) for seq in want.charges], self._story),
            (loader._runs, lambda want: [(run,) for run in want.runs], self._run),
            (loader._storages, lambda want: [(name,) for name in want.storages], self._storage),
            (loader._topups, lambda want: [(topup,) for topup in want.topups], self._topup),
        ]
        for lookup, ids, take in by_id:
            asked += self._ask(lookup, ((org, ids(want)) for org, want in wants.items()), take)
        asked += self._terms((org, *_hinted(hint, wants[org])) for org, hint in self._hints.items())
        for org, want in wants.items():
            for key in want.sums:
                member, grain, start = key
                query = loader._sum_of_all if member is None else loader._sum
                values = [org, grain, start, *(() if member is None else (member,))]
                take = partial(self._sum, key)
                asked.append((Query(query, [text(value) for value in values]), take))
        return asked

    def _account(self, row: Row) -> None:
        found = self._found[rows.string(row[0])]
        found.state.account, found.erased = rows.account(row)

    def _lot(self, row: Row) -> None:
        lot = rows.lot(row[1:])
        self._state(row).lots[lot.lot] = lot

    def _entry(self, row: Row) -> None:
        entry = rows.entry(rows.string(row[0]), row[1:])
        self._state(row).entries[entry.key] = entry

    def _member(self, row: Row) -> None:
        self._state(row).members[rows.string(row[1])] = rows.whole(row[2])

    def _hold(self, row: Row) -> None:
        hold = rows.hold(row[1:])
        self._state(row).holds.setdefault(hold.key, hold)

    def _counter(self, row: Row) -> None:
        counter = rows.counter(row[1:])
        org = rows.string(row[0])
        first, last = self._wanted[org].counters[counter.resource]
        found = self._found[org]
        found.counters.setdefault(counter.resource, (first, []))[1].append(counter)
        if counter.start <= last:
            found.state.counters[counter.resource, counter.start] = counter

    def _item(self, row: Row) -> None:
        item = rows.item(row[1:])
        self._state(row).items[item.item, item.resource] = item

    def _subject(self, row: Row) -> None:
        entry = rows.entry(rows.string(row[0]), row[1:])
        self._state(row).subjects[entry.seq] = entry

    def _sum(self, key: tuple[int | None, str, int], row: Row) -> None:
        self._state(row).sums[key] = rows.whole(row[1])

    def _limit(self, row: Row) -> None:
        limit = rows.limit(row[1:])
        self._state(row).limits[limit.subject, limit.per] = limit

    def _spend(self, row: Row) -> None:
        spend = rows.spend(row[1:])
        self._state(row).spends[spend.subject, spend.grain, spend.start] = spend

    def _subscription(self, row: Row) -> None:
        self._state(row).subscriptions.append(rows.subscription(row[1:]))

    def _story(self, row: Row) -> None:
        charge = rows.charge(row[1:])
        self._stories[rows.string(row[0]), charge.charge] = charge

    def _run(self, row: Row) -> None:
        run = rows.run(row[1:])
        self._state(row).runs[run.run] = run

    def _storage(self, row: Row) -> None:
        storage = rows.storage(row[1:])
        self._state(row).storages[storage.workspace] = storage

    def _topup(self, row: Row) -> None:
        topup = rows.topup(row[1:])
        self._state(row).topups[topup.topup] = topup

    def _auto(self, row: Row) -> None:
        self._state(row).auto = rows.auto(row[1:])

    # -- what follows from that -----------------------------------------------------

    def second(self) -> list[_Asked]:
        loader = self._loader
        asked = self._over_time()
        for org, state, want in self._known():
            account = state.account
            assert account is not None
            for number in state.subjects:
                if (org, number) in self._stories:
                    state.charges[number] = self._stories[org, number]
            state.next_hold = account.next_lapse
            due = account.next_lapse is not None and account.next_lapse <= want.until
            if due or want.all_holds:
                state.next_hold = None
                until = text(FOREVER if want.all_holds else want.until)
                asked.append((Query(loader._due, [text(org), until]), self._hold))
                loaded_ = joined(sorted(state.holds))
                asked.append((Query(loader._next, [text(org), until, loaded_]), self._next_hold))
            if account.debt:
                limit = text(want.debts + 1)
                asked.append((Query(loader._debts, [text(org), limit]), self._debt))
            first = min(_times(state, want), default=account.plan_since)
            if first < account.plan_since:
                since = Query(loader._subscribed, [text(org), text(first)])
                asked.append((since, self._subscription))
        known = list(self._known())
        asked += self._ask(
            loader._spent, ((org, _payers(state)) for org, state, _ in known), self._lot
        )
        asked += self._ask(
            loader._counters,
            ((org, self._spans(org, state, want)) for org, state, want in known),
            self._spanned_counter,
        )
        asked += self._ask(
            loader._items,
            ((org, _run_items(state, want)) for org, state, want in known),
            self._item,
        )
        return [*asked, *self._owned()]

    def _over_time(self) -> list[_Asked]:
        """The stories of runs and of storage, and the sizes of this."""
        loader, known = self._loader, list(self._known())
        tabs = ((org, _tabs(state)) for org, state, _ in known)
        sizes = ((org, _sized(state, want)) for org, state, want in known)
        return [
            *self._ask(loader._charges, tabs, self._own_story),
            *self._ask(loader._sizes, sizes, self._size),
        ]

    def _own_story(self, row: Row) -> None:
        charge = rows.charge(row[1:])
        self._state(row).charges.setdefault(charge.charge, charge)

    def _size(self, row: Row) -> None:
        size = rows.size(row[1:])
        self._state(row).sizes[size.workspace, size.at] = size.size

    def third(self) -> list[_Asked]:
        return self._owned()

    def _owned(self) -> list[_Asked]:
        """What loaded holds are counted in, and whose limits they, and all else, count in."""
        limited: list[tuple[str, set[str], dict[str, Window]]] = []
        for org, state, want in self._known():
            account = state.account
            if account is not None and account.limited_since is not None:
                spans = spanned(account.anchor, _times(state, want))
                limited.append((org, concerned(state, want), spans))
        return [*self._counts(), *self._terms(limited)]

    def _terms(
        self, limited: Iterable[tuple[str, set[str], dict[str, Window]]]
    ) -> Iterator[_Asked]:
        """The limits of subjects, and what counts towards them in spans, but for what has been
        asked for."""
        limits: list[tuple[str, list[tuple[Value, ...]]]] = []
        spends: list[tuple[str, list[tuple[Value, ...]]]] = []
        for org, who, spans in limited:
            asked = self._limited.setdefault(org, set())
            before = self._spanned.get(org, spans)
            self._spanned[org] = spans
            new = who | {"member:*", "project:*"}
            limits.append((org, [(subject,) for subject in new - asked]))
            # Charges that are wanted widen the spans.
            late = who if before != spans else who - asked
            spends.append(
                (org, [(whose, grain, *span) for whose in late for grain, span in spans.items()])
            )
            asked |= new
        yield from self._ask(self._loader._limits, limits, self._limit)
        yield from self._ask(self._loader._spends, spends, self._spend)

    def _counts(self) -> list[_Asked]:
        """The counters that loaded holds are counted in."""
        return list(
            self._ask(
                self._loader._counted,
                ((org, _uncounted(state)) for org, state, _ in self._known()),
                self._counted_counter,
            )
        )

    def _next_hold(self, row: Row) -> None:
        self._state(row).next_hold = rows.maybe(row[1])

    def _debt(self, row: Row) -> None:
        charge = rows.charge(row[1:])
        state = self._state(row)
        state.debts.append(state.charges.get(charge.charge) or charge)

    def _spans(self, org: str, state: OrgState, want: Wanted) -> set[tuple[str, int]]:
        """From when on the counters of wanted charges, runs and storage are asked for."""
        spans = [(each.resource, (each.occurred_at, each.occurred_at)) for each in _used(state)]
        over_time = want.spans(state.runs, state.storages)
        spans += [(resource, span) for resource, _, span in over_time]
        for resource, (_, last) in spans:
            self._lasts[org, resource] = max(last, self._lasts.get((org, resource), last))
        return {(resource, first) for resource, (first, _) in spans}

    def _spanned_counter(self, row: Row) -> None:
        counter = rows.counter(row[1:])
        if counter.start <= self._lasts[rows.string(row[0]), counter.resource]:
            self._state(row).counters.setdefault((counter.resource, counter.start), counter)

    def _counted_counter(self, row: Row) -> None:
        counter = rows.counter(row[1:])
        self._state(row).counters.setdefault((counter.resource, counter.start), counter)

    def finish(self) -> None:
        for found in self._found.values():
            if found.state.account is None:
                found.state = OrgState()
        for org, state, want in self._known():
            state.sums = {key: state.sums.get(key, 0) for key in want.sums}
            state.all_debts = len(state.debts) <= want.debts
            del state.debts[want.debts :]
            for resource, (first, _) in want.counters.items():
                self._found[org].counters.setdefault(resource, (first, []))


def loaded(found: Mapping[str, Found]) -> Loaded:
    return {org: each.state for org, each in found.items()}


def _starts(want: Wanted) -> list[tuple[str, int]]:
    return [(resource, first) for resource, (first, _) in want.counters.items()]


def _payers(state: OrgState) -> set[tuple[int]]:
    """The lots that paid the wanted charges, where nothing is left of them."""
    payers: set[int] = set()
    for subject in state.subjects.values():
        payers |= {int(t.debit[4:]) for t in subject.transfers if t.debit.startswith("lot:")}
    for story in state.charges.values():
        payers |= {lot for lot, _ in story.payments}
    return {(lot,) for lot in payers - state.lots.keys()}


def _used(state: OrgState) -> list[UsageRecord]:
    """The usage of the wanted charges."""
    return [each.usage for each in state.subjects.values() if each.usage is not None]


def _times(state: OrgState, want: Wanted) -> list[int]:
    spans = (span for _, _, span in want.spans(state.runs, state.storages))
    times = [*(want.times or ()), *(each.occurred_at for each in _used(state))]
    return [*times, *(at for span in spans for at in span)]


def _hinted(hint: Hint, want: Wanted) -> tuple[set[str], dict[str, Window]]:
    """What will be asked for of a limited org, as far as that is known beforehand."""
    expected = OrgState(members=dict(hint.members))
    return concerned(expected, want), spanned(hint.anchor, want.times or ())


def _run_items(state: OrgState, want: Wanted) -> set[tuple[str, str]]:
    items = {(each.item, each.resource) for each in _used(state) if each.item is not None}
    over_time = want.spans(state.runs, state.storages)
    return (items | {(item, resource) for resource, item, _ in over_time}) - state.items.keys()


def _tabs(state: OrgState) -> set[tuple[int]]:
    """The stories of runs and of storage, but for those that are wanted as charges."""
    owners: list[Run | Storage] = [*state.runs.values(), *state.storages.values()]
    charges = {tab.charge for owner in owners for tab in owner.tabs}
    return {(charge,) for charge in charges - state.subjects.keys()}


def _sized(state: OrgState, want: Wanted) -> list[tuple[str, int, int]]:
    """The spans of the wanted workspaces."""
    spans = want.spans({}, state.storages)
    return [(resource.removeprefix("storage:"), *span) for resource, _, span in spans]


def _uncounted(state: OrgState) -> set[tuple[str, int]]:
    counted = {
        (hold.resource or "", start)
        for hold in state.holds.values()
        for start, _, _ in hold.counted
    }
    return counted - state.counters.keys()
