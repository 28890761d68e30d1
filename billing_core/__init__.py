"""An embeddable billing engine: prepaid credits, metering and settlement, exact to the nano."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from billing_core.commands import (
    Close,
    Command,
    Deduct,
    Extend,
    Grant,
    Hold,
    OpenAccount,
    PriceUnpriced,
    Release,
    Reverse,
    Settle,
)
from billing_core.engine import Billing, Check, OpenHold
from billing_core.errors import (
    BillingError,
    Conflict,
    IdempotencyConflict,
    InvalidCommand,
    MoneyOverflow,
    NotFound,
    PaymentError,
    Refused,
    StoreError,
    UnknownPrice,
)
from billing_core.metering import Quote
from billing_core.money import Money, decimal_text, usd
from billing_core.outcomes import (
    Charged,
    Closed,
    Extended,
    Granted,
    Held,
    Opened,
    Outcome,
    Refusal,
    Released,
    Reversed,
    Success,
)
from billing_core.pricing import Catalogue, Flat, Graduated, Package, Price, PriceBook, Tier
from billing_core.quantities import Usage, model, tokens

if TYPE_CHECKING:
    from billing_core.audit import Checkpoint, Discrepancy
    from billing_core.engine import AsyncBilling, AsyncHold
    from billing_core.explain import Explanation
    from billing_core.statements import Balance, HistoryRow
    from billing_core.usage import UsageReport, UsageRow
    from billing_core.verify import Verification

__all__ = [
    "AsyncBilling",
    "AsyncHold",
    "Balance",
    "Billing",
    "BillingError",
    "Catalogue",
    "Charged",
    "Check",
    "Checkpoint",
    "Close",
    "Closed",
    "Command",
    "Conflict",
    "Deduct",
    "Discrepancy",
    "Explanation",
    "Extend",
    "Extended",
    "Flat",
    "Graduated",
    "Grant",
    "Granted",
    "Held",
    "HistoryRow",
    "Hold",
    "IdempotencyConflict",
    "InvalidCommand",
    "Money",
    "MoneyOverflow",
    "NotFound",
    "OpenAccount",
    "OpenHold",
    "Opened",
    "Outcome",
    "Package",
    "PaymentError",
    "Price",
    "PriceBook",
    "PriceUnpriced",
    "Quote",
    "Refusal",
    "Refused",
    "Release",
    "Released",
    "Reverse",
    "Reversed",
    "Settle",
    "StoreError",
    "Success",
    "Tier",
    "UnknownPrice",
    "Usage",
    "UsageReport",
    "UsageRow",
    "Verification",
    "decimal_text",
    "model",
    "tokens",
    "usd",
]


# Imported when first asked for: not every service needs asyncio, or reports.
_LATER = {
    "AsyncBilling": "engine",
    "AsyncHold": "engine",
    "Balance": "statements",
    "Checkpoint": "audit",
    "Discrepancy": "audit",
    "Explanation": "explain",
    "HistoryRow": "statements",
    "UsageReport": "usage",
    "UsageRow": "usage",
    "Verification": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"billing_core.{_LATER[name]}"), name)
