"""Top-ups and background work for asyncio: what may wait for a provider, in threads apart."""

from __future__ import annotations

from datetime import datetime

from billing_core.commands.outcomes import AutoTopUpSet, Recorded
from billing_core.engine.async_calls import AsyncCalls
from billing_core.engine.background import Deliver, Pending
from billing_core.engine.billing import Billing
from billing_core.engine.topups import AutoTopUpStatus, TopUpPage
from billing_core.ports.payments import Notice
from billing_core.records.topups import TopUp
from billing_core.topups.reconciliation import Reconciliation
from billing_core.values.money import Money

__all__ = ["AsyncTopUps"]


class AsyncTopUps(AsyncCalls):
    """How money comes in and goes back; see :class:`Billing`."""

    _billing: Billing

    async def top_up(
        self,
        org: str,
        key: str,
        amount: Money,
        *,
        success_url: str,
        cancel_url: str,
        save_method: bool = False,
        receipt_email: str | None = None,
        automatic_tax: bool = False,
        description: str = "Prepaid credit",
        at: datetime | None = None,
    ) -> TopUpPage:
        """Let a customer pay for credit, on the provider's page."""
        return await self._at_provider(
            self._billing.top_up, org, key, amount, success_url=success_url,
            cancel_url=cancel_url, save_method=save_method, receipt_email=receipt_email,
            automatic_tax=automatic_tax, description=description, at=at,
        )  # fmt: skip

    async def recover(
        self, org: str, key: str, *, success_url: str, cancel_url: str, at: datetime | None = None
    ) -> TopUpPage:
        """The page by which a customer makes good a failed automatic top-up."""
        return await self._at_provider(
            self._billing.recover, org, key, success_url=success_url, cancel_url=cancel_url, at=at
        )

    async def topup(self, org: str, topup: str) -> TopUp:
        """A top-up as it is on record; raises NotFound."""
        return await self._in_thread(self._billing.topup, org, topup)

    async def confirm(self, org: str, session: str) -> Recorded:
        """The customer is back: credit the session if it was paid."""
        return await self._at_provider(self._billing.confirm, org, session)

    async def webhook(self, body: bytes, signature: str | None) -> Notice:
        """Verify what the provider posted, and do what follows from it."""
        return await self._at_provider(self._billing.webhook, body, signature)

    async def read_back(self, org: str, topup: str, *, payment: str | None = None) -> Recorded:
        """Make the record of a top-up what the provider says of it now."""
        return await self._at_provider(self._billing.read_back, org, topup, payment=payment)

    async def auto_topup(self, org: str, *, made: AutoTopUpSet | None = None) -> AutoTopUpStatus:
        """How an org's automatic top-up stands; ``made``: how it stood when that was set."""
        return await self._in_thread(self._billing.auto_topup, org, made=made)

    async def set_auto_topup(
        self,
        org: str,
        key: str,
        *,
        enabled: bool,
        threshold: Money,
        amount: Money,
        cap: Money | None = None,
        times: int | None = None,
        at: datetime | None = None,
    ) -> AutoTopUpSet:
        """Set when and how much to top up by itself."""
        return await self._in_thread(
            self._billing.set_auto_topup, org, key, enabled=enabled, threshold=threshold,
            amount=amount, cap=cap, times=times, at=at,
        )  # fmt: skip

    async def refund(
        self,
        org: str,
        key: str,
        *,
        topup: str,
        amount: Money | None = None,
        at: datetime | None = None,
    ) -> Recorded:
        """Give back the money of a top-up, or a part of it."""
        return await self._at_provider(
            self._billing.refund, org, key, topup=topup, amount=amount, at=at
        )

    async def run_pending(
        self,
        limit: int = 100,
        until: datetime | None = None,
        *,
        deliver: Deliver | None = None,
    ) -> Pending:
        """Do what is due; ``deliver`` is called in a thread."""
        return await self._at_provider(self._billing.run_pending, limit, until, deliver=deliver)

    async def reconcile(self, since: datetime, until: datetime) -> Reconciliation:
        """Hold the ledger's payments against the provider's."""
        return await self._at_provider(self._billing.reconcile, since, until)
