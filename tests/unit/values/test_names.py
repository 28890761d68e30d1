"""Names that a caller gives: in one form of Unicode, so that one name is one member."""

from unicodedata import normalize

import pytest
from world import LONG_AGO, T0, World, nanos, units

from billing_core import (
    Billing,
    Flat,
    InvalidCommand,
    Limit,
    Plan,
    Price,
    PriceBook,
    Quota,
    ReportStorage,
    Usage,
    sandbox,
    usd,
)
from billing_core.commands import topups as topup_commands
from billing_core.ports.payments import CheckoutOrder
from billing_core.values.text import checked_name

pytestmark = pytest.mark.every_store

COMPOSED = "josé"
DECOMPOSED = normalize("NFD", COMPOSED)
PRICE = Price(Flat(1), unit="unit")
PAGE = "https://you.example/"
ORDER = CheckoutOrder(
    org="acme", order="o", amount=500, currency="USD", description="Credit", success_url=PAGE,
    cancel_url=PAGE,
)  # fmt: skip


def test_a_name_is_one_member_with_one_limit() -> None:
    """Written in two ways, it was two members, each with all of the limit."""
    world = World()
    world.grant(1000)
    world.billing.set_limit("acme", "each", nanos(50), every="member")
    world.deduct(50, member=COMPOSED)
    with pytest.raises(InvalidCommand, match="NFC") as caught:
        world.deduct(50, member=DECOMPOSED)
    assert caught.value.field == "member"
    assert world.store.members("acme") == {1: COMPOSED}


@pytest.mark.parametrize(
    "give",
    [
        lambda b: b.open_account(DECOMPOSED),
        lambda b: b.settle("acme", DECOMPOSED, units(1)),
        lambda b: b.settle("acme", "k", units(1), member=DECOMPOSED),
        lambda b: b.settle("acme", "k", units(1), project=DECOMPOSED),
        lambda b: b.settle("acme", "k", units(1, resource=DECOMPOSED)),
        lambda b: b.settle("acme", "k", units(1, item=DECOMPOSED)),
        lambda b: b.settle("acme", "k", Usage.of("x", {DECOMPOSED: 1})),
        lambda b: b.deduct("acme", "k", nanos(1), resource=DECOMPOSED),
        lambda b: b.hold("acme", nanos(1), key=DECOMPOSED, expires_in=T0 - LONG_AGO),
        lambda b: b.check("acme", nanos(1), member=DECOMPOSED),
        lambda b: b.grant("acme", "k", nanos(1), scope=[DECOMPOSED]),
        lambda b: b.set_limit("acme", "k", nanos(1), member=DECOMPOSED),
        lambda b: b.set_limit("acme", "k", nanos(1), project=DECOMPOSED),
        lambda b: b.start_run("acme", DECOMPOSED, sandbox("box", {"second": 1})),
        lambda b: b.start_run("acme", "r", sandbox(DECOMPOSED, {"second": 1})),
        lambda b: b.start_run("acme", "r", sandbox("box", {DECOMPOSED: 1})),
        lambda b: b.execute([ReportStorage("acme", "k", workspace=DECOMPOSED, size=1)]),
        lambda b: b.execute(
            [topup_commands.AskRefund("acme", DECOMPOSED, topup="t", refund="r", livemode=False)]
        ),
        lambda b: b.set_auto_topup(
            "acme", DECOMPOSED, enabled=False, threshold=nanos(0), amount=nanos(0)
        ),
        lambda b: topup_commands.OrderTopUp(
            "acme", DECOMPOSED, amount=usd(5), livemode=False, order=ORDER
        ),
        lambda b: b.publish(PriceBook("v", LONG_AGO, {DECOMPOSED: {"unit": PRICE}})),
        lambda b: b.publish(PriceBook("v", LONG_AGO, {"w": {DECOMPOSED: PRICE}})),
        lambda b: b.publish(PriceBook(DECOMPOSED, LONG_AGO, {"w": {"unit": PRICE}})),
        lambda b: b.publish(Plan("p-1", DECOMPOSED, LONG_AGO)),
        lambda b: b.publish(Plan("p-1", "p", LONG_AGO, quotas=[Quota("x", DECOMPOSED, 1)])),
    ],
)
def test_wherever_a_name_is_given_it_is_in_one_form(give) -> None:
    world = World()
    world.grant(10)
    before = world.state()
    with pytest.raises(InvalidCommand, match="NFC"):
        give(world.billing)
    assert world.state() == before


def test_the_usual_form_is_taken_everywhere() -> None:
    world = World()
    world.billing.open_account(COMPOSED)
    world.publish({f"tool:{COMPOSED}": {COMPOSED: PRICE}}, version=f"v {COMPOSED}")
    world.billing.publish(Plan("p-1", COMPOSED, LONG_AGO, limits=[Limit("org", nanos(9))]))
    usage = Usage.of(f"tool:{COMPOSED}", {COMPOSED: 3}, item=COMPOSED)
    charge = world.settle(usage, COMPOSED, key=COMPOSED, member=COMPOSED, project=COMPOSED)
    assert charge.amount == 3
    assert world.wrong() == []


def test_what_was_kept_in_another_form_is_read_erased_and_ended(monkeypatch) -> None:
    """By an earlier version."""
    world = World()
    world.publish(
        {"sandbox:box": {"second": Price(Flat(1, 10**6), unit="microsecond")}}, version="s"
    )
    with monkeypatch.context() as earlier:
        for module in (
            "values.usage", "commands.base", "commands.accounts", "commands.credit", "commands.runs"
        ):  # fmt: skip
            earlier.setattr(f"billing_core.{module}.given_name", checked_name)
        earlier.setattr("billing_core.engine.catalogue_cache.check_normal", lambda *_: None)
        book = PriceBook("old", LONG_AGO, {DECOMPOSED: {"unit": PRICE}})
        world.billing.publish(book)
        world.billing.open_account(DECOMPOSED)
        world.grant(10**6, DECOMPOSED)
        world.settle(units(3, resource=DECOMPOSED), DECOMPOSED, member=DECOMPOSED)
        hold = world.hold(2, DECOMPOSED, key=DECOMPOSED)
        box = sandbox("box", {"second": 1})
        world.billing.start_run(DECOMPOSED, f"r{DECOMPOSED}", box, member=DECOMPOSED)
    again = Billing(world.store, clock=world.clock)
    assert again.publish(book)
    assert again.usage(DECOMPOSED, member=DECOMPOSED).summary.total == 3
    again.release(DECOMPOSED, hold.key)
    again.stop_run(DECOMPOSED, f"r{DECOMPOSED}")
    again.settle(DECOMPOSED, "ascii", units(1))
    assert again.erase_member(DECOMPOSED, DECOMPOSED)
    assert again.verify().discrepancies == ()
