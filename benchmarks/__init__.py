"""Measurements, side by side in one run; results go to `records/benchmarks`."""
