"""From a charge to its usage, price version, arithmetic and lots.  Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from billing_core.pricing.catalogue import Catalogue
from billing_core.pricing.price import STANDS
from billing_core.pricing.rating import describe
from billing_core.records.ledger import Charge, Entry, Lot
from billing_core.records.usage import Line
from billing_core.values.money import decimal_text
from billing_core.values.times import moment
from billing_core.values.usage import CUSTOMER

__all__ = ["ExplainedLine", "Explanation", "LotPayment", "explain"]


@frozen
class ExplainedLine:
    """One component of a charge: what was measured and billed, at which price, and how it adds up.

    Attributes:
        component: The component's name.
        quantity: What was measured.
        billed: What was billed of it, with what a minimum and an increment add (rule 5.5).
        payer: ``platform`` or ``customer`` (rule 8.5).
        amount: Nanos.
        version: The price version; None: a fixed amount, no price, or another org's own price.
        price: The price in words; empty where there is none to show.
        variant: Which conditions of the request held, in words, where the price depends on them
            (rule 5.9); empty: its base stood, and nothing multiplied it.
        arithmetic: How the quantity becomes the amount (rule 5.4), in words.
    """

    component: str
    quantity: int
    billed: int
    payer: str
    amount: int
    version: str | None
    price: str
    arithmetic: str
    variant: str = ""


@frozen
class LotPayment:
    """What one lot paid of a charge, less what went back to it.

    Attributes:
        lot: The lot's number.
        kind: ``purchased``, ``promotional`` or ``allowance``.
        amount: Nanos.
        how: ``capture`` (from the hold), ``charge`` (from what was available) or ``repayment``
            (later, of the debt).
    """

    lot: int
    kind: str
    amount: int
    how: str


@frozen
class Explanation:
    """Everything behind one charge.

    Attributes:
        org: Whose account it is.
        charge: The charge's number.
        key: The key of the command that charged it.
        currency: Of all amounts.
        at: The time of decision, UTC.
        recorded_at: When it was recorded, by the engine's clock, UTC.
        occurred_at: When it was used, UTC; that decided price and billing period.
        member: Who used it; None: nobody in particular.
        resource: What was used.
        amount: Nanos charged.
        lines: One for each component.
        payments: What the lots paid.
        unpaid: Nanos that are still debt.
        reversed: Nanos given back, also because other usage was undone (rule 6.6).
        priced_by: The number of the charge that priced later what was unpriced here; None: none.
        override: Whether an operator named a price version that would not have applied (rule 5.7).
    """

    org: str
    charge: int
    key: str
    currency: str
    at: datetime
    recorded_at: datetime
    occurred_at: datetime
    member: str | None
    resource: str
    amount: int
    lines: tuple[ExplainedLine, ...]
    payments: tuple[LotPayment, ...]
    unpaid: int
    reversed: int
    priced_by: int | None
    override: bool = False

    def __str__(self) -> str:
        text = [
            f"charge {self.charge} of org {self.org}: {decimal_text(self.amount)} {self.currency}",
            f"  for {self.resource}" + (f", member {self.member}" if self.member else ""),
            f"  occurred {self.occurred_at.isoformat()}, decided {self.at.isoformat()}",
        ]
        for line in self.lines:
            text.append(f"  {line.component}: {line.quantity} -> {decimal_text(line.amount)}")
            if line.price:
                text.append(f"    {line.price}  ({line.version})")
            if line.variant:
                text.append(f"    {line.variant}")
            text.append(f"    {line.arithmetic}")
        text += [
            f"  paid {decimal_text(payment.amount)} by lot {payment.lot} "
            f"({payment.kind}, {payment.how})"
            for payment in self.payments
        ]
        if self.unpaid:
            text.append(f"  unpaid {decimal_text(self.unpaid)}")
        if self.reversed:
            text.append(f"  reversed {decimal_text(self.reversed)}")
        if self.override:
            text.append("  priced by an operator's override")
        if self.priced_by is not None:
            text.append(f"  priced later by entry {self.priced_by}")
        return "\n".join(text)


def explain(
    entry: Entry,
    story: Charge,
    catalogue: Catalogue,
    currency: str,
    lots: Mapping[int, Lot],
    member: str | None,
) -> Explanation:
    """The explanation of a charge's entry.  ``story``: what became of it since."""
    usage = entry.usage
    assert usage is not None, "a charge has a usage record"
    # The story's payments are the entry's own, then repayments, less what went back.
    own = [each.kind for each in entry.transfers if each.kind in ("capture", "charge")]
    payments = [
        LotPayment(lot, lots[lot].kind, amount, own[index] if index < len(own) else "repayment")
        for index, (lot, amount) in enumerate(story.payments)
    ]
    # Undoing other usage lowers what this one costs: that has come back as well.
    back = story.reversed
    if entry.op != "piece":
        back += entry.amount - story.amount
    return Explanation(
        org=entry.org,
        charge=entry.seq,
        key=entry.key.partition(":")[2],
        currency=currency,
        at=moment(entry.at),
        recorded_at=moment(entry.recorded_at),
        occurred_at=moment(usage.occurred_at),
        member=member,
        resource=usage.resource,
        amount=entry.amount,
        lines=tuple(
            _line(line, catalogue, currency, usage.resource, entry.org) for line in usage.lines
        ),
        payments=tuple(payments),
        unpaid=story.unpaid,
        reversed=back,
        priced_by=story.priced,
        override=entry.op == "price" and bool(json.loads(entry.content).get("override")),
    )


def _line(
    line: Line, catalogue: Catalogue, currency: str, resource: str, org: str
) -> ExplainedLine:
    price = variant = ""
    version = line.version or None
    if line.payer == CUSTOMER:
        arithmetic = "on the customer's own key: recorded, not charged"
    elif line.version is None:
        arithmetic = "no price was in force: recorded, to be priced"
    elif line.version == "":
        arithmetic = f"a fixed amount: {decimal_text(line.amount)}"
    elif any(book.org not in (None, org) for book in catalogue.books_of(line.version)):
        # An operator named it; what another customer pays, and its book, are not to be shown.
        version = None
        arithmetic = f"by a price that is another org's own: {line.amount} nanos"
    else:
        priced = catalogue.priced_by(line.version, currency, resource, line.component)
        if priced is None:
            arithmetic = f"price version {line.version} is not on record"
        else:
            price = describe(priced.price.chosen(STANDS), currency)
            variant = catalogue.describe_choice(line.version, currency, resource, line.component)
            cost = priced.price.function.between(line.counter, line.counter + line.billed)
            counted = "" if line.billed == line.quantity else f", {line.billed} billed"
            arithmetic = (
                f"{line.quantity} {priced.price.unit}{counted}, from {line.counter}: "
                f"floor({line.carry}/{line.carry_of} + {cost[0]}/{cost[1]}) "
                f"= {line.amount} nanos"
            )
    return ExplainedLine(
        line.component,
        line.quantity,
        line.billed,
        line.payer,
        line.amount,
        version,
        price,
        arithmetic,
        variant,
    )
