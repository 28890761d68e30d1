"""What a store and an engine must agree on with the reference model at any moment."""

from __future__ import annotations

import json
from collections import Counter as Bag
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from hypothesis import strategies as st

from billing_core.audit.verify import Verification
from billing_core.engine import Billing
from billing_core.errors import BillingError
from billing_core.ports.state import Changes, Wanted
from billing_core.ports.store import Store
from billing_core.pricing.price_book import PriceBook
from billing_core.records.ledger import Entry
from billing_core.records.rollups import Sums, cover
from billing_core.testing.model.answers import line_amounts
from billing_core.testing.model.facts import Facts, Record
from billing_core.testing.model.ledger import Model
from billing_core.testing.model.limits import Wish, bound, held, spent
from billing_core.testing.model.tariff import month_start
from billing_core.values.money import Money
from billing_core.values.text import compact
from billing_core.values.times import DAY, HOUR, Window, micros, moment
from billing_core.values.usage import Usage

__all__ = [
    "Changes",
    "PriceBook",
    "balance",
    "conservation",
    "explanations",
    "journal",
    "journal_tail",
    "quote",
    "reports",
    "same_rows",
    "told",
    "totals",
    "verified",
    "window",
    "windows",
]


# -- money ----------------------------------------------------------------------


def balance(engines: Sequence[Billing], model: Model, org: str, now: int) -> None:
    """The balance as of now, to the single lot."""
    told, *others = [engine.balance(org) for engine in engines]
    assert all(other == told for other in others)
    facts = model.at(org, now)
    time = max(now, facts.watermark)
    lots = {
        lot: (facts.remainder(lot), facts.reserved(lot))
        for lot in facts.lots
        if facts.remainder(lot)
    }
    assert {lot.lot: (lot.remainder, lot.reserved) for lot in told.lots} == lots
    periods = {
        lot.lot: None if lot.period is None else micros("time", lot.period) for lot in told.lots
    }
    assert periods == {lot: facts.lots[lot].period for lot in lots}
    for lot in told.lots:
        came = facts.came(lot.lot)
        assert came in (0, lot.amount), f"{lot}; the model says {came}"
    order = sorted((facts.lots[lot] for lot in lots), key=lambda lot: lot.order())
    assert [lot.lot for lot in told.lots] == [lot.number for lot in order]
    figures = {
        "balance": (told.balance, facts.balance(time)),
        "available": (told.available, facts.available(None, time, now)),
        "held": (told.held, sum(facts.reserved(lot) for lot in facts.lots)),
        "debt": (told.debt, facts.debt()),
        "granted": (told.granted, facts.granted()),
        "used": (told.used, facts.used()),
        "closed": (told.closed_at is not None, facts.closed),
        "plan": (told.plan, facts.plans[-1][1] if facts.plans else None),
    }
    for name, (said, expected) in figures.items():
        assert said == expected, f"{name} of {org}: {said}; the model says {expected}"


def _figures(entry: Entry) -> tuple[object, ...]:
    times = (entry.at, entry.recorded_at)
    return (entry.seq, entry.key, *times, entry.amount, entry.balance, _moved(entry.transfers))


def _moved(transfers: Iterable[tuple[str, str, int, str]]) -> Mapping[tuple[str, str, str], int]:
    sums: Bag[tuple[str, str, str]] = Bag()
    for debit, credit, amount, kind in transfers:
        assert amount > 0
        sums[debit, credit, kind] += amount
    return sums


def _postings(facts: Facts, after: int = 0) -> list[tuple[object, ...]]:
    return [
        (
            posting.seq,
            posting.key,
            posting.at,
            posting.recorded_at,
            posting.amount,
            posting.balance,
            _moved(
                (m.debit, m.credit, m.amount, m.kind) for m in facts.moves if m.seq == posting.seq
            ),
        )
        for posting in facts.postings[after:]
    ]


def journal(store: Store, model: Model, org: str) -> None:
    """Every entry: when, what moved, and the balance after it; and every usage record."""
    facts = model.orgs[org]
    entries = store.entries(org)
    _same([_figures(entry) for entry in entries], _postings(facts))
    recorded = [
        Record(
            entry.seq,
            entry.usage.occurred_at,
            entry.usage.member,
            entry.usage.resource,
            entry.usage.requests,
            line_amounts(entry.usage.lines),
        )
        for entry in entries
        if entry.usage is not None
    ]
    _same(recorded, facts.records())


def told(store: Store, model: Model, org: str, after: int = 0) -> None:
    """The events, once each, with the entries that raised them."""
    facts = model.orgs[org]

    def ordered(events: Iterable[tuple[int, str, object]]) -> list[tuple[int, str, str]]:
        return sorted((seq, kind, compact(data)) for seq, kind, data in events)

    found = [
        (each.seq, each.kind, json.loads(each.data)) for each in store.events(org, after, 10**6)
    ]
    expected = [(each.seq, each.kind, each.data) for each in facts.events if each.seq > after]
    _same(ordered(found), ordered(expected))


def totals(store: Store, model: Model, org: str) -> None:
    """What is added up for limits is what its charges and holds add up to; what the org
    subscribed to and which limits it set is as it was told."""
    facts = model.orgs[org]
    for each in store.spends(org):
        own = held if each.grain == "held" else None
        sums = (
            own(facts, each.subject) if own else spent(facts, each.subject, each.grain, each.start)
        )
        assert each.amount == sums, f"{each}; the model says {sums}"
    known = {key: (each.amount, each.alerts, each.blocks) for key, each in facts.limits.items()}
    assert known == {
        (each.subject, each.per): (
            None if each.amount is None else Money(each.amount, facts.currency),
            each.alerts,
            each.blocks,
        )
        for each in store.limits(org)
    }
    had = [name for _, name in facts.plans]
    # Ending what had not begun is no change.
    changes = [name for n, name in enumerate(had) if name is not None or (n and had[n - 1])]
    assert [each.plan for each in store.subscriptions(org)] == changes


def journal_tail(store: Store, model: Model, org: str, entries: int = 12) -> None:
    """The last entries alone."""
    facts = model.orgs[org]
    after = max(0, len(facts.postings) - entries)
    told = [_figures(entry) for entry in store.entries(org, after=after)]
    _same(told, _postings(facts, after))


def _same(told: Sequence[object], expected: Sequence[object]) -> None:
    for one, other in zip_longest(told, expected):
        assert one == other, f"{one}; the model says {other}"


def conservation(engine: Billing, store: Store, org: str) -> None:
    """Transfers add up to lots, debts and balance; reservations to the holds' parts."""
    net: Bag[str] = Bag()
    for entry in store.entries(org):
        for transfer in entry.transfers:
            net[transfer.debit] -= transfer.amount
            net[transfer.credit] += transfer.amount
    assert sum(net.values()) == 0
    account = store.snapshot({org: Wanted(until=0)})[org].account
    assert account is not None
    lots = list(store.lots(org))
    for lot in lots:
        assert net[f"lot:{lot.lot}"] == lot.remainder
    for charge in store.charges(org):
        assert -net[f"debt:{charge.charge}"] == charge.unpaid
    debt = -sum(amount for name, amount in net.items() if name.startswith("debt:"))
    assert debt == account.debt
    assert sum(lot.remainder for lot in lots) - debt == account.balance
    held: Bag[int] = Bag()
    for hold in store.holds(org):
        assert hold.state == "open" or not (hold.parts or hold.counted), hold
        for number, part in hold.parts:
            held[number] += part
    assert {lot.lot: lot.reserved for lot in lots if lot.reserved} == dict(+held)
    told = engine.balance(org)
    current = moment(month_start(account.anchor, micros("at", told.at)))
    free = sum(
        lot.remainder - lot.reserved
        for lot in told.lots
        if lot.scope is None and lot.period in (None, current)
    )
    assert told.available == free - told.debt


_TABLES = (
    "lots", "holds", "counters", "items", "charges", "events", "members", "subscriptions",
    "limits", "spends",
)  # fmt: skip


def same_rows(stores: Sequence[Store], org: str) -> None:
    """What the stores keep is the same, in the same order."""
    first, *others = stores
    for other in others:
        for name in _TABLES:
            ours, theirs = getattr(first, name)(org), getattr(other, name)(org)
            if name == "members":
                assert dict(ours) == dict(theirs)
            else:
                assert list(ours) == list(theirs), name
        assert list(first.entries(org)) == list(other.entries(org))
        assert list(first.history(org)) == list(other.history(org))
        assert list(first.orgs()) == list(other.orgs())


def verified(engine: Billing, before: Verification | None = None) -> Verification:
    """Verify finds nothing, from the start and from an earlier checkpoint."""
    found = engine.verify()
    assert found.ok, [str(each) for each in found.discrepancies]
    if before is not None:
        resumed = engine.verify(checkpoints=before.checkpoints)
        assert resumed.ok, [str(each) for each in resumed.discrepancies]
        assert resumed.checkpoints == found.checkpoints
    return found


# -- prices and usage -----------------------------------------------------------


def quote(engines: Sequence[Billing], model: Model, org: str, usage: Usage, now: int) -> None:
    """A quote is what the model says, and a check asks for as much."""
    facts = model.at(org, now)
    time = max(now, facts.watermark)
    least, most = model.quoted(org, usage, now)
    for engine in engines:
        try:
            told = engine.quote(org, usage).amount
        except BillingError as error:
            assert least is None, error
            continue
        assert least is not None
        assert least <= told <= most, f"quoted {told}; the model says {least} to {most}"
        check = engine.check(org, usage)
        assert (check.needed, check.available) == (
            told, facts.available(usage.resource, time, now)
        )  # fmt: skip
        counts = model.billed(org, usage, now)
        until = time + 1 if time > now else 0  # as long as any hold lives at least
        no = bound(facts, Wish(0, None, usage.resource, now, time, counts, until), told)
        assert check.allowed == (not facts.closed and no is None)
        if check.refusal is not None and no is not None and not facts.closed:
            said = (check.refusal.limit, check.refusal.shortfall)
            assert said == (no.facts["limit"], no.facts["shortfall"])


def explanations(engine: Billing, model: Model, org: str) -> None:
    """Every charge explains itself: its amount, and who paid."""
    facts = model.orgs[org]
    for seq, charge in facts.charges.items():
        told = engine.explain(org, seq)
        assert (told.amount, told.unpaid) == (charge.amount, facts.unpaid(seq))
        assert told.reversed == facts.reversed(seq)
        assert sum(line.amount for line in told.lines) == charge.amount
        assert str(told)


Rows = dict[tuple[str, str], tuple[int, int, dict[str, tuple[int, int]]]]


def _brute(records: Iterable[Record], window: Window, member: int | None = None) -> Rows:
    """Usage added up record by record."""
    rows: Rows = {}
    for record in records:
        inside = window.start <= record.occurred < window.end
        if not inside or member not in (None, record.member):
            continue
        payers = {payer for _, payer, _ in record.lines} or {"platform"}
        for payer in payers:
            requests, amount, parts = rows.get((record.resource, payer), (0, 0, {}))
            for (component, paid_by, _), (quantity, _, nanos) in record.lines.items():
                if paid_by == payer:
                    before = parts.get(component, (0, 0))
                    parts[component] = (before[0] + quantity, before[1] + nanos)
                    amount += nanos
            rows[record.resource, payer] = (requests + record.requests, amount, parts)
    return rows


def reports(engines: Sequence[Billing], model: Model, org: str, now: int) -> None:
    """The usage of every named period, whole and by member."""
    facts = model.orgs[org]
    records = facts.records()
    for engine in engines:
        for period in ("current", "7d", "30d", "all_time"):
            told = engine.usage(org, period)
            span = Window(micros("start", told.start), micros("end", told.end))
            rows = {(r.resource, r.payer): (r.requests, r.amount, r.components) for r in told.rows}
            if period == "all_time":  # all that was ever recorded
                span = Window(-(2**62), 2**62)
            expected = _brute(records, span)
            assert rows == expected, f"{period} from {told.start}: {rows}; the model: {expected}"
            assert told.total == sum(amount for _, amount, _ in expected.values())
            for name, number in facts.members.items():
                theirs = {
                    (r.resource, r.payer): (r.requests, r.amount, r.components)
                    for r in engine.usage(org, period, member=name).rows
                }
                assert theirs == _brute(records, span, number)
                assert (name in told.members) == bool(theirs)


@st.composite
def windows(draw: st.DrawFn, now: int) -> Window:
    """Windows around now, whose edges often meet hours and days."""
    steps = st.sampled_from([1, HOUR // 3, HOUR, 7 * HOUR, DAY, 40 * DAY])
    start = now - draw(steps) * draw(st.integers(0, 3))
    end = start + draw(steps) * draw(st.integers(0, 3))
    if draw(st.booleans()):
        start -= start % HOUR
    if draw(st.booleans()):
        end -= end % DAY
    return Window(start, max(start, end))


def window(stores: Sequence[Store], model: Model, org: str, window: Window) -> None:
    """Any window, put together from rollups and the raw records at its edges."""
    facts = model.orgs[org]
    expected = _brute(facts.records(), window)
    for store in stores:
        sums = Sums()
        for grain, start, end in cover(window):
            if grain is None:
                for _, record in store.usage(org, start, end):
                    sums.add_record(record)
            else:
                for key, cell in store.cells(org, grain, start, end).items():
                    sums.add(key.member, key.resource, key.payer, cell)
        assert store.usage_sums(org, cover(window)) == sums
        rows: Rows = {}
        for (_, resource, payer), cell in sums.cells.items():
            requests, amount, parts = rows.get((resource, payer), (0, 0, {}))
            for name, (quantity, nanos) in cell.components.items():
                before = parts.get(name, (0, 0))
                parts[name] = (before[0] + quantity, before[1] + nanos)
            rows[resource, payer] = (requests + cell.requests, amount + cell.amount, parts)
        assert rows == expected, f"{moment(window.start)} to {moment(window.end)}"
