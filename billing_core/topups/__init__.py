"""Buying credit: orders, automatic top-ups, refunds, disputes, reconciliation.

It knows payments as values; who asks the provider is the engine.
"""
