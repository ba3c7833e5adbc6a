"""Benchmarks: Rayloom and its peers measured in one session, with ratios and targets. `python -m benchmarks.run`."""
