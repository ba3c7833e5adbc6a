"""How calls cross to an actor: one bytes argument, one bytes answer. Both ends are ours and of the same version.

A single bytes value takes Ray's fast path; a tuple of dataclasses would be pickled with cloudpickle on the way.
"""

import pickle
from typing import Any


def pack(value: Any) -> bytes:
    """Return a value of ours as bytes."""
    return pickle.dumps(value, protocol=5)


def unpack(data: bytes) -> Any:
    """Return the value that `pack` was given. Only ever called with what another process of ours has sent."""
    return pickle.loads(data)  # noqa: S301 - both ends are ours; data of tenants travels inside as JSON
