"""A database that has rows in every table, and of every kind that a table has."""

from datetime import timedelta

import pytest
from payment_worlds import fake_world
from world import LONG_AGO

from billing_core import (
    Billing,
    Flat,
    Graduated,
    Money,
    PaymentError,
    Plan,
    Price,
    PriceBook,
    Tier,
    Usage,
    sandbox,
    usd,
)
from billing_core.testing import CountingIds

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
URLS = {
    "success_url": "https://host.example/success?session_id={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://host.example/billing",
}
BOX = sandbox("box", {"second": 1})


def furnish(store, engine=Billing):
    """The engine, at rest: holds, runs and top-ups in each state; plans and books that nobody
    was charged by; events delivered and waiting."""
    world = fake_world()
    clock, street = world.clock, world.street
    billing = engine(store, clock=clock, ids=CountingIds(), payments=world.provider)
    _publish(billing, clock.now)
    billing.open_account("acme", livemode=False)
    billing.open_account("other", livemode=False)
    billing.open_account("bare", livemode=False)  # nothing but this has happened to it
    billing.grant("other", "g", Money(5, "USD"))
    billing.settle("other", "owed", Usage.of("x", {"unit": 9}))
    billing.grant("other", "h", Money(2, "USD"))
    _credit_and_holds(billing, clock)
    _terms(billing)
    _time(billing, clock)
    _topups(billing, clock, street)
    # What was told so far is delivered; what comes later waits.
    told: list[object] = []
    billing.run_pending(deliver=told.append)
    assert told, "events were delivered"
    clock.advance(2 * HOUR)
    billing.settle("acme", "late", Usage.of("unheard", {"unit": 1}), member="eve")
    billing.deduct("acme", "d3", Money(1, "USD"), resource="x")  # an attempt is due
    billing.start_run("acme", "r-active", BOX, member="ann", project="p")
    billing.start_run("acme", "r-suspended", BOX)
    billing.suspend_run("acme", "r-suspended")
    billing.start_run("acme", "r-pending", BOX)
    billing.stop_run("acme", "r-pending", settle=False)
    billing.report_storage("acme", "ws", 700)
    verified = billing.verify()
    assert verified.ok, [str(each) for each in verified.discrepancies]
    return billing


def _publish(billing: Billing, now) -> None:
    one, micro = Price(Flat(1), unit="unit"), "microsecond"
    tiers = Graduated((Tier(5, 2), Tier(None, 1)))
    prices = {
        "x": {"unit": one},
        "tiered": {"unit": Price(tiers, unit="unit")},
        "run": {"second": Price(Flat(1, 3), unit="second", minimum=60)},
        "sandbox:box": {"second": Price(Flat(1000, 1_000_000), unit=micro)},
        "storage:*": {"byte_us": Price(Flat(1, 1_000_000), unit="byte-microsecond")},
    }
    billing.publish(PriceBook("base", LONG_AGO, prices))
    billing.publish(PriceBook("unused", LONG_AGO, {"unused": {"unit": one}}))
    billing.publish(PriceBook("pro-book", LONG_AGO, {"x": {"unit": one}}, plan="pro"))
    billing.publish(
        Plan("pro-1", "pro", LONG_AGO, allowance=Money(30, "USD"), rollover=Money(10, "USD"))
    )
    billing.publish(Plan("idle-1", "idle", LONG_AGO, allowance=Money(7, "USD")))


def _credit_and_holds(billing: Billing, clock) -> None:
    labels = {"member": "ann", "project": "p"}
    billing.grant("acme", "g1", usd("50"))
    billing.grant(
        "acme", "g2", Money(90, "USD"), kind="promotional", scope=["x"],
        expires_at=clock.now + DAY,
    )  # fmt: skip
    unit = Usage.of("x", {"unit": 20})
    billing.hold("acme", unit, key="h-settled", expires_in=DAY, **labels)
    billing.settle("acme", "s1", unit, hold="h-settled", **labels)
    billing.hold("acme", unit, key="h-released", expires_in=DAY, member="bob", project="q")
    billing.release("acme", "h-released")
    billing.hold("acme", Money(9, "USD"), key="h-lapsed", expires_in=MINUTE, resource="x", **labels)
    clock.advance(2 * MINUTE)
    tiered = Usage.of("tiered", {"unit": 3})
    billing.hold("acme", tiered, key="h-tiered", expires_in=DAY, **labels)
    billing.settle("acme", "s2", tiered, hold="h-tiered", **labels)
    billing.hold("acme", tiered, key="h-open", expires_in=60 * DAY, **labels)
    billing.hold("acme", Money(9, "USD"), key="h-plain", expires_in=60 * DAY)
    billing.settle("acme", "s3", Usage.of("run", {"second": 70}, item="i1"), member="cy")
    billing.settle("acme", "s4", Usage.of("x", {"unit": 5}, payer="customer"), member="bob")
    late = billing.settle("acme", "s5", Usage.of("newcomer", {"unit": 2}))
    book = PriceBook("late", LONG_AGO, {"newcomer": {"unit": Price(Flat(2), unit="unit")}})
    billing.publish(book)
    last = {"last": {"unit": Price(Flat(35), unit="unit")}}
    billing.publish(PriceBook("last", LONG_AGO, last))
    billing.price_unpriced("acme", "p1", charge=late.seq, version="late")
    spent = billing.deduct("acme", "d1", Money(40, "USD"), resource="x", **labels)
    billing.reverse("acme", "rev", charge=spent.seq, amount=Money(15, "USD"))


def _terms(billing: Billing) -> None:
    billing.set_plan("acme", "plan", "pro")
    billing.set_limit("acme", "l1", usd("900"), every="member", alerts=(50, 80))
    billing.set_limit("acme", "l2", usd("800"), project="p", per="day")
    billing.set_limit("acme", "l3", Money(4, "USD"), member="dee", alerts=(50,))
    billing.settle("acme", "s6", Usage.of("x", {"unit": 3}), member="dee", project="p")
    billing.set_low_balance("acme", "low", usd("1000"))


def _time(billing: Billing, clock) -> None:
    billing.start_run("acme", "r-settled", BOX, member="ann", project="p", reference="ref")
    billing.start_run("acme", "r-forgiven", BOX, member="bob")
    billing.start_run("acme", "r-swept", BOX)
    billing.report_storage("acme", "ws", 1000)
    clock.advance(3 * MINUTE)
    billing.heartbeat("acme", "r-settled")
    billing.suspend_run("acme", "r-settled")
    clock.advance(MINUTE)
    billing.resume_run("acme", "r-settled")
    billing.stop_run("acme", "r-settled")
    billing.stop_run("acme", "r-forgiven")
    billing.forgive_run("acme", "f1", "r-forgiven", reason="it broke")
    billing.report_storage("acme", "ws", 500)
    clock.advance(2 * HOUR)
    assert len(billing.sweep_runs()) == 1


def _topups(billing: Billing, clock, street) -> None:
    def order(key: str, org: str = "acme", **options):
        return billing.top_up(org, key, usd("10"), **URLS, **options)

    def pay(page, org: str = "acme") -> None:
        street.pay(page.session)
        assert billing.confirm(org, page.session).paid

    paid = order("t1", save_method=True)
    pay(paid)
    order("t2", receipt_email="ann@host.example")  # its page stays open
    street.expire(order("t3").session)
    street.fault("timeout_before")
    with pytest.raises(PaymentError):
        order("t4", receipt_email="bob@host.example")  # ordered; nobody has heard of it
    pay(order("t5", "other", save_method=True), "other")
    for body, signed in street.deliveries():
        billing.webhook(body, signed)
    billing.refund("acme", "refund", topup=paid.topup, amount=usd("2"))
    on = {"enabled": True, "threshold": usd("1000"), "amount": usd("20")}
    billing.set_auto_topup("acme", "a1", **on, cap=usd("200"), times=9)
    billing.run_pending()  # paid
    street.decline(billing.store.auto_topup("acme").method)
    clock.advance(HOUR)
    billing.deduct("acme", "d2", Money(1, "USD"), resource="x")
    billing.run_pending()  # declined
    street.fault("timeout_before")
    billing.set_auto_topup("other", "a1", **on)
    billing.run_pending()  # no answer: who called goes on later
