"""How a store keeps its records in tables, declared once for every database.

A column is a field of its record, and what it holds follows from the field's type: a field that
is added to a record has its column in every statement.  Each database says in its ``codecs`` how
it writes and reads a value of each kind.  Where a column stands in its table is nobody's business
but the migrations': every statement names the columns.  All tables begin with ``org_id``.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, get_args, get_type_hints

from attrs import frozen

from billing_core.records.events import Event
from billing_core.records.ledger import (
    Account,
    Charge,
    Draw,
    Entry,
    HoldRecord,
    LimitSet,
    Lot,
    Spend,
    Subscription,
    Transfer,
)
from billing_core.records.runs import Run
from billing_core.records.storage import Size, Storage
from billing_core.records.topups import AutoTopUp, TopUp
from billing_core.records.usage import Count, Counter, HeldQuantity, Item, Line, UsageRecord
from billing_core.values.money import MAX_NANOS
from billing_core.values.text import compact

__all__ = [
    "ACCOUNTS",
    "AUTO_TOPUPS",
    "CHARGES",
    "COUNTERS",
    "ENTRIES",
    "EVENTS",
    "HOLDS",
    "ITEMS",
    "LIMITS",
    "LOTS",
    "RUNS",
    "SIZES",
    "SPENDS",
    "STORAGES",
    "SUBSCRIPTIONS",
    "TOPUPS",
    "Column",
    "Form",
    "Kind",
    "Table",
    "form_of",
    "narrow",
    "usage",
]

R = TypeVar("R")

_CALL: Any = operator.call  # no type checker knows it as map has it

Kind = Literal["text", "whole", "wide", "narrow", "truth", "digest", "json"]
"""``whole``: a number of 64 bits; ``wide``: one that only counts, and may pass them; ``narrow``:
one that may as well, of which so much is kept as 64 bits hold (the rest stands in a text).
``json``: whatever is no single value, as canonical JSON."""

_KINDS: Mapping[object, Kind] = {str: "text", int: "whole", bool: "truth", bytes: "digest"}


@frozen
class Column:
    """``attribute``: what the record has for it.  ``read``: makes the field's value of what its
    JSON says, where that is not it already."""

    name: str
    kind: Kind
    optional: bool = False
    attribute: str = ""
    read: Callable[[Any], Any] | None = None


@frozen
class Table(Generic[R]):
    """Rows of one kind of record.

    ``columns``: what a record is made of, by ``make``, and written to.  ``filed``: what is written
    beside, to find rows by; it says nothing that the record does not.  ``key``: under which a row
    of an org may stand already, and ``changing`` what is then replaced of it (None: rows are only
    added).  ``row``: an org's row of a record, where it is more than the attributes.
    """

    name: str
    columns: tuple[Column, ...]
    filed: tuple[Column, ...]
    key: tuple[str, ...] | None
    changing: tuple[str, ...]
    make: Callable[..., R]
    row: Callable[[str, R], Sequence[Any]] | None = None

    @property
    def selected(self) -> str:
        """The columns to make a record of, but for its org."""
        return ", ".join(column.name for column in self.columns)

    @property
    def written(self) -> tuple[Column, ...]:
        """All but the org."""
        return self.columns + self.filed


@frozen
class Form(Generic[R]):
    """How a database writes records: an org's ``row`` of a record, in the order of ``columns``."""

    columns: tuple[Column, ...]
    row: Callable[[str, R], Sequence[Any]]

    @property
    def names(self) -> list[str]:
        return ["org_id", *(column.name for column in self.columns)]


def form_of(table: Table[R], writes: Mapping[Kind, Callable[[Any], Any]]) -> Form[R]:
    """``writes`` has the kinds whose values the database is not given as they are: these come last
    in a row.  Made once for each table, so that a row costs two or three calls."""
    if table.row is not None:
        return Form(table.written, table.row)
    plain = [column for column in table.written if column.kind not in writes]
    other = [column for column in table.written if column.kind in writes]
    made = [
        _maybe(writes[column.kind]) if column.optional else writes[column.kind] for column in other
    ]
    values, others = _getter(plain), _getter(other)
    if not other:
        return Form(tuple(plain), lambda org, record: (org, *values(record)))
    columns = (*plain, *other)
    if len(other) == 1:
        [write] = made
        return Form(columns, lambda org, record: (org, *values(record), write(others(record))))
    return Form(
        columns, lambda org, record: (org, *values(record), *map(_CALL, made, others(record)))
    )


def _getter(columns: Sequence[Column]) -> Callable[[Any], Any]:
    names = [column.attribute or column.name for column in columns]
    return attrgetter(*names) if names else tuple


def _maybe(write: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else write(value)


def narrow(number: int) -> int:
    return min(number, MAX_NANOS)


def _table(
    name: str,
    record: Callable[..., R],
    key: str | None,
    *,
    fixed: str = "",
    kinds: Mapping[str, Kind] = {},
    reads: Mapping[str, Callable[[Any], Any]] = {},
    texts: Mapping[str, str] = {},
    filed: tuple[Column, ...] = (),
    make: Callable[..., R] | None = None,
) -> Table[R]:
    """A table with a column for each field of its record.

    ``fixed``: the fields that stay as they were inserted.  ``kinds``: of fields that are not what
    their type says.  ``reads``: see :class:`Column`.  ``texts``: fields that the record writes as
    a text itself, and the attribute that is it; then ``make`` reads them.
    """
    columns: list[Column] = []
    for field, hint in get_type_hints(record).items():
        if field == "org" or field.startswith("_"):
            continue
        types = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        optional = field in texts or NoneType in types
        kind = "text" if field in texts else kinds.get(field) or _KINDS.get(types[0], "json")
        attribute = texts.get(field, field)
        columns.append(Column(field, kind, optional, attribute, reads.get(field)))
    names = [column.name for column in (*columns, *filed)]
    keys = None if key is None else tuple(key.split())
    kept = names if keys is None else [*keys, *fixed.split()]
    return Table(
        name,
        tuple(columns),
        filed,
        keys,
        tuple(name for name in names if name not in kept),
        record if make is None else make,
    )


# -- records with a column for each field -----------------------------------------


def _hold(*values: Any) -> HoldRecord:
    found = HoldRecord(*values)
    text: Any = found.used
    found.read_used(text)
    return found


def _charge(*values: Any) -> Charge:
    found = Charge(*values)
    text: Any = found.payments
    return found.read_payments(text)


def _draws(data: list[list[int]]) -> list[Draw]:
    return [Draw(*each) for each in data]


def _held(data: list[list[Any]]) -> list[HeldQuantity]:
    return [HeldQuantity(*each) for each in data]


def _counts(data: dict[str, list[int]]) -> dict[str, Count]:
    return {component: Count(*each) for component, each in data.items()}


ACCOUNTS = _table(
    "accounts",
    Account,
    "",
    fixed="currency livemode anchor opened_at",
    kinds={"granted": "wide", "used": "wide"},
)
LOTS = _table(
    "lots",
    Lot,
    "lot",
    fixed="seq kind priority amount expires_at scope period",
    reads={"scope": tuple},
    filed=(Column("spent", "truth"),),
)
HOLDS = _table(
    "holds",
    HoldRecord,
    "key",
    fixed="resource member project",
    reads={"parts": _draws, "counted": _held},
    texts={"used": "used_text"},
    make=_hold,
)
COUNTERS = _table("counters", Counter, "resource start", reads={"components": _counts})
ITEMS = _table("items", Item, "item resource")
CHARGES = _table(
    "charges",
    Charge,
    "charge",
    fixed="resource period",
    kinds={"amount": "narrow", "reversed": "narrow"},
    texts={"payments": "payments_text"},
    make=_charge,
)
SUBSCRIPTIONS = _table("subscriptions", Subscription, None)
LIMITS = _table("limits", LimitSet, "subject per", reads={"alerts": tuple})
SPENDS = _table("spends", Spend, "subject grain start", kinds={"amount": "wide"})
SIZES = _table("sizes", Size, "workspace at")
EVENTS = _table("events", Event, None)


# -- entries ----------------------------------------------------------------------

_ENTRY = [each for each in get_type_hints(Entry) if each not in ("org", "_texts")]
_BEFORE_TEXTS = attrgetter(*_ENTRY[: _ENTRY.index("transfers")])


def _entry_row(org: str, entry: Entry) -> Sequence[Any]:
    used = entry.usage
    if used is None:
        return org, *_BEFORE_TEXTS(entry), *entry.texts, entry.hash, None, None
    return (
        org, *_BEFORE_TEXTS(entry), *entry.texts, entry.hash, used.member, used.occurred_at,
    )  # fmt: skip


def usage(text: str) -> UsageRecord:
    """The usage record of its canonical JSON."""
    occurred_at, member, resource, item, requests, lines, project = json.loads(text)
    parsed = tuple(Line(*line) for line in lines)
    return UsageRecord(occurred_at, member, resource, item, requests, parsed, project)


def _entry(org: str, *values: Any) -> Entry:
    *rest, moved, used, digest, member, occurred_at = values
    transfers = () if moved is None else tuple(Transfer(*each) for each in json.loads(moved))
    record = None if used is None else usage(used)
    filed = (None, None) if record is None else (record.member, record.occurred_at)
    if (member, occurred_at) != filed:
        raise ValueError("filed under another member or time than its own")
    fields: list[Any] = [*rest, transfers, record, digest]
    return Entry(org, *fields).stored(moved, used)


ENTRIES = Table(
    "entries",
    (
        *_table("entries", Entry, None, texts={"transfers": "", "usage": ""}).columns,
        Column("member", "whole", optional=True),
        Column("occurred_at", "whole", optional=True),
    ),
    (),
    None,
    (),
    _entry,
    _entry_row,
)


# -- records that are kept whole, as JSON: a new field needs no column ------------


def _topup_row(org: str, topup: TopUp) -> Sequence[Any]:
    body = topup.to_data()
    asked = body.pop("asked")
    return org, topup.topup, asked, compact(body), topup.due_at


def _topup(topup: str, asked: str, body: str) -> TopUp:
    return TopUp.from_data({**json.loads(body), "asked": asked})


def _run(run: str, body: str) -> Run:
    return Run.from_json(body)


def _storage(workspace: str, body: str) -> Storage:
    return Storage.from_json(body)


def _auto(body: str) -> AutoTopUp:
    return AutoTopUp.from_data(json.loads(body))


_BODY = Column("body", "text")

RUNS = Table(
    "runs",
    (Column("run", "text"), _BODY),
    (Column("state", "text"), Column("seen_at", "whole")),
    ("run",),
    ("state", "seen_at", "body"),
    _run,
    lambda org, run: (org, run.run, run.to_json(), run.state, run.seen_at),
)
STORAGES = Table(
    "storages",
    (Column("workspace", "text"), _BODY),
    (),
    ("workspace",),
    ("body",),
    _storage,
    lambda org, storage: (org, storage.workspace, storage.to_json()),
)
TOPUPS = Table(
    "topups",
    (Column("topup", "text"), Column("asked", "text"), _BODY),
    (Column("due_at", "whole", optional=True),),
    ("topup",),
    ("due_at", "asked", "body"),
    _topup,
    _topup_row,
)
AUTO_TOPUPS = Table(
    "auto_topups",
    (_BODY,),
    (Column("customer", "text", optional=True),),
    (),
    ("customer", "body"),
    _auto,
    lambda org, auto: (org, compact(auto.to_data()), auto.customer),
)
