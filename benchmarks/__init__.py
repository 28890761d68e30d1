"""Each thing beside its floor, in one run: ``python -m benchmarks [NAME ...] [--smoke]``."""
