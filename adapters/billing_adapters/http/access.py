"""Who calls, and what they may: the host names the caller, the route says who may call it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal

from attrs import field, frozen

from billing_adapters.http.messages import Problem
from billing_core.errors import InvalidCommand
from billing_core.values.text import checked_name

__all__ = ["PROVIDER", "Caller", "Role", "Who", "check_org", "credential", "namespaced_key"]

Role = Literal["member", "admin", "service", "provider"]
Who = Role
"""Who may call a route; an org's admin is a member of it too."""

_MAY: Mapping[Who, frozenset[Role]] = {
    "member": frozenset(("member", "admin")),
    "admin": frozenset(("admin",)),
    "service": frozenset(("service",)),
    "provider": frozenset(("provider",)),
}


@frozen
class Caller:
    """Who calls, as your function says of an API key (rule 14.3).

    Args:
        id: Of the key or the person, never the secret itself.  A caller's idempotency keys are
            their own by it, so it must stay the same while requests are repeated (rule 7.1).
        role: ``member`` or ``admin`` of an org, or ``service``.  (``provider`` is the API's own
            word for whoever posts to a webhook.)
        org: Whose member or admin it is; a service may have one that it is confined to.
        member: The member's name; of members and admins only.

    Raises:
        InvalidCommand: For a role or a name that is not accepted, or that is missing.
    """

    id: str
    role: Role = "member"
    org: str | None = field(default=None, kw_only=True)
    member: str | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        checked_name("id", self.id)
        if self.role not in _MAY:
            raise InvalidCommand("role", self.role, '"member", "admin" or "service"')
        in_org = self.role in ("member", "admin")
        if in_org or self.org is not None:
            checked_name("org", self.org)
        if in_org:
            checked_name("member", self.member)

    def may(self, who: Who) -> bool:
        """Whether this caller may use a route for ``who``; an admin may what a member may."""
        return self.role in _MAY[who]


_BLANK = " \t"
"""What may stand around a header's value; `str.strip` takes other characters away too."""

PROVIDER = Caller("provider", "provider")
"""Whoever posts to a webhook: the signature is looked at there."""


def credential(headers: Mapping[str, str]) -> str | None:
    """The API key of a request, or None.  Two that differ are no key."""
    found: set[str] = set()
    if "x-api-key" in headers:
        found.add(headers["x-api-key"].strip(_BLANK))
    if "authorization" in headers:
        scheme, _, token = headers["authorization"].strip(_BLANK).partition(" ")
        found.add(token.strip(_BLANK) if scheme.lower() == "bearer" else "")
    if len(found) != 1:
        return None
    [key] = found
    return key if key.isascii() and key.isprintable() and key else None


def check_org(caller: Caller, *places: Mapping[str, Any]) -> str | None:
    """The org that a request is about: the one that it names, or the caller's own.

    Raises a Problem 403 for another org than the caller's, wherever it is named; the answer
    does not depend on whether there is such an org.
    """
    org = caller.org
    for place in places:
        named = place.get("orgId")
        if named is None:
            continue
        if not isinstance(named, str):
            raise Problem(422, "invalid_request", "orgId: expected a string.", field="orgId")
        if caller.org is not None and named != caller.org:
            raise Problem(403, "not_allowed", "You may not act for this org.")
        if org is not None and named != org:
            raise Problem(400, "malformed_request", "The request names two orgs.")
        org = named
    return org


def namespaced_key(caller: Caller, route: str, given: str) -> str:
    """The engine's key for a key that a caller gave.

    It names the route and the caller, so that no two callers or routes share one, and starts
    with ``http:``, with which no key of the engine's own does.
    """
    if not (0 < len(given) <= 128 and given.isascii() and given.isprintable()):
        raise Problem(
            400, "malformed_request", "Idempotency-Key: expected 1 to 128 printable characters."
        )
    return f"http:{route}:{sha256(caller.id.encode()).hexdigest()[:32]}:{given}"
