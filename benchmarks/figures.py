"""Numbers out of samples."""

from collections.abc import Sequence
from math import ceil
from statistics import median

__all__ = ["median", "percentile"]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0-1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
