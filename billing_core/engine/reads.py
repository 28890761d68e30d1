"""The reads: none of them writes, and none is needed to decide.

What only a report needs is imported by the report: a service that charges starts sooner.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from billing_core.charging.charges import estimate
from billing_core.charging.limits import Use, bound
from billing_core.charging.operations import refused
from billing_core.commands.base import Command
from billing_core.commands.charges import Settle
from billing_core.commands.holds import Hold
from billing_core.commands.outcomes import Refusal, Success
from billing_core.decide import OPERATIONS, project, wanted, widened
from billing_core.engine.reports import Reports, check_seq
from billing_core.errors import InvalidCommand, NotFound, StoreError
from billing_core.ledger.debts import own_story, story_of
from billing_core.ledger.inputs import NeedMore, Terms
from billing_core.ledger.ledger import CHARGES, Ledger
from billing_core.ports.state import Wanted
from billing_core.pricing.catalogue import Catalogue, Priced
from billing_core.pricing.rating import Quote, billed
from billing_core.records.events import Event
from billing_core.topups.handlers import in_flight
from billing_core.values.money import Money
from billing_core.values.text import checked_name, compact
from billing_core.values.times import micros, moment
from billing_core.values.usage import Usage

if TYPE_CHECKING:
    from billing_core.audit.state import Checkpoint
    from billing_core.audit.verify import Progress, Verification
    from billing_core.pricing.differences import Difference
    from billing_core.reports.explain import Explanation
    from billing_core.reports.statements import Balance

__all__ = ["Check", "Reads"]

_A = TypeVar("_A")


@frozen
class Check:
    """Whether a cost could be held now: nanos ``needed`` and ``available`` for it."""

    needed: int
    available: int
    refusal: Refusal | None

    @property
    def allowed(self) -> bool:
        return self.refusal is None


class Reads(Reports):
    """What can be asked of a store; :class:`Billing` adds what can be told it."""

    _horizon: int
    _tolerance: int

    def catalogue(self) -> Catalogue:
        """All published prices, as of now."""
        return self._prices.load()

    def quote(self, org: str, usage: Usage, *, at: datetime | None = None) -> Quote:
        """The most that a usage can cost the org at a time (default: now), rounded up.

        A later time is quoted under the prices and the plan published for it by now.
        Raises UnknownPrice, NotFound.
        """
        now = self.clock()
        time = now if at is None else micros("at", at)
        command = Settle(org, "quote", usage=usage, at=moment(time))
        return self._ask(command, now, lambda ledger: estimate(ledger, usage, time))

    def pricing(
        self, org: str, *, at: datetime | None = None
    ) -> Mapping[str, Mapping[str, Priced]]:
        """The prices in force for the org at a time (default: now), by resource and
        component: its own, its plan's, everyone's.  Raises NotFound."""
        now = self.clock()
        time = now if at is None else micros("at", at)

        def answer(ledger: Ledger) -> Mapping[str, Mapping[str, Priced]]:
            currency = ledger.account.currency
            return ledger.catalogue.prices(currency, time, ledger.audiences(time))

        return self._asked(
            checked_name("org", org), Wanted(until=now, times=(time, time)), now, answer
        )

    def diff(self, old: str, new: str) -> tuple[Difference, ...]:
        """What a published version changes of what another says, in words.

        Both by name: of plans, or of price books for one audience.  Raises NotFound,
        InvalidCommand.
        """
        from billing_core.pricing.differences import differences

        catalogue = self._prices.load()
        return differences(catalogue.document(old), catalogue.document(new))

    # -- reads ------------------------------------------------------------------

    def _ask(self, command: Command, now: int, answer: Callable[[Ledger], _A]) -> _A:
        """What the org as it stands now answers, with what a command would need."""
        want = wanted([command], now)[command.org]
        want.until = now
        return self._asked(command.org, want, now, answer)

    def _terms(self, now: int) -> Terms:
        catalogue = self._prices.known(now)
        level = self._prices.level
        return Terms(catalogue, now, self._tolerance, horizon=self._horizon, level=level)

    def _asked(self, org: str, want: Wanted, now: int, answer: Callable[[Ledger], _A]) -> _A:
        terms = self._terms(now)
        wants = {org: want}
        while True:
            loaded = self.store.snapshot(wants)
            if widened(wants, loaded, terms):
                continue
            state = loaded[org]
            if state.account is None:
                raise NotFound("org", org, "it has no account; open it first")
            try:
                return answer(project(org, state, terms))
            except NeedMore as need:
                need.widen(wants)
                if need.org is None:
                    terms = self._prices.refreshed(terms)

    def _projected(self, org: str, *, now: int) -> Ledger:
        return self._asked(checked_name("org", org), Wanted(until=now), now, lambda each: each)

    def balance(self, org: str) -> Balance:
        """The org's credit now, with what has lapsed by now applied."""
        from billing_core.reports.statements import balance

        now = self.clock()
        return balance(self._projected(org, now=now), now)

    def check(
        self,
        org: str,
        cost: Money | Usage,
        *,
        resource: str | None = None,
        member: str | None = None,
        project: str | None = None,
    ) -> Check:
        """Whether a hold of this cost would succeed now.  It reserves nothing."""
        now = self.clock()
        command = Hold(
            org, "check", cost=cost, resource=resource, life=timedelta(seconds=1), member=member,
            project=project,
        )  # fmt: skip
        return self._ask(command, now, lambda ledger: _check(ledger, command, now))

    def explain(self, org: str, charge: int) -> Explanation:
        """Everything behind a charge: usage, price version, arithmetic, lots."""
        from billing_core.reports.explain import explain

        checked_name("org", org)
        check_seq("charge", charge)
        want = Wanted(until=0, charges={charge})
        state = self.store.snapshot({org: want})[org]
        if state.account is None:
            raise NotFound("org", org, "it has no account; open it first")
        entry = state.subjects.get(charge)
        if entry is None or entry.usage is None or entry.op not in CHARGES:
            raise NotFound("charge", charge, "a charge is named by the seq that it answered")
        terms = Terms(self._prices.load(), self.clock(), 0)
        ledger = Ledger(org, state, terms)
        story = own_story(ledger, entry) if entry.op == "piece" else story_of(ledger, entry)
        member = self._names(org, [entry.usage.member]).get(entry.usage.member)
        return explain(entry, story, terms.catalogue, state.account.currency, state.lots, member)

    def find(self, org: str, op: str, key: str) -> Success | None:
        """The outcome on record for an operation's key, such as ``("settle", "req-1")``."""
        operation = OPERATIONS.get(op)
        if operation is None or operation.outcome is None:
            known = [name for name, each in OPERATIONS.items() if each.outcome is not None]
            raise InvalidCommand("op", op, f"one of {', '.join(known)}")
        entry = self.store.entry(checked_name("org", org), f"{op}:{checked_name('key', key)}")
        return None if entry is None else operation.replay(entry)

    def events(self, org: str, *, after: int = 0, limit: int = 100) -> Sequence[Event]:
        """What the host may want to know, in order, after an entry's ``seq``; whose it is, by
        the names of now.  Raises NotFound."""
        check_seq("after", after)
        if type(limit) is not int or not 1 <= limit <= 10_000:
            raise InvalidCommand("limit", limit, "an int from 1 to 10,000")
        found = self.store.events(checked_name("org", org), after, limit)
        if not found:
            self._account(org)  # raises NotFound
        return self._named(org, found)

    def _named(self, org: str, events: Sequence[Event]) -> list[Event]:
        """Events with the name of the member that they are about, which is not on record with
        them: None once it has been erased."""
        about: dict[int, dict[str, Any]] = {}  # by place
        for place, event in enumerate(events):
            data = json.loads(event.data) if event.kind == "budget" else {}
            if data.get("subject", "").startswith("member:"):
                about[place] = data
        numbers = {place: int(data["subject"][len("member:") :]) for place, data in about.items()}
        names = self._names(org, numbers.values())
        named = list(events)
        for place, data in about.items():
            text = compact(data | {"member": names.get(numbers[place])})
            named[place] = events[place]._replace(data=text)
        return named

    # -- proof ------------------------------------------------------------------

    def verify(
        self,
        org: str | None = None,
        *,
        checkpoints: Mapping[str, Checkpoint] | None = None,
        progress: Progress | None = None,
        checkpoint: Callable[[Checkpoint], object] | None = None,
    ) -> Verification:
        """Re-derive every balance, lot, hold, counter and rollup from the journal, and hold each
        row of each table against it, what is published included; ``docs/verify.md`` has every
        column, and what finds an edit of it.

        For one org or all; from the start, or, for orgs that ``checkpoints`` name, from
        there on (the entry at the checkpoint must be the one that it was).
        ``progress(org, entries read, entries in all)`` is called as it goes, and
        ``checkpoint(of an org)`` with each that is made: where it is given, the result holds
        none, and memory does not grow with the number of orgs.

        It reads while others write: verify a database at rest, or a copy.
        """
        from billing_core.audit.state import Checkpoint, Discrepancy
        from billing_core.audit.verify import (
            Verification,
            check_marks,
            read_documents,
            verify_org,
        )

        kept = {} if checkpoints is None else dict(checkpoints)
        for each in kept.values():
            if not isinstance(each, Checkpoint):
                raise InvalidCommand("checkpoints", each, "Checkpoints by org")
        catalogue, found = read_documents(self.store)
        published = not found  # as it was: else no checkpoint is made of it
        now = self.clock()
        found += check_marks(self.store, now)
        made: dict[str, Checkpoint] = {}
        gone = set(kept) if org is None else set()
        entries = orgs = 0
        if org is not None and org not in kept and not self._has_journal(org):
            self._account(org)  # raises NotFound, but for an account without entries
        for name in [org] if org is not None else self.orgs():
            audit = verify_org(self.store, name, catalogue, kept.get(name), progress, now)
            gone.discard(name)
            orgs += 1
            entries += audit.followed
            found += audit.found
            if published and not audit.found and audit.account is not None:
                if checkpoint is None:
                    made[name] = audit.checkpoint()
                else:
                    checkpoint(audit.checkpoint())
        for name in kept:
            if name in gone:
                found.append(Discrepancy(name, "account", "in a checkpoint, but not on record"))
        return Verification(entries, orgs, tuple(found), made)

    def _has_journal(self, org: str) -> bool:
        try:
            return bool(self.store.entries(org, limit=1))
        except StoreError as error:
            if error.retryable:
                raise
            return True  # altered beyond reading: that is for the audit to say

    def orgs(self) -> Iterator[str]:
        """Every org's id, sorted."""
        after = ""
        while page := self.store.orgs(after):
            yield from page
            after = page[-1]


def _check(ledger: Ledger, hold: Hold, now: int) -> Check:
    cost, resource = hold.cost, hold.resource
    counts: dict[str, int] = {}
    # A hold lives by the org's time of decision, even where that is ahead of this clock.
    ahead = ledger.account.watermark
    until = ahead + 1 if ahead > now else None
    if isinstance(cost, Usage):
        quoted = estimate(ledger, cost, now)
        needed, resource, counts = quoted.amount, cost.resource, billed(quoted.lines)
    else:
        needed = cost.nanos
        if cost.currency != ledger.account.currency:
            raise InvalidCommand("cost", cost.currency, ledger.account.currency)
    name, members = hold.member, ledger.state.members
    member = 0 if name is None else members.get(name, ledger.account.members + 1)
    use = Use(member, hold.project, resource, now, max(now, ahead), counts.items(), until)
    no = bound(ledger, use, needed)
    refusal = None
    if ledger.account.closed_at is not None:
        refusal = Refusal(hold.org, hold.key, "closed")
    elif no is not None:
        no_credit = refused(hold.org, hold.key, no, now)
        refusal = in_flight(no_credit, open=ledger.account.topup_open)
    return Check(needed, ledger.available(resource, now), refusal)
