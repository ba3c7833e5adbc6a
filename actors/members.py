"""The members of the pool as others see them, and what the supervisor and the API may ask of them. No Ray: ports only."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from actors.surroundings import Finished
from workflow.ports import Claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One execution actor with its present load."""

    name: str
    lease_id: UUID
    actor_id: str
    pid: int
    host: str
    slots: int
    active: int = 0
    taken: int = 0
    lag_ms: float = 0.0
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a push: how the execution ended, or nothing when this actor cannot tell; the caller then follows the stream."""

    execution_id: UUID
    finished: Finished | None


class ActorHandle(Protocol):
    """An execution actor, seen from the supervisor. Every call raises when the actor is gone."""

    @property
    def name(self) -> str:
        """The name under which it is found."""
        ...

    async def start(self) -> Member:
        """Begin its lease and its work."""
        ...

    async def hold(self) -> None:
        """Never return while the actor lives; raise as soon as it does not."""
        ...

    async def status(self) -> Member:
        """Return its present load."""
        ...

    def wake(self) -> None:
        """Let it look at the queue now; may be lost."""
        ...

    async def drain(self) -> None:
        """Let it take nothing new, and return when nothing is under way."""
        ...

    async def close(self) -> None:
        """End its lease, its subprocesses and its process."""
        ...

    def kill(self) -> None:
        """End its process at once."""
        ...


class ActorFactory(Protocol):
    """Makes execution actors."""

    def hosts(self) -> list[str]:
        """Return the hosts that are alive."""
        ...

    def create(self, name: str, host: str, dedicated_to: UUID | None) -> ActorHandle:
        """Make an actor on this host."""
        ...


class PoolPort(Protocol):
    """The pool, seen from an API replica."""

    async def members(self) -> list[Member]:
        """Return the members. Raises when the supervisor does not answer."""
        ...

    async def run(self, member: Member, batch: Sequence[Claimed]) -> Sequence[Reply]:
        """Push executions and wait for the first ends among them. Raises when the actor is gone."""
        ...

    def begin(self, member: Member, claimed: Claimed) -> Coroutine[Any, Any, Reply] | None:
        """Have an execution begun whose row is being inserted, and wait for its end; None when there is no line for that."""
        ...

    def settle(self, member: Member, execution_id: UUID, *, accepted: bool) -> None:
        """Say what became of the row of an execution that was begun."""
        ...

    async def outcomes(self, member: Member, waiting: Sequence[UUID]) -> Sequence[Reply]:
        """Wait for the first ends among executions that were pushed. Raises when the actor is gone."""
        ...

    def deliver(self, actor_name: str, execution_id: UUID) -> None:
        """Tell an actor that a signal waits for this execution; may be lost."""
        ...

    def wake_dedicated(self) -> None:
        """Tell the supervisor that an execution wants an actor of its own; may be lost."""
        ...
