"""From a request to a response: match, authenticate, authorise, parse, call, present."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from billing_adapters.http.access import PROVIDER, Caller, check_org, credential
from billing_adapters.http.internal import INTERNAL
from billing_adapters.http.messages import Problem, Request, Response, json_response, without_body
from billing_adapters.http.openapi import description
from billing_adapters.http.page import page
from billing_adapters.http.parsing import body_fields, query_fields
from billing_adapters.http.problems import problem_of
from billing_adapters.http.public import PUBLIC
from billing_adapters.http.routes import Call, Listed, Paged, Posted, Route
from billing_adapters.http.runs import OVER_TIME
from billing_adapters.http.shapes import read, shown
from billing_adapters.http.topups import PAYING
from billing_core import Billing, BillingError, InvalidCommand

__all__ = ["ROUTES", "Api", "Authenticate"]

ROUTES: tuple[Route, ...] = PUBLIC + PAYING + INTERNAL + OVER_TIME

Authenticate = Callable[[str], Caller | None]
"""Whose API key it is; None for one that is unknown or revoked."""

_LOG = logging.getLogger("billing_adapters.http")


class Api:
    """The billing API of an engine, for any web framework: call it with a request, send the answer.

    It blocks: an async host calls it in a thread.

        api = Api(billing, {"key-ana": Caller("ana", org="acme", member="ana")}.get)
        response = api(Request("GET", "/v1/billing/credits", headers={"X-API-Key": "key-ana"}))

    It serves the routes under ``/v1``, ``/openapi.json`` and the page ``/billing``.  Each request
    is logged with ``org``, ``request_id``, ``route``, ``status`` and ``code`` as fields; keys,
    queries and bodies are not logged.

    Args:
        billing: The engine, a :class:`Billing`, also in an async host.
        authenticate: A function from an API key to its `Caller`; None for one that is unknown or
            revoked.
        address: The URL under which customers reach the API (``https://you.example``).  After
            paying they come back to the page there, where a request does not say otherwise.
        routes: The table of routes; by default all of them.

    Raises:
        InvalidCommand: For what is no :class:`Billing`, or no function.
    """

    def __init__(
        self,
        billing: Billing,
        authenticate: Authenticate,
        *,
        address: str | None = None,
        routes: Sequence[Route] = ROUTES,
    ) -> None:
        if not isinstance(billing, Billing):
            raise InvalidCommand("billing", type(billing), "a Billing, also in an async host")
        if not callable(authenticate):
            raise InvalidCommand(
                "authenticate", type(authenticate), "a function of an API key to its Caller or None"
            )
        self.billing = billing
        self.routes = tuple(routes)
        self._patterns = [each for each in self.routes if "{" in each.path]
        self._by_path = {
            path: [each for each in self.routes if each.match(path) is not None]
            for path in {each.path for each in self.routes}
        }
        self._authenticate = authenticate
        self._address = None if address is None else address.rstrip("/")
        self._currencies: dict[str, str] = {}
        self.description = description(each for each in self.routes if not each.internal)
        """The OpenAPI description of the public routes, for a host that adds its own."""

    def __call__(self, request: Request) -> Response:
        """The answer to a request; errors are answers, too."""
        found = page(request)
        if found is not None:
            return found
        trace = _Trace("req_" + self.billing.ids())
        try:
            answer = self._answer(request, trace)
            status, headers = 200, {"X-Request-Id": trace.request_id}
        except (Problem, BillingError) as error:
            problem = error if isinstance(error, Problem) else problem_of(error)
            status, headers, answer = self._failed(problem, error, trace)
        except Exception as error:
            problem = problem_of(BillingError())
            status, headers, answer = self._failed(problem, error, trace)
        trace.log(status)
        response = json_response(status, answer, headers)
        return without_body(response) if request.method == "HEAD" else response

    def _failed(
        self, problem: Problem, error: Exception, trace: _Trace
    ) -> tuple[int, dict[str, str], dict[str, Any]]:
        trace.code = problem.code
        trace.error = error if problem.status >= 500 else None
        body = {
            "code": problem.code,
            "message": problem.message,
            "requestId": trace.request_id,
            **problem.details,
        }
        headers = {"X-Request-Id": trace.request_id, **problem.headers}
        return problem.status, headers, {"error": body}

    def _answer(self, request: Request, trace: _Trace) -> Any:
        method = "GET" if request.method == "HEAD" else request.method
        if request.path == "/openapi.json":
            return self._described(method)
        caller = self._caller(request)
        trace.org = caller.org
        route, named = self._route(method, request.path, caller)
        trace.route = route.name
        if not caller.may(route.who):
            raise Problem(403, "not_allowed", "Your role may not do this.")
        call, asked = self._asked(route, caller, request, named, trace)
        return _presented(route.handle(call, asked), trace.request_id)

    def _described(self, method: str) -> dict[str, Any]:
        if method != "GET":
            raise _not_allowed(["GET"])
        return self.description

    def _caller(self, request: Request) -> Caller:
        hooks = (route for route in self.routes if route.who == "provider")
        if any(route.match(request.path) is not None for route in hooks):
            return PROVIDER
        key = credential(request.headers)
        caller = None if key is None else self._authenticated(key)
        if caller is None:
            raise Problem(
                401,
                "unauthenticated",
                "Send a valid key as X-API-Key, or as Authorization: Bearer.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return caller

    def _authenticated(self, key: str) -> Caller | None:
        try:
            return self._authenticate(key)
        except Exception as error:
            # A KeyError is the key; and what is not caught here is logged, or answered.
            if not _quotes(error, key):
                raise
            unsaid = RuntimeError(
                f"authenticate raised {type(error).__name__}, which quotes the API key (not shown)"
            )
            raise unsaid.with_traceback(error.__traceback__) from None

    def _route(self, method: str, path: str, caller: Caller) -> tuple[Route, dict[str, str]]:
        """The route, and what the path names; an internal one is not there for others."""
        allowed: list[str] = []
        for route in self._by_path.get(path, self._patterns):
            named = route.match(path)
            if named is None or (route.internal and not caller.may("service")):
                continue
            if route.method == method:
                return route, named
            allowed.append(route.method)
        if allowed:
            raise _not_allowed(allowed)
        raise Problem(404, "not_found", "There is nothing here.")

    def _asked(
        self,
        route: Route,
        caller: Caller,
        request: Request,
        named: dict[str, str],
        trace: _Trace,
    ) -> tuple[Call, Any]:
        if route.asked is Posted:
            posted = Posted(request.body, request.headers.get("stripe-signature"))
            return self._call(route, caller, request, ""), posted
        query = query_fields(request)
        body = {} if route.method == "GET" else body_fields(request)
        # An org that is not the caller's is refused wherever it is named, before anything
        # else is said of the request.
        org = check_org(caller, query, body)
        trace.org = org
        if route.method == "GET":
            if request.body:
                raise Problem(400, "malformed_request", "A GET request has no body.")
            asked = read(route.asked, {**query, **named}, "", text=True)
        else:
            if query:
                raise Problem(400, "malformed_request", "Send the fields in the body alone.")
            asked = read(route.asked, body, "")
        return self._call(route, caller, request, org or ""), asked

    def _call(self, route: Route, caller: Caller, request: Request, org: str) -> Call:
        return Call(
            billing=self.billing,
            caller=caller,
            route=route.name,
            org=org,
            given_key=request.headers.get("idempotency-key"),
            currencies=self._currencies,
            address=self._address,
        )


def _quotes(error: BaseException, key: str) -> bool:
    """Whether an error, or one behind it, shows a key."""
    told = "".join(traceback.format_exception(error))
    return key in told or repr(key)[1:-1] in told


def _presented(answer: Any, request_id: str) -> dict[str, Any]:
    meta: dict[str, Any] = {"requestId": request_id}
    if isinstance(answer, (Listed, Paged)):
        meta |= {"hasMore": answer.cursor is not None, "nextCursor": answer.cursor}
        answer = answer.rows if isinstance(answer, Listed) else answer.answer
    return {"data": shown(answer), "meta": meta}


def _not_allowed(methods: list[str]) -> Problem:
    if "GET" in methods:
        methods = [*methods, "HEAD"]
    allow = ", ".join(sorted(methods))
    return Problem(405, "method_not_allowed", f"Allowed here: {allow}.", headers={"Allow": allow})


class _Trace:
    """What is logged of one request."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.org: str | None = None
        self.route: str | None = None
        self.code: str | None = None
        self.error: Exception | None = None

    def log(self, status: int) -> None:
        _LOG.log(
            logging.ERROR if status >= 500 else logging.INFO,
            "%s %d",
            self.route or "no route",
            status,
            exc_info=self.error,
            extra={
                "org": self.org,
                "request_id": self.request_id,
                "route": self.route,
                "status": status,
                "code": self.code,
            },
        )
