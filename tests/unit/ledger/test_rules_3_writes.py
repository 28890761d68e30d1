"""Section 3: the one way of a write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import DAY, HOUR, SECOND, T0, FailingStore, World, nanos, units

from billing_core import (
    Charged,
    Close,
    Deduct,
    Extend,
    Grant,
    Granted,
    Held,
    Hold,
    IdempotencyConflict,
    InvalidCommand,
    NotFound,
    OpenAccount,
    Refusal,
    Refused,
    Release,
    Reverse,
    Settle,
    StoreError,
    Success,
    UnknownPrice,
    Usage,
)
from billing_core.decide import decide, wanted
from billing_core.ledger.inputs import Terms
from billing_core.pricing.catalogue import Catalogue
from billing_core.testing import MemoryStore


def test_3_1_each_command_has_an_outcome_of_its_own() -> None:
    world = World()
    world.granted(10, key="used")
    outcomes = world.billing.execute(
        [
            Grant("acme", "g", amount=nanos(5)),
            Deduct("acme", "d", cost=units(16)),
            Grant("acme", "used", amount=nanos(11)),
            Settle("nobody", "s", usage=units(1)),
            Hold("acme", "h", cost=units(1, "unheard of"), expires_in=HOUR),
            Settle("acme", "s", usage=units(1), at=T0 + DAY),
            Deduct("acme", "d2", cost=units(15)),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [
        Granted,
        Refusal,
        IdempotencyConflict,
        NotFound,
        UnknownPrice,
        InvalidCommand,
        Charged,
    ]
    assert outcomes[1].shortfall == 1


def test_3_1_a_failed_command_moves_nothing_and_disturbs_no_neighbour() -> None:
    good = [Grant("acme", "g", amount=nanos(5)), Deduct("acme", "d", cost=units(5))]
    bad = [
        Deduct("acme", "too much", cost=units(99)),
        Hold("acme", "h", cost=nanos(99), expires_in=HOUR),
        Hold("acme", "h2", cost=units(1, "unheard of"), expires_in=HOUR),
        Reverse("acme", "r", charge=99),
        Settle("acme", "s", usage=units(2**63)),
        Release("acme", "r", hold="unheard of"),
        Extend("acme", "e", hold="unheard of", expires_in=HOUR),
        OpenAccount("acme", key="again"),
    ]
    alone, mixed = World(), World()
    expected = alone.billing.execute(good)
    outcomes = mixed.billing.execute([*bad, good[0], *bad[:2], good[1], *bad])
    assert [each for each in outcomes if isinstance(each, Success)] == expected
    assert mixed.state() == alone.state()


def test_3_1_nobody_is_told_of_success_before_the_commit() -> None:
    world = World(FailingStore())
    before = world.state()
    world.store.fail = "before"
    with pytest.raises(StoreError):
        world.granted(5, key="g")
    assert world.state() == before
    world.store.fail = None
    assert not world.granted(5, key="g").replayed
    assert world.balance().balance == 5


def test_3_1_a_commit_that_fails_midway_changes_nothing() -> None:
    class Breaks(MemoryStore):
        def _commit(self, name, changes):
            if name == "other" and changes.entries[0].op == "grant":
                raise StoreError("the disk is full")
            super()._commit(name, changes)

    world = World(Breaks())
    world.billing.open_account("other")
    before = world.state()
    with pytest.raises(StoreError):
        world.billing.execute([Grant(org, "g", amount=nanos(1)) for org in ("acme", "other")])
    assert world.state() == before


def test_3_1_an_unknown_outcome_is_resolved_by_sending_the_same_again() -> None:
    world = World(FailingStore())
    world.store.fail = "after"
    with pytest.raises(StoreError) as failed:
        world.granted(5, key="g")
    assert failed.value.outcome_unknown
    world.store.fail = None
    assert world.granted(5, key="g").replayed
    assert world.balance().balance == 5


def test_3_1_what_is_no_command_is_refused_before_anything_is_done() -> None:
    world = World()
    before = world.state()
    for bad in ("grant", None, Grant, units(1)):
        with pytest.raises(InvalidCommand):
            world.billing.execute([Grant("acme", "g", amount=nanos(5)), bad])
    for none in (None, 5, Grant("acme", "g", amount=nanos(5))):
        with pytest.raises(InvalidCommand, match="commands, such as"):
            world.billing.execute(none)
        with pytest.raises(InvalidCommand, match="commands, such as"):
            list(world.billing.execute_many(none))
    assert world.state() == before
    assert world.billing.execute([]) == []


def test_3_1_the_named_methods_raise_what_execute_answers() -> None:
    world = World()
    with pytest.raises(Refused) as refused:
        world.deduct(5, key="d")
    assert world.billing.execute([Deduct("acme", "d", cost=units(5))]) == [refused.value.refusal]
    with pytest.raises(NotFound):
        world.settle(5, "nobody")


def test_3_2_commands_see_the_effects_of_those_before_them() -> None:
    world = World()
    outcomes = world.billing.execute(
        [
            Deduct("acme", "d1", cost=units(5)),
            Grant("acme", "g", amount=nanos(5)),
            Hold("acme", "h", cost=nanos(4), expires_in=HOUR),
            Deduct("acme", "d2", cost=units(2)),
            Settle("acme", "s", usage=units(1), hold="h"),
            Deduct("acme", "d2", cost=units(2)),
        ]
    )
    kinds = [Refusal, Granted, Held, Refusal, Charged, Charged]
    assert [type(outcome) for outcome in outcomes] == kinds
    assert world.balance().balance == 2


def test_3_2_a_charge_of_the_batch_is_named_by_its_number() -> None:
    world = World()
    world.grant(100)
    next_one = len(world.entries()) + 1
    first, second, back, again, early = world.billing.execute(
        [
            Deduct("acme", "d1", cost=units(5)),
            Deduct("acme", "d2", cost=units(7)),
            Reverse("acme", "r1", charge=next_one),
            Reverse("acme", "r2", charge=next_one + 1),
            Reverse("acme", "r3", charge=next_one + 4),
        ]
    )
    assert (first.seq, second.seq) == (next_one, next_one + 1)
    assert (back.refilled, again.refilled) == (5, 7)
    assert isinstance(early, NotFound)
    assert world.balance().balance == 100
    assert world.wrong() == []


def test_3_2_two_with_one_key_are_one_effect_and_two_equal_outcomes() -> None:
    world = World()
    twice = Grant("acme", "g", amount=nanos(5))
    first, second = world.billing.execute([twice, twice])
    assert first == second
    assert (first.replayed, second.replayed) == (False, True)
    assert world.balance().balance == 5


KEYS = st.sampled_from("abc")
AMOUNTS = st.integers(1, 12)
QUANTITIES = st.integers(0, 12)
RESOURCES = st.sampled_from(["x", "y"])
MEMBERS = st.sampled_from([None, "ann", "bob"])
USAGE = st.builds(units, QUANTITIES, RESOURCES)
COMMANDS = st.one_of(
    st.builds(
        lambda key, amount, scope, days: Grant(
            "acme",
            key,
            amount=nanos(amount),
            scope=scope,
            expires_at=None if days is None else T0 + days * DAY,
        ),
        KEYS,
        AMOUNTS,
        st.sampled_from([None, ("x",)]),
        st.sampled_from([None, 1]),
    ),
    st.builds(
        lambda key, amount, resource, member: Hold(
            "acme", key, cost=nanos(amount), expires_in=HOUR, resource=resource, member=member
        ),
        KEYS,
        AMOUNTS,
        RESOURCES,
        MEMBERS,
    ),
    st.builds(lambda key, usage: Hold("acme", key, cost=usage, expires_in=HOUR), KEYS, USAGE),
    st.builds(
        lambda key, hold, add: Extend(
            "acme", key, hold=hold, expires_in=2 * HOUR, add=nanos(add) if add else None
        ),
        KEYS,
        KEYS,
        QUANTITIES,
    ),
    st.builds(lambda key, hold: Release("acme", key, hold=hold), KEYS, KEYS),
    st.builds(
        lambda key, usage, hold, more, member: Settle(
            "acme", key, usage=usage, hold=hold, final=not more, member=member
        ),
        KEYS,
        USAGE,
        st.none() | KEYS,
        st.booleans(),
        MEMBERS,
    ),
    st.builds(lambda key, usage: Deduct("acme", key, cost=usage), KEYS, USAGE),
    st.builds(
        lambda key, charge, amount: Reverse(
            "acme", key, charge=charge, amount=nanos(amount) if amount else None
        ),
        KEYS,
        st.integers(1, 8),
        QUANTITIES,
    ),
)


@given(st.lists(COMMANDS, max_size=14), st.data())
def test_3_2_a_batch_decides_what_its_commands_would_one_by_one(
    commands: list, data: st.DataObject
) -> None:
    singly, together, cut = World(), World(), World()
    expected = [outcome for each in commands for outcome in singly.billing.execute([each])]
    assert together.billing.execute(commands) == expected
    assert together.state() == singly.state()
    at = data.draw(st.integers(0, len(commands)))
    halves = cut.billing.execute(commands[:at]) + cut.billing.execute(commands[at:])
    assert halves == expected
    assert cut.state() == singly.state()
    assert singly.wrong() == []


def test_3_3_the_orgs_of_a_batch_are_locked_by_one_load() -> None:
    """So that a store can lock them in sorted order."""
    locked: list[set[str]] = []

    class Watched(MemoryStore):
        def snapshot(self, wanted):
            locked.append(set(wanted))
            return super().snapshot(wanted)

    world = World(Watched())
    for org in ("c", "a", "b"):
        world.billing.open_account(org)
    locked.clear()
    world.billing.execute([Grant(org, "g", amount=nanos(1)) for org in ("c", "a", "b")])
    assert locked == [{"a", "b", "c"}]


def test_3_3_a_batch_changes_rows_of_its_own_orgs_only() -> None:
    world = World()
    for org in ("bystander", "other"):
        world.billing.open_account(org)
        world.grant(100, org)
        world.hold(units(5), org)
    before = world.state()[0]
    outcomes = world.billing.execute(
        [
            Grant("acme", "g", amount=nanos(9)),
            Settle("other", "s", usage=units(500)),
            Settle("acme", "s", usage=units(20)),
        ]
    )
    assert all(isinstance(outcome, Success) for outcome in outcomes)
    after = world.state()[0]
    assert after["bystander"] == before["bystander"]
    assert after["acme"] != before["acme"]
    for org in ("acme", "other"):
        assert {entry.org for entry in world.entries(org)} == {org}
        assert world.wrong(org=org) == []


def test_3_3_changes_name_their_org_and_come_in_sorted_order() -> None:
    commands = [OpenAccount(org) for org in ("c", "a", "b")]
    world = World(opened=False)
    now = world.clock()
    loaded = world.store.snapshot(wanted(commands, now))
    _, changes = decide(loaded, commands, Terms(Catalogue(), now, 0, 0))
    assert list(changes) == ["a", "b", "c"]
    assert [change.account.org for change in changes.values()] == ["a", "b", "c"]


def test_3_3_platform_accounts_exist_per_org() -> None:
    """Revenue is no row at all: a transfer names it within its own org."""
    world = World()
    world.billing.open_account("other")
    for org in ("acme", "other"):
        world.grant(10, org)
        world.settle(4, org)
    for org in ("acme", "other"):
        moves = [move for entry in world.entries(org) for move in entry.transfers]
        assert [(m.debit, m.credit, m.amount) for m in moves] == [
            ("payments", "lot:1", 10),
            ("lot:1", "revenue", 4),
        ]


def test_3_3_a_closed_account_does_not_close_another() -> None:
    world = World()
    world.billing.open_account("other")
    world.grant(5, "other")
    world.billing.execute([Close("acme", remainder="refund")])
    assert isinstance(world.hold(nanos(5), "other").held, Held)
    world.clock.advance(SECOND)
    assert world.settle(Usage.of("x", {"unit": 5}), "other").unpaid == 5
