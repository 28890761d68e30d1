"""Rows written by hand, for testing a store without the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from hashlib import sha256
from operator import attrgetter
from typing import Any

from attrs import define, field

from billing_core.ports.state import Changes, OrgState, Wanted
from billing_core.ports.store import Store
from billing_core.records.ledger import Account, Charge, Draw, Entry, HoldRecord, Lot, Transfer
from billing_core.records.usage import HeldQuantity, Line, UsageRecord

__all__ = ["Draft", "charge", "hold", "keyed", "load", "lot", "save", "usage"]

_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "lots": attrgetter("lot"),
    "holds": attrgetter("key"),
    "counters": attrgetter("resource", "start"),
    "items": attrgetter("item", "resource"),
    "charges": attrgetter("charge"),
    "limits": attrgetter("subject", "per"),
    "spends": attrgetter("subject", "grain", "start"),
    "runs": attrgetter("run"),
    "storages": attrgetter("workspace"),
    "sizes": attrgetter("workspace", "at"),
    "topups": attrgetter("topup"),
}
"""Under what :class:`Changes` has the rows of a kind."""


def keyed(**rows: Any) -> dict[str, Any]:
    """Rows, by kind, as :class:`Changes` has them."""
    return {
        name: {_KEYS[name](each): each for each in values} if name in _KEYS else values
        for name, values in rows.items()
    }


@define
class Draft:
    """An org's account, and the entries of its next commit."""

    org: str = "acme"
    account: Account = field(init=False)
    opened: bool = False
    summed: bool = True  # whether the cells that are given have the entries' usage
    _entries: list[tuple[str, int, tuple[Transfer, ...], UsageRecord | None]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.account = Account(self.org, "USD", True, 1000, 2000, watermark=3000)

    def entry(
        self,
        key: str = "",
        *,
        amount: int = 0,
        transfers: Sequence[Transfer] = (),
        usage: UsageRecord | None = None,
    ) -> int:
        """Add an entry; its number."""
        self._entries.append((key, amount, tuple(transfers), usage))
        return self.account.seq + len(self._entries)

    def charged(self, amount: int, *payers: tuple[str, int]) -> int:
        """Add a charge with what paid for it: ``("lot:1", 5)``; its number."""
        transfers = [
            Transfer(name, "revenue", part, "debt" if name.startswith("debt") else "charge")
            for name, part in payers
        ]
        return self.entry(amount=amount, transfers=transfers, usage=usage())

    def changes(self, **rows: Any) -> Changes:
        """The entries as one commit's changes, with any other rows; begins the next."""
        if not self._entries:
            self.entry()
        entries: list[Entry] = []
        account = self.account
        for key, amount, transfers, used in self._entries:
            account.seq += 1
            account.head = sha256(account.head + self.org.encode()).digest()
            entries.append(
                Entry(
                    self.org,
                    account.seq,
                    key or f"open:{account.seq}",
                    account.seq * 10,
                    account.seq * 10 + 1,
                    '{"reference":"ü"}',
                    "{}",
                    amount,
                    account.balance,
                    transfers,
                    used,
                    account.head,
                )
            )
        self._entries = []
        if self.summed:
            account.summed = account.seq
        made = Changes(deepcopy(account), opened=not self.opened)
        made.entries = entries
        self.opened = True
        for name, value in keyed(**rows).items():
            setattr(made, name, value)
        ends = [held.expires_at for held in made.holds.values() if held.state == "open"]
        if made.account.next_lapse is None:
            # The account must not promise that nothing lapses while something will.
            account.next_lapse = made.account.next_lapse = min(ends, default=None)
        return made


def save(store: Store, *changes: Changes) -> None:
    """One commit."""
    with store.transaction() as transaction:
        transaction.load({each.account.org: Wanted(until=0) for each in changes})
        transaction.commit({each.account.org: each for each in changes})


def load(store: Store, org: str = "acme", want: Wanted | None = None) -> OrgState:
    """What a snapshot has of one org; the same that a transaction has."""
    wanted = {org: Wanted(until=0) if want is None else want}
    state = store.snapshot(wanted)[org]
    with store.transaction() as transaction:
        assert transaction.load(wanted)[org] == state
    return state


def lot(
    number: int,
    remainder: int = 10,
    *,
    reserved: int = 0,
    seq: int = 1,
    expires_at: int | None = None,
    scope: tuple[str, ...] | None = None,
    period: int | None = None,
) -> Lot:
    kind = "purchased" if period is None else "allowance"
    amount = max(remainder, 10)
    return Lot(
        number, seq, kind, 0, amount, remainder, reserved, expires_at, scope, period
    )  # fmt: skip


def hold(
    key: str,
    expires_at: int = 100,
    state: str = "open",
    *,
    counted: Sequence[tuple[int, str, int]] = (),
    member: int = 0,
    project: str | None = None,
) -> HoldRecord:
    held = [HeldQuantity(*each) for each in counted]
    return HoldRecord(key, "model:a", expires_at, state, [Draw(1, 2)], held, member, project)


def charge(number: int, unpaid: int = 0, *payments: tuple[int, int], period: int = 0) -> Charge:
    return Charge(number, "model:a", 50, unpaid, 0, [Draw(*pair) for pair in payments], period)


def usage(
    at: int = 50,
    member: int = 0,
    *,
    quantity: int = 3,
    resource: str = "model:a",
    project: str | None = None,
) -> UsageRecord:
    line = Line("input", quantity, quantity, "platform", 7, "v1#00", 4, 1, 3)
    unpriced = Line("oütput", 2, 2, "platform", 0, None)
    return UsageRecord(at, member, resource, "run-1", 1, (line, unpriced), project)
