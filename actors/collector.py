"""The garbage collector of processes that answer: what was imported is never looked at again, and the young are looked at seldom.

Python's defaults look through the young objects several times per request, and now and then through all that was ever imported,
which stops every execution of an actor for tens of milliseconds.
"""

import gc

YOUNG_MAX = 20_000


def calm_collector() -> None:
    """Collect once, keep what is there for good, and collect seldom from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 20)
