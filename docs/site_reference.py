"""What mkdocstrings does not know of this code: names in docstrings that become links
(``:class:`Billing` `` leads to its entry, where it has one), the constructors of attrs' classes,
whose parameters are their fields, and the methods of AsyncBilling, which are made from Billing's.
"""

import re
from collections.abc import Iterator
from copy import copy
from importlib import import_module
from typing import Any

import attrs
import griffe

MAKERS = ("awaited", "in_thread", "at_provider")
ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`(~?)([\w.]+)`")


class Reference(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = ROLE.sub(lambda role: link(obj, *role.groups()), text)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        for each in list(classes(pkg)):
            constructor = attrs_constructor(each)
            if constructor is not None:
                each.set_member("__init__", constructor)
        if pkg.name == "billing_core":
            twins(pkg["engine.async_billing.AsyncBilling"], pkg["engine.billing.Billing"])


def link(scope: griffe.Object, short: str, name: str) -> str:
    try:
        target = scope.resolve(name)
    except griffe.NameResolutionError:
        target = name
    shown = name.rpartition(".")[2] if short else name
    return f'<autoref optional identifier="{target}"><code>{shown}</code></autoref>'


def classes(scope: griffe.Object) -> Iterator[griffe.Class]:
    for each in scope.members.values():
        if not each.is_alias and isinstance(each, griffe.Class | griffe.Module):
            if isinstance(each, griffe.Class):
                yield each
            yield from classes(each)


def attrs_constructor(shown: griffe.Class) -> griffe.Function | None:
    try:
        found = getattr(import_module(shown.module.path), shown.name, None)
    except ImportError:  # the test kit's, whose extra is not here
        return None
    if not (isinstance(found, type) and attrs.has(found)) or "__init__" in shown.members:
        return None
    parameters = [griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)]
    for each in sorted(attrs.fields(found), key=lambda field: bool(field.kw_only)):
        if each.init:
            written = shown.all_members.get(each.name)
            parameters.append(
                griffe.Parameter(
                    each.alias or each.name,
                    annotation=getattr(written, "annotation", None),
                    kind=griffe.ParameterKind.keyword_only
                    if each.kw_only
                    else griffe.ParameterKind.positional_or_keyword,
                    default=default(each.default),
                )
            )
    return griffe.Function("__init__", parameters=griffe.Parameters(*parameters), parent=shown)


def default(value: object) -> str | None:
    if value is attrs.NOTHING:
        return None
    return "..." if isinstance(value, attrs.Factory) else repr(value)  # type: ignore[arg-type]


def twins(shown: griffe.Class, blocking: griffe.Class) -> None:
    """``settle = awaited(Billing.settle)`` is a method, described where Billing's is."""
    for name, each in list(shown.members.items()):
        made = getattr(each, "value", None)
        if isinstance(made, griffe.ExprCall) and str(made.function) in MAKERS:
            method = blocking.members[str(made.arguments[0]).rpartition(".")[2]]
            assert isinstance(method, griffe.Function), method.path
            twin = griffe.Function(
                name,
                parameters=method.parameters,
                returns=made.arguments[1] if len(made.arguments) > 1 else method.returns,
                docstring=copy(method.docstring),  # which knows whose it is
                parent=shown,
            )
            twin.labels.add("async")
            shown.set_member(name, twin)
