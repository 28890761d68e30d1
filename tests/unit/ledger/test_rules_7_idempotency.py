"""Section 7: idempotency."""

import attrs
import pytest
from world import DAY, HOUR, MINUTE, ONE_NANO, T0, FailingStore, World, nanos, units

from billing_core import (
    Close,
    Deduct,
    Extend,
    Grant,
    Hold,
    HoldEnded,
    IdempotencyConflict,
    OpenAccount,
    PriceUnpriced,
    Refused,
    Release,
    Reverse,
    Settle,
    StoreError,
    Success,
    Usage,
)


def test_7_1_a_key_is_unique_per_org_and_operation() -> None:
    world = World()
    world.billing.open_account("other")
    for org in ("acme", "other"):
        assert not world.granted(10, org, key="k").replayed
        hold = world.hold(3, org, key="k")
        assert not hold.held.replayed
        assert not world.deduct(1, org, key="k").replayed
        assert not world.settle(1, org, key="k", hold="k").replayed
    assert world.balance("acme").balance == world.balance("other").balance == 8


def test_7_1_a_key_is_kept_for_ever() -> None:
    world = World()
    first = world.granted(10, key="k")
    for _ in range(50):
        world.settle(1)
    world.clock.advance(5000 * DAY)
    assert world.granted(10, key="k") == first
    assert world.balance().balance == -40


def test_7_1_a_caller_s_key_cannot_meet_the_engine_s_own() -> None:
    world = World()
    world.grant(5, expires_at=T0 + HOUR)
    world.clock.advance(HOUR)
    for key in ("lot:1", "lapse:lot:1", "lapse"):
        assert not world.settle(0, key=key).replayed
    assert world.wrong() == []


EVERYTHING = [
    Grant("acme", "g", amount=nanos(50), expires_at=T0 + DAY, reference="invoice", scope=["x"]),
    Grant("acme", "g2", amount=nanos(50)),
    Hold("acme", "h", cost=units(5), expires_in=HOUR, member="ann", reference="job"),
    Hold("acme", "h2", cost=nanos(5), expires_in=HOUR, resource="x"),
    Extend("acme", "e", hold="h", expires_in=2 * HOUR, add=nanos(2)),
    Settle("acme", "s", usage=units(3, item="run"), hold="h", final=False, member="ann"),
    Settle("acme", "s2", usage=units(9), hold="h", occurred_at=T0 - HOUR),
    Release("acme", "r", hold="h2"),
    Deduct("acme", "d", cost=units(2), member="bob"),
    Deduct("acme", "d2", cost=nanos(2), resource="y"),
    Settle("acme", "u", usage=units(3, "late")),
    PriceUnpriced("acme", "p", charge=12, version="late"),
    Reverse("acme", "v", charge=7, amount=nanos(1), reason="by mistake"),
    Close("acme", remainder="refund"),
]


def all_done() -> tuple[World, list]:
    world = World()
    outcomes = world.billing.execute(EVERYTHING[:-3])
    world.publish({"late": {"unit": ONE_NANO}}, version="late")
    outcomes += world.billing.execute(EVERYTHING[-3:])
    assert all(isinstance(outcome, Success) for outcome in outcomes), outcomes
    return world, outcomes


def test_7_2_same_key_same_content_the_first_outcome_again_at_any_later_time() -> None:
    world, first = all_done()
    before = world.state()
    for wait in (MINUTE, DAY, 400 * DAY):
        world.clock.advance(wait)
        again = world.billing.execute(EVERYTHING)
        for command, outcome, was in zip(EVERYTHING, again, first, strict=True):
            if isinstance(command, Hold | Extend):  # rule 6.3: the one exception
                assert isinstance(outcome, HoldEnded), outcome
            else:
                assert (outcome, outcome.replayed) == (was, True)
    assert world.state() == before


@pytest.mark.parametrize(
    ("first", "other", "differs"),
    [
        (EVERYTHING[0], {"amount": nanos(51)}, ("amount",)),
        (EVERYTHING[0], {"expires_at": None, "scope": None}, ("expires_at", "scope")),
        (EVERYTHING[0], {"kind": "promotional", "priority": 1}, ("kind", "priority")),
        (EVERYTHING[0], {"reference": None}, ("reference",)),
        (EVERYTHING[2], {"cost": units(6)}, ("usage",)),
        (EVERYTHING[2], {"cost": nanos(5)}, ("amount", "usage")),
        (EVERYTHING[2], {"expires_in": MINUTE}, ("expires_in",)),
        (EVERYTHING[2], {"member": "bob"}, ("member",)),
        (EVERYTHING[2], {"member": None, "reference": None}, ("member", "reference")),
        (EVERYTHING[3], {"resource": "y"}, ("resource",)),
        (EVERYTHING[4], {"add": None}, ("add",)),
        (EVERYTHING[4], {"hold": "h2"}, ("hold",)),
        (EVERYTHING[5], {"usage": units(4, item="run")}, ("usage",)),
        (EVERYTHING[5], {"usage": units(3)}, ("usage",)),
        (EVERYTHING[5], {"usage": units(3, item="run", payer="customer")}, ("usage",)),
        (EVERYTHING[5], {"usage": units(3, "y", item="run")}, ("usage",)),
        (EVERYTHING[5], {"final": True, "hold": None}, ("final", "hold")),
        (EVERYTHING[6], {"occurred_at": None}, ("occurred_at",)),
        (EVERYTHING[6], {"occurred_at": T0 - 2 * HOUR}, ("occurred_at",)),
        (EVERYTHING[7], {"hold": "h"}, ("hold",)),
        (EVERYTHING[8], {"cost": units(3)}, ("usage",)),
        (EVERYTHING[9], {"cost": nanos(3), "resource": "x"}, ("amount", "resource")),
        (EVERYTHING[11], {"charge": 11}, ("charge",)),
        (EVERYTHING[12], {"amount": None, "reason": None}, ("amount", "reason")),
        (EVERYTHING[13], {"remainder": "write_off"}, ("remainder",)),
    ],
    ids=lambda each: getattr(each, "op", None) or "-".join(each),
)
def test_7_2_same_key_other_content_is_a_conflict_that_names_what_differs(
    first: Grant, other: dict, differs: tuple[str, ...]
) -> None:
    world, _ = all_done()
    before = world.state()
    [outcome] = world.billing.execute([attrs.evolve(first, **other)])
    assert isinstance(outcome, IdempotencyConflict)
    assert outcome.differs == differs
    assert (outcome.org, outcome.key) == ("acme", first.key)
    assert world.state() == before


def test_7_2_the_account_s_opening_is_idempotent_too() -> None:
    world = World()
    assert world.billing.open_account("acme").replayed
    [outcome] = world.billing.execute([OpenAccount("acme", currency="EUR")])
    assert isinstance(outcome, IdempotencyConflict)
    assert outcome.differs == ("currency",)


def test_7_2_the_command_s_own_time_is_not_part_of_the_content() -> None:
    world = World()
    world.grant(10)
    first = world.settle(3, key="s", at=T0 - HOUR)
    world.clock.advance(DAY)
    assert world.settle(3, key="s") == first
    assert world.settle(3, key="s", at=T0 + HOUR) == first


def test_7_2_the_order_of_components_is_not_part_of_the_content() -> None:
    world = World()
    first = world.settle(Usage.of("x", {"a": 1, "b": 2}), key="s")
    assert world.settle(Usage.of("x", {"b": 2, "a": 1, "c": 0}), key="s") == first


def test_7_2_a_replay_is_answered_even_where_the_command_would_now_be_refused() -> None:
    world = World()
    world.grant(10)
    first = world.deduct(6, key="d")
    hold = world.hold(4, key="h")
    world.deduct(0)
    with pytest.raises(Refused):
        world.deduct(1)
    assert world.hold(4, key="h").held == hold.held
    world.billing.close("acme", remainder="refund")
    assert world.deduct(6, key="d") == first


def test_7_2_a_slower_clock_still_gets_the_first_outcome() -> None:
    """Another process whose clock is behind retries what this one accepted."""
    world = World()
    first = world.settle(3, key="s", occurred_at=T0 + 4 * MINUTE)
    world.clock.set(T0 - 2 * MINUTE)
    assert world.settle(3, key="s", occurred_at=T0 + 4 * MINUTE) == first


def test_7_2_a_member_known_by_now_is_the_same_member() -> None:
    world = World()
    world.settle(1, member="ann", key="a")
    world.settle(1, member="bob", key="b")
    assert world.settle(1, member="ann", key="a").replayed
    with pytest.raises(IdempotencyConflict):
        world.settle(1, member="bob", key="a")
    with pytest.raises(IdempotencyConflict):
        world.settle(1, member="nobody yet", key="a")
    assert sorted(world.store.members("acme").values()) == ["ann", "bob"]


def test_7_3_key_effect_and_outcome_commit_together() -> None:
    world = World(FailingStore())
    for fail, replayed in (("before", False), ("after", True)):
        world.store.fail = fail
        with pytest.raises(StoreError):
            world.granted(5, key=fail)
        world.store.fail = None
        assert world.granted(5, key=fail).replayed is replayed
    assert world.balance().balance == 10


def test_7_3_a_refusal_is_not_remembered() -> None:
    world = World()
    for attempt in (
        lambda: world.hold(5, key="h"),
        lambda: world.deduct(5, key="d"),
    ):
        with pytest.raises(Refused):
            attempt()
    before = world.state()
    with pytest.raises(Refused):
        world.deduct(5, key="d")
    assert world.state() == before
    world.grant(10)
    assert world.hold(5, key="h").amount == 5
    assert world.deduct(5, key="d").amount == 5
    assert world.balance().balance == 5


def test_7_3_a_refused_key_may_come_back_with_other_content() -> None:
    world = World()
    with pytest.raises(Refused):
        world.deduct(5, key="d")
    assert world.deduct(0, key="d").amount == 0
    assert not world.settle(1, key="d").replayed
