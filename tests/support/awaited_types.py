"""What type checkers see of an awaited engine.  Nothing runs this: mypy and pyright read it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import assert_type

from billing_core import (
    AsyncBilling,
    AsyncHold,
    Charged,
    HistoryPage,
    Money,
    Outcome,
    Settle,
    TopUpPage,
    Usage,
)


async def what_is_answered(billing: AsyncBilling, usage: Usage, amount: Money) -> None:
    assert_type(await billing.settle("acme", "k", usage, hold="h", final=False), Charged)
    held = await billing.hold("acme", amount, expires_in=timedelta(minutes=1), resource="tool:x")
    assert_type(held, AsyncHold)
    async with held as same:
        assert_type(same, AsyncHold)
    assert_type(await billing.history("acme", limit=10, types=["usage"]), HistoryPage)
    page = await billing.top_up("acme", "k", amount, success_url="s", cancel_url="c")
    assert_type(page, TopUpPage)
    some = billing.execute_many([Settle("acme", "k", usage=usage)], batch=10)
    assert_type(some, AsyncIterator[Outcome])
    assert_type(billing.within(None), AsyncBilling)


async def what_is_not_taken(billing: AsyncBilling, usage: Usage) -> None:
    """mypy says so where one of these is let pass: the comment is not needed then."""
    await billing.settle("acme", "k", 3)  # type: ignore[arg-type]
    await billing.settle("acme", "k", usage, holds="h")  # type: ignore[call-arg]
    await billing.balance()  # type: ignore[call-arg]
    await billing.top_up("acme", "k", usage)  # type: ignore[call-arg, arg-type]
