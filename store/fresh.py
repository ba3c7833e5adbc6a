"""Fresh ids from the clock and the system's chance, for the rows that this package makes itself."""

import os
import time
from uuid import UUID

from workflow.ids import uuid7


def fresh_id() -> UUID:
    """Return a new UUIDv7."""
    return uuid7(int(time.time() * 1000), os.urandom(10))
