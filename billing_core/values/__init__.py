"""Values that belong to no account: money, currencies, times, names, patterns, usage.

They check themselves and import nothing of the core but its errors.
"""
