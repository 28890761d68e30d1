"""The OpenAPI 3.1 description of a table of routes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from billing_adapters.http.routes import Posted, Route
from billing_adapters.http.shapes import camel, properties, required, schema

__all__ = ["description"]

_ERRORS = {
    "400": "Malformed",
    "401": "Unauthenticated",
    "403": "Not allowed",
    "404": "Unknown",
    "405": "No such method here",
    "422": "Well-formed, but invalid",
    "500": "Our fault",
    "503": "Unavailable: send the same again",
}
_ERRORS_OF_WRITES = {
    "402": "Insufficient credits",
    "409": "In conflict with what is on record",
    "413": "Too large",
    "415": "Not JSON",
    "429": "A limit is reached",
}
_ERRORS_OF_PAYMENTS = {
    "501": "Payments are not set up here",
    "502": "The payment provider refused what we asked of it",
}
_ERRORS_OF_WEBHOOKS = ("400", "405", "500", "501", "502", "503")
_SIGNATURE = {
    "name": "Stripe-Signature",
    "in": "header",
    "required": True,
    "description": "Of the body as it is sent, by the endpoint's secret.",
    "schema": {"type": "string"},
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same content gets the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]+$"},
}


def description(routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 description of these routes, as a JSON object."""
    shapes: dict[str, Any] = {"Error": _error()}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, shapes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Billing",
            "version": "1",
            "description": (
                "Credits, usage and charges. Amounts are integers of the currency's minor unit, "
                "rounded toward minus infinity; beside each stands the exact decimal."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": shapes,
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"apiKey": []}, {"bearer": []}],
    }


def _operation(route: Route, shapes: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": camel(route.name),
        "summary": route.summary,
        "description": f"For callers with the role {route.who}.",
        "responses": _responses(route, shapes),
    }
    parameters = _parameters(route, shapes)
    if route.asked is Posted:
        found |= {"description": "For the payment provider.", "security": []}
        found["requestBody"] = _json_body({"type": "object"})
        parameters.append(_SIGNATURE)
    elif route.method != "GET":
        found["requestBody"] = _json_body(schema(route.asked, shapes, asked=True))
    if route.key is not None:
        parameters.append(_KEY | {"required": route.key == "required"})
    if parameters:
        found["parameters"] = parameters
    return found


def _json_body(content: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": content}}}


def _parameters(route: Route, shapes: dict[str, Any]) -> list[dict[str, Any]]:
    if route.method != "GET":
        return []
    in_path = re.findall(r"\{(\w+)\}", route.path)
    needed = required(route.asked)
    return [
        {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in needed,
            "schema": _without_null(each),
        }
        for name, each in properties(route.asked, shapes, asked=True).items()
    ]


def _without_null(found: dict[str, Any]) -> dict[str, Any]:
    """What stands in a query is there or not: it is never null."""
    kinds = [each for each in found.get("anyOf", []) if each != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 else found


def _responses(route: Route, shapes: dict[str, Any]) -> dict[str, Any]:
    data = schema(route.answer, shapes, asked=False)
    meta: dict[str, Any] = {"requestId": {"type": "string", "pattern": "^req_"}}
    if route.lists:
        data = {"type": "array", "items": data}
    if route.lists or route.pages:
        meta |= {"hasMore": {"type": "boolean"}, "nextCursor": {"type": ["string", "null"]}}
    body = _object({"data": data, "meta": _object(meta)})
    found: dict[str, Any] = {"200": _answer("Done", body)}
    errors = _ERRORS | (_ERRORS_OF_WRITES if route.method != "GET" else {})
    if route.pays:
        errors |= _ERRORS_OF_PAYMENTS
    if route.asked is Posted:
        errors = {status: errors[status] for status in _ERRORS_OF_WEBHOOKS}
    for status, text in sorted(errors.items()):
        found[status] = _answer(text, {"$ref": "#/components/schemas/Error"})
    found["503"]["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return found


def _answer(text: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": body}}}


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


def _error() -> dict[str, Any]:
    texts: dict[str, Any] = {"code": {"type": "string", "pattern": "^[a-z_]+$"}}
    texts |= {name: {"type": "string"} for name in ("message", "requestId")}
    return _object({"error": _object(texts)})
