"""What can be told of storage; see :mod:`billing_core.commands`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from attrs import Factory, field, frozen

from billing_core.commands.base import Command, check_command, check_occurred
from billing_core.errors import InvalidCommand
from billing_core.values.text import checked_name, given_name
from billing_core.values.times import micros

__all__ = ["BillStorage", "ReportStorage"]

_MAX_WORKSPACE = 150  # names of workspaces stand in other names


def _check(command: Any) -> None:
    check_command(command, known=True)
    name = given_name if command.op == "size" else checked_name
    if len(name("workspace", command.workspace)) > _MAX_WORKSPACE:
        raise InvalidCommand("workspace", command.workspace, f"at most {_MAX_WORKSPACE} characters")


@frozen(kw_only=True)
class ReportStorage(Command):
    """A workspace has ``size`` bytes from ``occurred_at`` on, until the size that is reported
    for the next later time.  Reports may come late and out of order; of two for one time
    the one recorded last holds.  What was billed already is corrected at once.
    """

    op: ClassVar[str] = "size"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    workspace: str
    size: int
    occurred_at: datetime | None = None
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        _check(self)
        check_occurred(self)
        if type(self.size) is not int or not 0 <= self.size < 2**63:
            raise InvalidCommand("size", self.size, "bytes: an int from 0 to below 2**63")

    def content(self, member: int | None) -> dict[str, Any]:
        occurred = self.occurred_at
        return {
            "workspace": self.workspace,
            "size": self.size,
            "occurred_at": None if occurred is None else micros("occurred_at", occurred),
        }


@frozen(kw_only=True)
class BillStorage(Command):
    """Charge a workspace's byte-microseconds from where they were billed to, up to ``until``
    (default: the command's time).  Any number of workers may, any number of times."""

    op: ClassVar[str] = "storage"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    workspace: str
    until: datetime | None = None
    at: datetime | None = None
    # For the check that nothing is billed ahead.
    occurred_at: datetime | None = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: self.until, takes_self=True)
    )

    def __attrs_post_init__(self) -> None:
        _check(self)
        if self.until is not None:
            micros("until", self.until)

    def content(self, member: int | None) -> dict[str, Any]:
        return {
            "workspace": self.workspace,
            "until": None if self.until is None else micros("until", self.until),
        }
