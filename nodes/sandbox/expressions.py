"""Expressions in QuickJS workers of their own, which hold the library that expressions have."""

import struct
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import orjson

from nodes.sandbox import failures
from nodes.sandbox.engine_worker import Answer, EngineWorker, Kind
from nodes.sandbox.pool import WorkerPool
from nodes.sandbox.zones import Zones
from workflow.errors import BadInput, NodeError
from workflow.scripts import ExpressionLimits, ScriptError, ScriptResults, ScriptTask
from workflow.spec import CodeLimits
from workflow.values import decode_doubles

_SIZE = struct.Struct("!Q")
_PROGRAM = Path(__file__).with_name("expression_program.py")
_ROUNDS_MAX = 8
"""How often an evaluation may begin again because it met time zones whose tables it did not have."""


class ExpressionSandbox:
    """Evaluates expressions in up to `size` workers; no engine ever serves two executions."""

    def __init__(self, size: int) -> None:
        self._pool = WorkerPool(lambda: EngineWorker(_PROGRAM), size)
        self._zones = Zones()

    async def start(self) -> None:
        """Start one worker ahead of need."""
        async with self._pool.worker() as worker:
            await worker.start()

    async def close(self) -> None:
        """End all workers, also busy ones."""
        await self._pool.close()

    async def evaluate(self, task: ScriptTask, limits: ExpressionLimits, whose: Hashable = None) -> ScriptResults:
        """Evaluate every script for every row; see `Scripts.evaluate`."""
        names = set(task.zones)
        owner = str(task.scope["execution"]["id"]).encode()
        texts = _texts(task)
        for _ in range(_ROUNDS_MAX):
            head = _head(task, limits, self._zones.tables(names))
            answer = await self._run([owner, head, *texts], limits, whose)
            results = _results(answer, limits)
            missing = results["zones"]
            if not missing:
                return _checked(results, task)
            names.update(missing)
        raise NodeError("the expressions use more and more time zones", "expression_timeout", _limit_fields(limits))

    async def _run(self, texts: list[bytes], limits: ExpressionLimits, whose: Hashable) -> Answer:
        request = b"".join(_SIZE.pack(len(text)) + text for text in texts)
        code_limits = CodeLimits(timeout_ms=limits.timeout_ms, memory_bytes=limits.memory_bytes)
        try:
            async with self._pool.worker(whose) as worker:
                return await worker.run(request, code_limits)
        except NodeError as error:
            if error.code == "code_timeout":
                raise _timed_out(limits) from None
            raise


def _texts(task: ScriptTask) -> list[bytes]:
    """Return the data of a task in the order in which `_head` counts it."""
    texts = [_columns(task, script.fields) for script in task.scripts if script.fields is not None]
    if any(script.fields is None for script in task.scripts):
        texts.append(orjson.dumps(task.rows))
    texts += [orjson.dumps(task.scope[name]) for name in ("items", "binary") if task.scope[name] is not None]
    texts += [orjson.dumps(node) for node in task.scope["nodes"].values() if node is not None]
    return texts


def _head(task: ScriptTask, limits: ExpressionLimits, zones: dict[str, Any]) -> bytes:
    narrow = [script for script in task.scripts if script.fields is not None]
    at = len(narrow)
    whole = at if len(narrow) < len(task.scripts) else None
    at += whole is not None
    numbers = iter(range(len(narrow)))
    scripts = [
        {
            "source": script.source,
            "asText": script.as_text,
            "whole": whole if script.fields is None else None,
            "columns": None if script.fields is None else next(numbers),
        }
        for script in task.scripts
    ]
    head = {**task.scope, "scripts": scripts, "count": len(task.rows), "zones": zones}
    head["outputCharsMax"] = limits.output_chars_max
    for name in ("items", "binary"):
        if task.scope[name] is not None:
            head[name] = at
            at += 1
    nodes: dict[str, int | None] = {}
    for name, node in task.scope["nodes"].items():
        nodes[name] = None if node is None else at
        at += node is not None
    return orjson.dumps({**head, "nodes": nodes})


def _columns(task: ScriptTask, fields: tuple[str, ...]) -> bytes:
    """Return the fields of all rows, and for each where it is missing."""
    nothing = object()
    columns = {}
    for name in fields:
        values = [row.get(name, nothing) for row in task.rows]
        missing = [index for index, value in enumerate(values) if value is nothing]
        for index in missing:
            values[index] = None
        columns[name] = {"values": values, "missing": missing}
    return orjson.dumps(columns)


def _results(answer: Answer, limits: ExpressionLimits) -> Any:
    """Read an answer, all of which is untrusted. Raises `NodeError`."""
    if answer.kind is not Kind.VALUE:
        raise _engine_failure(answer.data.decode("utf-8", "replace"), limits)
    try:
        results = decode_doubles(answer.data)
    except BadInput as error:
        raise NodeError(f"the values of the expressions cannot be used: {error.message}", "expression_failed") from None
    if isinstance(results, dict) and results.get("tooLarge"):
        megabytes = limits.output_chars_max / 2**20
        raise NodeError(
            f"the values of the expressions are larger than {megabytes:g} MiB together",
            "expression_output_too_large",
            {"output_chars_max": limits.output_chars_max},
        )
    return results


def _checked(results: Any, task: ScriptTask) -> ScriptResults:
    values = results["values"]
    if len(values) != len(task.scripts) or any(len(column) != len(task.rows) for column in values):
        raise failures.crashed("it sent something that is not an answer")
    return ScriptResults(values, [ScriptError(*each) for each in results["errors"]])


def _engine_failure(text: str, limits: ExpressionLimits) -> NodeError:
    if text.startswith("InternalError: interrupted"):
        return _timed_out(limits)
    if text.startswith(("InternalError: out of memory", "null")):
        megabytes = limits.memory_bytes // 2**20
        return NodeError(
            f"the expressions needed more than their {megabytes} MiB of memory",
            "expression_memory",
            {"memory_bytes": limits.memory_bytes},
        )
    return NodeError(f"the expressions failed: {failures.cut(text)}", "expression_failed")


def _timed_out(limits: ExpressionLimits) -> NodeError:
    message = f"the expressions did not finish within {limits.timeout_ms} ms"
    return NodeError(message, "expression_timeout", _limit_fields(limits))


def _limit_fields(limits: ExpressionLimits) -> dict[str, int]:
    return {"timeout_ms": limits.timeout_ms}
