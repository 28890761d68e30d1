"""Workspace storage: bytes over time, billed without gap or overlap.

What it comes to is charged by `charging`, which runs share; it knows nothing of runs or top-ups.
"""
