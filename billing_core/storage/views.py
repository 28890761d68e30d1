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
    """How a workspace's storage stands (rule 8.4).

    Attributes:
        workspace: The workspace's name.
        size: Bytes, by the latest report.
        since: From when on it has that size, UTC.
        billed_to: Up to when its storage is charged, UTC.
        amount: Nanos charged so far, less corrections.
    """

    workspace: str
    size: int
    since: datetime
    billed_to: datetime
    amount: int


@frozen
class StorageQuotaCheck:
    """Whether a workspace may have a size, by the quotas of ``bytes`` in the org's plan.

    Those of the workspace's own resource count, those of a pattern such as ``storage:team-*`` for
    all that it names together, and that of ``storage`` for all workspaces.

    Attributes:
        allowed: Whether it may.
        left: Bytes that it may have more than it has now; None: there is no quota.
    """

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
