"""The ledger's payments held against the provider's.  Pure."""

from __future__ import annotations

from attrs import frozen

from billing_core.ports.payments import Payment
from billing_core.records.ledger import Account
from billing_core.records.topups import TopUp
from billing_core.topups.policy import held_share, may_be, mismatch
from billing_core.values.money import decimal_text

__all__ = ["Difference", "Reconciliation", "differences", "missing", "unnamed"]


@frozen
class Difference:
    """One thing in which the ledger and the payment provider do not agree.

    Attributes:
        org: Whose payment it is.
        topup: The top-up's id; None: it is not known for which one the payment is.
        payment: The provider's id of the payment; empty: it lists none.
        what: What differs, in words.
    """

    org: str
    topup: str | None
    payment: str
    what: str

    def __str__(self) -> str:
        topup = "" if self.topup is None else f"top-up {self.topup}: "
        return f"{self.org}: {topup}payment {self.payment}: {self.what}"


@frozen
class Reconciliation:
    """The ledger's payments of a span, compared with the provider's.

    Attributes:
        payments: How many the provider has in the span.
        foreign: How many of these have nothing to do with any org of this ledger.
        topups: How many top-ups of the ledger were paid in the span.
        differences: What does not agree.
        unreadable: Payments whose answer is not as the provider documents it: the id, as far as
            there is one, and why.
    """

    payments: int
    foreign: int
    topups: int
    differences: tuple[Difference, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything agrees, and all payments could be read."""
        return not self.differences and not self.unreadable


def differences(
    payment: Payment, org: str, name: str, account: Account | None, topup: TopUp | None
) -> list[Difference]:
    """What of a payment, which is of an org's top-up, is not as the ledger has it."""

    def differ(what: str) -> list[Difference]:
        return [Difference(org, name or None, payment.id, what)]

    if account is None:
        return differ("the org has no account here")
    if topup is None:
        return differ("the org has no such top-up")
    if payment.state != "succeeded":
        if topup.payment == payment.id and topup.lot is not None:
            return differ(f"credited, but at the provider it is {payment.state}")
        return []
    if topup.paid_at is not None and topup.payment != payment.id:
        if not payment.kept:
            return []  # given back
        return differ(f"a second payment of what {topup.payment} has paid")
    why = mismatch(topup, payment, account.currency, account.livemode)
    if why is not None:
        if topup.state == "quarantined" and not payment.kept:
            return []  # given back
        return differ(f"the {why} is not what was asked for; it is {topup.state}")
    if topup.lot is None:
        return differ(f"paid, but not credited; it is {topup.state}")
    credited, held = topup.granted - topup.clawed, held_share(topup, payment)
    if held is not None and credited != held:
        figures = f"{decimal_text(credited)} {account.currency} credited"
        return differ(f"{figures}; the provider holds {decimal_text(held)} for us")
    if payment.excess is not None:
        return differ(f"the provider says that {payment.excess}")
    return []


def unnamed(
    payment: Payment, org: str, account: Account | None, topups: list[TopUp]
) -> list[Difference]:
    """A payment by an org's customer that says of no top-up that it is for it.  ``topups``: those
    of that customer of which no payment is on record."""
    if account is None or payment.state != "succeeded" or not payment.kept:
        return []
    what = "paid by the org's customer, but it does not say for which top-up"
    fit = [
        each.topup
        for each in topups
        if may_be(each, payment, account.currency, account.livemode) is None
    ]
    if fit:
        what += f"; if it is for {' or '.join(fit)}, give it to read_back as payment="
    return [Difference(org, None, payment.id, what)]


def missing(org: str, topup: TopUp) -> Difference:
    """A paid top-up whose payment the provider does not list."""
    return Difference(org, topup.topup, topup.payment or "", "paid, but the provider lists none")
