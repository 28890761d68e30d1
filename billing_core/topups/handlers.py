"""Deciding about top-ups: orders, attempts, what the provider says, refunds.

Whatever the provider says goes through :func:`record`, whoever asked it; it credits a
payment once, in the entry ``credit:PAYMENT``, and takes back or gives back the difference
to what the provider holds for us now.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING, Any, cast

import attrs

from billing_core.charging.expiry import lapse
from billing_core.charging.operations import Decision, Operation, finish, refusal
from billing_core.commands.outcomes import (
    AutoTopUpSet,
    Changed,
    Outcome,
    RefundRequested,
    Refusal,
    TopUpOrdered,
    TopUpUpdated,
)
from billing_core.commands.topups import (
    AskRefund,
    ClaimTopUp,
    Lapse,
    LoseMethod,
    OrderTopUp,
    RecordTopUp,
    SetAutoTopUp,
)
from billing_core.errors import InvalidCommand, NotFound, Outdated
from billing_core.ledger.debts import repay
from billing_core.ledger.inputs import NeedMore
from billing_core.ledger.ledger import Ledger
from billing_core.ports.state import Wanted
from billing_core.records.ledger import Lot
from billing_core.records.topups import (
    DATED,
    KEEPS,
    AutoTopUp,
    RefundOrder,
    StopReason,
    TopUp,
    TopUpRules,
    said_of,
)
from billing_core.topups.clawback import claw_back, reinstate
from billing_core.topups.policy import (
    allow,
    arm,
    attempt_begins,
    attempt_ends,
    awaits_method,
    held_share,
    in_bounds,
    misfit,
    mismatch,
    resumes,
    stopped,
    subtotal_of,
    why_not,
)
from billing_core.values.currencies import to_minor, to_nanos
from billing_core.values.money import decimal_text
from billing_core.values.text import compact
from billing_core.values.times import DAY, HOUR, duration, moment

if TYPE_CHECKING:
    from billing_core.ports.payments import Checkout, CheckoutOrder, Payment

__all__ = ["OPERATIONS", "begin_topup_if_low", "retryable_while_topup_open"]

_RETRY_AFTER = 5.0  # seconds in which an attempt in flight has mostly ended
_LOOK_AGAIN = DAY + HOUR  # when a page has surely closed


def told(topup: TopUp | None = None, auto: AutoTopUp | None = None) -> dict[str, Any]:
    """What the journal says of them."""
    effects: dict[str, Any] = {}
    if topup is not None:
        effects["topup"] = topup.to_data()
        del effects["topup"]["asked"]
    if auto is not None:
        effects["auto"] = auto.to_data()
    return effects


def _keep(ledger: Ledger, topup: TopUp) -> TopUp:
    topup.changes += 1
    ledger.state.topups[topup.topup] = ledger.changes.topups[topup.topup] = topup
    return topup


def _keep_auto(ledger: Ledger, auto: AutoTopUp) -> AutoTopUp:
    ledger.state.auto = ledger.changes.auto = auto
    arm(ledger.account, auto)
    return auto


def _auto(ledger: Ledger) -> AutoTopUp:
    return ledger.state.auto or AutoTopUp()


def _topup(ledger: Ledger, name: str) -> TopUp:
    topup = ledger.state.topups.get(name)
    if topup is None:
        raise NotFound("top-up", name, f"org {ledger.org!r} has none of this name")
    return topup


def _post(
    ledger: Ledger, decision: Decision[Any], key: str, content: object, amount: int, effects: object
) -> int:
    """An entry under a name of the engine's own; its number."""
    return ledger.post(key, decision.time, compact(content), amount, effects).seq


def _stop(ledger: Ledger, auto: AutoTopUp, why: StopReason) -> None:
    if stopped(auto, why):
        ledger.untold.append(("auto_topup_stopped", {"reason": why}))


# -- what callers want -----------------------------------------------------------


def order(ledger: Ledger, decision: Decision[OrderTopUp]) -> Outcome:
    command = decision.command
    _check_size(ledger, command.order.amount)
    _check_mode(ledger, livemode=command.livemode)
    lapse(ledger, decision)
    asked = command.order
    customer = _auto(ledger).customer
    if customer is not None:
        asked = attrs.evolve(asked, customer=customer)
    topup = TopUp(
        asked.order, "checkout", ledger.account.seq + 1, "ordered", asked.amount, decision.time,
        _asked(asked), due_at=ledger.terms.now + _LOOK_AGAIN, started=ledger.terms.now,
    )  # fmt: skip
    return finish(ledger, decision, 0, told(_keep(ledger, topup)))


def _asked(order: CheckoutOrder) -> str:
    return compact(attrs.asdict(order))


def _check_mode(ledger: Ledger, *, livemode: bool) -> None:
    if livemode is not ledger.account.livemode:
        modes = ("test mode", "live mode")
        expected = f"a provider of payments in the {modes[ledger.account.livemode]} of the account"
        raise InvalidCommand("livemode", modes[livemode], expected)


def _check_size(ledger: Ledger, minor: int) -> None:
    currency = ledger.account.currency
    if not in_bounds(minor, currency, ledger.terms.topups):
        least, most = (
            decimal_text(to_nanos(each, currency)) for each in ledger.terms.topups.bounds(currency)
        )
        given = f"{decimal_text(to_nanos(minor, currency))} {currency}"
        raise InvalidCommand("amount", given, f"{least} to {most} {currency}")


def set_auto(ledger: Ledger, decision: Decision[SetAutoTopUp]) -> Outcome:
    command = decision.command
    currency = ledger.account.currency
    amount = to_minor(command.amount.nanos, currency)
    if amount:  # only what is disabled may have none
        _check_size(ledger, amount)
    lapse(ledger, decision)
    auto = _auto(ledger)
    if command.enabled and auto.method is None:
        return refusal(decision, "no_saved_method")
    auto.enabled, auto.threshold, auto.amount = command.enabled, command.threshold.nanos, amount
    auto.cap = None if command.cap is None else to_minor(command.cap.nanos, currency)
    auto.times = command.times
    allow(auto, ledger.period(decision.time), ledger.terms.topups)
    return finish(ledger, decision, 0, told(auto=_keep_auto(ledger, auto)))


def ask_refund(ledger: Ledger, decision: Decision[AskRefund]) -> Outcome:
    command = decision.command
    topup = _topup(ledger, command.topup)
    _check_mode(ledger, livemode=command.livemode)
    if command.amount is not None and topup.why == "currency":
        raise InvalidCommand("amount", command.amount, "None: it was paid in another currency")
    currency = ledger.account.currency
    minor = None if command.amount is None else to_minor(command.amount.nanos, currency)
    if topup.payment is None or topup.paid_at is None:
        return refusal(decision, "not_paid")
    lapse(ledger, decision)
    asked_at = ledger.terms.now if ledger.terms.level >= DATED else None
    topup.refunds.append(RefundOrder(command.refund, minor, "asked", asked_at))
    topup.due_at = ledger.terms.now + duration("lease", ledger.terms.topups.lease)
    auto = _auto(ledger)
    auto.refunds_open += 1
    effects = told(_keep(ledger, topup), _keep_auto(ledger, auto))
    return finish(ledger, decision, 0, effects | {"refund": command.refund})


# -- automatic top-up -----------------------------------------------------------


def begin_topup_if_low(ledger: Ledger, time: int) -> None:
    """Begin an automatic top-up if what is available is below the threshold."""
    account = ledger.account
    if account.topup_below is None or time < account.topup_from or account.closed_at is not None:
        return
    available = ledger.available(None, time)
    if available >= account.topup_below:
        return
    auto = ledger.state.auto
    if auto is None:
        raise NeedMore(ledger.org, auto=True)
    period = ledger.period(time)
    cap = why_not(auto, period, ledger.terms.topups)
    key = f"auto:{account.seq + 1}"
    content: dict[str, Any] = {"available": available}
    if not in_bounds(auto.amount, account.currency, ledger.terms.topups):
        _stop(ledger, auto, "amount")
        ledger.post(key, time, compact(content), 0, told(auto=_keep_auto(ledger, auto)))
        return
    if cap is not None:
        auto.not_before = period.end
        ledger.untold.append(("auto_topup_capped", {"cap": cap, "until": period.end}))
        effects = told(auto=_keep_auto(ledger, auto))
        ledger.post(key, time, compact(content | {"cap": cap}), 0, effects)
        return
    ids = ledger.terms.ids
    assert ids is not None, "who decides about automatic top-ups gives ids"
    name = ids()
    attempt_begins(auto, name, period)
    topup = TopUp(
        name, "auto", account.seq + 1, "due", auto.amount, time,
        _attempt(ledger, auto, name, auto.amount), due_at=ledger.terms.now,
    )  # fmt: skip
    effects = told(_keep(ledger, topup), _keep_auto(ledger, auto))
    ledger.post(key, time, compact(content), 0, effects)


def _attempt(ledger: Ledger, auto: AutoTopUp, name: str, amount: int) -> str:
    return compact(
        {
            "org": ledger.org,
            "attempt": name,
            "amount": amount,
            "currency": ledger.account.currency,
            "customer": auto.customer,
            "method": auto.method,
            "description": "Automatic top-up",
        }
    )


def retryable_while_topup_open(refusal: Refusal, *, open: bool) -> Refusal:
    """The refusal, retryable where an automatic top-up is under way."""
    if not open or refusal.reason != "insufficient_credit":
        return refusal
    return attrs.evolve(refusal, retryable=True, retry_after=_RETRY_AFTER)


def claim(ledger: Ledger, decision: Decision[ClaimTopUp]) -> Outcome:
    """Give a due top-up to one worker, for the lease."""
    topup = _topup(ledger, decision.command.key)
    now = ledger.terms.now
    if topup.due_at is None or topup.due_at > now:
        return refusal(decision, "not_due")
    lapse(ledger, decision)
    auto = _auto(ledger)
    before = topup.state
    content: dict[str, Any] = {}
    why = None
    if before in ("due", "calling"):
        content["available"] = ledger.available(None, decision.time)
        why = _misfit(ledger, auto, topup, content["available"], decision.time)
    dropped = why is not None and before == "due"
    if dropped:
        topup.move("dropped", why)
        topup.due_at = None
        attempt_ends(auto, topup, before, decision.time, ledger.terms.topups)
    else:
        if topup.move("calling"):  # the method may have changed
            topup.asked = _attempt(ledger, auto, topup.topup, topup.amount)
        if topup.state == "calling":
            topup.why = why  # then it is looked for, and nobody is asked again
        topup.tries += 1
        topup.started = topup.started or now
        lease = duration("lease", ledger.terms.topups.lease)
        topup.due_at = now + lease * 2 ** min(topup.tries - 1, 5)
    effects = told(_keep(ledger, topup), _keep_auto(ledger, auto))
    content |= {"topup": topup.topup, "tries": topup.tries}
    seq = _post(ledger, decision, f"call:{topup.topup}/{topup.changes}", content, 0, effects)
    return refusal(decision, "dropped") if dropped else _recorded(ledger, decision, topup, seq)


def _misfit(ledger: Ledger, auto: AutoTopUp, topup: TopUp, available: int, time: int) -> str | None:
    """Why an attempt is not to be asked for any more."""
    if ledger.account.closed_at is not None:
        return "closed"
    if not in_bounds(topup.amount, ledger.account.currency, ledger.terms.topups):
        return "amount"
    return misfit(auto, topup, available, ledger.period(time), ledger.terms.topups)


def lose_method(ledger: Ledger, decision: Decision[LoseMethod]) -> Outcome:
    """The provider has the saved method no more, or its customer."""
    lapse(ledger, decision)
    auto, seq = _auto(ledger), ledger.account.seq
    if decision.command.key in (auto.method, auto.customer):
        if auto.method is not None:
            auto.method = None
            _stop(ledger, auto, "method")
        if auto.customer == decision.command.key:
            auto.customer = None
        effects = told(auto=_keep_auto(ledger, auto))
        key = f"method:{ledger.account.seq + 1}"
        seq = _post(ledger, decision, key, {"lost": decision.command.key}, 0, effects)
    return _changed(ledger, decision, seq)


def lapse_only(ledger: Ledger, decision: Decision[Lapse]) -> Outcome:
    """Put on record what has lapsed.  Refused where nothing has to be: of a lot that has ended,
    what is held expires with its hold."""
    lapse(ledger, decision)
    if not ledger.changes.entries:
        return refusal(decision, "not_due")
    return _changed(ledger, decision, ledger.account.seq)


def _changed(ledger: Ledger, decision: Decision[Any], seq: int) -> Changed:
    balance = ledger.account.balance
    return Changed(ledger.org, decision.command.key, seq, moment(decision.time), balance, False)


# -- what the provider says -----------------------------------------------------


def record(ledger: Ledger, decision: Decision[RecordTopUp]) -> Outcome:
    """Fulfil, fail, claw back or reinstate: make the record what the provider says."""
    command = decision.command
    topup = _topup(ledger, command.key)
    if command.version not in (None, topup.changes):
        raise Outdated(f"top-up {topup.topup!r} has changed since the provider was asked")
    lapse(ledger, decision)
    auto = _auto(ledger)
    before, auto_before = topup.to_data(), copy(auto)
    payment = command.payment
    _see(ledger, topup, auto, command)
    key, amount, effects = "", 0, cast(dict[str, Any], {})
    if payment is not None and topup.state == "paid" and topup.lot is None:
        amount = _credit(ledger, topup, payment)
        key, effects = f"credit:{payment.id}", {"lot": topup.lot}
        _save_method(topup, auto, command.checkout)
    if topup.state != before["state"]:
        _tell(ledger, topup, amount, command.doubts)
        if topup.kind == "auto":
            attempt_ends(auto, topup, before["state"], decision.time, ledger.terms.topups)
    if payment is not None and payment.id == topup.payment:
        _see_taken(topup, auto, payment, ledger.terms.topups)
        _see_excess(ledger, topup, payment)
    if auto.stopped is not None and auto_before.stopped != auto.stopped:
        data = {"reason": auto.stopped, "topup": topup.topup, "failures": auto.failures}
        ledger.untold.append(("auto_topup_stopped", data))
    topup.due_at = _due(ledger, topup)
    seq = ledger.account.seq
    if topup.to_data() != before or auto != auto_before:
        effects |= told(_keep(ledger, topup), _keep_auto(ledger, auto))
        key = key or f"payment:{topup.topup}/{topup.changes}"
        seq = _post(ledger, decision, key, _content(topup, payment), amount, effects)
    if payment is not None and topup.lot is not None and payment.id == topup.payment:
        seq = _balance(ledger, decision, topup, payment) or seq
    if auto.method != auto_before.method and awaits_method(auto_before):
        begin_topup_if_low(ledger, decision.time)  # what the card before could not pay for
    return _recorded(ledger, decision, topup, seq)


def _recorded(ledger: Ledger, decision: Decision[Any], topup: TopUp, seq: int) -> TopUpUpdated:
    return TopUpUpdated(
        ledger.org, topup.topup, seq, moment(decision.time), ledger.account.balance, False,
        topup.topup, topup.state, topup.granted, topup.clawed, topup.why,
    )  # fmt: skip


def _content(topup: TopUp, payment: Payment | None) -> dict[str, Any]:
    content: dict[str, Any] = {"topup": topup.topup, "kind": topup.kind, "state": topup.state}
    if payment is not None:
        content |= {
            "payment": payment.id,
            "subtotal": subtotal_of(topup, payment),
            "received": payment.received,
            "kept": payment.kept,
            "currency": payment.currency,
        }
    return content


def _see(ledger: Ledger, topup: TopUp, auto: AutoTopUp, command: RecordTopUp) -> None:
    """Take down what was seen of checkout, payment and refunds."""
    checkout, payment = command.checkout, command.payment
    if checkout is not None:
        topup.checkout = topup.checkout or checkout.id
        # It has served, and may hold somebody's address.
        topup.asked = said_of(topup.asked) if ledger.terms.level >= KEEPS else ""
        if checkout.paid == "no_payment_required":
            topup.move("quarantined", "no payment was required")
        elif checkout.state == "expired":
            topup.move("expired")
        else:
            topup.move("open")
    if payment is not None:
        _see_payment(ledger, topup, payment)
    if command.failed is not None:
        topup.move("failed", command.failed)
    if command.doubts:
        topup.move("quarantined", command.doubts[0][1])
    for place, refund in enumerate(topup.refunds):
        listed = payment is not None and any(each.key == refund.key for each in payment.refunds)
        made = listed or refund.key == command.made
        if refund.state == "asked" and (made or refund.key == command.refused):
            topup.refunds[place] = refund._replace(state="made" if made else "refused")
            auto.refunds_open -= 1
            if not made:
                data = {"topup": topup.topup, "refund": refund.key}
                ledger.untold.append(("refund_failed", data))


def _see_payment(ledger: Ledger, topup: TopUp, payment: Payment) -> None:
    if topup.paid_at is not None and payment.id != topup.payment:
        if payment.state == "succeeded" and payment.id not in topup.strays:
            topup.strays.append(payment.id)
            data = {"topup": topup.topup, "payment": payment.id, "why": "paid twice"}
            ledger.untold.append(("payment_quarantined", data))
        return
    topup.payment = payment.id
    account = ledger.account
    match payment.state:
        case "succeeded":
            topup.paid_at = payment.created
            why = mismatch(topup, payment, account.currency, account.livemode)
            topup.move("paid" if why is None else "quarantined", why)
        case "processing":
            topup.move("processing")
        case "authentication_required" if topup.kind == "auto":
            topup.move("authentication_required", payment.failure)
        case "declined" | "canceled" if topup.kind == "auto":
            topup.move("declined", payment.failure or payment.state)
        case "declined" | "canceled" if topup.state == "processing":
            topup.move("failed", payment.failure or payment.state)
        case _:  # the customer may yet pay
            pass


def _see_taken(topup: TopUp, auto: AutoTopUp, payment: Payment, rules: TopUpRules) -> None:
    """Money newly taken back stops automatic top-ups; old news of it does not, nor does a
    refund where the platform says so."""
    withdrawn = sum(each.withdrawn for each in payment.disputes)
    # Failed refunds too: without them what is taken next could look like what was before.
    taken = sum(each.amount for each in payment.refunds) + withdrawn
    if taken > topup.taken and (withdrawn or rules.refund_stops):
        stopped(auto, "dispute" if withdrawn else "refund")
    topup.taken = max(topup.taken, taken)


def _see_excess(ledger: Ledger, topup: TopUp, payment: Payment) -> None:
    """What the provider claims beyond what was paid moves nothing: it is told, and on record."""
    if topup.state == "paid" and topup.why != payment.excess:
        topup.why = payment.excess
        if topup.why is not None:
            data = {"topup": topup.topup, "payment": payment.id, "why": topup.why}
            ledger.untold.append(("payment_quarantined", data))


def _credit(ledger: Ledger, topup: TopUp, payment: Payment) -> int:
    """The payment becomes credit.  Returns how much."""
    amount = to_nanos(topup.amount, payment.currency)
    ledger.check_room(granted=amount)
    account = ledger.account
    lot = Lot(
        account.lots + 1, account.seq + 1, "purchased", 0, amount, 0, 0, None, None
    )  # fmt: skip
    topup.lot, topup.granted = lot.lot, amount
    ledger.grant(lot)
    repay(ledger)
    return amount


def _save_method(topup: TopUp, auto: AutoTopUp, checkout: Checkout | None) -> None:
    """What was saved with a checkout is what is charged from now on; that of a page ordered
    earlier, whose money took longer, is not."""
    if checkout is not None and checkout.method is not None and topup.seq >= auto.saved_by:
        auto.saved_by = topup.seq
        resumes(auto, checkout.customer, checkout.method)


def _tell(
    ledger: Ledger, topup: TopUp, amount: int, doubts: Iterable[tuple[str | None, str]]
) -> None:
    data: dict[str, Any] = {"topup": topup.topup, "kind": topup.kind}
    match topup.state:
        case "paid":
            ledger.untold.append(("topup_succeeded", data | {"amount": amount}))
        case "quarantined":
            for payment, why in doubts or ((topup.payment, topup.why),):
                told_of = data | {"payment": payment, "why": why}
                ledger.untold.append(("payment_quarantined", told_of))
        case "declined" | "failed" | "authentication_required":
            data |= {"state": topup.state, "why": topup.why}
            ledger.untold.append(("topup_failed", data))
        case _:
            pass


def _due(ledger: Ledger, topup: TopUp) -> int | None:
    """When a worker is to look at it again."""
    if any(refund.state == "asked" for refund in topup.refunds):
        return topup.due_at
    if topup.state in ("ordered", "open", "due", "calling"):
        return topup.due_at
    if topup.state == "processing":
        return topup.due_at if topup.kind == "checkout" else ledger.terms.now + HOUR
    return None


def _balance(
    ledger: Ledger, decision: Decision[RecordTopUp], topup: TopUp, payment: Payment
) -> int | None:
    """Take back or give back, so that what is credited is what the provider holds for us;
    the entry, if there is one."""
    held, had = held_share(topup, payment), topup.granted - topup.clawed
    if held is None or held == had:
        return None
    taken = had - held
    data = {"topup": topup.topup, "amount": abs(taken)}
    effects: dict[str, Any] = {}
    if held < had:
        claw_back(ledger, topup, taken)
        ledger.untold.append(("payment_clawed_back", data))
    else:
        effects["undone"] = reinstate(ledger, topup, -taken, decision)
        ledger.untold.append(("payment_reinstated", data))
    effects |= told(_keep(ledger, topup))
    key = f"payment:{topup.topup}/{topup.changes}"
    content = _content(topup, payment) | {"taken": taken}
    return _post(ledger, decision, key, content, abs(taken), effects)


# -- what each is -----------------------------------------------------------------


def _want_topup(
    want: Wanted, command: AskRefund | ClaimTopUp | RecordTopUp, at: int, now: int
) -> None:
    want.topups.add(command.topup if isinstance(command, AskRefund) else command.key)
    want.auto = True


def _want_auto(want: Wanted, command: object, at: int, now: int) -> None:
    want.auto = True


OPERATIONS = (
    Operation(
        OrderTopUp,
        order,
        lambda _, base, effects: TopUpOrdered(*base, effects["topup"]["topup"]),
        _want_auto,
        ("amount",),
        tops_up="never",
    ),
    Operation(
        SetAutoTopUp,
        set_auto,
        lambda _, base, effects: AutoTopUpSet(*base, effects["auto"]),
        _want_auto,
        ("amount", "threshold", "cap"),
        tops_up="use",
    ),
    Operation(
        AskRefund,
        ask_refund,
        lambda _, base, effects: RefundRequested(
            *base, effects["topup"]["topup"], effects["refund"]
        ),
        _want_topup,
        ("amount",),
        after_closing=True,
        tops_up="never",
    ),
    Operation(ClaimTopUp, claim, None, _want_topup, after_closing=True, tops_up="use"),
    # A page that saves another card lets go on what the one before could not pay for.
    Operation(
        RecordTopUp,
        record,
        None,
        _want_topup,
        after_closing=True,
        tops_up="never",
        history="clawback",
    ),
    Operation(LoseMethod, lose_method, None, _want_auto, after_closing=True, tops_up="never"),
    Operation(Lapse, lapse_only, None, after_closing=True, history="expiry"),
)
