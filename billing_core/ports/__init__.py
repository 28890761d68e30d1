"""What the engine asks of the world: a store, a payment provider, a clock, ids.

Protocols only: the docstrings are the contract, and `billing_core.testing` proves who keeps it.
"""
