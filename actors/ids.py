"""Where time and chance come from in a real process; everything below is given them."""

import time
from uuid import UUID

from store.fresh import fresh_id


def now_ms() -> int:
    """Return the Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def new_id() -> UUID:
    """Return a fresh UUIDv7."""
    return fresh_id()
