"""Where a node's work happens: in the actor, or as a Ray task. Decides, runs, and turns every failure into a `NodeError`."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from actors.config import EngineLimits
from workflow.config import Frame
from workflow.errors import Bug, NodeError, RayloomError, Unavailable
from workflow.plan import PlanNode
from workflow.scripts import ExpressionLimits
from workflow.spec import Config, Effect, Items, NodeContext, Outputs, Placement, Sandbox

LOST_WORK = frozenset({"sandbox_crashed", "sandbox_closed"})
LOSS_PAUSE_S = 0.25
EXPRESSION_LIMITS = ExpressionLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCall:
    """A node's work as it is sent to another process."""

    execution_id: UUID
    workflow_id: UUID | None
    workflow_name: str
    node_id: str
    node_type: str
    run_index: int
    attempt: int
    timeout_ms: int
    config: Config
    items: Items
    cpu: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a node's attempt gave, and where it happened."""

    outputs: Outputs
    logs: str
    placement: Placement
    pid: int
    host: str


class WorkerLost(Unavailable):
    """The process that did the work died; nothing is known about how far it came."""

    default_code = "worker_lost"


class TaskRunner(Protocol):
    """Runs a node's work in another process."""

    async def run(self, call: TaskCall) -> Outcome:
        """Return the outcome. Raises `NodeError`, or `WorkerLost`. When cancelled, the work is stopped."""
        ...


class Dispatcher:
    """Runs attempts of nodes, in this process or through the task runner."""

    def __init__(self, sandbox: Sandbox, tasks: TaskRunner, limits: EngineLimits, *, pid: int, host: str) -> None:
        self.sandbox = sandbox
        self._tasks = tasks
        self._limits = limits
        self._pid = pid
        self._host = host

    def placement(self, node: PlanNode, items: int, bytes_in: int) -> Placement:
        """Return where this node's work goes for an input of so many items and bytes of JSON."""
        spec = node.type.spec
        if spec.placement is Placement.TASK:
            return Placement.TASK
        large = items > self._limits.inline_items_max or bytes_in > self._limits.inline_bytes_max
        return Placement.TASK if spec.may_move and (node.resources.any or large) else Placement.ACTOR

    async def run(self, node: PlanNode, context: NodeContext, items: Items, where: Placement) -> Outcome:
        """Run one attempt. Raises `NodeError` for everything that can go wrong in a node.

        Work of a pure node that was lost with the process that did it is begun again, a few times, after a pause: an actor that
        is being killed loses its subprocesses first, and must not live to call that the node's failure.
        """
        losses_max = self._limits.task_losses_max if node.effect is Effect.PURE else 1
        for left in reversed(range(losses_max)):
            try:
                return await self._run_once(node, context, items, where)
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

    async def _run_once(self, node: PlanNode, context: NodeContext, items: Items, where: Placement) -> Outcome:
        try:
            frame = Frame(
                items=items,
                execution_id=context.execution_id,
                workflow_id=context.workflow_id,
                workflow_name=context.workflow_name,
                run_index=context.run_index,
                now_ms=context.now_ms,
                timezone=context.timezone,
                seed=secrets.token_hex(16),
            )
            config = await node.template.resolve(frame, self.sandbox, EXPRESSION_LIMITS.within(context.timeout_ms))
            if where is Placement.TASK:
                return await self._run_task(node, context, config, items)
            async with asyncio.timeout(context.timeout_ms / 1000):
                outputs = await node.type.run(context, config, items)
            logs = "\n".join(context.logs)
            return Outcome(outputs=outputs, logs=logs, placement=where, pid=self._pid, host=self._host)
        except TimeoutError as error:
            raise timed_out(node.id, context.timeout_ms) from error
        except (NodeError, Bug, WorkerLost):
            raise
        except RayloomError as error:
            raise NodeError(error.message, error.code, error.fields) from error
        except Exception as error:  # a node type is other people's code: whatever it raises is the node's failure
            raise NodeError(f"{type(error).__name__}: {error}", "node_crashed") from error

    async def _run_task(self, node: PlanNode, context: NodeContext, config: Config, items: Items) -> Outcome:
        call = TaskCall(
            execution_id=context.execution_id,
            workflow_id=context.workflow_id,
            workflow_name=context.workflow_name,
            node_id=node.id,
            node_type=node.type.spec.type,
            run_index=context.run_index,
            attempt=context.attempt,
            timeout_ms=context.timeout_ms,
            config=config,
            items=items,
            cpu=node.resources.cpu or 1,
            memory_bytes=node.resources.memory,
        )
        return await self._tasks.run(call)


def timed_out(node_id: str, timeout_ms: int) -> NodeError:
    """Return the failure of a node that took too long."""
    return NodeError(f"{node_id!r} took longer than its {timeout_ms} ms", "node_timeout", {"retryable": True})
