"""Sandbox runs: their states, until when credit funds them, and what their commands do."""
