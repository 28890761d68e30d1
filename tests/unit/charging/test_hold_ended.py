"""A key that was used for a hold, a run or a deduct which does not stand any more: nobody is
answered as if it did (rule 6.3)."""

import asyncio
import pickle

import pytest
from http_world import MEMBER, SERVICE, mounted
from world import DAY, HOUR, LONG_AGO, MINUTE, T0, World, nanos, units

from billing_adapters.http import Api, Caller
from billing_core import (
    AsyncBilling,
    Conflict,
    Deduct,
    Flat,
    Hold,
    HoldEnded,
    IdempotencyConflict,
    Price,
    PriceBook,
    Refused,
    Release,
    Settle,
    sandbox,
)
from billing_core.decide import decide
from billing_core.records.ledger import Draw, HoldRecord, HoldUse

BOX = sandbox("box", {"vcpu": 1})
KEYS = {MEMBER: Caller("ana", org="acme", member="ana"), SERVICE: Caller("gateway", "service")}


def ended(world: World, **options) -> HoldEnded:
    """What a hold's key says that was used before."""
    before = world.state()
    with pytest.raises(HoldEnded) as found:
        world.hold(6, key="k", **options)
    assert world.state() == before
    assert world.wrong() == []
    return found.value


def runs(world: World) -> World:
    price = {"vcpu": Price(Flat(1, 1_000_000), unit="vCPU-microsecond")}
    world.billing.publish(PriceBook("boxes", LONG_AGO, {"sandbox:box": price}))
    world.grant(1_000)
    return world


@pytest.mark.every_store
def test_the_key_of_a_released_hold_reserves_nothing() -> None:
    world = World()
    world.grant(10)
    world.hold(6, key="k")
    assert world.hold(6, key="k").held.replayed  # while it is open
    world.billing.release("acme", "k")
    world.settle(9)
    error = ended(world)
    assert (error.what, error.name, error.ended) == ("hold", "k", "released")
    assert (error.charges, error.charged, error.retryable) == ((), 0, True)
    assert "new key" in str(error)
    with pytest.raises(Refused):
        world.hold(6, key="k2")


@pytest.mark.every_store
@pytest.mark.parametrize("swept", [False, True])
def test_the_key_of_an_expired_hold_reserves_nothing_swept_or_not(swept: bool) -> None:
    world = World()
    world.grant(10)
    world.hold(6, key="k", expires_in=MINUTE)
    world.clock.advance(MINUTE)
    if swept:
        world.settle(9)
    error = ended(world, expires_in=MINUTE)
    assert (error.ended, error.charges, error.retryable) == ("expired", (), True)


def test_a_hold_has_expired_by_the_clock_whatever_time_the_command_bears() -> None:
    world = World()
    world.grant(10)
    world.hold(6, key="k", expires_in=MINUTE, at=T0)
    world.clock.advance(HOUR)
    assert ended(world, expires_in=MINUTE, at=T0).ended == "expired"


@pytest.mark.every_store
def test_a_settled_hold_s_key_says_what_was_charged_and_is_not_to_be_tried_again() -> None:
    world = World()
    world.grant(10)
    world.hold(6, key="k")
    charge = world.settle(4, hold="k")
    error = ended(world)
    assert (error.ended, error.retryable) == ("settled", False)
    assert (error.charges, error.charged) == ((charge.seq,), 4)
    assert "as done" in str(error)
    world.hold(6, key="free")
    nothing = world.settle(units(0), hold="free")
    with pytest.raises(HoldEnded) as found:
        world.hold(6, key="free")
    assert (found.value.charges, found.value.retryable) == ((nothing.seq,), False)


@pytest.mark.every_store
@pytest.mark.parametrize("how", ["released", "expired"])
def test_a_hold_that_was_used_in_part_is_not_to_be_tried_again(how: str) -> None:
    world = World()
    world.grant(10)
    world.hold(6, key="k")
    parts = [world.settle(quantity, hold="k", final=False).seq for quantity in (1, 2)]
    if how == "released":
        world.billing.release("acme", "k")
    else:
        world.clock.advance(HOUR)
    error = ended(world)
    assert (error.ended, error.charges, error.charged) == (how, tuple(parts), 3)
    assert not error.retryable


@pytest.mark.every_store
def test_closing_the_account_ends_its_holds() -> None:
    world = World()
    world.grant(10)
    world.hold(6, key="k")
    world.billing.close("acme", remainder="refund")
    assert ended(world).ended == "released"


@pytest.mark.every_store
def test_an_extension_of_a_hold_that_has_ended_is_none() -> None:
    world = World()
    world.grant(10)
    hold = world.hold(6, key="k")
    world.extend(hold, key="e", expires_in=DAY)
    assert world.extend(hold, key="e", expires_in=DAY).replayed
    world.clock.advance(HOUR)
    assert world.hold(6, key="k").held.replayed  # it lives on
    charge = world.settle(4, hold="k")
    with pytest.raises(HoldEnded) as found:
        world.extend(hold, key="e", expires_in=DAY)
    assert (found.value.key, found.value.name, found.value.ended) == ("e", "k", "settled")
    assert found.value.charges == (charge.seq,)


@pytest.mark.every_store
def test_a_deduct_that_was_reversed_in_full_is_not_paid() -> None:
    world = World()
    world.grant(10)
    charge = world.deduct(6, key="d")
    world.billing.reverse("acme", "part", charge=charge.seq, amount=nanos(5))
    assert world.deduct(6, key="d").replayed
    world.billing.reverse("acme", "rest", charge=charge.seq)
    with pytest.raises(HoldEnded) as found:
        world.deduct(6, key="d")
    error = found.value
    assert (error.what, error.name, error.ended) == ("charge", str(charge.seq), "reversed")
    assert (error.charges, error.charged, error.retryable) == ((charge.seq,), 6, True)
    assert not world.deduct(6, key="d2").replayed
    settled = world.settle(4, key="s")  # what was measured was measured
    world.billing.reverse("acme", "s", charge=settled.seq)
    assert world.settle(4, key="s").replayed
    assert world.wrong() == []


@pytest.mark.every_store
@pytest.mark.parametrize("how", ["stopped", "settled", "forgiven", "closed"])
def test_the_key_of_a_run_that_has_stopped_starts_nothing(how: str) -> None:
    world = runs(World())
    billing = world.billing
    billing.start_run("acme", "r", BOX)
    assert billing.start_run("acme", "r", BOX).replayed
    world.clock.advance(MINUTE)
    billing.heartbeat("acme", "r")
    billing.suspend_run("acme", "r")
    resumed = billing.resume_run("acme", "r", key="again")
    assert billing.resume_run("acme", "r", key="again") == resumed
    if how == "closed":
        billing.close("acme", remainder="refund")
    else:
        billing.stop_run("acme", "r", settle=how != "stopped")
    if how == "forgiven":
        billing.forgive_run("acme", "f", "r", reason="it hung")
    for again in (
        lambda: billing.start_run("acme", "r", BOX),
        lambda: billing.resume_run("acme", "r", key="again"),
    ):
        with pytest.raises(HoldEnded) as found:
            again()
        error = found.value
        ended = "settled" if how == "closed" else how  # closing ends the account's runs
        assert (error.what, error.name, error.ended, error.retryable) == ("run", "r", ended, False)
        assert len(error.charges) == 1
        assert error.charged == (0 if how == "forgiven" else 60)
    assert world.wrong() == []


@pytest.mark.every_store
def test_in_one_batch_it_is_the_same() -> None:
    world = World()
    world.grant(10)
    hold = Hold("acme", "k", cost=nanos(6), expires_in=HOUR)
    release = Release("acme", "r", hold="k")
    deduct = Deduct("acme", "d", cost=units(2))
    first, again, _, after, paid = world.billing.execute([hold, hold, release, hold, deduct])
    assert (again, again.replayed) == (first, True)
    assert isinstance(after, HoldEnded) and after.retryable
    world.billing.reverse("acme", "v", charge=paid.seq)
    other = Hold("acme", "k2", cost=nanos(1), expires_in=HOUR)
    many = world.billing.execute([deduct, hold, other, other])
    assert [type(each).__name__ for each in many] == ["HoldEnded", "HoldEnded", "Held", "Held"]
    assert world.wrong() == []


@pytest.mark.every_store
def test_keys_of_many_orgs_are_answered_together(monkeypatch) -> None:
    world = World()
    orgs = [f"org-{number}" for number in range(6)]
    lives = [HOUR * (number + 1) for number in range(6)]
    pairs = zip(orgs, lives, strict=True)
    holds = [Hold(org, "k", cost=nanos(1), expires_in=life) for org, life in pairs]
    for org in orgs:
        world.billing.open_account(org)
        world.grant(5, org)
    world.billing.execute(holds)
    world.billing.execute([Release(org, "k", hold="k") for org in orgs[::2]])
    decisions: list[int] = []

    def counted(*given):
        decisions.append(1)
        return decide(*given)

    monkeypatch.setattr("billing_core.engine.batch.decide", counted)
    again = world.billing.execute(holds)
    names = ["HoldEnded" if number % 2 == 0 else "Held" for number in range(6)]
    assert [type(each).__name__ for each in again] == names
    assert len(decisions) <= 3  # from memory, loaded, and with what became of them


@pytest.mark.every_store
def test_a_stream_of_very_many_parts_names_its_latest() -> None:
    world = World()
    world.grant(100)
    world.hold(90, key="k")
    parts = [Settle("acme", f"s{n}", usage=units(1), hold="k", final=n == 49) for n in range(50)]
    numbers = [each.seq for each in world.billing.execute(parts)]
    with pytest.raises(HoldEnded) as found:
        world.hold(90, key="k")
    assert (found.value.charges, found.value.charged) == (tuple(numbers[-32:]), 50)
    [hold] = world.store.holds("acme")
    assert hold.used.settled == 50
    assert world.wrong() == []


def test_other_content_is_the_conflict_that_it_always_was() -> None:
    world = World()
    world.grant(10)
    world.hold(6, key="k")
    world.billing.release("acme", "k")
    with pytest.raises(IdempotencyConflict):
        world.hold(7, key="k")


def test_awaited_it_says_the_same() -> None:
    world = World()
    world.grant(10)
    world.hold(6, key="k")
    charge = world.settle(4, hold="k")

    async def again() -> None:
        billing = AsyncBilling(world.store, clock=world.clock)
        async with await billing.hold("acme", nanos(6), expires_in=HOUR, key="k"):
            raise AssertionError("the call was made")

    with pytest.raises(HoldEnded) as found:
        asyncio.run(again())
    assert found.value.charges == (charge.seq,)
    copied = pickle.loads(pickle.dumps(found.value))
    assert (copied, copied.charges, copied.ended) == (found.value, (charge.seq,), "settled")
    assert isinstance(copied, Conflict)


def test_what_an_earlier_version_did_with_a_hold_is_not_known() -> None:
    world = World()
    world.grant(10)
    world.hold(6, key="k")
    world.billing.release("acme", "k")
    for org in world.store._orgs.values():
        org.holds["k"].used = None
    error = ended(world)
    assert (error.charges, error.charged, error.retryable) == ((), None, False)
    assert "history" in str(error)


def test_what_is_kept_of_a_hold_is_not_believed_once_another_version_has_changed_it() -> None:
    hold = HoldRecord("k", None, 5, "open", [Draw(1, 6)], [])
    hold.used = hold.used.and_charge(4, 2, (), more=True)
    text = hold.used_text
    hold.read_used(text)
    assert hold.used == HoldUse(1, 2, (4,))
    for state, parts in (("open", [Draw(1, 5)]), ("lapsed", []), ("settled", [Draw(1, 6)])):
        changed = HoldRecord("k", None, 5, state, parts, [])
        changed.read_used(text)
        assert changed.used is None


def test_an_edit_of_what_a_hold_was_used_for_is_found() -> None:
    for state in ("open", "settled"):
        world = World()
        world.grant(10)
        world.hold(6, key="k")
        world.settle(4, hold="k", final=state != "open")
        [org] = world.store._orgs.values()
        assert org.holds["k"].state == state
        org.holds["k"].used = HoldUse()
        assert any("hold" in each for each in world.wrong())


# -- over HTTP --------------------------------------------------------------------


def post(client, path: str, idem: str = "call", **body):
    return client.post(f"/v1/internal/{path}", {"orgId": "acme", **body}, idem=idem)


def test_over_http_a_key_of_a_hold_that_has_ended_is_409_hold_ended() -> None:
    world = World()
    world.grant(10)
    client = mounted("plain", Api(world.billing, KEYS.get))
    cost = {"amount": "0.000000006", "currency": "USD"}
    asked = {"cost": cost, "hold": {"lifeSeconds": 60}}
    first = post(client, "credits/check", **asked).data
    assert (first["allowed"], first["replayed"]) == (True, False)
    again = post(client, "credits/check", **asked).data
    assert again == first | {"replayed": True}
    world.clock.advance(MINUTE)
    answer = post(client, "credits/check", **asked)
    assert (answer.status, answer.code) == (409, "hold_ended")
    error = answer.json["error"]
    assert (error["ended"], error["retryable"], error["charges"]) == ("expired", True, [])
    assert "http:" not in error["message"]


def test_over_http_what_was_settled_is_not_retryable_and_names_its_charges() -> None:
    world = World()
    world.grant(10)
    client = mounted("plain", Api(world.billing, KEYS.get))
    use = {"resource": "x", "quantities": {"unit": 6}}
    held = post(client, "credits/check", usage=use, hold={"lifeSeconds": 60}).data["hold"]["id"]
    item = {"orgId": "acme", "key": "s", "usage": use, "holdId": held}
    [made] = client.post("/v1/internal/settlements", {"settlements": [item]}).data["outcomes"]
    assert made["charge"]["replayed"] is False
    [made] = client.post("/v1/internal/settlements", {"settlements": [item]}).data["outcomes"]
    assert made["charge"]["replayed"] is True
    error = post(client, "credits/check", usage=use, hold={"lifeSeconds": 60}).json["error"]
    assert (error["code"], error["ended"], error["retryable"]) == ("hold_ended", "settled", False)
    assert (error["charges"], error["charged"]) == ([made["charge"]["id"]], "0.000000006")


def test_over_http_a_deduct_taken_back_and_a_run_that_has_stopped_say_so() -> None:
    world = runs(World())
    client = mounted("plain", Api(world.billing, KEYS.get))
    use = {"resource": "x", "quantities": {"unit": 6}}
    made = post(client, "credits/deduct", usage=use).data
    assert post(client, "credits/deduct", usage=use).data == made | {"replayed": True}
    world.billing.reverse("acme", "v", charge=int(made["id"]))
    error = post(client, "credits/deduct", usage=use).json["error"]
    assert (error["code"], error["ended"], error["retryable"]) == ("hold_ended", "reversed", True)
    start = {"runId": "r", "spec": {"sandbox": "box", "rates": {"vcpu": 1}}}
    assert post(client, "runs/start", **start).data["replayed"] is False
    assert post(client, "runs/start", **start).data["replayed"] is True
    stopped = post(client, "runs/stop", runId="r").data
    assert post(client, "runs/stop", runId="r").data == stopped | {"replayed": True}
    error = post(client, "runs/start", **start).json["error"]
    assert (error["code"], error["what"], error["ended"]) == ("hold_ended", "run", "settled")
    size = {"workspaceId": "w", "bytes": 5}
    assert post(client, "storage/size", **size).data["replayed"] is False
    assert post(client, "storage/size", **size).data["replayed"] is True


def test_a_priced_usage_of_nothing_taken_back_stays_the_first_answer() -> None:
    world = World()
    world.grant(10)
    first = world.deduct(units(0), key="d")
    assert world.deduct(units(0), key="d") == first
