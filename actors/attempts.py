"""An attempt of a node: what it is given, how it is made, what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

from actors.dispatch import Dispatcher
from actors.outside import Outside
from actors.recorded import ModelsOf
from actors.results import Given, error_handle
from actors.work import Outcome
from workflow.commands import StartNode
from workflow.config import Frame, NodeView
from workflow.errors import NodeError
from workflow.http import HttpClient
from workflow.models import Gpu
from workflow.plan import Plan, PlanNode
from workflow.ports import Claimed
from workflow.spec import Effect, NodeContext, Placement
from workflow.state import NodeState


@dataclass(frozen=True, slots=True)
class Attempt:
    """A node's attempt that has ended, for the loop to take up."""

    command: StartNode
    started_ms: int
    duration_ms: float
    outcome: Outcome | None
    error: NodeError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Makes the attempts of one execution."""

    claimed: Claimed
    plan: Plan
    dispatcher: Dispatcher
    http: HttpClient
    outside: Outside
    models: ModelsOf
    now_ms: Callable[[], int]

    async def make(
        self,
        command: StartNode,
        state: NodeState,
        given: Given,
        views: Mapping[str, NodeView],
        links: Mapping[str, str],
        where: Placement,
    ) -> Attempt:
        """Make an attempt and return what came of it; a failure of the node is a result, too."""
        node = self.plan.nodes[command.node]
        started_ms, begun = self.now_ms(), perf_counter()
        context = self._context(command, node, state, given, started_ms)
        frame = Frame(
            items=given.items,
            execution_id=self.claimed.id,
            workflow_id=self.claimed.workflow_id,
            workflow_name=self.claimed.workflow_name,
            run_index=command.run_index,
            now_ms=started_ms,
            timezone=self.plan.timezone,
            nodes=views,
            links=links,
        )
        outcome, error = None, None
        try:
            outcome = await self.dispatcher.run(node, context, frame, where)
        except NodeError as failure:
            error = failure
        return Attempt(command, started_ms, (perf_counter() - begun) * 1000, outcome, error)

    def _context(
        self, command: StartNode, node: PlanNode, state: NodeState, given: Given, started_ms: int
    ) -> NodeContext:
        handle, run = error_handle(node), (node.id, command.run_index)
        over_ms = state.begun_ms + node.limit_ms if node.limit_ms and state.begun_ms else None
        limits_ms = [at_ms for at_ms in (self.claimed.deadline_ms, over_ms) if at_ms is not None]
        limited = replace(self.claimed, deadline_ms=min(limits_ms, default=None))
        context = NodeContext(
            execution_id=self.claimed.id,
            workflow_id=self.claimed.workflow_id,
            workflow_name=self.claimed.workflow_name,
            node_id=node.id,
            run_index=command.run_index,
            attempt=command.attempt,
            timeout_ms=node.timeout_ms,
            left_ms=None if over_ms is None else max(0, over_ms - started_ms),
            sandbox=self.dispatcher.sandbox_of(self.claimed.workspace_id),
            http=self.http,
            requests=self.outside.requests(self.claimed, run, 0, state.lapses),
            children=self.outside.children(limited, run, state.lapses),
            models=self.models.models(self.claimed, node.id, command.run_index, command.attempt, self.plan.budget),
            knowledge=self.models.knowledge(self.claimed),
            conversations=self.models.conversations(self.claimed),
            files=self.models.files,
            drafts=self.models.drafts(self.claimed, node.id, command.run_index, command.attempt),
            gpu=node.resources.gpu or Gpu.PREFERRED,
            woken=state.woken,
            now_ms=started_ms,
            timezone=self.plan.timezone,
            branches=given.branches,
            round=given.round,
            keep_going=bool(handle),
            error_handle=handle,
            retry=None if node.effect is Effect.AT_MOST_ONCE else node.retry,
            failures=state.failures,
        )
        context.effects = self.models.effects(self.claimed, context.effect_key)
        return context
