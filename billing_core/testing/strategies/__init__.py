"""Hypothesis strategies for commands, price books and plans that are likely to meet."""
