"""The internal routes: the engine for platform services that do not run Python."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from attrs import fields, frozen

from billing_adapters.http.access import check_org
from billing_adapters.http.messages import Problem
from billing_adapters.http.prices import PRICES
from billing_adapters.http.problems import problem_of
from billing_adapters.http.routes import Call, Id, Name, Route, charge_number
from billing_adapters.http.shapes import Rule
from billing_core import BillingError, Charged, Refusal, Refused, Settle, Usage
from billing_core.commands.outcomes import unwrapped
from billing_core.values.money import Money
from billing_core.values.tokens import tokens
from billing_core.values.usage import named

__all__ = ["INTERNAL", "Cost", "For", "Quantity", "written"]

Count = Annotated[int, Rule(minimum=0, maximum=2**53 - 1)]
Quantity = Count | Annotated[str, Rule(pattern=r"^\d{1,36}$")]
Key = Annotated[str, Rule(min_length=1, max_length=128, pattern="^[ -~]*$")]
Facts = Mapping[str, Name]


# -- what was used, or is to be paid --------------------------------------------


@frozen
class Cost:
    """An exact amount of the org's currency, such as `{"amount": "0.25", "currency": "USD"}`."""

    amount: Annotated[str, Rule(max_length=40)]
    currency: Annotated[str, Rule(pattern="^[A-Z]{3}$")]

    def money(self) -> Money:
        return Money.of(self.amount, self.currency)


@frozen(kw_only=True)
class ModelCall:
    """One call of a model, as its provider reported it.  Say what includes what, wherever both are
    there: the input the cached tokens, the output the reasoning ones, and so on."""

    model: Name
    input_tokens: Count = 0
    output_tokens: Count = 0
    cached_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    reasoning_tokens: Count = 0
    input_audio: Count = 0
    input_image: Count = 0
    input_video: Count = 0
    cached_read_audio: Count = 0
    cached_read_image: Count = 0
    cached_read_video: Count = 0
    cached_read_explicit: Count = 0
    cache_write_1h: Count = 0
    cache_write_12h: Count = 0
    cache_write_audio: Count = 0
    cache_write_image: Count = 0
    cache_write_video: Count = 0
    output_audio: Count = 0
    output_image: Count = 0
    output_video: Count = 0
    citation: Count = 0
    accepted_prediction: Count = 0
    rejected_prediction: Count = 0
    input_includes_cached: bool | None = None
    input_includes_media: bool | None = None
    media_includes_cached: bool | None = None
    cached_read_includes_media: bool | None = None
    cache_write_includes_long: bool | None = None
    cache_write_includes_media: bool | None = None
    output_includes_reasoning: bool | None = None
    output_includes_media: bool | None = None
    output_includes_citation: bool | None = None
    output_includes_predictions: bool | None = None
    other: Mapping[str, Quantity] | None = None
    facts: Facts | None = None
    byok: bool = False


_GIVEN = tuple(
    (each.name, each.name.removesuffix("_tokens"))
    for each in fields(ModelCall)
    if each.name not in ("model", "other", "byok")
)
"""By the name in a call: what `tokens` calls it."""


@frozen(kw_only=True)
class Quantities:
    """What was used of any resource, by component; integers, or text where they are large."""

    resource: Name
    quantities: Mapping[str, Quantity]
    byok: bool = False
    item: Name | None = None
    facts: Facts | None = None


def _tokens(call: ModelCall) -> Usage:
    return tokens(
        call.model,
        **{name: getattr(call, given) for given, name in _GIVEN},
        other=None if call.other is None else _counted(call.other),
        payer="customer" if call.byok else "platform",
    )


def _counted(quantities: Mapping[str, int | str]) -> dict[str, int]:
    return {name: int(quantity) for name, quantity in quantities.items()}


def _used(model_call: ModelCall | None, usage: Quantities | None, *others: str) -> Usage:
    """``others``: what else the route takes instead of them."""
    if model_call is not None and usage is None:
        return _tokens(model_call)
    if usage is None or model_call is not None:
        raise _choose(*others, "modelCall", "usage")
    return Usage.of(
        usage.resource,
        _counted(usage.quantities),
        payer="customer" if usage.byok else "platform",
        item=usage.item,
        facts=usage.facts,
    )


def _choose(*names: str) -> Problem:
    return Problem(422, "invalid_request", f"Give exactly one of {', '.join(names)}.")


@frozen(kw_only=True)
class For:
    """Whose it is."""

    org_id: Name
    member_id: Name | None = None
    project_id: Name | None = None
    reference_id: Name | None = None

    def labels(self) -> dict[str, Any]:
        return {
            "member": self.member_id,
            "project": self.project_id,
            "reference": self.reference_id,
        }


@frozen(kw_only=True)
class _Priced(For):
    cost: Cost | None = None
    model_call: ModelCall | None = None
    usage: Quantities | None = None
    resource: Name | None = None

    def what(self) -> Money | Usage:
        """The amount or the usage that it is about."""
        if self.cost is None:
            return _used(self.model_call, self.usage, "cost")
        if self.model_call is not None or self.usage is not None:
            raise _choose("cost", "modelCall", "usage")
        return self.cost.money()


# -- credit ---------------------------------------------------------------------


@frozen(kw_only=True)
class HoldFor:
    """How long the hold lives unless it is settled or released."""

    life_seconds: Annotated[int, Rule(minimum=1, maximum=3660 * 86_400)]


@frozen(kw_only=True)
class CheckBody(_Priced):
    """A cost, or the most that a use can come to; with `hold`, it is reserved too."""

    hold: HoldFor | None = None


@frozen
class Held:
    """A hold: settle or release it by its id."""

    id: Id
    expires_at: datetime


@frozen
class RefusalMade:
    """Why a cost may not be incurred.  `shortfall`: how much is missing; `limit`: what binds.
    `retryable`: the same may be allowed after `retryAfterSeconds`."""

    code: str
    message: str
    retryable: bool
    retry_after_seconds: int | None
    shortfall: Money | None
    limit: str | None


@frozen
class Checked:
    """Whether the cost may be incurred.  `available` is null where it was held; `refusal` says why
    it was not allowed, with the code in `reason`.  `replayed`: the hold was made before, by this
    key, and stands."""

    org_id: str
    allowed: bool
    needed: Money
    available: Money | None
    reason: str | None
    hold: Held | None
    refusal: RefusalMade | None = None
    replayed: bool = False


def _check(call: Call, asked: CheckBody) -> Checked:
    cost = asked.what()
    refusal: Refusal | None = None
    if asked.hold is not None:
        expires_in = timedelta(seconds=asked.hold.life_seconds)
        try:
            made = call.billing.hold(
                call.org,
                cost,
                key=call.key,
                expires_in=expires_in,
                resource=asked.resource,
                **asked.labels(),
            )
        except Refused as error:
            refusal = error.refusal
        else:
            currency = _currency(call, cost)
            held = Held(made.key, made.expires_at)
            return Checked(
                call.org, True, Money(made.amount, currency), None, None, held,
                replayed=made.held.replayed,
            )  # fmt: skip
    found = call.billing.check(
        call.org, cost, resource=asked.resource, member=asked.member_id, project=asked.project_id
    )
    refusal = refusal or found.refusal  # what was refused stays so, whatever came in since
    currency = _currency(call, cost)
    return Checked(
        org_id=call.org,
        allowed=refusal is None,
        needed=Money(found.needed, currency),
        available=Money(found.available, currency),
        reason=None if refusal is None else problem_of(Refused(refusal)).code,
        hold=None,
        refusal=None if refusal is None else _refusal(refusal, currency),
    )


def _refusal(refusal: Refusal, currency: str) -> RefusalMade:
    problem = problem_of(Refused(refusal))
    after = problem.headers.get("Retry-After")
    return RefusalMade(
        code=problem.code,
        message=problem.message,
        retryable=refusal.retryable,
        retry_after_seconds=None if after is None else int(after),
        shortfall=Money(refusal.shortfall, currency) if refusal.shortfall else None,
        limit=refusal.limit,
    )


def _currency(call: Call, cost: Money | Usage) -> str:
    return cost.currency if isinstance(cost, Money) else call.currency()


@frozen(kw_only=True)
class ReleaseBody:
    """A hold of which nothing was used."""

    org_id: Name
    hold_id: Id


@frozen
class ReleasedHold:
    """What went back to the org's credit."""

    org_id: str
    freed: Money
    balance: Money
    replayed: bool


def _release(call: Call, asked: ReleaseBody) -> ReleasedHold:
    made = call.billing.release(call.org, asked.hold_id)
    currency = call.currency()
    return ReleasedHold(
        call.org, Money(made.freed, currency), Money(made.balance, currency), made.replayed
    )


@frozen(kw_only=True)
class DeductBody(_Priced):
    """A charge before the thing happens: refused beyond what is available.  A `cost` needs a
    `resource`, which says what it is for; of `modelCall` and `usage` it is known."""

    occurred_at: datetime | None = None


@frozen
class ChargeMade:
    """A charge.  `amount` was `captured` from the hold, `paid` from what was available, and is
    `unpaid` for the rest, which is debt.  `unpriced`: components without a price in force.
    `replayed`: it was made before, by this key."""

    id: Id
    org_id: str
    amount: Money
    captured: Money
    paid: Money
    unpaid: Money
    balance: Money
    unpriced: tuple[str, ...]
    created_at: datetime
    replayed: bool


def _deduct(call: Call, asked: DeductBody) -> ChargeMade:
    cost = asked.what()
    if isinstance(cost, Money) and asked.resource is None:
        message = "resource: expected what the cost is for; a cost needs one."
        raise Problem(422, "invalid_request", message, field="resource")
    made = call.billing.deduct(
        call.org, call.key, cost, resource=asked.resource, occurred_at=asked.occurred_at,
        **asked.labels(),
    )  # fmt: skip
    return _made(made, _currency(call, cost))


def _made(made: Charged, currency: str) -> ChargeMade:
    return ChargeMade(
        id=str(made.seq),
        org_id=made.org,
        amount=Money(made.amount, currency),
        captured=Money(made.captured, currency),
        paid=Money(made.paid, currency),
        unpaid=Money(made.unpaid, currency),
        balance=Money(made.balance, currency),
        unpriced=made.unpriced,
        created_at=made.at,
        replayed=made.replayed,
    )


@frozen(kw_only=True)
class ReverseBody:
    """A charge to give back, or a `part` of it.  `undoUsage`: what it charged for did not happen,
    such as a call that failed: then free units, tiers, quotas and requests go back too, and no
    `part` is given.  `expiresAt`: until when what paid it is good again, where that has ended."""

    org_id: Name
    charge_id: Id
    part: Cost | None = None
    undo_usage: bool = False
    expires_at: datetime | None = None
    reason: Name | None = None


@frozen
class ReversalMade:
    """What came back: `forgiven` of debt, `refilled` to credit, of which `expired` had ended."""

    id: Id
    org_id: str
    charge_id: Id
    amount: Money
    forgiven: Money
    refilled: Money
    expired: Money
    balance: Money
    created_at: datetime


def _reverse(call: Call, asked: ReverseBody) -> ReversalMade:
    made = call.billing.reverse(
        call.org, call.key, charge=charge_number(asked.charge_id),
        amount=None if asked.part is None else asked.part.money(),
        undo_usage=asked.undo_usage, expires_at=asked.expires_at, reason=asked.reason,
    )  # fmt: skip
    currency = call.currency()
    return ReversalMade(
        id=str(made.seq),
        org_id=made.org,
        charge_id=asked.charge_id,
        amount=Money(made.amount, currency),
        forgiven=Money(made.forgiven, currency),
        refilled=Money(made.refilled, currency),
        expired=Money(made.expired, currency),
        balance=Money(made.balance, currency),
        created_at=made.at,
    )


# -- settlements ----------------------------------------------------------------


@frozen(kw_only=True)
class _Settling(For):
    hold_id: Id | None = None
    more: bool = False
    occurred_at: datetime | None = None

    def settle(self, key: str, usage: Usage) -> Settle:
        part = None if usage.resource.startswith("model:") else False
        return Settle(
            self.org_id, key, usage=usage, hold=self.hold_id, final=not self.more, part=part,
            occurred_at=self.occurred_at, **self.labels(),
        )  # fmt: skip


@frozen(kw_only=True)
class ModelSettlement(_Settling):
    """A model call to charge, by the hold that was made for it, or without one.  `more`: the
    hold stays open for further settlements; a call that is settled in parts is one request, counted
    with the part that ends the hold."""

    model_call: ModelCall


@frozen(kw_only=True)
class ToolRun(_Settling):
    """Use of a tool to charge, by `calls`, by time, or both, as its price counts them;
    neither: one call."""

    tool: Name
    calls: Count | None = None
    duration_microseconds: Count | None = None
    facts: Facts | None = None


@frozen(kw_only=True)
class CodeRun(_Settling):
    """Executions of code to charge, like those of a tool."""

    runtime: Name
    calls: Count | None = None
    duration_microseconds: Count | None = None
    facts: Facts | None = None


def _settle_model(call: Call, asked: ModelSettlement) -> ChargeMade:
    return _settled(call, asked, _tokens(asked.model_call))


def _run_tool(call: Call, asked: ToolRun) -> ChargeMade:
    return _settled(call, asked, _run(named("tool", asked.tool), asked))


def _run_code(call: Call, asked: CodeRun) -> ChargeMade:
    return _settled(call, asked, _run(named("code", asked.runtime), asked))


def _run(resource: str, asked: ToolRun | CodeRun) -> Usage:
    took = asked.duration_microseconds
    calls = 1 if asked.calls is None and took is None else asked.calls
    counted = {"call": calls, "duration": took}
    used = {name: count for name, count in counted.items() if count is not None}
    return Usage.of(resource, used, facts=asked.facts)


def _settled(call: Call, asked: _Settling, usage: Usage) -> ChargeMade:
    made = unwrapped(call.billing.execute([asked.settle(call.key, usage)]), Charged)
    return _made(made, call.currency())


def _error(outcome: object) -> BillingError:
    if isinstance(outcome, Refusal):
        return Refused(outcome)
    assert isinstance(outcome, BillingError), outcome
    return outcome


@frozen(kw_only=True)
class BatchItem(_Settling):
    """One settlement of a batch, with an idempotency key of its own."""

    key: Key
    model_call: ModelCall | None = None
    usage: Quantities | None = None


@frozen
class BatchBody:
    """Settlements of any orgs, decided in order, in one commit."""

    settlements: Annotated[tuple[BatchItem, ...], Rule(min_items=1, max_items=1000)]


@frozen
class ItemError:
    """Why one settlement was not made."""

    status: int
    code: str
    message: str


@frozen
class ItemOutcome:
    """A settlement's charge, or its error; neither disturbs the others."""

    key: str
    charge: ChargeMade | None
    error: ItemError | None


@frozen
class BatchOutcome:
    """One outcome for each settlement, in order."""

    outcomes: tuple[ItemOutcome, ...]


def _settle_batch(call: Call, asked: BatchBody) -> BatchOutcome:
    commands: list[Settle | BillingError | Problem] = []
    for item in asked.settlements:
        try:
            check_org(call.caller, {"orgId": item.org_id})
            usage = _used(item.model_call, item.usage)
            commands.append(item.settle(call.key_of(item.key), usage))
        except (BillingError, Problem) as error:
            commands.append(error)
    good = [each for each in commands if isinstance(each, Settle)]
    outcomes = iter(call.billing.execute(good))
    answers: list[ItemOutcome] = []
    for item, command in zip(asked.settlements, commands, strict=True):
        outcome = next(outcomes) if isinstance(command, Settle) else command
        if isinstance(outcome, Charged):
            made = _made(outcome, call.currency(item.org_id))
            answers.append(ItemOutcome(item.key, made, None))
        else:
            no = outcome if isinstance(outcome, Problem) else problem_of(_error(outcome))
            answers.append(ItemOutcome(item.key, None, ItemError(no.status, no.code, no.message)))
    return BatchOutcome(tuple(answers))


def written(
    path: str,
    name: str,
    asked: type,
    answer: type,
    handle: Any,
    summary: str,
    key: Literal["required", "optional"] | None = "required",
) -> Route:
    """An internal route that writes."""
    return Route(
        "POST", f"/v1/internal/{path}", name, "service", asked, answer, handle, summary, key=key
    )


INTERNAL: tuple[Route, ...] = (
    written("credits/check", "check", CheckBody, Checked, _check,
            "Whether a cost may be incurred, and reserve it", key="optional"),
    written("credits/release", "release", ReleaseBody, ReleasedHold, _release,
            "End a hold of which nothing was used", key=None),
    written("credits/deduct", "deduct", DeductBody, ChargeMade, _deduct,
            "Charge at once, within what is available"),
    written("credits/reverse", "reverse", ReverseBody, ReversalMade, _reverse,
            "Give a charge back, or undo what it charged for"),
    PRICES,
    written("models/settle", "settle_model", ModelSettlement, ChargeMade, _settle_model,
            "Charge a model call"),
    written("tools/execute", "run_tool", ToolRun, ChargeMade, _run_tool,
            "Charge calls of a tool"),
    written("code/execute", "run_code", CodeRun, ChargeMade, _run_code,
            "Charge executions of code"),
    written("settlements", "settle_batch", BatchBody, BatchOutcome, _settle_batch,
            "Charge many uses at once", key=None),
)  # fmt: skip
