"""Where a node's work happens: in the actor, or as a Ray task. Decides, runs, and turns every failure into a `NodeError`."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from actors.config import EngineLimits
from actors.work import Outcome, TaskCall, WorkerLost, run_work, travelling
from workflow.config import Frame
from workflow.errors import Bug, NodeError
from workflow.plan import PlanNode
from workflow.scripts import ExpressionLimits
from workflow.spec import Config, Effect, Items, NodeContext, Outputs, Placement, Sandbox
from workflow.waiting import Suspend

LOST_WORK = frozenset({"sandbox_crashed", "sandbox_closed"})
LOSS_PAUSE_S = 0.25
EXPRESSION_LIMITS = ExpressionLimits()


class TaskRunner(Protocol):
    """Runs a node's work in another process."""

    async def run(self, call: TaskCall) -> Outcome:
        """Return the outcome. Raises `NodeError`, or `WorkerLost`. When cancelled, the work is stopped."""
        ...


class Dispatcher:
    """Runs attempts of nodes, in this process or through the task runner. `sandbox_of` gives a workspace's sandbox."""

    def __init__(
        self, sandbox_of: Callable[[UUID], Sandbox], tasks: TaskRunner, limits: EngineLimits, *, pid: int, host: str
    ) -> None:
        self.sandbox_of = sandbox_of
        self._tasks = tasks
        self._limits = limits
        self._pid = pid
        self._host = host

    def here(self, outputs: Outputs, logs: str) -> Outcome:
        """Return the outcome of a node whose work nobody had to do."""
        return Outcome(outputs=outputs, logs=logs, placement=Placement.ACTOR, pid=self._pid, host=self._host)

    def placement(self, node: PlanNode, items: int, bytes_in: int) -> Placement:
        """Return where this node's work goes for an input of so many items and bytes of JSON."""
        spec = node.type.spec
        if node.idle:
            return Placement.ACTOR
        if spec.placement is Placement.TASK:
            return Placement.TASK
        large = items > self._limits.inline_items_max or bytes_in > self._limits.inline_bytes_max
        return Placement.TASK if spec.may_move and (node.resources.moves or large) else Placement.ACTOR

    async def run(self, node: PlanNode, context: NodeContext, frame: Frame, where: Placement) -> Outcome:
        """Run one attempt on the items of the frame. Raises `NodeError` for everything that can go wrong in a node.

        Work of a pure node that was lost with the process that did it is begun again, a few times, after a pause: an actor that
        is being killed loses its subprocesses first, and must not live to call that the node's failure.
        """
        losses_max = self._limits.task_losses_max if node.effect is Effect.PURE else 1
        for left in reversed(range(losses_max)):
            try:
                frame = replace(frame, seed=secrets.token_hex(16))
                limits = EXPRESSION_LIMITS.within(context.timeout_ms)
                config = await node.template.resolve(frame, context.sandbox, limits)
                return await self._run_once(node, context, config, frame.items, where)
            except WorkerLost as error:
                lost = NodeError(error.message, error.code, {"retryable": True})
                lost.__cause__ = error
            except NodeError as error:
                if error.code not in LOST_WORK:
                    raise
                lost = error
            if not left:
                raise lost
            await asyncio.sleep(LOSS_PAUSE_S)
        raise Bug("a node's work is tried at least once")

    async def _run_once(
        self, node: PlanNode, context: NodeContext, config: Config, items: Items, where: Placement
    ) -> Outcome:
        if where is Placement.TASK:
            call = TaskCall(
                node_type=node.type.spec.type,
                context=travelling(context),
                config=config,
                items=items,
                cpu=node.resources.cpu or 1,
                memory_bytes=node.resources.memory,
                gpus=node.resources.gpus_wanted,
                gpu=node.resources.gpu_wish,
                accelerator=node.resources.accelerator,
            )
            return await self._tasks.run(call)
        given = await run_work(node.type, context, config, items)
        suspend = given if isinstance(given, Suspend) else None
        return Outcome(
            outputs={} if isinstance(given, Suspend) else given,
            logs="\n".join(context.logs),
            placement=where,
            pid=self._pid,
            host=self._host,
            suspend=suspend,
            answer=context.answer,
        )
