"""Who has a due top-up to himself; and what the audit of top-ups finds."""

import json

import pytest
from topup_till import MINUTE, till

from billing_core import Refused, TopUpRules, usd
from billing_core.commands.outcomes import Changed, TopUpUpdated
from billing_core.commands.topups import ClaimTopUp, Lapse, LoseMethod
from billing_core.ledger.hash_chain import chained
from billing_core.values.times import duration, moment


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


def test_each_claim_without_an_answer_leases_twice_as_long_up_to_32_times() -> None:
    """A provider that hangs is not asked again and again."""
    with till("fake") as t:
        t.armed("10", threshold="5", amount="20")
        t.spend("6")
        [(org, topup)] = t.store.due_topups(t.clock(), livemode=False)
        lease = duration("lease", TopUpRules().lease)
        for times in (1, 2, 4, 8, 16, 32, 32):
            t.billing._do(ClaimTopUp(org, topup), TopUpUpdated)
            known = next(each for each in t.store.topups(org) if each.topup == topup)
            assert known.due_at == t.clock() + lease * times
            told = json.loads(list(t.store.entries(org))[-1].content)
            assert (told["topup"], told["tries"]) == (topup, known.tries)
            t.clock.set(moment(known.due_at))
        t.check()


def due(t) -> str:
    """An attempt that no worker has taken yet."""
    [(_, topup)] = t.store.due_topups(t.clock(), livemode=False)
    return topup


@pytest.mark.parametrize(
    "command", ["order", "settings", "refund", "payment", "claim", "lost method"]
)
def test_a_hold_that_has_ended_lapses_before_whatever_is_done_about_top_ups(command) -> None:
    """What it held is available to that."""
    with till("fake") as t:
        method = t.armed("20", threshold="5", amount="20")
        [paid] = t.store.topups("acme")
        page = t.order("10")
        t.spend("16")
        t.billing.hold("acme", usd("1"), expires_in=MINUTE, key="h")
        t.clock.advance(MINUTE)
        t.street.pay(page.session)
        before = len(list(t.store.entries("acme")))
        do = {
            "order": lambda: t.order("10"),
            "settings": lambda: t.enable("6"),
            "refund": lambda: t.billing.refund("acme", "r", topup=paid.topup, amount=usd("1")),
            "payment": lambda: t.billing.confirm("acme", page.session),
            "claim": lambda: t.billing._do(ClaimTopUp("acme", due(t)), TopUpUpdated),
            "lost method": lambda: t.billing._do(LoseMethod("acme", method), Changed),
        }
        do[command]()
        new = [entry.key for entry in t.store.entries("acme")][before:]
        assert new[0] == "lapse:hold:h"
        assert len(new) > 1
        assert t.wrong() == []


def test_what_is_lost_or_lapses_is_answered_as_done_now() -> None:
    with till("fake") as t:
        method = t.armed("20")
        t.billing.hold("acme", usd("1"), expires_in=MINUTE, key="h")
        t.clock.advance(MINUTE)
        for command in (Lapse("acme"), LoseMethod("acme", method)):
            done = t.billing._do(command, Changed)
            assert not done.replayed
            assert done.seq == list(t.store.entries("acme"))[-1].seq


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
