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
    ImpossibleTransition,
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
    RunStands,
    StorageStands,
    Subscribed,
    Success,
)
from billing_core.plans import Limit, Plan, Quota
from billing_core.pricing import Flat, Graduated, Package, Price, Tier
from billing_core.quantities import Usage, code, model, tokens, tool
from billing_core.run_commands import (
    CloseSilentRun,
    ForgiveRun,
    Heartbeat,
    ResumeRun,
    SettleRun,
    StartRun,
    StopRun,
    SuspendRun,
    UndoForgiveness,
    sandbox,
)
from billing_core.storage_commands import BillStorage, ReportStorage
from billing_core.topup import TopUpRules

if TYPE_CHECKING:
    from billing_core.audit import Checkpoint, Discrepancy
    from billing_core.differences import Difference
    from billing_core.engine import AsyncBilling, AsyncHold
    from billing_core.engine.topups import AutoTopUpStatus, TopUpPage
    from billing_core.engine.work import Delivery, Pending
    from billing_core.explain import Explanation
    from billing_core.reconciliation import Reconciliation
    from billing_core.standing import RunQuote, RunView, StorageRoom, StorageView
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
    "BillStorage",
    "Billing",
    "BillingError",
    "Catalogue",
    "Changed",
    "Charged",
    "Check",
    "Checkpoint",
    "Close",
    "CloseSilentRun",
    "Closed",
    "Command",
    "Conflict",
    "DayUsage",
    "Deduct",
    "Delivery",
    "Difference",
    "Discrepancy",
    "Explanation",
    "Extend",
    "Extended",
    "Flat",
    "ForgiveRun",
    "Graduated",
    "Grant",
    "Granted",
    "Heartbeat",
    "Held",
    "HistoryPage",
    "HistoryRow",
    "Hold",
    "IdempotencyConflict",
    "ImpossibleTransition",
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
    "ReportStorage",
    "ResourceCharge",
    "ResumeRun",
    "Reverse",
    "Reversed",
    "RunQuote",
    "RunStands",
    "RunView",
    "SetLimit",
    "SetLowBalance",
    "SetPlan",
    "Settle",
    "SettleRun",
    "StartRun",
    "StopRun",
    "StorageRoom",
    "StorageStands",
    "StorageView",
    "StoreError",
    "Subscribed",
    "Success",
    "SuspendRun",
    "Tier",
    "TopUpPage",
    "TopUpRules",
    "UndoForgiveness",
    "UnknownPrice",
    "Usage",
    "UsageReport",
    "UsageRow",
    "UsageSummary",
    "Verification",
    "code",
    "decimal_text",
    "model",
    "sandbox",
    "tokens",
    "tool",
    "usd",
]


# Imported when first asked for: not every service needs asyncio, or reports.
_LATER = {
    "RunQuote": "standing",
    "RunView": "standing",
    "StorageRoom": "standing",
    "StorageView": "standing",
    "ResourceCharge": "usage",
    "ModelUsage": "usage",
    "UsageSummary": "usage",
    "DayUsage": "usage",
    "HistoryPage": "statements",
    "AsyncBilling": "engine",
    "AsyncHold": "engine",
    "Balance": "statements",
    "Checkpoint": "audit",
    "Difference": "differences",
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
