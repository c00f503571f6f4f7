"""Measure us and our peers in one run: ``python -m benchmarks.NAME [--quick] [--json FILE]``."""
