"""One attempt of a node in this process: runs the function and turns everything that can go wrong into a `NodeError`."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from workflow.conversations import NoConversations
from workflow.drafts import NoDrafts
from workflow.effects import ForgetfulEffects
from workflow.errors import NODE_TIMEOUT, BadInput, Bug, Fenced, NodeError, RayloomError, Unavailable
from workflow.http import NoHttp
from workflow.knowledge import NoKnowledge
from workflow.models import Gpu, NoModels
from workflow.spec import Config, Item, Items, NodeContext, NodeType, Outputs, Placement, Sandbox
from workflow.waiting import NoChildren, NoRequests, Suspend


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCall:
    """A node's work as it is sent to another process. The context's sandbox stays behind."""

    node_type: str
    context: NodeContext
    config: Config
    items: Items
    cpu: float
    memory_bytes: int
    gpus: float = 0.0
    """A share of a GPU, or whole ones."""
    gpu: Gpu = Gpu.NONE
    accelerator: str = ""
    """The type of GPU that it must be, by Ray's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a node's attempt gave, and where it happened."""

    outputs: Outputs
    logs: str
    placement: Placement
    pid: int
    host: str
    data: bytes | None = None
    """The outputs as JSON, where the process that did the work has encoded and checked them already."""
    suspend: Suspend | None = None
    """Set where the attempt is not over, but waits."""
    answer: str = ""
    """What a model has answered first, where one was asked."""
    gpu_ids: tuple[str, ...] = ()
    """The GPUs that it had, by Ray's ids."""


class WorkerLost(Unavailable):
    """The process that did the work died; nothing is known about how far it came."""

    default_code = "worker_lost"


def travelling(context: NodeContext) -> NodeContext:
    """Return the context without what stays on the actor."""
    return replace(
        context,
        sandbox=SandboxElsewhere(),
        http=NoHttp(),
        requests=NoRequests(),
        children=NoChildren(),
        models=NoModels(),
        effects=ForgetfulEffects(),
        drafts=NoDrafts(),
        knowledge=NoKnowledge(),
        conversations=NoConversations(),
        files=None,
    )


class SandboxElsewhere(Sandbox):
    """Stands for a sandbox in a context that travels."""

    async def python(self, *_arguments: Any, **_options: Any) -> Any:
        """Refuse: the process that receives the context puts its own sandbox into it."""
        raise Bug("this context has not arrived yet")

    javascript = evaluate = render = python


async def run_work(node_type: NodeType, context: NodeContext, config: Config, items: Items) -> Outputs | Suspend:
    """Run the function of a node type within its time limit; failed items are added to what it gave.

    Raises `NodeError` for everything that can go wrong in a node, with what it printed in `fields["logs"]`; `Bug`, `Fenced`
    and `WorkerLost` as they are.
    """
    try:
        async with asyncio.timeout((context.timeout_ms if context.left_ms is None else context.left_ms) / 1000):
            outputs = await node_type.run(context, config, items)
    except TimeoutError as error:
        message = f"{context.node_id!r} took longer than its {context.timeout_ms} ms"
        failure = NodeError(message, NODE_TIMEOUT, {"retryable": True})
        failure.__cause__ = error
    except NodeError as error:
        failure = error
    except (Bug, Fenced, WorkerLost):
        raise
    except BadInput as error:
        failure = NodeError(error.message, error.code, {**error.fields, "retryable": False})
    except RayloomError as error:
        failure = NodeError(error.message, error.code, error.fields)
    except Exception as error:  # noqa: BLE001 - a node type is other people's code: whatever it raises is the node's failure
        failure = NodeError(f"{type(error).__name__}: {error}", "node_crashed")
        failure.__cause__ = error
    else:
        again = _worth_another_attempt(context)
        if isinstance(outputs, Suspend):
            return outputs
        if again is None:
            return with_failed_items(context, items, outputs)
        failure = again
    failure.fields.setdefault("logs", "\n".join(context.logs))
    raise failure


def outputs_of_task(call: TaskCall, given: Outputs | Suspend) -> Outputs:
    """Return what work elsewhere has given. Raises `NodeError` where it would wait: only an actor can hold what waits."""
    if isinstance(given, Suspend):
        raise NodeError(f"{call.node_type!r} cannot wait in a task", "suspended_in_task", {"retryable": False})
    return given


def _worth_another_attempt(context: NodeContext) -> NodeError | None:
    """Return the first failure of an item for which the node's policy allows another attempt; then the attempt has failed."""
    if context.retry is not None:
        for _, error in sorted(context.failed.items()):
            retryable = bool(error.fields.get("retryable", True))
            if context.retry.allows(context.failures + 1, error.code, retryable=retryable):
                return error
    return None


def with_failed_items(context: NodeContext, items: Items, outputs: Outputs) -> Outputs:
    """Return the outputs and, behind them on the error handle, the items that failed by themselves."""
    if not context.failed or not context.error_handle:
        return outputs
    failed = [
        error_item(context.node_id, items[index], index, error) for index, error in sorted(context.failed.items())
    ]
    return {**outputs, context.error_handle: [*outputs.get(context.error_handle, ()), *failed]}


def error_item(node_id: str, item: Item, index: int, error: NodeError) -> Item:
    """Return a failed item: what came in, with the error in its field `error`."""
    what = {"code": error.code, "message": error.message, "node_id": node_id}
    return Item(**{**item, "json": {**item["json"], "error": what}, "paired_item": index})
