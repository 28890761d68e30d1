"""The SQLite store: one file, write-ahead log, every commit synced to disk.

Needs the ``sqlite`` extra (sqlite-utils, for the schema's migrations).
"""

from billing_adapters.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
