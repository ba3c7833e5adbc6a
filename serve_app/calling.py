"""Holding documents against the workflows that they execute: the look at these, and the judgement of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from workflow.document import Document
from workflow.findings import Finding
from workflow.sub_workflows import Call, Callers, Known, Target, call_findings, calls_of, targets_of

Below = Callable[[UUID, Sequence[Target], Callers, int], Awaitable[Mapping[Target, Known | None]]]
"""Looks at what targets lead to, as `PostgresSubWorkflows.below`."""


class CallChecks:
    """Judges what documents execute. `callers` are the node types that execute workflows."""

    def __init__(self, below: Below, callers: Callers, depth_max: int) -> None:
        self._below = below
        self._callers = callers
        self._depth_max = depth_max

    def calls_of(self, document: Document) -> list[Call]:
        """Return what in a document executes a workflow which it names."""
        return calls_of(document, self._callers)

    async def judge(
        self, workspace_id: UUID, own: UUID | None, calls: Sequence[Call]
    ) -> Callable[[Sequence[Call]], list[Finding]]:
        """Look at all that these calls lead to; return what judges any of them by it. Raises `StoreUnavailable`."""
        targets = targets_of(calls)
        known = await self._below(workspace_id, targets, self._callers, self._depth_max) if targets else {}
        return lambda chosen: list(call_findings(chosen, known, own, self._depth_max))
