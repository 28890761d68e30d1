"""What an engine is made of, checked when it is made."""

from __future__ import annotations

from billing_core.errors import InvalidCommand
from billing_core.records.topups import TopUpRules

__all__ = ["check_wiring"]


def check_wiring(
    store: object, clock: object, ids: object, payments: object, topups: object, usage_of: object
) -> None:
    """Raise InvalidCommand for what cannot be the engine's part of that name."""
    _check("store", store, "snapshot", "a store, such as SqliteStore(path)")
    _check("clock", clock, "__call__", "a function of the time in microseconds since 1970")
    _check("ids", ids, "__call__", "a function of a new id, such as uuid7")
    if payments is not None:
        expected = "a payment provider, such as FakePayments(), or None"
        _check("payments", payments, "create_checkout", expected)
    if not isinstance(topups, TopUpRules):
        raise InvalidCommand("topups", topups, "TopUpRules(...)")
    if usage_of is not None:
        expected = "a function such as billing_adapters.answers.usage_of, or None"
        _check("usage_of", usage_of, "__call__", expected)


def _check(field: str, part: object, method: str, expected: str) -> None:
    """Whether it is an object with a port's telling method.  Only its type is shown: it may be
    a connection string, or a provider's key."""
    if isinstance(part, type) or not hasattr(part, method):
        given = part if part is None or isinstance(part, type) else type(part)
        raise InvalidCommand(field, given, expected)
