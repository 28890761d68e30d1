"""The billing API over HTTP, for any web framework: a table of routes over the engine.

:class:`Api` takes a :class:`Request` and gives a :class:`Response`; a host passes them on, and
says with one function whose API key it is.  ``ROUTES`` is the table.
"""

from billing_adapters.http.access import Caller, Role
from billing_adapters.http.api import ROUTES, Api, Authenticate
from billing_adapters.http.messages import MAX_BODY, Problem, Request, Response
from billing_adapters.http.openapi import description
from billing_adapters.http.routes import Call, Listed, Route

__all__ = [
    "MAX_BODY",
    "ROUTES",
    "Api",
    "Authenticate",
    "Call",
    "Caller",
    "Listed",
    "Problem",
    "Request",
    "Response",
    "Role",
    "Route",
    "description",
]
