"""Any sequence: of outcomes for automatic top-ups, of refunds and disputes for credit."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from topup_till import DAY, HOUR, MINUTE, URLS, Till, till

from billing_core import BillingError, Conflict, TopUpRules, usd
from billing_core.records.topups import CHARGED, IN_FLIGHT, MOVES, AutoTopUp, TopUp
from billing_core.topups.policy import attempt_begins, attempt_ends
from billing_core.values.currencies import to_nanos
from billing_core.values.times import billing_period

CAP = usd("45")
RULES = TopUpRules(failures=3, times=6)


class Watched:
    """The provider; whenever it is asked for an automatic top-up, what it is asked for is what
    is wanted then, and a card that has failed is left alone for a while."""

    def __init__(self, teller: "Teller", provider) -> None:
        self._teller = teller
        self._provider = provider
        self._failed: dict[str, list[int]] = {}

    def __getattr__(self, name):
        return getattr(self._provider, name)

    def charge(self, attempt):
        teller, now = self._teller, self._teller.t.clock()
        enabled, threshold, amount = teller.wanted
        assert enabled
        assert attempt.amount == amount * 100
        assert teller.t.billing.balance("acme").available < threshold * 10**9
        failed = self._failed.setdefault(attempt.method, [])
        assert sum(now - at < 3_600_000_000 for at in failed) < 2
        for payment, name in teller.unlabelled.items():
            known = teller.t.store.topup_of(payment=payment) is not None
            assert known or name == attempt.attempt or payment in teller.looked_at
        payment = self._provider.charge(attempt)
        if payment.state in ("declined", "authentication_required"):
            failed.append(now)
        return payment


class Teller:
    """Does what a sequence of words says, at the fake."""

    def __init__(self, t: Till) -> None:
        self.t = t
        self.wanted = (True, 8, 10)
        self.method = t.armed("10", threshold="8", amount="10", cap=CAP)
        self.let_go = False  # somebody has set it since it last went on by itself
        self.late: list[tuple[bytes, str]] = []
        self.unlabelled: dict[str, str] = {}  # unheard payments, and of which attempts
        self.looked_at: set[str] = set()  # of these, while somebody set it anew
        t.billing.payments = Watched(self, t.provider)

    def do(self, step: str) -> None:
        before = self._attempts()
        # The provider is away, or says no: what is on record must be right all the same.
        with suppress(BillingError):
            getattr(self, step)()
        self.check()
        after = self._attempts()
        dropped = after.count("dropped") - before.count("dropped")
        if step not in USES:
            assert len(after) - len(before) <= dropped, "top-ups follow use"

    def _attempts(self) -> list[str]:
        return [each.state for each in self.t.store.topups("acme") if each.kind == "auto"]

    def spend(self) -> None:
        self.t.spend("4")

    def settle_nothing(self) -> None:
        self.t.billing.run_pending(1)

    def run(self) -> None:
        self.t.run()

    def minute(self) -> None:
        self.t.clock.advance(MINUTE)

    def hour(self) -> None:
        self.t.clock.advance(HOUR)

    def day(self) -> None:
        self.t.clock.advance(DAY)

    def week(self) -> None:
        self.t.clock.advance(7 * DAY)

    def decline(self) -> None:
        self.t.street.decline(self.method)

    def authentication(self) -> None:
        self.t.street.require_authentication(self.method)

    def delay(self) -> None:
        self.t.street.delay(self.method)

    def timeout_before(self) -> None:
        self.t.street.fault("timeout_before")

    def timeout_after(self) -> None:
        self.t.street.fault("timeout_after")

    def error_after(self) -> None:
        self.t.street.fault("error_after")

    def error_before(self) -> None:
        self.t.street.fault("error_before")

    def rate_limited(self) -> None:
        self.t.street.fault("rate_limited")

    def unlabel(self) -> None:
        for payment in self._in("succeeded"):
            if payment.attempt and self.t.store.topup_of(payment=payment.id) is None:
                self.unlabelled[payment.id] = payment.attempt
                self.t.street.relabel(payment.id)

    def lose_charge(self) -> None:
        """An attempt is made whose answer and label are lost, and a day goes by."""
        self.t.street._faults.clear()
        self.spend()
        self.timeout_after()
        self.t.run()
        self.unlabel()
        self.lose_deliveries()
        self.day()

    def arrive(self) -> None:
        for payment in self._in("processing")[:1]:
            self.t.street.arrive(payment.id, succeeded=True)

    def bounce(self) -> None:
        for payment in self._in("processing")[:1]:
            self.t.street.arrive(payment.id, succeeded=False)

    def authenticate(self) -> None:
        for payment in self._in("authentication_required")[:1]:
            self.t.street.authenticate(payment.id)

    def refund(self) -> None:
        for payment in [each for each in self._in("succeeded") if each.kept >= 300][:1]:
            self.t.street.refund_in_dashboard(payment.id, 300)

    def our_refund(self) -> None:
        for topup in [each for each in self.t.store.topups("acme") if each.lot][:1]:
            self.t.billing.refund("acme", self.t.key(), topup=topup.topup, amount=usd("1"))

    def hold_refunds(self) -> None:
        self.t.street.hold_refunds(True)

    def refund_fails(self) -> None:
        for payment in self._in("succeeded"):
            for refund in payment.refunds:
                if refund.state != "failed":
                    self.t.street.settle_refund(refund.id, succeeded=False)
                    return

    def dispute(self) -> None:
        for payment in self._in("succeeded")[:1]:
            self.t.street.dispute(payment.id, 400)

    def win(self) -> None:
        self._close(won=True)

    def win_in_part(self) -> None:
        self._close(won=True, reinstated=150)

    def lose(self) -> None:
        self._close(won=False)

    def _close(self, **how) -> None:
        for payment in self._in("succeeded"):
            for dispute in payment.disputes:
                if dispute.state == "open":
                    self.t.street.close_dispute(dispute.id, **how)
                    return

    def new_method(self) -> None:
        page = self.t.order("10", save_method=True)
        self.t.street.pay(page.session, tax=77)
        self.t.billing.confirm("acme", page.session)
        self.method = self.t.store.auto_topup("acme").method or self.method

    def detach(self) -> None:
        if self.method in self.t.street._methods:
            self.t.street.detach(self.method)

    def _set(self, enabled: bool, threshold: int, amount: int) -> None:
        self.t.billing.set_auto_topup(
            "acme", self.t.key(), enabled=enabled, threshold=usd(threshold), amount=usd(amount),
            cap=CAP,
        )  # fmt: skip
        self.wanted, self.let_go = (enabled, threshold, amount), True
        self.looked_at.update(self.unlabelled)

    def enable(self) -> None:
        self._set(True, 8, 10)

    def disable(self) -> None:
        self._set(False, 8, 10)

    def want_less(self) -> None:
        self._set(True, 5, 6)

    def want_more(self) -> None:
        self._set(True, 20, 30)

    def buy(self) -> None:
        page = self.t.order("30")
        self.t.street.pay(page.session)
        self.t.billing.confirm("acme", page.session)

    def promote(self) -> None:
        expires = self.t.clock.now + HOUR
        self.t.billing.grant("acme", self.t.key(), usd("7"), kind="promotional", expires_at=expires)

    def hold(self) -> None:
        self.t.billing.hold("acme", usd("6"), expires_in=HOUR)

    def deliver_backwards(self) -> None:
        self.late += self.t.street.deliveries()
        for body, signed in reversed(self.late):
            self.t.billing.webhook(body, signed)

    def lose_deliveries(self) -> None:
        self.t.street.deliveries()

    def _in(self, state):
        return [each for each in self.t.street._payments.values() if each.state == state]

    def check(self) -> None:
        """What holds at any moment."""
        t = self.t
        topups = list(t.store.topups("acme"))
        attempts = [each for each in topups if each.kind == "auto"]
        assert sum(each.state in IN_FLIGHT for each in attempts) <= 1
        for each in topups:
            assert 0 <= each.clawed <= each.granted
            assert each.granted in (0, to_nanos(each.amount, "USD"))
        charged: dict[str, int] = {}
        periods: dict[int, list[int]] = {}
        anchor = t.store._orgs["acme"].account.anchor
        made = {each.topup: each.created for each in attempts}
        for payment in t.street._payments.values():
            made_by = self.unlabelled.get(payment.id, payment.attempt)
            if made_by and payment.state == "succeeded":
                charged[made_by] = charged.get(made_by, 0) + 1
        assert all(count == 1 for count in charged.values()), "one charge per attempt"
        for created in made.values():
            periods.setdefault(billing_period(anchor, created).start, []).append(1)
        assert all(len(begun) <= RULES.times for begun in periods.values())
        auto = t.store.auto_topup("acme")
        self.let_go = self.let_go and auto.stopped is None
        assert auto.failures < RULES.failures or auto.stopped or self.let_go
        assert t.wrong() == []

    def quiet(self) -> None:
        """All is heard of and nothing is under way: the ledger is what the provider holds."""
        self.t.street._faults.clear()
        for payment in self._in("processing"):
            self.t.street.arrive(payment.id, succeeded=True)
        for _ in range(3):
            self.t.clock.advance(timedelta(hours=30))
            self.t.run()
        assert self.t.run().failures == []
        for payment, name in self.unlabelled.items():
            if self.t.store.topup_of(payment=payment) is None:
                assert self.t.state(name) == "quarantined"
                assert self.t.billing.read_back("acme", name, payment=payment).paid
        self.check()
        # That one amount is both refunded and disputed is told of, and changes nothing.
        told = [str(each) for each in self.t.differences()]
        assert [each for each in told if "more than was paid" not in each] == []


USES = {"spend", "lose_charge", "hold", "enable", "disable", "want_less", "want_more", "new_method"}
STEPS = [name for name in vars(Teller) if name[0] != "_" and name not in ("do", "check", "quiet")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=40))
def test_any_sequence_of_outcomes_charges_once_and_credits_what_the_provider_holds(steps) -> None:
    with till("fake", topups=RULES) as t:
        teller = Teller(t)
        for step in steps:
            teller.do(step)
        teller.quiet()


MONEY = [
    "refund", "our_refund", "hold_refunds", "refund_fails", "dispute", "win", "win_in_part", "lose",
    "deliver_backwards", "lose_deliveries", "spend", "new_method", "day", "run", "timeout_after",
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(MONEY), max_size=40))
def test_any_sequence_of_refunds_and_disputes_keeps_what_is_held(steps) -> None:
    with till("fake", topups=RULES) as t:
        teller = Teller(t)
        teller.new_method()
        for step in steps:
            teller.do(step)
        teller.quiet()


@given(st.data())
def test_whatever_becomes_of_an_attempt_the_cap_counts_it_while_it_may_be_charged(data) -> None:
    period = billing_period(0, 0)
    auto = AutoTopUp(enabled=True, amount=10)
    topup = TopUp("t", "auto", 1, "due", 10, 0)
    attempt_begins(auto, "t", period)
    while MOVES[topup.state]:
        before = topup.state
        assert topup.move(data.draw(st.sampled_from(sorted(MOVES[before]))))
        attempt_ends(auto, topup, before, 1, RULES)
        assert auto.spent == (10 if topup.state in CHARGED else 0)


def test_the_words_are_heard() -> None:
    """Each step does something: a property of nothing would hold."""
    with till("fake", topups=RULES) as t:
        teller = Teller(t)
        for step in ("decline", "spend", "run", "hour", "hour", "spend", "run"):
            teller.do(step)
        assert t.attempts() == ["declined", "paid"]
        for step in ("refund", "dispute", "deliver_backwards", "win", "deliver_backwards"):
            teller.do(step)
        assert {"clawback", "reinstatement"} <= set(t.kinds())
        with pytest.raises(Conflict, match="enable it again"):
            t.billing.recover("acme", "k", **URLS)
        teller.quiet()


def test_a_charge_without_a_label_is_given_to_its_top_up() -> None:
    with till("fake", topups=RULES) as t:
        teller = Teller(t)
        for step in ("lose_charge", "day", "run", "spend", "week", "run"):
            teller.do(step)
        assert (t.attempts(), list(teller.unlabelled.values())) == (
            ["quarantined"], [each.topup for each in t.store.topups("acme") if each.kind == "auto"],
        )  # fmt: skip
        teller.quiet()
        assert t.attempts() == ["paid"]
