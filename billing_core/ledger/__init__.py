"""An org's books while commands are decided: lots, debts, the journal and its hash chain.

It posts what it is told to; what is charged, and why, is decided above.
"""
