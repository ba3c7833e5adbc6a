"""What an execution asks of the world beyond its nodes' effects: people, and executions that it starts."""

from collections.abc import Collection
from typing import Protocol, TypeAlias

from workflow.ports import Claimed
from workflow.waiting import Children, NoChildren, NoRequests, Requests

NodeRun: TypeAlias = tuple[str, int]
"""A node's id and the index of its run."""


class Outside(Protocol):
    """Gives each run of a node its requests and children, and ends what nobody waits for any more."""

    def requests(self, claimed: Claimed, run: NodeRun, ordinal: int = 0) -> Requests:
        """Return the requests of a node's run; those with another ordinal are others."""
        ...

    def children(self, claimed: Claimed, run: NodeRun) -> Children:
        """Return the executions that a node's run starts."""
        ...

    async def forsake(self, claimed: Claimed, keep: Collection[NodeRun]) -> None:
        """Withdraw what is asked and cancel the children that are waited for, apart from those of these runs."""
        ...


class Nobody:
    """Stands for the outside where there is none."""

    def requests(self, _claimed: Claimed, _run: NodeRun, _ordinal: int = 0) -> Requests:
        """Return what refuses."""
        return NoRequests()

    def children(self, _claimed: Claimed, _run: NodeRun) -> Children:
        """Return what refuses."""
        return NoChildren()

    async def forsake(self, _claimed: Claimed, _keep: Collection[NodeRun]) -> None:
        """Find nothing to end."""
