"""Results of effects that cost something: kept under the effect's key before anybody uses them, outside of the fence.

An owner that was fenced meanwhile keeps its result here all the same; its successor finds it and does not pay again.
"""

from typing import Protocol
from uuid import UUID


class Effects(Protocol):
    """What the effects of executions have given. The first result under a key is the one that counts."""

    async def recall(self, workspace_id: UUID, execution_id: UUID, key: str) -> bytes | None:
        """Return the result (JSON) that is kept under a key of an execution. Raises `StoreUnavailable`."""
        ...

    async def keep(self, workspace_id: UUID, execution_id: UUID, key: str, result: bytes) -> bytes:
        """Keep a result (JSON), durably when this returns, and return what is kept: the first. Raises `StoreUnavailable`."""
        ...
