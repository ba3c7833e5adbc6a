"""Results of effects that cost something: kept under the effect's key before anybody uses them, outside of the fence.

An owner that was fenced meanwhile keeps its result here all the same; its successor finds it and does not pay again.
"""

from dataclasses import dataclass
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


class RunEffects(Protocol):
    """The effects of one run of one node, by names of its own."""

    async def recall(self, name: str = "") -> bytes | None:
        """Return the result (JSON) that an attempt of this run has kept under a name."""
        ...

    async def keep(self, result: bytes, name: str = "") -> bytes:
        """Keep a result (JSON) and return what is kept: the first."""
        ...


class ForgetfulEffects:
    """Stands where nothing outlives the process, so that nothing need be kept."""

    async def recall(self, name: str = "") -> bytes | None:  # noqa: ARG002 - the signature of the port
        """Find none."""
        return None

    async def keep(self, result: bytes, name: str = "") -> bytes:  # noqa: ARG002
        """Return it."""
        return result


@dataclass(frozen=True, slots=True)
class KeptEffects:
    """The effects of one run, kept under its key."""

    effects: Effects
    workspace_id: UUID
    execution_id: UUID
    key: str

    async def recall(self, name: str = "") -> bytes | None:
        """Return the result that is kept under a name."""
        return await self.effects.recall(self.workspace_id, self.execution_id, f"{self.key}:{name}")

    async def keep(self, result: bytes, name: str = "") -> bytes:
        """Keep a result and return what is kept."""
        return await self.effects.keep(self.workspace_id, self.execution_id, f"{self.key}:{name}", result)
