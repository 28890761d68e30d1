"""verify: whatever is altered behind the engine's back is found and named."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import attrs
import pytest
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, World, nanos, units

from billing_core import Checkpoint, Flat, InvalidCommand, NotFound, Plan, Price, Settle, Usage
from billing_core.ledger.hash_chain import chained
from billing_core.records.events import Event
from billing_core.records.ledger import Account, Draw, Entry, HoldRecord, Lot
from billing_core.records.usage import Cell, CellKey, Count, Counter, Item, Line
from billing_core.testing import MemoryStore

LATE = {"late": {"unit": Price(Flat(2))}}


class Impatient(MemoryStore):
    """Fails a reader that goes round in circles."""

    asked = 0

    def entries(self, org, *, after=0, limit=1000):
        self.asked += 1
        assert self.asked < 100, "it should have come to an end"
        return super().entries(org, after=after, limit=limit)


def eventful() -> World:
    """Every kind of record, several of most."""
    world = World(Impatient())
    world.publish({"run": {"second": Price(Flat(1, 3), minimum=60)}}, version="runs")
    world.grant(100)
    world.grant(50, kind="promotional", expires_at=T0 + HOUR, scope=["x"])
    kept = world.hold(20, expires_in=DAY, key="kept", member="ann")
    world.extend(kept, expires_in=2 * DAY, add=5)
    world.hold(10, expires_in=MINUTE, key="lapsing")
    world.hold(10, key="released", resource="x")
    world.billing.release("acme", "released")
    held = world.hold(units(30), key="settled", member="bob")
    world.settle(10, hold=held.key, final=False, member="bob")
    world.settle(25, hold=held.key, member="bob")
    world.settle(Usage.of("run", {"second": 10}, item="r1"), member="ann")
    world.settle(Usage.of("run", {"second": 70}, item="r1"), member="ann")
    world.settle(units(7, payer="customer"))
    unpriced = world.settle(units(3, "late"))
    world.publish(LATE, version="late")
    world.billing.price_unpriced("acme", "p", charge=unpriced.seq, version="late")
    world.clock.advance(2 * HOUR)
    debt = world.settle(units(100, "y"))
    world.grant(60)
    world.reverse(debt, 30)
    world.deduct(5)
    return world


def subscribed() -> World:
    """Besides, a plan, limits, and what counts towards them, over the end of a period."""
    world = eventful()
    world.publish({"x": {"unit": Price(Flat(1, 2))}}, version="pro-prices", plan="pro")
    plan = Plan("pro-1", "pro", LONG_AGO, allowance=nanos(30), rollover=nanos(10), grace=DAY)
    world.billing.publish(plan)
    world.hold(2, expires_in=60 * DAY, key="long", member="ann", project="p1")
    world.billing.set_plan("acme", "subscribe", "pro")
    world.billing.set_limit("acme", "l1", nanos(500), every="member", alerts=(1,))
    world.billing.set_limit("acme", "l2", nanos(300), project="p1", per="day")
    world.billing.set_limit("acme", "l3", nanos(400), member="ann")
    world.billing.set_low_balance("acme", "low", nanos(40))
    world.settle(units(9), member="ann", project="p1")
    world.clock.advance(40 * DAY)
    world.settle(units(50), member="ann", project="p1", hold="long", final=False)
    late = world.settle(units(4), member="cy", occurred_at=T0)
    world.reverse(late, 1)
    world.billing.set_plan("acme", "pause", "pro", paused=True)
    world.billing.set_plan("acme", "resume", "pro")
    return world


def test_all_is_well() -> None:
    world = eventful()
    assert world.wrong() == []
    result = world.billing.verify()
    assert (result.ok, result.orgs, result.entries) == (True, 1, len(world.entries()))


def org(world: World):
    return world.store._orgs["acme"]


def entry_of(world: World, op: str) -> Entry:
    return next(entry for entry in org(world).entries if entry.op == op)


def change(world: World, entry: Entry, **fields: object) -> None:
    at = org(world).entries.index(entry)
    org(world).entries[at] = attrs.evolve(entry, **fields)


def change_line(world: World, **fields: object) -> None:
    entry = entry_of(world, "settle")
    line = entry.usage.lines[0]._replace(**fields)
    change(world, entry, usage=entry.usage._replace(lines=(line, *entry.usage.lines[1:])))


def change_transfer(world: World, **fields: object) -> None:
    entry = entry_of(world, "settle")
    moved = entry.transfers[0]._replace(**fields)
    change(world, entry, transfers=(moved, *entry.transfers[1:]))


def delete_entry(world: World, index: int) -> None:
    del org(world).entries[index]


def swap(world: World) -> None:
    entries = org(world).entries
    entries[6], entries[7] = entries[7], entries[6]


ENTRIES: dict[str, Callable[[World], None]] = {
    "an amount": lambda w: change(w, entry_of(w, "settle"), amount=11),
    "a hold's amount": lambda w: change(w, entry_of(w, "hold"), amount=21),
    "a balance": lambda w: change(w, entry_of(w, "grant"), balance=101),
    "a key": lambda w: change(w, entry_of(w, "settle"), key="settle:other"),
    "a time of decision": lambda w: change(w, entry_of(w, "settle"), at=w.clock()),
    "a time of record": lambda w: change(w, entry_of(w, "settle"), recorded_at=1),
    "a content": lambda w: change(w, entry_of(w, "hold"), content='{"amount":1}'),
    "a content that is no JSON": lambda w: change(w, entry_of(w, "hold"), content="{"),
    "effects": lambda w: change(w, entry_of(w, "hold"), effects="{}"),
    "effects that are no JSON": lambda w: change(w, entry_of(w, "extend"), effects="nonsense"),
    "a hash": lambda w: change(w, entry_of(w, "settle"), hash=b"0" * 32),
    "a quantity": lambda w: change_line(w, quantity=11),
    "a billed quantity": lambda w: change_line(w, billed=11),
    "a line's amount": lambda w: change_line(w, amount=9),
    "a payer": lambda w: change_line(w, payer="customer"),
    "a component": lambda w: change_line(w, component="other"),
    "a price version": lambda w: change_line(w, version="base#0000000000000000"),
    "a counter in a line": lambda w: change_line(w, counter=1),
    "a carried fraction": lambda w: change_line(w, carry=1, carry_of=2),
    "a transfer's amount": lambda w: change_transfer(w, amount=9),
    "who paid": lambda w: change_transfer(w, debit="lot:1"),
    "who was paid": lambda w: change_transfer(w, credit="refunds"),
    "a transfer's kind": lambda w: change_transfer(w, kind="charge"),
    "a lot that is none": lambda w: change_transfer(w, debit="lot:99"),
    "a missing usage record": lambda w: change(w, entry_of(w, "settle"), usage=None),
    "missing transfers": lambda w: change(w, entry_of(w, "settle"), transfers=()),
    "a time of occurrence": lambda w: change(
        w, entry_of(w, "settle"), usage=entry_of(w, "settle").usage._replace(occurred_at=10**15)
    ),
    "a member": lambda w: change(
        w, entry_of(w, "settle"), usage=entry_of(w, "settle").usage._replace(member=1)
    ),
    "a deleted entry": lambda w: delete_entry(w, 5),
    "the first entry deleted": lambda w: delete_entry(w, 0),
    "the last entry deleted": lambda w: delete_entry(w, -1),
    "two entries swapped": swap,
    "an entry twice": lambda w: org(w).entries.append(org(w).entries[-1]),
    "every entry deleted": lambda w: org(w).entries.clear(),
}


@pytest.mark.parametrize("tamper", ENTRIES.values(), ids=ENTRIES)
def test_an_altered_journal_is_found(tamper: Callable[[World], None]) -> None:
    world = eventful()
    tamper(world)
    assert world.wrong()
    assert not world.billing.verify("acme").ok


def test_a_journal_that_comes_round_again_is_named() -> None:
    world = eventful()
    last = org(world).entries[-1]
    org(world).entries.extend([last] * 600)  # beyond a page
    words = f"acme: entry {last.seq}: stands in the journal more than once"
    assert words in world.wrong()


def first(rows: dict):
    return next(iter(rows.values()))


def recount(counter: Counter, component: str, **changed: int) -> None:
    counter.components[component] = counter.of(component)._replace(**changed)


ROWS: dict[str, tuple[str, Callable[[World], object]]] = {
    "a lot's remainder": ("lot 1", lambda w: setattr(org(w).lots[1], "remainder", 1)),
    "a lot's reserved part": ("lot 1", lambda w: setattr(org(w).lots[1], "reserved", 0)),
    "a lot's expiry": ("lot 1", lambda w: setattr(org(w).lots[1], "expires_at", w.clock() + 9)),
    "a lot's scope": ("lot 2", lambda w: setattr(org(w).lots[2], "scope", None)),
    "a lot's priority": ("lot 2", lambda w: setattr(org(w).lots[2], "priority", -1)),
    "a lot's kind": ("lot 2", lambda w: setattr(org(w).lots[2], "kind", "purchased")),
    "a lot's amount": ("lot 2", lambda w: setattr(org(w).lots[2], "amount", 5000)),
    "a lot more": (
        "lot 9",
        lambda w: org(w).lots.update({9: Lot(9, 1, "purchased", 0, 5, 5, 0, None, None)}),
    ),
    "a lot less": ("lot 2: missing", lambda w: org(w).lots.pop(2)),
    "a hold's parts": (
        "hold kept",
        lambda w: org(w).holds["kept"].parts.__setitem__(0, Draw(1, 1)),
    ),
    "a hold's state": ("hold", lambda w: setattr(org(w).holds["kept"], "state", "lapsed")),
    "a hold's expiry": ("hold kept", lambda w: setattr(org(w).holds["kept"], "expires_at", 9**15)),
    "a settled hold opened": (
        "hold settled",
        lambda w: setattr(org(w).holds["settled"], "state", "open"),
    ),
    "a hold more": (
        "hold new",
        lambda w: org(w).holds.update({"new": HoldRecord("new", None, 10**16, "open", [])}),
    ),
    "a hold less": ("hold kept: missing", lambda w: org(w).holds.pop("kept")),
    "a counter": (
        "counter",
        lambda w: recount(first(org(w).counters), "unit", quantity=1),
    ),
    "a carried fraction": (
        "counter run",
        lambda w: recount(
            next(c for c in org(w).counters.values() if c.resource == "run"), "second", carry=7
        ),
    ),
    "a counter more": (
        "counter z",
        lambda w: org(w).counters.update({("z", 1): Counter("z", 1, {"unit": Count(1)})}),
    ),
    "a counter less": ("counter ", lambda w: org(w).counters.popitem()),
    "an item": (
        "item r1/run",
        lambda w: first(org(w).items).components["second"].__setitem__(0, 1),
    ),
    "an item more": (
        "item r9/run",
        lambda w: org(w).items.update({("r9", "run"): Item("r9", "run")}),
    ),
    "an item less": ("item r1/run: missing", lambda w: org(w).items.clear()),
    "a charge's debt": ("charge", lambda w: setattr(first(org(w).charges), "unpaid", 10**6)),
    "a charge's reversals": ("charge", lambda w: setattr(first(org(w).charges), "reversed", 1)),
    "a charge less": ("charge ", lambda w: org(w).charges.popitem()),
    "a rollup's amount": ("rollup", lambda w: setattr(first(org(w).cells), "amount", 10**6)),
    "a rollup's requests": ("rollup", lambda w: setattr(first(org(w).cells), "requests", 99)),
    "a rollup's quantity": (
        "rollup",
        lambda w: first(org(w).cells).components.update({"unit": [10**6, 0]}),
    ),
    "a rollup more": (
        "rollup",
        lambda w: org(w).cells.update({CellKey("day", 0, 0, "x", "platform"): Cell(1, 1, {})}),
    ),
    "a rollup less": ("rollup ", lambda w: org(w).cells.popitem()),
}


@pytest.mark.usefixtures("summed_at_once")
@pytest.mark.parametrize(("where", "tamper"), ROWS.values(), ids=ROWS)
def test_an_edited_table_is_found_and_named(where: str, tamper: Callable[[World], object]) -> None:
    world = eventful()
    tamper(world)
    assert any(line.startswith(f"acme: {where}") for line in world.wrong()), world.wrong()


TERMS: dict[str, Callable[[MemoryStore], None]] = {
    "subscription": lambda o: o.subscriptions.popitem(),
    "subscription ": lambda o: o.subscriptions.clear(),
    "limit": lambda o: o.limits.update(
        {key: each._replace(amount=1) for key, each in o.limits.items()}
    ),
    "limit ": lambda o: o.limits.clear(),
    "spend org/held": lambda o: setattr(o.spends["org", "held", 0], "amount", 7),
    "spend project:p1/period": lambda o: [
        setattr(each, "amount", each.amount + 1) for each in o.spends.values()
    ],
    "spend ": lambda o: o.spends.clear(),
}


@pytest.mark.parametrize("name", TERMS)
def test_altered_plans_and_limits_are_found(name: str) -> None:
    world = subscribed()
    assert world.wrong() == []
    TERMS[name](org(world))
    assert any(name in line for line in world.wrong())


FIELDS = [field.name for field in attrs.fields(Account) if field.name != "org"]
OTHER = {
    "currency": "EUR",
    "livemode": False,
    "head": b"1" * 32,
    "next_lapse": None,
    "closed_at": 10**15,
    "plan": "free",
    "paused": True,
    "low_balance": None,
    "topup_below": 1,
    "topup_open": True,
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_an_account_is_checked(name: str) -> None:
    world = subscribed()
    account = org(world).account
    if name in OTHER:
        setattr(account, name, OTHER[name])
    else:
        setattr(account, name, getattr(account, name) + 1)
    assert any(line.startswith("acme: account: ") and name in line for line in world.wrong())


def test_an_altered_price_book_is_found() -> None:
    world = eventful()
    book = world.store._published[0]
    body = book.body.replace('"flat":[1,1]', '"flat":[2,1]')
    assert body != book.body
    world.store._published[0] = attrs.evolve(book, body=body)
    afresh = World(world.store, now=world.clock.now, priced=False, opened=False)
    assert any("version base" in line for line in afresh.wrong())


def test_a_price_book_altered_with_its_digest_is_found_by_the_charges() -> None:
    world = eventful()
    book = world.store._published[0]
    fake = type(book).of(
        attrs.evolve(
            world.billing.catalogue().books[f"base#{book.digest[:16]}"],
            prices={"x": {"unit": Price(Flat(2))}},
        ),
        book.number,
        book.published_at,
    )
    world.store._published[0] = fake
    afresh = World(world.store, now=world.clock.now, priced=False, opened=False)
    assert any("price version base#" in line for line in afresh.wrong())


def test_a_price_book_that_is_gone_is_found() -> None:
    world = eventful()
    world.store._published.pop(0)
    afresh = World(world.store, now=world.clock.now, priced=False, opened=False)
    assert afresh.wrong()


def rehash(world: World, start: int = 0) -> None:
    """What somebody who knows the code would do: make the whole tail fit again."""
    entries = org(world).entries
    head = entries[start - 1].hash if start else b""
    for index, e in enumerate(entries[start:], start):
        entry = attrs.evolve(e, seq=index + 1)
        head = chained(head, entry)
        entries[index] = attrs.evolve(entry, hash=head)
    org(world).account.head = head


def test_even_with_new_hashes_the_arithmetic_is_checked() -> None:
    for fields in ({"amount": 9}, {"quantity": 11}, {"counter": 1}, {"version": "v9"}):
        world = eventful()
        change_line(world, **fields)
        rehash(world)
        assert world.wrong(), fields
    for fields in ({"amount": 11}, {"balance": 5}):
        world = eventful()
        change(world, entry_of(world, "settle"), **fields)
        rehash(world)
        assert world.wrong(), fields


# -- checkpoints ----------------------------------------------------------------


def quiet() -> World:
    world = World()
    for _ in range(4):
        world.grant(10)
        world.settle(3)
    return world


def test_a_checkpoint_survives_json_and_verify_goes_on_from_it() -> None:
    world = eventful()
    kept = {
        name: Checkpoint.from_json(each.to_json())
        for name, each in world.billing.verify().checkpoints.items()
    }
    assert kept == world.billing.verify().checkpoints
    world.settle(Usage.of("run", {"second": 10}, item="r1"), member="ann")
    world.settle(5, hold="kept")
    world.clock.advance(3 * DAY)
    world.reverse(world.settle(1))
    read: list[tuple[str, int, int]] = []
    result = world.billing.verify(checkpoints=kept, progress=lambda *each: read.append(each))
    assert [str(each) for each in result.discrepancies] == []
    assert result.checkpoints == world.billing.verify().checkpoints
    assert read == [("acme", len(world.entries()), len(world.entries()))]


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"org":"acme"}', "not json", "\x00"])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(InvalidCommand, match="checkpoint"):
        Checkpoint.from_json(text)


def test_from_a_checkpoint_only_what_follows_is_read() -> None:
    asked: list[int] = []

    class Watched(MemoryStore):
        def entries(self, org, *, after=0, limit=1000):
            asked.append(after)
            return super().entries(org, after=after, limit=limit)

    world = World(Watched())
    for _ in range(5):
        world.grant(10)
    kept = world.billing.verify().checkpoints
    world.settle(3)
    asked.clear()
    assert world.billing.verify(checkpoints=kept).ok
    assert min(asked) == 5


@pytest.mark.parametrize("from_where", [0, 3, 8])
def test_a_rewritten_tail_is_found_against_a_checkpoint(from_where: int) -> None:
    """Consistent in itself, so that nothing else could find it."""
    world, other = quiet(), quiet()
    kept = world.billing.verify().checkpoints
    entries = org(other).entries
    if from_where:
        entries[from_where:] = []
    clone = World(other.store, now=T0 + MINUTE, priced=False, opened=False)
    forged = World(now=T0 + timedelta(seconds=1))
    for _ in range(4):
        forged.grant(20)
        forged.settle(1)
    assert forged.wrong() == []
    found = [str(each) for each in forged.billing.verify(checkpoints=kept).discrepancies]
    assert found == ["acme: entry 9: not the one that the checkpoint saw"]
    assert clone.wrong() or not from_where or from_where == 8


def test_a_truncated_tail_is_found_against_a_checkpoint() -> None:
    world, shorter = quiet(), World()
    for _ in range(3):
        shorter.grant(10)
        shorter.settle(3)
    assert shorter.wrong() == []
    kept = world.billing.verify().checkpoints
    found = shorter.billing.verify(checkpoints=kept).discrepancies
    assert [each.where for each in found] == ["entry 9"]


def test_an_org_that_is_gone_is_found_against_a_checkpoint() -> None:
    world = quiet()
    world.billing.open_account("other")
    kept = world.billing.verify().checkpoints
    del world.store._orgs["other"]
    assert world.wrong() == []
    assert {each.org for each in world.billing.verify(checkpoints=kept).discrepancies} == {"other"}
    with suppress(NotFound):
        assert not world.billing.verify("other", checkpoints=kept).ok


def test_what_was_tampered_before_a_checkpoint_shows_in_the_tables_all_the_same() -> None:
    world = eventful()
    kept = world.billing.verify().checkpoints
    org(world).lots[1].remainder += 1
    assert not world.billing.verify(checkpoints=kept).ok


def test_no_checkpoint_is_made_of_what_is_wrong() -> None:
    world = quiet()
    world.billing.open_account("other")
    org(world).account.balance += 1
    assert list(world.billing.verify().checkpoints) == ["other"]


def test_an_org_that_is_not_on_record_is_not_found_to_be_right() -> None:
    with pytest.raises(NotFound, match="org"):
        World().billing.verify("nobody")


def test_progress_is_told_as_it_goes() -> None:
    world = World()
    world.billing.execute(
        Settle("acme", f"call {number}", usage=units(0)) for number in range(1203)
    )
    told: list[tuple[str, int, int]] = []
    world.billing.verify(progress=lambda *each: told.append(each))
    assert told == [("acme", 500, 1204), ("acme", 1000, 1204), ("acme", 1204, 1204)]


def test_a_line_names_its_own_fields() -> None:
    """What the hash covers is the whole line."""
    line = Line("unit", 1, 1, "platform", 1, "v1")
    assert len(line) == 9


# -- what nothing else leads to ---------------------------------------------------


def published_twice() -> World:
    """A document that nobody was charged by is the last one."""
    world = quiet()
    world.publish({"unused": {"unit": Price(Flat(35))}}, version="unused")
    return world


def afresh(world: World, **options) -> list[str]:
    """What another process finds."""
    return World(world.store, now=world.clock.now, priced=False, opened=False).wrong(**options)


def test_a_document_that_nobody_was_charged_by_is_missed_when_it_is_gone() -> None:
    world = published_twice()
    assert afresh(world) == []
    del world.store._published[-1]
    assert afresh(world) == [": document 2: missing: the last one published had number 2"]


def test_a_document_in_between_is_missed_when_it_is_gone() -> None:
    world = published_twice()
    world.publish({"more": {"unit": Price(Flat(1))}}, version="more")
    del world.store._published[1]
    assert afresh(world) == [": document 2: missing: number 3 follows 1"]


def test_a_document_that_is_gone_with_its_mark_is_found_against_a_checkpoint() -> None:
    world = published_twice()
    kept = world.billing.verify().checkpoints
    world.publish({"more": {"unit": Price(Flat(1))}}, version="more")
    assert afresh(world, checkpoints=kept) == [], "more may be published"
    del world.store._published[1:]
    world.store._marks.clear()
    assert afresh(world) == []
    [found] = afresh(world, checkpoints=kept)
    assert found == "acme: published: not the 2 documents that the checkpoint saw"


def test_no_checkpoint_is_made_beside_a_document_that_is_wrong() -> None:
    world = published_twice()
    del world.store._published[-1]
    other = World(world.store, now=world.clock.now, priced=False, opened=False)
    assert other.billing.verify().checkpoints == {}


def test_a_document_that_cannot_be_read_is_named_and_the_orgs_are_verified_all_the_same() -> None:
    world = published_twice()
    world.store._published[1] = attrs.evolve(world.store._published[1], body="nonsense")
    found = afresh(world)
    assert [line.partition(":")[2].split(":")[0] for line in found] == [" version unused"] * 2


def test_whom_an_ended_hold_was_for_is_found_and_named() -> None:
    for field, value in (("member", 1), ("project", "p"), ("counted", [(1, "unit", 3)])):
        world = eventful()
        setattr(org(world).holds["settled"], field, value)
        named = [line for line in world.wrong() if line.startswith("acme: hold settled: ")]
        assert len(named) == 1, field
        assert f" {field} " in named[0]


def test_a_checkpoint_without_labels_of_ended_holds_is_gone_on_from() -> None:
    world = eventful()
    [kept] = world.billing.verify().checkpoints.values()
    state = json.loads(kept.state)
    for newer in ("ended_shares", "published", "events", "asked"):
        del state[newer]
    before = attrs.evolve(kept, state=json.dumps(state))
    world.hold(1, key="another", member="ann")
    world.billing.release("acme", "another")
    found = world.billing.verify(checkpoints={"acme": before})
    assert [str(each) for each in found.discrepancies] == []
    events = json.loads(found.checkpoints["acme"].state)["events"]
    assert events == [None, 0, "0"], "none was raised since"
    org(world).holds["another"].state = "lapsed"
    assert world.wrong(checkpoints={"acme": before})


def test_what_a_checkpoint_adds_up_is_added_up_alike_by_whoever_goes_on_from_it() -> None:
    """A checkpoint is kept for years: these sums are what versions to come must lead to."""
    [kept] = eventful().billing.verify().checkpoints.values()
    state = json.loads(kept.state)
    assert state["ended"] == [
        3,
        "dadcede38d6938e6fb45a39a004c06427a4330ec2cca3eb71e88af43f2518a47",
        "fa10bb3c5a98d751250e7a0844731df004e62c1629bbb52f60de9b1a21087b79",
    ]
    assert len(state["ended_shares"]) == 64
    assert {n: each for n, each in enumerate(state["ended_shares"]) if each != "0"} == {
        18: "cecb5fee8262d58e1826a17ce321cd9f6964cdab7d640b5af441523f8e3528bd",
        19: "e476c9e63e2d8913db0405711627e846ccc00794ac9e64fd9cbd13cb5217c252",
    }
    assert state["events"] == [
        1, 3, "d7b8b8f2d8b23f348dc96d2b7f3f24bb127af5bdc1919286572c138996912a4b"
    ]  # fmt: skip


def test_an_event_that_is_altered_or_gone_or_new_is_found_and_named() -> None:
    def event(world: World):
        return org(world).events[0]

    edits: dict[str, Callable[[World], object]] = {
        "kind": lambda w: org(w).events.__setitem__(0, event(w)._replace(kind="depleted")),
        "data": lambda w: org(w).events.__setitem__(0, event(w)._replace(data="{}")),
        "gone": lambda w: org(w).events.pop(0),
        "new": lambda w: org(w).events.insert(1, event(w)._replace(n=2)),
    }
    for name, edit in edits.items():
        world = eventful()
        kept = world.billing.verify().checkpoints
        seq = event(world).seq
        edit(world)
        for found in (world.wrong(), world.wrong(checkpoints=kept)):
            assert any(line.startswith(f"acme: event {seq}") for line in found), name


def test_an_event_of_an_entry_that_raised_none_is_found_and_named() -> None:
    world = eventful()
    org(world).events.insert(0, Event(1, 1, "depleted", "{}"))
    assert any(line.startswith("acme: event 1/1: on record") for line in world.wrong())


def test_a_member_number_that_was_never_given_or_given_twice_is_found() -> None:
    for number, what in ((9, "member 9: the last number given is 2"), (2, "member 2: is the")):
        world = eventful()
        org(world).members["ann"] = number
        assert any(line.startswith(f"acme: {what}") for line in world.wrong())


@pytest.mark.parametrize("mark", ["heard:live", "heard:test", "news:live"])
def test_news_marked_as_read_up_to_a_time_to_come_is_found(mark: str) -> None:
    world = quiet()
    world.store.set_mark(mark, world.clock() + 86_400_000_000)
    assert world.wrong() == [], "clocks may differ by a day"
    world.store.set_mark(mark, world.clock() + 86_400_000_001)
    [found] = world.wrong()
    assert f"mark {mark}" in found


def test_events_leased_for_ever_are_found() -> None:
    world = eventful()
    world.store.lease_events("acme", "w", world.clock(), world.clock() + 86_400_000_000 // 2)
    assert world.wrong() == []
    world.store.lease_events("acme", "w", world.clock(), 2**62)
    [found] = world.wrong()
    assert found.startswith("acme: delivery: w has the events until ")


def test_of_many_events_the_altered_one_alone_is_named() -> None:
    world = subscribed()
    events = org(world).events
    assert len(events) > 3
    middle = events[len(events) // 2]
    events[len(events) // 2] = middle._replace(data="{}")
    [found] = world.billing.verify().discrepancies
    assert found.where == f"event {middle.seq}"


def test_a_next_lapse_between_two_ends_is_found() -> None:
    world = World()
    world.grant(100)
    world.hold(10, expires_in=HOUR, key="first")
    world.hold(10, expires_in=3 * HOUR, key="second")
    account = org(world).account
    account.next_lapse += 2 * 3600 * 10**6
    [found] = world.billing.verify().discrepancies
    assert (found.where, "next_lapse" in found.what) == ("account", True)
