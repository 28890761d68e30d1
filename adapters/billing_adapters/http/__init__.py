"""The billing API over HTTP, for any web framework: a table of routes over the engine.

`Api` takes a `Request` and gives a `Response`.  Your web framework passes them on, and one function
of yours says whose API key it is.  ``ROUTES`` is the table.
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
