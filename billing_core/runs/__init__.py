"""Sandbox runs: their states, until when credit funds them, and what their commands do.

Their time is charged by `charging`, which storage shares; they know nothing of storage or top-ups.
"""
