"""The PostgreSQL store: the same ledger where several services, and the host's own rows, are.

Needs the ``postgres`` extra (psycopg and its pool).  PostgreSQL 14 or later.
"""

from billing_adapters.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
