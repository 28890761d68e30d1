"""Runs and storage: loaded on a given connection."""

from __future__ import annotations

import sqlite3

from billing_core.ports import required
from billing_core.ports.state import OrgState, Wanted
from billing_core.records.runs import Run
from billing_core.records.storage import Storage

__all__ = ["load"]

_RUN = "SELECT body FROM runs WHERE org_id = ? AND run = ?"
_STORAGE = "SELECT body FROM storages WHERE org_id = ? AND workspace = ?"
_SIZES_DOWN = (
    "SELECT at, size FROM sizes WHERE org_id = ? AND workspace = ? AND at <= ? ORDER BY at DESC"
)
_SIZE_AFTER = (
    "SELECT at, size FROM sizes WHERE org_id = ? AND workspace = ? AND at > ? ORDER BY at LIMIT 1"
)


def load(db: sqlite3.Connection, org: str, want: Wanted, state: OrgState) -> None:
    """The wanted runs and workspaces, and the sizes of these."""
    for name in want.runs:
        for (body,) in db.execute(_RUN, (org, name)):
            state.runs[name] = Run.from_json(body)
    for name in want.storages:
        for (body,) in db.execute(_STORAGE, (org, name)):
            state.storages[name] = Storage.from_json(body)
    for name, first, last in required.sizes(want, state):
        for at, size in db.execute(_SIZES_DOWN, (org, name, last)):
            state.sizes[name, at] = size
            if at <= first:
                break
        for at, size in db.execute(_SIZE_AFTER, (org, name, last)):
            state.sizes[name, at] = size
