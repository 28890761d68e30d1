"""What can be told of storage; see :mod:`billing_core.commands`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from attrs import Factory, field, frozen

from billing_core.commands.base import Command, check_command, check_occurred
from billing_core.errors import InvalidCommand
from billing_core.values.text import checked_name, given_name
from billing_core.values.times import micros
from billing_core.values.usage import check_facts, given_facts

__all__ = ["BillStorage", "ReportStorage"]

_MAX_WORKSPACE = 150  # names of workspaces stand in other names


def _facts(given: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    if given is None:
        return ()
    facts = given_facts(given)
    check_facts(facts)
    return facts


def _check(command: Any) -> None:
    check_command(command, known=True)
    name = given_name if command.op == "size" else checked_name
    if len(name("workspace", command.workspace)) > _MAX_WORKSPACE:
        raise InvalidCommand("workspace", command.workspace, f"at most {_MAX_WORKSPACE} characters")


@frozen(kw_only=True)
class ReportStorage(Command):
    """Say how large a workspace is from a time on, until the next size that is reported (rule 8.4).

    Reports may come late and out of order; of two for the same time, the one recorded last counts.
    What was charged already is corrected at once.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        workspace: The workspace's name, at most 150 characters; its resource is
            ``storage:<workspace>``.
        size: Bytes, 0 or more.
        facts: What else is known of the workspace, as its price may depend on it (rule 5.9), such
            as ``{"region": "eu"}``; the facts of its first report hold for ever.  None: those.
        occurred_at: From when on, UTC; None: the command's own time.
        at: The command's own time, UTC; None: the engine's clock.
    """

    op: ClassVar[str] = "size"
    measured: ClassVar[bool] = True
    org: str = field(kw_only=False)
    key: str = field(kw_only=False)
    workspace: str
    size: int
    facts: tuple[tuple[str, str], ...] = field(default=None, converter=_facts)
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
            "facts": dict(self.facts) or None,
            "occurred_at": None if occurred is None else micros("occurred_at", occurred),
        }


@frozen(kw_only=True)
class BillStorage(Command):
    """Charge a workspace's storage from where it is charged up to, until a time (rule 8.4).

    Any number of workers may do this, any number of times: each microsecond is charged once.

    Args:
        org: Whose account it is.
        key: Idempotency key.
        workspace: The workspace's name.
        until: Up to when, UTC; None: the command's own time.
        at: The command's own time, UTC; None: the engine's clock.
    """

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
