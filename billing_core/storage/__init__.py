"""Workspace storage: bytes over time, billed without gap or overlap."""
