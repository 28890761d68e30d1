"""Commands of a hold: made, extended, released."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from attrs import field, frozen

from billing_core.commands.base import (
    Command,
    check_command,
    check_cost,
    check_hold,
    check_labels,
    check_positive,
    cost_text,
    labels,
)
from billing_core.values.money import Money
from billing_core.values.times import duration
from billing_core.values.usage import Usage

__all__ = ["Extend", "Hold", "Release"]


@frozen(kw_only=True)
class Hold(Command):
    """Reserve credit for one use, so that it is there when the use is settled (rule 6.3).

    Refused beyond what is available.  For a usage, the most is reserved that it can cost in the
    hold's life: at any price that is published for that time, in any billing period that it touches
    (rule 5.4).  Sent again once the hold has ended, the command is a `HoldEnded`.

    Args:
        org: Whose account it is.
        key: Idempotency key, which is also the hold's name.
        cost: An amount, or the usage that is expected.  Give it the facts that are certain: any
            other that its price depends on may have the value that costs most (rule 5.9).
        expires_in: How long the hold lives, from the time of decision.
        resource: With an amount: what it is for, which says which lots with a scope may serve it.
        member: Who will use it, for limits.
        project: An API key, a team, or whatever else spending is grouped by, for limits.
        reference: Your own name for what it is about.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "hold"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    cost: Money | Usage
    expires_in: timedelta
    resource: str | None = None
    member: str | None = None
    project: str | None = None
    reference: str | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        check_hold(self.key, "key")
        check_cost(self.cost, self.resource)
        check_labels(self)
        duration("expires_in", self.expires_in)

    def meaning(self, member: int | None) -> str:
        life = duration("expires_in", self.expires_in)
        return f'{{{cost_text(self.cost, self.resource)},"life":{life}{labels(self, member)}}}'


@frozen(kw_only=True)
class Extend(Command):
    """Let an open hold live longer, and reserve more.

    The hold never ends sooner than it would have.  One for a usage is quoted anew for its longer
    life: it gets the most that what is not settled yet of that usage can cost, and ``add`` on
    top.  One for an amount keeps that amount, and gets ``add`` on top.  Where that cannot be
    reserved, the command is refused, and the hold stays as it was.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        hold: The hold's key.
        expires_in: How long it is to live, from the time of decision.
        add: How much more to reserve; None: nothing.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "extend"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    hold: str
    expires_in: timedelta
    add: Money | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self)
        check_hold(self.hold)
        duration("expires_in", self.expires_in)
        if self.add is not None:
            check_positive("add", self.add)

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "hold": self.hold,
            "life": duration("expires_in", self.expires_in),
            "add": None if self.add is None else self.add.nanos,
        }


@frozen(kw_only=True)
class Release(Command):
    """End a hold of which nothing is charged any more; what it has is available again.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        hold: The hold's key.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "release"
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    hold: str
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        check_command(self, known=True)
        check_hold(self.hold)

    def content(self, member: int | None) -> dict[str, Any]:
        return {"hold": self.hold}
