"""How two versions of prices differ, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from billing_adapters.cli.show import console, table
from billing_core import Difference

__all__ = ["differences_json", "in_lines", "show_differences"]


def differences_json(found: Sequence[Difference]) -> list[dict[str, Any]]:
    """Differences as JSON shows them."""
    return [attrs.asdict(each) | {"change": each.change} for each in found]


def show_differences(title: str, found: Sequence[Difference]) -> None:
    """A table of differences."""
    if not found:
        console().print(f"{title}: nothing.")
        return
    made = table(title, "", "What", "Before", "After")
    style = {"added": "green", "ended": "red", "changed": "yellow"}
    for each in found:
        name = each.name if each.what != "discount" else f"discount on {each.name}"
        made.add_row(
            each.change, name, in_lines(each.before or ""), in_lines(each.after or ""),
            style=style[each.change],
        )  # fmt: skip
    console().print(made)


def in_lines(price: str) -> str:
    """The words of a price, with what it depends on each on a line."""
    return price.replace("; for ", "\nfor ").replace("; times ", "\ntimes ")
