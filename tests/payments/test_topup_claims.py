"""Who has a due top-up to himself; and what the audit of top-ups finds."""

import json

import pytest
from topup_till import MINUTE, till

from billing_core import Refused
from billing_core.commands.outcomes import TopUpUpdated
from billing_core.commands.topups import ClaimTopUp
from billing_core.ledger.hash_chain import chained


def test_a_due_top_up_is_one_workers_until_its_lease_ends() -> None:
    with till("fake") as t:
        t.armed("10", threshold="5", amount="20")
        t.spend("6")
        [(org, topup)] = t.store.due_topups(t.clock(), livemode=False)
        assert t.billing._do(ClaimTopUp(org, topup), TopUpUpdated).state == "calling"
        with pytest.raises(Refused) as refused:
            t.billing._do(ClaimTopUp(org, topup), TopUpUpdated)
        assert refused.value.refusal.reason == "not_due"
        t.clock.advance(3 * MINUTE)
        assert t.billing._do(ClaimTopUp(org, topup), TopUpUpdated).state == "calling"
        assert t.billing.topup("acme", topup).tries == 2
        t.check()


def altered(t, op: str, alter) -> list[str]:
    """What verify finds after an entry was altered, and the chain mended behind it."""
    org = t.store._orgs["acme"]
    head = b""
    for entry in org.entries:
        if entry.op == op:
            content, effects = json.loads(entry.content), json.loads(entry.effects)
            alter(content, effects)
            entry.content, entry.effects = json.dumps(content), json.dumps(effects)
        head = entry.hash = chained(head, entry)
    org.account.head = head
    return t.wrong()


def told() -> list:
    def more_credit(content, effects) -> None:
        content["subtotal"] += 1

    def more_taken(content, effects) -> None:
        if "taken" in content:
            content["taken"] += 1
            effects["topup"]["clawed"] += 1

    def another_state(content, effects) -> None:
        effects["topup"]["state"] = "expired"

    def skipped(content, effects) -> None:
        effects["topup"]["changes"] += 1

    return [
        ("credit", more_credit, "credits 10000000000 for top-up"),
        ("payment", more_taken, "its transfers take"),
        ("payment", another_state, "the journal leads to expired"),
        ("credit", skipped, "has changed"),
    ]


@pytest.mark.parametrize(("op", "alter", "words"), told(), ids=lambda each: str(each)[:12])
def test_an_altered_story_of_a_top_up_is_found(op, alter, words) -> None:
    with till("fake") as t:
        page = t.paid("10")
        t.street.refund_in_dashboard(t.payment(page).id, 400)
        t.deliver()
        assert t.wrong() == []
        assert any(words in line for line in altered(t, op, alter))


def unwanted() -> list:
    def enough(content, effects) -> None:
        content["available"] = effects["auto"]["threshold"]

    def more_than_all(content, effects) -> None:
        content["available"] = 4_000_000_001

    def another_amount(content, effects) -> None:
        effects["auto"]["amount"] += 1

    def beyond_the_cap(content, effects) -> None:
        effects["auto"]["cap"] = 1

    def disabled(content, effects) -> None:
        effects["auto"]["enabled"] = False

    def stopped(content, effects) -> None:
        effects["auto"]["stopped"] = "refund"

    return [
        (enough, "5000000000 were available"),
        (more_than_all, "more than all credit"),
        (another_amount, "its amount is 2000"),
        (beyond_the_cap, "2000 of 1 are spent"),
        (disabled, "it is not enabled"),
        (stopped, "it is not enabled"),
    ]


@pytest.mark.parametrize("op", ["auto", "call"])
@pytest.mark.parametrize(("alter", "words"), unwanted(), ids=lambda each: str(each)[:12])
def test_an_attempt_that_nobody_wanted_is_found(op, alter, words) -> None:
    with till("fake") as t:
        t.armed("10", threshold="5", amount="20")
        t.spend("6")
        t.run()
        assert t.wrong() == []
        found = [line for line in altered(t, op, alter) if words in line]
        assert len(found) == 1 and "goes on with top-up" in found[0]


def test_rows_that_are_not_as_the_journal_says_are_found() -> None:
    with till("fake") as t:
        t.armed("10")
        org = t.store._orgs["acme"]
        [topup] = org.topups.values()
        topup.granted += 1
        org.auto.threshold += 1
        assert [line.split(":")[1].strip()[:9] for line in t.wrong()] == ["top-up 00", "automatic"]
