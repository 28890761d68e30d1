"""An embeddable billing engine: prepaid credits, metering and settlement, exact to the nano."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from billing_core.account_commands import Close, OpenAccount, SetLimit, SetLowBalance, SetPlan
    from billing_core.audit_tables import Checkpoint, Discrepancy
    from billing_core.books import PriceBook
    from billing_core.catalogue import Catalogue
    from billing_core.commands import (
        Command,
        Deduct,
        Extend,
        Grant,
        Hold,
        PriceUnpriced,
        Release,
        Reverse,
        Settle,
        UndoExpiry,
    )
    from billing_core.differences import Difference
    from billing_core.engine import AsyncBilling, AsyncHold, Billing, Check, OpenHold
    from billing_core.engine.topups import AutoTopUpStatus, TopUpPage
    from billing_core.engine.work import Delivery, Pending
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
        Refused,
        StoreError,
        UnknownPrice,
    )
    from billing_core.explain import Explanation
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
        Restored,
        Reversed,
        RunStands,
        StorageStands,
        Subscribed,
        Success,
    )
    from billing_core.plans import Limit, Plan, Quota
    from billing_core.pricing import Flat, Graduated, Package, Price, Tier
    from billing_core.quantities import Rates, Usage, code, model, tokens, tool
    from billing_core.reconciliation import Reconciliation
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
    from billing_core.standing import RunQuote, RunView, StorageRoom, StorageView
    from billing_core.statements import Balance, Expiry, HistoryPage, HistoryRow
    from billing_core.storage_commands import BillStorage, ReportStorage
    from billing_core.topup import TopUpRules
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
    "IdempotencyConflict",
    "ImpossibleTransition",
    "InvalidCommand",
    "Limit",
    "ModelUsage",
    "Money",
    "MoneyOverflow",
    "NameWarning",
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
    "Rates",
    "Reconciliation",
    "Recorded",
    "RefundAsked",
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
    "UndoExpiry",
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


# Imported when first asked for: who wants amounts pays for no engine, who wants the engine for
# no reports.
_MODULES = {
    "account_commands": "Close OpenAccount SetLimit SetLowBalance SetPlan",
    "audit_tables": "Checkpoint Discrepancy",
    "books": "PriceBook",
    "catalogue": "Catalogue",
    "commands": "Command Deduct Extend Grant Hold PriceUnpriced Release Reverse Settle UndoExpiry",
    "differences": "Difference",
    "engine": "AsyncBilling AsyncHold Billing Check OpenHold",
    "engine.topups": "AutoTopUpStatus TopUpPage",
    "engine.work": "Delivery Pending",
    "errors": (
        "BillingError ClockDoubt Conflict HoldEnded IdempotencyConflict ImpossibleTransition "
        "InvalidCommand MoneyOverflow NameWarning NotFound PaymentError Refused StoreError "
        "UnknownPrice"
    ),
    "explain": "Explanation",
    "metering": "Quote",
    "money": "Money decimal_text usd",
    "outcomes": (
        "Changed Charged Closed Extended Granted Held Opened Ordered Outcome Recorded "
        "RefundAsked Refusal Released Restored Reversed RunStands StorageStands "
        "Subscribed Success"
    ),
    "plans": "Limit Plan Quota",
    "pricing": "Flat Graduated Package Price Tier",
    "quantities": "Rates Usage code model tokens tool",
    "reconciliation": "Reconciliation",
    "run_commands": (
        "CloseSilentRun ForgiveRun Heartbeat ResumeRun SettleRun StartRun StopRun "
        "SuspendRun UndoForgiveness sandbox"
    ),
    "standing": "RunQuote RunView StorageRoom StorageView",
    "statements": "Balance Expiry HistoryPage HistoryRow",
    "storage_commands": "BillStorage ReportStorage",
    "topup": "TopUpRules",
    "usage": "DayUsage ModelUsage ResourceCharge UsageReport UsageRow UsageSummary",
    "verify": "Verification",
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
