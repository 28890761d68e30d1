"""What a route is: one row of the table that serves, authorises and describes."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, MutableMapping
from functools import cache
from typing import Annotated, Any, Literal

from attrs import field, frozen

from billing_adapters.http.access import Caller, Who, namespaced_key
from billing_adapters.http.messages import Problem
from billing_adapters.http.shapes import Rule
from billing_core import Billing, NotFound
from billing_core.values.money import Money

__all__ = [
    "Call",
    "Id",
    "Listed",
    "Name",
    "Paged",
    "Posted",
    "Route",
    "Total",
    "charge_number",
    "cursor_after",
    "cursor_of",
    "names_in",
    "position_in",
]

Name = Annotated[str, Rule(min_length=1, max_length=200)]
Id = Annotated[str, Rule(min_length=1, max_length=200, description="An opaque id.")]


@frozen(order=False)
class Total(Money):
    """A sum over time, which may be larger than any amount."""

    def __attrs_post_init__(self) -> None:
        pass


@frozen
class Call:
    """One request on its way to a route's function: authenticated and authorised.

    Attributes:
        billing: The engine.
        caller: Who calls.
        route: The route's name.
        org: The org that the request is about; empty: none.
        given_key: The Idempotency-Key as it was sent; None: there was none.
        currencies: The currencies of orgs, as far as they are known.
        address: The URL under which customers reach the API; None: the host has not said.
    """

    billing: Billing
    caller: Caller
    route: str
    org: str
    given_key: str | None
    currencies: MutableMapping[str, str]
    address: str | None

    @property
    def key(self) -> str:
        """The engine's key for this write; a Problem 400 where the client sent none."""
        if self.given_key is None:
            raise Problem(
                400, "idempotency_key_missing", "This request needs an Idempotency-Key header."
            )
        return self.key_of(self.given_key)

    @property
    def key_or_none(self) -> str | None:
        """The engine's key for this write; None where the client sent none, and the engine
        makes one of what is said."""
        return None if self.given_key is None else self.key_of(self.given_key)

    @property
    def key_or_new(self) -> str:
        """The engine's key for this write; a new one where the client sent none."""
        given = self.billing.ids() if self.given_key is None else self.given_key
        return self.key_of(given)

    def key_of(self, given: str) -> str:
        """The engine's key for a key of the caller's."""
        return namespaced_key(self.caller, self.route, given)

    def currency(self, org: str | None = None) -> str:
        """An org's currency, which never changes; raises NotFound."""
        name = self.org if org is None else org
        if name not in self.currencies:
            self.currencies[name] = self.billing.balance(name).currency
        return self.currencies[name]


@frozen
class Listed:
    """One page of a list.

    Attributes:
        rows: The page's rows.
        cursor: What leads to the next page; None: there is none.
    """

    rows: tuple[Any, ...]
    cursor: str | None


@frozen
class Paged:
    """An answer that holds a page of a list; ``cursor`` as of :class:`Listed`."""

    answer: Any
    cursor: str | None


@frozen
class Posted:
    """What a provider posts, as it came: its signature says whether to believe it."""

    body: bytes = field(repr=False)
    signature: str | None = field(repr=False)


@frozen
class Route:
    """One row of the table of routes.

    Attributes:
        method: ``GET``, ``POST`` or ``PUT``.
        path: The path; ``{name}`` stands for a segment.
        name: The operation, which also begins the engine's keys of this route (rule 7.1).
        who: Whose it is: ``member``, ``admin``, ``service`` or ``provider``.
        asked: The shape of what comes in: query and path on GET, else the body.
        answer: The shape of what goes out; of one row, where it ``lists``.
        handle: The function that answers a :class:`Call`.
        summary: What it does, in words.
        lists: Whether it answers a list.
        pages: Whether the answer holds a page of a list.
        key: Whether it takes an Idempotency-Key: ``required``, ``optional``, or None: no.
        pays: Whether the payment provider is asked.
    """

    method: Literal["GET", "POST", "PUT"]
    path: str
    name: str
    who: Who
    asked: type
    answer: type
    handle: Callable[[Call, Any], Any]
    summary: str
    lists: bool = False
    pages: bool = False
    key: Literal["required", "optional"] | None = None
    pays: bool = False

    def match(self, path: str) -> dict[str, str] | None:
        """The fields in a path of this route; None: it is not of this route."""
        found = _pattern(self.path).fullmatch(path)
        return None if found is None else found.groupdict()

    @property
    def internal(self) -> bool:
        """Whether it is for services, and not there for anybody else."""
        return self.who == "service"


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))


def charge_number(given: str) -> int:
    """The number of the charge that an id names; raises NotFound."""
    if not (given.isascii() and given.isdecimal() and len(given) <= 18):
        raise NotFound("charge", given, "the id of a row of type usage names one")
    return int(given)


def cursor_of(kind: str, position: int) -> str:
    """The opaque cursor of a place in a list: a row's number, which no new row moves."""
    return _cursor(f"{kind}.{position}")


def position_in(kind: str, cursor: str) -> int:
    """The place that a cursor names; a Problem 422 for what is none of this list's."""
    found = re.fullmatch(kind + r"\.(\d{1,18})", _text(cursor), re.ASCII)
    if found is None or cursor_of(kind, int(found[1])) != cursor:
        raise _no_cursor()
    return int(found[1])


def cursor_after(kind: str, resource: str, component: str) -> str:
    """The opaque cursor of a place in a list that is in the order of two names."""
    return _cursor(json.dumps([kind, resource, component]))


def names_in(kind: str, cursor: str) -> tuple[str, str]:
    """The names that a cursor is behind; a Problem 422 for what is none of this list's."""
    try:
        given, resource, component = json.loads(_text(cursor))
        again = cursor_after(kind, resource, component)
    except (ValueError, TypeError, RecursionError):  # no JSON, or of another shape
        raise _no_cursor() from None
    text = isinstance(resource, str) and isinstance(component, str)
    if given != kind or not text or again != cursor:
        raise _no_cursor()
    return resource, component


def _cursor(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _text(cursor: str) -> str:
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:  # of base64 and of ASCII
        return ""


def _no_cursor() -> Problem:
    message = "cursor: expected one that this list gave."
    return Problem(422, "invalid_request", message, field="cursor")
