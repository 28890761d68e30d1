"""Whether a cost could be held, asked without holding it."""

from __future__ import annotations

from attrs import frozen

from billing_core.charging.charges import quote_usage
from billing_core.charging.limits import Use, binding_limit
from billing_core.charging.operations import limit_refusal
from billing_core.commands.holds import Hold
from billing_core.commands.outcomes import Refusal
from billing_core.errors import InvalidCommand
from billing_core.ledger.ledger import Ledger
from billing_core.pricing.rating import billed
from billing_core.topups.handlers import retryable_while_topup_open
from billing_core.values.usage import Usage

__all__ = ["Check", "check"]


@frozen
class Check:
    """Whether a cost could be held now.

    Attributes:
        needed: What the cost is, in nanos; of a usage, the most that it can cost now.
        available: What is available for it, in nanos.
        refusal: Why it would be refused.  None: it is allowed.
    """

    needed: int
    available: int
    refusal: Refusal | None

    @property
    def allowed(self) -> bool:
        """Whether a hold of this cost would succeed now."""
        return self.refusal is None


def check(ledger: Ledger, hold: Hold, now: int) -> Check:
    """Whether a hold would succeed at a time."""
    cost, resource = hold.cost, hold.resource
    counts: dict[str, int] = {}
    # A hold lives by the org's time of decision, even where that is ahead of this clock.
    ahead = ledger.account.watermark
    until = ahead + 1 if ahead > now else None
    if isinstance(cost, Usage):
        quoted = quote_usage(ledger, cost, now)
        needed, resource, counts = quoted.amount, cost.resource, billed(quoted.lines)
    else:
        needed = cost.nanos
        if cost.currency != ledger.account.currency:
            raise InvalidCommand("cost", cost.currency, ledger.account.currency)
    name, members = hold.member, ledger.state.members
    member = 0 if name is None else members.get(name, ledger.account.members + 1)
    use = Use(member, hold.project, resource, now, max(now, ahead), counts.items(), until)
    binding = binding_limit(ledger, use, needed)
    refusal = None
    if ledger.account.closed_at is not None:
        refusal = Refusal(hold.org, hold.key, "closed")
    elif binding is not None:
        no_credit = limit_refusal(hold.org, hold.key, binding, now)
        refusal = retryable_while_topup_open(no_credit, open=ledger.account.topup_open)
    return Check(needed, ledger.available(resource, now), refusal)
