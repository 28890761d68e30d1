"""The ledger's payments held against the provider's.  Pure."""

from __future__ import annotations

from attrs import frozen

from billing_core.money import decimal_text
from billing_core.payments import Payment
from billing_core.records import Account
from billing_core.topup import TopUp, held_share, mismatch

__all__ = ["Difference", "Reconciliation", "differences", "missing"]


@frozen
class Difference:
    """One thing in which the ledger and the provider do not agree, by our id of the top-up
    and the provider's of the payment."""

    org: str
    topup: str | None
    payment: str
    what: str

    def __str__(self) -> str:
        return f"{self.org}: top-up {self.topup}: payment {self.payment}: {self.what}"


@frozen
class Reconciliation:
    """``payments``: the provider's in the span, ``foreign`` of which are none of ours;
    ``topups``: ours that were paid in it."""

    payments: int
    foreign: int
    topups: int
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        return not self.differences


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


def missing(org: str, topup: TopUp) -> Difference:
    """A paid top-up whose payment the provider does not list."""
    return Difference(org, topup.topup, topup.payment or "", "paid, but the provider lists none")
