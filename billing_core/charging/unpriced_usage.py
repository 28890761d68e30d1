"""Usage that had no price when it was recorded, and is priced later."""

from __future__ import annotations

import json
from functools import partial
from typing import cast

from billing_core.charging.charges import (
    advance,
    item_of,
    item_period,
    pay,
    subject_of,
    versions,
)
from billing_core.charging.expiry import lapse
from billing_core.charging.operations import Decision, Operation, check_level, finish
from billing_core.charging.time_charges import Whose, pay_late, set_off
from billing_core.commands.charges import PriceUnpriced
from billing_core.commands.outcomes import Outcome, charged
from billing_core.errors import Conflict, InvalidCommand
from billing_core.ledger.debts import keep_story, story_of
from billing_core.ledger.inputs import NeedMore
from billing_core.ledger.ledger import Ledger
from billing_core.ports.state import Wanted
from billing_core.pricing.catalogue import Priced
from billing_core.pricing.conditions import Request
from billing_core.pricing.rating import Correction, meter
from billing_core.records.ledger import Entry
from billing_core.records.usage import Item, UsageRecord
from billing_core.values.times import moment
from billing_core.values.usage import PLATFORM, Payer, Usage

__all__ = ["OPERATIONS"]


def price(ledger: Ledger, decision: Decision[PriceUnpriced]) -> Outcome:
    command = decision.command
    subject = subject_of(ledger, command.charge)
    if f"undone:{subject.seq}" in ledger.state.entries:
        raise Conflict(f"the usage of charge {subject.seq} was undone: there is nothing to price")
    story = story_of(ledger, subject)
    usage = cast(UsageRecord, subject.usage)
    whose = _whose(ledger, decision, subject, usage.occurred_at)
    parts: tuple[tuple[str, int, Payer], ...] = tuple(
        (line.component, line.quantity, PLATFORM) for line in usage.lines if line.version is None
    )
    if not parts or story.priced is not None:
        by = f"; entry {story.priced} priced it" if story.priced is not None else ""
        raise Conflict(f"charge {subject.seq} has nothing unpriced{by}")
    if not ledger.terms.fresh and not ledger.catalogue.has(command.version):
        raise NeedMore(None)
    ledger.catalogue.version(command.version)
    account = ledger.account
    less = {} if whose is None else set_off(ledger, whose.owner, usage.occurred_at, parts)
    parts = tuple((name, quantity - less.get(name, 0), payer) for name, quantity, payer in parts)
    facts = _facts(subject, whose)
    price_of = partial(_must_price, ledger, command, usage, facts)
    # What corrections left, which may be none of it.
    unpriced = Correction(usage.resource, parts, usage.item, 0, facts)
    counter = ledger.count(usage.resource, ledger.period(usage.occurred_at).start)
    version_of = versions(ledger, usage.resource)
    item, period = item_of(ledger, unpriced), item_period(ledger, usage.occurred_at)
    metered = meter(
        unpriced,
        price_of,
        version_of,
        counter,
        item,
        period,
        lambda: Request.measured(usage.occurred_at, facts, _measured(usage, item)),
    )
    if item is not None:
        for component, quantity, _ in parts:
            name = item.unbilled(component)
            if name in item.components:
                metered.items[name] = item.more_unbilled(component, -quantity)
    ledger.check_room(used=metered.amount)
    lapse(ledger, decision)
    advance(ledger, unpriced, usage.occurred_at, metered)
    story.priced = account.seq + 1
    keep_story(ledger, story)
    # The quantities are on record already; what is new is what they cost.
    lines = tuple(line._replace(quantity=0) for line in metered.lines)
    record = usage._replace(requests=0, lines=lines)
    if whose is None:
        return pay(ledger, decision, metered.amount, metered.amount, record)
    version_by = {line.component: str(line.version) for line in reversed(lines)}
    late = [(name, version_by[name], quantity, less.get(name, 0)) for name, quantity, _ in parts]
    amount, record, tab = pay_late(ledger, whose, metered.amount, record, late)
    effects: dict[str, object] = {"story": tab.charge}
    if less:
        effects["less"] = less
    return finish(ledger, decision, amount, effects, record)


def _facts(subject: Entry, whose: Whose | None) -> tuple[tuple[str, str], ...]:
    """The facts on record of what a charge is for."""
    if whose is not None:
        return whose.owner.facts
    content = json.loads(subject.content)
    return Usage.of_content(content["usage"]).facts


def _measured(usage: UsageRecord, item: Item | None) -> dict[str, int]:
    """What the request used in all: of its item so far, else of the one settlement."""
    if item is not None and item.components:
        return item.measured()
    found: dict[str, int] = {}
    for line in usage.lines:
        found[line.component] = found.get(line.component, 0) + line.quantity
    return found


def _whose(
    ledger: Ledger, decision: Decision[PriceUnpriced], subject: Entry, occurred: int
) -> Whose | None:
    """Whose time a charge is for, whose charges its later price belongs to; raises NeedMore."""
    if subject.op != "piece":
        return None
    check_level("to price time of a run or of storage later", 2, ledger.terms)
    content = json.loads(subject.content)
    if "run" in content:
        run = ledger.state.runs.get(content["run"])
        if run is None:
            raise NeedMore(ledger.org, runs={content["run"]: occurred})
        return Whose(run, None, decision, run.member, run.project)
    storage = ledger.state.storages.get(content["workspace"])
    if storage is None:
        raise NeedMore(ledger.org, storages={content["workspace"]: occurred})
    return Whose(storage, None, decision)


def _must_price(
    ledger: Ledger,
    command: PriceUnpriced,
    usage: UsageRecord,
    facts: tuple[tuple[str, str], ...],
    component: str,
) -> Priced:
    """The price of the version that a command names, where it may; raises InvalidCommand."""
    catalogue, resource, at = ledger.catalogue, usage.resource, usage.occurred_at
    version, currency = catalogue.version(command.version), ledger.account.currency
    known = catalogue.priced_by(version, currency, resource, component)
    if command.override:
        priced = known
    else:
        audiences = ledger.audiences(at)
        priced = catalogue.applicable(version, currency, resource, component, at, audiences)
    if priced is None:
        if not ledger.terms.fresh:
            raise NeedMore(None)
        expected = f"one that prices {component} of {resource}"
        if known is not None:
            expected += (
                f" and was in force for org {ledger.org!r} at {moment(at).isoformat()}; or, as"
                " an operator who knows better, override=True"
            )
        raise InvalidCommand("version", command.version, expected)
    unknown = priced.price.unknown(dict(facts))
    if unknown is not None:
        expected = f"one that prices {component} of {resource} for {unknown}"
        raise InvalidCommand("version", command.version, expected)
    return priced


def _want_charge(want: Wanted, command: PriceUnpriced, at: int, now: int) -> None:
    want.charges.add(command.charge)
    want.keys.add(f"undone:{command.charge}")


OPERATIONS = (
    Operation(PriceUnpriced, price, charged, _want_charge, tops_up="use", history="usage"),
)
