"""Faults by what they are of; `planted_faults.py` plants them."""
