"""What a store keeps of an account: its credit, debts, holds, limits and journal.

Immutable facts are tuples or frozen; the state that decisions change is plain
mutable ``define``: a loaded copy belongs to the batch that loaded it.
Amounts are nanos, times microseconds since 1970, quantities unbounded integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from json import loads
from typing import Literal, NamedTuple

from attrs import define, field

from billing_core.records.usage import HeldQuantity, Line, UsageRecord, usage_text
from billing_core.values.money import MAX_NANOS
from billing_core.values.text import compact

__all__ = [
    "Account",
    "Charge",
    "Draw",
    "Entry",
    "HistoryType",
    "HoldRecord",
    "HoldUse",
    "LimitName",
    "LimitSet",
    "Lot",
    "Spend",
    "Subscription",
    "Transfer",
    "paid_by",
    "subjects",
]


HistoryType = Literal[
    "topup", "auto_topup", "clawback", "reinstatement", "grant", "allowance", "usage", "refund",
    "expiry", "restoration", "rollover", "release", "close",
]  # fmt: skip
"""What a customer's history calls an entry: see ``reports.statements.HistoryRow``."""


LimitName = Literal["balance", "org_limit", "member_limit", "project_limit", "quota"]
"""What can bind a charge or a hold."""


class Transfer(NamedTuple):
    """``amount`` > 0 moved from ``debit`` to ``credit``, both accounts of one org.

    Accounts: ``lot:N`` (what the platform owes the customer, by lot), ``debt:N`` (what
    the customer owes, by charge), and the platform's own, per org: ``payments``,
    ``promotions``, ``plans``, ``revenue``, ``expired``, ``refunds``, ``write_off``.
    ``kind``: see :mod:`billing_core.ledger.ledger`.
    """

    debit: str
    credit: str
    amount: int
    kind: str

    @property
    def from_lot(self) -> int:
        """The number of the lot that it takes from; 0 where that is none."""
        return int(self.debit[4:]) if self.debit.startswith("lot:") else 0

    @property
    def into_lot(self) -> int:
        """The number of the lot that it adds to; 0 where that is none."""
        return int(self.credit[4:]) if self.credit.startswith("lot:") else 0

    @property
    def change(self) -> int:
        """What it adds to the org's balance.  A repayment moves between the two sides of it."""
        into, out = self.credit.startswith(_BALANCE), self.debit.startswith(_BALANCE)
        return self.amount * (into - out)


_BALANCE = ("lot:", "debt:")


class Draw(NamedTuple):
    """What is drawn on a lot: reserved by a hold, or paid for a charge."""

    lot: int
    amount: int


def paid_by(transfers: Iterable[Transfer]) -> list[Draw]:
    """Which lots paid a charge that these transfers are of, in order."""
    return [
        Draw(transfer.from_lot, transfer.amount)
        for transfer in transfers
        if transfer.kind in ("capture", "charge")
    ]


@define(eq=True)
class Entry:
    """One command's journal entry, hashed onto the org's previous one.

    ``key``: operation and idempotency key, ``settle:req-1``.  ``at``: time of decision,
    which is the transfers' time of effect; ``recorded_at``: the engine's clock.  Neither
    goes back within an org; its first limit or plan is recorded a microsecond later than all
    before it.
    ``content``: what the caller meant, as canonical JSON.  ``effects``: what the
    transfers and usage do not say (a hold's parts, what a lot is), as canonical JSON.
    ``amount``: what was charged, granted, reversed, …; ``balance``: after it.
    """

    org: str
    seq: int
    key: str
    at: int
    recorded_at: int
    content: str
    effects: str
    amount: int
    balance: int
    transfers: tuple[Transfer, ...]
    usage: UsageRecord | None
    hash: bytes = b""
    _texts: tuple[str | None, str | None] | None = field(
        init=False, default=None, eq=False, repr=False
    )

    @property
    def texts(self) -> tuple[str | None, str | None]:
        """The transfers and the usage record as canonical JSON, None for none: what is
        hashed, and what a store keeps."""
        if self._texts is None:
            self._texts = (
                compact(self.transfers) if self.transfers else None,
                None if self.usage is None else compact(self.usage),
            )
        return self._texts

    def stored(self, transfers: str | None, usage: str | None) -> Entry:
        """This entry as a store has it: the :attr:`texts` that were hashed, not their equals."""
        self._texts = transfers, usage
        return self

    def write(self) -> None:
        """Write the :attr:`texts` of an entry that the ledger makes: the same, in half the
        time, since here it is known what is a number and what has nothing to be escaped."""
        moved = [
            f'["{debit}","{credit}",{n},"{kind}"]' for debit, credit, n, kind in self.transfers
        ]
        self._texts = (
            f"[{','.join(moved)}]" if moved else None,
            None if self.usage is None else usage_text(self.usage),
        )

    @property
    def op(self) -> str:
        return self.key.partition(":")[0]


@define
class Account:
    """An org's row: what every decision needs, and the lock on it.

    ``head``: the last entry's hash.  ``watermark``: the latest time of decision.
    ``next_lapse``: no hold or lot lapses before it (None: none ever will).
    ``balance`` = live lots + reserved parts of expired ones - ``debt``.
    ``granted``: all credit that came in; ``used``: charges less reversals.
    ``lots``, ``members``: the last lot number and surrogate id given.

    ``recorded_at``: the last entry's.  ``plan``, ``paused``: the subscription since
    ``plan_since`` (None: none).  ``period``: the start of the last billing period whose
    ``allowance`` (nanos, so far) was dealt with; ``ahead``: what the next one has had already;
    ``rolled``: what has rolled over of the last period of which any has, ``rolled_of``.
    ``limited_since``: from when spending is added up for limits.  ``low_balance``: a balance
    below it raises an event.  ``topup_below``: available credit below it begins an automatic
    top-up, from ``topup_from`` on (None: none may begin).  ``topup_open``: whether one is in
    flight and wanted.  ``summed``: the rollup cells that are kept have the usage of the
    entries up to this one; what later ones used is added to them by whoever reads.
    """

    org: str
    currency: str
    livemode: bool
    anchor: int
    opened_at: int
    seq: int = 0
    head: bytes = b""
    watermark: int = 0
    next_lapse: int | None = None
    balance: int = 0
    debt: int = 0
    granted: int = 0
    used: int = 0
    lots: int = 0
    members: int = 0
    closed_at: int | None = None
    recorded_at: int = 0
    plan: str | None = None
    paused: bool = False
    plan_since: int = 0
    period: int = 0
    allowance: int = 0
    ahead: int = 0
    rolled: int = 0
    rolled_of: int | None = None
    limited_since: int | None = None
    low_balance: int | None = None
    topup_below: int | None = None
    topup_from: int = 0
    topup_open: bool = False
    summed: int = 0


@define
class Lot:
    """Credit from one grant.  ``lot``: its number, from 1 per org; ``seq``: the entry that
    made it.  ``reserved`` <= ``remainder`` is held.  ``period``: of an allowance, the start
    of the billing period whose usage it may pay for."""

    lot: int
    seq: int
    kind: str
    priority: int
    amount: int
    remainder: int
    reserved: int
    expires_at: int | None
    scope: tuple[str, ...] | None
    period: int | None = None

    @property
    def spent(self) -> bool:
        return self.remainder == 0


class HoldUse(NamedTuple):
    """What was charged by a hold so far: it was ``settled`` in so many parts, for ``amount``
    nanos together; ``charges``: the numbers of the latest parts.  ``quantities``: how much of
    each component of the hold's own resource that was, on the platform's account; known while
    the hold is open."""

    settled: int = 0
    amount: int = 0
    charges: tuple[int, ...] = ()
    quantities: tuple[tuple[str, int], ...] = ()

    def and_charge(self, seq: int, amount: int, lines: tuple[Line, ...], *, more: bool) -> HoldUse:
        """With one charge more, of these ``lines`` of the hold's resource; ``more``: further ones
        may follow."""
        quantities: dict[str, int] = dict(self.quantities) if more else {}
        for line in lines if more else ():
            if line.payer == "platform":
                quantities[line.component] = quantities.get(line.component, 0) + line.quantity
        charges = (*self.charges, seq)[-_CHARGES:]
        return HoldUse(
            self.settled + 1, self.amount + amount, charges, tuple(sorted(quantities.items()))
        )


_CHARGES = 32  # of a hold that are named: a stream may be settled in thousands of parts
_UNUSED = HoldUse()


@define
class HoldRecord:
    """Reserved credit.  ``parts``: in spending order, what is left of
    it.  ``state``: open, settled, released or lapsed.  ``counted``: what it may use, by which
    tiered prices and quotas go.
    ``member``: surrogate id, 0 for none; ``project``: those whose limits it counts in.
    ``used``: what was charged by it; None: not known."""

    key: str
    resource: str | None
    expires_at: int
    state: str
    parts: list[Draw]
    counted: list[HeldQuantity] = field(factory=list)
    member: int = 0
    project: str | None = None
    used: HoldUse | None = _UNUSED

    def copy(self) -> HoldRecord:
        """One that may be changed apart from this."""
        return HoldRecord(
            self.key, self.resource, self.expires_at, self.state, self.parts[:], self.counted[:],
            self.member, self.project, self.used,
        )  # fmt: skip

    @property
    def reserved(self) -> int:
        found = 0
        for part in self.parts:  # each hold that is written asks: no generator
            found += part.amount
        return found

    @property
    def used_text(self) -> str | None:
        """What it was used for, as a store may keep it beside the rest."""
        if self.used is None:
            return None
        settled, amount, charges, quantities = self.used
        left = self.reserved
        if not settled:
            return f'["{self.state}",{left}]'
        return compact([self.state, left, settled, amount, charges, quantities])

    def read_used(self, text: str | None) -> None:
        """Take what a :attr:`used_text` says, unless the hold was changed since by a version of
        the library that does not write it."""
        self.used = None
        if text is None:
            return
        state, left, *used = loads(text)
        if (state, left) == (self.state, self.reserved):
            self.used = _UNUSED
            if used:
                settled, amount, charges, quantities = used
                pairs = tuple((name, quantity) for name, quantity in quantities)
                self.used = HoldUse(settled, amount, tuple(charges), pairs)


@define
class Charge:
    """The story of a charge after its own entry: kept once it left debt, was repaid,
    reversed or priced.  ``payments``: in order, less what went back.
    ``priced``: the entry that priced what was unpriced.  ``period``: the start of the
    billing period of its usage.

    What one charge left is within 64 bits; what a tab adds up (``amount``, ``reversed``) only
    counts, and may be more.
    """

    charge: int
    resource: str
    amount: int
    unpaid: int
    reversed: int
    payments: list[Draw]
    period: int
    priced: int | None = None

    @property
    def payments_text(self) -> str:
        """Its payments as a column of text may keep them, with the totals that pass the 64 bits
        of their own columns."""
        if self.amount <= MAX_NANOS:
            return compact(self.payments)
        return compact(
            {"amount": self.amount, "reversed": self.reversed, "payments": self.payments}
        )

    def read_payments(self, text: str) -> Charge:
        """Itself, with its payments, and its totals if these are wide, from that text."""
        data = loads(text)
        if isinstance(data, dict):
            self.amount, self.reversed = data["amount"], data["reversed"]
            data = data["payments"]
        self.payments = [Draw(*each) for each in data]
        return self


class Subscription(NamedTuple):
    """What an org was subscribed to since a time; ``seq``: the entry that says so."""

    seq: int
    since: int
    plan: str | None


class LimitSet(NamedTuple):
    """A limit of the org's own.  ``subject``: ``org``, ``member:*`` or ``project:*`` for
    each, ``member:7`` or ``project:x`` for one.  ``amount`` None: none any more."""

    subject: str
    per: str
    amount: int | None
    alerts: tuple[int, ...]
    blocks: bool


def subjects(member: int, project: str | None) -> Iterator[str]:
    """In whose windows a charge counts."""
    yield "org"
    if member:
        yield f"member:{member}"
    if project is not None:
        yield f"project:{project}"


@define
class Spend:
    """What counts towards limits: charges less reversals of one ``subject`` (``org``,
    ``member:7``, ``project:x``) in the day or billing period (``grain``) that starts at
    ``start``; or, with the grain ``held`` and start 0, what open holds have reserved."""

    subject: str
    grain: str
    start: int
    amount: int
