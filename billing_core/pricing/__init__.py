"""What a quantity costs: price functions, books, plans, the catalogue of all of them, rating.

Pure arithmetic on published documents; no account, no balance.
"""
