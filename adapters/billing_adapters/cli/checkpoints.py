"""Checkpoints of ``billing verify`` in a file: one JSON object."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from billing_core import BillingError, Checkpoint, InvalidCommand

__all__ = ["load_checkpoints", "saved_checkpoints"]


def load_checkpoints(path: Path) -> dict[str, Checkpoint]:
    """By org; raises BillingError for anything but what was saved."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = [Checkpoint.from_json(json.dumps(each)) for each in data["checkpoints"]]
        return {each.org: each for each in found}
    except (
        OSError, ValueError, TypeError, KeyError, RecursionError, InvalidCommand
    ) as error:  # fmt: skip
        raise BillingError(
            f"{path}: not a checkpoint that `billing verify --save-checkpoint` saved ({error})"
        ) from error


@contextmanager
def saved_checkpoints(path: Path | None) -> Iterator[Callable[[Checkpoint], object]]:
    """What takes checkpoints, one after the other, for a file that is there whole in the end, or
    as it was where the block raises; without a path it forgets them."""
    if path is None:
        yield lambda checkpoint: None
        return
    made = path.with_name(path.name + ".new")
    try:
        with made.open("w", encoding="utf-8") as file:
            file.write('{"checkpoints": [')
            between = ""

            def save(checkpoint: Checkpoint) -> None:
                nonlocal between
                file.write(f"{between}{checkpoint.to_json()}")
                between = ", "

            yield save
            file.write("]}\n")
        os.replace(made, path)
    except OSError as error:
        raise BillingError(f"{path}: cannot be written: {error}") from error
    finally:
        made.unlink(missing_ok=True)
