"""How storage stands, as a customer reads it; pure.  Amounts are nanos."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from billing_core.charging.limits import quotas
from billing_core.ledger.ledger import Ledger
from billing_core.records.storage import Storage
from billing_core.values.patterns import fits
from billing_core.values.times import moment

__all__ = ["StorageQuotaCheck", "StorageView", "check_storage_quota", "storage_view"]


@frozen
class StorageView:
    """A workspace: its ``size`` in bytes since a time, and up to when it is billed."""

    workspace: str
    size: int
    since: datetime
    billed_to: datetime
    amount: int


@frozen
class StorageQuotaCheck:
    """Whether a workspace may have the size asked for, by the plan's quotas of ``bytes``: of
    the workspace's own resource, of a pattern, such as ``storage:team-*``, all that it names
    together, and of ``storage``, all workspaces.  ``left``: bytes that it may have more than it
    has now; None: no quota."""

    allowed: bool
    left: int | None


def storage_view(storage: Storage) -> StorageView:
    """A workspace as it stands."""
    return StorageView(
        storage.workspace,
        storage.size,
        moment(storage.sized_at),
        moment(storage.billed_to),
        sum(tab.amount for tab in storage.tabs),
    )


def check_storage_quota(
    ledger: Ledger, workspace: str, size: int, sizes: dict[str, int], time: int
) -> StorageQuotaCheck:
    """Whether a workspace may have a size at a time, where all have ``sizes`` now."""
    has = sizes.get(workspace, 0)
    own = quotas(ledger, f"storage:{workspace}", time)
    left: list[int] = []
    for quota in [*own, *(each for each in quotas(ledger, "storage", time) if each not in own)]:
        if quota.component == "bytes":
            every = quota.resource == "storage"
            used = [
                size
                for name, size in sizes.items()
                if every or fits(quota.resource, f"storage:{name}")
            ]
            left.append(quota.quantity - sum(used))
    most = min(left, default=None)
    return StorageQuotaCheck(most is None or size - has <= max(0, most), most)
