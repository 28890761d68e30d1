"""Runs and storage: their rows, on a given connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from billing_adapters.sqlite.inserts import inserted
from billing_core.ports.state import Changes, OrgState, Wanted
from billing_core.records.runs import Run
from billing_core.records.storage import Storage

__all__ = ["STATEMENTS", "load", "put"]

_RUN = "SELECT body FROM runs WHERE org_id = ? AND run = ?"
_STORAGE = "SELECT body FROM storages WHERE org_id = ? AND workspace = ?"
_SIZES_DOWN = (
    "SELECT at, size FROM sizes WHERE org_id = ? AND workspace = ? AND at <= ? ORDER BY at DESC"
)
_SIZE_AFTER = (
    "SELECT at, size FROM sizes WHERE org_id = ? AND workspace = ? AND at > ? ORDER BY at LIMIT 1"
)
_PUT_RUN = f"""
{inserted("runs", "org_id, run, state, seen_at, body")} ON CONFLICT (org_id, run) DO UPDATE SET
    state = excluded.state, seen_at = excluded.seen_at, body = excluded.body
"""
_PUT_STORAGE = f"""
{inserted("storages", "org_id, workspace, body")} ON CONFLICT (org_id, workspace)
DO UPDATE SET body = excluded.body
"""
_PUT_SIZE = f"""
{inserted("sizes", "org_id, workspace, at, size")} ON CONFLICT (org_id, workspace, at)
DO UPDATE SET size = excluded.size
"""
STATEMENTS = (_PUT_RUN, _PUT_STORAGE, _PUT_SIZE)
"""In the order in which they are executed."""


def load(db: sqlite3.Connection, org: str, want: Wanted, state: OrgState) -> None:
    """The wanted runs and workspaces, and the sizes of these."""
    for name in want.runs:
        for (body,) in db.execute(_RUN, (org, name)):
            state.runs[name] = Run.from_json(body)
    for name in want.storages:
        for (body,) in db.execute(_STORAGE, (org, name)):
            state.storages[name] = Storage.from_json(body)
    for resource, _, (first, last) in want.spans({}, state.storages):
        name = resource.removeprefix("storage:")
        for at, size in db.execute(_SIZES_DOWN, (org, name, last)):
            state.sizes[name, at] = size
            if at <= first:
                break
        for at, size in db.execute(_SIZE_AFTER, (org, name, last)):
            state.sizes[name, at] = size


def put(rows: Mapping[str, list[tuple[Any, ...]]], org: str, changes: Changes) -> None:
    """Add the rows to write, by statement."""
    for run in changes.runs.values():
        rows[_PUT_RUN].append((org, run.run, run.state, run.seen_at, run.to_json()))
    for storage in changes.storages.values():
        rows[_PUT_STORAGE].append((org, storage.workspace, storage.to_json()))
    for size in changes.sizes.values():
        rows[_PUT_SIZE].append((org, *size))
