"""A journal that somebody rewrote who knows the code, hashes included: each entry's own
arithmetic is checked, and what is wrong is named."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import attrs
import pytest
from test_runs import BOX
from test_verify import org, rehash
from world import DAY, MINUTE, SECOND, T0, World, nanos, units

from billing_core import Flat, Graduated, Price, Tier, Usage
from billing_core.records.ledger import Entry, Transfer

Alter = Callable[[Entry], dict[str, Any]]
"""The fields that are to be others, of an entry."""


def eventful() -> World:
    world = World()
    micro = Price(Flat(1000, 1_000_000), unit="microsecond")
    shelf = Price(Flat(1, 1_000_000), unit="byte-microsecond")
    world.publish({"sandbox:box": {"second": micro}}, version="boxes")
    world.publish({"storage:*": {"byte_us": shelf}}, version="shelves")
    tiers = Graduated((Tier(2, 0), Tier(None, 10)))
    world.publish({"tool:search": {"call": Price(tiers, unit="call")}}, version="tools")
    world.publish({"y": {"unit": Price(Flat(2))}}, version="others", plan="others")
    world.publish({"y": {"unit": Price(Flat(3))}}, version="later", effective_at=T0 + 20 * DAY)
    world.grant(50, kind="promotional", scope=["x"], expires_at=T0 + DAY, key="g1")
    world.grant(10**9, key="g2")
    world.hold(20, key="h1")
    world.settle(15, hold="h1", key="s1")
    world.reverse(world.deduct(9, key="d1"), 4, key="rev")
    world.settle(units(6, "y"), key="s2")
    undone = world.settle(Usage.of("tool:search", {"call": 3}), key="u1")
    world.settle(Usage.of("tool:search", {"call": 2}), key="u2")
    world.reverse(undone, undo_usage=True, key="undo")
    run(world)
    store(world)
    world.clock.advance(2 * DAY)
    world.settle(1, key="after the end")
    [expired] = world.billing.expiries("acme", since=T0)
    world.billing.undo_expiry("acme", expired.seq, expires_at=None)
    assert world.wrong() == []
    return world


def run(world: World) -> None:
    """Given back of, forgiven in part, and charged again."""
    billing = world.billing
    billing.start_run("acme", "r1", BOX, member="ann", project="p")
    world.clock.advance(10 * SECOND)
    billing.heartbeat("acme", "r1")
    begun = T0 + 2 * SECOND
    billing.suspend_run("acme", "r1", occurred_at=begun, until=begun + SECOND)
    world.clock.advance(SECOND)
    billing.stop_run("acme", "r1")
    billing.forgive_run("acme", "f1", "r1", reason="slow", amount=nanos(3000))
    billing.undo_forgiveness("acme", "f2", "r1")


def store(world: World) -> None:
    """A size that was told too late."""
    world.billing.report_storage("acme", "ws", 100)
    world.clock.advance(MINUTE)
    world.billing.bill_storage("acme")
    world.billing.report_storage("acme", "ws", 90, occurred_at=world.clock.now - SECOND)


@pytest.fixture(scope="module")
def whole() -> World:
    return eventful()


def forged(world: World, key: str, alter: Alter) -> tuple[int, list[str]]:
    """The number of an entry that is altered, the chain mended behind it, and what of it verify
    finds."""
    kept = deepcopy(org(world))
    entries = org(world).entries
    index = next(n for n, each in enumerate(entries) if each.key.partition("@")[0] == key)
    try:
        entries[index] = attrs.evolve(entries[index], **alter(entries[index]))
        rehash(world)
        seq = entries[index].seq
        return seq, [line for line in world.wrong() if line.startswith(f"acme: entry {seq}:")]
    finally:
        world.store._orgs["acme"] = kept


def line(**fields: Any) -> Alter:
    """The first line of what was used."""

    def alter(entry: Entry) -> dict[str, Any]:
        assert entry.usage is not None
        first, *others = entry.usage.lines
        return {"usage": entry.usage._replace(lines=(first._replace(**fields), *others))}

    return alter


def effects(**fields: Any) -> Alter:
    return lambda entry: {"effects": json.dumps({**json.loads(entry.effects), **fields})}


def content(**fields: Any) -> Alter:
    return lambda entry: {"content": json.dumps({**json.loads(entry.content), **fields})}


def stands(index: int, value: int) -> Alter:
    """What a run or workspace has come to, as its entry says it."""

    def alter(entry: Entry) -> dict[str, Any]:
        said = json.loads(entry.effects)
        said["stands"][index] += value
        return {"effects": json.dumps(said)}

    return alter


def forgiven(amount: int, quantity: int = 0) -> Alter:
    """A line more, by which so many nanos are forgiven of a run."""

    def alter(entry: Entry) -> dict[str, Any]:
        assert entry.usage is not None
        more = entry.usage.lines[-1]._replace(
            component="forgiven", quantity=quantity, billed=0, amount=-amount, version=""
        )
        return {"usage": entry.usage._replace(lines=(*entry.usage.lines, more))}

    return alter


def moves(*more: Transfer) -> Alter:
    return lambda entry: {"transfers": (*entry.transfers, *more)}


def other(index: int = 0, **fields: Any) -> Alter:
    """One transfer is another."""

    def alter(entry: Entry) -> dict[str, Any]:
        found = list(entry.transfers)
        found[index] = found[index]._replace(**fields)
        return {"transfers": tuple(found)}

    return alter


def amount(more: int) -> Alter:
    return lambda entry: {"amount": entry.amount + more}


FORGED: dict[str, tuple[str, Alter, str]] = {
    "a transfer of nothing": (
        "grant:g2", moves(Transfer("lot:2", "promotions", 0, "grant")), "a transfer of 0",
    ),
    "a transfer of less than nothing": (
        "grant:g2", moves(Transfer("lot:2", "promotions", -1, "grant")), "a transfer of -1",
    ),
    "a balance of one more": (
        "grant:g2", lambda entry: {"balance": entry.balance + 1},
        "balance 1000000051; its transfers lead to 1000000050",
    ),
    "a time before the entry before it": (
        "settle:s1", lambda entry: {"at": entry.at - 1}, "decided before the entry before it",
    ),
    "a record before the entry before it": (
        "settle:s1", lambda entry: {"recorded_at": entry.recorded_at - 1},
        "recorded before the entry before it",
    ),
    "lines that are another amount": (
        "settle:s1", amount(1), "amount 16; its lines add up to 15",
    ),
    "transfers that are another amount": (
        "settle:s1", amount(1), "amount 16; its transfers charge 15",
    ),
    "a reversal's lines that are another amount": (
        "reverse:rev", amount(-1), "amount 3; its lines give back 4",
    ),
    "a reversal's transfers that are another amount": (
        "reverse:rev", amount(-1), "amount 3; its transfers give back 4",
    ),
    "more captured than held": (
        "settle:s1", other(amount=21), "captures 1 more than hold h1 has",
    ),
    "more spent than there is": (
        "deduct:d1", other(amount=51), "lot 1 pays 1 more than it has",
    ),
    "reserved of nothing": (
        "deduct:d1", other(amount=51), "lot 1 has 0 reserved of -1",
    ),
    "a lot's number twice": (
        "grant:g2", effects(lot=1), "lot 1 out of order",
    ),
    "a lot's number left out": (
        "grant:g2", effects(lot=3), "lot 3 out of order",
    ),
    "reversed beyond its amount": (
        "reverse:rev", lambda entry: {"amount": 10, **other(amount=10)(entry)},
        "charge 6 is reversed beyond its amount",
    ),
    "given back to another lot": (
        "reverse:rev", other(credit="lot:2"), "refills lot 2, which did not pay last",
    ),
    "counted from elsewhere": (
        "settle:u2", line(counter=2), "call counts from 2, not from 3",
    ),
    "a fraction out of nowhere": (
        "settle:s2", line(carry=1, carry_of=2), "unit counts from 0, not from 0",
    ),
    "another amount than the price says": (
        "settle:u1", line(amount=9), "call charges 9; its price says 10",
    ),
    "another quantity billed than used": (
        "settle:s2", line(quantity=5), "unit bills 6 for 5",
    ),
    "a version that is none": (
        "settle:s2", line(version="none#0"), "price version none#0 is not on record as it was",
    ),
    "undone in part": (
        "undone:9", line(quantity=-2), "leaves {('call', 'platform'): [1, 0]} of charge 9",
    ),
    "undone for somebody else": (
        "undone:9", lambda entry: {"usage": entry.usage._replace(member=1)},
        "undoes other usage than that of charge 9",
    ),
    "undone for another amount": (
        "reverse:undo", amount(1), "gives back 11, not 10",
    ),
    "what expired comes back with nobody's word": (
        "settle:after the end", moves(Transfer("expired", "lot:1", 1, "refill")),
        "what has expired comes back",
    ),
    "paid by a lot that has ended": (
        "settle:after the end", other(debit="lot:1"), "lot 1 pays after its end",
    ),
    "more restored than expired": (
        "restore:30", amount(1), "amount 46; what expired was 45",
    ),
    "restored to another lot": (
        "restore:30", effects(lots=[[3, 2]]), "lot 3 has 45 back, which is not what lot 2 lost",
    ),
    "a lot forgotten when it is restored": (
        "restore:30", effects(lots=[]), "lots [1] get nothing back",
    ),
    "restored under another key": (
        "restore:30", content(expiry=6), "restore:30 undoes expiry 6",
    ),
    "a piece of another story": (
        "piece:run:r1:3", effects(story=1), "story 1; its period's is",
    ),
    "a piece out of order": (
        "piece:run:r1:3", lambda entry: {"key": "piece:run:r1:7"}, "piece:run:r1:7 out of order",
    ),
    "a nano forgiven and charged": (
        "piece:run:r1:3", forgiven(1), "charges 10000, forgiven 1: not what its story has",
    ),
    "a nano less than nothing forgiven": (
        "piece:run:r1:3", forgiven(-1), "-1 of 10000 nanos are forgiven",
    ),
    "more forgiven than charged": (
        "back:run:r1:4", forgiven(7001), "10001 of 10000 nanos are forgiven",
    ),
    "more time forgiven than it ran": (
        "back:run:r1:4", forgiven(0, 7_000_001), "3000 of 10000 nanos are forgiven",
    ),
    "less time forgiven than none": (
        "piece:run:r1:3", forgiven(0, -1), "0 of 10000 nanos are forgiven",
    ),
    "given back to who paid earlier": (
        "back:run:r1:2", other(credit="lot:1"), "refills lot:1, which paid earlier",
    ),
    "a run's charge of one more": (
        "stop:r1", stands(1, 1), "charges 1001; its pieces add up to 1000",
    ),
    "a run's entry of one more": (
        "stop:r1", amount(1), "charges 1000; its pieces add up to 1000",
    ),
    "a run's charge and its entry of one more": (
        "stop:r1", lambda entry: stands(1, 1)(entry) | amount(1)(entry),
        "charges 1001; its pieces add up to 1000",
    ),
    "a start that charges": (
        "start:r1", stands(1, 1), "charges 1; its pieces add up to 0",
    ),
    "a run's time of one more": (
        "stop:r1", stands(2, 1), "run r1 ran 10000001 us; 10000000 us of it are posted",
    ),
    "a deadline taken back": (
        "heartbeat:r1", stands(3, -400_000_000), "run r1 was funded until",
    ),
    "a bill of one more": (
        "storage:ws", stands(0, 1), "charges 6001; its pieces add up to 6000",
    ),
    "a bill's entry of one more": (
        "storage:ws", amount(1), "charges 6000; its pieces add up to 6000",
    ),
    "a bill and its entry of one more": (
        "storage:ws", lambda entry: stands(0, 1)(entry) | amount(1)(entry),
        "charges 6001; its pieces add up to 6000",
    ),
    "a bill of another size": (
        "storage:ws", stands(1, 1), "ws has 100 bytes, to",
    ),
    "a bill up to another time": (
        "storage:ws", stands(2, 1), "ws has 100 bytes, to",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_entry_is_found_and_named(whole: World, name: str) -> None:
    key, alter, words = FORGED[name]
    seq, found = forged(whole, key, alter)
    assert any(words in each for each in found), (seq, found)


@pytest.mark.parametrize(
    ("version", "words"),
    [("others", "is for plan:others"), ("later", "was not in force yet")],
)
def test_a_version_that_could_not_apply_is_found_and_named(
    whole: World, version: str, words: str
) -> None:
    known = whole.billing.catalogue().books
    [name] = [each for each in known if each.startswith(f"{version}#")]
    seq, found = forged(whole, "settle:s2", line(version=name, amount=12))
    assert any(f"price version {name} {words}" in each for each in found), (seq, found)


def test_storage_of_which_too_little_is_posted_is_found_and_named() -> None:
    """Its entries agree with each other; the sizes make more than they say."""
    world = World()
    shelf = Price(Flat(1, 1_000_000), unit="byte-microsecond")
    world.publish({"storage:*": {"byte_us": shelf}}, version="shelves")
    world.grant(10**9)
    world.billing.report_storage("acme", "ws", 100)
    world.clock.advance(MINUTE)
    world.billing.bill_storage("acme")
    entries = org(world).entries
    for index, entry in enumerate(entries):
        if entry.op in ("size", "storage"):
            said = content(size=101)(entry) if entry.op == "size" else {}
            entries[index] = attrs.evolve(entry, **said, **stands(1, 1)(entry))
    org(world).storages["ws"].size = 101
    [size] = org(world).sizes.values()
    org(world).sizes["ws", size.at] = size._replace(size=101)
    rehash(world)
    posted = "6060000000 byte-us; 6000000000 of them are posted"
    assert world.wrong() == [f"acme: storage ws: {posted}"]
