"""Checkpoints of ``billing verify`` in a file: one JSON object."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from billing_core import BillingError, Checkpoint, InvalidCommand

__all__ = ["load_checkpoints", "save_checkpoints"]


def load_checkpoints(path: Path) -> dict[str, Checkpoint]:
    """By org; raises BillingError for anything but what was saved."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = [Checkpoint.from_json(json.dumps(each)) for each in data["checkpoints"]]
    except (OSError, ValueError, TypeError, KeyError, InvalidCommand) as error:
        raise BillingError(
            f"{path}: not a checkpoint that `billing verify --save-checkpoint` saved ({error})"
        ) from error
    return {each.org: each for each in found}


def save_checkpoints(path: Path, checkpoints: Mapping[str, Checkpoint]) -> None:
    """Whole or not at all."""
    rows = [json.loads(checkpoints[org].to_json()) for org in sorted(checkpoints)]
    made = path.with_name(path.name + ".new")
    try:
        made.write_text(json.dumps({"checkpoints": rows}) + "\n", encoding="utf-8")
        os.replace(made, path)
    except OSError as error:
        raise BillingError(f"{path}: cannot be written: {error}") from error
