"""Decisions about credit: holds, charges, reversals, expiry, allowances, limits, subscriptions.

Charges that accrue with time are here too, as runs and storage share them. Each is given its time
and changes the ledger alone.
"""
