"""Executing a document in this process, and showing it as the API shows an execution."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any

import orjson

from actors.local import LocalEngine, LocalResult
from cluster.client import Message
from cluster.instance import load_settings
from nodes.catalog import load_catalog
from nodes.outbound import GuardedClient, OutboundPolicy, own_addresses
from nodes.sandbox import LocalSandbox
from workflow.compile import Compiler
from workflow.document import parse_document
from workflow.inputs import check_input, input_json
from workflow.ports import EventRow, ExecutionView, NodeRow
from workflow.values import decode, encode

SANDBOX_WORKERS = 2


def run_here(definition: Any, given: Any, show: Callable[[Message], None]) -> tuple[dict[str, Any], bool]:
    """Execute a document in this process; return `execution` and `nodes`, and whether it was interrupted.

    Ctrl-C asks for the execution to stop; a second one ends the process at once. Raises `InvalidDefinition`, `BadInput`,
    `Unprocessable`, `TooLarge`.
    """
    settings = load_settings()
    limits = settings.limits
    checked = decode(encode(definition))
    document = parse_document(checked)
    catalog = load_catalog()
    plan = Compiler(catalog, nodes_max=limits.nodes_max).compile(document).plan
    data = input_json(given, limits.input_bytes_max)
    check_input(given, document.input_schema)

    async def run() -> tuple[LocalResult, bool]:
        interrupted = False
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            loop.remove_signal_handler(signal.SIGINT)
            engine.cancel()

        policy = OutboundPolicy(allow=tuple(settings.outbound.allow), own_addresses=own_addresses())
        client = GuardedClient(policy)
        async with LocalSandbox(SANDBOX_WORKERS) as sandbox, AsyncExitStack() as stack:
            stack.push_async_callback(client.close)
            engine = LocalEngine(catalog, sandbox, client, limits.output_bytes_max, lambda row: show(_message(row)))
            with suppress(ValueError, NotImplementedError):  # only the main thread may listen to signals
                loop.add_signal_handler(signal.SIGINT, interrupt)
            return await engine.run(encode(checked), plan, data), interrupted

    result, interrupted = asyncio.run(run())
    shown = {"execution": _execution(result.execution), "nodes": [_node(row) for row in result.nodes]}
    return shown, interrupted


def _message(row: EventRow) -> Message:
    return Message(seq=row.seq, kind=row.kind, data=orjson.loads(row.body))


def _execution(view: ExecutionView) -> dict[str, Any]:
    done = view.started_ms is not None and view.completed_ms is not None
    return {
        "id": str(view.id),
        "status": view.status.value,
        "trigger_type": view.trigger_type,
        "last_seq": view.last_seq,
        "nodes_total": view.nodes_total,
        "nodes_completed": view.nodes_completed,
        "output": None if view.output is None else orjson.loads(view.output),
        "error": _error(view.error_code, view.error_message, view.error_node_id),
        "timings": {
            "queued_at": _iso(view.queued_ms),
            "started_at": _iso(view.started_ms),
            "completed_at": _iso(view.completed_ms),
            "duration_ms": max(0, view.completed_ms - view.started_ms) if done else None,  # type: ignore[operator]
        },
    }


def _node(row: NodeRow) -> dict[str, Any]:
    return {
        "node_id": row.node_id,
        "node_name": row.node_name,
        "node_type": row.node_type,
        "run_index": row.run_index,
        "status": row.status.value,
        "attempt": row.attempt,
        "started_at": _iso(row.started_ms),
        "completed_at": _iso(row.completed_ms),
        "duration_ms": row.duration_ms,
        "output": None if row.output is None else orjson.loads(row.output),
        "error": _error(row.error_code, row.error_message, ""),
        "logs": row.logs,
        "placement": row.placement,
    }


def _error(code: str, message: str, node_id: str) -> dict[str, Any] | None:
    return {"code": code, "message": message, "node_id": node_id or None} if code else None


def _iso(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
