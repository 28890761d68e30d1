"""What can be asked of the ledger: frozen values that validate themselves.

Every command names its org and an idempotency key, unique per org and operation.
``content`` is what the caller means: the same key with the same content gets the
first outcome again, with other content a conflict.  The command's own time
(``at``, default: the engine's clock) is not part of it; the time of occurrence
is, where the caller gave one.

A constructor raises InvalidCommand for what no ledger would accept.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from attrs import Factory, field, frozen

from billing_core.errors import InvalidCommand
from billing_core.money import Money
from billing_core.patterns import checked_pattern
from billing_core.quantities import Usage, check_usage
from billing_core.text import checked_name, compact, given_name, quoted
from billing_core.times import duration, micros

__all__ = [
    "Command",
    "Deduct",
    "Extend",
    "Grant",
    "Hold",
    "LotKind",
    "PriceUnpriced",
    "Release",
    "Reverse",
    "Settle",
    "UndoExpiry",
    "check_command",
    "check_labels",
    "check_occurred",
    "check_positive",
    "check_project",
]

LotKind = Literal["purchased", "promotional", "allowance"]


class Command:
    """What all commands share; see the module's docstring."""

    __slots__ = ()
    op: ClassVar[str]
    measured: ClassVar[bool] = False
    """Whether it tells what was used: then a closed account does not refuse it."""
    level: ClassVar[int] = 1
    """The first schema whose version of the library can follow it: a conflict until every running
    version knows that one (:meth:`billing_core.ports.Store.level`)."""
    org: str
    key: str
    at: datetime | None
    # What many have, and the rest answer with None: so nobody need ask who has what.
    member: str | None = None
    project: str | None = None
    hold: Any = None  # a str, or None
    as_held: bool = False
    occurred_at: datetime | None = None

    def content(self, member: int | None) -> dict[str, Any]:
        """What the caller means, of a command that does not write its :meth:`meaning` itself;
        ``member`` is the surrogate id."""
        raise NotImplementedError

    def meaning(self, member: int | None) -> str:
        """The content as canonical JSON.  What was not given is left out: a field that a
        later version adds changes no meaning on record.  Those that are many write it
        themselves, in half the time."""
        content = self.content(member)
        if None in content.values():
            content = {name: value for name, value in content.items() if value is not None}
        return compact(content)


def check_command(command: Any, *, known: bool = False) -> None:
    """``known``: its key is made of a name that may be on record since any name was taken."""
    checked_name("org", command.org)
    (checked_name if known else given_name)("key", command.key)
    if command.at is not None:
        micros("at", command.at)


def _check_hold(name: str, field: str = "hold") -> None:
    if checked_name(field, name).startswith("run:"):
        raise InvalidCommand(field, name, 'a name that does not begin with "run:": runs have these')


def check_labels(command: Any) -> None:
    if command.member is not None:
        given_name("member", command.member)
    if command.project is not None:
        check_project(command.project)
    if command.reference is not None:
        checked_name("reference", command.reference)


def check_project(project: str) -> None:
    if given_name("project", project) == "*":
        raise InvalidCommand("project", project, 'a name other than "*"')


def check_occurred(command: Any) -> None:
    if command.occurred_at is not None:
        micros("occurred_at", command.occurred_at)


def _labels(command: Any, member: int | None) -> str:
    """What follows in a meaning, of the labels that were given: most commands have none."""
    text = "" if member is None else f',"member":{member}'
    if command.project is not None:
        text += f',"project":{quoted(command.project)}'
    if command.reference is not None:
        text += f',"reference":{quoted(command.reference)}'
    if command.occurred_at is not None:
        text += f',"occurred_at":{micros("occurred_at", command.occurred_at)}'
    return text


def check_positive(field: str, amount: object, what: str = "a positive Money") -> None:
    if not isinstance(amount, Money) or amount.nanos <= 0:
        raise InvalidCommand(field, amount, what)


def _scope(names: Iterable[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str):
        raise InvalidCommand("scope", names, "a collection of resource names, or None")
    if not isinstance(names, Iterable):
        raise InvalidCommand("scope", names, "a collection of resource names, or None")
    scope = tuple(sorted({checked_pattern("scope", given_name("scope", name)) for name in names}))
    if not scope:
        raise InvalidCommand("scope", scope, "at least one resource name, or None for all")
    return scope


@frozen(kw_only=True)
class Grant(Command):
    """Credit that comes in, as one lot.

    ``priority``: lower is spent first.  ``expires_at``: from then on it cannot be
    spent.  ``scope``: the resources that it may pay for (a name, or a prefix that
    ends in ``*``); none: all.
    """

    op: ClassVar[str] = "grant"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    amount: Money
    kind: LotKind = "purchased"
    priority: int = 0
    expires_at: datetime | None = None
    scope: tuple[str, ...] | None = field(default=None, converter=_scope)
    reference: str | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        check_positive("amount", self.amount)
        if self.kind not in ("purchased", "promotional", "allowance"):
            raise InvalidCommand("kind", self.kind, '"purchased", "promotional" or "allowance"')
        if type(self.priority) is not int or not -(10**6) <= self.priority <= 10**6:
            raise InvalidCommand("priority", self.priority, "an int within ±1,000,000")
        if self.expires_at is not None:
            micros("expires_at", self.expires_at)
        if self.reference is not None:
            checked_name("reference", self.reference)

    def content(self, member: int | None) -> dict[str, Any]:
        expires = self.expires_at
        return {
            "amount": self.amount.nanos,
            "kind": self.kind,
            "priority": self.priority,
            "expires_at": None if expires is None else micros("expires_at", expires),
            "scope": self.scope,
            "reference": self.reference,
        }


@frozen(kw_only=True)
class Hold(Command):
    """Reserve credit, race-free, for ``life`` from the time of decision.

    ``cost``: an amount, or the usage expected, of which the most is held that it can cost in
    the hold's life: at any price published for it, in any billing period that it touches.
    ``resource`` says which scoped lots may serve an amount.  ``member`` and ``project`` (an API
    key, or whatever spending is grouped by): whose limits it counts in.
    """

    op: ClassVar[str] = "hold"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    cost: Money | Usage
    life: timedelta
    resource: str | None = None
    member: str | None = None
    project: str | None = None
    reference: str | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        _check_hold(self.key, "key")
        _check_cost(self.cost, self.resource)
        check_labels(self)
        duration("life", self.life)

    def meaning(self, member: int | None) -> str:
        life = duration("life", self.life)
        return f'{{{_cost(self.cost, self.resource)},"life":{life}{_labels(self, member)}}}'


def _check_cost(cost: object, resource: str | None) -> None:
    if isinstance(cost, Usage):
        check_usage("cost", cost)
        if resource is not None:
            raise InvalidCommand("resource", resource, "none: the usage names its own")
        return
    check_positive("cost", cost, "a positive Money or a Usage")
    if resource is not None:
        given_name("resource", resource)


def _cost(cost: Money | Usage, resource: str | None) -> str:
    """What a meaning begins with."""
    if isinstance(cost, Usage):
        return f'"usage":{cost.text()}'
    if resource is None:
        return f'"amount":{cost.nanos}'
    return f'"amount":{cost.nanos},"resource":{quoted(resource)}'


@frozen(kw_only=True)
class Extend(Command):
    """Let an open hold live for ``life`` from the time of decision, and hold ``add`` more.

    The hold never ends sooner than it would have.  One that was made for a usage is quoted anew
    for its longer life: what it has is brought up to the most that the rest of that usage can
    cost, which is what no settlement has named yet; ``add`` comes on top.  Where that cannot be
    reserved it is refused, and the hold stays as it was.  One that was made for an amount keeps
    it: nobody knows what it is for.
    """

    op: ClassVar[str] = "extend"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    hold: str
    life: timedelta
    add: Money | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        _check_hold(self.hold)
        duration("life", self.life)
        if self.add is not None:
            check_positive("add", self.add)

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "hold": self.hold,
            "life": duration("life", self.life),
            "add": None if self.add is None else self.add.nanos,
        }


@frozen(kw_only=True)
class Release(Command):
    """End a hold of which nothing was used."""

    op: ClassVar[str] = "release"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    hold: str
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self, known=True)
        _check_hold(self.hold)

    def content(self, member: int | None) -> dict[str, Any]:
        return {"hold": self.hold}


@frozen(kw_only=True)
class Settle(Command):
    """Charge what was really used.  Measured usage is never refused: it is paid from
    the hold, then from what is available, and what is left becomes debt.

    ``hold``: the hold that it settles; it ends, unless ``more`` says that more follows.
    ``as_held``: for the member that the hold was made for, whose name is then not given, and
    may have been erased meanwhile.

    One call is one request.  If the usage names an item, its first settlement is counted; else
    if there is a hold, the settlement that ends it.  ``part`` overrides this where no item is
    named: True if another settlement counts the call, False if this one does.
    """

    op: ClassVar[str] = "settle"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    usage: Usage
    hold: str | None = None
    more: bool = False
    as_held: bool = False
    part: bool | None = None
    member: str | None = None
    project: str | None = None
    reference: str | None = None
    occurred_at: datetime | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        check_labels(self)
        check_occurred(self)
        check_usage("usage", self.usage)
        if self.hold is not None:
            _check_hold(self.hold)
        if type(self.more) is not bool:
            raise InvalidCommand("more", self.more, "True or False")
        if self.part is not None and type(self.part) is not bool:
            raise InvalidCommand("part", self.part, "True, False or None")
        if self.as_held is not False:
            _check_as_held(self)

    def meaning(self, member: int | None) -> str:
        hold = "" if self.hold is None else f',"hold":{quoted(self.hold)}'
        more = "true" if self.more else "false"
        return f'{{"usage":{self.usage.text()}{hold},"more":{more}{_labels(self, member)}}}'


def _check_as_held(command: Settle) -> None:
    if command.as_held is not True:
        raise InvalidCommand("as_held", command.as_held, "True or False")
    if command.hold is None or command.member is not None:
        given = f"hold {command.hold!r}, member {command.member!r}"
        raise InvalidCommand("as_held", given, "a hold, and no member")


@frozen(kw_only=True)
class Deduct(Command):
    """Charge at once, before the thing happens; refused beyond what is available.

    ``cost``: a fixed amount for ``resource``, or a priced usage.
    """

    op: ClassVar[str] = "deduct"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    cost: Money | Usage
    resource: str | None = None
    member: str | None = None
    project: str | None = None
    reference: str | None = None
    occurred_at: datetime | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        check_labels(self)
        check_occurred(self)
        _check_cost(self.cost, self.resource)
        if self.resource is None and isinstance(self.cost, Money):
            raise InvalidCommand("resource", None, "the resource that the amount is charged for")

    def meaning(self, member: int | None) -> str:
        return f"{{{_cost(self.cost, self.resource)}{_labels(self, member)}}}"


@frozen(kw_only=True)
class PriceUnpriced(Command):
    """Charge what a settlement recorded as unpriced, by a price version it names: one that
    could have applied to the org when the usage occurred, everyone's, its plan's of then or its
    own, in force then.

    ``charge``: the settlement's sequence number.  ``override``: an operator's word that any
    other version is right, which stays on record.
    """

    op: ClassVar[str] = "price"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    charge: int
    version: str
    override: bool = False
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        _check_charge(self.charge)
        checked_name("version", self.version)
        if type(self.override) is not bool:
            raise InvalidCommand("override", self.override, "True or False")

    def content(self, member: int | None) -> dict[str, Any]:
        override = True if self.override else None
        return {"charge": self.charge, "version": self.version, "override": override}


@frozen(kw_only=True)
class Reverse(Command):
    """Give back a charge, or ``amount`` of it, up to what of it is not yet reversed.

    ``expires_at``: a new expiry for what was paid from lots that have expired
    since; without it that part expires again.

    ``undo_usage``: what was charged for did not happen, such as a call that failed.  Once per
    charge, only for all of it, even if it cost nothing: its quantities leave their counters,
    its item, quotas and reports.  The money given back is what all usage costs less without
    it: of this charge, and where that is not enough (tiers or packages shift), of the latest
    other charges that were counted with it.
    """

    op: ClassVar[str] = "reverse"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    charge: int
    amount: Money | None = None
    undo_usage: bool = False
    expires_at: datetime | None = None
    reason: str | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        _check_charge(self.charge)
        if type(self.undo_usage) is not bool:
            raise InvalidCommand("undo_usage", self.undo_usage, "True or False")
        if self.amount is not None:
            check_positive("amount", self.amount)
            if self.undo_usage:
                raise InvalidCommand("amount", self.amount, "none: usage is undone as a whole")
        if self.expires_at is not None:
            micros("expires_at", self.expires_at)
        if self.reason is not None:
            checked_name("reason", self.reason)

    def content(self, member: int | None) -> dict[str, Any]:
        expires = self.expires_at
        return {
            "charge": self.charge,
            "amount": None if self.amount is None else self.amount.nanos,
            "undo_usage": self.undo_usage or None,
            "expires_at": None if expires is None else micros("expires_at", expires),
            "reason": self.reason,
        }


@frozen(kw_only=True)
class UndoExpiry(Command):
    """Bring back what expired with an entry of the journal, all of it: for an operator, where a
    clock that was wrong ended it too early.

    ``expiry``: the entry's sequence number, which is the key too: it is undone once.
    ``expires_at``: until when what comes back can be spent, as new lots of the same kind,
    priority and scope; None: for ever.  It must be later than the org's latest decision, which
    the wrong clock may have dated ahead.
    """

    op: ClassVar[str] = "restore"
    level: ClassVar[int] = 2
    org: str = field(kw_only=False)
    expiry: int = field(kw_only=False)
    key: str = field(init=False, default=Factory(lambda self: str(self.expiry), takes_self=True))
    expires_at: datetime | None
    reason: str | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        if type(self.expiry) is not int or not 0 < self.expiry < 2**63:
            raise InvalidCommand("expiry", self.expiry, "the sequence number of its entry")
        check_command(self)
        if self.expires_at is not None:
            micros("expires_at", self.expires_at)
        if self.reason is not None:
            checked_name("reason", self.reason)

    def content(self, member: int | None) -> dict[str, Any]:
        expires = self.expires_at
        return {
            "expiry": self.expiry,
            "expires_at": None if expires is None else micros("expires_at", expires),
            "reason": self.reason,
        }


def _check_charge(charge: object) -> None:
    if type(charge) is not int or not 0 < charge < 2**63:
        raise InvalidCommand("charge", charge, "the sequence number that the charge answered")
