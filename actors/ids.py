"""Where time and chance come from in a real process; everything below is given them."""

import os
import time
from uuid import UUID

from workflow.ids import uuid7


def now_ms() -> int:
    """Return the Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def new_id() -> UUID:
    """Return a fresh UUIDv7."""
    return uuid7(now_ms(), os.urandom(10))
