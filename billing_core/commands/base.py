"""What can be asked of the ledger: frozen values that validate themselves.

Every command names its org and an idempotency key, unique per org and operation.
``content`` is what the caller means: the same key with the same content gets the
first outcome again, with other content a conflict.  The command's own time
(``at``, default: the engine's clock) is not part of it; the time of occurrence
is, where the caller gave one.

A constructor raises InvalidCommand for what no ledger would accept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from billing_core.errors import InvalidCommand
from billing_core.values.money import Money
from billing_core.values.text import checked_name, compact, given_name, quoted
from billing_core.values.times import micros
from billing_core.values.usage import Usage, check_usage

__all__ = [
    "OLDER_NAMES",
    "Command",
    "check_command",
    "check_cost",
    "check_hold",
    "check_labels",
    "check_occurred",
    "check_positive",
    "check_project",
    "cost_text",
    "labels",
]


OLDER_NAMES: Mapping[str, str] = {
    "ahead": "fund_for", "least": "min_runtime", "life": "expires_in", "more": "final",
}  # fmt: skip
"""What some fields were called first, and are on record for ever (rule 3.9)."""


class Command:
    """What all commands share: an org, a key, and a time.

    A command is a frozen value that says what is wanted; give commands to `Billing.execute`.  Each
    one checks itself when it is made, and raises `InvalidCommand` for what no ledger would accept.
    A key is unique within an org and a kind of command, and kept for ever (rule 7.1): the same
    content under the same key gives the first outcome again, other content is an
    `IdempotencyConflict` (rule 7.2).

    Attributes:
        op: The word for this kind of command in stored keys; it never changes (rule 3.9).
        org: Whose account it is.
        key: The idempotency key.
        at: The command's own time, UTC; None: the engine's clock.  Not part of the content.
        member: Who used it, for limits and reports; None: nobody in particular.
        project: An API key, a team, or whatever else spending is grouped by; None: none.
        hold: The key of the hold that is meant; None: none.
        as_held: Whether it is for the member that the hold was made for.
        occurred_at: When what is told happened, UTC; None: at the command's own time.
    """

    __slots__ = ()
    op: ClassVar[str]
    measured: ClassVar[bool] = False
    """Whether it tells what was used: then a closed account does not refuse it."""
    level: ClassVar[int] = 1
    """The first schema whose version of the library can follow it: a conflict until every running
    version knows that one (:meth:`billing_core.ports.store.Store.level`)."""
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


def check_hold(name: str, field: str = "hold") -> None:
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


def labels(command: Any, member: int | None) -> str:
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


def check_cost(cost: object, resource: str | None) -> None:
    if isinstance(cost, Usage):
        check_usage("cost", cost)
        if resource is not None:
            raise InvalidCommand("resource", resource, "none: the usage names its own")
        return
    check_positive("cost", cost, "a positive Money or a Usage")
    if resource is not None:
        given_name("resource", resource)


def cost_text(cost: Money | Usage, resource: str | None) -> str:
    """What a meaning begins with."""
    if isinstance(cost, Usage):
        return f'"usage":{cost.text()}'
    if resource is None:
        return f'"amount":{cost.nanos}'
    return f'"amount":{cost.nanos},"resource":{quoted(resource)}'
