"""A life that leaves rows in every table of a database, open holds, runs, attempts and refunds
among them; what it leaves when version 0.1.0 lives it is kept in `fixtures/`.

    python tests/support/schema_1.py sqlite FILE | postgres DSN SCHEMA

lives it with the library that is on the path. Nothing of it may change, as the fixtures are what
it left: `fixtures/schema_1.sqlite.sql` and `fixtures/schema_1.postgres.sql`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from billing_adapters.fake_payments import FakePayments
from billing_core import (
    Billing,
    Flat,
    Graduated,
    Limit,
    Plan,
    Price,
    PriceBook,
    Quota,
    Refused,
    Tier,
    Usage,
    sandbox,
    usd,
)
from billing_core.testing import CountingIds, SettableClock

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
LONG_AGO = T0 - timedelta(days=400)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
URLS = {"success_url": "https://h.example/ok", "cancel_url": "https://h.example/no"}


def call(quantity: int = 1, **options) -> Usage:
    return Usage.of("model:small", {"input": quantity, "output": quantity // 3}, **options)


def publish(billing: Billing) -> None:
    tiers = Graduated((Tier(1000, 7), Tier(None, 3)))
    billing.publish(
        PriceBook(
            "base",
            LONG_AGO,
            {
                "model:small": {"input": Price(Flat(1_500)), "output": Price(tiers)},
                "sandbox:vm": {"vcpu": Price(Flat.of("0.0001", 10**6), unit="vCPU-microsecond")},
                "storage:*": {"byte_us": Price(Flat.of("1", 10**18), unit="byte-microsecond")},
                "code:python": {
                    "duration": Price(
                        Flat.of("0.01", 10**6), unit="microsecond", minimum=10**6, increment=10**5
                    )
                },
            },
        )
    )
    billing.publish(PriceBook("pro-prices", LONG_AGO, percent_off={"model:*": "10"}, plan="pro"))
    billing.publish(
        Plan(
            "pro-1", "pro", LONG_AGO, allowance=usd("2"), rollover=usd("1"), grace=DAY,
            limits=(Limit("member", usd("50"), "day", alerts=(80,)),),
            quotas=(Quota("code:python", "duration", 10**12),),
        )
    )  # fmt: skip


def live(store) -> None:  # noqa: PLR0915  a life, told in order
    clock, ids = SettableClock(T0), CountingIds()
    payments = FakePayments(clock=clock, ids=ids)
    billing = Billing(store, clock=clock, ids=ids, payments=payments)
    publish(billing)
    for org in ("acme", "beta", "closed"):
        billing.open_account(org, livemode=False)
    billing.set_plan("acme", "plan", "pro")
    billing.set_low_balance("acme", "low", usd("1"))
    billing.set_limit("acme", "limit", usd("400"), per="period", alerts=(50,))

    # Credit, scoped credit, and credit that has ended.
    billing.grant("acme", "bought", usd("30"), reference="invoice-7")
    billing.grant("acme", "models", usd("3"), kind="promotional", scope=["model:*"])
    billing.grant("acme", "short", usd("1"), kind="promotional", expires_at=T0 + HOUR)

    # Holds: settled, released, lapsed, settled in part, open; each with labels.
    labels = {"member": "ana", "project": "site", "reference": "r-1"}
    for key in ("settled", "released", "lapsed", "partly", "open"):
        life = MINUTE if key == "lapsed" else 60 * DAY
        billing.hold("acme", call(900), key=key, life=life, **labels)
    billing.settle("acme", "s-1", call(700), hold="settled", **labels)
    billing.settle("acme", "s-2", call(100), hold="partly", more=True, member="ben")
    billing.release("acme", "released")
    clock.advance(5 * MINUTE)
    billing.extend("acme", "ext", hold="open", life=90 * DAY, add=usd("0.5"))

    # Charges: by item, unpriced and priced since, reversed in part, from the past, own key.
    billing.settle(
        "acme", "i-1", Usage.of("code:python", {"duration": 300_000}, item="run-1"), member="ben"
    )
    billing.settle(
        "acme", "i-2", Usage.of("code:python", {"duration": 900_000}, item="run-1"), member="ben"
    )
    unpriced = billing.settle("acme", "u-1", Usage.of("model:new", {"input": 5}))
    billing.publish(PriceBook("new", LONG_AGO, {"model:new": {"input": Price(Flat(9))}}))
    clock.advance(2 * MINUTE)
    billing.price_unpriced("acme", "p-1", charge=unpriced.seq, version="new")
    paid = billing.deduct("acme", "d-1", usd("2.5"), resource="tool:search", **labels)
    billing.reverse("acme", "rev", charge=paid.seq, amount=usd("1"), reason="it failed")
    billing.settle("acme", "late", call(50), occurred_at=T0 - 20 * DAY)
    billing.deduct("acme", "d-2", usd("0.25"), resource="tool:search")
    try:
        billing.deduct("acme", "much", usd("999"), resource="tool:search")
    except Refused:
        pass
    else:
        raise AssertionError("it is more than there is")

    # Runs in every state, and storage.
    spec = sandbox("vm", {"vcpu": 2})
    for run in ("active", "suspended", "pending", "over", "forgiven"):
        billing.start_run("acme", run, spec, member="ana", project="site")
    billing.report_storage("acme", "docs", 10**9)
    clock.advance(2 * MINUTE)
    for run in ("active", "suspended", "pending", "over", "forgiven"):
        billing.heartbeat("acme", run)
    billing.suspend_run("acme", "suspended")
    for run in ("pending", "over", "forgiven"):
        billing.stop_run("acme", run, settle=run != "pending")
    billing.forgive_run("acme", "forgive-1", "forgiven", reason="our fault")
    billing.report_storage("acme", "docs", 2 * 10**9)
    clock.advance(HOUR)
    billing.bill_storage("acme")

    # Debt, a closed account, an erased member.
    billing.settle("beta", "b-1", call(200_000), member="cho")
    billing.grant("beta", "some", usd("0.1"))
    billing.erase_member("acme", "ben")
    billing.grant("closed", "g", usd("5"))
    billing.close("closed", remainder="write_off")

    # Top-ups: ordered, paid, refunded in part, and one that is due.
    billing.top_up("beta", "abandoned", usd("10"), **URLS)
    page = billing.top_up("beta", "t-1", usd("20"), save_method=True, **URLS)
    payments.pay(page.session)
    billing.confirm("beta", page.session)
    billing.refund("beta", "back", topup=page.topup, amount=usd("3"))
    billing.set_auto_topup("beta", "auto", enabled=True, threshold=usd("5"), amount=usd("20"))
    delivered = []
    billing.run_pending(limit=3, deliver=delivered.append)
    billing.set_auto_topup("beta", "again", enabled=True, threshold=usd("500"), amount=usd("25"))
    billing.settle("beta", "b-2", call(1_000))
    wrong = [str(each) for each in billing.verify().discrepancies]
    assert not wrong, wrong


def main(words: list[str]) -> None:
    if words[0] == "sqlite":
        from billing_adapters.sqlite import SqliteStore

        with SqliteStore(words[1]) as store:
            live(store)
    else:
        from billing_adapters.postgres import PostgresStore

        with PostgresStore(words[1], schema=words[2]) as store:
            store.migrate()
            live(store)


if __name__ == "__main__":
    main(sys.argv[1:])
