"""The public routes: what members and admins of an org see."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime
from typing import Annotated, Any

from attrs import frozen

from billing_adapters.http.messages import Problem
from billing_adapters.http.prices import PRICING
from billing_adapters.http.routes import (
    Call,
    Id,
    Listed,
    Name,
    Paged,
    Route,
    Total,
    charge_number,
    cursor_after,
    cursor_of,
    names_in,
    position_in,
)
from billing_adapters.http.shapes import Rule
from billing_core import Balance, Explanation, HistoryRow
from billing_core.reports.statements import HISTORY_TYPES
from billing_core.reports.usage import DayUsage, UsageSummary, summary
from billing_core.values.money import Money
from billing_core.values.times import PeriodName

__all__ = ["PUBLIC"]


# -- balance --------------------------------------------------------------------


@frozen
class OrgQuery:
    org_id: Name | None = None


@frozen
class Plan:
    """An org's plan and its totals.  ``plan``: the plan's id, null without one."""

    org_id: str
    plan: str | None
    balance: Money
    total_granted: Money
    total_used: Money


@frozen
class Credits:
    """An org's credit.  What is held is not available; a balance below zero is debt."""

    org_id: str
    balance: Money
    available: Money
    held: Money
    debt: Money
    total_granted: Money
    total_used: Money
    free_credits_used: bool


def _plan(call: Call, _: OrgQuery) -> Plan:
    found = call.billing.balance(call.org)
    amount = _amounts(found.currency)
    return Plan(
        found.org, found.plan, amount(found.balance), amount(found.granted), amount(found.used)
    )


def _credits(call: Call, _: OrgQuery) -> Credits:
    return _credits_of(call, call.billing.balance(call.org))


def _credits_of(call: Call, found: Balance) -> Credits:
    amount = _amounts(found.currency)
    return Credits(
        found.org,
        amount(found.balance),
        amount(found.available),
        amount(found.held),
        amount(found.debt),
        amount(found.granted),
        amount(found.used),
        _free_credits_used(call, found),
    )


def _free_credits_used(call: Call, found: Balance) -> bool:
    """Whether some credit came in free, and none of it is left."""
    if not found.granted or any(lot.kind != "purchased" for lot in found.lots):
        return False
    before = None
    while True:
        page = call.billing.history(call.org, limit=1, before=before, types=("grant", "allowance"))
        if page or page.next is None:
            return bool(page)
        before = page.next


class _amounts:
    """Nanos as money of one currency."""

    def __init__(self, currency: str) -> None:
        self.currency = currency

    def __call__(self, nanos: int) -> Money:
        return Total(nanos, self.currency)


# -- history --------------------------------------------------------------------


@frozen
class HistoryQuery:
    org_id: Name | None = None
    limit: Annotated[int, Rule(minimum=1, maximum=500)] = 100
    cursor: Annotated[str, Rule(max_length=200)] | None = None


HistoryType = Annotated[str, Rule(enum=tuple(sorted(HISTORY_TYPES)))]
_SAID: dict[str, str] = {
    "topup": "Credit bought",
    "auto_topup": "Credit bought automatically",
    "clawback": "Payment refunded or disputed",
    "reinstatement": "Refund or dispute undone",
    "grant": "Credit granted",
    "allowance": "Allowance of the plan",
    "usage": "Usage",
    "refund": "Charge given back",
    "expiry": "Credit expired",
    "restoration": "Expired credit given back",
    "rollover": "Allowance carried over",
    "release": "Hold ended",
    "close": "Account closed",
}


@frozen
class Movement:
    """One movement of the balance: the amount is signed.  The id of a row of type `usage` is
    that of its charge."""

    id: Id
    org_id: str
    type: HistoryType
    amount: Money
    resource: str | None
    description: str
    reference_id: str | None
    balance_after: Money
    created_at: datetime


def _history(call: Call, asked: HistoryQuery) -> Listed:
    before = None if asked.cursor is None else position_in("history", asked.cursor)
    currency = call.currency()
    page = call.billing.history(call.org, limit=asked.limit, before=before)
    more = page.next is not None and call.billing.history(call.org, limit=1, before=page.next)
    return Listed(
        tuple(_movement(call.org, row, currency) for row in page),
        cursor_of("history", page.next) if page.next is not None and more else None,
    )


def _movement(org: str, row: HistoryRow, currency: str) -> Movement:
    said = _SAID[row.type]
    return Movement(
        id=str(row.seq),
        org_id=org,
        type=row.type,
        amount=Money(row.amount, currency),
        resource=row.resource,
        description=said if row.resource is None else f"{said}: {row.resource}",
        reference_id=row.reference,
        balance_after=Money(row.balance, currency),
        created_at=row.at,
    )


# -- usage ----------------------------------------------------------------------


@frozen
class UsageQuery:
    org_id: Name | None = None
    period: PeriodName = "current"
    all: bool = False


@frozen
class MembersQuery(UsageQuery):
    limit: Annotated[int, Rule(minimum=1, maximum=500)] | None = None
    cursor: Annotated[str, Rule(max_length=8_000)] | None = None


@frozen
class Period:
    """A half-open span of time."""

    name: PeriodName
    start: datetime
    end: datetime


@frozen
class Tokens:
    """Tokens of models that the platform paid for."""

    input: int
    output: int
    total: int


@frozen
class ModelTokens:
    """Calls of one model; `byok`: on the customer's own key, recorded and not charged."""

    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    byok: bool
    amount: Money


@frozen
class ResourceUse:
    """What any other resource was charged."""

    resource: str
    quantity: Annotated[str, Rule(pattern=r"^-?\d+$")]
    unit: str
    amount: Money


@frozen
class Runtime:
    """So many sandbox runs, whole seconds of their running time, and what it cost."""

    runs: int
    seconds: int
    amount: Money


@frozen
class RuntimeByState:
    """Sandboxes' running time: `settled` is what is posted less what was `forgiven`; `pending`
    and `active`, by an estimate, what is not posted yet.  Runs count by their state."""

    settled: Runtime
    pending: Runtime
    forgiven: Runtime
    active: Runtime


@frozen
class StorageUse:
    """What a workspace stored, as far as it is billed."""

    workspace_id: str
    byte_seconds: Annotated[str, Rule(pattern=r"^-?\d+$")]
    amount: Money


@frozen(kw_only=True)
class _Row:
    tokens: Tokens
    model_usage: tuple[ModelTokens, ...]
    sandbox_runtime: RuntimeByState
    storage_usage: tuple[StorageUse, ...]
    tool_executions: int
    resource_charges: tuple[ResourceUse, ...]
    total: Money


@frozen(kw_only=True)
class MemberUsage(_Row):
    """What one member used; `memberId` is null for usage without a member."""

    member_id: str | None


@frozen(kw_only=True)
class UsageOf(_Row):
    """What the caller used in a period, or, with `all`, the whole org, by member too: all
    members, in the order of their ids, or a page of them where `limit` is given."""

    org_id: str
    member_id: str | None
    period: Period
    credits: Credits
    members: tuple[MemberUsage, ...] | None


@frozen(kw_only=True)
class Day(_Row):
    """What was used on one UTC day; what is not posted yet is of none."""

    day: Annotated[str, Rule(pattern=r"^\d{4}-\d\d-\d\d$")]


@frozen
class Days:
    """Usage by day, oldest first; the first and last may be parts of days."""

    org_id: str
    member_id: str | None
    days: tuple[Day, ...]


def _row(found: UsageSummary, currency: str) -> dict[str, Any]:
    """The fields of a :class:`_Row`."""
    amount = _amounts(currency)
    return {
        "tokens": Tokens(found.input_tokens, found.output_tokens, found.total_tokens),
        "model_usage": tuple(
            ModelTokens(
                each.model,
                each.requests,
                each.input_tokens,
                each.output_tokens,
                each.total_tokens,
                each.byok,
                amount(each.amount),
            )
            for each in found.models
        ),
        "sandbox_runtime": RuntimeByState(
            *(
                Runtime(each.runs, each.seconds, amount(each.amount))
                for each in (
                    found.sandbox_runtime.settled,
                    found.sandbox_runtime.pending,
                    found.sandbox_runtime.forgiven,
                    found.sandbox_runtime.active,
                )
            )
        ),
        "storage_usage": tuple(
            StorageUse(each.workspace, str(each.byte_seconds), amount(each.amount))
            for each in found.storage
        ),
        "tool_executions": found.tool_executions,
        "resource_charges": tuple(
            ResourceUse(each.resource, str(each.quantity), each.unit, amount(each.amount))
            for each in found.resources
        ),
        "total": amount(found.total),
    }


def _whose(call: Call, asked: UsageQuery) -> str | None:
    """The member whose usage is asked for; None: everyone's, which is for admins."""
    if not asked.all:
        return call.caller.member
    if not call.caller.may("admin"):
        raise Problem(403, "not_allowed", "Only an org's admin may see everyone's usage.")
    return None


def _my_usage(call: Call, asked: MembersQuery) -> Paged:
    member = _whose(call, asked)
    for field in ("limit", "cursor"):
        if not asked.all and getattr(asked, field) is not None:
            message = f"{field}: expected with all=true alone: it is of members."
            raise Problem(422, "invalid_request", message, field=field)
    after = None if asked.cursor is None else names_in("members", asked.cursor)[0]
    found = call.billing.usage(call.org, asked.period, member=member)
    # Whose runs are not posted yet may have used nothing else.
    ids = sorted({name or "" for name in (*found.members, *found.running)})
    left = ids if after is None else ids[bisect_right(ids, after) :]
    page = left[: asked.limit]
    members = tuple(
        MemberUsage(member_id=name or None, **_row(found.of_member(name or None), found.currency))
        for name in page
    )
    more = asked.all and len(page) < len(left)
    answer = UsageOf(
        org_id=found.org,
        member_id=member,
        period=Period(asked.period, found.start, found.end),
        **_row(found.summary, found.currency),
        credits=_credits(call, OrgQuery()),
        members=members if asked.all else None,
    )
    return Paged(answer, cursor_after("members", page[-1], "") if more else None)


def _daily(call: Call, asked: UsageQuery) -> Days:
    member = _whose(call, asked)
    currency = call.currency()
    found = call.billing.usage_by_day(call.org, asked.period, member=member)
    return Days(call.org, member, tuple(_day(each, currency) for each in found))


def _day(found: DayUsage, currency: str) -> Day:
    day = found.day.date().isoformat()
    return Day(day=day, **_row(summary(found.rows), currency))


# -- a charge -------------------------------------------------------------------


@frozen
class ChargeQuery:
    charge_id: Id
    org_id: Name | None = None


@frozen
class ChargeLine:
    """One component of a charge: what was measured, what was billed, and the arithmetic.
    `variant` names the conditions that held where the price depends on the request."""

    component: str
    quantity: Annotated[str, Rule(pattern=r"^-?\d+$")]
    billed: Annotated[str, Rule(pattern=r"^-?\d+$")]
    byok: bool
    amount: Money
    price_version: str | None
    price: str
    variant: str
    arithmetic: str


@frozen
class ChargePayment:
    """What credit paid: `capture` from a hold, `charge` at once, `repayment` later."""

    lot_id: str
    credit: Annotated[str, Rule(enum=("allowance", "promotional", "purchased"))]
    how: Annotated[str, Rule(enum=("capture", "charge", "repayment"))]
    amount: Money


@frozen
class Charge:
    """Everything behind one charge."""

    id: Id
    org_id: str
    member_id: str | None
    resource: str
    amount: Money
    unpaid: Money
    reversed: Money
    occurred_at: datetime
    created_at: datetime
    lines: tuple[ChargeLine, ...]
    payments: tuple[ChargePayment, ...]


def _explain(call: Call, asked: ChargeQuery) -> Charge:
    found = call.billing.explain(call.org, charge_number(asked.charge_id))
    if found.member != call.caller.member and not call.caller.may("admin"):
        raise Problem(403, "not_allowed", "The charge is not yours; an org's admin may see it.")
    return _charge(found)


def _charge(found: Explanation) -> Charge:
    amount = _amounts(found.currency)
    return Charge(
        id=str(found.charge),
        org_id=found.org,
        member_id=found.member,
        resource=found.resource,
        amount=amount(found.amount),
        unpaid=amount(found.unpaid),
        reversed=amount(found.reversed),
        occurred_at=found.occurred_at,
        created_at=found.at,
        lines=tuple(
            ChargeLine(
                line.component,
                str(line.quantity),
                str(line.billed),
                line.payer == "customer",
                amount(line.amount),
                line.version,
                line.price,
                line.variant,
                line.arithmetic,
            )
            for line in found.lines
        ),
        payments=tuple(
            ChargePayment(
                str(paid.lot),
                paid.kind,
                paid.how,
                amount(paid.amount),
            )
            for paid in found.payments
        ),
    )


PUBLIC: tuple[Route, ...] = (
    Route(
        "GET", "/v1/billing/plan", "plan", "member", OrgQuery, Plan, _plan,
        "The org's plan and totals",
    ),
    Route(
        "GET", "/v1/billing/credits", "credits", "member", OrgQuery, Credits, _credits,
        "The org's credit: balance, available, held",
    ),
    Route(
        "GET", "/v1/billing/credits/history", "history", "member", HistoryQuery, Movement, _history,
        "What moved the balance, newest first", lists=True,
    ),
    Route(
        "GET", "/v1/billing/my-usage", "my_usage", "member", MembersQuery, UsageOf, _my_usage,
        "Usage over a period: the caller's own, or for admins the org's", pages=True,
    ),
    Route(
        "GET", "/v1/billing/my-usage/daily", "daily_usage", "member", UsageQuery, Days, _daily,
        "Usage by day",
    ),
    Route(
        "GET", "/v1/billing/charges/{chargeId}", "charge", "member", ChargeQuery, Charge, _explain,
        "Everything behind one charge",
    ),
    PRICING,
)  # fmt: skip
