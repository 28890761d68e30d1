"""What customers read of what is on record: balance, history, explanations, usage.

Nothing changes.
"""
