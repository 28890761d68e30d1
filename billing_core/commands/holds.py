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
    """Reserve credit, race-free, for ``expires_in`` from the time of decision.

    ``cost``: an amount, or the usage expected, of which the most is held that it can cost in
    the hold's life: at any price published for it, in any billing period that it touches.
    ``resource`` says which scoped lots may serve an amount.  ``member`` and ``project`` (an API
    key, or whatever spending is grouped by): whose limits it counts in.
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
    """Let an open hold live for ``expires_in`` from the time of decision, and hold ``add`` more.

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
    """End a hold of which nothing was used."""

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
