"""What can be asked of the ledger, and what comes of it.

Commands check themselves and are frozen; outcomes and refusals are values. Nothing is decided
here.
"""
