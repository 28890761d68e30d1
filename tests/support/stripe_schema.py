"""Requests and replies against Stripe's own OpenAPI file, where it is at hand.

The file is of API version 2026-05-27.dahlia. What 2026-09-30.endive changed is laid over it:
`payment_method_types` can no longer be written, `allowed_payment_method_types` can.
"""

import json
import os
import re
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

PROJECT = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[2]).absolute()
FILE = Path(
    os.environ.get("BILLING_STRIPE_OPENAPI") or PROJECT / "../shared/stripe/openapi.spec3.trim.json"
)
FORM = "application/x-www-form-urlencoded"
ENDIVE = ("/v1/checkout/sessions", "/v1/payment_intents", "/v1/setup_intents")


@cache
def schema():
    """The checker, or None where the file is absent."""
    return Schema(json.loads(FILE.read_text(encoding="utf-8"))) if FILE.is_file() else None


class Schema:
    def __init__(self, document):
        self.document = as_json_schema(document)
        for path in ENDIVE:
            fields = self.form(path)["properties"]
            fields["allowed_payment_method_types"] = fields.pop("payment_method_types")
        self.paths = {
            re.compile(re.sub(r"\{\w+\}", "[^/]+", path)): path for path in document["paths"]
        }
        resource = Resource.from_contents(self.document, default_specification=DRAFT202012)
        self.registry = Registry().with_resource("stripe:", resource)

    def form(self, path):
        content = self.document["paths"][path]["post"]["requestBody"]["content"]
        return content[FORM]["schema"]

    def of_request(self, method, path, params):
        """What is wrong with a request, as texts."""
        found = self.path(path)
        if found is None:
            return [f"no path {path}"]
        if method == "POST":
            wanted = closed(self.form(found))
        else:
            listed = self.document["paths"][found]["get"].get("parameters", [])
            wanted = {
                "type": "object",
                "properties": {e["name"]: e["schema"] for e in listed if e["in"] == "query"},
                "additionalProperties": False,
            }
            wanted = closed(wanted)
        return self.errors(f"{method} {path}", typed(params, wanted), wanted)

    def of_reply(self, method, path, status, body):
        """What is wrong with a reply, as texts."""
        found = self.path(path)
        if found is None:
            return [f"no path {path}"]
        replies = self.document["paths"][found][method.lower()]["responses"]
        reply = replies["200" if status == 200 else "default"]
        wanted = reply["content"]["application/json"]["schema"]
        return self.errors(f"{status} of {method} {path}", body, wanted)

    def errors(self, where, value, wanted):
        pointed = json.loads(json.dumps(wanted).replace('"#/', '"stripe:#/'))
        validator = Draft202012Validator(pointed, registry=self.registry)
        return [
            f"{where}: {each.json_path}: {each.message[:300]}"
            for each in validator.iter_errors(value)
        ]

    def path(self, path):
        matches = [known for pattern, known in self.paths.items() if pattern.fullmatch(path)]
        return min(matches, key=lambda known: known.count("{"), default=None)


def as_json_schema(value):
    """OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    if isinstance(value, list):
        return [as_json_schema(each) for each in value]
    if not isinstance(value, dict):
        return value
    rewritten = {name: as_json_schema(each) for name, each in value.items() if name != "nullable"}
    if value.get("nullable") is True:
        return {"anyOf": [rewritten, {"enum": [None]}]}
    return rewritten


def closed(value):
    """Objects of a request take the fields they list and no others."""
    if isinstance(value, list):
        return [closed(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {name: closed(each) for name, each in value.items()}
    if (
        found.get("type") == "object"
        and "properties" in value
        and isinstance(value["properties"], dict)
    ):
        found.setdefault("additionalProperties", False)
    return found


def typed(value, wanted):
    """A form's texts as the values that the schema asks for, where they can be read so."""
    for option in wanted.get("anyOf", ()):
        candidate = typed(value, option)
        if Draft202012Validator(option).is_valid(candidate):
            return candidate
    kind = wanted.get("type")
    if kind == "integer" and isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    if kind == "array" and isinstance(value, dict):
        return [typed(each, wanted["items"]) for each in value.values()]
    if kind == "object" and isinstance(value, dict):
        fields = wanted.get("properties", {})
        return {name: typed(each, fields.get(name, {})) for name, each in value.items()}
    return value
