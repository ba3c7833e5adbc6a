"""How calls cross to an actor: one bytes argument, one bytes answer. Both ends are ours and of the same version.

A single bytes value takes Ray's fast path; a tuple of dataclasses would be pickled with cloudpickle on the way.
"""

import pickle
from typing import Any

COPIED_BYTES_MAX = 1024 * 1024


def pack(value: Any) -> bytes:
    """Return a value of ours as bytes."""
    return pickle.dumps(value, protocol=5)


def carried(data: bytes) -> Any:
    """Return packed data as Ray is to be given them: large ones as a buffer, so that the other end reads them where they lie in
    the object store instead of copying them out first.
    """
    return pickle.PickleBuffer(data) if len(data) > COPIED_BYTES_MAX else data


def unpack(data: bytes | memoryview) -> Any:
    """Return the value that `pack` was given. Only ever called with what another process of ours has sent."""
    return pickle.loads(data)  # noqa: S301 - both ends are ours; data of tenants travels inside as JSON
