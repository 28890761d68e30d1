"""An embeddable billing engine: prepaid credits, metering and settlement, exact to the nano."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from billing_core.books import PriceBook
from billing_core.catalogue import Catalogue
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
    SetLimit,
    SetLowBalance,
    SetPlan,
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
    Changed,
    Charged,
    Closed,
    Extended,
    Granted,
    Held,
    Opened,
    Ordered,
    Outcome,
    Recorded,
    RefundAsked,
    Refusal,
    Released,
    Reversed,
    Subscribed,
    Success,
)
from billing_core.plans import Limit, Plan, Quota
from billing_core.pricing import Flat, Graduated, Package, Price, Tier
from billing_core.quantities import Usage, model, tokens
from billing_core.topup import TopUpRules

if TYPE_CHECKING:
    from billing_core.audit import Checkpoint, Discrepancy
    from billing_core.engine import AsyncBilling, AsyncHold
    from billing_core.engine.topups import AutoTopUpStatus, TopUpPage
    from billing_core.engine.work import Delivery, Pending
    from billing_core.explain import Explanation
    from billing_core.reconciliation import Reconciliation
    from billing_core.statements import Balance, HistoryPage, HistoryRow
    from billing_core.usage import (
        DayUsage,
        ModelUsage,
        ResourceCharge,
        UsageReport,
        UsageRow,
        UsageSummary,
    )
    from billing_core.verify import Verification

__all__ = [
    "AsyncBilling",
    "AsyncHold",
    "AutoTopUpStatus",
    "Balance",
    "Billing",
    "BillingError",
    "Catalogue",
    "Changed",
    "Charged",
    "Check",
    "Checkpoint",
    "Close",
    "Closed",
    "Command",
    "Conflict",
    "DayUsage",
    "Deduct",
    "Delivery",
    "Discrepancy",
    "Explanation",
    "Extend",
    "Extended",
    "Flat",
    "Graduated",
    "Grant",
    "Granted",
    "Held",
    "HistoryPage",
    "HistoryRow",
    "Hold",
    "IdempotencyConflict",
    "InvalidCommand",
    "Limit",
    "ModelUsage",
    "Money",
    "MoneyOverflow",
    "NotFound",
    "OpenAccount",
    "OpenHold",
    "Opened",
    "Ordered",
    "Outcome",
    "Package",
    "PaymentError",
    "Pending",
    "Plan",
    "Price",
    "PriceBook",
    "PriceUnpriced",
    "Quota",
    "Quote",
    "Reconciliation",
    "Recorded",
    "RefundAsked",
    "Refusal",
    "Refused",
    "Release",
    "Released",
    "ResourceCharge",
    "Reverse",
    "Reversed",
    "SetLimit",
    "SetLowBalance",
    "SetPlan",
    "Settle",
    "StoreError",
    "Subscribed",
    "Success",
    "Tier",
    "TopUpPage",
    "TopUpRules",
    "UnknownPrice",
    "Usage",
    "UsageReport",
    "UsageRow",
    "UsageSummary",
    "Verification",
    "decimal_text",
    "model",
    "tokens",
    "usd",
]


# Imported when first asked for: not every service needs asyncio, or reports.
_LATER = {
    "ResourceCharge": "usage",
    "ModelUsage": "usage",
    "UsageSummary": "usage",
    "DayUsage": "usage",
    "HistoryPage": "statements",
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
    "AutoTopUpStatus": "engine.topups",
    "TopUpPage": "engine.topups",
    "Delivery": "engine.work",
    "Pending": "engine.work",
    "Reconciliation": "reconciliation",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"billing_core.{_LATER[name]}"), name)
