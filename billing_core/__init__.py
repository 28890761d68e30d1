"""An embeddable billing engine: prepaid credits, metering and settlement, exact to the nano."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from billing_core.audit.state import Checkpoint, Discrepancy
    from billing_core.audit.verify import Verification
    from billing_core.commands.accounts import (
        Close,
        OpenAccount,
        SetLimit,
        SetLowBalance,
        SetPlan,
    )
    from billing_core.commands.base import Command
    from billing_core.commands.charges import Deduct, PriceUnpriced, Reverse, Settle
    from billing_core.commands.credit import Grant, UndoExpiry
    from billing_core.commands.holds import Extend, Hold, Release
    from billing_core.commands.outcomes import (
        Changed,
        Charged,
        Closed,
        Extended,
        Granted,
        Held,
        Opened,
        Outcome,
        RefundRequested,
        Refusal,
        Refused,
        Released,
        Restored,
        Reversed,
        RunStatus,
        StorageStatus,
        Subscribed,
        Success,
        TopUpOrdered,
        TopUpUpdated,
    )
    from billing_core.commands.runs import (
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
    from billing_core.commands.storage import BillStorage, ReportStorage
    from billing_core.engine import AsyncBilling, AsyncHold, Billing, Check, OpenHold
    from billing_core.engine.background import Delivery, Pending
    from billing_core.engine.topups import AutoTopUpStatus, TopUpPage
    from billing_core.errors import (
        BillingError,
        ClockDoubt,
        Conflict,
        HoldEnded,
        IdempotencyConflict,
        ImpossibleTransition,
        InvalidCommand,
        MoneyOverflow,
        NameWarning,
        NotFound,
        PaymentError,
        StoreError,
        UnknownPrice,
    )
    from billing_core.pricing.catalogue import Catalogue
    from billing_core.pricing.conditions import Fact, FactIs, Hours, SizeAbove
    from billing_core.pricing.differences import Difference
    from billing_core.pricing.functions import Flat, Graduated, Package, Tier
    from billing_core.pricing.plan import Limit, Plan, Quota
    from billing_core.pricing.price import Multiplier, Price, Variant
    from billing_core.pricing.price_book import PriceBook
    from billing_core.pricing.rating import Quote
    from billing_core.records.topups import TopUpRules
    from billing_core.reports.explain import Explanation
    from billing_core.reports.statements import Balance, Expiry, HistoryPage, HistoryRow
    from billing_core.reports.usage import (
        DayUsage,
        ModelUsage,
        ResourceCharge,
        UsageReport,
        UsageRow,
        UsageSummary,
    )
    from billing_core.runs.views import RunQuote, RunView
    from billing_core.storage.views import StorageQuotaCheck, StorageView
    from billing_core.topups.reconciliation import Reconciliation
    from billing_core.values.money import Money, decimal_text, usd
    from billing_core.values.tokens import tokens
    from billing_core.values.usage import Rates, Usage, code, model, tool

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
    "ClockDoubt",
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
    "Expiry",
    "Explanation",
    "Extend",
    "Extended",
    "Fact",
    "FactIs",
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
    "HoldEnded",
    "Hours",
    "IdempotencyConflict",
    "ImpossibleTransition",
    "InvalidCommand",
    "Limit",
    "ModelUsage",
    "Money",
    "MoneyOverflow",
    "Multiplier",
    "NameWarning",
    "NotFound",
    "OpenAccount",
    "OpenHold",
    "Opened",
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
    "Rates",
    "Reconciliation",
    "RefundRequested",
    "Refusal",
    "Refused",
    "Release",
    "Released",
    "ReportStorage",
    "ResourceCharge",
    "Restored",
    "ResumeRun",
    "Reverse",
    "Reversed",
    "RunQuote",
    "RunStatus",
    "RunView",
    "SetLimit",
    "SetLowBalance",
    "SetPlan",
    "Settle",
    "SettleRun",
    "SizeAbove",
    "StartRun",
    "StopRun",
    "StorageQuotaCheck",
    "StorageStatus",
    "StorageView",
    "StoreError",
    "Subscribed",
    "Success",
    "SuspendRun",
    "Tier",
    "TopUpOrdered",
    "TopUpPage",
    "TopUpRules",
    "TopUpUpdated",
    "UndoExpiry",
    "UndoForgiveness",
    "UnknownPrice",
    "Usage",
    "UsageReport",
    "UsageRow",
    "UsageSummary",
    "Variant",
    "Verification",
    "code",
    "decimal_text",
    "model",
    "sandbox",
    "tokens",
    "tool",
    "usd",
]


# Imported when first asked for: who wants amounts pays for no engine, who wants the engine for
# no reports.
_MODULES = {
    "audit.state": "Checkpoint Discrepancy",
    "audit.verify": "Verification",
    "commands.accounts": "Close OpenAccount SetLimit SetLowBalance SetPlan",
    "commands.base": "Command",
    "commands.charges": "Deduct PriceUnpriced Reverse Settle",
    "commands.credit": "Grant UndoExpiry",
    "commands.holds": "Extend Hold Release",
    "commands.outcomes": (
        "Changed Charged Closed Extended Granted Held Opened TopUpOrdered Outcome TopUpUpdated "
        "RefundRequested Refusal Refused Released Restored Reversed RunStatus StorageStatus "
        "Subscribed Success"
    ),
    "commands.runs": (
        "CloseSilentRun ForgiveRun Heartbeat ResumeRun SettleRun StartRun StopRun SuspendRun "
        "UndoForgiveness sandbox"
    ),
    "commands.storage": "BillStorage ReportStorage",
    "engine": "AsyncBilling AsyncHold Billing Check OpenHold",
    "engine.background": "Delivery Pending",
    "engine.topups": "AutoTopUpStatus TopUpPage",
    "errors": (
        "BillingError ClockDoubt Conflict HoldEnded IdempotencyConflict ImpossibleTransition "
        "InvalidCommand MoneyOverflow NameWarning NotFound PaymentError StoreError UnknownPrice"
    ),
    "pricing.catalogue": "Catalogue",
    "pricing.conditions": "Fact FactIs Hours SizeAbove",
    "pricing.differences": "Difference",
    "pricing.functions": "Flat Graduated Package Tier",
    "pricing.plan": "Limit Plan Quota",
    "pricing.price": "Multiplier Price Variant",
    "pricing.price_book": "PriceBook",
    "pricing.rating": "Quote",
    "records.topups": "TopUpRules",
    "reports.explain": "Explanation",
    "reports.statements": "Balance Expiry HistoryPage HistoryRow",
    "reports.usage": "DayUsage ModelUsage ResourceCharge UsageReport UsageRow UsageSummary",
    "runs.views": "RunQuote RunView",
    "storage.views": "StorageQuotaCheck StorageView",
    "topups.reconciliation": "Reconciliation",
    "values.money": "Money decimal_text usd",
    "values.tokens": "tokens",
    "values.usage": "Rates Usage code model tool",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"billing_core.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
